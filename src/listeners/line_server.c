/* line_server.c - see line_server.h.
 *
 * What the turns of the loop bring is gathered; all whole lines that are there become one ingest,
 * and while it runs the next gather: so the batches grow with the load by themselves. A connection
 * has one ingest at a time, and past QUEUE_BYTES it is not read any more, so that TCP slows the
 * sender down; the same holds for all that have an ingest when together they hold half of what the
 * listener may, so that their ingests find memory. There is no answer: a bad line is counted and
 * told in the log, at most once a second with the number of those untold. A batch that cannot be
 * stored now (no memory, disk full) stays where it is and is tried again, and meanwhile the sender
 * is slowed down in the same way; only who has gone in the meantime is not waited for long. Lines
 * that are lost all the same are counted.
 *
 * Only a line with its line end counts: of a connection that is cut, the last line may be half a
 * number. A connection is freed when its stream is closed and nothing of it runs or is posted. */
#include "listeners/line_server.h"
#include "base/timetext.h"
#include "listeners/ingest.h"
#include "listeners/sessions.h"
#include "net/door.h"
#include <string.h>

static const char component[] = "line";

enum {
    CONNECTIONS_MAX = 256,
    QUEUE_BYTES = 256 * 1024, /* gathered beside a running ingest before reading stops */
    QUEUE_BYTES_ALL_MIN = 4 * 1024 * 1024,
    RETRY_MS = 1000,
    GONE_TRIES_MAX = 60, /* for lines of a sender that has closed */
    SERVER_MAGIC = 0x6c696e65,
    CONNECTION_MAGIC = 0x6c696e63,
};

struct line_connection {
    uint32_t magic;
    struct line_server *server;
    struct line_connection *next, *previous;
    struct session session;
    struct os_stream *stream; /* NULL = closed */
    char peer[OS_HOST_BYTES + 8], user[ACCESS_USER_BYTES];
    struct job job;
    bool is_posted, is_running, is_paused;
    bool is_waiting;     /* `text` could not be stored: tried again at the server's next tick */
    unsigned tries;      /* so far */
    int64_t now_ns;      /* the first try's: lines without a time are the same rows each time */
    struct buf in, text; /* what waits; what is being stored */
    struct identity *identity;
    struct ingest ingest;
};

struct line_server {
    uint32_t magic;
    struct service *service;
    struct tls_config *tls;
    struct door door;
    bool is_running; /* until line_server_stop */
    struct line_connection *connections;
    size_t connection_count;
    struct os_timer *timer; /* runs while a connection waits */
    bool is_timed;
    struct budget memory; /* of what waits and is being stored */
    int64_t told_ns;      /* when a bad line was last told; 0 = never */
    uint64_t untold;
};

static bool is_connection(const struct line_connection *c)
{
    return c && c->magic == CONNECTION_MAGIC && c->server->magic == SERVER_MAGIC;
}

/* ---- life ---- */

static void free_if_over(struct line_server *server)
{
    if (server->is_running || server->connections) return;
    MUST(server->connection_count == 0);
    server->magic = 0;
    mem_free(server);
}

static void count_lost(struct line_connection *c, const char *at, size_t size)
{
    uint64_t lines = 0;
    for (size_t i = 0; i < size; i++) lines += at[i] == '\n';
    metric_add(c->server->service->context, METRIC_ROWS_REFUSED, lines);
}

/* Lets bytes go; their lines are lost unless they are `stored`. */
static void drop(struct line_connection *c, struct buf *bytes, bool stored)
{
    if (!stored) count_lost(c, bytes->at, bytes->size);
    budget_give(&c->server->memory, bytes->size);
    buf_free(bytes);
}

static void leave(struct line_connection *c)
{
    struct line_server *server = c->server;
    if (c->stream || c->is_running || c->is_posted || c->is_waiting) return;
    drop(c, &c->in, false);
    drop(c, &c->text, false);
    *(c->previous ? &c->previous->next : &server->connections) = c->next;
    if (c->next) c->next->previous = c->previous;
    MUST(server->connection_count > 0);
    server->connection_count--;
    session_remove(&c->session);
    metric_add(server->service->context, METRIC_LINE_CONNECTIONS, (uint64_t)-1);
    c->magic = 0;
    mem_free(c);
    free_if_over(server);
}

