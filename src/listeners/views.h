/* views.h - CREATE VIEW and DROP VIEW: the View document in the registry, made durable.
 *
 * A view is nothing but its document {spec: {query, description}}; statements find it through
 * view_source, in the list that was taken when they began. Whoever may create, update or delete the
 * document may do so here; to read from a view one needs the rights to what its query reads, and no
 * others. */
#ifndef LISTENERS_VIEWS_H
#define LISTENERS_VIEWS_H

#include "listeners/service.h"
#include "resource/persist.h"

struct view_change {
    struct completion completion; /* first; home = main loop */
    struct service *service;
    const struct sql_view *view;   /* borrowed until done */
    struct str ns;                 /* borrowed until done */
    struct persist_change persist; /* from here on the module's */
    struct resource *resource;
};

/* The views that an identity may know of: those it may see, or may read anything with. Which of
 * them a statement uses does not show in its text, for one may stand in another. */
struct view_list {
    size_t count, capacity;
    struct resource **items; /* shared */
};
struct view_list *view_list_take(const struct service *service,
                                 const struct identity *identity); /* main loop; NULL: no memory */
void view_list_free(struct view_list *list);                       /* any task; NULL allowed */
/* Has views, but no tables; its context is the struct view_list. */
extern const struct sql_source view_source;

/* Main loop. Errors: EXISTS, NO_TABLE, READ_ONLY (a file's), INVALID (a name that no document can
 * have), and those of the disk. */
void view_change_start(struct view_change *change);

#endif
