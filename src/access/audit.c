/* audit.c - the audit log's writer.
 *
 * Appending makes the line's text on the caller's task and posts it; the writer's own blocking task
 * numbers, chains and writes what has come together, then syncs once for all of it. After a failed
 * write nothing is known about the file's end, so it is closed, and the next lines begin by looking
 * at it anew, as after a crash. A drained log has no task any more: the few lines of a node that
 * stops are written by who appends them.
 *
 * Called by the listeners (any task) and by node/ at start and stop. Owns the folder's files and
 * the writer's task. Invariants: pending_count lines are in `out`, and nowhere else; `waiting` are
 * those of them that somebody waits for, each told exactly once; seq and hash are those of the last
 * line printed, while the file is open; queued is what was posted and not taken yet, never more
 * than AUDIT_QUEUE_MAX; a line is acknowledged only behind a sync. */
#include "access/audit_priv.h"
#include "base/timetext.h"
#include <string.h>

enum { AUDIT_MAGIC = 0x61756469 };

struct audit {
    uint32_t magic;          /* AUDIT_MAGIC while it lives */
    struct loop loop;        /* task NULL: drained */
    struct context *context; /* borrowed */
    char *folder;            /* owned */
    size_t file_bytes;       /* a file that has reached it is followed by the next */
    /* The writer's task only, from here */
    struct os_file *file;          /* NULL: to be opened */
    unsigned first_number, number; /* of the files; number: the one that is open */
    uint64_t size, seq;            /* bytes durable in it; of the last line printed */
    char hash[AUDIT_HASH_TEXT + 1];
    struct buf out;
    uint64_t pending_count; /* lines in `out` */
    struct record *waiting; /* lines in `out` that somebody waits for */
    /* Any task */
    _Atomic size_t queued;   /* lines posted and not taken */
    _Atomic bool is_failing; /* the last write did not succeed */
};

struct record {
    struct job job;          /* first */
    struct record *next;     /* of those whose appender waits */
    struct completion *done; /* NULL = nobody waits */
    struct audit *audit;
    size_t size;
    char text[]; /* the line's middle: from "time" to "outcome" */
};

/* ---- opening: where the chain ends ---- */

/* Goes on behind the last good line of `text`, which ends with a LF or is empty. False when that is
 * not the last one. */
static bool take_last_line(struct audit *a, struct str text)
{
    uint64_t seq;
    char prev[AUDIT_HASH_TEXT + 1], hash[AUDIT_HASH_TEXT + 1];
    bool is_last = true;
    for (size_t end = text.size, start; end > 0; end = start, is_last = false) {
        for (start = end - 1; start > 0 && text.at[start - 1] != '\n';) start--;
        if (!audit_read_line((struct str){text.at + start, end - 1 - start}, &seq, prev, hash))
            continue;
        a->seq = seq;
        memcpy(a->hash, hash, sizeof hash);
        return is_last;
    }
    return text.size == 0;
}

/* Reads the end of the file: drops a cut line, takes the last whole one. CORRUPT: the last is not
 * one that was written; the chain goes on from the good one before it. */
static enum err find_end(struct audit *a, struct why *why)
{
    const struct os_ops *ops = a->context->os->ops;
    struct buf tail = BUF_EMPTY;
    uint64_t size = 0;
    size_t got = 0;
    enum err err = ops->file_size(a->file, &size, why);
    size_t want = size < AUDIT_LINE_BYTES_MAX ? (size_t)size : AUDIT_LINE_BYTES_MAX;
    if (!err && !buf_reserve(&tail, 2 * want + 1))
        err = why_set(why, ERR_NO_MEMORY, "no memory for the audit log");
    if (!err) err = ops->file_read(a->file, size - want, tail.at, want, &got, why);
    size_t end = got;
    while (!err && end > 0 && tail.at[end - 1] != '\n') end--;
    a->size = size - (got - end);
    if (!err && a->size < size) {
        diag(a->context, DIAG_WARNING, "audit",
             "a line cut by a crash was dropped from the audit log");
        err = ops->file_truncate(a->file, a->size, why);
    }
    bool is_damaged = !err && !take_last_line(a, (struct str){tail.at, end});
    buf_free(&tail);
    return is_damaged ? ERR_CORRUPT : err;
}

static enum err open_file(struct audit *a, unsigned number, struct why *why)
{
    const struct os_ops *ops = a->context->os->ops;
    char path[AUDIT_PATH_BYTES];
    MUST(!a->file && number > 0);
    enum err err = audit_path(path, a->folder, number, why);
    if (!err)
        err = ops->file_open(a->context->os, path, OS_FILE_WRITE | OS_FILE_CREATE, &a->file, why);
    if (err) return err;
    a->number = number;
    return ops->path_sync(a->context->os, a->folder, why);
}

