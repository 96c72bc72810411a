/* sql_fault_test.c - what statements do when memory, time or patience runs out: a clean error that
 * says what to do, and nothing left behind (test_world_sql checks open tables, scans and the
 * budget). */
#include "sql/test_source.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static const char *const statements[] = {
    "SELECT *, quality, quality(v), received FROM t WHERE v > 1 AND (s LIKE 'a%' OR n IN (1, 2, 3)) ORDER BY s DESC, v LIMIT 3",
    "SELECT device, window_start, avg(v), last(s), count(DISTINCT s), stddev(n) FROM t PARTITION BY device WINDOW TUMBLE(10s) HAVING count(*) > 0",
    "SELECT lower(s) || 'x', max(s), sum(n) FROM t GROUP BY lower(s) || 'x' ORDER BY 1",
    "SELECT DISTINCT CASE WHEN v > 2 THEN concat(s, n) ELSE coalesce(s, 'none') END FROM t",
    "SELECT window_start, window_end, avg(v), last(s) FROM t WINDOW HOP(2s, 1s) FILL(linear) ORDER BY 1",
    "SELECT device, time_bucket_gapfill('1 day', time, 'Asia/Shanghai') AS w, locf(last(s)) FROM t GROUP BY device, w",
    "SELECT s, count(*), max(n) FROM t PARTITION BY s WINDOW SESSION(1s)",
    "SELECT window_start, last(s), count(*) FROM t PARTITION BY device WINDOW SLIDE(3s)",
    "SELECT device, n, window_end, count(s) FROM t PARTITION BY device WINDOW STATE(n)",
    "SELECT count(s) FROM t COUNT_WINDOW(5, 2)",
    "SELECT count(s) FROM t EVENT_WINDOW START WITH n > 3 END WITH n < 2",
    "EXPLAIN ANALYZE SELECT avg(v) FROM t WHERE time > '1970-01-01' AND device = 'd1'",
    "SELECT a.v, b.s, count(*) OVER (PARTITION BY a.device ORDER BY a.time) FROM t a LEFT JOIN t b ON a.n = b.n AND a.v < b.v WHERE a.n > 1 ORDER BY 1, 2",
    "SELECT device, v, s FROM t a FULL JOIN (SELECT device, max(n) AS m FROM t GROUP BY device) b USING (device)",
    "SELECT a.v, b.v FROM t a ASOF LEFT JOIN t b ON a.device = b.device AND a.time > b.time TOLERANCE 1s",
    "WITH x AS (SELECT v, n FROM t), y AS (VALUES (1, 2), (3, NULL)) SELECT v FROM x UNION SELECT column1 FROM y EXCEPT SELECT 3",
    "SELECT (SELECT max(s) FROM t b WHERE b.n = a.n), v FROM t a WHERE EXISTS (SELECT 1 FROM t c WHERE c.v = a.v) AND n IN (SELECT n FROM t)",
    "SELECT DISTINCT ON (n) n, min(s) OVER (PARTITION BY device ORDER BY v ROWS BETWEEN 2 PRECEDING AND CURRENT ROW), lag(s, 1, 'x') OVER w, count(*) FILTER (WHERE v > 2) OVER () FROM t WINDOW w AS (ORDER BY time) ORDER BY n",
    "EXPLAIN ANALYZE SELECT a.v, (SELECT 1) FROM t a JOIN t b USING (time, device) WHERE a.n = b.n INTERSECT ALL SELECT v, 1 FROM t",
    "SHOW FUNCTIONS",
    "SHOW TABLES",
    "DESCRIBE t",
    "SELECT nope FROM t",
    "SELECT 1 FROM tt",
};

static void set_up(struct test_world *world, int rows)
{
    char text[256];
    test_world_init(world);
    test_world_must(world, "CREATE TABLE t (v double, n bigint, s text)");
    for (int i = 0; i < rows; i++) {
        snprintf(
            text, sizeof text,
            "INSERT INTO t (time, device, label.l, v, n, s) VALUES (%d::bigint::timestamp, 'd%d', 'x', %d.5, %d, 'a%d')",
            i * 1000, i % 3, i, i % 7, i % 50);
        test_world_must(world, text);
    }
}

static void every_failing_allocation_gives_a_clean_error(void **state)
{
    struct test_world world;
    (void)state;
    set_up(&world, 40);
    for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++) {
        bool failed_once = false;
        for (uint64_t n = 1;; n++) {
            struct buf out = BUF_EMPTY;
            struct why why = WHY_NONE;
            mem_test_fail(n);
            enum err err = test_world_sql(&world, statements[i], strlen(statements[i]), &out, &why);
            bool reached = mem_test_count() >= n;
            mem_test_fail(0);
            buf_free(&out);
            if (!reached) break;
            failed_once = failed_once || err == ERR_NO_MEMORY;
            if (err) assert_true(why.text[0] != 0);
        }
        assert_true(failed_once);
    }
    test_world_free(&world);
}

