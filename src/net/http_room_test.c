/* http_room_test.c - claims about bodies for which there is no memory now: they wait and are not
 * refused, but for those that never fit and those that have waited too long. */
#include "net/http_testlib.h"
#include "net/http_priv.h"

enum { BODIES_BYTES = 100000, BODY_BYTES = 60000 };

static char body[2 * BODIES_BYTES];

/* A server that has memory for one body of BODY_BYTES and not for two. */
static struct world *world_of(void **state)
{
    struct world *w = *state;
    w->server->bodies.limit_bytes = BODIES_BYTES;
    memset(body, 'b', sizeof body);
    return w;
}

static void begin(struct world *w, struct test_client *c, size_t length, size_t sent)
{
    char head[128];
    snprintf(head, sizeof head, "POST /big HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n",
             length);
    ask(w, c, head);
    test_client_send(c, body, sent);
    test_net_run(w->net);
}

static uint64_t metric_of(struct world *w, enum metric metric)
{
    return metric_get(test_net_context(w->net), metric);
}

static size_t bodies_of(struct world *w)
{
    return atomic_load(&w->server->bodies.used_bytes);
}

static void finish_first(struct world *w, struct test_client *first)
{
    test_client_send(first, body, BODY_BYTES - 100);
    test_net_run(w->net);
    assert_int_equal(status_of(buf_cstr(&first->received)), 200);
}

static void a_body_waits_until_another_has_gone(void **state)
{
    struct world *w = world_of(state);
    struct test_client first = {0}, second = {0};
    begin(w, &first, BODY_BYTES, 100);
    begin(w, &second, BODY_BYTES, BODY_BYTES);
    test_net_advance(w->net, TIME_NS_PER_S);
    assert_int_equal(second.received.size, 0);
    assert_int_equal(metric_of(w, METRIC_ROOM_WAITING), 1);
    assert_int_equal(bodies_of(w), BODY_BYTES);
    finish_first(w, &first);
    test_net_advance(w->net, TIME_NS_PER_S);
    assert_int_equal(status_of(buf_cstr(&second.received)), 200);
    assert_true(ends_with(buf_cstr(&second.received), "bbb"));
    assert_true(second.received.size > BODY_BYTES);
    assert_int_equal(metric_of(w, METRIC_ROOM_WAITING), 0);
    assert_int_equal(metric_of(w, METRIC_ROOM_WAITS), 1);
    assert_int_equal(bodies_of(w), 0);
    test_client_close(&first);
    test_client_close(&second);
}

static void a_client_that_asks_first_is_asked_to_go_on_when_there_is_room(void **state)
{
    struct world *w = world_of(state);
    struct test_client first = {0}, second = {0};
    begin(w, &first, BODY_BYTES, 100);
    ask(w, &second,
        "POST /big HTTP/1.1\r\nHost: h\r\nContent-Length: 60000\r\nExpect: 100-continue\r\n\r\n");
    assert_int_equal(second.received.size, 0);
    finish_first(w, &first);
    test_net_advance(w->net, TIME_NS_PER_S);
    assert_int_equal(status_of(buf_cstr(&second.received)), 100);
    test_client_close(&first);
    test_client_close(&second);
}

static void a_statement_does_not_wait_for_large_bodies(void **state)
{
    struct world *w = world_of(state);
    struct test_client first = {0}, second = {0}, third = {0};
    begin(w, &first, BODY_BYTES, 100);
    begin(w, &second, BODY_BYTES, 100);
    begin(w, &third, 1000, 1000);
    assert_int_equal(status_of(buf_cstr(&third.received)), 200);
    test_client_close(&first);
    test_client_close(&second);
    test_client_close(&third);
}

