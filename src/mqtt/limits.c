/* limits.c - see limits.h: what is counted of connections, the rates, and what the log says.
 *
 * Rates are buckets of a second (the generic cell rate algorithm: one time stamp each). Who
 * publishes faster is not read until its bucket has dripped: TCP tells it, nothing is lost. Logins
 * beyond their rate wait their turn in the same way, and beyond LOGIN_WAIT_NS they are refused with
 * "server busy", since a client that waits longer begins again. Holds hang in a list that a timer
 * looks at; there is none while nobody is held.
 *
 * Without memory a limit lets pass rather than refuses: nobody is kept out because the broker could
 * not count him, and the memory's own limit acts by itself.
 *
 * half_open, half_open_of[] and the `connections` of those that are watched are counted up and down
 * at one place each (count_half_open; limits_admit, limits_open and limits_gone), so that they are
 * what they count at any time. */
#include "mqtt/broker_priv.h"
#include "os/address.h"
#include "base/timetext.h"
#include <stdio.h>
#include <string.h>

static const char component[] = "mqtt";

#define SAY_NS         (10 * TIME_NS_PER_S)
#define LOGIN_WAIT_NS  (5 * TIME_NS_PER_S)
#define HOLD_NS        (20 * TIME_NS_PER_MS)
#define GUESS_FIRST_NS (100 * TIME_NS_PER_MS)

enum {
    SWEEP_S = 5,
    LINES_PER_S = 20, /* of connections that were closed */
    GUESSES_FREE = 4, /* wrong passwords of an address before it is slowed down */
    GUESS_DOUBLINGS_MAX = 5,
};

static const struct {
    const char *setting, *text;
    enum metric metric;
} limit_table[LIMIT_COUNT] = {
#define X(symbol, setting, metric, text) {setting, text, METRIC_##metric},
    MQTT_LIMIT_TABLE(X)
#undef X
};

/* ---- what the log says ---- */

/* One line for all times that it has acted since the last one. */
static void say(struct broker *broker, enum broker_limit limit)
{
    int64_t now_ns = broker->now_ns;
    uint64_t count = broker->limits.told[limit].count;
    const char *who = broker->limits.told[limit].who;
    diag(broker->context, DIAG_WARNING, component, "limit mqtt.%s: %llu %s%s%s",
         limit_table[limit].setting, (unsigned long long)count, limit_table[limit].text,
         who[0] ? "; the last: " : "", who);
    broker->limits.told[limit].count = 0;
    broker->limits.told[limit].said_ns = now_ns;
}

void limits_act(struct broker *broker, enum broker_limit limit, const char *who)
{
    MUST(limit < LIMIT_COUNT && who);
    metric_add(broker->context, limit_table[limit].metric, 1);
    int64_t said_ns = broker->limits.told[limit].said_ns;
    broker->limits.told[limit].count++;
    (void)snprintf(broker->limits.told[limit].who, sizeof broker->limits.told[limit].who, "%s",
                   who);
    if (!said_ns || broker->now_ns - said_ns >= SAY_NS) say(broker, limit);
}

/* One more in a bucket that holds `depth_ns` of them. Gives how long it is before its time. */
static int64_t drip(int64_t *at_ns, int64_t now_ns, int64_t cost_ns, int64_t depth_ns)
{
    MUST(cost_ns >= 0 && depth_ns > 0);
    if (*at_ns < now_ns - depth_ns) *at_ns = now_ns - depth_ns;
    *at_ns += cost_ns;
    return *at_ns - now_ns;
}

bool limits_may_tell(struct broker *broker)
{
    int64_t *at = &broker->limits.line_ns;
    if (*at > broker->now_ns) {
        limits_act(broker, LIMIT_LINES, "");
        return false;
    }
    (void)drip(at, broker->now_ns, TIME_NS_PER_S / LINES_PER_S, TIME_NS_PER_S);
    return true;
}

void limits_tick(struct broker *broker)
{
    struct limits *l = &broker->limits;
    for (size_t i = 0; i < LIMIT_COUNT; i++)
        if (l->told[i].count && broker->now_ns - l->told[i].said_ns >= SAY_NS)
            say(broker, (enum broker_limit)i);
    if (broker_now_s(broker) - l->swept_s < SWEEP_S) return;
    l->swept_s = broker_now_s(broker);
    bans_sweep(broker);
}

/* ---- holds ---- */

static void link_hold(struct hold **list, struct hold *h)
{
    h->next = *list;
    h->link = list;
    if (h->next) h->next->link = &h->next;
    *list = h;
}

/* Frees it; reading goes on by connection_go_on. */
static void unlink_hold(struct hold *h)
{
    MUST(h->connection->hold == h);
    *h->link = h->next;
    if (h->next) h->next->link = h->link;
    h->connection->hold = NULL;
    mem_free(h);
}

static void set_timer(struct broker *broker)
{
    if (broker->limits.is_timed || !broker->limits.holds) return;
    broker->limits.is_timed = true;
    broker->context->os->ops->timer_set(broker->limits.timer, HOLD_NS);
}

/* Going on may hold the same connection again, and end any: so those that are due stand in a list
 * of their own. */
