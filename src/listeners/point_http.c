/* point_http.c - writing and reading points of equipment over HTTP. */
#include "base/timetext.h"
#include "listeners/api.h"
#include "listeners/device_right.h"
#include "listeners/identities.h"
#include <string.h>

struct point_write {
    struct collect_write op; /* first */
    struct http_exchange *exchange;
    struct service *service;
    struct completion audited;
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
        http_reply_buf(w->exchange, 200, "application/json", &out);
    }
    buf_free(&out);
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
    return device_right(w->service, api_identity(exchange), VERB_WRITE_POINT, w->op.ns,
                        w->op.device, why);
}

/* The audit log shows the command before the equipment gets it. */
static void on_audited(struct completion *c)
{
    struct point_write *w =
        (struct point_write *)(void *)((char *)c - offsetof(struct point_write, audited));
    enum err err = c->err ? c->err : w->service->stopping ? ERR_CANCELLED : ERR_OK;
    if (err) {
        http_reply_error(w->exchange, err, &c->why);
        mem_free(w);
        return;
    }
    completion_init(&w->op.completion, w->service->context->main, on_written);
    collect_write(w->service->collect, &w->op);
}

static void audit_request(struct point_write *w, enum err err, const struct why *why)
{
    struct buf detail = BUF_EMPTY;
    buf_printf(&detail, "%.*s = %.*s: %s", (int)w->op.point.size, w->op.point.at,
               (int)w->op.value.size, w->op.value.at ? w->op.value.at : "",
               w->op.reason ? w->op.reason : "");
    struct audit_entry entry = {.user = str_of(api_identity(w->exchange)->user),
                                .verb = str_of(access_verb_name(VERB_WRITE_POINT)),
                                .kind = STR("Device"),
                                .ns = w->op.ns,
                                .path = w->op.device,
                                .detail = buf_str(&detail),
                                .outcome = err ? str_of(why_text(why, err)) : STR("asked")};
    completion_init(&w->audited, w->service->context->main, on_audited);
    if (!err)
        audit_append_durable(w->service->audit, &entry, &w->audited);
    else if (audit_rate_add(&w->service->refusals, w->service->audit, &entry,
                            context_mono_ns(w->service->context)))
        diag(w->service->context, DIAG_ERROR, "api", "the audit log takes no lines");
    buf_free(&detail);
}

void api_device_write(struct http_exchange *exchange, void *arg)
{
    struct why why = WHY_NONE;
    struct point_write *w = mem_alloc_zero(1, sizeof *w);
    if (w) {
        w->exchange = exchange;
        w->service = arg;
    }
    enum err err = w ? read_write(w, exchange, &why) : ERR_NO_MEMORY;
    if (w && (!err || err == ERR_FORBIDDEN)) audit_request(w, err, &why);
    if (!err) return;
    http_reply_error(exchange, err, &why);
    mem_free(w);
}

/* ---- reading ---- */

struct point_read {
    struct collect_read op; /* first */
    struct http_exchange *exchange;
};

static void add_row(struct buf *out, const struct batch *batch)
{
    struct buf key = BUF_EMPTY;
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
        buf_clear(&key);
        buf_printf(&key, "%s@q", column->name);
        buf_add_char(out, ',');
        buf_add_json(out, buf_str(&key));
        buf_printf(out, ":\"%s\"", quality_name(value.quality, scratch));
    }
    buf_add_char(out, '}');
    if (buf_failed(&key)) out->failed = true;
    buf_free(&key);
}

static void on_read(struct completion *c)
{
    struct point_read *r = (struct point_read *)c;
    if (c->err) {
        http_reply_error(r->exchange, c->err, &c->why);
    } else {
        struct buf out = BUF_EMPTY;
        add_row(&out, r->op.batch);
        http_reply_buf(r->exchange, 200, "application/json", &out);
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
    enum err err = r ? device_right(service, api_identity(exchange), VERB_GET, request->params[0],
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
