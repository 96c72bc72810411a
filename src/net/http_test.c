/* http_test.c - claims about the HTTP server, told over streams of memory. */
#include "net/http.h"
#include "base/timetext.h"
#include "net/test_stream.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <zlib.h>

/* ---- a server under test ---- */

struct world {
    struct test_net *net;
    struct http_server *server;
    struct http_exchange *held; /* by /later and /stream */
    unsigned gone_count, guard_count;
    bool drained, guard_waits;
};

static void echo(struct http_exchange *x, void *arg)
{
    (void)arg;
    const struct http_request *r = http_request_of(x);
    http_reply(x, 200, "text/plain", r->body.size ? r->body : r->path);
}

static void later(struct http_exchange *x, void *arg)
{
    struct world *w = arg;
    assert_null(w->held);
    w->held = x;
}

static void note_gone(void *arg)
{
    struct world *w = arg;
    w->gone_count++;
}

static void note_drained(void *arg)
{
    struct world *w = arg;
    w->drained = true;
}

static void stream(struct http_exchange *x, void *arg)
{
    struct world *w = arg;
    w->held = x;
    http_on_gone(x, note_gone, w);
    http_on_drained(x, note_drained, w);
    http_begin(x, 200, "text/plain");
}

static void param(struct http_exchange *x, void *arg)
{
    (void)arg;
    struct str q = {"", 0};
    const struct http_request *r = http_request_of(x);
    bool found = http_query(x, "q", &q);
    char *text = arena_printf(http_arena(x), "%.*s|%.*s|%.*s", (int)r->params[0].size, r->params[0].at,
                              (int)r->params[1].size, r->params[1].at, found ? (int)q.size : 1, found ? q.at : "-");
    http_add_header(x, "X-Test", "yes");
    http_add_header(x, "X-Split", "a\r\nSet-Cookie: b");
    http_reply(x, 200, "text/plain", str_of(text));
}

static void answer_error(struct http_exchange *x, void *arg)
{
    (void)arg;
    struct why why = WHY_NONE;
    enum err err = why_at(&why, ERR_NO_TABLE, 14, "no table \"x\"");
    http_reply_error(x, err, &why);
}

static bool guard(struct http_exchange *x, const struct http_route *route, void *arg)
{
    struct world *w = arg;
    w->guard_count++;
    if (w->guard_waits) {
        w->held = x;
        return false;
    }
    if (route->flags != 1 || http_header(http_request_of(x), "Authorization").size) return true;
    http_reply_error(x, ERR_UNAUTHENTICATED, NULL);
    return false;
}

static const struct http_route routes[] = {
    {"GET", "/", echo, 0, 0, ""},
    {"GET", "/echo", echo, 0, 0, ""},
    {"POST", "/echo", echo, 1000, 0, ""},
    {"POST", "/big", echo, 20 * 1024 * 1024, 0, ""},
    {"POST", "/secret", echo, 20 * 1024 * 1024, 1, ""},
    {"GET", "/later", later, 0, 0, ""},
    {"GET", "/stream", stream, 0, 0, ""},
    {"GET", "/fail", answer_error, 0, 0, ""},
    {"GET", "/things/{}", param, 0, 0, ""},
    {"GET", "/things/{}/parts/{}", param, 0, 0, ""},
    {"GET", "/things/special", echo, 0, 0, ""},
    {"*", "/files/{*}", param, 0, 0, ""},
    {0},
};

static int open_world(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct os_address address = {.kind = OS_ADDRESS_TCP, .host = "127.0.0.1"};
    struct http_server_config config = {.routes = routes, .guard = guard, .arg = w};
    w->net = test_net_new();
    assert_int_equal(http_server_start(test_net_context(w->net), test_net_context(w->net)->main, &address, NULL,
                                       &config, &w->server, NULL, NULL), ERR_OK);
    *state = w;
    return 0;
}

static int close_world(void **state)
{
    struct world *w = *state;
    http_server_stop(w->server);
    test_net_run(w->net);
    test_net_free(w->net);
    free(w);
    return 0;
}

