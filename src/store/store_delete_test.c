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

/* Ranges of any kind against the obvious: each of them asked for each time. */
static void resolved_deletes_hide_what_the_single_ones_hide(void **state)
{
    enum { COUNT = 40, SPAN = 120 };
    struct world *w = *state;
    unsigned seed = seed_of_run();
    print_message("seed %u\n", seed);
    schema_release(make_table(w));
    for (int round = 0; round < 400; round++) {
        struct catalog *catalog = &w->store->catalog;
        struct series series = {.id = 1};
        struct tombstone all_of_them[COUNT];
        struct arena arena;
        struct deleted deleted;
        unsigned count = 1 + (unsigned)rand_r(&seed) % COUNT;
        unsigned longest = rand_r(&seed) % 2 ? SPAN : 5;
        for (unsigned i = 0; i < count; i++) {
            struct tombstone *t = &all_of_them[i];
            t->from_ns = rand_r(&seed) % SPAN;
            t->to_ns = t->from_ns + rand_r(&seed) % (int)longest;
            t->version = 10 + i / 2;
            if (rand_r(&seed) % 30 == 0) t->from_ns = INT64_MIN;
            if (rand_r(&seed) % 30 == 0) t->to_ns = INT64_MAX;
            assert_int_equal(tombstone_add(catalog, &series, t), ERR_OK);
        }
        arena_init(&arena, NULL);
        uint64_t applied = 10 + (uint64_t)rand_r(&seed) % COUNT;
        assert_int_equal(deleted_of(&series, 0, 2 * SPAN, applied, &arena, &deleted), ERR_OK);
        for (int64_t time = 0; time < 2 * SPAN; time++)
            for (uint64_t version = 8; version < 10 + COUNT; version += 3) {
                bool hidden = false;
                for (unsigned i = 0; i < count; i++)
                    hidden |= all_of_them[i].from_ns <= time && time <= all_of_them[i].to_ns &&
                              version <= all_of_them[i].version &&
                              all_of_them[i].version <= applied;
                assert_int_equal(deleted_hides(&deleted, time, version), hidden);
                assert_int_equal(deleted_touches(&deleted, time, time, version), hidden);
            }
        arena_free(&arena);
        catalog->deleted = NULL; /* the series was this test's */
    }
}

/* Appends under way together: more than the head takes. */
struct many {
    struct store_append appends[64];
    struct store_delete delete;
    unsigned open;
    enum err err;
};

static void on_one_of_many(struct completion *c)
{
    struct many *m = c->home->after_arg;
    m->open--;
    if (c->err) m->err = c->err;
}

static bool is_all_done(void *arg)
{
    return ((struct many *)arg)->open == 0;
}

static void append_many(struct world *w, struct schema *s, struct many *m, unsigned from,
                        unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        struct batch *b = batch_new(s, NULL);
        uint32_t index;
        assert_int_equal(batch_add_device(b, STR("d"), NULL, 0, &index), ERR_OK);
        for (unsigned row = 0; row < 400; row++) {
            struct value v = {.type = TYPE_BIGINT, .i = row};
            assert_int_equal(batch_begin_row(b, index, (int64_t)i * 1000 + row), ERR_OK);
            assert_int_equal(batch_set(b, &s->columns[0], &v), ERR_OK);
        }
        assert_int_equal(batch_seal(b), ERR_OK);
        m->appends[i] = (struct store_append){.batch = b, .ack = STORE_ACK_DURABLE};
        completion_init(&m->appends[i].completion, &w->home, on_one_of_many);
        m->open++;
        store_append(w->store, &m->appends[i]);
    }
}

static void a_delete_covers_rows_that_wait_for_room_before_it_and_none_behind(void **state)
{
    struct world *w = *state;
    w->head_limit = 200 * 1024;
    reopen(w);
    struct schema *s = make_table(w);
    struct many *m = calloc(1, sizeof *m);
    struct store_range range = {STR("d"), 0, INT64_MAX, 0};
    append_many(w, s, m, 0, 40);
    m->delete = (struct store_delete){.table_id = s->table_id, .count = 1, .ranges = &range};
    w->home.after_arg = m;
    completion_init(&m->delete.completion, &w->home, on_one_of_many);
    m->open++;
    store_delete(w->store, &m->delete);
    append_many(w, s, m, 40, 64);
    bool held = false;
    while (!is_all_done(m)) {
        assert_true(sim_step(w->sim));
        held |= w->store->held && m->open > 30;
    }
    assert_int_equal(m->err, ERR_OK);
    assert_true(held); /* or the test means nothing */
    struct reading r = all(1);
    char *text = dump(w, &r);
    size_t lines = 0;
    for (char *p = text; *p; p++) lines += *p == '\n';
    assert_int_equal(lines, 24 * 400);
    assert_null(strstr(text, "d 39399 "));
    free(text);
    free(m);
    schema_release(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(deleted_rows_stay_away_and_only_they),
        STORE_TEST(deleted_rows_stay_away_over_many_days),
        STORE_TEST(a_tombstone_goes_when_nothing_is_left_for_it_to_hide),
        STORE_SIM_TEST(resolved_deletes_hide_what_the_single_ones_hide),
        STORE_SIM_TEST(a_delete_covers_rows_that_wait_for_room_before_it_and_none_behind),
    };
    return cmocka_run_group_tests_name("store delete", tests, NULL, NULL);
}
