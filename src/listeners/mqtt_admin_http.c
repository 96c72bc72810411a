/* mqtt_admin_http.c - what is done to the broker over HTTP: clients are sent away, subscriptions
 * taken, retained messages forgotten, messages published.
 *
 * What changes something for others has its line in the audit log before it happens; a refused
 * attempt has one, too. Publishing has none, as it has none over MQTT. */
#include "base/base64.h"
#include "base/num.h"
#include "listeners/api.h"
#include "mqtt/command.h"
#include "mqtt/topic.h"
#include "resource/doc.h"
#include <stdio.h>

enum { REASON_BYTES = 256 };

struct order {
    struct broker_command op; /* first */
    struct http_exchange *exchange;
    struct service *service;
    struct completion audited;
    struct buf properties;
    bool tells_reached;
    char reason[REASON_BYTES], *payload; /* payload: decoded; of the exchange's arena */
};

struct str api_mqtt_ns(struct http_exchange *exchange)
{
    struct str ns;
    return http_query(exchange, "ns", &ns) && ns.size ? ns : STR("default");
}

/* NULL: no memory. */
static struct order *order_new(struct http_exchange *exchange, struct service *service,
                               enum broker_order what)
{
    struct order *o = mem_alloc_zero(1, sizeof *o);
    if (!o) return NULL;
    o->exchange = exchange;
    o->service = service;
    o->op.order = what;
    o->op.ns = api_mqtt_ns(exchange);
    return o;
}

static void order_free(struct order *o)
{
    if (o) buf_free(&o->properties);
    mem_free(o);
}

static void refuse(struct order *o, struct http_exchange *exchange, enum err err,
                   const struct why *why)
{
    http_reply_error(exchange, err, why);
    order_free(o);
}

static void on_done(struct completion *c)
{
    struct order *o = (struct order *)c;
    char text[64];
    snprintf(text, sizeof text, "{\"subscribers\":%zu}", o->op.reached);
    if (c->err)
        http_reply_error(o->exchange, c->err, &c->why);
    else if (o->tells_reached)
        http_reply(o->exchange, 200, "application/json", str_of(text));
    else
        http_reply(o->exchange, 204, NULL, STR(""));
    order_free(o);
}

static void give(struct order *o)
{
    struct why why = WHY_NONE;
    if (!o->service->broker) {
        (void)why_set(&why, ERR_BUSY, "the broker does not run just now");
        refuse(o, o->exchange, ERR_BUSY, &why);
        return;
    }
    completion_init(&o->op.completion, o->service->context->main, on_done);
    broker_command(o->service->broker, &o->op);
}

/* ---- with a line in the audit log ---- */

static void on_audited(struct completion *c)
{
    struct order *o = (struct order *)(void *)((char *)c - offsetof(struct order, audited));
    enum err err = c->err ? c->err : o->service->stopping ? ERR_CANCELLED : ERR_OK;
    if (err)
        refuse(o, o->exchange, err, &c->why);
    else
        give(o);
}

/* `err`: it is refused, which is told, too. */
static void audit(struct order *o, enum access_verb verb, const char *kind, struct str name,
                  struct str detail, enum err err, const struct why *why)
{
    struct service *service = o->service;
    struct audit_entry entry = {.user = str_of(api_identity(o->exchange)->user),
                                .verb = str_of(access_verb_name(verb)),
                                .kind = str_of(kind),
                                .ns = o->op.ns,
                                .path = name,
                                .detail = detail,
                                .outcome = err ? STR("forbidden") : STR("asked")};
    completion_init(&o->audited, service->context->main, on_audited);
    if (!err) {
        audit_append_durable(service->audit, &entry, &o->audited);
        return;
    }
    if (audit_rate_add(&service->refusals, service->audit, &entry,
                       context_mono_ns(service->context)))
        diag(service->context, DIAG_ERROR, "mqtt", "the audit log takes no lines");
    refuse(o, o->exchange, err, why);
}

/* ---- clients ---- */

void api_mqtt_kick(struct http_exchange *exchange, void *arg)
{
    struct order *o = order_new(exchange, arg, BROKER_KICK);
    struct str text, id = http_request_of(exchange)->params[0];
    struct why why = WHY_NONE;
    if (!o) {
        refuse(o, exchange, ERR_NO_MEMORY, &why);
        return;
    }
    o->op.client_id = id;
    o->op.ends_session = http_query(exchange, "session", &text) && str_is(text, "true");
    bool has_reason = http_query(exchange, "reason", &text) && str_trim(text).size;
    if (!has_reason) text = STR("sent away by an operator");
    if (!mqtt_text_is_valid(text) || !str_copy(o->reason, sizeof o->reason, text)) {
        enum err err = why_set(&why, ERR_INVALID, "reason must be a text of at most %d bytes",
                               REASON_BYTES - 1);
        refuse(o, exchange, err, &why);
        return;
    }
    o->op.reason = o->reason;
    enum err err = access_check(api_identity(exchange), VERB_DELETE, "MqttClient", o->op.ns, id,
                                STR(""), &why);
    audit(o, VERB_DELETE, "MqttClient", id, text, err, &why);
}

