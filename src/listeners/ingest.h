/* ingest.h - rows that arrive by writing: tables and columns are made as needed, batches go to the
 * log, the answer waits until they are durable. Used by line protocol (more inputs follow). */
#ifndef LISTENERS_INGEST_H
#define LISTENERS_INGEST_H

#include "listeners/service.h"

enum { INGEST_TABLES_MAX = 256, INGEST_ERRORS_SHOWN = 5 };

/* One table that the text writes to. */
struct ingest_table {
    char name[SCHEMA_NAME_BYTES_MAX + 1];
    bool is_limited;       /* each device has to be looked at: not all may be written */
    struct schema *schema; /* as known now; NULL = not there yet */
    struct schema *wanted; /* with columns added, to be defined; NULL = fits */
    struct batch *batch;   /* being filled */
    uint64_t from;         /* this round takes its lines from this number on */
    uint64_t waits_from;   /* the first line that waits for a table or column; 0 = none */
    const struct column
        *at[64]; /* the columns of the last line's fields, by position: lines look alike */
};

/* One batch on its way. */
struct ingest_append {
    struct store_append append; /* first */
    struct ingest *ingest;
};

struct ingest {
    struct completion completion; /* first; err only when nothing could be read at all */
    struct service *service;
    struct identity *identity; /* borrowed */
    struct str text, ns;       /* borrowed until done */
    int64_t unit_ns;
    /* The answer. */
    uint64_t lines, rows, refused;
    struct buf errors; /* texts of the first refused lines, "line N: …" one per line */
    /* The module's own. */
    struct job job;
    struct ingest_table *tables;
    size_t table_count, table_capacity, define_at;
    unsigned rounds; /* gone through */
    int64_t now_ns;
    struct store_define define;
    struct ingest_append *appends;
    size_t append_count, append_capacity, open_appends;
    enum err append_err;
    struct why append_why;
    struct line *line;
    char path[1024]; /* of the line's device */
    struct arena scratch;
};

/* What an acknowledgement for rows of the table waits for: with durability `interval` nothing but
 * that they are applied, since the log syncs within a second anyway (the shortest interval). */
static inline enum store_ack store_ack_of(const struct schema *schema)
{
    return schema->durability == DURABILITY_INTERVAL ? STORE_ACK_APPLIED : STORE_ACK_DURABLE;
}

void ingest_start(struct ingest *ingest);
void ingest_free(struct ingest *ingest); /* not the struct */

/* POST /write; `arg` = the service. */
void api_write(struct http_exchange *exchange, void *arg);

#endif
