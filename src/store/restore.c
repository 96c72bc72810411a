/* restore.c - from a folder of backups to a data folder; see store.h and backup.h.
 *
 * The folder made here is not a node's yet: whoever calls renames it when all of it is on the disk,
 * so that a restore that was cut off leaves nothing a node could start from. The log is begun anew:
 * its first segment's header reserves every position up to the highest that the node ever gave (as
 * the backup knows it) and the wall clock, so a start continues above both. */
#include "store/backup.h"
#include "base/hash.h"
#include "store/log.h"
#include "store/store.h"
#include <stdio.h>
#include <string.h>

enum { PIECE_BYTES = 256 * 1024 };

static enum err copy_bytes(struct os *os, const struct backup_file *f, struct os_file *from,
                           struct os_file *to, struct why *why)
{
    uint8_t *bytes = mem_alloc(PIECE_BYTES);
    uint32_t crc = 0;
    uint64_t at = 0;
    size_t got = 0;
    enum err err = bytes ? os->ops->file_truncate(to, 0, why) : ERR_NO_MEMORY;
    do {
        if (!err) err = os->ops->file_read(from, at, bytes, PIECE_BYTES, &got, why);
        if (err) break;
        crc = hash_crc32c(crc, bytes, got);
        if (got) err = os->ops->file_write(to, at, bytes, got, why);
        at += got;
    } while (!err && got == PIECE_BYTES);
    mem_free(bytes);
    if (!err && (at != f->size_bytes || crc != f->crc))
        err = why_set(why, ERR_CORRUPT,
                      "%s of the backup is damaged: it is not what was written; another backup "
                      "of the folder may be whole (--name)",
                      f->stored);
    return err ? err : os->ops->file_sync(to, why);
}

/* Where a name begins that has no more folders before it: "mqtt/queues/0001" → 12. */
static size_t base_of(const char *name)
{
    const char *slash = strrchr(name, '/');
    return slash ? (size_t)(slash - name) + 1 : 0;
}

/* The folder that the file goes to: as a rule the one of the file before. */
static enum err make_parent(struct os *os, const char *folder, const struct backup_file *f,
                            const struct backup_file *before, struct why *why)
{
    char path[4200];
    size_t base = base_of(f->name);
    bool is_made = before && base_of(before->name) == base && !memcmp(before->name, f->name, base);
    if (!base || is_made) return ERR_OK;
    snprintf(path, sizeof path, "%s/%.*s", folder, (int)base - 1, f->name);
    return os->ops->path_make(os, path, why);
}

static enum err sync_parents(struct os *os, const char *folder, const struct backup_index *index,
                             struct why *why)
{
    enum err err = ERR_OK;
    for (size_t i = 0; i < index->count && !err; i++) {
        char path[4200];
        size_t base = base_of(index->files[i].name);
        const char *next = i + 1 < index->count ? index->files[i + 1].name : "";
        bool is_last = base_of(next) != base || memcmp(next, index->files[i].name, base) != 0;
        snprintf(path, sizeof path, "%s/%.*s", folder, base ? (int)base - 1 : 0,
                 index->files[i].name);
        /* One folder deeper at most, whose own entry is in the one above. */
        for (size_t size = strlen(path); is_last && base && !err && size > strlen(folder);) {
            err = os->ops->path_sync(os, path, why);
            while (path[--size] != '/') continue;
            path[size] = 0;
        }
    }
    return err;
}

static enum err restore_file(struct os *os, const char *from_folder, const char *folder,
                             const struct backup_file *f, struct why *why)
{
    char from_path[4200], to_path[4200];
    struct os_file *from, *to;
    snprintf(from_path, sizeof from_path, "%s/%s", from_folder, f->stored);
    snprintf(to_path, sizeof to_path, "%s/%s", folder, f->name);
    enum err err = os->ops->file_open(os, from_path, 0, &from, why);
    if (err == ERR_NOT_FOUND) err = ERR_CORRUPT; /* its text says which */
    if (err) return err;
    err = os->ops->file_open(os, to_path, OS_FILE_WRITE | OS_FILE_CREATE, &to, why);
    if (!err) {
        err = copy_bytes(os, f, from, to, why);
        os->ops->file_close(to);
    }
    os->ops->file_close(from);
    return err;
}

/* A log without records, whose header says which positions are taken. */
static enum err begin_log(struct os *os, const char *folder, const struct backup_index *index,
                          struct why *why)
{
    char path[4200];
    struct log *log = mem_alloc_zero(1, sizeof *log);
    uint64_t taken = index->reserved_seq > index->position ? index->reserved_seq : index->position;
    struct log_recovery recovery = {
        .last_seq = taken, .record_seq = index->position, .claimed_seq = index->position};
    snprintf(path, sizeof path, "%s/log", folder);
    enum err err = log ? os->ops->path_make(os, path, why) : ERR_NO_MEMORY;
    if (!err) err = log_open(log, os, path, index->origin, &recovery, 0, os->ops->wall_ns(os), why);
    if (log) log_close(log);
    mem_free(log);
    return err;
}

static enum err fill(struct os *os, const char *from, const struct backup_index *index,
                     const char *folder, struct why *why)
{
    char parts[4200];
    snprintf(parts, sizeof parts, "%s/parts", folder);
    enum err err = os->ops->path_make(os, folder, why);
    if (!err) err = os->ops->path_make(os, parts, why);
    for (size_t i = 0; i < index->count && !err; i++) {
        const struct backup_file *f = &index->files[i];
        err = make_parent(os, folder, f, i ? f - 1 : NULL, why);
        if (!err) err = restore_file(os, from, folder, f, why);
    }
    if (!err) err = begin_log(os, folder, index, why);
    if (!err) err = os->ops->path_sync(os, parts, why);
    if (!err) err = sync_parents(os, folder, index, why);
    return err ? err : os->ops->path_sync(os, folder, why);
}

/* The newest whose index is whole; a damaged newer one is passed over only if nobody named it, and
 * told. One that cannot be read now may be whole: nobody gets older rows than he asked for unseen.
 */
static enum err choose(struct os *os, const char *from, const char *name,
                       struct backup_index *index, backup_name damaged, struct why *why)
{
    backup_name *names;
    size_t count;
    if (name) return backup_index_read(os, from, name, index, why);
    enum err err = backup_names(os, from, &names, &count, why);
    if (err) return err;
    err = why_set(why, ERR_NOT_FOUND, "there is no whole backup in %s", from);
    for (size_t i = count; i-- > 0;) {
        err = backup_index_read(os, from, names[i], index, why);
        if (err != ERR_CORRUPT && err != ERR_FORMAT) break;
        if (!damaged[0]) memcpy(damaged, names[i], sizeof names[i]);
    }
    mem_free(names);
    return err;
}

enum err store_restore(struct os *os, const char *from, const char *name, const char *folder,
                       struct store_backup_info *info, struct why *why)
{
    struct backup_index index = {0};
    backup_name damaged = "";
    enum err err = choose(os, from, name, &index, damaged, why);
    if (err) return err;
    *info = (struct store_backup_info){.position = index.position,
                                       .origin = index.origin,
                                       .taken_ns = index.taken_ns,
                                       .files = index.count};
    (void)str_copy(info->name, sizeof info->name, str_of(index.name));
    memcpy(info->damaged, damaged, sizeof damaged);
    for (size_t i = 0; i < index.count; i++) info->size_bytes += index.files[i].size_bytes;
    err = fill(os, from, &index, folder, why);
    backup_index_free(&index);
    return err;
}
