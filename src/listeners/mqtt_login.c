/* mqtt_login.c - who logs in to the broker (mqtt_server.h).
 *
 * Logins come from the broker's task to the main loop, since who somebody is, is known there alone.
 * In this order: a user with a password (or, as the password, a token of any user), the identity of
 * a key that both sides have, a client certificate's common name, who HTTP knew of a client that
 * came by WebSocket, anonymous. What is refused reads the same whatever the reason, and is counted,
 * slowed and audited as a login over HTTP is.
 *
 * Each login is answered once (answer, or the first half of SCRAM in begin_scram), and with that
 * leaves server->pending. */
#include "base/hash.h"
#include "listeners/mqtt_server_priv.h"
#include <string.h>

static const char component[] = "mqtt";

/* A password that is being checked. */
struct mqtt_login {
    struct access_login op; /* first */
    struct mqtt_server *server;
    struct broker_login *login;
    bool counts; /* in checking_count */
};

/* Thousands may connect in one second, after an outage: they stand in line, for access checks few
 * at once and turns the others away. There is a line for each hash of a user's name, the lines have
 * their turns one after the other, and each has a limited share: so one with a wrong password, each
 * of whose tries is slowed, holds up nobody but those of his name. Nor do many such, since a login
 * that access lets wait takes none of the places. */
enum { CHECKING_MAX = 8, CHECKING_PER_LINE = 3 };

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
    bool says_who = login->has_user || login->has_password;
    enum mqtt_reason refused =
        says_who && !login->scram ? MQTT_REASON_BAD_USER_OR_PASSWORD : MQTT_REASON_NOT_AUTHORIZED;
    login->reason = err == ERR_BUSY || err == ERR_NO_MEMORY ? MQTT_REASON_SERVER_BUSY : refused;
    if (server->broker) {
        note(server, login, identity ? ERR_OK : err);
        broker_login_done(login);
    } else {
        broker_login_free(login);
    }
    mqtt_server_leave(server);
}

static void refuse(struct mqtt_server *server, struct broker_login *login, enum err err)
{
    metric_add(server->service->context, METRIC_LOGIN_FAILURES, 1);
    answer(server, login, NULL, err);
}

static void check_next(struct mqtt_server *server);

static struct mqtt_login_line *line_of(struct mqtt_server *server, const struct broker_login *login)
{
    return &server->lines[hash_64(login->user, strlen(login->user)) % MQTT_LOGIN_LINES];
}

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
    struct broker_login *login = m->login;
    struct mqtt_login_line *line = line_of(server, login);
    MUST(line->checking && server->checking_count >= m->counts);
    line->checking--;
    server->checking_count -= m->counts;
    enum err err = completion->err;
    mem_free(m);
    if (login->scram && !err) sign(login->scram);
    check_next(server);
    answer(server, login, err ? NULL : identity, err); /* may free the server */
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
    line_of(server, login)->checking++;
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
    m->counts = !access_login_waits(&m->op);
    server->checking_count += m->counts;
}

static struct broker_login *take_first(struct mqtt_server *server, struct mqtt_login_line *line)
{
    MUST(line->first && server->waiting_count);
    struct broker_login *login = line->first;
    line->first = login->next;
    if (!line->first) line->end = &line->first;
    server->waiting_count--;
    return login;
}

/* As many as may be checked now: one of each line in turn. */
static void check_next(struct mqtt_server *server)
{
    size_t passed = 0; /* lines, one after the other, of which nobody had his turn */
    while (server->waiting_count && server->checking_count < CHECKING_MAX &&
           passed < MQTT_LOGIN_LINES) {
        struct mqtt_login_line *line = &server->lines[server->line_at++ % MQTT_LOGIN_LINES];
        bool has_turn = line->first && line->checking < CHECKING_PER_LINE;
        passed = has_turn ? 0 : passed + 1;
        if (has_turn) check(server, take_first(server, line));
    }
}

static void check_password(struct mqtt_server *server, struct broker_login *login)
{
    struct mqtt_login_line *line = line_of(server, login);
    login->next = NULL;
    *line->end = login;
    line->end = &login->next;
    server->waiting_count++;
    check_next(server);
}

void mqtt_server_open_lines(struct mqtt_server *server)
{
    for (size_t i = 0; i < MQTT_LOGIN_LINES; i++) server->lines[i].end = &server->lines[i].first;
}

void mqtt_server_clear_lines(struct mqtt_server *server)
{
    for (size_t i = 0; i < MQTT_LOGIN_LINES; i++)
        while (server->lines[i].first) {
            broker_login_free(take_first(server, &server->lines[i]));
            atomic_fetch_sub(&server->pending, 1);
        }
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
    mqtt_server_leave(server);
}

struct identity *mqtt_server_anonymous(struct mqtt_server *server)
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
    } else if (login->proved[0]) {
        identity = access_identify(access, login->proved);
        if (identity)
            answer(server, login, identity, ERR_OK);
        else
            refuse(server, login, ERR_UNAUTHENTICATED);
    } else if (!login->has_user && login->visitor) {
        answer(server, login, identity_share(login->visitor), ERR_OK);
    } else if (!login->has_user && server->anonymous && !login->is_web &&
               os_peer_is_loopback(login->peer)) {
        login->is_anonymous = true;
        answer(server, login, mqtt_server_anonymous(server), ERR_NO_MEMORY);
    } else {
        refuse(server, login, ERR_UNAUTHENTICATED);
    }
}

void mqtt_server_on_login(void *arg, struct broker_login *login)
{
    struct mqtt_server *server = arg;
    atomic_fetch_add(&server->pending, 1);
    login->hook = server;
    login->job.run = look_at;
    loop_post(server->service->context->main, &login->job);
}