static void close_file(struct audit *a)
{
    if (a->file) a->context->os->ops->file_close(a->file);
    a->file = NULL;
}

/* A damaged end, by a power loss or by somebody, stays as it is for audit_verify to tell; the log
 * goes on in a new file, and the node starts. */
static enum err leave_damaged(struct audit *a, struct why *why)
{
    diag(a->context, DIAG_ERROR, "audit",
         "the end of audit-%06u.jsonl is damaged; it stays as it is, the log goes on in a new file",
         a->number);
    close_file(a);
    a->size = 0;
    return open_file(a, a->number + 1, why);
}

static enum err open_last(struct audit *a, struct why *why)
{
    struct os *os = a->context->os;
    unsigned last;
    a->seq = 0;
    a->size = 0;
    memset(a->hash, '0', AUDIT_HASH_TEXT);
    enum err err = audit_find_files(os, a->folder, &a->first_number, &last, why);
    if (!a->first_number) a->first_number = 1;
    if (!err) err = open_file(a, last ? last : 1, why);
    if (!err) err = find_end(a, why);
    if (err == ERR_CORRUPT) return leave_damaged(a, why);
    /* A crash right after a file was begun: the chain's end is in the one before. */
    if (!err && a->size == 0 && last > a->first_number) {
        close_file(a);
        err = open_file(a, last - 1, why);
        if (!err) err = find_end(a, why);
        close_file(a);
        if (!err || err == ERR_CORRUPT) err = open_file(a, last, why);
        a->size = 0;
    }
    if (err) close_file(a);
    return err;
}

/* ---- writing, on the writer's task ---- */

static enum err rotate(struct audit *a, struct why *why)
{
    struct os *os = a->context->os;
    close_file(a);
    enum err err = open_file(a, a->number + 1, why);
    a->size = 0;
    while (!err && a->number - a->first_number >= AUDIT_FILES_MAX) {
        char path[AUDIT_PATH_BYTES];
        err = audit_path(path, a->folder, a->first_number, why);
        if (!err) err = os->ops->path_remove(os, path, why);
        if (err == ERR_NOT_FOUND) err = ERR_OK; /* somebody took it away */
        if (!err) a->first_number++;
    }
    return err;
}

static enum err write_out(struct audit *a, struct why *why)
{
    const struct os_ops *ops = a->context->os->ops;
    MUST(a->file && a->pending_count > 0);
    if (a->out.size == 0) return ERR_OK;
    if (buf_failed(&a->out)) return ERR_NO_MEMORY;
    enum err err = ops->file_write(a->file, a->size, a->out.at, a->out.size, why);
    if (!err) err = ops->file_sync(a->file, why);
    if (!err) a->size += a->out.size;
    return err;
}

static void tell_waiting(struct audit *a, enum err err, const struct why *why)
{
    struct why whole = WHY_NONE;
    if (err)
        why_set(&whole, err,
                "the audit log cannot be written, so nothing is done that it would not show: %s",
                why_text(why, err));
    while (a->waiting) {
        struct record *r = a->waiting;
        a->waiting = r->next;
        completion_finish(r->done, err, &whole);
        mem_free(r);
    }
}

/* What is in `out` is lost. */
static void give_up(struct audit *a, enum err err, const struct why *why)
{
    MUST(err && a->pending_count > 0);
    diag(a->context, DIAG_ERROR, "audit", "%llu lines of the audit log were lost: %s",
         (unsigned long long)a->pending_count, why_text(why, err));
    close_file(a);
    atomic_store(&a->is_failing, true);
    tell_waiting(a, err, why);
}

/* Writes what has come together. */
static void write_pending(void *arg)
{
    struct audit *a = arg;
    struct why why = WHY_NONE;
    MUST(a->magic == AUDIT_MAGIC && (a->pending_count || !a->waiting));
    if (!a->pending_count) return;
    enum err err = a->file ? write_out(a, &why) : ERR_IO;
    if (err)
        give_up(a, err, &why);
    else
        atomic_store(&a->is_failing, false);
    if (!err) tell_waiting(a, ERR_OK, NULL);
    a->pending_count = 0;
    buf_free(&a->out);
}

/* On the writer's task, or where a drained log is appended to. */
static void take_record(struct job *job)
{
    struct record *r = (struct record *)job;
    struct audit *a = r->audit;
    struct why why = WHY_NONE;
    MUST(a->magic == AUDIT_MAGIC);
    size_t before = atomic_fetch_sub(&a->queued, 1);
    MUST(before > 0);
    enum err err = a->file ? ERR_OK : open_last(a, &why);
    if (!err && a->size + a->out.size >= a->file_bytes) {
        write_pending(a);
        err = a->file ? rotate(a, &why) : ERR_IO;
    }
    a->pending_count++;
    if (!err) audit_print_line(&a->out, ++a->seq, (struct str){r->text, r->size}, a->hash);
    bool waits = r->done != NULL;
    if (waits) {
        r->next = a->waiting;
        a->waiting = r;
    }
    if (err) {
        give_up(a, err, &why);
        a->pending_count = 0;
        buf_free(&a->out);
    }
    if (!waits) mem_free(r);
}

