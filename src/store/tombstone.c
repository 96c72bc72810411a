/* tombstone.c - what was deleted; see tombstone.h.
 *
 * A list that grows is copied into one of twice the size; the old one stays in the catalogue's
 * arena for who still reads it. Readers get ranges that do not overlap, made by a sweep over the
 * beginnings with a heap of what is open, newest on top: so a row is looked up by binary search,
 * however often its range was deleted.
 *
 * Called by: delete.c (add, tidy), catalog_file.c (on the disk), scan.c and seal.c (deleted_of).
 * Owns nothing but memory of the arena it is given.
 * Invariants: from ≤ to in each; of a list [0, count) is complete and does not change; a series is
 * in the catalogue's list of deleted ones exactly while is_listed. */
#include "store/tombstone.h"
#include "store/catalog.h"
#include <stdlib.h>
#include <string.h>

enum { CAPACITY_MIN = 4 };

const struct tombstones *tombstones_of(const struct series *series, uint32_t *count)
{
    struct series *s = (struct series *)(uintptr_t)series;
    const struct tombstones *list = atomic_load_explicit(&s->tombstones, memory_order_acquire);
    *count = list ? atomic_load_explicit(&((struct tombstones *)(uintptr_t)list)->count,
                                         memory_order_acquire)
                  : 0;
    return list;
}

static struct tombstones *new_list(struct catalog *catalog, uint32_t capacity)
{
    size_t size = sizeof(struct tombstones) + capacity * sizeof(struct tombstone);
    struct tombstones *list = arena_zero(&catalog->arena, 1, size);
    if (list) list->capacity = capacity;
    return list;
}

/* ---- the writer's list ---- */

enum err tombstones_reserve(struct catalog *catalog, struct series *series, uint32_t count)
{
    const struct tombstones *list = atomic_load(&series->tombstones);
    uint32_t known = list ? atomic_load(&((struct tombstones *)(uintptr_t)list)->count) : 0;
    uint32_t capacity = list ? list->capacity : CAPACITY_MIN;
    MUST(count <= UINT32_MAX / 4 && known <= UINT32_MAX / 4);
    while (capacity < known + count) capacity *= 2;
    if (list && capacity == list->capacity) return ERR_OK;
    struct tombstones *more = new_list(catalog, capacity);
    if (!more) return ERR_NO_MEMORY;
    if (known) memcpy(more->items, list->items, known * sizeof *list->items);
    atomic_init(&more->count, known);
    atomic_store_explicit(&series->tombstones, more, memory_order_release);
    return ERR_OK;
}

enum err tombstone_add(struct catalog *catalog, struct series *series, const struct tombstone *t)
{
    MUST(t->from_ns <= t->to_ns);
    enum err err = tombstones_reserve(catalog, series, 1);
    if (err) return err;
    struct tombstones *list = atomic_load(&series->tombstones);
    uint32_t count = atomic_load(&list->count);
    if (!series->is_listed) {
        series->is_listed = true;
        series->next_deleted = catalog->deleted;
        catalog->deleted = series;
    }
    list->items[count] = *t;
    atomic_store_explicit(&list->count, count + 1, memory_order_release);
    atomic_fetch_add(&catalog->changes, 1);
    return ERR_OK;
}

/* ---- ranges that do not overlap ---- */

static int compare_from(const void *a, const void *b)
{
    const struct tombstone *x = a, *y = b;
    return (x->from_ns > y->from_ns) - (x->from_ns < y->from_ns);
}

/* Whether they ascend and do not overlap; sorts them by their beginnings for that. */
static bool are_apart(struct tombstone *items, size_t count)
{
    bool ascend = true, apart = true;
    for (size_t i = 1; i < count && ascend; i++) ascend = items[i - 1].from_ns <= items[i].from_ns;
    if (!ascend) qsort(items, count, sizeof *items, compare_from);
    for (size_t i = 1; i < count && apart; i++) apart = items[i - 1].to_ns < items[i].from_ns;
    return apart;
}

/* Those that cover the point the sweep has come to; the one with the highest version is items[0].
 */
struct heap {
    const struct tombstone **items;
    size_t count;
};

static void heap_push(struct heap *h, const struct tombstone *t)
{
    size_t at = h->count++;
    for (; at && h->items[(at - 1) / 2]->version < t->version; at = (at - 1) / 2)
        h->items[at] = h->items[(at - 1) / 2];
    h->items[at] = t;
}

