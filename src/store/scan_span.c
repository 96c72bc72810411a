/* scan_span.c - runs over rows that a statement asked for lately, and keeping them; see
 * span_cache.h.
 *
 * A statement over many rows neither finds its rows here nor leaves them: what is kept is little
 * and wanted from one block, so a full scan does not drive out what people look at. */
#include "store/scan.h"

enum {
    SPAN_ROUND = 64, /* bounds move a little from one statement to the next */
    SPAN_CHOSEN_MAX = 64,
};

/* ---- taking ---- */

static bool has_all(const struct sql_scan *scan, const struct span *span)
{
    const struct sql_scan_request *r = &scan->request;
    if (span->from_ns > r->time_from_ns || span->to_ns < r->time_to_ns) return false;
    for (size_t i = 0; i < r->column_count; i++) {
        const struct span_column *column = span_find(span, r->columns[i]);
        if (!column || (!column->absent && column->data.type != scan->types[i])) return false;
    }
    return true;
}

enum err run_take_span(struct sql_scan *scan, struct run *run, bool *taken)
{
    *taken = false;
    /* It asks for blocks, not for times, or for more than is kept. */
    if (scan->snapshot->above || scan->request.reads_once) return ERR_OK;
    struct span *span =
        span_cache_get(&scan->store->spans, run->part->part->info.id, scan->series->id);
    *taken = span && has_all(scan, span);
    if (!*taken) {
        span_release(span);
        return ERR_OK;
    }
    MUST(!run->span && run->kind == RUN_PART);
    run->span = span;
    enum err err = ERR_OK;
    for (size_t i = 0; i < scan->request.column_count && !err; i++) {
        const struct span_column *column = span_find(span, scan->request.columns[i]);
        run->columns[i] = column->data;
        if (column->absent)
            err = scan_absent(&run->rows, &run->columns[i], scan->types[i], span->row_count,
                              QUALITY_NO_DATA);
    }
    run->time = span->time;
    run->seq = NULL;
    run->version = span->version;
    run_narrow(scan, run, span->row_count);
    scan->stats.spans++;
    if (!err && run->at < run->end && scan->request.newest_first) err = run_reverse(scan, run);
    return err ? err : run_hide(scan, run);
}

/* ---- keeping ---- */

/* Whether the scan wants nothing of the neighbours of the block. */
static bool is_only_block(const struct sql_scan *scan, const struct part_run *run, uint32_t index)
{
    const struct sql_scan_request *r = &scan->request;
    if (index && run->blocks[index - 1].max_time_ns >= r->time_from_ns) return false;
    return index + 1 == run->block_count ||
           (r->time_to_ns != INT64_MAX && run->blocks[index + 1].min_time_ns >= r->time_to_ns);
}

/* A group is decoded for all its series at once: what a statement over many of them leaves would
 * only drive out others. And nobody asks again for what a merge reads. */
static bool is_asked_for(const struct sql_scan *scan, const struct part_block *block)
{
    if (scan->request.reads_once) return false;
    return !block->group || (scan->is_chosen && scan->chosen_count <= SPAN_CHOSEN_MAX);
}

bool run_keeps_span(const struct sql_scan *scan, const struct run *run, uint32_t index)
{
    const struct sql_scan_request *r = &scan->request;
    const struct part_block *block = &run->blocks.blocks[index];
    if (r->column_count > SPAN_COLUMNS_MAX || !scan->store->spans.shard_bytes ||
        !is_asked_for(scan, block) || !is_only_block(scan, &run->blocks, index))
        return false;
    if (block->rows <= SPAN_ROWS_MAX) return true;
    double all = (double)block->max_time_ns - (double)block->min_time_ns;
    double from = (double)block->min_time_ns, to = (double)block->max_time_ns;
    if ((double)r->time_from_ns > from) from = (double)r->time_from_ns;
    if ((double)r->time_to_ns < to) to = (double)r->time_to_ns;
    return (to - from) * block->rows <= all * SPAN_ROWS_MAX;
}

/* The rows [*first, *end) to keep: those wanted and some around them, together with those of `old`
 * if that does not make too many. */
static void choose_rows(const struct run *run, uint32_t rows, const struct span *old,
                        uint32_t *first, uint32_t *end)
{
    *first = run->at / SPAN_ROUND * SPAN_ROUND;
    *end = (run->end + SPAN_ROUND - 1) / SPAN_ROUND * SPAN_ROUND;
    if (*end > rows) *end = rows;
    if (*end - *first > SPAN_ROWS_MAX) {
        *first = run->at;
        *end = run->end;
    }
    if (!old) return;
    uint32_t old_end = old->first_row + old->row_count;
    uint32_t low = old->first_row < *first ? old->first_row : *first;
    uint32_t high = old_end > *end ? old_end : *end;
    if (high - low > SPAN_ROWS_MAX) return;
    *first = low;
    *end = high;
}

/* The columns wanted now and, where `old` holds just these rows, its others; returns their number.
 */
static size_t choose_columns(const struct sql_scan *scan, const struct run *run,
                             const struct part_block *block, const struct span *old, uint32_t first,
                             uint32_t end, struct span_column columns[SPAN_COLUMNS_MAX])
{
    const struct sql_scan_request *r = &scan->request;
    size_t count = 0;
    for (size_t i = 0; i < r->column_count; i++) {
        struct span_column *to = &columns[count++];
        *to = (struct span_column){.id = r->columns[i], .first = first, .data = run->columns[i]};
        to->absent = !part_block_find(block, r->columns[i]);
    }
    if (!old || old->first_row != first || old->row_count != end - first) return count;
    for (uint16_t i = 0; i < old->column_count && count < SPAN_COLUMNS_MAX; i++) {
        bool is_new = true;
        for (size_t k = 0; k < r->column_count; k++) is_new &= r->columns[k] != old->columns[i].id;
        if (is_new) columns[count++] = old->columns[i];
    }
    return count;
}

void run_keep_span(struct sql_scan *scan, struct run *run, uint32_t index)
{
    const struct part_block *block = &run->blocks.blocks[index];
    struct span_column columns[SPAN_COLUMNS_MAX];
    uint32_t wanted = run->end - run->at, first, end;
    if (wanted == 0 || wanted > SPAN_ROWS_MAX || scan->request.column_count > SPAN_COLUMNS_MAX ||
        !scan->store->spans.shard_bytes || !is_only_block(scan, &run->blocks, index) ||
        !is_asked_for(scan, block))
        return;
    uint64_t part = run->part->part->info.id;
    struct span *old = span_cache_get(&scan->store->spans, part, scan->series->id);
    if (old && old->block != index) {
        span_release(old);
        old = NULL;
    }
    choose_rows(run, block->rows, old, &first, &end);
    size_t count = choose_columns(scan, run, block, old, first, end, columns);
    struct span *span =
        span_new(&scan->store->spans, run->time + first, end - first, columns, (uint16_t)count);
    span_release(old);
    if (!span) return;
    span->part = part;
    span->series = scan->series->id;
    span->version = block->version;
    span->block = index;
    span->first_row = first;
    const struct part_block *blocks = run->blocks.blocks;
    span->from_ns =
        first ? run->time[first - 1] + 1 : (index ? blocks[index - 1].max_time_ns + 1 : INT64_MIN);
    span->to_ns =
        end < block->rows
            ? run->time[end]
            : (index + 1 < run->blocks.block_count ? blocks[index + 1].min_time_ns : INT64_MAX);
    span_cache_put(&scan->store->spans, span);
}
