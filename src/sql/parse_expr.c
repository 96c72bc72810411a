/* parse_expr.c - expressions, by Pratt's method (V. Pratt, "Top down operator precedence", 1973).
 *
 * Why: precedence is data. `infix` below is the whole grammar of operators, in PostgreSQL's order
 * (manual, section 4.1.6); an operator is one row. The loop in parse_level binds a left side to
 * whatever binds tighter than the level asked for. What stands between operators is read by
 * parse_primary.c. */
#include "sql/parse_priv.h"

/* ---- infix operators ---- */

struct infix;
static const struct infix *find_infix(const struct parser *p);

struct infix {
    const char *symbol;
    int level;        /* how tightly it binds */
    int right_level;  /* the right side takes what binds tighter than this */
    const char *name; /* of the function it calls */
    struct ast *(*parse)(struct parser *p, const struct infix *infix,
                         struct ast *left); /* NULL: a plain one */
};

static struct ast *negate_if(struct parser *p, bool negated, int32_t position, struct ast *node)
{
    return negated ? parse_new_call2(p, "not", position, node, NULL) : node;
}

static struct ast *infix_is(struct parser *p, const struct infix *infix, struct ast *left)
{
    (void)infix;
    int32_t position = p->token.position;
    parse_advance(p);
    bool negated = parse_accept(p, "not");
    if (parse_accept2(p, "distinct", "from")) {
        struct ast *right = parse_level(p, LEVEL_COMPARE);
        return negate_if(p, negated, position,
                         parse_new_call2(p, "is distinct", position, left, right));
    }
    const char *name = parse_is(p, "true")    ? "is true"
                       : parse_is(p, "false") ? "is false"
                                              : "is null";
    if (parse_accept(p, "unknown"))
        return negate_if(p, negated, position, parse_new_call2(p, "is null", position, left, NULL));
    if (!parse_is(p, "null") && !parse_is(p, "true") && !parse_is(p, "false"))
        parse_fail_expected(p, "\"NULL\", \"NOT NULL\", \"TRUE\" or \"FALSE\"");
    parse_advance(p);
    return negate_if(p, negated, position, parse_new_call2(p, name, position, left, NULL));
}

/* x ISNULL, x NOTNULL */
static struct ast *infix_isnull(struct parser *p, const struct infix *infix, struct ast *left)
{
    int32_t position = p->token.position;
    bool negated = infix->symbol[0] == 'n';
    parse_advance(p);
    return negate_if(p, negated, position, parse_new_call2(p, "is null", position, left, NULL));
}

static struct ast *infix_between(struct parser *p, const struct infix *infix, struct ast *left)
{
    int32_t position = p->token.position;
    bool negated = parse_accept(p, "not");
    parse_expect(p, "between");
    struct ast *low = parse_level(p, infix->right_level);
    parse_expect(p, "and");
    struct ast *high = parse_level(p, infix->right_level);
    struct ast *from = parse_new_call2(p, ">=", position, left, low),
               *to = parse_new_call2(p, "<=", position, left, high);
    return negate_if(p, negated, position, parse_new_call2(p, "and", position, from, to));
}

static struct ast *infix_in(struct parser *p, const struct infix *infix, struct ast *left)
{
    (void)infix;
    int32_t position = p->token.position;
    struct ast_list list = {0};
    bool negated = parse_accept(p, "not");
    parse_expect(p, "in");
    if (parse_is_query(p, false))
        return negate_if(p, negated, position, parse_query_operand(p, "in", position, left));
    parse_expect(p, "(");
    if (!parse_list_add(p, &list, left)) return NULL;
    parse_expressions(p, &list);
    parse_expect(p, ")");
    if (parse_is_row(left)) {
        struct ast_list any = {0};
        for (size_t i = 1; !p->err && i < list.count; i++)
            (void)parse_list_add(p, &any, parse_comparison(p, "=", position, left, list.items[i]));
        return negate_if(p, negated, position,
                         any.count == 1 ? any.items[0] : parse_new_call(p, "or", position, any));
    }
    return negate_if(p, negated, position, parse_new_call(p, "in", position, list));
}

static struct ast *infix_like(struct parser *p, const struct infix *infix, struct ast *left)
{
    int32_t position = p->token.position;
    bool negated = parse_accept(p, "not"), folded = parse_is(p, "ilike");
    parse_advance(p);
    struct ast *pattern = parse_level(p, infix->right_level);
    if (parse_accept(p, "escape"))
        pattern = parse_new_call2(p, "like escape", position, pattern,
                                  parse_level(p, infix->right_level));
    return negate_if(p, negated, position,
                     parse_new_call2(p, folded ? "ilike" : "like", position, left, pattern));
}

static struct ast *infix_cast(struct parser *p, const struct infix *infix, struct ast *left)
{
    (void)infix;
    int32_t position = p->token.position;
    parse_advance(p);
    return parse_cast_type(p, left, position);
}

