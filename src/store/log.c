/* log.c - the node's one log on the disk: segments begun, written, left, recycled and replayed; see
 * log.h.
 *
 * Why a header with two slots: positions are reserved a minute ahead in it, and that must be
 * durable before the first of them is given; a write that power cuts in two may spoil the slot that
 * it went to, and then the other one still says whose the segment is. Why salts: a recycled segment
 * is written over its former life, whose records are still behind the new ones with good checksums;
 * the salt, drawn for each life, is the seed of all of them. Why replay looks behind bad bytes: a
 * torn tail has nothing behind it that was promised, but damage has; a record there is believed
 * only if it says that what the bad bytes held was durable.
 *
 * Called by: the log task (store.c, define.c, delete.c, notes.c frame and flush; flush.c recycles);
 * open.c, doctor.c, restore.c and meta.c before or without one. The sync task syncs log->file and
 * touches nothing else.
 * Owns: the file of the current segment, the list of old ones, the framed bytes not yet written.
 * Invariants: old segments ascend, all below the current number; nothing is pending when a segment
 * is left; last_seq only grows, over starts as well, and is in no record before it is reserved. A
 * log without a file (the disk was full at the start) is rotated before anything is flushed. */
#include "store/log.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/num.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char magic[8] = {'M', 'I', 'L', 'L', 'R', 'L', 'O', 'G'};
enum {
    HEADER_USED_BYTES = 64, /* of each of two slots */
    HEADER_SLOT_BYTES = 512,
    CRC_OFFSET = 12,
    PATH_BYTES = 4096,
};

static void segment_path(const char *folder, uint64_t number, const char *ending,
                         char out[PATH_BYTES])
{
    snprintf(out, PATH_BYTES, "%s/%016" PRIx64 ".%s", folder, number, ending);
}

/* ---- segment headers ---- */

struct header {
    uint32_t format;
    uint64_t number, salt, origin, reserved_seq, durable_seq;
};

static enum err write_header(uint8_t out[HEADER_USED_BYTES], const struct header *h)
{
    struct buf b = BUF_EMPTY;
    buf_add(&b, magic, sizeof magic);
    buf_add_le32(&b, h->format);
    buf_add_le32(&b, 0);
    buf_add_le64(&b, h->number);
    buf_add_le64(&b, h->salt);
    buf_add_le64(&b, h->origin);
    buf_add_le64(&b, h->reserved_seq);
    buf_add_le64(&b, h->durable_seq);
    memset(out, 0, HEADER_USED_BYTES);
    enum err err = buf_failed(&b) ? ERR_NO_MEMORY : ERR_OK;
    if (!err) memcpy(out, b.at, b.size);
    buf_free(&b);
    record_put_le32(out + CRC_OFFSET, hash_crc32c(0, out, HEADER_USED_BYTES));
    return err;
}

static enum err read_slot(const uint8_t *bytes, struct header *h)
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
    h->durable_seq = reader_le64(&in);
    memset(copy + CRC_OFFSET, 0, 4);
    if (memcmp(found.at, magic, sizeof magic) != 0 || hash_crc32c(0, copy, sizeof copy) != crc)
        return ERR_CORRUPT;
    if (h->reserved_seq > RECORD_SEQ_MAX || h->durable_seq > RECORD_SEQ_MAX) return ERR_CORRUPT;
    return h->format == LOG_FORMAT ? ERR_OK : ERR_FORMAT;
}

/* The header with the higher reservation of those that are whole. */
static enum err read_header(const uint8_t *bytes, size_t size, struct header *h)
{
    struct header second;
    enum err err = read_slot(bytes, h);
    if (size < HEADER_SLOT_BYTES + HEADER_USED_BYTES ||
        read_slot(bytes + HEADER_SLOT_BYTES, &second) != ERR_OK)
        return err;
    if (err || second.reserved_seq > h->reserved_seq) *h = second;
    return ERR_OK;
}

/* ---- writing ---- */

/* A new segment has one header, and the other slot holds nothing of a former life. */
static enum err write_first_header(struct log *log, struct os_file *file, const struct header *h,
                                   struct why *why)
{
    uint8_t bytes[2 * HEADER_SLOT_BYTES] = {0};
    enum err err = write_header(bytes, h);
    if (!err) err = log->os->ops->file_write(file, 0, bytes, sizeof bytes, why);
    return err ? err : log->os->ops->file_sync(file, why);
}

