/* config_mqtt.h - the part `mqtt:` of node.yaml. All of it may change while the node runs. */
#ifndef NODE_CONFIG_MQTT_H
#define NODE_CONFIG_MQTT_H

#include "mqtt/broker.h"
#include "resource/field.h"

struct mqtt_settings {
    bool anonymous; /* clients without a user are let in, on loopback */
    bool proxy;     /* mqtt and mqtts: PROXY headers are read and believed */
    struct broker_config broker;
};

/* What field_bind writes by the table; config_mqtt_finish makes settings of it. */
struct raw_mqtt {
    bool anonymous, proxy;
    int64_t connections_max, receive_maximum, topic_alias_maximum, retained_max, subscriptions_max;
    int64_t keep_alive_max_ns, sys_interval_ns;
    struct str memory, packet_max, session_expiry_max, send_buffer, data_prefix;
    int shared;
    struct {
        int64_t messages;
        struct str bytes;
        int full;
    } queue;
};
extern const struct field config_mqtt_fields[]; /* ended by a NULL name */

/* `memory_bytes` is the node's budget; `file` is for errors: INVALID with the key and the way out.
 */
enum err config_mqtt_finish(const struct raw_mqtt *raw, int64_t memory_bytes, const char *file,
                            struct mqtt_settings *settings, struct why *why);

#endif
