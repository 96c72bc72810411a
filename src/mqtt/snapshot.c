/* snapshot.c - see snapshot.h.
 *
 * Slices alternate: the broker's task fills a buffer (SLICE_BYTES), a worker writes it. First the
 * sessions with their subscriptions and queues, then the retained messages. A message that stands
 * in several queues is written before the first of them and referred to by number.
 *
 * Its way: needed → start (position and change are noted) → queue files are synced (is_waiting) →
 * header → slices → the last one, which waits until the log has what the others hold (is_held) →
 * synced, renamed → the journal, the queues and the log are told. Any failure gives it up
 * (give_up): the file beside is begun anew the next time, and the log keeps what it needs. The
 * buffer and the file are the worker's from post() to on_written().
 *
 * A copy (copy.h) is written in the same way to another file, which it gets open and unsynced. */
#include "os/put_aside.h"
#include "mqtt/snapshot.h"
#include "base/hash.h"
#include "base/reader.h"
#include "mqtt/copy_priv.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char component[] = "mqtt", magic[8] = {'M', 'I', 'L', 'L', 'R', 'M', 'Q', 'T'};

enum {
    HEADER_V2_BYTES = 24,
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

static void add_message(struct broker *broker, const struct message *m, const struct space *keeps)
{
    journal_write_message(&broker->snapshot.out, broker, m, keeps);
}

/* A session's queue is written whole: it changes between slices. */
static void add_session(struct broker *broker, struct session *session)
{
    MUST(session_is_valid(session) && session->is_logged);
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
            if (!item->message->serial) item->message->serial = ++broker->last_serial;
            add_message(broker, item->message, NULL);
            item->message->snapshot = s->number;
        }
        journal_write_target(&s->out, session, i, item);
    }
    spill_write_named(&s->out, session);
    if (session->will) journal_write_will(&s->out, session);
}

/* Of one that is not kept only its will is said: a start publishes that. */
static void add_sessions(struct broker *broker)
{
    struct snapshot *s = &broker->snapshot;
    while (s->at && !is_full(s)) {
        struct session *session = s->at;
        s->at = session->next;
        if (session->is_logged)
            add_session(broker, session);
        else if (session->will)
            journal_write_will(&s->out, session);
    }
}

/* Lets go of the tree, and of its space. */
static void end_walk(struct snapshot *s)
{
    if (!s->walked) return;
    MUST(space_is_valid(s->walked) && s->walked->pins > 0);
    tree_walk_end(&s->walk);
    s->walked->pins--;
    s->walked = NULL;
}

/* On to the next tree in which messages are retained; false: there is none, or no memory, which
 * spoils the buffer. */
static bool next_tree(struct broker *broker)
{
    struct snapshot *s = &broker->snapshot;
    end_walk(s);
    while (s->space < broker->space_count) {
        struct space *space = broker->spaces[s->space++];
        if (!space || !tree_retained_count(space->tree)) continue;
        if (tree_walk_begin_all(space->tree, &s->walk)) {
            s->out.failed = true;
            return false;
        }
        s->walked = space;
        space->pins++;
        return true;
    }
    return false;
}

/* After the sessions, in slices like them. $SYS is made anew by each start. */
static void add_retained(struct broker *broker)
{
    struct snapshot *s = &broker->snapshot;
    while (!s->at && !is_full(s) && !buf_failed(&s->out)) {
        unsigned steps = 1000;
        if ((!s->walked || !s->walk.at) && !next_tree(broker)) return;
        struct message *m = tree_walk_next(&s->walk, &steps);
        if (m && !message_is_own(m)) add_message(broker, m, s->walked);
    }
}

void snapshot_frame(char *at, size_t size, uint32_t number)
{
    size_t body = size - SNAPSHOT_FRAME_BYTES;
    MUST(size >= SNAPSHOT_FRAME_BYTES && body <= UINT32_MAX);
    put_le32(at, (uint32_t)body);
    put_le32(at + 4, hash_crc32c(number, at + SNAPSHOT_FRAME_BYTES, body));
}

