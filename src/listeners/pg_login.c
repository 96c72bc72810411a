/* pg_login.c - everything before READY: start-up packets, TLS, SCRAM, tokens.
 *
 * Passwords are proved with SCRAM-SHA-256, bound to the TLS channel where there is one; nobody
 * sends them. A token is kept as its SHA-256 only, from which no SCRAM proof can be judged: so who
 * logs in as the user `token` is asked for it in clear text, and only where nobody can listen in
 * between (TLS, or loopback). What is refused reads the same whatever the reason, and is counted,
 * slowed and audited as a login over HTTP is. */
#include "listeners/pg_priv.h"
#include "base/num.h"
#include "base/timetext.h"
#include <openssl/crypto.h>
#include <string.h>

enum { OPTIONS_BYTES = 1024 };

struct pg_login {
    struct access_login op; /* first */
    struct pg_connection *connection;
    char user[ACCESS_USER_BYTES], ns[PG_NS_BYTES];
    struct pg_settings settings; /* of the start-up packet */
    struct pg_style style;
    struct scram_server scram;
    char verifier[ACCESS_VERIFIER_BYTES];
    uint8_t binding[TLS_END_POINT_BYTES];
    size_t binding_size; /* 0: no channel to bind to */
};

void pg_login_free(struct pg_connection *c)
{
    struct pg_login *login = c->login;
    c->login = NULL;
    if (!login) return;
    pg_settings_free(&login->settings);
    OPENSSL_cleanse(login, sizeof *login);
    mem_free(login);
}

static const char wrong_login[] = "user or password is wrong";

static void note_login(struct pg_connection *c, enum err err)
{
    struct service *service = c->server->service;
    struct login_line line = {context_mono_ns(service->context), str_of(c->login->user),
                              str_of(c->stream ? os_stream_peer(c->stream) : ""), err};
    if (login_lines_add(&service->login_lines, service->audit, &line))
        diag(service->context, DIAG_ERROR, "postgres", "the audit log takes no lines");
}

/* ---- after the login ---- */

static void add_key_data(struct pg_connection *c)
{
    size_t begun = pg_begin(&c->out, 'K');
    pg_add_32(&c->out, c->pid);
    pg_add_32(&c->out, c->secret);
    pg_end(&c->out, begun);
}

static void add_auth(struct buf *out, uint32_t code, struct str data)
{
    size_t begun = pg_begin(out, 'R');
    pg_add_32(out, code);
    buf_add_str(out, data);
    pg_end(out, begun);
}

enum {
    AUTH_OK = 0,
    AUTH_CLEARTEXT = 3,
    AUTH_SASL = 10,
    AUTH_SASL_CONTINUE = 11,
    AUTH_SASL_FINAL = 12
};

/* Takes `identity`. */
static void let_in(struct pg_connection *c, struct identity *identity)
{
    struct pg_login *login = c->login;
    struct pg_session *s = mem_alloc_zero(1, sizeof *s);
    if (!s) {
        identity_release(identity);
        pg_fatal(c, "53200", "no memory for a session; try again later");
        return;
    }
    c->session = s;
    s->identity = identity;
    s->epoch = access_epoch(c->server->service->access);
    s->transaction = 'I';
    (void)str_copy(s->user, sizeof s->user, str_of(identity->user));
    (void)str_copy(s->ns, sizeof s->ns, str_of(login->ns));
    s->settings = login->settings;
    s->style = login->style;
    s->os = c->server->service->context->os;
    pg_session_tell(c);
    login->settings = (struct pg_settings){0};
    mem_free(s->settings.values[PG_SETTING_SESSION_AUTHORIZATION]);
    s->settings.values[PG_SETTING_SESSION_AUTHORIZATION] = mem_strdup(s->user);
    add_auth(&c->out, AUTH_OK, STR(""));
    pg_settings_report(&s->settings, &c->out);
    add_key_data(c);
    pg_ready(&c->out, 'I');
    pg_login_free(c);
    c->deadline_ns = 0;
    c->state = PG_STATE_READY;
}

