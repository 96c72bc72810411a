/* func_number.c - more functions of numbers: angles, logarithms, whole numbers, ranges. */
#include "sql/func_priv.h"
#include "base/hash.h"
#include <math.h>

static const double PI = 3.14159265358979323846;

#define ONE(NAME, RESULT)                                                                          \
    KERNEL(NAME)                                                                                   \
    {                                                                                              \
        EACH_ROW(row)                                                                              \
        {                                                                                          \
            double x = NUMBER(0);                                                                  \
            out->d[row] = (RESULT);                                                                \
        }                                                                                          \
        return ERR_OK;                                                                             \
    }
#define TWO(NAME, RESULT)                                                                          \
    KERNEL(NAME)                                                                                   \
    {                                                                                              \
        EACH_ROW(row)                                                                              \
        {                                                                                          \
            double x = NUMBER(0), y = NUMBER(1);                                                   \
            out->d[row] = (RESULT);                                                                \
        }                                                                                          \
        return ERR_OK;                                                                             \
    }
ONE(sin_d, sin(x))
ONE(cos_d, cos(x))
ONE(tan_d, tan(x))
ONE(asin_d, asin(x))
ONE(acos_d, acos(x))
ONE(atan_d, atan(x))
ONE(sinh_d, sinh(x))
ONE(cosh_d, cosh(x))
ONE(tanh_d, tanh(x))
ONE(degrees_d, x * 180 / PI)
ONE(radians_d, x *PI / 180)
ONE(trunc_d, trunc(x))
ONE(cbrt_d, cbrt(x))
ONE(log2_d, log2(x))
TWO(atan2_dd, atan2(x, y))
TWO(log_dd, log(y) / log(x))
TWO(hypot_dd, hypot(x, y))

KERNEL(pi_)
{
    (void)args;
    EACH_ROW(row) out->d[row] = PI;
    return ERR_OK;
}

KERNEL(trunc_di)
{
    EACH_ROW(row)
    {
        double x = NUMBER(0), scale = pow(10, (double)INTEGER(1)), whole = trunc(x * scale);
        double next = (whole + (x < 0 ? -1 : 1)) / scale; /* 0.29 * 100 is a little below 29 */
        double d = fabs(next) <= fabs(x) ? next : whole / scale;
        out->d[row] = INTEGER(1) < -308 ? 0 : isfinite(d) ? d : x;
    }
    return ERR_OK;
}

KERNEL(clamp_ddd)
{
    EACH_ROW(row)
    {
        double x = NUMBER(0), low = NUMBER(1), high = NUMBER(2);
        if (low > high)
            return func_fail(eval, e, ERR_RANGE, "the lower bound %g is above the upper one %g",
                             low, high);
        out->d[row] = x < low ? low : x > high ? high : x;
    }
    return ERR_OK;
}

enum { BUCKETS_MAX = INT32_MAX - 1 }; /* PostgreSQL's count is an integer */

/* PostgreSQL's: 0 below, n + 1 from the upper bound on. */
KERNEL(width_bucket_dddi)
{
    EACH_ROW(row)
    {
        double x = NUMBER(0), low = NUMBER(1), high = NUMBER(2);
        int64_t n = INTEGER(3);
        if (n < 1 || n > BUCKETS_MAX || !(low < high))
            return func_fail(
                eval, e, ERR_RANGE,
                "it takes a value, two bounds and a number of buckets: width_bucket(t, 0, 100, 10)");
        double place = (x - low) / (high - low) * (double)n;
        out->i[row] = x < low ? 0 : x >= high ? n + 1 : (int64_t)place + 1;
    }
    return ERR_OK;
}

static uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t rest = a % b;
        a = b, b = rest;
    }
    return a;
}

static uint64_t size_of(int64_t x)
{
    return x < 0 ? 0 - (uint64_t)x : (uint64_t)x;
}

KERNEL(gcd_ii)
{
    EACH_ROW(row)
    {
        uint64_t divisor = gcd(size_of(INTEGER(0)), size_of(INTEGER(1)));
        if (divisor > INT64_MAX)
            return func_fail(eval, e, ERR_RANGE, "the result does not fit into bigint");
        out->i[row] = (int64_t)divisor;
    }
    return ERR_OK;
}

KERNEL(lcm_ii)
{
    EACH_ROW(row)
    {
        uint64_t a = size_of(INTEGER(0)), b = size_of(INTEGER(1)), product;
        uint64_t one = a && b ? a / gcd(a, b) : 0;
        if (__builtin_mul_overflow(one, b, &product) || product > INT64_MAX)
            return func_fail(eval, e, ERR_RANGE, "the result does not fit into bigint");
        out->i[row] = (int64_t)product;
    }
    return ERR_OK;
}

KERNEL(div_ii)
{
    EACH_ROW(row)
    {
        int64_t a = INTEGER(0), b = INTEGER(1);
        if (b == 0) return why_at(eval->why, ERR_DIVISION, e->position, "division by zero");
        if (b == -1 && a == INT64_MIN)
            return func_fail(eval, e, ERR_RANGE, "the result does not fit into bigint");
        out->i[row] = a / b;
    }
    return ERR_OK;
}

/* Numbers from 0 to 1 that look like chance, from the statement's time and the row's place: enough
 * to thin out rows; not for secrets. */
KERNEL(random_)
{
    (void)args, (void)e;
    for (uint32_t k = 0; k < view->selected; k++) {
        uint32_t row = view_row(view, k);
        uint64_t from[3] = {(uint64_t)eval->now_ns, ++eval->random_count, row};
        out->d[row] = (double)(hash_64(from, sizeof from) >> 11) / 9007199254740992.0; /* 2^53 */
    }
    return ERR_OK;
}
