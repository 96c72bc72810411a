/* parse_query.c - what may stand around a SELECT: WITH, set operations, VALUES, ORDER BY, LIMIT;
 * and OVER with its windows.
 *
 * INTERSECT binds tighter than UNION and EXCEPT, which go from left to right. ORDER BY and LIMIT
 * belong to the whole; a bracketed query keeps its own. */
#include "sql/parse_priv.h"

void parse_nest(struct parser *p)
{
    if (++p->nesting > AST_NESTING_MAX)
        parse_fail(p, ERR_LIMIT, p->token.position,
                   "more than %d levels of brackets or operators inside each other",
                   AST_NESTING_MAX);
}

/* The lexer is copied to skip the brackets: at each level again, so no further than they may nest.
 */
bool parse_is_query(const struct parser *p, bool deep)
{
    struct lexer ahead = p->lexer;
    struct token token = p->next;
    struct why ignored = WHY_NONE;
    if (!parse_is(p, "(")) return false;
    for (int i = 0; deep && i < AST_NESTING_MAX && token_is(&token, "("); i++)
        if (lex_next(&ahead, &token, &ignored)) return false;
    return token_is(&token, "select") || token_is(&token, "with") || token_is(&token, "values");
}

struct ast_select *parse_bracket_query(struct parser *p)
{
    parse_nest(p);
    if (p->query_nesting++ >= AST_QUERY_NESTING_MAX)
        parse_fail(p, ERR_LIMIT, p->token.position, "more than %d queries inside each other",
                   AST_QUERY_NESTING_MAX);
    parse_expect(p, "(");
    struct ast_select *query = parse_query(p);
    parse_expect(p, ")");
    p->query_nesting--;
    p->nesting--;
    return p->err ? NULL : query;
}

static struct ast_select *new_select(struct parser *p, enum ast_select_kind kind)
{
    struct ast_select *select = parse_zero(p, 1, sizeof *select);
    if (!select) return NULL;
    select->kind = kind;
    select->position = p->token.position;
    return select;
}

/* ---- VALUES ---- */

static void parse_values(struct parser *p, struct ast_select *select)
{
    size_t capacity = 0;
    parse_expect(p, "values");
    do {
        if (p->err ||
            !parse_grow(p, &select->rows, select->row_count, &capacity, sizeof *select->rows))
            return;
        struct ast_list *row = &select->rows[select->row_count++];
        int32_t position = p->token.position;
        parse_expect(p, "(");
        parse_expressions(p, row);
        parse_expect(p, ")");
        if (row->count != select->rows[0].count)
            parse_fail(p, ERR_SYNTAX, position, "this row has %zu values, the first one has %zu",
                       row->count, select->rows[0].count);
    } while (parse_accept(p, ","));
}

/* ---- set operations ---- */

static struct ast_select *parse_operand(struct parser *p)
{
    if (parse_is(p, "(")) return parse_bracket_query(p);
    struct ast_select *select = new_select(p, parse_is(p, "values") ? SELECT_VALUES : SELECT_PLAIN);
    if (!select) return NULL;
    if (select->kind == SELECT_VALUES)
        parse_values(p, select);
    else
        parse_select(p, select);
    return p->err ? NULL : select;
}

/* `level` 1: INTERSECT only; 0: all. */
static struct ast_select *parse_set(struct parser *p, int level)
{
    static const struct {
        const char *word;
        int level;
        enum set_kind kind;
    } words[] = {
        {"union", 0, SET_UNION}, {"except", 0, SET_EXCEPT}, {"intersect", 1, SET_INTERSECT}};
    struct ast_select *left = level ? parse_operand(p) : parse_set(p, 1);
    for (size_t i = 0; !p->err && i < sizeof words / sizeof words[0];) {
        if (words[i].level != level || !parse_is(p, words[i].word)) {
            i++;
            continue;
        }
        struct ast_select *set = new_select(p, SELECT_SET);
        if (!set) return NULL;
        parse_advance(p);
        set->set = words[i].kind;
        set->set_all = parse_accept(p, "all");
        if (!set->set_all) parse_accept(p, "distinct");
        if (++p->sets > AST_SETS_MAX)
            parse_fail(p, ERR_LIMIT, set->position, "more than %d queries are combined",
                       AST_SETS_MAX);
        set->left = left;
        set->right = level ? parse_operand(p) : parse_set(p, 1);
        left = set;
        i = 0;
    }
    return p->err ? NULL : left;
}

/* ---- ORDER BY, LIMIT ---- */

