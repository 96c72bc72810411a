/* json_rows.c - see json_rows.h.
 *
 * The cursor only moves forward. A function that meets text which is no JSON says so through
 * `no_json`, which ends the reading; whatever else is wrong is noted once in `row_err` and the
 * object is read to its end, so that the next row is found. */
#include "data/json_rows.h"
#include "data/json_text.h"
#include "base/num.h"
#include "base/timetext.h"
#include "data/quality.h"
#include <math.h>
#include <string.h>

struct row_in {
    struct json_rows *in;
    struct arena *scratch;
    struct line *row;
    struct why *why;
    enum err row_err; /* the row's first error; `why` has its text */
};

static enum err no_json(struct json_rows *in, struct why *why, const char *what)
{
    in->is_over = true;
    return why_at(why, ERR_SYNTAX, (int32_t)(in->at - in->start), "byte %zu: %s",
                  (size_t)(in->at - in->start) + 1, what);
}

/* Notes what is wrong with the row; the first one stays. */
static void spoil(struct row_in *r, enum err err, struct str key, const char *what)
{
    if (r->row_err) return;
    r->row_err = err;
    (void)why_set(r->why, err, "\"%.*s\" %s", (int)(key.size > 100 ? 100 : key.size), key.at, what);
}

static void skip_space(struct json_rows *in)
{
    while (in->at < in->end &&
           (*in->at == ' ' || *in->at == '\n' || *in->at == '\t' || *in->at == '\r'))
        in->at++;
}

static bool take_char(struct json_rows *in, char c)
{
    skip_space(in);
    if (in->at == in->end || *in->at != c) return false;
    in->at++;
    return true;
}

/* ---- texts and numbers ---- */

static enum err take_text(struct row_in *r, struct str *out)
{
    struct json_rows *in = r->in;
    const char *what = NULL;
    skip_space(in);
    enum err err = json_take_text(&in->at, in->end, r->scratch, out, &what);
    return err == ERR_SYNTAX ? no_json(in, r->why, what) : err;
}

/* The literal, by JSON's grammar. */
static enum err take_number(struct row_in *r, struct str *out, bool *is_whole)
{
    struct json_rows *in = r->in;
    bool good = json_take_number(&in->at, in->end, out, is_whole);
    return good ? ERR_OK : no_json(in, r->why, "a value is expected");
}

static enum err number_value(struct row_in *r, struct str key, struct value *value)
{
    struct str text = {0};
    bool is_whole = false;
    enum err err = take_number(r, &text, &is_whole);
    if (!err && !json_number_value(text, is_whole, value))
        spoil(r, ERR_RANGE, key, "is a number out of the range of double");
    return err;
}

/* ---- values ---- */

static bool take_word(struct json_rows *in, const char *word)
{
    size_t size = strlen(word);
    if ((size_t)(in->end - in->at) < size || memcmp(in->at, word, size) != 0) return false;
    in->at += size;
    return true;
}

static enum err take_scalar(struct row_in *r, struct str key, struct value *value)
{
    struct json_rows *in = r->in;
    skip_space(in);
    *value = (struct value){.type = TYPE_BOOL};
    if (in->at < in->end && *in->at == '"') {
        value->type = TYPE_TEXT;
        return take_text(r, &value->s);
    }
    if (take_word(in, "null")) {
        *value = (struct value){.type = TYPE_NONE, .is_null = true};
        return ERR_OK;
    }
    if ((value->b = take_word(in, "true")) || take_word(in, "false")) return ERR_OK;
    return number_value(r, key, value);
}

