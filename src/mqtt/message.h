/* message.h - an application message on its way: immutable, shared by reference count.
 *
 * It lies in one allocation in the form in which it goes out: topic with its length, the properties
 * that are forwarded as they came (MQTT 5.0 section 3.3.2.3), payload. So sending it is three
 * copies, whatever the receiver's version. Thread: any. */
#ifndef MQTT_MESSAGE_H
#define MQTT_MESSAGE_H

#include "base/mem.h"
#include "mqtt/packet.h"

struct message {
    _Atomic uint32_t refs;
    uint8_t qos;
    bool retain;         /* as published */
    uint32_t topic_size; /* without its two bytes of length */
    uint32_t property_size, payload_size;
    uint32_t made_s;       /* wall clock, when it was routed; 0 = before the start */
    int64_t expires_ns;    /* monotonic; 0 = never */
    uint64_t publisher;    /* the session's serial, for no-local; 0 = the node itself */
    uint64_t serial;       /* in order of arrival; 0: a topic, one of $SYS, or out of a
                              queue's file and in no snapshot yet */
    uint32_t snapshot;     /* the one that it was last written into */
    struct budget *budget; /* borrowed; what it was taken from */
    uint8_t bytes[];       /* length, topic, properties, payload */
};

struct message_parts {
    struct str topic, payload;
    const struct mqtt_properties *properties; /* NULL = none; of a PUBLISH or a will */
    uint8_t qos;
    bool retain;
    int64_t expires_ns;
    uint64_t publisher, serial;
};

/* NULL: no memory, or the budget (may be NULL) is used up. `parts` is copied. */
struct message *message_new(const struct message_parts *parts, struct budget *budget);
struct message *message_share(struct message *message);
void message_release(struct message *message); /* NULL allowed */

static inline struct str message_topic(const struct message *m)
{
    return (struct str){(const char *)m->bytes + 2, m->topic_size};
}
static inline struct str message_properties(const struct message *m)
{
    return (struct str){(const char *)m->bytes + 2 + m->topic_size, m->property_size};
}
static inline struct str message_payload(const struct message *m)
{
    return (struct str){(const char *)m->bytes + 2 + m->topic_size + m->property_size,
                        m->payload_size};
}
/* One of $SYS, which the broker makes itself and does not keep. */
static inline bool message_is_own(const struct message *m)
{
    return m->serial == 0;
}
/* What it holds of the budget. */
static inline size_t message_size(const struct message *m)
{
    return sizeof *m + 2 + m->topic_size + m->property_size + m->payload_size;
}

/* How one receiver gets it. */
struct message_sending {
    enum mqtt_version version;
    uint8_t qos;
    bool dup, retain;
    uint16_t packet_id;
    uint16_t alias;      /* 0 = none */
    bool alias_is_known; /* then the topic itself is left out */
    uint32_t expiry_s;   /* left; with has_expiry */
    bool has_expiry;
    const uint32_t *subscription_ids;
    size_t subscription_id_count;
    struct str topic; /* instead of the message's own, when it has a text */
    struct str added; /* properties as on the wire, behind the message's own; 5.0 only */
};
static inline struct str message_sent_topic(const struct message *m,
                                            const struct message_sending *s)
{
    return s->topic.size ? s->topic : message_topic(m);
}
/* The whole packet's size, for the receiver's maximum. */
size_t message_packet_size(const struct message *message, const struct message_sending *sending);
/* Appends the PUBLISH. A failure is the buffer's. */
void message_write(const struct message *message, const struct message_sending *sending,
                   struct buf *out);

#endif
