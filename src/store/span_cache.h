/* span_cache.h - stretches of rows that statements asked for lately, decoded.
 *
 * What people look at is recent: the last value of every device, one device's last hour, again and
 * again with slightly other bounds. Such a statement wants a few rows of a block of thousands, and
 * most of its cost is finding and decoding that block. A span keeps the rows around those that were
 * wanted: of one series, in one part, out of one block. Parts do not change, so a span is never
 * wrong; rows that come later are in the head or in other parts, and are merged as always.
 *
 * A span says for which times it is complete: *all* rows that the part has of the series with
 * from_ns ≤ time < to_ns (to_ns INT64_MAX: with no end). One span per (part, series): it grows with
 * what is asked for beside it up to SPAN_ROWS_MAX rows, then a new one takes its place.
 *
 * Memory: bounded by a budget of its own; what was not used for longest goes first. Thread: any.
 * The cache is split into shards; who finds one busy goes without, nobody waits. Private to store/.
 */
#ifndef STORE_SPAN_CACHE_H
#define STORE_SPAN_CACHE_H

#include "data/vector.h"
#include <stdatomic.h>

enum { SPAN_ROWS_MAX = 512, SPAN_COLUMNS_MAX = 64, SPAN_SHARDS = 16 };

struct span_column {
    uint16_t id;
    bool absent;    /* no row of the block has it; `data` is empty */
    uint32_t first; /* for span_new: the row of `data` that becomes the span's first */
    struct vector data;
};

/* Immutable once it is in the cache; shared by reference count. */
struct span {
    _Atomic uint32_t refs;
    uint32_t series;
    uint64_t part, version; /* the block's version */
    int64_t from_ns, to_ns;
    uint32_t block, first_row, row_count; /* where its rows are */
    uint16_t column_count;
    struct span_column *columns; /* ids ascending */
    int64_t *time;               /* [row_count] */
    size_t size_bytes;
    struct budget *budget; /* pays until the last release */
    /* The cache's. */
    struct span *newer, *older, *next_in_slot;
};

struct span_shard {
    _Atomic bool busy;
    struct span *newest, *oldest;
    size_t size_bytes;
    struct span **slots; /* [slot_count] */
};

struct span_cache {
    struct budget budget;
    size_t shard_bytes, slot_count; /* of one shard */
    struct span_shard shards[SPAN_SHARDS];
};

/* `limit_bytes` 0: nothing is kept. Errors: NO_MEMORY. */
enum err span_cache_init(struct span_cache *cache, struct budget *parent, size_t limit_bytes);
void span_cache_free(struct span_cache *cache); /* nobody holds a span any more */

/* A share of the span, or NULL. */
struct span *span_cache_get(struct span_cache *cache, uint64_t part, uint32_t series);
/* Takes the span over; it replaces the one there was. */
void span_cache_put(struct span_cache *cache, struct span *span);
void span_release(struct span *span); /* NULL allowed */

/* The column, or NULL: not asked for yet. */
const struct span_column *span_find(const struct span *span, uint16_t id);
/* A span whose `row_count` times and values are copied from a block's; the caller says the rest
 * before it puts it. NULL: no memory, or a column whose values are not of fixed size. */
struct span *span_new(struct span_cache *cache, const int64_t *time, uint32_t row_count,
                      const struct span_column *columns, uint16_t column_count);

#endif