static void put_le64(char *to, uint64_t value)
{
    for (int i = 0; i < 8; i++) to[i] = (char)(value >> (8 * i));
}

void snapshot_write_header(char header[SNAPSHOT_HEADER_BYTES], uint64_t position, uint64_t up_to)
{
    memcpy(header, magic, sizeof magic);
    put_le32(header + 8, SNAPSHOT_FORMAT);
    put_le32(header + 12, 0);
    put_le64(header + 16, position);
    put_le64(header + 24, up_to);
    put_le32(header + 12, hash_crc32c(0, header, SNAPSHOT_HEADER_BYTES));
}

/* ---- writing, on a worker ---- */

/* A worker: the file, the buffer and the answer are its own until on_written. */
static void write_slice(struct broker_work *work)
{
    struct snapshot *s = (struct snapshot *)work;
    struct os *os = s->broker->context->os;
    char folder[4000], path[4100], wanted[4100];
    snprintf(folder, sizeof folder, "%s/mqtt", s->broker->folder);
    snprintf(path, sizeof path, "%s/state.%s", folder, s->is_copy ? "copy" : "new");
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
    if (s->err || !s->is_last || s->is_copy) return;
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
    end_walk(s);
    s->at = NULL;
}

/* False: no memory, and nothing follows. */
static bool post(struct snapshot *s, void (*work)(struct broker_work *),
                 void (*done)(struct broker_work *))
{
    struct broker *broker = s->broker;
    s->work.owner = broker;
    s->work.work = work;
    s->work.done = done;
    return broker->hooks.work(broker->hooks.arg, &s->work);
}

/* The log keeps the notes; a copy is told. What is open is closed by a worker, since closing may
 * wait. */
static void give_up(struct broker *broker, enum err err, const struct why *why)
{
    struct snapshot *s = &broker->snapshot;
    MUST(s->is_running && err);
    if (s->is_copy)
        copying_fail(broker, err, why);
    else
        diag(broker->context, DIAG_ERROR, component,
             "its state cannot be written: %s; the log keeps what it needs, it is tried again",
             why_text(why, err));
    end_walks(s);
    s->is_needed |= !s->is_copy;
    if (!s->file || !post(s, close_file, on_closed)) s->is_running = false;
}

/* What was written may be ahead of the log: a QoS 2 identifier that came in, without the message,
 * when the log loses its end. A log that takes nothing may be waiting for this very file. */
static bool must_wait(const struct broker *broker)
{
    const struct journal *j = &broker->journal;
    return j->reached < broker->snapshot.last_change && (j->first || j->out.size) && !j->is_failing;
}

/* A chunk that holds nothing is the end. */
static void fill_slice(struct broker *broker)
{
    struct snapshot *s = &broker->snapshot;
    MUST(s->is_running && s->offset > 0);
    buf_add_le64(&s->out, 0); /* the chunk's size and sum, put in at the end */
    buf_add_char(&s->out, JOURNAL_FORMAT);
    add_sessions(broker);
    add_retained(broker);
    s->is_last = s->out.size == SNAPSHOT_FRAME_BYTES + 1;
    if (s->is_last) s->out.size = SNAPSHOT_FRAME_BYTES;
    if (!s->is_last) s->last_change = broker->journal.change;
    if (!buf_failed(&s->out)) snapshot_frame(s->out.at, s->out.size, s->chunk++);
}

/* The first is the header alone. */
static void next_slice(struct broker *broker)
{
    struct snapshot *s = &broker->snapshot;
    MUST(s->is_running && !s->is_waiting && !s->is_held);
    static const struct why none = WHY_NONE;
    char header[SNAPSHOT_HEADER_BYTES];
    buf_clear(&s->out);
    bool is_first = s->offset == 0;
    if (is_first) {
        snapshot_write_header(header, s->position, 0);
        buf_add(&s->out, header, sizeof header);
    } else {
        fill_slice(broker);
    }
    s->is_held = s->is_last && !buf_failed(&s->out) && must_wait(broker);
    if (s->is_held) return; /* snapshot_go_on writes it */
    if (buf_failed(&s->out)) {
        give_up(broker, ERR_NO_MEMORY, &none);
        return;
    }
    if (!post(s, write_slice, on_written)) give_up(broker, ERR_NO_MEMORY, &none);
}

