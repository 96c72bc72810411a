/* live.c - see live.h.
 *
 * The store tells of applied batches on the log task; while nobody looks that costs one relaxed
 * load. Else the batch is shared and posted to the main loop, at most LIVE_BATCHES_MAX at a time:
 * the log task never waits for a viewer. */
#include "listeners/live.h"
#include "base/map.h"
#include "base/timetext.h"
#include "listeners/api.h"
#include "listeners/sessions.h"
#include <string.h>

enum {
    VIEWERS_MAX = 64,
    FILTERS_MAX = 1000,
    LIVE_BATCHES_MAX = 256,
    LIVE_QUEUE_BYTES = 1024 * 1024
};

struct filter {
    struct str device, table;     /* "" = any */
    struct field_strings columns; /* none = all */
};

struct viewer {
    struct viewer *next;
    struct live *live;
    struct websocket *socket;
    struct identity *identity;
    struct session session;
    char peer[OS_HOST_BYTES + 8];
    bool everything;
    size_t filter_count;
    struct filter *filters;
    struct arena arena; /* of the filters */
    struct map by_name; /* "DEVICE\0TABLE", each may be "" → the first such filter */
    uint64_t dropped;
    bool busy, closed; /* the socket may close inside a send: then show() frees, not on_closed */
};

struct live {
    struct service *service;
    struct viewer *viewers; /* main loop */
    _Atomic uint32_t viewer_count;
    _Atomic uint32_t under_way; /* batches posted */
};

struct delivery {
    struct job job; /* first */
    struct live *live;
    struct batch *batch;
};

/* ---- rows as JSON ---- */

static bool wants_column(const struct filter *filter, const char *name)
{
    if (!filter || filter->columns.count == 0) return true;
    for (size_t i = 0; i < filter->columns.count; i++)
        if (str_is(filter->columns.items[i], name)) return true;
    return false;
}

static void add_cell(struct buf *out, const struct column *column, const struct value *value)
{
    char scratch[12];
    if (value->is_null && value->quality == QUALITY_NO_DATA) return;
    buf_add_char(out, ',');
    buf_add_json(out, str_of(column->name));
    buf_add_char(out, ':');
    value_add_json(out, value);
    if (value->quality == QUALITY_GOOD) return;
    struct buf key = BUF_EMPTY;
    buf_printf(&key, "%s@q", column->name);
    buf_add_char(out, ',');
    buf_add_json(out, buf_str(&key));
    buf_printf(out, ":\"%s\"", quality_name(value->quality, scratch));
    buf_free(&key);
}

static void add_row(struct buf *out, const struct batch *batch, uint32_t row,
                    const struct filter *filter)
{
    buf_add_text(out, out->size > 9 ? ",{\"table\":" : "{\"table\":");
    buf_add_json(out, str_of(batch->schema->name));
    buf_add_text(out, ",\"device\":");
    buf_add_json(out, batch->devices[batch->device[row]].path);
    buf_add_text(out, ",\"time\":\"");
    buf_add_time(out, batch->time[row]);
    buf_add_char(out, '"');
    for (uint32_t c = 0; c < batch->column_count; c++) {
        const struct column *column = schema_column(batch->schema, batch->columns[c].id);
        struct value value = vector_get(&batch->columns[c].data, row);
        if (column && wants_column(filter, column->name)) add_cell(out, column, &value);
    }
    buf_add_char(out, '}');
}

/* Of a table that may be seen in part: is the device allowed? */
static bool may_see(const struct viewer *v, const struct batch *batch, uint32_t device)
{
    return access_check(v->identity, VERB_QUERY, "Table", str_of(batch->schema->ns),
                        str_of(batch->schema->name), batch->devices[device].path, NULL) == ERR_OK;
}

static struct str name_key(struct buf *key, struct str device, struct str table)
{
    buf_clear(key);
    buf_add_str(key, device);
    buf_add_char(key, 0);
    buf_add_str(key, table);
    return buf_str(key);
}

/* The first that fits, in the order in which they were given. There may be a thousand of them, and
 * this is the main loop: so they are found by name. */
static const struct filter *find_filter(const struct viewer *v, const struct batch *batch,
                                        uint32_t device)
{
    struct str path = batch->devices[device].path, table = str_of(batch->schema->name);
    const struct str names[][2] = {
        {path, table}, {path, STR("")}, {STR(""), table}, {STR(""), STR("")}};
    const struct filter *first = NULL;
    struct buf key = BUF_EMPTY;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct str name = name_key(&key, names[i][0], names[i][1]);
        const struct filter *found = buf_failed(&key) ? NULL : map_get(&v->by_name, name);
        if (found && (!first || found < first)) first = found;
    }
    buf_free(&key);
    return first;
}

/* What of a device's rows is shown. */
struct choice {
    bool is_known, is_shown;
    const struct filter *filter; /* NULL = all columns */
};

