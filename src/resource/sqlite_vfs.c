/* sqlite_vfs.c - see sqlite_vfs.h and https://www.sqlite.org/vfs.html.
 *
 * One connection uses a database, and the store's lock on the data folder keeps other processes
 * out: so there are no locks between connections here and no shared memory. That suffices for a
 * write-ahead log when the connection says `PRAGMA locking_mode=EXCLUSIVE` before its first access
 * (https://www.sqlite.org/wal.html#noshm). Temporary files are refused: `PRAGMA temp_store=MEMORY`.
 *
 * A log that was found at opening may hold pages that no sync ever made durable: those of a sync
 * that failed before, which the kernel shows and will not write again. SQLite would take them for
 * committed and write its next commits behind them. So before its first sync such a log is written
 * anew as it is read; likewise after a failed sync.
 *
 * A file that was made here gets its name into the folder durably with its first sync, as SQLite's
 * own VFS does it for journals: a log whose name is lost is a log that is lost. */
#include "resource/sqlite_vfs.h"
#include "base/mem.h"
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

enum { PATH_BYTES = 4096, SECTOR_BYTES = 4096, NAME_BYTES = 32, COPY_BYTES = 65536 };

struct sqlite_vfs {
    sqlite3_vfs base; /* first */
    struct os *os;
    struct why last;
    char name[NAME_BYTES];
};

struct vfs_file {
    sqlite3_file base; /* first */
    struct sqlite_vfs *vfs;
    struct os_file *file;
    bool name_pending; /* its name may not be durable */
    bool is_log;       /* write-ahead log or rollback journal */
    bool unsure;       /* what is read may not be what is durable after the next sync */
    bool delete_on_close;
    char path[PATH_BYTES];
};

static struct sqlite_vfs *vfs_of(sqlite3_vfs *vfs)
{
    return (struct sqlite_vfs *)vfs;
}

static struct vfs_file *file_of(sqlite3_file *file)
{
    return (struct vfs_file *)file;
}

static int code_of(enum err err, int otherwise)
{
    if (err == ERR_OK) return SQLITE_OK;
    if (err == ERR_DISK_FULL) return SQLITE_FULL;
    return err == ERR_NO_MEMORY ? SQLITE_IOERR_NOMEM : otherwise;
}

/* ---- one file ---- */

static int file_close(sqlite3_file *base)
{
    struct vfs_file *f = file_of(base);
    const struct os_ops *ops = f->vfs->os->ops;
    ops->file_close(f->file);
    /* What stays of a file that should go is removed the next time. */
    if (f->delete_on_close) (void)ops->path_remove(f->vfs->os, f->path, NULL);
    f->file = NULL;
    return SQLITE_OK;
}

static int file_read(sqlite3_file *base, void *to, int size, sqlite3_int64 offset)
{
    struct vfs_file *f = file_of(base);
    size_t got = 0, want = (size_t)size;
    enum err err =
        f->vfs->os->ops->file_read(f->file, (uint64_t)offset, to, want, &got, &f->vfs->last);
    if (err) return code_of(err, SQLITE_IOERR_READ);
    if (got == want) return SQLITE_OK;
    memset((char *)to + got, 0, want - got); /* as SQLite demands */
    return SQLITE_IOERR_SHORT_READ;
}

static int file_write(sqlite3_file *base, const void *from, int size, sqlite3_int64 offset)
{
    struct vfs_file *f = file_of(base);
    enum err err =
        f->vfs->os->ops->file_write(f->file, (uint64_t)offset, from, (size_t)size, &f->vfs->last);
    return code_of(err, SQLITE_IOERR_WRITE);
}

static int file_truncate(sqlite3_file *base, sqlite3_int64 size)
{
    struct vfs_file *f = file_of(base);
    enum err err = f->vfs->os->ops->file_truncate(f->file, (uint64_t)size, &f->vfs->last);
    return code_of(err, SQLITE_IOERR_TRUNCATE);
}

static enum err sync_folder(struct sqlite_vfs *vfs, const char *path)
{
    char folder[PATH_BYTES];
    MUST(str_copy(folder, sizeof folder, str_of(path)));
    char *slash = strrchr(folder, '/');
    if (slash) slash[slash == folder] = 0;
    return vfs->os->ops->path_sync(vfs->os, slash ? folder : ".", &vfs->last);
}

