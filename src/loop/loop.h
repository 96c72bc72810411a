/* loop.h - queue-driven tasks: how one part of the program asks another to do something.
 *
 * A `struct loop` is an os task with a queue of jobs. Whoever wants work done on the owner's task
 * posts a job; jobs of one poster run in the order posted. There is no other way to reach across
 * tasks: no shared locks, no waiting. A job is part of a larger object of the poster's (intrusive),
 * so posting never allocates and never fails. */
#ifndef LOOP_LOOP_H
#define LOOP_LOOP_H

#include "base/mem.h"
#include "os/os.h"
#include <stdatomic.h>
#include <stdbool.h>

/* Belongs to the poster, but from loop_post until `run` begins to the queue: so it is in one queue
 * at a time, and stays in place meanwhile. */
struct job {
    struct job *next;             /* the queue's; NULL when it runs */
    void (*run)(struct job *job); /* on the loop's task; the job is free for reuse when it begins */
};

struct loop {
    struct os *os;                  /* borrowed */
    struct os_task *task;           /* NULL: stopped */
    _Atomic(struct job *) incoming; /* newest first; taken whole by the task */
    const char *name;               /* borrowed */
    void (*after_jobs)(
        void *arg); /* optional: after each round of jobs, e.g. to flush what they gathered */
    void *after_arg;
};

/* Starts a task with a queue. The struct must stay in place until loop_stop. Errors: as task_start;
 * the loop is stopped then. */
enum err loop_start(struct loop *loop, struct os *os, const char *name, unsigned task_flags,
                    struct why *why);
/* Makes a loop of an existing task (the main one): the task's wake must call loop_run_jobs. */
void loop_adopt(struct loop *loop, struct os *os, const char *name, struct os_task *task);
/* Runs what is queued, in the order posted, then after_jobs if there was any; what is posted
 * meanwhile comes with the next call. On the loop's task. */
void loop_run_jobs(struct loop *loop);
/* Runs what was posted, then ends the task. Nobody may post any more. By the task that started it,
 * which waits; one that is stopped is left alone. */
void loop_stop(struct loop *loop);
/* The same, but waits for so long at most; false: it has not ended. It may be asked again; else the
 * loop and what its jobs use stay, for it is still in one of them. */
bool loop_stop_within(struct loop *loop, int64_t wait_ns);
/* Takes the job until it runs. Any task; never blocks, never fails. */
void loop_post(struct loop *loop, struct job *job);
static inline bool loop_is_current(const struct loop *loop)
{
    return loop->os->ops->task_is_current(loop->task);
}
static inline int64_t loop_mono_ns(const struct loop *loop)
{
    return loop->os->ops->mono_ns(loop->os);
}
static inline int64_t loop_wall_ns(const struct loop *loop)
{
    return loop->os->ops->wall_ns(loop->os);
}

/* ---- one asynchronous operation ---- */

/* A request whose answer comes later, perhaps from another task. The starter embeds it, sets `home`
 * and `done` and hands it over; whoever finishes calls completion_finish exactly once, from any
 * task; `done` then runs on `home`. There is no time-out in here: an operation that can hang has
 * its own timer and finishes with TIMEOUT itself, so that `done` always means that nobody holds the
 * completion any more. */
struct completion {
    struct job job;    /* first */
    bool is_finished;  /* and `done` has not begun: completion_finish comes once */
    struct loop *home; /* where `done` runs; not NULL, as the next */
    void (*done)(struct completion *completion);
    enum err err;   /* how it ended, from completion_finish on; OK: `why` says nothing */
    struct why why; /* the reason, for a person */
    _Atomic bool
        cancelled; /* set by the starter; the worker may look at it and finish early (CANCELLED) */
};

/* Before each use; `done` may free or reuse the completion. */
void completion_init(struct completion *completion, struct loop *home,
                     void (*done)(struct completion *completion));
/* Ends it: once for each completion_init. `why` may be NULL; copied. Any task; the finisher must
 * not touch the completion, nor what it lies in, after the call. */
void completion_finish(struct completion *completion, enum err err, const struct why *why);

/* ---- workers ---- */

/* A few blocking, low-priority tasks that share one queue. `name` is the tasks', a literal. */
struct pool;
/* Gives. worker_count > 0. Errors: NO_MEMORY, those of task_start; no task is left then. */
enum err pool_start(struct pool **pool, struct os *os, const char *name, unsigned worker_count,
                    struct why *why);
/* Takes the job until it runs, on one of the workers, which may block. Jobs are begun in the order
 * posted; several run at a time. Any task; once pool_stop has begun only jobs of the pool. */
void pool_post(struct pool *pool, struct job *job);
/* Runs what was posted first, and what that posts; waits for it, then frees. NULL allowed. By the
 * task that started it. */
void pool_stop(struct pool *pool);

/* ---- a value shared by snapshots ---- */

/* One slot that holds a reference-counted immutable object; readers on any task take a share of the
 * current one, a writer replaces it. */
struct cell {
    struct cell_lock *lock;        /* NULL: freed, or never made */
    void *object;                  /* the cell's own share */
    void *(*share)(void *object);  /* called under the lock: it only counts */
    void (*release)(void *object); /* called without it */
};
/* Errors: NO_MEMORY, and `first` is still the caller's. */
enum err cell_init(struct cell *cell, void *first /* takes */, void *(*share)(void *),
                   void (*release)(void *));
void *cell_get(struct cell *cell);              /* gives a share */
void cell_set(struct cell *cell, void *object); /* takes; releases the old one */
void cell_free(struct cell *cell); /* nobody gets or sets any more; one never made is left alone */

#endif
