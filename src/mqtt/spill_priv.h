/* spill_priv.h - what the files of spill.h share: spill.c (which records are where), spill_job.c
 * (what the disk is asked to do), spill_file.c (records, and the disk itself), spill_start.c (what
 * survives a restart), spill_trash.c (files that go). Broker's task, and whoever starts the broker.
 */
#ifndef MQTT_SPILL_PRIV_H
#define MQTT_SPILL_PRIV_H

#include "mqtt/broker_priv.h"

/* A file that is not needed once a snapshot with a higher number than `snapshot` is durable. */
struct spill_trash {
    struct spill_trash *next;
    uint64_t number, bytes;
    uint32_t snapshot;
};

static inline bool is_spill(const struct spill *sp)
{
    return sp && sp->magic == SPILL_MAGIC;
}

/* ---- spill.c ---- */

/* A session's, which has none; the session's from here on. NULL: no memory. */
struct spill *spill_begin(struct session *session);
/* Frees it, and throws its files away. Not while its job is away. */
void spill_free_one(struct spill *spill);
/* Nothing is left of it: the session is as if it had never had one. Frees the spill then. */
void spill_end_if_empty(struct spill *spill);
/* spill_post looks at it. */
void spill_make_dirty(struct spill *spill);
/* Puts records into the ring while it has room, and in any case up to the ordinal `reach`. May end
 * the spill. */
void spill_fill_ring(struct spill *spill, uint64_t reach);
/* Whether there is something to read in its files. */
bool spill_has_more(const struct spill *spill);
/* What is left of the oldest file, which there is, is damaged, or was given up. Gives how many
 * records that were. */
uint64_t spill_give_up_file(struct spill *spill);
/* The log and the metric: so many messages of the oldest file are lost. */
void spill_tell_damage(struct spill *spill, uint64_t lost, const struct why *why);
/* So many are in the ring now, or gone. */
void spill_count_off(struct spill *spill, size_t records, size_t weight);
/* What of a buffer was not used, borrowed. */
struct str spill_left_of(const struct buf *buf, size_t used);
/* Bytes of the tail. */
size_t spill_tail_left(const struct spill *spill);
/* How large a file of it becomes, at most by one write more. */
size_t spill_file_bytes_max(const struct spill *spill);

/* ---- spill_job.c ---- */

/* A job that is due, by whoever may wait for the disk; false: there was none. May end the spill.
 * Before the broker's task runs. */
bool spill_run_now(struct spill *spill);

/* ---- spill_trash.c ---- */

/* The file is not needed any more. Without memory to remember it, the next start removes it. */
void spill_throw_away(struct broker *broker, uint64_t number, uint64_t bytes);
/* Forgets a list of them; the files stay. */
void spill_free_trash(struct spill_trash *trash);

/* Files that a worker removes just now. */
struct sweep {
    struct broker_work work; /* first */
    struct spill_trash *trash;
};

#endif
