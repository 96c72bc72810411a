/* connection.h - one connection: of a client, or one that a bridge dialled. Private to mqtt/;
 * broker's task.
 *
 * Its way is that of enum connection_state. It is made when a stream has arrived (arrival.c) or is
 * dialled (bridge_dial.c), reads packets (connection.c) and acts on them (packets_in.c; connect.c
 * for CONNECT, auth.c for AUTH), and ends once, by connection_end or connection_cut; then it stands
 * in broker->gone until the turn is over, since its own code may be on the stack.
 *
 * Invariants: it stands in broker->connections, or with is_freeing in broker->gone; with a session
 * it is that session's connection; OPEN has a session; ENDING has none; what holds it back
 * (is_held, hold, LOGIN) has reading paused; what waits for the journal (waiting_acks) keeps it in
 * memory. */
#ifndef MQTT_CONNECTION_H
#define MQTT_CONNECTION_H

#include "mqtt/broker.h"
#include "mqtt/message.h"
#include "mqtt/wheel.h"

struct bridge;
struct hold;
struct kept_connect;
struct map;
struct os_socket;
struct session;
struct throttle;
struct watched;

enum { CONNECTION_MAGIC = 0x6d717463 };

enum connection_state {
    CONNECTION_NEW,     /* no CONNECT yet */
    CONNECTION_LOGIN,   /* the login is being checked; nothing is read meanwhile */
    CONNECTION_AUTH,    /* the client must prove itself: AUTH is all that is taken */
    CONNECTION_DIALLED, /* by a bridge: no CONNACK yet */
    CONNECTION_OPEN,
    CONNECTION_ENDING, /* the last bytes go out; nothing that comes is acted on */
};

/* What came of a packet that is not whole. */
struct input {
    struct buf bytes;
    /* Of them, taken from the broker's memory. */
    size_t charged;
};

/* Topic aliases (3.3.2.3.4); most connections use none. */
struct aliases {
    struct aliases_in *in; /* the client's; NULL = none, as the next */
    struct map *out;       /* ours: topic → alias, 1 to alias_out_count */
};

struct aliases_in {
    uint16_t count;           /* of topics: the maximum that the client was told */
    struct message *topics[]; /* messages whose topic it is: [alias - 1]; NULL = not given yet */
};

/* What only some connections have beside: who stands behind them is not known by their socket
 * alone. All of it is owned. */
struct origin {
    struct identity *visitor; /* until CONNECT has been looked at */
    char *psk;                /* the identity whose key TLS, or a visitor, has proved; or NULL */
    char *certificate;      /* of a checked one: name, organization, unit, each with its zero byte;
                               NULL = none */
    bool is_proxied;        /* behind a load balancer: */
    struct tls_config *tls; /* once the header was read; NULL = plain */
    char peer[64];          /* the client's own address; "" = not known */
};

