/* exchange.c - requests of CoAP clients, and how they come to their answers.
 *
 * What needs the broker is answered later: the library acknowledges the request, and the response
 * is a message of its own (RFC 7252 section 5.2.2).
 *
 * PUT, POST, DELETE. Confirmable ones are QoS 1 and wait for PUBACK, which comes when the message
 * is durable; a repetition of the last one is answered again and not published again. A body in
 * blocks (Block1) is gathered first, in order, within COAP_BODY_BYTES.
 *
 * GET. The topic is subscribed to; what is retained comes behind SUBACK and before the answer to a
 * PINGREQ that is sent upon it, so that one knows when there is no value. Without observers it is
 * unsubscribed from at once. Each block (Block2) is a GET of its own and is cut from the value as
 * it is then; a client sees by the ETag when that was another one.
 *
 * Observers (RFC 7641) are sent each message as it comes. A notification is confirmable when the
 * last such one is COAP_CONFIRM_S ago, by which time it was acknowledged or given up (the library
 * tells of the latter alone); others are not, and the last one of a series is repeated as a
 * confirmable one when it may be. So a client that is gone is found out, one that missed something
 * gets the last state in the end, and what waits for acknowledgements is bounded. */
#include "base/hash.h"
#include "coap/gateway_priv.h"
#include <openssl/crypto.h>
#include <string.h>

/* ---- memory ---- */

/* Makes `*charged` cover `size`. False: the gateway's share is used up. */
static bool charge(struct coap_gateway *g, size_t *charged, size_t size)
{
    if (size <= *charged) return true;
    if (budget_take(&g->memory, size - *charged)) return false;
    *charged = size;
    return true;
}

static void discharge(struct coap_gateway *g, size_t *charged)
{
    budget_give(&g->memory, *charged);
    *charged = 0;
}

/* ---- sending ---- */

static struct str token_str(const struct coap_token *token)
{
    return (struct str){(const char *)token->bytes, token->size};
}

static bool is_token(const struct coap_token *token, struct str text)
{
    return str_equal(token_str(token), text);
}

/* Whether one more may wait for its acknowledgement. */
static bool may_confirm(struct coap_visitor *v)
{
    struct coap_gateway *g = v->gateway;
    int64_t now_s = coap_now_s(g);
    if (now_s - g->confirms_since >= COAP_CONFIRM_S) {
        g->confirms_since = now_s;
        g->confirms = 0;
        for (struct coap_visitor *each = g->first; each; each = each->next) each->confirms = 0;
    }
    if (g->confirms >= COAP_CONFIRMS_MAX || v->confirms >= COAP_VISITOR_CONFIRMS) return false;
    g->confirms++;
    v->confirms++;
    return true;
}

static void count(struct coap_gateway *g, uint8_t code)
{
    if (code / 32 >= 4) metric_add(g->context, METRIC_COAP_ERRORS, 1);
}

/* A response of its own. One that cannot be sent is as one that is lost. */
static void respond(struct coap_visitor *v, const struct coap_exchange *e,
                    const struct coap_library_reply *reply)
{
    enum coap_library_type type = COAP_LIBRARY_PLAIN;
    count(v->gateway, reply->code);
    if (e->is_confirmable && !e->is_acknowledged)
        type = COAP_LIBRARY_ACK;
    else if (e->is_confirmable && may_confirm(v))
        type = COAP_LIBRARY_CONFIRMABLE;
    (void)v->gateway->library->send(v->session, type, e->message_id, token_str(&e->token), reply);
}

/* The client need not repeat itself; the response comes later. */
static void acknowledge(struct coap_visitor *v, struct coap_exchange *e, uint16_t message_id)
{
    const struct coap_library_reply nothing = {0};
    e->is_acknowledged = true;
    (void)v->gateway->library->send(v->session, COAP_LIBRARY_ACK, message_id, STR(""), &nothing);
}

static void respond_code(struct coap_visitor *v, const struct coap_exchange *e, enum coap_code code,
                         const char *text)
{
    struct coap_library_reply reply;
    coap_reply_code(&reply, code, text, &e->up);
    respond(v, e, &reply);
}

/* ---- exchanges ---- */

