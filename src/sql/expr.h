/* expr.h - bound expressions and how they are computed over vectors.
 *
 * A bound expression is a tree of constants, inputs (columns of the rows that an operator is
 * handed) and calls of rows of the function table. Computing one walks the tree once per chunk of
 * up to 1,024 rows; at each call the function's kernel runs one loop over arrays. Every call owns
 * its result registers, made when the plan is made, so nothing is allocated per chunk but the bytes
 * of new texts.
 *
 * A *view* says which rows of the vectors count. Kernels may compute all `count` rows (registers
 * and inputs always hold readable memory), but an error may only come from a row that is in the
 * view and not NULL. Lazy forms (CASE, COALESCE, AND, OR) narrow the view for their arguments, so
 * CASE WHEN b <> 0 THEN a / b END never divides by zero.
 *
 * Thread: the statement's task. */
#ifndef SQL_EXPR_H
#define SQL_EXPR_H

#include "data/vector.h"
#include "sql/source.h"
#include "sql/sql.h"

struct view {
    uint32_t count;            /* length of the vectors */
    const uint16_t *selection; /* the rows that count, ascending; NULL: all */
    uint32_t selected;         /* how many count; = count when selection is NULL */
};

static inline uint32_t view_row(const struct view *view, uint32_t k)
{
    return view->selection ? view->selection[k] : k;
}

/* What operators hand to each other. Valid until push returns. */
struct rows {
    struct view view;
    struct vector *columns;
    size_t column_count;
    uint32_t series;
    const int64_t
        *time; /* [count] ascending, when the rows are of one series and time is known; else NULL */
    /* Not NULL: one row stands for summary_rows of a series; its columns of the table are not
     * there, `time` is the first one's, summary_last_ns the last one's. */
    const struct sql_summary *summaries;
    uint32_t summary_rows;
    int64_t summary_last_ns;
};

enum expr_kind {
    EXPR_CONST,
    EXPR_INPUT,
    EXPR_CALL,
    EXPR_PARAM, /* of a sub-query: one value while it runs, kept in `constant` */
};

struct subquery;
struct run;

struct function;

struct expr {
    enum expr_kind kind;
    enum type type;
    int32_t position;
    bool is_duration;     /* BIGINT that counts ns: what may be added to a timestamp */
    bool is_literal;      /* CONST as written or a parameter: text may still become another type */
    uint16_t param;       /* CONST: n of $n, 0 = written out */
    bool series_constant; /* one value per series: made of device, labels and constants */
    bool changes_in_time; /* contains now(): not for rules */
    const char *unit;     /* "" when none */
    uint32_t input;       /* INPUT: index into rows.columns */
    const struct function *function;
    size_t arg_count;
    struct expr **args;
    struct vector *arg_vectors; /* [arg_count] scratch of expr_eval */
    struct vector constant;     /* CONST, PARAM: element 0 */
    struct subquery *query;     /* CALL of a sub-query */
    void *data;                 /* CALL: registers for SQL_CHUNK_ROWS values … */
    uint8_t *null;              /* … and their NULLs */
    uint16_t *selection[2];     /* lazy calls: the narrowed views */
};

struct zones;

/* What computing needs besides rows. */
struct eval {
    struct arena scratch; /* new texts; reset by the scan before each chunk */
    struct budget *budget;
    struct why *why;
    int64_t now_ns;
    struct run *run; /* the statement's first: sub-queries run as its children; NULL when folding */
    uint64_t random_count; /* calls of random() so far */
    struct zones *zones;   /* time zones met so far; see grid.h */
    uint64_t steps;        /* since the time limit was looked at: eval_spend */
    void *session;         /* sql_context.session */
};

enum { EVAL_STEPS = 1 << 20 }; /* between two looks at the time limit */

/* The time limit is looked at at every chunk. A kernel that may need long for one row, and an
 * operator that may for one chunk, tell how many steps they took (some nanoseconds each), and it is
 * looked at in between, also when constants are folded. Errors: TIMEOUT, CANCELLED. */
enum err eval_look(struct eval *eval);
static inline enum err eval_spend(struct eval *eval, uint64_t steps)
{
    eval->steps += steps;
    return eval->steps < EVAL_STEPS ? ERR_OK : eval_look(eval);
}

/* Computes `e` for the rows of `view`; *out borrows from rows, registers or scratch and is valid
 * until the next evaluation of `e`. Errors: DIVISION, RANGE, TYPE (a text that cannot be cast)…
 * with position. */
enum err expr_eval(struct eval *eval, const struct expr *e, const struct rows *rows,
                   const struct view *view, struct vector *out);

/* The rows of `view` for which `e` (BOOL) is true, into `selection` [SQL_CHUNK_ROWS] and *selected.
 */
enum err expr_filter(struct eval *eval, const struct expr *e, const struct rows *rows,
                     const struct view *view, uint16_t *selection, uint32_t *selected);

/* ---- making them (arena's memory; NULL: none) ---- */
struct expr *expr_new(struct arena *arena, enum expr_kind kind, enum type type, int32_t position);
struct expr *expr_constant(struct arena *arena, const struct value *value, int32_t position);
struct expr *expr_input(struct arena *arena, uint32_t input, enum type type, int32_t position);
/* A call with its registers; takes `args`. */
struct expr *expr_call(struct arena *arena, const struct function *function, enum type type,
                       struct expr **args, size_t arg_count, int32_t position);
struct value expr_value(const struct expr *e); /* of a CONST */
bool expr_same(const struct expr *a, const struct expr *b);
/* Replaces a call whose arguments are all constants by its value. A call that fails stays: it may
 * never be reached. Errors: NO_MEMORY, BUDGET. */
enum err expr_fold(struct arena *arena, struct eval *eval, struct expr **e);

/* The error for memory that was refused: BUDGET with what to do about it, or NO_MEMORY. */
enum err expr_no_memory(struct budget *budget, struct why *why);

#endif
