/* rollup_task.c - see rollup_task.h.
 *
 * Whether a window has ended is asked of the wall clock, and only to save work: a row that comes
 * for a window later, by whatever clock, makes it dirty again. What must not depend on a wrong
 * clock is which windows are frozen: that is trusted time's.
 *
 * Freezing: when the retention of the base table is over for a day of rows, and no window of the
 * days so far waits any more, all of them are frozen at once; only then retention takes rows. */
#include "store/rollup.h"
#include "store/scan.h"
#include <string.h>

static const char component[] = "rollup";

enum {
    LOOK_MS = 250,
    RETRY_MS = 5000,
    WINDOWS_MAX = 1024,     /* rows of one piece of work */
    CELLS_MAX = 256 * 1024, /* the same for tables with many columns */
    SHARE_PERCENT = 5,      /* of the node's memory */
    WALK_MAX = 65536,       /* series looked at in one round */
    FREEZE_LOOK_MS = 1000,  /* it walks over all series, too, while it waits */
};
#define BUDGET_BYTES_MIN ((size_t)4 * 1024 * 1024)
#define MS_NS            ((int64_t)1000000)

/* ---- choosing (log task) ---- */

/* The end of the last day whose rows retention may take. False: it takes none. */
static bool find_limit(const struct store *store, const struct schema *base, int64_t *limit_ns)
{
    int64_t trusted = atomic_load(&store->trusted_ns), oldest;
    if (base->retention_ns <= 0 || !atomic_load(&store->time_trusted) || trusted == INT64_MIN ||
        __builtin_sub_overflow(trusted, base->retention_ns, &oldest))
        return false;
    *limit_ns = rollup_window_start(oldest, SEAL_PARTITION_NS);
    return true;
}

/* Windows freeze before retention takes anything of theirs, and not before they are computed. */
static void freeze(struct store *store, struct rollup_state *state, const struct schema *base)
{
    int64_t limit, now = context_mono_ns(store->context);
    struct table_state *table = catalog_table_state(&store->catalog, state->base_id);
    bool waits = false;
    if (now < state->freeze_ns || !table) return;
    state->freeze_ns = now + FREEZE_LOOK_MS * MS_NS;
    bool is_due = find_limit(store, base, &limit) && limit > atomic_load(&state->frozen_ns);
    const struct series *series = is_due ? atomic_load(&table->first) : NULL;
    for (; series && !waits;
         series = atomic_load(&((struct series *)(uintptr_t)series)->next_of_table))
        waits = rollup_state_waits(state, series->id, limit);
    if (is_due && !waits) rollup_state_freeze(&store->catalog, state, limit);
    if (!waits)
        atomic_store(&state->waits_since_ns, 0);
    else if (!atomic_load(&state->waits_since_ns))
        atomic_store(&state->waits_since_ns, now);
}

static void note_due(struct rollup_state *state, int64_t from)
{
    int64_t due;
    if (__builtin_add_overflow(from, state->every_ns, &due)) due = INT64_MAX;
    if (due < state->pass_due_ns) state->pass_due_ns = due;
}

/* The oldest dirty windows of a series that have ended. */
static bool choose_range(struct rollup_work *work, struct rollup_series *series,
                         struct rollup_item *item)
{
    struct rollup_state *state = work->state;
    int64_t frozen = atomic_load(&state->frozen_ns),
            now = rollup_window_start(work->now_ns, state->every_ns);
    const struct dirty_range *ranges = dirty_ranges(&series->dirty);
    for (uint32_t i = 0; i < series->dirty.count; i++) {
        int64_t from = ranges[i].from > frozen ? ranges[i].from : frozen, to = ranges[i].to;
        if (from >= to) continue;
        if (to != INT64_MAX && to > now) to = now;
        if (from >= now || from >= to) {
            note_due(state, from);
            return false;
        }
        item->from_ns = from;
        item->to_ns = to;
        return true;
    }
    return false;
}

static void choose_series(struct store *store, struct rollup_work *work, struct series *base)
{
    struct rollup_series *series = rollup_state_series(work->state, base->id);
    struct rollup_item *item = &work->items[work->count];
    MUST(!work->busy && work->count < ROLLUP_ITEMS_MAX);
    if (!series || !choose_range(work, series, item)) return;
    if (!series->rollup_id)
        series->rollup_id =
            catalog_find_series(&store->catalog, work->rollup->table_id, base->path);
    item->base = base;
    item->series = series;
    item->rollup_id = series->rollup_id;
    item->done_ns = item->from_ns;
    MUST(item->from_ns < item->to_ns && !series->touched);
    dirty_init(&item->touched, DIRTY_OWN_RANGES);
    series->touched = &item->touched;
    work->count++;
}

