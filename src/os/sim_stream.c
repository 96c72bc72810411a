/* sim_stream.c - the simulated network: streams between tasks of any nodes. See sim.h.
 *
 * A connection is two `struct sim_stream` that know each other; each holds what is on its way to
 * it, in order, with the time from which it may be read. The seed decides how much of that one
 * on_read gets (a byte, some, all: nobody may rely on the pieces of a write) and how much of a
 * write the kernel takes at once. Closing is as with TCP: what the kernel has still arrives, then
 * the end; who closes with something unread resets the peer, which may lose what it had not read
 * yet.
 *
 * An address is a node's name and a port; "127.0.0.1", "localhost" and a Unix socket's path mean
 * the own node. Where a listener says it listens (loopback or all) makes no difference. */
#include "os/sim_priv.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LATENCY_NS = 100000, /* unless sim_net says otherwise */
    LATENCY_SPREAD_NS = 100000,
    WINDOW_BYTES_MIN = 512, /* what the kernel holds for one direction */
    WINDOW_BYTES_MAX = 65536,
    EPHEMERAL_PORT = 40000,
};

struct chunk {
    struct chunk *next;
    int64_t due_ns;
    size_t size, used;
    uint8_t bytes[];
};

enum state {
    CONNECTING, /* the outcome comes at due_ns */
    ACCEPTING,  /* waits for its listener's on_accept */
    OPEN,
    MOVING, /* between two tasks */
    ENDED,  /* on_closed was told */
};

struct sim_stream {
    struct os_stream base; /* first */
    struct sim_stream *next;
    struct os_task *task;
    struct sim_stream *peer; /* NULL: none yet, or closed */
    enum state state;
    bool paused;
    struct chunk *in, **in_end; /* on its way here */
    size_t in_bytes, window;    /* window: how many bytes may be on their way here */
    int64_t end_ns;             /* the peer closed; INT64_MAX: not yet */
    int64_t reset_ns;           /* the connection broke; INT64_MAX: not */
    int64_t due_ns;
    struct buf pending; /* what the kernel did not take yet */
    struct os_address address;
    struct os_listener *listener; /* ACCEPTING */
    char name[OS_HOST_BYTES + 8];
};

struct os_listener {
    struct os_listener *next;
    struct os_task *task;
    struct os_address address;
    void (*on_accept)(void *owner, struct os_stream *stream);
    void *owner;
};

static struct sim_stream *sim_of(struct os_stream *s)
{
    return (struct sim_stream *)s;
}

static struct sim *world_of(const struct sim_stream *s)
{
    return s->task->node->sim;
}

/* ---- the wires ---- */

static bool matches(const char *rule, const char *name)
{
    return !rule[0] || strcmp(rule, name) == 0;
}

/* The newest rule about the two; NULL: none. */
static const struct sim_net_rule *wire(const struct sim_node *a, const struct sim_node *b)
{
    const struct sim_net_rule *r = a->sim->net;
    while (r && !(matches(r->a, a->name) && matches(r->b, b->name)) &&
           !(matches(r->a, b->name) && matches(r->b, a->name)))
        r = r->next;
    return r;
}

static bool is_cut(const struct sim_node *a, const struct sim_node *b)
{
    const struct sim_net_rule *rule = a == b ? NULL : wire(a, b);
    return a->disk.dead || b->disk.dead || (rule && rule->cut);
}

static int64_t arrival_ns(const struct sim_node *a, const struct sim_node *b)
{
    const struct sim_net_rule *rule = a == b ? NULL : wire(a, b);
    int64_t latency_ns = rule ? rule->latency_ns : LATENCY_NS;
    return a->sim->now_ns + latency_ns + (int64_t)sim_random(a->sim, LATENCY_SPREAD_NS);
}

static void break_stream(struct sim_stream *s, int64_t at_ns)
{
    if (at_ns < s->reset_ns) s->reset_ns = at_ns;
}

void sim_net(struct sim *sim, const char *from, const char *to, int64_t latency_ns, bool cut)
{
    struct sim_net_rule *rule = sim_hardware(sizeof *rule);
    *rule = (struct sim_net_rule){.next = sim->net, .latency_ns = latency_ns, .cut = cut};
    MUST(str_copy(rule->a, sizeof rule->a, str_of(from)));
    MUST(str_copy(rule->b, sizeof rule->b, str_of(to)));
    sim->net = rule;
    for (struct sim_stream *s = sim->streams; cut && s; s = s->next)
        if (s->peer && is_cut(s->task->node, s->peer->task->node)) break_stream(s, sim->now_ns);
}

