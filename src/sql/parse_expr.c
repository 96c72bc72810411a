/* parse_expr.c - expressions, by Pratt's method (V. Pratt, "Top down operator precedence", 1973).
 *
 * Why: precedence is data. `infix` below is the whole grammar of operators, in PostgreSQL's order
 * (manual, section 4.1.6); an operator is one row. The loop in parse_level binds a left side to
 * whatever binds tighter than the level asked for. */
#include "sql/grid.h"
#include "sql/parse_priv.h"
#include "base/num.h"
#include "base/timetext.h"

enum {
    LEVEL_OR = 10,
    LEVEL_AND = 20,
    LEVEL_NOT = 30,
    LEVEL_IS = 40,
    LEVEL_COMPARE = 50,
    LEVEL_RANGE = 60, /* BETWEEN, IN, LIKE */
    LEVEL_CONCAT = 70,
    LEVEL_ADD = 80,
    LEVEL_MULTIPLY = 90,
    LEVEL_POWER = 100,
    LEVEL_SIGN = 110,
    LEVEL_CAST = 120,
};

static struct ast *parse_level(struct parser *p, int level);

/* ---- making nodes ---- */

static struct ast *new_node(struct parser *p, enum ast_kind kind, int32_t position)
{
    struct ast *node = parse_zero(p, 1, sizeof *node);
    if (!node) return NULL;
    node->kind = kind;
    node->position = position;
    node->depth = 1;
    return node;
}

/* A call that takes over the list; NULL after an error. */
static struct ast *new_call(struct parser *p, const char *name, int32_t position,
                            struct ast_list list)
{
    if (p->err) return NULL;
    struct ast *node = new_node(p, AST_CALL, position);
    if (!node) return NULL;
    node->text = str_of(name);
    node->args = list.items;
    node->arg_count = list.count;
    for (size_t i = 0; i < list.count; i++)
        if (list.items[i]->depth >= node->depth) node->depth = list.items[i]->depth + 1;
    if (node->depth > AST_DEPTH_MAX)
        parse_fail(p, ERR_LIMIT, position,
                   "this expression is more than %d levels deep; use IN (…) or split it",
                   AST_DEPTH_MAX);
    return node;
}

static struct ast *new_call2(struct parser *p, const char *name, int32_t position, struct ast *a,
                             struct ast *b)
{
    struct ast_list list = {0};
    if (p->err || !parse_list_add(p, &list, a) || (b && !parse_list_add(p, &list, b))) return NULL;
    return new_call(p, name, position, list);
}

bool parse_list_add(struct parser *p, struct ast_list *list, struct ast *item)
{
    if (p->err || !item) return false;
    if (!parse_grow(p, &list->items, list->count, &list->capacity, sizeof *list->items))
        return false;
    list->items[list->count++] = item;
    return true;
}

void parse_expressions(struct parser *p, struct ast_list *list)
{
    do {
        if (!parse_list_add(p, list, parse_expression(p))) return;
    } while (parse_accept(p, ","));
}

/* ---- literals ---- */

static struct ast *parse_number(struct parser *p)
{
    struct ast *node = new_node(p, AST_LITERAL, p->token.position);
    struct str text = p->token.text;
    if (!node) return NULL;
    if (text.size > 0 && text.at[text.size - 1] == '.') text.size--; /* "1." */
    char scratch[64] = "0";
    if (text.size > 0 && text.at[0] == '.' && text.size < 60) { /* ".5" */
        (void)str_copy(scratch + 1, sizeof scratch - 1, text);
        text = (struct str){scratch, text.size + 1};
    }
    node->value.type = TYPE_BIGINT;
    if (p->token.kind == TOKEN_DURATION) {
        node->is_duration = true; /* the lexer tried it; 1mo and 1y stay texts */
        if (!duration_parse(text, &node->value.i))
            node->value = (struct value){.type = TYPE_TEXT, .s = text};
    } else if (p->token.kind == TOKEN_INTEGER && num_parse_i64(text, &node->value.i)) {
        node->value.type = TYPE_BIGINT;
    } else if (p->token.kind == TOKEN_INTEGER && num_parse_u64(text, &node->value.u)) {
        node->value.type = TYPE_UBIGINT;
    } else {
        node->value.type = TYPE_DOUBLE;
        if (!num_parse_double(text, &node->value.d))
            parse_fail(p, ERR_SYNTAX, p->token.position, "the number \"%.*s\" is out of range",
                       text.size > 40 ? 40 : (int)text.size, text.at);
    }
    parse_advance(p);
    return node;
}

