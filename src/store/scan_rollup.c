/* scan_rollup.c - windows of a rollup in place of the rows that they stand for; see rollup.h.
 *
 * The range of a series is walked piece by piece: where windows are dirty, or the range cuts one,
 * the base table's rows are merged as always; where they are clean, the rows of the rollup come as
 * summaries, out of a second scan over the same snapshot. A window that cannot stand for its rows
 * (the statement's groups cut it, a sum that did not fit) is read from its rows after all.
 *
 * Why it is right: a window that is not dirty now, in a series of which nothing was cleaned after
 * the snapshot, was not touched between its computing and the snapshot; and the snapshot sees the
 * row that was computed. */
#include "store/rollup.h"
#include "store/scan.h"

struct column_parts {
    int at[ROLLUP_PARTS]; /* among the columns of the second scan; -1: not asked for */
};

struct rollup_read {
    struct rollup_state *state;
    struct sql_table table; /* the rollup's; its handle borrows the statement's list */
    struct sql_scan *sub;
    struct column_parts *parts; /* [request.column_count] */
    int64_t from_ns, to_ns;     /* the statement's */
    bool usable;                /* for this series */
    struct rollup_seen seen;
    int64_t at_ns, piece_to_ns;
    bool in_windows, in_rows; /* both: the rows of one window */
    struct sql_chunk chunk;   /* of the second scan; the next row is `row` */
    uint32_t row;
};

/* ---- opening ---- */

/* The coarsest rollup whose windows belong to one group each, as far as one of them tells. */
static int choose_rollup(const struct sql_scan *scan)
{
    const struct sql_scan_request *r = &scan->request;
    const struct schema *base = scan->handle->schema;
    for (int i = (int)base->rollup_count - 1; i >= 0; i--) {
        int64_t every = base->rollups[i].every_ns, first = 0, end;
        bool bounded = r->time_from_ns != INT64_MIN;
        if (bounded) first = rollup_window_start(r->time_from_ns, every);
        if (first == INT64_MIN || __builtin_add_overflow(first, every, &end)) continue;
        if (bounded && r->time_to_ns < end) continue;
        if (r->summarises(r->summary_context, first, end - 1)) return i;
    }
    return -1;
}

static struct rollup_state *find_state(const struct sql_scan *scan, int64_t every_ns,
                                       struct table_handle *handle)
{
    const struct table_list *list = scan->handle->list;
    uint32_t base_id = scan->handle->schema->table_id;
    for (uint32_t i = 0; i < list->count; i++) {
        const struct schema *s = list->items[i].schema;
        if (s->rollup_of != base_id || s->rollup_every_ns != every_ns) continue;
        *handle = (struct table_handle){(struct table_list *)(uintptr_t)list, list->items[i].schema,
                                        list->items[i].state};
        for (size_t n = 0; n < SCHEMA_ROLLUPS_MAX; n++) {
            struct rollup_state *state = atomic_load(&scan->handle->state->rollups[n]);
            if (state && state->table_id == s->table_id) return state;
        }
    }
    return NULL;
}

/* False: the rollup does not have, or not yet, what is wanted. */
static bool choose_columns(const struct sql_scan *scan, const struct schema *rollup,
                           struct rollup_read *read, uint16_t *ids, size_t *count)
{
    *count = 0;
    ids[(*count)++] = ROLLUP_ID_ROWS;
    ids[(*count)++] = ROLLUP_ID_FIRST_TIME;
    ids[(*count)++] = ROLLUP_ID_LAST_TIME;
    for (size_t i = 0; i < scan->request.column_count; i++) {
        for (enum rollup_part part = 0; part < ROLLUP_PARTS; part++) {
            uint16_t id = rollup_part_id(scan->request.columns[i], part);
            enum type type = rollup_part_type(scan->types[i], part);
            bool is_end = part == ROLLUP_FIRST || part == ROLLUP_LAST;
            read->parts[i].at[part] = -1;
            if (type == TYPE_NONE || (is_end && !scan->request.summary_needs_ends)) continue;
            const struct column *column = id ? schema_column(rollup, id) : NULL;
            if (!column || column->type != type) return false;
            read->parts[i].at[part] = (int)*count;
            ids[(*count)++] = id;
        }
    }
    return true;
}

