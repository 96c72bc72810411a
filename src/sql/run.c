/* run.c - executions of plans: building the chain of operators, driving it, taking it down.
 *
 * What drives is a scan, rows of constants, or children: runs whose last operator pushes into this
 * one's first. A child shares the statement's context, snapshots and error text with the first run
 * (`root`); pausing and having enough travel from parent to child. */
#include "sql/func.h"
#include "sql/grid.h"
#include "sql/op.h"
#include "sql/parallel.h"
#include <string.h>

enum err run_no_memory(struct run *run)
{
    enum err err = expr_no_memory(run->context->budget, run->why);
    if (err == ERR_BUDGET && run->root->advice)
        return why_set(run->why, err, "the statement needs more than its memory limit; %s",
                       run->root->advice);
    return err;
}

static enum err check(const struct sql_context *context, struct why *why)
{
    if (context->cancelled && atomic_load_explicit(context->cancelled, memory_order_relaxed))
        return why_set(why, ERR_CANCELLED, "the statement was cancelled");
    if (context->mono_ns && context->deadline_mono_ns != INT64_MAX &&
        context->mono_ns(context->clock) >= context->deadline_mono_ns)
        return why_set(
            why, ERR_TIMEOUT,
            "the statement's time limit is over; narrow the time range, filter by device or raise the limit");
    return ERR_OK;
}

enum err run_check(struct run *run)
{
    return check(run->context, run->why);
}

enum err eval_look(struct eval *eval)
{
    eval->steps = 0;
    return eval->zones && eval->zones->context ? check(eval->zones->context, eval->why) : ERR_OK;
}

/* ---- operators in general ---- */

static int64_t clock_ns(const struct run *run)
{
    return run->context->mono_ns ? run->context->mono_ns(run->context->clock) : 0;
}

enum err op_push(struct op *op, const struct rows *rows)
{
    if (!op->run->analyze || !op->measure) return op->push(op, rows);
    int64_t start = clock_ns(op->run);
    enum err err = op->push(op, rows);
    op->measure->rows += rows->view.selected;
    op->measure->ns += clock_ns(op->run) - start;
    return err;
}

enum err op_finish(struct op *op)
{
    while (op && !op->finish) op = op->next;
    if (!op) return ERR_OK;
    int64_t start = op->run->analyze ? clock_ns(op->run) : 0;
    enum err err = op->finish(op);
    if (op->run->analyze && op->measure) op->measure->ns += clock_ns(op->run) - start;
    return err;
}

enum err op_resume(struct op *op)
{
    if (!op) return ERR_OK;
    enum err err = op_resume(op->next);
    return err || !op->resume || op->run->paused ? err : op->resume(op);
}

/* ---- the chain ---- */

static struct op *build_chain(struct run *run, struct op *last)
{
    const struct plan *plan = run->plan;
    struct op *op = last;
    if (!plan->is_side) {
        if (op && (plan->has_limit || plan->offset > 0)) op = op_limit_new(run, op);
        if (op && plan->distinct_on_count > 0) op = op_distinct_on_new(run, op);
        if (op && plan->order_count > 0) op = op_sort_new(run, op);
        if (op && plan->distinct) op = op_distinct_new(run, op);
        if (op) op = op_project_new(run, op);
        if (op && plan->over_count > 0) op = op_over_new(run, op);
        if (op && plan->fill.on) op = op_fill_new(run, op);
        if (op && plan->fill.needs_order) op = op_group_order_new(run, op);
        if (op && plan->grouped) run->group = op = op_group_new(run, op);
        if (op && plan->window.kind > WINDOW_TUMBLE) op = op_window_new(run, op);
        if (op && plan->window.needs_order) op = op_order_new(run, op);
    }
    if (op && plan->series_count > 0) op = op_series_new(run, op);
    if (op && plan->filter_count > 0) op = op_filter_new(run, op);
    if (op && plan->from == FROM_SET && plan->set != SET_UNION) op = op_set_new(run, op);
    return op;
}

/* ---- where rows come from ---- */

