/* equipment_http.c - putting lines into operation over HTTP: a test, and a scan piece by piece.
 *
 * Both ask equipment for things that nobody configured, so they need the right to change the
 * Connection. What the equipment says, also that it says nothing, is the answer of the request
 * (200, "ok": false); only a request that could not be put to it is an error. */
#include "base/num.h"
#include "listeners/api.h"
#include <stdio.h>

static void add_hex(struct buf *out, const char *name, const uint8_t *bytes, size_t size)
{
    buf_printf(out, ",\"%s\":\"", name);
    for (size_t i = 0; i < size; i++) buf_printf(out, "%s%02X", i ? " " : "", bytes[i]);
    buf_add_char(out, '"');
}

/* "name: value" lines as an object. */
static void add_identity(struct buf *out, struct str text)
{
    struct str line, name;
    bool first = true;
    buf_add_char(out, '{');
    while (str_split(&text, '\n', &line)) {
        if (!str_split(&line, ':', &name) || !name.size) continue;
        if (!first) buf_add_char(out, ',');
        buf_add_json(out, name);
        buf_add_char(out, ':');
        buf_add_json(out, str_trim(line));
        first = false;
    }
    buf_add_char(out, '}');
}

static enum err check_right(struct http_exchange *exchange, struct why *why)
{
    const struct http_request *request = http_request_of(exchange);
    return access_check(api_identity(exchange), VERB_UPDATE, "Connection", request->params[0],
                        request->params[1], STR(""), why);
}

static enum err read_body(struct http_exchange *exchange, struct doc **doc, struct why *why)
{
    *doc = NULL;
    struct str body = http_request_of(exchange)->body;
    enum err err = check_right(exchange, why);
    if (err || !str_trim(body).size) return err;
    return doc_read_json(body, http_arena(exchange), doc, why);
}

/* ---- test ---- */

struct equipment_test {
    struct collect_test op; /* first */
    struct http_exchange *exchange;
};

/* Whether the error is the equipment's own word, and so the answer. */
static bool is_answer(enum err err)
{
    return err == ERR_CONNECT || err == ERR_TIMEOUT || err == ERR_DEVICE || err == ERR_PROTOCOL ||
           err == ERR_CLOSED || err == ERR_TLS;
}

static void add_test(struct buf *out, const struct collect_test *test)
{
    const struct completion *c = &test->completion;
    buf_printf(out, "{\"ok\":%s", c->err ? "false" : "true");
    if (c->err) {
        buf_printf(out, ",\"code\":\"%s\",\"error\":", err_name(c->err));
        buf_add_json(out, str_of(why_text(&c->why, c->err)));
    } else if (test->has_value) {
        buf_printf(out, ",\"type\":\"%s\",\"value\":", type_name(test->value.type));
        value_add_json(out, &test->value);
    } else {
        buf_add_text(out, ",\"identity\":");
        add_identity(out, str_of(test->text));
    }
    if (test->raw_size && test->has_value) add_hex(out, "raw", test->raw, test->raw_size);
    if (test->frame_size) add_hex(out, "frame", test->frame, test->frame_size);
    if (test->rtt_ns) buf_printf(out, ",\"roundTripMs\":%.3f", (double)test->rtt_ns / 1e6);
    buf_add_char(out, '}');
}

static void on_tested(struct completion *c)
{
    struct equipment_test *test = (struct equipment_test *)c;
    struct buf out = BUF_EMPTY;
    if (c->err && !is_answer(c->err)) {
        http_reply_error(test->exchange, c->err, &c->why);
    } else {
        add_test(&out, &test->op);
        http_reply_buf(test->exchange, 200, "application/json", &out);
    }
    buf_free(&out);
    mem_free(test);
}

