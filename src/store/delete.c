/* delete.c - deleting rows: from a request to tombstones, and what becomes of them. Log task, but
 * for run_hide, which is any scan's.
 *
 * A DELETE is a record in the log and, when that is with the kernel, a tombstone per range; parts
 * are not touched. So it costs what it says and not what it hides, and is undone by nothing but the
 * rows written later. Merges and flushes leave hidden rows out; a tombstone goes when no part
 * sealed before it can hold such a row any more, nobody reads an older view, and the disk has no
 * part that a start might take in again.
 *
 * Called by: any task posts (store_delete); held.c and store.c carry out those that waited behind
 * rows without room, so that a delete never overtakes the rows before it.
 * Owns: a request from its posting to its completion. */
#include "store/rollup.h"
#include "store/scan.h"
#include <string.h>

enum { BODY_VERSION = 1, RANGE_BYTES_MIN = 17 };

/* ---- the log's record ---- */

static enum err write_record(struct store *store, const struct store_delete *delete, uint64_t seq)
{
    struct buf *out = &store->log.pending;
    size_t mark =
        log_record_begin(&store->log, LOG_DELETE, seq, atomic_load(&store->position_durable));
    uint64_t known = 0;
    for (size_t i = 0; i < delete->count; i++) known += delete->ranges[i].series != 0;
    buf_add_char(out, BODY_VERSION);
    buf_add_le32(out, delete->table_id);
    buf_add_varint(out, known);
    for (size_t i = 0; i < delete->count; i++) {
        if (!delete->ranges[i].series) continue;
        buf_add_varint(out, delete->ranges[i].series);
        buf_add_le64(out, (uint64_t) delete->ranges[i].from_ns);
        buf_add_le64(out, (uint64_t) delete->ranges[i].to_ns);
    }
    return log_record_end(&store->log, mark);
}

enum err delete_replay(struct store *store, const struct record *record, struct why *why)
{
    struct reader in = reader_of(record->body.at, record->body.size);
    uint8_t version = reader_u8(&in);
    uint32_t table_id = reader_le32(&in);
    uint64_t count = reader_varint(&in);
    if (version != BODY_VERSION || count > reader_left(&in) / RANGE_BYTES_MIN)
        return why_set(why, ERR_CORRUPT, "a DELETE record makes no sense");
    for (uint64_t i = 0; i < count; i++) {
        uint64_t id = reader_varint(&in);
        struct tombstone t = {.version = record->seq};
        t.from_ns = (int64_t)reader_le64(&in);
        t.to_ns = (int64_t)reader_le64(&in);
        struct series *series =
            id <= UINT32_MAX ? catalog_series(&store->catalog, (uint32_t)id) : NULL;
        if (!reader_ok(&in) || t.from_ns > t.to_ns)
            return why_set(why, ERR_CORRUPT, "a DELETE record makes no sense");
        if (!series || series->table_id != table_id) continue; /* of a table dropped since */
        rollup_mark_range(&store->catalog, table_id, series->id, t.from_ns, t.to_ns);
        rollup_mark_computed(&store->catalog, table_id, series->id, t.from_ns, t.to_ns);
        enum err err = tombstone_add(&store->catalog, series, &t);
        if (err) return err;
    }
    return ERR_OK;
}

/* ---- carrying out ---- */

