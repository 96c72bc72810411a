/* status.c - see status.h. Each kind's status is built as a document and compared with the one that
 * stands: that is a few small allocations a document and second, in one arena. */
#include "listeners/status.h"
#include "base/timetext.h"
#include "listeners/bridges.h"
#include "listeners/identities.h"
#include "listeners/live.h"
#include "listeners/resources.h"
#include "listeners/streams.h"
#include "sinks/sinks.h"
#include "mqtt/inspect.h"
#include <stdio.h>
#include <string.h>

#define TICK_NS  TIME_NS_PER_S
#define SLICE_NS (10 * TIME_NS_PER_MS)
enum {
    REFRESH_TICKS = 10,
    SLICE_POINTS = 4000, /* looked at in one go: well below the 2 ms that polling may be late */
};

/* What was found about a table last; by table id. */
struct table_note {
    uint32_t devices, parts, revision;
    uint64_t generation; /* of the document that was held against this revision */
};

struct look;

struct status {
    struct service *service;
    struct look *look; /* at the broker's bridges, under way; NULL = none */
    struct os_timer *timer;
    struct arena arena; /* of one tick */
    uint64_t ticks;
    bool is_refresh;          /* what only grew older is told too */
    struct collect_walk walk; /* over the devices; begun anew each second */
    struct table_note *notes; /* [table id] */
    size_t note_capacity;
};

/* What grows older by itself: no reason to tell anybody at once. */
static const char *const fresh_keys[] = {
    "roundTripMs", "requests", "errors",      "lastRow",       "uptime",   "devices", "memoryUsed",
    "positions",   "queued",   "queuedBytes", "oldestSeconds", "inFlight", "sent",    "received"};

/* ---- building ---- */

static bool set_str(struct arena *arena, struct doc *map, const char *key, struct str text)
{
    return doc_set(arena, map, key, doc_new_string(arena, text));
}

static bool set_count(struct arena *arena, struct doc *map, const char *key, uint64_t n)
{
    return doc_set(arena, map, key, doc_new_int(arena, n > INT64_MAX ? INT64_MAX : (int64_t)n));
}

static bool set_time(struct arena *arena, struct doc *map, const char *key, int64_t ns)
{
    char text[TIME_TEXT_BYTES];
    if (!ns) return true;
    time_format(ns, text);
    return set_str(arena, map, key, str_of(text));
}

/* Whole seconds, as Kubernetes writes times of its own. */
static bool set_now(struct status *s, struct doc *map, const char *key)
{
    int64_t now = context_wall_ns(s->service->context);
    return set_time(&s->arena, map, key, now - now % TIME_NS_PER_S);
}

static bool set_decimal(struct arena *arena, struct doc *map, const char *key, int64_t ns)
{
    struct doc *value = doc_new(arena, DOC_NUMBER);
    char *text = value ? arena_printf(arena, "%lld.%02lld", (long long)(ns / 1000000),
                                      (long long)(ns % 1000000 / 10000))
                       : NULL;
    if (!text) return false;
    value->text = str_of(text);
    return doc_set(arena, map, key, value);
}

/* One condition in Kubernetes' form. Its time is that of the last change of its truth. */
struct condition {
    const char *type;
    bool is_true;
    const char *reason;
    struct str message;
};

static bool add_condition(struct status *s, struct doc *status, const struct resource *r,
                          const struct condition *c)
{
    struct arena *arena = &s->arena;
    struct doc *list = doc_new(arena, DOC_LIST), *map = doc_new(arena, DOC_MAP);
    const struct doc *before = doc_get(r->status, "conditions");
    const struct doc *old = before && before->count ? before->items[0].value : NULL;
    struct str truth = c->is_true ? STR("True") : STR("False");
    struct str since = doc_text(doc_get(old, "lastTransitionTime"));
    bool same = old && str_equal(doc_text(doc_get(old, "status")), truth) && since.size;
    return list && map && set_str(arena, map, "type", str_of(c->type)) &&
           set_str(arena, map, "status", truth) &&
           set_str(arena, map, "reason", str_of(c->reason)) &&
           set_str(arena, map, "message", c->message) &&
           (same ? set_str(arena, map, "lastTransitionTime", since)
                 : set_now(s, map, "lastTransitionTime")) &&
           doc_append(arena, list, map) && doc_set(arena, status, "conditions", list);
}

/* ---- telling ---- */

