/* store_fault_test.c - claims about a store to which memory or the disk is refused at every single
 * call in turn: an operation may fail, a row may not get lost. */
#include "os/sim_testlib.h"
#include "store/store_rollup_testlib.h"

/* ---- memory ---- */

static void put_rows(struct world *w, struct schema *s, struct model *m, unsigned *seed,
                     unsigned rows)
{
    struct batch *b = batch_new(s, NULL);
    for (unsigned i = 0; i < rows; i++)
        model_row(m, b, i % DEVICES, (unsigned)rand_r(seed) % 3000, (unsigned)rand_r(seed));
    put(w, b);
}

static void a_failed_allocation_costs_at_most_the_operation(void **state)
{
    struct world *w = *state;
    struct model *m = calloc(1, sizeof *m);
    m->step = 1000;
    struct schema *s = make_table(w);
    first_rows(w, s, m);
    unsigned seed = 5;
    for (unsigned round = 0; round < 6; round++) {
        put_rows(w, s, m, &seed, 100);
        bool reached = true;
        for (uint64_t n = 1; reached && n < 30000; n++) {
            put_rows(w, s, m, &seed, 1); /* so that there is something to write each time */
            mem_test_fail(n);
            (void)try_flush(w); /* OK too: some failures are put right by the next tick */
            reached = mem_test_count() >= n;
            mem_test_fail(0);
        }
        assert_false(reached);
        struct reading r = all(COLUMNS);
        r.newest_first = round % 2;
        char *text = NULL;
        for (uint64_t count = 1; !text && count < 20000; count++) {
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

static void each_failed_disk_call_of_a_flush_loses_no_row(void **state)
{
    struct world *w = *state;
    struct model *m = calloc(1, sizeof *m);
    m->step = 1000;
    struct schema *s = make_table(w);
    first_rows(w, s, m);
    unsigned seed = 3;
    bool missed = false;
    for (int n = 1; !missed && n < 100; n++) {
        struct batch *b = batch_new(s, NULL);
        for (unsigned i = 0; i < 30; i++)
            model_row(m, b, i % DEVICES, (unsigned)rand_r(&seed) % 3000, (unsigned)rand_r(&seed));
        assert_int_equal(batch_seal(b), ERR_OK);
        while (try_put(w, batch_share(b)) != ERR_OK) { /* the log is being reopened */
        }
        batch_release(b);
        sim_fault_arm(w->os, SIM_FAULT_IO, (uint64_t)n);
        enum err err = try_flush(w);
        missed = !sim_fault_happened(w->os);
        sim_fault_arm(w->os, SIM_FAULT_NONE, 0);
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

/* ---- merging ---- */

enum {
    MERGE_PARTS = 5,
    MERGE_WAIT_S = 70, /* longer than a merge that failed waits */
    ONE_IN = 3,        /* calls of a merge; others with each MILLRACE_TEST_SEED */
};

static size_t parts_now(struct world *w)
{
    struct store_view *view = store_view_get(w->store);
    size_t count = view->parts->count;
    store_view_release(view);
    return count;
}

/* Parts of one day that are worth merging, held apart, and rows for one more. */
static void make_parts(struct world *w, struct schema *s, struct model *m, unsigned *seed)
{
    w->store->compaction.not_before_ns = INT64_MAX;
    for (unsigned i = 0; i < MERGE_PARTS; i++) {
        put_rows(w, s, m, seed, 40);
        flush(w);
    }
    put_rows(w, s, m, seed, 40);
    w->store->compaction.not_before_ns = 0;
}

static void each_failed_call_of_a_merge(struct world *w, struct schema *s, struct model *m,
                                        int fault)
{
    unsigned seed = 9, stopped = 0;
    uint64_t n = 1 + seed_of_run() % ONE_IN;
    for (bool reached = true; reached && n < 3000; n += ONE_IN) {
        struct sim_case c = {1, fault, n};
        make_parts(w, s, m, &seed);
        uint64_t errors = metric_get(&w->context, METRIC_COMPACTION_ERRORS);
        sim_case_arm(w->os, &c);
        (void)try_flush(w); /* begins the merge */
        sim_run_for(w->sim, (int64_t)1000000000);
        reached = sim_case_calls(w->os, &c) >= n;
        sim_fault_arm(w->os, SIM_FAULT_NONE, 0);
        stopped += metric_get(&w->context, METRIC_COMPACTION_ERRORS) > errors;
        compare_all(w, m);
        if (n / ONE_IN % 4 == 0) {
            reopen(w); /* with whatever the failure left behind */
            compare_all(w, m);
        }
        sim_run_for(w->sim, MERGE_WAIT_S * (int64_t)1000000000);
        flush(w); /* looks again */
        sim_run_for(w->sim, (int64_t)10 * 1000000000);
        flush(w);
        assert_true(parts_now(w) < MERGE_PARTS); /* it was done after all */
        compare_all(w, m);
    }
    print_message("fault %d: of %u calls one in %d, %u merges stopped\n", fault, (unsigned)n,
                  ONE_IN, stopped);
    assert_true(n < 3000 && stopped > 20 / ONE_IN);
}

static void each_failed_call_of_a_merge_loses_no_row_and_the_next_one_works(void **state)
{
    static const int faults[] = {SIM_FAULT_IO, SIM_FAULT_ALLOCATION};
    for (size_t i = 0; i < 2; i++) {
        struct world *w = *state;
        struct model *m = calloc(1, sizeof *m);
        m->step = 1000;
        struct schema *s = make_table(w);
        first_rows(w, s, m);
        each_failed_call_of_a_merge(w, s, m, faults[i]);
        reopen(w);
        compare_all(w, m);
        schema_release(s);
        free(m);
        sim_teardown(state);
        sim_setup(state);
    }
}

/* ---- rollups ---- */

static bool is_computed(void *arg)
{
    return is_clean(arg, DEVICES);
}

/* ---- changes that are refused ---- */

static struct schema *table_with_rollups(void)
{
    struct schema *s = schema_new("default", "u", 0);
    assert_int_equal(schema_add_column(s, 0, "a", TYPE_BIGINT, 0, "", "", NULL), ERR_OK);
    assert_int_equal(schema_add_rollup(s, MINUTE, 0), ERR_OK);
    assert_int_equal(schema_add_rollup(s, 10 * MINUTE, 0), ERR_OK);
    return s;
}

/* The table is defined or dropped without memory at call `nth`: it and its rollups are there or not
 * as was said, also after a start. False: so many calls are not made. */
static bool change_table(struct world *w, bool drop, uint64_t nth)
{
    static const char *const names[] = {"u", "u_1m", "u_10m"};
    struct schema *s = drop ? find(w, "u") : table_with_rollups();
    mem_test_fail(nth);
    enum err err = try_define(w, s, drop);
    bool is_reached = mem_test_count() >= nth;
    mem_test_fail(0);
    assert_true(is_reached || !err);
    for (unsigned again = 0; again < 2; again++) {
        for (size_t i = 0; i < 3; i++) assert_int_equal(is_there(w, names[i]), drop == (err != 0));
        if (!again) reopen(w);
    }
    return is_reached;
}

static void a_change_of_a_table_that_is_refused_is_not_in_the_log(void **state)
{
    struct world *w = *state;
    bool is_reached = true;
    for (uint64_t n = 1; is_reached; n++) {
        is_reached = change_table(w, false, n);
        if (is_there(w, "u")) (void)change_table(w, true, UINT64_MAX);
    }
    is_reached = true;
    for (uint64_t n = 1; is_reached; n++) {
        if (!is_there(w, "u")) (void)change_table(w, false, UINT64_MAX);
        is_reached = change_table(w, true, n);
    }
}

enum { RANGES = 3000 }; /* more than the memory that a catalogue has in hand */

static void a_delete_that_is_refused_hides_nothing(void **state)
{
    struct world *w = *state;
    struct schema *s = make_table(w);
    struct store_range *ranges = calloc(RANGES, sizeof *ranges);
    bool is_reached = true;
    for (uint64_t n = 1; is_reached; n++) {
        struct batch *b = batch_new(s, NULL);
        struct model *m = calloc(1, sizeof *m);
        m->step = 1000;
        for (unsigned i = 0; i < 10 * DEVICES; i++) model_row(m, b, i % DEVICES, i, i);
        put(w, b);
        struct reading r = all(COLUMNS);
        char *before = dump(w, &r);
        for (unsigned i = 0; i < RANGES; i++)
            ranges[i] = (struct store_range){STR("d0"), i * 3000, i * 3000, 0};
        mem_test_fail(n);
        enum err err = try_delete(w, s, ranges, RANGES);
        is_reached = mem_test_count() >= n;
        mem_test_fail(0);
        for (unsigned again = 0; err && again < 2; again++) {
            char *after = dump(w, &r);
            assert_string_equal(before, after);
            free(after);
            reopen(w);
        }
        free(before);
        free(m);
    }
    free(ranges);
    schema_release(s);
}

/* Rows of the hours before now, some of them late, some over others. */
static void put_steps(struct world *w, struct schema *s, struct model *m, unsigned *seed)
{
    struct batch *b = batch_new(s, NULL);
    for (unsigned i = 0; i < 9; i++)
        model_row(m, b, i % DEVICES, (unsigned)rand_r(seed) % 3000, (unsigned)rand_r(seed));
    assert_int_equal(batch_seal(b), ERR_OK);
    while (try_put(w, batch_share(b)) != ERR_OK) { /* the log is being reopened */
    }
    batch_release(b);
}

static void arm(struct world *w, bool disk, uint64_t n)
{
    if (!disk)
        mem_test_fail(n);
    else
        sim_fault_arm(w->os, n ? SIM_FAULT_IO : SIM_FAULT_NONE, n);
}

static void hit_each_call_of_computing(struct world *w, bool disk)
{
    struct model *m = calloc(1, sizeof *m);
    unsigned seed = 7;
    int64_t every = 10 * MINUTE;
    bool reached = true;
    m->step = 7 * SECOND;
    sim_wall_set(w->os, 2 * SEAL_PARTITION_NS);
    schema_release(make_table(w));
    struct schema *s = set_rollups(w, &every, 1);
    first_rows(w, s, m);
    for (uint64_t n = 1; reached && n < 3000; n++) {
        put_steps(w, s, m, &seed);
        if (n % 16 == 0) flush(w); /* parts, too, are read */
        arm(w, disk, n);
        sim_run_for(w->sim, SECOND / 2);
        reached = disk ? sim_fault_happened(w->os) : mem_test_count() >= n;
        arm(w, disk, 0);
        (void)compare_now(w, &seed, m->step, 12);
        if (n % 8 == 3) reopen(w); /* with whatever the failure left behind */
        assert_true(sim_run_until(w->sim, is_computed, w, 60 * SECOND));
        struct totals totals = totals_of(w, "t_10m");
        assert_int_equal(totals.rows, model_rows(m));
        assert_int_equal(totals.windows, model_windows(m, every));
        (void)compare_now(w, &seed, m->step, 12);
    }
    assert_false(reached);
    schema_release(s);
    free(m);
}

static void a_failed_allocation_costs_no_window_of_a_rollup(void **state)
{
    hit_each_call_of_computing(*state, false);
}

static void a_failed_disk_call_costs_no_window_of_a_rollup(void **state)
{
    hit_each_call_of_computing(*state, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_SIM_TEST(a_failed_allocation_costs_at_most_the_operation),
        STORE_SIM_TEST(each_failed_disk_call_of_a_flush_loses_no_row),
        STORE_SIM_TEST(each_failed_call_of_a_merge_loses_no_row_and_the_next_one_works),
        STORE_SIM_TEST(a_change_of_a_table_that_is_refused_is_not_in_the_log),
        STORE_SIM_TEST(a_delete_that_is_refused_hides_nothing),
        STORE_SIM_TEST(a_failed_allocation_costs_no_window_of_a_rollup),
        STORE_SIM_TEST(a_failed_disk_call_costs_no_window_of_a_rollup),
    };
    return cmocka_run_group_tests_name("store faults", tests, NULL, NULL);
}
