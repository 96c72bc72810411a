/* bind_rows.c - functions in FROM that give many rows: generate_series, unnest.
 *
 * The arguments of generate_series are constants (or parameters), so its rows are known when the
 * statement is bound: they become the cells of a VALUES list. The array of unnest may be one of the
 * statement around this one; its rows are made when they are asked for. What takes its arguments
 * from other tables of FROM (LATERAL) is not in this version. */
#include "sql/bind_priv.h"

enum { SERIES_ROWS_MAX = 100000 };

/* An argument's value; false after an error. NULL is one. */
static bool constant_of(struct binder *b, const struct ast *tree, char letter, struct value *value)
{
    struct expr *e = bind_expr(b, tree);
    if (e && bind_convert_cost(e, letter) < 0)
        bind_fail(b, ERR_TYPE, tree->position, "generate_series does not take a %s here",
                  bind_type_text(e));
    if (e && !b->err) e = bind_convert(b, e, letter);
    if (e && !b->err && e->kind != EXPR_CONST)
        bind_fail(b, ERR_UNSUPPORTED, tree->position,
                  "the arguments of generate_series must be constants");
    if (!e || b->err) return false;
    *value = expr_value(e);
    return true;
}

/* How many values lie between the ends; -1: too many. */
static int64_t count_between(int64_t from, int64_t to, int64_t step)
{
    uint64_t span = step > 0 ? (uint64_t)to - (uint64_t)from : (uint64_t)from - (uint64_t)to;
    uint64_t width = step > 0 ? (uint64_t)step : 0 - (uint64_t)step;
    if (step > 0 ? to < from : from < to) return 0;
    return span / width >= SERIES_ROWS_MAX ? -1 : (int64_t)(span / width) + 1;
}

static void fill(struct binder *b, enum type type, int64_t from, int64_t step, int64_t count,
                 int32_t position)
{
    struct plan *plan = b->plan;
    size_t cells = count > 0 ? (size_t)count : 1; /* without rows the type is still needed */
    plan->values = bind_memory(b, arena_zero(b->arena, cells, sizeof *plan->values));
    plan->row_count = (size_t)count;
    for (size_t i = 0; plan->values && i < cells && !b->err; i++) {
        struct value v = {.type = type, .is_null = count == 0, .i = from + (int64_t)i * step};
        plan->values[i] = bind_memory(b, expr_constant(b->arena, &v, position));
    }
}

static void bind_unnest(struct binder *b, const struct ast *call)
{
    struct plan *plan = b->plan;
    if (call->arg_count != 1) {
        bind_fail(b, ERR_NO_FUNCTION, call->position,
                  "unnest takes one array; for example: unnest(ARRAY['a', 'b'])");
        return;
    }
    struct expr *e = bind_expr(b, call->args[0]);
    if (!e || b->err) return;
    if (e->type != TYPE_DOUBLES && e->type != TYPE_TEXT && e->type != TYPE_NONE) {
        bind_fail(b, ERR_TYPE, call->args[0]->position, "unnest takes an array, not a %s",
                  bind_type_text(e));
        return;
    }
    struct value like = {.type = e->type == TYPE_DOUBLES ? TYPE_DOUBLE : TYPE_TEXT,
                         .is_null = true};
    plan->unnest = e;
    plan->row_count = 1;
    plan->values = bind_memory(b, arena_zero(b->arena, 1, sizeof *plan->values));
    if (plan->values)
        plan->values[0] = bind_memory(b, expr_constant(b->arena, &like, call->position));
}

bool bind_function_rows(struct binder *b, const struct ast *call)
{
    struct value from, to, step = {.type = TYPE_BIGINT, .i = 1};
    if (call->kind == AST_CALL && str_is(call->text, "unnest")) {
        bind_unnest(b, call);
        return true;
    }
    if (call->kind != AST_CALL || !str_is(call->text, "generate_series")) return false;
    if (call->arg_count < 2 || call->arg_count > 3) {
        bind_fail(
            b, ERR_NO_FUNCTION, call->position,
            "generate_series takes two or three arguments; for example: generate_series(1, 10)");
        return true;
    }
    /* Times when there is a duration as step, else whole numbers. */
    struct expr *third = call->arg_count == 3 ? bind_expr(b, call->args[2]) : NULL;
    struct expr *first = bind_expr(b, call->args[0]);
    if (b->err) return true;
    bool is_time = first->type == TYPE_TIMESTAMP || (third && third->is_duration);
    char letter = is_time ? 'T' : 'i';
    if (!constant_of(b, call->args[0], letter, &from) ||
        !constant_of(b, call->args[1], letter, &to))
        return true;
    if (call->arg_count == 3 && !constant_of(b, call->args[2], is_time ? 'D' : 'i', &step))
        return true;
    enum type type = is_time ? TYPE_TIMESTAMP : TYPE_BIGINT;
    bool is_null = from.is_null || to.is_null || step.is_null;
    if (!is_null && step.i == 0) {
        bind_fail(b, ERR_INVALID, call->args[2]->position, "the step of generate_series is zero");
        return true;
    }
    int64_t count = is_null ? 0 : count_between(from.i, to.i, step.i);
    if (count < 0)
        bind_fail(b, ERR_LIMIT, call->position, "generate_series gives more than %d rows",
                  SERIES_ROWS_MAX);
    else
        fill(b, type, from.i, step.i, count, call->position);
    return true;
}
