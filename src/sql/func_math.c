/* func_math.c - arithmetic.
 *
 * Integers: overflow is an error with the operator's position. The loops compute all rows with
 * wrapping arithmetic and only note *whether* anything overflowed; if so a second, slow loop looks
 * whether it was a row that counts. Doubles: what is no finite number becomes NULL (FN_FINITE); a
 * division by zero is an error, as in PostgreSQL. */
#include "sql/func.h"
#include <math.h>

#define KERNEL(NAME)                                                                               \
    enum err NAME(struct eval *eval, const struct expr *e, const struct vector *args,              \
                  const struct view *view, struct vector *out)

static enum err overflow(struct eval *eval, const struct expr *e, const char *type)
{
    return why_at(eval->why, ERR_RANGE, e->position,
                  "%s out of range in \"%s\"; cast to double for larger numbers", type,
                  e->function->name);
}

/* ---- doubles ---- */

#define MAP1(NAME, A, a_field, R, r_field, RESULT)                                                 \
    KERNEL(NAME)                                                                                   \
    {                                                                                              \
        (void)eval, (void)e;                                                                       \
        const A *a = args[0].a_field;                                                              \
        R *to = out->r_field;                                                                      \
        for (uint32_t i = 0; i < view->count; i++) {                                               \
            A x = a[i];                                                                            \
            to[i] = (RESULT);                                                                      \
        }                                                                                          \
        return ERR_OK;                                                                             \
    }

#define MAP2(NAME, A, a_field, B, b_field, R, r_field, RESULT)                                     \
    KERNEL(NAME)                                                                                   \
    {                                                                                              \
        (void)eval, (void)e;                                                                       \
        const A *a = args[0].a_field;                                                              \
        const B *b = args[1].b_field;                                                              \
        R *to = out->r_field;                                                                      \
        uint32_t n = view->count;                                                                  \
        if (args[1].is_constant) {                                                                 \
            B y = b[0];                                                                            \
            for (uint32_t i = 0; i < n; i++) {                                                     \
                A x = a[args[0].is_constant ? 0 : i];                                              \
                to[i] = (RESULT);                                                                  \
            }                                                                                      \
        } else if (args[0].is_constant) {                                                          \
            A x = a[0];                                                                            \
            for (uint32_t i = 0; i < n; i++) {                                                     \
                B y = b[i];                                                                        \
                to[i] = (RESULT);                                                                  \
            }                                                                                      \
        } else {                                                                                   \
            for (uint32_t i = 0; i < n; i++) {                                                     \
                A x = a[i];                                                                        \
                B y = b[i];                                                                        \
                to[i] = (RESULT);                                                                  \
            }                                                                                      \
        }                                                                                          \
        return ERR_OK;                                                                             \
    }

MAP2(add_d, double, d, double, d, double, d, x + y)
MAP2(subtract_d, double, d, double, d, double, d, x - y)
MAP2(multiply_d, double, d, double, d, double, d, x *y)
MAP2(power_d, double, d, double, d, double, d, pow(x, y))
MAP1(negate_d, double, d, double, d, -x)
MAP1(abs_d, double, d, double, d, fabs(x))
MAP1(floor_d, double, d, double, d, floor(x))
MAP1(ceil_d, double, d, double, d, ceil(x))
MAP1(sqrt_d, double, d, double, d, sqrt(x))
MAP1(ln_d, double, d, double, d, log(x))
MAP1(log_d, double, d, double, d, log10(x))
MAP1(exp_d, double, d, double, d, exp(x))
MAP1(sign_d, double, d, double, d, (double)((x > 0) - (x < 0)))
MAP1(round_d, double, d, double, d, round(x))
MAP1(same_i, int64_t, i, int64_t, i, x)
MAP1(same_u, uint64_t, u, uint64_t, u, x)

/* Rounds to `digits` decimals, halves away from zero; 10^digits is exact up to 22. */
static double round_to(double x, int64_t digits)
{
    if (digits > 22) return x;
    if (digits < -22) return 0;
    double scale = pow(10, (double)(digits < 0 ? -digits : digits));
    double scaled = digits < 0 ? x / scale : x * scale;
    if (!isfinite(scaled)) return x;
    return digits < 0 ? round(scaled) * scale : round(scaled) / scale;
}

MAP2(round_di, double, d, int64_t, i, double, d, round_to(x, y))

/* True when a row that counts has a zero divisor; garbage in other rows is nobody's business. */
static bool divides_by_zero(const struct vector *divisor, const struct view *view,
                            const struct vector *out)
{
    uint32_t zeros = 0;
    if (divisor->is_constant && divisor->d[0] != 0) return false;
    for (uint32_t i = 0; i < (divisor->is_constant ? 1 : view->count); i++)
        zeros += divisor->d[i] == 0;
    for (uint32_t k = 0; zeros > 0 && k < view->selected; k++) {
        uint32_t row = view_row(view, k);
        if (!vector_is_null(out, row) && divisor->d[vector_at(divisor, row)] == 0) return true;
    }
    return false;
}

static enum err division(struct eval *eval, const struct expr *e)
{
    return why_at(eval->why, ERR_DIVISION, e->position,
                  "division by zero; NULLIF(divisor, 0) makes the result NULL instead");
}

