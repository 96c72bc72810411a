/* streams.c - see streams.h.
 *
 * A change of documents posts one job, which compares all Streams with those that run and gives the
 * broker a new list. Without memory for it, or for one Stream, the rest holds, and the timer tries
 * again: nothing that was accepted waits for the next change. */
#include "listeners/bridges.h"
#include "listeners/streams.h"
#include "base/timetext.h"
#include "mqtt/command.h"
#include <stdio.h>
#include <string.h>

static const char component[] = "streams";

struct streams {
    struct service *service;
    struct stream *first;
    struct job job; /* takes changes, many at once */
    bool is_posted;
    struct os_timer *timer; /* runs while is_short */
    bool is_short;          /* there was no memory for all of them; told once */
};

enum { RETRY_NS = 1000000000 };

enum err streams_allow(const struct identity *who, const struct resource *now, struct why *why)
{
    if (!now || now->kind != KIND_STREAM) return ERR_OK;
    const struct stream_spec *spec = now->spec;
    const struct access_client nobody = {.ns = now->ns};
    enum err err = access_check_topic(who, VERB_SUBSCRIBE, &nobody, spec->filter);
    if (err != ERR_FORBIDDEN) return err;
    return why_set(why, err,
                   "user %s may not subscribe to %.*s, and so may make no Stream of it: give the "
                   "user that right first",
                   who->user, (int)spec->filter.size, spec->filter.size ? spec->filter.at : "");
}

/* ---- publishing ---- */

struct publish {
    struct broker_command op; /* first */
    char text[];              /* namespace, topic and payload */
};

static void on_published(struct completion *c)
{
    mem_free(c); /* nobody waits for it */
}

void streams_publish(struct service *service, const struct stream *stream, struct str topic,
                     struct str payload, bool retain)
{
    struct str ns = str_of(stream->ns);
    struct publish *p = mem_alloc_zero(1, sizeof *p + ns.size + topic.size + payload.size);
    if (!p || !service->broker) {
        mem_free(p);
        return;
    }
    char *at = p->text;
    memcpy(at, ns.at, ns.size);
    memcpy(at + ns.size, topic.at, topic.size);
    memcpy(at + ns.size + topic.size, payload.at, payload.size);
    p->op.order = BROKER_PUBLISH;
    p->op.ns = (struct str){at, ns.size};
    p->op.topic = (struct str){at + ns.size, topic.size};
    p->op.payload = (struct str){at + ns.size + topic.size, payload.size};
    p->op.retain = retain;
    p->op.qos = retain; /* section 6.4.13: STATE has QoS 1, commands have 0 */
    completion_init(&p->op.completion, service->context->main, on_published);
    broker_command(service->broker, &p->op);
}

/* Sparkplug 3.0.0 section 6.4.13. */
static void say_state(struct service *service, const struct stream *s, bool is_online)
{
    char text[80];
    if (!s->state_topic[0]) return;
    int n = snprintf(text, sizeof text, "{\"online\":%s,\"timestamp\":%lld}",
                     is_online ? "true" : "false",
                     (long long)(context_wall_ns(service->context) / TIME_NS_PER_MS));
    streams_publish(service, s, str_of(s->state_topic), (struct str){text, (size_t)n}, true);
}

/* ---- one Stream ---- */

static void free_stream(struct broker_stream *broker) /* any task */
{
    struct stream *s = (struct stream *)broker;
    identity_release(s->broker.identity);
    sparkplug_host_free(s->host);
    mapping_free(s->mapping);
    mem_free(s);
}

static bool make_host(struct stream *s, const struct stream_sparkplug_spec *spec, struct str node)
{
    struct str id = spec->host_id.size ? spec->host_id : node;
    s->host = sparkplug_host_new(s->mapping, spec->rebirth_interval_ns);
    int n =
        snprintf(s->state_topic, sizeof s->state_topic, "spBv1.0/STATE/%.*s", (int)id.size, id.at);
    return s->host && n > 0 && (size_t)n < sizeof s->state_topic;
}

/* Its rows are the node's own: who made the Stream was asked for his rights then. Gives. Errors:
 * NO_MEMORY, which passes; others stay. */
