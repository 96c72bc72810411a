/* json_text.c - see json_text.h. */
#include "data/json_text.h"
#include "base/base64.h"
#include "base/num.h"
#include <string.h>

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
static enum err unescape(struct str raw, struct arena *scratch, struct str *out, const char **what)
{
    char *copy = arena_alloc(scratch, raw.size);
    size_t size = 0;
    if (!copy) return ERR_NO_MEMORY;
    for (const char *at = raw.at, *end = raw.at + raw.size; at < end;) {
        if (*at != '\\') {
            copy[size++] = *at++;
            continue;
        }
        at++;
        *what = "an escape that JSON does not have";
        if (!undo_escape(&at, end, copy, &size)) return ERR_SYNTAX;
    }
    MUST(size <= raw.size);
    *out = (struct str){copy, size};
    return ERR_OK;
}

static enum err bad(const char **what, const char *text)
{
    *what = text;
    return ERR_SYNTAX;
}

enum err json_take_text(const char **at, const char *end, struct arena *scratch, struct str *out,
                        const char **what)
{
    bool escaped = false;
    if (*at == end || **at != '"') return bad(what, "a text in \"\" is expected");
    const char *from = ++*at;
    for (; *at < end && **at != '"'; ++*at) {
        if ((unsigned char)**at < 0x20) return bad(what, "a control character inside a text");
        if (**at != '\\') continue;
        escaped = true;
        if (++*at == end) break;
    }
    if (*at >= end) return bad(what, "a text does not end");
    *out = (struct str){from, (size_t)(*at - from)};
    ++*at;
    if (!str_is_utf8(*out)) return bad(what, "a text is not UTF-8");
    return escaped ? unescape(*out, scratch, out, what) : ERR_OK;
}

/* ---- numbers ---- */

/* True when there was one. */
static bool skip_digits(const char **at, const char *end)
{
    const char *from = *at;
    while (*at < end && **at >= '0' && **at <= '9') ++*at;
    return *at > from;
}

bool json_take_number(const char **at, const char *end, struct str *out, bool *is_whole)
{
    const char *from = *at;
    if (*at < end && **at == '-') ++*at;
    const char *digits = *at;
    bool good = skip_digits(at, end) && (*at == digits + 1 || *digits != '0');
    *is_whole = true;
    if (good && *at < end && **at == '.') {
        ++*at;
        good = skip_digits(at, end);
        *is_whole = false;
    }
    if (good && *at < end && (**at == 'e' || **at == 'E')) {
        ++*at;
        if (*at < end && (**at == '+' || **at == '-')) ++*at;
        good = skip_digits(at, end);
        *is_whole = false;
    }
    *out = (struct str){from, (size_t)(*at - from)};
    return good;
}

bool json_number_value(struct str text, bool is_whole, struct value *value)
{
    *value = (struct value){.type = TYPE_BIGINT};
    if (is_whole && num_parse_i64(text, &value->i)) return true;
    value->type = TYPE_UBIGINT;
    if (is_whole && num_parse_u64(text, &value->u)) return true;
    value->type = TYPE_DOUBLE;
    return num_parse_double(text, &value->d);
}

bool json_number_time(struct str text, int exponent, int64_t *time_ns)
{
    struct num_decimal n;
    MUST(exponent >= 0 && exponent <= 9);
    const char *point = memchr(text.at, '.', text.size);
    size_t nanoseconds = point ? (size_t)(point - text.at) + 1 + (size_t)exponent : text.size;
    bool has_exponent = memchr(text.at, 'e', text.size) || memchr(text.at, 'E', text.size);
    if (!has_exponent && nanoseconds < text.size)
        text.size = nanoseconds; /* finer digits are cut */
    if (!num_parse_decimal(text, &n)) return false;
    __int128 ns = (__int128)n.mantissa;
    int32_t power = n.exponent + exponent;
    for (; power > 0 && ns != 0; power--)
        if ((ns *= 10) > INT64_MAX) return false;
    for (; power < 0 && ns != 0; power++) ns /= 10;
    if (ns > INT64_MAX) return false;
    *time_ns = n.negative ? -(int64_t)ns : (int64_t)ns;
    return true;
}

/* ---- bytes ---- */

bool json_undo_base64(struct str text, struct arena *scratch, struct str *out)
{
    size_t size;
    if (text.size % 4) return false;
    char *bytes = arena_alloc(scratch, text.size / 4 * 3 + 1);
    if (!bytes || !base64_decode(text, BASE64_USUAL, bytes, text.size / 4 * 3, &size)) return false;
    *out = (struct str){bytes, size};
    return true;
}
