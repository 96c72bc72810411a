/* broker_priv.h - the broker itself, and what its files share. All of it lives on the broker's
 * task, and before that runs with whoever starts the broker.
 *
 * The long-lived objects are found from struct broker: sessions (session.h) in a list and a table
 * of buckets, connections (connection.h) in a list, spaces (space.h) in a table, bridges in a list.
 * Each carries a magic number, which is checked with MUST where another file is entered with it and
 * cleared before it is freed; whoever keeps a pointer beyond a turn is told when its object ends
 * (session_end, connection_end), or counts himself in it (pins, waiting_acks, refs). */
#ifndef MQTT_BROKER_PRIV_H
#define MQTT_BROKER_PRIV_H

#include "base/map.h"
#include "loop/channel.h"
#include "net/carry.h"
#include "mqtt/bridge_map.h"
#include "mqtt/asks.h"
#include "mqtt/broker.h"
#include "mqtt/connection.h"
#include "mqtt/journal.h"
#include "mqtt/limits.h"
#include "mqtt/outbox.h"
#include "mqtt/rows.h"
#include "mqtt/session.h"
#include "mqtt/snapshot.h"
#include "mqtt/space.h"
#include "mqtt/spill.h"
#include "mqtt/tree.h"
#include "mqtt/wheel.h"

struct broker_trace;
struct bridge;
struct copying;

enum {
    SPARES_MAX = 32,      /* buffers that are kept for the next connection with output */
    IDENTITIES_KEPT = 16, /* of those who logged in last */
    BROKER_MAGIC = 0x62726f6b,
};

/* What a node of the wheel is part of. */
enum wheel_kind { WHEEL_CONNECTION, WHEEL_SESSION, WHEEL_WILL, WHEEL_RETRY };

/* The walk over retained messages that looks for those that have expired. */
struct retained_expiry {
    struct tree_walk walk;
    struct space *space; /* where it is, pinned; NULL = between two */
    size_t next_space;
    int64_t due_ns; /* when the first is over, as far as is known; 0 = none expires */
    bool is_walking;
};

/* Retained messages on their way to a new subscriber, in slices. */
struct retained_walk {
    struct retained_walk *next;
    struct session *session; /* whose end, or connection's end, ends this */
    struct tree_walk walk;
    /* Messages with a higher serial came later, and reach the subscriber by themselves. */
    uint64_t until;
    /* Of the subscription: its identifier, 0 = none; its QoS. */
    uint32_t id;
    uint8_t qos;
};

/* The one that is being written, or was. */
struct snapshot {
    struct broker_work work; /* first */
    struct broker *broker;
    /* running: from its beginning to its end. needed: one is to begin soon. last: the slice under
     * way is the end. waiting: for queue files to be synced. */
    bool is_running, is_needed, is_last, is_waiting;
    /* For a copy (copy.h), not for the log's sake. */
    bool is_copy;
    /* The last slice waits until the log has what is in the others … */
    bool is_held;
    /* … which is up to here. */
    uint64_t last_change;
    /* The next session to write; snapshot_forget moves it on. */
    struct session *at;
    /* The next space to walk; the one that is walked, pinned; NULL = none. */
    size_t space;
    struct space *walked;
    /* Over its retained messages. */
    struct tree_walk walk;
    /* The slice; a worker's while it is written. */
    struct buf out;
    struct os_file *file; /* NULL = not open */
    uint64_t offset;
    /* Where the log's notes go on, and the change that was the last when it began. */
    uint64_t position, change;
    /* Of the next chunk. */
    uint32_t chunk;
    /* Counts them, from 1. */
    uint32_t number;
    /* The worker's answer. */
    enum err err;
    struct why why;
};