/* A spare if there is one, else a fresh file. `path` receives its name so far. */
static enum err open_segment(struct log *log, uint64_t number, char path[PATH_BYTES],
                             struct os_file **file, struct why *why)
{
    const struct os_ops *ops = log->os->ops;
    while (log->spare_count) {
        segment_path(log->folder, log->spares[--log->spare_count], "spare", path);
        if (ops->file_open(log->os, path, OS_FILE_WRITE, file, NULL) == ERR_OK) return ERR_OK;
    }
    segment_path(log->folder, number, "spare", path);
    return ops->file_open(log->os, path, OS_FILE_WRITE | OS_FILE_CREATE, file, why);
}

/* Begins segment `number`: its header is durable, and so is its name, before a record goes in. */
static enum err begin_segment(struct log *log, uint64_t number, uint64_t durable, struct why *why)
{
    const struct os_ops *ops = log->os->ops;
    MUST(number == log->number + 1 && log->pending.size == 0);
    char path[PATH_BYTES], name[PATH_BYTES];
    struct os_file *file;
    enum err err = open_segment(log, number, path, &file, why);
    if (err) return err;
    struct header h = {LOG_FORMAT, number, 0, log->origin, log->reserved_seq, durable};
    ops->random(log->os, &h.salt, sizeof h.salt);
    segment_path(log->folder, number, "seg", name);
    err = write_first_header(log, file, &h, why);
    if (!err) err = ops->path_rename(log->os, path, name, why);
    if (!err) err = ops->path_sync(log->os, log->folder, why);
    if (err) {
        ops->file_close(file);
        /* What stays of it is an empty segment, or a spare: replay takes either. */
        (void)ops->path_remove(log->os, path, NULL);
        (void)ops->path_remove(log->os, name, NULL);
        return err;
    }
    if (log->file) ops->file_close(log->file);
    log->file = file;
    log->number = number;
    log->salt = h.salt;
    log->header_durable = durable;
    log->header_slot = 0;
    log->offset = LOG_HEADER_BYTES;
    return ERR_OK;
}

bool store_file_number(const char *name, const char *ending, uint64_t *number)
{
    struct str text = str_of(name), digits = {name, 16};
    return text.size == 16 + strlen(ending) && strcmp(name + 16, ending) == 0 &&
           num_parse_hex(digits, number);
}

static enum err note_spare(void *arg, const char *name)
{
    struct log *log = arg;
    uint64_t number;
    if (!store_file_number(name, ".spare", &number)) return ERR_OK;
    if (log->spare_count < LOG_SPARES_MAX) log->spares[log->spare_count++] = number;
    return ERR_OK;
}

enum err log_open(struct log *log, struct os *os, const char *folder, uint64_t origin,
                  struct log_recovery *recovery, size_t segment_bytes, int64_t wall_ns,
                  struct why *why)
{
    *log = (struct log){
        .os = os, .origin = origin, .last_seq = recovery->last_seq, .old = recovery->segments};
    log->segment_bytes = segment_bytes ? segment_bytes : LOG_SEGMENT_BYTES;
    log->number = recovery->last_number;
    recovery->segments = (struct log_segments){0};
    MUST(str_copy(log->folder, sizeof log->folder, str_of(folder)));
    uint64_t now = wall_ns > 0 ? (uint64_t)wall_ns / 1000 : 0;
    log->reserved_seq = (now > log->last_seq ? now : log->last_seq) + LOG_SEQ_RESERVE;
    enum err err = os->ops->path_list(os, folder, note_spare, log, why);
    if (!err) err = begin_segment(log, log->number + 1, recovery->record_seq, why);
    return err;
}

void log_close(struct log *log)
{
    if (log->file) log->os->ops->file_close(log->file);
    log->file = NULL;
    buf_free(&log->pending);
    mem_free(log->old.items);
    log->old = (struct log_segments){0};
}

