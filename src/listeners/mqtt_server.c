/* mqtt_server.c - see mqtt_server.h.
 *
 * Connections are accepted on the main loop and handed to the broker's task. Logins come back from
 * there: who somebody is, is known on the main loop alone. In this order: a user with a password
 * (or, as the password, a token of any user), the identity of a key that both sides have, a client
 * certificate's common name, who HTTP knew of a client that came by WebSocket, anonymous. What is
 * refused reads the same whatever the reason, and is counted, slowed and audited as a login over
 * HTTP is. */
#include "listeners/mqtt_server.h"
#include "listeners/mqtt_asks.h"
#include "listeners/mqtt_rows.h"
#include "net/psk.h"
#include "listeners/streams.h"
#include "base/timetext.h"
#include <string.h>

static const char component[] = "mqtt";

enum { SERVER_MAGIC = 0x6d717376 };

struct mqtt_server {
    uint32_t magic;
    struct service *service;
    struct broker *broker; /* NULL = stopped */
    struct os_listener *plain, *encrypted, *local;
    struct tls_config *tls;
    struct tls_psk *psk; /* shared; NULL = none */
    bool anonymous, proxy;
    _Atomic size_t pending;                      /* what came from the broker and is not answered */
    struct broker_login *waiting, **waiting_end; /* passwords to check, by login->next */
    struct mqtt_login *checking;                 /* being checked */
    size_t checking_count;
    struct os_timer *review_timer;
    uint64_t epoch; /* of access, when rights were reviewed last */
    unsigned unreviewed;
};

/* A password that is being checked. */
struct mqtt_login {
    struct access_login op; /* first */
    struct mqtt_server *server;
    struct broker_login *login;
    struct mqtt_login *next;
};

/* Thousands may connect in one second, after an outage: they stand in line, for access checks few
 * at once and turns the others away. A user's share is limited, so that one with a wrong password
 * (each of whose tries is slowed) does not hold up the rest. */
enum { CHECKING_MAX = 8, CHECKING_PER_USER = 3, LOOK_AHEAD = 64 };

static void free_if_over(struct mqtt_server *server)
{
    if (server->broker || atomic_load(&server->pending)) return;
    tls_psk_release(server->psk);
    server->magic = 0;
    mem_free(server);
}

/* What came from the broker is answered. */
static void leave(struct mqtt_server *server)
{
    atomic_fetch_sub(&server->pending, 1);
    free_if_over(server);
}

/* ---- logins ---- */

static void note(struct mqtt_server *server, const struct broker_login *login, enum err err)
{
    struct service *service = server->service;
    const char *user = login->identity ? login->identity->user : login->user;
    struct login_line line = {context_mono_ns(service->context), str_of(user), str_of(login->peer),
                              err};
    if (login_lines_add(&service->login_lines, service->audit, &line))
        diag(service->context, DIAG_ERROR, component, "the audit log takes no lines");
}

/* Takes `identity`; NULL: refused for `err`. */
static void answer(struct mqtt_server *server, struct broker_login *login,
                   struct identity *identity, enum err err)
{
    MUST(server->magic == SERVER_MAGIC);
    login->identity = identity;
    enum mqtt_reason refused =
        login->scram ? MQTT_REASON_NOT_AUTHORIZED : MQTT_REASON_BAD_USER_OR_PASSWORD;
    login->reason = err == ERR_BUSY || err == ERR_NO_MEMORY ? MQTT_REASON_SERVER_BUSY : refused;
    if (server->broker) {
        note(server, login, identity ? ERR_OK : err);
        broker_login_done(login);
    } else {
        broker_login_free(login);
    }
    leave(server);
}

static void refuse(struct mqtt_server *server, struct broker_login *login, enum err err)
{
    metric_add(server->service->context, METRIC_LOGIN_FAILURES, 1);
    answer(server, login, NULL, err);
}

static void check_next(struct mqtt_server *server);

/* What shows the client that the password is known here. */
static void sign(struct broker_scram *scram)
{
    struct scram_verifier verifier;
    buf_clear(&scram->out);
    if (scram_parse(str_of(scram->verifier), &verifier))
        scram_server_sign(&scram->server, &verifier, &scram->out);
}

static void on_checked(struct completion *completion)
{
    struct mqtt_login *m = (struct mqtt_login *)completion;
    struct mqtt_server *server = m->server;
    struct identity *identity = m->op.identity;
    struct mqtt_login **at = &server->checking;
    m->op.identity = NULL;
    while (*at != m) at = &(*at)->next;
    *at = m->next;
    server->checking_count--;
    struct broker_login *login = m->login;
    enum err err = completion->err;
    mem_free(m);
    if (login->scram && !err) sign(login->scram);
    check_next(server);
    answer(server, login, err ? NULL : identity, err); /* may free the server */
}

