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
    INPUT_WINDOW,         /* number or start of the row's window: filled by op_window.c */
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
    const struct ast *tree;       /* NULL for the window's start */
    struct expr *expr;            /* over inputs */
    const struct time_grid *grid; /* not NULL: the window of this grid that holds `time`, found by
                                     searching the ascending times */
};

/* The window clause, when it is not just a key: rows are numbered by op_window.c, which hands each
 * row on once for every window that holds it. */
struct plan_window {
    enum window_kind kind; /* NONE, TUMBLE (a key with a grid): no operator is needed */
    struct time_grid grid; /* HOP: of the steps */
    int64_t size_ns;       /* HOP: of fixed width; 0: `cells` steps; SLIDE */
    int64_t gap_ns, longest_ns;
    int64_t count, count_step;
    struct expr *start, *end; /* STATE: start */
    int state_key;            /* STATE: its value is a key too, equal in all rows of a window; -1 */
    uint32_t input;           /* the numbers' column */
    bool needs_order;         /* rows must first be brought into the order of partition and time */
    uint32_t cells;           /* HOP: of how many steps a window consists, rounded up */
};

struct plan_fill {
    bool on;
    size_t key; /* the window's start */
    int64_t from_ns, to_ns;
    bool needs_order; /* groups come in any order */
};

struct agg_call {
    const struct aggregate *aggregate;
    struct expr *arg;           /* NULL: count(*) */
    struct expr *second;        /* of aggregates with two arguments per row */
    const struct value *params; /* the constants behind them; NULL: none */
    size_t param_count;
    enum fill_kind fill; /* how FILL makes its value in a window that has none */
    struct value fill_value;
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
    bool grouped;
    bool has_window; /* window_key is the window's start or number */
    struct plan_window window;
    struct plan_fill fill;
    bool streaming; /* a group's rows come one behind the other: one state is enough */
    size_t key_count, key_capacity;
    struct group_key *keys;
    size_t window_key;
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