void sim_cut_node(struct sim_node *node)
{
    for (struct sim_stream *s = node->sim->streams; s; s = s->next)
        if (s->task->node == node || (s->peer && s->peer->task->node == node))
            break_stream(s, node->sim->now_ns);
}

/* ---- making and freeing ---- */

static const struct os_stream_ops stream_ops;

static struct sim_stream *stream_new(struct os_task *task, enum state state)
{
    struct sim *sim = task->node->sim;
    struct sim_stream *s = mem_alloc_zero(1, sizeof *s);
    if (!s) return NULL;
    s->base.ops = &stream_ops;
    s->task = task;
    s->state = state;
    s->in_end = &s->in;
    s->end_ns = s->reset_ns = INT64_MAX;
    s->window = WINDOW_BYTES_MIN + (size_t)sim_random(sim, WINDOW_BYTES_MAX - WINDOW_BYTES_MIN);
    s->next = sim->streams;
    sim->streams = s;
    task->owned++;
    return s;
}

static void drop_in(struct sim_stream *s)
{
    while (s->in) {
        struct chunk *chunk = s->in;
        s->in = chunk->next;
        free(chunk);
    }
    s->in_end = &s->in;
    s->in_bytes = 0;
}

static void stream_free(struct sim_stream *s)
{
    struct sim_stream **link = &world_of(s)->streams;
    while (*link != s) link = &(*link)->next;
    *link = s->next;
    s->task->owned--;
    drop_in(s);
    buf_free(&s->pending);
    mem_free(s);
}

/* ---- writing ---- */

/* As much as the peer's window has room for. */
static size_t send(struct sim_stream *s, const uint8_t *bytes, size_t size)
{
    struct sim_stream *peer = s->peer;
    if (!peer) return size; /* nobody reads it any more */
    size_t room = peer->window > peer->in_bytes ? peer->window - peer->in_bytes : 0;
    if (size > room) size = room;
    if (!size) return 0;
    struct chunk *chunk = sim_hardware(sizeof *chunk + size);
    chunk->size = size;
    chunk->due_ns = arrival_ns(s->task->node, peer->task->node);
    memcpy(chunk->bytes, bytes, size);
    *peer->in_end = chunk;
    peer->in_end = &chunk->next;
    peer->in_bytes += size;
    return size;
}

static enum err stream_write(struct os_stream *base, const void *bytes, size_t size)
{
    struct sim_stream *s = sim_of(base);
    sim_must_be_on(s->task);
    if (s->state != OPEN || s->reset_ns <= world_of(s)->now_ns) return ERR_CLOSED;
    if (!s->peer) break_stream(s, arrival_ns(s->task->node, s->task->node));
    size_t done = s->pending.size ? 0 : send(s, bytes, size);
    if (done == size) return ERR_OK;
    buf_add(&s->pending, (const char *)bytes + done, size - done);
    return buf_failed(&s->pending) ? ERR_NO_MEMORY : ERR_OK;
}

static size_t stream_queued(const struct os_stream *base)
{
    return ((const struct sim_stream *)base)->pending.size;
}

static bool can_send(const struct sim_stream *s)
{
    return s->state == OPEN && s->pending.size && (!s->peer || s->peer->in_bytes < s->peer->window);
}

static void carry_send(void *object)
{
    struct sim_stream *s = object;
    buf_drop_front(&s->pending, send(s, (const uint8_t *)s->pending.at, s->pending.size));
    if (s->pending.size == 0 && s->base.events && s->base.events->on_drained)
        s->base.events->on_drained(s->base.owner);
}

/* ---- reading ---- */

static void tell_closed(struct sim_stream *s, enum err err, const char *text)
{
    s->state = ENDED;
    if (s->base.events && s->base.events->on_closed)
        s->base.events->on_closed(s->base.owner, err, text);
}

static size_t arrived_bytes(const struct sim_stream *s)
{
    size_t size = 0;
    for (const struct chunk *c = s->in; c && c->due_ns <= world_of(s)->now_ns; c = c->next)
        size += c->size - c->used;
    return size;
}

/* Takes bytes off the wire. */
static void take(struct sim_stream *s, uint8_t *to, size_t size)
{
    s->in_bytes -= size;
    for (size_t n; size; size -= n, to += n) {
        struct chunk *c = s->in;
        MUST(c); /* arrived_bytes counted them */
        n = c->size - c->used < size ? c->size - c->used : size;
        memcpy(to, c->bytes + c->used, n);
        c->used += n;
        if (c->used < c->size) continue;
        s->in = c->next;
        if (!s->in) s->in_end = &s->in;
        free(c);
    }
}

