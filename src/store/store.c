/* store.c - see store.h: the log task and the sync task. Opening and closing are in open.c.
 *
 * One round of the log task: every batch that was posted is framed into the log's buffer, then one
 * write, then all of them are applied to the head, then acknowledgements that wait only for that
 * are sent. The sync task syncs whatever has been written as soon as its last sync returns, if
 * somebody waits for it, else within a second. So many writers share one sync, and nobody waits for
 * a timer. */
#include "store/rollup.h"
#include "store/store_priv.h"
#include "base/timetext.h"
#include <inttypes.h>

enum { IDLE_SYNC_MS = 1000 };
static const char component[] = "store";

/* ---- positions ---- */

struct store_positions store_positions(const struct store *store)
{
    struct store *s = (struct store *)(uintptr_t)store;
    return (struct store_positions){
        .appended = atomic_load_explicit(&s->position_appended, memory_order_acquire),
        .applied = atomic_load_explicit(&s->position_applied, memory_order_acquire),
        .durable = atomic_load_explicit(&s->position_durable, memory_order_acquire),
    };
}

uint64_t store_origin(const struct store *store)
{
    return store->origin;
}

/* ---- syncing ---- */

void store_run_sync(struct job *job) /* sync task */
{
    struct store *store = (struct store *)((char *)job - offsetof(struct store, sync_job));
    struct os *os = store->context->os;
    MUST(store_is_valid(store) && store->sync_file);
    int64_t start = os->ops->mono_ns(os);
    store->sync_why = WHY_NONE;
    store->sync_err = os->ops->file_sync(store->sync_file, &store->sync_why);
    metric_add(store->context, METRIC_LOG_SYNCS, 1);
    metric_add(store->context, METRIC_LOG_SYNC_NS, (uint64_t)(os->ops->mono_ns(os) - start));
    loop_post(&store->log_loop, &store->synced_job);
}

static void finish_appends(struct store_append **first, struct store_append **last, uint64_t up_to,
                           enum err err, const struct why *why)
{
    while (*first && (err || (*first)->seq <= up_to)) {
        struct store_append *append = *first;
        MUST(!append->next || append->next->seq > append->seq);
        *first = append->next;
        append->next = NULL;
        completion_finish(&append->completion, err, why);
    }
    if (!*first) *last = NULL;
}

/* Definitions and deletes, as far as they are durable (or all, after an error). */
static void finish_changes(struct store *store, uint64_t up_to, enum err err, const struct why *why)
{
    while (store->defined && (err || store->defined->seq <= up_to)) {
        struct store_define *define = store->defined;
        store->defined = define->next;
        define->next = NULL;
        if (err) {
            schema_release(define->result);
            define->result = NULL;
        }
        completion_finish(&define->completion, err, why);
    }
    if (!store->defined) store->defined_last = NULL;
    while (store->deleted && (err || store->deleted->seq <= up_to)) {
        struct store_delete *delete = store->deleted;
        store->deleted = delete->next;
        delete->next = NULL;
        completion_finish(&delete->completion, err, why);
    }
    if (!store->deleted) store->deleted_last = NULL;
    notes_finish(store, up_to, err, why);
}

void store_wait_durable(struct store *store, struct store_delete *delete)
{
    delete->next = NULL;
    if (store->deleted_last)
        store->deleted_last->next = delete;
    else
        store->deleted = delete;
    store->deleted_last = delete;
    store_sync_now(store);
}

/* Of what waits in a segment that failed nothing is durable for certain, and a sync of the next
 * segment says nothing about it. */
static void fail_waiting(struct store *store, enum err err, const struct why *why)
{
    store->failed = true;
    finish_appends(&store->waiting, &store->waiting_last, UINT64_MAX, err, why);
    finish_changes(store, UINT64_MAX, err, why);
}

/* A failed sync says nothing about which pages are safe: everything not acknowledged fails, and the
 * next write begins a new segment. */
static void on_sync_failed(struct store *store)
{
    metric_add(store->context, METRIC_LOG_ERRORS, 1);
    diag(store->context, DIAG_ERROR, component, "sync of the log failed: %s",
         why_text(&store->sync_why, store->sync_err));
    fail_waiting(store, store->sync_err, &store->sync_why);
}

/* A full segment is left when all of it is on the disk: the next one's header says so. Synced here
 * and not by the sync task, which is idle then: its file may be closed. */
