/* json_text.h - the tokens of JSON that are not plain: texts, numbers, and what numbers and texts
 * say as values of columns.
 *
 * Shared by the pull reader of rows (json_rows.h) and the reader of whole messages
 * (stream/payload.h), so that one text means the same on every way in. Nothing here knows of
 * objects or lists. Thread: any. Source: RFC 8259 sections 6 and 7. */
#ifndef DATA_JSON_TEXT_H
#define DATA_JSON_TEXT_H

#include "base/mem.h"
#include "data/type.h"

/* Takes a text in quotes off *at … end, which stands at its first quote. `*out` points into the
 * text or, when it had escapes, into `scratch`. Errors: SYNTAX, with what is wrong in `*what`
 * (static) and `*at` at the place; NO_MEMORY. */
enum err json_take_text(const char **at, const char *end, struct arena *scratch, struct str *out,
                        const char **what);
/* Takes a number's literal. False: there is none. */
bool json_take_number(const char **at, const char *end, struct str *out, bool *is_whole);
/* Its value: bigint, ubigint or double, the first that holds it. False: out of range. */
bool json_number_value(struct str literal, bool is_whole, struct value *value);
/* The time that a literal says in units of 10^exponent ns (6 = milliseconds) since 1970, exactly as
 * far as nanoseconds go. False: out of range. */
bool json_number_time(struct str literal, int exponent, int64_t *time_ns);
/* RFC 4648 section 4, with its padding; `out` lies in `scratch`. False: it is none, or no memory.
 */
bool json_undo_base64(struct str text, struct arena *scratch, struct str *out);

#endif
