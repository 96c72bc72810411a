/* asks.c - see asks.h: which messages are commands, who may not ask, and the answers.
 *
 * Called for each PUBLISH that is routed (packets_in.c), before it is. A command is copied, since
 * the packet's bytes are gone when the hook answers; the copy goes to the hook and stands in the
 * broker's list meanwhile, whose length is bounded (ASKS_MAX). What is turned down without asking
 * is answered here in the same words.
 *
 * The answers are messages of the node itself: they go out with the QoS of the command, to topics
 * that the command named or implied, and only where its client might publish, too. They are no
 * commands: a topic that ends in /reply asks nothing. */
#include "base/timetext.h"
#include "mqtt/bridge_priv.h"
#include "mqtt/watch.h"
#include <string.h>

enum { ASKS_MAX = 256, PAYLOAD_BYTES_MAX = 64 * 1024 };
#define TOLD_NS (10 * TIME_NS_PER_S) /* between two lines: who may publish can do so often */

bool asks_split(struct str topic, struct str prefix, struct str *device, struct str *point)
{
    if (!str_starts(topic, prefix.at)) return false;
    struct str rest = {topic.at + prefix.size, topic.size - prefix.size};
    size_t at = rest.size;
    while (at && rest.at[at - 1] != '/') at--;
    if (at < 2 || at == rest.size) return false;
    *device = (struct str){rest.at, at - 1};
    *point = (struct str){rest.at + at, rest.size - at};
    return true;
}

/* What the answers themselves are published on: else an answer would be the next question. */
static bool is_reply(struct str topic)
{
    static const char end[] = "/reply";
    size_t size = sizeof end - 1;
    return topic.size >= size && memcmp(topic.at + topic.size - size, end, size) == 0;
}

/* ---- the answer ---- */

/* An answer is lost for lack of memory only, and counted: who asked sees none and asks again. */
static void publish(struct broker *broker, struct str topic, const struct broker_ask *ask,
                    struct str payload)
{
    struct buf properties = BUF_EMPTY;
    bool has_data = ask->correlation.size > 0, logged;
    if (has_data)
        mqtt_write_property(&properties, MQTT_PROPERTY_CORRELATION_DATA,
                            buf_str(&ask->correlation));
    struct mqtt_properties given = {.present = has_data ? 1u << MQTT_PROPERTY_CORRELATION_DATA : 0,
                                    .raw = buf_str(&properties)};
    struct message_parts parts = {.topic = topic,
                                  .payload = payload,
                                  .properties = &given,
                                  .qos = ask->qos,
                                  .serial = ++broker->last_serial};
    struct message *m = buf_failed(&properties) ? NULL : message_new(&parts, &broker->memory);
    struct space *space = m ? space_get(broker, str_of(ask->identity->ns)) : NULL;
    if (space)
        (void)broker_publish(space, m, NULL, 0, &logged);
    else
        metric_add(broker->context, METRIC_MQTT_DROPPED_MEMORY, 1);
    message_release(m);
    buf_free(&properties);
}

/* To where answers always go and, unless that is the same, to where the command wanted it. */
static void reply(struct broker_ask *ask)
{
    struct buf topic = BUF_EMPTY;
    struct str payload = buf_str(&ask->reply), response = buf_str(&ask->response);
    buf_add_str(&topic, buf_str(&ask->topic));
    buf_add_text(&topic, "/reply");
    if (!buf_failed(&topic)) publish(ask->broker, buf_str(&topic), ask, payload);
    if (response.size && !str_equal(response, buf_str(&topic)))
        publish(ask->broker, response, ask, payload);
    buf_free(&topic);
}

void broker_ask_free(struct broker_ask *ask)
{
    identity_release(ask->identity);
    buf_free(&ask->topic);
    buf_free(&ask->payload);
    buf_free(&ask->response);
    buf_free(&ask->correlation);
    buf_free(&ask->reply);
    mem_free(ask);
}

/* It stands in the list until here, so the list says how many are under way. */
static void finish(struct job *job)
{
    struct broker_ask *ask = (struct broker_ask *)job;
    struct broker *broker = ask->broker;
    MUST(broker_is_valid(broker) && broker->asks.count > 0);
    broker->now_ns = loop_mono_ns(&broker->loop);
    struct broker_ask **at = &broker->asks.first;
    while (*at != ask) at = &(*at)->next;
    *at = ask->next;
    broker->asks.count--;
    if (ask->prefix[0]) reply(ask);
    broker_ask_free(ask);
}

