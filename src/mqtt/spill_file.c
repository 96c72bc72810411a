/* spill_file.c - see spill.h: records, and the disk's side of a job.
 *
 * A record's sum covers its body only; its place is told by the ordinal inside, which only counts
 * up, so a record of another time or file is noticed where it is taken.
 *
 * The second half runs on a worker (spill_do_job) while the broker's task goes on: it looks at the
 * job, the broker's folder and its os, and at nothing else of the spill. Files are opened for each
 * job, since thousands of sessions may have one and descriptors are few. */
#include "base/hash.h"
#include "base/reader.h"
#include "mqtt/broker_priv.h"
#include <inttypes.h>
#include <stdio.h>

enum {
    RECORD_HEAD_BYTES = 8,
    RECORD_FIELDS_BYTES = 96,                 /* beside texts and identifiers, at most */
    RECORD_BYTES_MAX = 300 * 1024 * 1024 + 0, /* one message may be as large as MQTT lets it */
};

/* ---- records ---- */

static void put_le32(char *to, uint32_t value)
{
    for (int i = 0; i < 4; i++) to[i] = (char)(value >> (8 * i));
}

void spill_write_record(struct buf *out, const struct broker *broker, uint64_t ordinal,
                        const struct message *m, const struct outbox_item *how)
{
    const uint32_t *ids = how->id_count > 1 ? how->ids : &how->id;
    size_t begin = out->size;
    MUST(how->qos == 1 || how->qos == 2);
    if (!buf_reserve(out, RECORD_HEAD_BYTES + RECORD_FIELDS_BYTES + message_size(m) +
                              how->id_count * sizeof ids[0] * 2))
        return;
    buf_add_le64(out, 0); /* size and sum, put in at the end */
    buf_add_varint(out, ordinal);
    buf_add_char(out, (char)(how->qos | how->retain << 2 | how->is_shared << 3));
    buf_add_varint(out, how->id_count);
    for (size_t i = 0; i < how->id_count; i++) buf_add_varint(out, ids[i]);
    buf_add_varint(out, m->made_s);
    journal_write_fields(out, broker, m, NULL);
    MUST(!buf_failed(out)); /* the room was there */
    char *at = out->at + begin;
    size_t size = out->size - begin - RECORD_HEAD_BYTES;
    put_le32(at, (uint32_t)size);
    put_le32(at + 4, hash_crc32c(0, at + RECORD_HEAD_BYTES, size));
}

/* False: it is none. */
static bool read_how(struct reader *r, struct spill_record *record)
{
    record->ordinal = reader_varint(r);
    uint8_t flags = reader_u8(r);
    uint64_t count = reader_varint(r);
    record->how = (struct outbox_item){
        .qos = flags & 3, .retain = flags >> 2 & 1, .is_shared = flags >> 3 & 1};
    if (!reader_ok(r) || count > OUTBOX_IDS_MAX || record->how.qos == 0 || record->how.qos == 3)
        return false;
    record->how.id_count = (uint16_t)count;
    for (size_t i = 0; i < count; i++) record->ids[i] = (uint32_t)reader_varint(r);
    return reader_ok(r);
}

size_t spill_read_record(struct broker *broker, struct str bytes, struct spill_record *record,
                         enum err *err, struct why *why)
{
    struct reader head = reader_of(bytes.at, bytes.size);
    uint32_t size = reader_le32(&head), sum = reader_le32(&head);
    *err = ERR_OK;
    if (!reader_ok(&head)) return 0;
    if (size > RECORD_BYTES_MAX) {
        *err = why_set(why, ERR_CORRUPT, "a record of %" PRIu32 " bytes", size);
        return 0;
    }
    struct str body = reader_str(&head, size);
    if (!record) return RECORD_HEAD_BYTES + (size_t)size;
    if (!reader_ok(&head)) return 0;
    struct reader r = reader_of(body.at, body.size);
    if (hash_crc32c(0, body.at, body.size) != sum || !read_how(&r, record)) {
        *err = why_set(why, ERR_CORRUPT, "a record whose sum is wrong");
        return 0;
    }
    uint64_t made_s = reader_varint(&r);
    *err = journal_read_fields(broker, &r, &record->message, why);
    if (*err) return 0;
    record->message->made_s = (uint32_t)made_s;
    /* A start knows no serials of files: this one may have been given again since. */
    record->message->serial = 0;
    return RECORD_HEAD_BYTES + (size_t)size;
}

/* ---- the disk ---- */

void spill_path(const struct broker *broker, uint64_t number, char *path, size_t path_bytes)
{
    snprintf(path, path_bytes, "%s/mqtt/queues/%016" PRIx64, broker->folder, number);
}

