/* bind_priv.h - what the files of the binder share. */
#ifndef SQL_BIND_PRIV_H
#define SQL_BIND_PRIV_H

#include "sql/bind.h"
#include "sql/func.h"

/* Where an expression stands decides what its names mean. */
enum bind_place {
    PLACE_ROW,       /* inputs of the scan: WHERE, GROUP BY, arguments of aggregates, SELECT without
                        groups */
    PLACE_GROUP,     /* keys and aggregates: SELECT, HAVING, ORDER BY with groups */
    PLACE_AGGREGATE, /* inside an aggregate: as ROW, but no other aggregate */
    PLACE_NOTHING,   /* no table: LIMIT, VALUES */
};

struct binder {
    const struct sql_context *context;
    struct arena *arena;
    struct why *why;
    enum err err;
    struct eval eval; /* for folding constants */
    struct plan *plan;
    const struct ast_select *select;
    enum bind_place place;
    bool in_where;                /* no aggregates, for a better message */
    enum fill_kind fill;          /* of the aggregates inside locf() or interpolate() */
    int alias_depth;              /* an alias may stand in another item; bounded */
    struct plans *plans;          /* of the statement; NULL: no queries here */
    struct binder *parent;        /* of the query around this one, whose names may be used … */
    struct outers *outers;        /* … and become parameters; NULL like parent */
    const struct cte_scope *ctes; /* the innermost name of WITH */
    bool over_allowed;            /* window functions may stand here */
    const struct join *scope;     /* ON: only the sides of this join have names; NULL: all */
};

/* Names of WITH, each seeing those before it. */
struct cte_scope {
    const struct ast_cte *cte;
    const struct cte_scope *outer;
};

/* What a sub-query takes from the query around it: expressions there, parameters in it. */
struct outers {
    struct expr **values, **params;
    size_t count, capacity;
};

/* ---- names (bind_name.c) ---- */
enum found { FOUND_NONE, FOUND_ONE, FOUND_MANY };
struct column_ref {
    size_t side; /* of a join */
    enum input_kind kind;
    const struct column *column;
    const char *label;
    uint32_t output; /* of a query */
    bool is_null;    /* a label that no device has */
    bool is_merged;  /* by a FULL JOIN: `join` */
    const struct join *join;
};
/* An input that an operator fills: the window's number. */
struct expr *bind_made_input(struct binder *b, enum input_kind kind, enum type type, uint32_t slot,
                             int32_t position);
struct expr *bind_column_name(struct binder *b, const struct ast *tree);
bool bind_has_name(const struct binder *b, struct str name); /* unqualified, of this query */
/* Two AST_NAMEs that mean the same column of this query, or are written alike when it has none. */
bool bind_same_name(const struct binder *b, const struct ast *x, const struct ast *y);
enum found bind_find_in_join(const struct plan *plan, const struct join *join,
                             const struct ast *tree, struct column_ref *ref);
struct expr *bind_join_name(struct binder *b, const struct join *join, const struct ast *tree);
struct expr *bind_ref(struct binder *b, const struct column_ref *ref, const struct ast *tree);
struct expr *bind_fail_unknown(struct binder *b, const struct ast *tree);

/* ---- FROM (bind_from.c) ---- */
void bind_from(struct binder *b, const struct ast_from *from);
/* All columns in their order, for "*" and NATURAL. */
struct star {
    void (*each)(void *context, const struct column_ref *ref, const char *name);
    void *context;
};
const struct join *bind_find_side(struct binder *b, const struct ast *tree);
void bind_each_column(const struct plan *plan, const struct join *join, const struct star *star);

/* ---- functions in FROM (bind_rows.c) ---- */
/* Fills plan->values when the call gives rows; false: it is an ordinary function, one row. */
bool bind_function_rows(struct binder *b, const struct ast *call);

/* ---- queries (bind_query.c) ---- */
struct binder bind_child(const struct binder *b);
struct plan *bind_new_plan(struct binder *b);
/* Binds a query that is part of another; NULL after an error, which is b's too. `parent`, `outers`:
 * where its unknown names are looked for. */
struct plan *bind_inner(struct binder *b, const struct ast_select *select,
                        const struct cte_scope *ctes, struct binder *parent, struct outers *outers);
void bind_select_clauses(struct binder *b);
void bind_order_limit(struct binder *b);
struct expr *bind_subquery(struct binder *b, const struct ast *tree);
void bind_output(struct binder *b, struct expr *e, const char *name);

