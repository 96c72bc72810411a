/* check.c - see check.h: the state, then the queue files that it names, then what lies about.
 *
 * The state is read into a broker that is made for that, with a memory of its own and hooks to
 * nobody: whatever its changes say is checked by the code that a start would run
 * (journal_replay.c), and then by broker_verify, whether the result is a broker at all. What that
 * broker says of queue files is compared with the files.
 *
 * Repairing writes a new file beside the old one, puts a copy of the old one into quarantine/, and
 * renames: cut off at any point, one of the two is there whole. */
#include "mqtt/check.h"
#include "mqtt/broker_priv.h"
#include "mqtt/copy.h"
#include "os/put_aside.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PATH_BYTES = 4300,
    MEMORY_MAX = 1024 * 1024 * 1024, /* of the broker that is made for it */
    FILLER_BYTES_MIN = 18,
    RECORD_BYTES_MIN = 18,
};

struct check {
    struct os *os;
    const char *folder; /* the data folder */
    char mqtt[PATH_BYTES - 100];
    bool repair, state_bad;
    const struct broker_check_sink *sink;
    struct context *context;
    struct broker *broker;
};

static void tell(struct check *c, enum broker_check_state state, const char *object,
                 const char *todo, const char *format, ...) __attribute__((format(printf, 5, 6)));
static void tell(struct check *c, enum broker_check_state state, const char *object,
                 const char *todo, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    c->sink->row(c->sink->arg, state, object, text, todo);
}

static const char from_backup[] = "what is lost comes back from a backup only";

/* ---- the state ---- */

/* Copies the chunks of one of the file's two lists that are whole, numbered anew. Counts them. */
static size_t keep_chunks(struct check *c, struct reader *in, bool applies, struct buf *out,
                          struct snapshot_read *found)
{
    struct str text;
    bool is_good = false;
    size_t kept = 0;
    for (uint32_t n = 0; snapshot_next_chunk(in, n, &text, &is_good, found); n++) {
        enum err err = !is_good ? ERR_CORRUPT : ERR_OK;
        if (!err && applies) err = journal_replay(c->broker, text, NULL);
        if (is_good && err) found->damaged++;
        if (err) continue;
        size_t begin = out->size;
        buf_add_le64(out, 0);
        buf_add_str(out, text);
        if (!buf_failed(out)) snapshot_frame(out->at + begin, out->size - begin, (uint32_t)kept);
        kept++;
    }
    size_t begin = out->size;
    buf_add_le64(out, 0);
    if (!buf_failed(out)) snapshot_frame(out->at + begin, SNAPSHOT_FRAME_BYTES, (uint32_t)kept);
    return kept;
}

/* A copy of the old file goes to quarantine, then the new one takes its place in one step. */
static enum err replace(struct check *c, const char *folder, const char *name, const char *as,
                        struct str text, const char *reason, struct why *why)
{
    char fresh[PATH_BYTES], path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    snprintf(fresh, sizeof fresh, "%s/state.new", c->mqtt);
    enum err err = os_put_aside(c->os, c->folder, folder, name, as, true, reason, why);
    if (!err) err = os_write_whole(c->os, fresh, text, why);
    if (!err) err = c->os->ops->path_rename(c->os, fresh, path, why);
    return err ? err : c->os->ops->path_sync(c->os, folder, why);
}

/* Where nothing is left to keep there is no file: a start without one is an empty broker. */
static void repair_state(struct check *c, struct str text, size_t kept, size_t damaged)
{
    struct why why = WHY_NONE;
    char reason[128];
    snprintf(reason, sizeof reason, "%zu damaged places, found by doctor\n", damaged);
    enum err err =
        kept ? replace(c, c->mqtt, "state", "mqtt-state", text, reason, &why)
             : os_put_aside(c->os, c->folder, c->mqtt, "state", "mqtt-state", false, reason, &why);
    if (err)
        tell(c, BROKER_CHECK_DAMAGED, "mqtt/state", "", "cannot be put aside: %s",
             why_text(&why, err));
    else
        tell(c, BROKER_CHECK_REPAIRED, "mqtt/state", from_backup,
             "a copy is in quarantine/; what of it is whole was kept");
}

static void state_is_bad(struct check *c, const char *text)
{
    c->state_bad = true;
    tell(c, BROKER_CHECK_DAMAGED, "mqtt/state",
         c->repair ? "" : "doctor --repair puts it aside and keeps what is whole",
         "%s; sessions and messages in it are lost", text);
}

/* The state, and behind it the notes of a backup, each in their own numbering. What is whole of
 * both is gathered on the way, for the repair. */