static struct ast *parse_text_literal(struct parser *p)
{
    struct ast *node = new_node(p, AST_LITERAL, p->token.position);
    struct str text = parse_string(p, "a string");
    if (!node || p->err) return NULL;
    node->value = (struct value){.type = TYPE_TEXT, .s = text};
    return node;
}

static struct ast *parse_param(struct parser *p)
{
    struct ast *node = new_node(p, AST_PARAM, p->token.position);
    struct str digits = {p->token.text.at + 1, p->token.text.size - 1};
    if (!node) return NULL;
    if (!num_parse_i64(digits, &node->value.i) || node->value.i < 1)
        parse_fail(p, ERR_SYNTAX, p->token.position, "parameters are numbered from $1");
    parse_advance(p);
    return node;
}

/* NULL, TRUE, FALSE. */
static struct ast *parse_word_literal(struct parser *p)
{
    struct ast *node = new_node(p, AST_LITERAL, p->token.position);
    if (!node) return NULL;
    if (parse_is(p, "null"))
        node->value = (struct value){.type = TYPE_NONE, .is_null = true};
    else
        node->value = (struct value){.type = TYPE_BOOL, .b = parse_is(p, "true")};
    parse_advance(p);
    return node;
}

/* INTERVAL '1 hour' and TIMESTAMP '2026-11-21'. */
static struct ast *parse_prefixed_literal(struct parser *p)
{
    bool is_interval = parse_is(p, "interval");
    struct ast *node = new_node(p, AST_LITERAL, p->token.position);
    parse_advance(p);
    int32_t position = p->token.position;
    struct str text = parse_string(p, "a string");
    if (!node || p->err) return NULL;
    node->value.type = is_interval ? TYPE_BIGINT : TYPE_TIMESTAMP;
    node->is_duration = is_interval;
    struct time_grid months;
    if (is_interval && !sql_parse_interval(text, &node->value.i) &&
        grid_parse_width(text, &months)) {
        node->value = (struct value){.type = TYPE_TEXT, .s = text};
        return node;
    }
    if (is_interval && !sql_parse_interval(text, &node->value.i))
        parse_fail(p, ERR_SYNTAX, position,
                   "'%.*s' is not a duration; write it like '10 s', '5 minutes', '1 day'",
                   text.size > 60 ? 60 : (int)text.size, text.at);
    if (!is_interval && !time_parse(text, &node->value.i))
        parse_fail(
            p, ERR_SYNTAX, position,
            "'%.*s' is not a time; write it like '2026-11-21 03:04:05' or '2026-11-21T03:04:05Z'",
            text.size > 60 ? 60 : (int)text.size, text.at);
    return node;
}

struct ast *parse_integer(struct parser *p, int64_t value)
{
    struct ast *node = new_node(p, AST_LITERAL, p->token.position);
    if (node) node->value = (struct value){.type = TYPE_BIGINT, .i = value};
    return node;
}

/* ---- names, calls, special forms ---- */

static struct ast *parse_case(struct parser *p)
{
    int32_t position = p->token.position;
    struct ast_list list = {0};
    struct ast *operand = NULL;
    parse_expect(p, "case");
    if (!parse_is(p, "when")) operand = parse_expression(p);
    if (!parse_is(p, "when")) parse_fail_expected(p, "\"WHEN\"");
    while (parse_accept(p, "when")) {
        int32_t at = p->token.position;
        struct ast *when = parse_expression(p);
        if (operand) when = new_call2(p, "=", at, operand, when);
        parse_expect(p, "then");
        if (!parse_list_add(p, &list, when) || !parse_list_add(p, &list, parse_expression(p)))
            return NULL;
    }
    if (parse_accept(p, "else") && !parse_list_add(p, &list, parse_expression(p))) return NULL;
    parse_expect(p, "end");
    return new_call(p, "case", position, list);
}

static struct ast *new_cast(struct parser *p, struct ast *from, enum type type, int32_t position)
{
    struct ast_list list = {0};
    if (!parse_list_add(p, &list, from)) return NULL;
    struct ast *node = new_call(p, "cast", position, list);
    if (!node) return NULL;
    node->kind = AST_CAST;
    node->type = type;
    return node;
}

