/* bind_window.c - windows, their bounds, FILL.
 *
 * A tumbling window is nothing but one more key of the group, a call of time_bucket; so all its
 * spellings and GROUP BY time_bucket(…) are the same plan. The other kinds number the rows first
 * (op_window.c) and group by that number; their bounds are the least and greatest time in the
 * group. HOP numbers by the window's start, so its groups carry their bounds themselves. */
#include "sql/bind_priv.h"
#include <stdio.h>
#include <string.h>

enum { HOP_CELLS_MAX = 10000, NESTED_CELLS_MAX = 100 };

/* ---- names ---- */

static const struct {
    const char *name;
    enum window_name part;
} names[] = {
    {"window_start", WINDOW_NAME_START},       {"_wstart", WINDOW_NAME_START},
    {"window_end", WINDOW_NAME_END},           {"_wend", WINDOW_NAME_END},
    {"window_duration", WINDOW_NAME_DURATION}, {"_wduration", WINDOW_NAME_DURATION},
};

enum window_name bind_window_name(const struct ast *tree)
{
    bool bare = tree->kind == AST_NAME ? tree->qualifier.size == 0
                                       : tree->kind == AST_CALL && tree->arg_count == 0;
    for (size_t i = 0; bare && i < sizeof names / sizeof names[0]; i++)
        if (str_is(tree->text, names[i].name)) return names[i].part;
    return NOT_A_WINDOW_NAME;
}

/* ---- calls over a grid ---- */

static struct expr *duration_constant(struct binder *b, int64_t ns, int32_t position)
{
    struct value value = {.type = TYPE_BIGINT, .i = ns};
    struct expr *e = bind_memory(b, expr_constant(b->arena, &value, position));
    if (e) e->is_duration = true;
    return e;
}

static struct expr *text_constant(struct binder *b, struct str text, int32_t position)
{
    struct value value = {.type = TYPE_TEXT, .s = text};
    return bind_memory(b, expr_constant(b->arena, &value, position));
}

/* `name`(width, time [, zone] [, offset]): time_bucket or time_bucket_end of this grid. */
static struct expr *grid_call(struct binder *b, const char *name, const struct time_grid *grid,
                              struct expr *time, int32_t position)
{
    struct expr **args = bind_memory(b, arena_zero(b->arena, 4, sizeof *args));
    size_t count = 2;
    if (!args || !time) return NULL;
    int64_t offset = grid->offset_ns;
    if (grid->months > 0) {
        char text[32];
        int size = snprintf(text, sizeof text, "%d months", (int)grid->months);
        const char *copy = bind_memory(b, arena_strdup(b->arena, text, (size_t)size));
        args[0] = copy ? text_constant(b, str_of(copy), position) : NULL;
    } else {
        args[0] = duration_constant(b, grid->width_ns, position);
        offset -= grid_of_width(grid->width_ns).offset_ns;
    }
    args[1] = time;
    if (grid->zone_name.size > 0) args[count++] = text_constant(b, grid->zone_name, position);
    if (offset != 0) args[count++] = duration_constant(b, offset, position);
    return b->err ? NULL : bind_call(b, name, args, count, position);
}

/* The grid with the window's zone and offset. */
static struct time_grid place_grid(struct binder *b, struct time_grid grid)
{
    const struct ast_window *w = &b->select->window;
    enum err err = zones_find(&b->eval, w->zone, w->position, &grid.zone);
    if (err && !b->err) b->err = err;
    grid.zone_name = w->zone.size > 0 ? w->zone : b->context->zone;
    if (!grid.zone) grid.zone_name = STR("");
    grid.offset_ns += w->offset_ns;
    return grid;
}

/* ---- kinds ---- */

static void set_window_key(struct binder *b, int key)
{
    if (key < 0) return;
    b->plan->has_window = true;
    b->plan->window_key = (size_t)key;
}

static void bind_tumble(struct binder *b)
{
    const struct ast_window *w = &b->select->window;
    struct time_grid grid = place_grid(b, w->width);
    struct expr *time = bind_input(b, INPUT_TIME, NULL, NULL, w->position);
    struct expr *start = b->err ? NULL : grid_call(b, "time_bucket", &grid, time, w->position);
    b->plan->window.grid = grid;
    set_window_key(b, bind_add_key(b, NULL, start, w->position));
}

/* The key that op_window.c fills. */
static void bind_number(struct binder *b, enum type type)
{
    int32_t position = b->select->window.position;
    struct expr *number = bind_made_input(b, INPUT_WINDOW, type, 0, position);
    if (!number) return;
    b->plan->window.input = number->input;
    set_window_key(b, bind_add_key(b, NULL, number, position));
}