/* Passes over one value of any depth. */
static enum err skip_value(struct row_in *r)
{
    struct json_rows *in = r->in;
    struct str key = {0};
    struct value value;
    char closing[JSON_ROWS_DEPTH_MAX];
    size_t depth = 0;
    bool is_open = false; /* a list or object has just begun */
    do {
        enum err err = ERR_OK;
        if (is_open && take_char(in, closing[depth - 1])) {
            is_open = false;
            depth--;
        } else if (depth == JSON_ROWS_DEPTH_MAX) {
            return no_json(in, r->why, "nested too deeply (32 levels are allowed)");
        } else {
            if (depth && closing[depth - 1] == '}') {
                if ((err = take_text(r, &key))) return err;
                if (!take_char(in, ':')) return no_json(in, r->why, "':' is expected");
            }
            is_open = true;
            if (take_char(in, '{')) {
                closing[depth++] = '}';
            } else if (take_char(in, '[')) {
                closing[depth++] = ']';
            } else {
                is_open = false;
                err = take_scalar(r, key, &value);
            }
        }
        if (err) return err;
        if (is_open) continue;
        while (depth && !take_char(in, ',')) {
            if (!take_char(in, closing[depth - 1]))
                return no_json(in, r->why, "',' or the end of a list or object is expected");
            depth--;
        }
    } while (depth);
    return ERR_OK;
}

/* An array of numbers: double[]. The bytes grow in a buffer and end up, aligned, in the scratch. */
static enum err take_doubles(struct row_in *r, struct str key, struct value *value)
{
    struct json_rows *in = r->in;
    struct buf bytes = BUF_EMPTY;
    enum err err = ERR_OK;
    bool more = !take_char(in, ']');
    while (more && !err) {
        struct value item;
        skip_space(in);
        if (in->at < in->end && (*in->at == '[' || *in->at == '{')) {
            item = (struct value){.type = TYPE_NONE};
            err = skip_value(r);
        } else {
            err = take_scalar(r, key, &item);
        }
        double d = item.type == TYPE_BIGINT    ? (double)item.i
                   : item.type == TYPE_UBIGINT ? (double)item.u
                                               : item.d;
        bool is_missing = item.type == TYPE_NONE && item.is_null; /* as NaN is written */
        if (is_missing) d = (double)NAN;
        if (!err && !is_missing && !type_is_number(item.type))
            spoil(r, ERR_TYPE, key, "is a list of which not every item is a number");
        else if (!err)
            buf_add(&bytes, &d, sizeof d);
        if (err || take_char(in, ',')) continue;
        more = false;
        if (!take_char(in, ']')) err = no_json(in, r->why, "',' or ']' is expected");
    }
    const char *own = buf_failed(&bytes) ? NULL : arena_dup(r->scratch, bytes.at, bytes.size);
    if (!err && !own) err = ERR_NO_MEMORY;
    *value = (struct value){.type = TYPE_DOUBLES, .s = {own, bytes.size}};
    buf_free(&bytes);
    return err;
}

static enum err take_value(struct row_in *r, struct str key, struct value *value)
{
    struct json_rows *in = r->in;
    skip_space(in);
    if (take_char(in, '[')) return take_doubles(r, key, value);
    if (in->at == in->end || *in->at != '{') return take_scalar(r, key, value);
    *value = (struct value){.type = TYPE_NONE, .is_null = true};
    spoil(r, ERR_TYPE, key,
          "is an object; a value is a number, a text, true, false, null or a "
          "list of numbers");
    return skip_value(r);
}

/* ---- members ---- */

static enum err take_time(struct row_in *r)
{
    struct json_rows *in = r->in;
    struct str key = STR("time"), text = {0};
    bool is_whole, good;
    skip_space(in);
    if (take_word(in, "null")) return ERR_OK;
    bool is_text = in->at < in->end && *in->at == '"';
    enum err err = is_text ? take_text(r, &text) : take_number(r, &text, &is_whole);
    if (err) return err;
    good =
        is_text ? time_parse(text, &r->row->time_ns) : json_number_time(text, 6, &r->row->time_ns);
    if (!good) spoil(r, ERR_RANGE, key, "must be RFC 3339 or milliseconds since 1970");
    r->row->has_time = good;
    return ERR_OK;
}

/* Tag 0, which is made with the device or the first label. */
static struct label *device_tag(struct line *row)
{
    if (!row->tag_count) row->tags[0] = (struct label){STR("device"), {"", 0}};
    if (!row->tag_count) row->tag_count = 1;
    return &row->tags[0];
}