/* COLLATE name: texts are compared by bytes here, whatever it says. */
static struct ast *infix_collate(struct parser *p, const struct infix *infix, struct ast *left)
{
    (void)infix;
    parse_advance(p);
    (void)parse_name(p, "a collation");
    if (parse_accept(p, ".")) (void)parse_name(p, "a collation");
    return left;
}

/* a[n] */
static struct ast *infix_subscript(struct parser *p, const struct infix *infix, struct ast *left)
{
    (void)infix;
    int32_t position = p->token.position;
    parse_advance(p);
    struct ast *n = parse_expression(p);
    parse_expect(p, "]");
    return parse_new_call2(p, "subscript", position, left, n);
}

/* OPERATOR(pg_catalog.~): the operator inside, as tools write it to be safe from others' names. */
static struct ast *infix_operator(struct parser *p, const struct infix *infix, struct ast *left)
{
    int32_t position = p->token.position;
    parse_advance(p);
    parse_expect(p, "(");
    if (p->token.kind == TOKEN_NAME && parse_next_is(p, ".")) parse_advance(p), parse_advance(p);
    const struct infix *meant = find_infix(p);
    if (!meant || meant->parse) {
        parse_fail_expected(p, "an operator");
        return NULL;
    }
    parse_advance(p);
    parse_expect(p, ")");
    struct ast *right = parse_level(p, infix->right_level);
    return parse_new_call2(p, meant->name, position, left, right);
}

/* time AT TIME ZONE 'Asia/Shanghai' */
static struct ast *infix_at(struct parser *p, const struct infix *infix, struct ast *left)
{
    int32_t position = p->token.position;
    parse_advance(p);
    parse_expect(p, "time");
    parse_expect(p, "zone");
    struct ast *zone = parse_level(p, infix->right_level);
    return parse_new_call2(p, "timezone", position, zone, left);
}

/* "a AND b AND c" is one call with three arguments: long chains stay shallow. */
static struct ast *infix_chain(struct parser *p, const struct infix *infix, struct ast *left)
{
    int32_t position = p->token.position;
    struct ast_list list = {0};
    if (!parse_list_add(p, &list, left)) return NULL;
    while (parse_accept(p, infix->symbol))
        if (!parse_list_add(p, &list, parse_level(p, infix->right_level))) return NULL;
    return parse_new_call(p, infix->name, position, list);
}

static const struct infix infixes[] = {
    {"or", LEVEL_OR, LEVEL_OR, "or", infix_chain},
    {"and", LEVEL_AND, LEVEL_AND, "and", infix_chain},
    {"is", LEVEL_IS, LEVEL_IS, "", infix_is},
    {"isnull", LEVEL_IS, LEVEL_IS, "", infix_isnull},
    {"notnull", LEVEL_IS, LEVEL_IS, "", infix_isnull},
    {"=", LEVEL_COMPARE, LEVEL_COMPARE, "=", NULL},
    {"<>", LEVEL_COMPARE, LEVEL_COMPARE, "<>", NULL},
    {"!=", LEVEL_COMPARE, LEVEL_COMPARE, "<>", NULL},
    {"<", LEVEL_COMPARE, LEVEL_COMPARE, "<", NULL},
    {"<=", LEVEL_COMPARE, LEVEL_COMPARE, "<=", NULL},
    {">", LEVEL_COMPARE, LEVEL_COMPARE, ">", NULL},
    {">=", LEVEL_COMPARE, LEVEL_COMPARE, ">=", NULL},
    {"between", LEVEL_RANGE, LEVEL_RANGE, "", infix_between},
    {"in", LEVEL_RANGE, LEVEL_RANGE, "in", infix_in},
    {"like", LEVEL_RANGE, LEVEL_RANGE, "like", infix_like},
    {"ilike", LEVEL_RANGE, LEVEL_RANGE, "ilike", infix_like},
    {"~", LEVEL_CONCAT, LEVEL_CONCAT, "~", NULL},
    {"~*", LEVEL_CONCAT, LEVEL_CONCAT, "~*", NULL},
    {"!~", LEVEL_CONCAT, LEVEL_CONCAT, "!~", NULL},
    {"!~*", LEVEL_CONCAT, LEVEL_CONCAT, "!~*", NULL},
    {"~~", LEVEL_CONCAT, LEVEL_CONCAT, "like", NULL},
    {"~~*", LEVEL_CONCAT, LEVEL_CONCAT, "ilike", NULL},
    {"operator", LEVEL_CONCAT, LEVEL_CONCAT, "", infix_operator},
    {"||", LEVEL_CONCAT, LEVEL_CONCAT, "||", NULL},
    {"&", LEVEL_CONCAT, LEVEL_CONCAT, "&", NULL},
    {"|", LEVEL_CONCAT, LEVEL_CONCAT, "|", NULL},
    {"+", LEVEL_ADD, LEVEL_ADD, "+", NULL},
    {"-", LEVEL_ADD, LEVEL_ADD, "-", NULL},
    {"*", LEVEL_MULTIPLY, LEVEL_MULTIPLY, "*", NULL},
    {"/", LEVEL_MULTIPLY, LEVEL_MULTIPLY, "/", NULL},
    {"%", LEVEL_MULTIPLY, LEVEL_MULTIPLY, "mod", NULL},
    {"^", LEVEL_POWER, LEVEL_POWER, "power", NULL},
    {"->", LEVEL_CONCAT, LEVEL_CONCAT, "->", NULL},
    {"->>", LEVEL_CONCAT, LEVEL_CONCAT, "->>", NULL},
    {"at", LEVEL_SIGN, LEVEL_SIGN, "", infix_at},
    {"collate", LEVEL_CAST, LEVEL_CAST, "", infix_collate},
    {"[", LEVEL_CAST, LEVEL_CAST, "", infix_subscript},
    {"::", LEVEL_CAST, LEVEL_CAST, "", infix_cast},
};

