/* bridge.c - see bridge.h: a bridge's life on the broker's task: its session and subscriptions, how
 * messages are addressed, when it tries again, what it says of itself. bridge_dial.c makes the
 * connection, bridge_order.c is what the main loop asks for.
 *
 * A bridge holds its session for ever (expiry never), under an identity of its own that no client
 * can have. It owns at most one connection; when that ends, for whatever reason, connection.c calls
 * bridge_lost, and the wheel calls bridge_dial after a pause. Settings are replaced whole: the
 * session stays, the subscriptions are brought to what the new ones say, the connection is made
 * anew.
 *
 * Messages go out as to any subscriber, with the topic of the other side and this node's mark in
 * their trail (bridge_address), and come in as from any publisher (bridge_receive). Neither changes
 * the message itself: what is added lies in the bridge's own buffers until the next one.
 *
 * What the remote broker does wrong is noted and told once until the next connection; the bridge
 * goes on trying. Nothing it says can end more than its connection. */
#include "mqtt/bridge_priv.h"
#include "mqtt/inspect.h"
#include "mqtt/topic.h"
#include "base/timetext.h"
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

static const char component[] = "mqtt";

enum {
    PAUSE_MAX_S = 60,
    STABLE_S = 10,         /* a connection that lasted so long: the next pause is short again */
    AGED_PER_TICK = 10000, /* messages looked at for their age in one second */
    CLIENT_ID_BYTES = BRIDGE_KEY_BYTES + sizeof BRIDGE_PREFIX,
};

static const char bridge_user[] = "$bridge"; /* no User can be called so */

const char *bridge_state_name(enum bridge_state state)
{
    static const char *const names[] = {[BRIDGE_DISABLED] = "disabled",
                                        [BRIDGE_WAITING] = "waiting",
                                        [BRIDGE_CONNECTING] = "connecting",
                                        [BRIDGE_CONNECTED] = "connected"};
    MUST((unsigned)state < sizeof names / sizeof names[0]);
    return names[state];
}

bool bridge_owns(struct str client_id)
{
    return str_starts(client_id, BRIDGE_PREFIX);
}

/* ---- settings ---- */

struct bridge_settings *bridge_settings_new(void)
{
    struct bridge_settings *s = mem_alloc_zero(1, sizeof *s);
    if (!s) return NULL;
    arena_init(&s->arena, NULL);
    s->refs = 1;
    return s;
}

void bridge_settings_free(struct bridge_settings *s)
{
    if (!s) return;
    if (s->password.size) OPENSSL_cleanse((char *)(uintptr_t)s->password.at, s->password.size);
    arena_free(&s->arena);
    mem_free(s);
}

void bridge_release_settings(struct bridge_settings *s)
{
    if (s && --s->refs == 0) bridge_settings_free(s);
}

/* ---- what it says ---- */

void bridge_enter(struct bridge *b, enum bridge_state state)
{
    MUST((unsigned)state <= BRIDGE_CONNECTED);
    MUST(is_bridge(b));
    if (b->state != state || !b->since_s) b->since_s = b->broker->wall_s;
    b->state = state;
}

static void print_remote(const struct bridge *b, char *out, size_t out_bytes)
{
    os_address_print(&b->settings->address, out, out_bytes);
}

void bridge_note_error(struct bridge *b, const char *format, ...)
{
    MUST(is_bridge(b) && b->settings);
    char remote[OS_HOST_BYTES + 8];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(b->error, sizeof b->error, format, args);
    va_end(args);
    b->error_s = b->broker->wall_s;
    if (strcmp(b->error, b->told) == 0) return; /* said once, until it connects */
    memcpy(b->told, b->error, sizeof b->told);
    print_remote(b, remote, sizeof remote);
    diag(b->broker->context, DIAG_WARNING, component, "bridge %.*s: %s: %s",
         (int)b->settings->key.size, b->settings->key.at, remote, b->error);
}

