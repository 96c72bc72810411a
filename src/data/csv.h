/* csv.h - rows of comma-separated values taken off bytes, and put on them (RFC 4180, with the
 * liberties that spreadsheets and loggers take).
 *
 * Sans I/O: the reader is given the bytes that have arrived and takes one row off them, if there is
 * a whole one. A field may be quoted; a quote inside is doubled (or escaped, where the escape
 * character is another); line breaks inside quotes belong to the field; lines end in LF, CRLF or
 * CR; a UTF-8 byte order mark before the first line is passed over. Limits: CSV_FIELDS_MAX fields,
 * CSV_ROW_BYTES_MAX bytes a row, so that a missing quote costs one row and not the file. Fast path:
 * a row without quotes is found by looking for separators eight bytes at a time and its fields
 * point into the bytes. Used by COPY, import, export and Neuron's tag lists; what is written
 * here, HTTP's CSV included, the reader reads back as it was.
 * Thread: any; one owner. */
#ifndef DATA_CSV_H
#define DATA_CSV_H

#include "base/mem.h"
#include "base/str.h"

enum {
    CSV_FIELDS_MAX = 1024,
    CSV_ROW_BYTES_MAX = 1024 * 1024,
};

/* What separates and quotes: three different bytes but that escape may be the quote; none is LF or
 * CR. */
struct csv_format {
    char delimiter, quote, escape;
    /* Columns made with blanks: a run of delimiters counts as one, those at the ends of a line as
     * none. So only a quoted field can be empty. */
    bool joins_delimiters;
};
#define CSV_COMMA ((struct csv_format){',', '"', '"'})

struct csv_field {
    struct str text; /* what it says, without its quotes */
    bool is_quoted;  /* any of it stood in quotes: so an empty one is a text and no missing value */
};

/* Between rows; all zero but the format = before the first. */
struct csv_reader {
    struct csv_format format;
    uint64_t line;      /* where the row read last begins, from 1 */
    uint64_t next_line; /* where the next one begins; 0 = before the first */
    size_t field_count;
    struct csv_field fields[CSV_FIELDS_MAX];
};

/* Takes the next row off the bytes. `is_all`: nothing will follow them. *used 0: the row is not
 * whole yet or, with is_all, there is none. An empty line is a row with one empty field (where
 * delimiters are joined: with none). Texts lie in the bytes or, when they had quotes doubled, in
 * `arena`. Errors: INVALID (a quote that does not end) and LIMIT say what is wrong with the row;
 * *used then takes it off up to the end of its first line, so that the caller may go on behind it
 * (0: that end has not come yet).
 * NO_MEMORY: nothing is taken. */
enum err csv_read(struct csv_reader *reader, struct str bytes, bool is_all, struct arena *arena,
                  size_t *used, struct why *why);

/* Whether the row is an empty line. */
static inline bool csv_is_blank(const struct csv_reader *reader)
{
    return reader->field_count == 0 || (reader->field_count == 1 && !reader->fields[0].is_quoted &&
                                        reader->fields[0].text.size == 0);
}

/* Whether an unquoted field says that there is no value: nothing at all, or one of the words that
 * programs write for it (NULL, NA, N/A, NaN, in any case; \N). */
bool csv_is_missing(struct str text);

/* One field; quoted where it must be, and where the caller says so (a text that looks like a
 * missing value). The caller puts delimiters and line ends. */
void csv_add(struct buf *out, struct csv_format format, struct str text, bool must_quote);

#endif