static struct coap_exchange *exchange_new(struct coap_visitor *v,
                                          const struct coap_library_request *from,
                                          const struct coap_request *request)
{
    struct coap_exchange *e =
        v->exchange_count < COAP_EXCHANGES_MAX ? mem_alloc_zero(1, sizeof *e) : NULL;
    if (!e || from->token.size > sizeof e->token.bytes) {
        mem_free(e);
        return NULL;
    }
    e->token.size = (uint8_t)from->token.size;
    if (from->token.size) memcpy(e->token.bytes, from->token.at, from->token.size);
    e->is_confirmable = from->is_confirmable;
    e->message_id = from->message_id;
    e->is_observing = request->observe == COAP_OBSERVE_BEGIN;
    e->method = request->method;
    e->accept = request->accept;
    e->up = request->up;
    e->down = request->down;
    e->until_s = coap_now_s(v->gateway) + COAP_ANSWER_S;
    v->exchange_count++;
    return e;
}

/* Takes it from its list. */
static void exchange_free(struct coap_visitor *v, struct coap_exchange **at)
{
    struct coap_exchange *e = *at;
    MUST(v->exchange_count);
    *at = e->next;
    v->exchange_count--;
    mem_free(e);
}

/* A confirmable request may come again before its answer. NULL = it is none of those. */
static struct coap_exchange *find_waiting(const struct coap_visitor *v, struct str token)
{
    for (struct coap_exchange *e = v->publishing; e; e = e->next)
        if (is_token(&e->token, token)) return e;
    for (const struct coap_topic *t = v->topics; t; t = t->next)
        for (struct coap_exchange *e = t->waiting; e; e = e->next)
            if (is_token(&e->token, token)) return e;
    return NULL;
}

static void refuse_limit(struct coap_visitor *v, struct coap_library_reply *reply, const char *text)
{
    metric_add(v->gateway->context, METRIC_COAP_LIMITED, 1);
    coap_reply_code(reply, COAP_CODE_UNAVAILABLE, text, NULL);
}

/* ---- publishing ---- */

static void drop_body(struct coap_visitor *v)
{
    buf_free(&v->body);
    v->body = BUF_EMPTY;
    discharge(v->gateway, &v->body_charged);
}

/* Adds a block to the body. True: it is whole; else the reply says how it goes on. */
static bool gather(struct coap_visitor *v, const struct coap_request *q, struct str payload,
                   struct coap_library_reply *reply)
{
    const struct coap_block *up = &q->up;
    size_t offset = (size_t)up->number << (up->exponent + 4), size = offset + payload.size;
    uint64_t topic = hash_64(q->topic, strlen(q->topic));
    if (offset == 0) drop_body(v);
    if (offset != v->body.size || (offset && topic != v->body_topic) ||
        (up->has_more && payload.size != coap_block_bytes(up))) {
        coap_reply_code(reply, COAP_CODE_ENTITY_INCOMPLETE, "this is not the next block", up);
        return false;
    }
    if (size > COAP_BODY_BYTES) {
        metric_add(v->gateway->context, METRIC_COAP_LIMITED, 1);
        coap_reply_code(reply, COAP_CODE_TOO_LARGE, "a payload has 64 KiB at most", up);
        return false;
    }
    buf_add_str(&v->body, payload);
    if (!charge(v->gateway, &v->body_charged, size) || buf_failed(&v->body)) {
        drop_body(v);
        refuse_limit(v, reply, "no memory for it now");
        return false;
    }
    v->body_topic = topic;
    if (up->has_more) coap_reply_code(reply, COAP_CODE_CONTINUE, "", up);
    return !up->has_more;
}

static enum coap_code code_of_success(enum coap_method method)
{
    return method == COAP_METHOD_DELETE ? COAP_CODE_DELETED : COAP_CODE_CHANGED;
}

/* The exchange of a publication; NULL: a limit, or no memory. */
static struct coap_exchange **wait_for_broker(struct coap_visitor *v,
                                              const struct coap_library_request *from,
                                              const struct coap_request *q)
{
    bool fits = !v->is_up || v->publishing_count < v->receive_max;
    struct coap_exchange **end = &v->publishing;
    struct coap_exchange *e = fits ? exchange_new(v, from, q) : NULL;
    if (!e) return NULL;
    if (from->is_confirmable) {
        e->packet_id = coap_visitor_packet_id(v);
        v->publishing_count++;
    }
    while (*end) end = &(*end)->next;
    *end = e;
    return end;
}

