/* prometheus_http.c - POST /prometheus/api/v1/write: Prometheus' remote write 1.0.
 *
 * Each metric is a table with the column `value`; labels are labels. Unlike with line protocol all
 * labels name the device, `instance` first: two series of one metric differ somewhere in them, and
 * rows of the same table, device and time replace each other. Characters that a path cannot hold
 * (le="+Inf", path="/") are percent-encoded in it and stay as they are in the label.
 *
 * The sender repeats what is answered 5xx and drops what is answered 4xx, so only what would be
 * refused again is a 400; the samples beside it are kept. */
#include "data/snappy.h"
#include "listeners/api.h"
#include "listeners/ingest.h"

struct write_request {
    struct ingest ingest; /* first */
    struct http_exchange *exchange;
};

static void on_done(struct completion *c)
{
    struct write_request *w = (struct write_request *)c;
    struct context *context = w->ingest.service->context;
    metric_add(context, METRIC_ROWS_REFUSED, w->ingest.refused);
    metric_add(context, METRIC_PROMETHEUS_STALE, w->ingest.at.prometheus.stale_count);
    if (c->err) {
        http_reply_error(w->exchange, c->err, &c->why);
    } else if (w->ingest.refused) {
        struct why why = WHY_NONE;
        why_set(&why, ERR_INVALID, "%llu samples or series refused: %.*s",
                (unsigned long long)w->ingest.refused, (int)w->ingest.errors.size,
                w->ingest.errors.size ? w->ingest.errors.at : "");
        http_reply_error(w->exchange, ERR_INVALID, &why);
    } else {
        http_reply(w->exchange, 204, NULL, STR(""));
    }
    ingest_free(&w->ingest);
    mem_free(w);
}

/* Version 2 is another message under the same content type; it is asked for by a parameter. */
static enum err check_head(const struct http_request *request, struct why *why)
{
    struct str type = http_header(request, "content-type");
    if (!str_is_nocase(http_header(request, "content-encoding"), "snappy"))
        return why_set(why, ERR_INVALID, "remote write is sent with Content-Encoding: snappy");
    for (size_t i = 0; i < type.size; i++) {
        struct str rest = {type.at + i, type.size - i};
        if (str_starts(rest, "io.prometheus.write.v2"))
            return why_set(why, ERR_INVALID, /* not 501, which is sent again */
                           "only remote write 1.0 is understood (prometheus.WriteRequest)");
    }
    return ERR_OK;
}

void api_prometheus_write(struct http_exchange *exchange, void *arg)
{
    struct service *service = arg;
    struct why why = WHY_NONE;
    struct write_request *w = NULL;
    struct str text = {0};
    const struct http_request *request = http_request_of(exchange);
    enum err err = check_head(request, &why);
    if (!err)
        err = snappy_decode(request->body, HTTP_BODY_BYTES_MAX, http_arena(exchange), &text, &why);
    if (!err) w = mem_alloc_zero(1, sizeof *w);
    if (!err && !w) err = ERR_NO_MEMORY;
    if (err) {
        http_reply_error(exchange, err, &why);
        return;
    }
    w->exchange = exchange;
    w->ingest.service = service;
    w->ingest.format = &ingest_prometheus;
    w->ingest.identity = api_identity(exchange);
    w->ingest.text = text;
    if (!http_query(exchange, "ns", &w->ingest.ns) || !w->ingest.ns.size)
        w->ingest.ns = STR("default");
    completion_init(&w->ingest.completion, service->context->main, on_done);
    http_on_gone(exchange, ingest_on_gone, &w->ingest);
    ingest_start(&w->ingest);
}