static void check_chunks(struct check *c, struct reader *in, struct snapshot_read *found)
{
    struct buf out = BUF_EMPTY;
    char header[SNAPSHOT_HEADER_BYTES];
    snapshot_write_header(header, found->position, found->up_to);
    buf_add(&out, header, sizeof header);
    c->broker->is_loading = true;
    size_t kept = keep_chunks(c, in, true, &out, found);
    broker_end_loading(c->broker);
    if (found->up_to && reader_ok(in)) kept += keep_chunks(c, in, false, &out, found);
    if (!found->damaged) {
        tell(c, BROKER_CHECK_OK, "mqtt/state", "", "%zu sessions, %zu retained messages",
             c->broker->session_count, c->broker->retained_count);
    } else {
        char text[64];
        snprintf(text, sizeof text, "%zu damaged places", found->damaged);
        state_is_bad(c, text);
        if (c->repair && !buf_failed(&out)) repair_state(c, buf_str(&out), kept, found->damaged);
    }
    buf_free(&out);
}

/* A file that is not there is nothing to tell of. One whose header is damaged cannot be read at
 * all. */
static enum err check_state(struct check *c)
{
    struct buf text = BUF_EMPTY;
    struct why why = WHY_NONE;
    struct snapshot_read found;
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/state", c->mqtt);
    enum err err = os_read_whole(c->os, path, &text, &why);
    if (err == ERR_NOT_FOUND) return ERR_OK;
    struct reader in = reader_of(text.at, text.size);
    if (!err) err = snapshot_read_header(&in, &found, &why);
    if (!err) check_chunks(c, &in, &found);
    buf_free(&text);
    if (!err || err == ERR_NO_MEMORY) return err;
    state_is_bad(c, why_text(&why, err));
    if (c->repair && err == ERR_CORRUPT) repair_state(c, STR(""), 0, 1);
    return ERR_OK;
}

/* ---- files of queues ---- */

struct gap {
    size_t at, size;
};

/* What was found in one file. */
struct queue_file {
    struct buf text;
    size_t good;
    struct gap *gaps;
    size_t gap_count, gap_capacity;
};

/* The size of the record at `at` that may stand there; 0: none. */
static size_t record_at(struct check *c, const struct queue_file *q, size_t at, uint64_t *ordinal)
{
    struct spill_record record = {0};
    struct why why = WHY_NONE;
    enum err err;
    if (q->text.size - at < RECORD_BYTES_MIN) return 0;
    size_t size = spill_read_record(c->broker, (struct str){q->text.at + at, q->text.size - at},
                                    &record, &err, &why);
    bool is_in_order = size && (record.ordinal >= *ordinal || record.ordinal == 0);
    message_release(record.message);
    if (!is_in_order) return 0;
    if (record.ordinal) *ordinal = record.ordinal + 1;
    return size;
}

/* Where the next record is: behind the size that the bad one says, or wherever one is found. */
static size_t next_record(struct check *c, const struct queue_file *q, size_t at, uint64_t ordinal)
{
    struct reader head = reader_of(q->text.at + at, q->text.size - at);
    uint64_t told = at + 8 + (uint64_t)reader_le32(&head), any;
    if (reader_ok(&head) && told == q->text.size) return q->text.size;
    any = ordinal;
    if (reader_ok(&head) && told < q->text.size && record_at(c, q, (size_t)told, &any))
        return (size_t)told;
    for (size_t i = at + 1; i < q->text.size; i++) {
        any = ordinal;
        if (record_at(c, q, i, &any)) return i;
    }
    return q->text.size;
}

/* Goes on behind each gap, so that one damaged place costs what lies in it alone. */
static enum err read_records(struct check *c, struct queue_file *q, size_t at)
{
    uint64_t ordinal = 0;
    while (at < q->text.size) {
        size_t size = record_at(c, q, at, &ordinal);
        if (size) {
            q->good++;
            at += size;
            continue;
        }
        enum err err = mem_grow(&q->gaps, &q->gap_capacity, q->gap_count + 1, sizeof *q->gaps);
        if (err) return err;
        size_t next = next_record(c, q, at, ordinal);
        q->gaps[q->gap_count++] = (struct gap){at, next - at};
        at = next;
    }
    return ERR_OK;
}

/* A record of exactly `size` bytes that a reader counts and passes over: its ordinal is long gone.
 */
