/* store_fault_test.c - claims about a store to which memory or the disk is refused at every single
 * call in turn: an operation may fail, a row may not get lost. */
#include "store/store_testlib.h"

/* ---- memory ---- */

static void a_failed_allocation_costs_at_most_the_operation(void **state)
{
    struct world *w = *state;
    struct model *m = calloc(1, sizeof *m);
    m->step = 1000;
    struct schema *s = make_table(w);
    first_rows(w, s, m);
    unsigned seed = 5;
    for (unsigned round = 0; round < 6; round++) {
        struct batch *b = batch_new(s, NULL);
        for (unsigned i = 0; i < 100; i++)
            model_row(m, b, i % DEVICES, (unsigned)rand_r(&seed) % 3000, (unsigned)rand_r(&seed));
        put(w, b);
        uint64_t count = 1;
        bool flushed = false;
        for (; !flushed && count < 30000; count++) {
            mem_test_fail(count);
            flushed = try_flush(w) == ERR_OK;
            mem_test_fail(0);
        }
        assert_true(flushed);
        struct reading r = all(COLUMNS);
        r.newest_first = round % 2;
        char *text = NULL;
        for (count = 1; !text && count < 20000; count++) {
            mem_test_fail(count);
            text = dump(w, &r);
            mem_test_fail(0);
        }
        assert_non_null(text);
        free(text);
        compare_all(w, m);
    }
    reopen(w);
    compare_all(w, m);
    free(m);
    schema_release(s);
}

/* ---- the disk ---- */

/* Each call that changes the disk counts down; the one that reaches zero fails. */
static struct world *failing;
static _Atomic int calls_left;

static bool call_fails(void)
{
    return atomic_load(&calls_left) > 0 && atomic_fetch_sub(&calls_left, 1) == 1;
}

static enum err fail_write(struct os_file *file, uint64_t offset, const void *bytes, size_t size,
                           struct why *why)
{
    if (call_fails()) return why_set(why, ERR_IO, "the test's disk fails");
    return failing->plain->file_write(file, offset, bytes, size, why);
}

static enum err fail_sync(struct os_file *file, struct why *why)
{
    if (call_fails()) return why_set(why, ERR_IO, "the test's disk fails");
    return failing->plain->file_sync(file, why);
}

static enum err fail_rename(struct os *os, const char *from, const char *to, struct why *why)
{
    if (call_fails()) return why_set(why, ERR_IO, "the test's disk fails");
    return failing->plain->path_rename(os, from, to, why);
}

static enum err fail_folder_sync(struct os *os, const char *path, struct why *why)
{
    if (call_fails()) return why_set(why, ERR_IO, "the test's disk fails");
    return failing->plain->path_sync(os, path, why);
}

static void take_disk(struct world *w)
{
    store_close(w->store);
    failing = w;
    w->plain = w->real->ops;
    w->ops = *w->plain;
    w->ops.file_write = fail_write;
    w->ops.file_sync = fail_sync;
    w->ops.path_rename = fail_rename;
    w->ops.path_sync = fail_folder_sync;
    w->real->ops = &w->ops;
    open_store(w);
}

static void each_failed_disk_call_of_a_flush_loses_no_row(void **state)
{
    struct world *w = *state;
    struct model *m = calloc(1, sizeof *m);
    m->step = 1000;
    take_disk(w);
    struct schema *s = make_table(w);
    first_rows(w, s, m);
    unsigned seed = 3;
    bool missed = false;
    for (int n = 1; !missed && n < 100; n++) {
        struct batch *b = batch_new(s, NULL);
        for (unsigned i = 0; i < 30; i++)
            model_row(m, b, i % DEVICES, (unsigned)rand_r(&seed) % 3000, (unsigned)rand_r(&seed));
        assert_int_equal(batch_seal(b), ERR_OK);
        while (try_put(w, batch_share(b)) != ERR_OK) usleep(1000); /* the log is being reopened */
        batch_release(b);
        atomic_store(&calls_left, n);
        enum err err = try_flush(w);
        missed = atomic_exchange(&calls_left, 0) > 0;
        assert_true(missed || err == ERR_OK || err == ERR_IO);
        compare_all(w, m);
        if (n % 2) reopen(w); /* with whatever the failure left behind */
        compare_all(w, m);
    }
    assert_true(missed);
    flush(w);
    compare_all(w, m);
    reopen(w);
    compare_all(w, m);
    schema_release(s);
    free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(a_failed_allocation_costs_at_most_the_operation),
        STORE_TEST(each_failed_disk_call_of_a_flush_loses_no_row),
    };
    return cmocka_run_group_tests_name("store faults", tests, NULL, NULL);
}
