/* store.c - see store.h: opening, the log task and the sync task.
 *
 * One round of the log task: every batch that was posted is framed into the log's buffer, then one write, then
 * all of them are applied to the head, then acknowledgements that wait only for that are sent. The sync task syncs
 * whatever has been written as soon as its last sync returns, if somebody waits for it, else within a second.
 * So many writers share one sync, and nobody waits for a timer. */
#include "store/store_priv.h"
#include "base/timetext.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { META_FORMAT = 1, IDLE_SYNC_MS = 1000 };
static const char component[] = "store";

/* ---- views ---- */

static void *view_share(void *object)
{
    struct store_view *view = object;
    atomic_fetch_add_explicit(&view->refs, 1, memory_order_relaxed);
    return view;
}

void store_view_release(struct store_view *view)
{
    if (!view || atomic_fetch_sub_explicit(&view->refs, 1, memory_order_acq_rel) != 1) return;
    head_release(view->head);
    mem_free(view);
}

static void view_release(void *object) { store_view_release(object); }
struct store_view *store_view_get(struct store *store) { return cell_get(&store->view); }

static struct head *writer_head(struct store *store)
{
    struct store_view *view = store->view.object; /* only this task replaces it */
    return view->head;
}

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

uint64_t store_origin(const struct store *store) { return store->origin; }

/* ---- syncing ---- */

static void sync_now(struct store *store);

static void run_sync(struct job *job) /* sync task */
{
    struct store *store = (struct store *)((char *)job - offsetof(struct store, sync_job));
    struct os *os = store->context->os;
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
        *first = append->next;
        append->next = NULL;
        completion_finish(&append->completion, err, why);
    }
    if (!*first) *last = NULL;
}

static void finish_defines(struct store *store, enum err err, const struct why *why)
{
    while (store->defined) {
        struct store_define *define = store->defined;
        store->defined = define->next;
        define->next = NULL;
        completion_finish(&define->completion, err, why);
    }
    store->defined_last = NULL;
}

/* A failed sync says nothing about which pages are safe: everything not acknowledged fails, and the next write
 * begins a new segment. */
static void on_sync_failed(struct store *store)
{
    metric_add(store->context, METRIC_LOG_ERRORS, 1);
    diag(store->context, DIAG_ERROR, component, "sync of the log failed: %s",
         why_text(&store->sync_why, store->sync_err));
    store->failed = true;
    finish_appends(&store->waiting, &store->waiting_last, UINT64_MAX, store->sync_err, &store->sync_why);
    finish_defines(store, store->sync_err, &store->sync_why);
}

static void run_synced(struct job *job) /* log task */
{
    struct store *store = (struct store *)((char *)job - offsetof(struct store, synced_job));
    store->syncing = false;
    if (store->sync_err) {
        on_sync_failed(store);
        return;
    }
    atomic_store_explicit(&store->position_durable, store->sync_seq, memory_order_release);
    finish_appends(&store->waiting, &store->waiting_last, store->sync_seq, ERR_OK, NULL);
    if (store->sync_seq == store->appended) finish_defines(store, ERR_OK, NULL);
    if (store->waiting || store->defined) sync_now(store);
}

static void sync_now(struct store *store)
{
    if (store->syncing || store->failed || store->closing) return;
    store->syncing = true;
    store->sync_file = store->log.file;
    store->sync_seq = store->appended;
    loop_post(&store->sync_loop, &store->sync_job);
}

static void on_sync_timer(void *arg)
{
    struct store *store = arg;
    store->sync_timer_set = false;
    if (store->appended > atomic_load(&store->position_durable)) sync_now(store);
}

/* ---- appending (log task) ---- */

static void run_append(struct job *job)
{
    struct store_append *append =
        (struct store_append *)(void *)((char *)job - offsetof(struct store_append, arrive));
    struct store *store = append->store;
    append->next = NULL;
    if (store->arrived_last)
        store->arrived_last->next = append;
    else
        store->arrived = append;
    store->arrived_last = append;
}

