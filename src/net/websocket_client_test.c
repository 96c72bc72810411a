/* websocket_client_test.c - claims about a stream over WebSocket, with a server that is written
 * here byte by byte: what is sent is masked and arrives, however the server's bytes are cut; what
 * does not agree is told. */
#include "net/websocket_client.h"
#include "net/test_stream.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

struct side {
    struct os_stream *stream;
    struct buf received;
    bool is_open, pauses, answers;
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
    if (s->answers) assert_int_equal(os_stream_write(s->stream, "re", 2), ERR_OK);
    if (s->pauses) os_stream_pause(s->stream, true);
}
static void on_closed(void *owner, enum err err, const char *text)
{
    struct side *s = owner;
    s->err = err;
    snprintf(s->text, sizeof s->text, "%s", text);
}
static const struct os_stream_events events = {
    .on_open = on_open, .on_read = on_read, .on_closed = on_closed};

struct world {
    struct test_net *net;
    struct side client, server;
};

static void begin(struct world *w, size_t deliver_bytes)
{
    struct os_stream *a, *b;
    *w = (struct world){.net = test_net_new()};
    assert_true(test_net_pair(w->net, deliver_bytes, &a, &b));
    os_stream_own(b, &events, &w->server);
    w->server.stream = b;
    assert_int_equal(websocket_wrap_client(test_net_os(w->net), test_net_task(w->net), "h:1", "/p",
                                           "mqtt", a, &w->client.stream),
                     ERR_OK);
    os_stream_own(w->client.stream, &events, &w->client);
    assert_int_equal(os_stream_write(w->client.stream, "x", 1), ERR_CLOSED);
    a->events->on_open(a->owner); /* as a stream that has just connected */
    test_net_run(w->net);
}

static void end(struct world *w)
{
    os_stream_close(&w->client.stream);
    test_net_run(w->net);
    os_stream_close(&w->server.stream);
    test_net_run(w->net);
    buf_free(&w->client.received);
    buf_free(&w->server.received);
    test_net_free(w->net);
}

static void say(struct world *w, const char *bytes, size_t size)
{
    assert_int_equal(os_stream_write(w->server.stream, bytes, size), ERR_OK);
    test_net_run(w->net);
}

/* The server's answer to what the client has sent; `more` behind it in one piece. */
static void agree(struct world *w, const char *more, size_t size)
{
    static const char lead[] = "Sec-WebSocket-Key: ";
    char accept[WEBSOCKET_ACCEPT_BYTES];
    struct buf out = BUF_EMPTY;
    buf_add_char(&w->server.received, 0);
    const char *key = strstr(w->server.received.at, lead);
    assert_non_null(key);
    websocket_accept_value(key + sizeof lead - 1, accept);
    buf_printf(&out,
               "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nConnection: keep-alive, "
               "Upgrade\r\nSec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n",
               accept);
    buf_add(&out, more, size);
    buf_clear(&w->server.received);
    say(w, out.at, out.size);
    buf_free(&out);
}

