/* connect.c - the CONNECT of a client (MQTT 5.0 section 3.1): what it wants is kept, its login is
 * asked for on the main loop, then it gets its session, or the reason why not. Nothing else of it
 * is read meanwhile.
 *
 * Three steps, each a state of the connection: NEW, in which connect_take copies what the packet
 * says into kept_connect, since its bytes are gone when the answer comes; LOGIN (and AUTH, auth.c),
 * while the hook has the login; OPEN, which let_in makes of it. finish_login is the one place where
 * an answer comes in, and it may come when the connection has ended meanwhile: then
 * login->connection is NULL, or the state says so.
 *
 * Who takes over a session (4.1, 3.1.4): the same client identifier in the same namespace, of the
 * same user; another user's client is refused, not thrown out. The old connection ends first, with
 * its will if that is due, so that a session never has two.
 *
 * Logins lie in slabs (struct login_slab) beside the heap of what stays: an outage that ends brings
 * thousands at once, and their holes would stay in the heap for ever. A slab goes with the last of
 * its logins, whichever task that is on. */
#include "mqtt/auth.h"
#include "mqtt/bridge_priv.h"
#include "mqtt/topic.h"
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

enum { MADE_ID_BYTES = 32 }; /* "auto-" and 24 digits */

/* What is kept of a CONNECT until the login is known. */
struct kept_connect {
    struct will *will; /* NULL = none */
    uint32_t expiry_s;
    uint16_t keep_alive_s;
    bool clean_start, is_assigned, asks_expiry, is_bridge;
    bool ends_kept; /* a session that was kept ended with it */
    size_t client_id_size;
    char client_id[]; /* room for that of the CONNECT, and for one that is made */
};

void connection_free_kept(struct connection *c)
{
    if (!c->kept) return;
    will_free(c->kept->will);
    mem_free(c->kept);
    c->kept = NULL;
}

struct str connection_asked_id(const struct connection *c)
{
    return c->kept ? (struct str){c->kept->client_id, c->kept->client_id_size} : STR("");
}

/* The return codes of 3.1 and 3.1.1; what they have no word for is "server unavailable". */
static uint8_t old_code(enum mqtt_reason reason)
{
    static const struct {
        enum mqtt_reason reason;
        uint8_t code;
    } codes[] = {{MQTT_REASON_SUCCESS, 0},        {MQTT_REASON_UNSUPPORTED_VERSION, 1},
                 {MQTT_REASON_BAD_CLIENT_ID, 2},  {MQTT_REASON_BAD_USER_OR_PASSWORD, 4},
                 {MQTT_REASON_NOT_AUTHORIZED, 5}, {MQTT_REASON_BANNED, 5}};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        if (codes[i].reason == reason) return codes[i].code;
    return 3;
}

/* Refuses a CONNECT: the reason goes out as CONNACK, then the connection ends. */
enum mqtt_reason connect_refuse(struct connection *c, enum mqtt_reason reason, struct why *why)
{
    MUST(connection_is_valid(c) && reason);
    struct mqtt_writer w;
    struct buf *out = connection_out(c);
    size_t start = out->size;
    mqtt_begin(&w, out, MQTT_CONNACK, 0);
    buf_add_char(out, 0);
    buf_add_char(out, (char)(c->version == MQTT_5 ? reason : old_code(reason)));
    if (c->version == MQTT_5) {
        mqtt_begin_properties(&w);
        struct str text = connection_problem(c, why->text);
        if (text.size) mqtt_write_property(out, MQTT_PROPERTY_REASON_STRING, text);
        mqtt_end_properties(&w);
    }
    mqtt_end(&w);
    (void)connection_fits(c, start); /* it ends in any case */
    connection_touch(c);
    return reason;
}

