/* bind_query.c - queries as wholes: one SELECT, VALUES, set operations, names of WITH, and queries
 * inside expressions.
 *
 * Each query has a binder of its own, linked to that of the query around it, whose names it may
 * use; these become parameters of the sub-query (see struct subquery). */
#include "sql/bind_priv.h"
#include "sql/op.h"
#include <string.h>

static struct binder new_binder(const struct sql_context *context, struct arena *arena,
                                struct why *why)
{
    struct binder b = {.context = context, .arena = arena, .why = why, .place = PLACE_NOTHING};
    b.eval = (struct eval){.budget = context->budget,
                           .why = why,
                           .now_ns = context->now_ns,
                           .session = context->session};
    arena_init(&b.eval.scratch, context->budget);
    b.eval.zones = zones_new(context, arena);
    return b;
}

struct plan *bind_new_plan(struct binder *b)
{
    struct plans *plans = b->plans;
    struct plan *plan = bind_memory(b, arena_zero(b->arena, 1, sizeof *plan));
    if (!plan) return NULL;
    plan->measures = bind_memory(b, arena_zero(b->arena, STAGE_COUNT, sizeof *plan->measures));
    if (!plan->measures) return NULL;
    if (++plans->count > PLANS_MAX)
        return bind_fail(b, ERR_LIMIT, b->select ? b->select->position : 0,
                         "the statement consists of more than %d queries (a name of WITH counts "
                         "each time it is used)",
                         PLANS_MAX);
    plan->request.time_from_ns = INT64_MIN;
    plan->request.time_to_ns = INT64_MAX;
    plan->name = plan->alias = STR("");
    plan->next_made = plans->made;
    plans->made = plan;
    return plan;
}

/* ---- names of WITH ---- */

static void open_ctes(struct binder *b, const struct ast_select *select)
{
    for (size_t i = 0; i < select->cte_count; i++) {
        struct cte_scope *scope = bind_memory(b, arena_zero(b->arena, 1, sizeof *scope));
        if (!scope) return;
        for (size_t j = 0; j < i; j++)
            if (str_equal(select->ctes[i].name, select->ctes[j].name))
                bind_fail(b, ERR_AMBIGUOUS, select->ctes[i].position,
                          "WITH has the name \"%.*s\" twice", (int)select->ctes[i].name.size,
                          select->ctes[i].name.at);
        *scope = (struct cte_scope){&select->ctes[i], b->ctes};
        b->ctes = scope;
    }
}

/* ---- VALUES ---- */

static struct expr **column_of(struct binder *b, size_t rows)
{
    return bind_memory(b, arena_zero(b->arena, rows, sizeof(struct expr *)));
}

/* Converts the expressions at cells[0], cells[step]… to one type. */
static void unify_column(struct binder *b, struct expr **cells, size_t count, size_t step,
                         const char *what)
{
    struct expr **column = column_of(b, count);
    if (!column) return;
    MUST(cells);
    for (size_t i = 0; i < count; i++) column[i] = cells[i * step];
    char letter = bind_unify(column, count);
    if (!letter)
        for (size_t i = 1; i < count; i++)
            if (bind_convert_cost(column[i], bind_letter(column[0])) < 0) {
                bind_fail(b, ERR_TYPE, column[i]->position, "%s: a column is %s here and %s before",
                          what, bind_type_text(column[i]), bind_type_text(column[0]));
                return;
            }
    for (size_t i = 0; i < count && !b->err; i++)
        cells[i * step] = bind_convert(b, column[i], letter ? letter : 't');
}

/* The inputs of a plan whose columns are those of its operands: the names are the first one's. */
static void name_inputs(struct binder *b, size_t count, struct expr *const *like,
                        const char *const *names)
{
    struct plan *plan = b->plan;
    plan->inputs = bind_memory(b, arena_zero(b->arena, count, sizeof *plan->inputs));
    plan->names = bind_memory(b, arena_zero(b->arena, count, sizeof *plan->names));
    plan->has_table = true;
    if (!plan->inputs || !plan->names) return;
    plan->input_count = plan->input_capacity = count;
    MUST(like);
    for (size_t i = 0; i < count && !b->err; i++) {
        const char *name = names ? names[i] : arena_printf(b->arena, "column%zu", i + 1);
        plan->names[i] = bind_memory(b, (void *)(uintptr_t)name);
        plan->inputs[i] =
            (struct input){INPUT_COLUMN, like[i]->type, name, like[i]->unit, (uint32_t)i, 0};
        struct expr *e =
            bind_memory(b, expr_input(b->arena, (uint32_t)i, like[i]->type, like[i]->position));
        if (!e) return;
        e->is_duration = like[i]->is_duration;
        e->unit = like[i]->unit;
        bind_output(b, e, name);
    }
    plan->visible_count = plan->output_count;
}

