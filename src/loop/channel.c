/* channel.c - see channel.h.
 *
 * Both ends lie in one allocation that is counted: each end that is open and each job under way
 * holds a share, so that nothing that still runs finds freed memory. An end's fields belong to its
 * task; what the other task says comes as a job, but for `taken` (how much it has read), which is
 * added to from there, and `is_gone`, after which nothing is posted to this end's loop any more:
 * that loop may be over.
 *
 * Invariants: shares are the open ends and the jobs posted; `queued` is what was written and not
 * said to be read, so never less than `taken`; the owner hears on_closed once, behind the last
 * byte.
 */
#include "loop/channel.h"
#include <string.h>

enum { CHANNEL_MAGIC = 0x6368616e };

/* Bytes on their way, and then in the queue of the end that they came to. */
struct parcel {
    struct job job; /* first */
    struct channel_end *to;
    struct parcel *next; /* that arrived behind it */
    size_t size;         /* > 0 */
    uint8_t bytes[];
};

struct channel_end {
    struct os_stream base; /* first */
    struct channel *channel;
    struct channel_end *other;
    struct loop *loop;
    struct parcel *first, *last; /* arrived, not read */
    size_t queued;               /* written, and not known to be read */
    _Atomic size_t taken;        /* of these: read meanwhile */
    struct job taken_job;        /* on the own loop, posted by the other side */
    _Atomic bool is_taken_posted;
    struct job turn_job;  /* on the own loop, posted by itself */
    struct job close_job; /* on the other's loop */
    bool is_turn_posted, is_paused, is_closed, is_over, is_told;
    enum err failure; /* OK, or why nothing can be written any more */
    _Atomic bool is_gone;
};

struct channel {
    uint32_t magic;
    _Atomic unsigned shares;
    struct channel_end ends[2];
    char peer[OS_HOST_BYTES + 8];
};

static struct channel_end *end_of(struct os_stream *stream)
{
    struct channel_end *e = (struct channel_end *)stream;
    MUST(e->channel->magic == CHANNEL_MAGIC && !e->is_closed && loop_is_current(e->loop));
    return e;
}

static void release(struct channel *channel)
{
    MUST(channel->magic == CHANNEL_MAGIC);
    unsigned before = atomic_fetch_sub(&channel->shares, 1);
    MUST(before > 0);
    if (before > 1) return;
    channel->magic = 0;
    mem_free(channel);
}

static void post(struct channel *channel, struct loop *loop, struct job *job)
{
    unsigned before = atomic_fetch_add(&channel->shares, 1);
    MUST(before > 0 && channel->magic == CHANNEL_MAGIC);
    loop_post(loop, job);
}

/* ---- reading ---- */

/* Tells the other side that its bytes were read. */
static void give_back(struct channel_end *e, size_t size)
{
    struct channel_end *other = e->other;
    atomic_fetch_add(&other->taken, size);
    if (atomic_load(&other->is_gone) || atomic_exchange(&other->is_taken_posted, true)) return;
    post(e->channel, other->loop, &other->taken_job);
}

static void tell_over(struct channel_end *e)
{
    const struct os_stream_events *events = e->base.events;
    enum err err = e->failure ? e->failure : ERR_CLOSED;
    if (e->is_closed || e->first || e->is_told || !events || !(e->is_over || e->failure)) return;
    e->is_told = true;
    if (events->on_closed) events->on_closed(e->base.owner, err, err_text(err));
}

/* Gives the owner what has arrived; he may pause or close the end meanwhile. */
static void turn(struct channel_end *e)
{
    size_t size = 0;
    while (e->first && !e->is_paused && e->base.events) {
        struct parcel *p = e->first;
        if (!(e->first = p->next)) e->last = NULL;
        size += p->size;
        if (e->base.events->on_read) e->base.events->on_read(e->base.owner, p->bytes, p->size);
        mem_free(p);
    }
    if (size) give_back(e, size);
    tell_over(e);
}

static void run_turn(struct job *job)
{
    struct channel_end *e = (void *)((char *)job - offsetof(struct channel_end, turn_job));
    e->is_turn_posted = false;
    turn(e);
    release(e->channel);
}

