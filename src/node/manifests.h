/* manifests.h - the files of documents given to `millrace run`: read at start and at SIGHUP.
 *
 * What a file says is the document, owner `file`. The database keeps a copy, so that a document
 * that vanished from its file is known: it stays, and is told, until it is pruned or deleted
 * through the API. A Table is never pruned with its rows: it becomes one of the API's. */
#ifndef NODE_MANIFESTS_H
#define NODE_MANIFESTS_H

#include "listeners/service.h"

/* Reads the files into a registry and checks all documents as the API would. Blocking. Errors name
 * file, line and path; the registry may then hold a part. */
enum err manifests_read(struct service *service, struct registry *registry,
                        const char *const *files, size_t count, struct why *why);
/* After the database was read: saves what is new or changed and sees to what vanished. */
void manifests_settle(struct service *service, bool prune);
/* Reads the files again and takes over what changed, or nothing at all. Main loop; blocking. */
enum err manifests_reload(struct service *service, const char *const *files, size_t count,
                          bool prune, struct why *why);

#endif
