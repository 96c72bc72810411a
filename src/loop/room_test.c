/* room_test.c - who waits for memory gets it in his turn, and not for ever. */
#include "base/timetext.h"
#include "loop/room.h"
#include "os/sim.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

enum { LIMIT = 1000, WAITERS = ROOM_WAITS_MAX + 1 };

struct waiter {
    struct room_wait wait; /* first */
    struct world *world;
    size_t need;
    int told;
    enum err err;
    struct why why;
    bool takes; /* what it was let in for */
};

struct world {
    struct sim *sim;
    struct context context;
    struct loop loop;
    struct budget rows;
    struct room room;
    struct waiter waiters[WAITERS];
    char order[64];
    struct job job;
    void (*step)(struct world *w);
    bool is_done;
};

static void run_step(struct job *job)
{
    struct world *w = (struct world *)(void *)((char *)job - offsetof(struct world, job));
    w->step(w);
    w->is_done = true;
}

static bool is_done(void *arg)
{
    return ((struct world *)arg)->is_done;
}

/* On the loop's task, as everything of a room is. */
static void on_loop(struct world *w, void (*step)(struct world *w))
{
    w->is_done = false;
    w->step = step;
    w->job.run = run_step;
    loop_post(&w->loop, &w->job);
    assert_true(sim_run_until(w->sim, is_done, w, TIME_NS_PER_S));
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    w->sim = sim_new(7);
    w->context.os = sim_node(w->sim, "n");
    w->context.main = &w->loop;
    assert_int_equal(loop_start(&w->loop, w->context.os, "main", 0, NULL), ERR_OK);
    budget_init(&w->context.memory, "node", NULL, 64 << 20);
    budget_init(&w->rows, "rows", &w->context.memory, LIMIT);
    room_init(&w->room, &w->context, &w->loop, &w->rows, "rows on their way");
    *state = w;
    return 0;
}

static void close_room(struct world *w)
{
    room_close(&w->room);
}

static int teardown(void **state)
{
    struct world *w = *state;
    on_loop(w, close_room);
    loop_stop(&w->loop);
    sim_free(w->sim);
    free(w);
    return 0;
}

static void on_room(struct room_wait *wait, enum err err, const struct why *why)
{
    struct waiter *one = (struct waiter *)wait;
    struct world *w = one->world;
    one->told++;
    one->err = err;
    one->why = why ? *why : WHY_NONE;
    if (!err && one->takes) assert_int_equal(budget_take(&w->rows, one->need), ERR_OK);
    size_t at = strlen(w->order);
    snprintf(w->order + at, sizeof w->order - at, "%d", (int)(one - w->waiters));
}

static enum err ask(struct world *w, int number, size_t need, struct why *why)
{
    struct waiter *one = &w->waiters[number];
    one->world = w;
    one->need = need;
    one->takes = true;
    return room_wait(&w->room, &one->wait, need, on_room, why);
}

static void ask_three(struct world *w)
{
    assert_int_equal(budget_take(&w->rows, LIMIT), ERR_OK); /* by others */
    assert_int_equal(ask(w, 0, 800, NULL), ERR_OK);
    assert_int_equal(ask(w, 1, 100, NULL), ERR_OK);
    assert_int_equal(ask(w, 2, 200, NULL), ERR_OK);
}

static void the_first_is_not_overtaken_by_those_that_need_less(void **state)
{
    struct world *w = *state;
    on_loop(w, ask_three);
    budget_give(&w->rows, 500); /* from any task, and nobody is told */
    sim_run_for(w->sim, 50 * TIME_NS_PER_MS);
    assert_string_equal(w->order, "");
    budget_give(&w->rows, 450); /* room for 0 and 1, not for 2 */
    sim_run_for(w->sim, 50 * TIME_NS_PER_MS);
    assert_string_equal(w->order, "01");
    budget_give(&w->rows, 150);
    sim_run_for(w->sim, 50 * TIME_NS_PER_MS);
    assert_string_equal(w->order, "012");
    assert_int_equal(metric_get(&w->context, METRIC_ROOM_WAITING), 0);
    assert_int_equal(metric_get(&w->context, METRIC_ROOM_WAITS), 3);
    assert_int_equal(metric_get(&w->context, METRIC_ROOM_REFUSED), 0);
    budget_give(&w->rows, 1000);
}