/* The one that the client brings, or one that is made for it and told in CONNACK [MQTT-3.1.3-6]. */
static enum mqtt_reason keep_client_id(struct kept_connect *kept, const struct mqtt_connect *in,
                                       struct broker *broker, struct why *why)
{
    struct str id = in->client_id;
    if (bridge_owns(id))
        return connection_say(why, MQTT_REASON_BAD_CLIENT_ID,
                              "client identifiers that begin with $bridge/ are the bridges' own");
    uint8_t random[12];
    if (!id.size && in->version != MQTT_5 && !in->clean_start)
        return connection_say(why, MQTT_REASON_BAD_CLIENT_ID,
                              "a session that is kept needs a client identifier");
    if (!id.size && in->version == MQTT_3_1)
        return connection_say(why, MQTT_REASON_BAD_CLIENT_ID, "MQTT 3.1 needs a client identifier");
    kept->client_id_size = id.size;
    memcpy(kept->client_id, id.at, id.size);
    if (id.size) return MQTT_REASON_SUCCESS;
    broker->context->os->ops->random(broker->context->os, random, sizeof random);
    int n = snprintf(kept->client_id, MADE_ID_BYTES, "auto-");
    for (size_t i = 0; i < sizeof random; i++)
        n += snprintf(kept->client_id + n, MADE_ID_BYTES - (size_t)n, "%02x", random[i]);
    kept->client_id_size = (size_t)n;
    kept->is_assigned = true;
    return MQTT_REASON_SUCCESS;
}

/* Its delay and expiry are the will's, not the message's: both run from another moment
 * (3.1.3.2). */
static enum mqtt_reason keep_will(struct kept_connect *kept, const struct mqtt_connect *in,
                                  struct broker *broker, struct why *why)
{
    if (!in->has_will) return MQTT_REASON_SUCCESS;
    if (in->will_retain && in->version == MQTT_5 && !broker->config.retained_max)
        return connection_say(why, MQTT_REASON_RETAIN_NOT_SUPPORTED,
                              "nothing is retained here (mqtt.maxRetained: 0)");
    struct message_parts parts = {.topic = in->will_topic,
                                  .payload = in->will_payload,
                                  .properties = &in->will_properties,
                                  .qos = in->will_qos,
                                  .retain = in->will_retain};
    kept->will = will_new(message_new(&parts, &broker->memory));
    if (!kept->will)
        return connection_say(why, MQTT_REASON_QUOTA_EXCEEDED, "no memory for the will");
    kept->will->delay_s = mqtt_number(&in->will_properties, MQTT_PROPERTY_WILL_DELAY, 0);
    kept->will->expiry_s =
        mqtt_number(&in->will_properties, MQTT_PROPERTY_MESSAGE_EXPIRY, WILL_NEVER_EXPIRES);
    return MQTT_REASON_SUCCESS;
}

/* What counts for the connection is set at once, what counts for the session when there is one.
 * 3.x says with clean session what 5.0 says with clean start and an expiry of 0 or never. */
static void keep_properties(struct connection *c, struct kept_connect *kept,
                            const struct mqtt_packet *p)
{
    const struct mqtt_properties *in = &p->properties;
    const struct mqtt_connect *connect = &p->connect;
    uint32_t longest = c->broker->config.session_expiry_max_s;
    c->receive_max = (uint16_t)mqtt_number(in, MQTT_PROPERTY_RECEIVE_MAXIMUM, 65535);
    c->alias_out_max = (uint16_t)mqtt_number(in, MQTT_PROPERTY_TOPIC_ALIAS_MAXIMUM, 0);
    uint32_t asked = connect->version == MQTT_5 ? mqtt_number(in, MQTT_PROPERTY_SESSION_EXPIRY, 0)
                     : connect->clean_start     ? 0
                                                : UINT32_MAX;
    kept->expiry_s = asked < longest ? asked : longest;
    kept->asks_expiry = asked != kept->expiry_s;
    kept->clean_start = connect->clean_start;
    char node[BRIDGE_NODE_BYTES];
    kept->is_bridge =
        mqtt_has(in, MQTT_PROPERTY_USER_PROPERTY) && bridge_trail_first(in->raw, node);
    uint16_t limit = c->broker->config.keep_alive_max_s;
    kept->keep_alive_s = connect->keep_alive_s;
    if (limit && connect->version == MQTT_5 && (!kept->keep_alive_s || kept->keep_alive_s > limit))
        kept->keep_alive_s = limit;
    c->is_bridge = connect->is_bridge;
    if (c->is_bridge) c->receive_max = BRIDGE_WINDOW_3_QOS_2;
    c->keep_alive_s = connect->keep_alive_s; /* to see whether it was changed */
}

/* Thousands of logins may be under way at once, between the allocations of what stays: apart from
 * them they leave no holes when they are over. */
enum { SLAB_LOGINS = 256 };
struct login_slab {
    _Atomic uint32_t live; /* and one while the broker takes from it */
    uint32_t taken;
    struct broker_login logins[SLAB_LOGINS];
};

