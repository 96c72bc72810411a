/* coap_request_test.c - claims about request.h. */
#include "coap/request.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

enum { PATH = 11, FORMAT = 12, QUERY = 15, ACCEPT = 17, BLOCK2 = 23, BLOCK1 = 27, OBSERVE = 6 };

static struct coap_library_option options[8];
static size_t option_count;

static void with(uint16_t number, struct str value)
{
    options[option_count].number = number;
    options[option_count++].value = value;
}

static enum coap_code read_it(uint8_t method, struct coap_request *request)
{
    struct why why = WHY_NONE;
    enum coap_code code = coap_request_read(method, options, option_count, request, &why);
    option_count = 0;
    assert_true(!code || why.text[0]);
    return code;
}

static void path_levels_are_the_topic(void **state)
{
    struct coap_request q;
    (void)state;
    with(PATH, STR("ps"));
    with(PATH, STR("line3"));
    with(PATH, STR("press 07"));
    with(PATH, STR(""));
    assert_int_equal(read_it(COAP_METHOD_GET, &q), 0);
    assert_string_equal(q.topic, "line3/press 07/");
    assert_false(q.has_user || q.has_password || q.observe || q.down.is_given);
}

static void what_is_no_topic_is_refused(void **state)
{
    static const struct {
        const char *first, *second;
        enum coap_code code;
    } cases[] = {
        {"ps", NULL, COAP_CODE_NOT_FOUND},  {"x", "t", COAP_CODE_NOT_FOUND},
        {"ps", "+", COAP_CODE_BAD_REQUEST}, {"ps", "a/b", COAP_CODE_BAD_REQUEST},
        {"ps", "", COAP_CODE_BAD_REQUEST},  {"ps", "\xff", COAP_CODE_BAD_REQUEST},
        {"ps", "#", COAP_CODE_BAD_REQUEST},
    };
    struct coap_request q;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        with(PATH, str_of(cases[i].first));
        if (cases[i].second) with(PATH, str_of(cases[i].second));
        assert_int_equal(read_it(COAP_METHOD_PUT, &q), cases[i].code);
    }
    with(PATH, STR("ps"));
    with(PATH, STR("$share"));
    with(PATH, STR("g"));
    with(PATH, STR("t"));
    assert_int_equal(read_it(COAP_METHOD_GET, &q), COAP_CODE_BAD_REQUEST);
}

static void queries_say_who_asks(void **state)
{
    struct coap_request q;
    (void)state;
    with(PATH, STR("ps"));
    with(PATH, STR("t"));
    with(QUERY, STR("u=ann"));
    with(QUERY, STR("p=a=b"));
    assert_int_equal(read_it(COAP_METHOD_POST, &q), 0);
    assert_string_equal(q.user, "ann");
    assert_string_equal(q.password, "a=b");
    with(PATH, STR("ps"));
    with(PATH, STR("t"));
    with(QUERY, STR("p=one"));
    with(QUERY, STR("token=two"));
    assert_int_equal(read_it(COAP_METHOD_POST, &q), COAP_CODE_BAD_REQUEST);
    with(PATH, STR("ps"));
    with(PATH, STR("t"));
    with(QUERY, STR("user=ann"));
    assert_int_equal(read_it(COAP_METHOD_POST, &q), COAP_CODE_BAD_REQUEST);
    with(PATH, STR("ps"));
    with(PATH, STR("t"));
    with(QUERY, (struct str){"p=a\0b", 5});
    assert_int_equal(read_it(COAP_METHOD_POST, &q), COAP_CODE_UNAUTHORIZED);
}

static void conditions_are_refused_and_not_ignored(void **state)
{
    struct coap_request q;
    (void)state;
    with(1, STR("x"));
    with(PATH, STR("ps"));
    with(PATH, STR("t"));
    assert_int_equal(read_it(COAP_METHOD_PUT, &q), COAP_CODE_BAD_OPTION);
}

static void blocks_and_numbers_are_read_as_rfc_7959_has_them(void **state)
{
    struct coap_request q;
    (void)state;
    with(OBSERVE, STR(""));
    with(PATH, STR("ps"));
    with(PATH, STR("t"));
    with(FORMAT, STR("\x32"));
    with(BLOCK2, STR("\x01\x25"));
    with(BLOCK1, STR("\x1e"));
    assert_int_equal(read_it(COAP_METHOD_GET, &q), 0);
    assert_int_equal(q.observe, COAP_OBSERVE_BEGIN);
    assert_string_equal(coap_format_name(q.format), "application/json");
    assert_int_equal(q.down.number, 0x12);
    assert_int_equal(coap_block_bytes(&q.down), 512);
    assert_int_equal(q.up.number, 1);
    assert_true(q.up.has_more);
    with(PATH, STR("ps"));
    with(PATH, STR("t"));
    with(BLOCK2, STR("\x07"));
    assert_int_equal(read_it(COAP_METHOD_GET, &q), COAP_CODE_BAD_OPTION);
}

static void a_value_is_cut_into_blocks_with_one_tag(void **state)
{
    static char value[2500];
    struct coap_content content = {{value, sizeof value}, 0, true, 300};
    struct coap_block block = {.exponent = COAP_BLOCK_EXPONENT};
    struct coap_library_reply first, last;
    (void)state;
    memset(value, 'x', sizeof value);
    coap_reply_content(&first, &content, &block, COAP_NO_FORMAT);
    assert_int_equal(first.code, COAP_CODE_CONTENT);
    assert_int_equal(first.payload.size, 1024);
    assert_int_equal(first.option_count, 4);
    assert_int_equal(first.options[1].number, OBSERVE);
    assert_memory_equal(first.options[1].bytes, "\x01\x2c", 2);
    assert_int_equal(first.options[2].size, 0); /* text/plain is 0, which takes no byte */
    assert_memory_equal(first.options[3].bytes, "\x0e", 1);
    block.number = 2;
    block.is_given = true;
    coap_reply_content(&last, &content, &block, COAP_NO_FORMAT);
    assert_int_equal(last.payload.size, 2500 - 2048);
    assert_memory_equal(last.options[0].bytes, first.options[0].bytes, 8);
    assert_memory_equal(last.options[3].bytes, "\x26", 1);
    block.number = 3;
    coap_reply_content(&last, &content, &block, COAP_NO_FORMAT);
    assert_int_equal(last.code, COAP_CODE_BAD_OPTION);
}

static void another_format_than_accepted_is_not_sent(void **state)
{
    struct coap_content content = {STR("{}"), 50, false, 0};
    struct coap_block block = {.exponent = COAP_BLOCK_EXPONENT};
    struct coap_library_reply reply;
    (void)state;
    coap_reply_content(&reply, &content, &block, 60);
    assert_int_equal(reply.code, COAP_CODE_NOT_ACCEPTABLE);
    coap_reply_content(&reply, &content, &block, 50);
    assert_int_equal(reply.code, COAP_CODE_CONTENT);
    assert_int_equal(coap_format_of(STR("Text/plain; charset=utf-8")), 0);
    assert_int_equal(coap_format_of(STR("image/png")), COAP_NO_FORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(path_levels_are_the_topic),
        cmocka_unit_test(what_is_no_topic_is_refused),
        cmocka_unit_test(queries_say_who_asks),
        cmocka_unit_test(conditions_are_refused_and_not_ignored),
        cmocka_unit_test(blocks_and_numbers_are_read_as_rfc_7959_has_them),
        cmocka_unit_test(a_value_is_cut_into_blocks_with_one_tag),
        cmocka_unit_test(another_format_than_accepted_is_not_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
