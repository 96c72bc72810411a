/* backup.c - the backup of a running node; see store.h (store_backup) and backup.h (the folder).
 *
 * Steps: the log task starts the backup's task (once), which reads the sinks' cursors: they must
 * not be ahead of the rows, or a restored sink would skip some. A flush is asked for; at its end
 * the parts are pinned; the backup's task plans what to copy, waits until others of the node have
 * their files ready for the same position, copies in pieces of a megabyte, one a job, so that it
 * can be stopped and slowed between any two, and writes the index. Nothing waits for it but the
 * parts, which stay on the disk while they are pinned.
 *
 * What an interrupted backup leaves is either not named by any index, and then copied again, or
 * belongs to an older backup and is untouched. Old backups go only after the new one is durable,
 * and parts only if every index left could be read. */
#include "store/backup_priv.h"
#include "base/hash.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char component[] = "backup";
/* Beside the store's own: what lets people in, as it is now. Each is replaced whole by its owner.
 */
static const char *const plain_files[] = {"meta", "access", "admin.token", "tls-cert.pem",
                                          "tls-key.pem"};

/* ---- the pin ---- */

enum err store_pin_take(struct store *store, struct store_pin *pin)
{
    struct store_view *view = store->view.object;
    MUST(!store->flush.busy);
    pin->view = store_view_new(store, NULL, 0, view->parts);
    if (!pin->view) return ERR_NO_MEMORY;
    pin->tables = catalog_tables(&store->catalog);
    pin->checkpoint = store->manifest.checkpoint;
    pin->frozen_count = store->manifest.frozen_count;
    pin->next_table_id = store->catalog.next_table_id;
    pin->series_count = atomic_load(&store->catalog.series_count);
    pin->reserved_seq = store->log.reserved_seq;
    buf_add_str(&pin->dirty, buf_str(&store->saved_dirty));
    pin->frozen = mem_alloc((pin->frozen_count + 1) * sizeof *pin->frozen);
    for (size_t i = 0; pin->frozen && i < pin->frozen_count; i++)
        pin->frozen[i] = store->manifest.frozen[i];
    if (pin->frozen && !buf_failed(&pin->dirty)) return ERR_OK;
    store_pin_release(pin);
    return ERR_NO_MEMORY;
}

void store_pin_release(struct store_pin *pin)
{
    store_view_release(pin->view);
    table_list_release(pin->tables);
    buf_free(&pin->dirty);
    mem_free(pin->frozen);
    *pin = (struct store_pin){0};
}

/* ---- the end ---- */

void backup_close_files(struct backup *b)
{
    struct os *os = b->store->context->os;
    if (b->from) os->ops->file_close(b->from);
    if (b->to) os->ops->file_close(b->to);
    b->from = b->to = NULL;
}

void backup_finish(struct backup *b, enum err err)
{
    if (b->finished) return;
    b->finished = true;
    b->err = err;
    backup_close_files(b);
    if (b->timer) b->store->context->os->ops->timer_close(b->timer);
    b->timer = NULL;
    for (size_t i = 0; b->old && i <= b->old_count; i++) backup_index_free(&b->old[i]);
    mem_free(b->old);
    mem_free(b->piece);
    backup_index_free(&b->index);
    backup_free_cursors(&b->cursors);
    store_pin_release(&b->pin);
    loop_post(&b->store->log_loop, &b->ended);
}

static void run_ended(struct job *job) /* log task */
{
    struct backup *b = (struct backup *)(void *)((char *)job - offsetof(struct backup, ended));
    struct store_backup *op = b->op;
    MUST(b->finished && b->store->backup == b && op->under_way == b);
    b->store->backup = NULL;
    op->under_way = NULL;
    completion_finish(&op->completion, b->err, &b->why);
    mem_free(b);
}

/* ---- planning ---- */

