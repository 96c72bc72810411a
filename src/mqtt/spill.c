/* spill.c - see spill.h: which records are where, and when they move.
 *
 * A spill begins when a message does not fit the ring, and ends when its last record has been read
 * back: most sessions have none. Reading: the oldest file in pieces (`in`), from which records are
 * put into the ring; when there is no file left, the tail, which then never sees the disk.
 *
 * Order is everything: a message never overtakes another one, so as long as there is a spill every
 * new message goes behind it, and the ring is only filled from its front. What is given up goes
 * from the front, too (spill_drop_front), a file at a time, and is told to the journal as a range
 * of ordinals.
 *
 * A file that cannot be read is given up as a whole, and the loss is told with its number of
 * messages; the next file goes on. Functions that may end the spill say so: afterwards
 * session->spill is NULL and the pointer is gone, or waits for its job. */
#include "mqtt/spill_priv.h"
#include <inttypes.h>
#include <string.h>

static const char component[] = "mqtt";

enum {
    FILE_BYTES_MAX = 4 * 1024 * 1024,
    FILE_BYTES_MIN = 64 * 1024,
    FILES_A_QUEUE = 8,      /* a queue's limit is so many files: at once one of them is given up */
    RING_ENTRY_BYTES = 128, /* an entry of the ring counts as so much at least */
};

/* ---- how much ---- */

size_t session_queued(const struct session *s)
{
    return outbox_count(&s->outbox) + (s->spill ? s->spill->count : 0);
}

size_t session_queued_bytes(const struct session *s)
{
    return s->outbox.bytes + (s->spill ? s->spill->bytes : 0);
}

uint64_t session_last(const struct session *s)
{
    return s->spill && s->spill->last > s->outbox.last ? s->spill->last : s->outbox.last;
}

/* Less for each when there are many: all rings together must fit the broker's memory. */
static size_t ring_bytes(const struct broker *broker)
{
    size_t used = atomic_load(&broker->memory.used_bytes), all = broker->config.memory_bytes;
    size_t wanted = broker->config.queue_memory_bytes;
    if (used > all / 4 * 3) return wanted / 16;
    return used > all / 2 ? wanted / 4 : wanted;
}

/* One message always fits an empty ring, however large it is: else it could never go out. */
static bool ring_has_room(const struct session *s, size_t size)
{
    const struct outbox *o = &s->outbox;
    size_t limit = ring_bytes(s->broker);
    if (outbox_count(o) == 0) return true;
    return o->bytes + size <= limit && outbox_count(o) < limit / RING_ENTRY_BYTES &&
           outbox_span(o) < OUTBOX_SPAN_MAX / 2;
}

bool spill_must_take(const struct session *s, const struct message *m)
{
    if (s->spill) return true; /* order */
    return s->broker->config.queue_memory_bytes && !ring_has_room(s, message_size(m));
}

struct str spill_left_of(const struct buf *buf, size_t used)
{
    return used < buf->size ? (struct str){buf->at + used, buf->size - used} : STR("");
}

size_t spill_tail_left(const struct spill *sp)
{
    MUST(sp->tail_used <= sp->tail.size);
    return sp->tail.size - sp->tail_used;
}

size_t spill_file_bytes_max(const struct spill *sp)
{
    const struct session *s = sp->session;
    size_t limit = s ? session_limits(s).bytes / FILES_A_QUEUE : 0;
    if (limit > FILE_BYTES_MAX) return FILE_BYTES_MAX;
    return limit > FILE_BYTES_MIN ? limit : FILE_BYTES_MIN;
}

/* ---- life ---- */

