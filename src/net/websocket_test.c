/* websocket_test.c - claims about WebSockets: a client made of bytes, against the server over
 * memory. */
#include "base/timetext.h"
#include "net/http.h"
#include "net/test_stream.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

struct world {
    struct test_net *net;
    struct http_server *server;
    struct test_client client;
    struct websocket *socket;
    struct buf messages;
    unsigned message_count, closed_count, drained_count;
    bool echo, close_at_message, takes_bytes;
};

static void on_message(void *owner, bool is_text, struct str message)
{
    struct world *w = owner;
    w->message_count++;
    buf_add_str(&w->messages, message);
    if (w->echo) assert_true(websocket_send(w->socket, is_text, message, 1 << 20));
    if (w->close_at_message) websocket_close(w->socket, 1000, "enough");
}

static void on_drained(void *owner)
{
    ((struct world *)owner)->drained_count++;
}

static void on_closed(void *owner)
{
    struct world *w = owner;
    w->closed_count++;
    w->socket = NULL;
}

static void on_bytes(void *owner, struct str bytes)
{
    buf_add_str(&((struct world *)owner)->messages, bytes);
}

static const struct websocket_events events = {on_message, on_drained, on_closed, NULL};
static const struct websocket_events byte_events = {NULL, on_drained, on_closed, on_bytes};

static void live(struct http_exchange *x, void *arg)
{
    struct world *w = arg;
    http_add_header(x, "Sec-WebSocket-Protocol", "mqtt");
    w->socket = websocket_accept(x, w->takes_bytes ? &byte_events : &events, w);
}

static const struct http_route routes[] = {{"GET", "/live", live, 0, 0, ""}, {0}};

#define UPGRADE                                                                                    \
    "GET /live HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"   \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"

static const char *say(struct world *w, const void *bytes, size_t size)
{
    buf_clear(&w->client.received);
    test_client_send(&w->client, bytes, size);
    test_net_run(w->net);
    return buf_cstr(&w->client.received);
}

static int open_world(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct os_address address = {.kind = OS_ADDRESS_TCP};
    struct http_server_config config = {.routes = routes, .arg = w};
    w->net = test_net_new();
    struct context *context = test_net_context(w->net);
    assert_int_equal(
        http_server_start(context, context->main, &address, NULL, &config, &w->server, NULL, NULL),
        ERR_OK);
    assert_true(test_client_open(w->net, &w->client, 0, 0));
    *state = w;
    return 0;
}

static int close_world(void **state)
{
    struct world *w = *state;
    test_client_close(&w->client);
    http_server_stop(w->server);
    test_net_run(w->net);
    assert_null(w->socket);
    test_net_free(w->net);
    buf_free(&w->messages);
    free(w);
    return 0;
}

static void upgrade(struct world *w)
{
    assert_non_null(strstr(say(w, UPGRADE, sizeof UPGRADE - 1), "HTTP/1.1 101 "));
    assert_non_null(w->socket);
}

/* A masked client frame (RFC 6455 section 5.2); `mask` false: a forbidden unmasked one. */
static size_t frame(unsigned char *out, unsigned first_byte, const char *payload, size_t size,
                    bool mask)
{
    static const unsigned char key[4] = {1, 2, 3, 4};
    size_t n = 0;
    out[n++] = (unsigned char)first_byte;
    if (size < 126) {
        out[n++] = (unsigned char)(size | (mask ? 0x80u : 0));
    } else {
        out[n++] = (unsigned char)(127 | (mask ? 0x80u : 0));
        for (int shift = 56; shift >= 0; shift -= 8)
            out[n++] = (unsigned char)((uint64_t)size >> shift);
    }
    for (size_t i = 0; mask && i < 4; i++) out[n++] = key[i];
    for (size_t i = 0; i < size; i++)
        out[n++] = (unsigned char)(payload[i] ^ (mask ? key[i % 4] : 0));
    return n;
}

enum { FIN = 0x80, TEXT = 1, BINARY = 2, MORE = 0, CLOSE = 8, PING = 9, PONG = 10 };

static const char *send_frame(struct world *w, unsigned first_byte, const char *payload, bool mask)
{
    unsigned char bytes[256];
    size_t size = frame(bytes, first_byte, payload, strlen(payload), mask);
    return say(w, bytes, size);
}

