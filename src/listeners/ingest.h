/* ingest.h - rows that arrive by writing: tables and columns are made as needed, batches go to the
 * log, the answer waits until they are durable. Used by line protocol, JSON rows and Prometheus.
 *
 * A text of any size becomes batches piece by piece, so that it takes a share of the memory for
 * rows on their way and not a multiple of its own size. Without memory for the next row it waits:
 * for its own batches, and when there are none in the room that all share (loop/room.h). It follows
 * that a request which is refused at last may have stored its first rows; rows are upserts, so
 * sending it again does no harm. */
#ifndef LISTENERS_INGEST_H
#define LISTENERS_INGEST_H

#include "data/json_rows.h"
#include "data/prometheus.h"
#include "listeners/service.h"

enum { INGEST_TABLES_MAX = 256, INGEST_ERRORS_SHOWN = 5 };

/* One table that the text writes to. */
struct ingest_table {
    char name[SCHEMA_NAME_BYTES_MAX + 1];
    bool is_limited;       /* each device has to be looked at: not all may be written */
    struct schema *schema; /* as known now; NULL = not there yet */
    struct schema *wanted; /* with columns added, to be defined; NULL = fits */
    struct batch *batch;   /* being filled */
    size_t batch_bytes;    /* of it, as counted in the piece */
    uint64_t from;         /* this round takes its lines from this number on */
    uint64_t waits_from;   /* the first line that waits for a table or column; 0 = none */
    const struct column
        *at[64]; /* the columns of the last line's fields, by position: lines look alike */
};

/* One batch on its way. */
struct ingest_append {
    struct store_append append; /* first */
    struct ingest *ingest;
    struct ingest_append *next; /* while it is sealed and not sent */
};

/* Where the reader stands: a row that found no memory is read again from here. */
struct ingest_place {
    uint64_t number;
    struct str rest; /* line protocol */
    struct json_rows json;
    struct prometheus_rows prometheus;
    /* Messages (mqtt_rows.c): the one whose rows are being read. */
    size_t offset;
    struct str topic;
    int64_t time_ns;
    bool has_row;
};

enum ingest_state {
    INGEST_READING,  /* the worker has it */
    INGEST_DEFINING, /* a table is made or widened */
    INGEST_CUT,      /* the round goes on when batches of its own are stored */
    INGEST_WAITING,  /* the same, when there is memory */
    INGEST_OVER,     /* done when all batches are stored */
};

struct ingest;

/* A notation of rows. */
struct ingest_format {
    const char *unit;                     /* "line": what errors count */
    void (*begin)(struct ingest *ingest); /* at the first row, once a round */
    /* The next row into ingest->line; ingest->number counts. `*found` false: the end, unless there
     * is an error (of this row, or of the whole rest). */
    enum err (*next)(struct ingest *ingest, bool *found, struct why *why);
    /* Makes a value one of a column's type; false: it does not fit. */
    bool (*convert)(struct value *value, enum type type, struct arena *scratch);
    uint32_t label_from;   /* tags from this one on are labels: JSON's first one is the device */
    const char *no_device; /* what to say when a row has none */
    /* Set: all tags name the device, this one first, and what a path cannot hold is encoded. */
    const char *first_tag;
    /* Optional: told of each row that is refused. On the worker. */
    void (*on_refused)(struct ingest *ingest, const struct why *why, enum err err);
};
extern const struct ingest_format ingest_line_protocol, ingest_json, ingest_prometheus;

struct ingest {
    struct completion completion; /* first; err only when nothing could be read at all */
    struct service *service;
    struct identity *identity; /* borrowed */
    const struct ingest_format *format;
    struct str text, ns;      /* borrowed until done */
    struct str table, device; /* JSON: where rows go; the device of those that name none */
    int64_t unit_ns;          /* line protocol: of timestamps */
    bool shows_text;          /* line protocol: errors show the line, for who cannot look it up */
    /* The answer. */
    uint64_t lines, rows, refused;
    struct buf errors; /* texts of the first refused lines, "line N: …" one per line */
    /* The module's own. */
    enum ingest_state state;
    struct job job;
    struct ingest_table *tables;
    size_t table_count, table_capacity, define_at;
    unsigned rounds; /* gone through */
    int64_t now_ns;
    struct store_define define;
    struct ingest_append *sealed, **sealed_tail; /* the piece's batches, to be sent */
    size_t open_appends;                         /* sent */
    size_t piece_bytes;                          /* taken by the piece so far */
    bool is_cut;     /* the piece ended before the text: it is full, or … */
    bool is_lacking; /* … no memory was left for the next row */
    uint64_t piece_rows;
    size_t need_bytes;  /* what the last wait asked for */
    unsigned fruitless; /* waits since the last row */
    struct room_wait wait;
    enum err append_err;
    struct why append_why;
    struct line *line;
    const struct column *columns[LINE_FIELDS_MAX]; /* of the line's fields; NULL: there is none */
    struct str row;                                /* line protocol: the line being read */
    struct ingest_place at;                        /* number: of the row being read, from 1 */
    char path[1024];                               /* of the line's device */
    struct arena scratch;
};

/* What an acknowledgement for rows of the table waits for: with durability `interval` nothing but
 * that they are applied, since the log syncs within a second anyway (the shortest interval). */
static inline enum store_ack store_ack_of(const struct schema *schema)
{
    return schema->durability == DURABILITY_INTERVAL ? STORE_ACK_APPLIED : STORE_ACK_DURABLE;
}

void ingest_start(struct ingest *ingest);
/* The sender is gone: what waits for memory is dropped (CLOSED), what is on its way goes on. Main
 * loop, between start and done. */
void ingest_cancel(struct ingest *ingest);
void ingest_on_gone(void *ingest);       /* the same, for http_on_gone */
void ingest_free(struct ingest *ingest); /* not the struct */

/* POST /write; `arg` = the service. */
void api_write(struct http_exchange *exchange, void *arg);
/* POST /v1/rows?table=T[&device=D][&ns=N]. */
void api_rows(struct http_exchange *exchange, void *arg);
/* POST /prometheus/api/v1/write[?ns=N]. */
void api_prometheus_write(struct http_exchange *exchange, void *arg);

#endif
