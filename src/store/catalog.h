/* catalog.h - tables and series of the store.
 *
 * One writer (the log task, or store_open before it starts), many readers without locks: tables are
 * an immutable list behind a cell; series only ever grow, in blocks whose addresses do not change,
 * published by a release store of the count. Private to store/. */
#ifndef STORE_CATALOG_H
#define STORE_CATALOG_H

#include "base/reader.h"
#include "data/batch.h"
#include "loop/loop.h"
#include "store/record.h"
#include "store/rollup_state.h"
#include "store/series_index.h"
#include "store/tombstone.h"

enum {
    SERIES_BLOCK = 1024,
    SERIES_BLOCKS_MAX = 4096,     /* 4 M series a node */
    SERIES_PATH_MAX = 1024,       /* bytes; a part's reader takes as many */
    TABLE_LABELS_MAX = 256,       /* names of labels in one table */
    CATALOG_TABLES_MAX = 1000000, /* that there ever were: ids do not come again */
};

struct series_labels {
    uint32_t count;
    struct label items[];
};

struct series {
    uint32_t id, table_id;
    struct str path;                              /* in the catalogue's arena */
    _Atomic(const struct series_labels *) labels; /* replaced whole; old ones stay in the arena */
    struct series *_Atomic next_of_table;         /* newest last: walks in order of id */
    _Atomic(struct tombstones *) tombstones;      /* NULL: nothing of it was deleted */
    /* Writer only: of its last SERIES record; 0: the snapshot has it; CATALOG_NOT_LOGGED. */
    uint64_t logged_seq;
    struct series *next_deleted; /* writer only: the catalogue's list */
    bool is_listed;              /* in it */
};

/* What the catalogue keeps beside a schema. */
struct table_state {
    uint32_t table_id;
    uint64_t logged_seq; /* writer only: of its last SCHEMA record */
    /* Writer only: that of the list (borrowed from it); NULL = dropped, or not there yet. */
    struct schema *schema;
    struct series *_Atomic first;
    struct series *last; /* writer only */
    _Atomic uint32_t series_count;
    _Atomic uint32_t label_count;
    const char *labels[TABLE_LABELS_MAX];                     /* names that any series had */
    struct rollup_state *_Atomic rollups[SCHEMA_ROLLUPS_MAX]; /* that are made of it; or NULL */
    _Atomic uint64_t gone_seq; /* flush task: newest version of its parts whose time was over */
};

/* The immutable list of tables: schemas sorted by (ns, name). */
struct table_list {
    _Atomic uint32_t refs;
    uint32_t count;
    struct {
        struct schema *schema;     /* a share */
        struct table_state *state; /* borrowed from the catalogue, which keeps it to its end */
    } items[];
};

struct catalog {
    struct arena arena;                 /* writer only; texts of series and labels */
    struct cell tables;                 /* of struct table_list */
    struct series_slots *_Atomic slots; /* series_index.h */
    struct table_state **states; /* writer only: all, also of dropped tables; by table_id - 1 */
    size_t state_capacity;
    uint32_t next_table_id;
    struct rollup_state *rollups; /* writer only: all, also of dropped tables */
    struct series *deleted;       /* writer only: those with tombstones */
    _Atomic uint32_t series_count;
    _Atomic uint64_t changes; /* counts what a snapshot would show differently */
    struct series *_Atomic blocks[SERIES_BLOCKS_MAX];
};

/* An empty catalogue. Errors: NO_MEMORY; then catalog_free may be called all the same. */
enum err catalog_init(struct catalog *catalog);
/* When no task runs any more; shares of lists that somebody still holds stay whole but for states.
 */
void catalog_free(struct catalog *catalog);

/* ---- readers: any task ---- */

/* Gives a share of the tables as they are now. */
struct table_list *catalog_tables(struct catalog *catalog);
void table_list_release(struct table_list *list); /* NULL allowed */
/* Index in the list, by exact names, or -1. */
int table_list_find(const struct table_list *list, struct str ns, struct str name);
/* The series, borrowed until the catalogue's end. Any id: NULL if unknown, or lost to damage. */
struct series *catalog_series(const struct catalog *catalog, uint32_t id);

/* ---- the writer: the log task, or whoever opens before it runs ---- */

/* Tables that change at once. */
struct catalog_change {
    struct schema *schema;       /* borrowed; its table_id is set before */
    bool drop;                   /* its series stay, unseen; nothing if it is unknown */
    struct rollup_state *rollup; /* the catalogue's, from prepare on */
};
/* All that publishing them needs; nobody sees any of it. Gives: publish or abandon. Each table
 * stands in one change. Errors: NO_MEMORY, and then there is nothing to abandon. */
