/* mqtt_server.c - see mqtt_server.h: where the broker listens, and its hooks into the node but for
 * logins (mqtt_login.c).
 *
 * Connections are accepted on the main loop and handed to the broker's task. Each hook is called
 * there and goes the same way: what it brings is posted to the main loop (or a worker), answered,
 * and given back, unless the broker was stopped meanwhile; then it is freed instead. `pending`
 * counts what is under way, so that the server outlives the last answer. */
#include "listeners/mqtt_server_priv.h"
#include "listeners/mqtt_asks.h"
#include "listeners/mqtt_rows.h"
#include "listeners/streams.h"
#include "base/timetext.h"
#include <string.h>

static void free_if_over(struct mqtt_server *server)
{
    if (server->broker || atomic_load(&server->pending)) return;
    tls_psk_release(server->psk);
    tls_psk_release(server->closed.was);
    server->magic = 0;
    mem_free(server);
}

void mqtt_server_leave(struct mqtt_server *server)
{
    atomic_fetch_sub(&server->pending, 1);
    free_if_over(server);
}

/* ---- the journal ---- */

struct mqtt_note {
    struct store_note op; /* first */
    struct mqtt_server *server;
    struct broker_note *note;
};

static void on_noted(struct completion *completion)
{
    struct mqtt_note *m = (struct mqtt_note *)completion;
    struct mqtt_server *server = m->server;
    m->note->seq = m->op.seq;
    m->note->err = completion->err;
    m->note->why = completion->why;
    if (server->broker)
        broker_note_done(m->note);
    else
        broker_note_free(m->note);
    mem_free(m);
    mqtt_server_leave(server);
}

static void on_note_written(struct completion *completion)
{
    struct mqtt_note *m = (void *)((char *)completion - offsetof(struct mqtt_note, op.written));
    if (m->server->broker) broker_note_written(m->note);
}

static void on_journal(void *arg, struct broker_note *note) /* broker's task */
{
    struct mqtt_server *server = arg;
    struct mqtt_note *m = mem_alloc_zero(1, sizeof *m);
    if (!m) {
        note->err = ERR_NO_MEMORY;
        broker_note_done(note);
        return;
    }
    atomic_fetch_add(&server->pending, 1);
    m->server = server;
    m->note = note;
    m->op.body = buf_str(&note->body);
    completion_init(&m->op.completion, server->service->context->main, on_noted);
    if (note->wants_written)
        completion_init(&m->op.written, server->service->context->main, on_note_written);
    store_note(server->service->store, &m->op);
}

struct mqtt_saved {
    struct store_notes_saved op; /* first */
    struct mqtt_server *server;
};

static void on_log_told(struct completion *completion)
{
    struct mqtt_saved *m = (struct mqtt_saved *)completion;
    struct mqtt_server *server = m->server;
    mem_free(m);
    mqtt_server_leave(server);
}

static void on_saved(void *arg, uint64_t position) /* broker's task */
{
    struct mqtt_server *server = arg;
    struct mqtt_saved *m = mem_alloc_zero(1, sizeof *m);
    if (!m) return; /* the next one says it as well */
    atomic_fetch_add(&server->pending, 1);
    m->server = server;
    m->op.up_to = position;
    completion_init(&m->op.completion, server->service->context->main, on_log_told);
    store_notes_saved(server->service->store, &m->op);
}

/* ---- rows ---- */

static void on_rows_stored(void *arg, struct broker_rows *rows)
{
    struct mqtt_server *server = arg;
    if (server->broker)
        broker_rows_done(rows);
    else
        broker_rows_free(rows);
    mqtt_server_leave(server);
}

static void store_rows(struct job *job) /* main loop */
{
    struct broker_rows *rows = (struct broker_rows *)job;
    struct mqtt_server *server = rows->hook;
    if (rows->stream)
        stream_rows_store(server->service, rows, on_rows_stored, server);
    else
        mqtt_rows_store(server->service, rows, on_rows_stored, server);
}

static void on_rows(void *arg, struct broker_rows *rows) /* broker's task */
{
    struct mqtt_server *server = arg;
    atomic_fetch_add(&server->pending, 1);
    rows->hook = server;
    rows->job.run = store_rows;
    loop_post(server->service->context->main, &rows->job);
}

/* ---- commands ---- */

