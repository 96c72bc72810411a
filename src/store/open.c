/* open.c - opening the store: lock, format, manifest, catalogue, log; and closing it.
 *
 * A start never refuses because of damage: what cannot be read is told (SHOW HEALTH), the rest is
 * used. Files nobody speaks of any more (half-written parts, an old snapshot) are removed. Parts
 * that a damaged manifest may have lost are taken in again: a part says everything about itself,
 * and rows that the log has too are the same rows. */
#include "store/rollup.h"
#include "store/store_priv.h"
#include "base/num.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { TICK_MS = 10000 };
static const char component[] = "store";

/* ---- replay ---- */

/* Replay obeys the head's budget as live rows do: what is too much becomes parts at once. */
static enum err apply_replayed(struct store *store, const struct batch *batch, struct why *why)
{
    /* A disk that takes no parts now does not keep the node from starting while memory lasts. */
    if (flush_is_due(store)) (void)flush_now(store, store->appended, why);
    enum err err = head_apply(store_writer_head(store), batch);
    if (err != ERR_BUDGET) return err;
    err = flush_now(store, store->appended, why);
    return err ? err : head_apply(store_writer_head(store), batch);
}

static void mark_replayed(struct store *store, const struct batch *batch)
{
    rollup_mark_rows(&store->catalog, batch);
    for (uint32_t i = 0; batch->schema->rollup_of && i < batch->row_count; i++)
        rollup_mark_computed(&store->catalog, batch->schema->table_id,
                             batch->devices[batch->device[i]].series, batch->time[i],
                             batch->time[i]);
}

static enum err replay_rows(struct store *store, const struct record *record, struct why *why)
{
    struct schema *schema = catalog_schema(&store->catalog, codec_rows_table(record->body));
    if (!schema || record->seq <= store->manifest.checkpoint.position)
        return ERR_OK; /* dropped later, or in parts */
    struct reader in = reader_of(record->body.at, record->body.size);
    struct batch *batch;
    enum err err = codec_rows_read(&in, schema, NULL, &batch, why);
    if (err) return err;
    batch->seq = record->seq;
    for (uint32_t i = 0; i < batch->device_count && !err; i++)
        if (!catalog_series(&store->catalog, batch->devices[i].series))
            err = why_set(why, ERR_CORRUPT, "rows of an unknown series");
    if (!err) mark_replayed(store, batch);
    if (!err) err = apply_replayed(store, batch, why);
    batch_release(batch);
    return err;
}

static enum err replay_schema(struct store *store, const struct record *record, struct why *why)
{
    struct reader in = reader_of(record->body.at, record->body.size);
    struct schema *schema;
    bool dropped;
    enum err err = catalog_read_schema(&in, &schema, &dropped, why);
    if (err) return err;
    err = catalog_logged_table(&store->catalog, schema->table_id, record->seq);
    if (err) {
        schema_release(schema);
        return err;
    }
    return catalog_change(&store->catalog, schema, dropped);
}

static enum err replay_record(void *arg, const struct record *record, struct why *why)
{
    struct store *store = arg;
    struct reader in = reader_of(record->body.at, record->body.size);
    enum err err = ERR_OK;
    bool in_snapshot = record->seq <= store->manifest.checkpoint.catalog_seq;
    switch ((enum log_record_type)record->type) {
    case LOG_SCHEMA: err = in_snapshot ? ERR_OK : replay_schema(store, record, why); break;
    case LOG_SERIES:
        err = in_snapshot ? ERR_OK : catalog_read_series(&store->catalog, &in, record->seq, why);
        break;
    case LOG_ROWS: err = replay_rows(store, record, why); break;
    case LOG_DELETE: err = in_snapshot ? ERR_OK : delete_replay(store, record, why); break;
    case LOG_NOTE:
        notes_replayed(store, record->seq);
        if (store->notes.owner.replay)
            err = store->notes.owner.replay(store->notes.owner.arg, record->seq, record->body, why);
        break;
    case LOG_BLOCK:
    case LOG_CURSOR:
    case LOG_TICK: break; /* other owners' */
    }
    if (record->seq > store->appended) store->appended = record->seq;
    if (err != ERR_CORRUPT) return err;
    /* The bytes are as they were written, so this is damage of another kind: report it, keep the
     * rest. */
    metric_add(store->context, METRIC_LOG_DAMAGED, 1);
    char object[64];
    snprintf(object, sizeof object, "log record %" PRIu64, record->seq);
    health_note(store, STORE_ERROR, object, "%s", why_text(why, err));
    return ERR_OK;
}

