/* put_aside.h - a damaged file leaves the place where it is read, and is kept for who wants to
 * look: "quarantine/NAME" in the data folder, with a note "NAME.txt" that says why.
 *
 * Thread: one that may block. */
#ifndef OS_PUT_ASIDE_H
#define OS_PUT_ASIDE_H

#include "os/os.h"

/* Moves `name` of the folder `from` into data/quarantine/`as`; `copies`: it stays where it is, too,
 * for it is to be replaced. Durable when it returns. Errors: LIMIT (a path is
 * too long), IO, DISK_FULL, NO_MEMORY. */
enum err os_put_aside(struct os *os, const char *data, const char *from, const char *name,
                      const char *as, bool copies, const char *reason, struct why *why);
/* Reads a whole file into `text` (appends). Errors: NOT_FOUND, IO, NO_MEMORY. */
enum err os_read_whole(struct os *os, const char *path, struct buf *text, struct why *why);
/* Writes a whole file and syncs it, not its folder. Errors: IO, DISK_FULL. */
enum err os_write_whole(struct os *os, const char *path, struct str text, struct why *why);

#endif
