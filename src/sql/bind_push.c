/* bind_push.c - conditions go where they cost least: into the scan's bounds, the side of a join
 * they speak about, the query below, the keys of a join.
 *
 * A bound condition is moved by copying it with its inputs replaced by what they stand for there.
 * It may pass a join only on a side that the join never fills with NULLs, and a query only when
 * that neither limits its rows nor combines them (but by the keys that the condition uses). */
#include "sql/bind_priv.h"

/* ---- what an expression depends on ---- */

uint64_t bind_sides_of(const struct plan *plan, const struct expr *e)
{
    uint64_t sides = 0;
    if (e->kind == EXPR_INPUT) return UINT64_C(1) << plan->inputs[e->input].side;
    for (size_t i = 0; i < e->arg_count; i++) sides |= bind_sides_of(plan, e->args[i]);
    return sides;
}

static uint64_t sides_in(const struct join *join)
{
    uint64_t below = join->count == 64 ? UINT64_MAX : (UINT64_C(1) << join->count) - 1;
    return below << join->first;
}

/* ---- copies ---- */

struct expr *bind_copy(struct binder *b, const struct expr *e, const struct replace *replace)
{
    if (b->err) return NULL;
    if (e->kind == EXPR_INPUT) {
        struct expr *to = replace->input(b, replace->context, e);
        if (!to || to->is_duration == e->is_duration) return to;
        to = bind_memory(b, arena_dup(b->arena, to, sizeof *to));
        if (to) to->is_duration = e->is_duration;
        return to;
    }
    if (e->kind != EXPR_CALL) return bind_memory(b, arena_dup(b->arena, e, sizeof *e));
    struct expr **args = bind_memory(b, arena_zero(b->arena, e->arg_count, sizeof *args));
    for (size_t i = 0; args && i < e->arg_count; i++)
        if (!(args[i] = bind_copy(b, e->args[i], replace))) return NULL;
    if (!args) return NULL;
    struct expr *copy =
        bind_memory(b, expr_call(b->arena, e->function, e->type, args, e->arg_count, e->position));
    if (!copy) return NULL;
    copy->is_duration = e->is_duration;
    copy->unit = e->unit;
    copy->query = e->query;
    enum err err = expr_fold(b->arena, &b->eval, &copy);
    if (err) b->err = err;
    return err ? NULL : copy;
}

/* ---- to a side of a join ---- */

static struct expr *input_of_side(struct binder *b, void *context, const struct expr *input)
{
    const struct plan *plan = context;
    const struct input *from = &plan->inputs[input->input];
    const struct plan *side = plan->sides[from->side];
    struct expr *e = bind_memory(b, arena_dup(b->arena, input, sizeof *input));
    if (!e) return NULL;
    e->input = from->slot;
    enum input_kind kind = side->inputs[from->slot].kind;
    e->series_constant = side->table.has_series && (kind == INPUT_DEVICE || kind == INPUT_LABEL);
    return e;
}

static void push_to_side(struct binder *b, size_t side, struct expr *e)
{
    struct plan *plan = b->plan;
    struct expr *copy = bind_copy(b, e, &(struct replace){input_of_side, plan});
    if (!copy) return;
    b->plan = plan->sides[side];
    bind_add_filter(b, copy);
    b->plan = plan;
}

static void keep_condition(struct binder *b, struct join *join, struct expr *e)
{
    struct expr **grown =
        bind_memory(b, arena_zero(b->arena, join->condition_count + 1, sizeof *grown));
    if (!grown) return;
    for (size_t i = 0; i < join->condition_count; i++) grown[i] = join->conditions[i];
    grown[join->condition_count++] = e;
    join->conditions = grown;
}

static void add_key(struct binder *b, struct join *join, struct expr *left, struct expr *right)
{
    struct expr **lefts = bind_memory(b, arena_zero(b->arena, join->key_count + 1, sizeof *lefts));
    struct expr **rights =
        bind_memory(b, arena_zero(b->arena, join->key_count + 1, sizeof *rights));
    if (!lefts || !rights) return;
    for (size_t i = 0; i < join->key_count; i++)
        lefts[i] = join->left_keys[i], rights[i] = join->right_keys[i];
    lefts[join->key_count] = left;
    rights[join->key_count++] = right;
    join->left_keys = lefts;
    join->right_keys = rights;
}

