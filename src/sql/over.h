/* over.h - window functions: f(x) OVER (PARTITION BY … ORDER BY … frame).
 *
 * The table of functions that only exist with OVER; every aggregate works there too, over the rows
 * of its frame. (The windows of the WINDOW clause, TUMBLE and its like, are groups, and have
 * nothing to do with this.) */
#ifndef SQL_OVER_H
#define SQL_OVER_H

#include "sql/plan.h"

enum over_kind {
    OVER_AGGREGATE,
    OVER_ROW_NUMBER,
    OVER_RANK,
    OVER_DENSE_RANK,
    OVER_PERCENT_RANK,
    OVER_CUME_DIST,
    OVER_NTILE,
    OVER_LAG,
    OVER_LEAD,
    OVER_FIRST_VALUE,
    OVER_LAST_VALUE,
    OVER_NTH_VALUE,
};

struct over_function {
    const char *name, *args; /* letters as in func.h; what stands behind '|' may be left out */
    char result;
    enum over_kind kind;
    const char *help, *help_zh, *example, *answer; /* of the example over the table demo */
};

const struct over_function *over_table(size_t *count);
const struct over_function *over_find(struct str name); /* NULL: no such function */

enum { OVER_ARGS_MAX = 3, OVER_CALLS_MAX = 256 };

/* A bound of a frame: so many rows, groups of peers, or so far in the ordering value. */
struct over_bound {
    enum frame_bound_kind kind;
    int64_t count;   /* ROWS, GROUPS; RANGE over whole numbers, times */
    double distance; /* RANGE over doubles */
};

/* What stands in brackets behind OVER; calls with equal ones share it, and one sorting. */
struct over_spec {
    size_t partition_count;
    struct expr **partition;
    size_t order_count;
    struct expr **order;
    struct sort_key *keys; /* [order_count]; output: the number in `order` */
    enum frame_unit unit;
    struct over_bound from, to;
};

struct over_call {
    const struct over_function *function; /* or … */
    const struct aggregate *aggregate;
    const struct value *params; /* of the aggregate; NULL: none */
    size_t spec;
    size_t arg_count;
    struct expr *args[OVER_ARGS_MAX];
    enum type type;
    bool is_duration;
    const char *unit;
    int32_t position;
};

#endif
