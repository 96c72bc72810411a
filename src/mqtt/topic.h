/* topic.h - names and filters of topics: what is valid, and what fits (MQTT 5.0 section 4.7).
 *
 * Nothing allocates. Thread: any. */
#ifndef MQTT_TOPIC_H
#define MQTT_TOPIC_H

#include "base/str.h"

enum {
    TOPIC_LEVELS_MAX = 256, /* of names and filters; deeper ones are refused */
    /* MQTT's texts end at 65,535 bytes; the rest is for what the node itself puts around a topic,
     * such as "$dead/" and "/reply". */
    TOPIC_BYTES_MAX = 65000,
    TOPIC_MADE_LEVELS_MAX = TOPIC_LEVELS_MAX + 1, /* with what the node puts around it */
    TOPIC_MADE_BYTES_MAX = 65535,
};

/* A name to publish to: not empty, no wildcards, within the limits. Its text was checked. */
bool topic_name_is_valid(struct str name);
/* The same, or one that the node made of it: of a message that was published before. */
bool topic_name_is_made(struct str name);
/* A filter to subscribe to, without "$share/…/": '+' and '#' alone in their level, '#' last.
 * _is_formed: so much for its form; _is_valid: and it is within the limits. */
bool topic_filter_is_formed(struct str filter);
bool topic_filter_is_valid(struct str filter);
/* Only the broker publishes there: $SYS/… and $dead/…, but for $SYS/broker/connection/NAME/state.
 */
bool topic_is_own(struct str name);
size_t topic_levels(struct str text); /* at least 1 */
bool topic_has_wildcard(struct str filter);

/* Splits "$share/group/filter". False: it is no shared subscription (*group empty, *filter as it
 * is), unless `*bad`: it begins like one and is none. */
bool topic_split_shared(struct str text, struct str *group, struct str *filter, bool *bad);

/* Whether a name fits a filter. Names that begin with '$' fit no filter that begins with a
 * wildcard. */
bool topic_matches(struct str filter, struct str name);

#endif
