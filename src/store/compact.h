/* compact.h - merging small parts of one time partition into one.
 *
 * Every flush leaves one part for each partition it met. Merging makes scans touch fewer files and
 * blocks longer, resolves versions once and for all, and lets deleted rows go. It is never needed
 * for an answer to be right, so it waits: it runs on the flush task in small steps, between
 * flushes, and rests three times as long as it works, unless a partition has very many parts.
 *
 * Which parts: of one retention class, one partition and one origin, next to each other in the
 * order of their versions, of similar size. What comes out carries the highest version among them:
 * a true statement about all its rows, since no part in between is left out.
 *
 * Life: flush task: compact_begin → steps → output written. Log task: an operation of the flush
 * takes the output in and the inputs out, in one group of the manifest. A part that cannot be read
 * whole is never merged: what is damaged stays where it can be repaired.
 *
 * Owner: the flush task, but for `timer` and the jobs' hand-over. Private to store/. */
#ifndef STORE_COMPACT_H
#define STORE_COMPACT_H

#include "data/schema.h"
#include "loop/loop.h"
#include "sql/source.h"
#include "store/codec.h"
#include "store/part.h"

struct store;
struct part_list;
struct compact_rows; /* the block being filled */

struct compaction {
    bool running;             /* between begin and the output's taking in */
    bool ready;               /* the output is written; inputs go when the manifest says so */
    struct part_list *inputs; /* shares; NULL: not running */
    struct part *output;      /* NULL with ready: no row was left */
    struct part_info info;
    struct part_writer *writer;
    struct codec codec;
    struct budget budget;
    uint32_t *tables; /* ids of all inputs, ascending */
    uint32_t table_count, table_at;
    struct table_list *list;
    struct store_snapshot *snapshot;
    struct sql_table table;
    struct sql_scan_request request;
    struct sql_scan *scan;
    struct sql_scan_stats stats;
    struct compact_rows *rows;
    uint32_t series; /* being written, 0: none */
    bool hurry;
    size_t inputs_max;     /* fewer after memory was short */
    int64_t rest_ns;       /* before the next step */
    int64_t not_before_ns; /* monotonic: after a failure */
    struct job step, stepped;
    struct os_timer *timer; /* log task */
};

void compact_init(struct store *store);
/* Flush task: begins one if some parts are worth it; `all`: any two of one partition are. */
void compact_look(struct store *store, const struct part_list *list, bool all);
/* Flush task, in an operation over `list`: marks the inputs as dropped and gives a share of the
 * output (or NULL). False: nothing is ready, or an input has gone meanwhile (then it is undone). */
bool compact_take(struct store *store, const struct part_list *list, struct part **output);
/* The operation's end: the manifest has spoken. */
void compact_taken(struct store *store);
/* When no task runs any more. */
void compact_close(struct store *store);

#endif
