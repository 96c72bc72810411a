/* channel_test.c - what one end writes the other one reads, on its own task, in order, bounded by
 * whoever looks. Each claim is run with several seeds: in as many orders of the two tasks. */
#include "base/timetext.h"
#include "loop/channel.h"
#include "os/sim.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

enum { SEEDS = 20 };

struct side {
    struct loop loop;
    struct os_stream *stream;
    struct job job;
    void (*step)(struct side *side);
    bool is_done;
    char got[4096];
    size_t size, close_at; /* closes itself once it has read so much; 0 = never */
    unsigned drained, closed;
    enum err err, wrote;
};

struct world {
    struct sim *sim;
    struct side here, there;
};

static void on_read(void *owner, const uint8_t *bytes, size_t size)
{
    struct side *s = owner;
    assert_true(loop_is_current(&s->loop) && s->size + size < sizeof s->got);
    memcpy(s->got + s->size, bytes, size);
    s->size += size;
    if (s->close_at && s->size >= s->close_at) os_stream_close(&s->stream);
}

static void on_drained(void *owner)
{
    struct side *s = owner;
    assert_int_equal(os_stream_queued(s->stream), 0);
    s->drained++;
}

static void on_closed(void *owner, enum err err, const char *text)
{
    struct side *s = owner;
    assert_true(loop_is_current(&s->loop) && text[0]);
    s->closed++;
    s->err = err;
}

static const struct os_stream_events events = {
    .on_read = on_read, .on_drained = on_drained, .on_closed = on_closed};

static void run_step(struct job *job)
{
    struct side *s = (struct side *)(void *)((char *)job - offsetof(struct side, job));
    s->step(s);
    s->is_done = true;
}

static void begin_on(struct side *s, void (*step)(struct side *side))
{
    s->is_done = false;
    s->step = step;
    s->job.run = run_step;
    loop_post(&s->loop, &s->job);
}

static void let_run(struct world *w)
{
    sim_run_for(w->sim, TIME_NS_PER_MS);
    assert_true(w->here.is_done && w->there.is_done);
}

static void on_side(struct world *w, struct side *s, void (*step)(struct side *side))
{
    begin_on(s, step);
    let_run(w);
}

static void own(struct side *s)
{
    os_stream_own(s->stream, &events, s);
    os_stream_pause(s->stream, false);
}

static void open_world(struct world *w, uint64_t seed)
{
    memset(w, 0, sizeof *w);
    w->sim = sim_new(seed);
    struct os *os = sim_node(w->sim, "n");
    assert_int_equal(loop_start(&w->here.loop, os, "here", 0, NULL), ERR_OK);
    assert_int_equal(loop_start(&w->there.loop, os, "there", 0, NULL), ERR_OK);
    assert_int_equal(channel_make(&w->here.loop, &w->there.loop, "10.0.0.7:99", &w->here.stream,
                                  &w->there.stream),
                     ERR_OK);
    w->here.is_done = w->there.is_done = true;
}

static void close_side(struct side *s)
{
    os_stream_close(&s->stream);
}

static void close_world(struct world *w)
{
    begin_on(&w->here, close_side);
    begin_on(&w->there, close_side);
    let_run(w);
    loop_stop(&w->here.loop);
    loop_stop(&w->there.loop);
    sim_free(w->sim);
}

static void for_seeds(void (*claim)(struct world *w))
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct world w;
        open_world(&w, seed);
        claim(&w);
        close_world(&w);
    }
}

static void write_numbers(struct side *s)
{
    for (int i = 0; i < 100 && s->stream; i++) {
        char text[16];
        int n = snprintf(text, sizeof text, "%d,", i);
        s->wrote = os_stream_write(s->stream, text, (size_t)n);
    }
}

static void check_numbers(const struct side *s)
{
    char expected[512] = "";
    for (int i = 0; i < 100; i++)
        snprintf(expected + strlen(expected), sizeof expected - strlen(expected), "%d,", i);
    assert_int_equal(s->size, strlen(expected));
    assert_memory_equal(s->got, expected, s->size);
}

static void both_ways(struct world *w)
{
    begin_on(&w->here, own);
    begin_on(&w->there, own);
    let_run(w);
    begin_on(&w->here, write_numbers);
    begin_on(&w->there, write_numbers);
    let_run(w);
    check_numbers(&w->here);
    check_numbers(&w->there);
    assert_true(w->here.drained && w->there.drained);
    assert_int_equal(os_stream_queued(w->here.stream), 0);
    assert_string_equal(os_stream_peer(w->there.stream), "10.0.0.7:99");
}

static void bytes_arrive_in_order_both_ways(void **state)
{
    (void)state;
    for_seeds(both_ways);
}

static void pause_side(struct side *s)
{
    os_stream_own(s->stream, &events, s);
    os_stream_pause(s->stream, true);
}

static void resume(struct side *s)
{
    size_t before = s->size;
    os_stream_pause(s->stream, false);
    assert_int_equal(s->size, before); /* never inside the call */
}