static enum err take_device(struct row_in *r)
{
    struct str text = {0};
    enum err err = take_text(r, &text);
    if (!err) device_tag(r->row)->value = text;
    return err;
}

/* A label; null: it has none. */
static enum err take_label(struct row_in *r, struct str name)
{
    struct line *row = r->row;
    struct str text = {0};
    skip_space(r->in);
    if (take_word(r->in, "null")) return ERR_OK;
    enum err err = take_text(r, &text);
    if (err) return err;
    (void)device_tag(row);
    uint32_t at = row->tag_count;
    while (at > 1 && str_compare(row->tags[at - 1].key, name) >= 0) at--;
    bool is_there = at < row->tag_count && str_equal(row->tags[at].key, name);
    if (!is_there && row->tag_count == LINE_TAGS_MAX) {
        spoil(r, ERR_LIMIT, name, "is one label too many: 63 are allowed");
        return ERR_OK;
    }
    if (!is_there) {
        memmove(&row->tags[at + 1], &row->tags[at], (row->tag_count - at) * sizeof row->tags[0]);
        row->tag_count++;
    }
    row->tags[at] = (struct label){name, text};
    return ERR_OK;
}

static bool is_label(struct str key)
{
    return key.size > 6 && str_starts(key, "label.");
}

static enum err take_field(struct row_in *r, struct str key)
{
    struct line *row = r->row;
    struct value value;
    enum err err = take_value(r, key, &value);
    if (err) return err;
    if (key.size == 0) spoil(r, ERR_INVALID, key, "is no column's name");
    if (row->field_count == LINE_FIELDS_MAX) {
        spoil(r, ERR_LIMIT, key, "is one column too many: 1024 are allowed");
        return ERR_OK;
    }
    /* JSON does not tell 21 from 21.0: what is new becomes a double. */
    enum type fresh = type_is_number(value.type) ? TYPE_DOUBLE : value.type;
    row->fields[row->field_count++] = (struct line_field){key, value, fresh};
    return ERR_OK;
}

/* ---- quality ---- */

static bool is_quality(struct str key)
{
    return key.size > 2 && memcmp(key.at + key.size - 2, "@q", 2) == 0;
}

static bool read_quality(const struct value *value, uint32_t *quality)
{
    if (value->type == TYPE_BIGINT && value->i >= 0 && value->i <= UINT32_MAX) {
        *quality = (uint32_t)value->i;
        return true;
    }
    return value->type == TYPE_TEXT && quality_of_name(value->s, quality);
}

static struct line_field *find_field(struct line *row, struct str key)
{
    for (uint32_t i = row->field_count; i-- > 0;)
        if (str_equal(row->fields[i].key, key)) return &row->fields[i];
    return NULL;
}

/* Moves each "x@q" into the value of x, which becomes a NULL with that quality if there is none. */
static void apply_qualities(struct row_in *r)
{
    struct line *row = r->row;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < row->field_count; i++) {
        struct line_field *field = &row->fields[i];
        if (!is_quality(field->key)) continue;
        struct str name = {field->key.at, field->key.size - 2};
        struct line_field *of = find_field(row, name);
        uint32_t quality;
        if (!read_quality(&field->value, &quality)) {
            spoil(r, ERR_INVALID, field->key, "must be the name or number of an OPC UA status");
            continue;
        }
        if (!of) {
            *field = (struct line_field){name, {.is_null = true}, TYPE_NONE};
            of = field;
        }
        of->value.quality = quality;
        if (quality_is_bad(quality)) of->value.is_null = true;
    }
    for (uint32_t i = 0; i < row->field_count; i++)
        if (!is_quality(row->fields[i].key)) row->fields[kept++] = row->fields[i];
    row->field_count = kept;
}

/* ---- rows ---- */

