/* query.h - one statement from any listener: to a worker and back.
 *
 * Main loop: query_start takes the snapshot of the system tables and hands over → worker: parse,
 * bind, check rights, run; rows go through the format's writer into the answer (a long one in
 * parts, each over the main loop) → main loop: what changes something is carried out (a batch to
 * the log, a table's definition), then `completion.done`. */
#ifndef LISTENERS_QUERY_H
#define LISTENERS_QUERY_H

#include "listeners/guard_source.h"
#include "listeners/pg_catalog.h"
#include "listeners/service.h"
#include "listeners/sys_source.h"
#include "listeners/views.h"

struct query;

enum query_time_format {
    QUERY_TIME_RFC3339,
    QUERY_TIME_NS,
    QUERY_TIME_US,
    QUERY_TIME_MS,
    QUERY_TIME_S
};

struct query_format {
    const char *name; /* "json", "csv", "ndjson", "arrow" */
    const char *content_type;
    void (*begin)(struct query *query, struct buf *out);
    void (*row)(struct query *query, struct buf *out, const struct value *values, size_t count);
    void (*end)(struct query *query, struct buf *out);
    void (*free)(struct query *query); /* NULL, or frees query->writing */
};
extern const struct query_format query_formats[]; /* ended by a NULL name */
const struct query_format *query_format_of(
    struct str accept_or_name); /* never NULL: JSON by default */

enum {
    QUERY_PARAMS_MAX = 64,
    QUERY_TEXT_BYTES_MAX = 1024 * 1024,
    QUERY_ANSWER_BYTES_MAX = 64 * 1024 * 1024,
    QUERY_PART_BYTES = 256 * 1024, /* on_part gets at least so much, but for the last */
};

struct query {
    struct completion completion; /* first; home = main loop */
    /* Set by the caller. */
    struct service *service;
    struct identity *identity; /* borrowed until done */
    struct str text, ns;       /* borrowed until done */
    size_t param_count;
    struct value params[QUERY_PARAMS_MAX];
    bool are_params_open; /* only asked for columns and types; the NULLs stand for any value */
    const struct query_format *format;
    enum query_time_format time_format;
    struct str zone;    /* of windows and date functions; empty = UTC; borrowed until done */
    bool is_zone_known; /* the caller has looked at it */
    int64_t limit_ns;   /* of its time; 0, or more than the node's limit: that one */
    /* The limit begins anew with each part that on_part takes: a long answer ends by its reader. */
    bool is_limit_of_part;
    /* Optional: told on the main loop when the statement is parsed and bound: its verb, columns and
     * parameter types are known, nothing has run. It calls query_continue, then or later, or
     * query_free. */
    void (*on_prepared)(struct query *query);
    /* Optional: takes over what is in `answer` of a long SELECT (main loop) and calls
     * query_continue, then or later. Without it the answer is gathered whole, up to
     * QUERY_ANSWER_BYTES_MAX. Instead of going on it may end all with query_free. */
    void (*on_part)(struct query *query);
    size_t part_bytes; /* 0 = QUERY_PART_BYTES; small: on_part comes soon */
    /* The answer. */
    struct buf answer; /* the text, or its last part; the caller frees with query_free */
    enum sql_verb verb;
    uint64_t rows; /* out, inserted or deleted */
    struct sql_stats stats;
    enum type param_types[QUERY_PARAMS_MAX]; /* what parameters became; NONE = not used */
    int64_t run_ns, part_start_ns, part_end_ns;
    /* The module's own. */
    void *writing; /* the format's */
    struct job job;
    struct pool *pool; /* where it is run; helpers too */
    bool is_timed;     /* part_start_ns counts: the part goes on on another task */
    struct budget budget;
    struct sys_snapshot *sys;
    struct sql_statement *statement;
    struct guard guard;
    struct pg_catalog pg; /* the caller may set session and pid */
    struct sql_catalog catalog;
    struct completion audited;
    struct sql_context context;
    struct sql_sink sink;
    struct why run_why;
    bool is_begun; /* past on_prepared */
    bool is_done;  /* the statement gives no more rows */
    const struct sql_result_column *columns;
    struct sql_result_column count_column;
    size_t column_count;
    struct store_append append;
    bool may_repeat;       /* INSERT … VALUES: a batch that found no memory is made again */
    struct room_wait wait; /* … when there is some */
    unsigned waits;
    struct table_change change;
    struct store_flush flush;
    struct store_delete delete;
    struct view_change view;
    enum err run_err;
};

/* Main loop. All but what the caller sets is zero. Errors come with the completion: those of the
 * statement, FORBIDDEN, LIMIT (the answer, result columns), CANCELLED (the node stops). */
void query_start(struct query *query);
void query_continue(struct query *query); /* after on_prepared or on_part; main loop */
/* A statement that runs ends with CANCELLED at its next chunk, one that waits for memory at once;
 * one that waits for what another task tells of the system tables sees it when it goes on. What is
 * on its way to the log or the registry is not stopped. Afterwards the completion comes as ever,
 * perhaps inside the call. Main loop; from query_start until the completion. */
void query_cancel(struct query *query);

/* The answer and what is left of the statement; not the struct. When done, or instead of
 * query_continue: `completion` is then never finished. */
void query_free(struct query *query);

#endif
