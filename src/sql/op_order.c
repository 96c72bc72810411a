/* op_order.c - holds all rows back, then hands them on partition by partition in order of time.
 *
 * For windows that follow rows (SESSION, STATE…) across several devices or partitioned by a
 * measured value: the source gives one device after the other, they want the partition's rows as
 * they happened. Two shapes: rows of inputs before the windows (partition = the keys but the
 * window, as expressions), and groups before FILL (the keys themselves are columns). The
 * partition's number becomes rows->series. Rows of the same time keep the order in which they came.
 */
#include "sql/keys.h"
#include "sql/op.h"
#include "sql/rowbuf.h"
#include <string.h>

struct place {
    uint32_t partition, row; /* row: of the buffer */
    int64_t time;
};

struct order {
    struct op op;
    bool of_groups;
    struct rowbuf rows;
    struct keys partitions;
    struct buf key;
    struct vector *vectors; /* [key_count] of the chunk */
    struct place *places;   /* [row] */
    uint32_t *sorted;       /* rows in order; NULL: as they came */
    size_t capacity, handed_out;
    bool is_sorted;
    struct vector *out; /* [column_count] */
    int64_t time[SQL_CHUNK_ROWS];
};

static bool is_partition_key(const struct order *order, size_t i)
{
    const struct plan *plan = order->op.run->plan;
    if (plan->window.kind == WINDOW_STATE && (int)i == plan->window.state_key) return false;
    return !plan->has_window || i != plan->window_key;
}

static bool grow_places(struct order *order)
{
    if (order->rows.count <= order->capacity) return true;
    size_t capacity = order->capacity ? order->capacity : SQL_CHUNK_ROWS;
    while (capacity < order->rows.count) capacity *= 2;
    struct place *grown = arena_alloc(order->op.run->arena, capacity * sizeof *grown);
    if (!grown) return false;
    if (order->capacity) memcpy(grown, order->places, order->capacity * sizeof *grown);
    order->places = grown;
    order->capacity = capacity;
    return true;
}

static enum err note_places(struct order *order, const struct rows *rows)
{
    struct run *run = order->op.run;
    const struct plan *plan = run->plan;
    size_t base = order->rows.count - rows->view.selected;
    if (!grow_places(order)) return run_no_memory(run);
    for (uint32_t k = 0; k < rows->view.selected; k++) {
        uint32_t row = view_row(&rows->view, k);
        size_t partition;
        bool added;
        buf_clear(&order->key);
        for (size_t i = 0; i < plan->key_count; i++)
            if (is_partition_key(order, i)) keys_encode(&order->key, &order->vectors[i], row);
        if (buf_failed(&order->key) ||
            !keys_find_or_add(&order->partitions, buf_str(&order->key), &partition, &added))
            return run_no_memory(run);
        order->places[base + k] =
            (struct place){(uint32_t)partition, (uint32_t)(base + k), order->rows.time[base + k]};
    }
    return ERR_OK;
}

/* Times that do not come with the rows: a group's is its window's start; a query's rows have a
 * column. Rows without a time come first. */
static void take_times(struct order *order, const struct rows *rows, const struct vector *time)
{
    size_t base = order->rows.count - rows->view.selected;
    for (uint32_t k = 0; k < rows->view.selected; k++) {
        uint32_t row = view_row(&rows->view, k);
        order->rows.time[base + k] =
            vector_is_null(time, row) ? INT64_MIN : time->i[vector_at(time, row)];
    }
}

static enum err order_push(struct op *op, const struct rows *rows)
{
    struct order *order = (struct order *)op;
    const struct plan *plan = op->run->plan;
    for (size_t i = 0; i < plan->key_count; i++) {
        enum err err = ERR_OK;
        if (order->of_groups)
            order->vectors[i] = rows->columns[i];
        else if (is_partition_key(order, i))
            err = expr_eval(&op->run->eval, plan->keys[i].expr, rows, &rows->view,
                            &order->vectors[i]);
        if (err) return err;
    }
    if (rowbuf_add(&order->rows, rows)) return run_no_memory(op->run);
    if (order->of_groups) {
        take_times(order, rows, &rows->columns[plan->window_key]);
    } else if (!rows->time) {
        struct vector time;
        enum err err = expr_eval(&op->run->eval, plan->window.time, rows, &rows->view, &time);
        if (err) return err;
        take_times(order, rows, &time);
    }
    return note_places(order, rows);
}

enum { SORT_CHECK_ROWS = 65536, SORT_RUN_ROWS = 16 };

static inline bool comes_before(const struct place *x, const struct place *y)
{
    return x->partition != y->partition ? x->partition < y->partition : x->time < y->time;
}

/* By insertion. */
static void sort_run(struct place *p, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct place now = p[i];
        size_t at = i;
        for (; at > 0 && comes_before(&now, &p[at - 1]); at--) p[at] = p[at - 1];
        p[at] = now;
    }
}

