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

enum mqtt_version { MQTT_3_1 = 3, MQTT_3_1_1 = 4, MQTT_5 = 5 };

enum {
    MQTT_FIXED_HEADER_MAX = 5,
    MQTT_REMAINING_MAX = 268435455,
    MQTT_TEXT_BYTES_MAX = 65535,
};

const char *mqtt_type_name(enum mqtt_type type);       /* "PUBLISH"; "?" for 0 */
const char *mqtt_reason_name(enum mqtt_reason reason); /* "malformed packet" */

/* ---- framing ---- */

/* What the first bytes of a stream say about its first packet. */
struct mqtt_frame {
    uint8_t first;      /* type and flags */
    size_t header_size; /* 2 to 5 */
    size_t body_size;
};
/* OK: *frame is set, body_size ≤ limit. BUSY: more bytes are needed. PROTOCOL: the length is no
 * length. LIMIT: larger than `limit`. */
enum err mqtt_frame_read(const uint8_t *bytes, size_t size, size_t limit, struct mqtt_frame *frame);

/* ---- properties ---- */

struct mqtt_properties {
    uint32_t present; /* bit per enum mqtt_property; what is not present is not set below */
    struct str raw;   /* all of them as they came, without their length */
    uint32_t number[MQTT_PROPERTY_COUNT]; /* of a repeated one (subscription id) the last */
    struct str text[MQTT_PROPERTY_COUNT]; /* TEXT, BINARY; not of user properties */
};
static inline bool mqtt_has(const struct mqtt_properties *p, enum mqtt_property property)
{
    return p->present >> property & 1;
}
static inline uint32_t mqtt_number(const struct mqtt_properties *p, enum mqtt_property property,
                                   uint32_t otherwise)
{
    return mqtt_has(p, property) ? p->number[property] : otherwise;
}
static inline struct str mqtt_text(const struct mqtt_properties *p, enum mqtt_property property)
{
    return mqtt_has(p, property) ? p->text[property] : STR("");
}
/* Walks properties as they came: start with *rest = raw. Gives the whole encoded property in
 * *encoded. False at the end. */
bool mqtt_next_property(struct str *rest, enum mqtt_property *property, struct str *encoded);

/* ---- packets ---- */

struct mqtt_connect {
    enum mqtt_version version;
    bool is_bridge; /* the top bit of the version: Mosquitto's mark of a bridge (3.1, 3.1.1) */
    bool clean_start, has_user, has_password, has_will;
    uint8_t will_qos;
    bool will_retain;
    uint16_t keep_alive_s;
    struct str client_id, user, password, will_topic, will_payload;
    struct mqtt_properties will_properties;
};

struct mqtt_publish {
    uint8_t qos;
    bool dup, retain;
    uint16_t packet_id; /* 0 with QoS 0 */
    struct str topic;   /* may be empty in 5.0 when there is an alias */
    struct str payload;
};

/* One entry of a SUBSCRIBE or UNSUBSCRIBE. */
struct mqtt_filter {
    struct str filter;
    uint8_t qos; /* from here on of a SUBSCRIBE; 3.x has the QoS alone */
    bool no_local, retain_as_published;
    uint8_t retain_handling; /* 0 send, 1 send if new, 2 do not send */
};

/* A packet. `reason`: of CONNACK, acknowledgements, DISCONNECT and AUTH; 0 where it was left out.
 * `rest`: the filters of SUBSCRIBE and UNSUBSCRIBE (mqtt_next_filter), the reason codes of SUBACK
 * and UNSUBACK. */
struct mqtt_packet {
    enum mqtt_type type;
    uint8_t reason;
    bool session_present; /* CONNACK */
    uint16_t packet_id;   /* but of PUBLISH */
    struct str rest;
    union {
        struct mqtt_connect connect;
        struct mqtt_publish publish;
    };
    struct mqtt_properties properties;
};

/* Reads the body of a packet whose fixed header was read. `version` is the connection's (ignored
 * for CONNECT). `from_client`: which side sent it; what that side may not send is a protocol error.
 * Gives 0 (SUCCESS), or the reason why it cannot be taken, with a text for the log. An unsupported
 * version of a CONNECT gives UNSUPPORTED_VERSION, with packet->connect.version as it came. */
enum mqtt_reason mqtt_packet_read(uint8_t first, struct str body, enum mqtt_version version,
                                  bool from_client, struct mqtt_packet *packet, struct why *why);
/* The next filter of a packet that was read; false at the end. */
bool mqtt_next_filter(const struct mqtt_packet *packet, enum mqtt_version version, struct str *rest,
                      struct mqtt_filter *filter);

/* A text as MQTT wants it: well-formed UTF-8 without U+0000 (MQTT 5.0 section 1.5.4). */
bool mqtt_text_is_valid(struct str text);

/* ---- writing ---- */

/* Appends to `out`; a failure is the buffer's. Properties are written by the caller between begin
 * and end, in any order; the lengths are put in at the end. */
struct mqtt_writer {
    struct buf *out;
    size_t start, properties; /* offsets */
    uint8_t first;
    bool has_properties;
};

void mqtt_write_text(struct buf *out, struct str text);  /* two bytes of length, bytes */
void mqtt_write_varint(struct buf *out, uint32_t value); /* ≤ MQTT_REMAINING_MAX */
size_t mqtt_varint_size(uint32_t value);
void mqtt_write_be16(struct buf *out, uint16_t value);
void mqtt_write_number(struct buf *out, enum mqtt_property property, uint32_t value);
void mqtt_write_property(struct buf *out, enum mqtt_property property, struct str text);
void mqtt_write_user_property(struct buf *out, struct str name, struct str value);

void mqtt_begin(struct mqtt_writer *writer, struct buf *out, enum mqtt_type type, uint8_t flags);
void mqtt_begin_properties(struct mqtt_writer *writer);
void mqtt_end_properties(struct mqtt_writer *writer);
void mqtt_end(struct mqtt_writer *writer);

/* Whole small packets. Acknowledgements of MQTT 3.x carry no reason; those of 5.0 leave it out when
 * it is SUCCESS and there is no text. `text` "" = none. */
void mqtt_write_ack(struct buf *out, enum mqtt_version version, enum mqtt_type type,
                    uint16_t packet_id, enum mqtt_reason reason, struct str text);
void mqtt_write_ping(struct buf *out, enum mqtt_type type); /* PINGREQ, PINGRESP */
/* 5.0's DISCONNECT; 3.x knows only the client's, without a reason. */
void mqtt_write_disconnect(struct buf *out, enum mqtt_version version, enum mqtt_reason reason,
                           struct str text);

#endif
