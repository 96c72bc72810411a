/* store_priv.h - what the files of store/ share.
 *
 * Who owns what: the log task the log, the catalogue's changes, the newest head and every change of
 * the view; the sync task only fdatasync; the flush task the manifest, the trusted time and the
 * writing of parts, one operation at a time, handed to it by the log task and handed back. Readers
 * pin a view. */
#ifndef STORE_STORE_PRIV_H
#define STORE_STORE_PRIV_H

#include "data/codec_rows.h"
#include "store/catalog.h"
#include "store/compact.h"
#include "store/head.h"
#include "store/log.h"
#include "store/manifest.h"
#include "store/meta.h"
#include "store/refs.h"
#include "store/rollup_task.h"
#include "store/seal.h"
#include "store/span_cache.h"
#include "store/store.h"
#include "store/trust.h"

/* The parts there are, replaced whole. */
struct part_list {
    _Atomic uint32_t refs;
    size_t count;
    struct part *parts[];
};
struct part_list *part_list_new(size_t capacity); /* empty; NULL: no memory */
struct part_list *part_list_share(struct part_list *list);
void part_list_release(struct part_list *list);
/* `list` without the parts marked dropped, with `more` and `one` (may be NULL) at the end (shares
 * them). */
struct part_list *part_list_change(const struct part_list *list, struct part *const *more,
                                   size_t more_count, struct part *one);

/* What lives longer than a call begins with a number of its own, checked where another file is
 * entered with it and cleared before it is freed. */
enum { STORE_MAGIC = 0x73746f72, VIEW_MAGIC = 0x76696577, SCAN_MAGIC = 0x7363616e };

enum { VIEW_HEADS_MAX = 2 }; /* one frozen, one growing */

/* What readers see beside the catalogue, replaced whole: pinned by a statement. */
struct store_view {
    uint32_t magic; /* VIEW_MAGIC while it lives */
    _Atomic uint32_t refs;
    _Atomic uint32_t *live; /* store->live_views */
    size_t head_count;
    struct head *heads[VIEW_HEADS_MAX]; /* oldest first; the last one grows */
    struct part_list *parts;
};
/* Takes its own shares. NULL: no memory. */
struct store_view *store_view_new(struct store *store, struct head *const *heads, size_t head_count,
                                  struct part_list *parts);
struct store_view *store_view_get(struct store *store);
void store_view_release(struct store_view *view);
enum err store_view_init(struct store *store);

/* ---- notes ---- */

/* Log task; before it runs, store_open. */
struct notes {
    struct store_notes_owner owner;
    struct store_note *arrived, *arrived_last; /* of this round of jobs */
    struct store_note *waiting;                /* written, wait for durable; by seq */
    uint64_t held_from;                        /* the first that is not saved; 0 = all are */
    uint64_t last_seq;
    bool is_asked; /* to save */
};
/* Writes what has arrived; true: it waits for a sync. */
bool notes_write(struct store *store);
void notes_finish(struct store *store, uint64_t up_to, enum err err, const struct why *why);
void notes_replayed(struct store *store, uint64_t seq);
/* How much of the log may be recycled where rows need nothing up to the checkpoint. */
uint64_t notes_recyclable(struct store *store, uint64_t checkpoint);

/* ---- health ---- */

enum { HEALTH_MAX = 64 };

/* Entries are only added; what is found again is not noted twice. Any task. */
struct health {
    _Atomic uint32_t claimed;
    struct {
        _Atomic bool ready;
        struct store_health_row row;
    } items[HEALTH_MAX];
};
void health_note(struct store *store, enum store_severity severity, const char *object,
                 const char *format, ...) __attribute__((format(printf, 4, 5)));

/* ---- flush ---- */

/* One operation of the flush task: sealing a frozen head, or looking after retention, or both. */
struct flush {
    struct job job, done;
    bool busy;
    bool sealed;          /* seal.parts are written; only the manifest is not */
    bool confirm;         /* the operator vouches for the clock */
    bool untrusted_since; /* of the two last looks at the clock one found it wrong */
    bool has_head;
    bool merge_all; /* somebody waits for all parts to be merged */
    bool idle;      /* out: no compaction is under way after it */
    bool compacted; /* a compaction waited when it began: after a failure it waits again */
    struct seal seal;
    struct part_list *before, *after; /* after: NULL if nothing changed */
    struct part *merged;              /* share of what a compaction made; goes in with this one */
    struct store_view *view;          /* what will take over */
    uint64_t catalog_changes;         /* when the head was frozen */
    struct buf dirty; /* the same: what rollups had to compute; empty: nothing new */
    uint32_t next_table_id;
    enum err err;
    struct why why;
};

/* ---- backup ---- */