static void test_the_accept_value_is_that_of_rfc_6455(void **state)
{
    char accept[WEBSOCKET_ACCEPT_BYTES];
    (void)state;
    websocket_accept_value("dGhlIHNhbXBsZSBub25jZQ==", accept);
    assert_string_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

static void test_bytes_pass_both_ways_however_they_are_cut(void **state)
{
    static const char frames[] = "\x82\x03"
                                 "abc"
                                 "\x02\x01"
                                 "d"
                                 "\x89\x01!"
                                 "\x80\x01"
                                 "e";
    struct world w;
    (void)state;
    for (size_t cut = 0; cut < 40; cut = cut ? cut * 2 - (cut > 2) : 1) {
        begin(&w, cut);
        agree(&w, frames, sizeof frames - 1);
        assert_true(w.client.is_open);
        assert_memory_equal(w.client.received.at, "abcde", w.client.received.size);
        assert_int_equal(w.client.received.size, 5);
        /* the pong, masked, with the ping's byte */
        const uint8_t *pong = (const uint8_t *)w.server.received.at;
        assert_int_equal(w.server.received.size, 2 + 4 + 1);
        assert_int_equal(pong[0], 0x8a);
        assert_int_equal(pong[1], 0x81);
        assert_int_equal(pong[6] ^ pong[2], '!');
        buf_clear(&w.server.received);
        assert_int_equal(os_stream_write(w.client.stream, "hello", 5), ERR_OK);
        test_net_run(w.net);
        const uint8_t *sent = (const uint8_t *)w.server.received.at;
        assert_int_equal(w.server.received.size, 2 + 4 + 5);
        assert_int_equal(sent[0], 0x82);
        assert_int_equal(sent[1], 0x85);
        for (size_t i = 0; i < 5; i++) assert_int_equal(sent[6 + i] ^ sent[2 + i % 4], "hello"[i]);
        end(&w);
    }
}

static void test_what_is_written_while_reading_goes_out(void **state)
{
    struct world w;
    (void)state;
    begin(&w, 0);
    w.client.answers = true;
    agree(&w, "\x82\x01x\x82\x01y", 6);
    assert_int_equal(w.server.received.size, 2 * (2 + 4 + 2));
    end(&w);
}

static void test_who_pauses_gets_the_rest_later(void **state)
{
    struct world w;
    (void)state;
    begin(&w, 0);
    w.client.pauses = true;
    agree(&w, "\x82\x01x\x82\x02yz", 7);
    assert_int_equal(w.client.received.size, 1);
    w.client.pauses = false;
    os_stream_pause(w.client.stream, false);
    test_net_advance(w.net, 1);
    assert_memory_equal(w.client.received.at, "xyz", 3);
    end(&w);
}

static void test_what_does_not_agree_is_told(void **state)
{
    static const struct {
        const char *head, *text;
    } answers[] = {
        {"HTTP/1.1 404 Not Found\r\n\r\n", "answers with status 404"},
        {"HTTP/1.0 101 x\r\n\r\n", "does not answer in HTTP/1.1"},
        {"SSH-2.0-x\r\n\r\n", "does not answer in HTTP/1.1"},
        {"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "does not fit"},
        {"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA\r\n\r\n",
         "does not fit"},
    };
    struct world w;
    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        begin(&w, 0);
        say(&w, answers[i].head, strlen(answers[i].head));
        assert_int_equal(w.client.err, ERR_CONNECT);
        assert_non_null(strstr(w.client.text, answers[i].text));
        assert_false(w.client.is_open);
        end(&w);
    }
    struct why why = WHY_NONE;
    assert_int_equal(
        websocket_read_answer(STR("HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                  "Sec-WebSocket-Accept: A\r\n\r\n"),
                              "A", "mqtt", &why),
        ERR_CONNECT);
    assert_non_null(strstr(why.text, "does not speak mqtt"));
}

static void test_frames_that_are_wrong_end_it(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        enum err err;
        const char *text;
    } cases[] = {{"\x88\x02\x03\xe9", 4, ERR_CLOSED, "code 1001"},
                 {"\x81\x01x", 3, ERR_PROTOCOL, "text"},
                 {"\x82\x81"
                  "aaaa"
                  "x",
                  7, ERR_PROTOCOL, "broke"},
                 {"\xf2\x01x", 3, ERR_PROTOCOL, "broke"}};
    struct world w;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        begin(&w, 0);
        agree(&w, cases[i].bytes, cases[i].size);
        assert_int_equal(w.client.err, cases[i].err);
        assert_non_null(strstr(w.client.text, cases[i].text));
        end(&w);
    }
}

static void test_a_head_without_end_is_cut(void **state)
{
    static char long_head[WEBSOCKET_HEAD_BYTES_MAX + 100];
    struct world w;
    (void)state;
    memset(long_head, 'a', sizeof long_head);
    begin(&w, 0);
    say(&w, long_head, sizeof long_head);
    assert_non_null(strstr(w.client.text, "larger than 8 KiB"));
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_accept_value_is_that_of_rfc_6455),
        cmocka_unit_test(test_bytes_pass_both_ways_however_they_are_cut),
        cmocka_unit_test(test_what_is_written_while_reading_goes_out),
        cmocka_unit_test(test_who_pauses_gets_the_rest_later),
        cmocka_unit_test(test_what_does_not_agree_is_told),
        cmocka_unit_test(test_frames_that_are_wrong_end_it),
        cmocka_unit_test(test_a_head_without_end_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