static void bind_values(struct binder *b)
{
    const struct ast_select *select = b->select;
    struct plan *plan = b->plan;
    size_t columns = select->rows[0].count, cells = columns * select->row_count;
    plan->from = FROM_VALUES;
    plan->row_count = select->row_count;
    b->place = PLACE_NOTHING;
    if (select->is_function && bind_function_rows(b, select->rows[0].items[0])) {
        if (!b->err) name_inputs(b, 1, plan->values, NULL);
        return;
    }
    plan->values = bind_memory(b, arena_zero(b->arena, cells, sizeof *plan->values));
    for (size_t i = 0; plan->values && i < cells && !b->err; i++) {
        plan->values[i] = bind_expr(b, select->rows[i / columns].items[i % columns]);
        if (plan->values[i] && plan->values[i]->type == TYPE_NONE && select->row_count == 1)
            plan->values[i] = bind_cast(b, plan->values[i], TYPE_TEXT, plan->values[i]->position);
    }
    for (size_t c = 0; c < columns && !b->err; c++)
        unify_column(b, &plan->values[c], select->row_count, columns, "VALUES");
    if (!b->err) name_inputs(b, columns, plan->values, NULL);
}

/* ---- set operations ---- */

/* a UNION ALL b UNION ALL c is one operation with three operands. */
static bool continues(const struct ast_select *set, const struct ast_select *left)
{
    return set->set == SET_UNION && left->kind == SELECT_SET && left->set == SET_UNION &&
           left->set_all == set->set_all && left->order_count == 0 && !left->limit &&
           !left->offset && left->cte_count == 0;
}

static void bind_operands(struct binder *b, const struct ast_select *set)
{
    struct plan *plan = b->plan;
    size_t count = 2;
    const struct ast_select *first = set;
    while (continues(first, first->left)) first = first->left, count++;
    plan->sides = bind_memory(b, arena_zero(b->arena, count, sizeof *plan->sides));
    if (!plan->sides) return;
    plan->side_count = count;
    for (size_t i = count; i-- > 1; set = set->left)
        plan->sides[i] = (struct plan *)(uintptr_t)set->right; /* for a moment: what to bind */
    plan->sides[0] = (struct plan *)(uintptr_t)first->left;
    for (size_t i = 0; i < count && !b->err; i++)
        plan->sides[i] = bind_inner(b, (const struct ast_select *)(const void *)plan->sides[i],
                                    b->ctes, b->parent, b->outers);
}

static const char *set_name(enum set_kind set)
{
    return set == SET_UNION ? "UNION" : set == SET_EXCEPT ? "EXCEPT" : "INTERSECT";
}

static void bind_set(struct binder *b)
{
    const struct ast_select *select = b->select;
    struct plan *plan = b->plan;
    plan->from = FROM_SET;
    plan->set = select->set;
    plan->set_all = select->set_all;
    bind_operands(b, select);
    if (b->err) return;
    size_t columns = plan->sides[0]->visible_count;
    for (size_t i = 1; i < plan->side_count; i++)
        if (plan->sides[i]->visible_count != columns) {
            bind_fail(b, ERR_TYPE, select->right->position,
                      "%s: this query has %zu columns, the one before has %zu",
                      set_name(select->set), plan->sides[i]->visible_count, columns);
            return;
        }
    struct expr **cells = column_of(b, plan->side_count);
    for (size_t c = 0; cells && c < columns && !b->err; c++) {
        for (size_t i = 0; i < plan->side_count; i++) cells[i] = plan->sides[i]->outputs[c];
        unify_column(b, cells, plan->side_count, 1, set_name(select->set));
        for (size_t i = 0; i < plan->side_count && !b->err; i++)
            plan->sides[i]->outputs[c] = cells[i];
    }
    if (b->err) return;
    plan->distinct = !select->set_all && select->set != SET_INTERSECT;
    name_inputs(b, columns, plan->sides[0]->outputs, plan->sides[0]->output_names);
}

