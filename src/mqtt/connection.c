/* connection.c - one client's connection: bytes in and out, its limits in time and size, its end.
 *
 * Packets are parsed where they were read; only what is cut off by a read's end is kept. Output is
 * gathered while the task's turn lasts and handed to the kernel once, at its end. Idle connections
 * hold no buffers. What one connection may bring in one turn is bounded (TURN_BYTES), so that the
 * others get theirs.
 *
 * Reading is held up for four reasons, each with its own mark: the turn's share is used up (until
 * the turn's end), the broker has more on its way to the disk than it may (is_held), its rate
 * (hold, limits.c), a login that is being checked (LOGIN). is_paused is what the stream was told;
 * it is taken back when none of them holds (resume_reading).
 *
 * A connection that ends is unlinked at once and freed at the end of the turn, since its own code
 * may be on the stack. Its way there: connection_end says why, lets go of the session and leaves
 * the stream some seconds for the last bytes; end_sent tells the peer that there is nothing more
 * and reads on to the peer's end; close_now closes, gives back what was counted and moves it to
 * `gone`; free_gone frees what nobody names any more. connection_cut goes straight to close_now.
 * Every path passes close_now, once. */
#include "mqtt/broker_priv.h"
#include <string.h>

static const char component[] = "mqtt";

enum {
    ENDING_SECONDS = 5,         /* for the last bytes, and for the peer to read them */
    ENDING_BYTES = 1024 * 1024, /* that a peer may send meanwhile */
    LEAVING_MAX = 256,          /* connections that are closed so; more are cut */
    TURN_BYTES = 256 * 1024,
    SPARE_BYTES_MAX = 64 * 1024, /* larger buffers are given back */
};

struct connection *connection_new(struct broker *broker)
{
    MUST(broker_is_valid(broker));
    struct connection *c = mem_alloc_zero(1, sizeof *c);
    if (!c) return NULL;
    c->magic = CONNECTION_MAGIC;
    c->broker = broker;
    c->packet_max = UINT32_MAX; /* until the other side says otherwise */
    c->qos_max = 2;
    c->wants_problem = true;
    c->packet_in_max = (uint32_t)broker->config.packet_bytes_max;
    c->receive_in_max = broker->config.receive_maximum;
    c->alias_in_max = broker->config.topic_alias_maximum;
    c->timer.kind = WHEEL_CONNECTION;
    c->heard_s = broker_in_s(broker, 0);
    c->next = broker->connections;
    if (c->next) c->next->previous = c;
    broker->connections = c;
    broker->connection_count++;
    metric_add(broker->context, METRIC_MQTT_CONNECTIONS, 1);
    return c;
}

/* ---- output ---- */

struct buf *connection_out(struct connection *c)
{
    struct broker *broker = c->broker;
    if (!c->out && broker->spare_count) c->out = broker->spares[--broker->spare_count];
    if (!c->out && !(c->out = mem_alloc_zero(1, sizeof *c->out))) {
        broker->no_output.failed = true; /* takes nothing; who has it ends when it is flushed */
        c->out = &broker->no_output;
    }
    return c->out;
}

const char *connection_peer(const struct connection *c)
{
    if (c->origin && c->origin->peer[0]) return c->origin->peer;
    return c->stream ? os_stream_peer(c->stream) : "a client that has gone";
}

struct origin *connection_origin(struct connection *c)
{
    MUST(connection_is_valid(c));
    if (!c->origin) c->origin = mem_alloc_zero(1, sizeof *c->origin);
    return c->origin;
}

/* NULL allowed. */
static void free_origin(struct origin *origin)
{
    if (!origin) return;
    identity_release(origin->visitor);
    tls_config_release(origin->tls);
    mem_free(origin->psk);
    mem_free(origin->certificate);
    mem_free(origin);
}

void connection_touch(struct connection *c)
{
    MUST(c->magic == CONNECTION_MAGIC);
    if (c->is_dirty) return;
    c->is_dirty = true;
    c->next_dirty = c->broker->dirty;
    c->broker->dirty = c;
}

