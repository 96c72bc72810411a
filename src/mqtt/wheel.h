/* wheel.h - many coarse timers in one: a wheel of seconds.
 *
 * For keep-alive, wills, session expiry: thousands that are set and seldom fire. Setting and
 * stopping are a link and an unlink; a tick looks at one slot. A node is part of its owner's
 * object, and small, since thousands are idle: what it does is said by its kind. One owner; time is
 * whole seconds of a monotonic clock. */
#ifndef MQTT_WHEEL_H
#define MQTT_WHEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WHEEL_SLOTS = 512, WHEEL_KINDS = 4 };

struct wheel_node {
    struct wheel_node *next, **link; /* link NULL: not set */
    uint32_t at_s;
    uint8_t kind; /* below WHEEL_KINDS */
};

struct wheel {
    void (*const *fire)(struct wheel_node *node); /* [WHEEL_KINDS] */
    struct wheel_node *slots[WHEEL_SLOTS];
    int64_t now_s;
    size_t count;
};

/* `fire`: what each kind does; borrowed. */
void wheel_init(struct wheel *wheel, int64_t now_s,
                void (*const fire[WHEEL_KINDS])(struct wheel_node *node));
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