static bool is_fresh_key(struct str key)
{
    for (size_t i = 0; i < sizeof fresh_keys / sizeof fresh_keys[0]; i++)
        if (str_is(key, fresh_keys[i])) return true;
    return false;
}

static bool same_meaning(const struct doc *old, const struct doc *now)
{
    if (!old || old->count != now->count) return false;
    for (size_t i = 0; i < now->count; i++) {
        char key[64];
        if (is_fresh_key(now->items[i].key)) continue;
        if (!str_copy(key, sizeof key, now->items[i].key) ||
            !doc_equal(doc_get(old, key), now->items[i].value))
            return false;
    }
    return true;
}

static void tell(struct status *s, const struct resource *r, bool is_built, const struct doc *now)
{
    if (!is_built || !now) return; /* no memory: the next tick tries again */
    if (!s->is_refresh && same_meaning(r->status, now)) return;
    (void)registry_set_status(s->service->registry, r->kind, r->ns, r->name, now);
}

/* ---- connections and devices ---- */

static const struct connection_state {
    const char *name, *reason;
    bool is_ready;
} states[] = {
    [COLLECT_DISABLED] = {"disabled", "Disabled", false},
    [COLLECT_CONNECTING] = {"connecting", "Connecting", false},
    [COLLECT_CONNECTED] = {"connected", "Connected", true},
    [COLLECT_DOWN] = {"down", "Down", false},
};

static void use_connection(void *arg, const struct collect_connection_row *row)
{
    struct status *s = arg;
    struct arena *arena = &s->arena;
    const struct resource *r =
        registry_get(s->service->registry, KIND_CONNECTION, row->ns, row->name);
    struct doc *now = r ? doc_new(arena, DOC_MAP) : NULL;
    const struct connection_state *state = &states[row->state];
    if (!now) return;
    struct str since = doc_text(doc_get(r->status, "since")), error = str_of(row->last_error);
    bool same = str_is(doc_text(doc_get(r->status, "state")), state->name) && since.size;
    struct condition ready = {"Ready", state->is_ready, state->reason,
                              state->is_ready ? STR("") : error};
    bool ok = set_str(arena, now, "state", str_of(state->name)) &&
              (same ? set_str(arena, now, "since", since) : set_now(s, now, "since")) &&
              (!row->rtt_ns || set_decimal(arena, now, "roundTripMs", row->rtt_ns)) &&
              set_count(arena, now, "requests", row->requests) &&
              set_count(arena, now, "errors", row->errors) &&
              (!error.size || set_str(arena, now, "lastError", error)) &&
              (!error.size || set_time(arena, now, "lastErrorTime", row->last_error_time_ns)) &&
              add_condition(s, now, r, &ready);
    tell(s, r, ok, now);
}

static struct condition device_condition(const struct collect_device_row *row, char *text,
                                         size_t text_bytes)
{
    struct condition c = {"Ready", false, "NoData", STR("no reading yet")};
    if (!row->has_table) {
        c.reason = "NoTable";
        c.message = STR("its table does not exist yet");
    } else if (row->bad) {
        snprintf(text, text_bytes, "%zu of %zu points are bad", row->bad,
                 row->good + row->bad + row->waiting);
        c.reason = row->good ? "SomePointsBad" : "AllPointsBad";
        c.message = str_of(text);
    } else if (row->good) {
        c.is_true = true;
        c.reason = "Reading";
        c.message = STR("");
    }
    return c;
}

static void use_device(void *arg, const struct collect_device_row *row)
{
    struct status *s = arg;
    struct arena *arena = &s->arena;
    char text[80];
    const struct resource *r = registry_get(s->service->registry, KIND_DEVICE, row->ns, row->name);
    struct doc *now = r ? doc_new(arena, DOC_MAP) : NULL;
    if (!now) return;
    struct condition ready = device_condition(row, text, sizeof text);
    bool ok = set_time(arena, now, "lastRow", row->last_time_ns) &&
              set_count(arena, now, "good", row->good) && set_count(arena, now, "bad", row->bad) &&
              set_count(arena, now, "waiting", row->waiting) && add_condition(s, now, r, &ready);
    tell(s, r, ok, now);
}

/* ---- tables ---- */

static void count_part(void *arg, uint32_t table_id)
{
    struct status *s = arg;
    if (table_id < s->note_capacity) s->notes[table_id].parts++;
}

