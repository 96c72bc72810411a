/* copy.c - see copy.h. The state comes from snapshot.c; here are the notes behind it, and the end.
 *
 * A job at a time is with the workers (is_away): notes that have gathered, or the end. The file's
 * header says up to which position notes count: until the cut that is none, so a file that was not
 * cut is worth nothing to anybody, and notes may be written before the position is known.
 *
 * Its way is enum phase, forwards only; FAILED can be reached from each but WHOLE. Whoever waits
 * (op) is answered once a step: by the state, by the cut, or by the failure. The struct goes when
 * it is over (the asker's word, or a failure before the first answer) and its job is back,
 * whichever is later.
 *
 * What can go wrong (no memory, the disk, notes that come faster than they can be written) fails
 * the copy alone: the broker, its journal and its own snapshots go on. */
#include "mqtt/copy_priv.h"
#include "base/hash.h"
#include <stdio.h>
#include <string.h>

enum { NOTES_BYTES_MAX = 64 * 1024 * 1024 }; /* that wait for the disk */

enum phase {
    COPY_WAITS,  /* for the snapshot that is under way, and for its own */
    COPY_STATE,  /* its snapshot is being written */
    COPY_NOTES,  /* notes are written as they come */
    COPY_CUT,    /* those up to the position are still coming */
    COPY_CLOSES, /* the end is with a worker */
    COPY_WHOLE,
    COPY_FAILED,
};

struct copying {
    struct broker_work work; /* first */
    struct broker *broker;
    struct broker_copy *op; /* who waits for the step under way; NULL = nobody */
    enum phase phase;
    struct os_file *file;
    uint64_t offset, position, up_to;
    uint32_t chunk;      /* of notes */
    uint64_t cut_change; /* of the last note that was on its way at the cut */
    struct buf notes, out;
    struct broker_copy_file *files;
    size_t file_count, file_capacity;
    bool is_away, is_over; /* over: goes when its job is back */
    enum err err;
    struct why why;
};

/* ---- answers ---- */

/* Whoever waits for the step under way gets the files that are known so far; they stay the
 * copy's. */
static void answer(struct copying *c, enum err err)
{
    struct broker_copy *op = c->op;
    c->op = NULL;
    if (!op) return;
    op->files = c->files;
    op->file_count = c->file_count;
    completion_finish(&op->completion, err, err ? &c->why : NULL);
}

/* Its end. The file itself is removed by remove_file before, or by the next start. */
static void drop(struct copying *c)
{
    MUST(!c->is_away);
    if (c->file) c->broker->context->os->ops->file_close(c->file);
    c->broker->copying = NULL;
    buf_free(&c->notes);
    buf_free(&c->out);
    mem_free(c->files);
    mem_free(c);
}

/* Told to who waits, or kept for who comes (run_cut). Before the first answer nobody will call
 * broker_copy_end, so it ends itself. May free `c`. */
static void fail(struct copying *c, enum err err, const struct why *why)
{
    bool is_begun = c->phase > COPY_STATE;
    if (c->phase >= COPY_WHOLE) return;
    c->phase = COPY_FAILED;
    c->err = err;
    if (why) c->why = *why;
    buf_free(&c->notes);
    c->notes = BUF_EMPTY;
    answer(c, err);
    if (!is_begun) c->is_over = true; /* nobody will end it */
    if (c->is_over && !c->is_away) drop(c);
}

/* ---- the disk, on a worker ---- */

static void write_notes(struct broker_work *work)
{
    struct copying *c = (struct copying *)work;
    const struct os_ops *ops = c->broker->context->os->ops;
    c->err = ops->file_write(c->file, c->offset, c->out.at, c->out.size, &c->why);
    c->offset += c->out.size;
}

/* Behind the last note the end, then the header with the position, then the sync: a file that is
 * cut off anywhere before that says by its header that no note counts. */
static void write_end(struct broker_work *work)
{
    struct copying *c = (struct copying *)work;
    const struct os_ops *ops = c->broker->context->os->ops;
    char header[SNAPSHOT_HEADER_BYTES];
    snapshot_write_header(header, c->position, c->up_to);
    write_notes(work);
    if (!c->err) c->err = ops->file_write(c->file, 0, header, sizeof header, &c->why);
    if (!c->err) c->err = ops->file_sync(c->file, &c->why);
    ops->file_close(c->file);
    c->file = NULL;
}

