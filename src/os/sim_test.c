/* sim_test.c - claims about the simulated world: what its disk, clock, tasks and streams do that a
 * kind one would not. Where the seed decides, a claim is about many seeds: each outcome that is
 * allowed does come up, and none that is not. */
#include "os/sim.h"
#include "base/mem.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

enum { SEEDS = 60, MS = 1000000 };

/* ---- disk: helpers that run outside all tasks ---- */

static struct os_file *open_file(struct os *os, const char *path)
{
    struct os_file *file = NULL;
    enum err err = os->ops->file_open(os, path, OS_FILE_WRITE | OS_FILE_CREATE, &file, NULL);
    assert_int_equal(err, ERR_OK);
    return file;
}

static void write_file(struct os *os, const char *path, const char *text, bool sync)
{
    struct os_file *file = open_file(os, path);
    assert_int_equal(os->ops->file_write(file, 0, text, strlen(text), NULL), ERR_OK);
    if (sync) assert_int_equal(os->ops->file_sync(file, NULL), ERR_OK);
    os->ops->file_close(file);
}

/* What the file holds, or "(none)". */
static const char *contents(struct os *os, const char *path)
{
    static char text[8192];
    struct os_file *file;
    size_t got;
    if (os->ops->file_open(os, path, 0, &file, NULL)) return "(none)";
    assert_int_equal(os->ops->file_read(file, 0, text, sizeof text - 1, &got, NULL), ERR_OK);
    os->ops->file_close(file);
    text[got] = 0;
    return text;
}

static void a_synced_write_survives_a_power_loss_and_another_may_vanish(void **state)
{
    unsigned kept = 0, lost = 0;
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct sim *sim = sim_new(seed);
        struct os *os = sim_node(sim, "a");
        write_file(os, "f", "old", true);
        assert_int_equal(os->ops->path_sync(os, "/", NULL), ERR_OK);
        write_file(os, "f", "new", false);
        assert_string_equal(contents(os, "f"), "new");
        sim_power_loss(os);
        bool is_new = strcmp(contents(os, "f"), "new") == 0;
        if (!is_new) assert_string_equal(contents(os, "f"), "old");
        kept += is_new;
        lost += !is_new;
        sim_free(sim);
    }
    assert_true(kept > 5 && lost > 5);
}

static void a_write_tears_at_a_sector_and_nowhere_else(void **state)
{
    enum { SECTORS = 8 };
    unsigned torn = 0;
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct sim *sim = sim_new(seed);
        struct os *os = sim_node(sim, "a");
        char text[SECTORS * 512 + 1] = "";
        memset(text, 'o', sizeof text - 1);
        write_file(os, "f", text, true);
        assert_int_equal(os->ops->path_sync(os, "/", NULL), ERR_OK);
        memset(text, 'n', sizeof text - 1);
        write_file(os, "f", text, false);
        sim_power_loss(os);
        const char *is = contents(os, "f");
        assert_int_equal(strlen(is), sizeof text - 1);
        unsigned fresh = 0;
        for (size_t s = 0; s < SECTORS; s++) {
            for (size_t i = 1; i < 512; i++) assert_int_equal(is[s * 512], is[s * 512 + i]);
            fresh += is[s * 512] == 'n';
        }
        torn += fresh > 0 && fresh < SECTORS;
        sim_free(sim);
    }
    assert_true(torn > 5);
}

static void a_name_needs_a_sync_of_its_folder(void **state)
{
    unsigned created = 0, renamed = 0, gone = 0;
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct sim *sim = sim_new(seed);
        struct os *os = sim_node(sim, "a");
        assert_int_equal(os->ops->path_make(os, "d/e", NULL), ERR_OK);
        write_file(os, "d/e/one", "1", true);
        assert_int_equal(os->ops->path_rename(os, "d/e/one", "d/e/two", NULL), ERR_OK);
        sim_power_loss(os);
        struct os_path_info info;
        assert_int_equal(os->ops->path_info(os, "d/e", &info, NULL), ERR_OK); /* path_make is */
        bool one = strcmp(contents(os, "d/e/one"), "1") == 0;
        bool two = strcmp(contents(os, "d/e/two"), "1") == 0;
        assert_false(one && two); /* a rename is one change */
        created += one;
        renamed += two;
        gone += !one && !two;
        sim_free(sim);
    }
    assert_true(created > 5 && renamed > 5 && gone > 5);
}

