/* csv_value.c - see csv_value.h. One function a type, in a table. */
#include "data/csv_value.h"
#include "base/num.h"
#include <math.h>
#include <string.h>

typedef enum err read_value(struct str text, struct csv_rules *rules, struct arena *arena,
                            struct value *v);

/* With a point for the comma, where that is how the file writes. */
static bool parse_double(struct str text, const struct csv_rules *rules, double *d)
{
    char plain[64];
    if (!rules->decimal_comma) return num_parse_double(text, d);
    if (text.size > sizeof plain) return false;
    memcpy(plain, text.at, text.size);
    for (size_t i = 0; i < text.size; i++)
        if (plain[i] == ',') plain[i] = '.';
    return num_parse_double((struct str){plain, text.size}, d);
}

static enum err read_double(struct str text, struct csv_rules *rules, struct arena *arena,
                            struct value *v)
{
    static const char *const endless[] = {"inf", "+inf", "-inf", "infinity", "-infinity"};
    (void)arena;
    if (parse_double(text, rules, &v->d)) return ERR_OK;
    v->d = (double)NAN;
    for (size_t i = 0; i < sizeof endless / sizeof endless[0]; i++)
        if (str_is_nocase(text, endless[i])) return ERR_OK;
    return ERR_INVALID;
}

static enum err read_bigint(struct str text, struct csv_rules *rules, struct arena *arena,
                            struct value *v)
{
    const double exact = 9007199254740992.0; /* 2^53 */
    double d;
    (void)arena;
    if (num_parse_i64(text, &v->i)) return ERR_OK;
    if (!parse_double(text, rules, &d) || !(fabs(d) <= exact) || floor(d) < d) return ERR_INVALID;
    v->i = (int64_t)d;
    return ERR_OK;
}

static enum err read_plain(struct str text, struct csv_rules *rules, struct arena *arena,
                           struct value *v)
{
    (void)rules;
    (void)arena;
    return value_parse(text, v->type, v, NULL);
}

static enum err read_time(struct str text, struct csv_rules *rules, struct arena *arena,
                          struct value *v)
{
    (void)arena;
    return time_notation_read(&rules->cell, text, &v->i) ? ERR_OK : ERR_INVALID;
}

static enum err read_bytes(struct str text, struct csv_rules *rules, struct arena *arena,
                           struct value *v)
{
    (void)rules;
    v->s = text;
    if (!str_starts(text, "\\x")) return ERR_OK;
    size_t size = text.size / 2 - 1;
    char *out = arena_alloc(arena, size + 1);
    if (!out) return ERR_NO_MEMORY;
    for (size_t i = 0; i < size; i++) {
        uint64_t byte;
        if (!num_parse_hex((struct str){text.at + 2 + 2 * i, 2}, &byte)) return ERR_INVALID;
        out[i] = (char)byte;
    }
    v->s = (struct str){out, size};
    return text.size % 2 == 0 ? ERR_OK : ERR_INVALID;
}

static enum err read_doubles(struct str text, struct csv_rules *rules, struct arena *arena,
                             struct value *v)
{
    size_t count = 0;
    struct str piece;
    (void)rules; /* commas part the numbers here */
    if (text.size < 2) return ERR_INVALID;
    char first = text.at[0], last = text.at[text.size - 1];
    if (!(first == '[' && last == ']') && !(first == '{' && last == '}')) return ERR_INVALID;
    struct str rest = str_trim((struct str){text.at + 1, text.size - 2});
    size_t most = rest.size > 0;
    for (size_t i = 0; i < rest.size; i++) most += rest.at[i] == ',';
    double *out = arena_alloc(arena, (most + 1) * sizeof *out);
    if (!out) return ERR_NO_MEMORY;
    for (; count < most && str_split(&rest, ',', &piece); count++) {
        out[count] = (double)NAN;
        piece = str_trim(piece);
        if (!str_is_nocase(piece, "null") && !num_parse_double(piece, &out[count]))
            return ERR_INVALID;
    }
    v->s = (struct str){(const char *)out, count * sizeof *out};
    return count == most ? ERR_OK : ERR_INVALID;
}

static read_value *const readers[TYPE_COUNT] = {
    [TYPE_BOOL] = read_plain,      [TYPE_BIGINT] = read_bigint, [TYPE_UBIGINT] = read_plain,
    [TYPE_DOUBLE] = read_double,   [TYPE_BYTES] = read_bytes,   [TYPE_TIMESTAMP] = read_time,
    [TYPE_DOUBLES] = read_doubles,
};

enum err csv_value_read(const struct csv_field *field, enum type type, struct csv_rules *rules,
                        struct arena *arena, struct value *v)
{
    struct str text = field->text;
    *v = (struct value){.type = type};
    if (type == TYPE_TEXT) {
        v->is_null = !field->is_quoted && csv_is_missing(text);
        v->s = text;
        return str_is_utf8(text) ? ERR_OK : ERR_INVALID;
    }
    MUST((unsigned)type < TYPE_COUNT && readers[type]);
    if (text.size && (text.at[0] <= ' ' || text.at[text.size - 1] <= ' ')) text = str_trim(text);
    v->is_null = field->is_quoted && type == TYPE_BYTES ? false : csv_is_missing(text);
    return v->is_null ? ERR_OK : readers[type](text, rules, arena, v);
}
