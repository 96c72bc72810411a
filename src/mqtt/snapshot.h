/* snapshot.h - everything of the broker that survives, in one file, so that the log can forget.
 *
 * "mqtt/state" in the data folder, little-endian: "MILLRMQT", u32 format, u32 CRC32C of the header
 * with this field 0, u64 position: notes of the log above it are to be applied on top; u64 up to
 * which position notes stand in the file itself (0: none do; no such field up to format 2). Then
 * chunks: u32 size, u32 CRC32C (seeded by the chunk's number), changes as in journal.h; one of size
 * 0 at the end. It is written beside, synced and renamed, in slices between which the broker goes
 * on; so it is no picture of one moment, and need not be (journal.h). What it holds may be ahead of
 * the log, so its last slice waits until the log has all that is in it.
 *
 * In a file that came from a backup (copy.h) notes follow: chunks again, numbered from 0, each with
 * u64 its position before the note; the last one has size 0. Notes above the header's count are
 * passed over. A damaged chunk is passed over and told.
 *
 * One is under way at most. A session that ends and a space that empties meanwhile cannot leave it
 * standing on nothing: snapshot_forget moves it on, and the space it walks is pinned. */
#ifndef MQTT_SNAPSHOT_H
#define MQTT_SNAPSHOT_H

#include "base/reader.h"
#include "loop/context.h"

struct broker;

enum {
    /* 1: its changes are all of journal format 1; up to 2 notes cannot follow. */
    SNAPSHOT_FORMAT = 3,
    SNAPSHOT_FORMAT_OLDEST = 1,
    /* Of the header, and of what stands before each chunk: its size and sum. */
    SNAPSHOT_HEADER_BYTES = 32,
    SNAPSHOT_FRAME_BYTES = 8,
};

/* Reads the file, if there is one, before the task runs, and the notes in it; says in the journal
 * where the log goes on. Blocking. Errors: NO_MEMORY, IO; damage is told and counted. */
enum err snapshot_load(struct broker *broker, struct why *why);

/* A file in memory, and what was found in it. */
struct snapshot_read {
    /* Of the header: where the log's notes go on; up to where notes in the file count. */
    uint64_t position, up_to;
    /* The notes; borrowed from the bytes. */
    struct str rest;
    /* Chunks passed over. */
    size_t damaged;
};
/* The header and the state; notes are `rest`. Errors: CORRUPT, FORMAT (the header), NO_MEMORY. */
enum err snapshot_parse(struct broker *broker, struct str bytes, struct snapshot_read *found,
                        struct why *why);
/* Then the notes, when what belongs to the state alone was forgotten (broker_end_loading). Errors:
 * NO_MEMORY. */
enum err snapshot_replay_notes(struct broker *broker, struct snapshot_read *found, struct why *why);
/* One chunk after the other, `number` counting up from 0: its text, borrowed. False = the end, or
 * what is left is no chunk (`found->damaged` counts it). `*is_good`: its sum is right. */
bool snapshot_next_chunk(struct reader *in, uint32_t number, struct str *text, bool *is_good,
                         struct snapshot_read *found);
/* Reads the header alone; `in` stands behind it then. Errors: CORRUPT, FORMAT. */
enum err snapshot_read_header(struct reader *in, struct snapshot_read *found, struct why *why);

/* A header with its sum; for copies and the doctor, too. */
void snapshot_write_header(char header[SNAPSHOT_HEADER_BYTES], uint64_t position, uint64_t up_to);
/* Puts size and sum of a chunk into the first SNAPSHOT_FRAME_BYTES of the bytes, which `size`
 * counts as well. */
void snapshot_frame(char *bytes, size_t size, uint32_t number);

/* Has one written soon. Broker's task. */
void snapshot_need(struct broker *broker);
/* Queue files are synced, perhaps all that one waits for (spill.h). */
void snapshot_go_on(struct broker *broker);
/* Looks whether it is time for one; once a second. */
void snapshot_look(struct broker *broker);
/* A session ends: the walk over the sessions must not stand on it. */
struct session;
void snapshot_forget(struct session *session);
/* The broker's end: its task is over, and no worker has it any more. */
void snapshot_free(struct broker *broker);

#endif