/* What a backup is a picture of; taken at the end of an operation of the flush. */
struct store_pin {
    struct store_view *view;   /* of the parts only: the head's memory is not held */
    struct table_list *tables; /* as they were */
    struct manifest_checkpoint checkpoint;
    struct buf dirty;               /* what rollups had to compute at the checkpoint */
    struct manifest_frozen *frozen; /* as the manifest says */
    size_t frozen_count;
    uint32_t next_table_id, series_count;
    uint64_t reserved_seq; /* the log's: no position above it was given */
};
/* Log task, while the flush task has nothing to do. */
enum err store_pin_take(struct store *store, struct store_pin *pin);
void store_pin_release(struct store_pin *pin); /* any task */
void backup_stop(struct store *store);         /* log task, at the end; after flush_close */

struct store {
    uint32_t magic; /* STORE_MAGIC while it lives */
    struct context *context;
    char folder[3900], parts_folder[3950];
    struct os_file *lock;
    uint64_t origin;
    size_t head_limit_bytes;
    int64_t flush_age_ns;
    struct catalog catalog;
    struct cell view;            /* of struct store_view */
    _Atomic uint32_t live_views; /* the current one, and older ones that somebody reads */
    struct budget head_budget;
    struct span_cache spans; /* any task */
    struct health health;

    /* Log task. */
    struct loop log_loop;
    struct log log;
    struct store_append *arrived, *arrived_last; /* of this round of jobs */
    struct store_append *held, *held_last; /* the head is full: until its older half is written */
    struct store_append *waiting, *waiting_last; /* applied, wait for durable; by seq */
    struct store_define *defined, *defined_last; /* written, wait for durable */
    struct store_delete *deleted, *deleted_last; /* the same */
    struct store_flush *flushes;                 /* wait for what they asked for */
    uint64_t appended;                           /* last seq written to the file */
    bool syncing, closing;
    struct os_timer *sync_timer, *tick_timer, *held_timer;
    bool sync_timer_set, held_timer_set;
    bool failed;           /* the last write or sync failed: a new segment comes first */
    int64_t head_since_ns; /* monotonic: when the growing head got its first row; 0 = it has none */
    struct buf
        saved_dirty; /* what the last snapshot of the catalogue says of rollups, for a backup */
    int64_t flush_retry_ns;  /* monotonic: not before */
    bool forget_due;         /* tombstones may have become useless */
    bool compacted;          /* a compaction waits to be taken in */
    struct backup *backup;   /* the one that runs, or NULL */
    struct loop backup_loop; /* its task: made with the first one */
    _Atomic bool backup_stopping;
    size_t listener_count;
    struct {
        void (*on_applied)(void *arg, struct batch *batch);
        void *arg;
    } listeners[STORE_LISTENERS_MAX];

    /* Sync task. */
    struct loop sync_loop;
    struct job sync_job, synced_job;
    struct os_file *sync_file;
    uint64_t sync_seq;
    enum err sync_err;
    struct why sync_why;

    /* Flush task (the log task while !flush.busy). */
    struct loop flush_loop;
    struct flush flush;
    struct compaction compaction;
    struct manifest manifest;
    struct trust trust;
    struct part *
        *missing; /* while it opens: parts that the manifest lists and that are not there */
    size_t missing_count, missing_capacity;
    bool settled;           /* what the manifest said at the start is durable for certain */
    bool was_untrusted;     /* the clock, at a time at which the head may have taken rows */
    uint64_t saved_changes; /* of the catalogue, in the snapshot on the disk */
    uint64_t next_part_id;
    int64_t trust_saved_ns;      /* trusted time in the manifest */
    _Atomic bool time_trusted;   /* for readers */
    _Atomic uint64_t checkpoint; /* for readers */

    struct rollups rollups; /* log task and its own */
    struct notes notes;

    /* Any task reads. */
    _Atomic int64_t trusted_ns; /* trusted time when it was looked at last; INT64_MIN: not yet */
    _Atomic uint64_t position_appended, position_applied, position_durable;
};

/* Whether it is a store that was not closed yet. Any task. */
static inline bool store_is_valid(const struct store *store)
{
    return store && store->magic == STORE_MAGIC;
}

/* The growing head. Log task. */
struct head *store_writer_head(struct store *store);
/* The frozen head, or NULL. Log task. */
struct head *store_frozen_head(struct store *store);

/* Log task, after each round: starts an operation if one is due. */
void flush_look(struct store *store);
/* Begins and carries out one operation at once, for store_open: before any task runs. */
enum err flush_now(struct store *store, uint64_t position, struct why *why);
/* Gives readers what the flush task knows of the clock. While opening, or on the flush task. */
void store_tell_clock(struct store *store);
/* Whether the growing head should be frozen for its size. */
bool flush_is_due(struct store *store);
/* Parts whose time is over: marks one partition's parts as dropped. Flush task. Returns their
 * number. */
