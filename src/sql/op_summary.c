/* op_summary.c - what a block's statistics are good for: aggregates that take them instead of its
 * rows, and conditions by which a block has no row that counts.
 *
 * A statement allows it when nothing looks at single rows: every aggregate reads a plain column (or
 * counts rows) and has a way to take a summary, every key is the device, a label or a window of
 * time, and no condition is left but those on device and labels. The source then asks, block by
 * block, whether all of its times belong to one window. */
#include "sql/func.h"
#include "sql/op.h"

enum take { TAKE_COUNT, TAKE_SUM_I, TAKE_SUM_D, TAKE_LEAST, TAKE_MOST, TAKE_FIRST, TAKE_LAST };

/* By what adds rows: aggregates that share a state share the way. */
static const struct {
    enum err (*add)(void *state, const struct agg_run *run, struct arena *memory);
    enum take take;
} takers[] = {
    {agg_count_add, TAKE_COUNT}, {agg_sum_i_add, TAKE_SUM_I}, {agg_sum_u_add, TAKE_SUM_I},
    {agg_sum_d_add, TAKE_SUM_D}, {agg_min_i_add, TAKE_LEAST}, {agg_min_u_add, TAKE_LEAST},
    {agg_min_d_add, TAKE_LEAST}, {agg_min_b_add, TAKE_LEAST}, {agg_max_i_add, TAKE_MOST},
    {agg_max_u_add, TAKE_MOST},  {agg_max_d_add, TAKE_MOST},  {agg_max_b_add, TAKE_MOST},
    {agg_first_add, TAKE_FIRST}, {agg_last_add, TAKE_LAST},
};

/* The way of a call, or -1. */
static int take_of(const struct agg_call *call)
{
    for (size_t i = 0; i < sizeof takers / sizeof takers[0]; i++)
        if (takers[i].add == call->aggregate->add) return (int)takers[i].take;
    return -1;
}

/* The column that the argument reads, straight or turned from an integer into a double; NULL: it
 * is something else. */
static const struct input *column_of(const struct plan *plan, const struct expr *arg, bool *is_cast)
{
    *is_cast = false;
    if (arg->kind == EXPR_CALL && arg->arg_count == 1 && arg->type == TYPE_DOUBLE &&
        arg->function == cast_find(arg->args[0]->type, TYPE_DOUBLE)) {
        arg = arg->args[0];
        *is_cast = true;
    }
    if (arg->kind != EXPR_INPUT) return NULL;
    const struct input *input = &plan->inputs[arg->input];
    return input->kind == INPUT_COLUMN ? input : NULL;
}

static bool call_is_possible(const struct plan *plan, const struct agg_call *call)
{
    bool is_cast = false;
    int take = take_of(call);
    if (take < 0 || call->distinct || call->second || call->param_count) return false;
    if (!call->arg) return take == TAKE_COUNT;
    const struct input *input = column_of(plan, call->arg, &is_cast);
    if (!input || (is_cast && take != TAKE_SUM_D)) return false;
    return take == TAKE_COUNT ||
           (type_bytes(input->type) && (input->type != TYPE_UBIGINT || !is_cast));
}

bool summary_is_possible(const struct plan *plan)
{
    if (!plan->grouped || !plan->table.has_series || plan->request.newest_first) return false;
    if (plan->window.kind != WINDOW_NONE && plan->window.kind != WINDOW_TUMBLE) return false;
    for (size_t i = 0; i < plan->filter_count; i++)
        if (!plan->filters[i]->series_constant) return false;
    for (size_t i = 0; i < plan->key_count; i++)
        if (!plan->keys[i].grid && !plan->keys[i].expr->series_constant) return false;
    for (size_t i = 0; i < plan->agg_count; i++)
        if (!call_is_possible(plan, &plan->aggs[i])) return false;
    for (size_t i = 0; i < plan->input_count; i++) /* anything else needs rows */
        if (plan->inputs[i].kind >= INPUT_QUALITY || plan->inputs[i].kind == INPUT_RECEIVED ||
            plan->inputs[i].kind == INPUT_SERIES)
            return false;
    return plan->agg_count > 0;
}

static bool ignores_bounds(const struct plan *plan)
{
    for (size_t i = 0; i < plan->agg_count; i++) {
        int take = take_of(&plan->aggs[i]);
        if (take == TAKE_LEAST || take == TAKE_MOST) return false;
    }
    return true;
}

bool summary_needs_ends(const struct plan *plan)
{
    for (size_t i = 0; i < plan->agg_count; i++)
        if (take_of(&plan->aggs[i]) >= TAKE_FIRST) return true;
    return false;
}

bool summary_is_one_group(void *context, int64_t first_ns, int64_t last_ns)
{
    const struct plan *plan = context;
    for (size_t i = 0; i < plan->key_count; i++) {
        int64_t start, end;
        if (!plan->keys[i].grid) continue;
        grid_bounds(plan->keys[i].grid, first_ns, &start, &end);
        if (last_ns >= end) return false;
    }
    return true;
}

