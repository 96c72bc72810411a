/* http_server.c - listening, the connection limit, and the one timer of a server.
 *
 * At the connection limit the server does not simply refuse: peers that connect and then say
 * nothing could keep everyone else out. A connection that has not sent a whole request yet, or else
 * one that idles between requests, is closed instead (the longest waiting first); whoever sends its
 * request at once is served. Only when every connection is at work is the new one refused with 503.
 *
 * Made and stopped by listeners/. Owns the door, the timer and all connections. After
 * http_server_stop it stays as a shell until the last exchange that a handler holds was answered.
 * Invariants: connection_count is the length of `connections`; each list of `waits` is sorted by
 * deadline; timer_ns is never later than the earliest of them; what connections took of the budgets
 * is given back when the last of them goes. */
#include "net/http_priv.h"
#include "base/timetext.h"
#include <stdio.h>
#include <string.h>

static const int64_t wait_seconds[HTTP_WAIT_COUNT] = {
#define X(symbol, seconds) seconds,
    HTTP_WAIT_TABLE(X)
#undef X
};

/* ---- waiting ---- */

static void wait_unlink(struct http_connection *c)
{
    struct http_wait_list *list = &c->server->waits[c->wait];
    if (c->wait == HTTP_WAIT_NONE) return;
    MUST(list->first && list->last && (c->wait_previous || list->first == c));
    *(c->wait_previous ? &c->wait_previous->wait_next : &list->first) = c->wait_next;
    *(c->wait_next ? &c->wait_next->wait_previous : &list->last) = c->wait_previous;
    c->wait_previous = c->wait_next = NULL;
    c->wait = HTTP_WAIT_NONE;
}

/* The timer is only ever moved forward in time: a deadline that was put off lets it fire in vain
 * once, which is cheaper than setting it with every request. */
static void timer_at(struct http_server *server, int64_t when_ns)
{
    if (!server->timer || when_ns >= server->timer_ns) return;
    int64_t delay = when_ns - loop_mono_ns(server->loop);
    server->timer_ns = when_ns;
    server->context->os->ops->timer_set(server->timer, delay > 0 ? delay : 0);
}

void http_wait_set(struct http_connection *c, enum http_wait wait)
{
    MUST(wait < HTTP_WAIT_COUNT);
    wait_unlink(c);
    if (wait == HTTP_WAIT_NONE) return; /* progress stays: expire looks at it */
    c->progress = 0;
    struct http_wait_list *list = &c->server->waits[wait];
    c->wait = wait;
    c->deadline_ns = loop_mono_ns(c->server->loop) + wait_seconds[wait] * TIME_NS_PER_S;
    c->wait_previous = list->last;
    *(list->last ? &list->last->wait_next : &list->first) = c;
    list->last = c;
    timer_at(c->server, c->deadline_ns);
}

static void on_timer(void *arg)
{
    struct http_server *server = arg;
    MUST(server->magic == HTTP_SERVER_MAGIC && server->is_running);
    int64_t now = loop_mono_ns(server->loop), next = INT64_MAX;
    server->timer_ns = INT64_MAX;
    for (size_t i = 0; i < HTTP_WAIT_COUNT; i++) {
        struct http_wait_list *list = &server->waits[i];
        while (list->first && list->first->deadline_ns <= now) {
            struct http_connection *c = list->first;
            http_wait_set(c, HTTP_WAIT_NONE);
            /* What it waited for is told by the state; expire may set a new wait. */
            http_connection_expire(c);
        }
        if (list->first && list->first->deadline_ns < next) next = list->first->deadline_ns;
    }
    if (next < INT64_MAX) timer_at(server, next);
}

/* ---- connections ---- */

void http_server_add(struct http_server *server, struct http_connection *c)
{
    MUST(server->magic == HTTP_SERVER_MAGIC && server->is_running && !c->server);
    c->server = server;
    c->next = server->connections;
    if (c->next) c->next->previous = c;
    server->connections = c;
    server->connection_count++;
    metric_add(server->context, METRIC_HTTP_CONNECTIONS, 1);
}

static void free_if_over(struct http_server *server)
{
    if (server->is_running || server->connections) return;
    MUST(server->connection_count == 0 && !server->timer && !server->room.first);
    MUST(atomic_load(&server->memory.used_bytes) == 0);
    MUST(atomic_load(&server->bodies.used_bytes) == 0);
    server->magic = 0;
    mem_free(server);
}

void http_server_remove(struct http_server *server, struct http_connection *c)
{
    MUST(server->magic == HTTP_SERVER_MAGIC && c->server == server && server->connection_count > 0);
    wait_unlink(c);
    *(c->previous ? &c->previous->next : &server->connections) = c->next;
    if (c->next) c->next->previous = c->previous;
    server->connection_count--;
    metric_add(server->context, METRIC_HTTP_CONNECTIONS, (uint64_t)-1);
    free_if_over(server);
}

