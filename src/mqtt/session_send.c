/* session_send.c - what a session sends: now, or in its turn (MQTT 5.0 sections 4.3, 4.4, 4.9).
 *
 * What goes out with QoS 0 is written at once or dropped (and counted) when the receiver is slow;
 * the rest waits in the outbox, of which as much is sent as the client's receive maximum and the
 * connection's buffer allow.
 *
 * A message's way with QoS 1 or 2: session_deliver makes room for it (has_place), gives it an
 * ordinal in the outbox or behind it in files (spill.h), tells the journal, and pumps. session_pump
 * is also called whenever something may have changed: an acknowledgement came, the kernel took
 * bytes, the journal is further, a file was read. Each entry is looked at again when its turn comes
 * (prepare): rights that were taken away, expiry and the receiver's maximum packet size count at
 * the moment of sending. What need not be sent any more is finished as if it were acknowledged, so
 * that nobody waits for it.
 *
 * With QoS 2 an identifier must not go out before the journal has it on the disk: after a crash it
 * would be given to another message, and the receiver would take that for the first one. Such
 * sessions stand in broker->stalled meanwhile. */
#include "mqtt/broker_priv.h"

enum { ALIAS_TOPIC_BYTES_MAX = 4096 }; /* what a connection keeps of topics is not counted */

/* An alias for the topic, when the client takes aliases: the first topics get them. */
static void choose_alias(struct connection *c, struct message *m, struct message_sending *how)
{
    struct str topic = message_sent_topic(m, how);
    if (!c->alias_out_max || topic.size < 4 || topic.size > ALIAS_TOPIC_BYTES_MAX) return;
    struct aliases *aliases = connection_aliases(c);
    if (!aliases) return;
    if (!aliases->out) {
        if (!(aliases->out = mem_alloc(sizeof *aliases->out))) return;
        map_init(aliases->out);
    }
    uintptr_t known = (uintptr_t)map_get(aliases->out, topic);
    if (known) {
        MUST(known <= c->alias_out_count);
        how->alias = (uint16_t)known;
        how->alias_is_known = true;
        return;
    }
    if (c->alias_out_count >= c->alias_out_max) return;
    uintptr_t alias = (uintptr_t)c->alias_out_count + 1;
    how->alias = (uint16_t)alias;
    bool fits = message_packet_size(m, how) <= c->packet_max; /* else the client never learns it */
    if (!fits || map_put(aliases->out, topic, (void *)alias, NULL))
        how->alias = 0;
    else
        c->alias_out_count++;
}

bool session_may_have(const struct session *s, struct str topic)
{
    MUST(session_is_valid(s));
    const struct connection *c = s->connection;
    if (!s->is_cut) return true;
    const struct access_client client = {.id = session_client_id(s),
                                         .certificate = connection_certificate(c)};
    return access_check_topic(s->identity, VERB_SUBSCRIBE, &client, topic) == ERR_OK;
}

/* False: it has expired, is too large for this client, or is denied to it. What was sent once does
 * not expire any more (4.3.3). */
static bool prepare(struct connection *c, struct message *m, struct message_sending *how)
{
    int64_t now_ns = c->broker->now_ns;
    if (c->bridge && !bridge_address(c->bridge, m, how)) {
        c->session->messages_dropped++;
        return false;
    }
    if (c->session->is_cut && !how->dup && !session_may_have(c->session, message_topic(m))) {
        metric_add(c->broker->context, METRIC_MQTT_DENIED, 1);
        return false;
    }
    how->retain = how->retain && !c->takes_no_retain;
    if (m->expires_ns) {
        bool is_over = m->expires_ns <= now_ns;
        if (is_over && !how->dup) {
            metric_add(c->broker->context, METRIC_MQTT_EXPIRED, 1);
            c->session->messages_dropped++;
            return false;
        }
        how->has_expiry = true;
        if (!is_over) how->expiry_s = (uint32_t)((m->expires_ns - now_ns + 999999999) / 1000000000);
    }
    if (how->version == MQTT_5) choose_alias(c, m, how);
    if (message_packet_size(m, how) <= c->packet_max) return true;
    metric_add(c->broker->context, METRIC_MQTT_DROPPED_SIZE, 1);
    if (c->bridge) bridge_note_size(c->bridge, m, message_packet_size(m, how));
    c->session->messages_dropped++;
    return false;
}

/* Whether more may be written to it now: it is there, reads, and has not too much waiting. */
static bool has_room(const struct connection *c)
{
    return c->stream && connection_out_size(c) < c->broker->config.send_bytes_max && !c->is_slow;
}

/* QoS 0: now or never. */
static void send_now(struct connection *c, struct message *m, const struct delivery *d)
{
    struct message_sending how = {.version = (enum mqtt_version)c->version,
                                  .retain = d->retain,
                                  .subscription_ids = d->ids,
                                  .subscription_id_count = d->id_count};
    if (!has_room(c)) {
        limits_act(c->broker, LIMIT_SEND_BUFFER, c->session->client_id);
        c->session->messages_dropped++;
        return;
    }
    if (!prepare(c, m, &how)) return;
    message_write(m, &how, connection_out(c));
    metric_add(c->broker->context, METRIC_MQTT_SENT, 1);
    c->session->messages_out++;
    connection_touch(c);
}

