/* mapping.c - see mapping.h. A message is read into a tree (payload.h) by its format, then each row
 * of it becomes a line: device, time, labels, fields. A message is taken whole or not at all, so
 * that a dead letter is never half of what was stored. */
#include "stream/mapping_priv.h"
#include "base/timetext.h"
#include "data/json_rows.h"
#include "data/json_text.h"
#include "data/schema.h"
#include <math.h>
#include <string.h>

/* ---- names ---- */

enum err mapping_name(struct taking *t, struct str name, struct str *out)
{
    struct why why = WHY_NONE;
    if (!schema_check_name(name, "column", &why)) {
        *out = name;
        return ERR_OK;
    }
    char *made = arena_alloc(t->scratch, name.size + 1);
    if (!made) return ERR_NO_MEMORY;
    for (size_t i = 0; i < name.size; i++) {
        unsigned char c = (unsigned char)name.at[i];
        bool is_bad = c < 0x20 || c == 0x7f || strchr("+#\"@", c);
        made[i] = c == '/' ? '.' : is_bad ? '_' : (char)c;
    }
    made[name.size] = '_'; /* behind a name that is reserved */
    *out = (struct str){made, name.size};
    if (schema_check_name(*out, "column", &why)) out->size++;
    return schema_check_name(*out, "column", t->why);
}

/* ---- times ---- */

/* Numbers beyond these are of the next smaller unit: 10^11 s is the year 5138, 10^11 ms 1973. */
static int exponent_of(double magnitude)
{
    return magnitude < 1e11 ? 9 : magnitude < 1e14 ? 6 : magnitude < 1e17 ? 3 : 0;
}

static bool number_time(struct str literal, enum mapping_unit unit, int64_t *time_ns)
{
    static const int exponents[MAPPING_UNIT_COUNT] = {
        [MAPPING_UNIT_S] = 9, [MAPPING_UNIT_MS] = 6, [MAPPING_UNIT_US] = 3, [MAPPING_UNIT_NS] = 0};
    const char *at = literal.at, *end = literal.at + literal.size;
    struct str number;
    struct value v;
    bool is_whole;
    if (unit == MAPPING_UNIT_RFC3339 || !json_take_number(&at, end, &number, &is_whole) ||
        at != end || !json_number_value(number, is_whole, &v))
        return false;
    double magnitude = fabs(v.type == TYPE_BIGINT    ? (double)v.i
                            : v.type == TYPE_UBIGINT ? (double)v.u
                                                     : v.d);
    int exponent = unit == MAPPING_UNIT_AUTO ? exponent_of(magnitude) : exponents[unit];
    return json_number_time(number, exponent, time_ns);
}

/* Errors: RANGE: it is none; NO_MEMORY. */
static enum err read_time(const struct payload *p, enum mapping_unit unit, int64_t *time_ns)
{
    const struct value *v = &p->value;
    bool may_be_text = unit == MAPPING_UNIT_AUTO || unit == MAPPING_UNIT_RFC3339, good = false;
    if (p->kind != PAYLOAD_VALUE || v->is_null) return ERR_RANGE;
    if (v->type == TYPE_TIMESTAMP) {
        *time_ns = v->i;
        good = true;
    } else if (p->literal.size) {
        good = number_time(p->literal, unit, time_ns);
    } else if (v->type == TYPE_TEXT) {
        good = (may_be_text && time_parse(v->s, time_ns)) || number_time(v->s, unit, time_ns);
    } else if (type_is_number(v->type)) {
        struct buf text = BUF_EMPTY; /* protobuf's */
        value_add_text(&text, v);
        bool failed = buf_failed(&text);
        good = !failed && number_time(buf_str(&text), unit, time_ns);
        buf_free(&text);
        if (failed) return ERR_NO_MEMORY;
    }
    return good ? ERR_OK : ERR_RANGE;
}

/* ---- rows ---- */

static enum err add_labels(struct taking *t, const struct template_source *source)
{
    const struct mapping *m = t->mapping;
    for (size_t i = 0; i < m->label_count; i++) {
        struct str value = {0};
        struct why why = WHY_NONE;
        enum err err = template_fill(&m->labels[i].value, source, t->scratch, &value, &why);
        if (err == ERR_NOT_FOUND || (!err && !value.size)) continue; /* it has none */
        if (err) return err;
        t->row->tags[t->row->tag_count++] = (struct label){m->labels[i].name, value};
    }
    return ERR_OK;
}

