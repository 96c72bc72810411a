/* tables_priv.h - what the two files about tables share. */
#ifndef NODE_TABLES_PRIV_H
#define NODE_TABLES_PRIV_H

#include "node/node.h"

struct service *tables_service(void *tables);

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
