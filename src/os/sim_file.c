/* sim_file.c - the calls of a simulated disk, and the fault armed against one of them. See sim.h.
 *
 * Every call first asks `enter` for its fate, which counts it and charges its time; so no call can
 * forget a fault. A call that changes something names how far it got by then: `TORN` does a part
 * and then the power is gone, `IO` may have done a part and says that it failed. */
#include "os/sim_disk_priv.h"
#include <stdio.h>
#include <string.h>

struct os_file {
    struct sim_node *node;
    struct sim_inode *inode;
    bool writable;
    char path[]; /* for error texts */
};

enum effect { READS, CHANGES, GROWS };
enum fate { GO, DEAD, TORN, BROKEN, FULL };

enum { CALL_NS = 5000, SYNC_NS_MIN = 300000, SYNC_NS_SPREAD = 3000000, NAME_BYTES = 256 };

/* ---- faults ---- */

static void die(struct sim_node *node)
{
    node->disk.dead = true;
    sim_cut_node(node);
}

static enum fate enter(struct sim_node *node, enum effect effect)
{
    struct sim_disk *disk = &node->disk;
    node->sim->now_ns += (int64_t)sim_random(node->sim, CALL_NS);
    if (disk->dead) return DEAD;
    disk->calls++;
    if (disk->armed != SIM_FAULT_NONE && disk->calls == disk->fault_at) {
        disk->happened = true;
        disk->failing = disk->armed == SIM_FAULT_IO_FOREVER;
        disk->full = disk->armed == SIM_FAULT_FULL;
        if (disk->armed == SIM_FAULT_CRASH) {
            die(node);
            return DEAD;
        }
        if (disk->armed == SIM_FAULT_TORN) return TORN;
        if (disk->armed == SIM_FAULT_IO) return BROKEN;
    }
    if (disk->failing && effect != READS) return BROKEN;
    if (disk->full && effect == GROWS) return FULL;
    return GO;
}

/* The error of a call that did not go through; ends the world of one that was torn. */
static enum err failed(struct sim_node *node, enum fate fate, struct why *why, const char *what,
                       const char *path)
{
    MUST(fate != GO);
    if (fate == TORN) die(node);
    if (fate == FULL) return why_set(why, ERR_DISK_FULL, "%s %s: no space left", what, path);
    return why_set(why, ERR_IO, "%s %s: %s", what, path,
                   fate == BROKEN ? "the disk fails" : "the power is gone");
}

static enum err missing(struct why *why, const char *what, const char *path)
{
    return why_set(why, ERR_NOT_FOUND, "%s %s: no such file or folder", what, path);
}

/* ---- paths ---- */

/* The folder that holds the last name of `path`; NULL: there is none. `name` is empty for the root.
 */
static struct sim_inode *folder_of(struct sim_node *node, const char *path, char name[NAME_BYTES])
{
    struct sim_inode *at = node->disk.root;
    name[0] = 0;
    for (struct str rest = str_of(path), piece; str_split(&rest, '/', &piece);) {
        if (!piece.size) continue;
        if (name[0]) at = sim_folder_find(at, name);
        if (!at || !at->is_folder) return NULL;
        MUST(str_copy(name, NAME_BYTES, piece));
    }
    return at;
}

static struct sim_inode *find(struct sim_node *node, const char *path)
{
    char name[NAME_BYTES];
    struct sim_inode *folder = folder_of(node, path, name);
    return folder && name[0] ? sim_folder_find(folder, name) : folder;
}

/* ---- files ---- */

enum err sim_file_open(struct os *os, const char *path, unsigned flags, struct os_file **out,
                       struct why *why)
{
    struct sim_node *node = sim_node_of(os);
    char name[NAME_BYTES];
    struct sim_inode *folder = folder_of(node, path, name);
    struct sim_inode *inode = folder && name[0] ? sim_folder_find(folder, name) : NULL;
    bool makes = !inode && folder && flags & OS_FILE_CREATE;
    struct os_file *file = mem_alloc(sizeof *file + strlen(path) + 1);
    if (!file) return ERR_NO_MEMORY;
    enum fate fate = enter(node, makes ? GROWS : READS);
    if (makes && (fate == GO || (fate == TORN && sim_one_in(node->sim, 2)))) {
        inode = sim_inode_new(&node->disk, false);
        sim_folder_change(folder, NULL, name, inode);
    }
    enum err err = ERR_OK;
    if (fate != GO)
        err = failed(node, fate, why, "open", path);
    else if (!inode)
        err = missing(why, "open", path);
    else if (!makes && flags & OS_FILE_CREATE && flags & OS_FILE_EXCLUSIVE)
        err = why_set(why, ERR_EXISTS, "open %s: it exists", path);
    else if (inode->is_folder)
        err = why_set(why, ERR_IO, "open %s: it is a folder", path);
    if (err) {
        mem_free(file);
        return err;
    }
    *file = (struct os_file){node, inode, flags & OS_FILE_WRITE};
    memcpy(file->path, path, strlen(path) + 1);
    *out = file;
    return ERR_OK;
}

