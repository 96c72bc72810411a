/* trace.h - packets of one client, or messages of one topic filter, as they come and go: a live
 * trace for who looks for a fault. Packets are told by name, sizes, topic and reason, never with
 * their payload; one line of JSON each. What the reader does not fetch in time is dropped, and the
 * number of lines is told.
 *
 * A trace belongs to both: the main loop's part and the broker's are in one struct, and whoever
 * lets go last frees it (trace.c). Everything declared here is for the main loop, and so are the
 * events. */
#ifndef MQTT_TRACE_H
#define MQTT_TRACE_H

#include "mqtt/broker.h"

enum {
    TRACES_MAX = 8,               /* at once */
    TRACE_BYTES_MAX = 256 * 1024, /* that wait for a reader */
};

struct broker_trace;

/* What its owner is told, on the main loop. */
struct broker_trace_events {
    /* Lines, borrowed during the call; no more come until broker_trace_more. */
    void (*on_lines)(void *owner, struct str lines);
    /* The broker stops; broker_trace_stop follows. */
    void (*on_over)(void *owner);
};

/* What is traced; borrowed during the call. */
struct broker_trace_wish {
    /* Whose clients'; not "". */
    struct str ns;
    /* One of them is "", the other not. */
    struct str client_id, filter;
    /* Also CONNECT and CONNACK of whoever calls himself client_id: whose he is, is not known by
     * then. */
    bool sees_logins;
};

/* Begins; `events` are copied, `owner` is given to them. The trace is the caller's to stop. While
 * the broker runs. Errors: BUSY when there are TRACES_MAX, NO_MEMORY. */
enum err broker_trace_start(struct broker *broker, const struct broker_trace_wish *wish,
                            const struct broker_trace_events *events, void *owner,
                            struct broker_trace **trace, struct why *why);
/* The lines of the last on_lines were taken: more may come. Once for each. */
void broker_trace_more(struct broker_trace *trace);
/* Ends it (takes): no event comes any more. Also after on_over. */
void broker_trace_stop(struct broker_trace *trace);

#endif