static struct choice choose(const struct viewer *v, const struct batch *batch, uint32_t device,
                            enum access_scope scope)
{
    struct choice c = {.is_known = true};
    c.filter = v->everything ? NULL : find_filter(v, batch, device);
    c.is_shown = (v->everything || c.filter) && (scope == ACCESS_ALL || may_see(v, batch, device));
    return c;
}

/* Adds the rows that the viewer wants and may see, and gives their number. Each device is judged
 * once, if there is memory to remember it. */
static uint64_t add_rows(const struct viewer *v, const struct batch *batch, enum access_scope scope,
                         struct buf *out)
{
    struct choice *choices = mem_alloc_zero(batch->device_count + 1, sizeof *choices), other;
    uint64_t rows = 0;
    for (uint32_t row = 0; row < batch->row_count; row++) {
        struct choice *c = choices ? &choices[batch->device[row]] : &other;
        if (!choices || !c->is_known) *c = choose(v, batch, batch->device[row], scope);
        if (!c->is_shown) continue;
        add_row(out, batch, row, c->filter);
        rows++;
    }
    mem_free(choices);
    return rows;
}

static void send_dropped(struct viewer *v)
{
    struct buf out = BUF_EMPTY;
    buf_printf(&out, "{\"dropped\":%llu}", (unsigned long long)v->dropped);
    if (websocket_send(v->socket, true, buf_str(&out), LIVE_QUEUE_BYTES)) v->dropped = 0;
    buf_free(&out);
}

static void free_viewer(struct viewer *v)
{
    identity_release(v->identity);
    map_free(&v->by_name);
    arena_free(&v->arena);
    mem_free(v);
}

static void show_rows(struct viewer *v, const struct batch *batch)
{
    struct buf out = BUF_EMPTY;
    uint64_t rows = 0;
    if (!v->everything && !v->filter_count) return;
    enum access_scope scope = access_scope(v->identity, VERB_QUERY, "Table",
                                           str_of(batch->schema->ns), str_of(batch->schema->name));
    if (scope == ACCESS_NONE) return;
    if (v->dropped) send_dropped(v);
    if (v->closed) return;
    buf_add_text(&out, "{\"rows\":[");
    rows = add_rows(v, batch, scope, &out);
    buf_add_text(&out, "]}");
    bool sent = rows == 0 || (!buf_failed(&out) &&
                              websocket_send(v->socket, true, buf_str(&out), LIVE_QUEUE_BYTES));
    if (!sent) {
        v->dropped += rows;
        metric_add(v->live->service->context, METRIC_LIVE_DROPPED, rows);
    }
    buf_free(&out);
}

static void show(struct viewer *v, const struct batch *batch)
{
    v->busy = true;
    show_rows(v, batch);
    v->busy = false;
    if (v->closed) free_viewer(v);
}

/* ---- from the log task to the viewers ---- */

static void deliver(struct job *job) /* main loop */
{
    struct delivery *d = (struct delivery *)job;
    for (struct viewer *v = d->live->viewers, *next; v; v = next) {
        next = v->next; /* a send may close the socket */
        show(v, d->batch);
    }
    atomic_fetch_sub(&d->live->under_way, 1);
    batch_release(d->batch);
    mem_free(d);
}

static void on_applied(void *arg, struct batch *batch) /* log task */
{
    struct live *live = arg;
    if (atomic_load_explicit(&live->viewer_count, memory_order_relaxed) == 0) return;
    struct delivery *d = NULL;
    if (atomic_load(&live->under_way) < LIVE_BATCHES_MAX) d = mem_alloc_zero(1, sizeof *d);
    if (!d) {
        metric_add(live->service->context, METRIC_LIVE_DROPPED, batch->row_count);
        return;
    }
    *d = (struct delivery){.job.run = deliver, .live = live, .batch = batch_share(batch)};
    atomic_fetch_add(&live->under_way, 1);
    loop_post(live->service->context->main, &d->job);
}

/* ---- viewers ---- */

static enum err read_filter(struct viewer *v, const struct doc *doc, struct filter *filter,
                            struct why *why)
{
    const struct doc *columns = doc_get(doc, "columns");
    filter->device = doc_text(doc_get(doc, "device"));
    filter->table = doc_text(doc_get(doc, "table"));
    if (!columns) return ERR_OK;
    if (columns->kind != DOC_LIST)
        return why_set(why, ERR_INVALID, "subscribe: columns must be a list");
    filter->columns.items = arena_alloc(&v->arena, columns->count * sizeof *filter->columns.items);
    if (!filter->columns.items) return ERR_NO_MEMORY;
    for (size_t i = 0; i < columns->count; i++)
        filter->columns.items[filter->columns.count++] = doc_text(columns->items[i].value);
    return ERR_OK;
}

static enum err index_filter(struct viewer *v, struct filter *filter)
{
    struct buf key = BUF_EMPTY;
    struct str name = name_key(&key, filter->device, filter->table);
    enum err err = buf_failed(&key) ? ERR_NO_MEMORY : ERR_OK;
    if (!err && !map_get(&v->by_name, name)) err = map_put(&v->by_name, name, filter, NULL);
    buf_free(&key);
    return err;
}

