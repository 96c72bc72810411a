/* mapping_new.c - a document's text compiled into a mapping; each mistake is told with the field
 * that it is in. */
#include "base/timetext.h"
#include "data/json_text.h"
#include "data/schema.h"
#include "mqtt/topic.h"
#include "stream/mapping_priv.h"
#include <stdio.h>
#include <string.h>

enum { WHERE_BYTES = 64 };

struct making {
    const struct mapping_spec *spec;
    struct mapping *mapping;
    char *where;
    struct why *why;
};

__attribute__((format(printf, 2, 3))) static void at_field(struct making *m, const char *format,
                                                           ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(m->where, WHERE_BYTES, format, args);
    va_end(args);
}

/* A copy that lives as long as the mapping. */
static enum err keep(struct making *m, struct str text, struct str *out)
{
    const char *own = arena_dup(&m->mapping->arena, text.size ? text.at : "", text.size);
    *out = (struct str){own, text.size};
    return own ? ERR_OK : ERR_NO_MEMORY;
}

static enum err make_path(struct making *m, struct str text, bool may_each, struct path *path)
{
    struct str own;
    if (!text.size) return ERR_OK;
    enum err err = keep(m, text, &own);
    return err ? err : path_read(own, may_each, &m->mapping->arena, path, m->why);
}

static enum err make_template(struct making *m, struct str text, struct template *made)
{
    struct str own;
    enum err err = keep(m, text, &own);
    return err ? err : template_read(own, &m->mapping->arena, made, m->why);
}

/* ---- where rows go ---- */

static bool has_wildcard(struct str filter)
{
    return filter.size &&
           (memchr(filter.at, '+', filter.size) || memchr(filter.at, '#', filter.size));
}

static enum err make_places(struct making *m)
{
    const struct mapping_spec *spec = m->spec;
    bool is_neuron = spec->format == MAPPING_NEURON;
    struct str device = spec->device, table = spec->table;
    if (!table.size) table = is_neuron ? STR("{$.group}") : spec->default_table;
    at_field(m, "table");
    enum err err = make_template(m, table, &m->mapping->table);
    if (err) return err;
    at_field(m, "device");
    if (!device.size && spec->format == MAPPING_SPARKPLUG) return ERR_OK; /* as in its topic */
    if (!device.size && is_neuron) device = STR("{$.node}");
    if (!device.size && has_wildcard(spec->filter)) device = STR("{*}");
    if (!device.size)
        return why_set(m->why, ERR_INVALID,
                       "is required where the filter has no wildcards: a name, or {$.path}");
    return make_template(m, device, &m->mapping->device);
}

/* ---- columns ---- */

static enum err make_column(struct making *m, size_t i)
{
    const struct mapping_column *from = &m->spec->columns[i];
    struct column_plan *c = &m->mapping->columns[i];
    at_field(m, "columns[%zu].name", i);
    enum err err = schema_check_name(from->name, "column", m->why);
    for (size_t j = 0; j < i && !err; j++)
        if (str_equal(from->name, m->mapping->columns[j].name))
            err = why_set(m->why, ERR_INVALID, "stands here twice");
    if (!err) err = keep(m, from->name, &c->name);
    if (err) return err;
    at_field(m, "columns[%zu].type", i);
    c->type = from->type.size ? type_of_name(from->type) : TYPE_NONE;
    if (from->type.size && !c->type)
        return why_set(m->why, ERR_INVALID,
                       "'%.*s' is unknown; there are bool, bigint, ubigint, double, text, bytes, "
                       "timestamp and double[]",
                       (int)from->type.size, from->type.at);
    at_field(m, "columns[%zu].path", i);
    if (!from->path.size) return why_set(m->why, ERR_INVALID, "is required");
    return make_path(m, from->path, false, &c->path);
}

static enum err make_columns(struct making *m)
{
    struct mapping *made = m->mapping;
    at_field(m, "columns");
    if (m->spec->column_count > LINE_FIELDS_MAX)
        return why_set(m->why, ERR_INVALID, "more than %d columns", LINE_FIELDS_MAX);
    made->columns = arena_zero(&made->arena, m->spec->column_count + 1, sizeof *made->columns);
    if (!made->columns) return ERR_NO_MEMORY;
    enum err err = ERR_OK;
    for (size_t i = 0; i < m->spec->column_count && !err; i++) {
        err = make_column(m, i);
        made->column_count++;
    }
    return err;
}

