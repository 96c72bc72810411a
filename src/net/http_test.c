/* http_test.c - claims about requests and answers: what is understood, what is refused. */
#include "net/http_testlib.h"

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

static void an_answer_that_found_no_memory_is_not_sent_in_part(void **state)
{
    struct test_client c = {0};
    const char *answer = ask(*state, &c, "GET /half HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(status_of(answer), err_http_status(ERR_NO_MEMORY));
    assert_non_null(strstr(answer, "NO_MEMORY"));
    answer = ask(*state, &c, "GET /half/refused HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(status_of(answer), 409);
    assert_null(strstr(answer, "half"));
    test_client_close(&c);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    struct world *w = *state;
    struct test_client c = {0};
    const char *answer =
        ask(w, &c,
            "GET /later HTTP/1.1\r\nHost: h\r\n\r\nGET /echo HTTP/1.1\r\nHost: h\r\n\r\n"
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
    const char *answer =
        ask(w, &c,
            "\r\nPOST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
            "3\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"
            "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(count_of(answer, "HTTP/1.1 200 OK"), 2);
    assert_non_null(strstr(answer, "abc0123456789HTTP/1.1"));
    test_client_close(&c);
}

#define GET  "GET /echo HTTP/1.1\r\n"
#define POST "POST /echo HTTP/1.1\r\nHost: h\r\n"

/* What two readers of the same bytes could understand differently, and what is simply wrong. */
static const struct {
    const char *name, *text;
    int status;
} refused[] = {
    {"length and coding", POST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     400},
    {"coding and length", POST "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
     400},
    {"two lengths", POST "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400},
    {"two equal lengths", POST "Content-Length: 3\r\ncontent-length: 3\r\n\r\nabc", 400},
    {"length list", POST "Content-Length: 3, 3\r\n\r\nabc", 400},
    {"signed length", POST "Content-Length: +3\r\n\r\nabc", 400},
    {"negative length", POST "Content-Length: -3\r\n\r\nabc", 400},
    {"hexadecimal length", POST "Content-Length: 0x3\r\n\r\nabc", 400},
    {"huge length", POST "Content-Length: 99999999999999999999\r\n\r\n", 400},
    {"empty length", POST "Content-Length:\r\n\r\n", 400},
    {"two codings",
     POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
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
    {"chunk size with a sign", POST "Transfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n",
     400},
    {"chunk size too long", POST "Transfer-Encoding: chunked\r\n\r\n000000003\r\nabc\r\n0\r\n\r\n",
     400},
    {"chunk longer than told", POST "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
     400},
    {"empty chunk size", POST "Transfer-Encoding: chunked\r\n\r\n\r\n", 400},
    {"strange expectation", POST "Expect: magic\r\nContent-Length: 1\r\n\r\na", 417},
    {"a route's own content coding", POST "Content-Encoding: snappy\r\nContent-Length: 1\r\n\r\na",
     415},
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
            if (count_of(answer, "\r\nDate: ") != 1)
                fail_msg("%s: answered twice", refused[i].name);
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
        {POST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
         "Content-Length and Transfer-Encoding in one request"},
        {POST "Content-Length: 3\r\nContent-Length: 3\r\n\r\n",
         "more than one Content-Length header"},
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

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, open_world, close_world)
    const struct CMUnitTest tests[] = {
        T(a_request_gets_its_answer_and_the_connection_stays),
        T(an_answer_that_found_no_memory_is_not_sent_in_part),
        T(pipelined_requests_are_answered_in_order),
        T(bytes_may_come_one_by_one),
        T(ambiguous_requests_are_refused_and_end_the_connection),
        T(refusals_say_what_is_wrong),
        T(accepted_oddities),
        T(unknown_paths_and_methods),
    };
    return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
