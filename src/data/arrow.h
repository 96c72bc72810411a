/* arrow.h - rows as an Arrow IPC stream, which pandas, polars, DuckDB and the like read without
 * parsing.
 *
 * A stream is a schema message, record batches of at most ARROW_BATCH_ROWS rows or about
 * ARROW_BATCH_BYTES, and an end mark. Rows are gathered by column and go out when a batch is full,
 * so memory is bounded by one batch and one row. A column's unit is its field's metadata "unit".
 *
 *   bool Bool · bigint Int64 · ubigint UInt64 · double Float64 · text Utf8 · bytes Binary ·
 *   timestamp Timestamp(ns, "UTC") · double[] List<Float64> (an item that is missing: NaN) ·
 *   no type (only NULLs) Null
 *
 * Source: "Arrow Columnar Format" 1.x, arrow.apache.org (metadata version V5). Thread: any; one
 * owner. */
#ifndef DATA_ARROW_H
#define DATA_ARROW_H

#include "base/mem.h"
#include "data/type.h"

enum { ARROW_BATCH_ROWS = 64 * 1024, ARROW_BATCH_BYTES = 256 * 1024 };

struct arrow_column {
    const char *name, *unit; /* unit: NULL or "" = none */
    enum type type;
};

struct arrow_writer;

/* Writes the schema into `out`. `columns` is not kept. NULL: no memory. */
struct arrow_writer *arrow_new(const struct arrow_column *columns, size_t count, struct buf *out);
/* Adds a row of as many values, of the columns' types or NULL; a full batch goes into `out`. Where
 * memory ends, `out` fails. */
void arrow_row(struct arrow_writer *writer, const struct value *values, struct buf *out);
/* The rows left and the end mark. */
void arrow_end(struct arrow_writer *writer, struct buf *out);
void arrow_free(struct arrow_writer *writer); /* NULL is fine */

#endif
