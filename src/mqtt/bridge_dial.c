/* bridge_dial.c - how a bridge comes to its connection, and the packets that only a client gets.
 *
 *     certificates (a worker reads them, anew each time) → stream (TCP, TLS, WebSocket over either)
 *     → CONNECT → CONNACK → SUBSCRIBE
 *
 * The connection is one of the broker's own, in the state DIALLED until CONNACK has come; from then
 * on packets_in.c and the session's files treat it as any other, and only what is a client's part
 * is done here: SUBSCRIBE, pings, DISCONNECT. Whatever fails ends the connection with a text, which
 * is how the bridge learns of it.
 *
 * A remote broker of MQTT 3.1.1 is first told that a bridge connects (the highest bit of the
 * protocol level): brokers that know it, as Mosquitto, then neither send back what came from here
 * nor lose the retain flag. One that refuses it is asked plainly the next time.
 *
 * While certificates are being read the bridge may get other settings, or be removed: the work has
 * its own share of the settings it was begun with (work_settings), and who it comes back to decides
 * (certificates_read). One such work is under way at most.
 *
 * Sources: MQTT 5.0 sections 3.1, 3.2, 3.8, 3.9, 3.12; MQTT 3.1.1 section 3.2.2.3;
 * mosquitto.conf(5), "try_private". */
#include "mqtt/bridge_priv.h"
#include "net/websocket_client.h"
#include "os/read.h"
#include <string.h>

enum {
    FIRST_PACKET_ID = 1,
    ENTRY_PACKET_ID = 2, /* and more: of the SUBSCRIBE of one entry */
    BRIDGE_BIT = 0x80,
    DIAL_SECONDS = 10, /* until CONNACK */
};

/* ---- certificates ---- */

/* NULL: there is none. */
static enum err read_pem(struct os *os, const char *path, struct buf *text, struct why *why)
{
    return path ? os_read_file(os, path, OS_PEM_BYTES_MAX, text, why) : ERR_OK;
}

/* Touches nothing of the bridge but work_settings, tls, work_err and work_why. */
static void read_certificates(struct broker_work *work) /* a worker */
{
    struct bridge *b = (void *)((char *)work - offsetof(struct bridge, work));
    const struct bridge_settings *s = b->work_settings;
    struct os *os = b->broker->context->os;
    struct buf ca = BUF_EMPTY, cert = BUF_EMPTY, key = BUF_EMPTY;
    b->work_err = read_pem(os, s->ca, &ca, &b->work_why);
    if (!b->work_err) b->work_err = read_pem(os, s->cert, &cert, &b->work_why);
    if (!b->work_err) b->work_err = read_pem(os, s->tls_key, &key, &b->work_why);
    if (!b->work_err)
        b->work_err = tls_client_config(buf_str(&cert), buf_str(&key), buf_str(&ca), NULL, &b->tls,
                                        &b->work_why);
    buf_free(&ca);
    buf_free(&cert);
    buf_free(&key);
}

/* ---- the stream ---- */

/* Each layer takes the one below, also when it fails: then there is no stream. */
static enum err open_stream(struct connection *c, const struct bridge_settings *s,
                            struct tls_config *tls, struct why *why)
{
    struct os *os = c->broker->context->os;
    struct os_task *task = c->broker->loop.task;
    struct os_stream *below;
    enum err err = os->ops->stream_connect(task, &s->address, NULL, NULL, &below, why);
    if (err) return err;
    const char *name = s->server_name ? s->server_name : s->address.host;
    if (tls) err = tls_wrap_client(tls, os, task, name, below, &below);
    if (!err && s->web_path) {
        char host[OS_HOST_BYTES + 8];
        os_address_print(&s->address, host, sizeof host);
        err = websocket_wrap_client(os, task, host, s->web_path, "mqtt", below, &below);
    }
    if (err) return err;
    c->stream = below;
    os_stream_own(c->stream, &connection_events, c);
    return ERR_OK;
}