/* Ends the connection for an error of its own; what waits is lost, and told. */
static void cut(struct line_connection *c, enum err err, const struct why *why)
{
    diag(c->server->service->context, DIAG_WARNING, component, "%s: %s; the connection is closed",
         c->peer, why_text(why, err));
    os_stream_close(&c->stream);
    drop(c, &c->in, false);
}

/* ---- storing ---- */

static void tell_refused(struct line_connection *c)
{
    struct line_server *server = c->server;
    struct context *context = server->service->context;
    int64_t now = context_mono_ns(context);
    metric_add(context, METRIC_ROWS_REFUSED, c->ingest.refused);
    if (c->ingest.refused == 0) return;
    server->untold += c->ingest.refused;
    if (server->told_ns && now - server->told_ns < TIME_NS_PER_S) return;
    struct str rest = buf_str(&c->ingest.errors), first = STR("");
    (void)str_split(&rest, '\n', &first); /* the message's place in the batch says nothing */
    diag(context, DIAG_WARNING, component, "%s: %llu lines refused; the first: %.*s", c->peer,
         (unsigned long long)server->untold, (int)first.size, first.size ? first.at : "");
    server->told_ns = now;
    server->untold = 0;
}

static void post(struct line_connection *c);

/* What may be otherwise in a while, and is not the text's fault. */
static bool is_passing(enum err err)
{
    static const enum err passing[] = {ERR_NO_MEMORY, ERR_BUDGET,   ERR_BUSY,    ERR_IO,
                                       ERR_DISK_FULL, ERR_CONFLICT, ERR_NO_TABLE};
    for (size_t i = 0; i < sizeof passing / sizeof passing[0]; i++)
        if (passing[i] == err) return true;
    return false;
}

static void on_tick(void *arg)
{
    struct line_server *server = arg;
    MUST(server->magic == SERVER_MAGIC);
    server->is_timed = false;
    for (struct line_connection *c = server->connections; c; c = c->next) {
        if (!c->is_waiting) continue;
        c->is_waiting = false;
        post(c);
    }
}

static bool set_timer(struct line_server *server)
{
    struct context *context = server->service->context;
    if (!server->timer &&
        context->os->ops->timer_make(context->main->task, on_tick, server, &server->timer))
        return false;
    if (!server->is_timed) context->os->ops->timer_set(server->timer, RETRY_MS * TIME_NS_PER_MS);
    server->is_timed = true;
    return true;
}

/* Whether the text stays for another try. */
static bool wait_for_room(struct line_connection *c, enum err err, const struct why *why)
{
    struct line_server *server = c->server;
    bool lives = server->is_running && is_passing(err) && (c->stream || c->tries < GONE_TRIES_MAX);
    if (!lives || !set_timer(server)) return false;
    if (c->tries++ == 0)
        diag(server->service->context, DIAG_WARNING, component, "%s: %s; its lines wait", c->peer,
             why_text(why, err));
    metric_add(server->service->context, METRIC_LINE_RETRIES, 1);
    c->is_waiting = true;
    return true;
}

static void slow_down(struct line_connection *c)
{
    if (!c->stream || c->is_paused) return;
    c->is_paused = true;
    os_stream_pause(c->stream, true);
}

/* Together they hold half of what they may: whoever has lines to store stores them first. */
static void slow_down_all(struct line_server *server)
{
    size_t used = atomic_load(&server->memory.used_bytes);
    if (used < server->memory.limit_bytes / 2) return;
    for (struct line_connection *c = server->connections; c; c = c->next)
        if (c->is_running || c->is_waiting) slow_down(c);
}

static void on_stored(struct completion *completion)
{
    struct ingest *in = (struct ingest *)completion;
    struct line_connection *c = (void *)((char *)in - offsetof(struct line_connection, ingest));
    MUST(is_connection(c) && c->is_running);
    c->is_running = false;
    tell_refused(c);
    enum err err = completion->err;
    struct why why = completion->why;
    c->now_ns = in->now_ns;
    ingest_free(in);
    identity_release(c->identity);
    if (err && wait_for_room(c, err, &why)) {
        slow_down(c);
        return;
    }
    drop(c, &c->text, !err);
    if (err) {
        cut(c, err, &why);
    } else {
        c->tries = 0;
        if (c->in.size) post(c);
    }
    if (c->stream && c->is_paused) {
        c->is_paused = false;
        os_stream_pause(c->stream, false);
    }
    leave(c);
}

