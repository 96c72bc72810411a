/* view.c - what readers pin: lists of parts, views, and the list of what is unhealthy; see
 * store_priv.h.
 *
 * A view is immutable but for the rows its last head still takes, and is replaced whole by the log
 * task. A statement holds one share of it for as long as it runs: that keeps the parts' files and a
 * frozen head's memory, and nothing else needs a lock. live_views counts them, for tombstones may
 * go only when nobody reads an older one.
 *
 * Called by: everybody who reads (scan.c, since.c, table_size.c), flush.c and open_parts.c, which
 * make new ones. Owns: nothing; every object here is shared by reference count (refs.h).
 * Invariants: the store's own view has one or two heads, the growing one last
 * (one for reading parts alone has none); health entries are never changed
 * once they are ready, so they are read without a lock. */
#include "store/rollup.h"
#include "store/store_priv.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- lists of parts ---- */

struct part_list *part_list_new(size_t capacity)
{
    struct part_list *list = mem_alloc_zero(1, sizeof *list + capacity * sizeof list->parts[0]);
    if (list) atomic_init(&list->refs, 1);
    return list;
}

struct part_list *part_list_share(struct part_list *list)
{
    refs_take(&list->refs);
    return list;
}

void part_list_release(struct part_list *list)
{
    if (!list || !refs_drop(&list->refs)) return;
    for (size_t i = 0; i < list->count; i++) part_release(list->parts[i]);
    mem_free(list);
}

struct part_list *part_list_change(const struct part_list *list, struct part *const *more,
                                   size_t more_count, struct part *one)
{
    struct part_list *changed = part_list_new(list->count + more_count + 1);
    if (!changed) return NULL;
    for (size_t i = 0; i < list->count; i++)
        if (!atomic_load(&list->parts[i]->dropped))
            changed->parts[changed->count++] = part_share(list->parts[i]);
    for (size_t i = 0; i < more_count; i++) changed->parts[changed->count++] = part_share(more[i]);
    if (one) changed->parts[changed->count++] = part_share(one);
    MUST(changed->count <= list->count + more_count + 1);
    return changed;
}

/* ---- views ---- */

static void *view_share(void *object)
{
    struct store_view *view = object;
    MUST(view->magic == VIEW_MAGIC);
    refs_take(&view->refs);
    return view;
}

void store_view_release(struct store_view *view)
{
    MUST(!view || view->magic == VIEW_MAGIC);
    if (!view || !refs_drop(&view->refs)) return;
    for (size_t i = 0; i < view->head_count; i++) head_release(view->heads[i]);
    part_list_release(view->parts);
    uint32_t live = atomic_fetch_sub_explicit(view->live, 1, memory_order_acq_rel);
    MUST(live > 0);
    view->magic = 0;
    mem_free(view);
}

static void view_release(void *object)
{
    store_view_release(object);
}
struct store_view *store_view_get(struct store *store)
{
    MUST(store_is_valid(store));
    return cell_get(&store->view);
}

struct store_view *store_view_new(struct store *store, struct head *const *heads, size_t head_count,
                                  struct part_list *parts)
{
    MUST(head_count <= VIEW_HEADS_MAX);
    struct store_view *view = mem_alloc_zero(1, sizeof *view);
    if (!view) return NULL;
    atomic_init(&view->refs, 1);
    view->magic = VIEW_MAGIC;
    view->live = &store->live_views;
    atomic_fetch_add(view->live, 1);
    for (size_t i = 0; i < head_count; i++) view->heads[view->head_count++] = head_share(heads[i]);
    view->parts = part_list_share(parts);
    return view;
}

enum err store_view_init(struct store *store)
{
    struct head *head = head_new(&store->head_budget);
    struct part_list *parts = part_list_new(0);
    struct store_view *view = head && parts ? store_view_new(store, &head, 1, parts) : NULL;
    head_release(head);
    part_list_release(parts);
    enum err err = view ? cell_init(&store->view, view, view_share, view_release) : ERR_NO_MEMORY;
    if (err) store_view_release(view);
    return err;
}

struct head *store_writer_head(struct store *store)
{
    struct store_view *view = store->view.object; /* only this task replaces it */
    MUST(view->magic == VIEW_MAGIC && view->head_count > 0);
    return view->heads[view->head_count - 1];
}

struct head *store_frozen_head(struct store *store)
{
    struct store_view *view = store->view.object;
    return view->head_count > 1 ? view->heads[0] : NULL;
}

/* ---- health ---- */

static bool is_noted(struct health *health, const struct store_health_row *row)
{
    uint32_t count = atomic_load(&health->claimed);
    for (uint32_t i = 0; i < count && i < HEALTH_MAX; i++)
        if (atomic_load_explicit(&health->items[i].ready, memory_order_acquire) &&
            strcmp(health->items[i].row.object, row->object) == 0 &&
            strcmp(health->items[i].row.text, row->text) == 0)
            return true;
    return false;
}

void health_note(struct store *store, enum store_severity severity, const char *object,
                 const char *format, ...)
{
    struct store_health_row row = {.severity = severity};
    (void)str_copy(row.object, sizeof row.object, str_of(object));
    va_list args;
    va_start(args, format);
    (void)vsnprintf(row.text, sizeof row.text, format, args);
    va_end(args);
    struct health *health = &store->health;
    if (is_noted(health, &row)) return;
    diag(store->context, severity == STORE_ERROR ? DIAG_ERROR : DIAG_WARNING, "store", "%s: %s",
         row.object, row.text);
    if (atomic_load(&health->claimed) >= HEALTH_MAX)
        return; /* what comes after is in the diagnostics only */
    uint32_t at = atomic_fetch_add(&health->claimed, 1);
    if (at >= HEALTH_MAX) return;
    health->items[at].row = row;
    atomic_store_explicit(&health->items[at].ready, true, memory_order_release);
}

size_t store_health(struct store *store, struct store_health_row *rows, size_t capacity)
{
    size_t count = 0;
    MUST(store_is_valid(store));
    if (!atomic_load(&store->time_trusted) && count < capacity) {
        rows[count] = (struct store_health_row){.severity = STORE_WARNING, .object = "clock"};
        (void)str_copy(
            rows[count++].text, sizeof rows->text,
            STR("the clock is not where it should be (more than a day from the last time that was known, or "
                "it jumped); no rows are removed for their age until it is right again or CONFIRM CLOCK says "
                "that it is right"));
    }
    count += rollup_health(store, rows + count, capacity - count);
    MUST(count <= capacity);
    uint32_t noted = atomic_load(&store->health.claimed);
    for (uint32_t i = 0; i < noted && i < HEALTH_MAX && count < capacity; i++)
        if (atomic_load_explicit(&store->health.items[i].ready, memory_order_acquire))
            rows[count++] = store->health.items[i].row;
    return count;
}

/* ---- what a table takes ---- */

void store_each_part(struct store *store, void (*use)(void *arg, uint32_t table_id), void *arg)
{
    struct store_view *view = store_view_get(store);
    for (size_t i = 0; i < view->parts->count; i++) {
        const struct part_info *info = &view->parts->parts[i]->info;
        for (uint32_t t = 0; t < info->table_count; t++) use(arg, info->tables[t]);
    }
    store_view_release(view);
}
