/* broker_priv.h - what the files of the broker share. All of it lives on the broker's task. */
#ifndef MQTT_BROKER_PRIV_H
#define MQTT_BROKER_PRIV_H

#include "base/map.h"
#include "loop/channel.h"
#include "net/carry.h"
#include "mqtt/bridge_map.h"
#include "mqtt/asks.h"
#include "mqtt/broker.h"
#include "mqtt/journal.h"
#include "mqtt/limits.h"
#include "mqtt/outbox.h"
#include "mqtt/rows.h"
#include "mqtt/snapshot.h"
#include "mqtt/space.h"
#include "mqtt/spill.h"
#include "mqtt/tree.h"
#include "mqtt/wheel.h"

struct broker_trace;
struct bridge;
struct copying;

enum { SPARES_MAX = 32, IDENTITIES_KEPT = 16 };
enum { BROKER_MAGIC = 0x62726f6b, SESSION_MAGIC = 0x73657373, CONNECTION_MAGIC = 0x6d717463 };

enum { WILL_NEVER_EXPIRES = UINT32_MAX };

/* What a node of the wheel is part of. */
enum wheel_kind { WHEEL_CONNECTION, WHEEL_SESSION, WHEEL_WILL, WHEEL_RETRY };

/* A will that waits for its moment; its expiry runs from its publication (MQTT 5.0 3.1.3.2.4). */
struct will {
    struct message *message; /* not NULL */
    struct session *session; /* whose it is; NULL until the login is over */
    uint32_t delay_s, expiry_s;
    bool is_logged; /* the journal knows of it */
    int64_t due_s;  /* at a start: the wall clock's second when it is due; 0 = it was not waiting */
    struct wheel_node due;
};

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
    struct session *session;
    struct tree_walk walk;
    uint64_t until; /* messages that came later reach the subscriber by themselves */
    uint32_t id;
    uint8_t qos;
};

/* What a client identifier stands for; outlives connections when its expiry says so. */
struct session {
    uint32_t magic;
    uint32_t expiry_s; /* after the connection's end; UINT32_MAX = never */
    uint32_t subscription_count, received_count;
    struct broker *broker;
    struct connection *connection; /* NULL = offline */
    uint64_t serial;
    struct session *next, *previous; /* all of them */
    struct session *next_in_bucket;
    struct session *next_stalled; /* QoS 2 that waits for the journal */
    struct identity *identity;
    struct subscription *subscriptions;                   /* linked by next_of_session */
    uint64_t messages_in, messages_out, messages_dropped; /* since it began, or the start */
    uint32_t since_s; /* wall clock: connected, or away, since then; 0 = since before the start */
    uint16_t space;   /* place of its namespace's in broker->spaces: session_space */
    bool is_ending : 1, is_stalled : 1;
    bool is_logged : 1; /* the journal knows of it */
    bool is_cut : 1; /* rules may deny what it would get: each topic is checked before it is sent */
    struct outbox outbox;
    struct spill *spill;   /* what of the queue is not in it; NULL = nothing */
    struct bridge *bridge; /* whose it is; NULL = a client's */
    uint64_t *received; /* QoS 2 identifiers that came in and are not released: a bitmap of 65,536
                           bits; NULL = none */
    struct will *will;  /* NULL = none */
    struct wheel_node expiry;
    struct str client_id; /* behind the struct */
    char text[];
};

enum connection_state {
    CONNECTION_NEW,     /* no CONNECT yet */
    CONNECTION_LOGIN,   /* the login is being checked; nothing is read meanwhile */
    CONNECTION_AUTH,    /* the client must prove itself */
    CONNECTION_DIALLED, /* by a bridge: no CONNACK yet */
    CONNECTION_OPEN,
    CONNECTION_ENDING, /* the last bytes go out */
};

struct input {
    struct buf bytes;
    size_t charged; /* of them, taken from the broker's memory */
};

struct aliases {
    struct aliases_in *in; /* NULL = none, as the next */
    struct map *out;       /* topic → alias */
};

struct aliases_in {
    uint16_t count;
    struct message *topics[]; /* messages whose topic it is: [alias - 1] */
};

/* What only some connections have beside: who stands behind them is not known by their socket
 * alone. */
struct origin {
    struct identity *visitor; /* until CONNECT has been looked at */
    char *psk;                /* the identity whose key a visitor has proved; or NULL */
    char *certificate;        /* the common name of a checked one; NULL = none */
    bool is_proxied;          /* behind a load balancer: */
    struct tls_config *tls;   /* once the header was read; NULL = plain */
    char peer[64];            /* the client's own address; "" = not known */
};

