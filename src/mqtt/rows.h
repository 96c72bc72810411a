/* rows.h - messages that are rows: what is published under the data prefix, on its way to the
 * store.
 *
 * "data/<device path>/<table>" carries JSON rows. They are gathered per identity while the batch
 * before them is being stored, so batches grow with the load and one device's rows stay in order.
 * What a Stream takes (streams.c) is gathered per Stream in the same way.
 * Who asked for an acknowledgement gets it when his batch is stored. What is no row is copied to
 * "$dead/<topic>" with the reason as a user property. The message itself is routed like any other.
 *
 * A batch's text is a sequence of entries, little-endian: u32 size of the topic, u32 size of the
 * payload, u64 wall clock in ns (different for each entry of a batch and the thousand ns behind it
 * its own), topic, payload. Broker's task, but for the hook. */
#ifndef MQTT_ROWS_H
#define MQTT_ROWS_H

#include "base/reader.h"
#include "mqtt/broker.h"

struct broker_stream;

/* Batches by number, from the first one to the last one; both 0: none. */
struct rows_span {
    uint64_t first, last;
};

/* One message; borrowed from the batch's text. */
struct rows_entry {
    struct str topic, payload;
    int64_t time_ns; /* wall clock, when it came */
};
/* The next entry of a batch's text, which is the broker's own and whole; false at the end. Any
 * task. */
bool rows_next(struct reader *in, struct rows_entry *entry);
/* "data/line3/press07/press" → "line3/press07", "press" (borrowed); `prefix` "data/". False: it
 * names no device or no table. Any task. */
bool rows_split(struct str topic, struct str prefix, struct str *device, struct str *table);

/* Those of the broker. */
struct rows_intake {
    /* Not stored, oldest first, which is by number. */
    struct broker_rows *first, *last;
    /* Number of the newest batch; from 1. */
    uint64_t given;
    /* Time of the newest entry, in ns of the wall clock. */
    int64_t last_ns;
    /* Of all their texts; as much is taken from the broker's memory. */
    size_t bytes;
};

/* Takes a message (copies) for the store. Gives the batch's number, for the acknowledgement; 0: no
 * memory, and nothing was taken. `identity` and `stream` are shared when a batch begins with them;
 * `stream` NULL: it came under the data prefix, and its rows belong to who published it. */
uint64_t rows_add(struct broker *broker, struct identity *identity, struct broker_stream *stream,
                  struct str topic, struct str payload);
/* One more batch that a message went to. */
static inline void rows_widen(struct rows_span *span, uint64_t number)
{
    if (!span->first || number < span->first) span->first = number;
    if (number > span->last) span->last = number;
}
/* All batches up to this number are stored, or failed; what is stored out of turn waits for those
 * before it. */
uint64_t rows_done(const struct broker *broker);
/* The end of a turn: batches go to the store. */
void rows_post(struct broker *broker);
/* So much waits for the store that publishers have to wait. */
bool rows_are_full(const struct broker *broker);
/* The task has ended: batches that are with the hook are the hook's to free from here on. */
void rows_disown(struct broker *broker);
/* Batches that were never given; the broker's end. */
void rows_free(struct broker *broker);

#endif
