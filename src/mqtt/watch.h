/* watch.h - somebody inside the node who wants to know that a message came to one topic: no
 * session, no queue, and nothing of it but a number that grows.
 *
 * A Sink that is an edge node of Sparkplug waits so for the command that asks for a rebirth. What
 * clients send there, and to its devices, are questions like those under the command prefix
 * (asks.h).
 *
 * A watch is the asker's until it is added and the broker's from then on, but for `seen`, which the
 * asker reads from any task until it drops the watch. */
#ifndef MQTT_WATCH_H
#define MQTT_WATCH_H

#include "mqtt/broker.h"

enum { WATCH_TOPIC_BYTES = 512 };

struct broker_watch {
    /* In whose tree; not "". */
    char ns[ACCESS_NAMESPACE_BYTES];
    /* A name, no filter; not "". */
    char topic[WATCH_TOPIC_BYTES];
    /* Commands to its devices begin so; "" = it has none. */
    char devices[WATCH_TOPIC_BYTES];
    /* Whether a message counts, by its payload (borrowed); on the broker's task. Not NULL. */
    bool (*wants)(struct str payload);
    /* Messages that count, so far; wraps round. */
    _Atomic uint32_t seen;
    /* From here on the broker's. */
    struct job add_job, drop_job;
    struct broker *broker;
    struct broker_watch *next;
};

/* Watches from now on (takes); made with mem_alloc_zero, ns, topic and wants set. Main loop, while
 * the broker runs. */
void broker_watch_add(struct broker *broker, struct broker_watch *watch);
/* The end of it: the broker frees it. Main loop, while the broker runs. NULL allowed. */
void broker_watch_drop(struct broker_watch *watch);

/* Whether a message is a command to an edge node or its devices, other than what the watch waits
 * for. Broker's task. */
struct space;
bool watches_command(const struct space *space, struct str topic, struct str payload);
/* broker_publish: tells those whose topic it is. */
void watches_tell(const struct space *space, struct str topic, struct str payload);

#endif