struct connection {
    uint32_t magic;
    uint32_t turn_bytes; /* read since reading was last held up */
    struct broker *broker;
    struct connection *next, *previous;
    struct connection *next_dirty;
    struct os_stream *stream;   /* NULL = closed; freed at the end of the turn */
    struct session *session;    /* NULL = none (yet) */
    struct broker_login *login; /* at CONNECT, and when a client proves itself again */
    struct kept_connect *kept;  /* the CONNECT, while the login is checked */
    struct input *input;        /* of a packet that is not whole; NULL = nothing */
    struct buf *out;            /* NULL = nothing was written since the last flush */
    struct wheel_node timer;    /* CONNECT's time limit, then keep-alive */
    int64_t heard_s;
    struct aliases *aliases;        /* NULL = none yet */
    struct origin *origin;          /* NULL = nothing of it */
    struct watched *watched, *user; /* its address, its user; NULL = not counted */
    struct hold *hold;              /* not read until its time; NULL = read */
    struct throttle *throttle;      /* NULL: it has not published under a rate */
    struct bridge *bridge;          /* that dialled; NULL once it has ended, or never */
    uint32_t traced;                /* of out, told to traces */
    uint32_t waiting_acks;          /* with the journal … */
    uint32_t held_output;           /* … of them those that hold back what was written */
    uint32_t packet_max;            /* what the client takes */
    uint32_t packet_in_max;         /* what it was told that we take, as the next two */
    uint16_t receive_in_max, alias_in_max;
    uint16_t receive_max, alias_out_max, alias_out_count, keep_alive_s;
    uint8_t version, state;
    uint8_t door;                   /* enum broker_door */
    uint8_t qos_max;                /* what the other side of a bridge takes */
    bool is_held : 1;               /* not read until the journal has room */
    bool is_half_open : 1;          /* counted as not logged in */
    bool has_turn : 1, is_busy : 1; /* of a CONNECT: it has waited; it is to be refused */
    /* Of a bridge: the other side is the server. */
    bool is_dialled : 1, takes_no_retain : 1, has_pinged : 1;
    bool is_bridge : 1; /* of 3.x, which says so: it gets nothing back, and retain as it is */
    bool is_tls : 1, is_web : 1, is_channel : 1, is_carried : 1, is_dirty : 1, is_paused : 1,
        is_slow : 1, is_freeing : 1, has_auth : 1, wants_problem : 1, ended_well : 1,
        is_leaving : 1; /* all is sent to it; it may read that before it is closed */
};

/* A stream that was accepted on the main loop, on its way. */
struct arrival {
    struct job job;
    struct broker *broker;
    struct os_socket *socket;
    char peer[64]; /* of the socket */
    struct tls_config *tls;
    bool has_proxy;
    enum broker_door door;
    struct os_stream *stream; /* of a visitor, instead of a socket … */
    bool is_tls, is_web;      /* … and what is known of him */
    struct identity *identity;
    char *psk;
};

/* The one that is being written, or was. */
struct snapshot {
    struct broker_work work; /* first */
    struct broker *broker;
    bool is_running, is_needed, is_last, is_waiting; /* waiting: for queue files */
    bool is_copy;          /* for a copy (copy.h), not for the log's sake */
    bool is_held;          /* the last slice waits until the log has what is in the others … */
    uint64_t last_change;  /* … which is up to here */
    struct session *at;    /* the next one to write */
    size_t space;          /* the next one to walk */
    struct space *walked;  /* pinned; NULL = none */
    struct tree_walk walk; /* over its retained messages */
    struct buf out;
    struct os_file *file;
    uint64_t offset, position, change;
    uint32_t chunk;
    uint32_t number;
    enum err err;
    struct why why;
};

