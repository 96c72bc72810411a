/* plan.h - a bound query: where rows come from, what to compute, in which order. Made by the
 * binder, run by the operators (op.h), printed by EXPLAIN. Lives in the statement's arena; running
 * it changes only registers, measurements and the caches of sub-queries.
 *
 * A plan takes rows from a table, or from other plans: a sub-query, the operands of UNION and the
 * like, the sides of a join. Rows change their shape on the way:
 *   source    columns = inputs
 *   group     columns = keys, then from GROUP_KEYS_MAX on the aggregates   (only when grouped)
 *   window    the columns so far, then the results of window functions
 *   project   columns = outputs: the select list, then hidden ones that only ORDER BY needs
 * An expression's EXPR_INPUT always counts in the shape at its place.
 *
 * The sides of a join are plans without a select list: source and filters only. All joins of one
 * FROM share one shape, the inputs of the plan above them; each side fills its own of these
 * columns. So no expression is ever renumbered, and a condition can stand at any join. */
#ifndef SQL_PLAN_H
#define SQL_PLAN_H

#include "sql/agg.h"
#include "sql/ast.h"
#include "sql/expr.h"
#include "sql/keys.h"

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
    INPUT_SERIES,         /* result of a function that follows the rows: op_series.c */
    INPUT_QUALITY,        /* text: the worst among the columns read */
    INPUT_COLUMN_QUALITY, /* text: that of one column */
};

struct input {
    enum input_kind kind;
    enum type type;
    const char *name, *unit;
    uint32_t slot; /* COLUMN, COLUMN_QUALITY: index into request.columns; LABEL: into
                      request.labels; from a query: its output; from a join: the side's input */
    uint32_t side; /* of a join; else 0; INPUT_NO_SIDE: an operator makes it */
};
#define INPUT_NO_SIDE UINT32_MAX

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
    struct expr *time;        /* of the rows */
    struct expr *start, *end; /* STATE: start */
    int state_key;            /* STATE: its value is a key too, equal in all rows of a window; -1 */
    uint32_t input;           /* the numbers' column */
    bool needs_order;         /* rows must first be brought into the order of partition and time */
    uint32_t cells;           /* HOP: of how many steps a window consists, rounded up */
};

