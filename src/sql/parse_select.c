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

/* ---- the clauses ---- */

/* "WINDOW name AS (…)", PostgreSQL's clause, not one of ours. */
static bool is_named_window(const struct parser *p)
{
    struct lexer ahead = p->lexer;
    struct token token;
    struct why ignored = WHY_NONE;
    return parse_is(p, "window") && !lex_next(&ahead, &token, &ignored) && token_is(&token, "as");
}

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
    select->position = p->token.position;
    parse_expect(p, "select");
    parse_distinct(p, select);
    parse_items(p, select);
    if (parse_accept(p, "from")) select->from = parse_from(p);
    if (parse_accept(p, "where")) select->where = parse_expression(p);
    if (parse_accept2(p, "partition", "by")) parse_expressions(p, &select->partition_by);
    if (parse_is(p, "window") && !is_named_window(p)) {
        parse_advance(p);
        parse_window(p, select);
    } else if (parse_is(p, "interval") && parse_next_is(p, "(")) {
        parse_interval_window(p, select);
    }
    if (parse_is(p, "fill"))
        parse_fail(p, ERR_UNSUPPORTED, p->token.position, "FILL is not in this version");
    if (parse_accept2(p, "group", "by")) parse_group_by(p, select);
    if (parse_accept(p, "having")) select->having = parse_expression(p);
    if (parse_accept(p, "window")) parse_named_windows(p, select);
}