static void carry_read(void *object)
{
    struct sim_stream *s = object;
    struct sim *sim = world_of(s);
    size_t size = arrived_bytes(s);
    if (size > WINDOW_BYTES_MAX) size = WINDOW_BYTES_MAX;
    uint64_t piece = sim_random(sim, 8);
    if (piece == 0)
        size = 1;
    else if (piece <= 2)
        size = 1 + (size_t)sim_random(sim, size);
    uint8_t *bytes = sim_hardware(size);
    take(s, bytes, size);
    if (s->base.events && s->base.events->on_read)
        s->base.events->on_read(s->base.owner, bytes, size); /* may close the stream */
    free(bytes);
}

static void carry_end(void *object)
{
    tell_closed(object, ERR_CLOSED, "the peer closed the connection");
}

static void carry_reset(void *object)
{
    struct sim_stream *s = object;
    bool connecting = s->state == CONNECTING;
    drop_in(s);
    tell_closed(s, connecting ? ERR_CONNECT : ERR_CLOSED, "connection reset by peer");
}

static void stream_pause(struct os_stream *base, bool paused)
{
    sim_must_be_on(sim_of(base)->task);
    sim_of(base)->paused = paused;
}

static const char *stream_peer(const struct os_stream *base)
{
    return ((const struct sim_stream *)base)->name;
}

/* ---- closing ---- */

static void leave_peer(struct sim_stream *s)
{
    struct sim_stream *peer = s->peer;
    if (!peer) return;
    s->peer = NULL;
    peer->peer = NULL;
    int64_t at_ns = arrival_ns(s->task->node, peer->task->node);
    if (s->in_bytes) break_stream(peer, at_ns);
    peer->end_ns = at_ns;
}

static void stream_close(struct os_stream *base)
{
    struct sim_stream *s = sim_of(base);
    sim_must_be_on(s->task);
    leave_peer(s);
    stream_free(s);
}

enum err sim_stream_leave(struct os_stream *base, struct os_socket **socket)
{
    struct sim_stream *s = sim_of(base);
    sim_must_be_on(s->task);
    MUST(s->state == OPEN && s->pending.size == 0);
    s->state = MOVING;
    s->task->owned--;
    os_stream_own(base, NULL, NULL);
    *socket = (struct os_socket *)s;
    return ERR_OK;
}

enum err sim_stream_join(struct os_task *task, struct os_socket *socket,
                         const struct os_stream_events *events, void *owner,
                         struct os_stream **stream)
{
    struct sim_stream *s = (struct sim_stream *)socket;
    sim_must_be_on(task);
    MUST(s->state == MOVING && s->task->node == task->node);
    s->task = task;
    s->state = OPEN;
    task->owned++;
    os_stream_own(&s->base, events, owner);
    *stream = &s->base;
    return ERR_OK;
}

void sim_socket_drop(struct os *os, struct os_socket *socket)
{
    struct sim_stream *s = (struct sim_stream *)socket;
    (void)os;
    s->task->owned++; /* as stream_free counts */
    leave_peer(s);
    stream_free(s);
}

static const struct os_stream_ops stream_ops = {
    .write = stream_write,
    .queued = stream_queued,
    .pause = stream_pause,
    .close = stream_close,
    .peer = stream_peer,
};

/* ---- connecting ---- */

static struct sim_node *node_at(struct sim_node *from, const struct os_address *address)
{
    if (os_address_is_loopback(address)) return from;
    for (struct sim_node *n = from->sim->nodes; n; n = n->next)
        if (strcmp(n->name, address->host) == 0) return n;
    return NULL;
}

static bool same_place(const struct os_address *a, const struct os_address *b)
{
    if (a->kind != b->kind) return false;
    return a->kind == OS_ADDRESS_TCP ? a->port == b->port : strcmp(a->host, b->host) == 0;
}

static struct os_listener *listener_at(struct sim_node *node, const struct os_address *address)
{
    struct os_listener *l = node->sim->listeners;
    while (l && !(l->task->node == node && same_place(&l->address, address))) l = l->next;
    return l;
}

static void carry_connect(void *object)
{
    struct sim_stream *s = object;
    struct sim_node *here = s->task->node, *there = node_at(here, &s->address);
    struct os_listener *listener = there ? listener_at(there, &s->address) : NULL;
    if (!listener || is_cut(here, there)) {
        tell_closed(s, ERR_CONNECT, there ? "connection refused" : "no such host");
        return;
    }
    struct sim_stream *other = stream_new(listener->task, ACCEPTING);
    if (!other) { /* stays in the backlog until somebody gives up */
        s->state = OPEN;
        break_stream(s, arrival_ns(here, there));
    } else {
        snprintf(other->name, sizeof other->name, "%s:%u", here->name,
                 EPHEMERAL_PORT + here->next_port++ % 20000U);
        other->listener = listener;
        other->peer = s;
        s->peer = other;
        s->state = OPEN;
    }
    if (s->base.events && s->base.events->on_open) s->base.events->on_open(s->base.owner);
}