static void bind_hop(struct binder *b)
{
    const struct ast_window *w = &b->select->window;
    struct plan_window *to = &b->plan->window;
    int64_t size = w->width.months ? w->width.months : w->width.width_ns;
    int64_t step = w->step.months ? w->step.months : w->step.width_ns;
    to->grid = place_grid(b, w->step);
    bool mixed = (w->width.months > 0) != (w->step.months > 0);
    bool calendar = w->step.months > 0 || to->grid.zone;
    int64_t cells = size / step + (size % step != 0);
    if (mixed || (calendar && size % step != 0))
        bind_fail(
            b, ERR_SYNTAX, w->position,
            "with months or a time zone HOP's size is a whole number of steps, such as HOP(1d, 6h) or HOP(12mo, 1mo)");
    else if (cells > (calendar ? NESTED_CELLS_MAX : HOP_CELLS_MAX))
        bind_fail(b, ERR_LIMIT, w->position,
                  "every row would be in %lld windows, the limit is %d; use a longer step",
                  (long long)cells, calendar ? NESTED_CELLS_MAX : HOP_CELLS_MAX);
    if (b->err) return;
    to->size_ns = calendar ? 0 : size;
    to->cells = (uint32_t)cells;
    bind_number(b, TYPE_TIMESTAMP);
}

static void bind_sequence(struct binder *b)
{
    const struct ast_window *w = &b->select->window;
    struct plan_window *to = &b->plan->window;
    to->size_ns = to->gap_ns = w->width.width_ns;
    to->longest_ns = w->longest_ns;
    to->count = w->count;
    to->count_step = w->count_step;
    if (w->kind == WINDOW_STATE) {
        to->start = bind_expr(b, w->start);
        if (to->start && to->start->type == TYPE_NONE)
            to->start = bind_cast(b, to->start, TYPE_TEXT, w->position);
    } else if (w->kind == WINDOW_EVENT) {
        to->start = bind_condition(b, w->start, "the START of an event window");
        to->end = to->start ? bind_condition(b, w->end, "the END of an event window") : NULL;
    }
    if (!b->err) bind_number(b, TYPE_BIGINT);
    if (!b->err && w->kind == WINDOW_STATE)
        to->state_key = bind_add_key(b, w->start, to->start, w->position);
}

/* GROUP BY time_bucket(…) counts as a window: its bounds have names and FILL knows it. */
static void adopt_key(struct binder *b)
{
    struct plan *plan = b->plan;
    for (size_t i = 0; i < plan->key_count && !plan->has_window; i++) {
        if (!plan->keys[i].grid) continue;
        plan->window.grid = *plan->keys[i].grid;
        set_window_key(b, (int)i);
    }
}

/* Rows have a time; and, unless the window is a mere key, they are those of one table or query. */
static bool has_time(struct binder *b)
{
    const struct ast_window *w = &b->select->window;
    bool one = b->plan->from == FROM_TABLE || b->plan->from == FROM_QUERY;
    if (!bind_has_name(b, STR("time"))) {
        bind_fail(b, ERR_UNSUPPORTED, w->position,
                  "a window needs rows with a time: a table, or a query with a column time");
    } else if (!one && w->kind != WINDOW_TUMBLE) {
        bind_fail(
            b, ERR_UNSUPPORTED, w->position,
            "this window needs the rows of one table; put the join into a sub-query: FROM (SELECT …) AS q WINDOW …");
    } else {
        struct expr *time = bind_input(b, INPUT_TIME, NULL, NULL, w->position);
        if (time && time->type != TYPE_TIMESTAMP)
            bind_fail(b, ERR_TYPE, w->position, "the column time is %s, not a timestamp",
                      bind_type_text(time));
        b->plan->window.time = time;
    }
    return !b->err;
}

void bind_window(struct binder *b)
{
    static void (*const kinds[WINDOW_KINDS])(struct binder * b) = {
        [WINDOW_TUMBLE] = bind_tumble,  [WINDOW_HOP] = bind_hop,
        [WINDOW_SLIDE] = bind_sequence, [WINDOW_SESSION] = bind_sequence,
        [WINDOW_COUNT] = bind_sequence, [WINDOW_STATE] = bind_sequence,
        [WINDOW_EVENT] = bind_sequence,
    };
    const struct ast_window *w = &b->select->window;
    b->plan->window.state_key = -1;
    if (b->err) return;
    if (w->kind == WINDOW_NONE) {
        adopt_key(b);
        return;
    }
    if (!has_time(b)) return;
    b->plan->window.kind = w->kind;
    MUST(kinds[w->kind]);
    kinds[w->kind](b);
}

