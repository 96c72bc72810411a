/* spill_job.c - see spill.h: what the disk is asked to do for a queue, and what comes of it.
 *
 * A spill has one job at a time: records to the newest file, a sync of it, a piece of the oldest
 * one, or the thinning out of one. A job that failed is made again each second.
 *
 * plan() decides what is due and fills in the job; finish_job() takes its answer, on the broker's
 * task. In between the queue may have changed: what was to be read may have been given up
 * (is_stale), the file that was thinned out may be half read, the session may have ended.
 * finish_job looks at each of these before it believes an answer. Records that are being written
 * stay in job.out until that has succeeded, and count in tail_bytes, so that a disk that is full
 * loses nothing and holds up publishers. */
#include "base/timetext.h"
#include "mqtt/spill_priv.h"

static const char component[] = "mqtt";

enum {
    READ_BYTES = 128 * 1024,
    READ_BYTES_MIN = 4 * 1024,
    READERS_USUAL = 16,
    WRITE_BYTES = 64 * 1024,
    TAILS_BYTES_MAX = 4 * 1024 * 1024, /* of all sessions; above it publishers wait */
    LOAD_TAIL_BYTES = 1024 * 1024,
};

static struct spill_file *file_of(struct spill *sp, uint64_t number)
{
    for (size_t i = 0; i < sp->file_count; i++)
        if (sp->files[i].number == number) return &sp->files[i];
    return NULL;
}

/* Not of a file that is being read: what was read from it would not match. */
static bool plan_thin(struct spill *sp)
{
    struct spill_job *job = &sp->job;
    const struct spill_file *f = file_of(sp, sp->thin_number);
    bool is_begun = f == sp->files && (sp->read_offset || sp->in.size || sp->wants_read);
    job->thins = f && !is_begun ? sp->thin_every : 0;
    sp->thin_every = 0;
    if (!job->thins) return false;
    job->thin_number = f->number;
    job->thin_bytes = f->bytes;
    job->fresh_number = ++sp->broker->spills.last_number;
    return true;
}

/* What was left out comes back when the node is killed before a snapshot names the new file: the
 * log's notes have it. Then there is more than was promised, not less. */
static void finish_thin(struct spill *sp)
{
    MUST(sp->session && sp->job.thins > 0);
    struct spill_job *job = &sp->job;
    struct spill_file *f = file_of(sp, job->thin_number);
    struct session *s = sp->session;
    bool is_begun = f && f == sp->files && (sp->read_offset || sp->in.size);
    job->thins = 0;
    if (!f || is_begun || job->err) { /* damage is told by who reads it */
        spill_throw_away(sp->broker, job->fresh_number, job->fresh_bytes);
        if (f) f->thinned++;
        return;
    }
    uint64_t dropped = f->records - job->fresh_records;
    uint64_t weight = f->bytes ? f->weight * job->fresh_bytes / f->bytes : 0;
    spill_throw_away(sp->broker, f->number, f->bytes);
    sp->broker->spills.file_bytes -= f->bytes - job->fresh_bytes;
    spill_count_off(sp, (size_t)dropped, (size_t)(f->weight - weight));
    f->number = job->fresh_number;
    f->bytes = f->synced_bytes = job->fresh_bytes;
    f->records = f->synced_records = job->fresh_records;
    f->weight = f->synced_weight = weight;
    f->thinned++;
    s->messages_dropped += dropped;
    metric_add(sp->broker->context, METRIC_MQTT_DROPPED_FULL, dropped);
}

/* Moves the tail into the job: to the end of the newest file, or into a new one. */
static bool plan_write(struct spill *sp)
{
    MUST(!sp->is_busy);
    struct spill_job *job = &sp->job;
    struct spills *all = &sp->broker->spills;
    if (job->out.size == 0) { /* else: what failed is tried again */
        job->makes =
            sp->must_roll || sp->files[sp->file_count - 1].bytes >= spill_file_bytes_max(sp);
        if (job->makes &&
            mem_grow(&sp->files, &sp->file_capacity, sp->file_count + 1, sizeof sp->files[0]))
            return false;
        if (job->makes)
            sp->files[sp->file_count++] =
                (struct spill_file){.number = ++all->last_number, .first = sp->tail_first};
        sp->must_roll = false;
        struct buf empty = job->out;
        if (sp->tail_used) buf_drop_front(&sp->tail, sp->tail_used);
        sp->tail_used = 0;
        job->out = sp->tail;
        sp->tail = empty;
        buf_clear(&sp->tail);
        sp->out_records = sp->tail_records;
        sp->out_weight = sp->tail_weight;
        sp->tail_records = sp->tail_weight = 0;
        sp->out_first = sp->tail_first;
        sp->tail_first = sp->last;
    }
    struct spill_file *f = &sp->files[sp->file_count - 1];
    job->write_number = f->number;
    job->write_offset = f->bytes;
    job->writes = true;
    /* A file that is full now is synced at once, so that only the newest can be unsynced. */
    job->syncs = sp->is_syncing || f->bytes + job->out.size >= spill_file_bytes_max(sp);
    return true;
}