static void leave_full_segment(struct store *store)
{
    if (store->syncing || store->failed || store->closing || !log_is_full(&store->log)) return;
    struct os *os = store->context->os;
    store->sync_why = WHY_NONE;
    store->sync_err = os->ops->file_sync(store->log.file, &store->sync_why);
    if (store->sync_err) {
        on_sync_failed(store);
        return;
    }
    atomic_store_explicit(&store->position_durable, store->appended, memory_order_release);
    finish_appends(&store->waiting, &store->waiting_last, store->appended, ERR_OK, NULL);
    finish_changes(store, store->appended, ERR_OK, NULL);
    struct why why = WHY_NONE;
    enum err err = log_rotate(&store->log, store->appended, &why);
    /* The segment so far still takes records. */
    if (err)
        diag(store->context, DIAG_WARNING, component, "no new log segment yet: %s",
             why_text(&why, err));
}

void store_run_synced(struct job *job) /* log task */
{
    struct store *store = (struct store *)((char *)job - offsetof(struct store, synced_job));
    MUST(store->syncing && store->sync_seq <= store->appended);
    store->syncing = false;
    if (store->sync_err) {
        on_sync_failed(store);
        return;
    }
    atomic_store_explicit(&store->position_durable, store->sync_seq, memory_order_release);
    finish_appends(&store->waiting, &store->waiting_last, store->sync_seq, ERR_OK, NULL);
    finish_changes(store, store->sync_seq, ERR_OK, NULL);
    if (store->failed) { /* by a write, while the sync ran */
        struct why why = WHY_NONE;
        why_set(&why, ERR_IO, "the log failed before this was on the disk");
        fail_waiting(store, ERR_IO, &why);
        return;
    }
    leave_full_segment(store);
    if (store->waiting || store->defined || store->deleted || store->notes.waiting)
        store_sync_now(store);
}

void store_sync_now(struct store *store)
{
    if (store->syncing || store->failed || store->closing) return;
    MUST(store->log.file);
    store->syncing = true;
    store->sync_file = store->log.file;
    store->sync_seq = store->appended;
    loop_post(&store->sync_loop, &store->sync_job);
}

void store_on_sync_timer(void *arg)
{
    struct store *store = arg;
    store->sync_timer_set = false;
    if (store->appended > atomic_load(&store->position_durable)) store_sync_now(store);
}

/* ---- appending (log task) ---- */

static void run_append(struct job *job)
{
    struct store_append *append =
        (struct store_append *)(void *)((char *)job - offsetof(struct store_append, arrive));
    struct store *store = append->store;
    MUST(append->batch && append->head_bytes == 0 && !store->arrived == !store->arrived_last);
    append->next = NULL;
    append->behind = NULL;
    if (store->arrived_last)
        store->arrived_last->next = append;
    else
        store->arrived = append;
    store->arrived_last = append;
}

void store_append(struct store *store, struct store_append *append)
{
    MUST(store_is_valid(store));
    MUST(append->batch && append->batch->sealed && append->completion.done);
    append->store = store;
    append->arrive.run = run_append;
    loop_post(&store->log_loop, &append->arrive);
}

static enum err write_series(struct store *store, uint32_t id)
{
    uint64_t seq = log_next_seq(&store->log, context_wall_ns(store->context));
    size_t mark =
        log_record_begin(&store->log, LOG_SERIES, seq, atomic_load(&store->position_durable));
    catalog_write_series(&store->log.pending, catalog_series(&store->catalog, id));
    enum err err = log_record_end(&store->log, mark);
    catalog_logged_series(&store->catalog, id, err ? CATALOG_NOT_LOGGED : seq);
    return err;
}

enum err store_write_schema(struct store *store, const struct schema *schema, bool dropped)
{
    uint64_t seq = log_next_seq(&store->log, context_wall_ns(store->context));
    enum err err = catalog_logged_table(&store->catalog, schema->table_id, seq);
    if (err) return err;
    size_t mark =
        log_record_begin(&store->log, LOG_SCHEMA, seq, atomic_load(&store->position_durable));
    catalog_write_schema(&store->log.pending, schema, dropped);
    return log_record_end(&store->log, mark);
}

/* Gives every device of the batch its series; new ones are written before the rows that use them.
 */
static enum err resolve_series(struct store *store, struct batch *batch)
{
    for (uint32_t i = 0; i < batch->device_count; i++) {
        struct batch_device *device = &batch->devices[i];
        uint32_t id = catalog_find_series(&store->catalog, batch->schema->table_id, device->path);
        struct series *known = catalog_series(&store->catalog, id);
        bool is_new = !known || (device->label_count &&
                                 !catalog_labels_equal(known, device->labels, device->label_count));
        enum err err = ERR_OK;
        if (is_new)
            err = catalog_put_series(&store->catalog, 0, batch->schema->table_id, device->path,
                                     device->labels, device->label_count, &id);
        if (!err && (is_new || known->logged_seq == CATALOG_NOT_LOGGED))
            err = write_series(store, id);
        if (err) return err;
        device->series = id;
    }
    metric_set(store->context, METRIC_SERIES, atomic_load(&store->catalog.series_count));
    return ERR_OK;
}

