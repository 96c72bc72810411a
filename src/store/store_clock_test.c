/* store_clock_test.c - claims about what the passing of time removes: whole days, one at a time, by
 * a clock that is trusted, and nothing by one that is not. */
#include "store/since.h"
#include "store/store_clock_testlib.h"

static size_t rows_left(struct world *w)
{
    struct reading r = all(1);
    char *text = dump(w, &r);
    size_t lines = 0;
    for (char *p = text; *p; p++) lines += *p == '\n';
    free(text);
    return lines;
}

static void retention_removes_one_whole_day_at_a_time(void **state)
{
    struct world *w = *state;
    take_clock(w, START_NS);
    struct schema *s = table_kept_for(w, 2 * DAY_NS);
    int64_t today = START_NS / DAY_NS * DAY_NS;
    for (int day = 0; day < 5; day++) put_many(w, s, today - day * DAY_NS, 10);
    flush(w);
    assert_int_equal(rows_left(w), 50);
    flush(w); /* day -4 ended 3 days ago, day -3 ended 2 days ago */
    assert_int_equal(rows_left(w), 40);
    flush(w);
    assert_int_equal(rows_left(w), 30);
    flush(w);
    assert_int_equal(rows_left(w), 30);
    struct schema *longer = schema_copy(s);
    longer->retention_ns = 0;
    schema_release(define(w, longer));
    schema_release(s);
    reopen(w);
    assert_int_equal(rows_left(w), 30);
}

/* Where a reader is that has read everything. */
static uint64_t caught_up(struct store_since *since)
{
    struct store_place place = {.position = 0};
    bool is_empty;
    store_since_begin(since, &place, &is_empty);
    return place.up_to;
}

static void a_reader_learns_that_retention_took_rows_before_it(void **state)
{
    struct world *w = *state;
    take_clock(w, START_NS);
    struct schema *s = table_kept_for(w, 2 * DAY_NS);
    struct store_since *since = store_since_new(w->store, STR("default"), STR("t"));
    assert_non_null(since);
    put_many(w, s, START_NS, 10);
    uint64_t behind = caught_up(since);
    put_many(w, s, START_NS - 5 * DAY_NS, 10);
    flush(w);
    store_since_rest(since);
    uint64_t with_it = caught_up(since);
    assert_true(store_since_gone(since) <= behind); /* nothing was taken so far */
    flush(w);
    assert_true(store_since_gone(since) > behind);
    assert_true(store_since_gone(since) <= with_it);
    store_since_free(since);
    schema_release(s);
}

static enum err no_sync(struct os_file *file, struct why *why)
{
    (void)file;
    return why_set(why, ERR_IO, "the disk says no");
}

static void rows_that_could_not_be_removed_are_not_told_as_gone(void **state)
{
    struct world *w = *state;
    take_clock(w, START_NS);
    struct schema *s = table_kept_for(w, 2 * DAY_NS);
    struct store_since *since = store_since_new(w->store, STR("default"), STR("t"));
    assert_non_null(since);
    put_many(w, s, START_NS, 10);
    uint64_t behind = caught_up(since);
    put_many(w, s, START_NS - 5 * DAY_NS, 10);
    flush(w);
    store_since_rest(since);
    enum err (*sync)(struct os_file *, struct why *) = w->ops.file_sync;
    w->ops.file_sync = no_sync;
    assert_int_equal(try_flush(w), ERR_IO);
    w->ops.file_sync = sync;
    assert_int_equal(rows_left(w), 20);
    assert_true(store_since_gone(since) <= behind);
    flush(w);
    assert_int_equal(rows_left(w), 10);
    assert_true(store_since_gone(since) > behind);
    store_since_free(since);
    schema_release(s);
}

static void confirm(struct world *w)
{
    struct store_flush op = {.confirm_time = true};
    w->home.after_arg = w;
    completion_init(&op.completion, &w->home, on_done);
    store_flush(w->store, &op);
    wait_done(w);
    assert_int_equal(w->err, ERR_OK);
}