enum err rollup_read_open(struct sql_scan *scan, struct why *why)
{
    const struct sql_scan_request *r = &scan->request;
    const struct schema *base = scan->handle->schema;
    if (!base->rollup_count || !r->summarises || r->newest_first || r->want_received ||
        r->row_limit)
        return ERR_OK;
    int chosen = choose_rollup(scan);
    if (chosen < 0) return ERR_OK;
    struct rollup_read *read = arena_zero(&scan->fixed, 1, sizeof *read);
    struct table_handle *handle = arena_zero(&scan->fixed, 1, sizeof *handle);
    size_t count, most = 3 + r->column_count * ROLLUP_PARTS;
    uint16_t *ids = arena_zero(&scan->fixed, most, sizeof *ids);
    if (!read || !handle || !ids) return ERR_BUDGET;
    read->parts = arena_zero(&scan->fixed, r->column_count, sizeof *read->parts);
    if (!read->parts) return ERR_BUDGET;
    read->state = find_state(scan, base->rollups[chosen].every_ns, handle);
    if (!read->state || !choose_columns(scan, handle->schema, read, ids, &count)) return ERR_OK;
    read->from_ns = r->time_from_ns;
    read->to_ns = r->time_to_ns;
    read->table = (struct sql_table){.schema = handle->schema, .handle = handle};
    struct sql_scan_request request = {.time_from_ns = r->time_from_ns,
                                       .time_to_ns = r->time_to_ns,
                                       .column_count = count,
                                       .columns = ids,
                                       .want_time = true};
    /* A window begins before the statement's range only where it is not used. */
    enum err err = store_sql_source.scan_open(scan->store, scan->snapshot, &read->table, &request,
                                              scan->budget, &read->sub, why);
    if (!err) scan->rollup = read;
    return err;
}

void rollup_read_close(struct sql_scan *scan)
{
    struct sql_scan_stats stats = {0};
    if (!scan->rollup) return;
    store_sql_source.scan_close(scan->rollup->sub, &stats);
    scan->stats.parts += stats.parts;
    scan->stats.blocks += stats.blocks;
    scan->stats.bytes += stats.bytes;
    scan->stats.damaged += stats.damaged;
    scan->rollup = NULL;
}

/* ---- pieces ---- */

static enum err begin_rows(struct sql_scan *scan, int64_t from, int64_t to, struct why *why)
{
    scan->rollup->in_rows = true;
    scan->request.time_from_ns = from;
    scan->request.time_to_ns = to;
    return merge_begin(scan, why);
}

static enum err begin_windows(struct rollup_read *read, struct sql_scan *scan, struct why *why)
{
    struct sql_scan *sub = read->sub;
    sub->series = catalog_series(&scan->store->catalog, read->seen.rollup_id);
    MUST(sub->series);
    sub->series_done = false;
    sub->request.time_from_ns = read->at_ns;
    sub->request.time_to_ns = read->piece_to_ns;
    read->in_windows = true;
    read->chunk = (struct sql_chunk){0};
    read->row = 0;
    return scan_begin_series(sub, why);
}

/* Where the piece that begins at at_ns ends; whether it is of clean windows. */
static bool find_piece(struct rollup_read *read)
{
    int64_t every = read->state->every_ns, at = read->at_ns, end, last;
    read->piece_to_ns = read->to_ns;
    if (!read->usable) return false;
    int64_t start = rollup_window_start(at, every);
    if (start != at) { /* cut by the range: up to the next one */
        if (!__builtin_add_overflow(start, every, &end) && end < read->to_ns)
            read->piece_to_ns = end;
        return false;
    }
    last = read->to_ns == INT64_MAX ? INT64_MAX : rollup_window_start(read->to_ns, every);
    for (uint32_t i = 0; i < read->seen.count; i++) {
        const struct dirty_range *range = &read->seen.ranges[i];
        if (range->to <= at) continue;
        if (range->from <= at) {
            if (range->to < read->to_ns) read->piece_to_ns = range->to;
            return false;
        }
        if (range->from < last) last = range->from;
        break;
    }
    if (last <= at) return false;
    read->piece_to_ns = last;
    return true;
}

static enum err begin_piece(struct sql_scan *scan, struct why *why)
{
    struct rollup_read *read = scan->rollup;
    read->in_rows = read->in_windows = false;
    scan->series_done = read->at_ns >= read->to_ns;
    if (scan->series_done) return ERR_OK;
    if (find_piece(read)) return begin_windows(read, scan, why);
    return begin_rows(scan, read->at_ns, read->piece_to_ns, why);
}

enum err rollup_read_begin(struct sql_scan *scan, struct why *why)
{
    struct rollup_read *read = scan->rollup;
    read->at_ns = read->from_ns;
    read->usable = rollup_state_see(read->state, scan->series->id, &read->seen) &&
                   read->seen.rollup_id && read->seen.cleaned <= scan->snapshot->applied;
    scan->request.time_from_ns = read->from_ns;
    scan->request.time_to_ns = read->to_ns;
    enum err err = scan_note_deleted(scan);
    return err ? err : begin_piece(scan, why);
}

/* ---- windows ---- */

