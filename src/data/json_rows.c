/* json_rows.c - see json_rows.h.
 *
 * The cursor only moves forward. A function that meets text which is no JSON says so through
 * `no_json`, which ends the reading; whatever else is wrong is noted once in `row_err` and the
 * object is read to its end, so that the next row is found. */
#include "data/json_rows.h"
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

/* ---- texts ---- */

static bool hex4(const char *at, const char *end, uint32_t *value)
{
    uint64_t v;
    if (end - at < 4 || !num_parse_hex((struct str){at, 4}, &v)) return false;
    *value = (uint32_t)v;
    return true;
}

static size_t put_utf8(char *out, uint32_t c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const unsigned lead[] = {0, 0xC0, 0xE0, 0xF0};
    for (size_t i = more; i > 0; i--, c >>= 6) out[i] = (char)(0x80 | (c & 0x3F));
    out[0] = (char)(lead[more] | c);
    return more + 1;
}

/* One escape behind its backslash; moves `*at` past it. */
static bool undo_escape(const char **at, const char *end, char *out, size_t *size)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    uint32_t c, low;
    const char *found = *at < end && **at ? strchr(from, **at) : NULL;
    if (found) {
        out[(*size)++] = to[found - from];
        (*at)++;
        return true;
    }
    if (*at == end || **at != 'u' || !hex4(*at + 1, end, &c)) return false;
    *at += 5;
    if (c >= 0xDC00 && c < 0xE000) return false;
    if (c >= 0xD800 && c < 0xDC00) { /* the first half of a pair */
        if (end - *at < 6 || (*at)[0] != '\\' || (*at)[1] != 'u' || !hex4(*at + 2, end, &low) ||
            low < 0xDC00 || low >= 0xE000)
            return false;
        c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
        *at += 6;
    }
    *size += put_utf8(out + *size, c);
    return true;
}

/* Copies what stands between the quotes without its escapes, which never make it longer. */
static enum err unescape(struct row_in *r, struct str raw, struct str *out)
{
    char *copy = arena_alloc(r->scratch, raw.size);
    size_t size = 0;
    if (!copy) return ERR_NO_MEMORY;
    for (const char *at = raw.at, *end = raw.at + raw.size; at < end;) {
        if (*at != '\\') {
            copy[size++] = *at++;
            continue;
        }
        at++;
        if (!undo_escape(&at, end, copy, &size))
            return no_json(r->in, r->why, "an escape that JSON does not have");
    }
    MUST(size <= raw.size);
    *out = (struct str){copy, size};
    return ERR_OK;
}

static enum err take_text(struct row_in *r, struct str *out)
{
    struct json_rows *in = r->in;
    if (!take_char(in, '"')) return no_json(in, r->why, "a text in \"\" is expected");
    const char *from = in->at;
    bool escaped = false;
    for (; in->at < in->end && *in->at != '"'; in->at++) {
        if ((unsigned char)*in->at < 0x20)
            return no_json(in, r->why, "a control character inside a text");
        if (*in->at != '\\') continue;
        escaped = true;
        if (++in->at == in->end) break;
    }
    if (in->at >= in->end) return no_json(in, r->why, "a text does not end");
    *out = (struct str){from, (size_t)(in->at - from)};
    in->at++;
    if (!str_is_utf8(*out)) return no_json(in, r->why, "a text is not UTF-8");
    return escaped ? unescape(r, *out, out) : ERR_OK;
}

/* ---- numbers ---- */

static void skip_digits(struct json_rows *in)
{
    while (in->at < in->end && *in->at >= '0' && *in->at <= '9') in->at++;
}

/* The literal, by JSON's grammar (RFC 8259 section 6). */
static enum err take_number(struct row_in *r, struct str *out, bool *is_whole)
{
    struct json_rows *in = r->in;
    const char *from = in->at;
    if (in->at < in->end && *in->at == '-') in->at++;
    const char *digits = in->at;
    skip_digits(in);
    bool good = in->at > digits && (in->at == digits + 1 || *digits != '0');
    *is_whole = true;
    if (good && in->at < in->end && *in->at == '.') {
        digits = ++in->at;
        skip_digits(in);
        good = in->at > digits;
        *is_whole = false;
    }
    if (good && in->at < in->end && (*in->at == 'e' || *in->at == 'E')) {
        in->at++;
        if (in->at < in->end && (*in->at == '+' || *in->at == '-')) in->at++;
        digits = in->at;
        skip_digits(in);
        good = in->at > digits;
        *is_whole = false;
    }
    *out = (struct str){from, (size_t)(in->at - from)};
    return good ? ERR_OK : no_json(in, r->why, "a value is expected");
}

static enum err number_value(struct row_in *r, struct str key, struct value *value)
{
    struct str text = {0};
    bool is_whole = false;
    enum err err = take_number(r, &text, &is_whole);
    if (err) return err;
    *value = (struct value){.type = TYPE_BIGINT};
    if (is_whole && num_parse_i64(text, &value->i)) return ERR_OK;
    value->type = TYPE_UBIGINT;
    if (is_whole && num_parse_u64(text, &value->u)) return ERR_OK;
    value->type = TYPE_DOUBLE;
    if (!num_parse_double(text, &value->d))
        spoil(r, ERR_RANGE, key, "is a number out of the range of double");
    return ERR_OK;
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

/* Milliseconds as a decimal, exactly as far as nanoseconds go. */
static bool time_of_number(struct str text, int64_t *time_ns)
{
    struct num_decimal n;
    const char *point = memchr(text.at, '.', text.size);
    size_t nanoseconds = point ? (size_t)(point - text.at) + 7 : text.size;
    bool has_exponent = memchr(text.at, 'e', text.size) || memchr(text.at, 'E', text.size);
    if (!has_exponent && nanoseconds < text.size)
        text.size = nanoseconds; /* finer digits are cut */
    if (!num_parse_decimal(text, &n)) return false;
    __int128 ns = (__int128)n.mantissa;
    int32_t exponent = n.exponent + 6;
    for (; exponent > 0 && ns != 0; exponent--)
        if ((ns *= 10) > INT64_MAX) return false;
    for (; exponent < 0 && ns != 0; exponent++) ns /= 10;
    if (ns > INT64_MAX) return false;
    *time_ns = n.negative ? -(int64_t)ns : (int64_t)ns;
    return true;
}

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
    good = is_text ? time_parse(text, &r->row->time_ns) : time_of_number(text, &r->row->time_ns);
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

/* RFC 4648 section 4, with its padding. */
static bool undo_base64(struct str text, struct arena *scratch, struct str *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if (text.size % 4) return false;
    size_t pad = 0, size = 0;
    while (pad < 2 && pad < text.size && text.at[text.size - 1 - pad] == '=') pad++;
    char *bytes = arena_alloc(scratch, text.size / 4 * 3);
    if (!bytes) return false;
    uint32_t bits = 0;
    for (size_t i = 0; i < text.size; i++) {
        const char *found = text.at[i] ? strchr(digits, text.at[i]) : NULL;
        if (i + pad >= text.size) found = digits; /* padding counts as zero bits */
        if (!found) return false;
        bits = bits << 6 | (uint32_t)(found - digits);
        if (i % 4 != 3) continue;
        for (unsigned k = 3; k-- > 0;) bytes[size++] = (char)(bits >> 8 * k & 0xff);
        bits = 0;
    }
    *out = (struct str){bytes, size - pad};
    return true;
}

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
    return type == TYPE_BYTES && undo_base64(text, scratch, &value->s);
}
