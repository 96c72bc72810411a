/* list_source.h - relations that are plain lists: a table of columns, a count, and a function that
 * writes row n. The system tables and PostgreSQL's catalogue are made of them.
 *
 * Rows are made in chunks on demand, so a long list costs no more memory than a chunk. Runs on the
 * statement's task. */
#ifndef LISTENERS_LIST_SOURCE_H
#define LISTENERS_LIST_SOURCE_H

#include "data/vector.h"
#include "sql/source.h"

/* A row being written: one put for each column, in order. */
struct row_out {
    struct vector *columns; /* all columns of the table */
    uint32_t row;
    size_t at; /* next column */
    struct arena *arena;
    bool no_memory;
    /* Set by a write that finds no row n: the list ends here, or with this error. */
    bool is_end;
    enum err err;
    struct why *why;
};

void put(struct row_out *out, struct value value);
void put_null(struct row_out *out);
void put_text(struct row_out *out, struct str text); /* borrowed until the chunk is done with */
void put_copy(struct row_out *out, const char *text);
void put_bool(struct row_out *out, bool b);
void put_int(struct row_out *out, int64_t v);
void put_count(struct row_out *out, uint64_t v);
void put_double(struct row_out *out, double v); /* NaN: NULL */
void put_time(struct row_out *out, int64_t ns); /* 0: NULL */

struct list_column {
    const char *name;
    enum type type;
    const char *unit; /* of the catalogue: "pg:name", the type that clients are told */
};

struct list_table {
    const char *schema, *name, *description;
    /* NULL: there are never rows; SIZE_MAX: as many as there turn out to be (row_out.is_end). */
    size_t (*count)(const void *snapshot);
    void (*write)(const void *snapshot, size_t n, struct row_out *out);
    const struct list_column *columns; /* ended by a NULL name */
};

/* What a list source is given. `snapshot` goes to count and write. */
struct list_context {
    const struct sql_source *source; /* which of the two below */
    const struct list_table *tables;
    size_t table_count;
    const void *snapshot;
    bool is_hidden; /* not in SHOW TABLES */
};
extern const struct sql_source list_source_sys, list_source_pg;

#endif