/* PostgreSQL's regclass and its like are functions here: from a name to a number and back. */
static const char *const reg_types[] = {"regclass", "regtype", "regproc", "regnamespace",
                                        "regrole"};

/* The type of a cast and the cast itself; the current token is the type's. */
static struct ast *parse_cast_type(struct parser *p, struct ast *from, int32_t position)
{
    if (parse_is(p, "pg_catalog") && parse_next_is(p, ".")) {
        parse_advance(p);
        parse_advance(p);
    }
    for (size_t i = 0; i < sizeof reg_types / sizeof reg_types[0]; i++) {
        if (!parse_accept(p, reg_types[i])) continue;
        struct ast_list list = {0};
        return parse_list_add(p, &list, from) ? new_call(p, reg_types[i], position, list) : NULL;
    }
    enum type type = parse_type(p);
    return p->err ? NULL : new_cast(p, from, type, position);
}

static struct ast *parse_cast(struct parser *p)
{
    int32_t position = p->token.position;
    parse_advance(p);
    parse_expect(p, "(");
    struct ast *from = parse_expression(p);
    parse_expect(p, "as");
    struct ast *cast = parse_cast_type(p, from, position);
    parse_expect(p, ")");
    return p->err ? NULL : cast;
}

/* Functions whose arguments the standard separates by words; the current token is behind "(". */
static void args_extract(struct parser *p, struct ast_list *list)
{
    struct ast *part = new_node(p, AST_LITERAL, p->token.position);
    if (!part) return;
    bool word = p->token.kind == TOKEN_NAME;
    struct str text = word ? parse_name(p, "a part of the time, such as hour")
                           : parse_string(p, "a part of the time, such as hour");
    part->value = (struct value){.type = TYPE_TEXT, .s = text};
    if (!parse_is(p, "from"))
        parse_fail(p, ERR_SYNTAX, p->token.position, "extract is written extract(hour FROM time)");
    parse_expect(p, "from");
    if (parse_list_add(p, list, part)) parse_list_add(p, list, parse_expression(p));
}

/* position(what IN text): the function takes the text first. */
static void args_position(struct parser *p, struct ast_list *list)
{
    struct ast *first = parse_level(p, LEVEL_RANGE);
    bool in = parse_accept(p, "in");
    if (!in) parse_expect(p, ",");
    struct ast *second = parse_expression(p);
    if (parse_list_add(p, list, in ? second : first)) parse_list_add(p, list, in ? first : second);
}

/* substring(text FROM 2 FOR 3) or with commas. */
static void args_substring(struct parser *p, struct ast_list *list)
{
    if (!parse_list_add(p, list, parse_expression(p))) return;
    if (parse_accept(p, "from") && !parse_list_add(p, list, parse_expression(p))) return;
    if (parse_accept(p, "for")) parse_list_add(p, list, parse_expression(p));
    if (parse_accept(p, ",")) parse_expressions(p, list);
}

static const struct {
    const char *name;
    void (*parse)(struct parser *p, struct ast_list *list);
} worded[] = {
    {"extract", args_extract}, {"position", args_position}, {"substring", args_substring}};

static void parse_arguments(struct parser *p, struct str name, struct ast_list *list)
{
    for (size_t i = 0; i < sizeof worded / sizeof worded[0]; i++)
        if (str_is(name, worded[i].name)) {
            worded[i].parse(p, list);
            return;
        }
    parse_expressions(p, list);
}

/* percentile_cont(0.5) WITHIN GROUP (ORDER BY x), as the standard writes percentile_cont(x, 0.5).
 */
static void parse_within(struct parser *p, struct ast_list *list)
{
    parse_expect(p, "(");
    parse_expect(p, "order");
    parse_expect(p, "by");
    struct ast *value = parse_expression(p);
    parse_accept(p, "asc");
    parse_expect(p, ")");
    if (!parse_list_add(p, list, value)) return;
    for (size_t i = list->count - 1; i > 0; i--) list->items[i] = list->items[i - 1];
    list->items[0] = value;
}