/* The oldest file was read to its end, or given up. */
static void drop_file(struct spill *sp)
{
    struct spill_file *f = &sp->files[0];
    MUST(sp->file_count > 0);
    sp->broker->spills.file_bytes -= f->bytes;
    spill_throw_away(sp->broker, f->number, f->bytes);
    sp->file_count--;
    memmove(sp->files, sp->files + 1, sp->file_count * sizeof *f);
    sp->read_offset = sp->read_records = sp->read_weight = 0;
    buf_clear(&sp->in);
    sp->in_used = 0;
    if (sp->is_busy && sp->job.reads) sp->is_stale = true;
    if (sp->file_count == 0) sp->must_roll = true;
}

void spill_make_dirty(struct spill *sp)
{
    MUST(is_spill(sp));
    if (sp->is_dirty) return;
    sp->is_dirty = true;
    sp->next_dirty = sp->broker->spills.dirty;
    sp->broker->spills.dirty = sp;
}

/* It goes, or was looked at. */
static void forget_dirty(struct spill *sp)
{
    struct spill **at = &sp->broker->spills.dirty;
    if (!sp->is_dirty) return;
    while (*at != sp) at = &(*at)->next_dirty;
    *at = sp->next_dirty;
    sp->is_dirty = false;
}

struct spill *spill_begin(struct session *s)
{
    MUST(session_is_valid(s) && !s->spill);
    struct spill *sp = mem_alloc_zero(1, sizeof *sp);
    if (!sp) return NULL;
    sp->magic = SPILL_MAGIC;
    sp->broker = s->broker;
    sp->session = s;
    sp->last = sp->tail_first = sp->synced_last = s->outbox.last;
    sp->must_roll = true;
    sp->next = s->broker->spills.first;
    if (sp->next) sp->next->previous = sp;
    s->broker->spills.first = sp;
    s->broker->spills.count++;
    s->spill = sp;
    return sp;
}

void spill_free_one(struct spill *sp)
{
    MUST(!sp->is_busy);
    forget_dirty(sp);
    sp->broker->spills.tail_bytes -= spill_tail_left(sp) + sp->job.out.size;
    while (sp->file_count) drop_file(sp);
    sp->broker->spills.count--;
    *(sp->previous ? &sp->previous->next : &sp->broker->spills.first) = sp->next;
    if (sp->next) sp->next->previous = sp->previous;
    buf_free(&sp->in);
    buf_free(&sp->tail);
    buf_free(&sp->job.out);
    buf_free(&sp->job.in);
    mem_free(sp->files);
    sp->magic = 0;
    mem_free(sp);
}

void spill_end(struct session *s)
{
    MUST(!s->spill || (is_spill(s->spill) && s->spill->session == s));
    struct spill *sp = s->spill;
    if (!sp) return;
    outbox_know(&s->outbox);
    s->spill = NULL;
    sp->session = NULL;
    sp->wants_sync = sp->wants_read = false;
    if (!sp->is_busy) spill_free_one(sp);
}

/* Nothing is left of it: the session is as if it had never had one. */
void spill_end_if_empty(struct spill *sp)
{
    MUST(is_spill(sp) && session_is_valid(sp->session));
    struct session *s = sp->session;
    if (sp->count || sp->is_busy || spill_tail_left(sp) || sp->job.out.size) return;
    if (sp->last > s->outbox.last && outbox_skip_to(&s->outbox, sp->last)) return; /* no memory */
    spill_end(s);
}

/* ---- in ---- */

enum err spill_add(struct session *s, uint64_t ordinal, const struct message *m,
                   const struct outbox_item *how)
{
    MUST(session_is_valid(s) && (how->qos == 1 || how->qos == 2));
    struct spill *sp = s->spill ? s->spill : spill_begin(s);
    if (!sp) return ERR_NO_MEMORY;
    size_t before = sp->tail.size;
    MUST(ordinal >= session_last(s));
    spill_write_record(&sp->tail, s->broker, ordinal, m, how);
    if (buf_failed(&sp->tail)) {
        sp->tail.failed = false; /* nothing was added */
        spill_end_if_empty(sp);
        return ERR_NO_MEMORY;
    }
    s->broker->spills.tail_bytes += sp->tail.size - before;
    if (!sp->tail_records) sp->tail_first = ordinal;
    sp->last = ordinal + 1;
    sp->tail_records++;
    sp->tail_weight += message_size(m);
    sp->count++;
    sp->bytes += message_size(m);
    if (s->broker->journal.is_off)
        (void)spill_run_now(sp);
    else
        spill_make_dirty(sp);
    return ERR_OK;
}

