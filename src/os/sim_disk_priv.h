/* sim_disk_priv.h - files and folders of a simulated disk, each as it is read now and as it is
 * durable. Shared by sim_disk.c (their states) and sim_file.c (the calls). */
#ifndef OS_SIM_DISK_PRIV_H
#define OS_SIM_DISK_PRIV_H

#include "os/sim_priv.h"

struct sim_bytes {
    uint8_t *at;
    size_t size, capacity;
};

/* One write or truncation since the last sync. */
struct sim_op {
    struct sim_op *next;
    bool truncates; /* to `offset` */
    uint64_t offset;
    size_t size;
    uint8_t bytes[];
};

struct sim_entry {
    char *name; /* owned */
    struct sim_inode *inode;
};

struct sim_names {
    struct sim_entry *items;
    size_t count, capacity;
};

/* One change of a folder since its last sync; a rename is both parts at once. */
struct sim_change {
    struct sim_change *next;
    char *removed, *set; /* owned; either may be NULL */
    struct sim_inode *inode;
};

struct sim_inode {
    struct sim_inode *all_next;
    bool is_folder, marked;
    struct os_file *locked_by;
    /* file */
    struct sim_bytes now, durable;
    struct sim_op *ops; /* oldest first */
    struct sim_op **ops_end;
    /* folder */
    struct sim_names names, durable_names;
    struct sim_change *changes; /* oldest first */
    struct sim_change **changes_end;
};

struct sim_inode *sim_inode_new(struct sim_disk *disk, bool is_folder);

void sim_inode_write(struct sim_inode *file, uint64_t offset, const void *bytes, size_t size);
void sim_inode_truncate(struct sim_inode *file, uint64_t size);
enum sim_sync {
    SIM_SYNC_WHOLE,  /* everything pending becomes durable */
    SIM_SYNC_FAILED, /* some of it by the seed; the rest is forgotten all the same */
    SIM_SYNC_TORN,   /* some of it by the seed; it goes on if it was only a kill */
};
void sim_inode_sync(struct sim *sim, struct sim_inode *file, enum sim_sync how);

/* NULL: none of that name. */
struct sim_inode *sim_folder_find(const struct sim_inode *folder, const char *name);
/* `removed` and `set` are copied; either may be NULL. */
void sim_folder_change(struct sim_inode *folder, const char *removed, const char *set,
                       struct sim_inode *inode);
/* The first `count` pending changes become durable. */
void sim_folder_sync(struct sim_inode *folder, size_t count);
size_t sim_folder_pending(const struct sim_inode *folder);

#endif