static enum err add_child(struct run *run, struct run *child)
{
    MUST(run->child_count < (run->plan->side_count > 1 ? run->plan->side_count : 1));
    run->children[run->child_count++] = child;
    return ERR_OK;
}

static enum err open_children(struct run *run)
{
    const struct plan *plan = run->plan;
    size_t count = plan->from == FROM_SET && plan->set == SET_UNION ? plan->side_count : 1;
    struct run *child = NULL;
    run->children = arena_zero(run->arena, plan->side_count + 1, sizeof(struct run *));
    if (!run->children) return run_no_memory(run);
    if (plan->from == FROM_JOIN) {
        struct op *head = NULL;
        enum err err = run_open_join(run, plan->join, run->first, &child, &head);
        run->first = head;
        return err ? err : add_child(run, child);
    }
    enum err err = ERR_OK;
    for (size_t i = 0; i < count && !err; i++) {
        const struct plan *below = plan->from == FROM_QUERY ? plan->query : plan->sides[i];
        err = run_open_child(run, below, plan, 0, run->first, &child);
        if (!err) err = add_child(run, child);
    }
    return err;
}

static enum err step_child(struct run *run, struct run *child)
{
    enum sql_progress progress;
    child->enough |= run->enough;
    enum err err = run_step(child, &progress);
    if (progress == SQL_DONE || err) {
        run_close(child);
        run->children[run->child_at++] = NULL;
    }
    return err;
}

/* A child that gives many chunks without pausing comes back only at its end or when paused. */
static enum err push_children(struct run *run)
{
    while (run->child_at < run->child_count && !run->enough && !run->paused) {
        enum err err = step_child(run, run->children[run->child_at]);
        if (err) return err;
    }
    run->is_scanned = run->enough || run->child_at == run->child_count;
    return ERR_OK;
}

/* VALUES: each cell is computed on a view of one row; rows are handed on in chunks. */
static enum err push_values(struct run *run)
{
    const struct plan *plan = run->plan;
    struct vector *columns = arena_zero(run->arena, plan->input_count, sizeof *columns);
    if (!columns) return run_no_memory(run);
    for (size_t c = 0; c < plan->input_count; c++)
        if (vector_make(&columns[c], run->arena, plan->inputs[c].type, SQL_CHUNK_ROWS, true, false))
            return run_no_memory(run);
    struct view one = {1, NULL, 1};
    struct rows none = {.view = one};
    enum err err = ERR_OK;
    for (size_t r = 0; r < plan->row_count && !err && !run->enough;) {
        uint32_t count = 0;
        arena_reset(&run->eval.scratch);
        for (; r < plan->row_count && count < SQL_CHUNK_ROWS && !err; r++, count++)
            for (size_t c = 0; c < plan->input_count && !err; c++) {
                struct vector v;
                err =
                    expr_eval(&run->eval, plan->values[r * plan->input_count + c], &none, &one, &v);
                if (err) break;
                struct value value = {.is_null = true};
                if (v.type != TYPE_NONE) value = vector_get(&v, 0);
                value.quality = QUALITY_GOOD;
                vector_set(&columns[c], count, &value);
            }
        for (size_t c = 0; c < plan->input_count; c++) columns[c].count = count;
        struct rows rows = {
            .view = {count, NULL, count}, .columns = columns, .column_count = plan->input_count};
        if (!err) err = run_check(run);
        if (!err) err = op_push(run->first, &rows);
    }
    run->is_scanned = true;
    return err;
}

/* The items of one array, in chunks. */
static enum err push_items(struct run *run)
{
    const struct plan *plan = run->plan;
    struct vector array, column;
    struct view one = {1, NULL, 1};
    struct rows none = {.view = one};
    size_t at = 0;
    bool failed = false;
    run->is_scanned = true;
    if (vector_make(&column, run->arena, plan->inputs[0].type, SQL_CHUNK_ROWS, true, false))
        return run_no_memory(run);
    enum err err = expr_eval(&run->eval, plan->unnest, &none, &one, &array);
    if (err || array.type == TYPE_NONE || vector_is_null(&array, 0)) return err;
    struct value whole = vector_get(&array, 0), item;
    for (bool more = true; more && !err && !run->enough;) {
        column.count = 0;
        while (column.count < SQL_CHUNK_ROWS &&
               (more = array_take_item(&whole, &at, &run->own, &item, &failed)))
            vector_set(&column, column.count++, &item);
        if (failed) return run_no_memory(run);
        struct rows rows = {
            .view = {column.count, NULL, column.count}, .columns = &column, .column_count = 1};
        err = run_check(run);
        if (!err && column.count) err = op_push(run->first, &rows);
    }
    return err;
}

