/* open_parts.c - the parts that a start finds: what the manifest lists, what it has lost, and what
 * nobody speaks of any more; see open.c.
 *
 * The manifest's word is trusted for adding and doubted for removing. A part that it lists and that
 * is not there is told and counted, and the windows of rollups that were in it are computed again.
 * A part that it does not list is a leftover of an interrupted flush or merge, and goes; but only
 * when the manifest is whole, and is written anew and durable: else the part may be real, and then
 * it is taken in again. It says everything about itself, and rows that the log or another part has
 * too are the same rows with the same or a higher version.
 *
 * Called by: open.c, before any task runs, so nothing here needs a lock.
 * Owns: store->missing, from taking the listed parts until store_forget_missing.
 * Invariants: no file of a part is removed while store->settled is false; next_part_id is above the
 * number of every part file in the folder, so a new part never overwrites one. */
#include "store/rollup.h"
#include "store/store_priv.h"
#include <inttypes.h>
#include <stdio.h>

static const char component[] = "store";

static void on_manifest_damage(void *arg, const char *text)
{
    struct store *store = arg;
    metric_add(store->context, METRIC_STORE_DAMAGED, 1);
    health_note(store, STORE_ERROR, "manifest", "%s", text);
}

/* Makes part objects of what the manifest lists, leaving out (and telling) what is not there. */
static enum err take_listed_parts(struct store *store, struct part_list *list)
{
    struct manifest *m = &store->manifest;
    struct os *os = store->context->os;
    for (size_t i = 0; i < m->part_count; i++) {
        struct os_path_info info;
        struct part *part = part_new(os, store->parts_folder, &m->parts[i]);
        if (!part) return ERR_NO_MEMORY;
        /* A disk that does not say whether it is there may say so when rows are read. */
        if (os->ops->path_info(os, part->path, &info, NULL) != ERR_NOT_FOUND) {
            list->parts[list->count++] = part;
            continue;
        }
        char object[64];
        snprintf(object, sizeof object, "part %016" PRIx64, part->info.id);
        health_note(store, STORE_ERROR, object, "the file is missing: %" PRIu64 " rows are lost",
                    part->info.rows);
        metric_add(store->context, METRIC_STORE_DAMAGED, 1);
        enum err err = mem_grow(&store->missing, &store->missing_capacity, store->missing_count + 1,
                                sizeof *store->missing);
        if (err) {
            part_release(part);
            return err;
        }
        store->missing[store->missing_count++] = part;
    }
    mem_free(m->parts);
    m->parts = NULL;
    m->part_count = 0;
    return ERR_OK;
}

/* What is known of rollups beside the catalogue's snapshot: what was removed for its age, and
 * windows that are lost with their part and have to be computed again. */
void store_mend_rollups(struct store *store)
{
    const struct manifest *m = &store->manifest;
    for (size_t i = 0; i < m->frozen_count; i++) {
        struct rollup_state *state = rollup_state_find(&store->catalog, m->frozen[i].table_id);
        if (state) rollup_state_freeze(&store->catalog, state, m->frozen[i].before_ns);
    }
    for (size_t i = 0; i < store->missing_count; i++) {
        const struct part_info *info = &store->missing[i]->info;
        for (uint32_t n = 0; n < info->table_count; n++)
            rollup_mark_lost(&store->catalog, info->tables[n], info->min_time_ns,
                             info->max_time_ns);
    }
}

void store_forget_missing(struct store *store)
{
    for (size_t i = 0; i < store->missing_count; i++) part_release(store->missing[i]);
    mem_free(store->missing);
    store->missing = NULL;
    store->missing_count = store->missing_capacity = 0;
}

/* What a failed sync of the last life covered is read today and may be gone after a power loss. So
 * before anything is removed because of what the manifest says, the manifest is written anew. If it
 * cannot be (or lost something, then the parts found are needed first), nothing is removed until
 * the first group of this life is durable. */
static bool settle_manifest(struct store *store, const struct part_list *parts)
{
    struct manifest *m = &store->manifest;
    if (m->damaged || m->unsure) return false;
    return m->records == 0 || manifest_commit(m, parts->parts, parts->count, NULL) == ERR_OK;
}

struct strays {
    struct store *store;
    const struct part_list *known;
    struct part **found;
    size_t count, capacity;
};

static bool is_known(const struct part_list *list, uint64_t id)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->parts[i]->info.id == id) return true;
    return false;
}

