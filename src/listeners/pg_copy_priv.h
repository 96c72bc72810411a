/* pg_copy_priv.h - one COPY of a connection. */
#ifndef LISTENERS_PG_COPY_PRIV_H
#define LISTENERS_PG_COPY_PRIV_H

#include "listeners/pg_copy_text.h"
#include "listeners/pg_priv.h"

enum {
    PG_COPY_CHUNK_BYTES = 256 * 1024, /* of rows that go to a worker at once */
    PG_COPY_OPEN_MAX = 4,             /* batches on their way to the log */
    PG_COPY_FRUITLESS_MAX = 10,       /* waits for memory without a row in between */
};

/* Where a field of a row goes. */
struct pg_copy_target {
    enum { COPY_TIME, COPY_DEVICE, COPY_LABEL, COPY_COLUMN } kind;
    const struct column *column;
    const char *name;
    const struct pg_type *type;
};

struct pg_copy_append {
    struct store_append append; /* first */
    struct pg_copy *copy;
    uint64_t rows;
};

struct pg_copy {
    struct pg_connection *connection;
    struct arena arena;        /* lives as long as the copy */
    struct str table, columns; /* as written */
    struct token table_token;
    struct pg_copy_reader reader; /* its options also say how rows go out */
    struct buf scratch;
    /* In: what follows is COPY … FROM STDIN's. */
    bool is_in;
    struct identity *identity; /* shared */
    struct schema *schema;     /* shared */
    bool is_limited;           /* each device has to be looked at */
    size_t target_count;
    struct pg_copy_target *targets;
    struct buf filling, work; /* what comes in; what a worker reads */
    size_t work_used;
    size_t taken; /* reserved for `filling` */
    bool is_header_read;
    bool has_ended;        /* CopyDone has come */
    bool is_working;       /* a worker has `work` */
    bool is_last;          /* … and nothing comes behind it */
    bool is_read;          /* to the end */
    bool has_more;         /* rows are left in `work`: the batch was full */
    bool is_lacking;       /* no memory for a batch … */
    bool is_waiting;       /* … until one that is on its way is answered, or … */
    struct room_wait wait; /* … when there are none, until others give some back */
    size_t need_bytes;     /* what the last wait asked for */
    unsigned fruitless;    /* waits since the last row */
    struct job job;
    struct completion back;
    struct batch *batch; /* made by the worker */
    uint64_t batch_rows;
    unsigned open_count; /* appends not answered */
    uint64_t stored;     /* rows in batches that were acknowledged */
    enum err err;        /* the first */
    struct why why;
    struct arena row_arena;
    char device[1024]; /* looked at last */
    bool device_allowed;
    int64_t now_ns;
};

enum err pg_copy_start_in(struct pg_call *call, struct pg_copy *copy, struct why *why);
void pg_copy_answer_in(struct buf *out, bool is_binary, size_t columns);

#endif
