/* sys_source.c - see sys_source.h: the list of system tables, and the function that writes a row of
 * each. */
#include "listeners/sys_source.h"
#include "base/timetext.h"
#include "listeners/sys_priv.h"
#include "resource/persist.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- sys.points ---- */

static size_t count_points(const void *snapshot)
{
    const struct sys_snapshot *s = snapshot;
    return s->collect ? s->collect->point_count : 0;
}

static double number_of(const struct value *v)
{
    if (v->is_null) return NAN;
    switch (v->type) {
    case TYPE_BOOL: return v->b;
    case TYPE_BIGINT: return (double)v->i;
    case TYPE_UBIGINT: return (double)v->u;
    case TYPE_DOUBLE: return v->d;
    default: return NAN;
    }
}

static void put_value_text(struct row_out *out, const struct value *v)
{
    struct buf text = BUF_EMPTY;
    value_add_text(&text, v);
    if (v->is_null)
        put_null(out);
    else if (buf_cstr(&text))
        put_copy(out, text.at);
    else
        out->no_memory = true;
    buf_free(&text);
}

static void write_point(const void *snapshot, size_t n, struct row_out *out)
{
    const struct sys_snapshot *s = snapshot;
    const struct collect_point_row *p = &s->collect->points[n];
    char scratch[12];
    put_text(out, p->ns);
    put_text(out, p->device);
    put_text(out, p->name);
    put_text(out, p->table);
    put_text(out, p->point);
    put_text(out, str_of(type_name(p->type)));
    put_text(out, p->unit);
    put_text(out, p->address);
    put_text(out, p->access);
    put_text(out, p->connection);
    put_value_text(out, &p->value);
    put_double(out, number_of(&p->value));
    put_copy(out,
             quality_name(p->time_ns ? p->value.quality : (uint32_t)QualityBadWaitingForInitialData,
                          scratch));
    put_time(out, p->time_ns);
    put_double(out, p->min);
    put_double(out, p->max);
    put_text(out, p->description);
}

/* ---- sys.connections ---- */

static size_t count_connections(const void *snapshot)
{
    const struct sys_snapshot *s = snapshot;
    return s->collect ? s->collect->connection_count : 0;
}

static void put_frame(struct row_out *out, const uint8_t *bytes, size_t size)
{
    char hex[2 * 64 + 1] = "";
    for (size_t i = 0; i < size && i < 64; i++) snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
    put_copy(out, hex);
}

static void write_connection(const void *snapshot, size_t n, struct row_out *out)
{
    const struct sys_snapshot *s = snapshot;
    static const char *const states[] = {"disabled", "connecting", "connected", "down"};
    const struct collect_connection_row *c = &s->collect->connections[n];
    put_text(out, c->ns);
    put_text(out, c->name);
    put_text(out, c->driver);
    put_text(out, c->endpoint);
    put_text(out, str_of(states[c->state]));
    put_double(out, c->rtt_ns ? (double)c->rtt_ns / 1e6 : NAN);
    put_count(out, c->requests);
    put_count(out, c->errors);
    put_count(out, c->timeouts);
    put_count(out, c->bytes_in);
    put_count(out, c->bytes_out);
    put_count(out, c->cycles);
    put_count(out, c->missed_cycles);
    put_count(out, c->rows_refused);
    put_text(out, str_of(c->last_error));
    put_frame(out, c->last_error_frame, c->last_error_frame_size);
    put_time(out, c->last_error_time_ns);
}

/* ---- sys.health: what SHOW HEALTH tells ---- */

static size_t count_health(const void *snapshot)
{
    const struct sys_snapshot *s = snapshot;
    return s->health_count;
}

/* Which ones the node's log tells. */
static void add_left_out(struct sys_snapshot *s)
{
    struct store_health_row *row = &s->health[s->health_count++];
    *row = (struct store_health_row){.severity = STORE_ERROR, .object = "resources.db"};
    (void)str_copy(
        row->text, sizeof row->text,
        STR("documents that are not as they were written, or cannot be read, are left out; "
            "millrace doctor names them: apply them again, or restore a backup"));
}

