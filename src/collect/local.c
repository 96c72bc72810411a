/* local.c - the files of this machine as a stream: the LOCAL transport (see millrace/driver.h).
 *
 * A driver that looks at the machine stays sans I/O this way: it writes questions and is told
 * answers, as with any equipment. The files are read on the files task, one request after the
 * other. Requests under way are objects of their own, which outlive a stream that is closed
 * meanwhile. */
#include "collect/collect_priv.h"
#include "base/num.h"
#include <string.h>

enum { LOCAL_MAGIC = 0x4C4F4341, REQUEST_BYTES_MAX = 65536 };

struct local_stream {
    struct os_stream base; /* first */
    unsigned magic;
    struct context *context;
    struct loop *files;
    struct buf received;     /* of a request that is not whole yet */
    struct local_job *first; /* under way */
};

/* One request; the first of a stream has none: its end opens the stream. */
struct local_job {
    struct job job;               /* on the files task */
    struct completion completion; /* back on the main loop */
    struct local_stream *stream;  /* NULL: closed */
    struct local_job *next;
    struct os *os;
    bool is_opening;
    struct buf request, answer;
};

/* ---- on the files task ---- */

static void add_size(struct buf *out, size_t size)
{
    buf_add_char(out, '+');
    buf_add_u64(out, size);
    buf_add_char(out, '\n');
}

/* Without memory for an answer `out` has failed: the stream ends, for half of a file or of a list
 * must not pass for the whole. */
static bool answer_read(struct os *os, const char *path, struct buf *out)
{
    struct os_file *file;
    struct buf text = BUF_EMPTY;
    size_t got = 1;
    enum err err = os->ops->file_open(os, path, 0, &file, NULL);
    if (err) return false;
    /* The kernel's texts have no size beforehand, and may come in pieces. */
    while (!err && got && text.size < MILLRACE_LOCAL_FILE_BYTES) {
        if (!buf_reserve(&text, MILLRACE_LOCAL_FILE_BYTES)) err = ERR_NO_MEMORY;
        if (err) break;
        err = os->ops->file_read(file, text.size, text.at + text.size,
                                 MILLRACE_LOCAL_FILE_BYTES - text.size, &got, NULL);
        if (!err) text.size += got;
    }
    os->ops->file_close(file);
    if (!err) {
        add_size(out, text.size);
        buf_add_str(out, buf_str(&text));
    }
    out->failed |= buf_failed(&text);
    buf_free(&text);
    return !err;
}

static enum err add_name(void *arg, const char *name)
{
    struct buf *names = arg;
    if (names->size + strlen(name) + 1 > MILLRACE_LOCAL_FILE_BYTES) return ERR_LIMIT;
    buf_add_text(names, name);
    buf_add_char(names, '\n');
    return ERR_OK;
}

static bool answer_list(struct os *os, const char *path, struct buf *out)
{
    struct buf names = BUF_EMPTY;
    enum err err = os->ops->path_list(os, path, add_name, &names, NULL);
    if (err == ERR_LIMIT) err = ERR_OK; /* as many as there is room for */
    if (!err) {
        add_size(out, names.size);
        buf_add_str(out, buf_str(&names));
    }
    out->failed |= buf_failed(&names);
    buf_free(&names);
    return !err;
}

static bool answer_disk(struct os *os, const char *path, struct buf *out)
{
    struct os_disk_usage usage;
    struct buf text = BUF_EMPTY;
    if (!os->ops->disk_usage || os->ops->disk_usage(os, path, &usage, NULL)) return false;
    buf_add_u64(&text, usage.total_bytes);
    buf_add_char(&text, ' ');
    buf_add_u64(&text, usage.free_bytes);
    buf_add_char(&text, ' ');
    buf_add_u64(&text, usage.available_bytes);
    add_size(out, text.size);
    buf_add_str(out, buf_str(&text));
    out->failed |= buf_failed(&text);
    buf_free(&text);
    return true;
}

static const struct {
    const char *verb; /* with its blank */
    bool (*answer)(struct os *os, const char *path, struct buf *out);
} questions[] = {{"read ", answer_read}, {"list ", answer_list}, {"disk ", answer_disk}};

static void answer(struct os *os, struct str question, struct buf *out)
{
    char path[4096];
    for (size_t i = 0; i < sizeof questions / sizeof questions[0]; i++) {
        size_t verb = strlen(questions[i].verb);
        if (!str_starts(question, questions[i].verb)) continue;
        struct str rest = {question.at + verb, question.size - verb};
        bool fits = out->size < MILLRACE_LOCAL_ANSWER_BYTES - MILLRACE_LOCAL_FILE_BYTES - 64;
        if (fits && str_copy(path, sizeof path, rest) && questions[i].answer(os, path, out)) return;
        break;
    }
    buf_add_text(out, "-\n");
}

