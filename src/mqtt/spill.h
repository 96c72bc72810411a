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
 * The disk is touched on workers, by one job of a spill at a time; all else is the broker's task,
 * and, before that runs, whoever starts the broker, who may wait for the disk. */
#ifndef MQTT_SPILL_H
#define MQTT_SPILL_H

#include "mqtt/broker.h"
#include "mqtt/outbox.h"

struct session;
struct spill;

/* One file. Records are counted so that a limit and a status can be told without reading them. */
struct spill_file {
    uint64_t number;
    uint64_t first; /* the ordinal of its first record */
    uint64_t bytes, synced_bytes;
    uint64_t records, synced_records; /* written; of these on the disk for certain */
    uint64_t weight, synced_weight;   /* their messages' size, as the queue's limit counts it */
    unsigned thinned;                 /* how often, since the start */
};

/* What the disk has to do, and what came of it. */
struct spill_job {
    bool writes, syncs, makes; /* out to a file; that file to the disk; the file is new */
    bool reads;
    uint32_t thins; /* writes each so many-th record of one file into another; 0 = does not */
    uint64_t thin_number, thin_bytes, fresh_number, fresh_bytes, fresh_records;
    uint64_t write_number, write_offset, read_number, read_offset;
    size_t read_bytes;
    struct buf out, in;
    enum err err;
    struct why why;
};

struct spill {
    struct broker_work work; /* first */
    struct broker *broker;
    struct session *session; /* NULL: it has ended, this goes when the job is back */
    struct spill *next, *previous, *next_dirty;
    uint64_t last;            /* the next ordinal to be given */
    uint64_t skip_until;      /* records with smaller ordinals were given up */
    uint64_t synced_last;     /* smaller ordinals are in synced files, or were read back */
    size_t count, bytes;      /* messages that are not in the ring */
    struct spill_file *files; /* oldest, which is read, to newest, which is written */
    size_t file_count, file_capacity;
    uint64_t read_offset, read_records, read_weight; /* of the oldest file: what was read back */
    struct buf in;                                   /* read, from in_used on not taken yet */
    size_t in_used;
    struct buf tail; /* records that are not written yet, from tail_used on */
    size_t tail_used;
    uint64_t tail_first, tail_records, tail_weight;
    uint64_t out_first, out_records, out_weight; /* of job.out */
    struct spill_job job;
    uint32_t thin_every; /* a file is to be thinned out; 0 = none */
    uint64_t thin_number;
    bool is_busy, is_dirty, is_failing, is_stale; /* stale: what is being read was given up */
    bool wants_read, wants_sync, is_syncing, must_roll;
};

/* Those of the broker. */
struct spills {
    struct spill *first, *dirty;
    uint64_t last_number; /* of files */
    uint64_t file_bytes;  /* of all files that are still to be read */
    size_t tail_bytes;    /* that wait for the disk */
    size_t count;         /* of spills */
    struct spill_trash *trash;
    uint64_t trash_bytes;
    struct sweep *sweeping; /* NULL: nothing is being removed */
    int64_t told_ns;        /* when a failure was last told */
};

/* ---- a session's queue; broker's task ---- */

/* How many wait, and their size: in the ring and not. */
size_t session_queued(const struct session *session);
size_t session_queued_bytes(const struct session *session);
/* The ordinal that the next message gets. */
uint64_t session_last(const struct session *session);

/* Whether a message has to go behind the ring. */
bool spill_must_take(const struct session *session, const struct message *message);
/* Appends with an ordinal of session_last() or later. Errors: NO_MEMORY. */
enum err spill_add(struct session *session, uint64_t ordinal, const struct message *message,
                   const struct outbox_item *how);
/* The ring has room: has it filled. */
void spill_refill(struct session *session);
/* Gives up the oldest file's worth of messages, which were never sent; false: there is none just
 * now. */
bool spill_drop_front(struct session *session);
/* Has a file thinned out to each n-th message: the oldest of those that were least often. False:
 * there is none that could be. */
bool spill_thin(struct session *session, uint32_t every);
/* The session ends: its files go. */
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
bool spill_is_synced(const struct broker *broker);
/* What a snapshot says of a session's files; nothing when it has none. */
void spill_write_named(struct buf *out, const struct session *session);
/* A snapshot is durable: files that were done with before it began are removed. */
void spill_sweep(struct broker *broker, uint32_t snapshot);
void spill_free(struct broker *broker);

/* ---- at a start ---- */

/* What a snapshot says of a session's files. */
struct spill_named {
    uint64_t last, read_offset, read_records, read_weight;
    size_t count;
    struct spill_file *files; /* borrowed */
};
/* Errors: NO_MEMORY, CORRUPT. */
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
    struct outbox_item how; /* qos, retain, identifiers (in `ids`) */
    uint32_t ids[OUTBOX_IDS_MAX];
    struct message *message; /* a share */
};
/* Appends a record. */
void spill_write_record(struct buf *out, const struct broker *broker, uint64_t ordinal,
                        const struct message *message, const struct outbox_item *how);
/* The record at the beginning of the bytes: its size; 0: it is not whole; CORRUPT in `*err`:
 * what stands there is none. `record` NULL: only the size is wanted. */
size_t spill_read_record(struct broker *broker, struct str bytes, struct spill_record *record,
                         enum err *err, struct why *why);
/* The job of a spill: on a worker, or by whoever may wait. */
void spill_do_job(struct spill *spill);
void spill_path(const struct broker *broker, uint64_t number, char *path, size_t path_bytes);

#endif
