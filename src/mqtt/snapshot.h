/* snapshot.h - everything of the broker that survives, in one file, so that the log can forget.
 *
 * "mqtt/state" in the data folder, little-endian: "MILLRMQT", u32 format, u32 CRC32C of these and
 * the next 8 bytes with this field 0, u64 position: notes of the log above it are to be applied on
 * top. Then chunks: u32 size, u32 CRC32C (seeded by the chunk's number), changes as in journal.h;
 * one of size 0 at the end. It is written beside, synced and renamed, in slices between which the
 * broker goes on; so it is no picture of one moment, and need not be (journal.h). A damaged chunk
 * is passed over and told. */
#ifndef MQTT_SNAPSHOT_H
#define MQTT_SNAPSHOT_H

#include "loop/context.h"

struct broker;

enum { SNAPSHOT_FORMAT = 1 };

/* Reads the file, if there is one, before the task runs. `*position`: what it holds. Blocking.
 * Errors: NO_MEMORY, IO; damage is told and counted. */
enum err snapshot_load(struct broker *broker, uint64_t *position, struct why *why);
/* The same over bytes in memory, for the fuzzer. `*damaged` counts chunks passed over. */
enum err snapshot_parse(struct broker *broker, struct str bytes, uint64_t *position,
                        size_t *damaged, struct why *why);

/* Has one written soon. Broker's task. */
void snapshot_need(struct broker *broker);
/* Looks whether it is time for one; once a second. */
void snapshot_look(struct broker *broker);
/* A session ends: the walk over the sessions must not stand on it. */
struct session;
void snapshot_forget(struct session *session);
void snapshot_free(struct broker *broker);

#endif