/* name(arguments): the name is taken, the current token is "(". */
static struct ast *parse_call(struct parser *p, struct str name, int32_t position)
{
    struct ast_list list = {0};
    bool distinct = false;
    parse_expect(p, "(");
    if (parse_is(p, "*")) {
        if (!parse_list_add(p, &list, new_node(p, AST_STAR, p->token.position))) return NULL;
        parse_advance(p);
    } else if (!parse_is(p, ")")) {
        distinct = parse_accept(p, "distinct");
        parse_arguments(p, name, &list);
    }
    if (!parse_is(p, ")")) parse_fail_expected(p, "\",\" or \")\"");
    parse_advance(p);
    if (parse_accept2(p, "within", "group")) parse_within(p, &list);
    struct ast *node = new_call(p, name.at, position, list);
    if (!node) return NULL;
    node->distinct = distinct;
    if (parse_accept2(p, "filter", "(")) {
        parse_expect(p, "where");
        node->filter = parse_expression(p);
        parse_expect(p, ")");
    }
    if (parse_accept(p, "over")) node->over = parse_over(p);
    return p->err ? NULL : node;
}

/* Functions that the standard has without brackets. */
static const char *const bare_calls[][2] = {
    {"current_user", "current_user"},     {"session_user", "session_user"},
    {"current_role", "current_user"},     {"current_catalog", "current_database"},
    {"current_schema", "current_schema"}, {"current_timestamp", "now"},
};

static struct ast *parse_name_or_call(struct parser *p)
{
    int32_t position = p->token.position;
    bool quoted = p->token.kind == TOKEN_QUOTED;
    struct str name = parse_name(p, "an expression"), qualifier = {"", 0}, schema = {"", 0};
    if (!quoted && parse_is(p, "(")) return parse_call(p, name, position);
    if (parse_is(p, ".") && !parse_next_is(p, "*")) {
        parse_advance(p);
        qualifier = name;
        quoted = p->token.kind == TOKEN_QUOTED;
        name = parse_name(p, "a column's name");
    }
    if (parse_is(p, ".") && !parse_next_is(p, "*")) { /* schema.table.column, alias.label.name */
        parse_advance(p);
        schema = qualifier;
        qualifier = name;
        quoted = p->token.kind == TOKEN_QUOTED;
        name = parse_name(p, "a column's name");
    }
    if (!quoted && qualifier.size > 0 && parse_is(p, "(")) return parse_call(p, name, position);
    for (size_t i = 0; !quoted && !qualifier.size && i < sizeof bare_calls / sizeof bare_calls[0];
         i++)
        if (str_is(name, bare_calls[i][0]))
            return new_call(p, bare_calls[i][1], position, (struct ast_list){0});
    struct ast *node = p->err ? NULL : new_node(p, AST_NAME, position);
    if (!node) return NULL;
    node->schema = schema;
    node->qualifier = qualifier;
    node->text = name;
    node->quoted = quoted;
    return node;
}

static bool is_row(const struct ast *tree)
{
    return tree && tree->kind == AST_CALL && str_is(tree->text, "row");
}

/* a = b; of rows each with each. */
static struct ast *new_comparison(struct parser *p, const char *name, int32_t position,
                                  struct ast *left, struct ast *right)
{
    bool equal = str_is(str_of(name), "="), differs = str_is(str_of(name), "<>");
    struct ast_list list = {0};
    if ((!is_row(left) && !is_row(right)) || p->err)
        return new_call2(p, name, position, left, right);
    if ((!equal && !differs) || !is_row(left) || !is_row(right) ||
        left->arg_count != right->arg_count)
        parse_fail(p, ERR_UNSUPPORTED, position,
                   "rows are compared by =, <> and IN, with rows of as many columns");
    for (size_t i = 0; !p->err && i < left->arg_count; i++)
        (void)parse_list_add(p, &list, new_call2(p, name, position, left->args[i], right->args[i]));
    return new_call(p, equal ? "and" : "or", position, list);
}

/* A sub-query in an expression, used as `use` says; `operand` is compared with its rows. */
static struct ast *parse_query_operand(struct parser *p, const char *use, int32_t position,
                                       struct ast *operand)
{
    struct ast_list list = {0};
    if (operand && !parse_list_add(p, &list, operand)) return NULL;
    struct ast_select *query = parse_bracket_query(p);
    struct ast *node = p->err ? NULL : new_call(p, use, position, list);
    if (!node) return NULL;
    node->kind = AST_QUERY;
    node->query = query;
    return node;
}

