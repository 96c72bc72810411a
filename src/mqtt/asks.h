/* asks.h - messages that ask for a write to equipment: what is published under the command prefix.
 *
 * "cmd/<device path>/<point>" with {"value": …, "id": …} asks; the answer {"id", "ok", "value" or
 * "error"} goes to "cmd/…/reply" and, when the request named one that its client may publish to, to
 * the Response Topic (MQTT 5.0 section 4.10), with its correlation data. The message itself is
 * routed like any other. It is acknowledged as such: what became of the write only the answer says.
 *
 * NCMD and DCMD to an edge node of this node (sinks/edge.h) ask in the words of Sparkplug, which
 * has no answers: what is refused is told in the log.
 *
 * Nothing is asked by a retained message (it would be asked again by whoever reads it later), a
 * will, a message sent again with QoS 2, or through a Bridge that has no `commands: true`. Broker's
 * task, but for the hook. */
#ifndef MQTT_ASKS_H
#define MQTT_ASKS_H

#include "mqtt/broker.h"

struct connection;
struct mqtt_packet;

/* Those of the broker that are not answered: all are with the hook. */
struct asks {
    struct broker_ask *first;
    size_t count; /* of the list */
    /* When a refusal that has no answer was last told, in ns of the monotonic clock; 0 = never. */
    int64_t told_ns;
};

/* "cmd/line3/press07/setpoint" → "line3/press07", "setpoint" (borrowed from `topic`); `prefix`
 * "cmd/", with a NUL behind it. False: it names no device or no point. Any task. */
bool asks_split(struct str topic, struct str prefix, struct str *device, struct str *point);
/* Asks, if the message (borrowed) of an open connection does; a refusal is an answer, too. Without
 * memory nothing is asked, which is counted. */
void asks_take(struct connection *connection, const struct mqtt_packet *packet);
/* The task has ended: whoever has one frees it from here on (broker_ask_free). */
void asks_disown(struct broker *broker);

#endif
