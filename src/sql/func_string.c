/* func_string.c - more functions of text: cutting, filling, encoding, hashing, formatting. */
#include "sql/func_priv.h"
#include "base/num.h"
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- tools ---- */

void func_set_null(const struct expr *e, struct vector *out, uint32_t row)
{
    if (out->null != e->null) { /* it borrows an argument's NULLs, or has none */
        uint8_t *own = e->null;
        for (uint32_t i = 0; i < out->count; i++) own[i] = out->null ? out->null[i] : 0;
        out->null = own;
    }
    out->null[row] = 1;
}

enum err func_fail(struct eval *eval, const struct expr *e, enum err err, const char *format, ...)
{
    char text[WHY_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return why_at(eval->why, err, e->position, "%s: %s", e->function->name, text);
}

enum err func_put(struct eval *eval, const struct expr *e, struct vector *out, uint32_t row,
                  struct buf *buf)
{
    if (buf->size > FUNC_TEXT_BYTES_MAX)
        return func_fail(eval, e, ERR_LIMIT, "a text of more than %d bytes", FUNC_TEXT_BYTES_MAX);
    char *copy = buf_failed(buf) ? NULL : arena_dup(&eval->scratch, buf->at, buf->size);
    if (!copy) return expr_no_memory(eval->budget, eval->why);
    out->s[row] = (struct str){copy, buf->size};
    buf_clear(buf);
    return ERR_OK;
}

static bool is_inner(char c)
{
    return ((unsigned char)c & 0xC0) == 0x80;
}

static int64_t characters(struct str s)
{
    int64_t n = 0;
    for (size_t i = 0; i < s.size; i++) n += !is_inner(s.at[i]);
    return n;
}

/* The byte at which character `n` (from 0) begins, or the size. */
static size_t byte_of(struct str s, int64_t n)
{
    size_t i = 0;
    for (; i < s.size; i++)
        if (!is_inner(s.at[i]) && n-- == 0) break;
    return i;
}

static size_t find(struct str in, struct str what)
{
    if (what.size == 0) return 0;
    const char *hit = what.size > in.size ? NULL : memmem(in.at, in.size, what.at, what.size);
    return hit ? (size_t)(hit - in.at) : SIZE_MAX;
}

/* ---- cutting ---- */

KERNEL(left_ti)
{
    EACH_ROW(row)
    {
        struct str s = TEXT(0);
        int64_t n = INTEGER(1) < 0 ? characters(s) + INTEGER(1) : INTEGER(1);
        out->s[row] = (struct str){s.at, n <= 0 ? 0 : byte_of(s, n)};
    }
    return ERR_OK;
}

KERNEL(right_ti)
{
    EACH_ROW(row)
    {
        struct str s = TEXT(0);
        int64_t n = INTEGER(1), all = characters(s);
        int64_t skip = n < -all ? all : n < 0 ? -n : all - n;
        size_t from = skip <= 0 ? 0 : byte_of(s, skip);
        out->s[row] = (struct str){s.at + from, s.size - from};
    }
    return ERR_OK;
}

/* Without characters of `set` at the ends asked for. */
static enum err strip(struct eval *eval, struct str *s, struct str set, bool front, bool back)
{
    enum err err = ERR_OK;
    while (front && s->size > 0 && !err) {
        size_t n = 1;
        while (n < s->size && is_inner(s->at[n])) n++;
        if (find(set, (struct str){s->at, n}) == SIZE_MAX) break;
        s->at += n, s->size -= n;
        err = eval_spend(eval, set.size);
    }
    while (back && s->size > 0 && !err) {
        size_t from = s->size - 1;
        while (from > 0 && is_inner(s->at[from])) from--;
        if (find(set, (struct str){s->at + from, s->size - from}) == SIZE_MAX) break;
        s->size = from;
        err = eval_spend(eval, set.size);
    }
    return err;
}

#define STRIP(NAME, FRONT, BACK)                                                                   \
    KERNEL(NAME)                                                                                   \
    {                                                                                              \
        EACH_ROW(row)                                                                              \
        {                                                                                          \
            out->s[row] = TEXT(0);                                                                 \
            enum err err = strip(eval, &out->s[row], e->arg_count > 1 ? TEXT(1) : STR(" \t\r\n"),  \
                                 FRONT, BACK);                                                     \
            if (err) return err;                                                                   \
        }                                                                                          \
        return ERR_OK;                                                                             \
    }
STRIP(btrim_t, true, true)
STRIP(ltrim_t, true, false)
STRIP(rtrim_t, false, true)

KERNEL(strpos_tt)
{
    EACH_ROW(row)
    {
        size_t at = find(TEXT(0), TEXT(1));
        out->i[row] = at == SIZE_MAX ? 0 : characters((struct str){TEXT(0).at, at}) + 1;
    }
    return ERR_OK;
}

/* ---- building ---- */

static enum err pad(struct eval *eval, const struct expr *e, const struct vector *args,
                    const struct view *view, struct vector *out, bool left)
{
    struct buf buf = BUF_EMPTY;
    enum err err = ERR_OK;
    EACH_ROW(row)
    {
        struct str s = TEXT(0), with = e->arg_count > 2 ? TEXT(2) : STR(" ");
        int64_t want = INTEGER(1) < 0 ? 0 : INTEGER(1), have = characters(s),
                fill = characters(with);
        if (want > FUNC_TEXT_BYTES_MAX) want = FUNC_TEXT_BYTES_MAX;
        struct str kept = {s.at, byte_of(s, want)};
        if (!left) buf_add_str(&buf, kept);
        for (int64_t missing = want - have; missing > 0 && fill > 0; missing -= fill)
            buf_add_str(&buf,
                        missing >= fill ? with : (struct str){with.at, byte_of(with, missing)});
        if (left) buf_add_str(&buf, kept);
        err = func_put(eval, e, out, row, &buf);
        if (err) break;
    }
    buf_free(&buf);
    return err;
}

KERNEL(lpad_ti)
{
    return pad(eval, e, args, view, out, true);
}
KERNEL(rpad_ti)
{
    return pad(eval, e, args, view, out, false);
}

KERNEL(repeat_ti)
{
    struct buf buf = BUF_EMPTY;
    enum err err = ERR_OK;
    EACH_ROW(row)
    {
        for (int64_t n = INTEGER(1); n > 0 && buf.size <= FUNC_TEXT_BYTES_MAX && TEXT(0).size > 0;
             n--)
            buf_add_str(&buf, TEXT(0));
        err = func_put(eval, e, out, row, &buf);
        if (err) break;
    }
    buf_free(&buf);
    return err;
}

KERNEL(reverse_t)
{
    EACH_ROW(row)
    {
        struct str s = TEXT(0);
        char *to = arena_alloc(&eval->scratch, s.size);
        if (!to) return expr_no_memory(eval->budget, eval->why);
        for (size_t at = 0, n; at < s.size; at += n) {
            for (n = 1; at + n < s.size && is_inner(s.at[at + n]); n++) {
            }
            memcpy(to + s.size - at - n, s.at + at, n);
        }
        out->s[row] = (struct str){to, s.size};
    }
    return ERR_OK;
}

KERNEL(initcap_t)
{
    EACH_ROW(row)
    {
        struct str s = TEXT(0);
        char *to = arena_alloc(&eval->scratch, s.size);
        bool inside = false;
        if (!to) return expr_no_memory(eval->budget, eval->why);
        for (size_t i = 0; i < s.size; i++) {
            char c = s.at[i];
            bool lower = c >= 'a' && c <= 'z', upper = c >= 'A' && c <= 'Z';
            to[i] = lower && !inside ? (char)(c - 32) : upper && inside ? (char)(c + 32) : c;
            inside = lower || upper || (c >= '0' && c <= '9') || (unsigned char)c >= 0x80;
        }
        out->s[row] = (struct str){to, s.size};
    }
    return ERR_OK;
}

/* concat_ws(separator, …): NULLs are left out. */
KERNEL(concat_ws_any)
{
    struct buf buf = BUF_EMPTY;
    enum err err = ERR_OK;
    for (uint32_t k = 0; k < view->selected && !err; k++) {
        uint32_t row = view_row(view, k);
        bool any = false;
        if (vector_is_null(&args[0], row)) {
            func_set_null(e, out, row);
            continue;
        }
        for (size_t i = 1; i < e->arg_count; i++) {
            if (args[i].type == TYPE_NONE || vector_is_null(&args[i], row)) continue;
            struct value v = vector_get(&args[i], row);
            if (any) buf_add_str(&buf, TEXT(0));
            value_add_text(&buf, &v);
            any = true;
        }
        err = func_put(eval, e, out, row, &buf);
    }
    buf_free(&buf);
    return err;
}

/* format('%s is %s', …): %s the next argument, %1$s the first, %% a percent sign. */
static enum err format_row(struct eval *eval, const struct expr *e, const struct vector *args,
                           uint32_t row, struct buf *buf)
{
    struct str f = TEXT(0);
    size_t next = 1;
    for (size_t i = 0; i < f.size; i++) {
        if (f.at[i] != '%') {
            buf_add_char(buf, f.at[i]);
            continue;
        }
        size_t number = 0, at = i + 1;
        for (; at < f.size && f.at[at] >= '0' && f.at[at] <= '9' && number < 100; at++)
            number = number * 10 + (size_t)(f.at[at] - '0');
        bool numbered = at > i + 1 && at < f.size && f.at[at] == '$';
        if (numbered) at++;
        if (at < f.size && f.at[at] == '%' && at == i + 1) {
            buf_add_char(buf, '%');
            i = at;
            continue;
        }
        size_t arg = numbered ? number : next++;
        if (at >= f.size || f.at[at] != 's' || (at > i + 1 && !numbered))
            return func_fail(
                eval, e, ERR_INVALID,
                "it knows %%s, %%1$s and %%%%, as in format('%%s is %%s', device, mode)");
        if (arg < 1 || arg >= e->arg_count)
            return func_fail(eval, e, ERR_INVALID, "there is no argument %zu for %%s", arg);
        if (args[arg].type != TYPE_NONE && !vector_is_null(&args[arg], row)) {
            struct value v = vector_get(&args[arg], row);
            value_add_text(buf, &v);
        }
        i = at;
    }
    return ERR_OK;
}

KERNEL(format_any)
{
    struct buf buf = BUF_EMPTY;
    enum err err = ERR_OK;
    for (uint32_t k = 0; k < view->selected && !err; k++) {
        uint32_t row = view_row(view, k);
        if (vector_is_null(&args[0], row)) {
            func_set_null(e, out, row);
            continue;
        }
        err = format_row(eval, e, args, row, &buf);
        if (!err) err = func_put(eval, e, out, row, &buf);
    }
    buf_free(&buf);
    return err;
}

KERNEL(overlay_ttii)
{
    struct buf buf = BUF_EMPTY;
    enum err err = ERR_OK;
    EACH_ROW(row)
    {
        struct str s = TEXT(0);
        int64_t from = INTEGER(2), count = e->arg_count > 3 ? INTEGER(3) : characters(TEXT(1));
        if (from < 1 || count < 0) {
            err = func_fail(eval, e, ERR_RANGE, "it counts from 1");
            break;
        }
        int64_t behind;
        if (__builtin_add_overflow(from - 1, count, &behind)) behind = INT64_MAX;
        size_t start = byte_of(s, from - 1), end = byte_of(s, behind);
        buf_add(&buf, s.at, start);
        buf_add_str(&buf, TEXT(1));
        buf_add(&buf, s.at + end, s.size - end);
        err = func_put(eval, e, out, row, &buf);
        if (err) break;
    }
    buf_free(&buf);
    return err;
}

/* Every character of `from` becomes the one at its place in `to`, or goes. */
KERNEL(translate_ttt)
{
    struct buf buf = BUF_EMPTY;
    enum err err = ERR_OK;
    EACH_ROW(row)
    {
        struct str s = TEXT(0), from = TEXT(1), to = TEXT(2);
        for (size_t at = 0, n; at < s.size && !err; at += n) {
            for (n = 1; at + n < s.size && is_inner(s.at[at + n]); n++) {
            }
            err = eval_spend(eval, from.size + to.size);
            size_t hit = find(from, (struct str){s.at + at, n});
            if (hit == SIZE_MAX) {
                buf_add(&buf, s.at + at, n);
                continue;
            }
            int64_t place = characters((struct str){from.at, hit});
            size_t start = byte_of(to, place), end = byte_of(to, place + 1);
            buf_add(&buf, to.at + start, end - start);
        }
        if (!err) err = func_put(eval, e, out, row, &buf);
        if (err) break;
    }
    buf_free(&buf);
    return err;
}

/* ---- single characters, codes ---- */

KERNEL(ascii_t)
{
    EACH_ROW(row)
    {
        struct str s = TEXT(0);
        const unsigned char *p = (const unsigned char *)s.at;
        int64_t c = s.size ? p[0] : 0;
        size_t n = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : c >= 0xC0 ? 2 : 1;
        if (n > 1 && n <= s.size) {
            c &= 0xFF >> (n + 1);
            for (size_t i = 1; i < n; i++) c = c << 6 | (p[i] & 0x3F);
        }
        out->i[row] = c;
    }
    return ERR_OK;
}

KERNEL(chr_i)
{
    EACH_ROW(row)
    {
        int64_t c = INTEGER(0);
        char *to = arena_alloc(&eval->scratch, 4);
        if (!to) return expr_no_memory(eval->budget, eval->why);
        if (c < 1 || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000))
            return func_fail(eval, e, ERR_RANGE, "%lld is no character", (long long)c);
        size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
        for (size_t i = n - 1; i > 0; i--, c >>= 6) to[i] = (char)(0x80 | (c & 0x3F));
        to[0] = (char)(n == 1 ? c : (c | (0xF00 >> n)));
        out->s[row] = (struct str){to, n};
    }
    return ERR_OK;
}