/* What fails here and later goes one way: connection_end, bridge_lost, a pause. */
static void connect_now(struct bridge *b, struct tls_config *tls)
{
    struct broker *broker = b->broker;
    struct why why = WHY_NONE;
    struct connection *c = connection_new(broker);
    MUST(!b->connection);
    if (!c) {
        bridge_note_error(b, "no memory for a connection");
        bridge_pause(b);
        return;
    }
    c->is_dialled = true;
    c->is_tls = tls != NULL;
    c->state = CONNECTION_DIALLED;
    c->version = b->settings->version;
    c->bridge = b;
    b->connection = c;
    enum err err = open_stream(c, b->settings, tls, &why);
    if (err) {
        c->stream = NULL;
        connection_end(c, MQTT_REASON_SUCCESS, why_text(&why, err));
        connection_touch(c);
        return;
    }
    wheel_set(&broker->wheel, &c->timer, broker_now_s(broker) + DIAL_SECONDS);
}

/* The answer may be for settings that are not those of now, or for a bridge that is gone. */
static void certificates_read(struct broker_work *work)
{
    struct bridge *b = (void *)((char *)work - offsetof(struct bridge, work));
    MUST(is_bridge(b) && b->work_settings);
    bool is_same = b->work_settings == b->settings;
    struct tls_config *tls = b->tls;
    b->tls = NULL;
    bridge_release_settings(b->work_settings);
    b->work_settings = NULL;
    b->broker->now_ns = loop_mono_ns(&b->broker->loop);
    if (b->is_removed) {
        bridge_free_removed(b);
    } else if (b->broker->is_stopping || !b->settings->is_enabled || b->connection ||
               wheel_is_set(&b->retry)) {
        /* Nobody waits for it any more: newer settings may need no certificates. */
    } else if (!is_same) {
        bridge_dial(b);
    } else if (b->work_err) {
        bridge_note_error(b, "%s", why_text(&b->work_why, b->work_err));
        bridge_pause(b);
    } else {
        connect_now(b, tls);
    }
    tls_config_release(tls);
}

void bridge_dial(struct bridge *b)
{
    const struct broker_hooks *hooks = &b->broker->hooks;
    MUST(is_bridge(b) && !b->connection && b->settings->is_enabled);
    bridge_enter(b, BRIDGE_CONNECTING);
    if (!b->settings->is_tls) {
        connect_now(b, NULL);
        return;
    }
    if (b->work_settings) return; /* under way; it looks at the settings when it comes back */
    b->work = (struct broker_work){
        .owner = b->broker, .work = read_certificates, .done = certificates_read};
    b->work_why = WHY_NONE;
    b->work_settings = b->settings;
    b->settings->refs++;
    if (hooks->work && hooks->work(hooks->arg, &b->work)) return;
    bridge_release_settings(b->work_settings);
    b->work_settings = NULL;
    bridge_note_error(b, "no memory to read its certificates");
    bridge_pause(b);
}

/* ---- CONNECT ---- */

/* What we are to the remote broker: the limits that a client of ours is told (3.1.2.11). */
static void write_connect_properties(struct connection *c, struct mqtt_writer *w,
                                     const struct bridge_settings *s)
{
    struct buf *out = w->out;
    mqtt_begin_properties(w);
    if (s->session_expiry_s)
        mqtt_write_number(out, MQTT_PROPERTY_SESSION_EXPIRY, s->session_expiry_s);
    mqtt_write_number(out, MQTT_PROPERTY_RECEIVE_MAXIMUM, c->receive_in_max);
    mqtt_write_number(out, MQTT_PROPERTY_MAXIMUM_PACKET_SIZE, mqtt_packet_size(c->packet_in_max));
    if (c->alias_in_max) mqtt_write_number(out, MQTT_PROPERTY_TOPIC_ALIAS_MAXIMUM, c->alias_in_max);
    buf_add_str(out, buf_str(&c->bridge->trail));
    mqtt_end_properties(w);
}

void bridge_greet(struct connection *c)
{
    const struct bridge *b = c->bridge;
    const struct bridge_settings *s = b->settings;
    struct buf *out = connection_out(c);
    struct mqtt_writer w;
    MUST(is_bridge(b) && b->connection == c);
    unsigned flags = s->clean_start ? 2 : 0;
    if (s->has_user) flags |= 0x80;
    if (s->has_password) flags |= 0x40;
    bool says_bridge = s->version != MQTT_5 && !b->is_plain;
    mqtt_begin(&w, out, MQTT_CONNECT, 0);
    mqtt_write_text(out, STR("MQTT"));
    buf_add_char(out, (char)(s->version | (says_bridge ? BRIDGE_BIT : 0)));
    buf_add_char(out, (char)flags);
    mqtt_write_be16(out, s->keep_alive_s);
    if (s->version == MQTT_5) write_connect_properties(c, &w, s);
    mqtt_write_text(out, s->client_id);
    if (s->has_user) mqtt_write_text(out, s->user);
    if (s->has_password) mqtt_write_text(out, s->password);
    mqtt_end(&w);
    connection_touch(c);
}