/* Nothing waits in memory: the newest file may need its sync. */
static void plan_sync(struct spill *sp)
{
    struct spill_job *job = &sp->job;
    const struct spill_file *f = sp->file_count ? &sp->files[sp->file_count - 1] : NULL;
    sp->is_syncing = f && f->synced_bytes < f->bytes;
    if (!sp->is_syncing) {
        sp->synced_last = sp->last;
        return;
    }
    job->writes = job->syncs = true;
    job->makes = false;
    job->write_number = f->number;
    job->write_offset = f->bytes;
    sp->out_records = sp->out_weight = 0;
}

/* From where the last record was taken. As much as usual, or as the next record needs. */
static void plan_read(struct spill *sp)
{
    MUST(sp->file_count > 0 && sp->in_used <= sp->in.size);
    struct spill_job *job = &sp->job;
    const struct spill_file *f = &sp->files[0];
    size_t kept = sp->in.size - sp->in_used;
    /* The more sessions read at once, the less each. */
    size_t readers = sp->broker->spills.count;
    uint64_t left = f->bytes - sp->read_offset,
             wanted =
                 readers > READERS_USUAL ? READ_BYTES / (readers / READERS_USUAL + 1) : READ_BYTES;
    if (wanted < READ_BYTES_MIN) wanted = READ_BYTES_MIN;
    enum err err;
    if (kept >= 4) { /* the record at the front was not whole: it is larger than usual */
        size_t size =
            spill_read_record(sp->broker, spill_left_of(&sp->in, sp->in_used), NULL, &err, NULL);
        if (size > wanted) wanted = size;
    }
    job->read_number = f->number;
    job->read_offset = sp->read_offset;
    job->read_bytes = (size_t)(left < wanted ? left : wanted);
    job->reads = job->read_bytes > 0;
    sp->is_stale = false;
}

/* Once in ten seconds for all queues: it is one disk. */
static void tell_failure(struct spill *sp)
{
    struct broker *broker = sp->broker;
    if (broker->spills.told_ns && broker->now_ns - broker->spills.told_ns < 10 * TIME_NS_PER_S)
        return;
    broker->spills.told_ns = broker->now_ns;
    diag(broker->context, DIAG_ERROR, component,
         "a long queue's file: %s; it is tried again every second, publishers wait meanwhile",
         why_text(&sp->job.why, sp->job.err));
}

/* The records are in the file now: counted there, and no longer among what waits for the disk. */
static void finish_write(struct spill *sp)
{
    MUST(sp->file_count > 0 && sp->broker->spills.tail_bytes >= sp->job.out.size);
    struct spill_job *job = &sp->job;
    struct spill_file *f = &sp->files[sp->file_count - 1];
    MUST(f->number == job->write_number);
    f->bytes += job->out.size;
    f->records += sp->out_records;
    f->weight += sp->out_weight;
    sp->broker->spills.file_bytes += job->out.size;
    sp->broker->spills.tail_bytes -= job->out.size;
    buf_clear(&job->out);
    if (!job->syncs) return;
    f->synced_bytes = f->bytes;
    f->synced_records = f->records;
    f->synced_weight = f->weight;
    sp->synced_last = sp->tail_records ? sp->tail_first : sp->last;
}

/* The answer; gives whether there is more to do at once. */
static void finish_job(struct spill *sp)
{
    MUST(is_spill(sp) && sp->is_busy);
    struct spill_job *job = &sp->job;
    bool reads = job->reads && !sp->is_stale, has_thinned = job->thins > 0;
    sp->is_busy = false;
    if (!sp->session) {
        spill_free_one(sp);
        return;
    }
    if (has_thinned) {
        finish_thin(sp);
        return;
    }
    bool has_written =
        job->writes && (!job->err || job->reads); /* a write's failure reads nothing */
    if (has_written) finish_write(sp);
    if (!has_written) sp->wants_sync |= sp->is_syncing;
    sp->is_syncing = false;
    bool job_wrote = job->writes;
    job->writes = job->syncs = job->reads = false;
    if (job->err == ERR_CORRUPT && reads) {
        spill_tell_damage(sp, sp->files[0].records - sp->read_records, &job->why);
        (void)spill_give_up_file(sp);
    } else if (job->err && (reads || (job_wrote && !has_written))) {
        sp->is_failing = true;
        sp->wants_read |= reads;
        tell_failure(sp);
        return;
    } else if (reads) {
        buf_free(&sp->in);
        sp->in = job->in;
        job->in = BUF_EMPTY;
        /* Records that it had already may have been taken meanwhile. */
        MUST(sp->read_offset >= job->read_offset);
        uint64_t taken = sp->read_offset - job->read_offset;
        sp->in_used = taken < sp->in.size ? (size_t)taken : sp->in.size;
    }
    spill_fill_ring(sp, 0);
}