static struct ast *parse_bracket(struct parser *p)
{
    if (parse_is_query(p, false)) return parse_query_operand(p, "scalar", p->token.position, NULL);
    int32_t position = p->token.position;
    parse_advance(p);
    struct ast *inner = parse_expression(p);
    if (!parse_is(p, ",")) {
        parse_expect(p, ")");
        return inner;
    }
    struct ast_list list = {0}; /* (a, b): a row, to be compared with another one */
    if (!parse_list_add(p, &list, inner)) return NULL;
    parse_advance(p);
    parse_expressions(p, &list);
    parse_expect(p, ")");
    return new_call(p, "row", position, list);
}

static struct ast *parse_exists(struct parser *p)
{
    int32_t position = p->token.position;
    parse_advance(p);
    return parse_query_operand(p, "exists", position, NULL);
}

/* ARRAY[a, b] and ARRAY(query) */
static struct ast *parse_array(struct parser *p)
{
    int32_t position = p->token.position;
    struct ast_list list = {0};
    parse_advance(p);
    if (parse_is_query(p, false)) return parse_query_operand(p, "array", position, NULL);
    parse_expect(p, "[");
    if (!parse_is(p, "]")) parse_expressions(p, &list);
    parse_expect(p, "]");
    return new_call(p, "array", position, list);
}

/* -x and +x; a minus before a number belongs to the number, so that -9223372036854775808 can be
 * written. */
static struct ast *parse_sign(struct parser *p)
{
    bool minus = parse_is(p, "-");
    int32_t position = p->token.position;
    parse_advance(p);
    struct ast *operand = parse_level(p, LEVEL_SIGN);
    if (!minus || !operand) return operand;
    if (operand->kind == AST_LITERAL && operand->value.type == TYPE_UBIGINT &&
        operand->value.u == (uint64_t)INT64_MAX + 1) {
        operand->value = (struct value){.type = TYPE_BIGINT, .i = INT64_MIN};
        return operand;
    }
    return new_call2(p, "negate", position, operand, NULL);
}

static struct ast *parse_not(struct parser *p)
{
    int32_t position = p->token.position;
    parse_advance(p);
    struct ast *operand = parse_level(p, LEVEL_NOT);
    return new_call2(p, "not", position, operand, NULL);
}

/* What an expression can begin with when it begins with a certain word or symbol. */
static const struct {
    const char *word;
    bool before_string; /* only when a string follows */
    struct ast *(*parse)(struct parser *p);
} prefixes[] = {
    {"(", false, parse_bracket},
    {"-", false, parse_sign},
    {"+", false, parse_sign},
    {"not", false, parse_not},
    {"case", false, parse_case},
    {"null", false, parse_word_literal},
    {"true", false, parse_word_literal},
    {"false", false, parse_word_literal},
    {"interval", true, parse_prefixed_literal},
    {"timestamp", true, parse_prefixed_literal},
    {"timestamptz", true, parse_prefixed_literal},
};

static struct ast *parse_primary(struct parser *p)
{
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
        if (parse_is(p, prefixes[i].word) &&
            (!prefixes[i].before_string || p->next.kind == TOKEN_STRING))
            return prefixes[i].parse(p);
    if (parse_is(p, "cast") && parse_next_is(p, "(")) return parse_cast(p);
    if ((parse_is(p, "left") || parse_is(p, "right")) && parse_next_is(p, "(")) {
        const char *name = parse_is(p, "left") ? "left" : "right"; /* reserved for joins */
        int32_t position = p->token.position;
        parse_advance(p);
        return parse_call(p, str_of(name), position);
    }
    if (parse_is(p, "exists") && parse_next_is(p, "(")) return parse_exists(p);
    if (parse_is(p, "array") && (parse_next_is(p, "[") || parse_next_is(p, "(")))
        return parse_array(p);
    switch (p->token.kind) {
    case TOKEN_INTEGER:
    case TOKEN_DECIMAL:
    case TOKEN_DURATION: return parse_number(p);
    case TOKEN_STRING: return parse_text_literal(p);
    case TOKEN_PARAM: return parse_param(p);
    case TOKEN_NAME:
    case TOKEN_QUOTED: return parse_name_or_call(p);
    default: parse_fail_expected(p, "an expression"); return NULL;
    }
}

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
    return negated ? new_call2(p, "not", position, node, NULL) : node;
}