static void paused(struct world *w)
{
    begin_on(&w->there, pause_side);
    on_side(w, &w->here, own);
    on_side(w, &w->here, write_numbers);
    assert_int_equal(w->there.size, 0);
    assert_int_equal(w->here.drained, 0);
    assert_int_equal(os_stream_queued(w->here.stream), 290); /* all of it: not read is not gone */
    on_side(w, &w->there, resume);
    check_numbers(&w->there);
    assert_int_equal(w->here.drained, 1);
    assert_int_equal(os_stream_queued(w->here.stream), 0);
}

static void who_does_not_read_is_seen_by_who_writes(void **state)
{
    (void)state;
    for_seeds(paused);
}

static void write_and_close(struct side *s)
{
    write_numbers(s);
    os_stream_close(&s->stream);
}

static void closing(struct world *w)
{
    begin_on(&w->there, pause_side);
    on_side(w, &w->here, own);
    on_side(w, &w->here, write_and_close);
    assert_int_equal(w->there.closed, 0); /* there is something to read yet */
    on_side(w, &w->there, resume);
    check_numbers(&w->there);
    assert_int_equal(w->there.closed, 1);
    assert_int_equal(w->there.err, ERR_CLOSED);
    on_side(w, &w->there, write_numbers);
    assert_int_equal(w->there.wrote, ERR_CLOSED);
}

static void the_end_comes_behind_the_last_byte(void **state)
{
    (void)state;
    for_seeds(closing);
}

static void closed_inside(struct world *w)
{
    w->there.close_at = 5;
    begin_on(&w->there, own);
    on_side(w, &w->here, own);
    on_side(w, &w->here, write_numbers);
    assert_null(w->there.stream);
    assert_true(w->there.size >= 5 && w->there.size < 290);
    assert_int_equal(w->there.closed, 0);
    assert_int_equal(w->here.closed, 1);
}

static void an_owner_may_close_inside_an_event(void **state)
{
    (void)state;
    for_seeds(closed_inside);
}

static void both_close(struct world *w)
{
    begin_on(&w->here, write_and_close);
    begin_on(&w->there, write_and_close); /* in close_world nothing is left to close */
    let_run(w);
}

static void both_may_close_at_once_and_nothing_leaks(void **state)
{
    (void)state;
    for_seeds(both_close);
}

/* The task of one end is stopped by who holds the other one, which goes on with what it had. */
static void stop_there(struct side *s)
{
    struct world *w = (struct world *)(void *)((char *)s - offsetof(struct world, here));
    write_numbers(s);
    begin_on(&w->there, close_side);
    loop_stop(&w->there.loop);
    assert_int_equal(os_stream_write(s->stream, "x", 1), ERR_CLOSED);
    os_stream_close(&s->stream);
}

static void stopped(struct world *w)
{
    begin_on(&w->there, own);
    on_side(w, &w->here, own);
    on_side(w, &w->here, stop_there);
    struct os *os = w->here.loop.os;
    assert_int_equal(loop_start(&w->there.loop, os, "there", 0, NULL), ERR_OK);
}

static void an_end_outlives_the_other_ones_task(void **state)
{
    (void)state;
    for_seeds(stopped);
}

static void write_without_memory(struct side *s)
{
    mem_test_fail(1);
    s->wrote = os_stream_write(s->stream, "abc", 3);
    mem_test_fail(0);
}

static void starved(struct world *w)
{
    begin_on(&w->there, own);
    on_side(w, &w->here, own);
    on_side(w, &w->here, write_without_memory);
    assert_int_equal(w->here.wrote, ERR_NO_MEMORY);
    assert_int_equal(w->here.closed, 1);
    assert_int_equal(w->here.err, ERR_NO_MEMORY);
    on_side(w, &w->here, close_side);
    assert_int_equal(w->there.closed, 1);
}

static void what_cannot_be_sent_ends_the_stream(void **state)
{
    (void)state;
    for_seeds(starved);
}

static void owned_late(struct world *w)
{
    on_side(w, &w->here, write_without_memory);
    assert_int_equal(w->here.wrote, ERR_NO_MEMORY);
    assert_int_equal(w->here.closed, 0);
    on_side(w, &w->here, own);
    assert_int_equal(w->here.closed, 1);
    assert_int_equal(w->here.err, ERR_NO_MEMORY);
}

static void who_owns_an_end_late_hears_why_it_is_over(void **state)
{
    (void)state;
    for_seeds(owned_late);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_arrive_in_order_both_ways),
        cmocka_unit_test(who_does_not_read_is_seen_by_who_writes),
        cmocka_unit_test(the_end_comes_behind_the_last_byte),
        cmocka_unit_test(an_owner_may_close_inside_an_event),
        cmocka_unit_test(both_may_close_at_once_and_nothing_leaks),
        cmocka_unit_test(an_end_outlives_the_other_ones_task),
        cmocka_unit_test(what_cannot_be_sent_ends_the_stream),
        cmocka_unit_test(who_owns_an_end_late_hears_why_it_is_over),
    };
    return cmocka_run_group_tests_name("channel", tests, NULL, NULL);
}