static void write_health(const void *snapshot, size_t n, struct row_out *out)
{
    const struct sys_snapshot *s = snapshot;
    static const char *const severities[] = {[STORE_WARNING] = "warning", [STORE_ERROR] = "error"};
    put_text(out, str_of(severities[s->health[n].severity]));
    put_text(out, str_of(s->health[n].object));
    put_text(out, str_of(s->health[n].text));
}

/* ---- sys.metrics ---- */

static size_t count_metrics(const void *snapshot)
{
    (void)snapshot;
    return METRIC_COUNT;
}

static void write_metric(const void *snapshot, size_t n, struct row_out *out)
{
    const struct sys_snapshot *s = snapshot;
    const struct metric_info *info = metric_info((enum metric)n);
    put_text(out, str_of(info->name));
    put_count(out, metric_get(s->service->context, (enum metric)n));
    put_text(out, str_of(info->unit));
    put_text(out, str_of(info->kind == METRIC_KIND_COUNTER ? "counter" : "gauge"));
    put_text(out, str_of(info->help));
}

/* ---- sys.rollups ---- */

static size_t count_rollups(const void *snapshot)
{
    const struct sys_snapshot *s = snapshot;
    return s->rollup_count;
}

static void write_rollup(const void *snapshot, size_t n, struct row_out *out)
{
    const struct sys_snapshot *s = snapshot;
    const struct store_rollup_info *r = &s->rollups[n];
    struct buf every = BUF_EMPTY;
    buf_add_duration(&every, r->every_ns);
    put_text(out, str_of(r->ns));
    put_text(out, str_of(r->table));
    put_text(out, str_of(r->rollup));
    if (buf_cstr(&every))
        put_copy(out, every.at);
    else
        out->no_memory = true;
    buf_free(&every);
    put_time(out, r->has_begun ? r->clean_until_ns : 0);
    if (r->has_begun)
        put_count(out, r->dirty_windows);
    else
        put_null(out);
    put_time(out, r->frozen_ns == INT64_MIN ? 0 : r->frozen_ns);
    put_count(out, r->late_rows);
    put_double(out, r->has_begun ? (double)r->lag_ns / 1e9 : NAN);
    if (r->density)
        put_count(out, r->density);
    else
        put_null(out);
}

/* ---- sys.errors: the list of error codes ---- */

static size_t count_errors(const void *snapshot)
{
    (void)snapshot;
    return ERR_COUNT - 1;
}

static void write_error(const void *snapshot, size_t n, struct row_out *out)
{
    (void)snapshot;
    enum err err = (enum err)(n + 1);
    put_text(out, str_of(err_name(err)));
    put_text(out, str_of(err_text(err)));
    put_int(out, err_http_status(err));
    put_text(out, str_of(err_sqlstate(err)));
}

/* ---- the list ---- */

static const struct list_column point_columns[] = {
    {"namespace", TYPE_TEXT, ""},  {"device", TYPE_TEXT, ""},      {"name", TYPE_TEXT, ""},
    {"table", TYPE_TEXT, ""},      {"point", TYPE_TEXT, ""},       {"type", TYPE_TEXT, ""},
    {"unit", TYPE_TEXT, ""},       {"address", TYPE_TEXT, ""},     {"access", TYPE_TEXT, ""},
    {"connection", TYPE_TEXT, ""}, {"value", TYPE_TEXT, ""},       {"number", TYPE_DOUBLE, ""},
    {"quality", TYPE_TEXT, ""},    {"time", TYPE_TIMESTAMP, ""},   {"min", TYPE_DOUBLE, ""},
    {"max", TYPE_DOUBLE, ""},      {"description", TYPE_TEXT, ""}, {0},
};
static const struct list_column connection_columns[] = {
    {"namespace", TYPE_TEXT, ""},
    {"name", TYPE_TEXT, ""},
    {"driver", TYPE_TEXT, ""},
    {"endpoint", TYPE_TEXT, ""},
    {"state", TYPE_TEXT, ""},
    {"rtt_ms", TYPE_DOUBLE, "ms"},
    {"requests", TYPE_BIGINT, ""},
    {"errors", TYPE_BIGINT, ""},
    {"timeouts", TYPE_BIGINT, ""},
    {"bytes_in", TYPE_BIGINT, "B"},
    {"bytes_out", TYPE_BIGINT, "B"},
    {"cycles", TYPE_BIGINT, ""},
    {"missed_cycles", TYPE_BIGINT, ""},
    {"rows_refused", TYPE_BIGINT, ""},
    {"last_error", TYPE_TEXT, ""},
    {"last_error_frame", TYPE_TEXT, ""},
    {"last_error_time", TYPE_TIMESTAMP, ""},
    {0},
};
static const struct list_column metric_columns[] = {
    {"name", TYPE_TEXT, ""}, {"value", TYPE_BIGINT, ""}, {"unit", TYPE_TEXT, ""},
    {"kind", TYPE_TEXT, ""}, {"help", TYPE_TEXT, ""},    {0},
};
static const struct list_column error_columns[] = {
    {"code", TYPE_TEXT, ""},
    {"text", TYPE_TEXT, ""},
    {"http_status", TYPE_BIGINT, ""},
    {"sqlstate", TYPE_TEXT, ""},
    {0},
};