static void a_body_without_length_waits_in_the_middle(void **state)
{
    struct world *w = world_of(state);
    struct test_client first = {0}, second = {0};
    ask(w, &second, "POST /big HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    begin(w, &first, BODY_BYTES, 100);      /* a step took all there is: it waits */
    w->server->bodies.limit_bytes = 230000; /* for all of the second, or some of it and the first */
    test_net_advance(w->net, TIME_NS_PER_S);
    char head[32];
    snprintf(head, sizeof head, "%x\r\n", 2 * BODIES_BYTES);
    say(&second, head);
    test_client_send(&second, body, BODIES_BYTES);
    test_client_send(&second, body, BODIES_BYTES);
    say(&second, "\r\n0\r\n\r\n");
    test_net_run(w->net);
    test_net_advance(w->net, TIME_NS_PER_S);
    assert_int_equal(second.received.size, 0);
    finish_first(w, &first);
    test_net_advance(w->net, TIME_NS_PER_S);
    assert_int_equal(status_of(buf_cstr(&second.received)), 200);
    assert_true(second.received.size > 2 * BODIES_BYTES);
    assert_int_equal(bodies_of(w), 0);
    test_client_close(&first);
    test_client_close(&second);
}

static void a_body_that_never_fits_is_refused_at_once_with_the_limit(void **state)
{
    struct world *w = world_of(state);
    struct test_client c = {0};
    begin(w, &c, BODIES_BYTES + 1, 100);
    const char *answer = buf_cstr(&c.received);
    assert_int_equal(status_of(answer), 413);
    assert_non_null(strstr(answer, "larger than the 97 KiB that there are for bodies"));
    assert_non_null(strstr(answer, "raise memory:"));
    assert_int_equal(metric_of(w, METRIC_ROOM_REFUSED), 1);
    test_client_close(&c);
}

static void a_body_that_has_waited_too_long_is_refused_and_may_come_again(void **state)
{
    struct world *w = world_of(state);
    struct test_client first = {0}, second = {0};
    begin(w, &first, BODY_BYTES, 100);
    begin(w, &second, BODY_BYTES, 100);
    for (int i = 0; i < 3; i++) { /* 16 KiB in each wait, or it is cut for being slow */
        test_net_advance(w->net, 10 * TIME_NS_PER_S);
        test_client_send(&first, body, 10000);
    }
    test_net_advance(w->net, TIME_NS_PER_S);
    const char *answer = buf_cstr(&second.received);
    assert_int_equal(status_of(answer), 503);
    assert_non_null(strstr(answer, "Retry-After: 1\r\n"));
    assert_non_null(strstr(answer, "no memory came free in 30 s"));
    assert_int_equal(metric_of(w, METRIC_ROOM_WAITING), 0);
    test_client_close(&first);
    test_client_close(&second);
}

static void a_client_that_goes_frees_its_place(void **state)
{
    struct world *w = world_of(state);
    struct test_client first = {0}, second = {0}, third = {0};
    begin(w, &first, BODY_BYTES, 100);
    begin(w, &second, BODY_BYTES, 100);
    begin(w, &third, BODY_BYTES, BODY_BYTES);
    assert_int_equal(metric_of(w, METRIC_ROOM_WAITING), 2);
    test_client_close(&second);
    test_net_run(w->net);
    assert_int_equal(metric_of(w, METRIC_ROOM_WAITING), 1);
    assert_int_equal(third.received.size, 0);
    test_client_close(&first);
    test_client_close(&third);
}

static void a_server_that_stops_lets_go_of_bodies_that_wait(void **state)
{
    struct world *w = world_of(state);
    struct test_client first = {0}, second = {0};
    begin(w, &first, BODY_BYTES, 100);
    begin(w, &second, BODY_BYTES, 100);
    http_server_stop(w->server);
    w->server = NULL;
    test_net_run(w->net);
    assert_true(first.is_closed && second.is_closed);
    test_client_close(&first);
    test_client_close(&second);
}

/* The answer itself may fail: no memory for it, or a peer that has reset the connection. */
static void a_refusal_that_cannot_be_written_ends_the_exchange_once(void **state)
{
    struct world *w = world_of(state);
    for (uint64_t n = 1;; n++) {
        struct test_client c = {0};
        assert_true(test_client_open(w->net, &c, 0, 0));
        test_net_run(w->net);
        say(&c, "POST /big HTTP/1.1\r\nHost: h\r\nContent-Length: 100001\r\n\r\n");
        mem_test_fail(n);
        test_net_run(w->net);
        bool done = mem_test_count() < n;
        mem_test_fail(0);
        if (done) assert_int_equal(status_of(buf_cstr(&c.received)), 413);
        test_client_close(&c);
        test_net_run(w->net);
        assert_int_equal(http_server_connections(w->server), 0);
        assert_int_equal(bodies_of(w), 0);
        if (done) break;
        assert_true(n < 1000);
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, open_world, close_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_body_waits_until_another_has_gone),
        T(a_client_that_asks_first_is_asked_to_go_on_when_there_is_room),
        T(a_statement_does_not_wait_for_large_bodies),
        T(a_body_without_length_waits_in_the_middle),
        T(a_body_that_never_fits_is_refused_at_once_with_the_limit),
        T(a_body_that_has_waited_too_long_is_refused_and_may_come_again),
        T(a_client_that_goes_frees_its_place),
        T(a_server_that_stops_lets_go_of_bodies_that_wait),
        T(a_refusal_that_cannot_be_written_ends_the_exchange_once),
    };
    return cmocka_run_group_tests_name("http room", tests, NULL, NULL);
}
