/* audit_test.c - claims about the audit log, on real files. */
#include "access/audit_priv.h"
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
    char folder[64];
};

static int open_world(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    w->os = os_real_new();
    w->context.os = w->os;
    strcpy(w->folder, "/tmp/audit_test_XXXXXX");
    assert_non_null(mkdtemp(w->folder));
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

static void append_to(struct audit *audit, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        char detail[64];
        snprintf(detail, sizeof detail, "setpoint=%u \"quoted\"\n", i);
        struct audit_entry entry = {.user = STR("admin"),
                                    .verb = STR("write-point"),
                                    .kind = STR("Device"),
                                    .ns = STR("default"),
                                    .path = STR("line3/press07"),
                                    .detail = str_of(detail),
                                    .outcome = STR("ok")};
        assert_int_equal(audit_append(audit, &entry), ERR_OK);
    }
}

static void append(struct world *w, unsigned count, size_t file_bytes)
{
    struct audit *audit;
    assert_int_equal(audit_open(&w->context, w->folder, file_bytes, &audit, NULL), ERR_OK);
    append_to(audit, count);
    audit_close(audit);
}

static size_t read_all(const struct world *w, unsigned number, char *out, size_t size)
{
    char path[128];
    snprintf(path, sizeof path, "%s/audit-%06u.jsonl", w->folder, number);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    size_t n = fread(out, 1, size, f);
    fclose(f);
    return n;
}

static void write_all(const struct world *w, unsigned number, const char *bytes, size_t size)
{
    char path[128];
    snprintf(path, sizeof path, "%s/audit-%06u.jsonl", w->folder, number);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    fclose(f);
}

static void the_chain_goes_on_over_restarts_and_files(void **state)
{
    struct world *w = *state;
    struct audit_report report;
    append(w, 10, 2000);
    append(w, 0, 2000);
    append(w, 5, 2000);
    assert_int_equal(audit_verify(w->os, w->folder, &report, NULL), ERR_OK);
    assert_int_equal(report.line_count, 15);
    assert_int_equal(report.first_seq, 1);
    assert_int_equal(report.last_seq, 15);
    assert_true(report.file_count >= 2);
}

static void old_files_are_removed_and_the_rest_still_verifies(void **state)
{
    struct world *w = *state;
    struct audit_report report;
    append(w, 50, 1); /* a file each */
    assert_int_equal(audit_verify(w->os, w->folder, &report, NULL), ERR_OK);
    assert_int_equal(report.file_count, AUDIT_FILES_MAX);
    assert_int_equal(report.last_seq, 50);
    assert_int_equal(report.first_seq, 51 - AUDIT_FILES_MAX);
}

static void an_old_file_that_somebody_took_away_costs_no_line(void **state)
{
    struct world *w = *state;
    struct audit_report report;
    struct audit *audit;
    char path[128];
    append(w, AUDIT_FILES_MAX, 1);
    assert_int_equal(audit_open(&w->context, w->folder, 1, &audit, NULL), ERR_OK);
    snprintf(path, sizeof path, "%s/audit-%06u.jsonl", w->folder, 1u);
    assert_int_equal(remove(path), 0);
    append_to(audit, 3);
    audit_close(audit);
    assert_int_equal(audit_verify(w->os, w->folder, &report, NULL), ERR_OK);
    assert_int_equal(report.last_seq, AUDIT_FILES_MAX + 3);
    assert_int_equal(report.line_count, AUDIT_FILES_MAX);
}

static void every_changed_byte_is_found(void **state)
{
    struct world *w = *state;
    struct audit_report report;
    char text[4096];
    append(w, 4, 0);
    size_t size = read_all(w, 1, text, sizeof text);
    for (size_t i = 0; i < size; i++) {
        text[i] ^= 1;
        write_all(w, 1, text, size);
        struct why why = WHY_NONE;
        assert_int_equal(audit_verify(w->os, w->folder, &report, &why), ERR_CORRUPT);
        assert_true(report.broken_line >= 1 && report.broken_line <= 4);
        text[i] ^= 1;
    }
}