struct broker {
    uint32_t magic; /* BROKER_MAGIC while it lives */
    /* Loops that move the bytes of connections; NULL = none was needed so far. */
    struct carriers *carriers;
    unsigned loops; /* so many of them take new connections */
    char folder[3900];
    struct journal journal;
    struct snapshot snapshot;
    struct spills spills;
    struct copying *copying; /* for a backup; NULL = none */
    struct rows_intake rows;
    struct asks asks;
    struct limits limits;
    /* Streams of all spaces, shares; their trees borrow them. The list lies in `stream_owner`. */
    struct broker_stream **stream_list;
    size_t stream_count;
    void *stream_owner;
    struct broker_watch *watches;
    /* All sessions; those with is_stalled. */
    struct session *first_session, *stalled;
    /* While it is read: sessions by their serial; messages of the file (shares) by their number. */
    struct map by_serial, loading;
    /* loading: the state file is being read. started: from broker_start to broker_stop, main loop.
     */
    bool is_loading, is_started;
    _Atomic bool is_asked_to_save;
    struct context *context; /* borrowed */
    struct loop loop;
    struct broker_config config;
    struct broker_hooks hooks;
    /* Of sessions, queues, retained messages and what is not a whole packet yet. */
    struct budget memory;
    /* By their index, NULL = free; the first is `default`. */
    struct space **spaces;
    size_t space_count, space_capacity;
    struct map spaces_by_name;
    /* Retained messages in all of them; of these those of $SYS, which take no place of the limit.
     */
    size_t retained_count;
    size_t own_retained_count;
    /* Of sessions by space and client identifier; a power of two, NULL while there are none. */
    struct session **buckets;
    size_t bucket_count, session_count;
    /* All; with output, or about to be freed (is_dirty); to be freed at the turn's end. */
    struct connection *connections, *dirty, *gone;
    /* All, those in `gone` too; those that are leaving. */
    size_t connection_count, leaving_count;
    struct wheel wheel;
    struct os_timer *timer; /* of the second; NULL: not running, or no memory for it */
    struct retained_walk *walks;
    struct retained_expiry expiry;
    /* Buffers of connections that have nothing to send. */
    struct buf *spares[SPARES_MAX];
    struct buf no_output; /* without memory for another: always failed */
    size_t spare_count;
    struct job walk_job, begin_job, end_job, review_job;
    /* review_job is on its way. */
    _Atomic bool is_reviewing;
    struct job inspect_job;
    struct broker_inspect *inspects; /* looks under way (inspect.h) */
    /* That wait for the journal, in its order. */
    struct broker_command *commands, **last_command;
    struct sys_topics *sys_topics; /* NULL: nothing was told under $SYS */
    struct bridge *bridges;
    char node[BRIDGE_NODE_BYTES]; /* in the trail; "" = bridges say nothing of themselves */
    struct broker_trace *traces;
    _Atomic uint32_t trace_count; /* with those that end just now */
    /* walk_job is on its way; inspect_job is; the end has begun. */
    bool is_walking, is_inspecting, is_stopping;
    struct login_slab *login_slab; /* where the next login lies; NULL = none yet */
    /* Counted; those of the last tick; those behind which memory was trimmed. */
    uint64_t logins, logins_seen, logins_trimmed;
    /* The newest message's, the newest session's. */
    uint64_t last_serial, last_session;
    /* The monotonic clock, as of what is being done just now; in seconds, at the start. */
    int64_t now_ns, began_s;
    uint32_t wall_s; /* the wall clock's, at the last tick */
    uint32_t random; /* for shared subscriptions; no secret */
    /* Who logged in last, shares; NULL = none. */
    struct identity *identities[IDENTITIES_KEPT];
    size_t identity_at;
};

static inline bool broker_is_valid(const struct broker *broker)
{
    return broker && broker->magic == BROKER_MAGIC;
}
static inline bool session_is_valid(const struct session *s)
{
    return s && s->magic == SESSION_MAGIC && broker_is_valid(s->broker);
}
static inline bool connection_is_valid(const struct connection *c)
{
    return c && c->magic == CONNECTION_MAGIC && broker_is_valid(c->broker);
}
static inline bool space_is_valid(const struct space *space)
{
    return space && space->magic == SPACE_MAGIC;
}
static inline struct space *session_space(const struct session *s)
{
    return s->broker->spaces[s->space];
}

/* ---- streams.c ---- */

/* Offers a message (copies) to the Streams whose filter its topic fits. Widens `*span` by the
 * batches that it went to and that an acknowledgement waits for; false: no memory for one of them,
 * and it may lie in others. */
bool streams_offer(struct space *space, struct str topic, struct str payload,
                   struct rows_span *span);
/* There are none any more. */
void streams_free(struct broker *broker);

/* ---- inspect.c ---- */

void inspect_init(struct broker *broker);
/* The broker stops: those under way are CANCELLED. */
void inspect_stop(struct broker *broker);
/* What looks may stand at is going: they are moved on. Before it is unlinked. */
void inspect_forget_session(struct session *session);
void inspect_forget_subscription(struct broker *broker, struct subscription *subscription);

/* ---- expiry.c ---- */

/* A message that expires then is retained. */
void expiry_note(struct broker *broker, int64_t expires_ns);
/* Each second. */
void expiry_tick(struct broker *broker);
void expiry_free(struct broker *broker);

/* ---- sys_topics.c ---- */

/* Each second: publishes what is due, or takes back what was told. */
void sys_topics_tick(struct broker *broker);
void sys_topics_free(struct broker *broker);

/* ---- trace.c ---- */

/* A packet (borrowed) of `size` bytes that came, before it is acted on, or goes. Only while there
 * are traces. */
void trace_packet(struct connection *connection, const struct mqtt_packet *packet, size_t size,
                  bool is_in);
/* What is in the connection's output and was not told yet; before it is given to the stream. */
void trace_output(struct connection *connection);
/* The end of a turn: lines go to their readers. */
void trace_post(struct broker *broker);
/* The broker stops: their owners are told. */
void trace_stop_all(struct broker *broker);

/* ---- command.c ---- */

