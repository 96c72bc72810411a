/* bridge_priv.h - what bridge.c (life, queue, errors), bridge_dial.c (the way to the remote broker
 * and the packets that only a client gets) and the broker's other files share. All of it lives on
 * the broker's task. */
#ifndef MQTT_BRIDGE_PRIV_H
#define MQTT_BRIDGE_PRIV_H

#include "mqtt/bridge.h"
#include "mqtt/broker_priv.h"

/* MQTT 3.1.1 says nowhere how much a broker takes. Mosquitto keeps 20 messages of QoS 2 of a client
 * (max_inflight_messages) and loses, or closes the connection for, those beyond. */
enum { BRIDGE_MAGIC = 0x62726467, BRIDGE_WINDOW_3 = 100, BRIDGE_WINDOW_3_QOS_2 = 20 };

/* One bridge. Its way is that of enum bridge_state: WAITING has `retry` set, CONNECTING has a
 * connection that is not open yet or certificates that are being read, CONNECTED has the session's
 * connection. */
struct bridge {
    uint32_t magic; /* BRIDGE_MAGIC while it lives */
    struct broker *broker;
    /* In broker->bridges, also when it is removed. */
    struct bridge *next;
    /* A share; NULL only until the first ones are applied. */
    struct bridge_settings *settings;
    /* Kept for ever; its `bridge` is this. NULL: removed. */
    struct session *session;
    /* NULL = none; from dialling on. Its `bridge` is this. */
    struct connection *connection;
    enum bridge_state state;
    /* Wall clock: of the state; of the last error, 0 = none. */
    uint32_t since_s, error_s;
    /* Monotonic: connected since then. */
    int64_t open_s;
    struct wheel_node retry;
    /* The next pause's upper bound; 1 or more. */
    uint32_t pause_s;
    /* 3.1.1 without the bridge bit is tried next. */
    bool is_plain;
    /* SUBACK came since the settings changed. */
    bool is_subscribed;
    /* For the status; what the log has said once since it connected. */
    bool is_refused, has_told_size, has_told_map, has_told_refusal;
    /* Of the message that is being mapped, each way. */
    struct buf topic, incoming;
    /* The remote broker in the trail; "" = it has no mark. */
    char remote[BRIDGE_NODE_BYTES];
    /* Of a message that came, with that mark. */
    struct buf properties;
    /* The user property that is added, as on the wire; without text = none. */
    struct buf trail;
    /* Filters to unsubscribe at the remote: texts with their length. */
    struct buf stale;
    /* Per entry of the settings: its retained messages are to be sent. */
    uint8_t *fresh;
    /* Of the entries that come in (bridge_topics_mark). */
    uint32_t mark;
    /* Behind `fresh`, per entry: the remote refused its subscription. */
    uint8_t *refused;
    /* The last error, "" = none since it connected; the last that the log was told. */
    char error[BRIDGE_ERROR_BYTES], told[BRIDGE_ERROR_BYTES];
    /* Certificates being read, and of which settings (a share); NULL = no work under way. */
    struct broker_work work;
    struct bridge_settings *work_settings;
    /* The answer. */
    struct tls_config *tls;
    enum err work_err;
    struct why work_why;
    /* Waits for the work's end, to be freed. */
    bool is_removed;
};

static inline bool is_bridge(const struct bridge *b)
{
    return b && b->magic == BRIDGE_MAGIC;
}

/* ---- bridge.c ---- */

/* A failure, for the status and, when it is a new one, the log. */
void bridge_note_error(struct bridge *bridge, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The state is that from now on. */
void bridge_enter(struct bridge *bridge, enum bridge_state state);
/* The next try, after a pause that doubles up to a minute. */
void bridge_pause(struct bridge *bridge);
/* The remote took it: retained messages go out; `is_known` = the remote has its session still, and
 * then only those of entries that are new. */
void bridge_opened(struct bridge *bridge, bool is_known);
/* Makes one with its session, found or made, without settings; it stands in the broker's list.
 * NULL: no memory. */
struct bridge *bridge_make(struct broker *broker, struct str ns, struct str key);
/* Takes the settings and brings the subscriptions to them. Errors: NO_MEMORY; when the settings are
 * taken all the same (bridge->settings) some subscription could not be made, else they are the
 * caller's still. */
enum err bridge_apply(struct bridge *bridge, struct bridge_settings *settings);
/* Out of the broker's list. */
void bridge_unlink(struct bridge *bridge);
/* Frees it, when it has no session and no connection any more. */
void bridge_free(struct bridge *bridge);
/* Gives a share back. NULL allowed. */
void bridge_release_settings(struct bridge_settings *settings);
/* Removed, and the work under way has come back. */
void bridge_free_removed(struct bridge *bridge);
/* The broker's end: nothing is written any more, the sessions stay. */
void bridges_free(struct broker *broker);

/* ---- bridge_dial.c ---- */

/* Makes the connection: certificates first if there are any. It is enabled and has none. What goes
 * wrong is noted, and tried again after a pause. */
void bridge_dial(struct bridge *bridge);

#endif