struct broker {
    uint32_t magic;
    struct carriers *carriers; /* NULL = none was needed so far */
    unsigned loops;            /* so many of them take new connections */
    char folder[3900];
    struct journal journal;
    struct snapshot snapshot;
    struct spills spills;
    struct copying *copying; /* for a backup; NULL = none */
    struct rows_intake rows;
    struct asks asks;
    struct limits limits;
    struct broker_stream **stream_list; /* of all spaces; their trees borrow them */
    size_t stream_count;
    void *stream_owner; /* the memory of the list */
    struct broker_watch *watches;
    struct session *first_session, *stalled;
    struct map by_serial, loading; /* while it is read: sessions; messages of the file */
    bool is_loading, is_started;
    _Atomic bool is_asked_to_save;
    struct context *context;
    struct loop loop;
    struct broker_config config;
    struct broker_hooks hooks;
    struct budget memory;
    struct space **spaces; /* by their index, NULL = free; the first is `default` */
    size_t space_count, space_capacity;
    struct map spaces_by_name;
    size_t retained_count;     /* in all of them */
    size_t own_retained_count; /* of these those of $SYS, which stay */
    struct session **buckets;  /* of sessions by space and client identifier; a power of two */
    size_t bucket_count, session_count;
    struct connection *connections, *dirty, *gone;
    size_t connection_count, leaving_count; /* all; those that are leaving */
    struct wheel wheel;
    struct os_timer *timer;
    struct retained_walk *walks;
    struct retained_expiry expiry;
    struct buf *spares[SPARES_MAX]; /* buffers of connections that have nothing to send */
    struct buf no_output;           /* without memory for another */
    size_t spare_count;
    struct job walk_job, begin_job, end_job, review_job;
    _Atomic bool is_reviewing;

    struct job inspect_job;
    struct broker_inspect *inspects;                 /* looks under way (inspect.h) */
    struct broker_command *commands, **last_command; /* that wait for the journal */
    struct sys_topics *sys_topics;                   /* NULL: nothing was told under $SYS */
    struct bridge *bridges;
    char node[BRIDGE_NODE_BYTES]; /* in the trail; "" = bridges say nothing of themselves */
    struct broker_trace *traces;
    _Atomic uint32_t trace_count; /* with those that end just now */
    bool is_walking, is_inspecting, is_stopping;
    struct login_slab *login_slab; /* where the next login lies; NULL = none yet */
    uint64_t logins, logins_seen;  /* counted; at the last tick */
    bool is_trimmed;               /* since the last of them */
    uint64_t last_serial;          /* of messages */
    uint64_t last_session;
    int64_t now_ns;
    int64_t began_s;
    uint32_t wall_s; /* the wall clock's, at the last tick */
    uint32_t random;
    struct identity *identities[IDENTITIES_KEPT]; /* of late; NULL = none */
    size_t identity_at;
};

/* ---- streams.c ---- */

/* Offers a message to the Streams whose filter its topic fits. Gives the batches that it went to
 * and that an acknowledgement waits for; false: no memory for one of them. */
bool streams_offer(struct space *space, struct str topic, struct str payload,
                   struct rows_span *span);
void streams_free(struct broker *broker);

/* ---- inspect.c ---- */

void inspect_init(struct broker *broker);
void inspect_stop(struct broker *broker); /* those under way are CANCELLED */
/* What looks may stand at is going. */
void inspect_forget_session(struct session *session);
void inspect_forget_subscription(struct broker *broker, struct subscription *subscription);

/* ---- expiry.c ---- */

/* A message that expires then is retained. */
void expiry_note(struct broker *broker, int64_t expires_ns);
/* Each second. */
void expiry_tick(struct broker *broker);
void expiry_free(struct broker *broker);

/* ---- sys_topics.c ---- */

/* Each second. */
void sys_topics_tick(struct broker *broker);
void sys_topics_free(struct broker *broker);

/* ---- trace.c ---- */

/* A packet that came (before it is acted on), or goes. Only while there are traces. */
void trace_packet(struct connection *connection, const struct mqtt_packet *packet, size_t size,
                  bool is_in);
/* What is in the connection's output and was not told yet. */
void trace_output(struct connection *connection);
/* The end of a turn: lines go to their readers. */
void trace_post(struct broker *broker);
void trace_stop_all(struct broker *broker);

/* ---- command.c ---- */

/* Finishes those whose changes are durable; with an error all that wait. */
void command_resume(struct broker *broker, enum err err);

/* ---- bridge.c ---- */

void bridge_on_retry(struct wheel_node *node);

/* Of its session's queue; NULL while it has no settings. */
const struct session_limits *bridge_limits(const struct bridge *bridge);
/* Whether a client identifier is a bridge's, which no client may have. */
bool bridge_owns(struct str client_id);
/* Whether a message that came has been at this node before, over bridges: then it ends here. */
bool bridge_has_passed(const struct broker *broker, const struct mqtt_properties *properties);
/* How the message goes to the remote broker: its topic there, and the trail. False: no entry of the
 * topic map fits (any more). */