void bind_window_order(struct binder *b)
{
    struct plan *plan = b->plan;
    if (!plan->has_window || plan->window.kind == WINDOW_NONE ||
        plan->window.kind == WINDOW_TUMBLE || plan->window.kind == WINDOW_HOP)
        return;
    bool in_order = plan->table.has_series && bind_is_by_device(b);
    for (size_t i = 0; i < plan->key_count; i++)
        in_order = in_order && (i == plan->window_key || (int)i == plan->window.state_key ||
                                plan->keys[i].expr->series_constant);
    plan->window.needs_order = !in_order;
    plan->streaming = true;
}

/* ---- bounds ---- */

static struct expr *bind_time_aggregate(struct binder *b, const char *name, int32_t position)
{
    struct ast time = {
        .kind = AST_NAME, .position = position, .text = STR("time"), .qualifier = STR("")};
    struct ast *args[] = {&time};
    struct ast call = {
        .kind = AST_CALL, .position = position, .text = str_of(name), .arg_count = 1, .args = args};
    return bind_aggregate(b, &call);
}

static struct expr *bind_two(struct binder *b, const char *name, struct expr *x, struct expr *y,
                             int32_t position)
{
    struct expr **args = bind_memory(b, arena_zero(b->arena, 2, sizeof *args));
    if (!args || !x || !y) return NULL;
    args[0] = x, args[1] = y;
    return bind_call(b, name, args, 2, position);
}

static struct expr *bind_end(struct binder *b, int32_t position)
{
    const struct plan_window *w = &b->plan->window;
    const struct time_grid *grid = &w->grid;
    bool by_key = w->kind == WINDOW_NONE || w->kind == WINDOW_TUMBLE || w->kind == WINDOW_HOP;
    if (!by_key) return bind_time_aggregate(b, "max", position);
    struct expr *start = bind_key_input(b, b->plan->window_key, position);
    int64_t fixed = w->kind == WINDOW_HOP ? w->size_ns : grid->zone ? 0 : grid->width_ns;
    if (fixed > 0) return bind_two(b, "+", start, duration_constant(b, fixed, position), position);
    uint32_t cells = w->kind == WINDOW_HOP ? w->cells : 1;
    for (uint32_t i = 0; i < cells && start; i++)
        start = grid_call(b, "time_bucket_end", grid, start, position);
    return start;
}

static struct expr *bind_start(struct binder *b, int32_t position)
{
    const struct plan_window *w = &b->plan->window;
    if (w->kind == WINDOW_NONE || w->kind == WINDOW_TUMBLE || w->kind == WINDOW_HOP)
        return bind_key_input(b, b->plan->window_key, position);
    if (w->kind != WINDOW_SLIDE) return bind_time_aggregate(b, "min", position);
    return bind_two(b, "-", bind_end(b, position), duration_constant(b, w->size_ns, position),
                    position);
}

struct expr *bind_window_part(struct binder *b, enum window_name name, int32_t position)
{
    MUST(name != NOT_A_WINDOW_NAME && b->plan->has_window);
    if (name == WINDOW_NAME_START) return bind_start(b, position);
    if (name == WINDOW_NAME_END) return bind_end(b, position);
    return bind_two(b, "-", bind_end(b, position), bind_start(b, position), position);
}

/* ---- FILL ---- */

struct expr *bind_fill_call(struct binder *b, const struct ast *tree, bool *is_fill)
{
    bool locf = str_is(tree->text, "locf"), interpolate = str_is(tree->text, "interpolate");
    *is_fill = locf || (interpolate && tree->arg_count == 1 && ast_has_aggregate(tree->args[0]));
    if (!*is_fill) return NULL;
    if (tree->arg_count != 1)
        return bind_fail(b, ERR_SYNTAX, tree->position,
                         "locf takes one aggregate: locf(avg(temperature))");
    b->fill = locf ? FILL_PREV : FILL_LINEAR;
    struct expr *e = bind_expr(b, tree->args[0]);
    b->fill = FILL_OFF;
    if (e && (b->place != PLACE_GROUP || e->kind != EXPR_INPUT || e->input < GROUP_KEYS_MAX))
        return bind_fail(
            b, ERR_GROUPING, tree->position,
            "%.*s takes one aggregate and nothing around it: %.*s(avg(temperature)) with GROUP BY time_bucket_gapfill('10 s', time)",
            (int)tree->text.size, tree->text.at, (int)tree->text.size, tree->text.at);
    return e;
}

