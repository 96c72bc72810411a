/* packet_read.c - see packet.h: bytes into packets.
 *
 * One reader function a type of packet, found in a table with the flags its header must have and
 * the side that may send it. A rule that is broken ends the reading at once with its reason code;
 * where the specification names none it is MALFORMED_PACKET.
 *
 * All bytes go through the byte reader (base/reader.h), which gives zeros and texts without bytes
 * once it has run out, and remembers: so a function reads all its fields and asks once. Nothing of
 * a packet is used before mqtt_packet_read has given SUCCESS, but what packet.h says. Texts are
 * checked for UTF-8 here [MQTT-1.5.4-1], topics and filters for their form (topic.h).
 *
 * The caller is whoever has a whole packet: connection.c, trace.c for what goes out, the load tool,
 * the fuzz targets. */
#include "mqtt/packet.h"
#include "mqtt/topic.h"
#include <string.h>

enum form {
    FORM_BYTE,
    FORM_BIT,
    FORM_TWO,
    FORM_FOUR,
    FORM_VARINT,
    FORM_TEXT,
    FORM_BINARY,
    FORM_PAIR
};

struct property_info {
    uint8_t identifier;
    enum form form;
    uint32_t where;
    const char *name;
};

static const struct property_info properties[MQTT_PROPERTY_COUNT] = {
#define X(symbol, identifier, form, where, name) {identifier, FORM_##form, where, name},
    MQTT_PROPERTY_TABLE(X)
#undef X
};

enum { IDENTIFIER_LIMIT = 0x2b };
/* Index + 1 by identifier. */
static const uint8_t property_of[IDENTIFIER_LIMIT] = {
#define X(symbol, identifier, form, where, name) [identifier] = MQTT_PROPERTY_##symbol + 1,
    MQTT_PROPERTY_TABLE(X)
#undef X
};

static const struct {
    uint8_t code;
    uint32_t where;
    const char *name;
} reasons[] = {
#define X(symbol, code, where, name) {code, where, name},
    MQTT_REASON_TABLE(X)
#undef X
};

const char *mqtt_type_name(enum mqtt_type type)
{
    static const char *const names[16] = {
#define X(symbol, number, name) [number] = name,
        MQTT_TYPE_TABLE(X)
#undef X
    };
    return (unsigned)type < 16 && names[type] ? names[type] : "?";
}

const char *mqtt_reason_name(enum mqtt_reason reason)
{
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        if (reasons[i].code == (uint8_t)reason) return reasons[i].name;
    return "unknown reason";
}

static bool reason_fits(uint8_t code, enum mqtt_type type)
{
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        if (reasons[i].code == code) return (reasons[i].where >> type & 1) != 0;
    return false;
}

bool mqtt_text_is_valid(struct str text)
{
    return !text.size || (!memchr(text.at, 0, text.size) && str_is_utf8(text));
}

/* ---- framing ---- */

enum err mqtt_frame_read(const uint8_t *bytes, size_t size, size_t limit, struct mqtt_frame *frame)
{
    size_t value = 0;
    for (size_t i = 1; i < MQTT_FIXED_HEADER_MAX; i++) {
        if (i >= size) return ERR_BUSY;
        value |= (size_t)(bytes[i] & 0x7f) << (7 * (i - 1));
        if (bytes[i] & 0x80) continue;
        if (bytes[i] == 0 && i > 1) return ERR_PROTOCOL; /* not the shortest form (1.5.5) */
        *frame = (struct mqtt_frame){bytes[0], i + 1, value};
        return value > limit ? ERR_LIMIT : ERR_OK;
    }
    return ERR_PROTOCOL;
}

/* A variable byte integer inside a packet. */
static uint32_t read_varint(struct reader *r)
{
    uint32_t value = 0;
    for (unsigned shift = 0; shift < 28; shift += 7) {
        uint8_t b = reader_u8(r);
        value |= (uint32_t)(b & 0x7f) << shift;
        if (b & 0x80) continue;
        if (b == 0 && shift > 0) break;
        return value;
    }
    r->failed = true;
    return 0;
}

static struct str read_binary(struct reader *r)
{
    return reader_str(r, reader_be16(r));
}

/* ---- what is wrong ---- */

static enum mqtt_reason wrong(struct why *why, enum mqtt_reason reason, const char *text)
{
    (void)why_set(why, ERR_PROTOCOL, "%s", text);
    return reason;
}