uint64_t log_next_seq(struct log *log, int64_t wall_ns)
{
    uint64_t now = wall_ns > 0 ? (uint64_t)wall_ns / 1000 : 0;
    log->last_seq = now > log->last_seq ? now : log->last_seq + 1;
    return log->last_seq;
}

/* Positions about to be used are reserved first, so that none is ever given twice, whatever is
 * lost. The slot written is the one that does not count, so a torn write spoils no segment. */
static enum err reserve(struct log *log, struct why *why)
{
    if (log->last_seq <= log->reserved_seq) return ERR_OK;
    uint8_t bytes[HEADER_USED_BYTES];
    const struct os_ops *ops = log->os->ops;
    struct header h = {
        LOG_FORMAT,         log->number, log->salt, log->origin, log->last_seq + LOG_SEQ_RESERVE,
        log->header_durable};
    unsigned slot = !log->header_slot;
    enum err err = write_header(bytes, &h);
    if (!err) err = ops->file_write(log->file, slot * HEADER_SLOT_BYTES, bytes, sizeof bytes, why);
    if (!err) err = ops->file_sync(log->file, why);
    if (err) return err;
    log->reserved_seq = h.reserved_seq;
    log->header_slot = slot;
    return ERR_OK;
}

enum err log_flush(struct log *log, struct why *why)
{
    if (log->pending.size == 0) return ERR_OK;
    MUST(log->file && log->offset >= LOG_HEADER_BYTES); /* who has none rotates first */
    enum err err = reserve(log, why);
    if (!err)
        err = log->os->ops->file_write(log->file, log->offset, log->pending.at, log->pending.size,
                                       why);
    if (!err) log->offset += log->pending.size;
    buf_clear(&log->pending);
    return err;
}

enum err log_rotate(struct log *log, uint64_t durable, struct why *why)
{
    MUST(log->pending.size == 0 && durable <= log->last_seq);
    struct log_segments *old = &log->old;
    enum err err = mem_grow(&old->items, &old->capacity, old->count + 1, sizeof *old->items);
    struct log_segment left = {log->number, log->last_seq};
    bool leaves = log->file != NULL; /* none yet: log_open could not begin one */
    if (!err) err = begin_segment(log, left.number + 1, durable, why);
    if (!err && leaves) old->items[old->count++] = left;
    return err;
}

/* Gives one segment up; false when the disk did not do it. */
static bool give_up(struct log *log, uint64_t number)
{
    const struct os_ops *ops = log->os->ops;
    char path[PATH_BYTES], spare[PATH_BYTES];
    segment_path(log->folder, number, "seg", path);
    segment_path(log->folder, number, "spare", spare);
    if (log->spare_count == LOG_SPARES_MAX) {
        enum err err = ops->path_remove(log->os, path, NULL);
        return err == ERR_OK || err == ERR_NOT_FOUND;
    }
    if (ops->path_rename(log->os, path, spare, NULL)) return false;
    log->spares[log->spare_count++] = number;
    return true;
}

void log_recycle(struct log *log, uint64_t checkpoint)
{
    size_t done = 0;
    MUST(log->spare_count <= LOG_SPARES_MAX);
    while (done < log->old.count && log->old.items[done].last_seq <= checkpoint &&
           give_up(log, log->old.items[done].number))
        done++;
    if (!done) return;
    log->old.count -= done;
    memmove(log->old.items, log->old.items + done, log->old.count * sizeof *log->old.items);
}

/* ---- replay ---- */

static enum err note_segment(void *arg, const char *name)
{
    struct log_segments *list = arg;
    uint64_t number;
    if (!store_file_number(name, ".seg", &number)) return ERR_OK;
    enum err err = mem_grow(&list->items, &list->capacity, list->count + 1, sizeof *list->items);
    if (!err) list->items[list->count++] = (struct log_segment){number, 0};
    return err;
}

static int compare_segments(const void *a, const void *b)
{
    const struct log_segment *x = a, *y = b;
    return (x->number > y->number) - (x->number < y->number);
}

struct replay {
    struct os *os;
    const char *folder;
    const struct record_sink *sink;
    struct log_recovery *recovery;
    bool looks_only;
};

