/* rollup.h - tables kept as windowed aggregates of another table (Table.spec.rollups).
 *
 * A rollup of table t by window w is a table of its own, `t_1m` for w = 1m, in the same namespace:
 * one row per device and window with rows, its time the window's start (windows are aligned to the
 * epoch, UTC), its device and labels those of the series. Its columns: `rows` and, for each column
 * c of t that is a number, bool or timestamp, `c_count`, `c_sum` (numbers and bool), `c_min`,
 * `c_max`, `c_first`, `c_last`; for text and the rest `c_count`. `first_time` and `last_time` are
 * those of the window's rows. Only the store writes to it; people read it like any table, and it
 * has a retention of its own, so it may outlive what it was made of.
 *
 * Dirty windows. Every row, delete or change of a column's type that is applied marks the windows
 * of its (table, series) as dirty, before any statement can see it. Sets of ranges per series,
 * merged where they touch and made coarser when they outgrow their share of memory: recomputing too
 * much is right, too little never. What is dirty survives a kill: rows still in the log mark their
 * windows again when it is replayed, and what was dirty when a head was written to parts is in the
 * manifest's folder, written before the log may lose its rows. Windows that the log says were
 * computed are marked again, too: a row they were computed from may have been seen while its sync
 * had failed, and then be lost with the power.
 *
 * Recomputing. A background task of the store takes dirty windows whose end has passed, oldest
 * first, in steps bounded by rows and memory; each reads the window through a scan of the base
 * table (head included, statistics where they do), writes the aggregates through the log as rows of
 * the rollup, and only when these are durable marks the windows as clean, unless something touched
 * them meanwhile. A window that lost its last row has its row deleted. A rollup that is declared on
 * a table with rows begins with all of it dirty (progress: sys.rollups).
 *
 * Frozen. A window is frozen when the base table's retention has, or may have, dropped rows of it:
 * from then on it is never recomputed; rows that come for it are counted (sys.rollups.late_rows).
 * Windows are computed before they freeze: days whose retention is over freeze when no window of
 * them waits any more, and retention takes only rows of frozen windows (SHOW HEALTH says so when
 * that lasts). Up to where they are frozen stands in the manifest's group that removes the rows,
 * and in the record of what is dirty, so neither a lost record nor a longer retention has a window
 * computed from what is left.
 *
 * Reading. A scan that may be answered by summaries (sql_scan_request.summarises) gets windows that
 * are clean, whole in its range, and of one group, as a summary from the coarsest rollup that fits
 * there; all else comes from the base table's rows. Where these are there, windows are taken only
 * if they hold many rows on average (store_config.rollup_rows_min, counted while they are
 * computed): blocks of rows have statistics of their own, and of windows with few rows there are
 * more than of those. So the answer is the same as from raw rows, and
 * goes on where raw rows are gone. Statements need not name the rollup; EXPLAIN says which may be
 * used, EXPLAIN ANALYZE how many windows were. Windows that are lost to damage are read from the
 * rows, and their series becomes dirty.
 *
 * What of this is not built: a DELETE leaves frozen windows alone; rows of a rollup that were in a
 * missing part are known as lost in the start that misses it, not in one after a power cut right
 * behind that; where the manifest and the record of dirty windows are lost together, nothing says
 * what was frozen.
 *
 * Where: the tables (rollup_schema.c, rollup_tables.c), what is dirty (rollup_state.h), computing
 * (rollup_window.c, rollup_task.h), reading (scan_rollup.c), telling (rollup_info.c).
 *
 * Tasks: marking is the log task's; the sets are read by scans (any task) under the rules below;
 * recomputing runs on a task of its own. Private to store/ but for the spec in data/schema.h. */
#ifndef STORE_ROLLUP_H
#define STORE_ROLLUP_H

#include "base/reader.h"
#include "data/batch.h"
#include "store/dirty.h"

struct store;
struct store_snapshot;

/* ---- what a rollup looks like (rollup_schema.c) ---- */

enum {
    ROLLUP_ID_ROWS = 1,
    ROLLUP_ID_FIRST_TIME,
    ROLLUP_ID_LAST_TIME,
    ROLLUP_ID_COLUMNS, /* those of the base table's column with id 1 begin here */
};

