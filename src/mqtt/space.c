/* space.c - see space.h. Places in the table are given again; whoever keeps a pointer to a space
 * over a turn of the task is a session of it, or pins it.
 *
 * Spaces are swept once a second and not when their last session leaves: a client that comes and
 * goes would make and free a tree each time. So one that space_find has given may be empty, but it
 * is there until the next tick. */
#include "mqtt/broker_priv.h"
#include <string.h>

struct space *space_find(const struct broker *broker, struct str ns)
{
    return map_get(&broker->spaces_by_name, ns);
}

/* Nothing is left in it but what the end of the broker leaves. */
static void free_space(struct space *s)
{
    struct broker *broker = s->broker;
    MUST(!s->pins && !s->session_count && broker->spaces[s->index] == s);
    (void)map_remove(&broker->spaces_by_name, str_of(s->ns));
    broker->spaces[s->index] = NULL;
    broker->retained_count -= s->tree ? tree_retained_count(s->tree) : 0;
    tree_free(s->tree);
    tree_free(s->streams);
    s->magic = 0;
    mem_free(s);
}

static bool is_empty(const struct space *s)
{
    return !s->session_count && !s->pins && !s->streams && !tree_retained_count(s->tree);
}

void spaces_sweep(struct broker *broker)
{
    for (size_t i = 1; i < broker->space_count; i++) /* the first is `default` */
        if (broker->spaces[i] && is_empty(broker->spaces[i])) free_space(broker->spaces[i]);
    while (broker->space_count > 1 && !broker->spaces[broker->space_count - 1])
        broker->space_count--;
}

void spaces_free(struct broker *broker)
{
    for (size_t i = 0; i < broker->space_count; i++)
        if (broker->spaces[i]) free_space(broker->spaces[i]);
    map_free(&broker->spaces_by_name);
    mem_free(broker->spaces);
    broker->spaces = NULL;
    broker->space_count = 0;
}

/* A free place of the table, which counts once a space stands in it; false: no memory, or all are
 * taken. */
static bool find_place(struct broker *broker, size_t *place)
{
    MUST(broker->space_count <= BROKER_SPACES_MAX);
    size_t i = 0;
    while (i < broker->space_count && broker->spaces[i]) i++;
    if (i == BROKER_SPACES_MAX) {
        spaces_sweep(broker); /* the second is not over yet */
        for (i = 0; i < broker->space_count && broker->spaces[i];) i++;
    }
    *place = i;
    if (i == BROKER_SPACES_MAX) return false;
    return !mem_grow(&broker->spaces, &broker->space_capacity, i + 1, sizeof broker->spaces[0]);
}

struct space *space_get(struct broker *broker, struct str ns)
{
    struct space *s = space_find(broker, ns);
    size_t place = 0;
    MUST(ns.size && ns.size < ACCESS_NAMESPACE_BYTES);
    if (s) return s;
    bool has_place = find_place(broker, &place);
    if (has_place && (s = mem_alloc_zero(1, sizeof *s + ns.size + 1))) {
        memcpy(s->ns, ns.at, ns.size);
        s->magic = SPACE_MAGIC;
        s->broker = broker;
        s->index = (uint16_t)place;
        s->tree = tree_new(&broker->memory);
        if (s->tree && !map_put(&broker->spaces_by_name, ns, s, NULL)) {
            broker->spaces[place] = s;
            if (place == broker->space_count) broker->space_count++;
            return s;
        }
        tree_free(s->tree);
        mem_free(s);
    }
    limits_act(broker, place == BROKER_SPACES_MAX ? LIMIT_NAMESPACES : LIMIT_MEMORY, "");
    return NULL;
}

enum err space_retain(struct space *s, struct str topic, struct message *message)
{
    MUST(space_is_valid(s));
    struct broker *broker = s->broker;
    size_t before = tree_retained_count(s->tree);
    const struct message *old = tree_retained(s->tree, topic);
    bool was_own = old && message_is_own(old), is_own = message && message_is_own(message);
    enum err err = tree_retain(s->tree, topic, message);
    if (!err) broker->own_retained_count = broker->own_retained_count + is_own - was_own;
    broker->retained_count = broker->retained_count + tree_retained_count(s->tree) - before;
    metric_set(broker->context, METRIC_MQTT_RETAINED, broker->retained_count);
    if (!err && message && message->expires_ns) expiry_note(broker, message->expires_ns);
    return err;
}