/* And makes room for what follows from it. */
static enum err check(struct store *store, struct store_delete *delete, struct why *why)
{
    const struct schema *schema = catalog_schema(&store->catalog, delete->table_id);
    if (!schema) return why_set(why, ERR_NO_TABLE, "the table was dropped");
    if (schema->rollup_of && !delete->of_rollup)
        return why_set(why, ERR_READ_ONLY,
                       "table %s is a rollup, computed from table %s: delete there", schema->name,
                       rollup_base_name(store, schema));
    size_t same = 0; /* ranges of one device come together */
    for (size_t i = 0; i < delete->count; i++) {
        struct store_range *range = &delete->ranges[i];
        MUST(range->from_ns <= range->to_ns);
        range->series = catalog_find_series(&store->catalog, delete->table_id, range->device);
        struct series *series = catalog_series(&store->catalog, range->series);
        same = i && range->series == range[-1].series ? same + 1 : 1;
        uint32_t count = 0;
        if (series) (void)tombstones_of(series, &count);
        if (count + same > TOMBSTONES_MAX)
            return why_set(why, ERR_LIMIT,
                           "device %.*s would have more than %d deleted ranges that parts still "
                           "hold; delete whole ranges of time, or try again when they were merged",
                           (int)range->device.size, range->device.at, TOMBSTONES_MAX);
        /* What the log has is carried out: from there on no memory may be missing. */
        if (series && tombstones_reserve(&store->catalog, series, (uint32_t)same))
            return why_set(why, ERR_NO_MEMORY, "no memory for what is deleted of device %.*s",
                           (int)range->device.size, range->device.at);
    }
    return ERR_OK;
}

static enum err carry_out(struct store *store, struct store_delete *delete, struct why *why)
{
    enum err err = store_recover_log(store, why);
    if (!err) err = check(store, delete, why);
    if (err) return err;
    delete->seq = log_next_seq(&store->log, context_wall_ns(store->context));
    if ((err = write_record(store, delete, delete->seq)) || (err = store_write_round(store, why)))
        return err;
    for (size_t i = 0; i < delete->count; i++) {
        const struct store_range *range = &delete->ranges[i];
        struct series *series = catalog_series(&store->catalog, range->series);
        struct tombstone t = {range->from_ns, range->to_ns, delete->seq};
        if (!series) continue;
        rollup_mark_range(&store->catalog, delete->table_id, series->id, t.from_ns, t.to_ns);
        MUST(!tombstone_add(&store->catalog, series, &t)); /* check made room */
    }
    atomic_store_explicit(&store->position_applied, delete->seq, memory_order_release);
    return ERR_OK;
}

void delete_run_all(struct store *store, struct store_delete *first)
{
    for (struct store_delete *delete = first, *next; delete; delete = next) {
        struct why why = WHY_NONE;
        next = delete->next;
        enum err err = carry_out(store, delete, &why);
        if (err)
            completion_finish(&delete->completion, err, &why);
        else
            store_wait_durable(store, delete);
    }
}

static void run_delete(struct job *job)
{
    struct store_delete *delete =
        (struct store_delete *)(void *)((char *)job - offsetof(struct store_delete, arrive));
    struct store *store = delete->store;
    delete->next = NULL;
    store_after_jobs(store); /* batches posted before keep their order */
    if (!store->held) {
        delete_run_all(store, delete);
        return;
    }
    MUST(store->held_last);
    struct store_delete **tail = &store->held_last->behind;
    while (*tail) tail = &(*tail)->next;
    *tail = delete;
}

void store_delete(struct store *store, struct store_delete *delete)
{
    MUST(store_is_valid(store) && delete->completion.done);
    delete->store = store;
    delete->arrive.run = run_delete;
    loop_post(&store->log_loop, &delete->arrive);
}

/* ---- forgetting ---- */

static bool holds_table(const struct part_info *info, uint32_t table_id)
{
    for (uint32_t i = 0; i < info->table_count; i++)
        if (info->tables[i] == table_id) return true;
    return false;
}

/* Whether rows that it hides may be left: in a part sealed before, or in memory. */
static bool is_needed(void *arg, const struct series *series, const struct tombstone *t)
{
    struct store *store = arg;
    const struct store_view *view = store->view.object;
    if (t->version > atomic_load(&store->checkpoint)) return true;
    for (size_t i = 0; i < view->parts->count; i++) {
        const struct part_info *info = &view->parts->parts[i]->info;
        if (info->version <= t->version && info->min_time_ns <= t->to_ns &&
            info->max_time_ns >= t->from_ns && holds_table(info, series->table_id))
            return true;
    }
    return false;
}