/* Writes the file as it is read, so that the next sync covers all of it. */
static enum err write_anew(struct vfs_file *f)
{
    const struct os_ops *ops = f->vfs->os->ops;
    void *bytes = mem_alloc(COPY_BYTES);
    if (!bytes) return ERR_NO_MEMORY;
    enum err err = ERR_OK;
    size_t got = COPY_BYTES;
    for (uint64_t at = 0; !err && got == COPY_BYTES; at += got) {
        err = ops->file_read(f->file, at, bytes, COPY_BYTES, &got, &f->vfs->last);
        if (!err && got) err = ops->file_write(f->file, at, bytes, got, &f->vfs->last);
    }
    mem_free(bytes);
    return err;
}

static int file_sync(sqlite3_file *base, int flags)
{
    struct vfs_file *f = file_of(base);
    (void)flags; /* a data sync is all there is */
    enum err err = f->unsure ? write_anew(f) : ERR_OK;
    if (err) return code_of(err, SQLITE_IOERR_FSYNC);
    f->unsure = f->is_log;
    err = f->vfs->os->ops->file_sync(f->file, &f->vfs->last);
    if (err) return code_of(err, SQLITE_IOERR_FSYNC);
    f->unsure = false;
    if (f->name_pending) err = sync_folder(f->vfs, f->path);
    if (err) return code_of(err, SQLITE_IOERR_DIR_FSYNC);
    f->name_pending = false;
    return SQLITE_OK;
}

static int file_size(sqlite3_file *base, sqlite3_int64 *size)
{
    struct vfs_file *f = file_of(base);
    uint64_t bytes = 0;
    enum err err = f->vfs->os->ops->file_size(f->file, &bytes, &f->vfs->last);
    *size = (sqlite3_int64)bytes;
    return code_of(err, SQLITE_IOERR_FSTAT);
}

static int file_lock(sqlite3_file *base, int level)
{
    (void)base;
    (void)level;
    return SQLITE_OK;
}

static int file_check_lock(sqlite3_file *base, int *is_reserved)
{
    (void)base;
    *is_reserved = 0;
    return SQLITE_OK;
}

static int file_control(sqlite3_file *base, int what, void *arg)
{
    (void)base;
    if (what != SQLITE_FCNTL_PERSIST_WAL) return SQLITE_NOTFOUND;
    *(int *)arg = 1; /* the log stays when the database is closed: a full disk has room for it */
    return SQLITE_OK;
}

static int sector_size(sqlite3_file *base)
{
    (void)base;
    return SECTOR_BYTES;
}

/* A write that tears spoils nothing beside what it writes: SQLite's assumption for Unix, too. */
static int device_traits(sqlite3_file *base)
{
    (void)base;
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static const sqlite3_io_methods methods = {
    .iVersion = 1,
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_lock,
    .xCheckReservedLock = file_check_lock,
    .xFileControl = file_control,
    .xSectorSize = sector_size,
    .xDeviceCharacteristics = device_traits,
};

/* ---- the world ---- */

static int vfs_open(sqlite3_vfs *base, const char *path, sqlite3_file *base_file, int flags,
                    int *flags_out)
{
    struct sqlite_vfs *vfs = vfs_of(base);
    struct vfs_file *f = file_of(base_file);
    *f = (struct vfs_file){.vfs = vfs};
    if (!path || !str_copy(f->path, sizeof f->path, str_of(path))) return SQLITE_CANTOPEN;
    struct os_path_info info;
    unsigned how = flags & SQLITE_OPEN_READWRITE ? OS_FILE_WRITE : 0;
    if (flags & SQLITE_OPEN_CREATE) how |= OS_FILE_CREATE;
    if (flags & SQLITE_OPEN_EXCLUSIVE) how |= OS_FILE_EXCLUSIVE;
    bool was_there = vfs->os->ops->path_info(vfs->os, path, &info, NULL) != ERR_NOT_FOUND;
    enum err err = vfs->os->ops->file_open(vfs->os, path, how, &f->file, &vfs->last);
    if (err) return code_of(err, SQLITE_CANTOPEN);
    /* Also of one that was there: whoever made it may not have come to its first sync. */
    f->name_pending = true;
    f->is_log = flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL);
    f->unsure = f->is_log && was_there;
    f->delete_on_close = flags & SQLITE_OPEN_DELETEONCLOSE;
    f->base.pMethods = &methods;
    if (flags_out) *flags_out = flags;
    return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *base, const char *path, int sync)
{
    struct sqlite_vfs *vfs = vfs_of(base);
    enum err err = vfs->os->ops->path_remove(vfs->os, path, &vfs->last);
    if (err == ERR_NOT_FOUND) return SQLITE_IOERR_DELETE_NOENT;
    if (err) return code_of(err, SQLITE_IOERR_DELETE);
    return sync ? code_of(sync_folder(vfs, path), SQLITE_IOERR_DIR_FSYNC) : SQLITE_OK;
}

