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
 * length and bytes. Sessions go by their serial, messages of a queue by the outbox's ordinal.
 *
 * Changes are numbered from 1 at each start. Always: durable ≤ change, written ≤ change, and
 * without a hole durable = reached. Nobody is told of a change above `durable` that he was promised
 * (or above `written`, where that was enough), and acknowledgements of one connection keep their
 * order (MQTT 5.0 section 4.6).
 *
 * Broker's task; the reading side before that runs, by whoever starts the broker. Only the notes
 * themselves go to the main loop and back (broker.h: struct broker_note). */
#ifndef MQTT_JOURNAL_H
#define MQTT_JOURNAL_H

#include "base/reader.h"
#include "mqtt/outbox.h"
#include "mqtt/rows.h"
#include "mqtt/tree.h"

struct broker;
struct space;
struct session;
struct connection;

/* X(symbol, number): what a change is. */
#define JOURNAL_TABLE(X)                                                                           \
    X(SESSION, 1)   /* serial, client id, user, namespace ("" = default), expiry, last ordinal: it \
                       is   there, or it changed */                                                \
    X(END, 2)       /* serial: it is gone */                                                       \
    X(SUBSCRIBE, 3) /* serial, filter with $share, options, identifier */                          \
    X(UNSUBSCRIBE, 4) /* serial, filter with $share */                                             \
    X(MESSAGE, 5)     /* number, the message, publisher and packet id of QoS 2, targets */         \
    X(DONE, 6)        /* serial, ordinal: delivered or given up */                                 \
    X(RECEIVED, 7)    /* serial, ordinal: PUBREC came */                                           \
    X(RELEASE, 8)     /* serial, packet id: PUBREL came */                                         \
    X(TARGET, 9)     /* serial, ordinal, message's number, …: an entry of a queue (file only) */ \
    X(TAKEN, 10)     /* serial, packet id: QoS 2 that came in (file only) */                       \
    X(DROPPED, 11)   /* serial, two ordinals: what lies from one up to the other was given up */   \
    X(QUEUE, 12)     /* serial, …: the files of a long queue (spill.h; file only) */             \
    X(WILL, 13)      /* serial, client id, user, delay, expiry, when it is due, the message */     \
    X(WILL_GONE, 14) /* serial: published, or not wanted any more */

enum journal_kind {
#define X(symbol, number) JOURNAL_##symbol = number,
    JOURNAL_TABLE(X)
#undef X
};

/* Format 1 knows no namespaces: what it has is in `default`. Up to 2 there are no wills. */
enum { JOURNAL_FORMAT = 3, JOURNAL_FORMAT_OLDEST = 1 };

/* One acknowledgement that waits for a note. */
struct journal_ack {
    /* Borrowed; kept in place by connection->waiting_acks. */
    struct connection *connection;
    /* What must be durable; 0 = nothing. */
    uint64_t change;
    /* What must be stored; both 0 = nothing. */
    struct rows_span rows;
    /* Of the acknowledgement: enum mqtt_type and enum mqtt_reason. */
    uint16_t packet_id;
    uint8_t type, reason;
    /* With the kernel is enough. */
    bool is_written;
    /* No packet of its own: what the connection wrote is held back. */
    bool is_output;
};

struct journal {
    /* Changes of this turn; failed: some of them are lost, and become the hole. */
    struct buf out;
    /* Of the message that is being routed: its entries in queues, and how many. Empty between two
     * messages. */
    struct buf targets;
    size_t target_count;
    /* Number of the last change; runs anew with each start. */
    uint64_t change;
    /* All changes up to this one are durable. */
    uint64_t durable;
    /* With the kernel; counts where it is above durable. */
    uint64_t written;
    /* Somebody waits for that of the turn's changes. */
    bool wants_written;
    /* Notes that are not done, oldest first; after a failure also those that wait to be given
     * again. */
    struct broker_note *first, *last;
    /* Of these those that are with the hook. */
    size_t in_flight;
    /* Of notes since the last snapshot began. */
    uint64_t log_bytes;
    /* Positions in the log: of the last snapshot; of the last durable note. */
    uint64_t saved_seq, done_seq;
    /* A ring, a power of two; from ack_first up to ack_last, in the order of their promises. */
    struct journal_ack *acks;
    size_t ack_capacity;
    uint64_t ack_first, ack_last;
    /* When a failure was last told, in ns of the monotonic clock; 0 = never. */
    int64_t told_ns;
    /* Changes up to this one were lost for lack of memory: only a snapshot that began behind it
     * makes them durable; 0 = none. */
    uint64_t hole;
    /* What notes made durable, the hole aside. */
    uint64_t reached;
    /* Replaying, or ending: nothing is written. */
    bool is_off;
    /* The log refuses: what is on its way is given again. */
    bool is_failing;
    /* Format of what is being replayed. */
    uint8_t reading;
    /* Where the message that is being routed is to be retained, or is to take away what was; NULL =
     * nowhere. */
    const struct space *keeps;
};

/* ---- changes ----
 *
 * Each is written when it happens, and gives nothing back: a failure of memory is met by
 * journal_post. Of a session that is not kept nothing is written, and nothing while is_off. */