/* ---- out, into the ring ---- */

void spill_count_off(struct spill *sp, size_t records, size_t weight)
{
    MUST(sp->count >= records);
    sp->count -= records;
    sp->bytes -= weight < sp->bytes ? weight : sp->bytes;
}

struct taken {
    uint64_t ordinal;
    size_t weight;
};

/* Puts the record at the front of `bytes` into the ring. Gives its size; 0: it stays, as `*err`
 * says. LIMIT: what lay before it was given up, and what the ring still holds is so far back that
 * it has to be done with first. */
static size_t take_record(struct spill *sp, struct str bytes, struct taken *taken, enum err *err,
                          struct why *why)
{
    struct session *s = sp->session;
    struct spill_record record = {0};
    size_t size = spill_read_record(sp->broker, bytes, &record, err, why);
    if (!size) return 0;
    *taken = (struct taken){record.ordinal, message_size(record.message)};
    bool is_wanted = record.ordinal >= sp->skip_until && record.ordinal >= s->outbox.last;
    if (is_wanted) {
        const uint32_t *ids = record.ids;
        *err = record.ordinal < sp->last ? outbox_skip_to(&s->outbox, record.ordinal)
                                         : why_set(why, ERR_CORRUPT, "a record of another place");
        if (!*err)
            *err = outbox_add(&s->outbox, record.message, record.how.qos, record.how.retain, ids,
                              record.how.id_count);
        /* QoS 2 waits until all that is on its way to the log is there: its note may be, or is the
         * next one. */
        const struct journal *j = &sp->broker->journal;
        if (!*err) {
            struct outbox_item *item = outbox_at(&s->outbox, record.ordinal);
            item->change = j->change + (j->target_count > 0);
            item->is_shared = record.how.is_shared;
        }
    }
    message_release(record.message);
    return *err ? 0 : size;
}

void spill_tell_damage(struct spill *sp, uint64_t lost, const struct why *why)
{
    const struct session *s = sp->session;
    metric_add(sp->broker->context, METRIC_MQTT_DAMAGED, 1);
    diag(sp->broker->context, DIAG_ERROR, component,
         "mqtt/queues/%016" PRIx64 ": %s; %" PRIu64 " messages for %.*s are lost",
         sp->files[0].number, why->text, lost, (int)s->client_id_size, s->client_id);
}

/* What is left of the oldest file is damaged, or was given up. */
uint64_t spill_give_up_file(struct spill *sp)
{
    MUST(is_spill(sp) && sp->file_count > 0);
    struct spill_file *f = &sp->files[0];
    uint64_t records = f->records - sp->read_records, weight = f->weight - sp->read_weight;
    spill_count_off(sp, (size_t)records, (size_t)weight);
    drop_file(sp);
    return records;
}

bool spill_has_more(const struct spill *sp)
{
    return sp->file_count > 1 || (sp->file_count && sp->read_offset < sp->files[0].bytes);
}

