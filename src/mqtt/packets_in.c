/* packets_in.c - what a client's packets mean (MQTT 5.0 sections 3 and 4). One function a type, in
 * a table. A CONNECT waits for its login, during which nothing else is read. */
#include "mqtt/auth.h"
#include "mqtt/topic.h"
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

static const char component[] = "mqtt";

enum { MADE_ID_BYTES = 32 }; /* "auto-" and 24 digits */

/* What is kept of a CONNECT until the login is known. */
struct kept_connect {
    struct message *will;
    uint32_t will_delay_s, will_expiry_s, expiry_s;
    uint16_t keep_alive_s;
    bool clean_start, is_assigned, asks_expiry;
    size_t client_id_size;
    char client_id[]; /* room for that of the CONNECT, and for one that is made */
};

static enum mqtt_reason say(struct why *why, enum mqtt_reason reason, const char *text)
{
    (void)why_set(why, ERR_PROTOCOL, "%s", text);
    return reason;
}

static enum mqtt_version version_of(const struct connection *c)
{
    return (enum mqtt_version)c->version;
}

/* ---- CONNECT ---- */

void connection_free_kept(struct connection *c)
{
    if (!c->kept) return;
    message_release(c->kept->will);
    mem_free(c->kept);
    c->kept = NULL;
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
static enum mqtt_reason refuse(struct connection *c, enum mqtt_reason reason, struct why *why)
{
    struct mqtt_writer w;
    struct buf *out = connection_out(c);
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
    connection_touch(c);
    return reason;
}

static enum mqtt_reason keep_client_id(struct kept_connect *kept, const struct mqtt_connect *in,
                                       struct broker *broker, struct why *why)
{
    struct str id = in->client_id;
    uint8_t random[12];
    if (id.size >= BROKER_CLIENT_ID_BYTES)
        return say(why, MQTT_REASON_BAD_CLIENT_ID,
                   "the client identifier is longer than 255 bytes");
    if (!id.size && in->version != MQTT_5 && !in->clean_start)
        return say(why, MQTT_REASON_BAD_CLIENT_ID,
                   "a session that is kept needs a client identifier");
    if (!id.size && in->version == MQTT_3_1)
        return say(why, MQTT_REASON_BAD_CLIENT_ID, "MQTT 3.1 needs a client identifier");
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

static int64_t expires_at(const struct broker *broker, const struct mqtt_properties *p)
{
    if (!mqtt_has(p, MQTT_PROPERTY_MESSAGE_EXPIRY)) return 0;
    return broker->now_ns + (int64_t)p->number[MQTT_PROPERTY_MESSAGE_EXPIRY] * 1000000000;
}

static enum mqtt_reason keep_will(struct kept_connect *kept, const struct mqtt_connect *in,
                                  struct broker *broker, struct why *why)
{
    if (!in->has_will) return MQTT_REASON_SUCCESS;
    struct message_parts parts = {.topic = in->will_topic,
                                  .payload = in->will_payload,
                                  .properties = &in->will_properties,
                                  .qos = in->will_qos,
                                  .retain = in->will_retain};
    kept->will = message_new(&parts, &broker->memory);
    kept->will_delay_s = mqtt_number(&in->will_properties, MQTT_PROPERTY_WILL_DELAY, 0);
    kept->will_expiry_s =
        mqtt_number(&in->will_properties, MQTT_PROPERTY_MESSAGE_EXPIRY, WILL_NEVER_EXPIRES);
    return kept->will ? MQTT_REASON_SUCCESS
                      : say(why, MQTT_REASON_QUOTA_EXCEEDED, "no memory for the will");
}

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
    uint16_t limit = c->broker->config.keep_alive_max_s;
    kept->keep_alive_s = connect->keep_alive_s;
    if (limit && connect->version == MQTT_5 && (!kept->keep_alive_s || kept->keep_alive_s > limit))
        kept->keep_alive_s = limit;
    c->keep_alive_s = connect->keep_alive_s; /* to see whether it was changed */
}

static bool start_login(struct connection *c, const struct mqtt_connect *in,
                        const struct mqtt_properties *properties)
{
    struct broker *broker = c->broker;
    struct broker_login *login = mem_alloc_zero(1, sizeof *login);
    if (!login) return false;
    login->home = &broker->loop;
    login->connection = c;
    login->has_user = in->has_user;
    login->has_password = in->has_password;
    login->is_tls = c->is_tls;
    login->is_web = c->is_web;
    login->visitor = c->visitor;
    c->visitor = NULL;
    bool fits = str_copy(login->user, sizeof login->user, in->user) &&
                str_copy(login->password, sizeof login->password, in->password) &&
                !(in->password.size && memchr(in->password.at, 0, in->password.size));
    if (!fits) login->user[0] = login->password[0] = 0; /* nobody has such a one */
    if (c->is_tls && !c->is_channel &&
        !tls_peer_name(c->stream, login->certificate, sizeof login->certificate))
        login->certificate[0] = 0;
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

static enum mqtt_reason on_connect(struct connection *c, struct mqtt_packet *p, struct why *why)
{
    if (c->state != CONNECTION_NEW) return say(why, MQTT_REASON_PROTOCOL_ERROR, "a second CONNECT");
    c->version = (uint8_t)p->connect.version;
    c->packet_max = mqtt_number(&p->properties, MQTT_PROPERTY_MAXIMUM_PACKET_SIZE, UINT32_MAX);
    c->wants_problem = mqtt_number(&p->properties, MQTT_PROPERTY_REQUEST_PROBLEM, 1) != 0;
    size_t room =
        p->connect.client_id.size > MADE_ID_BYTES ? p->connect.client_id.size : MADE_ID_BYTES;
    c->kept = mem_alloc_zero(1, sizeof *c->kept + room);
    if (!c->kept) return refuse(c, MQTT_REASON_SERVER_BUSY, why);
    c->has_auth = mqtt_has(&p->properties, MQTT_PROPERTY_AUTH_METHOD);
    if (c->has_auth && !auth_knows_method(p->properties.text[MQTT_PROPERTY_AUTH_METHOD])) {
        (void)why_set(why, ERR_UNSUPPORTED, "this authentication method is not known");
        return refuse(c, MQTT_REASON_BAD_AUTH_METHOD, why);
    }
    keep_properties(c, c->kept, p);
    enum mqtt_reason reason = keep_client_id(c->kept, &p->connect, c->broker, why);
    if (!reason) reason = keep_will(c->kept, &p->connect, c->broker, why);
    if (!reason && !start_login(c, &p->connect, &p->properties)) reason = MQTT_REASON_SERVER_BUSY;
    return reason ? refuse(c, reason, why) : MQTT_REASON_SUCCESS;
}

static void write_connack(struct connection *c, const struct broker_login *login, bool was_present)
{
    const struct kept_connect *kept = c->kept;
    struct buf *out = connection_out(c);
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
                          c->packet_in_max + MQTT_FIXED_HEADER_MAX);
        if (kept->is_assigned)
            mqtt_write_property(out, MQTT_PROPERTY_ASSIGNED_CLIENT_ID,
                                (struct str){kept->client_id, kept->client_id_size});
        if (c->alias_in_max)
            mqtt_write_number(out, MQTT_PROPERTY_TOPIC_ALIAS_MAXIMUM, c->alias_in_max);
        if (kept->keep_alive_s != c->keep_alive_s)
            mqtt_write_number(out, MQTT_PROPERTY_SERVER_KEEP_ALIVE, kept->keep_alive_s);
        if (login->scram) auth_write(login, out);
        mqtt_end_properties(&w);
    }
    mqtt_end(&w);
    connection_touch(c);
}

