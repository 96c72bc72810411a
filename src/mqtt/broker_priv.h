/* broker_priv.h - what the files of the broker share. All of it lives on the broker's task. */
#ifndef MQTT_BROKER_PRIV_H
#define MQTT_BROKER_PRIV_H

#include "base/map.h"
#include "loop/channel.h"
#include "mqtt/broker.h"
#include "mqtt/journal.h"
#include "mqtt/outbox.h"
#include "mqtt/rows.h"
#include "mqtt/snapshot.h"
#include "mqtt/tree.h"
#include "mqtt/wheel.h"

struct broker_trace;

enum { SPARES_MAX = 32, IDENTITIES_KEPT = 16 };
enum { BROKER_MAGIC = 0x62726f6b, SESSION_MAGIC = 0x73657373, CONNECTION_MAGIC = 0x6d717463 };

enum { WILL_NEVER_EXPIRES = UINT32_MAX };

/* A will that waits for its moment; its expiry runs from its publication (MQTT 5.0 3.1.3.2.4). */
struct will {
    struct message *message;
    uint32_t delay_s, expiry_s;
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
    bool is_ending, is_logged, is_stalled; /* logged: the journal knows of it */
    struct session *next, *previous;       /* all of them */
    struct session *next_in_bucket;
    struct session *next_stalled; /* QoS 2 that waits for the journal */
    struct identity *identity;
    struct subscription *subscriptions;                   /* linked by next_of_session */
    uint64_t messages_in, messages_out, messages_dropped; /* since it began, or the start */
    uint32_t since_s; /* wall clock: connected, or away, since then; 0 = since before the start */
    struct outbox outbox;
    uint64_t *received; /* QoS 2 identifiers that came in and are not released: a bitmap of 65,536
                           bits; NULL = none */
    struct will will;
    struct wheel_node expiry, will_due;
    struct str client_id; /* behind the struct */
    char text[];
};

enum connection_state {
    CONNECTION_NEW,   /* no CONNECT yet */
    CONNECTION_LOGIN, /* the login is being checked; nothing is read meanwhile */
    CONNECTION_AUTH,  /* the client must prove itself */
    CONNECTION_OPEN,
    CONNECTION_ENDING, /* the last bytes go out */
};

struct aliases_in {
    uint16_t count;
    struct message *topics[]; /* messages whose topic it is: [alias - 1] */
};

/* What a connection behind a load balancer needs beside. */
struct proxied {
    struct tls_config *tls; /* once the header was read; NULL = plain */
    char peer[64];          /* the client's own address; "" = not known */
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
    struct buf in, out;
    uint32_t traced;         /* of out, told to traces */
    struct wheel_node timer; /* CONNECT's time limit, then keep-alive */
    int64_t heard_s;
    struct aliases_in *aliases_in;
    struct map *aliases_out; /* topic → alias */
    uint32_t packet_max;     /* what the client takes */
    uint16_t receive_max, alias_out_max, alias_out_count, keep_alive_s;
    uint16_t receive_in_max, alias_in_max; /* what it was told that we take */
    uint32_t packet_in_max;
    uint8_t version, state;
    uint32_t waiting_acks; /* with the journal */
    bool is_held;          /* not read until the journal has room */
    bool is_tls, is_web, is_channel, is_dirty, is_paused, is_slow, is_freeing, has_auth,
        wants_problem, ended_well;
    struct identity *visitor; /* until CONNECT has been looked at */
    struct proxied *proxied;  /* behind a load balancer; NULL = not */
};

/* A stream that was accepted on the main loop, on its way. */
struct arrival {
    struct job job;
    struct broker *broker;
    struct os_socket *socket;
    struct tls_config *tls;
    bool has_proxy;
    struct os_stream *stream; /* of a visitor, instead of a socket … */
    bool is_tls, is_web;      /* … and what is known of him */
    struct identity *identity;
};

/* The one that is being written, or was. */
struct snapshot {
    struct broker_work work; /* first */
    struct broker *broker;
    bool is_running, is_needed, is_last;
    struct session *at;    /* the next one to write */
    struct tree_walk walk; /* over the retained messages */
    struct buf out;
    struct os_file *file;
    uint64_t offset, chunk, position, change;
    uint32_t number;
    enum err err;
    struct why why;
};

struct broker {
    uint32_t magic;
    char folder[3900];
    struct journal journal;
    struct snapshot snapshot;
    struct rows_intake rows;
    struct session *first_session, *stalled;
    struct map by_serial, loading; /* while it is read: sessions; messages of the file */
    bool is_loading, is_started;
    _Atomic bool is_asked_to_save;
    struct context *context;
    struct loop loop;
    struct broker_config config;
    struct broker_hooks hooks;
    struct budget memory;
    struct tree *tree;
    struct session **buckets; /* of sessions by client identifier; a power of two */
    size_t bucket_count, session_count;
    struct connection *connections, *dirty, *gone;
    size_t connection_count;
    struct wheel wheel;
    struct os_timer *timer;
    struct retained_walk *walks;
    struct buf spares[SPARES_MAX]; /* buffers of connections that have nothing to send */
    size_t spare_count;
    struct job walk_job, begin_job, end_job, review_job;
    _Atomic bool is_reviewing;