/* ---- SUBSCRIBE ---- */

/* What the settings before asked for and these do not. */
static void write_unsubscribe(struct connection *c, struct bridge *b)
{
    struct mqtt_writer w;
    if (!b->stale.size) return;
    mqtt_begin(&w, connection_out(c), MQTT_UNSUBSCRIBE, 2);
    mqtt_write_be16(w.out, FIRST_PACKET_ID);
    if (c->version == MQTT_5) {
        mqtt_begin_properties(&w);
        mqtt_end_properties(&w);
    }
    buf_add_str(w.out, buf_str(&b->stale));
    mqtt_end(&w);
    buf_free(&b->stale);
    b->stale = BUF_EMPTY;
}

/* In 5.0: no local, retain as published, and retained messages only when the subscription is new
 * there. `id`: its Subscription Identifier, 0 = none. */
static void begin_subscribe(struct mqtt_writer *w, struct connection *c, uint16_t packet_id,
                            uint32_t id)
{
    mqtt_begin(w, connection_out(c), MQTT_SUBSCRIBE, 2);
    mqtt_write_be16(w->out, packet_id);
    if (c->version != MQTT_5) return;
    mqtt_begin_properties(w);
    if (id) mqtt_write_number(w->out, MQTT_PROPERTY_SUBSCRIPTION_ID, id);
    mqtt_end_properties(w);
}

static void add_filter(struct mqtt_writer *w, const struct connection *c,
                       const struct bridge_topic *t)
{
    enum { NO_LOCAL = 4, AS_PUBLISHED = 8, RETAINED_IF_NEW = 0x10 };
    unsigned options = c->version == MQTT_5 ? NO_LOCAL | AS_PUBLISHED | RETAINED_IF_NEW : 0;
    mqtt_write_be16(w->out, (uint16_t)(t->remote_prefix.size + t->filter.size));
    bridge_topic_filter(t, false, w->out);
    buf_add_char(w->out, (char)(t->qos | options));
}

/* All filters in one packet; or each in one of its own, in their order, whose identifier tells
 * which of several copies of a message is the first entry's. */
static void write_subscribe(struct connection *c, struct bridge *b, bool takes_ids)
{
    const struct bridge_settings *s = b->settings;
    struct mqtt_writer w;
    size_t count = 0, written = 0;
    for (size_t i = 0; i < s->topic_count; i++) count += s->topics[i].is_in;
    uint32_t mark = takes_ids && count > 1 ? b->mark : 0;
    for (size_t i = 0; i < s->topic_count; i++) {
        if (!s->topics[i].is_in) continue;
        if (mark)
            begin_subscribe(&w, c, (uint16_t)(ENTRY_PACKET_ID + i), mark + (uint32_t)i);
        else if (!written)
            begin_subscribe(&w, c, FIRST_PACKET_ID, 0);
        add_filter(&w, c, &s->topics[i]);
        if (++written == count || mark) mqtt_end(&w);
    }
}

/* ---- CONNACK ---- */

static const char *refusal_name(const struct connection *c, uint8_t reason)
{
    static const char *const codes[] = {"accepted",
                                        "this version of MQTT is not accepted",
                                        "the client identifier is refused",
                                        "server unavailable",
                                        "bad user name or password",
                                        "not authorized"};
    if (c->version == MQTT_5) return mqtt_reason_name((enum mqtt_reason)reason);
    return reason < sizeof codes / sizeof codes[0] ? codes[reason] : "unknown reason";
}

/* The remote has forgotten its session: identifiers of messages that it sent mean nothing more. */
static void forget_received(struct session *s)
{
    for (uint32_t id = 1; s->received && id <= UINT16_MAX; id++) {
        if (!session_has_received(s, (uint16_t)id)) continue;
        session_drop_received(s, (uint16_t)id);
        journal_release(s, (uint16_t)id);
    }
}