static void failing_allocations_in_insert_and_ddl_leave_nothing(void **state)
{
    static const char *const effects[] = {
        "INSERT INTO t (time, device, label.l, v, s) VALUES ('1970-01-01', 'd1', 'x', 1, 'abc'), (now(), 'd2', 'y', NULL, 'z')",
        "CREATE TABLE u (a bigint UNIT 'x' COMMENT 'y', b text) WITH (retention = '90d')",
        "ALTER TABLE t RENAME COLUMN v TO w",
    };
    struct test_world world;
    (void)state;
    set_up(&world, 1);
    for (size_t i = 0; i < sizeof effects / sizeof effects[0]; i++) {
        for (uint64_t n = 1;; n++) {
            struct sql_statement *statement = NULL;
            struct batch *batch = NULL;
            struct why why = WHY_NONE;
            budget_init(&world.budget, "statement", NULL, world.budget_bytes);
            mem_test_fail(n);
            enum err err = sql_prepare(&world.context, str_of(effects[i]), &statement, &why);
            if (!err && sql_verb_of(statement) == SQL_INSERT)
                err = sql_insert_batch(statement, &batch, &why);
            bool reached = mem_test_count() >= n;
            mem_test_fail(0);
            batch_release(batch);
            sql_close(statement);
            assert_int_equal(world.open_tables, 0);
            if (!reached) break;
            assert_true(err == ERR_OK || err == ERR_NO_MEMORY);
        }
    }
    test_world_free(&world);
}

static enum err run(struct test_world *world, const char *text, struct why *why)
{
    struct buf out = BUF_EMPTY;
    *why = WHY_NONE;
    enum err err = test_world_sql(world, text, strlen(text), &out, why);
    buf_free(&out);
    return err;
}

static void a_statement_beyond_its_memory_says_how_to_need_less(void **state)
{
    static const char *const greedy[] = {
        "SELECT * FROM t ORDER BY s", "SELECT n, v, count(*) FROM t GROUP BY n, v",
        "SELECT DISTINCT v FROM t", "SELECT count(DISTINCT v) FROM t"};
    static const char *const keeping[][2] = {
        {"SELECT a.v FROM t a JOIN t b ON a.s = b.s", "put the smaller table there"},
        {"SELECT sum(v) OVER (ORDER BY v) FROM t", "add device to PARTITION BY"},
        {"SELECT v FROM t EXCEPT SELECT v + 1 FROM t", "memory limit"},
        {"SELECT v FROM t WHERE v IN (SELECT v FROM t)", "memory limit"}};
    struct test_world world;
    struct why why;
    (void)state;
    set_up(&world, 3000);
    world.budget_bytes = 250 * 1024;
    for (size_t i = 0; i < sizeof greedy / sizeof greedy[0]; i++) {
        enum err err = run(&world, greedy[i], &why);
        if (err != ERR_BUDGET) print_error("%s: %s\n", greedy[i], why_text(&why, err));
        assert_int_equal(err, ERR_BUDGET);
        assert_non_null(strstr(why.text, "memory limit of 250 KiB; narrow the time range"));
    }
    for (size_t i = 0; i < sizeof keeping / sizeof keeping[0]; i++) {
        enum err err = run(&world, keeping[i][0], &why);
        if (err != ERR_BUDGET) print_error("%s: %s\n", keeping[i][0], why_text(&why, err));
        assert_int_equal(err, ERR_BUDGET);
        assert_non_null(strstr(why.text, keeping[i][1]));
    }
    test_world_free(&world);
}

static void the_best_rows_and_windows_need_no_more_memory_than_a_few(void **state)
{
    struct test_world world;
    struct why why;
    (void)state;
    set_up(&world, 12000);
    world.budget_bytes = 1300 * 1024;
    assert_int_equal(run(&world, "SELECT v, n, s FROM t ORDER BY s, v LIMIT 10", &why), ERR_OK);
    world.budget_bytes = 250 * 1024; /* one window at a time */
    assert_int_equal(
        run(&world,
            "SELECT device, window_start, avg(v) FROM t PARTITION BY device WINDOW TUMBLE(1us)",
            &why),
        ERR_OK);
    test_world_free(&world);
}