static void heap_pop(struct heap *h)
{
    MUST(h->count);
    const struct tombstone *moved = h->items[--h->count];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < h->count; at = child) {
        if (child + 1 < h->count && h->items[child]->version < h->items[child + 1]->version)
            child++;
        if (h->items[child]->version <= moved->version) break;
        h->items[at] = h->items[child];
    }
    h->items[at] = moved;
}

/* Sweeps over items sorted by their beginnings. `out` has room for twice as many; returns how many
 * there are. */
static size_t sweep(const struct tombstone *items, size_t count, struct heap *h,
                    struct tombstone *out)
{
    size_t next = 0, made = 0;
    int64_t at = INT64_MIN;
    for (;;) {
        while (h->count && h->items[0]->to_ns < at) heap_pop(h);
        if (!h->count && next == count) return made;
        if (!h->count) at = items[next].from_ns;
        while (next < count && items[next].from_ns <= at) heap_push(h, &items[next++]);
        const struct tombstone *top = h->items[0];
        /* Older ones under it change nothing; a newer one ends it. */
        while (next < count && items[next].from_ns <= top->to_ns &&
               items[next].version <= top->version)
            heap_push(h, &items[next++]);
        bool is_cut = next < count && items[next].from_ns <= top->to_ns;
        int64_t to = is_cut ? items[next].from_ns - 1 : top->to_ns;
        struct tombstone *last = made ? &out[made - 1] : NULL;
        if (last && last->version == top->version && last->to_ns == at - 1)
            last->to_ns = to;
        else
            out[made++] = (struct tombstone){at, to, top->version};
        MUST(made <= 2 * count);
        if (to == INT64_MAX) return made;
        at = to + 1;
    }
}

/* `items` are the caller's to change. */
static enum err resolve(struct tombstone *items, size_t count, struct arena *arena,
                        struct deleted *deleted)
{
    *deleted = (struct deleted){items, count};
    if (are_apart(items, count)) return ERR_OK;
    struct heap heap = {.items = arena_alloc(arena, count * sizeof *heap.items)};
    struct tombstone *out = arena_alloc(arena, 2 * count * sizeof *out);
    *deleted = (struct deleted){0};
    if (!heap.items || !out) return ERR_BUDGET;
    *deleted = (struct deleted){out, sweep(items, count, &heap, out)};
    return ERR_OK;
}

enum err deleted_of(const struct series *series, int64_t from_ns, int64_t to_ns, uint64_t applied,
                    struct arena *arena, struct deleted *deleted)
{
    uint32_t count, wanted = 0, at = 0;
    const struct tombstones *list = tombstones_of(series, &count);
    *deleted = (struct deleted){0};
    for (int fills = 0; fills < 2; fills++) {
        struct tombstone *items = fills ? arena_alloc(arena, wanted * sizeof *items) : NULL;
        if (fills && !items) return ERR_BUDGET;
        for (uint32_t i = 0; i < count; i++) {
            const struct tombstone *t = &list->items[i];
            if (t->version > applied || t->from_ns > to_ns || t->to_ns < from_ns) continue;
            if (fills)
                items[at++] = *t;
            else
                wanted++;
        }
        if (!wanted) return ERR_OK;
        if (fills) return resolve(items, wanted, arena, deleted);
    }
    return ERR_OK;
}

