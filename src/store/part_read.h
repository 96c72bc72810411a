/* part_read.h - what the files that read one part share (part_read.c, part_directory.c,
 * part_group.c); see part.h. Every count and offset is checked against the file's size before it is
 * used, every section against its checksum. Private to them. */
#ifndef STORE_PART_READ_H
#define STORE_PART_READ_H

#include "store/part.h"

enum { PART_PATH_BYTES_MAX = 1024, PART_TABLE_BYTES_V2 = 12 };
#define PART_ENTRY_GROUP ((uint32_t)1 << 31) /* in the rows of an entry: many series */

static inline size_t part_table_bytes(const struct part_file *file)
{
    return file->version < 3 ? PART_TABLE_BYTES_V2 : PART_TABLE_BYTES;
}
enum err part_bad(struct why *why, const char *what); /* CORRUPT */
enum err part_read_at(struct part_file *file, uint64_t offset, void *bytes, size_t size,
                      struct why *why);
/* Makes [offset, offset + size) visible in the window until the next call. `from` ≤ offset: bytes
 * before it that will be wanted soon. */
enum err part_view_at(struct part_file *file, uint64_t from, uint64_t offset, size_t size,
                      const uint8_t **bytes, struct why *why);
/* A block as it stands in a run. */
enum err part_block_parse(const struct part_file *file, struct reader *in, struct part_block *block,
                          struct arena *arena, struct why *why);
/* A column's stored bytes, in the window. */
enum err part_column_bytes(struct part_file *file, const struct part_block *block,
                           const struct part_column *column, const uint8_t **bytes,
                           struct why *why);

#endif