static void carry_accept(void *object)
{
    struct sim_stream *s = object;
    struct os_listener *listener = s->listener;
    s->state = OPEN;
    s->listener = NULL;
    listener->on_accept(listener->owner, &s->base);
}

enum err sim_stream_connect(struct os_task *task, const struct os_address *address,
                            const struct os_stream_events *events, void *owner,
                            struct os_stream **stream, struct why *why)
{
    sim_must_be_on(task);
    if (address->kind == OS_ADDRESS_SERIAL)
        return why_set(why, ERR_UNSUPPORTED, "%s: serial lines are not simulated", address->host);
    struct sim_stream *s = stream_new(task, CONNECTING);
    if (!s) return ERR_NO_MEMORY;
    struct sim_node *there = node_at(task->node, address);
    s->address = *address;
    s->due_ns = arrival_ns(task->node, there ? there : task->node);
    os_address_print(address, s->name, sizeof s->name);
    os_stream_own(&s->base, events, owner);
    *stream = &s->base;
    return ERR_OK;
}

/* ---- listening ---- */

enum err sim_listen(struct os_task *task, const struct os_address *address,
                    void (*on_accept)(void *owner, struct os_stream *stream), void *owner,
                    struct os_listener **out, struct os_address *bound, struct why *why)
{
    sim_must_be_on(task);
    MUST(address->kind == OS_ADDRESS_TCP || address->kind == OS_ADDRESS_UNIX);
    struct os_address at = *address;
    while (at.kind == OS_ADDRESS_TCP && at.port == 0) {
        at.port = task->node->next_port++;
        if (listener_at(task->node, &at)) at.port = 0;
    }
    if (listener_at(task->node, &at)) {
        char text[OS_HOST_BYTES + 8];
        os_address_print(&at, text, sizeof text);
        return why_set(why, ERR_ADDRESS_IN_USE, "listen on %s: address already in use", text);
    }
    struct os_listener *l = mem_alloc_zero(1, sizeof *l);
    if (!l) return ERR_NO_MEMORY;
    *l = (struct os_listener){.task = task, .address = at, .on_accept = on_accept, .owner = owner};
    l->next = task->node->sim->listeners;
    task->node->sim->listeners = l;
    task->owned++;
    if (bound) *bound = at;
    *out = l;
    return ERR_OK;
}

void sim_listener_close(struct os_listener *listener)
{
    sim_must_be_on(listener->task);
    struct sim *sim = listener->task->node->sim;
    for (struct sim_stream *s = sim->streams, *next; s; s = next) { /* nobody will accept them */
        next = s->next;
        if (s->listener != listener) continue;
        break_stream(s->peer ? s->peer : s, sim->now_ns);
        leave_peer(s);
        stream_free(s);
    }
    struct os_listener **link = &sim->listeners;
    while (*link != listener) link = &(*link)->next;
    *link = listener->next;
    listener->task->owned--;
    mem_free(listener);
}

/* ---- the scheduler's questions ---- */

static void offer_open(struct sim *sim, struct sim_due *due, struct sim_stream *s)
{
    if (s->reset_ns < INT64_MAX) {
        sim_offer(sim, due, s->reset_ns, carry_reset, s, s->task);
        if (s->reset_ns <= sim->now_ns) return;
    }
    if (can_send(s)) sim_offer(sim, due, sim->now_ns, carry_send, s, s->task);
    if (s->paused) return;
    if (s->in)
        sim_offer(sim, due, s->in->due_ns, carry_read, s, s->task);
    else if (s->end_ns < INT64_MAX)
        sim_offer(sim, due, s->end_ns, carry_end, s, s->task);
}

void sim_offer_streams(struct sim *sim, struct sim_due *due)
{
    for (struct sim_stream *s = sim->streams; s; s = s->next) {
        switch (s->state) {
        case CONNECTING: sim_offer(sim, due, s->due_ns, carry_connect, s, s->task); break;
        case ACCEPTING: sim_offer(sim, due, sim->now_ns, carry_accept, s, s->task); break;
        case OPEN: offer_open(sim, due, s); break;
        case MOVING:
        case ENDED: break;
        }
    }
}