/* Also the mere sync of a file, with nothing to write. */
static enum err write_out(struct spill *sp)
{
    struct spill_job *job = &sp->job;
    struct os *os = sp->broker->context->os;
    struct os_file *file;
    char path[4100], folder[4000];
    snprintf(folder, sizeof folder, "%s/mqtt/queues", sp->broker->folder);
    spill_path(sp->broker, job->write_number, path, sizeof path);
    enum err err = job->makes ? os->ops->path_make(os, folder, &job->why) : ERR_OK;
    if (!err) err = os->ops->file_open(os, path, OS_FILE_WRITE | OS_FILE_CREATE, &file, &job->why);
    if (err) return err;
    if (job->out.size)
        err = os->ops->file_write(file, job->write_offset, job->out.at, job->out.size, &job->why);
    if (!err && job->syncs) err = os->ops->file_sync(file, &job->why);
    os->ops->file_close(file);
    return err || !job->syncs ? err : os->ops->path_sync(os, folder, &job->why);
}

/* A file that is gone or too short is damage, and not tried again; other errors are. */
static enum err read_in(struct spill *sp)
{
    struct spill_job *job = &sp->job;
    struct os *os = sp->broker->context->os;
    struct os_file *file;
    char path[4100];
    size_t got = 0;
    spill_path(sp->broker, job->read_number, path, sizeof path);
    enum err err = os->ops->file_open(os, path, 0, &file, &job->why);
    if (err == ERR_NOT_FOUND) err = ERR_CORRUPT; /* it does not come back: the next ones go on */
    if (err) return err;
    buf_clear(&job->in);
    if (!buf_reserve(&job->in, job->read_bytes))
        err = why_set(&job->why, ERR_NO_MEMORY, "no memory for a piece of a queue");
    if (!err)
        err = os->ops->file_read(file, job->read_offset, job->in.at, job->read_bytes, &got,
                                 &job->why);
    if (!err && got < job->read_bytes)
        err = why_set(&job->why, ERR_CORRUPT, "%s ends too early", path);
    job->in.size = got;
    os->ops->file_close(file);
    return err;
}

/* Of the file that is to be thinned out: no larger than FILE_BYTES_MAX and one write. */
static enum err read_whole(struct spill *sp, struct buf *text)
{
    struct spill_job *job = &sp->job;
    struct os *os = sp->broker->context->os;
    struct os_file *file;
    char path[4100];
    size_t got = 0;
    spill_path(sp->broker, job->thin_number, path, sizeof path);
    if (!buf_reserve(text, (size_t)job->thin_bytes)) return ERR_NO_MEMORY;
    enum err err = os->ops->file_open(os, path, 0, &file, &job->why);
    if (err) return err;
    err = os->ops->file_read(file, 0, text->at, (size_t)job->thin_bytes, &got, &job->why);
    text->size = got;
    os->ops->file_close(file);
    return err;
}

/* Synced at once: its records are not in the tail any more. */
static enum err write_whole(struct spill *sp, const struct buf *text)
{
    struct spill_job *job = &sp->job;
    struct os *os = sp->broker->context->os;
    struct os_file *file;
    char path[4100], folder[4000];
    snprintf(folder, sizeof folder, "%s/mqtt/queues", sp->broker->folder);
    spill_path(sp->broker, job->fresh_number, path, sizeof path);
    enum err err = os->ops->file_open(os, path, OS_FILE_WRITE | OS_FILE_CREATE, &file, &job->why);
    if (err) return err;
    err = os->ops->file_write(file, 0, text->at, text->size, &job->why);
    if (!err) err = os->ops->file_sync(file, &job->why);
    os->ops->file_close(file);
    return err ? err : os->ops->path_sync(os, folder, &job->why);
}

/* Records go as they are, damaged ones too: who reads them tells. */
static enum err thin_out(struct spill *sp)
{
    struct spill_job *job = &sp->job;
    struct buf whole = BUF_EMPTY, fresh = BUF_EMPTY;
    uint64_t n = 0;
    size_t at = 0;
    enum err err = read_whole(sp, &whole);
    job->fresh_records = 0;
    while (!err && at < whole.size) {
        struct str rest = {whole.at + at, whole.size - at};
        size_t size = spill_read_record(sp->broker, rest, NULL, &err, &job->why);
        if (size > rest.size || !size) err = ERR_CORRUPT;
        if (err) break;
        if (n++ % job->thins == 0) {
            buf_add(&fresh, rest.at, size);
            job->fresh_records++;
        }
        at += size;
    }
    if (!err && buf_failed(&fresh)) err = ERR_NO_MEMORY;
    if (!err) err = write_whole(sp, &fresh);
    job->fresh_bytes = fresh.size;
    buf_free(&whole);
    buf_free(&fresh);
    return err;
}

void spill_do_job(struct spill *sp)
{
    MUST(sp->magic == SPILL_MAGIC);
    struct spill_job *job = &sp->job;
    MUST(sp->is_busy);
    job->why = (struct why)WHY_NONE;
    if (job->thins) {
        job->err = thin_out(sp);
        return;
    }
    job->err = job->writes || job->syncs ? write_out(sp) : ERR_OK;
    if (job->err) {
        job->reads = false; /* its answer is the write's */
        return;
    }
    if (job->reads) job->err = read_in(sp);
}
