/* outbox.h - what a session still has to deliver with QoS 1 and 2, in order.
 *
 * Each message gets the next ordinal of the session; its packet identifier is the ordinal modulo
 * 65,535, plus 1. So the identifier of a message needs no bookkeeping of its own and is the same
 * after a restart, which QoS 2 must be able to rely on; in return at most 65,534 lie between the
 * oldest that is open and the newest that is sent.
 *
 * Items lie in a ring from `first` (the oldest that is open) over `next` (the first that is not
 * sent on this connection) to `last`. What is done in between keeps its place until all before it
 * is done, too. The way of an item (MQTT 5.0 figures 4.2
 * and 4.3):
 *
 *     QoS 1   WAITING → SENT → DONE
 *     QoS 2   WAITING → SENT → RELEASED → DONE
 *             a connection ends: SENT → WAITING, RELEASED → RECEIVED → RELEASED
 *     given up, or refused by the receiver: → DONE
 *
 * Invariants: first ≤ next ≤ last; span ≤ OUTBOX_SPAN_MAX + 1; `open` and `in_flight` are what they
 * count; an item has its message exactly while it is WAITING or SENT; the item at `first` is not
 * DONE; an empty outbox holds no memory. One owner; sans I/O.
 *
 * Source: MQTT 5.0 sections 4.3, 4.4, 4.6. */
#ifndef MQTT_OUTBOX_H
#define MQTT_OUTBOX_H

#include "mqtt/message.h"

enum {
    OUTBOX_IDS_MAX = 64,       /* subscription identifiers of one message; more are left out */
    OUTBOX_SPAN_MAX = 1 << 20, /* between the oldest that is open and the newest */
};

enum outbox_state {
    OUTBOX_WAITING,  /* not sent on this connection */
    OUTBOX_SENT,     /* waits for PUBACK or PUBREC */
    OUTBOX_RECEIVED, /* PUBREC came: PUBREL is to be sent (again) */
    OUTBOX_RELEASED, /* waits for PUBCOMP */
    OUTBOX_DONE,     /* acknowledged, or given up */
};

struct outbox_item {
    /* A share; NULL once it need not be sent any more. */
    struct message *message;
    union {
        uint32_t id;   /* with id_count 1 */
        uint32_t *ids; /* owned, when there are more than one */
    };
    /* Of the journal: must be durable before QoS 2 is sent; 0 = nothing. */
    uint64_t change;
    /* Subscription identifiers that go with it; at most OUTBOX_IDS_MAX. */
    uint16_t id_count;
    /* 1 or 2; enum outbox_state. */
    uint8_t qos, state;
    /* What the receiver is told; was_sent: on any connection, so that it goes out as DUP. */
    bool retain, was_sent;
    /* It came by a shared subscription, and may go to another member. */
    bool is_shared;
};

/* All zeros: empty, and the next ordinal is 0. */
struct outbox {
    /* Ring, a power of two; NULL while empty. */
    struct outbox_item *items;
    /* Ordinals: oldest that is open; next to send; next to be given. */
    uint64_t first, next, last;
    /* What lies before it may have been sent before a start. */
    uint64_t doubtful;
    /* What lies before it had a client to be sent to before a start, and goes out as DUP. */
    uint64_t tried;
    /* message_size of all messages in it. */
    size_t bytes;
    /* Places of the ring; doubled, never more than twice OUTBOX_SPAN_MAX. */
    uint32_t capacity;
    /* Of first … next, not done: what the receive maximum bounds (4.9). */
    uint32_t in_flight;
    /* Of first … last, not done. */
    uint32_t open;
};

/* What is still to be delivered. */
static inline size_t outbox_count(const struct outbox *o)
{
    return o->open;
}
/* Places of the ring that are taken: also by what is done behind one that is open. */
static inline size_t outbox_span(const struct outbox *o)
{
    return (size_t)(o->last - o->first);
}
/* Whether there is anything that was not sent on this connection. */
static inline bool outbox_has_more(const struct outbox *o)
{
    return o->next < o->last;
}
/* The item with an ordinal of first … last, borrowed until one is added or finished. */
static inline struct outbox_item *outbox_at(const struct outbox *o, uint64_t ordinal)
{
    return &o->items[ordinal & (o->capacity - 1)];
}
/* 1 to 65,535. */
static inline uint16_t outbox_packet_id(uint64_t ordinal)
{
    return (uint16_t)(ordinal % 65535 + 1);
}

