/* session.c - what a client identifier stands for: subscriptions, what is still to be delivered,
 * QoS 2 state, the will, and when all that ends.
 *
 * A session knows its connection only as the place where bytes go. What goes out with QoS 0 is
 * written at once or dropped (and counted) when the receiver is slow; the rest waits in the outbox,
 * of which as much is sent as the client's receive maximum and the connection's buffer allow. */
#include "base/hash.h"
#include "base/timetext.h"
#include "mqtt/broker_priv.h"
#include "mqtt/topic.h"
#include <string.h>

enum { RECEIVED_WORDS = 65536 / 64 };

static bool is_session(const struct session *s)
{
    return s && s->magic == SESSION_MAGIC && s->broker->magic == BROKER_MAGIC;
}

/* ---- life ---- */

static struct session **bucket_of(const struct broker *broker, uint16_t space, struct str client_id)
{
    /* The same names in many namespaces must not all fall into one bucket. */
    uint64_t hash = hash_64(client_id.at, client_id.size) + space * 0x9e3779b97f4a7c15u;
    return &broker->buckets[hash & (broker->bucket_count - 1)];
}

struct session *session_find(const struct space *space, struct str client_id)
{
    if (!space || !space->broker->bucket_count) return NULL;
    struct session *s = *bucket_of(space->broker, space->index, client_id);
    while (s && !(s->space == space->index && str_equal(s->client_id, client_id)))
        s = s->next_in_bucket;
    return s;
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
        struct session **place = bucket_of(broker, s->space, s->client_id);
        s->next_in_bucket = *place;
        *place = s;
    }
    return true;
}

static bool put_in_table(struct session *s)
{
    struct broker *broker = s->broker;
    if (broker->session_count >= broker->bucket_count && !grow_buckets(broker)) return false;
    struct session **place = bucket_of(broker, s->space, s->client_id);
    s->next_in_bucket = *place;
    *place = s;
    broker->session_count++;
    session_space(s)->session_count++;
    return true;
}

static void take_from_table(struct session *s)
{
    struct session **place = bucket_of(s->broker, s->space, s->client_id);
    while (*place != s) place = &(*place)->next_in_bucket;
    *place = s->next_in_bucket;
    s->broker->session_count--;
    session_space(s)->session_count--;
}

void session_on_expiry(struct wheel_node *node)
{
    struct session *s = (void *)((char *)node - offsetof(struct session, expiry));
    MUST(is_session(s) && !s->connection);
    session_end(s);
}

void session_on_will_due(struct wheel_node *node)
{
    struct will *will = (void *)((char *)node - offsetof(struct will, due));
    MUST(is_session(will->session) && will->session->will == will);
    session_publish_will(will->session);
}

