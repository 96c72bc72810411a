/* bridge_map.c - see bridge_map.h: pure functions over the entries of a bridge and the trail.
 *
 * Names come from outside and were checked (topic.h); what is made of them is checked again, since
 * a longer prefix can make a name too long or too deep. The trail is read from properties as they
 * came on the wire, which packet_read.c found well-formed. */
#include "mqtt/bridge_map.h"
#include "base/hash.h"
#include "mqtt/packet.h"
#include "mqtt/topic.h"
#include <string.h>

void bridge_topic_filter(const struct bridge_topic *t, bool is_local, struct buf *out)
{
    buf_add_str(out, is_local ? t->local_prefix : t->remote_prefix);
    buf_add_str(out, t->filter);
}

/* What is behind the prefix, when the filter fits it. A filter that begins with a wildcard fits
 * what begins with '$' only behind a prefix, as a broker that sees prefix and filter in one. */
static bool take_rest(struct str prefix, struct str filter, struct str name, struct str *rest)
{
    if (name.size < prefix.size || (prefix.size && memcmp(name.at, prefix.at, prefix.size) != 0))
        return false;
    *rest = (struct str){name.at + prefix.size, name.size - prefix.size};
    if (!filter.size) return rest->size == 0;
    if (prefix.size && rest->size && rest->at[0] == '$') return str_is(filter, "#");
    return topic_matches(filter, *rest);
}

bool bridge_topic_map(const struct bridge_topic *topics, size_t count, enum bridge_way way,
                      struct str name, struct buf *out)
{
    MUST(topics || !count);
    buf_clear(out);
    for (size_t i = 0; i < count; i++) {
        const struct bridge_topic *t = &topics[i];
        struct str rest;
        struct str from = way == BRIDGE_OUT ? t->local_prefix : t->remote_prefix;
        if (!(way == BRIDGE_OUT ? t->is_out : t->is_in) || !take_rest(from, t->filter, name, &rest))
            continue;
        buf_add_str(out, way == BRIDGE_OUT ? t->remote_prefix : t->local_prefix);
        buf_add_str(out, rest);
        return topic_name_is_valid(buf_str(out));
    }
    return false;
}

bool bridge_topic_only_comes_in(const struct bridge_topic *topics, size_t count, struct str name)
{
    struct str rest;
    MUST(topics || !count);
    for (size_t i = 0; i < count; i++)
        if (topics[i].is_in && !topics[i].is_out &&
            take_rest(topics[i].local_prefix, topics[i].filter, name, &rest))
            return true;
    return false;
}

uint32_t bridge_topics_mark(const struct bridge_topic *topics, size_t count)
{
    enum { MARKS = 1 << 20 }; /* with BRIDGE_TOPICS_MAX places, all that an identifier can be */
    uint32_t crc = 0;
    MUST(topics || !count);
    for (size_t i = 0; i < count; i++) {
        if (!topics[i].is_in) continue;
        const struct str texts[] = {
            {(const char *)&i, sizeof i}, topics[i].remote_prefix, topics[i].filter, {"", 1}};
        for (size_t t = 0; t < sizeof texts / sizeof texts[0]; t++)
            crc = hash_crc32c(crc, texts[t].at, texts[t].size);
    }
    return (1 + crc % (MARKS - 1)) * BRIDGE_TOPICS_MAX;
}

bool bridge_topic_is_copy(const struct bridge_topic *topics, size_t count, const uint8_t *refused,
                          uint32_t mark, struct str name, struct str properties)
{
    uint32_t first = 0;
    bool is_copy = false;
    struct str rest = properties, encoded, behind;
    while (first < count &&
           (!topics[first].is_in || refused[first] ||
            !take_rest(topics[first].remote_prefix, topics[first].filter, name, &behind)))
        first++;
    for (enum mqtt_property p; first < count && mqtt_next_property(&rest, &p, &encoded);) {
        if (p != MQTT_PROPERTY_SUBSCRIPTION_ID) continue;
        struct reader r = reader_of(encoded.at, encoded.size);
        reader_skip(&r, 1); /* its identifier, one byte */
        uint64_t id = reader_varint(&r);
        if (id / BRIDGE_TOPICS_MAX != mark / BRIDGE_TOPICS_MAX || id == mark + first) return false;
        is_copy = true;
    }
    return is_copy;
}

/* The next mark. */
static bool next_mark(struct str *rest, struct str *node)
{
    struct str encoded;
    for (enum mqtt_property p; mqtt_next_property(rest, &p, &encoded);) {
        if (p != MQTT_PROPERTY_USER_PROPERTY) continue;
        struct reader r = reader_of(encoded.at, encoded.size);
        reader_skip(&r, 1); /* its identifier, one byte */
        struct str key = reader_str(&r, reader_be16(&r));
        *node = reader_str(&r, reader_be16(&r));
        if (str_is(key, BRIDGE_TRAIL)) return true;
    }
    return false;
}

bool bridge_trail_first(struct str properties, char node[BRIDGE_NODE_BYTES])
{
    struct str rest = properties, found;
    return next_mark(&rest, &found) && found.size && str_copy(node, BRIDGE_NODE_BYTES, found);
}

bool bridge_trail_ends(struct str properties, const char *node)
{
    struct str rest = properties, mark;
    size_t hops = 0;
    while (next_mark(&rest, &mark))
        if (str_is(mark, node) || ++hops >= BRIDGE_HOPS_MAX) return true;
    return false;
}
