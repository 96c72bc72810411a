/* packets_in.c - what packets mean (MQTT 5.0 sections 3 and 4), but for CONNECT (connect.c) and
 * AUTH (auth.c). One function a type, in a table: one for clients, one for the brokers that bridges
 * dial.
 *
 * A handler gives SUCCESS, or the reason for which the connection ends; connection.c ends it. What
 * a packet says has the right form (packet_read.c); what is asked here is whether it fits the state
 * of the session and the rights of its user.
 *
 * An acknowledgement goes out when what it promises holds (journal.h): at once, when the message is
 * with the kernel, or on the disk, and in the order in which the packets came (4.6). A
 * message with QoS 2 that comes again under an identifier that is not released is not routed again
 * (4.3.3), but its rows are stored again, since that does no harm and they may have been lost.
 *
 * Answers of the other side are held against what was sent: one that fits nothing in flight is
 * passed over (it may answer what was given up), one of the wrong kind is a protocol error. */
#include "mqtt/auth.h"
#include "mqtt/topic.h"
#include <stdio.h>
#include <string.h>

static const char component[] = "mqtt";

static int64_t expires_at(const struct broker *broker, const struct mqtt_properties *p)
{
    if (!mqtt_has(p, MQTT_PROPERTY_MESSAGE_EXPIRY)) return 0;
    return broker->now_ns + (int64_t)p->number[MQTT_PROPERTY_MESSAGE_EXPIRY] * 1000000000;
}

/* ---- PUBLISH ---- */

/* The client gives an alias its topic once and may leave the topic out from then on (3.3.2.3.4).
 * Topics are kept as messages, whose memory is counted. */
static enum mqtt_reason resolve_alias(struct connection *c, struct mqtt_packet *p, struct why *why)
{
    uint16_t maximum = c->alias_in_max;
    uint32_t alias = mqtt_number(&p->properties, MQTT_PROPERTY_TOPIC_ALIAS, 0);
    if (!alias) return MQTT_REASON_SUCCESS;
    if (alias > maximum)
        return connection_say(why, MQTT_REASON_TOPIC_ALIAS_INVALID, "an alias above the maximum");
    struct aliases *aliases = connection_aliases(c);
    if (!aliases)
        return connection_say(why, MQTT_REASON_QUOTA_EXCEEDED, "no memory for topic aliases");
    if (!aliases->in) {
        size_t size = sizeof *aliases->in + maximum * sizeof aliases->in->topics[0];
        if (!(aliases->in = mem_alloc_zero(1, size)))
            return connection_say(why, MQTT_REASON_QUOTA_EXCEEDED, "no memory for topic aliases");
        aliases->in->count = maximum;
    }
    MUST(aliases->in->count == maximum); /* what the client was told never changes */
    struct message **place = &aliases->in->topics[alias - 1];
    if (p->publish.topic.size == 0) {
        if (!*place)
            return connection_say(why, MQTT_REASON_PROTOCOL_ERROR,
                                  "an alias that stands for nothing");
        p->publish.topic = message_topic(*place);
        return MQTT_REASON_SUCCESS;
    }
    struct message_parts parts = {.topic = p->publish.topic};
    struct message *topic = message_new(&parts, &c->broker->memory);
    if (!topic)
        return connection_say(why, MQTT_REASON_QUOTA_EXCEEDED, "no memory for topic aliases");
    message_release(*place);
    *place = topic;
    return MQTT_REASON_SUCCESS;
}

/* Asked for each message: rules may tell topics of one filter apart. */
static enum mqtt_reason may_publish(struct connection *c, struct str topic)
{
    if (topic_is_own(topic)) return MQTT_REASON_NOT_AUTHORIZED;
    const struct access_client client = {.id = session_client_id(c->session),
                                         .certificate = connection_certificate(c)};
    return access_check_topic(c->session->identity, VERB_PUBLISH, &client, topic)
               ? MQTT_REASON_NOT_AUTHORIZED
               : MQTT_REASON_SUCCESS;
}

