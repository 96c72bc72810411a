/* func_text.c - text functions. Characters are Unicode code points of UTF-8; lower and upper fold
 * ASCII only, so a result never depends on a locale. New bytes live in the chunk's scratch arena.
 */
#include "sql/func.h"
#include "base/num.h"
#include <string.h>

#define KERNEL(NAME)                                                                               \
    enum err NAME(struct eval *eval, const struct expr *e, const struct vector *args,              \
                  const struct view *view, struct vector *out)
/* The rows that count and are not NULL. */
#define EACH_ROW(row)                                                                              \
    (void)e;                                                                                       \
    for (uint32_t k = 0, row; k < view->selected && (row = view_row(view, k), true); k++)          \
        if (!vector_is_null(out, row))
#define TEXT(n)    (args[n].s[vector_at(&args[n], row)])
#define INTEGER(n) (args[n].i[vector_at(&args[n], row)])

enum { TEXT_BYTES_MAX = 1 << 20 }; /* of one computed text */

static enum err fold_case(struct eval *eval, const struct vector *args, const struct view *view,
                          struct vector *out, const struct expr *e, char first, int shift)
{
    EACH_ROW(row)
    {
        struct str s = TEXT(0);
        char *to = arena_alloc(&eval->scratch, s.size);
        if (!to) return expr_no_memory(eval->budget, eval->why);
        for (size_t i = 0; i < s.size; i++)
            to[i] = s.at[i] >= first && s.at[i] < first + 26 ? (char)(s.at[i] + shift) : s.at[i];
        out->s[row] = (struct str){to, s.size};
    }
    return ERR_OK;
}

KERNEL(lower_t)
{
    return fold_case(eval, args, view, out, e, 'A', 32);
}
KERNEL(upper_t)
{
    return fold_case(eval, args, view, out, e, 'a', -32);
}

static bool is_continuation(char c)
{
    return ((unsigned char)c & 0xC0) == 0x80;
}

static int64_t count_characters(struct str s)
{
    int64_t n = 0;
    for (size_t i = 0; i < s.size; i++) n += !is_continuation(s.at[i]);
    return n;
}

KERNEL(length_t)
{
    (void)eval;
    EACH_ROW(row) out->i[row] = count_characters(TEXT(0));
    return ERR_OK;
}

/* The byte where character number `n` (from 0) begins, or the size. */
static size_t byte_of_character(struct str s, int64_t n)
{
    size_t i = 0;
    for (; i < s.size; i++)
        if (!is_continuation(s.at[i]) && n-- == 0) break;
    return i;
}

/* Characters [from, from + count) numbered from 1, as SQL does; what lies outside the text is cut
 * off. */
static struct str slice(struct str s, int64_t from, int64_t count)
{
    int64_t to;
    if (__builtin_add_overflow(from, count, &to)) to = INT64_MAX;
    if (from < 1) from = 1;
    if (to <= from) return (struct str){s.at, 0};
    size_t start = from > 1 ? byte_of_character(s, from - 1) : 0;
    size_t end = to - 1 >= (int64_t)s.size ? s.size : byte_of_character(s, to - 1);
    return (struct str){s.at + start, end > start ? end - start : 0};
}

KERNEL(substr_ti)
{
    (void)eval;
    EACH_ROW(row) out->s[row] = slice(TEXT(0), INTEGER(1), INT64_MAX);
    return ERR_OK;
}

KERNEL(substr_tii)
{
    EACH_ROW(row)
    {
        if (INTEGER(2) < 0)
            return why_at(eval->why, ERR_RANGE, e->position, "substr: a length of %lld is negative",
                          (long long)INTEGER(2));
        out->s[row] = slice(TEXT(0), INTEGER(1), INTEGER(2));
    }
    return ERR_OK;
}

KERNEL(trim_t)
{
    (void)eval;
    EACH_ROW(row) out->s[row] = str_trim(TEXT(0));
    return ERR_OK;
}

static enum err too_long(struct eval *eval, const struct expr *e)
{
    return why_at(eval->why, ERR_LIMIT, e->position, "%s: a text of more than %d bytes",
                  e->function->name, TEXT_BYTES_MAX);
}

