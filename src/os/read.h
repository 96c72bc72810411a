/* read.h - a small file, whole: certificates, keys, lists. */
#ifndef OS_READ_H
#define OS_READ_H

#include "base/str.h"
#include "os/os.h"

enum { OS_PEM_BYTES_MAX = 1 << 20 }; /* of a file with certificates or a key */

/* Appends the file to `text`. Blocking (see file_open). Errors: as file_open and file_read; LIMIT:
 * larger than `bytes_max`, with the path; NO_MEMORY. */
enum err os_read_file(struct os *os, const char *path, size_t bytes_max, struct buf *text,
                      struct why *why);

#endif
