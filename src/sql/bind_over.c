/* bind_over.c - f(x) OVER (…): which function, over which rows.
 *
 * Results are columns behind those that a row has already. How many these are is only known when
 * all is bound; until then results count from OVER_BASE, and bind_over_end brings them to their
 * place.
 */
#include "sql/bind_priv.h"
#include "sql/over.h"
#include <string.h>

enum { OVER_BASE = 1 << 24 };

/* ---- the rows ---- */

static const struct ast_over *named_window(struct binder *b, const struct ast_over *over)
{
    const struct ast_select *select = b->select;
    for (size_t i = 0; i < select->over_count; i++)
        if (str_equal(select->overs[i].name, over->name)) return &select->overs[i];
    const char *names[64];
    size_t count = 0;
    for (; count < select->over_count && count < 64; count++)
        names[count] = select->overs[count].name.at;
    int near = count ? str_nearest(over->name, names, count) : -1;
    return bind_fail(b, ERR_NOT_FOUND, over->position,
                     "there is no window \"%.*s\"%s%s%s; WINDOW %.*s AS (PARTITION BY …) makes one",
                     (int)over->name.size, over->name.at, near < 0 ? "" : "; did you mean \"",
                     near < 0 ? "" : names[near], near < 0 ? "" : "\"", (int)over->name.size,
                     over->name.at);
}

/* How far a bound reaches: a number of rows, or in RANGE a distance of the ordering value. */
static void bind_offset(struct binder *b, const struct over_spec *spec,
                        const struct ast_bound *from, struct over_bound *to)
{
    bool is_range = spec->unit == FRAME_RANGE;
    const struct expr *key = spec->order_count ? spec->order[0] : NULL;
    to->kind = from->kind;
    if (!from->offset) return;
    int32_t position = from->offset->position;
    if (is_range && (!key || spec->order_count > 1)) {
        bind_fail(b, ERR_INVALID, position,
                  "RANGE with a distance wants ORDER BY with one expression");
        return;
    }
    char letter = 'i';
    if (is_range) letter = key->type == TYPE_TIMESTAMP ? 'D' : bind_letter(key);
    if (is_range && letter != 'D' && letter != 'i' && letter != 'd') {
        bind_fail(b, ERR_TYPE, position,
                  "RANGE with a distance goes over times and numbers, not %s", bind_type_text(key));
        return;
    }
    struct expr *e = bind_expr(b, from->offset);
    bool is_open = e && bind_is_open(b, e);
    if (e && bind_convert_cost(e, letter) < 0)
        e = bind_fail(b, ERR_TYPE, position, "%s is wanted here, this is %s",
                      letter == 'D' ? "a duration such as 10s" : "a number", bind_type_text(e));
    if (e) e = bind_convert(b, e, letter);
    if (!e || is_open) return;
    struct value v = {.is_null = true};
    if (e->kind == EXPR_CONST) v = expr_value(e);
    if (v.is_null || (letter == 'd' ? v.d < 0 : v.i < 0)) {
        bind_fail(b, ERR_INVALID, position, "a constant that is not negative is wanted here");
        return;
    }
    if (letter == 'd')
        to->distance = v.d;
    else
        to->count = v.i;
}

static struct expr **bind_spec_list(struct binder *b, size_t count)
{
    return bind_memory(b, arena_zero(b->arena, count, sizeof(struct expr *)));
}

static struct expr *bind_spec_expr(struct binder *b, const struct ast *tree)
{
    struct expr *e = bind_expr(b, tree);
    return e && e->type == TYPE_NONE ? bind_cast(b, e, TYPE_TEXT, e->position) : e;
}

static void bind_spec(struct binder *b, const struct ast_over *over, struct over_spec *spec)
{
    spec->partition = bind_spec_list(b, over->partition_by.count);
    spec->order = bind_spec_list(b, over->order_count);
    spec->keys = bind_memory(b, arena_zero(b->arena, over->order_count, sizeof *spec->keys));
    for (size_t i = 0; i < over->partition_by.count && !b->err; i++)
        spec->partition[spec->partition_count++] = bind_spec_expr(b, over->partition_by.items[i]);
    for (size_t i = 0; i < over->order_count && !b->err; i++) {
        spec->order[i] = bind_spec_expr(b, over->order[i].tree);
        spec->keys[spec->order_count++] =
            (struct sort_key){i, over->order[i].descending, over->order[i].nulls_first};
    }
    spec->unit = over->unit;
    spec->from.kind = BOUND_UNBOUNDED_PRECEDING;
    spec->to.kind = BOUND_CURRENT_ROW;
    if (b->err || !over->has_frame) return;
    if (over->unit == FRAME_GROUPS && over->order_count == 0)
        bind_fail(b, ERR_INVALID, over->position, "GROUPS wants ORDER BY");
    bind_offset(b, spec, &over->from, &spec->from);
    bind_offset(b, spec, &over->to, &spec->to);
}

