/* prometheus_test.c - claims about remote write's two encodings. */
#include "data/prometheus.h"
#include "data/snappy.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <string.h>

static struct arena arena;
static struct line row;

static void snappy_copies_may_reach_into_what_they_write(void **state)
{
    (void)state;
    /* 11 bytes: literal "ab", then a copy of 9 from 2 back (2-byte offset). */
    static const uint8_t block[] = {11, 1 << 2, 'a', 'b', 8 << 2 | 2, 2, 0};
    struct str out;
    assert_int_equal(
        snappy_decode((struct str){(const char *)block, sizeof block}, 100, &arena, &out, NULL),
        ERR_OK);
    assert_true(str_is(out, "abababababa"));
}

static void snappy_refuses_what_goes_past_its_ends(void **state)
{
    static const struct {
        enum err err;
        size_t size;
        uint8_t block[8];
    } cases[] = {
        {ERR_SYNTAX, 0, {0}},                              /* no length */
        {ERR_SYNTAX, 3, {5, 4 << 2, 'a'}},                 /* a literal that is cut off */
        {ERR_SYNTAX, 4, {1, 1 << 2, 'a', 'b'}},            /* more than was said */
        {ERR_SYNTAX, 3, {2, 0, 'a'}},                      /* less */
        {ERR_SYNTAX, 5, {5, 0, 'a', 0 << 2 | 1, 2}},       /* a copy from before the start */
        {ERR_SYNTAX, 5, {5, 0, 'a', 0 << 2 | 1, 0}},       /* from nowhere */
        {ERR_SYNTAX, 6, {9, 63 << 2, 255, 255, 255, 255}}, /* a literal of 4 GiB */
        {ERR_LIMIT, 4, {0xff, 0xff, 0xff, 0x7f}},          /* 256 MiB announced */
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct str out, in = {(const char *)cases[i].block, cases[i].size};
        struct why why = WHY_NONE;
        assert_int_equal(snappy_decode(in, 100, &arena, &out, &why), cases[i].err);
        assert_true(why.text[0] != 0);
    }
}

/* {__name__="up", z="1", a="b"}, samples (0.0 at 5 ms), then a stale marker at 6 ms; labels behind
 * the samples and unsorted, a field from the future, metadata. */
static const uint8_t message[] = {
    0x0a, 0x37,          /* series */
    0x12, 0x02, 0x10, 5, /* sample */
    0x0a, 0x0e, 0x0a, 8,    '_',  '_',  'n',  'a', 'm',  'e',  '_',  '_',  0x12,
    2,    'u',  'p',  0x0a, 0x06, 0x0a, 1,    'z', 0x12, 1,    '1',  0x0a, 0x06,
    0x0a, 1,    'a',  0x12, 1,    'b',  0x78, 7,                              /* field 15 */
    0x12, 0x0b, 0x09, 2,    0,    0,    0,    0,   0,    0xf0, 0x7f, 0x10, 6, /* stale */
    0x1a, 0x02, 0x08, 1,                                                      /* exemplar */
    0x1a, 0x00,                                                               /* metadata */
};

static void every_sample_is_a_row(void **state)
{
    struct prometheus_rows in;
    bool found;
    (void)state;
    prometheus_rows_init(&in, (struct str){(const char *)message, sizeof message});
    assert_int_equal(prometheus_rows_next(&in, &row, &found, NULL), ERR_OK);
    assert_true(found && str_is(row.measurement, "up") && row.tag_count == 2);
    assert_true(str_is(row.tags[0].key, "a") && str_is(row.tags[1].value, "1"));
    assert_true(row.fields[0].value.d == 0 && !row.fields[0].value.is_null);
    assert_true(row.time_ns == 5000000);
    assert_int_equal(prometheus_rows_next(&in, &row, &found, NULL), ERR_OK);
    assert_true(found && row.fields[0].value.is_null && row.time_ns == 6000000);
    assert_int_equal(in.stale_count, 1);
    assert_int_equal(prometheus_rows_next(&in, &row, &found, NULL), ERR_OK);
    assert_false(found);
}

static void no_cut_is_taken_for_the_whole(void **state)
{
    (void)state;
    for (size_t size = 1; size < sizeof message - 2; size++) {
        struct prometheus_rows in;
        bool found = true;
        enum err err = ERR_OK;
        prometheus_rows_init(&in, (struct str){(const char *)message, size});
        while (found && !err) err = prometheus_rows_next(&in, &row, &found, NULL);
        if (size != 57) assert_int_equal(err, ERR_SYNTAX); /* 57: the series is whole */
    }
}

static int set_up(void **state)
{
    (void)state;
    arena_init(&arena, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(snappy_copies_may_reach_into_what_they_write),
        cmocka_unit_test(snappy_refuses_what_goes_past_its_ends),
        cmocka_unit_test(every_sample_is_a_row),
        cmocka_unit_test(no_cut_is_taken_for_the_whole),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