void api_connection_test(struct http_exchange *exchange, void *arg)
{
    struct service *service = arg;
    const struct http_request *request = http_request_of(exchange);
    struct why why = WHY_NONE;
    struct doc *doc;
    enum err err = read_body(exchange, &doc, &why);
    struct equipment_test *test = err ? NULL : mem_alloc_zero(1, sizeof *test);
    if (!err && !test) err = ERR_NO_MEMORY;
    if (err) {
        http_reply_error(exchange, err, &why);
        return;
    }
    test->exchange = exchange;
    test->op.ns = request->params[0];
    test->op.connection = request->params[1];
    test->op.address = doc_text(doc_get(doc, "address"));
    test->op.type = doc_text(doc_get(doc, "type"));
    test->op.order = doc_text(doc_get(doc, "order"));
    completion_init(&test->op.completion, service->context->main, on_tested);
    collect_test(service->collect, &test->op);
}

/* ---- scan ---- */

struct equipment_scan {
    struct collect_scan op; /* first */
    struct http_exchange *exchange;
};

static void add_find(struct buf *out, const struct collect_scan_find *find)
{
    switch (find->kind) {
    case COLLECT_SCAN_CELLS:
        buf_printf(out, "{\"unit\":%u,\"area\":\"%s\",\"first\":%u,\"count\":%u,\"from\":",
                   find->station, find->area, find->first, find->count);
        buf_add_json(out, find->address);
        buf_add_text(out, ",\"to\":");
        buf_add_json(out, find->last_address);
        break;
    case COLLECT_SCAN_STATION:
        buf_printf(out, "{\"unit\":%u,\"identity\":", find->station);
        add_identity(out, find->text);
        break;
    case COLLECT_SCAN_REFUSAL:
        buf_printf(out, "{\"unit\":%u,\"area\":\"%s\",\"refusal\":", find->station, find->area);
        buf_add_json(out, find->text);
        break;
    case COLLECT_SCAN_NAME:
        buf_add_text(out, "{\"address\":");
        buf_add_json(out, find->address);
        if (!find->text.size) break;
        buf_add_text(out, ",\"quality\":");
        buf_add_json(out, find->text);
        break;
    }
    buf_add_char(out, '}');
}

static void on_scanned(struct completion *c)
{
    struct equipment_scan *scan = (struct equipment_scan *)c;
    struct buf out = BUF_EMPTY;
    if (c->err) {
        http_reply_error(scan->exchange, c->err, &c->why);
    } else {
        buf_printf(&out, "{\"next\":%llu,\"total\":%llu,\"found\":[",
                   (unsigned long long)scan->op.next, (unsigned long long)scan->op.total);
        for (size_t i = 0; i < scan->op.find_count; i++) {
            if (i) buf_add_char(&out, ',');
            add_find(&out, &scan->op.finds[i]);
        }
        buf_add_text(&out, "]}");
        http_reply_buf(scan->exchange, 200, "application/json", &out);
    }
    buf_free(&out);
    collect_scan_free(&scan->op);
    mem_free(scan);
}

void api_connection_scan(struct http_exchange *exchange, void *arg)
{
    struct service *service = arg;
    const struct http_request *request = http_request_of(exchange);
    struct why why = WHY_NONE;
    struct doc *doc;
    uint64_t from = 0;
    enum err err = read_body(exchange, &doc, &why);
    const struct doc *given = doc_get(doc, "from");
    if (!err && given && !num_parse_u64(given->text, &from))
        err = why_set(&why, ERR_INVALID, "from must be a whole number: the last answer's next");
    struct equipment_scan *scan = err ? NULL : mem_alloc_zero(1, sizeof *scan);
    if (!err && !scan) err = ERR_NO_MEMORY;
    if (err) {
        http_reply_error(exchange, err, &why);
        return;
    }
    scan->exchange = exchange;
    scan->op.ns = request->params[0];
    scan->op.connection = request->params[1];
    scan->op.range = doc_text(doc_get(doc, "range"));
    scan->op.from = from;
    completion_init(&scan->op.completion, service->context->main, on_scanned);
    collect_scan(service->collect, &scan->op);
}
