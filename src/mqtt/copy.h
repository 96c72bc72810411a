/* copy.h - what a backup of the node takes along of the broker: its state at one position of the
 * log, and the files of long queues.
 *
 * Two steps. Begin: the state is written as for the log's sake (snapshot.h), but to a file of its
 * own, and from there on every note that becomes durable is written behind it. Cut: when the backup
 * knows its position, the file is closed with all notes up to it; with them it says what the broker
 * was at just that position. The broker goes on all the while. Queue files that the state names do
 * not leave the disk until the copy ends; of one that is still written, the backup takes as many
 * bytes as the state names.
 *
 * The file is "mqtt/state.copy" in the data folder; in a backup, and where that is restored, it is
 * "mqtt/state". One that a killed node left is removed by its next start. */
#ifndef MQTT_COPY_H
#define MQTT_COPY_H

#include "mqtt/broker.h"

#define BROKER_COPY_STATE "mqtt/state.copy"

/* The first `bytes` of the file "mqtt/queues/NUMBER" (16 hexadecimal digits): what follows is not
 * part of the copy. */
struct broker_copy_file {
    uint64_t number, bytes;
};

/* One copy; the asker's, and stays in place from begin until the end was asked for. */
struct broker_copy {
    struct completion completion; /* first; of the step that was asked for */
    /* Cut: the backup's position, at or above that of the begin. */
    uint64_t up_to;
    /* The answer of the cut; borrowed until the end. */
    const struct broker_copy_file *files;
    size_t file_count;
    /* From here on the broker's. */
    struct job job;
    struct broker *broker;
};

/* Done when the state is written and every change that is in it is durable in the log: a position
 * that is taken after that covers it. Errors: BUSY (another copy), NO_MEMORY, IO, DISK_FULL,
 * CANCELLED when the broker stops; then there is nothing to end. Main loop, while the broker runs.
 */
void broker_copy_begin(struct broker *broker, struct broker_copy *copy);
/* After a good begin, once; the completion is to be made anew. Errors: as above, and LIMIT: notes
 * came faster than the disk took them. Main loop, while the broker runs. */
void broker_copy_cut(struct broker_copy *copy);
/* After a good begin, whatever came of the cut; no step is under way. What is left of it goes.
 * Without completion; `copy` is free at once. Main loop, while the broker runs. */
void broker_copy_end(struct broker *broker);

#endif
