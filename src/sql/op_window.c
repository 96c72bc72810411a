/* op_window.c - numbers rows by window: HOP, SLIDE, SESSION, COUNT, STATE, EVENT.
 *
 * The group behind it sees an ordinary key, the number, and needs to know nothing of windows. Three
 * ways:
 *   one window a row    (SESSION, STATE, EVENT, COUNT) rows pass with their number, or are left
 * out; nothing is held back, so a window may be as long as it likes; HOP                 the chunk
 * passes once for each of the windows that overlap: first with the window that began last, then
 * with the one before… numbered by their start; a slice at a time   (SLIDE, COUNT with another
 * step) the rows of a partition that a window can still need are kept (rowbuf.h), and each window
 * passes as a slice of them. All but HOP need the rows of a partition one behind the other, in time
 * order; a change of rows->series is a change of partition (op_order.c sees to both where the
 * source does not). */
#include "sql/keys.h"
#include "sql/op.h"
#include "sql/rowbuf.h"
#include <string.h>

struct window {
    struct op op;
    const struct plan_window *plan;
    struct vector *columns; /* [input_count] what is handed on */
    int64_t number[SQL_CHUNK_ROWS];
    int64_t limit[SQL_CHUNK_ROWS]; /* HOP: end of the step that holds the row */
    uint16_t selection[SQL_CHUNK_ROWS];
    /* the partition's state */
    bool has_series, is_open;
    uint32_t series;
    int64_t current;              /* the open window's number; never goes back */
    int64_t opened_at, last_at;   /* times */
    int64_t seen;                 /* rows of the partition */
    struct buf state, next_state; /* STATE: the value as key bytes */
    /* slices */
    struct rowbuf held;
    size_t next;  /* SLIDE: the held row whose window comes next; COUNT: the next window's first */
    size_t first; /* SLIDE: the first row that is not too old */
    int64_t dropped; /* rows of the partition that are held no more */
};

static enum err pass(struct window *w, const struct rows *rows, uint32_t kept)
{
    struct rows out = *rows;
    if (kept == 0) return ERR_OK;
    for (size_t i = 0; i < rows->column_count; i++) w->columns[i] = rows->columns[i];
    const struct plan *plan = w->op.run->plan;
    w->columns[w->plan->input] = (struct vector){
        .type = plan->inputs[w->plan->input].type, .count = rows->view.count, .i = w->number};
    out.columns = w->columns;
    out.view.selection = w->selection;
    out.view.selected = kept;
    return op_push(w->op.next, &out);
}

static void begin_partition(struct window *w, uint32_t series)
{
    w->has_series = true;
    w->series = series;
    w->is_open = false;
    w->seen = 0;
    buf_clear(&w->state);
}

/* ---- one window a row ---- */

/* Whether the row belongs to a window; w->current says to which. */
typedef bool choose(struct window *w, uint32_t row, int64_t time, const struct vector *start,
                    const struct vector *end);

static void open_window(struct window *w, int64_t time)
{
    w->current++;
    w->opened_at = time;
    w->is_open = true;
}

static bool is_further(int64_t from, int64_t to, int64_t distance)
{
    int64_t gap;
    return __builtin_sub_overflow(to, from, &gap) || gap > distance;
}

static bool choose_session(struct window *w, uint32_t row, int64_t time, const struct vector *start,
                           const struct vector *end)
{
    (void)row, (void)start, (void)end;
    bool gap = w->is_open && is_further(w->last_at, time, w->plan->gap_ns);
    bool full = w->is_open && w->plan->longest_ns > 0 &&
                is_further(w->opened_at, time, w->plan->longest_ns - 1);
    if (!w->is_open || gap || full) open_window(w, time);
    w->last_at = time;
    return true;
}

static bool choose_count(struct window *w, uint32_t row, int64_t time, const struct vector *start,
                         const struct vector *end)
{
    (void)row, (void)start, (void)end;
    int64_t at = w->seen++ % w->plan->count_step; /* count ≤ step here: windows do not overlap */
    if (at == 0) open_window(w, time);
    return at < w->plan->count;
}

/* A row without a state belongs to no window and ends none: its value is simply not known. */
static bool choose_state(struct window *w, uint32_t row, int64_t time, const struct vector *start,
                         const struct vector *end)
{
    (void)end;
    if (vector_is_null(start, row)) return false;
    buf_clear(&w->next_state);
    keys_encode(&w->next_state, start, row);
    if (w->is_open && str_equal(buf_str(&w->state), buf_str(&w->next_state))) return true;
    open_window(w, time);
    buf_clear(&w->state);
    buf_add_str(&w->state, buf_str(&w->next_state));
    return true;
}