bool bridge_address(struct bridge *bridge, struct message *message, struct message_sending *how);
/* A message that came from there: its topic becomes the local one. False: it is not for us. */
bool bridge_receive(struct bridge *bridge, struct mqtt_packet *packet);
/* Whether a retained message is not for the remote broker: it came from there. */
bool bridge_keeps_here(const struct bridge *bridge, const struct message *message);
/* What could not be sent for its size, or was refused by the remote broker. */
void bridge_note_size(struct bridge *bridge, const struct message *message, size_t size);
void bridge_note_refusal(struct bridge *bridge, const struct message *message,
                         enum mqtt_reason reason);
/* Its connection has ended; NULL: the text was noted before. */
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
/* CONNACK, SUBACK, UNSUBACK, PINGRESP, DISCONNECT. */
enum mqtt_reason bridge_take(struct connection *connection, struct mqtt_packet *packet,
                             struct why *why);
/* Its keep-alive is due: a ping, or the end when the last one was not answered. */
void bridge_ping(struct connection *connection);
/* The last packet of a dialled connection. */
void bridge_disconnect(struct connection *connection, enum mqtt_reason reason);

/* ---- broker.c ---- */

static inline struct space *session_space(const struct session *s)
{
    return s->broker->spaces[s->space];
}

/* Routes a message in a space: to subscribers, to the retained ones, to the journal. `publisher`
 * (NULL = none) must know the packet id again: QoS 2. Gives how many sessions it went to;
 * `*logged`: the journal has it. */
size_t broker_publish(struct space *space, struct message *message, struct session *publisher,
                      uint16_t packet_id, bool *logged);

/* What the state's changes refer to, and those of notes do not, is forgotten. */
void broker_end_loading(struct broker *broker);
/* How many carriers the settings mean. */
void broker_set_loops(struct broker *broker);
/* Sends retained messages that fit a new subscription, in slices. Errors: NO_MEMORY. */
enum err broker_send_retained(struct session *session, struct str filter, uint8_t qos, uint32_t id);
/* Somebody can take more of them now. */
void broker_resume_walks(struct broker *broker);
bool broker_has_walks(const struct session *session);
/* Nobody waits for retained messages any more. */
void broker_forget_walks(struct session *session);
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

/* ---- session.c ---- */

static inline bool session_is_valid(const struct session *s)
{
    return s && s->magic == SESSION_MAGIC && s->broker->magic == BROKER_MAGIC;
}
void session_on_expiry(struct wheel_node *node);

/* `space` NULL: there is none. */
struct session *session_find(const struct space *space, struct str client_id);
/* In the space that is the identity's. NULL: no memory. */
struct session *session_new(struct space *space, struct str client_id, struct identity *identity);
/* Ends it: subscriptions, queue and state go. A will that waits is published. */
void session_end(struct session *session);
/* The connection is gone: the session goes on, or ends, as its expiry says. */
void session_detach(struct session *session, bool with_will);
/* Has the session ended at its time, counted from now. */
void session_expire_later(struct session *session);
/* QoS 2 identifiers that came in. */
bool session_has_received(const struct session *session, uint16_t packet_id);
bool session_put_received(struct session *session, uint16_t packet_id); /* false: no memory */
void session_drop_received(struct session *session, uint16_t packet_id);

/* ---- session_will.c ---- */

void session_on_will_due(struct wheel_node *node);
/* Takes the message; NULL: no memory, or none was given. */
struct will *will_new(struct message *message);
void will_free(struct will *will); /* NULL allowed; not while it is due */
/* It is not wanted any more. */
void session_drop_will(struct session *session);
/* Takes the will, as its own; one that it has goes without saying. */
void session_put_will(struct session *session, struct will *will);
/* At a start: the will of one who was connected, or had not come back yet, has its time again. */
void session_resume_will(struct session *session);
/* Publishes the will that waits, now. */
void session_publish_will(struct session *session);

/* ---- session_send.c ---- */

struct delivery {
    uint8_t qos;
    bool retain;
    size_t id_count;
    const uint32_t *ids;
};
void session_deliver(struct session *session, struct message *message, const struct delivery *how);
/* Sends what may be sent. */
void session_pump(struct session *session);
/* Those that waited for the journal. */
void session_pump_stalled(struct broker *broker);
/* Its own, or the broker's. */
struct session_limits session_limits(const struct session *session);
/* An item is delivered or given up. */
void session_finish(struct session *session, struct outbox_item *item, uint64_t ordinal);
/* Whether no rule denies it a message that one of its subscriptions fits. */
bool session_may_have(const struct session *session, struct str topic);
/* It waits for the journal no more. */
void session_forget_stalled(struct session *session);