KERNEL(octet_length_t)
{
    EACH_ROW(row) out->i[row] = (int64_t)TEXT(0).size;
    return ERR_OK;
}

static void add_hex(struct buf *buf, const void *bytes, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *p = bytes;
    for (size_t i = 0; i < size; i++) {
        buf_add_char(buf, digits[p[i] >> 4]);
        buf_add_char(buf, digits[p[i] & 15]);
    }
}

KERNEL(hex_t)
{
    struct buf buf = BUF_EMPTY;
    enum err err = ERR_OK;
    EACH_ROW(row)
    {
        add_hex(&buf, TEXT(0).at, TEXT(0).size);
        err = func_put(eval, e, out, row, &buf);
        if (err) break;
    }
    buf_free(&buf);
    return err;
}

static int digit_of(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static bool add_unhex(struct buf *buf, struct str s)
{
    if (s.size % 2) return false;
    for (size_t i = 0; i < s.size; i += 2) {
        int high = digit_of(s.at[i]), low = digit_of(s.at[i + 1]);
        if (high < 0 || low < 0) return false;
        buf_add_char(buf, (char)(high << 4 | low));
    }
    return true;
}

static bool add_base64(struct buf *buf, struct str s, bool decodes)
{
    if (s.size > FUNC_TEXT_BYTES_MAX || !buf_reserve(buf, s.size * 2 + 8)) return false;
    unsigned char *to = (unsigned char *)buf->at;
    if (!decodes) {
        buf->size = (size_t)EVP_EncodeBlock(to, (const unsigned char *)s.at, (int)s.size);
        return true;
    }
    int n = s.size % 4 ? -1 : EVP_DecodeBlock(to, (const unsigned char *)s.at, (int)s.size);
    if (n < 0) return false;
    for (size_t i = s.size; i > 0 && s.size - i < 2 && s.at[i - 1] == '='; i--) n--;
    buf->size = (size_t)n;
    return true;
}

static enum err recode(struct eval *eval, const struct expr *e, const struct vector *args,
                       const struct view *view, struct vector *out, bool decodes)
{
    struct buf buf = BUF_EMPTY;
    enum err err = ERR_OK;
    EACH_ROW(row)
    {
        bool hex = str_is_nocase(TEXT(1), "hex"), base64 = str_is_nocase(TEXT(1), "base64"),
             good = true;
        if (!hex && !base64)
            err = func_fail(eval, e, ERR_INVALID, "the forms are 'hex' and 'base64'");
        else if (base64)
            good = add_base64(&buf, TEXT(0), decodes);
        else if (decodes)
            good = add_unhex(&buf, TEXT(0));
        else
            add_hex(&buf, TEXT(0).at, TEXT(0).size);
        if (!good) err = func_fail(eval, e, ERR_INVALID, "the text is not in this form");
        if (!err) err = func_put(eval, e, out, row, &buf);
        if (err) break;
    }
    buf_free(&buf);
    return err;
}

KERNEL(encode_yt)
{
    return recode(eval, e, args, view, out, false);
}
KERNEL(decode_tt)
{
    return recode(eval, e, args, view, out, true);
}

static enum err digest(struct eval *eval, const struct expr *e, const struct vector *args,
                       const struct view *view, struct vector *out, const EVP_MD *md)
{
    struct buf buf = BUF_EMPTY;
    enum err err = ERR_OK;
    EACH_ROW(row)
    {
        unsigned char sum[EVP_MAX_MD_SIZE];
        unsigned size = 0;
        if (EVP_Digest(TEXT(0).at, TEXT(0).size, sum, &size, md, NULL) != 1)
            err = func_fail(eval, e, ERR_INTERNAL, "the digest is not available");
        add_hex(&buf, sum, size);
        if (!err) err = func_put(eval, e, out, row, &buf);
        if (err) break;
    }
    buf_free(&buf);
    return err;
}

KERNEL(md5_t)
{
    return digest(eval, e, args, view, out, EVP_md5());
}
KERNEL(sha256_t)
{
    return digest(eval, e, args, view, out, EVP_sha256());
}

KERNEL(to_number_t)
{
    EACH_ROW(row)
    {
        char kept[64];
        size_t n = 0;
        struct str s = TEXT(0);
        for (size_t i = 0; i < s.size && n < sizeof kept; i++) /* "1,234.5 bar" */
            if (s.at[i] && strchr("0123456789.-+eE", s.at[i])) kept[n++] = s.at[i];
        if (!num_parse_double((struct str){kept, n}, &out->d[row])) func_set_null(e, out, row);
        if (vector_is_null(out, row)) out->d[row] = 0;
    }
    return ERR_OK;
}