/* The first range that does not end before `time_ns`. */
static size_t first_from(const struct deleted *deleted, int64_t time_ns)
{
    size_t low = 0, high = deleted->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (deleted->items[middle].to_ns < time_ns)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool deleted_hides(const struct deleted *deleted, int64_t time_ns, uint64_t version)
{
    if (!deleted->count) return false;
    size_t at = first_from(deleted, time_ns);
    return at < deleted->count && deleted->items[at].from_ns <= time_ns &&
           version <= deleted->items[at].version;
}

bool deleted_touches(const struct deleted *deleted, int64_t from_ns, int64_t to_ns,
                     uint64_t version)
{
    if (!deleted->count) return false;
    for (size_t at = first_from(deleted, from_ns);
         at < deleted->count && deleted->items[at].from_ns <= to_ns; at++)
        if (version <= deleted->items[at].version) return true;
    return false;
}

/* ---- forgetting ---- */

struct tidying {
    struct catalog *catalog;
    uint64_t up_to;
    bool (*needed)(void *arg, const struct series *series, const struct tombstone *t);
    void *arg;
};

/* The needed ones of the series: first those that everybody sees, resolved if that makes them
 * fewer, then the others. False: no memory. */
static bool gather(const struct tidying *t, const struct series *series, struct arena *arena,
                   struct deleted *seen, struct deleted *rest)
{
    uint32_t count;
    const struct tombstones *list = tombstones_of(series, &count);
    size_t low = 0, high = 0;
    struct tombstone *old = arena_alloc(arena, count * sizeof *old);
    struct tombstone *fresh = arena_alloc(arena, count * sizeof *fresh);
    struct tombstone *sorted = arena_alloc(arena, count * sizeof *sorted);
    if (!old || !fresh || !sorted) return false;
    for (uint32_t i = 0; i < count; i++) {
        if (!t->needed(t->arg, series, &list->items[i])) continue;
        if (list->items[i].version <= t->up_to)
            old[low++] = list->items[i];
        else
            fresh[high++] = list->items[i];
    }
    memcpy(sorted, old, low * sizeof *old);
    if (resolve(sorted, low, arena, seen)) return false;
    if (seen->count >= low) *seen = (struct deleted){old, low};
    *rest = (struct deleted){fresh, high};
    return true;
}

static void fill(struct tombstones *list, const struct deleted *seen, const struct deleted *rest)
{
    MUST(seen->count + rest->count <= list->capacity);
    if (seen->count) memcpy(list->items, seen->items, seen->count * sizeof *list->items);
    if (rest->count)
        memcpy(list->items + seen->count, rest->items, rest->count * sizeof *list->items);
    atomic_init(&list->count, (uint32_t)(seen->count + rest->count));
}

static void tidy_one(const struct tidying *t, struct series *series)
{
    struct arena arena;
    struct deleted seen, rest;
    uint32_t count;
    (void)tombstones_of(series, &count);
    arena_init(&arena, NULL);
    bool changes = gather(t, series, &arena, &seen, &rest) && seen.count + rest.count < count;
    size_t kept = changes ? seen.count + rest.count : 0;
    struct tombstones *fewer = kept ? new_list(t->catalog, (uint32_t)kept) : NULL;
    if (changes && (fewer || !kept)) {
        if (fewer) fill(fewer, &seen, &rest);
        atomic_store_explicit(&series->tombstones, fewer, memory_order_release);
        atomic_fetch_add(&t->catalog->changes, 1);
    }
    arena_free(&arena);
}

void tombstones_tidy(struct catalog *catalog, uint64_t up_to,
                     bool (*needed)(void *arg, const struct series *series,
                                    const struct tombstone *t),
                     void *arg)
{
    struct tidying t = {catalog, up_to, needed, arg};
    struct series **link = &catalog->deleted, *series;
    while ((series = *link)) {
        tidy_one(&t, series);
        if (atomic_load(&series->tombstones)) {
            link = &series->next_deleted;
            continue;
        }
        series->is_listed = false;
        *link = series->next_deleted;
    }
}

/* ---- in the snapshot ---- */

void tombstones_write(struct buf *out, const struct series *series, uint64_t up_to)
{
    uint32_t count, kept = 0;
    const struct tombstones *list = tombstones_of(series, &count);
    for (uint32_t i = 0; i < count; i++) kept += list->items[i].version <= up_to;
    buf_add_varint(out, series->id);
    buf_add_varint(out, kept);
    for (uint32_t i = 0; i < count; i++) {
        if (list->items[i].version > up_to) continue;
        buf_add_le64(out, (uint64_t)list->items[i].from_ns);
        buf_add_le64(out, (uint64_t)list->items[i].to_ns);
        buf_add_le64(out, list->items[i].version);
    }
}

enum err tombstones_read(struct catalog *catalog, struct reader *in)
{
    uint64_t id = reader_varint(in), count = reader_varint(in);
    struct series *series = id <= UINT32_MAX ? catalog_series(catalog, (uint32_t)id) : NULL;
    if (!series || count > reader_left(in) / TOMBSTONE_BYTES) return ERR_CORRUPT;
    for (uint64_t i = 0; i < count; i++) {
        struct tombstone t;
        t.from_ns = (int64_t)reader_le64(in);
        t.to_ns = (int64_t)reader_le64(in);
        t.version = reader_le64(in);
        if (t.from_ns > t.to_ns) return ERR_CORRUPT;
        enum err err = tombstone_add(catalog, series, &t);
        if (err) return err;
    }
    return ERR_OK;
}