/* How many devices each table has is known; one walk over the parts counts those. */
static void count_series(struct status *s)
{
    struct store *store = s->service->store;
    struct store_table_list *tables = store_tables(store);
    for (size_t i = 0; i < s->note_capacity; i++) s->notes[i].devices = s->notes[i].parts = 0;
    for (uint32_t i = 0; i < store_table_count(tables); i++) {
        uint32_t id = store_table_at(tables, i)->table_id;
        size_t before = s->note_capacity;
        if (mem_grow(&s->notes, &s->note_capacity, id + 1, sizeof *s->notes)) break;
        for (; before < s->note_capacity; before++) s->notes[before] = (struct table_note){0};
        s->notes[id].devices = store_table_series(tables, i);
    }
    store_tables_release(tables);
    store_each_part(store, count_part, s);
}

/* Whether the document fits is asked again only when it or the table is another: tables may have
 * thousands of columns. */
static bool add_applied(struct status *s, struct doc *status, const struct resource *r,
                        const struct schema *schema)
{
    struct table_note *note =
        schema->table_id < s->note_capacity ? &s->notes[schema->table_id] : NULL;
    const struct doc *before = doc_get(r->status, "conditions");
    if (note && before && note->revision == schema->revision && note->generation == r->generation)
        return doc_set(&s->arena, status, "conditions", doc_copy(&s->arena, before));
    struct problems problems;
    problems_init(&problems, &s->arena);
    s->service->check_table(s->service->node, r, &problems);
    const struct problem *p = problems.first;
    struct condition applied = {"Applied", !p, p ? "DocumentDiffers" : "Applied",
                                p ? str_of(p->text) : STR("")};
    if (note) note->revision = schema->revision;
    if (note) note->generation = r->generation;
    return add_condition(s, status, r, &applied);
}

static void use_table(struct status *s, const struct resource *r)
{
    struct arena *arena = &s->arena;
    char name[SCHEMA_NAME_BYTES_MAX + 1];
    struct doc *now = doc_new(arena, DOC_MAP);
    table_sql_name(r, name);
    struct schema *schema = store_find_table(s->service->store, r->ns, str_of(name));
    if (!schema || !now) {
        schema_release(schema);
        return;
    }
    static const struct table_note nothing = {0};
    const struct table_note *note =
        schema->table_id < s->note_capacity ? &s->notes[schema->table_id] : &nothing;
    bool ok = set_count(arena, now, "columns", schema->column_count) &&
              set_count(arena, now, "devices", note->devices) &&
              set_count(arena, now, "parts", note->parts) && add_applied(s, now, r, schema);
    schema_release(schema);
    tell(s, r, ok, now);
}

/* ---- streams ---- */

static void use_stream(struct status *s, const struct stream *stream)
{
    struct arena *arena = &s->arena;
    const struct resource *r =
        registry_get(s->service->registry, KIND_STREAM, str_of(stream->ns), str_of(stream->name));
    struct doc *now = r ? doc_new(arena, DOC_MAP) : NULL;
    struct str error = str_of(stream->last_error);
    if (!now || r->generation != stream->generation) return;
    bool ok = set_count(arena, now, "messages", stream->messages) &&
              set_count(arena, now, "rows", stream->rows) &&
              set_count(arena, now, "refused", stream->refused) &&
              (!error.size || set_str(arena, now, "lastError", error)) &&
              set_time(arena, now, "lastErrorTime", stream->last_error_ns);
    tell(s, r, ok, now);
}

static void use_streams(struct status *s)
{
    const struct stream *stream = NULL;
    while ((stream = streams_next(s->service->streams, stream))) use_stream(s, stream);
}

/* ---- sinks ---- */

static void use_sink(void *arg, const struct sink_row *sink)
{
    struct status *s = arg;
    struct arena *arena = &s->arena;
    const struct resource *r = registry_get(s->service->registry, KIND_SINK, sink->ns, sink->name);
    struct doc *now = r ? doc_new(arena, DOC_MAP) : NULL;
    if (!now || r->generation != sink->generation) return;
    bool ok = set_str(arena, now, "state", str_of(sink_state_name(sink->state))) &&
              set_count(arena, now, "position", sink->position) &&
              set_count(arena, now, "lagSeconds", (uint64_t)(sink->lag_ns / TIME_NS_PER_S)) &&
              set_count(arena, now, "sent", sink->rows) &&
              set_count(arena, now, "messages", sink->messages) &&
              set_count(arena, now, "skipped", sink->skipped) &&
              set_count(arena, now, "failures", sink->failures) &&
              (!sink->error.size || set_str(arena, now, "lastError", sink->error)) &&
              set_time(arena, now, "lastErrorTime", sink->error_ns);
    tell(s, r, ok, now);
}

