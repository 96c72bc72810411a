/* bind_group.c - GROUP BY, PARTITION BY and aggregates; windows are bind_window.c's.
 *
 * With groups an expression above them may use keys (recognised by their tree), aggregates, and
 * labels where the device is a key. */
#include "sql/bind_priv.h"
#include "sql/series.h"
#include <stdio.h>
#include <string.h>

bool ast_has_aggregate(const struct ast *tree)
{
    if (!tree) return false;
    if (tree->kind == AST_CALL && aggregate_exists(tree->text) && !tree->over &&
        !series_exists(tree->text))
        return true;
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

bool ast_same(const struct binder *b, const struct ast *x, const struct ast *y)
{
    if (!x || !y || x->kind != y->kind || x->arg_count != y->arg_count || x->depth != y->depth)
        return false;
    if (x->kind == AST_NAME) return bind_same_name(b, x, y);
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

/* A key that is a window of the time itself needs no computing per row. */
static void find_grid(struct binder *b, struct group_key *key)
{
    struct time_grid grid;
    bool is_grid = false;
    const struct expr *e = key->expr;
    if (!b->plan->table.has_series || e->kind != EXPR_CALL || e->arg_count < 2 ||
        !is_time_input(b, e->args[1]))
        return;
    enum err err = grid_of_call(&b->eval, e, &grid, &is_grid);
    if (err && !b->err) b->err = err;
    if (!err && is_grid) key->grid = bind_memory(b, arena_dup(b->arena, &grid, sizeof grid));
}

int bind_add_key(struct binder *b, const struct ast *tree, struct expr *expr, int32_t position)
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
    *key = (struct group_key){tree, expr, NULL};
    find_grid(b, key);
    return b->err ? -1 : (int)plan->key_count++;
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
        bind_add_key(b, tree, expr, list->items[i]->position);
    }
}

/* Times ascend within a series, so these functions of time do too. */
static bool ascends_with_time(const struct binder *b, const struct group_key *key)
{
    const struct expr *e = key->expr;
    return key->grid || is_time_input(b, e) ||
           (e->kind == EXPR_INPUT && b->plan->inputs[e->input].kind == INPUT_WINDOW &&
            b->plan->window.kind != WINDOW_HOP);
}

/* One device at a time: it is a key, or WHERE leaves only one. */
bool bind_is_by_device(const struct binder *b)
{
    for (size_t i = 0; i < b->plan->key_count; i++) {
        const struct expr *e = b->plan->keys[i].expr;
        if (e->kind == EXPR_INPUT && b->plan->inputs[e->input].kind == INPUT_DEVICE) return true;
    }
    for (size_t i = 0; i < b->plan->request.filter_count; i++) {
        const struct sql_series_filter *filter = &b->plan->request.filters[i];
        if (str_is(filter->label, "device") && filter->value_count == 1) return true;
    }
    return false;
}

static bool can_stream(const struct binder *b)
{
    for (size_t i = 0; i < b->plan->key_count; i++) {
        const struct group_key *key = &b->plan->keys[i];
        if (!key->expr->series_constant && !ascends_with_time(b, key)) return false;
    }
    return b->plan->key_count > 0 && bind_is_by_device(b);
}

void bind_groups(struct binder *b)
{
    const struct ast_select *select = b->select;
    bool grouped = select->group_by.count || select->partition_by.count ||
                   select->window.kind != WINDOW_NONE || select->having;
    for (size_t i = 0; i < select->item_count; i++)
        grouped = grouped || ast_has_aggregate(select->items[i].tree);
    for (size_t i = 0; i < select->order_count; i++)
        grouped = grouped || ast_has_aggregate(select->order[i].tree);
    b->plan->grouped = grouped;
    if (!grouped) return;
    bind_key_list(b, &select->partition_by);
    bind_key_list(b, &select->group_by);
    bind_window(b);
    if (b->err) return;
    b->plan->streaming = b->plan->has_table && b->plan->table.has_series && can_stream(b);
    bind_window_order(b);
}

/* ---- names above groups ---- */

struct expr *bind_key_input(struct binder *b, size_t key, int32_t position)
{
    const struct expr *from = b->plan->keys[key].expr;
    struct expr *e = bind_memory(b, expr_input(b->arena, (uint32_t)key, from->type, position));
    if (!e) return NULL;
    e->is_duration = from->is_duration;
    e->unit = from->unit;
    return e;
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
    enum window_name name = bind_window_name(tree);
    if (b->plan->has_window && name != NOT_A_WINDOW_NAME)
        return bind_window_part(b, name, tree->position);
    struct expr *e = bind_alias(b, tree);
    if (e || b->err) return e;
    b->place = PLACE_ROW; /* says so when the name does not exist at all */
    e = bind_name(b, tree);
    b->place = PLACE_GROUP;
    if (!e || e->kind == EXPR_PARAM || e->kind == EXPR_CONST) return e;
    if (e->series_constant &&
        device_is_key(b)) { /* a label depends on the device: as good as a key */
        int key = bind_add_key(b, tree, e, tree->position);
        return key < 0 ? NULL : bind_key_input(b, (size_t)key, tree->position);
    }
    return bind_fail(
        b, ERR_GROUPING, tree->position,
        "column \"%.*s\" must be in GROUP BY (or PARTITION BY) or inside an aggregate such as last(%.*s)",
        (int)tree->text.size, tree->text.at, (int)tree->text.size, tree->text.at);
}

