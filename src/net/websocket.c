/* websocket.c - WebSocket over a connection that was HTTP (RFC 6455), by wslay.
 *
 * wslay works on memory: bytes of the stream are offered to it through a cursor, and what it wants
 * to send is gathered and written in one go. It checks masks, fragmentation, UTF-8 and the size
 * limit, and answers pings and closes. A socket's owner may do anything inside an event, also
 * close; memory is freed when wslay is off the stack.
 *
 *     open → is_closing (a close frame is queued, or both were exchanged) → is_gone (on_closed was
 *     called; the connection has no stream) → freed
 *
 * Called by the connection and by the socket's owner. Invariants: it is its connection's `socket`
 * until it is freed; on_closed comes once, and no event after it; is_receiving exactly while wslay
 * reads. */
#include "net/http_priv.h"
#include "net/websocket_client.h"
#include "base/timetext.h"
#include <stdio.h>
#include <string.h>
#include <wslay/wslay.h>

enum {
    WEBSOCKET_MAGIC = 0x77656273,
    WEBSOCKET_MESSAGE_MAX = 1024 * 1024,
    WEBSOCKET_SILENCE_SECONDS = 90,
    WEBSOCKET_KEY_BYTES = 24,
};

struct websocket {
    unsigned magic;
    struct http_connection *connection;
    const struct websocket_events *events;
    void *owner;
    wslay_event_context_ptr wslay;
    const uint8_t *at; /* input not yet taken by wslay */
    size_t left;
    struct buf out;
    int64_t heard_ns;
    /* wslay reads; no message is sent or given any more; the owner was told. */
    bool is_receiving, is_closing, is_gone;
    bool is_control; /* the frame that is being read, of an owner that takes bytes */
};

/* ---- wslay's callbacks ---- */

