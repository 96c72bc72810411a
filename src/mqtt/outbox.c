/* outbox.c - see outbox.h: a ring that grows by doubling and goes when it is empty.
 *
 * Items are found by their ordinal modulo the ring's size, so one that is done leaves no hole to
 * close: `first` moves on over all that are done when its own item is (advance). `open`,
 * `in_flight` and `bytes` change at one place each (outbox_restore and close_item; outbox_take,
 * outbox_finish and outbox_rewind; outbox_restore and outbox_forget_message).
 *
 * Who calls: session_send.c for what goes out, packets_in.c for what comes back, spill.c for what
 * is read back from files, journal_replay.c at a start. No time, no I/O, no knowledge of
 * connections. */
#include "mqtt/outbox.h"

enum { SPAN_MAX = 65534, CAPACITY_FIRST = 4 };

/* Items keep their ordinals and so change their places. */
static bool grow(struct outbox *o)
{
    MUST(outbox_span(o) == o->capacity && o->capacity <= OUTBOX_SPAN_MAX);
    uint32_t wanted = o->capacity ? o->capacity * 2 : CAPACITY_FIRST;
    struct outbox_item *items = mem_alloc(wanted * sizeof *items);
    if (!items) return false;
    for (uint64_t i = o->first; i < o->last; i++) items[i & (wanted - 1)] = *outbox_at(o, i);
    mem_free(o->items);
    o->items = items;
    o->capacity = wanted;
    return true;
}

enum err outbox_restore(struct outbox *o, struct message *m, uint8_t qos, bool retain,
                        const uint32_t *ids, size_t id_count)
{
    MUST(qos == 1 || qos == 2);
    MUST(id_count <= OUTBOX_IDS_MAX);
    if (outbox_span(o) == o->capacity && !grow(o)) return ERR_NO_MEMORY;
    if (!m) id_count = 0; /* they go with the message */
    struct outbox_item item = {.qos = qos, .retain = retain, .id_count = (uint16_t)id_count};
    if (!m) item.state = OUTBOX_RECEIVED;
    if (id_count == 1) item.id = ids[0];
    if (id_count > 1 && !(item.ids = mem_dup(ids, id_count * sizeof ids[0]))) return ERR_NO_MEMORY;
    if (m) item.message = message_share(m);
    if (m) o->bytes += message_size(m);
    *outbox_at(o, o->last++) = item;
    o->open++;
    return ERR_OK;
}

enum err outbox_add(struct outbox *o, struct message *m, uint8_t qos, bool retain,
                    const uint32_t *ids, size_t id_count)
{
    MUST(m);
    return outbox_restore(o, m, qos, retain, ids, id_count);
}

bool outbox_may_send(const struct outbox *o, uint32_t window)
{
    return outbox_has_more(o) && o->in_flight < window && o->next - o->first < SPAN_MAX;
}

struct outbox_item *outbox_take(struct outbox *o, uint64_t *ordinal)
{
    MUST(outbox_has_more(o));
    *ordinal = o->next++;
    struct outbox_item *item = outbox_at(o, *ordinal);
    if (item->state != OUTBOX_DONE) o->in_flight++;
    return item;
}

struct outbox_item *outbox_find(const struct outbox *o, uint16_t packet_id, uint64_t *ordinal)
{
    if (packet_id == 0) return NULL;
    uint64_t offset = ((uint64_t)packet_id - 1 + 65535 - o->first % 65535) % 65535;
    *ordinal = o->first + offset;
    if (*ordinal >= o->next) return NULL;
    struct outbox_item *item = outbox_at(o, *ordinal);
    return item->state == OUTBOX_DONE ? NULL : item;
}

void outbox_forget_message(struct outbox *o, struct outbox_item *item)
{
    if (!item->message) return;
    MUST(o->bytes >= message_size(item->message));
    o->bytes -= message_size(item->message);
    message_release(item->message);
    item->message = NULL;
    if (item->id_count > 1) mem_free(item->ids);
    item->id_count = 0;
}

/* What is done at the front makes room; an empty outbox holds no memory. */
static void advance(struct outbox *o)
{
    while (o->first < o->last && outbox_at(o, o->first)->state == OUTBOX_DONE) o->first++;
    if (o->next < o->first) o->next = o->first;
    if (o->first < o->last) return;
    MUST(o->open == 0 && o->in_flight == 0);
    mem_free(o->items);
    o->items = NULL;
    o->capacity = 0;
}

/* It is done, whatever it was. */
static void close_item(struct outbox *o, struct outbox_item *item)
{
    MUST(item->state != OUTBOX_DONE && o->open > 0);
    outbox_forget_message(o, item);
    item->state = OUTBOX_DONE;
    o->open--;
}

void outbox_finish(struct outbox *o, struct outbox_item *item)
{
    MUST(o->in_flight > 0);
    close_item(o, item);
    o->in_flight--;
    advance(o);
}

void outbox_rewind(struct outbox *o)
{
    outbox_verify(o, false);
    for (uint64_t i = o->first; i < o->next; i++) {
        struct outbox_item *item = outbox_at(o, i);
        if (item->state == OUTBOX_SENT) item->state = OUTBOX_WAITING;
        if (item->state == OUTBOX_RELEASED) item->state = OUTBOX_RECEIVED;
    }
    o->next = o->first;
    o->in_flight = 0;
}