static MAP2(quotients, double, d, double, d, double, d,
            x / y) static MAP2(remainders, double, d, double, d, double, d, fmod(x, y))

    KERNEL(divide_d)
{
    if (divides_by_zero(&args[1], view, out)) return division(eval, e);
    return quotients(eval, e, args, view, out);
}

KERNEL(mod_d)
{
    if (divides_by_zero(&args[1], view, out)) return division(eval, e);
    return remainders(eval, e, args, view, out);
}

/* ---- integers ---- */

/* Walks the rows that count; STEP computes x OP y into *to or returns an error. */
#define INTEGER2(NAME, T, field, TYPE_NAME, BUILTIN)                                               \
    KERNEL(NAME)                                                                                   \
    {                                                                                              \
        const T *a = args[0].field, *b = args[1].field;                                            \
        T *to = out->field;                                                                        \
        bool a_is_one = args[0].is_constant, b_is_one = args[1].is_constant, any = false;          \
        for (uint32_t i = 0; i < view->count; i++)                                                 \
            any |= BUILTIN(a[a_is_one ? 0 : i], b[b_is_one ? 0 : i], &to[i]);                      \
        for (uint32_t k = 0; any && k < view->selected; k++) {                                     \
            uint32_t i = view_row(view, k);                                                        \
            T ignored;                                                                             \
            if (!vector_is_null(out, i) &&                                                         \
                BUILTIN(a[a_is_one ? 0 : i], b[b_is_one ? 0 : i], &ignored))                       \
                return overflow(eval, e, TYPE_NAME);                                               \
        }                                                                                          \
        return ERR_OK;                                                                             \
    }

INTEGER2(add_i, int64_t, i, "bigint", __builtin_add_overflow)
INTEGER2(subtract_i, int64_t, i, "bigint", __builtin_sub_overflow)
INTEGER2(multiply_i, int64_t, i, "bigint", __builtin_mul_overflow)
INTEGER2(add_u, uint64_t, u, "ubigint", __builtin_add_overflow)
INTEGER2(subtract_u, uint64_t, u, "ubigint", __builtin_sub_overflow)
INTEGER2(multiply_u, uint64_t, u, "ubigint", __builtin_mul_overflow)

KERNEL(mod_i)
{
    for (uint32_t k = 0; k < view->selected; k++) {
        uint32_t row = view_row(view, k);
        if (vector_is_null(out, row)) continue;
        int64_t x = args[0].i[vector_at(&args[0], row)], y = args[1].i[vector_at(&args[1], row)];
        if (y == 0) return division(eval, e);
        out->i[row] = y == -1 ? 0 : x % y; /* INT64_MIN % -1 traps */
    }
    return ERR_OK;
}

KERNEL(mod_u)
{
    for (uint32_t k = 0; k < view->selected; k++) {
        uint32_t row = view_row(view, k);
        if (vector_is_null(out, row)) continue;
        uint64_t y = args[1].u[vector_at(&args[1], row)];
        if (y == 0) return division(eval, e);
        out->u[row] = args[0].u[vector_at(&args[0], row)] % y;
    }
    return ERR_OK;
}

/* -x and |x|: only the most negative number has no counterpart. */
static enum err negate_where(struct eval *eval, const struct expr *e, const struct vector *v,
                             const struct view *view, struct vector *out, bool only_negative)
{
    for (uint32_t k = 0; k < view->selected; k++) {
        uint32_t row = view_row(view, k);
        if (vector_is_null(out, row)) continue;
        int64_t x = v->i[vector_at(v, row)];
        if (x == INT64_MIN) return overflow(eval, e, "bigint");
        out->i[row] = only_negative && x >= 0 ? x : -x;
    }
    return ERR_OK;
}

KERNEL(negate_i)
{
    return negate_where(eval, e, &args[0], view, out, false);
}
KERNEL(abs_i)
{
    return negate_where(eval, e, &args[0], view, out, true);
}

/* ---- durations: duration * number, number * duration, duration / number ---- */

static enum err scale_duration(struct eval *eval, const struct expr *e,
                               const struct vector *duration, const struct vector *factor,
                               const struct view *view, struct vector *out, bool divide)
{
    for (uint32_t k = 0; k < view->selected; k++) {
        uint32_t row = view_row(view, k);
        if (vector_is_null(out, row)) continue;
        double by = factor->d[vector_at(factor, row)];
        if (divide && by == 0) return division(eval, e);
        double ns = (double)duration->i[vector_at(duration, row)];
        ns = divide ? ns / by : ns * by;
        if (!(fabs(ns) < 9.2e18)) return overflow(eval, e, "duration");
        out->i[row] = (int64_t)ns;
    }
    return ERR_OK;
}

KERNEL(multiply_id)
{
    return scale_duration(eval, e, &args[0], &args[1], view, out, false);
}
KERNEL(multiply_di)
{
    return scale_duration(eval, e, &args[1], &args[0], view, out, false);
}
KERNEL(divide_id)
{
    return scale_duration(eval, e, &args[0], &args[1], view, out, true);
}