/* The session for a client that was let in; NULL: refused, *reason says why. */
static struct session *take_session(struct connection *c, struct identity *identity,
                                    bool *was_present, enum mqtt_reason *reason)
{
    struct broker *broker = c->broker;
    struct str id = {c->kept->client_id, c->kept->client_id_size};
    struct session *s = session_find(broker, id);
    *was_present = false;
    if (s && strcmp(s->identity->user, identity->user) != 0) {
        *reason = MQTT_REASON_NOT_AUTHORIZED; /* nobody takes what is another user's */
        return NULL;
    }
    if (s && s->connection) {
        connection_end(s->connection, MQTT_REASON_SESSION_TAKEN_OVER, "its session was taken over");
        s = session_find(broker, id); /* it may have ended with its connection */
    }
    if (s && c->kept->clean_start) {
        session_end(s);
        s = NULL;
    }
    *was_present = s != NULL;
    if (!s) s = session_new(broker, id, identity);
    *reason = s ? MQTT_REASON_SUCCESS : MQTT_REASON_QUOTA_EXCEEDED;
    if (!s) return NULL;
    identity_release(s->identity);
    s->identity = identity_share(identity);
    wheel_stop(&broker->wheel, &s->expiry);
    wheel_stop(&broker->wheel, &s->will_due);
    message_release(s->will.message); /* back before its will was due (3.1.2.5) */
    s->will = (struct will){c->kept->will, c->kept->will_delay_s, c->kept->will_expiry_s};
    c->kept->will = NULL;
    if (s->will.message) s->will.message->publisher = s->serial;
    s->expiry_s = c->kept->expiry_s;
    journal_session(s);
    session_check_rights(s);
    outbox_rewind(&s->outbox);
    return s;
}

