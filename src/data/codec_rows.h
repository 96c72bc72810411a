/* codec_rows.h - a sealed batch as bytes and back: the body of the log's ROWS record.
 *
 * Self-contained but for the schema (column ids) and the series ids; little-endian; version in the
 * first byte. Reading goes through the byte reader and trusts nothing. */
#ifndef DATA_CODEC_ROWS_H
#define DATA_CODEC_ROWS_H

#include "base/reader.h"
#include "data/batch.h"

/* Appends the encoded batch. Every device must have its series id. */
void codec_rows_write(struct buf *out, const struct batch *batch);

/* Decodes into a sealed batch whose devices carry only series ids (paths empty; the store knows
 * them). Columns unknown to the schema are an error; values of a column that was widened since are
 * converted. Errors: CORRUPT with the offset, NO_MEMORY, BUDGET. */
enum err codec_rows_read(struct reader *in, struct schema *schema, struct budget *budget,
                         struct batch **batch, struct why *why);

/* The table id of an encoded batch without decoding it; 0 when too short. */
uint32_t codec_rows_table(struct str bytes);

#endif
