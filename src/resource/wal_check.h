/* wal_check.h - whether SQLite's write-ahead log was damaged behind what SQLite reads of it.
 *
 * SQLite reads a log up to the first frame that is not as it was written and takes the rest for
 * what a crash cut off. A flipped bit in the middle would so take back documents that were
 * acknowledged (a token that was deleted works again) and nobody would know. What a crash cuts off
 * is one transaction at most: each is synced before the next one is written. So a frame that goes
 * on from the end of a transaction (its checksum continues that one's) behind, or at, a frame that
 * is not as written is damage. The log's last transaction stays in doubt: a crash may look the
 * same; persist.c moves it into the database soon. */
#ifndef RESOURCE_WAL_CHECK_H
#define RESOURCE_WAL_CHECK_H

#include "os/os.h"

/* Reads the log of the database at `path` ("-wal" is added); there may be none. `*mended`: one bit
 * of its header was wrong and was put right. Any task that may block, before SQLite has the file.
 * Errors: CORRUPT names file, place and the way out; IO, DISK_FULL; NO_MEMORY. */
enum err wal_check(struct os *os, const char *path, bool *mended, struct why *why);

#endif
