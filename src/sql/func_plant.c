/* func_plant.c - what people of a plant need for registers, status words and waveforms: bits, BCD,
 * signs, arrays of doubles, qualities. */
#include "sql/func_priv.h"
#include "base/num.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- bits ---- */

KERNEL(bit_ii)
{
    EACH_ROW(row)
    {
        int64_t n = INTEGER(1);
        if (n < 0 || n > 63)
            return func_fail(eval, e, ERR_RANGE, "bits are numbered from 0 to 63, this is %lld",
                             (long long)n);
        out->b[row] = ((uint64_t)INTEGER(0) >> n & 1) != 0;
    }
    return ERR_OK;
}

KERNEL(and_ii)
{
    EACH_ROW(row) out->i[row] = INTEGER(0) & INTEGER(1);
    return ERR_OK;
}

KERNEL(or_ii)
{
    EACH_ROW(row) out->i[row] = INTEGER(0) | INTEGER(1);
    return ERR_OK;
}

KERNEL(bits_iii)
{
    EACH_ROW(row)
    {
        int64_t from = INTEGER(1), count = INTEGER(2);
        if (from < 0 || from > 63 || count < 1 || count > 64 - from)
            return func_fail(eval, e, ERR_RANGE,
                             "it takes the first bit and a number of bits: bits(status, 4, 3)");
        uint64_t mask = count == 64 ? UINT64_MAX : (UINT64_C(1) << count) - 1;
        out->i[row] = (int64_t)((uint64_t)INTEGER(0) >> from & mask);
    }
    return ERR_OK;
}

#define BITS(NAME, RESULT)                                                                         \
    KERNEL(NAME)                                                                                   \
    {                                                                                              \
        EACH_ROW(row)                                                                              \
        {                                                                                          \
            uint64_t x = (uint64_t)INTEGER(0), y = e->arg_count > 1 ? (uint64_t)INTEGER(1) : 0;    \
            (void)y;                                                                               \
            out->i[row] = (int64_t)(RESULT);                                                       \
        }                                                                                          \
        return ERR_OK;                                                                             \
    }
BITS(bitand_ii, x &y)
BITS(bitor_ii, x | y)
BITS(bitxor_ii, x ^ y)
BITS(bitnot_i, ~x)
BITS(shift_left_ii, y < 64 ? x << y : 0)
BITS(shift_right_ii, y < 64 ? x >> y : 0)
BITS(bit_count_i, __builtin_popcountll(x))

/* A two's complement number of so many bits: to_signed(65535, 16) = -1. */
KERNEL(to_signed_ii)
{
    EACH_ROW(row)
    {
        int64_t bits = INTEGER(1);
        if (bits < 1 || bits > 64)
            return func_fail(eval, e, ERR_RANGE, "a number has 1 to 64 bits, not %lld",
                             (long long)bits);
        uint64_t x = (uint64_t)INTEGER(0) << (64 - bits);
        bool negative = x >> 63 != 0;
        x >>= 64 - bits; /* and the sign's copies above it */
        out->i[row] = (int64_t)(negative && bits < 64 ? x | UINT64_MAX << bits : x);
    }
    return ERR_OK;
}

/* Binary coded decimals: 0x1234 is 1234. NULL when a digit is above 9. */
KERNEL(bcd_i)
{
    EACH_ROW(row)
    {
        uint64_t x = (uint64_t)INTEGER(0);
        int64_t n = 0, place = 1;
        out->i[row] = 0;
        for (; x > 0; x >>= 4, place *= 10) {
            if ((x & 15) > 9) break;
            n += (int64_t)(x & 15) * place;
        }
        if (x > 0)
            func_set_null(e, out, row);
        else
            out->i[row] = n;
    }
    return ERR_OK;
}

KERNEL(to_bcd_i)
{
    EACH_ROW(row)
    {
        int64_t x = INTEGER(0);
        uint64_t n = 0;
        if (x < 0 || x > INT64_C(999999999999999))
            return func_fail(eval, e, ERR_RANGE, "it takes up to 15 digits");
        for (int shift = 0; x > 0; x /= 10, shift += 4) n |= (uint64_t)(x % 10) << shift;
        out->i[row] = (int64_t)n;
    }
    return ERR_OK;
}

static enum err each_digits(struct eval *eval, const struct expr *e, const struct vector *args,
                            const struct view *view, struct vector *out, unsigned bits)
{
    EACH_ROW(row)
    {
        uint64_t x = (uint64_t)INTEGER(0);
        char text[64];
        size_t at = sizeof text;
        do {
            text[--at] = "0123456789abcdef"[x & ((1u << bits) - 1)];
            x >>= bits;
        } while (x > 0);
        char *copy = arena_dup(&eval->scratch, text + at, sizeof text - at);
        if (!copy) return expr_no_memory(eval->budget, eval->why);
        out->s[row] = (struct str){copy, sizeof text - at};
    }
    return ERR_OK;
}