/* a = b of one type, each from another side. */
static bool add_equality(struct binder *b, struct join *join, struct expr *e)
{
    static function_kernel *const equals[] = {compare_eq_i, compare_eq_u, compare_eq_d,
                                              compare_eq_b, compare_eq_s};
    bool is_equal = false;
    if (e->kind != EXPR_CALL || e->arg_count != 2) return false;
    for (size_t i = 0; i < sizeof equals / sizeof equals[0]; i++)
        is_equal = is_equal || e->function->kernel == equals[i];
    uint64_t first = bind_sides_of(b->plan, e->args[0]),
             second = bind_sides_of(b->plan, e->args[1]);
    uint64_t left = sides_in(join->left), right = sides_in(join->right);
    if (!is_equal || !first || !second) return false;
    if (!(first & ~left) && !(second & ~right))
        add_key(b, join, e->args[0], e->args[1]);
    else if (!(first & ~right) && !(second & ~left))
        add_key(b, join, e->args[1], e->args[0]);
    else
        return false;
    return true;
}

/* ASOF: left.time >= right.time, in any of its spellings. */
static bool add_asof_time(struct binder *b, struct join *join, struct expr *e)
{
    static const struct {
        function_kernel *kernel;
        bool forward, strict;
    } kinds[] = {{compare_ge_i, false, false},
                 {compare_gt_i, false, true},
                 {compare_le_i, true, false},
                 {compare_lt_i, true, true}};
    if (!join->is_asof || join->left_time || e->kind != EXPR_CALL || e->arg_count != 2)
        return false;
    uint64_t first = bind_sides_of(b->plan, e->args[0]),
             second = bind_sides_of(b->plan, e->args[1]);
    uint64_t left = sides_in(join->left), right = sides_in(join->right);
    bool straight = first && second && !(first & ~left) && !(second & ~right);
    bool turned = first && second && !(first & ~right) && !(second & ~left);
    for (size_t i = 0; (straight || turned) && i < sizeof kinds / sizeof kinds[0]; i++) {
        if (e->function->kernel != kinds[i].kernel) continue;
        join->left_time = e->args[straight ? 0 : 1];
        join->right_time = e->args[straight ? 1 : 0];
        join->asof_forward = kinds[i].forward == straight;
        join->asof_strict = kinds[i].strict;
        return true;
    }
    return false;
}

/* A condition of ON. One that speaks of the side that may be missing decides which rows there are
 * to find; in an inner join any side's. */
void bind_add_condition(struct binder *b, struct join *join, struct expr *e)
{
    uint64_t sides = bind_sides_of(b->plan, e);
    bool inner = join->kind == JOIN_INNER;
    if (b->err || add_equality(b, join, e) || add_asof_time(b, join, e)) return;
    bool is_right = sides && !(sides & ~sides_in(join->right));
    bool is_left = sides && !(sides & ~sides_in(join->left));
    struct join *to = is_right && join->kind != JOIN_FULL ? join->right
                      : is_left && inner                  ? join->left
                                                          : NULL;
    if (to && !to->left)
        push_to_side(b, to->first, e);
    else if (to && to->kind == JOIN_INNER && !to->is_asof)
        bind_add_condition(b, to, e);
    else
        keep_condition(b, join, e);
}

/* WHERE above joins: down as far as no NULLs are filled in on the way. False: it stays above. */
static bool push_below(struct binder *b, struct join *join, struct expr *e, uint64_t sides)
{
    if (!join->left) {
        push_to_side(b, join->first, e);
        return true;
    }
    bool inner = join->kind == JOIN_INNER && !join->is_asof;
    if (!(sides & ~sides_in(join->left)) && (inner || join->kind != JOIN_FULL))
        return push_below(b, join->left, e, sides) || (inner && (keep_condition(b, join, e), true));
    if (!inner) return false;
    if (!(sides & ~sides_in(join->right)) && push_below(b, join->right, e, sides)) return true;
    bind_add_condition(b, join, e);
    return true;
}