static enum err make_labels(struct making *m)
{
    struct mapping *made = m->mapping;
    at_field(m, "labels");
    if (m->spec->label_count > MAPPING_LABELS_MAX)
        return why_set(m->why, ERR_INVALID, "more than %d labels", MAPPING_LABELS_MAX);
    made->labels = arena_zero(&made->arena, m->spec->label_count + 1, sizeof *made->labels);
    if (!made->labels) return ERR_NO_MEMORY;
    for (size_t i = 0; i < m->spec->label_count; i++) {
        struct label_plan fresh = {0};
        at_field(m, "labels[%zu]", i);
        enum err err = keep(m, m->spec->labels[i].name, &fresh.name);
        if (!err) err = make_template(m, m->spec->labels[i].value, &fresh.value);
        if (err) return err;
        size_t at = made->label_count++;
        for (; at > 0 && str_compare(made->labels[at - 1].name, fresh.name) >= 0; at--) {
            if (str_equal(made->labels[at - 1].name, fresh.name))
                return why_set(m->why, ERR_INVALID, "stands here twice");
            made->labels[at] = made->labels[at - 1];
        }
        made->labels[at] = fresh;
    }
    return ERR_OK;
}

/* ---- members that say something else ---- */

static void skip_path(struct mapping *m, const struct path *path)
{
    bool is_member = path->is_set && path->count == 1 && path->steps[0].kind == PATH_KEY;
    if (is_member && (path->of_row || !m->rows.is_set))
        m->skips[m->skip_count++] = path->steps[0].key;
}

static void skip_template(struct mapping *m, const struct template *t)
{
    for (size_t i = 0; i < t->count; i++)
        if (t->parts[i].kind == TEMPLATE_PATH) skip_path(m, &t->parts[i].path);
}

static enum err make_skips(struct making *m)
{
    struct mapping *made = m->mapping;
    size_t most = 1 + (2 + made->label_count) * TEMPLATE_PARTS_MAX;
    made->skips = arena_zero(&made->arena, most, sizeof *made->skips);
    if (!made->skips) return ERR_NO_MEMORY;
    skip_path(made, &made->time);
    skip_template(made, &made->device);
    skip_template(made, &made->table);
    for (size_t i = 0; i < made->label_count; i++) skip_template(made, &made->labels[i].value);
    return ERR_OK;
}

/* ---- CSV ---- */

static enum err make_csv(struct making *m)
{
    struct mapping *made = m->mapping;
    const struct mapping_spec *spec = m->spec;
    struct str delimiter = spec->csv_delimiter;
    at_field(m, "csv.delimiter");
    made->csv = CSV_COMMA;
    made->csv_header = spec->csv_header;
    if (str_is(delimiter, "tab"))
        made->csv.delimiter = '\t';
    else if (delimiter.size == 1 && !strchr("\"\r\n", delimiter.at[0]))
        made->csv.delimiter = delimiter.at[0];
    else if (delimiter.size)
        return why_set(m->why, ERR_INVALID, "must be one character, or tab");
    made->csv_columns = arena_zero(&made->arena, spec->csv_column_count + 1, sizeof(struct str));
    if (!made->csv_columns) return ERR_NO_MEMORY;
    for (size_t i = 0; i < spec->csv_column_count; i++) {
        enum err err = keep(m, spec->csv_columns[i], &made->csv_columns[i]);
        if (err) return err;
        made->csv_column_count++;
    }
    return ERR_OK;
}

/* ---- protobuf ---- */

