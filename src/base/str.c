/* str.c - slices and buffers. See str.h.
 *
 * Everything that the program writes, answers, files, log lines, goes through struct buf, so its
 * appends are the hottest code of the base: the common case is a compare and a copy. Growth
 * doubles. A buffer that has failed once stays so until it is cleared or freed: a text with a hole
 * in its middle can never be taken for a whole one.
 *
 * Invariants of a buffer: size ≤ capacity; capacity 0 has no memory; with a limit size ≤ limit. */
#include "base/str.h"
#include "base/mem.h"
#include <stdio.h>
#include <string.h>

struct str str_of(const char *text)
{
    return (struct str){text, text ? strlen(text) : 0};
}

bool str_equal(struct str a, struct str b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.at, b.at, a.size) == 0);
}

bool str_is(struct str a, const char *text)
{
    return str_equal(a, str_of(text));
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

bool str_is_nocase(struct str a, const char *text)
{
    if (strlen(text) != a.size) return false;
    for (size_t i = 0; i < a.size; i++)
        if (lower(a.at[i]) != lower(text[i])) return false;
    return true;
}

int str_compare(struct str a, struct str b)
{
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common ? memcmp(a.at, b.at, common) : 0;
    return order ? order : (a.size > b.size) - (a.size < b.size);
}

bool str_starts(struct str a, const char *prefix)
{
    size_t size = strlen(prefix);
    return a.size >= size && memcmp(a.at, prefix, size) == 0;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

struct str str_trim(struct str a)
{
    while (a.size && is_space(a.at[0])) a.at++, a.size--;
    while (a.size && is_space(a.at[a.size - 1])) a.size--;
    return a;
}

bool str_split(struct str *rest, char separator, struct str *piece)
{
    MUST(rest && piece && (rest->at || !rest->size));
    if (!rest->at) return false;
    const char *hit = rest->size ? memchr(rest->at, separator, rest->size) : NULL;
    if (!hit) {
        *piece = *rest;
        *rest = (struct str){0};
        return true;
    }
    *piece = (struct str){rest->at, (size_t)(hit - rest->at)};
    rest->size -= piece->size + 1;
    rest->at = hit + 1;
    return true;
}

bool str_copy(char *to, size_t to_bytes, struct str from)
{
    MUST(to && to_bytes > 0 && (from.at || !from.size));
    size_t size = from.size < to_bytes ? from.size : to_bytes - 1;
    if (size) memcpy(to, from.at, size);
    to[size] = 0;
    return size == from.size;
}

/* The length of the well-formed sequence at p (RFC 3629 section 4), 0 if there is none. */
static size_t utf8_size(const unsigned char *p, size_t left)
{
    if (p[0] < 0x80) return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4) return 0;
    size_t size = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (left < size) return 0;
    for (size_t i = 1; i < size; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    if (p[0] == 0xe0 && p[1] < 0xa0) return 0;
    if (p[0] == 0xed && p[1] > 0x9f) return 0;
    if (p[0] == 0xf0 && p[1] < 0x90) return 0;
    if (p[0] == 0xf4 && p[1] > 0x8f) return 0;
    return size;
}

bool str_is_utf8(struct str a)
{
    for (size_t i = 0; i < a.size;) {
        size_t n = utf8_size((const unsigned char *)a.at + i, a.size - i);
        if (n == 0) return false;
        i += n;
    }
    return true;
}

enum { DISTANCE_BYTES_MAX = 64 };

static unsigned least(unsigned a, unsigned b, unsigned c)
{
    unsigned ab = a < b ? a : b;
    return ab < c ? ab : c;
}

/* Optimal string alignment: Levenshtein plus the swap of neighbours, three rows at a time. */
unsigned str_distance(struct str a, struct str b)
{
    if (a.size > DISTANCE_BYTES_MAX || b.size > DISTANCE_BYTES_MAX) return 255;
    unsigned rows[3][DISTANCE_BYTES_MAX + 1];
    for (unsigned j = 0; j <= b.size; j++) rows[0][j] = j;
    for (unsigned i = 1; i <= a.size; i++) {
        unsigned *now = rows[i % 3], *last = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
        now[0] = i;
        for (unsigned j = 1; j <= b.size; j++) {
            char x = lower(a.at[i - 1]), y = lower(b.at[j - 1]);
            now[j] = least(last[j] + 1, now[j - 1] + 1, last[j - 1] + (x != y));
            bool swapped = i > 1 && j > 1 && x == lower(b.at[j - 2]) && lower(a.at[i - 2]) == y;
            if (swapped && before[j - 2] + 1 < now[j]) now[j] = before[j - 2] + 1;
        }
    }
    return rows[a.size % 3][b.size];
}

int str_nearest(struct str wanted, const char *const *names, size_t count)
{
    unsigned best = (unsigned)(wanted.size < 3 ? 1 : wanted.size / 3 + 1);
    int found = -1;
    for (size_t i = 0; i < count; i++) {
        unsigned distance = names[i] ? str_distance(wanted, str_of(names[i])) : 255;
        if (distance < best || (distance == best && found < 0)) {
            best = distance;
            found = (int)i;
        }
    }
    return found;
}

/* ---- buffers ---- */

void buf_free(struct buf *buf)
{
    mem_free(buf->at);
    *buf = (struct buf){.limit = buf->limit};
}

void buf_clear(struct buf *buf)
{
    buf->size = 0;
    buf->failed = false;
}

bool buf_reserve(struct buf *buf, size_t more)
{
    MUST(buf->size <= buf->capacity);
    if (buf->failed || more > SIZE_MAX / 2 - buf->size) return !(buf->failed = true);
    size_t want = buf->size + more;
    if (buf->limit && want > buf->limit) return !(buf->failed = true);
    if (want <= buf->capacity) return true;
    size_t capacity = buf->capacity ? buf->capacity : 64;
    while (capacity < want) capacity *= 2;
    char *grown = mem_realloc(buf->at, capacity);
    if (!grown) return !(buf->failed = true);
    buf->at = grown;
    buf->capacity = capacity;
    return true;
}

void buf_add(struct buf *buf, const void *bytes, size_t size)
{
    if (size == 0 || !buf_reserve(buf, size)) return;
    MUST(bytes);
    memcpy(buf->at + buf->size, bytes, size);
    buf->size += size;
}

void buf_add_str(struct buf *buf, struct str text)
{
    buf_add(buf, text.at, text.size);
}
void buf_add_text(struct buf *buf, const char *text)
{
    buf_add(buf, text, strlen(text));
}

void buf_add_char(struct buf *buf, char c)
{
    if (buf->size < buf->capacity && !buf->failed && !buf->limit)
        buf->at[buf->size++] = c;
    else
        buf_add(buf, &c, 1);
}

void buf_printf(struct buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0 || !buf_reserve(buf, (size_t)n + 1)) {
        buf->failed = true;
        return;
    }
    va_start(args, format);
    vsnprintf(buf->at + buf->size, (size_t)n + 1, format, args);
    va_end(args);
    buf->size += (size_t)n;
}

void buf_add_u64(struct buf *buf, uint64_t value)
{
    char digits[20];
    size_t at = sizeof digits;
    do digits[--at] = (char)('0' + value % 10);
    while (value /= 10);
    buf_add(buf, digits + at, sizeof digits - at);
}

void buf_add_i64(struct buf *buf, int64_t value)
{
    if (value < 0) buf_add_char(buf, '-');
    buf_add_u64(buf, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

static void add_le(struct buf *buf, uint64_t value, size_t size)
{
    unsigned char bytes[8];
    for (size_t i = 0; i < size; i++) bytes[i] = (unsigned char)(value >> (8 * i));
    buf_add(buf, bytes, size);
}

void buf_add_le16(struct buf *buf, uint16_t value)
{
    add_le(buf, value, 2);
}
void buf_add_le32(struct buf *buf, uint32_t value)
{
    add_le(buf, value, 4);
}
void buf_add_le64(struct buf *buf, uint64_t value)
{
    add_le(buf, value, 8);
}

void buf_add_varint(struct buf *buf, uint64_t value)
{
    unsigned char bytes[10];
    size_t n = 0;
    while (value >= 0x80) {
        bytes[n++] = (unsigned char)(value | 0x80);
        value >>= 7;
    }
    bytes[n++] = (unsigned char)value;
    buf_add(buf, bytes, n);
}

/* Escapes one byte below 0x20, a quote or a backslash (RFC 8259 section 7). */
static void add_escaped(struct buf *buf, unsigned char c)
{
    static const char short_form[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    for (size_t i = 0; i + 1 < sizeof short_form; i += 2) {
        if ((unsigned char)short_form[i] != c) continue;
        buf_add_char(buf, '\\');
        buf_add_char(buf, short_form[i + 1]);
        return;
    }
    buf_printf(buf, "\\u%04x", c);
}

void buf_add_json(struct buf *buf, struct str text)
{
    buf_add_char(buf, '"');
    for (size_t i = 0; i < text.size;) {
        unsigned char c = (unsigned char)text.at[i];
        size_t n = utf8_size((const unsigned char *)text.at + i, text.size - i);
        if (n == 0) {
            buf_add_text(buf, "\xef\xbf\xbd");
            n = 1;
        } else if (c < 0x20 || c == '"' || c == '\\') {
            add_escaped(buf, c);
        } else {
            buf_add(buf, text.at + i, n);
        }
        i += n;
    }
    buf_add_char(buf, '"');
}

void buf_drop_front(struct buf *buf, size_t size)
{
    MUST(size <= buf->size && buf->size <= buf->capacity);
    if (size && size < buf->size) memmove(buf->at, buf->at + size, buf->size - size);
    buf->size -= size;
}

const char *buf_cstr(struct buf *buf)
{
    if (!buf_reserve(buf, 1)) return NULL;
    buf->at[buf->size] = 0;
    return buf->at;
}

struct str buf_str(const struct buf *buf)
{
    return (struct str){buf->at, buf->size};
}
