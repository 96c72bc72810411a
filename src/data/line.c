/* line.c - see line.h. */
#include "data/line.h"
#include "base/num.h"
#include <string.h>

struct line_in {
    const char *at, *end, *start;
    struct arena *scratch;
    struct why *why;
};

static enum err trouble(const struct line_in *in, enum err err, const char *what)
{
    return why_at(in->why, err, (int32_t)(in->at - in->start), "byte %zu: %s",
                  (size_t)(in->at - in->start) + 1, what);
}

/* Copies `raw` without the backslashes that stand before one of `special`. */
static enum err unescape(const struct line_in *in, struct str raw, const char *special,
                         struct str *out)
{
    char *copy = arena_alloc(in->scratch, raw.size);
    size_t size = 0;
    if (!copy) return ERR_NO_MEMORY;
    for (size_t i = 0; i < raw.size; i++) {
        if (raw.at[i] == '\\' && i + 1 < raw.size && raw.at[i + 1] &&
            strchr(special, raw.at[i + 1]))
            i++;
        copy[size++] = raw.at[i];
    }
    *out = (struct str){copy, size};
    return ERR_OK;
}

/* Text up to an unescaped character of `stops`, which are three (one may stand twice). */
static enum err take_text(struct line_in *in, const char *stops, const char *special,
                          struct str *out)
{
    const char *from = in->at;
    bool escaped = false;
    for (; in->at < in->end; in->at++) {
        if (*in->at == '\\' && in->at + 1 < in->end) {
            escaped = true;
            in->at++;
        } else if (*in->at == stops[0] || *in->at == stops[1] || *in->at == stops[2]) {
            break;
        }
    }
    *out = (struct str){from, (size_t)(in->at - from)};
    return escaped ? unescape(in, *out, special, out) : ERR_OK;
}

static bool take_char(struct line_in *in, char c)
{
    if (in->at == in->end || *in->at != c) return false;
    in->at++;
    return true;
}

/* Keeps the tags sorted; they nearly always come so. */
static enum err add_tag(struct line_in *in, struct line *line, struct label tag)
{
    uint32_t at = line->tag_count;
    while (at > 0 && str_compare(line->tags[at - 1].key, tag.key) >= 0) at--;
    if (at < line->tag_count && str_equal(line->tags[at].key, tag.key)) {
        line->tags[at] = tag;
        return ERR_OK;
    }
    if (line->tag_count == LINE_TAGS_MAX) return trouble(in, ERR_LIMIT, "more than 64 tags");
    memmove(&line->tags[at + 1], &line->tags[at], (line->tag_count - at) * sizeof tag);
    line->tags[at] = tag;
    line->tag_count++;
    return ERR_OK;
}

static enum err take_tags(struct line_in *in, struct line *line)
{
    while (take_char(in, ',')) {
        struct label tag;
        enum err err = take_text(in, "=, ", ",= ", &tag.key);
        if (err) return err;
        if (!tag.key.size || !take_char(in, '='))
            return trouble(in, ERR_SYNTAX, "a tag must be key=value");
        if ((err = take_text(in, ", =", ",= ", &tag.value))) return err;
        if (!tag.value.size) return trouble(in, ERR_SYNTAX, "a tag's value is missing");
        if ((err = add_tag(in, line, tag))) return err;
    }
    return ERR_OK;
}

static enum err take_string(struct line_in *in, struct value *value)
{
    const char *from = ++in->at;
    bool escaped = false;
    for (; in->at < in->end && *in->at != '"'; in->at++) {
        if (*in->at != '\\' || in->at + 1 == in->end) continue;
        escaped = true;
        in->at++;
    }
    if (in->at >= in->end) {
        in->at = in->end;
        return trouble(in, ERR_SYNTAX, "a string does not end");
    }
    *value = (struct value){.type = TYPE_TEXT, .s = {from, (size_t)(in->at - from)}};
    in->at++;
    if (!str_is_utf8(value->s)) return trouble(in, ERR_SYNTAX, "a string is not UTF-8");
    return escaped ? unescape(in, value->s, "\"\\", &value->s) : ERR_OK;
}

static bool read_bool(struct str text, bool *b)
{
    static const char *const yes[] = {"t", "T", "true", "True", "TRUE"};
    static const char *const no[] = {"f", "F", "false", "False", "FALSE"};
    for (size_t i = 0; i < 5; i++) {
        if (!str_is(text, yes[i]) && !str_is(text, no[i])) continue;
        *b = str_is(text, yes[i]);
        return true;
    }
    return false;
}

static bool ends_value(const struct line_in *in, const char *at)
{
    return at == in->end || *at == ',' || *at == ' ';
}

