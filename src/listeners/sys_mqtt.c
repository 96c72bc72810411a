/* sys_mqtt.c - sys.mqtt_bans, sys.mqtt_clients, sys.mqtt_subscriptions, sys.mqtt_retained: what the
 * broker holds.
 *
 * The broker's task is asked once before the statement runs (sys_snapshot_ask) and the rows are
 * kept until it ends, in memory of the statements' budget. Everybody sees the own clients and their
 * subscriptions; those of others are for who may list the kind MqttClient. Retained messages are
 * for who may subscribe to their topic. */
#include "listeners/sys_priv.h"
#include "mqtt/packet.h"
#include <math.h>

/* ---- sys.mqtt_clients ---- */

size_t sys_count_mqtt_clients(const void *snapshot)
{
    return ((const struct sys_snapshot *)snapshot)->mqtt.clients.count;
}

static void put_or_null(struct row_out *out, struct str text)
{
    if (text.size)
        put_text(out, text);
    else
        put_null(out);
}

void sys_write_mqtt_clients(const void *snapshot, size_t n, struct row_out *out)
{
    static const char *const versions[] = {
        [MQTT_3_1] = "3.1", [MQTT_3_1_1] = "3.1.1", [MQTT_5] = "5.0"};
    const struct sys_snapshot *s = snapshot;
    MUST(n < s->mqtt.clients.count);
    const struct broker_client_row *c = s->mqtt.clients.at[n];
    put_text(out, c->ns);
    put_text(out, c->client_id);
    put_text(out, c->user);
    put_bool(out, c->is_connected);
    put_or_null(out, c->peer);
    if (c->is_connected) {
        put_text(out, str_of(versions[c->version]));
        put_bool(out, c->is_tls);
        put_int(out, c->keep_alive_s);
    } else {
        put_null(out);
        put_null(out);
        put_null(out);
    }
    put_time(out, c->since_ns);
    put_double(out, c->expiry_s == UINT32_MAX ? NAN : (double)c->expiry_s);
    put_count(out, c->subscriptions);
    put_count(out, c->queued);
    put_count(out, c->queued_bytes);
    put_count(out, c->in_flight);
    put_count(out, c->received);
    put_count(out, c->sent);
    put_count(out, c->dropped);
    put_bool(out, c->is_slow);
}

const struct list_column sys_columns_mqtt_clients[] = {
    {"namespace", TYPE_TEXT, ""},
    {"client", TYPE_TEXT, ""},
    {"user", TYPE_TEXT, ""},
    {"connected", TYPE_BOOL, ""},
    {"peer", TYPE_TEXT, ""},
    {"version", TYPE_TEXT, ""},
    {"tls", TYPE_BOOL, ""},
    {"keep_alive_s", TYPE_BIGINT, "s"},
    {"since", TYPE_TIMESTAMP, ""},
    {"expiry_s", TYPE_DOUBLE, "s"},
    {"subscriptions", TYPE_BIGINT, ""},
    {"queued", TYPE_BIGINT, ""},
    {"queued_bytes", TYPE_BIGINT, "B"},
    {"in_flight", TYPE_BIGINT, ""},
    {"received", TYPE_BIGINT, ""},
    {"sent", TYPE_BIGINT, ""},
    {"dropped", TYPE_BIGINT, ""},
    {"slow", TYPE_BOOL, ""},
    {0},
};

/* ---- sys.mqtt_subscriptions ---- */

size_t sys_count_mqtt_subscriptions(const void *snapshot)
{
    return ((const struct sys_snapshot *)snapshot)->mqtt.subscriptions.count;
}

void sys_write_mqtt_subscriptions(const void *snapshot, size_t n, struct row_out *out)
{
    const struct sys_snapshot *s = snapshot;
    MUST(n < s->mqtt.subscriptions.count);
    const struct broker_subscription_row *sub = s->mqtt.subscriptions.at[n];
    put_text(out, sub->ns);
    put_text(out, sub->client_id);
    put_text(out, sub->filter);
    put_int(out, sub->qos);
    put_bool(out, sub->no_local);
    put_bool(out, sub->retain_as_published);
    if (sub->id)
        put_count(out, sub->id);
    else
        put_null(out);
}

const struct list_column sys_columns_mqtt_subscriptions[] = {
    {"namespace", TYPE_TEXT, ""},    {"client", TYPE_TEXT, ""},
    {"filter", TYPE_TEXT, ""},       {"qos", TYPE_BIGINT, ""},
    {"no_local", TYPE_BOOL, ""},     {"retain_as_published", TYPE_BOOL, ""},
    {"identifier", TYPE_BIGINT, ""}, {0},
};