static enum mqtt_reason malformed(struct why *why, const char *text)
{
    return wrong(why, MQTT_REASON_MALFORMED_PACKET, text);
}

static enum mqtt_reason read_text(struct reader *r, struct str *text, struct why *why)
{
    *text = read_binary(r);
    if (!reader_ok(r)) return malformed(why, "a text is cut off");
    if (!mqtt_text_is_valid(*text)) return malformed(why, "a text is not UTF-8, or has U+0000");
    return MQTT_REASON_SUCCESS;
}

/* ---- properties ---- */

static enum mqtt_reason read_value(struct reader *r, enum form form, uint32_t *number,
                                   struct str *text, struct why *why)
{
    struct str second;
    enum mqtt_reason reason;
    switch (form) {
    case FORM_BYTE: *number = reader_u8(r); break;
    case FORM_BIT: *number = reader_u8(r); break;
    case FORM_TWO: *number = reader_be16(r); break;
    case FORM_FOUR: *number = reader_be32(r); break;
    case FORM_VARINT: *number = read_varint(r); break;
    case FORM_BINARY: *text = read_binary(r); break;
    case FORM_TEXT: return read_text(r, text, why);
    case FORM_PAIR:
        reason = read_text(r, text, why);
        return reason ? reason : read_text(r, &second, why);
    }
    if (!reader_ok(r)) return malformed(why, "a property is cut off");
    if (form == FORM_BIT && *number > 1)
        return wrong(why, MQTT_REASON_PROTOCOL_ERROR, "a property that is 0 or 1 is neither");
    return MQTT_REASON_SUCCESS;
}

/* Properties for which zero is no value. */
static const uint32_t never_zero =
    1u << MQTT_PROPERTY_RECEIVE_MAXIMUM | 1u << MQTT_PROPERTY_MAXIMUM_PACKET_SIZE |
    1u << MQTT_PROPERTY_SUBSCRIPTION_ID | 1u << MQTT_PROPERTY_TOPIC_ALIAS;

static enum mqtt_reason check_property(const struct mqtt_properties *p, unsigned index,
                                       uint32_t where, struct why *why)
{
    if (!(properties[index].where & where)) {
        (void)why_set(why, ERR_PROTOCOL, "property %s does not belong there",
                      properties[index].name);
        return MQTT_REASON_MALFORMED_PACKET;
    }
    if (!(p->present >> index & 1) || index == MQTT_PROPERTY_USER_PROPERTY ||
        (index == MQTT_PROPERTY_SUBSCRIPTION_ID && (where & IN(PUBLISH))))
        return MQTT_REASON_SUCCESS;
    (void)why_set(why, ERR_PROTOCOL, "property %s comes twice", properties[index].name);
    return MQTT_REASON_PROTOCOL_ERROR;
}

static enum mqtt_reason read_one_property(struct reader *r, uint32_t where,
                                          struct mqtt_properties *p, struct why *why)
{
    uint32_t identifier = read_varint(r);
    unsigned index = identifier < IDENTIFIER_LIMIT ? property_of[identifier] : 0;
    if (!reader_ok(r) || index-- == 0) return malformed(why, "unknown property");
    enum mqtt_reason reason = check_property(p, index, where, why);
    if (reason) return reason;
    reason = read_value(r, properties[index].form, &p->number[index], &p->text[index], why);
    if (reason) return reason;
    if ((never_zero >> index & 1) && p->number[index] == 0) {
        (void)why_set(why, ERR_PROTOCOL, "property %s is 0", properties[index].name);
        return index == MQTT_PROPERTY_TOPIC_ALIAS ? MQTT_REASON_TOPIC_ALIAS_INVALID
                                                  : MQTT_REASON_PROTOCOL_ERROR;
    }
    p->present |= 1u << index;
    return MQTT_REASON_SUCCESS;
}

