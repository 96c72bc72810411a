/* line_http.c - POST /write: InfluxDB's line protocol over HTTP, as version 1 clients send it. */
#include "listeners/api.h"
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
        http_reply_error(w->exchange, c->err, &c->why);
    } else if (w->ingest.refused == 0) {
        http_reply(w->exchange, 204, NULL, STR(""));
    } else {
        struct buf out = BUF_EMPTY, text = BUF_EMPTY;
        metric_add(w->ingest.service->context, METRIC_ROWS_REFUSED, w->ingest.refused);
        buf_printf(&text, "partial write: %llu of %llu lines refused: ",
                   (unsigned long long)w->ingest.refused, (unsigned long long)w->ingest.lines);
        buf_add_str(&text, buf_str(&w->ingest.errors));
        buf_add_text(&out, "{\"error\":");
        buf_add_json(&out, buf_str(&text));
        buf_add_char(&out, '}');
        http_reply(w->exchange, 400, "application/json", buf_str(&out));
        buf_free(&text);
        buf_free(&out);
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
    if (!http_query(exchange, "precision", &text)) return ERR_OK;
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
        http_reply_error(exchange, err, &why);
        mem_free(w);
        return;
    }
    w->exchange = exchange;
    w->ingest.service = arg;
    w->ingest.format = &ingest_line_protocol;
    w->ingest.identity = api_identity(exchange);
    w->ingest.text = http_request_of(exchange)->body;
    if (!http_query(exchange, "db", &w->ingest.ns) || !w->ingest.ns.size)
        w->ingest.ns = STR("default");
    completion_init(&w->ingest.completion, w->ingest.service->context->main, on_done);
    ingest_start(&w->ingest);
}
