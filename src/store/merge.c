/* merge.c - the rows of one series from all its runs, in order of time, each row key once; see
 * scan.h.
 *
 * Fast path: as long as one run is alone (no other run has a row before the end of its span, or a
 * good stretch of it), its vectors are handed out as they lie. Slow path, only where runs
 * interleave: rows are built one by one; of equal times, per column the cell with the highest
 * version counts, absent cells do not.
 *
 * Called by: scan.c and scan_rollup.c, on the statement's task; compaction reads through it, too,
 * so what a merge of parts writes is what a statement would have seen.
 * Owns: nothing; runs and scratch are the scan's. Invariants: active runs have a row to show or a
 * block pending; parts are opened in the order of their bounds, and none whose first row comes
 * behind the one shown next; a run shows its rows in the scan's order. */
#include "store/scan.h"
#include <string.h>

enum {
    SLICE_ROWS_MIN = 64 /* a shorter stretch between other runs' rows is copied, not handed out */
};

static enum err next_span(struct sql_scan *scan, struct run *run, struct why *why)
{
    MUST(run->at == run->end && !run->pending);
    switch (run->kind) {
    case RUN_PART: run_next_part(scan, run); return ERR_OK;
    case RUN_MAIN: return run_next_main(scan, run, why);
    case RUN_LATE: return run_next_late(scan, run, why);
    }
    return ERR_INTERNAL;
}

/* Runs whose span is used up show the next one or leave. */
static enum err refresh(struct sql_scan *scan, struct why *why)
{
    for (size_t i = 0; i < scan->active_count;) {
        struct run *run = scan->active[i];
        enum err err = run->at == run->end && !run->pending ? next_span(scan, run, why) : ERR_OK;
        if (err) return err;
        if (run->at < run->end || run->pending) {
            i++;
            continue;
        }
        run_clear(scan, run);
        scan->active[i] = scan->active[--scan->active_count];
    }
    return ERR_OK;
}

enum err merge_begin(struct sql_scan *scan, struct why *why)
{
    for (size_t i = 0; i < scan->active_count; i++) run_clear(scan, scan->active[i]);
    scan->active_count = scan->part_next = 0;
    const struct store_view *view = scan->snapshot->view;
    struct run *run = scan->runs + scan->part_count;
    for (size_t i = 0; i < view->head_count; i++) {
        struct head_series *rows = head_find(view->heads[i], scan->series->id);
        if (!rows) continue;
        scan->active[scan->active_count++] = run;
        enum err err = run_open_main(scan, run++, rows);
        if (err || !atomic_load_explicit(&rows->late.first, memory_order_acquire)) continue;
        scan->active[scan->active_count++] = run;
        err = run_open_late(scan, run++, rows);
        if (err) return why_set(why, err, "late rows need more memory than the statement may use");
    }
    return ERR_OK;
}

static int64_t time_of(const struct run *run)
{
    return run->pending ? run->pending_ns : run->time[run->at];
}

/* The active run whose row comes first, or NULL; of equal times one that is pending. */
static struct run *first_run(const struct sql_scan *scan)
{
    struct run *first = NULL;
    for (size_t i = 0; i < scan->active_count; i++)
        if (!first || scan_before(scan, time_of(scan->active[i]), time_of(first)) ||
            (scan->active[i]->pending && time_of(scan->active[i]) == time_of(first)))
            first = scan->active[i];
    return first;
}

/* Opens every part that may have a row at or before the first one known. */
static enum err open_parts(struct sql_scan *scan, struct run **first, struct why *why)
{
    enum err err = refresh(scan, why);
    *first = err ? NULL : first_run(scan);
    while (!err && scan->part_next < scan->part_count) {
        struct run *run = &scan->runs[scan->part_next];
        if (*first && scan_before(scan, time_of(*first), run->part->bound_ns)) break;
        scan->part_next++;
        err = run_open_part(scan, run, why);
        if (!err && run->at == run->end) run_next_part(scan, run);
        if (err || (run->at == run->end && !run->pending)) {
            run_clear(scan, run);
            continue;
        }
        scan->active[scan->active_count++] = run;
        *first = first_run(scan);
    }
    return err;
}

