/* http_connection.c - one connection: bytes in, requests in order, what comes after each answer.
 *
 * A connection is always in one state of `steps`; input is given to that state's function until it
 * takes no more. Between requests a connection holds no buffer: bytes are looked at where the
 * stream has them, and only what cannot be used yet is copied.
 *
 *     HEAD → GUARD → BODY ⇄ ROOM → BUSY → HEAD …        the usual way; without a body BODY is left
 * out GUARD, ROOM, BUSY → DISCARD, FULL → HEAD           answered early, or to a peer that reads
 * slowly any → FLUSH or LINGER → the end                    the last answer BUSY → SOCKET → the end
 * an upgrade
 *
 * Called by the stream's events and the server's timer. Owns the stream, the kept input and the
 * exchange; http_priv.h has the invariants. */
#include "net/http_priv.h"
#include <stdio.h>
#include <string.h>

static bool is_current(const struct http_connection *c)
{
    return c && c->magic == HTTP_CONNECTION_MAGIC;
}

/* ---- life ---- */

void http_connection_enter(struct http_connection *c)
{
    MUST(is_current(c) && c->entered < UINT32_MAX);
    c->entered++;
}

static void free_input(struct http_connection *c)
{
    buf_free(&c->in);
    budget_give(&c->server->memory, c->in_taken);
    c->in_taken = 0;
}

void http_connection_cut(struct http_connection *c)
{
    MUST(is_current(c) && c->entered);
    if (!c->stream) return;
    os_stream_close(&c->stream);
    http_wait_set(c, HTTP_WAIT_NONE);
    if (c->exchange) http_exchange_gone(c->exchange);
    if (c->socket) websocket_gone(c->socket);
}

bool http_connection_write(struct http_connection *c, const void *bytes, size_t size)
{
    MUST(is_current(c) && c->entered);
    if (!c->stream) return false;
    if (size == 0 || os_stream_write(c->stream, bytes, size) == ERR_OK) return c->stream != NULL;
    http_connection_cut(c);
    return false;
}

/* ---- the states' input ---- */

/* The head is parsed when it is whole; one empty line before it is read over (RFC 9112
 * section 2.2). */
static size_t take_head(struct http_connection *c, const char *bytes, size_t size)
{
    if (c->wait != HTTP_WAIT_HEAD) http_wait_set(c, HTTP_WAIT_HEAD);
    if (!c->skipped_blank && c->scanned == 0 && bytes[0] == '\r') {
        if (size == 1) return 0;
        c->skipped_blank = true;
        if (bytes[1] == '\n') return 2;
    }
    size_t end;
    enum http_fault fault = http_head_end(bytes, size, &c->scanned, &end);
    if (fault) {
        http_connection_fault(c, fault);
        return size;
    }
    if (!end) return 0;
    c->scanned = 0;
    c->skipped_blank = false;
    http_exchange_begin(c, bytes, end);
    return end;
}

static size_t take_body(struct http_connection *c, const char *bytes, size_t size)
{
    size_t used;
    struct str data;
    MUST(c->exchange);
    if (!http_exchange_body_has_room(c->exchange, size)) return 0;
    enum http_fault fault = http_body_read(&c->reader, bytes, size, &used, &data);
    c->progress += used;
    if (!fault) fault = http_exchange_body_add(c->exchange, data);
    if (!fault && c->reader.is_done) fault = http_exchange_body_end(c->exchange);
    if (fault) {
        http_connection_fault(c, fault);
        return size;
    }
    if (c->reader.is_done) http_exchange_dispatch(c->exchange);
    return used;
}

static size_t take_nothing(struct http_connection *c, const char *bytes, size_t size)
{
    (void)c;
    (void)bytes;
    (void)size;
    return 0;
}

static size_t take_discard(struct http_connection *c, const char *bytes, size_t size)
{
    size_t used;
    struct str data;
    enum http_fault fault = http_body_read(&c->reader, bytes, size, &used, &data);
    if (fault || used > c->discard_left) {
        c->close_after = true; /* it has its answer; there is nothing more to say */
        c->state = HTTP_STATE_LINGER;
        http_wait_set(c, HTTP_WAIT_LINGER);
        return size;
    }
    c->discard_left -= used;
    if (c->reader.is_done) http_connection_next(c);
    return used;
}

static size_t take_linger(struct http_connection *c, const char *bytes, size_t size)
{
    (void)c;
    (void)bytes;
    return size;
}

static size_t take_socket(struct http_connection *c, const char *bytes, size_t size)
{
    MUST(c->socket);
    websocket_input(c->socket, bytes, size);
    return size;
}