static void leave_slab(struct login_slab *slab)
{
    MUST(atomic_load(&slab->live) > 0);
    if (atomic_fetch_sub(&slab->live, 1) == 1) mem_free(slab);
}

void connect_free(struct broker *broker)
{
    MUST(broker_is_valid(broker));
    if (broker->login_slab) leave_slab(broker->login_slab);
    broker->login_slab = NULL;
}

/* All zeros but for where it lies. */
static struct broker_login *take_login(struct broker *broker)
{
    struct login_slab *slab = broker->login_slab;
    if (slab && slab->taken == SLAB_LOGINS) {
        connect_free(broker);
        slab = NULL;
    }
    if (!slab) {
        if (!(slab = mem_alloc_zero(1, sizeof *slab))) return NULL;
        atomic_store(&slab->live, 1);
        broker->login_slab = slab;
    }
    MUST(slab->taken < SLAB_LOGINS);
    struct broker_login *login = &slab->logins[slab->taken++];
    atomic_fetch_add(&slab->live, 1);
    login->slab = slab;
    return login;
}

void connect_tick(struct broker *broker)
{
    struct login_slab *slab = broker->login_slab;
    if (slab && atomic_load(&slab->live) == 1) connect_free(broker); /* nobody is logging in */
}

/* Who the client is as far as TLS knows; false: it has shown no certificate. */
static bool look_at_tls(const struct connection *c, struct broker_login *login,
                        struct tls_subject *subject, bool *has_psk)
{
    /* Behind a PROXY header TLS was begun here, whoever moves the bytes. */
    bool is_carried = c->is_tls && c->is_carried,
         is_own = c->is_tls && (!c->is_channel || (c->origin && c->origin->is_proxied));
    bool has_name = is_carried ? carried_peer_subject(c->stream, subject)
                               : is_own && tls_peer_subject(c->stream, subject);
    *has_psk = is_carried ? carried_peer_psk(c->stream, login->proved, sizeof login->proved)
                          : is_own && tls_peer_psk(c->stream, login->proved, sizeof login->proved);
    has_name = has_name && subject->name[0];
    if (!*has_psk &&
        !(has_name && str_copy(login->proved, sizeof login->proved, str_of(subject->name))))
        login->proved[0] = 0;
    return has_name;
}

/* Three texts behind each other, each with its zero byte: an idle connection is to be small. */
static char *keep_subject(const struct tls_subject *subject)
{
    const char *const texts[] = {subject->name, subject->organization, subject->unit};
    char packed[sizeof *subject], *to = packed;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        to = stpcpy(to, texts[i]) + 1; /* each fits into its own array */
    return mem_dup(packed, (size_t)(to - packed));
}

/* What TLS, or who let the visitor in, knew of the client stays with both. False: no memory. */
static bool keep_origin(struct connection *c, struct broker_login *login)
{
    MUST(!c->origin || !c->origin->certificate);
    struct tls_subject subject;
    bool has_psk, has_certificate = look_at_tls(c, login, &subject, &has_psk);
    const char *psk = c->origin ? c->origin->psk : NULL;
    if (psk && !str_copy(login->proved, sizeof login->proved, str_of(psk))) login->proved[0] = 0;
    if (!has_certificate && !has_psk) return true;
    struct origin *origin = connection_origin(c);
    if (!origin) return false;
    if (has_certificate) origin->certificate = keep_subject(&subject);
    if (has_psk) origin->psk = mem_strdup(login->proved);
    return (!has_certificate || origin->certificate) && (!has_psk || origin->psk);
}

/* From here on the login is the hook's (or auth.c's), and nothing is read. A user name or
 * password that could be no one's is sent on as one that nobody has: how it fails is not to be
 * told from a wrong one. */
