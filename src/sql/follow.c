/* follow.c - see follow.h. Walks the tree that the parser made; its depth is bounded there
 * (AST_DEPTH_MAX, AST_QUERY_NESTING_MAX), and so is the recursion here. */
#include "sql/follow.h"
#include "sql/agg.h"
#include "sql/parse.h"
#include "sql/series.h"
#include <string.h>

/* ---- the walk ---- */

struct walk {
    void (*use)(void *arg, struct str schema, struct str name); /* or NULL */
    void *arg;
    bool into_queries;         /* also sub-queries of expressions */
    const struct ast *gathers; /* the first call that needs more rows than one, or NULL */
    const char *gathers_as;    /* what it is */
};

static void walk_select(struct walk *w, const struct ast_select *select);

static bool is_aggregate(struct str name)
{
    size_t count;
    const struct aggregate *table = aggregate_table(&count);
    bool hit = false;
    for (size_t i = 0; i < count && !hit; i++) hit = str_is_nocase(name, table[i].name);
    return hit;
}

static const char *gathering(const struct ast *tree)
{
    if (tree->over) return "a window function";
    if (is_aggregate(tree->text)) return "an aggregate";
    return series_exists(tree->text) ? "a row function" : NULL;
}

static void walk_tree(struct walk *w, const struct ast *tree)
{
    if (!tree) return;
    MUST(tree->depth <= AST_DEPTH_MAX + 1);
    const char *what = tree->kind == AST_CALL ? gathering(tree) : NULL;
    if (what && !w->gathers) {
        w->gathers = tree;
        w->gathers_as = what;
    }
    for (size_t i = 0; i < tree->arg_count; i++) walk_tree(w, tree->args[i]);
    walk_tree(w, tree->filter);
    for (size_t i = 0; tree->over && i < tree->over->partition_by.count; i++)
        walk_tree(w, tree->over->partition_by.items[i]);
    for (size_t i = 0; tree->over && i < tree->over->order_count; i++)
        walk_tree(w, tree->over->order[i].tree);
    if (w->into_queries) walk_select(w, tree->query);
}

static void walk_list(struct walk *w, const struct ast_list *list)
{
    for (size_t i = 0; i < list->count; i++) walk_tree(w, list->items[i]);
}

static void walk_from(struct walk *w, const struct ast_from *from)
{
    if (!from) return;
    if (from->kind == AST_FROM_TABLE && w->use)
        w->use(w->arg, from->relation.schema, from->relation.name);
    walk_select(w, from->query);
    walk_from(w, from->left);
    walk_from(w, from->right);
    walk_tree(w, from->on);
}

/* All that a SELECT of its own has. */
static void walk_clauses(struct walk *w, const struct ast_select *s)
{
    walk_list(w, &s->distinct_on);
    for (size_t i = 0; i < s->item_count; i++) walk_tree(w, s->items[i].tree);
    walk_from(w, s->from);
    walk_tree(w, s->where);
    walk_list(w, &s->group_by);
    walk_list(w, &s->partition_by);
    walk_tree(w, s->window.start);
    walk_tree(w, s->window.end);
    walk_list(w, &s->fill.values);
    walk_tree(w, s->having);
    for (size_t i = 0; i < s->over_count; i++) {
        walk_list(w, &s->overs[i].partition_by);
        for (size_t k = 0; k < s->overs[i].order_count; k++)
            walk_tree(w, s->overs[i].order[k].tree);
    }
}

static void walk_select(struct walk *w, const struct ast_select *s)
{
    if (!s) return;
    for (size_t i = 0; i < s->cte_count; i++) walk_select(w, s->ctes[i].query);
    walk_select(w, s->left);
    walk_select(w, s->right);
    for (size_t i = 0; i < s->row_count; i++) walk_list(w, &s->rows[i]);
    walk_clauses(w, s);
    for (size_t i = 0; i < s->order_count; i++) walk_tree(w, s->order[i].tree);
    walk_tree(w, s->limit);
    walk_tree(w, s->offset);
}

/* ---- reading ---- */

static enum err parse_query(struct str text, struct arena *arena, struct ast_select **select,
                            struct why *why)
{
    struct ast_statement statement = {.verb = AST_SELECT};
    enum err err = sql_parse(text, arena, &statement, why);
    if (err) return err;
    *select = statement.select;
    if (statement.verb == AST_SELECT && statement.select) return ERR_OK;
    return why_at(why, ERR_INVALID, 0, "a query begins with SELECT or WITH");
}

enum err sql_each_relation(struct str text, struct arena *arena,
                           void (*use)(void *arg, struct str schema, struct str name), void *arg,
                           struct why *why)
{
    struct ast_select *select = NULL;
    enum err err = parse_query(text, arena, &select, why);
    if (err) return err;
    struct walk walk = {.use = use, .arg = arg, .into_queries = true};
    walk_select(&walk, select);
    return ERR_OK;
}