static void a_removed_file_may_come_back_until_its_folder_is_synced(void **state)
{
    unsigned back = 0;
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct sim *sim = sim_new(seed);
        struct os *os = sim_node(sim, "a");
        write_file(os, "f", "1", true);
        assert_int_equal(os->ops->path_sync(os, "/", NULL), ERR_OK);
        assert_int_equal(os->ops->path_remove(os, "f", NULL), ERR_OK);
        assert_string_equal(contents(os, "f"), "(none)");
        if (seed % 2) assert_int_equal(os->ops->path_sync(os, "/", NULL), ERR_OK);
        sim_power_loss(os);
        bool is_back = strcmp(contents(os, "f"), "1") == 0;
        if (seed % 2) assert_false(is_back);
        back += is_back;
        sim_free(sim);
    }
    assert_true(back > 5);
}

static void a_kill_keeps_what_was_written(void **state)
{
    struct sim *sim = sim_new(1);
    struct os *os = sim_node(sim, "a");
    (void)state;
    write_file(os, "f", "unsynced", false);
    sim_kill(os);
    assert_string_equal(contents(os, "f"), "unsynced");
    sim_free(sim);
}

static void after_a_failed_sync_the_next_one_succeeds_and_promises_nothing(void **state)
{
    unsigned lost = 0;
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct sim *sim = sim_new(seed);
        struct os *os = sim_node(sim, "a");
        write_file(os, "f", "old", true);
        assert_int_equal(os->ops->path_sync(os, "/", NULL), ERR_OK);
        struct os_file *file = open_file(os, "f");
        assert_int_equal(os->ops->file_write(file, 0, "new", 3, NULL), ERR_OK);
        sim_fault_arm(os, SIM_FAULT_IO, 1);
        assert_int_equal(os->ops->file_sync(file, NULL), ERR_IO);
        assert_int_equal(os->ops->file_sync(file, NULL), ERR_OK);
        os->ops->file_close(file);
        assert_string_equal(contents(os, "f"), "new"); /* what is in memory is still read */
        sim_power_loss(os);
        lost += strcmp(contents(os, "f"), "old") == 0;
        sim_free(sim);
    }
    assert_true(lost > 5 && lost < SEEDS);
}

static void the_armed_call_fails_and_only_as_its_kind_says(void **state)
{
    struct sim *sim = sim_new(7);
    struct os *os = sim_node(sim, "a");
    struct os_file *file = open_file(os, "f");
    (void)state;
    sim_fault_arm(os, SIM_FAULT_IO, 2);
    assert_int_equal(os->ops->file_write(file, 0, "a", 1, NULL), ERR_OK);
    assert_int_equal(os->ops->file_write(file, 1, "b", 1, NULL), ERR_IO);
    assert_int_equal(os->ops->file_write(file, 2, "c", 1, NULL), ERR_OK);
    assert_true(sim_fault_happened(os) && !sim_crashed(os));
    assert_int_equal(sim_fault_calls(os), 3);

    sim_fault_arm(os, SIM_FAULT_IO_FOREVER, 1);
    char byte;
    size_t got;
    for (int i = 0; i < 3; i++)
        assert_int_equal(os->ops->file_write(file, 0, "a", 1, NULL), ERR_IO);
    assert_int_equal(os->ops->file_read(file, 0, &byte, 1, &got, NULL), ERR_OK);
    assert_int_equal(os->ops->path_remove(os, "f", NULL), ERR_IO);

    sim_fault_arm(os, SIM_FAULT_FULL, 1);
    assert_int_equal(os->ops->file_write(file, 3, "dd", 2, NULL), ERR_DISK_FULL);
    assert_int_equal(os->ops->file_write(file, 0, "a", 1, NULL), ERR_OK); /* does not grow */
    struct os_file *other;
    assert_int_equal(os->ops->file_open(os, "g", OS_FILE_WRITE | OS_FILE_CREATE, &other, NULL),
                     ERR_DISK_FULL);
    sim_disk_grow(os);
    assert_int_equal(os->ops->file_write(file, 3, "dd", 2, NULL), ERR_OK);

    sim_fault_arm(os, SIM_FAULT_CRASH, 1);
    assert_int_equal(os->ops->file_write(file, 0, "z", 1, NULL), ERR_IO);
    assert_true(sim_crashed(os));
    assert_int_equal(os->ops->file_read(file, 0, &byte, 1, &got, NULL), ERR_IO);
    os->ops->file_close(file);
    sim_kill(os);
    assert_false(sim_crashed(os));
    assert_int_equal(contents(os, "f")[0], 'a');
    sim_free(sim);
}