static void time_limit_and_cancel_stop_a_statement(void **state)
{
    struct test_world world;
    struct why why;
    _Atomic bool cancelled = true;
    (void)state;
    set_up(&world, 10);
    world.mono_step_ns = 1000;
    world.context.deadline_mono_ns = world.mono_ns + 2500;
    assert_int_equal(run(&world, "SELECT * FROM t", &why), ERR_TIMEOUT);
    assert_non_null(strstr(why.text, "narrow the time range"));
    world.context.deadline_mono_ns = INT64_MAX;
    world.context.cancelled = &cancelled;
    assert_int_equal(run(&world, "SELECT * FROM t", &why), ERR_CANCELLED);
    test_world_free(&world);
}

/* A chunk, even a single row, may need longer than there is time. */
static void the_time_limit_is_looked_at_inside_a_chunk(void **state)
{
    static const struct {
        const char *text;
        int looks; /* that are not enough */
    } cases[] = {
        {"SELECT count(*) FROM t WHERE repeat('a', 20000 + n) LIKE '%' || repeat('a', 8000) || 'b'",
         60},
        {"SELECT repeat('a', 20000) LIKE '%' || repeat('a', 8000) || 'b'", 60}, /* folded */
        {"SELECT regexp_count(repeat('a', 4000 + n), 'a.*b|a') FROM t", 40},
        {"SELECT repeat('ab', 500000) ~ '(a?b?){40}c'", 60}, /* one search */
        {"SELECT count(*) FROM one a ASOF JOIN (SELECT ('1970-01-01'::timestamp + mod(v::bigint * 7919, 12000) * 1s) AS t FROM long) b ON a.time >= b.t",
         22},
        {"SELECT max(c) FROM (SELECT count(*) AS c FROM long PARTITION BY mod(v::bigint, 3) WINDOW SESSION(1ms))",
         29},
        {"SELECT regexp_replace(repeat('a', 4000 + n), 'a.*b|a', '', 'g') FROM t", 40},
        {"SELECT translate(repeat('a', 20000 + n), repeat('b', 10000), '') FROM t", 60},
        {"SELECT trim(repeat('a', 20000 + n), repeat('b', 10000) || 'a') FROM t", 60},
        {"SELECT max(c) FROM (SELECT count(*) AS c FROM long PARTITION BY device WINDOW SLIDE(1d))",
         40},
        {"SELECT max(s) FROM (SELECT sum(v) OVER (ORDER BY time) AS s FROM long)", 100},
    };
    struct test_world world;
    struct why why;
    char text[128];
    (void)state;
    set_up(&world, 1);
    test_world_must(&world, "CREATE TABLE long (v double)");
    test_world_must(&world, "CREATE TABLE one (v double)");
    test_world_must(&world, "INSERT INTO one (time, device, v) VALUES (now(), 'd', 1)");
    struct buf rows = BUF_EMPTY;
    buf_add_text(&rows, "INSERT INTO long (time, device, v) VALUES ");
    for (int i = 0; i < 12000; i++) {
        snprintf(text, sizeof text, "%s(%d::bigint::timestamp, 'd', %d)", i ? "," : "", i, i);
        buf_add_text(&rows, text);
    }
    test_world_must(&world, buf_cstr(&rows));
    buf_free(&rows);
    world.mono_step_ns = 1000;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        world.context.deadline_mono_ns = world.mono_ns + cases[i].looks * 1000;
        enum err err = run(&world, cases[i].text, &why);
        if (err != ERR_TIMEOUT) print_error("%s: %s\n", cases[i].text, why_text(&why, err));
        assert_int_equal(err, ERR_TIMEOUT);
    }
    test_world_free(&world);
}

/* `times` times before, once inside, `times` times behind. */
static void add_nested(struct buf *text, int times, const char *before, const char *inside,
                       const char *behind)
{
    for (int i = 0; i < times; i++) buf_add_text(text, before);
    buf_add_text(text, inside);
    for (int i = 0; i < times; i++) buf_add_text(text, behind);
}

static void must_refuse(struct test_world *world, struct buf *text, const char *words)
{
    struct buf out = BUF_EMPTY;
    struct why why = WHY_NONE;
    assert_false(buf_failed(text));
    enum err err = test_world_sql(world, text->at, text->size, &out, &why);
    if (err != ERR_LIMIT || !strstr(why_text(&why, err), words))
        fail_msg("wanted %s, got %s", words, why_text(&why, err));
    buf_free(&out);
    buf_free(text);
}

