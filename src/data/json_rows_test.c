/* json_rows_test.c - claims about rows as JSON. */
#include "data/json_rows.h"
#include "data/quality.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

static struct line row;
static struct arena arena;
static struct json_rows in;

static void begin(const char *text)
{
    json_rows_init(&in, str_of(text));
}

static bool next(void)
{
    bool found;
    struct why why = WHY_NONE;
    enum err err = json_rows_next(&in, &arena, &row, &found, &why);
    if (err) print_error("%s\n", why.text);
    assert_int_equal(err, ERR_OK);
    return found;
}

/* Reads one row and expects it refused. */
static enum err refused(struct why *why)
{
    bool found;
    *why = WHY_NONE;
    return json_rows_next(&in, &arena, &row, &found, why);
}

static const struct line_field *field(const char *name)
{
    for (uint32_t i = 0; i < row.field_count; i++)
        if (str_is(row.fields[i].key, name)) return &row.fields[i];
    fail_msg("no field %s", name);
    return NULL;
}

static void labels_follow_the_device_sorted_and_list_items_may_be_missing(void **state)
{
    (void)state;
    begin("{\"label.site\":\"sz\",\"label.line\":\"l1\",\"device\":\"d\",\"label.site\":\"gz\","
          "\"label.none\":null,\"w\":[1,null]} {\"label.a\":\"b\"}");
    assert_true(next());
    assert_true(row.tag_count == 3 && str_is(row.tags[0].value, "d"));
    assert_true(str_is(row.tags[1].key, "line") && str_is(row.tags[1].value, "l1"));
    assert_true(str_is(row.tags[2].key, "site") && str_is(row.tags[2].value, "gz"));
    const double *w = (const double *)(const void *)field("w")->value.s.at;
    assert_true(field("w")->value.s.size == 16 && w[0] == 1 && w[1] != w[1]);
    assert_true(next());
    assert_true(row.tag_count == 2 && row.tags[0].value.size == 0 && row.field_count == 0);
    arena_reset(&arena);
}

static void a_row_has_time_device_and_typed_values(void **state)
{
    (void)state;
    begin(
        " {\"time\":\"2026-11-21T03:04:05.5Z\",\"device\":\"l1/p7\",\"a\":21,\"b\":-2.5e1,\"c\":true,"
        "\"d\":\"x\",\"e\":null,\"f\":[1,2.5],\"g\":18446744073709551615} ");
    assert_true(next());
    assert_true(row.has_time && row.time_ns == INT64_C(1795230245500000000));
    assert_true(row.tag_count == 1 && str_is(row.tags[0].value, "l1/p7"));
    assert_true(field("a")->value.type == TYPE_BIGINT && field("a")->value.i == 21);
    assert_int_equal(field("a")->fresh, TYPE_DOUBLE);
    assert_true(field("b")->value.d == -25.0);
    assert_true(field("c")->value.b && field("c")->fresh == TYPE_BOOL);
    assert_true(str_is(field("d")->value.s, "x"));
    assert_true(field("e")->value.is_null && field("e")->fresh == TYPE_NONE);
    assert_int_equal(field("f")->value.s.size, 16);
    assert_true(field("g")->value.type == TYPE_UBIGINT && field("g")->value.u == UINT64_MAX);
    assert_false(next());
}

static void numbers_as_time_are_milliseconds(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ns;
    } cases[] = {{"1700000000123", INT64_C(1700000000123000000)},
                 {"1700000000123.4567899", INT64_C(1700000000123456789)},
                 {"-1", -1000000},
                 {"1.7e12", INT64_C(1700000000000000000)},
                 {"0", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[64];
        snprintf(text, sizeof text, "{\"time\":%s}", cases[i].text);
        begin(text);
        assert_true(next() && row.has_time);
        assert_int_equal(row.time_ns, cases[i].ns);
    }
}

static void rows_come_alone_behind_each_other_and_in_lists(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned rows;
    } cases[] = {{"", 0},   {" \n", 0},     {"{}", 1},          {"{}\n{}\n{}", 3},
                 {"[]", 0}, {"[{},{}]", 2}, {"[{}]\n[{}]{}", 3}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        unsigned rows = 0;
        begin(cases[i].text);
        while (next()) rows++;
        assert_int_equal(rows, cases[i].rows);
    }
}

