/* sql_reference_test.c - every row of the tables of functions, aggregates and functions of rows has
 * an example, and the example gives the answer that the reference manual prints (`millrace
 * reference functions`). The table `demo` of the manual is made here. */
#include "sql/agg.h"
#include "sql/func.h"
#include "sql/reference.h"
#include "sql/series.h"
#include "sql/test_source.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

/* Runs the example as a statement; an expression is asked of the table demo. */
static bool check(struct test_world *world, const struct reference_row *row)
{
    char sql[1024];
    struct buf out = BUF_EMPTY;
    struct why why = WHY_NONE;
    bool statement = strcmp(row->kind, "statement") == 0;
    bool whole = statement || strncmp(row->example, "SELECT", 6) == 0;
    bool complete =
        row->example[0] && row->help[0] && row->help_zh[0] && (statement || row->answer[0]);
    if (whole)
        snprintf(sql, sizeof sql, "%s", row->example);
    else
        snprintf(sql, sizeof sql, "SELECT %s FROM demo%s", row->example,
                 row->over_all_rows ? "" : " WHERE device = 'p1' ORDER BY time LIMIT 1");
    enum err err = test_world_sql(world, sql, strlen(sql), &out, &why);
    struct str got = buf_str(&out);
    if (got.size > 0 && got.at[got.size - 1] == '\n') got.size--;
    bool good = complete && !err && str_is(got, row->answer);
    if (!good)
        print_error("%s(%s): %s\n  wanted: %s\n  got:    %.*s%s\n", row->name, row->args, sql,
                    row->answer, (int)got.size, got.at ? got.at : "",
                    err ? why_text(&why, err) : "");
    buf_free(&out);
    return good;
}

static void every_row_of_the_reference_has_an_example_that_is_true(void **state)
{
    struct test_world world;
    unsigned wrong = 0;
    (void)state;
    test_world_init(&world);
    for (const char *const *s = reference_demo; *s; s++) test_world_must(&world, *s);
    size_t count = reference_count();
    assert_true(count > 300);
    for (size_t i = 0; i < count; i++) {
        struct reference_row row = reference_at(i);
        wrong += !check(&world, &row);
    }
    test_world_free(&world);
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_of_the_reference_has_an_example_that_is_true),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
