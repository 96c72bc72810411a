/* snapshot.c - see snapshot.h.
 *
 * Slices alternate: the broker's task fills a buffer (SLICE_BYTES), a worker writes it. First the
 * sessions with their subscriptions and queues, then the retained messages. A message that stands
 * in several queues is written before the first of them and referred to by number. */
#include "mqtt/snapshot.h"
#include "base/hash.h"
#include "base/reader.h"
#include "mqtt/broker_priv.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char component[] = "mqtt", magic[8] = {'M', 'I', 'L', 'L', 'R', 'M', 'Q', 'T'};

enum {
    HEADER_BYTES = 24,
    SLICE_BYTES = 256 * 1024,
    CHUNK_BYTES_MAX = 300 * 1024 * 1024, /* one message may be as large as MQTT lets it */
    LOG_BYTES = 16 * 1024 * 1024,        /* of notes, after which one is due anyhow */
};

static void put_le32(char *to, uint32_t value)
{
    for (int i = 0; i < 4; i++) to[i] = (char)(value >> (8 * i));
}

/* ---- filling ---- */

static bool is_full(const struct snapshot *s)
{
    return s->out.size >= SLICE_BYTES;
}

static void add_message(struct broker *broker, const struct message *m, bool keeps)
{
    journal_write_message(&broker->snapshot.out, broker, m, keeps);
}

/* A session's queue is written whole: it changes between slices. */
static void add_session(struct broker *broker, struct session *session)
{
    struct snapshot *s = &broker->snapshot;
    const struct outbox *o = &session->outbox;
    journal_write_session_at(&s->out, session, o->first);
    for (const struct subscription *sub = session->subscriptions; sub; sub = sub->next_of_session)
        journal_write_subscribe(&s->out, session, sub);
    for (uint32_t id = 1; session->received && id <= UINT16_MAX; id++)
        if (session_has_received(session, (uint16_t)id))
            journal_write_pair(&s->out, JOURNAL_TAKEN, session, id);
    for (uint64_t i = o->first; i < o->last; i++) {
        const struct outbox_item *item = outbox_at(o, i);
        if (item->state == OUTBOX_DONE) continue;
        if (item->message && item->message->snapshot != s->number) {
            add_message(broker, item->message, false);
            item->message->snapshot = s->number;
        }
        journal_write_target(&s->out, session, i, item);
    }
}

static void add_sessions(struct broker *broker)
{
    struct snapshot *s = &broker->snapshot;
    while (s->at && !is_full(s)) {
        struct session *session = s->at;
        s->at = session->next;
        if (session->is_logged) add_session(broker, session);
    }
}

static void add_retained(struct broker *broker)
{
    struct snapshot *s = &broker->snapshot;
    while (s->walk.at && !is_full(s)) {
        unsigned steps = 1000;
        struct message *m = tree_walk_next(&s->walk, &steps);
        if (m && !message_is_own(m)) add_message(broker, m, true);
    }
}

static void frame(struct snapshot *s)
{
    char *at = s->out.at;
    put_le32(at, (uint32_t)(s->out.size - 8));
    put_le32(at + 4, hash_crc32c((uint32_t)s->chunk, at + 8, s->out.size - 8));
    s->chunk++;
}

/* ---- writing, on a worker ---- */

static void write_slice(struct broker_work *work)
{
    struct snapshot *s = (struct snapshot *)work;
    struct os *os = s->broker->context->os;
    char folder[4000], path[4100], wanted[4100];
    snprintf(folder, sizeof folder, "%s/mqtt", s->broker->folder);
    snprintf(path, sizeof path, "%s/state.new", folder);
    snprintf(wanted, sizeof wanted, "%s/state", folder);
    s->why = (struct why)WHY_NONE;
    s->err = ERR_OK;
    if (!s->file) { /* also when an earlier one could not be closed: it is written anew */
        s->err = os->ops->path_make(os, folder, &s->why);
        if (!s->err)
            s->err =
                os->ops->file_open(os, path, OS_FILE_WRITE | OS_FILE_CREATE, &s->file, &s->why);
        if (!s->err) s->err = os->ops->file_truncate(s->file, 0, &s->why);
    }
    if (!s->err) s->err = os->ops->file_write(s->file, s->offset, s->out.at, s->out.size, &s->why);
    s->offset += s->out.size;
    if (s->err || !s->is_last) return;
    s->err = os->ops->file_sync(s->file, &s->why);
    os->ops->file_close(s->file);
    s->file = NULL;
    if (!s->err) s->err = os->ops->path_rename(os, path, wanted, &s->why);
    if (!s->err) s->err = os->ops->path_sync(os, folder, &s->why);
}

