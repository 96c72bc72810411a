/* manifest.c - which parts there are; see manifest.h.
 *
 * Records of one operation of the flush are gathered and written at once, with one sync: either all
 * of them count or none. The file is rewritten when four fifths of it speak of the past, or when a
 * write or sync of it has failed: then nobody knows which of its pages are on the disk, and only a
 * new file can be relied on.
 *
 * Called by: flush.c (commit), open_parts.c, backup.c (a manifest for what is pinned), doctor.c.
 * Owns: the open file, the group, what is known of frozen windows; the parts found while reading
 * until the caller takes them.
 * Invariants: `checkpoint` is what the disk says, `pending` what the group would make of it, equal
 * when no group is gathered; after an error `file` is NULL, so the next group rewrites;
 * next_part_id is above every id that any record names. */
#include "store/manifest.h"
#include "base/mem.h"
#include <stdio.h>
#include <string.h>

enum {
    FORMAT = 1,
    ADD_VERSION = 1,
    CHECKPOINT_VERSION = 1,
    FROZEN_VERSION = 1,
    FLAG_UNTRUSTED = 1,
    TABLES_MAX = 1 << 20,
    REWRITE_SLACK = 256, /* records of the past that a small manifest may hold */
};
enum manifest_record {
    RECORD_ADD = 1,
    RECORD_DROP = 2,
    RECORD_CHECKPOINT = 3,
    RECORD_CONFIRM = 4,
    RECORD_FROZEN = 5,
};
static const char file_name[] = "manifest";
static const struct record_file empty_head = {.magic = "MILLMANI", .format = FORMAT};

/* ---- records ---- */

static void write_add(struct buf *out, const struct part_info *p)
{
    buf_add_char(out, ADD_VERSION);
    buf_add_le64(out, p->id);
    buf_add_le64(out, p->origin);
    buf_add_le64(out, p->version);
    buf_add_le64(out, (uint64_t)p->class_ns);
    buf_add_le64(out, (uint64_t)p->partition_from_ns);
    buf_add_le64(out, (uint64_t)p->partition_to_ns);
    buf_add_le64(out, (uint64_t)p->min_time_ns);
    buf_add_le64(out, (uint64_t)p->max_time_ns);
    buf_add_le64(out, p->rows);
    buf_add_le64(out, p->size_bytes);
    buf_add_char(out, p->untrusted ? FLAG_UNTRUSTED : 0);
    buf_add_varint(out, p->table_count);
    for (uint32_t i = 0; i < p->table_count; i++) buf_add_le32(out, p->tables[i]);
}

static enum err read_add(struct reader *in, struct part_info *p)
{
    uint8_t version = reader_u8(in);
    *p = (struct part_info){.id = reader_le64(in)};
    p->origin = reader_le64(in);
    p->version = reader_le64(in);
    p->class_ns = (int64_t)reader_le64(in);
    p->partition_from_ns = (int64_t)reader_le64(in);
    p->partition_to_ns = (int64_t)reader_le64(in);
    p->min_time_ns = (int64_t)reader_le64(in);
    p->max_time_ns = (int64_t)reader_le64(in);
    p->rows = reader_le64(in);
    p->size_bytes = reader_le64(in);
    p->untrusted = reader_u8(in) & FLAG_UNTRUSTED;
    uint64_t tables = reader_varint(in);
    if (!reader_ok(in) || version != ADD_VERSION || tables > TABLES_MAX ||
        tables > reader_left(in) / 4)
        return ERR_CORRUPT;
    if (!(p->tables = mem_alloc((size_t)tables * sizeof *p->tables))) return ERR_NO_MEMORY;
    p->table_count = (uint32_t)tables;
    for (uint32_t i = 0; i < p->table_count; i++) p->tables[i] = reader_le32(in);
    return ERR_OK;
}

static void write_checkpoint(struct buf *out, const struct manifest_checkpoint *c)
{
    buf_add_char(out, CHECKPOINT_VERSION);
    buf_add_le64(out, c->position);
    buf_add_le64(out, (uint64_t)c->trusted_ns);
    buf_add_le64(out, c->catalog_seq);
}

static enum err read_checkpoint(struct reader *in, struct manifest_checkpoint *c)
{
    uint8_t version = reader_u8(in);
    struct manifest_checkpoint found = {.position = reader_le64(in)};
    found.trusted_ns = (int64_t)reader_le64(in);
    found.catalog_seq = reader_le64(in);
    if (!reader_ok(in) || version != CHECKPOINT_VERSION || found.position > RECORD_SEQ_MAX ||
        found.catalog_seq > RECORD_SEQ_MAX)
        return ERR_CORRUPT;
    *c = found;
    return ERR_OK;
}

