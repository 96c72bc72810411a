/* follow.h - a query as something that goes on: what a sink has to know of it before it runs.
 *
 * A query over *new* rows ("follow") is one whose rows each come from one row of its first table,
 * in that table's order: columns, expressions, conditions, and joins that look something up. Then a
 * reader that knows which row of the table it had last knows what to go on with, and no row is
 * missed. What puts rows together (aggregates, windows, ORDER BY, LIMIT …) needs to know when rows
 * are complete, and is refused with the way out.
 *
 * Only the text is looked at; whether names and types fit, sql_prepare says. Any thread. */
#ifndef SQL_FOLLOW_H
#define SQL_FOLLOW_H

#include "base/mem.h"
#include "base/str.h"

/* Slices lie in the arena. */
struct sql_follow {
    struct str table;     /* the one whose new rows are followed */
    struct str reference; /* as the query calls it */
    int32_t items_at;     /* byte offset of the select list */
    bool joins;           /* a row of the table may give several */
};

/* Whether `text` is such a query, and what it says. Errors: SYNTAX, UNSUPPORTED with position and
 * the way out, NO_MEMORY. */
enum err sql_follow(struct str text, struct arena *arena, struct sql_follow *follow,
                    struct why *why);

/* Calls `use` for each relation that the query names, wherever (those of WITH, too, as often as
 * they are named); `schema` is "" for a bare name. Errors: SYNTAX, INVALID (it is no query),
 * NO_MEMORY. */
enum err sql_each_relation(struct str text, struct arena *arena,
                           void (*use)(void *arg, struct str schema, struct str name), void *arg,
                           struct why *why);

#endif
