/* slices.h - an answer over HTTP that takes long to write: in slices, between which the main loop
 * serves others. Main loop only. */
#ifndef LISTENERS_SLICES_H
#define LISTENERS_SLICES_H

#include "loop/loop.h"
#include "net/http.h"

enum { SLICE_BYTES = 64 * 1024 }; /* what a slice aims at; its last item may lead beyond */

/* Part of what is being answered. The first three are set by the asker, the rest is zero. */
struct slices {
    /* Adds one slice to `out`; false: that was the last. */
    bool (*write)(struct slices *slices);
    /* Frees what this is part of; the exchange has its answer, or is ended next. */
    void (*free)(struct slices *slices);
    struct http_exchange *exchange;
    struct buf out;
    /* From here on slices.c's. */
    struct job job;
    struct loop *main;
    bool waits; /* for the peer */
    bool is_last;
};

/* Answers 200 with JSON (takes both). One slice is answered whole, so that a want of memory can
 * still be told; more are streamed, and held up while the peer is slow. */
void slices_answer(struct slices *slices, struct loop *main);

#endif