static void write_frozen(struct buf *out, const struct manifest_frozen *frozen)
{
    buf_add_char(out, FROZEN_VERSION);
    buf_add_le32(out, frozen->table_id);
    buf_add_le64(out, (uint64_t)frozen->before_ns);
}

/* `*is_new`: it says more than was known. */
static enum err note_frozen(struct manifest *m, const struct manifest_frozen *frozen, bool *is_new)
{
    size_t at = 0;
    while (at < m->frozen_count && m->frozen[at].table_id != frozen->table_id) at++;
    *is_new = at == m->frozen_count || m->frozen[at].before_ns < frozen->before_ns;
    if (!*is_new) return ERR_OK;
    enum err err = mem_grow(&m->frozen, &m->frozen_capacity, at + 1, sizeof *m->frozen);
    if (err) return err;
    m->frozen[at] = *frozen;
    if (at == m->frozen_count) m->frozen_count++;
    return ERR_OK;
}

static enum err take_frozen(struct manifest *m, struct reader *in)
{
    uint8_t version = reader_u8(in);
    struct manifest_frozen frozen = {.table_id = reader_le32(in)};
    bool is_new;
    frozen.before_ns = (int64_t)reader_le64(in);
    /* Nobody freezes the end of time: no window would be left to be computed. */
    if (!reader_ok(in) || version != FROZEN_VERSION || frozen.before_ns == INT64_MAX)
        return ERR_CORRUPT;
    return note_frozen(m, &frozen, &is_new);
}

/* ---- reading ---- */

static enum err take_add(struct manifest *m, struct reader *in)
{
    enum err err = mem_grow(&m->parts, &m->part_capacity, m->part_count + 1, sizeof *m->parts);
    if (!err) err = read_add(in, &m->parts[m->part_count]);
    if (err) return err;
    if (m->parts[m->part_count].id >= m->next_part_id)
        m->next_part_id = m->parts[m->part_count].id + 1;
    m->part_count++;
    return ERR_OK;
}

static void take_drop(struct manifest *m, uint64_t id)
{
    for (size_t i = 0; i < m->part_count; i++) {
        if (m->parts[i].id != id) continue;
        mem_free(m->parts[i].tables);
        m->parts[i] = m->parts[--m->part_count];
        return;
    }
}

struct reading {
    struct manifest *manifest;
    void (*damage)(void *arg, const char *text);
    void *arg;
};

static void on_damage(void *arg, const char *text)
{
    struct reading *r = arg;
    r->manifest->damaged = true;
    r->damage(r->arg, text);
}

static enum err on_record(void *arg, const struct record *record, struct why *why)
{
    struct reading *r = arg;
    struct manifest *m = r->manifest;
    struct reader in = reader_of(record->body.at, record->body.size);
    enum err err = ERR_OK;
    m->seq = record->seq;
    m->records++;
    switch (record->type) {
    case RECORD_ADD: err = take_add(m, &in); break;
    case RECORD_DROP: take_drop(m, reader_le64(&in)); break;
    case RECORD_CHECKPOINT: err = read_checkpoint(&in, &m->checkpoint); break;
    case RECORD_FROZEN: err = take_frozen(m, &in); break;
    case RECORD_CONFIRM:
        for (size_t i = 0; i < m->part_count; i++) m->parts[i].untrusted = false;
        break;
    default: err = ERR_CORRUPT;
    }
    (void)why;
    if (err != ERR_CORRUPT) return err;
    on_damage(r, "the manifest has a record that makes no sense");
    return ERR_OK;
}

enum err manifest_open(struct manifest *m, struct os *os, const char *folder,
                       void (*damage)(void *arg, const char *text), void *arg, struct why *why)
{
    *m = (struct manifest){.os = os,
                           .checkpoint.trusted_ns = INT64_MIN,
                           .pending.trusted_ns = INT64_MIN,
                           .next_part_id = 1};
    MUST(str_copy(m->folder, sizeof m->folder, str_of(folder)));
    struct reading reading = {m, damage, arg};
    struct record_sink sink = {on_record, on_damage, &reading};
    struct record_file head = empty_head;
    char path[4096];
    uint64_t end;
    snprintf(path, sizeof path, "%s/%s", folder, file_name);
    enum err err = record_file_read(os, path, &head, &sink, &end, why);
    m->missing = m->unsure = err == ERR_NOT_FOUND;
    if (m->missing) return ERR_OK;
    struct os_path_info info;
    m->unsure = err || os->ops->path_info(os, path, &info, NULL) != ERR_OK || end < info.size_bytes;
    if (err == ERR_CORRUPT || err == ERR_IO) {
        on_damage(&reading, why_text(why, err));
        err = ERR_OK;
    }
    m->pending = m->checkpoint;
    /* Rewritten by the first group, which so also rids it of a torn tail. */
    if (err) manifest_close(m);
    return err;
}

