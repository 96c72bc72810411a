/* test_stream.c - see test_stream.h. */
#include "net/test_stream.h"
#include "base/mem.h"
#include <string.h>

struct os_task {
    struct test_net *net;
};

struct os_timer {
    struct test_net *net;
    struct os_timer *next;
    int64_t when_ns; /* INT64_MAX = off */
    void (*fire)(void *arg);
    void *arg;
};

struct os_listener {
    struct test_net *net;
    void (*on_accept)(void *owner, struct os_stream *stream);
    void *owner;
};

struct test_end {
    struct os_stream base; /* first */
    struct test_net *net;
    struct test_end *other; /* NULL: closed by its owner */
    struct test_end *next;
    struct buf inbox, queued; /* arrived; written but not yet taken by the other side */
    size_t window_bytes, deliver_bytes;
    bool is_limited, is_paused, closed, other_closed, told_closed, wants_open, drain_due;
};

struct test_net {
    struct os os;
    struct os_task task;
    struct loop loop;
    struct context context;
    int64_t now_ns;
    uint64_t random;
    struct os_timer *timers;
    struct os_listener *listener;
    struct test_end *ends;
    bool wake;
};

static struct test_net *net_of(struct os *os)
{
    return (struct test_net *)os;
}
static struct test_end *end_of(struct os_stream *s)
{
    return (struct test_end *)s;
}

/* ---- streams ---- */

/* Moves what is queued into the other's inbox as far as its window allows. */
static void move(struct test_end *e)
{
    struct test_end *to = e->other;
    if (!to || to->closed || e->queued.size == 0) return;
    size_t n = e->queued.size;
    if (to->is_limited && n > to->window_bytes) n = to->window_bytes;
    if (n == 0) return;
    if (to->is_limited) to->window_bytes -= n;
    buf_add(&to->inbox, e->queued.at, n);
    if (buf_failed(&to->inbox)) { /* as a lost connection */
        buf_clear(&to->inbox);
        to->other_closed = e->other_closed = true;
        return;
    }
    buf_drop_front(&e->queued, n);
    if (e->queued.size == 0) e->drain_due = true;
}

static enum err end_write(struct os_stream *s, const void *bytes, size_t size)
{
    struct test_end *e = end_of(s);
    if (e->closed || e->other_closed || e->wants_open) return ERR_CLOSED;
    buf_add(&e->queued, bytes, size);
    if (buf_failed(&e->queued)) return ERR_NO_MEMORY;
    move(e);
    if (e->queued.size == 0)
        e->drain_due = false; /* the kernel took it at once: no event, as in the real world */
    return ERR_OK;
}

static size_t end_queued(const struct os_stream *s)
{
    return ((const struct test_end *)s)->queued.size;
}
static void end_pause(struct os_stream *s, bool paused)
{
    end_of(s)->is_paused = paused;
}
static const char *end_peer(const struct os_stream *s)
{
    (void)s;
    return "test:1";
}

static void end_close(struct os_stream *s)
{
    struct test_end *e = end_of(s);
    MUST(!e->closed);
    e->closed = true;
    if (e->other) e->other->other_closed = true;
}

static const struct os_stream_ops end_ops = {.write = end_write,
                                             .queued = end_queued,
                                             .pause = end_pause,
                                             .close = end_close,
                                             .peer = end_peer};

static struct test_end *end_new(struct test_net *net, size_t deliver_bytes)
{
    struct test_end *e = mem_alloc_zero(1, sizeof *e);
    if (!e) return NULL;
    e->base.ops = &end_ops;
    e->net = net;
    e->deliver_bytes = deliver_bytes;
    e->next = net->ends;
    net->ends = e;
    return e;
}

bool test_net_pair(struct test_net *net, size_t deliver_bytes, struct os_stream **a,
                   struct os_stream **b)
{
    struct test_end *x = end_new(net, deliver_bytes), *y = end_new(net, deliver_bytes);
    if (!x || !y) {
        if (x) x->closed = true;
        if (y) y->closed = true;
        return false;
    }
    x->other = y;
    y->other = x;
    *a = &x->base;
    *b = &y->base;
    return true;
}

