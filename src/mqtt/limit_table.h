/* limit_table.h - the one list of the broker's limits: X(symbol, setting, metric, what happened).
 * From it come the enum and the log's lines (limits.c); the metrics stand in loop/metric_table.h.
 * "%llu" of something: how often since the last line. */
#ifndef MQTT_LIMIT_TABLE_H
#define MQTT_LIMIT_TABLE_H

/* clang-format off */
#define MQTT_LIMIT_TABLE(X)                                                                                              \
    X(CONNECTIONS,     "maxConnections",              MQTT_REFUSED,          "connections refused")                      \
    X(PER_LISTENER,    "limits.connectionsPerListener", MQTT_REFUSED,        "connections refused")                      \
    X(PER_USER,        "limits.connectionsPerUser",   MQTT_LIMIT_USER,       "logins refused")                           \
    X(PER_PEER,        "limits.connectionsPerPeer",   MQTT_LIMIT_PEER,       "connections refused")                      \
    X(HALF_OPEN,       "limits.halfOpen",             MQTT_LIMIT_HALF_OPEN,  "connections refused, others are not logged in yet") \
    X(HALF_OPEN_ENTRY, "limits.halfOpenPerListener",  MQTT_LIMIT_HALF_OPEN,  "connections refused, others are not logged in yet") \
    X(HALF_OPEN_PEER,  "limits.halfOpenPerPeer",      MQTT_LIMIT_HALF_OPEN,  "connections refused, others of the address are not logged in yet") \
    X(CONNECT_TIME,    "limits.connectTime",          MQTT_LIMIT_TIME,       "connections ended that did not log in in time") \
    X(CONNECT_WAIT,    "limits.connectRate",          MQTT_LIMIT_WAITS,      "logins had to wait")                       \
    X(CONNECT_BUSY,    "limits.connectRate",          MQTT_LIMIT_BUSY,       "logins refused with \"server busy\"")      \
    X(MESSAGES,        "limits.messagesPerSecond",    MQTT_LIMIT_HELD,       "times that a client was not read for a while") \
    X(BYTES,           "limits.bytesPerSecond",       MQTT_LIMIT_HELD,       "times that a client was not read for a while") \
    X(LOGIN_PACKET,    "limits.loginPacket",          MQTT_LIMIT_PACKET,     "packets refused before a login")           \
    X(PACKET,          "maxPacket",                   MQTT_LIMIT_PACKET,     "packets refused")                          \
    X(TOPIC_LEVELS,    "limits.topicLevels",          MQTT_LIMIT_LEVELS,     "topics refused")                           \
    X(SUBSCRIPTIONS,   "maxSubscriptions",            MQTT_LIMIT_SUBSCRIPTIONS, "subscriptions refused")                 \
    X(RETAINED,        "maxRetained",                 MQTT_RETAINED_REFUSED, "retained messages not kept")               \
    X(QUEUE,           "queue",                       MQTT_DROPPED_FULL,     "messages dropped from full queues")        \
    X(SEND_BUFFER,     "sendBuffer",                  MQTT_DROPPED_SLOW,     "QoS 0 messages not sent to slow clients")  \
    X(MEMORY,          "memory",                      MQTT_DROPPED_MEMORY,   "messages or subscriptions refused")        \
    X(GUESSES,         "bans.failures",               MQTT_LIMIT_GUESSES,    "logins slowed down after wrong passwords") \
    X(NAMESPACES,      "(no setting)",                MQTT_LIMIT_NAMESPACES, "namespaces not opened, 1,000 are in use")         \
    X(BANNED,          "bans",                        MQTT_LIMIT_BANNED,     "connections of banned clients and addresses refused") \
    X(WATCHED,         "bans",                        MQTT_LIMIT_WATCHED,    "clients and addresses not watched, there are too many") \
    X(LINES,           "(no setting)",                MQTT_LIMIT_LINES,      "connections closed without a line of their own")
/* clang-format on */

#endif
