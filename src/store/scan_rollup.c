/* scan_rollup.c - windows of rollups in place of the rows that they stand for; see rollup.h.
 *
 * The range of a series is walked piece by piece: where windows are dirty, or the range cuts one,
 * the base table's rows are merged as always; where they are clean, the rows of the coarsest rollup
 * that fits there come as summaries, out of a second scan over the same snapshot. A window that
 * cannot stand for its rows (the statement's groups cut it, a sum that did not fit) is read from
 * its rows after all, and so is the rest of a piece when windows of it turn out to be lost.
 *
 * Why it is right: a window that is not dirty now, in a series of which nothing was cleaned after
 * the snapshot, was not touched between its computing and the snapshot; and the snapshot sees the
 * row that was computed. Lost rows of the rollup are noticed before any window behind them is
 * handed out, since a scan reads what comes next before it goes on. */
#include "store/rollup.h"
#include "store/scan.h"
#include <stdio.h>
#include <string.h>

struct column_parts {
    int at[ROLLUP_PARTS]; /* among the columns of the second scan; -1: not asked for */
};

/* One rollup that fits the statement. */
struct level {
    struct rollup_state *state;
    struct sql_table table; /* its handle borrows the statement's list */
    struct sql_scan *sub;
    struct column_parts *parts; /* [request.column_count] */
    uint64_t taken;             /* windows handed out */
    bool is_sparse;             /* of few rows each: taken only where rows are gone */
    /* Of this series: */
    bool usable;
    struct rollup_seen seen;
    int64_t frozen_ns;
};

struct rollup_read {
    struct level levels[SCHEMA_ROLLUPS_MAX]; /* coarsest first */
    size_t level_count;
    int64_t from_ns, to_ns; /* the statement's */
    /* The piece: */
    struct level *level; /* whose windows it has */
    int64_t at_ns, piece_to_ns;
    bool in_windows, in_rows; /* both: the rows of one window */
    bool falls_back;          /* from rows_from_ns on the piece comes from rows */
    int64_t covered_ns, rows_from_ns;
    struct sql_chunk chunk; /* of the second scan; the next row is `row` */
    uint32_t row;
};

/* ---- opening ---- */

/* Whether its windows belong to one group each, as far as one of them tells. */
static bool fits(const struct sql_scan_request *r, int64_t every_ns)
{
    int64_t first = 0, end;
    bool bounded = r->time_from_ns != INT64_MIN;
    if (bounded) first = rollup_window_start(r->time_from_ns, every_ns);
    if (first == INT64_MIN || __builtin_add_overflow(first, every_ns, &end)) return false;
    if (bounded && r->time_to_ns < end) return false;
    return r->summarises(r->summary_context, first, end - 1);
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
                           struct level *level, uint16_t *ids, size_t *count)
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
            level->parts[i].at[part] = -1;
            bool is_bound = part == ROLLUP_MIN || part == ROLLUP_MAX;
            if (type == TYPE_NONE || (is_end && !scan->request.summary_needs_ends) ||
                (is_bound && scan->request.summary_ignores_bounds))
                continue;
            const struct column *column = id ? schema_column(rollup, id) : NULL;
            if (!column || column->type != type) return false;
            level->parts[i].at[part] = (int)*count;
            ids[(*count)++] = id;
        }
    }
    return true;
}

/* Windows of few rows cost more than these: blocks of rows have statistics of their own, and far
 * fewer of them. Where density is not known the windows are taken. */
static bool is_sparse(const struct store *store, const struct rollup_state *state)
{
    uint64_t density = rollup_state_density(state);
    return density && density < store->rollups.rows_min;
}