static enum err subscribe(struct viewer *v, struct str message, struct why *why)
{
    struct doc *doc = NULL;
    v->everything = false;
    v->filter_count = 0;
    map_free(&v->by_name);
    arena_free(&v->arena);
    enum err err = doc_read_json(message, &v->arena, &doc, why);
    if (err) return err;
    const struct doc *list = doc_get(doc, "subscribe");
    if (list && str_is(doc_text(list), "*")) {
        v->everything = true;
        return ERR_OK;
    }
    if (!list || list->kind != DOC_LIST || list->count > FILTERS_MAX)
        return why_set(
            why, ERR_INVALID,
            "send {\"subscribe\": \"*\"} or a list of at most %d {device, table, columns}",
            FILTERS_MAX);
    v->filters = arena_zero(&v->arena, list->count, sizeof *v->filters);
    if (!v->filters) return ERR_NO_MEMORY;
    for (size_t i = 0; i < list->count && !err; i++)
        err = read_filter(v, list->items[i].value, &v->filters[i], why);
    for (size_t i = 0; i < list->count && !err; i++) err = index_filter(v, &v->filters[i]);
    if (!err) v->filter_count = list->count;
    return err;
}

static void on_message(void *owner, bool is_text, struct str message)
{
    struct viewer *v = owner;
    struct why why = WHY_NONE;
    enum err err =
        is_text ? subscribe(v, message, &why) : why_set(&why, ERR_INVALID, "send text messages");
    struct buf out = BUF_EMPTY;
    if (err) {
        buf_printf(&out, "{\"error\":{\"code\":\"%s\",\"message\":", err_name(err));
        buf_add_json(&out, str_of(why_text(&why, err)));
        buf_add_text(&out, "}}");
    } else {
        buf_add_text(&out, "{\"subscribed\":true}");
    }
    (void)websocket_send(v->socket, true, buf_str(&out), LIVE_QUEUE_BYTES);
    buf_free(&out);
}

static void on_closed(void *owner)
{
    struct viewer *v = owner, **at = &v->live->viewers;
    while (*at && *at != v) at = &(*at)->next;
    MUST(*at == v && atomic_load(&v->live->viewer_count) > 0);
    *at = v->next;
    session_remove(&v->session);
    atomic_fetch_sub(&v->live->viewer_count, 1);
    v->closed = true;
    if (!v->busy) free_viewer(v);
}

static const struct websocket_events events = {.on_message = on_message, .on_closed = on_closed};

static void describe(const struct session *session, struct session_row *row)
{
    const struct viewer *v =
        (const void *)((const char *)session - offsetof(struct viewer, session));
    *row = (struct session_row){.user = str_of(v->identity->user), .address = str_of(v->peer)};
}

void api_live(struct http_exchange *exchange, void *arg)
{
    struct service *service = arg;
    struct live *live = service->live;
    struct why why = WHY_NONE;
    struct viewer *v = NULL;
    if (atomic_load(&live->viewer_count) >= VIEWERS_MAX) {
        why_set(&why, ERR_BUSY, "%d live views are open already", VIEWERS_MAX);
        http_reply_error(exchange, ERR_BUSY, &why);
        return;
    }
    if (!(v = mem_alloc_zero(1, sizeof *v))) {
        http_reply_error(exchange, ERR_NO_MEMORY, NULL);
        return;
    }
    v->live = live;
    v->identity = identity_share(api_identity(exchange));
    (void)str_copy(v->peer, sizeof v->peer, str_of(http_request_of(exchange)->peer));
    arena_init(&v->arena, NULL);
    map_init(&v->by_name);
    v->socket = websocket_accept(exchange, &events, v);
    if (!v->socket) {
        identity_release(v->identity);
        mem_free(v);
        return;
    }
    v->next = live->viewers;
    live->viewers = v;
    session_add(service, &v->session, "live", describe);
    atomic_fetch_add(&live->viewer_count, 1);
}

/* RFC 6455 section 7.4.1: 1008 = against the policy. */
enum { CLOSE_POLICY = 1008 };

void live_recheck(struct live *live)
{
    struct viewer *next;
    for (struct viewer *v = live->viewers; v; v = next) {
        next = v->next;
        struct identity *now = access_renew(live->service->access, v->identity);
        if (now) {
            identity_release(v->identity);
            v->identity = now;
        } else {
            websocket_close(v->socket, CLOSE_POLICY, "the login holds no longer");
        }
    }
}

enum err live_start(struct service *service, struct live **out, struct why *why)
{
    (void)why;
    struct live *live = mem_alloc_zero(1, sizeof *live);
    if (!live) return ERR_NO_MEMORY;
    live->service = service;
    store_listen(service->store, on_applied, live);
    *out = live;
    return ERR_OK;
}

void live_stop(struct live *live)
{
    if (!live) return;
    MUST(atomic_load(&live->under_way) == 0 && !live->viewers);
    mem_free(live);
}
