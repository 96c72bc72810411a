/* notes.c - records in the log that are not the store's: see store.h, store_note.
 *
 * Notes that arrive in one round of jobs become one write, before that round's rows. What they mean
 * is their owner's; the log only keeps them until the owner has said that it needs them no more, so
 * an owner that is asked to save and does not makes the log grow. */
#include "store/store_priv.h"
#include <stddef.h>

static const char component[] = "store";

static void run_note(struct job *job) /* log task */
{
    struct store_note *note = (void *)((char *)job - offsetof(struct store_note, arrive));
    struct notes *notes = &note->store->notes;
    note->next = NULL;
    *(notes->arrived ? &notes->arrived_last->next : &notes->arrived) = note;
    notes->arrived_last = note;
}

void store_note(struct store *store, struct store_note *note)
{
    MUST(store_is_valid(store));
    MUST(note->completion.done && note->body.size && note->body.size <= STORE_NOTE_BYTES_MAX);
    note->store = store;
    note->arrive.run = run_note;
    loop_post(&store->log_loop, &note->arrive);
}

static enum err frame(struct store *store, struct store_note *note)
{
    note->seq = log_next_seq(&store->log, context_wall_ns(store->context));
    size_t mark =
        log_record_begin(&store->log, LOG_NOTE, note->seq, atomic_load(&store->position_durable));
    buf_add_str(&store->log.pending, note->body);
    return log_record_end(&store->log, mark);
}

/* Finishes the first ones of a list. */
static void finish(struct store_note **list, uint64_t up_to, enum err err, const struct why *why)
{
    while (*list && (err || (*list)->seq <= up_to)) {
        struct store_note *note = *list;
        *list = note->next;
        note->next = NULL;
        completion_finish(&note->completion, err, why);
    }
}

void notes_finish(struct store *store, uint64_t up_to, enum err err, const struct why *why)
{
    finish(&store->notes.waiting, up_to, err, why);
}

static void wait_for_sync(struct notes *notes, struct store_note *first)
{
    struct store_note **end = &notes->waiting;
    while (*end) end = &(*end)->next;
    *end = first;
}

bool notes_write(struct store *store)
{
    struct notes *notes = &store->notes;
    struct store_note *first = notes->arrived;
    struct why why = WHY_NONE;
    if (!first) return false;
    notes->arrived = notes->arrived_last = NULL;
    enum err err = store_recover_log(store, &why);
    uint64_t from = 0;
    for (struct store_note *n = first; n && !err; n = n->next) {
        err = frame(store, n);
        if (!from) from = n->seq;
    }
    if (err)
        buf_clear(&store->log.pending);
    else
        err = store_write_round(store, &why);
    if (err) {
        finish(&first, 0, err, &why);
        return false;
    }
    for (struct store_note *n = first; n; n = n->next)
        if (n->written.done) completion_finish(&n->written, ERR_OK, NULL);
    MUST(from > notes->last_seq && from <= store->appended);
    if (!notes->held_from) notes->held_from = from;
    notes->last_seq = store->appended;
    wait_for_sync(notes, first);
    return true;
}

/* ---- what is kept ---- */

void notes_replayed(struct store *store, uint64_t seq)
{
    if (!store->notes.held_from) store->notes.held_from = seq;
    store->notes.last_seq = seq;
}

uint64_t notes_recyclable(struct store *store, uint64_t checkpoint)
{
    struct notes *notes = &store->notes;
    if (!notes->held_from || notes->held_from > checkpoint) return checkpoint;
    if (notes->owner.save && !notes->is_asked) {
        notes->is_asked = true;
        notes->owner.save(notes->owner.arg);
    }
    return notes->held_from - 1;
}

static void run_saved(struct job *job) /* log task */
{
    struct store_notes_saved *saved =
        (void *)((char *)job - offsetof(struct store_notes_saved, arrive));
    struct store *store = saved->store;
    struct notes *notes = &store->notes;
    notes->is_asked = false;
    if (notes->held_from && saved->up_to >= notes->held_from)
        notes->held_from = saved->up_to >= notes->last_seq ? 0 : saved->up_to + 1;
    if (store->log.file)
        log_recycle(&store->log, notes_recyclable(store, atomic_load(&store->checkpoint)));
    completion_finish(&saved->completion, ERR_OK, NULL);
}

void store_notes_saved(struct store *store, struct store_notes_saved *saved)
{
    MUST(store_is_valid(store) && saved->completion.done);
    diag(store->context, DIAG_DEBUG, component, "notes up to %llu are saved",
         (unsigned long long)saved->up_to);
    saved->store = store;
    saved->arrive.run = run_saved;
    loop_post(&store->log_loop, &saved->arrive);
}
