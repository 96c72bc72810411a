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
    BROKER_CLIENT_ID_BYTES = 256, /* longer client identifiers are refused */
    BROKER_PASSWORD_BYTES = ACCESS_PASSWORD_BYTES,
};

enum broker_shared { BROKER_ROUND_ROBIN, BROKER_RANDOM, BROKER_STICKY, BROKER_HASH_TOPIC };
enum broker_full { BROKER_DROP_OLDEST, BROKER_DROP_NEW };

struct broker_config {
    size_t memory_bytes; /* of sessions, queues, retained messages */
    uint32_t connections_max;
    size_t packet_bytes_max;                       /* what a client may send at once */
    uint16_t receive_maximum, topic_alias_maximum; /* what is announced */
    uint32_t session_expiry_max_s;                 /* a longer one is cut; UINT32_MAX = for ever */
    uint16_t keep_alive_max_s;                     /* 0 = as the client says */
    size_t queue_messages, queue_bytes;            /* of one session */
    enum broker_full queue_full;
    size_t retained_max, subscriptions_max; /* of all; of one session */
    size_t
        send_bytes_max; /* of one connection, not yet with the kernel; beyond it QoS 0 is dropped */
    enum broker_shared shared;
    uint32_t sys_interval_s; /* of $SYS; 0 = off */
    char data_prefix[64];    /* "data/": what is published below it are rows */
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
    char user[ACCESS_USER_BYTES], password[BROKER_PASSWORD_BYTES]; /* wiped when it is done */
    bool has_user, has_password, is_tls;
    char certificate[ACCESS_USER_BYTES]; /* the common name of a checked one; "" = none */
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
    bool is_away;                  /* with the hook */
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
    void *hook;   /* the hook's own */
    uint64_t seq; /* the answer: its position, or an error: it is given again */
    enum err err;
    struct why why;
};
/* It is durable, or failed. Main loop, once, while the broker runs. */
void broker_note_done(struct broker_note *note);
/* Instead of that, when the broker was stopped meanwhile. */
void broker_note_free(struct broker_note *note);

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
    bool has_proxy;         /* it begins with a PROXY header (net/proxy.h), which is believed */
};
/* Hands over a stream that was just accepted on the main loop (takes it). Main loop. */
void broker_accept(struct broker *broker, struct os_stream *stream,
                   const struct broker_entry *entry);

/* Somebody who did not come over a socket of the broker's own. */
struct broker_visitor {
    const char *peer;          /* "10.0.0.7:41234"; copied */
    bool is_tls, is_web;       /* web: a page in a browser */
    struct identity *identity; /* who he is as far as is known; borrowed; NULL = nobody */
};
/* Gives a stream on the main loop that is a connection to the broker: what is written there is what
 * the client sent. Main loop. Errors: NO_MEMORY. */
enum err broker_visit(struct broker *broker, const struct broker_visitor *visitor,
                      struct os_stream **stream);

#endif