void parse_order_by(struct parser *p, struct ast_order **order, size_t *count)
{
    size_t capacity = 0;
    do {
        if (p->err || !parse_grow(p, order, *count, &capacity, sizeof **order)) return;
        struct ast_order *one = &(*order)[(*count)++];
        one->tree = parse_expression(p);
        one->descending = parse_accept(p, "desc");
        if (!one->descending) parse_accept(p, "asc");
        one->nulls_first = one->descending; /* as PostgreSQL: NULL counts as the largest */
        if (parse_accept2(p, "nulls", "first"))
            one->nulls_first = true;
        else if (parse_accept2(p, "nulls", "last"))
            one->nulls_first = false;
    } while (parse_accept(p, ","));
}

static void parse_rows_word(struct parser *p)
{
    if (!parse_accept(p, "rows")) parse_accept(p, "row");
}

/* FETCH FIRST [n] ROWS ONLY */
static void parse_fetch(struct parser *p, struct ast_select *select)
{
    if (!parse_accept(p, "first")) parse_expect(p, "next");
    if (parse_is(p, "row") || parse_is(p, "rows"))
        select->limit = parse_integer(p, 1);
    else
        select->limit = parse_expression(p);
    parse_rows_word(p);
    parse_expect(p, "only");
}

static bool is_tail(const struct parser *p)
{
    return parse_is(p, "order") || parse_is(p, "limit") || parse_is(p, "offset") ||
           parse_is(p, "fetch");
}

/* LIMIT and OFFSET in either order. */
static void parse_tail(struct parser *p, struct ast_select *select)
{
    if (parse_accept2(p, "order", "by")) parse_order_by(p, &select->order, &select->order_count);
    for (int i = 0; i < 2; i++) {
        if (!select->offset && parse_accept(p, "offset")) {
            select->offset = parse_expression(p);
            parse_rows_word(p);
        } else if (!select->limit && parse_accept(p, "limit")) {
            if (!parse_accept(p, "all")) select->limit = parse_expression(p);
        } else if (!select->limit && parse_accept(p, "fetch")) {
            parse_fetch(p, select);
        }
    }
}

/* ---- WITH ---- */

static void parse_ctes(struct parser *p, struct ast_cte **ctes, size_t *count)
{
    size_t capacity = 0;
    if (parse_is(p, "recursive"))
        parse_fail(p, ERR_UNSUPPORTED, p->token.position,
                   "WITH RECURSIVE is not in this version: a query cannot refer to itself");
    do {
        if (p->err || !parse_grow(p, ctes, *count, &capacity, sizeof **ctes)) return;
        struct ast_cte *cte = &(*ctes)[(*count)++];
        cte->position = p->token.position;
        cte->name = parse_name(p, "a name for the query");
        if (parse_is(p, "(")) parse_names(p, &cte->columns);
        parse_expect(p, "as");
        if (!parse_accept2(p, "not", "materialized")) parse_accept(p, "materialized");
        cte->query = parse_bracket_query(p);
    } while (parse_accept(p, ","));
}

/* A query as a table of its own: SELECT * FROM (query). */
static struct ast_select *wrap(struct parser *p, struct ast_select *query)
{
    struct ast_select *outer = new_select(p, SELECT_PLAIN);
    struct ast_from *from = parse_zero(p, 1, sizeof *from);
    struct ast_item *item = parse_zero(p, 1, sizeof *item);
    struct ast *star = parse_zero(p, 1, sizeof *star);
    if (!outer || !from || !item || !star) return NULL;
    *star = (struct ast){.kind = AST_STAR, .position = outer->position, .depth = 1};
    star->qualifier = star->schema = item->alias = STR("");
    item->tree = star;
    *from = (struct ast_from){.kind = AST_FROM_QUERY, .depth = 1, .query = query};
    from->relation.schema = from->relation.name = from->relation.alias = STR("");
    outer->items = item;
    outer->item_count = 1;
    outer->from = from;
    return outer;
}

struct ast_select *parse_query(struct parser *p)
{
    struct ast_cte *ctes = NULL;
    size_t cte_count = 0;
    if (parse_accept(p, "with")) parse_ctes(p, &ctes, &cte_count);
    struct ast_select *query = parse_set(p, 0);
    if (!query) return NULL;
    bool has_tail = query->order_count > 0 || query->limit || query->offset;
    if ((has_tail && is_tail(p)) || (cte_count && query->cte_count)) query = wrap(p, query);
    if (!query) return NULL;
    if (cte_count) query->ctes = ctes, query->cte_count = cte_count;
    parse_tail(p, query);
    if (parse_accept(p, "for")) /* FOR UPDATE, FOR SHARE: there are no locks to take */
        if (!parse_accept(p, "update")) parse_expect(p, "share");
    return p->err ? NULL : query;
}

