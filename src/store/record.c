/* record.c - records and files of them, in memory; see record.h. What touches the disk is
 * record_file.c.
 *
 * Called by: log.c, manifest.c, catalog_file.c; the checksummed framing is the same for all three,
 * so that a search behind damage is written once.
 * Owns nothing: bytes are the caller's. Trusts nothing: a size is checked against the limit and
 * against what is there before the body is summed up, and a search that crafted bytes might make
 * quadratic is bounded by its effort.
 * Invariant: records stand at multiples of 8 from their file's beginning; a record that could not
 * be framed leaves the buffer as it was, so what follows it is whole. */
#include "store/record.h"
#include "base/hash.h"
#include "base/mem.h"
#include <stdio.h>
#include <string.h>

enum { CRC_OFFSET = 24, HEADER_CRC_OFFSET = 12, TYPE_MAX = 31 };

static uint32_t seed_of(uint64_t salt)
{
    return (uint32_t)(salt ^ salt >> 32);
}

/* Over the head without the CRC field, then the body. */
static uint32_t record_crc(const uint8_t *head, const void *body, size_t size, uint64_t salt)
{
    uint32_t crc = hash_crc32c(seed_of(salt), head, CRC_OFFSET);
    return hash_crc32c(crc, body, size);
}

static size_t padded(size_t size)
{
    return (size + 7) & ~(size_t)7;
}

enum err record_read(struct reader *in, uint64_t salt, struct record *record)
{
    if (reader_left(in) < RECORD_HEAD_BYTES) return ERR_NOT_FOUND;
    const uint8_t *head = in->at;
    uint32_t size = reader_le32(in);
    record->type = reader_u8(in);
    uint32_t zero = (uint32_t)reader_le(in, 3);
    record->seq = reader_le64(in);
    record->durable = reader_le64(in);
    uint32_t crc = reader_le32(in);
    zero |= reader_le32(in);
    if (size == 0 && record->type == 0) return ERR_NOT_FOUND;
    if (zero || record->seq > RECORD_SEQ_MAX || size > RECORD_BODY_BYTES_MAX ||
        padded(size) > reader_left(in))
        return ERR_CORRUPT;
    record->body = reader_str(in, size);
    reader_skip(in, padded(size) - size);
    return record_crc(head, record->body.at, size, salt) == crc ? ERR_OK : ERR_CORRUPT;
}

size_t record_begin(struct buf *out, uint8_t type, uint64_t seq, uint64_t durable)
{
    MUST(type > 0 && type <= TYPE_MAX);
    size_t mark = out->size;
    buf_add_le32(out, 0);
    buf_add_le32(out, type);
    buf_add_le64(out, seq);
    buf_add_le64(out, durable);
    buf_add_le64(out, 0);
    return mark;
}

enum err record_end(struct buf *out, size_t mark, uint64_t salt)
{
    if (buf_failed(out)) {
        record_cancel(out, mark);
        return ERR_NO_MEMORY;
    }
    size_t size = out->size - mark - RECORD_HEAD_BYTES;
    if (size > RECORD_BODY_BYTES_MAX) {
        record_cancel(out, mark);
        return ERR_LIMIT;
    }
    char *head = out->at + mark;
    record_put_le32(head, (uint32_t)size);
    record_put_le32(head + CRC_OFFSET,
                    record_crc((uint8_t *)head, head + RECORD_HEAD_BYTES, size, salt));
    static const char zero[8];
    buf_add(out, zero, padded(size) - size);
    if (!buf_failed(out)) return ERR_OK;
    record_cancel(out, mark);
    return ERR_NO_MEMORY;
}

void record_cancel(struct buf *out, size_t mark)
{
    MUST(mark <= out->size);
    out->size = mark;
    out->failed = false;
}

/* Whether a record may begin here, told without a checksum: a search over megabytes of a former
 * life's bytes must not sum up each of them again and again. */
