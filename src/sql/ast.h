/* ast.h - the tree that the parser makes of a statement's text: names unresolved, types unknown.
 *
 * Every operator and special form is an AST_CALL that carries the name under which the function
 * table (func.h) knows it: "a + b" is a call of "+", CASE of "case", IS NULL of "is null". So the
 * binder has one way to treat them all. Everything lives in the statement's arena; nothing is
 * changed after parsing. */
#ifndef SQL_AST_H
#define SQL_AST_H

#include "sql/grid.h"

enum {
    AST_TEXT_BYTES_MAX = 1 << 20, /* of a statement */
    AST_NESTING_MAX =
        200, /* brackets and the like inside each other: bounds the parser's recursion */
    AST_DEPTH_MAX =
        1000, /* of a tree (1+1+1+… grows to one side): bounds that of the binder and evaluator */
    AST_WEIGHT_MAX =
        1 << 20, /* nodes of a tree; one that two others share (BETWEEN, CASE x WHEN) counts twice,
                    as whoever walks the tree comes by twice: bounds the time that takes */
    AST_QUERY_NESTING_MAX = 32, /* queries inside each other */
    AST_SETS_MAX = 256,         /* UNIONs and the like in a statement */
    AST_JOIN_DEPTH_MAX = 64,    /* tables joined in one FROM */
};

enum ast_kind {
    AST_LITERAL,
    AST_PARAM, /* $n: value.i is n */
    AST_NAME,
    AST_STAR, /* "*", alone in a select list, behind a table's name or in count(*) */
    AST_CALL,
    AST_CAST,  /* args[0] to `type` */
    AST_QUERY, /* a sub-query: text says how it is used (enum of bind_query.c), args[0] what is
                  compared with its rows */
};

struct ast_select;
struct ast_over;

struct ast {
    enum ast_kind kind;
    int32_t position;
    int32_t depth;        /* 1 + that of the deepest argument, FILTER and OVER included */
    int32_t weight;       /* its nodes, with those that hang on it: 1 … AST_WEIGHT_MAX */
    struct str schema;    /* NAME: what stands before the qualifier, mostly empty */
    struct str qualifier; /* NAME, STAR: "label", the table's name or empty */
    struct str text;      /* NAME: the name; CALL: the function's */
    struct value value;   /* LITERAL, PARAM */
    bool is_duration;     /* LITERAL: 10s (value.i in ns) */
    bool quoted;          /* NAME: was written in double quotes */
    bool distinct;        /* CALL: f(DISTINCT x) */
    enum type type;       /* CAST */
    size_t arg_count;
    struct ast **args;
    struct ast *filter;       /* CALL: agg(x) FILTER (WHERE filter) */
    struct ast_over *over;    /* CALL: f(x) OVER (…) */
    struct ast_select *query; /* QUERY */
    struct str op;            /* QUERY, used as "any" or "all": the comparison */
};

/* A growing list in the arena. */
struct ast_list {
    struct ast **items;
    size_t count, capacity;
};

struct ast_item { /* of a select list */
    struct ast *tree;
    struct str alias; /* empty: none given */
};

struct ast_order {
    struct ast *tree;
    bool descending, nulls_first;
};

struct ast_relation {
    struct str schema, name, alias;
    int32_t position;
};

enum window_kind {
    WINDOW_NONE,
    WINDOW_TUMBLE,
    WINDOW_HOP,
    WINDOW_SLIDE,
    WINDOW_SESSION,
    WINDOW_COUNT,
    WINDOW_STATE,
    WINDOW_EVENT,
    WINDOW_KINDS
};

/* All spellings of windows end here. */
struct ast_window {
    enum window_kind kind;
    int32_t position;
    struct time_grid width, step; /* TUMBLE, SLIDE: width; HOP: both; SESSION: width = the gap */
    int64_t offset_ns;            /* TUMBLE, HOP */
    int64_t longest_ns;           /* SESSION: 0 = no limit */
    int64_t count, count_step;    /* COUNT */
    struct ast *start, *end;      /* STATE: start; EVENT: both */
    struct str zone;              /* empty: the statement's */
};

enum fill_kind {
    FILL_OFF,
    FILL_NULL,
    FILL_PREV,
    FILL_NEXT,
    FILL_LINEAR,
    FILL_VALUE,
};

struct ast_fill {
    enum fill_kind kind;
    int32_t position;
    struct ast_list values; /* VALUE: one for all, or one for each selected aggregate */
};

struct ast_names { /* USING (a, b), t (a, b) */
    struct str *items;
    size_t count, capacity;
};

/* What stands behind FROM: a tree of joins over tables and sub-queries. */
enum ast_from_kind { AST_FROM_TABLE, AST_FROM_QUERY, AST_FROM_JOIN };
enum join_kind { JOIN_CROSS, JOIN_INNER, JOIN_LEFT, JOIN_RIGHT, JOIN_FULL };