/* Takes it from the list of those who publish. */
static void drop_publishing(struct coap_visitor *v, struct coap_exchange **at)
{
    v->publishing_count -= (*at)->packet_id != 0;
    exchange_free(v, at);
}

/* Of all that a repetition has in common with its first. Clients that count their messages from the
 * same number after each start, and any after 65,536 of them, use a number again. */
static uint64_t sum_of(const struct coap_library_request *from, const struct coap_request *q)
{
    const uint64_t parts[] = {
        from->message_id,
        (uint64_t)q->method,
        hash_64(q->topic, strlen(q->topic)),
        hash_64(from->token.size ? from->token.at : "", from->token.size),
        hash_64(from->payload.size ? from->payload.at : "", from->payload.size),
    };
    return hash_64(parts, sizeof parts);
}

static void begin_publish(struct coap_visitor *v, const struct coap_library_request *from,
                          const struct coap_request *q, struct str payload,
                          struct coap_library_reply *reply)
{
    bool retain = q->method != COAP_METHOD_POST;
    bool waits = from->is_confirmable || !v->is_up; /* it may be nobody's */
    struct coap_exchange **at = waits ? wait_for_broker(v, from, q) : NULL;
    uint16_t packet_id = at ? (*at)->packet_id : 0;
    if (q->method == COAP_METHOD_DELETE) payload = STR("");
    bool good = (at || !waits) && coap_visitor_publish(v, packet_id, retain, q, payload);
    if (!good) {
        if (at) drop_publishing(v, at);
        refuse_limit(v, reply, "too much is under way; try again");
    } else if (!waits) {
        coap_reply_code(reply, code_of_success(q->method), "", &q->up);
    } else if (from->is_confirmable) {
        v->last_request = sum_of(from, q);
        v->last_code = 0;
    }
}

void coap_exchange_logged_in(struct coap_visitor *v)
{
    for (struct coap_exchange **at = &v->publishing; *at;) {
        if ((*at)->packet_id) {
            at = &(*at)->next;
            continue;
        }
        respond_code(v, *at, code_of_success((*at)->method), "");
        drop_publishing(v, at);
    }
}

static void publish(struct coap_visitor *v, const struct coap_library_request *from,
                    const struct coap_request *q, struct coap_library_reply *reply)
{
    bool is_again = from->is_confirmable && v->last_code && v->last_request == sum_of(from, q);
    if (is_again) {
        coap_reply_code(reply, (enum coap_code)v->last_code, "", &q->up);
        return;
    }
    if (q->up.is_given && !gather(v, q, from->payload, reply)) return;
    begin_publish(v, from, q, q->up.is_given ? buf_str(&v->body) : from->payload, reply);
    if (q->up.is_given) drop_body(v);
}

static enum coap_code code_of_reason(uint8_t reason)
{
    static const struct {
        enum mqtt_reason reason;
        enum coap_code code;
    } codes[] = {
        {MQTT_REASON_NOT_AUTHORIZED, COAP_CODE_FORBIDDEN},
        {MQTT_REASON_TOPIC_NAME_INVALID, COAP_CODE_BAD_REQUEST},
        {MQTT_REASON_TOPIC_FILTER_INVALID, COAP_CODE_BAD_REQUEST},
        {MQTT_REASON_PAYLOAD_FORMAT_INVALID, COAP_CODE_BAD_REQUEST},
    };
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        if (codes[i].reason == reason) return codes[i].code;
    return COAP_CODE_UNAVAILABLE;
}

enum { REASON_FAILED = 0x80 }; /* MQTT 5.0 section 2.4: from here on */

void coap_exchange_published(struct coap_visitor *v, uint16_t packet_id, uint8_t reason)
{
    struct coap_exchange **at = &v->publishing;
    while (*at && (*at)->packet_id != packet_id) at = &(*at)->next;
    if (!*at) return; /* it was answered with 5.04 */
    bool failed = reason >= REASON_FAILED;
    enum coap_code code = failed ? code_of_reason(reason) : code_of_success((*at)->method);
    if (!(*at)->next) v->last_code = (uint8_t)code;
    respond_code(v, *at, code, failed ? mqtt_reason_name((enum mqtt_reason)reason) : "");
    drop_publishing(v, at);
}

