/* sql_function_test.c - functions against independent ones: regular expressions against libc's
 * (over small alphabets, where both speak the same language), JSON paths against SQLite's, parts of
 * dates against libc's calendar. MILLRACE_TEST_SEED replays a run. */
#include "sql/regex.h"
#include "sql/test_source.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <regex.h>
#include <sqlite3.h>
#include <cmocka.h>

enum { RUN_SECONDS = 2 };

static uint64_t random_state;

static unsigned pick(unsigned n) /* splitmix64, S. Vigna: 0 … n - 1 */
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (unsigned)((z ^ z >> 31) % n);
}

static void begin(void)
{
    const char *seed = getenv("MILLRACE_TEST_SEED");
    random_state = seed ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL);
    print_message("MILLRACE_TEST_SEED=%llu\n", (unsigned long long)random_state);
}

/* ---- regular expressions ---- */

static void gen_pattern(struct buf *b, int depth)
{
    static const char *const atoms[] = {"a", "b", "c", ".", "[ab]", "[^a]", "[b-c]", "[[:alpha:]]"};
    static const char *const repeats[] = {"", "", "", "*", "+", "?", "{1,2}", "{2}"};
    unsigned pieces = 1 + pick(3);
    for (unsigned i = 0; i < pieces; i++) {
        if (depth > 0 && pick(3) == 0) {
            buf_add_char(b, '(');
            gen_pattern(b, depth - 1);
            if (pick(2)) buf_add_char(b, '|'), gen_pattern(b, depth - 1);
            buf_add_char(b, ')');
        } else {
            buf_add_text(b, atoms[pick(8)]);
        }
        buf_add_text(b, repeats[pick(8)]);
    }
}

static void gen_regex(struct buf *b)
{
    buf_clear(b);
    if (pick(4) == 0) buf_add_char(b, '^');
    gen_pattern(b, 2);
    if (pick(4) == 0) buf_add_char(b, '$');
}

/* Whether both find a match; and where ours begins, since "leftmost" is common to both. */
static void compare_match(struct str pattern, const char *text)
{
    struct arena arena;
    struct regex *regex;
    struct why why = WHY_NONE;
    struct str groups[REGEX_GROUPS_MAX];
    bool found = false;
    regex_t libc;
    regmatch_t match;
    arena_init(&arena, NULL);
    enum err err = regex_compile(pattern, STR(""), &arena, &regex, &why);
    if (err) fail_msg("%.*s: %s", (int)pattern.size, pattern.at, why.text);
    assert_int_equal(regcomp(&libc, pattern.at, REG_EXTENDED), 0);
    bool wanted = regexec(&libc, text, 1, &match, 0) == 0;
    assert_int_equal(regex_match(regex, str_of(text), 0, &arena, NULL, &found, groups), ERR_OK);
    if (found != wanted || (found && groups[0].at - text != match.rm_so))
        fail_msg("'%s' ~ '%s': %d at %td, libc %d at %d", text, pattern.at, found,
                 found ? groups[0].at - text : -1, wanted, (int)match.rm_so);
    regfree(&libc);
    arena_free(&arena);
}

static void expressions_match_where_libcs_do(void **state)
{
    time_t until = time(NULL) + RUN_SECONDS;
    struct buf pattern = BUF_EMPTY;
    int rounds = 0;
    (void)state;
    begin();
    for (; rounds < 200 || time(NULL) < until; rounds++) {
        char text[16];
        gen_regex(&pattern);
        for (int i = 0; i < 8; i++) {
            size_t n = pick(10);
            for (size_t c = 0; c < n; c++) text[c] = (char)('a' + pick(4));
            text[n] = 0;
            assert_non_null(buf_cstr(&pattern));
            compare_match(buf_str(&pattern), text);
        }
    }
    print_message("%d patterns\n", rounds);
    buf_free(&pattern);
}

static void expressions_that_kill_others_end_soon(void **state)
{
    static const char *const patterns[] = {
        "(a*)*b", "(a|a)*b", "(a+)+b", "((a{0,50}){0,20})b", "(a|aa)+$", "(.*)(.*)(.*)(.*)b"};
    static char text[20001];
    (void)state;
    memset(text, 'a', sizeof text - 1);
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        struct arena arena;
        struct regex *regex;
        struct why why = WHY_NONE;
        struct str groups[REGEX_GROUPS_MAX];
        bool found;
        clock_t start = clock();
        arena_init(&arena, NULL);
        enum err err = regex_compile(str_of(patterns[i]), STR(""), &arena, &regex, &why);
        if (!err)
            assert_int_equal(regex_match(regex, str_of(text), 0, &arena, NULL, &found, groups),
                             ERR_OK);
        assert_true(!err || err == ERR_SYNTAX); /* too long a program is refused */
        assert_true(clock() - start < 10 * CLOCKS_PER_SEC);
        arena_free(&arena);
    }
}

/* ---- JSON ---- */