void store_append(struct store *store, struct store_append *append)
{
    MUST(append->batch && append->batch->sealed && append->completion.done);
    append->store = store;
    append->arrive.run = run_append;
    loop_post(&store->log_loop, &append->arrive);
}

static enum err write_series(struct store *store, uint32_t id)
{
    uint64_t seq = log_next_seq(&store->log, context_wall_ns(store->context));
    size_t mark = log_record_begin(&store->log, LOG_SERIES, seq, atomic_load(&store->position_durable));
    catalog_write_series(&store->log.pending, catalog_series(&store->catalog, id));
    return log_record_end(&store->log, mark);
}

/* Gives every device of the batch its series; new ones are written before the rows that use them. */
static enum err resolve_series(struct store *store, struct batch *batch)
{
    for (uint32_t i = 0; i < batch->device_count; i++) {
        struct batch_device *device = &batch->devices[i];
        uint32_t id = catalog_find_series(&store->catalog, batch->schema->table_id, device->path);
        struct series *known = catalog_series(&store->catalog, id);
        if (!known || (device->label_count &&
                       !catalog_labels_equal(known, device->labels, device->label_count))) {
            enum err err = catalog_put_series(&store->catalog, 0, batch->schema->table_id, device->path,
                                              device->labels, device->label_count, &id);
            if (!err) err = write_series(store, id);
            if (err) return err;
        }
        device->series = id;
    }
    metric_set(store->context, METRIC_SERIES, atomic_load(&store->catalog.series_count));
    return ERR_OK;
}

static enum err check_batch(struct store *store, const struct batch *batch, struct why *why)
{
    const struct schema *s = batch->schema;
    const struct schema *now = catalog_schema(&store->catalog, s->table_id);
    if (!now) return why_set(why, ERR_NO_TABLE, "table %s was dropped", s->name);
    for (uint32_t i = 0; i < batch->column_count; i++) {
        const struct column *c = schema_column(now, batch->columns[i].id);
        if (!c || c->type != batch->columns[i].data.type)
            return why_set(why, ERR_CONFLICT, "table %s was changed; try again", s->name);
    }
    if (atomic_load(&store->head_budget.used_bytes) + batch->size_bytes > store->head_budget.limit_bytes)
        return why_set(why, ERR_BUDGET,
                       "the head is full (%zu bytes); writing goes on when rows were moved to disk",
                       store->head_budget.limit_bytes);
    return ERR_OK;
}

/* Frames one batch into the log's buffer. */
static enum err frame_batch(struct store *store, struct batch *batch, struct why *why)
{
    enum err err = check_batch(store, batch, why);
    if (!err) err = resolve_series(store, batch);
    if (err) return err;
    batch->seq = log_next_seq(&store->log, context_wall_ns(store->context));
    size_t mark = log_record_begin(&store->log, LOG_ROWS, batch->seq, atomic_load(&store->position_durable));
    codec_rows_write(&store->log.pending, batch);
    return log_record_end(&store->log, mark);
}

static void refuse(struct store *store, struct store_append *append, enum err err, const struct why *why)
{
    metric_add(store->context, METRIC_ROWS_REFUSED, append->batch->row_count);
    batch_release(append->batch);
    append->batch = NULL;
    completion_finish(&append->completion, err, why);
}

/* After a failed write or sync the old segment is left alone. */
static enum err recover_log(struct store *store, struct why *why)
{
    if (!store->failed) return ERR_OK;
    if (store->syncing) return why_set(why, ERR_BUSY, "the log is being reopened");
    struct log_recovery recovery = {.last_seq = store->log.last_seq, .last_number = store->log.number};
    struct log fresh;
    enum err err = log_open(&fresh, store->context->os, store->log.folder, store->origin, &recovery,
                            context_wall_ns(store->context), why);
    if (err) return err;
    log_close(&store->log);
    store->log = fresh;
    store->failed = false;
    diag(store->context, DIAG_WARNING, component, "the log goes on in segment %" PRIu64, store->log.number);
    return ERR_OK;
}

