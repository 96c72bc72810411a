/* mqtt_connection_fuzz.c - property: whatever a client sends over one connection, and in whatever
 * pieces, the broker goes on, keeps within its memory, and gives all of it back at its end.
 *
 * A broker runs in the simulated world (os/sim.h); a client of that world connects, sends the bytes
 * and goes away. First byte: bits 0-1 = a good CONNECT of 5.0, 3.1.1, 3.1 comes before them, or
 * none; bit 2 = the session is kept, and the connection made twice; the rest = the size of the
 * pieces. */
/* covers: src/mqtt/connection.c src/mqtt/packets_in.c src/mqtt/session.c */
#include "base/timetext.h"
#include "mqtt/broker_priv.h"
#include "os/sim.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);

enum { INPUT_MAX = 4096, PIECE_MIN = 16, MEMORY_MAX = 64 * 1024 * 1024 };
#define LIMIT_NS (INT64_C(60) * 1000000000)

struct world {
    struct sim *sim;
    struct os *node, *peer;
    struct os_task *main_task, *client_task;
    struct context context;
    struct loop loop;
    struct broker *broker;
    struct os_listener *listener;
    struct os_stream *stream;
    struct buf input;
    size_t sent, piece;
    bool is_running, wants_stop, is_stopped, wants_client;
};

/* ---- the broker's side ---- */

static void let_in(void *arg, struct broker_login *login)
{
    (void)arg;
    login->identity = identity_new("fuzz", "admin");
    login->reason = MQTT_REASON_SERVER_BUSY;
    broker_login_done(login);
}

/* The journal's answers come at once: what waits for them is the soak's matter. */
static void keep_note(void *arg, struct broker_note *note)
{
    static uint64_t last;
    (void)arg;
    note->seq = ++last;
    note->err = ERR_OK;
    broker_note_done(note);
}

static void on_accept(void *owner, struct os_stream *stream)
{
    struct world *w = owner;
    broker_accept(w->broker, stream, NULL);
}

static void start(struct world *w)
{
    const struct broker_hooks hooks = {.login = let_in, .journal = keep_note};
    struct os_address address;
    struct why why = WHY_NONE;
    w->is_running = true;
    if (broker_new(&w->context, &broker_defaults, "fuzz", &w->broker, &why) ||
        broker_start(w->broker, &hooks, &why) ||
        os_address_tcp(STR("127.0.0.1:1883"), &address, &why) ||
        w->node->ops->listen(w->main_task, &address, on_accept, w, &w->listener, NULL, &why))
        abort();
}

static void stop(struct world *w)
{
    w->wants_stop = false;
    w->node->ops->listener_close(w->listener);
    broker_stop(w->broker);
    broker_free(w->broker);
    w->is_stopped = true;
}

static void main_run(void *arg)
{
    struct world *w = arg;
    if (!w->loop.task) return;
    loop_run_jobs(&w->loop);
    if (!w->is_running) start(w);
    if (w->wants_stop) stop(w);
}

/* ---- the client's ---- */

static void client_open(void *owner)
{
    struct world *w = owner;
    while (w->stream && w->sent < w->input.size) {
        size_t left = w->input.size - w->sent, size = left < w->piece ? left : w->piece;
        if (os_stream_write(w->stream, w->input.at + w->sent, size)) break;
        w->sent += size;
    }
}

static void client_read(void *owner, const uint8_t *bytes, size_t size)
{
    (void)owner;
    (void)bytes;
    (void)size;
}

static void client_closed(void *owner, enum err err, const char *text)
{
    struct world *w = owner;
    (void)err;
    (void)text;
    os_stream_close(&w->stream);
}

static const struct os_stream_events events = {client_open, client_read, NULL, client_closed};

static void client_run(void *arg)
{
    struct world *w = arg;
    struct os_address address;
    if (!w->wants_client) return;
    w->wants_client = false;
    w->sent = 0;
    os_stream_close(&w->stream);
    if (os_address_tcp(STR("node:1883"), &address, NULL) ||
        w->peer->ops->stream_connect(w->client_task, &address, &events, w, &w->stream, NULL))
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

static bool is_stopped(void *arg)
{
    return ((struct world *)arg)->is_stopped;
}

static bool is_started(void *arg)
{
    return ((struct world *)arg)->is_running;
}

static void talk(struct world *w)
{
    w->wants_client = true;
    w->peer->ops->task_wake(w->client_task);
    sim_run_for(w->sim, 3 * TIME_NS_PER_S);
}

static void run(struct world *w, bool twice)
{
    struct why why = WHY_NONE;
    if (w->node->ops->task_start(w->node, "main", 0, main_run, w, &w->main_task, &why) ||
        w->peer->ops->task_start(w->peer, "client", 0, client_run, w, &w->client_task, &why))
        abort();
    loop_adopt(&w->loop, w->node, "main", w->main_task);
    w->context.main = &w->loop;
    w->node->ops->task_wake(w->main_task);
    if (!sim_run_until(w->sim, is_started, w, LIMIT_NS)) abort();
    talk(w);
    if (twice) talk(w);
    w->wants_stop = true;
    w->node->ops->task_wake(w->main_task);
    if (!sim_run_until(w->sim, is_stopped, w, LIMIT_NS)) abort();
    os_stream_close(&w->stream);
    w->node->ops->task_stop(w->main_task);
    w->peer->ops->task_stop(w->client_task);
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size)
{
    static struct world w; /* large */
    if (size < 2 || size > INPUT_MAX) return 0;
    memset(&w, 0, sizeof w);
    w.sim = sim_new(bytes[0]);
    if (!w.sim) return 0;
    w.node = sim_node(w.sim, "node");
    w.peer = sim_node(w.sim, "peer");
    w.context.os = w.node;
    w.context.diag_level = DIAG_ERROR + 1;
    w.piece = bytes[0] >> 3 ? (size_t)(bytes[0] >> 3) * PIECE_MIN : INPUT_MAX;
    budget_init(&w.context.memory, "fuzz", NULL, MEMORY_MAX);
    buf_add(&w.input, connects[bytes[0] & 3].bytes, connects[bytes[0] & 3].size);
    buf_add(&w.input, bytes + 1, size - 1);
    run(&w, bytes[0] & 4);
    sim_free(w.sim);
    buf_free(&w.input);
    if (atomic_load(&w.context.memory.used_bytes)) abort(); /* what was taken was given back */
    return 0;
}
