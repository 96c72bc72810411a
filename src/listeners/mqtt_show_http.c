/* mqtt_show_http.c - GET /v1/mqtt/…: the broker's clients and retained messages as JSON.
 *
 * The broker's task takes the rows (mqtt/inspect.h) and leaves out what the asker may not see; here
 * they are written, in slices (slices.h). A list is cut at `limit` and then says `"more": true`. */
#include "base/num.h"
#include "base/timetext.h"
#include "listeners/api.h"
#include "listeners/slices.h"
#include "mqtt/inspect.h"
#include "mqtt/topic.h"
#include <inttypes.h>
#include <openssl/evp.h>

enum { ROWS_DEFAULT = 1000, ROWS_MAX = 100000 };

struct look {
    struct broker_inspect op; /* first */
    struct slices slices;     /* the answer, when there is no error */
    /* What stands before the rows, which are a list of op's, and one of them. */
    void (*begin)(const struct look *look, struct buf *out);
    const struct broker_list *rows;
    void (*add)(struct buf *out, const void *row);
    size_t next;
    bool wants_one;
};

static void add_text(struct buf *out, const char *key, struct str text)
{
    buf_printf(out, ",\"%s\":", key);
    if (text.size)
        buf_add_json(out, text);
    else
        buf_add_text(out, "null");
}

static void add_count(struct buf *out, const char *key, uint64_t n)
{
    buf_printf(out, ",\"%s\":%" PRIu64, key, n);
}

static void add_flag(struct buf *out, const char *key, bool flag)
{
    buf_printf(out, ",\"%s\":%s", key, flag ? "true" : "false");
}

static void add_time(struct buf *out, const char *key, int64_t ns)
{
    if (!ns) return;
    buf_printf(out, ",\"%s\":\"", key);
    buf_add_time(out, ns);
    buf_add_char(out, '"');
}

/* Without the closing brace. */
static void add_client(struct buf *out, const struct broker_client_row *c)
{
    static const char *const versions[] = {
        [MQTT_3_1] = "3.1", [MQTT_3_1_1] = "3.1.1", [MQTT_5] = "5.0"};
    buf_add_text(out, "{\"client\":");
    buf_add_json(out, c->client_id);
    add_text(out, "namespace", c->ns);
    add_text(out, "user", c->user);
    add_flag(out, "connected", c->is_connected);
    if (c->is_connected) {
        add_text(out, "peer", c->peer);
        add_text(out, "version", str_of(versions[c->version]));
        add_flag(out, "tls", c->is_tls);
        add_count(out, "keepAliveSeconds", c->keep_alive_s);
    }
    add_time(out, "since", c->since_ns);
    if (c->expiry_s == UINT32_MAX)
        buf_add_text(out, ",\"expirySeconds\":null");
    else
        add_count(out, "expirySeconds", c->expiry_s);
    add_count(out, "subscriptions", c->subscriptions);
    add_count(out, "queued", c->queued);
    add_count(out, "queuedBytes", c->queued_bytes);
    add_count(out, "inFlight", c->in_flight);
    add_count(out, "received", c->received);
    add_count(out, "sent", c->sent);
    add_count(out, "dropped", c->dropped);
    add_flag(out, "slow", c->is_slow);
}

static void begin_clients(const struct look *look, struct buf *out)
{
    (void)look;
    buf_add_text(out, "{\"clients\":[");
}

static void add_whole_client(struct buf *out, const void *row)
{
    add_client(out, row);
    buf_add_char(out, '}');
}

static void begin_client(const struct look *look, struct buf *out)
{
    MUST(look->op.clients.count == 1);
    add_client(out, look->op.clients.at[0]);
    buf_add_text(out, ",\"filters\":[");
}

static void add_subscription(struct buf *out, const void *row)
{
    const struct broker_subscription_row *s = row;
    buf_add_text(out, "{\"filter\":");
    buf_add_json(out, s->filter);
    add_count(out, "qos", s->qos);
    add_flag(out, "noLocal", s->no_local);
    add_flag(out, "retainAsPublished", s->retain_as_published);
    if (s->id) add_count(out, "identifier", s->id);
    buf_add_char(out, '}');
}

/* Text as text, other bytes in base64. */
static void add_payload(struct buf *out, struct str payload)
{
    if (mqtt_text_is_valid(payload)) {
        buf_add_text(out, ",\"payload\":");
        buf_add_json(out, payload);
        return;
    }
    buf_add_text(out, ",\"payload64\":\"");
    if (!buf_reserve(out, payload.size / 3 * 4 + 8)) return;
    out->size += (size_t)EVP_EncodeBlock((unsigned char *)out->at + out->size,
                                         (const unsigned char *)payload.at, (int)payload.size);
    buf_add_char(out, '"');
}

static void begin_retained(const struct look *look, struct buf *out)
{
    (void)look;
    buf_add_text(out, "{\"retained\":[");
}

static void add_retained(struct buf *out, const void *row)
{
    const struct broker_retained_row *m = row;
    buf_add_text(out, "{\"topic\":");
    buf_add_json(out, m->topic);
    add_count(out, "size", m->size_bytes);
    add_count(out, "qos", m->qos);
    add_time(out, "time", m->time_ns);
    if (m->payload.at) add_payload(out, m->payload);
    buf_add_char(out, '}');
}

static void begin_bans(const struct look *look, struct buf *out)
{
    (void)look;
    buf_add_text(out, "{\"bans\":[");
}

