/* check.h - what `millrace doctor` looks at of the broker's files while no node runs: "mqtt/state"
 * (snapshot.h) and the files of long queues that it names (spill.h).
 *
 * Every sum is checked and every change applied to a broker that is made for that and thrown away.
 * Repairing puts what is damaged aside (os/put_aside.h) and keeps the rest: a state of the chunks
 * that are whole; a queue's file of the same size and count of records, for the state says both, in
 * which records that nobody wants any more stand where the damaged ones were.
 *
 * It is the one reader of these files beside a start. A state that it has read is also looked at as
 * a broker (verify.h). Thread: one that may block; no node. */
#ifndef MQTT_CHECK_H
#define MQTT_CHECK_H

#include "os/os.h"

enum broker_check_state {
    BROKER_CHECK_OK,
    BROKER_CHECK_NOTE,     /* nobody's fault */
    BROKER_CHECK_LEFTOVER, /* of something that was cut off; harmless */
    BROKER_CHECK_DAMAGED,
    BROKER_CHECK_REPAIRED, /* as far as could be */
};

/* Who is told. */
struct broker_check_sink {
    /* One finding: which file, what is the matter, what to do ("" = nothing). Texts are borrowed
     * during the call. */
    void (*row)(void *arg, enum broker_check_state state, const char *object, const char *text,
                const char *todo);
    void *arg;
};

/* Looks at the broker's files in the data folder. Findings, and files that cannot be read, are told
 * to `sink` (borrowed). Blocking. Errors: NO_MEMORY. */
enum err broker_check(struct os *os, const char *folder, bool repair,
                      const struct broker_check_sink *sink, struct why *why);

#endif
