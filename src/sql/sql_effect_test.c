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
        "CREATE TABLE IF NOT EXISTS oven (t double UNIT '°C' COMMENT 'inner', n int) WITH (retention = '90d', "
        "rollups = '1m, 1h')";
    assert_int_equal(sql_prepare(&world.context, str_of(text), &s, &why), ERR_OK);
    assert_int_equal(sql_verb_of(s), SQL_CREATE_TABLE);
    assert_int_equal(sql_ddl_of(s, &ddl), ERR_OK);
    assert_true(ddl->action == DDL_CREATE && ddl->if_not_exists && ddl->column_count == 2);
    assert_string_equal(ddl->columns[0].unit, "°C");
    assert_string_equal(ddl->columns[0].description, "inner");
    assert_int_equal(ddl->columns[1].type, TYPE_BIGINT);
    assert_true(ddl->retention_ns == INT64_C(90) * 86400 * 1000000000);
    assert_int_equal(ddl->rollup_count, 2);
    assert_true(ddl->rollups_ns[1] == INT64_C(3600) * 1000000000);
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
    test_world_must(&world, "COMMENT ON TABLE t IS 'of line 1'");
    test_world_must(&world, "COMMENT ON COLUMN public.t.b IS 'at the inlet'");
    select_is(&world, "SHOW TABLES", "public|t|of line 1\n");
    select_is(&world, "DESCRIBE t",
              "time|timestamp||of the measurement (UTC)\ndevice|text||path of the device\n"
              "quality|text||worst quality among the columns read; quality(column) gives one\n"
              "received|timestamp||when the row came to its node\n"
              "alpha|bigint||\nb|double|bar|at the inlet\nc|text||\n");
    test_world_must(&world, "COMMENT ON TABLE t IS NULL");
    select_is(&world, "SHOW TABLES", "public|t|\n");
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
    assert_true(sql_parse_interval(STR("120.000s"), &ns) && ns == INT64_C(120000000000));
    assert_true(sql_parse_interval(STR("-1.5 s"), &ns) && ns == INT64_C(-1500000000));
    assert_false(sql_parse_interval(STR("1.x s"), &ns));
    assert_false(sql_parse_interval(STR("1 month"), &ns));
    assert_false(sql_parse_interval(STR(""), &ns));
    assert_false(sql_parse_interval(STR("9999999999 weeks"), &ns));
}

/* ---- INSERT … SELECT, DELETE ---- */

static void insert_select_takes_all_rows_in_batches(void **state)
{
    struct test_world world;
    struct buf text = BUF_EMPTY;
    (void)state;
    test_world_init(&world);
    test_world_must(&world, "CREATE TABLE t (a double, s text)");
    test_world_must(&world, "CREATE TABLE u (a bigint, s text)");
    buf_add_text(&text, "INSERT INTO t (time, device, label.l, a, s) VALUES ");
    for (int i = 0; i < 5000; i++)
        buf_printf(&text, "%s(%d::timestamp, 'd%d', 'x', %d, 't%d')", i ? "," : "", i, i % 3, i % 7,
                   i);
    test_world_must(&world, buf_cstr(&text));
    for (const char *shift = "5us"; shift; shift = strcmp(shift, "5us") == 0 ? "10us" : NULL) {
        buf_clear(&text);
        buf_printf(
            &text,
            "INSERT INTO t (time, device, label.l, a, s) SELECT time + %s, device, l, a, s || '+' FROM t",
            shift);
        test_world_must(&world, buf_cstr(&text));
    }
    test_world_must(
        &world, "INSERT INTO u (time, device, label.l, a, s) SELECT time, device, l, a, s FROM t");
    select_is(&world, "SELECT count(*), sum(a), count(DISTINCT s), min(l) FROM u",
              "20000|59980|15000|x\n");
    test_world_must(&world,
                    "INSERT INTO u (device, time, a) SELECT 'sum', max(time), sum(a) FROM u");
    select_is(&world, "SELECT time, a FROM u WHERE device = 'sum'",
              "1970-01-01T00:00:00.000019999Z|59980\n");
    test_world_must(&world, "INSERT INTO u (device, time) SELECT device, time FROM t WHERE a > 9");
    buf_free(&text);
    test_world_free(&world);
}