/* It has waited longer than its queue's age allows, and was never sent. */
static bool is_too_old(const struct session *s, const struct outbox_item *item)
{
    MUST(item->message);
    const struct session_limits limits = session_limits(s);
    uint32_t made_s = item->message->made_s, now_s = s->broker->wall_s;
    return limits.age_s && !item->was_sent && made_s && now_s > made_s &&
           now_s - made_s > limits.age_s;
}

/* One item of the outbox; false: it need not be sent (any more). */
static bool send_item(struct session *s, struct outbox_item *item, uint64_t ordinal)
{
    struct connection *c = s->connection;
    uint16_t id = outbox_packet_id(ordinal);
    if (item->state == OUTBOX_DONE) return true;
    if (item->state == OUTBOX_RECEIVED) {
        mqtt_write_ack(connection_out(c), (enum mqtt_version)c->version, MQTT_PUBREL, id,
                       MQTT_REASON_SUCCESS, STR(""));
        item->state = OUTBOX_RELEASED;
        return true;
    }
    MUST(item->state == OUTBOX_WAITING && item->message);
    /* A remote broker may take less than was asked for. */
    if (item->qos > c->qos_max && c->qos_max) item->qos = c->qos_max;
    struct message_sending how = {
        .version = (enum mqtt_version)c->version,
        .qos = c->qos_max ? item->qos : 0,
        .dup = item->was_sent && c->qos_max,
        .retain = item->retain,
        .packet_id = id,
        .subscription_ids = item->id_count > 1 ? item->ids : &item->id,
        .subscription_id_count = item->id_count,
    };
    if (is_too_old(s, item)) {
        metric_add(s->broker->context, METRIC_MQTT_EXPIRED, 1);
        s->messages_dropped++;
        return false;
    }
    if (!prepare(c, item->message, &how)) return false;
    /* What may have been sent says so; only what was is sent again in spite of its expiry. */
    how.dup = c->qos_max && outbox_is_again(&s->outbox, ordinal);
    message_write(item->message, &how, connection_out(c));
    metric_add(c->broker->context, METRIC_MQTT_SENT, 1);
    s->messages_out++;
    item->state = OUTBOX_SENT;
    item->was_sent = true;
    return c->qos_max > 0;
}

void session_finish(struct session *s, struct outbox_item *item, uint64_t ordinal)
{
    MUST(session_is_valid(s) && outbox_at(&s->outbox, ordinal) == item);
    journal_done(s, ordinal);
    outbox_finish(&s->outbox, item);
}

/* What is not sent any more. Who may have got it before is told that it is over. */
static void give_up(struct session *s, struct outbox_item *item, uint64_t ordinal)
{
    bool is_known = item->was_sent || outbox_may_be_known(&s->outbox, ordinal);
    if (item->qos != 2 || s->connection->qos_max != 2 || !is_known) {
        session_finish(s, item, ordinal);
        return;
    }
    outbox_forget_message(&s->outbox, item);
    item->state = OUTBOX_RECEIVED;
    (void)send_item(s, item, ordinal);
}

/* QoS 2 goes out when its identifier is certain to be known again after a crash. */
static bool must_wait(struct session *s)
{
    MUST(outbox_has_more(&s->outbox));
    const struct outbox_item *item = outbox_at(&s->outbox, s->outbox.next);
    if (item->qos != 2 || item->change <= s->broker->journal.durable) return false;
    if (s->is_stalled) return true;
    s->is_stalled = true;
    s->next_stalled = s->broker->stalled;
    s->broker->stalled = s;
    return true;
}

void session_forget_stalled(struct session *s)
{
    struct session **at = &s->broker->stalled;
    if (!s->is_stalled) return;
    while (*at != s) at = &(*at)->next_stalled;
    *at = s->next_stalled;
    s->is_stalled = false;
}

void session_pump_stalled(struct broker *broker)
{
    struct session *first = broker->stalled, *next;
    broker->stalled = NULL;
    for (struct session *s = first; s; s = next) {
        MUST(session_is_valid(s) && s->is_stalled);
        next = s->next_stalled;
        s->is_stalled = false;
        session_pump(s);
    }
}

void session_pump(struct session *s)
{
    MUST(session_is_valid(s));
    struct connection *c = s->connection;
    uint64_t ordinal;
    uint64_t last;
    if (!c || c->state != CONNECTION_OPEN) return;
    spill_refill(s);
    do {
        while (has_room(c) && outbox_may_send(&s->outbox, c->receive_max) && !must_wait(s)) {
            struct outbox_item *item = outbox_take(&s->outbox, &ordinal);
            if (!send_item(s, item, ordinal)) give_up(s, item, ordinal);
            connection_touch(c);
        }
        /* When all of the ring had expired no acknowledgement will come that goes on. */
        last = s->outbox.last;
        if (!outbox_has_more(&s->outbox)) spill_refill(s);
    } while (s->outbox.last != last);
}

