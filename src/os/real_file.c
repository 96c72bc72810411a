/* real_file.c - files of the real world: plain system calls, restarted on EINTR, short writes
 * completed.
 *
 * Nothing is buffered and nothing retried beyond that: what a failed sync means (the kernel may
 * have dropped the pages and says so once) is decided above, by who knows what was acknowledged.
 * Error texts name the path and the kernel's reason. Called on blocking tasks, and on any before
 * the node serves. Owns a descriptor for each file that is open. */
#include "base/mem.h"
#include "os/real_priv.h"
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/auxv.h>
#include <sys/statvfs.h>
#include <unistd.h>

struct os_file {
    int fd;
    char path[]; /* for error texts */
};

static enum err failed(struct why *why, const char *what, const char *path)
{
    int errnum = errno;
    return why_set(why, err_from_errno(errnum), "%s %s: %s", what, path, strerror(errnum));
}

/* Only what lies on a disk (or in /proc) is a file: a pipe or a terminal would keep its reader
 * waiting for ever, and with it whoever joins the reader's task. */
static enum err check_regular(int fd, const char *path, struct why *why)
{
    struct stat st;
    if (fstat(fd, &st)) return failed(why, "stat", path);
    return S_ISREG(st.st_mode) ? ERR_OK : why_set(why, ERR_INVALID, "%s is not a file", path);
}