static bool may_be_checked(const struct mqtt_server *server, const struct broker_login *login)
{
    size_t of_user = 0;
    for (const struct mqtt_login *m = server->checking; m; m = m->next)
        of_user += strcmp(m->login->user, login->user) == 0;
    return server->checking_count < CHECKING_MAX && of_user < CHECKING_PER_USER;
}

static void check(struct mqtt_server *server, struct broker_login *login)
{
    struct mqtt_login *m = mem_alloc_zero(1, sizeof *m);
    if (!m) {
        refuse(server, login, ERR_NO_MEMORY);
        return;
    }
    m->server = server;
    m->login = login;
    m->next = server->checking;
    server->checking = m;
    server->checking_count++;
    (void)str_copy(m->op.user, sizeof m->op.user, str_of(login->user));
    /* Longer than any password (a token that was refused): nobody has it, and none is right. */
    if (!str_copy(m->op.password, sizeof m->op.password, str_of(login->password)))
        m->op.user[0] = m->op.password[0] = 0;
    struct broker_scram *scram = login->scram;
    if (scram) {
        m->op.by_proof = true;
        m->op.auth = (struct str){scram->server.auth, scram->server.auth_size};
        memcpy(m->op.proof, scram->proof, sizeof m->op.proof);
        (void)str_copy(m->op.verifier, sizeof m->op.verifier, str_of(scram->verifier));
    }
    completion_init(&m->op.completion, server->service->context->main, on_checked);
    access_login(server->service->access, &m->op);
}

/* The first in line whose turn it may be; one whose client has gone is not checked any more. */
static void check_next(struct mqtt_server *server)
{
    struct broker_login **at = &server->waiting;
    for (size_t i = 0; *at && i < LOOK_AHEAD && server->checking_count < CHECKING_MAX; i++) {
        struct broker_login *login = *at;
        if (!may_be_checked(server, login)) {
            at = &login->next;
            continue;
        }
        *at = login->next;
        if (!*at) server->waiting_end = at;
        check(server, login);
    }
}

static void check_password(struct mqtt_server *server, struct broker_login *login)
{
    login->next = NULL;
    *server->waiting_end = login;
    server->waiting_end = &login->next;
    check_next(server);
}

/* ---- SCRAM ---- */

/* The last message: its proof is judged as a password is. */
static void check_proof(struct mqtt_server *server, struct broker_login *login)
{
    struct broker_scram *scram = login->scram;
    struct why why = WHY_NONE;
    enum err err = scram_server_last(&scram->server, (struct str){scram->in, scram->in_size},
                                     STR(""), scram->proof, &why);
    if (err)
        refuse(server, login, err);
    else
        check_password(server, login);
}

/* The first message: whoever it names, the answer looks the same. */
static void begin_scram(struct mqtt_server *server, struct broker_login *login)
{
    struct context *context = server->service->context;
    struct broker_scram *scram = login->scram;
    struct str first = {scram->in, scram->in_size};
    struct scram_verifier verifier;
    struct why why = WHY_NONE;
    uint8_t random[SCRAM_NONCE_RANDOM];
    enum err err =
        scram_client_user(first, login->user, sizeof login->user) ? ERR_OK : ERR_PROTOCOL;
    if (err) login->user[0] = 0;
    context->os->ops->random(context->os, random, sizeof random);
    access_scram_verifier(server->service->access, login->user, scram->verifier);
    bool good = scram_parse(str_of(scram->verifier), &verifier);
    MUST(good);
    if (!err)
        err = scram_server_first(&scram->server, first, false, false, &verifier, random,
                                 &scram->out, &why);
    if (err) {
        refuse(server, login, err);
        return;
    }
    scram->is_second = true;
    login->reason = MQTT_REASON_CONTINUE_AUTHENTICATION;
    broker_login_done(login);
    leave(server);
}

static struct identity *anonymous(struct mqtt_server *server)
{
    struct identity *identity = access_identify(server->service->access, "anonymous");
    return identity ? identity : identity_new("anonymous", "anonymous");
}

static void look_at(struct job *job)
{
    struct broker_login *login = (struct broker_login *)job;
    struct mqtt_server *server = login->hook;
    struct access *access = server->service->access;
    struct identity *identity = NULL;
    MUST(server->magic == SERVER_MAGIC);
    if (!server->broker) {
        answer(server, login, NULL, ERR_CANCELLED);
    } else if (login->scram) {
        (login->scram->is_second ? check_proof : begin_scram)(server, login);
    } else if (login->has_password) {
        identity = access_token_find(access, str_of(login->password));
        if (identity)
            answer(server, login, identity, ERR_OK);
        else
            check_password(server, login);
    } else if (login->certificate[0] || login->psk[0]) {
        identity = access_identify(access, login->psk[0] ? login->psk : login->certificate);
        if (identity)
            answer(server, login, identity, ERR_OK);
        else
            refuse(server, login, ERR_UNAUTHENTICATED);
    } else if (!login->has_user && login->visitor) {
        answer(server, login, identity_share(login->visitor), ERR_OK);
    } else if (!login->has_user && server->anonymous && !login->is_web &&
               os_peer_is_loopback(login->peer)) {
        answer(server, login, anonymous(server), ERR_NO_MEMORY);
    } else {
        refuse(server, login, ERR_UNAUTHENTICATED);
    }
}