    struct job inspect_job;
    struct broker_inspect *inspects;                 /* looks under way (inspect.h) */
    struct broker_command *commands, **last_command; /* that wait for the journal */
    struct sys_topics *sys_topics;                   /* NULL: nothing was told under $SYS */
    struct broker_trace *traces;
    _Atomic uint32_t trace_count; /* with those that end just now */
    bool is_walking, is_inspecting, is_stopping;
    uint64_t last_serial; /* of messages */
    uint64_t last_session;
    int64_t now_ns;
    int64_t began_s;
    uint32_t wall_s; /* the wall clock's, at the last tick */
    uint32_t random;
    struct identity *identities[IDENTITIES_KEPT]; /* of late; NULL = none */
    size_t identity_at;
};

/* ---- inspect.c ---- */

void inspect_init(struct broker *broker);
void inspect_stop(struct broker *broker); /* those under way are CANCELLED */
/* What looks may stand at is going. */
void inspect_forget_session(struct session *session);
void inspect_forget_subscription(struct broker *broker, struct subscription *subscription);

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

/* ---- broker.c ---- */

/* Routes a message: to subscribers, to the retained ones, to the journal. `publisher` (NULL = none)
 * must know the packet id again: QoS 2. Gives how many sessions it went to; `*logged`: the journal
 * has it. */
size_t broker_publish(struct broker *broker, struct message *message, struct session *publisher,
                      uint16_t packet_id, bool *logged);

/* Sends retained messages that fit a new subscription, in slices. Errors: NO_MEMORY. */
enum err broker_send_retained(struct session *session, struct str filter, uint8_t qos, uint32_t id);
/* Somebody can take more of them now. */
void broker_resume_walks(struct broker *broker);
/* Nobody waits for retained messages any more. */
void broker_forget_walks(struct session *session);
static inline int64_t broker_now_s(const struct broker *broker)
{
    return broker->now_ns / 1000000000;
}

/* ---- session.c ---- */

struct session *session_find(struct broker *broker, struct str client_id);
struct session *session_new(struct broker *broker, struct str client_id, struct identity *identity);
/* Ends it: subscriptions, queue and state go. A will that waits is published. */
void session_end(struct session *session);
/* The connection is gone: the session goes on, or ends, as its expiry says. */
void session_detach(struct session *session, bool with_will);
/* Has the session ended at its time, counted from now. */
void session_expire_later(struct session *session);
/* Publishes the will that waits, now. */
void session_publish_will(struct session *session);

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
/* An item is delivered or given up. */
void session_finish(struct session *session, struct outbox_item *item, uint64_t ordinal);
/* New rights: subscriptions that are not allowed any more go. */
void session_check_rights(struct session *session);

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

/* QoS 2 identifiers that came in. */
bool session_has_received(const struct session *session, uint16_t packet_id);
bool session_put_received(struct session *session, uint16_t packet_id); /* false: no memory */
void session_drop_received(struct session *session, uint16_t packet_id);

/* ---- connection.c ---- */

enum { CONNECT_SECONDS = 10 }; /* a CONNECT must be whole by then */
extern const struct os_stream_events connection_events;
void connection_on_timer(struct wheel_node *node);
/* Without waiting for the last bytes. */
void connection_cut(struct connection *connection);
/* Its login is over: takes what has come meanwhile. */
void connection_go_on(struct connection *connection);
/* Ends it with a reason (5.0 is told, 0x00 = without a word); the will goes out unless it ended
 * well. */
void connection_end(struct connection *connection, enum mqtt_reason reason, const char *text);
/* What a CONNACK or DISCONNECT may say of a problem: "" when the client wants no texts, or has no
 * room for it in its maximum packet size. `text` is borrowed; NULL allowed. */
struct str connection_problem(const struct connection *connection, const char *text);
/* Where output goes; connection_touch says that there is some. */
struct buf *connection_out(struct connection *connection);
/* "127.0.0.1:41234", while there is a stream. */
const char *connection_peer(const struct connection *connection);
void connection_touch(struct connection *connection);
void connection_flush_all(struct broker *broker);
/* The journal has room again. */
void connection_resume_held(struct broker *broker);

/* ---- packets_in.c ---- */

/* What a packet means. Gives 0, or the reason for which the connection ends. */
enum mqtt_reason connection_take(struct connection *connection, uint8_t first, struct str body,
                                 struct why *why);
/* The CONNECT that waits for its login. */
void connection_free_kept(struct connection *connection);

#endif