/* The form nearly all values have. False: look again. */
static bool take_number(struct line_in *in, struct value *value)
{
    struct num_decimal d;
    const char *at = in->at;
    if (!num_take_decimal(&at, in->end, &d)) return false;
    value->is_null = false;
    value->quality = QUALITY_GOOD;
    if (ends_value(in, at)) {
        value->type = TYPE_DOUBLE;
        if (!num_decimal_to_double(&d, &value->d)) return false;
    } else if (*at == 'i' && ends_value(in, at + 1) && d.mantissa <= INT64_MAX && at[-1] != '.' &&
               !d.exponent) {
        value->type = TYPE_BIGINT;
        value->i = d.negative ? -(int64_t)d.mantissa : (int64_t)d.mantissa;
        at++;
    } else {
        return false;
    }
    in->at = at;
    return true;
}

static enum err take_value(struct line_in *in, struct value *value)
{
    if (take_number(in, value)) return ERR_OK;
    if (in->at < in->end && *in->at == '"') return take_string(in, value);
    const char *from = in->at;
    while (in->at < in->end && *in->at != ',' && *in->at != ' ') in->at++;
    struct str text = {from, (size_t)(in->at - from)};
    char last = text.size ? text.at[text.size - 1] : 0;
    struct str number = {text.at, text.size ? text.size - 1 : 0};
    *value = (struct value){.type = TYPE_DOUBLE};
    if (num_parse_double(text, &value->d)) return ERR_OK;
    value->type = TYPE_BIGINT;
    if (last == 'i' && num_parse_i64(number, &value->i)) return ERR_OK;
    value->type = TYPE_UBIGINT;
    if (last == 'u' && num_parse_u64(number, &value->u)) return ERR_OK;
    value->type = TYPE_BOOL;
    if (read_bool(text, &value->b)) return ERR_OK;
    in->at = from;
    return trouble(in, ERR_SYNTAX,
                   "a field's value must be a number, 1i, 1u, true, false or a \"string\"");
}

/* The key that the lines before had in this place, and its '='. */
static bool take_known(struct line_in *in, struct str key)
{
    if ((size_t)(in->end - in->at) <= key.size || in->at[key.size] != '=') return false;
    for (size_t i = 0; i < key.size; i++)
        if (in->at[i] != key.at[i]) return false;
    in->at += key.size + 1;
    return true;
}

/* Keys that had escapes are not in the text, and so not kept. */
static enum err take_key(struct line_in *in, struct line *line, struct str *key)
{
    uint32_t place = line->field_count;
    if (place < line->known && take_known(in, *key)) return ERR_OK;
    const char *from = in->at;
    if (line->known > place) line->known = place;
    enum err err = take_text(in, "=, ", ",= ", key);
    if (err) return err;
    if (!key->size || !take_char(in, '='))
        return trouble(in, ERR_SYNTAX, "a field must be key=value");
    if (line->known == place && key->at == from) line->known++;
    return ERR_OK;
}

static enum err take_fields(struct line_in *in, struct line *line)
{
    do {
        if (line->field_count == LINE_FIELDS_MAX)
            return trouble(in, ERR_LIMIT, "more than 1024 fields");
        struct line_field *field = &line->fields[line->field_count];
        enum err err = take_key(in, line, &field->key);
        if (!err) err = take_value(in, &field->value);
        if (err) return err;
        field->fresh = field->value.type;
        line->field_count++;
    } while (take_char(in, ','));
    return ERR_OK;
}

static enum err take_time(struct line_in *in, struct line *line, int64_t unit_ns)
{
    while (take_char(in, ' ')) {
    }
    struct str text = str_trim((struct str){in->at, (size_t)(in->end - in->at)});
    int64_t v;
    if (!text.size) return ERR_OK;
    if (!num_parse_i64(text, &v))
        return trouble(in, ERR_SYNTAX, "the timestamp is not a whole number");
    if (__builtin_mul_overflow(v, unit_ns, &line->time_ns))
        return trouble(in, ERR_RANGE, "the timestamp is out of range; does its precision fit?");
    line->has_time = true;
    return ERR_OK;
}

enum err line_parse(struct str text, int64_t unit_ns, struct arena *scratch, struct line *line,
                    struct why *why)
{
    struct line_in in = {text.at, text.at + text.size, text.at, scratch, why};
    MUST(unit_ns > 0 && line->known <= LINE_FIELDS_MAX);
    line->tag_count = line->field_count = 0;
    line->has_time = false;
    if (text.size > LINE_BYTES_MAX) return trouble(&in, ERR_LIMIT, "the line is longer than 1 MiB");
    enum err err = take_text(&in, ", ,", ", ", &line->measurement);
    if (err) return err;
    if (!line->measurement.size) return trouble(&in, ERR_SYNTAX, "the measurement is missing");
    if ((err = take_tags(&in, line))) return err;
    if (!take_char(&in, ' ')) return trouble(&in, ERR_SYNTAX, "fields are missing");
    while (take_char(&in, ' ')) {
    }
    if ((err = take_fields(&in, line))) return err;
    if (in.at < in.end && *in.at != ' ')
        return trouble(&in, ERR_SYNTAX, "unexpected text behind the fields");
    return take_time(&in, line, unit_ns);
}
