/* message.c - see message.h: one allocation, laid out as it goes out.
 *
 * message_new is called for each PUBLISH that comes in, message_write for each one that goes out:
 * what can be worked out once is worked out in the first. A receiver's own part (its packet
 * identifier, an alias, the expiry that is left, subscription identifiers) is written around the
 * message's bytes, which are never touched.
 *
 * The sizes are worked out before anything is written, and twice by the same functions
 * (message_packet_size, message_write): what one says the other writes. A packet that is larger
 * than MQTT knows has SIZE_MAX bytes, which no receiver takes. */
#include "mqtt/message.h"
#include <string.h>

/* What a server forwards as it came; expiry is counted down, aliases and subscription identifiers
 * belong to one connection, the will's delay to the will. */
static bool is_forwarded(enum mqtt_property property)
{
    static const uint32_t forwarded =
        1u << MQTT_PROPERTY_PAYLOAD_FORMAT | 1u << MQTT_PROPERTY_CONTENT_TYPE |
        1u << MQTT_PROPERTY_RESPONSE_TOPIC | 1u << MQTT_PROPERTY_CORRELATION_DATA |
        1u << MQTT_PROPERTY_USER_PROPERTY;
    return (forwarded >> property & 1) != 0;
}

/* Walks what mqtt_packet_read found well-formed, or a file's bytes: then it ends at the first
 * that is not. */
static size_t forwarded_size(const struct mqtt_properties *p)
{
    size_t size = 0;
    if (!p || !p->present) return 0;
    struct str rest = p->raw, encoded;
    for (enum mqtt_property property; mqtt_next_property(&rest, &property, &encoded);)
        if (is_forwarded(property)) size += encoded.size;
    return size;
}

/* The same walk: as many bytes as forwarded_size has said. */
static void copy_forwarded(uint8_t *to, const struct mqtt_properties *p)
{
    struct str rest = p->raw, encoded;
    for (enum mqtt_property property; mqtt_next_property(&rest, &property, &encoded);) {
        if (!is_forwarded(property)) continue;
        memcpy(to, encoded.at, encoded.size);
        to += encoded.size;
    }
}

struct message *message_new(const struct message_parts *parts, struct budget *budget)
{
    size_t properties = forwarded_size(parts->properties);
    size_t size = sizeof(struct message) + 2 + parts->topic.size + properties + parts->payload.size;
    MUST(parts->topic.size <= MQTT_TEXT_BYTES_MAX && parts->payload.size <= MQTT_REMAINING_MAX);
    if (budget_take(budget, size)) return NULL;
    struct message *m = mem_alloc(size);
    if (!m) {
        if (budget) budget_give(budget, size);
        return NULL;
    }
    *m = (struct message){.refs = 1,
                          .magic = MESSAGE_MAGIC,
                          .qos = parts->qos,
                          .retain = parts->retain,
                          .topic_size = (uint32_t)parts->topic.size,
                          .property_size = (uint32_t)properties,
                          .payload_size = (uint32_t)parts->payload.size,
                          .expires_ns = parts->expires_ns,
                          .publisher = parts->publisher,
                          .serial = parts->serial,
                          .budget = budget};
    uint8_t *at = m->bytes;
    *at++ = (uint8_t)(parts->topic.size >> 8);
    *at++ = (uint8_t)parts->topic.size;
    if (parts->topic.size) memcpy(at, parts->topic.at, parts->topic.size);
    at += parts->topic.size;
    if (properties) copy_forwarded(at, parts->properties);
    at += properties;
    if (parts->payload.size) memcpy(at, parts->payload.at, parts->payload.size);
    return m;
}

struct message *message_share(struct message *m)
{
    uint32_t before = atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
    MUST(m->magic == MESSAGE_MAGIC && before > 0);
    return m;
}

void message_release(struct message *m)
{
    if (!m) return;
    MUST(m->magic == MESSAGE_MAGIC);
    uint32_t before = atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel);
    MUST(before > 0);
    if (before > 1) return;
    m->magic = 0;
    if (m->budget) budget_give(m->budget, message_size(m));
    mem_free(m);
}

/* ---- sending ---- */

static size_t properties_size(const struct message *m, const struct message_sending *s)
{
    size_t size = m->property_size + s->added.size + (s->has_expiry ? 5 : 0) + (s->alias ? 3 : 0);
    for (size_t i = 0; i < s->subscription_id_count; i++)
        size += 1 + mqtt_varint_size(s->subscription_ids[i]);
    return size;
}

static size_t body_size(const struct message *m, const struct message_sending *s, size_t properties)
{
    size_t topic = s->alias_is_known ? 0 : message_sent_topic(m, s).size;
    size_t size = 2 + topic + (s->qos ? 2 : 0) + m->payload_size;
    return s->version == MQTT_5 ? size + mqtt_varint_size((uint32_t)properties) + properties : size;
}

size_t message_packet_size(const struct message *m, const struct message_sending *s)
{
    size_t properties = s->version == MQTT_5 ? properties_size(m, s) : 0;
    if (properties > MQTT_REMAINING_MAX) return SIZE_MAX; /* what is added is too much */
    size_t body = body_size(m, s, properties);
    return body > MQTT_REMAINING_MAX ? SIZE_MAX : 1 + mqtt_varint_size((uint32_t)body) + body;
}

static uint8_t *put_varint(uint8_t *at, size_t value)
{
    for (; value >= 0x80; value >>= 7) *at++ = (uint8_t)(value | 0x80);
    *at++ = (uint8_t)value;
    return at;
}

/* The bytes before the topic. */
static size_t put_header(uint8_t bytes[MQTT_FIXED_HEADER_MAX], const struct message_sending *s,
                         size_t body)
{
    MUST(s->qos <= 2 && body <= MQTT_REMAINING_MAX);
    bytes[0] = (uint8_t)(MQTT_PUBLISH << 4 | (s->dup ? 8 : 0) | s->qos << 1 | (s->retain ? 1 : 0));
    return (size_t)(put_varint(bytes + 1, body) - bytes);
}

void message_write(const struct message *m, const struct message_sending *s, struct buf *out)
{
    MUST(!s->qos || s->packet_id);
    size_t properties = s->version == MQTT_5 ? properties_size(m, s) : 0;
    size_t body = body_size(m, s, properties);
    uint8_t header[MQTT_FIXED_HEADER_MAX];
    MUST(body <= MQTT_REMAINING_MAX);
    size_t header_size = put_header(header, s, body);
    if (!buf_reserve(out, header_size + body)) return;
    buf_add(out, header, header_size);
    if (s->alias_is_known)
        mqtt_write_be16(out, 0);
    else if (s->topic.size)
        mqtt_write_text(out, s->topic);
    else
        buf_add(out, m->bytes, 2 + m->topic_size);
    if (s->qos) mqtt_write_be16(out, s->packet_id);
    if (s->version == MQTT_5) {
        mqtt_write_varint(out, (uint32_t)properties);
        if (s->has_expiry) mqtt_write_number(out, MQTT_PROPERTY_MESSAGE_EXPIRY, s->expiry_s);
        if (s->alias) mqtt_write_number(out, MQTT_PROPERTY_TOPIC_ALIAS, s->alias);
        for (size_t i = 0; i < s->subscription_id_count; i++)
            mqtt_write_number(out, MQTT_PROPERTY_SUBSCRIPTION_ID, s->subscription_ids[i]);
        buf_add_str(out, message_properties(m));
        buf_add_str(out, s->added);
    }
    buf_add_str(out, message_payload(m));
}