static enum err check_batch(struct store *store, const struct store_append *append, struct why *why)
{
    const struct batch *batch = append->batch;
    const struct schema *s = batch->schema;
    const struct schema *now = catalog_schema(&store->catalog, s->table_id);
    if (!now) return why_set(why, ERR_NO_TABLE, "table %s was dropped", s->name);
    if (now->rollup_of && !append->of_rollup)
        return why_set(why, ERR_READ_ONLY,
                       "table %s is a rollup, computed from table %s: write there", s->name,
                       rollup_base_name(store, now));
    for (uint32_t i = 0; i < batch->column_count; i++) {
        const struct column *c = schema_column(now, batch->columns[i].id);
        if (!c || c->type != batch->columns[i].data.type)
            return why_set(why, ERR_CONFLICT, "table %s was changed; try again", s->name);
    }
    return ERR_OK;
}

/* Frames one batch into the log's buffer. */
static enum err frame_batch(struct store *store, struct store_append *append, bool is_first,
                            struct why *why)
{
    struct batch *batch = append->batch;
    enum err err = check_batch(store, append, why);
    if (!err) err = resolve_series(store, batch);
    if (!err) err = held_reserve(store, append, is_first, why);
    if (err) return err;
    append->held_ns = 0;
    batch->seq = log_next_seq(&store->log, context_wall_ns(store->context));
    size_t mark =
        log_record_begin(&store->log, LOG_ROWS, batch->seq, atomic_load(&store->position_durable));
    codec_rows_write(&store->log.pending, batch);
    return log_record_end(&store->log, mark);
}

void store_refuse(struct store *store, struct store_append *append, enum err err,
                  const struct why *why)
{
    MUST(append->batch && err);
    held_give_back(store, append);
    metric_add(store->context, METRIC_ROWS_REFUSED, append->batch->row_count);
    batch_release(append->batch);
    append->batch = NULL;
    completion_finish(&append->completion, err, why);
}

enum err store_restate_catalog(struct store *store, uint64_t durable)
{
    struct table_list *tables = store->catalog.tables.object;
    enum err err = ERR_OK;
    for (uint32_t i = 0; i < tables->count && !err; i++)
        if (tables->items[i].state->logged_seq > durable)
            err = store_write_schema(store, tables->items[i].schema, false);
    uint32_t count = atomic_load(&store->catalog.series_count);
    for (uint32_t id = 1; id <= count && !err; id++) {
        const struct series *series = catalog_series(&store->catalog, id);
        if (series && series->logged_seq > durable) err = write_series(store, id);
    }
    return err;
}

/* After a failed write or sync the old segment is left alone: which of its pages are good is
 * unknown. */
enum err store_recover_log(struct store *store, struct why *why)
{
    if (!store->failed) return ERR_OK;
    if (store->syncing) return why_set(why, ERR_BUSY, "the log is being reopened");
    uint64_t durable = atomic_load(&store->position_durable);
    buf_clear(&store->log.pending);
    enum err err = log_rotate(&store->log, durable, why);
    if (!err) err = store_restate_catalog(store, durable);
    if (!err) err = log_flush(&store->log, why);
    if (err) return err;
    store->failed = false;
    diag(store->context, DIAG_WARNING, component, "the log goes on in segment %" PRIu64,
         store->log.number);
    return ERR_OK;
}

enum err store_write_round(struct store *store, struct why *why)
{
    MUST(!store->failed); /* whoever writes has asked store_recover_log */
    size_t size = store->log.pending.size;
    enum err err = log_flush(&store->log, why);
    if (err) {
        store->failed = true;
        metric_add(store->context, METRIC_LOG_ERRORS, 1);
        diag(store->context, DIAG_ERROR, component, "write of the log failed: %s",
             why_text(why, err));
        if (!store->syncing) fail_waiting(store, err, why);
        return err;
    }
    metric_add(store->context, METRIC_LOG_BYTES, size);
    MUST(store->log.last_seq >= store->appended && store->log.pending.size == 0);
    store->appended = store->log.last_seq;
    atomic_store_explicit(&store->position_appended, store->appended, memory_order_release);
    return ERR_OK;
}