static void removed_moved_and_inserted_lines_are_found(void **state)
{
    struct world *w = *state;
    struct audit_report report;
    struct why why = WHY_NONE;
    char text[4096], other[8192];
    append(w, 3, 0);
    size_t size = read_all(w, 1, text, sizeof text);
    char *second = memchr(text, '\n', size);
    assert_non_null(second++);
    char *third = memchr(second, '\n', size - (size_t)(second - text));
    assert_non_null(third++);
    size_t one = (size_t)(second - text), two = (size_t)(third - second), three = size - one - two;
    memcpy(other, text, one);
    memcpy(other + one, third, three);
    write_all(w, 1, other, one + three); /* the second removed */
    assert_int_equal(audit_verify(w->os, w->folder, &report, &why), ERR_CORRUPT);
    assert_int_equal(report.broken_line, 2);
    assert_string_equal(report.broken_file, "audit-000001.jsonl");
    assert_string_equal(
        why.text,
        "audit-000001.jsonl line 2: it does not follow the line before: a line was removed, "
        "inserted or moved");
    memcpy(other + one, second, two);
    memcpy(other + one + two, second, two + three);
    write_all(w, 1, other, size + two); /* the second twice */
    assert_int_equal(audit_verify(w->os, w->folder, &report, &why), ERR_CORRUPT);
    assert_int_equal(report.broken_line, 3);
}

static void a_forged_line_is_found_by_the_one_behind_it(void **state)
{
    struct world *w = *state;
    struct audit_report report;
    struct why why = WHY_NONE;
    char text[4096], prev[AUDIT_HASH_TEXT + 1], hash[AUDIT_HASH_TEXT + 1];
    uint64_t seq;
    append(w, 3, 0);
    size_t size = read_all(w, 1, text, sizeof text);
    struct str rest = {text, size}, first = {0}, second = {0};
    assert_true(str_split(&rest, '\n', &first) && str_split(&rest, '\n', &second));
    assert_true(audit_read_line(second, &seq, prev, hash));
    struct buf forged = BUF_EMPTY; /* whole in itself, with its right place in the chain */
    buf_add(&forged, text, first.size + 1);
    audit_print_line(&forged, 2, STR("\"user\":\"nobody\""), prev);
    buf_add_str(&forged, rest);
    write_all(w, 1, forged.at, forged.size);
    buf_free(&forged);
    assert_int_equal(audit_verify(w->os, w->folder, &report, &why), ERR_CORRUPT);
    assert_int_equal(report.broken_line, 3);
}

static void a_line_cut_by_a_crash_is_dropped_and_the_chain_goes_on(void **state)
{
    struct world *w = *state;
    struct audit_report report;
    char text[4096];
    append(w, 3, 0);
    size_t size = read_all(w, 1, text, sizeof text);
    write_all(w, 1, text, size - 10);
    append(w, 1, 0);
    assert_int_equal(audit_verify(w->os, w->folder, &report, NULL), ERR_OK);
    assert_int_equal(report.last_seq, 3);
}

static void a_whole_line_that_is_wrong_stays_and_the_log_goes_on_behind_it(void **state)
{
    struct world *w = *state;
    struct audit_report report;
    char text[4096], again[4096];
    append(w, 3, 0);
    size_t size = read_all(w, 1, text, sizeof text);
    text[size - 20] ^= 1;
    write_all(w, 1, text, size);
    append(w, 2, 0);
    assert_int_equal(read_all(w, 1, again, sizeof again), size);
    assert_memory_equal(again, text, size);
    assert_int_equal(audit_verify(w->os, w->folder, &report, NULL), ERR_CORRUPT);
    assert_string_equal(report.broken_file, "audit-000001.jsonl");
    assert_int_equal(report.broken_line, 3);
    size = read_all(w, 2, text, sizeof text - 1);
    text[size] = 0;
    assert_non_null(strstr(text, "{\"seq\":3,")); /* behind the last good one, 2 */
}

