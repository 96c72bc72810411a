/* device_right.h - whether somebody may do something with the Device that a request names. */
#ifndef LISTENERS_DEVICE_RIGHT_H
#define LISTENERS_DEVICE_RIGHT_H

#include "listeners/service.h"

/* The right to every Device that `device` may mean: metadata.name, or path with or without the
 * node's, as the collector looks it up. Who may not do it with all devices is not told whether
 * there is one. Errors: FORBIDDEN, UNAUTHENTICATED. Main loop. */
enum err device_right(struct service *service, const struct identity *who, enum access_verb verb,
                      struct str ns, struct str device, struct why *why);

#endif
