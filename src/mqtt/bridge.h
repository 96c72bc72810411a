/* bridge.h - bridges: connections that the broker itself makes to other brokers.
 *
 * A bridge is a kept session of the local broker, with the client identifier `$bridge/KEY`, whose
 * subscriptions are what goes out. So its queue, its order, its window and its QoS state are those
 * of any session and survive as they do; the connection to the remote broker is a `struct
 * connection` that was dialled instead of accepted. Broker to remote is what a broker does to a
 * subscriber, remote to broker what a publisher does to a broker.
 *
 * Who calls: listeners/bridges.c, on the main loop, from the documents of kind Bridge and from
 * node.yaml's mqtt.external. Everything else happens on the broker's task. */
#ifndef MQTT_BRIDGE_H
#define MQTT_BRIDGE_H

#include "mqtt/bridge_map.h"
#include "mqtt/broker.h"
#include "os/address.h"

enum {
    BRIDGE_KEY_BYTES = 200, /* longer keys are refused where the documents are checked */
    BRIDGE_ERROR_BYTES = 320,
};
#define BRIDGE_PREFIX "$bridge/"

/* What a bridge is to do. Made by bridge_settings_new, filled in, and handed over; all texts lie in
 * its arena. */
struct bridge_settings {
    struct arena arena;
    /* Who holds them; the broker's task counts, and before that it is 1. */
    unsigned refs;
    /* "default.plant": what the session and the log call it; 1 to BRIDGE_KEY_BYTES - 1 bytes. */
    struct str key;
    /* In whose tree it lives; with the key it says which one it is. Not "". */
    struct str ns;
    /* Of the remote broker. */
    struct os_address address;
    /* "/mqtt": over WebSocket; NULL: over the stream itself. */
    const char *web_path;
    bool is_tls, is_enabled, clean_start, has_user, has_password;
    /* What comes in under the command prefix may write to equipment. */
    bool commands;
    /* enum mqtt_version: 3.1.1 or 5.0. */
    uint8_t version;
    /* 0 = none. */
    uint16_t keep_alive_s;
    /* Of the session at the remote; UINT32_MAX = never. */
    uint32_t session_expiry_s;
    /* Messages under way to the remote; 0 = what it takes; 3.1.1: 100, 20 with QoS 2. */
    uint16_t in_flight;
    /* At the remote; each at most MQTT_TEXT_BYTES_MAX bytes. */
    struct str client_id, user, password;
    /* Paths of PEM files, read anew each time; NULL = none (ca: the system's). */
    const char *ca, *cert, *tls_key;
    /* In its certificate; NULL = the address's host. */
    const char *server_name;
    /* Of what waits for the remote broker. */
    struct session_limits queue;
    /* At most BRIDGE_TOPICS_MAX. */
    size_t topic_count;
    struct bridge_topic *topics;
};

/* Empty settings with their arena (gives). NULL: no memory. Any task. */
struct bridge_settings *bridge_settings_new(void);
/* Frees those that were not handed over, and wipes the password. NULL allowed. */
void bridge_settings_free(struct bridge_settings *settings);

/* Makes the bridge, or gives it new settings (takes): its queue stays, its connection is made anew.
 * Main loop, while the broker runs. Errors: NO_MEMORY; then the settings are gone. */
enum err broker_bridge_put(struct broker *broker, struct bridge_settings *settings);
/* Ends the bridge and its session; what was queued is gone, which is told. Main loop, while the
 * broker runs. Errors: NO_MEMORY. */
enum err broker_bridge_remove(struct broker *broker, struct str ns, struct str key);
/* All bridges that there are were put: sessions of others, which were removed while the node was
 * down, end. Main loop, while the broker runs. Errors: NO_MEMORY. */
enum err broker_bridges_settle(struct broker *broker);

/* Switched off; between two tries; from the first byte to CONNACK; in. */
enum bridge_state { BRIDGE_DISABLED, BRIDGE_WAITING, BRIDGE_CONNECTING, BRIDGE_CONNECTED };
/* Static. */
const char *bridge_state_name(enum bridge_state state); /* "connected" */

/* A bridge as a look (mqtt/inspect.h) shows it. */
struct broker_bridge_row {
    /* Of its document; ns "": mqtt.external's, which has none. */
    struct str ns, name;
    /* error "" = none since it connected. */
    struct str remote, error;
    enum bridge_state state;
    /* The remote refused one of its subscriptions, or messages of it. */
    bool is_refused;
    /* Wall clock: in this state since then. */
    int64_t since_ns;
    /* Wall clock; 0 = there was none. */
    int64_t error_ns;
    /* Age of the oldest message that waits; 0 = none waits. Of one from before the start: since the
     * start. */
    int64_t oldest_ns;
    uint64_t queued, queued_bytes, in_flight;
    /* Messages, since the start; sent: those sent again too. */
    uint64_t sent, received, dropped;
};

#endif
