/* http_exchange.c - one request from its whole head to its handler.
 *
 * Order of checks, each before anything costs more than the one before: the head's grammar, the
 * path, the route, the guard (who are you), the announced length, then the body.
 *
 * Called by the connection, and by handlers for what they ask of their exchange. An exchange is
 * given to the guard and then to the handler; http_exchange_gone only marks it while one of them
 * holds it. Invariants: it is its connection's `exchange` until it is freed; its request's slices
 * lie in its arena; it waits for room only in the state ROOM. */
#include "net/http_priv.h"
#include <string.h>

static bool is_current(const struct http_exchange *x)
{
    return x && x->magic == HTTP_EXCHANGE_MAGIC;
}

/* ---- making ---- */

static bool copy_head(struct http_exchange *x, const struct http_head *head)
{
    struct http_request *r = &x->request;
    r->method = head->method;
    r->target = head->target;
    r->header_count = head->header_count;
    r->headers = arena_dup(&x->arena, head->headers, head->header_count * sizeof head->headers[0]);
    r->is_tls = x->connection->is_tls;
    const char *peer = os_stream_peer(x->connection->stream);
    r->peer = arena_strdup(&x->arena, peer, strlen(peer));
    x->is_http10 = head->minor_version == 0;
    x->is_head = str_is(head->method, "HEAD");
    x->is_gzip = head->is_gzip;
    x->is_snappy = head->is_snappy;
    x->expects_continue = head->expects_continue;
    x->upgrade = head->upgrade;
    return r->headers && r->peer;
}

static struct http_exchange *exchange_new(struct http_connection *c)
{
    struct http_exchange *x = mem_alloc_zero(1, sizeof *x);
    if (!x) return NULL;
    x->magic = HTTP_EXCHANGE_MAGIC;
    x->connection = c;
    arena_init(&x->arena, &c->server->memory);
    c->exchange = x;
    return x;
}

/* Parses the head into the exchange; its slices point into the arena's copy. */
static enum http_fault parse(struct http_exchange *x, const char *bytes, size_t size)
{
    struct http_connection *c = x->connection;
    struct http_head head;
    const char *copy = arena_dup(&x->arena, bytes, size);
    if (!copy) return HTTP_FAULT_BODY_MEMORY;
    enum http_fault fault = http_head_parse(copy, size, &head);
    if (fault) return fault;
    if (!copy_head(x, &head)) return HTTP_FAULT_BODY_MEMORY;
    http_body_begin(&c->reader, &head);
    c->close_after = !head.keep_alive;
    return http_target_decode(x);
}

/* ---- deciding ---- */

/* No handler: 404, 405, or an answer to OPTIONS. */
static void answer_no_route(struct http_exchange *x, struct buf *allow)
{
    bool is_options = str_is(x->request.method, "OPTIONS");
    if (is_options && str_is(x->request.path, "*"))
        buf_add_text(allow, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    const char *methods = allow->size ? buf_cstr(allow) : NULL;
    if (!methods) {
        http_reply_status(x, 404, "NOT_FOUND", "nothing is at this path");
        return;
    }
    http_add_header(x, "Allow", methods);
    if (is_options)
        http_reply(x, 204, NULL, (struct str){"", 0});
    else
        http_reply_status(
            x, 405, "UNSUPPORTED",
            "this path does not know the method; the Allow header lists those it knows");
}

static void begin_body(struct http_exchange *x)
{
    struct http_connection *c = x->connection;
    MUST(is_current(x) && !x->is_gone && c->state == HTTP_STATE_GUARD && x->route);
    x->body_limit =
        x->route->body_limit < HTTP_BODY_BYTES_MAX ? x->route->body_limit : HTTP_BODY_BYTES_MAX;
    if (x->is_snappy && !x->route->takes_snappy) {
        http_connection_fault(c, HTTP_FAULT_CONTENT_CODING);
        return;
    }
    if (c->reader.is_done) {
        http_exchange_dispatch(x);
        return;
    }
    if (!c->reader.is_chunked && c->reader.left > x->body_limit) {
        http_connection_fault(c, HTTP_FAULT_BODY_SIZE);
        return;
    }
    if (http_exchange_body_reserve(x)) http_exchange_body_read(x);
}

void http_exchange_body_read(struct http_exchange *x)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct http_connection *c = x->connection;
    MUST(is_current(x) && (c->state == HTTP_STATE_GUARD || c->state == HTTP_STATE_ROOM));
    c->state = HTTP_STATE_BODY;
    http_wait_set(c, HTTP_WAIT_BODY);
    bool ask = x->expects_continue;
    x->expects_continue = false;
    if (ask)
        (void)http_connection_write(c, go_on, sizeof go_on - 1); /* a failure frees the exchange */
}

