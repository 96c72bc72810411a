/* csv_guess.h - finds out how a CSV file is made from how it begins.
 *
 * Delimiter: the one that parts all rows into equally many fields, the most of them. Header: the
 * first row holds no number and no time. Types: the narrowest that reads all values (bool, bigint,
 * ubigint, double, timestamp, bytes, double[], else text; numbers with leading zeros are texts,
 * since they name things). Time: a column with a usual name, or the first one whose values are
 * dates. Device: a column with a usual name. What the caller knows already is not guessed. Used by
 * `millrace import`. Thread: any. */
#ifndef DATA_CSV_GUESS_H
#define DATA_CSV_GUESS_H

#include "data/csv_value.h"

enum { CSV_GUESS_ROWS_MAX = 10000, CSV_GUESS_BYTES = 4 * 1024 * 1024 };

/* Known beforehand; all zero = nothing is. */
struct csv_hints {
    char delimiter; /* 0 = not known; ' ' joins */
    bool decimal_comma, no_header;
    struct str time, time_format; /* the column; its notation */
    struct str device;
};

struct csv_guess_column {
    const char *name;   /* trimmed; "" where the header has none; "c1"… without a header */
    enum type type;     /* TEXT where there was no value */
    const char *sample; /* the first value, at most 40 bytes */
    uint64_t missing;
    unsigned fits; /* the guess's own: bits of types */
};

struct csv_guess {
    struct csv_format format;
    bool has_header, is_all; /* is_all: the whole file was looked at */
    uint64_t rows;           /* looked at, without the header */
    size_t header_bytes;     /* to be passed over, with a byte order mark */
    uint64_t header_lines;
    size_t column_count;
    struct csv_guess_column *columns;
    int time, device; /* columns, or -1 */
    const char *time_format;
};

/* Texts lie in `arena`. `is_all`: `head` is the whole file. Errors: INVALID (nothing in it, a
 * column that is not there, no rows of equal width), NO_MEMORY. */
enum err csv_guess(struct str head, bool is_all, const struct csv_hints *hints, struct arena *arena,
                   struct csv_guess *guess, struct why *why);

#endif
