/* bind_group.c - GROUP BY, PARTITION BY, windows and aggregates.
 *
 * A tumbling window is nothing but one more key, time_bucket(width, time), with names for its
 * bounds; so all its spellings, and GROUP BY time_bucket(…), are one node of the plan. With groups
 * an expression above them may use keys (recognised by their tree), aggregates, and labels where
 * the device is a key. */
#include "sql/bind_priv.h"
#include <string.h>

bool ast_has_aggregate(const struct ast *tree)
{
    if (!tree) return false;
    if (tree->kind == AST_CALL && aggregate_exists(tree->text) && !tree->over) return true;
    for (size_t o = 0; tree->over && o < tree->over->order_count; o++)
        if (ast_has_aggregate(tree->over->order[o].tree)) return true;
    for (size_t o = 0; tree->over && o < tree->over->partition_by.count; o++)
        if (ast_has_aggregate(tree->over->partition_by.items[o])) return true;
    for (size_t i = 0; i < tree->arg_count; i++)
        if (ast_has_aggregate(tree->args[i])) return true;
    return false;
}

static bool same_value(const struct value *x, const struct value *y)
{
    if (x->type != y->type || x->is_null != y->is_null) return false;
    return x->is_null || x->type == TYPE_NONE || value_compare(x, y) == 0;
}

/* "press.device" and "device" are the same name; "label.device" is another. */
static bool same_name(const struct ast *x, const struct ast *y)
{
    bool x_label = str_is(x->qualifier, "label"), y_label = str_is(y->qualifier, "label");
    return str_equal(x->text, y->text) && x_label == y_label;
}

bool ast_same(const struct binder *b, const struct ast *x, const struct ast *y)
{
    if (!x || !y || x->kind != y->kind || x->arg_count != y->arg_count || x->depth != y->depth)
        return false;
    if (x->kind == AST_NAME) return same_name(x, y);
    if (x->kind == AST_LITERAL)
        return x->is_duration == y->is_duration && same_value(&x->value, &y->value);
    if (x->kind == AST_PARAM && x->value.i != y->value.i) return false;
    if (x->kind == AST_CAST && x->type != y->type) return false;
    if (x->kind == AST_CALL && (!str_equal(x->text, y->text) || x->distinct != y->distinct))
        return false;
    if (x->query != y->query || x->over != y->over) return false;
    if ((x->filter || y->filter) && !ast_same(b, x->filter, y->filter)) return false;
    for (size_t i = 0; i < x->arg_count; i++)
        if (!ast_same(b, x->args[i], y->args[i])) return false;
    return true;
}

bool bind_is_window_name(struct str name, bool *is_end)
{
    *is_end = str_is(name, "window_end") || str_is(name, "_wend");
    return *is_end || str_is(name, "window_start") || str_is(name, "_wstart");
}

int bind_find_key(const struct binder *b, const struct ast *tree)
{
    for (size_t i = 0; i < b->plan->key_count; i++)
        if (b->plan->keys[i].tree && ast_same(b, b->plan->keys[i].tree, tree)) return (int)i;
    return -1;
}

/* ---- keys ---- */

static bool is_time_input(const struct binder *b, const struct expr *e)
{
    return e->kind == EXPR_INPUT && b->plan->inputs[e->input].kind == INPUT_TIME;
}

static int add_key(struct binder *b, const struct ast *tree, struct expr *expr, int32_t position)
{
    struct plan *plan = b->plan;
    if (!expr) return -1;
    if (plan->key_count == GROUP_KEYS_MAX) {
        bind_fail(b, ERR_LIMIT, position, "a statement groups by at most %d expressions",
                  GROUP_KEYS_MAX);
        return -1;
    }
    if (!bind_grow(b, &plan->keys, plan->key_count, &plan->key_capacity, sizeof *plan->keys))
        return -1;
    struct group_key *key = &plan->keys[plan->key_count];
    *key = (struct group_key){tree, expr, 0};
    bool is_bucket = expr->kind == EXPR_CALL && expr->function->kernel == time_bucket_DT &&
                     expr->args[0]->kind == EXPR_CONST && !expr->args[0]->constant.null[0] &&
                     is_time_input(b, expr->args[1]) && plan->table.has_series;
    if (is_bucket && expr_value(expr->args[0]).i > 0) key->bucket_ns = expr_value(expr->args[0]).i;
    return (int)plan->key_count++;
}

