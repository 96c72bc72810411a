/* session.c - what a client identifier stands for: subscriptions, what is still to be delivered,
 * QoS 2 state, the will, and when all that ends.
 *
 * A session knows its connection only as the place where bytes go. What goes out with QoS 0 is
 * written at once or dropped (and counted) when the receiver is slow; the rest waits in the outbox,
 * of which as much is sent as the client's receive maximum and the connection's buffer allow. */
#include "base/hash.h"
#include "mqtt/broker_priv.h"
#include "mqtt/topic.h"
#include <string.h>

enum { RECEIVED_WORDS = 65536 / 64 };

static bool is_session(const struct session *s)
{
    return s && s->magic == SESSION_MAGIC && s->broker->magic == BROKER_MAGIC;
}

/* ---- life ---- */

struct session *session_find(struct broker *broker, struct str client_id)
{
    if (!broker->bucket_count) return NULL;
    uint64_t hash = hash_64(client_id.at, client_id.size);
    struct session *s = broker->buckets[hash & (broker->bucket_count - 1)];
    while (s && !str_equal(s->client_id, client_id)) s = s->next_in_bucket;
    return s;
}

static struct session **bucket_of(const struct broker *broker, struct str client_id)
{
    return &broker->buckets[hash_64(client_id.at, client_id.size) & (broker->bucket_count - 1)];
}

/* Twice as many; without memory the old ones serve on. */
static bool grow_buckets(struct broker *broker)
{
    size_t wanted = broker->bucket_count ? broker->bucket_count * 2 : 64;
    struct session **table = mem_alloc_zero(wanted, sizeof(struct session *));
    if (!table) return broker->bucket_count > 0;
    mem_free(broker->buckets);
    broker->buckets = table;
    broker->bucket_count = wanted;
    for (struct session *s = broker->first_session; s; s = s->next) {
        struct session **place = bucket_of(broker, s->client_id);
        s->next_in_bucket = *place;
        *place = s;
    }
    return true;
}

static bool put_in_table(struct session *s)
{
    struct broker *broker = s->broker;
    if (broker->session_count >= broker->bucket_count && !grow_buckets(broker)) return false;
    struct session **place = bucket_of(broker, s->client_id);
    s->next_in_bucket = *place;
    *place = s;
    broker->session_count++;
    return true;
}

static void take_from_table(struct session *s)
{
    struct session **place = bucket_of(s->broker, s->client_id);
    while (*place != s) place = &(*place)->next_in_bucket;
    *place = s->next_in_bucket;
    s->broker->session_count--;
}

static void on_expiry(struct wheel_node *node)
{
    struct session *s = (void *)((char *)node - offsetof(struct session, expiry));
    MUST(is_session(s) && !s->connection);
    session_end(s);
}

static void on_will_due(struct wheel_node *node)
{
    struct session *s = (void *)((char *)node - offsetof(struct session, will_due));
    MUST(is_session(s));
    session_publish_will(s);
}

struct session *session_new(struct broker *broker, struct str client_id, struct identity *identity)
{
    size_t size = sizeof(struct session) + client_id.size + 1;
    if (budget_take(&broker->memory, size)) return NULL;
    struct session *s = mem_alloc_zero(1, size);
    if (s) {
        s->magic = SESSION_MAGIC;
        s->broker = broker;
        s->serial = ++broker->last_session;
        memcpy(s->text, client_id.at, client_id.size);
        s->client_id = (struct str){s->text, client_id.size};
        s->expiry.fire = on_expiry;
        s->will_due.fire = on_will_due;
        if (put_in_table(s)) {
            s->identity = identity_share(identity);
            s->next = broker->first_session;
            if (s->next) s->next->previous = s;
            broker->first_session = s;
            metric_add(broker->context, METRIC_MQTT_SESSIONS, 1);
            return s;
        }
    }
    mem_free(s);
    budget_give(&broker->memory, size);
    return NULL;
}

static void unlink_subscription(struct session *s, struct subscription *sub)
{
    inspect_forget_subscription(s->broker, sub);
    *(sub->previous_of_session ? &sub->previous_of_session->next_of_session : &s->subscriptions) =
        sub->next_of_session;
    if (sub->next_of_session) sub->next_of_session->previous_of_session = sub->previous_of_session;
    s->subscription_count--;
    tree_unsubscribe(s->broker->tree, sub);
    metric_add(s->broker->context, METRIC_MQTT_SUBSCRIPTIONS, (uint64_t)-1);
}

static void forget_stalled(struct session *s)
{
    struct session **at = &s->broker->stalled;
    if (!s->is_stalled) return;
    while (*at != s) at = &(*at)->next_stalled;
    *at = s->next_stalled;
    s->is_stalled = false;
}

