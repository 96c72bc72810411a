/* packet.h - the packets of MQTT 3.1, 3.1.1 and 5.0: bytes in, structures out, and back.
 *
 * Sans I/O and without allocation: what a parsed packet points at lies in the bytes it was read
 * from. Both sides of the wire are here, since bridges and the load tool are clients. Every rule of
 * the specification about the form of a packet is checked in here (a wrong one gives the reason
 * code that the other side is told); what depends on the state of a session is not.
 *
 * Sources: MQTT 5.0 and MQTT 3.1.1 (OASIS Standards), MQTT V3.1 Protocol Specification (IBM).
 * Thread: any. */
#ifndef MQTT_PACKET_H
#define MQTT_PACKET_H

#include "base/reader.h"
#include "base/str.h"
#include "mqtt/packet_table.h"

/* The protocol level as it stands in CONNECT (5.0 section 3.1.2.2). */
enum mqtt_version { MQTT_3_1 = 3, MQTT_3_1_1 = 4, MQTT_5 = 5 };

enum {
    /* Bytes of a fixed header, at most (2.1). */
    MQTT_FIXED_HEADER_MAX = 5,
    /* What a variable byte integer can hold (1.5.5), and so of a packet behind its header. */
    MQTT_REMAINING_MAX = 268435455,
    /* Bytes of a text or of binary data (1.5.4, 1.5.6). */
    MQTT_TEXT_BYTES_MAX = 65535,
};

/* "PUBLISH"; "?" for what is no type. Static, as the next one. */
const char *mqtt_type_name(enum mqtt_type type);
/* "malformed packet"; "unknown reason". */
const char *mqtt_reason_name(enum mqtt_reason reason);

/* ---- framing ---- */

/* What the first bytes of a stream say about its first packet. */
struct mqtt_frame {
    /* Type and flags (2.1.2, 2.1.3). */
    uint8_t first;
    /* Bytes: 2 to 5; what follows them, 0 to MQTT_REMAINING_MAX. */
    size_t header_size, body_size;
};
/* OK: *frame is set, body_size ≤ limit. BUSY: more bytes are needed. PROTOCOL: the length is no
 * length. LIMIT: *frame is set, and larger than `limit`. The body need not be there yet. */
enum err mqtt_frame_read(const uint8_t *bytes, size_t size, size_t limit, struct mqtt_frame *frame);

/* ---- properties ---- */

/* Those of one packet, or of a will (2.2.2). */
struct mqtt_properties {
    /* Bit per enum mqtt_property; what is not present is not set below. */
    uint32_t present;
    /* All of them as they came, without their length; borrowed from the packet, as `text`. */
    struct str raw;
    /* Of a repeated one (subscription id) the last. */
    uint32_t number[MQTT_PROPERTY_COUNT];
    /* TEXT, BINARY; not of user properties. */
    struct str text[MQTT_PROPERTY_COUNT];
};
/* Whether it is there. */
static inline bool mqtt_has(const struct mqtt_properties *p, enum mqtt_property property)
{
    return p->present >> property & 1;
}
/* Its value; `otherwise` where it is not there. */
static inline uint32_t mqtt_number(const struct mqtt_properties *p, enum mqtt_property property,
                                   uint32_t otherwise)
{
    return mqtt_has(p, property) ? p->number[property] : otherwise;
}
/* Borrowed; "" where it is not there. */
static inline struct str mqtt_text(const struct mqtt_properties *p, enum mqtt_property property)
{
    return mqtt_has(p, property) ? p->text[property] : STR("");
}
/* Walks properties as they came: start with *rest = raw. Gives the whole encoded property in
 * *encoded, borrowed. False at the end, or at what is no property. */
bool mqtt_next_property(struct str *rest, enum mqtt_property *property, struct str *encoded);

/* ---- packets ---- */

/* What a CONNECT says beside its properties (3.1); texts are borrowed from its bytes, as in all of
 * these. */
struct mqtt_connect {
    enum mqtt_version version;
    /* The top bit of the version: Mosquitto's mark of a bridge (3.1, 3.1.1). */
    bool is_bridge;
    bool clean_start, has_user, has_password, has_will;
    /* With has_will; 0 to 2. */
    uint8_t will_qos;
    bool will_retain;
    /* 0 = none (3.1.2.10). */
    uint16_t keep_alive_s;
    /* client_id may be "". What has no has_… is without text. */
    struct str client_id, user, password, will_topic, will_payload;
    struct mqtt_properties will_properties;
};

/* 3.3. */
struct mqtt_publish {
    uint8_t qos;
    bool dup, retain;
    /* 0 with QoS 0, and only then. */
    uint16_t packet_id;
    /* A valid name (topic.h); may be empty in 5.0 when there is an alias. */
    struct str topic;
    struct str payload;
};