static bool start_login(struct connection *c, const struct mqtt_connect *in,
                        const struct mqtt_properties *properties)
{
    MUST(c->state == CONNECTION_NEW && c->kept && !c->login);
    struct broker *broker = c->broker;
    struct broker_login *login = take_login(broker);
    if (!login) return false;
    broker->logins++;
    login->home = &broker->loop;
    login->connection = c;
    login->has_user = in->has_user;
    login->has_password = in->has_password;
    login->is_tls = c->is_tls;
    login->is_web = c->is_web;
    if (c->origin) {
        login->visitor = c->origin->visitor;
        c->origin->visitor = NULL;
    }
    size_t size = in->password.size;
    bool fits = size < BROKER_PASSWORD_BYTES &&
                str_copy(login->user, sizeof login->user, in->user) &&
                !(size && memchr(in->password.at, 0, size));
    if (!fits) login->user[0] = 0; /* nobody has such a one */
    login->password = mem_alloc_zero(1, fits ? size + 1 : 1);
    if (!login->password) {
        broker_login_free(login);
        return false;
    }
    if (fits && size) memcpy(login->password, in->password.at, size);
    if (!keep_origin(c, login)) {
        broker_login_free(login);
        return false;
    }
    (void)str_copy(login->peer, sizeof login->peer, str_of(connection_peer(c)));
    c->state = CONNECTION_LOGIN;
    c->is_paused = true;
    os_stream_pause(c->stream, true);
    bool has_data = mqtt_has(properties, MQTT_PROPERTY_AUTH_DATA);
    if (c->has_auth &&
        auth_begin(c, login, has_data ? properties->text[MQTT_PROPERTY_AUTH_DATA] : STR("")))
        return true;
    if (c->has_auth) {
        broker_login_free(login);
        return false;
    }
    c->login = login;
    login->is_away = true;
    broker->hooks.login(broker->hooks.arg, login);
    return true;
}

enum mqtt_reason connect_take(struct connection *c, struct mqtt_packet *p, struct why *why)
{
    MUST(connection_is_valid(c) && !c->is_dialled);
    if (c->state != CONNECTION_NEW)
        return connection_say(why, MQTT_REASON_PROTOCOL_ERROR, "a second CONNECT");
    c->version = (uint8_t)p->connect.version;
    c->packet_max = mqtt_number(&p->properties, MQTT_PROPERTY_MAXIMUM_PACKET_SIZE, UINT32_MAX);
    c->wants_problem = mqtt_number(&p->properties, MQTT_PROPERTY_REQUEST_PROBLEM, 1) != 0;
    if (c->is_busy) {
        (void)why_set(why, ERR_BUSY, "too many log in at once");
        return connect_refuse(c, MQTT_REASON_SERVER_BUSY, why);
    }
    size_t room =
        p->connect.client_id.size > MADE_ID_BYTES ? p->connect.client_id.size : MADE_ID_BYTES;
    c->kept = mem_alloc_zero(1, sizeof *c->kept + room);
    if (!c->kept) return connect_refuse(c, MQTT_REASON_SERVER_BUSY, why);
    c->has_auth = mqtt_has(&p->properties, MQTT_PROPERTY_AUTH_METHOD);
    if (c->has_auth && !auth_knows_method(p->properties.text[MQTT_PROPERTY_AUTH_METHOD])) {
        (void)why_set(why, ERR_UNSUPPORTED, "this authentication method is not known");
        return connect_refuse(c, MQTT_REASON_BAD_AUTH_METHOD, why);
    }
    keep_properties(c, c->kept, p);
    enum mqtt_reason reason = keep_client_id(c->kept, &p->connect, c->broker, why);
    if (!reason) reason = keep_will(c->kept, &p->connect, c->broker, why);
    if (!reason && !start_login(c, &p->connect, &p->properties)) reason = MQTT_REASON_SERVER_BUSY;
    return reason ? connect_refuse(c, reason, why) : MQTT_REASON_SUCCESS;
}

/* False: it would be larger than what the client takes. */
static bool write_connack(struct connection *c, const struct broker_login *login, bool was_present)
{
    MUST(c->kept && c->session);
    const struct kept_connect *kept = c->kept;
    struct buf *out = connection_out(c);
    size_t start = out->size;
    struct mqtt_writer w;
    mqtt_begin(&w, out, MQTT_CONNACK, 0);
    /* 3.1 has no such flag. */
    buf_add_char(out, was_present && c->version != MQTT_3_1);
    buf_add_char(out, MQTT_REASON_SUCCESS);
    if (c->version == MQTT_5) {
        mqtt_begin_properties(&w);
        if (kept->asks_expiry) mqtt_write_number(out, MQTT_PROPERTY_SESSION_EXPIRY, kept->expiry_s);
        mqtt_write_number(out, MQTT_PROPERTY_RECEIVE_MAXIMUM, c->receive_in_max);
        mqtt_write_number(out, MQTT_PROPERTY_MAXIMUM_PACKET_SIZE,
                          mqtt_packet_size(c->packet_in_max));
        c->may_not_retain = !c->broker->config.retained_max;
        if (c->may_not_retain) mqtt_write_number(out, MQTT_PROPERTY_RETAIN_AVAILABLE, 0);
        if (kept->is_assigned)
            mqtt_write_property(out, MQTT_PROPERTY_ASSIGNED_CLIENT_ID,
                                (struct str){kept->client_id, kept->client_id_size});
        if (c->alias_in_max)
            mqtt_write_number(out, MQTT_PROPERTY_TOPIC_ALIAS_MAXIMUM, c->alias_in_max);
        if (kept->keep_alive_s != c->keep_alive_s)
            mqtt_write_number(out, MQTT_PROPERTY_SERVER_KEEP_ALIVE, kept->keep_alive_s);
        if (kept->is_bridge && c->broker->node[0])
            mqtt_write_user_property(out, STR(BRIDGE_TRAIL), str_of(c->broker->node));
        if (login->scram) auth_write(login, out);
        mqtt_end_properties(&w);
    }
    mqtt_end(&w);
    connection_touch(c);
    return connection_fits(c, start);
}