static bool is_true(const struct vector *v, uint32_t row)
{
    return v->type == TYPE_BOOL && !vector_is_null(v, row) && v->b[vector_at(v, row)];
}

static bool choose_event(struct window *w, uint32_t row, int64_t time, const struct vector *start,
                         const struct vector *end)
{
    if (!w->is_open && !is_true(start, row)) return false;
    if (!w->is_open) open_window(w, time);
    if (is_true(end, row)) w->is_open = false; /* the row itself still belongs to it */
    return true;
}

static choose *const choices[WINDOW_KINDS] = {
    [WINDOW_SESSION] = choose_session,
    [WINDOW_COUNT] = choose_count,
    [WINDOW_STATE] = choose_state,
    [WINDOW_EVENT] = choose_event,
};

static enum err number_rows(struct window *w, const struct rows *rows)
{
    struct eval *eval = &w->op.run->eval;
    struct vector start = {0}, end = {0};
    uint32_t kept = 0;
    enum err err = ERR_OK;
    if (w->plan->start) err = expr_eval(eval, w->plan->start, rows, &rows->view, &start);
    if (!err && w->plan->end) err = expr_eval(eval, w->plan->end, rows, &rows->view, &end);
    if (err) return err;
    for (uint32_t k = 0; k < rows->view.selected; k++) {
        uint32_t row = view_row(&rows->view, k);
        if (!choices[w->plan->kind](w, row, rows->time[row], &start, &end)) continue;
        w->number[row] = w->current;
        w->selection[kept++] = (uint16_t)row;
    }
    if (buf_failed(&w->state) || buf_failed(&w->next_state)) return run_no_memory(w->op.run);
    return pass(w, rows, kept);
}

/* ---- HOP ---- */

/* Times of the rows; those of queries without series are a column, and NULL is in no window. */
static enum err times_of(struct window *w, const struct rows *rows, struct vector *time)
{
    *time = (struct vector){.type = TYPE_TIMESTAMP, .count = rows->view.count};
    time->i = (int64_t *)(uintptr_t)rows->time;
    return rows->time ? ERR_OK
                      : expr_eval(&w->op.run->eval, w->plan->time, rows, &rows->view, time);
}

/* Numbers the rows by the window before the one they are numbered by, or by the newest. */
static uint32_t number_hops(struct window *w, const struct rows *rows, const struct vector *time,
                            bool newest)
{
    int64_t of = 0, start = 0, end = 0; /* the step that holds `of` */
    uint32_t kept = 0;
    for (uint32_t k = 0; k < rows->view.selected; k++) {
        uint32_t row = view_row(&rows->view, k);
        if (vector_is_null(time, row)) continue;
        int64_t at = time->i[vector_at(time, row)];
        if (!newest && w->number[row] == INT64_MIN) continue; /* no window lies before */
        of = newest ? at : w->number[row] - 1;
        if (of < start || of >= end) grid_bounds(&w->plan->grid, of, &start, &end);
        w->number[row] = start;
        bool in = w->plan->size_ns == 0 || !is_further(start, at, w->plan->size_ns - 1);
        w->selection[kept] = (uint16_t)row;
        kept += in;
    }
    return kept;
}

static enum err push_hops(struct window *w, const struct rows *rows)
{
    struct vector time;
    enum err err = times_of(w, rows, &time);
    for (uint32_t cell = 0; cell < w->plan->cells && !err; cell++)
        err = pass(w, rows, number_hops(w, rows, &time, cell == 0));
    return err;
}

/* ---- slices ---- */

/* Hands on rows [from, to) of those held as one window. */
static enum err push_slice(struct window *w, size_t from, size_t to)
{
    struct run *run = w->op.run;
    int64_t number = ++w->current;
    for (size_t at = from; at < to && !run->enough;) {
        uint32_t n = to - at > SQL_CHUNK_ROWS ? SQL_CHUNK_ROWS : (uint32_t)(to - at);
        rowbuf_slice(&w->held, at, n, w->columns);
        w->columns[w->plan->input] =
            (struct vector){.type = TYPE_BIGINT, .count = n, .is_constant = true, .i = &number};
        struct rows rows = {.view = {n, NULL, n},
                            .columns = w->columns,
                            .column_count = run->plan->input_count,
                            .series = w->series,
                            .time = w->held.time + at};
        /* A chunk may be in as many windows as it has rows, and each as long as the partition. */
        enum err err = eval_spend(&run->eval, n);
        if (!err) err = op_push(w->op.next, &rows);
        if (err) return err;
        at += n;
    }
    return ERR_OK;
}

