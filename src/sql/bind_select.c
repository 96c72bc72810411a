/* bind_select.c - the clauses of a SELECT in the order in which they act: FROM, WHERE, GROUP BY,
 * select list, HAVING, ORDER BY, LIMIT; then what the plan as a whole allows (states' layout, hints
 * for the scan). */
#include "sql/bind_priv.h"
#include "base/timetext.h"
#include <string.h>

/* ---- tables ---- */

static enum err no_table(const struct sql_context *context, struct arena *arena,
                         const struct ast_relation *relation, struct why *why)
{
    const char *names[256];
    size_t count = 0;
    for (size_t s = 0; s < context->catalog->count; s++) {
        struct sql_table_name *list = NULL;
        size_t found = 0;
        enum err err = context->catalog->source[s].ops->list_tables(
            context->catalog->source[s].context, context->ns, arena, &list, &found);
        for (size_t i = 0; !err && i < found && count < 256; i++) names[count++] = list[i].name;
    }
    int near = str_nearest(relation->name, names, count);
    return why_at(why, ERR_NO_TABLE, relation->position,
                  "table \"%.*s%s%.*s\" does not exist%s%s%s", (int)relation->schema.size,
                  relation->schema.at, relation->schema.size ? "." : "",
                  relation->name.size > 80 ? 80 : (int)relation->name.size, relation->name.at,
                  near < 0 ? "; SHOW TABLES lists them" : "; did you mean \"",
                  near < 0 ? "" : names[near], near < 0 ? "" : "\"?");
}

enum err bind_find_table(const struct sql_context *context, struct arena *arena,
                         const struct ast_relation *relation, struct sql_table *table,
                         struct why *why)
{
    for (size_t i = 0; i < context->catalog->count; i++) {
        *table = (struct sql_table){0};
        enum err err = context->catalog->source[i].ops->find_table(
            context->catalog->source[i].context, context->ns, relation->schema, relation->name,
            arena, table, why);
        if (err == ERR_NO_MEMORY || err == ERR_BUDGET) return expr_no_memory(context->budget, why);
        if (err) return err;
        if (!table->schema) continue;
        table->source = context->catalog->source[i].ops;
        table->source_at = i;
        return ERR_OK;
    }
    *table = (struct sql_table){0};
    return ERR_OK;
}

enum err bind_find_view(const struct sql_context *context, struct arena *arena,
                        const struct ast_relation *relation, struct str *text, struct why *why)
{
    *text = (struct str){NULL, 0};
    for (size_t i = 0; i < context->catalog->count && !text->at; i++) {
        const struct sql_source *source = context->catalog->source[i].ops;
        if (source->find_view && source->find_view(context->catalog->source[i].context, context->ns,
                                                   relation->schema, relation->name, arena, text))
            return expr_no_memory(context->budget, why);
    }
    return ERR_OK;
}

enum err bind_table(const struct sql_context *context, struct arena *arena,
                    const struct ast_relation *relation, struct sql_table *table, struct why *why)
{
    struct str view;
    enum err err = bind_find_table(context, arena, relation, table, why);
    if (err || table->schema) return err;
    err = bind_find_view(context, arena, relation, &view, why);
    if (err) return err;
    if (view.at)
        return why_at(why, ERR_READ_ONLY, relation->position,
                      "%.*s is a view: it can only be read; CREATE OR REPLACE VIEW changes it",
                      (int)relation->name.size, relation->name.at);
    return no_table(context, arena, relation, why);
}

void bind_close_table(const struct sql_context *context, struct sql_table *table)
{
    if (table->schema && table->source)
        table->source->close_table(context->catalog->source[table->source_at].context, table);
    *table = (struct sql_table){0};
}

/* ---- the select list ---- */

struct star_list {
    struct binder *b;
    const struct join *join; /* of this node; NULL: there is no join */
    int32_t position;
    size_t first; /* output of this star */
};

