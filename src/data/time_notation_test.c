/* time_notation_test.c - claims about the ways in which files write times. */
#include "data/time_notation.h"
#include "base/timetext.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

static const char *read_as(struct time_notation *n, const char *text)
{
    static char out[TIME_TEXT_BYTES];
    int64_t time_ns;
    if (!time_notation_read(n, str_of(text), &time_ns)) return "no";
    time_format(time_ns, out);
    return out;
}

static void each_notation_reads_its_own_texts_and_no_others(void **state)
{
    (void)state;
    static const struct {
        const char *notation, *text, *time;
    } cases[] = {
        {"", "2026-11-21T03:04:05.5Z", "2026-11-21T03:04:05.5Z"},
        {"", "2026-11-21 03:04:05", "2026-11-21T03:04:05Z"},
        {"", "2026-11-21 03:04:05+08:00", "2026-11-20T19:04:05Z"},
        {"", "1795230245", "2026-11-21T03:04:05Z"},
        {"", "1795230245.25", "2026-11-21T03:04:05.25Z"},
        {"", "1795230245500", "2026-11-21T03:04:05.5Z"},
        {"", "1795230245500001", "2026-11-21T03:04:05.500001Z"},
        {"", "1795230245500001002", "2026-11-21T03:04:05.500001002Z"},
        {"auto", "1.7952302455e12", "2026-11-21T03:04:05.5Z"},
        {"", "191", "no"},      /* a cycle */
        {"", "20261121", "no"}, /* nobody knows */
        {"", "warm", "no"},
        {"", "", "no"},
        {"iso", "1795230245", "no"},
        {"iso", "2026-02-30", "no"},
        {"s", "191", "1970-01-01T00:03:11Z"},
        {"s", "-0.5", "1969-12-31T23:59:59.5Z"},
        {"ms", "1e300", "no"},
        {"ns", "1", "1970-01-01T00:00:00.000000001Z"},
        {"DD.MM.YYYY hh:mm:ss", "21.11.2026 03:04:05", "2026-11-21T03:04:05Z"},
        {"DD.MM.YYYY hh:mm:ss", "1.2.2026 3:04:05,25", "2026-02-01T03:04:05.25Z"},
        {"DD.MM.YYYY hh:mm:ss", "30.02.2026 03:04:05", "no"},
        {"DD.MM.YYYY hh:mm:ss", "21.11.2026 24:04:05", "no"},
        {"DD.MM.YYYY hh:mm:ss", "21.11.2026 03:04:05 x", "no"},
        {"DD.MM.YYYY hh:mm", "21.11.2026", "no"},
        {"MM/DD/YY hh:mm AM", "11/21/26 12:04 am", "2026-11-21T00:04:00Z"},
        {"MM/DD/YY hh:mm AM", "11/21/26 12:04 PM", "2026-11-21T12:04:00Z"},
        {"MM/DD/YY hh:mm AM", "11/21/26 13:04 PM", "no"},
        {"DD-Mon-YYYY hh:mm:ss Z", "21-NOV-2026 03:04:05 +0800", "2026-11-20T19:04:05Z"},
        {"YYYYMMDDThhmmssZ", "20261121T030405Z", "2026-11-21T03:04:05Z"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct time_notation n;
        struct why why = WHY_NONE;
        assert_int_equal(time_notation_parse(str_of(cases[i].notation), &n, &why), ERR_OK);
        print_message("%s '%s'\n", cases[i].notation, cases[i].text);
        assert_string_equal(read_as(&n, cases[i].text), cases[i].time);
    }
}

static void a_notation_that_names_no_day_is_refused_with_the_way_out(void **state)
{
    (void)state;
    static const char *const names[] = {
        "DD.MM",
        "hh:mm:ss",
        "minutes",
        "YYYY",
        "%Y-%m-%d",
        "YYYY-MM-DD and much more than fits into the room that a notation's name can have"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct time_notation n;
        struct why why = WHY_NONE;
        assert_int_equal(time_notation_parse(str_of(names[i]), &n, &why), ERR_INVALID);
        assert_non_null(strstr(why.text, "DD.MM.YYYY"));
    }
}

/* Offsets that change, in any order of the texts, are those of zone_to_utc. */
static void wall_clocks_of_a_zone_lead_to_the_first_such_instant(void **state)
{
    (void)state;
    static const int64_t at[] = {1000000, 2000000};
    static const int32_t offsets[] = {7200, 3600};
    const struct zone zone = {
        .transition_count = 2, .at = at, .offset = offsets, .first_offset = 3600};
    struct time_notation n;
    assert_int_equal(time_notation_parse(STR("iso"), &n, NULL), ERR_OK);
    n.zone = &zone;
    for (int64_t round = 0; round < 2; round++)
        for (int64_t i = 0; i < 3000; i++) {
            int64_t wall = round ? 3000000 - i * 1000 : i * 1000, got;
            char text[TIME_TEXT_BYTES];
            size_t size = time_format(wall * TIME_NS_PER_S, text);
            assert_true(time_notation_read(&n, (struct str){text, size - 1}, &got)); /* no Z */
            assert_int_equal(got, zone_to_utc(&zone, wall) * TIME_NS_PER_S);
            assert_true(time_notation_read(&n, (struct str){text, size}, &got));
            assert_int_equal(got, wall * TIME_NS_PER_S);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_notation_reads_its_own_texts_and_no_others),
        cmocka_unit_test(a_notation_that_names_no_day_is_refused_with_the_way_out),
        cmocka_unit_test(wall_clocks_of_a_zone_lead_to_the_first_such_instant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