/* O_NONBLOCK means nothing to files: it is for what turns out to be none, whose open might wait. */
enum err real_file_open(struct os *os, const char *path, unsigned flags, struct os_file **out,
                        struct why *why)
{
    (void)os;
    int mode = (flags & OS_FILE_WRITE ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    if (flags & OS_FILE_CREATE) mode |= O_CREAT;
    if (flags & OS_FILE_EXCLUSIVE) mode |= O_EXCL;
    MUST(path && out);
    struct os_file *file = mem_alloc(sizeof *file + strlen(path) + 1);
    if (!file) return ERR_NO_MEMORY;
    memcpy(file->path, path, strlen(path) + 1);
    do file->fd = open(path, mode, 0600);
    while (file->fd < 0 && errno == EINTR);
    if (file->fd < 0) {
        enum err err = failed(why, "open", path);
        mem_free(file);
        return err;
    }
    enum err err = check_regular(file->fd, path, why);
    if (err) {
        real_file_close(file);
        return err;
    }
    *out = file;
    return ERR_OK;
}

void real_file_close(struct os_file *file)
{
    if (!file) return;
    (void)close(file->fd); /* durable data was synced before; nothing to learn here */
    mem_free(file);
}

enum err real_file_read(struct os_file *file, uint64_t offset, void *bytes, size_t size,
                        size_t *got, struct why *why)
{
    char *to = bytes;
    MUST(file && got && (bytes || !size));
    *got = 0;
    while (*got < size) {
        ssize_t n = pread(file->fd, to + *got, size - *got, (off_t)(offset + *got));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return failed(why, "read", file->path);
        if (n == 0) break;
        *got += (size_t)n;
    }
    return ERR_OK;
}

enum err real_file_write(struct os_file *file, uint64_t offset, const void *bytes, size_t size,
                         struct why *why)
{
    const char *from = bytes;
    MUST(file && (bytes || !size));
    for (size_t done = 0; done < size;) {
        ssize_t n = pwrite(file->fd, from + done, size - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return failed(why, "write", file->path);
        done += (size_t)n;
    }
    return ERR_OK;
}

enum err real_file_sync(struct os_file *file, struct why *why)
{
    return fdatasync(file->fd) ? failed(why, "sync", file->path) : ERR_OK;
}

bool real_file_is_private(struct os_file *file)
{
    struct stat st;
    return fstat(file->fd, &st) == 0 && !(st.st_mode & (S_IRWXG | S_IRWXO));
}

enum err real_file_size(struct os_file *file, uint64_t *size, struct why *why)
{
    struct stat st;
    if (fstat(file->fd, &st)) return failed(why, "stat", file->path);
    *size = (uint64_t)st.st_size;
    return ERR_OK;
}

enum err real_file_truncate(struct os_file *file, uint64_t size, struct why *why)
{
    int result;
    do result = ftruncate(file->fd, (off_t)size);
    while (result && errno == EINTR);
    return result ? failed(why, "truncate", file->path) : ERR_OK;
}

enum err real_file_lock(struct os_file *file, struct why *why)
{
    if (flock(file->fd, LOCK_EX | LOCK_NB) == 0) return ERR_OK;
    if (errno != EWOULDBLOCK) return failed(why, "lock", file->path);
    return why_set(why, ERR_BUSY, "%s is in use by another process", file->path);
}

enum err real_path_info(struct os *os, const char *path, struct os_path_info *info, struct why *why)
{
    (void)os;
    struct stat st;
    if (stat(path, &st)) return failed(why, "look at", path);
    *info = (struct os_path_info){S_ISDIR(st.st_mode), (uint64_t)st.st_size};
    return ERR_OK;
}

enum err real_path_rename(struct os *os, const char *from, const char *to, struct why *why)
{
    (void)os;
    return rename(from, to) ? failed(why, "rename", from) : ERR_OK;
}

enum err real_path_remove(struct os *os, const char *path, struct why *why)
{
    (void)os;
    return remove(path) ? failed(why, "remove", path) : ERR_OK;
}

/* Makes the entry of a new folder in its parent durable. */
static enum err sync_parent(struct os *os, const char *path, struct why *why)
{
    char parent[4096];
    (void)str_copy(parent, sizeof parent, str_of(path));
    char *slash = strrchr(parent, '/');
    if (slash) slash[slash == parent] = 0;
    return real_path_sync(os, slash ? parent : ".", why);
}

static enum err make_one(struct os *os, const char *path, mode_t mode, struct why *why)
{
    if (mkdir(path, mode) == 0) return sync_parent(os, path, why);
    return errno == EEXIST ? ERR_OK : failed(why, "make folder", path);
}

enum err real_path_make(struct os *os, const char *path, struct why *why)
{
    char part[4096];
    if (!str_copy(part, sizeof part, str_of(path)))
        return why_set(why, ERR_LIMIT, "path is longer than %zu bytes", sizeof part);
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        enum err err = make_one(os, part, 0755, why);
        if (err) return err;
        *slash = '/';
    }
    return make_one(os, part, 0700, why);
}

enum err real_path_sync(struct os *os, const char *path, struct why *why)
{
    (void)os;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return failed(why, "open", path);
    int result = fsync(fd);
    enum err err = result ? failed(why, "sync", path) : ERR_OK;
    (void)close(fd);
    return err;
}

enum err real_path_list(struct os *os, const char *path,
                        enum err (*entry)(void *arg, const char *name), void *arg, struct why *why)
{
    (void)os;
    DIR *folder = opendir(path);
    if (!folder) return failed(why, "open", path);
    enum err err = ERR_OK;
    for (struct dirent *e; !err && (e = readdir(folder));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            err = entry(arg, e->d_name);
    (void)closedir(folder);
    return err;
}

enum err real_disk_free(struct os *os, const char *path, uint64_t *bytes, struct why *why)
{
    (void)os;
    struct statvfs vfs;
    if (statvfs(path, &vfs)) return failed(why, "look at", path);
    *bytes = (uint64_t)vfs.f_bavail * vfs.f_frsize;
    return ERR_OK;
}

enum err real_disk_usage(struct os *os, const char *path, struct os_disk_usage *usage,
                         struct why *why)
{
    (void)os;
    struct statvfs vfs;
    if (statvfs(path, &vfs)) return failed(why, "look at", path);
    *usage = (struct os_disk_usage){(uint64_t)vfs.f_blocks * vfs.f_frsize,
                                    (uint64_t)vfs.f_bfree * vfs.f_frsize,
                                    (uint64_t)vfs.f_bavail * vfs.f_frsize};
    return ERR_OK;
}

/* ---- shared objects ---- */

/* The folder of the program itself, without its name. Without /proc (a bare chroot) the kernel's
 * word for what was started must do. */
static bool program_folder(char out[PATH_MAX])
{
    ssize_t size = readlink("/proc/self/exe", out, PATH_MAX - 1);
    const char *started = (const char *)(uintptr_t)getauxval(AT_EXECFN);
    if (size <= 0 && (!started || !realpath(started, out))) return false;
    if (size > 0) out[size] = 0;
    char *slash = strrchr(out, '/');
    if (slash) *slash = 0;
    return slash != NULL;
}

/* Never closed again (RTLD_NODELETE): what came out of it may be used as long as the program runs.
 */
enum err real_library_open(struct os *os, const char *folder, const char *file, const char *symbol,
                           void **entry, struct why *why)
{
    char beside[PATH_MAX] = "", path[PATH_MAX + 300];
    (void)os;
    if (!folder && !program_folder(beside))
        return why_set(why, ERR_NOT_FOUND, "where the program lies cannot be read");
    snprintf(path, sizeof path, "%s%s/%s", folder ? folder : beside, folder ? "" : "/lib", file);
    if (access(path, F_OK)) return why_set(why, ERR_NOT_FOUND, "%s: there is no such file", path);
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!library) return why_set(why, ERR_IO, "%s", dlerror());
    *entry = dlsym(library, symbol);
    (void)dlclose(library);
    if (*entry) return ERR_OK;
    return why_set(why, ERR_IO, "%s: has no %s", path, symbol);
}
