/* visitor.c - a CoAP client as an MQTT client of the broker, over a channel (broker_visit).
 *
 *     CONNECT → CONNACK → PUBLISH, SUBSCRIBE, PINGREQ, UNSUBSCRIBE … → DISCONNECT
 *
 * The connection is MQTT 5.0's, begins clean and leaves nothing behind; the broker gives it an
 * identifier. What is asked before CONNACK waits in `held`. Whoever asks as another user, or from
 * another address, is another visitor, so that no request runs with rights that it has not proved:
 * the name and password of each request are a part of the key under which visitors are found. */
#include "coap/gateway_priv.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

static const char component[] = "coap";

enum { VISITOR_MAGIC = 0x636f6170, KEEP_ALIVE_NONE = 0, PACKET_SLACK = 4096 };

/* ---- towards the broker ---- */

static bool put(struct coap_visitor *v, struct buf *packet)
{
    bool good = !buf_failed(packet) && v->stream;
    size_t queued = v->held.size + (v->stream ? os_stream_queued(v->stream) : 0);
    if (good && queued + packet->size > COAP_HELD_BYTES) good = false;
    if (good && !v->is_up) {
        good = !budget_take(&v->gateway->memory, packet->size);
        if (good) v->held_charged += packet->size;
        if (good) buf_add_str(&v->held, buf_str(packet));
        good = good && !buf_failed(&v->held);
    } else if (good) {
        good = !os_stream_write(v->stream, packet->at, packet->size);
    }
    buf_free(packet);
    return good;
}

static void begin_identified(struct mqtt_writer *w, struct buf *out, enum mqtt_type type,
                             uint16_t packet_id)
{
    mqtt_begin(w, out, type, 2);
    mqtt_write_be16(out, packet_id);
    mqtt_begin_properties(w);
    mqtt_end_properties(w);
}

bool coap_visitor_publish(struct coap_visitor *v, uint16_t packet_id, bool retain,
                          const struct coap_request *request, struct str payload)
{
    struct buf out = BUF_EMPTY;
    struct mqtt_writer w;
    const char *format = coap_format_name(request->format);
    mqtt_begin(&w, &out, MQTT_PUBLISH, (uint8_t)((packet_id ? 2 : 0) | (retain ? 1 : 0)));
    mqtt_write_text(&out, str_of(request->topic));
    if (packet_id) mqtt_write_be16(&out, packet_id);
    mqtt_begin_properties(&w);
    if (format) mqtt_write_property(&out, MQTT_PROPERTY_CONTENT_TYPE, str_of(format));
    mqtt_end_properties(&w);
    buf_add_str(&out, payload);
    mqtt_end(&w);
    return put(v, &out);
}

bool coap_visitor_subscribe(struct coap_visitor *v, struct coap_topic *topic)
{
    struct buf out = BUF_EMPTY;
    struct mqtt_writer w;
    begin_identified(&w, &out, MQTT_SUBSCRIBE, topic->packet_id);
    mqtt_write_text(&out, str_of(topic->name));
    buf_add_char(&out, 0); /* QoS 0, retained messages too */
    mqtt_end(&w);
    return put(v, &out);
}

void coap_visitor_unsubscribe(struct coap_visitor *v, struct coap_topic *topic)
{
    struct buf out = BUF_EMPTY;
    struct mqtt_writer w;
    begin_identified(&w, &out, MQTT_UNSUBSCRIBE, coap_visitor_packet_id(v));
    mqtt_write_text(&out, str_of(topic->name));
    mqtt_end(&w);
    /* Without memory it stays subscribed: what comes for no topic of ours is dropped. */
    (void)put(v, &out);
}

void coap_visitor_ping(struct coap_visitor *v)
{
    struct buf out = BUF_EMPTY;
    mqtt_write_ping(&out, MQTT_PINGREQ);
    if (put(v, &out)) v->pings_sent++;
}

uint16_t coap_visitor_packet_id(struct coap_visitor *v)
{
    for (;;) {
        struct coap_exchange *e = v->publishing;
        if (!++v->last_packet_id) v->last_packet_id = 1;
        while (e && e->packet_id != v->last_packet_id) e = e->next;
        if (!e) return v->last_packet_id;
    }
}

static enum err write_connect(struct coap_visitor *v, const struct coap_request *request)
{
    struct buf out = BUF_EMPTY;
    struct mqtt_writer w;
    unsigned flags = 2; /* clean start */
    if (request->has_user) flags |= 0x80;
    if (request->has_password) flags |= 0x40;
    mqtt_begin(&w, &out, MQTT_CONNECT, 0);
    mqtt_write_text(&out, STR("MQTT"));
    buf_add_char(&out, MQTT_5);
    buf_add_char(&out, (char)flags);
    mqtt_write_be16(&out, KEEP_ALIVE_NONE);
    mqtt_begin_properties(&w);
    mqtt_write_number(&out, MQTT_PROPERTY_MAXIMUM_PACKET_SIZE, COAP_BODY_BYTES + PACKET_SLACK);
    mqtt_end_properties(&w);
    mqtt_write_text(&out, STR("")); /* the broker gives an identifier */
    if (request->has_user) mqtt_write_text(&out, str_of(request->user));
    if (request->has_password) mqtt_write_text(&out, str_of(request->password));
    mqtt_end(&w);
    enum err err = buf_failed(&out) ? ERR_NO_MEMORY : os_stream_write(v->stream, out.at, out.size);
    buf_free(&out);
    return err;
}

