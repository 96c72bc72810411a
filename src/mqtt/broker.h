/* broker.h - the MQTT broker: sessions, subscriptions, retained messages, wills.
 *
 * It runs on a task of its own, so that a flood of messages does not disturb polling; whoever is
 * elsewhere reaches it by the calls below, which may be made on the main loop. A connection is
 * accepted there too and handed over. Who may log in, who may publish and subscribe, and what a
 * message means beside being delivered is asked through `struct broker_hooks`.
 *
 * The life of one: broker_new (reads its file), broker_replay for each note of the log,
 * broker_start, broker_stop, broker_free. What a hook is handed it gives back with broker_…_done
 * while the broker runs, and frees with broker_…_free when it was stopped meanwhile: once, in any
 * case.
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
    /* With a NUL: a client identifier as it is named where there is little room (session_short). */
    BROKER_CLIENT_SHORT_BYTES = 256,
    /* With a NUL; a token of another issuer is the longest. */
    BROKER_PASSWORD_BYTES = ACCESS_JWT_BYTES,
};

/* Who of a shared subscription gets a message (MQTT 5.0 4.8.2 leaves it to the server): each in
 * turn, any, the same as long as he is ready, the same for a topic. */
enum broker_shared { BROKER_ROUND_ROBIN, BROKER_RANDOM, BROKER_STICKY, BROKER_HASH_TOPIC };
/* What goes when a queue is full. */
enum broker_full { BROKER_DROP_OLDEST, BROKER_DROP_NEW, BROKER_KEEP_EVERY_NTH };

/* What one session's queue may hold, where it is not the broker's own limits that count. */
struct session_limits {
    size_t messages, bytes;
    enum broker_full full;
    /* KEEP_EVERY_NTH: of the messages that wait each n-th stays, 2 or more. */
    uint32_t every;
    /* Older ones go; 0 = however old. */
    uint32_t age_s;
};

/* The ways in, each counted by itself. */
enum broker_door { BROKER_PLAIN, BROKER_TLS, BROKER_LOCAL, BROKER_WEB, BROKER_DOORS };

/* What one may take of what is everybody's (limits.h). 0 = no limit. */
struct broker_limits {
    /* Connections at once: of one user, of one address, through one door. */
    uint32_t per_user, per_peer, per_listener;
    /* Connections that are not logged in: in all, of one door, of one address. */
    uint32_t half_open, half_open_per_listener, half_open_per_peer;
    /* A login takes no longer; not 0. */
    uint32_t connect_s;
    /* Logins a second through one door. */
    uint32_t connect_rate;
    /* Messages a second of one client … */
    uint32_t message_rate;
    /* … and bytes. */
    uint64_t byte_rate;
    /* Of a packet before the login; not 0. */
    size_t login_bytes;
    /* Not 0; at most TOPIC_LEVELS_MAX. */
    uint16_t topic_levels;
    /* Addresses of this machine are counted, too. */
    bool loopback;
};

/* Who stays outside, and for how long; 0 = nobody. */
struct broker_bans {
    /* Lost connections of a client, failed logins of an address … */
    uint32_t drops, failures;
    /* … in so long; for so long. */
    uint32_t window_s, time_s;
};

/* When a message of QoS 1 or 2 that somebody keeps is acknowledged: when it lies in memory, when it
 * is with the kernel (survives a crash of this program), when it is on the disk. */
enum broker_ack { BROKER_ACK_SYNCED, BROKER_ACK_WRITTEN, BROKER_ACK_MEMORY, BROKER_ACK_INHERIT };
enum { BROKER_ACK_TOPICS_MAX = 32, BROKER_ACK_FILTER_BYTES = 128 };
struct broker_acks {
    /* enum broker_ack, as the next two; not INHERIT. */
    uint8_t otherwise;
    /* INHERIT: otherwise. */
    uint8_t doors[BROKER_DOORS];
    /* Of topics; the first that fits counts, before the door. */
    size_t count;
    struct {
        char filter[BROKER_ACK_FILTER_BYTES]; /* valid (topic.h) */
        uint8_t ack;                          /* not INHERIT */
    } topics[BROKER_ACK_TOPICS_MAX];
};

/* AUTO: a fourth of the processors. */
enum { BROKER_LOOPS_AUTO = -1, BROKER_LOOPS_MAX = 16 };
/* Settings; node.yaml's `mqtt:` says what each means to an operator (node/config_mqtt.c checks
 * them). */