enum err backup_add_file(struct backup *b, const char *name, const char *stored, uint64_t size)
{
    struct backup_file *f = backup_index_add(&b->index);
    if (!f) return ERR_NO_MEMORY;
    if (!str_copy(f->name, sizeof f->name, str_of(name)) ||
        !str_copy(f->stored, sizeof f->stored, str_of(stored)))
        return ERR_LIMIT;
    f->size_bytes = size;
    return ERR_OK;
}

/* Whether a whole older backup has it: then it is there, checked when it was written. */
static const struct backup_file *known_part(const struct backup *b, const char *stored)
{
    const struct backup_file *found = NULL;
    for (size_t i = b->old_count; i-- > 0 && !found;) found = backup_index_find(&b->old[i], stored);
    return found;
}

static enum err tail_sum(struct backup *b, const struct part *part, uint32_t *sum)
{
    struct os *os = b->store->context->os;
    struct os_file *file;
    uint8_t bytes[4] = {0};
    uint64_t size = 0;
    size_t got;
    enum err err = os->ops->file_open(os, part->path, 0, &file, &b->why);
    if (err) return err;
    err = os->ops->file_size(file, &size, &b->why);
    if (!err && size >= PART_HEADER_BYTES + PART_TAIL_BYTES)
        err = os->ops->file_read(file, size - 12, bytes, sizeof bytes, &got, &b->why);
    os->ops->file_close(file);
    struct reader in = reader_of(bytes, sizeof bytes);
    *sum = reader_le32(&in);
    return err;
}

/* The file is in an older backup, whose size and sum it has: moved behind what is copied, when that
 * is done. */
enum err backup_keep_known(struct backup *b, struct backup_file *f, const struct backup_file *known)
{
    struct backup_index *kept = &b->old[b->old_count]; /* the last one is ours */
    struct backup_file *to = backup_index_add(kept);
    if (!to) return ERR_NO_MEMORY;
    *to = *f;
    to->size_bytes = known->size_bytes;
    to->crc = known->crc;
    b->op->size_bytes += to->size_bytes;
    MUST(f == &b->index.files[b->index.count - 1]);
    b->index.count--;
    return ERR_OK;
}

/* Whether an older backup has it, and it is there. */
const struct backup_file *backup_find_known(const struct backup *b, const char *stored)
{
    struct os *os = b->store->context->os;
    struct os_path_info info;
    char path[4300];
    const struct backup_file *known = known_part(b, stored);
    snprintf(path, sizeof path, "%s/%s", b->op->folder, stored);
    bool is_there = known && os->ops->path_info(os, path, &info, NULL) == ERR_OK &&
                    info.size_bytes == known->size_bytes;
    return is_there ? known : NULL;
}

static enum err plan_part(struct backup *b, const struct part *part)
{
    char name[BACKUP_NAME_BYTES], stored[BACKUP_STORED_BYTES];
    uint32_t sum;
    enum err err = tail_sum(b, part, &sum);
    if (err) return err;
    snprintf(name, sizeof name, "parts/%016" PRIx64 ".part", part->info.id);
    snprintf(stored, sizeof stored, "parts/%016" PRIx64 ".%016" PRIx64 ".%08" PRIx32 ".part",
             part->info.id, part->info.version, sum);
    b->op->parts++;
    const struct backup_file *known = backup_find_known(b, stored);
    if ((err = backup_add_file(b, name, stored, part->info.size_bytes))) return err;
    struct backup_file *f = &b->index.files[b->index.count - 1];
    if (known) return backup_keep_known(b, f, known);
    b->op->parts_copied++;
    atomic_fetch_add(&b->op->total_bytes, f->size_bytes);
    return ERR_OK;
}

static enum err plan_entry(struct backup *b, const char *name)
{
    char stored[BACKUP_STORED_BYTES];
    snprintf(stored, sizeof stored, "%s/%s", b->index.name, name);
    return backup_add_file(b, name, stored, 0);
}