static void tell_damage(struct replay *r, uint64_t number, uint64_t offset, const char *what)
{
    char text[160];
    snprintf(text, sizeof text, "log segment %016" PRIx64 ", byte %" PRIu64 ": %s", number, offset,
             what);
    r->recovery->damaged++;
    if (r->sink->damage) r->sink->damage(r->sink->arg, text);
}

/* Cuts what lies behind the last good record, so that a later start does not take it for damage,
 * and makes what was replayed durable: it is about to be claimed so. */
static enum err settle_last(struct replay *r, const char *path, uint64_t end, uint64_t size,
                            struct why *why)
{
    struct os_file *file;
    if (r->looks_only) {
        r->recovery->cut_bytes += size - end;
        return ERR_OK;
    }
    enum err err = r->os->ops->file_open(r->os, path, OS_FILE_WRITE, &file, why);
    if (err) return err;
    if (end < size) {
        r->recovery->cut_bytes += size - end;
        err = r->os->ops->file_truncate(file, end, why);
    }
    if (!err) err = r->os->ops->file_sync(file, why);
    r->os->ops->file_close(file);
    return err;
}

/* Walks the records of one segment; `*end` receives where the good part ends. A record behind bad
 * bytes counts only if it claims durable what the bad bytes held: else nothing was promised. */
static enum err replay_records(struct replay *r, const struct header *h,
                               struct record_source *source, uint64_t *end, struct why *why)
{
    struct log_recovery *found = r->recovery;
    uint64_t at = LOG_HEADER_BYTES, next;
    enum err err = ERR_OK;
    while (!err && at < source->size) {
        struct record record;
        err = record_read(source, at, h->salt, &record, &next);
        if (err == ERR_OK) {
            at = next;
            found->records++;
            if (record.seq > found->last_seq) found->last_seq = record.seq;
            if (record.seq > found->record_seq) found->record_seq = record.seq;
            if (record.durable > found->claimed_seq) found->claimed_seq = record.durable;
            err = r->sink->record(r->sink->arg, &record, why);
            continue;
        }
        if (err != ERR_NO_MEMORY)
            err = record_find(source, at + 8, h->salt, found->record_seq, found->record_seq, &next);
        if (err || !next) break;
        tell_damage(r, h->number, at, "damaged records skipped");
        at = next;
    }
    *end = at < source->size ? at : source->size;
    return err;
}

/* The next segment began when everything before it was on the disk: a lower end is a loss. */
static void check_end(struct replay *r, const struct header *h)
{
    if (h->durable_seq <= r->recovery->record_seq) return;
    char text[120];
    snprintf(text, sizeof text,
             "the records before this segment from position %" PRIu64 " to %" PRIu64 " are lost",
             r->recovery->record_seq, h->durable_seq);
    tell_damage(r, h->number, 0, text);
}

/* What cannot be read looks like a torn tail and is none: then nothing is cut. */
static enum err replay_source(struct replay *r, uint64_t number, const char *path, bool is_last,
                              struct record_source *source, struct why *why)
{
    struct header h;
    uint64_t end = 0;
    size_t head_bytes = 2 * HEADER_SLOT_BYTES;
    /* A file shorter than its header never held a record: the header's sync precedes the first. */
    if (source->size < HEADER_USED_BYTES) return ERR_OK;
    if (source->size < head_bytes) head_bytes = (size_t)source->size;
    const uint8_t *head = record_source_at(source, 0, head_bytes);
    if (!head) return source->has_no_memory ? ERR_NO_MEMORY : ERR_OK;
    enum err err = read_header(head, head_bytes, &h);
    if (err == ERR_FORMAT)
        return why_set(
            why, ERR_FORMAT,
            "%s was written by another version (format %u, this is %u); move the data folder away to "
            "start afresh, or run the version that wrote it",
            path, h.format, LOG_FORMAT);
    if (err) {
        tell_damage(r, number, 0, "the segment's header is damaged, its records are lost");
        return ERR_OK;
    }
    if (h.number != number) {
        tell_damage(r, number, 0, "the segment belongs elsewhere, its records are left out");
        return ERR_OK;
    }
    check_end(r, &h);
    if (h.durable_seq > r->recovery->claimed_seq) r->recovery->claimed_seq = h.durable_seq;
    if (source->size > LOG_HEADER_BYTES) err = replay_records(r, &h, source, &end, why);
    if (!err && is_last && end)
        err = settle_last(r, path, source->lost_bytes ? source->size : end, source->size, why);
    if (h.reserved_seq > r->recovery->last_seq) r->recovery->last_seq = h.reserved_seq;
    return err;
}

