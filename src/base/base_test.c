/* base_test.c - claims about text, times, maps, the byte reader, arenas and budgets. */
#include "base/base64.h"
#include "base/hash.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/reader.h"
#include "base/timetext.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

static void times_are_written_trimmed_and_read_back(void **state)
{
    (void)state;
    static const struct {
        int64_t ns;
        const char *text;
    } cases[] = {{0, "1970-01-01T00:00:00Z"},
                 {1500000000, "1970-01-01T00:00:01.5Z"},
                 {-1, "1969-12-31T23:59:59.999999999Z"},
                 {951782400000000000, "2000-02-29T00:00:00Z"},
                 {INT64_MIN, "1677-09-21T00:12:43.145224192Z"},
                 {INT64_MAX, "2262-04-11T23:47:16.854775807Z"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[TIME_TEXT_BYTES];
        int64_t back;
        time_format(cases[i].ns, out);
        assert_string_equal(out, cases[i].text);
        assert_true(time_parse(str_of(out), &back) && back == cases[i].ns);
    }
    int64_t t;
    assert_true(time_parse(STR("2026-11-21 11:00:00+08:00"), &t) &&
                t == INT64_C(1795230000) * TIME_NS_PER_S);
    assert_true(time_parse(STR("2026-11-21"), &t));
    static const char *const refused[] = {"2026-02-30",
                                          "2026-13-01",
                                          "26-01-01",
                                          "2026-01-01T25:00",
                                          "2026-01-01T10:00:00.",
                                          "2300-01-01",
                                          "2026-01-01T00:00:00X",
                                          ""};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        assert_false(time_parse(str_of(refused[i]), &t));
}

static void durations_are_lists_of_numbers_with_units(void **state)
{
    (void)state;
    int64_t ns;
    struct buf out = BUF_EMPTY;
    assert_true(duration_parse(STR("1h30m"), &ns) && ns == 5400 * TIME_NS_PER_S);
    buf_add_duration(&out, ns + 5 * TIME_NS_PER_MS);
    assert_string_equal(buf_cstr(&out), "1h30m5ms");
    assert_false(duration_parse(STR("5"), &ns));
    assert_false(duration_parse(STR("-5s"), &ns));
    assert_false(duration_parse(STR("99999999999w"), &ns));
    buf_free(&out);
}

static void json_strings_escape_and_repair(void **state)
{
    (void)state;
    struct buf out = BUF_EMPTY;
    buf_add_json(&out, (struct str){"a\"\\\n\x01°\xff", 8});
    assert_string_equal(buf_cstr(&out), "\"a\\\"\\\\\\n\\u0001°\xef\xbf\xbd\"");
    buf_free(&out);
    assert_true(str_is_utf8(STR("温度 °C 🙂")));
    assert_false(str_is_utf8(STR("\xed\xa0\x80")));
    assert_false(str_is_utf8(STR("\xc0\x80")));
}

static void the_nearest_name_is_found_within_a_third(void **state)
{
    (void)state;
    static const char *const names[] = {"temperature", "pressure", "running"};
    assert_int_equal(str_nearest(STR("temperatur"), names, 3), 0);
    assert_int_equal(str_nearest(STR("presure"), names, 3), 1);
    assert_int_equal(str_nearest(STR("xyz"), names, 3), -1);
    assert_int_equal(str_distance(STR("abcd"), STR("abdc")), 1);
}

static void a_map_keeps_what_is_put_through_growth_and_removal(void **state)
{
    (void)state;
    struct map map;
    map_init(&map);
    char key[16];
    for (uintptr_t i = 1; i <= 1000; i++) {
        snprintf(key, sizeof key, "key%d", (int)i);
        assert_int_equal(map_put(&map, str_of(key), (void *)i, NULL), ERR_OK);
    }
    for (uintptr_t i = 1; i <= 1000; i += 2) {
        snprintf(key, sizeof key, "key%d", (int)i);
        assert_ptr_equal(map_remove(&map, str_of(key)), (void *)i);
    }
    for (uintptr_t i = 1; i <= 1000; i++) {
        snprintf(key, sizeof key, "key%d", (int)i);
        assert_ptr_equal(map_get(&map, str_of(key)), i % 2 ? NULL : (void *)i);
    }
    assert_int_equal(map.count, 500);
    map_free(&map);
}

static void the_byte_reader_never_leaves_its_bytes(void **state)
{
    (void)state;
    const uint8_t bytes[] = {1,    2,    3,    4,    0x80, 0x80, 0x80,
                             0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02};
    struct reader r = reader_of(bytes, 4);
    assert_int_equal(reader_be16(&r), 0x0102);
    assert_int_equal(reader_le16(&r), 0x0403);
    assert_true(reader_ok(&r));
    assert_int_equal(reader_u8(&r), 0);
    assert_false(reader_ok(&r));
    assert_null(reader_take(&r, 0));
    r = reader_of(bytes + 4, 10);
    reader_varint(&r); /* 10 bytes, but above 64 bits */
    assert_false(reader_ok(&r));
}

static void crc32c_matches_the_published_vectors(void **state)
{
    (void)state;
    uint8_t zeros[32] = {0};
    assert_int_equal(hash_crc32c(0, zeros, 32), 0x8a9136aa); /* RFC 3720 appendix B.4 */
    assert_int_equal(hash_crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(hash_crc32c(hash_crc32c(0, "1234", 4), "56789", 5), 0xe3069283);
}

static void budgets_reserve_in_the_whole_chain_or_nowhere(void **state)
{
    (void)state;
    struct budget root, child;
    struct arena arena;
    budget_init(&root, "root", NULL, 10000);
    budget_init(&child, "child", &root, SIZE_MAX);
    assert_int_equal(budget_take(&child, 8000), ERR_OK);
    assert_int_equal(budget_take(&child, 8000), ERR_BUDGET);
    assert_int_equal(child.used_bytes, 8000);
    arena_init(&arena, &child);
    assert_null(arena_alloc(&arena, 100)); /* a block of 4 KiB does not fit any more */
    budget_overdraw(&child, 3000); /* what is there already is counted, and felt by the next */
    assert_int_equal(root.used_bytes, 11000);
    assert_int_equal(budget_take(&child, 1), ERR_BUDGET);
    budget_give(&child, 3000);
    budget_give(&child, 8000);
    assert_non_null(arena_alloc(&arena, 100));
    assert_null(arena_alloc(&arena, SIZE_MAX - 5));
    arena_free(&arena);
    assert_int_equal(root.used_bytes, 0);
    assert_int_equal(root.refused_count, 3);
}

static void a_wrapped_error_reads_from_outside_in(void **state)
{
    (void)state;
    struct why why = WHY_NONE;
    assert_int_equal(why_set(&why, ERR_TIMEOUT, "no answer after %d tries", 3), ERR_TIMEOUT);
    why_wrap(&why, ERR_TIMEOUT, "register %d", 40012);
    why_wrap(&why, ERR_TIMEOUT, "device boiler-2");
    assert_string_equal(why.text, "device boiler-2: register 40012: no answer after 3 tries");
    char big[2000];
    memset(big, 'x', sizeof big);
    big[sizeof big - 1] = 0;
    why_wrap(&why, ERR_TIMEOUT, "%s", big);
    assert_int_equal(strlen(why.text), WHY_TEXT_BYTES - 1);
    assert_int_equal(err_http_status(ERR_TIMEOUT), 504);
}

static void test_base64_reads_what_rfc_4648_shows_and_nothing_else(void **state)
{
    static const struct {
        const char *text, *bytes;
    } good[] = {{"", ""},           {"Zg==", "f"},           {"Zm8=", "fo"},
                {"Zm9v", "foo"},    {"Zm9vYg==", "foob"},    {"Zm9vYmE=", "fooba"},
                {"Zm9vYg", "foob"}, {"+/+/", "\xfb\xff\xbf"}};
    static const char *const bad[] = {"Z",     "Zh==", "Zm9=", "Zm9v!",
                                      "Zm 9v", "Z===", "-_-_", "Zm9v===="};
    char out[16];
    size_t size;
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(base64_decode(str_of(good[i].text), BASE64_USUAL, out, sizeof out, &size));
        assert_int_equal(size, strlen(good[i].bytes));
        assert_memory_equal(out, good[i].bytes, size);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(base64_decode(str_of(bad[i]), BASE64_USUAL, out, sizeof out, &size));
    assert_true(base64_decode(STR("-_-_"), BASE64_URL, out, sizeof out, &size));
    assert_memory_equal(out, "\xfb\xff\xbf", 3);
    assert_false(base64_decode(STR("Zg=="), BASE64_URL, out, sizeof out, &size));
    assert_false(base64_decode(STR("Zm9vYmE"), BASE64_USUAL, out, 4, &size));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base64_reads_what_rfc_4648_shows_and_nothing_else),
        cmocka_unit_test(times_are_written_trimmed_and_read_back),
        cmocka_unit_test(durations_are_lists_of_numbers_with_units),
        cmocka_unit_test(json_strings_escape_and_repair),
        cmocka_unit_test(the_nearest_name_is_found_within_a_third),
        cmocka_unit_test(a_map_keeps_what_is_put_through_growth_and_removal),
        cmocka_unit_test(the_byte_reader_never_leaves_its_bytes),
        cmocka_unit_test(crc32c_matches_the_published_vectors),
        cmocka_unit_test(budgets_reserve_in_the_whole_chain_or_nowhere),
        cmocka_unit_test(a_wrapped_error_reads_from_outside_in),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