static void turn_away(struct pg_connection *c, enum err err)
{
    if (err == ERR_BUSY)
        pg_fatal(c, "53300", "too many logins are being checked; try again in some seconds");
    else if (err == ERR_NO_MEMORY)
        pg_fatal(c, "53200", "no memory; try again later");
    else
        pg_fatal(c, "28P01", wrong_login);
}

/* ---- a token ---- */

void pg_login_password(struct pg_connection *c, const struct pg_message *message)
{
    struct reader r = reader_of(message->body.at, message->body.size);
    struct str token = message->kind == PG_PASSWORD ? pg_read_text(&r) : STR("");
    struct identity *identity =
        reader_ok(&r) ? access_token_find(c->server->service->access, token) : NULL;
    if (identity) (void)str_copy(c->login->user, sizeof c->login->user, str_of(identity->user));
    enum err err = identity ? ERR_OK : ERR_UNAUTHENTICATED;
    note_login(c, err);
    if (!identity) metric_add(c->server->service->context, METRIC_LOGIN_FAILURES, 1);
    if (identity)
        let_in(c, identity);
    else
        turn_away(c, err);
}

/* ---- SCRAM ---- */

static const char mechanism[] = "SCRAM-SHA-256", mechanism_plus[] = "SCRAM-SHA-256-PLUS";

static void ask_for_scram(struct pg_connection *c)
{
    struct pg_login *login = c->login;
    size_t begun = pg_begin(&c->out, 'R');
    pg_add_32(&c->out, AUTH_SASL);
    if (c->is_tls) login->binding_size = tls_end_point(c->stream, login->binding);
    if (login->binding_size) pg_add_text(&c->out, str_of(mechanism_plus));
    pg_add_text(&c->out, str_of(mechanism));
    buf_add_char(&c->out, 0);
    pg_end(&c->out, begun);
    c->state = PG_STATE_SASL;
}

void pg_login_sasl(struct pg_connection *c, const struct pg_message *message)
{
    struct pg_login *login = c->login;
    struct context *context = c->server->service->context;
    struct why why = WHY_NONE;
    struct reader r = reader_of(message->body.at, message->body.size);
    struct str name = pg_read_text(&r);
    uint32_t size = reader_be32(&r);
    struct str first = reader_str(&r, size);
    bool is_plus = str_is(name, mechanism_plus);
    if (message->kind != PG_PASSWORD || !reader_ok(&r) || reader_left(&r) ||
        !(str_is(name, mechanism) || (is_plus && login->binding_size))) {
        pg_fatal(c, "08P01", "SCRAM-SHA-256 is the way to log in here");
        return;
    }
    uint8_t random[SCRAM_NONCE_RANDOM];
    struct scram_verifier verifier;
    struct buf answer = BUF_EMPTY;
    context->os->ops->random(context->os, random, sizeof random);
    access_scram_verifier(c->server->service->access, login->user, login->verifier);
    bool good = scram_parse(str_of(login->verifier), &verifier);
    MUST(good);
    enum err err = scram_server_first(&login->scram, first, is_plus, login->binding_size > 0,
                                      &verifier, random, &answer, &why);
    if (err) {
        pg_fatal(c, err_sqlstate(err), why_text(&why, err));
    } else {
        add_auth(&c->out, AUTH_SASL_CONTINUE, buf_str(&answer));
        c->state = PG_STATE_PROOF;
    }
    buf_free(&answer);
}

static void on_judged(struct completion *done)
{
    struct pg_login *login = (struct pg_login *)(void *)done;
    struct pg_connection *c = login->connection;
    pg_enter(c);
    c->held--;
    enum err err = done->err;
    struct identity *identity = login->op.identity;
    login->op.identity = NULL;
    if (err != ERR_CANCELLED && !c->server->service->stopping) note_login(c, err);
    if (!c->stream || err) {
        identity_release(identity);
        if (c->stream) turn_away(c, err);
    } else {
        struct buf answer = BUF_EMPTY;
        struct scram_verifier verifier;
        bool good = scram_parse(str_of(login->verifier), &verifier);
        MUST(good);
        scram_server_sign(&login->scram, &verifier, &answer);
        add_auth(&c->out, AUTH_SASL_FINAL, buf_str(&answer));
        buf_free(&answer);
        let_in(c, identity);
    }
    pg_leave(c);
}

