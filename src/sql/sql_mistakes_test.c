/* sql_mistakes_test.c - the likeliest mistakes with windows, aggregates and functions, and the
 * words that answer them: what is wrong, where, and how to write it instead. A text changes here
 * first. */
#include "sql/test_source.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static const char *const setup[] = {
    "CREATE TABLE press (temperature double, pressure double, parts bigint, counter ubigint, running bool, mode text)",
    "INSERT INTO press (time, device, temperature, parts, counter, running, mode) VALUES "
    "('1970-01-01T00:00:00Z', 'p1', 20, 1, 100, true, 'auto'), ('1970-01-01T00:00:01Z', 'p2', 20, 1, 100, true, 'auto')",
};

/* clang-format off */
static const struct {
    const char *sql, *text;
    int position; /* of the trouble in the statement; -1: it is nowhere in particular */
} mistakes[] = {
    {"SELECT avg(temperature) FROM press WINDOW TUMBLE(10)",
     "a width needs a unit: 10s, 5m, 1h, 1d; a bare number says nothing", 49},
    {"SELECT avg(temperature) FROM press WINDOW TUMBLE(10 s)",
     "a width needs a unit: 10s, 5m, 1h, 1d; a bare number says nothing", 49},
    {"SELECT avg(temperature) FROM press WINDOW TUMBLE(0s)",
     "expected a width greater than zero, such as 10s, 5m, 1h, 1d, 1mo", 49},
    {"SELECT avg(temperature) FROM press WINDOW TUMBLING(10s)",
     "expected a window, found \"TUMBLING\"; did you mean \"tumble\"?", 42},
    {"SELECT avg(temperature) FROM press WINDOW TUMBEL(10s)",
     "expected a window, found \"TUMBEL\"; did you mean \"tumble\"?", 42},
    {"SELECT mode || E'\\xC3' FROM press",
     "what this E'…' stands for is not UTF-8, or has a zero byte", 15},
    {"SELECT E'a\\000b'", "what this E'…' stands for is not UTF-8, or has a zero byte", 7},
    {"SELECT avg(temperature) FROM press TUMBLE(10s)",
     "the word WINDOW is missing: WINDOW tumble(10s)", 35},
    {"SELECT avg(temperature) FROM press GROUP BY TUMBLINGWINDOW(10s)",
     "expected a unit such as ss, found \"10s\"", 59},
    {"SELECT avg(temperature) FROM press GROUP BY TUMBLINGWINDOW(sx, 10)",
     "the units of this window are ms, ss, mi, hh, dd, with a number above 0", 63},
    {"CREATE STABLE s (ts timestamp, v double) TAGS (site text)",
     "the first column of a stable is the rows' time, which is called time here: time timestamp, …", 17},
    {"CREATE STABLE s (time timestamp, v double) TAGS (v text)", "\"v\" is a column already", 49},
    {"CREATE TABLE d1 USING s TAGS ('a')",
     "a device has no table of its own here, it comes with its first row: INSERT INTO the stable (time, device, label.NAME, …) VALUES (…)", 16},
    {"COMMENT ON COLUMN press.temperatur IS 'x'",
     "column \"temperatur\" does not exist in table press; did you mean \"temperature\"?", 24},
    {"COMMENT ON VIEW press IS 'x'", "expected \"TABLE\" or \"COLUMN\", found \"VIEW\"", 11},
    {"SELECT avg(temperature) FROM press WINDOW HOP(60s)",
     "HOP takes a size and a step: HOP(60s, 10s) is a minute's window every 10 s", 49},
    {"SELECT avg(temperature) FROM press WINDOW HOP(1d, 1s)",
     "every row would be in 86400 windows, the limit is 10000; use a longer step", 42},
    {"SELECT avg(temperature) FROM press WINDOW HOP(1mo, 1d)",
     "with months or a time zone HOP's size is a whole number of steps, such as HOP(1d, 6h) or HOP(12mo, 1mo)", 42},
    {"SELECT avg(temperature) FROM press WINDOW SLIDE(1mo)",
     "a width cannot be months or years: their length varies", 48},
    {"SELECT avg(temperature) FROM press WINDOW SESSION(10)",
     "a gap needs a unit: 10s, 5m, 1h, 1d; a bare number says nothing", 50},
    {"SELECT avg(temperature) FROM press WINDOW COUNT(0)",
     "a number of rows is from 1 to 1000000", 48},
    {"SELECT avg(temperature) FROM press WINDOW COUNT(10s)",
     "expected a number of rows, found \"10s\"", 48},
    {"SELECT avg(temperature) FROM press WINDOW STATE()",
     "expected an expression, found \")\"", 48},
    {"SELECT avg(temperature) FROM press WINDOW EVENT(running)",
     "an event window is written EVENT(START a > 10 END a < 5)", 48},
    {"SELECT avg(temperature) FROM press WINDOW EVENT(START parts END running)",
     "the START of an event window wants a condition, this is bigint", 54},
    {"SELECT avg(temperature) FROM press INTERVAL(10s) WINDOW TUMBLE(10s)",
     "a statement has at most one window", 49},
    {"SELECT avg(temperature) FROM press GROUP BY device INTERVAL(10s)",
     "the window stands before GROUP BY: … PARTITION BY device WINDOW TUMBLE(10s)", 51},
    {"SELECT temperature FROM press WINDOW TUMBLE(10s)",
     "column \"temperature\" must be in GROUP BY (or PARTITION BY) or inside an aggregate such as last(temperature)", 7},
    {"SELECT window_start FROM press",
     "window_start can only be selected, and only with a window: WINDOW TUMBLE(10s)", 7},
    {"SELECT count(*) FROM press WINDOW TUMBLE(1d) TIME ZONE 'Shanghai'",
     "the time zone \"Shanghai\" is not known; write it like 'Asia/Shanghai', 'UTC' or '+08:00'", 34},
    {"SELECT count(*) FROM press WINDOW TUMBLE(1d) TIME ZONE Shanghai",
     "expected a time zone such as 'Asia/Shanghai', found \"Shanghai\"", 55},
    {"SELECT count(*) FROM press WINDOW SESSION(10s) TIME ZONE 'UTC'",
     "TIME ZONE belongs behind TUMBLE or HOP", 47},
    {"SELECT avg(temperature) FROM press FILL(prev)",
     "FILL needs windows of equal width: WINDOW TUMBLE(10s), HOP(60s, 10s) or GROUP BY time_bucket('10 s', time)", 35},
    {"SELECT avg(temperature) FROM press WINDOW SESSION(10s) FILL(0)",
     "FILL needs windows of equal width: WINDOW TUMBLE(10s), HOP(60s, 10s) or GROUP BY time_bucket('10 s', time)", 55},
    {"SELECT avg(temperature) FROM press WINDOW TUMBLE(10s) FILL(previus)",
     "expected \"PREV\", \"NEXT\", \"LINEAR\", \"NULL\", \"NONE\" or a constant, found \"previus\"", 59},
    {"SELECT avg(temperature), count(*) FROM press WINDOW TUMBLE(10s) FILL(1, 2, 3)",
     "FILL has 3 constants for 2 selected aggregates; give one for all, or one for each", 64},
    {"SELECT avg(temperature) * 2 FROM press WINDOW TUMBLE(10s) FILL(0)",
     "FILL with a constant fills aggregates; here one is part of an expression: select it alone, or use FILL(null) with coalesce(…, constant)", 24},
    {"SELECT last(mode) FROM press WINDOW TUMBLE(10s) FILL(0)",
     "FILL: last gives text, this constant is bigint", 53},
    {"SELECT avg(temperature) FROM press WHERE time >= '1970-01-01' AND time < '1971-01-01' WINDOW TUMBLE(1s) FILL(0)",
     "FILL would make more than 1000000 rows; narrow the time range in WHERE or use wider windows", -1},
    {"SELECT locf(avg(temperature)) FROM press",
     "locf and interpolate need GROUP BY time_bucket_gapfill('10 s', time), or a window with FILL(null)", 12},
    {"SELECT locf(temperature) FROM press",
     "locf takes one aggregate and nothing around it: locf(avg(temperature)) with GROUP BY time_bucket_gapfill('10 s', time)", 7},
    {"SELECT twa(temperature) FROM press",
     "twa follows one device through time, and here rows of two meet: add PARTITION BY device, or WHERE device = '…'", 7},
    {"SELECT rate(counter) FROM press WINDOW TUMBLE(10s)",
     "rate follows one device through time, and here rows of two meet: add PARTITION BY device, or WHERE device = '…'", 7},
    {"SELECT median(mode) FROM press",
     "median does not take text; for example: median(temperature)", 7},
    {"SELECT percentile(temperature, 0.95, 1) FROM press",
     "percentile does not take (double, double, bigint); for example: percentile(temperature, 90)", 7},
    {"SELECT percentile_cont(temperature, 95) FROM press",
     "percentile_cont wants a share from 0 to 1 here; for example: percentile_cont(temperature, 0.9)", 36},
    {"SELECT percentile(temperature, parts) FROM press",
     "percentile wants per cent, from 0 to 100 here; for example: percentile(temperature, 90)", 31},
    {"SELECT histogram(temperature, 10, 0, 5) FROM press",
     "histogram wants a lower bound, a greater upper one, and 1 to 1000 bins here; for example: histogram(temperature, 20, 30, 5)", 30},
    {"SELECT top(temperature) FROM press",
     "top does not take double; for example: top(temperature, 2)", 7},
    {"SELECT medain(temperature) FROM press",
     "function \"medain\" does not exist; did you mean \"median\"?", 7},
    {"SELECT diff(temperature) FROM press GROUP BY device",
     "diff works row by row: put it inside an aggregate, max(diff(…)), or leave the groups out", 7},
    {"SELECT * FROM press WHERE diff(temperature) > 1",
     "diff follows the rows that WHERE leaves, so it cannot stand in WHERE: SELECT … FROM (SELECT time, diff(…) AS d FROM …) AS q WHERE d > …", 26},
    {"SELECT mavg(temperature, 0) FROM press",
     "mavg wants a number of rows from 1 to 10000 here; for example: SELECT mavg(parts, 2) FROM demo WHERE device = 'p1'", 25},
    {"SELECT derivative(temperature, 0s) FROM press",
     "derivative wants a unit of time such as 1s, 1m here; for example: SELECT derivative(temperature, 1m) FROM demo WHERE device = 'p1'", 31},
    {"SELECT mode ~ '[' FROM press",
     "~: the regular expression '[' is not valid at byte 1: \"[\" has no \"]\"", 12},
    {"SELECT regexp_replace(mode, 'a', 'b', 'x') FROM press",
     "regexp_replace: the flags of a regular expression are i (any case) and g (all matches)", 7},
    {"SELECT substing(mode, 1) FROM press",
     "function \"substing\" does not exist; did you mean \"substring\"?", 7},
    {"SELECT upper(temperature) FROM press",
     "upper does not take (double); for example: upper('ab')", 7},
    {"SELECT round(mode) FROM press",
     "round does not take (text); for example: round(3)", 7},
    {"SELECT date_trunc('days', time) FROM press",
     "date_trunc: \"days\" is not a unit of time; did you mean \"day\"?", 7},
    {"SELECT date_part('hours_', time) FROM press",
     "date_part: \"hours_\" is no part of a time; did you mean \"hour\"?", 7},
    {"SELECT extract(hour, time) FROM press",
     "extract is written extract(hour FROM time)", 19},
    {"SELECT time_bucket('10 x', time) FROM press",
     "time_bucket: '10 x' is not a width such as '10 s', '5 minutes', '1 day', '1 month'", 19},
    {"SELECT time_bucket(10, time) FROM press",
     "time_bucket does not take (bigint, timestamp); for example: time_bucket(10m, timestamp '2026-11-21 03:04:05')", 7},
    {"SELECT date_add(time, '1 moon') FROM press",
     "date_add: '1 moon' is no span of time; write it like '1 month', '2 days 3 hours', '1 year'", 7},
    {"SELECT to_char(time) FROM press",
     "to_char does not take (timestamp); for example: to_char(timestamp '2026-11-21 03:04:05', 'YYYY-MM-DD HH24:MI:SS Dy')", 7},
    {"SELECT bit(parts, 64) FROM press",
     "bit: bits are numbered from 0 to 63, this is 64", 7},
    {"SELECT chr(0) FROM press",
     "chr: 0 is no character", 7},
    {"SELECT clamp(temperature, 5, 1) FROM press",
     "clamp: the lower bound 5 is above the upper one 1", 7},
    {"SELECT max(avg(temperature)) FROM press",
     "an aggregate inside another one makes no sense", 11},
    {"SELECT avg(temperature) FROM press WHERE avg(temperature) > 1",
     "an aggregate cannot stand here; conditions on aggregates belong into HAVING", 41},
    {"SELECT device, avg(temperature) FROM press",
     "column \"device\" must be in GROUP BY (or PARTITION BY) or inside an aggregate such as last(device)", 7},
    {"SELECT count(DISTINCT temperature, mode) FROM press",
     "count does not take (double, text); for example: count(temperature)", 7},
    {"SELECT avg(*) FROM press",
     "avg does not take *; only count does. For example: avg(temperature)", 7},
    {"SELECT time + 5 FROM press",
     "operator \"+\" does not take timestamp, bigint; add a duration such as 1h to a time", 12},
    {"SELECT time + '5' FROM press",
     "'5' is not a duration such as '10 s', '5 minutes', '1 day'", 14},
    {"SELECT interval '1 fortnight' FROM press",
     "'1 fortnight' is not a duration; write it like '10 s', '5 minutes', '1 day'", 16},
    {"SELECT avgg(temperature) FROM press",
     "function \"avgg\" does not exist; did you mean \"avg\"?", 7},
};
/* clang-format on */

static void mistakes_are_answered_with_help(void **state)
{
    struct test_world world;
    unsigned wrong = 0;
    (void)state;
    test_world_init(&world);
    for (size_t i = 0; i < sizeof setup / sizeof setup[0]; i++) test_world_must(&world, setup[i]);
    for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
        struct buf out = BUF_EMPTY;
        struct why why = WHY_NONE;
        enum err err = test_world_sql(&world, mistakes[i].sql, strlen(mistakes[i].sql), &out, &why);
        const char *text = err ? why_text(&why, err) : "no error";
        bool good = strcmp(text, mistakes[i].text) == 0 && why.position == mistakes[i].position;
        if (!good)
            print_error("%s\n  wanted: %s (%d)\n  got:    %s (%d)\n", mistakes[i].sql,
                        mistakes[i].text, mistakes[i].position, text, why.position);
        wrong += !good;
        buf_free(&out);
    }
    test_world_free(&world);
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mistakes_are_answered_with_help),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
