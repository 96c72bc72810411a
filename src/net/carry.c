/* carry.c - see carry.h.
 *
 * A stream is one object with a side on each task, and a share for each of them. The carrier's side
 * fills in what TLS has found out before it hands over the first byte, and why the connection ended
 * before it closes the channel; the home's side looks at them only behind these. Between the two
 * lies nothing else than the channel.
 *
 * Called by the broker for clients that its own loop is not to serve. Invariants: shares are the
 * home's (until hear_close), the carrier's (until leave) and that of a shut_job under way; a
 * carrier's count is the number of its streams that leave was not called for; is_left: it has no
 * socket, no channel and no place in the list any more. */
#include "net/carry.h"
#include <stdio.h>
#include <string.h>

enum { CARRIED_MAGIC = 0x63617272, TICK_MS = 1000 };
#define MS_NS ((int64_t)1000000)

/* Written by the carrier, read by the home behind it; most connections have none. */
struct news {
    enum err failure;
    char text[160];
    struct tls_subject subject; /* without a name: none */
    char psk[CARRY_NAME_BYTES];
};

struct carried {
    struct os_stream base; /* first; the home's */
    uint32_t magic;
    _Atomic unsigned shares;
    struct os_stream *near;     /* the home's end of the channel */
    bool is_read;               /* the home has asked for bytes */
    bool is_shut, is_shut_told; /* the home writes no more; the carrier knows */
    /* The carrier's. */
    struct job begin_job, shut_job, close_job;
    struct carrier *carrier;
    struct carried *next, *previous;
    struct os_socket *socket;
    struct tls_config *tls;
    struct os_stream *far, *stream;
    bool is_far_paused, is_stream_paused;
    bool is_over;   /* the home has closed, and all it wrote was read */
    bool is_left;   /* nothing is left of it but the memory */
    int64_t end_ns; /* the home has closed: until when the rest may be written; 0 = it has not */
    struct news *news;
};

struct carrier {
    struct loop loop;
    bool is_started;
    char name[16];
    _Atomic unsigned count; /* of streams */
    struct carried *first;
    struct os_timer *timer;
    bool is_timed;
    struct job start_job, end_job;
};

struct carriers {
    struct os *os;
    struct carrier items[CARRIERS_MAX];
};

static void release(struct carried *c)
{
    MUST(c->magic == CARRIED_MAGIC);
    unsigned before = atomic_fetch_sub(&c->shares, 1);
    MUST(before > 0);
    if (before > 1) return;
    MUST(c->is_left && !c->near);
    c->magic = 0;
    mem_free(c->news);
    mem_free(c);
}

/* ---- the carrier's side ---- */

static struct news *news_of(struct carried *c)
{
    if (!c->news) c->news = mem_alloc_zero(1, sizeof *c->news);
    return c->news;
}

/* Nothing of it is left here. */
static void leave(struct carried *c)
{
    struct carrier *carrier = c->carrier;
    MUST(c->magic == CARRIED_MAGIC && !c->is_left && loop_is_current(&carrier->loop));
    MUST(atomic_load(&carrier->count) > 0);
    c->is_left = true;
    os_stream_close(&c->stream);
    os_stream_close(&c->far);
    tls_config_release(c->tls);
    c->tls = NULL;
    *(c->previous ? &c->previous->next : &carrier->first) = c->next;
    if (c->next) c->next->previous = c->previous;
    atomic_fetch_sub(&carrier->count, 1);
    release(c);
}

static void on_tick(void *arg)
{
    struct carrier *carrier = arg;
    int64_t now = loop_mono_ns(&carrier->loop);
    bool waits = false;
    for (struct carried *c = carrier->first, *next; c; c = next) {
        next = c->next;
        if (!c->end_ns) continue;
        if (now >= c->end_ns)
            leave(c);
        else
            waits = true;
    }
    carrier->is_timed = waits;
    if (waits) carrier->loop.os->ops->timer_set(carrier->timer, TICK_MS * MS_NS);
}

/* The home has closed its end, and all it wrote before was read here. */
static void far_closed(void *owner, enum err err, const char *text)
{
    struct carried *c = owner;
    (void)err;
    (void)text;
    c->is_over = true;
    if (!c->stream || !os_stream_queued(c->stream)) leave(c);
}

/* All that the home wrote has been read here. */
static void hear_shut(struct job *job)
{
    struct carried *c = (void *)((char *)job - offsetof(struct carried, shut_job));
    if (c->stream) (void)os_stream_shutdown(c->stream);
    release(c);
}

/* Comes also when the peer takes nothing, and nothing of the channel is read for that. */
static void hear_close(struct job *job)
{
    struct carried *c = (void *)((char *)job - offsetof(struct carried, close_job));
    struct carrier *carrier = c->carrier;
    if (!c->is_left) {
        c->end_ns = loop_mono_ns(&carrier->loop) + CARRY_END_MS * MS_NS;
        if (carrier->timer && !carrier->is_timed)
            carrier->loop.os->ops->timer_set(carrier->timer, TICK_MS * MS_NS);
        carrier->is_timed = true;
    }
    release(c);
}

