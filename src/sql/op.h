/* op.h - the operators: each is handed rows, does its part and pushes what comes out to the next.
 *
 *   source → filter → [series] → [order] → [window] → [group → [order] → [fill]] → [window] →
 * project → [distinct] → [sort] → [distinct on] → [limit] → output
 *
 * The source drives: a scan, or other runs. It pushes chunk by chunk, then finishes; `finish` runs
 * down the chain and lets those that held rows back (group, sort) push them. A rule will drive the
 * same chain from live batches. An operator never keeps a pointer into rows after push returns.
 * When LIMIT has what it wants it sets run->enough, and the scan stops. */
#ifndef SQL_OP_H
#define SQL_OP_H

#include "sql/plan.h"

/* One execution of a plan; every operator knows it. A run that feeds another (a sub-query, the side
 * of a join) is its child: its last operator pushes into an operator of the parent. */
struct run {
    const struct sql_context *context;
    const struct plan *plan;
    const struct sql_sink *sink; /* NULL in children, which have a target */
    struct sql_stats *stats;
    struct arena *arena; /* operators and their buffers: until the run is over */
    struct eval eval;
    struct why *why;
    bool enough;
    bool paused; /* the sink is full: who drives or hands out rows stops at the next chunk */
    struct arena own;
    struct op *first;
    struct scan *scan; /* NULL when over, or when there is no table */
    bool is_scanned;   /* every row was pushed: what remains is to finish */
    struct run *root;  /* the statement's; holds what follows for all */
    void *snapshots[SQL_SOURCES_MAX];
    int nesting; /* of sub-queries being run */
    bool analyze;
    const char *advice;        /* what else to do when memory is refused; NULL: the usual */
    struct str text;           /* of a statement that may be shared out; else empty */
    struct op *group;          /* the chain's op_group; NULL: none */
    struct parallel *parallel; /* it is shared out; of the root */
    /* a helper's: what its scan takes part in */
    struct sql_scan_share *share;
    bool (*declines)(void *context);
    void *declines_context;
    bool borrows_snapshots;
    /* children that drive this run, one after the other */
    struct run **children;
    size_t child_count, child_at;
};

struct op {
    enum err (*push)(struct op *op, const struct rows *rows);
    /* Pushes what is held, then finishes the next; may be NULL. When it returns with run->paused it
     * is called again, until it returns without. */
    enum err (*finish)(struct op *op);
    /* For those that may not have handed out all rows of the last push, since the sink was full:
     * goes on with them. Called before the next push or finish; may be NULL. */
    enum err (*resume)(struct op *op);
    void (*close)(struct op *op); /* releases memory of its own; may be NULL */
    struct op *next;
    struct run *run;
    struct measure *measure; /* where EXPLAIN ANALYZE counts; NULL: nowhere */
};

/* Pushes into `op`; with EXPLAIN ANALYZE it measures. */
enum err op_push(struct op *op, const struct rows *rows);

/* Makes one in run->arena; NULL: no memory. */
struct op *op_filter_new(struct run *run, struct op *next);
struct op *op_series_new(struct run *run, struct op *next);
struct op *op_order_new(struct run *run, struct op *next); /* rows by partition and time */
struct op *op_window_new(struct run *run, struct op *next);
struct op *op_group_new(struct run *run, struct op *next);
struct op *op_group_order_new(struct run *run,
                              struct op *next); /* groups by partition and window */
struct op *op_fill_new(struct run *run, struct op *next);
struct op *op_over_new(struct run *run, struct op *next); /* window functions */
struct op *op_project_new(struct run *run, struct op *next);
struct op *op_distinct_new(struct run *run, struct op *next);
struct op *op_distinct_on_new(struct run *run, struct op *next);
struct op *op_sort_new(struct run *run, struct op *next);
struct op *op_limit_new(struct run *run, struct op *next);
struct op *op_output_new(struct run *run);
/* The last of a child: gives its rows the shape of `above`'s inputs from side `side` (NULL: as they
 * are), and pushes them into `target`, an operator of the run `parent`. */