static enum err write_round(struct store *store, struct why *why)
{
    size_t size = store->log.pending.size;
    enum err err = log_flush(&store->log, why);
    if (err) {
        store->failed = true;
        metric_add(store->context, METRIC_LOG_ERRORS, 1);
        diag(store->context, DIAG_ERROR, component, "write of the log failed: %s", why_text(why, err));
        return err;
    }
    metric_add(store->context, METRIC_LOG_BYTES, size);
    store->appended = store->log.last_seq;
    atomic_store_explicit(&store->position_appended, store->appended, memory_order_release);
    return ERR_OK;
}

/* Applies one batch that is in the log. */
static void apply(struct store *store, struct store_append *append)
{
    struct batch *batch = append->batch;
    append->seq = batch->seq;
    enum err err = head_apply(writer_head(store), batch);
    if (err) {
        struct why why = WHY_NONE;
        why_set(&why, err, "no memory to apply rows of table %s; they are in the log", batch->schema->name);
        refuse(store, append, err, &why);
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
        completion_finish(&append->completion, ERR_OK, NULL);
        return;
    }
    if (store->waiting_last)
        store->waiting_last->next = append;
    else
        store->waiting = append;
    store->waiting_last = append;
}

/* The end of a round of jobs. */
static void after_jobs(void *arg)
{
    struct store *store = arg;
    struct store_append *first = store->arrived, *next;
    if (!first) return;
    store->arrived = store->arrived_last = NULL;
    struct why why = WHY_NONE;
    enum err round = recover_log(store, &why);
    struct store_append *framed = NULL, **tail = &framed;
    for (struct store_append *append = first; append; append = next) {
        struct why one = why;
        next = append->next;
        enum err err = round ? round : frame_batch(store, append->batch, &one);
        if (err) {
            refuse(store, append, err, &one);
            continue;
        }
        append->next = NULL;
        *tail = append;
        tail = &append->next;
    }
    if (!round) round = write_round(store, &why);
    uint64_t applied = 0;
    for (struct store_append *append = framed; append; append = next) {
        next = append->next;
        if (round) {
            refuse(store, append, round, &why);
            continue;
        }
        applied = append->batch->seq;
        apply(store, append);
    }
    if (applied) atomic_store_explicit(&store->position_applied, applied, memory_order_release);
    metric_set(store->context, METRIC_HEAD_ROWS, atomic_load(&writer_head(store)->row_count));
    metric_set(store->context, METRIC_HEAD_BYTES, atomic_load(&store->head_budget.used_bytes));
    if (store->waiting) sync_now(store);
    if (!store->sync_timer_set && store->appended > atomic_load(&store->position_durable)) {
        store->sync_timer_set = true;
        store->context->os->ops->timer_set(store->sync_timer, IDLE_SYNC_MS * TIME_NS_PER_MS);
    }
}

void store_listen(struct store *store, void (*on_applied)(void *arg, struct batch *batch), void *arg)
{
    MUST(store->listener_count < STORE_LISTENERS_MAX);
    store->listeners[store->listener_count].on_applied = on_applied;
    store->listeners[store->listener_count++].arg = arg;
}

/* ---- defining tables (log task) ---- */

static enum err check_define(struct store *store, const struct store_define *define, struct why *why)
{
    const struct schema *s = define->schema;
    struct table_list *tables = store->catalog.tables.object;
    int named = table_list_find(tables, str_of(s->ns), str_of(s->name));
    const struct schema *old = s->table_id ? catalog_schema(&store->catalog, s->table_id) : NULL;
    if (s->table_id && !old) return why_set(why, ERR_NO_TABLE, "table %s does not exist", s->name);
    if (named >= 0 && tables->items[named].schema->table_id != s->table_id)
        return why_set(why, ERR_EXISTS, "table %s exists already", s->name);
    if (old && !define->drop && s->revision != old->revision + 1)
        return why_set(why, ERR_CONFLICT, "table %s was changed in the meantime; try again", s->name);
    return ERR_OK;
}

