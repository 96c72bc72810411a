/* parse_expand.c - information_schema._pg_expandarray(i.indkey), with which PostgreSQL's own views,
 * JDBC and what descends from it ask for the columns of a key.
 *
 * There it is a function that gives many rows, each a pair (x, n): the item and its number. Here no
 * value is a pair and no function of a select list gives many rows; so the query is rewritten while
 * it is parsed, into what means the same:
 *     SELECT …, (_pg_expandarray(a)).n, _pg_expandarray(a) AS keys FROM f WHERE c
 *     SELECT …, e.n, ARRAY[split_part(a, ' ', e.n), e.n] AS keys
 *     FROM f, generate_series(1, 32) e(n) WHERE c AND split_part(a, ' ', e.n) <> ''
 * and (keys).x, (keys).n of a query around it take the items of that array. 32 is INDEX_MAX_KEYS, a
 * bound of every key; the argument is indkey and nothing else. SQLAlchemy, and with it pandas,
 * asks by unnest(indkey) and generate_subscripts(indkey, 1), which are x and n. */
#include "sql/parse_priv.h"

enum { INDEX_MAX_KEYS = 32 };
#define EXPANDED "?expand" /* alias of the numbers: no name that can be written without quotes */

bool parse_is_expand(const struct ast *tree)
{
    return tree && tree->kind == AST_CALL && str_is(tree->text, "_pg_expandarray");
}

static struct ast *new_number(struct parser *p, int32_t position)
{
    struct ast *node = parse_node(p, AST_NAME, position);
    if (!node) return NULL;
    node->schema = STR("");
    node->qualifier = STR(EXPANDED);
    node->text = STR("n");
    return node;
}

static struct ast *new_text(struct parser *p, struct str text, int32_t position)
{
    struct ast *node = parse_node(p, AST_LITERAL, position);
    if (node) node->value = (struct value){.type = TYPE_TEXT, .s = text};
    return node;
}

/* split_part(array, ' ', n) */
static struct ast *new_element(struct parser *p, struct ast *array, int32_t position)
{
    struct ast_list list = {0};
    if (!parse_list_add(p, &list, array) ||
        !parse_list_add(p, &list, new_text(p, STR(" "), position)) ||
        !parse_list_add(p, &list, new_number(p, position)))
        return NULL;
    return parse_new_call(p, "split_part", position, list);
}

/* Notes the array for parse_expand_rows. False after an error. */
static bool note(struct parser *p, const struct ast *call)
{
    struct ast *array = call->arg_count > 0 ? call->args[0] : NULL;
    if (!array || array->kind != AST_NAME || !str_is(array->text, "indkey")) {
        parse_fail(p, ERR_UNSUPPORTED, call->position,
                   "%.*s in a select list takes the column indkey of pg_index only; unnest in FROM "
                   "takes any array",
                   (int)call->text.size, call->text.at);
        return false;
    }
    if (p->expanded && !str_equal(p->expanded->qualifier, array->qualifier)) {
        parse_fail(p, ERR_UNSUPPORTED, call->position,
                   "the keys of one index only in a select list");
        return false;
    }
    p->expanded = array;
    return true;
}

/* What stands for the call as a whole: a pair, as an array. */
static struct ast *expand_whole(struct parser *p, struct ast *call)
{
    struct ast_list list = {0};
    if (p->err || !note(p, call)) return NULL;
    if (!parse_list_add(p, &list, new_element(p, call->args[0], call->position)) ||
        !parse_list_add(p, &list, new_number(p, call->position)))
        return NULL;
    return parse_new_call(p, "array", call->position, list);
}

struct ast *parse_expand_item(struct parser *p, struct ast *call)
{
    bool is_call = call && call->kind == AST_CALL && !call->over && !call->filter;
    if (is_call && parse_is_expand(call)) return expand_whole(p, call);
    if (is_call && str_is(call->text, "unnest"))
        return note(p, call) ? parse_new_cast(p, new_element(p, call->args[0], call->position),
                                              TYPE_BIGINT, call->position)
                             : NULL;
    if (!is_call || !str_is(call->text, "generate_subscripts")) return call;
    return note(p, call) ? new_number(p, call->position) : NULL;
}

struct ast *parse_field(struct parser *p, struct ast *pair)
{
    int32_t position = p->token.position;
    struct str name = parse_name(p, "a field's name");
    bool is_item = str_is(name, "x");
    if (!p->err && !is_item && !str_is(name, "n"))
        parse_fail(p, ERR_UNSUPPORTED, position,
                   "there are no values with fields, but the x and n of _pg_expandarray");
    if (p->err || !pair) return NULL;
    if (!parse_is_expand(pair)) {
        struct ast *item =
            parse_new_call2(p, "subscript", position, pair, parse_integer(p, is_item ? 1 : 2));
        return parse_new_cast(p, item, TYPE_BIGINT, position);
    }
    if (!note(p, pair)) return NULL;
    if (!is_item) return new_number(p, position);
    return parse_new_cast(p, new_element(p, pair->args[0], position), TYPE_BIGINT, position);
}

/* generate_series(1, 32) AS "?expand"(n) */
static struct ast_from *new_numbers(struct parser *p, int32_t position)
{
    struct ast_from *from = parse_zero(p, 1, sizeof *from);
    struct ast_select *query = parse_zero(p, 1, sizeof *query);
    struct ast_list *row = parse_zero(p, 1, sizeof *row);
    struct str *name = parse_zero(p, 1, sizeof *name);
    struct ast *call = parse_new_call2(p, "generate_series", position, parse_integer(p, 1),
                                       parse_integer(p, INDEX_MAX_KEYS));
    if (!from || !query || !row || !name || !call || !parse_list_add(p, row, call)) return NULL;
    *query = (struct ast_select){.kind = SELECT_VALUES,
                                 .is_function = true,
                                 .position = position,
                                 .row_count = 1,
                                 .rows = row};
    *name = STR("n");
    *from =
        (struct ast_from){.kind = AST_FROM_QUERY,
                          .position = position,
                          .depth = 1,
                          .relation = {.schema = STR(""), .name = STR(""), .alias = STR(EXPANDED)},
                          .columns = {name, 1, 1},
                          .query = query};
    from->relation.position = position;
    return from;
}

void parse_expand_rows(struct parser *p, struct ast_select *select)
{
    struct ast *array = p->expanded;
    if (p->err || !array) return;
    if (!select->from || select->group_by.count > 0) {
        parse_fail(p, ERR_UNSUPPORTED, array->position,
                   "this stands in the select list of a query of pg_index without GROUP BY");
        return;
    }
    int32_t position = array->position;
    struct ast *is_there = parse_new_call2(p, "<>", position, new_element(p, array, position),
                                           new_text(p, STR(""), position));
    struct ast_from join = {.position = position, .join = JOIN_CROSS};
    select->from = parse_new_join(p, select->from, new_numbers(p, position), join);
    select->where =
        select->where ? parse_new_call2(p, "and", position, select->where, is_there) : is_there;
}