static size_t (*const steps[HTTP_STATE_COUNT])(struct http_connection *c, const char *bytes,
                                               size_t size) = {
    [HTTP_STATE_HEAD] = take_head,     [HTTP_STATE_GUARD] = take_nothing,
    [HTTP_STATE_BODY] = take_body,     [HTTP_STATE_ROOM] = take_nothing,
    [HTTP_STATE_BUSY] = take_nothing,  [HTTP_STATE_DISCARD] = take_discard,
    [HTTP_STATE_FULL] = take_nothing,  [HTTP_STATE_FLUSH] = take_linger,
    [HTTP_STATE_LINGER] = take_linger, [HTTP_STATE_SOCKET] = take_socket,
};

static size_t consume(struct http_connection *c, const char *bytes, size_t size)
{
    size_t used = 0;
    while (c->stream && used < size) {
        MUST((unsigned)c->state < HTTP_STATE_COUNT);
        size_t n = steps[c->state](c, bytes + used, size - used);
        MUST(n <= size - used);
        if (n == 0) break;
        used += n;
    }
    return used;
}

/* Keeps bytes for later; what is kept counts against the budget. Who is told to wait for memory is
 * not cut for lack of it: what one read has brought (behind the login, before the peer is stopped)
 * is kept in any case. */
static void keep(struct http_connection *c, const char *bytes, size_t size)
{
    if (c->in.size + size > c->in_taken) {
        size_t more = c->in.size + size - c->in_taken;
        if (budget_take(&c->server->memory, more)) {
            if (c->state != HTTP_STATE_ROOM) {
                http_connection_cut(c);
                return;
            }
            budget_overdraw(&c->server->memory, more);
        }
        c->in_taken += more;
    }
    buf_add(&c->in, bytes, size);
    if (buf_failed(&c->in)) http_connection_cut(c);
}

static void consume_kept(struct http_connection *c)
{
    if (!c->stream || c->in.size == 0) return;
    size_t used = consume(c, c->in.at, c->in.size);
    if (!c->stream) return;
    buf_drop_front(&c->in, used);
    if (c->in.size == 0) free_input(c);
}

/* The peer is stopped while more is kept than one request's head; that it has gone is seen when the
 * rest is read. */
static void set_pause(struct http_connection *c)
{
    if (!c->stream) return;
    bool pause = c->is_held || c->in.size > HTTP_PENDING_BYTES;
    if (pause == c->is_paused) return;
    c->is_paused = pause;
    os_stream_pause(c->stream, pause);
}

void http_connection_leave(struct http_connection *c)
{
    MUST(is_current(c) && c->entered);
    if (c->entered == 1) consume_kept(c);
    set_pause(c);
    if (c->entered == 1 && !c->stream)
        free_input(c); /* not in cut: somebody below may still read it */
    if (--c->entered || c->stream || c->exchange || c->socket) return;
    struct http_server *server = c->server;
    http_server_remove(server, c);
    c->magic = 0;
    mem_free(c);
}

/* ---- after an answer ---- */

/* Waits for the peer to close: closing first while it still sends would make the kernel reset the
 * connection and the peer lose the answer. */
static void linger(struct http_connection *c)
{
    c->state = HTTP_STATE_LINGER;
    http_wait_set(c, HTTP_WAIT_LINGER);
}

static void flush(struct http_connection *c)
{
    c->state = HTTP_STATE_FLUSH;
    if (os_stream_queued(c->stream) == 0)
        http_connection_cut(c);
    else
        http_wait_set(c, HTTP_WAIT_WRITE);
}

void http_connection_next(struct http_connection *c)
{
    MUST(is_current(c) && !c->exchange && !c->socket && c->entered);
    if (!c->stream) return;
    c->was_served = true;
    if (c->close_after) {
        if (c->reader.is_done)
            flush(c);
        else
            linger(c);
    } else if (!c->reader.is_done) {
        c->state = HTTP_STATE_DISCARD;
        c->discard_left = HTTP_DISCARD_BYTES;
        http_wait_set(c, HTTP_WAIT_BODY);
    } else if (os_stream_queued(c->stream) > HTTP_QUEUED_BYTES / 4) {
        c->state = HTTP_STATE_FULL;
        http_wait_set(c, HTTP_WAIT_WRITE);
    } else {
        c->state = HTTP_STATE_HEAD;
        http_wait_set(c, HTTP_WAIT_IDLE);
    }
}

