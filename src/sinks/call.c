/* call.c - whose code a sink's task is in: the node's, or that of the sink, which may never return.
 *
 * A node that stops waits for what is under way, but not for ever: a sink's call that has not
 * returned by then is left where it is, and the world behind it is taken down. So a task comes back
 * from such a call only to find that it has been abandoned, and touches nothing any more. It can be
 * left in the sink's code only: in the node's it uses the store, and is waited for. */
#include "sinks/sinks_priv.h"

enum {
    SINK_IN_CALL = 1,   /* the task's: it is in the sink's code */
    SINK_LATE = 2,      /* the main loop's: no call begins */
    SINK_ABANDONED = 4, /* the main loop's, only together with SINK_IN_CALL */
};

bool sink_call_begin(struct sink *s)
{
    if (atomic_load(&s->call) & SINK_LATE) return false;
    sink_call_on(s);
    return true;
}

void sink_call_on(struct sink *s)
{
    MUST(s->magic == SINK_MAGIC);
    unsigned before = atomic_fetch_or(&s->call, SINK_IN_CALL);
    MUST(!(before & SINK_IN_CALL));
}

void sink_call_end(struct sink *s)
{
    unsigned before = atomic_fetch_and(&s->call, ~(unsigned)SINK_IN_CALL);
    if (before & SINK_ABANDONED) s->park();
    MUST(before & SINK_IN_CALL);
}

bool sink_call_abandon(struct sink *s)
{
    (void)atomic_fetch_or(&s->call, SINK_LATE);
    unsigned now = SINK_IN_CALL | SINK_LATE;
    return atomic_compare_exchange_strong(&s->call, &now, now | SINK_ABANDONED);
}