/* Two runs, one behind the other, become one; of equals those of `a` come first. */
static void merge(struct place *to, const struct place *a, const struct place *b,
                  const struct place *end)
{
    const struct place *middle = b;
    if (b == end || !comes_before(b, b - 1)) {
        memcpy(to, a, (size_t)(end - a) * sizeof *to);
        return;
    }
    while (a < middle && b < end) *to++ = comes_before(b, a) ? *b++ : *a++;
    memcpy(to, a, (size_t)(middle - a) * sizeof *to);
    memcpy(to + (middle - a), b, (size_t)(end - b) * sizeof *to);
}

/* Not by qsort: it could not be interrupted, and its memory is nobody's. */
static enum err sort_places(struct order *order)
{
    struct run *run = order->op.run;
    size_t n = order->rows.count, done = 0, in_order = 1;
    struct place *from = order->places;
    order->is_sorted = true;
    while (in_order < n && !comes_before(&from[in_order], &from[in_order - 1])) in_order++;
    if (in_order >= n) return ERR_OK; /* as they came */
    struct place *to = arena_alloc(run->arena, n * sizeof *to);
    if (!to) return run_no_memory(run);
    for (size_t left = 0; left < n; left += SORT_RUN_ROWS)
        sort_run(from + left, n - left < SORT_RUN_ROWS ? n - left : SORT_RUN_ROWS);
    for (size_t width = SORT_RUN_ROWS; width < n; width *= 2) {
        for (size_t left = 0; left < n; left += 2 * width) {
            size_t middle = n - left < width ? n : left + width;
            size_t right = n - middle < width ? n : middle + width;
            merge(to + left, from + left, from + middle, from + right);
            enum err err = (done += right - left) < SORT_CHECK_ROWS ? ERR_OK : run_check(run);
            if (err) return err;
            if (done >= SORT_CHECK_ROWS) done = 0;
        }
        struct place *swap = from;
        from = to;
        to = swap;
    }
    order->places = from;
    return ERR_OK;
}

static enum err hand_out(struct order *order)
{
    struct run *run = order->op.run;
    const struct place *p = order->places + order->handed_out;
    uint32_t n = 0;
    while (order->handed_out + n < order->rows.count && n < SQL_CHUNK_ROWS &&
           p[n].partition == p[0].partition) {
        rowbuf_copy(&order->rows, p[n].row, order->out, n);
        order->time[n] = p[n].time;
        n++;
    }
    for (size_t i = 0; i < order->rows.column_count; i++) order->out[i].count = n;
    struct rows rows = {.view = {n, NULL, n},
                        .columns = order->out,
                        .column_count = order->rows.column_count,
                        .series = p[0].partition,
                        .time = order->time};
    order->handed_out += n;
    enum err err = run_check(run);
    arena_reset(&run->eval.scratch);
    return err ? err : op_push(order->op.next, &rows);
}

static enum err order_finish(struct op *op)
{
    struct order *order = (struct order *)op;
    enum err err = order->is_sorted ? ERR_OK : sort_places(order);
    while (order->handed_out < order->rows.count && !err && !op->run->enough && !op->run->paused)
        err = hand_out(order);
    return err || op->run->paused ? err : op_finish(op->next);
}

static void order_close(struct op *op)
{
    struct order *order = (struct order *)op;
    buf_free(&order->key);
    rowbuf_free(&order->rows);
}

static struct op *order_new(struct run *run, struct op *next, const enum type *types,
                            size_t columns, bool of_groups)
{
    struct order *order = arena_zero(run->arena, 1, sizeof *order);
    if (!order) return NULL;
    order->op = (struct op){
        .push = order_push, .finish = order_finish, .close = order_close, .next = next, .run = run};
    order->of_groups = of_groups;
    order->partitions.arena = run->arena;
    order->vectors = arena_zero(run->arena, run->plan->key_count + 1, sizeof *order->vectors);
    order->out = arena_zero(run->arena, columns + 1, sizeof *order->out);
    if (!order->vectors || !order->out ||
        rowbuf_init(&order->rows, run->context->budget, run->arena, types, columns))
        return NULL;
    for (size_t i = 0; i < columns; i++)
        if (types[i] != TYPE_NONE &&
            vector_make(&order->out[i], run->arena, types[i], SQL_CHUNK_ROWS, true, true))
            return NULL;
    return &order->op;
}

struct op *op_order_new(struct run *run, struct op *next)
{
    enum type *types;
    if (op_input_types(run, &types)) return NULL;
    if (run->plan->has_window && run->plan->window.kind > WINDOW_TUMBLE)
        types[run->plan->window.input] = TYPE_NONE; /* filled behind */
    return order_new(run, next, types, run->plan->input_count, false);
}

struct op *op_group_order_new(struct run *run, struct op *next)
{
    const struct plan *plan = run->plan;
    size_t columns = GROUP_KEYS_MAX + plan->agg_count;
    enum type *types = arena_zero(run->arena, columns, sizeof *types);
    if (!types) return NULL;
    for (size_t i = 0; i < plan->key_count; i++) types[i] = plan->keys[i].expr->type;
    for (size_t i = 0; i < plan->agg_count; i++) types[GROUP_KEYS_MAX + i] = plan->aggs[i].type;
    return order_new(run, next, types, columns, true);
}