struct op *op_pass_new(struct run *run, struct run *parent, const struct plan *above, size_t side,
                       struct op *target);
/* EXCEPT, INTERSECT: passes on the rows of the left operand that are (not) in the right one. */
struct op *op_set_new(struct run *run, struct op *next);
/* A join: rows of its left side are pushed into it; it reads the right side itself. */
struct op *op_join_new(struct run *run, const struct join *join, struct op *next);

/* The types of the inputs, in run->arena. */
enum err op_input_types(const struct run *run, enum type **types);
enum err op_finish(struct op *op);       /* op->finish, or on to the next */
enum err op_resume(struct op *op);       /* the last ones first */
enum err run_no_memory(struct run *run); /* the error for refused memory */
/* Looked at for every chunk and every few thousand rows of a sort: CANCELLED, TIMEOUT. What takes
 * long between two chunks tells its steps: eval_spend. */
enum err run_check(struct run *run);

/* ---- summaries (op_summary.c) ---- */
bool summary_is_possible(const struct plan *plan);
bool summary_needs_ends(const struct plan *plan);
/* Sets the bounds of the plan's conditions, and asks for summaries if it can take them. */
void summary_request(const struct plan *plan, struct sql_scan_request *request);
/* sql_scan_request.summarises; the context is the plan. */
bool summary_is_one_group(void *context, int64_t first_ns, int64_t last_ns);
/* Adds to the state of one aggregate what rows->summaries say. */
enum err summary_add(const struct plan *plan, const struct agg_call *call, void *state,
                     const struct rows *rows, struct arena *memory);

/* Builds the chain and opens the scan. On error nothing is left open. `text`: of the statement, if
 * others may help (parallel.h); who steps it knows SQL_WAITS then. */
enum err run_open(const struct sql_context *context, const struct plan *plan, struct str text,
                  bool analyze, const struct sql_sink *sink, struct sql_stats *stats,
                  struct why *why, struct run **run);
/* Runs until the sink is full or the end. */
enum err run_step(struct run *run, enum sql_progress *progress);
void run_close(struct run *run); /* NULL allowed; completes the stats */
/* A run of `plan` as a child of `parent`, not yet among its children: its rows go to `target`
 * (see op_pass_new). */
enum err run_open_child(struct run *parent, const struct plan *plan, const struct plan *above,
                        size_t side, struct op *target, struct run **child);
/* Runs the node of the join tree as a child: all its rows go to `target`. *head: the first of the
 * operators that were put before `target`, or `target`; they belong to `parent`. */
enum err run_open_join(struct run *parent, const struct join *join, struct op *target,
                       struct run **child, struct op **head);
/* A helper's run of the same statement as `of`: filters and groups alone, behind which `last` takes
 * what streaming groups give. */
struct sql_scan_share;
enum err run_open_helper(struct run *of, const struct sql_context *context, const struct plan *plan,
                         struct sql_scan_share *share, bool (*declines)(void *context),
                         void *declines_context, struct op *last, struct sql_stats *stats,
                         struct why *why, struct run **run);
/* Between two steps: errors of the next ones go to `why` (children follow the statement's run). */
void run_set_why(struct run *run, struct why *why);
enum err run_to_end(struct run *child); /* and closes it */

/* ---- sources of rows ---- */
enum err scan_open(struct run *run); /* the table's */
enum err scan_push(struct run *run); /* until paused, enough or the end (run->is_scanned) */
void scan_close(struct run *run);

/* ---- sub-queries ---- */
void subquery_end(struct subquery *query); /* forgets its answers */

/* All of it. */
enum err run_plan(const struct sql_context *context, const struct plan *plan, bool analyze,
                  const struct sql_sink *sink, struct sql_stats *stats, struct why *why);

#endif
