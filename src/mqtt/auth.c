/* auth.c - enhanced authentication (MQTT 5.0 section 4.12): SCRAM-SHA-256 as the method, at CONNECT
 * and again whenever a client wants.
 *
 * The client proves that it knows the password without sending it, and sees that the broker knows
 * it too. The broker only carries the messages: what they say is judged where users are known, by
 * the login hook, once for each message of the client. Between them the login waits here with the
 * connection. At CONNECT nothing but AUTH is taken meanwhile; while a client proves itself again,
 * everything goes on, and a failure ends the connection (4.12.1).
 *
 * The login is connection->login in both cases, and with the hook or here (is_away), never both: a
 * second AUTH that comes while it is away is a protocol error. */
#include "mqtt/auth.h"
#include <string.h>

static enum mqtt_reason say(struct why *why, enum mqtt_reason reason, const char *text)
{
    (void)why_set(why, ERR_PROTOCOL, "%s", text);
    return reason;
}

bool auth_knows_method(struct str method)
{
    return str_is(method, AUTH_METHOD);
}

/* The client's message is looked at. */
static void step(struct connection *c, struct str data)
{
    struct broker_login *login = c->login;
    struct broker_scram *scram = login->scram;
    MUST(!login->is_away);
    /* One that is too long is no such message: an empty one is none either. */
    scram->in_size = data.size <= sizeof scram->in ? data.size : 0;
    memcpy(scram->in, data.at, scram->in_size);
    buf_clear(&scram->out);
    login->is_away = true;
    c->broker->hooks.login(c->broker->hooks.arg, login);
}

bool auth_begin(struct connection *c, struct broker_login *login, struct str data)
{
    MUST(connection_is_valid(c) && !c->login && !login->scram);
    struct broker_scram *scram = mem_alloc_zero(1, sizeof *scram);
    if (!scram) return false;
    login->scram = scram;
    c->login = login;
    step(c, data);
    return true;
}

/* False: the client takes no packet of this size, and the connection ends. */
static bool write_auth(struct connection *c, enum mqtt_reason reason)
{
    MUST(c->login && c->login->scram);
    struct buf *out = connection_out(c);
    size_t start = out->size;
    struct mqtt_writer w;
    mqtt_begin(&w, out, MQTT_AUTH, 0);
    buf_add_char(out, (char)reason);
    mqtt_begin_properties(&w);
    auth_write(c->login, out);
    mqtt_end_properties(&w);
    mqtt_end(&w);
    if (!connection_fits(c, start)) {
        connection_end(c, MQTT_REASON_PACKET_TOO_LARGE, "it has no room for an AUTH");
        return false;
    }
    connection_touch(c);
    return true;
}

void auth_write(const struct broker_login *login, struct buf *out)
{
    MUST(login->scram);
    mqtt_write_property(out, MQTT_PROPERTY_AUTH_METHOD, str_of(AUTH_METHOD));
    mqtt_write_property(out, MQTT_PROPERTY_AUTH_DATA, buf_str(&login->scram->out));
}

void auth_continue(struct connection *c)
{
    MUST(connection_is_valid(c) && c->login && c->login->scram);
    if (!write_auth(c, MQTT_REASON_CONTINUE_AUTHENTICATION)) return;
    if (c->state != CONNECTION_LOGIN) return;
    c->state = CONNECTION_AUTH;
    connection_go_on(c);
}

bool auth_renew(struct connection *c)
{
    struct session *s = c->session;
    struct identity *identity = c->login->identity;
    MUST(c->state == CONNECTION_OPEN && s);
    if (!identity || strcmp(identity->user, s->identity->user) != 0) {
        connection_end(c, MQTT_REASON_NOT_AUTHORIZED, "the authentication was not renewed");
        return false;
    }
    if (strcmp(identity->ns, s->identity->ns) != 0) {
        connection_end(c, MQTT_REASON_ADMINISTRATIVE_ACTION,
                       "its user's namespace is another one now");
        return false;
    }
    identity_release(s->identity);
    s->identity = identity_share(identity);
    session_check_rights(s, c);
    return write_auth(c, MQTT_REASON_SUCCESS);
}

/* A login of a client that is in. */
static enum mqtt_reason begin_again(struct connection *c, struct str data, struct why *why)
{
    struct broker_login *login = c->login ? NULL : mem_alloc_zero(1, sizeof *login);
    if (c->login) return say(why, MQTT_REASON_PROTOCOL_ERROR, "two authentications at once");
    if (!login) return say(why, MQTT_REASON_QUOTA_EXCEEDED, "no memory for an authentication");
    login->home = &c->broker->loop;
    login->connection = c;
    login->is_tls = c->is_tls;
    login->is_web = c->is_web;
    (void)str_copy(login->peer, sizeof login->peer, str_of(connection_peer(c)));
    if (auth_begin(c, login, data)) return MQTT_REASON_SUCCESS;
    mem_free(login);
    return say(why, MQTT_REASON_QUOTA_EXCEEDED, "no memory for an authentication");
}

enum mqtt_reason auth_take(struct connection *c, const struct mqtt_packet *p, struct why *why)
{
    MUST(connection_is_valid(c) && p->type == MQTT_AUTH);
    bool has_method = mqtt_has(&p->properties, MQTT_PROPERTY_AUTH_METHOD);
    bool has_data = mqtt_has(&p->properties, MQTT_PROPERTY_AUTH_DATA);
    struct str data = has_data ? p->properties.text[MQTT_PROPERTY_AUTH_DATA] : STR("");
    if (!c->has_auth)
        return say(why, MQTT_REASON_PROTOCOL_ERROR,
                   "AUTH without an authentication method in CONNECT");
    if (!has_method || !auth_knows_method(p->properties.text[MQTT_PROPERTY_AUTH_METHOD]))
        return say(why, MQTT_REASON_PROTOCOL_ERROR, "AUTH with another method than CONNECT");
    if (p->reason == MQTT_REASON_REAUTHENTICATE && c->state == CONNECTION_OPEN)
        return begin_again(c, data, why);
    if (p->reason != MQTT_REASON_CONTINUE_AUTHENTICATION || !c->login || c->login->is_away)
        return say(why, MQTT_REASON_PROTOCOL_ERROR, "an AUTH that nobody waits for");
    if (c->state == CONNECTION_AUTH) {
        c->state = CONNECTION_LOGIN;
        c->is_paused = true;
        os_stream_pause(c->stream, true);
    }
    step(c, data);
    return MQTT_REASON_SUCCESS;
}