static enum err set_time(struct taking *t, const struct payload *row)
{
    const struct mapping *m = t->mapping;
    t->row->has_time = true;
    t->row->time_ns = t->message->time_ns + (int64_t)t->rows;
    if (!m->time.is_set) return ERR_OK;
    const struct payload *p = path_find(&m->time, t->root, row);
    if (!p) return why_set(t->why, ERR_NOT_FOUND, "time.path leads to nothing");
    enum err err = read_time(p, m->unit, &t->row->time_ns);
    if (err != ERR_RANGE) return err;
    static const char *const names[] = {
#define X(symbol, name) [MAPPING_UNIT_##symbol] = name,
        MAPPING_UNIT_TABLE(X)
#undef X
    };
    return why_set(t->why, ERR_RANGE, "time.path leads to what is no time (unit %s)",
                   names[m->unit]);
}

enum err mapping_begin_row(struct taking *t, const struct payload *row)
{
    const struct mapping *m = t->mapping;
    struct template_source source = {t->message->topic, m->filter, t->root, row};
    t->row->field_count = 0;
    t->row->tag_count = 1;
    t->row->tags[0] = (struct label){STR("device"), {"", 0}};
    struct str *device = &t->row->tags[0].value;
    enum err err = ERR_OK;
    *device = t->device;
    if (m->device.count) err = template_fill(&m->device, &source, t->scratch, device, t->why);
    if (err) return why_wrap(t->why, err, "device");
    if (!device->size) return why_set(t->why, ERR_INVALID, "the device's name is empty");
    err = template_fill(&m->table, &source, t->scratch, &t->row->measurement, t->why);
    if (err) return why_wrap(t->why, err, "table");
    err = add_labels(t, &source);
    return err ? err : set_time(t, row);
}

enum err mapping_add_field(struct taking *t, struct str name, const struct value *value,
                           enum type fresh)
{
    struct line *row = t->row;
    if (row->field_count == LINE_FIELDS_MAX)
        return why_set(t->why, ERR_LIMIT, "more than %d columns in one row", LINE_FIELDS_MAX);
    row->fields[row->field_count++] = (struct line_field){name, *value, fresh};
    return ERR_OK;
}

enum err mapping_end_row(struct taking *t)
{
    if (!t->row->field_count)
        return why_set(t->why, ERR_INVALID, "there is no value for any column");
    packed_add(t->out, t->message->offset, t->row);
    t->rows++;
    if (buf_failed(t->out)) return ERR_NO_MEMORY;
    if (t->out->size - t->before <= MAPPING_MESSAGE_BYTES_MAX) return ERR_OK;
    return why_set(t->why, ERR_LIMIT, "the rows of one message take more than %d MiB",
                   MAPPING_MESSAGE_BYTES_MAX >> 20);
}

/* A value as a column takes it. `*is_none`: there is nothing to set. */
static enum err plain_value(struct taking *t, const struct payload *p, struct value *v)
{
    if (p->kind == PAYLOAD_VALUE) {
        *v = p->value;
        return ERR_OK;
    }
    enum err err = payload_doubles(p, t->scratch, v);
    if (err != ERR_TYPE) return err;
    return why_set(t->why, ERR_TYPE,
                   "is %s; a value is a number, a text, true, false, null or a "
                   "list of numbers",
                   p->kind == PAYLOAD_MAP ? "an object" : "a list");
}

/* JSON does not tell 21 from 21.0: what is new becomes a double. */
static enum type fresh_type(const struct payload *p, const struct value *v)
{
    return p->literal.size ? TYPE_DOUBLE : v->type;
}

static enum err add_column(struct taking *t, const struct column_plan *c, const struct payload *row)
{
    const struct payload *p = path_find(&c->path, t->root, row);
    struct value v;
    if (!p) return ERR_OK;
    enum err err = plain_value(t, p, &v);
    if (err) return why_wrap(t->why, err, "column \"%.*s\"", (int)c->name.size, c->name.at);
    enum type fresh = c->type ? c->type : fresh_type(p, &v);
    if (c->type == TYPE_TEXT && p->literal.size)
        v = (struct value){.type = TYPE_TEXT, .s = p->literal};
    if (c->type && !v.is_null && !json_rows_convert(&v, c->type, t->scratch))
        return why_set(t->why, ERR_TYPE, "column \"%.*s\": %s does not fit %s", (int)c->name.size,
                       c->name.at, type_name(p->value.type), type_name(c->type));
    return mapping_add_field(t, c->name, &v, fresh);
}