struct session *session_new(struct space *space, struct str client_id, struct identity *identity)
{
    struct broker *broker = space->broker;
    MUST(strcmp(space->ns, identity->ns) == 0);
    size_t size = sizeof(struct session) + client_id.size + 1;
    if (budget_take(&broker->memory, size)) return NULL;
    struct session *s = mem_alloc_zero(1, size);
    if (s) {
        s->magic = SESSION_MAGIC;
        s->broker = broker;
        s->space = space->index;
        s->serial = ++broker->last_session;
        memcpy(s->text, client_id.at, client_id.size);
        s->client_id = (struct str){s->text, client_id.size};
        s->expiry.kind = WHEEL_SESSION;
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
    tree_unsubscribe(session_space(s)->tree, sub);
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
    MUST(is_session(s) && !s->connection && !s->is_ending && !s->bridge);
    s->is_ending = true;
    session_publish_will(s);
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
    spill_end(s);
    outbox_free(&s->outbox);
    mem_free(s->received);
    wheel_stop(&broker->wheel, &s->expiry);
    take_from_table(s);
    identity_release(s->identity);
    metric_add(broker->context, METRIC_MQTT_SESSIONS, (uint64_t)-1);
    s->magic = 0;
    size_t size = sizeof *s + s->client_id.size + 1;
    mem_free(s);
    budget_give(&broker->memory, size);
}

struct will *will_new(struct message *message)
{
    struct will *will = message ? mem_alloc_zero(1, sizeof *will) : NULL;
    if (will) {
        will->message = message;
        will->due.kind = WHEEL_WILL;
    } else {
        message_release(message);
    }
    return will;
}

void will_free(struct will *will)
{
    if (!will) return;
    MUST(!wheel_is_set(&will->due));
    message_release(will->message);
    mem_free(will);
}

static void free_own_will(struct session *s)
{
    if (!s->will) return;
    wheel_stop(&s->broker->wheel, &s->will->due);
    will_free(s->will);
    s->will = NULL;
}

void session_drop_will(struct session *s)
{
    if (s->will && s->will->is_logged) journal_will_gone(s);
    free_own_will(s);
}

void session_put_will(struct session *s, struct will *will)
{
    free_own_will(s);
    s->will = will;
    if (!will) return;
    will->session = s;
    will->message->publisher = s->serial;
}

void session_publish_will(struct session *s)
{
    struct will *will = s->will;
    if (s->broker->journal.is_off) { /* it stays in the journal, or is told to be gone there */
        free_own_will(s);
        return;
    }
    s->will = NULL;
    if (!will) return;
    struct message *m = will->message;
    wheel_stop(&s->broker->wheel, &will->due);
    struct rows_span span = {0};
    bool logged;
    if (will->expiry_s != WILL_NEVER_EXPIRES)
        m->expires_ns = s->broker->now_ns + (int64_t)will->expiry_s * 1000000000;
    m->serial = ++s->broker->last_serial;
    /* Nobody waits for an answer: without memory the rows are lost, as the message is. */
    (void)streams_offer(session_space(s), message_topic(m), message_payload(m), &span);
    (void)broker_publish(session_space(s), m, NULL, 0, &logged);
    if (will->is_logged) journal_will_gone(s); /* in the same note: it is published once */
    will_free(will);
}

/* The session of one who keeps none ended with the broker, and the will is due with that. */
void session_resume_will(struct session *s)
{
    struct will *will = s->will;
    int64_t now_s = broker_now_s(s->broker), in_s = will->delay_s;
    if (will->due_s) in_s = will->due_s - context_wall_ns(s->broker->context) / TIME_NS_PER_S;
    if (s->expiry_s == 0)
        wheel_set(&s->broker->wheel, &s->expiry, now_s);
    else
        wheel_set(&s->broker->wheel, &will->due, now_s + (in_s > 0 ? in_s : 0));
}

void session_expire_later(struct session *s)
{
    if (s->expiry_s == UINT32_MAX) return;
    wheel_set(&s->broker->wheel, &s->expiry, broker_in_s(s->broker, s->expiry_s));
}

void session_detach(struct session *s, bool with_will)
{
    MUST(is_session(s) && s->connection);
    s->connection = NULL;
    s->since_s = s->broker->wall_s;
    outbox_rewind(&s->outbox); /* nothing is on its way any more */
    broker_forget_walks(s);
    if (!with_will) session_drop_will(s);
    bool is_left = s->will && s->broker->is_stopping; /* to the next start */
    if (s->expiry_s == 0) {
        if (!is_left) session_end(s);
        return;
    }
    session_expire_later(s);
    if (!s->will) return;
    if (s->will->delay_s == 0) {
        if (!is_left) session_publish_will(s);
        return;
    }
    wheel_set(&s->broker->wheel, &s->will->due, broker_in_s(s->broker, s->will->delay_s));
    journal_will(s); /* with its moment */
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
    const struct connection *c = s->connection;
    if (!s->is_cut) return true;
    const struct access_client client = {.id = s->client_id,
                                         .certificate = c ? connection_certificate(c) : STR("")};
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

static bool has_room(const struct connection *c)
{
    return c->stream && connection_out_size(c) < c->broker->config.send_bytes_max && !c->is_slow;
}

static void send_now(struct connection *c, struct message *m, const struct delivery *d)
{
    struct message_sending how = {.version = (enum mqtt_version)c->version,
                                  .retain = d->retain,
                                  .subscription_ids = d->ids,
                                  .subscription_id_count = d->id_count};
    if (!has_room(c)) {
        limits_act(c->broker, LIMIT_SEND_BUFFER, c->session->text);
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
        return false;
    }
    if (!prepare(c, item->message, &how)) return false;
    message_write(item->message, &how, connection_out(c));
    metric_add(c->broker->context, METRIC_MQTT_SENT, 1);
    s->messages_out++;
    item->state = OUTBOX_SENT;
    item->was_sent = true;
    return c->qos_max > 0;
}

void session_finish(struct session *s, struct outbox_item *item, uint64_t ordinal)
{
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
    limits_act(s->broker, LIMIT_QUEUE, s->text);
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
    MUST(is_session(s));
    if (d->qos == 0) {
        if (s->connection && s->connection->state == CONNECTION_OPEN) send_now(s->connection, m, d);
        return;
    }
    if (!has_place(s, m)) return;
    uint64_t ordinal = session_last(s);
    struct outbox_item how = {
        .message = m, .qos = d->qos, .retain = d->retain, .id_count = (uint16_t)d->id_count};
    if (d->id_count == 1) how.id = d->ids[0];
    if (d->id_count > 1) how.ids = (uint32_t *)(uintptr_t)d->ids; /* only read */
    bool is_long = spill_must_take(s, m);
    if (is_long ? spill_add(s, ordinal, m, &how)
                : outbox_add(&s->outbox, m, d->qos, d->retain, d->ids, d->id_count)) {
        limits_act(s->broker, LIMIT_MEMORY, s->text);
        s->messages_dropped++;
        return;
    }
    /* The message's own change follows, when it is routed. */
    if (!is_long && s->is_logged)
        outbox_at(&s->outbox, ordinal)->change = s->broker->journal.change + 1;
    journal_target(s, ordinal, &how);
    session_pump(s);
}

/* ---- subscribing ---- */

enum err session_put_subscription(struct session *s, struct str group, struct str filter,
                                  const struct subscription_options *options, bool *is_new)
{
    struct tree *tree = session_space(s)->tree;
    struct subscription *sub = NULL;
    enum err err = tree_subscribe(tree, s, group, filter, &sub, is_new);
    if (err) return err;
    sub->qos = options->qos;
    sub->no_local = options->no_local;
    sub->retain_as_published = options->retain_as_published;
    sub->id = options->id;
    tree_changed(tree);
    journal_subscribe(s, sub);
    if (!*is_new) return ERR_OK;
    sub->next_of_session = s->subscriptions;
    if (s->subscriptions) s->subscriptions->previous_of_session = sub;
    s->subscriptions = sub;
    s->subscription_count++;
    metric_add(s->broker->context, METRIC_MQTT_SUBSCRIPTIONS, 1);
    return ERR_OK;
}

static bool may_subscribe(struct session *s, const struct connection *c, struct str filter)
{
    const struct access_client client = {.id = s->client_id,
                                         .certificate = connection_certificate(c)};
    bool is_cut = false;
    bool may = access_check_subscription(s->identity, &client, filter, &is_cut) == ERR_OK;
    s->is_cut |= may && is_cut;
    return may;
}

/* What a client leaves behind is published with the rights that it has to the end. */
static void check_will(struct session *s, const struct connection *c)
{
    const struct access_client client = {.id = s->client_id,
                                         .certificate = connection_certificate(c)};
    if (s->will && access_check_topic(s->identity, VERB_PUBLISH, &client,
                                      message_topic(s->will->message)) != ERR_OK)
        session_drop_will(s);
}

void session_check_rights(struct session *s, const struct connection *c)
{
    check_will(s, c);
    /* What waits may have come by a subscription that is gone, or goes now. */
    s->is_cut = session_queued(s) > 0;
    for (struct subscription *sub = s->subscriptions, *next; sub; sub = next) {
        struct buf text = BUF_EMPTY;
        struct str group, filter;
        bool bad;
        next = sub->next_of_session;
        tree_print(sub, &text);
        (void)topic_split_shared(buf_str(&text), &group, &filter, &bad);
        if (buf_failed(&text) || bad || !may_subscribe(s, c, filter)) {
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
    if (!bad && topic_levels(filter) > broker->config.limits.topic_levels)
        limits_act(broker, LIMIT_TOPIC_LEVELS, s->text), bad = true;
    if (bad || !topic_filter_is_valid(filter)) return MQTT_REASON_TOPIC_FILTER_INVALID;
    if (!may_subscribe(s, s->connection, filter)) return MQTT_REASON_NOT_AUTHORIZED;
    bool is_known = tree_find(session_space(s)->tree, s, group, filter) != NULL;
    if (!is_known && s->subscription_count >= broker->config.subscriptions_max) {
        limits_act(broker, LIMIT_SUBSCRIPTIONS, s->text);
        return MQTT_REASON_QUOTA_EXCEEDED;
    }
    const struct subscription_options options = {.qos = wanted->qos,
                                                 .no_local = wanted->no_local,
                                                 .retain_as_published = wanted->retain_as_published,
                                                 .id = id};
    bool may_keep = is_known || broker_may_keep(broker);
    if (!may_keep || session_put_subscription(s, group, filter, &options, &is_new)) {
        limits_act(broker, LIMIT_MEMORY, s->text);
        return MQTT_REASON_QUOTA_EXCEEDED;
    }
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
    struct subscription *sub = tree_find(session_space(s)->tree, s, group, filter);
    if (!sub) return MQTT_REASON_NO_SUBSCRIPTION_EXISTED;
    journal_unsubscribe(s, sub);
    unlink_subscription(s, sub);
    return MQTT_REASON_SUCCESS;
}
