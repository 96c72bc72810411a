/* wheel.h - many coarse timers in one: a wheel of seconds.
 *
 * For keep-alive, wills, session expiry: thousands that are set and seldom fire. Setting and
 * stopping are a link and an unlink; a tick looks at one slot. A node is part of its owner's
 * object, and small, since thousands are idle: what it does is said by its kind.
 *
 * One owner (the broker's task, and before that whoever starts the broker); time is whole seconds
 * of a monotonic clock. Source: G. Varghese, T. Lauck, "Hashed and Hierarchical Timing Wheels"
 * (1987), scheme 6. */
#ifndef MQTT_WHEEL_H
#define MQTT_WHEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A turn of the wheel in seconds; how many kinds of nodes there are. */
enum { WHEEL_SLOTS = 512, WHEEL_KINDS = 4 };

/* One timer, embedded in what it is about. All zeros but for its kind: not set. */
struct wheel_node {
    /* The next one of its list; what points at this one: NULL = not set. */
    struct wheel_node *next, **link;
    /* When it is due, in the wheel's seconds; UINT32_MAX = as good as never. */
    uint32_t at_s;
    /* Below WHEEL_KINDS; set once by the owner, before the first wheel_set. */
    uint8_t kind;
};

struct wheel {
    /* [WHEEL_KINDS]; borrowed; NULL for a kind that is never set. */
    void (*const *fire)(struct wheel_node *node);
    struct wheel_node *slots[WHEEL_SLOTS];
    /* The second of the last tick. */
    int64_t now_s;
    /* Nodes that are set. */
    size_t count;
};

/* `fire`: what each kind does; borrowed for the wheel's life. */
void wheel_init(struct wheel *wheel, int64_t now_s,
                void (*const fire[WHEEL_KINDS])(struct wheel_node *node));
/* Fires once at the first tick at or after `at_s`, never in this call; replaces what was set. A
 * second that is over means the next one. */
void wheel_set(struct wheel *wheel, struct wheel_node *node, int64_t at_s);
/* It does not fire any more. One that is not set is left alone. */
void wheel_stop(struct wheel *wheel, struct wheel_node *node);
static inline bool wheel_is_set(const struct wheel_node *node)
{
    return node->link != NULL;
}
/* Fires what is due. A callback may set and stop any node, and free its own object. Time that goes
 * backwards is no time. */
void wheel_tick(struct wheel *wheel, int64_t now_s);
/* MUST for every invariant of the wheel: links, slots and count. Between two calls; O(nodes). */
void wheel_verify(const struct wheel *wheel);

#endif