/* Comparisons of a column with a constant, by the kernel; and what they are the other way round. */
static const struct {
    function_kernel *kernel;
    enum sql_compare compare, turned;
} comparisons[] = {
#define COMPARISON(NAME, COMPARE, TURNED)                                                          \
    {compare_##NAME##_i, COMPARE, TURNED}, {compare_##NAME##_u, COMPARE, TURNED},                  \
        {compare_##NAME##_iu, COMPARE, TURNED}, {compare_##NAME##_ui, COMPARE, TURNED},            \
        {compare_##NAME##_d, COMPARE, TURNED},
    COMPARISON(lt, SQL_LESS, SQL_MORE) COMPARISON(le, SQL_LESS_EQUAL, SQL_MORE_EQUAL)
        COMPARISON(gt, SQL_MORE, SQL_LESS) COMPARISON(ge, SQL_MORE_EQUAL, SQL_LESS_EQUAL)
            COMPARISON(eq, SQL_EQUAL, SQL_EQUAL)
#undef COMPARISON
};

/* The bound that the condition is; false: it is none. */
static bool bound_of(const struct plan *plan, const struct expr *e, struct sql_bound *bound)
{
    if (e->kind != EXPR_CALL || e->arg_count != 2 || !e->function) return false;
    bool turned = e->args[0]->kind == EXPR_CONST;
    const struct expr *column = e->args[turned], *constant = e->args[!turned];
    if (column->kind != EXPR_INPUT || constant->kind != EXPR_CONST) return false;
    const struct input *input = &plan->inputs[column->input];
    struct value value = expr_value(constant);
    if (input->kind != INPUT_COLUMN || value.is_null) return false;
    bool is_mixed = (value.type == TYPE_BIGINT && input->type == TYPE_UBIGINT) ||
                    (value.type == TYPE_UBIGINT && input->type == TYPE_BIGINT);
    if (is_mixed && value.i >= 0) value.type = input->type; /* one number in both */
    if (value.type != input->type) return false;
    for (size_t i = 0; i < sizeof comparisons / sizeof comparisons[0]; i++) {
        if (e->function->kernel != comparisons[i].kernel) continue;
        enum sql_compare compare = turned ? comparisons[i].turned : comparisons[i].compare;
        *bound = (struct sql_bound){input->slot, compare, value};
        return true;
    }
    return false;
}

static void request_bounds(const struct plan *plan, struct sql_scan_request *request)
{
    request->bound_count = 0;
    for (size_t i = 0; i < plan->filter_count && request->bound_count < SQL_BOUNDS_MAX; i++)
        request->bound_count +=
            bound_of(plan, plan->filters[i], &request->bounds[request->bound_count]);
}

void summary_request(const struct plan *plan, struct sql_scan_request *request)
{
    request_bounds(plan, request);
    if (!summary_is_possible(plan)) return;
    request->summarises = summary_is_one_group;
    request->summary_context = (void *)(uintptr_t)plan;
    request->summary_ignores_bounds = ignores_bounds(plan);
    request->summary_needs_ends = summary_needs_ends(plan);
}

/* One value as a run, for aggregates that pick. */
static enum err add_value(const struct agg_call *call, void *state, const struct value *value,
                          int64_t time_ns, struct arena *memory)
{
    struct vector v = {.type = value->type, .count = 1};
    uint64_t bits = 0;
    uint8_t bit = 0;
    if (value->type == TYPE_BOOL) { /* the other members are no bool: not even to be read as one */
        bit = value->b;
        v.b = &bit;
    } else {
        bits = value->u;
        v.u = &bits;
    }
    struct agg_run run = {
        .value = &v, .time = &time_ns, .count = 1, .keeps_null = call->keeps_null};
    return call->aggregate->add(state, &run, memory);
}

enum err summary_add(const struct plan *plan, const struct agg_call *call, void *state,
                     const struct rows *rows, struct arena *memory)
{
    bool is_cast;
    if (!call->arg) {
        agg_count_more(state, rows->summary_rows);
        return ERR_OK;
    }
    const struct input *input = column_of(plan, call->arg, &is_cast);
    MUST(input);
    const struct sql_summary *s = &rows->summaries[input->slot];
    int take = take_of(call);
    if (take == TAKE_COUNT) agg_count_more(state, s->count);
    if (take == TAKE_COUNT || !s->has_values) return ERR_OK;
    switch (take) {
    case TAKE_SUM_I: agg_sum_i_more(state, s->sum_int, s->count); return ERR_OK;
    case TAKE_SUM_D:
        agg_sum_d_more(state, is_cast ? (double)s->sum_int : s->sum_double, s->count);
        return ERR_OK;
    case TAKE_LEAST: return add_value(call, state, &s->least, rows->time[0], memory);
    case TAKE_MOST: return add_value(call, state, &s->most, rows->time[0], memory);
    case TAKE_FIRST: return add_value(call, state, &s->first, rows->time[0], memory);
    default: return add_value(call, state, &s->last, rows->summary_last_ns, memory);
    }
}
