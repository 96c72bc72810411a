/* part_column.h - one column of one block as bytes, and its statistics; see part.h and codec.h.
 *
 * Bytes of a column (codec DENSE): u8 flags; NULLS: ints, 1 = NULL; QUALITY: ints, the codes; then
 * the values that are not NULL: bools and 8-byte integers as ints, doubles, slices as codec.h says.
 *
 * Statistics stand in the index beside the column, so that an aggregate over a whole block never
 * reads it. Bytes: u8 form, varint number of NULLs, then by form
 *   COUNT: nothing
 *   INTS: zigzag varint least; varints of the others' distance from it: most, first, last; zigzag
 *     varint of the sum's upper 64 bits, varint of its lower
 *   INTS + 1 + e: the same of value · 10^e (decimals)
 *   DOUBLES: least, most, first, last, sum: 8 bytes each
 * First and last are those of the values that are not NULL. Behind INTS and decimals of a block
 * without NULLs may stand marks (codec.h), with which a part of the block is summed up from few of
 * its mini-blocks.
 *
 * Private to store/. */
#ifndef STORE_PART_COLUMN_H
#define STORE_PART_COLUMN_H

#include "sql/source.h"
#include "store/codec.h"
#include "store/part.h"

/* Encodes rows [0, v->count) as a column's stored bytes, appended to `out`, and its statistics,
 * appended to `stats`. Errors: NO_MEMORY, LIMIT. */
enum err part_column_encode(struct codec *codec, const struct vector *v, struct buf *out,
                            struct buf *stats, struct part_column *column);
/* Decodes `bytes` (column->size of them) into a vector of `rows` rows in `arena`. Errors: CORRUPT,
 * BUDGET, NO_MEMORY. */
enum err part_column_decode(struct codec *codec, const struct part_column *column,
                            const uint8_t *bytes, uint32_t rows, struct arena *arena,
                            struct vector *v, struct why *why);
/* The same for the codecs of format 1; the checksum is right and `v` begun. */
enum err part_column_decode_v1(ZSTD_DCtx *zstd, const struct part_column *column,
                               const uint8_t *bytes, struct arena *arena, struct vector *v,
                               struct why *why);

/* What the statistics of a block's column say; false: there are none, or they make no sense. */
bool part_column_summary(const struct part_column *column, uint32_t rows,
                         struct sql_summary *summary);

/* ---- summaries of some of a block's rows (part_range.c) ---- */

/* Ranges that follow each other: the i-th has the rows [ends[i], ends[i + 1]). */
struct part_ranges {
    uint32_t count;
    const uint32_t *ends;              /* [count + 1], ascending */
    bool ignores_bounds, ignores_ends; /* least and most, first and last may be left out */
};

/* What `marks` of a column's statistics are about. */
struct part_marks {
    unsigned decimals;
    int64_t sum; /* of value · 10^decimals */
    struct str marks;
};

/* False: there are none. */
bool part_column_marks(const struct part_column *column, struct part_marks *marks);
/* Where the ints of the values begin in the stored bytes of a column that has no NULL. False: it
 * has some, or its values are not just ints. */
bool part_column_ints(const struct part_column *column, struct reader *in, unsigned *decimals);
/* A summary per range, at `stride` from each other. */
void part_vector_ranges(const struct vector *v, const struct part_ranges *ranges,
                        struct sql_summary *out, size_t stride);
/* The same of a column's stored bytes, which are checked already, if that is quicker than decoding
 * all of it; else *done is false. Errors: CORRUPT, NO_MEMORY. */
enum err part_column_ranges(struct codec *codec, const struct part_column *column,
                            const uint8_t *bytes, uint32_t rows, const struct part_ranges *ranges,
                            struct sql_summary *out, size_t stride, bool *done, struct why *why);

#endif