/* The select item that a bare name or an ordinal in GROUP BY means; else the tree itself. */
static const struct ast *resolve_group_tree(struct binder *b, const struct ast *tree)
{
    const struct ast_select *select = b->select;
    if (tree->kind == AST_LITERAL && tree->value.type == TYPE_BIGINT && !tree->is_duration) {
        if (tree->value.i < 1 || (uint64_t)tree->value.i > select->item_count)
            return bind_fail(b, ERR_GROUPING, tree->position,
                             "GROUP BY %lld: the select list has %zu entries",
                             (long long)tree->value.i, select->item_count);
        return select->items[tree->value.i - 1].tree;
    }
    if (tree->kind != AST_NAME || tree->qualifier.size > 0 || !b->plan->has_table) return tree;
    if (bind_has_name(b, tree->text)) return tree;
    for (size_t i = 0; i < select->item_count; i++)
        if (select->items[i].alias.size > 0 && str_equal(select->items[i].alias, tree->text))
            return select->items[i].tree;
    return tree;
}

static void bind_key_list(struct binder *b, const struct ast_list *list)
{
    for (size_t i = 0; i < list->count && !b->err; i++) {
        const struct ast *tree = resolve_group_tree(b, list->items[i]);
        if (!tree || bind_find_key(b, tree) >= 0) continue;
        if (ast_has_aggregate(tree)) {
            bind_fail(b, ERR_GROUPING, list->items[i]->position,
                      "an aggregate cannot be grouped by");
            return;
        }
        struct expr *expr = bind_expr(b, tree);
        if (expr && expr->type == TYPE_NONE) expr = bind_cast(b, expr, TYPE_TEXT, expr->position);
        add_key(b, tree, expr, list->items[i]->position);
    }
}

static void bind_window(struct binder *b)
{
    const struct ast_select *select = b->select;
    struct plan *plan = b->plan;
    if (!bind_has_name(b, STR("time"))) {
        bind_fail(b, ERR_UNSUPPORTED, select->window_position,
                  "a window needs rows with a time: a table, or a query with a column time");
        return;
    }
    struct value width = {.type = TYPE_BIGINT, .i = select->window_ns};
    struct expr **args = bind_memory(b, arena_zero(b->arena, 2, sizeof *args));
    if (!args) return;
    args[0] = bind_memory(b, expr_constant(b->arena, &width, select->window_position));
    args[1] = bind_input(b, INPUT_TIME, NULL, NULL, select->window_position);
    if (!args[0] || !args[1]) return;
    args[0]->is_duration = true;
    if (args[1]->type != TYPE_TIMESTAMP) {
        bind_fail(b, ERR_TYPE, select->window_position, "the column time is %s, not a timestamp",
                  bind_type_text(args[1]));
        return;
    }
    int key = add_key(b, NULL, bind_call(b, "time_bucket", args, 2, select->window_position),
                      select->window_position);
    if (key < 0) return;
    plan->has_window = true;
    plan->window_key = (size_t)key;
    plan->window_ns = select->window_ns;
}

/* Times ascend within a series, so these functions of time do too. */
static bool ascends_with_time(const struct binder *b, const struct group_key *key)
{
    const struct expr *e = key->expr;
    if (key->bucket_ns > 0 || is_time_input(b, e)) return true;
    return e->kind == EXPR_CALL && e->function->kernel == date_trunc_tT &&
           e->args[0]->kind == EXPR_CONST && is_time_input(b, e->args[1]);
}

