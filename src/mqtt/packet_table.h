/* packet_table.h - the lists of the MQTT wire: packet types, properties, reason codes.
 *
 * Sources: MQTT 5.0 (OASIS Standard, 7 March 2019) sections 2.1.2, 2.2.2.2 and 2.4; MQTT 3.1.1
 * section 2.2.1. From these tables come the enums, the parser, the writer and the names in logs. */
#ifndef MQTT_PACKET_TABLE_H
#define MQTT_PACKET_TABLE_H

/* clang-format off */

/* X(symbol, number, name) */
#define MQTT_TYPE_TABLE(X)              \
    X(CONNECT,      1, "CONNECT")       \
    X(CONNACK,      2, "CONNACK")       \
    X(PUBLISH,      3, "PUBLISH")       \
    X(PUBACK,       4, "PUBACK")        \
    X(PUBREC,       5, "PUBREC")        \
    X(PUBREL,       6, "PUBREL")        \
    X(PUBCOMP,      7, "PUBCOMP")       \
    X(SUBSCRIBE,    8, "SUBSCRIBE")     \
    X(SUBACK,       9, "SUBACK")        \
    X(UNSUBSCRIBE, 10, "UNSUBSCRIBE")   \
    X(UNSUBACK,    11, "UNSUBACK")      \
    X(PINGREQ,     12, "PINGREQ")       \
    X(PINGRESP,    13, "PINGRESP")      \
    X(DISCONNECT,  14, "DISCONNECT")    \
    X(AUTH,        15, "AUTH")

/* Where a property may stand: one bit a packet type; WILL = among a CONNECT's will properties. */
#define IN(type) (1u << MQTT_##type)
#define IN_WILL 1u
#define IN_ACKS (IN(PUBACK) | IN(PUBREC) | IN(PUBREL) | IN(PUBCOMP))

/* X(symbol, identifier, form, where, name); forms: BYTE, BIT (a byte that is 0 or 1), TWO, FOUR,
 * VARINT, TEXT, BINARY, PAIR. */
#define MQTT_PROPERTY_TABLE(X)                                                                                       \
    X(PAYLOAD_FORMAT,       0x01, BIT,    IN(PUBLISH) | IN_WILL,                        "Payload Format Indicator")  \
    X(MESSAGE_EXPIRY,       0x02, FOUR,   IN(PUBLISH) | IN_WILL,                        "Message Expiry Interval")   \
    X(CONTENT_TYPE,         0x03, TEXT,   IN(PUBLISH) | IN_WILL,                        "Content Type")              \
    X(RESPONSE_TOPIC,       0x08, TEXT,   IN(PUBLISH) | IN_WILL,                        "Response Topic")            \
    X(CORRELATION_DATA,     0x09, BINARY, IN(PUBLISH) | IN_WILL,                        "Correlation Data")          \
    X(SUBSCRIPTION_ID,      0x0b, VARINT, IN(PUBLISH) | IN(SUBSCRIBE),                  "Subscription Identifier")   \
    X(SESSION_EXPIRY,       0x11, FOUR,   IN(CONNECT) | IN(CONNACK) | IN(DISCONNECT),   "Session Expiry Interval")   \
    X(ASSIGNED_CLIENT_ID,   0x12, TEXT,   IN(CONNACK),                                  "Assigned Client Identifier") \
    X(SERVER_KEEP_ALIVE,    0x13, TWO,    IN(CONNACK),                                  "Server Keep Alive")         \
    X(AUTH_METHOD,          0x15, TEXT,   IN(CONNECT) | IN(CONNACK) | IN(AUTH),         "Authentication Method")     \
    X(AUTH_DATA,            0x16, BINARY, IN(CONNECT) | IN(CONNACK) | IN(AUTH),         "Authentication Data")       \
    X(REQUEST_PROBLEM,      0x17, BIT,    IN(CONNECT),                                  "Request Problem Information") \
    X(WILL_DELAY,           0x18, FOUR,   IN_WILL,                                      "Will Delay Interval")       \
    X(REQUEST_RESPONSE,     0x19, BIT,    IN(CONNECT),                                  "Request Response Information") \
    X(RESPONSE_INFORMATION, 0x1a, TEXT,   IN(CONNACK),                                  "Response Information")      \
    X(SERVER_REFERENCE,     0x1c, TEXT,   IN(CONNACK) | IN(DISCONNECT),                 "Server Reference")          \
    X(REASON_STRING,        0x1f, TEXT,   IN(CONNACK) | IN_ACKS | IN(SUBACK) | IN(UNSUBACK) | IN(DISCONNECT) | IN(AUTH), "Reason String") \
    X(RECEIVE_MAXIMUM,      0x21, TWO,    IN(CONNECT) | IN(CONNACK),                    "Receive Maximum")           \
    X(TOPIC_ALIAS_MAXIMUM,  0x22, TWO,    IN(CONNECT) | IN(CONNACK),                    "Topic Alias Maximum")       \
    X(TOPIC_ALIAS,          0x23, TWO,    IN(PUBLISH),                                  "Topic Alias")               \
    X(MAXIMUM_QOS,          0x24, BIT,    IN(CONNACK),                                  "Maximum QoS")               \
    X(RETAIN_AVAILABLE,     0x25, BIT,    IN(CONNACK),                                  "Retain Available")          \
    X(USER_PROPERTY,        0x26, PAIR,   0xffffu,                                      "User Property")             \
    X(MAXIMUM_PACKET_SIZE,  0x27, FOUR,   IN(CONNECT) | IN(CONNACK),                    "Maximum Packet Size")       \
    X(WILDCARD_AVAILABLE,   0x28, BIT,    IN(CONNACK),                                  "Wildcard Subscription Available") \
    X(SUBSCRIPTION_ID_AVAILABLE, 0x29, BIT, IN(CONNACK),                                "Subscription Identifiers Available") \
    X(SHARED_AVAILABLE,     0x2a, BIT,    IN(CONNACK),                                  "Shared Subscription Available")

