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
};

enum ast_kind {
    AST_LITERAL,
    AST_PARAM, /* $n: value.i is n */
    AST_NAME,
    AST_STAR, /* "*", alone in a select list or in count(*) */
    AST_CALL,
    AST_CAST, /* args[0] to `type` */
};

struct ast {
    enum ast_kind kind;
    int32_t position;
    int32_t depth;        /* 1 + that of the deepest argument */
    struct str qualifier; /* NAME: "label", the table's name or empty */
    struct str text;      /* NAME: the name; CALL: the function's */
    struct value value;   /* LITERAL, PARAM */
    bool is_duration;     /* LITERAL: 10s (value.i in ns) */
    bool quoted;          /* NAME: was written in double quotes */
    bool distinct;        /* CALL: f(DISTINCT x) */
    enum type type;       /* CAST */
    size_t arg_count;
    struct ast **args;
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

struct ast_select {
    bool distinct;
    size_t item_count;
    struct ast_item *items;
    bool has_from;
    struct ast_relation from;
    struct ast *where;
    struct ast_list group_by, partition_by;
    struct ast_window window;
    struct ast_fill fill;
    struct ast *having;
    size_t order_count;
    struct ast_order *order;
    struct ast *limit, *offset;
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
    struct ast_list *rows; /* [row_count] */
};

enum ast_alter { ALTER_ADD, ALTER_RENAME, ALTER_TYPE };

struct ast_ddl {
    struct ast_relation table;
    bool if_exists; /* IF EXISTS or IF NOT EXISTS */
    enum ast_alter alter;
    size_t column_count;
    struct ast_column *columns;
    int64_t retention_ns;
};

enum ast_verb {
    AST_SELECT,
    AST_EXPLAIN,
    AST_SHOW_TABLES,
    AST_SHOW_FUNCTIONS,
    AST_DESCRIBE,
    AST_INSERT,
    AST_CREATE,
    AST_ALTER,
    AST_DROP,
};

struct ast_statement {
    enum ast_verb verb;
    bool analyze;                 /* EXPLAIN ANALYZE */
    struct ast_select select;     /* SELECT, EXPLAIN */
    struct ast_relation relation; /* DESCRIBE */
    struct ast_insert insert;
    struct ast_ddl ddl;
};

#endif
