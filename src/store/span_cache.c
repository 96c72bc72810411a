/* span_cache.c - rows that statements asked for lately; see span_cache.h.
 *
 * A shard is a small hash table and a list by last use; its lock is held for a few memory accesses,
 * and who finds it taken goes without: a cache must never be what a statement waits for.
 *
 * Called by: scan_span.c on any task; store_open and store_close.
 * Owns: one share of each span it lists. Invariants: a shard's size_bytes is the sum of its spans'
 * and not above shard_bytes; a span is in the list exactly while it is in its slot; the last share
 * of a span that is listed is the cache's. */
#include "store/span_cache.h"
#include "base/hash.h"
#include "store/refs.h"
#include <string.h>

enum { SLOT_BYTES = 2048 /* one slot for so much memory */, PAD = 16 };

enum err span_cache_init(struct span_cache *cache, struct budget *parent, size_t limit_bytes)
{
    *cache = (struct span_cache){.shard_bytes = limit_bytes / SPAN_SHARDS,
                                 .slot_count = limit_bytes / SPAN_SHARDS / SLOT_BYTES + 1};
    budget_init(&cache->budget, "spans", parent,
                limit_bytes + limit_bytes / 8); /* one is made before an old one goes */
    for (int i = 0; i < SPAN_SHARDS; i++) {
        cache->shards[i].slots = mem_alloc_zero(cache->slot_count, sizeof(struct span *));
        if (!cache->shards[i].slots) return ERR_NO_MEMORY;
    }
    return ERR_OK;
}

void span_release(struct span *span)
{
    if (!span || !refs_drop(&span->refs)) return;
    MUST(!span->newer && !span->older); /* the cache has a share of what it lists */
    budget_give(span->budget, span->size_bytes);
    mem_free(span);
}

static void unlink_span(struct span_shard *shard, struct span *span)
{
    *(span->newer ? &span->newer->older : &shard->newest) = span->older;
    *(span->older ? &span->older->newer : &shard->oldest) = span->newer;
    span->newer = span->older = NULL;
}

void span_cache_free(struct span_cache *cache)
{
    for (int i = 0; i < SPAN_SHARDS; i++) {
        struct span_shard *shard = &cache->shards[i];
        while (shard->newest) {
            struct span *span = shard->newest;
            MUST(shard->size_bytes >= span->size_bytes);
            shard->size_bytes -= span->size_bytes;
            unlink_span(shard, span);
            span_release(span);
        }
        MUST(!shard->oldest && shard->size_bytes == 0 && !atomic_load(&shard->busy));
        mem_free(shard->slots);
        *shard = (struct span_shard){0};
    }
}

/* ---- shards ---- */

static uint64_t hash_of(uint64_t part, uint32_t series)
{
    uint64_t key[2] = {part, series};
    return hash_64(key, sizeof key);
}

static bool lock(struct span_shard *shard)
{
    return !atomic_exchange_explicit(&shard->busy, true, memory_order_acquire);
}

static void unlock(struct span_shard *shard)
{
    atomic_store_explicit(&shard->busy, false, memory_order_release);
}

static struct span **find(struct span **slot, uint64_t part, uint32_t series)
{
    while (*slot && ((*slot)->part != part || (*slot)->series != series))
        slot = &(*slot)->next_in_slot;
    return slot;
}

static void link_newest(struct span_shard *shard, struct span *span)
{
    MUST(!span->newer && !span->older && !shard->newest == !shard->oldest);
    span->older = shard->newest;
    *(shard->newest ? &shard->newest->newer : &shard->oldest) = span;
    shard->newest = span;
}

static void take_out(struct span_cache *cache, struct span_shard *shard, struct span *span)
{
    uint64_t hash = hash_of(span->part, span->series);
    struct span **at =
        find(&shard->slots[hash / SPAN_SHARDS % cache->slot_count], span->part, span->series);
    MUST(*at == span && shard->size_bytes >= span->size_bytes);
    *at = span->next_in_slot;
    unlink_span(shard, span);
    shard->size_bytes -= span->size_bytes;
    span_release(span);
}