/* One slice is on its way to the disk; after the last one the log may forget. */
static void on_written(struct broker_work *work)
{
    struct snapshot *s = (struct snapshot *)work;
    MUST(broker_is_valid(s->broker) && s->is_running);
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
    if (s->is_copy) {
        struct os_file *file = s->file;
        s->file = NULL;
        copying_has_state(broker, file, s->offset, s->position);
        return;
    }
    broker->journal.saved_seq = s->position;
    journal_snapshot_done(broker, s->change);
    spill_sweep(broker, s->number);
    if (broker->hooks.saved) broker->hooks.saved(broker->hooks.arg, s->position);
}

/* Changes that come from here on may be in the file or not; their notes are behind `position`
 * and are applied on top in any case. */
static void start(struct broker *broker)
{
    struct snapshot *s = &broker->snapshot;
    MUST(!s->is_running && !s->walked && !s->at);
    s->broker = broker;
    s->is_running = true;
    s->is_copy = copying_wants_state(broker);
    s->is_needed &= s->is_copy;
    s->is_last = false;
    s->at = broker->first_session;
    s->space = 0;
    s->number++;
    s->chunk = 0;
    s->offset = 0;
    s->position = broker->journal.done_seq;
    s->change = s->last_change = broker->journal.change;
    if (!s->is_copy) broker->journal.log_bytes = 0;
    if (s->is_copy) copying_begins(broker);
    s->is_waiting = true;
    spill_sync(broker);
    snapshot_go_on(broker);
}

void snapshot_go_on(struct broker *broker)
{
    struct snapshot *s = &broker->snapshot;
    static const struct why none = WHY_NONE;
    if (s->is_held && !broker->is_stopping && !must_wait(broker)) {
        s->is_held = false;
        if (!post(s, write_slice, on_written)) give_up(broker, ERR_NO_MEMORY, &none);
    }
    if (!s->is_waiting || !spill_is_synced(broker)) return;
    s->is_waiting = false;
    next_slice(broker);
}

void snapshot_need(struct broker *broker)
{
    broker->snapshot.is_needed = true;
}

void snapshot_look(struct broker *broker)
{
    MUST(broker_is_valid(broker));
    struct snapshot *s = &broker->snapshot;
    if (s->is_running) snapshot_go_on(broker);
    if (s->is_running || !broker->hooks.work || broker->is_stopping) return;
    s->is_needed |= atomic_exchange(&broker->is_asked_to_save, false);
    if (s->is_needed || broker->journal.log_bytes > LOG_BYTES || copying_wants_state(broker))
        start(broker);
}

