/* bind_from.c - FROM: which tables and queries a statement reads, and how they are joined.
 *
 * Every table or query of a join is a plan of its own without a select list (a *side*); its inputs
 * are added as names are used. Equalities between the sides become keys of a hash join, whatever
 * else ON says is looked at row by row. */
#include "sql/bind_priv.h"
#include "sql/parse.h"
#include <string.h>

static const struct cte_scope *find_cte(const struct binder *b, const struct ast_relation *relation)
{
    const struct cte_scope *scope = relation->schema.size > 0 ? NULL : b->ctes;
    while (scope && !str_equal(scope->cte->name, relation->name)) scope = scope->outer;
    return scope;
}

static void add_access(struct binder *b, const struct ast_relation *relation)
{
    struct plans *plans = b->plans;
    const char *table = b->plan->table.schema->name;
    for (size_t i = 0; i < plans->access_count; i++)
        if (strcmp(plans->accesses[i].table, table) == 0 &&
            strcmp(plans->accesses[i].schema, relation->schema.at) == 0)
            return;
    if (!bind_grow(b, &plans->accesses, plans->access_count, &plans->access_capacity,
                   sizeof *plans->accesses))
        return;
    plans->accesses[plans->access_count++] = (struct sql_access){relation->schema.at, table, false};
}

/* ---- one table or query ---- */

/* Rows still come by series in time order when a query only filters and computes. */
static bool keeps_series(const struct plan *query)
{
    bool has_time = false, has_device = false;
    if (!query->table.has_series || query->grouped || query->order_count > 0 || query->distinct ||
        query->distinct_on_count > 0 || query->from == FROM_JOIN || query->from == FROM_SET ||
        query->request.newest_first)
        return false;
    for (size_t i = 0; i < query->visible_count; i++) {
        const struct expr *e = query->outputs[i];
        if (e->kind != EXPR_INPUT || e->input >= query->input_count) continue;
        enum input_kind kind = query->inputs[e->input].kind;
        has_time |= kind == INPUT_TIME && strcmp(query->output_names[i], "time") == 0;
        has_device |= kind == INPUT_DEVICE && strcmp(query->output_names[i], "device") == 0;
    }
    return has_time && has_device;
}

static void name_columns(struct binder *b, const struct ast_names *columns, int32_t position)
{
    struct plan *plan = b->plan;
    size_t count = plan->query->visible_count;
    if (columns->count > count) {
        bind_fail(b, ERR_INVALID, position, "%zu names for the %zu columns of %s", columns->count,
                  count, plan->alias.size ? plan->alias.at : "this query");
        return;
    }
    plan->names = bind_memory(b, arena_zero(b->arena, count, sizeof *plan->names));
    if (!plan->names) return;
    for (size_t i = 0; i < count; i++)
        plan->names[i] = i < columns->count ? columns->items[i].at : plan->query->output_names[i];
}

static void from_query(struct binder *b, const struct ast_from *from,
                       const struct ast_select *query, const struct ast_names *columns,
                       const struct cte_scope *ctes)
{
    struct plan *plan = b->plan;
    plan->query = bind_inner(b, query, ctes, b->parent, b->outers);
    if (!plan->query) return;
    plan->from = FROM_QUERY;
    plan->has_table = true;
    plan->alias = plan->name = from->relation.alias;
    plan->table.has_series = keeps_series(plan->query);
    name_columns(b, columns, from->position);
}

/* A view is a query that sees nothing of what stands around its name. Errors inside are told at the
 * place of the name, for its text is elsewhere. */
