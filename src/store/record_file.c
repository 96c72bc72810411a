/* record_file.c - files of records on the disk: replaced whole, read whole; see record.h. */
#include "base/mem.h"
#include "store/record.h"
#include <stdio.h>

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

enum err record_read_whole(struct os *os, const char *path, uint8_t **bytes, size_t *size,
                           struct why *why)
{
    struct os_file *file;
    uint64_t file_size = 0;
    *bytes = NULL;
    *size = 0;
    enum err err = os->ops->file_open(os, path, 0, &file, why);
    if (err) return err;
    err = os->ops->file_size(file, &file_size, why);
    if (!err && !(*bytes = mem_alloc((size_t)file_size))) err = ERR_NO_MEMORY;
    if (!err) err = os->ops->file_read(file, 0, *bytes, (size_t)file_size, size, why);
    os->ops->file_close(file);
    if (!err) return ERR_OK;
    mem_free(*bytes);
    *bytes = NULL;
    return err;
}

enum err record_file_read(struct os *os, const char *path, struct record_file *head,
                          const struct record_sink *sink, uint64_t *good_end, struct why *why)
{
    uint8_t *bytes;
    size_t size;
    enum err err = record_read_whole(os, path, &bytes, &size, why);
    if (err) return err;
    err = record_file_parse(bytes, size, path, head, sink, good_end, why);
    mem_free(bytes);
    return err;
}