/* ---- aggregates ---- */

enum { AGGREGATE_ARGS_MAX = 8 };

/* The letter of argument `i`; *is_constant: it stands behind '|'. 0: there is none. */
static char aggregate_letter(const struct aggregate *a, size_t i, bool *is_constant)
{
    const char *bar = strchr(a->args, '|');
    size_t rows = bar ? (size_t)(bar - a->args) : strlen(a->args);
    *is_constant = i >= rows;
    if (i < rows) return a->args[i];
    return bar && i - rows < strlen(bar + 1) ? bar[1 + i - rows] : 0;
}

static size_t aggregate_arg_count(const struct aggregate *a)
{
    return strlen(a->args) - (strchr(a->args, '|') ? 1 : 0);
}

static int aggregate_cost(const struct aggregate *a, struct expr *const *args, size_t count)
{
    int total = 0;
    if (aggregate_arg_count(a) != count) return -1;
    for (size_t i = 0; i < count; i++) {
        bool is_constant;
        int cost = bind_convert_cost(args[i], aggregate_letter(a, i, &is_constant));
        if (cost < 0) return -1;
        total += cost;
    }
    return total;
}

static const struct aggregate *find_aggregate(struct str name, struct expr *const *args,
                                              size_t count)
{
    size_t total;
    const struct aggregate *table = aggregate_table(&total), *best = NULL;
    int best_cost = -1;
    for (size_t i = 0; i < total; i++) {
        if (!str_is(name, table[i].name)) continue;
        int cost = aggregate_cost(&table[i], args, count);
        if (cost >= 0 && (best_cost < 0 || cost < best_cost)) best = &table[i], best_cost = cost;
    }
    return best;
}

static struct expr *bind_typed(struct binder *b, const struct ast *tree)
{
    struct expr *e = bind_expr(b, tree);
    return e && e->type == TYPE_NONE ? bind_cast(b, e, TYPE_TEXT, e->position) : e;
}

static struct expr *bind_aggregate_arg(struct binder *b, const struct ast *tree)
{
    b->place = PLACE_AGGREGATE;
    struct expr *arg = bind_typed(b, tree);
    b->place = PLACE_GROUP;
    return arg;
}

static bool same_expr(const struct expr *x, const struct expr *y)
{
    return x == y || (x && y && expr_same(x, y));
}

static bool same_call(const struct agg_call *x, const struct agg_call *y)
{
    bool same = x->aggregate == y->aggregate && x->distinct == y->distinct && x->fill == y->fill &&
                x->param_count == y->param_count && same_expr(x->arg, y->arg) &&
                same_expr(x->second, y->second);
    for (size_t i = 0; same && i < x->param_count; i++)
        same = value_compare(&x->params[i], &y->params[i]) == 0;
    return same;
}

struct expr *bind_add_aggregate(struct binder *b, const struct agg_call *call)
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

static struct expr *fail_aggregate(struct binder *b, const struct ast *tree,
                                   struct expr *const *args, size_t count)
{
    size_t total, used = 0;
    char types[160] = "";
    const char *example = "";
    const struct aggregate *table = aggregate_table(&total);
    for (size_t i = 0; i < count && used < 100; i++)
        used += (size_t)snprintf(types + used, sizeof types - used, "%s%s", i ? ", " : "",
                                 bind_type_text(args[i]));
    for (size_t i = 0; i < total; i++)
        if (str_is(tree->text, table[i].name) && table[i].args[0]) example = table[i].example;
    if (count == 0)
        return bind_fail(b, ERR_TYPE, tree->position,
                         "%.*s does not take *; only count does. For example: %s",
                         (int)tree->text.size, tree->text.at, example);
    return bind_fail(b, ERR_TYPE, tree->position, "%.*s does not take %s%s%s; for example: %s",
                     (int)tree->text.size, tree->text.at, count > 1 ? "(" : "", types,
                     count > 1 ? ")" : "", example);
}

