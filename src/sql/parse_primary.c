/* parse_primary.c - what operators bind: literals, names, calls and the special forms that look
 * like them (CASE, CAST, EXTRACT…), queries in brackets; and the making of nodes.
 *
 * parse_expr.c asks for one such operand at a time and joins them by precedence. */
#include "sql/grid.h"
#include "sql/parse_priv.h"
#include "base/num.h"
#include "base/timetext.h"

/* ---- making nodes ---- */

struct ast *parse_node(struct parser *p, enum ast_kind kind, int32_t position)
{
    struct ast *node = parse_zero(p, 1, sizeof *node);
    if (!node) return NULL;
    node->kind = kind;
    node->position = position;
    node->depth = node->weight = 1;
    return node;
}

/* What hangs on a node: how deep, how heavy. */
static void hang_on(struct ast *node, const struct ast *child, int64_t *weight)
{
    if (!child) return;
    if (child->depth >= node->depth) node->depth = child->depth + 1;
    *weight += child->weight;
}

/* Sets depth and weight of a call whose parts are all there. */
static void weigh(struct parser *p, struct ast *node)
{
    const struct ast_over *over = node->over;
    int64_t weight = 1;
    for (size_t i = 0; i < node->arg_count; i++) hang_on(node, node->args[i], &weight);
    hang_on(node, node->filter, &weight);
    for (size_t i = 0; over && i < over->partition_by.count; i++)
        hang_on(node, over->partition_by.items[i], &weight);
    for (size_t i = 0; over && i < over->order_count; i++)
        hang_on(node, over->order[i].tree, &weight);
    if (node->depth > AST_DEPTH_MAX)
        parse_fail(p, ERR_LIMIT, node->position,
                   "this expression is more than %d levels deep; use IN (…) or split it",
                   AST_DEPTH_MAX);
    if (weight > AST_WEIGHT_MAX)
        parse_fail(p, ERR_LIMIT, node->position,
                   "this expression is too large: BETWEEN, CASE x WHEN and ANY repeat what stands "
                   "before them; compute that in a query: FROM (SELECT … AS x)");
    else
        node->weight = (int32_t)weight;
}

/* A call that takes over the list; NULL after an error. */
struct ast *parse_new_call(struct parser *p, const char *name, int32_t position,
                           struct ast_list list)
{
    if (p->err) return NULL;
    struct ast *node = parse_node(p, AST_CALL, position);
    if (!node) return NULL;
    node->text = str_of(name);
    node->args = list.items;
    node->arg_count = list.count;
    weigh(p, node);
    return node;
}

struct ast *parse_new_call2(struct parser *p, const char *name, int32_t position, struct ast *a,
                            struct ast *b)
{
    struct ast_list list = {0};
    if (p->err || !parse_list_add(p, &list, a) || (b && !parse_list_add(p, &list, b))) return NULL;
    return parse_new_call(p, name, position, list);
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
    struct ast *node = parse_node(p, AST_LITERAL, p->token.position);
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
    struct ast *node = parse_node(p, AST_LITERAL, p->token.position);
    struct str text = parse_string(p, "a string");
    if (!node || p->err) return NULL;
    node->value = (struct value){.type = TYPE_TEXT, .s = text};
    return node;
}

static struct ast *parse_param(struct parser *p)
{
    struct ast *node = parse_node(p, AST_PARAM, p->token.position);
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
    struct ast *node = parse_node(p, AST_LITERAL, p->token.position);
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
    struct ast *node = parse_node(p, AST_LITERAL, p->token.position);
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
    struct ast *node = parse_node(p, AST_LITERAL, p->token.position);
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
        if (operand) when = parse_new_call2(p, "=", at, operand, when);
        parse_expect(p, "then");
        if (!parse_list_add(p, &list, when) || !parse_list_add(p, &list, parse_expression(p)))
            return NULL;
    }
    if (parse_accept(p, "else") && !parse_list_add(p, &list, parse_expression(p))) return NULL;
    parse_expect(p, "end");
    return parse_new_call(p, "case", position, list);
}

