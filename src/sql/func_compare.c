/* func_compare.c - comparison kernels: one loop per (operator, type), in three shapes.
 *
 * COMPARE makes a kernel from an operator and the two element types; each shape (column with
 * constant, constant with column, column with column) is a loop the compiler vectorises. They
 * compute every row, selected or not: comparing never fails, and branches would cost more than they
 * save. */
#include "sql/func.h"
#include <string.h>

#define COMPARE(NAME, A, a_field, B, b_field, TEST)                                                \
    enum err NAME(struct eval *eval, const struct expr *e, const struct vector *args,              \
                  const struct view *view, struct vector *out)                                     \
    {                                                                                              \
        (void)eval, (void)e;                                                                       \
        const A *a = args[0].a_field;                                                              \
        const B *b = args[1].b_field;                                                              \
        uint8_t *to = out->b;                                                                      \
        uint32_t n = view->count;                                                                  \
        if (args[1].is_constant) {                                                                 \
            B y = b[0];                                                                            \
            for (uint32_t i = 0; i < n; i++) {                                                     \
                A x = a[args[0].is_constant ? 0 : i];                                              \
                to[i] = (TEST);                                                                    \
            }                                                                                      \
        } else if (args[0].is_constant) {                                                          \
            A x = a[0];                                                                            \
            for (uint32_t i = 0; i < n; i++) {                                                     \
                B y = b[i];                                                                        \
                to[i] = (TEST);                                                                    \
            }                                                                                      \
        } else {                                                                                   \
            for (uint32_t i = 0; i < n; i++) {                                                     \
                A x = a[i];                                                                        \
                B y = b[i];                                                                        \
                to[i] = (TEST);                                                                    \
            }                                                                                      \
        }                                                                                          \
        return ERR_OK;                                                                             \
    }

