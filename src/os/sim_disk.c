/* sim_disk.c - what a simulated disk holds, and what a power loss leaves of it. See sim.h.
 *
 * A file is two runs of bytes, what is read and what is durable, and the list of writes between
 * them; a folder is two lists of names and the changes between them. A sync carries pending things
 * over in order; a power loss carries over what the seed says and forgets the rest. Names and
 * contents are settled apart, as on a real disk: a name may survive whose content did not. */
#include "os/sim_disk_priv.h"
#include <stdlib.h>
#include <string.h>

/* ---- bytes ---- */

static void bytes_resize(struct sim_bytes *b, size_t size)
{
    if (size > b->capacity) {
        size_t capacity = size < 512 ? 512 : size + size / 2;
        uint8_t *grown = sim_hardware(capacity);
        if (b->size) memcpy(grown, b->at, b->size);
        free(b->at);
        b->at = grown;
        b->capacity = capacity;
    }
    if (size > b->size) memset(b->at + b->size, 0, size - b->size);
    b->size = size;
}

static void bytes_write(struct sim_bytes *b, uint64_t offset, const void *bytes, size_t size)
{
    if (!size) return;
    if (offset + size > b->size) bytes_resize(b, (size_t)offset + size);
    memcpy(b->at + offset, bytes, size);
}

static void bytes_copy(struct sim_bytes *to, const struct sim_bytes *from)
{
    bytes_resize(to, from->size);
    if (from->size) memcpy(to->at, from->at, from->size);
}

/* ---- files ---- */

struct sim_inode *sim_inode_new(struct sim_disk *disk, bool is_folder)
{
    struct sim_inode *inode = sim_hardware(sizeof *inode);
    inode->is_folder = is_folder;
    inode->ops_end = &inode->ops;
    inode->changes_end = &inode->changes;
    inode->all_next = disk->all;
    disk->all = inode;
    return inode;
}

static void add_op(struct sim_inode *file, bool truncates, uint64_t offset, const void *bytes,
                   size_t size)
{
    struct sim_op *op = sim_hardware(sizeof *op + size);
    *op = (struct sim_op){.truncates = truncates, .offset = offset, .size = size};
    if (size) memcpy(op->bytes, bytes, size);
    *file->ops_end = op;
    file->ops_end = &op->next;
}

void sim_inode_write(struct sim_inode *file, uint64_t offset, const void *bytes, size_t size)
{
    MUST(!file->is_folder);
    bytes_write(&file->now, offset, bytes, size);
    add_op(file, false, offset, bytes, size);
}

void sim_inode_truncate(struct sim_inode *file, uint64_t size)
{
    MUST(!file->is_folder);
    bytes_resize(&file->now, (size_t)size);
    add_op(file, true, size, NULL, 0);
}

static void carry_over(struct sim_inode *file, const struct sim_op *op)
{
    if (op->truncates)
        bytes_resize(&file->durable, (size_t)op->offset);
    else
        bytes_write(&file->durable, op->offset, op->bytes, op->size);
}

/* Each sector of the write by itself: a disk promises no order among them. */
static void carry_over_torn(struct sim *sim, struct sim_inode *file, const struct sim_op *op)
{
    if (op->truncates) return;
    for (size_t at = 0; at < op->size;) {
        size_t left = SIM_SECTOR_BYTES - (size_t)((op->offset + at) % SIM_SECTOR_BYTES);
        if (left > op->size - at) left = op->size - at;
        if (sim_one_in(sim, 2)) bytes_write(&file->durable, op->offset + at, op->bytes + at, left);
        at += left;
    }
}

static void forget_ops(struct sim_inode *file)
{
    while (file->ops) {
        struct sim_op *op = file->ops;
        file->ops = op->next;
        free(op);
    }
    file->ops_end = &file->ops;
}

/* Whole files are lost or kept more often than a fair coin for each write would have it. */
static void carry_over_some(struct sim *sim, struct sim_inode *file)
{
    enum { ALL, NONE, MIXED };
    uint64_t mode = sim_random(sim, 4);
    for (const struct sim_op *op = file->ops; op; op = op->next) {
        uint64_t fate = mode >= MIXED ? sim_random(sim, 3) : mode;
        if (fate == ALL) carry_over(file, op);
        if (fate == MIXED) carry_over_torn(sim, file, op);
    }
}

void sim_inode_sync(struct sim *sim, struct sim_inode *file, enum sim_sync how)
{
    if (how == SIM_SYNC_WHOLE)
        for (const struct sim_op *op = file->ops; op; op = op->next) carry_over(file, op);
    else
        carry_over_some(sim, file);
    if (how != SIM_SYNC_TORN) forget_ops(file);
}

/* ---- folders ---- */

static struct sim_entry *names_find(const struct sim_names *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->items[i].name, name) == 0) return &names->items[i];
    return NULL;
}

static char *copy_text(const char *text)
{
    return text ? memcpy(sim_hardware(strlen(text) + 1), text, strlen(text) + 1) : NULL;
}