struct broker_config {
    struct broker_acks acks;
    /* Of sessions, queues, retained messages. */
    size_t memory_bytes;
    /* At once; not 0. */
    uint32_t connections_max;
    /* What a client may send at once, without the fixed header; at most MQTT_REMAINING_MAX. */
    size_t packet_bytes_max;
    /* What is announced (3.2.2.3.3, 3.2.2.3.8); receive_maximum not 0. */
    uint16_t receive_maximum, topic_alias_maximum;
    /* A longer one is cut (3.2.2.3.2); UINT32_MAX = for ever. */
    uint32_t session_expiry_max_s;
    /* 0 = as the client says (3.2.2.3.14). */
    uint16_t keep_alive_max_s;
    /* Of one session. */
    struct session_limits queue;
    /* Of it in memory; what is beyond lies in files; 0 = all in memory. */
    size_t queue_memory_bytes;
    /* Of those files, of all sessions. */
    uint64_t queue_disk_bytes;
    /* Of all; of one session. */
    size_t retained_max, subscriptions_max;
    /* Of one connection, not yet with the kernel; beyond it QoS 0 is dropped. */
    size_t send_bytes_max;
    /* Tasks that move the bytes of connections (net/carry.h), or LOOPS_AUTO; 0 = the broker's does.
     */
    int loops;
    enum broker_shared shared;
    /* Of $SYS; 0 = off. */
    uint32_t sys_interval_s;
    struct broker_limits limits;
    struct broker_bans bans;
    /* "data/": what is published below it are rows; "" = nothing is. */
    char data_prefix[64];
    /* "cmd/": what is published below it are commands; "" = nothing is. */
    char cmd_prefix[64];
};
/* Those of a node whose node.yaml says nothing. */
extern const struct broker_config broker_defaults;

/* What a client proves instead of sending a password (MQTT 5.0 4.12, RFC 5802). The hook gets its
 * first message, sets `is_second` and answers into `out`; then its last one, and answers with an
 * identity. */
struct broker_scram {
    /* The hook's, up to `is_second`. */
    struct scram_server server;
    char verifier[ACCESS_VERIFIER_BYTES];
    uint8_t proof[ACCESS_HASH_BYTES];
    bool is_second;
    /* The hook's answer, to go to the client. */
    struct buf out;
    /* The client's message; without text: one that is none. */
    size_t in_size;
    char in[SCRAM_MESSAGE_BYTES];
};

/* A login under way: made by the broker, answered by the hook with broker_login_done. */
struct broker_login {
    struct job job;    /* first; the hook's, to go where it has to */
    struct loop *home; /* the broker's */
    /* "" also for one that is too long: nobody has it. */
    char user[ACCESS_USER_BYTES];
    /* Owned, wiped when it is done; "" = none; NULL: with SCRAM of a client that proves itself
     * again. */
    char *password;
    bool has_user, has_password, is_tls;
    /* What TLS proved: the identity whose key it has, or its certificate's common name; "" =
     * nothing. */
    char proved[ACCESS_USER_BYTES];
    /* A web page's: never anonymous. */
    bool is_web;
    /* The hook's answer: let in without a user (broker_dismiss). */
    bool is_anonymous;
    /* Who HTTP knew already, a share; NULL = nobody. */
    struct identity *visitor;
    /* Owned; NULL = none of this kind. */
    struct broker_scram *scram;
    /* An address with its port. */
    char peer[64];
    /* The answer; gives; NULL: refused, `reason` says why, or CONTINUE_AUTHENTICATION. */
    struct identity *identity;
    enum mqtt_reason reason;
    /* The hook's own, as the next. */
    void *hook;
    struct broker_login *next;
    /* The broker's; NULL once it has gone. */
    struct connection *connection;
    /* Where it lies; NULL = by itself. */
    struct login_slab *slab;
    /* With the hook. */
    bool is_away;
};
/* The hook has answered (gives it back). Any task, once, while the broker runs. */
void broker_login_done(struct broker_login *login);
/* Instead of that, when the broker was stopped meanwhile. Any task. */
void broker_login_free(struct broker_login *login);

