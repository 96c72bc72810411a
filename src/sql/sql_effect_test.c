/* sql_effect_test.c - claims about what statements ask their caller to do (INSERT, DDL, access),
 * and about aggregates whose parts were computed apart. */
#include "sql/parse.h"
#include "sql/test_source.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static void select_is(struct test_world *world, const char *text, const char *rows)
{
    struct buf out = BUF_EMPTY;
    struct why why = WHY_NONE;
    enum err err = test_world_sql(world, text, strlen(text), &out, &why);
    if (err) print_error("%s\n", why_text(&why, err));
    assert_string_equal(buf_cstr(&out), rows);
    buf_free(&out);
}

static void create_table_asks_for_the_document_it_describes(void **state)
{
    struct test_world world;
    struct sql_statement *s;
    const struct sql_ddl *ddl;
    const struct sql_access *access;
    struct why why = WHY_NONE;
    (void)state;
    test_world_init(&world);
    const char *text =
        "CREATE TABLE IF NOT EXISTS oven (t double UNIT '°C' COMMENT 'inner', n int) WITH (retention = '90d')";
    assert_int_equal(sql_prepare(&world.context, str_of(text), &s, &why), ERR_OK);
    assert_int_equal(sql_verb_of(s), SQL_CREATE_TABLE);
    assert_int_equal(sql_ddl_of(s, &ddl), ERR_OK);
    assert_true(ddl->action == DDL_CREATE && ddl->if_not_exists && ddl->column_count == 2);
    assert_string_equal(ddl->columns[0].unit, "°C");
    assert_string_equal(ddl->columns[0].description, "inner");
    assert_int_equal(ddl->columns[1].type, TYPE_BIGINT);
    assert_true(ddl->retention_ns == INT64_C(90) * 86400 * 1000000000);
    assert_int_equal(sql_accesses(s, &access), 1);
    assert_true(access->writes && strcmp(access->table, "oven") == 0);
    sql_close(s);
    test_world_free(&world);
}

static void columns_are_added_and_renamed_and_rows_stay(void **state)
{
    struct test_world world;
    (void)state;
    test_world_init(&world);
    test_world_must(&world, "CREATE TABLE t (a bigint)");
    test_world_must(&world, "INSERT INTO t (time, device, a) VALUES ('1970-01-01', 'd', 1)");
    test_world_must(&world, "ALTER TABLE t ADD COLUMN b double UNIT 'bar', ADD c text");
    test_world_must(&world, "ALTER TABLE t RENAME a TO alpha");
    test_world_must(&world, "INSERT INTO t (time, device, b) VALUES ('1970-01-01', 'd', 2.5)");
    select_is(&world, "SELECT alpha, b, c FROM t", "1|2.5|NULL\n");
    test_world_must(&world, "DROP TABLE t");
    test_world_must(&world, "DROP TABLE IF EXISTS t");
    select_is(&world, "SHOW TABLES", "");
    test_world_free(&world);
}

static void insert_makes_paths_absolute_and_keeps_null_apart_from_absent(void **state)
{
    struct test_world world;
    (void)state;
    test_world_init(&world);
    world.context.device_prefix = STR("acme/sz");
    test_world_must(&world, "CREATE TABLE t (a bigint, b bigint)");
    test_world_must(
        &world,
        "INSERT INTO t (device, a) VALUES ('p1', NULL), ('acme/sz/p2', 1), ('acme/szx', 2)");
    select_is(
        &world, "SELECT device, a, quality(a), quality(b) FROM t",
        "acme/sz/acme/szx|2|Good|GoodNoData\nacme/sz/p1|NULL|Good|GoodNoData\nacme/sz/p2|1|Good|GoodNoData\n");
    select_is(&world, "SELECT time = now() FROM t LIMIT 1", "true\n");
    test_world_free(&world);
}

static void units_follow_columns_through_aggregates_but_not_through_arithmetic(void **state)
{
    struct test_world world;
    struct sql_statement *s;
    const struct sql_result_column *columns;
    struct why why = WHY_NONE;
    (void)state;
    test_world_init(&world);
    test_world_must(&world, "CREATE TABLE t (a double UNIT 'bar')");
    assert_int_equal(sql_prepare(&world.context,
                                 STR("SELECT max(a), max(a) * 2, count(a) AS n FROM t"), &s, &why),
                     ERR_OK);
    assert_int_equal(sql_columns(s, &columns), 3);
    assert_string_equal(columns[0].unit, "bar");
    assert_string_equal(columns[0].name, "max");
    assert_string_equal(columns[1].unit, "");
    assert_string_equal(columns[2].name, "n");
    assert_int_equal(columns[2].type, TYPE_BIGINT);
    sql_close(s);
    test_world_free(&world);
}

static void durations_are_read_in_both_spellings(void **state)
{
    int64_t ns;
    (void)state;
    assert_true(sql_parse_interval(STR("10 s"), &ns) && ns == INT64_C(10000000000));
    assert_true(sql_parse_interval(STR(" 1 hour 30 minutes "), &ns) &&
                ns == INT64_C(5400000000000));
    assert_true(sql_parse_interval(STR("1h30m"), &ns) && ns == INT64_C(5400000000000));
    assert_false(sql_parse_interval(STR("1 month"), &ns));
    assert_false(sql_parse_interval(STR(""), &ns));
    assert_false(sql_parse_interval(STR("9999999999 weeks"), &ns));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(create_table_asks_for_the_document_it_describes),
        cmocka_unit_test(columns_are_added_and_renamed_and_rows_stay),
        cmocka_unit_test(insert_makes_paths_absolute_and_keeps_null_apart_from_absent),
        cmocka_unit_test(units_follow_columns_through_aggregates_but_not_through_arithmetic),
        cmocka_unit_test(durations_are_read_in_both_spellings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
