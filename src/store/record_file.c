/* record_file.c - files of records on the disk: replaced whole, read whole; see record.h.
 *
 * Replacing is write to NAME.new, sync, rename, sync of the folder: after power fails the old or
 * the new file is there. A failure before the rename leaves the old one; one of the folder's sync
 * is told as an error although the new file is there, and the caller writes it again.
 *
 * Reading takes the whole file into memory, since all of them are bounded by what is kept in memory
 * anyway. A disk that fails is asked again, then piece by piece: what it does not give is zeros,
 * counted, and the records' checksums tell which of them that concerns. Blocking; owns nothing. */
#include "base/mem.h"
#include "store/record.h"
#include <stdio.h>
#include <string.h>

enum err record_file_replace(struct os *os, const char *folder, const char *name,
                             const struct buf *bytes, struct why *why)
{
    if (buf_failed(bytes)) return ERR_NO_MEMORY;
    char path[4096], fresh[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    snprintf(fresh, sizeof fresh, "%s/%s.new", folder, name);
    struct os_file *file;
    enum err err = os->ops->file_open(os, fresh, OS_FILE_WRITE | OS_FILE_CREATE, &file, why);
    if (err) return err;
    err = os->ops->file_truncate(file, 0, why);
    if (!err) err = os->ops->file_write(file, 0, bytes->at, bytes->size, why);
    if (!err) err = os->ops->file_sync(file, why);
    os->ops->file_close(file);
    if (!err) err = os->ops->path_rename(os, fresh, path, why);
    if (!err) return os->ops->path_sync(os, folder, why);
    (void)os->ops->path_remove(os, fresh, NULL); /* what stays is overwritten the next time */
    return err;
}

/* One bad sector must not cost a whole file, nor one failure of a disk that works again. */
enum { READ_TRIES = 3, PIECE_BYTES = 4096 };

static enum err open_and_measure(struct os *os, const char *path, struct os_file **file,
                                 uint64_t *size, struct why *why)
{
    enum err err = os->ops->file_open(os, path, 0, file, why);
    if (err) return err;
    err = os->ops->file_size(*file, size, why);
    if (err) os->ops->file_close(*file);
    return err;
}

static enum err read_piece(struct os *os, struct os_file *file, uint64_t offset, uint8_t *bytes,
                           size_t size)
{
    enum err err = ERR_IO;
    size_t got = 0;
    for (unsigned tries = 0; tries < READ_TRIES && err == ERR_IO; tries++)
        err = os->ops->file_read(file, offset, bytes, size, &got, NULL);
    memset(bytes + got, 0, size - got);
    return err;
}

enum err record_read_whole(struct os *os, const char *path, uint8_t **bytes, size_t *size,
                           size_t *lost_bytes, struct why *why)
{
    struct os_file *file;
    uint64_t file_size = 0;
    enum err err = ERR_IO;
    *bytes = NULL;
    *size = *lost_bytes = 0;
    for (unsigned tries = 0; tries < READ_TRIES && err == ERR_IO; tries++)
        err = open_and_measure(os, path, &file, &file_size, why);
    if (err) return err;
    if (!(*bytes = mem_alloc((size_t)file_size))) err = ERR_NO_MEMORY;
    if (!err) err = os->ops->file_read(file, 0, *bytes, (size_t)file_size, size, NULL);
    if (err == ERR_IO) {
        *size = (size_t)file_size;
        for (size_t at = 0, n; at < *size; at += n) {
            n = *size - at < PIECE_BYTES ? *size - at : PIECE_BYTES;
            if (read_piece(os, file, at, *bytes + at, n)) *lost_bytes += n;
        }
        err = ERR_OK;
    }
    os->ops->file_close(file);
    return err;
}

enum err record_file_read(struct os *os, const char *path, struct record_file *head,
                          const struct record_sink *sink, uint64_t *good_end, struct why *why)
{
    uint8_t *bytes;
    size_t size, lost_bytes;
    enum err err = record_read_whole(os, path, &bytes, &size, &lost_bytes, why);
    if (err) return err;
    if (lost_bytes) {
        char text[4200];
        snprintf(text, sizeof text, "%s: %zu bytes cannot be read", path, lost_bytes);
        sink->damage(sink->arg, text);
    }
    err = record_file_parse(bytes, size, path, head, sink, good_end, why);
    mem_free(bytes);
    return err;
}
