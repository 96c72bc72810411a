/* carry_test.c - a client whose bytes another loop moves reads what the home wrote, without a hole,
 * or hears that the connection is over, and so does the home. */
#include "base/timetext.h"
#include "net/carry.h"
#include "os/sim.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

enum { SEEDS = 4, PIECE = 4096, FILLING = 40, MORE = 4 };

struct side {
    struct loop loop;
    struct os_stream *stream;
    struct job job;
    void (*step)(struct side *side);
    bool is_done;
    unsigned closed, pieces; /* pieces: the home's, of which each is one byte over and over */
    enum err wrote;
    uint8_t *got; /* the client's */
    size_t size;
};

struct world {
    struct sim *sim;
    struct side home, client; /* home is the first: steps find the world */
    struct carriers *carriers;
    struct os_listener *listener;
    struct os_address address;
};

static struct world *world_of(struct side *home)
{
    return (struct world *)(void *)((char *)home - offsetof(struct world, home));
}

static void on_read(void *owner, const uint8_t *bytes, size_t size)
{
    struct side *s = owner;
    s->got = realloc(s->got, s->size + size);
    memcpy(s->got + s->size, bytes, size);
    s->size += size;
}

static void on_closed(void *owner, enum err err, const char *text)
{
    (void)err;
    (void)text;
    ((struct side *)owner)->closed++;
}

static const struct os_stream_events events = {.on_read = on_read, .on_closed = on_closed};

static void on_accept(void *owner, struct os_stream *stream)
{
    struct world *w = owner;
    struct os *os = w->home.loop.os;
    struct os_socket *socket = NULL;
    assert_int_equal(os->ops->stream_leave(stream, &socket), ERR_OK);
    struct carrier *carrier = carriers_pick(w->carriers, 1);
    assert_non_null(carrier);
    assert_int_equal(carry(carrier, &w->home.loop, socket, NULL, "client:1", &w->home.stream),
                     ERR_OK);
    os_stream_own(w->home.stream, &events, &w->home);
    os_stream_pause(w->home.stream, false);
}

/* ---- steps ---- */

static void run_step(struct job *job)
{
    struct side *s = (struct side *)(void *)((char *)job - offsetof(struct side, job));
    s->step(s);
    s->is_done = true;
}

static void on_side(struct world *w, struct side *s, void (*step)(struct side *side))
{
    s->is_done = false;
    s->step = step;
    s->job.run = run_step;
    loop_post(&s->loop, &s->job);
    sim_run_for(w->sim, 20 * TIME_NS_PER_MS);
    assert_true(s->is_done);
}

static void listen(struct side *home)
{
    struct world *w = world_of(home);
    struct os *os = home->loop.os;
    struct os_address any = {.kind = OS_ADDRESS_TCP, .host = "127.0.0.1"};
    w->carriers = carriers_new(os);
    assert_non_null(w->carriers);
    assert_int_equal(
        os->ops->listen(home->loop.task, &any, on_accept, w, &w->listener, &w->address, NULL),
        ERR_OK);
}

static void dial(struct side *client)
{
    struct world *w = (void *)((char *)client - offsetof(struct world, client));
    assert_int_equal(client->loop.os->ops->stream_connect(client->loop.task, &w->address, &events,
                                                          client, &client->stream, NULL),
                     ERR_OK);
    os_stream_pause(client->stream, true);
}

static void write_pieces(struct side *home, unsigned count)
{
    uint8_t piece[PIECE];
    for (unsigned i = 0; i < count && !home->closed && !home->wrote; i++) {
        memset(piece, (int)++home->pieces, sizeof piece);
        home->wrote = os_stream_write(home->stream, piece, sizeof piece);
    }
}

static void fill(struct side *home)
{
    write_pieces(home, FILLING);
}

static void write_more(struct side *home)
{
    write_pieces(home, MORE);
}

static void read_on(struct side *client)
{
    os_stream_pause(client->stream, false);
}

static void close_side(struct side *s)
{
    os_stream_close(&s->stream);
}

static void stop(struct side *home)
{
    struct world *w = world_of(home);
    home->loop.os->ops->listener_close(w->listener);
    carriers_free(w->carriers);
}

/* ---- worlds ---- */

static void open_world(struct world *w, uint64_t seed)
{
    memset(w, 0, sizeof *w);
    w->sim = sim_new(seed);
    struct os *os = sim_node(w->sim, "n");
    assert_int_equal(loop_start(&w->home.loop, os, "home", 0, NULL), ERR_OK);
    assert_int_equal(loop_start(&w->client.loop, os, "client", 0, NULL), ERR_OK);
    on_side(w, &w->home, listen);
    on_side(w, &w->client, dial);
    assert_non_null(w->home.stream);
}

static void close_world(struct world *w)
{
    on_side(w, &w->home, close_side);
    on_side(w, &w->client, close_side);
    on_side(w, &w->home, stop);
    loop_stop(&w->home.loop);
    loop_stop(&w->client.loop);
    sim_free(w->sim);
    free(w->client.got);
}

/* ---- claims ---- */

static void check_whole_or_over(const struct world *w)
{
    for (size_t i = 0; i < w->client.size; i++)
        assert_int_equal(w->client.got[i], (uint8_t)(i / PIECE + 1));
    if (w->client.size == (size_t)w->home.pieces * PIECE) return;
    assert_true(w->home.wrote || w->home.closed); /* the home knows */
}

/* A client that reads slowly, and no memory for what waits for it. */
static bool starve(uint64_t seed, uint64_t nth)
{
    struct world w;
    open_world(&w, seed);
    on_side(&w, &w.home, fill);
    mem_test_fail(nth);
    on_side(&w, &w.home, write_more);
    bool is_reached = mem_test_count() >= nth;
    mem_test_fail(0);
    on_side(&w, &w.home, write_more);
    on_side(&w, &w.client, read_on);
    sim_run_for(w.sim, TIME_NS_PER_S);
    check_whole_or_over(&w);
    close_world(&w);
    return is_reached;
}

static void no_byte_is_left_out_without_memory(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        uint64_t nth = 1;
        while (starve(seed, nth)) nth++;
        assert_true(nth > 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_byte_is_left_out_without_memory),
    };
    return cmocka_run_group_tests_name("carry", tests, NULL, NULL);
}