static void the_handshake_is_that_of_rfc_6455(void **state)
{
    struct world *w = *state;
    const char *answer = say(w, UPGRADE, sizeof UPGRADE - 1);
    assert_non_null(strstr(answer, "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    assert_non_null(strstr(answer, "\r\nConnection: Upgrade\r\n"));
    assert_non_null(strstr(answer, "\r\nSec-WebSocket-Protocol: mqtt\r\n"));
    assert_null(strstr(answer, "Content-Length"));
}

static void other_requests_get_400(void **state)
{
    struct world *w = *state;
    static const char plain[] = "GET /live HTTP/1.1\r\nHost: h\r\n\r\n";
    assert_non_null(strstr(say(w, plain, sizeof plain - 1), "HTTP/1.1 400 "));
    assert_null(w->socket);
    assert_non_null(strstr(say(w, UPGRADE, sizeof UPGRADE - 1),
                           "HTTP/1.1 101 ")); /* the connection is still good */
}

static void messages_whole_and_in_fragments_arrive_and_are_echoed(void **state)
{
    struct world *w = *state;
    w->echo = true;
    upgrade(w);
    assert_string_equal(send_frame(w, FIN | TEXT, "hello", true), "\x81\x05hello");
    send_frame(w, BINARY, "one ", true);
    assert_string_equal(send_frame(w, FIN | PING, "p", true), "\x8a\x01p"); /* between fragments */
    assert_string_equal(send_frame(w, FIN | MORE, "two", true), "\x82\x07one two");
    assert_int_equal(w->message_count, 2);
}

static void frames_may_come_byte_by_byte_and_right_behind_the_handshake(void **state)
{
    struct world *w = *state;
    unsigned char bytes[600];
    memcpy(bytes, UPGRADE, sizeof UPGRADE - 1);
    size_t size =
        sizeof UPGRADE - 1 + frame(bytes + sizeof UPGRADE - 1, FIN | TEXT, "early", 5, true);
    say(w, bytes, size);
    size = frame(bytes, FIN | TEXT, " slow", 5, true);
    for (size_t i = 0; i < size; i++) say(w, bytes + i, 1);
    assert_string_equal(buf_cstr(&w->messages), "early slow");
}

static void broken_frames_end_the_socket(void **state)
{
    static const struct {
        unsigned first_byte;
        const char *payload;
        bool mask;
        unsigned code;
    } broken[] = {
        {FIN | TEXT, "unmasked", false, 1002},
        {FIN | 3, "unknown opcode", true, 1002},
        {FIN | 0x40 | TEXT, "reserved bit", true, 1002},
        {FIN | TEXT, "no utf-8 \xff", true, 1007},
        {PING, "fragmented ping", true, 0 /* only cut */},
        {FIN | MORE, "nothing to continue", true, 1002},
    };
    struct world *w = *state;
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        upgrade(w);
        const char *answer = send_frame(w, broken[i].first_byte, broken[i].payload, broken[i].mask);
        bool told = w->client.received.size >= 4 && (unsigned char)answer[0] == (FIN | CLOSE);
        unsigned code =
            told ? (unsigned)(unsigned char)answer[2] << 8 | (unsigned char)answer[3] : 0;
        if (code != broken[i].code)
            fail_msg("%s: %u, %zu bytes, %s", broken[i].payload, code, w->client.received.size,
                     w->client.is_closed ? "closed" : "open");
        test_net_advance(w->net, 3 * TIME_NS_PER_S);
        assert_int_equal(w->closed_count, i + 1);
        assert_int_equal(w->message_count, 0);
        assert_true(w->client.is_closed);
        test_client_close(&w->client);
        assert_true(test_client_open(w->net, &w->client, 0, 0));
    }
}

static void a_message_over_the_limit_is_refused(void **state)
{
    struct world *w = *state;
    size_t size = (1 << 20) + 1;
    char *payload = calloc(1, size);
    unsigned char *bytes = malloc(size + 20);
    upgrade(w);
    const char *answer = say(w, bytes, frame(bytes, FIN | BINARY, payload, size - 1, true));
    assert_string_equal(answer, "");
    assert_int_equal(w->message_count, 1);
    answer = say(w, bytes, frame(bytes, FIN | BINARY, payload, size, true));
    assert_int_equal((unsigned)(unsigned char)answer[2] << 8 | (unsigned char)answer[3], 1009);
    assert_int_equal(w->message_count, 1);
    free(payload);
    free(bytes);
}

static void an_owner_of_bytes_gets_them_as_they_come(void **state)
{
    struct world *w = *state;
    unsigned char bytes[64];
    w->takes_bytes = true;
    upgrade(w);
    send_frame(w, BINARY, "one ", true);
    assert_string_equal(buf_cstr(&w->messages), "one "); /* before the message is whole */
    assert_string_equal(send_frame(w, FIN | PING, "p", true), "\x8a\x01p");
    size_t size = frame(bytes, FIN | MORE, "two", 3, true);
    for (size_t i = 0; i < size; i++) say(w, bytes + i, 1);
    assert_string_equal(buf_cstr(&w->messages), "one two");
    static char block[100000];
    static unsigned char large[sizeof block + 20];
    size = frame(large, BINARY, block, sizeof block, true);
    for (int i = 0; i < 12; i++) { /* one message larger than any that is kept whole */
        large[0] = i ? MORE : BINARY;
        say(w, large, size);
    }
    assert_int_equal(w->messages.size, 7 + 12 * sizeof block);
    assert_int_equal(w->closed_count, 0);
}

static void text_is_refused_where_bytes_are_taken(void **state)
{
    struct world *w = *state;
    w->takes_bytes = true;
    upgrade(w);
    const char *answer = send_frame(w, FIN | TEXT, "hello", true);
    assert_int_equal((unsigned)(unsigned char)answer[2] << 8 | (unsigned char)answer[3], 1003);
    assert_int_equal(w->messages.size, 0);
}

static void who_pauses_is_not_read_to_and_his_peer_not_cut_for_silence(void **state)
{
    struct world *w = *state;
    w->takes_bytes = true;
    upgrade(w);
    websocket_pause(w->socket, true);
    send_frame(w, FIN | BINARY, "later", true);
    test_net_advance(w->net, 200 * TIME_NS_PER_S);
    assert_int_equal(w->messages.size, 0);
    assert_int_equal(w->closed_count, 0);
    websocket_pause(w->socket, false);
    test_net_run(w->net);
    assert_string_equal(buf_cstr(&w->messages), "later");
}

static void both_sides_may_close(void **state)
{
    struct world *w = *state;
    upgrade(w);
    assert_string_equal(send_frame(w, FIN | CLOSE, "\x03\xe8", true), "\x88\x02\x03\xe8");
    assert_int_equal(w->closed_count, 1);
    assert_true(w->client.is_closed);
    test_client_close(&w->client);
    assert_true(test_client_open(w->net, &w->client, 0, 0));
    w->close_at_message = true;
    upgrade(w);
    assert_string_equal(send_frame(w, FIN | TEXT, "x", true), "\x88\x08\x03\xe8"
                                                              "enough");
    assert_int_equal(w->closed_count, 1); /* waits for the peer's close */
    send_frame(w, FIN | CLOSE, "\x03\xe8", true);
    assert_int_equal(w->closed_count, 2);
}

static void a_slow_peer_makes_send_refuse_and_drained_follows(void **state)
{
    struct world *w = *state;
    static char block[50000];
    test_client_close(&w->client);
    assert_true(test_client_open(w->net, &w->client, 1000, 0));
    upgrade(w);
    unsigned sent = 0;
    while (sent < 100 &&
           websocket_send(w->socket, false, (struct str){block, sizeof block}, 200000))
        sent++;
    assert_in_range(sent, 3, 6);
    assert_int_equal(w->drained_count, 0);
    test_client_take(&w->client, 1 << 20);
    test_net_run(w->net);
    assert_int_equal(w->drained_count, 1);
    assert_true(websocket_send(w->socket, false, (struct str){block, sizeof block}, 200000));
}

static void silent_peers_are_pinged_and_then_closed(void **state)
{
    struct world *w = *state;
    upgrade(w);
    buf_clear(&w->client.received);
    test_net_advance(w->net, 31 * TIME_NS_PER_S);
    assert_memory_equal(w->client.received.at, "\x89\0", 2);
    test_net_advance(w->net, 50 * TIME_NS_PER_S);
    send_frame(w, FIN | PONG, "", true);
    test_net_advance(w->net, 80 * TIME_NS_PER_S);
    assert_int_equal(w->closed_count, 0);
    test_net_advance(w->net, 60 * TIME_NS_PER_S);
    assert_int_equal(w->closed_count, 1);
}

static void every_failing_allocation_is_survived(void **state)
{
    struct world *w = *state;
    w->echo = true;
    for (uint64_t n = 1; n < 1000; n++) {
        test_client_close(&w->client);
        test_net_run(w->net);
        assert_true(test_client_open(w->net, &w->client, 0, 0));
        mem_test_fail(n);
        say(w, UPGRADE, sizeof UPGRADE - 1);
        w->echo = w->socket != NULL;
        unsigned char bytes[64];
        if (w->socket)
            test_client_send(&w->client, bytes, frame(bytes, FIN | CLOSE, "\x03\xe8", 2, true));
        test_net_run(w->net);
        bool done = mem_test_count() < n;
        mem_test_fail(0);
        if (done) break;
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, open_world, close_world)
    const struct CMUnitTest tests[] = {
        T(the_handshake_is_that_of_rfc_6455),
        T(other_requests_get_400),
        T(messages_whole_and_in_fragments_arrive_and_are_echoed),
        T(frames_may_come_byte_by_byte_and_right_behind_the_handshake),
        T(broken_frames_end_the_socket),
        T(a_message_over_the_limit_is_refused),
        T(an_owner_of_bytes_gets_them_as_they_come),
        T(text_is_refused_where_bytes_are_taken),
        T(who_pauses_is_not_read_to_and_his_peer_not_cut_for_silence),
        T(both_sides_may_close),
        T(a_slow_peer_makes_send_refuse_and_drained_follows),
        T(silent_peers_are_pinged_and_then_closed),
        T(every_failing_allocation_is_survived),
    };
    return cmocka_run_group_tests_name("websocket", tests, NULL, NULL);
}
