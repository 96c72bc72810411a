/* sys_topics.c - $SYS: what the broker publishes about itself, under the names that Mosquitto made
 * usual (mosquitto(8), "BROKER STATUS"), so that existing dashboards work. One table.
 *
 * Every mqtt.sysInterval those whose values have changed go out, QoS 0, retained and not journaled
 * (message_is_own). What we do not count we do not tell. Loads are Mosquitto's, too: per minute,
 * averaged exponentially over 1, 5 and 15 minutes.
 *
 * Clients cannot publish there (topic_is_own). The numbers go to the namespace `default` alone.
 * When the interval is set to 0 what was told is taken back, for a number that stands still would
 * be believed. */
#include "base/timetext.h"
#include "mqtt/broker_priv.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

static uint64_t metric(const struct broker *broker, enum metric m)
{
    return metric_get(broker->context, m);
}

static uint64_t connected(const struct broker *b)
{
    return b->connection_count;
}

static uint64_t total(const struct broker *b)
{
    return metric(b, METRIC_MQTT_SESSIONS);
}

static uint64_t away(const struct broker *b)
{
    return total(b) > connected(b) ? total(b) - connected(b) : 0;
}

static uint64_t bytes_in(const struct broker *b)
{
    return metric(b, METRIC_MQTT_BYTES_IN);
}

static uint64_t bytes_out(const struct broker *b)
{
    return metric(b, METRIC_MQTT_BYTES_OUT);
}

static uint64_t packets_in(const struct broker *b)
{
    return metric(b, METRIC_MQTT_PACKETS_IN);
}

static uint64_t received(const struct broker *b)
{
    return metric(b, METRIC_MQTT_RECEIVED);
}

static uint64_t sent(const struct broker *b)
{
    return metric(b, METRIC_MQTT_SENT);
}

static uint64_t dropped(const struct broker *b)
{
    return metric(b, METRIC_MQTT_DROPPED_SLOW) + metric(b, METRIC_MQTT_DROPPED_FULL) +
           metric(b, METRIC_MQTT_DROPPED_SIZE) + metric(b, METRIC_MQTT_DROPPED_MEMORY);
}

static uint64_t subscriptions(const struct broker *b)
{
    return metric(b, METRIC_MQTT_SUBSCRIPTIONS);
}

static uint64_t retained(const struct broker *b)
{
    return b->retained_count;
}

static uint64_t memory_now(const struct broker *b)
{
    return atomic_load(&((struct broker *)(uintptr_t)b)->memory.used_bytes);
}

static uint64_t memory_most(const struct broker *b)
{
    return atomic_load(&((struct broker *)(uintptr_t)b)->memory.peak_bytes);
}

static const struct {
    const char *name;
    uint64_t (*value)(const struct broker *broker);
} counts[] = {
    {"$SYS/broker/bytes/received", bytes_in},
    {"$SYS/broker/bytes/sent", bytes_out},
    {"$SYS/broker/clients/connected", connected},
    {"$SYS/broker/clients/disconnected", away},
    {"$SYS/broker/clients/total", total},
    {"$SYS/broker/heap/current", memory_now},
    {"$SYS/broker/heap/maximum", memory_most},
    {"$SYS/broker/messages/received", packets_in},
    {"$SYS/broker/publish/messages/received", received},
    {"$SYS/broker/publish/messages/sent", sent},
    {"$SYS/broker/publish/messages/dropped", dropped},
    {"$SYS/broker/retained messages/count", retained},
    {"$SYS/broker/subscriptions/count", subscriptions},
};
enum { COUNTS = sizeof counts / sizeof counts[0] };

static const struct {
    const char *name;
    uint64_t (*value)(const struct broker *broker);
} loads[] = {
    {"$SYS/broker/load/bytes/received", bytes_in},
    {"$SYS/broker/load/bytes/sent", bytes_out},
    {"$SYS/broker/load/messages/received", packets_in},
    {"$SYS/broker/load/publish/received", received},
    {"$SYS/broker/load/publish/sent", sent},
    {"$SYS/broker/load/publish/dropped", dropped},
};
enum { LOADS = sizeof loads / sizeof loads[0], SPANS = 3 };
static const int span_minutes[SPANS] = {1, 5, 15};

