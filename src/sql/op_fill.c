/* op_fill.c - FILL: makes the windows that have no rows, and the values that a window lacks.
 *
 * Stands behind the group and works in its shape, keys then aggregates, so HAVING, the select list
 * and ORDER BY see filled rows like any other. Groups come partition by partition in order of their
 * windows; those of one partition are held until it ends, since FILL(next) and FILL(linear) look
 * ahead. What counts as a gap: a window without rows, and a value that is absent (for first and
 * last a NULL with a reason is a value; see INTERFACES, "Values"). Linear values lie on the line
 * between the nearest windows that have one, by their starts; beyond the first and last there is
 * none.
 *
 * The windows reach from the WHERE clause's lower to its upper bound; where it has none, from the
 * partition's first window, to its last. A partition without any row does not appear. */
#include "sql/keys.h"
#include "sql/op.h"
#include "sql/rowbuf.h"
#include <math.h>
#include <string.h>

enum { FILL_ROWS_MAX = 1000000 }; /* made by one statement */

struct neighbours {
    size_t before, after; /* held rows with a value around the row being made; SIZE_MAX: none */
};

struct fill {
    struct op op;
    struct rowbuf held; /* groups of one partition */
    struct buf key, partition;
    bool is_open;
    uint64_t made;
    struct neighbours *columns; /* [agg_count] */
    struct vector *out;
    uint32_t out_count;
    uint16_t selection[SQL_CHUNK_ROWS];
};

/* ---- output ---- */

static enum err flush(struct fill *fill)
{
    struct run *run = fill->op.run;
    const struct plan *plan = run->plan;
    size_t columns = GROUP_KEYS_MAX + plan->agg_count;
    struct rows rows = {.view = {fill->out_count, NULL, fill->out_count},
                        .columns = fill->out,
                        .column_count = columns};
    enum err err = run_check(run);
    for (size_t i = 0; i < columns; i++) fill->out[i].count = fill->out_count;
    if (fill->out_count == 0 || err) return err;
    arena_reset(&run->eval.scratch);
    fill->out_count = 0;
    if (plan->having) {
        uint32_t selected;
        err = expr_filter(&run->eval, plan->having, &rows, &rows.view, fill->selection, &selected);
        rows.view.selection = fill->selection;
        rows.view.selected = err ? 0 : selected;
    }
    return err || rows.view.selected == 0 ? err : op_push(fill->op.next, &rows);
}

/* ---- values ---- */

static const struct vector *held_column(const struct fill *fill, size_t i)
{
    return &fill->held.columns[GROUP_KEYS_MAX + i];
}

static bool has_value(const struct fill *fill, size_t i, size_t row)
{
    const struct vector *v = held_column(fill, i);
    if (!v->null[row]) return true;
    return fill->op.run->plan->aggs[i].keeps_null && v->quality[row] != QUALITY_NO_DATA;
}

/* Moves the column's neighbours: `before` is the last with a value below `row`, `after` the first
 * from `row` on. Rows only go up, so every held row is looked at once a column. */
static void move_column(struct fill *fill, size_t i, size_t row)
{
    struct neighbours *c = &fill->columns[i];
    while (c->after < row || (c->after < fill->held.count && !has_value(fill, i, c->after))) {
        if (has_value(fill, i, c->after)) c->before = c->after;
        c->after++;
    }
}

static double as_double(const struct vector *v, size_t row)
{
    if (v->type == TYPE_DOUBLE) return v->d[row];
    return v->type == TYPE_UBIGINT ? (double)v->u[row] : (double)v->i[row];
}