/* Windows that no later row can change; `over`: the partition has ended. */
static enum err push_ready(struct window *w, bool over)
{
    struct rowbuf *held = &w->held;
    enum err err = ERR_OK;
    while (w->next < held->count && !err && !w->op.run->enough) {
        if (w->plan->kind == WINDOW_COUNT) {
            size_t to = w->next + (size_t)w->plan->count;
            if (to > held->count && !over) break;
            err = push_slice(w, w->next, to < held->count ? to : held->count);
            w->next += (size_t)w->plan->count_step;
            continue;
        }
        int64_t time = held->time[w->next]; /* SLIDE: rows of the same time all belong to it */
        size_t to = w->next + 1;
        while (to < held->count && held->time[to] == time) to++;
        if (to == held->count && !over) break;
        while (is_further(held->time[w->first], time, w->plan->size_ns - 1)) w->first++;
        for (; w->next < to && !err; w->next++) err = push_slice(w, w->first, to);
    }
    return err;
}

static enum err drop_old(struct window *w)
{
    size_t old = w->plan->kind == WINDOW_COUNT ? w->next : w->first;
    if (old < 4 * SQL_CHUNK_ROWS || old < w->held.count / 2) return ERR_OK;
    if (old > w->held.count) old = w->held.count;
    enum err err = rowbuf_drop(&w->held, old);
    if (err) return run_no_memory(w->op.run);
    w->next -= old;
    w->first -= w->first < old ? w->first : old;
    return ERR_OK;
}

static enum err end_slices(struct window *w)
{
    enum err err = push_ready(w, true);
    rowbuf_clear(&w->held);
    w->next = w->first = 0;
    return err;
}

static enum err hold_rows(struct window *w, const struct rows *rows)
{
    if (rowbuf_add(&w->held, rows)) return run_no_memory(w->op.run);
    enum err err = push_ready(w, false);
    return err ? err : drop_old(w);
}

static bool is_sliced(const struct plan_window *plan)
{
    return plan->kind == WINDOW_SLIDE ||
           (plan->kind == WINDOW_COUNT && plan->count_step < plan->count);
}

/* ---- the operator ---- */

static enum err window_push(struct op *op, const struct rows *rows)
{
    struct window *w = (struct window *)op;
    if (w->plan->kind == WINDOW_HOP) return push_hops(w, rows);
    MUST(rows->time);
    if (!w->has_series || rows->series != w->series) {
        enum err err = is_sliced(w->plan) ? end_slices(w) : ERR_OK;
        if (err) return err;
        begin_partition(w, rows->series);
    }
    return is_sliced(w->plan) ? hold_rows(w, rows) : number_rows(w, rows);
}

static enum err window_finish(struct op *op)
{
    struct window *w = (struct window *)op;
    enum err err = is_sliced(w->plan) ? end_slices(w) : ERR_OK;
    return err ? err : op_finish(op->next);
}

static void window_close(struct op *op)
{
    struct window *w = (struct window *)op;
    buf_free(&w->state);
    buf_free(&w->next_state);
    rowbuf_free(&w->held);
}

enum err op_input_types(const struct run *run, enum type **types)
{
    const struct plan *plan = run->plan;
    *types = arena_zero(run->arena, plan->input_count + 1, sizeof **types);
    for (size_t i = 0; *types && i < plan->input_count; i++) (*types)[i] = plan->inputs[i].type;
    return *types ? ERR_OK : ERR_NO_MEMORY;
}

struct op *op_window_new(struct run *run, struct op *next)
{
    struct window *w = arena_zero(run->arena, 1, sizeof *w);
    enum type *types;
    if (!w || op_input_types(run, &types)) return NULL;
    w->op = (struct op){.push = window_push,
                        .finish = window_finish,
                        .close = window_close,
                        .next = next,
                        .run = run};
    w->plan = &run->plan->window;
    types[w->plan->input] = TYPE_NONE;
    w->columns = arena_zero(run->arena, run->plan->input_count, sizeof *w->columns);
    if (!w->columns ||
        rowbuf_init(&w->held, run->context->budget, run->arena, types, run->plan->input_count))
        return NULL;
    return &w->op;
}
