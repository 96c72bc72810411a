/* map.h - a hash table from byte strings to pointers, and one from 64-bit keys to pointers.
 *
 * Open addressing with linear probing; keys are copied into the table. Iteration order is
 * arbitrary. Thread: one owner; reads by several tasks only while nobody changes it. Errors:
 * NO_MEMORY leaves the table unchanged. */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include "base/str.h"
#include <stdint.h>

struct map_slot {
    uint64_t hash;  /* 0 = free, 1 = deleted */
    struct str key; /* owned copy */
    void *value;
};

struct map {
    struct map_slot *slots;
    size_t slot_count;  /* power of two, or 0 */
    size_t count, used; /* used = count + deleted */
};

void map_init(struct map *map); /* as all zeros; nothing is allocated before the first put */
void map_free(struct map *map); /* keys only; the values are the caller's */
void *map_get(const struct map *map, struct str key); /* borrowed; NULL = not there */
/* Puts or replaces (copies the key, borrows the value); `*old` (may be NULL) receives the value
 * replaced, or NULL. */
enum err map_put(struct map *map, struct str key, void *value, void **old);
void *map_remove(struct map *map, struct str key); /* gives the value, or NULL */
/* Walks: start with *at = 0; false at the end. No changes but map_remove of the current key. */
bool map_next(const struct map *map, size_t *at, struct str *key, void **value);

#endif
