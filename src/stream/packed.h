/* packed.h - rows between the reading of messages and the store.
 *
 * Messages are read once, in their order, by whoever knows their format (and may have to remember
 * what earlier ones said, as Sparkplug's aliases); the store's way in (listeners/ingest.h) may read
 * its text several times: again when a table was made, or when memory has come back. So messages
 * become a text of rows first, in which nothing is left to interpret. A row: u32 offset of its
 * message in the batch, i64 time, then with LEB128 lengths the table, the device, the labels and
 * the fields (key, type, fresh type, null flag, quality, value). Thread: any. */
#ifndef STREAM_PACKED_H
#define STREAM_PACKED_H

#include "base/reader.h"
#include "data/line.h"

/* Appends a row: measurement is the table, tag 0 the device, the others its labels. A failure is
 * the buffer's. */
void packed_add(struct buf *out, size_t offset, const struct line *row);
/* The next row; texts lie in the text, double[] in `arena`. False at the end; NO_MEMORY apart: then
 * `*row` has field_count 0 and `*lacks` is set. */
bool packed_next(struct reader *in, size_t *offset, struct line *row, struct arena *arena,
                 bool *lacks);

#endif