static void on_ask_answered(void *arg, struct broker_ask *ask)
{
    struct mqtt_server *server = arg;
    if (server->broker)
        broker_ask_done(ask);
    else
        broker_ask_free(ask);
    mqtt_server_leave(server);
}

static void run_ask(struct job *job) /* main loop */
{
    struct broker_ask *ask = (struct broker_ask *)job;
    struct mqtt_server *server = ask->hook;
    mqtt_asks_run(server->service, ask, on_ask_answered, server);
}

static void on_ask(void *arg, struct broker_ask *ask) /* broker's task */
{
    struct mqtt_server *server = arg;
    atomic_fetch_add(&server->pending, 1);
    ask->hook = server;
    ask->job.run = run_ask;
    loop_post(server->service->context->main, &ask->job);
}

/* ---- rights that change ---- */

enum { REVIEW_MS = 1000, EXPIRY_REVIEWS = 10 };

static void answer_review(struct job *job) /* main loop */
{
    struct broker_review *r = (struct broker_review *)job;
    struct mqtt_server *server = r->hook;
    for (size_t i = 0; server->broker && i < r->count; i++) {
        r->renewed[i] = access_renew(server->service->access, r->old[i]);
        if (!r->renewed[i] && server->anonymous && strcmp(r->old[i]->user, "anonymous") == 0)
            r->renewed[i] = mqtt_server_anonymous(server);
    }
    if (server->broker)
        broker_review_done(r);
    else
        broker_review_free(r);
    mqtt_server_leave(server);
}

static void on_review(void *arg, struct broker_review *r) /* broker's task */
{
    struct mqtt_server *server = arg;
    atomic_fetch_add(&server->pending, 1);
    r->hook = server;
    r->job.run = answer_review;
    loop_post(server->service->context->main, &r->job);
}

/* Tells the broker which ways in are closed; without memory again a second later. */
static void dismiss(struct mqtt_server *server)
{
    struct broker_dismissal *closed = &server->closed;
    if (!server->broker || !(closed->anonymous || closed->certificates || closed->was)) return;
    closed->anonymous = closed->anonymous && !server->anonymous;
    closed->now = server->psk;
    if (broker_dismiss(server->broker, closed)) return;
    tls_psk_release(closed->was);
    *closed = (struct broker_dismissal){0};
}

/* Once a second: has anything changed; and now and then all the same, for tokens run out. */
static void on_review_timer(void *arg)
{
    struct mqtt_server *server = arg;
    uint64_t epoch = access_epoch(server->service->access);
    dismiss(server);
    if (epoch != server->epoch || ++server->unreviewed >= EXPIRY_REVIEWS) {
        server->epoch = epoch;
        server->unreviewed = 0;
        broker_review(server->broker);
    }
    server->service->context->os->ops->timer_set(server->review_timer, REVIEW_MS * TIME_NS_PER_MS);
}

/* ---- the disk ---- */

struct mqtt_work {
    struct job job; /* first */
    struct mqtt_server *server;
    struct broker_work *work; /* not touched any more when the broker was stopped meanwhile */
};

static void come_back(struct job *job)
{
    struct mqtt_work *m = (struct mqtt_work *)job;
    struct mqtt_server *server = m->server;
    if (server->broker) broker_work_done(m->work);
    mem_free(m);
    mqtt_server_leave(server);
}

static void run_work(struct job *job) /* a worker */
{
    struct mqtt_work *m = (struct mqtt_work *)job;
    m->work->work(m->work);
    m->job.run = come_back;
    loop_post(m->server->service->context->main, &m->job);
}

static bool on_work(void *arg, struct broker_work *work) /* broker's task */
{
    struct mqtt_server *server = arg;
    struct mqtt_work *m = mem_alloc_zero(1, sizeof *m);
    if (!m) return false;
    atomic_fetch_add(&server->pending, 1);
    m->server = server;
    m->work = work;
    m->job.run = run_work;
    pool_post(server->service->context->intake, &m->job);
    return true;
}

/* ---- listening ---- */

static void on_accepted(void *owner, struct os_stream *stream)
{
    struct mqtt_door *door = owner;
    struct mqtt_server *server = door->server;
    struct broker_entry entry = {.door = (enum broker_door)(door - server->doors)};
    entry.has_proxy = server->proxy && entry.door != BROKER_LOCAL;
    if (entry.door == BROKER_TLS) {
        entry.tls = server->tls;
        entry.psk = server->psk;
    }
    broker_accept(server->broker, stream, &entry);
}