/* ---- session_subscribe.c ---- */

struct subscription_options {
    uint8_t qos;
    bool no_local, retain_as_published;
    uint32_t id;
};
/* Subscribes without asking for rights. Errors: NO_MEMORY, BUDGET. */
enum err session_put_subscription(struct session *session, struct str group, struct str filter,
                                  const struct subscription_options *options, bool *is_new);
enum mqtt_reason session_subscribe(struct session *session, const struct mqtt_filter *filter,
                                   uint32_t id);
enum mqtt_reason session_unsubscribe(struct session *session, struct str filter);
/* Takes one away, without a word to the journal. */
void session_drop_subscription(struct session *session, struct subscription *subscription);
/* New rights: subscriptions, and the will, that are not allowed any more go. `connection`: the
 * session's, also when it is only about to be. */
void session_check_rights(struct session *session, const struct connection *connection);

/* ---- connection.c ---- */

/* Linked and counted, with what is told to each side. NULL: no memory. */
struct connection *connection_new(struct broker *broker);
/* Makes it if there is none. NULL: no memory. */
struct origin *connection_origin(struct connection *connection);
extern const struct os_stream_events connection_events;
void connection_on_timer(struct wheel_node *node);
/* Without waiting for the last bytes. */
void connection_cut(struct connection *connection);
/* Its login, or its hold, is over: takes what has come meanwhile. */
void connection_go_on(struct connection *connection);
/* Ends it with a reason (5.0 is told, 0x00 = without a word); the will goes out unless it ended
 * well. */
void connection_end(struct connection *connection, enum mqtt_reason reason, const char *text);
/* What a CONNACK or DISCONNECT may say of a problem: "" when the client wants no texts, or has no
 * room for it in its maximum packet size. `text` is borrowed; NULL allowed. */
struct str connection_problem(const struct connection *connection, const char *text);
/* Keeps bytes of what is not whole yet. False: no memory. */
bool connection_keep(struct connection *connection, const void *bytes, size_t size);
void connection_drop_input(struct connection *connection);
/* Whether the packet that was written at `start` of the output is one that the client takes; one
 * that is larger is taken back (3.1.2-24), and the caller ends the connection. Not asked for
 * packets that are never larger than the CONNACK, which whoever is in has taken. */
bool connection_fits(struct connection *connection, size_t start);
/* Of a connection, made when first needed. NULL: no memory. */
struct aliases *connection_aliases(struct connection *connection);
/* Where output goes; connection_touch says that there is some. */
struct buf *connection_out(struct connection *connection);
/* "127.0.0.1:41234", while there is a stream. */
const char *connection_peer(const struct connection *connection);
/* Without text = none. */
static inline struct str connection_certificate(const struct connection *c)
{
    return c && c->origin && c->origin->certificate ? str_of(c->origin->certificate)
                                                    : (struct str){0};
}
/* Bytes that are not with the kernel's stream yet. */
static inline size_t connection_out_size(const struct connection *c)
{
    return c->out ? c->out->size : 0;
}
void connection_touch(struct connection *connection);
void connection_flush_all(struct broker *broker);
/* Something has room again: those that were held up go on, unless something else has none. */
void connection_resume_held(struct broker *broker);

/* ---- connect.c ---- */

/* Each second, and at the broker's end: what logins lay in. */
void connect_tick(struct broker *broker);
void connect_free(struct broker *broker);
enum mqtt_reason connect_take(struct connection *connection, struct mqtt_packet *packet,
                              struct why *why);
/* Answers a CONNECT with a refusal, as its version can say it. */
enum mqtt_reason connect_refuse(struct connection *connection, enum mqtt_reason reason,
                                struct why *why);

/* ---- packets_in.c ---- */

static inline enum mqtt_reason connection_say(struct why *why, enum mqtt_reason reason,
                                              const char *text)
{
    (void)why_set(why, ERR_PROTOCOL, "%s", text);
    return reason;
}
static inline enum mqtt_version connection_version(const struct connection *c)
{
    return (enum mqtt_version)c->version;
}

/* What a packet means. Gives 0, or the reason for which the connection ends. */
enum mqtt_reason connection_take(struct connection *connection, uint8_t first, struct str body,
                                 struct why *why);
/* The CONNECT that waits for its login. */
void connection_free_kept(struct connection *connection);

#endif
