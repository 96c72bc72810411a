/* json_rows.h - rows as JSON: a pull reader that makes no tree.
 *
 * {"time": …, "device": "line3/press07", "<column>": value, "<column>@q": "BadNoCommunication"}
 *
 * One object is one row. A text holds one row, several behind each other (one a line, as NDJSON has
 * it), or arrays of them. `time`: RFC 3339, or a number of milliseconds since 1970; absent = the
 * reader's caller decides. Values: null, true, false, numbers, texts, arrays of numbers.
 * "<column>@q" is that value's quality, by name or number; "label.<name>" is a label of the device,
 * a text. Of equal keys the later one counts.
 *
 * What is wrong with one row spoils that row alone; text that is no JSON ends the reading, since
 * nobody knows where the next row begins. Thread: any. Source: RFC 8259. */
#ifndef DATA_JSON_ROWS_H
#define DATA_JSON_ROWS_H

#include "data/line.h"

enum { JSON_ROWS_DEPTH_MAX = 32 }; /* of values that are skipped */

struct json_rows {
    const char *start, *at, *end;
    bool in_array, any; /* a list is open; it has had a row */
    bool is_over;       /* the end, or text that is no JSON */
};

void json_rows_init(struct json_rows *in, struct str text);

/* The next row into `row`: its fields, its time; tag 0 is `device`, empty where only labels are
 * there, the labels follow it, sorted; measurement is empty. `*found` false: no row is left. Texts
 * point into the text or, when they had escapes, into `scratch`. Errors: SYNTAX (with the byte's
 * position; the reading is over), and for one row TYPE, RANGE, LIMIT, INVALID; NO_MEMORY. */
enum err json_rows_next(struct json_rows *in, struct arena *scratch, struct line *row, bool *found,
                        struct why *why);

/* Makes a value that JSON wrote one of a column's type, where they fit: whole numbers and doubles
 * into each other when nothing is lost, milliseconds and RFC 3339 into timestamp, digits into
 * ubigint (JSON readers lose digits above 2^53), base64 into bytes (`scratch` holds them). NULL
 * fits all. */
bool json_rows_convert(struct value *value, enum type type, struct arena *scratch);

#endif
