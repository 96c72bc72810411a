/* sys_source.c - see sys_source.h: the list of system tables, and the function that writes a row of
 * each. */
#include "listeners/sys_source.h"
#include "base/timetext.h"
#include "listeners/list_source.h"
#include "resource/persist.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { HEALTH_ROWS_MAX = 80 };

struct sys_snapshot {
    struct list_context list; /* first: what the source is given */
    struct service *service;  /* only for what any task may read: context, store */
    struct collect_snapshot *collect;
    int64_t now_ns;
    bool has_devices;  /* the list below counts; else all series of the catalogue are shown */
    uint32_t *devices; /* their ids */
    size_t device_count, device_capacity;
    size_t health_count;
    struct store_health_row health[HEALTH_ROWS_MAX]; /* the statement sees one state of it */
    struct store_rollup_info *rollups;               /* whose tables may be read */
    size_t rollup_count;
    struct resource **views; /* shared */
    size_t view_count;
};

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

/* ---- sys.devices: the series catalogue ---- */

static size_t count_devices(const void *snapshot)
{
    const struct sys_snapshot *s = snapshot;
    return s->has_devices ? s->device_count : store_series_count(s->service->store);
}

static void write_device(const void *snapshot, size_t n, struct row_out *out)
{
    const struct sys_snapshot *s = snapshot;
    struct store_series_info info;
    uint32_t id = s->has_devices ? s->devices[n] : (uint32_t)n + 1;
    if (!store_series(s->service->store, id, &info)) {
        for (int i = 0; i < 4; i++) put_null(out);
        return;
    }
    put_int(out, info.id);
    put_text(out, info.path);
    put_int(out, info.table_id);
    struct buf labels = BUF_EMPTY;
    buf_add_char(&labels, '{');
    for (uint32_t i = 0; i < info.label_count; i++) {
        if (i) buf_add_char(&labels, ',');
        buf_add_json(&labels, info.labels[i].key);
        buf_add_char(&labels, ':');
        buf_add_json(&labels, info.labels[i].value);
    }
    buf_add_char(&labels, '}');
    const char *text = buf_cstr(&labels);
    if (text)
        put_copy(out, text);
    else
        out->no_memory = true;
    buf_free(&labels);
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
static const struct list_column device_columns[] = {
    {"id", TYPE_BIGINT, ""},
    {"device", TYPE_TEXT, ""},
    {"table_id", TYPE_BIGINT, ""},
    {"labels", TYPE_TEXT, ""},
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
    {0},
};

static const struct list_table tables[] = {
    {"sys", "connections", "lines to equipment: state, errors, bytes", count_connections,
     write_connection, connection_columns},
    {"sys", "devices", "devices that have rows, by table", count_devices, write_device,
     device_columns},
    {"sys", "errors", "the error codes", count_errors, write_error, error_columns},
    {"sys", "health", "damage found, and a clock that is not trusted", count_health, write_health,
     health_columns},
    {"sys", "metrics", "the node's counters and gauges", count_metrics, write_metric,
     metric_columns},
    {"sys", "points", "all points with their last value", count_points, write_point, point_columns},
    {"sys", "rollups", "windowed aggregates of tables, and how far they are computed",
     count_rollups, write_rollup, rollup_columns},
};

const struct list_table *sys_table_list(size_t *count)
{
    *count = sizeof tables / sizeof tables[0];
    return tables;
}

/* ---- snapshots ---- */

static bool mentions(struct str text, const char *word)
{
    size_t size = strlen(word);
    for (size_t i = 0; i + size <= text.size; i++)
        if (str_is_nocase((struct str){text.at + i, size}, word)) return true;
    return false;
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

static const struct schema *table_of(const struct store_table_list *list, uint32_t table_id)
{
    for (uint32_t i = 0; i < store_table_count(list); i++)
        if (store_table_at(list, i)->table_id == table_id) return store_table_at(list, i);
    return NULL;
}

/* The series whose device and table the identity may query. */
static enum err keep_visible_devices(struct sys_snapshot *s, const struct identity *identity)
{
    struct store *store = s->service->store;
    struct store_table_list *list = store_tables(store);
    struct store_series_info info;
    enum err err = list ? ERR_OK : ERR_NO_MEMORY;
    s->has_devices = true;
    for (uint32_t id = 1; !err && id <= store_series_count(store); id++) {
        if (!store_series(store, id, &info)) continue;
        const struct schema *table = table_of(list, info.table_id);
        if (!table || access_check(identity, VERB_QUERY, "Table", str_of(table->ns),
                                   str_of(table->name), info.path, NULL))
            continue;
        err = mem_grow(&s->devices, &s->device_capacity, s->device_count + 1, sizeof *s->devices);
        if (!err) s->devices[s->device_count++] = id;
    }
    store_tables_release(list);
    return err;
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

/* All views that the identity may see or may read something with: a statement may use one through
 * another, so that its text does not say which. */
static enum err keep_views(struct sys_snapshot *s, const struct identity *identity)
{
    size_t at = 0, capacity = 0;
    enum err err = ERR_OK;
    if (!s->service->registry) return ERR_OK;
    for (struct resource *r; !err && (r = registry_next(s->service->registry, KIND_VIEW, &at));) {
        if (!access_scope(identity, VERB_QUERY, "Table", r->ns, STR("")) &&
            !access_scope(identity, VERB_GET, "View", r->ns, r->name))
            continue;
        err = mem_grow(&s->views, &capacity, s->view_count + 1, sizeof *s->views);
        if (!err) s->views[s->view_count++] = resource_share(r);
    }
    return err;
}

struct sys_snapshot *sys_snapshot_take(struct service *service, struct str text,
                                       const struct identity *identity)
{
    struct sys_snapshot *s = mem_alloc_zero(1, sizeof *s);
    enum err err = ERR_OK;
    if (!s) return NULL;
    s->list = (struct list_context){&list_source_sys, tables, sizeof tables / sizeof tables[0], s};
    s->service = service;
    s->now_ns = context_wall_ns(service->context);
    bool sees_all =
        access_scope(identity, VERB_QUERY, "Table", (struct str){0}, STR("")) == ACCESS_ALL;
    if (service->store && mentions(text, "health"))
        s->health_count = store_health(service->store, s->health, HEALTH_ROWS_MAX - 1);
    if (service->persist && persist_left_out(service->persist) && mentions(text, "health"))
        add_left_out(s);
    if (service->store && !sees_all && mentions(text, "devices"))
        err = keep_visible_devices(s, identity);
    if (!err && service->store && mentions(text, "rollups"))
        err = keep_visible_rollups(s, identity);
    if (!err && service->collect && (mentions(text, "points") || mentions(text, "connections"))) {
        s->collect = collect_snapshot(service->collect);
        if (!s->collect) err = ERR_NO_MEMORY;
        if (!err) keep_visible_rows(s->collect, identity);
    }
    if (!err) err = keep_views(s, identity);
    if (!err) return s;
    sys_snapshot_free(s);
    return NULL;
}

void sys_snapshot_free(struct sys_snapshot *s)
{
    if (!s) return;
    collect_snapshot_free(s->collect);
    mem_free(s->devices);
    mem_free(s->rollups);
    for (size_t i = 0; i < s->view_count; i++) resource_release(s->views[i]);
    mem_free(s->views);
    mem_free(s);
}

/* ---- views: a source of its own, since what it gives is text ---- */

static enum err find_no_table(void *context, struct str ns, struct str schema, struct str name,
                              struct arena *arena, struct sql_table *table, struct why *why)
{
    (void)context, (void)ns, (void)schema, (void)name, (void)arena, (void)why;
    *table = (struct sql_table){.source = &view_source};
    return ERR_OK;
}

size_t sys_view_count(const struct sys_snapshot *s)
{
    return s->view_count;
}

bool sys_view_at(const struct sys_snapshot *s, size_t at, struct str ns,
                 char name[SCHEMA_NAME_BYTES_MAX + 1], struct str *query, struct str *description)
{
    MUST(at < s->view_count);
    const struct view_spec *spec = s->views[at]->spec;
    if (!str_equal(s->views[at]->ns, ns)) return false;
    view_sql_name(s->views[at], name);
    *query = spec->query;
    *description = spec->description;
    return true;
}

static enum err find_view(void *context, struct str ns, struct str schema, struct str name,
                          struct arena *arena, struct str *text)
{
    const struct sys_snapshot *s = context;
    if (schema.size && !str_is(schema, "public")) return ERR_OK;
    for (size_t i = 0; i < s->view_count; i++) {
        char sql_name[SCHEMA_NAME_BYTES_MAX + 1];
        view_sql_name(s->views[i], sql_name);
        if (!str_equal(s->views[i]->ns, ns) || !str_is(name, sql_name)) continue;
        struct str query = ((const struct view_spec *)s->views[i]->spec)->query;
        text->at = arena_strdup(arena, query.at, query.size);
        text->size = query.size;
        return text->at ? ERR_OK : ERR_NO_MEMORY;
    }
    return ERR_OK;
}

/* The namespace's views as what they look like: tables of the user. */
static enum err list_views(void *context, struct str ns, struct arena *arena,
                           struct sql_table_name **names, size_t *count)
{
    const struct sys_snapshot *s = context;
    *count = 0;
    *names = arena_alloc(arena, (s->view_count + 1) * sizeof **names);
    if (!*names) return ERR_NO_MEMORY;
    for (size_t i = 0; i < s->view_count; i++) {
        char sql_name[SCHEMA_NAME_BYTES_MAX + 1];
        if (!str_equal(s->views[i]->ns, ns)) continue;
        view_sql_name(s->views[i], sql_name);
        const struct view_spec *spec = s->views[i]->spec;
        char *name = arena_strdup(arena, sql_name, strlen(sql_name));
        char *text = spec->description.size
                         ? arena_strdup(arena, spec->description.at, spec->description.size)
                         : arena_strdup(arena, "view", 4);
        if (!name || !text) return ERR_NO_MEMORY;
        (*names)[(*count)++] = (struct sql_table_name){"public", name, text};
    }
    return ERR_OK;
}

const struct sql_source view_source = {
    .name = "views",
    .find_table = find_no_table,
    .find_view = find_view,
    .list_tables = list_views,
};