/* ---- bridges ---- */

/* The broker lives on another task: it is asked, and the answer may come when the status is gone.
 */
struct look {
    struct broker_inspect inspect; /* first */
    struct status *status;         /* NULL: nobody waits any more */
};

static struct condition bridge_condition(const struct broker_bridge_row *row)
{
    static const char *const reasons[] = {[BRIDGE_DISABLED] = "Disabled",
                                          [BRIDGE_WAITING] = "Down",
                                          [BRIDGE_CONNECTING] = "Connecting",
                                          [BRIDGE_CONNECTED] = "Connected"};
    struct condition c = {"Ready", row->state == BRIDGE_CONNECTED && !row->is_refused,
                          reasons[row->state], STR("")};
    if (row->state == BRIDGE_CONNECTED && row->is_refused) c.reason = "Refused";
    if (!c.is_true) c.message = row->error;
    return c;
}

static void use_bridge(struct status *s, const struct resource *r,
                       const struct broker_bridge_row *row)
{
    struct arena *arena = &s->arena;
    struct doc *now = doc_new(arena, DOC_MAP);
    struct condition ready = bridge_condition(row);
    int64_t error_ns = row->error.size ? row->error_ns : 0;
    bool ok = now && set_str(arena, now, "state", str_of(bridge_state_name(row->state))) &&
              set_time(arena, now, "since", row->since_ns) &&
              set_count(arena, now, "queued", row->queued) &&
              set_count(arena, now, "queuedBytes", row->queued_bytes) &&
              set_count(arena, now, "oldestSeconds", (uint64_t)(row->oldest_ns / TIME_NS_PER_S)) &&
              set_count(arena, now, "inFlight", row->in_flight) &&
              set_count(arena, now, "sent", row->sent) &&
              set_count(arena, now, "received", row->received) &&
              set_count(arena, now, "dropped", row->dropped) &&
              (!row->error.size || set_str(arena, now, "lastError", row->error)) &&
              set_time(arena, now, "lastErrorTime", error_ns) && add_condition(s, now, r, &ready);
    tell(s, r, ok, now);
    sinks_note_bridge(s->service->sinks, r->ns, r->name, row->queued);
}

/* The document of a row, which may have gone meanwhile; shared, since telling replaces it. */
static struct resource *find_bridge(const struct status *s, const struct broker_bridge_row *row)
{
    struct resource *r =
        row->ns.size ? registry_get(s->service->registry, KIND_BRIDGE, row->ns, row->name) : NULL;
    return r ? resource_share(r) : NULL;
}

static void on_looked(struct completion *c)
{
    struct look *look = (struct look *)c;
    struct status *s = look->status;
    for (size_t i = 0; s && !c->err && i < look->inspect.bridges.count; i++) {
        const struct broker_bridge_row *row = look->inspect.bridges.at[i];
        struct resource *r = find_bridge(s, row);
        if (r) use_bridge(s, r, row);
        resource_release(r);
    }
    if (s) s->look = NULL;
    broker_inspect_free(&look->inspect);
    mem_free(look);
}

static void look_at_bridges(struct status *s)
{
    struct service *service = s->service;
    size_t at = 0;
    if (s->look || !service->broker || !registry_next(service->registry, KIND_BRIDGE, &at)) return;
    struct look *look = mem_alloc_zero(1, sizeof *look);
    struct identity *node = look ? identity_new("node", "admin") : NULL;
    if (!node) {
        mem_free(look); /* the next second tries again */
        return;
    }
    look->status = s;
    look->inspect.looks = BROKER_BRIDGES;
    look->inspect.identity = node;
    arena_init(&look->inspect.arena, NULL);
    completion_init(&look->inspect.completion, service->context->main, on_looked);
    s->look = look;
    broker_inspect(service->broker, &look->inspect);
}

/* ---- this node ---- */