/* The level counts only when all of it is there. */
static enum err open_level(struct sql_scan *scan, struct rollup_read *read, int64_t every_ns,
                           struct why *why)
{
    const struct sql_scan_request *r = &scan->request;
    struct level *level = &read->levels[read->level_count];
    struct table_handle *handle = arena_zero(&scan->fixed, 1, sizeof *handle);
    size_t count, most = 3 + r->column_count * ROLLUP_PARTS;
    uint16_t *ids = arena_zero(&scan->fixed, most, sizeof *ids);
    level->parts = arena_zero(&scan->fixed, r->column_count, sizeof *level->parts);
    if (!handle || !ids || !level->parts) return ERR_BUDGET;
    level->state = find_state(scan, every_ns, handle);
    if (!level->state) return ERR_OK;
    level->is_sparse = is_sparse(scan->store, level->state);
    bool is_useless = level->is_sparse && atomic_load(&level->state->frozen_ns) == INT64_MIN;
    if (is_useless || !choose_columns(scan, handle->schema, level, ids, &count)) return ERR_OK;
    level->table = (struct sql_table){.schema = handle->schema, .handle = handle};
    /* A window begins before the statement's range only where it is not used. */
    struct sql_scan_request request = {.time_from_ns = r->time_from_ns,
                                       .time_to_ns = r->time_to_ns,
                                       .column_count = count,
                                       .columns = ids,
                                       .want_time = true};
    enum err err = store_sql_source.scan_open(scan->store, scan->snapshot, &level->table, &request,
                                              scan->budget, &level->sub, why);
    if (!err) read->level_count++;
    return err;
}

static bool may_use_rollups(const struct sql_scan *scan)
{
    const struct sql_scan_request *r = &scan->request;
    return scan->handle->schema->rollup_count && r->summarises && !r->newest_first &&
           !r->want_received && !r->row_limit;
}

enum err rollup_read_open(struct sql_scan *scan, struct why *why)
{
    const struct sql_scan_request *r = &scan->request;
    const struct schema *base = scan->handle->schema;
    struct rollup_read *read = NULL;
    enum err err = ERR_OK;
    if (!may_use_rollups(scan)) return ERR_OK;
    for (uint32_t i = base->rollup_count; i-- > 0 && !err;) {
        if (!fits(r, base->rollups[i].every_ns)) continue;
        if (!read) read = arena_zero(&scan->fixed, 1, sizeof *read);
        if (!read) return ERR_BUDGET;
        scan->rollup = read; /* closed with the scan, whatever comes */
        err = open_level(scan, read, base->rollups[i].every_ns, why);
    }
    if (!read) return err;
    read->from_ns = r->time_from_ns;
    read->to_ns = r->time_to_ns;
    if (!read->level_count) scan->rollup = NULL;
    return err;
}

static void name_level(struct sql_scan_stats *stats, const struct level *level)
{
    size_t used = strlen(stats->rollups);
    stats->windows += level->taken;
    snprintf(stats->rollups + used, sizeof stats->rollups - used, "%s%s", used ? ", " : "",
             level->table.schema->name);
}

void rollup_read_close(struct sql_scan *scan)
{
    struct rollup_read *read = scan->rollup;
    for (size_t i = 0; read && i < read->level_count; i++) {
        struct sql_scan_stats stats = {0};
        store_sql_source.scan_close(read->levels[i].sub, &stats);
        /* Not what is damaged: rows stood in for it, or it was counted when they could not. */
        scan->stats.parts += stats.parts;
        scan->stats.blocks += stats.blocks;
        scan->stats.bytes += stats.bytes;
        if (read->levels[i].taken) name_level(&scan->stats, &read->levels[i]);
    }
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
    struct sql_scan *sub = read->level->sub;
    sub->series = catalog_series(&scan->store->catalog, read->level->seen.rollup_id);
    MUST(sub->series);
    sub->series_done = sub->lost = false;
    sub->request.time_from_ns = read->covered_ns = read->at_ns;
    sub->request.time_to_ns = read->piece_to_ns;
    read->in_windows = true;
    read->chunk = (struct sql_chunk){0};
    read->row = 0;
    return scan_begin_series(sub, why);
}