static void a_wrong_clock_loses_no_row(void **state)
{
    struct world *w = *state;
    static const int64_t wrong[] = {0, START_NS + 10 * 365 * DAY_NS};
    for (size_t i = 0; i < 2; i++) {
        take_clock(w, START_NS);
        struct schema *s = table_kept_for(w, 2 * DAY_NS);
        put_many(w, s, START_NS, 10);
        flush(w);
        store_close(w->store);
        set_clock(w, wrong[i]); /* at start */
        open_store(w);
        struct store_health_row row;
        assert_int_equal(store_health(w->store, &row, 1), 1);
        assert_string_equal(row.object, "clock");
        put_many(w, s, wrong[i], 10);
        for (int n = 0; n < 3; n++) flush(w);
        assert_int_equal(rows_left(w), 20);
        reopen(w);
        for (int n = 0; n < 3; n++) flush(w);
        assert_int_equal(rows_left(w), 20);
        set_clock(w, START_NS + DAY_NS / 2); /* right again */
        flush(w);
        flush(w);
        assert_true(atomic_load(&w->store->time_trusted));
        put_many(w, s, START_NS + 10, 10);
        for (int n = 0; n < 3; n++) flush(w);
        assert_int_equal(rows_left(w), 30); /* also what came while time was wrong stays */
        confirm(w);
        for (int n = 0; n < 3; n++) flush(w);
        assert_int_equal(rows_left(w),
                         wrong[i] == 0 ? 20 : 30); /* 1970 is over now, 2037 is to come */
        schema_release(s);
    }
}

static void a_first_start_with_a_wrong_clock_loses_no_row(void **state)
{
    struct world *w = *state;
    static const int64_t wrong[] = {0, START_NS + 10 * 365 * DAY_NS};
    for (size_t i = 0; i < 2; i++) {
        take_clock(w, wrong[i]);
        struct schema *s = table_kept_for(w, 2 * DAY_NS);
        put_many(w, s, START_NS, 10);
        put_many(w, s, 0, 10);
        for (int n = 0; n < 3; n++) flush(w);
        assert_int_equal(rows_left(w), 20);
        schema_release(s);
    }
}

/* What came before and after the word goes by its age again, also out of a head that was filled
 * while the clock was wrong, and out of parts that were merged. */
static void a_confirmed_clock_lets_rows_go_again(void **state)
{
    struct world *w = *state;
    take_clock(w, START_NS);
    struct schema *s = table_kept_for(w, 2 * DAY_NS);
    put_many(w, s, START_NS, 10);
    flush(w);
    store_close(w->store);
    set_clock(w, START_NS + 3 * DAY_NS); /* off over a long weekend */
    open_store(w);
    assert_false(atomic_load(&w->store->time_trusted));
    put_many(w, s, START_NS + 3 * DAY_NS, 10);
    confirm(w);
    assert_true(atomic_load(&w->store->time_trusted));
    for (int n = 0; n < 2; n++) flush(w);
    assert_int_equal(rows_left(w), 10);
    put_many(w, s, START_NS + 3 * DAY_NS + DAY_NS / 2, 10);
    flush(w);
    for (int half = 1; half < 9; half++) {
        set_clock(w, START_NS + 3 * DAY_NS + half * DAY_NS / 2);
        reopen(w);
        for (int n = 0; n < 2; n++) flush(w);
    }
    assert_int_equal(rows_left(w), 0);
    schema_release(s);
}

static void a_dropped_table_frees_its_parts(void **state)
{
    struct world *w = *state;
    struct schema *s = make_table(w);
    put_many(w, s, 0, 10);
    flush(w);
    assert_int_equal(count_files(w, "parts", ".part"), 1);
    struct store_define op = {.schema = schema_copy(s), .drop = true};
    w->home.after_arg = w;
    completion_init(&op.completion, &w->home, on_done);
    store_define(w->store, &op);
    wait_done(w);
    assert_int_equal(w->err, ERR_OK);
    flush(w);
    assert_int_equal(count_files(w, "parts", ".part"), 0);
    schema_release(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(retention_removes_one_whole_day_at_a_time),
        STORE_TEST(a_reader_learns_that_retention_took_rows_before_it),
        STORE_TEST(rows_that_could_not_be_removed_are_not_told_as_gone),
        STORE_TEST(a_wrong_clock_loses_no_row),
        STORE_TEST(a_first_start_with_a_wrong_clock_loses_no_row),
        STORE_TEST(a_confirmed_clock_lets_rows_go_again),
        STORE_TEST(a_dropped_table_frees_its_parts),
    };
    return cmocka_run_group_tests_name("store clock", tests, NULL, NULL);
}