void session_end(struct session *s)
{
    struct broker *broker = s->broker;
    MUST(is_session(s) && !s->connection && !s->is_ending);
    s->is_ending = true;
    if (s->will.message) session_publish_will(s);
    journal_end(s);
    s->is_logged = false; /* what follows goes without saying */
    broker_forget_walks(s);
    snapshot_forget(s);
    inspect_forget_session(s);
    forget_stalled(s);
    if (broker->journal.is_off)
        (void)map_remove(&broker->by_serial,
                         (struct str){(const char *)&s->serial, sizeof s->serial});
    *(s->previous ? &s->previous->next : &broker->first_session) = s->next;
    if (s->next) s->next->previous = s->previous;
    while (s->subscriptions) unlink_subscription(s, s->subscriptions);
    outbox_free(&s->outbox);
    mem_free(s->received);
    wheel_stop(&broker->wheel, &s->expiry);
    wheel_stop(&broker->wheel, &s->will_due);
    take_from_table(s);
    identity_release(s->identity);
    metric_add(broker->context, METRIC_MQTT_SESSIONS, (uint64_t)-1);
    s->magic = 0;
    size_t size = sizeof *s + s->client_id.size + 1;
    mem_free(s);
    budget_give(&broker->memory, size);
}

void session_publish_will(struct session *s)
{
    struct message *m = s->will.message;
    s->will.message = NULL;
    wheel_stop(&s->broker->wheel, &s->will_due);
    if (!m) return;
    bool logged;
    if (s->will.expiry_s != WILL_NEVER_EXPIRES)
        m->expires_ns = s->broker->now_ns + (int64_t)s->will.expiry_s * 1000000000;
    m->serial = ++s->broker->last_serial;
    (void)broker_publish(s->broker, m, NULL, 0, &logged);
    message_release(m);
}

void session_expire_later(struct session *s)
{
    if (s->expiry_s == UINT32_MAX) return;
    wheel_set(&s->broker->wheel, &s->expiry, broker_now_s(s->broker) + s->expiry_s);
}

void session_detach(struct session *s, bool with_will)
{
    MUST(is_session(s) && s->connection);
    s->connection = NULL;
    s->since_s = s->broker->wall_s;
    outbox_rewind(&s->outbox); /* nothing is on its way any more */
    broker_forget_walks(s);
    if (!with_will) {
        message_release(s->will.message);
        s->will.message = NULL;
    }
    if (s->expiry_s == 0) {
        session_end(s);
        return;
    }
    session_expire_later(s);
    if (!s->will.message) return;
    if (s->will.delay_s == 0)
        session_publish_will(s);
    else
        wheel_set(&s->broker->wheel, &s->will_due, broker_now_s(s->broker) + s->will.delay_s);
}

/* ---- QoS 2 that comes in ---- */

bool session_has_received(const struct session *s, uint16_t id)
{
    return s->received && (s->received[id / 64] >> (id % 64) & 1);
}

bool session_put_received(struct session *s, uint16_t id)
{
    if (!s->received && !(s->received = mem_alloc_zero(RECEIVED_WORDS, sizeof s->received[0])))
        return false;
    s->received_count += !session_has_received(s, id);
    s->received[id / 64] |= (uint64_t)1 << (id % 64);
    return true;
}

void session_drop_received(struct session *s, uint16_t id)
{
    if (!session_has_received(s, id)) return;
    s->received[id / 64] &= ~((uint64_t)1 << (id % 64));
    if (--s->received_count) return;
    mem_free(s->received);
    s->received = NULL;
}

/* ---- sending ---- */

/* An alias for the topic, when the client takes aliases: the first topics get them. */
static void choose_alias(struct connection *c, struct message *m, struct message_sending *how)
{
    struct str topic = message_topic(m);
    if (!c->alias_out_max || topic.size < 4) return;
    if (!c->aliases_out) {
        if (!(c->aliases_out = mem_alloc(sizeof *c->aliases_out))) return;
        map_init(c->aliases_out);
    }
    uintptr_t known = (uintptr_t)map_get(c->aliases_out, topic);
    if (known) {
        how->alias = (uint16_t)known;
        how->alias_is_known = true;
        return;
    }
    if (c->alias_out_count >= c->alias_out_max) return;
    uintptr_t alias = (uintptr_t)c->alias_out_count + 1;
    how->alias = (uint16_t)alias;
    bool fits = message_packet_size(m, how) <= c->packet_max; /* else the client never learns it */
    if (!fits || map_put(c->aliases_out, topic, (void *)alias, NULL))
        how->alias = 0;
    else
        c->alias_out_count++;
}

