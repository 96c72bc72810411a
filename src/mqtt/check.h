/* check.h - what `millrace doctor` looks at of the broker's files while no node runs: "mqtt/state"
 * (snapshot.h) and the files of long queues that it names (spill.h).
 *
 * Every sum is checked and every change applied to a broker that is made for that and thrown away.
 * Repairing puts what is damaged aside (os/put_aside.h) and keeps the rest: a state of the chunks
 * that are whole; a queue's file of the same size and count of records, for the state says both, in
 * which records that nobody wants any more stand where the damaged ones were.
 *
 * Thread: one that may block; no node. */
#ifndef MQTT_CHECK_H
#define MQTT_CHECK_H

#include "os/os.h"

enum broker_check_state {
    BROKER_CHECK_OK,
    BROKER_CHECK_NOTE, /* nobody's fault */
    BROKER_CHECK_LEFTOVER,
    BROKER_CHECK_DAMAGED,
    BROKER_CHECK_REPAIRED,
};

struct broker_check_sink {
    void (*row)(void *arg, enum broker_check_state state, const char *object, const char *text,
                const char *todo);
    void *arg;
};

/* Errors: NO_MEMORY; findings, and files that cannot be read, are told. */
enum err broker_check(struct os *os, const char *folder, bool repair,
                      const struct broker_check_sink *sink, struct why *why);

#endif