/* Finishes those whose changes are durable; with an error all that wait. */
void command_resume(struct broker *broker, enum err err);

/* ---- bridge.c ---- */

/* What the wheel calls: WHEEL_RETRY. */
void bridge_on_retry(struct wheel_node *node);
/* Of its session's queue, borrowed; NULL while it has no settings. */
const struct session_limits *bridge_limits(const struct bridge *bridge);
/* Whether a client identifier is a bridge's, which no client may have. */
bool bridge_owns(struct str client_id);
/* Whether a message that came has been at this node before, over bridges: then it ends here. */
bool bridge_has_passed(const struct broker *broker, const struct mqtt_properties *properties);
/* How the message goes to the remote broker: its topic there, and the trail, both borrowed until
 * the next message. False: no entry of the topic map fits (any more). */
bool bridge_address(struct bridge *bridge, struct message *message, struct message_sending *how);
/* A message that came from there: its topic becomes the local one, borrowed as above. False: it is
 * not for us. */
bool bridge_receive(struct bridge *bridge, struct mqtt_packet *packet);
/* Whether a retained message is not for the remote broker: it came from there. */
bool bridge_keeps_here(const struct bridge *bridge, const struct message *message);
/* What could not be sent for its size in bytes, or was refused by the remote broker. */
void bridge_note_size(struct bridge *bridge, const struct message *message, size_t size);
void bridge_note_refusal(struct bridge *bridge, const struct message *message,
                         enum mqtt_reason reason);
/* Its connection has ended: it tries again after a pause. `text` NULL: why was noted before. */
void bridge_lost(struct bridge *bridge, const char *text);
/* Each second: messages that are too old, and the metrics. */
void bridges_tick(struct broker *broker);
/* Retained messages on their way were cut off: all go out with the next connection. */
void bridge_keep_retained(struct bridge *bridge);
struct broker_bridge_row;
/* A row of a look; its texts are borrowed. */
void bridge_look(const struct bridge *bridge, struct broker_bridge_row *row);

/* ---- bridge_dial.c ---- */

/* The stream is there: CONNECT goes out. */
void bridge_greet(struct connection *connection);
/* CONNACK, SUBACK, UNSUBACK, PINGRESP, DISCONNECT. Gives 0, or the reason for which the connection
 * ends. */
enum mqtt_reason bridge_take(struct connection *connection, struct mqtt_packet *packet,
                             struct why *why);
/* Its keep-alive is due: a ping, or the end when the last one was not answered. */
void bridge_ping(struct connection *connection);
/* The last packet of a dialled connection that was open. */
void bridge_disconnect(struct connection *connection, enum mqtt_reason reason);

/* ---- shared.c ---- */

/* One member of a shared subscription gets the message: one that is connected and not slow, if
 * there is; never one whose session ends. Gives how many got it. journal_message follows. */
size_t shared_deliver(struct broker *broker, struct tree_group *group, struct message *message);
/* The session ends: what came to it by shared subscriptions and is not acknowledged goes to other
 * members, while it is one itself; the journal is told. */
void shared_hand_on(struct session *session);

/* ---- broker.c ---- */

/* Routes a message (shares it where it stays) in a space: to subscribers, to the retained ones, to
 * the journal. `publisher` (NULL = none) must know the packet id again: QoS 2; 0: it need not.
 * Gives how many sessions it went to; `*logged`: the journal has it. Without memory to find them it
 * goes to nobody, which is counted. */
size_t broker_publish(struct space *space, struct message *message, struct session *publisher,
                      uint16_t packet_id, bool *logged);

/* The state was read: what its changes refer to, and those of notes do not, is forgotten. */
void broker_end_loading(struct broker *broker);
/* How many carriers the settings mean. */
void broker_set_loops(struct broker *broker);
/* Sends retained messages that fit a new subscription, in slices: the filter (copied), the QoS that
 * was granted, the subscription identifier (0 = none). Errors: NO_MEMORY. */
enum err broker_send_retained(struct session *session, struct str filter, uint8_t qos, uint32_t id);
/* Somebody can take more of them now. */
void broker_resume_walks(struct broker *broker);
/* Whether retained messages are on their way to it. */
bool broker_has_walks(const struct session *session);
/* It waits for retained messages no more. */
void broker_forget_walks(struct session *session);
/* The second that it is, of the monotonic clock. */
static inline int64_t broker_now_s(const struct broker *broker)
{
    return broker->now_ns / 1000000000;
}
/* Subscriptions and retained messages stay: they may take three quarters of the memory, so that
 * whoever hoards them leaves the others room for messages under way. */
static inline bool broker_may_keep(const struct broker *broker)
{
    return atomic_load(&broker->memory.used_bytes) < broker->memory.limit_bytes / 4 * 3;
}
/* The first whole second at which so many have passed: never early. */
static inline int64_t broker_in_s(const struct broker *broker, int64_t seconds)
{
    return (broker->now_ns + 999999999) / 1000000000 + seconds;
}

#endif
