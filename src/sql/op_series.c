/* op_series.c - runs the functions that follow the rows of a device (series.h) and hands their
 * results on as columns. */
#include "sql/op.h"
#include "sql/series.h"
#include <string.h>

struct call_state {
    _Alignas(16) char bytes[SERIES_STATE_BYTES_MAX];
    struct vector out;
};

struct series {
    struct op op;
    struct arena memory;    /* of the states; until the device changes */
    struct vector *columns; /* [input_count] */
    struct call_state *states;
    bool is_begun;
    uint32_t series;
};

static void begin_series(struct series *s, uint32_t series)
{
    for (size_t i = 0; i < s->op.run->plan->series_count; i++)
        memset(s->states[i].bytes, 0, sizeof s->states[i].bytes);
    arena_reset(&s->memory);
    s->is_begun = true;
    s->series = series;
}

static enum err run_call(struct series *s, size_t i, const struct rows *rows)
{
    const struct series_call *call = &s->op.run->plan->series[i];
    struct vector *out = &s->states[i].out, value, time = {.i = NULL};
    struct series_run run = {.value = &value,
                             .time = rows->time,
                             .view = &rows->view,
                             .params = call->params,
                             .memory = &s->memory};
    enum err err = expr_eval(&s->op.run->eval, call->arg, rows, &rows->view, &value);
    if (!err && call->time && !rows->time) {
        err = expr_eval(&s->op.run->eval, call->time, rows, &rows->view, &time);
        run.time = time.i;
    }
    if (err) return err;
    out->count = rows->view.count;
    memset(out->null, 1, rows->view.count);
    if (call->function->run(s->states[i].bytes, &run, out)) return run_no_memory(s->op.run);
    s->columns[call->input] = *out;
    return ERR_OK;
}

/* Calls stand in the order of binding: what is inside another one comes before it. */
static enum err series_push(struct op *op, const struct rows *rows)
{
    struct series *s = (struct series *)op;
    struct rows out = *rows;
    if (!s->is_begun || rows->series != s->series) begin_series(s, rows->series);
    for (size_t i = 0; i < rows->column_count; i++) s->columns[i] = rows->columns[i];
    out.columns = s->columns;
    for (size_t i = 0; i < op->run->plan->series_count; i++) {
        enum err err = run_call(s, i, &out);
        if (err) return err;
    }
    return op_push(op->next, &out);
}

static void series_close(struct op *op)
{
    arena_free(&((struct series *)op)->memory);
}

struct op *op_series_new(struct run *run, struct op *next)
{
    const struct plan *plan = run->plan;
    struct series *s = arena_zero(run->arena, 1, sizeof *s);
    if (!s) return NULL;
    s->op = (struct op){.push = series_push, .close = series_close, .next = next, .run = run};
    arena_init(&s->memory, run->context->budget);
    s->columns = arena_zero(run->arena, plan->input_count, sizeof *s->columns);
    s->states = arena_zero(run->arena, plan->series_count, sizeof *s->states);
    if (!s->columns || !s->states) return NULL;
    for (size_t i = 0; i < plan->series_count; i++)
        if (vector_make(&s->states[i].out, run->arena, plan->inputs[plan->series[i].input].type,
                        SQL_CHUNK_ROWS, true, false))
            return NULL;
    return &s->op;
}