/* `where`: one bit of the packet, or IN_WILL. */
static enum mqtt_reason read_properties(struct reader *r, uint32_t where, struct mqtt_properties *p,
                                        struct why *why)
{
    size_t size = read_varint(r);
    p->present = 0;
    p->raw = reader_str(r, size);
    if (!reader_ok(r)) return malformed(why, "the properties are cut off");
    struct reader inner = reader_of(p->raw.at, p->raw.size);
    enum mqtt_reason reason = MQTT_REASON_SUCCESS;
    while (!reason && reader_left(&inner)) reason = read_one_property(&inner, where, p, why);
    if (!reason && mqtt_has(p, MQTT_PROPERTY_AUTH_DATA) && !mqtt_has(p, MQTT_PROPERTY_AUTH_METHOD))
        return wrong(why, MQTT_REASON_PROTOCOL_ERROR, "authentication data without a method");
    if (!reason && mqtt_has(p, MQTT_PROPERTY_RESPONSE_TOPIC) &&
        !topic_name_is_valid(p->text[MQTT_PROPERTY_RESPONSE_TOPIC]))
        return wrong(why, MQTT_REASON_PROTOCOL_ERROR, "the response topic is no topic name");
    return reason;
}

bool mqtt_next_property(struct str *rest, enum mqtt_property *property, struct str *encoded)
{
    struct reader r = reader_of(rest->at, rest->size);
    uint32_t number, identifier = read_varint(&r);
    struct str text;
    unsigned index = identifier < IDENTIFIER_LIMIT ? property_of[identifier] : 0;
    if (!rest->size || index-- == 0) return false;
    if (read_value(&r, properties[index].form, &number, &text, NULL)) return false;
    *property = (enum mqtt_property)index;
    *encoded = (struct str){rest->at, reader_offset(&r)};
    *rest = (struct str){rest->at + encoded->size, rest->size - encoded->size};
    return true;
}

/* ---- CONNECT ---- */

static enum mqtt_reason read_version(struct reader *r, struct mqtt_connect *c, struct why *why)
{
    struct str name = read_binary(r);
    uint8_t level = reader_u8(r);
    if (!reader_ok(r)) return malformed(why, "the protocol's name is cut off");
    bool is_old = str_is(name, "MQIsdp"), is_known = is_old || str_is(name, "MQTT");
    c->is_bridge = (level & 0x80) != 0;
    level &= 0x7f;
    c->version = (enum mqtt_version)level;
    bool fits =
        is_old ? level == MQTT_3_1 : level == MQTT_3_1_1 || (level == MQTT_5 && !c->is_bridge);
    if (is_known && fits) return MQTT_REASON_SUCCESS;
    return wrong(why, MQTT_REASON_UNSUPPORTED_VERSION, "unknown protocol or version");
}

static enum mqtt_reason read_connect_flags(uint8_t flags, struct mqtt_connect *c, struct why *why)
{
    if ((flags & 1) && c->version != MQTT_3_1) return malformed(why, "the reserved flag is set");
    c->clean_start = flags >> 1 & 1;
    c->has_will = flags >> 2 & 1;
    c->will_qos = flags >> 3 & 3;
    c->will_retain = flags >> 5 & 1;
    c->has_password = flags >> 6 & 1;
    c->has_user = flags >> 7 & 1;
    if (c->will_qos > 2) return malformed(why, "the will's QoS is 3");
    if (!c->has_will && (c->will_qos || c->will_retain))
        return malformed(why, "flags of a will without a will");
    if (c->has_password && !c->has_user && c->version != MQTT_5)
        return malformed(why, "a password without a user name");
    return MQTT_REASON_SUCCESS;
}

static enum mqtt_reason read_will(struct reader *r, struct mqtt_connect *c, struct why *why)
{
    enum mqtt_reason reason = MQTT_REASON_SUCCESS;
    c->will_properties.present = 0;
    c->will_properties.raw = STR("");
    if (!c->has_will) return reason;
    if (c->version == MQTT_5) reason = read_properties(r, IN_WILL, &c->will_properties, why);
    if (!reason) reason = read_text(r, &c->will_topic, why);
    if (reason) return reason;
    c->will_payload = read_binary(r);
    if (!reader_ok(r)) return malformed(why, "the will is cut off");
    if (!topic_name_is_valid(c->will_topic))
        return wrong(why, MQTT_REASON_TOPIC_NAME_INVALID, "the will's topic is no topic name");
    return MQTT_REASON_SUCCESS;
}