void http_exchange_begin(struct http_connection *c, const char *bytes, size_t size)
{
    MUST(c->entered && !c->exchange && !c->socket && c->state == HTTP_STATE_HEAD);
    struct http_exchange *x = exchange_new(c);
    enum http_fault fault = x ? parse(x, bytes, size) : HTTP_FAULT_BODY_MEMORY;
    if (fault) {
        http_connection_fault(c, fault);
        return;
    }
    http_wait_set(c, HTTP_WAIT_NONE);
    c->state = HTTP_STATE_GUARD;
    struct buf allow = BUF_EMPTY;
    x->route = http_route_find(x, &allow);
    if (!x->route) answer_no_route(x, &allow);
    buf_free(&allow);
    if (c->exchange != x || !x->route) return;
    const struct http_server_config *config = &c->server->config;
    if (!config->guard || config->guard(x, x->route, config->arg)) begin_body(x);
}

void http_resume(struct http_exchange *x)
{
    MUST(is_current(x));
    struct http_connection *c = x->connection;
    MUST(c->state == HTTP_STATE_GUARD);
    http_connection_enter(c);
    if (x->is_gone)
        http_exchange_free(x);
    else
        begin_body(x);
    http_connection_leave(c);
}

void http_exchange_dispatch(struct http_exchange *x)
{
    struct http_connection *c = x->connection;
    MUST(is_current(x) && c->reader.is_done && !x->is_begun);
    MUST(c->state == HTTP_STATE_GUARD || c->state == HTTP_STATE_BODY);
    c->state = HTTP_STATE_BUSY;
    http_wait_set(c, HTTP_WAIT_NONE);
    x->route->handle(x, c->server->config.arg);
}

/* ---- ending ---- */

void http_exchange_gone(struct http_exchange *x)
{
    MUST(is_current(x) && !x->connection->stream);
    struct http_connection *c = x->connection;
    if (x->is_gone) return;
    x->is_gone = true;
    /* Nobody holds an exchange whose body was still coming. */
    room_leave(&x->wait);
    if (c->state == HTTP_STATE_BODY || c->state == HTTP_STATE_HEAD || c->state == HTTP_STATE_ROOM)
        http_exchange_free(x);
    else if (x->on_gone)
        x->on_gone(x->on_gone_arg);
}

void http_exchange_free(struct http_exchange *x)
{
    MUST(is_current(x) && x->connection->exchange == x && !x->wait.room);
    if (x->release_user) x->release_user(x->user);
    http_exchange_body_free(x);
    buf_free(&x->added);
    arena_free(&x->arena);
    x->connection->exchange = NULL;
    x->magic = 0;
    mem_free(x);
}

/* ---- what handlers ask ---- */

const struct http_request *http_request_of(const struct http_exchange *x)
{
    MUST(is_current(x));
    return &x->request;
}

struct arena *http_arena(struct http_exchange *x)
{
    MUST(is_current(x));
    return &x->arena;
}

void *http_user(const struct http_exchange *x)
{
    MUST(is_current(x));
    return x->user;
}

void http_set_user(struct http_exchange *x, void *user, void (*release)(void *user))
{
    MUST(is_current(x));
    if (x->release_user) x->release_user(x->user);
    x->user = user;
    x->release_user = release;
}

bool http_is_gone(const struct http_exchange *x)
{
    MUST(is_current(x));
    return x->is_gone;
}

void http_on_gone(struct http_exchange *x, void (*on_gone)(void *arg), void *arg)
{
    MUST(is_current(x));
    x->on_gone = on_gone;
    x->on_gone_arg = arg;
}

void http_on_drained(struct http_exchange *x, void (*on_drained)(void *arg), void *arg)
{
    MUST(is_current(x));
    x->on_drained = on_drained;
    x->on_drained_arg = arg;
}