void bind_output(struct binder *b, struct expr *e, const char *name)
{
    struct plan *plan = b->plan;
    if (e && e->type == TYPE_NONE) {
        e = bind_cast(b, e, TYPE_TEXT, e->position);
        if (e) e->is_literal = true; /* NULL: UNION may still give it another type */
    }
    if (!e) return;
    size_t capacity = plan->output_capacity;
    if (!bind_grow(b, &plan->outputs, plan->output_count, &plan->output_capacity,
                   sizeof *plan->outputs))
        return;
    if (!bind_grow(b, &plan->output_names, plan->output_count, &capacity,
                   sizeof *plan->output_names))
        return;
    plan->outputs[plan->output_count] = e;
    plan->output_names[plan->output_count++] = name;
}

static void add_star_column(void *context, const struct column_ref *ref, const char *name)
{
    struct star_list *list = context;
    struct binder *b = list->b;
    if (b->err) return;
    struct ast tree = {.kind = AST_NAME,
                       .position = list->position,
                       .text = str_of(name),
                       .qualifier = STR(""),
                       .schema = STR("")};
    struct column_ref merged = *ref;
    if (b->plan->from == FROM_JOIN && list->join->left) {
        /* A column that USING merges stands once, where it comes first. */
        struct column_ref found;
        if (bind_find_in_join(b->plan, list->join, &tree, &found) == FOUND_ONE && found.join) {
            for (size_t i = list->first; i < b->plan->output_count; i++)
                if (strcmp(b->plan->output_names[i], name) == 0) return;
            merged = found;
        }
    }
    bind_output(b, bind_ref(b, &merged, &tree), name);
}

/* "*": time, device, the columns, the labels that no column hides; of every table. "t.*": of one.
 */
static void add_star(struct binder *b, const struct ast *tree)
{
    struct plan *plan = b->plan;
    struct star_list list = {b, plan->join, tree->position, plan->output_count};
    if (!plan->has_table) {
        bind_fail(b, ERR_SYNTAX, tree->position, "SELECT * needs a table: FROM is missing");
        return;
    }
    if (plan->grouped) {
        bind_fail(b, ERR_GROUPING, tree->position, "SELECT * cannot be grouped; name the columns");
        return;
    }
    if (tree->qualifier.size > 0) list.join = bind_find_side(b, tree);
    if (!b->err) bind_each_column(plan, list.join, &(struct star){add_star_column, &list});
}

static const char *item_name(struct binder *b, const struct ast_item *item)
{
    const struct ast *tree = item->tree;
    struct str name = item->alias;
    while (name.size == 0 && tree->kind == AST_CAST) tree = tree->args[0];
    if (name.size == 0 && tree->kind == AST_NAME) name = tree->text;
    size_t count;
    const struct function *table = function_table(&count);
    if (name.size == 0 && tree->kind == AST_CALL) {
        name = tree->text;
        for (size_t i = 0; i < count; i++)
            if (str_is(name, table[i].name) && (table[i].flags & FN_OPERATOR))
                name = STR("?column?");
        if (str_is(tree->text, "case")) name = STR("case");
    }
    if (name.size == 0) name = STR("?column?");
    return bind_memory(b, arena_strdup(b->arena, name.at, name.size));
}

static void bind_items(struct binder *b)
{
    b->place = b->plan->grouped ? PLACE_GROUP : b->plan->has_table ? PLACE_ROW : PLACE_NOTHING;
    b->alias_depth = 1;
    b->over_allowed = true;
    for (size_t i = 0; i < b->select->item_count && !b->err; i++) {
        const struct ast_item *item = &b->select->items[i];
        if (item->tree->kind == AST_STAR)
            add_star(b, item->tree);
        else
            bind_output(b, bind_expr(b, item->tree), item_name(b, item));
    }
    b->alias_depth = 0;
    b->over_allowed = false;
    b->plan->visible_count = b->plan->output_count;
}

