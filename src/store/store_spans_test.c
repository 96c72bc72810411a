/* store_spans_test.c - claims about rows kept in memory for statements that ask again: they are the
 * same as those of the parts, whatever was asked for, written or deleted meanwhile, and they stay
 * within their memory. */
#include "store/store_testlib.h"

static void change_something(struct world *w, struct schema *s, struct model *m, unsigned *seed)
{
    struct batch *b = batch_new(s, NULL);
    for (unsigned i = 0, n = 1 + (unsigned)rand_r(seed) % 40; i < n; i++)
        model_row(m, b, (unsigned)rand_r(seed) % DEVICES, (unsigned)rand_r(seed) % TIMES,
                  (unsigned)rand_r(seed) % 4096);
    put(w, b);
    if (rand_r(seed) % 3 == 0) {
        unsigned at = (unsigned)rand_r(seed) % TIMES;
        int64_t time = (int64_t)at * m->step;
        struct store_range range = {STR("d1"), time, time, 0};
        m->rows[1][at] = false;
        memset(m->cells[1][at], 0, sizeof m->cells[1][at]);
        assert_int_equal(try_delete(w, s, &range, 1), ERR_OK);
    }
    if (rand_r(seed) % 3 == 0) flush(w);
}

static struct reading narrow(const struct model *m, unsigned from, unsigned *seed)
{
    struct reading r = all(1 + (size_t)rand_r(seed) % 2); /* the third column is text: not kept */
    r.from = (int64_t)from * m->step;
    r.to = rand_r(seed) % 8 ? r.from + (int64_t)(rand_r(seed) % 90) * m->step : INT64_MAX;
    r.newest_first = rand_r(seed) % 3 == 0;
    if (r.newest_first && rand_r(seed) % 2) r.row_limit = 1;
    return r;
}

static void rows_asked_for_again_are_those_of_the_parts(void **state)
{
    struct world *w = *state;
    unsigned seed = seed_of_run();
    print_message("seed %u\n", seed);
    struct model *m = calloc(1, sizeof *m);
    m->step = 1000000000;
    struct schema *s = make_table(w);
    first_rows(w, s, m);
    for (unsigned from = 0; from < TIMES; from += 1000) {
        struct batch *b = batch_new(s, NULL);
        for (unsigned d = 0; d < DEVICES; d++)
            for (unsigned at = from; at < from + 1000; at++)
                if (at % 7 != d) model_row(m, b, d, at, (unsigned)rand_r(&seed) % 4096);
        put(w, b);
        flush(w);
    }
    uint64_t spans = 0;
    for (int round = 0; round < 60; round++) {
        unsigned around = (unsigned)rand_r(&seed) % (TIMES - 200);
        for (int i = 0; i < 20; i++)
            spans += compare(w, m, narrow(m, around + (unsigned)rand_r(&seed) % 100, &seed));
        if (round % 4 == 3) change_something(w, s, m, &seed);
        assert_true(atomic_load(&w->store->spans.budget.used_bytes) <= SPANS_BYTES);
    }
    assert_true(spans > 300);
    compare_all(w, m);
    schema_release(s);
    free(m);
}

static struct span *make_span(struct span_cache *cache, uint64_t part, uint32_t rows)
{
    int64_t time[SPAN_ROWS_MAX] = {(int64_t)part};
    struct span_column column = {.id = 1, .data = {.type = TYPE_BIGINT, .i = time}};
    struct span *span = span_new(cache, time, rows, &column, 1);
    assert_non_null(span);
    span->part = part;
    span->series = 7;
    return span;
}

static void what_was_not_used_for_longest_goes_first(void **state)
{
    (void)state;
    struct budget all_memory;
    struct span_cache cache;
    budget_init(&all_memory, "test", NULL, SIZE_MAX);
    assert_int_equal(span_cache_init(&cache, &all_memory, 512 * 1024), ERR_OK);
    struct span *held = NULL;
    for (uint64_t part = 1; part <= 500; part++) {
        span_cache_put(&cache, make_span(&cache, part, 256));
        struct span *first = span_cache_get(&cache, 1, 7);
        assert_non_null(first); /* used all the time */
        assert_int_equal(first->time[0], 1);
        if (!held)
            held = first;
        else
            span_release(first);
    }
    assert_null(span_cache_get(&cache, 2, 7));
    span_cache_put(&cache, make_span(&cache, 1, 1)); /* takes its place; who holds it keeps it */
    assert_int_equal(held->row_count, 256);
    assert_true(atomic_load(&cache.budget.used_bytes) <= 512 * 1024);
    span_cache_free(&cache);
    span_release(held);
    assert_int_equal(atomic_load(&all_memory.used_bytes), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(rows_asked_for_again_are_those_of_the_parts),
        cmocka_unit_test(what_was_not_used_for_longest_goes_first),
    };
    return cmocka_run_group_tests_name("store spans", tests, NULL, NULL);
}
