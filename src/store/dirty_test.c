/* dirty_test.c - claims about sets of dirty windows: what was marked is in them, whatever the limit
 * and whatever memory there is; with room enough nothing else is. */
#include "store/dirty.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

enum { WINDOWS = 400 };

struct pair {
    struct dirty dirty;
    bool model[WINDOWS];
};

static void change(struct pair *p, unsigned *seed)
{
    int64_t from = rand_r(seed) % WINDOWS, to = from + 1 + rand_r(seed) % 12;
    bool adds = rand_r(seed) % 3 != 0;
    if (to > WINDOWS) to = WINDOWS;
    if (adds)
        dirty_add(&p->dirty, from, to);
    else
        dirty_remove(&p->dirty, from, to);
    for (int64_t i = from; i < to; i++) p->model[i] = adds;
}

static void check(const struct pair *p, bool exactly)
{
    const struct dirty_range *ranges = dirty_ranges(&p->dirty);
    assert_true(p->dirty.count <= p->dirty.limit);
    for (uint32_t i = 0; i < p->dirty.count; i++) {
        assert_true(ranges[i].from < ranges[i].to);
        if (i) assert_true(ranges[i - 1].to < ranges[i].from);
    }
    for (int64_t i = 0; i < WINDOWS; i++) {
        bool is = dirty_touches(&p->dirty, i, i + 1);
        if (p->model[i]) assert_true(is);
        if (exactly) assert_int_equal(is, p->model[i]);
    }
}

static void run(unsigned seed, uint32_t limit, bool fails)
{
    struct pair p = {0};
    dirty_init(&p.dirty, limit);
    for (unsigned i = 0; i < 600; i++) {
        if (fails) mem_test_fail(1);
        change(&p, &seed);
        mem_test_fail(0);
        check(&p, limit >= WINDOWS && !fails);
    }
    dirty_free(&p.dirty);
}

static void a_set_with_room_holds_exactly_what_was_marked(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed < 20; seed++) run(seed, WINDOWS, false);
}

static void at_the_limit_a_set_holds_more_but_never_less(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed < 20; seed++) run(seed, DIRTY_OWN_RANGES + seed % 5, false);
}

static void without_memory_nothing_that_was_marked_is_lost(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed < 20; seed++) run(seed, WINDOWS, true);
}

static void a_set_survives_as_bytes_and_cut_bytes_are_refused(void **state)
{
    (void)state;
    struct pair p = {0};
    struct buf bytes = BUF_EMPTY;
    unsigned seed = 7;
    dirty_init(&p.dirty, WINDOWS);
    for (unsigned i = 0; i < 60; i++) change(&p, &seed);
    dirty_add(&p.dirty, INT64_MIN, INT64_MIN + 1);
    dirty_add(&p.dirty, INT64_MAX - 1, INT64_MAX);
    dirty_write(&bytes, &p.dirty);
    assert_false(buf_failed(&bytes));
    for (size_t size = 0; size <= bytes.size; size++) {
        struct pair again = {0};
        struct reader in = reader_of(bytes.at, size);
        dirty_init(&again.dirty, WINDOWS);
        enum err err = dirty_read(&again.dirty, &in);
        assert_int_equal(err, size == bytes.size ? ERR_OK : ERR_CORRUPT);
        if (!err) {
            memcpy(again.model, p.model, sizeof p.model);
            check(&again, true);
            assert_int_equal(again.dirty.count, p.dirty.count);
        }
        dirty_free(&again.dirty);
    }
    buf_free(&bytes);
    dirty_free(&p.dirty);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_set_with_room_holds_exactly_what_was_marked),
        cmocka_unit_test(at_the_limit_a_set_holds_more_but_never_less),
        cmocka_unit_test(without_memory_nothing_that_was_marked_is_lost),
        cmocka_unit_test(a_set_survives_as_bytes_and_cut_bytes_are_refused),
    };
    return cmocka_run_group_tests_name("dirty windows", tests, NULL, NULL);
}