/* One thing that an end has to be told; false when there is none. */
static bool step(struct test_end *e)
{
    const struct os_stream_events *events = e->base.events;
    if (e->closed || !events) return false;
    if (e->wants_open) {
        e->wants_open = false;
        if (events->on_open) events->on_open(e->base.owner);
        return true;
    }
    move(e);
    if (e->drain_due) {
        e->drain_due = false;
        if (events->on_drained) events->on_drained(e->base.owner);
        return true;
    }
    if (e->inbox.size && !e->is_paused) {
        size_t n = e->inbox.size;
        if (e->deliver_bytes && n > e->deliver_bytes) n = e->deliver_bytes;
        /* Out of the inbox first: the owner may close the stream inside on_read. */
        char *bytes = mem_dup(e->inbox.at, n);
        if (!bytes) return true; /* tried again */
        buf_drop_front(&e->inbox, n);
        if (events->on_read) events->on_read(e->base.owner, (const uint8_t *)bytes, n);
        mem_free(bytes);
        return true;
    }
    if (e->other_closed && !e->told_closed && !e->is_paused) {
        e->told_closed = true;
        if (events->on_closed)
            events->on_closed(e->base.owner, ERR_CLOSED, "the peer closed the connection");
        return true;
    }
    return false;
}

static void free_closed(struct test_net *net)
{
    for (struct test_end **at = &net->ends; *at;) {
        struct test_end *e = *at;
        if (!e->closed) {
            at = &e->next;
            continue;
        }
        *at = e->next;
        if (e->other) e->other->other = NULL;
        buf_free(&e->inbox);
        buf_free(&e->queued);
        mem_free(e);
    }
}

void test_net_run(struct test_net *net)
{
    for (bool moved = true; moved;) {
        moved = net->wake;
        net->wake = false;
        loop_run_jobs(&net->loop);
        free_closed(net);
        for (struct test_end *e = net->ends; e; e = e->next) moved |= step(e);
    }
    free_closed(net);
}

/* ---- timers ---- */

static enum err timer_make(struct os_task *task, void (*fire)(void *arg), void *arg,
                           struct os_timer **out)
{
    struct os_timer *timer = mem_alloc_zero(1, sizeof *timer);
    if (!timer) return ERR_NO_MEMORY;
    *timer = (struct os_timer){.net = task->net,
                               .next = task->net->timers,
                               .when_ns = INT64_MAX,
                               .fire = fire,
                               .arg = arg};
    task->net->timers = timer;
    *out = timer;
    return ERR_OK;
}

static void timer_set(struct os_timer *timer, int64_t delay_ns)
{
    timer->when_ns = delay_ns < 0 ? INT64_MAX : timer->net->now_ns + delay_ns;
}

static void timer_close(struct os_timer *timer)
{
    struct os_timer **at = &timer->net->timers;
    while (*at != timer) at = &(*at)->next;
    *at = timer->next;
    mem_free(timer);
}

void test_net_advance(struct test_net *net, int64_t ns)
{
    int64_t end = net->now_ns + ns;
    test_net_run(net);
    for (;;) {
        struct os_timer *first = NULL;
        for (struct os_timer *t = net->timers; t; t = t->next)
            if (t->when_ns <= end && (!first || t->when_ns < first->when_ns)) first = t;
        if (!first) break;
        if (first->when_ns > net->now_ns) net->now_ns = first->when_ns;
        first->when_ns = INT64_MAX;
        first->fire(first->arg);
        test_net_run(net);
    }
    net->now_ns = end;
}

/* ---- the rest of the world ---- */

static int64_t mono_ns(struct os *os)
{
    return net_of(os)->now_ns;
}
static int64_t wall_ns(struct os *os)
{
    return net_of(os)->now_ns + INT64_C(1700000000) * 1000000000;
}

/* xorshift64*: repeatable, which is what a test wants. */
static void fill_random(struct os *os, void *bytes, size_t size)
{
    struct test_net *net = net_of(os);
    unsigned char *out = bytes;
    for (size_t i = 0; i < size; i++) {
        net->random ^= net->random >> 12;
        net->random ^= net->random << 25;
        net->random ^= net->random >> 27;
        out[i] = (unsigned char)((net->random * UINT64_C(2685821657736338717)) >> 56);
    }
}