/* What was sent, or never will be. */
static void drop_output(struct connection *c)
{
    struct broker *broker = c->broker;
    struct buf *out = c->out;
    MUST(broker->spare_count <= SPARES_MAX);
    c->out = NULL;
    if (!out || out == &broker->no_output) return;
    buf_clear(out);
    if (broker->spare_count < SPARES_MAX && out->capacity <= SPARE_BYTES_MAX && out->at) {
        broker->spares[broker->spare_count++] = out;
        return;
    }
    buf_free(out);
    mem_free(out);
}

/* What is held back stays in `out` until the journal lets it go. On a failure of memory the
 * connection ends: the other side would miss a part of the stream. */
static void flush(struct connection *c)
{
    MUST(connection_is_valid(c));
    if (!c->stream || !c->out || (!c->out->size && !buf_failed(c->out))) return;
    if (c->held_output && !buf_failed(c->out)) return;
    if (c->broker->traces) trace_output(c);
    c->traced = 0;
    enum err err =
        buf_failed(c->out) ? ERR_NO_MEMORY : os_stream_write(c->stream, c->out->at, c->out->size);
    if (!err) metric_add(c->broker->context, METRIC_MQTT_BYTES_OUT, c->out->size);
    drop_output(c);
    if (err == ERR_NO_MEMORY) {
        connection_end(c, MQTT_REASON_SUCCESS, "no memory for what is to be sent");
        return;
    }
    /* A channel takes a turn of two tasks also when the peer is fast. */
    size_t usual = c->is_channel ? c->broker->config.send_bytes_max / 2 : 0;
    c->is_slow = os_stream_queued(c->stream) > usual;
}

/* The one way out of the list. Twice is once. */
static void close_now(struct connection *c)
{
    MUST(connection_is_valid(c) && !c->session);
    os_stream_close(&c->stream);
    wheel_stop(&c->broker->wheel, &c->timer);
    if (c->is_freeing) return;
    c->is_freeing = true;
    if (c->is_leaving) c->broker->leaving_count--;
    limits_gone(c);
    *(c->previous ? &c->previous->next : &c->broker->connections) = c->next;
    if (c->next) c->next->previous = c->previous;
    c->next = c->broker->gone;
    c->broker->gone = c;
}

/* The last bytes are sent. A peer that is still writing would get a reset before it has read why it
 * was dropped, so it is told the end, and what it sends is thrown away until it closes. It has
 * given its place among the limits to others by then. */
static void end_sent(struct connection *c)
{
    MUST(c->state == CONNECTION_ENDING && c->stream);
    if (c->is_leaving) return;
    if (c->ended_well || c->is_dialled || c->broker->leaving_count >= LEAVING_MAX ||
        !os_stream_shutdown(c->stream)) {
        close_now(c);
        return;
    }
    c->is_leaving = true;
    c->broker->leaving_count++;
    limits_gone(c);
    c->turn_bytes = 0;
    os_stream_pause(c->stream, false);
}

/* What a peer sends after the end, up to a bound. */
static void discard(struct connection *c, size_t size)
{
    MUST(c->state == CONNECTION_ENDING);
    c->turn_bytes += (uint32_t)size;
    if (c->turn_bytes < ENDING_BYTES) return;
    close_now(c);
    connection_touch(c); /* so that this turn frees it */
}

/* When nothing holds it up any more. */
static void resume_reading(struct connection *c)
{
    MUST(connection_is_valid(c));
    if (!c->stream || !c->is_paused || c->is_held || c->hold || c->state == CONNECTION_LOGIN)
        return;
    c->is_paused = false;
    os_stream_pause(c->stream, false);
}

struct aliases *connection_aliases(struct connection *c)
{
    MUST(connection_is_valid(c));
    if (!c->aliases) c->aliases = mem_alloc_zero(1, sizeof *c->aliases);
    return c->aliases;
}

/* NULL allowed. */
static void free_aliases(struct connection *c)
{
    struct aliases *a = c->aliases;
    if (!a) return;
    for (uint16_t i = 0; a->in && i < a->in->count; i++) message_release(a->in->topics[i]);
    mem_free(a->in);
    if (a->out) map_free(a->out);
    mem_free(a->out);
    mem_free(a);
}

