/* door.h - a place to listen at, which can be moved while the connections that came in by it go on.
 *
 * One owner; its loop's thread; nothing blocks. */
#ifndef NET_DOOR_H
#define NET_DOOR_H

#include "loop/loop.h"

struct door {
    struct loop *loop;
    /* As os_ops.listen calls it: the stream's owner must be set at once. */
    void (*on_accept)(void *owner, struct os_stream *stream);
    void *owner;
    struct os_listener *listener; /* NULL: closed */
    struct os_address at;         /* where it was told to listen; kind 0: nowhere */
    struct os_address bound;      /* the same with the real port */
};

/* Closed; owns nothing yet. */
void door_init(struct door *door, struct loop *loop,
               void (*on_accept)(void *owner, struct os_stream *stream), void *owner);
/* Opens it at `address`, or moves it there. The new place is open before the old one is closed,
 * unless the old one is in its way (0.0.0.0 covers 127.0.0.1). Errors, of which ADDRESS_IN_USE is
 * the usual one: it is where it was; where it could not go back, which `why` then says, it is
 * closed. */
enum err door_move(struct door *door, const struct os_address *address, struct why *why);
/* Also of one that is closed. */
void door_close(struct door *door);

#endif