KERNEL(to_hex_i)
{
    return each_digits(eval, e, args, view, out, 4);
}
KERNEL(to_bin_i)
{
    return each_digits(eval, e, args, view, out, 1);
}

/* The float that two registers or a 32-bit number hold (IEEE 754). */
KERNEL(to_float_i)
{
    EACH_ROW(row)
    {
        uint32_t bits = (uint32_t)INTEGER(0);
        float f;
        memcpy(&f, &bits, sizeof f);
        out->d[row] = isfinite(f) ? (double)f : 0;
        if (!isfinite(f)) func_set_null(e, out, row);
    }
    return ERR_OK;
}

/* ---- arrays of doubles ---- */

static size_t array_of(const struct vector *v, uint32_t row, const double **values)
{
    struct str s = v->s[vector_at(v, row)];
    *values = (const double *)(const void *)s.at;
    return s.size / sizeof **values;
}

KERNEL(array_length_v)
{
    const double *values;
    EACH_ROW(row) out->i[row] = (int64_t)array_of(&args[0], row, &values);
    return ERR_OK;
}

KERNEL(element_vi)
{
    EACH_ROW(row)
    {
        const double *values;
        size_t n = array_of(&args[0], row, &values);
        int64_t i = INTEGER(1) < 0 ? (int64_t)n + INTEGER(1) : INTEGER(1) - 1;
        bool has = i >= 0 && (uint64_t)i < n && isfinite(values[i]);
        out->d[row] = has ? values[i] : 0;
        if (!has) func_set_null(e, out, row);
    }
    return ERR_OK;
}

enum of_array { ARRAY_SUM, ARRAY_AVG, ARRAY_MIN, ARRAY_MAX, ARRAY_RMS, ARRAY_STDDEV };

static double fold_array(const double *v, size_t n, enum of_array what)
{
    double sum = 0, squares = 0, least = v[0], most = v[0], about = 0;
    for (size_t i = 0; i < n; i++) {
        sum += v[i], squares += v[i] * v[i];
        least = v[i] < least ? v[i] : least, most = v[i] > most ? v[i] : most;
    }
    double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) about += (v[i] - mean) * (v[i] - mean);
    switch (what) {
    case ARRAY_SUM: return sum;
    case ARRAY_AVG: return mean;
    case ARRAY_MIN: return least;
    case ARRAY_MAX: return most;
    case ARRAY_RMS: return sqrt(squares / (double)n);
    default: return n > 1 ? sqrt(about / (double)(n - 1)) : NAN;
    }
}

#define ARRAY(NAME, WHAT)                                                                          \
    KERNEL(NAME)                                                                                   \
    {                                                                                              \
        EACH_ROW(row)                                                                              \
        {                                                                                          \
            const double *values;                                                                  \
            size_t n = array_of(&args[0], row, &values);                                           \
            double d = n ? fold_array(values, n, WHAT) : NAN;                                      \
            out->d[row] = isfinite(d) ? d : 0;                                                     \
            if (!isfinite(d)) func_set_null(e, out, row);                                          \
        }                                                                                          \
        return ERR_OK;                                                                             \
    }
ARRAY(array_sum_v, ARRAY_SUM)
ARRAY(array_avg_v, ARRAY_AVG)
ARRAY(array_min_v, ARRAY_MIN)
ARRAY(array_max_v, ARRAY_MAX)
ARRAY(array_rms_v, ARRAY_RMS)
ARRAY(array_stddev_v, ARRAY_STDDEV)

/* array(1, 2, …) */
KERNEL(array_d)
{
    for (uint32_t k = 0; k < view->selected; k++) {
        uint32_t row = view_row(view, k);
        double *to = arena_alloc(&eval->scratch, e->arg_count * sizeof *to);
        if (!to) return expr_no_memory(eval->budget, eval->why);
        bool null = false;
        for (size_t i = 0; i < e->arg_count; i++) {
            null = null || vector_is_null(&args[i], row);
            to[i] = null ? 0 : NUMBER(i);
        }
        out->s[row] = (struct str){(const char *)to, e->arg_count * sizeof *to};
        if (null) func_set_null(e, out, row);
    }
    return ERR_OK;
}

/* ---- qualities ---- */

KERNEL(quality_bad)
{
    EACH_ROW(row) out->b[row] = str_starts(TEXT(0), "Bad");
    return ERR_OK;
}
KERNEL(quality_uncertain)
{
    EACH_ROW(row) out->b[row] = str_starts(TEXT(0), "Uncertain");
    return ERR_OK;
}

KERNEL(quality_name_i)
{
    EACH_ROW(row)
    {
        char scratch[12];
        const char *name = quality_name((uint32_t)INTEGER(0), scratch);
        const char *copy = arena_strdup(&eval->scratch, name, strlen(name));
        if (!copy) return expr_no_memory(eval->budget, eval->why);
        out->s[row] = str_of(copy);
    }
    return ERR_OK;
}