/* Whether no other run has rows in the time of the pending block. */
static bool is_alone(const struct sql_scan *scan, const struct run *run)
{
    const struct part_block *block = run->pending;
    int64_t end = scan->request.newest_first ? block->min_time_ns : block->max_time_ns;
    if (scan->part_next < scan->part_count &&
        !scan_before(scan, end, scan->parts[scan->part_next].bound_ns))
        return false;
    for (size_t i = 0; i < scan->active_count; i++)
        if (scan->active[i] != run && !scan_before(scan, end, time_of(scan->active[i])))
            return false;
    return true;
}

/* The run whose row comes first, its span read; or NULL at the end. With `out` a summary may come
 * instead (out->summaries). */
static enum err settle(struct sql_scan *scan, struct run **first, struct sql_chunk *out,
                       struct why *why)
{
    enum err err = open_parts(scan, first, why);
    while (!err && *first && (*first)->pending) {
        bool alone = (out || scan->request.bound_count) && is_alone(scan, *first);
        if (out && alone && run_summarise(scan, *first, out)) return ERR_OK;
        if (!alone || !run_pass_by(scan, *first)) err = run_load(scan, *first, why);
        if (!err) err = open_parts(scan, first, why);
    }
    return err;
}

/* How many rows of `first`'s span come before any row of another run. */
static uint32_t stretch(const struct sql_scan *scan, const struct run *first)
{
    if (!first->is_unique) return 0;
    uint32_t end = first->end;
    for (size_t i = 0; i <= scan->active_count; i++) {
        bool is_part = i == scan->active_count;
        if (is_part ? scan->part_next == scan->part_count : scan->active[i] == first) continue;
        int64_t bound = is_part ? scan->parts[scan->part_next].bound_ns : time_of(scan->active[i]);
        uint32_t low = first->at, high = end;
        while (low < high) {
            uint32_t middle = low + (high - low) / 2;
            if (scan_before(scan, first->time[middle], bound))
                low = middle + 1;
            else
                high = middle;
        }
        end = low;
    }
    return end - first->at;
}

/* ---- handing out ---- */

static enum err add_received(struct sql_scan *scan, struct sql_chunk *out, uint32_t count,
                             const uint64_t *seq, uint64_t version)
{
    if (!scan->request.want_received) return ERR_OK;
    if (vector_make(&out->received, &scan->scratch, TYPE_TIMESTAMP, count, false, false))
        return ERR_BUDGET;
    out->received.count = count;
    for (uint32_t i = 0; i < count; i++)
        out->received.i[i] = (int64_t)(seq ? seq[i] : version) * 1000;
    return ERR_OK;
}

static struct vector slice(const struct vector *v, uint32_t from, uint32_t count)
{
    struct vector s = *v;
    s.count = count;
    if (v->is_constant) return s;
    s.data = (char *)v->data + from * vector_element_bytes(v->type);
    if (s.null) s.null += from;
    if (s.quality) s.quality += from;
    return s;
}

static enum err hand_out(struct sql_scan *scan, struct run *run, uint32_t count,
                         struct sql_chunk *out)
{
    if (count > SQL_CHUNK_ROWS) count = SQL_CHUNK_ROWS;
    MUST(count > 0 && count <= run->end - run->at);
    uint32_t from = run->at;
    out->row_count = count;
    out->time = (struct vector){.type = TYPE_TIMESTAMP, .count = count, .i = run->time + from};
    for (size_t i = 0; i < scan->request.column_count; i++)
        scan->columns[i] = slice(&run->columns[i], from, count);
    run->at += count;
    return add_received(scan, out, count, run->seq ? run->seq + from : NULL, run->version);
}

/* ---- building ---- */