void manifest_close(struct manifest *m)
{
    if (m->file) m->os->ops->file_close(m->file);
    m->file = NULL;
    for (size_t i = 0; i < m->part_count; i++) mem_free(m->parts[i].tables);
    mem_free(m->parts);
    m->parts = NULL;
    m->part_count = 0;
    mem_free(m->frozen);
    m->frozen = NULL;
    m->frozen_count = m->frozen_capacity = 0;
    buf_free(&m->group);
}

/* ---- writing ---- */

static size_t begin(struct manifest *m, enum manifest_record type)
{
    return record_begin(&m->group, (uint8_t)type, ++m->seq, 0);
}

/* A failure sticks in the buffer and comes out of the commit. */
static void end(struct manifest *m, size_t mark)
{
    if (record_end(&m->group, mark, m->salt)) m->group.failed = true;
}

void manifest_add(struct manifest *m, const struct part_info *info)
{
    size_t mark = begin(m, RECORD_ADD);
    write_add(&m->group, info);
    end(m, mark);
}

void manifest_drop(struct manifest *m, uint64_t id)
{
    size_t mark = begin(m, RECORD_DROP);
    buf_add_le64(&m->group, id);
    end(m, mark);
}

void manifest_confirm(struct manifest *m)
{
    size_t mark = begin(m, RECORD_CONFIRM);
    end(m, mark);
}

void manifest_freeze(struct manifest *m, const struct manifest_frozen *frozen)
{
    bool is_new;
    if (note_frozen(m, frozen, &is_new)) m->group.failed = true;
    if (m->group.failed || !is_new) return;
    size_t mark = begin(m, RECORD_FROZEN);
    write_frozen(&m->group, frozen);
    end(m, mark);
}

void manifest_checkpoint(struct manifest *m, const struct manifest_checkpoint *checkpoint)
{
    size_t mark = begin(m, RECORD_CHECKPOINT);
    write_checkpoint(&m->group, checkpoint);
    end(m, mark);
    m->pending = *checkpoint;
}

void manifest_forget_group(struct manifest *m)
{
    buf_clear(&m->group);
    m->pending = m->checkpoint;
}

static enum err append_group(struct manifest *m, struct why *why)
{
    enum err err = m->os->ops->file_write(m->file, m->offset, m->group.at, m->group.size, why);
    if (!err) err = m->os->ops->file_sync(m->file, why);
    if (!err) m->offset += m->group.size;
    return err;
}

/* All that counts, in a new file. The gathered group is implied: `live` and the checkpoint say what
 * it led to. */
static enum err rewrite(struct manifest *m, struct part *const *live, size_t live_count,
                        struct why *why)
{
    struct record_file head = empty_head;
    struct buf out = BUF_EMPTY;
    m->os->ops->random(m->os, &head.salt, sizeof head.salt);
    record_file_begin(&out, &head);
    uint64_t seq = 0;
    enum err err = ERR_OK;
    for (size_t i = 0; i < live_count && !err; i++) {
        size_t mark = record_begin(&out, RECORD_ADD, ++seq, 0);
        write_add(&out, &live[i]->info);
        err = record_end(&out, mark, head.salt);
    }
    for (size_t i = 0; i < m->frozen_count && !err; i++) {
        size_t mark = record_begin(&out, RECORD_FROZEN, ++seq, 0);
        write_frozen(&out, &m->frozen[i]);
        err = record_end(&out, mark, head.salt);
    }
    size_t mark = record_begin(&out, RECORD_CHECKPOINT, ++seq, 0);
    write_checkpoint(&out, &m->pending);
    if (!err) err = record_end(&out, mark, head.salt);
    if (!err) err = record_file_replace(m->os, m->folder, file_name, &out, why);
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", m->folder, file_name);
    if (!err) err = m->os->ops->file_open(m->os, path, OS_FILE_WRITE, &m->file, why);
    if (!err) {
        m->salt = head.salt;
        m->seq = m->records = seq;
        m->offset = out.size;
    }
    buf_free(&out);
    return err;
}

enum err manifest_commit(struct manifest *m, struct part *const *live, size_t live_count,
                         struct why *why)
{
    enum err err = buf_failed(&m->group) ? ERR_NO_MEMORY : ERR_OK;
    bool stale = m->records > live_count * 4 + REWRITE_SLACK;
    if (m->file && (stale || err)) {
        m->os->ops->file_close(m->file);
        m->file = NULL;
    }
    if (!err) err = m->file ? append_group(m, why) : rewrite(m, live, live_count, why);
    if (!err) {
        m->records += 4; /* about a group */
        m->checkpoint = m->pending;
    }
    if (err && m->file) {
        m->os->ops->file_close(m->file);
        m->file = NULL;
    }
    manifest_forget_group(m);
    return err;
}
