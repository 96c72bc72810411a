/* tls_test.c - claims about TLS streams: over memory, and an HTTP server behind them. */
#include "net/http.h"
#include "base/timetext.h"
#include "net/test_stream.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

struct side {
    struct os_stream *stream;
    struct buf received;
    bool is_open, is_drained, close_at_read;
    enum err err;
    char text[256];
};

static void on_open(void *owner)
{
    ((struct side *)owner)->is_open = true;
}
static void on_read(void *owner, const uint8_t *bytes, size_t size)
{
    struct side *s = owner;
    buf_add(&s->received, bytes, size);
    if (s->close_at_read) os_stream_close(&s->stream);
}
static void on_drained(void *owner)
{
    ((struct side *)owner)->is_drained = true;
}
static void on_closed(void *owner, enum err err, const char *text)
{
    struct side *s = owner;
    s->err = err;
    snprintf(s->text, sizeof s->text, "%s", text);
}
static const struct os_stream_events events = {on_open, on_read, on_drained, on_closed};

struct world {
    struct test_net *net;
    struct buf certificate, key;
    struct tls_config *server_config, *client_config;
    struct side server, client;
};

static struct str text_of(const struct buf *b)
{
    return buf_str(b);
}

static int open_world(void **state)
{
    static const char *const names[] = {"gw7.local", "127.0.0.1", "::1"};
    struct world *w = calloc(1, sizeof *w);
    w->net = test_net_new();
    /* OpenSSL judges dates by the machine's clock: the certificate must hold today. */
    assert_int_equal(
        tls_make_self_signed("gw7", names, 3, 1700000000, 36000, &w->certificate, &w->key, NULL),
        ERR_OK);
    assert_int_equal(tls_server_config(text_of(&w->certificate), text_of(&w->key), (struct str){0},
                                       &w->server_config, NULL),
                     ERR_OK);
    assert_int_equal(tls_client_config((struct str){0}, (struct str){0}, text_of(&w->certificate),
                                       NULL, &w->client_config, NULL),
                     ERR_OK);
    *state = w;
    return 0;
}

static int close_world(void **state)
{
    struct world *w = *state;
    os_stream_close(&w->server.stream);
    os_stream_close(&w->client.stream);
    buf_free(&w->server.received);
    buf_free(&w->client.received);
    test_net_run(w->net);
    test_net_free(w->net);
    tls_config_release(w->server_config);
    tls_config_release(w->client_config);
    buf_free(&w->certificate);
    buf_free(&w->key);
    free(w);
    return 0;
}

static void connect_both(struct world *w, const char *host, size_t deliver_bytes)
{
    struct os_stream *a, *b;
    struct os *os = test_net_os(w->net);
    assert_true(test_net_pair(w->net, deliver_bytes, &a, &b));
    assert_int_equal(
        tls_wrap_server(w->server_config, os, test_net_task(w->net), a, &w->server.stream), ERR_OK);
    assert_int_equal(
        tls_wrap_client(w->client_config, os, test_net_task(w->net), host, b, &w->client.stream),
        ERR_OK);
    os_stream_own(w->server.stream, &events, &w->server);
    os_stream_own(w->client.stream, &events, &w->client);
    b->events->on_open(b->owner); /* as a stream that has just connected */
    test_net_run(w->net);
}

static void both_sides_open_and_talk(void **state)
{
    struct world *w = *state;
    connect_both(w, "127.0.0.1", 7);
    assert_true(w->server.is_open && w->client.is_open);
    char *big = malloc(100000);
    memset(big, 'b', 100000);
    assert_int_equal(os_stream_write(w->client.stream, "hello", 5), ERR_OK);
    assert_int_equal(os_stream_write(w->server.stream, big, 100000), ERR_OK);
    test_net_run(w->net);
    assert_int_equal(w->server.received.size, 5);
    assert_int_equal(w->client.received.size, 100000);
    os_stream_close(&w->client.stream);
    test_net_run(w->net);
    assert_int_equal(w->server.err, ERR_CLOSED);
    assert_int_equal(os_stream_write(w->server.stream, "x", 1), ERR_CLOSED);
    free(big);
}

static void a_paused_stream_reads_nothing_and_loses_nothing(void **state)
{
    struct world *w = *state;
    connect_both(w, "gw7.local", 0);
    os_stream_pause(w->server.stream, true);
    assert_int_equal(os_stream_write(w->client.stream, "hello", 5), ERR_OK);
    test_net_run(w->net);
    assert_int_equal(w->server.received.size, 0);
    os_stream_pause(w->server.stream, false);
    assert_int_equal(w->server.received.size, 0); /* never inside the call */
    test_net_advance(w->net, 1);
    assert_int_equal(w->server.received.size, 5);
}

