/* equipment.h - what the commands that speak to a node about its connections share. */
#ifndef CLI_EQUIPMENT_H
#define CLI_EQUIPMENT_H

#include "cli/client.h"

/* "/apis/millrace.io/v1/namespaces/NS/PLURAL[/NAME][/VERB]"; NS from -n. NULL parts are left out.
 */
void equipment_add_path(struct buf *out, const struct cli_args *args, const char *plural,
                        const char *name, const char *verb);
/* Sends a request with a JSON body and reads the JSON answer into `arena`. Gives NULL after
 * printing why. `body` NULL = none. */
const struct doc *equipment_call(const struct cli_args *args, struct client *client,
                                 const char *method, struct buf *path, struct buf *body,
                                 struct arena *arena);

#endif