/* ---- from the broker ---- */

static enum coap_code code_of_refusal(uint8_t reason)
{
    bool is_login = reason == MQTT_REASON_BAD_USER_OR_PASSWORD ||
                    reason == MQTT_REASON_NOT_AUTHORIZED || reason == MQTT_REASON_BANNED;
    return is_login ? COAP_CODE_UNAUTHORIZED : COAP_CODE_UNAVAILABLE;
}

static void on_connack(struct coap_visitor *v, const struct mqtt_packet *p)
{
    if (p->reason) {
        coap_visitor_end(v, code_of_refusal(p->reason));
        return;
    }
    v->is_up = true;
    v->receive_max =
        (uint16_t)mqtt_number(&p->properties, MQTT_PROPERTY_RECEIVE_MAXIMUM, UINT16_MAX);
    struct buf held = v->held;
    v->held = BUF_EMPTY;
    budget_give(&v->gateway->memory, v->held_charged);
    v->held_charged = 0;
    bool failed =
        buf_failed(&held) || (held.size && os_stream_write(v->stream, held.at, held.size));
    buf_free(&held);
    if (failed)
        coap_visitor_end(v, COAP_CODE_UNAVAILABLE);
    else
        coap_exchange_logged_in(v);
}

static void on_suback(struct coap_visitor *v, const struct mqtt_packet *p)
{
    coap_exchange_subscribed(v, p->packet_id,
                             p->rest.size ? (uint8_t)p->rest.at[0] : MQTT_REASON_UNSPECIFIED);
}

static void on_puback(struct coap_visitor *v, const struct mqtt_packet *p)
{
    coap_exchange_published(v, p->packet_id, p->reason);
}

static void on_publish(struct coap_visitor *v, const struct mqtt_packet *p)
{
    coap_exchange_message(v, p->publish.topic, p->publish.payload,
                          coap_format_of(mqtt_text(&p->properties, MQTT_PROPERTY_CONTENT_TYPE)));
}

static void on_pingresp(struct coap_visitor *v, const struct mqtt_packet *p)
{
    (void)p;
    v->pings_seen++;
    coap_exchange_pinged(v);
}

static void on_disconnect(struct coap_visitor *v, const struct mqtt_packet *p)
{
    (void)p;
    coap_visitor_end(v, COAP_CODE_UNAVAILABLE);
}

static const struct {
    enum mqtt_type type;
    void (*take)(struct coap_visitor *v, const struct mqtt_packet *p);
} takers[] = {
    {MQTT_CONNACK, on_connack}, {MQTT_PUBLISH, on_publish},   {MQTT_PUBACK, on_puback},
    {MQTT_SUBACK, on_suback},   {MQTT_PINGRESP, on_pingresp}, {MQTT_DISCONNECT, on_disconnect},
};

static void take_packet(struct coap_visitor *v, uint8_t first, struct str body)
{
    struct mqtt_packet packet;
    struct why why = WHY_NONE;
    enum mqtt_reason reason = mqtt_packet_read(first, body, MQTT_5, false, &packet, &why);
    if (reason) { /* a message of before that would not be accepted any more */
        diag(v->gateway->context, DIAG_WARNING, component,
             "the broker's message cannot be read (%s): who asks for it gets none; publish its "
             "topic anew",
             why.text);
        coap_visitor_end(v, COAP_CODE_INTERNAL);
        return;
    }
    for (size_t i = 0; i < sizeof takers / sizeof takers[0]; i++)
        if (takers[i].type == packet.type) takers[i].take(v, &packet);
}

static void on_read(void *owner, const uint8_t *bytes, size_t size)
{
    struct coap_visitor *v = owner;
    struct mqtt_frame frame;
    size_t done = 0;
    MUST(v->magic == VISITOR_MAGIC);
    coap_visitor_enter(v);
    buf_add(&v->in, bytes, size);
    if (buf_failed(&v->in)) coap_visitor_end(v, COAP_CODE_UNAVAILABLE);
    while (!v->is_over && !mqtt_frame_read((const uint8_t *)v->in.at + done, v->in.size - done,
                                           MQTT_REMAINING_MAX, &frame)) {
        take_packet(v, frame.first,
                    (struct str){v->in.at + done + frame.header_size, frame.body_size});
        done += frame.header_size + frame.body_size;
    }
    if (done == v->in.size) {
        buf_free(&v->in); /* nothing is held while idle */
        v->in = BUF_EMPTY;
    } else {
        buf_drop_front(&v->in, done);
    }
    coap_visitor_leave(v);
}