static void a_stream_may_be_closed_while_it_reads(void **state)
{
    struct world *w = *state;
    connect_both(w, "gw7.local", 0);
    w->server.close_at_read = true;
    assert_int_equal(os_stream_write(w->client.stream, "hello", 5), ERR_OK);
    assert_int_equal(os_stream_write(w->client.stream, "again", 5), ERR_OK);
    test_net_run(w->net);
    assert_null(w->server.stream);
    assert_int_equal(w->server.received.size, 5);
    assert_int_equal(w->client.err, ERR_CLOSED);
}

static void the_wrong_name_is_refused_with_a_clear_text(void **state)
{
    struct world *w = *state;
    connect_both(w, "other.example", 0);
    assert_false(w->client.is_open || w->server.is_open);
    assert_int_equal(w->client.err, ERR_TLS);
    assert_string_equal(w->client.text, "TLS: the peer's certificate: hostname mismatch");
    assert_int_equal(w->server.err, ERR_TLS);
    assert_non_null(strstr(w->server.text, "alert"));
}

static void an_unknown_certificate_is_refused_unless_it_is_pinned(void **state)
{
    struct world *w = *state;
    struct buf other = BUF_EMPTY, key = BUF_EMPTY;
    char print[128];
    uint8_t pin[32];
    assert_int_equal(tls_make_self_signed("x", NULL, 0, 1700000000, 36000, &other, &key, NULL),
                     ERR_OK);
    tls_config_release(w->client_config);
    assert_int_equal(tls_client_config((struct str){0}, (struct str){0}, text_of(&other), NULL,
                                       &w->client_config, NULL),
                     ERR_OK);
    connect_both(w, "gw7.local", 0);
    assert_int_equal(w->client.err, ERR_TLS);
    assert_string_equal(w->client.text, "TLS: the peer's certificate: self-signed certificate");
    for (unsigned wrong = 0; wrong < 2; wrong++) {
        os_stream_close(&w->server.stream);
        os_stream_close(&w->client.stream);
        w->client.is_open = false;
        assert_true(tls_fingerprint(text_of(&w->certificate), print, sizeof print));
        for (size_t i = 0; i < 32; i++) pin[i] = (uint8_t)strtoul(print + 7 + 3 * i, NULL, 16);
        pin[5] ^= (uint8_t)wrong;
        tls_config_release(w->client_config);
        assert_int_equal(tls_client_config((struct str){0}, (struct str){0}, (struct str){0}, pin,
                                           &w->client_config, NULL),
                         ERR_OK);
        connect_both(w, "whatever", 0);
        assert_int_equal(w->client.is_open, !wrong);
    }
    assert_non_null(strstr(w->client.text, "pinned"));
    buf_free(&other);
    buf_free(&key);
}

static void clients_without_certificate_are_refused_when_one_is_wanted(void **state)
{
    struct world *w = *state;
    tls_config_release(w->server_config);
    assert_int_equal(tls_server_config(text_of(&w->certificate), text_of(&w->key),
                                       text_of(&w->certificate), &w->server_config, NULL),
                     ERR_OK);
    connect_both(w, "gw7.local", 0);
    assert_int_equal(w->server.err, ERR_TLS);
    assert_non_null(strstr(w->server.text, "peer did not return a certificate"));
    os_stream_close(&w->server.stream);
    os_stream_close(&w->client.stream);
    memset(&w->server, 0, sizeof w->server);
    tls_config_release(w->client_config);
    assert_int_equal(tls_client_config(text_of(&w->certificate), text_of(&w->key),
                                       text_of(&w->certificate), NULL, &w->client_config, NULL),
                     ERR_OK);
    connect_both(w, "gw7.local", 0);
    assert_true(w->server.is_open);
}

