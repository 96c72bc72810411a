/* parse_select.c - SELECT and its clauses.
 *
 * The window clause has several spellings for people's habits; all of them become the one window of
 * the tree: WINDOW TUMBLE(10s), INTERVAL(10s) (TDengine), TUMBLINGWINDOW(ss, 10) in GROUP BY
 * (eKuiper). What the language knows but this version cannot do yet is refused by name, never
 * ignored. */
#include "sql/parse_priv.h"
#include "base/num.h"
#include <stdio.h>
#include <string.h>

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
        (p->token.kind == TOKEN_NAME && !parse_is_reserved(p) && !parse_is(p, "interval") &&
         !parse_is(p, "sliding")))
        select->from.alias = parse_name(p, "another name for the table");
    if (parse_is(p, ",") || parse_is(p, "join") || parse_is(p, "inner") || parse_is(p, "left") ||
        parse_is(p, "cross"))
        parse_fail(p, ERR_UNSUPPORTED, p->token.position,
                   "a statement reads one table in this version: joins come later");
}

/* ---- windows ---- */

static const char *const later_windows[] = {"hop", "slide", "session", "count", "state", "event"};

static void set_window(struct parser *p, struct ast_select *select, int64_t ns, int32_t position)
{
    if (select->has_window)
        parse_fail(p, ERR_SYNTAX, position, "a statement has at most one window");
    select->has_window = true;
    select->window_ns = ns;
    select->window_position = position;
}

static void parse_window(struct parser *p, struct ast_select *select)
{
    int32_t position = p->token.position;
    for (size_t i = 0; i < sizeof later_windows / sizeof later_windows[0]; i++)
        if (parse_is(p, later_windows[i]))
            parse_fail(p, ERR_UNSUPPORTED, position,
                       "this kind of window is not in this version; TUMBLE(width) is");
    if (!parse_is(p, "tumble")) parse_fail_expected(p, "\"TUMBLE\"");
    parse_advance(p);
    parse_expect(p, "(");
    int64_t ns = parse_duration(p, "a width");
    parse_expect(p, ")");
    set_window(p, select, ns, position);
}

/* INTERVAL(10s) [SLIDING(…)] */
static void parse_interval_window(struct parser *p, struct ast_select *select)
{
    int32_t position = p->token.position;
    parse_advance(p);
    parse_expect(p, "(");
    int64_t ns = parse_duration(p, "a width");
    parse_expect(p, ")");
    set_window(p, select, ns, position);
    if (parse_is(p, "sliding"))
        parse_fail(p, ERR_UNSUPPORTED, p->token.position,
                   "sliding windows are not in this version");
}

/* GROUP BY …, TUMBLINGWINDOW(ss, 10): the unit's name and a number of them. */
static void parse_ekuiper_window(struct parser *p, struct ast_select *select)
{
    int32_t position = p->token.position;
    char text[64] = "";
    int64_t ns = 0;
    parse_advance(p);
    parse_expect(p, "(");
    struct str unit = parse_name(p, "a unit such as ss");
    parse_expect(p, ",");
    if (p->token.kind != TOKEN_INTEGER) parse_fail_expected(p, "a whole number");
    (void)snprintf(text, sizeof text, "%.*s %.*s", (int)(p->token.text.size & 31), p->token.text.at,
                   (int)(unit.size & 15), unit.at);
    if (!p->err && (!sql_parse_interval(str_of(text), &ns) || ns <= 0))
        parse_fail(p, ERR_SYNTAX, position,
                   "the units of TUMBLINGWINDOW are ms, ss, mi, hh, dd, with a number above 0");
    parse_advance(p);
    parse_expect(p, ")");
    set_window(p, select, ns, position);
}

static void parse_group_by(struct parser *p, struct ast_select *select)
{
    do {
        if (parse_is(p, "tumblingwindow") && parse_next_is(p, "("))
            parse_ekuiper_window(p, select);
        else if (!parse_list_add(p, &select->group_by, parse_expression(p)))
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
    if (parse_accept(p, "window"))
        parse_window(p, select);
    else if (parse_is(p, "interval") && parse_next_is(p, "("))
        parse_interval_window(p, select);
    if (parse_is(p, "fill"))
        parse_fail(p, ERR_UNSUPPORTED, p->token.position, "FILL is not in this version");
    if (parse_accept2(p, "group", "by")) parse_group_by(p, select);
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
