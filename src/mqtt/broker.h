/* broker.h - the MQTT broker: sessions, subscriptions, retained messages, wills.
 *
 * It runs on a task of its own, so that a flood of messages does not disturb polling; whoever is
 * elsewhere reaches it by the calls below, which may be made on the main loop. A connection is
 * accepted there too and handed over. Who may log in, who may publish and subscribe, and what a
 * message means beside being delivered is asked through `struct broker_hooks`.
 *
 * Source: MQTT 5.0 and 3.1.1 (OASIS Standards); what 3.1 does otherwise is in packet.h. */
#ifndef MQTT_BROKER_H
#define MQTT_BROKER_H

#include "access/access.h"
#include "access/scram_server.h"
#include "loop/context.h"
#include "mqtt/packet.h"
#include "net/tls.h"

struct broker;
struct message;

enum {
    BROKER_CLIENT_ID_BYTES = 256,             /* longer client identifiers are refused */
    BROKER_PASSWORD_BYTES = ACCESS_JWT_BYTES, /* a token of another issuer is the longest */
};

enum broker_shared { BROKER_ROUND_ROBIN, BROKER_RANDOM, BROKER_STICKY, BROKER_HASH_TOPIC };
enum broker_full { BROKER_DROP_OLDEST, BROKER_DROP_NEW, BROKER_KEEP_EVERY_NTH };

/* What one session's queue may hold, where it is not the broker's own limits that count. */
struct session_limits {
    size_t messages, bytes;
    enum broker_full full;
    uint32_t every; /* KEEP_EVERY_NTH: of the messages that wait each n-th stays, 2 or more */
    uint32_t age_s; /* older ones go; 0 = however old */
};

/* The ways in, each counted by itself. */
enum broker_door { BROKER_PLAIN, BROKER_TLS, BROKER_LOCAL, BROKER_WEB, BROKER_DOORS };

/* What one may take of what is everybody's (limits.h). 0 = no limit. */
struct broker_limits {
    uint32_t per_user, per_peer; /* connections at once */
    /* Connections that are not logged in: in all, of one door, of one address. */
    uint32_t half_open, half_open_per_listener, half_open_per_peer;
    uint32_t connect_s;    /* a login takes no longer; not 0 */
    uint32_t connect_rate; /* logins a second through one door */
    uint32_t message_rate; /* messages a second of one client … */
    uint64_t byte_rate;    /* … and bytes */
    size_t login_bytes;    /* of a packet before the login; not 0 */
    uint16_t topic_levels; /* not 0; at most TOPIC_LEVELS_MAX */
    bool loopback;         /* addresses of this machine are counted, too */
};

/* Who stays outside, and for how long; 0 = nobody. */
struct broker_bans {
    uint32_t drops, failures;  /* lost connections of a client, failed logins of an address … */
    uint32_t window_s, time_s; /* … in so long; for so long */
};

/* When a message of QoS 1 or 2 that somebody keeps is acknowledged: when it lies in memory, when it
 * is with the kernel (survives a crash of this program), when it is on the disk. */
enum broker_ack { BROKER_ACK_SYNCED, BROKER_ACK_WRITTEN, BROKER_ACK_MEMORY, BROKER_ACK_INHERIT };
enum { BROKER_ACK_TOPICS_MAX = 32, BROKER_ACK_FILTER_BYTES = 128 };
struct broker_acks {
    uint8_t otherwise;           /* enum broker_ack, as the next two */
    uint8_t doors[BROKER_DOORS]; /* INHERIT: otherwise */
    size_t count;                /* of topics; the first that fits counts, before the door */
    struct {
        char filter[BROKER_ACK_FILTER_BYTES];
        uint8_t ack;
    } topics[BROKER_ACK_TOPICS_MAX];
};

enum { BROKER_LOOPS_AUTO = -1, BROKER_LOOPS_MAX = 16 };
struct broker_config {
    struct broker_acks acks;
    size_t memory_bytes; /* of sessions, queues, retained messages */
    uint32_t connections_max;
    size_t packet_bytes_max;                       /* what a client may send at once */
    uint16_t receive_maximum, topic_alias_maximum; /* what is announced */
    uint32_t session_expiry_max_s;                 /* a longer one is cut; UINT32_MAX = for ever */
    uint16_t keep_alive_max_s;                     /* 0 = as the client says */
    struct session_limits queue;                   /* of one session */
    size_t queue_memory_bytes; /* of it; what is beyond lies in files; 0 = all in memory */
    uint64_t queue_disk_bytes; /* of those files, of all sessions */
    size_t retained_max, subscriptions_max; /* of all; of one session */
    size_t
        send_bytes_max; /* of one connection, not yet with the kernel; beyond it QoS 0 is dropped */
    int loops; /* tasks that move the bytes of connections (net/carry.h); 0 = the broker's does */
    enum broker_shared shared;
    uint32_t sys_interval_s; /* of $SYS; 0 = off */
    struct broker_limits limits;
    struct broker_bans bans;
    char data_prefix[64]; /* "data/": what is published below it are rows */
    char cmd_prefix[64];  /* "cmd/": what is published below it are commands */
};
extern const struct broker_config broker_defaults;

