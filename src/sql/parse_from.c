/* parse_from.c - FROM: tables, sub-queries and joins between them.
 *
 * A comma is a CROSS JOIN that binds looser than JOIN, as in PostgreSQL. What is not there yet is
 * refused by name. */
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

void parse_names(struct parser *p, struct ast_names *names)
{
    parse_expect(p, "(");
    do {
        if (p->err ||
            !parse_grow(p, &names->items, names->count, &names->capacity, sizeof *names->items))
            return;
        names->items[names->count++] = parse_name(p, "a column's name");
    } while (parse_accept(p, ","));
    parse_expect(p, ")");
}

/* A clause that begins with a word which is no reserved one; so it is not taken for an alias. */
static bool begins_clause(const struct parser *p)
{
    return parse_at_window(p);
}

void parse_alias(struct parser *p, struct ast_from *from)
{
    bool as = parse_accept(p, "as");
    bool is_name = p->token.kind == TOKEN_QUOTED ||
                   (p->token.kind == TOKEN_NAME && !parse_is_reserved(p) && !begins_clause(p));
    if (!as && !is_name) return;
    from->relation.alias = parse_name(p, "another name for the table");
    if (parse_is(p, "(")) parse_names(p, &from->columns);
}

static struct ast_from *new_from(struct parser *p, enum ast_from_kind kind, int32_t position)
{
    struct ast_from *from = parse_zero(p, 1, sizeof *from);
    if (!from) return NULL;
    from->kind = kind;
    from->position = from->relation.position = position;
    from->depth = 1;
    from->relation.schema = from->relation.name = from->relation.alias = STR("");
    return from;
}

static struct ast_from *parse_joins(struct parser *p);

/* name(arguments) [AS alias]: a list of one value, named like the alias or the function. */
static struct ast_from *parse_function(struct parser *p, struct ast_from *from)
{
    struct str name = from->relation.name;
    struct ast *call = parse_call_of(p, name, from->position);
    from->kind = AST_FROM_QUERY;
    from->relation.schema = from->relation.name = STR("");
    from->relation.alias = name;
    from->query = parse_zero(p, 1, sizeof *from->query);
    if (p->err || !from->query) return NULL;
    *from->query = (struct ast_select){
        .kind = SELECT_VALUES, .is_function = true, .position = from->position, .row_count = 1};
    from->query->rows = parse_zero(p, 1, sizeof *from->query->rows);
    if (!from->query->rows || !parse_list_add(p, from->query->rows, call)) return NULL;
    parse_alias(p, from);
    struct ast_names *names = &from->columns;
    if (names->count) return from;
    names->items = parse_zero(p, 1, sizeof *names->items);
    if (!names->items) return NULL;
    names->items[0] = from->relation.alias;
    names->count = names->capacity = 1;
    return from;
}

static struct ast_from *parse_from_item(struct parser *p)
{
    int32_t position = p->token.position;
    struct ast_from *from;
    if (parse_is(p, "lateral"))
        parse_fail(p, ERR_UNSUPPORTED, position, "LATERAL is not in this version");
    if (parse_is_query(p, true)) {
        from = new_from(p, AST_FROM_QUERY, position);
        if (!from) return NULL;
        from->query = parse_bracket_query(p);
        parse_alias(p, from);
        return from;
    }
    if (parse_is(p, "(")) {
        parse_nest(p);
        parse_advance(p);
        from = parse_joins(p);
        parse_expect(p, ")");
        p->nesting--;
        return p->err ? NULL : from;
    }
    from = new_from(p, AST_FROM_TABLE, position);
    if (!from) return NULL;
    from->relation = parse_relation(p);
    if (parse_is(p, "(") && parse_next_is(p, ")")) { /* pg_get_keywords(): a relation in all but */
        parse_advance(p);
        parse_advance(p);
    } else if (parse_is(p, "(")) {
        return parse_function(p, from);
    }
    parse_alias(p, from);
    return from;
}

