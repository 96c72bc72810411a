/* store_rollup_test.c - claims about rollups in a running store: their tables follow the base table
 * and are nobody else's to write. */
#include "store/store_rollup_testlib.h"

/* ---- tables ---- */

static void a_rollups_table_comes_and_goes_with_its_entry(void **state)
{
    struct world *w = *state;
    schema_release(make_table(w));
    int64_t both[] = {60 * MINUTE, MINUTE};
    schema_release(set_rollups(w, both, 2));
    assert_true(is_there(w, "t_1m") && is_there(w, "t_1h"));
    reopen(w); /* from the log */
    assert_true(is_there(w, "t_1m") && is_there(w, "t_1h"));
    flush(w);
    reopen(w); /* from the catalogue's snapshot */
    struct schema *base = find(w, "t"), *hour = find(w, "t_1h");
    assert_int_equal(base->rollup_count, 2);
    assert_int_equal(base->rollups[0].every_ns, MINUTE);
    assert_int_equal(hour->rollup_of, base->table_id);
    assert_int_equal(hour->rollup_every_ns, 60 * MINUTE);
    schema_release(base);
    schema_release(hour);
    schema_release(set_rollups(w, both, 1));
    assert_true(!is_there(w, "t_1m") && is_there(w, "t_1h"));
    base = find(w, "t");
    assert_int_equal(try_define(w, base, true), ERR_OK);
    assert_true(!is_there(w, "t") && !is_there(w, "t_1h"));
}

static void a_rollup_follows_added_columns_and_widened_types(void **state)
{
    struct world *w = *state;
    schema_release(make_table(w));
    int64_t every = MINUTE;
    struct schema *old = set_rollups(w, &every, 1), *s = schema_copy(old);
    schema_release(old);
    assert_int_equal(schema_add_column(s, 0, "x", TYPE_DOUBLE, 0, "bar", "", NULL), ERR_OK);
    s->columns[0].type = TYPE_DOUBLE;
    assert_int_equal(try_define(w, s, false), ERR_OK);
    struct schema *minute = find(w, "t_1m");
    const struct column *added = schema_find(minute, STR("x_sum"));
    assert_non_null(added);
    assert_string_equal(added->unit, "bar");
    assert_int_equal(schema_find(minute, STR("a_sum"))->type, TYPE_DOUBLE);
    assert_int_equal(minute->revision, 1);
    schema_release(minute);
}

static void a_rollup_is_written_by_nobody_else(void **state)
{
    struct world *w = *state;
    schema_release(make_table(w));
    int64_t every = MINUTE;
    schema_release(set_rollups(w, &every, 1));
    struct schema *minute = find(w, "t_1m");
    struct batch *b = batch_new(minute, NULL);
    uint32_t device;
    assert_int_equal(batch_add_device(b, STR("d"), NULL, 0, &device), ERR_OK);
    assert_int_equal(batch_begin_row(b, device, 0), ERR_OK);
    assert_int_equal(try_put(w, b), ERR_READ_ONLY);
    assert_int_equal(try_define(w, schema_copy(minute), false), ERR_READ_ONLY);
    assert_int_equal(try_define(w, schema_share(minute), true), ERR_READ_ONLY);
    struct store_range range = {.device = STR("d"), .to_ns = 1};
    struct store_delete op = {.table_id = minute->table_id, .count = 1, .ranges = &range};
    completion_init(&op.completion, &w->home, on_done);
    store_delete(w->store, &op);
    wait_done(w);
    assert_int_equal(w->err, ERR_READ_ONLY);
    schema_release(minute);
}

static void a_name_that_is_taken_refuses_the_rollup(void **state)
{
    struct world *w = *state;
    struct schema *t = make_table(w), *s = schema_copy(t);
    schema_release(t);
    schema_release(define(w, schema_new("default", "t_1m", 0)));
    assert_int_equal(schema_add_rollup(s, MINUTE, 0), ERR_OK);
    assert_int_equal(try_define(w, s, false), ERR_EXISTS);
    t = find(w, "t");
    assert_int_equal(t->rollup_count, 0);
    schema_release(t);
}

/* ---- what is dirty ---- */

