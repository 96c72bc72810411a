/* sparkplug_host.h - the host application of Sparkplug B: messages of edge nodes become rows.
 *
 * Messages depend on each other: a birth (NBIRTH, DBIRTH) says what the metrics are that later ones
 * name by alias, each carries the next of 256 sequence numbers, a death makes all values of a node
 * or device stale. So a host remembers what was born, and takes the messages of one Stream in their
 * order, on one task at a time. It survives no restart: whoever is not known is asked for a rebirth
 * (NCMD "Node Control/Rebirth"), and so is who has skipped a number, at most once an interval.
 *
 * Rows: device "group/edge" or "group/edge/device", a column for each metric ("/" in names is
 * written "."), a row for each timestamp. A death gives a row in which every metric of the node and
 * its devices is NULL with quality BadNoCommunication. Metrics whose datatype no column can hold,
 * or whose alias nobody knows, make a dead letter of their message; its other metrics are stored.
 * Transient metrics, bdSeq and controls are no columns.
 *
 * Source: Sparkplug 3.0.0 (Eclipse), sections 4 (topics), 5 (sessions, operation), 6.4 (payload).
 * Sans I/O: time comes with the messages, commands go out as bytes. Thread: one owner. */
#ifndef STREAM_SPARKPLUG_HOST_H
#define STREAM_SPARKPLUG_HOST_H

#include "base/reader.h"
#include "stream/mapping.h"

struct sparkplug_host;

enum {
    SPARKPLUG_EDGES_MAX = 10000,
    SPARKPLUG_METRICS_MAX = 100000, /* of one host */
};

/* `mapping` is borrowed and outlives it. NULL: no memory. */
struct sparkplug_host *sparkplug_host_new(const struct mapping *mapping,
                                          int64_t rebirth_interval_ns);
void sparkplug_host_free(struct sparkplug_host *host); /* NULL allowed */

/* What a message gave beside an error of the whole. */
struct sparkplug_taken {
    struct line *row; /* for the work in between; the caller's, as the next */
    struct arena *scratch;
    struct buf *rows, *commands; /* appended to */
    size_t row_count;
    enum err partial; /* the first metric that was left out; `why` says why */
};
/* Takes a message. Messages to edge nodes (NCMD, DCMD) and STATE are passed over. Errors: as
 * mapping_take; NOT_FOUND: no birth is known. */
enum err sparkplug_host_take(struct sparkplug_host *host, const struct mapping_message *message,
                             struct sparkplug_taken *taken, struct why *why);

/* Walks over commands: what is to be published, with QoS 0. False at the end. */
bool sparkplug_next_command(struct reader *in, struct str *topic, struct str *payload);

#endif