static void gen_json(struct buf *b, int depth)
{
    static const char *const scalars[] = {"1",     "-2.5",    "true", "null",
                                          "\"x\"", "\"a b\"", "12",   "\"\""};
    unsigned kind = depth > 0 ? pick(4) : 3, n = pick(4);
    if (kind == 3) {
        buf_add_text(b, scalars[pick(8)]);
        return;
    }
    buf_add_char(b, kind == 0 ? '[' : '{');
    for (unsigned i = 0; i < n; i++) {
        if (i) buf_add_text(b, pick(2) ? "," : " , ");
        if (kind != 0) buf_printf(b, "\"%c\": ", 'a' + (int)i);
        gen_json(b, depth - 1);
    }
    buf_add_char(b, kind == 0 ? ']' : '}');
}

static void gen_path(struct buf *b)
{
    for (unsigned n = 1 + pick(3); n > 0; n--)
        if (pick(2))
            buf_printf(b, ".%c", 'a' + (int)pick(4));
        else
            buf_printf(b, "[%u]", pick(4));
}

/* SQLite's json_extract gives texts without quotes as ours does; objects and arrays it writes anew,
 * without blanks. */
static void squeeze(const char *from, char *to)
{
    bool inside = false;
    for (; *from; from++) {
        if (*from == '"') inside = !inside;
        if (inside || *from != ' ') *to++ = *from;
    }
    *to = 0;
}

static void paths_find_what_sqlite_finds(void **state)
{
    time_t until = time(NULL) + RUN_SECONDS;
    struct test_world world;
    sqlite3 *db;
    int rounds = 0;
    (void)state;
    begin();
    test_world_init(&world);
    assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
    for (; rounds < 200 || time(NULL) < until; rounds++) {
        struct buf json = BUF_EMPTY, path = BUF_EMPTY, out = BUF_EMPTY;
        char sql[2048], got[1024], wanted[1024];
        sqlite3_stmt *s;
        struct why why = WHY_NONE;
        gen_json(&json, 3);
        gen_path(&path);
        snprintf(
            sql, sizeof sql,
            "SELECT CASE json_type('%s', '$%s') WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' ELSE json_extract('%s', '$%s') END",
            buf_cstr(&json), buf_cstr(&path), buf_cstr(&json), buf_cstr(&path));
        assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &s, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_step(s), SQLITE_ROW);
        const char *answer = (const char *)sqlite3_column_text(s, 0);
        squeeze(answer ? answer : "NULL", wanted);
        sqlite3_finalize(s);
        snprintf(sql, sizeof sql, "SELECT json_value('%s', '$%s')", buf_cstr(&json),
                 buf_cstr(&path));
        assert_int_equal(test_world_sql(&world, sql, strlen(sql), &out, &why), ERR_OK);
        out.size--; /* the line feed */
        squeeze(buf_cstr(&out), got);
        if (strcmp(got, wanted) != 0) fail_msg("%s\n  got %s, SQLite %s", sql, got, wanted);
        buf_free(&json), buf_free(&path), buf_free(&out);
    }
    print_message("%d paths\n", rounds);
    sqlite3_close(db);
    test_world_free(&world);
}

/* ---- dates ---- */

static void parts_of_dates_are_those_of_the_calendar(void **state)
{
    static const char *const zones[] = {"UTC", "Europe/Berlin", "Asia/Shanghai",
                                        "America/New_York"};
    struct test_world world;
    (void)state;
    begin();
    test_world_init(&world);
    for (int round = 0; round < 2000; round++) {
        struct buf out = BUF_EMPTY;
        struct why why = WHY_NONE;
        struct tm tm;
        char sql[512], wanted[128];
        const char *zone = zones[pick(4)];
        time_t t = (time_t)pick(4000000000u);
        setenv("TZ", zone, 1);
        tzset();
        localtime_r(&t, &tm);
        size_t n = strftime(wanted, sizeof wanted, "%Y|%m|%d|%H|%M|%S|%j|%u|%V|%G\n", &tm);
        assert_true(n > 0);
        snprintf(
            sql, sizeof sql,
            "SELECT to_char(t, 'YYYY', z), to_char(t, 'MM', z), to_char(t, 'DD', z), to_char(t, 'HH24', z), to_char(t, 'MI', z), to_char(t, 'SS', z), to_char(t, 'DDD', z), "
            "date_part('isodow', t, z), to_char(t, 'IW', z), date_part('isoyear', t, z) FROM (SELECT to_timestamp(%lld) AS t, '%s' AS z) AS q",
            (long long)t, zone);
        enum err err = test_world_sql(&world, sql, strlen(sql), &out, &why);
        if (err && strstr(why_text(&why, err), "not known")) { /* a machine without zones */
            buf_free(&out);
            continue;
        }
        if (err) fail_msg("%s: %s", sql, why_text(&why, err));
        assert_string_equal(buf_cstr(&out), wanted);
        buf_free(&out);
    }
    test_world_free(&world);
}

/* ---- the ends of what there is ---- */