static void add_ban(struct buf *out, const void *row)
{
    const struct broker_ban_row *b = row;
    buf_printf(out, "{\"kind\":\"%s\"", b->is_client ? "client" : "address");
    add_text(out, "name", b->name);
    add_text(out, "user", b->user);
    add_text(out, "reason", b->is_client ? STR("lost connections") : STR("failed logins"));
    add_count(out, "count", b->count);
    add_time(out, "since", b->since_ns);
    add_time(out, "until", b->until_ns);
    buf_add_char(out, '}');
}

/* ---- asking ---- */

static bool write_slice(struct slices *slices)
{
    struct look *look = (void *)((char *)slices - offsetof(struct look, slices));
    struct buf *out = &slices->out;
    if (look->next == 0) look->begin(look, out);
    while (look->next < look->rows->count && out->size < SLICE_BYTES && !buf_failed(out)) {
        if (look->next) buf_add_char(out, ',');
        look->add(out, look->rows->at[look->next++]);
    }
    if (look->next < look->rows->count) return true;
    buf_add_char(out, ']');
    add_flag(out, "more", look->rows->is_cut);
    buf_add_char(out, '}');
    return false;
}

static void free_look(struct slices *slices)
{
    struct look *look = (void *)((char *)slices - offsetof(struct look, slices));
    broker_inspect_free(&look->op);
    mem_free(look);
}

static void on_inspected(struct completion *c)
{
    struct look *look = (struct look *)c;
    enum err err = c->err;
    if (!err && look->wants_one && !look->op.clients.count)
        err = why_set(&c->why, ERR_NOT_FOUND, "there is no client '%.*s' in namespace %.*s",
                      (int)look->op.client_id.size, look->op.client_id.at, (int)look->op.ns.size,
                      look->op.ns.at);
    if (!err) {
        slices_answer(&look->slices, c->home);
        return;
    }
    http_reply_error(look->slices.exchange, err, &c->why);
    free_look(&look->slices);
}

static enum err read_limit(struct http_exchange *exchange, size_t *limit, struct why *why)
{
    struct str text;
    uint64_t n;
    *limit = ROWS_DEFAULT;
    if (!http_query(exchange, "limit", &text)) return ERR_OK;
    if (!num_parse_u64(text, &n) || n < 1 || n > ROWS_MAX)
        return why_set(why, ERR_INVALID, "limit must be a number from 1 to %d", ROWS_MAX);
    *limit = (size_t)n;
    return ERR_OK;
}

/* Takes `look`, in which the caller has said what is asked for. */
static void start(struct look *look, struct http_exchange *exchange, struct service *service)
{
    struct why why = WHY_NONE;
    enum err err = look ? read_limit(exchange, &look->op.rows_max, &why) : ERR_NO_MEMORY;
    if (!err && !service->broker) err = why_set(&why, ERR_BUSY, "the broker does not run just now");
    if (!err && look->op.filter.size && !topic_filter_is_valid(look->op.filter))
        err = why_set(&why, ERR_INVALID, "topic: '%.*s' is no topic filter",
                      (int)look->op.filter.size, look->op.filter.at);
    if (err) {
        http_reply_error(exchange, err, &why);
        mem_free(look);
        return;
    }
    look->slices = (struct slices){.write = write_slice, .free = free_look, .exchange = exchange};
    look->op.ns = api_mqtt_ns(exchange);
    look->op.identity = identity_share(api_identity(exchange));
    arena_init(&look->op.arena, service->statements);
    completion_init(&look->op.completion, service->context->main, on_inspected);
    broker_inspect(service->broker, &look->op);
}

void api_mqtt_clients(struct http_exchange *exchange, void *arg)
{
    struct look *look = mem_alloc_zero(1, sizeof *look);
    if (look) {
        look->op.looks = BROKER_CLIENTS;
        look->begin = begin_clients;
        look->rows = &look->op.clients;
        look->add = add_whole_client;
    }
    start(look, exchange, arg);
}

void api_mqtt_client(struct http_exchange *exchange, void *arg)
{
    struct look *look = mem_alloc_zero(1, sizeof *look);
    if (look) {
        look->op.looks = BROKER_CLIENTS | BROKER_SUBSCRIPTIONS;
        look->op.client_id = http_request_of(exchange)->params[0];
        look->wants_one = true;
        look->begin = begin_client;
        look->rows = &look->op.subscriptions;
        look->add = add_subscription;
    }
    start(look, exchange, arg);
}

void api_mqtt_retained(struct http_exchange *exchange, void *arg)
{
    struct look *look = mem_alloc_zero(1, sizeof *look);
    struct str payload;
    if (look) {
        look->op.looks = BROKER_RETAINED;
        look->op.with_payload =
            http_query(exchange, "payload", &payload) && str_is(payload, "true");
        if (!http_query(exchange, "topic", &look->op.filter)) look->op.filter = STR("");
        look->begin = begin_retained;
        look->rows = &look->op.retained;
        look->add = add_retained;
    }
    start(look, exchange, arg);
}

void api_mqtt_bans(struct http_exchange *exchange, void *arg)
{
    struct look *look = mem_alloc_zero(1, sizeof *look);
    if (look) {
        look->op.looks = BROKER_BANS;
        look->begin = begin_bans;
        look->rows = &look->op.bans;
        look->add = add_ban;
    }
    start(look, exchange, arg);
}