/* False: it has expired, or is too large for this client. What was sent once does not expire any
 * more (4.3.3). */
static bool prepare(struct connection *c, struct message *m, struct message_sending *how)
{
    int64_t now_ns = c->broker->now_ns;
    if (m->expires_ns) {
        bool is_over = m->expires_ns <= now_ns;
        if (is_over && !how->dup) {
            metric_add(c->broker->context, METRIC_MQTT_EXPIRED, 1);
            return false;
        }
        how->has_expiry = true;
        if (!is_over) how->expiry_s = (uint32_t)((m->expires_ns - now_ns + 999999999) / 1000000000);
    }
    if (how->version == MQTT_5) choose_alias(c, m, how);
    if (message_packet_size(m, how) <= c->packet_max) return true;
    metric_add(c->broker->context, METRIC_MQTT_DROPPED_SIZE, 1);
    c->session->messages_dropped++;
    return false;
}

static bool has_room(const struct connection *c)
{
    return c->stream && c->out.size < c->broker->config.send_bytes_max && !c->is_slow;
}

static void send_now(struct connection *c, struct message *m, const struct delivery *d)
{
    struct message_sending how = {.version = (enum mqtt_version)c->version,
                                  .retain = d->retain,
                                  .subscription_ids = d->ids,
                                  .subscription_id_count = d->id_count};
    if (!has_room(c)) {
        metric_add(c->broker->context, METRIC_MQTT_DROPPED_SLOW, 1);
        c->session->messages_dropped++;
        return;
    }
    if (!prepare(c, m, &how)) return;
    message_write(m, &how, connection_out(c));
    metric_add(c->broker->context, METRIC_MQTT_SENT, 1);
    c->session->messages_out++;
    connection_touch(c);
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
    struct message_sending how = {
        .version = (enum mqtt_version)c->version,
        .qos = item->qos,
        .dup = item->was_sent,
        .retain = item->retain,
        .packet_id = id,
        .subscription_ids = item->id_count > 1 ? item->ids : &item->id,
        .subscription_id_count = item->id_count,
    };
    if (!prepare(c, item->message, &how)) return false;
    message_write(item->message, &how, connection_out(c));
    metric_add(c->broker->context, METRIC_MQTT_SENT, 1);
    s->messages_out++;
    item->state = OUTBOX_SENT;
    item->was_sent = true;
    return true;
}

void session_finish(struct session *s, struct outbox_item *item, uint64_t ordinal)
{
    journal_done(s, ordinal);
    outbox_finish(&s->outbox, item);
}

/* QoS 2 goes out when its identifier is certain to be known again after a crash. */
static bool must_wait(struct session *s)
{
    const struct outbox_item *item = outbox_at(&s->outbox, s->outbox.next);
    if (item->qos != 2 || item->change <= s->broker->journal.durable) return false;
    if (s->is_stalled) return true;
    s->is_stalled = true;
    s->next_stalled = s->broker->stalled;
    s->broker->stalled = s;
    return true;
}

void session_pump_stalled(struct broker *broker)
{
    struct session *first = broker->stalled, *next;
    broker->stalled = NULL;
    for (struct session *s = first; s; s = next) {
        next = s->next_stalled;
        s->is_stalled = false;
        session_pump(s);
    }
}

void session_pump(struct session *s)
{
    struct connection *c = s->connection;
    uint64_t ordinal;
    if (!c || c->state != CONNECTION_OPEN) return;
    while (has_room(c) && outbox_may_send(&s->outbox, c->receive_max) && !must_wait(s)) {
        struct outbox_item *item = outbox_take(&s->outbox, &ordinal);
        if (!send_item(s, item, ordinal)) session_finish(s, item, ordinal);
        connection_touch(c);
    }
}

/* Makes room for one more, or says that there is none. One message that is never acknowledged would
 * hold the ring of all behind it for ever: at its limit the oldest is given up. */
static bool has_place(struct session *s, const struct message *m)
{
    uint64_t ordinal;
    while (outbox_span(&s->outbox) >= OUTBOX_SPAN_MAX) {
        metric_add(s->broker->context, METRIC_MQTT_DROPPED_FULL, 1);
        if (!outbox_drop_first(&s->outbox, &ordinal)) return false;
        journal_done(s, ordinal);
    }
    const struct broker_config *config = &s->broker->config;
    while (outbox_count(&s->outbox) >= config->queue_messages ||
           (s->outbox.bytes && s->outbox.bytes + message_size(m) > config->queue_bytes)) {
        metric_add(s->broker->context, METRIC_MQTT_DROPPED_FULL, 1);
        s->messages_dropped++;
        if (config->queue_full == BROKER_DROP_NEW || !outbox_drop_oldest(&s->outbox, &ordinal))
            return false;
        journal_done(s, ordinal);
    }
    return true;
}