static const struct list_column health_columns[] = {
    {"severity", TYPE_TEXT, ""},
    {"object", TYPE_TEXT, ""},
    {"text", TYPE_TEXT, ""},
    {0},
};

static const struct list_column rollup_columns[] = {
    {"namespace", TYPE_TEXT, ""},
    {"table", TYPE_TEXT, ""},
    {"rollup", TYPE_TEXT, ""},
    {"every", TYPE_TEXT, ""},
    {"clean_until", TYPE_TIMESTAMP, ""},
    {"dirty_windows", TYPE_BIGINT, ""},
    {"frozen_until", TYPE_TIMESTAMP, ""},
    {"late_rows", TYPE_BIGINT, ""},
    {"lag_s", TYPE_DOUBLE, "s"},
    {"rows_per_window", TYPE_BIGINT, ""},
    {0},
};

#define OTHER(name, description)                                                                   \
    {                                                                                              \
        "sys", #name, description, sys_count_##name, sys_write_##name, sys_columns_##name          \
    }
static const struct list_table tables[] = {
    OTHER(audit, "who did what: the audit log, the newest line first"),
    OTHER(bridges, "connections to other MQTT brokers: state, what waits, errors"),
    {"sys", "connections", "lines to equipment: state, errors, bytes", count_connections,
     write_connection, connection_columns},
    OTHER(devices, "devices that have rows, by table"),
    {"sys", "errors", "the error codes", count_errors, write_error, error_columns},
    {"sys", "health", "damage found, and a clock that is not trusted", count_health, write_health,
     health_columns},
    {"sys", "metrics", "the node's counters and gauges", count_metrics, write_metric,
     metric_columns},
    OTHER(mqtt_bans, "clients and addresses that the broker refuses for a while"),
    OTHER(mqtt_clients, "the broker's sessions and who is connected"),
    OTHER(mqtt_retained, "retained messages; the payload when the statement names that column"),
    OTHER(mqtt_subscriptions, "who has subscribed to what"),
    OTHER(nodes, "this node: memory, positions of its log"),
    {"sys", "points", "all points with their last value", count_points, write_point, point_columns},
    {"sys", "rollups", "windowed aggregates of tables, and how far they are computed",
     count_rollups, write_rollup, rollup_columns},
    OTHER(sessions, "connections, logins, and what they run"),
    OTHER(sinks, "what goes outside: how far it is, what waits, errors"),
    OTHER(tables, "tables, and what they take"),
};

const struct list_table *sys_table_list(size_t *count)
{
    *count = sizeof tables / sizeof tables[0];
    return tables;
}

/* ---- snapshots ---- */

enum { TABLES = sizeof tables / sizeof tables[0] };

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 'a' - 'A') : c;
}

/* A statement may be a MiB of rows, and this is the main loop: one pass, which looks at a name only
 * where its first two letters stand. */
uint32_t sys_words_of(struct str text)
{
    uint32_t by_letter[256] = {0}, found = 0;
    _Static_assert(TABLES <= 32, "a word for each table");
    for (size_t t = 0; t < TABLES; t++) by_letter[(uint8_t)tables[t].name[0]] |= UINT32_C(1) << t;
    for (size_t i = 0; i + 1 < text.size; i++) {
        uint32_t maybe = by_letter[(uint8_t)lower(text.at[i])] & ~found;
        for (; maybe; maybe &= maybe - 1) {
            size_t t = (size_t)__builtin_ctz(maybe), size;
            if (lower(text.at[i + 1]) != tables[t].name[1]) continue;
            size = strlen(tables[t].name);
            if (size <= text.size - i &&
                str_is_nocase((struct str){text.at + i, size}, tables[t].name))
                found |= UINT32_C(1) << t;
        }
    }
    return found;
}

