/* num.c - see num.h.
 *
 * Both directions compute with one table of 128-bit powers of ten, made at build time. The few
 * inputs for which that is not provably exact (more than 19 digits, near-ties, subnormal results)
 * go through libc: LC_NUMERIC is never set by the program (it stays "C"), so strtod uses the point.
 * `./dev soak numbers` compares both directions with libc. */
#include "base/num.h"
#include "base/mem.h"
#include "base/simd.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "powers_of_ten.h" /* generated */

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

bool num_parse_hex(struct str text, uint64_t *value)
{
    if (text.size == 0 || text.size > 16) return false;
    uint64_t v = 0;
    for (size_t i = 0; i < text.size; i++) {
        unsigned digit = (unsigned char)text.at[i];
        if (digit - '0' < 10)
            digit -= '0';
        else if ((digit | 0x20) - 'a' < 6)
            digit = (digit | 0x20) - 'a' + 10;
        else
            return false;
        v = v << 4 | digit;
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

bool num_take_line(struct str *rest, const char *lead, bool (*parse)(struct str, uint64_t *),
                   uint64_t *value)
{
    struct str line;
    if (!str_split(rest, '\n', &line) || !str_starts(line, lead)) return false;
    line.at += strlen(lead), line.size -= strlen(lead);
    return parse(line, value);
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

/* ---- decimal to double ---- */

/* The nearest double to mantissa × 10^exponent, where 19 digits suffice: the product with the upper
 * 128 bits of the power is precise enough unless it lies too close to the middle of two doubles;
 * then false, and libc decides. After D. Lemire, "Number parsing at a gigabyte per second" (2021),
 * section 5. */
static bool nearest_double(uint64_t mantissa, int32_t exponent, double *value)
{
    if (mantissa == 0 || exponent < POWER_FIRST || exponent > POWER_LAST) return false;
    unsigned shift = (unsigned)__builtin_clzll(mantissa);
    uint64_t w = mantissa << shift;
    uint64_t power_high = powers_of_ten[exponent - POWER_FIRST].high;
    uint64_t power_low = powers_of_ten[exponent - POWER_FIRST].low;
    int64_t binary_exponent = ((217706 * (int64_t)exponent) >> 16) + 64 + 1023 - (int64_t)shift;
    unsigned __int128 product = (unsigned __int128)w * power_high;
    uint64_t high = (uint64_t)(product >> 64), low = (uint64_t)product;
    if ((high & 0x1ff) == 0x1ff && low + w < w) {
        unsigned __int128 tail = (unsigned __int128)w * power_low;
        uint64_t merged = low + (uint64_t)(tail >> 64);
        if (merged < low) high++;
        low = merged;
        if ((high & 0x1ff) == 0x1ff && low + 1 == 0 && (uint64_t)tail + w < w) return false;
    }
    unsigned top = (unsigned)(high >> 63);
    uint64_t bits = high >> (top + 9);
    binary_exponent -= 1 ^ top;
    if (low == 0 && (high & 0x1ff) == 0 && (bits & 3) == 1) return false; /* may be a tie */
    bits = (bits + (bits & 1)) >> 1;
    if (bits >> 53) {
        bits >>= 1;
        binary_exponent++;
    }
    if (binary_exponent < 1 || binary_exponent > 2046) return false; /* subnormal or too large */
    bits = (bits & ((UINT64_C(1) << 52) - 1)) | (uint64_t)binary_exponent << 52;
    memcpy(value, &bits, sizeof bits);
    return true;
}

static const double exact_powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                      1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                      1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
enum { EXACT_POWER_MAX = 22 };

/* Both factors are exact doubles, so one rounding gives the nearest (W. D. Clinger, 1990). */
static bool exact_double(uint64_t mantissa, int32_t exponent, double *value)
{
    if (mantissa >> 53 || exponent < -EXACT_POWER_MAX || exponent > EXACT_POWER_MAX) return false;
    *value = exponent < 0 ? (double)mantissa / exact_powers[-exponent]
                          : (double)mantissa * exact_powers[exponent];
    return true;
}

static bool libc_double(struct str text, double *value)
{
    char small[64], *copy = small, *large = NULL;
    if (text.size >= sizeof small) {
        copy = large = mem_alloc(text.size + 1);
        if (!large) return false;
    }
    memcpy(copy, text.at, text.size);
    copy[text.size] = 0;
    *value = strtod(copy, NULL);
    mem_free(large);
    return !isinf(*value);
}

/* ---- plain decimals ---- */

#define EVERY_BYTE(b) (UINT64_C(0x0101010101010101) * (b))

/* Eight digit values, the first in the lowest byte, as a number: neighbours are joined to pairs,
 * these to fours, these to eight. */
static uint64_t join_digits(uint64_t digits)
{
    digits = digits * 10 + (digits >> 8);
    uint64_t even = digits & UINT64_C(0x000000ff000000ff);
    uint64_t odd = digits >> 16 & UINT64_C(0x000000ff000000ff);
    uint64_t high = UINT64_C(1000000) << 32 | 100, low = UINT64_C(10000) << 32 | 1;
    return (even * high + odd * low) >> 32;
}

/* A decimal that ends within eight bytes, without a loop: a run of digits cannot be predicted. */
static bool take_short(const char **at, const char *end, struct num_decimal *d)
{
    uint64_t bytes;
    if (end - *at < (ptrdiff_t)sizeof bytes) return false;
    memcpy(&bytes, *at, sizeof bytes);
    uint64_t digits = simd_le64(bytes) ^ EVERY_BYTE('0');
    uint64_t others =
        (((digits & EVERY_BYTE(0x7f)) + EVERY_BYTE(0x76)) | digits) & EVERY_BYTE(0x80);
    if (!others) return false;
    unsigned whole = (unsigned)__builtin_ctzll(others) / 8, size = whole, count = whole;
    if ((*at)[whole] == '.') {
        others &= others - 1;
        if (!others) return false;
        size = (unsigned)__builtin_ctzll(others) / 8;
        count = size - 1;
        uint64_t mask = (UINT64_C(1) << whole * 8) - 1;
        digits = (digits & mask) | (digits >> 8 & ~mask);
    }
    if (!count) return false;
    d->mantissa = join_digits(digits << (64 - count * 8));
    d->exponent = -(int32_t)(count - whole);
    *at += size;
    return true;
}

bool num_take_decimal(const char **at, const char *end, struct num_decimal *d)
{
    const char *p = *at, *point = NULL;
    uint64_t mantissa = 0;
    d->negative = p < end && *p == '-';
    p += d->negative;
    if (take_short(&p, end, d)) {
        *at = p;
        return true;
    }
    const char *first = p;
    for (; p < end && p - first <= 20; p++) {
        unsigned digit = (unsigned)(*p - '0');
        if (digit <= 9)
            mantissa = mantissa * 10 + digit;
        else if (*p == '.' && !point)
            point = p;
        else
            break;
    }
    size_t digits = (size_t)(p - first) - (point != NULL);
    if (digits == 0 || digits > 19) return false;
    d->mantissa = mantissa;
    d->exponent = point ? -(int32_t)(p - point - 1) : 0;
    *at = p;
    return true;
}

bool num_decimal_to_double(const struct num_decimal *d, double *value)
{
    double v = 0;
    if (d->mantissa != 0 && !exact_double(d->mantissa, d->exponent, &v) &&
        !nearest_double(d->mantissa, d->exponent, &v))
        return false;
    *value = d->negative ? -v : v;
    return true;
}

bool num_parse_double(struct str text, double *value)
{
    struct num_decimal d;
    struct parts parts;
    const char *at = text.at, *end = text.at + text.size;
    if (!num_take_decimal(&at, end, &d) || at != end) {
        if (!take_parts(text, &parts)) return false;
        if (!num_parse_decimal(text, &d)) return libc_double(text, value);
    }
    return num_decimal_to_double(&d, value) || libc_double(text, value);
}

/* ---- double to shortest decimal ---- */

static int32_t floor_log2_pow10(int32_t e)
{
    return (int32_t)(((int64_t)e * 1741647) >> 19);
}

/* floor(g × c / 2^64) with the lowest bit set when anything was cut off: rounding to odd keeps
 * later comparisons right. */
static uint64_t round_to_odd(uint64_t high, uint64_t low, uint64_t c)
{
    unsigned __int128 x = (unsigned __int128)low * c;
    unsigned __int128 y = (unsigned __int128)high * c + (uint64_t)(x >> 64);
    return (uint64_t)(y >> 64) | ((uint64_t)y > 1);
}

/* The shortest decimal in the rounding interval of a finite positive double, the nearest of these.
 * After R. Giulietti, "The Schubfach way to render doubles" (2021), section 9. */
static void shortest_decimal(uint64_t bits, uint64_t *digits, int32_t *exponent)
{
    uint64_t fraction = bits & ((UINT64_C(1) << 52) - 1);
    int32_t field = (int32_t)(bits >> 52 & 0x7ff);
    uint64_t c = field ? fraction | UINT64_C(1) << 52 : fraction;
    int32_t q = (field ? field : 1) - 1075;
    bool even = (c & 1) == 0, closer = fraction == 0 && field > 1;
    /* floor(log10(2^q)), or of 3/4 of it when the lower neighbour is at half the distance. */
    int64_t scaled = (int64_t)q * 1262611 - (closer ? 524031 : 0); /* /2^22, rounded down */
    int32_t k = (int32_t)((scaled + ((int64_t)1 << 42)) / ((int64_t)1 << 22) - (1 << 20));
    int32_t h = q + floor_log2_pow10(-k) + 1;
    uint64_t high = powers_of_ten[-k - POWER_FIRST].high,
             low = powers_of_ten[-k - POWER_FIRST].low + 1;
    if (low == 0) high++;
    uint64_t left = round_to_odd(high, low, (4 * c - 2 + closer) << h);
    uint64_t middle = round_to_odd(high, low, (4 * c) << h);
    uint64_t right = round_to_odd(high, low, (4 * c + 2) << h);
    uint64_t lower = left + !even, upper = right - !even, s = middle / 4;
    if (s >= 10) {
        uint64_t tens = s / 10;
        bool down = lower <= 40 * tens, up = 40 * tens + 40 <= upper;
        if (down != up) {
            *digits = tens + up;
            *exponent = k + 1;
            return;
        }
    }
    bool down = lower <= 4 * s, up = 4 * s + 4 <= upper;
    bool round_up = middle > 4 * s + 2 || (middle == 4 * s + 2 && (s & 1));
    *digits = s + (down != up ? up : round_up);
    *exponent = k;
}

/* Lays out `count` digits with the point after digit `point` (ECMA-262 Number::toString). */
static size_t lay_out(const char *digits, int count, int point, char *out)
{
    char *p = out;
    if (point > 21 || point < -5) {
        *p++ = digits[0];
        if (count > 1) {
            *p++ = '.';
            memcpy(p, digits + 1, (size_t)count - 1);
            p += count - 1;
        }
        return (size_t)(p - out + sprintf(p, "e%+d", point - 1));
    }
    if (point <= 0) {
        memcpy(p, "0.00000", (size_t)(2 - point));
        p += 2 - point;
        memcpy(p, digits, (size_t)count);
        p += count;
    } else if (point >= count) {
        memcpy(p, digits, (size_t)count);
        memset(p + count, '0', (size_t)(point - count));
        p += point;
    } else {
        memcpy(p, digits, (size_t)point);
        p[point] = '.';
        memcpy(p + point + 1, digits + point, (size_t)(count - point));
        p += count + 1;
    }
    *p = 0;
    return (size_t)(p - out);
}

size_t num_format_double(double value, char out[NUM_DOUBLE_BYTES])
{
    if (isnan(value)) return (size_t)sprintf(out, "NaN");
    if (isinf(value)) return (size_t)sprintf(out, value < 0 ? "-Infinity" : "Infinity");
    if (value == 0) return (size_t)sprintf(out, "0");
    uint64_t bits, number;
    int32_t exponent;
    double magnitude = fabs(value);
    memcpy(&bits, &magnitude, sizeof bits);
    shortest_decimal(bits, &number, &exponent);
    while (number % 10 == 0) {
        number /= 10;
        exponent++;
    }
    char digits[20];
    size_t at = sizeof digits;
    for (; number; number /= 10) digits[--at] = (char)('0' + number % 10);
    int count = (int)(sizeof digits - at);
    size_t sign = value < 0;
    if (sign) out[0] = '-';
    return sign + lay_out(digits + at, count, count + exponent, out + sign);
}

void buf_add_double(struct buf *buf, double value)
{
    char text[NUM_DOUBLE_BYTES];
    buf_add(buf, text, num_format_double(value, text));
}

bool num_parse_size(struct str text, int64_t *bytes)
{
    static const struct {
        const char *unit;
        int64_t bytes;
    } units[] = {{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30},
                 {"kB", 1000},     {"MB", 1000000},  {"GB", 1000000000}};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        size_t unit_size = strlen(units[i].unit);
        if (text.size <= unit_size ||
            !str_is((struct str){text.at + text.size - unit_size, unit_size}, units[i].unit))
            continue;
        int64_t number;
        struct str digits = str_trim((struct str){text.at, text.size - unit_size});
        return num_parse_i64(digits, &number) && number > 0 &&
               !__builtin_mul_overflow(number, units[i].bytes, bytes);
    }
    return false;
}