/* Takes a message that is allowed. Gives the reason for the acknowledgement. */
static enum mqtt_reason route(struct connection *c, const struct mqtt_packet *p, bool *logged)
{
    MUST(c->session && p->publish.topic.size > 0);
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
        limits_act(broker, LIMIT_MEMORY, connection_peer(c));
        return MQTT_REASON_QUOTA_EXCEEDED;
    }
    size_t reached = broker_publish(session_space(c->session), m, c->session,
                                    p->publish.qos == 2 ? p->publish.packet_id : 0, logged);
    message_release(m);
    return reached ? MQTT_REASON_SUCCESS : MQTT_REASON_NO_MATCHING_SUBSCRIBERS;
}

static void acknowledge(struct connection *c, enum mqtt_type type, uint16_t id,
                        enum mqtt_reason reason)
{
    mqtt_write_ack(connection_out(c), connection_version(c), type, id, reason, STR(""));
    connection_touch(c);
}

static bool is_rows(const struct connection *c, struct str topic)
{
    const char *prefix = c->broker->config.data_prefix;
    return c->broker->hooks.rows && prefix[0] && str_starts(topic, prefix);
}

/* What the message is to the store. False: no memory; parts of it may be on their way. */
static bool take_rows(struct connection *c, const struct mqtt_publish *m, struct rows_span *span)
{
    MUST(c->session);
    if (is_rows(c, m->topic)) {
        uint64_t number = rows_add(c->broker, c->session->identity, NULL, m->topic, m->payload);
        if (!number) return false;
        rows_widen(span, number);
    }
    return streams_offer(session_space(c->session), m->topic, m->payload, span);
}

/* What the acknowledgement of a message that somebody keeps waits for. */
static enum journal_wait wait_of(const struct connection *c, struct str topic)
{
    const struct broker_acks *acks = &c->broker->config.acks;
    MUST(c->door < BROKER_DOORS && acks->count <= BROKER_ACK_TOPICS_MAX);
    MUST(acks->otherwise != BROKER_ACK_INHERIT);
    static const enum journal_wait waits[] = {[BROKER_ACK_SYNCED] = JOURNAL_DURABLE,
                                              [BROKER_ACK_WRITTEN] = JOURNAL_WRITTEN,
                                              [BROKER_ACK_MEMORY] = JOURNAL_NOT};
    for (size_t i = 0; i < acks->count; i++)
        if (topic_matches(str_of(acks->topics[i].filter), topic)) return waits[acks->topics[i].ack];
    uint8_t ack = c->is_dialled ? BROKER_ACK_INHERIT : acks->doors[c->door];
    return waits[ack == BROKER_ACK_INHERIT ? acks->otherwise : ack];
}

/* Of a client only the levels are in question: its packet was read. */
static bool exceeds(const struct connection *c, struct str topic)
{
    uint16_t levels = c->broker->config.limits.topic_levels;
    if (c->is_dialled && !topic_name_is_valid(topic)) return true;
    return levels < TOPIC_LEVELS_MAX && topic_levels(topic) > levels;
}

/* The steps: is it within what was agreed; which topic; is it for us; may it; rows, commands,
 * routing; then what the publisher is told, and when. A reason of 0x80 or more in the
 * acknowledgement means that nothing was kept [MQTT-4.3.3]. */