static enum mqtt_reason read_connect(struct reader *r, enum mqtt_version ignored,
                                     struct mqtt_packet *p, struct why *why)
{
    (void)ignored;
    struct mqtt_connect *c = &p->connect;
    memset(c, 0, offsetof(struct mqtt_connect, will_properties));
    enum mqtt_reason reason = read_version(r, c, why);
    if (!reason) reason = read_connect_flags(reader_u8(r), c, why);
    if (reason) return reason;
    c->keep_alive_s = reader_be16(r);
    if (c->version == MQTT_5) reason = read_properties(r, IN(CONNECT), &p->properties, why);
    if (!reason) reason = read_text(r, &c->client_id, why);
    if (!reason) reason = read_will(r, c, why);
    if (!reason && c->has_user) reason = read_text(r, &c->user, why);
    if (!reason && c->has_password) c->password = read_binary(r);
    return reason;
}

/* ---- the others ---- */

static enum mqtt_reason read_packet_id(struct reader *r, uint16_t *id, struct why *why)
{
    *id = reader_be16(r);
    if (!reader_ok(r)) return malformed(why, "the packet identifier is cut off");
    return *id ? MQTT_REASON_SUCCESS : malformed(why, "the packet identifier is 0");
}

enum { REFUSED_VERSION_3 = 1 }; /* the code of 3.x for a version that is not spoken */

static enum mqtt_reason read_connack(struct reader *r, enum mqtt_version version,
                                     struct mqtt_packet *p, struct why *why)
{
    uint8_t flags = reader_u8(r);
    p->reason = reader_u8(r);
    p->session_present = flags & 1;
    if (flags & 0xfe) return malformed(why, "reserved flags are set");
    if (version != MQTT_5) return MQTT_REASON_SUCCESS;
    /* A server that does not know 5.0 answers with a CONNACK of the version that it knows. */
    if (reader_ok(r) && !reader_left(r) && p->reason == REFUSED_VERSION_3) {
        p->reason = MQTT_REASON_UNSUPPORTED_VERSION;
        return MQTT_REASON_SUCCESS;
    }
    return read_properties(r, IN(CONNACK), &p->properties, why);
}

static enum mqtt_reason read_publish(struct reader *r, enum mqtt_version version,
                                     struct mqtt_packet *p, struct why *why)
{
    struct mqtt_publish *m = &p->publish;
    enum mqtt_reason reason = read_text(r, &m->topic, why);
    m->packet_id = 0;
    if (!reason && m->qos) reason = read_packet_id(r, &m->packet_id, why);
    if (!reason && version == MQTT_5) reason = read_properties(r, IN(PUBLISH), &p->properties, why);
    if (reason) return reason;
    m->payload = reader_str(r, reader_left(r));
    bool may_be_empty = mqtt_has(&p->properties, MQTT_PROPERTY_TOPIC_ALIAS);
    if (m->topic.size == 0 && may_be_empty) return MQTT_REASON_SUCCESS;
    if (m->topic.size == 0 && version == MQTT_5)
        return wrong(why, MQTT_REASON_PROTOCOL_ERROR, "neither topic nor alias");
    if (topic_has_wildcard(m->topic)) return malformed(why, "the topic has wildcards");
    if (!topic_name_is_valid(m->topic))
        return wrong(why, MQTT_REASON_TOPIC_NAME_INVALID,
                     "the topic is empty, too long or too deep");
    return MQTT_REASON_SUCCESS;
}

/* Reason and properties as acknowledgements, DISCONNECT and AUTH have them: both may be left out
 * from the end. */
static enum mqtt_reason read_outcome(struct reader *r, struct mqtt_packet *p, struct why *why)
{
    if (reader_left(r) == 0) return MQTT_REASON_SUCCESS;
    p->reason = reader_u8(r);
    if (!reason_fits(p->reason, p->type))
        return wrong(why, MQTT_REASON_PROTOCOL_ERROR, "that reason code does not belong there");
    return reader_left(r) ? read_properties(r, 1u << p->type, &p->properties, why)
                          : MQTT_REASON_SUCCESS;
}

static enum mqtt_reason read_ack(struct reader *r, enum mqtt_version version, struct mqtt_packet *p,
                                 struct why *why)
{
    enum mqtt_reason reason = read_packet_id(r, &p->packet_id, why);
    return reason || version != MQTT_5 ? reason : read_outcome(r, p, why);
}

static enum mqtt_reason read_end(struct reader *r, enum mqtt_version version, struct mqtt_packet *p,
                                 struct why *why)
{
    return version == MQTT_5 ? read_outcome(r, p, why) : MQTT_REASON_SUCCESS;
}