void sim_file_close(struct os_file *file)
{
    if (!file) return;
    if (file->inode->locked_by == file) file->inode->locked_by = NULL;
    mem_free(file);
}

enum err sim_file_read(struct os_file *file, uint64_t offset, void *bytes, size_t size, size_t *got,
                       struct why *why)
{
    enum fate fate = enter(file->node, READS);
    *got = 0;
    if (fate != GO) return failed(file->node, fate, why, "read", file->path);
    const struct sim_bytes *now = &file->inode->now;
    if (offset < now->size) *got = now->size - offset < size ? (size_t)(now->size - offset) : size;
    if (*got) memcpy(bytes, now->at + offset, *got);
    return ERR_OK;
}

enum err sim_file_write(struct os_file *file, uint64_t offset, const void *bytes, size_t size,
                        struct why *why)
{
    MUST(file->writable);
    bool grows = offset + size > file->inode->now.size;
    enum fate fate = enter(file->node, grows ? GROWS : CHANGES);
    size_t done = size;
    if (fate == DEAD)
        done = 0;
    else if (fate != GO)
        done = (size_t)sim_random(file->node->sim, size + 1);
    if (done) sim_inode_write(file->inode, offset, bytes, done);
    return fate == GO ? ERR_OK : failed(file->node, fate, why, "write", file->path);
}

/* After a failure what was pending is no longer: a second call reports success and changes nothing,
 * as Linux does. */
enum err sim_file_sync(struct os_file *file, struct why *why)
{
    struct sim_node *node = file->node;
    enum fate fate = enter(node, CHANGES);
    node->sim->now_ns += SYNC_NS_MIN + (int64_t)sim_random(node->sim, SYNC_NS_SPREAD);
    enum sim_sync how = fate == GO     ? SIM_SYNC_WHOLE
                        : fate == TORN ? SIM_SYNC_TORN
                                       : SIM_SYNC_FAILED;
    if (fate != DEAD) sim_inode_sync(node->sim, file->inode, how);
    return fate == GO ? ERR_OK : failed(node, fate, why, "sync", file->path);
}

bool sim_file_is_private(struct os_file *file)
{
    (void)file; /* it has no modes: all files are the program's own */
    return true;
}

enum err sim_file_size(struct os_file *file, uint64_t *size, struct why *why)
{
    enum fate fate = enter(file->node, READS);
    *size = file->inode->now.size;
    return fate == GO ? ERR_OK : failed(file->node, fate, why, "stat", file->path);
}

enum err sim_file_truncate(struct os_file *file, uint64_t size, struct why *why)
{
    MUST(file->writable);
    enum fate fate = enter(file->node, size > file->inode->now.size ? GROWS : CHANGES);
    if (fate == GO || (fate == TORN && sim_one_in(file->node->sim, 2)))
        sim_inode_truncate(file->inode, size);
    return fate == GO ? ERR_OK : failed(file->node, fate, why, "truncate", file->path);
}

enum err sim_file_lock(struct os_file *file, struct why *why)
{
    if (file->inode->locked_by && file->inode->locked_by != file)
        return why_set(why, ERR_BUSY, "%s is in use by another process", file->path);
    file->inode->locked_by = file; /* the kernel's memory: no disk call */
    return ERR_OK;
}

/* ---- paths ---- */

enum err sim_path_info(struct os *os, const char *path, struct os_path_info *info, struct why *why)
{
    struct sim_node *node = sim_node_of(os);
    enum fate fate = enter(node, READS);
    if (fate != GO) return failed(node, fate, why, "look at", path);
    const struct sim_inode *inode = find(node, path);
    if (!inode) return missing(why, "look at", path);
    *info = (struct os_path_info){inode->is_folder, inode->now.size};
    return ERR_OK;
}