/* A call of a function that follows the rows of a device (series.h). */
struct series_call {
    const struct series_function *function;
    struct expr *arg, *time;    /* time: for rows that come without it; NULL: not needed */
    const struct value *params; /* NULL: none */
    uint32_t input;             /* where its result goes */
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

enum plan_from {
    FROM_ONE_ROW, /* SELECT 1 */
    FROM_TABLE,
    FROM_QUERY,
    FROM_SET, /* UNION, EXCEPT, INTERSECT */
    FROM_VALUES,
    FROM_JOIN,
};

/* What EXPLAIN ANALYZE counts: rows that were pushed into an operator, and the time spent in it and
 * all behind it. */
enum stage {
    STAGE_SOURCE,
    STAGE_FILTER,
    STAGE_GROUP,
    STAGE_WINDOW,
    STAGE_PROJECT,
    STAGE_DISTINCT,
    STAGE_SORT,
    STAGE_DISTINCT_ON,
    STAGE_LIMIT,
    STAGE_OUTPUT,
    STAGE_COUNT
};
struct measure {
    uint64_t rows;
    int64_t ns;
};

/* A node of the tree of joins. Its sides are the leaves `first` … `first + count - 1`. */
struct join {
    size_t first, count;
    struct join *left, *right; /* NULL: a leaf, plan->sides[first] */
    enum join_kind kind;       /* INNER, LEFT, FULL (RIGHT is LEFT with the sides changed) */
    int32_t position;
    size_t name_count;
    const struct str *names; /* USING, NATURAL: columns that are one */
    size_t key_count;        /* equalities: left_keys[i] = right_keys[i] */
    struct expr **left_keys, **right_keys;
    size_t condition_count;
    struct expr **conditions; /* the rest of ON, over all inputs */
    bool is_swapped;          /* written as RIGHT */
    bool is_asof;             /* left_time `asof` right_time, the nearest one */
    struct expr *left_time, *right_time;
    bool asof_forward, asof_strict; /* <=, <; else >=, > */
    int64_t tolerance_ns;           /* 0: none */
    struct measure *measure;
};

/* A query inside an expression. What it takes from the query around it are parameters: constants
 * that are set before it runs. Its answers are kept by the values of these. */
enum subquery_use {
    USE_SCALAR,
    USE_EXISTS,
    USE_IN,
    USE_ANY, /* x < ANY (query): true for one row … */
    USE_ALL, /* … or for all */
    USE_ARRAY,
};
enum comparison { COMPARE_EQ, COMPARE_NE, COMPARE_LT, COMPARE_LE, COMPARE_GT, COMPARE_GE };
struct subquery {
    enum subquery_use use;
    enum comparison comparison; /* ANY, ALL */
    struct plan *plan;
    size_t param_count;
    struct expr **params; /* EXPR_PARAM in the plan; arguments 0 … of the call are their values */
    bool is_begun;        /* the rest is valid */
    struct arena memory;  /* of the answers */
    struct keys answers;  /* by the parameters' values */
    struct subquery *next; /* all of the statement */
};

struct plan_over { /* window functions: over.h */
    size_t call_count, call_capacity, spec_count, spec_capacity;
    struct over_call *calls;
    struct over_spec *specs;
    size_t base;    /* columns of a row before the results: call i is column base + i */
    bool by_series; /* every partition lies within one series, and rows come series by series */
};

struct plan {
    enum plan_from from;
    bool has_table;         /* there is a FROM: names can be looked for */
    struct sql_table table; /* TABLE; else only has_series says that rows come by series in time
                               order, with time and device among the inputs */
    struct str name, alias; /* by which a side's columns may be qualified */
    struct plan *query;     /* QUERY */
    const char **names;     /* QUERY: of its visible outputs, as seen from here */
    size_t side_count;      /* SET: operands; JOIN: leaves */
    struct plan **sides;
    enum set_kind set;
    bool set_all;
    struct join *join;
    size_t row_count; /* VALUES: input_count expressions each, one row behind the other */
    struct expr **values;
    struct expr *unnest; /* VALUES: not NULL: an array, of which each item is a row instead */
    size_t input_count, input_capacity;
    struct input *inputs;
    struct sql_scan_request request;
    size_t filter_count, filter_capacity;
    struct expr **filters; /* all must be true */
    size_t series_count, series_capacity;
    struct series_call *series;
    bool nothing; /* WHERE can never be true */
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
    struct plan_over over;
    size_t over_count; /* window functions; 0 while binding */
    size_t output_count, output_capacity, visible_count;
    struct expr **outputs;
    const char **output_names;
    bool distinct;
    size_t distinct_on_count; /* DISTINCT ON: outputs that tell rows apart */
    size_t *distinct_on;
    size_t order_count;
    struct sort_key *order;
    bool has_limit;
    uint64_t limit, offset;
    bool is_side;                  /* of a join: no select list */
    const struct ast_select *tree; /* what it was made of, for conditions pushed down into it */
    const struct cte_scope *ctes;  /* the names of WITH that it sees */
    struct measure *measures;      /* [STAGE_COUNT] */
    struct plan *next_made;        /* all plans of the statement */
};

/* All plans of a statement, and what they touch. */
struct plans {
    struct plan *root, *made;
    size_t count;
    struct sql_access *accesses;
    size_t access_count, access_capacity;
    struct subquery *subqueries;
    int views; /* that are being bound inside each other */
    int depth; /* of what is being bound: levels of expressions, QUERY_DEPTH for a query */
};

enum {
    PLANS_MAX = 1000,
    /* Binding and computing go down into expressions and the queries inside them on the stack, of
     * which a task has little (os/real.c): both together are bounded. */
    QUERY_DEPTH = 4,
    PLANS_DEPTH_MAX = AST_DEPTH_MAX + 16 * QUERY_DEPTH,
    VIEWS_NESTED_MAX = 16,
    JOIN_SIDES_MAX = 64, /* a set of sides is a word */
};

#endif
