/* log.h - the node's one log: numbered segments of checked records (store/record.h).
 *
 * Sans threads: the log task writes, the sync task syncs the file, store_open replays before either
 * exists. What a record means is the caller's; here it is a type, a position and bytes.
 *
 * Segment file "log/<number, 16 hex digits>.seg", little-endian:
 * a header of 4096 bytes, then records. The header has two slots of 512 bytes, of which the whole
 * one with the higher reservation counts: "MILLRLOG", u32 format, u32 CRC32C (of its 64 bytes with
 * this field 0), u64 number, u64 salt, u64 origin, u64 reserved seq (a start continues above it),
 * u64 durable seq (the last position of the segments before, all of them on the disk when this one
 * began). Each record carries the position known durable when it was written. A bad record below a
 * position claimed durable later is damage (skipped, counted); above it a torn tail, cut off. That
 * claim may be a later record of the segment or the header of the next one.
 *
 * Segments whose rows are in parts become spares ("<number>.spare", LOG_SPARES_MAX of them, the
 * rest is removed): a spare begins its next life with a new salt, so what it holds cannot be read
 * again, and writing into it needs no new blocks of the disk. */
#ifndef STORE_LOG_H
#define STORE_LOG_H

#include "store/record.h"

enum log_record_type {
    LOG_SCHEMA = 1, /* a table as it is from here on, or that it was dropped (catalog.h) */
    LOG_SERIES = 2, /* a device of a table and its labels, before its first rows (catalog.h) */
    LOG_ROWS = 3,   /* one batch (data/codec_rows.h); seq is its rows' version */
    LOG_BLOCK = 4,  /* a block received whole */
    LOG_NOTE = 5,   /* the broker's: messages and changes of sessions (mqtt/journal.h) */
    LOG_CURSOR = 7, /* reserved: how far a subscription has come */
    LOG_TICK = 8,   /* reserved: decisions by the wall clock */
    LOG_DELETE = 9, /* ranges of time of devices (delete.c); seq is their tombstones' version */
};

enum {
    LOG_FORMAT = 2,
    LOG_HEADER_BYTES = 4096,
    LOG_SEGMENT_BYTES =
        32 * 1024 * 1024, /* a segment that is larger is left at the end of the round */
    LOG_SEQ_RESERVE =
        60 * 1000000, /* positions reserved ahead: a minute of the clock's microseconds */
    LOG_SPARES_MAX = 2,
};

/* A segment no longer written. */
struct log_segment {
    uint64_t number;
    uint64_t last_seq; /* no record of it, or of one before it, has a higher position */
};

struct log_segments {
    struct log_segment *items; /* ascending by number; owned */
    size_t count, capacity;
};

struct log {
    struct os *os;     /* borrowed */
    char folder[4000]; /* "<data>/log" */
    uint64_t origin;   /* goes into every header */
    /* The current segment, owned; NULL: none could be begun yet. The sync task borrows it while the
     * log task leaves it alone (store->syncing). */
    struct os_file *file;
    uint64_t number;         /* of the current segment, or the highest there ever was */
    uint64_t salt;           /* of its records */
    uint64_t header_durable; /* what its header says of the segments before */
    unsigned header_slot;    /* 0 or 1: the one that counts */
    size_t segment_bytes;    /* a full segment is at least so long */
    uint64_t offset;         /* where the next record goes, in bytes; behind the header */
    uint64_t last_seq;       /* given last; in no record before it is reserved */
    uint64_t reserved_seq;   /* durably reserved by the header */
    struct buf pending;      /* framed records not yet written */
    struct log_segments old; /* left, and not recycled yet */
    uint64_t spares[LOG_SPARES_MAX];
    size_t spare_count;
};

/* What replay found. `segments` is owned by whoever holds the recovery until log_open takes it. */
struct log_recovery {
    uint64_t last_seq;    /* highest position of a good record or reservation */
    uint64_t record_seq;  /* highest position of a good record, at least the checkpoint */
    uint64_t claimed_seq; /* highest position that the log itself says was durable */
    uint64_t last_number; /* highest segment number */
    uint64_t records;     /* good ones */
    uint64_t damaged;     /* places told to sink->damage */
    uint64_t cut_bytes;   /* of a torn tail, which nobody was promised */
    struct log_segments segments;
};

