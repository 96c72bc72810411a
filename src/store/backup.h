/* backup.h - a folder of backups: what is in it, and the index that says so.
 *
 *   parts/ID.VERSION.SUM.part   the store's parts, shared by all backups of the folder; id,
 * position of sealing and the checksum of the tail name one for ever
 *   queues/NUMBER.BYTES.CRC     files of the broker's long queues, shared in the same way
 *   NAME/                       what belongs to one backup: manifest, catalogue, resources.db …
 *   NAME.index                  written last, so that a backup without it does not count. Text:
 * millrace-backup 1 position N · reserved N · origin HEX · taken NS   (a line each) file<TAB>path
 * in the data folder<TAB>path in this folder<TAB>bytes<TAB>CRC32C in hex sum<TAB>CRC32C in hex of
 * all bytes before this line NAME is the position (16 hex digits), '-' and a number of three
 * digits: names sort by age.
 *
 * All files and folders are made for the owner alone (0600, 0700), as a node's are. Parts are
 * copied and never linked: a link would share the bad sector that the backup is there for.
 *
 * Private to store/. Thread: any that may block; nothing is shared. */
#ifndef STORE_BACKUP_H
#define STORE_BACKUP_H

#include "os/os.h"
#include "base/mem.h"

enum { BACKUP_NAME_BYTES = 64, BACKUP_STORED_BYTES = 80 };

struct backup_file {
    char name[BACKUP_NAME_BYTES];     /* in the data folder */
    char stored[BACKUP_STORED_BYTES]; /* in the backup folder */
    uint64_t size_bytes;
    uint32_t crc;
};

struct backup_index {
    char name[32];
    uint64_t position, reserved_seq, origin;
    int64_t taken_ns;
    struct backup_file *files; /* mem_free'd by backup_index_free */
    size_t count, capacity;
};

/* Adds an empty entry; NULL: no memory. Borrowed until the next one. */
struct backup_file *backup_index_add(struct backup_index *index);
const struct backup_file *backup_index_find(const struct backup_index *index, const char *stored);
void backup_index_free(struct backup_index *index);
/* Durable when it returns. */
enum err backup_index_write(struct os *os, const char *folder, const struct backup_index *index,
                            struct why *why);
/* Errors: NOT_FOUND, IO, CORRUPT, FORMAT, NO_MEMORY; then nothing is held. */
enum err backup_index_read(struct os *os, const char *folder, const char *name,
                           struct backup_index *index, struct why *why);
/* The same over bytes already read, for the above and for tests. */
enum err backup_index_parse(struct str text, struct backup_index *index, struct why *why);

/* Names of the indexes in a folder, oldest first; `*names`: mem_free. A missing folder has none. */
typedef char backup_name[32];
enum err backup_names(struct os *os, const char *folder, backup_name **names, size_t *count,
                      struct why *why);
/* What the next backup of that position is called: behind all of `names`, those of backups that
 * went not used again as long as a later one is there. False: there is no such name. */
bool backup_name_next(const backup_name *names, size_t count, uint64_t position, backup_name out);

#endif