void pg_login_proof(struct pg_connection *c, const struct pg_message *message)
{
    struct pg_login *login = c->login;
    struct why why = WHY_NONE;
    struct str binding = {(const char *)login->binding, login->binding_size};
    enum err err = message->kind == PG_PASSWORD ? ERR_OK : ERR_PROTOCOL;
    if (!err) err = scram_server_last(&login->scram, message->body, binding, login->op.proof, &why);
    if (err) {
        pg_fatal(c, err_sqlstate(err), why_text(&why, err));
        return;
    }
    c->state = PG_STATE_CHECKING;
    c->held++;
    login->op.by_proof = true;
    login->op.auth = (struct str){login->scram.auth, login->scram.auth_size};
    (void)str_copy(login->op.user, sizeof login->op.user, str_of(login->user));
    (void)str_copy(login->op.verifier, sizeof login->op.verifier, str_of(login->verifier));
    completion_init(&login->op.completion, c->server->service->context->main, on_judged);
    access_login(c->server->service->access, &login->op);
}

/* ---- the start-up packet ---- */

/* "-c name=value --name=value", blanks escaped with a backslash. */
static enum err read_options(struct pg_session *as, struct str options, struct why *why)
{
    char text[OPTIONS_BYTES];
    size_t i = 0;
    enum err err = ERR_OK;
    while (i < options.size && !err) {
        size_t n = 0;
        while (i < options.size && options.at[i] == ' ') i++;
        for (; i < options.size && options.at[i] != ' '; i++) {
            if (options.at[i] == '\\' && i + 1 < options.size) i++;
            if (n == sizeof text) return why_set(why, ERR_LIMIT, "options: too long");
            text[n++] = options.at[i];
        }
        struct str word = {text, n}, name;
        if (str_is(word, "-c") || n == 0) continue; /* its setting is the next word */
        if (str_starts(word, "-c") || str_starts(word, "--")) {
            word.at += 2;
            word.size -= 2;
        }
        if (!str_split(&word, '=', &name) || !word.at)
            return why_set(why, ERR_INVALID, "options: '%.*s' is not NAME=VALUE", (int)name.size,
                           name.at);
        int setting = pg_setting_find(name);
        const char *note;
        if (setting >= 0) err = pg_setting_set(as, (enum pg_setting)setting, word, &note, why);
    }
    return err;
}

/* What the client wants to be, where, and how. Settings that nobody here knows are not an error:
 * drivers send their own. */
static enum err read_startup(struct pg_connection *c, struct reader *r, struct why *why)
{
    struct pg_login *login = c->login;
    /* Only what pg_setting_set needs of it. */
    struct pg_session as = {.os = c->server->service->context->os};
    struct str name, value, database = {0};
    enum err err = ERR_OK;
    while (!err && pg_read_parameter(r, &name, &value)) {
        const char *note;
        int setting = pg_setting_find(name);
        if (str_is(name, "user")) {
            if (!str_copy(login->user, sizeof login->user, value))
                err = why_set(why, ERR_UNAUTHENTICATED, wrong_login);
        } else if (str_is(name, "database")) {
            database = value;
        } else if (str_is(name, "replication")) {
            if (!str_is_nocase(value, "false") && !str_is(value, "0") &&
                !str_is_nocase(value, "off"))
                err = why_set(why, ERR_UNSUPPORTED, "replication is not offered here");
        } else if (str_is(name, "options")) {
            err = read_options(&as, value, why);
        } else if (setting >= 0) {
            err = pg_setting_set(&as, (enum pg_setting)setting, value, &note, why);
        }
    }
    login->settings = as.settings;
    login->style = as.style;
    if (err) return err;
    if (!reader_ok(r) || reader_left(r))
        return why_set(why, ERR_PROTOCOL, "invalid startup packet layout");
    if (!login->user[0])
        return why_set(why, ERR_UNAUTHENTICATED,
                       "no PostgreSQL user name specified in startup packet");
    /* As libpq has it, a client that names no database means one with the user's name: here that
     * is the default namespace, unless there is such a one to mean. */
    bool is_default = !database.size || str_is(database, login->user);
    (void)str_copy(login->ns, sizeof login->ns, is_default ? STR("default") : database);
    return resource_check_namespace(str_of(login->ns), why);
}

