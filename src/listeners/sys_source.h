/* sys_source.h - the system tables (schema "sys") as a source of statements.
 *
 * What they show belongs to the main loop, a statement runs on a worker: so the loop takes a
 * snapshot of the tables that a statement may read before it is handed over (sys_snapshot_take),
 * and the worker turns that into rows. */
#ifndef LISTENERS_SYS_SOURCE_H
#define LISTENERS_SYS_SOURCE_H

#include "listeners/service.h"
#include "sql/source.h"

struct sys_snapshot;

/* Main loop. `text` is the statement: tables whose names do not occur in it are left out, and
 * so is what `identity` (shares) may not see: points, devices, connections, tables, lines,
 * sessions. NULL: no memory. */
struct sys_snapshot *sys_snapshot_take(struct service *service, struct str text,
                                       struct identity *identity);
/* Asks other tasks for what only they know: true = `done` is called on the main loop, once, and
 * nothing else may be done with the snapshot until then; false = there is nothing to ask for, and
 * `done` is not called. Main loop. */
bool sys_snapshot_ask(struct sys_snapshot *snapshot,
                      void (*done)(void *arg, enum err err, const struct why *why), void *arg);
/* Any task. NULL allowed. */
void sys_snapshot_free(struct sys_snapshot *snapshot);

struct list_table;
/* All of them. Any task. */
const struct list_table *sys_table_list(size_t *count);

/* The views that the snapshot holds, in all namespaces. `at` gives those of `ns`: name, and texts
 * borrowed from the snapshot; false: it is another namespace's. Any task. */
size_t sys_view_count(const struct sys_snapshot *snapshot);
bool sys_view_at(const struct sys_snapshot *snapshot, size_t at, struct str ns,
                 char name[SCHEMA_NAME_BYTES_MAX + 1], struct str *query, struct str *description);

/* They are read through list_source_sys, whose context is the struct sys_snapshot. The views of the
 * namespace are a source with the same context. */
extern const struct sql_source view_source;

#endif