static void who_has_waited_too_long_is_told_the_limit_and_the_way_out(void **state)
{
    struct world *w = *state;
    on_loop(w, ask_three);
    sim_run_for(w->sim, ROOM_SECONDS * TIME_NS_PER_S - TIME_NS_PER_S);
    assert_string_equal(w->order, "");
    sim_run_for(w->sim, 2 * TIME_NS_PER_S);
    assert_string_equal(w->order, "012");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(w->waiters[i].err, ERR_BUDGET);
        const char *text = why_text(&w->waiters[i].why, ERR_BUDGET);
        assert_non_null(strstr(text, "in 30 s"));
        assert_non_null(strstr(text, "rows on their way"));
        assert_non_null(strstr(text, "raise memory: (it is 65536 KiB)"));
    }
    assert_int_equal(metric_get(&w->context, METRIC_ROOM_REFUSED), 3);
    budget_give(&w->rows, LIMIT);
}

static void leave_the_first(struct world *w)
{
    room_leave(&w->waiters[0].wait);
    room_leave(&w->waiters[0].wait); /* who does not wait has nothing to leave */
}

static void who_goes_away_frees_the_place(void **state)
{
    struct world *w = *state;
    on_loop(w, ask_three);
    on_loop(w, leave_the_first);
    assert_int_equal(metric_get(&w->context, METRIC_ROOM_WAITING), 2);
    budget_give(&w->rows, 300); /* too little for 0, enough for the others */
    sim_run_for(w->sim, 50 * TIME_NS_PER_MS);
    assert_string_equal(w->order, "12");
    budget_give(&w->rows, 1000);
}

static void fill(struct world *w)
{
    struct why why = WHY_NONE;
    assert_int_equal(budget_take(&w->rows, LIMIT), ERR_OK);
    for (int i = 0; i < ROOM_WAITS_MAX; i++) assert_int_equal(ask(w, i, 1, NULL), ERR_OK);
    assert_int_equal(ask(w, ROOM_WAITS_MAX, 1, &why), ERR_BUSY);
    assert_non_null(strstr(why_text(&why, ERR_BUSY), "256 requests wait"));
}

static void only_so_many_wait(void **state)
{
    struct world *w = *state;
    on_loop(w, fill);
    assert_int_equal(metric_get(&w->context, METRIC_ROOM_WAITING), ROOM_WAITS_MAX);
    assert_int_equal(metric_get(&w->context, METRIC_ROOM_REFUSED), 1);
    budget_give(&w->rows, LIMIT);
    sim_run_for(w->sim, 50 * TIME_NS_PER_MS);
    assert_int_equal(metric_get(&w->context, METRIC_ROOM_WAITING), 0);
    assert_int_equal(w->waiters[ROOM_WAITS_MAX - 1].told, 1);
    budget_give(&w->rows, ROOM_WAITS_MAX);
}

static void close_and_ask(struct world *w)
{
    struct why why = WHY_NONE;
    room_close(&w->room);
    assert_int_equal(ask(w, 3, 1, &why), ERR_CANCELLED);
}

static void closing_sends_all_away_once(void **state)
{
    struct world *w = *state;
    on_loop(w, ask_three);
    on_loop(w, close_and_ask);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(w->waiters[i].told, 1);
        assert_int_equal(w->waiters[i].err, ERR_CANCELLED);
    }
    budget_give(&w->rows, LIMIT);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_first_is_not_overtaken_by_those_that_need_less),
        T(who_has_waited_too_long_is_told_the_limit_and_the_way_out),
        T(who_goes_away_frees_the_place),
        T(only_so_many_wait),
        T(closing_sends_all_away_once),
    };
    return cmocka_run_group_tests_name("room", tests, NULL, NULL);
}