static void from_view(struct binder *b, const struct ast_from *from, struct str text)
{
    struct ast_select *query = NULL;
    struct why why = WHY_NONE, *outer = b->why;
    if (b->plans->views == VIEWS_NESTED_MAX) {
        bind_fail(b, ERR_LIMIT, from->position,
                  "view %.*s refers to itself, or more than %d views stand inside each other",
                  (int)from->relation.name.size, from->relation.name.at, VIEWS_NESTED_MAX);
        return;
    }
    enum err err = sql_parse_view(text, b->arena, from->position, &query, &why);
    if (!err) {
        struct binder *parent = b->parent;
        struct outers *outers = b->outers;
        b->plans->views++;
        b->why = &why;
        b->parent = NULL;
        b->outers = NULL;
        from_query(b, from, query, &from->columns, NULL);
        b->parent = parent;
        b->outers = outers;
        b->why = outer;
        b->plans->views--;
        err = b->err;
        b->err = ERR_OK;
    }
    if (err == ERR_LIMIT)
        bind_fail(b, err, from->position, "%s", why_text(&why, err));
    else if (err)
        bind_fail(b, err, from->position, "view %.*s: %s", (int)from->relation.name.size,
                  from->relation.name.at, why_text(&why, err));
}

static void from_table(struct binder *b, const struct ast_from *from)
{
    struct str view = {NULL, 0};
    struct plan *plan = b->plan;
    const struct cte_scope *cte = find_cte(b, &from->relation);
    if (cte) {
        const struct ast_names *columns = from->columns.count ? &from->columns : &cte->cte->columns;
        from_query(b, from, cte->cte->query, columns, cte->outer);
        return;
    }
    b->err = bind_find_table(b->context, b->arena, &from->relation, &plan->table, b->why);
    if (!b->err && !plan->table.schema)
        b->err = bind_find_view(b->context, b->arena, &from->relation, &view, b->why);
    if (!b->err && view.at) {
        from_view(b, from, view);
        return;
    }
    if (b->err) return;
    if (from->columns.count > 0) {
        bind_fail(b, ERR_UNSUPPORTED, from->position,
                  "the columns of a table are renamed in a query: (SELECT a AS b FROM %.*s)",
                  (int)from->relation.name.size, from->relation.name.at);
        return;
    }
    if (!plan->table.schema) /* for its words */
        b->err = bind_table(b->context, b->arena, &from->relation, &plan->table, b->why);
    if (b->err) return;
    plan->from = FROM_TABLE;
    plan->has_table = true;
    plan->name = from->relation.name;
    plan->alias = from->relation.alias;
    add_access(b, &from->relation);
}

static void from_item(struct binder *b, const struct ast_from *from)
{
    if (from->kind == AST_FROM_QUERY)
        from_query(b, from, from->query, &from->columns, b->ctes);
    else
        from_table(b, from);
}

/* ---- all columns ---- */

static void each_of_side(const struct plan *plan, size_t side, const struct star *star)
{
    if (plan->from != FROM_TABLE) {
        size_t count = plan->from == FROM_QUERY ? plan->query->visible_count : 0;
        for (size_t i = 0; i < count; i++)
            star->each(star->context, &(struct column_ref){.side = side, .output = (uint32_t)i},
                       plan->names[i]);
        return;
    }
    const struct sql_table *table = &plan->table;
    if (table->has_series) {
        star->each(star->context, &(struct column_ref){.side = side, .kind = INPUT_TIME}, "time");
        star->each(star->context, &(struct column_ref){.side = side, .kind = INPUT_DEVICE},
                   "device");
    }
    for (uint32_t i = 0; i < table->schema->column_count; i++) {
        const struct column *column = &table->schema->columns[i];
        star->each(star->context,
                   &(struct column_ref){.side = side, .kind = INPUT_COLUMN, .column = column},
                   column->name);
    }
    for (size_t i = 0; table->has_series && i < table->label_count; i++)
        if (!schema_find(table->schema, str_of(table->labels[i])))
            star->each(
                star->context,
                &(struct column_ref){.side = side, .kind = INPUT_LABEL, .label = table->labels[i]},
                table->labels[i]);
}

void bind_each_column(const struct plan *plan, const struct join *join, const struct star *star)
{
    if (plan->from != FROM_JOIN) {
        each_of_side(plan, 0, star);
    } else if (!join->left) {
        each_of_side(plan->sides[join->first], join->first, star);
    } else { /* in the order in which they were written */
        bind_each_column(plan, join->is_swapped ? join->right : join->left, star);
        bind_each_column(plan, join->is_swapped ? join->left : join->right, star);
    }
}

