/* guard_source.h - the store's tables as one identity may see them.
 *
 * Stands between a statement and the store: tables that the identity may do nothing with are
 * refused by name and left out of lists; of tables that it may only query in part, by device path,
 * scans read and deliver the rows of the devices allowed, as if there were no others: those are in
 * no count of what was read either. Who may do anything with a table, if only write it, finds it;
 * its rows are the right to query. Runs on the tasks of the statement. */
#ifndef LISTENERS_GUARD_SOURCE_H
#define LISTENERS_GUARD_SOURCE_H

#include "listeners/service.h"

struct guard {
    struct store *store;
    const struct identity *identity; /* borrowed; as long as the statement */
};

/* Its context is the struct guard. */
extern const struct sql_source guard_source;

#endif