static enum err read_old(struct backup *b)
{
    backup_name *names;
    size_t count;
    struct os *os = b->store->context->os;
    enum err err = backup_names(os, b->op->folder, &names, &count, &b->why);
    if (err) return err;
    b->old = mem_alloc_zero(count + 1, sizeof *b->old); /* one for the parts that are there */
    if (!b->old) err = ERR_NO_MEMORY;
    for (size_t i = 0; i < count && !err; i++) {
        struct why why = WHY_NONE;
        err = backup_index_read(os, b->op->folder, names[i], &b->old[b->old_count], &why);
        if (!err) {
            b->old_count++;
        } else if (err != ERR_NO_MEMORY) {
            diag(b->store->context, DIAG_WARNING, component, "%s", why_text(&why, err));
            b->old_unread = true;
            err = ERR_OK;
        }
    }
    if (!err && !backup_name_next(names, count, b->pin.checkpoint.position, b->index.name))
        err = why_set(&b->why, ERR_LIMIT, "%s: no name is left for a backup of position %" PRIu64,
                      b->op->folder, b->pin.checkpoint.position);
    mem_free(names);
    return err;
}

static void ignore_damage(void *arg, const char *text)
{
    (void)arg;
    (void)text;
}

/* The manifest for exactly the parts pinned. */
static enum err write_manifest(struct backup *b, const char *folder)
{
    struct manifest m;
    struct os *os = b->store->context->os;
    struct manifest_checkpoint checkpoint = b->pin.checkpoint;
    const struct part_list *parts = b->pin.view->parts;
    char path[4300];
    snprintf(path, sizeof path, "%s/manifest", folder);
    (void)os->ops->path_remove(os, path, NULL); /* of one that was interrupted */
    enum err err = manifest_open(&m, os, folder, ignore_damage, NULL, &b->why);
    if (err) return err;
    checkpoint.catalog_seq = checkpoint.position;
    for (size_t i = 0; i < b->pin.frozen_count; i++) manifest_freeze(&m, &b->pin.frozen[i]);
    manifest_checkpoint(&m, &checkpoint);
    err = manifest_commit(&m, parts->parts, parts->count, &b->why);
    manifest_close(&m);
    return err;
}

static enum err write_entry(struct backup *b)
{
    struct store *store = b->store;
    struct os *os = store->context->os;
    char folder[4200], name[32];
    uint64_t position = b->pin.checkpoint.position;
    snprintf(folder, sizeof folder, "%s/%s", b->op->folder, b->index.name);
    enum err err = os->ops->path_make(os, folder, &b->why);
    if (!err) err = write_manifest(b, folder);
    if (!err)
        err = catalog_snapshot_write_as(&store->catalog, b->pin.tables, position, os, folder,
                                        position, b->pin.next_table_id, b->pin.series_count,
                                        buf_str(&b->pin.dirty), &b->why);
    catalog_snapshot_name(name, position);
    if (!err) err = plan_entry(b, "manifest");
    if (!err) err = plan_entry(b, name);
    for (size_t i = 0; i < sizeof plain_files / sizeof plain_files[0] && !err; i++) {
        struct os_path_info info;
        char path[4200];
        snprintf(path, sizeof path, "%s/%s", store->folder, plain_files[i]);
        enum err there = os->ops->path_info(os, path, &info, &b->why);
        if (there != ERR_NOT_FOUND) err = there ? there : plan_entry(b, plain_files[i]);
    }
    if (!err && b->op->resources) err = plan_entry(b, "resources.db");
    for (size_t i = 0; i < b->cursors.count && !err; i++) err = backup_write_cursor(b, folder, i);
    return err;
}