static enum mqtt_reason read_nothing(struct reader *r, enum mqtt_version version,
                                     struct mqtt_packet *p, struct why *why)
{
    (void)r;
    (void)version;
    (void)p;
    (void)why;
    return MQTT_REASON_SUCCESS;
}

static enum mqtt_reason check_options(uint8_t options, enum mqtt_version version, struct str filter,
                                      struct why *why)
{
    if ((options & 3) == 3) return malformed(why, "a QoS of 3");
    if (options & (version == MQTT_5 ? 0xc0 : 0xfc))
        return malformed(why, "reserved options are set");
    if ((options & 0x30) == 0x30)
        return wrong(why, MQTT_REASON_PROTOCOL_ERROR, "a retain handling of 3");
    if ((options & 4) && str_starts(filter, "$share/"))
        return wrong(why, MQTT_REASON_PROTOCOL_ERROR, "no local on a shared subscription");
    return MQTT_REASON_SUCCESS;
}

/* Whether it is a filter at all; whether the client may have it is asked later. */
static enum mqtt_reason check_filter(struct str text, struct why *why)
{
    struct str group, filter;
    bool bad;
    (void)topic_split_shared(text, &group, &filter, &bad);
    if (!text.size) return malformed(why, "a filter without a character");
    if (bad)
        return wrong(why, MQTT_REASON_PROTOCOL_ERROR,
                     "a shared subscription is $share/NAME/FILTER, without wildcards in its name");
    if (!topic_filter_is_formed(filter))
        return malformed(why, "+ and # stand alone in a level of a filter, # at its end");
    return MQTT_REASON_SUCCESS;
}

/* SUBSCRIBE and UNSUBSCRIBE. */
static enum mqtt_reason read_filters(struct reader *r, enum mqtt_version version,
                                     struct mqtt_packet *p, struct why *why)
{
    enum mqtt_reason reason = read_packet_id(r, &p->packet_id, why);
    if (!reason && version == MQTT_5)
        reason = read_properties(r, 1u << p->type, &p->properties, why);
    if (reason) return reason;
    if (!reader_left(r)) return wrong(why, MQTT_REASON_PROTOCOL_ERROR, "it names no filter");
    p->rest = (struct str){(const char *)r->at, reader_left(r)};
    while (!reason && reader_left(r)) {
        struct str filter;
        reason = read_text(r, &filter, why);
        if (!reason) reason = check_filter(filter, why);
        if (!reason && p->type == MQTT_SUBSCRIBE) {
            uint8_t options = reader_u8(r);
            reason = reader_ok(r) ? check_options(options, version, filter, why)
                                  : malformed(why, "the options are cut off");
        }
    }
    return reason;
}

bool mqtt_next_filter(const struct mqtt_packet *packet, enum mqtt_version version, struct str *rest,
                      struct mqtt_filter *filter)
{
    struct reader r = reader_of(rest->at, rest->size);
    *filter = (struct mqtt_filter){.filter = read_binary(&r)};
    uint8_t options = packet->type == MQTT_SUBSCRIBE ? reader_u8(&r) : 0;
    if (!rest->size || !reader_ok(&r)) return false;
    filter->qos = options & 3;
    if (version == MQTT_5) {
        filter->no_local = options >> 2 & 1;
        filter->retain_as_published = options >> 3 & 1;
        filter->retain_handling = options >> 4 & 3;
    }
    *rest = (struct str){(const char *)r.at, reader_left(&r)};
    return true;
}

/* SUBACK and UNSUBACK; 3.x's UNSUBACK has no codes. */
static enum mqtt_reason read_codes(struct reader *r, enum mqtt_version version,
                                   struct mqtt_packet *p, struct why *why)
{
    enum mqtt_reason reason = read_packet_id(r, &p->packet_id, why);
    if (!reason && version == MQTT_5)
        reason = read_properties(r, 1u << p->type, &p->properties, why);
    if (!reason) p->rest = reader_str(r, reader_left(r));
    return reason;
}

/* ---- all of them ---- */

enum side { FROM_CLIENT = 1, FROM_SERVER = 2, FROM_BOTH = 3 };

