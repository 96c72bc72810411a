/* bind_series.c - calls of functions that follow the rows of a device (series.h): each becomes one
 * more input, filled by op_series.c. */
#include "sql/bind_priv.h"
#include "sql/series.h"
#include <string.h>

static const struct series_function *find(struct str name, const struct expr *arg, size_t params)
{
    size_t count;
    const struct series_function *table = series_table(&count), *best = NULL;
    int best_cost = -1;
    for (size_t i = 0; i < count; i++) {
        size_t constants = strlen(table[i].args) > 1 ? strlen(table[i].args) - 2 : 0;
        if (!str_is(name, table[i].name) || constants != params) continue;
        int cost = bind_convert_cost(arg, table[i].args[0]);
        if (cost >= 0 && (best_cost < 0 || cost < best_cost)) best = &table[i], best_cost = cost;
    }
    return best;
}

static const char *example_of(struct str name)
{
    size_t count;
    const struct series_function *table = series_table(&count);
    for (size_t i = 0; i < count; i++)
        if (str_is(name, table[i].name)) return table[i].example;
    return "";
}

static bool is_good_param(char letter, const struct value *v)
{
    if (v->is_null) return false;
    if (letter == 'D') return v->i > 0;
    return letter == 'i' ? v->i >= 1 && v->i <= SERIES_WINDOW_MAX : v->d > 0 && v->d <= 1;
}

static const struct value *bind_param(struct binder *b, const struct series_function *f,
                                      const struct ast *tree)
{
    char letter = f->args[2];
    struct expr *e = bind_expr(b, tree);
    if (e && bind_convert_cost(e, letter) >= 0) e = bind_convert(b, e, letter);
    if (!e) return NULL;
    struct value *value = bind_memory(b, arena_zero(b->arena, 1, sizeof *value));
    if (value && e->kind == EXPR_CONST && e->type == function_letter_type(letter)) {
        *value = expr_value(e);
        if (is_good_param(letter, value)) return value;
    }
    return bind_fail(b, ERR_INVALID, tree->position, "%s wants %s here; for example: %s", f->name,
                     letter == 'D'   ? "a unit of time such as 1s, 1m"
                     : letter == 'i' ? "a number of rows from 1 to 10000"
                                     : "a share above 0, up to 1",
                     f->example);
}

static struct expr *add_call(struct binder *b, const struct series_call *call, int32_t position)
{
    struct plan *plan = b->plan;
    enum type type = function_letter_type(call->function->result);
    if (!bind_grow(b, &plan->series, plan->series_count, &plan->series_capacity,
                   sizeof *plan->series))
        return NULL;
    struct expr *e = bind_made_input(b, INPUT_SERIES, type, (uint32_t)plan->series_count, position);
    if (!e) return NULL;
    e->is_duration = call->function->result == 'D';
    plan->inputs[e->input].name = call->function->name;
    plan->series[plan->series_count] = *call;
    plan->series[plan->series_count++].input = e->input;
    return e;
}

static struct expr *fail_place(struct binder *b, const struct ast *tree)
{
    int size = (int)tree->text.size;
    if (b->in_where)
        return bind_fail(
            b, ERR_GROUPING, tree->position,
            "%.*s follows the rows that WHERE leaves, so it cannot stand in WHERE: SELECT … FROM (SELECT time, %.*s(…) AS d FROM …) AS q WHERE d > …",
            size, tree->text.at, size, tree->text.at);
    return bind_fail(
        b, ERR_GROUPING, tree->position,
        "%.*s works row by row: put it inside an aggregate, max(%.*s(…)), or leave the groups out",
        size, tree->text.at, size, tree->text.at);
}

struct expr *bind_series(struct binder *b, const struct ast *tree)
{
    bool row = b->place == PLACE_ROW || b->place == PLACE_AGGREGATE;
    if (!row || b->in_where) return fail_place(b, tree);
    if (b->plan->from != FROM_TABLE && b->plan->from != FROM_QUERY)
        return bind_fail(b, ERR_UNSUPPORTED, tree->position,
                         "%.*s follows the rows of one table; put the join into a sub-query",
                         (int)tree->text.size, tree->text.at);
    struct expr *arg = tree->arg_count > 0 ? bind_expr(b, tree->args[0]) : NULL;
    if (b->err) return NULL;
    const struct series_function *f = arg ? find(tree->text, arg, tree->arg_count - 1) : NULL;
    if (!f)
        return bind_fail(b, ERR_TYPE, tree->position, "%.*s does not take this; for example: %s",
                         (int)tree->text.size, tree->text.at, example_of(tree->text));
    struct series_call call = {.function = f, .arg = bind_convert(b, arg, f->args[0])};
    if (tree->arg_count > 1 && !b->err) call.params = bind_param(b, f, tree->args[1]);
    if (f->needs_time && !b->err && !bind_has_name(b, STR("time")))
        return bind_fail(b, ERR_UNSUPPORTED, tree->position, "%s needs rows with a column time",
                         f->name);
    call.time =
        f->needs_time && !b->err ? bind_input(b, INPUT_TIME, NULL, NULL, tree->position) : NULL;
    if (b->plan->from == FROM_TABLE) b->plan->request.want_time = true;
    return b->err ? NULL : add_call(b, &call, tree->position);
}