static enum err plan(struct backup *b)
{
    struct os *os = b->store->context->os;
    char parts[4200], queues[4200];
    snprintf(parts, sizeof parts, "%s/parts", b->op->folder);
    snprintf(queues, sizeof queues, "%s/queues", b->op->folder);
    b->index.position = b->op->position = b->pin.checkpoint.position;
    b->index.reserved_seq = b->pin.reserved_seq;
    b->index.origin = b->store->origin;
    b->index.taken_ns = b->op->taken_ns = context_wall_ns(b->store->context);
    enum err err = os->ops->path_make(os, b->op->folder, &b->why);
    if (!err) err = os->ops->path_make(os, parts, &b->why);
    if (!err) err = os->ops->path_make(os, queues, &b->why);
    if (!err) err = read_old(b);
    if (!err) (void)str_copy(b->op->name, sizeof b->op->name, str_of(b->index.name));
    if (!err) err = write_entry(b);
    for (size_t i = 0; i < b->pin.view->parts->count && !err; i++)
        err = plan_part(b, b->pin.view->parts->parts[i]);
    if (!err && !(b->piece = mem_alloc(BACKUP_PIECE_BYTES))) err = ERR_NO_MEMORY;
    return err;
}

/* ---- copying ---- */

/* Where a file comes from; false: it was written into the backup's folder already. */
static bool source_of(const struct backup *b, const struct backup_file *f, char path[4300])
{
    const struct store_backup_extra *extra = b->extra;
    bool in_place = strcmp(f->name, "manifest") == 0 || strncmp(f->name, "catalog.", 8) == 0 ||
                    strncmp(f->name, "sinks/", 6) == 0;
    if (extra)
        snprintf(path, 4300, "%s/%s", b->store->folder, extra->path);
    else if (in_place)
        snprintf(path, 4300, "%s/%s", b->op->folder, f->stored);
    else if (b->op->resources && strcmp(f->name, "resources.db") == 0)
        snprintf(path, 4300, "%s", b->op->resources);
    else
        snprintf(path, 4300, "%s/%s", b->store->folder, f->name);
    return !in_place;
}

static enum err open_files(struct backup *b, struct backup_file *f)
{
    struct os *os = b->store->context->os;
    char path[4300], fresh[4300];
    bool copies = source_of(b, f, path);
    snprintf(fresh, sizeof fresh, "%s/%s.new", b->op->folder, f->stored);
    b->offset = 0;
    f->crc = 0;
    enum err err = os->ops->file_open(os, path, 0, &b->from, &b->why);
    if (err || !copies) return err;
    err = os->ops->file_open(os, fresh, OS_FILE_WRITE | OS_FILE_CREATE, &b->to, &b->why);
    return err ? err : os->ops->file_truncate(b->to, 0, &b->why);
}

static enum err end_file(struct backup *b, struct backup_file *f)
{
    struct os *os = b->store->context->os;
    char path[4300], fresh[4300];
    snprintf(path, sizeof path, "%s/%s", b->op->folder, f->stored);
    snprintf(fresh, sizeof fresh, "%s/%s.new", b->op->folder, f->stored);
    bool copies = b->to != NULL;
    enum err err = copies ? os->ops->file_sync(b->to, &b->why) : ERR_OK;
    backup_close_files(b);
    if (!err && copies) err = os->ops->path_rename(os, fresh, path, &b->why);
    f->size_bytes = b->offset;
    b->op->size_bytes += b->offset;
    b->at++;
    return err;
}

/* How much of the next piece there is to read. */
size_t backup_piece_size(const struct backup *b)
{
    uint64_t left = b->extra ? b->extra->bytes - b->offset : UINT64_MAX;
    return left < BACKUP_PIECE_BYTES ? (size_t)left : BACKUP_PIECE_BYTES;
}

/* One piece of one file. */
static enum err copy_piece(struct backup *b, size_t *moved)
{
    struct os *os = b->store->context->os;
    MUST(!b->finished && b->at < b->index.count);
    struct backup_file *f = &b->index.files[b->at];
    size_t got = 0;
    enum err err = b->from ? ERR_OK : open_files(b, f);
    if (!err)
        err = os->ops->file_read(b->from, b->offset, b->piece, backup_piece_size(b), &got, &b->why);
    if (!err && b->to && got) err = os->ops->file_write(b->to, b->offset, b->piece, got, &b->why);
    if (err) return err;
    f->crc = hash_crc32c(f->crc, b->piece, got);
    b->offset += got;
    *moved = got;
    atomic_fetch_add(&b->op->done_bytes, got);
    return got < BACKUP_PIECE_BYTES || !backup_piece_size(b) ? end_file(b, f) : ERR_OK;
}

