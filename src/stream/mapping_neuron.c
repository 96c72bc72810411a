/* mapping_neuron.c - what EMQX Neuron's MQTT application publishes.
 *
 * Source: docs.emqx.com/en/neuron/latest/configuration/north-apps/mqtt/api.html. Three of its four
 * upload formats say by themselves what they are: "values" and "errors" are objects by tag
 * (values-format), "tags" is a list of objects with "name" and "value" or "error" (tags-format, and
 * ECP-format, whose items have a "type", too). Each message is one row: device {$.node}, table
 * {$.group} unless the document says otherwise, time "timestamp" in ms. A tag that could not be
 * read has no value but a code of Neuron's: it becomes a NULL whose quality says that the
 * communication failed. "metas" and the members of tags that are not known are left out; what is
 * published in the custom format is format json. */
#include "base/timetext.h"
#include "data/quality.h"
#include "stream/mapping_priv.h"

static enum err add_value(struct taking *t, struct str tag, const struct payload *p)
{
    struct value v = p->value;
    struct str name;
    enum err err = p->kind == PAYLOAD_VALUE ? ERR_OK : payload_doubles(p, t->scratch, &v);
    if (err == ERR_TYPE)
        return why_set(t->why, err, "tag \"%.*s\" is neither a value nor a list of numbers",
                       (int)tag.size, tag.at);
    if (!err) err = mapping_name(t, tag, &name);
    enum type fresh = p->literal.size ? TYPE_DOUBLE : v.type;
    return err ? err : mapping_add_field(t, name, &v, fresh);
}

/* Code 0 is no error. */
static enum err add_error(struct taking *t, struct str tag, const struct payload *code)
{
    struct value v = {
        .type = TYPE_NONE, .is_null = true, .quality = (uint32_t)QualityBadCommunicationError};
    struct str name;
    if (code->kind == PAYLOAD_VALUE && code->value.type == TYPE_BIGINT && code->value.i == 0)
        return ERR_OK;
    enum err err = mapping_name(t, tag, &name);
    return err ? err : mapping_add_field(t, name, &v, TYPE_NONE);
}

static enum err add_each(struct taking *t, const struct payload *map,
                         enum err (*add)(struct taking *t, struct str tag, const struct payload *p))
{
    enum err err = ERR_OK;
    if (!map) return ERR_OK;
    if (map->kind != PAYLOAD_MAP)
        return why_set(t->why, ERR_TYPE, "values and errors must be objects by tag");
    for (const struct payload *p = map->first; p && !err; p = p->next) err = add(t, p->key, p);
    return err;
}

static enum err add_tags(struct taking *t, const struct payload *tags)
{
    enum err err = ERR_OK;
    if (tags->kind != PAYLOAD_LIST) return why_set(t->why, ERR_TYPE, "tags must be a list");
    for (const struct payload *p = tags->first; p && !err; p = p->next) {
        const struct payload *name = payload_member(p, STR("name")),
                             *value = payload_member(p, STR("value")),
                             *error = payload_member(p, STR("error"));
        if (!name || name->kind != PAYLOAD_VALUE || name->value.type != TYPE_TEXT)
            return why_set(t->why, ERR_INVALID, "a tag has no name");
        if (value) err = add_value(t, name->value.s, value);
        if (!value && error) err = add_error(t, name->value.s, error);
    }
    return err;
}

/* The format's own time, where the document names no other. */
static void set_time(struct taking *t)
{
    const struct payload *p = payload_member(t->root, STR("timestamp"));
    int64_t ns;
    if (t->mapping->time.is_set || !p || p->value.type != TYPE_BIGINT) return;
    if (!__builtin_mul_overflow(p->value.i, TIME_NS_PER_MS, &ns)) t->row->time_ns = ns;
}

enum err mapping_take_neuron(struct taking *t)
{
    struct payload *root = NULL;
    enum err err = payload_read_json(t->message->payload, t->scratch, &root, t->why);
    if (err) return err;
    t->root = root;
    const struct payload *tags = payload_member(root, STR("tags")),
                         *values = payload_member(root, STR("values")),
                         *errors = payload_member(root, STR("errors"));
    if (!tags && !values && !errors)
        return why_set(t->why, ERR_INVALID,
                       "this is no upload of Neuron: none of tags, values, errors is there");
    err = mapping_begin_row(t, root);
    if (err) return err;
    set_time(t);
    if (tags) err = add_tags(t, tags);
    if (!err) err = add_each(t, values, add_value);
    if (!err) err = add_each(t, errors, add_error);
    return err ? err : mapping_end_row(t);
}