/* Whatever it held. */
static void remove_file(struct broker_work *work)
{
    struct copying *c = (struct copying *)work;
    struct os *os = c->broker->context->os;
    char path[4100];
    snprintf(path, sizeof path, "%s/" BROKER_COPY_STATE, c->broker->folder);
    if (c->file) os->ops->file_close(c->file);
    c->file = NULL;
    (void)os->ops->path_remove(os, path, NULL); /* else the next start does */
}

static void on_worked(struct broker_work *work);

/* One job at a time. May fail, and so free `c`. */
static void post(struct copying *c, void (*work)(struct broker_work *work))
{
    MUST(!c->is_away);
    static const struct why none = WHY_NONE;
    c->work = (struct broker_work){.owner = c->broker, .work = work, .done = on_worked};
    c->is_away = c->broker->hooks.work(c->broker->hooks.arg, &c->work);
    if (!c->is_away) fail(c, ERR_NO_MEMORY, &none);
}

/* ---- steps ---- */

/* A chunk of the file: a note behind its position, or without a body the end. */
static void frame(struct copying *c, struct buf *out, uint64_t seq, struct str body)
{
    MUST(body.size || !seq);
    size_t begin = out->size;
    buf_add_le64(out, 0); /* size and sum, put in at the end */
    if (body.size) buf_add_le64(out, seq);
    buf_add_str(out, body);
    if (!buf_failed(out)) snapshot_frame(out->at + begin, out->size - begin, c->chunk++);
}

/* Those that were on their way at the cut are done, or will get positions above it. */
static bool has_all(const struct copying *c)
{
    const struct journal *j = &c->broker->journal;
    return !j->first || j->first->change > c->cut_change || j->is_failing;
}

/* Called whenever something has changed; does nothing while a job is away. May free `c`. */
static void go_on(struct copying *c)
{
    MUST(broker_is_valid(c->broker));
    if (c->is_away || (c->phase != COPY_NOTES && c->phase != COPY_CUT)) return;
    bool ends = c->phase == COPY_CUT && has_all(c);
    if (!ends && !c->notes.size) return;
    struct buf empty = c->out;
    c->out = c->notes;
    c->notes = empty;
    buf_clear(&c->notes);
    if (ends) frame(c, &c->out, 0, STR(""));
    if (buf_failed(&c->out)) {
        fail(c, ERR_NO_MEMORY, NULL);
        return;
    }
    if (ends) c->phase = COPY_CLOSES;
    post(c, ends ? write_end : write_notes);
}

/* May free `c`. */
static void on_worked(struct broker_work *work)
{
    struct copying *c = (struct copying *)work;
    MUST(c->is_away && broker_is_valid(c->broker));
    c->is_away = false;
    if (c->is_over) {
        drop(c);
        return;
    }
    if (c->err) {
        fail(c, c->err, &c->why);
        return;
    }
    if (c->phase == COPY_CLOSES) {
        c->phase = COPY_WHOLE;
        answer(c, ERR_OK);
    }
    go_on(c);
}

static struct broker_copy *copy_of(struct job *job)
{
    return (void *)((char *)job - offsetof(struct broker_copy, job));
}

/* A snapshot that is under way is not this copy's: its own begins behind it (snapshot_look). */
static void run_begin(struct job *job)
{
    struct broker_copy *op = copy_of(job);
    struct broker *broker = op->broker;
    struct why why = WHY_NONE;
    enum err err = broker->is_stopping || !broker->hooks.work ? ERR_CANCELLED
                   : broker->copying ? why_set(&why, ERR_BUSY, "another copy is under way")
                                     : ERR_OK;
    if (!err && !(broker->copying = mem_alloc_zero(1, sizeof *broker->copying)))
        err = ERR_NO_MEMORY;
    if (err) {
        completion_finish(&op->completion, err, &why);
        return;
    }
    broker->copying->broker = broker;
    broker->copying->op = op;
    broker->now_ns = loop_mono_ns(&broker->loop);
    snapshot_look(broker);
}

/* What is on its way to the log now may get positions up to the one that was asked for: the cut
 * waits for those. */
static void run_cut(struct job *job)
{
    struct broker_copy *op = copy_of(job);
    struct broker *broker = op->broker;
    struct copying *c = broker->copying;
    if (broker->is_stopping || !c || c->phase == COPY_FAILED) {
        completion_finish(&op->completion, c && c->err ? c->err : ERR_CANCELLED,
                          c ? &c->why : NULL);
        return;
    }
    MUST(c->phase == COPY_NOTES && !c->op);
    c->op = op;
    c->up_to = op->up_to;
    c->cut_change = broker->journal.last ? broker->journal.last->change : 0;
    c->phase = COPY_CUT;
    go_on(c);
}

