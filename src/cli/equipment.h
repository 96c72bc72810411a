/* equipment.h - what the commands that speak to a node about its connections share. */
#ifndef CLI_EQUIPMENT_H
#define CLI_EQUIPMENT_H

#include "cli/client.h"

/* Adds a path segment, everything but unreserved characters percent-encoded (RFC 3986 section 2.3).
 */
void equipment_add_segment(struct buf *out, const char *text);
/* "/apis/millrace.io/v1/namespaces/NS/PLURAL[/NAME][/VERB]"; NS from -n. NULL parts are left out.
 */
void equipment_add_path(struct buf *out, const struct cli_args *args, const char *plural,
                        const char *name, const char *verb);
/* The text of a string or number under `key`, or "". */
struct str equipment_text(const struct doc *doc, const char *key);
/* Sends a request with a JSON body and reads the JSON answer into `arena`. Gives NULL after
 * printing why. `body` NULL = none. */
const struct doc *equipment_call(const struct cli_args *args, struct client *client,
                                 const char *method, struct buf *path, struct buf *body,
                                 struct arena *arena);

#endif