static enum err push_one_row(struct run *run)
{
    struct rows rows = {.view = {1, NULL, 1}};
    run->is_scanned = true;
    return run->plan->nothing ? ERR_OK : op_push(run->first, &rows);
}

static enum err drive(struct run *run)
{
    if (run->is_scanned) return ERR_OK;
    if (run->plan->nothing || run->enough) {
        run->is_scanned = true;
        return ERR_OK;
    }
    switch (run->plan->from) {
    case FROM_TABLE: return scan_push(run);
    case FROM_VALUES: return run->plan->unnest ? push_items(run) : push_values(run);
    case FROM_ONE_ROW: return push_one_row(run);
    case FROM_QUERY:
    case FROM_SET:
    case FROM_JOIN: return push_children(run);
    }
    return ERR_INTERNAL;
}

/* ---- a run ---- */

static void close_snapshots(struct run *run)
{
    const struct sql_catalog *catalog = run->context->catalog;
    for (size_t i = 0; run->root == run && !run->borrows_snapshots && i < SQL_SOURCES_MAX; i++)
        if (run->snapshots[i])
            catalog->source[i].ops->snapshot_close(catalog->source[i].context, run->snapshots[i]);
}

void run_close(struct run *run)
{
    if (!run) return;
    parallel_free(run);
    scan_close(run);
    for (size_t i = 0; i < run->child_count; i++) run_close(run->children[i]);
    for (struct op *op = run->first; op; op = op->next)
        if (op->close) op->close(op);
    close_snapshots(run);
    arena_free(&run->eval.scratch);
    arena_free(&run->own);
    mem_free(run);
}

static enum err open_source(struct run *run)
{
    const struct plan *plan = run->plan;
    if (plan->nothing || plan->from == FROM_ONE_ROW || plan->from == FROM_VALUES) return ERR_OK;
    return plan->from == FROM_TABLE ? scan_open(run) : open_children(run);
}

static struct run *new_run(const struct sql_context *context, const struct plan *plan,
                           struct run *parent)
{
    struct run *run = mem_alloc_zero(1, sizeof *run);
    if (!run) return NULL;
    run->context = context;
    run->plan = plan;
    run->arena = &run->own;
    run->root = parent ? parent->root : run;
    arena_init(&run->own, context->budget);
    run->eval = (struct eval){
        .budget = context->budget, .now_ns = context->now_ns, .session = context->session};
    run->eval.run = run->root;
    arena_init(&run->eval.scratch, context->budget);
    run->eval.zones = zones_new(context, &run->own);
    run->enough = plan->has_limit && plan->limit == 0;
    return run;
}

/* Refused memory gets its words; whatever the error, everything is taken down. */
static enum err finish_open(struct run *run, enum err err, struct run **out)
{
    if (!err && !run->first) err = run_no_memory(run);
    if (!err) err = run_check(run);
    if (!err) err = open_source(run);
    if (err == ERR_BUDGET || err == ERR_NO_MEMORY) err = run_no_memory(run);
    if (err) {
        run_close(run);
        return err;
    }
    *out = run;
    return ERR_OK;
}

enum err run_open(const struct sql_context *context, const struct plan *plan, struct str text,
                  bool analyze, const struct sql_sink *sink, struct sql_stats *stats,
                  struct why *why, struct run **out)
{
    struct run *run = new_run(context, plan, NULL);
    if (!run) return expr_no_memory(context->budget, why);
    run->text = text;
    run->sink = sink;
    run->stats = stats;
    run->why = run->eval.why = why;
    run->analyze = analyze;
    run->first = build_chain(run, op_output_new(run));
    return finish_open(run, ERR_OK, out);
}