/* ---- tasks and time ---- */

struct actor {
    struct os *os;
    struct os_task *task;
    char letter;
    struct buf *trace;
    struct actor *other; /* woken by each run */
    int runs_left;
    struct os_timer *timer;
    int64_t delay_ns, fired_ns;
};

static void act(void *arg)
{
    struct actor *a = arg;
    buf_add_char(a->trace, a->letter);
    if (a->runs_left-- > 0) a->os->ops->task_wake(a->other->task);
}

static void start_actor(struct actor *a, void (*run)(void *arg))
{
    assert_int_equal(a->os->ops->task_start(a->os, "actor", 0, run, a, &a->task, NULL), ERR_OK);
}

/* The order in which three tasks run that wake each other. */
static void trace_of(uint64_t seed, char out[128])
{
    struct sim *sim = sim_new(seed);
    struct os *os = sim_node(sim, "a");
    struct buf trace = BUF_EMPTY;
    struct actor actors[3];
    for (int i = 0; i < 3; i++)
        actors[i] = (struct actor){.os = os,
                                   .letter = (char)('a' + i),
                                   .trace = &trace,
                                   .other = &actors[(i + 1) % 3],
                                   .runs_left = 10};
    for (int i = 0; i < 3; i++) start_actor(&actors[i], act);
    while (sim_step(sim)) {
    }
    (void)str_copy(out, 128, buf_str(&trace));
    for (int i = 0; i < 3; i++) actors[i].runs_left = 0; /* the last run wakes nobody */
    for (int i = 0; i < 3; i++) os->ops->task_stop(actors[i].task);
    buf_free(&trace);
    sim_free(sim);
}

static void a_seed_replays_and_seeds_differ(void **state)
{
    char first[128], one[128], again[128];
    unsigned orders = 0;
    (void)state;
    trace_of(0, first);
    for (uint64_t seed = 1; seed < 20; seed++) {
        trace_of(seed, one);
        trace_of(seed, again);
        assert_string_equal(one, again);
        orders += strcmp(one, first) != 0;
    }
    assert_true(orders > 10);
}

static void on_timer(void *arg)
{
    struct actor *a = arg;
    a->fired_ns = a->os->ops->mono_ns(a->os);
    a->os->ops->timer_close(a->timer);
    a->timer = NULL;
}

static void set_timer(void *arg)
{
    struct actor *a = arg;
    if (a->timer || a->fired_ns) return;
    assert_int_equal(a->os->ops->timer_make(a->task, on_timer, a, &a->timer), ERR_OK);
    a->os->ops->timer_set(a->timer, a->delay_ns);
}

static bool has_fired(void *arg)
{
    return ((struct actor *)arg)->fired_ns != 0;
}

static void time_jumps_to_what_is_due(void **state)
{
    struct sim *sim = sim_new(3);
    struct os *os = sim_node(sim, "a");
    int64_t hour_ns = 3600 * (int64_t)1000 * MS, start_ns = os->ops->mono_ns(os);
    struct actor late = {.os = os, .delay_ns = 5 * hour_ns}, soon = {.os = os, .delay_ns = hour_ns};
    (void)state;
    start_actor(&late, set_timer);
    start_actor(&soon, set_timer);
    assert_false(sim_run_until(sim, has_fired, &late, 3 * hour_ns));
    assert_true(soon.fired_ns >= start_ns + hour_ns && soon.fired_ns < start_ns + hour_ns + 5 * MS);
    sim_wall_set(os, 0);
    assert_true(os->ops->wall_ns(os) == 0);
    assert_true(sim_run_until(sim, has_fired, &late, 3 * hour_ns));
    assert_true(late.fired_ns >= start_ns + 5 * hour_ns && os->ops->wall_ns(os) > hour_ns);
    int64_t now_ns = os->ops->mono_ns(os);
    sim_run_for(sim, hour_ns); /* nothing happens any more, the time passes all the same */
    assert_true(os->ops->mono_ns(os) == now_ns + hour_ns);
    os->ops->task_stop(late.task);
    os->ops->task_stop(soon.task);
    sim_free(sim);
}