/* Those that the journal will still name stay. */
static void free_gone(struct broker *broker)
{
    for (struct connection **at = &broker->gone; *at;) {
        struct connection *c = *at;
        MUST(connection_is_valid(c) && c->is_freeing);
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
        free_origin(c->origin);
        free_aliases(c);
        connection_drop_input(c);
        drop_output(c);
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
        MUST(connection_is_valid(c) && c->is_dirty);
        broker->dirty = c->next_dirty;
        c->is_dirty = false;
        flush(c);
        bool is_sent = c->stream && !c->held_output && os_stream_queued(c->stream) == 0;
        if (c->state == CONNECTION_ENDING && is_sent)
            end_sent(c);
        else if (c->state == CONNECTION_OPEN)
            resume_reading(c);
    }
    free_gone(broker);
}

/* ---- the end ---- */

/* The session goes on without it; a bridge tries again. */
static void leave_session(struct connection *c, bool with_will, const char *text)
{
    struct session *s = c->session;
    struct bridge *bridge = c->bridge;
    MUST(!s || (session_is_valid(s) && s->connection == c));
    c->session = NULL;
    c->bridge = NULL;
    if (bridge && s && broker_has_walks(s)) bridge_keep_retained(bridge);
    if (s) session_detach(s, with_will);
    if (bridge) bridge_lost(bridge, text);
}

/* What the other side is told at the end of a connection that was open. */
static void write_end(struct connection *c, enum mqtt_reason reason, const char *text)
{
    MUST(c->stream);
    if (c->is_dialled)
        bridge_disconnect(c, reason);
    else if (c->version == MQTT_5 && reason >= 0x80)
        mqtt_write_disconnect(connection_out(c), MQTT_5, reason, connection_problem(c, text));
}

struct str connection_problem(const struct connection *c, const char *text)
{
    MUST(connection_is_valid(c));
    enum { AROUND = 16 }; /* bytes of such a packet beside the text, at most */
    size_t size = text ? strlen(text) : 0;
    bool fits = size > 0 && size < 256 && c->packet_max >= size + AROUND;
    return c->wants_problem && fits ? str_of(text) : STR("");
}

bool connection_fits(struct connection *c, size_t start)
{
    struct buf *out = connection_out(c);
    MUST(connection_is_valid(c));
    if (buf_failed(out)) return true; /* flush() ends the connection for that */
    MUST(start <= out->size);
    if (out->size - start <= c->packet_max) return true;
    out->size = start;
    return false;
}

void connection_cut(struct connection *c)
{
    MUST(connection_is_valid(c));
    if (c->is_freeing) return;
    if (c->state == CONNECTION_OPEN && c->stream) {
        write_end(c, MQTT_REASON_SERVER_SHUTTING_DOWN, NULL);
        flush(c);
    }
    c->state = CONNECTION_ENDING;
    leave_session(c, true, NULL);
    close_now(c);
}

