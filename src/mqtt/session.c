/* session.c - what a client identifier stands for: where it is found, how it begins and ends, and
 * which QoS 2 identifiers came in. What it sends is session_send.c, what it subscribes to
 * session_subscribe.c, its will session_will.c.
 *
 * A session knows its connection only as the place where bytes go. It is found by namespace and
 * client identifier in a table of buckets that doubles; the list of all is for walks (snapshot.c,
 * inspect.c, review.c), which are told when a session ends.
 *
 * Its end (session_end) is one function for all reasons. The order in it matters: the will goes out
 * while the session can still be named, and what came by shared subscriptions to other members; the
 * journal says END after that, so that a start publishes no will twice; walks and lists let go
 * before anything is freed; queue files go when no worker has them any more. Before the journal
 * runs, and when the broker is freed, the same function ends sessions without a word: what is on
 * the disk stays.
 *
 * A session with expiry 0 ends with its connection. It outlives it only while the broker stops with
 * a will that is not published: then the journal knows of the will, and the next start publishes
 * it. */
#include "base/hash.h"
#include "mqtt/broker_priv.h"
#include <stdio.h>
#include <string.h>

enum { RECEIVED_WORDS = RECEIVED_IDS / 64 };

/* Where it stands, or would. */
static struct session **bucket_of(const struct broker *broker, uint16_t space, struct str client_id)
{
    MUST(broker->bucket_count && (broker->bucket_count & (broker->bucket_count - 1)) == 0);
    /* The same names in many namespaces must not all fall into one bucket. */
    uint64_t hash = hash_64(client_id.at, client_id.size) + space * 0x9e3779b97f4a7c15u;
    return &broker->buckets[hash & (broker->bucket_count - 1)];
}

struct session *session_find(const struct space *space, struct str client_id)
{
    MUST(!space || space_is_valid(space));
    if (!space || !space->broker->bucket_count) return NULL;
    struct session *s = *bucket_of(space->broker, space->index, client_id);
    while (s && !(s->space == space->index && str_equal(session_client_id(s), client_id)))
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
        struct session **place = bucket_of(broker, s->space, session_client_id(s));
        s->next_in_bucket = *place;
        *place = s;
    }
    return true;
}

/* Without memory for the first table there can be no session; later ones get longer chains. */
static bool put_in_table(struct session *s)
{
    struct broker *broker = s->broker;
    if (broker->session_count >= broker->bucket_count && !grow_buckets(broker)) return false;
    struct session **place = bucket_of(broker, s->space, session_client_id(s));
    s->next_in_bucket = *place;
    *place = s;
    broker->session_count++;
    session_space(s)->session_count++;
    return true;
}

/* It stands there. */
static void take_from_table(struct session *s)
{
    MUST(s->broker->session_count > 0 && session_space(s)->session_count > 0);
    struct session **place = bucket_of(s->broker, s->space, session_client_id(s));
    while (*place != s) place = &(*place)->next_in_bucket;
    *place = s->next_in_bucket;
    s->broker->session_count--;
    session_space(s)->session_count--;
}

void session_on_expiry(struct wheel_node *node)
{
    struct session *s = (void *)((char *)node - offsetof(struct session, expiry));
    MUST(session_is_valid(s) && !s->connection);
    session_end(s);
}

struct str session_short(struct str client_id, char room[BROKER_CLIENT_SHORT_BYTES])
{
    enum { HASH_BYTES = 18 }; /* "~", 16 digits, a NUL */
    if (client_id.size < BROKER_CLIENT_SHORT_BYTES) return client_id;
    size_t size = BROKER_CLIENT_SHORT_BYTES - HASH_BYTES;
    while (size && ((unsigned char)client_id.at[size] & 0xc0) == 0x80)
        size--; /* whole characters */
    memcpy(room, client_id.at, size);
    (void)snprintf(room + size, HASH_BYTES, "~%016llx",
                   (unsigned long long)hash_64(client_id.at, client_id.size));
    return (struct str){room, size + HASH_BYTES - 1};
}

/* The identifier begins in what the struct is padded with. */
static size_t session_bytes(size_t client_id_size)
{
    size_t size = offsetof(struct session, client_id) + client_id_size + 1;
    return size > sizeof(struct session) ? size : sizeof(struct session);
}

struct session *session_new(struct space *space, struct str client_id, struct identity *identity)
{
    MUST(space_is_valid(space) && client_id.size > 0 && client_id.size <= MQTT_TEXT_BYTES_MAX);
    MUST(!session_find(space, client_id));
    struct broker *broker = space->broker;
    MUST(strcmp(space->ns, identity->ns) == 0);
    size_t size = session_bytes(client_id.size);
    if (budget_take(&broker->memory, size)) return NULL;
    struct session *s = mem_alloc_zero(1, size);
    if (s) {
        s->magic = SESSION_MAGIC;
        s->broker = broker;
        s->space = space->index;
        s->serial = ++broker->last_session;
        memcpy(s->client_id, client_id.at, client_id.size);
        s->client_id_size = (uint16_t)client_id.size;
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

void session_end(struct session *s)
{
    struct broker *broker = s->broker;
    MUST(session_is_valid(s) && !s->connection && !s->is_ending && !s->bridge);
    s->is_ending = true;
    session_publish_will(s);
    if (!broker->journal.is_off) shared_hand_on(s);
    journal_end(s);
    s->is_logged = false; /* what follows goes without saying */
    broker_forget_walks(s);
    snapshot_forget(s);
    inspect_forget_session(s);
    session_forget_stalled(s);
    if (broker->journal.is_off)
        (void)map_remove(&broker->by_serial,
                         (struct str){(const char *)&s->serial, sizeof s->serial});
    *(s->previous ? &s->previous->next : &broker->first_session) = s->next;
    if (s->next) s->next->previous = s->previous;
    while (s->subscriptions) session_drop_subscription(s, s->subscriptions);
    MUST(s->subscription_count == 0);
    spill_end(s);
    outbox_free(&s->outbox);
    mem_free(s->received);
    wheel_stop(&broker->wheel, &s->expiry);
    take_from_table(s);
    identity_release(s->identity);
    metric_add(broker->context, METRIC_MQTT_SESSIONS, (uint64_t)-1);
    s->magic = 0;
    size_t size = session_bytes(s->client_id_size);
    mem_free(s);
    budget_give(&broker->memory, size);
}

void session_expire_later(struct session *s)
{
    MUST(session_is_valid(s) && !s->connection && s->expiry_s > 0);
    if (s->expiry_s == UINT32_MAX) return;
    wheel_set(&s->broker->wheel, &s->expiry, broker_in_s(s->broker, s->expiry_s));
}

void session_detach(struct session *s, bool with_will)
{
    MUST(session_is_valid(s) && s->connection);
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
    MUST(s->received_count > 0);
    s->received[id / 64] &= ~((uint64_t)1 << (id % 64));
    if (--s->received_count) return;
    mem_free(s->received);
    s->received = NULL;
}