enum err run_open_helper(struct run *of, const struct sql_context *context, const struct plan *plan,
                         struct sql_scan_share *share, bool (*declines)(void *context),
                         void *declines_context, struct op *last, struct sql_stats *stats,
                         struct why *why, struct run **out)
{
    struct run *run = new_run(context, plan, NULL);
    if (!run) return expr_no_memory(context->budget, why);
    memcpy(run->snapshots, of->snapshots, sizeof run->snapshots);
    run->borrows_snapshots = true;
    run->stats = stats;
    run->why = run->eval.why = why;
    run->share = share;
    run->declines = declines;
    run->declines_context = declines_context;
    last->run = run;
    run->first = run->group = op_group_new(run, last);
    if (run->first && plan->filter_count > 0) run->first = op_filter_new(run, run->first);
    return finish_open(run, ERR_OK, out);
}

enum err run_open_child(struct run *parent, const struct plan *plan, const struct plan *above,
                        size_t side, struct op *target, struct run **out)
{
    struct run *run = new_run(parent->context, plan, parent);
    if (!run) return run_no_memory(parent);
    run->stats = parent->stats;
    run->why = run->eval.why = parent->why;
    run->analyze = parent->analyze;
    run->first = build_chain(run, op_pass_new(run, parent, above, side, target));
    return finish_open(run, ERR_OK, out);
}

/* The rows of a join's left side drive; those of the right are read by the join itself. */
enum err run_open_join(struct run *parent, const struct join *join, struct op *target,
                       struct run **child, struct op **head)
{
    const struct plan *plan = parent->plan;
    *head = target;
    if (!join->left)
        return run_open_child(parent, plan->sides[join->first], plan, join->first, target, child);
    struct op *op = op_join_new(parent, join, target);
    if (!op) return run_no_memory(parent);
    return run_open_join(parent, join->left, op, child, head);
}

/* Rows until the sink is full or all are there. */
static enum err advance(struct run *run)
{
    run->paused = false;
    enum err err = op_resume(run->first);
    return err || run->paused ? err : drive(run);
}

/* All rows are there: what is held back comes out. */
static enum err finish_run(struct run *run)
{
    if (!run->is_scanned) return ERR_OK;
    scan_close(run);
    return run->paused ? ERR_OK : op_finish(run->first);
}

enum err run_step(struct run *run, enum sql_progress *progress)
{
    int64_t start = run->analyze ? clock_ns(run) : 0;
    enum err err = ERR_OK;
    if (!parallel_is_back(run, &err)) {
        err = advance(run);
        *progress = SQL_WAITS;
        if (!parallel_leave(run, err)) return ERR_OK; /* the run is another task's from here on */
    }
    if (!err) err = finish_run(run);
    *progress = err || (run->is_scanned && !run->paused) ? SQL_DONE : SQL_GOES_ON;
    if (err == ERR_BUDGET || err == ERR_NO_MEMORY) err = run_no_memory(run);
    if (run->analyze) run->plan->measures[STAGE_SOURCE].ns += clock_ns(run) - start;
    return err;
}

void run_set_why(struct run *run, struct why *why)
{
    run->why = run->eval.why = why;
    for (size_t i = 0; i < run->child_count; i++)
        if (run->children[i]) run_set_why(run->children[i], why);
}

enum err run_to_end(struct run *child)
{
    enum err err = ERR_OK;
    for (enum sql_progress progress = SQL_GOES_ON; progress != SQL_DONE && !err;) {
        err = run_step(child, &progress);
        MUST(progress != SQL_WAITS); /* it was opened without the statement's text */
    }
    run_close(child);
    return err;
}

enum err run_plan(const struct sql_context *context, const struct plan *plan, bool analyze,
                  const struct sql_sink *sink, struct sql_stats *stats, struct why *why)
{
    struct run *run = NULL;
    enum err err = run_open(context, plan, (struct str){0}, analyze, sink, stats, why, &run);
    MUST(err || run);
    return err ? err : run_to_end(run);
}