/* What each of them would need doubles with each level. */
static void operands_that_count_twice_are_refused_before_that_takes_for_ever(void **state)
{
    struct test_world world;
    struct buf text = BUF_EMPTY;
    (void)state;
    test_world_init(&world);
    buf_add_text(&text, "SELECT ");
    add_nested(&text, 60, "(", "true", " BETWEEN false AND true)");
    must_refuse(&world, &text, "this expression is too large");
    buf_add_text(&text, "SELECT ");
    add_nested(&text, 60, "CASE ", "1", " WHEN 1 THEN 1 WHEN 2 THEN 2 END");
    must_refuse(&world, &text, "this expression is too large");
    buf_add_text(&text, "SELECT ");
    add_nested(&text, 60, "(", "true", " = ANY (ARRAY[true, false]))");
    must_refuse(&world, &text, "this expression is too large");
    buf_add_text(&text, "SELECT ");
    add_nested(&text, 60, "sum(1) OVER (ORDER BY ", "1", ") BETWEEN 1 AND 2");
    must_refuse(&world, &text, "this expression is too large");
    test_world_free(&world);
}

/* Each level is within its own bound, all of them are more than a task's stack holds. */
static void queries_deep_inside_expressions_inside_queries_are_refused(void **state)
{
    struct test_world world;
    struct buf text = BUF_EMPTY, sum = BUF_EMPTY;
    (void)state;
    test_world_init(&world);
    for (int i = 0; i < 900; i++) buf_add_text(&sum, "+1");
    buf_add_text(&sum, ")");
    buf_add_text(&text, "SELECT ");
    add_nested(&text, 31, "(SELECT ", "1", buf_cstr(&sum));
    must_refuse(&world, &text, "stand too deep inside each other");
    buf_add_text(&text, "SELECT ");
    add_nested(&text, 90, "sum(1) OVER (ORDER BY ", "1", buf_cstr(&sum));
    must_refuse(&world, &text, "more than 1000 levels deep");
    buf_add_text(&text, "WITH c0 AS (SELECT 1 AS x)");
    for (int i = 1; i < 900; i++)
        buf_printf(&text, ", c%d AS (SELECT (SELECT x FROM c%d) + 1 AS x)", i, i - 1);
    buf_add_text(&text, " SELECT x FROM c899");
    must_refuse(&world, &text, "stand too deep inside each other");
    buf_free(&sum);
    test_world_free(&world);
}

static void deep_or_long_texts_are_refused_not_crashed_on(void **state)
{
    static char text[(1 << 20) + 100];
    struct test_world world;
    struct why why;
    (void)state;
    test_world_init(&world);
    size_t at = (size_t)snprintf(text, sizeof text, "SELECT ");
    memset(text + at, '(', 100000);
    assert_int_equal(run(&world, text, &why), ERR_LIMIT);
    assert_non_null(strstr(why.text, "more than 200 levels"));
    for (size_t i = 0; i < 100000; i++) {
        text[at + 2 * i] = i ? '+' : ' ';
        text[at + 2 * i + 1] = '1';
    }
    assert_int_equal(run(&world, text, &why), ERR_LIMIT);
    assert_non_null(strstr(why.text, "more than 1000 levels deep"));
    memset(text + at, '1', sizeof text - at - 1);
    assert_int_equal(run(&world, text, &why), ERR_LIMIT);
    test_world_free(&world);
}

static void parameters_take_the_type_they_are_needed_as(void **state)
{
    struct test_world world;
    struct buf out = BUF_EMPTY;
    struct why why = WHY_NONE;
    struct value params[] = {{.type = TYPE_TEXT, .s = STR("1970-01-01T00:00:00.000002Z")},
                             {.type = TYPE_BIGINT, .i = 3},
                             {.type = TYPE_NONE, .is_null = true}};
    const char *text = "SELECT $2 + 1, $3, count(*) FROM t WHERE time >= $1 AND n < $2";
    (void)state;
    set_up(&world, 5);
    world.context.params = params;
    world.context.param_count = 3;
    assert_int_equal(test_world_sql(&world, text, strlen(text), &out, &why), ERR_OK);
    assert_string_equal(buf_cstr(&out), "4|NULL|1\n");
    buf_free(&out);
    test_world_free(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_failing_allocation_gives_a_clean_error),
        cmocka_unit_test(failing_allocations_in_insert_and_ddl_leave_nothing),
        cmocka_unit_test(a_statement_beyond_its_memory_says_how_to_need_less),
        cmocka_unit_test(the_best_rows_and_windows_need_no_more_memory_than_a_few),
        cmocka_unit_test(time_limit_and_cancel_stop_a_statement),
        cmocka_unit_test(the_time_limit_is_looked_at_inside_a_chunk),
        cmocka_unit_test(deep_or_long_texts_are_refused_not_crashed_on),
        cmocka_unit_test(operands_that_count_twice_are_refused_before_that_takes_for_ever),
        cmocka_unit_test(queries_deep_inside_expressions_inside_queries_are_refused),
        cmocka_unit_test(parameters_take_the_type_they_are_needed_as),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
