/* topic.h - names and filters of topics: what is valid, and what fits (MQTT 5.0 section 4.7).
 *
 * A name is what is published to, a filter what is subscribed to; levels are what stands between
 * slashes, and may be empty. Whether a text is UTF-8 without U+0000 is for packet.h, which has read
 * it. Nothing allocates, everything is borrowed during the call. Thread: any. */
#ifndef MQTT_TOPIC_H
#define MQTT_TOPIC_H

#include "base/str.h"

enum {
    /* Of names and filters that come from outside; deeper ones are refused. It bounds recursion and
     * arrays on the stack. */
    TOPIC_LEVELS_MAX = 256,
    /* MQTT's texts end at 65,535 bytes; the rest is for what the node itself puts around a topic,
     * such as "$dead/" and "/reply". */
    TOPIC_BYTES_MAX = 65000,
    /* The same two with what the node puts around it. */
    TOPIC_MADE_LEVELS_MAX = TOPIC_LEVELS_MAX + 1,
    TOPIC_MADE_BYTES_MAX = 65535,
};

/* A name to publish to: not empty, no wildcards, within the limits [MQTT-3.3.2-2]. Its text was
 * checked. */
bool topic_name_is_valid(struct str name);
/* The same, or one that the node made of it: of a message that was published before. */
bool topic_name_is_made(struct str name);
/* A filter to subscribe to, without "$share/…/": '+' and '#' alone in their level, '#' last
 * [MQTT-4.7.1-1], [MQTT-4.7.1-2]. _is_formed: so much for its form. */
bool topic_filter_is_formed(struct str filter);
/* And it is within the limits: it may stand in a tree. */
bool topic_filter_is_valid(struct str filter);
/* Only the broker publishes there: $SYS/… and $dead/…, but for $SYS/broker/connection/NAME/state.
 */
bool topic_is_own(struct str name);
/* How many there are: slashes and one. At least 1, also of an empty text. */
size_t topic_levels(struct str text);
/* Whether '+' or '#' stands anywhere in it. */
bool topic_has_wildcard(struct str filter);

/* Splits "$share/group/filter" (4.8.2); the parts are borrowed from `text`. False: it is no shared
 * subscription (*group empty, *filter as it is), unless `*bad`: it begins like one and is none. */
bool topic_split_shared(struct str text, struct str *group, struct str *filter, bool *bad);

/* Whether a name fits a filter, both valid. Names that begin with '$' fit no filter that begins
 * with a wildcard [MQTT-4.7.2-1]; "a/#" fits "a", too (4.7.1.2). */
bool topic_matches(struct str filter, struct str name);

#endif