/* True: from `at` up to *to_ns, which is lowered, the level has clean windows. False: it has none
 * before *limit_ns, which may be lowered. */
static bool has_windows(const struct level *level, int64_t at, int64_t *to_ns, int64_t *limit_ns)
{
    int64_t every = level->state->every_ns, start = rollup_window_start(at, every), end, last;
    if (!level->usable || (level->is_sparse && at >= level->frozen_ns)) return false;
    if (start != at) { /* cut by the range: up to the next one */
        if (!__builtin_add_overflow(start, every, &end) && end < *limit_ns) *limit_ns = end;
        return false;
    }
    last = *to_ns == INT64_MAX ? INT64_MAX : rollup_window_start(*to_ns, every);
    if (level->is_sparse && level->frozen_ns < last) last = level->frozen_ns;
    for (uint32_t i = 0; i < level->seen.count; i++) {
        const struct dirty_range *range = &level->seen.ranges[i];
        if (range->to <= at) continue;
        if (range->from <= at) {
            if (range->to < *limit_ns) *limit_ns = range->to;
            return false;
        }
        if (range->from < last) last = range->from;
        break;
    }
    if (last <= at) return false;
    *to_ns = last;
    return true;
}

/* Where the piece that begins at at_ns ends; whether it is of clean windows, and whose. */
static bool find_piece(struct rollup_read *read)
{
    int64_t limit = read->to_ns; /* there a coarser one gets its turn */
    for (size_t i = 0; i < read->level_count; i++) {
        int64_t to = limit;
        if (!has_windows(&read->levels[i], read->at_ns, &to, &limit)) continue;
        read->level = &read->levels[i];
        read->piece_to_ns = to;
        return true;
    }
    read->piece_to_ns = limit;
    return false;
}

static enum err begin_piece(struct sql_scan *scan, struct why *why)
{
    struct rollup_read *read = scan->rollup;
    read->in_rows = read->in_windows = read->falls_back = false;
    scan->series_done = read->at_ns >= read->to_ns;
    if (scan->series_done) return ERR_OK;
    if (find_piece(read)) return begin_windows(read, scan, why);
    return begin_rows(scan, read->at_ns, read->piece_to_ns, why);
}

enum err rollup_read_begin(struct sql_scan *scan, struct why *why)
{
    struct rollup_read *read = scan->rollup;
    read->at_ns = read->from_ns;
    for (size_t i = 0; i < read->level_count; i++) {
        struct level *level = &read->levels[i];
        level->usable = rollup_state_see(level->state, scan->series->id, &level->seen) &&
                        level->seen.rollup_id && level->seen.cleaned <= scan->snapshot->applied;
        level->frozen_ns = atomic_load(&level->state->frozen_ns);
    }
    scan->request.time_from_ns = read->from_ns;
    scan->request.time_to_ns = read->to_ns;
    enum err err = scan_note_deleted(scan);
    return err ? err : begin_piece(scan, why);
}

/* ---- windows ---- */

static struct value part_of(const struct rollup_read *read, size_t column, uint32_t row,
                            enum rollup_part part)
{
    int at = read->level->parts[column].at[part];
    if (at < 0) return (struct value){.is_null = true};
    return vector_get(&read->chunk.columns[at], row);
}

/* What a window says of itself. */
struct window {
    int64_t rows, first_ns, last_ns;
    bool is_frozen;
};

/* False: it says nothing of its rows. */
static bool see_window(const struct rollup_read *read, uint32_t row, struct window *window)
{
    const struct vector *columns = read->chunk.columns;
    for (size_t i = 0; i < 3; i++)
        if (vector_is_null(&columns[i], row)) return false;
    *window = (struct window){columns[0].i[vector_at(&columns[0], row)],
                              columns[1].i[vector_at(&columns[1], row)],
                              columns[2].i[vector_at(&columns[2], row)],
                              read->chunk.time.i[row] < read->level->frozen_ns};
    return window->rows > 0 && window->rows <= UINT32_MAX;
}

