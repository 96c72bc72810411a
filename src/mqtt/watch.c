/* watch.c - see watch.h. The list is short: one a Sink that is an edge node.
 *
 * Adding and dropping are two jobs of the watch itself, so neither can fail for lack of memory;
 * jobs of one poster run in their order, so a watch that is dropped has been added. */
#include "mqtt/watch.h"
#include "mqtt/broker_priv.h"
#include <stddef.h>
#include <string.h>

/* Messages that are routed from here on are seen. */
static void run_add(struct job *job)
{
    struct broker_watch *w = (void *)((char *)job - offsetof(struct broker_watch, add_job));
    MUST(w->broker->magic == BROKER_MAGIC);
    w->next = w->broker->watches;
    w->broker->watches = w;
}

static void run_drop(struct job *job) /* jobs of one poster run in their order: it was added */
{
    struct broker_watch *w = (void *)((char *)job - offsetof(struct broker_watch, drop_job));
    MUST(broker_is_valid(w->broker));
    struct broker_watch **at = &w->broker->watches;
    while (*at != w) at = &(*at)->next;
    *at = w->next;
    mem_free(w);
}

void broker_watch_add(struct broker *broker, struct broker_watch *w)
{
    MUST(broker->is_started && w->topic[0] && w->ns[0] && !w->broker);
    w->broker = broker;
    w->add_job.run = run_add;
    loop_post(&broker->loop, &w->add_job);
}

void broker_watch_drop(struct broker_watch *w)
{
    if (!w) return;
    MUST(w->broker && w->broker->is_started);
    w->drop_job.run = run_drop;
    loop_post(&w->broker->loop, &w->drop_job);
}

bool watches_command(const struct space *space, struct str topic, struct str payload)
{
    bool hit = false;
    for (const struct broker_watch *w = space->broker->watches; w && !hit; w = w->next) {
        bool is_node = str_is(topic, w->topic) && !w->wants(payload);
        hit = w->devices[0] && (is_node || str_starts(topic, w->devices)) &&
              strcmp(w->ns, space->ns) == 0; /* rarely comes so far */
    }
    return hit;
}

void watches_tell(const struct space *space, struct str topic, struct str payload)
{
    for (struct broker_watch *w = space->broker->watches; w; w = w->next)
        if (str_is(topic, w->topic) && strcmp(w->ns, space->ns) == 0 &&
            (!w->wants || w->wants(payload)))
            atomic_fetch_add(&w->seen, 1);
}