static void run(struct job *job)
{
    struct local_job *local = (struct local_job *)job;
    struct str rest = buf_str(&local->request), token = {0}, question;
    struct buf body = BUF_EMPTY;
    if (!local->is_opening) {
        (void)str_split(&rest, '\n', &token);
        while (str_split(&rest, '\n', &question))
            if (question.size) answer(local->os, question, &body);
        buf_add_str(&local->answer, token);
        buf_add_char(&local->answer, ' ');
        buf_add_u64(&local->answer, body.size);
        buf_add_char(&local->answer, '\n');
        buf_add_str(&local->answer, buf_str(&body));
    }
    bool failed = buf_failed(&body) || buf_failed(&local->answer);
    buf_free(&body);
    completion_finish(&local->completion, failed ? ERR_NO_MEMORY : ERR_OK, NULL);
}

/* ---- on the main loop ---- */

static void unlink_job(struct local_stream *stream, struct local_job *local)
{
    struct local_job **link = &stream->first;
    while (*link != local) link = &(*link)->next;
    *link = local->next;
}

static void done(struct completion *completion)
{
    struct local_job *local =
        (struct local_job *)((char *)completion - offsetof(struct local_job, completion));
    struct local_stream *stream = local->stream;
    if (stream) {
        MUST(stream->magic == LOCAL_MAGIC);
        const struct os_stream_events *events = stream->base.events;
        unlink_job(stream, local);
        if (completion->err)
            events->on_closed(stream->base.owner, completion->err, "out of memory");
        else if (local->is_opening)
            events->on_open(stream->base.owner);
        else
            events->on_read(stream->base.owner, (const uint8_t *)local->answer.at,
                            local->answer.size);
    }
    buf_free(&local->request);
    buf_free(&local->answer);
    mem_free(local);
}

/* Starts one request; or, with "", the opening. A request that cannot be kept whole is refused: its
 * empty rest must not pass for anything else. */
static enum err start(struct local_stream *stream, struct str request)
{
    struct local_job *local = mem_alloc_zero(1, sizeof *local);
    if (!local) return ERR_NO_MEMORY;
    local->is_opening = request.size == 0;
    buf_add_str(&local->request, request);
    if (buf_failed(&local->request)) {
        buf_free(&local->request);
        mem_free(local);
        return ERR_NO_MEMORY;
    }
    local->job.run = run;
    local->stream = stream;
    local->os = stream->context->os;
    local->next = stream->first;
    stream->first = local;
    completion_init(&local->completion, stream->context->main, done);
    loop_post(stream->files, &local->job);
    return ERR_OK;
}

static enum err local_write(struct os_stream *base, const void *bytes, size_t size)
{
    struct local_stream *stream = (struct local_stream *)base;
    MUST(stream->magic == LOCAL_MAGIC);
    buf_add(&stream->received, bytes, size);
    enum err err = buf_failed(&stream->received) ? ERR_NO_MEMORY : ERR_OK;
    const char *end;
    while (!err && stream->received.size &&
           (end = memmem(stream->received.at, stream->received.size, "\n\n", 2))) {
        size_t whole = (size_t)(end - stream->received.at) + 2;
        err = start(stream, (struct str){stream->received.at, whole});
        buf_drop_front(&stream->received, whole);
    }
    MUST(stream->received.size <= REQUEST_BYTES_MAX); /* a driver that forgets the empty line */
    return err;
}

static size_t local_queued(const struct os_stream *base)
{
    (void)base;
    return 0;
}

static void local_pause(struct os_stream *base, bool paused)
{
    (void)base; /* nothing comes unasked */
    (void)paused;
}

static void local_close(struct os_stream *base)
{
    struct local_stream *stream = (struct local_stream *)base;
    MUST(stream->magic == LOCAL_MAGIC);
    for (struct local_job *local = stream->first; local; local = local->next) local->stream = NULL;
    buf_free(&stream->received);
    stream->magic = 0;
    mem_free(stream);
}

static const char *local_peer(const struct os_stream *base)
{
    (void)base;
    return "this machine";
}

static const struct os_stream_ops local_ops = {
    .write = local_write,
    .queued = local_queued,
    .pause = local_pause,
    .close = local_close,
    .peer = local_peer,
};

enum err local_connect(struct context *context, struct loop *files,
                       const struct os_stream_events *events, void *owner, struct os_stream **out)
{
    struct local_stream *stream = mem_alloc_zero(1, sizeof *stream);
    if (!stream) return ERR_NO_MEMORY;
    stream->base.ops = &local_ops;
    stream->magic = LOCAL_MAGIC;
    stream->context = context;
    stream->files = files;
    os_stream_own(&stream->base, events, owner);
    if (start(stream, STR(""))) {
        mem_free(stream);
        return ERR_NO_MEMORY;
    }
    *out = &stream->base;
    return ERR_OK;
}