enum err sim_path_rename(struct os *os, const char *from, const char *to, struct why *why)
{
    struct sim_node *node = sim_node_of(os);
    char old[NAME_BYTES], name[NAME_BYTES];
    struct sim_inode *folder = folder_of(node, from, old);
    MUST(folder == folder_of(node, to, name)); /* moves between folders are not simulated */
    struct sim_inode *inode = folder ? sim_folder_find(folder, old) : NULL;
    enum fate fate = enter(node, CHANGES);
    if (inode && (fate == GO || (fate == TORN && sim_one_in(node->sim, 2))))
        sim_folder_change(folder, old, name, inode);
    if (fate != GO) return failed(node, fate, why, "rename", from);
    return inode ? ERR_OK : missing(why, "rename", from);
}

enum err sim_path_remove(struct os *os, const char *path, struct why *why)
{
    struct sim_node *node = sim_node_of(os);
    char name[NAME_BYTES];
    struct sim_inode *folder = folder_of(node, path, name);
    struct sim_inode *inode = folder && name[0] ? sim_folder_find(folder, name) : NULL;
    enum fate fate = enter(node, CHANGES);
    bool full = inode && inode->is_folder && inode->names.count;
    if (inode && !full && (fate == GO || (fate == TORN && sim_one_in(node->sim, 2))))
        sim_folder_change(folder, name, NULL, NULL);
    if (fate != GO) return failed(node, fate, why, "remove", path);
    if (full) return why_set(why, ERR_IO, "remove %s: the folder is not empty", path);
    return inode ? ERR_OK : missing(why, "remove", path);
}

enum err sim_path_make(struct os *os, const char *path, struct why *why)
{
    struct sim_node *node = sim_node_of(os);
    struct sim_inode *at = node->disk.root;
    enum fate fate = enter(node, find(node, path) ? READS : GROWS);
    if (fate != GO && fate != TORN) return failed(node, fate, why, "make folder", path);
    for (struct str rest = str_of(path), piece; str_split(&rest, '/', &piece);) {
        char name[NAME_BYTES];
        if (!piece.size) continue;
        MUST(str_copy(name, sizeof name, piece));
        struct sim_inode *next = sim_folder_find(at, name);
        if (next && !next->is_folder)
            return why_set(why, ERR_EXISTS, "make folder %s: there is a file", path);
        if (!next) {
            if (fate == TORN && sim_one_in(node->sim, 2)) break;
            next = sim_inode_new(&node->disk, true);
            sim_folder_change(at, NULL, name, next);
            sim_folder_sync(at, SIZE_MAX);
        }
        at = next;
    }
    return fate == GO ? ERR_OK : failed(node, fate, why, "make folder", path);
}

enum err sim_path_sync(struct os *os, const char *path, struct why *why)
{
    struct sim_node *node = sim_node_of(os);
    enum fate fate = enter(node, CHANGES);
    node->sim->now_ns += SYNC_NS_MIN + (int64_t)sim_random(node->sim, SYNC_NS_SPREAD);
    struct sim_inode *folder = find(node, path);
    if (!folder && fate == GO) return missing(why, "sync", path);
    if (folder && fate == GO) sim_folder_sync(folder, SIZE_MAX);
    /* A journal keeps its order: what did not get there now can still get there later. */
    if (folder && (fate == TORN || fate == BROKEN))
        sim_folder_sync(folder, (size_t)sim_random(node->sim, sim_folder_pending(folder) + 1));
    return fate == GO ? ERR_OK : failed(node, fate, why, "sync", path);
}

enum err sim_path_list(struct os *os, const char *path,
                       enum err (*entry)(void *arg, const char *name), void *arg, struct why *why)
{
    struct sim_node *node = sim_node_of(os);
    enum fate fate = enter(node, READS);
    if (fate != GO) return failed(node, fate, why, "open", path);
    struct sim_inode *folder = find(node, path);
    if (!folder || !folder->is_folder) return missing(why, "open", path);
    /* From a copy: the callee may remove what it is shown. */
    struct buf copy = BUF_EMPTY;
    for (size_t i = 0; i < folder->names.count; i++)
        buf_add(&copy, folder->names.items[i].name, strlen(folder->names.items[i].name) + 1);
    enum err err = buf_failed(&copy) ? ERR_NO_MEMORY : ERR_OK;
    for (size_t at = 0; !err && at < copy.size; at += strlen(copy.at + at) + 1)
        err = entry(arg, copy.at + at);
    buf_free(&copy);
    return err;
}

enum err sim_disk_space(struct os *os, const char *path, uint64_t *bytes, struct why *why)
{
    struct sim_node *node = sim_node_of(os);
    enum fate fate = enter(node, READS);
    *bytes = node->disk.full ? 0 : (uint64_t)1 << 40;
    return fate == GO ? ERR_OK : failed(node, fate, why, "look at", path);
}
