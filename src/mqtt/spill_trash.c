/* spill_trash.c - see spill.h: files whose records were all read back, or given up, wait here until
 * a snapshot is durable that does not name them.
 *
 * A file that was thrown away while snapshot N was the last to begin may be named by N; so it goes
 * when one with a higher number is durable, and no copy names it (copying_needs_file). Removing is
 * a worker's job, one at a time. Whatever fails leaves files about that no snapshot names: the next
 * start removes them (spill_clean). */
#include "mqtt/copy_priv.h"
#include "mqtt/spill_priv.h"

enum { TRASH_BYTES = 16 * 1024 * 1024 }; /* of files that wait: has a snapshot made */

void spill_throw_away(struct broker *broker, uint64_t number, uint64_t bytes)
{
    MUST(broker_is_valid(broker));
    struct spill_trash *t = mem_alloc_zero(1, sizeof *t);
    if (!t) return; /* the next start removes it */
    *t = (struct spill_trash){broker->spills.trash, number, bytes, broker->snapshot.number};
    broker->spills.trash = t;
    broker->spills.trash_bytes += bytes;
    if (broker->spills.trash_bytes > TRASH_BYTES) snapshot_need(broker);
}

/* Those that no snapshot needs any more. */
static struct spill_trash *take_trash(struct broker *broker, uint32_t snapshot)
{
    struct spills *all = &broker->spills;
    struct spill_trash *taken = NULL;
    for (struct spill_trash **at = &all->trash; *at;) {
        struct spill_trash *t = *at;
        if (t->snapshot >= snapshot || copying_needs_file(broker, t->number)) {
            at = &t->next;
            continue;
        }
        *at = t->next;
        t->next = taken;
        taken = t;
        all->trash_bytes -= t->bytes;
    }
    return taken;
}

static void sweep(struct broker_work *work) /* a worker */
{
    struct sweep *s = (struct sweep *)work;
    struct os *os = work->owner->context->os;
    for (struct spill_trash *t = s->trash; t; t = t->next) {
        char path[4100];
        spill_path(work->owner, t->number, path, sizeof path);
        (void)os->ops->path_remove(os, path, NULL);
    }
}

void spill_free_trash(struct spill_trash *t)
{
    while (t) {
        struct spill_trash *next = t->next;
        mem_free(t);
        t = next;
    }
}

static void on_swept(struct broker_work *work)
{
    struct sweep *s = (struct sweep *)work;
    MUST(work->owner->spills.sweeping == s);
    work->owner->spills.sweeping = NULL;
    spill_free_trash(s->trash);
    mem_free(s);
}

void spill_sweep(struct broker *broker, uint32_t snapshot)
{
    if (broker->spills.sweeping) return; /* the next snapshot's turn */
    struct spill_trash *trash = take_trash(broker, snapshot);
    struct sweep *s = trash ? mem_alloc_zero(1, sizeof *s) : NULL;
    if (s) *s = (struct sweep){{.owner = broker, .work = sweep, .done = on_swept}, trash};
    if (s && broker->hooks.work(broker->hooks.arg, &s->work)) {
        broker->spills.sweeping = s;
        return;
    }
    mem_free(s); /* the next start removes them */
    spill_free_trash(trash);
}