static void plain_http_and_silence_are_told_apart(void **state)
{
    struct world *w = *state;
    struct os_stream *a, *b;
    assert_true(test_net_pair(w->net, 0, &a, &b));
    assert_int_equal(tls_wrap_server(w->server_config, test_net_os(w->net), test_net_task(w->net),
                                     a, &w->server.stream),
                     ERR_OK);
    os_stream_own(w->server.stream, &events, &w->server);
    os_stream_own(b, &events, &w->client);
    assert_int_equal(os_stream_write(w->server.stream, "x", 1), ERR_CLOSED);
    assert_int_equal(os_stream_write(b, "GET / HTTP/1.1\r\n\r\n", 18), ERR_OK);
    test_net_run(w->net);
    assert_int_equal(w->server.err, ERR_TLS);
    assert_non_null(strstr(w->server.text, "use https"));
    os_stream_close(&w->server.stream);
    os_stream_close(&b);
    assert_true(test_net_pair(w->net, 0, &a, &b));
    assert_int_equal(tls_wrap_server(w->server_config, test_net_os(w->net), test_net_task(w->net),
                                     a, &w->server.stream),
                     ERR_OK);
    os_stream_own(w->server.stream, &events, &w->server);
    test_net_advance(w->net, 11 * TIME_NS_PER_S);
    assert_int_equal(w->server.err, ERR_TIMEOUT);
    os_stream_close(&b);
}

static void broken_pem_says_which_part(void **state)
{
    struct world *w = *state;
    struct tls_config *none = NULL;
    struct why why = WHY_NONE;
    assert_int_equal(
        tls_server_config(STR("no pem"), text_of(&w->key), (struct str){0}, &none, &why), ERR_TLS);
    assert_non_null(strstr(why.text, "certificate: "));
    assert_int_equal(
        tls_server_config(text_of(&w->certificate), STR("x"), (struct str){0}, &none, &why),
        ERR_TLS);
    assert_non_null(strstr(why.text, "key: "));
    assert_int_equal(
        tls_server_config(text_of(&w->certificate), text_of(&w->key), STR("x"), &none, &why),
        ERR_TLS);
    assert_non_null(strstr(why.text, "ca: "));
    struct buf other = BUF_EMPTY, key = BUF_EMPTY;
    assert_int_equal(tls_make_self_signed("x", NULL, 0, 1700000000, 1, &other, &key, NULL), ERR_OK);
    assert_int_equal(
        tls_server_config(text_of(&w->certificate), text_of(&key), (struct str){0}, &none, &why),
        ERR_TLS);
    const char *bad[] = {"a,DNS:evil"};
    assert_int_equal(tls_make_self_signed("x", bad, 1, 1700000000, 1, &other, &key, &why),
                     ERR_INVALID);
    buf_free(&other);
    buf_free(&key);
}

/* ---- https ---- */

static void answer(struct http_exchange *x, void *arg)
{
    (void)arg;
    assert_true(http_request_of(x)->is_tls);
    http_reply(x, 200, "text/plain", STR("over TLS"));
}

static void https_answers(void **state)
{
    struct world *w = *state;
    static const struct http_route routes[] = {{"GET", "/", answer, 0, 0, ""}, {0}};
    struct http_server_config config = {.routes = routes};
    struct os_address address = {.kind = OS_ADDRESS_TCP};
    struct http_server *server;
    struct test_client raw;
    struct context *context = test_net_context(w->net);
    assert_int_equal(http_server_start(context, context->main, &address, w->server_config, &config,
                                       &server, NULL, NULL),
                     ERR_OK);
    assert_true(test_client_open(w->net, &raw, 0, 0));
    assert_int_equal(tls_wrap_client(w->client_config, context->os, context->main->task,
                                     "gw7.local", raw.stream, &w->client.stream),
                     ERR_OK);
    os_stream_own(w->client.stream, &events, &w->client);
    struct os_stream *below = raw.stream;
    below->events->on_open(below->owner);
    test_net_run(w->net);
    assert_true(w->client.is_open);
    for (unsigned i = 0; i < 2; i++) {
        buf_clear(&w->client.received);
        assert_int_equal(os_stream_write(w->client.stream, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", 27),
                         ERR_OK);
        test_net_run(w->net);
        assert_non_null(strstr(buf_cstr(&w->client.received), "\r\n\r\nover TLS"));
    }
    http_server_stop(server);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, open_world, close_world)
    const struct CMUnitTest tests[] = {
        T(both_sides_open_and_talk),
        T(a_paused_stream_reads_nothing_and_loses_nothing),
        T(a_stream_may_be_closed_while_it_reads),
        T(the_wrong_name_is_refused_with_a_clear_text),
        T(an_unknown_certificate_is_refused_unless_it_is_pinned),
        T(clients_without_certificate_are_refused_when_one_is_wanted),
        T(plain_http_and_silence_are_told_apart),
        T(broken_pem_says_which_part),
        T(https_answers),
    };
    return cmocka_run_group_tests_name("tls", tests, NULL, NULL);
}
