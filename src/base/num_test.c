/* num_test.c - numbers to and from text agree with libc. MILLRACE_NUMBERS sets how many random
 * values are tried (the soak run uses 10^8). */
#include "base/num.h"
#include "base/mem.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t state;

static uint64_t next_random(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

static int seed(void **unused)
{
    (void)unused;
    const char *given = getenv("MILLRACE_TEST_SEED");
    state = (given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL)) * 0x9e3779b97f4a7c15u | 1;
    print_message("seed state %llu\n", (unsigned long long)state);
    return 0;
}

static uint64_t rounds(uint64_t usual)
{
    const char *given = getenv("MILLRACE_NUMBERS");
    return given ? strtoull(given, NULL, 10) : usual;
}

/* Doubles as they occur: any bits, decimals of sensors, computed values, integers, subnormals,
 * neighbours of powers. */
static double pick(uint64_t round)
{
    double v;
    uint64_t bits = next_random();
    switch (round % 6) {
    case 0: memcpy(&v, &bits, sizeof v); break;
    case 1: v = (double)(int64_t)(bits % 2000000) / 100 - 10000; break;
    case 2: v = sqrt((double)(bits >> 11)); break;
    case 3: v = (double)(int64_t)bits; break;
    case 4:
        bits >>= 12;
        memcpy(&v, &bits, sizeof v);
        break;
    default: v = nextafter(pow(10, (double)(bits % 600) - 300), bits & 1024 ? INFINITY : 0); break;
    }
    return isfinite(v) ? v : 1.5;
}

static void formatted_doubles_are_the_shortest_that_read_back(void **unused)
{
    (void)unused;
    for (uint64_t i = 0, n = rounds(300000); i < n; i++) {
        double v = pick(i), back;
        char ours[NUM_DOUBLE_BYTES], theirs[40];
        size_t size = num_format_double(v, ours);
        if (size != strlen(ours) || size >= NUM_DOUBLE_BYTES) fail_msg("length of %s", ours);
        if (strtod(ours, NULL) != v) fail_msg("%s is not %.17g", ours, v);
        if (!num_parse_double((struct str){ours, size}, &back) || back != v)
            fail_msg("%s reads as %.17g", ours, back);
        int digits = 0;
        for (const char *p = ours; *p && *p != 'e'; p++)
            digits += *p >= '0' && *p <= '9' && !(digits == 0 && *p == '0');
        if (strchr(ours, 'e') == NULL && !strchr(ours, '.'))
            for (const char *p = ours + size - 1; p > ours && *p == '0'; p--) digits--;
        if (digits <= 1 || v == 0) continue;
        snprintf(theirs, sizeof theirs, "%.*e", digits - 2, v); /* one digit fewer must not do */
        if (strtod(theirs, NULL) == v) fail_msg("%s is longer than %s", ours, theirs);
    }
}

static void parsed_decimals_equal_libc(void **unused)
{
    (void)unused;
    for (uint64_t i = 0, n = rounds(300000); i < n; i++) {
        char text[64];
        double ours, theirs;
        uint64_t a = next_random(), b = next_random();
        if (i % 2)
            snprintf(text, sizeof text, "%s%llu.%0*llu", a & 1 ? "-" : "",
                     (unsigned long long)(a >> (a % 60)), (int)(b % 9),
                     (unsigned long long)(b >> (40 + b % 20)));
        else
            snprintf(text, sizeof text, "%lluE%d", (unsigned long long)(a >> (a % 60)),
                     (int)(b % 700) - 350);
        theirs = strtod(text, NULL);
        bool ok = num_parse_double(str_of(text), &ours);
        if (ok != !isinf(theirs) || (ok && ours != theirs))
            fail_msg("%s: %.17g, libc %.17g", text, ours, theirs);
    }
}