/* ---- OVER ---- */

static void parse_bound(struct parser *p, struct ast_bound *bound)
{
    if (parse_accept2(p, "current", "row")) {
        bound->kind = BOUND_CURRENT_ROW;
        return;
    }
    bool unbounded = parse_accept(p, "unbounded");
    if (!unbounded) bound->offset = parse_expression(p);
    if (parse_accept(p, "preceding"))
        bound->kind = unbounded ? BOUND_UNBOUNDED_PRECEDING : BOUND_PRECEDING;
    else if (parse_accept(p, "following"))
        bound->kind = unbounded ? BOUND_UNBOUNDED_FOLLOWING : BOUND_FOLLOWING;
    else
        parse_fail_expected(p, "\"PRECEDING\" or \"FOLLOWING\"");
}

static bool parse_frame_unit(struct parser *p, enum frame_unit *unit)
{
    static const struct {
        const char *word;
        enum frame_unit unit;
    } words[] = {{"rows", FRAME_ROWS}, {"range", FRAME_RANGE}, {"groups", FRAME_GROUPS}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (!parse_accept(p, words[i].word)) continue;
        *unit = words[i].unit;
        return true;
    }
    return false;
}

/* The frame: [ROWS | RANGE | GROUPS] [BETWEEN] bound [AND bound] */
static void parse_frame(struct parser *p, struct ast_over *over)
{
    int32_t position = p->token.position;
    if (!parse_frame_unit(p, &over->unit)) return;
    over->has_frame = true;
    over->to.kind = BOUND_CURRENT_ROW;
    bool between = parse_accept(p, "between");
    parse_bound(p, &over->from);
    if (between) {
        parse_expect(p, "and");
        parse_bound(p, &over->to);
    }
    if (parse_is(p, "exclude"))
        parse_fail(p, ERR_UNSUPPORTED, p->token.position, "EXCLUDE is not in this version");
    if (over->from.kind > over->to.kind || over->from.kind == BOUND_UNBOUNDED_FOLLOWING ||
        over->to.kind == BOUND_UNBOUNDED_PRECEDING)
        parse_fail(p, ERR_SYNTAX, position, "this frame ends before it begins");
}

/* "(" [name] [PARTITION BY …] [ORDER BY …] [frame] ")" */
static void parse_window_body(struct parser *p, struct ast_over *over)
{
    over->position = p->token.position;
    over->name = STR("");
    parse_expect(p, "(");
    bool is_frame = parse_is(p, "rows") || parse_is(p, "range") || parse_is(p, "groups");
    if (p->token.kind == TOKEN_QUOTED ||
        (p->token.kind == TOKEN_NAME && !parse_is_reserved(p) && !is_frame))
        over->name = parse_name(p, "a window's name");
    if (parse_accept2(p, "partition", "by")) parse_expressions(p, &over->partition_by);
    if (parse_accept2(p, "order", "by")) parse_order_by(p, &over->order, &over->order_count);
    parse_frame(p, over);
    if (!parse_is(p, ")"))
        parse_fail_expected(p, "\"PARTITION BY\", \"ORDER BY\", a frame or \")\"");
    parse_advance(p);
}

struct ast_over *parse_over(struct parser *p)
{
    struct ast_over *over = parse_zero(p, 1, sizeof *over);
    if (!over) return NULL;
    if (parse_is(p, "(")) {
        parse_window_body(p, over);
    } else {
        over->position = p->token.position;
        over->name = parse_name(p, "a window's name or \"(\"");
    }
    return p->err ? NULL : over;
}

void parse_named_windows(struct parser *p, struct ast_select *select)
{
    size_t capacity = 0;
    do {
        if (p->err ||
            !parse_grow(p, &select->overs, select->over_count, &capacity, sizeof *select->overs))
            return;
        struct ast_over *over = &select->overs[select->over_count++];
        struct str name = parse_name(p, "a window's name");
        parse_expect(p, "as");
        parse_window_body(p, over);
        if (over->name.size > 0)
            parse_fail(p, ERR_UNSUPPORTED, over->position,
                       "a named window cannot be made from another one");
        over->name = name;
    } while (parse_accept(p, ","));
}
