/* rollup_state.h - what the store remembers of a rollup beside its table: which windows of which
 * series have to be computed.
 *
 * Ranges are in nanoseconds, from a window's start to the start of another one. A series that
 * nothing is known of (the rollup is new, or what was saved is lost) is dirty as a whole.
 *
 * One writer, the log task (store_open before it starts). Scans read a copy that is published with
 * a counter that is odd while it changes, and check the counter again behind reading: a reader
 * never waits, and takes the base table's rows when it cannot get a whole copy. Owned by the
 * catalogue and freed with it, so nobody has to pin one. Private to store/. */
#ifndef STORE_ROLLUP_STATE_H
#define STORE_ROLLUP_STATE_H

#include "data/batch.h"
#include "store/dirty.h"

struct catalog;
struct rollup_work; /* rollup_task.c */

struct rollup_series {
    struct dirty dirty; /* its ranges have their place in here: nothing is allocated */
    bool known;
    struct dirty *touched; /* while it is computed: what was marked meanwhile */
    uint64_t cleaned;      /* position up to which whatever made a window clean was applied */
    uint32_t rollup_id;    /* the device's series in the rollup; 0: not known to have one */
    bool damaged;          /* rows of the base could not be read: nobody waits for its windows */
    bool lost_told;        /* once in a life of the store: it is computed again */
    _Atomic bool lost;     /* readers: windows of it could not be read */
    /* What readers see of the above. */
    _Atomic uint32_t turn, seen_count, seen_id;
    _Atomic uint64_t seen_cleaned;
    _Atomic int64_t seen_from[DIRTY_OWN_RANGES], seen_to[DIRTY_OWN_RANGES];
};

enum { ROLLUP_BLOCK = 1024, ROLLUP_BLOCKS_MAX = 4096 };

struct rollup_state {
    struct rollup_state *next; /* the catalogue's list of all there ever were */
    uint32_t base_id, table_id;
    int64_t every_ns;
    /* Windows that begin below it are never computed again: rows of the base may be gone. */
    _Atomic int64_t frozen_ns;
    _Atomic uint64_t late_rows; /* came for frozen windows */
    _Atomic bool any_lost;      /* of its series */
    /* Windows computed, and their rows; of late the more, for both are halved now and then. */
    _Atomic uint64_t counted_windows, counted_rows;
    /* Monotonic, 0 = not: since when retention waits for a dirty window, and since when some window
     * that has ended was dirty all the time. */
    _Atomic int64_t waits_since_ns, behind_since_ns;
    int64_t freeze_ns;           /* monotonic: freezing is not looked at before */
    struct series *cursor;       /* the next series of the pass; NULL: a new one */
    int64_t due_ns, pass_due_ns; /* wall clock: no window of it is due before; of the pass so far */
    struct rollup_series *_Atomic blocks[ROLLUP_BLOCKS_MAX]; /* by series of the base */
};

/* Writer: the state of a rollup's table, made before the table appears, and seen when it does.
 * Gives (mem_free, or enter); NULL: it has one. Errors: NO_MEMORY. */
enum err rollup_state_make(struct catalog *catalog, const struct schema *rollup,
                           struct rollup_state **made);
/* Takes. */
void rollup_state_enter(struct catalog *catalog, struct rollup_state *state);
/* Writer: its table was dropped. */
void rollup_state_retire(struct catalog *catalog, uint32_t table_id);
void rollup_states_free(struct catalog *catalog);
/* Writer. NULL: no memory, and the series is dirty as a whole. */
struct rollup_series *rollup_state_series(struct rollup_state *state, uint32_t series);
void rollup_series_publish(struct rollup_series *series);

/* Writer: so many windows were computed, out of so many rows. */
void rollup_state_count(struct rollup_state *state, uint64_t rows, uint64_t windows);
/* Any task: rows a window on average; 0: not known. */
uint64_t rollup_state_density(const struct rollup_state *state);

/* Writer. NULL if there is none. */
struct rollup_state *rollup_state_find(struct catalog *catalog, uint32_t table_id);
/* Writer: nothing that begins before the time is computed any more (it is not lowered): what the
 * rollup has of it is what there is. */
void rollup_state_freeze(struct catalog *catalog, struct rollup_state *state, int64_t before_ns);
/* Writer: whether windows of a series that begin before the time wait to be computed. */
bool rollup_state_waits(struct rollup_state *state, uint32_t series, int64_t before_ns);
/* Any task: windows of the series cannot be read. The writer takes it up: they are dirty. */
void rollup_state_lose(struct rollup_state *state, uint32_t series);
void rollup_state_take_lost(struct catalog *catalog, struct rollup_state *state);
/* Writer: rows of a rollup's table are lost in a range of time. */
void rollup_mark_lost(struct catalog *catalog, uint32_t table_id, int64_t from_ns, int64_t to_ns);

/* Writer, before the position of the change is published as applied. */
void rollup_mark_rows(struct catalog *catalog, const struct batch *batch);
void rollup_mark_range(struct catalog *catalog, uint32_t table_id, uint32_t series, int64_t from_ns,
                       int64_t to_ns /* inclusive */);

/* Writer, in replay: windows of a rollup (its table and series) that the log says were written or
 * removed are dirty again. A window may be durable although a row it was computed from is not: that
 * row's sync had failed, the kernel still had it, and a power loss took it. */
void rollup_mark_computed(struct catalog *catalog, uint32_t table_id, uint32_t series,
                          int64_t from_ns, int64_t to_ns /* inclusive */);

/* What is dirty, as a record's body of the catalogue's snapshot; nothing without rollups. */
void rollup_states_write(struct catalog *catalog, struct buf *out);
enum err rollup_states_read(struct catalog *catalog, struct reader *in, struct why *why);

/* Any task: a copy for a reader. False: nothing of the series can be taken from the rollup. */
struct rollup_seen {
    uint32_t count, rollup_id;
    uint64_t cleaned;
    struct dirty_range ranges[DIRTY_OWN_RANGES];
};
bool rollup_state_see(struct rollup_state *state, uint32_t series, struct rollup_seen *seen);

#endif
