/* connection.c - one client's connection: bytes in and out, its limits in time and size, its end.
 *
 * Packets are parsed where they were read; only what is cut off by a read's end is kept. Output is
 * gathered while the task's turn lasts and handed to the kernel once, at its end. Idle connections
 * hold no buffers. What one connection may bring in one turn is bounded (TURN_BYTES), so that the
 * others get theirs.
 *
 * A connection that ends is unlinked at once and freed at the end of the turn, since its own code
 * may be on the stack. */
#include "mqtt/broker_priv.h"
#include <string.h>

static const char component[] = "mqtt";

enum {
    ENDING_SECONDS = 5,             /* for the last bytes */
    CONNECT_BYTES_MAX = 256 * 1024, /* before the login: will and password included */
    TURN_BYTES = 256 * 1024,
    SPARE_BYTES_MAX = 64 * 1024, /* larger buffers are given back */
};

static bool is_connection(const struct connection *c)
{
    return c && c->magic == CONNECTION_MAGIC && c->broker->magic == BROKER_MAGIC;
}

/* ---- output ---- */

struct buf *connection_out(struct connection *c)
{
    struct broker *broker = c->broker;
    if (!c->out.at && broker->spare_count) c->out = broker->spares[--broker->spare_count];
    return &c->out;
}

const char *connection_peer(const struct connection *c)
{
    if (c->proxied && c->proxied->peer[0]) return c->proxied->peer;
    return c->stream ? os_stream_peer(c->stream) : "a client that has gone";
}

void connection_touch(struct connection *c)
{
    if (c->is_dirty) return;
    c->is_dirty = true;
    c->next_dirty = c->broker->dirty;
    c->broker->dirty = c;
}

static void keep_spare(struct broker *broker, struct buf *buf)
{
    buf_clear(buf);
    if (broker->spare_count < SPARES_MAX && buf->capacity <= SPARE_BYTES_MAX && buf->at) {
        broker->spares[broker->spare_count++] = *buf;
        *buf = BUF_EMPTY;
    }
    buf_free(buf);
}

static void flush(struct connection *c)
{
    if (!c->stream || !c->out.size) return;
    if (c->broker->traces) trace_output(c);
    c->traced = 0;
    enum err err =
        buf_failed(&c->out) ? ERR_NO_MEMORY : os_stream_write(c->stream, c->out.at, c->out.size);
    keep_spare(c->broker, &c->out);
    if (err == ERR_NO_MEMORY) {
        connection_end(c, MQTT_REASON_SUCCESS, "no memory for what is to be sent");
        return;
    }
    /* A channel takes a turn of two tasks also when the peer is fast. */
    size_t usual = c->is_channel ? c->broker->config.send_bytes_max / 2 : 0;
    c->is_slow = os_stream_queued(c->stream) > usual;
}

static void close_now(struct connection *c)
{
    os_stream_close(&c->stream);
    wheel_stop(&c->broker->wheel, &c->timer);
    if (c->is_freeing) return;
    c->is_freeing = true;
    *(c->previous ? &c->previous->next : &c->broker->connections) = c->next;
    if (c->next) c->next->previous = c->previous;
    c->next = c->broker->gone;
    c->broker->gone = c;
}

static void resume_reading(struct connection *c)
{
    if (!c->stream || !c->is_paused || c->is_held || c->state == CONNECTION_LOGIN) return;
    c->is_paused = false;
    os_stream_pause(c->stream, false);
}

static void free_aliases(struct connection *c)
{
    for (uint16_t i = 0; c->aliases_in && i < c->aliases_in->count; i++)
        message_release(c->aliases_in->topics[i]);
    mem_free(c->aliases_in);
    if (c->aliases_out) map_free(c->aliases_out);
    mem_free(c->aliases_out);
}

/* Those that the journal will still name stay. */
static void free_gone(struct broker *broker)
{
    for (struct connection **at = &broker->gone; *at;) {
        struct connection *c = *at;
        if (c->waiting_acks && !broker->is_stopping) {
            at = &c->next;
            continue;
        }
        *at = c->next;
        MUST(!c->session && !c->stream && !c->is_dirty);
        if (c->login && c->login->is_away)
            c->login->connection = NULL;
        else if (c->login)
            broker_login_free(c->login);
        connection_free_kept(c);
        identity_release(c->visitor);
        if (c->proxied) tls_config_release(c->proxied->tls);
        mem_free(c->proxied);
        free_aliases(c);
        buf_free(&c->in);
        buf_free(&c->out);
        broker->connection_count--;
        metric_add(broker->context, METRIC_MQTT_CONNECTIONS, (uint64_t)-1);
        c->magic = 0;
        mem_free(c);
    }
}