KERNEL(concat_tt)
{
    EACH_ROW(row)
    {
        struct str a = TEXT(0), b = TEXT(1);
        if (a.size + b.size > TEXT_BYTES_MAX) return too_long(eval, e);
        char *to = arena_alloc(&eval->scratch, a.size + b.size);
        if (!to) return expr_no_memory(eval->budget, eval->why);
        if (a.size) memcpy(to, a.at, a.size);
        if (b.size) memcpy(to + a.size, b.at, b.size);
        out->s[row] = (struct str){to, a.size + b.size};
    }
    return ERR_OK;
}

/* concat(anything, …): NULLs count as nothing. */
KERNEL(concat_any)
{
    struct buf buf = BUF_EMPTY;
    enum err err = ERR_OK;
    for (uint32_t k = 0; k < view->selected && !err; k++) {
        uint32_t row = view_row(view, k);
        buf_clear(&buf);
        for (size_t i = 0; i < e->arg_count; i++) {
            if (args[i].type == TYPE_NONE || vector_is_null(&args[i], row)) continue;
            struct value v = vector_get(&args[i], row);
            value_add_text(&buf, &v);
        }
        char *to = buf_failed(&buf) ? NULL : arena_dup(&eval->scratch, buf.at, buf.size);
        if (buf.size > TEXT_BYTES_MAX)
            err = too_long(eval, e);
        else if (!to)
            err = expr_no_memory(eval->budget, eval->why);
        else
            out->s[row] = (struct str){to, buf.size};
    }
    buf_free(&buf);
    return err;
}

static size_t find(struct str in, size_t from, struct str what)
{
    if (what.size == 0 || what.size > in.size - from) return in.size;
    const char *hit = memmem(in.at + from, in.size - from, what.at, what.size);
    return hit ? (size_t)(hit - in.at) : in.size;
}

static enum err replace_in(struct eval *eval, const struct expr *e, struct str s, struct str what,
                           struct str with, struct str *result)
{
    size_t hits = 0, at = 0, size = 0;
    for (size_t i = find(s, 0, what); i < s.size; i = find(s, i + what.size, what)) hits++;
    size_t total = s.size - hits * what.size;
    if (with.size && hits > TEXT_BYTES_MAX / with.size) return too_long(eval, e);
    total += hits * with.size;
    if (total > TEXT_BYTES_MAX) return too_long(eval, e);
    char *to = arena_alloc(&eval->scratch, total);
    if (!to) return expr_no_memory(eval->budget, eval->why);
    while (at < s.size) {
        size_t hit = find(s, at, what);
        memcpy(to + size, s.at + at, hit - at);
        size += hit - at;
        at = hit + what.size;
        if (hit == s.size) break;
        if (with.size) memcpy(to + size, with.at, with.size);
        size += with.size;
    }
    MUST(size == total);
    *result = (struct str){to, size};
    return ERR_OK;
}

KERNEL(replace_ttt)
{
    EACH_ROW(row)
    {
        enum err err = replace_in(eval, e, TEXT(0), TEXT(1), TEXT(2), &out->s[row]);
        if (err) return err;
    }
    return ERR_OK;
}

KERNEL(starts_with_tt)
{
    (void)eval;
    EACH_ROW(row)
    {
        struct str s = TEXT(0), prefix = TEXT(1);
        out->b[row] = prefix.size <= s.size &&
                      (prefix.size == 0 || memcmp(s.at, prefix.at, prefix.size) == 0);
    }
    return ERR_OK;
}

/* split_part('a/b/c', '/', 2) = 'b'; negative numbers count from the end; outside: empty. */
static struct str part_of(struct str s, struct str separator, int64_t n)
{
    int64_t parts = 1;
    if (separator.size == 0) return n == 1 || n == -1 ? s : (struct str){s.at, 0};
    for (size_t i = find(s, 0, separator); i < s.size; i = find(s, i + separator.size, separator))
        parts++;
    if (n < 0) n = parts + 1 + n;
    if (n < 1 || n > parts) return (struct str){s.at, 0};
    size_t from = 0;
    for (; n > 1; n--) from = find(s, from, separator) + separator.size;
    size_t to = find(s, from, separator);
    return (struct str){s.at + from, to - from};
}

