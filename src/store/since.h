/* since.h - what was written to a table since a position: what a reader with a durable cursor asks
 * for (sinks; later sync).
 *
 * A *pass* reads, as a statement over one table, exactly the rows that were applied above the
 * cursor's position and up to the pass's end. So there is one way to follow a table, whether the
 * reader is a tenth of a second behind or a month: what is not in parts yet lies in the head with
 * the position of every row, below that a part's blocks carry the position of their sealing. Rows
 * of one device come in the order of time, the devices one after the other; a row that was written
 * several times since comes once, with the cells written since.
 *
 * Why not from the log: a segment is recycled as soon as its rows are in parts, and a reader that
 * is away must not keep the disk from being freed. The head holds the same rows as the log that is
 * left, already decoded.
 *
 * What is promised: every row above the position comes (unless it was deleted, or its retention is
 * over). Rows at or below it may come again where a block holds rows from both sides of it, that is
 * only if the reader was away while the head was written to parts. To keep that rare, the reader
 * holds the view of its last pass: when the head of that view was sealed meanwhile, the next pass
 * reads the rest of it from there. Who does not call for a while lets go of it (store_since_rest),
 * for a head that is held takes memory.
 *
 * What the disk does not give (ERR_IO) fails a pass, which begins again where the cursor is; what
 * is damaged is left out, counted and told, as in any statement, for it will never be readable.
 *
 * Thread: one task at a time; passes run on BLOCKING tasks. */
#ifndef STORE_SINCE_H
#define STORE_SINCE_H

#include "store/store.h"

enum { STORE_DEVICE_BYTES_MAX = 1024 }; /* longer paths are not resumed within a pass */

/* Where a reader is: `position` is done for all devices. With up_to > 0 a pass up to there is under
 * way and is done for the devices before `device` and for its rows up to `time_ns`. */
struct store_place {
    uint64_t position, up_to;
    int64_t time_ns;
    char device[STORE_DEVICE_BYTES_MAX]; /* "" = at its beginning */
};

struct store_since;

/* A reader of one table, which need not exist yet. `ns` and `table` are copied. NULL: no memory. */
struct store_since *store_since_new(struct store *store, struct str ns, struct str table);
void store_since_free(struct store_since *since); /* NULL allowed; no statement of it is open */

/* Begins a pass, or goes on with the one that `place` says is under way; place->up_to is set. The
 * statement that is prepared next over store_since_source reads it. `*is_empty`: nothing was
 * applied above the position, there is nothing to read. Any task. */
void store_since_begin(struct store_since *since, struct store_place *place, bool *is_empty);
/* Passes from now on leave out what the disk does not give, as what is damaged, or wait for it. */
void store_since_give_up(struct store_since *since, bool gives_up);
/* The newest position whose rows retention has taken, of those it took since the start; 0 = none. A
 * reader whose position is below it did not get all rows. Any task. */
uint64_t store_since_gone(const struct store_since *since);
/* Lets go of what is held for the next pass. No statement of it is open. */
void store_since_rest(struct store_since *since);
/* Whether the next pass would read what store_since_rest lets go of: it should come soon. Any task
 * that owns the reader. */
bool store_since_is_urgent(const struct store_since *since);

/* That one table alone, as the pass sees it; its context is the struct store_since. Statements find
 * no other table in it. */
extern const struct sql_source store_since_source;

#endif
