/* log.c - see log.h. */
#include "store/log.h"
#include "base/hash.h"
#include "base/mem.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char magic[8] = {'M', 'I', 'L', 'L', 'R', 'L', 'O', 'G'};
enum { HEADER_USED_BYTES = 64, CRC_OFFSET = 24, PATH_BYTES = 4096 };

static void segment_path(const char *folder, uint64_t number, char out[PATH_BYTES])
{
    snprintf(out, PATH_BYTES, "%s/%016" PRIx64 ".seg", folder, number);
}

/* ---- records ---- */

static uint32_t seed_of(uint64_t salt) { return (uint32_t)(salt ^ salt >> 32); }

/* Over the head without the CRC field, then the body. */
static uint32_t record_crc(const uint8_t *head, const void *body, size_t size, uint64_t salt)
{
    uint32_t crc = hash_crc32c(seed_of(salt), head, CRC_OFFSET);
    return hash_crc32c(crc, body, size);
}

static size_t padded(size_t size) { return (size + 7) & ~(size_t)7; }

enum err log_record_read(struct reader *in, uint64_t salt, struct log_record *record)
{
    if (reader_left(in) < LOG_RECORD_HEAD_BYTES) return ERR_NOT_FOUND;
    const uint8_t *head = in->at;
    uint32_t size = reader_le32(in);
    uint8_t type = reader_u8(in);
    reader_skip(in, 3);
    record->seq = reader_le64(in);
    record->durable = reader_le64(in);
    uint32_t crc = reader_le32(in);
    reader_skip(in, 4);
    if (size == 0 && type == 0) return ERR_NOT_FOUND;
    if (size > LOG_BODY_BYTES_MAX || padded(size) > reader_left(in)) return ERR_CORRUPT;
    record->type = (enum log_record_type)type;
    record->body = reader_str(in, size);
    reader_skip(in, padded(size) - size);
    return record_crc(head, record->body.at, size, salt) == crc ? ERR_OK : ERR_CORRUPT;
}

size_t log_record_begin(struct log *log, enum log_record_type type, uint64_t seq, uint64_t durable)
{
    struct buf *out = &log->pending;
    size_t mark = out->size;
    buf_add_le32(out, 0);
    buf_add_le32(out, (uint32_t)type);
    buf_add_le64(out, seq);
    buf_add_le64(out, durable);
    buf_add_le64(out, 0);
    return mark;
}

static void put_le32(char *at, uint32_t value)
{
    for (int i = 0; i < 4; i++) at[i] = (char)(value >> (8 * i));
}

enum err log_record_end(struct log *log, size_t mark)
{
    struct buf *out = &log->pending;
    if (buf_failed(out)) {
        log_record_cancel(log, mark);
        return ERR_NO_MEMORY;
    }
    size_t size = out->size - mark - LOG_RECORD_HEAD_BYTES;
    if (size > LOG_BODY_BYTES_MAX) {
        log_record_cancel(log, mark);
        return ERR_LIMIT;
    }
    char *head = out->at + mark;
    put_le32(head, (uint32_t)size);
    put_le32(head + CRC_OFFSET,
             record_crc((uint8_t *)head, head + LOG_RECORD_HEAD_BYTES, size, log->salt));
    static const char zero[8];
    buf_add(out, zero, padded(size) - size);
    if (!buf_failed(out)) return ERR_OK;
    log_record_cancel(log, mark);
    return ERR_NO_MEMORY;
}

void log_record_cancel(struct log *log, size_t mark)
{
    log->pending.size = mark;
    log->pending.failed = false;
}

/* ---- segment headers ---- */

struct header {
    uint32_t format;
    uint64_t number, salt, origin, reserved_seq;
};

static void write_header(uint8_t out[HEADER_USED_BYTES], const struct header *h)
{
    struct buf b = BUF_EMPTY;
    buf_add(&b, magic, sizeof magic);
    buf_add_le32(&b, h->format);
    buf_add_le32(&b, 0);
    buf_add_le64(&b, h->number);
    buf_add_le64(&b, h->salt);
    buf_add_le64(&b, h->origin);
    buf_add_le64(&b, h->reserved_seq);
    memset(out, 0, HEADER_USED_BYTES);
    if (!buf_failed(&b)) memcpy(out, b.at, b.size);
    buf_free(&b);
    put_le32((char *)out + 12, hash_crc32c(0, out, HEADER_USED_BYTES));
}

static enum err read_header(const uint8_t *bytes, struct header *h)
{
    uint8_t copy[HEADER_USED_BYTES];
    memcpy(copy, bytes, sizeof copy);
    struct reader in = reader_of(bytes, HEADER_USED_BYTES);
    struct str found = reader_str(&in, sizeof magic);
    h->format = reader_le32(&in);
    uint32_t crc = reader_le32(&in);
    h->number = reader_le64(&in);
    h->salt = reader_le64(&in);
    h->origin = reader_le64(&in);
    h->reserved_seq = reader_le64(&in);
    memset(copy + 12, 0, 4);
    if (memcmp(found.at, magic, sizeof magic) != 0 || hash_crc32c(0, copy, sizeof copy) != crc)
        return ERR_CORRUPT;
    return h->format == LOG_FORMAT ? ERR_OK : ERR_FORMAT;
}

