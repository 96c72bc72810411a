/* message.h - an application message on its way: immutable, shared by reference count.
 *
 * It lies in one allocation in the form in which it goes out: topic with its length, the properties
 * that are forwarded as they came (MQTT 5.0 section 3.3.2.3), payload. So sending it is three
 * copies, whatever the receiver's version, and a message that waits in a thousand queues is there
 * once.
 *
 * Who makes it holds one reference; a queue, the topic tree, a will and a walk each hold their own.
 * What is immutable is what a receiver sees. The bookkeeping at its head (made_s, serial, snapshot,
 * expires_ns and publisher of a will) is written on the broker's task alone. Making, sharing and
 * releasing may be done on any task.
 *
 * Invariants: refs > 0 for as long as anybody can reach it; topic ≤ MQTT_TEXT_BYTES_MAX, payload ≤
 * MQTT_REMAINING_MAX; what it holds of its budget is message_size(), from its making to its end. */
#ifndef MQTT_MESSAGE_H
#define MQTT_MESSAGE_H

#include "base/mem.h"
#include "mqtt/packet.h"

enum { MESSAGE_MAGIC = 0x6d73 };

struct message {
    /* References; the last one frees it. */
    _Atomic uint32_t refs;
    /* MESSAGE_MAGIC while it lives; it stands where the compiler would leave a gap. */
    uint16_t magic;
    /* As published: 0 to 2. A receiver gets the lower of this and its subscription's (3.8.4). */
    uint8_t qos;
    /* As published (3.3.1.3). */
    bool retain;
    /* Bytes of the topic, without its two bytes of length. */
    uint32_t topic_size;
    /* Bytes of the properties and the payload. */
    uint32_t property_size, payload_size;
    /* Wall clock in seconds, when it was routed; 0 = before the start. */
    uint32_t made_s;
    /* When it expires, in ns of the monotonic clock (3.3.2.3.3); 0 = never. */
    int64_t expires_ns;
    /* The serial of the session that published it, for no-local (3.8.3.1); 0 = the node itself. */
    uint64_t publisher;
    /* Counts up in the order of arrival; 0: a topic, one of $SYS, or out of a queue's file and in
     * no snapshot yet. The journal and the snapshot refer to messages by it. */
    uint64_t serial;
    /* The number of the snapshot that it was last written into (snapshot.c). */
    uint32_t snapshot;
    /* What it was taken from; borrowed; NULL = nothing. */
    struct budget *budget;
    /* Two bytes of the topic's length, topic, properties, payload. */
    uint8_t bytes[];
};

/* What a message is made of; all of it is copied. */
struct message_parts {
    struct str topic, payload;
    /* Of a PUBLISH or a will, as they were read; NULL = none. Only those that a server forwards are
     * taken. */
    const struct mqtt_properties *properties;
    /* The fields of the message of the same name. */
    uint8_t qos;
    bool retain;
    int64_t expires_ns;
    uint64_t publisher, serial;
};

/* Makes a message (gives: one reference) and takes its size from `budget` (borrowed for the
 * message's life; NULL = from nothing). The caller has checked the sizes of topic and payload.
 * NULL: no memory, or the budget is used up. Any task. */
struct message *message_new(const struct message_parts *parts, struct budget *budget);
/* One more reference (shares); gives the message back for convenience. Any task. */
struct message *message_share(struct message *message);
/* Gives a reference back (takes); the last one frees the message. NULL allowed. Any task. */
void message_release(struct message *message);

/* Its parts, borrowed from it. */
static inline struct str message_topic(const struct message *m)
{
    return (struct str){(const char *)m->bytes + 2, m->topic_size};
}
/* As on the wire, without their length. */
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
/* What it holds of the budget, and counts in a queue's limit, in bytes. */
static inline size_t message_size(const struct message *m)
{
    return sizeof *m + 2 + m->topic_size + m->property_size + m->payload_size;
}

/* How one receiver gets it. Everything is borrowed during the call. */
struct message_sending {
    enum mqtt_version version;
    /* The lower of the message's and the subscription's. */
    uint8_t qos;
    /* It was sent before on another connection (3.3.1.1); retain as this receiver is to see it
     * (3.3.1.3). */
    bool dup, retain;
    /* With QoS 1 and 2; not 0. */
    uint16_t packet_id;
    /* A topic alias, 5.0 only (3.3.2.3.4); 0 = none. */
    uint16_t alias;
    /* The receiver knows the alias: the topic itself is left out. */
    bool alias_is_known;
    /* With has_expiry: seconds that are left, 5.0 only. */
    uint32_t expiry_s;
    bool has_expiry;
    /* Subscription identifiers, 5.0 only (3.3.2.3.8): each 1 to MQTT_REMAINING_MAX. */
    const uint32_t *subscription_ids;
    size_t subscription_id_count;
    /* Instead of the message's own topic, when it has a text (bridges). */
    struct str topic;
    /* Properties as on the wire, behind the message's own; 5.0 only (a bridge's trail). */
    struct str added;
};
/* The topic that the receiver is told; borrowed. */
static inline struct str message_sent_topic(const struct message *m,
                                            const struct message_sending *s)
{
    return s->topic.size ? s->topic : message_topic(m);
}
/* The whole packet's size in bytes, for the receiver's maximum (3.1.2.11.4); SIZE_MAX: it fits no
 * packet at all. */
size_t message_packet_size(const struct message *message, const struct message_sending *sending);
/* Appends the PUBLISH whole, or nothing: then there was no memory, and the buffer says so. Only for
 * what message_packet_size gave a size. */
void message_write(const struct message *message, const struct message_sending *sending,
                   struct buf *out);

#endif