static struct value on_line(const struct fill *fill, size_t i, int64_t time)
{
    const struct vector *v = held_column(fill, i);
    const struct neighbours *c = &fill->columns[i];
    struct value value = {.type = v->type, .is_null = true, .quality = QUALITY_NO_DATA};
    bool number = type_is_number(v->type) || v->type == TYPE_TIMESTAMP;
    if (!number || c->before == SIZE_MAX || c->after >= fill->held.count) return value;
    if (v->null[c->before] || v->null[c->after]) return value;
    int64_t t0 = fill->held.time[c->before], t1 = fill->held.time[c->after];
    double share = ((double)time - (double)t0) / ((double)t1 - (double)t0);
    double from = as_double(v, c->before), to = as_double(v, c->after);
    double d = from + (to - from) * share;
    value.is_null = !isfinite(d);
    value.quality = QUALITY_GOOD;
    if (v->type == TYPE_DOUBLE)
        value.d = d;
    else if (v->type == TYPE_UBIGINT)
        value.u = d >= 0x1p64 ? UINT64_MAX : (uint64_t)nearbyint(d);
    else
        value.i = d >= 0x1p63 ? INT64_MAX : (int64_t)nearbyint(d);
    return value;
}

static struct value made_value(const struct fill *fill, size_t i, int64_t time)
{
    const struct agg_call *call = &fill->op.run->plan->aggs[i];
    const struct neighbours *c = &fill->columns[i];
    switch (call->fill) {
    case FILL_PREV:
        if (c->before != SIZE_MAX) return vector_get(held_column(fill, i), (uint32_t)c->before);
        break;
    case FILL_NEXT:
        if (c->after < fill->held.count)
            return vector_get(held_column(fill, i), (uint32_t)c->after);
        break;
    case FILL_LINEAR: return on_line(fill, i, time);
    case FILL_VALUE: return call->fill_value;
    default: break;
    }
    return (struct value){.type = call->type, .is_null = true, .quality = QUALITY_NO_DATA};
}

/* ---- rows ---- */

/* One row: held row `row` when it stands at this time, else a new one before it. */
static enum err put_row(struct fill *fill, int64_t time, size_t row, bool is_held)
{
    const struct plan *plan = fill->op.run->plan;
    uint32_t to = fill->out_count;
    MUST(to < SQL_CHUNK_ROWS);
    rowbuf_copy(&fill->held, is_held ? row : 0, fill->out, to); /* the partition's keys */
    fill->out[plan->fill.key].i[to] = time;
    for (size_t i = 0; i < plan->agg_count; i++) {
        struct vector *v = &fill->out[GROUP_KEYS_MAX + i];
        move_column(fill, i, row);
        if (is_held && has_value(fill, i, row)) continue;
        struct value value = made_value(fill, i, time);
        vector_set(v, to, &value);
    }
    return ++fill->out_count == SQL_CHUNK_ROWS ? flush(fill) : ERR_OK;
}

static enum err too_many(struct fill *fill)
{
    return why_set(
        fill->op.run->why, ERR_LIMIT,
        "FILL would make more than %d rows; narrow the time range in WHERE or use wider windows",
        FILL_ROWS_MAX);
}

static enum err end_partition(struct fill *fill)
{
    const struct plan *plan = fill->op.run->plan;
    const struct time_grid *grid = &plan->window.grid;
    const struct rowbuf *held = &fill->held;
    int64_t at, last, end;
    size_t row = 0;
    enum err err = ERR_OK;
    if (held->count == 0) return ERR_OK;
    for (size_t i = 0; i < plan->agg_count; i++)
        fill->columns[i] = (struct neighbours){SIZE_MAX, 0};
    at = held->time[0], last = held->time[held->count - 1];
    if (plan->fill.from_ns != INT64_MIN) {
        int64_t first;
        grid_bounds(grid, plan->fill.from_ns, &first, &end);
        if (first < at) at = first;
    }
    if (plan->fill.to_ns != INT64_MAX) {
        int64_t until;
        grid_bounds(grid, plan->fill.to_ns - 1, &until, &end);
        if (until > last) last = until;
    }
    while (!err && !fill->op.run->enough) {
        bool is_held = row < held->count && held->time[row] <= at;
        int64_t time = is_held ? held->time[row] : at;
        if (!is_held && ++fill->made > FILL_ROWS_MAX) return too_many(fill);
        err = put_row(fill, time, row, is_held);
        row += is_held;
        grid_bounds(grid, time, &(int64_t){0}, &end);
        if (time >= last || end == INT64_MAX) break;
        if (time == at || !is_held) at = end;
    }
    if (!err) err = flush(fill); /* what it shows lives in `held` */
    rowbuf_clear(&fill->held);
    return err;
}

