/* parallel.h - several tasks for one statement: a large scan with groups is shared out by series.
 *
 * Whoever steps the statement is joined by helpers on other tasks. Each has a plan of its own
 * (expressions have scratch, so plans are not shared), a scan of the same snapshot that takes one
 * series after the other from a common list, and groups of its own:
 *
 *   streaming groups (device is a key): a group lies within one series, so each is complete where
 *     it was made. Helpers keep what comes out, and it is handed on behind the rest.
 *   other groups: the helpers' are merged into those of the statement by each aggregate's `merge`;
 *     only for aggregates that do not care in which order rows come.
 *
 * A helper that holds more than its share of the statement's memory takes no more series. Nobody
 * waits: the last of them to end, helpers or the statement's own step, goes on with the statement
 * (sql_context.wake). A helper that has not begun by then is not waited for. When the sink is full
 * or something fails, no more series are given out, and the statement goes on alone.
 *
 * Not shared: sub-queries, joins, views, windows other than TUMBLE, FILL, window functions, LIMIT
 * without ORDER BY, random(), and scans that are small or name their devices. */
#ifndef SQL_PARALLEL_H
#define SQL_PARALLEL_H

#include "sql/op.h"

struct parallel;

/* Before the run's scan is opened: whether and with how many it is shared. Sets request->share; the
 * helpers are called by parallel_call. `text`: of the statement; borrowed until parallel_free.
 * Errors: NO_MEMORY. */
enum err parallel_new(struct run *run, struct str text, struct sql_scan_request *request);
/* The scan is open: the helpers may begin. */
void parallel_call(struct run *run);

/* The statement's own step has nothing more to scan for now (end, full sink, `err`). True: nobody
 * else is at work, go on. False: return, and step again when sql_context.wake says so. */
bool parallel_leave(struct run *run, enum err err);
/* Whether the step is one that parallel_leave asked for: then it has given what stood at that time:
 * `*err`, or the first helper's error. */
bool parallel_is_back(struct run *run, enum err *err);
/* After the end: what the helpers have. Groups are merged at first; then rows are handed to `next`
 * until paused. */
enum err parallel_merge(struct run *run, struct op *group);
enum err parallel_hand_on(struct run *run, struct op *next);
void parallel_free(struct run *run);

/* op_group.c: adds the hashed groups of `from` to those of `into`; states may go on borrowing from
 * `from`. The plans are the same. */
enum err group_take(struct op *into, const struct op *from);
/* The memory that an op_group holds. */
size_t group_bytes(const struct op *group);

#endif