/* The row being built takes the cells of the run's row that are newer than what it has. */
static enum err take_row(struct sql_scan *scan, struct run *run, uint32_t row)
{
    uint64_t version = run->seq ? run->seq[run->at] : run->version;
    for (size_t i = 0; i < scan->request.column_count; i++) {
        if (version < scan->versions[i]) continue;
        struct value value = vector_get(&run->columns[i], run->at);
        if (value.is_null && value.quality == QUALITY_NO_DATA) continue;
        bool is_slice = !value.is_null && type_bytes(value.type) == 0;
        /* A block's texts go with the block; a head's stay as long as the view. */
        if (is_slice && run->kind == RUN_PART) {
            value.s.at = arena_dup(&scan->scratch, value.s.at, value.s.size);
            if (!value.s.at) return ERR_BUDGET;
        }
        scan->versions[i] = version;
        vector_set(&scan->columns[i], row, &value);
    }
    run->at++;
    return ERR_OK;
}

static void begin_row(struct sql_scan *scan, uint32_t row)
{
    for (size_t i = 0; i < scan->request.column_count; i++) {
        struct value absent = {.type = scan->types[i], .is_null = true, .quality = QUALITY_NO_DATA};
        vector_set(&scan->columns[i], row, &absent);
        scan->versions[i] = 0;
    }
}

/* All rows at one time become one. `*version`: the highest among them. */
static enum err merge_row(struct sql_scan *scan, int64_t time, uint32_t row, uint64_t *version,
                          struct why *why)
{
    begin_row(scan, row);
    *version = 0;
    enum err err = ERR_OK;
    for (bool again = true; again && !err;) {
        again = false;
        for (size_t i = 0; i < scan->active_count && !err; i++) {
            struct run *run = scan->active[i];
            while (!err && run->at < run->end && run->time[run->at] == time) {
                uint64_t v = run->seq ? run->seq[run->at] : run->version;
                if (v > *version) *version = v;
                err = take_row(scan, run, row);
                again |= run->at == run->end &&
                         !run->pending; /* its next span may go on with the same time */
            }
        }
        if (!err && again) err = refresh(scan, why);
    }
    return err;
}

static enum err make_columns(struct sql_scan *scan, struct sql_chunk *out)
{
    enum err err =
        vector_make(&out->time, &scan->scratch, TYPE_TIMESTAMP, SQL_CHUNK_ROWS, false, false);
    for (size_t i = 0; i < scan->request.column_count && !err; i++)
        err = vector_make(&scan->columns[i], &scan->scratch, scan->types[i], SQL_CHUNK_ROWS, true,
                          true);
    return err ? ERR_BUDGET : ERR_OK;
}

/* Builds rows until a good stretch of one run lies ahead, or the chunk is full. */
static enum err build(struct sql_scan *scan, struct run *first, struct sql_chunk *out,
                      struct why *why)
{
    uint64_t seq[SQL_CHUNK_ROWS];
    uint32_t count = 0;
    enum err err = make_columns(scan, out);
    while (!err && first && count < SQL_CHUNK_ROWS) {
        int64_t time = time_of(first);
        out->time.i[count] = time;
        err = merge_row(scan, time, count, &seq[count], why);
        count++;
        if (!err) err = settle(scan, &first, NULL, why);
        if (!err && first && stretch(scan, first) >= SLICE_ROWS_MIN) break;
    }
    out->row_count = out->time.count = count;
    for (size_t i = 0; i < scan->request.column_count; i++) scan->columns[i].count = count;
    return err ? err : add_received(scan, out, count, seq, 0);
}

enum err merge_next(struct sql_scan *scan, struct sql_chunk *out, struct why *why)
{
    struct run *first;
    enum err err = settle(scan, &first, out, why);
    if (err || out->summaries) return err;
    if (!first) {
        scan->series_done = true;
        return ERR_OK;
    }
    uint32_t alone = stretch(scan, first);
    if (alone >= SLICE_ROWS_MIN || (alone && alone == first->end - first->at))
        return hand_out(scan, first, alone, out);
    return build(scan, first, out, why);
}