static ssize_t give_input(wslay_event_context_ptr wslay, uint8_t *bytes, size_t size, int flags,
                          void *arg)
{
    struct websocket *s = arg;
    (void)flags;
    if (s->left == 0) {
        wslay_event_set_error(wslay, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    size_t n = size < s->left ? size : s->left;
    memcpy(bytes, s->at, n);
    s->at += n;
    s->left -= n;
    return (ssize_t)n;
}

static ssize_t take_output(wslay_event_context_ptr wslay, const uint8_t *bytes, size_t size,
                           int flags, void *arg)
{
    struct websocket *s = arg;
    (void)flags;
    buf_add(&s->out, bytes, size);
    if (!buf_failed(&s->out)) return (ssize_t)size;
    wslay_event_set_error(wslay, WSLAY_ERR_CALLBACK_FAILURE);
    return -1;
}

static void on_message(wslay_event_context_ptr wslay, const struct wslay_event_on_msg_recv_arg *m,
                       void *arg)
{
    struct websocket *s = arg;
    (void)wslay;
    if (wslay_is_ctrl_frame(m->opcode) || s->is_gone || s->is_closing || !s->events->on_message)
        return;
    s->events->on_message(s->owner, m->opcode == WSLAY_TEXT_FRAME,
                          (struct str){(const char *)m->msg, m->msg_length});
}

/* ---- an owner that takes bytes ---- */

static void on_frame(wslay_event_context_ptr wslay,
                     const struct wslay_event_on_frame_recv_start_arg *frame, void *arg)
{
    struct websocket *s = arg;
    (void)wslay;
    s->is_control = wslay_is_ctrl_frame(frame->opcode);
    if (frame->opcode == WSLAY_TEXT_FRAME && s->events->on_bytes && !s->is_gone)
        websocket_close(s, WSLAY_CODE_UNSUPPORTED_DATA, "binary frames only");
}

static void on_chunk(wslay_event_context_ptr wslay,
                     const struct wslay_event_on_frame_recv_chunk_arg *chunk, void *arg)
{
    struct websocket *s = arg;
    (void)wslay;
    if (s->is_control || s->is_gone || s->is_closing || !s->events->on_bytes) return;
    if (chunk->data_length)
        s->events->on_bytes(s->owner, (struct str){(const char *)chunk->data, chunk->data_length});
}

static const struct wslay_event_callbacks callbacks = {.recv_callback = give_input,
                                                       .send_callback = take_output,
                                                       .on_msg_recv_callback = on_message,
                                                       .on_frame_recv_start_callback = on_frame,
                                                       .on_frame_recv_chunk_callback = on_chunk};

/* ---- life ---- */

static void release(struct websocket *s)
{
    MUST(s->magic == WEBSOCKET_MAGIC && !s->is_receiving && s->connection->socket == s);
    s->connection->socket = NULL;
    wslay_event_context_free(s->wslay);
    buf_free(&s->out);
    s->magic = 0;
    mem_free(s);
}

void websocket_gone(struct websocket *s)
{
    MUST(s->magic == WEBSOCKET_MAGIC);
    if (s->is_gone) return;
    s->is_gone = true;
    s->left = 0;
    if (s->events->on_closed) s->events->on_closed(s->owner);
    if (!s->is_receiving) release(s);
}

/* Writes what wslay has; the connection is over when the closing handshake is. False: the socket is
 * gone. */
static bool flush(struct websocket *s)
{
    struct http_connection *c = s->connection;
    MUST(!s->is_receiving && c->entered);
    if (s->is_gone) return false;
    int result = wslay_event_send(s->wslay);
    bool good = result == 0 && http_connection_write(c, s->out.at, s->out.size);
    if (c->socket != s || s->is_gone) return false;
    buf_free(&s->out);
    bool over = !wslay_event_want_read(s->wslay) && !wslay_event_want_write(s->wslay);
    if (!good || (over && os_stream_queued(c->stream) == 0)) {
        http_connection_cut(c);
        return false;
    }
    if (over && !s->is_closing) {
        s->is_closing = true;
        http_wait_set(c, HTTP_WAIT_LINGER);
    }
    return true;
}

void websocket_input(struct websocket *s, const char *bytes, size_t size)
{
    MUST(s->magic == WEBSOCKET_MAGIC && !s->is_receiving && !s->is_gone);
    s->heard_ns = loop_mono_ns(s->connection->server->loop);
    s->at = (const uint8_t *)bytes;
    s->left = size;
    s->is_receiving = true;
    int result = wslay_event_recv(s->wslay);
    s->is_receiving = false;
    s->left = 0;
    if (s->is_gone) {
        release(s);
        return;
    }
    /* Most faults make wslay queue a close frame itself; a malformed frame header or no memory
     * makes it fail. */
    if (result != 0)
        http_connection_cut(s->connection);
    else
        (void)flush(s);
}

void websocket_drained(struct websocket *s)
{
    MUST(s->magic == WEBSOCKET_MAGIC && !s->is_gone);
    if (!wslay_event_want_read(s->wslay) && !wslay_event_want_write(s->wslay)) {
        http_connection_cut(s->connection);
        return;
    }
    if (s->events->on_drained) s->events->on_drained(s->owner);
}

void websocket_tick(struct websocket *s)
{
    MUST(s->magic == WEBSOCKET_MAGIC && !s->is_gone);
    static const struct wslay_event_msg ping = {
        .opcode = WSLAY_PING, .msg = (const uint8_t *)"", .msg_length = 0};
    struct http_connection *c = s->connection;
    if (c->is_held) s->heard_ns = loop_mono_ns(c->server->loop);
    int64_t silence_ns = loop_mono_ns(c->server->loop) - s->heard_ns;
    if (s->is_closing || silence_ns >= WEBSOCKET_SILENCE_SECONDS * TIME_NS_PER_S) {
        http_connection_cut(c);
        return;
    }
    http_wait_set(c, HTTP_WAIT_SOCKET);
    (void)wslay_event_queue_msg(s->wslay, &ping); /* without memory the next tick tries again */
    (void)flush(s);
}

/* ---- accepting ---- */

/* A client waits for the answer before it sends frames; one that did not is refused, so that no
 * event comes before the owner has its socket. */
static bool sent_early(const struct http_connection *c)
{
    return c->in.size > 0 && c->entered == 0;
}

static bool is_handshake(const struct http_exchange *x, struct str key)
{
    const struct http_request *r = &x->request;
    return x->upgrade && !x->is_http10 && str_is(r->method, "GET") &&
           x->connection->reader.is_done && !sent_early(x->connection) &&
           http_list_has(http_header(r, "Upgrade"), "websocket") &&
           str_is(http_header(r, "Sec-WebSocket-Version"), "13") && key.size == WEBSOCKET_KEY_BYTES;
}

static struct websocket *websocket_new(struct http_connection *c,
                                       const struct websocket_events *events, void *owner)
{
    struct websocket *s = mem_alloc_zero(1, sizeof *s);
    if (!s) return NULL;
    *s = (struct websocket){
        .magic = WEBSOCKET_MAGIC, .connection = c, .events = events, .owner = owner};
    s->heard_ns = loop_mono_ns(c->server->loop);
    if (wslay_event_context_server_init(&s->wslay, &callbacks, s)) {
        mem_free(s);
        return NULL;
    }
    bool is_streamed = events->on_bytes != NULL;
    MUST(!is_streamed || !events->on_message);
    wslay_event_config_set_no_buffering(s->wslay, is_streamed);
    wslay_event_config_set_max_recv_msg_length(s->wslay,
                                               is_streamed ? INT64_MAX : WEBSOCKET_MESSAGE_MAX);
    return s;
}

struct websocket *websocket_accept(struct http_exchange *x, const struct websocket_events *events,
                                   void *owner)
{
    MUST(x->magic == HTTP_EXCHANGE_MAGIC && !x->is_begun);
    struct http_connection *c = x->connection;
    struct str key = http_header(&x->request, "Sec-WebSocket-Key");
    if (!is_handshake(x, key)) {
        http_add_header(x, "Sec-WebSocket-Version", "13");
        http_reply_status(x, 400, "INVALID",
                          "this path speaks WebSocket (RFC 6455, version 13) only");
        return NULL;
    }
    struct websocket *s = x->is_gone ? NULL : websocket_new(c, events, owner);
    if (!s) {
        http_reply_error(x, ERR_NO_MEMORY, NULL);
        return NULL;
    }
    char accept[WEBSOCKET_ACCEPT_BYTES];
    struct buf out = BUF_EMPTY;
    websocket_accept_value(key.at, accept);
    http_add_header(x, "Upgrade", "websocket");
    http_add_header(x, "Connection", "Upgrade");
    http_add_header(x, "Sec-WebSocket-Accept", accept);
    c->close_after = false;
    http_connection_enter(c);
    http_answer_head(x, &out, 101, NULL, -1);
    x->on_gone = NULL;
    bool good = !buf_failed(&out) && http_connection_write(c, out.at, out.size);
    buf_free(&out);
    metric_add(c->server->context, METRIC_HTTP_REQUESTS, 1);
    http_exchange_free(x);
    c->socket = s;
    if (good) {
        c->state = HTTP_STATE_SOCKET;
        http_wait_set(c, HTTP_WAIT_SOCKET);
    } else {
        release(s);
        http_connection_cut(c);
        s = NULL;
    }
    http_connection_leave(c);
    return s;
}

/* ---- sending ---- */

bool websocket_send(struct websocket *s, bool is_text, struct str message, size_t limit)
{
    MUST(s->magic == WEBSOCKET_MAGIC && !s->is_gone);
    struct http_connection *c = s->connection;
    if (s->is_closing ||
        os_stream_queued(c->stream) + wslay_event_get_queued_msg_length(s->wslay) > limit)
        return false;
    struct wslay_event_msg m = {.opcode = is_text ? WSLAY_TEXT_FRAME : WSLAY_BINARY_FRAME,
                                .msg = (const uint8_t *)message.at,
                                .msg_length = message.size};
    if (wslay_event_queue_msg(s->wslay, &m)) return false;
    if (s->is_receiving) return true; /* goes out when wslay has read to the end */
    http_connection_enter(c);
    bool good = flush(s);
    http_connection_leave(c);
    return good;
}

size_t websocket_queued(const struct websocket *s)
{
    MUST(s->magic == WEBSOCKET_MAGIC && !s->is_gone);
    return os_stream_queued(s->connection->stream) + wslay_event_get_queued_msg_length(s->wslay);
}

void websocket_pause(struct websocket *s, bool paused)
{
    MUST(s->magic == WEBSOCKET_MAGIC && !s->is_gone);
    struct http_connection *c = s->connection;
    if (c->is_held == paused) return;
    http_connection_enter(c);
    c->is_held = paused;
    http_connection_leave(c);
}

void websocket_close(struct websocket *s, int code, const char *reason)
{
    MUST(s->magic == WEBSOCKET_MAGIC && !s->is_gone && code >= 1000 && code < 5000 &&
         strlen(reason) <= 123);
    struct http_connection *c = s->connection;
    if (s->is_closing) return;
    http_connection_enter(c);
    s->is_closing = true;
    http_wait_set(c, HTTP_WAIT_LINGER);
    int failed =
        wslay_event_queue_close(s->wslay, (uint16_t)code, (const uint8_t *)reason, strlen(reason));
    if (failed)
        http_connection_cut(c);
    else if (!s->is_receiving)
        (void)flush(s);
    http_connection_leave(c);
}