/* The real world with a disk that fails when told to. */
static _Atomic unsigned fail_sync, fail_write;
static const struct os_ops *real_ops;

static enum err flaky_sync(struct os_file *file, struct why *why)
{
    if (fail_sync) {
        fail_sync--;
        return why_set(why, ERR_IO, "planted");
    }
    return real_ops->file_sync(file, why);
}

static enum err flaky_write(struct os_file *file, uint64_t offset, const void *bytes, size_t size,
                            struct why *why)
{
    if (!fail_write) return real_ops->file_write(file, offset, bytes, size, why);
    fail_write--;
    (void)real_ops->file_write(file, offset, bytes, size / 2, why); /* torn */
    return why_set(why, ERR_DISK_FULL, "planted");
}

struct wait {
    struct completion completion; /* first */
    _Atomic int outcome;          /* -1 = not told yet */
};

static void note_outcome(struct completion *c)
{
    atomic_store(&((struct wait *)c)->outcome, (int)c->err);
}

static int append_and_wait(struct audit *audit, struct loop *home)
{
    struct wait wait = {.outcome = -1};
    struct audit_entry entry = {.user = STR("admin"), .outcome = STR("ok")};
    completion_init(&wait.completion, home, note_outcome);
    audit_append_durable(audit, &entry, &wait.completion);
    while (atomic_load(&wait.outcome) < 0) usleep(500);
    return wait.outcome;
}

static void after_a_failing_disk_the_chain_is_whole(void **state)
{
    struct world *w = *state;
    struct audit *audit;
    struct audit_report report;
    struct loop home;
    assert_int_equal(loop_start(&home, w->os, "home", 0, NULL), ERR_OK);
    real_ops = w->os->ops;
    struct os_ops flaky = *real_ops;
    flaky.file_sync = flaky_sync;
    flaky.file_write = flaky_write;
    w->os->ops = &flaky;
    assert_int_equal(audit_open(&w->context, w->folder, 0, &audit, NULL), ERR_OK);
    struct audit_entry entry = {.user = STR("admin"), .outcome = STR("ok")};
    for (unsigned i = 0; i < 12; i++) {
        if (i == 3) fail_sync = 1;
        if (i == 7) fail_write = 1;
        if (i == 4 || i == 8) /* while it is known to fail */
            assert_int_equal(audit_append(audit, &entry), ERR_IO);
        else
            assert_int_equal(append_and_wait(audit, &home), i == 3   ? ERR_IO
                                                            : i == 7 ? ERR_DISK_FULL
                                                                     : ERR_OK);
    }
    audit_close(audit);
    w->os->ops = real_ops;
    loop_stop(&home);
    assert_int_equal(audit_verify(w->os, w->folder, &report, NULL), ERR_OK);
    assert_true(report.line_count >= 10);
}

/* Who waits is told of exactly the line that did not become durable, the first one already. */
static void who_waits_for_a_line_is_told_what_became_of_it(void **state)
{
    struct world *w = *state;
    struct audit *audit;
    struct audit_report report;
    struct loop home;
    assert_int_equal(loop_start(&home, w->os, "home", 0, NULL), ERR_OK);
    real_ops = w->os->ops;
    struct os_ops flaky = *real_ops;
    flaky.file_sync = flaky_sync;
    flaky.file_write = flaky_write;
    w->os->ops = &flaky;
    assert_int_equal(audit_open(&w->context, w->folder, 0, &audit, NULL), ERR_OK);
    assert_int_equal(append_and_wait(audit, &home), ERR_OK);
    fail_sync = 1;
    assert_int_equal(append_and_wait(audit, &home), ERR_IO);
    assert_int_equal(append_and_wait(audit, &home), ERR_OK);
    fail_write = 1;
    assert_int_equal(append_and_wait(audit, &home), ERR_DISK_FULL);
    assert_int_equal(append_and_wait(audit, &home), ERR_OK);
    audit_close(audit);
    w->os->ops = real_ops;
    loop_stop(&home);
    assert_int_equal(audit_verify(w->os, w->folder, &report, NULL), ERR_OK);
}