static void stream_closed(void *owner, enum err err, const char *text)
{
    struct carried *c = owner;
    struct news *news = err == ERR_CLOSED ? NULL : news_of(c);
    if (news) {
        news->failure = err;
        snprintf(news->text, sizeof news->text, "%s", text ? text : err_text(err));
    }
    leave(c);
}

static void far_read(void *owner, const uint8_t *bytes, size_t size)
{
    struct carried *c = owner;
    enum err err = c->stream ? os_stream_write(c->stream, bytes, size) : ERR_CLOSED;
    if (err == ERR_NO_MEMORY) { /* nothing may follow what is missing */
        stream_closed(c, err, NULL);
        return;
    }
    /* Of a stream that is over stream_closed comes. */
    if (err || c->is_far_paused || os_stream_queued(c->stream) <= CARRY_BYTES_MAX) return;
    c->is_far_paused = true;
    os_stream_pause(c->far, true);
}

static void far_drained(void *owner)
{
    struct carried *c = owner;
    if (!c->is_stream_paused || !c->stream) return;
    c->is_stream_paused = false;
    os_stream_pause(c->stream, false);
}

static const struct os_stream_events far_events = {
    .on_read = far_read, .on_drained = far_drained, .on_closed = far_closed};

/* What TLS knows of the client is there before its first byte. */
static void stream_open(void *owner)
{
    struct carried *c = owner;
    struct tls_subject subject;
    char psk[CARRY_NAME_BYTES];
    bool has_name = c->tls && tls_peer_subject(c->stream, &subject),
         has_psk = c->tls && tls_peer_psk(c->stream, psk, sizeof psk);
    if (!has_name && !has_psk) return;
    struct news *news = news_of(c);
    if (!news) { /* nobody may be taken for somebody else */
        stream_closed(c, ERR_NO_MEMORY, NULL);
        return;
    }
    if (has_name) news->subject = subject;
    if (has_psk) memcpy(news->psk, psk, sizeof psk);
}

static void stream_read(void *owner, const uint8_t *bytes, size_t size)
{
    struct carried *c = owner;
    if (c->end_ns || os_stream_write(c->far, bytes, size)) return; /* far_closed comes */
    if (c->is_stream_paused || os_stream_queued(c->far) <= CARRY_BYTES_MAX) return;
    c->is_stream_paused = true;
    os_stream_pause(c->stream, true);
}

static void stream_drained(void *owner)
{
    struct carried *c = owner;
    if (c->is_over) {
        leave(c);
        return;
    }
    if (!c->is_far_paused) return;
    c->is_far_paused = false;
    os_stream_pause(c->far, false);
}

static const struct os_stream_events stream_events = {.on_open = stream_open,
                                                      .on_read = stream_read,
                                                      .on_drained = stream_drained,
                                                      .on_closed = stream_closed};

static void begin(struct job *job)
{
    struct carried *c = (void *)((char *)job - offsetof(struct carried, begin_job));
    struct carrier *carrier = c->carrier;
    struct os *os = carrier->loop.os;
    MUST(c->magic == CARRIED_MAGIC && !c->is_left && !c->stream && c->far);
    c->next = carrier->first;
    if (c->next) c->next->previous = c;
    carrier->first = c;
    enum err err =
        os->ops->stream_join(carrier->loop.task, c->socket, &stream_events, c, &c->stream);
    if (!err && c->tls)
        err = tls_wrap_server(c->tls, os, carrier->loop.task, c->stream, &c->stream);
    if (err) {
        c->stream = NULL;
        stream_closed(c, err, NULL);
        return;
    }
    os_stream_own(c->stream, &stream_events, c);
    os_stream_own(c->far, &far_events, c);
    os_stream_pause(c->far, false);
}

static void end(struct job *job)
{
    struct carrier *carrier = (void *)((char *)job - offsetof(struct carrier, end_job));
    while (carrier->first) leave(carrier->first);
    if (carrier->timer) carrier->loop.os->ops->timer_close(carrier->timer);
    carrier->timer = NULL;
}

/* ---- the home's side ---- */

static struct carried *carried_of(const struct os_stream *stream)
{
    struct carried *c = (struct carried *)(uintptr_t)stream;
    MUST(c->magic == CARRIED_MAGIC && c->near);
    return c;
}

static void near_read(void *owner, const uint8_t *bytes, size_t size)
{
    struct carried *c = owner;
    if (c->base.events && c->base.events->on_read)
        c->base.events->on_read(c->base.owner, bytes, size);
}

/* Once the carrier has all. */
static void tell_shut(struct carried *c)
{
    if (!c->is_shut || c->is_shut_told || os_stream_queued(c->near)) return;
    c->is_shut_told = true;
    atomic_fetch_add(&c->shares, 1);
    c->shut_job.run = hear_shut;
    loop_post(&c->carrier->loop, &c->shut_job);
}

static void near_drained(void *owner)
{
    struct carried *c = owner;
    tell_shut(c);
    if (c->base.events && c->base.events->on_drained) c->base.events->on_drained(c->base.owner);
}