struct sys_topics {
    int64_t told_s;
    bool is_told; /* once; then only what has changed */
    uint64_t counts[COUNTS], load_counts[LOADS];
    long loads[LOADS][SPANS]; /* hundredths, as told */
    double averages[LOADS][SPANS];
};

/* The numbers are of the whole broker, and so nothing for the clients of other namespaces. */
static struct space *home(const struct broker *broker)
{
    return broker->spaces[0];
}

/* Without memory it is told the next time. */
static void tell(struct broker *broker, const char *topic, const char *text)
{
    struct message_parts parts = {.topic = str_of(topic), .payload = str_of(text), .retain = true};
    struct message *m = message_new(&parts, &broker->memory);
    bool logged;
    if (!m) return; /* the next time */
    (void)broker_publish(home(broker), m, NULL, 0, &logged);
    MUST(!logged);
    message_release(m);
}

/* Only what has changed, so that $SYS costs nothing while nothing happens. */
static void tell_counts(struct broker *broker, struct sys_topics *t)
{
    for (size_t i = 0; i < COUNTS; i++) {
        char text[24];
        uint64_t now = counts[i].value(broker);
        if (t->is_told && now == t->counts[i]) continue;
        t->counts[i] = now;
        snprintf(text, sizeof text, "%" PRIu64, now);
        tell(broker, counts[i].name, text);
    }
}

/* mosquitto(8): averages that forget exponentially; `elapsed_s` may be more than the interval. */
static void tell_loads(struct broker *broker, struct sys_topics *t, int64_t elapsed_s)
{
    for (size_t i = 0; i < LOADS; i++) {
        uint64_t now = loads[i].value(broker);
        double rate =
            elapsed_s > 0 ? (double)(now - t->load_counts[i]) * 60.0 / (double)elapsed_s : 0.0;
        t->load_counts[i] = now;
        for (size_t k = 0; k < SPANS; k++) {
            char topic[80], text[32];
            double weight = exp(-(double)elapsed_s / (60.0 * span_minutes[k]));
            double average = rate + weight * (t->averages[i][k] - rate);
            long hundredths = lround(average * 100);
            t->averages[i][k] = average;
            if (t->is_told && hundredths == t->loads[i][k]) continue;
            t->loads[i][k] = hundredths;
            snprintf(topic, sizeof topic, "%s/%dmin", loads[i].name, span_minutes[k]);
            snprintf(text, sizeof text, "%.2f", average);
            tell(broker, topic, text);
        }
    }
}

/* What was told is not so any more. */
static void take_back(struct broker *broker)
{
    struct tree_walk walk = {0};
    unsigned steps = UINT32_MAX;
    if (tree_walk_begin(home(broker)->tree, STR("$SYS/#"), &walk)) return;
    /* The walk is pinned to where it stands, so what is there may go. */
    for (struct message *m; (m = tree_walk_next(&walk, &steps));) {
        if (!message_is_own(m)) continue; /* a bridge's state */
        message_share(m);
        (void)space_retain(home(broker), message_topic(m), NULL);
        message_release(m);
    }
    tree_walk_end(&walk);
}

void sys_topics_tick(struct broker *broker)
{
    MUST(broker_is_valid(broker));
    struct sys_topics *t = broker->sys_topics;
    int64_t now_s = broker_now_s(broker);
    char text[48];
    if (!broker->config.sys_interval_s) {
        if (t) take_back(broker);
        sys_topics_free(broker);
        return;
    }
    if (!t && !(t = broker->sys_topics = mem_alloc_zero(1, sizeof *t))) return;
    if (!t->is_told) t->told_s = broker->began_s;
    if (t->is_told && now_s < t->told_s + broker->config.sys_interval_s) return;
    if (!t->is_told) tell(broker, "$SYS/broker/version", "millrace " MILLRACE_VERSION);
    snprintf(text, sizeof text, "%lld seconds", (long long)(now_s - broker->began_s));
    tell(broker, "$SYS/broker/uptime", text);
    tell_counts(broker, t);
    tell_loads(broker, t, now_s - t->told_s);
    t->told_s = now_s;
    t->is_told = true;
}

void sys_topics_free(struct broker *broker)
{
    mem_free(broker->sys_topics);
    broker->sys_topics = NULL;
}