void snapshot_forget(struct session *session)
{
    MUST(session_is_valid(session));
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

enum err snapshot_read_header(struct reader *r, struct snapshot_read *found, struct why *why)
{
    char bytes[SNAPSHOT_HEADER_BYTES] = {0};
    *found = (struct snapshot_read){0};
    const uint8_t *at = reader_take(r, HEADER_V2_BYTES);
    if (at) memcpy(bytes, at, HEADER_V2_BYTES);
    struct reader fields = reader_of(bytes + 8, sizeof bytes - 8);
    uint32_t format = reader_le32(&fields), sum = reader_le32(&fields);
    size_t size = HEADER_V2_BYTES;
    if (at && format > 2) {
        at = reader_take(r, SNAPSHOT_HEADER_BYTES - HEADER_V2_BYTES);
        if (at) memcpy(bytes + HEADER_V2_BYTES, at, SNAPSHOT_HEADER_BYTES - HEADER_V2_BYTES);
        size = SNAPSHOT_HEADER_BYTES;
    }
    found->position = reader_le64(&fields);
    found->up_to = reader_le64(&fields);
    put_le32(bytes + 12, 0);
    if (!at || memcmp(bytes, magic, sizeof magic) != 0 || hash_crc32c(0, bytes, size) != sum)
        return why_set(why, ERR_CORRUPT, "mqtt/state: its header is damaged");
    if (format < SNAPSHOT_FORMAT_OLDEST || format > SNAPSHOT_FORMAT)
        return why_set(why, ERR_FORMAT, "mqtt/state: written by another version (format %u)",
                       format);
    return ERR_OK;
}

bool snapshot_next_chunk(struct reader *r, uint32_t number, struct str *text, bool *is_good,
                         struct snapshot_read *found)
{
    uint32_t size = reader_le32(r), sum = reader_le32(r);
    *text = reader_str(r, size);
    if (!reader_ok(r)) {
        found->damaged++; /* where the next chunk begins is unknown */
        return false;
    }
    *is_good = hash_crc32c(number, text->at, text->size) == sum;
    if (!*is_good) found->damaged++;
    return size > 0;
}

enum err snapshot_parse(struct broker *broker, struct str bytes, struct snapshot_read *found,
                        struct why *why)
{
    struct reader r = reader_of(bytes.at, bytes.size);
    struct str text;
    bool is_good = false;
    enum err err = snapshot_read_header(&r, found, why);
    for (uint32_t chunk = 0; !err && snapshot_next_chunk(&r, chunk, &text, &is_good, found);
         chunk++) {
        if (is_good) err = journal_replay(broker, text, why);
        if (err != ERR_CORRUPT) continue;
        found->damaged++;
        err = ERR_OK;
    }
    if (!err && reader_ok(&r)) found->rest = reader_str(&r, reader_left(&r));
    return err;
}

enum err snapshot_replay_notes(struct broker *broker, struct snapshot_read *found, struct why *why)
{
    struct reader r = reader_of(found->rest.at, found->rest.size);
    struct str text;
    bool is_good = false;
    enum err err = ERR_OK;
    MUST(!broker->is_loading);
    if (!found->up_to) return ERR_OK;
    for (uint32_t chunk = 0; !err && snapshot_next_chunk(&r, chunk, &text, &is_good, found);
         chunk++) {
        struct reader note = reader_of(text.at, text.size);
        uint64_t seq = reader_le64(&note);
        struct str body = reader_str(&note, reader_left(&note));
        if (!is_good || !reader_ok(&note) || seq > found->up_to) continue;
        err = broker_replay(broker, seq, body, why);
        if (err != ERR_CORRUPT) continue;
        found->damaged++;
        err = ERR_OK;
    }
    return err;
}

/* The state, then what lies about is removed, then the notes, which may make files. */
static enum err load(struct broker *broker, struct buf *text, struct snapshot_read *found,
                     struct why *why)
{
    enum err err = text->size ? snapshot_parse(broker, buf_str(text), found, why) : ERR_OK;
    bool is_lost = err == ERR_CORRUPT;
    if (err && !is_lost) return err;
    found->damaged += is_lost;
    broker->journal.saved_seq = broker->journal.done_seq = is_lost ? 0 : found->position;
    spill_clean(broker, found->damaged > 0);
    broker_end_loading(broker);
    return is_lost ? ERR_OK : snapshot_replay_notes(broker, found, why);
}

enum err snapshot_load(struct broker *broker, struct why *why)
{
    struct buf text = BUF_EMPTY;
    struct os *os = broker->context->os;
    struct snapshot_read found = {0};
    char path[4100];
    snprintf(path, sizeof path, "%s/" BROKER_COPY_STATE, broker->folder);
    (void)os->ops->path_remove(os, path, NULL); /* of a backup that was cut off */
    snprintf(path, sizeof path, "%s/mqtt/state", broker->folder);
    enum err err = os_read_whole(os, path, &text, why);
    if (err == ERR_NOT_FOUND) err = ERR_OK;
    if (!err) err = load(broker, &text, &found, why);
    buf_free(&text);
    if (found.damaged)
        diag(broker->context, DIAG_ERROR, component,
             "%s: %zu damaged places; sessions and messages in them are lost", path, found.damaged);
    metric_add(broker->context, METRIC_MQTT_DAMAGED, found.damaged);
    return err;
}