/* Goes on with the pass over the series of one rollup. */
static void choose(struct store *store, struct rollup_state *state)
{
    struct rollup_work *work = &store->rollups.work;
    struct table_state *table = catalog_table_state(&store->catalog, state->base_id);
    if (!table) return;
    if (!state->cursor) {
        state->cursor = atomic_load(&table->first);
        state->pass_due_ns = INT64_MAX;
    }
    for (size_t i = 0; state->cursor && work->count < ROLLUP_ITEMS_MAX && i < WALK_MAX; i++) {
        choose_series(store, work, state->cursor);
        /* What is left of a series is chosen in the next pass. */
        state->cursor = atomic_load(&state->cursor->next_of_table);
    }
    if (work->count) state->pass_due_ns = INT64_MIN;
    if (!state->cursor) state->due_ns = state->pass_due_ns;
    if (!state->cursor && state->pass_due_ns != INT64_MIN)
        atomic_store(&state->behind_since_ns, 0); /* nothing was found from end to end */
    else if (work->count && !atomic_load(&state->behind_since_ns))
        atomic_store(&state->behind_since_ns, context_mono_ns(store->context));
}

static bool take_up(struct store *store, struct rollup_state *state)
{
    struct rollup_work *work = &store->rollups.work;
    const struct schema *base = catalog_schema(&store->catalog, state->base_id),
                        *rollup = catalog_schema(&store->catalog, state->table_id);
    if (!base || !rollup) return false;
    rollup_state_take_lost(&store->catalog, state);
    freeze(store, state, base);
    if (work->now_ns < state->due_ns) return false;
    work->state = state;
    work->base = schema_share(base);
    work->rollup = schema_share(rollup);
    work->count = 0;
    choose(store, state);
    if (work->count) return true;
    schema_release(work->base);
    schema_release(work->rollup);
    work->base = work->rollup = NULL;
    return false;
}

static void on_timer(void *arg)
{
    struct store *store = arg;
    store->rollups.is_timed = false;
    rollup_look(store);
}

/* Without a timer the log task's own, which is slower, will do. */
static void look_later(struct store *store, int64_t in_ns)
{
    struct rollups *r = &store->rollups;
    const struct os_ops *ops = store->context->os->ops;
    if (r->is_timed) return;
    if (!r->timer && ops->timer_make(store->log_loop.task, on_timer, store, &r->timer)) return;
    r->is_timed = true;
    ops->timer_set(r->timer, in_ns);
}

void rollup_look(struct store *store)
{
    struct rollups *r = &store->rollups;
    int64_t now = context_mono_ns(store->context);
    if (!store->catalog.rollups || r->work.busy || r->paused || store->closing) return;
    if (now < r->retry_ns) return;
    if (now < r->look_ns) {
        look_later(store, r->look_ns - now);
        return;
    }
    r->work.now_ns = context_wall_ns(store->context);
    struct rollup_state *state = store->catalog.rollups;
    while (state && !take_up(store, state)) state = state->next;
    if (!state) {
        r->look_ns = now + LOOK_MS * MS_NS;
        return;
    }
    r->work.busy = r->work.is_reading = true;
    loop_post(&r->loop, &r->work.job);
}

/* ---- computing (rollup task) ---- */

/* Windows that begin in [from_ns, to_ns] are to be deleted. */
static enum err add_empty(struct rollup_work *work, const struct rollup_item *item, int64_t from_ns,
                          int64_t to_ns)
{
    enum err err =
        mem_grow(&work->ranges, &work->range_capacity, work->range_count + 1, sizeof *work->ranges);
    if (!err)
        work->ranges[work->range_count++] =
            (struct store_range){.device = item->base->path, .from_ns = from_ns, .to_ns = to_ns};
    return err;
}

/* Of the rows that the rollup has, those that were not computed again. `row`: the first of the
 * item's in the batch, which ascend; `goes_on`: the last range does, there is no row between. */
