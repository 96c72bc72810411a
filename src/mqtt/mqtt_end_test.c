/* mqtt_end_test.c - a broker that ends while the log still has what acknowledgements wait for: the
 * log's answers come when the connections are gone. */
#include "mqtt/mqtt_fuzz_testlib.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

struct world {
    struct fuzz_world base; /* first */
    struct os_listener *listener;
    struct broker_note *held[8];
    unsigned held_count;
    struct job answer;
    bool has_connected;
};

/* CONNECT of 3.1.1, kept session; a retained PUBLISH of QoS 1. */
static const char bytes[] = "\x10\x0d\x00\x04MQTT\x04\x00\x00\x3c\x00\x01k"
                            "\x33\x06\x00\x01t\x00\x01x";

static void let_in(void *arg, struct broker_login *login)
{
    (void)arg;
    login->identity = identity_new("test", "admin");
    broker_login_done(login);
}

static void on_accept(void *owner, struct os_stream *stream)
{
    struct world *w = owner;
    broker_accept(w->base.broker, stream, &(struct broker_entry){0});
}

static void hold_note(void *arg, struct broker_note *note)
{
    struct world *w = arg;
    assert_true(w->held_count < 8);
    w->held[w->held_count++] = note;
}

/* Runs before the broker's end; what it posts comes behind that. */
static void answer_all(struct job *job)
{
    struct world *w = (struct world *)(void *)((char *)job - offsetof(struct world, answer));
    for (unsigned i = 0; i < w->held_count; i++) {
        w->held[i]->seq = i + 1;
        broker_note_done(w->held[i]);
    }
}

static void main_run(void *arg)
{
    struct world *w = arg;
    const struct broker_hooks hooks = {.login = let_in, .journal = hold_note, .arg = w};
    struct os_address address;
    if (!w->base.loop.task) return;
    loop_run_jobs(&w->base.loop);
    if (!w->base.is_running) {
        w->base.is_running = true;
        assert_int_equal(
            broker_new(&w->base.context, &broker_defaults, "test", &w->base.broker, NULL), ERR_OK);
        assert_int_equal(broker_start(w->base.broker, &hooks, NULL), ERR_OK);
        assert_int_equal(os_address_tcp(STR("127.0.0.1:1883"), &address, NULL), ERR_OK);
        assert_int_equal(w->base.node->ops->listen(w->base.main_task, &address, on_accept, w,
                                                   &w->listener, NULL, NULL),
                         ERR_OK);
    }
    if (!w->base.wants_stop) return;
    w->base.node->ops->listener_close(w->listener);
    w->answer.run = answer_all;
    loop_post(&w->base.broker->loop, &w->answer);
    fuzz_stop_broker(&w->base);
}

static void client_open(void *owner)
{
    struct world *w = owner;
    assert_int_equal(os_stream_write(w->base.stream, bytes, sizeof bytes - 1), ERR_OK);
}

static const struct os_stream_events events = {client_open, fuzz_peer_read, NULL, fuzz_peer_closed};

static void client_run(void *arg)
{
    struct world *w = arg;
    struct os_address address;
    if (!w->base.is_running || w->has_connected) return;
    w->has_connected = true;
    assert_int_equal(os_address_tcp(STR("node:1883"), &address, NULL), ERR_OK);
    assert_int_equal(w->base.peer->ops->stream_connect(w->base.peer_task, &address, &events, w,
                                                       &w->base.stream, NULL),
                     ERR_OK);
}

static bool is_started(void *arg)
{
    return ((struct fuzz_world *)arg)->is_running;
}

static void answers_that_come_after_the_connections_end_find_nobody(void **state)
{
    struct world w = {0};
    (void)state;
    fuzz_world_open(&w.base, 1, 0);
    fuzz_world_start(&w.base, main_run, client_run);
    w.base.node->ops->task_wake(w.base.main_task);
    assert_true(sim_run_until(w.base.sim, is_started, &w, FUZZ_LIMIT_NS));
    w.base.peer->ops->task_wake(w.base.peer_task);
    sim_run_for(w.base.sim, 3 * TIME_NS_PER_S);
    assert_true(w.held_count > 0 && w.base.broker->journal.ack_last > 0);
    fuzz_world_close(&w.base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_that_come_after_the_connections_end_find_nobody),
    };
    return cmocka_run_group_tests_name("the broker's end", tests, NULL, NULL);
}
