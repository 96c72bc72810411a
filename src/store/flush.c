/* flush.c - from a grown head to parts, and looking after the parts: what the log task begins, the
 * flush task carries out and the log task finishes. One operation at a time.
 *
 * Order on the disk: parts (written, synced, renamed, folder synced), the catalogue's snapshot, the
 * manifest's records that make both count; only then does the view change and are log segments
 * recycled. A crash in between leaves files nobody speaks of, which a start removes, and a log that
 * still has every row.
 *
 * After a failure the frozen head stays where it is, visible, and the operation is tried again. If
 * the parts are there and only the manifest failed, the parts stay: the failed write may have
 * reached the disk, and then a start relies on them. */
#include "store/store_priv.h"
#include <inttypes.h>
#include <stdio.h>

static const char component[] = "flush";

enum {
    FREEZE_PERCENT =
        40, /* of the head's limit: the rest is for what arrives while parts are written */
    CROWDED_PERCENT = 75, /* all generations together, when readers hold old ones */
    CROWDED_OWN_PERCENT = 10,
    LOG_SEGMENTS_MAX = 4, /* bounds the log and so the time of a start */
    RETRY_MS = 5000,
    TRUST_SAVE_MINUTES = 60,
};
#define MS_NS ((int64_t)1000000)

/* ---- flush task ---- */

static bool snapshot_is_due(const struct store *store)
{
    return store->flush.catalog_changes != store->saved_changes || store->flush.dirty.size > 0;
}

static enum err save_catalog(struct store *store, struct manifest_checkpoint *next, struct why *why)
{
    struct flush *f = &store->flush;
    if (!snapshot_is_due(store)) return ERR_OK;
    enum err err =
        catalog_snapshot_write(&store->catalog, store->context->os, store->folder, f->seal.version,
                               f->next_table_id, f->seal.series_count, buf_str(&f->dirty), why);
    if (!err) next->catalog_seq = f->seal.version;
    return err;
}

static void forget_catalog(struct store *store, uint64_t old_seq, uint64_t new_seq)
{
    if (old_seq == 0 || old_seq == new_seq) return;
    char name[32], path[4096];
    catalog_snapshot_name(name, old_seq);
    snprintf(path, sizeof path, "%s/%s", store->folder, name);
    (void)store->context->os->ops->path_remove(store->context->os, path,
                                               NULL); /* a start removes what stays */
}

void store_tell_clock(struct store *store)
{
    atomic_store(&store->trusted_ns, store->trust.time_ns);
    atomic_store(&store->time_trusted, store->trust.trusted);
    metric_set(store->context, METRIC_CLOCK_TRUSTED, store->trust.trusted);
}

static void look_at_clock(struct store *store)
{
    struct context *c = store->context;
    bool was = store->trust.trusted;
    if (store->flush.confirm)
        trust_confirm(&store->trust, context_wall_ns(c), context_mono_ns(c));
    else
        trust_look(&store->trust, context_wall_ns(c), context_mono_ns(c));
    /* What the next head holds may have come since the last look. */
    store->flush.untrusted_since = !store->flush.confirm && (!was || !store->trust.trusted);
    store->was_untrusted =
        !store->flush.confirm && (store->was_untrusted || store->flush.untrusted_since);
    store_tell_clock(store);
    if (store->flush.confirm)
        diag(c, DIAG_INFO, component, "the clock was confirmed: retention goes on");
    else if (was && !store->trust.trusted)
        diag(
            c, DIAG_WARNING, component,
            "the clock jumped: trusted time stands still, nothing is removed for its age until the clock is right "
            "again or CONFIRM CLOCK says that it is");
}

static void unmark(const struct part_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        atomic_store(&list->parts[i]->dropped, false);
        list->parts[i]->is_over = false;
    }
}

static enum err commit(struct store *store, const struct manifest_checkpoint *next, struct why *why)
{
    struct flush *f = &store->flush;
    struct manifest *m = &store->manifest;
    MUST(f->busy && f->after && next->position >= m->checkpoint.position);
    if (f->confirm) manifest_confirm(m);
    for (size_t i = 0; i < f->seal.part_count; i++) manifest_add(m, &f->seal.parts[i]->info);
    if (f->merged) manifest_add(m, &f->merged->info);
    retention_note_frozen(store);
    for (size_t i = 0; i < f->before->count; i++)
        if (atomic_load(&f->before->parts[i]->dropped))
            manifest_drop(m, f->before->parts[i]->info.id);
    manifest_checkpoint(m, next);
    uint64_t old_catalog = m->checkpoint.catalog_seq;
    enum err err = manifest_commit(m, f->after->parts, f->after->count, why);
    if (err) return err;
    forget_catalog(store, old_catalog, next->catalog_seq);
    store->trust_saved_ns = store->trust.time_ns;
    store->saved_changes = f->catalog_changes;
    atomic_store(&store->checkpoint, next->position);
    return ERR_OK;
}

