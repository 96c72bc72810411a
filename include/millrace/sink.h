/* sink.h - the interface of a sink: where rows of a table go outside. Built into Millrace, or a
 * shared object.
 *
 * A sink is one const `struct millrace_sink`. The host reads the table by a cursor, chooses columns
 * and rows, cuts batches, keeps the cursor durably, tries again with a growing pause, counts and
 * shows. What is left to a sink: take a batch, and say when it is durable outside.
 *
 * What is promised: every row is handed over at least once; rows of one device in the order of
 * their times, as long as they were written in it; a batch only when the one before it was
 * confirmed. After a crash, or when a batch was not confirmed, rows come again, cut differently
 * perhaps: what a row is, (table, device, time) says. `id` names the hand-over, for logs.
 *
 * Rules for every operation: those of one sink run on one thread of its own, one at a time, and may
 * block there (a socket, a file) for some seconds; a node that stops waits 3 s for one under way,
 * then it goes without it (what is not confirmed comes again) and begins no other one.
 * What is given is borrowed during the call. `why` is empty then; what is written there counts up
 * to its first NUL, or as a whole. An answer that is none of enum millrace_sink_answer is a refusal
 * that is not skipped. A sink keeps its state in `state_bytes`, zeroed by the host before open.
 *
 * Versions: a host takes a sink whose `abi` equals MILLRACE_SINK_ABI; operations that come later
 * are appended, `size_bytes` tells which a sink has. A shared object is named
 * millrace-sink-NAME.so, exports `const struct millrace_sink *millrace_sink_entry(void)`, needs
 * this header and a C library only, and lies where drivers do. */
#ifndef MILLRACE_SINK_H
#define MILLRACE_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MILLRACE_SINK_ABI   1u
#define MILLRACE_SINK_ENTRY "millrace_sink_entry"

enum { MILLRACE_SINK_WHY_BYTES = 240 };

/* ---- rows ---- */

/* The numbers are part of the interface: only append. */
enum millrace_sink_type {
    MILLRACE_SINK_BOOL = 1, /* uint8_t, 0 or 1 */
    MILLRACE_SINK_INT = 2,  /* int64_t */
    MILLRACE_SINK_UINT = 3, /* uint64_t */
    MILLRACE_SINK_DOUBLE = 4,
    MILLRACE_SINK_TEXT = 5,    /* struct millrace_sink_text, UTF-8 */
    MILLRACE_SINK_BYTES = 6,   /* the same, any bytes */
    MILLRACE_SINK_TIME = 7,    /* int64_t, ns since 1970 */
    MILLRACE_SINK_DOUBLES = 8, /* struct millrace_sink_text over size / 8 doubles */
};

struct millrace_sink_text {
    const char *at; /* not terminated */
    size_t size;
};

/* A cell that its row does not have is null with this quality: it is no value, leave it out. Other
 * qualities are OPC UA status codes; 0 = Good. */
#define MILLRACE_SINK_NO_DATA 0x00A50000u

struct millrace_sink_column {
    const char *name, *unit; /* unit "" = none or not known */
    enum millrace_sink_type type;
    const uint8_t *null;     /* [row_count] 1 = null */
    const uint32_t *quality; /* [row_count] */
    const void *data;        /* [row_count] of what the type says */
};

struct millrace_sink_batch {
    uint64_t id;            /* of this hand-over; grows */
    const char *ns, *table; /* table: "" of a query that runs at an interval */
    size_t row_count;
    const int64_t *time_ns;                  /* [row_count] */
    const struct millrace_sink_text *device; /* [row_count]; of a table equal ones stand together;
                                                of a query "" where it has none */
    size_t column_count;                     /* those asked for … */
    size_t extra_count;                      /* … and behind them what topics are made of */
    const struct millrace_sink_column *columns; /* [column_count + extra_count] */
    int64_t now_ns;                             /* wall clock at this hand-over */
};

/* ---- the host ---- */

struct millrace_sink_message {
    struct millrace_sink_text topic, payload;
    uint8_t qos;
    bool retain;
    uint32_t expiry_s; /* 0 = never */
};

/* What a sink may ask the host for, during `take` only. */
struct millrace_sink_host {
    void *host;
    /* Publishes in the node's own broker; copied. The batch counts as confirmed when the broker has
     * made all its messages durable, too. False: no memory, or a QoS above 2; answer RETRY. */
    bool (*publish)(void *host, const struct millrace_sink_message *message);
};

/* ---- the sink ---- */

enum millrace_sink_answer {
    MILLRACE_SINK_TAKEN, /* durable outside */
    MILLRACE_SINK_RETRY, /* not now: `why` says what is the matter; it comes again after a pause */
    MILLRACE_SINK_REFUSED, /* never: tried again, or skipped and counted, as the document says */
};

/* A plain value of the document's `options`, as text: what stands there, "true", "false". */
struct millrace_sink_option {
    const char *name, *text;
};

struct millrace_sink_config {
    const char *ns, *name, *table; /* of the document; the table's */
    size_t option_count;
    const struct millrace_sink_option *options;
    int64_t now_ns;   /* wall clock */
    const void *spec; /* of built-in sinks: their part of the document */
};

struct millrace_sink {
    uint32_t abi;        /* MILLRACE_SINK_ABI */
    uint32_t size_bytes; /* sizeof(struct millrace_sink) of the sink's header */
    const char *name;    /* "mqtt" */
    const char *help_en, *help_zh;
    size_t state_bytes;
    size_t rows_max; /* more are never handed over at once; 0 = as the document says */

    /* Prepares the state; false with `why`: tried again after a pause. What it takes is given back
     * by close, which is called once for each open that succeeded. Both may be NULL. */
    bool (*open)(void *state, const struct millrace_sink_config *config,
                 char why[MILLRACE_SINK_WHY_BYTES]);
    void (*close)(void *state);

    /* Takes a batch, of at least one row. */
    enum millrace_sink_answer (*take)(void *state, const struct millrace_sink_batch *batch,
                                      const struct millrace_sink_host *host,
                                      char why[MILLRACE_SINK_WHY_BYTES]);

    /* ---- what a sink may leave out (NULL) ---- */

    /* Somebody outside has asked that it introduces itself again (of built-in sinks only). */
    enum millrace_sink_answer (*again)(void *state, const struct millrace_sink_host *host,
                                       int64_t now_ns, char why[MILLRACE_SINK_WHY_BYTES]);
    /* The sink ends, before close: last messages. */
    void (*leave)(void *state, const struct millrace_sink_host *host, int64_t now_ns);
};

#endif
