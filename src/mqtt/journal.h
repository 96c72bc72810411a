/* journal.h - what of the broker survives: sessions that are kept, their subscriptions and queues,
 * retained messages, QoS 2 state.
 *
 * All of it is a sequence of changes. Those of one turn of the broker's task become one note in the
 * node's log (store_note); who was promised something waits until his note is durable. Now and then
 * everything there is is written into one file (snapshot.h), in the same notation, so that the log
 * can forget. A start reads the file and then the notes behind it: each change can be applied again
 * to a state that has it already, so the file need not be a picture of one moment.
 *
 * A note or chunk: u8 format, then changes: u8 kind and its fields; numbers are LEB128, texts a
 * length and bytes. Sessions go by their serial, messages of a queue by the outbox's ordinal. */
#ifndef MQTT_JOURNAL_H
#define MQTT_JOURNAL_H

#include "mqtt/outbox.h"
#include "mqtt/tree.h"

struct broker;
struct session;
struct connection;

/* X(symbol, number): what a change is. */
#define JOURNAL_TABLE(X)                                                                           \
    X(SESSION, 1) /* serial, client id, user, expiry, last ordinal: it is there, or it changed */  \
    X(END, 2)     /* serial: it is gone */                                                         \
    X(SUBSCRIBE, 3)   /* serial, filter with $share, options, identifier */                        \
    X(UNSUBSCRIBE, 4) /* serial, filter with $share */                                             \
    X(MESSAGE, 5)     /* number, the message, publisher and packet id of QoS 2, targets */         \
    X(DONE, 6)        /* serial, ordinal: delivered or given up */                                 \
    X(RECEIVED, 7)    /* serial, ordinal: PUBREC came */                                           \
    X(RELEASE, 8)     /* serial, packet id: PUBREL came */                                         \
    X(TARGET, 9) /* serial, ordinal, message's number, …: an entry of a queue (file only) */     \
    X(TAKEN, 10) /* serial, packet id: QoS 2 that came in (file only) */

enum journal_kind {
#define X(symbol, number) JOURNAL_##symbol = number,
    JOURNAL_TABLE(X)
#undef X
};

enum { JOURNAL_FORMAT = 1 };

/* One acknowledgement that waits for a note. */
struct journal_ack {
    struct connection *connection; /* kept in place by connection->waiting_acks */
    uint64_t change, rows;         /* what must be durable, and stored; 0 = nothing */
    uint16_t packet_id;
    uint8_t type, reason; /* of the acknowledgement */
};

struct journal {
    struct buf out;     /* changes of this turn */
    struct buf targets; /* of the message that is being routed */
    size_t target_count;
    uint64_t change;                  /* number of the last change; runs anew with each start */
    uint64_t durable;                 /* all changes up to this one are durable */
    struct broker_note *first, *last; /* on their way, oldest first */
    size_t in_flight;
    uint64_t log_bytes;           /* of notes since the last snapshot began */
    uint64_t saved_seq, done_seq; /* positions: of the last snapshot; of the last durable note */
    struct journal_ack *acks;     /* ring */
    size_t ack_capacity;
    uint64_t ack_first, ack_last;
    int64_t told_ns;  /* when a failure was last told */
    uint64_t hole;    /* changes up to this one were lost for lack of memory: only a
                         snapshot that began behind it makes them durable; 0 = none */
    uint64_t reached; /* what notes made durable, the hole aside */
    bool is_off;      /* replaying: nothing is written */
    bool is_failing;  /* the log refuses: what is on its way is given again */
    bool keeps;       /* the message that is being routed is to be retained */
};

/* ---- changes; each gives nothing back: a failure of memory is met by journal_post ---- */

void journal_session(struct session *session);
void journal_end(struct session *session);
void journal_subscribe(struct session *session, const struct subscription *subscription);
void journal_unsubscribe(struct session *session, const struct subscription *subscription);
void journal_done(struct session *session, uint64_t ordinal);
void journal_received(struct session *session, uint64_t ordinal);
void journal_release(struct session *session, uint16_t packet_id);
/* A queue's entry for the message that is being routed; journal_message follows. */
void journal_target(struct session *session, uint64_t ordinal, const struct outbox_item *item);
/* The message that was routed: written when it has targets, is to be retained, or `publisher` (NULL
 * = QoS 0 or 1) must know its packet id again. True: it was. */
bool journal_message(struct broker *broker, const struct message *message,
                     struct session *publisher, uint16_t packet_id);

/* ---- waiting ---- */

/* Acknowledges: with `must_wait` when all changes so far are durable, with `rows` (a batch's
 * number; 0 = none) when that is stored; else at once, but behind what waits already of this
 * connection. */
void journal_acknowledge(struct connection *connection, enum mqtt_type type, uint16_t packet_id,
                         enum mqtt_reason reason, bool must_wait, uint64_t rows);
/* Gives those for which everything is done now. */
void journal_release_acks(struct broker *broker);
/* A batch of rows could not be stored: who waits for it is told. */
void journal_fail_rows(struct broker *broker, uint64_t number);
/* The end of a turn: what was gathered goes to the log. */
void journal_post(struct broker *broker);
/* Whether so much is on its way that publishers have to wait. */
bool journal_is_full(const struct broker *broker);
/* Once a second: gives again what the log did not take. */
void journal_retry(struct broker *broker);
/* A snapshot that was begun at `change` is durable. */
void journal_snapshot_done(struct broker *broker, uint64_t change);
void journal_free(struct broker *broker);

/* ---- reading ---- */

/* Applies the changes of a note or chunk. Errors: CORRUPT (what was before it in the text has been
 * applied), NO_MEMORY. */
enum err journal_replay(struct broker *broker, struct str text, struct why *why);
/* After the last one: sessions that are not kept end, the others wait for their expiry. */
void journal_replayed(struct broker *broker);

/* The change's notation, for the snapshot as well. */
/* `last`: the ordinal from which on its queue follows. */
void journal_write_session_at(struct buf *out, const struct session *session, uint64_t last);
void journal_write_subscribe(struct buf *out, const struct session *session,
                             const struct subscription *subscription);
/* `keeps`: as a retained one. */
void journal_write_message(struct buf *out, const struct broker *broker,
                           const struct message *message, bool keeps);
void journal_write_target(struct buf *out, const struct session *session, uint64_t ordinal,
                          const struct outbox_item *item);
void journal_write_pair(struct buf *out, enum journal_kind kind, const struct session *session,
                        uint64_t number);

#endif
