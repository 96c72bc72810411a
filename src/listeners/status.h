/* status.h - what the node says about its documents: `status` of Connection, Device, Table,
 * Stream and Node.
 *
 * Looked at once a second. A status whose meaning changed (state, counts of bad points, errors,
 * conditions) is put into the registry at once, so watches see it within a second; one that only
 * grew older (last row, round trip, positions) every ten seconds. Status never reaches the disk: it
 * is known anew within a second of a start. Generation does not count it. */
#ifndef LISTENERS_STATUS_H
#define LISTENERS_STATUS_H

#include "listeners/service.h"

struct status;
/* After everything else. Main loop. */
enum err status_start(struct service *service, struct status **status, struct why *why);
void status_stop(struct status *status);

#endif
