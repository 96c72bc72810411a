/* map.c - open addressing with linear probing. See map.h.
 *
 * Keys may come from outside (names, topics, identities of strangers), so the hash is XXH3 over the
 * whole key and each slot keeps it: a probe compares 64 bits before it touches a key. It is not
 * keyed; whoever lets strangers choose how many keys there are bounds their number.
 *
 * A removed key leaves a mark, since others may have been probed past it; marks go when the table
 * is next made anew. Invariants: slot_count is a power of two, or 0; count ≤ used ≤ three quarters
 * of slot_count, so that every probe meets a free slot and ends. */
#include "base/map.h"
#include "base/hash.h"
#include "base/mem.h"

enum { SLOT_FREE = 0, SLOT_DELETED = 1, SLOT_FIRST = 2 };

void map_init(struct map *map)
{
    *map = (struct map){0};
}

void map_free(struct map *map)
{
    for (size_t i = 0; i < map->slot_count; i++)
        if (map->slots[i].hash >= SLOT_FIRST) mem_free((void *)(uintptr_t)map->slots[i].key.at);
    mem_free(map->slots);
    map_init(map);
}

static uint64_t key_hash(struct str key)
{
    uint64_t hash = hash_64(key.at, key.size);
    return hash < SLOT_FIRST ? hash + SLOT_FIRST : hash;
}

static struct map_slot *find(const struct map *map, struct str key, uint64_t hash)
{
    MUST((map->slot_count & (map->slot_count - 1)) == 0 && map->count <= map->used);
    if (map->slot_count == 0) return NULL;
    MUST(map->used < map->slot_count);
    size_t mask = map->slot_count - 1;
    for (size_t i = (size_t)hash & mask;; i = (i + 1) & mask) {
        struct map_slot *slot = &map->slots[i];
        if (slot->hash == SLOT_FREE) return NULL;
        if (slot->hash == hash && str_equal(slot->key, key)) return slot;
    }
}

void *map_get(const struct map *map, struct str key)
{
    struct map_slot *slot = find(map, key, key_hash(key));
    return slot ? slot->value : NULL;
}

static void insert(struct map_slot *slots, size_t slot_count, struct map_slot entry)
{
    size_t mask = slot_count - 1, i = (size_t)entry.hash & mask;
    while (slots[i].hash >= SLOT_FIRST) i = (i + 1) & mask;
    slots[i] = entry;
}

/* At most three quarters full, so that every probe meets a free slot. */
static enum err make_room(struct map *map)
{
    if (map->slot_count && (map->used + 1) * 4 <= map->slot_count * 3) return ERR_OK;
    size_t slot_count = 8;
    while (slot_count < (map->count + 1) * 2) slot_count *= 2;
    struct map_slot *slots = mem_alloc_zero(slot_count, sizeof *slots);
    if (!slots) return ERR_NO_MEMORY;
    for (size_t i = 0; i < map->slot_count; i++)
        if (map->slots[i].hash >= SLOT_FIRST) insert(slots, slot_count, map->slots[i]);
    mem_free(map->slots);
    map->slots = slots;
    map->slot_count = slot_count;
    map->used = map->count;
    MUST((map->used + 1) * 4 <= map->slot_count * 3);
    return ERR_OK;
}

enum err map_put(struct map *map, struct str key, void *value, void **old)
{
    MUST(key.at || !key.size);
    uint64_t hash = key_hash(key);
    struct map_slot *slot = find(map, key, hash);
    if (old) *old = slot ? slot->value : NULL;
    if (slot) {
        slot->value = value;
        return ERR_OK;
    }
    char *copy = mem_dup(key.at, key.size);
    if (!copy || make_room(map)) {
        mem_free(copy);
        return ERR_NO_MEMORY;
    }
    size_t i = (size_t)hash & (map->slot_count - 1);
    while (map->slots[i].hash >= SLOT_FIRST) i = (i + 1) & (map->slot_count - 1);
    if (map->slots[i].hash == SLOT_FREE) map->used++;
    map->slots[i] = (struct map_slot){hash, {copy, key.size}, value};
    map->count++;
    return ERR_OK;
}

void *map_remove(struct map *map, struct str key)
{
    struct map_slot *slot = find(map, key, key_hash(key));
    if (!slot) return NULL;
    MUST(map->count > 0);
    void *value = slot->value;
    mem_free((void *)(uintptr_t)slot->key.at);
    *slot = (struct map_slot){.hash = SLOT_DELETED};
    map->count--;
    return value;
}

bool map_next(const struct map *map, size_t *at, struct str *key, void **value)
{
    while (*at < map->slot_count) {
        struct map_slot *slot = &map->slots[(*at)++];
        if (slot->hash < SLOT_FIRST) continue;
        if (key) *key = slot->key;
        if (value) *value = slot->value;
        return true;
    }
    return false;
}
