/* edge.h - a sink's rows as an edge node of Sparkplug B sends them.
 *
 * The edge node is the sink, its devices are those of the table ("/" of a path is written ":"), its
 * metrics the columns. What a message means depends on those before it: births (NBIRTH, DBIRTH) say
 * what the metrics are, data names them by alias, and each message carries the next of 256 numbers.
 * Everything is born again when a column comes or goes, when a host asks, and when messages may
 * have been lost on the way to the broker. The last value of each metric is kept, for a birth tells
 * all of them.
 *
 * Source: Sparkplug 3.0.0 (Eclipse), sections 5 (operation), 6.4 (payload). No I/O: messages go to
 * whoever gives `send`. Not done: historical flags, STATE of a primary host.
 * Thread: the sink's. */
#ifndef SINKS_EDGE_H
#define SINKS_EDGE_H

#include "base/map.h"
#include "data/type.h"
#include "millrace/sink.h"
#include "resource/kind.h"

struct edge_device;

struct edge {
    struct str group, name; /* borrowed */
    uint64_t bd_seq;        /* of this session */
    uint8_t seq;
    bool is_born;
    uint64_t columns_hash; /* of names and types as they were born */
    size_t column_count;
    struct map devices; /* by path: struct edge_device */
    uint64_t device_count;
    struct buf topic, payload;
    bool (*send)(void *arg, struct str topic, struct str payload);
    void *arg;
};

void edge_init(struct edge *edge, struct str group, struct str name, uint64_t bd_seq);
void edge_free(struct edge *edge);
/* Sends the rows, and births before them where they are due. False: one was not sent; all is born
 * again with the next rows. */
bool edge_take(struct edge *edge, const struct millrace_sink_batch *batch);
/* A host has asked: the node and all devices that were seen are born again. False as above. */
bool edge_rebirth(struct edge *edge, uint64_t now_ms);
/* Says that the node is gone, if it was there. */
void edge_leave(struct edge *edge, uint64_t now_ms);

/* The topic of commands to it; false: too long. */
bool edge_command_topic(struct str group, struct str name, char *out, size_t out_bytes);
/* What the topics of commands to its devices begin with; false: too long. */
bool edge_device_topics(struct str group, struct str name, char *out, size_t out_bytes);

/* One value that a host wants written. Slices and arrays are the edge's, the payload's and the
 * arena's. */
struct edge_order {
    struct str device, metric; /* path; column */
    struct value value;
};
/* Calls `use` for each metric of a command, with what is to be written, or why it cannot be (the
 * order then has what is known). `topic`: NCMD or DCMD to this edge node. Of NCMD a metric is named
 * by its alias, or "device id/metric". Errors: SYNTAX and UNSUPPORTED of the whole payload,
 * NOT_FOUND: no such device was born. Not while another call of the edge runs. */
enum err edge_read_command(const struct edge *edge, struct str topic, struct str payload,
                           struct arena *arena,
                           void (*use)(void *arg, const struct edge_order *order, enum err err,
                                       const struct why *why),
                           void *arg, struct why *why);

/* Whether a command asks for a rebirth. Any task. */
bool edge_asks_rebirth(struct str payload);

#endif