/* The least bigint, and the time of that many nanoseconds. */
#define LEAST      "(-9223372036854775807 - 1)"
#define LEAST_TIME LEAST "::timestamp"
#define LAST_TIME  "9223372036854775807::timestamp"

static void functions_know_what_to_do_at_the_ends(void **state)
{
    static const struct {
        const char *sql, *result; /* NULL: RANGE */
    } cases[] = {
        {"right('abc', " LEAST ")", ""},
        {"right('abc', -2)", "c"},
        {"left('abc', " LEAST ")", ""},
        {"overlay('abc', 'x', 2, 9223372036854775807)", "ax"},
        {"overlay('abc', 'x', 9223372036854775807, 9223372036854775807)", "abcx"},
        {"gcd(" LEAST ", 6)", "2"},
        {"gcd(" LEAST ", 0)", NULL},
        {"width_bucket(5, 0, 1, 9223372036854775807)", NULL},
        {"width_bucket(5, 0, 1, 7)", "8"},
        {"bits(1, 9223372036854775807, 1)", NULL},
        {"bits(-1, 63, 1)", "1"},
        {"bits(1, 1, 9223372036854775807)", NULL},
        {"trunc(0.29, 2)", "0.29"},
        {"trunc(-0.29, 2)", "-0.29"},
        {"trunc(0.299, 2)", "0.29"},
        {"trunc(123, -400)", "0"},
        {"trunc(123, -2)", "100"},
        {"trunc(1.5, 400)", "1.5"},
        {"year(" LEAST_TIME ")", "1677"},
        {"year(" LAST_TIME ", '+14:00')", "2262"},
        {"hour(" LEAST_TIME ", '-11:00')", "0"},
        {"date_part('second', " LEAST_TIME ") < 60", "true"},
        {"to_char(" LAST_TIME ", 'YYYY-MM-DD', '+14:00')", "2262-04-11"},
        {"date_add(" LAST_TIME ", '1 month', '+14:00')", NULL},
        {"date_subtract(" LEAST_TIME ", '1 month')", NULL},
        {"date_add(timestamp '2026-01-31', '999999 years 999999 years')", NULL},
        {"date_diff('month', " LEAST_TIME ", " LAST_TIME ")", "7014"},
        {"timezone('+14:00', " LAST_TIME ") = " LAST_TIME, "true"},
    };
    struct test_world world;
    (void)state;
    test_world_init(&world);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf out = BUF_EMPTY;
        struct why why = WHY_NONE;
        char sql[512], wanted[64];
        snprintf(sql, sizeof sql, "SELECT %s", cases[i].sql);
        snprintf(wanted, sizeof wanted, "%s\n", cases[i].result ? cases[i].result : "");
        enum err err = test_world_sql(&world, sql, strlen(sql), &out, &why);
        if (err != (cases[i].result ? ERR_OK : ERR_RANGE) ||
            (!err && strcmp(buf_cstr(&out), wanted) != 0))
            fail_msg("%s: %s", sql, err ? why_text(&why, err) : buf_cstr(&out));
        buf_free(&out);
    }
    test_world_free(&world);
}

static void a_span_that_no_bigint_holds_is_said_to_be_none(void **state)
{
    struct test_world world;
    struct buf out = BUF_EMPTY;
    struct why why = WHY_NONE;
    const char *all = "SELECT duration_in(b) FROM x", *each = "SELECT state_duration(b) FROM x";
    (void)state;
    test_world_init(&world);
    test_world_must(&world, "CREATE TABLE x (b bool)");
    test_world_must(&world, "INSERT INTO x (time, device, b) VALUES (" LEAST_TIME
                            ", 'd', true), (" LAST_TIME ", 'd', true)");
    assert_int_equal(test_world_sql(&world, all, strlen(all), &out, &why), ERR_RANGE);
    assert_int_equal(test_world_sql(&world, each, strlen(each), &out, &why), ERR_OK);
    assert_string_equal(buf_cstr(&out), "0\nNULL\n");
    buf_free(&out);
    test_world_free(&world);
}

static void a_unit_that_is_none_is_refused_however_long(void **state)
{
    struct test_world world;
    struct buf out = BUF_EMPTY;
    struct why why = WHY_NONE;
    const char *sql = "SELECT date_diff('second' || repeat('s', 27), now(), now())"; /* 33 */
    (void)state;
    test_world_init(&world);
    assert_int_equal(test_world_sql(&world, sql, strlen(sql), &out, &why), ERR_INVALID);
    assert_non_null(strstr(why.text, "is no unit of time"));
    buf_free(&out);
    test_world_free(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expressions_match_where_libcs_do),
        cmocka_unit_test(expressions_that_kill_others_end_soon),
        cmocka_unit_test(paths_find_what_sqlite_finds),
        cmocka_unit_test(parts_of_dates_are_those_of_the_calendar),
        cmocka_unit_test(functions_know_what_to_do_at_the_ends),
        cmocka_unit_test(a_span_that_no_bigint_holds_is_said_to_be_none),
        cmocka_unit_test(a_unit_that_is_none_is_refused_however_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