static void add_filler(struct check *c, struct buf *out, size_t size)
{
    static const char topic[] = "xx";
    struct outbox_item how = {.qos = 1};
    size_t begin = out->size;
    MUST(size >= FILLER_BYTES_MIN);
    size_t guess = size - FILLER_BYTES_MIN;
    char *payload = mem_alloc_zero(guess + 1, 1);
    for (size_t less = 0; payload && less <= guess && less < 10; less++) {
        for (size_t letters = 1; letters <= 2; letters++) {
            struct message_parts parts = {.topic = {topic, letters},
                                          .payload = {payload, guess - less}};
            struct message *m = message_new(&parts, &c->broker->memory);
            out->size = begin;
            if (m) spill_write_record(out, c->broker, 0, m, &how);
            message_release(m);
            if (out->size - begin != size) continue;
            mem_free(payload);
            return;
        }
    }
    mem_free(payload);
    out->failed = true;
}

/* The state names the file's size and count of records, so both must stay: gaps are filled with
 * records that nobody wants. One that is too small for a filler cannot be repaired. */
static void repair_queue(struct check *c, const char *name, const char *object,
                         struct queue_file *q, uint64_t lost)
{
    struct buf out = BUF_EMPTY;
    struct why why = WHY_NONE;
    char folder[PATH_BYTES], as[64];
    size_t at = 0;
    uint64_t more = lost > q->gap_count ? lost - q->gap_count : 0; /* several in one gap */
    for (size_t i = 0; i < q->gap_count; i++) {
        struct gap gap = q->gaps[i];
        buf_add(&out, q->text.at + at, gap.at - at);
        at = gap.at + gap.size;
        for (; more && gap.size >= 2 * FILLER_BYTES_MIN; more--, gap.size -= FILLER_BYTES_MIN)
            add_filler(c, &out, FILLER_BYTES_MIN);
        if (gap.size < FILLER_BYTES_MIN)
            out.failed = true;
        else
            add_filler(c, &out, gap.size);
    }
    buf_add(&out, q->text.at + at, q->text.size - at);
    snprintf(folder, sizeof folder, "%s/queues", c->mqtt);
    snprintf(as, sizeof as, "mqtt-queue-%s", name);
    enum err err = buf_failed(&out) ? why_set(&why, ERR_CORRUPT, "too little of it is left")
                                    : replace(c, folder, name, as, buf_str(&out),
                                              "damaged records, found by doctor\n", &why);
    buf_free(&out);
    if (err)
        tell(c, BROKER_CHECK_DAMAGED, object, from_backup, "it stays as it is: %s",
             why_text(&why, err));
    else
        tell(c, BROKER_CHECK_REPAIRED, object, from_backup,
             "a copy is in quarantine/; the messages that are whole were kept");
}

/* What the state says of the file against what is in it. The oldest file of a queue was read up
 * to read_offset; what is before that nobody needs. */
static enum err check_queue_file(struct check *c, const struct spill *sp, size_t index)
{
    const struct spill_file *f = &sp->files[index];
    struct queue_file q = {.text = BUF_EMPTY};
    struct why why = WHY_NONE;
    struct str client = session_client_id(sp->session);
    char path[PATH_BYTES], name[32], object[64];
    snprintf(name, sizeof name, "%016" PRIx64, f->number);
    snprintf(object, sizeof object, "mqtt/queues/%s", name);
    snprintf(path, sizeof path, "%s/queues/%s", c->mqtt, name);
    uint64_t records = f->records - (index ? 0 : sp->read_records);
    enum err err = os_read_whole(c->os, path, &q.text, &why);
    bool is_short = !err && q.text.size < f->bytes;
    if (!is_short) q.text.size = err ? 0 : (size_t)f->bytes; /* what is behind is the log's */
    if (!err) err = read_records(c, &q, index ? 0 : (size_t)sp->read_offset);
    uint64_t lost = q.good < records ? records - q.good : 0;
    if (err == ERR_NO_MEMORY) {
        /* the whole check ends with it */
    } else if (err || is_short) {
        tell(c, BROKER_CHECK_DAMAGED, object, from_backup,
             "%s: %" PRIu64 " messages for %.*s are lost",
             err ? why_text(&why, err) : "it ends too early", lost, (int)client.size, client.at);
    } else if (q.gap_count) {
        tell(c, BROKER_CHECK_DAMAGED, object,
             c->repair ? "" : "doctor --repair keeps the others; a start gives them up, too",
             "%zu damaged places: %" PRIu64 " of %" PRIu64 " messages for %.*s", q.gap_count, lost,
             records, (int)client.size, client.at);
        if (c->repair) repair_queue(c, name, object, &q, lost);
    } else {
        tell(c, BROKER_CHECK_OK, object, "", "%zu messages", q.good);
    }
    buf_free(&q.text);
    mem_free(q.gaps);
    return err == ERR_NO_MEMORY ? err : ERR_OK;
}