/* ---- topics ---- */

static struct coap_topic *find_topic(struct coap_visitor *v, struct str name)
{
    struct coap_topic *t = v->topics;
    while (t && !str_is(name, t->name)) t = t->next;
    return t;
}

static struct coap_topic *topic_new(struct coap_visitor *v, const char *name)
{
    size_t size = strlen(name) + 1;
    struct coap_topic *t =
        v->topic_count < COAP_TOPICS_MAX ? mem_alloc_zero(1, sizeof *t + size) : NULL;
    if (!t) return NULL;
    memcpy(t->name, name, size);
    t->format = COAP_NO_FORMAT;
    t->packet_id = coap_visitor_packet_id(v);
    if (!coap_visitor_subscribe(v, t)) {
        mem_free(t);
        return NULL;
    }
    t->next = v->topics;
    v->topics = t;
    v->topic_count++;
    return t;
}

static void drop_observer(struct coap_visitor *v, struct coap_observer **at)
{
    struct coap_observer *o = *at;
    *at = o->next;
    v->observer_count--;
    metric_add(v->gateway->context, METRIC_COAP_OBSERVERS, (uint64_t)-1);
    mem_free(o);
}

static void topic_free(struct coap_visitor *v, struct coap_topic *t)
{
    struct coap_topic **at = &v->topics;
    while (*at != t) at = &(*at)->next;
    *at = t->next;
    v->topic_count--;
    MUST(!t->waiting && !t->observers);
    discharge(v->gateway, &t->charged);
    buf_free(&t->value);
    mem_free(t);
}

/* Nobody wants it any more. */
static void settle_topic(struct coap_visitor *v, struct coap_topic *t)
{
    if (t->waiting || t->observers) return;
    if (!v->is_over) coap_visitor_unsubscribe(v, t);
    topic_free(v, t);
}

/* ---- observers ---- */

static struct coap_observer **find_observer(struct coap_topic *t, struct str token)
{
    struct coap_observer **at = &t->observers;
    while (*at && !is_token(&(*at)->token, token)) at = &(*at)->next;
    return at;
}

/* Whether the client of this GET observes from now on: it may do so already (RFC 7641 section 4.1).
 */
static bool observe(struct coap_visitor *v, struct coap_topic *t, const struct coap_exchange *e)
{
    struct coap_observer **at = find_observer(t, token_str(&e->token));
    struct coap_observer *o = *at;
    if (!o) {
        o = v->observer_count < COAP_OBSERVERS_MAX ? mem_alloc_zero(1, sizeof *o) : NULL;
        if (!o) {
            metric_add(v->gateway->context, METRIC_COAP_LIMITED, 1);
            return false; /* it gets the value alone, which says so */
        }
        o->token = e->token;
        o->confirmable_s = INT64_MIN / 2;
        *at = o;
        v->observer_count++;
        metric_add(v->gateway->context, METRIC_COAP_OBSERVERS, 1);
    }
    o->is_gone = false;
    o->down = e->down;
    o->accept = e->accept;
    return true;
}

static struct coap_content content_of(struct coap_gateway *g, const struct coap_topic *t,
                                      bool is_observed)
{
    struct coap_content content = {
        .value = buf_str(&t->value), .format = t->format, .is_observed = is_observed};
    if (!content.value.at) content.value = STR("");
    if (is_observed) content.sequence = g->sequence = (g->sequence + 1) & 0xffffff;
    return content;
}

static void notify(struct coap_visitor *v, struct coap_topic *t, struct coap_observer *o)
{
    struct coap_gateway *g = v->gateway;
    struct coap_library_reply reply;
    struct coap_content content = content_of(g, t, true);
    struct coap_block first = {.is_given = o->down.is_given, .exponent = o->down.exponent};
    int64_t now_s = coap_now_s(g);
    coap_reply_content(&reply, &content, &first, o->accept);
    bool confirmable = now_s - o->confirmable_s >= COAP_CONFIRM_S && may_confirm(v);
    if (confirmable) o->confirmable_s = now_s;
    o->is_unsettled = !confirmable;
    o->sent_s = now_s;
    metric_add(g->context, METRIC_COAP_NOTIFICATIONS, 1);
    (void)g->library->send(v->session, confirmable ? COAP_LIBRARY_CONFIRMABLE : COAP_LIBRARY_PLAIN,
                           0, token_str(&o->token), &reply);
}