/* ---- writing ---- */

static enum err write_segment_header(struct log *log, struct why *why)
{
    uint8_t bytes[HEADER_USED_BYTES];
    struct header h = {LOG_FORMAT, log->number, log->salt, log->origin, log->reserved_seq};
    write_header(bytes, &h);
    enum err err = log->os->ops->file_write(log->file, 0, bytes, sizeof bytes, why);
    return err ? err : log->os->ops->file_sync(log->file, why);
}

/* Begins segment `number`: its header is durable, and so is its name, before a record goes in. */
static enum err begin_segment(struct log *log, uint64_t number, struct why *why)
{
    const struct os_ops *ops = log->os->ops;
    char path[PATH_BYTES];
    segment_path(log->folder, number, path);
    struct os_file *file;
    enum err err =
        ops->file_open(log->os, path, OS_FILE_WRITE | OS_FILE_CREATE | OS_FILE_EXCLUSIVE, &file, why);
    if (err) return err;
    struct os_file *old = log->file;
    uint64_t old_number = log->number, old_salt = log->salt;
    log->file = file;
    log->number = number;
    ops->random(log->os, &log->salt, sizeof log->salt);
    err = write_segment_header(log, why);
    if (!err) err = ops->path_sync(log->os, log->folder, why);
    if (err) {
        ops->file_close(file);
        (void)ops->path_remove(log->os, path, NULL); /* what stays is an empty segment: replay skips it */
        log->file = old;
        log->number = old_number;
        log->salt = old_salt;
        return err;
    }
    if (old) ops->file_close(old);
    log->offset = LOG_HEADER_BYTES;
    return ERR_OK;
}

enum err log_open(struct log *log, struct os *os, const char *folder, uint64_t origin,
                  const struct log_recovery *recovery, int64_t wall_ns, struct why *why)
{
    *log = (struct log){.os = os, .origin = origin, .last_seq = recovery->last_seq};
    MUST(str_copy(log->folder, sizeof log->folder, str_of(folder)));
    uint64_t now = wall_ns > 0 ? (uint64_t)wall_ns / 1000 : 0;
    log->reserved_seq = (now > log->last_seq ? now : log->last_seq) + LOG_SEQ_RESERVE;
    return begin_segment(log, recovery->last_number + 1, why);
}

void log_close(struct log *log)
{
    if (log->file) log->os->ops->file_close(log->file);
    log->file = NULL;
    buf_free(&log->pending);
}

uint64_t log_next_seq(struct log *log, int64_t wall_ns)
{
    uint64_t now = wall_ns > 0 ? (uint64_t)wall_ns / 1000 : 0;
    log->last_seq = now > log->last_seq ? now : log->last_seq + 1;
    return log->last_seq;
}

/* Positions about to be used are reserved first, so that none is ever given twice, whatever is lost. */
static enum err reserve(struct log *log, struct why *why)
{
    if (log->last_seq <= log->reserved_seq) return ERR_OK;
    uint64_t old = log->reserved_seq;
    log->reserved_seq = log->last_seq + LOG_SEQ_RESERVE;
    enum err err = write_segment_header(log, why);
    if (err) log->reserved_seq = old;
    return err;
}

enum err log_flush(struct log *log, struct why *why)
{
    if (log->pending.size == 0) return ERR_OK;
    enum err err = reserve(log, why);
    if (!err)
        err = log->os->ops->file_write(log->file, log->offset, log->pending.at, log->pending.size, why);
    if (!err) log->offset += log->pending.size;
    buf_clear(&log->pending);
    return err;
}

/* ---- replay ---- */

struct segment_list {
    uint64_t *numbers;
    size_t count, capacity;
};

static enum err note_segment(void *arg, const char *name)
{
    struct segment_list *list = arg;
    uint64_t number;
    int used = 0;
    if (sscanf(name, "%16" SCNx64 ".seg%n", &number, &used) != 1 || name[used] || used != 20) return ERR_OK;
    enum err err = mem_grow(&list->numbers, &list->capacity, list->count + 1, sizeof *list->numbers);
    if (!err) list->numbers[list->count++] = number;
    return err;
}