static bool same_bound(const struct over_bound *x, const struct over_bound *y)
{
    return x->kind == y->kind && x->count == y->count && x->distance == y->distance;
}

static bool same_spec(const struct over_spec *x, const struct over_spec *y)
{
    if (x->partition_count != y->partition_count || x->order_count != y->order_count ||
        x->unit != y->unit || !same_bound(&x->from, &y->from) || !same_bound(&x->to, &y->to))
        return false;
    for (size_t i = 0; i < x->partition_count; i++)
        if (!expr_same(x->partition[i], y->partition[i])) return false;
    for (size_t i = 0; i < x->order_count; i++)
        if (!expr_same(x->order[i], y->order[i]) ||
            x->keys[i].descending != y->keys[i].descending ||
            x->keys[i].nulls_first != y->keys[i].nulls_first)
            return false;
    return true;
}

static size_t add_spec(struct binder *b, const struct ast_over *tree)
{
    struct plan_over *over = &b->plan->over;
    struct over_spec spec = {0};
    bind_spec(b, tree, &spec);
    size_t i = 0;
    while (!b->err && i < over->spec_count && !same_spec(&over->specs[i], &spec)) i++;
    if (b->err || i < over->spec_count) return i;
    if (!bind_grow(b, &over->specs, i, &over->spec_capacity, sizeof *over->specs)) return 0;
    over->specs[over->spec_count++] = spec;
    return i;
}

/* ---- the call ---- */

static char arg_letter(const char *args, size_t i)
{
    for (; *args; args++)
        if (*args != '|' && i-- == 0) return *args;
    return 0;
}

static size_t least_args(const char *args)
{
    const char *bar = strchr(args, '|');
    return bar ? (size_t)(bar - args) : strlen(args);
}

static size_t most_args(const char *args)
{
    return strlen(args) - (strchr(args, '|') ? 1 : 0);
}

static struct expr *fail_args(struct binder *b, const struct ast *tree,
                              const struct over_function *function)
{
    return bind_fail(b, ERR_NO_FUNCTION, tree->position,
                     "%s takes other arguments; for example: %s", function->name,
                     function->example);
}

static struct expr *bind_function(struct binder *b, const struct ast *tree,
                                  const struct over_function *function, struct over_call *call)
{
    if (tree->arg_count < least_args(function->args) || tree->arg_count > most_args(function->args))
        return fail_args(b, tree, function);
    struct expr *same[2];
    size_t same_count = 0;
    for (size_t i = 0; i < tree->arg_count; i++) {
        call->args[i] = bind_spec_expr(b, tree->args[i]);
        if (!call->args[i]) return NULL;
        if (arg_letter(function->args, i) == 'A') same[same_count++] = call->args[i];
    }
    call->arg_count = tree->arg_count;
    char common = same_count ? bind_unify(same, same_count) : 0;
    if (same_count && !common) return fail_args(b, tree, function);
    for (size_t i = 0; i < tree->arg_count; i++) {
        char letter = arg_letter(function->args, i);
        if (letter == 'A') letter = common;
        if (bind_convert_cost(call->args[i], letter) < 0) return fail_args(b, tree, function);
        call->args[i] = bind_convert(b, call->args[i], letter);
        if (!call->args[i]) return NULL;
    }
    call->function = function;
    call->type = function_letter_type(function->result == 'A' ? common : function->result);
    call->is_duration = function->result == 'A' && common == 'D';
    MUST(function->result != 'A' || call->args[0]); /* its result is what an argument is */
    call->unit = function->result == 'A' ? call->args[0]->unit : "";
    return call->args[0];
}