/* ---- streams ---- */

/* One end of a connection; the server sends back what it gets. */
struct end {
    struct os *os;
    struct os_task *task;
    const char *address;
    struct os_stream *stream;
    struct os_listener *listener;
    struct buf in;
    unsigned reads;
    bool is_open, drained, stop, close_at_once;
    enum err closed;
    int64_t read_ns;
};

static void end_open(void *owner)
{
    ((struct end *)owner)->is_open = true;
}

static void end_read(void *owner, const uint8_t *bytes, size_t size)
{
    struct end *e = owner;
    buf_add(&e->in, bytes, size);
    e->reads++;
    e->read_ns = e->os->ops->mono_ns(e->os);
    if (!e->listener) return;
    assert_int_equal(os_stream_write(e->stream, bytes, size), ERR_OK);
    if (e->close_at_once) os_stream_close(&e->stream);
}

static void end_drained(void *owner)
{
    ((struct end *)owner)->drained = true;
}

static void end_closed(void *owner, enum err err, const char *text)
{
    assert_non_null(text);
    ((struct end *)owner)->closed = err;
}

static const struct os_stream_events end_events = {end_open, end_read, end_drained, end_closed};

static void end_accept(void *owner, struct os_stream *stream)
{
    struct end *e = owner;
    assert_null(e->stream);
    e->stream = stream;
    os_stream_own(stream, &end_events, e);
}

static void end_run(void *arg)
{
    struct end *e = arg;
    struct os_address address;
    if (e->stop) {
        os_stream_close(&e->stream);
        if (e->listener) e->os->ops->listener_close(e->listener);
        e->listener = NULL;
    } else if (e->address) {
        assert_int_equal(os_address_tcp(str_of(e->address), &address, NULL), ERR_OK);
        assert_int_equal(
            e->os->ops->stream_connect(e->task, &address, &end_events, e, &e->stream, NULL),
            ERR_OK);
    } else {
        assert_int_equal(os_address_tcp(STR("127.0.0.1:8420"), &address, NULL), ERR_OK);
        assert_int_equal(
            e->os->ops->listen(e->task, &address, end_accept, e, &e->listener, NULL, NULL), ERR_OK);
    }
}

struct pair {
    struct sim *sim;
    struct end server, client;
};

static void pair_start(struct pair *p, uint64_t seed)
{
    *p = (struct pair){.sim = sim_new(seed)};
    p->server.os = sim_node(p->sim, "server");
    p->client.os = sim_node(p->sim, "client");
    p->client.address = "server:8420";
    struct end *ends[] = {&p->server, &p->client};
    for (int i = 0; i < 2; i++) {
        struct os *os = ends[i]->os;
        assert_int_equal(os->ops->task_start(os, "end", 0, end_run, ends[i], &ends[i]->task, NULL),
                         ERR_OK);
        while (i == 0 && !p->server.listener) assert_true(sim_step(p->sim));
    }
}

static void pair_stop(struct pair *p)
{
    struct end *ends[] = {&p->client, &p->server};
    for (int i = 0; i < 2; i++) {
        ends[i]->stop = true;
        ends[i]->os->ops->task_stop(ends[i]->task);
        buf_free(&ends[i]->in);
    }
    sim_free(p->sim);
}

static bool is_open(void *arg)
{
    struct pair *p = arg;
    return p->client.is_open && p->server.stream;
}

enum { ECHO_BYTES = 200000 };

static bool is_echoed(void *arg)
{
    return ((struct pair *)arg)->client.in.size == ECHO_BYTES;
}

static void bytes_between_two_nodes_arrive_whole_in_order_and_in_pieces(void **state)
{
    static uint8_t sent[ECHO_BYTES];
    (void)state;
    for (size_t i = 0; i < sizeof sent; i++) sent[i] = (uint8_t)(i * 7 + i / 251);
    for (uint64_t seed = 0; seed < 10; seed++) {
        struct pair p;
        pair_start(&p, seed);
        assert_true(sim_run_until(p.sim, is_open, &p, INT64_MAX / 4));
        assert_int_equal(os_stream_write(p.client.stream, sent, sizeof sent), ERR_OK);
        assert_true(os_stream_queued(p.client.stream) > 0); /* more than any kernel takes */
        assert_true(sim_run_until(p.sim, is_echoed, &p, 3600 * (int64_t)1000 * MS));
        assert_memory_equal(p.client.in.at, sent, sizeof sent);
        assert_true(p.client.reads > 3 && p.client.drained);
        pair_stop(&p);
    }
}

