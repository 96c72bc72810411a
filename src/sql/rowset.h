/* rowset.h - rows kept in memory, column by column, in blocks of SQL_CHUNK_ROWS.
 *
 * For operators that must hold rows back: sorting, the one side of a join, window functions. All
 * memory is that of the set's arena, which counts against the statement's budget. Thread: one. */
#ifndef SQL_ROWSET_H
#define SQL_ROWSET_H

#include "sql/expr.h"

/* A column that is kept; type NONE: it is left out. */
struct rowset_column {
    enum type type;
    bool with_quality;
};

struct rowset {
    struct arena arena;
    size_t column_count;
    const struct rowset_column *columns; /* borrowed */
    struct vector **blocks; /* [block][column]; all arrays present; a block does not move */
    size_t block_count, block_capacity;
    uint32_t row_count; /* at most block_count blocks full of them */
};

enum { ROWSET_ROWS_MAX = INT32_MAX };

void rowset_init(struct rowset *set, struct budget *budget, const struct rowset_column *columns,
                 size_t column_count);
void rowset_free(struct rowset *set);
/* Copies one row, or all rows of the view, texts too. False: no memory, or too many rows; what was
 * copied before stays, a row in part does not count. */
bool rowset_add(struct rowset *set, const struct vector *columns, uint32_t row);
bool rowset_add_all(struct rowset *set, const struct vector *columns, const struct view *view);

/* The vector that holds the cell of (row, column), at row % SQL_CHUNK_ROWS. */
static inline const struct vector *rowset_cell(const struct rowset *set, uint32_t row,
                                               size_t column)
{
    return &set->blocks[row / SQL_CHUNK_ROWS][column];
}
static inline struct value rowset_get(const struct rowset *set, uint32_t row, size_t column)
{
    return vector_get(rowset_cell(set, row, column), row % SQL_CHUNK_ROWS);
}

/* A block's rows as they stand, without copying: vectors into `out` [column_count] (those left out
 * stay as they are), and their number. */
uint32_t rowset_block(const struct rowset *set, size_t block, struct vector *out);

/* Makes vectors that take SQL_CHUNK_ROWS cells of each kept column. */
bool rowset_make_vectors(const struct rowset *set, struct arena *arena, struct vector *out);
/* The rows listed (UINT32_MAX: NULLs) into vectors made so; texts are borrowed from the set. */
void rowset_gather(const struct rowset *set, const uint32_t *rows, uint32_t count,
                   struct vector *out);

/* <0, 0, >0; the same whenever it is asked. */
typedef int rowset_compare(const void *context, uint32_t a, uint32_t b);
struct rowset_order {
    rowset_compare *compare;
    const void *context;
    enum err (*check)(void *run); /* asked every few thousand rows; an error ends it. May be NULL */
    void *run;
};
/* Sorts the row numbers `*rows` [count] by a stable merge sort; the list may then be another one of
 * `arena`. Errors: NO_MEMORY, with which the list is as it was, and those of `check`, with which it
 * is in no order. */
enum err rowset_sort_list(struct arena *arena, uint32_t **rows, uint32_t count,
                          const struct rowset_order *order);
/* The same for the rows first … first + count - 1, in a new list. NULL: error in *err. */
uint32_t *rowset_sort(struct arena *arena, uint32_t first, uint32_t count,
                      const struct rowset_order *order, enum err *err);

#endif
