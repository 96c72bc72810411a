/* tables_priv.h - what the files about tables share. */
#ifndef NODE_TABLES_PRIV_H
#define NODE_TABLES_PRIV_H

#include "base/map.h"
#include "node/node.h"

/* ---- tables_index.c: documents by SQL name. Main loop. ---- */

struct tables_index {
    const struct registry *registry;
    struct map by_name;
    struct arena arena;
    bool is_current;
};
void tables_index_init(struct tables_index *index, const struct registry *registry);
void tables_index_free(struct tables_index *index);
/* A Table document came, changed or went. */
void tables_index_changed(struct tables_index *index);
/* A document of this SQL name, another than `but` ("" = any). NULL = there is none. */
struct resource *tables_index_find(struct tables_index *index, struct str ns, const char *sql_name,
                                   struct str but);
/* For many questions at once: brought up to date, it answers as of then, whatever changes
 * meanwhile. Errors: NO_MEMORY. */
enum err tables_index_renew(struct tables_index *index);
bool tables_index_has(const struct tables_index *index, const struct schema *schema);

/* ---- tables.c ---- */

struct service *tables_service(void *tables);
struct tables_index *tables_index_of(void *tables);

/* ---- tables_document.c ---- */

/* The schema that a Table document asks for, to be defined. Errors: EXISTS when the table is so
 * already; TYPE when the document contradicts it; NO_MEMORY. */
enum err tables_schema_of(struct service *service, const struct resource *table,
                          struct schema **schema, struct why *why);

/* The metadata.name for a table that has no document: one that no document of the registry has. It
 * says the SQL name as nearly as it can, and is the same after a restart. Errors: EXISTS when all
 * are taken. */
enum err tables_document_name(const struct registry *registry, const struct schema *schema,
                              char out[RESOURCE_NAME_BYTES_MAX + 1], struct why *why);

/* The document, named `name`, of a table that came from the log or from DDL, in `arena`. NULL: no
 * memory. */
struct doc *tables_document_of(const struct schema *schema, const char *name, struct arena *arena);

#endif