/* The ranges, and the number of their rows on a line of its own. */
static void ranges_are(struct test_world *world, const char *text, const char *wanted)
{
    struct sql_statement *s;
    struct sql_delete what;
    struct buf out = BUF_EMPTY;
    struct why why = WHY_NONE;
    assert_int_equal(sql_prepare(&world->context, str_of(text), &s, &why), ERR_OK);
    assert_int_equal(sql_verb_of(s), SQL_DELETE);
    assert_int_equal(sql_delete_of(s, &what, &why), ERR_OK);
    for (size_t i = 0; i < what.count; i++) {
        const struct sql_delete_range *range = &what.ranges[i];
        buf_printf(&out, "%.*s", (int)range->device.size, range->device.at);
        if (range->from_ns != INT64_MIN) buf_printf(&out, " %lld", (long long)range->from_ns);
        buf_add_text(&out, " -");
        if (range->to_ns != INT64_MAX) buf_printf(&out, " %lld", (long long)range->to_ns);
        buf_add_char(&out, '\n');
    }
    buf_printf(&out, "%llu\n", (unsigned long long)what.rows);
    assert_string_equal(buf_cstr(&out), wanted);
    buf_free(&out);
    sql_close(s);
}

static void delete_asks_for_the_ranges_of_its_rows_and_no_others(void **state)
{
    struct test_world world;
    (void)state;
    test_world_init(&world);
    test_world_must(&world, "CREATE TABLE t (a bigint)");
    test_world_must(
        &world, "INSERT INTO t (time, device, label.site, a) VALUES (10::timestamp, 'p1', 'sz', 1),"
                "(20::timestamp, 'p1', 'sz', 2), (30::timestamp, 'p1', 'sz', 2),"
                "(40::timestamp, 'p1', 'sz', NULL), (50::timestamp, 'p1', 'sz', 2),"
                "(20::timestamp, 'p2', 'ks', 2)");
    ranges_are(&world, "DELETE FROM t", "p1 -\np2 -\n6\n");
    ranges_are(&world, "DELETE FROM t AS x WHERE x.device = 'p2' AND time < 30::timestamp",
               "p2 - 29\n1\n");
    ranges_are(&world, "DELETE FROM t WHERE site = 'sz' AND time >= 20::timestamp", "p1 20 -\n4\n");
    ranges_are(&world, "DELETE FROM t WHERE time > 90::timestamp", "0\n");
    ranges_are(&world, "DELETE FROM t WHERE a = 2", "p1 20 - 30\np1 50 - 50\np2 20 - 20\n4\n");
    ranges_are(&world, "DELETE FROM t WHERE a IS NULL OR a = 2 AND time > 20::timestamp",
               "p1 30 - 50\n3\n");
    ranges_are(&world, "DELETE FROM t WHERE device IN (SELECT device FROM t WHERE a = 1)",
               "p1 -\n5\n");
    ranges_are(&world, "DELETE FROM t WHERE false", "0\n");
    test_world_must(&world, "DELETE FROM t WHERE a = 2 AND device = 'p1'");
    select_is(&world, "SELECT device, time, a FROM t",
              "p1|1970-01-01T00:00:00.00000001Z|1\np1|1970-01-01T00:00:00.00000004Z|NULL\n"
              "p2|1970-01-01T00:00:00.00000002Z|2\n");
    test_world_free(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(insert_select_takes_all_rows_in_batches),
        cmocka_unit_test(delete_asks_for_the_ranges_of_its_rows_and_no_others),
        cmocka_unit_test(create_table_asks_for_the_document_it_describes),
        cmocka_unit_test(columns_are_added_and_renamed_and_rows_stay),
        cmocka_unit_test(insert_makes_paths_absolute_and_keeps_null_apart_from_absent),
        cmocka_unit_test(units_follow_columns_through_aggregates_but_not_through_arithmetic),
        cmocka_unit_test(durations_are_read_in_both_spellings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