struct ending {
    struct job job;
    struct broker *broker;
};

/* Also when the step before has failed; then there may be nothing left. */
static void run_end(struct job *job)
{
    struct ending *e = (struct ending *)job;
    struct copying *c = e->broker->copying;
    bool is_stopping = e->broker->is_stopping;
    mem_free(e);
    if (!c) return;
    MUST(!c->op);
    c->is_over = true;
    c->phase = COPY_FAILED; /* nothing more of it is written */
    if (!c->is_away && !is_stopping) post(c, remove_file);
    if (!c->is_away) drop(c);
}

void broker_copy_begin(struct broker *broker, struct broker_copy *copy)
{
    MUST(broker->is_started && copy->completion.done);
    copy->broker = broker;
    copy->files = NULL;
    copy->file_count = 0;
    copy->job.run = run_begin;
    loop_post(&broker->loop, &copy->job);
}

void broker_copy_cut(struct broker_copy *copy)
{
    MUST(copy->broker->is_started && copy->completion.done);
    copy->job.run = run_cut;
    loop_post(&copy->broker->loop, &copy->job);
}

void broker_copy_end(struct broker *broker)
{
    struct ending *e = mem_alloc_zero(1, sizeof *e);
    MUST(broker->is_started);
    if (!e) return; /* it stays until the broker's end: the next backup is refused as BUSY */
    e->job.run = run_end;
    e->broker = broker;
    loop_post(&broker->loop, &e->job);
}

/* ---- what it is told ---- */

bool copying_wants_state(const struct broker *broker)
{
    return broker->copying && broker->copying->phase == COPY_WAITS;
}

void copying_begins(struct broker *broker)
{
    MUST(copying_wants_state(broker));
    broker->copying->phase = COPY_STATE;
}

void copying_name_files(struct broker *broker, const struct spill_file *files, size_t count)
{
    struct copying *c = broker->copying;
    if (!c || c->phase != COPY_STATE) return;
    if (mem_grow(&c->files, &c->file_capacity, c->file_count + count, sizeof *c->files)) {
        c->err = ERR_NO_MEMORY; /* seen when the state is written */
        return;
    }
    for (size_t i = 0; i < count; i++)
        c->files[c->file_count++] =
            (struct broker_copy_file){files[i].number, files[i].synced_bytes};
}

void copying_has_state(struct broker *broker, struct os_file *file, uint64_t offset,
                       uint64_t position)
{
    struct copying *c = broker->copying;
    if (!c || c->phase != COPY_STATE) { /* it has failed meanwhile */
        broker->context->os->ops->file_close(file);
        return;
    }
    MUST(!c->file);
    c->file = file;
    c->offset = offset;
    c->position = position;
    if (c->err) {
        fail(c, c->err, NULL);
        return;
    }
    c->phase = COPY_NOTES;
    answer(c, ERR_OK);
    go_on(c);
}

void copying_fail(struct broker *broker, enum err err, const struct why *why)
{
    struct copying *c = broker->copying;
    if (c && c->phase != COPY_WAITS) fail(c, err, why);
}

void copying_note(struct broker *broker, const struct broker_note *note)
{
    struct copying *c = broker->copying;
    if (!c || (c->phase != COPY_STATE && c->phase != COPY_NOTES && c->phase != COPY_CUT)) return;
    if (c->phase == COPY_CUT && note->seq > c->up_to) return;
    frame(c, &c->notes, note->seq, buf_str(&note->body));
    if (buf_failed(&c->notes)) {
        fail(c, ERR_NO_MEMORY, NULL);
    } else if (c->notes.size > NOTES_BYTES_MAX) {
        struct why why = WHY_NONE;
        enum err err = why_set(&why, ERR_LIMIT,
                               "messages come faster than the disk takes them a second time; "
                               "%d MiB wait for it",
                               NOTES_BYTES_MAX / 1024 / 1024);
        fail(c, err, &why);
    }
}

bool copying_needs_file(const struct broker *broker, uint64_t number)
{
    const struct copying *c = broker->copying;
    for (size_t i = 0; c && i < c->file_count; i++)
        if (c->files[i].number == number) return true;
    return false;
}

void copying_look(struct broker *broker)
{
    if (broker->copying) go_on(broker->copying);
}

void copying_stop(struct broker *broker)
{
    struct copying *c = broker->copying;
    if (c) fail(c, ERR_CANCELLED, NULL);
}

void copying_free(struct broker *broker)
{
    struct copying *c = broker->copying;
    if (!c) return;
    c->is_away = false; /* its job is not touched any more */
    drop(c);
}