/* ---- old backups ---- */

static bool is_wanted(const struct backup *b, const char *stored, size_t first)
{
    if (backup_index_find(&b->index, stored)) return true;
    for (size_t i = first; i < b->old_count; i++)
        if (backup_index_find(&b->old[i], stored)) return true;
    return false;
}

/* A backup goes in the order that keeps what is left true: its index first. A file that cannot be
 * removed costs room and nothing else. */
static void remove_old(struct backup *b)
{
    struct os *os = b->store->context->os;
    const char *folder = b->op->folder;
    unsigned keep = b->op->keep;
    if (!keep || b->old_unread || b->old_count + 1 <= keep) return;
    size_t first = b->old_count + 1 - keep;
    char path[4300];
    for (size_t i = 0; i < first; i++) {
        snprintf(path, sizeof path, "%s/%s.index", folder, b->old[i].name);
        if (os->ops->path_remove(os, path, NULL)) return;
    }
    if (os->ops->path_sync(os, folder, NULL)) return;
    for (size_t i = 0; i < first; i++) {
        for (size_t k = 0; k < b->old[i].count; k++) {
            if (is_wanted(b, b->old[i].files[k].stored, first)) continue;
            snprintf(path, sizeof path, "%s/%s", folder, b->old[i].files[k].stored);
            (void)os->ops->path_remove(os, path, NULL);
        }
        snprintf(path, sizeof path, "%s/%s", folder, b->old[i].name);
        (void)os->ops->path_remove(os, path, NULL);
    }
}

/* Everything is copied: the folders' entries, then the index. */
static enum err publish(struct backup *b)
{
    struct os *os = b->store->context->os;
    char path[4300];
    const struct backup_index *kept = &b->old[b->old_count];
    for (size_t i = 0; i < kept->count; i++) {
        struct backup_file *f = backup_index_add(&b->index);
        if (!f) return ERR_NO_MEMORY;
        *f = kept->files[i];
    }
    snprintf(path, sizeof path, "%s/parts", b->op->folder);
    enum err err = os->ops->path_sync(os, path, &b->why);
    snprintf(path, sizeof path, "%s/queues", b->op->folder);
    if (!err) err = os->ops->path_sync(os, path, &b->why);
    snprintf(path, sizeof path, "%s/%s", b->op->folder, b->index.name);
    if (!err) err = os->ops->path_sync(os, path, &b->why);
    if (!err) err = backup_index_write(os, b->op->folder, &b->index, &b->why);
    if (!err) remove_old(b);
    return err;
}

/* ---- steps ---- */

static void on_timer(void *arg)
{
    struct backup *b = arg;
    b->timed = false;
    loop_post(&b->store->backup_loop, &b->step);
}

static void run_step(struct job *job)
{
    struct backup *b = (struct backup *)(void *)((char *)job - offsetof(struct backup, step));
    const struct os_ops *ops = b->store->context->os->ops;
    size_t moved = 0;
    if (atomic_load(&b->store->backup_stopping) || atomic_load(&b->op->completion.cancelled)) {
        backup_finish(b, ERR_CANCELLED);
        return;
    }
    bool plans = b->at == b->index.count && (b->is_summing || b->next_extra != b->extras_end);
    bool copied = b->at == b->index.count && !plans;
    enum err err = copied ? publish(b) : plans ? backup_plan_extra(b) : copy_piece(b, &moved);
    if (err || copied) {
        backup_finish(b, err);
        return;
    }
    uint64_t rate = b->op->bytes_per_s;
    if (rate && moved &&
        (b->timer || !ops->timer_make(b->store->backup_loop.task, on_timer, b, &b->timer))) {
        b->timed = true;
        ops->timer_set(b->timer, (int64_t)(moved * UINT64_C(1000) / rate) * 1000000);
    } else {
        loop_post(&b->store->backup_loop, &b->step);
    }
}