static bool is_skipped(const struct mapping *m, struct str key)
{
    for (size_t i = 0; i < m->skip_count; i++)
        if (str_equal(m->skips[i], key)) return true;
    return false;
}

/* Every plain member; what is an object or a mixed list has no place in a column. */
static enum err add_members(struct taking *t, const struct payload *row)
{
    enum err err = ERR_OK;
    if (row->kind != PAYLOAD_MAP)
        return why_set(t->why, ERR_TYPE, "a row is an object {\"column\": value, …}");
    for (const struct payload *p = row->first; p && !err; p = p->next) {
        struct value v = p->value;
        struct str name = {0};
        if (is_skipped(t->mapping, p->key)) continue;
        if (p->kind != PAYLOAD_VALUE) err = payload_doubles(p, t->scratch, &v);
        if (err == ERR_TYPE) {
            err = ERR_OK;
            continue;
        }
        if (!err) err = mapping_name(t, p->key, &name);
        if (!err) err = mapping_add_field(t, name, &v, fresh_type(p, &v));
    }
    return err;
}

enum err mapping_add_row(struct taking *t, const struct payload *row)
{
    const struct mapping *m = t->mapping;
    enum err err = mapping_begin_row(t, row);
    for (size_t i = 0; i < m->column_count && !err; i++) err = add_column(t, &m->columns[i], row);
    if (!err && !m->column_count) err = add_members(t, row);
    return err ? err : mapping_end_row(t);
}

/* ---- messages ---- */

static enum err use_row(void *arg, const struct payload *row)
{
    return mapping_add_row(arg, row);
}

/* The rows that the path names; without a path the message, or each item of it. */
static enum err add_rows(struct taking *t)
{
    static const struct path items = {.is_set = true, .count = 1, .steps = {{.kind = PATH_EACH}}};
    const struct mapping *m = t->mapping;
    if (m->rows.is_set) return path_each(&m->rows, t->root, use_row, t);
    if (t->root->kind == PAYLOAD_LIST) return path_each(&items, t->root, use_row, t);
    return mapping_add_row(t, t->root);
}

static enum err take_json(struct taking *t)
{
    struct payload *root = NULL;
    enum err err = payload_read_json(t->message->payload, t->scratch, &root, t->why);
    t->root = root;
    return err ? err : add_rows(t);
}

static enum err take_protobuf(struct taking *t)
{
    struct payload *root = NULL;
    enum err err =
        protobuf_read(t->mapping->message, t->message->payload, t->scratch, &root, t->why);
    t->root = root;
    return err ? err : add_rows(t);
}

static enum err (*const takers[MAPPING_FORMAT_COUNT])(struct taking *t) = {
    [MAPPING_JSON] = take_json,
    [MAPPING_CSV] = mapping_take_csv,
    [MAPPING_PROTOBUF] = take_protobuf,
    [MAPPING_NEURON] = mapping_take_neuron,
};

struct taking mapping_begin(const struct mapping *mapping, const struct mapping_message *message,
                            struct line *row, struct arena *scratch, struct buf *out,
                            struct why *why)
{
    MUST(!buf_failed(out));
    row->field_count = 0;
    return (struct taking){.mapping = mapping,
                           .message = message,
                           .row = row,
                           .scratch = scratch,
                           .out = out,
                           .before = out->size,
                           .why = why};
}

enum err mapping_take(const struct mapping *mapping, const struct mapping_message *message,
                      struct line *row, struct arena *scratch, struct buf *out, size_t *rows,
                      struct why *why)
{
    struct taking t = mapping_begin(mapping, message, row, scratch, out, why);
    MUST(mapping->format < MAPPING_FORMAT_COUNT && takers[mapping->format]);
    enum err err = takers[mapping->format](&t);
    if (!err && !t.rows) err = why_set(why, ERR_INVALID, "the message holds no row");
    if (err) out->size = t.before;
    *rows = err ? 0 : t.rows;
    return err;
}
