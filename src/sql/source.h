/* source.h - what a statement reads from: the interface between the query engine and whoever holds
 * rows.
 *
 * The engine never includes the store. The store's tables and the node's system tables (sys.points,
 * sys.connections…) implement this interface and are bound together in `node`. All calls happen on
 * the task that runs the statement (a worker); they may block on the disk, never on another thread.
 */
#ifndef SQL_SOURCE_H
#define SQL_SOURCE_H

#include "data/schema.h"
#include "data/vector.h"
#include <stdatomic.h>
#include <stdbool.h>

/* One relation as the binder sees it. Lives as long as the statement (sql_source_close_table). */
struct sql_table {
    const struct sql_source *source; /* who made it … */
    size_t source_at; /* … and its place in the catalogue, for sources may share their functions;
                         set by the engine */
    struct schema *schema; /* name, columns, types, units; shared */
    bool has_series; /* rows have time, device, quality, received and labels; false: a plain list of
                        columns (system tables) */
    bool quality_per_value; /* cells carry quality */
    size_t label_count;
    const char *const *labels; /* names of the labels that any of its devices has */
    void *handle;              /* the source's own */
};

/* One device filter that the planner could push down; all must hold. Equality of a label or of the
 * path
 * (`label` == "device") with one of `value_count` texts. The engine filters again itself, so a
 * source may ignore it. */
struct sql_series_filter {
    struct str label;
    size_t value_count;
    const struct str *values;
};

/* What is known of one column over many rows without reading them. */
struct sql_summary {
    uint64_t count;  /* values that are not NULL */
    bool has_values; /* the rest is set: a number, bool or timestamp with count > 0 */
    struct value least, most, first, last; /* first and last by time among those not NULL */
    __int128 sum_int;                      /* of BIGINT, UBIGINT, BOOL and TIMESTAMP */
    double sum_double;                     /* of DOUBLE */
};

/* Rows count only if the column compares so with the value, which is of the column's type: bigint,
 * ubigint, double or timestamp. The engine looks itself again, so a source may ignore it, or leave
 * out by it what it knows enough of. */
enum sql_compare { SQL_LESS, SQL_LESS_EQUAL, SQL_MORE, SQL_MORE_EQUAL, SQL_EQUAL };
struct sql_bound {
    size_t column; /* index in request.columns */
    enum sql_compare compare;
    struct value value;
};
enum { SQL_BOUNDS_MAX = 4 };

/* What a scan shall deliver. */
struct sql_scan_request {
    int64_t time_from_ns, time_to_ns; /* from ≤ time < to; INT64_MIN/MAX = open */
    size_t column_count;
    const uint16_t *columns; /* column ids to deliver, in this order */
    size_t label_count;
    const char *const *labels; /* label names to deliver, in this order */
    size_t filter_count;
    const struct sql_series_filter *filters;
    size_t bound_count;
    struct sql_bound bounds[SQL_BOUNDS_MAX]; /* all must hold */
    /* Set: whether a device can have rows that count, by its path and labels alone (labels as
     * `labels` has them; at NULL: it lacks one), on the scan's task, inside scan_open or scan_next.
     * Not called while a chunk is in use. A source may ignore it. */
    bool (*wants_series)(void *context, struct str device, const struct str *labels);
    void *wants_context;
    bool want_device, want_received;
    bool want_time;     /* false: the time vector may be left out (count(*)) */
    bool reads_once;    /* nobody asks for these rows again soon: no cache is asked or filled */
    bool newest_first;  /* chunks of a series from the newest time down (rows inside descend too) */
    uint64_t row_limit; /* per series: no more rows are needed; 0 = all. A hint with newest_first
                           for last() */
    /* Set: rows of times [first, last] of one series may come as a summary when this says that they
     * belong together. */
    bool (*summarises)(void *context, int64_t first_ns, int64_t last_ns);
    void *summary_context;
    bool summary_ignores_bounds; /* least and most may be left out */
    bool summary_needs_ends;     /* first and last are wanted: only columns without NULL will do */
    /* Set: the series are shared out among several scans of one snapshot; a source that has
     * scan_rows must heed it. */
    struct sql_scan_share *share;
    /* Of a helper: asked before it takes a series; true: it takes no more. NULL: not a helper. */
    bool (*declines)(void *context);
    void *declines_context;
};

