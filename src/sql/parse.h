/* parse.h - text to tree. See ast.h for what comes out, parse_priv.h for how. */
#ifndef SQL_PARSE_H
#define SQL_PARSE_H

#include "sql/ast.h"
#include "base/mem.h"

/* Parses one statement with an optional `;` at its end; the tree lives in `arena` and borrows from
 * `text`. Errors: SYNTAX (with position, what was found and what was expected), LIMIT (text too
 * long, nested too deeply), UNSUPPORTED, NO_MEMORY. */
enum err sql_parse(struct str text, struct arena *arena, struct ast_statement *statement,
                   struct why *why);

/* Parses a view's query: its errors, and those of its expressions later, are told at `position` of
 * the statement that names it. Also INVALID: it is no query. */
enum err sql_parse_view(struct str text, struct arena *arena, int32_t position,
                        struct ast_select **select, struct why *why);

/* Reads the name of a type, "double precision", "timestamptz". Errors: SYNTAX, NO_MEMORY. */
enum err sql_parse_type(struct str text, enum type *type, struct why *why);

/* The words that cannot be bare names, from 0; NULL at the end. */
const char *sql_keyword(size_t index);

/* "10 s", "1 hour 30 minutes", "1h30m": durations as PostgreSQL's intervals or ours spell them;
 * months and years are refused, for their length varies. */
bool sql_parse_interval(struct str text, int64_t *duration_ns);

#endif
