/* series_index.c - series by table and path; see series_index.h.
 *
 * Open addressing with steps of one: at most three quarters of the places are taken, so a search
 * ends soon. Ids and not pointers are stored: half as much memory, and one more read that the
 * comparison of the path needs anyway. The table's id is mixed in behind the path's hash, since the
 * same devices stand in many tables.
 *
 * Called by: catalog.c to add; catalog.c, scan.c and since.c to find, on any task.
 * Owns: all tables of places there were. Invariants: a place never changes once it is filled; a
 * series is published before its place, so whoever sees the id can read it; there is always a free
 * place, so a search ends. */
#include "store/series_index.h"
#include "base/hash.h"
#include "store/catalog.h"

enum { SLOTS_MIN = 64 };

static uint32_t place_of(uint32_t table_id, struct str path)
{
    uint64_t hash = (hash_64(path.at, path.size) ^ table_id) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(hash >> 32);
}

static void enter(struct series_slots *slots, const struct series *series)
{
    uint32_t at = place_of(series->table_id, series->path) & slots->mask;
    while (atomic_load_explicit(&slots->ids[at], memory_order_relaxed)) at = (at + 1) & slots->mask;
    atomic_store_explicit(&slots->ids[at], series->id, memory_order_release);
    slots->count++;
}

enum err series_index_reserve(struct catalog *catalog)
{
    struct series_slots *old = atomic_load_explicit(&catalog->slots, memory_order_relaxed);
    if (old && old->count < old->mask - old->mask / 4) return ERR_OK;
    size_t size = old ? 2 * ((size_t)old->mask + 1) : SLOTS_MIN;
    struct series_slots *slots = mem_alloc_zero(1, sizeof *slots + size * sizeof slots->ids[0]);
    if (!slots) return ERR_NO_MEMORY;
    slots->mask = (uint32_t)size - 1;
    slots->older = old;
    for (size_t i = 0; old && i <= old->mask; i++) {
        uint32_t id = atomic_load_explicit(&old->ids[i], memory_order_relaxed);
        if (id) enter(slots, catalog_series(catalog, id));
    }
    MUST(!old || slots->count == old->count);
    atomic_store_explicit(&catalog->slots, slots, memory_order_release);
    return ERR_OK;
}

void series_index_add(struct catalog *catalog, const struct series *series)
{
    struct series_slots *slots = atomic_load_explicit(&catalog->slots, memory_order_relaxed);
    MUST(slots && slots->count < slots->mask && series->id && series->path.at);
    enter(slots, series);
}

struct series *series_index_find(const struct catalog *catalog, uint32_t table_id, struct str path)
{
    struct series_slots *slots =
        atomic_load_explicit(&((struct catalog *)(uintptr_t)catalog)->slots, memory_order_acquire);
    if (!slots) return NULL;
    for (uint32_t at = place_of(table_id, path) & slots->mask;; at = (at + 1) & slots->mask) {
        uint32_t id = atomic_load_explicit(&slots->ids[at], memory_order_acquire);
        if (!id) return NULL;
        struct series *series = catalog_series(catalog, id);
        MUST(series); /* it was published before its place here */
        if (series->table_id == table_id && str_equal(series->path, path)) return series;
    }
}

void series_index_free(struct catalog *catalog)
{
    struct series_slots *slots = atomic_load(&catalog->slots);
    while (slots) {
        struct series_slots *older = slots->older;
        mem_free(slots);
        slots = older;
    }
}