static enum err adopt(struct strays *s, const char *path)
{
    struct part_file file;
    struct why why = WHY_NONE;
    enum err err = part_file_open(s->store->context->os, path, NULL, &file, &why);
    if (!err) {
        file.info.table_count = file.table_count;
        err = part_file_tables(&file, &file.info.tables, &why);
        part_file_close(&file);
    }
    if (err == ERR_NO_MEMORY) return err;
    if (err) {
        health_note(s->store, STORE_ERROR, path, "not in the manifest and not readable: %s",
                    why_text(&why, err));
        return ERR_OK;
    }
    err = mem_grow(&s->found, &s->capacity, s->count + 1, sizeof(struct part *));
    struct part *part =
        err ? NULL : part_new(s->store->context->os, s->store->parts_folder, &file.info);
    if (!part) return ERR_NO_MEMORY;
    s->found[s->count++] = part;
    health_note(s->store, STORE_WARNING, path,
                "was not in the manifest, which is damaged or missing, and is taken in again");
    return ERR_OK;
}

static enum err look_at_file(void *arg, const char *name)
{
    struct strays *s = arg;
    struct store *store = s->store;
    uint64_t id;
    char path[4200];
    snprintf(path, sizeof path, "%s/%s", store->parts_folder, name);
    bool is_part = store_file_number(name, ".part", &id);
    if (is_part && id >= store->next_part_id) store->next_part_id = id + 1;
    if (is_part && is_known(s->known, id)) return ERR_OK;
    /* Parts that no whole manifest speaks of: it was taken away or cut, or power failed first. */
    if (is_part && (store->manifest.damaged || store->manifest.unsure)) return adopt(s, path);
    if (!store->settled) return ERR_OK;
    (void)store->context->os->ops->path_remove(store->context->os, path,
                                               NULL); /* tried again at the next start */
    return ERR_OK;
}

void checkpoint_find(struct os *os, const char *folder, struct manifest_checkpoint *c)
{
    char path[4200];
    struct log_oldest oldest;
    uint64_t newest = catalog_snapshot_newest(os, folder);
    if (newest > c->catalog_seq) c->catalog_seq = newest;
    if (newest > c->position) c->position = newest;
    snprintf(path, sizeof path, "%s/log", folder);
    if (log_look_oldest(os, path, &oldest) == ERR_OK && oldest.durable_seq > c->position)
        c->position = oldest.durable_seq;
}

enum err store_open_parts(struct store *store, struct why *why)
{
    struct context *context = store->context;
    struct os *os = context->os;
    enum err err = os->ops->path_make(os, store->parts_folder, why);
    if (!err)
        err = manifest_open(&store->manifest, os, store->folder, on_manifest_damage, store, why);
    if (err) return err;
    struct manifest_checkpoint *c = &store->manifest.checkpoint;
    if (store->manifest.damaged || store->manifest.unsure) {
        checkpoint_find(os, store->folder, c);
        store->manifest.pending = *c;
    }
    store->next_part_id = store->manifest.next_part_id;
    store->trust_saved_ns = c->trusted_ns;
    atomic_store(&store->checkpoint, c->position);
    store->appended = c->position;
    trust_begin(&store->trust, c->trusted_ns, context_wall_ns(context), context_mono_ns(context));
    store->was_untrusted = !store->trust.trusted;
    store_tell_clock(store);
    if (!store->trust.trusted)
        diag(
            context, DIAG_WARNING, component,
            "the clock is more than a day from the last time that was known: nothing is removed for its age "
            "until CONFIRM CLOCK says that it is right");
    struct part_list *listed = part_list_new(store->manifest.part_count), *all = NULL;
    struct strays strays = {.store = store, .known = listed};
    err = listed ? take_listed_parts(store, listed) : ERR_NO_MEMORY;
    store->settled = !err && settle_manifest(store, listed);
    if (!err) err = os->ops->path_list(os, store->parts_folder, look_at_file, &strays, why);
    if (!err && !(all = part_list_change(listed, strays.found, strays.count, NULL)))
        err = ERR_NO_MEMORY;
    for (size_t i = 0; i < strays.count; i++) part_release(strays.found[i]);
    mem_free(strays.found);
    part_list_release(listed);
    struct head *head = store_writer_head(store);
    struct store_view *view = all ? store_view_new(store, &head, 1, all) : NULL;
    part_list_release(all);
    if (!view) return err ? err : ERR_NO_MEMORY;
    cell_set(&store->view, view);
    return ERR_OK;
}
