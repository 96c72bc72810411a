/* parse_select.c - SELECT and its clauses; windows and FILL are parse_window.c's. What the language
 * knows but this version cannot do yet is refused by name, never ignored. */
#include "sql/parse_priv.h"

struct ast_relation parse_relation(struct parser *p)
{
    struct ast_relation relation = {.position = p->token.position};
    relation.name = parse_name(p, "a table's name");
    relation.schema = STR("");
    if (parse_accept(p, ".")) {
        relation.schema = relation.name;
        relation.name = parse_name(p, "a table's name");
    }
    relation.alias = relation.name;
    return relation;
}

static struct ast *new_star(struct parser *p)
{
    struct ast *star = parse_zero(p, 1, sizeof *star);
    if (star) *star = (struct ast){.kind = AST_STAR, .position = p->token.position, .depth = 1};
    parse_advance(p);
    return star;
}

static void parse_item(struct parser *p, struct ast_item *item)
{
    item->alias = STR("");
    if (parse_is(p, "*")) {
        item->tree = new_star(p);
        return;
    }
    item->tree = parse_expression(p);
    if (parse_accept(p, "as")) {
        item->alias = parse_name(p, "a name for the column");
    } else if (p->token.kind == TOKEN_QUOTED ||
               (p->token.kind == TOKEN_NAME && !parse_is_reserved(p))) {
        item->alias = parse_name(p, "a name for the column");
    }
}

static void parse_items(struct parser *p, struct ast_select *select)
{
    size_t capacity = 0;
    do {
        if (!parse_grow(p, &select->items, select->item_count, &capacity, sizeof *select->items))
            return;
        parse_item(p, &select->items[select->item_count++]);
    } while (parse_accept(p, ","));
}

static void parse_from(struct parser *p, struct ast_select *select)
{
    select->has_from = true;
    if (parse_is(p, "("))
        parse_fail(p, ERR_UNSUPPORTED, p->token.position, "subqueries are not in this version");
    select->from = parse_relation(p);
    bool as = parse_accept(p, "as");
    if (as || p->token.kind == TOKEN_QUOTED ||
        (p->token.kind == TOKEN_NAME && !parse_is_reserved(p) && !parse_at_window(p)))
        select->from.alias = parse_name(p, "another name for the table");
    if (parse_is(p, ",") || parse_is(p, "join") || parse_is(p, "inner") || parse_is(p, "left") ||
        parse_is(p, "cross"))
        parse_fail(p, ERR_UNSUPPORTED, p->token.position,
                   "a statement reads one table in this version: joins come later");
}

static void parse_group_by(struct parser *p, struct ast_select *select)
{
    do {
        if (!parse_window_call(p, select) &&
            !parse_list_add(p, &select->group_by, parse_expression(p)))
            return;
    } while (parse_accept(p, ","));
}

/* ---- order, limit ---- */

static void parse_order_by(struct parser *p, struct ast_select *select)
{
    size_t capacity = 0;
    do {
        if (!parse_grow(p, &select->order, select->order_count, &capacity, sizeof *select->order))
            return;
        struct ast_order *order = &select->order[select->order_count++];
        order->tree = parse_expression(p);
        order->descending = parse_accept(p, "desc");
        if (!order->descending) parse_accept(p, "asc");
        order->nulls_first = order->descending; /* as PostgreSQL: NULL counts as the largest */
        if (parse_accept2(p, "nulls", "first"))
            order->nulls_first = true;
        else if (parse_accept2(p, "nulls", "last"))
            order->nulls_first = false;
    } while (parse_accept(p, ","));
}

/* The clauses behind FROM in their usual order; each at most once. */
void parse_select(struct parser *p, struct ast_select *select)
{
    parse_expect(p, "select");
    select->distinct = parse_accept(p, "distinct");
    if (!select->distinct) parse_accept(p, "all");
    parse_items(p, select);
    if (parse_accept(p, "from")) parse_from(p, select);
    if (parse_accept(p, "where")) select->where = parse_expression(p);
    if (parse_accept2(p, "partition", "by")) parse_expressions(p, &select->partition_by);
    parse_window_clause(p, select);
    parse_fill_clause(p, select);
    if (parse_accept2(p, "group", "by")) parse_group_by(p, select);
    parse_fill_clause(p, select);
    if (parse_accept(p, "having")) select->having = parse_expression(p);
    if (parse_is(p, "union") || parse_is(p, "except") || parse_is(p, "intersect"))
        parse_fail(p, ERR_UNSUPPORTED, p->token.position,
                   "UNION, EXCEPT and INTERSECT are not in this version");
    if (parse_accept2(p, "order", "by")) parse_order_by(p, select);
    if (parse_accept(p, "limit") && !parse_accept(p, "all")) select->limit = parse_expression(p);
    if (parse_accept(p, "offset")) {
        select->offset = parse_expression(p);
        if (!parse_accept(p, "rows")) parse_accept(p, "row");
    }
}
