/* scan_slice.c - a block that windows or the bounds of the scan end in, as one summary for each
 * stretch of rows that belongs together; see scan.h.
 *
 * Rows of such a block need not be made: what a column holds from one end to the next is summed up
 * from its mini-blocks' statistics and the mini-blocks at the ends (part_range.c). All summaries of
 * a block are made at once, column by column, and handed out one after the other; until the last,
 * the block is pending with the time of the next one.
 *
 * Short stretches are quicker as rows: a block is left to run_load when few of its rows belong
 * together. What cannot be read is left to it, too, which tells. */
#include "store/scan.h"

enum {
    SLICE_ROWS_MIN = 96, /* that belong together, on average */
    SLICES_MAX = PART_BLOCK_ROWS / SLICE_ROWS_MIN + 2,
};

struct slices {
    uint32_t count, next;
    uint32_t ends[SLICES_MAX + 1]; /* as part_ranges */
    const int64_t *time;           /* of the block's rows; NULL: first_ns + row · step_ns */
    int64_t first_ns, step_ns;
    int64_t shown_ns;              /* the time of the chunk's first row */
    struct sql_summary *summaries; /* [count][column_count] */
};

static int64_t time_at(const struct slices *s, uint32_t row)
{
    return s->time ? s->time[row] : s->first_ns + (int64_t)row * s->step_ns;
}

static bool belongs_together(const struct sql_scan *scan, int64_t first_ns, int64_t last_ns)
{
    return scan->request.summarises(scan->request.summary_context, first_ns, last_ns);
}

/* Whether it is worth looking at the times: in one of two neighbouring places rows as many as it
 * takes belong together. */
static bool is_promising(const struct sql_scan *scan, const struct part_block *block)
{
    const struct sql_scan_request *r = &scan->request;
    if (block->rows < SLICE_ROWS_MIN) return false;
    uint64_t from = (uint64_t)block->min_time_ns;
    uint64_t stretch = ((uint64_t)block->max_time_ns - from) / block->rows * SLICE_ROWS_MIN;
    if (block->min_time_ns < r->time_from_ns) from = (uint64_t)r->time_from_ns;
    if (stretch > (uint64_t)block->max_time_ns - from) return true;
    int64_t middle = (int64_t)(from + stretch), last = (int64_t)(from + 2 * stretch);
    return belongs_together(scan, (int64_t)from, middle) ||
           (last > middle && belongs_together(scan, middle, last));
}