static uint32_t window_of_3(const struct bridge_settings *s)
{
    for (size_t i = 0; i < s->topic_count; i++)
        if (s->topics[i].is_out && s->topics[i].qos == 2) return BRIDGE_WINDOW_3_QOS_2;
    return BRIDGE_WINDOW_3;
}

/* What the remote broker says of itself (3.2.2.3). Its receive maximum is a window that its own
 * settings may narrow; 3.1.1 has none, so there it is what the settings say. */
static void take_limits(struct connection *c, const struct bridge_settings *s,
                        const struct mqtt_properties *p)
{
    bool is_5 = c->version == MQTT_5;
    uint32_t window = is_5 ? mqtt_number(p, MQTT_PROPERTY_RECEIVE_MAXIMUM, 65535) : window_of_3(s);
    if (s->in_flight && (s->in_flight < window || !is_5)) window = s->in_flight;
    c->receive_max = (uint16_t)window;
    c->keep_alive_s = s->keep_alive_s;
    if (!is_5) return;
    c->packet_max = mqtt_number(p, MQTT_PROPERTY_MAXIMUM_PACKET_SIZE, UINT32_MAX);
    c->qos_max = (uint8_t)mqtt_number(p, MQTT_PROPERTY_MAXIMUM_QOS, 2);
    c->takes_no_retain = mqtt_number(p, MQTT_PROPERTY_RETAIN_AVAILABLE, 1) == 0;
    c->alias_out_max = (uint16_t)mqtt_number(p, MQTT_PROPERTY_TOPIC_ALIAS_MAXIMUM, 0);
    c->keep_alive_s = (uint16_t)mqtt_number(p, MQTT_PROPERTY_SERVER_KEEP_ALIVE, c->keep_alive_s);
}

/* Comes once: connection_take lets no second one through. A refusal may be for the bridge bit
 * alone, so it is left out the next time. */
static enum mqtt_reason on_connack(struct connection *c, struct mqtt_packet *p, struct why *why)
{
    struct bridge *b = c->bridge;
    struct session *s = b->session;
    MUST(is_bridge(b) && !s->connection);
    if (p->reason) {
        struct str text =
            c->version == MQTT_5 ? mqtt_text(&p->properties, MQTT_PROPERTY_REASON_STRING) : STR("");
        if (p->reason == MQTT_REASON_UNSUPPORTED_VERSION && !text.size)
            text = STR("it may speak 3.1.1 (version: 3.1.1)");
        b->is_plain = c->version != MQTT_5 && !b->is_plain;
        (void)why_set(why, ERR_FORBIDDEN, "the remote broker refuses the connection: %s%s%.*s",
                      refusal_name(c, p->reason), text.size ? ": " : "", (int)text.size, text.at);
        connection_end(c, MQTT_REASON_SUCCESS, why->text);
        return MQTT_REASON_SUCCESS;
    }
    take_limits(c, b->settings, &p->properties);
    b->remote[0] = 0;
    if (mqtt_has(&p->properties, MQTT_PROPERTY_USER_PROPERTY) &&
        !bridge_trail_first(p->properties.raw, b->remote))
        b->remote[0] = 0;
    c->session = s;
    c->state = CONNECTION_OPEN;
    s->connection = c;
    s->since_s = c->broker->wall_s;
    if (!p->session_present) forget_received(s);
    if (p->session_present) write_unsubscribe(c, b);
    bool takes_ids = c->version == MQTT_5 &&
                     mqtt_number(&p->properties, MQTT_PROPERTY_SUBSCRIPTION_ID_AVAILABLE, 1) == 1;
    if (!p->session_present || !b->is_subscribed || c->version == MQTT_5)
        write_subscribe(c, b, takes_ids);
    wheel_stop(&c->broker->wheel, &c->timer);
    if (c->keep_alive_s)
        wheel_set(&c->broker->wheel, &c->timer,
                  broker_now_s(c->broker) + (c->keep_alive_s + 1) / 2);
    bridge_opened(b, p->session_present);
    session_pump(s);
    connection_touch(c);
    return MQTT_REASON_SUCCESS;
}

/* ---- the rest ---- */