size_t retention_mark(struct store *store, const struct part_list *list);
/* What was marked is durable: who follows by a cursor may learn it. Flush task. */
void retention_note_gone(struct store *store, const struct part_list *list);
/* Which windows of rollups may lack rows from now on goes into the manifest's group. Flush task,
 * behind retention_mark. */
void retention_note_frozen(struct store *store);
void flush_jobs_init(struct store *store);
void flush_close(struct store *store); /* log task, at the end: who still waits is told */
void flush_tick(struct store *store);  /* log task: every few seconds */

/* The statement's snapshot: a view and the position applied at its start. The rest is of who reads
 * on from a position (since.h) and 0 elsewhere. */
struct store_snapshot {
    struct store_view *view;
    uint64_t applied;
    uint64_t above;         /* rows at or below it are left out; of parts, whole blocks */
    uint32_t resume_series; /* series before it are left out, and of it … */
    int64_t resume_ns;      /* … rows up to this time; 0 = all are wanted */
    bool waits;             /* what the disk does not give now fails the scan: it comes again */
};

/* The log task's writing: a new segment after a failure; what is framed goes to the file. */
enum err store_recover_log(struct store *store, struct why *why);
enum err store_write_round(struct store *store, struct why *why);
/* Frames a SCHEMA record. */
enum err store_write_schema(struct store *store, const struct schema *schema, bool dropped);
/* held.c: rows for which the head has no room yet. Log task. */
/* What the head will take for a batch is reserved before it is framed: what is in the log must get
 * into the head, too. `is_first`: nothing is framed and not in the head. Errors: BUDGET (not now),
 * LIMIT (never). */
enum err held_reserve(struct store *store, struct store_append *append, bool is_first,
                      struct why *why);
void held_give_back(struct store *store, struct store_append *append);
/* Whether it is of use to wait: room comes when rows are moved to disk, but for a while after that
 * has failed. */
bool held_may_wait(struct store *store);
/* These rows and all behind them wait, in their order. */
void held_add(struct store *store, struct store_append *first);
/* Looks again soon; whoever has waited for too long is refused. */
void held_look_later(struct store *store);
void held_on_timer(void *arg);
void store_refuse(struct store *store, struct store_append *append, enum err err,
                  const struct why *why);
/* Takes up what is held; `err` not OK: refuses it. */
void store_release_held(struct store *store, enum err err, const struct why *why);
/* Posts a sync of all that is written so far, unless one runs (then its end looks again), the log
 * has failed or the store closes. Log task. */
void store_sync_now(struct store *store);
/* Finishes it when what is written so far is durable. */
void store_wait_durable(struct store *store, struct store_delete *delete);

/* delete.c */
enum err delete_replay(struct store *store, const struct record *record, struct why *why);
/* Carries out deletes that waited for rows (NULL: none), in their order. Log task. */
void delete_run_all(struct store *store, struct store_delete *first);
/* Tombstones that hide nothing any more, or no more than newer ones do, go. Log task, after an
 * operation. */
void delete_forget(struct store *store);

/* What is known of the checkpoint although the manifest has lost it: the catalogue's newest
 * snapshot was written after the parts it goes with, and log segments before the oldest one were
 * recycled because their rows are in parts. Never above what is safe: no row that the log still has
 * is at or below it, but for those that the snapshot's parts hold. */
void checkpoint_find(struct os *os, const char *folder, struct manifest_checkpoint *c);

/* open_parts.c, for open.c: before any task runs. */
/* Reads the manifest and makes the first view of the parts that are there. Damage is told (SHOW
 * HEALTH) and counted. Errors: IO, FORMAT, NO_MEMORY. */
enum err store_open_parts(struct store *store, struct why *why);
/* Behind replay: what the manifest and missing parts say of rollups' windows. */
void store_mend_rollups(struct store *store);
/* Behind that: nobody asks for missing parts any more. Also when there are none. */
void store_forget_missing(struct store *store);

/* store.c's own for opening and closing (open.c). */
/* What the catalogue learned from records above `durable`, which may be lost, is said again in the
 * log. Log task, or before it runs. */
enum err store_restate_catalog(struct store *store, uint64_t durable);
void store_after_jobs(void *arg);
void store_run_sync(struct job *job);
void store_run_synced(struct job *job);
void store_on_sync_timer(void *arg);
/* Log task. Without memory for them now they are made with the next rows. */
void store_make_timers(struct store *store);
void store_finish_all(struct store *store, enum err err);

#endif