void connection_flush_all(struct broker *broker)
{
    while (broker->dirty) {
        struct connection *c = broker->dirty;
        broker->dirty = c->next_dirty;
        c->is_dirty = false;
        flush(c);
        if (c->state == CONNECTION_ENDING && c->stream && os_stream_queued(c->stream) == 0)
            close_now(c);
        else if (c->state == CONNECTION_OPEN)
            resume_reading(c);
    }
    free_gone(broker);
}

/* ---- the end ---- */

/* The session goes on without it. */
static void leave_session(struct connection *c, bool with_will)
{
    struct session *s = c->session;
    c->session = NULL;
    if (s) session_detach(s, with_will && !c->broker->is_stopping);
}

struct str connection_problem(const struct connection *c, const char *text)
{
    enum { AROUND = 16 }; /* bytes of such a packet beside the text, at most */
    size_t size = text ? strlen(text) : 0;
    bool fits = size > 0 && size < 256 && c->packet_max >= size + AROUND;
    return c->wants_problem && fits ? str_of(text) : STR("");
}

void connection_cut(struct connection *c)
{
    MUST(is_connection(c));
    if (c->is_freeing) return;
    if (c->state == CONNECTION_OPEN && c->version == MQTT_5 && c->stream) {
        mqtt_write_disconnect(connection_out(c), MQTT_5, MQTT_REASON_SERVER_SHUTTING_DOWN, STR(""));
        flush(c);
    }
    c->state = CONNECTION_ENDING;
    leave_session(c, true);
    close_now(c);
}

void connection_end(struct connection *c, enum mqtt_reason reason, const char *text)
{
    MUST(is_connection(c));
    if (c->state == CONNECTION_ENDING || c->is_freeing) return;
    bool was_open = c->state == CONNECTION_OPEN;
    struct session *s = c->session;
    if (text)
        diag(c->broker->context, DIAG_INFO, component, "%s%s%.*s: %s; the connection is closed",
             connection_peer(c), s ? " " : "", s ? (int)s->client_id.size : 0,
             s ? s->client_id.at : "", text);
    if (reason >= 0x80) metric_add(c->broker->context, METRIC_MQTT_ERRORS, 1);
    if (was_open && c->version == MQTT_5 && reason >= 0x80 && c->stream)
        mqtt_write_disconnect(connection_out(c), MQTT_5, reason, connection_problem(c, text));
    if (c->broker->traces) trace_output(c); /* as long as it is known whose it is */
    c->state = CONNECTION_ENDING;
    leave_session(c, !c->ended_well);
    if (!c->stream) {
        close_now(c);
        return;
    }
    os_stream_pause(c->stream, true);
    wheel_set(&c->broker->wheel, &c->timer, broker_now_s(c->broker) + ENDING_SECONDS);
    connection_touch(c);
}

void connection_on_timer(struct wheel_node *node)
{
    struct connection *c = (void *)((char *)node - offsetof(struct connection, timer));
    MUST(is_connection(c));
    int64_t limit_s = c->heard_s + c->keep_alive_s + (c->keep_alive_s + 1) / 2;
    if (c->state == CONNECTION_ENDING) {
        close_now(c);
        connection_touch(c); /* so that this turn frees it */
    } else if (c->state == CONNECTION_LOGIN || (c->state == CONNECTION_OPEN && c->is_paused)) {
        wheel_set(&c->broker->wheel, node, broker_now_s(c->broker) + CONNECT_SECONDS);
    } else if (c->state == CONNECTION_NEW || c->state == CONNECTION_AUTH) {
        connection_end(c, MQTT_REASON_SUCCESS, "no CONNECT, or no AUTH, within 10 s");
    } else if (broker_now_s(c->broker) >= limit_s) {
        connection_end(c, MQTT_REASON_KEEP_ALIVE_TIMEOUT, "nothing heard for 1.5 keep-alives");
    } else {
        wheel_set(&c->broker->wheel, node, limit_s);
    }
}

/* ---- input ---- */