void bridge_note_size(struct bridge *b, const struct message *m, size_t size)
{
    MUST(is_bridge(b) && b->connection);
    struct str topic = message_topic(m);
    if (b->has_told_size) return;
    b->has_told_size = true;
    diag(
        b->broker->context, DIAG_WARNING, component,
        "bridge %.*s: a message on %.*s makes a packet of %zu bytes; the remote broker takes %u: it "
        "is dropped, as the next ones that are too large will be",
        (int)b->settings->key.size, b->settings->key.at, (int)topic.size, topic.at, size,
        b->connection->packet_max);
}

void bridge_note_refusal(struct bridge *b, const struct message *m, enum mqtt_reason reason)
{
    MUST(is_bridge(b) && b->session);
    struct str topic = message_topic(m);
    b->is_refused = true;
    b->session->messages_dropped++;
    if (b->has_told_refusal) return;
    b->has_told_refusal = true;
    bridge_note_error(b, "the remote broker refused a message on %.*s: %s", (int)topic.size,
                      topic.at, mqtt_reason_name(reason));
}

/* ---- trying again ---- */

void bridge_on_retry(struct wheel_node *node)
{
    struct bridge *b = (void *)((char *)node - offsetof(struct bridge, retry));
    MUST(is_bridge(b));
    bridge_dial(b);
}

void bridge_pause(struct bridge *b)
{
    MUST(is_bridge(b) && b->pause_s > 0);
    struct os *os = b->broker->context->os;
    uint32_t random;
    os->ops->random(os, &random, sizeof random);
    int64_t pause_s = 1 + random % b->pause_s;
    b->pause_s = b->pause_s * 2 < PAUSE_MAX_S ? b->pause_s * 2 : PAUSE_MAX_S;
    bridge_enter(b, BRIDGE_WAITING);
    wheel_set(&b->broker->wheel, &b->retry, broker_now_s(b->broker) + pause_s);
}

void bridge_lost(struct bridge *b, const char *text)
{
    MUST(is_bridge(b) && b->connection);
    b->connection = NULL;
    if (b->state == BRIDGE_CONNECTED && broker_now_s(b->broker) - b->open_s >= STABLE_S)
        b->pause_s = 1;
    if (b->broker->is_stopping || b->is_removed) return;
    if (text) bridge_note_error(b, "%s", text);
    if (b->settings->is_enabled)
        bridge_pause(b);
    else
        bridge_enter(b, BRIDGE_DISABLED);
}

void bridge_keep_retained(struct bridge *b)
{
    memset(b->fresh, 1, b->settings->topic_count);
}

void bridge_opened(struct bridge *b, bool is_known)
{
    MUST(is_bridge(b) && b->connection && b->session && b->session->connection == b->connection);
    struct bridge_settings *settings = b->settings;
    char remote[OS_HOST_BYTES + 8];
    bridge_enter(b, BRIDGE_CONNECTED);
    b->open_s = broker_now_s(b->broker);
    b->is_refused = b->has_told_refusal = b->has_told_size = b->has_told_map = false;
    b->error[0] = b->told[0] = 0;
    print_remote(b, remote, sizeof remote);
    diag(b->broker->context, DIAG_INFO, component,
         "bridge %.*s: connected to %s, %zu messages wait", (int)settings->key.size,
         settings->key.at, remote, session_queued(b->session));
    for (size_t i = 0; i < settings->topic_count; i++) {
        const struct bridge_topic *t = &settings->topics[i];
        struct buf filter = BUF_EMPTY;
        if (!t->is_out || (is_known && !b->fresh[i])) continue;
        bridge_topic_filter(t, true, &filter);
        b->fresh[i] =
            buf_failed(&filter) || broker_send_retained(b->session, buf_str(&filter), t->qos, 0);
        buf_free(&filter);
    }
}

/* ---- messages ---- */

bool bridge_address(struct bridge *b, struct message *m, struct message_sending *how)
{
    const struct bridge_settings *s = b->settings;
    struct str topic = message_topic(m);
    MUST(is_bridge(b));
    if (!bridge_topic_map(s->topics, s->topic_count, BRIDGE_OUT, topic, &b->topic)) {
        if (!b->has_told_map)
            diag(
                b->broker->context, DIAG_WARNING, component,
                "bridge %.*s: %.*s has no place at the remote broker (any more): such messages are "
                "dropped",
                (int)s->key.size, s->key.at, (int)topic.size, topic.at);
        b->has_told_map = true;
        return false;
    }
    how->topic = buf_str(&b->topic);
    how->added = buf_str(&b->trail);
    return true;
}

