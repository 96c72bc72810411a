/* log_fuzz.c - property: whatever bytes a log segment, a manifest or a snapshot holds, reading
 * ends, records lie inside the bytes, and what a search finds is a good record.
 *
 * First byte: 0 = bare records under the salt of the next 8 bytes, else a file of records.
 * Checksums are mended first, as far as the sizes allow, so that mutations reach what lies behind
 * them. */
/* covers: src/store/record.c */
#include "base/hash.h"
#include "base/mem.h"
#include "store/record.h"
#include <stdio.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);

enum { CRC_AT = 24 };

/* Writes the checksum a record at `at` should have; returns its size, 0 at the end. */
static size_t mend(uint8_t *at, size_t left, uint64_t salt)
{
    if (left < RECORD_HEAD_BYTES) return 0;
    struct reader in = reader_of(at, 4);
    size_t size = reader_le32(&in), whole = RECORD_HEAD_BYTES + ((size + 7) & ~(size_t)7);
    if (size > left || whole > left) return 0;
    uint32_t crc = hash_crc32c((uint32_t)(salt ^ salt >> 32), at, CRC_AT);
    record_put_le32(at + CRC_AT, hash_crc32c(crc, at + RECORD_HEAD_BYTES, size));
    return whole;
}

static void mend_all(uint8_t *bytes, size_t size, uint64_t salt)
{
    for (size_t at = 0, step; (step = mend(bytes + at, size - at, salt)); at += step)
        if (bytes[at + 4] & 0x80) break; /* the rest stays as it came */
}

static enum err on_record(void *arg, const struct record *record, struct why *why)
{
    const struct str *all = arg;
    (void)why;
    MUST(record->body.at >= all->at && record->body.size <= all->size);
    MUST(record->body.at + record->body.size <= all->at + all->size);
    return ERR_OK;
}

static void on_damage(void *arg, const char *text)
{
    (void)arg;
    MUST(strlen(text) > 0);
}

static void read_file(uint8_t *bytes, size_t size)
{
    struct record_file head = {.magic = "MILLFUZZ", .format = 1};
    struct buf fresh = BUF_EMPTY;
    struct str all = {(const char *)bytes, size};
    struct record_sink sink = {on_record, on_damage, &all};
    uint64_t end = 0;
    record_file_begin(&fresh, &head);
    bool keep = size < RECORD_FILE_HEADER_BYTES || buf_failed(&fresh) || bytes[size - 1] == 1;
    if (!keep) {
        memcpy(bytes, fresh.at, fresh.size);
        mend_all(bytes + fresh.size, size - fresh.size, 0);
    }
    buf_free(&fresh);
    struct record_source source = record_source_of(bytes, size);
    enum err err = record_file_parse(&source, "fuzz", &head, &sink, &end, NULL);
    MUST(err || end <= size);
}

static void read_records(uint8_t *bytes, size_t size, uint64_t salt)
{
    mend_all(bytes, size, salt);
    struct record_source source = record_source_of(bytes, size);
    struct record record;
    struct buf copy = BUF_EMPTY;
    uint64_t at = 0, found;
    while (record_read(&source, at, salt, &record, &at) == ERR_OK && record.type > 0 &&
           record.type < 32) {
        size_t mark = record_begin(&copy, record.type, record.seq, record.durable);
        buf_add_str(&copy, record.body);
        MUST(record_end(&copy, mark, salt) == ERR_OK);
    }
    MUST(record_find(&source, 8, salt, 1, RECORD_DURABLE_ANY, &found) == ERR_OK);
    if (found) MUST(!record_read(&source, found, salt, &record, &at) && record.seq > 1);
    buf_free(&copy);
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size)
{
    if (size < 9) return 0;
    uint8_t *copy = mem_dup(bytes + 9, size - 9);
    if (!copy) return 0;
    struct reader in = reader_of(bytes + 1, 8);
    if (bytes[0])
        read_file(copy, size - 9);
    else
        read_records(copy, size - 9, reader_le64(&in));
    mem_free(copy);
    return 0;
}