static enum err check_queues(struct check *c)
{
    enum err err = ERR_OK;
    for (const struct spill *sp = c->broker->spills.first; sp && !err; sp = sp->next)
        for (size_t i = 0; i < sp->file_count && !err; i++) err = check_queue_file(c, sp, i);
    return err;
}

/* ---- what lies about ---- */

static bool is_named(const struct check *c, uint64_t number)
{
    for (const struct spill *sp = c->broker->spills.first; sp; sp = sp->next)
        for (size_t i = 0; i < sp->file_count; i++)
            if (sp->files[i].number == number) return true;
    return false;
}

/* With a state that is damaged nobody knows whose it was; else the log's notes have what is in it,
 * or nobody wants it. */
static enum err look_at_queue(void *arg, const char *name)
{
    struct check *c = arg;
    struct why why = WHY_NONE;
    char object[300], as[300], folder[PATH_BYTES], *end;
    uint64_t number = strtoull(name, &end, 16);
    if (strlen(name) != 16 || *end || is_named(c, number)) return ERR_OK;
    snprintf(object, sizeof object, "mqtt/queues/%s", name);
    snprintf(folder, sizeof folder, "%s/queues", c->mqtt);
    snprintf(as, sizeof as, "mqtt-queue-%s", name);
    if (!c->state_bad) {
        tell(c, BROKER_CHECK_NOTE, object, "nothing: the next start removes it",
             "mqtt/state does not name it; what is wanted of it is in the log");
        return ERR_OK;
    }
    enum err err = !c->repair ? ERR_BUSY
                              : os_put_aside(c->os, c->folder, folder, name, as, false,
                                             "its session was lost with mqtt/state\n", &why);
    if (err)
        tell(c, BROKER_CHECK_DAMAGED, object, "doctor --repair puts it aside",
             "its session was lost with mqtt/state");
    else
        tell(c, BROKER_CHECK_REPAIRED, object, from_backup, "moved to quarantine/");
    return ERR_OK;
}

/* Of a run that was cut off: no file of the broker's any more. */
static void look_at_leftover(struct check *c, const char *object, const char *text)
{
    struct os_path_info info;
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", c->folder, object);
    if (c->os->ops->path_info(c->os, path, &info, NULL)) return;
    bool is_gone = c->repair && c->os->ops->path_remove(c->os, path, NULL) == ERR_OK;
    tell(c, is_gone ? BROKER_CHECK_REPAIRED : BROKER_CHECK_LEFTOVER, object,
         is_gone ? "" : "the next start or doctor --repair removes it", "%s%s", text,
         is_gone ? "; removed" : "");
}

/* ---- the whole ---- */

/* The broker of the check has the context's memory alone, and no file but those that are looked
 * at. */
static enum err examine(struct check *c, struct why *why)
{
    char nowhere[PATH_BYTES], folder[PATH_BYTES];
    snprintf(nowhere, sizeof nowhere, "%s/nowhere", c->mqtt); /* a broker that has nothing yet */
    c->context->os = c->os;
    c->context->diag_level = DIAG_ERROR + 1;
    budget_init(&c->context->memory, "doctor", NULL, MEMORY_MAX);
    enum err err = broker_new(c->context, &broker_defaults, nowhere, &c->broker, why);
    if (!err) err = check_state(c);
    if (!err) err = check_queues(c);
    snprintf(folder, sizeof folder, "%s/queues", c->mqtt);
    if (!err) (void)c->os->ops->path_list(c->os, folder, look_at_queue, c, NULL);
    look_at_leftover(c, "mqtt/state.new", "a state that was being written");
    look_at_leftover(c, BROKER_COPY_STATE, "what a backup that was cut off took along");
    broker_free(c->broker);
    return err;
}

enum err broker_check(struct os *os, const char *folder, bool repair,
                      const struct broker_check_sink *sink, struct why *why)
{
    struct os_path_info info;
    struct check *c = mem_alloc_zero(1, sizeof *c);
    struct context *context = mem_alloc_zero(1, sizeof *context);
    enum err err = c && context ? ERR_OK : ERR_NO_MEMORY;
    if (!err) {
        c->os = os;
        c->folder = folder;
        c->repair = repair;
        c->sink = sink;
        c->context = context;
        snprintf(c->mqtt, sizeof c->mqtt, "%s/mqtt", folder);
        bool is_there = os->ops->path_info(os, c->mqtt, &info, NULL) == ERR_OK;
        if (is_there) err = examine(c, why);
    }
    mem_free(context);
    mem_free(c);
    return err;
}