void broker_ask_done(struct broker_ask *ask)
{
    ask->job.run = finish;
    loop_post(&ask->broker->loop, &ask->job);
}

void asks_disown(struct broker *broker)
{
    broker->asks = (struct asks){0};
}

/* ---- asking ---- */

/* The node publishes only where the client itself might. */
static bool may_answer_to(const struct connection *c, struct str topic)
{
    const struct access_client client = {.id = session_client_id(c->session),
                                         .certificate = connection_certificate(c)};
    return topic.size && !str_starts(topic, "$") &&
           access_check_topic(c->session->identity, VERB_PUBLISH, &client, topic) == ERR_OK;
}

/* A copy of what is asked, with the rights of now. NULL: no memory. */
static struct broker_ask *make(struct connection *c, const struct mqtt_packet *p, bool is_edge)
{
    struct broker_ask *ask = mem_alloc_zero(1, sizeof *ask);
    struct str response = mqtt_text(&p->properties, MQTT_PROPERTY_RESPONSE_TOPIC);
    if (!ask) return NULL;
    ask->broker = c->broker;
    ask->identity = identity_share(c->session->identity);
    ask->qos = p->publish.qos;
    if (!is_edge)
        (void)str_copy(ask->prefix, sizeof ask->prefix, str_of(c->broker->config.cmd_prefix));
    char room[BROKER_CLIENT_SHORT_BYTES];
    (void)str_copy(ask->client, sizeof ask->client,
                   session_short(session_client_id(c->session), room));
    buf_add_str(&ask->topic, p->publish.topic);
    buf_add_str(&ask->payload, p->publish.payload);
    if (may_answer_to(c, response)) buf_add_str(&ask->response, response);
    buf_add_str(&ask->correlation, mqtt_text(&p->properties, MQTT_PROPERTY_CORRELATION_DATA));
    if (!buf_failed(&ask->topic) && !buf_failed(&ask->payload) && !buf_failed(&ask->response) &&
        !buf_failed(&ask->correlation))
        return ask;
    broker_ask_free(ask);
    return NULL;
}

/* Why it is not even given to the hook; NULL: it is. */
static const char *refusal(const struct connection *c, const struct mqtt_packet *p)
{
    if (p->publish.retain)
        return "a retained message asks for nothing: send the command without the retain flag";
    if (p->publish.payload.size > PAYLOAD_BYTES_MAX) return "a command of more than 64 KiB";
    if (c->bridge && !c->bridge->settings->commands)
        return "what comes in through this Bridge writes to no equipment: its commands: is false";
    if (c->broker->asks.count >= ASKS_MAX)
        return "256 commands are being carried out already; send this one again";
    return NULL;
}

static bool is_command(const struct broker *broker, struct str topic)
{
    const char *prefix = broker->config.cmd_prefix;
    return prefix[0] && str_starts(topic, prefix) && !is_reply(topic);
}

/* A command that goes nowhere. */
static void turn_down(struct broker_ask *ask, const char *why)
{
    MUST(!ask->reply.size);
    struct broker *broker = ask->broker;
    metric_add(broker->context, METRIC_MQTT_COMMANDS_REFUSED, 1);
    if (ask->prefix[0]) {
        buf_printf(&ask->reply, "{\"id\":null,\"ok\":false,\"error\":\"%s\"}", why);
        reply(ask);
    } else if (!broker->asks.told_ns || broker->now_ns - broker->asks.told_ns > TOLD_NS) {
        broker->asks.told_ns = broker->now_ns;
        diag(broker->context, DIAG_WARNING, "mqtt", "%.*s of client %s: %s", (int)ask->topic.size,
             ask->topic.at, ask->client, why);
    }
    broker_ask_free(ask);
}

void asks_take(struct connection *c, const struct mqtt_packet *p)
{
    MUST(connection_is_valid(c) && c->session);
    struct broker *broker = c->broker;
    bool is_edge = watches_command(session_space(c->session), p->publish.topic, p->publish.payload);
    if (!broker->hooks.ask || !p->publish.payload.size ||
        (!is_edge && !is_command(broker, p->publish.topic)))
        return;
    struct broker_ask *ask = make(c, p, is_edge);
    if (!ask) {
        limits_act(broker, LIMIT_MEMORY, connection_peer(c));
        return;
    }
    metric_add(broker->context, METRIC_MQTT_COMMANDS, 1);
    const char *why = refusal(c, p);
    if (why) {
        turn_down(ask, why);
        return;
    }
    ask->next = broker->asks.first;
    broker->asks.first = ask;
    broker->asks.count++;
    broker->hooks.ask(broker->hooks.arg, ask);
}