struct ast *parse_new_cast(struct parser *p, struct ast *from, enum type type, int32_t position)
{
    struct ast_list list = {0};
    if (!parse_list_add(p, &list, from)) return NULL;
    struct ast *node = parse_new_call(p, "cast", position, list);
    if (!node) return NULL;
    node->kind = AST_CAST;
    node->type = type;
    return node;
}

/* PostgreSQL's regclass and its like are functions here: from a name to a number and back. */
static const char *const reg_types[] = {"regclass", "regtype", "regproc", "regnamespace",
                                        "regrole"};

/* The type of a cast and the cast itself; the current token is the type's. */
struct ast *parse_cast_type(struct parser *p, struct ast *from, int32_t position)
{
    if (parse_is(p, "pg_catalog") && parse_next_is(p, ".")) {
        parse_advance(p);
        parse_advance(p);
    }
    for (size_t i = 0; i < sizeof reg_types / sizeof reg_types[0]; i++) {
        if (!parse_accept(p, reg_types[i])) continue;
        struct ast_list list = {0};
        return parse_list_add(p, &list, from) ? parse_new_call(p, reg_types[i], position, list)
                                              : NULL;
    }
    enum type type = parse_type(p);
    return p->err ? NULL : parse_new_cast(p, from, type, position);
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
    struct ast *part = parse_node(p, AST_LITERAL, p->token.position);
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

/* trim([BOTH | LEADING | TRAILING] [characters] FROM text): the functions take the text first. */
static void args_trim(struct parser *p, struct ast_list *list)
{
    struct ast *first = parse_is(p, "from") ? NULL : parse_expression(p);
    bool from = parse_accept(p, "from");
    if (from && !parse_list_add(p, list, parse_expression(p))) return;
    if (first && !parse_list_add(p, list, first)) return;
    if (!from && parse_accept(p, ",")) parse_expressions(p, list);
}

static const char *trim_name(struct parser *p)
{
    if (parse_accept(p, "leading")) return "ltrim";
    if (parse_accept(p, "trailing")) return "rtrim";
    (void)parse_accept(p, "both");
    return "trim";
}

static const struct {
    const char *name;
    void (*parse)(struct parser *p, struct ast_list *list);
} worded[] = {{"extract", args_extract},
              {"position", args_position},
              {"substring", args_substring},
              {"trim", args_trim}};

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
        if (!parse_list_add(p, &list, parse_node(p, AST_STAR, p->token.position))) return NULL;
        parse_advance(p);
    } else if (!parse_is(p, ")")) {
        distinct = parse_accept(p, "distinct");
        const char *trimming = str_is(name, "trim") ? trim_name(p) : NULL;
        parse_arguments(p, name, &list);
        if (trimming) name = str_of(trimming);
    }
    if (parse_is(p, "order"))
        parse_fail(
            p, ERR_UNSUPPORTED, p->token.position,
            "ORDER BY inside %.*s(…) is not in this version; sort in a query: FROM (SELECT … "
            "ORDER BY …) AS q",
            (int)name.size, name.at);
    if (!parse_is(p, ")")) parse_fail_expected(p, "\",\" or \")\"");
    parse_advance(p);
    if (parse_accept2(p, "within", "group")) parse_within(p, &list);
    struct ast *node = parse_new_call(p, name.at, position, list);
    if (!node) return NULL;
    node->distinct = distinct;
    if (parse_accept2(p, "filter", "(")) {
        parse_expect(p, "where");
        node->filter = parse_expression(p);
        parse_expect(p, ")");
    }
    if (parse_accept(p, "over")) node->over = parse_over(p);
    if (!p->err) weigh(p, node);
    return p->err ? NULL : node;
}

struct ast *parse_call_of(struct parser *p, struct str name, int32_t position)
{
    return parse_call(p, name, position);
}

