/* store.h - the node's memory: one log, the head, the parts, and the ways to read them.
 *
 * Life of a batch: store_append (any task) → log task: gives it a seq, resolves its devices to
 * series, writes the ROWS record, applies it to the head → sync task makes it durable → the
 * acknowledgement asked for is sent. Three positions: appended ≥ applied, appended ≥ durable. A
 * statement sees exactly the rows applied at its start. Acknowledgements that promise durability
 * never pass `durable`.
 *
 * A head that has grown to its share of memory or age is frozen, a new one grows on, and the frozen
 * one is written as parts (store/seal.h); when the manifest says so, log segments below are
 * recycled. So memory, log and the time a start takes are bounded.
 *
 * Tasks: "log" owns the log, the catalogue's changes, the head's growth and the view; "sync" only
 * calls fdatasync; "flush" writes parts and looks after retention. Readers (workers) touch only
 * what is append-only or reference-counted. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "data/batch.h"
#include "loop/context.h"
#include "sql/source.h"

struct store;

/* Whose the records are that store_note writes. */
struct store_notes_owner {
    void *arg;
    /* While the store opens, on the caller's task: each note that the log still has, in order, also
     * such as were saved already. Errors: NO_MEMORY stops the opening; CORRUPT is told and counted.
     */
    enum err (*replay)(void *arg, uint64_t seq, struct str body, struct why *why);
    /* On the log task: notes hold back segments of the log; the owner is to write what it needs of
     * them elsewhere and to call store_notes_saved. Asked once, until it has. */
    void (*save)(void *arg);
};

struct store_config {
    const char *folder;      /* the node's data folder; made if missing */
    size_t head_limit_bytes; /* memory for rows not yet in parts; writing them begins well before it
                                is reached */
    int64_t flush_age_ns;    /* rows older than this are written too; 0 = STORE_FLUSH_AGE_NS */
    size_t segment_bytes;    /* of the log; 0 = LOG_SEGMENT_BYTES */
    size_t span_cache_bytes; /* for rows that statements ask for again; 0 = none are kept */
    /* A rollup whose windows hold fewer rows on average stands for rows only where these are gone;
     * 0 = STORE_ROLLUP_ROWS, 1 = always. */
    uint32_t rollup_rows_min;
    struct store_notes_owner notes; /* all NULL: nobody's */
};
enum { STORE_ROLLUP_ROWS = 500 }; /* docs/benchmarks.md says why */
#define STORE_FLUSH_AGE_NS (30 * 60 * (int64_t)1000000000)

/* Opens (or makes) the store: takes the folder's lock, checks its format, replays the log.
 * Blocking. Errors: BUSY in use by another process; FORMAT made by another version (says how to
 * start afresh); IO. Damage never refuses: it is reported and counted. */
enum err store_open(struct context *context, const struct store_config *config,
                    struct store **store, struct why *why);
/* Carries out what was posted, syncs, stops the tasks. Blocking. */
void store_close(struct store *store);

/* ---- writing ---- */

enum store_ack {
    STORE_ACK_APPLIED, /* visible to statements; durable within a second */
    STORE_ACK_DURABLE, /* survives kill -9 and power loss */
};

/* One batch on its way. The caller sets completion, batch (takes: sealed) and ack; the structure
 * must stay until the completion is done. On success `seq` is the batch's position. A batch for
 * which the head has no room waits, and all behind it, until rows were moved to disk or a statement
 * lets go of old ones. Errors: BUDGET (it has waited for wait_limit_ns, or the disk takes no rows:
 * try later), LIMIT (it can never fit), READ_ONLY (a rollup), DISK_FULL, IO, CORRUPT; then nothing
 * of the batch is stored. */
struct store_append {
    struct completion completion; /* first */
    struct batch *batch;
    enum store_ack ack;
    int64_t wait_limit_ns; /* for room in the head; 0 = as long as it takes */
    bool of_rollup;        /* the store's own: rows of a rollup */
    uint64_t seq;
    struct job arrive; /* from here on the store's */
    struct store *store;
    int64_t held_ns;   /* monotonic: since when it waits; 0 = it does not */
    size_t head_bytes; /* reserved for it in the head */
    struct store_append *next;
    struct store_delete *behind; /* deletes that came while it was held: carried out after it */
};
void store_append(struct store *store, struct store_append *append);

/* A change of a table's definition; durable when done. `schema` (takes): table_id 0 makes a new
 * table (EXISTS if the name is taken), else replaces the definition with that id (CONFLICT unless
 * revision is the current one + 1). Its rollups' tables come, change and go with it, in the same
 * change (EXISTS: a name is taken); they cannot be defined by themselves (READ_ONLY). `drop`: the
 * table and its rows go away. On success `result` is a share of the published schema. */
struct store_define {
    struct completion completion; /* first */
    struct schema *schema;
    bool drop;
    struct schema *result;
    struct job arrive; /* from here on the store's */
    uint64_t seq;
    struct store *store;
    struct store_define *next;
};
void store_define(struct store *store, struct store_define *define);

