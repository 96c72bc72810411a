/* snappy.h - undoes Snappy's block format, in which Prometheus sends its requests.
 *
 * Source: google/snappy, format_description.txt. Only decoding, and the block format only: nothing
 * here ever writes it, and 60 lines are less than another library. Thread: any. */
#ifndef DATA_SNAPPY_H
#define DATA_SNAPPY_H

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

/* The text behind `block`, at most `limit` bytes long, in the arena (budgeted there). Errors:
 * SYNTAX for what is no whole block, LIMIT, NO_MEMORY, BUDGET. */
enum err snappy_decode(struct str block, size_t limit, struct arena *arena, struct str *out,
                       struct why *why);

#endif