static void close_file(struct broker_work *work)
{
    struct snapshot *s = (struct snapshot *)work;
    if (s->file) s->broker->context->os->ops->file_close(s->file);
    s->file = NULL;
}

static void on_closed(struct broker_work *work)
{
    ((struct snapshot *)work)->is_running = false;
}

/* ---- the slices ---- */

static void on_written(struct broker_work *work);

static void end_walks(struct snapshot *s)
{
    if (s->walk.levels) tree_walk_end(&s->walk);
    s->at = NULL;
}

static bool post(struct snapshot *s, void (*work)(struct broker_work *),
                 void (*done)(struct broker_work *))
{
    struct broker *broker = s->broker;
    s->work.owner = broker;
    s->work.work = work;
    s->work.done = done;
    return broker->hooks.work(broker->hooks.arg, &s->work);
}

static void give_up(struct broker *broker, enum err err, const struct why *why)
{
    struct snapshot *s = &broker->snapshot;
    diag(broker->context, DIAG_ERROR, component,
         "its state cannot be written: %s; the log keeps what it needs, it is tried again",
         why_text(why, err));
    end_walks(s);
    s->is_needed = true;
    if (!s->file || !post(s, close_file, on_closed)) s->is_running = false;
}

static void next_slice(struct broker *broker)
{
    struct snapshot *s = &broker->snapshot;
    static const struct why none = WHY_NONE;
    char header[HEADER_BYTES] = {0};
    buf_clear(&s->out);
    bool is_first = s->offset == 0;
    if (is_first) {
        memcpy(header, magic, sizeof magic);
        put_le32(header + 8, SNAPSHOT_FORMAT);
        for (int i = 0; i < 8; i++) header[16 + i] = (char)(s->position >> (8 * i));
        put_le32(header + 12, hash_crc32c(0, header, sizeof header));
        buf_add(&s->out, header, sizeof header);
    } else {
        buf_add(&s->out, header, 8); /* the chunk's size and sum, put in at the end */
        buf_add_char(&s->out, JOURNAL_FORMAT);
        add_sessions(broker);
        add_retained(broker);
        s->is_last = s->out.size == 9;
        if (s->is_last) s->out.size = 8;
        if (!buf_failed(&s->out)) frame(s);
    }
    if (buf_failed(&s->out)) {
        give_up(broker, ERR_NO_MEMORY, &none);
        return;
    }
    if (!post(s, write_slice, on_written)) give_up(broker, ERR_NO_MEMORY, &none);
}

static void on_written(struct broker_work *work)
{
    struct snapshot *s = (struct snapshot *)work;
    struct broker *broker = s->broker;
    if (s->err) {
        give_up(broker, s->err, &s->why);
        return;
    }
    if (!s->is_last) {
        next_slice(broker);
        return;
    }
    end_walks(s);
    buf_free(&s->out);
    s->is_running = false;
    broker->journal.saved_seq = s->position;
    journal_snapshot_done(broker, s->change);
    if (broker->hooks.saved) broker->hooks.saved(broker->hooks.arg, s->position);
}

static void start(struct broker *broker)
{
    struct snapshot *s = &broker->snapshot;
    if (tree_walk_begin_all(broker->tree, &s->walk)) return; /* the next second tries again */
    s->broker = broker;
    s->is_running = true;
    s->is_needed = s->is_last = false;
    s->at = broker->first_session;
    s->number++;
    s->chunk = 0;
    s->offset = 0;
    s->position = broker->journal.done_seq;
    s->change = broker->journal.change;
    broker->journal.log_bytes = 0;
    next_slice(broker);
}

void snapshot_need(struct broker *broker)
{
    broker->snapshot.is_needed = true;
}