static bool is_loopback(struct pg_connection *c)
{
    struct os_address address;
    return os_address_tcp(str_of(os_stream_peer(c->stream)), &address, NULL) == ERR_OK &&
           os_address_is_loopback(&address);
}

/* A minor version above 0 or options "_pq_.…" that we do not know: told, and the client decides. */
static void negotiate(struct pg_connection *c, uint32_t version)
{
    if ((version & 0xffff) == 0) return;
    size_t begun = pg_begin(&c->out, 'v');
    pg_add_32(&c->out, 0);
    pg_add_32(&c->out, 0);
    pg_end(&c->out, begun);
}

static void begin_login(struct pg_connection *c, uint32_t version, struct reader *r)
{
    struct why why = WHY_NONE;
    if (version >> 16 != 3) {
        pg_fatal(c, "0A000", "unsupported frontend protocol: this server speaks 3.0");
        return;
    }
    if (c->server->tls_only && !c->is_tls) {
        pg_fatal(c, "28000",
                 "this address takes logins over TLS only: connect with sslmode=require");
        return;
    }
    c->login = mem_alloc_zero(1, sizeof *c->login);
    if (!c->login) {
        pg_cut(c);
        return;
    }
    c->login->connection = c;
    c->reader.is_started = true;
    enum err err = read_startup(c, r, &why);
    if (err) {
        pg_fatal(c, err == ERR_UNAUTHENTICATED ? "28000" : err_sqlstate(err), why_text(&why, err));
        return;
    }
    negotiate(c, version);
    if (strcmp(c->login->user, "token") != 0) {
        ask_for_scram(c);
    } else if (c->is_tls || is_loopback(c)) {
        add_auth(&c->out, AUTH_CLEARTEXT, STR(""));
        c->state = PG_STATE_PASSWORD;
    } else {
        pg_fatal(c, "28000",
                 "a token would travel in clear text: connect with TLS (sslmode=require)");
    }
}

/* SSLRequest. The caller makes sure that nothing stands behind it before TLS. */
static void begin_tls(struct pg_connection *c)
{
    struct context *context = c->server->service->context;
    if (!c->server->tls || c->is_tls) {
        buf_add_char(&c->out, 'N');
        return;
    }
    buf_add_char(&c->out, 'S');
    pg_flush(c);
    if (!c->stream) return;
    struct os_stream *below = c->stream;
    c->stream = NULL;
    if (tls_wrap_server(c->server->tls, context->os, context->main->task, below, &below)) return;
    c->is_tls = true;
    pg_use_stream(c, below);
}

void pg_login_start(struct pg_connection *c, const struct pg_message *message)
{
    struct reader r = reader_of(message->body.at, message->body.size);
    uint32_t code = reader_be32(&r);
    if (code == PG_REQUEST_SSL) {
        begin_tls(c);
    } else if (code == PG_REQUEST_GSS) {
        buf_add_char(&c->out, 'N');
    } else if (code == PG_REQUEST_CANCEL) {
        uint32_t pid = reader_be32(&r), secret = reader_be32(&r);
        if (reader_ok(&r)) pg_server_cancel(c->server, pid, secret);
        pg_cut(c); /* as the protocol has it: no answer */
    } else {
        begin_login(c, code, &r);
    }
}