/* Cuts the whole lines off what waits. False: there is none. */
static bool take_lines(struct line_connection *c)
{
    const char *last = c->in.size ? memrchr(c->in.at, '\n', c->in.size) : NULL;
    if (!last) return false;
    size_t size = (size_t)(last - c->in.at) + 1, left = c->in.size - size;
    struct buf rest = BUF_EMPTY;
    buf_add(&rest, last + 1, left);
    if (buf_failed(&rest)) return false; /* the next bytes try again */
    c->text = c->in;
    c->text.size = size;
    c->in = rest;
    return true;
}

static void store_lines(struct job *job)
{
    struct line_connection *c = (void *)((char *)job - offsetof(struct line_connection, job));
    struct service *service = c->server->service;
    struct why why = WHY_NONE;
    MUST(is_connection(c) && c->is_posted && !c->is_running);
    c->is_posted = false;
    if (!c->text.size && !take_lines(c)) {
        if (c->in.size > LINE_BYTES_MAX) {
            metric_add(service->context, METRIC_ROWS_REFUSED, 1);
            cut(c, why_set(&why, ERR_LIMIT, "a line is longer than 1 MiB"), &why);
        }
        leave(c);
        return;
    }
    /* Looked up each time: rights may change while the connection stands. */
    c->identity = access_identify(service->access, c->user);
    if (!c->identity) c->identity = identity_new(c->user, "anonymous");
    memset(&c->ingest, 0, sizeof c->ingest);
    c->ingest.service = service;
    c->ingest.format = &ingest_line_protocol;
    c->ingest.identity = c->identity;
    c->ingest.text = buf_str(&c->text);
    c->ingest.ns = STR("default");
    c->ingest.unit_ns = 1;
    c->ingest.now_ns = c->tries ? c->now_ns : 0;
    c->ingest.shows_text = true;
    c->is_running = true;
    completion_init(&c->ingest.completion, service->context->main, on_stored);
    ingest_start(&c->ingest);
}

/* Behind all that this turn of the loop reads. */
static void post(struct line_connection *c)
{
    if (c->is_posted || c->is_running || c->is_waiting) return;
    c->is_posted = true;
    c->job.run = store_lines;
    loop_post(c->server->service->context->main, &c->job);
}

/* ---- what the stream says ---- */

static void on_open(void *owner) /* of TLS: the client's certificate was checked */
{
    struct line_connection *c = owner;
    MUST(is_connection(c));
    struct why why = WHY_NONE;
    if (!tls_peer_name(c->stream, c->user, sizeof c->user))
        cut(c,
            why_set(&why, ERR_UNAUTHENTICATED,
                    "line protocol needs a client's certificate with a common name"),
            &why);
    leave(c);
}

static void on_read(void *owner, const uint8_t *bytes, size_t size)
{
    struct line_connection *c = owner;
    struct why why = WHY_NONE;
    MUST(is_connection(c) && c->stream);
    size_t before = c->in.size;
    enum err err = budget_take(&c->server->memory, size);
    if (!err) buf_add(&c->in, bytes, size);
    if (!err && buf_failed(&c->in)) {
        c->in.size = before;
        budget_give(&c->server->memory, size);
        err = ERR_NO_MEMORY;
    }
    if (err) {
        count_lost(c, (const char *)bytes, size);
        cut(c, why_set(&why, err, "no memory for more lines"), &why);
    } else {
        post(c);
        if (c->is_running && c->in.size > QUEUE_BYTES) slow_down(c);
        slow_down_all(c->server);
    }
    leave(c);
}

static void on_closed(void *owner, enum err err, const char *text)
{
    struct line_connection *c = owner;
    MUST(is_connection(c));
    if (err == ERR_TLS)
        diag(c->server->service->context, DIAG_WARNING, component, "%s: %s", c->peer, text);
    os_stream_close(&c->stream); /* what has come is still stored */
    leave(c);
}