bool bridge_has_passed(const struct broker *broker, const struct mqtt_properties *p)
{
    if (!mqtt_has(p, MQTT_PROPERTY_USER_PROPERTY) || !broker->node[0] ||
        !bridge_trail_ends(p->raw, broker->node))
        return false;
    metric_add(broker->context, METRIC_MQTT_BRIDGE_LOOPS, 1);
    return true;
}

/* What a remote broker delivers to us has passed it. Without memory it goes on unmarked: the other
 * nodes' marks end it a little later. */
static void add_mark(struct bridge *b, struct mqtt_properties *p)
{
    buf_clear(&b->properties);
    if (p->present) buf_add_str(&b->properties, p->raw);
    mqtt_write_user_property(&b->properties, STR(BRIDGE_TRAIL), str_of(b->remote));
    if (buf_failed(&b->properties)) return;
    p->raw = buf_str(&b->properties);
    p->present |= 1u << MQTT_PROPERTY_USER_PROPERTY;
}

bool bridge_keeps_here(const struct bridge *b, const struct message *m)
{
    const struct bridge_settings *s = b->settings;
    MUST(is_bridge(b));
    /* Who published it is forgotten by a restart. */
    return m->publisher == b->session->serial ||
           bridge_topic_only_comes_in(s->topics, s->topic_count, message_topic(m));
}

bool bridge_receive(struct bridge *b, struct mqtt_packet *p)
{
    const struct bridge_settings *s = b->settings;
    struct mqtt_publish *m = &p->publish;
    MUST(is_bridge(b));
    if (!bridge_topic_map(s->topics, s->topic_count, BRIDGE_IN, m->topic, &b->incoming))
        return false;
    if (mqtt_has(&p->properties, MQTT_PROPERTY_SUBSCRIPTION_ID) &&
        bridge_topic_is_copy(s->topics, s->topic_count, b->refused, b->mark, m->topic,
                             p->properties.raw))
        return false;
    m->topic = buf_str(&b->incoming);
    if (b->remote[0]) add_mark(b, &p->properties);
    return true;
}

/* ---- the session ---- */

static bool client_id_of(struct str key, char out[CLIENT_ID_BYTES])
{
    int n = snprintf(out, CLIENT_ID_BYTES, BRIDGE_PREFIX "%.*s", (int)key.size, key.at);
    return n > 0 && (size_t)n < CLIENT_ID_BYTES;
}

const struct session_limits *bridge_limits(const struct bridge *b)
{
    return b->settings ? &b->settings->queue : NULL;
}

/* The kept session, found or made. */
static struct session *take_session(struct space *space, struct str key)
{
    struct broker *broker = space->broker;
    char client_id[CLIENT_ID_BYTES];
    struct identity *identity = identity_new_in(space->ns, bridge_user, "admin");
    bool fits = client_id_of(key, client_id);
    MUST(fits);
    struct session *s = identity ? session_find(space, str_of(client_id)) : NULL;
    if (!s && identity) s = session_new(space, str_of(client_id), identity);
    if (s) {
        identity_release(s->identity); /* at a start only its name is known */
        s->identity = identity_share(identity);
        s->expiry_s = UINT32_MAX;
        wheel_stop(&broker->wheel, &s->expiry);
        journal_session(s);
    }
    identity_release(identity);
    return s;
}

/* Whether an entry of that way has this filter, local of OUT and remote of IN. */
static bool is_wanted(const struct bridge_settings *s, enum bridge_way way, struct str filter)
{
    struct buf text = BUF_EMPTY;
    bool found = false;
    for (size_t i = 0; i < s->topic_count && !found; i++) {
        if (!(way == BRIDGE_OUT ? s->topics[i].is_out : s->topics[i].is_in)) continue;
        buf_clear(&text);
        bridge_topic_filter(&s->topics[i], way == BRIDGE_OUT, &text);
        found = buf_failed(&text) || str_equal(buf_str(&text), filter);
    }
    buf_free(&text);
    return found;
}

/* Those that no entry of the new settings has. Without memory to compare one it stays: messages
 * that fit no entry are dropped when they go out (bridge_address). */