/* Deletes rows: those of the ranges that were appended before, also if they wait for room. Durable
 * when done. Devices that the table does not have are passed over; ranges of one device stand
 * together. The arrays are borrowed until
 * done; `seq` is its position. Errors: NO_TABLE, LIMIT, IO, DISK_FULL, NO_MEMORY. */
struct store_range {
    struct str device;      /* path */
    int64_t from_ns, to_ns; /* inclusive, from ≤ to */
    uint32_t series;        /* the store's */
};
struct store_delete {
    struct completion completion; /* first */
    uint32_t table_id;
    bool of_rollup; /* the store's own: rows of a rollup */
    size_t count;
    struct store_range *ranges;
    uint64_t seq;
    struct job arrive; /* from here on the store's */
    struct store *store;
    struct store_delete *next;
};
void store_delete(struct store *store, struct store_delete *delete);

/* A record that is not the store's, in the one log: durable when done, in the order posted. The
 * body is borrowed until then. The structure must stay until the completion is done; `seq` is its
 * position. Errors: IO, DISK_FULL, NO_MEMORY; then it is not in the log, or not for certain, and
 * the owner writes it again. */
enum { STORE_NOTE_BYTES_MAX = 32 * 1024 * 1024 };
struct store_note {
    struct completion completion; /* first */
    struct str body;
    uint64_t seq;
    /* Where there is a `done`: finished when the note is with the kernel, before the completion;
     * not at all when writing fails. */
    struct completion written;
    struct job arrive; /* from here on the store's */
    struct store *store;
    struct store_note *next;
};
void store_note(struct store *store, struct store_note *note);

/* The owner needs notes with a position up to `up_to` no more: what was in them is durable
 * elsewhere. */
struct store_notes_saved {
    struct completion completion; /* first */
    uint64_t up_to;
    struct job arrive; /* from here on the store's */
    struct store *store;
};
void store_notes_saved(struct store *store, struct store_notes_saved *saved);

/* Writes all rows applied so far to parts (backup, tests); `confirm_time`: the operator vouches for
 * the wall clock, so retention goes on and what it held back meanwhile is held no longer. Errors:
 * IO, DISK_FULL, NO_MEMORY. */
struct store_pin;
struct store_flush {
    struct completion completion; /* first */
    bool confirm_time;
    bool merge;            /* done when small parts were merged, too: VACUUM */
    struct store_pin *pin; /* NULL, but for the store's own backup */
    struct job arrive;     /* from here on the store's */
    struct store *store;
    struct store_flush *next;
    uint64_t position;
    bool confirmed, looked;
};
void store_flush(struct store *store, struct store_flush *flush);

/* ---- backup and restore ---- */

/* A backup while the node runs: rows so far are written to parts, those parts are pinned and
 * copied, as far as the target does not have them, with the catalogue, a manifest for exactly this
 * set, and the files of the data folder that let people in. Rows are taken on all the while. An
 * index file, written last, makes it count; one that was interrupted has none. The position is that
 * of the checkpoint: rows and deletes above it are not in it. The structure stays until done; the
 * counters may be read meanwhile, by any task. One at a time: BUSY. Errors: INVALID, IO, DISK_FULL,
 * NO_MEMORY, CANCELLED (completion.cancelled, or the store closes). */
/* A file of somebody else in the node that a backup takes along. */
struct store_backup_extra {
    char name[64];  /* in the data folder, where a restore puts it */
    char path[112]; /* where it is now, in the data folder */
    uint64_t bytes; /* so many from its beginning; UINT64_MAX = all that it has when it is copied */
    bool is_shared; /* its content does not change: backups that have it share it */
};

struct store_backup {
    struct completion completion; /* first */
    const char *folder;           /* borrowed; made if missing */
    const char *resources;        /* borrowed; a file to take over as resources.db, or NULL: none */
    unsigned keep;                /* so many backups stay in the folder; 0 = all */
    uint64_t bytes_per_s;         /* 0 = as fast as the disks are */
    /* The parts are pinned and `position` is known: others make their files ready for just that
     * position, then store_backup_go_on. Backup's task. NULL: nobody else has any. */
    void (*pinned)(struct store_backup *backup);
    _Atomic uint64_t total_bytes, done_bytes; /* of what has to be copied */
    /* Results. */
    char name[32];
    uint64_t position;
    int64_t taken_ns; /* wall clock when it was pinned */
    size_t parts, parts_copied;
    uint64_t size_bytes;
    struct job arrive; /* from here on the store's */
    struct store *store;
    struct backup *under_way; /* NULL: it has ended, though its completion may not have come yet */
    const struct store_backup_extra *extras;
    size_t extra_count;
    enum err extra_err;
    struct why extra_why;
};
void store_backup(struct store *store, struct store_backup *backup);
/* After `pinned`, once: what else is to be copied (borrowed until done), or why the backup fails
 * (`why` may be NULL). Main loop; nothing happens when the backup has ended meanwhile. */
void store_backup_go_on(struct store_backup *backup, const struct store_backup_extra *extras,
                        size_t count, enum err err, const struct why *why);