/* On the broker's task. */
static void on_login(void *arg, struct broker_login *login)
{
    struct mqtt_server *server = arg;
    atomic_fetch_add(&server->pending, 1);
    login->hook = server;
    login->job.run = look_at;
    loop_post(server->service->context->main, &login->job);
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
    leave(server);
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
    leave(server);
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
    leave(server);
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
    leave(server);
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
            r->renewed[i] = anonymous(server);
    }
    if (server->broker)
        broker_review_done(r);
    else
        broker_review_free(r);
    leave(server);
}

static void on_review(void *arg, struct broker_review *r) /* broker's task */
{
    struct mqtt_server *server = arg;
    atomic_fetch_add(&server->pending, 1);
    r->hook = server;
    r->job.run = answer_review;
    loop_post(server->service->context->main, &r->job);
}

/* Once a second: has anything changed; and now and then all the same, for tokens run out. */
static void on_review_timer(void *arg)
{
    struct mqtt_server *server = arg;
    uint64_t epoch = access_epoch(server->service->access);
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
    leave(server);
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

static void on_plain(void *owner, struct os_stream *stream)
{
    struct mqtt_server *server = owner;
    const struct broker_entry entry = {.has_proxy = server->proxy, .door = BROKER_PLAIN};
    broker_accept(server->broker, stream, &entry);
}

static void on_encrypted(void *owner, struct os_stream *stream)
{
    struct mqtt_server *server = owner;
    const struct broker_entry entry = {
        .tls = server->tls, .psk = server->psk, .has_proxy = server->proxy, .door = BROKER_TLS};
    broker_accept(server->broker, stream, &entry);
}

static void on_local(void *owner, struct os_stream *stream)
{
    struct mqtt_server *server = owner;
    const struct broker_entry entry = {.door = BROKER_LOCAL};
    broker_accept(server->broker, stream, &entry);
}

static void stop_listening(struct mqtt_server *server)
{
    const struct os_ops *ops = server->service->context->os->ops;
    if (server->plain) ops->listener_close(server->plain);
    if (server->encrypted) ops->listener_close(server->encrypted);
    if (server->local) ops->listener_close(server->local);
    server->plain = server->encrypted = server->local = NULL;
}

enum err mqtt_server_start(struct service *service, struct broker *broker,
                           const struct mqtt_server_config *config, struct mqtt_server **out,
                           struct os_address *bound_plain, struct os_address *bound_encrypted,
                           struct why *why)
{
    struct context *context = service->context;
    const struct os_ops *ops = context->os->ops;
    MUST(loop_is_current(context->main) && (!config->encrypted || config->tls));
    MUST(!config->anonymous || !config->plain || os_address_is_loopback(config->plain));
    struct mqtt_server *server = mem_alloc_zero(1, sizeof *server);
    if (!server) return why_set(why, ERR_NO_MEMORY, "no memory for the MQTT broker");
    server->magic = SERVER_MAGIC;
    server->service = service;
    server->tls = config->tls;
    server->anonymous = config->anonymous;
    server->proxy = config->proxy;
    server->waiting_end = &server->waiting;
    struct broker_hooks hooks = {.arg = server,
                                 .login = on_login,
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
    if (!err && config->plain)
        err = ops->listen(context->main->task, config->plain, on_plain, server, &server->plain,
                          bound_plain, why);
    if (!err && config->encrypted)
        err = ops->listen(context->main->task, config->encrypted, on_encrypted, server,
                          &server->encrypted, bound_encrypted, why);
    if (!err && config->local)
        err = ops->listen(context->main->task, config->local, on_local, server, &server->local,
                          NULL, why);
    if (err)
        mqtt_server_stop(server);
    else
        *out = service->mqtt = server;
    return err;
}

void mqtt_server_set_psk(struct mqtt_server *server, struct tls_psk *psk)
{
    MUST(server->magic == SERVER_MAGIC);
    tls_psk_release(server->psk);
    server->psk = psk ? tls_psk_share(psk) : NULL;
}

void mqtt_server_set_logins(struct mqtt_server *server, bool anonymous, bool proxy)
{
    MUST(server->magic == SERVER_MAGIC);
    server->anonymous = anonymous;
    server->proxy = proxy;
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
    stop_listening(server);
    server->service->broker = NULL;
    if (server->broker) broker_stop(server->broker);
    server->broker = NULL;
    while (server->waiting) {
        struct broker_login *login = server->waiting;
        server->waiting = login->next;
        broker_login_free(login);
        atomic_fetch_sub(&server->pending, 1);
    }
    server->waiting_end = &server->waiting;
    free_if_over(server);
}
