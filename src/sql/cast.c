/* cast.c - conversions between types: one table of (from, to, kernel).
 *
 * The binder inserts the widening ones by itself (bigint → double, a text literal → anything); the
 * others need CAST or `::`. What does not fit is an error that shows the value. */
#include "sql/func.h"
#include "base/num.h"
#include <math.h>
#include <string.h>

#define CAST(NAME)                                                                                 \
    static enum err NAME(struct eval *eval, const struct expr *e, const struct vector *args,       \
                         const struct view *view, struct vector *out)
#define EACH_ROW(row)                                                                              \
    (void)eval, (void)e;                                                                           \
    for (uint32_t k = 0, row; k < view->selected && (row = view_row(view, k), true); k++)          \
        if (!vector_is_null(out, row))
#define IN(field) (args[0].field[vector_at(&args[0], row)])

static enum err does_not_fit(struct eval *eval, const struct expr *e, const struct vector *v,
                             uint32_t row)
{
    char text[64];
    struct buf buf = BUF_EMPTY;
    struct value value = vector_get(v, row);
    value_add_text(&buf, &value);
    (void)str_copy(text, sizeof text, buf_str(&buf));
    buf_free(&buf);
    return why_at(eval->why, type_bytes(value.type) == 0 ? ERR_INVALID : ERR_RANGE, e->position,
                  "%s %s is not a valid %s", type_name(value.type), text, type_name(e->type));
}

/* The widening casts are on the hot path: whole columns, no branches. */
CAST(i_to_d)
{
    (void)eval, (void)e;
    for (uint32_t i = 0; i < view->count; i++) out->d[i] = (double)args[0].i[i];
    return ERR_OK;
}

CAST(u_to_d)
{
    (void)eval, (void)e;
    for (uint32_t i = 0; i < view->count; i++) out->d[i] = (double)args[0].u[i];
    return ERR_OK;
}

CAST(d_to_i) /* rounds halves to even, as PostgreSQL */
{
    EACH_ROW(row)
    {
        double d = nearbyint(IN(d));
        if (!(d >= -9223372036854775808.0 && d < 9223372036854775808.0)) /* 2^63 */
            return does_not_fit(eval, e, &args[0], row);
        out->i[row] = (int64_t)d;
    }
    return ERR_OK;
}

CAST(d_to_u)
{
    EACH_ROW(row)
    {
        double d = nearbyint(IN(d));
        if (!(d >= 0 && d < 0x1p64)) return does_not_fit(eval, e, &args[0], row);
        out->u[row] = (uint64_t)d;
    }
    return ERR_OK;
}

CAST(i_to_u)
{
    EACH_ROW(row)
    {
        if (IN(i) < 0) return does_not_fit(eval, e, &args[0], row);
        out->u[row] = (uint64_t)IN(i);
    }
    return ERR_OK;
}

CAST(u_to_i)
{
    EACH_ROW(row)
    {
        if (IN(u) > INT64_MAX) return does_not_fit(eval, e, &args[0], row);
        out->i[row] = (int64_t)IN(u);
    }
    return ERR_OK;
}

CAST(b_to_i)
{
    EACH_ROW(row) out->i[row] = IN(b);
    return ERR_OK;
}

CAST(b_to_d)
{
    EACH_ROW(row) out->d[row] = IN(b);
    return ERR_OK;
}

CAST(b_to_u)
{
    EACH_ROW(row) out->u[row] = IN(b);
    return ERR_OK;
}

CAST(i_to_b)
{
    EACH_ROW(row) out->b[row] = IN(i) != 0;
    return ERR_OK;
}

CAST(same_words) /* timestamp ↔ bigint (ns) */
{
    EACH_ROW(row) out->i[row] = IN(i);
    return ERR_OK;
}

CAST(same_slices) /* text ↔ bytes */
{
    EACH_ROW(row) out->s[row] = IN(s);
    return ERR_OK;
}

CAST(bytes_to_text)
{
    EACH_ROW(row)
    {
        if (!str_is_utf8(IN(s))) return does_not_fit(eval, e, &args[0], row);
        out->s[row] = IN(s);
    }
    return ERR_OK;
}

CAST(any_to_text)
{
    struct buf buf = BUF_EMPTY;
    EACH_ROW(row)
    {
        struct value v = vector_get(&args[0], row);
        buf_clear(&buf);
        value_add_text(&buf, &v);
        char *copy = buf_failed(&buf) ? NULL : arena_dup(&eval->scratch, buf.at, buf.size);
        if (!copy) {
            buf_free(&buf);
            return expr_no_memory(eval->budget, eval->why);
        }
        out->s[row] = (struct str){copy, buf.size};
    }
    buf_free(&buf);
    return ERR_OK;
}

CAST(text_to_any)
{
    EACH_ROW(row)
    {
        struct value v = {.type = e->type};
        struct str text = str_trim(IN(s));
        if (value_parse(text, e->type, &v, NULL)) return does_not_fit(eval, e, &args[0], row);
        if (v.is_null) return does_not_fit(eval, e, &args[0], row);
        switch (e->type) {
        case TYPE_BOOL: out->b[row] = v.b; break;
        case TYPE_DOUBLE:
            if (!isfinite(v.d)) return does_not_fit(eval, e, &args[0], row);
            out->d[row] = v.d;
            break;
        default: out->i[row] = v.i; break;
        }
    }
    return ERR_OK;
}

#define ROW(FROM, TO, KERNEL)                                                                      \
    {                                                                                              \
        TYPE_##FROM, TYPE_##TO,                                                                    \
        {                                                                                          \
            .name = "cast", .args = ".", .result = '.', .kernel = KERNEL                           \
        }                                                                                          \
    }
static const struct {
    enum type from, to;
    struct function function;
} casts[] = {
    ROW(BIGINT, DOUBLE, i_to_d),        ROW(UBIGINT, DOUBLE, u_to_d),
    ROW(DOUBLE, BIGINT, d_to_i),        ROW(DOUBLE, UBIGINT, d_to_u),
    ROW(BIGINT, UBIGINT, i_to_u),       ROW(UBIGINT, BIGINT, u_to_i),
    ROW(BOOL, BIGINT, b_to_i),          ROW(BOOL, DOUBLE, b_to_d),
    ROW(BOOL, UBIGINT, b_to_u),         ROW(BIGINT, BOOL, i_to_b),
    ROW(UBIGINT, BOOL, i_to_b),         ROW(TIMESTAMP, BIGINT, same_words),
    ROW(BIGINT, TIMESTAMP, same_words), ROW(TEXT, BYTES, same_slices),
    ROW(BYTES, TEXT, bytes_to_text),    ROW(BOOL, TEXT, any_to_text),
    ROW(BIGINT, TEXT, any_to_text),     ROW(UBIGINT, TEXT, any_to_text),
    ROW(DOUBLE, TEXT, any_to_text),     ROW(TIMESTAMP, TEXT, any_to_text),
    ROW(DOUBLES, TEXT, any_to_text),    ROW(TEXT, BOOL, text_to_any),
    ROW(TEXT, BIGINT, text_to_any),     ROW(TEXT, UBIGINT, text_to_any),
    ROW(TEXT, DOUBLE, text_to_any),     ROW(TEXT, TIMESTAMP, text_to_any),
};
#undef ROW

const struct function *cast_find(enum type from, enum type to)
{
    for (size_t i = 0; i < sizeof casts / sizeof casts[0]; i++)
        if (casts[i].from == from && casts[i].to == to) return &casts[i].function;
    return NULL;
}