/* ---- the operator ---- */

static void write_partition(struct fill *fill, const struct rows *rows, uint32_t row)
{
    const struct plan *plan = fill->op.run->plan;
    buf_clear(&fill->key);
    for (size_t i = 0; i < plan->key_count; i++)
        if (i != plan->fill.key) keys_encode(&fill->key, &rows->columns[i], row);
}

static enum err hold(struct fill *fill, const struct rows *rows, uint32_t from, uint32_t to)
{
    const struct vector *start = &rows->columns[fill->op.run->plan->fill.key];
    uint16_t picked[SQL_CHUNK_ROWS];
    struct rows part = *rows;
    size_t base = fill->held.count;
    for (uint32_t k = from; k < to; k++) picked[k - from] = (uint16_t)view_row(&rows->view, k);
    part.view.selection = picked;
    part.view.selected = to - from;
    if (rowbuf_add(&fill->held, &part)) return run_no_memory(fill->op.run);
    for (uint32_t k = 0; k < to - from; k++)
        fill->held.time[base + k] = start->i[vector_at(start, picked[k])];
    return ERR_OK;
}

static enum err fill_push(struct op *op, const struct rows *rows)
{
    struct fill *fill = (struct fill *)op;
    uint32_t from = 0;
    enum err err = ERR_OK;
    for (uint32_t k = 0; k < rows->view.selected && !err; k++) {
        write_partition(fill, rows, view_row(&rows->view, k));
        if (fill->is_open && str_equal(buf_str(&fill->key), buf_str(&fill->partition))) continue;
        if (k > from) err = hold(fill, rows, from, k);
        if (!err) err = end_partition(fill);
        from = k;
        buf_clear(&fill->partition);
        buf_add_str(&fill->partition, buf_str(&fill->key));
        fill->is_open = true;
    }
    if (buf_failed(&fill->key) || buf_failed(&fill->partition)) return run_no_memory(op->run);
    return err ? err : hold(fill, rows, from, rows->view.selected);
}

static enum err fill_finish(struct op *op)
{
    enum err err = end_partition((struct fill *)op);
    return err ? err : op_finish(op->next);
}

static void fill_close(struct op *op)
{
    struct fill *fill = (struct fill *)op;
    buf_free(&fill->key);
    buf_free(&fill->partition);
    rowbuf_free(&fill->held);
}

struct op *op_fill_new(struct run *run, struct op *next)
{
    const struct plan *plan = run->plan;
    size_t columns = GROUP_KEYS_MAX + plan->agg_count;
    struct fill *fill = arena_zero(run->arena, 1, sizeof *fill);
    enum type *types = arena_zero(run->arena, columns, sizeof *types);
    if (!fill || !types) return NULL;
    fill->op = (struct op){
        .push = fill_push, .finish = fill_finish, .close = fill_close, .next = next, .run = run};
    for (size_t i = 0; i < plan->key_count; i++) types[i] = plan->keys[i].expr->type;
    for (size_t i = 0; i < plan->agg_count; i++) types[GROUP_KEYS_MAX + i] = plan->aggs[i].type;
    fill->columns = arena_zero(run->arena, plan->agg_count + 1, sizeof *fill->columns);
    fill->out = arena_zero(run->arena, columns, sizeof *fill->out);
    if (!fill->columns || !fill->out ||
        rowbuf_init(&fill->held, run->context->budget, run->arena, types, columns))
        return NULL;
    for (size_t i = 0; i < columns; i++)
        if (types[i] != TYPE_NONE &&
            vector_make(&fill->out[i], run->arena, types[i], SQL_CHUNK_ROWS, true, true))
            return NULL;
    return &fill->op;
}
