/* csv_value.h - what a field of a CSV file says as a value of a type.
 *
 * The same rules for the node, which stores the values, and the command line, which finds out what
 * types a file's columns have: a column is of the first type that reads all its fields. Spaces
 * around a value are passed over, but for texts. Nothing, and the words of csv_is_missing outside
 * quotes, are NULL; in quotes they are texts (and still no numbers). Thread: any; one owner. */
#ifndef DATA_CSV_VALUE_H
#define DATA_CSV_VALUE_H

#include "data/csv.h"
#include "data/time_notation.h"
#include "data/type.h"

struct csv_rules {
    bool decimal_comma;        /* "1,5" is one and a half */
    struct time_notation time; /* of the time column */
    struct time_notation cell; /* of other timestamps: AUTO, of the same zone */
};

/* Reads a field. Slices lie in the field or in `arena`. Numbers: a whole one may be written as
 * "5.0" for bigint; infinities are no values of a column, so they come as a NaN, which batches
 * store as NULL with a quality. Bytes: "\x" and hexadecimal digits, or the text's own. double[]:
 * "[1,2]" or "{1,2}". Errors: INVALID (the caller names field and type), NO_MEMORY. */
enum err csv_value_read(const struct csv_field *field, enum type type, struct csv_rules *rules,
                        struct arena *arena, struct value *value);

#endif