static bool has_read(void *arg)
{
    return ((struct pair *)arg)->client.in.size > 0;
}

static bool is_closed(void *arg)
{
    return ((struct pair *)arg)->client.closed != ERR_OK;
}

static void a_stream_has_latency_and_a_cut_ends_it(void **state)
{
    struct pair p;
    (void)state;
    pair_start(&p, 5);
    sim_net(p.sim, "client", "server", 40 * MS, false);
    assert_true(sim_run_until(p.sim, is_open, &p, INT64_MAX / 4));
    int64_t start_ns = p.client.os->ops->mono_ns(p.client.os);
    assert_int_equal(os_stream_write(p.client.stream, "x", 1), ERR_OK);
    assert_true(sim_run_until(p.sim, has_read, &p, 1000 * MS));
    assert_true(p.client.read_ns >= start_ns + 80 * MS && p.client.read_ns < start_ns + 90 * MS);
    sim_net(p.sim, "client", "", 0, true);
    assert_true(sim_run_until(p.sim, is_closed, &p, 1000 * MS));
    assert_int_equal(os_stream_write(p.client.stream, "x", 1), ERR_CLOSED);
    os_stream_close(&p.client.stream);
    p.client.closed = ERR_OK;
    p.client.os->ops->task_wake(p.client.task); /* connects again: refused */
    assert_true(sim_run_until(p.sim, is_closed, &p, 1000 * MS));
    assert_int_equal(p.client.closed, ERR_CONNECT);
    pair_stop(&p);
}

static void what_was_written_before_a_close_still_arrives(void **state)
{
    struct pair p;
    (void)state;
    pair_start(&p, 6);
    p.server.close_at_once = true;
    assert_true(sim_run_until(p.sim, is_open, &p, INT64_MAX / 4));
    assert_int_equal(os_stream_write(p.client.stream, "x", 1), ERR_OK);
    assert_true(sim_run_until(p.sim, is_closed, &p, 1000 * MS));
    assert_int_equal(p.client.closed, ERR_CLOSED);
    assert_int_equal(p.client.in.size, 1);
    pair_stop(&p);
}

static void a_crash_cuts_the_node_off(void **state)
{
    struct pair p;
    (void)state;
    pair_start(&p, 8);
    assert_true(sim_run_until(p.sim, is_open, &p, INT64_MAX / 4));
    sim_fault_arm(p.server.os, SIM_FAULT_CRASH, 1);
    assert_int_equal(p.server.os->ops->path_make(p.server.os, "d", NULL), ERR_IO);
    assert_true(sim_run_until(p.sim, is_closed, &p, 1000 * MS));
    assert_int_equal(p.client.in.size, 0);
    pair_stop(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_synced_write_survives_a_power_loss_and_another_may_vanish),
        cmocka_unit_test(a_write_tears_at_a_sector_and_nowhere_else),
        cmocka_unit_test(a_name_needs_a_sync_of_its_folder),
        cmocka_unit_test(a_removed_file_may_come_back_until_its_folder_is_synced),
        cmocka_unit_test(a_kill_keeps_what_was_written),
        cmocka_unit_test(after_a_failed_sync_the_next_one_succeeds_and_promises_nothing),
        cmocka_unit_test(the_armed_call_fails_and_only_as_its_kind_says),
        cmocka_unit_test(a_seed_replays_and_seeds_differ),
        cmocka_unit_test(time_jumps_to_what_is_due),
        cmocka_unit_test(bytes_between_two_nodes_arrive_whole_in_order_and_in_pieces),
        cmocka_unit_test(a_stream_has_latency_and_a_cut_ends_it),
        cmocka_unit_test(what_was_written_before_a_close_still_arrives),
        cmocka_unit_test(a_crash_cuts_the_node_off),
    };
    return cmocka_run_group_tests_name("simulated world", tests, NULL, NULL);
}
