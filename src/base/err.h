/* err.h - how errors travel.
 *
 * A function that can fail returns `enum err`; 0 is success. Where a person will read about it, it
 * also takes a `struct why`: the text names the object, the place, the number and the way out. The
 * deepest function writes the text (why_set), each caller above it may put its own object in front
 * (why_wrap), so the finished message reads from the outside in:
 *
 *     device boiler-2: register 40012: no answer after 3 tries of 500 ms (last: connection refused)
 *
 * Thread: any; a struct why belongs to one call chain. Every function accepts why == NULL. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "base/err_table.h"
#include <stdint.h>

enum err {
#define X(symbol, text, http, sqlstate) ERR_##symbol,
    ERR_TABLE(X)
#undef X
        ERR_COUNT
};

enum { WHY_TEXT_BYTES = 480 };

struct why {
    int32_t position;          /* byte offset of the trouble in the text given, -1 = unknown */
    char text[WHY_TEXT_BYTES]; /* always terminated; cut with "..." when too long */
};

/* A `struct why` to start with: no text, no position. */
#define WHY_NONE ((struct why){.position = -1})

/* Static properties from the table. `name` is the symbol ("NO_TABLE"). Unknown codes read as
 * INTERNAL. */
const char *err_name(enum err code);
const char *err_text(enum err code);
int err_http_status(enum err code);
const char *err_sqlstate(enum err code);

/* The code for a (positive) errno value; ENOSPC -> DISK_FULL, ENOMEM -> NO_MEMORY, … else IO. */
enum err err_from_errno(int errnum);

/* Replaces the text and returns `code`, so that `return why_set(why, ERR_X, "...")` reads well. */
enum err why_set(struct why *why, enum err code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As why_set, with the byte offset in the caller's text. */
enum err why_at(struct why *why, enum err code, int32_t position, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Puts "<formatted>: " in front of the text and returns `code`; an empty text first becomes the
 * code's own text. */
enum err why_wrap(struct why *why, enum err code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The text to show: why->text, or the code's own when that is empty. Borrowed. */
const char *why_text(const struct why *why, enum err code);

/* Stays on in release builds: a broken invariant stops the program with file, line and the claim.
 */
#define MUST(claim) ((claim) ? (void)0 : must_fail(__FILE__, __LINE__, #claim))
_Noreturn void must_fail(const char *file, int line, const char *claim);

#endif
