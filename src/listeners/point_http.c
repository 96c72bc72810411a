/* point_http.c - writing and reading points of equipment over HTTP. */
#include "base/timetext.h"
#include "listeners/api.h"
#include <string.h>

struct point_write {
    struct collect_write op; /* first */
    struct http_exchange *exchange;
    struct buf value;
};

static void on_written(struct completion *c)
{
    struct point_write *w = (struct point_write *)c;
    struct buf out = BUF_EMPTY;
    if (c->err) {
        http_reply_error(w->exchange, c->err, &c->why);
    } else {
        buf_add_text(&out, "{\"value\":");
        value_add_json(&out, &w->op.written);
        buf_add_text(&out, ",\"readBack\":");
        if (w->op.has_read_back)
            value_add_json(&out, &w->op.read_back);
        else
            buf_add_text(&out, "null");
        buf_add_text(&out, ",\"time\":\"");
        buf_add_time(&out, w->op.time_ns);
        buf_add_text(&out, "\"}");
        http_reply(w->exchange, 200, "application/json", buf_str(&out));
    }
    buf_free(&out);
    buf_free(&w->value);
    mem_free(w);
}

static enum err read_write(struct point_write *w, struct http_exchange *exchange, struct why *why)
{
    const struct http_request *request = http_request_of(exchange);
    struct doc *doc = NULL;
    enum err err = doc_read_json(request->body, http_arena(exchange), &doc, why);
    if (err) return err;
    const struct doc *value = doc_get(doc, "value");
    w->op.point = doc_text(doc_get(doc, "point"));
    struct str reason = doc_text(doc_get(doc, "reason"));
    if (!w->op.point.size || !value || value->kind > DOC_STRING || value->kind == DOC_NULL ||
        !str_trim(reason).size)
        return why_set(why, ERR_INVALID,
                       "send {\"point\":…,\"value\":…,\"reason\":…}; a reason is required");
    if (value->kind == DOC_BOOL)
        w->op.value = value->b ? STR("true") : STR("false");
    else
        w->op.value = value->text;
    w->op.reason = arena_strdup(http_arena(exchange), reason.at, reason.size);
    w->op.user = api_identity(exchange)->user;
    w->op.ns = request->params[0];
    w->op.device = request->params[1];
    if (!w->op.reason) return ERR_NO_MEMORY;
    return access_check(api_identity(exchange), VERB_WRITE_POINT, "Device", w->op.ns, w->op.device,
                        why);
}

void api_device_write(struct http_exchange *exchange, void *arg)
{
    struct service *service = arg;
    struct why why = WHY_NONE;
    struct point_write *w = mem_alloc_zero(1, sizeof *w);
    enum err err = w ? read_write(w, exchange, &why) : ERR_NO_MEMORY;
    if (err) {
        http_reply_error(exchange, err, &why);
        mem_free(w);
        return;
    }
    w->exchange = exchange;
    completion_init(&w->op.completion, service->context->main, on_written);
    collect_write(service->collect, &w->op);
}

/* ---- reading ---- */

struct point_read {
    struct collect_read op; /* first */
    struct http_exchange *exchange;
};

static void add_row(struct buf *out, const struct batch *batch)
{
    buf_add_text(out, "{\"time\":\"");
    buf_add_time(out, batch->time[0]);
    buf_add_char(out, '"');
    for (uint32_t i = 0; i < batch->column_count; i++) {
        const struct column *column = schema_column(batch->schema, batch->columns[i].id);
        struct value value = vector_get(&batch->columns[i].data, 0);
        char scratch[12];
        buf_add_char(out, ',');
        buf_add_json(out, str_of(column->name));
        buf_add_char(out, ':');
        value_add_json(out, &value);
        if (value.quality == QUALITY_GOOD) continue;
        buf_printf(out, ",\"%s@q\":\"%s\"", column->name, quality_name(value.quality, scratch));
    }
    buf_add_char(out, '}');
}

static void on_read(struct completion *c)
{
    struct point_read *r = (struct point_read *)c;
    if (c->err) {
        http_reply_error(r->exchange, c->err, &c->why);
    } else {
        struct buf out = BUF_EMPTY;
        add_row(&out, r->op.batch);
        http_reply(r->exchange, 200, "application/json", buf_str(&out));
        buf_free(&out);
    }
    batch_release(r->op.batch);
    mem_free(r);
}

void api_device_read(struct http_exchange *exchange, void *arg)
{
    struct service *service = arg;
    const struct http_request *request = http_request_of(exchange);
    struct why why = WHY_NONE;
    struct point_read *r = mem_alloc_zero(1, sizeof *r);
    enum err err = r ? access_check(api_identity(exchange), VERB_GET, "Device", request->params[0],
                                    request->params[1], &why)
                     : ERR_NO_MEMORY;
    if (err) {
        http_reply_error(exchange, err, &why);
        mem_free(r);
        return;
    }
    r->exchange = exchange;
    r->op.ns = request->params[0];
    r->op.device = request->params[1];
    if (!http_query(exchange, "point", &r->op.point)) r->op.point = STR("");
    completion_init(&r->op.completion, service->context->main, on_read);
    collect_read(service->collect, &r->op);
}