static enum err compare_chunk(struct rollup_work *work, const struct rollup_item *item,
                              const struct sql_chunk *chunk, uint32_t *row, bool *goes_on)
{
    enum err err = ERR_OK;
    for (uint32_t i = 0; i < chunk->row_count && !err; i++) {
        const struct batch *batch = work->batch;
        int64_t time = chunk->time.i[i];
        for (; *row < batch->row_count && batch->time[*row] < time; ++*row) *goes_on = false;
        bool is_empty = *row == batch->row_count || batch->time[*row] != time;
        if (is_empty && *goes_on)
            work->ranges[work->range_count - 1].to_ns = time;
        else if (is_empty)
            err = add_empty(work, item, time, time);
        *goes_on = is_empty;
    }
    return err;
}

/* The same when those that the rollup has cannot be read: whatever lies between the item's rows. */
static enum err empty_gaps(struct rollup_work *work, const struct rollup_item *item, uint32_t row)
{
    const struct batch *batch = work->batch;
    int64_t from = item->from_ns;
    enum err err = ERR_OK;
    for (; row < batch->row_count && !err; row++) {
        int64_t time = batch->time[row];
        if (from < time) err = add_empty(work, item, from, time - 1);
        if (__builtin_add_overflow(time, work->state->every_ns, &from)) return err;
    }
    if (!err && from < item->done_ns) err = add_empty(work, item, from, item->done_ns - 1);
    return err;
}

/* Windows that lost their last row. */
static enum err find_empty(struct store *store, struct store_snapshot *snapshot,
                           struct rollup_work *work, const struct rollup_item *item, uint32_t row)
{
    struct sql_series_filter filter = {STR("device"), 1, &item->base->path};
    struct sql_scan_request request = {.time_from_ns = item->from_ns,
                                       .time_to_ns = item->done_ns,
                                       .filter_count = 1,
                                       .filters = &filter,
                                       .want_time = true};
    struct sql_table table = {0};
    struct sql_scan *scan = NULL;
    struct sql_scan_stats stats = {0};
    struct sql_chunk chunk;
    struct arena arena;
    size_t ranges = work->range_count;
    uint32_t at = row;
    bool goes_on = false;
    if (!item->rollup_id || item->from_ns >= item->done_ns) return ERR_OK;
    arena_init(&arena, &store->rollups.budget);
    enum err err =
        store_sql_source.find_table(store, str_of(work->rollup->ns), STR(""),
                                    str_of(work->rollup->name), &arena, &table, &work->why);
    if (!err && !table.schema) err = ERR_NO_TABLE;
    if (!err)
        err = store_sql_source.scan_open(store, snapshot, &table, &request, &store->rollups.budget,
                                         &scan, &work->why);
    do {
        if (!err) err = store_sql_source.scan_next(scan, &chunk, &work->why);
        if (!err) err = compare_chunk(work, item, &chunk, &at, &goes_on);
    } while (!err && chunk.row_count);
    store_sql_source.scan_close(scan, &stats);
    store_sql_source.close_table(store, &table);
    arena_free(&arena);
    if (err || !stats.damaged) return err;
    work->range_count = ranges;
    return empty_gaps(work, item, row);
}

/* Whether the series has a row at or behind a time; then the windows from there on stay dirty. */
static enum err compute_rest(struct store *store, struct store_snapshot *snapshot,
                             struct rollup_work *work, struct rollup_item *item)
{
    struct rollup_step step = {.base = work->base,
                               .rollup = work->rollup,
                               .every_ns = work->state->every_ns,
                               .device = item->base->path,
                               .from_ns = item->done_ns,
                               .to_ns = INT64_MAX,
                               .windows_max = 1};
    struct batch *scratch = batch_new(work->rollup, &store->rollups.budget);
    if (!scratch) return ERR_NO_MEMORY;
    enum err err =
        rollup_compute(store, snapshot, &step, &store->rollups.budget, scratch, &work->why);
    if (!err && !scratch->row_count) item->done_ns = INT64_MAX;
    batch_release(scratch);
    return err;
}