static void near_closed(void *owner, enum err err, const char *text)
{
    struct carried *c = owner;
    const struct news *news = c->news && c->news->failure ? c->news : NULL;
    if (c->base.events && c->base.events->on_closed)
        c->base.events->on_closed(c->base.owner, news ? news->failure : err,
                                  news ? news->text : text);
}

static const struct os_stream_events near_events = {
    .on_read = near_read, .on_drained = near_drained, .on_closed = near_closed};

static enum err carried_write(struct os_stream *stream, const void *bytes, size_t size)
{
    return os_stream_write(carried_of(stream)->near, bytes, size);
}

static size_t carried_queued(const struct os_stream *stream)
{
    return os_stream_queued(carried_of(stream)->near);
}

static void carried_pause(struct os_stream *stream, bool paused)
{
    struct carried *c = carried_of(stream);
    if (!paused && !c->is_read) os_stream_own(c->near, &near_events, c);
    c->is_read |= !paused;
    os_stream_pause(c->near, paused);
}

static const char *carried_peer(const struct os_stream *stream)
{
    return os_stream_peer(carried_of(stream)->near);
}

static void carried_shutdown(struct os_stream *stream)
{
    struct carried *c = carried_of(stream);
    c->is_shut = true;
    tell_shut(c);
}

static void carried_close(struct os_stream *stream)
{
    struct carried *c = carried_of(stream);
    os_stream_close(&c->near);
    c->close_job.run = hear_close; /* with the home's share */
    loop_post(&c->carrier->loop, &c->close_job);
}

static const struct os_stream_ops carried_ops = {.write = carried_write,
                                                 .queued = carried_queued,
                                                 .pause = carried_pause,
                                                 .close = carried_close,
                                                 .shutdown = carried_shutdown,
                                                 .peer = carried_peer};

enum err carry(struct carrier *carrier, struct loop *home, struct os_socket *socket,
               struct tls_config *tls, const char *peer, struct os_stream **stream)
{
    struct carried *c = mem_alloc_zero(1, sizeof *c);
    enum err err = c ? channel_make(home, &carrier->loop, peer, &c->near, &c->far) : ERR_NO_MEMORY;
    MUST(loop_is_current(home));
    if (err) {
        home->os->ops->socket_drop(home->os, socket);
        tls_config_release(tls);
        mem_free(c);
        return err;
    }
    c->magic = CARRIED_MAGIC;
    c->base.ops = &carried_ops;
    atomic_init(&c->shares, 2);
    c->carrier = carrier;
    c->socket = socket;
    c->tls = tls;
    c->begin_job.run = begin;
    *stream = &c->base;
    atomic_fetch_add(&carrier->count, 1);
    loop_post(&carrier->loop, &c->begin_job);
    return ERR_OK;
}

bool carried_peer_subject(const struct os_stream *stream, struct tls_subject *subject)
{
    const struct carried *c = carried_of(stream);
    if (!c->news || !c->news->subject.name[0]) return false;
    *subject = c->news->subject;
    return true;
}

bool carried_peer_psk(const struct os_stream *stream, char *out, size_t out_bytes)
{
    const struct carried *c = carried_of(stream);
    return c->news && c->news->psk[0] && str_copy(out, out_bytes, str_of(c->news->psk));
}

/* ---- all of them ---- */

struct carriers *carriers_new(struct os *os)
{
    struct carriers *carriers = mem_alloc_zero(1, sizeof *carriers);
    if (carriers) carriers->os = os;
    return carriers;
}

static void make_timer(struct job *job)
{
    struct carrier *carrier = (void *)((char *)job - offsetof(struct carrier, start_job));
    /* Without it a stream that was closed ends when its peer has taken all, or the carrier ends. */
    if (carrier->loop.os->ops->timer_make(carrier->loop.task, on_tick, carrier, &carrier->timer))
        carrier->timer = NULL;
}

static bool start(struct carriers *carriers, unsigned at)
{
    struct carrier *carrier = &carriers->items[at];
    if (carrier->is_started) return true;
    snprintf(carrier->name, sizeof carrier->name, "io-%u", at + 1);
    if (loop_start(&carrier->loop, carriers->os, carrier->name, 0, NULL)) return false;
    carrier->is_started = true;
    carrier->start_job.run = make_timer;
    loop_post(&carrier->loop, &carrier->start_job);
    return true;
}

struct carrier *carriers_pick(struct carriers *carriers, unsigned count)
{
    struct carrier *best = NULL;
    for (unsigned i = 0; i < count && i < CARRIERS_MAX; i++) {
        struct carrier *carrier = &carriers->items[i];
        if (!start(carriers, i)) break;
        if (!best || atomic_load(&carrier->count) < atomic_load(&best->count)) best = carrier;
    }
    return best;
}

void carriers_free(struct carriers *carriers)
{
    for (unsigned i = 0; carriers && i < CARRIERS_MAX; i++) {
        struct carrier *carrier = &carriers->items[i];
        if (!carrier->is_started) continue;
        carrier->end_job.run = end;
        loop_post(&carrier->loop, &carrier->end_job);
        loop_stop(&carrier->loop);
    }
    mem_free(carriers);
}