/* x = ANY(query) is x IN (query); the other comparisons with all of a query's rows are EXISTS,
 * turned by the binder. The items of an array that stands there become an IN list or a chain. */
static struct ast *parse_quantified(struct parser *p, const struct infix *infix, struct ast *left,
                                    bool all, int32_t position)
{
    bool equal = str_is(str_of(infix->name), "="), differs = str_is(str_of(infix->name), "<>");
    if (parse_is_query(p, false)) {
        if ((equal && !all) || (differs && all)) {
            struct ast *in = parse_query_operand(p, "in", position, left);
            return negate_if(p, all, position, in);
        }
        struct ast *node = parse_query_operand(p, all ? "all" : "any", position, left);
        if (node) node->op = str_of(infix->name);
        return node;
    }
    parse_expect(p, "(");
    struct ast *array = parse_expression(p);
    parse_expect(p, ")");
    if (p->err) return NULL;
    struct ast_list list = {0};
    if (array->kind == AST_CALL && str_is(array->text, "array")) { /* ARRAY[…]: item by item */
        for (size_t i = 0; i < array->arg_count; i++)
            if (!parse_list_add(p, &list,
                                parse_new_call2(p, infix->name, position, left, array->args[i])))
                return NULL;
        struct ast *none = parse_node(p, AST_LITERAL, position);
        if (!none || (list.count == 0 && !parse_list_add(p, &list, none))) return NULL;
        none->value = (struct value){.type = TYPE_BOOL, .b = all};
        return list.count == 1 ? list.items[0]
                               : parse_new_call(p, all ? "and" : "or", position, list);
    }
    if (equal && !all) return parse_new_call2(p, "= any", position, left, array);
    if (differs && all)
        return negate_if(p, true, position, parse_new_call2(p, "= any", position, left, array));
    parse_fail(
        p, ERR_UNSUPPORTED, position,
        "with an array only = ANY and <> ALL are in this version; ARRAY[…] takes any operator");
    return NULL;
}

/* The operator at the current token; "NOT IN", "NOT LIKE", "NOT BETWEEN" count as theirs. */
static const struct infix *find_infix(const struct parser *p)
{
    const struct token *token = parse_is(p, "not") ? &p->next : &p->token;
    for (size_t i = 0; i < sizeof infixes / sizeof infixes[0]; i++) {
        if (!token_is(token, infixes[i].symbol)) continue;
        return token == &p->token || infixes[i].level == LEVEL_RANGE ? &infixes[i] : NULL;
    }
    return NULL;
}

/* The right side of a plain operator: an operand, or ANY/ALL of an array or a query. */
/* Months have no fixed length: time + INTERVAL '1 month' asks the calendar. */
static const char *calendar_name(const char *name, struct ast *right)
{
    bool calendar =
        right && right->kind == AST_LITERAL && right->is_duration && right->value.type == TYPE_TEXT;
    if (!calendar || name[1] != 0 || (name[0] != '+' && name[0] != '-')) return name;
    right->is_duration = false;
    return name[0] == '+' ? "date_add" : "date_subtract";
}

static struct ast *parse_right(struct parser *p, const struct infix *infix, struct ast *left,
                               int32_t position)
{
    bool any = parse_is(p, "any") || parse_is(p, "some"), all = parse_is(p, "all");
    if ((any || all) && parse_next_is(p, "(")) {
        parse_advance(p);
        return parse_quantified(p, infix, left, all, position);
    }
    struct ast *right = parse_level(p, infix->right_level);
    return parse_comparison(p, calendar_name(infix->name, right), position, left, right);
}

struct ast *parse_level(struct parser *p, int level)
{
    if (p->err) return NULL;
    if (++p->nesting > AST_NESTING_MAX)
        parse_fail(p, ERR_LIMIT, p->token.position,
                   "more than %d levels of brackets or operators inside each other",
                   AST_NESTING_MAX);
    struct ast *left = parse_primary(p);
    const struct infix *infix;
    while (!p->err && (infix = find_infix(p)) && infix->level > level) {
        int32_t position = p->token.position;
        if (infix->parse) {
            left = infix->parse(p, infix, left);
            continue;
        }
        parse_advance(p);
        left = parse_right(p, infix, left, position);
    }
    p->nesting--;
    return p->err ? NULL : left;
}

struct ast *parse_expression(struct parser *p)
{
    return parse_level(p, 0);
}
