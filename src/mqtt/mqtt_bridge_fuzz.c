/* mqtt_bridge_fuzz.c - property: whatever a remote broker sends to a bridge, and in whatever
 * pieces, the node goes on, keeps within its memory, and gives all of it back at its end.
 *
 * A broker with one bridge runs in the simulated world (os/sim.h); some messages wait in the
 * bridge's queue. The remote broker is the input: it answers each connection with it. First byte:
 * bit 0 = the bridge speaks 3.1.1; bit 1 = a good CONNACK comes before the bytes; bit 2 = the
 * settings change meanwhile; bit 3 = the bridge is deleted before the node stops; the rest = the
 * size of the pieces. */
/* covers: src/mqtt/bridge.c src/mqtt/bridge_dial.c src/mqtt/bridge_map.c */
#include "mqtt/bridge_priv.h"
#include "mqtt/command.h"
#include "mqtt/mqtt_fuzz_testlib.h"

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);

enum { WAITING = 5 };

struct world {
    struct fuzz_world base; /* first */
    struct broker_command commands[WAITING];
    uint8_t flags;
    bool wants_change;
};

/* ---- the node ---- */

static void refuse(void *arg, struct broker_login *login)
{
    (void)arg;
    login->reason = MQTT_REASON_NOT_AUTHORIZED;
    broker_login_done(login);
}

static void on_published(struct completion *c)
{
    (void)c;
}

static void put_bridge(struct world *w, uint16_t keep_alive_s)
{
    static const struct bridge_topic topics[] = {
        {.filter = {"out/#", 5}, .remote_prefix = {"far/", 4}, .is_out = true, .qos = 2},
        {.filter = {"#", 1}, .local_prefix = {"in/", 3}, .is_in = true, .qos = 2},
    };
    struct bridge_settings *s = bridge_settings_new();
    struct why why = WHY_NONE;
    if (!s || os_address_tcp(STR("peer:1883"), &s->address, &why)) abort();
    s->ns = STR("default");
    s->key = STR("default.fuzz");
    s->client_id = STR("millrace-fuzz");
    s->is_enabled = true;
    s->version = w->flags & 1 ? MQTT_3_1_1 : MQTT_5;
    s->keep_alive_s = keep_alive_s;
    s->queue = (struct session_limits){.messages = 100, .bytes = 1 << 20, .age_s = 30};
    s->topic_count = 2;
    s->topics = arena_dup(&s->arena, topics, sizeof topics);
    if (!s->topics || broker_bridge_put(w->base.broker, s)) abort();
}

static void start(struct world *w)
{
    const struct broker_hooks hooks = {.login = refuse, .journal = fuzz_keep_note};
    struct why why = WHY_NONE;
    w->base.is_running = true;
    if (broker_new(&w->base.context, &broker_defaults, "fuzz", &w->base.broker, &why)) abort();
    broker_set_node(w->base.broker, "0123456789abcdef");
    if (broker_start(w->base.broker, &hooks, &why)) abort();
    put_bridge(w, 2);
    if (broker_bridges_settle(w->base.broker)) abort();
    for (size_t i = 0; i < WAITING; i++) {
        struct broker_command *c = &w->commands[i];
        c->order = BROKER_PUBLISH;
        c->topic = STR("out/x");
        c->payload = STR("payload");
        c->qos = (uint8_t)(i % 3);
        completion_init(&c->completion, &w->base.loop, on_published);
        broker_command(w->base.broker, c);
    }
}

static void stop(struct world *w)
{
    bool removes = w->flags & 8;
    if (removes && broker_bridge_remove(w->base.broker, STR("default"), STR("default.fuzz")))
        abort();
    fuzz_stop_broker(&w->base);
}

static void main_run(void *arg)
{
    struct world *w = arg;
    if (!w->base.loop.task || !w->base.listener) return; /* the peer first */
    loop_run_jobs(&w->base.loop);
    if (!w->base.is_running) start(w);
    if (w->wants_change) put_bridge(w, 3);
    w->wants_change = false;
    if (w->base.wants_stop) stop(w);
}

/* ---- the remote broker ---- */

static void peer_closed(void *owner, enum err err, const char *text)
{
    struct world *w = owner;
    (void)err;
    (void)text;
    os_stream_close(&w->base.stream);
}

static const struct os_stream_events events = {.on_closed = peer_closed};

static void on_accept(void *owner, struct os_stream *stream)
{
    struct world *w = owner;
    os_stream_close(&w->base.stream);
    w->base.stream = stream;
    os_stream_own(stream, &events, w);
    for (size_t sent = 0; w->base.stream && sent < w->base.input.size;) {
        size_t left = w->base.input.size - sent, size = left < w->base.piece ? left : w->base.piece;
        if (os_stream_write(w->base.stream, w->base.input.at + sent, size)) break;
        sent += size;
    }
}

static void peer_run(void *arg)
{
    struct world *w = arg;
    struct os_address address;
    struct why why = WHY_NONE;
    if (w->base.listener) return;
    if (os_address_tcp(STR("peer:1883"), &address, &why) ||
        w->base.peer->ops->listen(w->base.peer_task, &address, on_accept, w, &w->base.listener,
                                  NULL, &why))
        abort();
}

/* ---- one input ---- */

static void run(struct world *w)
{
    struct fuzz_world *base = &w->base;
    fuzz_world_start(base, main_run, peer_run);
    base->peer->ops->task_wake(base->peer_task);
    sim_run_for(base->sim, TIME_NS_PER_S / 10);
    base->node->ops->task_wake(base->main_task);
    sim_run_for(base->sim, 4 * TIME_NS_PER_S);
    w->wants_change = w->flags & 4;
    base->node->ops->task_wake(base->main_task);
    sim_run_for(base->sim, 4 * TIME_NS_PER_S);
    fuzz_world_close(base);
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size)
{
    static const char accepted_3[] = {0x20, 2, 0, 0}, accepted_5[] = {0x20, 3, 0, 0, 0};
    static struct world w; /* large */
    if (size < 2 || size > FUZZ_INPUT_MAX) return 0;
    memset(&w, 0, sizeof w);
    fuzz_world_open(&w.base, bytes[0], bytes[0] >> 4);
    w.flags = bytes[0] & 15;
    if (w.flags & 2 && w.flags & 1) buf_add(&w.base.input, accepted_3, sizeof accepted_3);
    if (w.flags & 2 && !(w.flags & 1)) buf_add(&w.base.input, accepted_5, sizeof accepted_5);
    buf_add(&w.base.input, bytes + 1, size - 1);
    run(&w);
    return 0;
}