/* ---- GET ---- */

/* Its answer, now that it is known whether there is a value. */
static void answer_get(struct coap_visitor *v, struct coap_topic *t, const struct coap_exchange *e,
                       struct coap_library_reply *reply)
{
    bool is_observed = e->is_observing && observe(v, t, e);
    if (!t->has_value && !is_observed) {
        coap_reply_code(reply, COAP_CODE_NOT_FOUND, "the topic has no value", NULL);
        return;
    }
    struct coap_content content = content_of(v->gateway, t, is_observed);
    coap_reply_content(reply, &content, &e->down, e->accept);
    if (is_observed && reply->code / 32 != 2)
        drop_observer(v, find_observer(t, token_str(&e->token)));
}

static void get_ready(struct coap_visitor *v, struct coap_topic *t)
{
    struct coap_library_reply reply;
    t->state = COAP_TOPIC_READY;
    while (t->waiting) {
        answer_get(v, t, t->waiting, &reply);
        respond(v, t->waiting, &reply);
        exchange_free(v, &t->waiting);
    }
    settle_topic(v, t);
}

static void get(struct coap_visitor *v, const struct coap_library_request *from,
                const struct coap_request *q, struct coap_library_reply *reply)
{
    struct coap_topic *t = find_topic(v, str_of(q->topic));
    if (t && q->observe == COAP_OBSERVE_END) {
        struct coap_observer **at = find_observer(t, from->token);
        if (*at) drop_observer(v, at);
    }
    bool is_new = !t;
    if (is_new) t = topic_new(v, q->topic);
    struct coap_exchange *e = t ? exchange_new(v, from, q) : NULL;
    if (!e) {
        if (t) settle_topic(v, t);
        refuse_limit(v, reply, "too much is under way; try again");
        return;
    }
    e->next = t->waiting;
    t->waiting = e;
    if (t->state != COAP_TOPIC_READY) return;
    answer_get(v, t, e, reply);
    exchange_free(v, &t->waiting);
    /* The value that the answer borrows stays until the tick looks at it. */
}

void coap_exchange_subscribed(struct coap_visitor *v, uint16_t packet_id, uint8_t reason)
{
    struct coap_topic *t = v->topics;
    while (t && !(t->packet_id == packet_id && t->state == COAP_TOPIC_ASKED)) t = t->next;
    if (!t) return;
    if (reason < REASON_FAILED) {
        t->state = COAP_TOPIC_PINGED;
        t->ping = v->pings_sent + 1;
        coap_visitor_ping(v);
        return;
    }
    while (t->waiting) {
        respond_code(v, t->waiting, code_of_reason(reason),
                     mqtt_reason_name((enum mqtt_reason)reason));
        exchange_free(v, &t->waiting);
    }
    topic_free(v, t);
}

void coap_exchange_pinged(struct coap_visitor *v)
{
    for (struct coap_topic *t = v->topics, *next; t; t = next) {
        next = t->next;
        if (t->state == COAP_TOPIC_PINGED && (int32_t)(v->pings_seen - t->ping) >= 0)
            get_ready(v, t);
    }
}

void coap_exchange_message(struct coap_visitor *v, struct str name, struct str payload,
                           uint16_t format)
{
    struct coap_topic *t = find_topic(v, name);
    if (!t) return; /* on its way when it was unsubscribed from */
    if (!charge(v->gateway, &t->charged, payload.size)) {
        metric_add(v->gateway->context, METRIC_COAP_LIMITED, 1);
        return;
    }
    buf_clear(&t->value);
    buf_add_str(&t->value, payload);
    if (buf_failed(&t->value)) buf_clear(&t->value);
    t->has_value = payload.size > 0; /* an empty one takes the value away (MQTT 5.0, 3.3.1.3) */
    t->format = format;
    for (struct coap_observer *o = t->observers; o; o = o->next)
        if (!o->is_gone) notify(v, t, o);
    if (t->state != COAP_TOPIC_READY) get_ready(v, t);
}

/* ---- all of a visitor's ---- */

