/* login_lines_test.c - claims about what the audit log shows of logins, on a real log. */
#include "access/audit_priv.h"
#include "access/login_lines.h"
#include "base/timetext.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

struct world {
    struct os *os;
    struct context context;
    struct audit *audit;
    struct login_lines lines;
    int64_t now_ns;
    char folder[64], text[AUDIT_FILE_BYTES / 8];
};

static int open_world(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    w->os = os_real_new();
    w->context.os = w->os;
    strcpy(w->folder, "/tmp/login_lines_XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    assert_int_equal(audit_open(&w->context, w->folder, 0, &w->audit, NULL), ERR_OK);
    w->now_ns = 3600 * TIME_NS_PER_S;
    *state = w;
    return 0;
}

static int close_world(void **state)
{
    struct world *w = *state;
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", w->folder);
    assert_int_equal(system(command), 0);
    os_real_free(w->os);
    free(w);
    return 0;
}

static void add(struct world *w, unsigned count, struct str user, enum err err)
{
    for (unsigned i = 0; i < count; i++) {
        struct login_line line = {w->now_ns, user, STR("10.0.0.1"), err};
        assert_int_equal(login_lines_add(&w->lines, w->audit, &line), ERR_OK);
    }
}

/* Ends the log; how many lines it has. The text is in w->text. */
static unsigned count_lines(struct world *w)
{
    char path[128];
    unsigned count = 0;
    audit_close(w->audit);
    snprintf(path, sizeof path, "%s/audit-000001.jsonl", w->folder);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t size = fread(w->text, 1, sizeof w->text - 1, file);
    assert_int_equal(fclose(file), 0);
    w->text[size] = 0;
    for (const char *p = w->text; (p = strchr(p, '\n')); p++) count++;
    return count;
}

static void a_minute_holds_sixty_refusals_and_one_line_of_the_others(void **state)
{
    struct world *w = *state;
    add(w, 5000, STR("eve"), ERR_UNAUTHENTICATED);
    add(w, 3, STR("admin"), ERR_OK); /* these always */
    struct login_line cancelled = {0, STR("eve"), STR("peer"), ERR_CANCELLED};
    assert_int_equal(login_lines_add(&w->lines, NULL, &cancelled), ERR_OK);
    w->now_ns += 61 * TIME_NS_PER_S;
    assert_int_equal(login_lines_tick(&w->lines, w->audit, w->now_ns), ERR_OK);
    add(w, 2, STR("eve"), ERR_UNAUTHENTICATED); /* the next minute has lines again */
    assert_int_equal(count_lines(w), 60 + 3 + 1 + 2);
    assert_non_null(strstr(w->text, "4940 more with a wrong user"));
}

static void who_logs_in_again_and_again_is_summed_up_by_name(void **state)
{
    struct world *w = *state;
    add(w, 3000, STR("anonymous"), ERR_OK);
    add(w, 20, STR("ann"), ERR_OK); /* these are hers, each with its line */
    assert_int_equal(login_lines_tick(&w->lines, w->audit, w->now_ns), ERR_OK);
    w->now_ns += 61 * TIME_NS_PER_S;
    assert_int_equal(login_lines_tick(&w->lines, w->audit, w->now_ns), ERR_OK);
    add(w, 1, STR("anonymous"), ERR_OK); /* the next minute has lines again */
    assert_int_equal(count_lines(w), 20 + 20 + 1 + 1);
    assert_non_null(strstr(w->text, "2980 more in one minute"));
}

/* 40 users, two of whose names may have one hash: none is uncounted, 16 are told by name. */
static void what_is_refused_is_summed_up_and_none_is_uncounted(void **state)
{
    struct world *w = *state;
    struct audit_rate rate = {0};
    static char detail[4096];
    memset(detail, 'x', sizeof detail);
    for (unsigned i = 0; i < 40 * 100; i++) {
        char user[16];
        snprintf(user, sizeof user, "user%u", i % 40);
        struct audit_entry entry = {.user = str_of(user),
                                    .verb = STR("update"),
                                    .detail = {detail, sizeof detail},
                                    .outcome = STR("forbidden")};
        assert_int_equal(audit_rate_add(&rate, w->audit, &entry, w->now_ns), ERR_OK);
    }
    assert_int_equal(audit_rate_tick(&rate, w->audit, w->now_ns + 60 * TIME_NS_PER_S), ERR_OK);
    assert_int_equal(audit_rate_flush(&rate, w->audit), ERR_OK); /* nothing left to say */
    unsigned lines = count_lines(w), sums = 0;
    unsigned long long summed = 0;
    for (const char *p = w->text; (p = strstr(p, " more in one minute")); p++, sums++) {
        const char *digits = p;
        while (digits[-1] >= '0' && digits[-1] <= '9') digits--;
        summed += strtoull(digits, NULL, 10);
    }
    assert_int_equal(sums, AUDIT_RATE_SUMS + 1);
    assert_int_equal(lines - sums + summed, 40 * 100);
    assert_true(lines - sums <= 40 * AUDIT_RATE_LINES);
    assert_null(memmem(w->text, strlen(w->text), detail, AUDIT_RATE_DETAIL_BYTES + 1));
}

static void logins_turned_away_unchecked_are_only_counted(void **state)
{
    struct world *w = *state;
    add(w, 700, STR("eve"), ERR_BUSY);
    assert_int_equal(login_lines_flush(&w->lines, w->audit), ERR_OK);
    assert_int_equal(login_lines_flush(&w->lines, w->audit), ERR_OK); /* nothing left to say */
    assert_int_equal(count_lines(w), 1);
    assert_non_null(strstr(w->text, "700 unchecked"));
}

static void a_name_is_cut_at_64_bytes_between_two_characters(void **state)
{
    struct world *w = *state;
    char name[128];
    memset(name, 'u', sizeof name);
    name[63] = '\xc3'; /* é, bytes 63 and 64 */
    name[64] = '\xa9';
    add(w, 1, (struct str){name, sizeof name}, ERR_UNAUTHENTICATED);
    assert_int_equal(count_lines(w), 1);
    const char *user = strstr(w->text, "\"user\":\"");
    assert_non_null(user);
    assert_int_equal(strspn(user + 8, "u"), 63);
    assert_int_equal(user[8 + 63], '"');
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, open_world, close_world)
    const struct CMUnitTest tests[] = {
        T(a_minute_holds_sixty_refusals_and_one_line_of_the_others),
        T(who_logs_in_again_and_again_is_summed_up_by_name),
        T(what_is_refused_is_summed_up_and_none_is_uncounted),
        T(logins_turned_away_unchecked_are_only_counted),
        T(a_name_is_cut_at_64_bytes_between_two_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
