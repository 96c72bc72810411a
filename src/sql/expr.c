/* expr.c - see expr.h: evaluation, folding, and the making of nodes. */
#include "sql/expr.h"
#include "sql/func.h"
#include <string.h>

/* ---- memory refused ---- */

enum err expr_no_memory(struct budget *budget, struct why *why)
{
    for (const struct budget *b = budget; b; b = b->parent)
        if (b->refused_count > 0)
            return why_set(
                why, ERR_BUDGET,
                "the statement needs more than its memory limit of %zu KiB; narrow the time range, group "
                "by fewer values, select fewer columns or add LIMIT",
                b->limit_bytes / 1024);
    return why_set(why, ERR_NO_MEMORY, "out of memory; try again when less is under way");
}

/* ---- evaluation ---- */

/* NULL if any argument is: the union of the arguments' NULLs, without copying when one array says
 * it all. */
static void merge_nulls(const struct expr *e, const struct vector *args, uint32_t count,
                        bool constant, struct vector *out)
{
    uint8_t *merged = NULL;
    for (size_t i = 0; i < e->arg_count; i++) {
        uint8_t *null = args[i].null;
        if (!null || (args[i].is_constant && !null[0])) continue;
        if (args[i].is_constant && !constant) {
            memset(e->null, 1, count);
            merged = e->null;
            break;
        }
        if (!merged) {
            merged = null;
            continue;
        }
        for (uint32_t r = 0; r < count; r++) e->null[r] = (uint8_t)(merged[r] | null[r]);
        merged = e->null;
    }
    out->null = merged;
}

/* Numbers that are none (1e308 * 10, ln(0)) become NULL. The first pass only asks whether there are
 * any. */
static void drop_infinities(const struct expr *e, uint32_t count, struct vector *out)
{
    uint64_t any = 0;
    const uint64_t *bits = out->u;
    const uint64_t exponent = UINT64_C(0x7FF0000000000000);
    for (uint32_t r = 0; r < count; r++) any |= (bits[r] & exponent) == exponent;
    if (!any) return;
    for (uint32_t r = 0; r < count; r++)
        e->null[r] = (uint8_t)((out->null && out->null[r]) || (bits[r] & exponent) == exponent);
    for (uint32_t r = 0; r < count; r++)
        if (e->null[r]) out->d[r] = 0;
    out->null = e->null;
}

static enum err eval_call(struct eval *eval, const struct expr *e, const struct rows *rows,
                          const struct view *view, struct vector *out)
{
    struct view narrow = *view;
    bool constant = e->arg_count > 0;
    *out = (struct vector){.type = e->type, .count = view->count, .data = e->data};
    if (e->function->special) return e->function->special(eval, e, rows, view, out);
    for (size_t i = 0; i < e->arg_count; i++) {
        enum err err = expr_eval(eval, e->args[i], rows, view, &e->arg_vectors[i]);
        if (err) return err;
        constant = constant && e->arg_vectors[i].is_constant;
    }
    if (constant) narrow = (struct view){1, NULL, 1}; /* one value stands for all rows */
    if (e->function->flags & FN_NULLS) {
        memset(e->null, 0, narrow.count);
        out->null = e->null;
    } else {
        merge_nulls(e, e->arg_vectors, narrow.count, constant, out);
    }
    enum err err = e->function->kernel(eval, e, e->arg_vectors, &narrow, out);
    if (!err && (e->function->flags & FN_FINITE) && e->type == TYPE_DOUBLE)
        drop_infinities(e, narrow.count, out);
    out->is_constant = constant;
    return err;
}

enum err expr_eval(struct eval *eval, const struct expr *e, const struct rows *rows,
                   const struct view *view, struct vector *out)
{
    MUST(view->count <= SQL_CHUNK_ROWS && view->selected <= view->count);
    switch (e->kind) {
    case EXPR_PARAM:
    case EXPR_CONST:
        *out = e->constant;
        out->count = view->count;
        return ERR_OK;
    case EXPR_INPUT:
        MUST(e->input < rows->column_count);
        *out = rows->columns[e->input];
        return ERR_OK;
    case EXPR_CALL: return eval_call(eval, e, rows, view, out);
    }
    return ERR_INTERNAL;
}

/* Without branches: every row is written, the end moves only when it counts. */
enum err expr_filter(struct eval *eval, const struct expr *e, const struct rows *rows,
                     const struct view *view, uint16_t *selection, uint32_t *selected)
{
    struct vector v;
    enum err err = expr_eval(eval, e, rows, view, &v);
    if (err) return err;
    MUST(v.type == TYPE_BOOL || v.type == TYPE_NONE);
    uint32_t n = 0;
    if (v.is_constant) {
        bool keep = v.type == TYPE_BOOL && !vector_is_null(&v, 0) && v.b[0];
        for (; keep && n < view->selected; n++) selection[n] = (uint16_t)view_row(view, n);
    } else if (!view->selection && !v.null) {
        for (uint32_t r = 0; r < view->count; r++) selection[n] = (uint16_t)r, n += v.b[r];
    } else if (!view->selection) {
        for (uint32_t r = 0; r < view->count; r++)
            selection[n] = (uint16_t)r, n += v.b[r] & !v.null[r];
    } else {
        for (uint32_t k = 0; k < view->selected; k++) {
            uint16_t r = view->selection[k];
            selection[n] = r;
            n += v.b[r] & !(v.null && v.null[r]);
        }
    }
    *selected = n;
    return ERR_OK;
}