static void decimals_end_where_something_else_begins(void **unused)
{
    (void)unused;
    for (uint64_t i = 0, n = rounds(300000); i < n; i++) {
        static const char *const behind[] = {"",   ",b=2 17", " 1700000000", "i",
                                             "e5", ".",       "x1234567"};
        char text[96];
        double ours, theirs;
        struct num_decimal d;
        uint64_t a = next_random(), b = next_random();
        int whole = (int)(a % 10), fraction = (int)(a / 16 % 10), size = 0;
        size += snprintf(text, sizeof text, "%s", a & 4096 ? "-" : "");
        for (int k = 0; k < whole; k++, b /= 10) text[size++] = (char)('0' + b % 10);
        bool point = fraction > 0 || a & 8192;
        if (point) text[size++] = '.';
        for (int k = 0; k < fraction; k++, b /= 10) text[size++] = (char)('0' + b % 10);
        text[size] = 0;
        theirs = strtod(text, NULL);
        const char *last = behind[a / 65536 % 7], *at = text, *end;
        if (point && last[0] == '.') last = "..";
        if (!point && last[0] == '.') last = "-";
        snprintf(text + size, sizeof text - (size_t)size, "%s", last);
        end = text + strlen(text);
        bool taken = num_take_decimal(&at, end, &d);
        if (taken != (whole + fraction > 0)) fail_msg("%s: taken %d", text, taken);
        if (!taken && at != text) fail_msg("%s: moved by %d", text, (int)(at - text));
        if (taken && at != text + size)
            fail_msg("%s: %d of %d bytes", text, (int)(at - text), size);
        if (taken && (!num_decimal_to_double(&d, &ours) || ours != theirs ||
                      signbit(ours) != signbit(theirs)))
            fail_msg("%s: %.17g, libc %.17g", text, ours, theirs);
    }
    struct num_decimal d;
    const char *long_one = "12345678901234567890", *at = long_one;
    assert_false(num_take_decimal(&at, long_one + 20, &d));
    assert_true(num_take_decimal(&at, long_one + 19, &d) && d.mantissa == 1234567890123456789);
}

static void known_forms(void **unused)
{
    (void)unused;
    static const struct {
        double v;
        const char *text;
    } cases[] = {{0, "0"},
                 {-0.5, "-0.5"},
                 {1e21, "1e+21"},
                 {123456789012345680000.0, "123456789012345680000"},
                 {1e-5, "0.00001"},
                 {1e-7, "1e-7"},
                 {1.5e-7, "1.5e-7"},
                 {5e-324, "5e-324"},
                 {1.7976931348623157e308, "1.7976931348623157e+308"},
                 {0.1 + 0.2, "0.30000000000000004"},
                 {9007199254740993.0, "9007199254740992"},
                 {100, "100"},
                 {2e-6, "0.000002"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[NUM_DOUBLE_BYTES];
        num_format_double(cases[i].v, out);
        assert_string_equal(out, cases[i].text);
    }
    static const char *const refused[] = {"",     "-",   ".",   "e5",    "1e",  "1.2.3", " 1", "1 ",
                                          "0x10", "nan", "inf", "1e400", "--1", "+-1",   "1,5"};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        double d;
        if (num_parse_double(str_of(refused[i]), &d))
            fail_msg("'%s' was read as %g", refused[i], d);
    }
    int64_t n;
    uint64_t u;
    assert_true(num_parse_i64(STR("-9223372036854775808"), &n) && n == INT64_MIN);
    assert_false(num_parse_i64(STR("9223372036854775808"), &n));
    assert_true(num_parse_u64(STR("18446744073709551615"), &u) && u == UINT64_MAX);
    assert_false(num_parse_u64(STR("18446744073709551616"), &u));
    struct num_decimal d;
    assert_true(num_parse_decimal(STR("-00120.500e2"), &d) && d.mantissa == 1205 &&
                d.exponent == 1 && d.negative);
    assert_false(num_parse_decimal(STR("12345678901234567891"), &d));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_forms),
        cmocka_unit_test(formatted_doubles_are_the_shortest_that_read_back),
        cmocka_unit_test(parsed_decimals_equal_libc),
        cmocka_unit_test(decimals_end_where_something_else_begins),
    };
    return cmocka_run_group_tests_name("num", tests, seed, NULL);
}
