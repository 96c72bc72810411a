/* record.h - checked records in a row: how the log, the manifest and the catalogue's snapshot lay
 * out what they say.
 *
 * A record, little-endian, aligned to 8 bytes:
 *   u32 size of the body, u8 type, u8[3] zero, u64 seq, u64 durable, u32 CRC32C, u32 zero, body,
 * padding The CRC covers everything but itself and is seeded by a salt that its file's header
 * holds, so records of a file's former life cannot be taken for new ones. seq ascends within a
 * file. What type and body mean is the file's. Private to store/. Thread: any; nothing is shared.
 */
#ifndef STORE_RECORD_H
#define STORE_RECORD_H

#include "base/reader.h"
#include "os/os.h"

enum { RECORD_HEAD_BYTES = 32, RECORD_BODY_BYTES_MAX = 64 * 1024 * 1024 };

/* Positions are microseconds of the wall clock, or count up: none comes near it, and whoever counts
 * on from one never begins at 0 again. A record that says more is damaged. */
#define RECORD_SEQ_MAX ((uint64_t)INT64_MAX)

struct record {
    uint8_t type; /* 1 to 31; what it means is the file's */
    uint64_t seq; /* its position, ≤ RECORD_SEQ_MAX */
    uint64_t
        durable; /* in the log: a position known to be on the disk when it was written; else 0 */
    struct str body; /* borrowed from the bytes read */
};

/* Frames a record into `out`: the body, at most RECORD_BODY_BYTES_MAX, is appended between begin
 * (which gives the mark) and end. end: LIMIT or NO_MEMORY, then the record is taken back and `out`
 * is as it was, fit for the next one. */
size_t record_begin(struct buf *out, uint8_t type, uint64_t seq, uint64_t durable);
enum err record_end(struct buf *out, size_t mark, uint64_t salt);
/* Takes a record back that was begun, and clears a failure of `out` that it may have met. */
void record_cancel(struct buf *out, size_t mark);

/* ---- where records are read from ---- */

/* The bytes of a file in a window that moves forward: a MiB, or the record that is larger; or bytes
 * in memory, all of them. Opened by one of the two below; the fields are read only. */
struct record_source {
    uint64_t size;        /* of all bytes; less once a file turns out to be shorter */
    size_t lost_bytes;    /* so far: bytes that the disk did not give; zeros stand for them, and the
                             checksums tell which records that concerns */
    bool has_no_memory;   /* a window could not grow */
    const uint8_t *bytes; /* those from `begin` on, `filled` of them */
    uint64_t begin;
    size_t filled;
    struct os *os; /* the rest: of a file */
    struct os_file *file;
    uint8_t *window; /* owned */
    size_t capacity;
};

/* Borrows the bytes; nothing is to be closed. */
struct record_source record_source_of(const void *bytes, size_t size);
/* A disk that says IO is asked again. Errors: NOT_FOUND, IO, NO_MEMORY; then nothing is open. */
enum err record_source_open(struct record_source *source, struct os *os, const char *path,
                            struct why *why);
void record_source_close(struct record_source *source);
/* `size` bytes from `offset` on, until the next call; offsets never go back behind an earlier one.
 * NULL: there are not so many, or has_no_memory. */
const uint8_t *record_source_at(struct record_source *source, uint64_t offset, size_t size);

/* Decodes the record at `at`, a multiple of 8; `*next` receives where the one behind it begins. Its
 * body lies in the source and is borrowed until that is asked again. NOT_FOUND: zeros or too few
 * bytes; NO_MEMORY; CORRUPT otherwise. */
enum err record_read(struct record_source *source, uint64_t at, uint64_t salt,
                     struct record *record, uint64_t *next);

/* `*found` receives the offset of the first good record at or behind `from` with a seq above
 * `above_seq` and a `durable` above `above_durable` (or whatever one), or 0. Errors: NO_MEMORY. */
#define RECORD_DURABLE_ANY UINT64_MAX
enum err record_find(struct record_source *source, uint64_t from, uint64_t salt, uint64_t above_seq,
                     uint64_t above_durable, uint64_t *found);

/* ---- whole files of records ---- */

enum { RECORD_FILE_HEADER_BYTES = 64 };

struct record_file {
    char magic[8];   /* what kind of file it is */
    uint32_t format; /* of the records' bodies; another one is refused by name */
    uint64_t salt;   /* random, drawn for each file that is written */
    uint64_t seq;    /* the file's own use */
};

/* Starts a file's bytes: its header, RECORD_FILE_HEADER_BYTES. A failure shows in `out`. */
void record_file_begin(struct buf *out, const struct record_file *head);
/* Replaces folder/name by `bytes` (borrows) so that after a crash the old or the new file is there
 * whole; durable when it returns. Blocking. Errors: IO, DISK_FULL, NO_MEMORY (`bytes` has failed);
 * then either may be there. */
enum err record_file_replace(struct os *os, const char *folder, const char *name,
                             const struct buf *bytes, struct why *why);

/* Reads a file: `head` gives the magic and format wanted and receives salt and seq; `record` is
 * called for each good record (its error stops), `damage` for each place skipped. `*good_end`
 * receives where the last good record ends. Errors: NOT_FOUND, IO, NO_MEMORY, FORMAT (another
 * version), CORRUPT (the header is unusable). */
struct record_sink {
    /* `record` and its body are borrowed for the call. */
    enum err (*record)(void *arg, const struct record *record, struct why *why);
    void (*damage)(void *arg, const char *text);
    void *arg;
};
enum err record_file_read(struct os *os, const char *path, struct record_file *head,
                          const struct record_sink *sink, uint64_t *good_end, struct why *why);
/* The same over a source, for the fuzzer and the above. */
enum err record_file_parse(struct record_source *source, const char *path, struct record_file *head,
                           const struct record_sink *sink, uint64_t *good_end, struct why *why);

/* A whole file in memory (mem_free): a small one. What the disk does not give is zeros,
 * `*lost_bytes` of them. */
enum err record_read_whole(struct os *os, const char *path, uint8_t **bytes, size_t *size,
                           size_t *lost_bytes, struct why *why);

static inline void record_put_le32(void *to, uint32_t value)
{
    for (int i = 0; i < 4; i++) ((uint8_t *)to)[i] = (uint8_t)(value >> (8 * i));
}

#endif
