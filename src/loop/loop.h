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

struct job {
    struct job *next;             /* the queue's */
    void (*run)(struct job *job); /* on the loop's task; the job is free for reuse when it begins */
};

struct loop {
    struct os *os;
    struct os_task *task;
    _Atomic(struct job *) incoming; /* newest first; taken whole by the task */
    const char *name;
    void (*after_jobs)(
        void *arg); /* optional: after each round of jobs, e.g. to flush what they gathered */
    void *after_arg;
};

/* Starts a task with a queue. The struct must stay in place until loop_stop. */
enum err loop_start(struct loop *loop, struct os *os, const char *name, unsigned task_flags,
                    struct why *why);
/* Makes a loop of an existing task (the main one): the task's wake must call loop_run_jobs. */
void loop_adopt(struct loop *loop, struct os *os, const char *name, struct os_task *task);
/* Runs what is queued. */
void loop_run_jobs(struct loop *loop);
/* Runs what was posted, then ends the task. Nobody may post any more. */
void loop_stop(struct loop *loop);
/* Any task. */
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
    struct job job; /* first */
    struct loop *home;
    void (*done)(struct completion *completion);
    enum err err;
    struct why why;
    _Atomic bool
        cancelled; /* set by the starter; the worker may look at it and finish early (CANCELLED) */
};

void completion_init(struct completion *completion, struct loop *home,
                     void (*done)(struct completion *completion));
/* `why` may be NULL; copied. */
void completion_finish(struct completion *completion, enum err err, const struct why *why);

/* ---- workers ---- */

/* A few blocking, low-priority tasks that share one queue. `name` is the tasks', a literal. */
struct pool;
enum err pool_start(struct pool **pool, struct os *os, const char *name, unsigned worker_count,
                    struct why *why);
void pool_post(struct pool *pool, struct job *job);
void pool_stop(struct pool *pool); /* runs what was posted first */

/* ---- a value shared by snapshots ---- */

/* One slot that holds a reference-counted immutable object; readers on any task take a share of the
 * current one, a writer replaces it. */
struct cell {
    struct cell_lock *lock;
    void *object;
    void *(*share)(void *object);
    void (*release)(void *object);
};
enum err cell_init(struct cell *cell, void *first /* takes */, void *(*share)(void *),
                   void (*release)(void *));
void *cell_get(struct cell *cell);              /* gives a share */
void cell_set(struct cell *cell, void *object); /* takes; releases the old one */
void cell_free(struct cell *cell);

#endif