/* "Is it there" is answered with yes or no or an error, never by guessing: a journal that seems to
 * be missing is a commit that is lost. */
static int vfs_access(sqlite3_vfs *base, const char *path, int flags, int *result)
{
    struct sqlite_vfs *vfs = vfs_of(base);
    struct os_path_info info;
    enum err err = vfs->os->ops->path_info(vfs->os, path, &info, &vfs->last);
    /* An empty journal has nothing to say: it does not exist, as SQLite's own VFS puts it. */
    *result = err == ERR_OK && (flags != SQLITE_ACCESS_EXISTS || info.size_bytes > 0);
    return err == ERR_NOT_FOUND ? SQLITE_OK : code_of(err, SQLITE_IOERR_ACCESS);
}

static int vfs_full_path(sqlite3_vfs *base, const char *path, int out_bytes, char *out)
{
    (void)base;
    return str_copy(out, (size_t)out_bytes, str_of(path)) ? SQLITE_OK : SQLITE_CANTOPEN;
}

static int vfs_random(sqlite3_vfs *base, int size, char *out)
{
    struct os *os = vfs_of(base)->os;
    os->ops->random(os, out, (size_t)size);
    return size;
}

static int vfs_sleep(sqlite3_vfs *base, int microseconds)
{
    (void)base; /* only waits for locks would sleep, and there are none */
    (void)microseconds;
    return 0;
}

static int vfs_time_ms(sqlite3_vfs *base, sqlite3_int64 *now)
{
    static const sqlite3_int64 unix_epoch_ms = INT64_C(210866760000000); /* of Julian days */
    struct os *os = vfs_of(base)->os;
    *now = unix_epoch_ms + os->ops->wall_ns(os) / 1000000;
    return SQLITE_OK;
}

static int vfs_time(sqlite3_vfs *base, double *now)
{
    sqlite3_int64 ms;
    int result = vfs_time_ms(base, &ms);
    *now = (double)ms / 86400000.0;
    return result;
}

static int vfs_last_error(sqlite3_vfs *base, int size, char *out)
{
    if (size > 0) (void)str_copy(out, (size_t)size, str_of(vfs_of(base)->last.text));
    return 0;
}

enum err sqlite_vfs_new(struct os *os, struct sqlite_vfs **out)
{
    struct sqlite_vfs *vfs = mem_alloc_zero(1, sizeof *vfs);
    if (!vfs) return ERR_NO_MEMORY;
    vfs->os = os;
    vfs->last = WHY_NONE;
    /* Its own address: several nodes of one process have several worlds. */
    snprintf(vfs->name, sizeof vfs->name, "os-%" PRIxPTR, (uintptr_t)vfs);
    vfs->base = (sqlite3_vfs){
        .iVersion = 2,
        .szOsFile = sizeof(struct vfs_file),
        .mxPathname = PATH_BYTES - 1,
        .zName = vfs->name,
        .xOpen = vfs_open,
        .xDelete = vfs_delete,
        .xAccess = vfs_access,
        .xFullPathname = vfs_full_path,
        .xRandomness = vfs_random,
        .xSleep = vfs_sleep,
        .xCurrentTime = vfs_time,
        .xGetLastError = vfs_last_error,
        .xCurrentTimeInt64 = vfs_time_ms,
    };
    if (sqlite3_vfs_register(&vfs->base, 0) != SQLITE_OK) {
        mem_free(vfs);
        return ERR_NO_MEMORY;
    }
    *out = vfs;
    return ERR_OK;
}

void sqlite_vfs_free(struct sqlite_vfs *vfs)
{
    if (!vfs) return;
    int result = sqlite3_vfs_unregister(&vfs->base);
    MUST(result == SQLITE_OK);
    mem_free(vfs);
}

const char *sqlite_vfs_name(const struct sqlite_vfs *vfs)
{
    return vfs->name;
}

const char *sqlite_vfs_last_error(const struct sqlite_vfs *vfs)
{
    return vfs->last.text;
}