static void task_wake(struct os_task *task)
{
    task->net->wake = true;
}
static bool task_is_current(const struct os_task *task)
{
    return task != NULL;
}

static enum err net_listen(struct os_task *task, const struct os_address *address,
                           void (*on_accept)(void *owner, struct os_stream *stream), void *owner,
                           struct os_listener **out, struct os_address *bound, struct why *why)
{
    if (task->net->listener)
        return why_set(why, ERR_ADDRESS_IN_USE, "there is one listener in this world");
    struct os_listener *listener = mem_alloc_zero(1, sizeof *listener);
    if (!listener) return ERR_NO_MEMORY;
    *listener = (struct os_listener){.net = task->net, .on_accept = on_accept, .owner = owner};
    task->net->listener = *out = listener;
    if (bound) *bound = *address;
    return ERR_OK;
}

static void listener_close(struct os_listener *listener)
{
    listener->net->listener = NULL;
    mem_free(listener);
}

static const struct os_ops test_ops = {.name = "test",
                                       .wall_ns = wall_ns,
                                       .mono_ns = mono_ns,
                                       .random = fill_random,
                                       .task_wake = task_wake,
                                       .task_is_current = task_is_current,
                                       .timer_make = timer_make,
                                       .timer_set = timer_set,
                                       .timer_close = timer_close,
                                       .listen = net_listen,
                                       .listener_close = listener_close};

struct test_net *test_net_new(void)
{
    struct test_net *net = mem_alloc_zero(1, sizeof *net);
    if (!net) return NULL;
    net->os.ops = &test_ops;
    net->task.net = net;
    net->random = 88172645463325252u;
    loop_adopt(&net->loop, &net->os, "main", &net->task);
    net->context.os = &net->os;
    net->context.main = &net->loop;
    budget_init(&net->context.memory, "test", NULL, SIZE_MAX);
    return net;
}

void test_net_free(struct test_net *net)
{
    if (!net) return;
    free_closed(net);
    MUST(!net->ends && !net->timers && !net->listener);
    MUST(atomic_load(&net->context.memory.used_bytes) == 0);
    mem_free(net);
}

struct context *test_net_context(struct test_net *net)
{
    return &net->context;
}
struct os *test_net_os(struct test_net *net)
{
    return &net->os;
}
struct os_task *test_net_task(struct test_net *net)
{
    return &net->task;
}

/* ---- clients ---- */

static void client_read(void *owner, const uint8_t *bytes, size_t size)
{
    struct test_client *client = owner;
    buf_add(&client->received, bytes, size);
}

static void client_closed(void *owner, enum err err, const char *text)
{
    struct test_client *client = owner;
    (void)text;
    client->is_closed = true;
    client->closed_err = err;
}

static const struct os_stream_events client_events = {.on_read = client_read,
                                                      .on_closed = client_closed};

bool test_client_open(struct test_net *net, struct test_client *client, size_t window_bytes,
                      size_t deliver_bytes)
{
    MUST(net->listener);
    struct os_stream *theirs;
    *client = (struct test_client){0};
    if (!test_net_pair(net, deliver_bytes, &client->stream, &theirs)) return false;
    os_stream_own(client->stream, &client_events, client);
    struct test_end *mine = end_of(client->stream);
    mine->is_limited = window_bytes > 0;
    mine->window_bytes = window_bytes;
    client->is_open = true;
    net->listener->on_accept(net->listener->owner, theirs);
    return true;
}

void test_client_send(struct test_client *client, const void *bytes, size_t size)
{
    (void)os_stream_write(client->stream, bytes,
                          size); /* a closed one is what the test looks at afterwards */
}

void test_client_take(struct test_client *client, size_t more_bytes)
{
    end_of(client->stream)->window_bytes += more_bytes;
}

void test_client_close(struct test_client *client)
{
    os_stream_close(&client->stream);
    buf_free(&client->received);
}
