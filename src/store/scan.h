/* scan.h - what the files of a scan share: runs, and the merge over them.
 *
 * A run is one sorted source of a series' rows: its blocks in one part, the main chain of a head,
 * or the late rows of a head. It shows a span of rows at a time, as vectors of the columns wanted.
 * A block is *pending* before it is read: where nothing else has rows in its time, its statistics
 * may stand for it.
 * Within a run of blocks or of a main chain times are unique; late rows may repeat a time, with
 * different versions.
 *
 * Memory: a run's rows live in its own arena until its next span; what is merged row by row is
 * built in the scan's scratch. Runs of parts are opened when the merge comes to their first time,
 * and give their memory back at their end. Private to store/. */
#ifndef STORE_SCAN_H
#define STORE_SCAN_H

#include "store/part_column.h"
#include "store/store_priv.h"

enum {
    SCAN_HEAD_RUNS = 2 * VIEW_HEADS_MAX,
    SCAN_FILES_MAX = 32, /* parts a scan holds open at once */
};

struct table_handle {
    struct table_list *list;
    struct schema *schema;
    struct table_state *state;
};

/* A part as one scan uses it. */
struct scan_part {
    struct part *part;
    int64_t bound_ns; /* nothing of it comes before this in the scan's order */
    bool looked, broken;
    struct part_file file;
    struct part_cursor *cursor;
};

enum run_kind { RUN_PART, RUN_MAIN, RUN_LATE };

struct run {
    enum run_kind kind;
    /* The span: rows [at, end). */
    uint32_t at, end;
    int64_t *time;
    const uint64_t *seq; /* NULL: all have `version` */
    uint64_t version;
    struct vector *columns; /* [request.column_count] */
    bool is_unique;         /* no time twice, here or in a later span */
    struct arena rows;      /* of the span */
    struct arena index;     /* of the run */
    /* Where the next span comes from. */
    struct scan_part *part;
    struct part_run blocks;
    struct span *span; /* share: the rows come from it */
    uint32_t block;    /* blocks already shown */
    /* A block that comes next and was not read yet: then at == end, and pending_ns is its first
     * time in the scan's order. */
    const struct part_block *pending;
    int64_t pending_ns;
    struct slices *slices;    /* of it, when it is shown in summaries (scan_slice.c); in `rows` */
    struct head_chunk *chunk; /* MAIN: next one */
    struct head_ref *refs;    /* LATE: in the scan's order */
    size_t ref_count, ref_at, ref_capacity;
};

struct sql_scan {
    uint32_t magic; /* SCAN_MAGIC while it lives */
    struct store *store;
    struct table_handle *handle;
    struct store_snapshot *snapshot;
    struct sql_scan_request request; /* arrays borrowed from the statement */
    int64_t from_ns;                 /* as the statement asks; request's is of the series */
    enum type *types;                /* of the columns wanted */
    struct series *series;           /* the one being delivered */
    struct rollup_read *rollup;      /* not NULL: windows may stand for rows (scan_rollup.c) */
    struct series **chosen;          /* is_chosen: no others can be wanted; by id */
    size_t chosen_count, chosen_at;
    bool is_chosen;
    bool series_done, ended;
    bool lost; /* something of the series could not be read; whoever looks at it lowers it */
    struct deleted deleted; /* of it, as the snapshot sees it */
    struct arena deleted_memory;
    uint64_t delivered;           /* rows of it so far */
    struct codec codec;           /* opened with the first part */
    struct scan_part *parts;      /* in the order of their bounds */
    size_t part_count, part_next; /* part_next: not opened yet for this series */
    size_t file_next;             /* ring of open files */
    struct scan_part *open_files[SCAN_FILES_MAX];
    struct run *runs; /* one per part, then those of the heads */
    size_t run_count;
    struct run **active; /* with rows */
    size_t active_count;
    struct vector *columns, *labels;
    struct str *label_values; /* of a series that is asked about */
    struct sql_summary *summaries;
    uint64_t *versions;   /* of the cells of the row being merged */
    struct arena fixed;   /* lives as long as the scan */
    struct arena scratch; /* per chunk delivered */
    struct budget *budget;
    struct sql_scan_stats stats;
};