static void use_node(struct status *s)
{
    struct service *service = s->service;
    struct arena *arena = &s->arena;
    const struct resource *r =
        registry_get(service->registry, KIND_NODE, STR(""), str_of(service->node_document));
    struct doc *now = r ? doc_new(arena, DOC_MAP) : NULL, *positions = doc_new(arena, DOC_MAP);
    if (!now || !positions) return;
    const struct budget *memory = &service->context->memory;
    struct store_positions p = store_positions(service->store);
    struct condition ready = {"Ready", service->ready, service->ready ? "Running" : "Starting",
                              STR("")};
    struct str address = str_of(service->https_url[0] ? service->https_url : service->http_url);
    int64_t up_ns = context_mono_ns(service->context) - service->started_ns;
    struct buf uptime = BUF_EMPTY;
    buf_add_duration(&uptime, up_ns - up_ns % TIME_NS_PER_S);
    bool ok = set_str(arena, now, "version", STR(MILLRACE_VERSION)) &&
              set_str(arena, now, "tier", STR("edge")) && set_str(arena, now, "address", address) &&
              set_str(arena, now, "path", service->node_path.at ? service->node_path : STR("")) &&
              set_str(arena, now, "uptime", buf_str(&uptime)) &&
              set_count(arena, now, "memoryUsed", atomic_load(&memory->used_bytes)) &&
              set_count(arena, now, "memoryLimit", memory->limit_bytes) &&
              set_count(arena, positions, "appended", p.appended) &&
              set_count(arena, positions, "applied", p.applied) &&
              set_count(arena, positions, "durable", p.durable) &&
              doc_set(arena, now, "positions", positions) && add_condition(s, now, r, &ready);
    buf_free(&uptime);
    tell(s, r, ok, now);
}

/* ---- each second ---- */

/* Tokens run out without a change of any document: what is open under them is looked at here. */
static void recheck(struct status *s)
{
    resources_recheck(s->service->resources);
    live_recheck(s->service->live);
}

static void use_tables(struct status *s)
{
    s->service->publish_tables(s->service->node);
    count_series(s);
    size_t count = 0, at = 0;
    while (registry_next(s->service->registry, KIND_TABLE, &at)) count++;
    struct resource **tables = arena_alloc(&s->arena, (count + 1) * sizeof *tables);
    at = count = 0;
    if (!tables) return;
    /* Shares: telling replaces what stands in the registry. */
    for (struct resource *r; (r = registry_next(s->service->registry, KIND_TABLE, &at));)
        tables[count++] = resource_share(r);
    for (size_t i = 0; i < count; i++) {
        use_table(s, tables[i]);
        resource_release(tables[i]);
    }
}

/* Once a second, then in slices until every device was looked at. */
static void tick(void *arg)
{
    struct status *s = arg;
    struct service *service = s->service;
    bool begins = s->walk.line == 0 && s->walk.device == 0;
    if (begins) {
        s->is_refresh = s->ticks % REFRESH_TICKS == 0;
        recheck(s);
        collect_each_connection(service->collect, use_connection, s);
        /* Tables change with what is written: every ten seconds, and soon after the start. */
        if (s->is_refresh || s->ticks == 1) use_tables(s);
        use_streams(s);
        sinks_each(service->sinks, use_sink, s);
        use_node(s);
        look_at_bridges(s);
        if (login_lines_tick(&service->login_lines, service->audit,
                             context_mono_ns(service->context)))
            diag(service->context, DIAG_ERROR, "status", "the audit log takes no lines");
        (void)audit_rate_tick(&service->refusals, service->audit,
                              context_mono_ns(service->context));
        s->ticks++;
    }
    bool more = collect_walk_devices(service->collect, &s->walk, SLICE_POINTS, use_device, s);
    arena_reset(&s->arena);
    service->context->os->ops->timer_set(s->timer, more ? SLICE_NS : TICK_NS);
}

enum err status_start(struct service *service, struct status **out, struct why *why)
{
    const struct os_ops *ops = service->context->os->ops;
    struct status *s = mem_alloc_zero(1, sizeof *s);
    if (!s) return ERR_NO_MEMORY;
    s->service = service;
    arena_init(&s->arena, NULL);
    enum err err = ops->timer_make(service->context->main->task, tick, s, &s->timer);
    if (err) {
        mem_free(s);
        return why_set(why, err, "status: cannot make a timer");
    }
    ops->timer_set(s->timer, TICK_NS / 10);
    *out = s;
    return ERR_OK;
}

void status_stop(struct status *s)
{
    if (!s) return;
    (void)login_lines_flush(&s->service->login_lines, s->service->audit);
    (void)audit_rate_flush(&s->service->refusals, s->service->audit);
    s->service->context->os->ops->timer_close(s->timer);
    if (s->look) s->look->status = NULL;
    arena_free(&s->arena);
    mem_free(s->notes);
    mem_free(s);
}