static bool may_leave_will(const struct connection *c, const struct identity *identity)
{
    const struct message *will = c->kept->will;
    return !will || access_check_topic(identity, VERB_PUBLISH,
                                       (struct str){c->kept->client_id, c->kept->client_id_size},
                                       message_topic(will)) == ERR_OK;
}

/* Who logs in again and again, with the same rights, is one identity in memory. */
static void make_common(struct broker *broker, struct identity **identity)
{
    struct identity *fresh = *identity;
    for (size_t i = 0; i < IDENTITIES_KEPT && !fresh->by_token; i++) {
        struct identity *known = broker->identities[i];
        if (!known || strcmp(known->user, fresh->user) != 0 ||
            known->user_serial != fresh->user_serial || strcmp(known->role, fresh->role) != 0 ||
            known->role_count != fresh->role_count ||
            memcmp(known->roles, fresh->roles, fresh->role_count * sizeof fresh->roles[0]) != 0)
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

static void let_in(struct connection *c, const struct broker_login *login)
{
    struct identity *identity = login->identity;
    enum mqtt_reason reason = MQTT_REASON_NOT_AUTHORIZED;
    struct why why = WHY_NONE;
    bool was_present = false;
    struct session *s =
        may_leave_will(c, identity) ? take_session(c, identity, &was_present, &reason) : NULL;
    if (!s) {
        (void)refuse(c, reason, &why);
        connection_end(c, reason, mqtt_reason_name(reason));
        return;
    }
    s->connection = c;
    s->since_s = c->broker->wall_s;
    c->session = s;
    c->state = CONNECTION_OPEN;
    write_connack(c, login, was_present);
    c->keep_alive_s = c->kept->keep_alive_s;
    connection_free_kept(c);
    wheel_stop(&c->broker->wheel, &c->timer);
    c->heard_s = broker_now_s(c->broker);
    if (c->keep_alive_s)
        wheel_set(&c->broker->wheel, &c->timer,
                  c->heard_s + c->keep_alive_s + (c->keep_alive_s + 1) / 2);
    session_pump(s);
    connection_go_on(c);
}

static void finish_login(struct job *job)
{
    struct broker_login *login = (struct broker_login *)job;
    struct connection *c = login->connection;
    struct why why = WHY_NONE;
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
            (void)refuse(c, login->reason, &why);
            connection_end(c, login->reason, mqtt_reason_name(login->reason));
        }
    }
    broker_login_free(login);
}

void broker_login_free(struct broker_login *login)
{
    identity_release(login->identity);
    identity_release(login->visitor);
    OPENSSL_cleanse(login->password, sizeof login->password);
    if (login->scram) buf_free(&login->scram->out);
    if (login->scram) OPENSSL_cleanse(login->scram, sizeof *login->scram);
    mem_free(login->scram);
    mem_free(login);
}

void broker_login_done(struct broker_login *login)
{
    login->job.run = finish_login;
    loop_post(login->home, &login->job);
}

/* ---- PUBLISH ---- */

