/* pg_server.c - listening for PostgreSQL clients, the connection limit, and the one timer.
 *
 * The timer looks at every connection once a second, and only while there are any: it ends logins
 * that take too long, answers that nobody takes, and cursors that nobody reads on. */
#include "listeners/pg_priv.h"
#include "base/timetext.h"

static void watch(struct pg_connection *c, int64_t now_ns)
{
    struct pg_session *s = c->session;
    if (c->deadline_ns && now_ns >= c->deadline_ns) {
        pg_cut(c);
        return;
    }
    /* A peer that takes nothing of what is queued is cut; one that takes something may go on. */
    size_t queued = c->stream ? os_stream_queued(c->stream) : 0;
    if (s && queued && (c->deadline_ns == 0 || queued < c->queued_before)) {
        c->deadline_ns = now_ns + PG_WRITE_SECONDS * TIME_NS_PER_S;
        c->queued_before = queued;
    } else if (s && !queued && c->state != PG_STATE_CLOSING) {
        c->deadline_ns = 0;
    }
    for (struct pg_portal *p = s ? s->portals : NULL, *next; p; p = next) {
        next = p->next;
        bool is_open = p->state == PORTAL_PAUSED || p->state == PORTAL_PREPARED;
        bool is_left = is_open && p != s->running &&
                       now_ns - p->paused_ns > PG_CURSOR_IDLE_SECONDS * TIME_NS_PER_S;
        if (is_left) pg_portal_drop(s, p);
    }
}

static void on_timer(void *arg)
{
    struct pg_server *server = arg;
    MUST(server->magic == PG_SERVER_MAGIC && server->is_running);
    int64_t now = context_mono_ns(server->service->context);
    for (struct pg_connection *c = server->connections, *next; c; c = next) {
        pg_enter(c);
        watch(c, now);
        next = c->next; /* leaving frees c only */
        pg_leave(c);
    }
    if (server->connections)
        server->service->context->os->ops->timer_set(server->timer, TIME_NS_PER_S);
}

void pg_server_add(struct pg_server *server, struct pg_connection *c)
{
    const struct os_ops *ops = server->service->context->os->ops;
    if (!server->connections) ops->timer_set(server->timer, TIME_NS_PER_S);
    c->server = server;
    c->next = server->connections;
    if (c->next) c->next->previous = c;
    server->connections = c;
    server->connection_count++;
    c->pid = ++server->last_pid ? server->last_pid : ++server->last_pid;
    ops->random(server->service->context->os, &c->secret, sizeof c->secret);
    metric_add(server->service->context, METRIC_PG_CONNECTIONS, 1);
}

static void free_if_over(struct pg_server *server)
{
    if (server->is_running || server->connections) return;
    MUST(atomic_load(&server->memory.used_bytes) == 0);
    server->magic = 0;
    mem_free(server);
}

void pg_server_remove(struct pg_server *server, struct pg_connection *c)
{
    MUST(server->connection_count > 0);
    *(c->previous ? &c->previous->next : &server->connections) = c->next;
    if (c->next) c->next->previous = c->previous;
    server->connection_count--;
    metric_add(server->service->context, METRIC_PG_CONNECTIONS, (uint64_t)-1);
    free_if_over(server);
}

void pg_server_cancel(struct pg_server *server, uint32_t pid, uint32_t secret)
{
    for (struct pg_connection *c = server->connections; c; c = c->next) {
        if (c->pid != pid || c->secret != secret || !c->session) continue;
        pg_enter(c);
        if (c->session->running) pg_portal_cancel(c->session->running);
        pg_copy_cancel(c);
        pg_leave(c);
        return;
    }
}

static void refuse(struct pg_server *server, struct os_stream *stream)
{
    struct buf out = BUF_EMPTY;
    metric_add(server->service->context, METRIC_PG_REFUSED, 1);
    pg_report(&out, 'E', "FATAL", "53300", STR("too many connections; try again later"), STR(""),
              0);
    os_stream_own(stream, NULL, NULL);
    if (!buf_failed(&out)) (void)os_stream_write(stream, out.at, out.size);
    os_stream_close(&stream);
    buf_free(&out);
}

static void on_accept(void *owner, struct os_stream *stream)
{
    struct pg_server *server = owner;
    MUST(server->magic == PG_SERVER_MAGIC);
    if (server->connection_count >= PG_CONNECTIONS_MAX)
        refuse(server, stream);
    else
        pg_connection_accept(server, stream);
}

enum err pg_server_start(struct service *service, const struct os_address *address,
                         struct tls_config *tls, bool tls_only, struct pg_server **out,
                         struct os_address *bound, struct why *why)
{
    struct context *context = service->context;
    const struct os_ops *ops = context->os->ops;
    MUST(loop_is_current(context->main));
    struct pg_server *server = mem_alloc_zero(1, sizeof *server);
    if (!server) return why_set(why, ERR_NO_MEMORY, "no memory for a listener");
    server->magic = PG_SERVER_MAGIC;
    server->service = service;
    server->is_running = true;
    door_init(&server->door, context->main, on_accept, server);
    budget_init(&server->memory, "postgres", &context->memory, SIZE_MAX);
    enum err err = ops->timer_make(context->main->task, on_timer, server, &server->timer);
    if (!err) err = pg_server_listen(server, address, tls, tls_only, bound, why);
    if (err) {
        if (server->timer) ops->timer_close(server->timer);
        mem_free(server);
        return err;
    }
    *out = server;
    return ERR_OK;
}

enum err pg_server_listen(struct pg_server *server, const struct os_address *address,
                          struct tls_config *tls, bool tls_only, struct os_address *bound,
                          struct why *why)
{
    MUST(server->magic == PG_SERVER_MAGIC && server->is_running);
    enum err err = door_move(&server->door, address, why);
    if (bound) *bound = server->door.bound;
    if (err) return err;
    server->tls = tls;
    server->tls_only = tls_only;
    return ERR_OK;
}

void pg_server_stop(struct pg_server *server)
{
    if (!server) return;
    MUST(server->magic == PG_SERVER_MAGIC && server->is_running);
    const struct os_ops *ops = server->service->context->os->ops;
    ops->timer_close(server->timer);
    server->timer = NULL;
    for (struct pg_connection *c = server->connections, *next; c; c = next) {
        pg_enter(c);
        if (c->stream && c->session)
            pg_report(&c->out, 'E', "FATAL", "57P01", STR("the node serves here no more"), STR(""),
                      0);
        pg_flush(c);
        pg_cut(c);
        next = c->next;
        pg_leave(c);
    }
    door_close(&server->door);
    server->is_running = false;
    free_if_over(server);
}