static void drop_subscriptions(struct bridge *b)
{
    for (struct subscription *sub = b->session->subscriptions, *next; sub; sub = next) {
        struct buf text = BUF_EMPTY;
        next = sub->next_of_session;
        tree_print(sub, &text);
        if (!buf_failed(&text) && !is_wanted(b->settings, BRIDGE_OUT, buf_str(&text)))
            (void)session_unsubscribe(b->session, buf_str(&text));
        buf_free(&text);
    }
}

/* Backwards: of two entries with one filter the first one counts, as for the mapping. */
static enum err put_subscriptions(struct bridge *b)
{
    const struct bridge_settings *s = b->settings;
    enum err err = ERR_OK;
    for (size_t i = s->topic_count; i-- > 0 && !err;) {
        const struct subscription_options options = {
            .qos = s->topics[i].qos, .no_local = true, .retain_as_published = true};
        struct buf filter = BUF_EMPTY;
        bool is_new = false;
        if (!s->topics[i].is_out) continue;
        bridge_topic_filter(&s->topics[i], true, &filter);
        err = buf_failed(&filter) ? ERR_NO_MEMORY
                                  : session_put_subscription(b->session, STR(""), buf_str(&filter),
                                                             &options, &is_new);
        if (is_new) b->fresh[i] = 1;
        buf_free(&filter);
    }
    return err;
}

/* Remembers what the remote broker is to forget: filters of the old settings that the new ones do
 * not have. */
static void note_stale(struct bridge *b, const struct bridge_settings *old,
                       const struct bridge_settings *now)
{
    struct buf filter = BUF_EMPTY;
    for (size_t i = 0; old && i < old->topic_count; i++) {
        if (!old->topics[i].is_in) continue;
        buf_clear(&filter);
        bridge_topic_filter(&old->topics[i], false, &filter);
        if (!buf_failed(&filter) && !is_wanted(now, BRIDGE_IN, buf_str(&filter)))
            mqtt_write_text(&b->stale, buf_str(&filter));
    }
    buf_free(&filter);
}

/* Takes the settings. */
enum err bridge_apply(struct bridge *b, struct bridge_settings *settings)
{
    MUST(is_bridge(b) && b->session && settings);
    uint8_t *fresh = mem_alloc_zero(settings->topic_count + 1, 2);
    if (!fresh) return ERR_NO_MEMORY;
    note_stale(b, b->settings, settings);
    bridge_release_settings(b->settings);
    mem_free(b->fresh);
    b->settings = settings;
    b->fresh = fresh;
    b->mark = bridge_topics_mark(settings->topics, settings->topic_count);
    b->refused = fresh + settings->topic_count + 1;
    b->is_plain = b->is_subscribed = false;
    buf_clear(&b->trail);
    if (b->broker->node[0])
        mqtt_write_user_property(&b->trail, STR(BRIDGE_TRAIL), str_of(b->broker->node));
    drop_subscriptions(b);
    return put_subscriptions(b);
}

/* ---- life ---- */

void bridge_unlink(struct bridge *b)
{
    struct bridge **at = &b->broker->bridges;
    while (*at != b) at = &(*at)->next;
    *at = b->next;
}

void bridge_free(struct bridge *b)
{
    MUST(is_bridge(b) && !b->connection && !b->session);
    bridge_release_settings(b->settings);
    bridge_release_settings(b->work_settings);
    tls_config_release(b->tls);
    buf_free(&b->topic);
    buf_free(&b->incoming);
    buf_free(&b->properties);
    buf_free(&b->trail);
    buf_free(&b->stale);
    mem_free(b->fresh);
    b->magic = 0;
    mem_free(b);
}

void bridge_free_removed(struct bridge *b)
{
    MUST(is_bridge(b));
    MUST(b->is_removed && !b->work_settings);
    bridge_unlink(b);
    bridge_free(b);
}