static bool can_stream(const struct binder *b)
{
    bool by_device = false;
    for (size_t i = 0; i < b->plan->key_count; i++) {
        const struct group_key *key = &b->plan->keys[i];
        const struct expr *e = key->expr;
        by_device =
            by_device || (e->kind == EXPR_INPUT && b->plan->inputs[e->input].kind == INPUT_DEVICE);
        if (!e->series_constant && !ascends_with_time(b, key)) return false;
    }
    return by_device;
}

void bind_groups(struct binder *b)
{
    const struct ast_select *select = b->select;
    bool grouped = select->group_by.count || select->partition_by.count || select->has_window ||
                   select->having;
    for (size_t i = 0; i < select->item_count; i++)
        grouped = grouped || ast_has_aggregate(select->items[i].tree);
    for (size_t i = 0; i < select->order_count; i++)
        grouped = grouped || ast_has_aggregate(select->order[i].tree);
    b->plan->grouped = grouped;
    if (!grouped) return;
    bind_key_list(b, &select->partition_by);
    bind_key_list(b, &select->group_by);
    if (select->has_window && !b->err) bind_window(b);
    b->plan->streaming =
        !b->err && b->plan->has_table && b->plan->table.has_series && can_stream(b);
}

/* ---- names above groups ---- */

static struct expr *key_input(struct binder *b, size_t key, int32_t position)
{
    const struct expr *from = b->plan->keys[key].expr;
    struct expr *e = bind_memory(b, expr_input(b->arena, (uint32_t)key, from->type, position));
    if (!e) return NULL;
    e->is_duration = from->is_duration;
    e->unit = from->unit;
    return e;
}

static struct expr *bind_window_bound(struct binder *b, bool is_end, int32_t position)
{
    struct expr *start = key_input(b, b->plan->window_key, position);
    if (!start || !is_end) return start;
    struct value width = {.type = TYPE_BIGINT, .i = b->plan->window_ns};
    struct expr **args = bind_memory(b, arena_zero(b->arena, 2, sizeof *args));
    if (!args) return NULL;
    args[0] = start;
    args[1] = bind_memory(b, expr_constant(b->arena, &width, position));
    if (!args[1]) return NULL;
    args[1]->is_duration = true;
    return bind_call(b, "+", args, 2, position);
}

static bool device_is_key(const struct binder *b)
{
    for (size_t i = 0; i < b->plan->key_count; i++) {
        const struct expr *e = b->plan->keys[i].expr;
        if (e->kind == EXPR_INPUT && b->plan->inputs[e->input].kind == INPUT_DEVICE) return true;
    }
    return false;
}

static struct expr *bind_alias(struct binder *b, const struct ast *tree)
{
    const struct ast_select *select = b->select;
    for (size_t i = 0; b->alias_depth == 0 && tree->qualifier.size == 0 && i < select->item_count;
         i++) {
        if (select->items[i].alias.size == 0 || !str_equal(select->items[i].alias, tree->text))
            continue;
        b->alias_depth++;
        struct expr *e = bind_expr(b, select->items[i].tree);
        b->alias_depth--;
        return e;
    }
    return NULL;
}

struct expr *bind_group_name(struct binder *b, const struct ast *tree)
{
    bool is_end;
    if (b->plan->has_window && tree->qualifier.size == 0 &&
        bind_is_window_name(tree->text, &is_end))
        return bind_window_bound(b, is_end, tree->position);
    struct expr *e = bind_alias(b, tree);
    if (e || b->err) return e;
    b->place = PLACE_ROW; /* says so when the name does not exist at all */
    e = bind_name(b, tree);
    b->place = PLACE_GROUP;
    if (!e || e->kind == EXPR_PARAM || e->kind == EXPR_CONST) return e;
    if (e->series_constant &&
        device_is_key(b)) { /* a label depends on the device: as good as a key */
        int key = add_key(b, tree, e, tree->position);
        return key < 0 ? NULL : key_input(b, (size_t)key, tree->position);
    }
    return bind_fail(
        b, ERR_GROUPING, tree->position,
        "column \"%.*s\" must be in GROUP BY (or PARTITION BY) or inside an aggregate such as last(%.*s)",
        (int)tree->text.size, tree->text.at, (int)tree->text.size, tree->text.at);
}