#define COMPARE_ALL(SUFFIX, A, a_field, B, b_field)                                                \
    COMPARE(compare_eq_##SUFFIX, A, a_field, B, b_field, x == y)                                   \
    COMPARE(compare_ne_##SUFFIX, A, a_field, B, b_field, x != y)                                   \
    COMPARE(compare_lt_##SUFFIX, A, a_field, B, b_field, x < y)                                    \
    COMPARE(compare_le_##SUFFIX, A, a_field, B, b_field, x <= y)                                   \
    COMPARE(compare_gt_##SUFFIX, A, a_field, B, b_field, x > y)                                    \
    COMPARE(compare_ge_##SUFFIX, A, a_field, B, b_field, x >= y)

COMPARE_ALL(i, int64_t, i, int64_t, i)
COMPARE_ALL(u, uint64_t, u, uint64_t, u)
COMPARE_ALL(d, double, d, double, d)
COMPARE_ALL(b, uint8_t, b, uint8_t, b)

/* Signed with unsigned, exactly: a negative number is less than any unsigned one. */
#define WIDE(v) ((__int128)(v))
#define COMPARE_MIXED(SUFFIX, A, a_field, B, b_field)                                              \
    COMPARE(compare_eq_##SUFFIX, A, a_field, B, b_field, WIDE(x) == WIDE(y))                       \
    COMPARE(compare_ne_##SUFFIX, A, a_field, B, b_field, WIDE(x) != WIDE(y))                       \
    COMPARE(compare_lt_##SUFFIX, A, a_field, B, b_field, WIDE(x) < WIDE(y))                        \
    COMPARE(compare_le_##SUFFIX, A, a_field, B, b_field, WIDE(x) <= WIDE(y))                       \
    COMPARE(compare_gt_##SUFFIX, A, a_field, B, b_field, WIDE(x) > WIDE(y))                        \
    COMPARE(compare_ge_##SUFFIX, A, a_field, B, b_field, WIDE(x) >= WIDE(y))

COMPARE_MIXED(iu, int64_t, i, uint64_t, u)
COMPARE_MIXED(ui, uint64_t, u, int64_t, i)

/* Texts and bytes: only the rows of the view, for here a row costs something; a NULL's slice is
 * never read. */
#define COMPARE_TEXT(NAME, TEST)                                                                   \
    enum err NAME(struct eval *eval, const struct expr *e, const struct vector *args,              \
                  const struct view *view, struct vector *out)                                     \
    {                                                                                              \
        (void)eval, (void)e;                                                                       \
        for (uint32_t k = 0; k < view->selected; k++) {                                            \
            uint32_t row = view_row(view, k);                                                      \
            if (vector_is_null(out, row)) continue;                                                \
            struct str x = args[0].s[vector_at(&args[0], row)],                                    \
                       y = args[1].s[vector_at(&args[1], row)];                                    \
            out->b[row] = (TEST);                                                                  \
        }                                                                                          \
        return ERR_OK;                                                                             \
    }

COMPARE_TEXT(compare_eq_s, str_equal(x, y))
COMPARE_TEXT(compare_ne_s, !str_equal(x, y))
COMPARE_TEXT(compare_lt_s, str_compare(x, y) < 0)
COMPARE_TEXT(compare_le_s, str_compare(x, y) <= 0)
COMPARE_TEXT(compare_gt_s, str_compare(x, y) > 0)
COMPARE_TEXT(compare_ge_s, str_compare(x, y) >= 0)

/* ---- IN, IS NULL, NOT and their like ---- */

/* One item against the whole column; `found` collects. */
static void find_item(const struct vector *x, const struct vector *item, const struct view *view,
                      uint8_t *found)
{
#define FIND(field)                                                                                \
    for (uint32_t r = 0; r < view->count; r++)                                                     \
    found[r] |= x->field[vector_at(x, r)] == item->field[vector_at(item, r)]
    switch (x->type) {
    case TYPE_BOOL: FIND(b); break;
    case TYPE_DOUBLE: FIND(d); break;
    case TYPE_BIGINT:
    case TYPE_UBIGINT:
    case TYPE_TIMESTAMP: FIND(u); break;
    default:
        for (uint32_t k = 0; k < view->selected; k++) {
            uint32_t r = view_row(view, k);
            if (!found[r] && !vector_is_null(x, r) && !vector_is_null(item, r))
                found[r] = str_equal(x->s[vector_at(x, r)], item->s[vector_at(item, r)]);
        }
    }
#undef FIND
}

/* x IN (items): true when equal to one; else NULL when x or any item is NULL; else false. */
enum err kernel_in(struct eval *eval, const struct expr *e, const struct vector *args,
                   const struct view *view, struct vector *out)
{
    (void)eval;
    const struct vector *x = &args[0];
    memset(out->b, 0, view->count);
    for (size_t i = 1; i < e->arg_count; i++) {
        const struct vector *item = &args[i];
        if (item->type == TYPE_NONE || x->type == TYPE_NONE ||
            (item->is_constant && vector_is_null(item, 0))) {
            for (uint32_t r = 0; r < view->count; r++) out->null[r] = 1;
            continue;
        }
        if (!item->null || item->is_constant) {
            find_item(x, item, view, out->b);
            continue;
        }
        for (uint32_t k = 0; k < view->selected; k++) { /* rare: the item is a column with NULLs */
            uint32_t r = view_row(view, k);             /* texts of other rows may be gone */
            struct view one = {view->count, (uint16_t[]){(uint16_t)r}, 1};
            uint8_t before = out->b[r];
            if (item->null[r])
                out->null[r] = 1;
            else if (!before && !vector_is_null(x, r) && type_bytes(x->type) == 0)
                find_item(x, item, &one, out->b);
            else if (!before && !vector_is_null(x, r)) {
                struct value a = vector_get(x, r), b = vector_get(item, r);
                out->b[r] = value_compare(&a, &b) == 0;
            }
        }
    }
    for (uint32_t r = 0; r < view->count; r++) {
        if (out->b[r]) out->null[r] = 0;
        if (x->type == TYPE_NONE || vector_is_null(x, r)) out->null[r] = 1;
    }
    return ERR_OK;
}

enum err kernel_not(struct eval *eval, const struct expr *e, const struct vector *args,
                    const struct view *view, struct vector *out)
{
    (void)eval, (void)e;
    for (uint32_t r = 0; r < view->count; r++) out->b[r] = !args[0].b[vector_at(&args[0], r)];
    return ERR_OK;
}

enum err kernel_is_null(struct eval *eval, const struct expr *e, const struct vector *args,
                        const struct view *view, struct vector *out)
{
    (void)eval, (void)e;
    const struct vector *v = &args[0];
    if (v->type == TYPE_NONE)
        memset(out->b, 1, view->count);
    else if (!v->null)
        memset(out->b, 0, view->count);
    else
        for (uint32_t r = 0; r < view->count; r++) out->b[r] = v->null[vector_at(v, r)] != 0;
    return ERR_OK;
}

static enum err is_bool(const struct vector *v, const struct view *view, struct vector *out,
                        uint8_t wanted)
{
    for (uint32_t r = 0; r < view->count; r++)
        out->b[r] =
            v->type == TYPE_BOOL && !vector_is_null(v, r) && v->b[vector_at(v, r)] == wanted;
    return ERR_OK;
}

enum err kernel_is_true(struct eval *eval, const struct expr *e, const struct vector *args,
                        const struct view *view, struct vector *out)
{
    (void)eval, (void)e;
    return is_bool(&args[0], view, out, 1);
}

enum err kernel_is_false(struct eval *eval, const struct expr *e, const struct vector *args,
                         const struct view *view, struct vector *out)
{
    (void)eval, (void)e;
    return is_bool(&args[0], view, out, 0);
}

static void put(struct vector *out, uint32_t row, const struct value *value)
{
    struct value good = *value;
    good.quality = QUALITY_GOOD;
    vector_set(out, row, &good);
}

enum err kernel_nullif(struct eval *eval, const struct expr *e, const struct vector *args,
                       const struct view *view, struct vector *out)
{
    (void)eval, (void)e;
    for (uint32_t k = 0; k < view->selected; k++) {
        uint32_t row = view_row(view, k);
        out->null[row] = 1;
        if (args[0].type == TYPE_NONE || vector_is_null(&args[0], row)) continue;
        struct value a = vector_get(&args[0], row);
        bool comparable = args[1].type != TYPE_NONE && !vector_is_null(&args[1], row);
        struct value b = comparable ? vector_get(&args[1], row) : a;
        if (!comparable || value_compare(&a, &b) != 0) put(out, row, &a);
    }
    return ERR_OK;
}

/* The most extreme of the arguments that are not NULL; `sign` 1: the greatest, -1: the least. */
static enum err extreme(const struct expr *e, const struct vector *args, const struct view *view,
                        struct vector *out, int sign)
{
    for (uint32_t k = 0; k < view->selected; k++) {
        uint32_t row = view_row(view, k);
        struct value best = {.is_null = true};
        for (size_t i = 0; i < e->arg_count; i++) {
            if (args[i].type == TYPE_NONE || vector_is_null(&args[i], row)) continue;
            struct value v = vector_get(&args[i], row);
            if (best.is_null || value_compare(&v, &best) * sign > 0) best = v;
        }
        if (best.is_null)
            out->null[row] = 1;
        else
            put(out, row, &best);
    }
    return ERR_OK;
}

enum err kernel_greatest(struct eval *eval, const struct expr *e, const struct vector *args,
                         const struct view *view, struct vector *out)
{
    (void)eval;
    return extreme(e, args, view, out, 1);
}

enum err kernel_least(struct eval *eval, const struct expr *e, const struct vector *args,
                      const struct view *view, struct vector *out)
{
    (void)eval;
    return extreme(e, args, view, out, -1);
}