/* Functions that the standard has without brackets. */
static const char *const bare_calls[][2] = {
    {"current_user", "current_user"},     {"session_user", "session_user"},
    {"current_role", "current_user"},     {"current_catalog", "current_database"},
    {"current_schema", "current_schema"}, {"current_timestamp", "now"},
};

/* Tools quote names of functions, too: "substring"(s, 2). Operators and special forms are calls
 * here whose names cannot be written; they stay so. */
static bool may_call(struct str name, bool quoted)
{
    for (size_t i = 0; quoted && i < name.size; i++) {
        char c = name.at[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '_') return false;
    }
    return !quoted || !parse_is_keyword(name);
}

static struct ast *parse_name_or_call(struct parser *p)
{
    int32_t position = p->token.position;
    bool quoted = p->token.kind == TOKEN_QUOTED;
    struct str name = parse_name(p, "an expression"), qualifier = {"", 0}, schema = {"", 0};
    if (may_call(name, quoted) && parse_is(p, "(")) return parse_call(p, name, position);
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
    if (may_call(name, quoted) && qualifier.size > 0 && parse_is(p, "("))
        return parse_call(p, name, position);
    for (size_t i = 0; !quoted && !qualifier.size && i < sizeof bare_calls / sizeof bare_calls[0];
         i++)
        if (str_is(name, bare_calls[i][0]))
            return parse_new_call(p, bare_calls[i][1], position, (struct ast_list){0});
    struct ast *node = p->err ? NULL : parse_node(p, AST_NAME, position);
    if (!node) return NULL;
    node->schema = schema;
    node->qualifier = qualifier;
    node->text = name;
    node->quoted = quoted;
    return node;
}

bool parse_is_row(const struct ast *tree)
{
    return tree && tree->kind == AST_CALL && str_is(tree->text, "row");
}

/* a = b; of rows each with each. */
struct ast *parse_comparison(struct parser *p, const char *name, int32_t position, struct ast *left,
                             struct ast *right)
{
    bool equal = str_is(str_of(name), "="), differs = str_is(str_of(name), "<>");
    struct ast_list list = {0};
    if ((!parse_is_row(left) && !parse_is_row(right)) || p->err)
        return parse_new_call2(p, name, position, left, right);
    if ((!equal && !differs) || !parse_is_row(left) || !parse_is_row(right) ||
        left->arg_count != right->arg_count)
        parse_fail(p, ERR_UNSUPPORTED, position,
                   "rows are compared by =, <> and IN, with rows of as many columns");
    for (size_t i = 0; !p->err && i < left->arg_count; i++)
        (void)parse_list_add(p, &list,
                             parse_new_call2(p, name, position, left->args[i], right->args[i]));
    return parse_new_call(p, equal ? "and" : "or", position, list);
}

/* A sub-query in an expression, used as `use` says; `operand` is compared with its rows. */
struct ast *parse_query_operand(struct parser *p, const char *use, int32_t position,
                                struct ast *operand)
{
    struct ast_list list = {0};
    if (operand && !parse_list_add(p, &list, operand)) return NULL;
    struct ast_select *query = parse_bracket_query(p);
    struct ast *node = p->err ? NULL : parse_new_call(p, use, position, list);
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
        if (!parse_accept(p, ".")) return inner;
        return p->err ? NULL : parse_field(p, inner);
    }
    struct ast_list list = {0}; /* (a, b): a row, to be compared with another one */
    if (!parse_list_add(p, &list, inner)) return NULL;
    parse_advance(p);
    parse_expressions(p, &list);
    parse_expect(p, ")");
    return parse_new_call(p, "row", position, list);
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
    return parse_new_call(p, "array", position, list);
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
    return parse_new_call2(p, "negate", position, operand, NULL);
}

static struct ast *parse_not(struct parser *p)
{
    int32_t position = p->token.position;
    parse_advance(p);
    struct ast *operand = parse_level(p, LEVEL_NOT);
    return parse_new_call2(p, "not", position, operand, NULL);
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

struct ast *parse_primary(struct parser *p)
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
