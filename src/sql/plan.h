/* plan.h - a bound SELECT: what to scan, what to compute, in which order. Made by the binder, run
 * by the operators (op.h), printed by EXPLAIN. Lives in the statement's arena; running it changes
 * only registers.
 *
 * Rows change their shape on the way:
 *   scan      columns = inputs
 *   group     columns = keys, then from GROUP_KEYS_MAX on the aggregates   (only when grouped)
 *   project   columns = outputs: the select list, then hidden ones that only ORDER BY needs
 * An expression's EXPR_INPUT always counts in the shape at its place. */
#ifndef SQL_PLAN_H
#define SQL_PLAN_H

#include "sql/agg.h"
#include "sql/ast.h"
#include "sql/expr.h"

enum {
    GROUP_KEYS_MAX =
        64, /* also where aggregates begin in a grouped row, so that both may grow while binding */
    GROUP_AGGREGATES_MAX = 4096,
};

enum input_kind {
    INPUT_TIME,
    INPUT_DEVICE,
    INPUT_RECEIVED,
    INPUT_COLUMN,
    INPUT_LABEL,
    INPUT_QUALITY,        /* text: the worst among the columns read */
    INPUT_COLUMN_QUALITY, /* text: that of one column */
};

struct input {
    enum input_kind kind;
    enum type type;
    const char *name, *unit;
    uint32_t
        slot; /* COLUMN, COLUMN_QUALITY: index into request.columns; LABEL: into request.labels */
};

struct group_key {
    const struct ast *tree; /* NULL for the window's start */
    struct expr *expr;      /* over inputs */
    int64_t bucket_ns; /* > 0: time_bucket(this, time), found by searching the ascending times */
};

struct agg_call {
    const struct aggregate *aggregate;
    struct expr *arg; /* NULL: count(*) */
    enum type type;
    bool distinct, keeps_null, is_duration;
    const char *unit;
    int32_t position;
    size_t state_offset; /* in a group's state; DISTINCT: its set comes first */
};

struct sort_key {
    size_t output;
    bool descending, nulls_first;
};

struct plan {
    bool has_table;
    struct sql_table table;
    size_t input_count, input_capacity;
    struct input *inputs;
    struct sql_scan_request request;
    size_t filter_count;
    struct expr **filters; /* all must be true */
    bool nothing;          /* WHERE can never be true */
    bool grouped, has_window;
    bool streaming; /* a group's rows come one behind the other: one state is enough */
    size_t key_count, key_capacity;
    struct group_key *keys;
    size_t window_key;
    int64_t window_ns;
    size_t agg_count, agg_capacity;
    struct agg_call *aggs;
    size_t state_bytes;
    struct expr *having;
    size_t output_count, output_capacity, visible_count;
    struct expr **outputs;
    const char **output_names;
    bool distinct;
    size_t order_count;
    struct sort_key *order;
    bool has_limit;
    uint64_t limit, offset;
};

#endif
