/* http_testlib.h - a server over memory and a client of bytes, for the tests of the HTTP server. */
#ifndef NET_HTTP_TESTLIB_H
#define NET_HTTP_TESTLIB_H

#include "net/http.h"
#include "base/timetext.h"
#include "net/test_stream.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* ---- a server under test ---- */

struct world {
    struct test_net *net;
    struct http_server *server;
    struct http_exchange *held; /* by /later and /stream */
    unsigned gone_count, guard_count;
    bool drained, guard_waits;
};

static inline void echo(struct http_exchange *x, void *arg)
{
    (void)arg;
    const struct http_request *r = http_request_of(x);
    http_reply(x, 200, "text/plain", r->body.size ? r->body : r->path);
}

/* As a handler does whose answer found no memory in its middle. */
static inline void half(struct http_exchange *x, void *arg)
{
    struct buf out = BUF_EMPTY;
    (void)arg;
    buf_add_text(&out, "half of it");
    out.failed = true;
    http_reply_buf(x, str_is(http_request_of(x)->path, "/half") ? 200 : 409, "text/plain", &out);
    buf_free(&out);
}

static inline void later(struct http_exchange *x, void *arg)
{
    struct world *w = arg;
    assert_null(w->held);
    w->held = x;
}

static inline void note_gone(void *arg)
{
    struct world *w = arg;
    w->gone_count++;
}

static inline void note_drained(void *arg)
{
    struct world *w = arg;
    w->drained = true;
}

static inline void stream(struct http_exchange *x, void *arg)
{
    struct world *w = arg;
    w->held = x;
    http_on_gone(x, note_gone, w);
    http_on_drained(x, note_drained, w);
    http_begin(x, 200, "text/plain");
}

static inline void param(struct http_exchange *x, void *arg)
{
    (void)arg;
    struct str q = {"", 0};
    const struct http_request *r = http_request_of(x);
    bool found = http_query(x, "q", &q);
    char *text = arena_printf(http_arena(x), "%.*s|%.*s|%.*s", (int)r->params[0].size,
                              r->params[0].at, (int)r->params[1].size, r->params[1].at,
                              found ? (int)q.size : 1, found ? q.at : "-");
    http_add_header(x, "X-Test", "yes");
    http_add_header(x, "X-Split", "a\r\nSet-Cookie: b");
    http_reply(x, 200, "text/plain", str_of(text));
}

static inline void answer_error(struct http_exchange *x, void *arg)
{
    (void)arg;
    struct why why = WHY_NONE;
    enum err err = why_at(&why, ERR_NO_TABLE, 14, "no table \"x\"");
    http_reply_error(x, err, &why);
}

static inline bool guard(struct http_exchange *x, const struct http_route *route, void *arg)
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
    {"POST", "/big", echo, (size_t)20 << 20, 0, ""},
    {"POST", "/secret", echo, (size_t)20 << 20, 1, ""},
    {"GET", "/later", later, 0, 0, ""},
    {"GET", "/stream", stream, 0, 0, ""},
    {"GET", "/fail", answer_error, 0, 0, ""},
    {"GET", "/half", half, 0, 0, ""},
    {"GET", "/half/refused", half, 0, 0, ""},
    {"GET", "/things/{}", param, 0, 0, ""},
    {"GET", "/things/{}/parts/{}", param, 0, 0, ""},
    {"GET", "/things/special", echo, 0, 0, ""},
    {"*", "/files/{*}", param, 0, 0, ""},
    {0},
};

static inline int open_world(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct os_address address = {.kind = OS_ADDRESS_TCP, .host = "127.0.0.1"};
    struct http_server_config config = {.routes = routes, .guard = guard, .arg = w};
    w->net = test_net_new();
    assert_int_equal(http_server_start(test_net_context(w->net), test_net_context(w->net)->main,
                                       &address, NULL, &config, &w->server, NULL, NULL),
                     ERR_OK);
    *state = w;
    return 0;
}

static inline int close_world(void **state)
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

static inline void say(struct test_client *client, const char *text)
{
    test_client_send(client, text, strlen(text));
}

static inline int status_of(const char *answer)
{
    return strncmp(answer, "HTTP/1.1 ", 9) ? 0 : (int)strtol(answer + 9, NULL, 10);
}

static inline unsigned count_of(const char *text, const char *part)
{
    unsigned n = 0;
    for (const char *at = text; (at = strstr(at, part)); at += strlen(part)) n++;
    return n;
}

static inline bool ends_with(const char *text, const char *end)
{
    return strlen(text) >= strlen(end) && strcmp(text + strlen(text) - strlen(end), end) == 0;
}

#endif
