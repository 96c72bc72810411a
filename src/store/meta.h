/* meta.h - the data folder's identity: its format, and the origin that everything written here
 * carries.
 *
 * Text of four lines (millrace data, format N, origin HEX, sum HEX: CRC32C of the bytes before), in
 * two files, `meta` and `meta.copy`; either is enough. Folders of before the sum have one file of
 * three lines. A node has to start whatever became of them: without a whole copy the origin is
 * taken from what was written under it, the log's segments or the parts.
 *
 * Private to store/. Thread: one that may block, before or without the store's tasks. */
#ifndef STORE_META_H
#define STORE_META_H

#include "os/os.h"

enum { META_FORMAT = 5, META_FORMAT_OLDEST = 2 }; /* of the data folder */

enum { META_COPIES = 2 };
extern const char *const meta_names[META_COPIES];

struct meta {
    uint64_t format, origin;
    enum err copies[META_COPIES]; /* of each: OK, NOT_FOUND, CORRUPT, IO */
    bool is_rebuilt;              /* no copy is whole: the origin is from elsewhere */
};

/* Errors: NOT_FOUND (a folder without anything of a node), FORMAT (made by another version), IO (a
 * disk that cannot be read now), NO_MEMORY; CORRUPT: there are files of a node, and none says its
 * origin. */
enum err meta_read(struct os *os, const char *folder, struct meta *meta, struct why *why);
/* Both copies, in the present format; durable when it returns. */
enum err meta_write(struct os *os, const char *folder, uint64_t origin, struct why *why);

#endif