static void on_timer(void *arg)
{
    struct broker *broker = arg;
    broker->limits.is_timed = false;
    broker->now_ns = loop_mono_ns(&broker->loop);
    struct hold *due = NULL;
    for (struct hold *h = broker->limits.holds, *next; h; h = next) {
        next = h->next;
        if (h->until_ns > broker->now_ns) continue;
        *h->link = h->next;
        if (h->next) h->next->link = h->link;
        link_hold(&due, h);
    }
    while (due) {
        struct connection *c = due->connection;
        unlink_hold(due);
        connection_go_on(c);
    }
    set_timer(broker);
}

/* Without memory for it nobody is held. */
static void hold(struct connection *c, int64_t until_ns)
{
    MUST(connection_is_valid(c));
    struct broker *broker = c->broker;
    struct limits *l = &broker->limits;
    if (c->hold || !c->stream) return;
    if (!l->timer &&
        broker->context->os->ops->timer_make(broker->loop.task, on_timer, broker, &l->timer))
        return;
    struct hold *h = mem_alloc_zero(1, sizeof *h);
    if (!h) return;
    h->connection = c;
    h->until_ns = until_ns;
    link_hold(&l->holds, h);
    c->hold = h;
    c->is_paused = true;
    os_stream_pause(c->stream, true);
    set_timer(broker);
}

/* ---- rates ---- */

static bool wait_for_turn(struct connection *c, int64_t wait_ns, enum broker_limit limit)
{
    limits_act(c->broker, limit, connection_peer(c));
    hold(c, c->broker->now_ns + wait_ns);
    return c->hold == NULL;
}

bool limits_may_log_in(struct connection *c)
{
    MUST(connection_is_valid(c) && c->door < BROKER_DOORS);
    struct broker *broker = c->broker;
    uint32_t rate = broker->config.limits.connect_rate;
    c->is_busy = false;
    if (c->hold) return false;
    if (c->watched && c->watched->slow_until_ns > broker->now_ns)
        return wait_for_turn(c, c->watched->slow_until_ns - broker->now_ns, LIMIT_GUESSES);
    if (!rate || c->has_turn) return true;
    int64_t *at = &broker->limits.login_ns[c->door], was = *at;
    int64_t wait_ns = drip(at, broker->now_ns, TIME_NS_PER_S / rate, TIME_NS_PER_S);
    if (wait_ns <= 0) return true;
    if (wait_ns > LOGIN_WAIT_NS) {
        *at = was;
        c->is_busy = true;
        limits_act(broker, LIMIT_CONNECT_BUSY, connection_peer(c));
        return true;
    }
    c->has_turn = true;
    return wait_for_turn(c, wait_ns, LIMIT_CONNECT_WAIT);
}

void limits_charge(struct connection *c, size_t size_bytes)
{
    MUST(size_bytes > 0);
    const struct broker_limits *limits = &c->broker->config.limits;
    int64_t now_ns = c->broker->now_ns, late_ns = 0, late_bytes_ns = 0;
    if (c->is_dialled || (!limits->message_rate && !limits->byte_rate)) return;
    if (!c->throttle && !(c->throttle = mem_alloc_zero(1, sizeof *c->throttle))) return;
    if (limits->message_rate)
        late_ns = drip(&c->throttle->messages_ns, now_ns, TIME_NS_PER_S / limits->message_rate,
                       TIME_NS_PER_S);
    if (limits->byte_rate)
        late_bytes_ns =
            drip(&c->throttle->bytes_ns, now_ns,
                 (int64_t)((double)size_bytes * 1e9 / (double)limits->byte_rate), TIME_NS_PER_S);
    bool is_bytes = late_bytes_ns > late_ns;
    if (late_ns <= 0 && late_bytes_ns <= 0) return;
    limits_act(c->broker, is_bytes ? LIMIT_BYTES : LIMIT_MESSAGES, connection_peer(c));
    hold(c, now_ns + (is_bytes ? late_bytes_ns : late_ns));
}

/* ---- a connection's life ---- */

bool limits_have_place(struct broker *broker, enum broker_door door)
{
    const struct broker_limits *limits = &broker->config.limits;
    const struct limits *l = &broker->limits;
    MUST(door < BROKER_DOORS);
    bool is_full =
        broker->connection_count - broker->leaving_count >= broker->config.connections_max;
    bool total = limits->half_open && l->half_open >= limits->half_open;
    bool entry =
        limits->half_open_per_listener && l->half_open_of[door] >= limits->half_open_per_listener;
    bool is_crowded = limits->per_listener && l->open_of[door] >= limits->per_listener;
    if (!is_full && !total && !entry && !is_crowded) return true;
    limits_act(broker,
               is_full      ? LIMIT_CONNECTIONS
               : total      ? LIMIT_HALF_OPEN
               : is_crowded ? LIMIT_PER_LISTENER
                            : LIMIT_HALF_OPEN_ENTRY,
               "");
    return false;
}

