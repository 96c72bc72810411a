/* spill_priv.h - what the files of spill.h share. Broker's task, and whoever starts the broker. */
#ifndef MQTT_SPILL_PRIV_H
#define MQTT_SPILL_PRIV_H

#include "mqtt/broker_priv.h"

/* Files that are not needed once a snapshot with a higher number is durable. */
struct spill_trash {
    struct spill_trash *next;
    uint64_t number, bytes;
    uint32_t snapshot;
};

/* ---- spill.c ---- */

/* A session's, which has none. NULL: no memory. */
struct spill *spill_begin(struct session *session);
void spill_free_one(struct spill *spill); /* not while its job is away */
/* Nothing is left of it: the session is as if it had never had one. Frees the spill then. */
void spill_end_if_empty(struct spill *spill);
void spill_make_dirty(struct spill *spill); /* spill_post looks at it */
/* Puts records into the ring while it has room, and in any case up to the ordinal `reach`. May end
 * the spill. */
void spill_fill_ring(struct spill *spill, uint64_t reach);
bool spill_has_more(const struct spill *spill); /* something to read in files */
/* What is left of the oldest file is damaged, or was given up: how many records. */
uint64_t spill_give_up_file(struct spill *spill);
void spill_tell_damage(struct spill *spill, uint64_t lost, const struct why *why);
void spill_count_off(struct spill *spill, size_t records, size_t weight);
struct str spill_left_of(const struct buf *buf, size_t used);
size_t spill_tail_left(const struct spill *spill);
size_t spill_file_bytes_max(const struct spill *spill);

/* ---- spill_job.c ---- */

/* A job that is due, by whoever may wait for the disk; false: there was none. May end the spill. */
bool spill_run_now(struct spill *spill);

/* ---- spill_trash.c ---- */

void spill_throw_away(struct broker *broker, uint64_t number, uint64_t bytes);
void spill_free_trash(struct spill_trash *trash);
struct sweep {
    struct broker_work work; /* first */
    struct spill_trash *trash;
};

#endif