static struct value part_of(const struct rollup_read *read, size_t column, enum rollup_part part)
{
    int at = read->parts[column].at[part];
    if (at < 0) return (struct value){.is_null = true};
    return vector_get(&read->chunk.columns[at], read->row);
}

static void set_sum(struct sql_summary *to, const struct value *sum)
{
    if (sum->is_null) return;
    if (sum->type == TYPE_DOUBLE)
        to->sum_double = sum->d;
    else
        to->sum_int = sum->type == TYPE_UBIGINT ? (__int128)sum->u : (__int128)sum->i;
}

static bool summarise_column(struct sql_scan *scan, size_t i, int64_t rows, bool is_frozen)
{
    const struct rollup_read *read = scan->rollup;
    struct sql_summary *to = &scan->summaries[i];
    struct value count = part_of(read, i, ROLLUP_COUNT), sum = part_of(read, i, ROLLUP_SUM);
    *to = (struct sql_summary){0};
    if (count.is_null || count.i == 0) return true; /* the column came later, or had no value */
    to->count = (uint64_t)count.i;
    if (!type_bytes(scan->types[i])) return true;
    to->least = part_of(read, i, ROLLUP_MIN);
    to->most = part_of(read, i, ROLLUP_MAX);
    if (to->least.is_null || to->most.is_null) return false;
    if (read->parts[i].at[ROLLUP_SUM] >= 0 && sum.is_null) return false; /* it did not fit */
    set_sum(to, &sum);
    to->has_values = true;
    if (!scan->request.summary_needs_ends) return true;
    to->first = part_of(read, i, ROLLUP_FIRST);
    to->last = part_of(read, i, ROLLUP_LAST);
    /* When the first value came is known only if it is the first row's. */
    return !to->first.is_null && !to->last.is_null && (is_frozen || count.i == rows);
}

/* The next window as a summary; false: its rows have to be read. */
static bool summarise_window(struct sql_scan *scan, struct sql_chunk *out, enum err *err)
{
    const struct sql_scan_request *r = &scan->request;
    const struct rollup_read *read = scan->rollup;
    struct value rows = vector_get(&read->chunk.columns[0], read->row),
                 first = vector_get(&read->chunk.columns[1], read->row),
                 last = vector_get(&read->chunk.columns[2], read->row);
    bool is_frozen = read->chunk.time.i[read->row] < atomic_load(&read->state->frozen_ns);
    if (rows.is_null || first.is_null || last.is_null || rows.i <= 0 || rows.i > UINT32_MAX)
        return false;
    if (!r->summarises(r->summary_context, first.i, last.i)) return false;
    for (size_t i = 0; i < r->column_count; i++)
        if (!summarise_column(scan, i, rows.i, is_frozen)) return false;
    if (vector_make(&out->time, &scan->scratch, TYPE_TIMESTAMP, 1, false, false)) {
        *err = ERR_BUDGET;
        return true;
    }
    out->time.i[0] = first.i;
    out->time.count = 1;
    out->row_count = (uint32_t)rows.i;
    out->summaries = scan->summaries;
    out->summary_last_ns = last.i;
    scan->stats.summaries++;
    return true;
}

static enum err next_window(struct sql_scan *scan, struct sql_chunk *out, struct why *why)
{
    struct rollup_read *read = scan->rollup;
    enum err err = ERR_OK;
    if (read->row == read->chunk.row_count) {
        read->chunk = (struct sql_chunk){0};
        read->row = 0;
        arena_reset(&read->sub->scratch);
        err = merge_next(read->sub, &read->chunk, why);
        read->chunk.columns = read->sub->columns;
        if (err) return err;
        if (!read->chunk.row_count) {
            read->at_ns = read->piece_to_ns;
            return begin_piece(scan, why);
        }
    }
    int64_t start = read->chunk.time.i[read->row], end;
    bool taken = summarise_window(scan, out, &err);
    read->row++;
    if (taken || err) return err;
    if (__builtin_add_overflow(start, read->state->every_ns, &end)) end = INT64_MAX;
    return begin_rows(scan, start, end, why);
}

enum err rollup_read_next(struct sql_scan *scan, struct sql_chunk *out, struct why *why)
{
    struct rollup_read *read = scan->rollup;
    enum err err = ERR_OK;
    while (!err && !out->row_count && !scan->series_done) {
        if (!read->in_rows) {
            err = next_window(scan, out, why);
            continue;
        }
        err = merge_next(scan, out, why);
        if (err || out->row_count) break;
        scan->series_done = read->in_rows = false;
        if (read->in_windows) continue; /* that was one of them */
        read->at_ns = read->piece_to_ns;
        err = begin_piece(scan, why);
    }
    return err;
}
