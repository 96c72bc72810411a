/* inspect.h - a look at the broker from the main loop: its clients, subscriptions and retained
 * messages.
 *
 * The broker's task takes the rows in slices, between which messages go on; so a look at ten
 * thousand clients stalls nobody, and shows no single moment: a session that comes meanwhile may be
 * missing, one that goes may be shown.
 *
 * The struct and the rows are the asker's: it stays in place until the completion has come, and
 * only the broker's task touches it meanwhile. All texts of rows lie in its arena. */
#ifndef MQTT_INSPECT_H
#define MQTT_INSPECT_H

#include "mqtt/broker.h"

/* What is looked at; bits. */
enum broker_look {
    BROKER_CLIENTS = 1,
    BROKER_SUBSCRIPTIONS = 2,
    BROKER_RETAINED = 4,
    BROKER_BANS = 8,
    BROKER_BRIDGES = 16,
};

/* A session, whether its client is there or not. */
struct broker_client_row {
    /* peer: "10.0.0.7:41234"; "" = away. */
    struct str ns, client_id, user, peer;
    /* slow: it does not read what is sent to it. */
    bool is_connected, is_tls, is_slow;
    /* enum mqtt_version; 0 = away. */
    uint8_t version;
    /* 0 = none, or away. */
    uint16_t keep_alive_s;
    /* After the connection's end; UINT32_MAX = never. */
    uint32_t expiry_s;
    /* Wall clock: connected, or away, since then; 0 = since before the start. */
    int64_t since_ns;
    /* Messages that wait, their size, and those of them that are sent and not acknowledged. */
    uint64_t subscriptions, queued, queued_bytes, in_flight;
    /* Messages, as long as the session lives; since the start. */
    uint64_t received, sent, dropped;
};

struct broker_subscription_row {
    /* filter: with $share/group/. */
    struct str ns, client_id, filter;
    /* Subscription identifier; 0 = none. */
    uint32_t id;
    /* As granted. */
    uint8_t qos;
    bool no_local, retain_as_published;
};

struct broker_retained_row {
    /* payload without text: not asked for. */
    struct str ns, topic, payload;
    /* Of the payload. */
    uint64_t size_bytes;
    /* Wall clock, when it came; 0 = before the start. */
    int64_t time_ns;
    uint8_t qos;
};

struct broker_ban_row {
    /* Else an address. */
    bool is_client;
    /* user: of a client. */
    struct str name, user;
    /* Lost connections, or failed logins. */
    uint32_t count;
    /* Wall clock. */
    int64_t since_ns, until_ns;
};
/* struct broker_bridge_row (mqtt/bridge.h): the asker checks rights on them. */

/* Rows of one kind, in no order. */
struct broker_list {
    void **at; /* to the kind's row, in the arena */
    size_t count, capacity;
    bool is_cut; /* there are more than rows_max */
};

struct broker_inspect {
    struct completion completion; /* first; the asker's */
    /* What is wanted: enum broker_look; not 0. */
    unsigned looks;
    /* Who asks: a share, released by broker_inspect_free; what it may not see is left out. */
    struct identity *identity;
    /* "" = all, of clients, subscriptions and retained messages; borrowed until done, as the next.
     */
    struct str ns;
    /* "" = all; else with ns. */
    struct str client_id;
    /* Of retained messages; "" = all; else valid (topic.h). */
    struct str filter;
    /* Whether retained messages are wanted with theirs. */
    bool with_payload;
    /* Of each kind; 0 = as many as memory allows. */
    size_t rows_max;
    /* Of the rows; the asker sets it up, with what bounds it. */
    struct arena arena;
    struct broker_list clients, subscriptions, retained, bans, bridges;
    /* From here on the broker's. */
    struct job job;
    struct broker *broker;
    struct broker_inspect *next;
    /* Where it stands: a session, and one of its subscriptions; NULL = neither (any more). */
    struct session *at;
    struct subscription *at_subscription;
    /* The space whose retained messages are walked, pinned; NULL = none. */
    struct space *walked;
    /* The one after it. */
    size_t next_space;
    struct tree_walk *walk;
    bool is_walking, sees_all, sees_some;
    /* Why it cannot go on. */
    enum err err;
};

/* Asks. The completion comes in any case: BUDGET or NO_MEMORY (then rows are missing), CANCELLED
 * when the broker stops. Main loop, while the broker runs. */
void broker_inspect(struct broker *broker, struct broker_inspect *inspect);
/* Frees the rows, and lets go of the identity; the struct may be used again. Not while it is under
 * way. */
void broker_inspect_free(struct broker_inspect *inspect);

/* Whether the identity may see (LIST), change (UPDATE) or end (DELETE) the client: whose own it is
 * may; other people's may who has the right on the kind MqttClient. Any task. */
bool broker_client_is_open_to(const struct identity *identity, enum access_verb verb, struct str ns,
                              struct str client_id, const char *user);

#endif
