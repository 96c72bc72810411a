/* http_limits_test.c - claims about streams, bodies, time, numbers and memory of the HTTP server.
 */
#include "net/http_testlib.h"
#define ZLIB_CONST
#include <zlib.h>

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
    assert_int_equal(http_server_start(test_net_context(w->net), test_net_context(w->net)->main,
                                       &address, NULL, &config, &w->server, NULL, NULL),
                     ERR_OK);
}

/* ---- guards and bodies ---- */

static void strangers_are_refused_before_their_body_is_read(void **state)
{
    struct world *w = *state;
    struct test_client c = {0};
    const char *answer =
        ask(w, &c, "POST /secret HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n");
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
    assert_string_equal(
        ask(w, &c, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"), "");
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
    const char *answer =
        ask(*state, &c,
            "POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    assert_string_equal(answer, "HTTP/1.1 100 Continue\r\n\r\n");
    assert_true(ends_with(ask(*state, &c, "abc"), "\r\n\r\nabc"));
    answer = ask(
        *state, &c,
        "POST /secret HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    assert_int_equal(status_of(answer), 401);
    assert_non_null(strstr(answer, "Connection: close"));
    test_client_close(&c);
}

static size_t gzip(const char *bytes, size_t size, unsigned char *out, size_t room)
{
    z_stream z = {.next_in = (const Bytef *)bytes,
                  .avail_in = (uInt)size,
                  .next_out = out,
                  .avail_out = (uInt)room};
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return room - z.avail_out;
}

static const char *post_gzip(struct world *w, struct test_client *c, const char *path,
                             const unsigned char *body, size_t size)
{
    char head[200];
    snprintf(head, sizeof head,
             "POST %s HTTP/1.1\r\nHost: h\r\nContent-Encoding: gzip\r\nContent-Length: %zu\r\n\r\n",
             path, size);
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
    assert_int_equal(strlen(body), strtol(strstr(answer, "Content-Length: ") + 16, NULL, 10));
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
        for (unsigned i = 0; kind == 2 && i < 20000; i++)
            buf_add_char(&text, 'x'); /* one line without an end */
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
            say(&c,
                "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
            say(&c,
                "GET /things/a/parts/b?q=c HTTP/1.1\r\nHost: h\r\n\r\nPUT /echo HTTP/1.1\r\nHost: h\r\n\r\n");
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
        T(a_streamed_answer_waits_for_a_slow_peer),
        T(a_stream_that_fails_is_cut_and_to_http10_it_ends_with_the_connection),
        T(a_handler_is_told_when_the_peer_leaves_and_may_still_answer),
        T(a_handler_may_answer_after_the_server_was_stopped),
        T(strangers_are_refused_before_their_body_is_read),
        T(a_guard_may_take_its_time),
        T(a_body_is_asked_for_when_the_client_wants_to_be_asked),
        T(gzip_bodies_are_undone_within_the_limit),
        T(silent_and_slow_peers_are_let_go),
        T(a_peer_that_reads_nothing_is_cut),
        T(ten_thousand_half_open_connections_do_not_stop_service),
        T(at_the_limit_new_connections_are_refused_when_all_are_at_work),
        T(limits_of_the_head),
        T(every_failing_allocation_of_an_exchange_is_survived),
    };
    return cmocka_run_group_tests_name("http_limits", tests, NULL, NULL);
}
