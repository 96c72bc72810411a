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
#include <inttypes.h>
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

enum err record_read(struct record_source *source, uint64_t at, uint64_t salt,
                     struct record *record, uint64_t *next)
{
    const uint8_t *head = record_source_at(source, at, RECORD_HEAD_BYTES);
    if (!head) return source->has_no_memory ? ERR_NO_MEMORY : ERR_NOT_FOUND;
    struct reader in = reader_of(head, RECORD_HEAD_BYTES);
    uint32_t size = reader_le32(&in);
    record->type = reader_u8(&in);
    uint32_t zero = (uint32_t)reader_le(&in, 3);
    record->seq = reader_le64(&in);
    record->durable = reader_le64(&in);
    uint32_t crc = reader_le32(&in);
    zero |= reader_le32(&in);
    if (size == 0 && record->type == 0) return ERR_NOT_FOUND;
    if (zero || record->seq > RECORD_SEQ_MAX || size > RECORD_BODY_BYTES_MAX) return ERR_CORRUPT;
    head = record_source_at(source, at, RECORD_HEAD_BYTES + padded(size));
    if (!head) return source->has_no_memory ? ERR_NO_MEMORY : ERR_CORRUPT;
    record->body = (struct str){(const char *)head + RECORD_HEAD_BYTES, size};
    *next = at + RECORD_HEAD_BYTES + padded(size);
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

/* The size of the body of a record that may begin here, told without a checksum: a search over
 * megabytes of a former life's bytes must not sum up each of them again and again. */
static bool looks_like_record(const uint8_t head[RECORD_HEAD_BYTES], uint64_t left,
                              uint64_t above_seq, uint64_t above_durable, uint32_t *size)
{
    struct reader in = reader_of(head, RECORD_HEAD_BYTES);
    *size = reader_le32(&in);
    uint8_t type = reader_u8(&in);
    uint32_t zero = (uint32_t)reader_le(&in, 3);
    uint64_t seq = reader_le64(&in), durable = reader_le64(&in);
    reader_skip(&in, 4);
    zero |= reader_le32(&in);
    return zero == 0 && type > 0 && type <= TYPE_MAX && *size <= left - RECORD_HEAD_BYTES &&
           seq > above_seq && (durable > above_durable || above_durable == RECORD_DURABLE_ANY);
}

enum err record_find(struct record_source *source, uint64_t from, uint64_t salt, uint64_t above_seq,
                     uint64_t above_durable, uint64_t *found)
{
    /* Bytes summed: crafted contents must not make it square. */
    uint64_t effort = 0, limit = source->size * 4;
    const uint8_t *head;
    *found = 0;
    for (uint64_t at = (from + 7) & ~(uint64_t)7, next; effort <= limit; at += 8) {
        uint32_t size;
        struct record record;
        if (!(head = record_source_at(source, at, RECORD_HEAD_BYTES))) break;
        if (!looks_like_record(head, source->size - at, above_seq, above_durable, &size)) continue;
        enum err err = record_read(source, at, salt, &record, &next);
        if (err == ERR_NO_MEMORY) return err;
        if (!err) *found = at;
        if (!err) break;
        effort += size;
    }
    return source->has_no_memory ? ERR_NO_MEMORY : ERR_OK;
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

static enum err read_header(struct record_source *source, const char *path,
                            struct record_file *head, struct why *why)
{
    uint8_t copy[RECORD_FILE_HEADER_BYTES];
    const uint8_t *bytes = record_source_at(source, 0, sizeof copy);
    if (source->has_no_memory) return ERR_NO_MEMORY;
    if (!bytes) return why_set(why, ERR_CORRUPT, "%s: the header is missing", path);
    memcpy(copy, bytes, sizeof copy);
    memset(copy + HEADER_CRC_OFFSET, 0, 4);
    struct reader in = reader_of(bytes, sizeof copy);
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

enum err record_file_parse(struct record_source *source, const char *path, struct record_file *head,
                           const struct record_sink *sink, uint64_t *good_end, struct why *why)
{
    enum err err = read_header(source, path, head, why);
    uint64_t last_seq = 0, at = RECORD_FILE_HEADER_BYTES, next;
    *good_end = at;
    while (!err && at < source->size) {
        struct record record;
        err = record_read(source, at, head->salt, &record, &next);
        if (err == ERR_OK) {
            *good_end = at = next;
            last_seq = record.seq;
            err = sink->record(sink->arg, &record, why);
            continue;
        }
        if (err != ERR_NO_MEMORY)
            err = record_find(source, at + 8, head->salt, last_seq, RECORD_DURABLE_ANY, &next);
        if (err || !next) break; /* a torn tail: what was being written when the node stopped */
        char text[4200];
        snprintf(text, sizeof text, "%s: damaged records at byte %" PRIu64 " skipped", path, at);
        sink->damage(sink->arg, text);
        at = next;
    }
    return err;
}