static enum err stream_new(const struct service *service, const struct resource *r,
                           struct stream **out, struct why *why)
{
    const struct stream_spec *spec = r->spec;
    struct mapping_spec wanted;
    char table[SCHEMA_NAME_BYTES_MAX + 1], where[64] = "";
    struct stream *s = mem_alloc_zero(1, sizeof *s);
    if (!s) return ERR_NO_MEMORY;
    stream_mapping_spec(r, table, &wanted);
    s->broker = (struct broker_stream){.refs = 1,
                                       .free = free_stream,
                                       .holds_ack = spec->qos > 0,
                                       .drops = spec->on_error == STREAM_DROP};
    bool is_whole = str_copy(s->ns, sizeof s->ns, r->ns);
    is_whole &= str_copy(s->name, sizeof s->name, r->name);
    MUST(is_whole); /* RESOURCE_NAME_BYTES_MAX */
    (void)str_copy(s->uid, sizeof s->uid, str_of(r->uid));
    s->generation = r->generation;
    s->broker.identity = identity_new_in(s->ns, "stream", "engineer");
    enum err err =
        s->broker.identity ? mapping_new(&wanted, &s->mapping, where, why) : ERR_NO_MEMORY;
    if (!err && spec->format == MAPPING_SPARKPLUG &&
        !make_host(s, &spec->sparkplug, service->node_name))
        err = ERR_NO_MEMORY;
    if (err) {
        free_stream(&s->broker);
        return err;
    }
    s->broker.filter = mapping_filter(s->mapping);
    *out = s;
    return ERR_OK;
}

/* ---- all of them ---- */

static struct stream *find(const struct streams *streams, const struct resource *r)
{
    for (struct stream *s = streams->first; s; s = s->next)
        if (s->generation == r->generation && strcmp(s->uid, r->uid) == 0) return s;
    return NULL;
}

/* A list of shares: those that stay, and new ones. One for which there is no memory is left out,
 * and is_short then; was_short: that was told. */
static enum err make_list(struct streams *streams, bool was_short, struct broker_stream ***list,
                          size_t *count)
{
    const struct registry *registry = streams->service->registry;
    size_t at = 0, capacity = 0;
    for (const struct resource *r; (r = registry_next(registry, KIND_STREAM, &at));) {
        struct why why = WHY_NONE;
        struct stream *s = find(streams, r);
        if (!((const struct stream_spec *)r->spec)->enabled) continue;
        enum err err = mem_grow(list, &capacity, *count + 1, sizeof(struct broker_stream *));
        if (err) return err;
        if (s)
            (void)broker_stream_share(&s->broker);
        else
            err = stream_new(streams->service, r, &s, &why);
        if (!err) (*list)[(*count)++] = &s->broker;
        if (err && !(err == ERR_NO_MEMORY && was_short))
            diag(streams->service->context, DIAG_ERROR, component, "%.*s does not run%s: %s",
                 (int)r->name.size, r->name.at, err == ERR_NO_MEMORY ? " yet" : "",
                 why_text(&why, err));
        streams->is_short |= err == ERR_NO_MEMORY;
    }
    return ERR_OK;
}

static bool has_state(const struct stream *s, struct broker_stream *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct stream *other = (const struct stream *)list[i];
        if (strcmp(other->state_topic, s->state_topic) == 0 && strcmp(other->ns, s->ns) == 0)
            return true;
    }
    return false;
}

/* Who goes is offline, who comes is online. */
static void tell_states(struct streams *streams, struct broker_stream *const *list, size_t count)
{
    for (const struct stream *s = streams->first; s; s = s->next)
        if (!has_state(s, list, count)) say_state(streams->service, s, false);
    for (size_t i = 0; i < count; i++) {
        struct stream *s = (struct stream *)list[i];
        if (!s->is_announced) say_state(streams->service, s, true);
        s->is_announced = true;
    }
}