static void names_set(struct sim_names *names, const char *name, struct sim_inode *inode)
{
    struct sim_entry *entry = names_find(names, name);
    if (!entry) {
        if (names->count == names->capacity) {
            size_t capacity = names->capacity ? names->capacity * 2 : 8;
            struct sim_entry *grown = sim_hardware(capacity * sizeof *grown);
            if (names->count) memcpy(grown, names->items, names->count * sizeof *grown);
            free(names->items);
            names->items = grown;
            names->capacity = capacity;
        }
        entry = &names->items[names->count++];
        entry->name = copy_text(name);
    }
    entry->inode = inode;
}

static void names_remove(struct sim_names *names, const char *name)
{
    struct sim_entry *entry = names_find(names, name);
    if (!entry) return;
    free(entry->name);
    *entry = names->items[--names->count];
}

static void names_clear(struct sim_names *names)
{
    for (size_t i = 0; i < names->count; i++) free(names->items[i].name);
    free(names->items);
    *names = (struct sim_names){0};
}

static void names_apply(struct sim_names *names, const struct sim_change *change)
{
    if (change->removed) names_remove(names, change->removed);
    if (change->set) names_set(names, change->set, change->inode);
}

struct sim_inode *sim_folder_find(const struct sim_inode *folder, const char *name)
{
    MUST(folder->is_folder);
    const struct sim_entry *entry = names_find(&folder->names, name);
    return entry ? entry->inode : NULL;
}

void sim_folder_change(struct sim_inode *folder, const char *removed, const char *set,
                       struct sim_inode *inode)
{
    MUST(folder->is_folder && (removed || set) && (!set || inode));
    struct sim_change *change = sim_hardware(sizeof *change);
    *change =
        (struct sim_change){.removed = copy_text(removed), .set = copy_text(set), .inode = inode};
    *folder->changes_end = change;
    folder->changes_end = &change->next;
    names_apply(&folder->names, change);
}

size_t sim_folder_pending(const struct sim_inode *folder)
{
    size_t count = 0;
    for (const struct sim_change *c = folder->changes; c; c = c->next) count++;
    return count;
}

static void drop_first_change(struct sim_inode *folder)
{
    struct sim_change *change = folder->changes;
    folder->changes = change->next;
    if (!folder->changes) folder->changes_end = &folder->changes;
    free(change->removed);
    free(change->set);
    free(change);
}

void sim_folder_sync(struct sim_inode *folder, size_t count)
{
    for (; count && folder->changes; count--) {
        names_apply(&folder->durable_names, folder->changes);
        drop_first_change(folder);
    }
}

/* ---- after a stop ---- */

static void settle_file(struct sim *sim, struct sim_inode *file)
{
    size_t written = file->now.size;
    bool pending = file->ops != NULL;
    sim_inode_sync(sim, file, SIM_SYNC_FAILED);
    /* The length may be on the disk before what it covers: then zeros are read. */
    if (pending && written > file->durable.size && sim_one_in(sim, 4))
        bytes_resize(&file->durable, written);
    bytes_copy(&file->now, &file->durable);
}

static void settle_folder(struct sim *sim, struct sim_inode *folder)
{
    size_t pending = sim_folder_pending(folder);
    sim_folder_sync(folder, (size_t)sim_random(sim, pending + 1));
    while (folder->changes) drop_first_change(folder);
    names_clear(&folder->names);
    for (size_t i = 0; i < folder->durable_names.count; i++)
        names_set(&folder->names, folder->durable_names.items[i].name,
                  folder->durable_names.items[i].inode);
}

static void mark(struct sim_inode *inode)
{
    if (inode->marked) return;
    inode->marked = true;
    for (size_t i = 0; i < inode->names.count; i++) mark(inode->names.items[i].inode);
}

static void free_inode(struct sim_inode *inode)
{
    forget_ops(inode);
    while (inode->changes) drop_first_change(inode);
    names_clear(&inode->names);
    names_clear(&inode->durable_names);
    free(inode->now.at);
    free(inode->durable.at);
    free(inode);
}

/* Frees what no name leads to. */
static void sweep(struct sim_disk *disk)
{
    mark(disk->root);
    for (struct sim_inode **link = &disk->all, *inode; (inode = *link);) {
        if (inode->marked) {
            inode->marked = false;
            link = &inode->all_next;
            continue;
        }
        *link = inode->all_next;
        free_inode(inode);
    }
}

void sim_disk_settle(struct sim_node *node, bool power_lost)
{
    struct sim_disk *disk = &node->disk;
    for (struct sim_inode *i = disk->all; power_lost && i; i = i->all_next) {
        MUST(!i->locked_by); /* whoever held it was to be stopped before */
        if (i->is_folder)
            settle_folder(node->sim, i);
        else
            settle_file(node->sim, i);
    }
    if (power_lost) sweep(disk);
    disk->dead = false;
}

void sim_disk_init(struct sim_disk *disk)
{
    *disk = (struct sim_disk){0};
    disk->root = sim_inode_new(disk, true);
}

void sim_disk_free(struct sim_disk *disk)
{
    while (disk->all) {
        struct sim_inode *inode = disk->all;
        disk->all = inode->all_next;
        free_inode(inode);
    }
}