static void on_damage(void *arg, const char *text)
{
    struct store *store = arg;
    metric_add(store->context, METRIC_LOG_DAMAGED, 1);
    health_note(store, STORE_ERROR, "log", "%s", text);
}

static enum err lock_folder(struct store *store, struct why *why)
{
    struct os *os = store->context->os;
    char path[4096];
    snprintf(path, sizeof path, "%s/lock", store->folder);
    enum err err = os->ops->file_open(os, path, OS_FILE_WRITE | OS_FILE_CREATE, &store->lock, why);
    if (err) return err;
    err = os->ops->file_lock(store->lock, why);
    if (err) why_set(why, err, "the data folder %s is in use by another millrace", store->folder);
    return err;
}

static void tell_meta(struct store *store, const struct meta *meta)
{
    for (size_t i = 0; i < META_COPIES; i++)
        if (meta->copies[i] == ERR_CORRUPT || meta->copies[i] == ERR_IO)
            health_note(store, STORE_WARNING, meta_names[i], "%s",
                        meta->is_rebuilt ? "the file is damaged"
                                         : "the file is damaged; its other copy is whole");
    if (meta->is_rebuilt)
        health_note(store, STORE_WARNING, "meta",
                    "no copy was whole; the node's origin is the one of what it wrote");
}

/* Whatever became of it, a node starts; what cannot be found out is drawn anew, as for a new node.
 */
static enum err open_meta(struct store *store, struct why *why)
{
    struct os *os = store->context->os;
    struct meta meta;
    enum err err = meta_read(os, store->folder, &meta, why);
    bool is_new = err == ERR_NOT_FOUND || err == ERR_CORRUPT;
    if (err && !is_new) return err;
    tell_meta(store, &meta);
    if (err == ERR_CORRUPT) {
        health_note(store, STORE_ERROR, "meta", "%s; the node goes on under a new one",
                    why_text(why, err));
        metric_add(store->context, METRIC_STORE_DAMAGED, 1);
    }
    if (is_new) os->ops->random(os, &meta.origin, sizeof meta.origin);
    store->origin = meta.origin;
    bool is_older = meta.format < META_FORMAT && !is_new;
    bool is_whole = meta.copies[0] == ERR_OK && meta.copies[1] == ERR_OK && !is_older;
    if (is_whole) return ERR_OK;
    err = meta_write(os, store->folder, store->origin, why);
    /* A copy that cannot be made now is for the next start. But what an older version cannot read
     * must say so before it is written, and an origin must stand before anything carries it. */
    return is_older || is_new || meta.is_rebuilt ? err : ERR_OK;
}

/* ---- the catalogue ---- */

static void on_catalog_damage(void *arg, const char *text)
{
    struct store *store = arg;
    metric_add(store->context, METRIC_STORE_DAMAGED, 1);
    health_note(store, STORE_ERROR, "catalogue", "%s", text);
}

static enum err remove_old_snapshot(void *arg, const char *name)
{
    struct store *store = arg;
    char current[32], path[4200];
    catalog_snapshot_name(current, store->manifest.checkpoint.catalog_seq);
    if (strncmp(name, "catalog.", 8) != 0 || strcmp(name, current) == 0) return ERR_OK;
    snprintf(path, sizeof path, "%s/%s", store->folder, name);
    (void)store->context->os->ops->path_remove(store->context->os, path,
                                               NULL); /* tried again at the next start */
    return ERR_OK;
}

/* Tables that parts know keep their ids, also when nothing else speaks of them. */
static enum err reserve_tables(struct store *store)
{
    const struct store_view *view = store->view.object;
    uint32_t highest = 0;
    for (size_t i = 0; i < view->parts->count; i++) {
        const struct part_info *info = &view->parts->parts[i]->info;
        if (info->table_count && info->tables[info->table_count - 1] > highest)
            highest = info->tables[info->table_count - 1];
    }
    if (!highest || highest >= CATALOG_TABLES_MAX) return ERR_OK;
    return catalog_reserve(&store->catalog, highest + 1, 0);
}

static enum err open_catalog(struct store *store, struct why *why)
{
    struct os *os = store->context->os;
    uint64_t seq = store->manifest.checkpoint.catalog_seq;
    enum err err = ERR_OK;
    if (seq)
        err = catalog_snapshot_read(&store->catalog, os, store->folder, seq, on_catalog_damage,
                                    store, why);
    if (err == ERR_CORRUPT || err == ERR_NOT_FOUND || err == ERR_IO) {
        on_catalog_damage(store, why_text(why, err));
        store->manifest.checkpoint.catalog_seq = 0; /* the log says what it still knows */
        err = ERR_OK;
    } else if (!err && store->settled) {
        err = os->ops->path_list(os, store->folder, remove_old_snapshot, store, why);
    }
    store->saved_changes = atomic_load(&store->catalog.changes);
    return err ? err : reserve_tables(store);
}