/* From what was read; false: more must be read first, or nothing can go on. */
static bool take_from_file(struct spill *sp)
{
    MUST(sp->file_count > 0);
    struct why why = WHY_NONE;
    struct taken taken = {0};
    enum err err = ERR_OK;
    struct str rest = spill_left_of(&sp->in, sp->in_used);
    bool is_named = sp->read_records < sp->files[0].records;
    size_t size = rest.size && is_named ? take_record(sp, rest, &taken, &err, &why) : 0;
    if (rest.size && !is_named)
        err = why_set(&why, ERR_CORRUPT, "more records than mqtt/state says");
    /* A file is written in whole records: reading on would bring the same bytes for ever. */
    if (!size && !err && rest.size && rest.size >= sp->files[0].bytes - sp->read_offset)
        err = why_set(&why, ERR_CORRUPT, "a record that goes on behind its end");
    if (err == ERR_CORRUPT) {
        if (sp->is_busy && sp->job.writes && sp->file_count == 1)
            return false; /* when it is back */
        spill_tell_damage(sp, sp->files[0].records - sp->read_records, &why);
        (void)spill_give_up_file(sp);
        return true;
    }
    if (err) return false; /* no memory, or it has to wait: the next second tries again */
    if (size) {
        sp->in_used += size;
        sp->read_offset += size;
        sp->read_records++;
        sp->read_weight += taken.weight;
        spill_count_off(sp, 1, taken.weight);
    }
    bool is_used_up = sp->file_count > 1 && sp->read_offset >= sp->files[0].bytes;
    if (is_used_up) drop_file(sp);
    bool is_coming = sp->is_busy && sp->job.reads && !sp->is_stale;
    if (!size && !is_used_up && !is_coming) sp->wants_read = true;
    return size || is_used_up;
}

/* Into the ring without having been on the disk. */
static bool take_from_tail(struct spill *sp)
{
    struct why why = WHY_NONE;
    struct taken taken = {0};
    enum err err = ERR_OK;
    struct str rest = spill_left_of(&sp->tail, sp->tail_used);
    size_t size = rest.size ? take_record(sp, rest, &taken, &err, &why) : 0;
    MUST(err != ERR_CORRUPT); /* it was written a moment ago */
    if (!size) return false;
    sp->tail_used += size;
    sp->broker->spills.tail_bytes -= size;
    sp->tail_records--;
    sp->tail_first = taken.ordinal + 1;
    sp->tail_weight -= taken.weight;
    spill_count_off(sp, 1, taken.weight);
    if (spill_tail_left(sp)) return true;
    buf_clear(&sp->tail);
    sp->tail_used = 0;
    return true;
}

void spill_fill_ring(struct spill *sp, uint64_t reach)
{
    MUST(is_spill(sp) && session_is_valid(sp->session));
    struct session *s = sp->session;
    while (sp->count && (s->outbox.last <= reach || ring_has_room(s, RING_ENTRY_BYTES))) {
        bool goes_on = spill_has_more(sp) ? take_from_file(sp)
                       : sp->job.out.size ? false /* on its way to a file */
                                          : take_from_tail(sp);
        if (!goes_on) break;
    }
    if (!ring_has_room(s, RING_ENTRY_BYTES)) outbox_know(&s->outbox);
    if (sp->wants_read) spill_make_dirty(sp);
    spill_end_if_empty(sp);
}

void spill_refill(struct session *s)
{
    MUST(session_is_valid(s));
    struct spill *sp = s->spill;
    /* Not for each message: when half of the ring is free. */
    if (!sp || !ring_has_room(s, ring_bytes(s->broker) / 2)) return;
    spill_fill_ring(sp, 0);
}

/* What was in the ring before a start may have been sent, and is to be there again before others
 * go. */
static bool is_unsure(struct spill *sp)
{
    struct outbox *o = &sp->session->outbox;
    if (!outbox_is_known(o)) spill_fill_ring(sp, 0);
    return !outbox_is_known(o);
}