/* Whether time a comes before time b in the scan's order. */
static inline bool scan_before(const struct sql_scan *scan, int64_t a, int64_t b)
{
    return scan->request.newest_first ? a > b : a < b;
}
/* A vector that is NULL in every row. */
enum err scan_absent(struct arena *arena, struct vector *v, enum type type, uint32_t count,
                     uint32_t quality);

/* merge.c: begins the scan's series; its next rows (row_count 0 and series_done at its end). */
enum err merge_begin(struct sql_scan *scan, struct why *why);
enum err merge_next(struct sql_scan *scan, struct sql_chunk *out, struct why *why);

/* scan_head.c, scan_part.c: open a run of the current series, and show its next span; `at == end`
 * after it: no more. */
enum err run_open_main(struct sql_scan *scan, struct run *run, struct head_series *rows);
enum err run_open_late(struct sql_scan *scan, struct run *run, struct head_series *rows);
enum err run_open_part(struct sql_scan *scan, struct run *run, struct why *why);
enum err run_next_main(struct sql_scan *scan, struct run *run, struct why *why);
enum err run_next_late(struct sql_scan *scan, struct run *run, struct why *why);
/* Of a part: the next span is pending. */
void run_next_part(struct sql_scan *scan, struct run *run);
/* Reads the pending block; what cannot be read leaves no rows. */
enum err run_load(struct sql_scan *scan, struct run *run, struct why *why);
/* Whether no row of the pending block can count; then it is no longer pending. No other run may
 * have rows in its time. */
bool run_pass_by(struct sql_scan *scan, struct run *run);
/* The pending block, or the next rows of it that belong together, as a summary, if the statement
 * takes it so; after its last rows it is no longer pending. No other run may have rows in its time.
 */
bool run_summarise(struct sql_scan *scan, struct run *run, struct sql_chunk *out);
/* scan_slice.c: the same for a block that a window ends in. */
bool run_slice(struct sql_scan *scan, struct run *run, struct sql_chunk *out);
/* scan_part.c: opens the run's file and reads ahead what the scan wants of the block. */
enum err run_read_ahead(struct sql_scan *scan, struct run *run, const struct part_block *block,
                        struct why *why);
/* scan_span.c: a run of the current series whose rows were asked for lately; `*taken` false: there
 * are none that do. And: keeps the rows around those the run shows now, if only few of its block's
 * are wanted; `index`: of the block. */
enum err run_take_span(struct sql_scan *scan, struct run *run, bool *taken);
void run_keep_span(struct sql_scan *scan, struct run *run, uint32_t index);
/* Whether it will keep some of that block, by the share of its time that is wanted. */
bool run_keeps_span(const struct sql_scan *scan, const struct run *run, uint32_t index);
/* Leaves deleted rows out of the span (delete.c). */
enum err run_hide(struct sql_scan *scan, struct run *run);
void run_clear(struct sql_scan *scan, struct run *run);

/* scan.c: what was deleted of the scan's series in its range; begins the series with it. */
enum err scan_note_deleted(struct sql_scan *scan);
enum err scan_begin_series(struct sql_scan *scan, struct why *why);

/* What EXPLAIN says: the rollups that a scan might use, separated by commas. */
void rollup_read_names(const struct store *store, const struct table_handle *handle,
                       const struct sql_scan_request *request, struct buf *out);
/* scan_rollup.c: sets scan->rollup if one may answer for the base table's rows; begins the scan's
 * series; its next rows or windows, as merge_next. */
enum err rollup_read_open(struct sql_scan *scan, struct why *why);
void rollup_read_close(struct sql_scan *scan);
enum err rollup_read_begin(struct sql_scan *scan, struct why *why);
enum err rollup_read_next(struct sql_scan *scan, struct sql_chunk *out, struct why *why);

/* Narrows the span [0, count) of ascending times to the scan's range. */
void run_narrow(const struct sql_scan *scan, struct run *run, uint32_t count);
/* Brings the columns of a span to the types wanted. CONFLICT: the table was changed after the
 * statement was bound. */
enum err run_fit_types(struct sql_scan *scan, struct run *run, struct why *why);
/* Turns the span round for newest_first; with a row limit only what can be needed. */
enum err run_reverse(struct sql_scan *scan, struct run *run);

#endif
