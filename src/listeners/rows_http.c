/* rows_http.c - POST /v1/rows: rows as JSON (data/json_rows.h), for scripts and gateways that have
 * no better way. Answers {"rows":N} when all are durable; when some are refused 400 with how many
 * were kept and why the first ones were not. */
#include "listeners/api.h"
#include "listeners/ingest.h"

struct rows_request {
    struct ingest ingest; /* first */
    struct http_exchange *exchange;
};

static void reply(struct rows_request *r)
{
    struct buf out = BUF_EMPTY;
    const struct ingest *in = &r->ingest;
    buf_printf(&out, "{\"rows\":%llu", (unsigned long long)in->rows);
    if (in->refused) {
        buf_printf(&out, ",\"refused\":%llu,\"error\":{\"code\":\"INVALID\",\"message\":",
                   (unsigned long long)in->refused);
        buf_add_json(&out, buf_str(&in->errors));
        buf_add_char(&out, '}');
    }
    buf_add_char(&out, '}');
    http_reply_buf(r->exchange, in->refused ? 400 : 200, "application/json", &out);
    buf_free(&out);
}

static void on_done(struct completion *c)
{
    struct rows_request *r = (struct rows_request *)c;
    metric_add(r->ingest.service->context, METRIC_ROWS_REFUSED, r->ingest.refused);
    if (c->err)
        http_reply_error(r->exchange, c->err, &c->why);
    else
        reply(r);
    ingest_free(&r->ingest);
    mem_free(r);
}

void api_rows(struct http_exchange *exchange, void *arg)
{
    struct why why = WHY_NONE;
    struct rows_request *r = mem_alloc_zero(1, sizeof *r);
    enum err err = r ? ERR_OK : ERR_NO_MEMORY;
    if (!err && !http_query(exchange, "table", &r->ingest.table))
        err = why_set(&why, ERR_INVALID, "the table is missing: POST /v1/rows?table=NAME");
    if (err) {
        http_reply_error(exchange, err, &why);
        mem_free(r);
        return;
    }
    r->exchange = exchange;
    r->ingest.service = arg;
    r->ingest.format = &ingest_json;
    r->ingest.identity = api_identity(exchange);
    r->ingest.text = http_request_of(exchange)->body;
    if (!http_query(exchange, "ns", &r->ingest.ns) || !r->ingest.ns.size)
        r->ingest.ns = STR("default");
    if (!http_query(exchange, "device", &r->ingest.device)) r->ingest.device = STR("");
    completion_init(&r->ingest.completion, r->ingest.service->context->main, on_done);
    http_on_gone(exchange, ingest_on_gone, &r->ingest);
    ingest_start(&r->ingest);
}