bool spill_drop_front(struct session *s)
{
    MUST(session_is_valid(s));
    struct spill *sp = s->spill;
    if (!sp || is_unsure(sp)) return false;
    if (!s->spill) return true; /* all of it is in the ring now */
    uint64_t dropped = 0, until = sp->job.out.size ? sp->out_first : sp->tail_first;
    bool is_written = sp->is_busy && sp->job.writes && sp->file_count <= 1;
    if (spill_has_more(sp) && !is_written) {
        if (sp->file_count > 1) until = sp->files[1].first;
        dropped = spill_give_up_file(sp);
    } else if (!spill_has_more(sp) && !sp->job.out.size && sp->tail_records) {
        until = sp->last;
        dropped = sp->tail_records;
        sp->broker->spills.tail_bytes -= spill_tail_left(sp);
        spill_count_off(sp, (size_t)sp->tail_records, (size_t)sp->tail_weight);
        sp->tail_records = sp->tail_weight = 0;
        sp->tail_first = sp->last;
        buf_clear(&sp->tail);
        sp->tail_used = 0;
    }
    if (!dropped) return false;
    journal_dropped(s, s->outbox.last, until);
    sp->skip_until = until;
    s->messages_dropped += dropped;
    metric_add(s->broker->context, METRIC_MQTT_DROPPED_FULL, dropped);
    spill_end_if_empty(sp);
    return true;
}

/* Not the newest, which is written, and not one of which something was read. */
bool spill_thin(struct session *s, uint32_t every)
{
    struct spill *sp = s->spill;
    struct spill_file *best = NULL;
    MUST(every >= 2);
    if (!sp || !outbox_is_known(&s->outbox)) return false;
    for (size_t i = 0; i + 1 < sp->file_count; i++) {
        struct spill_file *f = &sp->files[i];
        bool is_begun = i == 0 && (sp->read_offset || sp->in.size || sp->wants_read);
        if (!is_begun && f->records > 1 && (!best || f->thinned < best->thinned)) best = f;
    }
    if (!best) return false;
    if (sp->is_busy || sp->thin_every) return true; /* soon */
    sp->thin_every = every;
    sp->thin_number = best->number;
    spill_make_dirty(sp);
    return true;
}

void spill_free(struct broker *broker)
{
    while (broker->spills.first) { /* those of ended sessions whose job never came back */
        broker->spills.first->is_busy = false;
        spill_free_one(broker->spills.first);
    }
    spill_free_trash(broker->spills.trash);
    if (broker->spills.sweeping) spill_free_trash(broker->spills.sweeping->trash);
    mem_free(broker->spills.sweeping);
    broker->spills = (struct spills){0};
}

/* ---- checks ---- */

static void verify_one(const struct spill *sp)
{
    MUST(is_spill(sp));
    MUST(!sp->session || (sp->session->spill == sp && session_is_valid(sp->session)));
    MUST(sp->file_count <= sp->file_capacity && sp->in_used <= sp->in.size);
    MUST(sp->tail_used <= sp->tail.size && sp->tail_first <= sp->last);
    MUST(sp->file_count || !sp->read_offset);
    for (size_t i = 0; i < sp->file_count; i++) {
        const struct spill_file *f = &sp->files[i];
        MUST(f->number <= sp->broker->spills.last_number);
        MUST(f->synced_bytes <= f->bytes && f->synced_records <= f->records);
        MUST(f->synced_weight <= f->weight);
    }
}

void spill_verify(const struct broker *broker)
{
    const struct spills *all = &broker->spills;
    size_t count = 0, tails = 0, dirty = 0, is_dirty = 0;
    uint64_t files = 0, trash = 0;
    for (const struct spill *sp = all->first; sp; sp = sp->next) {
        MUST(!sp->next || sp->next->previous == sp);
        verify_one(sp);
        count++;
        is_dirty += sp->is_dirty;
        tails += spill_tail_left(sp) + sp->job.out.size;
        for (size_t i = 0; i < sp->file_count; i++) files += sp->files[i].bytes;
    }
    for (const struct spill *sp = all->dirty; sp; sp = sp->next_dirty) dirty += sp->is_dirty;
    for (const struct spill_trash *t = all->trash; t; t = t->next) trash += t->bytes;
    MUST(count == all->count && tails == all->tail_bytes && files == all->file_bytes);
    MUST(dirty == is_dirty && trash == all->trash_bytes);
}