/* The first packet in the bytes, if it is whole. `*used` 0: more bytes are needed. */
static enum mqtt_reason take_one(struct connection *c, const uint8_t *bytes, size_t size,
                                 size_t *used, struct why *why)
{
    struct mqtt_frame frame;
    size_t limit = c->state != CONNECTION_OPEN && c->packet_in_max > CONNECT_BYTES_MAX
                       ? CONNECT_BYTES_MAX
                       : c->packet_in_max;
    *used = 0;
    if (c->state == CONNECTION_NEW && size && bytes[0] != MQTT_CONNECT << 4) {
        (void)why_set(why, ERR_PROTOCOL, "the first packet is no CONNECT");
        return MQTT_REASON_PROTOCOL_ERROR;
    }
    if (c->state == CONNECTION_AUTH && size && bytes[0] != MQTT_AUTH << 4) {
        (void)why_set(why, ERR_PROTOCOL, "no AUTH where one must come");
        return MQTT_REASON_PROTOCOL_ERROR;
    }
    enum err err = mqtt_frame_read(bytes, size, limit, &frame);
    if (err == ERR_BUSY) return MQTT_REASON_SUCCESS;
    if (err == ERR_PROTOCOL) {
        (void)why_set(why, err, "a packet's length is no length");
        return MQTT_REASON_MALFORMED_PACKET;
    }
    if (err) {
        (void)why_set(why, err, "a packet of %zu bytes; the limit is %zu", frame.body_size, limit);
        return MQTT_REASON_PACKET_TOO_LARGE;
    }
    if (size < frame.header_size + frame.body_size) return MQTT_REASON_SUCCESS;
    *used = frame.header_size + frame.body_size;
    metric_add(c->broker->context, METRIC_MQTT_PACKETS_IN, 1);
    return connection_take(c, frame.first,
                           (struct str){(const char *)bytes + frame.header_size, frame.body_size},
                           why);
}

/* Takes all whole packets. Gives how many bytes they were; stops when the connection must wait. */
static size_t take_all(struct connection *c, const uint8_t *bytes, size_t size)
{
    size_t done = 0, used = 1;
    struct why why = WHY_NONE;
    while (done < size && used && c->stream && c->state != CONNECTION_LOGIN &&
           c->state != CONNECTION_ENDING) {
        enum mqtt_reason reason = take_one(c, bytes + done, size - done, &used, &why);
        if (reason) connection_end(c, reason, why.text[0] ? why.text : mqtt_reason_name(reason));
        done += used;
    }
    return done;
}

static void keep_rest(struct connection *c, const uint8_t *bytes, size_t size)
{
    buf_add(&c->in, bytes, size);
    if (buf_failed(&c->in)) connection_end(c, MQTT_REASON_QUOTA_EXCEEDED, "no memory for a packet");
}

static void take_kept(struct connection *c)
{
    size_t done = take_all(c, (const uint8_t *)c->in.at, c->in.size);
    if (done == c->in.size)
        buf_free(&c->in);
    else if (done)
        buf_drop_front(&c->in, done);
}

static void on_read(void *owner, const uint8_t *bytes, size_t size)
{
    struct connection *c = owner;
    MUST(is_connection(c));
    c->broker->now_ns = loop_mono_ns(&c->broker->loop);
    c->heard_s = broker_now_s(c->broker);
    if (c->state == CONNECTION_ENDING) return;
    if (c->in.size) {
        keep_rest(c, bytes, size);
        take_kept(c);
    } else {
        size_t done = take_all(c, bytes, size);
        if (done < size && c->state != CONNECTION_ENDING) keep_rest(c, bytes + done, size - done);
    }
    c->turn_bytes += (uint32_t)size;
    if (c->turn_bytes >= TURN_BYTES && c->stream && !c->is_paused) {
        c->is_paused = true;
        os_stream_pause(c->stream, true);
        connection_touch(c);
    }
    if (c->turn_bytes >= TURN_BYTES) c->turn_bytes = 0;
    if ((journal_is_full(c->broker) || rows_are_full(c->broker)) && c->stream && !c->is_held) {
        c->is_held = c->is_paused = true;
        os_stream_pause(c->stream, true);
    }
}

void connection_resume_held(struct broker *broker)
{
    for (struct connection *c = broker->connections; c; c = c->next) {
        if (!c->is_held) continue;
        c->is_held = false;
        resume_reading(c);
    }
}

void connection_go_on(struct connection *c)
{
    take_kept(c);
    resume_reading(c);
}

static void on_drained(void *owner)
{
    struct connection *c = owner;
    MUST(is_connection(c));
    c->is_slow = false;
    if (c->state == CONNECTION_ENDING) {
        close_now(c);
        connection_touch(c);
        return;
    }
    if (c->session) session_pump(c->session);
    resume_reading(c);
    broker_resume_walks(c->broker);
}

static void on_closed(void *owner, enum err err, const char *text)
{
    struct connection *c = owner;
    MUST(is_connection(c));
    if (err == ERR_TLS)
        diag(c->broker->context, DIAG_WARNING, component, "%s: %s", connection_peer(c), text);
    os_stream_close(&c->stream);
    if (c->state == CONNECTION_ENDING)
        close_now(c);
    else
        connection_end(c, MQTT_REASON_SUCCESS, NULL);
    connection_touch(c);
}

const struct os_stream_events connection_events = {
    .on_read = on_read, .on_drained = on_drained, .on_closed = on_closed};