static enum mqtt_reason resolve_alias(struct connection *c, struct mqtt_packet *p, struct why *why)
{
    uint16_t maximum = c->alias_in_max;
    uint32_t alias = mqtt_number(&p->properties, MQTT_PROPERTY_TOPIC_ALIAS, 0);
    if (!alias) return MQTT_REASON_SUCCESS;
    if (alias > maximum)
        return say(why, MQTT_REASON_TOPIC_ALIAS_INVALID, "an alias above the maximum");
    if (!c->aliases_in) {
        size_t size = sizeof *c->aliases_in + maximum * sizeof c->aliases_in->topics[0];
        if (!(c->aliases_in = mem_alloc_zero(1, size)))
            return say(why, MQTT_REASON_QUOTA_EXCEEDED, "no memory for topic aliases");
        c->aliases_in->count = maximum;
    }
    struct message **place = &c->aliases_in->topics[alias - 1];
    if (p->publish.topic.size == 0) {
        if (!*place)
            return say(why, MQTT_REASON_TOPIC_ALIAS_INVALID, "an alias that stands for nothing");
        p->publish.topic = message_topic(*place);
        return MQTT_REASON_SUCCESS;
    }
    struct message_parts parts = {.topic = p->publish.topic};
    struct message *topic = message_new(&parts, &c->broker->memory);
    if (!topic) return say(why, MQTT_REASON_QUOTA_EXCEEDED, "no memory for topic aliases");
    message_release(*place);
    *place = topic;
    return MQTT_REASON_SUCCESS;
}

static enum mqtt_reason may_publish(struct connection *c, struct str topic)
{
    if (str_starts(topic, "$SYS") || str_starts(topic, "$dead/")) return MQTT_REASON_NOT_AUTHORIZED;
    return access_check_topic(c->session->identity, VERB_PUBLISH, c->session->client_id, topic)
               ? MQTT_REASON_NOT_AUTHORIZED
               : MQTT_REASON_SUCCESS;
}

/* Takes a message that is allowed. Gives the reason for the acknowledgement. */
static enum mqtt_reason route(struct connection *c, const struct mqtt_packet *p, bool *logged)
{
    struct broker *broker = c->broker;
    struct message_parts parts = {.topic = p->publish.topic,
                                  .payload = p->publish.payload,
                                  .properties = &p->properties,
                                  .qos = p->publish.qos,
                                  .retain = p->publish.retain,
                                  .expires_ns = expires_at(broker, &p->properties),
                                  .publisher = c->session->serial,
                                  .serial = ++broker->last_serial};
    struct message *m = message_new(&parts, &broker->memory);
    if (!m) {
        metric_add(broker->context, METRIC_MQTT_DROPPED_MEMORY, 1);
        return MQTT_REASON_QUOTA_EXCEEDED;
    }
    size_t reached = broker_publish(broker, m, c->session,
                                    p->publish.qos == 2 ? p->publish.packet_id : 0, logged);
    message_release(m);
    return reached ? MQTT_REASON_SUCCESS : MQTT_REASON_NO_MATCHING_SUBSCRIBERS;
}

static void acknowledge(struct connection *c, enum mqtt_type type, uint16_t id,
                        enum mqtt_reason reason)
{
    mqtt_write_ack(connection_out(c), version_of(c), type, id, reason, STR(""));
    connection_touch(c);
}

static bool is_rows(const struct connection *c, struct str topic)
{
    const char *prefix = c->broker->config.data_prefix;
    return c->broker->hooks.rows && prefix[0] && str_starts(topic, prefix);
}

static enum mqtt_reason on_publish(struct connection *c, struct mqtt_packet *p, struct why *why)
{
    const struct mqtt_publish *m = &p->publish;
    struct session *s = c->session;
    bool is_again = m->qos == 2 && session_has_received(s, m->packet_id), logged = is_again;
    uint64_t rows = 0;
    if (m->qos == 2 && !is_again && c->version == MQTT_5 && s->received_count >= c->receive_in_max)
        return say(why, MQTT_REASON_RECEIVE_MAXIMUM_EXCEEDED,
                   "more QoS 2 messages than the receive maximum");
    enum mqtt_reason reason = resolve_alias(c, p, why);
    if (reason) return reason;
    metric_add(c->broker->context, METRIC_MQTT_RECEIVED, 1);
    s->messages_in++;
    /* Rows are stored again when their message is sent again: that it was received may have reached
     * the disk before they did. */
    bool is_row = is_rows(c, m->topic);
    if (!is_again || is_row) {
        reason = may_publish(c, m->topic);
        if (reason) metric_add(c->broker->context, METRIC_MQTT_DENIED, 1);
        if (!reason && m->qos == 2 && !session_put_received(s, m->packet_id))
            reason = MQTT_REASON_QUOTA_EXCEEDED;
        if (!reason && is_row && !(rows = rows_add(c, m->topic, m->payload)))
            reason = MQTT_REASON_QUOTA_EXCEEDED;
        if (!reason && !is_again) reason = route(c, p, &logged);
        if (rows && reason == MQTT_REASON_NO_MATCHING_SUBSCRIBERS) reason = MQTT_REASON_SUCCESS;
        if (reason == MQTT_REASON_QUOTA_EXCEEDED && m->qos && c->version != MQTT_5)
            return say(why, reason, "no memory for a message"); /* 3.x cannot be told otherwise */
        if (reason >= 0x80 && m->qos == 2) session_drop_received(s, m->packet_id);
    }
    if (m->qos)
        journal_acknowledge(c, m->qos == 1 ? MQTT_PUBACK : MQTT_PUBREC, m->packet_id, reason,
                            logged, rows);
    return MQTT_REASON_SUCCESS;
}

