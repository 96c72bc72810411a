/* manifest.h - which parts there are, up to which position they replace the log, and the trusted
 * time.
 *
 * File "manifest": records (store/record.h) appended one behind the other, each group synced before
 * anything relies on it; rewritten whole (temp + rename) when most records speak of the past. After
 * a failed write or sync the file is not touched again: the next group rewrites it. ADD: u8
 * version, u64 id, origin, version, i64 class, partition from and to, min and max time, u64 rows,
 * size, u8 flags (1 = written while time was not trusted), varint tables, u32 table ids DROP: u64
 * id CHECKPOINT: u8 version, u64 position up to which all rows are in parts, i64 trusted time
 * (INT64_MIN: none yet), u64 position in the name of the catalogue's snapshot (0: none) CONFIRM: an
 * operator vouched for the clock: parts written before it are held no longer FROZEN: u8 version,
 * u32 table id of a rollup, i64 time: rows of its base table before it may have been removed for
 * their age; in the group that removes them, or before
 *
 * Owner: the flush task (store_open before it starts). Private to store/. */
#ifndef STORE_MANIFEST_H
#define STORE_MANIFEST_H

#include "store/part.h"
#include "store/record.h"

struct manifest_checkpoint {
    uint64_t position;    /* every row at or below it is in a part */
    int64_t trusted_ns;   /* INT64_MIN: never */
    uint64_t catalog_seq; /* 0: the log still has the whole catalogue */
};

/* Windows of a rollup that begin before the time are never computed again. */
struct manifest_frozen {
    uint32_t table_id;
    int64_t before_ns;
};

struct manifest {
    struct os *os;        /* borrowed */
    char folder[4000];    /* the data folder */
    struct os_file *file; /* owned; NULL: the next group rewrites the file */
    uint64_t offset;      /* where the next group goes */
    uint64_t salt, seq;   /* of the file; of its last record, they count up */
    uint64_t records;     /* in the file, about: when to rewrite it */
    struct manifest_checkpoint checkpoint,
        pending;           /* on the disk; what the group being gathered will make of it */
    uint64_t next_part_id; /* above every id a record names, also of parts long gone */
    /* While reading: what there is (takes to the caller), and ids dropped since the file was
     * rewritten. */
    struct part_info *parts;
    size_t part_count, part_capacity;
    bool damaged; /* records were lost: parts on the disk that nobody speaks of may be real */
    bool missing; /* there is no file: a first start, or somebody took it away */
    bool unsure; /* missing, or with bytes behind its last whole record: a group that power cut off,
                    or one that was damaged. Nothing is removed on its word */
    struct buf group; /* records being gathered */
    /* One of each rollup there ever was (ids do not come again); it only grows, so it holds also
     * when the group that was to say so failed. */
    struct manifest_frozen *frozen;
    size_t frozen_count, frozen_capacity;
};

/* Reads the manifest. Missing: an empty one. `damage` is told of what is lost. Errors: IO,
 * NO_MEMORY, FORMAT. The parts found are in manifest->parts; the caller takes them (and their
 * tables). */
enum err manifest_open(struct manifest *manifest, struct os *os, const char *folder,
                       void (*damage)(void *arg, const char *text), void *arg, struct why *why);
/* Lets go of the file and of what the caller has not taken; a gathered group is dropped. */
void manifest_close(struct manifest *manifest);

/* Gather a group: nothing reaches the disk, and a failure comes out of the commit. `info` is
 * borrowed for the call. */
void manifest_add(struct manifest *manifest, const struct part_info *info);
void manifest_drop(struct manifest *manifest, uint64_t id); /* the part counts no more */
/* The operator vouches for the clock: parts so far are held no longer. */
void manifest_confirm(struct manifest *manifest);
/* Nothing if it is known. Without memory for it the commit fails. */
void manifest_freeze(struct manifest *manifest, const struct manifest_frozen *frozen);
/* What the checkpoint will be; a group has one. */
void manifest_checkpoint(struct manifest *manifest, const struct manifest_checkpoint *checkpoint);
/* Makes the group durable. `live` are all parts that remain, for a rewrite. On an error nothing of
 * the group counts, as far as this life goes: what was written may be found by the next start all
 * the same, so the caller keeps what it names until a later group is durable. Blocking. Errors: IO,
 * DISK_FULL, NO_MEMORY. */
enum err manifest_commit(struct manifest *manifest, struct part *const *live, size_t live_count,
                         struct why *why);
/* What was gathered is dropped. */
void manifest_forget_group(struct manifest *manifest);

#endif
