/* tombstone.c - see tombstone.h. A list that grows is copied into one of twice the size; the old
 * one stays in the catalogue's arena for who still reads it. */
#include "store/tombstone.h"
#include "store/catalog.h"
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

static bool is_same(const struct tombstone *a, const struct tombstone *b)
{
    return a->from_ns == b->from_ns && a->to_ns == b->to_ns && a->version == b->version;
}

enum err tombstone_add(struct catalog *catalog, struct series *series, const struct tombstone *t)
{
    MUST(t->from_ns <= t->to_ns);
    struct tombstones *list = atomic_load(&series->tombstones);
    uint32_t count = list ? atomic_load(&list->count) : 0;
    for (uint32_t i = count; i-- > 0 && list->items[i].version >= t->version;)
        if (is_same(&list->items[i], t)) return ERR_OK;
    if (count >= TOMBSTONES_MAX) return ERR_LIMIT;
    if (!list || count == list->capacity) {
        struct tombstones *more = new_list(catalog, count ? count * 2 : CAPACITY_MIN);
        if (!more) return ERR_NO_MEMORY;
        if (count) memcpy(more->items, list->items, count * sizeof *list->items);
        atomic_init(&more->count, count);
        list = more;
    }
    list->items[count] = *t;
    atomic_store_explicit(&list->count, count + 1, memory_order_release);
    atomic_store_explicit(&series->tombstones, list, memory_order_release);
    atomic_fetch_add(&catalog->changes, 1);
    return ERR_OK;
}

void tombstones_prune(struct catalog *catalog, struct series *series,
                      bool (*needed)(void *arg, const struct series *series,
                                     const struct tombstone *t),
                      void *arg)
{
    uint32_t count, kept = 0;
    const struct tombstones *list = tombstones_of(series, &count);
    for (uint32_t i = 0; i < count; i++) kept += needed(arg, series, &list->items[i]);
    if (kept == count) return;
    struct tombstones *fewer = kept ? new_list(catalog, kept) : NULL;
    if (kept && !fewer) return; /* another time */
    uint32_t at = 0;
    for (uint32_t i = 0; i < count && kept; i++)
        if (needed(arg, series, &list->items[i])) fewer->items[at++] = list->items[i];
    if (fewer) atomic_init(&fewer->count, at);
    atomic_store_explicit(&series->tombstones, fewer, memory_order_release);
    atomic_fetch_add(&catalog->changes, 1);
}

bool tombstones_hide(const struct tombstones *list, uint32_t count, int64_t time_ns,
                     uint64_t version, uint64_t applied)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct tombstone *t = &list->items[i];
        if (t->from_ns <= time_ns && time_ns <= t->to_ns && version <= t->version &&
            t->version <= applied)
            return true;
    }
    return false;
}

bool tombstones_touch(const struct tombstones *list, uint32_t count, int64_t from_ns, int64_t to_ns,
                      uint64_t version, uint64_t applied)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct tombstone *t = &list->items[i];
        if (t->from_ns <= to_ns && from_ns <= t->to_ns && version <= t->version &&
            t->version <= applied)
            return true;
    }
    return false;
}

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
