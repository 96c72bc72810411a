/* bind.h - from tree to plan: names become columns, operators become rows of the function table,
 * types are checked, WHERE is taken apart for the scan.
 *
 * Errors are sticky as in the parser (parse_priv.h): the first is kept, functions then return NULL.
 */
#ifndef SQL_BIND_H
#define SQL_BIND_H

#include "sql/plan.h"

/* Binds a query. The plans' tables stay open until plans_close. */
enum err bind_query(const struct sql_context *context, struct arena *arena,
                    const struct ast_select *select, struct plans *plans, struct why *why);
void plans_close(const struct sql_context *context, struct plans *plans);

/* INSERT … SELECT: converts the root's outputs to the types, one for each. */
enum err bind_outputs_to(const struct sql_context *context, struct arena *arena,
                         struct plans *plans, const enum type *types, struct why *why);

/* Finds the relation in the catalogue. Errors: NO_TABLE with the nearest name. */
enum err bind_table(const struct sql_context *context, struct arena *arena,
                    const struct ast_relation *relation, struct sql_table *table, struct why *why);
/* The same; schema NULL: there is none. */
enum err bind_find_table(const struct sql_context *context, struct arena *arena,
                         const struct ast_relation *relation, struct sql_table *table,
                         struct why *why);
/* The text of a view; at NULL: there is none. */
enum err bind_find_view(const struct sql_context *context, struct arena *arena,
                        const struct ast_relation *relation, struct str *text, struct why *why);
void bind_close_table(const struct sql_context *context, struct sql_table *table);

/* A value for INSERT: an expression without columns, computed and converted to `type`. */
enum err bind_value(const struct sql_context *context, struct arena *arena, const struct ast *tree,
                    enum type type, struct value *value, struct why *why);

#endif