/* What the scans share. All zero at first. */
struct sql_scan_share {
    _Atomic uintptr_t next;  /* the source's own */
    _Atomic bool is_over;    /* nobody takes any more */
    _Atomic bool is_private; /* helpers take no more */
};

enum { SQL_CHUNK_ROWS = 1024 };

/* Up to SQL_CHUNK_ROWS rows. With series: all rows are of ONE series (table, device); a series'
 * chunks come one after the other in time order (ascending unless newest_first), every row key once
 * (upserts resolved); series come in ascending order of path or id, the same in every scan of one
 * statement. Vectors are valid until the next call of next or close; those of labels and device are
 * constants. */
struct sql_chunk {
    uint32_t row_count;
    uint32_t series;        /* 0 without series */
    struct vector time;     /* TIMESTAMP; count 0 when not wanted */
    struct vector device;   /* TEXT, constant */
    struct vector received; /* TIMESTAMP */
    struct vector *columns; /* [request.column_count] */
    struct vector
        *labels; /* [request.label_count], TEXT, constants; NULL where a device lacks it */
    /* Not NULL: the chunk is a summary. `columns` is NULL, row_count may be above SQL_CHUNK_ROWS,
     * `time` is the first row's alone (a constant), those of summary_last_ns the last's. */
    const struct sql_summary *summaries; /* [request.column_count] */
    int64_t summary_last_ns;
};

struct sql_scan; /* the source's own, beginning */

struct sql_scan_stats {
    uint64_t rows, parts, blocks, bytes; /* read */
    uint64_t summaries;                  /* blocks whose statistics were enough */
    uint64_t passed_by;                  /* blocks without a row within the bounds */
    uint64_t spans;                      /* stretches of rows that were still in memory */
    uint64_t windows;                    /* of rollups, in place of rows */
    char rollups[160];                   /* their names, separated by commas */
    uint64_t damaged;                    /* places left out because they cannot be read */
};

/* A line of SHOW TABLES. */
struct sql_table_name {
    const char *schema; /* "public", "sys" */
    const char *name;
    const char *description;
};

struct sql_source {
    const char *name; /* "store", "sys" */
    /* Finds a relation. `schema` is "" (bare name), "public" or "sys". NOT an error when unknown:
     * OK with table->schema NULL. */
    enum err (*find_table)(void *context, struct str ns, struct str schema, struct str name,
                           struct arena *arena, struct sql_table *table, struct why *why);
    void (*close_table)(void *context, struct sql_table *table);
    /* The query that a view stands for, in `arena`; NOT an error when there is none: text->at NULL.
     * May be NULL: no views. */
    enum err (*find_view)(void *context, struct str ns, struct str schema, struct str name,
                          struct arena *arena, struct str *text);
    /* Names of relations of a namespace, for SHOW TABLES and "did you mean". Sorted; in `arena`. */
    enum err (*list_tables)(void *context, struct str ns, struct arena *arena,
                            struct sql_table_name **names, size_t *count);
    /* Opens a scan over the rows applied at this moment (the statement's snapshot: `snapshot` was
     * made once by snapshot_open and is the same for every scan of the statement). */
    enum err (*scan_open)(void *context, void *snapshot, struct sql_table *table,
                          const struct sql_scan_request *request, struct budget *budget,
                          struct sql_scan **scan, struct why *why);
    /* How many rows a scan may have to look at, roughly; few where it names its devices. NULL: the
     * source's scans cannot be shared. */
    uint64_t (*scan_rows)(void *context, void *snapshot, struct sql_table *table,
                          const struct sql_scan_request *request);
    /* chunk->row_count == 0 at the end. */
    enum err (*scan_next)(struct sql_scan *scan, struct sql_chunk *chunk, struct why *why);
    void (*scan_close)(struct sql_scan *scan, struct sql_scan_stats *stats);
    /* For EXPLAIN: names of other tables that such a scan may read in place of this one's rows are
     * added to `out`. May be NULL. */
    void (*explain_scan)(void *context, struct sql_table *table,
                         const struct sql_scan_request *request, struct buf *out);
    enum err (*snapshot_open)(void *context, void **snapshot);
    void (*snapshot_close)(void *context, void *snapshot);
};

/* Several sources asked in order (the user's tables before sys: a bare name finds the user's
 * first). */
enum { SQL_SOURCES_MAX = 4 };
struct sql_catalog {
    size_t count;
    struct {
        const struct sql_source *ops;
        void *context;
    } source[SQL_SOURCES_MAX];
};

#endif