static enum mqtt_reason on_publish(struct connection *c, struct mqtt_packet *p, struct why *why)
{
    const struct mqtt_publish *m = &p->publish;
    struct session *s = c->session;
    MUST(s && s->connection == c && m->qos <= 2 && !m->qos == !m->packet_id);
    bool is_again = m->qos == 2 && session_has_received(s, m->packet_id), logged = is_again;
    struct rows_span rows = {0};
    if (m->retain && c->may_not_retain)
        return connection_say(why, MQTT_REASON_RETAIN_NOT_SUPPORTED,
                              "nothing is retained here (mqtt.maxRetained: 0)");
    if (m->qos == 2 && !is_again && c->version == MQTT_5 && s->received_count >= c->receive_in_max)
        return connection_say(why, MQTT_REASON_RECEIVE_MAXIMUM_EXCEEDED,
                              "more QoS 2 messages than the receive maximum");
    enum mqtt_reason reason = resolve_alias(c, p, why);
    if (reason) return reason;
    bool is_too_much = exceeds(c, m->topic);
    if (is_too_much) limits_act(c->broker, LIMIT_TOPIC_LEVELS, connection_peer(c));
    if (is_too_much && !c->is_dialled)
        return connection_say(why, MQTT_REASON_TOPIC_NAME_INVALID,
                              "more topic levels than are allowed");
    metric_add(c->broker->context, METRIC_MQTT_RECEIVED, 1);
    s->messages_in++;
    if (is_too_much || bridge_has_passed(c->broker, &p->properties) ||
        (c->bridge && !bridge_receive(c->bridge, p))) {
        if (m->qos)
            journal_acknowledge(c, m->qos == 1 ? MQTT_PUBACK : MQTT_PUBREC, m->packet_id,
                                MQTT_REASON_SUCCESS, JOURNAL_NOT, rows);
        return MQTT_REASON_SUCCESS;
    }
    /* Rows are stored again when their message is sent again: that it was received may have reached
     * the disk before they did. */
    bool may_be_row = is_rows(c, m->topic) || session_space(s)->streams;
    if (!is_again || may_be_row) {
        reason = may_publish(c, m->topic);
        if (reason) metric_add(c->broker->context, METRIC_MQTT_DENIED, 1);
        if (!reason && m->qos == 2 && !session_put_received(s, m->packet_id))
            reason = MQTT_REASON_QUOTA_EXCEEDED;
        if (!reason && may_be_row && !take_rows(c, m, &rows)) reason = MQTT_REASON_QUOTA_EXCEEDED;
        if (!reason && !is_again) {
            asks_take(c, p);
            reason = route(c, p, &logged);
        }
        if ((rows.last || c->is_dialled) && reason == MQTT_REASON_NO_MATCHING_SUBSCRIBERS)
            reason = MQTT_REASON_SUCCESS;
        if (reason >= 0x80 && m->qos == 2) session_drop_received(s, m->packet_id);
        /* 3.x cannot be told otherwise, and a remote broker would take it for done. */
        if (reason == MQTT_REASON_QUOTA_EXCEEDED && m->qos &&
            (c->version != MQTT_5 || c->is_dialled))
            return connection_say(why, reason, "no memory for a message");
    }
    if (m->qos)
        journal_acknowledge(c, m->qos == 1 ? MQTT_PUBACK : MQTT_PUBREC, m->packet_id, reason,
                            logged ? wait_of(c, m->topic) : JOURNAL_NOT, rows);
    return MQTT_REASON_SUCCESS;
}

/* ---- acknowledgements ---- */

static void after_ack(struct connection *c)
{
    MUST(c->state == CONNECTION_OPEN);
    session_pump(c->session);
    broker_resume_walks(c->broker);
}

/* A remote broker that has no room now gets the message again, after a pause: a bridge's message
 * leaves its queue only when it was taken, or can never be. */
static bool may_come_again(const struct connection *c, const struct mqtt_packet *p, struct why *why)
{
    static const uint8_t for_now[] = {MQTT_REASON_UNSPECIFIED, MQTT_REASON_IMPLEMENTATION_SPECIFIC,
                                      MQTT_REASON_QUOTA_EXCEEDED};
    MUST(c->is_dialled);
    if (!memchr(for_now, p->reason, sizeof for_now)) return false;
    (void)why_set(why, ERR_BUSY, "the remote broker does not take a message now: %s",
                  mqtt_reason_name((enum mqtt_reason)p->reason));
    return true;
}