size_t http_server_connections(const struct http_server *server)
{
    MUST(server->magic == HTTP_SERVER_MAGIC);
    return server->connection_count;
}

/* Closes the connection that is missed least; false when all are at work. */
static bool make_room(struct http_server *server)
{
    static const enum http_wait order[] = {HTTP_WAIT_LINGER, HTTP_WAIT_HEAD, HTTP_WAIT_IDLE};
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        struct http_connection *c = server->waits[order[i]].first;
        if (!c || c->exchange || c->entered) continue;
        http_connection_enter(c);
        http_connection_cut(c);
        http_connection_leave(c);
        return true;
    }
    return false;
}

static void refuse(struct http_server *server, struct os_stream *stream)
{
    static const char answer[] =
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
        "Content-Length: 76\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
        "{\"error\":{\"code\":\"BUSY\",\"message\":\"too many connections; try again later\"}}\n";
    metric_add(server->context, METRIC_HTTP_REFUSED, 1);
    os_stream_own(stream, NULL, NULL);
    /* A peer with TLS cannot read it; it sees the connection closed. */
    if (!server->tls) (void)os_stream_write(stream, answer, sizeof answer - 1);
    os_stream_close(&stream);
}

static void on_accept(void *owner, struct os_stream *stream)
{
    struct http_server *server = owner;
    MUST(server->magic == HTTP_SERVER_MAGIC);
    if (server->connection_count >= HTTP_CONNECTIONS_MAX) {
        metric_add(server->context, METRIC_HTTP_REFUSED, 1);
        if (!make_room(server)) {
            refuse(server, stream);
            return;
        }
    }
    http_connection_accept(server, stream, server->tls != NULL);
}

/* ---- life ---- */

enum err http_server_start(struct context *context, struct loop *loop,
                           const struct os_address *address, struct tls_config *tls,
                           const struct http_server_config *config, struct http_server **out,
                           struct os_address *bound, struct why *why)
{
    MUST(config->routes && loop_is_current(loop));
    const struct os_ops *ops = context->os->ops;
    struct http_server *server = mem_alloc_zero(1, sizeof *server);
    if (!server) return why_set(why, ERR_NO_MEMORY, "no memory for a listener");
    *server = (struct http_server){.magic = HTTP_SERVER_MAGIC,
                                   .context = context,
                                   .loop = loop,
                                   .config = *config,
                                   .tls = tls,
                                   .is_running = true,
                                   .timer_ns = INT64_MAX,
                                   .date_s = -1};
    budget_init(&server->memory, "http", &context->memory, SIZE_MAX);
    budget_init(&server->bodies, "bodies", context_rows(context),
                context->memory.limit_bytes / 100 * HTTP_BODIES_SHARE_PERCENT);
    room_init(&server->room, context, loop, &server->bodies, "bodies of requests");
    enum err err = ops->timer_make(loop->task, on_timer, server, &server->timer);
    door_init(&server->door, loop, on_accept, server);
    if (!err) err = http_server_listen(server, address, bound, why);
    if (err) {
        if (server->timer) ops->timer_close(server->timer);
        mem_free(server);
        return err;
    }
    *out = server;
    return ERR_OK;
}

enum err http_server_listen(struct http_server *server, const struct os_address *address,
                            struct os_address *bound, struct why *why)
{
    MUST(server->magic == HTTP_SERVER_MAGIC && server->is_running);
    enum err err = door_move(&server->door, address, why);
    if (bound) *bound = server->door.bound;
    return err;
}

void http_server_stop(struct http_server *server)
{
    if (!server) return;
    MUST(server->magic == HTTP_SERVER_MAGIC && server->is_running && loop_is_current(server->loop));
    const struct os_ops *ops = server->context->os->ops;
    ops->timer_close(server->timer);
    server->timer = NULL;
    /* Cutting one connection may free it and, through its owner's on_gone, others; so each round
     * begins anew with one that still has a stream. */
    for (struct http_connection *c = server->connections; c;) {
        struct http_connection *next = c->next;
        if (!c->stream) {
            c = next;
            continue;
        }
        http_connection_enter(c);
        http_connection_cut(c);
        http_connection_leave(c);
        c = server->connections;
    }
    room_close(&server->room);
    door_close(&server->door);
    server->is_running = false;
    free_if_over(server);
}

const char *http_server_date(struct http_server *server)
{
    static const char *const days[] = {"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    int64_t now_s = context_wall_ns(server->context) / TIME_NS_PER_S;
    if (now_s == server->date_s || now_s < 0) return server->date;
    int year;
    unsigned month, day, s = (unsigned)(now_s % 86400);
    time_civil(now_s / 86400, &year, &month, &day);
    snprintf(server->date, sizeof server->date, "%s, %02u %s %04d %02u:%02u:%02u GMT",
             days[now_s / 86400 % 7], day, months[month - 1], year, s / 3600, s / 60 % 60, s % 60);
    server->date_s = now_s;
    return server->date;
}
