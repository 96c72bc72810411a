/* sql_http.c - POST /v1/sql. */
#include "base/num.h"
#include "listeners/api.h"
#include "listeners/query.h"
#include "listeners/sessions.h"
#include <math.h>
#include <string.h>

struct sql_request {
    struct query query; /* first */
    struct http_exchange *exchange;
    struct session session; /* a statement is the only thing that lasts over HTTP */
    bool has_begun;         /* a part is on its way: errors can only cut the answer */
    bool waits;             /* for a slow peer; nothing of the statement runs */
};

static void on_done(struct completion *c)
{
    struct sql_request *r = (struct sql_request *)c;
    bool wait;
    if (r->has_begun) {
        if (!c->err) http_send(r->exchange, buf_str(&r->query.answer), &wait);
        http_end(r->exchange, c->err);
    } else if (c->err) {
        http_reply_error(r->exchange, c->err, &c->why);
    } else {
        http_reply_buf(r->exchange, 200, r->query.format->content_type, &r->query.answer);
    }
    session_remove(&r->session);
    query_free(&r->query);
    mem_free(r);
}

static void describe(const struct session *session, struct session_row *row)
{
    const struct sql_request *r =
        (const void *)((const char *)session - offsetof(struct sql_request, session));
    *row = (struct session_row){.user = str_of(r->query.identity->user),
                                .address = str_of(http_request_of(r->exchange)->peer),
                                .ns = r->query.ns,
                                .statement = r->query.text,
                                .statement_ns = session->since_ns};
}

static void go_on(void *arg)
{
    struct sql_request *r = arg;
    if (!r->waits) return;
    r->waits = false;
    query_continue(&r->query);
}

static void on_part(struct query *q)
{
    struct sql_request *r = (struct sql_request *)q;
    bool wait = false;
    if (!r->has_begun) http_begin(r->exchange, 200, q->format->content_type);
    r->has_begun = true;
    http_send(r->exchange, buf_str(&q->answer), &wait);
    buf_clear(&q->answer);
    r->waits = true;
    http_on_drained(r->exchange, go_on, r);
    if (!wait || http_is_gone(r->exchange)) go_on(r);
}

/* The peer went away: what runs sees it at its next chunk, what waits is woken to see it. */
static void cancel(void *arg)
{
    struct sql_request *r = arg;
    query_cancel(&r->query);
    go_on(r);
}

/* A JSON value as a parameter; numbers without fraction are bigint. */
static enum err read_param(const struct doc *doc, struct value *value, struct why *why)
{
    *value = (struct value){.type = TYPE_NONE, .is_null = true};
    switch (doc->kind) {
    case DOC_NULL: return ERR_OK;
    case DOC_BOOL: *value = (struct value){.type = TYPE_BOOL, .b = doc->b}; return ERR_OK;
    case DOC_STRING: *value = (struct value){.type = TYPE_TEXT, .s = doc->text}; return ERR_OK;
    case DOC_NUMBER: break;
    case DOC_LIST:
    case DOC_MAP:
    case DOC_JSON:
        return why_set(why, ERR_INVALID, "params: only null, true, false, numbers and texts");
    }
    *value = (struct value){.type = TYPE_BIGINT};
    if (num_parse_i64(doc->text, &value->i)) return ERR_OK;
    value->type = TYPE_DOUBLE;
    return num_parse_double(doc->text, &value->d)
               ? ERR_OK
               : why_set(why, ERR_INVALID, "params: not a number");
}

static enum err read_json(struct query *q, struct str body, struct arena *arena, struct why *why)
{
    struct doc *doc = NULL;
    enum err err = doc_read_json(body, arena, &doc, why);
    if (err) return err;
    q->text = doc_text(doc_get(doc, "query"));
    const struct doc *params = doc_get(doc, "params");
    if (params && params->kind != DOC_LIST)
        return why_set(why, ERR_INVALID, "params must be a list");
    if (params && params->count > QUERY_PARAMS_MAX)
        return why_set(why, ERR_LIMIT, "more than %d params", QUERY_PARAMS_MAX);
    for (size_t i = 0; params && i < params->count; i++)
        if ((err = read_param(params->items[i].value, &q->params[q->param_count++], why)))
            return err;
    return ERR_OK;
}

static enum err read_options(struct http_exchange *exchange, struct query *q, struct why *why)
{
    static const char *const formats[] = {[QUERY_TIME_RFC3339] = "rfc3339",
                                          [QUERY_TIME_NS] = "ns",
                                          [QUERY_TIME_US] = "us",
                                          [QUERY_TIME_MS] = "ms",
                                          [QUERY_TIME_S] = "s"};
    struct str text;
    q->ns = STR("default");
    if (http_query(exchange, "ns", &text) && text.size) q->ns = text;
    if (http_query(exchange, "tz", &text)) q->zone = text;
    enum err err = resource_check_namespace(q->ns, why);
    if (err) return err;
    q->format = query_format_of(http_header(http_request_of(exchange), "accept"));
    if (http_query(exchange, "format", &text)) q->format = query_format_of(text);
    if (!http_query(exchange, "time", &text)) return ERR_OK;
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        if (!str_is(text, formats[i])) continue;
        q->time_format = (enum query_time_format)i;
        return ERR_OK;
    }
    return why_set(why, ERR_INVALID, "time=%.*s: must be rfc3339, ns, us, ms or s", (int)text.size,
                   text.at);
}

void api_sql(struct http_exchange *exchange, void *arg)
{
    const struct http_request *request = http_request_of(exchange);
    struct sql_request *r = mem_alloc_zero(1, sizeof *r);
    struct why why = WHY_NONE;
    enum err err = r ? ERR_OK : ERR_NO_MEMORY;
    if (!err) {
        struct str body = str_trim(request->body);
        r->exchange = exchange;
        r->query.service = arg;
        r->query.on_part = on_part;
        r->query.is_limit_of_part = true;
        r->query.identity = api_identity(exchange);
        r->query.text = body;
        err = read_options(exchange, &r->query, &why);
        bool json = body.size && body.at[0] == '{';
        if (!err && json) err = read_json(&r->query, body, http_arena(exchange), &why);
        if (!err && !r->query.text.size)
            err = why_set(&why, ERR_INVALID,
                          "send a statement: as text, or as {\"query\":…,\"params\":[…]}");
    }
    if (err) {
        http_reply_error(exchange, err, &why);
        mem_free(r);
        return;
    }
    completion_init(&r->query.completion, r->query.service->context->main, on_done);
    http_on_gone(exchange, cancel, r);
    session_add(r->query.service, &r->session, "http", describe);
    query_start(&r->query);
}
