/* live.c - see live.h.
 *
 * The store tells of applied batches on the log task; while nobody looks that costs one relaxed
 * load. Else the batch is shared and posted to the main loop, at most LIVE_BATCHES_MAX at a time:
 * the log task never waits for a viewer. The main loop shows the oldest batch to one viewer after
 * the other, in messages of a bounded size, for a few milliseconds a turn: what else it has to do
 * waits no longer, however many look on. */
#include "listeners/live.h"
#include "base/timetext.h"
#include "listeners/api.h"
#include "listeners/live_wish.h"
#include "listeners/sessions.h"
#include <string.h>

enum {
    VIEWERS_MAX = 64,
    LIVE_BATCHES_MAX = 256,
    LIVE_QUEUE_BYTES = 1024 * 1024,
    PIECE_BYTES = 64 * 1024, /* a message ends behind the row that brings it to this … */
    PIECE_ROWS = 1024,       /* … or when so many were looked at */
};
#define TURN_NS (4 * TIME_NS_PER_MS)

struct viewer {
    struct viewer *next;
    struct live *live;
    struct websocket *socket;
    struct identity *identity;
    struct session session;
    char peer[OS_HOST_BYTES + 8];
    struct live_wishes wishes;
    uint64_t shown;    /* the number of the last batch that it has seen as a whole */
    uint32_t at;       /* rows of the next one that it has seen */
    uint64_t dropped;  /* rows that it has missed, and does not know of */
    bool busy, closed; /* the socket may close inside a send: then show() frees, not on_closed */
};

struct live {
    struct service *service;
    struct viewer *viewers; /* main loop, as the queue */
    struct delivery *first, **last;
    uint64_t number; /* of the last batch in the queue */
    struct job turn;
    bool is_posted;
    _Atomic uint32_t viewer_count;
    _Atomic uint32_t under_way; /* batches posted, or in the queue */
    _Atomic uint64_t missed;    /* rows of batches that could not be */
};

struct delivery {
    struct job job; /* first */
    struct live *live;
    struct batch *batch;
    struct delivery *next; /* behind it in the queue */
    uint64_t number;
};

/* ---- rows as JSON ---- */

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
                    const struct live_wish *wish)
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
        if (column && (!wish || live_wish_has(wish, column->name))) add_cell(out, column, &value);
    }
    buf_add_char(out, '}');
}

/* Of a table that may be seen in part: is this row's device allowed? */
static bool may_see(const struct viewer *v, const struct batch *batch, uint32_t row)
{
    return access_check(v->identity, VERB_QUERY, "Table", str_of(batch->schema->ns),
                        str_of(batch->schema->name), batch->devices[batch->device[row]].path,
                        NULL) == ERR_OK;
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
    live_wishes_free(&v->wishes);
    mem_free(v);
}

/* Outside of show(): a send may close the socket. */
static void tell_dropped(struct viewer *v)
{
    v->busy = true;
    send_dropped(v);
    v->busy = false;
    if (v->closed) free_viewer(v);
}

static bool has_wishes(const struct viewer *v)
{
    return v->wishes.everything || v->wishes.count;
}

/* Rows from v->at on, as many as go into a message. Gives how many there are in it. */
static uint64_t make_piece(struct viewer *v, const struct batch *batch, enum access_scope scope,
                           struct buf *out)
{
    uint32_t end = batch->row_count - v->at > PIECE_ROWS ? v->at + PIECE_ROWS : batch->row_count;
    const struct live_wish *wish = NULL;
    uint32_t device = UINT32_MAX; /* whose it is */
    uint64_t rows = 0;
    bool is_seen = false;
    for (; v->at < end && out->size < PIECE_BYTES; v->at++) {
        if (batch->device[v->at] != device) {
            device = batch->device[v->at];
            if (!v->wishes.everything)
                wish = live_wishes_find(&v->wishes, batch->devices[device].path,
                                        str_of(batch->schema->name));
            is_seen = (v->wishes.everything || wish) &&
                      (scope != ACCESS_SOME || may_see(v, batch, v->at));
        }
        if (!is_seen) continue;
        add_row(out, batch, v->at, wish);
        rows++;
    }
    return rows;
}

/* True: the viewer has seen all of the batch, or cannot. */
static bool show_piece(struct viewer *v, const struct batch *batch)
{
    struct buf out = BUF_EMPTY;
    if (!has_wishes(v)) return true;
    enum access_scope scope = access_scope(v->identity, VERB_QUERY, "Table",
                                           str_of(batch->schema->ns), str_of(batch->schema->name));
    if (scope == ACCESS_NONE) return true;
    if (v->dropped) send_dropped(v);
    if (v->closed) return true;
    buf_add_text(&out, "{\"rows\":[");
    uint64_t rows = make_piece(v, batch, scope, &out);
    buf_add_text(&out, "]}");
    bool sent = rows == 0 || (!buf_failed(&out) &&
                              websocket_send(v->socket, true, buf_str(&out), LIVE_QUEUE_BYTES));
    if (!sent) {
        v->dropped += rows;
        metric_add(v->live->service->context, METRIC_LIVE_DROPPED, rows);
    }
    buf_free(&out);
    return v->closed || v->at == batch->row_count;
}