/* What is to come from an external broker, which knows the namespace default alone. */
static void tell_bridges(struct streams *streams, bool was_short, struct broker_stream *const *list,
                         size_t count)
{
    struct str *filters = mem_alloc_zero(count + 1, sizeof *filters);
    size_t wanted = 0;
    for (size_t i = 0; filters && i < count; i++)
        if (strcmp(((const struct stream *)list[i])->ns, "default") == 0)
            filters[wanted++] = list[i]->filter;
    enum err err =
        filters ? bridges_set_filters(streams->service->bridges, filters, wanted) : ERR_NO_MEMORY;
    streams->is_short |= err == ERR_NO_MEMORY;
    if (err && !(err == ERR_NO_MEMORY && was_short))
        diag(streams->service->context, DIAG_ERROR, component,
             "not all filters of Streams are taken from the external broker (mqtt.external): %s",
             err == ERR_LIMIT ? "there are too many; let some Streams share one" : err_text(err));
    mem_free(filters);
}

static void apply(struct streams *streams)
{
    struct broker_stream **list = NULL;
    size_t count = 0;
    bool was_short = streams->is_short;
    streams->is_short = false;
    enum err err = make_list(streams, was_short, &list, &count);
    if (!err) err = broker_set_streams(streams->service->broker, list, count);
    streams->is_short |= err == ERR_NO_MEMORY;
    if (err && !was_short)
        diag(streams->service->context, DIAG_ERROR, component, "the streams stay as they were: %s",
             err_text(err));
    if (!err) tell_states(streams, list, count);
    if (!err && streams->service->bridges) tell_bridges(streams, was_short, list, count);
    struct stream *old = streams->first, *fresh = NULL;
    for (size_t i = 0; i < count && err; i++) broker_stream_release(list[i]);
    for (struct stream *next; old && !err;
         old = next) { /* `next` of those that stay is set below */
        next = old->next;
        broker_stream_release(&old->broker);
    }
    for (size_t i = 0; i < count && !err; i++) {
        struct stream *s = (struct stream *)list[i];
        s->next = fresh;
        fresh = s;
    }
    if (!err) streams->first = fresh;
    mem_free(list);
    if (streams->is_short)
        streams->service->context->os->ops->timer_set(streams->timer, RETRY_NS);
    else if (was_short)
        diag(streams->service->context, DIAG_INFO, component, "all streams run");
}

static void on_retry(void *arg)
{
    struct streams *streams = arg;
    if (streams->service->streams == streams && streams->service->broker) apply(streams);
}

static void run_apply(struct job *job)
{
    struct streams *streams = (void *)((char *)job - offsetof(struct streams, job));
    streams->is_posted = false;
    if (streams->service->streams != streams || !streams->service->broker) return;
    apply(streams);
}

static void on_change(void *arg, const struct resource *old, const struct resource *now)
{
    struct streams *streams = arg;
    if ((now ? now : old)->kind != KIND_STREAM || streams->is_posted) return;
    streams->is_posted = true;
    loop_post(streams->service->context->main, &streams->job);
}

enum err streams_start(struct service *service, struct streams **out, struct why *why)
{
    struct streams *streams = mem_alloc_zero(1, sizeof *streams);
    MUST(service->broker);
    if (!streams) return why_set(why, ERR_NO_MEMORY, "no memory for streams");
    streams->service = service;
    streams->job.run = run_apply;
    enum err err = service->context->os->ops->timer_make(service->context->main->task, on_retry,
                                                         streams, &streams->timer);
    if (err) {
        mem_free(streams);
        return why_set(why, err, "no memory for streams");
    }
    registry_watch_all(service->registry, on_change, streams);
    *out = streams;
    apply(streams);
    return ERR_OK;
}

void streams_stop(struct streams *streams)
{
    if (!streams) return;
    MUST(!streams->is_posted); /* the node has run all jobs */
    registry_unwatch(streams->service->registry, streams);
    streams->service->context->os->ops->timer_close(streams->timer);
    while (streams->first) {
        struct stream *s = streams->first;
        streams->first = s->next;
        say_state(streams->service, s, false);
        broker_stream_release(&s->broker);
    }
    mem_free(streams);
}

const struct stream *streams_next(const struct streams *streams, const struct stream *before)
{
    return before ? before->next : streams ? streams->first : NULL;
}