/* Applies one batch that is in the log. */
/* Who waits only until its rows are applied goes to `*applied`: it is told behind the position. */
static void apply(struct store *store, struct store_append *append, struct store_append ***applied)
{
    struct batch *batch = append->batch;
    append->seq = batch->seq;
    MUST(batch->seq <= store->appended); /* it is in the log */
    rollup_mark_rows(&store->catalog, batch);
    held_give_back(store, append); /* for the rows themselves */
    enum err err = head_apply(store_writer_head(store), batch);
    if (err) {
        struct why why = WHY_NONE;
        why_set(&why, err, "no memory for rows of table %s", batch->schema->name);
        store_refuse(store, append, err, &why);
        return;
    }
    metric_add(store->context, METRIC_LOG_ROWS, batch->row_count);
    metric_add(store->context, METRIC_LOG_BATCHES, 1);
    for (size_t i = 0; i < store->listener_count; i++)
        store->listeners[i].on_applied(store->listeners[i].arg, batch);
    batch_release(batch);
    append->batch = NULL;
    append->next = NULL;
    if (append->ack == STORE_ACK_APPLIED) {
        **applied = append;
        *applied = &append->next;
        return;
    }
    if (store->waiting_last)
        store->waiting_last->next = append;
    else
        store->waiting = append;
    store->waiting_last = append;
}

/* Frames what has arrived, in order: up to the first that has to wait for room (held), or the first
 * that deletes wait for, whose list is given and which are carried out before the rest. Gives the
 * framed ones. */
static struct store_append *frame_arrived(struct store *store, enum err round,
                                          const struct why *round_why, struct store_delete **behind)
{
    struct store_append *append = store->arrived, *next, *framed = NULL, **tail = &framed;
    for (; append && !*behind; append = next) {
        struct why why = *round_why;
        next = append->next;
        enum err err = round ? round : frame_batch(store, append, !framed, &why);
        if (err == ERR_BUDGET && framed) break; /* asked again when these are in the head */
        if (err == ERR_BUDGET && held_may_wait(store)) {
            held_add(store, append);
            append = NULL;
            break;
        }
        *behind = append->behind;
        if (err) {
            store_refuse(store, append, err, &why);
            continue;
        }
        append->next = NULL;
        *tail = append;
        tail = &append->next;
    }
    store->arrived = append;
    if (!append) store->arrived_last = NULL;
    return framed;
}

/* One write for what has arrived, then all of it is applied. */
static void run_round(struct store *store)
{
    struct why why = WHY_NONE;
    struct store_delete *behind = NULL;
    enum err round = store_recover_log(store, &why);
    struct store_append *framed = frame_arrived(store, round, &why, &behind), *next;
    if (!round) round = store_write_round(store, &why);
    uint64_t applied = 0;
    struct store_append *answered = NULL, **last = &answered;
    for (struct store_append *append = framed; append; append = next) {
        next = append->next;
        if (round) {
            store_refuse(store, append, round, &why);
            continue;
        }
        applied = append->batch->seq;
        apply(store, append, &last);
    }
    if (applied) atomic_store_explicit(&store->position_applied, applied, memory_order_release);
    for (; answered; answered = next) { /* whoever is told asks at once for what it wrote */
        next = answered->next;
        answered->next = NULL;
        completion_finish(&answered->completion, ERR_OK, NULL);
    }
    delete_run_all(store, behind);
}

static void write_arrived(struct store *store)
{
    if (store->held && store->arrived) { /* behind those that wait already */
        held_add(store, store->arrived);
        store->arrived = store->arrived_last = NULL;
    }
    if (!store->arrived) return;
    if (!store->tick_timer) store_make_timers(store);
    while (store->arrived) run_round(store);
    metric_set(store->context, METRIC_HEAD_ROWS, atomic_load(&store_writer_head(store)->row_count));
    metric_set(store->context, METRIC_HEAD_BYTES, atomic_load(&store->head_budget.used_bytes));
    leave_full_segment(store);
    if (store->waiting) store_sync_now(store);
    flush_look(store);
    if (store->held) held_look_later(store);
    if (!store->sync_timer_set && store->appended > atomic_load(&store->position_durable)) {
        if (!store->sync_timer) {
            store_sync_now(store);
            return;
        }
        store->sync_timer_set = true;
        store->context->os->ops->timer_set(store->sync_timer, IDLE_SYNC_MS * TIME_NS_PER_MS);
    }
}

/* The end of a round of jobs. */
void store_after_jobs(void *arg)
{
    struct store *store = arg;
    if (notes_write(store)) {
        leave_full_segment(store);
        store_sync_now(store);
    }
    write_arrived(store);
    rollup_look(store);
}

void store_listen(struct store *store, void (*on_applied)(void *arg, struct batch *batch),
                  void *arg)
{
    MUST(store_is_valid(store) && store->listener_count < STORE_LISTENERS_MAX);
    store->listeners[store->listener_count].on_applied = on_applied;
    store->listeners[store->listener_count++].arg = arg;
}

void store_finish_all(struct store *store, enum err err)
{
    finish_appends(&store->waiting, &store->waiting_last, UINT64_MAX, err, NULL);
    finish_changes(store, UINT64_MAX, err, NULL);
}