/* ---- into a query ---- */

struct below {
    struct plan *plan; /* the query */
    bool possible;
};

static struct expr *same_input(struct binder *b, void *context, const struct expr *input)
{
    (void)context;
    return bind_memory(b, arena_dup(b->arena, input, sizeof *input));
}

static struct expr *key_of_input(struct binder *b, void *context, const struct expr *input)
{
    struct plan *plan = context;
    return bind_copy(b, plan->keys[input->input].expr, &(struct replace){same_input, NULL});
}

static bool uses_keys_only(const struct plan *plan, const struct expr *e)
{
    if (e->query) return false;
    if (e->kind == EXPR_INPUT) return e->input < plan->key_count;
    for (size_t i = 0; i < e->arg_count; i++)
        if (!uses_keys_only(plan, e->args[i])) return false;
    return true;
}

/* Whether all outputs that `e` (over inputs of `above`) uses can be computed before grouping. */
static bool can_go_below(const struct plan *above, const struct plan *query, const struct expr *e)
{
    if (e->query) return false;
    if (e->kind == EXPR_INPUT) {
        const struct expr *output = query->outputs[above->inputs[e->input].slot];
        return output->query == NULL && (!query->grouped || uses_keys_only(query, output));
    }
    for (size_t i = 0; i < e->arg_count; i++)
        if (!can_go_below(above, query, e->args[i])) return false;
    return true;
}

static struct expr *output_of_query(struct binder *b, void *context, const struct expr *input)
{
    const struct plan *above = context;
    const struct plan *query = above->query;
    const struct expr *output = query->outputs[above->inputs[input->input].slot];
    struct replace by_key = {key_of_input, (void *)(uintptr_t)query};
    return bind_copy(b, output, query->grouped ? &by_key : &(struct replace){same_input, NULL});
}

/* Whether what it gives for one row depends on rows that a condition would take away: functions
 * that follow rows, FILL, windows that are no mere key. */
static bool follows_rows(const struct plan *query)
{
    bool follows = query->series_count > 0 || query->fill.on || query->window.kind > WINDOW_TUMBLE;
    for (size_t i = 0; i < query->agg_count; i++)
        follows = follows || (query->aggs[i].aggregate->flags & AGG_EDGES);
    return follows;
}

static bool push_into_query(struct binder *b, struct expr *e)
{
    struct plan *plan = b->plan, *query = plan->query;
    if (follows_rows(query) || query->has_limit || query->offset || query->distinct_on_count ||
        query->over_count || query->from == FROM_SET || query->from == FROM_VALUES ||
        query->from == FROM_ONE_ROW)
        return false;
    if (!can_go_below(plan, query, e)) return false;
    struct expr *copy = bind_copy(b, e, &(struct replace){output_of_query, plan});
    if (!copy) return true;
    b->plan = query;
    bind_add_filter(b, copy);
    b->plan = plan;
    return true;
}

/* ---- WHERE ---- */

void bind_add_filter(struct binder *b, struct expr *e)
{
    struct plan *plan = b->plan;
    if (b->err) return;
    if (e->kind == EXPR_CONST) {
        struct value v = expr_value(e);
        if (v.is_null || !v.b) plan->nothing = true;
        return;
    }
    uint64_t sides = plan->from == FROM_JOIN ? bind_sides_of(plan, e) : 0;
    if (sides && push_below(b, plan->join, e, sides)) return;
    if (plan->from == FROM_QUERY && push_into_query(b, e)) return;
    if (plan->from == FROM_TABLE && bind_push_scan(b, e)) return;
    if (b->err || !bind_grow(b, &plan->filters, plan->filter_count, &plan->filter_capacity,
                             sizeof *plan->filters))
        return;
    /* Conditions on device and labels are decided once per chunk: they go first. */
    size_t at = plan->filter_count++;
    for (; e->series_constant && at > 0 && !plan->filters[at - 1]->series_constant; at--)
        plan->filters[at] = plan->filters[at - 1];
    plan->filters[at] = e;
}