static enum err compute_item(struct store *store, struct store_snapshot *snapshot,
                             struct rollup_work *work, struct rollup_item *item, uint32_t rows_max)
{
    uint32_t row = work->batch->row_count;
    int64_t now = rollup_window_start(work->now_ns, work->state->every_ns);
    /* Nothing freezes while it is computed. */
    MUST(item->from_ns >= atomic_load(&work->state->frozen_ns));
    bool is_open = item->to_ns == INT64_MAX;
    int64_t to = is_open ? now : item->to_ns;
    if (item->from_ns >= to || row >= rows_max) return ERR_OK;
    struct rollup_step step = {.base = work->base,
                               .rollup = work->rollup,
                               .every_ns = work->state->every_ns,
                               .device = item->base->path,
                               .from_ns = item->from_ns,
                               .to_ns = to,
                               .windows_max = rows_max - row};
    enum err err =
        rollup_compute(store, snapshot, &step, &store->rollups.budget, work->batch, &work->why);
    if (err) return err;
    item->done_ns = step.done_ns;
    err = find_empty(store, snapshot, work, item, row);
    if (!err && is_open && step.done_ns == to) err = compute_rest(store, snapshot, work, item);
    return err;
}

static enum err compute(struct store *store, struct rollup_work *work)
{
    void *opaque;
    uint32_t rows_max = CELLS_MAX / work->rollup->column_count;
    if (rows_max > WINDOWS_MAX) rows_max = WINDOWS_MAX;
    work->batch = batch_new(work->rollup, &store->rollups.budget);
    if (!work->batch) return ERR_NO_MEMORY;
    enum err err = store_sql_source.snapshot_open(store, &opaque);
    if (err) return err;
    struct store_snapshot *snapshot = opaque;
    work->applied = snapshot->applied;
    for (size_t i = 0; i < work->count && !err; i++) {
        struct rollup_item *item = &work->items[i];
        uint32_t rows = work->batch->row_count;
        size_t ranges = work->range_count;
        err = compute_item(store, snapshot, work, item, rows_max);
        if (err != ERR_CORRUPT) continue;
        /* Only this device: the rest of the windows is not to blame. Its rows so far were not
         * computed whole. */
        item->done_ns = item->from_ns;
        item->damaged = true;
        while (work->batch->row_count > rows) batch_drop_row(work->batch);
        work->range_count = ranges;
        health_note(store, STORE_WARNING, work->rollup->name, "%s", why_text(&work->why, err));
        work->why = WHY_NONE;
        err = ERR_OK;
    }
    store_sql_source.snapshot_close(store, snapshot);
    if (!err && work->batch->row_count) err = batch_seal(work->batch);
    return err;
}

static void run_work(struct job *job)
{
    struct store *store =
        (struct store *)(void *)((char *)job - offsetof(struct store, rollups.work.job));
    struct rollup_work *work = &store->rollups.work;
    work->why = WHY_NONE;
    work->range_count = 0;
    work->err = compute(store, work);
    loop_post(&store->log_loop, &work->computed);
}

/* ---- taking in (log task) ---- */

static void let_go(struct rollup_work *work)
{
    for (size_t i = 0; i < work->count; i++) work->items[i].series->touched = NULL;
    work->count = 0;
    batch_release(work->batch);
    schema_release(work->base);
    schema_release(work->rollup);
    work->batch = NULL;
    work->base = work->rollup = NULL;
    work->busy = false;
}

static void clean(struct store *store, struct rollup_work *work, struct rollup_item *item)
{
    struct rollup_series *series = item->series;
    MUST(series->touched == &item->touched && item->done_ns <= item->to_ns);
    uint64_t position = work->applied;
    if (work->append.seq > position) position = work->append.seq;
    if (work->delete.seq > position) position = work->delete.seq;
    series->damaged = item->damaged;
    if (item->from_ns >= item->done_ns) return;
    dirty_remove(&series->dirty, item->from_ns, item->done_ns);
    for (uint32_t i = 0; i < item->touched.count; i++)
        dirty_add(&series->dirty, dirty_ranges(&item->touched)[i].from,
                  dirty_ranges(&item->touched)[i].to);
    series->cleaned = position;
    if (!series->rollup_id)
        series->rollup_id =
            catalog_find_series(&store->catalog, work->rollup->table_id, item->base->path);
    rollup_series_publish(series);
}

