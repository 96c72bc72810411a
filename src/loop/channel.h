/* channel.h - a byte stream between two tasks.
 *
 * Each end is an os_stream on its own loop; what one end writes, the other one reads. So whoever
 * speaks to streams on one task can serve somebody who came in on another, as the broker does with
 * clients that came over HTTP. Bytes go over as jobs, so nothing is locked and the simulated world
 * runs it as the real one does.
 *
 * Bounds. An end keeps what it is given until its owner reads it: it takes as much as the writer
 * writes, and the writer sees in os_stream_queued how much the other owner has not read yet, and in
 * on_drained that he has read all. A writer that looks at these bounds the memory; one that does
 * not would fill a socket's queue as well.
 *
 * Ends. Who closes an end is not told anything more; the other one reads what is on its way and
 * then gets on_closed (CLOSED). A loop may be stopped when its ends are closed, by a task that
 * holds the other ends, for that one does not use them meanwhile. */
#ifndef LOOP_CHANNEL_H
#define LOOP_CHANNEL_H

#include "loop/loop.h"

/* Two ends of one stream: `near` is used on `here`, `far` on `there`. `peer` (copied) is what
 * os_stream_peer says of both. An end without an owner keeps what comes; pause(false) after
 * os_stream_own has it read. Any task. Errors: NO_MEMORY. */
enum err channel_make(struct loop *here, struct loop *there, const char *peer,
                      struct os_stream **near, struct os_stream **far);

#endif