static enum err carry_out(struct store *store, struct store_define *define, struct why *why)
{
    enum err err = recover_log(store, why);
    if (!err) err = check_define(store, define, why);
    if (err) return err;
    if (!define->schema->table_id) define->schema->table_id = store->catalog.next_table_id;
    uint64_t seq = log_next_seq(&store->log, context_wall_ns(store->context));
    size_t mark = log_record_begin(&store->log, LOG_SCHEMA, seq, atomic_load(&store->position_durable));
    catalog_write_schema(&store->log.pending, define->schema, define->drop);
    if ((err = log_record_end(&store->log, mark)) || (err = write_round(store, why))) return err;
    if (define->drop) return catalog_drop_table(&store->catalog, define->schema->table_id);
    define->result = schema_share(define->schema);
    return catalog_put_table(&store->catalog, schema_share(define->schema));
}

static void run_define(struct job *job)
{
    struct store_define *define = (struct store_define *)(void *)((char *)job - offsetof(struct store_define, arrive));
    struct store *store = define->store;
    struct why why = WHY_NONE;
    after_jobs(store); /* batches posted before keep their order */
    enum err err = carry_out(store, define, &why);
    schema_release(define->schema);
    define->schema = NULL;
    if (err) {
        completion_finish(&define->completion, err, &why);
        return;
    }
    define->next = NULL;
    if (store->defined_last)
        store->defined_last->next = define;
    else
        store->defined = define;
    store->defined_last = define;
    sync_now(store);
}

void store_define(struct store *store, struct store_define *define)
{
    MUST(define->schema && define->completion.done);
    define->store = store;
    define->arrive.run = run_define;
    loop_post(&store->log_loop, &define->arrive);
}

struct schema *store_find_table(struct store *store, struct str ns, struct str name)
{
    struct table_list *tables = catalog_tables(&store->catalog);
    int at = table_list_find(tables, ns, name);
    struct schema *schema = at < 0 ? NULL : schema_share(tables->items[at].schema);
    table_list_release(tables);
    return schema;
}

/* The catalogue's list under its public name. */
struct store_table_list *store_tables(struct store *store)
{
    return (struct store_table_list *)catalog_tables(&store->catalog);
}

uint32_t store_table_count(const struct store_table_list *list)
{
    return ((const struct table_list *)list)->count;
}

const struct schema *store_table_at(const struct store_table_list *list, uint32_t index)
{
    MUST(index < store_table_count(list));
    return ((const struct table_list *)list)->items[index].schema;
}

void store_tables_release(struct store_table_list *list) { table_list_release((struct table_list *)list); }

uint32_t store_series_count(const struct store *store)
{
    return atomic_load_explicit(&((struct store *)(uintptr_t)store)->catalog.series_count,
                                memory_order_acquire);
}

bool store_series(const struct store *store, uint32_t id, struct store_series_info *info)
{
    struct series *series = catalog_series(&store->catalog, id);
    if (!series) return false;
    const struct series_labels *labels = atomic_load_explicit(&series->labels, memory_order_acquire);
    *info = (struct store_series_info){series->id, series->table_id, series->path,
                                       labels ? labels->count : 0, labels ? labels->items : NULL};
    return true;
}

/* ---- opening and closing ---- */

static enum err replay_rows(struct store *store, const struct log_record *record, struct why *why)
{
    struct schema *schema = catalog_schema(&store->catalog, codec_rows_table(record->body));
    if (!schema) return ERR_OK; /* the table was dropped later */
    struct reader in = reader_of(record->body.at, record->body.size);
    struct batch *batch;
    enum err err = codec_rows_read(&in, schema, NULL, &batch, why);
    if (err) return err;
    batch->seq = record->seq;
    for (uint32_t i = 0; i < batch->device_count && !err; i++)
        if (!catalog_series(&store->catalog, batch->devices[i].series))
            err = why_set(why, ERR_CORRUPT, "rows of an unknown series");
    if (!err) err = head_apply(writer_head(store), batch);
    batch_release(batch);
    return err;
}