/* ---- the log ---- */

static enum err open_log(struct store *store, size_t segment_bytes, struct why *why)
{
    struct context *context = store->context;
    struct os *os = context->os;
    char folder[3950];
    struct log_recovery recovery;
    struct record_sink sink = {replay_record, on_damage, store};
    snprintf(folder, sizeof folder, "%s/log", store->folder);
    enum err err = os->ops->path_make(os, folder, why);
    if (!err)
        err = log_replay(os, folder, store->manifest.checkpoint.position, &sink, &recovery, why);
    if (err) return err;
    err = log_open(&store->log, os, folder, store->origin, &recovery, segment_bytes,
                   context_wall_ns(context), why);
    log_recovery_free(&recovery);
    if (err == ERR_DISK_FULL || err == ERR_IO) {
        diag(context, DIAG_ERROR, component, "rows can be read, but none taken yet: %s",
             why_text(why, err));
        store->failed = true;
        err = ERR_OK;
    }
    if (err) return err;
    /* What a failed sync of the last life covered is read today and may be gone after a power loss:
     * new rows must not depend on it. */
    if ((err = store_restate_catalog(store, recovery.claimed_seq))) return err;
    if ((err = rollup_tables_heal(store))) return err;
    store_mend_rollups(store);
    store_forget_missing(store);
    store->appended = recovery.record_seq;
    atomic_store(&store->position_appended, recovery.record_seq);
    atomic_store(&store->position_applied, recovery.record_seq);
    atomic_store(&store->position_durable, recovery.record_seq);
    if (store->settled)
        log_recycle(&store->log, notes_recyclable(store, atomic_load(&store->checkpoint)));
    const struct store_view *view = store->view.object;
    metric_set(context, METRIC_PARTS, view->parts->count);
    diag(context, DIAG_INFO, component,
         "%" PRIu64 " log records replayed, %" PRIu64 " rows, %u series, %zu parts",
         recovery.records, atomic_load(&store_writer_head(store)->row_count),
         store_series_count(store), view->parts->count);
    return ERR_OK;
}

/* ---- tasks ---- */

static enum err start_tasks(struct store *store, struct why *why)
{
    struct os *os = store->context->os;
    store->sync_job.run = store_run_sync;
    store->synced_job.run = store_run_synced;
    flush_jobs_init(store);
    rollup_task_init(store);
    enum err err = loop_start(&store->sync_loop, os, "sync", OS_TASK_BLOCKING, why);
    if (!err)
        err = loop_start(&store->flush_loop, os, "flush", OS_TASK_BLOCKING | OS_TASK_LOW, why);
    if (!err)
        err = loop_start(&store->rollups.loop, os, "rollup", OS_TASK_BLOCKING | OS_TASK_LOW, why);
    if (!err) err = loop_start(&store->log_loop, os, "log", OS_TASK_BLOCKING, why);
    if (err) return err;
    store->log_loop.after_jobs = store_after_jobs;
    store->log_loop.after_arg = store;
    return ERR_OK;
}

struct start {
    struct job job;
    struct store *store;
};

static void on_tick(void *arg)
{
    struct store *store = arg;
    flush_tick(store);
    rollup_look(store);
    rollup_show_metrics(store);
    store->context->os->ops->timer_set(store->tick_timer, TICK_MS * (int64_t)1000000);
}

void store_make_timers(struct store *store) /* log task: timers belong to their task */
{
    const struct os_ops *ops = store->context->os->ops;
    struct os_task *task = store->log_loop.task;
    if (!store->sync_timer &&
        ops->timer_make(task, store_on_sync_timer, store, &store->sync_timer) != ERR_OK)
        return;
    if (!store->held_timer &&
        ops->timer_make(task, held_on_timer, store, &store->held_timer) != ERR_OK)
        return;
    if (ops->timer_make(task, on_tick, store, &store->tick_timer) != ERR_OK) return;
    ops->timer_set(store->tick_timer, TICK_MS * (int64_t)1000000);
}

static void run_start(struct job *job)
{
    store_make_timers(((struct start *)job)->store);
    mem_free(job);
}