/* ---- any query ---- */

static void bind_query_clauses(struct binder *b)
{
    const struct ast_select *select = b->select;
    open_ctes(b, select);
    b->plan->tree = select;
    if (b->err) return;
    if (select->kind == SELECT_PLAIN) {
        bind_select_clauses(b);
        return;
    }
    if (select->kind == SELECT_SET)
        bind_set(b);
    else
        bind_values(b);
    b->place = PLACE_ROW;
    if (!b->err) bind_order_limit(b);
}

struct binder bind_child(const struct binder *b)
{
    struct binder child = new_binder(b->context, b->arena, b->why);
    child.plans = b->plans;
    return child;
}

struct plan *bind_inner(struct binder *b, const struct ast_select *select,
                        const struct cte_scope *ctes, struct binder *parent, struct outers *outers)
{
    struct binder child = bind_child(b);
    if (b->err) return NULL;
    child.select = select;
    child.ctes = ctes;
    child.parent = parent;
    child.outers = outers;
    if (bind_deeper(&child, QUERY_DEPTH, select->position)) child.plan = bind_new_plan(&child);
    if (child.plan) bind_query_clauses(&child);
    bind_deeper(&child, -QUERY_DEPTH, select->position);
    arena_free(&child.eval.scratch);
    b->err = child.err;
    return child.err ? NULL : child.plan;
}

/* ---- queries in expressions ---- */

static const struct {
    const char *word;
    enum subquery_use use;
} uses[] = {{"scalar", USE_SCALAR}, {"exists", USE_EXISTS}, {"in", USE_IN},
            {"any", USE_ANY},       {"all", USE_ALL},       {"array", USE_ARRAY}};
static const char *const comparisons[] = {
    [COMPARE_EQ] = "=",  [COMPARE_NE] = "<>", [COMPARE_LT] = "<",
    [COMPARE_LE] = "<=", [COMPARE_GT] = ">",  [COMPARE_GE] = ">="};

static const struct function query_function = {.name = "query",
                                               .args = ".*",
                                               .result = '.',
                                               .flags = FN_OPERATOR | FN_NULLS,
                                               .special = special_query};

/* x IN (query): both sides of one type. */
static struct expr *bind_operand(struct binder *b, const struct ast *tree, struct plan *plan)
{
    struct expr *pair[2] = {bind_expr(b, tree->args[0]), plan->outputs[0]};
    if (!pair[0]) return NULL;
    char letter = bind_unify(pair, 2);
    if (!letter)
        return bind_fail(b, ERR_TYPE, tree->position, "this compares %s with a query of %s",
                         bind_type_text(pair[0]), bind_type_text(pair[1]));
    plan->outputs[0] = bind_convert(b, pair[1], letter);
    return bind_convert(b, pair[0], letter);
}

static struct expr *new_query_call(struct binder *b, const struct ast *tree, struct subquery *query,
                                   const struct outers *outers, struct expr *operand)
{
    const struct expr *output = query->plan->outputs[0];
    enum type type = query->use == USE_SCALAR  ? output->type
                     : query->use == USE_ARRAY ? TYPE_TEXT
                                               : TYPE_BOOL;
    size_t count = outers->count;
    struct expr **args = bind_memory(b, arena_zero(b->arena, count + 1, sizeof *args));
    if (!args) return NULL;
    for (size_t i = 0; i < count; i++) args[i] = outers->values[i];
    if (operand) args[count++] = operand;
    struct expr *e =
        bind_memory(b, expr_call(b->arena, &query_function, type, args, count, tree->position));
    if (!e) return NULL;
    e->query = query;
    if (query->use == USE_SCALAR) e->is_duration = output->is_duration, e->unit = output->unit;
    return e;
}

