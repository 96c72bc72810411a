/* read.c - a small file, whole. See read.h.
 *
 * Read in pieces until its end and not by the size that it is said to have: files below /proc and
 * /sys have none, and one that grows meanwhile is bounded all the same. Owns nothing. */
#include "os/read.h"

enum { PIECE_BYTES = 16384 };

enum err os_read_file(struct os *os, const char *path, size_t bytes_max, struct buf *text,
                      struct why *why)
{
    struct os_file *file;
    size_t before = text->size, got = 1;
    MUST(path && path[0] && bytes_max > 0);
    enum err err = os->ops->file_open(os, path, 0, &file, why);
    if (err) return err;
    while (!err && got) {
        size_t have = text->size - before;
        if (have > bytes_max)
            err = why_set(why, ERR_LIMIT, "%s is larger than %zu KiB", path, bytes_max / 1024);
        else if (!buf_reserve(text, PIECE_BYTES))
            err = ERR_NO_MEMORY;
        else
            err = os->ops->file_read(file, have, text->at + text->size, PIECE_BYTES, &got, why);
        if (!err) text->size += got;
    }
    os->ops->file_close(file);
    return err;
}