static const struct os_stream_events events = {
    .on_open = on_open, .on_read = on_read, .on_closed = on_closed};

static void describe(const struct session *session, struct session_row *row)
{
    const struct line_connection *c =
        (const void *)((const char *)session - offsetof(struct line_connection, session));
    MUST(is_connection(c));
    *row = (struct session_row){.user = str_of(c->user), .address = str_of(c->peer)};
}

static void on_accept(void *owner, struct os_stream *stream)
{
    struct line_server *server = owner;
    struct context *context = server->service->context;
    MUST(server->magic == SERVER_MAGIC);
    struct line_connection *c =
        server->connection_count < CONNECTIONS_MAX ? mem_alloc_zero(1, sizeof *c) : NULL;
    if (!c) {
        metric_add(context, METRIC_LINE_REFUSED, 1);
        os_stream_own(stream, NULL, NULL);
        os_stream_close(&stream);
        return;
    }
    c->magic = CONNECTION_MAGIC;
    c->server = server;
    (void)str_copy(c->peer, sizeof c->peer, str_of(os_stream_peer(stream)));
    (void)str_copy(c->user, sizeof c->user, STR("anonymous"));
    c->next = server->connections;
    if (c->next) c->next->previous = c;
    server->connections = c;
    server->connection_count++;
    session_add(server->service, &c->session, "line", describe);
    metric_add(context, METRIC_LINE_CONNECTIONS, 1);
    c->stream = stream;
    if (server->tls &&
        tls_wrap_server(server->tls, context->os, context->main->task, stream, &c->stream))
        c->stream = NULL;
    if (c->stream) os_stream_own(c->stream, &events, c);
    leave(c);
}

enum err line_server_start(struct service *service, const struct os_address *address,
                           struct tls_config *tls, struct line_server **out,
                           struct os_address *bound, struct why *why)
{
    struct context *context = service->context;
    MUST(loop_is_current(context->main));
    struct line_server *server = mem_alloc_zero(1, sizeof *server);
    if (!server) return why_set(why, ERR_NO_MEMORY, "no memory for a listener");
    server->magic = SERVER_MAGIC;
    server->service = service;
    server->is_running = true;
    door_init(&server->door, context->main, on_accept, server);
    /* Beside in_flight: what waits here must not keep its own rows from going on. */
    size_t limit = service->in_flight->limit_bytes;
    budget_init(&server->memory, "line", context_rows(context),
                limit > QUEUE_BYTES_ALL_MIN ? limit : QUEUE_BYTES_ALL_MIN);
    enum err err = line_server_listen(server, address, tls, bound, why);
    if (err)
        mem_free(server);
    else
        *out = server;
    return err;
}

enum err line_server_listen(struct line_server *server, const struct os_address *address,
                            struct tls_config *tls, struct os_address *bound, struct why *why)
{
    MUST(server->magic == SERVER_MAGIC && server->is_running);
    MUST(tls || os_address_is_loopback(address));
    enum err err = door_move(&server->door, address, why);
    if (!err) server->tls = tls;
    if (bound) *bound = server->door.bound;
    return err;
}

/* On loopback they came without. */
void line_server_recheck_certificates(struct line_server *server)
{
    if (!server || !server->tls) return;
    MUST(server->magic == SERVER_MAGIC && server->is_running);
    for (struct line_connection *c = server->connections, *next; c; c = next) {
        next = c->next;
        if (!c->stream) continue;
        diag(server->service->context, DIAG_INFO, component,
             "%s: certificates are judged otherwise now; the connection is closed", c->peer);
        os_stream_close(&c->stream);
        leave(c);
    }
}

void line_server_stop(struct line_server *server)
{
    if (!server) return;
    MUST(server->magic == SERVER_MAGIC && server->is_running);
    for (struct line_connection *c = server->connections, *next; c; c = next) {
        next = c->next;
        os_stream_close(&c->stream);
        c->is_waiting = false; /* what waits is lost, and counted */
        leave(c);
    }
    if (server->timer) server->service->context->os->ops->timer_close(server->timer);
    server->timer = NULL;
    door_close(&server->door);
    server->is_running = false;
    free_if_over(server);
}
