/* sqlite_vfs.h - SQLite's view of the world: its files, clock and randomness are those of a `struct
 * os`. Private to resource/.
 *
 * So the registry's database lives in the simulated world like everything else, and a full disk or
 * a power loss in the middle of a commit is an ordinary test. */
#ifndef RESOURCE_SQLITE_VFS_H
#define RESOURCE_SQLITE_VFS_H

#include "os/os.h"

struct sqlite_vfs;

/* Makes the world known to SQLite under a name of its own. `os` is borrowed. Thread: any. */
enum err sqlite_vfs_new(struct os *os, struct sqlite_vfs **vfs);
/* All its databases are closed. NULL allowed. */
void sqlite_vfs_free(struct sqlite_vfs *vfs);
/* For sqlite3_open_v2. Borrowed. */
const char *sqlite_vfs_name(const struct sqlite_vfs *vfs);
/* The text of the last failure ("write /data/resources.db-wal: no space left"), or "". Borrowed; on
 * the task that uses the database. */
const char *sqlite_vfs_last_error(const struct sqlite_vfs *vfs);

#endif