/* Whether an answer is another kind than what was sent on this connection waits for. */
static bool is_misfit(const struct outbox_item *item, uint8_t qos, enum outbox_state state)
{
    if (!item || (item->state != OUTBOX_SENT && item->state != OUTBOX_RELEASED)) return false;
    return item->qos != qos || item->state < state;
}

static enum mqtt_reason say_misfit(struct why *why)
{
    return connection_say(why, MQTT_REASON_PROTOCOL_ERROR,
                          "that kind of acknowledgement does not answer what was sent");
}

/* QoS 1 is done. */
static enum mqtt_reason on_puback(struct connection *c, struct mqtt_packet *p, struct why *why)
{
    MUST(c->session && p->packet_id);
    uint64_t ordinal;
    struct outbox_item *item = outbox_find(&c->session->outbox, p->packet_id, &ordinal);
    if (is_misfit(item, 1, OUTBOX_SENT)) return say_misfit(why);
    if (!item || item->state != OUTBOX_SENT) return MQTT_REASON_SUCCESS;
    if (p->reason >= 0x80 && c->bridge && may_come_again(c, p, why)) return MQTT_REASON_UNSPECIFIED;
    if (p->reason >= 0x80 && c->bridge) bridge_note_refusal(c->bridge, item->message, p->reason);
    session_finish(c->session, item, ordinal);
    after_ack(c);
    return MQTT_REASON_SUCCESS;
}

/* QoS 2, first half: the message has arrived and is forgotten, its identifier stays until
 * PUBCOMP. PUBREL goes out when that is durable, or a crash would send the message again. */
static enum mqtt_reason on_pubrec(struct connection *c, struct mqtt_packet *p, struct why *why)
{
    MUST(c->session && p->packet_id);
    struct outbox *outbox = &c->session->outbox;
    uint64_t ordinal;
    struct outbox_item *item = outbox_find(outbox, p->packet_id, &ordinal);
    if (is_misfit(item, 2, OUTBOX_SENT)) return say_misfit(why);
    if (p->reason >= 0x80 && c->bridge && may_come_again(c, p, why)) return MQTT_REASON_UNSPECIFIED;
    if (!item || item->qos != 2 || item->state == OUTBOX_WAITING) {
        /* A refusal ends the exchange and has no answer (4.3.3). */
        if (p->reason >= 0x80) return MQTT_REASON_SUCCESS;
        acknowledge(c, MQTT_PUBREL, p->packet_id, MQTT_REASON_PACKET_ID_NOT_FOUND);
    } else if (p->reason >= 0x80) {
        if (c->bridge && item->message) bridge_note_refusal(c->bridge, item->message, p->reason);
        session_finish(c->session, item, ordinal); /* the receiver does not want it */
        after_ack(c);
    } else {
        outbox_forget_message(outbox, item);
        item->state = OUTBOX_RELEASED;
        journal_received(c->session, ordinal);
        item->change = c->broker->journal.change; /* also for a PUBREL that is sent again */
        journal_acknowledge(c, MQTT_PUBREL, p->packet_id, MQTT_REASON_SUCCESS,
                            c->session->is_logged ? JOURNAL_DURABLE : JOURNAL_NOT,
                            (struct rows_span){0});
    }
    return MQTT_REASON_SUCCESS;
}

/* QoS 2 is done. */
static enum mqtt_reason on_pubcomp(struct connection *c, struct mqtt_packet *p, struct why *why)
{
    MUST(c->session && p->packet_id);
    uint64_t ordinal;
    struct outbox_item *item = outbox_find(&c->session->outbox, p->packet_id, &ordinal);
    if (is_misfit(item, 2, OUTBOX_RELEASED)) return say_misfit(why);
    if (!item || item->state != OUTBOX_RELEASED) return MQTT_REASON_SUCCESS;
    session_finish(c->session, item, ordinal);
    after_ack(c);
    return MQTT_REASON_SUCCESS;
}