enum err store_open(struct context *context, const struct store_config *config, struct store **out,
                    struct why *why)
{
    struct os *os = context->os;
    struct store *store = mem_alloc_zero(1, sizeof *store);
    struct start *start = mem_alloc_zero(1, sizeof *start);
    enum err err = store && start ? ERR_OK : ERR_NO_MEMORY;
    if (!err) {
        store->magic = STORE_MAGIC;
        store->context = context;
        store->head_limit_bytes = config->head_limit_bytes;
        store->flush_age_ns = config->flush_age_ns ? config->flush_age_ns : STORE_FLUSH_AGE_NS;
        /* Half more than rows are accepted for: what a row takes is known when it is in place. */
        budget_init(&store->head_budget, "head", context_rows(context),
                    config->head_limit_bytes + config->head_limit_bytes / 2);
        compact_init(store);
        store->notes.owner = config->notes;
        store->rollups.rows_min =
            config->rollup_rows_min ? config->rollup_rows_min : STORE_ROLLUP_ROWS;
        err = span_cache_init(&store->spans, &context->memory, config->span_cache_bytes);
        if (!err && !str_copy(store->folder, sizeof store->folder, str_of(config->folder)))
            err = why_set(why, ERR_LIMIT, "the path of the data folder is too long");
    }
    if (!err) err = os->ops->path_make(os, store->folder, why);
    if (!err) err = lock_folder(store, why);
    if (!err) err = open_meta(store, why);
    if (!err) err = catalog_init(&store->catalog);
    if (!err) err = store_view_init(store);
    if (!err) snprintf(store->parts_folder, sizeof store->parts_folder, "%s/parts", store->folder);
    if (!err) err = store_open_parts(store, why);
    if (!err) err = open_catalog(store, why);
    if (!err) err = open_log(store, config->segment_bytes, why);
    if (!err) err = start_tasks(store, why);
    if (err) {
        mem_free(start);
        store_close(store);
        return err;
    }
    *start = (struct start){.job.run = run_start, .store = store};
    loop_post(&store->log_loop, &start->job);
    *out = store;
    return ERR_OK;
}

/* The log task's last job: the other tasks end first, so that their last answers still find this
 * queue. */
static void wind_up(struct job *job)
{
    struct store *store = ((struct start *)job)->store;
    MUST(!store->closing);
    store_after_jobs(store);
    store->closing = true;
    loop_stop(&store->sync_loop);
    loop_stop(&store->flush_loop);
    loop_stop(&store->rollups.loop);
    loop_run_jobs(&store->log_loop);
    store_after_jobs(store); /* rows of a rollup may have arrived */
    store_release_held(store, ERR_CLOSED, NULL);
    loop_run_jobs(&store->log_loop); /* what that told the rollup's writer */
    rollup_stop(store);
    flush_close(store);
    backup_stop(store);
    if (store->sync_timer) store->context->os->ops->timer_close(store->sync_timer);
    if (store->tick_timer) store->context->os->ops->timer_close(store->tick_timer);
    if (store->held_timer) store->context->os->ops->timer_close(store->held_timer);
    if (store->compaction.timer) store->context->os->ops->timer_close(store->compaction.timer);
}

void store_close(struct store *store)
{
    if (!store) return;
    MUST(store_is_valid(store) || !store->context); /* no context: it was not even begun */
    struct start stop = {.job.run = wind_up, .store = store};
    if (store->log_loop.task) loop_post(&store->log_loop, &stop.job);
    loop_stop(&store->log_loop);
    loop_stop(&store->sync_loop); /* these only if the log task never started */
    loop_stop(&store->flush_loop);
    loop_stop(&store->rollups.loop);
    if (store->log.file) {
        enum err err = store->context->os->ops->file_sync(store->log.file, NULL);
        /* Acknowledgements still open were never given; what was promised had been synced before.
         */
        store_finish_all(store, err);
    }
    log_close(&store->log);
    compact_close(store);
    rollup_close(store);
    for (size_t i = 0; i < store->flush.seal.part_count; i++)
        part_release(store->flush.seal.parts[i]);
    mem_free(store->flush.seal.parts);
    buf_free(&store->flush.dirty);
    buf_free(&store->saved_dirty);
    store_forget_missing(store);
    manifest_close(&store->manifest);
    cell_free(&store->view);
    span_cache_free(&store->spans);
    catalog_free(&store->catalog);
    MUST(atomic_load(&store->live_views) == 0); /* nobody reads any more */
    if (store->lock) store->context->os->ops->file_close(store->lock);
    store->magic = 0;
    mem_free(store);
}
