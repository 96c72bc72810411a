/* mqtt_trace_http.c - GET /v1/mqtt/trace: what goes between the broker and a client, or on a topic,
 * as lines of JSON, as long as the reader stays.
 *
 * It shows other people's traffic (names, topics and sizes, no payloads): of one client it needs
 * the right to list that MqttClient, of topics to list all. The right is looked at again with each
 * delivery. A reader that is slow holds up nobody: the broker drops lines and says how many. */
#include "listeners/api.h"
#include "mqtt/topic.h"
#include "mqtt/trace.h"

struct tracing {
    struct service *service;
    struct http_exchange *exchange;
    struct broker_trace *trace;
    struct identity *identity;
    struct str ns, client_id; /* of the exchange */
    bool is_busy, is_gone, waits;
};

static void end(struct tracing *t, enum err err)
{
    struct http_exchange *exchange = t->exchange;
    if (t->trace) broker_trace_stop(t->trace);
    identity_release(t->identity);
    mem_free(t);
    http_end(exchange, err);
}

/* `ns` without text = in every namespace. */
static bool may(const struct identity *identity, struct str ns, struct str client_id)
{
    return access_scope(identity, VERB_LIST, "MqttClient", ns, client_id) == ACCESS_ALL;
}

/* Whether the reader may go on reading. */
static bool holds(struct tracing *t)
{
    struct identity *now = access_renew(t->service->access, t->identity);
    if (!now) return false;
    identity_release(t->identity);
    t->identity = now;
    return may(now, t->ns, t->client_id);
}

static void on_lines(void *owner, struct str lines)
{
    struct tracing *t = owner;
    if (!holds(t)) {
        end(t, ERR_UNAUTHENTICATED);
        return;
    }
    t->is_busy = true;
    http_send(t->exchange, lines, &t->waits);
    t->is_busy = false;
    if (t->is_gone)
        end(t, ERR_CLOSED);
    else if (!t->waits)
        broker_trace_more(t->trace);
}

static void on_over(void *owner)
{
    end(owner, ERR_OK);
}

static void on_drained(void *arg)
{
    struct tracing *t = arg;
    if (!t->waits || t->is_busy) return;
    t->waits = false;
    broker_trace_more(t->trace);
}

static void on_gone(void *arg)
{
    struct tracing *t = arg;
    t->is_gone = true;
    if (!t->is_busy) end(t, ERR_CLOSED);
}

static const struct broker_trace_events events = {.on_lines = on_lines, .on_over = on_over};

static enum err read_request(struct http_exchange *exchange, struct service *service,
                             struct broker_trace_wish *wish, struct why *why)
{
    struct str *client_id = &wish->client_id, *filter = &wish->filter;
    const struct identity *who = api_identity(exchange);
    wish->ns = api_mqtt_ns(exchange);
    if (!http_query(exchange, "client", client_id)) *client_id = STR("");
    if (!http_query(exchange, "topic", filter)) *filter = STR("");
    if (!client_id->size == !filter->size)
        return why_set(why, ERR_INVALID, "say of whom: ?client=ID, or ?topic=FILTER");
    if (filter->size && !topic_filter_is_valid(*filter))
        return why_set(why, ERR_INVALID, "topic: '%.*s' is no topic filter", (int)filter->size,
                       filter->at);
    wish->sees_logins = may(who, (struct str){0}, *client_id);
    if (!may(who, wish->ns, *client_id))
        return access_check(who, VERB_LIST, "MqttClient", wish->ns,
                            filter->size ? STR("*") : *client_id, STR(""), why)
                   ? ERR_FORBIDDEN
                   : why_set(why, ERR_FORBIDDEN, "a trace needs list on MqttClient");
    return service->broker ? ERR_OK : why_set(why, ERR_BUSY, "the broker does not run just now");
}

void api_mqtt_trace(struct http_exchange *exchange, void *arg)
{
    struct service *service = arg;
    struct broker_trace_wish wish;
    struct why why = WHY_NONE;
    struct tracing *t = NULL;
    enum err err = read_request(exchange, service, &wish, &why);
    if (!err && !(t = mem_alloc_zero(1, sizeof *t))) err = ERR_NO_MEMORY;
    if (!err) err = broker_trace_start(service->broker, &wish, &events, t, &t->trace, &why);
    if (err) {
        mem_free(t);
        http_reply_error(exchange, err, &why);
        return;
    }
    t->service = service;
    t->exchange = exchange;
    t->identity = identity_share(api_identity(exchange));
    t->ns = wish.ns;
    t->client_id = wish.client_id;
    t->is_busy = true;
    http_on_gone(exchange, on_gone, t);
    http_on_drained(exchange, on_drained, t);
    http_begin(exchange, 200, "application/x-ndjson");
    t->is_busy = false;
    if (t->is_gone) end(t, ERR_CLOSED);
}