/* Nothing is dirty of the first series. Stands for computing. */
static void clean(struct world *w)
{
    struct rollup_series *s = rollup_state_series(state_of(w), 1);
    assert_non_null(s);
    dirty_remove(&s->dirty, INT64_MIN, INT64_MAX);
    rollup_series_publish(s);
}

static void assert_dirty(struct world *w, int64_t from, int64_t to)
{
    struct rollup_seen seen;
    assert_true(rollup_state_see(state_of(w), 1, &seen));
    assert_int_equal(seen.count, from < to);
    if (!seen.count) return;
    assert_int_equal(seen.ranges[0].from, from);
    assert_int_equal(seen.ranges[0].to, to);
}

static void reopen_paused(struct world *w)
{
    reopen(w);
    w->store->rollups.paused = true;
}

static void delete_range(struct world *w, const struct schema *s, int64_t from, int64_t to)
{
    struct store_range range = {.device = STR("d"), .from_ns = from, .to_ns = to};
    struct store_delete op = {.table_id = s->table_id, .count = 1, .ranges = &range};
    w->home.after_arg = w;
    completion_init(&op.completion, &w->home, on_done);
    store_delete(w->store, &op);
    wait_done(w);
    assert_int_equal(w->err, ERR_OK);
}

static void rows_and_deletes_mark_their_windows_and_a_kill_forgets_none(void **state)
{
    struct world *w = *state;
    schema_release(make_table(w));
    int64_t every = MINUTE;
    struct schema *s = set_rollups(w, &every, 1);
    w->store->rollups.paused = true;
    put_many(w, s, 5 * MINUTE, 10);
    clean(w);
    flush(w);
    assert_dirty(w, 0, 0);
    reopen_paused(w);
    assert_dirty(w, 0, 0); /* clean is remembered, too */
    put_many(w, s, 7 * MINUTE - 5, 10);
    assert_dirty(w, 6 * MINUTE, 8 * MINUTE);
    reopen_paused(w); /* the rows are in the log */
    assert_dirty(w, 6 * MINUTE, 8 * MINUTE);
    flush(w);
    reopen_paused(w); /* the rows are in parts */
    assert_dirty(w, 6 * MINUTE, 8 * MINUTE);
    clean(w);
    delete_range(w, s, 5 * MINUTE, 5 * MINUTE + 3);
    assert_dirty(w, 5 * MINUTE, 6 * MINUTE);
    reopen_paused(w);
    assert_dirty(w, 5 * MINUTE, 8 * MINUTE); /* that it was cleaned was in memory only */
    schema_release(s);
}

/* ---- computing in the background ---- */

static void write_some(struct world *w, struct schema *s, struct model *m, unsigned *seed)
{
    struct batch *b = batch_new(s, NULL);
    for (unsigned i = 0; i < 300; i++)
        model_row(m, b, (unsigned)rand_r(seed) % DEVICES, (unsigned)rand_r(seed) % TIMES,
                  (unsigned)rand_r(seed) % 4096);
    put(w, b);
}

static void delete_d1(struct world *w, struct schema *s, struct model *m, unsigned from,
                      unsigned to)
{
    struct store_range range = {STR("d1"), (int64_t)from * m->step, (int64_t)to * m->step, 0};
    struct store_delete op = {.table_id = s->table_id, .count = 1, .ranges = &range};
    for (unsigned at = from; at <= to; at++) {
        m->rows[1][at] = false;
        memset(m->cells[1][at], 0, sizeof m->cells[1][at]);
    }
    w->home.after_arg = w;
    completion_init(&op.completion, &w->home, on_done);
    store_delete(w->store, &op);
    wait_done(w);
    assert_int_equal(w->err, ERR_OK);
}

