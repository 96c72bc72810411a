/* bridge_map.h - the topics of a bridge: what goes which way, and under which name.
 *
 * One entry says: the local topic is localPrefix + rest, the remote one remotePrefix + rest, for
 * every rest that the entry's filter fits (Mosquitto's meaning of a bridge's `topic`). An empty
 * filter maps the one name localPrefix to the one name remotePrefix. The first entry that fits
 * counts. And the trail: which nodes a message has passed, so that a ring of bridges ends it.
 *
 * Pure: no I/O, no state. Thread: any. */
#ifndef MQTT_BRIDGE_MAP_H
#define MQTT_BRIDGE_MAP_H

#include "base/str.h"

enum {
    BRIDGE_TOPICS_MAX = 256, /* entries of one bridge */
    BRIDGE_HOPS_MAX = 8,     /* nodes that a message may have passed; then it goes no further */
    BRIDGE_NODE_BYTES = 13,  /* of a node's mark in the trail, its NUL included */
};

/* The user property of MQTT 5.0 that each node adds to what its bridges send, and a bridge to what
 * it gets, for the remote broker; CONNECT and CONNACK of bridges carry it too. */
#define BRIDGE_TRAIL "millrace-via"

/* One entry; its texts are borrowed. Prefix and filter together are a valid filter on each side,
 * which whoever makes one has checked (listeners/bridges_check.c). */
struct bridge_topic {
    struct str filter, local_prefix, remote_prefix;
    /* Both may be set. */
    bool is_out, is_in;
    /* At most; a message's own may be lower. */
    uint8_t qos;
};

/* To the remote broker; from it. */
enum bridge_way { BRIDGE_OUT, BRIDGE_IN };

/* The filter of one side, appended: prefix + filter. `is_local` = the local side. A failure is the
 * buffer's. */
void bridge_topic_filter(const struct bridge_topic *topic, bool is_local, struct buf *out);

/* Whether a message on `name` goes that way; if so its name on the other side, a valid one, is put
 * into `out` (cleared before). OUT: `name` is local; IN: it is remote. A name that would be longer
 * or deeper than the limits goes nowhere. */
bool bridge_topic_map(const struct bridge_topic *topics, size_t count, enum bridge_way way,
                      struct str name, struct buf *out);

/* Whether a local topic is one that only comes in. */
bool bridge_topic_only_comes_in(const struct bridge_topic *topics, size_t count, struct str name);

/* What the subscriptions of these entries have in their Subscription Identifiers beside their place
 * (a multiple of BRIDGE_TOPICS_MAX): it tells them from those of other entries, which the remote
 * broker may have kept messages for. Never 0. */
uint32_t bridge_topics_mark(const struct bridge_topic *topics, size_t count);
/* A broker may send a message once for each subscription that fits. Whether one on the remote
 * `name` is such a copy, beside that of the first entry that fits and was not refused (`refused`:
 * one byte an entry; `mark`: theirs). What has no identifier, or one of other entries, is none. */
bool bridge_topic_is_copy(const struct bridge_topic *topics, size_t count, const uint8_t *refused,
                          uint32_t mark, struct str name, struct str properties);

/* Whether the trail in the properties of a PUBLISH (as on the wire, without their length; they were
 * checked) ends here: this node is in it already, or it is too long. */
bool bridge_trail_ends(struct str properties, const char *node);
/* The first mark in the properties of a CONNECT or CONNACK (as above): who a bridge, or the broker
 * that it comes to, is. False: there is none that could be one; `node` may have been written to. */
bool bridge_trail_first(struct str properties, char node[BRIDGE_NODE_BYTES]);

#endif