void snapshot_look(struct broker *broker)
{
    struct snapshot *s = &broker->snapshot;
    if (s->is_running || !broker->hooks.work || broker->is_stopping) return;
    s->is_needed |= atomic_exchange(&broker->is_asked_to_save, false);
    if (s->is_needed || broker->journal.log_bytes > LOG_BYTES) start(broker);
}

void snapshot_forget(struct session *session)
{
    struct snapshot *s = &session->broker->snapshot;
    if (s->at == session) s->at = session->next;
}

void snapshot_free(struct broker *broker)
{
    struct snapshot *s = &broker->snapshot;
    end_walks(s);
    buf_free(&s->out);
    if (s->file) broker->context->os->ops->file_close(s->file);
}

/* ---- reading ---- */

static enum err read_header(struct reader *r, uint64_t *position, struct why *why)
{
    char bytes[HEADER_BYTES] = {0};
    const uint8_t *at = reader_take(r, HEADER_BYTES);
    if (at) memcpy(bytes, at, sizeof bytes);
    struct reader fields = reader_of(bytes + 8, sizeof bytes - 8);
    uint32_t format = reader_le32(&fields), sum = reader_le32(&fields);
    *position = reader_le64(&fields);
    put_le32(bytes + 12, 0);
    if (!at || memcmp(bytes, magic, sizeof magic) != 0 ||
        hash_crc32c(0, bytes, sizeof bytes) != sum)
        return why_set(why, ERR_CORRUPT, "mqtt/state: its header is damaged");
    if (format != SNAPSHOT_FORMAT)
        return why_set(why, ERR_FORMAT, "mqtt/state: written by another version (format %u)",
                       format);
    return ERR_OK;
}

enum err snapshot_parse(struct broker *broker, struct str bytes, uint64_t *position,
                        size_t *damaged, struct why *why)
{
    struct reader r = reader_of(bytes.at, bytes.size);
    enum err err = read_header(&r, position, why);
    bool has_end = false;
    *damaged = 0;
    for (uint32_t chunk = 0; !err && !has_end; chunk++) {
        uint32_t size = reader_le32(&r), sum = reader_le32(&r);
        struct str text = reader_str(&r, size);
        if (!reader_ok(&r)) {
            (*damaged)++; /* where the next chunk begins is unknown */
            break;
        }
        has_end = size == 0;
        bool is_good = hash_crc32c(chunk, text.at, text.size) == sum;
        if (is_good && size) err = journal_replay(broker, text, why);
        if (!is_good || err == ERR_CORRUPT) (*damaged)++;
        if (err == ERR_CORRUPT) err = ERR_OK;
    }
    return err;
}

static enum err read_file(struct os *os, const char *path, struct buf *text, struct why *why)
{
    struct os_file *file = NULL;
    uint64_t size = 0;
    size_t got = 0;
    enum err err = os->ops->file_open(os, path, 0, &file, why);
    if (err) return err;
    err = os->ops->file_size(file, &size, why);
    if (!err && (size > SIZE_MAX / 2 || !buf_reserve(text, (size_t)size + 1))) err = ERR_NO_MEMORY;
    if (!err) err = os->ops->file_read(file, 0, text->at, (size_t)size, &got, why);
    text->size = got;
    os->ops->file_close(file);
    return err;
}

enum err snapshot_load(struct broker *broker, uint64_t *position, struct why *why)
{
    struct buf text = BUF_EMPTY;
    char path[4100];
    size_t damaged = 0;
    *position = 0;
    snprintf(path, sizeof path, "%s/mqtt/state", broker->folder);
    enum err err = read_file(broker->context->os, path, &text, why);
    if (err == ERR_NOT_FOUND) err = ERR_OK;
    if (!err && text.size) err = snapshot_parse(broker, buf_str(&text), position, &damaged, why);
    buf_free(&text);
    if (err == ERR_CORRUPT) {
        damaged++;
        err = ERR_OK;
    }
    if (damaged)
        diag(broker->context, DIAG_ERROR, component,
             "%s: %zu damaged places; sessions and messages in them are lost", path, damaged);
    metric_add(broker->context, METRIC_MQTT_DAMAGED, damaged);
    return err;
}