struct connection {
    uint32_t magic; /* CONNECTION_MAGIC while it lives */
    /* Bytes read since reading was last held up; when it is ENDING: since then. */
    uint32_t turn_bytes;
    struct broker *broker;
    /* All of them; with is_freeing, `next` is that of broker->gone. */
    struct connection *next, *previous;
    /* Of broker->dirty, with is_dirty: flushed at the end of the turn. */
    struct connection *next_dirty;
    /* Owned; NULL = closed; the connection is freed at the end of the turn. */
    struct os_stream *stream;
    /* NULL = none (yet). */
    struct session *session;
    /* At CONNECT, and when a client proves itself again; with is_away it is the hook's. */
    struct broker_login *login;
    /* The CONNECT, while the login is checked. */
    struct kept_connect *kept;
    /* Of a packet that is not whole; NULL = nothing. */
    struct input *input;
    /* What was written since the last flush; NULL = nothing. */
    struct buf *out;
    /* CONNECT's time limit, then keep-alive, then the time for the last bytes. */
    struct wheel_node timer;
    /* When something was last heard, in seconds of the monotonic clock. */
    int64_t heard_s;
    struct aliases *aliases; /* NULL = none yet */
    struct origin *origin;   /* NULL = nothing of it */
    /* Its address, its user; each counts it; NULL = not counted. */
    struct watched *watched, *user;
    /* Not read until its time; NULL = read. */
    struct hold *hold;
    /* Its rates; NULL: it has not published under one. */
    struct throttle *throttle;
    /* That dialled; NULL once it has ended, or never. */
    struct bridge *bridge;
    /* Bytes of `out` that traces were told. */
    uint32_t traced;
    /* Acknowledgements with the journal; of them those that hold back what was written. */
    uint32_t waiting_acks, held_output;
    /* Bytes of a packet: what the client takes (whole); what it was told that we take (without the
     * fixed header), as the next two. */
    uint32_t packet_max, packet_in_max;
    uint16_t receive_in_max, alias_in_max;
    /* What the client takes, and how many aliases it was given so far. */
    uint16_t receive_max, alias_out_max, alias_out_count;
    /* 0 = none. */
    uint16_t keep_alive_s;
    /* enum mqtt_version, 0 before CONNECT; enum connection_state. */
    uint8_t version, state;
    uint8_t door;    /* enum broker_door */
    uint8_t qos_max; /* what the other side of a bridge takes */
    /* Not read until the journal has room. */
    bool is_held : 1;
    /* Counted as not logged in. */
    bool is_half_open : 1;
    /* Counted as one of its door, until it is gone. */
    bool is_at_door : 1;
    /* Of a CONNECT: it has waited; it is to be refused. */
    bool has_turn : 1, is_busy : 1;
    /* Of a bridge: the other side is the server. */
    bool is_dialled : 1, takes_no_retain : 1, has_pinged : 1;
    /* It was told that nothing is retained here. */
    bool may_not_retain : 1;
    /* A bridge of 3.x, which says so: it gets nothing back, and retain as it is. */
    bool is_bridge : 1;
    /* How it came: over TLS; a web page's, or no address of its own; over a channel between two
     * tasks; with its bytes moved by another loop. */
    bool is_tls : 1, is_web : 1, is_channel : 1, is_carried : 1;
    /* In broker->dirty; reading is paused; its peer does not read; in broker->gone. */
    bool is_dirty : 1, is_paused : 1, is_slow : 1, is_freeing : 1;
    /* CONNECT named a method of authentication; wants texts with reasons (3.1.2.11.7). */
    bool has_auth : 1, wants_problem : 1;
    /* By DISCONNECT: without its will. */
    bool ended_well : 1;
    /* Let in without a user. */
    bool is_anonymous : 1;
    /* All is sent to it; it may read that before it is closed. */
    bool is_leaving : 1;
};

/* A stream that was accepted on the main loop, on its way. */
struct arrival {
    struct job job; /* first */
    struct broker *broker;
    /* Owned until it has a connection, as all here. */
    struct os_socket *socket;
    char peer[64];          /* of the socket */
    struct tls_config *tls; /* NULL = plain */
    bool has_proxy;         /* a PROXY header comes first */
    enum broker_door door;
    struct os_stream *stream; /* of a visitor, instead of a socket … */
    bool is_tls, is_web;      /* … and what is known of him */
    struct identity *identity;
    char *psk;
};

/* ---- connection.c ---- */

/* Linked and counted, with what is told to each side, and without a stream. NULL: no memory. */
struct connection *connection_new(struct broker *broker);
/* Makes it if there is none; the connection's. NULL: no memory. */
struct origin *connection_origin(struct connection *connection);
/* Whose owner is the connection; what MQTT is read from. */
extern const struct os_stream_events connection_events;
/* What the wheel calls: WHEEL_CONNECTION. */
void connection_on_timer(struct wheel_node *node);
/* Ends it without waiting for the last bytes. One that is being freed is left alone. */
void connection_cut(struct connection *connection);
/* Its login, or its hold, is over: takes what has come meanwhile. */
void connection_go_on(struct connection *connection);
/* Ends it with a reason (5.0 is told, 0x00 = without a word); the will goes out unless it ended
 * well. `text` for the log, and for the client: borrowed; NULL = nothing is said. One that is
 * ending is left alone. Its session may be gone afterwards; the connection itself is there until
 * the turn's end. */
