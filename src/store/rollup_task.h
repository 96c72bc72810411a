/* rollup_task.h - computing dirty windows in the background; see rollup.h.
 *
 * One piece of work at a time: the log task chooses some series of one rollup whose oldest dirty
 * windows have ended, the rollup task computes them over one snapshot, the log task appends the
 * rows and, when they are durable, takes the windows off the dirty sets, but for those that were
 * marked since the work was chosen. A failure leaves everything dirty and is tried again later.
 *
 * Private to store/. */
#ifndef STORE_ROLLUP_TASK_H
#define STORE_ROLLUP_TASK_H

#include "store/dirty.h"
#include "store/store.h"

struct series;
struct rollup_state;
struct rollup_series;

enum { ROLLUP_ITEMS_MAX = 64 };

/* Windows of one series. */
struct rollup_item {
    struct series *base;
    struct rollup_series *series;
    uint32_t rollup_id;
    int64_t from_ns, to_ns; /* dirty; INT64_MAX: up to the last row */
    int64_t done_ns;        /* out: windows before it are clean */
    bool damaged;           /* out: rows of it cannot be read, so nothing is done */
    struct dirty touched;   /* log task: marked since */
};

struct rollup_work {
    struct job job, computed;
    bool busy;
    bool is_reading; /* log task: a snapshot is pinned, which keeps rows in memory that are in parts
                        by now; who has no room for rows waits for its end, which is near */
    struct rollup_state *state;
    struct schema *base, *rollup; /* shares, while busy */
    int64_t now_ns;               /* wall clock when it was chosen */
    size_t count;
    struct rollup_item items[ROLLUP_ITEMS_MAX];
    /* Out: */
    enum err err;
    struct why why;
    uint64_t applied; /* of the snapshot */
    struct batch *batch;
    struct store_range *ranges; /* windows that lost their last row */
    size_t range_count, range_capacity;
    /* On their way into the log. */
    struct store_append append;
    struct store_delete delete;
    uint32_t windows; /* in the append */
    uint64_t rows;    /* that these stand for */
    unsigned pending;
};

/* The store's; log task but for the computing. */
struct rollups {
    struct loop loop;
    struct budget budget;
    struct rollup_work work;
    int64_t look_ns, retry_ns; /* monotonic: not before */
    struct os_timer *timer;    /* log task; for what comes before the next look is due */
    bool is_timed;
    uint32_t rows_min;   /* store_config.rollup_rows_min; set before any task runs */
    _Atomic bool paused; /* tests */
};

void rollup_task_init(struct store *store);
/* Log task, after each round and every few seconds: begins work if there is some. */
void rollup_look(struct store *store);
/* Log task, at the end: the loop has stopped, and nothing of it is left in the log task's lists. */
void rollup_stop(struct store *store);
/* When no task runs any more. */
void rollup_close(struct store *store);

#endif