/* What a client proves instead of sending a password. The hook gets its first message, sets
 * `is_second` and answers into `out`; then its last one, and answers with an identity. */
struct broker_scram {
    struct scram_server server; /* from here on the hook's */
    char verifier[ACCESS_VERIFIER_BYTES];
    uint8_t proof[ACCESS_HASH_BYTES];
    bool is_second;
    struct buf out;
    size_t in_size;
    char in[SCRAM_MESSAGE_BYTES];
};

/* A login under way: made by the broker, answered by the hook with broker_login_done. */
struct broker_login {
    struct job job;    /* the hook's, to go where it has to */
    struct loop *home; /* the broker's */
    char user[ACCESS_USER_BYTES];
    char *password; /* its own; wiped when it is done; "" = none */
    bool has_user, has_password, is_tls;
    char certificate[ACCESS_USER_BYTES]; /* the common name of a checked one; "" = none */
    char psk[ACCESS_USER_BYTES];         /* the identity whose key it has proved; "" = none */
    bool is_web;                         /* a web page's: never anonymous */
    struct identity *visitor;            /* who HTTP knew already; NULL = nobody */
    struct broker_scram *scram;          /* NULL = none of this kind */
    char peer[64];                       /* an address with its port */
    /* The answer; gives; NULL: refused, `reason` says why, or CONTINUE_AUTHENTICATION. */
    struct identity *identity;
    enum mqtt_reason reason;
    void *hook; /* the hook's own, as the next */
    struct broker_login *next;
    struct connection *connection; /* the broker's; NULL once it has gone */
    struct login_slab *slab;
    bool is_away; /* with the hook */
};
/* Any task, once, while the broker runs. */
void broker_login_done(struct broker_login *login);
/* Instead of that, when the broker was stopped meanwhile. */
void broker_login_free(struct broker_login *login);

/* Changes for the node's log (mqtt/journal.h): made by the broker, answered by the hook. */
struct broker_note {
    struct job job; /* first; the broker's */
    struct broker *broker;
    struct broker_note *next;
    struct buf body;
    uint64_t change;
    bool is_done;
    bool wants_written; /* broker_note_written is to be called, too */
    struct job written;
    void *hook;   /* the hook's own */
    uint64_t seq; /* the answer: its position, or an error: it is given again */
    enum err err;
    struct why why;
};
/* It is with the kernel. Main loop, once at most and before the next, while the broker runs. */
void broker_note_written(struct broker_note *note);
/* It is durable, or failed. Main loop, once, while the broker runs. */
void broker_note_done(struct broker_note *note);
/* Instead of that, when the broker was stopped meanwhile. */
void broker_note_free(struct broker_note *note);

/* Somebody inside the node who takes messages as rows (kind Stream): no session, no socket. Shared
 * by reference count; immutable but for `refs`. */
struct broker_stream {
    _Atomic uint32_t refs;
    void (*free)(struct broker_stream *stream); /* of the last one who lets go; any task */
    struct str filter;
    struct identity *identity; /* its rows belong to, and its ns is where it takes messages;
                                  borrowed: the stream holds it */
    bool holds_ack;            /* who publishes with QoS 1 or 2 waits for the rows */
    bool drops;                /* what does not fit is counted, and no dead letter */
};
struct broker_stream *broker_stream_share(struct broker_stream *stream);
void broker_stream_release(struct broker_stream *stream); /* NULL allowed */
/* From now on these (shares them), instead of those before; messages that are on their way to one
 * get there. What is retained already is not taken. Main loop, while the broker runs. Errors:
 * NO_MEMORY, and all stay as they were. */
enum err broker_set_streams(struct broker *broker, struct broker_stream *const *streams,
                            size_t count);

/* A batch of messages that are rows (mqtt/rows.h): made by the broker, answered by the hook. */
struct rows_refusal {
    size_t offset; /* of the entry in the text */
    char text[200];
};
struct broker_rows {
    struct job job; /* first; the hook's on the way out, the broker's on the way back */
    struct broker *broker;
    struct broker_rows *next;
    struct identity *identity;
    struct broker_stream *stream; /* whose messages they are; NULL = rows under the data prefix */
    struct buf text;
    uint64_t number;
    size_t messages;
    char prefix[64]; /* of its topics */
    bool is_given;
    void *hook; /* the hook's own */
    /* The answer: what was stored and refused; err: none of it for certain. */
    uint64_t rows, refused;
    size_t refusal_count;
    struct rows_refusal *refusals; /* mem_alloc; the broker frees them */
    enum err err;
    struct why why;
};
/* Main loop, once, while the broker runs. */
void broker_rows_done(struct broker_rows *rows);
/* Instead of that, when the broker was stopped meanwhile. */
void broker_rows_free(struct broker_rows *rows);

/* A message that asks for a write to equipment (mqtt/asks.h): made by the broker, answered by the
 * hook. */
