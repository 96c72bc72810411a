/* http_fuzz.c - property: whatever arrives in whatever pieces, the server answers well-formed
 * messages and nothing else, and when the peer is silent long enough nothing of it is left.
 *
 * The first byte decides how the rest is cut into pieces. All of the server is exercised: head and
 * body parsing, routes, gzip, streamed answers, WebSocket. */
/* covers: src/net/http_message.c src/net/http_connection.c */
/* covers: src/net/http_exchange.c src/net/http_route.c */
/* covers: src/net/http_body.c src/net/websocket.c */
#include "base/reader.h"
#include "base/timetext.h"
#include "net/http.h"
#include "net/test_stream.h"
#include <stdlib.h>
#include <string.h>

struct world {
    struct http_exchange *held, *guarded;
    unsigned gone_count, user_count;
    struct websocket *socket;
};

static void drop_user(void *user)
{
    ((struct world *)user)->user_count--;
}
static void on_gone(void *arg)
{
    ((struct world *)arg)->gone_count++;
}

/* Requests with credentials wait here; those with a cookie are refused before their body is read.
 */
static bool guard(struct http_exchange *x, const struct http_route *route, void *arg)
{
    struct world *w = arg;
    MUST(route->handle && http_request_of(x)->body.size == 0);
    w->user_count++;
    http_set_user(x, w, drop_user);
    if (http_header(http_request_of(x), "Cookie").size) {
        http_reply_error(x, ERR_UNAUTHENTICATED, NULL);
        return false;
    }
    if (!http_header(http_request_of(x), "Authorization").size) return true;
    MUST(!w->guarded);
    http_on_gone(x, on_gone, w);
    w->guarded = x;
    return false;
}

/* What was waiting goes on. */
static void resume(struct world *w, struct test_net *net)
{
    for (unsigned i = 0; i < 1000 && (w->guarded || w->held); i++) {
        struct http_exchange *guarded = w->guarded, *held = w->held;
        w->guarded = w->held = NULL;
        MUST(!guarded || http_user(guarded) == w);
        if (guarded) http_resume(guarded);
        if (held) http_reply(held, 200, "text/plain", STR("late"));
        test_net_run(net);
    }
}

static void echo(struct http_exchange *x, void *arg)
{
    (void)arg;
    const struct http_request *r = http_request_of(x);
    struct str value = {"", 0};
    (void)http_query(x, "q", &value);
    MUST(str_is_utf8(r->path) && (r->path.size == 0 || !memchr(r->path.at, 0, r->path.size)));
    MUST(r->body.size <= 70000);
    http_reply(x, 200, "text/plain", r->body.size ? r->body : r->path);
}

static void later(struct http_exchange *x, void *arg)
{
    struct world *w = arg;
    MUST(!w->held);
    w->held = x;
}

static void stream(struct http_exchange *x, void *arg)
{
    bool wait;
    (void)arg;
    http_begin(x, 200, "text/plain");
    http_send(x, STR("one"), &wait);
    http_send(x, STR("two"), &wait);
    http_end(x, ERR_OK);
}

static void on_message(void *owner, bool is_text, struct str message)
{
    struct world *w = owner;
    MUST(!is_text || str_is_utf8(message));
    if (str_starts(message, "bye"))
        websocket_close(w->socket, 1000, "bye");
    else
        (void)websocket_send(w->socket, is_text, message, 1 << 20);
}

static void on_closed(void *owner)
{
    ((struct world *)owner)->socket = NULL;
}
static const struct websocket_events events = {.on_message = on_message, .on_closed = on_closed};

static void live(struct http_exchange *x, void *arg)
{
    struct world *w = arg;
    w->socket = websocket_accept(x, &events, w);
}

static const struct http_route routes[] = {
    {"GET", "/", echo, 0, 0, ""},
    {"POST", "/write", echo, 70000, 0, ""},
    {"GET", "/later", later, 0, 0, ""},
    {"GET", "/stream", stream, 0, 0, ""},
    {"GET", "/live", live, 0, 0, ""},
    {"*", "/v1/{}/x/{}", echo, 100, 0, ""},
    {"POST", "/v1/sql", echo, 1000, 0, ""},
    {"*", "/files/{*}", echo, 100, 0, ""},
    {0},
};

/* ---- is what came back well-formed? ---- */