/* Changes for the node's log (mqtt/journal.h): made by the broker, answered by the hook. */
struct broker_note {
    struct job job; /* first; the broker's */
    struct broker *broker;
    struct broker_note *next;
    /* What is to be written, borrowed by the hook until it is done. */
    struct buf body;
    /* The last change in it. */
    uint64_t change;
    bool is_done;
    /* broker_note_written is to be called, too. */
    bool wants_written;
    struct job written;
    /* The hook's own. */
    void *hook;
    /* The answer: its position, above those of all notes that were given before it; or an error:
     * it is given again. */
    uint64_t seq;
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
    /* Of the last one who lets go; any task. */
    void (*free)(struct broker_stream *stream);
    /* Valid (topic.h), and not a shared one. */
    struct str filter;
    /* Its rows belong to, and its ns is where it takes messages; borrowed: the stream holds it. */
    struct identity *identity;
    /* Who publishes with QoS 1 or 2 waits for the rows. */
    bool holds_ack;
    /* What does not fit is counted, and no dead letter. */
    bool drops;
};
/* One more reference (shares); gives the stream back. Any task, as the next. */
struct broker_stream *broker_stream_share(struct broker_stream *stream);
/* Gives one back. NULL allowed. */
void broker_stream_release(struct broker_stream *stream);
/* From now on these `count` (shares them), instead of those before; messages that are on their way
 * to one get there. What is retained already is not taken. Main loop, while the broker runs.
 * Errors: NO_MEMORY, and all stay as they were. */
enum err broker_set_streams(struct broker *broker, struct broker_stream *const *streams,
                            size_t count);

/* A batch of messages that are rows (mqtt/rows.h): made by the broker, answered by the hook. */
struct rows_refusal {
    /* Of the entry in the batch's text, as rows_next stood before it. */
    size_t offset;
    /* Why, for the dead letter. */
    char text[200];
};
struct broker_rows {
    struct job job; /* first; the hook's on the way out, the broker's on the way back */
    struct broker *broker;
    struct broker_rows *next;
    /* Whose rows they are, a share. */
    struct identity *identity;
    /* Whose messages they are, a share; NULL = rows under the data prefix. */
    struct broker_stream *stream;
    /* Entries (rows_next). */
    struct buf text;
    /* From 1, in the order in which batches began. */
    uint64_t number;
    size_t messages;
    char prefix[64]; /* of its topics */
    bool is_given;   /* with the hook: nothing is added any more */
    void *hook;      /* the hook's own */
    /* The answer: what was stored and refused; err: none of it for certain. */
    uint64_t rows, refused;
    size_t refusal_count;
    struct rows_refusal *refusals; /* mem_alloc; the broker frees them */
    enum err err;
    struct why why;
};
/* The hook has answered (gives it back). Main loop, once, while the broker runs. */
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
    /* Who asks, a share. */
    struct identity *identity;
    /* Of the message; response and correlation without text = none. */
    struct buf topic, payload, response, correlation;
    /* Of the topic; "": a command to an edge node of Sparkplug, never answered. */
    char prefix[64];
    char client[BROKER_CLIENT_SHORT_BYTES];
    /* Of the message, and so of the answer. */
    uint8_t qos;
    /* The answer: a JSON object; not of one with no prefix. */
    struct buf reply;
};
/* The hook has answered (gives it back). Main loop, once, while the broker runs. */
void broker_ask_done(struct broker_ask *ask);
/* Instead of that, when the broker was stopped meanwhile. */
void broker_ask_free(struct broker_ask *ask);

/* Whether those who are connected still may what they may: made by the broker, answered by the
 * hook. Identities are shared; `renewed`: access_renew's answer for each. */
struct broker_review {
    struct job job; /* first; the hook's on the way out, the broker's on the way back */
    struct broker *broker;
    void *hook; /* the hook's own */
    /* Of both arrays: filled; there are. */
    size_t count, capacity;
    struct identity **old;
    /* The answer (gives); NULL at a place: that identity holds no longer. */
    struct identity **renewed;
};
/* Asks for it: users, roles or tokens have changed. Main loop, while the broker runs. */
void broker_review(struct broker *broker);
/* The hook has answered (gives it back). Main loop, once, while the broker runs. */
void broker_review_done(struct broker_review *review);
/* Instead of that, when the broker was stopped meanwhile. */
void broker_review_free(struct broker_review *review);

/* Ways in that have been closed: who came by one goes, his session stays. */
struct broker_dismissal {
    /* Who came without a user. */
    bool anonymous;
    /* Who came over TLS, but for keys: certificates count otherwise now. */
    bool certificates;
    /* Keys that clients may have proved, and those that hold now; borrowed; both NULL = no others.
     */
    struct tls_psk *was, *now;
};
/* Ends their connections, also those whose login is under way. What was handed over before counts
 * as before. Main loop, while the broker runs. Errors: NO_MEMORY, and nothing is done. */