/* The session for a client that was let in; NULL: refused, *reason says why. */
static struct session *take_session(struct connection *c, struct identity *identity,
                                    bool *was_present, enum mqtt_reason *reason)
{
    struct broker *broker = c->broker;
    struct str id = {c->kept->client_id, c->kept->client_id_size};
    struct space *space = space_get(broker, str_of(identity->ns));
    struct session *s = session_find(space, id);
    *was_present = false;
    if (!space) {
        *reason = MQTT_REASON_QUOTA_EXCEEDED;
        return NULL;
    }
    if (s && strcmp(s->identity->user, identity->user) != 0) {
        *reason = MQTT_REASON_NOT_AUTHORIZED; /* nobody takes what is another user's */
        return NULL;
    }
    if (s && s->connection) {
        connection_end(s->connection, MQTT_REASON_SESSION_TAKEN_OVER, "its session was taken over");
        s = session_find(space, id); /* it may have ended with its connection */
    }
    /* One that was not to be kept is there while its will waits for the start's first second. */
    if (s && (c->kept->clean_start || s->expiry_s == 0)) {
        c->kept->ends_kept = s->is_logged;
        session_end(s);
        s = NULL;
    }
    *was_present = s != NULL;
    if (!s) s = session_new(space, id, identity);
    *reason = s ? MQTT_REASON_SUCCESS : MQTT_REASON_QUOTA_EXCEEDED;
    if (!s) return NULL;
    MUST(!s->connection && strcmp(s->identity->ns, identity->ns) == 0);
    identity_release(s->identity);
    s->identity = identity_share(identity);
    wheel_stop(&broker->wheel, &s->expiry);
    /* Back before it was due (3.1.2.5); without a delay that is never. */
    if (s->will && s->will->delay_s == 0) session_publish_will(s);
    session_drop_will(s);
    session_put_will(s, c->kept->will);
    c->kept->will = NULL;
    s->expiry_s = c->kept->expiry_s;
    journal_session(s);
    journal_will(s);
    session_check_rights(s, c);
    outbox_rewind(&s->outbox);
    return s;
}

/* Asked at once, since a will that is refused later would be no will (3.1.2.5). */
static bool may_leave_will(const struct connection *c, const struct identity *identity)
{
    MUST(c->kept);
    const struct message *will = c->kept->will ? c->kept->will->message : NULL;
    const struct access_client client = {.id = {c->kept->client_id, c->kept->client_id_size},
                                         .certificate = connection_certificate(c)};
    return !will ||
           (!topic_is_own(message_topic(will)) &&
            access_check_topic(identity, VERB_PUBLISH, &client, message_topic(will)) == ERR_OK);
}

/* Who logs in again and again, with the same rights, is one identity in memory. */
static void make_common(struct broker *broker, struct identity **identity)
{
    MUST(*identity);
    struct identity *fresh = *identity;
    for (size_t i = 0; i < IDENTITIES_KEPT && !fresh->by_token; i++) {
        struct identity *known = broker->identities[i];
        if (!known || strcmp(known->user, fresh->user) != 0 ||
            known->user_serial != fresh->user_serial || strcmp(known->role, fresh->role) != 0 ||
            strcmp(known->ns, fresh->ns) != 0 || known->role_count != fresh->role_count ||
            known->bound_count != fresh->bound_count ||
            memcmp(known->roles, fresh->roles, fresh->bound_count * sizeof fresh->roles[0]) != 0)
            continue;
        *identity = identity_share(known);
        identity_release(fresh);
        return;
    }
    if (fresh->by_token) return;
    struct identity **place = &broker->identities[broker->identity_at++ % IDENTITIES_KEPT];
    identity_release(*place);
    *place = identity_share(fresh);
}

