/* op.h - the operators: each is handed rows, does its part and pushes what comes out to the next.
 *
 *   scan → filter → [group] → project → [distinct] → [sort] → [limit] → output
 *
 * The scan drives: it pushes chunk by chunk, then finishes; `finish` runs down the chain and lets
 * those that held rows back (group, sort) push them. A rule will drive the same chain from live
 * batches. An operator never keeps a pointer into rows after push returns. When LIMIT has what it
 * wants it sets run->enough, and the scan stops. */
#ifndef SQL_OP_H
#define SQL_OP_H

#include "sql/plan.h"

/* One execution of a plan; every operator knows it. */
struct run {
    const struct sql_context *context;
    const struct plan *plan;
    const struct sql_sink *sink;
    struct sql_stats *stats;
    struct arena *arena; /* operators and their buffers: until the run is over */
    struct eval eval;
    struct why *why;
    bool enough;
};

struct op {
    enum err (*push)(struct op *op, const struct rows *rows);
    enum err (*finish)(
        struct op *op);           /* pushes what is held, then finishes the next; may be NULL */
    void (*close)(struct op *op); /* releases memory of its own; may be NULL */
    struct op *next;
    struct run *run;
};

/* Makes one in run->arena; NULL: no memory. */
struct op *op_filter_new(struct run *run, struct op *next);
struct op *op_group_new(struct run *run, struct op *next);
struct op *op_project_new(struct run *run, struct op *next);
struct op *op_distinct_new(struct run *run, struct op *next);
struct op *op_sort_new(struct run *run, struct op *next);
struct op *op_limit_new(struct run *run, struct op *next);
struct op *op_output_new(struct run *run);

enum err op_finish(struct op *op);       /* op->finish, or on to the next */
enum err run_no_memory(struct run *run); /* the error for refused memory */
/* Looked at for every chunk and every few thousand rows of a sort: CANCELLED, TIMEOUT. */
enum err run_check(struct run *run);

/* Scans the plan's table (or makes the one row of a SELECT without FROM) into `first`, then
 * finishes it. */
enum err run_scan(struct run *run, struct op *first);
/* Builds the chain, runs it, takes it down. */
enum err run_plan(const struct sql_context *context, const struct plan *plan,
                  const struct sql_sink *sink, struct sql_stats *stats, struct why *why);

#endif