/* ---- following ---- */

/* What of a SELECT cannot be said of single rows; NULL: nothing. */
static const char *clause_of_many(const struct ast_select *s)
{
    const struct {
        bool there;
        const char *name;
    } clauses[] = {
        {s->kind == SELECT_SET, "UNION and its like"},
        {s->kind == SELECT_VALUES, "VALUES"},
        {s->cte_count > 0, "WITH"},
        {s->distinct || s->distinct_on.count, "DISTINCT"},
        {s->group_by.count > 0, "GROUP BY"},
        {s->partition_by.count > 0, "PARTITION BY"},
        {s->window.kind != WINDOW_NONE, "a window"},
        {s->fill.kind != FILL_OFF, "FILL"},
        {s->having != NULL, "HAVING"},
        {s->order_count > 0, "ORDER BY"},
        {s->limit || s->offset, "LIMIT"},
    };
    const char *found = NULL;
    for (size_t i = 0; i < sizeof clauses / sizeof clauses[0] && !found; i++)
        if (clauses[i].there) found = clauses[i].name;
    return found;
}

/* The table at the left end of the joins; each may only look something up for its rows. */
static enum err find_driver(const struct ast_from *from, struct sql_follow *follow, struct why *why)
{
    while (from && from->kind == AST_FROM_JOIN) {
        follow->joins = true;
        if (from->join == JOIN_RIGHT || from->join == JOIN_FULL)
            return why_at(why, ERR_UNSUPPORTED, from->position,
                          "RIGHT and FULL joins give rows that are none of the first table's: "
                          "JOIN or LEFT JOIN follows it");
        from = from->left;
    }
    if (!from || from->kind != AST_FROM_TABLE)
        return why_at(why, ERR_UNSUPPORTED, from ? from->position : 0,
                      "the first of FROM must be a table: its new rows are what is followed");
    follow->table = from->relation.name;
    follow->reference = from->relation.alias.size ? from->relation.alias : from->relation.name;
    return ERR_OK;
}

struct repeat {
    struct str table;
    unsigned count;
};

static void count_repeat(void *arg, struct str schema, struct str name)
{
    struct repeat *r = arg;
    (void)schema;
    r->count += str_equal(name, r->table);
}

/* It is there with its new rows alone, so looking something up in it would find little. */
static enum err check_once(const struct ast_select *select, const struct sql_follow *follow,
                           struct why *why)
{
    struct repeat repeat = {.table = follow->table};
    struct walk walk = {.use = count_repeat, .arg = &repeat, .into_queries = true};
    walk_select(&walk, select);
    if (repeat.count == 1) return ERR_OK;
    return why_at(why, ERR_UNSUPPORTED, select->position,
                  "table %.*s is followed, and so cannot be joined with itself here",
                  (int)follow->table.size, follow->table.at);
}

static enum err check_calls(const struct ast_select *select, struct why *why)
{
    struct walk walk = {.into_queries = false};
    for (size_t i = 0; i < select->item_count; i++) walk_tree(&walk, select->items[i].tree);
    walk_tree(&walk, select->where);
    if (!walk.gathers) return ERR_OK;
    return why_at(why, ERR_UNSUPPORTED, walk.gathers->position,
                  "%.*s is %s: it needs more than the row that is new; run the query at an "
                  "interval (every: 10s)",
                  (int)walk.gathers->text.size, walk.gathers->text.at, walk.gathers_as);
}

enum err sql_follow(struct str text, struct arena *arena, struct sql_follow *follow,
                    struct why *why)
{
    static const char word[] = "select";
    struct ast_select *select = NULL;
    *follow = (struct sql_follow){.table = STR("")};
    enum err err = parse_query(text, arena, &select, why);
    if (err) return err;
    const char *clause = clause_of_many(select);
    if (clause)
        return why_at(why, ERR_UNSUPPORTED, select->position,
                      "%s cannot be said of rows one by one as they come: run the query at an "
                      "interval (every: 10s)",
                      clause);
    err = check_calls(select, why);
    if (!err) err = find_driver(select->from, follow, why);
    if (!err) err = check_once(select, follow, why);
    if (err) return err;
    /* SHOW … and the like are queries, too, but not of a list that something could be put before.
     */
    follow->items_at = select->position + (int32_t)(sizeof word - 1);
    struct str head = {text.at + select->position, sizeof word - 1};
    if ((size_t)follow->items_at <= text.size && str_is_nocase(head, word)) return ERR_OK;
    return why_at(why, ERR_UNSUPPORTED, select->position,
                  "a query that is followed begins with SELECT");
}