bool sys_mentions(const struct sys_snapshot *s, const char *table)
{
    size_t t = 0;
    while (t < TABLES && strcmp(tables[t].name, table) != 0) t++;
    MUST(t < TABLES);
    return s->mentioned >> t & 1;
}

static void keep_visible_rows(struct collect_snapshot *c, const struct identity *identity)
{
    size_t kept = 0;
    for (size_t i = 0; i < c->point_count; i++) {
        const struct collect_point_row *p = &c->points[i];
        if (access_check(identity, VERB_QUERY, "Table", p->ns, p->table, p->device, NULL) == ERR_OK)
            c->points[kept++] = *p;
    }
    c->point_count = kept;
    kept = 0;
    for (size_t i = 0; i < c->connection_count; i++) {
        const struct collect_connection_row *row = &c->connections[i];
        if (access_scope(identity, VERB_LIST, "Connection", row->ns, row->name) == ACCESS_ALL)
            c->connections[kept++] = *row;
    }
    c->connection_count = kept;
}

static enum err keep_visible_rollups(struct sys_snapshot *s, const struct identity *identity)
{
    enum err err = store_rollups(s->service->store, &s->rollups, &s->rollup_count);
    size_t kept = 0;
    for (size_t i = 0; i < s->rollup_count; i++)
        if (access_scope(identity, VERB_QUERY, "Table", str_of(s->rollups[i].ns),
                         str_of(s->rollups[i].table)))
            s->rollups[kept++] = s->rollups[i];
    s->rollup_count = kept;
    return err;
}

static enum err take_equipment(struct sys_snapshot *s)
{
    if (!s->service->collect || !(sys_mentions(s, "points") || sys_mentions(s, "connections")))
        return ERR_OK;
    s->collect = collect_snapshot(s->service->collect);
    if (!s->collect) return ERR_NO_MEMORY;
    keep_visible_rows(s->collect, s->identity);
    return ERR_OK;
}

static void take_health(struct sys_snapshot *s)
{
    struct service *service = s->service;
    if (!sys_mentions(s, "health")) return;
    if (service->store)
        s->health_count = store_health(service->store, s->health, SYS_HEALTH_ROWS_MAX - 1);
    if (service->persist && persist_left_out(service->persist)) add_left_out(s);
}

struct sys_snapshot *sys_snapshot_take(struct service *service, struct str text,
                                       struct identity *identity)
{
    struct sys_snapshot *s = mem_alloc_zero(1, sizeof *s);
    if (!s) return NULL;
    s->list = (struct list_context){&list_source_sys, tables, TABLES, s};
    s->service = service;
    s->identity = identity_share(identity);
    s->now_ns = context_wall_ns(service->context);
    arena_init(&s->arena, NULL);
    s->mentioned = sys_words_of(text);
    arena_init(&s->mqtt.arena, service->statements);
    s->mqtt.with_payload = sys_names_payload(text);
    enum err err = sys_take_views(s, text); /* first: what is mentioned may be so in one of them */
    if (!err) take_health(s);
    if (!err) err = sys_take_store(s);
    if (!err) err = sys_take_people(s);
    if (!err) err = sys_take_sinks(s);
    if (!err && service->store && sys_mentions(s, "rollups"))
        err = keep_visible_rollups(s, identity);
    if (!err) err = take_equipment(s);
    if (!err) return s;
    sys_snapshot_free(s);
    return NULL;
}

void sys_snapshot_free(struct sys_snapshot *s)
{
    if (!s) return;
    collect_snapshot_free(s->collect);
    sys_free_store(s);
    sys_free_people(s);
    sys_free_sinks(s);
    sys_free_mqtt(s);
    mem_free(s->rollups);
    for (size_t i = 0; i < s->view_count; i++) resource_release(s->views[i]);
    mem_free(s->views);
    arena_free(&s->arena);
    identity_release(s->identity);
    mem_free(s);
}
