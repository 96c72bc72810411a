/* trace.h - packets of one client, or messages of one topic filter, as they come and go: a live
 * trace for who looks for a fault. Packets are told by name, sizes, topic and reason, never with
 * their payload; one line of JSON each. What the reader does not fetch in time is dropped, and the
 * number of lines is told. */
#ifndef MQTT_TRACE_H
#define MQTT_TRACE_H

#include "mqtt/broker.h"

enum {
    TRACES_MAX = 8,               /* at once */
    TRACE_BYTES_MAX = 256 * 1024, /* that wait for a reader */
};

struct broker_trace;
struct broker_trace_events {
    /* Lines, borrowed during the call; no more come until broker_trace_more. */
    void (*on_lines)(void *owner, struct str lines);
    /* The broker stops; broker_trace_stop follows. */
    void (*on_over)(void *owner);
};

/* What is traced; borrowed during the call. */
struct broker_trace_wish {
    struct str ns;                /* whose clients' */
    struct str client_id, filter; /* one of them is "" */
    bool sees_logins; /* of whoever calls himself client_id: whose he is, is not known by then */
};

/* Begins. Main loop, as all of this. Errors: BUSY when there are TRACES_MAX, NO_MEMORY. */
enum err broker_trace_start(struct broker *broker, const struct broker_trace_wish *wish,
                            const struct broker_trace_events *events, void *owner,
                            struct broker_trace **trace, struct why *why);
void broker_trace_more(struct broker_trace *trace);
/* No event comes any more. The owner forgets the trace. */
void broker_trace_stop(struct broker_trace *trace);

#endif