static void bind_moving(struct binder *b, const struct ast *tree, struct over_call *call)
{
    struct agg_call aggregate;
    if (tree->distinct) {
        bind_fail(b, ERR_UNSUPPORTED, tree->position, "DISTINCT does not go with OVER");
        return;
    }
    if (!bind_aggregate_call(b, tree, &aggregate)) return;
    call->aggregate = aggregate.aggregate;
    call->args[0] = aggregate.arg;
    call->arg_count = aggregate.arg ? 1 : 0;
    call->params = aggregate.params;
    call->type = aggregate.type;
    call->is_duration = aggregate.is_duration;
    call->unit = aggregate.unit;
}

static struct expr *add_call(struct binder *b, const struct over_call *call)
{
    struct plan_over *over = &b->plan->over;
    if (over->call_count == OVER_CALLS_MAX)
        return bind_fail(b, ERR_LIMIT, call->position, "a query has at most %d window functions",
                         OVER_CALLS_MAX);
    if (!bind_grow(b, &over->calls, over->call_count, &over->call_capacity, sizeof *over->calls))
        return NULL;
    struct expr *e = bind_memory(b, expr_input(b->arena, (uint32_t)(OVER_BASE + over->call_count),
                                               call->type, call->position));
    if (!e) return NULL;
    over->calls[over->call_count++] = *call;
    e->is_duration = call->is_duration;
    e->unit = call->unit;
    return e;
}

struct expr *bind_over(struct binder *b, const struct ast *tree)
{
    const struct over_function *function = over_find(tree->text);
    struct over_call call = {.position = tree->position, .unit = ""};
    if (!function && !aggregate_exists(tree->text))
        return bind_fail(b, ERR_NO_FUNCTION, tree->position,
                         "%.*s is not a window function; these are row_number, rank, lag, lead, "
                         "first_value… and every aggregate",
                         (int)tree->text.size, tree->text.at);
    if (!b->over_allowed)
        return bind_fail(b, ERR_GROUPING, tree->position,
                         "a window function can stand in the select list and in ORDER BY only; put "
                         "it into a sub-query: SELECT … FROM (SELECT … AS n …) WHERE n = 1");
    const struct ast_over *over = tree->over;
    bool is_reference = over->name.size > 0 && over->partition_by.count == 0 &&
                        over->order_count == 0 && !over->has_frame;
    if (over->name.size > 0 && !is_reference)
        return bind_fail(b, ERR_UNSUPPORTED, over->position,
                         "a named window is used as it is: OVER %.*s", (int)over->name.size,
                         over->name.at);
    if (is_reference) over = named_window(b, over);
    if (!over) return NULL;
    b->over_allowed = false; /* not inside each other */
    call.spec = add_spec(b, over);
    if (!b->err && function) bind_function(b, tree, function, &call);
    if (!b->err && !function) bind_moving(b, tree, &call);
    b->over_allowed = true;
    return b->err ? NULL : add_call(b, &call);
}

/* ---- when all is bound ---- */

static void move_results(struct expr *e, size_t base)
{
    if (e->kind == EXPR_INPUT && e->input >= OVER_BASE)
        e->input = (uint32_t)(base + (e->input - OVER_BASE));
    for (size_t i = 0; i < e->arg_count; i++) move_results(e->args[i], base);
}

/* Partitions that never mix devices, over rows that come device by device: one series at a time is
 * enough. */
static bool is_by_series(const struct plan *plan)
{
    if (plan->grouped || !plan->table.has_series) return false;
    for (size_t s = 0; s < plan->over.spec_count; s++) {
        const struct over_spec *spec = &plan->over.specs[s];
        bool by_device = false;
        for (size_t i = 0; i < spec->partition_count; i++) {
            const struct expr *e = spec->partition[i];
            by_device |= e->kind == EXPR_INPUT && plan->inputs[e->input].kind == INPUT_DEVICE;
        }
        if (!by_device) return false;
    }
    return true;
}

void bind_over_end(struct binder *b)
{
    struct plan *plan = b->plan;
    plan->over_count = plan->over.call_count;
    if (plan->over_count == 0) return;
    plan->over.base = plan->grouped ? GROUP_KEYS_MAX + plan->agg_count : plan->input_count;
    for (size_t i = 0; i < plan->output_count; i++) move_results(plan->outputs[i], plan->over.base);
    plan->over.by_series = is_by_series(plan);
    for (size_t i = 0; i < plan->over_count; i++) {
        const struct aggregate *aggregate = plan->over.calls[i].aggregate;
        if (aggregate && (aggregate->flags & AGG_NEEDS_TIME) && plan->from == FROM_TABLE)
            plan->request.want_time = true;
    }
}