static void end_late(struct coap_visitor *v, struct coap_exchange **at, int64_t now_s)
{
    while (*at) {
        if (now_s < (*at)->until_s) {
            if ((*at)->is_confirmable && !(*at)->is_acknowledged)
                acknowledge(v, *at, (*at)->message_id);
            at = &(*at)->next;
            continue;
        }
        respond_code(v, *at, COAP_CODE_TIMEOUT, "no answer in time");
        drop_publishing(v, at); /* of a GET there is no packet */
    }
}

void coap_exchange_tick(struct coap_visitor *v, int64_t now_s)
{
    end_late(v, &v->publishing, now_s);
    for (struct coap_topic *t = v->topics, *next; t; t = next) {
        next = t->next;
        end_late(v, &t->waiting, now_s);
        for (struct coap_observer **at = &t->observers; *at;) {
            if ((*at)->is_gone)
                drop_observer(v, at);
            else
                at = &(*at)->next;
        }
        for (struct coap_observer *o = t->observers; o; o = o->next)
            if (o->is_unsettled && now_s - o->sent_s >= COAP_SETTLE_S &&
                now_s - o->confirmable_s >= COAP_CONFIRM_S)
                notify(v, t, o);
        settle_topic(v, t);
    }
    if (v->exchange_count || v->observer_count) v->active_s = now_s;
    if (v->is_lost || now_s - v->active_s >= COAP_IDLE_S) coap_visitor_end(v, 0);
}

void coap_exchange_rejected(struct coap_visitor *v, struct str token)
{
    for (struct coap_topic *t = v->topics; t; t = t->next) {
        struct coap_observer *o = *find_observer(t, token);
        if (o) o->is_gone = true;
    }
}

/* A notification that is no success ends the observation (RFC 7641 section 4.2). */
static void end_observers(struct coap_visitor *v, struct coap_topic *t, enum coap_code code)
{
    struct coap_library_reply reply;
    while (t->observers) {
        coap_reply_code(&reply, code, "the session is over", NULL);
        if (code)
            (void)v->gateway->library->send(v->session, COAP_LIBRARY_PLAIN, 0,
                                            token_str(&t->observers->token), &reply);
        drop_observer(v, &t->observers);
    }
}

static void end_exchanges(struct coap_visitor *v, struct coap_exchange **list, enum coap_code code)
{
    const char *text = code == COAP_CODE_UNAUTHORIZED
                           ? "user and password (u=, p=), or a token (token=), are not right"
                           : "the broker has ended the session";
    while (*list) {
        if (code) respond_code(v, *list, code, text);
        exchange_free(v, list);
    }
}

void coap_exchange_end_all(struct coap_visitor *v, enum coap_code code)
{
    end_exchanges(v, &v->publishing, code);
    v->publishing_count = 0;
    while (v->topics) {
        end_exchanges(v, &v->topics->waiting, code);
        end_observers(v, v->topics, code);
        topic_free(v, v->topics);
    }
    drop_body(v);
    MUST(v->exchange_count == 0 && v->observer_count == 0);
}

void coap_exchange_begin(struct coap_gateway *g, const struct coap_library_request *from,
                         struct coap_library_reply *reply)
{
    struct coap_request request;
    struct why why = WHY_NONE;
    metric_add(g->context, METRIC_COAP_REQUESTS, 1);
    enum coap_code code =
        coap_request_read(from->method, from->options, from->option_count, &request, &why);
    struct coap_visitor *v = code ? NULL : coap_visitor_of(g, from, &request);
    struct coap_exchange *waiting = v ? find_waiting(v, from->token) : NULL;
    if (code) {
        /* The text is put where the reply's payload can point at it until it is sent. */
        (void)str_copy(g->text, sizeof g->text, str_of(why_text(&why, ERR_INVALID)));
        coap_reply_code(reply, code, g->text, &request.up);
    } else if (!v) {
        metric_add(g->context, METRIC_COAP_LIMITED, 1);
        coap_reply_code(reply, COAP_CODE_UNAVAILABLE, "no room for one more client", NULL);
    } else if (waiting) {
        if (from->is_confirmable) acknowledge(v, waiting, from->message_id);
    } else {
        coap_visitor_enter(v);
        v->active_s = coap_now_s(g);
        (request.method == COAP_METHOD_GET ? get : publish)(v, from, &request, reply);
        coap_visitor_leave(v);
    }
    OPENSSL_cleanse(request.password, sizeof request.password);
    count(g, reply->code);
}