/* The constants behind the arguments: values, judged by the aggregate. */
static bool bind_params(struct binder *b, struct agg_call *call, struct expr **args, size_t from,
                        size_t count)
{
    const struct aggregate *a = call->aggregate;
    struct value *values = bind_memory(b, arena_zero(b->arena, count - from + 1, sizeof *values));
    bool good = true, is_constant, is_open = false;
    if (!values) return false;
    for (size_t i = from; i < count && good; i++) {
        bool is_known = !bind_is_open(b, args[i]);
        struct expr *e = bind_convert(b, args[i], aggregate_letter(a, i, &is_constant));
        good = e && e->kind == EXPR_CONST && !(is_known && expr_value(e).is_null);
        is_open = is_open || !is_known;
        if (good) values[i - from] = expr_value(e);
    }
    if (b->err) return false;
    if (good && (is_open || !a->params_good || a->params_good(values))) {
        call->params = values;
        call->param_count = count - from;
        return true;
    }
    bind_fail(b, ERR_INVALID, args[from]->position, "%s wants %s here; for example: %s", a->name,
              a->params_help ? a->params_help : "a constant", a->example);
    return false;
}

/* Arguments per row, then constants. */
static bool bind_call_args(struct binder *b, struct agg_call *call, struct expr **args,
                           size_t count)
{
    size_t i = 0;
    for (; i < count; i++) {
        bool is_constant;
        char letter = aggregate_letter(call->aggregate, i, &is_constant);
        if (is_constant) break;
        struct expr *e = bind_convert(b, args[i], letter);
        if (!e) return false;
        if (i == 0)
            call->arg = e;
        else
            call->second = e;
    }
    return i == count || bind_params(b, call, args, i, count);
}

/* `of_rows`: the argument reads rows as the source gives them. */
static void complete_call(struct binder *b, struct agg_call *call, const struct expr *arg,
                          bool of_rows)
{
    const struct aggregate *a = call->aggregate;
    call->keeps_null = of_rows && arg && (a->flags & AGG_KEEPS_NULL) && arg->kind == EXPR_INPUT &&
                       b->plan->inputs[arg->input].kind == INPUT_COLUMN;
    if (call->arg && (a->flags & AGG_KEEPS_UNIT)) call->unit = call->arg->unit;
    bool is_same = a->result == 'A'; /* the argument's: only those with one have it */
    MUST(call->arg || !is_same);
    call->type = is_same ? call->arg->type : function_letter_type(a->result);
    call->is_duration = is_same ? call->arg->is_duration : a->result == 'D';
}

/* Binds the arguments and finds the aggregate. `in_group`: they are computed over rows before they
 * are grouped. */
static bool bind_arguments_of(struct binder *b, const struct ast *tree, bool in_group,
                              struct agg_call *call)
{
    struct expr *args[AGGREGATE_ARGS_MAX];
    bool is_star = tree->arg_count == 1 && tree->args[0]->kind == AST_STAR;
    bool of_rows = in_group || b->place == PLACE_ROW;
    size_t count = is_star ? 0 : tree->arg_count;
    if (count > AGGREGATE_ARGS_MAX)
        bind_fail(b, ERR_NO_FUNCTION, tree->position, "%.*s takes fewer arguments",
                  (int)tree->text.size, tree->text.at);
    for (size_t i = 0; i < count && !b->err; i++)
        args[i] = in_group ? bind_aggregate_arg(b, tree->args[i]) : bind_typed(b, tree->args[i]);
    if (b->err) return false;
    const struct aggregate *aggregate = find_aggregate(tree->text, args, count);
    if (!aggregate || (count == 0 && tree->distinct)) {
        fail_aggregate(b, tree, args, count);
        return false;
    }
    if (tree->distinct && count > 1)
        bind_fail(b, ERR_SYNTAX, tree->position,
                  "DISTINCT goes with one argument: count(DISTINCT mode)");
    *call = (struct agg_call){.aggregate = aggregate,
                              .distinct = tree->distinct,
                              .position = tree->position,
                              .unit = "",
                              .fill = b->fill};
    if (b->err || !bind_call_args(b, call, args, count)) return false;
    complete_call(b, call, count > 0 ? args[0] : NULL, of_rows);
    if (in_group && (aggregate->flags & AGG_NEEDS_TIME) && b->plan->has_table)
        b->plan->request.want_time = true;
    return true;
}

bool bind_aggregate_call(struct binder *b, const struct ast *tree, struct agg_call *call)
{
    if (!bind_arguments_of(b, tree, false, call)) return false;
    if (call->second || (call->aggregate->flags & AGG_ONE_SERIES))
        bind_fail(b, ERR_UNSUPPORTED, tree->position,
                  "%s cannot stand over a moving frame; WINDOW SLIDE(1m) gives one result per row",
                  call->aggregate->name);
    return !b->err;
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
    bool over_allowed = b->over_allowed;
    b->over_allowed = false;
    bool good = bind_arguments_of(b, tree, true, &call);
    b->over_allowed = over_allowed;
    return good ? bind_add_aggregate(b, &call) : NULL;
}