static enum err look_for_stray(void *arg, const char *name)
{
    struct store *store = arg;
    const struct store_view *view = store->view.object;
    uint64_t id;
    if (!store_file_number(name, ".part", &id)) return ERR_OK;
    for (size_t i = 0; i < view->parts->count; i++)
        if (view->parts->parts[i]->info.id == id) return ERR_OK;
    return ERR_EXISTS;
}

/* Whether the disk holds no part but the view's, for certain: a start that cannot trust the
 * manifest takes in whatever parts it finds, and what a merge left behind may hold deleted rows. */
static bool old_parts_are_gone(struct store *store)
{
    struct os *os = store->context->os;
    return os->ops->path_list(os, store->parts_folder, look_for_stray, store, NULL) == ERR_OK &&
           os->ops->path_sync(os, store->parts_folder, NULL) == ERR_OK;
}

void delete_forget(struct store *store)
{
    /* Who reads an older view (a statement, a compaction) needs what hides its rows. Everybody else
     * has begun above the checkpoint. */
    if (!store->forget_due || !store->catalog.deleted ||
        atomic_load_explicit(&store->live_views, memory_order_acquire) != 1 ||
        !old_parts_are_gone(store))
        return;
    store->forget_due = false;
    tombstones_tidy(&store->catalog, atomic_load(&store->checkpoint), is_needed, store);
}

/* ---- scans ---- */

static enum err keep_vector(struct sql_scan *scan, struct run *run, struct vector *v,
                            const uint32_t *kept, uint32_t count)
{
    struct vector fewer;
    if (v->is_constant) {
        v->count = count;
        return ERR_OK;
    }
    if (vector_make(&fewer, &run->rows, v->type, count, v->null != NULL, v->quality != NULL))
        return ERR_BUDGET;
    size_t element = vector_element_bytes(v->type);
    for (uint32_t i = 0; i < count; i++) {
        memcpy((char *)fewer.data + i * element, (const char *)v->data + kept[i] * element,
               element);
        if (v->null) fewer.null[i] = v->null[kept[i]];
        if (v->quality) fewer.quality[i] = v->quality[kept[i]];
    }
    fewer.count = count;
    *v = fewer;
    (void)scan;
    return ERR_OK;
}

enum err run_hide(struct sql_scan *scan, struct run *run)
{
    uint32_t n = 0;
    MUST(run->at <= run->end);
    if (!scan->deleted.count || run->at == run->end) return ERR_OK;
    int64_t a = run->time[run->at], b = run->time[run->end - 1];
    uint64_t oldest = run->seq ? 0 : run->version;
    if (!deleted_touches(&scan->deleted, a < b ? a : b, a < b ? b : a, oldest)) return ERR_OK;
    uint32_t *kept = arena_alloc(&run->rows, (run->end - run->at) * sizeof *kept);
    int64_t *time = arena_alloc(&run->rows, (run->end - run->at) * sizeof *time);
    uint64_t *seq = arena_alloc(&run->rows, (run->end - run->at) * sizeof *seq);
    if (!kept || !time || !seq) return ERR_BUDGET;
    for (uint32_t row = run->at; row < run->end; row++) {
        uint64_t version = run->seq ? run->seq[row] : run->version;
        if (deleted_hides(&scan->deleted, run->time[row], version)) continue;
        kept[n] = row;
        time[n] = run->time[row];
        seq[n++] = version;
    }
    if (n == run->end - run->at) return ERR_OK;
    for (size_t i = 0; i < scan->request.column_count; i++) {
        enum err err = keep_vector(scan, run, &run->columns[i], kept, n);
        if (err) return err;
    }
    run->time = time;
    if (run->seq) run->seq = seq;
    run->at = 0;
    run->end = n;
    return ERR_OK;
}