/* ---- sys.mqtt_retained ---- */

size_t sys_count_mqtt_retained(const void *snapshot)
{
    return ((const struct sys_snapshot *)snapshot)->mqtt.retained.count;
}

void sys_write_mqtt_retained(const void *snapshot, size_t n, struct row_out *out)
{
    const struct sys_snapshot *s = snapshot;
    MUST(n < s->mqtt.retained.count);
    const struct broker_retained_row *m = s->mqtt.retained.at[n];
    put_text(out, m->ns);
    put_text(out, m->topic);
    put_count(out, m->size_bytes);
    put_int(out, m->qos);
    put_time(out, m->time_ns);
    put_double(out, m->time_ns ? (double)(s->now_ns - m->time_ns) / 1e9 : NAN);
    if (m->payload.at && mqtt_text_is_valid(m->payload))
        put_text(out, m->payload);
    else
        put_null(out);
}

const struct list_column sys_columns_mqtt_retained[] = {
    {"namespace", TYPE_TEXT, ""}, {"topic", TYPE_TEXT, ""},
    {"size", TYPE_BIGINT, "B"},   {"qos", TYPE_BIGINT, ""},
    {"time", TYPE_TIMESTAMP, ""}, {"age_s", TYPE_DOUBLE, "s"},
    {"payload", TYPE_TEXT, ""},   {0},
};

/* ---- sys.mqtt_bans ---- */

size_t sys_count_mqtt_bans(const void *snapshot)
{
    return ((const struct sys_snapshot *)snapshot)->mqtt.bans.count;
}

void sys_write_mqtt_bans(const void *snapshot, size_t n, struct row_out *out)
{
    const struct sys_snapshot *s = snapshot;
    MUST(n < s->mqtt.bans.count);
    const struct broker_ban_row *b = s->mqtt.bans.at[n];
    put_text(out, b->is_client ? STR("client") : STR("address"));
    put_text(out, b->name);
    put_or_null(out, b->user);
    put_text(out, b->is_client ? STR("lost connections") : STR("failed logins"));
    put_count(out, b->count);
    put_time(out, b->since_ns);
    put_time(out, b->until_ns);
}

const struct list_column sys_columns_mqtt_bans[] = {
    {"kind", TYPE_TEXT, ""},       {"name", TYPE_TEXT, ""},
    {"user", TYPE_TEXT, ""},       {"reason", TYPE_TEXT, ""},
    {"count", TYPE_BIGINT, ""},    {"since", TYPE_TIMESTAMP, ""},
    {"until", TYPE_TIMESTAMP, ""}, {0},
};

/* ---- asking ---- */

bool sys_names_payload(struct str text)
{
    static const char name[] = "payload";
    for (size_t i = 0; i + sizeof name - 1 <= text.size; i++)
        if (str_is_nocase((struct str){text.at + i, sizeof name - 1}, name)) return true;
    return false;
}

static void on_inspected(struct completion *c)
{
    struct sys_snapshot *s =
        (struct sys_snapshot *)(void *)((char *)c - offsetof(struct sys_snapshot, mqtt.completion));
    sys_hide_bridges(s);
    s->asked(s->asked_arg, c->err, &c->why);
}

bool sys_snapshot_ask(struct sys_snapshot *s,
                      void (*done)(void *arg, enum err err, const struct why *why), void *arg)
{
    struct broker *broker = s->service->broker;
    unsigned looks = (sys_mentions(s, "mqtt_clients") ? BROKER_CLIENTS : 0u) |
                     (sys_mentions(s, "mqtt_subscriptions") ? BROKER_SUBSCRIPTIONS : 0u) |
                     (sys_mentions(s, "bridges") ? BROKER_BRIDGES : 0u) |
                     (sys_mentions(s, "mqtt_retained") ? BROKER_RETAINED : 0u) |
                     (sys_mentions(s, "mqtt_bans") ? BROKER_BANS : 0u);
    if (!looks || !broker) return false;
    s->asked = done;
    s->asked_arg = arg;
    s->mqtt.looks = looks;
    s->mqtt.identity = identity_share(s->identity);
    completion_init(&s->mqtt.completion, s->service->context->main, on_inspected);
    broker_inspect(broker, &s->mqtt);
    return true;
}

void sys_free_mqtt(struct sys_snapshot *s)
{
    broker_inspect_free(&s->mqtt);
}