/* The order matters: limits first, which may refuse; then the session, which ends another
 * connection of the same client; then CONNACK, before anything else is written [MQTT-3.2.0-1]. */
static void let_in(struct connection *c, const struct broker_login *login)
{
    MUST(c->state == CONNECTION_LOGIN && c->kept && !c->session);
    struct identity *identity = login->identity;
    enum mqtt_reason reason = MQTT_REASON_NOT_AUTHORIZED;
    struct why why = WHY_NONE;
    bool was_present = false;
    struct str id = {c->kept->client_id, c->kept->client_id_size};
    bool may = may_leave_will(c, identity);
    if (!may)
        (void)connection_say(&why, reason, "it may not publish to the topic of its will");
    else
        reason = limits_open(c, identity, id);
    struct session *s = may && !reason ? take_session(c, identity, &was_present, &reason) : NULL;
    if (!s) {
        (void)connect_refuse(c, reason, &why);
        /* What a limit refuses is told by the limit's line. */
        bool is_limit = reason == MQTT_REASON_BANNED || reason == MQTT_REASON_QUOTA_EXCEEDED;
        connection_end(c, reason, is_limit ? NULL : may ? mqtt_reason_name(reason) : why.text);
        return;
    }
    s->connection = c;
    c->is_anonymous = login->is_anonymous;
    s->since_s = c->broker->wall_s;
    c->session = s;
    if (!write_connack(c, login, was_present)) {
        c->ended_well = true; /* it was never in: no DISCONNECT, no will */
        connection_end(c, MQTT_REASON_PACKET_TOO_LARGE, "it has no room for the CONNACK");
        return;
    }
    c->state = CONNECTION_OPEN;
    c->keep_alive_s = c->kept->keep_alive_s;
    bool ends_kept = c->kept->ends_kept;
    connection_free_kept(c);
    wheel_stop(&c->broker->wheel, &c->timer);
    c->heard_s = broker_in_s(c->broker, 0);
    if (c->keep_alive_s)
        wheel_set(&c->broker->wheel, &c->timer,
                  c->heard_s + c->keep_alive_s + (c->keep_alive_s + 1) / 2);
    session_pump(s);
    /* With a kill the old session would come back, and be taken for the new one: the broker would
     * know identifiers that the client has forgotten. */
    if (ends_kept) journal_hold_output(c);
    connection_go_on(c);
}

/* The answer of the hook: at CONNECT, between two messages of SCRAM, or to a client that is in. */
static void finish_login(struct job *job)
{
    struct broker_login *login = (struct broker_login *)job;
    struct connection *c = login->connection;
    struct why why = WHY_NONE;
    MUST(login->is_away && (!c || (connection_is_valid(c) && c->login == login)));
    login->is_away = false;
    if (c) {
        bool goes_on = login->reason == MQTT_REASON_CONTINUE_AUTHENTICATION && !login->identity;
        c->broker->now_ns = loop_mono_ns(&c->broker->loop);
        if (goes_on && (c->state == CONNECTION_LOGIN || c->state == CONNECTION_OPEN)) {
            auth_continue(c);
            return;
        }
        if (c->state == CONNECTION_OPEN) (void)auth_renew(c);
        c->login = NULL;
        if (c->state != CONNECTION_LOGIN) {
            /* it has ended meanwhile, or was let in before */
        } else if (login->identity) {
            make_common(c->broker, &login->identity);
            let_in(c, login);
        } else {
            (void)connect_refuse(c, login->reason, &why);
            connection_end(c, login->reason, mqtt_reason_name(login->reason));
        }
    }
    broker_login_free(login);
}

void broker_login_free(struct broker_login *login)
{
    identity_release(login->identity);
    identity_release(login->visitor);
    if (login->password) OPENSSL_cleanse(login->password, strlen(login->password));
    mem_free(login->password);
    if (login->scram) buf_free(&login->scram->out);
    if (login->scram) OPENSSL_cleanse(login->scram, sizeof *login->scram);
    mem_free(login->scram);
    if (login->slab)
        leave_slab(login->slab);
    else
        mem_free(login); /* of one who proves himself again */
}

void broker_login_done(struct broker_login *login)
{
    login->job.run = finish_login;
    loop_post(login->home, &login->job);
}
