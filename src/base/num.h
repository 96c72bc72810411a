/* num.h - numbers to and from text: locale-free, exact, shortest out.
 *
 * Parsing takes the whole slice or refuses it. Accepted: [+-] digits [. digits] [(e|E) [+-]
 * digits]; no white space, no hexadecimal, no "inf"/"nan" (rows store those as NULL with a quality,
 * decided above). Thread: any; nothing allocates. */
#ifndef BASE_NUM_H
#define BASE_NUM_H

#include "base/str.h"
#include <stdbool.h>
#include <stdint.h>

/* Integers in decimal, with a sign or without; false, and `*value` as it was, when not one or out
 * of range. */
bool num_parse_i64(struct str text, int64_t *value);
bool num_parse_u64(struct str text, uint64_t *value);
/* "64MiB" (KiB, MiB, GiB, kB, MB, GB), more than 0; false when it is no size. */
bool num_parse_size(struct str text, int64_t *bytes);
/* 1 to 16 hexadecimal digits of either case, nothing else. */
bool num_parse_hex(struct str text, uint64_t *value);

/* Takes the line "LEADnumber" off the front of `*rest`, the number as `parse` reads it; how small
 * files of text keep numbers. False: another line, or no number. */
bool num_take_line(struct str *rest, const char *lead, bool (*parse)(struct str, uint64_t *),
                   uint64_t *value);

/* The double nearest to the decimal (ties to even), as strtod gives it. Overflow: false.
 * Underflow gives the nearest subnormal or zero. */
bool num_parse_double(struct str text, double *value);

/* A decimal as mantissa × 10^exponent, exactly; false when it has more than 19 significant digits
 * (after leading and trailing zeros) or the exponent leaves ±400. What sensors send is a decimal:
 * codecs work on this form. */
struct num_decimal {
    uint64_t mantissa;
    int32_t exponent;
    bool negative;
};
bool num_parse_decimal(struct str text, struct num_decimal *value);
/* Takes [-]digits[.digits] off the front of *at … end, whatever follows: the form nearly every
 * sensor sends, in one pass. False: something else, or more than 19 digits; *at stays. */
bool num_take_decimal(const char **at, const char *end, struct num_decimal *value);
/* The double nearest to it. False: only the text can tell (near-ties, subnormals, overflow). */
bool num_decimal_to_double(const struct num_decimal *decimal, double *value);

/* The shortest text that reads back as the same double; plain notation for 1e-5 ≤ |v| < 1e21, else
 * with an exponent ("1e+21", "1.5e-7"), as ECMAScript prints numbers (ECMA-262 section 6.1.6.1.20).
 * NaN and infinities: "NaN", "Infinity", "-Infinity". Returns the length; `out` is terminated. */
enum { NUM_DOUBLE_BYTES = 32 };
size_t num_format_double(double value, char out[NUM_DOUBLE_BYTES]);
/* The same text, appended. */
void buf_add_double(struct buf *buf, double value);

/* Signed numbers as unsigned ones that are small when they are: 0, -1, 1, -2… as 0, 1, 2, 3… */
static inline uint64_t num_zigzag(int64_t v)
{
    return (uint64_t)v << 1 ^ (v < 0 ? UINT64_MAX : 0);
}
static inline int64_t num_unzigzag(uint64_t v)
{
    return (int64_t)(v >> 1 ^ (0 - (v & 1)));
}

#endif