/* ---- ORDER BY ---- */

/* The output that an ordinal or an alias names: its index; -1 none, -2 after an error. */
static int named_output(struct binder *b, const struct ast *tree)
{
    if (tree->kind == AST_LITERAL && tree->value.type == TYPE_BIGINT && !tree->is_duration) {
        if (tree->value.i >= 1 && (uint64_t)tree->value.i <= b->plan->visible_count)
            return (int)tree->value.i - 1;
        bind_fail(b, ERR_INVALID, tree->position, "ORDER BY %lld: the select list has %zu columns",
                  (long long)tree->value.i, b->plan->visible_count);
        return -2;
    }
    if (tree->kind != AST_NAME || tree->qualifier.size > 0) return -1;
    for (size_t i = 0; i < b->plan->visible_count; i++)
        if (str_is(tree->text, b->plan->output_names[i])) return (int)i;
    return -1;
}

static int find_output(const struct plan *plan, const struct expr *e)
{
    for (size_t i = 0; i < plan->output_count; i++)
        if (expr_same(plan->outputs[i], e)) return (int)i;
    return -1;
}

/* The output that an entry of ORDER BY or DISTINCT ON means; a hidden one is added for what is not
 * selected. -1 after an error. */
static int bind_order_output(struct binder *b, const struct ast *tree)
{
    struct plan *plan = b->plan;
    int output = named_output(b, tree);
    if (output >= 0 || b->err) return b->err ? -1 : output;
    struct expr *e = bind_expr(b, tree);
    if (!e) return -1;
    output = find_output(plan, e);
    if (output < 0 && plan->distinct) {
        bind_fail(b, ERR_GROUPING, tree->position,
                  "with DISTINCT, ORDER BY can only use what is selected");
        return -1;
    }
    if (output >= 0) return output;
    bind_output(b, e, "");
    return b->err ? -1 : (int)plan->output_count - 1;
}

static void bind_order(struct binder *b)
{
    const struct ast_select *select = b->select;
    struct plan *plan = b->plan;
    plan->order = bind_memory(b, arena_zero(b->arena, select->order_count, sizeof *plan->order));
    for (size_t i = 0; plan->order && i < select->order_count && !b->err; i++) {
        const struct ast_order *order = &select->order[i];
        int output = bind_order_output(b, order->tree);
        if (output < 0) return;
        plan->order[plan->order_count++] =
            (struct sort_key){(size_t)output, order->descending, order->nulls_first};
    }
}

static void bind_distinct_on(struct binder *b)
{
    const struct ast_list *list = &b->select->distinct_on;
    struct plan *plan = b->plan;
    plan->distinct_on = bind_memory(b, arena_zero(b->arena, list->count, sizeof(size_t)));
    for (size_t i = 0; plan->distinct_on && i < list->count && !b->err; i++) {
        int output = bind_order_output(b, list->items[i]);
        if (output >= 0) plan->distinct_on[plan->distinct_on_count++] = (size_t)output;
    }
}

/* ---- LIMIT ---- */

/* A number of rows. False: NULL, which bounds nothing, as in PostgreSQL; or after an error. */
static bool bind_count(struct binder *b, const struct ast *tree, const char *clause,
                       uint64_t *count)
{
    b->place = PLACE_NOTHING;
    struct expr *e = bind_expr(b, tree);
    if (e)
        e = bind_convert_cost(e, 'i') < 0
                ? bind_fail(b, ERR_TYPE, tree->position, "%s wants a whole number", clause)
                : bind_convert(b, e, 'i');
    if (!e) return false;
    bool is_constant = e->kind == EXPR_CONST;
    if (is_constant && expr_value(e).is_null) return false;
    if (!is_constant || expr_value(e).i < 0) {
        bind_fail(b, ERR_INVALID, tree->position, "%s wants a whole number that is not negative",
                  clause);
        return false;
    }
    *count = (uint64_t)expr_value(e).i;
    return true;
}