enum err catalog_prepare(struct catalog *catalog, struct catalog_change *changes, size_t count,
                         struct table_list **list);
/* Takes the list, which was prepared from the tables as they still are. */
void catalog_publish(struct catalog *catalog, const struct catalog_change *changes, size_t count,
                     struct table_list *list);
void catalog_abandon(const struct catalog_change *changes, size_t count, struct table_list *list);
/* Prepares and publishes one change of `schema` (takes, also on failure). Errors: NO_MEMORY; then
 * nothing changed. */
enum err catalog_change(struct catalog *catalog, struct schema *schema, bool drop);
/* Borrowed until the next change; NULL if unknown or dropped. */
struct schema *catalog_schema(struct catalog *catalog, uint32_t table_id);
/* Writer: what is kept beside the schema, made if missing; NULL: no memory. */
struct table_state *catalog_table_state(struct catalog *catalog, uint32_t table_id);
/* Any task: the id of a series, or 0. */
uint32_t catalog_find_series(const struct catalog *catalog, uint32_t table_id, struct str path);
/* Adds a series, or replaces the labels of a known one; `path` and labels are copied. id 0 = the
 * next; else the one that a record names. `*given`: its id. Errors: LIMIT (series of a node, names
 * of labels, length of the path), NO_MEMORY, CORRUPT (the id, or the path, is another's). */
enum err catalog_put_series(struct catalog *catalog, uint32_t id, uint32_t table_id,
                            struct str path, const struct label *labels, uint32_t label_count,
                            uint32_t *given);
/* Ids below these are taken, also where their record is lost. Errors: NO_MEMORY, CORRUPT (absurd
 * numbers). */
enum err catalog_reserve(struct catalog *catalog, uint32_t next_table_id, uint32_t series_count);
/* Notes the position of the record that says what the table or series is now. */
enum err catalog_logged_table(struct catalog *catalog, uint32_t table_id, uint64_t seq);
void catalog_logged_series(struct catalog *catalog, uint32_t id, uint64_t seq);
/* As `seq`: the record could not be written; it is due before the next rows of the series. */
#define CATALOG_NOT_LOGGED UINT64_MAX
bool catalog_labels_equal(const struct series *series, const struct label *labels, uint32_t count);

/* Bodies of the log's SCHEMA and SERIES records (little-endian, version byte first). */
void catalog_write_schema(struct buf *out, const struct schema *schema, bool dropped);
enum err catalog_read_schema(struct reader *in, struct schema **schema, bool *dropped,
                             struct why *why);
void catalog_write_series(struct buf *out, const struct series *series);
enum err catalog_read_series(struct catalog *catalog, struct reader *in, uint64_t seq,
                             struct why *why);

/* The whole catalogue as a file of records (store/record.h): what the log need not keep. Any task
 * may write one: it holds at least the first `series_count` series and the tables below
 * `next_table_id` (both as the writer saw them at position `seq`), perhaps newer ones too, which
 * the log then says again. `dirty`: what rollups had to compute at `seq` (rollup_states_write). */
enum err catalog_snapshot_write(struct catalog *catalog, struct os *os, const char *folder,
                                uint64_t seq, uint32_t next_table_id, uint32_t series_count,
                                struct str dirty, struct why *why);
/* The same with the tables of `tables` and only deletes at or below `deletes_up_to`: a backup's. */
enum err catalog_snapshot_write_as(struct catalog *catalog, const struct table_list *tables,
                                   uint64_t deletes_up_to, struct os *os, const char *folder,
                                   uint64_t seq, uint32_t next_table_id, uint32_t series_count,
                                   struct str dirty, struct why *why);
/* Reads it back into an empty catalogue. Damaged records are left out and told. Errors: NOT_FOUND,
 * IO, NO_MEMORY, FORMAT, CORRUPT (nothing was read). */
enum err catalog_snapshot_read(struct catalog *catalog, struct os *os, const char *folder,
                               uint64_t seq, void (*damage)(void *arg, const char *text), void *arg,
                               struct why *why);
void catalog_snapshot_name(char out[32], uint64_t seq);
/* The position in the name of the newest snapshot there is, 0: none. For when the manifest that
 * names it is lost: what is at or below it is in parts, which are durable before it is written. */
uint64_t catalog_snapshot_newest(struct os *os, const char *folder);

#endif
