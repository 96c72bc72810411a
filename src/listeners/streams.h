/* streams.h - kind Stream: documents become mappings, and the broker is told who takes what.
 *
 * A Stream is compiled when its document changes; the broker gets the whole list of those that
 * there are, so that a change is one step for it and no session notices. Messages come back in
 * batches (mqtt/rows.h), are made rows by the mapping on an intake worker, in their order, and go
 * the way of all rows (ingest.h). One of format sparkplug is a host application as well: it says in
 * spBv1.0/STATE/… that it is online, retained, and asks edge nodes for rebirths. It needs no will:
 * the broker is this node, so who could read that it is offline is cut off as well, and at an
 * orderly end it says so itself. What a Stream has done is counted since its document changed
 * last, or the start, and shown in its status. Thread: the main loop. */
#ifndef LISTENERS_STREAMS_H
#define LISTENERS_STREAMS_H

#include "listeners/service.h"
#include "mqtt/broker.h"
#include "stream/mapping.h"
#include "stream/sparkplug_host.h"

struct streams;

/* One that runs. */
struct stream {
    struct broker_stream broker; /* first */
    struct mapping *mapping;
    struct sparkplug_host *host; /* of format sparkplug; whoever has a batch of it in hand */
    char state_topic[300];       /* where it says that it is online; "" = nowhere */
    bool is_announced;           /* … and has said so */
    char uid[37];                /* of its document … */
    uint64_t generation;
    char ns[256], name[256];
    struct stream *next; /* of those that run */
    /* What it has done; the main loop's. */
    uint64_t messages, rows, refused;
    char last_error[200];
    int64_t last_error_ns; /* wall clock; 0 = none */
};

/* Behind the broker's start. Errors: NO_MEMORY. */
enum err streams_start(struct service *service, struct streams **streams, struct why *why);
void streams_stop(struct streams *streams); /* NULL allowed */
/* Walks over those that run: NULL gives the first. Borrowed until the loop's next job. */
const struct stream *streams_next(const struct streams *streams, const struct stream *before);

/* Whether somebody may make (or change) the Stream: what it stores he must himself have the right
 * to read. Errors: FORBIDDEN. */
enum err streams_allow(const struct identity *who, const struct resource *now, struct why *why);

/* Publishes as the node in the stream's namespace, without waiting: what is lost for lack of memory
 * is asked for again, or said again, by whoever has a reason to. Copies. */
void streams_publish(struct service *service, const struct stream *stream, struct str topic,
                     struct str payload, bool retain);

/* Stores what a batch of a Stream holds; as mqtt_rows_store. */
void stream_rows_store(struct service *service, struct broker_rows *rows,
                       void (*done)(void *arg, struct broker_rows *rows), void *arg);

#endif
