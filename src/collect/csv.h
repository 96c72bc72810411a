/* csv.h - comma-separated text (RFC 4180) as a table of slices.
 *
 * Lines end with LF or CR LF; a field in quotes may hold commas, line ends and doubled quotes. A
 * byte order mark in front, as Excel writes it, is passed over. Thread: any. */
#ifndef COLLECT_CSV_H
#define COLLECT_CSV_H

#include "base/mem.h"
#include "base/str.h"

enum { CSV_FIELDS_MAX = 64, CSV_ROWS_MAX = 1000000 };

struct csv_row {
    struct str fields[CSV_FIELDS_MAX];
    size_t field_count;
    uint32_t line; /* on which it begins, from 1 */
};

/* Takes the next row off `*rest`, which points into the text read; `*line` counts. Quoted fields
 * with doubled quotes are copied into `arena`, all others borrow from the text. Empty lines are
 * passed over. `*has_row` is false at the end. Errors: SYNTAX (a quote without end, too many
 * fields), NO_MEMORY. */
enum err csv_next(struct str *rest, uint32_t *line, struct arena *arena, struct csv_row *row,
                  bool *has_row, struct why *why);
/* Adds one field, quoted where it must be. `is_first`: no comma before it. */
void csv_add(struct buf *out, struct str field, bool is_first);

#endif