static void answers_are_the_same_with_a_rollup_at_every_moment(void **state)
{
    struct world *w = *state;
    struct model *m = calloc(1, sizeof *m);
    unsigned seed = seed_of_run();
    uint64_t summaries = 0;
    void *old;
    m->step = 7 * SECOND;
    schema_release(make_table(w));
    struct schema *s = find(w, "t");
    first_rows(w, s, m);
    schema_release(s);
    int64_t every[] = {MINUTE, 10 * MINUTE};
    s = set_rollups(w, every, 2);
    for (unsigned round = 0; round < 10; round++) {
        assert_int_equal(store_sql_source.snapshot_open(w->store, &old), ERR_OK);
        write_some(w, s, m, &seed);
        if (round % 3 == 1) delete_d1(w, s, m, 500 * (round % 7), 500 * (round % 7) + 400);
        (void)compare_now(w, &seed, m->step, 12); /* dirty */
        (void)compare_answers(w, old, &seed, m->step, 12);
        if (round % 4 == 2) flush(w);
        wait_clean(w, DEVICES);
        usleep(300000); /* the other rollup, too */
        summaries += compare_now(w, &seed, m->step, 12);
        (void)compare_answers(w, old, &seed, m->step, 12); /* cleaned since */
        store_sql_source.snapshot_close(w->store, old);
        if (round % 3 == 2) reopen(w);
        summaries += compare_now(w, &seed, m->step, 12);
    }
    assert_true(summaries > 1000); /* it is used */
    schema_release(s);
    free(m);
}

static void a_rollup_catches_up_with_late_rows_deletes_and_restarts(void **state)
{
    struct world *w = *state;
    struct model *m = calloc(1, sizeof *m);
    unsigned seed = seed_of_run();
    m->step = SECOND;
    schema_release(make_table(w));
    struct schema *s = find(w, "t");
    first_rows(w, s, m);
    schema_release(s);
    int64_t every = MINUTE;
    s = set_rollups(w, &every, 1); /* on a table with rows */
    for (unsigned round = 0; round < 8; round++) {
        write_some(w, s, m, &seed);
        if (round % 3 == 1) delete_d1(w, s, m, 500 * (round % 7), 500 * (round % 7) + 400);
        if (round % 4 == 2) flush(w);
        if (round % 3 == 2) reopen(w);
        wait_clean(w, DEVICES);
        struct totals totals = totals_of(w, "t_1m");
        assert_int_equal(totals.rows, model_rows(m));
        assert_int_equal(totals.windows, model_windows(m, every));
    }
    schema_release(s);
    free(m);
}

/* The rows are in the head, which has no statistics: every summary is of a window. */
static void windows_of_few_rows_are_left_to_their_rows(void **state)
{
    struct world *w = *state;
    struct model *m = calloc(1, sizeof *m);
    unsigned seed = seed_of_run();
    m->step = SECOND;
    schema_release(make_table(w));
    struct schema *s = find(w, "t");
    first_rows(w, s, m);
    schema_release(s);
    int64_t every = MINUTE;
    schema_release(set_rollups(w, &every, 1));
    wait_clean(w, DEVICES);
    uint64_t rows = rollup_state_density(state_of(w));
    assert_in_range(rows, 1, 60);
    assert_true(compare_now(w, &seed, m->step, 5) > 0);
    w->store->rollups.rows_min = (uint32_t)rows; /* enough */
    assert_true(compare_now(w, &seed, m->step, 5) > 0);
    w->store->rollups.rows_min = (uint32_t)rows + 1;
    assert_int_equal(compare_now(w, &seed, m->step, 5), 0);
    rollup_state_freeze(&w->store->catalog, state_of(w), 5 * MINUTE);
    assert_true(compare_now(w, &seed, m->step, 5) > 0); /* rows of these may be gone */
    flush(w);
    w->rollup_rows = (uint32_t)rows + 1;
    reopen(w); /* it is remembered */
    assert_int_equal(rollup_state_density(state_of(w)), rows);
    free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(a_rollups_table_comes_and_goes_with_its_entry),
        STORE_TEST(a_rollup_follows_added_columns_and_widened_types),
        STORE_TEST(a_rollup_is_written_by_nobody_else),
        STORE_TEST(rows_and_deletes_mark_their_windows_and_a_kill_forgets_none),
        STORE_TEST(a_rollup_catches_up_with_late_rows_deletes_and_restarts),
        STORE_TEST(answers_are_the_same_with_a_rollup_at_every_moment),
        STORE_TEST(a_name_that_is_taken_refuses_the_rollup),
        STORE_TEST(windows_of_few_rows_are_left_to_their_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
