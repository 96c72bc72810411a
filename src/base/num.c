/* num.c - see num.h.
 *
 * Doubles go through libc behind this header: correct by definition. LC_NUMERIC is never set by the
 * program (it stays "C"), so strtod and printf use the point. */
#include "base/num.h"
#include "base/mem.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool num_parse_u64(struct str text, uint64_t *value)
{
    if (text.size && text.at[0] == '+') text.at++, text.size--;
    if (text.size == 0) return false;
    uint64_t v = 0;
    for (size_t i = 0; i < text.size; i++) {
        unsigned digit = (unsigned)(text.at[i] - '0');
        if (digit > 9 || __builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, digit, &v))
            return false;
    }
    *value = v;
    return true;
}

bool num_parse_i64(struct str text, int64_t *value)
{
    bool negative = text.size && text.at[0] == '-';
    if (negative) {
        text.at++, text.size--;
        if (text.size && text.at[0] == '+') return false;
    }
    uint64_t v;
    if (!num_parse_u64(text, &v)) return false;
    if (v > (uint64_t)INT64_MAX + negative) return false;
    *value = negative ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

/* The parts of a well-formed decimal. */
struct parts {
    struct str whole, fraction;
    int64_t exponent; /* clamped to ±100,000 */
    bool negative;
};

static struct str take_digits(struct str *rest)
{
    struct str digits = {rest->at, 0};
    while (rest->size && rest->at[0] >= '0' && rest->at[0] <= '9') {
        rest->at++, rest->size--;
        digits.size++;
    }
    return digits;
}

static bool take_exponent(struct str *rest, int64_t *exponent)
{
    rest->at++, rest->size--;
    bool negative = rest->size && rest->at[0] == '-';
    if (rest->size && (rest->at[0] == '-' || rest->at[0] == '+')) rest->at++, rest->size--;
    struct str digits = take_digits(rest);
    if (digits.size == 0) return false;
    int64_t v = 0;
    for (size_t i = 0; i < digits.size; i++)
        if (v < 100000) v = v * 10 + (digits.at[i] - '0');
    if (v > 100000) v = 100000;
    *exponent = negative ? -v : v;
    return true;
}

static bool take_parts(struct str text, struct parts *parts)
{
    *parts = (struct parts){0};
    parts->negative = text.size && text.at[0] == '-';
    if (text.size && (text.at[0] == '-' || text.at[0] == '+')) text.at++, text.size--;
    parts->whole = take_digits(&text);
    if (text.size && text.at[0] == '.') {
        text.at++, text.size--;
        parts->fraction = take_digits(&text);
    }
    if (parts->whole.size + parts->fraction.size == 0) return false;
    if (text.size && (text.at[0] == 'e' || text.at[0] == 'E') &&
        !take_exponent(&text, &parts->exponent))
        return false;
    return text.size == 0;
}

bool num_parse_decimal(struct str text, struct num_decimal *value)
{
    struct parts p;
    if (!take_parts(text, &p)) return false;
    uint64_t mantissa = 0;
    int64_t exponent = p.exponent;
    unsigned digits = 0, zeros = 0; /* zeros: seen but not yet multiplied in */
    for (size_t i = 0; i < p.whole.size + p.fraction.size; i++) {
        bool in_fraction = i >= p.whole.size;
        char c = in_fraction ? p.fraction.at[i - p.whole.size] : p.whole.at[i];
        if (in_fraction) exponent--;
        if (c == '0' && mantissa == 0) continue;
        if (c == '0') {
            zeros++;
            continue;
        }
        digits += zeros + 1;
        if (digits > 19) return false;
        for (; zeros; zeros--) mantissa *= 10;
        mantissa = mantissa * 10 + (uint64_t)(c - '0');
    }
    exponent += zeros;
    if (mantissa == 0) exponent = 0;
    if (exponent < -400 || exponent > 400) return false;
    *value = (struct num_decimal){mantissa, (int32_t)exponent, p.negative};
    return true;
}

bool num_parse_double(struct str text, double *value)
{
    struct parts parts;
    if (!take_parts(text, &parts)) return false;
    char small[64], *copy = small, *large = NULL;
    if (text.size >= sizeof small) {
        copy = large = mem_alloc(text.size + 1);
        if (!large) return false;
    }
    memcpy(copy, text.at, text.size);
    copy[text.size] = 0;
    double v = strtod(copy, NULL);
    mem_free(large);
    if (isinf(v)) return false;
    *value = v;
    return true;
}

/* Lays out `count` digits with the point after digit `point` (ECMA-262 Number::toString). */
static size_t lay_out(const char *digits, int count, int point, char *out)
{
    if (point > 21 || point < -5) {
        int n = count == 1 ? sprintf(out, "%c", digits[0])
                           : sprintf(out, "%c.%.*s", digits[0], count - 1, digits + 1);
        return (size_t)(n + sprintf(out + n, "e%+d", point - 1));
    }
    if (point <= 0) return (size_t)sprintf(out, "0.%.*s%.*s", -point, "00000", count, digits);
    if (point >= count)
        return (size_t)sprintf(out, "%.*s%.*s", count, digits, point - count, "000000000000000000000");
    return (size_t)sprintf(out, "%.*s.%.*s", point, digits, count - point, digits + point);
}

size_t num_format_double(double value, char out[NUM_DOUBLE_BYTES])
{
    if (isnan(value)) return (size_t)sprintf(out, "NaN");
    if (isinf(value)) return (size_t)sprintf(out, value < 0 ? "-Infinity" : "Infinity");
    if (value == 0) return (size_t)sprintf(out, "0");
    char text[NUM_DOUBLE_BYTES], digits[20];
    int precision = 0;
    do snprintf(text, sizeof text, "%.*e", precision, fabs(value));
    while (strtod(text, NULL) != fabs(value) && ++precision < 17);
    int count = 0;
    char *p = text;
    for (; *p && *p != 'e'; p++)
        if (*p != '.') digits[count++] = *p;
    int point = atoi(p + 1) + 1;
    while (count > 1 && digits[count - 1] == '0') count--;
    size_t sign = value < 0;
    if (sign) out[0] = '-';
    return sign + lay_out(digits, count, point, out + sign);
}

void buf_add_double(struct buf *buf, double value)
{
    char text[NUM_DOUBLE_BYTES];
    buf_add(buf, text, num_format_double(value, text));
}
