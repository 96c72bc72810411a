/* bind_expr.c - literals and trees; what a name means is bind_name.c's, what a call means
 * bind_call.c's. */
#include "sql/bind_priv.h"
#include "sql/over.h"
#include "sql/series.h"
#include <stdio.h>
#include <string.h>

void *bind_fail(struct binder *b, enum err err, int32_t position, const char *format, ...)
{
    if (b->err) return NULL;
    char text[WHY_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    b->err = why_at(b->why, err, position, "%s", text);
    return NULL;
}

void *bind_memory(struct binder *b, void *memory)
{
    if (!memory && !b->err) b->err = expr_no_memory(b->context->budget, b->why);
    return memory;
}

bool bind_grow(struct binder *b, void *items_pointer, size_t count, size_t *capacity,
               size_t item_bytes)
{
    if (count < *capacity) return true;
    size_t next = *capacity ? *capacity * 2 : 8;
    void *old, *grown = bind_memory(b, arena_zero(b->arena, next, item_bytes));
    if (!grown) return false;
    memcpy(&old, items_pointer, sizeof old);
    if (count) memcpy(grown, old, count * item_bytes);
    memcpy(items_pointer, &grown, sizeof grown);
    *capacity = next;
    return true;
}

bool bind_deeper(struct binder *b, int levels, int32_t position)
{
    if (!b->plans) return true; /* one expression without queries: the parser's bound is enough */
    b->plans->depth += levels;
    if (levels > 0 && b->plans->depth > PLANS_DEPTH_MAX)
        bind_fail(b, ERR_LIMIT, position,
                  "queries and expressions stand too deep inside each other here; split the "
                  "statement");
    return !b->err;
}

/* ---- trees ---- */

enum { BIND_STEPS = 256 }; /* what a node costs: some microseconds */

static struct expr *bind_literal(struct binder *b, const struct ast *tree)
{
    struct expr *e = bind_memory(b, expr_constant(b->arena, &tree->value, tree->position));
    if (!e) return NULL;
    e->is_literal = true;
    e->is_duration = tree->is_duration && tree->value.type == TYPE_BIGINT;
    return e;
}

static struct expr *bind_param(struct binder *b, const struct ast *tree)
{
    if (tree->value.i > (int64_t)b->context->param_count)
        return bind_fail(b, ERR_INVALID, tree->position,
                         "$%lld: the statement was given %zu parameters", (long long)tree->value.i,
                         b->context->param_count);
    struct expr *e = bind_memory(
        b, expr_constant(b->arena, &b->context->params[tree->value.i - 1], tree->position));
    if (!e) return NULL;
    e->is_literal = true;
    e->param = (uint16_t)tree->value.i;
    if (b->context->param_types) b->context->param_types[e->param - 1] = e->type;
    return e;
}

static struct expr *bind_tree_call(struct binder *b, const struct ast *tree)
{
    bool is_fill;
    if (tree->over && !tree->filter) return bind_over(b, tree);
    struct expr *fill = bind_fill_call(b, tree, &is_fill);
    if (is_fill) return fill;
    bool of_rows = b->place == PLACE_ROW || b->place == PLACE_AGGREGATE;
    if (series_exists(tree->text) && (of_rows || !aggregate_exists(tree->text)))
        return bind_series(b, tree);
    if (aggregate_exists(tree->text)) return bind_aggregate(b, tree);
    if (str_is(tree->text, "quality")) return bind_quality_call(b, tree);
    if (bind_window_name(tree) != NOT_A_WINDOW_NAME) { /* eKuiper's window_start() */
        struct ast name = {.kind = AST_NAME,
                           .position = tree->position,
                           .text = tree->text,
                           .qualifier = STR(""),
                           .schema = STR("")};
        return bind_name(b, &name);
    }
    if (over_find(tree->text))
        return bind_fail(b, ERR_SYNTAX, tree->position, "%.*s wants OVER (…) behind it",
                         (int)tree->text.size, tree->text.at);
    if (tree->filter)
        return bind_fail(b, ERR_SYNTAX, tree->position, "FILTER belongs to aggregates only");
    if (tree->distinct)
        return bind_fail(b, ERR_SYNTAX, tree->position, "DISTINCT belongs into aggregates only");
    struct expr **args = bind_memory(b, arena_zero(b->arena, tree->arg_count, sizeof *args));
    for (size_t i = 0; args && i < tree->arg_count; i++) {
        if (tree->args[i]->kind == AST_STAR)
            return bind_fail(b, ERR_SYNTAX, tree->args[i]->position,
                             "\"*\" is an argument of count only");
        args[i] = bind_expr(b, tree->args[i]);
        if (!args[i]) return NULL;
    }
    if (!args) return NULL;
    char name[64];
    (void)str_copy(name, sizeof name, tree->text);
    return bind_call(b, name, args, tree->arg_count, tree->position);
}

static struct expr *bind_tree(struct binder *b, const struct ast *tree)
{
    if (b->place == PLACE_GROUP && tree->kind != AST_LITERAL) {
        int key = bind_find_key(b, tree);
        if (key >= 0) {
            const struct expr *from = b->plan->keys[key].expr;
            struct expr *e =
                bind_memory(b, expr_input(b->arena, (uint32_t)key, from->type, tree->position));
            if (!e) return NULL;
            e->is_duration = from->is_duration;
            e->unit = from->unit;
            return e;
        }
    }
    switch (tree->kind) {
    case AST_LITERAL: return bind_literal(b, tree);
    case AST_PARAM: return bind_param(b, tree);
    case AST_NAME: {
        /* The standard's `user`, unless a column is called so. */
        bool is_user = !tree->quoted && tree->qualifier.size == 0 && str_is(tree->text, "user") &&
                       !(b->plan && bind_has_name(b, tree->text));
        return is_user ? bind_call(b, "current_user", NULL, 0, tree->position) : bind_name(b, tree);
    }
    case AST_STAR:
        return bind_fail(b, ERR_SYNTAX, tree->position,
                         "\"*\" stands alone in a select list or in count(*)");
    case AST_CALL: return bind_tree_call(b, tree);
    case AST_QUERY: return bind_subquery(b, tree);
    case AST_CAST: {
        struct expr *from = bind_expr(b, tree->args[0]);
        return from ? bind_cast(b, from, tree->type, tree->position) : NULL;
    }
    }
    return NULL;
}

struct expr *bind_expr(struct binder *b, const struct ast *tree)
{
    if (b->err || !tree) return NULL;
    b->err = eval_spend(&b->eval, BIND_STEPS);
    if (b->err || !bind_deeper(b, 1, tree->position)) return NULL;
    struct expr *e = bind_tree(b, tree);
    bind_deeper(b, -1, tree->position);
    return e;
}

struct expr *bind_condition(struct binder *b, const struct ast *tree, const char *where)
{
    struct expr *e = bind_expr(b, tree);
    if (!e) return NULL;
    if (bind_convert_cost(e, 'b') < 0)
        return bind_fail(b, ERR_TYPE, tree->position, "%s wants a condition, this is %s", where,
                         bind_type_text(e));
    return bind_convert(b, e, 'b');
}