static const struct type_info {
    uint8_t flags; /* of the header; PUBLISH has its own */
    uint8_t from;
    bool only_5;
    enum mqtt_reason (*read)(struct reader *r, enum mqtt_version version, struct mqtt_packet *p,
                             struct why *why);
} types[16] = {
    [MQTT_CONNECT] = {0, FROM_CLIENT, false, read_connect},
    [MQTT_CONNACK] = {0, FROM_SERVER, false, read_connack},
    [MQTT_PUBLISH] = {0, FROM_BOTH, false, read_publish},
    [MQTT_PUBACK] = {0, FROM_BOTH, false, read_ack},
    [MQTT_PUBREC] = {0, FROM_BOTH, false, read_ack},
    [MQTT_PUBREL] = {2, FROM_BOTH, false, read_ack},
    [MQTT_PUBCOMP] = {0, FROM_BOTH, false, read_ack},
    [MQTT_SUBSCRIBE] = {2, FROM_CLIENT, false, read_filters},
    [MQTT_SUBACK] = {0, FROM_SERVER, false, read_codes},
    [MQTT_UNSUBSCRIBE] = {2, FROM_CLIENT, false, read_filters},
    [MQTT_UNSUBACK] = {0, FROM_SERVER, false, read_codes},
    [MQTT_PINGREQ] = {0, FROM_CLIENT, false, read_nothing},
    [MQTT_PINGRESP] = {0, FROM_SERVER, false, read_nothing},
    [MQTT_DISCONNECT] = {0, FROM_BOTH, false, read_end},
    [MQTT_AUTH] = {0, FROM_BOTH, true, read_end},
};

static enum mqtt_reason check_header(uint8_t first, enum mqtt_version version, bool from_client,
                                     struct mqtt_packet *p, struct why *why)
{
    const struct type_info *type = &types[first >> 4];
    uint8_t flags = first & 15;
    if (!type->read) return malformed(why, "a packet of type 0");
    if (!(type->from & (from_client ? FROM_CLIENT : FROM_SERVER)) ||
        (type->only_5 && version != MQTT_5) ||
        (p->type == MQTT_DISCONNECT && !from_client && version != MQTT_5))
        return wrong(why, MQTT_REASON_PROTOCOL_ERROR, "a packet that this side may not send");
    if (p->type == MQTT_PUBLISH) {
        p->publish.retain = flags & 1;
        p->publish.qos = flags >> 1 & 3;
        p->publish.dup = flags >> 3 & 1;
        if (p->publish.qos == 3) return malformed(why, "a QoS of 3");
        if (p->publish.qos == 0 && p->publish.dup) return malformed(why, "DUP with QoS 0");
        return MQTT_REASON_SUCCESS;
    }
    /* MQTT 3.1 sends these again with DUP set, and brings the QoS of requests along. */
    if (version == MQTT_3_1 && type->flags == 2) flags &= 0xf7;
    return flags == type->flags ? MQTT_REASON_SUCCESS
                                : malformed(why, "reserved flags of the header are wrong");
}

/* MQTT 3.1 has no use for the header's flags in CONNECT, and so no rule for them. */
static bool is_connect_3_1(uint8_t first, struct str body)
{
    static const char name[] = "\0\6MQIsdp";
    return first >> 4 == MQTT_CONNECT && body.size >= sizeof name - 1 &&
           memcmp(body.at, name, sizeof name - 1) == 0;
}

enum mqtt_reason mqtt_packet_read(uint8_t first, struct str body, enum mqtt_version version,
                                  bool from_client, struct mqtt_packet *p, struct why *why)
{
    struct reader r = reader_of(body.at, body.size);
    p->type = (enum mqtt_type)(first >> 4);
    if (p->type == MQTT_CONNECT) p->connect.version = 0; /* not known yet */
    p->reason = 0;
    p->packet_id = 0;
    p->session_present = false;
    p->rest = STR("");
    p->properties.present = 0;
    p->properties.raw = STR("");
    if (is_connect_3_1(first, body)) first &= 0xf0;
    enum mqtt_reason reason = check_header(first, version, from_client, p, why);
    if (!reason) reason = types[p->type].read(&r, version, p, why);
    if (reason) return reason;
    if (!reader_ok(&r)) return malformed(why, "it is cut off");
    if (reader_left(&r)) return malformed(why, "there are bytes behind its end");
    if (p->type == MQTT_PUBLISH && from_client &&
        mqtt_has(&p->properties, MQTT_PROPERTY_SUBSCRIPTION_ID))
        return wrong(why, MQTT_REASON_PROTOCOL_ERROR, "a client sent a subscription identifier");
    return MQTT_REASON_SUCCESS;
}