struct expr *bind_subquery(struct binder *b, const struct ast *tree)
{
    struct outers outers = {0};
    if (!b->plans)
        return bind_fail(b, ERR_UNSUPPORTED, tree->position,
                         "a query cannot stand here; write INSERT INTO … SELECT");
    struct subquery *query = bind_memory(b, arena_zero(b->arena, 1, sizeof *query));
    if (!query) return NULL;
    for (size_t i = 0; i < sizeof uses / sizeof uses[0]; i++)
        if (str_is(tree->text, uses[i].word)) query->use = uses[i].use;
    query->plan = bind_inner(b, tree->query, b->ctes, b, &outers);
    if (!query->plan) return NULL;
    if (query->use != USE_EXISTS && query->plan->visible_count != 1)
        return bind_fail(b, ERR_TYPE, tree->position,
                         "this query has %zu columns, one is wanted here",
                         query->plan->visible_count);
    if (query->use == USE_EXISTS && !query->plan->has_limit)
        query->plan->has_limit = true, query->plan->limit = 1;
    bool compares = query->use == USE_IN || query->use == USE_ANY || query->use == USE_ALL;
    for (size_t i = 0; i < sizeof comparisons / sizeof comparisons[0]; i++)
        if (str_is(tree->op, comparisons[i])) query->comparison = (enum comparison)i;
    struct expr *operand = compares ? bind_operand(b, tree, query->plan) : NULL;
    if (b->err) return NULL;
    query->param_count = outers.count;
    query->params = outers.params;
    query->next = b->plans->subqueries;
    b->plans->subqueries = query;
    return new_query_call(b, tree, query, &outers, operand);
}

/* ---- statements ---- */

enum err bind_query(const struct sql_context *context, struct arena *arena,
                    const struct ast_select *select, struct plans *plans, struct why *why)
{
    struct binder b = new_binder(context, arena, why);
    *plans = (struct plans){0};
    b.plans = plans;
    plans->root = bind_inner(&b, select, NULL, NULL, NULL);
    arena_free(&b.eval.scratch);
    if (b.err) plans_close(context, plans);
    return b.err;
}

void plans_close(const struct sql_context *context, struct plans *plans)
{
    for (struct subquery *query = plans->subqueries; query; query = query->next)
        subquery_end(query);
    for (struct plan *plan = plans->made; plan; plan = plan->next_made)
        if (plan->table.schema) bind_close_table(context, &plan->table);
    *plans = (struct plans){0};
}

/* As for a value of INSERT: what converts by itself, and numbers to any number. */
static struct expr *convert_to(struct binder *b, struct expr *e, enum type type)
{
    struct expr wanted = {.type = type};
    if (bind_convert_cost(e, bind_letter(&wanted)) >= 0)
        return bind_convert(b, e, bind_letter(&wanted));
    if (type_is_number(e->type) && type_is_number(type) && cast_find(e->type, type))
        return bind_cast(b, e, type, e->position);
    return bind_fail(b, ERR_TYPE, e->position, "a %s is wanted here, this is %s", type_name(type),
                     bind_type_text(e));
}

enum err bind_outputs_to(const struct sql_context *context, struct arena *arena,
                         struct plans *plans, const enum type *types, struct why *why)
{
    struct binder b = new_binder(context, arena, why);
    struct plan *plan = plans->root;
    for (size_t i = 0; i < plan->visible_count && !b.err; i++)
        plan->outputs[i] = convert_to(&b, plan->outputs[i], types[i]);
    arena_free(&b.eval.scratch);
    return b.err;
}

enum err bind_value(const struct sql_context *context, struct arena *arena, const struct ast *tree,
                    enum type type, struct value *value, struct why *why)
{
    struct binder b = new_binder(context, arena, why);
    struct expr *e = bind_expr(&b, tree);
    if (e) e = convert_to(&b, e, type);
    if (e && e->kind != EXPR_CONST) { /* it failed to fold: compute it once more, for the message */
        struct view view = {1, NULL, 1};
        struct rows rows = {.view = view};
        struct vector v;
        b.err = expr_eval(&b.eval, e, &rows, &view, &v);
        MUST(b.err != ERR_OK);
    } else if (e) {
        *value = expr_value(e);
        value->type = type;
    }
    arena_free(&b.eval.scratch);
    return b.err;
}
