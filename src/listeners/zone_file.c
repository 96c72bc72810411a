/* zone_file.c - see zone_file.h. */
#include "listeners/zone_file.h"
#include <stdio.h>

enum err zone_file_read(void *context, const char *name, struct buf *bytes)
{
    struct os *os = context;
    struct os_file *file = NULL;
    char path[128], block[4096];
    uint64_t at = 0;
    size_t got = sizeof block;
    (void)snprintf(path, sizeof path, "/usr/share/zoneinfo/%s", name);
    enum err err = os->ops->file_open(os, path, 0, &file, NULL);
    if (err) return err == ERR_NO_MEMORY ? err : ERR_NOT_FOUND;
    for (; got == sizeof block && !err && !buf_failed(bytes); at += got) {
        err = os->ops->file_read(file, at, block, sizeof block, &got, NULL);
        if (!err) buf_add(bytes, block, got);
    }
    os->ops->file_close(file);
    return err || !buf_failed(bytes) ? err : ERR_NO_MEMORY;
}