/* The one place where these three are counted. */
static void count_half_open(struct connection *c, bool is_more)
{
    struct limits *l = &c->broker->limits;
    MUST(c->is_half_open != is_more);
    c->is_half_open = is_more;
    l->half_open += is_more ? 1 : (size_t)-1;
    l->half_open_of[c->door] += is_more ? 1 : (size_t)-1;
    if (c->watched) c->watched->half_open += is_more ? 1 : UINT32_MAX;
    metric_set(c->broker->context, METRIC_MQTT_HALF_OPEN, l->half_open);
}

void limits_arrived(struct connection *c)
{
    MUST(connection_is_valid(c) && c->door < BROKER_DOORS);
    count_half_open(c, true);
    MUST(!c->is_at_door);
    c->is_at_door = true;
    c->broker->limits.open_of[c->door]++;
}

bool limits_admit(struct connection *c, const char *peer)
{
    MUST(connection_is_valid(c) && !c->watched);
    struct broker *broker = c->broker;
    const struct broker_limits *limits = &broker->config.limits;
    char host[OS_HOST_BYTES];
    if (c->is_web || !os_peer_host(peer, host, sizeof host)) return true;
    if (os_peer_is_loopback(peer) && !limits->loopback) return true;
    struct watched *w = watched_get(broker, WATCHED_PEER, str_of(host), STR(""), true);
    if (!w) return true;
    bool is_banned = watched_is_banned(broker, w);
    bool is_half = limits->half_open_per_peer && w->half_open >= limits->half_open_per_peer;
    bool is_full = limits->per_peer && w->connections >= limits->per_peer;
    if (is_banned || is_half || is_full) {
        limits_act(broker,
                   is_banned ? LIMIT_BANNED
                   : is_half ? LIMIT_HALF_OPEN_PEER
                             : LIMIT_PER_PEER,
                   peer);
        return false;
    }
    w->connections++;
    w->half_open++;
    c->watched = w;
    return true;
}

enum mqtt_reason limits_open(struct connection *c, const struct identity *identity,
                             struct str client_id)
{
    struct broker *broker = c->broker;
    const char *user = identity->user;
    uint32_t limit = broker->config.limits.per_user;
    MUST(c->is_half_open && !c->user);
    struct watched *client = watched_get(broker, WATCHED_CLIENT, client_id, str_of(user), false);
    if (client && watched_is_banned(broker, client)) {
        limits_act(broker, LIMIT_BANNED, connection_peer(c));
        return MQTT_REASON_BANNED;
    }
    struct watched *w =
        limit ? watched_get(broker, WATCHED_USER, str_of(user), STR(""), true) : NULL;
    /* The connection that this one takes over goes. */
    struct session *before = session_find(space_find(broker, str_of(identity->ns)), client_id);
    bool takes_over = before && before->connection && before->connection->user == w;
    if (w && w->connections - takes_over >= limit) {
        limits_act(broker, LIMIT_PER_USER, user);
        return MQTT_REASON_QUOTA_EXCEEDED;
    }
    if (w) w->connections++;
    c->user = w;
    count_half_open(c, false);
    return MQTT_REASON_SUCCESS;
}

void limits_gone(struct connection *c)
{
    MUST(connection_is_valid(c));
    if (c->hold) unlink_hold(c->hold);
    if (c->is_half_open) count_half_open(c, false);
    if (c->is_at_door) c->broker->limits.open_of[c->door]--;
    c->is_at_door = false;
    struct watched *const all[] = {c->watched, c->user};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (!all[i]) continue;
        MUST(all[i]->connections > 0);
        all[i]->connections--;
        watched_settle(c->broker, all[i]);
    }
    c->watched = c->user = NULL;
    mem_free(c->throttle);
    c->throttle = NULL;
}

void limits_dropped(struct connection *c, bool is_fault)
{
    MUST(connection_is_valid(c));
    struct broker *broker = c->broker;
    uint32_t limit = broker->config.bans.drops;
    /* Who is not counted by its address is not by its name, either. */
    if (!is_fault || !limit || !c->watched || !c->session || broker->is_stopping) return;
    struct session *s = c->session;
    struct watched *w =
        watched_get(broker, WATCHED_CLIENT, session_client_id(s), str_of(s->identity->user), true);
    if (w) watched_count(broker, w, &w->drops, limit, "lost connections");
}

void limits_failed(struct connection *c)
{
    MUST(connection_is_valid(c));
    struct watched *w = c->watched;
    struct broker *broker = c->broker;
    if (!w) return;
    watched_count(broker, w, &w->failures, broker->config.bans.failures, "failed logins");
    if (w->failures <= GUESSES_FREE || !broker->config.bans.failures) return;
    unsigned doublings = w->failures - GUESSES_FREE - 1;
    if (doublings > GUESS_DOUBLINGS_MAX) doublings = GUESS_DOUBLINGS_MAX;
    w->slow_until_ns = broker->now_ns + (GUESS_FIRST_NS << doublings);
}

/* ---- life ---- */

void limits_init(struct broker *broker)
{
    map_init(&broker->limits.watched);
}

void limits_free(struct broker *broker)
{
    MUST(!broker->limits.holds && !broker->limits.half_open);
    bans_free(broker);
}
