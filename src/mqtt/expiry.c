/* expiry.c - retained messages whose Message Expiry Interval is over are forgotten (MQTT 5.0
 * 3.3.2.3.3), so that they take no memory and no place of mqtt.maxRetained, and are not shown.
 *
 * Who asks for one is not sent it either way (session_send.c); here it only matters that they go at
 * some time. So there is no timer for each: the broker knows when the first of them is over, and
 * then walks over all of them in slices, once a second, for as long as it takes. The log is told
 * nothing: a start finds them again, with their end, and forgets them the same way. Broker's task.
 */
#include "mqtt/broker_priv.h"

enum { STEPS_PER_TICK = 10000 };

void expiry_note(struct broker *broker, int64_t expires_ns)
{
    struct retained_expiry *e = &broker->expiry;
    if (!e->due_ns || expires_ns < e->due_ns) e->due_ns = expires_ns;
}

static void leave(struct retained_expiry *e)
{
    if (!e->space) return;
    tree_walk_end(&e->walk);
    e->space->pins--;
    e->space = NULL;
}

/* Stands at the beginning of the next tree; false: there is none, or no memory. */
static bool enter(struct broker *broker, struct retained_expiry *e)
{
    struct space *s = NULL;
    leave(e);
    while (e->next_space < broker->space_count && (!s || !tree_retained_count(s->tree)))
        s = broker->spaces[e->next_space++];
    if (!s) return false;
    if (tree_walk_begin_all(s->tree, &e->walk)) {
        expiry_note(broker, broker->now_ns); /* again with the next tick */
        return false;
    }
    e->space = s;
    s->pins++;
    return true;
}

static void look(struct broker *broker, struct retained_expiry *e, struct message *m)
{
    if (!m->expires_ns) return;
    if (m->expires_ns > broker->now_ns) {
        expiry_note(broker, m->expires_ns);
        return;
    }
    /* The walk is pinned to where it stands, so what is there may go. */
    message_share(m);
    (void)space_retain(e->space, message_topic(m), NULL);
    message_release(m);
}

void expiry_tick(struct broker *broker)
{
    struct retained_expiry *e = &broker->expiry;
    unsigned steps = STEPS_PER_TICK;
    if (!e->is_walking) {
        if (!e->due_ns || broker->now_ns < e->due_ns) return;
        *e = (struct retained_expiry){.is_walking =
                                          true}; /* due: of what the walk finds, or comes */
    }
    while (steps) {
        if (!e->space || !e->walk.at) {
            e->is_walking = enter(broker, e);
            if (!e->is_walking) return;
        }
        struct message *m = tree_walk_next(&e->walk, &steps);
        if (m) look(broker, e, m);
    }
}

void expiry_free(struct broker *broker)
{
    leave(&broker->expiry);
}