/* ---- aggregates ---- */

static const struct aggregate *find_aggregate(struct str name, const struct expr *arg)
{
    size_t count;
    const struct aggregate *table = aggregate_table(&count), *best = NULL;
    int best_cost = -1;
    for (size_t i = 0; i < count; i++) {
        if (!str_is(name, table[i].name) || (arg == NULL) != (table[i].args[0] == 0)) continue;
        int cost = arg ? bind_convert_cost(arg, table[i].args[0]) : 0;
        if (cost >= 0 && (best_cost < 0 || cost < best_cost)) best = &table[i], best_cost = cost;
    }
    return best;
}

static struct expr *bind_aggregate_arg(struct binder *b, const struct ast *tree)
{
    b->place = PLACE_AGGREGATE;
    struct expr *arg = bind_expr(b, tree);
    b->place = PLACE_GROUP;
    if (arg && arg->type == TYPE_NONE) arg = bind_cast(b, arg, TYPE_TEXT, arg->position);
    return arg;
}

static bool same_call(const struct agg_call *x, const struct agg_call *y)
{
    if (x->aggregate != y->aggregate || x->distinct != y->distinct) return false;
    return x->arg == y->arg || (x->arg && y->arg && expr_same(x->arg, y->arg));
}

/* Adds the call to the plan, or finds it there; gives the expression that reads its result. */
static struct expr *add_call(struct binder *b, const struct agg_call *call)
{
    struct plan *plan = b->plan;
    size_t i = 0;
    while (i < plan->agg_count && !same_call(&plan->aggs[i], call)) i++;
    if (i == GROUP_AGGREGATES_MAX)
        return bind_fail(b, ERR_LIMIT, call->position, "a statement has at most %d aggregates",
                         GROUP_AGGREGATES_MAX);
    if (i == plan->agg_count) {
        if (!bind_grow(b, &plan->aggs, i, &plan->agg_capacity, sizeof *plan->aggs)) return NULL;
        plan->aggs[plan->agg_count++] = *call;
    }
    struct expr *e = bind_memory(
        b, expr_input(b->arena, (uint32_t)(GROUP_KEYS_MAX + i), call->type, call->position));
    if (!e) return NULL;
    e->is_duration = call->is_duration;
    e->unit = call->unit;
    return e;
}

static struct expr *fail_aggregate(struct binder *b, const struct ast *tree, const struct expr *arg)
{
    return bind_fail(b, ERR_TYPE, tree->position, "%.*s does not take %s", (int)tree->text.size,
                     tree->text.at, arg ? bind_type_text(arg) : "*; only count does");
}

static struct ast *new_ast(struct binder *b, const struct ast *like, size_t arg_count)
{
    struct ast *made = bind_memory(b, arena_dup(b->arena, like, sizeof *like));
    struct ast **args = bind_memory(b, arena_zero(b->arena, arg_count, sizeof *args));
    if (!made || !args) return NULL;
    made->args = args;
    made->arg_count = arg_count;
    made->filter = NULL;
    return made;
}

/* agg(x) FILTER (WHERE c) is agg(CASE WHEN c THEN x END): aggregates pass over NULLs. */
static struct expr *bind_filtered(struct binder *b, const struct ast *tree)
{
    bool is_star =
        tree->arg_count == 0 || (tree->arg_count == 1 && tree->args[0]->kind == AST_STAR);
    struct ast *call = new_ast(b, tree, is_star ? 1 : tree->arg_count);
    struct ast *choice = new_ast(b, tree, 2), *yes = new_ast(b, tree, 0);
    if (!call || !choice || !yes) return NULL;
    *yes = (struct ast){.kind = AST_LITERAL,
                        .position = tree->position,
                        .depth = 1,
                        .value = {.type = TYPE_BOOL, .b = true}};
    choice->text = STR("case");
    choice->distinct = false;
    choice->over = NULL;
    choice->args[0] = tree->filter;
    choice->args[1] = is_star ? yes : tree->args[0];
    for (size_t i = 1; i < call->arg_count; i++) call->args[i] = tree->args[i];
    call->args[0] = choice;
    return call->over ? bind_over(b, call) : bind_aggregate(b, call);
}

