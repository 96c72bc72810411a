/* trace.c - see trace.h.
 *
 * A trace goes to and fro: while it is `here`, lines are gathered; at the end of a turn it goes to
 * the main loop with them, and comes back when they are fetched. Meanwhile the next lines gather in
 * a second buffer. One job carries it both ways, so it is never queued twice; the wish to stop has
 * a job of its own, and so has the broker's end. Who has it last frees it.
 *
 * Three parts of the struct have three owners at any time: what is set at its making and read by
 * all, the broker's, the main loop's. `sent` belongs to whoever the trace is with.
 *
 * What goes out is read again from the output's bytes before they are flushed (trace_output):
 * packets are written in many places, and so none of them needs to know of traces, nor pays while
 * there are none. */
#include "mqtt/trace.h"
#include "base/timetext.h"
#include "mqtt/broker_priv.h"
#include "mqtt/topic.h"
#include <inttypes.h>
#include <string.h>

struct broker_trace {
    struct job job, stop_job, over_job;
    struct broker *broker;
    struct broker_trace *next;
    struct broker_trace_events events;
    void *owner;
    /* the broker's */
    struct buf lines, sent;
    uint64_t dropped;
    bool is_here, is_quiet, is_ended;
    /* the main loop's */
    bool is_stopped, is_over;
    bool sees_logins;
    size_t ns_size, client_size, filter_size;
    char text[]; /* namespace, client identifier, filter */
};

static struct str client_of(const struct broker_trace *t)
{
    return (struct str){t->text + t->ns_size, t->client_size};
}

static struct str filter_of(const struct broker_trace *t)
{
    return (struct str){t->text + t->ns_size + t->client_size, t->filter_size};
}

static void free_trace(struct broker_trace *t)
{
    atomic_fetch_sub(&t->broker->trace_count, 1);
    buf_free(&t->lines);
    buf_free(&t->sent);
    mem_free(t);
}

static struct broker_trace *of_job(struct job *job)
{
    return (struct broker_trace *)job;
}

/* ---- lines ---- */

static void add_flags(struct buf *out, const struct mqtt_publish *p, struct str topic)
{
    buf_add_text(out, ",\"topic\":");
    buf_add_json(out, topic);
    buf_printf(out, ",\"qos\":%u,\"retain\":%s,\"dup\":%s,\"payloadBytes\":%zu", p->qos,
               p->retain ? "true" : "false", p->dup ? "true" : "false", p->payload.size);
    if (p->packet_id) buf_printf(out, ",\"id\":%u", p->packet_id);
}

static void add_filters(struct buf *out, const struct connection *c, const struct mqtt_packet *p)
{
    struct mqtt_filter filter;
    size_t n = 0;
    buf_add_text(out, ",\"filters\":[");
    for (struct str rest = p->rest;
         mqtt_next_filter(p, (enum mqtt_version)c->version, &rest, &filter);) {
        if (n++) buf_add_char(out, ',');
        buf_add_json(out, filter.filter);
    }
    buf_add_char(out, ']');
}

static void add_reason(struct buf *out, uint8_t reason)
{
    buf_add_text(out, ",\"reason\":");
    buf_add_json(out, str_of(mqtt_reason_name((enum mqtt_reason)reason)));
}

static bool has_reason(const struct mqtt_packet *p)
{
    switch (p->type) {
    case MQTT_CONNACK:
    case MQTT_PUBACK:
    case MQTT_PUBREC:
    case MQTT_PUBREL:
    case MQTT_PUBCOMP:
    case MQTT_DISCONNECT:
    case MQTT_AUTH: return true;
    default: return false;
    }
}

struct traced {
    const struct connection *connection;
    const struct mqtt_packet *packet;
    struct str client_id, topic;
    size_t size;
    bool is_in;
};