/* What is kept of one column. X(symbol, suffix of the name). */
#define ROLLUP_PART_TABLE(X)                                                                       \
    X(COUNT, "_count")                                                                             \
    X(SUM, "_sum")                                                                                 \
    X(MIN, "_min")                                                                                 \
    X(MAX, "_max")                                                                                 \
    X(FIRST, "_first")                                                                             \
    X(LAST, "_last")
enum rollup_part {
#define X(symbol, suffix) ROLLUP_##symbol,
    ROLLUP_PART_TABLE(X)
#undef X
        ROLLUP_PARTS
};

/* The type of a part of a column, NONE: such columns have none. A sum of BIGINT or BOOL is BIGINT;
 * one that does not fit is stored as NULL. */
enum type rollup_part_type(enum type column, enum rollup_part part);
/* The id of a part of the base table's column `base_id`: the same for ever, so that a rollup
 * follows columns that are added and types that are widened. 0: beyond what ids can say. */
uint16_t rollup_part_id(uint16_t base_id, enum rollup_part part);
/* Gives the schema of the rollup of `base` by windows of `every_ns`; table_id 0, to be defined.
 * Errors: LIMIT (too many columns, a name too long), NO_MEMORY. */
enum err rollup_schema(const struct schema *base, int64_t every_ns, struct schema **out,
                       struct why *why);

/* ---- the tables (rollup_tables.c) ---- */

/* What a change of a base table means for its rollups: schemas to be defined, or dropped. */
struct rollup_change {
    struct schema *schema; /* a share; table_id 0: a new table */
    bool drop;
};
struct rollup_changes {
    size_t count;
    struct rollup_change items[2 * SCHEMA_ROLLUPS_MAX];
};
/* What follows from `base` as it will be (or from its being dropped). Log task, or before it runs.
 * Errors: EXISTS (a name is taken by another table), LIMIT, NO_MEMORY. */
enum err rollup_changes_of(struct store *store, const struct schema *base, bool drop,
                           struct rollup_changes *changes, struct why *why);
void rollup_changes_free(struct rollup_changes *changes);
/* The name of the base table of a rollup, for messages; "?" if it is gone. Log task. */
const char *rollup_base_name(struct store *store, const struct schema *rollup);
/* At a start, behind replay: what a kill between two records of one change left undone. */
enum err rollup_tables_heal(struct store *store);

/* ---- what people are told (rollup_info.c; store_rollups is in store.h) ---- */

/* Rows of SHOW HEALTH, at most `capacity`: what waits for long. Any task. */
struct store_health_row;
size_t rollup_health(struct store *store, struct store_health_row *rows, size_t capacity);
/* Log task, now and then. */
void rollup_show_metrics(struct store *store);

/* ---- computing windows (rollup_window.c) ---- */

/* The start of the window of a time; windows are aligned to the epoch. That of the earliest times
 * of all begins where time does. */
int64_t rollup_window_start(int64_t time_ns, int64_t every_ns);

/* One step: windows of one device. */
struct rollup_step {
    const struct schema *base, *rollup; /* borrowed */
    int64_t every_ns;
    struct str device;      /* path */
    int64_t from_ns, to_ns; /* starts of windows, from < to; INT64_MAX: no end */
    uint32_t windows_max;   /* no more rows than these, ≥ 1 */
    /* Out: windows before it are done: those without a row in the batch have no rows. */
    int64_t done_ns;
};
/* Appends to `out` (growing, of the rollup's schema) one row for each window that has rows in the
 * snapshot: head and parts, upserts and deletes resolved. Damage, which a statement would pass
 * over, is an error here: what is right must not be replaced by less. BLOCKING task. Errors:
 * NO_TABLE, CORRUPT, CONFLICT (the base table was changed), BUDGET, NO_MEMORY. */
enum err rollup_compute(struct store *store, struct store_snapshot *snapshot,
                        struct rollup_step *step, struct budget *budget, struct batch *out,
                        struct why *why);

#endif
