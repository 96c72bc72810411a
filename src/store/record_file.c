/* record_file.c - files of records on the disk: replaced whole, read; see record.h.
 *
 * Replacing is write to NAME.new, sync, rename, sync of the folder: after power fails the old or
 * the new file is there. A failure before the rename leaves the old one; one of the folder's sync
 * is told as an error although the new file is there, and the caller writes it again.
 *
 * Blocking; owns nothing. */
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

enum err record_file_read(struct os *os, const char *path, struct record_file *head,
                          const struct record_sink *sink, uint64_t *good_end, struct why *why)
{
    struct record_source source;
    enum err err = record_source_open(&source, os, path, why);
    if (err) return err;
    err = record_file_parse(&source, path, head, sink, good_end, why);
    if (source.lost_bytes) {
        char text[4200];
        snprintf(text, sizeof text, "%s: %zu bytes cannot be read", path, source.lost_bytes);
        sink->damage(sink->arg, text);
    }
    record_source_close(&source);
    return err;
}
