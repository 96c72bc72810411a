/* room.h - where requests wait for memory instead of being refused.
 *
 * A budget says no at once; who can wait is parked here, in the order of arrival, and told when
 * the budget has the room that was asked for. Nobody may hold memory of the same budget while he
 * waits, but for what comes back by itself (rows on their way to the log): so there is always one
 * who can go on, and nobody waits for somebody who waits. What others give back is seen by looking
 * every few milliseconds while somebody waits, for memory comes back on every task and in many
 * ways, and a wake that is forgotten in one of them would be a request that hangs.
 *
 * Only so many wait, and only so long: what does not get room in time is refused with a text that
 * names the limit and the way out. Both are counted (METRIC_ROOM_…). Everything runs on one loop;
 * who goes away leaves; closing sends all away. */
#ifndef LOOP_ROOM_H
#define LOOP_ROOM_H

#include "loop/context.h"

enum {
    ROOM_WAITS_MAX = 256, /* in one room */
    ROOM_SECONDS = 30,    /* for one piece of memory */
    ROOM_LOOK_MS = 5,
};

struct room;

/* One who waits; embedded in the request. */
struct room_wait {
    struct room *room;                 /* NULL: does not wait */
    struct room_wait *previous, *next; /* in the order of arrival */
    size_t need_bytes;
    int64_t deadline_ns; /* monotonic */
    /* On the loop, once, out of the list: OK = go on (there was room a moment ago, another may have
     * been faster: then wait again); else why not. */
    void (*done)(struct room_wait *wait, enum err err, const struct why *why);
};

struct room {
    struct context *context;
    struct loop *loop;
    struct budget *budget; /* borrowed: it and its parents must have room */
    const char *what;      /* static: what the memory is for, "rows on their way to the log" */
    struct room_wait *first, *last;
    size_t count;           /* of them; at most ROOM_WAITS_MAX */
    struct os_timer *timer; /* made with the first wait */
    bool is_closed;
};

/* All but `what` is borrowed and outlives the room, which stays in place. */
void room_init(struct room *room, struct context *context, struct loop *loop, struct budget *budget,
               const char *what);
/* Parks until `need_bytes` are free: only told, never taken. `wait` (zeroed before its first use)
 * stays in place until `done` or room_leave. Asking for more than room_limit_bytes is a
 * programming error. Errors (then `done` is never called): BUSY as many wait as may; CANCELLED it
 * is closed; NO_MEMORY. */
enum err room_wait(struct room *room, struct room_wait *wait, size_t need_bytes,
                   void (*done)(struct room_wait *wait, enum err err, const struct why *why),
                   struct why *why);
/* The most that may ever be asked for: the least of the limits. */
size_t room_limit_bytes(const struct room *room);
/* Whoever comes now stands behind others. */
static inline bool room_is_asked(const struct room *room)
{
    return room->first != NULL;
}
/* Gives the place up; nothing happens if `wait` does not wait. */
void room_leave(struct room_wait *wait);
/* Sends all away (CANCELLED, inside the call) and takes nobody any more. May be called twice. */
void room_close(struct room *room);

#endif
