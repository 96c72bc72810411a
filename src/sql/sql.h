/* sql.h - statements: text in, typed rows or an effect out.
 *
 * Life of a statement: sql_parse (text → tree, positions kept) → sql_bind (names → columns, types
 * checked, plan made) → sql_step (operators pushed over the sources' chunks, rows handed to the
 * sink). Reading statements finish inside sql_step. Statements that change something (INSERT,
 * CREATE TABLE…) do not change it themselves: they produce an *effect*, which the caller carries
 * out (a batch for the log, a document for the registry), because only the caller may wait for
 * another task.
 *
 * Thread: one statement belongs to one task; different statements run in parallel. Memory:
 * everything lives in the statement's arena, which counts against its budget. Time: deadline and
 * cancel are looked at at every chunk. */
#ifndef SQL_SQL_H
#define SQL_SQL_H

#include "data/batch.h"
#include "sql/source.h"
#include <stdatomic.h>

struct sql_statement; /* opaque */

struct function;
/* Functions of whoever runs the statement, beside the engine's own (func.h). */
struct sql_functions {
    const struct function *rows;
    size_t count;
};

/* What the engine needs of the world around a statement. All borrowed, valid until sql_close. */
struct sql_context {
    const struct sql_catalog *catalog;
    struct str ns;                   /* namespace; "default" */
    struct budget *budget;           /* memory of this statement */
    int64_t now_ns;                  /* wall clock at the statement's start: now() */
    int64_t (*mono_ns)(void *clock); /* monotonic, for the time limit */
    void *clock;
    int64_t deadline_mono_ns; /* INT64_MAX = none */
    _Atomic bool *cancelled;  /* may be NULL */
    size_t param_count;
    const struct value *params; /* $1… */
    enum type *param_types;     /* [param_count], may be NULL: receives what each was taken as */
    bool are_params_open; /* they are NULL because nobody knows them yet: the statement is asked for
                             its columns and types, and never run */
    struct str device_prefix; /* the node's path: INSERT puts it before relative device paths; may
                                 be empty */
    struct str zone; /* the time zone of windows and date functions that name none; "" = UTC */
    /* The bytes of a zone's TZif file. Errors: NOT_FOUND, IO. NULL: only UTC and fixed offsets. */
    enum err (*zone_load)(void *zone_context, const char *name, struct buf *bytes);
    void *zone_context;
    const struct sql_functions *functions; /* may be NULL */
    void *session;                         /* what those get as eval->session */
    struct budget
        *batch_budget; /* of batches made by INSERT, which outlive the statement; may be NULL */
    /* Other tasks for large scans; call NULL: none. `call` has begin(work) run on another task,
     * soon or late, but in any case; false: it will not. `wake`: the statement that said SQL_WAITS
     * goes on with sql_step, on any task. */
    bool (*call)(void *tasks, void (*begin)(void *work), void *work);
    void (*wake)(void *tasks);
    void *tasks;
    unsigned helpers_max;
    uint64_t helper_rows; /* one for so many rows; > 0 */
};

enum sql_verb {
    SQL_SELECT, /* also SHOW, DESCRIBE, EXPLAIN: rows come out */
    SQL_INSERT,
    SQL_CREATE_TABLE,
    SQL_ALTER_TABLE,
    SQL_DROP_TABLE,
    SQL_CHECKPOINT, /* everything applied so far goes to parts; VACUUM: and those are merged;
                       CONFIRM CLOCK: and who says so vouches for the wall clock */
    SQL_DELETE,
    SQL_CREATE_VIEW,
    SQL_DROP_VIEW,
};

/* Parses and binds one statement (an optional `;` at the end). On error *statement is NULL and
 * `why` has text and position. The context must stay until sql_close. */
enum err sql_prepare(const struct sql_context *context, struct str text,
                     struct sql_statement **statement, struct why *why);
void sql_close(struct sql_statement *statement); /* NULL allowed */

enum sql_verb sql_verb_of(const struct sql_statement *statement);
/* The relations touched, for access_check: name and whether read or written. */
struct sql_access {
    const char *schema, *table;
    bool writes;
};
size_t sql_accesses(const struct sql_statement *statement, const struct sql_access **accesses);

/* The result columns (after sql_prepare). */
struct sql_result_column {
    const char *name;
    enum type type;
    const char *unit; /* "" when none or no longer known */
};
size_t sql_columns(const struct sql_statement *statement, const struct sql_result_column **columns);

/* Where rows go: called with vectors of up to SQL_CHUNK_ROWS rows; `selection` lists the rows of
 * the vectors that count (NULL = 0…count-1). An error stops the statement and is returned by
 * sql_step. */
