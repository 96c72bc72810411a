/* dirty.h - which windows of one series have to be computed again: ranges of window numbers,
 * ascending, apart from each other.
 *
 * Marking cannot fail: a few ranges have their place in the struct, more are allocated up to a
 * limit, and where there is no room the two ranges that are nearest to each other become one. So a
 * set may say more than was marked (then a window is computed in vain), never less. Owner: one
 * task. Private to store/. */
#ifndef STORE_DIRTY_H
#define STORE_DIRTY_H

#include "base/mem.h"
#include "base/reader.h"

enum { DIRTY_OWN_RANGES = 4 };

struct dirty_range {
    int64_t from, to; /* from ≤ number < to */
};
struct dirty {
    uint32_t count, capacity, limit;
    struct dirty_range own[DIRTY_OWN_RANGES];
    struct dirty_range *more; /* NULL: `own` is used */
};

/* `limit`: ranges at most; not below DIRTY_OWN_RANGES. */
void dirty_init(struct dirty *dirty, uint32_t limit);
void dirty_free(struct dirty *dirty);
void dirty_add(struct dirty *dirty, int64_t from, int64_t to); /* from < to */
/* Takes windows out. Without room for the two rests of a range that is cut, it stays whole. */
void dirty_remove(struct dirty *dirty, int64_t from, int64_t to);
bool dirty_touches(const struct dirty *dirty, int64_t from, int64_t to);
/* The ranges, `dirty->count` of them. */
const struct dirty_range *dirty_ranges(const struct dirty *dirty);

/* As bytes and back; reading adds to what there is. Errors: CORRUPT. */
void dirty_write(struct buf *out, const struct dirty *dirty);
enum err dirty_read(struct dirty *dirty, struct reader *in);

#endif