/* A line that finds no room is counted, and the number stands before the next that does. */
static void add_line(struct broker_trace *t, const struct traced *w)
{
    struct buf *out = &t->lines;
    const struct mqtt_packet *p = w->packet;
    if (out->size > TRACE_BYTES_MAX) {
        t->dropped++;
        return;
    }
    size_t before = out->size;
    if (t->dropped) buf_printf(out, "{\"dropped\":%" PRIu64 "}\n", t->dropped);
    buf_add_text(out, "{\"time\":\"");
    buf_add_time(out, loop_wall_ns(&t->broker->loop));
    buf_printf(out, "\",\"direction\":\"%s\",\"client\":", w->is_in ? "in" : "out");
    buf_add_json(out, w->client_id);
    buf_printf(out, ",\"peer\":\"%s\",\"packet\":\"%s\",\"bytes\":%zu",
               connection_peer(w->connection), mqtt_type_name(p->type), w->size);
    if (p->type == MQTT_PUBLISH)
        add_flags(out, &p->publish, w->topic);
    else if (p->packet_id)
        buf_printf(out, ",\"id\":%u", p->packet_id);
    if (p->type == MQTT_SUBSCRIBE || p->type == MQTT_UNSUBSCRIBE)
        add_filters(out, w->connection, p);
    for (size_t i = 0; p->type == MQTT_SUBACK && i < p->rest.size; i++) {
        buf_add_text(out, i ? ",\"" : ",\"reasons\":[\"");
        buf_printf(out, "%s\"%s", mqtt_reason_name((enum mqtt_reason)(uint8_t)p->rest.at[i]),
                   i + 1 == p->rest.size ? "]" : "");
    }
    if (has_reason(p)) add_reason(out, p->reason);
    buf_add_text(out, "}\n");
    if (!buf_failed(out)) {
        t->dropped = 0;
        return;
    }
    out->failed = false; /* what was whole stays */
    out->size = before;
    t->dropped++;
}

/* ---- what fits ---- */

/* Of a filter that is traced, who asks for it is told, too. */
static bool subscribes_to(const struct traced *w, struct str wanted)
{
    struct mqtt_filter filter;
    const struct mqtt_packet *p = w->packet;
    if (p->type != MQTT_SUBSCRIBE && p->type != MQTT_UNSUBSCRIBE) return false;
    for (struct str rest = p->rest;
         mqtt_next_filter(p, (enum mqtt_version)w->connection->version, &rest, &filter);)
        if (str_equal(filter.filter, wanted)) return true;
    return false;
}

static bool is_among(const struct broker_trace *t, const struct session *s)
{
    return str_is((struct str){t->text, t->ns_size}, session_space(s)->ns);
}

/* A client's packets by its name, once it is known whose it is; messages by their topic. */
static bool fits(const struct broker_trace *t, const struct traced *w)
{
    const struct session *s = w->connection->session;
    if (t->is_quiet || !(s ? is_among(t, s) : t->sees_logins)) return false;
    if (t->client_size) return str_equal(client_of(t), w->client_id);
    return (w->packet->type == MQTT_PUBLISH && topic_matches(filter_of(t), w->topic)) ||
           subscribes_to(w, filter_of(t));
}

/* A PUBLISH may bring an alias instead of its topic. */
static struct str topic_of(const struct connection *c, const struct mqtt_packet *p, bool is_in)
{
    uint32_t alias = mqtt_number(&p->properties, MQTT_PROPERTY_TOPIC_ALIAS, 0);
    size_t at = 0;
    struct str topic;
    void *known;
    if (p->publish.topic.size || !alias) return p->publish.topic;
    if (is_in)
        return c->aliases && c->aliases->in && alias <= c->aliases->in->count &&
                       c->aliases->in->topics[alias - 1]
                   ? message_topic(c->aliases->in->topics[alias - 1])
                   : STR("");
    while (c->aliases && c->aliases->out && map_next(c->aliases->out, &at, &topic, &known))
        if ((uintptr_t)known == alias) return topic;
    return STR("");
}

void trace_packet(struct connection *c, const struct mqtt_packet *p, size_t size, bool is_in)
{
    MUST(connection_is_valid(c));
    struct traced w = {.connection = c, .packet = p, .size = size, .is_in = is_in};
    w.client_id = p->type == MQTT_CONNECT ? p->connect.client_id
                  : c->session            ? session_client_id(c->session)
                                          : connection_asked_id(c); /* a login that is refused */
    if (p->type == MQTT_PUBLISH) w.topic = topic_of(c, p, is_in);
    for (struct broker_trace *t = c->broker->traces; t; t = t->next)
        if (fits(t, &w)) add_line(t, &w);
}

void trace_output(struct connection *c)
{
    MUST(connection_is_valid(c));
    while (c->traced < connection_out_size(c)) {
        struct mqtt_frame frame;
        struct mqtt_packet packet;
        struct why why = WHY_NONE;
        const char *at = c->out->at + c->traced;
        if (mqtt_frame_read((const uint8_t *)at, connection_out_size(c) - c->traced,
                            MQTT_REMAINING_MAX, &frame))
            break;
        struct str body = {at + frame.header_size, frame.body_size};
        size_t size = frame.header_size + frame.body_size;
        MUST(size <= connection_out_size(c) - c->traced); /* packets are written whole */
        if (!mqtt_packet_read(frame.first, body, (enum mqtt_version)c->version, c->is_dialled,
                              &packet, &why))
            trace_packet(c, &packet, size, false);
        c->traced += (uint32_t)size;
    }
}

