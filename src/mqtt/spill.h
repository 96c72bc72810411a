/* spill.h - the part of a session's queue that is too long for memory: files.
 *
 * A session's queue is, oldest first: the ring of its outbox, records in files, a tail of records
 * in memory that will be written next. Messages go in at the end; when the ring has room the oldest
 * records are read back into it. A queue that fits the ring (mqtt.queue.memory) has no files.
 *
 * Files: "mqtt/queues/NUMBER" in the data folder, 16 hexadecimal digits, numbered over all sessions
 * and never written again once full. A record: u32 size, u32 CRC32C, then the ordinal, how it is to
 * be delivered, and the message as in the journal. They need no sync of their own: until the next
 * snapshot the log's notes hold every message, and a snapshot (snapshot.h) has all files synced
 * before it begins and says which of them, up to which byte, belong to which session. What came
 * later is thrown away at a start and made again from the notes. For the same reason a file whose
 * records were all read back is removed only when a later snapshot does not name it.
 *
 * The disk is touched on workers, by one job of a spill at a time (is_busy); the job reads and
 * writes nothing but its own struct and the spill's broker. All else is the broker's task, and,
 * before that runs, whoever starts the broker, who may wait for the disk.
 *
 * Invariants: ordinals count up from the ring over the files to the tail, and `last` is above all
 * of them; `count` and `bytes` are what is not in the ring (bytes nearly so once a file was
 * thinned); the broker's file_bytes and tail_bytes are the sums over all spills; only the newest
 * file may have bytes that are not synced. */
#ifndef MQTT_SPILL_H
#define MQTT_SPILL_H

#include "mqtt/broker.h"
#include "mqtt/outbox.h"

struct session;
struct spill;

enum { SPILL_MAGIC = 0x7370696c };

/* One file. Records are counted so that a limit and a status can be told without reading them. */
struct spill_file {
    /* Its name. */
    uint64_t number;
    /* The ordinal of its first record. */
    uint64_t first;
    /* Written, and on the disk for certain (synced ≤ written); so are the next two pairs. */
    uint64_t bytes, synced_bytes;
    uint64_t records, synced_records;
    /* Their messages' size, as the queue's limit counts it. */
    uint64_t weight, synced_weight;
    /* How often it was thinned out, since the start. */
    unsigned thinned;
};

/* What the disk has to do, and what came of it. While it is with a worker only that touches it. */
struct spill_job {
    /* `out` to a file; that file to the disk; the file is new. */
    bool writes, syncs, makes;
    /* read_bytes of a file into `in`. */
    bool reads;
    /* Writes each so many-th record of one file into another, and nothing else; 0 = does not. */
    uint32_t thins;
    uint64_t thin_number, thin_bytes;
    /* The other one, and its answer. */
    uint64_t fresh_number, fresh_bytes, fresh_records;
    uint64_t write_number, write_offset, read_number, read_offset;
    size_t read_bytes;
    /* Records on their way; kept until they are written, so that a failure loses nothing. */
    struct buf out, in;
    /* The answer; CORRUPT: what was read is no file of ours, and never will be. */
    enum err err;
    struct why why;
};

struct spill {
    struct broker_work work; /* first */
    uint32_t magic;          /* SPILL_MAGIC while it lives */
    struct broker *broker;
    /* Whose it is, and whose `spill` is this; NULL: it has ended, this goes when the job is back.
     */
    struct session *session;
    /* The broker's list of all; its list of those that spill_post looks at (is_dirty). */
    struct spill *next, *previous, *next_dirty;
    /* The next ordinal to be given. */
    uint64_t last;
    /* Records with smaller ordinals were given up. */
    uint64_t skip_until;
    /* Smaller ordinals are in synced files, or were read back. */
    uint64_t synced_last;
    /* Messages that are not in the ring. */
    size_t count, bytes;
    /* Oldest, which is read, to newest, which is written. */
    struct spill_file *files;
    size_t file_count, file_capacity;
    /* Of the oldest file: what was read back. */
    uint64_t read_offset, read_records, read_weight;
    /* Read, from in_used on not taken yet. */
    struct buf in;
    size_t in_used;
    /* Records that are not written yet, from tail_used on. */
    struct buf tail;
    size_t tail_used;
    /* Of these: the first one's ordinal, how many, what they weigh. */
    uint64_t tail_first, tail_records, tail_weight;
    /* The same of job.out. */
    uint64_t out_first, out_records, out_weight;
    struct spill_job job;
    /* A file is to be thinned out, to each so many-th record; 0 = none. */
    uint32_t thin_every;
    uint64_t thin_number;
    /* busy: the job is with a worker. failing: it is tried again at the next second. stale: what is
     * being read was given up. */
    bool is_busy, is_dirty, is_failing, is_stale;
    /* wants_…: for the next job. syncing: the job under way is the sync that was wanted. must_roll:
     * what is written next begins a file. */
    bool wants_read, wants_sync, is_syncing, must_roll;
};