/* ---- the plan as a whole ---- */

/* `quality` without any column named speaks about all of them. */
static void complete_quality(struct binder *b)
{
    struct plan *plan = b->plan;
    bool asked = false;
    for (size_t i = 0; i < plan->input_count; i++)
        asked = asked || plan->inputs[i].kind == INPUT_QUALITY;
    if (!asked || plan->request.column_count > 0 || plan->from != FROM_TABLE) return;
    uint16_t *ids =
        bind_memory(b, arena_zero(b->arena, plan->table.schema->column_count, sizeof *ids));
    if (!ids) return;
    for (uint32_t i = 0; i < plan->table.schema->column_count; i++)
        ids[i] = plan->table.schema->columns[i].id;
    plan->request.columns = ids;
    plan->request.column_count = plan->table.schema->column_count;
}

static void lay_out_states(struct plan *plan)
{
    plan->state_bytes = 0;
    for (size_t i = 0; i < plan->agg_count; i++) {
        plan->aggs[i].state_offset = plan->state_bytes;
        size_t bytes = plan->aggs[i].aggregate->state_bytes + (plan->aggs[i].distinct ? 16 : 0);
        plan->state_bytes += (bytes + 15) & ~(size_t)15;
    }
}

/* How many rows of a series are enough, and from which end: LIMIT without or with ORDER BY time. */
static void hint_scan(struct plan *plan)
{
    uint64_t enough;
    if (!plan->has_limit || plan->grouped || plan->distinct || plan->from != FROM_TABLE ||
        !plan->table.has_series || plan->distinct_on_count > 0 || plan->over_count > 0 ||
        plan->series_count > 0)
        return;
    if (__builtin_add_overflow(plan->limit, plan->offset, &enough) || enough == 0) return;
    for (size_t i = 0; i < plan->filter_count; i++)
        if (!plan->filters[i]->series_constant) return;
    if (plan->order_count > 0) {
        const struct expr *e = plan->outputs[plan->order[0].output];
        if (e->kind != EXPR_INPUT || plan->inputs[e->input].kind != INPUT_TIME) return;
        plan->request.newest_first = plan->order[0].descending;
    }
    plan->request.row_limit = enough;
}

static void complete_sides(struct binder *b)
{
    struct plan *plan = b->plan;
    for (size_t i = 0; plan->from == FROM_JOIN && i < plan->side_count && !b->err; i++) {
        b->plan = plan->sides[i];
        complete_quality(b);
    }
    b->plan = plan;
    complete_quality(b);
}

void bind_order_limit(struct binder *b)
{
    const struct ast_select *select = b->select;
    struct plan *plan = b->plan;
    b->over_allowed = select->kind == SELECT_PLAIN;
    bind_order(b);
    b->over_allowed = false;
    if (!b->err && select->kind == SELECT_PLAIN) bind_distinct_on(b);
    if (!b->err && select->kind == SELECT_PLAIN) bind_fill(b);
    if (!b->err && select->limit)
        plan->has_limit = bind_count(b, select->limit, "LIMIT", &plan->limit);
    if (!b->err && select->offset) (void)bind_count(b, select->offset, "OFFSET", &plan->offset);
}

void bind_select_clauses(struct binder *b)
{
    const struct ast_select *select = b->select;
    struct plan *plan = b->plan;
    bind_from(b, select->from);
    plan->distinct = select->distinct;
    b->place = plan->has_table ? PLACE_ROW : PLACE_NOTHING;
    if (!b->err) bind_where(b);
    if (!b->err) bind_groups(b);
    if (!b->err) bind_items(b);
    if (!b->err && select->having) plan->having = bind_condition(b, select->having, "HAVING");
    if (!b->err) bind_order_limit(b);
    if (!b->err) complete_sides(b);
    if (b->err) return;
    bind_over_end(b);
    lay_out_states(plan);
    hint_scan(plan);
}
