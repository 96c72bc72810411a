/* wheel.h - many coarse timers in one: a wheel of seconds.
 *
 * For keep-alive, wills, session expiry: thousands that are set and seldom fire. Setting and
 * stopping are a link and an unlink; a tick looks at one slot. A node is part of its owner's
 * object. One owner; time is whole seconds of a monotonic clock. */
#ifndef MQTT_WHEEL_H
#define MQTT_WHEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WHEEL_SLOTS = 512 };

struct wheel_node {
    struct wheel_node *next, **link; /* link NULL: not set */
    int64_t at_s;
    void (*fire)(struct wheel_node *node);
};

struct wheel {
    struct wheel_node *slots[WHEEL_SLOTS];
    int64_t now_s;
    size_t count;
};

void wheel_init(struct wheel *wheel, int64_t now_s);
/* Fires once at the first tick at or after `at_s`, never in this call; replaces what was set. */
void wheel_set(struct wheel *wheel, struct wheel_node *node, int64_t at_s);
void wheel_stop(struct wheel *wheel, struct wheel_node *node);
static inline bool wheel_is_set(const struct wheel_node *node)
{
    return node->link != NULL;
}
/* Fires what is due. A callback may set and stop any node. */
void wheel_tick(struct wheel *wheel, int64_t now_s);

#endif