struct bridge *bridge_make(struct broker *broker, struct str ns, struct str key)
{
    MUST(broker_is_valid(broker) && key.size > 0 && key.size < BRIDGE_KEY_BYTES);
    struct bridge *b = mem_alloc_zero(1, sizeof *b);
    struct space *space = b ? space_get(broker, ns) : NULL;
    struct session *session = space ? take_session(space, key) : NULL;
    if (!session) {
        mem_free(b);
        return NULL;
    }
    b->magic = BRIDGE_MAGIC;
    b->broker = broker;
    b->session = session;
    b->pause_s = 1;
    b->retry.kind = WHEEL_RETRY;
    session->bridge = b;
    b->next = broker->bridges;
    broker->bridges = b;
    return b;
}

void bridges_free(struct broker *broker)
{
    while (broker->bridges) {
        struct bridge *b = broker->bridges;
        broker->bridges = b->next;
        if (b->session) b->session->bridge = NULL;
        b->session = NULL;
        bridge_free(b);
    }
}

/* ---- each second ---- */

/* The oldest message that waits, or NULL. What is released waits for its acknowledgement alone. */
static const struct message *oldest(const struct bridge *b)
{
    const struct outbox *o = &b->session->outbox;
    for (uint64_t i = o->first; i < o->last; i++)
        if (outbox_at(o, i)->message) return outbox_at(o, i)->message;
    return NULL;
}

static int64_t age_s(const struct bridge *b, const struct message *m)
{
    const struct broker *broker = b->broker;
    if (!m) return 0;
    return m->made_s ? (int64_t)broker->wall_s - m->made_s : broker_now_s(broker) - broker->began_s;
}

/* They are in order of age, so the first one that is young enough ends it. What is in files is
 * looked at when it comes into the ring. */
static void drop_aged(struct bridge *b)
{
    struct outbox *o = &b->session->outbox;
    uint32_t limit_s = b->settings->queue.age_s;
    if (!limit_s) return;
    uint64_t at = o->next, end = o->last < at + AGED_PER_TICK ? o->last : at + AGED_PER_TICK;
    for (; at < end; at++) {
        if (at < o->next || outbox_at(o, at)->state == OUTBOX_DONE) continue;
        if (!outbox_may_drop(o, at)) continue;
        if (age_s(b, outbox_at(o, at)->message) <= limit_s) return;
        outbox_drop(o, at);
        journal_done(b->session, at);
        b->session->messages_dropped++;
        metric_add(b->broker->context, METRIC_MQTT_DROPPED_FULL, 1);
    }
    spill_refill(b->session);
}

void bridges_tick(struct broker *broker)
{
    uint64_t queued = 0, connected = 0;
    int64_t age = 0;
    for (struct bridge *b = broker->bridges; b; b = b->next) {
        if (b->is_removed) continue;
        drop_aged(b);
        int64_t own = age_s(b, oldest(b));
        queued += session_queued(b->session);
        connected += b->state == BRIDGE_CONNECTED;
        if (own > age) age = own;
    }
    metric_set(broker->context, METRIC_MQTT_BRIDGES, connected);
    metric_set(broker->context, METRIC_MQTT_BRIDGE_QUEUED, queued);
    metric_set(broker->context, METRIC_MQTT_BRIDGE_AGE, (uint64_t)age);
}

/* ---- a look ---- */

void bridge_look(const struct bridge *b, struct broker_bridge_row *row)
{
    const struct session *s = b->session;
    MUST(is_bridge(b) && s);
    struct str ns = b->settings->ns, name = b->settings->key;
    bool has_document =
        name.size > ns.size && name.at[ns.size] == '.' && memcmp(name.at, ns.at, ns.size) == 0;
    if (has_document) name = (struct str){name.at + ns.size + 1, name.size - ns.size - 1};
    *row = (struct broker_bridge_row){
        .ns = has_document ? ns : STR(""),
        .name = name,
        .error = str_of(b->error),
        .state = b->state,
        .is_refused = b->is_refused,
        .since_ns = (int64_t)b->since_s * TIME_NS_PER_S,
        .error_ns = (int64_t)b->error_s * TIME_NS_PER_S,
        .oldest_ns = age_s(b, oldest(b)) * TIME_NS_PER_S,
        .queued = session_queued(s),
        .queued_bytes = session_queued_bytes(s),
        .in_flight = s->outbox.in_flight,
        .sent = s->messages_out,
        .received = s->messages_in,
        .dropped = s->messages_dropped,
    };
}