enum err broker_dismiss(struct broker *broker, const struct broker_dismissal *dismissal);

/* Something that waits for the disk; part of what it is about. When the broker was stopped
 * meanwhile the hook does not touch it any more. */
struct broker_work {
    struct job job; /* first; the hook's on the way out, the broker's on the way back */
    struct broker *owner;
    void *hook;                             /* the hook's own */
    void (*work)(struct broker_work *work); /* on a worker */
    void (*done)(struct broker_work *work); /* on the broker's task */
};
/* `work` was called. Main loop, once, while the broker runs. */
void broker_work_done(struct broker_work *work);

/* All on the broker's task. Without `journal` nothing survives, without `work` nothing is written,
 * without `rows` no topic is special. */
struct broker_hooks {
    void *arg; /* of all of them; borrowed */
    /* Who is this? Not NULL. */
    void (*login)(void *arg, struct broker_login *login);
    /* Write this to the log, behind what was given before; its order must be kept. */
    void (*journal)(void *arg, struct broker_note *note);
    /* Store these messages as rows. */
    void (*rows)(void *arg, struct broker_rows *rows);
    /* Write this to equipment. NULL: no topic is a command. */
    void (*ask)(void *arg, struct broker_ask *ask);
    /* May these still what they may? NULL: they may. */
    void (*review)(void *arg, struct broker_review *review);
    /* Do this where one may wait. False: no memory, nothing follows. */
    bool (*work)(void *arg, struct broker_work *work);
    /* Notes up to this position are not needed any more. */
    void (*saved)(void *arg, uint64_t position);
};

/* A broker (gives) that does not run yet, with what its file in the data folder holds. `context` is
 * borrowed for its life, `config` and `folder` are copied. Blocking; before the node serves.
 * Errors: NO_MEMORY, IO, FORMAT; what is damaged is told. */
enum err broker_new(struct context *context, const struct broker_config *config, const char *folder,
                    struct broker **broker, struct why *why);
/* A note that the log still has (`body` borrowed), in order; between new and start. Errors: CORRUPT
 * (what was whole in it counts), NO_MEMORY. */
enum err broker_replay(struct broker *broker, uint64_t seq, struct str body, struct why *why);
/* What this node is called in the trail of bridged messages (mqtt/bridge_map.h): copied, cut to its
 * first characters; not "". Before the start. */
void broker_set_node(struct broker *broker, const char *node);
/* Starts the task. `hooks` are copied. Main loop. Errors: NO_MEMORY. */
enum err broker_start(struct broker *broker, const struct broker_hooks *hooks, struct why *why);
/* Closes all connections (5.0 clients are told), gives the last changes to the journal and ends the
 * task; one that was not started is left alone. Blocking; main loop. */
void broker_stop(struct broker *broker);
/* Frees one that was stopped, or never started; what is kept is in the log and its file. NULL
 * allowed. */
void broker_free(struct broker *broker);
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
    /* Borrowed during the call; NULL = plain. */
    struct tls_config *tls;
    /* With tls: keys that clients may prove; borrowed; NULL = none. */
    struct tls_psk *psk;
    /* It begins with a PROXY header (net/proxy.h), which is believed. */
    bool has_proxy;
    enum broker_door door;
};
/* Hands over a stream that was just accepted on the main loop (takes it). Without memory it is
 * closed, which is counted. Main loop, while the broker runs. */
void broker_accept(struct broker *broker, struct os_stream *stream,
                   const struct broker_entry *entry);

/* Somebody who did not come over a socket of the broker's own. */
struct broker_visitor {
    /* "10.0.0.7:41234"; copied. */
    const char *peer;
    /* Web: a page in a browser. */
    bool is_tls, is_web;
    /* Who he is as far as is known; shared; NULL = nobody. */
    struct identity *identity;
    /* The identity whose key he has proved; copied; NULL = none. */
    const char *psk;
};
/* Gives a stream on the main loop that is a connection to the broker: what is written there is what
 * the client sent. Main loop, while the broker runs. Errors: NO_MEMORY. */
enum err broker_visit(struct broker *broker, const struct broker_visitor *visitor,
                      struct os_stream **stream);

#endif