static enum err replay_schema(struct store *store, const struct log_record *record, struct why *why)
{
    struct reader in = reader_of(record->body.at, record->body.size);
    struct schema *schema;
    bool dropped;
    enum err err = catalog_read_schema(&in, &schema, &dropped, why);
    if (err) return err;
    if (!dropped) return catalog_put_table(&store->catalog, schema);
    err = catalog_drop_table(&store->catalog, schema->table_id);
    schema_release(schema);
    return err;
}

static enum err replay_record(void *arg, const struct log_record *record, struct why *why)
{
    struct store *store = arg;
    struct reader in = reader_of(record->body.at, record->body.size);
    enum err err = ERR_OK;
    switch (record->type) {
    case LOG_SCHEMA: err = replay_schema(store, record, why); break;
    case LOG_SERIES: err = catalog_read_series(&store->catalog, &in, why); break;
    case LOG_ROWS: err = replay_rows(store, record, why); break;
    case LOG_BLOCK:
    case LOG_MESSAGE:
    case LOG_SESSION:
    case LOG_CURSOR:
    case LOG_TICK: break; /* other owners' */
    }
    if (err != ERR_CORRUPT) return err;
    /* The bytes are as they were written, so this is damage of another kind: report it, keep the rest. */
    metric_add(store->context, METRIC_LOG_DAMAGED, 1);
    diag(store->context, DIAG_ERROR, component, "log record %" PRIu64 ": %s", record->seq, why_text(why, err));
    return ERR_OK;
}