/* The end of the rows behind `from` that belong together with it; `like`: how many it were last. */
static uint32_t find_end(const struct sql_scan *scan, const struct slices *s, uint32_t from,
                         uint32_t end, uint32_t like)
{
    uint32_t low = from + 1, high = end;
    if (belongs_together(scan, time_at(s, from), time_at(s, end - 1))) return end;
    if (like && end - from > like) { /* as a rule, windows have rows alike */
        if (!belongs_together(scan, time_at(s, from), time_at(s, from + like)))
            high = from + like;
        else
            low = from + like + 1;
        if (high == from + like && belongs_together(scan, time_at(s, from), time_at(s, high - 1)))
            return high;
    }
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (belongs_together(scan, time_at(s, from), time_at(s, middle)))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* False: too few rows belong together. */
static bool cut(const struct sql_scan *scan, struct slices *s, uint32_t from, uint32_t end)
{
    s->ends[0] = from;
    for (uint32_t at = from, like = 0; at < end; s->ends[++s->count] = at) {
        if (s->count >= 2 + (at - from) / SLICE_ROWS_MIN || s->count == SLICES_MAX) return false;
        uint32_t next = find_end(scan, s, at, end, like);
        like = next - at;
        at = next;
    }
    return s->count > 0;
}

/* Whether its ranges may be summaries of this scan. */
static bool column_fits(const struct sql_scan *scan, const struct part_block *block, size_t i)
{
    struct sql_summary summary;
    const struct part_column *column = part_block_find(block, scan->request.columns[i]);
    if (!column) return true;
    if (column->type != (uint8_t)scan->types[i]) return false; /* widened since */
    return !scan->request.summary_needs_ends ||
           (part_column_summary(column, block->rows, &summary) && summary.count == block->rows);
}

static enum err make_summaries(struct sql_scan *scan, struct run *run,
                               const struct part_block *block, struct slices *s, struct why *why)
{
    const struct sql_scan_request *r = &scan->request;
    struct part_ranges ranges = {.count = s->count,
                                 .ends = s->ends,
                                 .ignores_bounds = r->summary_ignores_bounds,
                                 .ignores_ends = !r->summary_needs_ends};
    size_t stride = r->column_count;
    s->summaries = arena_zero(&run->rows, s->count * stride, sizeof *s->summaries);
    enum err err = s->summaries ? ERR_OK : ERR_BUDGET;
    for (size_t i = 0; i < stride && !err; i++) {
        const struct part_column *column = part_block_find(block, r->columns[i]);
        if (column)
            err = part_block_ranges(&run->part->file, &scan->codec, block, column, &ranges,
                                    &run->rows, s->summaries + i, stride, &scan->stats.bytes, why);
    }
    return err;
}

static enum err find_times(struct sql_scan *scan, struct run *run, const struct part_block *block,
                           struct slices *s, struct why *why)
{
    struct part_file *file = &run->part->file;
    struct vector time;
    bool is_line;
    s->first_ns = block->min_time_ns;
    enum err err = part_block_line(file, block, &is_line, &s->step_ns, why);
    if (err || is_line) {
        scan->stats.bytes += block->columns[0].size;
        return err;
    }
    err = part_block_column(file, &scan->codec, block, &block->columns[0], &run->rows, &time,
                            &scan->stats.bytes, why);
    s->time = err ? NULL : time.i;
    return err;
}

/* The first row whose time is not before `time_ns`. */
static uint32_t first_from(const struct slices *s, const struct part_block *block, int64_t time_ns)
{
    uint32_t low = 0, high = block->rows;
    if (time_ns <= block->min_time_ns) return 0;
    if (time_ns > block->max_time_ns) return block->rows;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (time_at(s, middle) < time_ns)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Sets run->slices if the block can be shown so. */
static enum err make_slices(struct sql_scan *scan, struct run *run, const struct part_block *block,
                            struct why *why)
{
    struct slices *s = arena_zero(&run->rows, 1, sizeof *s);
    if (!s) return ERR_BUDGET;
    enum err err = run_read_ahead(scan, run, block, why);
    if (!err) err = find_times(scan, run, block, s, why);
    if (err) return err;
    const struct sql_scan_request *r = &scan->request;
    uint32_t from = first_from(s, block, r->time_from_ns);
    uint32_t end = r->time_to_ns == INT64_MAX ? block->rows : first_from(s, block, r->time_to_ns);
    if (from >= end || !cut(scan, s, from, end)) return ERR_OK;
    err = make_summaries(scan, run, block, s, why);
    if (err) return err;
    run->slices = s;
    scan->stats.blocks++;
    return ERR_OK;
}

static void show_slice(struct run *run, const struct sql_scan *scan, struct sql_chunk *out)
{
    struct slices *s = run->slices;
    uint32_t from = s->ends[s->next], end = s->ends[s->next + 1];
    MUST(s->next < s->count && from < end);
    s->shown_ns = time_at(s, from);
    out->time = (struct vector){.type = TYPE_TIMESTAMP, .count = 1, .i = &s->shown_ns};
    out->row_count = end - from;
    out->summaries = s->summaries + s->next * scan->request.column_count;
    out->summary_last_ns = time_at(s, end - 1);
    if (++s->next < s->count) {
        run->pending_ns = time_at(s, end);
        return;
    }
    run->slices = NULL; /* its memory stays until the run shows its next block */
    run->pending = NULL;
}

bool run_slice(struct sql_scan *scan, struct run *run, struct sql_chunk *out)
{
    const struct part_block *block = run->pending;
    MUST(block && run->at == run->end);
    if (!run->slices) {
        if (run_keeps_span(scan, run, (uint32_t)(block - run->blocks.blocks))) return false;
        for (size_t i = 0; i < scan->request.column_count; i++)
            if (!column_fits(scan, block, i)) return false;
        if (!is_promising(scan, block)) return false;
        arena_reset(&run->rows);
        if (make_slices(scan, run, block, NULL)) return false;
    }
    if (!run->slices) return false;
    show_slice(run, scan, out);
    return true;
}