struct span *span_cache_get(struct span_cache *cache, uint64_t part, uint32_t series)
{
    uint64_t hash = hash_of(part, series);
    struct span_shard *shard = &cache->shards[hash % SPAN_SHARDS];
    if (!cache->shard_bytes || !lock(shard)) return NULL;
    struct span *span = *find(&shard->slots[hash / SPAN_SHARDS % cache->slot_count], part, series);
    if (span) {
        refs_take(&span->refs);
        unlink_span(shard, span);
        link_newest(shard, span);
    }
    unlock(shard);
    return span;
}

void span_cache_put(struct span_cache *cache, struct span *span)
{
    uint64_t hash = hash_of(span->part, span->series);
    struct span_shard *shard = &cache->shards[hash % SPAN_SHARDS];
    if (span->size_bytes > cache->shard_bytes / 2 || !lock(shard)) {
        span_release(span);
        return;
    }
    struct span **slot = &shard->slots[hash / SPAN_SHARDS % cache->slot_count];
    struct span *old = *find(slot, span->part, span->series);
    if (old) take_out(cache, shard, old);
    while (shard->oldest && shard->size_bytes + span->size_bytes > cache->shard_bytes)
        take_out(cache, shard, shard->oldest);
    span->next_in_slot = *slot;
    *slot = span;
    link_newest(shard, span);
    shard->size_bytes += span->size_bytes;
    MUST(shard->size_bytes <= cache->shard_bytes);
    unlock(shard);
}

/* ---- spans ---- */

const struct span_column *span_find(const struct span *span, uint16_t id)
{
    for (uint16_t i = 0; i < span->column_count; i++)
        if (span->columns[i].id == id) return &span->columns[i];
    return NULL;
}

static size_t padded(size_t bytes)
{
    return (bytes + PAD - 1) & ~(size_t)(PAD - 1);
}

/* Rows of one array, moved behind `*to`. */
static void *copy_rows(char **to, const void *from, size_t element, size_t first, size_t count)
{
    void *at = *to;
    memcpy(at, (const char *)from + first * element, count * element);
    *to += padded(count * element);
    return at;
}

static size_t column_bytes(const struct span_column *column, size_t row_count)
{
    const struct vector *v = &column->data;
    if (column->absent) return 0;
    if (v->is_constant) row_count = 1;
    return padded(row_count * vector_element_bytes(v->type)) + (v->null ? padded(row_count) : 0) +
           (v->quality ? padded(row_count * sizeof *v->quality) : 0);
}

static void copy_column(struct span_column *column, char **to, size_t count)
{
    struct vector *v = &column->data;
    size_t first = column->first;
    column->first = 0;
    if (column->absent) return;
    v->count = (uint32_t)count;
    if (v->is_constant) {
        first = 0;
        count = 1;
    }
    v->data = copy_rows(to, v->data, vector_element_bytes(v->type), first, count);
    if (v->null) v->null = copy_rows(to, v->null, 1, first, count);
    if (v->quality) v->quality = copy_rows(to, v->quality, sizeof *v->quality, first, count);
}

struct span *span_new(struct span_cache *cache, const int64_t *time, uint32_t row_count,
                      const struct span_column *columns, uint16_t column_count)
{
    MUST(row_count > 0 && row_count <= SPAN_ROWS_MAX && column_count <= SPAN_COLUMNS_MAX);
    size_t size = padded(sizeof(struct span)) + padded(column_count * sizeof *columns) +
                  padded(row_count * sizeof *time);
    for (uint16_t i = 0; i < column_count; i++) {
        if (!columns[i].absent && !type_bytes(columns[i].data.type)) return NULL;
        size += column_bytes(&columns[i], row_count);
    }
    if (budget_take(&cache->budget, size)) return NULL;
    char *at = mem_alloc(size);
    if (!at) {
        budget_give(&cache->budget, size);
        return NULL;
    }
    struct span *span = (struct span *)at;
    *span = (struct span){.row_count = row_count, .size_bytes = size};
    atomic_init(&span->refs, 1);
    span->budget = &cache->budget;
    at += padded(sizeof *span);
    span->column_count = column_count;
    span->columns = copy_rows(&at, columns, sizeof *columns, 0, column_count);
    span->time = copy_rows(&at, time, sizeof *time, 0, row_count);
    for (uint16_t i = 0; i < column_count; i++) copy_column(&span->columns[i], &at, row_count);
    MUST(at == (char *)span + size);
    return span;
}