static bool has_part(const struct rollup_read *read, size_t column, uint32_t row,
                     enum rollup_part part)
{
    int at = read->level->parts[column].at[part];
    return at < 0 || !vector_is_null(&read->chunk.columns[at], row);
}

/* Whether what a window says of one column is all that its rows would. */
static bool stands(const struct sql_scan *scan, size_t i, uint32_t row, const struct window *window)
{
    const struct rollup_read *read = scan->rollup;
    struct value count = part_of(read, i, row, ROLLUP_COUNT);
    if (count.is_null || count.i == 0) return true; /* the column came later, or had no value */
    for (enum rollup_part part = 0; part < ROLLUP_PARTS; part++)
        if (!has_part(read, i, row, part)) return false; /* a sum that did not fit */
    /* When the first value came is known only if it is the first row's. */
    return !scan->request.summary_needs_ends || !type_bytes(scan->types[i]) || window->is_frozen ||
           count.i == window->rows;
}

/* It joins what the windows before it said. */
static void add_column(const struct sql_scan *scan, size_t i, uint32_t row, struct sql_summary *to)
{
    const struct rollup_read *read = scan->rollup;
    struct value count = part_of(read, i, row, ROLLUP_COUNT);
    if (count.is_null || count.i == 0) return;
    to->count += (uint64_t)count.i;
    if (!type_bytes(scan->types[i])) return;
    struct value sum = part_of(read, i, row, ROLLUP_SUM);
    if (!sum.is_null && sum.type == TYPE_DOUBLE) to->sum_double += sum.d;
    if (!sum.is_null && sum.type != TYPE_DOUBLE)
        to->sum_int += sum.type == TYPE_UBIGINT ? (__int128)sum.u : (__int128)sum.i;
    if (!scan->request.summary_ignores_bounds) {
        struct value least = part_of(read, i, row, ROLLUP_MIN),
                     most = part_of(read, i, row, ROLLUP_MAX);
        if (!to->has_values || value_compare(&least, &to->least) < 0) to->least = least;
        if (!to->has_values || value_compare(&to->most, &most) < 0) to->most = most;
    }
    if (scan->request.summary_needs_ends) {
        if (!to->has_values) to->first = part_of(read, i, row, ROLLUP_FIRST);
        to->last = part_of(read, i, row, ROLLUP_LAST);
    }
    to->has_values = true;
}

/* How many windows from the next one on stand for their rows and belong to one group; those are
 * gathered in scan->summaries. `all`: their rows, and the times of the first and the last. */
static uint32_t gather_windows(struct sql_scan *scan, int64_t end_ns, struct window *all)
{
    const struct sql_scan_request *r = &scan->request;
    const struct rollup_read *read = scan->rollup;
    struct window window;
    uint32_t row = read->row;
    for (; row < read->chunk.row_count && read->chunk.time.i[row] < end_ns; row++) {
        bool good = see_window(read, row, &window) && all->rows + window.rows <= UINT32_MAX;
        if (good && row == read->row) all->first_ns = window.first_ns;
        good = good && r->summarises(r->summary_context, all->first_ns, window.last_ns);
        for (size_t i = 0; i < r->column_count && good; i++) good = stands(scan, i, row, &window);
        if (!good) break;
        for (size_t i = 0; i < r->column_count; i++) add_column(scan, i, row, &scan->summaries[i]);
        all->rows += window.rows;
        all->last_ns = window.last_ns;
    }
    return row - read->row;
}