/* What a backup folder says of one of its backups. */
struct store_backup_info {
    char name[32];
    uint64_t position, origin;
    int64_t taken_ns;
    size_t files;
    uint64_t size_bytes;
    char damaged[32]; /* a newer one that was passed over, "" = none */
};
/* Puts a backup back into `folder`, which is missing or empty: every file is compared with its
 * checksum while it is copied, everything is synced, and positions go on above all that were given
 * before the backup and above the wall clock. `name` NULL = the newest whose index is
 * whole; one that a failing disk may hide is waited for, not passed over. The caller makes the
 * folder a node's by renaming it. Blocking; no node. Errors: NOT_FOUND (no whole backup),
 * CORRUPT names the file, FORMAT, IO, DISK_FULL, NO_MEMORY. */
enum err store_restore(struct os *os, const char *from, const char *name, const char *folder,
                       struct store_backup_info *info, struct why *why);

/* ---- reading: any task ---- */

/* What SHOW HEALTH tells: damage found since the start, and time that is not trusted. */
enum store_severity { STORE_WARNING, STORE_ERROR };
struct store_health_row {
    enum store_severity severity;
    char object[96], text[224];
};
/* Fills at most `capacity` rows; returns how many. Any task. */
size_t store_health(struct store *store, struct store_health_row *rows, size_t capacity);

/* A line of sys.rollups. */
struct store_rollup_info {
    char ns[SCHEMA_NAME_BYTES_MAX + 1], table[SCHEMA_NAME_BYTES_MAX + 1],
        rollup[SCHEMA_NAME_BYTES_MAX + 1];
    int64_t every_ns;
    bool has_begun; /* for every device; else the next two tell only of those that it has for */
    int64_t clean_until_ns; /* every window that began before is computed */
    uint64_t dirty_windows; /* that have ended, of all devices */
    int64_t frozen_ns;  /* windows that began before are never computed again; INT64_MIN: none */
    uint64_t late_rows; /* that came for those */
    uint64_t density;   /* rows a window on average, of those computed of late; 0: not known */
    int64_t lag_ns;     /* from clean_until_ns to the end of the newest whole window */
};
/* All rollups, by namespace and name; `rows`: mem_free. Errors: NO_MEMORY. Any task. */
enum err store_rollups(struct store *store, struct store_rollup_info **rows, size_t *count);

/* A share of the table's current schema (schema_release), or NULL. */
struct schema *store_find_table(struct store *store, struct str ns, struct str name);

/* A shared list of all tables as they are now; sorted by namespace and name. Any task. */
struct store_table_list;
struct store_table_list *store_tables(struct store *store);
uint32_t store_table_count(const struct store_table_list *list);
const struct schema *store_table_at(const struct store_table_list *list, uint32_t index);
/* How many series it has by now: a running count. The store is still open. */
uint32_t store_table_series(const struct store_table_list *list, uint32_t index);
void store_tables_release(struct store_table_list *list); /* NULL allowed */

/* Positions, for tests and sys.metrics. */
struct store_positions {
    uint64_t appended, applied, durable;
};
struct store_positions store_positions(const struct store *store);
uint64_t store_origin(const struct store *store);

/* The tables as a source of statements; its context is the store. */
extern const struct sql_source store_sql_source;

/* Calls `on_applied` on the log task for every batch after it was applied (live view, rules).
 * `batch` is borrowed (batch_share to keep it). Set before the first append; at most
 * STORE_LISTENERS_MAX. The devices of the batch carry their paths. */
enum { STORE_LISTENERS_MAX = 4 };
void store_listen(struct store *store, void (*on_applied)(void *arg, struct batch *batch),
                  void *arg);

/* Calls `use` for each table of each part: as often as there are parts that hold rows of it. Any
 * task. */
void store_each_part(struct store *store, void (*use)(void *arg, uint32_t table_id), void *arg);

/* What a table takes, for sys.tables. Rows are counted as they are stored: one that was written
 * again, or deleted, counts until it is merged away. */
struct store_table_size {
    uint32_t table_id, devices;
    uint64_t rows, parts;
    uint64_t bytes;            /* of its rows in parts */
    int64_t first_ns, last_ns; /* of its rows; first_ns > last_ns: there are none */
    bool is_partial;           /* a part of it cannot be read */
};
/* By table id, from 1, without a gap (dropped tables as well): tables above `count` have nothing.
 * Reads the directories of parts, so it takes its time: not on a loop. `*sizes`: mem_free. Errors:
 * NO_MEMORY. */
enum err store_table_sizes(struct store *store, struct store_table_size **sizes, size_t *count);

/* Every series of the catalogue, for sys.devices. The texts are borrowed until the store closes. */
struct store_series_info {
    uint32_t id, table_id;
    struct str path;
    uint32_t label_count;
    const struct label *labels;
};
uint32_t store_series_count(const struct store *store);
bool store_series(const struct store *store, uint32_t id,
                  struct store_series_info *info); /* ids from 1 */

#endif