/* ---- nodes ---- */

struct expr *expr_new(struct arena *arena, enum expr_kind kind, enum type type, int32_t position)
{
    struct expr *e = arena_zero(arena, 1, sizeof *e);
    if (!e) return NULL;
    e->kind = kind;
    e->type = type;
    e->position = position;
    e->unit = "";
    return e;
}

struct expr *expr_constant(struct arena *arena, const struct value *value, int32_t position)
{
    struct expr *e = expr_new(arena, EXPR_CONST, value->type, position);
    if (!e) return NULL;
    e->constant = (struct vector){.type = value->type, .count = 1};
    e->constant.data = arena_zero(arena, 1, sizeof(struct str));
    e->constant.null = arena_zero(arena, 1, 1);
    e->series_constant = true;
    if (!e->constant.data || !e->constant.null) return NULL;
    if (value->type == TYPE_NONE || value->is_null)
        e->constant.null[0] = 1;
    else
        vector_set(&e->constant, 0, value);
    e->constant.is_constant = true;
    return e;
}

struct expr *expr_input(struct arena *arena, uint32_t input, enum type type, int32_t position)
{
    struct expr *e = expr_new(arena, EXPR_INPUT, type, position);
    if (e) e->input = input;
    return e;
}

/* Registers of a call over constants need room for one value only. */
struct expr *expr_call(struct arena *arena, const struct function *function, enum type type,
                       struct expr **args, size_t arg_count, int32_t position)
{
    struct expr *e = expr_new(arena, EXPR_CALL, type, position);
    if (!e) return NULL;
    bool spreads = function->special || (function->flags & FN_RANDOM);
    size_t capacity = spreads ? SQL_CHUNK_ROWS : 1;
    e->series_constant = !(function->flags & FN_RANDOM);
    e->changes_in_time = (function->flags & (FN_VOLATILE | FN_RANDOM)) != 0;
    for (size_t i = 0; i < arg_count; i++) {
        if (args[i]->kind != EXPR_CONST) capacity = SQL_CHUNK_ROWS;
        e->series_constant = e->series_constant && args[i]->series_constant;
        e->changes_in_time = e->changes_in_time || args[i]->changes_in_time;
    }
    size_t bytes = vector_element_bytes(type == TYPE_NONE ? TYPE_BIGINT : type);
    e->function = function;
    e->args = args;
    e->arg_count = arg_count;
    e->arg_vectors = arena_zero(arena, arg_count, sizeof *e->arg_vectors);
    e->data = arena_zero(arena, capacity, bytes);
    e->null = arena_zero(arena, capacity, 1);
    for (int i = 0; function->special && i < 2; i++) {
        e->selection[i] = arena_zero(arena, capacity, sizeof(uint16_t));
        if (!e->selection[i]) return NULL;
    }
    return e->arg_vectors && e->data && e->null ? e : NULL;
}

struct value expr_value(const struct expr *e)
{
    MUST(e->kind == EXPR_CONST);
    if (e->type == TYPE_NONE) return (struct value){.type = TYPE_NONE, .is_null = true};
    return vector_get(&e->constant, 0);
}

bool expr_same(const struct expr *a, const struct expr *b)
{
    if (a->kind != b->kind || a->type != b->type || a->is_duration != b->is_duration) return false;
    if (a->kind == EXPR_INPUT) return a->input == b->input;
    if (a->kind == EXPR_PARAM) return a->constant.data == b->constant.data;
    if (a->kind == EXPR_CONST) {
        struct value x = expr_value(a), y = expr_value(b);
        if (x.is_null || y.is_null) return x.is_null && y.is_null;
        return value_compare(&x, &y) == 0;
    }
    if (a->function != b->function || a->query != b->query || a->arg_count != b->arg_count)
        return false;
    for (size_t i = 0; i < a->arg_count; i++)
        if (!expr_same(a->args[i], b->args[i])) return false;
    return true;
}

enum err expr_fold(struct arena *arena, struct eval *eval, struct expr **e_pointer)
{
    struct expr *e = *e_pointer;
    if (e->kind != EXPR_CALL || e->type == TYPE_NONE || e->query ||
        (e->function->flags & FN_RANDOM))
        return ERR_OK;
    for (size_t i = 0; i < e->arg_count; i++)
        if (e->args[i]->kind != EXPR_CONST) return ERR_OK;
    struct why ignored = WHY_NONE, *why = eval->why;
    struct view view = {1, NULL, 1};
    struct rows rows = {.view = view};
    struct vector v;
    eval->why = &ignored;
    enum err err = expr_eval(eval, e, &rows, &view, &v);
    eval->why = why;
    if (err == ERR_NO_MEMORY || err == ERR_BUDGET) return expr_no_memory(eval->budget, why);
    if (err) return ERR_OK;
    struct value value = vector_get(&v, 0);
    value.quality = QUALITY_GOOD;
    bool is_slice = !value.is_null && type_bytes(value.type) == 0;
    if (is_slice) value.s.at = arena_strdup(arena, value.s.at, value.s.size);
    if (is_slice && !value.s.at) return expr_no_memory(eval->budget, why);
    struct expr *constant = expr_constant(arena, &value, e->position);
    if (!constant) return expr_no_memory(eval->budget, why);
    constant->is_duration = e->is_duration;
    constant->changes_in_time = e->changes_in_time;
    *e_pointer = constant;
    return ERR_OK;
}