struct broker_ask {
    struct job job; /* first; the hook's on the way out, the broker's on the way back */
    struct broker *broker;
    struct broker_ask *next;
    void *hook; /* the hook's own */
    struct identity *identity;
    struct buf topic, payload, response, correlation;
    char prefix[64]; /* of the topic; "": a command to an edge node of Sparkplug, never answered */
    char client[BROKER_CLIENT_ID_BYTES];
    uint8_t qos;
    struct buf reply; /* the answer: a JSON object; not of one with no prefix */
};
/* Main loop, once, while the broker runs. */
void broker_ask_done(struct broker_ask *ask);
/* Instead of that, when the broker was stopped meanwhile. */
void broker_ask_free(struct broker_ask *ask);

/* Whether those who are connected still may what they may: made by the broker, answered by the
 * hook. Identities are shared; `renewed`: access_renew's answer for each. */
struct broker_review {
    struct job job; /* first; the hook's on the way out, the broker's on the way back */
    struct broker *broker;
    void *hook;
    size_t count, capacity;
    struct identity **old, **renewed;
};
/* Asks for it: users, roles or tokens have changed. Main loop, while the broker runs. */
void broker_review(struct broker *broker);
/* Main loop, once, while the broker runs. */
void broker_review_done(struct broker_review *review);
/* Instead of that, when the broker was stopped meanwhile. */
void broker_review_free(struct broker_review *review);

/* Something that waits for the disk. */
struct broker_work {
    struct job job; /* first; the hook's on the way out, the broker's on the way back */
    struct broker *owner;
    void *hook;
    void (*work)(struct broker_work *work); /* on a worker */
    void (*done)(struct broker_work *work); /* on the broker's task */
};
/* Main loop, once, while the broker runs. */
void broker_work_done(struct broker_work *work);

/* All on the broker's task. Without `journal` nothing survives, without `work` nothing is written,
 * without `rows` no topic is special. */
struct broker_hooks {
    void *arg;
    void (*login)(void *arg, struct broker_login *login);
    void (*journal)(void *arg, struct broker_note *note);
    void (*rows)(void *arg, struct broker_rows *rows);
    void (*ask)(void *arg, struct broker_ask *ask); /* NULL: no topic is a command */
    void (*review)(void *arg, struct broker_review *review);
    bool (*work)(void *arg, struct broker_work *work); /* false: no memory, nothing follows */
    /* Notes up to this position are not needed any more. */
    void (*saved)(void *arg, uint64_t position);
};

/* A broker that does not run yet, with what its file in the data folder holds. `config` is copied.
 * Blocking; before the node serves. Errors: NO_MEMORY, IO; what is damaged is told. */
enum err broker_new(struct context *context, const struct broker_config *config, const char *folder,
                    struct broker **broker, struct why *why);
/* A note that the log still has, in order; between new and start. Errors: CORRUPT, NO_MEMORY. */
enum err broker_replay(struct broker *broker, uint64_t seq, struct str body, struct why *why);
/* What this node is called in the trail of bridged messages (mqtt/bridge_map.h): cut to its first
 * characters. Before the start. */
void broker_set_node(struct broker *broker, const char *node);
/* Starts the task. `hooks` are copied. Main loop. Errors: NO_MEMORY. */
enum err broker_start(struct broker *broker, const struct broker_hooks *hooks, struct why *why);
/* Closes all connections (5.0 clients are told), gives the last changes to the journal and ends the
 * task; one that was not started is left alone. Blocking; main loop. */
void broker_stop(struct broker *broker);
void broker_free(struct broker *broker); /* NULL allowed */
/* New settings, while it runs. Connections keep what they were told when they came (largest packet,
 * receive maximum, topic aliases, keep-alive); what is over a new limit stays until it goes by
 * itself, but a queue that is asked to take one more first gets down to it. Main loop. Errors:
 * NO_MEMORY. */
enum err broker_configure(struct broker *broker, const struct broker_config *config,
                          struct why *why);
/* The log wants to forget notes: the broker writes its state within a second or so, once it runs.
 * Any task. */
void broker_save(struct broker *broker);

/* The way a stream came in. */
struct broker_entry {
    struct tls_config *tls; /* borrowed during the call; NULL = plain */
    struct tls_psk *psk;    /* with tls: keys that clients may prove; borrowed; NULL = none */
    bool has_proxy;         /* it begins with a PROXY header (net/proxy.h), which is believed */
    enum broker_door door;
};
/* Hands over a stream that was just accepted on the main loop (takes it). Main loop. */
void broker_accept(struct broker *broker, struct os_stream *stream,
                   const struct broker_entry *entry);

/* Somebody who did not come over a socket of the broker's own. */
struct broker_visitor {
    const char *peer;          /* "10.0.0.7:41234"; copied */
    bool is_tls, is_web;       /* web: a page in a browser */
    struct identity *identity; /* who he is as far as is known; borrowed; NULL = nobody */
    const char *psk;           /* the identity whose key he has proved; copied; NULL = none */
};
/* Gives a stream on the main loop that is a connection to the broker: what is written there is what
 * the client sent. Main loop. Errors: NO_MEMORY. */
enum err broker_visit(struct broker *broker, const struct broker_visitor *visitor,
                      struct os_stream **stream);

#endif