/* ---- acknowledgements ---- */

static void after_ack(struct connection *c)
{
    session_pump(c->session);
    broker_resume_walks(c->broker);
}

static enum mqtt_reason on_puback(struct connection *c, struct mqtt_packet *p, struct why *why)
{
    uint64_t ordinal;
    struct outbox_item *item = outbox_find(&c->session->outbox, p->packet_id, &ordinal);
    (void)why;
    if (!item || item->qos != 1 || item->state != OUTBOX_SENT) return MQTT_REASON_SUCCESS;
    session_finish(c->session, item, ordinal);
    after_ack(c);
    return MQTT_REASON_SUCCESS;
}

static enum mqtt_reason on_pubrec(struct connection *c, struct mqtt_packet *p, struct why *why)
{
    struct outbox *outbox = &c->session->outbox;
    uint64_t ordinal;
    struct outbox_item *item = outbox_find(outbox, p->packet_id, &ordinal);
    (void)why;
    if (!item || item->qos != 2 || item->state == OUTBOX_WAITING) {
        acknowledge(c, MQTT_PUBREL, p->packet_id, MQTT_REASON_PACKET_ID_NOT_FOUND);
    } else if (p->reason >= 0x80) {
        session_finish(c->session, item, ordinal); /* the receiver does not want it */
        after_ack(c);
    } else {
        outbox_forget_message(outbox, item);
        item->state = OUTBOX_RELEASED;
        journal_received(c->session, ordinal);
        item->change = c->broker->journal.change; /* also for a PUBREL that is sent again */
        journal_acknowledge(c, MQTT_PUBREL, p->packet_id, MQTT_REASON_SUCCESS,
                            c->session->is_logged, 0);
    }
    return MQTT_REASON_SUCCESS;
}

static enum mqtt_reason on_pubcomp(struct connection *c, struct mqtt_packet *p, struct why *why)
{
    uint64_t ordinal;
    struct outbox_item *item = outbox_find(&c->session->outbox, p->packet_id, &ordinal);
    (void)why;
    if (!item || item->state != OUTBOX_RELEASED) return MQTT_REASON_SUCCESS;
    session_finish(c->session, item, ordinal);
    after_ack(c);
    return MQTT_REASON_SUCCESS;
}

static enum mqtt_reason on_pubrel(struct connection *c, struct mqtt_packet *p, struct why *why)
{
    bool is_known = session_has_received(c->session, p->packet_id);
    (void)why;
    session_drop_received(c->session, p->packet_id);
    if (is_known) journal_release(c->session, p->packet_id);
    journal_acknowledge(c, MQTT_PUBCOMP, p->packet_id,
                        is_known ? MQTT_REASON_SUCCESS : MQTT_REASON_PACKET_ID_NOT_FOUND,
                        is_known && c->session->is_logged, 0);
    return MQTT_REASON_SUCCESS;
}

/* ---- subscriptions ---- */

