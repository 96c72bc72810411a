/* sinks_priv.h - what the files of sinks/ share.
 *
 * Who owns what: the list, the documents and the messages under way are the main loop's. What is
 * marked "in a step" is the sink's task's from sink_step on until `stepped` comes back, else the
 * main loop's: it goes to and fro, so nothing of it is locked. */
#ifndef SINKS_SINKS_PRIV_H
#define SINKS_SINKS_PRIV_H

#include "base/map.h"
#include "base/timetext.h"
#include "millrace/sink.h"
#include "mqtt/command.h"
#include "mqtt/watch.h"
#include "sinks/sinks.h"
#include "sql/follow.h"
#include "sql/sql.h"
#include "store/since.h"

enum {
    SINK_MAGIC = 0x73696e6b,
    SINK_MEMORY_BYTES = 32 * 1024 * 1024, /* of one: its batch, its messages, its statement */
    SINK_BATCH_BYTES = 4 * 1024 * 1024,   /* of texts: a batch that has so many is full */
    SINK_COLUMNS_MAX = 1000,
    SINK_BRIDGE_QUEUE = 10000, /* messages: what a Bridge may have to send before its sinks wait */
};
#define SINK_QUERY_NS     (60 * TIME_NS_PER_S) /* a query that runs at an interval takes no longer */
#define SINK_STOP_NS      (3 * TIME_NS_PER_S)  /* what a node that stops waits for sinks' calls */
#define SINK_HOLD_NS      (5 * TIME_NS_PER_S)  /* a statement or a view is kept open for so long */
#define SINK_SAVE_NS      (1 * TIME_NS_PER_S)  /* between two savings of the cursor … */
#define SINK_SAVE_IDLE_NS (30 * TIME_NS_PER_S) /* … when no row went out */
#define SINK_RETRY_MIN_NS (TIME_NS_PER_S / 2)
#define SINK_RETRY_MAX_NS (30 * TIME_NS_PER_S)

/* A message on its way to the broker; in the batch's arena. */
struct sink_message {
    struct broker_command op; /* first */
    struct sink *sink;
    struct sink_message *next;
    bool is_done;
};

/* Rows in hand: read, and not yet confirmed. In a step. */
struct sink_rows {
    struct arena arena;
    uint32_t count, capacity;
    size_t bytes;   /* of texts */
    uint32_t whole; /* so many stand before the last row's key: behind a join it may go on */
    bool is_cut;    /* what the statement gave behind them was not taken */
    size_t columns, extras;
    int device_from, time_from; /* columns of the statement; -1 = it has none */
    uint16_t *from;             /* [columns + extras] where each comes from */
    int64_t *time, *key_time;   /* the row's; that of the row it was made of: the cursor's */
    struct millrace_sink_text *device, *key_device;
    struct vector *vectors; /* [columns + extras] */
    struct millrace_sink_column *shown;
    uint32_t at, slice;       /* handed over so far; those in the sink's hands behind them */
    uint32_t most;            /* that are handed over at once */
    bool is_confirmed;        /* those are where they belong */
    struct store_place after; /* where the cursor is when all of them are confirmed */
};

/* What was sent last of each device. In a step. */
struct sink_memory {
    struct map devices; /* path → uint64_t[columns], hashes of value and quality; 0 = none yet */
    size_t columns;
};

struct sink_counters {
    uint64_t rows, messages, skipped, failures;
    char error[MILLRACE_SINK_WHY_BYTES + 80];
    int64_t error_ns;
};

struct sink {
    uint32_t magic;
    struct sinks *sinks;
    struct sink *next;
    struct resource *document; /* share */
    const struct sink_spec *spec;
    char table[SCHEMA_NAME_BYTES_MAX +
               1];    /* whose new rows it follows; "": a query at an interval */
    bool joins;       /* a row of it may give several */
    struct loop loop; /* its task */

    /* Main loop. */
    struct os_timer *timer;
    bool is_stepping, is_ending, is_removed;
    bool only_rests;    /* the step lets go of what is held, and does nothing else */
    uint32_t under_way; /* messages */
    enum err publish_err;
    struct why publish_why;
    int64_t pause_ns;      /* the next one after a failure; 0 = the last try was good */
    int64_t not_before_ns; /* monotonic */
    int64_t run_at_ns;     /* wall clock: the query is run next */
    uint64_t bridge_queued;
    uint64_t shown_position;
    struct sink_counters counters;
    struct broker_watch *watch;    /* of who can be asked to introduce himself again; or NULL */
    bool is_gone;                  /* ended; its last messages are under way */
    bool is_abandoned;             /* its task never came back: it stays for good */
    struct sink_command *commands; /* that came during a step; the last first */

