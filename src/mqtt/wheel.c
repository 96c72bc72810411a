/* wheel.c - see wheel.h.
 *
 * A node hangs in the slot of its second modulo the wheel's size. What is due later than one turn
 * is met before its time and left where it is. What fires is first moved to a list of its own, so
 * that callbacks may do as they like: set, stop or free any node, those that are due just now as
 * well.
 *
 * After a pause (a suspended machine, a debugger) a tick looks at each slot once, however much time
 * has passed. */
#include "mqtt/wheel.h"
#include "base/err.h"

void wheel_init(struct wheel *wheel, int64_t now_s,
                void (*const fire[WHEEL_KINDS])(struct wheel_node *node))
{
    *wheel = (struct wheel){.fire = fire, .now_s = now_s};
}

static void put(struct wheel_node **list, struct wheel_node *node)
{
    node->next = *list;
    if (node->next) node->next->link = &node->next;
    node->link = list;
    *list = node;
}

void wheel_stop(struct wheel *wheel, struct wheel_node *node)
{
    if (!node->link) return;
    *node->link = node->next;
    if (node->next) node->next->link = node->link;
    node->link = NULL;
    node->next = NULL;
    MUST(wheel->count > 0);
    wheel->count--;
}

void wheel_set(struct wheel *wheel, struct wheel_node *node, int64_t at_s)
{
    MUST(node->kind < WHEEL_KINDS && wheel->fire[node->kind]);
    wheel_stop(wheel, node);
    if (at_s <= wheel->now_s) at_s = wheel->now_s + 1;
    node->at_s = at_s < UINT32_MAX ? (uint32_t)at_s : UINT32_MAX; /* never, as far as a node goes */
    put(&wheel->slots[node->at_s % WHEEL_SLOTS], node);
    wheel->count++;
}

/* To a list of its own; each stays stoppable there, and counted. */
static void take_due(struct wheel *wheel, size_t slot, struct wheel_node **due)
{
    MUST(slot < WHEEL_SLOTS);
    for (struct wheel_node *n = wheel->slots[slot], *next; n; n = next) {
        next = n->next;
        if (n->at_s > wheel->now_s) continue;
        wheel_stop(wheel, n);
        put(due, n);
        wheel->count++;
    }
}

void wheel_verify(const struct wheel *wheel)
{
    size_t count = 0;
    for (size_t i = 0; i < WHEEL_SLOTS; i++) {
        struct wheel_node *const *link = &wheel->slots[i];
        for (const struct wheel_node *n = *link; n; link = &n->next, n = n->next) {
            MUST(n->link == link && n->at_s % WHEEL_SLOTS == i);
            MUST(n->kind < WHEEL_KINDS && wheel->fire[n->kind]);
            count++;
        }
    }
    MUST(count == wheel->count);
}

void wheel_tick(struct wheel *wheel, int64_t now_s)
{
    struct wheel_node *due = NULL;
    int64_t from = wheel->now_s + 1;
    if (now_s - from >= WHEEL_SLOTS) from = now_s - WHEEL_SLOTS + 1;
    if (now_s > wheel->now_s) wheel->now_s = now_s;
    for (int64_t s = from; s <= now_s; s++) take_due(wheel, (size_t)(s % WHEEL_SLOTS), &due);
    while (due) {
        struct wheel_node *n = due;
        wheel_stop(wheel, n);
        wheel->fire[n->kind](n);
    }
}