/* The publisher gives the identifier free; PUBCOMP says that it is, for good. */
static enum mqtt_reason on_pubrel(struct connection *c, struct mqtt_packet *p, struct why *why)
{
    MUST(c->session && p->packet_id);
    bool is_known = session_has_received(c->session, p->packet_id);
    (void)why;
    session_drop_received(c->session, p->packet_id);
    if (is_known) journal_release(c->session, p->packet_id);
    /* Also when it is sent again: the release may be on its way to the log still. */
    journal_acknowledge(c, MQTT_PUBCOMP, p->packet_id,
                        is_known ? MQTT_REASON_SUCCESS : MQTT_REASON_PACKET_ID_NOT_FOUND,
                        c->session->is_logged ? JOURNAL_DURABLE : JOURNAL_NOT,
                        (struct rows_span){0});
    return MQTT_REASON_SUCCESS;
}

/* ---- subscriptions ---- */

/* SUBSCRIBE and UNSUBSCRIBE: one code for each filter, in order [MQTT-3.8.4-6]. 3.1.1 knows only
 * one code for a failure, 3.x none for UNSUBACK. */
static enum mqtt_reason on_filters(struct connection *c, struct mqtt_packet *p, struct why *why)
{
    MUST(c->session && c->session->connection == c);
    bool is_subscribe = p->type == MQTT_SUBSCRIBE;
    uint32_t id = mqtt_number(&p->properties, MQTT_PROPERTY_SUBSCRIPTION_ID, 0);
    struct buf *out = connection_out(c);
    size_t start = out->size;
    struct mqtt_writer w;
    struct mqtt_filter filter;
    mqtt_begin(&w, out, is_subscribe ? MQTT_SUBACK : MQTT_UNSUBACK, 0);
    mqtt_write_be16(out, p->packet_id);
    if (c->version == MQTT_5) {
        mqtt_begin_properties(&w);
        mqtt_end_properties(&w);
    }
    for (struct str rest = p->rest; mqtt_next_filter(p, connection_version(c), &rest, &filter);) {
        enum mqtt_reason reason = is_subscribe ? session_subscribe(c->session, &filter, id)
                                               : session_unsubscribe(c->session, filter.filter);
        if (is_subscribe && reason >= 0x80) metric_add(c->broker->context, METRIC_MQTT_DENIED, 1);
        if (c->version != MQTT_5 && reason >= 0x80) reason = MQTT_REASON_UNSPECIFIED;
        if (is_subscribe || c->version == MQTT_5) buf_add_char(out, (char)reason);
    }
    mqtt_end(&w);
    if (!connection_fits(c, start))
        return connection_say(why, MQTT_REASON_PACKET_TOO_LARGE,
                              "it has no room for the acknowledgement of so many filters");
    connection_touch(c);
    /* A session that is kept has its subscriptions after a crash, too: its client will not ask for
     * them again. */
    if (c->session->is_logged) journal_hold_output(c);
    return MQTT_REASON_SUCCESS;
}

/* ---- the rest ---- */

/* That something came was noted when it was read. */
static enum mqtt_reason on_pingreq(struct connection *c, struct mqtt_packet *p, struct why *why)
{
    (void)p;
    (void)why;
    mqtt_write_ping(connection_out(c), MQTT_PINGRESP);
    connection_touch(c);
    return MQTT_REASON_SUCCESS;
}

