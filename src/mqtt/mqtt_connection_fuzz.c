/* mqtt_connection_fuzz.c - property: whatever a client sends over one connection, and in whatever
 * pieces, the broker goes on, keeps within its memory, and gives all of it back at its end.
 *
 * A broker runs in the simulated world (os/sim.h); a client of that world connects, sends the bytes
 * and goes away. First byte: bits 0-1 = a good CONNECT of 5.0, 3.1.1, 3.1 comes before them, or
 * none; bit 2 = the session is kept, and the connection made twice; the rest = the size of the
 * pieces. */
/* covers: src/mqtt/connection.c src/mqtt/packets_in.c src/mqtt/session.c src/mqtt/session_send.c
   src/mqtt/session_subscribe.c src/mqtt/session_will.c */
#include "mqtt/mqtt_fuzz_testlib.h"

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);

struct world {
    struct fuzz_world base;       /* first */
    struct os_listener *listener; /* the broker's */
    size_t sent;
    bool wants_client;
};

/* ---- the broker's side ---- */

static void let_in(void *arg, struct broker_login *login)
{
    (void)arg;
    login->identity = identity_new("fuzz", "admin");
    login->reason = MQTT_REASON_SERVER_BUSY;
    broker_login_done(login);
}

static void on_accept(void *owner, struct os_stream *stream)
{
    struct world *w = owner;
    broker_accept(w->base.broker, stream, &(struct broker_entry){0});
}

static void start(struct world *w)
{
    const struct broker_hooks hooks = {.login = let_in, .journal = fuzz_keep_note};
    struct os_address address;
    struct why why = WHY_NONE;
    w->base.is_running = true;
    if (broker_new(&w->base.context, &broker_defaults, "fuzz", &w->base.broker, &why) ||
        broker_start(w->base.broker, &hooks, &why) ||
        os_address_tcp(STR("127.0.0.1:1883"), &address, &why) ||
        w->base.node->ops->listen(w->base.main_task, &address, on_accept, w, &w->listener, NULL,
                                  &why))
        abort();
}

static void stop(struct world *w)
{
    w->base.node->ops->listener_close(w->listener);
    fuzz_stop_broker(&w->base);
}

static void main_run(void *arg)
{
    struct world *w = arg;
    if (!w->base.loop.task) return;
    loop_run_jobs(&w->base.loop);
    if (!w->base.is_running) start(w);
    if (w->base.wants_stop) stop(w);
}

/* ---- the client's ---- */

static void client_open(void *owner)
{
    struct world *w = owner;
    while (w->base.stream && w->sent < w->base.input.size) {
        size_t left = w->base.input.size - w->sent,
               size = left < w->base.piece ? left : w->base.piece;
        if (os_stream_write(w->base.stream, w->base.input.at + w->sent, size)) break;
        w->sent += size;
    }
}

static const struct os_stream_events events = {client_open, fuzz_peer_read, NULL, fuzz_peer_closed};

static void client_run(void *arg)
{
    struct world *w = arg;
    struct os_address address;
    if (!w->wants_client) return;
    w->wants_client = false;
    w->sent = 0;
    os_stream_close(&w->base.stream);
    if (os_address_tcp(STR("node:1883"), &address, NULL) ||
        w->base.peer->ops->stream_connect(w->base.peer_task, &address, &events, w, &w->base.stream,
                                          NULL))
        abort();
}

/* ---- one input ---- */

static const struct {
    const char *bytes;
    size_t size;
} connects[] = {
    {"\x10\x13\x00\x04MQTT\x05\x00\x00\x3c\x05\x11\x00\x00\x00\x64\x00\x01k", 21},
    {"\x10\x0d\x00\x04MQTT\x04\x00\x00\x3c\x00\x01k", 15},
    {"\x10\x0f\x00\x06MQIsdp\x03\x00\x00\x3c\x00\x01k", 17},
    {"", 0},
};

static bool is_started(void *arg)
{
    return ((struct fuzz_world *)arg)->is_running;
}

static void talk(struct world *w)
{
    w->wants_client = true;
    w->base.peer->ops->task_wake(w->base.peer_task);
    sim_run_for(w->base.sim, 3 * TIME_NS_PER_S);
}

static void run(struct world *w, bool twice)
{
    struct fuzz_world *base = &w->base;
    fuzz_world_start(base, main_run, client_run);
    base->node->ops->task_wake(base->main_task);
    if (!sim_run_until(base->sim, is_started, w, FUZZ_LIMIT_NS)) abort();
    talk(w);
    if (twice) talk(w);
    fuzz_world_close(base);
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size)
{
    static struct world w; /* large */
    if (size < 2 || size > FUZZ_INPUT_MAX) return 0;
    memset(&w, 0, sizeof w);
    fuzz_world_open(&w.base, bytes[0], bytes[0] >> 3);
    buf_add(&w.base.input, connects[bytes[0] & 3].bytes, connects[bytes[0] & 3].size);
    buf_add(&w.base.input, bytes + 1, size - 1);
    run(&w, bytes[0] & 4);
    return 0;
}