static void on_flushed(struct completion *c) /* the backup's task */
{
    struct store_flush *flush = (struct store_flush *)c;
    struct backup *b = (struct backup *)(void *)((char *)flush - offsetof(struct backup, flush));
    enum err err = c->err;
    b->why = c->why;
    if (!err) err = plan(b);
    b->waits = !err && b->op->pinned;
    if (err)
        backup_finish(b, err);
    else if (b->waits)
        b->op->pinned(b->op);
    else
        loop_post(&b->store->backup_loop, &b->step);
}

static void run_first(struct job *job) /* the backup's task */
{
    struct backup *b = (struct backup *)(void *)((char *)job - offsetof(struct backup, first));
    b->err = backup_read_cursors(b);
    loop_post(&b->store->log_loop, &b->flushing);
}

static void run_flushing(struct job *job) /* log task */
{
    struct backup *b = (struct backup *)(void *)((char *)job - offsetof(struct backup, flushing));
    enum err err = b->err ? b->err : b->store->closing ? ERR_CLOSED : ERR_OK;
    if (err)
        backup_finish(b, err); /* its task has nothing of it */
    else
        store_flush(b->store, &b->flush);
}

/* ---- beginning and stopping (log task) ---- */

static void run_arrive(struct job *job)
{
    struct store_backup *op =
        (struct store_backup *)(void *)((char *)job - offsetof(struct store_backup, arrive));
    struct store *store = op->store;
    struct why why = WHY_NONE;
    enum err err = ERR_OK;
    if (store->backup)
        err = why_set(&why, ERR_BUSY, "another backup is under way");
    else if (store->closing)
        err = ERR_CLOSED;
    else if (!store->backup_loop.task)
        err = loop_start(&store->backup_loop, store->context->os, "backup",
                         OS_TASK_BLOCKING | OS_TASK_LOW, &why);
    struct backup *b = err ? NULL : mem_alloc_zero(1, sizeof *b);
    if (!b) {
        completion_finish(&op->completion, err ? err : ERR_NO_MEMORY, &why);
        return;
    }
    b->store = store;
    b->op = op;
    b->first.run = run_first;
    b->flushing.run = run_flushing;
    b->step.run = run_step;
    b->more.run = backup_take_extras;
    b->ended.run = run_ended;
    b->flush.pin = &b->pin;
    completion_init(&b->flush.completion, &store->backup_loop, on_flushed);
    store->backup = op->under_way = b;
    loop_post(&store->backup_loop, &b->first);
}

void store_backup(struct store *store, struct store_backup *backup)
{
    MUST(store_is_valid(store) && backup->folder && backup->completion.done);
    backup->store = store;
    backup->arrive.run = run_arrive;
    loop_post(&store->log_loop, &backup->arrive);
}

/* What waits for its time is told at once; what copies sees it before its next piece. */
struct stop {
    struct job job;
    struct backup *backup;
};

static void run_stop(struct job *job)
{
    struct backup *b = ((struct stop *)job)->backup;
    if (b->timed || b->waits) backup_finish(b, ERR_CANCELLED);
}

void backup_stop(struct store *store)
{
    struct stop stop = {.job.run = run_stop, .backup = store->backup};
    if (!store->backup_loop.task) return;
    atomic_store(&store->backup_stopping, true);
    loop_run_jobs(&store->log_loop); /* a flush that it asked for just now */
    flush_close(store);
    stop.backup = store->backup;
    if (stop.backup) loop_post(&store->backup_loop, &stop.job);
    loop_stop(&store->backup_loop);
    loop_run_jobs(&store->log_loop);
    MUST(!store->backup);
}
