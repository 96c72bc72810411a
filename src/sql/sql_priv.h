/* sql_priv.h - a prepared statement, and the kinds of statements behind the functions of sql.h. */
#ifndef SQL_SQL_PRIV_H
#define SQL_SQL_PRIV_H

#include "sql/bind.h"

#define SQL_STATEMENT_MAGIC 0x4d53514cu /* checked on entry */

struct sql_statement {
    uint32_t magic;
    const struct sql_context *context;
    struct arena arena; /* the statement itself lives in it too, but for this struct */
    struct str text;    /* in the arena */
    struct ast_statement tree;
    enum sql_verb verb;
    struct sql_access access;          /* of a statement that touches one table … */
    const struct sql_access *accesses; /* … or those of its queries */
    size_t access_count;
    struct sql_result_column *columns;
    size_t column_count;
    struct plans plans;     /* SELECT, EXPLAIN */
    struct plans counting;  /* DELETE of whole ranges: the rows of each device; root NULL: not so */
    struct run *run;        /* of a SELECT begun by sql_step */
    struct sql_table table; /* DESCRIBE, INSERT, ALTER, DROP: open until sql_close */
    struct sql_ddl ddl;
    struct sql_view view;
    bool insert_goes_on; /* INSERT … SELECT: `run` has more rows */
    bool insert_lacks;   /* the last batch found no memory */
    struct sql_stats insert_stats;
    struct sql_sink insert_sink;
};

/* Binds the statement's query: plans, accesses. */
enum err sql_bind_query(struct sql_statement *s, struct why *why);

/* ---- statements that print a list (show.c, explain.c): columns at prepare, rows at run ---- */
enum err sql_list_columns(struct sql_statement *s, const char *const *names, size_t count,
                          struct why *why);

/* Collects rows of texts and hands them to the sink in chunks. NULL text: SQL NULL. */
enum { TEXT_ROWS_COLUMNS_MAX = 8 };
struct text_row {
    const char *cell[TEXT_ROWS_COLUMNS_MAX];
};
struct text_rows {
    struct sql_statement *statement;
    const struct sql_sink *sink;
    struct sql_stats *stats;
    struct why *why;
    struct vector columns[TEXT_ROWS_COLUMNS_MAX];
    uint32_t count;
};
enum err text_rows_begin(struct text_rows *rows);
/* NULL cells, and those left out, are NULL. The texts are borrowed until the end. */
enum err text_rows_add(struct text_rows *rows, const struct text_row *row);
enum err text_rows_end(struct text_rows *rows);

enum err show_prepare(struct sql_statement *s, struct why *why);
enum err show_run(struct sql_statement *s, const struct sql_sink *sink, struct sql_stats *stats,
                  struct why *why);
enum err explain_prepare(struct sql_statement *s, struct why *why);
enum err explain_run(struct sql_statement *s, const struct sql_sink *sink, struct sql_stats *stats,
                     struct why *why);
enum err ddl_prepare(struct sql_statement *s, struct why *why);
enum err view_prepare(struct sql_statement *s, struct why *why);
enum err delete_prepare(struct sql_statement *s, struct why *why);
enum err insert_prepare(struct sql_statement *s, struct why *why);

#endif