static enum err seal_head(struct store *store, struct why *why)
{
    struct flush *f = &store->flush;
    if (!f->has_head || f->sealed) return ERR_OK;
    struct os *os = store->context->os;
    MUST(f->seal.head && f->seal.head->sealed_seq == f->seal.version);
    int64_t start = os->ops->mono_ns(os);
    f->seal.untrusted = store->was_untrusted;
    f->seal.next_part_id = store->next_part_id;
    enum err err = seal_run(&f->seal, why);
    store->next_part_id = f->seal.next_part_id;
    if (err) return err;
    f->sealed = true;
    store->was_untrusted = f->untrusted_since;
    metric_add(store->context, METRIC_FLUSHES, 1);
    metric_add(store->context, METRIC_FLUSH_ROWS, f->seal.rows);
    metric_add(store->context, METRIC_FLUSH_NS, (uint64_t)(os->ops->mono_ns(os) - start));
    return ERR_OK;
}

static enum err carry_out(struct store *store, struct why *why)
{
    struct flush *f = &store->flush;
    MUST(f->busy && f->before && f->view && !f->after && !f->merged);
    look_at_clock(store);
    for (size_t i = 0; f->confirm && i < f->before->count; i++)
        f->before->parts[i]->info.untrusted = false;
    for (size_t i = 0; f->confirm && i < f->seal.part_count; i++)
        f->seal.parts[i]->info.untrusted = false;
    enum err err = seal_head(store, why);
    if (err) return err;
    size_t dropped = retention_mark(store, f->before);
    /* Only one that the log task has heard of: its last step's message would meet the next one. */
    bool merges = f->compacted && compact_take(store, f->before, &f->merged);
    struct manifest_checkpoint next = store->manifest.checkpoint;
    bool moves = f->seal.version > next.position;
    int64_t now_ns = store->trust.time_ns, saved_ns = store->trust_saved_ns;
    bool trust_due = now_ns != saved_ns && (saved_ns == INT64_MIN || now_ns < saved_ns ||
                                            now_ns - saved_ns > TRUST_SAVE_MINUTES * 60000 * MS_NS);
    if (!f->has_head && !moves && !dropped && !trust_due && !f->confirm && !merges) return ERR_OK;
    f->after = part_list_change(f->before, f->seal.parts, f->seal.part_count, f->merged);
    err = f->after ? ERR_OK : ERR_NO_MEMORY;
    if (moves) next.position = f->seal.version;
    next.trusted_ns = store->trust.time_ns;
    if (!err) err = save_catalog(store, &next, why);
    if (!err) err = commit(store, &next, why);
    part_release(f->merged);
    f->merged = NULL;
    if (!err && dropped) retention_note_gone(store, f->before);
    if (!err && merges) compact_taken(store);
    if (!err) return ERR_OK;
    unmark(f->before);
    part_list_release(f->after);
    f->after = NULL;
    return err;
}

static void run_flush(struct job *job)
{
    struct store *store = (struct store *)((char *)job - offsetof(struct store, flush.job));
    store->flush.why = WHY_NONE;
    store->flush.err = carry_out(store, &store->flush.why);
    struct flush *f = &store->flush;
    if (!f->err) compact_look(store, f->after ? f->after : f->before, f->merge_all);
    f->idle = !store->compaction.running;
    loop_post(&store->log_loop, &store->flush.done);
}

/* ---- log task: beginning ---- */

bool flush_is_due(struct store *store)
{
    struct head *head = store_writer_head(store);
    size_t own = atomic_load(&head->budget.used_bytes),
           all = atomic_load(&store->head_budget.used_bytes);
    size_t percent = store->head_limit_bytes / 100 + 1;
    if (atomic_load(&head->row_count) == 0) return false;
    return own >= percent * FREEZE_PERCENT ||
           (all >= percent * CROWDED_PERCENT && own >= percent * CROWDED_OWN_PERCENT);
}

static bool is_old(struct store *store)
{
    if (store->log.old.count >= LOG_SEGMENTS_MAX) return true;
    return store->head_since_ns &&
           context_mono_ns(store->context) - store->head_since_ns >= store->flush_age_ns;
}

/* What rollups have to compute, as of all that is applied now; it goes to the disk with it. */
static enum err note_dirty(struct store *store)
{
    struct flush *f = &store->flush;
    buf_clear(&f->dirty);
    rollup_states_write(&store->catalog, &f->dirty);
    return buf_failed(&f->dirty) ? ERR_NO_MEMORY : ERR_OK;
}

