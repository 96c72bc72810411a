/* tombstone.h - what was deleted: ranges of time of a series, each with the position of its DELETE.
 *
 * A tombstone hides every row of its range whose version is not above its own; what is written
 * later is there again. It lives in the catalogue (the log's DELETE record, then the snapshot) as
 * long as a part sealed before it may hold such rows: writing a head to parts leaves hidden rows
 * out, and so does merging parts.
 *
 * One writer (the log task, or store_open before it starts) appends; readers without locks see a
 * prefix. Private to store/. */
#ifndef STORE_TOMBSTONE_H
#define STORE_TOMBSTONE_H

#include "base/mem.h"
#include "base/reader.h"
#include <stdatomic.h>

struct tombstone {
    int64_t from_ns, to_ns; /* inclusive */
    uint64_t version;
};

struct tombstones {
    uint32_t capacity;
    _Atomic uint32_t count;
    struct tombstone items[]; /* in order of arrival */
};

struct catalog;
struct series;
struct schema;

enum {
    TOMBSTONE_BYTES = 24,
    TOMBSTONES_MAX = 100000 /* of one series: a DELETE beyond is refused */
};

/* Writer: makes room for so many more, so that adding them cannot fail. Errors: NO_MEMORY. */
enum err tombstones_reserve(struct catalog *catalog, struct series *series, uint32_t count);
/* Writer. Errors: NO_MEMORY. */
enum err tombstone_add(struct catalog *catalog, struct series *series, const struct tombstone *t);
/* Writer: of all series, keeps only those for which `needed` says so; of those not above `up_to`,
 * which every reader sees, what newer ones cover goes too. Without memory it is for another time.
 */
void tombstones_tidy(struct catalog *catalog, uint64_t up_to,
                     bool (*needed)(void *arg, const struct series *series,
                                    const struct tombstone *t),
                     void *arg);

/* Readers. The series' list, or NULL; those at [0, count) are there. */
const struct tombstones *tombstones_of(const struct series *series, uint32_t *count);

/* What a reader asks: ranges that ascend and do not overlap, each with the highest version that
 * covers it. So looking up a row takes a binary search however many deletes there were. */
struct deleted {
    const struct tombstone *items;
    size_t count;
};
/* Of the tombstones that touch [from, to] and are not above `applied`; in the arena. Errors:
 * BUDGET. */
enum err deleted_of(const struct series *series, int64_t from_ns, int64_t to_ns, uint64_t applied,
                    struct arena *arena, struct deleted *deleted);
/* Whether a row of this time and version is hidden. */
bool deleted_hides(const struct deleted *deleted, int64_t time_ns, uint64_t version);
/* Whether a row of [from, to] with this version or an older one may be hidden. */
bool deleted_touches(const struct deleted *deleted, int64_t from_ns, int64_t to_ns,
                     uint64_t version);

/* One series' list as bytes of the catalogue's snapshot, without those above `up_to`. */
void tombstones_write(struct buf *out, const struct series *series, uint64_t up_to);
enum err tombstones_read(struct catalog *catalog, struct reader *in);

#endif