static void check_frames(struct reader r)
{
    while (reader_left(&r) && reader_ok(&r)) {
        unsigned first = reader_u8(&r), second = reader_u8(&r);
        uint64_t size = second;
        MUST((first & 0x80) && !(first & 0x70) &&
             !(second & 0x80)); /* whole, no extension, not masked */
        if (second == 126) size = reader_be16(&r);
        if (second == 127) size = reader_be64(&r);
        reader_skip(&r, (size_t)size);
    }
    MUST(reader_ok(&r));
}

static const char *find(struct reader *r, const char *what)
{
    return memmem(r->at, reader_left(r), what, strlen(what));
}

static void skip_chunks(struct reader *r)
{
    for (size_t size = 1; size;) {
        char digits[16] = "";
        const char *end = find(r, "\r\n");
        MUST(end && (size_t)(end - (const char *)r->at) < sizeof digits);
        memcpy(digits, r->at, (size_t)(end - (const char *)r->at));
        size = strtoul(digits, NULL, 16);
        reader_skip(r, strlen(digits) + 2 + size);
        const uint8_t *crlf = reader_take(r, 2);
        MUST(crlf && memcmp(crlf, "\r\n", 2) == 0);
    }
}

/* One answer; false when the rest is WebSocket. After a HEAD request the announced body is missing.
 */
static bool check_answer(struct reader *r, bool may_be_head)
{
    const char *start = (const char *)r->at, *end = find(r, "\r\n\r\n");
    MUST(reader_left(r) > 13 && memcmp(start, "HTTP/1.1 ", 9) == 0 && end);
    int status = (int)strtol(start + 9, NULL, 10);
    MUST(status >= 100 && status <= 599);
    char head[2048];
    size_t size = (size_t)(end + 4 - start);
    MUST(size < sizeof head);
    memcpy(head, start, size);
    head[size] = 0;
    reader_skip(r, size);
    if (status == 101) return false;
    if (status == 100 || status == 204) return true;
    bool no_body = may_be_head && (!reader_left(r) || memcmp(r->at, "HTTP/", 5) == 0);
    const char *length = strstr(head, "\r\nContent-Length: "),
               *chunked = strstr(head, "\r\nTransfer-Encoding: chunked\r\n");
    MUST(!length || !chunked);
    if (no_body) return true;
    if (length) reader_skip(r, strtoul(length + 18, NULL, 10));
    if (chunked) skip_chunks(r);
    if (!length && !chunked) reader_skip(r, reader_left(r)); /* to the end: HTTP/1.0 */
    MUST(reader_ok(r));
    return true;
}

static void check_all(const struct buf *received, bool may_be_head)
{
    struct reader r = reader_of(received->at, received->size);
    while (reader_left(&r))
        if (!check_answer(&r, may_be_head)) {
            check_frames(r);
            break;
        }
}

/* ---- one run ---- */

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);
int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size)
{
    if (size < 1) return 0;
    struct world w = {0};
    struct test_net *net = test_net_new();
    struct test_client client;
    struct http_server *server;
    struct os_address address = {.kind = OS_ADDRESS_TCP};
    struct http_server_config config = {.routes = routes, .guard = guard, .arg = &w};
    struct context *context = test_net_context(net);
    MUST(http_server_start(context, context->main, &address, NULL, &config, &server, NULL, NULL) ==
         ERR_OK);
    MUST(test_client_open(net, &client, 0, 0));
    unsigned cut = bytes[0];
    for (size_t at = 1, n; at < size; at += n) {
        n = cut == 0 ? size - at : 1 + (at * 7919 ^ cut) % cut;
        if (n > size - at) n = size - at;
        test_client_send(&client, bytes + at, n);
        test_net_run(net);
    }
    if (cut % 4 != 3) resume(&w, net); /* else the peer is gone before the answers */
    check_all(&client.received, memmem(bytes, size, "HEAD", 4) != NULL);
    if (cut % 4 == 3)
        test_client_close(&client);
    else
        test_net_advance(net, 500 * TIME_NS_PER_S);
    resume(&w, net);
    test_net_advance(net, 500 * TIME_NS_PER_S);
    MUST(http_server_connections(server) == 0 && !w.socket && w.user_count == 0);
    if (client.stream) test_client_close(&client);
    http_server_stop(server);
    test_net_run(net);
    test_net_free(net);
    return 0;
}
