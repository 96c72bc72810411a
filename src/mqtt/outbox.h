/* outbox.h - what a session still has to deliver with QoS 1 and 2, in order.
 *
 * Each message gets the next ordinal of the session; its packet identifier is the ordinal modulo
 * 65,535, plus 1. So the identifier of a message needs no bookkeeping of its own and is the same
 * after a restart, which QoS 2 must be able to rely on; in return at most 65,534 lie between the
 * oldest that is open and the newest that is sent. One owner; sans I/O.
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
    OUTBOX_DONE,
};

struct outbox_item {
    struct message *message; /* a share; NULL once it need not be sent any more */
    union {
        uint32_t id;
        uint32_t *ids; /* owned, when there are more than one */
    };
    uint64_t change;    /* of the journal, that must be durable before QoS 2 is sent */
    uint16_t id_count;  /* subscription identifiers */
    uint8_t qos, state; /* enum outbox_state */
    bool retain, was_sent;
};

struct outbox {
    struct outbox_item *items;  /* ring, a power of two; NULL while empty */
    uint64_t first, next, last; /* oldest that is open; next to send; next to be given */
    uint64_t doubtful;          /* what lies before it may have been sent before a start */
    size_t bytes;               /* of messages in it */
    uint32_t capacity;          /* at most OUTBOX_SPAN_MAX, doubled */
    uint32_t in_flight;         /* of first … next, not done */
    uint32_t open;              /* of first … last, not done */
};

/* What is still to be delivered. */
static inline size_t outbox_count(const struct outbox *o)
{
    return o->open;
}
/* Places of the ring: also what is done behind one that is open. */
static inline size_t outbox_span(const struct outbox *o)
{
    return (size_t)(o->last - o->first);
}
static inline bool outbox_has_more(const struct outbox *o)
{
    return o->next < o->last;
}
static inline struct outbox_item *outbox_at(const struct outbox *o, uint64_t ordinal)
{
    return &o->items[ordinal & (o->capacity - 1)];
}
static inline uint16_t outbox_packet_id(uint64_t ordinal)
{
    return (uint16_t)(ordinal % 65535 + 1);
}

/* Appends; shares the message, copies the identifiers. Errors: NO_MEMORY. */
enum err outbox_add(struct outbox *outbox, struct message *message, uint8_t qos, bool retain,
                    const uint32_t *ids, size_t id_count);
/* Whether one more may be sent while `window` may be in flight. */
bool outbox_may_send(const struct outbox *outbox, uint32_t window);
/* The item to send next, which counts as in flight from now on; moves past those that are done. */
struct outbox_item *outbox_take(struct outbox *outbox, uint64_t *ordinal);
/* The open item that was sent with this packet identifier, or NULL. */
struct outbox_item *outbox_find(const struct outbox *outbox, uint16_t packet_id, uint64_t *ordinal);
/* It is delivered, or given up. */
void outbox_finish(struct outbox *outbox, struct outbox_item *item);
/* The message is not needed any more, its identifier still is (PUBREC came). */
void outbox_forget_message(struct outbox *outbox, struct outbox_item *item);
/* A new connection: what was sent and is not done is to be sent again. */
void outbox_rewind(struct outbox *outbox);
/* Whether the entry may have been sent with QoS 2 before this start, so that the receiver may know
 * its identifier: it must be released, for the identifier will be another message's one day. */
bool outbox_may_be_known(const struct outbox *outbox, uint64_t ordinal);
/* Whether the entry waits and was never sent; such a one can be given up. */
bool outbox_may_drop(const struct outbox *outbox, uint64_t ordinal);
void outbox_drop(struct outbox *outbox, uint64_t ordinal);
/* Gives up the oldest that was never sent; false: there is none. */
bool outbox_drop_oldest(struct outbox *outbox, uint64_t *ordinal);
/* Gives up the oldest of all, which holds up the span; false: it is on its way just now. */
bool outbox_drop_first(struct outbox *outbox, uint64_t *ordinal);
void outbox_free(struct outbox *outbox); /* empty afterwards; ordinals go on */

/* ---- at a start ---- */

/* What lies before `ordinal` and is not there is done. Errors: NO_MEMORY; LIMIT: it is so far away
 * that no outbox can have given it. */
enum err outbox_skip_to(struct outbox *outbox, uint64_t ordinal);
/* As outbox_add; `message` NULL: PUBREC came. */
enum err outbox_restore(struct outbox *outbox, struct message *message, uint8_t qos, bool retain,
                        const uint32_t *ids, size_t id_count);
void outbox_restore_done(struct outbox *outbox, uint64_t ordinal);
void outbox_restore_received(struct outbox *outbox, uint64_t ordinal);
/* All is restored: nobody knows what of it was sent. `is_all`: there is nothing behind it, in
 * files, that was in it; else outbox_know says so later. */
void outbox_restored(struct outbox *outbox, bool is_all);
void outbox_know(struct outbox *outbox);
bool outbox_is_known(const struct outbox *outbox);

#endif