static _Atomic bool hold_sync;

static enum err held_sync(struct os_file *file, struct why *why)
{
    while (hold_sync) usleep(500);
    return real_ops->file_sync(file, why);
}

/* Lines that anybody can cause do not keep out those that an action waits for. */
static void half_of_the_queue_is_kept_for_lines_that_somebody_waits_for(void **state)
{
    struct world *w = *state;
    struct audit *audit;
    struct loop home;
    struct wait wait = {.outcome = -1};
    struct audit_entry entry = {.user = STR("eve"), .outcome = STR("refused")};
    assert_int_equal(loop_start(&home, w->os, "home", 0, NULL), ERR_OK);
    real_ops = w->os->ops;
    struct os_ops held = *real_ops;
    held.file_sync = held_sync;
    w->os->ops = &held;
    assert_int_equal(audit_open(&w->context, w->folder, 0, &audit, NULL), ERR_OK);
    hold_sync = true;
    unsigned taken = 0;
    /* The writer may take one lot away before its first sync holds it. */
    while (taken < 2 * AUDIT_QUEUE_MAX && audit_append(audit, &entry) == ERR_OK) taken++;
    assert_true(taken >= AUDIT_QUEUE_MAX / 2);
    completion_init(&wait.completion, &home, note_outcome);
    audit_append_durable(audit, &entry, &wait.completion);
    usleep(20000);
    assert_int_equal(atomic_load(&wait.outcome), -1); /* not refused: it waits */
    hold_sync = false;
    while (atomic_load(&wait.outcome) < 0) usleep(500);
    assert_int_equal(wait.outcome, ERR_OK);
    audit_close(audit);
    w->os->ops = real_ops;
    loop_stop(&home);
}

/* A node that stops: nobody is left waiting, and a line appended after that is written as well. */
static void a_drained_log_has_answered_all_and_takes_lines_still(void **state)
{
    struct world *w = *state;
    struct audit *audit;
    struct audit_report report;
    struct loop home;
    struct wait waits[3];
    const struct audit_entry entry = {.user = STR("admin"), .outcome = STR("ok")};
    assert_int_equal(loop_start(&home, w->os, "home", 0, NULL), ERR_OK);
    assert_int_equal(audit_open(&w->context, w->folder, 0, &audit, NULL), ERR_OK);
    for (unsigned i = 0; i < 3; i++) {
        atomic_init(&waits[i].outcome, -1);
        completion_init(&waits[i].completion, &home, note_outcome);
        if (i == 2) audit_drain(audit);
        audit_append_durable(audit, &entry, &waits[i].completion);
    }
    assert_int_equal(audit_append(audit, &entry), ERR_OK);
    loop_stop(&home); /* runs what the log has finished */
    for (unsigned i = 0; i < 3; i++) assert_int_equal(atomic_load(&waits[i].outcome), ERR_OK);
    assert_int_equal(audit_verify(w->os, w->folder, &report, NULL), ERR_OK);
    assert_int_equal(report.line_count, 4); /* before it is closed */
    audit_close(audit);
}

static void a_missing_file_is_found(void **state)
{
    struct world *w = *state;
    struct audit_report report;
    char path[128];
    append(w, 5, 1);
    snprintf(path, sizeof path, "%s/audit-%06u.jsonl", w->folder, 3u);
    assert_int_equal(remove(path), 0);
    assert_int_equal(audit_verify(w->os, w->folder, &report, NULL), ERR_CORRUPT);
    assert_string_equal(report.broken_file, "audit-000003.jsonl");
}