static enum err take_row(struct row_in *r)
{
    struct json_rows *in = r->in;
    if (!take_char(in, '{')) return no_json(in, r->why, "a row {\"column\": value, …} is expected");
    bool more = !take_char(in, '}');
    while (more) {
        struct str key = {0};
        enum err err = take_text(r, &key);
        if (err) return err;
        if (!take_char(in, ':')) return no_json(in, r->why, "':' is expected");
        err = str_is(key, "time")     ? take_time(r)
              : str_is(key, "device") ? take_device(r)
              : is_label(key)         ? take_label(r, (struct str){key.at + 6, key.size - 6})
                                      : take_field(r, key);
        if (err) return err;
        if (take_char(in, ',')) continue;
        more = false;
        if (!take_char(in, '}')) return no_json(in, r->why, "',' or '}' is expected");
    }
    apply_qualities(r);
    return r->row_err;
}

void json_rows_init(struct json_rows *in, struct str text)
{
    *in = (struct json_rows){.start = text.at, .at = text.at, .end = text.at + text.size};
}

/* What stands between rows: white space, and in a list its commas and ends. False: the end, or an
 * error. */
static bool begin_row(struct json_rows *in, enum err *err, struct why *why)
{
    *err = ERR_OK;
    for (;;) {
        skip_space(in);
        if (!in->in_array) {
            if (in->at == in->end) break;
            if (!take_char(in, '[')) return true;
            in->in_array = true;
            in->any = false;
            continue;
        }
        if (take_char(in, ']')) {
            in->in_array = false;
            continue;
        }
        if (in->any && !take_char(in, ',')) {
            *err = no_json(in, why, "',' or ']' is expected");
            return false;
        }
        in->any = true;
        return true;
    }
    in->is_over = true;
    return false;
}

enum err json_rows_next(struct json_rows *in, struct arena *scratch, struct line *row, bool *found,
                        struct why *why)
{
    enum err err = ERR_OK;
    *found = false;
    row->measurement = (struct str){"", 0};
    row->tag_count = row->field_count = 0;
    row->has_time = false;
    if (in->is_over || !begin_row(in, &err, why)) return err;
    *found = true;
    return take_row(&(struct row_in){in, scratch, row, why, ERR_OK});
}

/* ---- values for columns ---- */

static bool number_to(struct value *value, enum type type)
{
    bool is_i = value->type == TYPE_BIGINT, is_d = value->type == TYPE_DOUBLE;
    double whole = is_d ? value->d : 0;
    int64_t ns;
    switch (type) {
    case TYPE_DOUBLE: value->d = is_i ? (double)value->i : (double)value->u; return true;
    case TYPE_BIGINT:
        if (!is_d || whole != (double)(int64_t)whole) return false;
        value->i = (int64_t)whole;
        return true;
    case TYPE_UBIGINT:
        if (is_i ? value->i < 0 : whole < 0 || whole != (double)(int64_t)whole) return false;
        value->u = is_i ? (uint64_t)value->i : (uint64_t)whole;
        return true;
    case TYPE_TIMESTAMP:
        if (!is_i || __builtin_mul_overflow(value->i, TIME_NS_PER_MS, &ns)) return false;
        value->i = ns;
        return true;
    default: return false;
    }
}

bool json_rows_convert(struct value *value, enum type type, struct arena *scratch)
{
    struct str text = value->s;
    enum type from = value->type;
    if (value->is_null || from == type) {
        value->type = type;
        return true;
    }
    /* Doubles up to 2^53 convert exactly; above it a whole number was written as one. */
    if (from == TYPE_DOUBLE && !(fabs(value->d) <= 9007199254740992.0)) return false;
    value->type = type;
    if (type_is_number(from)) {
        struct value given = *value;
        given.type = from;
        if (!number_to(&given, type)) return false;
        *value = given;
        value->type = type;
        return true;
    }
    if (from != TYPE_TEXT) return false;
    if (type == TYPE_TIMESTAMP) return time_parse(text, &value->i);
    if (type == TYPE_UBIGINT) return num_parse_u64(text, &value->u);
    return type == TYPE_BYTES && json_undo_base64(text, scratch, &value->s);
}