struct sql_sink {
    enum err (*rows)(void *context, const struct vector *columns, size_t column_count,
                     const uint16_t *selection, uint32_t row_count, struct why *why);
    void *context;
    /* Asked after each call of `rows`: true lets sql_step pause soon. NULL: never. */
    bool (*is_full)(void *context);
};

struct sql_stats {
    uint64_t rows_out;
    uint64_t helpers; /* other tasks that took part */
    struct sql_scan_stats scan;
};

/* The same in pieces: runs until the sink is full or the end (DONE, also on error). Every call gets
 * the same sink, stats and why; the task may be another one. The time limit goes on between calls;
 * sql_close ends what is not done. WAITS (only with sql_context.call): other tasks are at work on
 * the statement, one of which calls sql_context.wake, perhaps already: nothing of it, not even the
 * sink, may be touched until then. */
enum sql_progress { SQL_GOES_ON = 0, SQL_DONE, SQL_WAITS };
enum err sql_step(struct sql_statement *statement, const struct sql_sink *sink,
                  struct sql_stats *stats, enum sql_progress *progress, struct why *why);

/* The effect of INSERT: a sealed batch (gives; the caller releases it). Device "" rows are refused
 * with an error that says a device is needed. Columns absent from the column list stay absent;
 * explicit NULL is NULL. `time` absent = now. Devices are absolute paths, or relative to
 * `device_prefix` (see INTERFACES "Names"). */
enum err sql_insert_batch(struct sql_statement *statement, struct batch **batch, struct why *why);
/* INSERT … SELECT gives its rows in several batches: after each, whether sql_insert_batch shall be
 * called again. Its last one may be NULL: no rows. All read the statement's snapshot, so a table
 * may be inserted into itself. */
bool sql_insert_goes_on(const struct sql_statement *statement);
/* Whether it failed because context.batch_budget has no more now. INSERT … VALUES may be asked for
 * its batch again; INSERT … SELECT has lost rows that were read. */
bool sql_insert_lacks(const struct sql_statement *statement);

/* Of SQL_CHECKPOINT: whether it was VACUUM; whether it was CONFIRM CLOCK. */
bool sql_merges(const struct sql_statement *statement);
bool sql_confirms_clock(const struct sql_statement *statement);

/* The effect of DELETE: ranges of times, ends included, that hold exactly the rows that WHERE
 * selects, sorted by device and time. A WHERE of bounds for time and conditions on device and
 * labels gives one range a device without reading values (with the bounds as they stand: INT64_MIN
 * … INT64_MAX are open); otherwise selected rows that follow each other are one range. `rows` is
 * what they hold in the statement's snapshot. Borrowed until sql_close. */
struct sql_delete_range {
    struct str device; /* path */
    int64_t from_ns, to_ns;
};
struct sql_delete {
    const struct sql_delete_range *ranges; /* [count] */
    size_t count;
    uint64_t rows;
};
enum err sql_delete_of(struct sql_statement *statement, struct sql_delete *what, struct why *why);
/* The table that INSERT or DELETE changes; borrowed. */
const struct schema *sql_target(const struct sql_statement *statement);

/* The effect of DDL: what the registry's Table document shall become. */
struct sql_ddl {
    enum {
        DDL_CREATE,
        DDL_ADD_COLUMN,
        DDL_RENAME_COLUMN,
        DDL_SET_TYPE,
        DDL_COMMENT,
        DDL_SET,
        DDL_DROP
    } action;
    const char *table; /* SQL name */
    bool if_not_exists, if_exists;
    size_t column_count; /* CREATE: all; ADD: one or more; RENAME, SET_TYPE: one; COMMENT: one
                            or, when the table is meant, none */
    const struct sql_ddl_column {
        const char *name, *new_name, *unit, *description;
        enum type type;
    } * columns;
    const char *description; /* COMMENT ON TABLE */
    /* CREATE … WITH (…), ALTER … SET (…): retention = '90d' (0: for ever), rollups = '1m,1h' */
    bool sets_retention, sets_rollups;
    int64_t retention_ns;
    size_t rollup_count;
    const int64_t *rollups_ns;
};
/* The effect of CREATE VIEW and DROP VIEW: what the registry's View document shall become. The
 * query was bound, so it is good now; sql_accesses lists what it reads. */
struct sql_view {
    const char *name;
    struct str query; /* CREATE: its text */
    bool or_replace, if_not_exists, if_exists;
};
const struct sql_view *sql_view_of(const struct sql_statement *statement);
enum err sql_ddl_of(const struct sql_statement *statement, const struct sql_ddl **ddl);

#endif
