/* type.c - see type.h. */
#include "data/type.h"
#include "base/num.h"
#include "base/timetext.h"
#include <math.h>
#include <string.h>

static const struct {
    const char *name, *aliases;
} types[TYPE_COUNT] = {[TYPE_NONE] = {"null", ""},
#define X(symbol, name, bytes, aliases) [TYPE_##symbol] = {name, aliases},
                       TYPE_TABLE(X)
#undef X
};
const uint8_t type_sizes[TYPE_COUNT] = {
#define X(symbol, name, bytes, aliases) [TYPE_##symbol] = bytes,
    TYPE_TABLE(X)
#undef X
};

const char *type_name(enum type type)
{
    MUST((unsigned)type < TYPE_COUNT);
    return types[type].name;
}

enum type type_of_name(struct str name)
{
    for (int t = TYPE_NONE + 1; t < TYPE_COUNT; t++) {
        if (str_is_nocase(name, types[t].name)) return (enum type)t;
        struct str rest = str_of(types[t].aliases), alias;
        while (str_split(&rest, ' ', &alias))
            if (alias.size == name.size && str_distance(alias, name) == 0) return (enum type)t;
    }
    return TYPE_NONE;
}

static void add_doubles(struct buf *buf, struct str doubles)
{
    buf_add_char(buf, '[');
    for (size_t i = 0; i + 8 <= doubles.size; i += 8) {
        double d;
        memcpy(&d, doubles.at + i, 8);
        if (i) buf_add_char(buf, ',');
        if (isfinite(d))
            buf_add_double(buf, d);
        else
            buf_add_text(buf, "null");
    }
    buf_add_char(buf, ']');
}

static void add_hex(struct buf *buf, struct str bytes)
{
    static const char digits[] = "0123456789abcdef";
    buf_add_text(buf, "\\x");
    for (size_t i = 0; i < bytes.size; i++) {
        unsigned char c = (unsigned char)bytes.at[i];
        buf_add_char(buf, digits[c >> 4]);
        buf_add_char(buf, digits[c & 15]);
    }
}

/* RFC 4648 section 4. */
static void add_base64(struct buf *buf, struct str bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < bytes.size; i += 3) {
        size_t left = bytes.size - i;
        uint32_t v = 0;
        for (size_t j = 0; j < 3; j++)
            v = v << 8 | (j < left ? (unsigned char)bytes.at[i + j] : 0u);
        for (size_t j = 0; j < 4; j++)
            buf_add_char(buf, j <= left ? digits[v >> (18 - 6 * j) & 63] : '=');
    }
}

void value_add_text(struct buf *buf, const struct value *value)
{
    if (value->is_null) return;
    switch (value->type) {
    case TYPE_BOOL: buf_add_text(buf, value->b ? "true" : "false"); break;
    case TYPE_BIGINT: buf_add_i64(buf, value->i); break;
    case TYPE_UBIGINT: buf_add_u64(buf, value->u); break;
    case TYPE_DOUBLE: buf_add_double(buf, value->d); break;
    case TYPE_TEXT: buf_add_str(buf, value->s); break;
    case TYPE_BYTES: add_hex(buf, value->s); break;
    case TYPE_TIMESTAMP: buf_add_time(buf, value->i); break;
    case TYPE_DOUBLES: add_doubles(buf, value->s); break;
    case TYPE_NONE:
    case TYPE_COUNT: break;
    }
}

static void add_quoted(struct buf *buf, void (*add)(struct buf *, struct str), struct str bytes)
{
    buf_add_char(buf, '"');
    add(buf, bytes);
    buf_add_char(buf, '"');
}

void value_add_json(struct buf *buf, const struct value *value)
{
    const uint64_t exact_in_double = UINT64_C(1) << 53;
    if (value->is_null || value->type == TYPE_NONE) {
        buf_add_text(buf, "null");
        return;
    }
    bool quoted = value->type == TYPE_TIMESTAMP ||
                  (value->type == TYPE_UBIGINT && value->u > exact_in_double);
    if (value->type == TYPE_TEXT) {
        buf_add_json(buf, value->s);
    } else if (value->type == TYPE_BYTES) {
        add_quoted(buf, add_base64, value->s);
    } else {
        if (quoted) buf_add_char(buf, '"');
        value_add_text(buf, value);
        if (quoted) buf_add_char(buf, '"');
    }
}

static bool parse_bool(struct str text, bool *b)
{
    static const struct {
        const char *text;
        bool value;
    } words[] = {{"true", true}, {"false", false}, {"t", true},    {"f", false},  {"1", true},
                 {"0", false},   {"on", true},     {"off", false}, {"yes", true}, {"no", false}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (!str_is_nocase(text, words[i].text)) continue;
        *b = words[i].value;
        return true;
    }
    return false;
}

static bool parse_as(struct str text, enum type type, struct value *value)
{
    switch (type) {
    case TYPE_BOOL: return parse_bool(text, &value->b);
    case TYPE_BIGINT: return num_parse_i64(text, &value->i);
    case TYPE_UBIGINT: return num_parse_u64(text, &value->u);
    case TYPE_DOUBLE: return num_parse_double(text, &value->d);
    case TYPE_TIMESTAMP: return time_parse(text, &value->i);
    case TYPE_TEXT:
    case TYPE_BYTES: value->s = text; return true;
    case TYPE_NONE:
    case TYPE_DOUBLES:
    case TYPE_COUNT: return false;
    }
    return false;
}

enum err value_parse(struct str text, enum type type, struct value *value, struct why *why)
{
    *value = (struct value){.type = type};
    if (parse_as(text, type, value)) return ERR_OK;
    return why_set(why, ERR_INVALID, "'%.*s' is not a %s", (int)(text.size > 60 ? 60 : text.size),
                   text.at, type_name(type));
}

bool type_widens(enum type from, enum type to)
{
    static const struct {
        enum type from, to;
    } ways[] = {{TYPE_BOOL, TYPE_BIGINT},
                {TYPE_BOOL, TYPE_DOUBLE},
                {TYPE_BIGINT, TYPE_DOUBLE},
                {TYPE_UBIGINT, TYPE_DOUBLE}};
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++)
        if (ways[i].from == from && ways[i].to == to) return true;
    return from == to;
}

int value_compare(const struct value *a, const struct value *b)
{
    MUST(a->type == b->type && !a->is_null && !b->is_null);
    switch (a->type) {
    case TYPE_BOOL: return (a->b > b->b) - (a->b < b->b);
    case TYPE_BIGINT:
    case TYPE_TIMESTAMP: return (a->i > b->i) - (a->i < b->i);
    case TYPE_UBIGINT: return (a->u > b->u) - (a->u < b->u);
    case TYPE_DOUBLE: return (a->d > b->d) - (a->d < b->d);
    default: return str_compare(a->s, b->s);
    }
}