/* ---- conditions pushed towards the source (bind_push.c) ---- */
/* Adds a condition over the plan's inputs where it costs least. */
void bind_add_filter(struct binder *b, struct expr *e);
void bind_add_condition(struct binder *b, struct join *join, struct expr *e);
uint64_t bind_sides_of(const struct plan *plan, const struct expr *e); /* bit i: side i */
/* A copy in which inputs are what `replace` gives; NULL after an error. */
struct replace {
    struct expr *(*input)(struct binder *b, void *context, const struct expr *input);
    void *context;
};
struct expr *bind_copy(struct binder *b, const struct expr *e, const struct replace *replace);

/* ---- errors and memory ---- */
void *bind_fail(struct binder *b, enum err err, int32_t position, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void *bind_memory(struct binder *b, void *memory); /* passes it on; NULL fails */
/* Goes down so many levels, or up again when negative. False after an error: too deep (LIMIT). */
bool bind_deeper(struct binder *b, int levels, int32_t position);
bool bind_grow(struct binder *b, void *items_pointer, size_t count, size_t *capacity,
               size_t item_bytes);

/* ---- expressions ---- */
struct expr *bind_expr(struct binder *b, const struct ast *tree);
struct expr *bind_name(struct binder *b, const struct ast *tree);
struct expr *bind_input(struct binder *b, enum input_kind kind, const struct column *column,
                        const char *label, int32_t position);
struct expr *bind_quality_call(struct binder *b, const struct ast *tree);
/* Picks the overload, converts the arguments, folds. `args` may be changed. */
struct expr *bind_call(struct binder *b, const char *name, struct expr **args, size_t arg_count,
                       int32_t position);
struct expr *bind_cast(struct binder *b, struct expr *from, enum type type, int32_t position);
/* A parameter whose value nobody knows yet: what must be a constant is not judged. */
static inline bool bind_is_open(const struct binder *b, const struct expr *e)
{
    return e->param > 0 && b->context->are_params_open;
}
/* Cost of the implicit conversion, -1: there is none. */
int bind_convert_cost(const struct expr *from, char letter);
/* Carries it out. NULL after an error. */
struct expr *bind_convert(struct binder *b, struct expr *from, char letter);
char bind_letter(const struct expr *e); /* of its type */
/* The type all can be converted to, as a letter; 0: none. */
char bind_unify(struct expr **args, size_t count);
struct expr *bind_condition(struct binder *b, const struct ast *tree, const char *where); /* BOOL */
const char *bind_type_text(const struct expr *e);

/* ---- groups (bind_group.c) ---- */
bool ast_same(const struct binder *b, const struct ast *x, const struct ast *y);
bool ast_has_aggregate(const struct ast *tree);
struct expr *bind_aggregate(struct binder *b, const struct ast *tree);
struct expr *bind_group_name(struct binder *b,
                             const struct ast *tree); /* a key, a window's bound, an alias */
int bind_find_key(const struct binder *b, const struct ast *tree); /* index or -1 */
void bind_groups(struct binder *b);
bool bind_is_by_device(const struct binder *b); /* each group's rows are of one device */
int bind_add_key(struct binder *b, const struct ast *tree, struct expr *expr, int32_t position);
struct expr *bind_key_input(struct binder *b, size_t key, int32_t position);
/* Adds the call to the plan, or finds it there; gives the expression that reads its result. */
struct expr *bind_add_aggregate(struct binder *b, const struct agg_call *call);

/* ---- windows and FILL (bind_window.c) ---- */
enum window_name { NOT_A_WINDOW_NAME, WINDOW_NAME_START, WINDOW_NAME_END, WINDOW_NAME_DURATION };
enum window_name bind_window_name(
    const struct ast *tree); /* of a name or a call without arguments */
struct expr *bind_series(struct binder *b, const struct ast *tree); /* bind_series.c */
void bind_window(struct binder *b);
void bind_window_order(struct binder *b); /* when the plan knows whether groups stream */
struct expr *bind_window_part(struct binder *b, enum window_name name, int32_t position);
/* locf(aggregate), interpolate(aggregate): fills of one column; *is_fill false: another call. */
struct expr *bind_fill_call(struct binder *b, const struct ast *tree, bool *is_fill);
void bind_fill(struct binder *b); /* behind the select list */

/* The aggregate that a call means, with its argument, without adding it to the plan. */
bool bind_aggregate_call(struct binder *b, const struct ast *tree, struct agg_call *call);

/* ---- window functions (bind_over.c) ---- */
struct expr *bind_over(struct binder *b, const struct ast *tree);
void bind_over_end(struct binder *b);

/* ---- WHERE (bind_where.c) ---- */
void bind_where(struct binder *b);
/* Tells the scan of a table; true when it does all that the condition says. */
bool bind_push_scan(struct binder *b, const struct expr *e);

#endif