/* ---- joins ---- */

static const struct {
    const char *word;
    enum join_kind kind;
} join_words[] = {
    {"inner", JOIN_INNER}, {"left", JOIN_LEFT},   {"right", JOIN_RIGHT},
    {"full", JOIN_FULL},   {"cross", JOIN_CROSS},
};

/* [NATURAL] [ASOF] [INNER | LEFT [OUTER] | …] JOIN; false when none begins here. */
static bool parse_join_words(struct parser *p, struct ast_from *join)
{
    bool any = false;
    join->join = JOIN_INNER;
    join->is_natural = parse_accept(p, "natural");
    join->is_asof = parse_accept(p, "asof");
    any = join->is_natural || join->is_asof;
    for (size_t i = 0; i < sizeof join_words / sizeof join_words[0]; i++) {
        if (!parse_accept(p, join_words[i].word)) continue;
        join->join = join_words[i].kind;
        parse_accept(p, "outer");
        any = true;
        break;
    }
    join->is_asof = parse_accept(p, "asof") || join->is_asof;
    if (!any && !join->is_asof && !parse_is(p, "join")) return false;
    parse_expect(p, "join");
    return true;
}

static void check_asof(struct parser *p, const struct ast_from *join)
{
    if (join->is_asof && join->join != JOIN_INNER && join->join != JOIN_LEFT)
        parse_fail(p, ERR_UNSUPPORTED, join->position, "ASOF goes with JOIN and LEFT JOIN only");
}

/* ON condition, USING (…) [TOLERANCE 5s]; CROSS and NATURAL have none. */
static void parse_join_condition(struct parser *p, struct ast_from *join)
{
    if (join->join == JOIN_CROSS || join->is_natural) {
        if (parse_is(p, "on") || parse_is(p, "using"))
            parse_fail(p, ERR_SYNTAX, p->token.position,
                       "%s JOIN takes no condition; write JOIN … ON",
                       join->is_natural ? "NATURAL" : "CROSS");
        return;
    }
    if (parse_accept(p, "on"))
        join->on = parse_expression(p);
    else if (parse_accept(p, "using"))
        parse_names(p, &join->using_names);
    else
        parse_fail_expected(p, "\"ON\" and a condition, or \"USING\" (columns)");
    if (join->is_asof && parse_accept(p, "tolerance"))
        join->tolerance_ns = parse_duration(p, "a tolerance");
}

struct ast_from *parse_new_join(struct parser *p, struct ast_from *left, struct ast_from *right,
                                struct ast_from join)
{
    struct ast_from *made = parse_zero(p, 1, sizeof *made);
    if (!made || p->err || !left || !right) return NULL;
    *made = join;
    made->kind = AST_FROM_JOIN;
    made->left = left;
    made->right = right;
    made->depth = 1 + (left->depth > right->depth ? left->depth : right->depth);
    if (made->depth > AST_JOIN_DEPTH_MAX)
        parse_fail(p, ERR_LIMIT, join.position, "more than %d tables are joined",
                   AST_JOIN_DEPTH_MAX);
    return made;
}

static struct ast_from *parse_joins(struct parser *p)
{
    struct ast_from *left = parse_from_item(p), join;
    while (!p->err) {
        join = (struct ast_from){.position = p->token.position};
        if (!parse_join_words(p, &join)) break;
        check_asof(p, &join);
        struct ast_from *right = parse_from_item(p);
        parse_join_condition(p, &join);
        left = parse_new_join(p, left, right, join);
    }
    return left;
}

struct ast_from *parse_from(struct parser *p)
{
    struct ast_from *left = parse_joins(p);
    while (!p->err && parse_is(p, ",")) {
        struct ast_from join = {.position = p->token.position, .join = JOIN_CROSS};
        parse_advance(p);
        left = parse_new_join(p, left, parse_joins(p), join);
    }
    return left;
}