/* `checkpoint`: what is at or below it may be missing, its segments were recycled. Reads all
 * segments in order and calls sink->record for every good record; its error stops the replay. Cuts
 * a torn tail off the last file and makes it durable. sink->damage is told of each place skipped.
 * Errors: IO, NO_MEMORY, FORMAT. */
enum err log_replay(struct os *os, const char *folder, uint64_t checkpoint,
                    const struct record_sink *sink, struct log_recovery *recovery, struct why *why);
/* The same without changing anything: a tail that would be cut is only counted. */
enum err log_inspect(struct os *os, const char *folder, uint64_t checkpoint,
                     const struct record_sink *sink, struct log_recovery *recovery,
                     struct why *why);
/* Of one that log_open has not taken; also of one that has been. */
void log_recovery_free(struct log_recovery *recovery);

/* Whether `name` is 16 hexadecimal digits and `ending`, as all numbered files of the store are;
 * then *number is what the digits say. Any name, also one that somebody else put there. */
bool store_file_number(const char *name, const char *ending, uint64_t *number);

/* What the headers of the segments say, when the manifest or `meta` is lost. */
struct log_oldest {
    uint64_t durable_seq; /* of the oldest segment: what is at or below it is not in the log; 0: its
                             header cannot be read */
    uint64_t origin;      /* of the oldest one whose header can be read */
    bool has_origin;
};
/* Errors: NOT_FOUND: there is no segment; IO, NO_MEMORY. */
enum err log_look_oldest(struct os *os, const char *folder, struct log_oldest *oldest);

/* Starts writing: a new segment above what recovery found (takes recovery->segments).
 * `segment_bytes`: 0 = LOG_SEGMENT_BYTES. After DISK_FULL or IO the log is usable all the same: a
 * later log_rotate begins the segment. */
enum err log_open(struct log *log, struct os *os, const char *folder, uint64_t origin,
                  struct log_recovery *recovery, size_t segment_bytes, int64_t wall_ns,
                  struct why *why);
/* Syncs nothing. Framed records that were not flushed are dropped. Also of one never opened. */
void log_close(struct log *log);

/* The next position: max(last + 1, wall clock in µs). It is given for good, also if nothing is
 * written under it. */
uint64_t log_next_seq(struct log *log, int64_t wall_ns);
/* Frames a record into `pending`: the body is appended between begin and end. `durable`: the
 * position that is known to be on the disk now; replay relies on it. end: LIMIT, NO_MEMORY; then
 * nothing of the record is framed. */
static inline size_t log_record_begin(struct log *log, enum log_record_type type, uint64_t seq,
                                      uint64_t durable)
{
    return record_begin(&log->pending, (uint8_t)type, seq, durable);
}
static inline enum err log_record_end(struct log *log, size_t mark)
{
    return record_end(&log->pending, mark, log->salt);
}
/* Writes what is pending, without a sync; the segment may grow beyond segment_bytes by it. Errors:
 * IO, DISK_FULL, NO_MEMORY. After an error nothing pending was promised to anybody, and the caller
 * leaves the segment (log_rotate). */
enum err log_flush(struct log *log, struct why *why);

/* Whether the segment has its length: it is left at the next chance. */
static inline bool log_is_full(const struct log *log)
{
    return log->offset >= log->segment_bytes;
}
/* Goes on in a new segment, durable when it returns; nothing is pending. `durable`, ≤ last_seq: the
 * position up to which the segments so far were synced. On an error the current one stays. Errors:
 * IO, DISK_FULL, NO_MEMORY. */
enum err log_rotate(struct log *log, uint64_t durable, struct why *why);
/* Segments that end at or below `checkpoint` become spares or vanish. A failure is tried again the
 * next time. */
void log_recycle(struct log *log, uint64_t checkpoint);

#endif
