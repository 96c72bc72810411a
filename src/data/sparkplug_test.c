/* sparkplug_test.c - claims about payloads of Sparkplug B. The bytes of the first test were put
 * together by hand from the specification's field numbers (6.4). */
#include "data/sparkplug.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <string.h>

static void bytes_of_the_specification_are_read(void **state)
{
    static const char bytes[] = "\x08\x05"                 /* timestamp 5 */
                                "\x12\x14"                 /* metrics: 20 bytes */
                                "\x0a\x01v"                /* name */
                                "\x10\x07"                 /* alias 7 */
                                "\x20\x01"                 /* datatype Int8 */
                                "\x28\x01"                 /* historical */
                                "\x50\xfb\xff\xff\xff\x0f" /* int_value 0xfffffffb */
                                "\x38\x00"                 /* is_null false */
                                "\xa2\x06\x00"             /* field 100: not known */
                                "\x18\x03";                /* seq 3 */
    struct sparkplug_payload p;
    struct sparkplug_metric m;
    struct value v;
    struct why why = WHY_NONE;
    struct str text = {bytes, sizeof bytes - 1};
    (void)state;
    assert_int_equal(sparkplug_read(text, &p, &why), ERR_OK);
    assert_true(p.timestamp_ms == 5 && p.seq == 3 && p.has_seq && p.metric_count == 1);
    struct reader at = reader_of(text.at, text.size);
    assert_true(sparkplug_next(&at, &m));
    assert_true(str_is(m.name, "v") && m.alias == 7 && m.is_historical && !m.is_null);
    assert_int_equal(sparkplug_value(&m, m.datatype, NULL, &v, &why), ERR_OK);
    assert_true(v.type == TYPE_BIGINT && v.i == -5);
    assert_false(sparkplug_next(&at, &m));
    for (size_t cut = 1; cut < 22; cut++) { /* inside the metric */
        text.size = cut;
        enum err err = sparkplug_read(text, &p, &why);
        assert_true(err == ERR_SYNTAX || cut == 2);
    }
}

static void what_is_written_is_read_again(void **state)
{
    static const struct sparkplug_metric metrics[] = {
        {.has_name = true,
         .name = {"a", 1},
         .datatype = SPARKPLUG_DOUBLE,
         .field = SPARKPLUG_DOUBLE_VALUE,
         .bits = 0x3ff8000000000000,
         .has_quality = true,
         .quality = SPARKPLUG_STALE},
        {.has_alias = true,
         .alias = UINT64_MAX,
         .datatype = SPARKPLUG_STRING,
         .field = SPARKPLUG_STRING_VALUE,
         .bytes = {"xyz", 3},
         .has_timestamp = true,
         .timestamp_ms = 9},
        {.has_name = true, .name = {"n", 1}, .datatype = SPARKPLUG_INT32, .is_null = true},
    };
    struct buf out = BUF_EMPTY;
    struct sparkplug_payload p;
    struct sparkplug_metric m;
    struct value v;
    (void)state;
    sparkplug_write_begin(&out, 77, true, 255);
    for (size_t i = 0; i < 3; i++) sparkplug_write_metric(&out, &metrics[i]);
    assert_int_equal(sparkplug_read(buf_str(&out), &p, NULL), ERR_OK);
    assert_true(p.metric_count == 3 && p.seq == 255 && p.timestamp_ms == 77);
    struct reader at = reader_of(out.at, out.size);
    assert_true(sparkplug_next(&at, &m) && m.has_quality && m.quality == 500);
    assert_int_equal(sparkplug_value(&m, m.datatype, NULL, &v, NULL), ERR_OK);
    assert_true(v.d == 1.5);
    assert_true(sparkplug_next(&at, &m) && m.alias == UINT64_MAX && m.timestamp_ms == 9);
    assert_int_equal(sparkplug_value(&m, m.datatype, NULL, &v, NULL), ERR_OK);
    assert_true(str_is(v.s, "xyz"));
    assert_int_equal(sparkplug_value(&m, SPARKPLUG_DOUBLE, NULL, &v, NULL), ERR_TYPE);
    assert_int_equal(sparkplug_value(&m, SPARKPLUG_DATASET, NULL, &v, NULL), ERR_UNSUPPORTED);
    assert_true(sparkplug_next(&at, &m) && m.is_null);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_of_the_specification_are_read),
        cmocka_unit_test(what_is_written_is_read_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
