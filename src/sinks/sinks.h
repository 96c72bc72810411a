/* sinks.h - kind Sink: rows of tables and of queries go outside.
 *
 * Each Sink that is enabled has a task of its own, which may block: it reads its table from its
 * cursor on (store/since.h), as a statement made of the document, and hands batches to the sink
 * (include/millrace/sink.h). The main loop publishes what the sink asked for in the broker, and
 * when that is durable the cursor moves on. So there is one batch in hand, and back-pressure is
 * simply that nothing more is read.
 *
 * A query over new rows is the same with another statement (text.c); joined tables are read as they
 * are. One that runs at an interval has no cursor: it reads what is there, when it is due.
 *
 * The cursor is a small file a sink, sinks/<uid>, replaced whole, at most once a second. Why not a
 * note in the log: notes hold the log back until their owner has saved them elsewhere, and what
 * would be saved is just this file. It may be behind what was confirmed, never before it: after
 * kill -9 or a power cut the rows of the last second go out again.
 *
 * Who calls: node, on the main loop. Order of parts: made before the broker takes connections,
 * stopped before it stops, freed behind it, since messages under way are answered until then. */
#ifndef SINKS_SINKS_H
#define SINKS_SINKS_H

#include "access/access.h"
#include "loop/context.h"
#include "resource/registry.h"
#include "store/since.h"
#include "store/store.h"

struct sinks;
struct broker;

struct sinks_config {
    struct context *context;
    struct store *store;
    struct registry *registry;
    struct broker *broker;
    const char *folder; /* the node's data folder; borrowed while they live */
};

/* Makes what sinks_start fills. Errors: NO_MEMORY. */
enum err sinks_new(const struct sinks_config *config, struct sinks **sinks, struct why *why);
/* Begins all Sinks that there are, and follows the documents from then on. The broker runs. */
void sinks_start(struct sinks *sinks);
/* Ends their tasks, with the cursors saved. Waits for a sink's call under way, but for 3 s only: it
 * is told then, and left behind. */
void sinks_stop(struct sinks *sinks);
void sinks_free(struct sinks *sinks); /* behind the broker; NULL allowed */

enum sink_state { SINK_IDLE, SINK_SENDING, SINK_WAITING, SINK_FAILING, SINK_ENDING };
const char *sink_state_name(enum sink_state state); /* "idle" */

/* What a Sink shows of itself. Texts are borrowed until the loop's next job. */
struct sink_row {
    struct str ns, name, type, table;
    uint64_t generation;
    enum sink_state state;
    uint64_t position;          /* everything up to it was confirmed */
    int64_t lag_ns;             /* age of the position; 0 = nothing waits */
    uint64_t rows, messages;    /* confirmed, since it began */
    uint64_t skipped, failures; /* rows left out; tries that failed */
    struct str error;           /* the last one; "" = none */
    int64_t error_ns;           /* wall clock; 0 = none */
};
/* Calls `use` for each Sink that runs. */
void sinks_each(const struct sinks *sinks, void (*use)(void *arg, const struct sink_row *row),
                void *arg);

struct sink_write;
/* A command of a Sparkplug host to an edge node that is a Sink (NCMD, DCMD). */
struct sink_command {
    struct str ns;             /* in whose tree it came */
    struct str topic, payload; /* borrowed until `end`, like ns */
    /* For each value that is to be written; texts are borrowed in the call. */
    void (*write)(struct sink_command *command, const struct sink_write *write);
    /* For each that cannot be, and for a command as a whole; device and point as far as known. */
    void (*refuse)(struct sink_command *command, const struct sink_write *write, enum err err,
                   const struct why *why);
    void (*end)(struct sink_command *command); /* once, last, in any case */
    struct sink_command *next;                 /* the sink's */
};
struct sink_write {
    struct str ns, sink;      /* whose command it is; "" = no Sink's any more */
    struct str device, point; /* path; column */
    struct str value;         /* as text */
};
/* Reads it, now or when the sink has ended its step: only a Sink whose document says
 * mqtt.writes: true takes any. */
void sinks_command(struct sinks *sinks, struct sink_command *command);

/* How many messages wait for a Bridge: sinks that name it wait while it has much to send. */
void sinks_note_bridge(struct sinks *sinks, struct str ns, struct str name, uint64_t queued);

/* What the field table of a Sink cannot check. Adds problems; documents of other kinds pass. Any
 * task. */
void sinks_check(const struct resource *resource, struct problems *problems);
/* Whether `who` may make or change the Sink `now` (NULL or another kind: yes): it reads the table
 * and publishes with all rights, so who makes it must have them. Errors: FORBIDDEN says which. */
enum err sinks_allow(const struct identity *who, const struct resource *now, struct why *why);

/* What the file of a cursor ("sinks/UID" in the data folder) says; false: it is damaged, and its
 * sink would begin as a new one does. Any task. */
bool sink_cursor_parse(struct str text, struct store_place *place);
/* The same, as it is written; gives its size. The device has no line break. */
enum { SINK_CURSOR_BYTES_MAX = STORE_DEVICE_BYTES_MAX + 256 };
size_t sink_cursor_print(const struct store_place *place, char text[SINK_CURSOR_BYTES_MAX]);

#endif