/* One entry of a SUBSCRIBE (3.8.3) or UNSUBSCRIBE. */
struct mqtt_filter {
    /* Formed as a filter (topic.h), with its "$share/NAME/". */
    struct str filter;
    /* From here on of a SUBSCRIBE; 3.x has the QoS alone. */
    uint8_t qos;
    bool no_local, retain_as_published;
    /* 0 send, 1 send if new, 2 do not send (3.8.3.1). */
    uint8_t retain_handling;
};

/* A packet. */
struct mqtt_packet {
    enum mqtt_type type;
    /* Of CONNACK, acknowledgements, DISCONNECT and AUTH (2.4); 0 where it was left out. */
    uint8_t reason;
    /* CONNACK. */
    bool session_present;
    /* Of those that have one, but of PUBLISH. */
    uint16_t packet_id;
    /* The filters of SUBSCRIBE and UNSUBSCRIBE (mqtt_next_filter), the reason codes of SUBACK and
     * UNSUBACK. */
    struct str rest;
    /* By type. */
    union {
        struct mqtt_connect connect;
        struct mqtt_publish publish;
    };
    struct mqtt_properties properties;
};

/* Reads the body (borrowed, also by *packet) of a packet whose fixed header was read. `version` is
 * the connection's (ignored for CONNECT). `from_client`: which side sent it; what that side may not
 * send is a protocol error. Gives 0 (SUCCESS), or the reason why it cannot be taken, with a text
 * for the log; then only packet->type means something, and what is said next. An unsupported
 * version of a CONNECT gives UNSUPPORTED_VERSION, with packet->connect.version as it came; a
 * PUBLISH whose topic is none TOPIC_NAME_INVALID, with all of it read. */
enum mqtt_reason mqtt_packet_read(uint8_t first, struct str body, enum mqtt_version version,
                                  bool from_client, struct mqtt_packet *packet, struct why *why);
/* The next filter of a packet that was read: start with *rest = packet->rest. False at the end. */
bool mqtt_next_filter(const struct mqtt_packet *packet, enum mqtt_version version, struct str *rest,
                      struct mqtt_filter *filter);

/* A text as MQTT wants it: well-formed UTF-8 without U+0000 (MQTT 5.0 section 1.5.4). */
bool mqtt_text_is_valid(struct str text);

/* ---- writing ---- */

/* A packet that is being appended to `out` (borrowed); a failure is the buffer's. Properties are
 * written by the caller between begin and end, in any order; the lengths are put in at the end. */
struct mqtt_writer {
    struct buf *out;
    /* Offsets in `out`: behind the first byte; where the properties begin. */
    size_t start, properties;
    uint8_t first;
    bool has_properties;
};

/* Two bytes of length, bytes: at most MQTT_TEXT_BYTES_MAX, which the caller has seen to. */
void mqtt_write_text(struct buf *out, struct str text);
/* A variable byte integer (1.5.5): at most MQTT_REMAINING_MAX. */
void mqtt_write_varint(struct buf *out, uint32_t value);
/* How many bytes that takes: 1 to 4. */
size_t mqtt_varint_size(uint32_t value);
/* Of a whole packet whose remaining length is this: what Maximum Packet Size counts (2.1.4). */
static inline uint32_t mqtt_packet_size(uint32_t remaining)
{
    return remaining + 1 + (uint32_t)mqtt_varint_size(remaining);
}
void mqtt_write_be16(struct buf *out, uint16_t value);
/* A property whose form is a number; `value` fits it. */
void mqtt_write_number(struct buf *out, enum mqtt_property property, uint32_t value);
/* A property whose form is a text or binary data. */
void mqtt_write_property(struct buf *out, enum mqtt_property property, struct str text);
/* A user property; both at most MQTT_TEXT_BYTES_MAX bytes. */
void mqtt_write_user_property(struct buf *out, struct str name, struct str value);

/* The packet's first byte; then the caller writes its body. */
void mqtt_begin(struct mqtt_writer *writer, struct buf *out, enum mqtt_type type, uint8_t flags);
/* Around the properties, once a packet. */
void mqtt_begin_properties(struct mqtt_writer *writer);
void mqtt_end_properties(struct mqtt_writer *writer);
/* The packet is whole: its length is put in. */
void mqtt_end(struct mqtt_writer *writer);

/* Whole small packets. Acknowledgements of MQTT 3.x carry no reason; those of 5.0 leave it out when
 * it is SUCCESS and there is no text (3.4.2.1). `text` "" = none. */
void mqtt_write_ack(struct buf *out, enum mqtt_version version, enum mqtt_type type,
                    uint16_t packet_id, enum mqtt_reason reason, struct str text);
/* PINGREQ, PINGRESP. */
void mqtt_write_ping(struct buf *out, enum mqtt_type type);
/* 5.0's DISCONNECT (3.14); 3.x knows only the client's, without a reason. */
void mqtt_write_disconnect(struct buf *out, enum mqtt_version version, enum mqtt_reason reason,
                           struct str text);

#endif