static void turn_later(struct channel_end *e)
{
    if (e->is_turn_posted) return;
    e->is_turn_posted = true;
    post(e->channel, e->loop, &e->turn_job);
}

static void arrive(struct job *job)
{
    struct parcel *p = (struct parcel *)job;
    struct channel_end *e = p->to;
    if (e->is_closed) {
        mem_free(p);
    } else {
        p->next = NULL;
        *(e->last ? &e->last->next : &e->first) = p;
        e->last = p;
        turn(e);
    }
    release(e->channel);
}

/* ---- writing ---- */

static void run_taken(struct job *job)
{
    struct channel_end *e = (void *)((char *)job - offsetof(struct channel_end, taken_job));
    atomic_store(&e->is_taken_posted, false); /* before the look: what comes later posts again */
    size_t size = atomic_exchange(&e->taken, 0);
    MUST(size <= e->queued);
    e->queued -= size;
    const struct os_stream_events *events = e->is_closed || e->is_told ? NULL : e->base.events;
    if (size && !e->queued && events && events->on_drained) events->on_drained(e->base.owner);
    release(e->channel);
}

static enum err channel_write(struct os_stream *stream, const void *bytes, size_t size)
{
    struct channel_end *e = end_of(stream);
    if (e->failure || e->is_over || atomic_load(&e->other->is_gone)) return ERR_CLOSED;
    if (!size) return ERR_OK;
    struct parcel *p = mem_alloc(sizeof *p + size);
    if (!p) {
        e->failure = ERR_NO_MEMORY;
        turn_later(e);
        return ERR_NO_MEMORY;
    }
    *p = (struct parcel){.job.run = arrive, .to = e->other, .size = size};
    memcpy(p->bytes, bytes, size);
    e->queued += size;
    post(e->channel, e->other->loop, &p->job);
    return ERR_OK;
}

static size_t channel_queued(const struct os_stream *stream)
{
    return ((const struct channel_end *)stream)->queued;
}

static void channel_pause(struct os_stream *stream, bool paused)
{
    struct channel_end *e = end_of(stream);
    e->is_paused = paused;
    /* Also an end that came before there was somebody to tell. */
    if (!paused && (e->first || e->is_over || e->failure)) turn_later(e);
}

static const char *channel_peer(const struct os_stream *stream)
{
    return ((const struct channel_end *)stream)->channel->peer;
}

/* ---- the end ---- */

static void hear_close(struct job *job)
{
    struct channel_end *e = (void *)((char *)job - offsetof(struct channel_end, close_job));
    struct channel *channel = e->channel;
    e->other->is_over = true;
    tell_over(e->other);
    release(channel);
}

static void channel_close(struct os_stream *stream)
{
    struct channel_end *e = end_of(stream);
    while (e->first) {
        struct parcel *p = e->first;
        e->first = p->next;
        mem_free(p);
    }
    e->last = NULL;
    e->is_closed = true;
    e->base.events = NULL;
    atomic_store(&e->is_gone, true);
    if (!atomic_load(&e->other->is_gone)) post(e->channel, e->other->loop, &e->close_job);
    release(e->channel);
}

static const struct os_stream_ops stream_ops = {.write = channel_write,
                                                .queued = channel_queued,
                                                .pause = channel_pause,
                                                .close = channel_close,
                                                .peer = channel_peer};

enum err channel_make(struct loop *here, struct loop *there, const char *peer,
                      struct os_stream **near, struct os_stream **far)
{
    MUST(here && there && peer);
    struct channel *channel = mem_alloc_zero(1, sizeof *channel);
    if (!channel) return ERR_NO_MEMORY;
    channel->magic = CHANNEL_MAGIC;
    atomic_store(&channel->shares, 2);
    (void)str_copy(channel->peer, sizeof channel->peer, str_of(peer));
    for (int i = 0; i < 2; i++) {
        struct channel_end *e = &channel->ends[i];
        e->base.ops = &stream_ops;
        e->channel = channel;
        e->other = &channel->ends[1 - i];
        e->loop = i ? there : here;
        e->taken_job.run = run_taken;
        e->turn_job.run = run_turn;
        e->close_job.run = hear_close;
    }
    *near = &channel->ends[0].base;
    *far = &channel->ends[1].base;
    return ERR_OK;
}