static int compare_numbers(const void *a, const void *b)
{
    uint64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

struct replay {
    struct os *os;
    const char *folder;
    enum err (*record)(void *arg, const struct log_record *record, struct why *why);
    void (*damage)(void *arg, const char *text);
    void *arg;
    struct log_recovery *recovery;
};

static void tell_damage(struct replay *r, uint64_t number, size_t offset, const char *what)
{
    char text[160];
    snprintf(text, sizeof text, "log segment %016" PRIx64 ", byte %zu: %s", number, offset, what);
    r->recovery->damaged++;
    if (r->damage) r->damage(r->arg, text);
}

/* The offset of the next good record at or behind `from` whose `durable` claims more than `last_seq`, or 0: only
 * such a record proves that what lies between was once durable. */
static size_t find_after_damage(const uint8_t *bytes, size_t size, size_t from, uint64_t salt,
                                uint64_t last_seq)
{
    for (size_t at = padded(from); at + LOG_RECORD_HEAD_BYTES <= size; at += 8) {
        struct reader in = reader_of(bytes + at, size - at);
        struct log_record record;
        if (log_record_read(&in, salt, &record) == ERR_OK && record.durable > last_seq) return at;
    }
    return 0;
}

static enum err cut_tail(struct replay *r, const char *path, size_t end, size_t size, struct why *why)
{
    if (end >= size) return ERR_OK;
    struct os_file *file;
    enum err err = r->os->ops->file_open(r->os, path, OS_FILE_WRITE, &file, why);
    if (err) return err;
    r->recovery->cut_bytes += size - end;
    err = r->os->ops->file_truncate(file, end, why);
    if (!err) err = r->os->ops->file_sync(file, why);
    r->os->ops->file_close(file);
    return err;
}

/* Walks the records of one segment held in memory; `*end` receives where the good part ends. */
static enum err replay_records(struct replay *r, const struct header *h, const uint8_t *bytes, size_t size,
                               size_t *end, struct why *why)
{
    size_t at = LOG_HEADER_BYTES;
    while (at < size) {
        struct reader in = reader_of(bytes + at, size - at);
        struct log_record record;
        enum err err = log_record_read(&in, h->salt, &record);
        if (err == ERR_OK) {
            at += reader_offset(&in);
            r->recovery->records++;
            if (record.seq > r->recovery->last_seq) r->recovery->last_seq = record.seq;
            if ((err = r->record(r->arg, &record, why))) return err;
            continue;
        }
        size_t next = find_after_damage(bytes, size, at + 8, h->salt, r->recovery->last_seq);
        if (!next) break;
        tell_damage(r, h->number, at, "damaged records skipped");
        at = next;
    }
    *end = at < size ? at : size;
    return ERR_OK;
}

static enum err read_whole(struct os *os, const char *path, uint8_t **bytes, size_t *size, struct why *why)
{
    struct os_file *file;
    uint64_t file_size = 0;
    *bytes = NULL;
    enum err err = os->ops->file_open(os, path, 0, &file, why);
    if (err) return err;
    err = os->ops->file_size(file, &file_size, why);
    if (!err && !(*bytes = mem_alloc((size_t)file_size))) err = ERR_NO_MEMORY;
    if (!err) err = os->ops->file_read(file, 0, *bytes, (size_t)file_size, size, why);
    os->ops->file_close(file);
    if (err) mem_free(*bytes);
    return err;
}

static enum err replay_segment(struct replay *r, uint64_t number, struct why *why)
{
    char path[PATH_BYTES];
    segment_path(r->folder, number, path);
    uint8_t *bytes;
    size_t size = 0, end = 0;
    struct header h;
    enum err err = read_whole(r->os, path, &bytes, &size, why);
    if (err) return err;
    if (size < LOG_HEADER_BYTES) {
        /* The header's sync precedes every record: a short file never held one, unless it was damaged. */
        if (size >= HEADER_USED_BYTES && read_header(bytes, &h) == ERR_OK && h.reserved_seq > r->recovery->last_seq)
            r->recovery->last_seq = h.reserved_seq;
        mem_free(bytes);
        return ERR_OK;
    }
    err = read_header(bytes, &h);
    if (err == ERR_FORMAT) {
        err = why_set(why, ERR_FORMAT,
                      "%s was written by another version (format %u, this is %u); move the data folder away to "
                      "start afresh, or run the version that wrote it",
                      path, h.format, LOG_FORMAT);
    } else if (err == ERR_CORRUPT) {
        tell_damage(r, number, 0, "the segment's header is damaged, its records are lost");
        err = ERR_OK;
    } else {
        err = replay_records(r, &h, bytes, size, &end, why);
        if (!err) err = cut_tail(r, path, end, size, why);
        if (h.reserved_seq > r->recovery->last_seq) r->recovery->last_seq = h.reserved_seq;
    }
    mem_free(bytes);
    return err;
}

enum err log_replay(struct os *os, const char *folder,
                    enum err (*record)(void *arg, const struct log_record *record, struct why *why),
                    void (*damage)(void *arg, const char *text), void *arg, struct log_recovery *recovery,
                    struct why *why)
{
    *recovery = (struct log_recovery){0};
    struct replay r = {os, folder, record, damage, arg, recovery};
    struct segment_list list = {0};
    enum err err = os->ops->path_list(os, folder, note_segment, &list, why);
    if (!err && list.count) qsort(list.numbers, list.count, sizeof *list.numbers, compare_numbers);
    for (size_t i = 0; i < list.count && !err; i++) {
        recovery->last_number = list.numbers[i];
        err = replay_segment(&r, list.numbers[i], why);
    }
    mem_free(list.numbers);
    return err;
}
