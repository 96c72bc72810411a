/* bind_where.c - takes WHERE apart: what the scan can do itself leaves the row filter.
 *
 * The conditions joined by AND are looked at one by one. Comparisons of `time` with constants
 * become the scan's bounds (exactly, so they need no filter any more); `device = 'x'`, `label IN
 * (…)` become series filters that a source may use, and stay as filters, since a source may ignore
 * them. */
#include "sql/bind_priv.h"

static enum input_kind input_kind_of(const struct binder *b, const struct expr *e)
{
    return b->plan->inputs[e->input].kind;
}

/* ---- time ---- */

enum bound { BOUND_EQ, BOUND_LT, BOUND_LE, BOUND_GT, BOUND_GE };

static const struct {
    function_kernel *kernel;
    enum bound bound, mirrored; /* mirrored: constant on the left */
} bounds[] = {
    {compare_eq_i, BOUND_EQ, BOUND_EQ}, {compare_lt_i, BOUND_LT, BOUND_GT},
    {compare_le_i, BOUND_LE, BOUND_GE}, {compare_gt_i, BOUND_GT, BOUND_LT},
    {compare_ge_i, BOUND_GE, BOUND_LE},
};

static int64_t next_time(int64_t t)
{
    return t == INT64_MAX ? t : t + 1;
}

static void narrow_time(struct plan *plan, enum bound bound, int64_t at)
{
    struct sql_scan_request *request = &plan->request;
    int64_t from = INT64_MIN, to = INT64_MAX;
    switch (bound) {
    case BOUND_EQ: from = at, to = next_time(at); break;
    case BOUND_LT: to = at; break;
    case BOUND_LE: to = next_time(at); break;
    case BOUND_GT: from = next_time(at); break;
    case BOUND_GE: from = at; break;
    }
    if (from > request->time_from_ns) request->time_from_ns = from;
    if (to < request->time_to_ns) request->time_to_ns = to;
    if (request->time_from_ns >= request->time_to_ns) plan->nothing = true;
}

/* True when the condition went into the scan's bounds. */
static bool push_time(struct binder *b, const struct expr *e)
{
    if (!b->plan->table.has_series || e->kind != EXPR_CALL || e->arg_count != 2) return false;
    const struct expr *left = e->args[0], *right = e->args[1];
    if (left->type != TYPE_TIMESTAMP || right->type != TYPE_TIMESTAMP) return false;
    bool mirrored = left->kind == EXPR_CONST;
    const struct expr *input = mirrored ? right : left, *constant = mirrored ? left : right;
    if (input->kind != EXPR_INPUT || constant->kind != EXPR_CONST ||
        input_kind_of(b, input) != INPUT_TIME)
        return false;
    if (constant->constant.null[0]) return false;
    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++) {
        if (e->function->kernel != bounds[i].kernel) continue;
        narrow_time(b->plan, mirrored ? bounds[i].mirrored : bounds[i].bound,
                    expr_value(constant).i);
        return true;
    }
    return false;
}

/* ---- device and labels ---- */

static bool is_text_constant(const struct expr *e)
{
    return e->kind == EXPR_CONST && e->type == TYPE_TEXT && !e->constant.null[0];
}

static void add_series_filter(struct binder *b, const struct expr *input,
                              struct expr *const *values, size_t count)
{
    struct sql_scan_request *request = &b->plan->request;
    const struct input *from = &b->plan->inputs[input->input];
    struct sql_series_filter *filters =
        bind_memory(b, arena_zero(b->arena, request->filter_count + 1, sizeof *filters));
    struct str *texts = bind_memory(b, arena_zero(b->arena, count, sizeof *texts));
    if (!filters || !texts) return;
    for (size_t i = 0; i < request->filter_count; i++) filters[i] = request->filters[i];
    for (size_t i = 0; i < count; i++) texts[i] = expr_value(values[i]).s;
    filters[request->filter_count++] = (struct sql_series_filter){str_of(from->name), count, texts};
    request->filters = filters;
}

static void push_series(struct binder *b, const struct expr *e)
{
    if (!b->plan->table.has_series || e->kind != EXPR_CALL || e->arg_count < 2) return;
    bool is_in = e->function->kernel == kernel_in;
    if (!is_in && e->function->kernel != compare_eq_s) return;
    size_t input_at = !is_in && e->args[1]->kind == EXPR_INPUT ? 1 : 0;
    const struct expr *input = e->args[input_at];
    if (input->kind != EXPR_INPUT) return;
    enum input_kind kind = input_kind_of(b, input);
    if (kind != INPUT_DEVICE && kind != INPUT_LABEL) return;
    for (size_t i = 0; i < e->arg_count; i++)
        if (i != input_at && !is_text_constant(e->args[i])) return;
    add_series_filter(b, input, &e->args[input_at == 0 ? 1 : 0], e->arg_count - 1);
}

/* ---- the list ---- */

bool bind_push_scan(struct binder *b, const struct expr *e)
{
    if (push_time(b, e)) return true;
    push_series(b, e);
    return false;
}

static void bind_conjuncts(struct binder *b, const struct ast *tree)
{
    if (tree->kind == AST_CALL && str_is(tree->text, "and")) {
        for (size_t i = 0; i < tree->arg_count && !b->err; i++) bind_conjuncts(b, tree->args[i]);
        return;
    }
    struct expr *e = bind_condition(b, tree, "WHERE");
    if (e) bind_add_filter(b, e);
}

void bind_where(struct binder *b)
{
    if (!b->select->where) return;
    b->in_where = true;
    bind_conjuncts(b, b->select->where);
    b->in_where = false;
}
