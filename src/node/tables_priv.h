/* tables_priv.h - what the two files about tables share. */
#ifndef NODE_TABLES_PRIV_H
#define NODE_TABLES_PRIV_H

#include "node/node.h"

struct service *tables_service(void *tables);

/* The schema that a Table document asks for, to be defined. Errors: EXISTS when the table is so
 * already; TYPE when the document contradicts it; NO_MEMORY. */
enum err tables_schema_of(struct service *service, const struct resource *table,
                          struct schema **schema, struct why *why);

/* The document of a table that came from the log or from DDL, in `arena`; `name` NULL = its SQL
 * name made fit for metadata.name. NULL: no memory. */
struct doc *tables_document_of(const struct schema *schema, const char *name, struct arena *arena);

#endif