/* The constant of FILL as a value of the aggregate's type. */
static void set_constant(struct binder *b, struct agg_call *call, const struct ast *tree)
{
    struct expr wanted = {.type = call->type, .is_duration = call->is_duration};
    b->place = PLACE_NOTHING;
    struct expr *e = bind_expr(b, tree);
    if (!e) return;
    bool number = type_is_number(e->type) && type_is_number(call->type);
    if (bind_convert_cost(e, bind_letter(&wanted)) >= 0)
        e = bind_convert(b, e, bind_letter(&wanted));
    else if (number)
        e = bind_cast(b, e, call->type, tree->position);
    else
        e = bind_fail(b, ERR_TYPE, tree->position, "FILL: %s gives %s, this constant is %s",
                      call->aggregate->name, type_name(call->type), bind_type_text(e));
    if (!e) return;
    if (e->kind != EXPR_CONST) {
        bind_fail(b, ERR_TYPE, tree->position,
                  "FILL takes constants that fit the column; %s gives %s", call->aggregate->name,
                  type_name(call->type));
        return;
    }
    call->fill = FILL_VALUE;
    call->fill_value = expr_value(e);
}

static bool has_aggregate(const struct expr *e)
{
    if (e->kind == EXPR_INPUT) return e->input >= GROUP_KEYS_MAX;
    for (size_t i = 0; e->kind == EXPR_CALL && i < e->arg_count; i++)
        if (has_aggregate(e->args[i])) return true;
    return false;
}

/* FILL(0) or FILL(0, 100, …): constants for the selected aggregates in their order. */
static void bind_constants(struct binder *b, const struct ast_fill *fill)
{
    struct plan *plan = b->plan;
    size_t columns = 0;
    for (size_t i = 0; i < plan->visible_count && !b->err; i++) {
        const struct expr *e = plan->outputs[i];
        if (!has_aggregate(e)) continue;
        if (e->kind != EXPR_INPUT) {
            bind_fail(
                b, ERR_GROUPING, e->position,
                "FILL with a constant fills aggregates; here one is part of an expression: select it alone, or use FILL(null) with coalesce(…, constant)");
            return;
        }
        size_t at = fill->values.count == 1 ? 0 : columns;
        columns++;
        if (at < fill->values.count)
            set_constant(b, &plan->aggs[e->input - GROUP_KEYS_MAX], fill->values.items[at]);
    }
    if (!b->err && fill->values.count != 1 && fill->values.count != columns)
        bind_fail(
            b, ERR_SYNTAX, fill->position,
            "FILL has %zu constants for %zu selected aggregates; give one for all, or one for each",
            fill->values.count, columns);
}

static bool is_gapfill(const struct plan *plan)
{
    if (!plan->has_window || plan->window.kind != WINDOW_NONE) return false;
    const struct expr *e = plan->keys[plan->window_key].expr;
    return e->kind == EXPR_CALL && strcmp(e->function->name, "time_bucket_gapfill") == 0;
}

void bind_fill(struct binder *b)
{
    const struct ast_fill *fill = &b->select->fill;
    struct plan *plan = b->plan;
    bool gapfill = is_gapfill(plan), wanted = gapfill || fill->kind != FILL_OFF;
    for (size_t i = 0; i < plan->agg_count && !wanted; i++)
        if (plan->aggs[i].fill != FILL_OFF)
            bind_fail(
                b, ERR_GROUPING, plan->aggs[i].position,
                "locf and interpolate need GROUP BY time_bucket_gapfill('10 s', time), or a window with FILL(null)");
    if (!wanted || b->err) return;
    bool timed =
        plan->has_window && (plan->window.kind == WINDOW_NONE ||
                             plan->window.kind == WINDOW_TUMBLE || plan->window.kind == WINDOW_HOP);
    if (!timed) {
        bind_fail(
            b, ERR_GROUPING, fill->position,
            "FILL needs windows of equal width: WINDOW TUMBLE(10s), HOP(60s, 10s) or GROUP BY time_bucket('10 s', time)");
        return;
    }
    enum fill_kind kind = fill->kind == FILL_OFF ? FILL_NULL : fill->kind;
    if (kind == FILL_VALUE) bind_constants(b, fill);
    for (size_t i = 0; i < plan->agg_count; i++)
        if (plan->aggs[i].fill == FILL_OFF)
            plan->aggs[i].fill = kind == FILL_VALUE ? FILL_NULL : kind;
    plan->fill = (struct plan_fill){.on = true,
                                    .key = plan->window_key,
                                    .from_ns = plan->request.time_from_ns,
                                    .to_ns = plan->request.time_to_ns,
                                    .needs_order = !plan->streaming};
    for (size_t i = 0; i < plan->key_count; i++)
        if (i != plan->window_key && !plan->keys[i].expr->series_constant)
            plan->fill.needs_order = true;
}