static void on_damage(void *arg, const char *text)
{
    struct store *store = arg;
    metric_add(store->context, METRIC_LOG_DAMAGED, 1);
    diag(store->context, DIAG_ERROR, component, "%s", text);
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

/* "format" says which build may open the folder; "origin" names the node that writes here. */
static enum err read_meta(struct store *store, const char *text, struct why *why)
{
    int format = 0;
    if (sscanf(text, "millrace data\nformat %d\norigin %" SCNx64, &format, &store->origin) != 2)
        return why_set(why, ERR_CORRUPT, "%s/meta is not readable", store->folder);
    if (format != META_FORMAT)
        return why_set(why, ERR_FORMAT,
                       "the data folder %s has format %d, this version reads format %d; move the folder away to "
                       "start afresh, or run the version that wrote it",
                       store->folder, format, META_FORMAT);
    return ERR_OK;
}

static enum err make_meta(struct store *store, const char *path, struct why *why)
{
    struct os *os = store->context->os;
    char text[128], fresh[4096];
    snprintf(fresh, sizeof fresh, "%s.new", path);
    os->ops->random(os, &store->origin, sizeof store->origin);
    snprintf(text, sizeof text, "millrace data\nformat %d\norigin %016" PRIx64 "\n", META_FORMAT,
             store->origin);
    struct os_file *file;
    enum err err = os->ops->file_open(os, fresh, OS_FILE_WRITE | OS_FILE_CREATE, &file, why);
    if (err) return err;
    err = os->ops->file_write(file, 0, text, strlen(text), why);
    if (!err) err = os->ops->file_sync(file, why);
    os->ops->file_close(file);
    if (!err) err = os->ops->path_rename(os, fresh, path, why);
    if (!err) err = os->ops->path_sync(os, store->folder, why);
    return err;
}

static enum err open_meta(struct store *store, struct why *why)
{
    struct os *os = store->context->os;
    char path[3950], text[256] = "";
    size_t got = 0;
    snprintf(path, sizeof path, "%s/meta", store->folder);
    struct os_file *file;
    enum err err = os->ops->file_open(os, path, 0, &file, why);
    if (err == ERR_NOT_FOUND) return make_meta(store, path, why);
    if (err) return err;
    err = os->ops->file_read(file, 0, text, sizeof text - 1, &got, why);
    os->ops->file_close(file);
    return err ? err : read_meta(store, text, why);
}

static enum err make_view(struct store *store)
{
    struct store_view *view = mem_alloc_zero(1, sizeof *view);
    if (!view) return ERR_NO_MEMORY;
    atomic_init(&view->refs, 1);
    view->head = head_new(&store->head_budget);
    enum err err = view->head ? cell_init(&store->view, view, view_share, view_release) : ERR_NO_MEMORY;
    if (err) store_view_release(view);
    return err;
}

static enum err open_log(struct store *store, struct why *why)
{
    struct context *context = store->context;
    struct os *os = context->os;
    char folder[3950];
    struct log_recovery recovery;
    snprintf(folder, sizeof folder, "%s/log", store->folder);
    enum err err = os->ops->path_make(os, folder, why);
    if (!err) err = log_replay(os, folder, replay_record, on_damage, store, &recovery, why);
    if (!err) err = log_open(&store->log, os, folder, store->origin, &recovery, context_wall_ns(context), why);
    if (err) return err;
    store->appended = recovery.last_seq;
    atomic_store(&store->position_appended, recovery.last_seq);
    atomic_store(&store->position_applied, recovery.last_seq);
    atomic_store(&store->position_durable, recovery.last_seq);
    diag(context, DIAG_INFO, component, "%" PRIu64 " log records replayed, %" PRIu64 " rows, %u series",
         recovery.records, atomic_load(&writer_head(store)->row_count), store_series_count(store));
    return ERR_OK;
}

static enum err start_tasks(struct store *store, struct why *why)
{
    struct os *os = store->context->os;
    store->sync_job.run = run_sync;
    store->synced_job.run = run_synced;
    enum err err = loop_start(&store->sync_loop, os, "sync", OS_TASK_BLOCKING, why);
    if (!err) err = loop_start(&store->log_loop, os, "log", OS_TASK_BLOCKING, why);
    if (err) return err;
    store->log_loop.after_jobs = after_jobs;
    store->log_loop.after_arg = store;
    return ERR_OK;
}

struct start {
    struct job job;
    struct store *store;
};

static void make_timer(struct job *job) /* log task: timers belong to their task */
{
    struct store *store = ((struct start *)job)->store;
    enum err err = store->context->os->ops->timer_make(store->log_loop.task, on_sync_timer, store, &store->sync_timer);
    MUST(!err);
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
        store->context = context;
        budget_init(&store->head_budget, "head", &context->memory, config->head_limit_bytes);
        if (!str_copy(store->folder, sizeof store->folder, str_of(config->folder)))
            err = why_set(why, ERR_LIMIT, "the path of the data folder is too long");
    }
    if (!err) err = os->ops->path_make(os, store->folder, why);
    if (!err) err = lock_folder(store, why);
    if (!err) err = open_meta(store, why);
    if (!err) err = catalog_init(&store->catalog);
    if (!err) err = make_view(store);
    if (!err) err = open_log(store, why);
    if (!err) err = start_tasks(store, why);
    if (err) {
        mem_free(start);
        store_close(store);
        return err;
    }
    *start = (struct start){.job.run = make_timer, .store = store};
    loop_post(&store->log_loop, &start->job);
    *out = store;
    return ERR_OK;
}

/* The log task's last job: the sync task ends first, so that its last answer still finds this queue. */
static void wind_up(struct job *job)
{
    struct store *store = ((struct start *)job)->store;
    after_jobs(store);
    store->closing = true;
    loop_stop(&store->sync_loop);
    loop_run_jobs(&store->log_loop);
    store->context->os->ops->timer_close(store->sync_timer);
}

void store_close(struct store *store)
{
    if (!store) return;
    struct start stop = {.job.run = wind_up, .store = store};
    if (store->log_loop.task) loop_post(&store->log_loop, &stop.job);
    loop_stop(&store->log_loop);
    loop_stop(&store->sync_loop); /* only if the log task never started */
    if (store->log.file) {
        enum err err = store->context->os->ops->file_sync(store->log.file, NULL);
        /* Acknowledgements still open were never given; what was promised had been synced before. */
        finish_appends(&store->waiting, &store->waiting_last, UINT64_MAX, err, NULL);
        finish_defines(store, err, NULL);
    }
    log_close(&store->log);
    cell_free(&store->view);
    catalog_free(&store->catalog);
    if (store->lock) store->context->os->ops->file_close(store->lock);
    mem_free(store);
}