/* `of_rows`: the argument reads rows as the source gives them. */
static bool bind_aggregate_of(struct binder *b, const struct ast *tree, struct expr *arg,
                              bool of_rows, struct agg_call *call)
{
    const struct aggregate *aggregate = find_aggregate(tree->text, arg);
    if (!aggregate || (!arg && tree->distinct)) {
        fail_aggregate(b, tree, arg);
        return false;
    }
    *call = (struct agg_call){
        .aggregate = aggregate, .distinct = tree->distinct, .position = tree->position, .unit = ""};
    if (arg) {
        call->keeps_null =
            of_rows && arg->kind == EXPR_INPUT && b->plan->inputs[arg->input].kind == INPUT_COLUMN;
        arg = call->arg = bind_convert(b, arg, aggregate->args[0]);
        if (!arg) return false;
        if (aggregate->flags & AGG_KEEPS_UNIT) call->unit = arg->unit;
    }
    bool is_same = aggregate->result == 'A'; /* the argument's: only those with one have it */
    MUST(arg || !is_same);
    call->type = is_same ? arg->type : function_letter_type(aggregate->result);
    call->is_duration = is_same ? arg->is_duration : aggregate->result == 'D';
    return true;
}

static bool is_star_call(const struct ast *tree)
{
    return tree->arg_count == 0 || (tree->arg_count == 1 && tree->args[0]->kind == AST_STAR);
}

bool bind_aggregate_call(struct binder *b, const struct ast *tree, struct agg_call *call)
{
    struct expr *arg = NULL;
    if (tree->arg_count > 1) {
        bind_fail(b, ERR_NO_FUNCTION, tree->position, "%.*s takes one argument",
                  (int)tree->text.size, tree->text.at);
        return false;
    }
    if (!is_star_call(tree)) {
        arg = bind_expr(b, tree->args[0]);
        if (arg && arg->type == TYPE_NONE) arg = bind_cast(b, arg, TYPE_TEXT, arg->position);
        if (!arg) return false;
    }
    return bind_aggregate_of(b, tree, arg, b->place == PLACE_ROW, call);
}

struct expr *bind_aggregate(struct binder *b, const struct ast *tree)
{
    struct agg_call call;
    if (tree->filter) return bind_filtered(b, tree);
    if (b->place == PLACE_AGGREGATE)
        return bind_fail(b, ERR_GROUPING, tree->position,
                         "an aggregate inside another one makes no sense");
    if (b->place != PLACE_GROUP)
        return bind_fail(b, ERR_GROUPING, tree->position, "an aggregate cannot stand here%s",
                         b->in_where ? "; conditions on aggregates belong into HAVING" : "");
    if (tree->arg_count > 1)
        return bind_fail(b, ERR_NO_FUNCTION, tree->position, "%.*s takes one argument",
                         (int)tree->text.size, tree->text.at);
    bool is_star = is_star_call(tree), over_allowed = b->over_allowed;
    b->over_allowed = false;
    struct expr *arg = is_star ? NULL : bind_aggregate_arg(b, tree->args[0]);
    b->over_allowed = over_allowed;
    if (!is_star && !arg) return NULL;
    if (!bind_aggregate_of(b, tree, arg, true, &call)) return NULL;
    if ((call.aggregate->flags & AGG_NEEDS_TIME) && b->plan->has_table)
        b->plan->request.want_time = true;
    return add_call(b, &call);
}
