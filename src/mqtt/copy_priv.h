/* copy_priv.h - what the snapshot, the journal and the queues tell a copy (copy.h). All of it is
 * the broker's task, and nothing happens while there is no copy. A copy that has failed hears of
 * nothing more, so none of these has an error. */
#ifndef MQTT_COPY_PRIV_H
#define MQTT_COPY_PRIV_H

#include "mqtt/broker_priv.h"
#include "mqtt/copy.h"

/* A copy waits for its state: the next snapshot is to be its own. */
bool copying_wants_state(const struct broker *broker);
/* That snapshot begins; only when copying_wants_state. */
void copying_begins(struct broker *broker);
/* Its state names these files of a queue (borrowed), so far as they are synced. */
void copying_name_files(struct broker *broker, const struct spill_file *files, size_t count);
/* It is written, without sync: the file (takes), how long it is, the position of its header. */
void copying_has_state(struct broker *broker, struct os_file *file, uint64_t offset,
                       uint64_t position);
/* A change was lost for the copy, or the state could not be written. `why` is copied; NULL
 * allowed. One that waits for its state yet is not concerned. */
void copying_fail(struct broker *broker, enum err err, const struct why *why);
/* A note (borrowed) is durable; before it is freed. */
void copying_note(struct broker *broker, const struct broker_note *note);
/* Whether a file of a queue has to stay. */
bool copying_needs_file(const struct broker *broker, uint64_t number);
/* Looks whether it can go on: when notes have come back, and once a second. */
void copying_look(struct broker *broker);
/* The broker stops: who waits is told. */
void copying_stop(struct broker *broker);
/* The broker's end: no worker has its job any more. */
void copying_free(struct broker *broker);

#endif
