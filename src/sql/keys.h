/* keys.h - a set of row keys: tuples of values as bytes, each with a number and a pointer.
 *
 * For groups, DISTINCT and count(DISTINCT). Everything lives in the arena given; growing leaves the
 * old table behind, so at most twice the memory is held. Thread: one. */
#ifndef SQL_KEYS_H
#define SQL_KEYS_H

#include "data/vector.h"

struct key_entry {
    uint64_t hash;
    const uint8_t *bytes;
    uint32_t size;
    uint32_t mark; /* the caller's */
    void *state;   /* the caller's */
};

struct keys {
    struct arena *arena;
    uint32_t *slots; /* entry index + 1; 0 = free */
    size_t slot_count;
    struct key_entry *entries;
    size_t count, capacity;
};

/* Finds the key or adds it (bytes copied, state NULL). *index: its place in `entries`, for good;
 * the entries themselves may move with each key that is added. False: no memory, or 2^32 - 1 keys.
 */
bool keys_find_or_add(struct keys *keys, struct str bytes, size_t *index, bool *added);

/* False: it is not there, and *index as it was. */
bool keys_find(const struct keys *keys, struct str bytes, size_t *index);

/* Appends one cell to a key: equal values give equal bytes (-0.0 counts as 0.0), NULL is a value
 * too. */
void keys_encode(struct buf *key, const struct vector *v, uint32_t row);
/* Reads the next cell of a key back; slices point into the key. */
struct value keys_decode(struct str *key, enum type type);

#endif