static void finish(struct store *store, struct rollup_work *work)
{
    struct context *context = store->context;
    bool moved = false;
    for (size_t i = 0; i < work->count && !work->err; i++) {
        clean(store, work, &work->items[i]);
        moved |= work->items[i].from_ns < work->items[i].done_ns;
    }
    if (!moved) store->rollups.retry_ns = context_mono_ns(context) + RETRY_MS * MS_NS;
    if (!work->err) metric_add(context, METRIC_ROLLUP_WINDOWS, work->windows);
    if (!work->err) rollup_state_count(work->state, work->rows, work->windows);
    if (work->err) metric_add(context, METRIC_ROLLUP_ERRORS, 1);
    if (work->err)
        diag(context, DIAG_WARNING, component, "table %s, tried again in %d s: %s",
             work->rollup->name, RETRY_MS / 1000, why_text(&work->why, work->err));
    let_go(work);
    rollup_look(store);
}

static void on_written(struct completion *c, struct rollup_work *work, struct store *store)
{
    if (c->err && !work->err) {
        work->err = c->err;
        work->why = c->why;
    }
    MUST(work->pending > 0);
    if (--work->pending == 0) finish(store, work);
}

static void on_appended(struct completion *c)
{
    struct store_append *append = (struct store_append *)c;
    struct store *store = append->store;
    on_written(c, &store->rollups.work, store);
}

static void on_deleted(struct completion *c)
{
    struct store_delete *delete = (struct store_delete *)c;
    struct store *store = delete->store;
    on_written(c, &store->rollups.work, store);
}

static uint64_t rows_of(const struct batch *batch)
{
    uint64_t rows = 0;
    for (uint32_t c = 0; c < batch->column_count; c++)
        for (uint32_t i = 0; batch->columns[c].id == ROLLUP_ID_ROWS && i < batch->row_count; i++)
            rows += (uint64_t)batch->columns[c].data.i[i];
    return rows;
}

/* Deletes go first: a window is never deleted behind its row. */
static void run_computed(struct job *job)
{
    struct store *store =
        (struct store *)(void *)((char *)job - offsetof(struct store, rollups.work.computed));
    struct rollup_work *work = &store->rollups.work;
    bool any = work->batch && work->batch->row_count;
    work->append = (struct store_append){.ack = STORE_ACK_DURABLE, .of_rollup = true};
    work->delete = (struct store_delete){
        .table_id = work->rollup->table_id, .of_rollup = true, .ranges = work->ranges};
    work->delete.count = work->range_count;
    work->is_reading = false;
    if (store->held && !store->flush.busy && !store->closing)
        store_release_held(store, ERR_OK, NULL);
    work->windows = any ? work->batch->row_count : 0;
    work->rows = any ? rows_of(work->batch) : 0;
    if (store->closing) {
        let_go(work);
        return;
    }
    if (work->err || (!any && !work->range_count)) {
        finish(store, work);
        return;
    }
    work->pending = (any ? 1u : 0u) + (work->range_count ? 1u : 0u);
    if (work->range_count) {
        completion_init(&work->delete.completion, &store->log_loop, on_deleted);
        store_delete(store, &work->delete);
    }
    if (!any) return;
    work->append.batch = work->batch;
    work->batch = NULL;
    completion_init(&work->append.completion, &store->log_loop, on_appended);
    store_append(store, &work->append);
}

/* ---- beginning and end ---- */

void rollup_task_init(struct store *store)
{
    struct rollups *r = &store->rollups;
    size_t limit = store->context->memory.limit_bytes / 100 * SHARE_PERCENT;
    r->work.job.run = run_work;
    r->work.computed.run = run_computed;
    budget_init(&r->budget, "rollup", &store->context->memory,
                limit > BUDGET_BYTES_MIN ? limit : BUDGET_BYTES_MIN);
}

void rollup_stop(struct store *store)
{
    struct rollup_work *work = &store->rollups.work;
    struct store_append **append = &store->waiting, *last = NULL;
    struct store_delete **gone = &store->deleted, *last_delete = NULL;
    while (*append) {
        if (*append == &work->append) {
            *append = work->append.next;
            continue;
        }
        last = *append;
        append = &last->next;
    }
    store->waiting_last = last;
    while (*gone) {
        if (*gone == &work->delete) {
            *gone = work->delete.next;
            continue;
        }
        last_delete = *gone;
        gone = &last_delete->next;
    }
    store->deleted_last = last_delete;
    if (work->busy) let_go(work);
    if (store->rollups.timer) store->context->os->ops->timer_close(store->rollups.timer);
    store->rollups.timer = NULL;
}

void rollup_close(struct store *store)
{
    struct rollup_work *work = &store->rollups.work;
    MUST(!work->busy);
    mem_free(work->ranges);
    work->ranges = NULL;
}
