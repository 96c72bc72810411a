/* views.h - CREATE VIEW and DROP VIEW: the View document in the registry, made durable.
 *
 * A view is nothing but its document {spec: {query, description}}; statements read it through
 * sys_source's snapshot. Whoever may create, update or delete the document may do so here; to read
 * from a view one needs the rights to what its query reads, and no others. */
#ifndef LISTENERS_VIEWS_H
#define LISTENERS_VIEWS_H

#include "listeners/resources.h"
#include "listeners/service.h"
#include "resource/persist.h"

struct view_change {
    struct completion completion; /* first; home = main loop */
    struct service *service;
    const struct sql_view *view; /* borrowed until done */
    struct str ns;               /* borrowed until done */
    struct resources_turn turn;  /* from here on the module's */
    struct persist_change persist;
    struct resource *resource;
};

/* Main loop. Errors: EXISTS, NO_TABLE, READ_ONLY (a file's), INVALID (a name that no document can
 * have), and those of the disk. */
void view_change_start(struct view_change *change);

#endif