    /* In a step. */
    struct completion stepped;
    struct job step, end;
    void (*park)(void);    /* of the os: when nobody waits for the task any more */
    _Atomic unsigned call; /* SINK_… of call.c: whose code the task is in */
    struct budget budget;
    _Atomic bool cancelled;
    const struct millrace_sink *ops;
    void *state;
    bool is_open;
    struct store_since *since;
    struct store_place place; /* confirmed */
    bool is_loaded, is_unsaved, moved_rows;
    int64_t saved_ns; /* monotonic */
    struct sql_catalog catalog;
    struct sql_context context;
    struct sql_statement *statement;
    struct sql_sink sql_sink;
    struct sql_stats stats;
    int64_t opened_ns;        /* monotonic: the statement, or the view that is held */
    int64_t run_ns;           /* wall clock: what now() of the query is */
    bool is_holding, was_cut; /* cut: a result was let go of before all of it was read */
    struct buf text;          /* of the statement */
    bool pass_done;           /* the statement has given all */
    bool lacks_memory;        /* for a message of the call under way */
    bool is_singly;           /* the rows in hand go one by one, since one of them was refused */
    struct sink_rows rows;
    struct sink_memory memory;
    struct arena message_arena;
    struct sink_message *messages, **messages_end;
    uint64_t next_id;
    uint64_t told_gone; /* rows that retention took before they were sent: the last that was told */
    uint32_t unread;    /* passes in a row that the disk failed */
    uint32_t answered;  /* of those that asked: watch->seen */
    uint32_t dropped;   /* of a step: rows left out as refused */
};

struct sinks {
    struct sinks_config config;
    char folder[4000];
    struct sink *first;
    struct job job; /* takes changes of documents, many at once */
    bool is_posted, is_running;
};

/* ---- call.c: whose code the task is in ---- */

/* Around each call of the sink's code, on its task. False: the node does not wait any more, and no
 * call is begun. */
bool sink_call_begin(struct sink *sink);
void sink_call_end(struct sink *sink); /* does not return if nobody waits for it any more */
/* Behind sink_call_end in what the sink's code calls in turn: back to it. */
void sink_call_on(struct sink *sink);
/* Main loop: no call is begun from here on. True: the task is in one, and will do nothing behind
 * it. False: it is in the node's code, and may come back. */
bool sink_call_abandon(struct sink *sink);

/* ---- command.c: main loop, between steps ---- */

/* Carries out what came while the sink was in a step. */
void sink_commands_run(struct sink *sink);
/* The sink ends: nothing is carried out any more. */
void sink_commands_end(struct sink *sink);

/* ---- cursor.c: on the sink's task ---- */

/* Where the sink is: as its file says, else as `from` says. Errors: IO, NO_MEMORY. */
enum err sink_cursor_load(struct sink *sink, struct why *why);
/* Writes it durably. Errors: IO, DISK_FULL. */
enum err sink_cursor_save(struct sink *sink, struct why *why);
void sink_cursor_remove(struct sink *sink); /* a failure leaves a file that nobody reads */

/* ---- rows.c: on the sink's task ---- */

size_t sink_rows_keys(const struct sink *sink); /* columns that are the cursor's, not the rows' */
/* Makes room for the statement's columns, which are at least the keys and `extras`: the first two
 * are device and time of the table's row (not of a query at an interval), the last `extras` for
 * topics only. Errors: BUDGET. */
enum err sink_rows_begin(struct sink *sink, size_t columns, size_t extras,
                         const struct sql_result_column *names);
/* As sql_sink.rows; the context is the sink. */
enum err sink_rows_take(void *context, const struct vector *columns, size_t column_count,
                        const uint16_t *selection, uint32_t row_count, struct why *why);
bool sink_rows_is_full(void *context);
/* Where the pass goes on behind the rows in hand; false: there is no such place. */
bool sink_rows_end(const struct sink *sink, struct store_place *place);
void sink_rows_free(struct sink_rows *rows);
void sink_memory_free(struct sink_memory *memory);

/* ---- step.c: on the sink's task ---- */

/* Goes on: reads rows if none are in hand, and hands the next of them to the sink. `stepped` comes
 * with what the sink, or the statement, answered; then rows.slice rows and `messages` wait to be
 * published, or there is nothing to do (slice 0). */
void sink_step_run(struct job *job);
/* Saves the cursor, and lets go of everything. */
void sink_step_end(struct sink *sink);
/* The same without the sink's code: its task never comes back. Main loop. */
void sink_step_abandon(struct sink *sink);

/* ---- text.c ---- */

/* The statement's text: what the document asks of `schema`. A failure is the buffer's. `*extras`:
 * columns at the end that only the topic needs. */
void sink_text_of_table(const struct sink_spec *spec, const struct schema *schema, struct buf *out,
                        size_t *extras);
/* That of a query, with device and time of its table's row put first if it follows new rows.
 * Errors: as sql_follow. */
enum err sink_text_of_query(const struct sink_spec *spec, struct buf *out, struct why *why);
/* Whose new rows the document follows; "" = nobody's. */
enum err sink_text_table(const struct sink_spec *spec, char table[SCHEMA_NAME_BYTES_MAX + 1],
                         bool *joins, struct why *why);

/* ---- mqtt.c, topic.c ---- */

/* Whether {name} stands in the topics; Sparkplug's always have the device. */
bool sink_topic_has(const struct sink_mqtt_spec *spec, const char *name);

extern const struct millrace_sink mqtt_sink;
/* The edge node that an open state of it is; NULL: it is none, or not born yet. */
struct edge;
const struct edge *mqtt_sink_edge(const void *state);
struct str sink_topic_template(const struct sink_mqtt_spec *spec);
/* Walks over a template: `*text` is what stands before the next {name}, `*name` without text at the
 * end. False: a brace stands alone. */
bool sink_topic_next(struct str *rest, struct str *text, struct str *name);

#endif