/* Appends; shares the message, copies the identifiers. `qos`: 1 or 2; `id_count` ≤ OUTBOX_IDS_MAX.
 * Errors: NO_MEMORY, and nothing was added. */
enum err outbox_add(struct outbox *outbox, struct message *message, uint8_t qos, bool retain,
                    const uint32_t *ids, size_t id_count);
/* Whether one more may be sent while `window` may be in flight. */
bool outbox_may_send(const struct outbox *outbox, uint32_t window);
/* The item to send next (borrowed, with its ordinal), which counts as in flight from now on; it may
 * be done already. Only when there is more. */
struct outbox_item *outbox_take(struct outbox *outbox, uint64_t *ordinal);
/* The open item that was sent with this packet identifier (borrowed, with its ordinal), or NULL.
 * Any identifier, also one that nobody gave. */
struct outbox_item *outbox_find(const struct outbox *outbox, uint16_t packet_id, uint64_t *ordinal);
/* An item in flight is delivered, or given up. Items move: none is borrowed any more. */
void outbox_finish(struct outbox *outbox, struct outbox_item *item);
/* The message is not needed any more, its identifier still is (PUBREC came): the caller sets the
 * state that says so. */
void outbox_forget_message(struct outbox *outbox, struct outbox_item *item);
/* A new connection: what was sent and is not done is to be sent again [MQTT-4.4.0-1]. */
void outbox_rewind(struct outbox *outbox);
/* Whether the entry may have been sent with QoS 2 before this start, so that the receiver may know
 * its identifier: it must be released, for the identifier will be another message's one day. */
bool outbox_may_be_known(const struct outbox *outbox, uint64_t ordinal);
/* Whether the entry was sent on another connection, or may have been before this start: its DUP
 * [MQTT-3.3.1-1]. */
bool outbox_is_again(const struct outbox *outbox, uint64_t ordinal);
/* Whether the entry, of next … last, waits and was never sent; such a one can be given up. */
bool outbox_may_drop(const struct outbox *outbox, uint64_t ordinal);
/* Gives up an entry that may be. */
void outbox_drop(struct outbox *outbox, uint64_t ordinal);
/* Gives up the oldest that was never sent, and says which; false: there is none. */
bool outbox_drop_oldest(struct outbox *outbox, uint64_t *ordinal);
/* Gives up the oldest of all, which holds up the span; false: it is on its way just now. */
bool outbox_drop_first(struct outbox *outbox, uint64_t *ordinal);
/* Lets go of everything: empty afterwards; ordinals go on. */
void outbox_free(struct outbox *outbox);
/* MUST for every invariant of the outbox. `each`: also of each item. O(1), or O(span). */
void outbox_verify(const struct outbox *outbox, bool each);

/* ---- at a start ---- */

/* What lies before `ordinal` and is not there is done. Errors: NO_MEMORY; LIMIT: it is so far away
 * that no outbox can have given it. */
enum err outbox_skip_to(struct outbox *outbox, uint64_t ordinal);
/* As outbox_add; `message` NULL: PUBREC came. */
enum err outbox_restore(struct outbox *outbox, struct message *message, uint8_t qos, bool retain,
                        const uint32_t *ids, size_t id_count);
/* It was finished; one that is not there is passed over. Nothing is in flight yet. */
void outbox_restore_done(struct outbox *outbox, uint64_t ordinal);
/* What is restored until now may have been sent: its client was there, or came. */
void outbox_restore_tried(struct outbox *outbox);
/* PUBREC came for it; the same. */
void outbox_restore_received(struct outbox *outbox, uint64_t ordinal);
/* All is restored: nobody knows what of it was sent. `is_all`: there is nothing behind it, in
 * files, that was in it; else outbox_know says so later. */
void outbox_restored(struct outbox *outbox, bool is_all);
void outbox_know(struct outbox *outbox);
bool outbox_is_known(const struct outbox *outbox);

#endif
