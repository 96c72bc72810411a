/* door.c - see door.h. Called by the servers: HTTP, PostgreSQL, lines, MQTT; at their start, and
 * when the configuration moves them. Invariant: it has a listener exactly while `at` is somewhere.
 */
#include "net/door.h"

void door_init(struct door *door, struct loop *loop,
               void (*on_accept)(void *owner, struct os_stream *stream), void *owner)
{
    MUST(loop && on_accept);
    *door = (struct door){.loop = loop, .on_accept = on_accept, .owner = owner};
}

static enum err open_at(struct door *door, const struct os_address *address, struct why *why)
{
    const struct os_ops *ops = door->loop->os->ops;
    struct os_listener *listener;
    struct os_address bound = *address;
    enum err err = ops->listen(door->loop->task, address, door->on_accept, door->owner, &listener,
                               &bound, why);
    if (err) return err;
    door_close(door);
    door->listener = listener;
    door->at = *address;
    door->bound = bound;
    return ERR_OK;
}

void door_close(struct door *door)
{
    MUST(!door->listener == !door->at.kind);
    if (door->listener) door->loop->os->ops->listener_close(door->listener);
    door->listener = NULL;
    door->at = door->bound = (struct os_address){0};
}

enum err door_move(struct door *door, const struct os_address *address, struct why *why)
{
    MUST(loop_is_current(door->loop) && address->kind);
    const struct os_address was = door->at;
    if (os_address_equal(&was, address)) return ERR_OK;
    enum err err = open_at(door, address, why);
    if (err != ERR_ADDRESS_IN_USE || !was.kind || was.port != address->port) return err;
    door_close(door);
    err = open_at(door, address, why);
    struct why lost = WHY_NONE;
    enum err again = err ? open_at(door, &was, &lost) : ERR_OK;
    return again ? why_wrap(why, err, "it listens nowhere now, as it cannot go back (%s)",
                            why_text(&lost, again))
                 : err;
}