static void quality_belongs_to_the_value_wherever_it_stands(void **state)
{
    (void)state;
    begin(
        "{\"a@q\":\"BadNoCommunication\",\"a\":null,\"b\":1,\"b@q\":1083179008,\"c@q\":\"BadTimeout\"}");
    assert_true(next());
    assert_int_equal(row.field_count, 3);
    assert_int_equal(field("a")->value.quality, (uint32_t)QualityBadNoCommunication);
    assert_int_equal(field("b")->value.quality, (uint32_t)QualityUncertainLastUsableValue);
    assert_false(field("b")->value.is_null);
    assert_true(field("c")->value.is_null);
    begin("{\"a@q\":\"Fine\"}");
    struct why why;
    assert_int_equal(refused(&why), ERR_INVALID);
}

static void escapes_are_undone(void **state)
{
    (void)state;
    begin("{\"a\\\"b\":\"\\u00e9\\n\\ud83d\\ude00\\/\\\\\"}");
    assert_true(next());
    assert_true(str_is(field("a\"b")->value.s, "\xc3\xa9\n\xf0\x9f\x98\x80/\\"));
}

static void a_row_that_is_wrong_spoils_itself_alone(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum err err;
        const char *part;
    } cases[] = {{"{\"a\":{\"b\":[1,{\"c\":[]},\"x\"]}}", ERR_TYPE, "\"a\" is an object"},
                 {"{\"a\":[1,\"2\"]}", ERR_TYPE, "not every item"},
                 {"{\"a\":[[1]]}", ERR_TYPE, "not every item"},
                 {"{\"a\":1e400}", ERR_RANGE, "out of the range"},
                 {"{\"time\":\"yesterday\"}", ERR_RANGE, "\"time\" must be RFC 3339"},
                 {"{\"time\":1e300}", ERR_RANGE, "\"time\" must be"},
                 {"{\"\":1}", ERR_INVALID, "no column"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[200];
        struct why why;
        snprintf(text, sizeof text, "[%s,{\"good\":1}]", cases[i].text);
        begin(text);
        if (refused(&why) != cases[i].err) fail_msg("%s: %s", text, why.text);
        if (!strstr(why.text, cases[i].part)) fail_msg("%s: %s", text, why.text);
        assert_true(next());
        assert_int_equal(field("good")->value.i, 1);
        assert_false(next());
    }
}

static void what_is_no_json_ends_the_reading_with_its_place(void **state)
{
    (void)state;
    static const char *const bad[] = {"{",
                                      "{\"a\"}",
                                      "{\"a\":}",
                                      "{\"a\":1,}",
                                      "{\"a\":01}",
                                      "{\"a\":1.}",
                                      "{\"a\":.5}",
                                      "{\"a\":+1}",
                                      "{\"a\":tru}",
                                      "{\"a\":\"x}",
                                      "{a:1}",
                                      "[{}",
                                      "[{} {}]",
                                      "[,{}]",
                                      "x",
                                      "{\"a\":\"\\x\"}",
                                      "{\"a\":\"\\ud800\"}",
                                      "{\"a\":\"\t\"}",
                                      "{\"a\":\"\xff\"}",
                                      "{\"a\":{\"b\":[1,]}}",
                                      "{\"a\":[1,]}",
                                      "{\"device\":7}",
                                      "{\"a\":-}",
                                      "{\"a\":1 \"b\":2}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct why why;
        enum err err;
        begin(bad[i]);
        while (!(err = refused(&why)) && !in.is_over) continue;
        if (err != ERR_SYNTAX || !strstr(why.text, "byte ")) fail_msg("%s: %s", bad[i], why.text);
        assert_true(in.is_over);
    }
    char deep[200];
    struct why why;
    memcpy(deep, "{\"a\":{\"b\":", 10);
    memset(deep + 10, '[', 180);
    deep[190] = 0;
    begin(deep);
    assert_int_equal(refused(&why), ERR_SYNTAX);
    assert_non_null(strstr(why.text, "too deeply"));
}

static int free_arena(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

#define TEST(name) cmocka_unit_test_teardown(name, free_arena)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(labels_follow_the_device_sorted_and_list_items_may_be_missing),
        TEST(a_row_has_time_device_and_typed_values),
        TEST(numbers_as_time_are_milliseconds),
        TEST(rows_come_alone_behind_each_other_and_in_lists),
        TEST(quality_belongs_to_the_value_wherever_it_stands),
        TEST(escapes_are_undone),
        TEST(a_row_that_is_wrong_spoils_itself_alone),
        TEST(what_is_no_json_ends_the_reading_with_its_place),
    };
    return cmocka_run_group_tests_name("json rows", tests, NULL, NULL);
}