void api_mqtt_unsubscribe(struct http_exchange *exchange, void *arg)
{
    struct order *o = order_new(exchange, arg, BROKER_UNSUBSCRIBE);
    const struct http_request *request = http_request_of(exchange);
    struct doc *doc = NULL;
    struct why why = WHY_NONE;
    enum err err =
        o ? doc_read_json(request->body, http_arena(exchange), &doc, &why) : ERR_NO_MEMORY;
    if (!err && !doc_text(doc_get(doc, "filter")).size)
        err = why_set(&why, ERR_INVALID, "send {\"filter\":…}");
    if (err) {
        refuse(o, exchange, err, &why);
        return;
    }
    o->op.client_id = request->params[0];
    o->op.filter = doc_text(doc_get(doc, "filter"));
    err = access_check(api_identity(exchange), VERB_UPDATE, "MqttClient", o->op.ns, o->op.client_id,
                       STR(""), &why);
    audit(o, VERB_UPDATE, "MqttClient", o->op.client_id, o->op.filter, err, &why);
}

void api_mqtt_unban(struct http_exchange *exchange, void *arg)
{
    struct order *o = order_new(exchange, arg, BROKER_UNBAN);
    const struct http_request *request = http_request_of(exchange);
    struct str kind = request->params[0], name = request->params[1];
    struct why why = WHY_NONE;
    if (!o || !(str_is(kind, "client") || str_is(kind, "address"))) {
        enum err err =
            o ? why_set(&why, ERR_NOT_FOUND, "bans are of a client or an address") : ERR_NO_MEMORY;
        refuse(o, exchange, err, &why);
        return;
    }
    *(str_is(kind, "client") ? &o->op.client_id : &o->op.topic) = name;
    o->op.ns = STR(""); /* who is banned is so in all of them */
    enum err err = access_check(api_identity(exchange), VERB_DELETE, "MqttClient", STR(""), name,
                                STR(""), &why);
    audit(o, VERB_DELETE, "MqttBan", name, kind, err, &why);
}

/* ---- messages ---- */

static enum err may_publish(struct http_exchange *exchange, struct str topic, struct why *why)
{
    if (topic_is_own(topic))
        return why_set(why, ERR_FORBIDDEN, "topics under $SYS and $dead are the broker's own");
    struct str ns = api_mqtt_ns(exchange);
    enum err err = resource_check_namespace(ns, why);
    if (err) return why_wrap(why, err, "?ns=");
    return access_check(api_identity(exchange), VERB_PUBLISH, "", ns, STR(""), topic, why);
}

void api_mqtt_forget(struct http_exchange *exchange, void *arg)
{
    struct order *o = order_new(exchange, arg, BROKER_PUBLISH);
    struct why why = WHY_NONE;
    if (!o || !http_query(exchange, "topic", &o->op.topic) || !o->op.topic.size) {
        enum err err = o ? why_set(&why, ERR_INVALID, "say which: ?topic=NAME") : ERR_NO_MEMORY;
        refuse(o, exchange, err, &why);
        return;
    }
    o->op.retain = true; /* nothing, retained: the old one goes (MQTT 5.0 section 3.3.1.3) */
    o->op.qos = 1;
    enum err err = may_publish(exchange, o->op.topic, &why);
    audit(o, VERB_DELETE, "MqttRetained", o->op.topic, STR(""), err, &why);
}

/* X: what a property is called in JSON. */
static const struct {
    const char *name;
    enum mqtt_property property;
    bool is_number;
} property_names[] = {
    {"payloadFormat", MQTT_PROPERTY_PAYLOAD_FORMAT, true},
    {"contentType", MQTT_PROPERTY_CONTENT_TYPE, false},
    {"responseTopic", MQTT_PROPERTY_RESPONSE_TOPIC, false},
    {"correlationData", MQTT_PROPERTY_CORRELATION_DATA, false},
};
enum { PROPERTY_NAMES = sizeof property_names / sizeof property_names[0] };