/* The node of the join of which "t.*" speaks. */
static struct join *find_side(struct join *join, const struct plan *plan, struct str name)
{
    if (!join) return NULL;
    if (!join->left) {
        const struct plan *side = plan->sides[join->first];
        return str_equal(side->alias, name) ? join : NULL;
    }
    struct join *found = find_side(join->left, plan, name);
    return found ? found : find_side(join->right, plan, name);
}

const struct join *bind_find_side(struct binder *b, const struct ast *tree)
{
    const struct plan *plan = b->plan;
    const struct join *side = find_side(plan->join, plan, tree->qualifier);
    bool is_this = plan->from != FROM_JOIN && (str_equal(plan->alias, tree->qualifier) ||
                                               str_equal(plan->name, tree->qualifier));
    if (!side && !is_this)
        bind_fail(b, ERR_NO_TABLE, tree->position, "\"%.*s\" is not a table of this statement",
                  (int)tree->qualifier.size, tree->qualifier.at);
    return side;
}

/* ---- joins ---- */

static struct join *new_join(struct binder *b, int32_t position)
{
    struct join *join = bind_memory(b, arena_zero(b->arena, 1, sizeof *join));
    if (!join) return NULL;
    join->position = position;
    join->measure = bind_memory(b, arena_zero(b->arena, 1, sizeof *join->measure));
    return join->measure ? join : NULL;
}

static void check_alias(struct binder *b, const struct plan *side, int32_t position)
{
    const struct plan *plan = b->plan;
    for (size_t i = 0; i + 1 < plan->side_count; i++)
        if (side->alias.size > 0 && str_equal(plan->sides[i]->alias, side->alias))
            bind_fail(b, ERR_AMBIGUOUS, position,
                      "\"%.*s\" is there twice; give one of them another name: FROM %.*s AS b",
                      (int)side->alias.size, side->alias.at, (int)side->name.size, side->name.at);
}

static struct join *join_side(struct binder *b, const struct ast_from *from, size_t *capacity)
{
    struct plan *plan = b->plan;
    struct join *join = new_join(b, from->position);
    if (!join) return NULL;
    if (plan->side_count == JOIN_SIDES_MAX)
        return bind_fail(b, ERR_LIMIT, from->position, "more than %d tables are joined",
                         JOIN_SIDES_MAX);
    if (!bind_grow(b, &plan->sides, plan->side_count, capacity, sizeof *plan->sides)) return NULL;
    struct plan *side = bind_new_plan(b);
    if (!side) return NULL;
    side->is_side = true;
    join->first = plan->side_count;
    join->count = 1;
    plan->sides[plan->side_count++] = side;
    b->plan = side;
    from_item(b, from);
    b->plan = plan;
    if (!b->err) check_alias(b, side, from->position);
    return b->err ? NULL : join;
}

/* left.name = right.name as one more key. */
static void join_on_name(struct binder *b, struct join *join, struct str name, int32_t position)
{
    struct ast tree = {.kind = AST_NAME,
                       .position = position,
                       .text = name,
                       .qualifier = STR(""),
                       .schema = STR("")};
    struct expr **args = bind_memory(b, arena_zero(b->arena, 2, sizeof *args));
    if (!args) return;
    struct column_ref ref;
    bool in_left = bind_find_in_join(b->plan, join->left, &tree, &ref) != FOUND_NONE;
    bool in_right = bind_find_in_join(b->plan, join->right, &tree, &ref) != FOUND_NONE;
    if (in_left != in_right) {
        bind_fail(
            b, ERR_NO_COLUMN, position,
            "USING wants columns that both sides have; \"%.*s\" is only on the %s of the JOIN",
            (int)name.size, name.at, in_left == !join->is_swapped ? "left" : "right");
        return;
    }
    args[0] = bind_join_name(b, join->left, &tree);
    args[1] = bind_join_name(b, join->right, &tree);
    if (!args[0] || !args[1]) return;
    struct expr *equal = bind_call(b, "=", args, 2, position);
    if (equal) bind_add_condition(b, join, equal);
}