/* ---- to and fro ---- */

static void leave_and_free(struct broker_trace *t)
{
    struct broker_trace **at = &t->broker->traces;
    while (*at != t) at = &(*at)->next;
    *at = t->next;
    free_trace(t);
}

static void come_back(struct job *job) /* broker's task */
{
    struct broker_trace *t = of_job(job);
    buf_clear(&t->sent);
    if (t->is_ended) return; /* over_job is on its way */
    t->is_here = true;
    if (t->is_quiet) leave_and_free(t);
}

/* Who has stopped it in between gets nothing more. */
static void deliver(struct job *job) /* main loop */
{
    struct broker_trace *t = of_job(job);
    if (!t->is_stopped)
        t->events.on_lines(t->owner, buf_str(&t->sent));
    else if (t->broker->is_started)
        broker_trace_more(t); /* home, to be freed there */
}

void trace_post(struct broker *broker)
{
    for (struct broker_trace *t = broker->traces; t; t = t->next) {
        if (!t->is_here || !t->lines.size) continue;
        struct buf empty = t->sent;
        t->sent = t->lines;
        t->lines = empty;
        t->is_here = false;
        t->job.run = deliver;
        loop_post(broker->context->main, &t->job);
    }
}

static void stop(struct job *job) /* broker's task */
{
    struct broker_trace *t = (void *)((char *)job - offsetof(struct broker_trace, stop_job));
    t->is_quiet = true;
    if (t->is_here && !t->is_ended) leave_and_free(t);
}

static void be_over(struct job *job) /* main loop; nothing else is under way by now */
{
    struct broker_trace *t = (void *)((char *)job - offsetof(struct broker_trace, over_job));
    t->is_over = true;
    if (t->is_stopped)
        free_trace(t);
    else
        t->events.on_over(t->owner);
}

void trace_stop_all(struct broker *broker)
{
    while (broker->traces) {
        struct broker_trace *t = broker->traces;
        broker->traces = t->next;
        t->is_ended = true;
        t->over_job.run = be_over;
        loop_post(broker->context->main, &t->over_job);
    }
}

static void begin(struct job *job) /* broker's task */
{
    struct broker_trace *t = of_job(job);
    t->is_here = true;
    t->next = t->broker->traces;
    t->broker->traces = t;
    if (t->broker->is_stopping) trace_stop_all(t->broker);
}

/* ---- main loop ---- */

enum err broker_trace_start(struct broker *broker, const struct broker_trace_wish *wish,
                            const struct broker_trace_events *events, void *owner,
                            struct broker_trace **out, struct why *why)
{
    struct str ns = wish->ns, client_id = wish->client_id, filter = wish->filter;
    MUST(broker->is_started && ns.size && !client_id.size != !filter.size);
    if (atomic_load(&broker->trace_count) >= TRACES_MAX)
        return why_set(why, ERR_BUSY, "%d traces are under way already", TRACES_MAX);
    struct broker_trace *t = mem_alloc_zero(1, sizeof *t + ns.size + client_id.size + filter.size);
    if (!t) return why_set(why, ERR_NO_MEMORY, "no memory for a trace");
    atomic_fetch_add(&broker->trace_count, 1);
    t->broker = broker;
    t->events = *events;
    t->owner = owner;
    t->sees_logins = wish->sees_logins;
    t->ns_size = ns.size;
    t->client_size = client_id.size;
    t->filter_size = filter.size;
    memcpy(t->text, ns.at, ns.size);
    if (client_id.size) memcpy(t->text + ns.size, client_id.at, client_id.size);
    if (filter.size) memcpy(t->text + ns.size + client_id.size, filter.at, filter.size);
    t->job.run = begin;
    loop_post(&broker->loop, &t->job);
    *out = t;
    return ERR_OK;
}

void broker_trace_more(struct broker_trace *t)
{
    if (!t->broker->is_started) return; /* over_job is on its way, or was here */
    t->job.run = come_back;
    loop_post(&t->broker->loop, &t->job);
}

void broker_trace_stop(struct broker_trace *t)
{
    MUST(!t->is_stopped);
    t->is_stopped = true;
    if (t->is_over) {
        free_trace(t);
    } else if (t->broker->is_started) {
        t->stop_job.run = stop;
        loop_post(&t->broker->loop, &t->stop_job);
    }
}