void session_deliver(struct session *s, struct message *m, const struct delivery *d)
{
    MUST(is_session(s));
    if (d->qos == 0) {
        if (s->connection && s->connection->state == CONNECTION_OPEN) send_now(s->connection, m, d);
        return;
    }
    if (!has_place(s, m)) return;
    if (outbox_add(&s->outbox, m, d->qos, d->retain, d->ids, d->id_count)) {
        metric_add(s->broker->context, METRIC_MQTT_DROPPED_MEMORY, 1);
        s->messages_dropped++;
        return;
    }
    struct outbox_item *item = outbox_at(&s->outbox, s->outbox.last - 1);
    /* The message's own change follows, when it is routed. */
    if (s->is_logged) item->change = s->broker->journal.change + 1;
    journal_target(s, s->outbox.last - 1, item);
    session_pump(s);
}

/* ---- subscribing ---- */

enum err session_put_subscription(struct session *s, struct str group, struct str filter,
                                  const struct subscription_options *options, bool *is_new)
{
    struct broker *broker = s->broker;
    struct subscription *sub = NULL;
    enum err err = tree_subscribe(broker->tree, s, group, filter, &sub, is_new);
    if (err) return err;
    sub->qos = options->qos;
    sub->no_local = options->no_local;
    sub->retain_as_published = options->retain_as_published;
    sub->id = options->id;
    tree_changed(broker->tree);
    journal_subscribe(s, sub);
    if (!*is_new) return ERR_OK;
    sub->next_of_session = s->subscriptions;
    if (s->subscriptions) s->subscriptions->previous_of_session = sub;
    s->subscriptions = sub;
    s->subscription_count++;
    metric_add(broker->context, METRIC_MQTT_SUBSCRIPTIONS, 1);
    return ERR_OK;
}

static bool may_subscribe(const struct session *s, struct str filter)
{
    return access_check_topic(s->identity, VERB_SUBSCRIBE, s->client_id, filter) == ERR_OK;
}

void session_check_rights(struct session *s)
{
    for (struct subscription *sub = s->subscriptions, *next; sub; sub = next) {
        struct buf text = BUF_EMPTY;
        struct str group, filter;
        bool bad;
        next = sub->next_of_session;
        tree_print(sub, &text);
        (void)topic_split_shared(buf_str(&text), &group, &filter, &bad);
        if (buf_failed(&text) || bad || !may_subscribe(s, filter)) {
            journal_unsubscribe(s, sub);
            unlink_subscription(s, sub);
        }
        buf_free(&text);
    }
}

enum mqtt_reason session_subscribe(struct session *s, const struct mqtt_filter *wanted, uint32_t id)
{
    struct broker *broker = s->broker;
    struct str group, filter;
    bool bad, is_new = false;
    bool is_shared = topic_split_shared(wanted->filter, &group, &filter, &bad);
    if (bad || !topic_filter_is_valid(filter)) return MQTT_REASON_TOPIC_FILTER_INVALID;
    if (!may_subscribe(s, filter)) return MQTT_REASON_NOT_AUTHORIZED;
    bool is_known = tree_find(broker->tree, s, group, filter) != NULL;
    if (!is_known && s->subscription_count >= broker->config.subscriptions_max)
        return MQTT_REASON_QUOTA_EXCEEDED;
    const struct subscription_options options = {.qos = wanted->qos,
                                                 .no_local = wanted->no_local,
                                                 .retain_as_published = wanted->retain_as_published,
                                                 .id = id};
    if (session_put_subscription(s, group, filter, &options, &is_new))
        return MQTT_REASON_QUOTA_EXCEEDED;
    bool sends =
        !is_shared && (wanted->retain_handling == 0 || (wanted->retain_handling == 1 && is_new));
    if (sends && broker_send_retained(s, filter, wanted->qos, id))
        return MQTT_REASON_QUOTA_EXCEEDED;
    return (enum mqtt_reason)wanted->qos;
}

enum mqtt_reason session_unsubscribe(struct session *s, struct str text)
{
    struct str group, filter;
    bool bad;
    (void)topic_split_shared(text, &group, &filter, &bad);
    if (bad || !topic_filter_is_valid(filter)) return MQTT_REASON_TOPIC_FILTER_INVALID;
    struct subscription *sub = tree_find(s->broker->tree, s, group, filter);
    if (!sub) return MQTT_REASON_NO_SUBSCRIPTION_EXISTED;
    journal_unsubscribe(s, sub);
    unlink_subscription(s, sub);
    return MQTT_REASON_SUCCESS;
}