/* Reads the log from its end: how many lines, and how many of them are whole. */
static unsigned read_back(struct world *w, unsigned *whole, uint64_t *first, uint64_t *last)
{
    struct audit *audit;
    struct audit_reader *reader;
    struct audit_line line;
    enum err err;
    unsigned count = 0;
    *whole = 0;
    assert_int_equal(audit_open(&w->context, w->folder, 0, &audit, NULL), ERR_OK);
    assert_int_equal(audit_reader_new(audit, &reader), ERR_OK);
    for (; audit_reader_next(reader, &line, &err, NULL); count++) {
        if (count == 0) *first = line.seq;
        *last = line.seq;
        *whole += line.is_whole;
        assert_true(line.text.size > 0 && line.text.at[line.text.size - 1] != '\n');
    }
    assert_int_equal(err, ERR_OK);
    assert_false(audit_reader_next(reader, &line, &err, NULL)); /* the end stays the end */
    audit_reader_free(reader);
    audit_close(audit);
    return count;
}

static void a_reader_gives_every_line_the_newest_first(void **state)
{
    struct world *w = *state;
    unsigned whole;
    uint64_t first = 0, last = 0;
    assert_int_equal(read_back(w, &whole, &first, &last), 0);
    append(w, 3, 1);        /* a file each */
    append(w, 1000, 50000); /* longer than a block, and several files */
    assert_int_equal(read_back(w, &whole, &first, &last), 1003);
    assert_int_equal(whole, 1003);
    assert_int_equal(first, 1003);
    assert_int_equal(last, 1);
}

static void a_reader_shows_a_line_that_was_changed_and_one_that_was_taken_out(void **state)
{
    struct world *w = *state;
    static char text[100000];
    unsigned whole;
    uint64_t first = 0, last = 0;
    append(w, 10, 0);
    size_t size = read_all(w, 1, text, sizeof text);
    char *third = strchr(strchr(text, '\n') + 1, '\n') + 1;
    char *name = strstr(third, "admin");
    assert_non_null(name);
    for (size_t i = 0; i < 5; i++) name[i] = "guest"[i];
    write_all(w, 1, text, size);
    assert_int_equal(read_back(w, &whole, &first, &last), 10);
    assert_int_equal(whole, 9);
    char *fourth = strchr(third, '\n') + 1;
    memmove(third, fourth, size - (size_t)(fourth - text)); /* gone: the second is not followed */
    write_all(w, 1, text, size - (size_t)(fourth - third));
    assert_int_equal(read_back(w, &whole, &first, &last), 9);
    assert_int_equal(whole, 8);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, open_world, close_world)
    const struct CMUnitTest tests[] = {
        T(the_chain_goes_on_over_restarts_and_files),
        T(old_files_are_removed_and_the_rest_still_verifies),
        T(an_old_file_that_somebody_took_away_costs_no_line),
        T(every_changed_byte_is_found),
        T(removed_moved_and_inserted_lines_are_found),
        T(a_forged_line_is_found_by_the_one_behind_it),
        T(a_line_cut_by_a_crash_is_dropped_and_the_chain_goes_on),
        T(a_whole_line_that_is_wrong_stays_and_the_log_goes_on_behind_it),
        T(after_a_failing_disk_the_chain_is_whole),
        T(who_waits_for_a_line_is_told_what_became_of_it),
        T(half_of_the_queue_is_kept_for_lines_that_somebody_waits_for),
        T(a_drained_log_has_answered_all_and_takes_lines_still),
        T(a_missing_file_is_found),
        T(a_reader_gives_every_line_the_newest_first),
        T(a_reader_shows_a_line_that_was_changed_and_one_that_was_taken_out),
    };
    return cmocka_run_group_tests_name("audit", tests, NULL, NULL);
}
