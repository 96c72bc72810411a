/* pg_copy_text.h - COPY's three notations of rows: text, CSV and binary, in and out.
 *
 * Sans I/O: the reader is given the bytes that have arrived and takes one row off them, if there is
 * a whole one. Thread: any. Source: PostgreSQL documentation, COPY, "File Formats". */
#ifndef LISTENERS_PG_COPY_TEXT_H
#define LISTENERS_PG_COPY_TEXT_H

#include "base/mem.h"
#include "base/reader.h"
#include "data/csv.h"

enum {
    PG_COPY_FIELDS_MAX = CSV_FIELDS_MAX,
    PG_COPY_ROW_BYTES_MAX = CSV_ROW_BYTES_MAX,
    PG_COPY_NULL_BYTES = 64,
};

enum pg_copy_format { PG_COPY_TEXT, PG_COPY_CSV, PG_COPY_BINARY };

struct pg_copy_options {
    enum pg_copy_format format;
    char delimiter, quote, escape;
    char null[PG_COPY_NULL_BYTES];
    bool has_header, header_must_match;
};

/* What a format means when nothing else is said. */
void pg_copy_defaults(enum pg_copy_format format, struct pg_copy_options *options);

struct pg_copy_field {
    bool is_null;
    struct str bytes;
};

/* Between rows; all zero = before the first. */
struct pg_copy_reader {
    struct pg_copy_options options;
    uint64_t line;      /* where the row read last begins, from 1 (binary: its number) */
    uint64_t next_line; /* the module's own */
    bool has_begun;     /* binary: past the signature */
    bool is_over;       /* the end marker was read; what follows is not looked at */
    size_t field_count;
    struct pg_copy_field fields[PG_COPY_FIELDS_MAX];
    struct csv_reader csv;
};

/* Takes the next row off the bytes. `is_all`: nothing will follow them. *used 0: the row is not
 * whole yet, or (with is_all) there is none. *has_row false with *used > 0: an empty line, or the
 * end marker. Texts lie in the bytes or, when they had escapes, in `arena`. Errors: INVALID says
 * what is wrong with the row; LIMIT; NO_MEMORY. The reader then cannot go on. */
enum err pg_copy_read(struct pg_copy_reader *reader, struct str bytes, bool is_all,
                      struct arena *arena, size_t *used, bool *has_row, struct why *why);

/* What CSV's options say to its reader and writer. */
struct csv_format pg_copy_csv_format(const struct pg_copy_options *options);

/* Out: one field of text. */
void pg_copy_add_text(const struct pg_copy_options *options, struct buf *out, struct str text);
extern const char pg_copy_signature[11];

#endif