enum err mqtt_server_listen(struct mqtt_server *server, enum broker_door which,
                            const struct os_address *address, struct tls_config *tls,
                            struct os_address *bound, struct why *why)
{
    MUST(server->magic == SERVER_MAGIC && loop_is_current(server->service->context->main));
    MUST(which <= BROKER_LOCAL && (!address || which != BROKER_TLS || tls));
    struct mqtt_door *door = &server->doors[which];
    enum err err = ERR_OK;
    if (which == BROKER_TLS && tls) server->tls = tls;
    if (!address)
        door_close(&door->door);
    else
        err = door_move(&door->door, address, why);
    if (bound) *bound = door->door.bound;
    return err;
}

enum err mqtt_server_start(struct service *service, struct broker *broker, struct mqtt_server **out,
                           struct why *why)
{
    struct context *context = service->context;
    const struct os_ops *ops = context->os->ops;
    MUST(loop_is_current(context->main));
    struct mqtt_server *server = mem_alloc_zero(1, sizeof *server);
    if (!server) return why_set(why, ERR_NO_MEMORY, "no memory for the MQTT broker");
    server->magic = SERVER_MAGIC;
    server->service = service;
    mqtt_server_open_lines(server);
    for (size_t i = 0; i <= BROKER_LOCAL; i++) {
        server->doors[i].server = server;
        door_init(&server->doors[i].door, context->main, on_accepted, &server->doors[i]);
    }
    struct broker_hooks hooks = {.arg = server,
                                 .login = mqtt_server_on_login,
                                 .journal = on_journal,
                                 .rows = on_rows,
                                 .ask = on_ask,
                                 .review = on_review,
                                 .work = on_work,
                                 .saved = on_saved};
    /* The beginning of the node's uid, which no two nodes share and a restart keeps. */
    const struct resource *node =
        registry_get(service->registry, KIND_NODE, STR(""), str_of(service->node_document));
    if (node && node->uid[0]) broker_set_node(broker, node->uid);
    enum err err = broker_start(broker, &hooks, why);
    if (!err) server->broker = service->broker = broker;
    if (!err)
        err = ops->timer_make(context->main->task, on_review_timer, server, &server->review_timer);
    server->epoch = access_epoch(service->access);
    if (!err) ops->timer_set(server->review_timer, REVIEW_MS * TIME_NS_PER_MS);
    if (err)
        mqtt_server_stop(server);
    else
        *out = service->mqtt = server;
    return err;
}

bool mqtt_server_set_psk(struct mqtt_server *server, struct tls_psk *psk)
{
    MUST(server->magic == SERVER_MAGIC);
    bool lacks_some = tls_psk_lacks_some(server->psk, psk);
    /* Those of before stay known until the broker has been told. */
    if (lacks_some && !server->closed.was)
        server->closed.was = server->psk;
    else
        tls_psk_release(server->psk);
    server->psk = psk ? tls_psk_share(psk) : NULL;
    dismiss(server);
    return lacks_some;
}

void mqtt_server_set_logins(struct mqtt_server *server, bool anonymous, bool proxy)
{
    MUST(server->magic == SERVER_MAGIC);
    server->closed.anonymous |= server->anonymous && !anonymous;
    server->anonymous = anonymous;
    server->proxy = proxy;
    dismiss(server);
}

void mqtt_server_recheck_certificates(struct mqtt_server *server)
{
    MUST(server->magic == SERVER_MAGIC);
    server->closed.certificates = true;
    dismiss(server);
}

enum err mqtt_server_visit(struct mqtt_server *server, const struct broker_visitor *visitor,
                           struct os_stream **stream)
{
    MUST(server->magic == SERVER_MAGIC && loop_is_current(server->service->context->main));
    return server->broker ? broker_visit(server->broker, visitor, stream) : ERR_CANCELLED;
}

void mqtt_server_stop(struct mqtt_server *server)
{
    if (!server) return;
    MUST(server->magic == SERVER_MAGIC);
    server->service->mqtt = NULL;
    if (server->review_timer) server->service->context->os->ops->timer_close(server->review_timer);
    server->review_timer = NULL;
    for (size_t i = 0; i <= BROKER_LOCAL; i++) door_close(&server->doors[i].door);
    server->service->broker = NULL;
    if (server->broker) broker_stop(server->broker);
    server->broker = NULL;
    mqtt_server_clear_lines(server);
    free_if_over(server);
}