/* It is there, or its expiry has changed; from the first time that it is to be kept on, it is. */
void journal_session(struct session *session);
/* It ends: nothing more of it is said. */
void journal_end(struct session *session);
/* A subscription was made, or changed; it goes. */
void journal_subscribe(struct session *session, const struct subscription *subscription);
void journal_unsubscribe(struct session *session, const struct subscription *subscription);
/* An entry of its queue is delivered, or given up. */
void journal_done(struct session *session, uint64_t ordinal);
/* PUBREC came for one. */
void journal_received(struct session *session, uint64_t ordinal);
/* PUBREL came for a message that it published. */
void journal_release(struct session *session, uint16_t packet_id);
/* Its queue's entries from one ordinal up to (without) the other were given up. */
void journal_dropped(struct session *session, uint64_t from, uint64_t until);
/* The session's will, also where nothing else of the session is kept: when the broker ends without
 * its client's DISCONNECT, the next start publishes it. Again when it is to wait for its delay. */
void journal_will(struct session *session);
/* It was published, or is not wanted any more. */
void journal_will_gone(struct session *session);
/* A queue's entry for the message that is being routed; journal_message follows. */
void journal_target(struct session *session, uint64_t ordinal, const struct outbox_item *item);
/* The message that was routed: written when it has targets, is to be retained, or `publisher` (NULL
 * = QoS 0 or 1) must know its packet id again. True: it was. Ends what journal_target and `keeps`
 * began, in any case. */
bool journal_message(struct broker *broker, const struct message *message,
                     struct session *publisher, uint16_t packet_id);

/* ---- waiting ---- */

/* What an acknowledgement waits for: nothing, the kernel, the disk. */
enum journal_wait { JOURNAL_NOT, JOURNAL_WRITTEN, JOURNAL_DURABLE };
/* Acknowledges: when all changes so far are as `wait` says, with `rows` when those batches are
 * stored; else at once, but behind what waits already of this connection. Without memory for a
 * place in the line the connection ends: its client sends again. */
void journal_acknowledge(struct connection *connection, enum mqtt_type type, uint16_t packet_id,
                         enum mqtt_reason reason, enum journal_wait wait, struct rows_span rows);
/* What the connection writes is held back, in its order, until all changes so far are durable. May
 * end the connection, as above. */
void journal_hold_output(struct connection *connection);
/* Gives those for which everything is done now. */
void journal_release_acks(struct broker *broker);
/* The broker's end: nobody is left to be told; answers of the log may still come. */
void journal_forget_acks(struct broker *broker);
/* A batch of rows could not be stored: who waits for it is told, or loses his connection. */
void journal_fail_rows(struct broker *broker, uint64_t number);
/* The end of a turn: what was gathered goes to the log. */
void journal_post(struct broker *broker);
/* Whether so much is on its way that publishers have to wait. */
bool journal_is_full(const struct broker *broker);
/* Once a second: gives again what the log did not take. */
void journal_retry(struct broker *broker);
/* A snapshot that was begun at `change` is durable: it may fill the hole. */
void journal_snapshot_done(struct broker *broker, uint64_t change);
/* The task has ended: notes that are with the hook are the hook's to free from here on. */
void journal_disown(struct broker *broker);
/* Frees what is left; the broker's end. */
void journal_free(struct broker *broker);
/* MUST for the journal's invariants, at the end of a turn; O(acks). */
void journal_verify(const struct broker *broker);

/* ---- a message's fields, as they stand in changes and in queue files ---- */

/* `keeps`: the space in which it is retained, or with an empty payload takes away what was; NULL =
 * none. */
void journal_write_fields(struct buf *out, const struct broker *broker,
                          const struct message *message, const struct space *keeps);
/* Reads them: gives a message, which counts in the broker's memory. Errors: CORRUPT, NO_MEMORY. */
enum err journal_read_fields(struct broker *broker, struct reader *in, struct message **message,
                             struct why *why);

/* ---- reading ---- */

/* Applies the changes of a note or chunk. Errors: CORRUPT (what was before it in the text has been
 * applied), NO_MEMORY. */
enum err journal_replay(struct broker *broker, struct str text, struct why *why);
/* After the last one: sessions that are not kept end, the others wait for their expiry. */
void journal_replayed(struct broker *broker);

/* ---- the changes' notation, for the snapshot as well; a failure is the buffer's ---- */

/* SESSION. `last`: the ordinal from which on its queue follows. */
void journal_write_session_at(struct buf *out, const struct session *session, uint64_t last);
/* SUBSCRIBE. */
void journal_write_subscribe(struct buf *out, const struct session *session,
                             const struct subscription *subscription);
/* WILL: the session's, which it has. */
void journal_write_will(struct buf *out, const struct session *session);
/* MESSAGE, with neither publisher nor targets. `keeps`: as one that is retained there; NULL: none.
 */
void journal_write_message(struct buf *out, const struct broker *broker,
                           const struct message *message, const struct space *keeps);
/* TARGET. */
void journal_write_target(struct buf *out, const struct session *session, uint64_t ordinal,
                          const struct outbox_item *item);
/* Any of those with a serial and one number: DONE, RECEIVED, RELEASE, TAKEN; DROPPED's beginning.
 */
void journal_write_pair(struct buf *out, enum journal_kind kind, const struct session *session,
                        uint64_t number);

#endif