static struct ast *infix_is(struct parser *p, const struct infix *infix, struct ast *left)
{
    (void)infix;
    int32_t position = p->token.position;
    parse_advance(p);
    bool negated = parse_accept(p, "not");
    if (parse_accept2(p, "distinct", "from")) {
        struct ast *right = parse_level(p, LEVEL_COMPARE);
        return negate_if(p, negated, position, new_call2(p, "is distinct", position, left, right));
    }
    const char *name = parse_is(p, "true")    ? "is true"
                       : parse_is(p, "false") ? "is false"
                                              : "is null";
    if (parse_accept(p, "unknown"))
        return negate_if(p, negated, position, new_call2(p, "is null", position, left, NULL));
    if (!parse_is(p, "null") && !parse_is(p, "true") && !parse_is(p, "false"))
        parse_fail_expected(p, "\"NULL\", \"NOT NULL\", \"TRUE\" or \"FALSE\"");
    parse_advance(p);
    return negate_if(p, negated, position, new_call2(p, name, position, left, NULL));
}

static struct ast *infix_between(struct parser *p, const struct infix *infix, struct ast *left)
{
    int32_t position = p->token.position;
    bool negated = parse_accept(p, "not");
    parse_expect(p, "between");
    struct ast *low = parse_level(p, infix->right_level);
    parse_expect(p, "and");
    struct ast *high = parse_level(p, infix->right_level);
    struct ast *from = new_call2(p, ">=", position, left, low),
               *to = new_call2(p, "<=", position, left, high);
    return negate_if(p, negated, position, new_call2(p, "and", position, from, to));
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
    if (is_row(left)) {
        struct ast_list any = {0};
        for (size_t i = 1; !p->err && i < list.count; i++)
            (void)parse_list_add(p, &any, new_comparison(p, "=", position, left, list.items[i]));
        return negate_if(p, negated, position,
                         any.count == 1 ? any.items[0] : new_call(p, "or", position, any));
    }
    return negate_if(p, negated, position, new_call(p, "in", position, list));
}

static struct ast *infix_like(struct parser *p, const struct infix *infix, struct ast *left)
{
    int32_t position = p->token.position;
    bool negated = parse_accept(p, "not"), folded = parse_is(p, "ilike");
    parse_advance(p);
    struct ast *pattern = parse_level(p, infix->right_level);
    return negate_if(p, negated, position,
                     new_call2(p, folded ? "ilike" : "like", position, left, pattern));
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
    return new_call2(p, "subscript", position, left, n);
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
    return new_call2(p, meant->name, position, left, right);
}

/* time AT TIME ZONE 'Asia/Shanghai' */
static struct ast *infix_at(struct parser *p, const struct infix *infix, struct ast *left)
{
    int32_t position = p->token.position;
    parse_advance(p);
    parse_expect(p, "time");
    parse_expect(p, "zone");
    struct ast *zone = parse_level(p, infix->right_level);
    return new_call2(p, "timezone", position, zone, left);
}

/* "a AND b AND c" is one call with three arguments: long chains stay shallow. */
static struct ast *infix_chain(struct parser *p, const struct infix *infix, struct ast *left)
{
    int32_t position = p->token.position;
    struct ast_list list = {0};
    if (!parse_list_add(p, &list, left)) return NULL;
    while (parse_accept(p, infix->symbol))
        if (!parse_list_add(p, &list, parse_level(p, infix->right_level))) return NULL;
    return new_call(p, infix->name, position, list);
}

static const struct infix infixes[] = {
    {"or", LEVEL_OR, LEVEL_OR, "or", infix_chain},
    {"and", LEVEL_AND, LEVEL_AND, "and", infix_chain},
    {"is", LEVEL_IS, LEVEL_IS, "", infix_is},
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
                                new_call2(p, infix->name, position, left, array->args[i])))
                return NULL;
        struct ast *none = new_node(p, AST_LITERAL, position);
        if (!none || (list.count == 0 && !parse_list_add(p, &list, none))) return NULL;
        none->value = (struct value){.type = TYPE_BOOL, .b = all};
        return list.count == 1 ? list.items[0] : new_call(p, all ? "and" : "or", position, list);
    }
    if (equal && !all) return new_call2(p, "= any", position, left, array);
    if (differs && all)
        return negate_if(p, true, position, new_call2(p, "= any", position, left, array));
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
    return new_comparison(p, calendar_name(infix->name, right), position, left, right);
}

static struct ast *parse_level(struct parser *p, int level)
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
