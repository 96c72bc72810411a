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
 * manifest's folder, written before the log may lose its rows.
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
 * Windows are computed before they freeze: retention waits for a dirty window of the partition it
 * wants to drop, and says so in SHOW HEALTH when that lasts.
 *
 * Reading. A scan that may be answered by summaries (sql_scan_request.summarises) gets a window
 * that is clean, whole in its range, and one group, as a summary from the coarsest rollup that
 * fits; all else comes from the base table's rows. So the answer is the same as from raw rows, and
 * goes on where raw rows are gone. Statements need not name the rollup; EXPLAIN says when one is
 * used.
 *
 * Tasks: marking is the log task's; the sets are read by scans (any task) under the rules below;
 * recomputing runs on a task of its own. Private to store/ but for the spec in data/schema.h. */
