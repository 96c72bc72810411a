/* csv_guess_test.c - claims about what is found out of a file's beginning. */
#include "data/csv_guess.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

static struct arena arena;

/* "; header time=0:iso device=-1 name:type…", or the error. */
static const char *guess_of(const char *text, struct csv_hints hints)
{
    static char out[512];
    struct csv_guess g;
    struct why why = WHY_NONE;
    if (csv_guess(str_of(text), true, &hints, &arena, &g, &why)) {
        snprintf(out, sizeof out, "%s", why.text);
        return out;
    }
    int n = snprintf(out, sizeof out, "%c %s time=%d:%s device=%d", g.format.delimiter,
                     g.has_header ? "header" : "plain", g.time, g.time >= 0 ? g.time_format : "",
                     g.device);
    for (size_t i = 0; i < g.column_count; i++)
        n += snprintf(out + n, sizeof out - (size_t)n, " %s:%s", g.columns[i].name,
                      type_name(g.columns[i].type));
    return out;
}

static void the_form_of_a_file_is_found_out(void **state)
{
    (void)state;
    static const struct {
        const char *text, *guess;
        struct csv_hints hints;
    } cases[] = {
        {"time,device,a,b\n2026-11-21 00:00:00,x,1,1.5\n2026-11-21 00:00:01,x,2,NaN\n",
         ", header time=0:iso device=1 time:timestamp device:text a:bigint b:double",
         {0}},
        {"\xEF\xBB\xBFTimestamp;v\n1795230245;1\n1795230246;x\n",
         "; header time=0:auto device=-1 Timestamp:bigint v:text",
         {0}},
        {"n\tok\tcode\tbig\n1\tTRUE\t007\t18446744073709551615\n2\tfalse\t123\t1\n",
         "\t header time=-1: device=-1 n:bigint ok:bool code:text big:ubigint",
         {0}},
        {"a;b\n1,5;2\n2,5;3\n",
         "; header time=-1: device=-1 a:double b:bigint",
         {.decimal_comma = true}},
        {" 1   2.5 x \n 2   3.5 y \n",
         "  plain time=-1: device=-1 c1:bigint c2:double c3:text",
         {0}},
        {"x,y\nwarm,2026-11-21\ncold,2026-11-22\n",
         ", header time=1:iso device=-1 x:text y:timestamp",
         {0}},
        {"a,date\n1,01.02.2026\n", ", header time=-1: device=-1 a:bigint date:text", {0}},
        {"a,date\n1,2026/02/01 10:00\n",
         ", header time=1:YYYY/MM/DD hh:mm device=-1 a:bigint date:text",
         {0}},
        {"a\n\"x\ny\"\nz\n", ", header time=-1: device=-1 a:text", {0}},
        {"b,w,x,y\n\\x00ff,\"[1,null]\",\"[1,]\",\\x0\n",
         ", header time=-1: device=-1 b:bytes w:double[] x:text y:text",
         {0}},
        {"a,b\n,\n", ", header time=-1: device=-1 a:text b:text", {0}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_string_equal(guess_of(cases[i].text, cases[i].hints), cases[i].guess);
}

static void what_cannot_be_is_said(void **state)
{
    (void)state;
    assert_string_equal(guess_of("", (struct csv_hints){0}), "there is no row in it");
    assert_string_equal(guess_of("a,b\n1,2\n", (struct csv_hints){.device = STR("c")}),
                        "there is no column \"c\"");
    assert_non_null(strstr(guess_of("a,b\n01.02.2026,2\n", (struct csv_hints){.time = STR("a")}),
                           "holds times like '01.02.2026'"));
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    const char *text = "time,\"a\"\"b\"\n2026-11-21,1\n2026-11-22,\"x\"\"y\"\n";
    struct csv_hints hints = {0};
    struct csv_guess g;
    enum err err = ERR_NO_MEMORY;
    for (uint64_t n = 1; err; n++) {
        arena_free(&arena);
        mem_test_fail(n);
        err = csv_guess(str_of(text), true, &hints, &arena, &g, NULL);
        mem_test_fail(0);
        assert_true(n < 100);
    }
    assert_int_equal(g.column_count, 2);
}

static int stop(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_form_of_a_file_is_found_out),
        cmocka_unit_test(what_cannot_be_is_said),
        cmocka_unit_test(every_allocation_may_fail),
    };
    arena_init(&arena, NULL);
    return cmocka_run_group_tests(tests, NULL, stop);
}