/* The client may change how long its session stays, but not from "not at all" (3.14.2.2.2). */
static enum mqtt_reason on_disconnect(struct connection *c, struct mqtt_packet *p, struct why *why)
{
    MUST(c->session && c->session->connection == c);
    struct session *s = c->session;
    if (mqtt_has(&p->properties, MQTT_PROPERTY_SESSION_EXPIRY)) {
        uint32_t expiry_s = p->properties.number[MQTT_PROPERTY_SESSION_EXPIRY];
        uint32_t longest = c->broker->config.session_expiry_max_s;
        if (s->expiry_s == 0 && expiry_s)
            return connection_say(why, MQTT_REASON_PROTOCOL_ERROR,
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
    [MQTT_CONNECT] = connect_take,     [MQTT_PUBLISH] = on_publish,     [MQTT_PUBACK] = on_puback,
    [MQTT_PUBREC] = on_pubrec,         [MQTT_PUBREL] = on_pubrel,       [MQTT_PUBCOMP] = on_pubcomp,
    [MQTT_SUBSCRIBE] = on_filters,     [MQTT_UNSUBSCRIBE] = on_filters, [MQTT_PINGREQ] = on_pingreq,
    [MQTT_DISCONNECT] = on_disconnect, [MQTT_AUTH] = on_auth,
};

/* The same of a connection that a bridge dialled: the other side is a broker. */
static enum mqtt_reason (*const dialled[16])(struct connection *c, struct mqtt_packet *p,
                                             struct why *why) = {
    [MQTT_CONNACK] = bridge_take,    [MQTT_PUBLISH] = on_publish,   [MQTT_PUBACK] = on_puback,
    [MQTT_PUBREC] = on_pubrec,       [MQTT_PUBREL] = on_pubrel,     [MQTT_PUBCOMP] = on_pubcomp,
    [MQTT_SUBACK] = bridge_take,     [MQTT_UNSUBACK] = bridge_take, [MQTT_PINGRESP] = bridge_take,
    [MQTT_DISCONNECT] = bridge_take,
};

enum mqtt_reason connection_take(struct connection *c, uint8_t first, struct str body,
                                 struct why *why)
{
    MUST(connection_is_valid(c) && body.size <= MQTT_REMAINING_MAX);
    struct mqtt_packet packet;
    enum mqtt_reason reason =
        mqtt_packet_read(first, body, connection_version(c), !c->is_dialled, &packet, why);
    if (!reason && c->broker->traces)
        trace_packet(c, &packet, 1 + mqtt_varint_size((uint32_t)body.size) + body.size, true);
    if (reason && c->state == CONNECTION_NEW) {
        /* What can be answered is: the version that the client asked for may be unknown. */
        c->version =
            (uint8_t)(packet.connect.version == MQTT_3_1 || packet.connect.version == MQTT_3_1_1
                          ? packet.connect.version
                          : MQTT_5);
        bool is_told = packet.type == MQTT_CONNECT && (reason == MQTT_REASON_UNSUPPORTED_VERSION ||
                                                       packet.connect.version == MQTT_5);
        return is_told ? connect_refuse(c, reason, why) : reason;
    }
    /* Another broker may have topics that are none here. It would send the message again and again,
     * so on_publish drops it. */
    if (reason == MQTT_REASON_TOPIC_NAME_INVALID && c->is_dialled && packet.type == MQTT_PUBLISH &&
        packet.publish.topic.size)
        reason = MQTT_REASON_SUCCESS;
    if (reason) {
        if (reason == MQTT_REASON_TOPIC_NAME_INVALID && packet.type == MQTT_PUBLISH &&
            topic_levels(packet.publish.topic) > TOPIC_LEVELS_MAX)
            limits_act(c->broker, LIMIT_TOPIC_LEVELS, connection_peer(c));
        diag(c->broker->context, DIAG_DEBUG, component, "%s: %s: %s", connection_peer(c),
             mqtt_type_name(packet.type), why->text);
        return reason;
    }
    MUST(c->is_dialled || handlers[packet.type]); /* mqtt_packet_read knows who sends what */
    if (!c->is_dialled) return handlers[packet.type](c, &packet, why);
    bool is_first = packet.type == MQTT_CONNACK;
    if (!dialled[packet.type] || is_first != (c->state == CONNECTION_DIALLED))
        return connection_say(why, MQTT_REASON_PROTOCOL_ERROR,
                              "the remote broker sent a packet that does not belong there");
    return dialled[packet.type](c, &packet, why);
}
