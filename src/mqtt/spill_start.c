/* spill_start.c - see spill.h: what a snapshot says of queue files, and what a start makes of it.
 *
 * Everything here but spill_write_named runs before the broker's task, by whoever may wait for the
 * disk. A file is named with as many bytes as were synced when the snapshot began; what it holds
 * behind that is in the log's notes as well, and is made again from them. Numbers in the snapshot
 * are believed as far as their sums go: what a file really holds is seen when it is read. */
#include "mqtt/copy_priv.h"
#include "mqtt/spill_priv.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char component[] = "mqtt";

/* Only what is synced: the rest is in the log's notes behind the snapshot. */
void spill_write_named(struct buf *out, const struct session *s)
{
    const struct spill *sp = s->spill;
    size_t first = 0, count = 0;
    if (!sp || !s->is_logged) return;
    while (first < sp->file_count && sp->files[first].synced_bytes <= (first ? 0 : sp->read_offset))
        first++;
    while (first + count < sp->file_count && sp->files[first + count].synced_bytes) count++;
    if (!count || sp->synced_last <= s->outbox.last) return;
    buf_add_char(out, JOURNAL_QUEUE);
    buf_add_varint(out, s->serial);
    buf_add_varint(out, sp->synced_last);
    buf_add_varint(out, first ? 0 : sp->read_offset);
    buf_add_varint(out, first ? 0 : sp->read_records);
    buf_add_varint(out, first ? 0 : sp->read_weight);
    buf_add_varint(out, count);
    copying_name_files(s->broker, sp->files + first, count);
    for (const struct spill_file *f = sp->files + first; count; f++, count--) {
        buf_add_varint(out, f->number);
        buf_add_varint(out, f->first);
        buf_add_varint(out, f->synced_bytes);
        buf_add_varint(out, f->synced_records);
        buf_add_varint(out, f->synced_weight);
    }
}

/* ---- reading it ---- */

enum err spill_restore(struct session *s, const struct spill_named *named, struct why *why)
{
    MUST(session_is_valid(s));
    if (s->spill || named->count == 0 || named->last < s->outbox.last ||
        named->read_offset > named->files[0].bytes ||
        named->read_records > named->files[0].records ||
        named->read_weight > named->files[0].weight)
        return why_set(why, ERR_CORRUPT, "the broker's journal: queue files that are none");
    struct spill *sp = spill_begin(s);
    if (sp) sp->files = mem_dup(named->files, named->count * sizeof named->files[0]);
    if (!sp || !sp->files) {
        if (sp) spill_end(s);
        return ERR_NO_MEMORY;
    }
    sp->file_count = sp->file_capacity = named->count;
    sp->last = sp->tail_first = sp->synced_last = named->last;
    sp->read_offset = named->read_offset;
    sp->read_records = named->read_records;
    sp->read_weight = named->read_weight;
    for (size_t i = 0; i < named->count; i++) {
        struct spill_file *f = &sp->files[i];
        f->synced_bytes = f->bytes;
        f->synced_records = f->records;
        f->synced_weight = f->weight;
        sp->count += (size_t)f->records;
        sp->bytes += (size_t)f->weight;
        s->broker->spills.file_bytes += f->bytes;
        if (f->number > s->broker->spills.last_number) s->broker->spills.last_number = f->number;
    }
    spill_count_off(sp, (size_t)named->read_records, (size_t)named->read_weight);
    return ERR_OK;
}

struct cleaning {
    struct broker *broker;
    uint64_t *mine; /* sorted */
    size_t count, removed;
    bool keeps;
};

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Also learns the highest number, so that none is given twice. */
static enum err clean_one(void *arg, const char *name)
{
    struct cleaning *c = arg;
    struct os *os = c->broker->context->os;
    char *end, path[4100];
    uint64_t number = strtoull(name, &end, 16);
    if (strlen(name) != 16 || *end) return ERR_OK;
    if (number > c->broker->spills.last_number) c->broker->spills.last_number = number;
    if (c->count && bsearch(&number, c->mine, c->count, sizeof number, by_number)) return ERR_OK;
    c->removed++;
    spill_path(c->broker, number, path, sizeof path);
    return c->keeps ? ERR_OK : os->ops->path_remove(os, path, NULL);
}

void spill_clean(struct broker *broker, bool keeps)
{
    struct cleaning c = {.broker = broker, .keeps = keeps};
    char folder[4000];
    size_t count = 0;
    for (const struct spill *sp = broker->spills.first; sp; sp = sp->next) count += sp->file_count;
    c.mine = mem_alloc((count + 1) * sizeof c.mine[0]);
    if (!c.mine) return;
    for (const struct spill *sp = broker->spills.first; sp; sp = sp->next)
        for (size_t i = 0; i < sp->file_count; i++) c.mine[c.count++] = sp->files[i].number;
    if (c.count) qsort(c.mine, c.count, sizeof c.mine[0], by_number);
    snprintf(folder, sizeof folder, "%s/mqtt/queues", broker->folder);
    (void)broker->context->os->ops->path_list(broker->context->os, folder, clean_one, &c, NULL);
    if (keeps && c.removed)
        diag(broker->context, DIAG_WARNING, component,
             "%s: %zu files that no session has any more are left there, since mqtt/state is "
             "damaged",
             folder, c.removed);
    mem_free(c.mine);
}

void spill_reach(struct session *s, uint64_t ordinal)
{
    while (s->spill && s->outbox.last <= ordinal && ordinal < s->spill->last) {
        struct spill *sp = s->spill;
        uint64_t before = s->outbox.last;
        size_t count = sp->count;
        spill_fill_ring(sp, ordinal);
        if (!s->spill || s->outbox.last > ordinal) return;
        bool has_run = spill_run_now(sp);
        if (!s->spill || s->spill->is_failing ||
            (s->outbox.last == before && s->spill->count == count &&
             !(has_run && s->spill->in.size)))
            return; /* told; what it was about stays undelivered, and is delivered again */
    }
}

void spill_skip(struct session *s, uint64_t from, uint64_t until)
{
    /* What stood before it was in the ring then. */
    if (from > 0) spill_reach(s, from - 1);
    for (uint64_t i = from > s->outbox.first ? from : s->outbox.first;
         i < until && i < s->outbox.last; i++)
        outbox_restore_done(&s->outbox, i);
    struct spill *sp = s->spill;
    if (!sp || until <= sp->skip_until || until > sp->last) return;
    sp->skip_until = until;
    while (sp->file_count > 1 && sp->files[1].first <= until) (void)spill_give_up_file(sp);
    /* Files of a start have other borders: what of them was given up is not to count as waiting. */
    spill_reach(s, until - 1);
}