/* The session may have ended with the job, or its spill; `s` is looked at only where it was
 * there before and cannot have ended in between. */
static void on_done(struct broker_work *work)
{
    struct spill *sp = (struct spill *)work;
    struct broker *broker = sp->broker;
    struct session *s = sp->session;
    finish_job(sp);
    if (s && s->spill) spill_make_dirty(s->spill);
    if (s) session_pump(s);
    connection_resume_held(broker);
    snapshot_go_on(broker);
}

static void work(struct broker_work *work)
{
    spill_do_job((struct spill *)work);
}

/* Makes a job of what is due; false: nothing is, or not now. */
static bool plan(struct spill *sp)
{
    MUST(is_spill(sp));
    const struct spills *all = &sp->broker->spills;
    bool is_loading = sp->broker->journal.is_off;
    size_t due = is_loading                              ? LOAD_TAIL_BYTES
                 : all->tail_bytes > TAILS_BYTES_MAX / 2 ? 1
                                                         : WRITE_BYTES;
    if (sp->is_busy || sp->is_failing || !sp->session) return false;
    sp->job.reads = sp->job.writes = sp->job.syncs = false;
    if (sp->thin_every && plan_thin(sp)) return true;
    /* What failed is written first, then the rest with its sync. */
    bool is_again = sp->job.out.size > 0;
    bool writes = is_again || spill_tail_left(sp) >= due || (sp->wants_sync && spill_tail_left(sp));
    sp->is_syncing = sp->wants_sync && !is_again;
    if (sp->is_syncing) sp->wants_sync = false;
    if (writes && !plan_write(sp)) {
        sp->wants_sync |= sp->is_syncing;
        sp->is_syncing = false;
        return false;
    }
    if (!writes && sp->is_syncing) plan_sync(sp);
    if (sp->wants_read && spill_has_more(sp)) plan_read(sp);
    sp->wants_read = false;
    return sp->job.writes || sp->job.reads;
}

/* A job that finds no worker is made again with the next second. */
static void post(struct spill *sp)
{
    struct broker *broker = sp->broker;
    if (!plan(sp)) return;
    sp->is_busy = true;
    sp->work = (struct broker_work){.owner = broker, .work = work, .done = on_done};
    if (broker->hooks.work(broker->hooks.arg, &sp->work)) return;
    sp->is_busy = false;
    sp->is_failing = true; /* the next tick tries again */
    sp->wants_read |= sp->job.reads;
}

/* The same by whoever may wait for the disk. */
bool spill_run_now(struct spill *sp)
{
    if (!plan(sp)) return false;
    sp->is_busy = true;
    spill_do_job(sp);
    finish_job(sp);
    return true;
}

void spill_post(struct broker *broker)
{
    while (broker->spills.dirty) {
        struct spill *sp = broker->spills.dirty;
        broker->spills.dirty = sp->next_dirty;
        sp->is_dirty = false;
        if (broker->hooks.work) post(sp);
    }
}

void spill_tick(struct broker *broker)
{
    for (struct spill *sp = broker->spills.first, *next; sp; sp = next) {
        next = sp->next;
        if (!sp->session || sp->is_busy) continue;
        sp->is_failing = false;
        spill_make_dirty(sp);
        struct session *session = sp->session;
        spill_refill(session); /* which may end the spill */
        session_pump(session);
    }
    spill_post(broker);
}

bool spill_is_full(const struct broker *broker)
{
    return broker->spills.tail_bytes >= TAILS_BYTES_MAX;
}

void spill_sync(struct broker *broker)
{
    for (struct spill *sp = broker->spills.first; sp; sp = sp->next) {
        if (!sp->session) continue;
        sp->wants_sync = true;
        spill_make_dirty(sp);
    }
    spill_post(broker);
}

bool spill_is_synced(const struct broker *broker)
{
    for (const struct spill *sp = broker->spills.first; sp; sp = sp->next)
        if (sp->session && (sp->wants_sync || sp->is_syncing)) return false;
    return true;
}