bool outbox_may_be_known(const struct outbox *o, uint64_t ordinal)
{
    return ordinal < o->doubtful && outbox_at(o, ordinal)->qos == 2;
}

bool outbox_is_again(const struct outbox *o, uint64_t ordinal)
{
    return outbox_at(o, ordinal)->was_sent || ordinal < o->tried;
}

bool outbox_may_drop(const struct outbox *o, uint64_t ordinal)
{
    MUST(ordinal >= o->next && ordinal < o->last);
    const struct outbox_item *item = outbox_at(o, ordinal);
    return !item->was_sent && item->state == OUTBOX_WAITING && !outbox_may_be_known(o, ordinal);
}

void outbox_drop(struct outbox *o, uint64_t ordinal)
{
    MUST(outbox_may_drop(o, ordinal));
    close_item(o, outbox_at(o, ordinal));
    advance(o);
}

bool outbox_drop_oldest(struct outbox *o, uint64_t *ordinal)
{
    for (uint64_t i = o->next; i < o->last; i++) {
        if (!outbox_may_drop(o, i)) continue;
        outbox_drop(o, i);
        *ordinal = i;
        return true;
    }
    return false;
}

bool outbox_drop_first(struct outbox *o, uint64_t *ordinal)
{
    if (o->first == o->last || o->first < o->next) return false;
    *ordinal = o->first;
    close_item(o, outbox_at(o, o->first));
    advance(o);
    return true;
}

void outbox_free(struct outbox *o)
{
    outbox_verify(o, false);
    for (uint64_t i = o->first; i < o->last; i++) outbox_forget_message(o, outbox_at(o, i));
    mem_free(o->items);
    *o = (struct outbox){.first = o->last, .next = o->last, .last = o->last};
}

/* ---- at a start ---- */

enum err outbox_skip_to(struct outbox *o, uint64_t ordinal)
{
    outbox_verify(o, false);
    if (outbox_span(o) == 0) {
        o->first = o->next = o->last = ordinal;
        return ERR_OK;
    }
    if (ordinal > o->first + OUTBOX_SPAN_MAX) return ERR_LIMIT;
    while (o->last < ordinal) {
        if (outbox_span(o) == o->capacity && !grow(o)) return ERR_NO_MEMORY;
        *outbox_at(o, o->last++) = (struct outbox_item){.qos = 1, .state = OUTBOX_DONE};
    }
    return ERR_OK;
}

void outbox_restore_done(struct outbox *o, uint64_t ordinal)
{
    MUST(o->in_flight == 0);
    if (ordinal < o->first || ordinal >= o->last) return;
    struct outbox_item *item = outbox_at(o, ordinal);
    if (item->state != OUTBOX_DONE) close_item(o, item);
    advance(o);
}

void outbox_restore_received(struct outbox *o, uint64_t ordinal)
{
    MUST(o->in_flight == 0);
    if (ordinal < o->first || ordinal >= o->last) return;
    struct outbox_item *item = outbox_at(o, ordinal);
    if (item->state == OUTBOX_DONE) return;
    outbox_forget_message(o, item);
    item->state = OUTBOX_RECEIVED;
}

void outbox_restore_tried(struct outbox *o)
{
    MUST(o->in_flight == 0 && o->tried <= o->last);
    o->tried = o->last;
}

void outbox_restored(struct outbox *o, bool is_all)
{
    outbox_rewind(o);
    o->doubtful = is_all ? o->last : UINT64_MAX;
}

bool outbox_is_known(const struct outbox *o)
{
    return o->doubtful != UINT64_MAX;
}

void outbox_know(struct outbox *o)
{
    if (!outbox_is_known(o)) o->doubtful = o->last;
}

/* ---- checks ---- */

static void verify_item(const struct outbox_item *item)
{
    bool has_message = item->state == OUTBOX_WAITING || item->state == OUTBOX_SENT;
    MUST(item->state <= OUTBOX_DONE && (item->qos == 1 || item->qos == 2));
    MUST((item->message != NULL) == has_message);
    MUST(item->id_count <= OUTBOX_IDS_MAX && (item->message || !item->id_count));
    MUST(item->id_count <= 1 || item->ids);
    if (!item->message) return;
    MUST(item->message->magic == MESSAGE_MAGIC && atomic_load(&item->message->refs) > 0);
}

static void verify_items(const struct outbox *o)
{
    size_t bytes = 0;
    uint32_t open = 0, in_flight = 0;
    for (uint64_t i = o->first; i < o->last; i++) {
        const struct outbox_item *item = outbox_at(o, i);
        verify_item(item);
        open += item->state != OUTBOX_DONE;
        in_flight += item->state != OUTBOX_DONE && i < o->next;
        if (item->message) bytes += message_size(item->message);
    }
    MUST(open == o->open && in_flight == o->in_flight && bytes == o->bytes);
}

void outbox_verify(const struct outbox *o, bool each)
{
    MUST(o->first <= o->next && o->next <= o->last);
    MUST(outbox_span(o) <= OUTBOX_SPAN_MAX + (size_t)1 && outbox_span(o) <= o->capacity);
    MUST((o->capacity & (o->capacity - 1)) == 0 && (o->items != NULL) == (o->capacity > 0));
    MUST(o->in_flight <= o->open && o->open <= outbox_span(o));
    MUST(o->open > 0 || o->bytes == 0);
    if (o->first == o->last) return;
    MUST(outbox_at(o, o->first)->state != OUTBOX_DONE);
    if (each) verify_items(o);
}