static enum err make_protobuf(struct making *m)
{
    struct arena *arena = &m->mapping->arena;
    struct protobuf_schema *schema = NULL;
    struct str set, name;
    if (m->spec->format != MAPPING_PROTOBUF) return ERR_OK;
    at_field(m, "protobuf.descriptor");
    if (m->spec->descriptor.size > PROTOBUF_SET_BYTES_MAX / 3 * 4)
        return why_set(m->why, ERR_INVALID, "is larger than %d KiB", PROTOBUF_SET_BYTES_MAX / 1024);
    if (!m->spec->descriptor.size || !json_undo_base64(m->spec->descriptor, arena, &set))
        return why_set(m->why, ERR_INVALID,
                       "must be a FileDescriptorSet in base64 (protoc --include_imports "
                       "--descriptor_set_out=F FILE.proto; base64 -w0 F)");
    enum err err = protobuf_schema_read(set, arena, &schema, m->why);
    if (err) return err;
    at_field(m, "protobuf.message");
    err = keep(m, m->spec->message, &name);
    if (err) return err;
    m->mapping->message = protobuf_find(schema, name);
    if (m->mapping->message) return ERR_OK;
    return why_set(m->why, ERR_INVALID, "the descriptor has no message '%.*s'", (int)name.size,
                   name.at);
}

/* ---- the whole ---- */

/* What begins with $ is the broker's own, or a dead letter, which must not become one again. */
static enum err check_filter(struct making *m)
{
    struct str filter = m->spec->filter;
    at_field(m, "filter");
    if (!topic_filter_is_valid(filter))
        return why_set(m->why, ERR_INVALID,
                       "is no topic filter: + and # stand alone in their level, # is the last one");
    if (filter.at[0] == '$')
        return why_set(m->why, ERR_INVALID,
                       "must not begin with $: shared subscriptions, $SYS and $dead are no source");
    return keep(m, filter, &m->mapping->filter);
}

/* Formats that say themselves what their rows and columns are. */
static enum err check_own(struct making *m)
{
    static const struct {
        const char *name;
        size_t offset;
    } texts[] = {{"rows", offsetof(struct mapping_spec, rows)},
                 {"time.path", offsetof(struct mapping_spec, time)}};
    const struct mapping_spec *spec = m->spec;
    bool is_sparkplug = spec->format == MAPPING_SPARKPLUG;
    if (!is_sparkplug && spec->format != MAPPING_NEURON) return ERR_OK;
    at_field(m, "columns");
    if (spec->column_count)
        return why_set(m->why, ERR_INVALID, "this format names its columns itself");
    for (size_t i = 0; i < (is_sparkplug ? 2 : 1); i++) {
        const struct str *text = (const void *)((const char *)spec + texts[i].offset);
        at_field(m, "%s", texts[i].name);
        if (text->size) return why_set(m->why, ERR_INVALID, "this format knows it itself");
    }
    return ERR_OK;
}

static enum err make(struct making *m)
{
    struct mapping *made = m->mapping;
    made->format = m->spec->format;
    made->unit = m->spec->unit;
    enum err err = check_filter(m);
    if (!err) err = check_own(m);
    if (!err) err = make_places(m);
    if (err) return err;
    at_field(m, "rows");
    if (m->spec->rows.size && m->spec->rows.at[0] == '@')
        return why_set(m->why, ERR_INVALID, "a path of rows begins with $");
    err = make_path(m, m->spec->rows, true, &made->rows);
    if (err) return err;
    at_field(m, "time.path");
    err = make_path(m, m->spec->time, false, &made->time);
    if (!err) err = make_columns(m);
    if (!err) err = make_labels(m);
    if (!err) err = make_csv(m);
    if (!err) err = make_protobuf(m);
    return err ? err : make_skips(m);
}

enum err mapping_new(const struct mapping_spec *spec, struct mapping **mapping, char *where,
                     struct why *why)
{
    struct mapping *made = mem_alloc_zero(1, sizeof *made);
    MUST(spec->format < MAPPING_FORMAT_COUNT && spec->unit < MAPPING_UNIT_COUNT);
    if (!made) return ERR_NO_MEMORY;
    arena_init(&made->arena, NULL);
    struct making m = {spec, made, where, why};
    enum err err = make(&m);
    if (err)
        mapping_free(made);
    else
        *mapping = made;
    return err;
}

void mapping_free(struct mapping *mapping)
{
    if (!mapping) return;
    arena_free(&mapping->arena);
    mem_free(mapping);
}

struct str mapping_filter(const struct mapping *mapping)
{
    return mapping->filter;
}
