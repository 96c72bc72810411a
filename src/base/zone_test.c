/* zone_test.c - zones say what libc says, and wall clocks lead back to the first such instant. */
#include "base/zone.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

/* Zones with every oddity: half hours, changes by half an hour, at midnight, southern summers, a
 * day left out (Samoa 2011), negative summer time (Dublin), rules that need v3 files. */
static const char *const names[] = {
    "Asia/Shanghai",     "America/New_York",    "Europe/Berlin",    "Europe/Dublin",
    "Asia/Kolkata",      "Australia/Lord_Howe", "Pacific/Apia",     "America/Sao_Paulo",
    "Africa/Casablanca", "Asia/Tehran",         "America/St_Johns", "Asia/Beirut",
    "Pacific/Chatham",   "America/Nuuk",        "Asia/Gaza",        "Antarctica/Troll",
    "Africa/Monrovia",   "America/Asuncion",    "Europe/London",    "Etc/GMT+5",
};

static uint64_t random_state;

static uint64_t next(void) /* splitmix64, S. Vigna */
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static bool load(const char *name, struct arena *arena, struct zone *zone)
{
    char path[128], bytes[32768];
    struct why why = WHY_NONE;
    snprintf(path, sizeof path, "/usr/share/zoneinfo/%s", name);
    FILE *file = fopen(path, "rb");
    if (!file) return false;
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    enum err err = zone_parse(bytes, size, arena, zone, &why);
    if (err) print_error("%s: %s\n", name, why_text(&why, err));
    assert_int_equal(err, ERR_OK);
    for (size_t cut = 0; cut < size; cut += 1 + size / 97) { /* every shortened file is refused */
        struct zone broken;
        assert_int_equal(zone_parse(bytes, cut, arena, &broken, &why), ERR_CORRUPT);
    }
    return true;
}

static int64_t libc_offset(time_t utc)
{
    struct tm tm;
    localtime_r(&utc, &tm);
    return tm.tm_gmtoff;
}

static void offsets_are_those_of_libc(void **state)
{
    (void)state;
    const char *seed = getenv("MILLRACE_TEST_SEED");
    random_state = seed ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL);
    print_message("MILLRACE_TEST_SEED=%llu\n", (unsigned long long)random_state);
    unsigned found = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct arena arena;
        struct zone zone;
        arena_init(&arena, NULL);
        if (load(names[i], &arena, &zone)) {
            found++;
            setenv("TZ", names[i], 1);
            tzset();
            for (int n = 0; n < 3000; n++) {
                int64_t t = (int64_t)(next() % 7258118400u) - 2208988800; /* 1900 … 2129 */
                if (n % 3 == 0 && zone.transition_count > 0)
                    t = zone.at[next() % zone.transition_count] + (int64_t)(next() % 3) - 1;
                if (t < -8000000000) continue;
                struct zone_stretch s = zone_at(&zone, t);
                if (s.offset != libc_offset(t))
                    print_error("%s at %lld: %d, libc %lld\n", names[i], (long long)t, s.offset,
                                (long long)libc_offset(t));
                assert_int_equal(s.offset, libc_offset(t));
                int64_t back = zone_to_utc(&zone, t + s.offset);
                assert_true(back <= t);
                if (back != t) assert_int_equal(back + libc_offset(back), t + s.offset);
            }
        }
        arena_free(&arena);
    }
    if (found == 0) skip(); /* this machine has no zone database */
}

static void a_time_that_the_clock_leaps_over_is_the_leap(void **state)
{
    struct arena arena;
    struct zone zone;
    (void)state;
    arena_init(&arena, NULL);
    if (!load("America/New_York", &arena, &zone)) skip();
    /* 2026-03-08 02:30 does not exist: the leap is at 07:00 UTC. 2026-11-01 01:30 comes twice. */
    assert_int_equal(zone_to_utc(&zone, 1772937000), 1772953200);
    assert_int_equal(zone_to_utc(&zone, 1793496600), 1793496600 + 4 * 3600);
    arena_free(&arena);
}

static void fixed_zones_and_names_are_told_apart(void **state)
{
    static const struct {
        const char *name;
        bool fixed;
        int offset;
        bool safe;
    } cases[] = {
        {"UTC", true, 0, true},
        {"z", true, 0, true},
        {"+08:00", true, 28800, false},
        {"-0330", true, -12600, true},
        {"+8", true, 28800, true},
        {"+24:00", false, 0, false},
        {"+08:60", false, 0, false},
        {"Asia/Shanghai", false, 0, true},
        {"../etc/passwd", false, 0, false},
        {"/etc/passwd", false, 0, false},
        {"", false, 0, false},
        {"a.b", false, 0, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct zone zone;
        assert_int_equal(zone_fixed(str_of(cases[i].name), &zone), cases[i].fixed);
        if (cases[i].fixed) assert_int_equal(zone_at(&zone, 0).offset, cases[i].offset);
        assert_int_equal(zone_name_is_safe(str_of(cases[i].name)), cases[i].safe);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(offsets_are_those_of_libc),
        cmocka_unit_test(a_time_that_the_clock_leaps_over_is_the_leap),
        cmocka_unit_test(fixed_zones_and_names_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