void connection_end(struct connection *c, enum mqtt_reason reason, const char *text)
{
    MUST(connection_is_valid(c));
    if (c->state == CONNECTION_ENDING || c->is_freeing) return;
    bool was_open = c->state == CONNECTION_OPEN;
    struct session *s = c->session;
    if (!c->is_dialled)
        limits_dropped(c, was_open && !c->ended_well &&
                              reason != MQTT_REASON_ADMINISTRATIVE_ACTION &&
                              reason != MQTT_REASON_NOT_AUTHORIZED);
    if (!was_open && !c->is_dialled && reason >= 0x80 && reason != MQTT_REASON_SERVER_BUSY &&
        reason != MQTT_REASON_BANNED && reason != MQTT_REASON_QUOTA_EXCEEDED)
        limits_failed(c);
    char room[BROKER_CLIENT_SHORT_BYTES];
    struct str id = s ? session_short(session_client_id(s), room) : STR("");
    if (text && !c->is_dialled && limits_may_tell(c->broker)) /* a bridge tells of itself */
        diag(c->broker->context, DIAG_INFO, component, "%s%s%.*s: %s; the connection is closed",
             connection_peer(c), s ? " " : "", (int)id.size, id.at, text);
    if (reason >= 0x80) metric_add(c->broker->context, METRIC_MQTT_ERRORS, 1);
    if (was_open && c->stream) write_end(c, reason, text);
    if (c->broker->traces) trace_output(c); /* as long as it is known whose it is */
    c->state = CONNECTION_ENDING;
    leave_session(c, !c->ended_well, text);
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
    MUST(connection_is_valid(c));
    int64_t limit_s = c->heard_s + c->keep_alive_s + (c->keep_alive_s + 1) / 2;
    if (c->state == CONNECTION_ENDING) {
        close_now(c);
        connection_touch(c); /* so that this turn frees it */
    } else if (c->state == CONNECTION_LOGIN ||
               (c->state == CONNECTION_OPEN && c->is_paused && !c->is_dialled)) {
        wheel_set(&c->broker->wheel, node,
                  broker_now_s(c->broker) + c->broker->config.limits.connect_s);
    } else if (c->state == CONNECTION_DIALLED) {
        connection_end(c, MQTT_REASON_SUCCESS, "no answer within 10 s");
    } else if (c->is_dialled) {
        bridge_ping(c);
    } else if (c->state == CONNECTION_NEW || c->state == CONNECTION_AUTH) {
        limits_act(c->broker, LIMIT_CONNECT_TIME, connection_peer(c));
        if (c->input) limits_failed(c); /* half of one: not a look whether the port is open */
        connection_end(c, MQTT_REASON_SUCCESS, NULL);
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
    MUST(c->state != CONNECTION_LOGIN && c->state != CONNECTION_ENDING);
    struct mqtt_frame frame;
    size_t before = c->broker->config.limits.login_bytes;
    size_t limit =
        c->state != CONNECTION_OPEN && c->packet_in_max > before ? before : c->packet_in_max;
    *used = 0;
    if (c->state == CONNECTION_NEW && size && bytes[0] >> 4 != MQTT_CONNECT) {
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
        limits_act(c->broker, c->state == CONNECTION_OPEN ? LIMIT_PACKET : LIMIT_LOGIN_PACKET,
                   connection_peer(c));
        return MQTT_REASON_PACKET_TOO_LARGE;
    }
    if (size < frame.header_size + frame.body_size) return MQTT_REASON_SUCCESS;
    if (c->state == CONNECTION_NEW && !limits_may_log_in(c)) return MQTT_REASON_SUCCESS;
    *used = frame.header_size + frame.body_size;
    metric_add(c->broker->context, METRIC_MQTT_PACKETS_IN, 1);
    enum mqtt_reason reason = connection_take(
        c, frame.first, (struct str){(const char *)bytes + frame.header_size, frame.body_size},
        why);
    if (!reason && frame.first >> 4 == MQTT_PUBLISH) limits_charge(c, *used);
    return reason;
}

/* Takes all whole packets. Gives how many bytes they were; stops when the connection must wait. */
static size_t take_all(struct connection *c, const uint8_t *bytes, size_t size)
{
    size_t done = 0, used = 1;
    struct why why = WHY_NONE;
    while (done < size && used && c->stream && !c->hold && c->state != CONNECTION_LOGIN &&
           c->state != CONNECTION_ENDING) {
        enum mqtt_reason reason = take_one(c, bytes + done, size - done, &used, &why);
        if (reason) connection_end(c, reason, why.text[0] ? why.text : mqtt_reason_name(reason));
        done += used;
    }
    return done;
}

/* Packets that are not whole yet are memory that strangers take, too: it is the broker's. */
static bool charge_input(struct connection *c)
{
    MUST(c->input);
    struct input *input = c->input;
    struct budget *memory = &c->broker->memory;
    size_t wanted = input->bytes.at ? input->bytes.capacity : 0, had = input->charged;
    if (wanted > had && budget_take(memory, wanted - had)) return false;
    if (wanted < had) budget_give(memory, had - wanted);
    input->charged = wanted;
    return true;
}

bool connection_keep(struct connection *c, const void *bytes, size_t size)
{
    MUST(connection_is_valid(c));
    if (!c->input && !(c->input = mem_alloc_zero(1, sizeof *c->input))) return false;
    buf_add(&c->input->bytes, bytes, size);
    return !buf_failed(&c->input->bytes) && charge_input(c);
}

void connection_drop_input(struct connection *c)
{
    MUST(connection_is_valid(c));
    if (!c->input) return;
    buf_free(&c->input->bytes);
    budget_give(&c->broker->memory, c->input->charged);
    mem_free(c->input);
    c->input = NULL;
}

static void keep_rest(struct connection *c, const uint8_t *bytes, size_t size)
{
    if (connection_keep(c, bytes, size)) return;
    limits_act(c->broker, LIMIT_MEMORY, connection_peer(c));
    connection_end(c, MQTT_REASON_QUOTA_EXCEEDED, "no memory for a packet");
}

/* Packets that lie in `input` whole by now. What a packet does may end the connection but never
 * frees its input. */
static void take_kept(struct connection *c)
{
    struct input *input = c->input; /* nothing that a packet does touches it */
    if (!input) return;
    size_t done = take_all(c, (const uint8_t *)input->bytes.at, input->bytes.size);
    MUST(c->input == input);
    if (done == input->bytes.size)
        connection_drop_input(c);
    else if (done)
        buf_drop_front(&input->bytes, done);
}

/* Publishers wait for the log, the store or queue files. */
static bool is_full(const struct broker *broker)
{
    return journal_is_full(broker) || rows_are_full(broker) || spill_is_full(broker);
}

/* Every byte that comes. What the connection has a right to this turn is counted here, and
 * whether the broker as a whole can take more. */
static void on_read(void *owner, const uint8_t *bytes, size_t size)
{
    struct connection *c = owner;
    MUST(connection_is_valid(c));
    c->broker->now_ns = loop_mono_ns(&c->broker->loop);
    c->heard_s = broker_in_s(c->broker, 0);
    metric_add(c->broker->context, METRIC_MQTT_BYTES_IN, size);
    if (c->state == CONNECTION_ENDING) {
        discard(c, size);
        return;
    }
    if (c->input) {
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
    if (is_full(c->broker) && c->stream && !c->is_held) {
        c->is_held = c->is_paused = true;
        os_stream_pause(c->stream, true);
    }
}

void connection_resume_held(struct broker *broker)
{
    if (is_full(broker)) return;
    for (struct connection *c = broker->connections, *next; c; c = next) {
        next = c->next;
        if (!c->is_held) continue;
        c->is_held = false;
        connection_go_on(c);
    }
}

void connection_go_on(struct connection *c)
{
    MUST(connection_is_valid(c));
    if (c->is_held || c->hold) return; /* it comes again */
    take_kept(c);
    resume_reading(c);
}

static void on_open(void *owner)
{
    struct connection *c = owner;
    MUST(connection_is_valid(c));
    if (c->state == CONNECTION_DIALLED) bridge_greet(c);
}

/* The kernel, or the channel, has taken everything. */
static void on_drained(void *owner)
{
    struct connection *c = owner;
    MUST(connection_is_valid(c));
    c->is_slow = false;
    if (c->state == CONNECTION_ENDING) {
        connection_touch(c);
        return;
    }
    if (c->session) session_pump(c->session);
    resume_reading(c);
    broker_resume_walks(c->broker);
}

/* The peer has gone: by itself, by an error, or because the stream was ended. `text` says why. */
static void on_closed(void *owner, enum err err, const char *text)
{
    struct connection *c = owner;
    MUST(connection_is_valid(c));
    if (err == ERR_TLS && !c->is_dialled)
        diag(c->broker->context, DIAG_WARNING, component, "%s: %s", connection_peer(c), text);
    os_stream_close(&c->stream);
    if (c->state == CONNECTION_ENDING)
        close_now(c);
    else
        connection_end(c, MQTT_REASON_SUCCESS, c->is_dialled ? text : NULL);
    connection_touch(c);
}

const struct os_stream_events connection_events = {
    .on_open = on_open, .on_read = on_read, .on_drained = on_drained, .on_closed = on_closed};