static enum err replay_segment(struct replay *r, struct log_segment *segment, bool is_last,
                               struct why *why)
{
    char path[PATH_BYTES], text[64];
    segment_path(r->folder, segment->number, "seg", path);
    struct record_source source;
    enum err err = record_source_open(&source, r->os, path, why);
    if (err == ERR_IO) { /* a disk that cannot give it back: its rows are lost, the rest is not */
        tell_damage(r, segment->number, 0, "the segment cannot be read");
        err = ERR_OK;
    } else if (!err) {
        err = replay_source(r, segment->number, path, is_last, &source, why);
        snprintf(text, sizeof text, "%zu bytes cannot be read", source.lost_bytes);
        if (source.lost_bytes) tell_damage(r, segment->number, 0, text);
        record_source_close(&source);
    }
    segment->last_seq = r->recovery->record_seq;
    return err;
}

static enum err walk(struct os *os, const char *folder, uint64_t checkpoint, bool looks_only,
                     const struct record_sink *sink, struct log_recovery *recovery, struct why *why)
{
    *recovery = (struct log_recovery){
        .last_seq = checkpoint, .record_seq = checkpoint, .claimed_seq = checkpoint};
    struct replay r = {os, folder, sink, recovery, looks_only};
    struct log_segments *list = &recovery->segments;
    enum err err = os->ops->path_list(os, folder, note_segment, list, why);
    if (!err && list->count) qsort(list->items, list->count, sizeof *list->items, compare_segments);
    for (size_t i = 0; i < list->count && !err; i++) {
        recovery->last_number = list->items[i].number;
        err = replay_segment(&r, &list->items[i], i + 1 == list->count, why);
    }
    if (err) log_recovery_free(recovery);
    return err;
}

enum err log_replay(struct os *os, const char *folder, uint64_t checkpoint,
                    const struct record_sink *sink, struct log_recovery *recovery, struct why *why)
{
    return walk(os, folder, checkpoint, false, sink, recovery, why);
}

enum err log_inspect(struct os *os, const char *folder, uint64_t checkpoint,
                     const struct record_sink *sink, struct log_recovery *recovery, struct why *why)
{
    return walk(os, folder, checkpoint, true, sink, recovery, why);
}

void log_recovery_free(struct log_recovery *recovery)
{
    mem_free(recovery->segments.items);
    recovery->segments = (struct log_segments){0};
}

/* ---- without the manifest ---- */

static enum err read_head_of(struct os *os, const char *folder, uint64_t number, struct header *h)
{
    char path[PATH_BYTES];
    uint8_t bytes[2 * HEADER_SLOT_BYTES];
    struct os_file *file;
    size_t got = 0;
    segment_path(folder, number, "seg", path);
    enum err err = os->ops->file_open(os, path, 0, &file, NULL);
    if (err) return err;
    err = os->ops->file_read(file, 0, bytes, sizeof bytes, &got, NULL);
    os->ops->file_close(file);
    if (!err && got < sizeof bytes) err = ERR_CORRUPT;
    return err ? err : read_header(bytes, got, h);
}

enum err log_look_oldest(struct os *os, const char *folder, struct log_oldest *oldest)
{
    struct log_segments list = {0};
    *oldest = (struct log_oldest){0};
    enum err err = os->ops->path_list(os, folder, note_segment, &list, NULL);
    if (!err && !list.count) err = ERR_NOT_FOUND;
    if (!err) qsort(list.items, list.count, sizeof *list.items, compare_segments);
    for (size_t i = 0; i < list.count && !err && !oldest->has_origin; i++) {
        struct header h;
        if (read_head_of(os, folder, list.items[i].number, &h) || h.number != list.items[i].number)
            continue;
        oldest->has_origin = true;
        oldest->origin = h.origin;
        if (i == 0) oldest->durable_seq = h.durable_seq;
    }
    mem_free(list.items);
    return err;
}