/* X(symbol, code, where, name): where = in which packets it may be sent. Codes with two names (0x00)
 * have the plainer one. */
#define IN_PUBLISHED (IN(PUBACK) | IN(PUBREC))
#define IN_ENDS (IN(CONNACK) | IN(DISCONNECT))
#define IN_FILTERS (IN(SUBACK) | IN(UNSUBACK))
#define MQTT_REASON_TABLE(X) \
    X(SUCCESS,                        0x00, IN_ACKS | IN_ENDS | IN_FILTERS | IN(AUTH),                     "success") \
    X(GRANTED_QOS_1,                  0x01, IN(SUBACK),                                                    "granted QoS 1") \
    X(GRANTED_QOS_2,                  0x02, IN(SUBACK),                                                    "granted QoS 2") \
    X(DISCONNECT_WITH_WILL,           0x04, IN(DISCONNECT),                                                "disconnect with will message") \
    X(NO_MATCHING_SUBSCRIBERS,        0x10, IN_PUBLISHED,                                                  "no matching subscribers") \
    X(NO_SUBSCRIPTION_EXISTED,        0x11, IN(UNSUBACK),                                                  "no subscription existed") \
    X(CONTINUE_AUTHENTICATION,        0x18, IN(AUTH),                                                      "continue authentication") \
    X(REAUTHENTICATE,                 0x19, IN(AUTH),                                                      "re-authenticate") \
    X(UNSPECIFIED,                    0x80, IN_PUBLISHED | IN_ENDS | IN_FILTERS,                           "unspecified error") \
    X(MALFORMED_PACKET,               0x81, IN_ENDS,                                                       "malformed packet") \
    X(PROTOCOL_ERROR,                 0x82, IN_ENDS,                                                       "protocol error") \
    X(IMPLEMENTATION_SPECIFIC,        0x83, IN_PUBLISHED | IN_ENDS | IN_FILTERS,                           "implementation specific error") \
    X(UNSUPPORTED_VERSION,            0x84, IN(CONNACK),                                                   "unsupported protocol version") \
    X(BAD_CLIENT_ID,                  0x85, IN(CONNACK),                                                   "client identifier not valid") \
    X(BAD_USER_OR_PASSWORD,           0x86, IN(CONNACK),                                                   "bad user name or password") \
    X(NOT_AUTHORIZED,                 0x87, IN_PUBLISHED | IN_ENDS | IN_FILTERS,                           "not authorized") \
    X(SERVER_UNAVAILABLE,             0x88, IN(CONNACK),                                                   "server unavailable") \
    X(SERVER_BUSY,                    0x89, IN_ENDS,                                                       "server busy") \
    X(BANNED,                         0x8a, IN(CONNACK),                                                   "banned") \
    X(SERVER_SHUTTING_DOWN,           0x8b, IN(DISCONNECT),                                                "server shutting down") \
    X(BAD_AUTH_METHOD,                0x8c, IN_ENDS,                                                       "bad authentication method") \
    X(KEEP_ALIVE_TIMEOUT,             0x8d, IN(DISCONNECT),                                                "keep alive timeout") \
    X(SESSION_TAKEN_OVER,             0x8e, IN(DISCONNECT),                                                "session taken over") \
    X(TOPIC_FILTER_INVALID,           0x8f, IN_FILTERS | IN(DISCONNECT),                                   "topic filter invalid") \
    X(TOPIC_NAME_INVALID,             0x90, IN_PUBLISHED | IN_ENDS,                                        "topic name invalid") \
    X(PACKET_ID_IN_USE,               0x91, IN_PUBLISHED | IN_FILTERS,                                     "packet identifier in use") \
    X(PACKET_ID_NOT_FOUND,            0x92, IN(PUBREL) | IN(PUBCOMP),                                      "packet identifier not found") \
    X(RECEIVE_MAXIMUM_EXCEEDED,       0x93, IN(DISCONNECT),                                                "receive maximum exceeded") \
    X(TOPIC_ALIAS_INVALID,            0x94, IN(DISCONNECT),                                                "topic alias invalid") \
    X(PACKET_TOO_LARGE,               0x95, IN_ENDS,                                                       "packet too large") \
    X(MESSAGE_RATE_TOO_HIGH,          0x96, IN(DISCONNECT),                                                "message rate too high") \
    X(QUOTA_EXCEEDED,                 0x97, IN_PUBLISHED | IN_ENDS | IN(SUBACK),                           "quota exceeded") \
    X(ADMINISTRATIVE_ACTION,          0x98, IN(DISCONNECT),                                                "administrative action") \
    X(PAYLOAD_FORMAT_INVALID,         0x99, IN_PUBLISHED | IN_ENDS,                                        "payload format invalid") \
    X(RETAIN_NOT_SUPPORTED,           0x9a, IN_ENDS,                                                       "retain not supported") \
    X(QOS_NOT_SUPPORTED,              0x9b, IN_ENDS,                                                       "QoS not supported") \
    X(USE_ANOTHER_SERVER,             0x9c, IN_ENDS,                                                       "use another server") \
    X(SERVER_MOVED,                   0x9d, IN_ENDS,                                                       "server moved") \
    X(SHARED_NOT_SUPPORTED,           0x9e, IN(SUBACK) | IN(DISCONNECT),                                   "shared subscriptions not supported") \
    X(CONNECTION_RATE_EXCEEDED,       0x9f, IN_ENDS,                                                       "connection rate exceeded") \
    X(MAXIMUM_CONNECT_TIME,           0xa0, IN(DISCONNECT),                                                "maximum connect time") \
    X(SUBSCRIPTION_IDS_NOT_SUPPORTED, 0xa1, IN(SUBACK) | IN(DISCONNECT),                                   "subscription identifiers not supported") \
    X(WILDCARDS_NOT_SUPPORTED,        0xa2, IN(SUBACK) | IN(DISCONNECT),                                   "wildcard subscriptions not supported")
/* clang-format on */

enum mqtt_type {
#define X(symbol, number, name) MQTT_##symbol = number,
    MQTT_TYPE_TABLE(X)
#undef X
};

enum mqtt_property {
#define X(symbol, identifier, form, where, name) MQTT_PROPERTY_##symbol,
    MQTT_PROPERTY_TABLE(X)
#undef X
        MQTT_PROPERTY_COUNT
};

enum mqtt_reason {
#define X(symbol, code, where, name) MQTT_REASON_##symbol = code,
    MQTT_REASON_TABLE(X)
#undef X
};

#endif