static enum mqtt_reason on_filters(struct connection *c, struct mqtt_packet *p, struct why *why)
{
    bool is_subscribe = p->type == MQTT_SUBSCRIBE;
    uint32_t id = mqtt_number(&p->properties, MQTT_PROPERTY_SUBSCRIPTION_ID, 0);
    struct buf *out = connection_out(c);
    struct mqtt_writer w;
    struct mqtt_filter filter;
    (void)why;
    mqtt_begin(&w, out, is_subscribe ? MQTT_SUBACK : MQTT_UNSUBACK, 0);
    mqtt_write_be16(out, p->packet_id);
    if (c->version == MQTT_5) {
        mqtt_begin_properties(&w);
        mqtt_end_properties(&w);
    }
    for (struct str rest = p->rest; mqtt_next_filter(p, version_of(c), &rest, &filter);) {
        enum mqtt_reason reason = is_subscribe ? session_subscribe(c->session, &filter, id)
                                               : session_unsubscribe(c->session, filter.filter);
        if (is_subscribe && reason >= 0x80) metric_add(c->broker->context, METRIC_MQTT_DENIED, 1);
        if (c->version != MQTT_5 && reason >= 0x80) reason = MQTT_REASON_UNSPECIFIED;
        if (is_subscribe || c->version == MQTT_5) buf_add_char(out, (char)reason);
    }
    mqtt_end(&w);
    connection_touch(c);
    return MQTT_REASON_SUCCESS;
}

/* ---- the rest ---- */

static enum mqtt_reason on_pingreq(struct connection *c, struct mqtt_packet *p, struct why *why)
{
    (void)p;
    (void)why;
    mqtt_write_ping(connection_out(c), MQTT_PINGRESP);
    connection_touch(c);
    return MQTT_REASON_SUCCESS;
}

static enum mqtt_reason on_disconnect(struct connection *c, struct mqtt_packet *p, struct why *why)
{
    struct session *s = c->session;
    if (mqtt_has(&p->properties, MQTT_PROPERTY_SESSION_EXPIRY)) {
        uint32_t expiry_s = p->properties.number[MQTT_PROPERTY_SESSION_EXPIRY];
        uint32_t longest = c->broker->config.session_expiry_max_s;
        if (s->expiry_s == 0 && expiry_s)
            return say(why, MQTT_REASON_PROTOCOL_ERROR,
                       "a session expiry for a session that has none");
        s->expiry_s = expiry_s < longest ? expiry_s : longest;
        journal_session(s);
    }
    c->ended_well = p->reason == MQTT_REASON_SUCCESS; /* any other leaves the will (3.14.4) */
    connection_end(c, MQTT_REASON_SUCCESS, NULL);
    return MQTT_REASON_SUCCESS;
}

static enum mqtt_reason on_auth(struct connection *c, struct mqtt_packet *p, struct why *why)
{
    return auth_take(c, p, why);
}

static enum mqtt_reason (*const handlers[16])(struct connection *c, struct mqtt_packet *p,
                                              struct why *why) = {
    [MQTT_CONNECT] = on_connect,       [MQTT_PUBLISH] = on_publish,     [MQTT_PUBACK] = on_puback,
    [MQTT_PUBREC] = on_pubrec,         [MQTT_PUBREL] = on_pubrel,       [MQTT_PUBCOMP] = on_pubcomp,
    [MQTT_SUBSCRIBE] = on_filters,     [MQTT_UNSUBSCRIBE] = on_filters, [MQTT_PINGREQ] = on_pingreq,
    [MQTT_DISCONNECT] = on_disconnect, [MQTT_AUTH] = on_auth,
};

enum mqtt_reason connection_take(struct connection *c, uint8_t first, struct str body,
                                 struct why *why)
{
    struct mqtt_packet packet;
    enum mqtt_reason reason = mqtt_packet_read(first, body, version_of(c), true, &packet, why);
    if (!reason && c->broker->traces)
        trace_packet(c, &packet, 1 + mqtt_varint_size((uint32_t)body.size) + body.size, true);
    if (reason && c->state == CONNECTION_NEW) {
        /* What can be answered is: the version that the client asked for may be unknown. */
        c->version =
            (uint8_t)(packet.connect.version == MQTT_3_1 || packet.connect.version == MQTT_3_1_1
                          ? packet.connect.version
                          : MQTT_5);
        return packet.type == MQTT_CONNECT && reason != MQTT_REASON_MALFORMED_PACKET
                   ? refuse(c, reason, why)
                   : reason;
    }
    if (reason) {
        diag(c->broker->context, DIAG_DEBUG, component, "%s: %s: %s", connection_peer(c),
             mqtt_type_name(packet.type), why->text);
        return reason;
    }
    return handlers[packet.type](c, &packet, why);
}
