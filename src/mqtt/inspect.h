/* inspect.h - a look at the broker from the main loop: its clients, subscriptions and retained
 * messages.
 *
 * The broker's task takes the rows in slices, between which messages go on; so a look at ten
 * thousand clients stalls nobody, and shows no single moment: a session that comes meanwhile may be
 * missing, one that goes may be shown. The rows belong to whoever asked. */
#ifndef MQTT_INSPECT_H
#define MQTT_INSPECT_H

#include "mqtt/broker.h"

enum broker_look {
    BROKER_CLIENTS = 1,
    BROKER_SUBSCRIPTIONS = 2,
    BROKER_RETAINED = 4,
    BROKER_BANS = 8,
    BROKER_BRIDGES = 16,
};

struct broker_client_row {
    struct str ns, client_id, user, peer; /* peer "" = away */
    bool is_connected, is_tls, is_slow;
    uint8_t version; /* enum mqtt_version; 0 = away */
    uint16_t keep_alive_s;
    uint32_t expiry_s; /* UINT32_MAX = never */
    int64_t since_ns;  /* wall clock: connected, or away, since then; 0 = since before the start */
    uint64_t subscriptions, queued, queued_bytes, in_flight;
    uint64_t received, sent, dropped; /* messages, as long as the session lives; since the start */
};

struct broker_subscription_row {
    struct str ns, client_id, filter; /* with $share/group/ */
    uint32_t id;                      /* 0 = none */
    uint8_t qos;
    bool no_local, retain_as_published;
};

struct broker_retained_row {
    struct str ns, topic, payload; /* payload without text: not asked for */
    uint64_t size_bytes;           /* of the payload */
    int64_t time_ns;               /* wall clock, when it came; 0 = before the start */
    uint8_t qos;
};

struct broker_ban_row {
    bool is_client;             /* else an address */
    struct str name, user;      /* user: of a client */
    uint32_t count;             /* lost connections, or failed logins */
    int64_t since_ns, until_ns; /* wall clock */
};
/* struct broker_bridge_row (mqtt/bridge.h): the asker checks rights on them. */

/* Rows of one kind, in no order. */
struct broker_list {
    void **at;
    size_t count, capacity;
    bool is_cut; /* there are more than rows_max */
};

struct broker_inspect {
    struct completion completion; /* first; the asker's */
    unsigned looks;               /* enum broker_look */
    struct identity *identity;    /* shared; what it may not see is left out */
    struct str ns; /* "" = all, of clients, subscriptions and retained messages; borrowed until
                      done, as the next */
    struct str client_id; /* "" = all; else with ns */
    struct str filter;    /* of retained messages; "" = all */
    bool with_payload;
    size_t rows_max;    /* of each kind; 0 = as many as memory allows */
    struct arena arena; /* of the rows; the asker sets it up */
    struct broker_list clients, subscriptions, retained, bans, bridges;
    /* from here on the broker's */
    struct job job;
    struct broker *broker;
    struct broker_inspect *next;
    struct session *at;
    struct subscription *at_subscription;
    struct space *walked; /* pinned; NULL = none */
    size_t next_space;    /* of those that are walked */
    struct tree_walk *walk;
    bool is_walking, sees_all, sees_some;
    enum err err;
};

/* Asks. The completion comes in any case: BUDGET or NO_MEMORY (then rows are missing), CANCELLED
 * when the broker stops. Main loop, while the broker runs. */
void broker_inspect(struct broker *broker, struct broker_inspect *inspect);
/* The rows; the struct may be used again. */
void broker_inspect_free(struct broker_inspect *inspect);

/* Whether the identity may see (LIST), change (UPDATE) or end (DELETE) the client: whose own it is
 * may; other people's may who has the right on the kind MqttClient. Any task. */
bool broker_client_is_open_to(const struct identity *identity, enum access_verb verb, struct str ns,
                              struct str client_id, const char *user);

#endif