static void on_closed(void *owner, enum err err, const char *text)
{
    struct coap_visitor *v = owner;
    (void)err, (void)text;
    coap_visitor_enter(v);
    coap_visitor_end(v, COAP_CODE_UNAVAILABLE);
    coap_visitor_leave(v);
}

static const struct os_stream_events stream_events = {.on_read = on_read, .on_closed = on_closed};

/* ---- life ---- */

static struct str key_of(const uint8_t key[COAP_KEY_BYTES])
{
    return (struct str){(const char *)key, COAP_KEY_BYTES};
}

void coap_visitor_enter(struct coap_visitor *v)
{
    MUST(v->magic == VISITOR_MAGIC);
    v->entered++;
}

void coap_visitor_leave(struct coap_visitor *v)
{
    MUST(v->entered);
    if (--v->entered || !v->is_over) return;
    buf_free(&v->in);
    buf_free(&v->held);
    buf_free(&v->body);
    v->magic = 0;
    mem_free(v);
}

void coap_visitor_end(struct coap_visitor *v, enum coap_code code)
{
    struct coap_gateway *g = v->gateway;
    if (v->is_over) return;
    coap_visitor_enter(v);
    v->is_over = true;
    (void)map_remove(&g->by_key, key_of(v->key));
    *v->before = v->next;
    if (v->next) v->next->before = v->before;
    g->visitor_count--;
    metric_set(g->context, METRIC_COAP_SESSIONS, g->visitor_count);
    coap_exchange_end_all(v, code);
    budget_give(&g->memory, v->held_charged);
    os_stream_close(&v->stream);
    g->library->release(v->session);
    v->session = NULL;
    coap_visitor_leave(v);
}

/* Who asks, from where: a sum of the session's address, the proven identity (a session may be
 * negotiated anew by somebody else), the user and the password, so that none of them is kept.
 * False: no memory. */
static bool make_key(uint8_t key[COAP_KEY_BYTES], const struct coap_library_request *from,
                     const struct coap_request *request)
{
    struct buf text = BUF_EMPTY;
    buf_add(&text, &from->session, sizeof from->session);
    buf_add_le32(&text, (uint32_t)from->identity.size);
    buf_add_str(&text, from->identity);
    buf_add_char(&text, (char)(request->has_user | request->has_password << 1));
    buf_add_text(&text, request->user);
    buf_add_char(&text, 0);
    buf_add_text(&text, request->password);
    bool good = !buf_failed(&text) && EVP_Digest(text.at, text.size, key, NULL, EVP_sha256(), NULL);
    if (text.size) OPENSSL_cleanse(text.at, text.size);
    buf_free(&text);
    return good;
}

static void add(struct coap_gateway *g, struct coap_visitor *v, void *session)
{
    g->library->hold(v->session = session);
    v->next = g->first;
    v->before = &g->first;
    if (v->next) v->next->before = &v->next;
    g->first = v;
    g->visitor_count++;
    metric_set(g->context, METRIC_COAP_SESSIONS, g->visitor_count);
    os_stream_own(v->stream, &stream_events, v);
    os_stream_pause(v->stream, false);
}

static struct coap_visitor *visitor_new(struct coap_gateway *g,
                                        const struct coap_library_request *from,
                                        const struct coap_request *request,
                                        const uint8_t key[COAP_KEY_BYTES])
{
    char psk[PSK_IDENTITY_BYTES];
    struct broker_visitor visitor = {.peer = from->peer, .is_tls = from->is_secure};
    if (from->identity.size && str_copy(psk, sizeof psk, from->identity)) visitor.psk = psk;
    struct coap_visitor *v = mem_alloc_zero(1, sizeof *v);
    if (!v) return NULL;
    v->magic = VISITOR_MAGIC;
    v->gateway = g;
    v->active_s = coap_now_s(g);
    memcpy(v->key, key, sizeof v->key);
    enum err err = map_put(&g->by_key, key_of(key), v, NULL);
    if (!err) err = broker_visit(g->broker, &visitor, &v->stream);
    if (!err) err = write_connect(v, request);
    if (!err) {
        add(g, v, from->session);
        return v;
    }
    if (map_get(&g->by_key, key_of(key))) (void)map_remove(&g->by_key, key_of(key));
    os_stream_close(&v->stream);
    mem_free(v);
    return NULL;
}

struct coap_visitor *coap_visitor_of(struct coap_gateway *g,
                                     const struct coap_library_request *from,
                                     const struct coap_request *request)
{
    uint8_t key[COAP_KEY_BYTES];
    if (!make_key(key, from, request)) return NULL;
    struct coap_visitor *v = map_get(&g->by_key, key_of(key));
    if (v) return v;
    if (g->visitor_count < COAP_VISITORS_MAX) return visitor_new(g, from, request, key);
    if (!g->has_told_full)
        diag(g->context, DIAG_WARNING, component,
             "%s: refused: %d CoAP clients are there already (told once)", from->peer,
             COAP_VISITORS_MAX);
    g->has_told_full = true;
    return NULL;
}