static enum err take_property(struct order *o, struct str key, const struct doc *value,
                              struct why *why)
{
    struct str text = doc_text(value);
    uint64_t n = 0;
    bool is_number = value->kind == DOC_NUMBER && num_parse_u64(text, &n) && n <= UINT32_MAX;
    if (str_is(key, "messageExpiry") && is_number) {
        o->op.has_expiry = true;
        o->op.expiry_s = (uint32_t)n;
        return ERR_OK;
    }
    for (size_t i = 0; i < PROPERTY_NAMES; i++) {
        if (!str_is(key, property_names[i].name)) continue;
        if (property_names[i].is_number && is_number && n <= 1) {
            mqtt_write_number(&o->properties, property_names[i].property, (uint32_t)n);
            return ERR_OK;
        }
        bool is_topic = property_names[i].property == MQTT_PROPERTY_RESPONSE_TOPIC;
        if (is_topic && !topic_name_is_valid(text)) /* no packet may hold it (3.3.2.3.5) */
            return why_set(why, ERR_INVALID,
                           "properties.responseTopic: must be a topic to publish to, not empty and "
                           "without wildcards");
        if (!property_names[i].is_number && value->kind == DOC_STRING && mqtt_text_is_valid(text) &&
            text.size <= MQTT_TEXT_BYTES_MAX) {
            mqtt_write_property(&o->properties, property_names[i].property, text);
            return ERR_OK;
        }
    }
    for (size_t i = 0; str_is(key, "user") && value->kind == DOC_MAP && i < value->count; i++) {
        struct str name = value->items[i].key, one = doc_text(value->items[i].value);
        if (!mqtt_text_is_valid(name) || !mqtt_text_is_valid(one) ||
            name.size > MQTT_TEXT_BYTES_MAX || one.size > MQTT_TEXT_BYTES_MAX)
            break;
        mqtt_write_user_property(&o->properties, name, one);
        if (i + 1 == value->count) return ERR_OK;
    }
    return why_set(why, ERR_INVALID,
                   "properties.%.*s: there are payloadFormat (0, 1), contentType, responseTopic, "
                   "correlationData, messageExpiry (seconds), user ({name: text})",
                   (int)key.size, key.at);
}

static enum err take_payload(struct order *o, const struct doc *doc, struct why *why)
{
    const struct doc *plain = doc_get(doc, "payload");
    struct str encoded = doc_text(doc_get(doc, "payload64"));
    if (plain && plain->kind != DOC_STRING && plain->kind != DOC_NUMBER)
        return why_set(why, ERR_INVALID, "payload must be a text; JSON goes in one, too");
    o->op.payload = doc_text(plain);
    if (!doc_get(doc, "payload64")) return ERR_OK;
    size_t size;
    o->payload = arena_alloc(http_arena(o->exchange), encoded.size + 1);
    if (!o->payload) return ERR_NO_MEMORY;
    if (plain || !base64_decode(encoded, BASE64_USUAL, o->payload, encoded.size, &size))
        return why_set(why, ERR_INVALID, "payload64 must be base64, and instead of payload");
    o->op.payload = (struct str){o->payload, size};
    return ERR_OK;
}

static enum err read_message(struct order *o, struct why *why)
{
    struct doc *doc = NULL;
    enum err err =
        doc_read_json(http_request_of(o->exchange)->body, http_arena(o->exchange), &doc, why);
    if (err) return err;
    const struct doc *qos = doc_get(doc, "qos"), *retain = doc_get(doc, "retain"),
                     *properties = doc_get(doc, "properties");
    uint64_t level = 0;
    o->op.topic = doc_text(doc_get(doc, "topic"));
    if (!o->op.topic.size)
        return why_set(why, ERR_INVALID,
                       "send {\"topic\":…,\"payload\":…}, with payload64 for bytes, qos, retain");
    if (qos && (!num_parse_u64(qos->text, &level) || level > 2))
        return why_set(why, ERR_INVALID, "qos must be 0, 1 or 2");
    o->op.qos = (uint8_t)level;
    o->op.retain = retain && retain->kind == DOC_BOOL && retain->b;
    err = take_payload(o, doc, why);
    for (size_t i = 0; !err && properties && i < properties->count; i++)
        err = take_property(o, properties->items[i].key, properties->items[i].value, why);
    o->op.properties = buf_str(&o->properties);
    if (!err && buf_failed(&o->properties)) err = ERR_NO_MEMORY;
    return err ? err : may_publish(o->exchange, o->op.topic, why);
}

void api_mqtt_publish(struct http_exchange *exchange, void *arg)
{
    struct order *o = order_new(exchange, arg, BROKER_PUBLISH);
    struct why why = WHY_NONE;
    enum err err = o ? read_message(o, &why) : ERR_NO_MEMORY;
    if (err) {
        refuse(o, exchange, err, &why);
        return;
    }
    o->tells_reached = true;
    give(o);
}
