/* room.c - see room.h. All wait equally long, so the list in the order of arrival is sorted by
 * deadline, too.
 *
 * Called by the HTTP server for bodies and by the store's way in for rows; everything on one loop.
 * Owns its timer; a wait is its request's. Invariants: `count` is the list's length; a wait is in
 * the list exactly while its `room` is set; the timer is set while somebody waits. `done` is always
 * called with the wait out of the list, so it may wait again, or free what it lies in. */
#include "loop/room.h"
#include "base/timetext.h"

static void unlink_wait(struct room_wait *wait)
{
    struct room *room = wait->room;
    MUST(room && room->count > 0 && room->first && room->last);
    MUST(wait->previous || room->first == wait);
    *(wait->previous ? &wait->previous->next : &room->first) = wait->next;
    *(wait->next ? &wait->next->previous : &room->last) = wait->previous;
    wait->previous = wait->next = NULL;
    wait->room = NULL;
    room->count--;
    metric_add(room->context, METRIC_ROOM_WAITING, (uint64_t)-1);
}

/* What the budget and all above it could give now. */
static size_t free_bytes(const struct budget *budget)
{
    size_t least = SIZE_MAX;
    for (const struct budget *b = budget; b; b = b->parent) {
        size_t used = atomic_load_explicit(&b->used_bytes, memory_order_relaxed);
        size_t left = b->limit_bytes > used ? b->limit_bytes - used : 0;
        if (left < least) least = left;
    }
    return least;
}

size_t room_limit_bytes(const struct room *room)
{
    size_t least = SIZE_MAX;
    for (const struct budget *b = room->budget; b; b = b->parent)
        if (b->limit_bytes < least) least = b->limit_bytes;
    return least;
}

static void refuse(struct room_wait *wait)
{
    struct room *room = wait->room;
    struct why why = WHY_NONE;
    unlink_wait(wait);
    metric_add(room->context, METRIC_ROOM_REFUSED, 1);
    why_set(&why, ERR_BUDGET,
            "no memory came free in %d s: of %zu KiB for %s all are in use; send again later, or "
            "raise memory: (it is %zu KiB)",
            ROOM_SECONDS, room->budget->limit_bytes / 1024, room->what,
            room->context->memory.limit_bytes / 1024);
    wait->done(wait, ERR_BUDGET, &why);
}

/* Lets as many go as fit together, in their order: those behind one that does not fit wait, or it
 * would wait for ever. */
static void look(void *arg)
{
    struct room *room = arg;
    MUST(room->timer && !room->is_closed && !room->first == !room->count);
    size_t left = free_bytes(room->budget);
    for (struct room_wait *wait; (wait = room->first) && wait->need_bytes <= left;) {
        left -= wait->need_bytes;
        unlink_wait(wait);
        wait->done(wait, ERR_OK, NULL);
    }
    int64_t now = context_mono_ns(room->context);
    while (room->first && room->first->deadline_ns <= now) refuse(room->first);
    if (room->first) room->context->os->ops->timer_set(room->timer, ROOM_LOOK_MS * TIME_NS_PER_MS);
}

void room_init(struct room *room, struct context *context, struct loop *loop, struct budget *budget,
               const char *what)
{
    MUST(context && loop && budget && what);
    *room = (struct room){.context = context, .loop = loop, .budget = budget, .what = what};
}

enum err room_wait(struct room *room, struct room_wait *wait, size_t need_bytes,
                   void (*done)(struct room_wait *wait, enum err err, const struct why *why),
                   struct why *why)
{
    MUST(!wait->room && done && need_bytes <= room_limit_bytes(room));
    MUST(loop_is_current(room->loop) && room->count <= ROOM_WAITS_MAX);
    const struct os_ops *ops = room->context->os->ops;
    if (room->is_closed) return why_set(why, ERR_CANCELLED, "the node stops");
    if (room->count == ROOM_WAITS_MAX) {
        metric_add(room->context, METRIC_ROOM_REFUSED, 1);
        return why_set(why, ERR_BUSY,
                       "%d requests wait for memory for %s already, which are as many as may; send "
                       "again later, or raise memory: (it is %zu KiB)",
                       ROOM_WAITS_MAX, room->what, room->context->memory.limit_bytes / 1024);
    }
    if (!room->timer && ops->timer_make(room->loop->task, look, room, &room->timer))
        return why_set(why, ERR_NO_MEMORY, "no memory for a timer");
    if (!room->first) ops->timer_set(room->timer, ROOM_LOOK_MS * TIME_NS_PER_MS);
    *wait = (struct room_wait){.room = room,
                               .previous = room->last,
                               .need_bytes = need_bytes,
                               .deadline_ns =
                                   context_mono_ns(room->context) + ROOM_SECONDS * TIME_NS_PER_S,
                               .done = done};
    *(room->last ? &room->last->next : &room->first) = wait;
    room->last = wait;
    room->count++;
    metric_add(room->context, METRIC_ROOM_WAITS, 1);
    metric_add(room->context, METRIC_ROOM_WAITING, 1);
    return ERR_OK;
}

void room_leave(struct room_wait *wait)
{
    if (wait->room) unlink_wait(wait);
}

void room_close(struct room *room)
{
    room->is_closed = true;
    while (room->first) {
        struct room_wait *wait = room->first;
        unlink_wait(wait);
        wait->done(wait, ERR_CANCELLED, NULL);
    }
    MUST(room->count == 0 && !room->last);
    if (room->timer) room->context->os->ops->timer_close(room->timer);
    room->timer = NULL;
}
