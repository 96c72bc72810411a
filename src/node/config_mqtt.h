/* config_mqtt.h - the part `mqtt:` of node.yaml. All of it may change while the node runs. */
#ifndef NODE_CONFIG_MQTT_H
#define NODE_CONFIG_MQTT_H

#include "listeners/bridges.h"
#include "mqtt/broker.h"
#include "resource/field.h"

struct mqtt_settings {
    bool anonymous; /* clients without a user are let in, on loopback */
    bool proxy;     /* mqtt and mqtts: PROXY headers are read and believed */
    struct str psk; /* file of keys for mqtts; "" = none */
    struct broker_config broker;
    struct bridges_external external;
};

struct raw_mqtt_limits {
    int64_t per_user, per_peer, per_listener;
    int64_t half_open, half_open_per_listener, half_open_per_peer;
    int64_t connect_ns, connect_rate, message_rate, topic_levels;
    struct str byte_rate, login_packet;
    bool loopback;
};
struct raw_mqtt_bans {
    int64_t drops, failures, window_ns, time_ns;
};

struct raw_ack_topic {
    struct str filter;
    int ack;
};

/* What field_bind writes by the table; config_mqtt_finish makes settings of it. */
struct raw_mqtt {
    bool anonymous, proxy;
    int64_t connections_max, receive_maximum, topic_alias_maximum, retained_max, subscriptions_max;
    int64_t keep_alive_max_ns, sys_interval_ns;
    struct str psk, loops, memory, packet_max, session_expiry_max, send_buffer, data_prefix,
        cmd_prefix;
    int shared, ack;
    struct {
        int plain, tls, local, web;
    } ack_listeners;
    struct field_list ack_topics; /* struct raw_ack_topic */
    struct {
        struct str endpoint, user, password, password_file, client_id;
        struct {
            struct str ca, cert, key, server_name;
        } tls;
        bool insecure, commands;
    } external;
    struct {
        int64_t messages, every, age_ns;
        struct str bytes, memory, disk;
        int full;
    } queue;
    struct raw_mqtt_limits limits;
    struct raw_mqtt_bans bans;
};
extern const struct field config_mqtt_fields[]; /* ended by a NULL name */
/* The parts `limits` and `bans` (config_mqtt_limits.c). Sizes with units are config_mqtt_finish's.
 */
extern const struct field config_mqtt_limit_fields[], config_mqtt_ban_fields[];
void config_mqtt_limits_finish(const struct raw_mqtt_limits *limits,
                               const struct raw_mqtt_bans *bans, struct broker_config *broker);

/* The external broker's part; `arena` takes the password when it stands in a file of its own.
 * Blocking. Errors: INVALID with the key and the way out, what the file gives. */
enum err config_mqtt_external(struct os *os, const struct raw_mqtt *raw, const char *file,
                              struct arena *arena, struct bridges_external *external,
                              struct why *why);

/* `memory_bytes` is the node's budget; `file` is for errors: INVALID with the key and the way out.
 */
enum err config_mqtt_finish(const struct raw_mqtt *raw, int64_t memory_bytes, const char *file,
                            struct mqtt_settings *settings, struct why *why);

#endif