void http_connection_fault(struct http_connection *c, enum http_fault fault)
{
    MUST(is_current(c) && c->entered && !c->socket);
    MUST(fault != HTTP_FAULT_NONE && c->state != HTTP_STATE_BUSY);
    const struct http_fault_info *info = http_fault_info(fault);
    char body[256], answer[640];
    int size = snprintf(body, sizeof body, "{\"error\":{\"code\":\"%s\",\"message\":\"%s\"}}\n",
                        err_name(info->code), info->text);
    size = snprintf(
        answer, sizeof answer,
        "HTTP/1.1 %d %s\r\nDate: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
        "Connection: close\r\n\r\n%s",
        info->status, http_status_text(info->status), http_server_date(c->server), size, body);
    MUST(size > 0 && (size_t)size < sizeof answer);
    metric_add(c->server->context, METRIC_HTTP_REQUESTS, 1);
    metric_add(c->server->context, METRIC_HTTP_ERRORS, 1);
    c->close_after = true;
    if (http_connection_write(c, answer, (size_t)size)) linger(c);
    if (c->exchange) http_exchange_free(c->exchange);
}

/* ---- what the stream and the timer say ---- */

static void on_read(void *owner, const uint8_t *bytes, size_t size)
{
    struct http_connection *c = owner;
    http_connection_enter(c);
    size_t used = c->in.size ? 0 : consume(c, (const char *)bytes, size);
    if (c->stream && used < size) keep(c, (const char *)bytes + used, size - used);
    http_connection_leave(c);
}

static void on_drained(void *owner)
{
    struct http_connection *c = owner;
    http_connection_enter(c);
    struct http_exchange *x = c->exchange;
    if (c->state == HTTP_STATE_FLUSH) {
        http_connection_cut(c);
    } else if (c->state == HTTP_STATE_FULL) {
        c->state = HTTP_STATE_HEAD;
        http_wait_set(c, HTTP_WAIT_IDLE);
    } else if (c->socket) {
        websocket_drained(c->socket);
    } else if (x && x->is_begun) {
        http_wait_set(c, HTTP_WAIT_NONE);
        if (x->on_drained) x->on_drained(x->on_drained_arg);
    }
    http_connection_leave(c);
}

static void on_closed(void *owner, enum err err, const char *text)
{
    (void)err;
    (void)text; /* peers come and go: no line in the diagnostics for each */
    struct http_connection *c = owner;
    http_connection_enter(c);
    http_connection_cut(c);
    http_connection_leave(c);
}

static const struct os_stream_events stream_events = {
    .on_read = on_read, .on_drained = on_drained, .on_closed = on_closed};

enum { BODY_PROGRESS_BYTES = 16 * 1024 }; /* within each wait for a body */

/* A peer that takes something of what is queued may go on; one that takes nothing is cut. */
static void expire_write(struct http_connection *c)
{
    MUST(c->stream);
    size_t queued = os_stream_queued(c->stream), before = c->progress;
    if (before && queued >= before) {
        http_connection_cut(c);
        return;
    }
    http_wait_set(c, HTTP_WAIT_WRITE);
    c->progress = queued;
}

void http_connection_expire(struct http_connection *c)
{
    http_connection_enter(c);
    MUST(c->wait == HTTP_WAIT_NONE);
    size_t progress = c->progress;
    switch (c->state) {
    case HTTP_STATE_HEAD:
        if (c->in.size)
            http_connection_fault(c, HTTP_FAULT_SLOW_HEAD);
        else
            http_connection_cut(c);
        break;
    case HTTP_STATE_BODY:
        if (progress >= BODY_PROGRESS_BYTES)
            http_wait_set(c, HTTP_WAIT_BODY);
        else
            http_connection_fault(c, HTTP_FAULT_SLOW_BODY);
        break;
    case HTTP_STATE_SOCKET: websocket_tick(c->socket); break;
    case HTTP_STATE_BUSY:
    case HTTP_STATE_FULL:
    case HTTP_STATE_FLUSH: expire_write(c); break;
    default: http_connection_cut(c); break;
    }
    http_connection_leave(c);
}

void http_connection_accept(struct http_server *server, struct os_stream *stream, bool is_tls)
{
    struct http_connection *c = mem_alloc_zero(1, sizeof *c);
    if (!c) {
        os_stream_close(&stream);
        return;
    }
    struct os *os = server->context->os;
    if (is_tls && tls_wrap_server(server->tls, os, server->loop->task, stream, &stream)) {
        mem_free(c); /* the stream was closed */
        return;
    }
    c->magic = HTTP_CONNECTION_MAGIC;
    c->stream = stream;
    c->is_tls = is_tls;
    c->reader.is_done = true;
    http_server_add(server, c);
    os_stream_own(stream, &stream_events, c);
    http_wait_set(c, HTTP_WAIT_HEAD);
}