/* A new head takes over; the one so far stays as it is. */
static enum err freeze(struct store *store, uint64_t position)
{
    MUST(!store_frozen_head(store) && !store->flush.busy);
    struct store_view *view = store->view.object;
    if (note_dirty(store)) return ERR_NO_MEMORY;
    struct head *heads[2] = {store_writer_head(store), head_new(&store->head_budget)};
    struct store_view *next = heads[1] ? store_view_new(store, heads, 2, view->parts) : NULL;
    head_release(heads[1]);
    if (!next) return ERR_NO_MEMORY;
    struct flush *f = &store->flush;
    f->seal = (struct seal){.os = store->context->os,
                            .folder = store->parts_folder,
                            .catalog = &store->catalog,
                            .head = heads[0],
                            .origin = store->origin,
                            .version = position};
    f->seal.series_count = atomic_load(&store->catalog.series_count);
    f->catalog_changes = atomic_load(&store->catalog.changes);
    f->next_table_id = store->catalog.next_table_id;
    f->sealed = false;
    store->head_since_ns = 0;
    heads[0]->sealed_seq = position;
    cell_set(&store->view, next);
    return ERR_OK;
}

/* An operation over what is frozen; without a frozen head the checkpoint moves to `position` if no
 * row is in memory. */
static enum err prepare(struct store *store, uint64_t position)
{
    struct flush *f = &store->flush;
    struct store_view *view = store->view.object;
    struct head *head = store_writer_head(store);
    bool empty = atomic_load(&head->row_count) == 0;
    MUST(!f->busy && !f->before && !f->after && !f->view);
    f->has_head = store_frozen_head(store) != NULL;
    if (!f->has_head) {
        buf_clear(&f->dirty);
        if (empty && position > atomic_load(&store->checkpoint) && note_dirty(store))
            return ERR_NO_MEMORY;
    }
    if (!(f->view = store_view_new(store, &head, 1, view->parts))) return ERR_NO_MEMORY;
    if (!f->has_head) {
        f->seal = (struct seal){.version = empty ? position : 0};
        f->seal.series_count = atomic_load(&store->catalog.series_count);
        f->catalog_changes = empty ? atomic_load(&store->catalog.changes) : store->saved_changes;
        f->next_table_id = store->catalog.next_table_id;
    }
    f->before = part_list_share(view->parts);
    f->after = NULL;
    f->busy = true;
    return ERR_OK;
}

static bool wants_confirm(struct store *store)
{
    bool wants = false;
    for (struct store_flush *flush = store->flushes; flush; flush = flush->next)
        if (flush->confirm_time && !flush->confirmed) wants = flush->confirmed = true;
    return wants;
}

static bool wants_merge(const struct store *store)
{
    bool wants = false;
    for (struct store_flush *flush = store->flushes; flush; flush = flush->next)
        if (flush->merge) wants = flush->looked = true;
    return wants;
}

/* Whether somebody waits for an operation, and not for the compaction that one began. */
static bool is_awaited(const struct store *store)
{
    uint64_t checkpoint = atomic_load(&store->checkpoint);
    for (const struct store_flush *flush = store->flushes; flush; flush = flush->next)
        if (flush->position > checkpoint || !flush->merge || !flush->looked) return true;
    return false;
}

static void begin(struct store *store)
{
    if (prepare(store, store->appended)) return; /* the next round tries again */
    store->flush.confirm = wants_confirm(store);
    store->flush.compacted = store->compacted;
    store->flush.merge_all = wants_merge(store);
    store->compacted = false;
    loop_post(&store->flush_loop, &store->flush.job);
}

void flush_look(struct store *store)
{
    if (store->flush.busy || store->closing) return;
    if (!store->head_since_ns && atomic_load(&store_writer_head(store)->row_count))
        store->head_since_ns = context_mono_ns(store->context);
    if (context_mono_ns(store->context) < store->flush_retry_ns) return;
    if (store_frozen_head(store)) {
        begin(store);
        return;
    }
    bool empty = atomic_load(&store_writer_head(store)->row_count) == 0;
    bool due = flush_is_due(store) || is_old(store) || is_awaited(store) ||
               (store->held && !empty); /* they wait for what a flush gives back */
    if (!due && store->compacted) {
        begin(store);
        return;
    }
    if (!due) return;
    if (!empty && freeze(store, store->appended)) return;
    begin(store);
}

