/* parse_select.c - SELECT and its clauses, but for FROM (parse_from.c) and what may stand around a
 * SELECT (parse_query.c).
 *
 * The window clause has several spellings for people's habits; all of them become the one window of
 * the tree: WINDOW TUMBLE(10s), INTERVAL(10s) (TDengine), TUMBLINGWINDOW(ss, 10) in GROUP BY
 * (eKuiper). What the language knows but this version cannot do yet is refused by name, never
 * ignored. */
#include "sql/parse_priv.h"
#include "base/num.h"
#include <stdio.h>
#include <string.h>

static struct ast *new_star(struct parser *p)
{
    struct ast *star = parse_zero(p, 1, sizeof *star);
    if (star) *star = (struct ast){.kind = AST_STAR, .position = p->token.position, .depth = 1};
    parse_advance(p);
    return star;
}

/* "t.*": the lexer is copied to look at the third token. */
static bool is_qualified_star(const struct parser *p)
{
    struct lexer ahead = p->lexer;
    struct token token;
    struct why ignored = WHY_NONE;
    bool is_name = p->token.kind == TOKEN_NAME || p->token.kind == TOKEN_QUOTED;
    return is_name && parse_next_is(p, ".") && !lex_next(&ahead, &token, &ignored) &&
           token_is(&token, "*");
}

static void parse_item(struct parser *p, struct ast_item *item)
{
    item->alias = STR("");
    if (parse_is(p, "*")) {
        item->tree = new_star(p);
        return;
    }
    if (is_qualified_star(p)) {
        struct str table = parse_name(p, "a table's name");
        parse_advance(p);
        item->tree = new_star(p);
        if (item->tree) item->tree->qualifier = table;
        return;
    }
    item->tree = parse_expand_item(p, parse_expression(p));
    if (parse_accept(p, "as")) {
        item->alias = parse_label(p, "a name for the column");
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

static void parse_group_by(struct parser *p, struct ast_select *select)
{
    do {
        if (!parse_window_call(p, select) &&
            !parse_list_add(p, &select->group_by, parse_expression(p)))
            return;
    } while (parse_accept(p, ","));
}

/* ---- the clauses ---- */

static void parse_distinct(struct parser *p, struct ast_select *select)
{
    if (!parse_accept(p, "distinct")) {
        parse_accept(p, "all");
        return;
    }
    select->distinct = true;
    if (!parse_accept2(p, "on", "(")) return;
    select->distinct = false;
    parse_expressions(p, &select->distinct_on);
    parse_expect(p, ")");
}

/* The clauses behind FROM in their usual order; each at most once. */
void parse_select(struct parser *p, struct ast_select *select)
{
    struct ast *outer = p->expanded;
    p->expanded = NULL;
    select->position = p->token.position;
    parse_expect(p, "select");
    parse_distinct(p, select);
    parse_items(p, select);
    if (parse_accept(p, "from")) select->from = parse_from(p);
    if (parse_accept(p, "where")) select->where = parse_expression(p);
    if (parse_accept2(p, "partition", "by")) parse_expressions(p, &select->partition_by);
    parse_window_clause(p, select);
    parse_fill_clause(p, select);
    if (parse_accept2(p, "group", "by")) parse_group_by(p, select);
    parse_no_window(p);
    parse_fill_clause(p, select);
    if (parse_accept(p, "having")) select->having = parse_expression(p);
    if (parse_accept(p, "window")) parse_named_windows(p, select);
    parse_expand_rows(p, select);
    p->expanded = outer;
}
