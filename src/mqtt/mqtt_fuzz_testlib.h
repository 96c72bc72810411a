/* mqtt_fuzz_testlib.h - what the fuzz targets share that run a whole broker: a simulated world
 * (os/sim.h) with a node, whose main task the broker is on, and a peer beside it.
 *
 * A target has a `struct fuzz_world` first in its own, and gives the functions that run on the two
 * tasks. The clock of that world stands still but for sim_run_for and sim_run_until, so an input
 * replays exactly. */
#ifndef MQTT_MQTT_FUZZ_TESTLIB_H
#define MQTT_MQTT_FUZZ_TESTLIB_H

#include "base/timetext.h"
#include "mqtt/broker_priv.h"
#include "os/sim.h"
#include <stdlib.h>
#include <string.h>

enum { FUZZ_INPUT_MAX = 4096, FUZZ_PIECE_MIN = 16, FUZZ_MEMORY_MAX = 64 * 1024 * 1024 };
#define FUZZ_LIMIT_NS (60 * TIME_NS_PER_S)

struct fuzz_world {
    struct sim *sim;
    struct os *node, *peer;
    struct os_task *main_task, *peer_task;
    struct context context;
    struct loop loop;
    struct broker *broker;
    struct os_listener *listener;
    struct os_stream *stream; /* the peer's */
    struct buf input;         /* what the peer sends, in … */
    size_t piece;             /* … pieces of so many bytes */
    bool is_running, wants_stop, is_stopped;
};

/* The journal's answers come at once: what waits for them is the soak's matter. */
static inline void fuzz_keep_note(void *arg, struct broker_note *note)
{
    static uint64_t last;
    (void)arg;
    note->seq = ++last;
    note->err = ERR_OK;
    broker_note_done(note);
}

/* A zeroed world; `seed` also says how large pieces are. */
static void fuzz_world_open(struct fuzz_world *w, uint64_t seed, size_t pieces)
{
    w->sim = sim_new(seed);
    if (!w->sim) abort();
    w->node = sim_node(w->sim, "node");
    w->peer = sim_node(w->sim, "peer");
    if (!w->node || !w->peer) abort();
    w->context.os = w->node;
    w->context.diag_level = DIAG_ERROR + 1;
    w->piece = pieces ? pieces * FUZZ_PIECE_MIN : FUZZ_INPUT_MAX;
    budget_init(&w->context.memory, "fuzz", NULL, FUZZ_MEMORY_MAX);
}

/* Starts both tasks with `w`; the node's main loop is the first one's. */
static void fuzz_world_start(struct fuzz_world *w, void (*main_run)(void *),
                             void (*peer_run)(void *))
{
    struct why why = WHY_NONE;
    if (w->peer->ops->task_start(w->peer, "peer", 0, peer_run, w, &w->peer_task, &why) ||
        w->node->ops->task_start(w->node, "main", 0, main_run, w, &w->main_task, &why))
        abort();
    loop_adopt(&w->loop, w->node, "main", w->main_task);
    w->context.main = &w->loop;
}

static bool fuzz_is_stopped(void *arg)
{
    return ((struct fuzz_world *)arg)->is_stopped;
}

/* A peer that reads nothing of what it gets, and closes when it is closed. */
static inline void fuzz_peer_read(void *owner, const uint8_t *bytes, size_t size)
{
    (void)owner;
    (void)bytes;
    (void)size;
}

static inline void fuzz_peer_closed(void *owner, enum err err, const char *text)
{
    struct fuzz_world *w = owner;
    (void)err;
    (void)text;
    os_stream_close(&w->stream);
}

/* The broker's end, on the main task. */
static void fuzz_stop_broker(struct fuzz_world *w)
{
    w->wants_stop = false;
    broker_stop(w->broker);
    broker_free(w->broker);
    w->is_stopped = true;
}

/* Waits for that and ends both tasks. What was taken was given back. */
static void fuzz_world_close(struct fuzz_world *w)
{
    w->wants_stop = true;
    w->node->ops->task_wake(w->main_task);
    if (!sim_run_until(w->sim, fuzz_is_stopped, w, FUZZ_LIMIT_NS)) abort();
    os_stream_close(&w->stream);
    if (w->listener) w->peer->ops->listener_close(w->listener);
    w->node->ops->task_stop(w->main_task);
    w->peer->ops->task_stop(w->peer_task);
    sim_free(w->sim);
    buf_free(&w->input);
    if (atomic_load(&w->context.memory.used_bytes)) abort();
}

#endif