void flush_tick(struct store *store)
{
    if (store->flush.busy || store->closing) return;
    flush_look(store);
    if (store->flush.busy || store_frozen_head(store)) return;
    begin(store); /* for the clock's and retention's sake */
}

/* ---- log task: the end ---- */

static void show_parts(struct store *store, const struct part_list *parts)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < parts->count; i++) bytes += parts->parts[i]->info.size_bytes;
    metric_set(store->context, METRIC_PARTS, parts->count);
    metric_set(store->context, METRIC_PARTS_BYTES, bytes);
}

/* Puts the result into the view, which was made before so that nothing can fail here: the manifest
 * has decided. */
static void apply(struct store *store)
{
    struct flush *f = &store->flush;
    MUST(f->view && f->after && f->view->head_count == 1);
    part_list_release(f->view->parts);
    f->view->parts = f->after;
    f->after = NULL;
    show_parts(store, f->view->parts);
    cell_set(&store->view, f->view);
    f->view = NULL;
    if (f->dirty.size) {
        struct buf old = store->saved_dirty;
        store->saved_dirty = f->dirty;
        f->dirty = old;
        buf_clear(&f->dirty);
    }
    store->forget_due = true;
    if (store->log.file)
        log_recycle(&store->log, notes_recyclable(store, atomic_load(&store->checkpoint)));
    for (size_t i = 0; i < f->seal.part_count; i++) part_release(f->seal.parts[i]);
    mem_free(f->seal.parts);
    f->seal = (struct seal){0};
    f->sealed = false;
}

static void end(struct store *store)
{
    struct flush *f = &store->flush;
    if (!f->err && f->after) apply(store);
    MUST(!f->after);
    store_view_release(f->view);
    part_list_release(f->before);
    f->view = NULL;
    f->before = NULL;
    f->busy = false;
    delete_forget(store);
}

static void finish_waiting(struct store *store, enum err err, const struct why *why)
{
    struct store_flush *keep = NULL, *next;
    uint64_t checkpoint = atomic_load(&store->checkpoint);
    for (struct store_flush *flush = store->flushes; flush; flush = next) {
        next = flush->next;
        bool merged = !flush->merge || (store->flush.idle && flush->looked);
        if (err || (flush->position <= checkpoint && merged &&
                    (!flush->confirm_time || flush->confirmed))) {
            enum err own = !err && flush->pin ? store_pin_take(store, flush->pin) : err;
            completion_finish(&flush->completion, own, why);
        } else {
            flush->next = keep;
            keep = flush;
        }
    }
    store->flushes = keep;
}

static void run_done(struct job *job)
{
    struct store *store = (struct store *)((char *)job - offsetof(struct store, flush.done));
    struct flush *f = &store->flush;
    MUST(f->busy);
    end(store);
    if (f->err) {
        metric_add(store->context, METRIC_FLUSH_ERRORS, 1);
        diag(store->context, DIAG_ERROR, component, "writing parts failed, tried again in %d s: %s",
             RETRY_MS / 1000, why_text(&f->why, f->err));
        store->flush_retry_ns = context_mono_ns(store->context) + RETRY_MS * MS_NS;
        store->compacted |= f->compacted;
    }
    finish_waiting(store, f->err, &f->why);
    store_release_held(store, f->err, &f->why);
    flush_look(store);
}

enum err flush_now(struct store *store, uint64_t position, struct why *why)
{
    bool frozen = store_frozen_head(store) != NULL; /* by an attempt that failed */
    if (!frozen && atomic_load(&store_writer_head(store)->row_count) && freeze(store, position))
        return ERR_NO_MEMORY;
    if (prepare(store, position)) return ERR_NO_MEMORY;
    store->flush.confirm = false;
    store->flush.err = carry_out(store, why);
    end(store);
    return store->flush.err;
}

static void run_arrive(struct job *job)
{
    struct store_flush *flush =
        (struct store_flush *)(void *)((char *)job - offsetof(struct store_flush, arrive));
    struct store *store = flush->store;
    store_after_jobs(store); /* what was posted before belongs to it */
    flush->position = store->appended;
    flush->confirmed = flush->looked = false;
    flush->next = store->flushes;
    store->flushes = flush;
    store->flush_retry_ns = 0;
    flush_look(store);
}

void store_flush(struct store *store, struct store_flush *flush)
{
    MUST(store_is_valid(store) && flush->completion.done);
    flush->store = store;
    flush->arrive.run = run_arrive;
    loop_post(&store->log_loop, &flush->arrive);
}

void flush_close(struct store *store)
{
    finish_waiting(store, ERR_CLOSED, NULL);
}

void flush_jobs_init(struct store *store)
{
    store->flush.job.run = run_flush;
    store->flush.done.run = run_done;
}