KERNEL(split_part_tti)
{
    EACH_ROW(row)
    {
        if (INTEGER(2) == 0)
            return why_at(eval->why, ERR_RANGE, e->position, "split_part counts from 1");
        out->s[row] = part_of(TEXT(0), TEXT(1), INTEGER(2));
    }
    return ERR_OK;
}

/* ---- LIKE: % any run, _ one character, \ takes the next literally ---- */

static char folded(char c, bool fold)
{
    return fold && c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

/* Without recursion: after a mismatch it goes back to the last % and lets it swallow one byte more,
 * which may take (size of the text) × (size of the pattern) steps. */
static enum err like(struct eval *eval, struct str s, struct str pattern, bool fold, uint8_t *fits)
{
    size_t i = 0, p = 0, star_p = SIZE_MAX, star_i = 0;
    *fits = 0;
    while (i < s.size) {
        char c = p < pattern.size ? pattern.at[p] : 0;
        if (p < pattern.size && c == '%') {
            star_p = ++p;
            star_i = i;
            continue;
        }
        if (p < pattern.size && c == '_') {
            p++, i++;
            while (i < s.size && is_continuation(s.at[i])) i++;
            continue;
        }
        size_t step = c == '\\' && p + 1 < pattern.size ? 2 : 1;
        if (p < pattern.size && folded(pattern.at[p + step - 1], fold) == folded(s.at[i], fold)) {
            p += step, i++;
            continue;
        }
        enum err err = eval_spend(eval, i - star_i + 1);
        if (star_p == SIZE_MAX || err) return err;
        p = star_p;
        i = ++star_i;
    }
    while (p < pattern.size && pattern.at[p] == '%') p++;
    *fits = p == pattern.size;
    return ERR_OK;
}

static enum err each_like(struct eval *eval, const struct expr *e, const struct vector *args,
                          const struct view *view, struct vector *out, bool fold)
{
    EACH_ROW(row)
    {
        enum err err = like(eval, TEXT(0), TEXT(1), fold, &out->b[row]);
        if (err) return err;
    }
    return ERR_OK;
}

KERNEL(like_tt)
{
    return each_like(eval, e, args, view, out, false);
}

KERNEL(ilike_tt)
{
    return each_like(eval, e, args, view, out, true);
}

/* The pattern with \ in the place of another escape; of none, so \ itself is escaped. */
static struct str escape_by(struct str pattern, struct str escape, char *to)
{
    size_t size = 0;
    bool is_escaped = false;
    for (size_t i = 0; i < pattern.size; i++) {
        size_t left = pattern.size - i;
        bool escapes = !is_escaped && escape.size && left >= escape.size &&
                       memcmp(pattern.at + i, escape.at, escape.size) == 0;
        if (escapes || (pattern.at[i] == '\\' && !is_escaped)) to[size++] = '\\';
        if (escapes)
            i += escape.size - 1;
        else
            to[size++] = pattern.at[i];
        is_escaped = escapes;
    }
    return (struct str){to, size};
}

KERNEL(like_escape_tt)
{
    EACH_ROW(row)
    {
        struct str pattern = TEXT(0), escape = TEXT(1);
        if (count_characters(escape) > 1)
            return why_at(eval->why, ERR_INVALID, e->position,
                          "ESCAPE wants one character, or none: ''");
        char *to = arena_alloc(&eval->scratch, pattern.size * 2 + 1);
        if (!to) return expr_no_memory(eval->budget, eval->why);
        out->s[row] = str_is(escape, "\\") ? pattern : escape_by(pattern, escape, to);
    }
    return ERR_OK;
}

KERNEL(quality_good)
{
    (void)eval;
    EACH_ROW(row) out->b[row] = str_starts(TEXT(0), "Good");
    return ERR_OK;
}