static void note_suback(struct bridge *b, size_t entry, uint8_t reason)
{
    struct buf filter = BUF_EMPTY;
    b->refused[entry] = reason >= 0x80;
    if (reason < 0x80) return;
    bridge_topic_filter(&b->settings->topics[entry], false, &filter);
    b->is_refused = true;
    bridge_note_error(b, "the remote broker refused the subscription to %.*s: %s", (int)filter.size,
                      filter.size ? filter.at : "", mqtt_reason_name((enum mqtt_reason)reason));
    buf_free(&filter);
}

/* The codes stand in the order of the filters that were sent (3.9.3). A remote that gives fewer
 * has not refused the others. */
static void on_suback(struct bridge *b, const struct mqtt_packet *p)
{
    MUST(is_bridge(b));
    const struct bridge_settings *s = b->settings;
    size_t n = 0, i = 0, end = s->topic_count;
    b->is_subscribed = true;
    if (p->packet_id >= ENTRY_PACKET_ID) { /* one entry's */
        i = (size_t)p->packet_id - ENTRY_PACKET_ID;
        if (i < end) end = i + 1;
    }
    for (; i < end && n < p->rest.size; i++)
        if (s->topics[i].is_in) note_suback(b, i, (uint8_t)p->rest.at[n++]);
}

enum mqtt_reason bridge_take(struct connection *c, struct mqtt_packet *p, struct why *why)
{
    MUST(is_bridge(c->bridge) && c->bridge->connection == c);
    if (p->type == MQTT_CONNACK) return on_connack(c, p, why);
    if (p->type == MQTT_SUBACK) on_suback(c->bridge, p);
    if (p->type != MQTT_DISCONNECT) return MQTT_REASON_SUCCESS; /* that it came is what counts */
    (void)why_set(why, ERR_CLOSED, "the remote broker ends the connection: %s",
                  mqtt_reason_name((enum mqtt_reason)p->reason));
    connection_end(c, MQTT_REASON_SUCCESS, why->text);
    return MQTT_REASON_SUCCESS;
}

/* Twice in a keep-alive: whoever is heard from in between lives. What cannot be read just now is
 * no sign of death. */
void bridge_ping(struct connection *c)
{
    int64_t now_s = broker_now_s(c->broker), half_s = (c->keep_alive_s + 1) / 2;
    MUST(c->is_dialled && c->state == CONNECTION_OPEN);
    if (c->has_pinged && now_s - c->heard_s > c->keep_alive_s && !c->is_paused) {
        connection_end(c, MQTT_REASON_UNSPECIFIED,
                       "the remote broker has not answered for a keep-alive");
        return;
    }
    c->has_pinged = true;
    mqtt_write_ping(connection_out(c), MQTT_PINGREQ);
    connection_touch(c);
    wheel_set(&c->broker->wheel, &c->timer, now_s + half_s);
}

/* A client may give fewer reasons than a server. A bridge that was deleted leaves nothing behind.
 */
void bridge_disconnect(struct connection *c, enum mqtt_reason reason)
{
    MUST(c->is_dialled);
    static const uint8_t clients[] = {
        MQTT_REASON_UNSPECIFIED,         MQTT_REASON_MALFORMED_PACKET,
        MQTT_REASON_PROTOCOL_ERROR,      MQTT_REASON_RECEIVE_MAXIMUM_EXCEEDED,
        MQTT_REASON_TOPIC_ALIAS_INVALID, MQTT_REASON_PACKET_TOO_LARGE,
        MQTT_REASON_QUOTA_EXCEEDED,      MQTT_REASON_ADMINISTRATIVE_ACTION};
    struct buf *out = connection_out(c);
    struct mqtt_writer w;
    if (reason && !memchr(clients, (int)reason, sizeof clients)) reason = MQTT_REASON_SUCCESS;
    if (c->version != MQTT_5 || !c->bridge || !c->bridge->is_removed) {
        mqtt_write_disconnect(out, (enum mqtt_version)c->version, reason, STR(""));
        return;
    }
    mqtt_begin(&w, out, MQTT_DISCONNECT, 0);
    buf_add_char(out, (char)reason);
    mqtt_begin_properties(&w);
    mqtt_write_number(out, MQTT_PROPERTY_SESSION_EXPIRY, 0);
    mqtt_end_properties(&w);
    mqtt_end(&w);
}
