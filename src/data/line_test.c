/* line_test.c - claims about line protocol. */
#include "data/line.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <string.h>

static struct line line;
static struct arena arena;

static enum err parse(const char *text, struct why *why)
{
    line.known = 0;
    return line_parse(str_of(text), 1, &arena, &line, why);
}

static void a_line_gives_sorted_tags_typed_fields_and_time(void **state)
{
    (void)state;
    assert_int_equal(
        parse(
            "press,site=sz,line=l3 t=21.5,n=3i,u=4u,on=true,s=\"a \\\"b\\\"\" 1465839830100400200",
            NULL),
        ERR_OK);
    assert_true(str_is(line.measurement, "press"));
    assert_int_equal(line.tag_count, 2);
    assert_true(str_is(line.tags[0].key, "line") && str_is(line.tags[1].value, "sz"));
    assert_int_equal(line.field_count, 5);
    assert_true(line.fields[0].value.type == TYPE_DOUBLE && line.fields[0].value.d == 21.5);
    assert_true(line.fields[1].value.type == TYPE_BIGINT && line.fields[1].value.i == 3);
    assert_true(line.fields[2].value.type == TYPE_UBIGINT && line.fields[2].value.u == 4);
    assert_true(line.fields[3].value.type == TYPE_BOOL && line.fields[3].value.b);
    assert_true(str_is(line.fields[4].value.s, "a \"b\""));
    assert_true(line.has_time && line.time_ns == 1465839830100400200);
}

static void keys_of_lines_before_are_taken_only_where_they_stand(void **state)
{
    (void)state;
    static const struct {
        const char *line, *keys; /* keys: separated by '|'; NULL: an error */
    } lines[] = {
        {"m a=1,bb=2,c=3", "a|bb|c"},
        {"m a=1,bb=2,c=3", "a|bb|c"},
        {"m a=1,b=2,c=3", "a|b|c"},
        {"m a=1,bb=2", "a|bb"},
        {"m a=1,bbb=2", "a|bbb"},
        {"m a\\ =1,bb=2,c=3", "a |bb|c"},
        {"m a=1,bb=2,c=3", "a|bb|c"},
        {"m a", NULL},
        {"m a=1,,c=3", NULL},
        {"m a=1,x=,c=3", NULL},
        {"m a=1,x=2,c=3", "a|x|c"},
        {"m c=1,a=2,x=3,d=4", "c|a|x|d"},
        {"m c=1i,a=t", "c|a"},
        {"m a", NULL},
        {"m c=1,a=2,x=3,d=4", "c|a|x|d"},
    };
    line.known = 0;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct buf keys = BUF_EMPTY;
        enum err err = line_parse(str_of(lines[i].line), 1, &arena, &line, NULL);
        assert_int_equal(err == ERR_OK, lines[i].keys != NULL);
        for (uint32_t f = 0; !err && f < line.field_count; f++) {
            if (f) buf_add_char(&keys, '|');
            buf_add_str(&keys, line.fields[f].key);
        }
        if (!err) assert_true(str_equal(buf_str(&keys), str_of(lines[i].keys)));
        buf_free(&keys);
    }
}

static void escapes_are_undone_where_they_mean_something(void **state)
{
    (void)state;
    assert_int_equal(parse("my\\ press,ta\\,g=a\\=b\\ c f\\ 1=1", NULL), ERR_OK);
    assert_true(str_is(line.measurement, "my press"));
    assert_true(str_is(line.tags[0].key, "ta,g") && str_is(line.tags[0].value, "a=b c"));
    assert_true(str_is(line.fields[0].key, "f 1"));
    assert_false(line.has_time);
}

static void what_is_malformed_is_refused_with_its_place(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "press",
                                      "press ",
                                      "press,",
                                      "press,a t=1",
                                      "press,a= t=1",
                                      ",a=b t=1",
                                      "press t",
                                      "press t=",
                                      "press t=x",
                                      "press t=1,",
                                      "press t=\"open",
                                      "press t=1 x",
                                      "press t=1 2 3",
                                      "press t=1i2",
                                      "press t=99999999999999999999i",
                                      "press t=1 99999999999999999999",
                                      "press t=NaN"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct why why = WHY_NONE;
        if (parse(bad[i], &why) == ERR_OK) fail_msg("accepted: %s", bad[i]);
        if (!strstr(why.text, "byte ")) fail_msg("no place: %s: %s", bad[i], why.text);
    }
}

static int free_arena(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_line_gives_sorted_tags_typed_fields_and_time, free_arena),
        cmocka_unit_test_teardown(keys_of_lines_before_are_taken_only_where_they_stand, free_arena),
        cmocka_unit_test_teardown(escapes_are_undone_where_they_mean_something, free_arena),
        cmocka_unit_test_teardown(what_is_malformed_is_refused_with_its_place, free_arena),
    };
    return cmocka_run_group_tests_name("line", tests, NULL, NULL);
}