/* Sends the text to a new client and gives all it got; the client stays open in `client`. */
static const char *ask(struct world *w, struct test_client *client, const char *text)
{
    if (!client->stream) assert_true(test_client_open(w->net, client, 0, 0));
    buf_clear(&client->received);
    test_client_send(client, text, strlen(text));
    test_net_run(w->net);
    return buf_cstr(&client->received);
}

static void say(struct test_client *client, const char *text) { test_client_send(client, text, strlen(text)); }

static int status_of(const char *answer) { return strncmp(answer, "HTTP/1.1 ", 9) ? 0 : atoi(answer + 9); }

static unsigned count_of(const char *text, const char *part)
{
    unsigned n = 0;
    for (const char *at = text; (at = strstr(at, part)); at += strlen(part)) n++;
    return n;
}

static bool ends_with(const char *text, const char *end)
{
    return strlen(text) >= strlen(end) && strcmp(text + strlen(text) - strlen(end), end) == 0;
}

/* ---- claims ---- */

static void a_request_gets_its_answer_and_the_connection_stays(void **state)
{
    struct test_client c = {0};
    const char *answer = ask(*state, &c, "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(status_of(answer), 200);
    assert_non_null(strstr(answer, "\r\nDate: Tue, 14 Nov 2023 22:13:20 GMT\r\n"));
    assert_non_null(strstr(answer, "\r\nContent-Length: 5\r\n"));
    assert_true(ends_with(answer, "\r\n\r\n/echo"));
    answer = ask(*state, &c, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc");
    assert_true(ends_with(answer, "\r\n\r\nabc"));
    assert_false(c.is_closed);
    test_client_close(&c);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    struct world *w = *state;
    struct test_client c = {0};
    const char *answer = ask(w, &c, "GET /later HTTP/1.1\r\nHost: h\r\n\r\nGET /echo HTTP/1.1\r\nHost: h\r\n\r\n"
                                    "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nxyz");
    assert_string_equal(answer, "");
    http_reply(w->held, 200, "text/plain", STR("first"));
    test_net_run(w->net);
    answer = buf_cstr(&c.received);
    assert_int_equal(count_of(answer, "HTTP/1.1 200 OK"), 3);
    assert_true(strstr(answer, "first") < strstr(answer, "/echo"));
    assert_true(ends_with(answer, "xyz"));
    test_client_close(&c);
}

static void bytes_may_come_one_by_one(void **state)
{
    struct world *w = *state;
    struct test_client c;
    assert_true(test_client_open(w->net, &c, 0, 1));
    const char *answer = ask(w, &c, "\r\nPOST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                                    "3\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"
                                    "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(count_of(answer, "HTTP/1.1 200 OK"), 2);
    assert_non_null(strstr(answer, "abc0123456789HTTP/1.1"));
    test_client_close(&c);
}

#define GET "GET /echo HTTP/1.1\r\n"
#define POST "POST /echo HTTP/1.1\r\nHost: h\r\n"

/* What two readers of the same bytes could understand differently, and what is simply wrong. */
static const struct {
    const char *name, *text;
    int status;
} refused[] = {
    {"length and coding", POST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
    {"coding and length", POST "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400},
    {"two lengths", POST "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400},
    {"two equal lengths", POST "Content-Length: 3\r\ncontent-length: 3\r\n\r\nabc", 400},
    {"length list", POST "Content-Length: 3, 3\r\n\r\nabc", 400},
    {"signed length", POST "Content-Length: +3\r\n\r\nabc", 400},
    {"negative length", POST "Content-Length: -3\r\n\r\nabc", 400},
    {"hexadecimal length", POST "Content-Length: 0x3\r\n\r\nabc", 400},
    {"huge length", POST "Content-Length: 99999999999999999999\r\n\r\n", 400},
    {"empty length", POST "Content-Length:\r\n\r\n", 400},
    {"two codings", POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
    {"coding list", POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501},
    {"unknown coding", POST "Transfer-Encoding: xchunked\r\n\r\n", 501},
    {"coding in 1.0", "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
    {"folded header", GET "Host: h\r\nX: a\r\n b\r\n\r\n", 400},
    {"folded coding", POST "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400},
    {"bare LF in the request line", "GET /echo HTTP/1.1\nHost: h\r\n\r\n", 400},
    {"bare LF in a header", GET "Host: h\nX: y\r\n\r\n", 400},
    {"bare LF at the end", GET "Host: h\r\n\n", 400},
    {"bare CR in a header", GET "Host: h\r\nX: a\rb\r\n\r\n", 400},
    {"NUL-like control", GET "Host: h\r\nX: a\001b\r\n\r\n", 400},
    {"space before colon", GET "Host : h\r\n\r\n", 400},
    {"space before the coding's colon", POST "Transfer-Encoding : chunked\r\n\r\n", 400},
    {"no name", GET "Host: h\r\n: x\r\n\r\n", 400},
    {"no colon", GET "Host: h\r\nnonsense\r\n\r\n", 400},
    {"no host", GET "\r\n", 400},
    {"two hosts", GET "Host: a\r\nHost: b\r\n\r\n", 400},
    {"empty host", GET "Host:\r\n\r\n", 400},
    {"host with a path", GET "Host: a/b\r\n\r\n", 400},
    {"two spaces", "GET  /echo HTTP/1.1\r\nHost: h\r\n\r\n", 400},
    {"tab for a space", "GET\t/echo HTTP/1.1\r\nHost: h\r\n\r\n", 400},
    {"no version", "GET /echo\r\nHost: h\r\n\r\n", 400},
    {"version 2.0", "GET /echo HTTP/2.0\r\nHost: h\r\n\r\n", 505},
    {"version 1.2", "GET /echo HTTP/1.2\r\nHost: h\r\n\r\n", 505},
    {"unknown method", "BREW /echo HTTP/1.1\r\nHost: h\r\n\r\n", 501},
    {"lower-case method", "get /echo HTTP/1.1\r\nHost: h\r\n\r\n", 501},
    {"TLS hello", "\x16\x03\x01\x02\x01\x01\x01\xfc\x03\x03\r\n\r\n", 400},
    {"two empty lines first", "\r\n\r\nGET /echo HTTP/1.1\r\nHost: h\r\n\r\n", 400},
    {"authority form", "CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n", 400},
    {"NUL in the path", "GET /a%00b HTTP/1.1\r\nHost: h\r\n\r\n", 400},
    {"path that is no UTF-8", "GET /%ff HTTP/1.1\r\nHost: h\r\n\r\n", 400},
    {"overlong UTF-8", "GET /%c0%af HTTP/1.1\r\nHost: h\r\n\r\n", 400},
    {"cut escape", "GET /a%4 HTTP/1.1\r\nHost: h\r\n\r\n", 400},
    {"wrong escape", "GET /a%zz HTTP/1.1\r\nHost: h\r\n\r\n", 400},
    {"chunk size with LF", POST "Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n", 400},
    {"chunk extension", POST "Transfer-Encoding: chunked\r\n\r\n3;a=\nb\r\nabc\r\n0\r\n\r\n", 400},
    {"chunk size with a sign", POST "Transfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n", 400},
    {"chunk size too long", POST "Transfer-Encoding: chunked\r\n\r\n000000003\r\nabc\r\n0\r\n\r\n", 400},
    {"chunk longer than told", POST "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", 400},
    {"empty chunk size", POST "Transfer-Encoding: chunked\r\n\r\n\r\n", 400},
    {"strange expectation", POST "Expect: magic\r\nContent-Length: 1\r\n\r\na", 417},
    {"unknown content coding", POST "Content-Encoding: br\r\nContent-Length: 1\r\n\r\na", 415},
    {"body over the path's limit", POST "Content-Length: 1001\r\n\r\n", 413},
    {"body where none is wanted", GET "Host: h\r\nContent-Length: 1\r\n\r\na", 413},
    {"damaged gzip", POST "Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd", 400},
};

static void ambiguous_requests_are_refused_and_end_the_connection(void **state)
{
    struct world *w = *state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        for (size_t split = 0; split < 2; split++) { /* in one piece and byte by byte */
            struct test_client c;
            assert_true(test_client_open(w->net, &c, 0, split));
            const char *answer = ask(w, &c, refused[i].text);
            if (status_of(answer) != refused[i].status) fail_msg("%s: %s", refused[i].name, answer);
            if (count_of(answer, "\r\nDate: ") != 1) fail_msg("%s: answered twice", refused[i].name);
            assert_non_null(strstr(answer, "Connection: close\r\n"));
            /* Whatever follows is not taken for a request. */
            assert_string_equal(ask(w, &c, "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n"), "");
            test_net_advance(w->net, 3 * TIME_NS_PER_S);
            assert_true(c.is_closed);
            test_client_close(&c);
            test_net_run(w->net);
        }
    }
    assert_int_equal(http_server_connections(w->server), 0);
}

static void refusals_say_what_is_wrong(void **state)
{
    static const struct {
        const char *text, *says;
    } texts[] = {
        {POST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", "Content-Length and Transfer-Encoding in one request"},
        {POST "Content-Length: 3\r\nContent-Length: 3\r\n\r\n", "more than one Content-Length header"},
        {POST "Content-Length: x\r\n\r\n", "Content-Length is not a decimal number"},
        {GET "\r\n", "the Host header is missing"},
        {GET "Host: h\r\nX : y\r\n\r\n", "a header has no valid name before its colon"},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct test_client c = {0};
        const char *answer = ask(*state, &c, texts[i].text);
        if (!strstr(answer, texts[i].says)) fail_msg("%s: %s", texts[i].says, answer);
        test_client_close(&c);
    }
}

static void accepted_oddities(void **state)
{
    static const struct {
        const char *text, *end;
    } good[] = {
        {"GET http://other/echo HTTP/1.1\r\nHost: h\r\n\r\n", "/echo"},
        {"GET /echo?x=/y HTTP/1.1\r\nHost: [::1]:8420\r\n\r\n", "/echo"},
        {"GET /%65cho HTTP/1.1\r\nHost: h\r\nX:\r\nY: \xc3\xa9\r\n\r\n", "/echo"},
        {"GET / HTTP/1.0\r\n\r\n", "/"},
        {"GET /things/special HTTP/1.1\r\nHost: h\r\n\r\n", "/things/special"},
        {"GET /things/a%2Fb HTTP/1.1\r\nHost: h\r\n\r\n", "a/b||-"},
        {"GET /things/a/parts/b%20c?q=1+%2B1&q=2 HTTP/1.1\r\nHost: h\r\n\r\n", "a|b c|1 +1"},
        {"PATCH /files/a/../b HTTP/1.1\r\nHost: h\r\n\r\n", "a/../b||-"},
        {"GET /files/ HTTP/1.1\r\nHost: h\r\n\r\n", "||-"},
        {"GET /fail HTTP/1.1\r\nHost: h\r\n\r\n",
         "{\"error\":{\"code\":\"NO_TABLE\",\"message\":\"no table \\\"x\\\"\",\"position\":14}}\n"},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct test_client c = {0};
        const char *answer = ask(*state, &c, good[i].text);
        if (!ends_with(answer, good[i].end)) fail_msg("%s: %s", good[i].text, answer);
        assert_null(strstr(answer, "Set-Cookie"));
        test_client_close(&c);
    }
}

static void unknown_paths_and_methods(void **state)
{
    struct test_client c = {0};
    assert_int_equal(status_of(ask(*state, &c, "GET /none HTTP/1.1\r\nHost: h\r\n\r\n")), 404);
    const char *answer = ask(*state, &c, "DELETE /echo HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(status_of(answer), 405);
    assert_non_null(strstr(answer, "\r\nAllow: GET, HEAD, POST, OPTIONS\r\n"));
    answer = ask(*state, &c, "OPTIONS /echo HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(status_of(answer), 204);
    assert_non_null(strstr(answer, "\r\nAllow: GET, HEAD, POST, OPTIONS\r\n"));
    assert_int_equal(status_of(ask(*state, &c, "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n")), 204);
    answer = ask(*state, &c, "HEAD /echo HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_non_null(strstr(answer, "\r\nContent-Length: 5\r\n"));
    assert_true(ends_with(answer, "\r\n\r\n"));
    assert_false(c.is_closed);
    test_client_close(&c);
}

/* ---- streams, back-pressure, peers that leave ---- */

static void a_streamed_answer_waits_for_a_slow_peer(void **state)
{
    struct world *w = *state;
    struct test_client c;
    static char block[64 * 1024];
    bool wait = false;
    assert_true(test_client_open(w->net, &c, 1000, 0));
    ask(w, &c, "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
    memset(block, 'x', sizeof block);
    size_t sent = 0;
    for (; !wait && sent < 100 * sizeof block; sent += sizeof block)
        http_send(w->held, (struct str){block, sizeof block}, &wait);
    assert_true(wait && sent <= 6 * sizeof block);
    test_net_run(w->net);
    assert_false(w->drained);
    test_client_take(&c, 10 * sizeof block);
    test_net_run(w->net);
    assert_true(w->drained);
    http_end(w->held, ERR_OK);
    test_net_run(w->net);
    const char *answer = buf_cstr(&c.received);
    assert_non_null(strstr(answer, "\r\nTransfer-Encoding: chunked\r\n"));
    assert_non_null(strstr(answer, "\r\n\r\n10000\r\nxxxx"));
    assert_true(ends_with(answer, "x\r\n0\r\n\r\n"));
    assert_int_equal(status_of(ask(w, &c, "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n")), 200);
    test_client_close(&c);
}

static void a_stream_that_fails_is_cut_and_to_http10_it_ends_with_the_connection(void **state)
{
    struct world *w = *state;
    struct test_client c = {0};
    bool wait;
    ask(w, &c, "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
    http_send(w->held, STR("half"), &wait);
    http_end(w->held, ERR_IO);
    test_net_run(w->net);
    assert_true(c.is_closed);
    assert_null(strstr(buf_cstr(&c.received), "\r\n0\r\n"));
    test_client_close(&c);
    ask(w, &c, "GET /stream HTTP/1.0\r\n\r\n");
    http_send(w->held, STR("all"), &wait);
    http_end(w->held, ERR_OK);
    test_net_run(w->net);
    assert_true(ends_with(buf_cstr(&c.received), "\r\n\r\nall"));
    assert_true(c.is_closed);
    test_client_close(&c);
}

static void a_handler_is_told_when_the_peer_leaves_and_may_still_answer(void **state)
{
    struct world *w = *state;
    struct test_client c = {0};
    bool wait = true;
    ask(w, &c, "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
    test_client_close(&c);
    test_net_run(w->net);
    assert_int_equal(w->gone_count, 1);
    assert_true(http_is_gone(w->held));
    http_send(w->held, STR("late"), &wait);
    assert_false(wait);
    http_end(w->held, ERR_OK);
    assert_int_equal(http_server_connections(w->server), 0);
}

static void a_handler_may_answer_after_the_server_was_stopped(void **state)
{
    struct world *w = *state;
    struct test_client c = {0};
    ask(w, &c, "GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
    http_server_stop(w->server);
    http_reply(w->held, 200, "text/plain", STR("late"));
    test_net_run(w->net);
    assert_true(c.is_closed);
    test_client_close(&c);
    struct os_address address = {.kind = OS_ADDRESS_TCP};
    struct http_server_config config = {.routes = routes};
    assert_int_equal(http_server_start(test_net_context(w->net), test_net_context(w->net)->main, &address, NULL,
                                       &config, &w->server, NULL, NULL), ERR_OK);
}

/* ---- guards and bodies ---- */

static void strangers_are_refused_before_their_body_is_read(void **state)
{
    struct world *w = *state;
    struct test_client c = {0};
    const char *answer = ask(w, &c, "POST /secret HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n");
    assert_int_equal(status_of(answer), 401);
    /* A small body is read over and the connection goes on. */
    answer = ask(w, &c, "helloGET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_true(ends_with(answer, "/echo"));
    answer = ask(w, &c, "POST /secret HTTP/1.1\r\nHost: h\r\nContent-Length: 9000000\r\n\r\n");
    assert_int_equal(status_of(answer), 401);
    assert_non_null(strstr(answer, "Connection: close"));
    test_net_advance(w->net, 3 * TIME_NS_PER_S);
    assert_true(c.is_closed);
    test_client_close(&c);
}

static void a_guard_may_take_its_time(void **state)
{
    struct world *w = *state;
    struct test_client c = {0};
    w->guard_waits = true;
    assert_string_equal(ask(w, &c, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"), "");
    http_resume(w->held);
    test_net_run(w->net);
    assert_true(ends_with(buf_cstr(&c.received), "\r\n\r\nabc"));
    ask(w, &c, "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
    test_client_close(&c);
    test_net_run(w->net);
    http_resume(w->held); /* the peer is gone meanwhile */
    assert_int_equal(http_server_connections(w->server), 0);
}

static void a_body_is_asked_for_when_the_client_wants_to_be_asked(void **state)
{
    struct test_client c = {0};
    const char *answer = ask(*state, &c, "POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    assert_string_equal(answer, "HTTP/1.1 100 Continue\r\n\r\n");
    assert_true(ends_with(ask(*state, &c, "abc"), "\r\n\r\nabc"));
    answer = ask(*state, &c, "POST /secret HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    assert_int_equal(status_of(answer), 401);
    assert_non_null(strstr(answer, "Connection: close"));
    test_client_close(&c);
}

static size_t gzip(const char *bytes, size_t size, unsigned char *out, size_t room)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)bytes, .avail_in = (uInt)size, .next_out = out, .avail_out = (uInt)room};
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return room - z.avail_out;
}

static const char *post_gzip(struct world *w, struct test_client *c, const char *path, const unsigned char *body, size_t size)
{
    char head[200];
    snprintf(head, sizeof head, "POST %s HTTP/1.1\r\nHost: h\r\nContent-Encoding: gzip\r\nContent-Length: %zu\r\n\r\n", path, size);
    if (!c->stream) assert_true(test_client_open(w->net, c, 0, 0));
    buf_clear(&c->received);
    test_client_send(c, head, strlen(head));
    test_client_send(c, body, size);
    test_net_run(w->net);
    return buf_cstr(&c->received);
}

static void gzip_bodies_are_undone_within_the_limit(void **state)
{
    struct world *w = *state;
    struct test_client c = {0};
    unsigned char packed[40000];
    size_t size = gzip("line protocol", 13, packed, sizeof packed);
    assert_true(ends_with(post_gzip(w, &c, "/echo", packed, size), "\r\n\r\nline protocol"));
    size_t more = gzip(" twice", 6, packed + size, sizeof packed - size); /* two members */
    assert_true(ends_with(post_gzip(w, &c, "/echo", packed, size + more), "line protocol twice"));
    assert_int_equal(status_of(post_gzip(w, &c, "/echo", packed, size - 3)), 400); /* cut */
    test_client_close(&c);
    char *zeros = calloc(1, 30 << 20); /* 30 MiB from 30 kB */
    size = gzip(zeros, 30 << 20, packed, sizeof packed);
    free(zeros);
    assert_int_equal(status_of(post_gzip(w, &c, "/big", packed, size)), 413);
    assert_true(atomic_load(&test_net_context(w->net)->memory.peak_bytes) <= 48u << 20);
    test_client_close(&c);
}

static void bodies_stop_at_the_memory_budget(void **state)
{
    struct world *w = *state;
    struct test_client c = {0};
    test_net_context(w->net)->memory.limit_bytes = 100000;
    static char body[200000];
    memset(body, 'b', sizeof body);
    ask(w, &c, "POST /big HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n");
    test_client_send(&c, body, sizeof body);
    test_net_run(w->net);
    assert_int_equal(status_of(buf_cstr(&c.received)), 503);
    test_client_close(&c);
}

/* ---- time and numbers ---- */

static void silent_and_slow_peers_are_let_go(void **state)
{
    struct world *w = *state;
    struct test_client silent = {0}, slow = {0}, idle = {0}, body = {0}, steady = {0};
    static char piece[3000];
    assert_true(test_client_open(w->net, &silent, 0, 0));
    ask(w, &slow, "GET /echo HT");
    ask(w, &idle, "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
    ask(w, &body, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n1");
    ask(w, &steady, "POST /big HTTP/1.1\r\nHost: h\r\nContent-Length: 90000\r\n\r\n1");
    for (unsigned i = 0; i < 11; i++) { /* a byte each second does not buy more time */
        test_net_advance(w->net, TIME_NS_PER_S);
        if (!slow.is_closed) say(&slow, "T");
        test_client_send(&steady, piece, sizeof piece);
    }
    assert_true(silent.is_closed);
    assert_int_equal(status_of(buf_cstr(&slow.received)), 408);
    assert_false(idle.is_closed);
    test_net_advance(w->net, 20 * TIME_NS_PER_S);
    assert_int_equal(status_of(buf_cstr(&body.received)), 408);
    assert_false(steady.is_closed); /* slow but steady is welcome */
    test_net_advance(w->net, 50 * TIME_NS_PER_S);
    assert_true(idle.is_closed && body.is_closed && slow.is_closed);
    assert_int_equal(http_server_connections(w->server), 0);
    test_client_close(&silent);
    test_client_close(&slow);
    test_client_close(&idle);
    test_client_close(&body);
    test_client_close(&steady);
}

static void a_peer_that_reads_nothing_is_cut(void **state)
{
    struct world *w = *state;
    struct test_client c;
    assert_true(test_client_open(w->net, &c, 100, 0));
    for (unsigned i = 0; i < 3000; i++) say(&c, "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
    test_net_run(w->net);
    assert_true(atomic_load(&test_net_context(w->net)->memory.used_bytes) < 200000);
    test_net_advance(w->net, 200 * TIME_NS_PER_S);
    assert_true(c.is_closed);
    test_client_close(&c);
}

static void ten_thousand_half_open_connections_do_not_stop_service(void **state)
{
    struct world *w = *state;
    enum { MANY = 10000 };
    struct test_client *many = calloc(MANY, sizeof *many), c = {0};
    for (size_t i = 0; i < MANY; i++) {
        assert_true(test_client_open(w->net, &many[i], 0, 0));
        if (i % 2) say(&many[i], "GET / HTTP/1.1\r\nX: ");
        if (i % 500 == 0) test_net_run(w->net);
    }
    assert_true(http_server_connections(w->server) <= HTTP_CONNECTIONS_MAX);
    assert_true(atomic_load(&test_net_context(w->net)->memory.used_bytes) < 1 << 20);
    assert_int_equal(status_of(ask(w, &c, "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n")), 200);
    assert_true(metric_get(test_net_context(w->net), METRIC_HTTP_REFUSED) > 0);
    test_client_close(&c);
    for (size_t i = 0; i < MANY; i++) test_client_close(&many[i]);
    test_net_run(w->net);
    assert_int_equal(http_server_connections(w->server), 0);
    free(many);
}

static void at_the_limit_new_connections_are_refused_when_all_are_at_work(void **state)
{
    struct world *w = *state;
    struct test_client *many = calloc(HTTP_CONNECTIONS_MAX, sizeof *many), c = {0};
    for (size_t i = 0; i < HTTP_CONNECTIONS_MAX; i++)
        ask(w, &many[i], "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n1");
    const char *answer = ask(w, &c, "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(status_of(answer), 503);
    const char *body = strstr(answer, "\r\n\r\n") + 4; /* its written-down length is right */
    assert_int_equal(strlen(body), atoi(strstr(answer, "Content-Length: ") + 16));
    test_client_close(&c);
    for (size_t i = 0; i < HTTP_CONNECTIONS_MAX; i++) test_client_close(&many[i]);
    test_net_run(w->net);
    free(many);
}

static void limits_of_the_head(void **state)
{
    struct world *w = *state;
    struct buf text = BUF_EMPTY;
    for (unsigned kind = 0; kind < 3; kind++) {
        struct test_client c = {0};
        buf_clear(&text);
        buf_add_text(&text, "GET /echo HTTP/1.1\r\nHost: h\r\n");
        unsigned count = kind == 0 ? 99 : kind == 1 ? 100 : 0;
        for (unsigned i = 0; i < count; i++) buf_printf(&text, "X%u: y\r\n", i);
        for (unsigned i = 0; kind == 2 && i < 20000; i++) buf_add_char(&text, 'x'); /* one line without an end */
        if (kind < 2) buf_add_text(&text, "\r\n");
        assert_int_equal(status_of(ask(w, &c, buf_cstr(&text))), kind == 0 ? 200 : 431);
        test_client_close(&c);
    }
    buf_free(&text);
}

/* ---- memory ---- */

static void every_failing_allocation_of_an_exchange_is_survived(void **state)
{
    struct world *w = *state;
    for (uint64_t n = 1;; n++) {
        struct test_client c = {0};
        mem_test_fail(n);
        bool open = test_client_open(w->net, &c, 0, 20);
        if (open) {
            say(&c, "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
            say(&c, "GET /things/a/parts/b?q=c HTTP/1.1\r\nHost: h\r\n\r\nPUT /echo HTTP/1.1\r\nHost: h\r\n\r\n");
            test_net_run(w->net);
        }
        bool done = mem_test_count() < n;
        mem_test_fail(0);
        if (open) {
            const char *answer = buf_cstr(&c.received);
            if (done) {
                assert_int_equal(count_of(answer, "HTTP/1.1 200"), 2);
                assert_int_equal(count_of(answer, "HTTP/1.1 405"), 1);
            }
            test_client_close(&c);
        }
        test_net_run(w->net);
        assert_int_equal(http_server_connections(w->server), 0);
        assert_int_equal(atomic_load(&test_net_context(w->net)->memory.used_bytes), 0);
        if (done) break;
        assert_true(n < 1000);
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, open_world, close_world)
    const struct CMUnitTest tests[] = {
        T(a_request_gets_its_answer_and_the_connection_stays),
        T(pipelined_requests_are_answered_in_order),
        T(bytes_may_come_one_by_one),
        T(ambiguous_requests_are_refused_and_end_the_connection),
        T(refusals_say_what_is_wrong),
        T(accepted_oddities),
        T(unknown_paths_and_methods),
        T(a_streamed_answer_waits_for_a_slow_peer),
        T(a_stream_that_fails_is_cut_and_to_http10_it_ends_with_the_connection),
        T(a_handler_is_told_when_the_peer_leaves_and_may_still_answer),
        T(a_handler_may_answer_after_the_server_was_stopped),
        T(strangers_are_refused_before_their_body_is_read),
        T(a_guard_may_take_its_time),
        T(a_body_is_asked_for_when_the_client_wants_to_be_asked),
        T(gzip_bodies_are_undone_within_the_limit),
        T(bodies_stop_at_the_memory_budget),
        T(silent_and_slow_peers_are_let_go),
        T(a_peer_that_reads_nothing_is_cut),
        T(ten_thousand_half_open_connections_do_not_stop_service),
        T(at_the_limit_new_connections_are_refused_when_all_are_at_work),
        T(limits_of_the_head),
        T(every_failing_allocation_of_an_exchange_is_survived),
    };
    return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