void connection_end(struct connection *connection, enum mqtt_reason reason, const char *text);
/* What a CONNACK or DISCONNECT may say of a problem: "" when the client wants no texts, or has no
 * room for it in its maximum packet size [MQTT-3.14.2-3]. `text` is borrowed; NULL allowed. */
struct str connection_problem(const struct connection *connection, const char *text);
/* Keeps bytes of what is not whole yet (copies). False: no memory; the caller ends it. */
bool connection_keep(struct connection *connection, const void *bytes, size_t size);
/* Forgets them. */
void connection_drop_input(struct connection *connection);
/* Whether the packet that was written at `start` of the output is one that the client takes; one
 * that is larger is taken back [MQTT-3.1.2-24], and the caller ends the connection. Not asked for
 * packets that are never larger than the CONNACK, which whoever is in has taken. */
bool connection_fits(struct connection *connection, size_t start);
/* Of a connection, made when first needed. NULL: no memory. */
struct aliases *connection_aliases(struct connection *connection);
/* Where output goes, borrowed until the turn's end; connection_touch says that there is some. Never
 * NULL: without memory it is a buffer that has failed, and the flush ends the connection. */
struct buf *connection_out(struct connection *connection);
/* "127.0.0.1:41234", borrowed; or that it has gone. */
const char *connection_peer(const struct connection *connection);
/* Of the client's certificate, borrowed; without texts = there is none. NULL allowed. */
static inline struct access_certificate connection_certificate(const struct connection *c)
{
    struct access_certificate all = {.name = {0}};
    if (!c || !c->origin || !c->origin->certificate) return all;
    all.name = str_of(c->origin->certificate);
    all.organization = str_of(all.name.at + all.name.size + 1);
    all.unit = str_of(all.organization.at + all.organization.size + 1);
    return all;
}
/* Bytes that are not with the kernel's stream yet. */
static inline size_t connection_out_size(const struct connection *c)
{
    return c->out ? c->out->size : 0;
}
/* The turn's end looks at it. */
void connection_touch(struct connection *connection);
/* The turn's end: output goes to the kernel, what has ended is freed. */
void connection_flush_all(struct broker *broker);
/* Something has room again: those that were held up go on, unless something else has none. */
void connection_resume_held(struct broker *broker);

/* ---- connect.c ---- */

/* Each second, and at the broker's end: what logins lay in. */
void connect_tick(struct broker *broker);
void connect_free(struct broker *broker);
/* A CONNECT (3.1). Gives 0, or the reason for which the connection ends. */
enum mqtt_reason connect_take(struct connection *connection, struct mqtt_packet *packet,
                              struct why *why);
/* Answers a CONNECT with a refusal, as its version can say it; the caller ends the connection.
 * Gives `reason` back. */
enum mqtt_reason connect_refuse(struct connection *connection, enum mqtt_reason reason,
                                struct why *why);
/* Forgets the CONNECT that waits for its login. */
void connection_free_kept(struct connection *connection);

/* The client identifier of a CONNECT whose login is not decided yet; empty: there is none. */
struct str connection_asked_id(const struct connection *connection);

/* ---- packets_in.c ---- */

/* Gives `reason`, with a text for the log. */
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

/* What a whole packet (borrowed) means: its first byte, and what follows the fixed header. Gives 0,
 * or the reason for which the connection ends. */
enum mqtt_reason connection_take(struct connection *connection, uint8_t first, struct str body,
                                 struct why *why);

#endif