static bool looks_like_record(const uint8_t *at, size_t left, uint64_t above_seq,
                              uint64_t above_durable)
{
    struct reader in = reader_of(at, left);
    uint32_t size = reader_le32(&in);
    uint8_t type = reader_u8(&in);
    uint32_t zero = (uint32_t)reader_le(&in, 3);
    uint64_t seq = reader_le64(&in), durable = reader_le64(&in);
    reader_skip(&in, 4);
    zero |= reader_le32(&in);
    return reader_ok(&in) && zero == 0 && type > 0 && type <= TYPE_MAX &&
           size <= reader_left(&in) && seq > above_seq &&
           (durable > above_durable || above_durable == RECORD_DURABLE_ANY);
}

size_t record_find(const uint8_t *bytes, size_t size, size_t from, uint64_t salt,
                   uint64_t above_seq, uint64_t above_durable)
{
    uint64_t effort = 0, limit = (uint64_t)size *
                                 4; /* bytes summed: crafted contents must not make it square */
    for (size_t at = padded(from); at + RECORD_HEAD_BYTES <= size && effort <= limit; at += 8) {
        if (!looks_like_record(bytes + at, size - at, above_seq, above_durable)) continue;
        struct reader in = reader_of(bytes + at, size - at);
        struct record record;
        if (record_read(&in, salt, &record) == ERR_OK) return at;
        struct reader head = reader_of(bytes + at, 4);
        effort += reader_le32(&head);
    }
    return 0;
}

/* ---- whole files ---- */

void record_file_begin(struct buf *out, const struct record_file *head)
{
    size_t mark = out->size;
    buf_add(out, head->magic, sizeof head->magic);
    buf_add_le32(out, head->format);
    buf_add_le32(out, 0);
    buf_add_le64(out, head->salt);
    buf_add_le64(out, head->seq);
    for (int i = 0; i < 4; i++) buf_add_le64(out, 0);
    if (buf_failed(out)) return;
    MUST(out->size - mark == RECORD_FILE_HEADER_BYTES);
    record_put_le32(out->at + mark + HEADER_CRC_OFFSET,
                    hash_crc32c(0, out->at + mark, RECORD_FILE_HEADER_BYTES));
}

static enum err read_header(const uint8_t *bytes, size_t size, const char *path,
                            struct record_file *head, struct why *why)
{
    uint8_t copy[RECORD_FILE_HEADER_BYTES];
    if (size < sizeof copy) return why_set(why, ERR_CORRUPT, "%s: the header is missing", path);
    memcpy(copy, bytes, sizeof copy);
    memset(copy + HEADER_CRC_OFFSET, 0, 4);
    struct reader in = reader_of(bytes, size);
    struct str magic = reader_str(&in, sizeof head->magic);
    uint32_t format = reader_le32(&in), crc = reader_le32(&in);
    head->salt = reader_le64(&in);
    head->seq = reader_le64(&in);
    if (memcmp(magic.at, head->magic, sizeof head->magic) != 0 ||
        hash_crc32c(0, copy, sizeof copy) != crc)
        return why_set(why, ERR_CORRUPT, "%s: the header is damaged", path);
    if (format == head->format) return ERR_OK;
    return why_set(
        why, ERR_FORMAT,
        "%s was written by another version (format %u, this is %u); move the data folder away to start "
        "afresh, or run the version that wrote it",
        path, format, head->format);
}

enum err record_file_parse(const uint8_t *bytes, size_t size, const char *path,
                           struct record_file *head, const struct record_sink *sink,
                           uint64_t *good_end, struct why *why)
{
    enum err err = read_header(bytes, size, path, head, why);
    uint64_t last_seq = 0;
    size_t at = RECORD_FILE_HEADER_BYTES;
    *good_end = at;
    while (!err && at < size) {
        struct reader in = reader_of(bytes + at, size - at);
        struct record record;
        if (record_read(&in, head->salt, &record) == ERR_OK) {
            at += reader_offset(&in);
            *good_end = at;
            last_seq = record.seq;
            err = sink->record(sink->arg, &record, why);
            continue;
        }
        size_t next = record_find(bytes, size, at + 8, head->salt, last_seq, RECORD_DURABLE_ANY);
        if (!next) break; /* a torn tail: what was being written when the node stopped */
        char text[4200];
        snprintf(text, sizeof text, "%s: damaged records at byte %zu skipped", path, at);
        sink->damage(sink->arg, text);
        at = next;
    }
    return err;
}
