/* put_aside.c - damaged files moved out of the way, and files read and written whole. See
 * put_aside.h.
 *
 * The note is written first: a crash in between leaves a note without its file, and never a file of
 * which nobody knows why it is there. Called at a start and by the store's checks. Owns nothing. */
#include "os/put_aside.h"
#include "base/mem.h"
#include <stdio.h>
#include <string.h>

/* A name cut off could be another file's. */
enum { PATH_BYTES = 4300, NAME_BYTES_MAX = 255 - 4 /* for .txt */ };

enum err os_read_whole(struct os *os, const char *path, struct buf *text, struct why *why)
{
    struct os_file *file = NULL;
    uint64_t size = 0;
    size_t got = 0;
    enum err err = os->ops->file_open(os, path, 0, &file, why);
    if (err) return err;
    err = os->ops->file_size(file, &size, why);
    if (!err && (size > SIZE_MAX / 2 || !buf_reserve(text, (size_t)size + 1))) err = ERR_NO_MEMORY;
    if (!err) err = os->ops->file_read(file, 0, text->at + text->size, (size_t)size, &got, why);
    text->size += got;
    os->ops->file_close(file);
    return err;
}

enum err os_write_whole(struct os *os, const char *path, struct str text, struct why *why)
{
    struct os_file *file = NULL;
    enum err err = os->ops->file_open(os, path, OS_FILE_WRITE | OS_FILE_CREATE, &file, why);
    if (err) return err;
    err = os->ops->file_truncate(file, 0, why);
    if (!err && text.size) err = os->ops->file_write(file, 0, text.at, text.size, why);
    if (!err) err = os->ops->file_sync(file, why);
    os->ops->file_close(file);
    return err;
}

static enum err copy(struct os *os, const char *from, const char *to, struct why *why)
{
    struct buf text = BUF_EMPTY;
    enum err err = os_read_whole(os, from, &text, why);
    if (!err) err = os_write_whole(os, to, buf_str(&text), why);
    buf_free(&text);
    return err;
}

enum err os_put_aside(struct os *os, const char *data, const char *from_folder, const char *name,
                      const char *as, bool copies, const char *reason, struct why *why)
{
    char folder[PATH_BYTES], from[PATH_BYTES], to[PATH_BYTES + 300], note[PATH_BYTES + 310];
    MUST(reason[0] && as[0]);
    int folder_size = snprintf(folder, sizeof folder, "%s/quarantine", data),
        from_size = snprintf(from, sizeof from, "%s/%s", from_folder, name);
    if (folder_size >= PATH_BYTES || from_size >= PATH_BYTES || strlen(as) > NAME_BYTES_MAX)
        return why_set(why, ERR_LIMIT, "put aside %.100s: its path is longer than a path may be",
                       name);
    snprintf(to, sizeof to, "%s/%s", folder, as);
    snprintf(note, sizeof note, "%s.txt", to);
    enum err err = os->ops->path_make(os, folder, why);
    if (!err) err = os_write_whole(os, note, str_of(reason), why);
    if (!err) err = copies ? copy(os, from, to, why) : os->ops->path_rename(os, from, to, why);
    if (!err) err = os->ops->path_sync(os, folder, why);
    return err || copies ? err : os->ops->path_sync(os, from_folder, why);
}
