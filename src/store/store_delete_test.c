/* store_delete_test.c - claims about deleted rows: they are gone for every reader from then on,
 * through flushes, merges and restarts, and only they; what is written later is there. */
#include "store/store_testlib.h"

static void delete_some(struct world *w, const struct schema *s, struct model *m, unsigned *seed)
{
    static const char *const names[DEVICES + 1] = {"d0", "d1", "d2", "nobody"};
    struct store_range ranges[3];
    size_t count = 1 + (size_t)rand_r(seed) % 3;
    for (size_t i = 0; i < count; i++) {
        unsigned d = (unsigned)rand_r(seed) % (DEVICES + 1), from = (unsigned)rand_r(seed) % TIMES;
        unsigned length = (unsigned)rand_r(seed) % (rand_r(seed) % 4 ? 60 : 2000);
        unsigned to = from + length < TIMES ? from + length : TIMES - 1;
        ranges[i] = (struct store_range){str_of(names[d]), (int64_t)from * m->step,
                                         (int64_t)to * m->step, 0};
        for (unsigned at = from; d < DEVICES && at <= to; at++) {
            m->rows[d][at] = false;
            memset(m->cells[d][at], 0, sizeof m->cells[d][at]);
        }
    }
    assert_int_equal(try_delete(w, s, ranges, count), ERR_OK);
}

static void history(struct world *w, unsigned seed, int64_t step)
{
    struct model *m = calloc(1, sizeof *m);
    m->step = step;
    struct schema *s = make_table(w);
    first_rows(w, s, m);
    unsigned now = 1;
    for (int round = 0; round < 80; round++) {
        struct batch *b = batch_new(s, NULL);
        unsigned rows = (unsigned)rand_r(&seed) % 200 + 1;
        for (unsigned i = 0; i < rows; i++) {
            bool late = rand_r(&seed) % 4 == 0;
            unsigned at = late ? (unsigned)rand_r(&seed) % now : now;
            if (!late && now + 1 < TIMES) now++;
            model_row(m, b, (unsigned)rand_r(&seed) % DEVICES, at, (unsigned)rand_r(&seed) % 4096);
        }
        put(w, b);
        int act = rand_r(&seed) % 12;
        if (act < 4) delete_some(w, s, m, &seed);
        if (act % 3 == 0) flush(w);
        if (act == 7) reopen(w);
        if (act > 8) compare_all(w, m);
    }
    compare_all(w, m);
    flush(w);
    compare_all(w, m);
    reopen(w);
    compare_all(w, m);
    schema_release(s);
    free(m);
}

static void deleted_rows_stay_away_and_only_they(void **state)
{
    print_message("seed %u\n", seed_of_run());
    history(*state, seed_of_run() + 11, 1000000000);
}

static void deleted_rows_stay_away_over_many_days(void **state)
{
    history(*state, seed_of_run() + 12, (int64_t)3600 * 1000000000 * 5);
}

static void a_tombstone_goes_when_nothing_is_left_for_it_to_hide(void **state)
{
    struct world *w = *state;
    struct schema *s = make_table(w);
    put_many(w, s, 0, 100);
    flush(w);
    struct store_range range = {STR("d"), 10, 19, 0};
    assert_int_equal(try_delete(w, s, &range, 1), ERR_OK);
    struct series *series = catalog_series(&w->store->catalog, 1);
    uint32_t count;
    (void)tombstones_of(series, &count);
    assert_int_equal(count, 1);
    reopen(w);
    (void)tombstones_of(catalog_series(&w->store->catalog, 1), &count);
    assert_int_equal(count, 1);
    for (int i = 0; i < 6; i++) { /* more parts, so that they are merged */
        put_many(w, s, 1000 + i * 100, 100);
        flush(w);
    }
    for (int i = 0; i < 3000 && count; i++) {
        flush(w);
        (void)tombstones_of(catalog_series(&w->store->catalog, 1), &count);
        usleep(1000);
    }
    assert_int_equal(count, 0);
    struct reading r = all(1);
    char *text = dump(w, &r);
    assert_null(strstr(text, "d 15 "));
    assert_non_null(strstr(text, "d 20 "));
    free(text);
    schema_release(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(deleted_rows_stay_away_and_only_they),
        STORE_TEST(deleted_rows_stay_away_over_many_days),
        STORE_TEST(a_tombstone_goes_when_nothing_is_left_for_it_to_hide),
    };
    return cmocka_run_group_tests_name("store delete", tests, NULL, NULL);
}
