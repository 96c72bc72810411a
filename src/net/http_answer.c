/* http_answer.c - answers: whole, streamed, and errors.
 *
 * An answer goes straight into the stream; nothing of it is kept here. Whatever cannot be written
 * whole cuts the connection, so that a peer never takes a part for the whole.
 *
 * Called by handlers, by the guard, and by this server where it answers like a handler. An answer
 * that ends the exchange first takes away on_gone: from there on nobody is told that it is gone,
 * and the exchange is freed here, once. Invariants: a head is written once; what is chunked ends
 * with an empty chunk, or with the connection. */
#include "net/http_priv.h"
#include <string.h>

static const struct {
    int status;
    const char *text;
} statuses[] = {
    {100, "Continue"},
    {101, "Switching Protocols"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {206, "Partial Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {415, "Unsupported Media Type"},
    {417, "Expectation Failed"},
    {422, "Unprocessable Content"},
    {426, "Upgrade Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {499, "Client Closed Request"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {507, "Insufficient Storage"},
};

const char *http_status_text(int status)
{
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++)
        if (statuses[i].status == status) return statuses[i].text;
    return "Unknown";
}

/* ---- heads ---- */

void http_answer_head(struct http_exchange *x, struct buf *out, int status,
                      const char *content_type, int64_t body_size)
{
    MUST(x->magic == HTTP_EXCHANGE_MAGIC && status >= 100 && status <= 599);
    struct http_connection *c = x->connection;
    buf_printf(out, "HTTP/1.1 %d %s\r\nDate: %s\r\n", status, http_status_text(status),
               http_server_date(c->server));
    if (content_type) buf_printf(out, "Content-Type: %s\r\n", content_type);
    if (body_size >= 0) buf_printf(out, "Content-Length: %lld\r\n", (long long)body_size);
    if (x->is_chunked) buf_add_text(out, "Transfer-Encoding: chunked\r\n");
    if (c->close_after)
        buf_add_text(out, "Connection: close\r\n");
    else if (x->is_http10)
        buf_add_text(out, "Connection: keep-alive\r\n");
    if (buf_failed(&x->added)) out->failed = true; /* a lost header may be the one that matters */
    buf_add_str(out, buf_str(&x->added));
    buf_add_text(out, "\r\n");
}

void http_add_header(struct http_exchange *x, const char *name, const char *value)
{
    MUST(x->magic == HTTP_EXCHANGE_MAGIC && !x->is_begun && name[0]);
    if (strpbrk(value, "\r\n")) {
        diag(x->connection->server->context, DIAG_WARNING, "http",
             "header %s: a value with a line break was left out", name);
        return;
    }
    buf_add_text(&x->added, name);
    buf_add_text(&x->added, ": ");
    buf_add_text(&x->added, value);
    buf_add_text(&x->added, "\r\n");
}

static bool has_no_body(int status)
{
    return status < 200 || status == 204 || status == 304;
}

/* What must be known before a head is written: whether this is the connection's last answer. */
static void decide_close(struct http_exchange *x)
{
    struct http_connection *c = x->connection;
    if (c->reader.is_done) return;
    /* A peer told to wait for "100 Continue" may send its body or not: the next request's place is
     * unknown. */
    if (x->expects_continue) c->close_after = true;
    if (!c->reader.is_chunked && c->reader.left > HTTP_DISCARD_BYTES) c->close_after = true;
}

static void count(struct http_exchange *x, int status)
{
    struct context *context = x->connection->server->context;
    metric_add(context, METRIC_HTTP_REQUESTS, 1);
    if (status >= 400) metric_add(context, METRIC_HTTP_ERRORS, 1);
}

/* Who answers holds the exchange: in these states nobody else frees it, though the connection may
 * be cut in the middle of the answer. */
static bool is_held(const struct http_exchange *x)
{
    enum http_state state = x->connection->state;
    return state == HTTP_STATE_GUARD || state == HTTP_STATE_BUSY;
}

/* ---- whole answers ---- */

static void finish(struct http_exchange *x)
{
    struct http_connection *c = x->connection;
    MUST(c->exchange == x && c->entered);
    http_exchange_free(x);
    http_connection_next(c);
}

void http_reply(struct http_exchange *x, int status, const char *content_type, struct str body)
{
    MUST(x->magic == HTTP_EXCHANGE_MAGIC && !x->is_begun && is_held(x));
    struct http_connection *c = x->connection;
    struct buf out = BUF_EMPTY;
    http_connection_enter(c);
    x->on_gone = NULL; /* the handler is done with it, whatever happens below */
    count(x, status);
    decide_close(x);
    http_answer_head(x, &out, status, has_no_body(status) ? NULL : content_type,
                     has_no_body(status) ? -1 : (int64_t)body.size);
    bool with_body = !x->is_head && !has_no_body(status) && body.size;
    bool combined = with_body && body.size <= HTTP_COMBINE_BYTES;
    if (combined) buf_add_str(&out, body);
    bool good = !buf_failed(&out) && http_connection_write(c, out.at, out.size);
    if (good && with_body && !combined) good = http_connection_write(c, body.at, body.size);
    buf_free(&out);
    if (!good) http_connection_cut(c);
    finish(x);
    http_connection_leave(c);
}

void http_reply_status(struct http_exchange *x, int status, const char *code, const char *message)
{
    struct buf body = BUF_EMPTY;
    buf_add_text(&body, "{\"error\":{\"code\":");
    buf_add_json(&body, str_of(code));
    buf_add_text(&body, ",\"message\":");
    buf_add_json(&body, str_of(message));
    buf_add_text(&body, "}}\n");
    if (buf_failed(&body)) buf_clear(&body); /* the status still tells */
    http_reply(x, status, "application/json", buf_str(&body));
    buf_free(&body);
}

void http_reply_error(struct http_exchange *x, enum err err, const struct why *why)
{
    MUST(err != ERR_OK);
    struct buf body = BUF_EMPTY;
    buf_add_text(&body, "{\"error\":{\"code\":");
    buf_add_json(&body, str_of(err_name(err)));
    buf_add_text(&body, ",\"message\":");
    buf_add_json(&body, str_of(why ? why_text(why, err) : err_text(err)));
    if (why && why->position >= 0) buf_printf(&body, ",\"position\":%d", why->position);
    buf_add_text(&body, "}}\n");
    if (buf_failed(&body)) buf_clear(&body);
    http_reply(x, err_http_status(err), "application/json", buf_str(&body));
    buf_free(&body);
}

void http_reply_buf(struct http_exchange *x, int status, const char *content_type,
                    const struct buf *body)
{
    if (!buf_failed(body))
        http_reply(x, status, content_type, buf_str(body));
    else if (status < 400)
        http_reply_error(x, ERR_NO_MEMORY, NULL);
    else
        http_reply(x, status, content_type, STR(""));
}

/* ---- streamed answers ---- */

void http_begin(struct http_exchange *x, int status, const char *content_type)
{
    MUST(x->magic == HTTP_EXCHANGE_MAGIC && !x->is_begun && is_held(x));
    MUST(!has_no_body(status));
    struct http_connection *c = x->connection;
    struct buf out = BUF_EMPTY;
    http_connection_enter(c);
    count(x, status);
    decide_close(x);
    if (x->is_http10)
        c->close_after =
            true; /* no chunks there: the end of the connection is the end of the body */
    x->is_chunked = !x->is_http10;
    http_answer_head(x, &out, status, content_type, -1);
    x->is_begun = true;
    if (buf_failed(&out))
        http_connection_cut(c);
    else
        (void)http_connection_write(c, out.at, out.size);
    buf_free(&out);
    http_connection_leave(c);
}

static void send_chunk(struct http_exchange *x, struct str bytes)
{
    struct http_connection *c = x->connection;
    struct buf out = BUF_EMPTY;
    if (x->is_chunked) buf_printf(&out, "%zx\r\n", bytes.size);
    buf_add_str(&out, bytes);
    if (x->is_chunked) buf_add_text(&out, "\r\n");
    if (buf_failed(&out))
        http_connection_cut(c);
    else
        (void)http_connection_write(c, out.at, out.size);
    buf_free(&out);
}

void http_send(struct http_exchange *x, struct str bytes, bool *wait)
{
    MUST(x->magic == HTTP_EXCHANGE_MAGIC && x->is_begun);
    struct http_connection *c = x->connection;
    http_connection_enter(c);
    if (c->stream && bytes.size && !x->is_head) send_chunk(x, bytes);
    *wait = c->stream && os_stream_queued(c->stream) > HTTP_QUEUED_BYTES;
    if (*wait && c->wait != HTTP_WAIT_WRITE) http_wait_set(c, HTTP_WAIT_WRITE);
    http_connection_leave(c);
}

void http_end(struct http_exchange *x, enum err err)
{
    MUST(x->magic == HTTP_EXCHANGE_MAGIC && x->is_begun && is_held(x));
    struct http_connection *c = x->connection;
    http_connection_enter(c);
    x->on_gone = NULL;
    if (err)
        http_connection_cut(c);
    else if (x->is_chunked && !x->is_head)
        (void)http_connection_write(c, "0\r\n\r\n", 5);
    finish(x);
    http_connection_leave(c);
}
