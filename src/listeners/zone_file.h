/* zone_file.h - time zones from the machine's IANA database, /usr/share/zoneinfo.
 *
 * A file has at most 4 KiB and is read when a statement or a session names its zone. Thread: any; a
 * session reads on the main loop, as its next statement depends on it. */
#ifndef LISTENERS_ZONE_FILE_H
#define LISTENERS_ZONE_FILE_H

#include "base/str.h"
#include "os/os.h"

/* The bytes of a zone's file; fits sql_context.zone_load, `context` is the struct os. `name` cannot
 * leave the folder (zone_name_is_safe). Errors: NOT_FOUND, IO, NO_MEMORY. */
enum err zone_file_read(void *context, const char *name, struct buf *bytes);

#endif
