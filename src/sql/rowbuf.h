/* rowbuf.h - rows held back: copies of the columns of chunks, so that an operator can hand them on
 * later, in another order or more than once.
 *
 * Column-wise as everywhere, in one growing array per column; texts are copied into an arena of the
 * buffer's own. Thread: one. */
#ifndef SQL_ROWBUF_H
#define SQL_ROWBUF_H

#include "sql/expr.h"

struct rowbuf {
    struct budget *budget;
    struct arena arena;                   /* everything but the heads of the columns */
    struct vector *spare;                 /* [column_count] room for rowbuf_drop, twice */
    size_t column_count, count, capacity; /* count <= capacity: rows that there are, have room */
    struct vector *columns; /* [column_count]; null and quality arrays always present */
    int64_t *time;          /* [count]; 0 where rows have none */
};

enum { ROWBUF_ROWS_MAX = 1 << 30 };

/* `types` [column_count]: TYPE_NONE columns are left out. The columns' heads live in `heads`. */
enum err rowbuf_init(struct rowbuf *buffer, struct budget *budget, struct arena *heads,
                     const enum type *types, size_t column_count);
void rowbuf_free(struct rowbuf *buffer);
/* Copies the rows of the view; `rows` has at least column_count columns, each of its type or NONE.
 * Errors: NO_MEMORY (the budget's, too): no row was added. */
enum err rowbuf_add(struct rowbuf *buffer, const struct rows *rows);
void rowbuf_clear(struct rowbuf *buffer); /* keeps types; gives memory back */
/* Drops the first `count` rows (at most all); frees what only they needed, by copying the others.
 * Errors: NO_MEMORY: nothing was dropped. */
enum err rowbuf_drop(struct rowbuf *buffer, size_t count);
/* Vectors over rows from … from + count of the buffer, into `columns` [column_count]; valid until
 * rows are added, dropped or cleared. */
void rowbuf_slice(const struct rowbuf *buffer, size_t from, uint32_t count, struct vector *columns);
/* Copies row `from` of the buffer to place `to` of vectors that have room (fixed width arrays). */
void rowbuf_copy(const struct rowbuf *buffer, size_t from, struct vector *columns, uint32_t to);

#endif
