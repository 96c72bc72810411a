/* log.h - the node's one log: numbered segments of framed records.
 *
 * Sans threads: the log task writes, the sync task calls log_sync_file, store_open replays before either
 * exists. What a record means is the caller's; here it is a type, a position and bytes.
 *
 * Segment file "log/<number, 16 hex digits>.seg", little-endian:
 *   header, 4096 bytes: "MILLRLOG", u32 format, u32 header CRC32C (of the first 64 bytes with this field 0),
 *     u64 number, u64 salt, u64 origin, u64 reserved seq: a start continues above it
 *   records, each aligned to 8 bytes:
 *     u32 size of the body, u8 type, u8[3] zero, u64 seq, u64 durable, u32 CRC32C, u32 zero, body, padding
 * The CRC covers everything but itself and is seeded by the segment's salt, so records of a segment's former
 * life cannot be taken for new ones. `durable` is the position known durable when the record was written: a bad
 * record below a position claimed durable later is damage (skipped, counted); above it a torn tail (cut off). */
#ifndef STORE_LOG_H
#define STORE_LOG_H

#include "base/reader.h"
#include "os/os.h"

enum log_record_type {
    LOG_SCHEMA = 1,
    LOG_SERIES = 2,
    LOG_ROWS = 3,
    LOG_BLOCK = 4,   /* a block received whole */
    LOG_MESSAGE = 5, /* broker */
    LOG_SESSION = 6, /* broker */
    LOG_CURSOR = 7,
    LOG_TICK = 8,
};

enum {
    LOG_FORMAT = 1,
    LOG_HEADER_BYTES = 4096,
    LOG_RECORD_HEAD_BYTES = 32,
    LOG_BODY_BYTES_MAX = 64 * 1024 * 1024,
    LOG_SEGMENT_BYTES = 32 * 1024 * 1024,
    LOG_SEQ_RESERVE = 60 * 1000000, /* positions reserved ahead: a minute of the clock's microseconds */
};

struct log {
    struct os *os;
    char folder[4000]; /* "<data>/log" */
    uint64_t origin;
    struct os_file *file;   /* the current segment */
    uint64_t number, salt;
    uint64_t offset;        /* where the next record goes */
    uint64_t written;       /* up to here the file has the bytes of `pending` */
    uint64_t last_seq;      /* given last */
    uint64_t reserved_seq;  /* durably reserved by the header */
    struct buf pending;     /* framed records not yet written */
};

struct log_record {
    enum log_record_type type;
    uint64_t seq, durable;
    struct str body;
};

/* What replay found. */
struct log_recovery {
    uint64_t last_seq;      /* highest position of a good record or reservation */
    uint64_t last_number;   /* highest segment number */
    uint64_t records, damaged, cut_bytes;
};

/* Reads all segments in order and calls `record` for every good record; its error stops the replay. Cuts a torn
 * tail off its file. `damage` (may be NULL) is told of each place skipped. Errors: IO, NO_MEMORY, FORMAT. */
enum err log_replay(struct os *os, const char *folder,
                    enum err (*record)(void *arg, const struct log_record *record, struct why *why),
                    void (*damage)(void *arg, const char *text), void *arg, struct log_recovery *recovery,
                    struct why *why);

/* Starts writing: a new segment above what recovery found. */
enum err log_open(struct log *log, struct os *os, const char *folder, uint64_t origin,
                  const struct log_recovery *recovery, int64_t wall_ns, struct why *why);
void log_close(struct log *log);

/* The next position: max(last + 1, wall clock in µs). */
uint64_t log_next_seq(struct log *log, int64_t wall_ns);
/* Frames a record into `pending`. `body` is appended by the caller between begin and end; its limit is
 * LOG_BODY_BYTES_MAX (LIMIT, the record is taken back). */
size_t log_record_begin(struct log *log, enum log_record_type type, uint64_t seq, uint64_t durable);
enum err log_record_end(struct log *log, size_t mark);
/* Takes back what was framed since `mark`. */
void log_record_cancel(struct log *log, size_t mark);
/* Writes what is pending. After an error the segment is left behind and a new one is begun by the next flush;
 * nothing pending was promised to anybody. */
enum err log_flush(struct log *log, struct why *why);

/* Decodes one record at `in` (which begins at a record). Returns OK and moves on, NOT_FOUND at a clean end (zero
 * size or no bytes), CORRUPT otherwise (in is then unusable). For replay and the fuzzer. */
enum err log_record_read(struct reader *in, uint64_t salt, struct log_record *record);

#endif
