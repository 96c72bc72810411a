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

enum { TOMBSTONE_BYTES = 24, TOMBSTONES_MAX = 1 << 20 /* of one series */ };

/* Writer. The same one again changes nothing (replay). Errors: NO_MEMORY, LIMIT. */
enum err tombstone_add(struct catalog *catalog, struct series *series, const struct tombstone *t);
/* Writer: keeps only those for which `needed` says so. */
void tombstones_prune(struct catalog *catalog, struct series *series,
                      bool (*needed)(void *arg, const struct series *series,
                                     const struct tombstone *t),
                      void *arg);

/* Readers. The series' list, or NULL; those at [0, count) are there. */
const struct tombstones *tombstones_of(const struct series *series, uint32_t *count);
/* Whether a row of this time and version is hidden by one of them that is not above `applied`. */
bool tombstones_hide(const struct tombstones *list, uint32_t count, int64_t time_ns,
                     uint64_t version, uint64_t applied);
/* Whether any of them may hide a row of [from, to] with this version or an older one. */
bool tombstones_touch(const struct tombstones *list, uint32_t count, int64_t from_ns, int64_t to_ns,
                      uint64_t version, uint64_t applied);

/* One series' list as bytes of the catalogue's snapshot, without those above `up_to`. */
void tombstones_write(struct buf *out, const struct series *series, uint64_t up_to);
enum err tombstones_read(struct catalog *catalog, struct reader *in);

#endif
