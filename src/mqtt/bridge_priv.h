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

struct bridge {
    uint32_t magic;
    struct broker *broker;
    struct bridge *next;
    struct bridge_settings *settings;
    struct session *session;
    struct connection *connection; /* NULL = none; from dialling on */
    enum bridge_state state;
    uint32_t since_s, error_s; /* wall clock */
    int64_t open_s;            /* monotonic: connected since then */
    struct wheel_node retry;
    uint32_t pause_s;   /* the next one's upper bound */
    bool is_plain;      /* 3.1.1 without the bridge bit is tried next */
    bool is_subscribed; /* SUBACK came since the settings changed */
    bool is_refused, has_told_size, has_told_map, has_told_refusal;
    struct buf topic, incoming;     /* of the message that is being mapped, each way */
    char remote[BRIDGE_NODE_BYTES]; /* the remote broker in the trail; "" = it has no mark */
    struct buf properties;          /* of a message that came, with that mark */
    struct buf trail;               /* the user property that is added */
    struct buf stale; /* filters to unsubscribe at the remote: texts with their length */
    uint8_t *fresh;   /* per entry: its retained messages are to be sent */
    uint32_t mark;    /* of the entries that come in (bridge_topics_mark) */
    uint8_t *refused; /* behind it, per entry: the remote refused its subscription */
    char error[BRIDGE_ERROR_BYTES], told[BRIDGE_ERROR_BYTES];
    /* Certificates being read. */
    struct broker_work work;
    struct bridge_settings *work_settings; /* NULL = no work under way */
    struct tls_config *tls;
    enum err work_err;
    struct why work_why;
    bool is_removed; /* waits for the work's end, to be freed */
};

static inline bool is_bridge(const struct bridge *b)
{
    return b && b->magic == BRIDGE_MAGIC;
}

/* ---- bridge.c ---- */

/* A failure, for the status and, when it is a new one, the log. */
void bridge_note_error(struct bridge *bridge, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void bridge_enter(struct bridge *bridge, enum bridge_state state);
/* The next try, after a pause that doubles up to a minute. */
void bridge_pause(struct bridge *bridge);
/* The remote took it: retained messages go out, `is_known` = the remote has its session still. */
void bridge_opened(struct bridge *bridge, bool is_known);
/* Makes one with its session, without settings. NULL: no memory. */
struct bridge *bridge_make(struct broker *broker, struct str ns, struct str key);
/* Takes the settings and brings the subscriptions to them. Errors: NO_MEMORY; when the settings are
 * taken all the same (bridge->settings) some subscription could not be made, else they are the
 * caller's still. */
enum err bridge_apply(struct bridge *bridge, struct bridge_settings *settings);
/* Out of the broker's list; and its memory, when it has no session and no connection any more. */
void bridge_unlink(struct bridge *bridge);
void bridge_free(struct bridge *bridge);
void bridge_release_settings(struct bridge_settings *settings);
/* Removed, and the work under way has come back. */
void bridge_free_removed(struct bridge *bridge);
/* The broker ends: nothing is written any more. */
void bridges_free(struct broker *broker);

/* ---- bridge_dial.c ---- */

/* Makes the connection: certificates first if there are any. */
void bridge_dial(struct bridge *bridge);

#endif
