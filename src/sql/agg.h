/* agg.h - the table of aggregates: count, sum, avg…
 *
 * A state is `state_bytes` of plain memory, all zero when fresh. `add` takes a *run*: many rows of
 * one group at once, so the loop over values is inside and nothing is called per value. `merge`
 * joins two states of different rows, so partial results of threads, rollups or tiers combine
 * exactly. States own nothing that must be released; texts they keep live in the arena handed to
 * them. */
#ifndef SQL_AGG_H
#define SQL_AGG_H

#include "sql/expr.h"

/* Rows of one group: values[rows[from]] … or, where rows is NULL, values[from] … */
struct agg_run {
    const struct vector *value; /* NULL: count(*). Never a constant vector */
    const int64_t *time;        /* of the vector's rows; NULL: order of arrival counts instead */
    const uint16_t *rows;
    uint32_t from, count;
    bool keeps_null; /* first/last of a plain column: a NULL with a reason is a value, absence is
                        not */
};

enum aggregate_flags {
    AGG_KEEPS_UNIT = 1, /* the result has the argument's unit */
    AGG_NEEDS_TIME = 2,
    AGG_KEEPS_NULL = 4, /* first and last: a NULL with a reason is an answer */
};

struct aggregate {
    const char *name, *args; /* "" for count(*); letters as in func.h */
    char result;
    unsigned flags;
    size_t state_bytes;
    enum err (*add)(void *state, const struct agg_run *run, struct arena *memory);
    enum err (*merge)(void *into, const void *from, struct arena *memory);
    /* Errors: RANGE (a sum beyond its type). Slices are borrowed from the state. */
    enum err (*final)(const void *state, struct value *result);
    const char *help, *help_zh, *example;
};

const struct aggregate *aggregate_table(size_t *count);
bool aggregate_exists(struct str name);

enum { AGG_STATE_BYTES_MAX = 64 };

/* ---- by file, listed in agg.c ---- */
#define AGGREGATE(NAME)                                                                            \
    enum err NAME##_add(void *state, const struct agg_run *run, struct arena *memory);             \
    enum err NAME##_merge(void *into, const void *from, struct arena *memory);                     \
    enum err NAME##_final(const void *state, struct value *result)
AGGREGATE(agg_count);
AGGREGATE(agg_sum_i);
AGGREGATE(agg_sum_u);
AGGREGATE(agg_sum_d);
AGGREGATE(agg_stddev);
AGGREGATE(agg_min_i);
AGGREGATE(agg_max_i);
AGGREGATE(agg_min_u);
AGGREGATE(agg_max_u);
AGGREGATE(agg_min_d);
AGGREGATE(agg_max_d);
AGGREGATE(agg_min_b);
AGGREGATE(agg_max_b);
AGGREGATE(agg_min_s);
AGGREGATE(agg_max_s);
AGGREGATE(agg_first);
AGGREGATE(agg_last);
#undef AGGREGATE
enum err agg_avg_final(const void *state, struct value *result);        /* over agg_sum_d's state */
enum err agg_stddev_pop_final(const void *state, struct value *result); /* over agg_stddev's */
enum err agg_variance_final(const void *state, struct value *result);
enum err agg_var_pop_final(const void *state, struct value *result);
enum err agg_time_final(const void *state, struct value *result); /* min/max of timestamps */

#endif