/* False: the time is over before all was shown. */
static bool show(struct viewer *v, const struct delivery *d, int64_t until_ns)
{
    bool is_done = false, is_over = false;
    v->busy = true;
    while (!is_done && !is_over) {
        is_done = show_piece(v, d->batch);
        is_over = context_mono_ns(v->live->service->context) >= until_ns;
    }
    v->busy = false;
    if (is_done) v->at = 0;
    if (is_done) v->shown = d->number;
    if (v->closed) free_viewer(v);
    return is_done;
}

/* ---- from the log task to the viewers ---- */

/* What all have missed is told each; which of it they would have seen, nobody knows. */
static void tell_missed(struct live *live)
{
    uint64_t missed = atomic_exchange(&live->missed, 0);
    for (struct viewer *v = missed ? live->viewers : NULL, *next; v; v = next) {
        next = v->next;
        if (!has_wishes(v)) continue;
        v->dropped += missed;
        tell_dropped(v); /* may free it */
    }
}

static void remove_first(struct live *live)
{
    struct delivery *d = live->first;
    live->first = d->next;
    if (!live->first) live->last = &live->first;
    atomic_fetch_sub(&live->under_way, 1);
    batch_release(d->batch);
    mem_free(d);
}

static void post_turn(struct live *live)
{
    if (live->is_posted) return;
    live->is_posted = true;
    loop_post(live->service->context->main, &live->turn);
}

static void run_turn(struct job *job) /* main loop */
{
    struct live *live = (void *)((char *)job - offsetof(struct live, turn));
    int64_t until = context_mono_ns(live->service->context) + TURN_NS;
    live->is_posted = false;
    tell_missed(live);
    while (live->first) {
        bool in_time = true;
        for (struct viewer *v = live->viewers, *next; v && in_time; v = next) {
            next = v->next; /* a send may close the socket */
            if (v->shown >= live->first->number) continue;
            bool is_done = show(v, live->first, until);
            in_time = is_done && context_mono_ns(live->service->context) < until;
        }
        if (!in_time) break;
        remove_first(live);
    }
    if (live->first) post_turn(live); /* behind what else there is to do */
}

static void deliver(struct job *job) /* main loop */
{
    struct delivery *d = (struct delivery *)job;
    struct live *live = d->live;
    d->number = ++live->number;
    d->next = NULL;
    *live->last = d;
    live->last = &d->next;
    post_turn(live);
}

static void on_applied(void *arg, struct batch *batch) /* log task */
{
    struct live *live = arg;
    if (atomic_load_explicit(&live->viewer_count, memory_order_relaxed) == 0) return;
    struct delivery *d = NULL;
    if (atomic_load(&live->under_way) < LIVE_BATCHES_MAX) d = mem_alloc_zero(1, sizeof *d);
    if (!d) {
        metric_add(live->service->context, METRIC_LIVE_DROPPED, batch->row_count);
        atomic_fetch_add(&live->missed, batch->row_count);
        return;
    }
    *d = (struct delivery){.job.run = deliver, .live = live, .batch = batch_share(batch)};
    atomic_fetch_add(&live->under_way, 1);
    loop_post(live->service->context->main, &d->job);
}

/* ---- viewers ---- */

static void on_message(void *owner, bool is_text, struct str message)
{
    struct viewer *v = owner;
    struct why why = WHY_NONE;
    enum err err = is_text ? live_wishes_read(&v->wishes, message, &why)
                           : why_set(&why, ERR_INVALID, "send text messages");
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

/* Who was too slow is told at once, whether there is more to show or not. */
static void on_drained(void *owner)
{
    struct viewer *v = owner;
    if (v->dropped && !v->busy) tell_dropped(v);
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

static const struct websocket_events events = {
    .on_message = on_message, .on_drained = on_drained, .on_closed = on_closed};

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
    live_wishes_init(&v->wishes);
    v->shown = live->number;
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
    live->last = &live->first;
    live->turn.run = run_turn;
    store_listen(service->store, on_applied, live);
    *out = live;
    return ERR_OK;
}

void live_stop(struct live *live)
{
    if (!live) return;
    MUST(atomic_load(&live->under_way) == 0 && !live->viewers && !live->is_posted);
    mem_free(live);
}
