/* op.h - the operators: each is handed rows, does its part and pushes what comes out to the next.
 *
 *   scan → filter → [order] → [window] → [group → [order] → [fill]] → project → [distinct] → [sort]
 * → [limit] → output
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
    struct zones zones;
    struct why *why;
    bool enough;
    bool paused; /* the sink is full: who drives or hands out rows stops at the next chunk */
    struct arena own;
    struct op *first;
    struct scan *scan; /* NULL when over, or when there is no table */
    bool is_scanned;   /* every row was pushed: what remains is to finish */
};

struct op {
    enum err (*push)(struct op *op, const struct rows *rows);
    /* Pushes what is held, then finishes the next; may be NULL. When it returns with run->paused it
     * is called again, until it returns without. */
    enum err (*finish)(struct op *op);
    void (*close)(struct op *op); /* releases memory of its own; may be NULL */
    struct op *next;
    struct run *run;
};

/* Makes one in run->arena; NULL: no memory. */
struct op *op_filter_new(struct run *run, struct op *next);
struct op *op_order_new(struct run *run, struct op *next); /* rows by partition and time */
struct op *op_window_new(struct run *run, struct op *next);
struct op *op_group_new(struct run *run, struct op *next);
struct op *op_group_order_new(struct run *run,
                              struct op *next); /* groups by partition and window */
struct op *op_fill_new(struct run *run, struct op *next);
struct op *op_project_new(struct run *run, struct op *next);
struct op *op_distinct_new(struct run *run, struct op *next);
struct op *op_sort_new(struct run *run, struct op *next);
struct op *op_limit_new(struct run *run, struct op *next);
struct op *op_output_new(struct run *run);

/* The types of the inputs, in run->arena. */
enum err op_input_types(const struct run *run, enum type **types);
enum err op_finish(struct op *op);       /* op->finish, or on to the next */
enum err run_no_memory(struct run *run); /* the error for refused memory */
/* Looked at for every chunk and every few thousand rows of a sort: CANCELLED, TIMEOUT. */
enum err run_check(struct run *run);

/* ---- summaries (op_summary.c) ---- */
bool summary_is_possible(const struct plan *plan);
bool summary_needs_ends(const struct plan *plan);
/* sql_scan_request.summarises; the context is the plan. */
bool summary_is_one_group(void *context, int64_t first_ns, int64_t last_ns);
/* Adds to the state of one aggregate what rows->summaries say. */
enum err summary_add(const struct plan *plan, const struct agg_call *call, void *state,
                     const struct rows *rows, struct arena *memory);

/* Builds the chain and opens the scan. On error nothing is left open. */
enum err run_open(const struct sql_context *context, const struct plan *plan,
                  const struct sql_sink *sink, struct sql_stats *stats, struct why *why,
                  struct run **run);
/* Runs until the sink is full or the end (`*done`). */
enum err run_step(struct run *run, bool *done);
void run_close(struct run *run); /* NULL allowed; completes the stats */
/* All of it. */
enum err run_plan(const struct sql_context *context, const struct plan *plan,
                  const struct sql_sink *sink, struct sql_stats *stats, struct why *why);

#endif