struct session_limits session_limits(const struct session *s)
{
    MUST(session_is_valid(s));
    const struct session_limits *own = s->bridge ? bridge_limits(s->bridge) : NULL;
    return own ? *own : s->broker->config.queue;
}

static bool is_over(const struct session *s, const struct session_limits *limits, size_t more)
{
    size_t bytes = session_queued_bytes(s);
    return session_queued(s) >= limits->messages || (bytes && bytes + more > limits->bytes);
}

/* Whether the files of all sessions are too large and this one's grow. */
static bool is_disk_full(const struct session *s)
{
    return s->spill && s->broker->spills.file_bytes > s->broker->config.queue_disk_bytes;
}

static void count_dropped(struct session *s)
{
    limits_act(s->broker, LIMIT_QUEUE, s->client_id);
    s->messages_dropped++;
}

/* Of the messages that were never sent each n-th stays, so that what waits shows the whole time of
 * an outage, coarser the longer it lasts. False: nothing could go. */
static bool thin_out(struct session *s, uint32_t every)
{
    struct outbox *o = &s->outbox;
    uint64_t n = 0, dropped = 0, end = o->last;
    MUST(every >= 2);
    if (s->spill) return spill_thin(s, every);
    for (uint64_t i = o->next; i < end; i++) {
        if (i < o->next || !outbox_may_drop(o, i) || n++ % every == 0) continue;
        outbox_drop(o, i);
        journal_done(s, i);
        dropped++;
    }
    metric_add(s->broker->context, METRIC_MQTT_DROPPED_FULL, dropped);
    s->messages_dropped += dropped;
    return dropped > 0;
}

/* Makes room for one more, or says that there is none. One message that is never acknowledged would
 * hold the ring of all behind it for ever: at its limit the oldest is given up. */
static bool has_place(struct session *s, const struct message *m)
{
    MUST(m->magic == MESSAGE_MAGIC);
    uint64_t ordinal;
    while (outbox_span(&s->outbox) >= OUTBOX_SPAN_MAX) {
        size_t bytes = s->outbox.bytes;
        bool has_gone = outbox_drop_first(&s->outbox, &ordinal);
        if (!has_gone || s->outbox.bytes < bytes) count_dropped(s); /* else it had been delivered */
        if (!has_gone) return false;
        journal_done(s, ordinal);
    }
    const struct session_limits limits = session_limits(s);
    while (is_disk_full(s)) {
        if (limits.full == BROKER_DROP_NEW) {
            count_dropped(s);
            return false;
        }
        if (!spill_drop_front(s)) break; /* its files are small, or being written just now */
    }
    while (is_over(s, &limits, message_size(m))) {
        if (limits.full == BROKER_KEEP_EVERY_NTH && thin_out(s, limits.every)) {
            if (s->spill) return true; /* a file of it will be thinned out soon */
            continue;
        }
        if (limits.full == BROKER_DROP_NEW) {
            count_dropped(s);
            return false;
        }
        if (outbox_drop_oldest(&s->outbox, &ordinal)) {
            count_dropped(s);
            journal_done(s, ordinal);
            spill_refill(s);
        } else if (!spill_drop_front(s)) {
            if (s->spill) return true; /* what could go is on its way to the disk just now */
            count_dropped(s);
            return false;
        }
    }
    return true;
}

void session_deliver(struct session *s, struct message *m, const struct delivery *d)
{
    MUST(session_is_valid(s));
    MUST(d->qos <= 2 && d->id_count <= OUTBOX_IDS_MAX);
    if (d->qos == 0) {
        if (s->connection && s->connection->state == CONNECTION_OPEN) send_now(s->connection, m, d);
        return;
    }
    if (!has_place(s, m)) return;
    uint64_t ordinal = session_last(s);
    struct outbox_item how = {.message = m,
                              .qos = d->qos,
                              .retain = d->retain,
                              .is_shared = d->is_shared,
                              .id_count = (uint16_t)d->id_count};
    if (d->id_count == 1) how.id = d->ids[0];
    if (d->id_count > 1) how.ids = (uint32_t *)(uintptr_t)d->ids; /* only read */
    bool is_long = spill_must_take(s, m);
    if (is_long ? spill_add(s, ordinal, m, &how)
                : outbox_add(&s->outbox, m, d->qos, d->retain, d->ids, d->id_count)) {
        limits_act(s->broker, LIMIT_MEMORY, s->client_id);
        s->messages_dropped++;
        return;
    }
    if (!is_long) outbox_at(&s->outbox, ordinal)->is_shared = d->is_shared;
    /* The message's own change follows, when it is routed. */
    if (!is_long && s->is_logged)
        outbox_at(&s->outbox, ordinal)->change = s->broker->journal.change + 1;
    journal_target(s, ordinal, &how);
    session_pump(s);
}