/* ---- what others call ---- */

struct context *audit_context(const struct audit *a)
{
    return a->context;
}

const char *audit_folder(const struct audit *a)
{
    return a->folder;
}

static void add_field(struct buf *out, const char *name, struct str value, size_t limit)
{
    if (value.size > limit) value.size = limit;
    buf_printf(out, ",\"%s\":", name);
    buf_add_json(out, value);
}

static enum err append(struct audit *a, const struct audit_entry *e, struct completion *done)
{
    const struct {
        const char *name;
        struct str value;
        size_t limit;
    } fields[] = {{"user", e->user, 128},      {"verb", e->verb, 128},  {"kind", e->kind, 128},
                  {"ns", e->ns, 128},          {"path", e->path, 1024}, {"detail", e->detail, 4096},
                  {"outcome", e->outcome, 128}};
    /* Lines that nobody waits for may be caused by anybody: they leave room for the others. */
    MUST(a->magic == AUDIT_MAGIC);
    size_t limit = done ? AUDIT_QUEUE_MAX : AUDIT_QUEUE_MAX / 2;
    if (atomic_fetch_add(&a->queued, 1) >= limit) {
        atomic_fetch_sub(&a->queued, 1);
        return ERR_BUSY;
    }
    struct buf text = BUF_EMPTY;
    buf_add_text(&text, "\"time\":\"");
    buf_add_time(&text, e->time_ns ? e->time_ns : context_wall_ns(a->context));
    buf_add_char(&text, '"');
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        add_field(&text, fields[i].name, fields[i].value, fields[i].limit);
    struct record *r = buf_failed(&text) ? NULL : mem_alloc(sizeof *r + text.size);
    if (r) {
        *r = (struct record){.job.run = take_record, .done = done, .audit = a, .size = text.size};
        memcpy(r->text, text.at, text.size);
    }
    buf_free(&text);
    if (!r) {
        atomic_fetch_sub(&a->queued, 1);
        return ERR_NO_MEMORY;
    }
    bool failing = atomic_load(&a->is_failing);
    if (a->loop.task) {
        loop_post(&a->loop, &r->job);
    } else { /* drained */
        take_record(&r->job);
        write_pending(a);
    }
    return failing ? ERR_IO : ERR_OK;
}

enum err audit_append(struct audit *a, const struct audit_entry *entry)
{
    return append(a, entry, NULL);
}

void audit_append_durable(struct audit *a, const struct audit_entry *entry, struct completion *done)
{
    MUST(done && done->home && done->done);
    enum err err = append(a, entry, done);
    struct why why = WHY_NONE;
    if (!err || err == ERR_IO) return; /* queued; the writer tells */
    why_set(&why, err, "the audit log takes no more lines now, so nothing is done; try again");
    completion_finish(done, err, &why);
}

enum err audit_open(struct context *context, const char *folder, size_t file_bytes,
                    struct audit **out, struct why *why)
{
    struct audit *a = mem_alloc_zero(1, sizeof *a);
    if (!a) return why_set(why, ERR_NO_MEMORY, "no memory for the audit log");
    a->magic = AUDIT_MAGIC;
    a->context = context;
    a->file_bytes = file_bytes ? file_bytes : AUDIT_FILE_BYTES;
    a->folder = mem_strdup(folder);
    enum err err =
        a->folder ? context->os->ops->path_make(context->os, folder, why) : ERR_NO_MEMORY;
    if (!err) err = open_last(a, why);
    if (!err) err = loop_start(&a->loop, context->os, "audit", OS_TASK_BLOCKING, why);
    if (err) {
        close_file(a);
        mem_free(a->folder);
        mem_free(a);
        return err;
    }
    a->loop.after_arg = a; /* nobody can have posted yet */
    a->loop.after_jobs = write_pending;
    *out = a;
    return ERR_OK;
}

void audit_drain(struct audit *a)
{
    if (!a) return;
    MUST(a->magic == AUDIT_MAGIC);
    loop_stop(&a->loop);
    MUST(atomic_load(&a->queued) == 0);
    MUST(a->pending_count == 0 && !a->waiting);
}

void audit_close(struct audit *a)
{
    if (!a) return;
    audit_drain(a);
    close_file(a);
    buf_free(&a->out);
    mem_free(a->folder);
    a->magic = 0;
    mem_free(a);
}