/* The next windows of one group as a summary; false: the rows of the next one have to be read. */
static bool summarise_windows(struct sql_scan *scan, int64_t end_ns, struct sql_chunk *out,
                              enum err *err)
{
    struct rollup_read *read = scan->rollup;
    struct window all = {0};
    for (size_t i = 0; i < scan->request.column_count; i++)
        scan->summaries[i] = (struct sql_summary){0};
    uint32_t count = gather_windows(scan, end_ns, &all);
    if (!count) return false;
    if (vector_make(&out->time, &scan->scratch, TYPE_TIMESTAMP, 1, false, false)) {
        *err = ERR_BUDGET;
        return true;
    }
    out->time.i[0] = all.first_ns;
    out->time.count = 1;
    out->row_count = (uint32_t)all.rows;
    out->summaries = scan->summaries;
    out->summary_last_ns = all.last_ns;
    scan->stats.summaries++;
    read->level->taken += count;
    read->row += count;
    return true;
}

/* Windows were lost behind what was handed out. Where rows may be gone, too, what is left of the
 * windows is all there is. */
static void fall_back(struct sql_scan *scan)
{
    struct rollup_read *read = scan->rollup;
    const struct level *level = read->level;
    level->sub->lost = false;
    rollup_state_lose(level->state, scan->series->id);
    read->rows_from_ns = read->covered_ns;
    if (level->frozen_ns > read->covered_ns) {
        read->rows_from_ns = level->frozen_ns;
        scan->stats.damaged++;
    }
    read->falls_back = read->rows_from_ns < read->piece_to_ns;
}

/* The next window of the piece is in the chunk, at `row`; or the piece has none: *is_end. */
static enum err fetch(struct sql_scan *scan, bool *is_end, struct why *why)
{
    struct rollup_read *read = scan->rollup;
    struct sql_scan *sub = read->level->sub;
    if (read->row == read->chunk.row_count) {
        read->chunk = (struct sql_chunk){0};
        read->row = 0;
        arena_reset(&sub->scratch);
        enum err err = merge_next(sub, &read->chunk, why);
        read->chunk.columns = sub->columns;
        if (err) return err;
        if (sub->lost) fall_back(scan);
    }
    *is_end = read->row == read->chunk.row_count ||
              (read->falls_back && read->chunk.time.i[read->row] >= read->rows_from_ns);
    return ERR_OK;
}

static enum err next_window(struct sql_scan *scan, struct sql_chunk *out, struct why *why)
{
    struct rollup_read *read = scan->rollup;
    bool is_end = false;
    enum err err = fetch(scan, &is_end, why);
    if (err) return err;
    if (is_end && read->falls_back) {
        read->in_windows = false;
        return begin_rows(scan, read->rows_from_ns, read->piece_to_ns, why);
    }
    if (is_end) {
        read->at_ns = read->piece_to_ns;
        return begin_piece(scan, why);
    }
    int64_t start = read->chunk.time.i[read->row], end;
    bool taken =
        summarise_windows(scan, read->falls_back ? read->rows_from_ns : INT64_MAX, out, &err);
    if (!taken) read->row++;
    if (read->row) start = read->chunk.time.i[read->row - 1];
    if (__builtin_add_overflow(start, read->level->state->every_ns, &end)) end = INT64_MAX;
    read->covered_ns = end;
    if (taken || err) return err;
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

/* ---- EXPLAIN ---- */

void rollup_read_names(const struct store *store, const struct table_handle *handle,
                       const struct sql_scan_request *request, struct buf *out)
{
    const struct schema *base = handle->schema;
    const struct sql_scan scan = {.handle = (struct table_handle *)(uintptr_t)handle,
                                  .request = *request};
    struct table_handle found;
    bool any = false;
    if (!may_use_rollups(&scan)) return;
    for (uint32_t i = base->rollup_count; i-- > 0;) {
        const struct rollup_state *state =
            fits(request, base->rollups[i].every_ns)
                ? find_state(&scan, base->rollups[i].every_ns, &found)
                : NULL;
        if (!state) continue;
        buf_printf(out, "%s%s", any ? ", " : "", found.schema->name);
        if (is_sparse(store, state))
            buf_printf(out, " (only where rows are gone: %llu rows a window, %u are worth it)",
                       (unsigned long long)rollup_state_density(state), store->rollups.rows_min);
        any = true;
    }
}
