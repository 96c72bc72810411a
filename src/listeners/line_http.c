/* line_http.c - POST /write and POST /api/v2/write: InfluxDB's line protocol over HTTP, as clients
 * of version 1 and 2 send it. The two differ in how they name the namespace and read errors. */
#include "listeners/api.h"
#include "listeners/influx.h"
#include "listeners/ingest.h"
#include <string.h>

struct write_request {
    struct ingest ingest; /* first */
    struct http_exchange *exchange;
};

static void on_done(struct completion *c)
{
    struct write_request *w = (struct write_request *)c;
    if (c->err) {
        influx_reply(w->exchange, err_http_status(c->err), str_of(why_text(&c->why, c->err)));
    } else if (w->ingest.refused == 0) {
        http_reply(w->exchange, 204, NULL, STR(""));
    } else {
        struct buf text = BUF_EMPTY;
        metric_add(w->ingest.service->context, METRIC_ROWS_REFUSED, w->ingest.refused);
        buf_printf(&text, "partial write: %llu of %llu lines refused: ",
                   (unsigned long long)w->ingest.refused, (unsigned long long)w->ingest.lines);
        buf_add_str(&text, buf_str(&w->ingest.errors));
        influx_reply(w->exchange, 400, buf_str(&text));
        buf_free(&text);
    }
    ingest_free(&w->ingest);
    mem_free(w);
}

static enum err read_precision(struct http_exchange *exchange, int64_t *unit_ns, struct why *why)
{
    static const struct {
        const char *name;
        int64_t ns;
    } units[] = {{"ns", 1},
                 {"n", 1},
                 {"us", 1000},
                 {"u", 1000},
                 {"ms", 1000000},
                 {"s", 1000000000},
                 {"m", INT64_C(60000000000)},
                 {"h", INT64_C(3600000000000)}};
    struct str text;
    *unit_ns = 1;
    if (!http_query(exchange, "precision", &text) || !text.size) return ERR_OK;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (!str_is(text, units[i].name)) continue;
        *unit_ns = units[i].ns;
        return ERR_OK;
    }
    return why_set(why, ERR_INVALID, "precision=%.*s: must be ns, us, ms, s, m or h",
                   (int)text.size, text.at);
}

void api_write(struct http_exchange *exchange, void *arg)
{
    struct why why = WHY_NONE;
    struct write_request *w = mem_alloc_zero(1, sizeof *w);
    enum err err = w ? read_precision(exchange, &w->ingest.unit_ns, &why) : ERR_NO_MEMORY;
    if (err) {
        influx_reply(exchange, err_http_status(err), str_of(why_text(&why, err)));
        mem_free(w);
        return;
    }
    w->exchange = exchange;
    w->ingest.service = arg;
    w->ingest.format = &ingest_line_protocol;
    w->ingest.identity = api_identity(exchange);
    w->ingest.text = http_request_of(exchange)->body;
    w->ingest.ns = influx_namespace(exchange);
    completion_init(&w->ingest.completion, w->ingest.service->context->main, on_done);
    http_on_gone(exchange, ingest_on_gone, &w->ingest);
    ingest_start(&w->ingest);
}
