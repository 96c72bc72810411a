/* bans.c - who is watched, and for how long somebody stays outside (limits.h).
 *
 * A client that connects and drops in a circle costs a login and a session each time; one address
 * that tries passwords is no client at all. Both are counted in a window of some seconds, and
 * whoever reaches the limit is refused for a while. A client is banned as its user: nobody shuts
 * out another user's client by taking its name. What is remembered of those that are not connected
 * is bounded, and forgotten with the window or the ban: a flood of invented names finds no room,
 * and is told in the log. Bans are not kept over a restart.
 *
 * All of them stand in one map by a key of kind and name. One is freed by watched_settle alone,
 * when neither a connection nor a window nor a ban holds it; limits.c settles those that a
 * connection leaves, the sweep the others. ban_count is how many have banned_until_s set, also
 * while the sweep has not yet seen that it is over. */
#include "mqtt/broker_priv.h"
#include "base/timetext.h"
#include <string.h>

static const char component[] = "mqtt";

enum {
    REMEMBERED_MAX = 16384, /* of each kind, beside those that are connected */
    KEY_BYTES_MAX = 1 + BROKER_CLIENT_SHORT_BYTES + 1 + ACCESS_USER_BYTES,
};

/* Clients of two users have two keys: the NUL is in no client identifier and no user name. */
static size_t write_key(char *key, enum watched_kind kind, struct str name, struct str user)
{
    size_t size = 0;
    MUST(name.size < BROKER_CLIENT_SHORT_BYTES && user.size <= ACCESS_USER_BYTES);
    key[size++] = (char)('0' + kind);
    if (name.size) memcpy(key + size, name.at, name.size);
    size += name.size;
    if (kind != WATCHED_CLIENT) return size;
    key[size++] = 0;
    if (user.size) memcpy(key + size, user.at, user.size);
    return size + user.size;
}

struct watched *watched_get(struct broker *broker, enum watched_kind kind, struct str name,
                            struct str user, bool makes)
{
    MUST(kind < WATCHED_KINDS);
    struct limits *l = &broker->limits;
    char key[KEY_BYTES_MAX], room[BROKER_CLIENT_SHORT_BYTES];
    if (kind == WATCHED_CLIENT) name = session_short(name, room);
    struct str text = {key, write_key(key, kind, name, user)};
    struct watched *w = map_get(&l->watched, text);
    if (w || !makes) return w;
    if (l->watched_count[kind] < broker->connection_count + REMEMBERED_MAX)
        w = mem_alloc_zero(1, sizeof *w + text.size);
    if (w && map_put(&l->watched, text, w, NULL)) {
        mem_free(w);
        w = NULL;
    }
    if (!w) {
        limits_act(broker, LIMIT_WATCHED, "");
        return NULL;
    }
    w->kind = kind;
    w->window_s = broker_now_s(broker);
    w->name_size = name.size;
    w->key_size = text.size;
    memcpy(w->key, key, text.size);
    l->watched_count[kind]++;
    return w;
}

/* A ban that is over is taken from those that are counted. */
static void end_ban(struct broker *broker, struct watched *w)
{
    MUST(w->banned_until_s && broker->limits.ban_count);
    w->banned_until_s = 0;
    w->drops = w->failures = 0;
    broker->limits.ban_count--;
    metric_set(broker->context, METRIC_MQTT_BANS, broker->limits.ban_count);
}

bool watched_is_banned(const struct broker *broker, const struct watched *w)
{
    return w->banned_until_s > broker_now_s(broker);
}

static bool is_over(const struct broker *broker, const struct watched *w)
{
    bool has_window = w->drops || w->failures;
    return !w->connections && !w->half_open && !w->banned_until_s &&
           (!has_window || broker_now_s(broker) >= w->window_s + broker->config.bans.window_s);
}

static void look_at_ban(struct broker *broker, struct watched *w)
{
    if (w->banned_until_s && !watched_is_banned(broker, w)) end_ban(broker, w);
}

void watched_settle(struct broker *broker, struct watched *w)
{
    MUST(w->kind < WATCHED_KINDS && w->key_size > w->name_size);
    look_at_ban(broker, w);
    if (!is_over(broker, w)) return;
    MUST(broker->limits.watched_count[w->kind] > 0);
    broker->limits.watched_count[w->kind]--;
    (void)map_remove(&broker->limits.watched, (struct str){w->key, w->key_size});
    mem_free(w);
}

void watched_count(struct broker *broker, struct watched *w, uint32_t *counter, uint32_t limit,
                   const char *what)
{
    MUST(counter == &w->drops || counter == &w->failures);
    const struct broker_bans *bans = &broker->config.bans;
    int64_t now_s = broker_now_s(broker);
    char name[96];
    look_at_ban(broker, w);
    if (now_s >= w->window_s + bans->window_s) {
        w->window_s = now_s;
        w->drops = w->failures = 0;
    }
    (*counter)++;
    if (!limit || *counter < limit || w->banned_until_s || !bans->time_s) return;
    w->banned_until_s = now_s + bans->time_s;
    w->banned_wall_s = broker->wall_s;
    w->ban_count = *counter;
    broker->limits.ban_count++;
    metric_set(broker->context, METRIC_MQTT_BANS, broker->limits.ban_count);
    if (!str_copy(name, sizeof name, watched_name(w))) name[0] = 0; /* too long for a line */
    struct str user = watched_user(w);
    diag(broker->context, DIAG_WARNING, component,
         "%s '%s'%s%.*s: %u %s within %u s; banned for %u s (mqtt.bans)",
         w->kind == WATCHED_CLIENT ? "client" : "address", name, user.size ? " of " : "",
         (int)user.size, user.size ? user.at : "", *counter, what, bans->window_s, bans->time_s);
}

size_t bans_lift(struct broker *broker, enum watched_kind kind, struct str name)
{
    size_t at = 0, lifted = 0;
    struct str key;
    void *value;
    char room[BROKER_CLIENT_SHORT_BYTES];
    if (kind == WATCHED_CLIENT) name = session_short(name, room);
    while (map_next(&broker->limits.watched, &at, &key, &value)) {
        struct watched *w = value;
        if (w->kind != kind || !w->banned_until_s || !str_equal(watched_name(w), name)) continue;
        end_ban(broker, w);
        lifted++;
        watched_settle(broker, w);
    }
    return lifted;
}

void bans_sweep(struct broker *broker)
{
    size_t at = 0;
    struct str key;
    void *value;
    while (map_next(&broker->limits.watched, &at, &key, &value)) watched_settle(broker, value);
}

void bans_free(struct broker *broker)
{
    size_t at = 0;
    struct str key;
    void *value;
    while (map_next(&broker->limits.watched, &at, &key, &value)) mem_free(value);
    map_free(&broker->limits.watched);
}