struct ast_from {
    enum ast_from_kind kind;
    int32_t position;
    int32_t depth;                /* 1 + that of the deeper side */
    struct ast_relation relation; /* TABLE: which; QUERY: its alias */
    struct ast_names columns;     /* AS t (a, b): other names for the first columns */
    struct ast_select *query;     /* QUERY */
    enum join_kind join;
    bool is_asof, is_natural;
    struct ast_from *left, *right;
    struct ast *on; /* or … */
    struct ast_names using_names;
    int64_t tolerance_ns; /* ASOF; 0: none */
};

struct ast_cte { /* WITH name (columns) AS (query) */
    struct str name;
    int32_t position;
    struct ast_names columns;
    struct ast_select *query;
};

enum ast_select_kind { SELECT_PLAIN, SELECT_VALUES, SELECT_SET };
enum set_kind { SET_UNION, SET_EXCEPT, SET_INTERSECT };

/* A query: SELECT with its clauses, VALUES, or two queries combined. ORDER BY, LIMIT and OFFSET
 * belong to all three. */
struct ast_select {
    enum ast_select_kind kind;
    int32_t position;
    size_t cte_count;
    struct ast_cte *ctes;
    /* SET */
    enum set_kind set;
    bool set_all;
    struct ast_select *left, *right;
    /* VALUES */
    bool is_function; /* its one value is a call in FROM, which may give many rows */
    size_t row_count;
    struct ast_list *rows;
    /* PLAIN */
    bool distinct;
    struct ast_list distinct_on;
    size_t item_count;
    struct ast_item *items;
    struct ast_from *from; /* NULL: one row without columns */
    struct ast *where;
    struct ast_list group_by, partition_by;
    struct ast_window window;
    struct ast_fill fill;
    struct ast *having;
    size_t over_count; /* WINDOW name AS (…) */
    struct ast_over *overs;
    /* all */
    size_t order_count;
    struct ast_order *order;
    struct ast *limit, *offset;
};

/* OVER (…): the rows that a window function sees. */
enum frame_unit { FRAME_RANGE, FRAME_ROWS, FRAME_GROUPS };
enum frame_bound_kind {
    BOUND_UNBOUNDED_PRECEDING,
    BOUND_PRECEDING,
    BOUND_CURRENT_ROW,
    BOUND_FOLLOWING,
    BOUND_UNBOUNDED_FOLLOWING
};
struct ast_bound {
    enum frame_bound_kind kind;
    struct ast *offset; /* PRECEDING, FOLLOWING */
};
struct ast_over {
    struct str name; /* WINDOW name AS; OVER name: the one referred to */
    int32_t position;
    struct ast_list partition_by;
    size_t order_count;
    struct ast_order *order;
    bool has_frame;
    enum frame_unit unit;
    struct ast_bound from, to;
};

struct ast_column { /* of INSERT's list, CREATE TABLE, ALTER TABLE */
    struct str qualifier, name, new_name, unit, comment;
    enum type type;
    int32_t position;
};

struct ast_insert {
    struct ast_relation into;
    size_t column_count;
    struct ast_column *columns;
    size_t row_count;
    struct ast_list *rows;    /* [row_count], or … */
    struct ast_select *query; /* … INSERT … SELECT */
};

enum ast_alter { ALTER_ADD, ALTER_RENAME, ALTER_TYPE, ALTER_COMMENT, ALTER_SET };

struct ast_ddl {
    struct ast_relation table;
    bool if_exists; /* IF EXISTS or IF NOT EXISTS */
    enum ast_alter alter;
    size_t column_count;
    struct ast_column *columns;
    bool sets_retention, sets_rollups; /* WITH (…), SET (…) */
    int64_t retention_ns;
    size_t rollup_count;
    int64_t rollups_ns[SCHEMA_ROLLUPS_MAX];
    size_t tag_count; /* CREATE STABLE … TAGS: labels, whose types say nothing */
    struct ast_column *tags;
    struct str comment; /* ALTER_COMMENT without a column: the table's */
};

enum ast_verb {
    AST_SELECT,
    AST_EXPLAIN,
    AST_SHOW_TABLES,
    AST_SHOW_FUNCTIONS,
    AST_DESCRIBE,
    AST_INSERT,
    AST_DELETE, /* select: device and time of the rows */
    AST_CREATE,
    AST_ALTER,
    AST_DROP,
    AST_CHECKPOINT,
    AST_CREATE_VIEW, /* select, view */
    AST_DROP_VIEW,
};

struct ast_statement {
    enum ast_verb verb;
    bool merges;                  /* VACUUM, which is a CHECKPOINT and more */
    bool confirms_clock;          /* CONFIRM CLOCK, too */
    bool analyze;                 /* EXPLAIN ANALYZE */
    struct ast_select *select;    /* SELECT, EXPLAIN, DELETE */
    struct ast_select *counting;  /* DELETE: the rows of each device */
    struct ast_relation relation; /* DESCRIBE */
    struct ast_insert insert;
    struct ast_ddl ddl;
    struct { /* CREATE VIEW, DROP VIEW */
        struct ast_relation name;
        struct str query; /* its text */
        bool or_replace, if_exists;
    } view;
};

#endif