struct natural {
    struct binder *b;
    struct join *join;
    struct str *names;
    size_t capacity;
};

static void natural_name(void *context, const struct column_ref *ref, const char *name)
{
    struct natural *natural = context;
    struct binder *b = natural->b;
    struct column_ref found;
    struct ast tree = {
        .kind = AST_NAME, .text = str_of(name), .qualifier = STR(""), .schema = STR("")};
    (void)ref;
    if (b->err || !bind_find_in_join(b->plan, natural->join->right, &tree, &found)) return;
    if (!bind_grow(b, &natural->names, natural->join->name_count, &natural->capacity,
                   sizeof *natural->names))
        return;
    natural->names[natural->join->name_count++] = str_of(name);
    natural->join->names = natural->names;
}

static void join_names(struct binder *b, struct join *join, const struct ast_from *from)
{
    struct natural natural = {.b = b, .join = join};
    join->names = from->using_names.items;
    join->name_count = from->using_names.count;
    if (from->is_natural)
        bind_each_column(b->plan, join->left, &(struct star){natural_name, &natural});
    if (from->is_natural && join->name_count == 0)
        bind_fail(b, ERR_INVALID, from->position, "these tables have no column in common");
    for (size_t i = 0; i < join->name_count && !b->err; i++)
        join_on_name(b, join, join->names[i], from->position);
}

static void join_on(struct binder *b, struct join *join, const struct ast *tree)
{
    if (tree->kind == AST_CALL && str_is(tree->text, "and")) {
        for (size_t i = 0; i < tree->arg_count && !b->err; i++) join_on(b, join, tree->args[i]);
        return;
    }
    struct expr *e = bind_condition(b, tree, "ON");
    if (e) bind_add_condition(b, join, e);
}

static void check_asof(struct binder *b, const struct join *join)
{
    if (b->err || !join->is_asof) return;
    if (!join->left_time)
        bind_fail(b, ERR_INVALID, join->position,
                  "ASOF JOIN wants one comparison of two times, such as ON a.device = b.device "
                  "AND a.time >= b.time");
    else if (join->condition_count > 0)
        bind_fail(b, ERR_UNSUPPORTED, join->conditions[0]->position,
                  "ASOF JOIN takes equalities and one comparison of times; other conditions "
                  "belong into WHERE");
}

static struct join *join_tree(struct binder *b, const struct ast_from *from, size_t *capacity)
{
    if (b->err) return NULL;
    if (from->kind != AST_FROM_JOIN) return join_side(b, from, capacity);
    struct join *left = join_tree(b, from->left, capacity);
    struct join *right = join_tree(b, from->right, capacity), *join;
    if (!left || !right || !(join = new_join(b, from->position))) return NULL;
    join->first = left->first;
    join->count = left->count + right->count;
    join->is_swapped = from->join == JOIN_RIGHT;
    join->left = join->is_swapped ? right : left;
    join->right = join->is_swapped ? left : right;
    join->kind = from->join == JOIN_RIGHT   ? JOIN_LEFT
                 : from->join == JOIN_CROSS ? JOIN_INNER
                                            : from->join;
    join->is_asof = from->is_asof;
    join->tolerance_ns = from->tolerance_ns;
    b->scope = join;
    b->place = PLACE_ROW;
    join_names(b, join, from);
    if (from->on && !b->err) {
        b->in_where = true;
        join_on(b, join, from->on);
        b->in_where = false;
    }
    b->scope = NULL;
    check_asof(b, join);
    return b->err ? NULL : join;
}

void bind_from(struct binder *b, const struct ast_from *from)
{
    struct plan *plan = b->plan;
    size_t capacity = 0;
    plan->from = FROM_ONE_ROW;
    if (!from) return;
    if (from->kind != AST_FROM_JOIN) {
        from_item(b, from);
        return;
    }
    plan->from = FROM_JOIN;
    plan->has_table = true;
    plan->alias = plan->name = STR("");
    plan->join = join_tree(b, from, &capacity);
}