/* Those of the broker. */
struct spills {
    /* All of them; those that spill_post looks at. */
    struct spill *first, *dirty;
    /* The highest number of a file that was given, or seen. */
    uint64_t last_number;
    /* Of all files that are still to be read. */
    uint64_t file_bytes;
    /* That wait for the disk: tails, and what is being written. */
    size_t tail_bytes;
    /* How many there are. */
    size_t count;
    /* Files that wait to be removed, and their size (spill_trash.c). */
    struct spill_trash *trash;
    uint64_t trash_bytes;
    /* NULL: nothing is being removed. */
    struct sweep *sweeping;
    /* When a failure was last told, in ns of the monotonic clock; 0 = never. */
    int64_t told_ns;
};

/* ---- a session's queue; broker's task ---- */

/* How many wait, and their size: in the ring and not. */
size_t session_queued(const struct session *session);
size_t session_queued_bytes(const struct session *session);
/* The ordinal that the next message gets. */
uint64_t session_last(const struct session *session);

/* Whether a message has to go behind the ring. */
bool spill_must_take(const struct session *session, const struct message *message);
/* Appends (copies) with an ordinal of session_last() or later; `how` says QoS 1 or 2. Errors:
 * NO_MEMORY, and nothing was added. */
enum err spill_add(struct session *session, uint64_t ordinal, const struct message *message,
                   const struct outbox_item *how);
/* The ring may have room: has it filled. May end the spill. */
void spill_refill(struct session *session);
/* Gives up the oldest file's worth of messages, which were never sent; false: there is none just
 * now. May end the spill. */
bool spill_drop_front(struct session *session);
/* Has a file thinned out to each n-th message (2 or more): the oldest of those that were least
 * often. False: there is none that could be. */
bool spill_thin(struct session *session, uint32_t every);
/* The session ends: its files go, at the latest when its job is back. */
void spill_end(struct session *session);

/* ---- the broker ---- */

/* The end of a turn: what is due goes to the disk. */
void spill_post(struct broker *broker);
/* Once a second: tries again what failed. */
void spill_tick(struct broker *broker);
/* So much waits for the disk that publishers have to wait. */
bool spill_is_full(const struct broker *broker);
/* Has everything that waits now written and synced; snapshot_go_on is told of each step. */
void spill_sync(struct broker *broker);
/* Whether all that spill_sync asked for is done. */
bool spill_is_synced(const struct broker *broker);
/* What a snapshot says of a session's files; nothing when it has none. */
void spill_write_named(struct buf *out, const struct session *session);
/* A snapshot is durable: files that were done with before it began are removed. */
void spill_sweep(struct broker *broker, uint32_t snapshot);
/* The broker's end: no worker has a job any more. */
void spill_free(struct broker *broker);
/* MUST for the invariants of all spills, between two calls; O(files). */
void spill_verify(const struct broker *broker);

/* ---- at a start ---- */

/* What a snapshot says of a session's files; the fields are those of struct spill. */
struct spill_named {
    uint64_t last, read_offset, read_records, read_weight;
    size_t count;
    struct spill_file *files; /* borrowed */
};
/* Gives the session a spill of these files, which are not looked at yet. Errors: NO_MEMORY;
 * CORRUPT: it has one already, or the numbers contradict each other. */
enum err spill_restore(struct session *session, const struct spill_named *named, struct why *why);
/* Removes files that nobody has; with `keeps` leaves them where they are. Blocking. */
void spill_clean(struct broker *broker, bool keeps);
/* Reads back until `ordinal` is in the ring, or nothing is left. Blocking. */
void spill_reach(struct session *session, uint64_t ordinal);
/* Messages from `from` up to `until` were given up. Blocking. */
void spill_skip(struct session *session, uint64_t from, uint64_t until);

/* ---- spill_file.c: records, and what a worker does ---- */

struct spill_record {
    uint64_t ordinal;
    /* qos, retain, id_count; the identifiers are in `ids`. */
    struct outbox_item how;
    uint32_t ids[OUTBOX_IDS_MAX];
    /* A share (gives); NULL when it could not be read. */
    struct message *message;
};
/* Appends a record whole, or nothing: then there was no memory, and the buffer says so. */
void spill_write_record(struct buf *out, const struct broker *broker, uint64_t ordinal,
                        const struct message *message, const struct outbox_item *how);
/* The record at the beginning of the bytes: its size. 0 with `*err` OK: it is not whole; CORRUPT:
 * what stands there is none; NO_MEMORY. `record` NULL: only the size is wanted, which may be more
 * than there are bytes. */
size_t spill_read_record(struct broker *broker, struct str bytes, struct spill_record *record,
                         enum err *err, struct why *why);
/* The job of a spill that is busy: on a worker, or by whoever may wait. */
void spill_do_job(struct spill *spill);
/* Where the file of that number lies. */
void spill_path(const struct broker *broker, uint64_t number, char *path, size_t path_bytes);

#endif
