/* doctor.h - checking, and where asked repairing, the store's files while no node runs.
 *
 * Every byte under a checksum is read, every column decoded and compared with its statistics. What
 * is found is told row by row: object, state, what it means, what to do. Repairing never removes a
 * byte of anybody's data: a damaged part goes to quarantine/ and what is readable of it becomes a
 * new part; a manifest that is lost or damaged is written anew from the parts; leftovers of
 * interrupted work go.
 *
 * Thread: one that may block; no node. */
#ifndef STORE_DOCTOR_H
#define STORE_DOCTOR_H

#include "os/os.h"

/* X(symbol, text): how things are. Only OK and NOTE leave the exit status 0. */
#define DOCTOR_STATE_TABLE(X)                                                                      \
    X(OK, "ok")                                                                                    \
    X(NOTE, "note")                                                                                \
    X(LEFTOVER, "leftover")                                                                        \
    X(DAMAGED, "damaged")                                                                          \
    X(REPAIRED, "repaired")

enum doctor_state {
#define X(symbol, text) DOCTOR_##symbol,
    DOCTOR_STATE_TABLE(X)
#undef X
        DOCTOR_STATE_COUNT
};
const char *doctor_state_text(enum doctor_state state);

struct doctor_row {
    enum doctor_state state;
    char object[96];           /* path in the data folder */
    char text[256], todo[160]; /* what it means; what to do */
};

struct doctor_sink {
    void (*row)(void *arg, const struct doctor_row *row);
    void *arg;
};

/* Errors: BUSY (a node runs on the folder), NOT_FOUND (no data folder), IO and NO_MEMORY where
 * nothing more can be said. Findings are no error. */
enum err store_doctor(struct os *os, const char *folder, bool repair,
                      const struct doctor_sink *sink, struct why *why);

#endif
