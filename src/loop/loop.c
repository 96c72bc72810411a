/* loop.c - see loop.h.
 *
 * The queue is a stack that many push (compare and swap) and one takes whole and turns round: two
 * instructions of contention per job, no lock. Only the push onto an empty queue wakes the task:
 * while the task has not yet taken the jobs, later posters know that it will come.
 *
 * A pool has many takers, so its queue is an ordinary one under a lock. A worker says that it is
 * idle before its last look at the queue, and a poster wakes one that is idle: so a job that comes
 * between the two is seen by one of them.
 *
 * This file is the only one above os/ with a mutex. Owns nothing but pools and the locks of cells.
 * Invariants: a job is in one queue, once; pool->last is the end of pool->first, or both are NULL.
 */
#include "loop/loop.h"
#include <pthread.h>

static void run(void *arg)
{
    loop_run_jobs(arg);
}

static struct job *reverse(struct job *newest)
{
    struct job *oldest = NULL;
    while (newest) {
        struct job *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

void loop_run_jobs(struct loop *loop)
{
    struct job *job =
        reverse(atomic_exchange_explicit(&loop->incoming, NULL, memory_order_acquire));
    if (!job) return;
    while (job) {
        struct job *next = job->next;
        job->next = NULL;
        MUST(job->run);
        job->run(job);
        job = next;
    }
    if (loop->after_jobs) loop->after_jobs(loop->after_arg);
}

enum err loop_start(struct loop *loop, struct os *os, const char *name, unsigned task_flags,
                    struct why *why)
{
    MUST(os && name);
    *loop = (struct loop){.os = os, .name = name};
    return os->ops->task_start(os, name, task_flags, run, loop, &loop->task, why);
}

void loop_adopt(struct loop *loop, struct os *os, const char *name, struct os_task *task)
{
    MUST(os && name && task);
    *loop = (struct loop){.os = os, .name = name, .task = task};
}

void loop_stop(struct loop *loop)
{
    if (!loop->task) return;
    loop->os->ops->task_stop(loop->task);
    loop->task = NULL;
    MUST(atomic_load(&loop->incoming) == NULL);
}

bool loop_stop_within(struct loop *loop, int64_t wait_ns)
{
    if (!loop->task) return true;
    if (!loop->os->ops->task_stop_within(loop->task, wait_ns)) return false;
    loop->task = NULL;
    MUST(atomic_load(&loop->incoming) == NULL);
    return true;
}

void loop_post(struct loop *loop, struct job *job)
{
    MUST(job->run);
    struct job *head = atomic_load_explicit(&loop->incoming, memory_order_relaxed);
    do job->next = head;
    while (!atomic_compare_exchange_weak_explicit(&loop->incoming, &head, job, memory_order_release,
                                                  memory_order_relaxed));
    if (!head) loop->os->ops->task_wake(loop->task);
}

/* ---- completion ---- */

static void run_done(struct job *job)
{
    struct completion *c = (struct completion *)job;
    MUST(c->is_finished && c->done);
    c->is_finished = false; /* `done` may begin it anew, or free it */
    c->done(c);
}

void completion_init(struct completion *c, struct loop *home, void (*done)(struct completion *))
{
    MUST(home && done);
    *c = (struct completion){.home = home, .done = done, .why = WHY_NONE};
    c->job.run = run_done;
}

void completion_finish(struct completion *c, enum err err, const struct why *why)
{
    MUST(c->home && c->done && c->job.run == run_done && !c->is_finished);
    c->is_finished = true;
    c->err = err;
    if (why) c->why = *why;
    loop_post(c->home, &c->job);
}

/* ---- workers ---- */

struct worker {
    struct os_task *task;
    struct pool *pool;
    _Atomic bool idle;
};

struct pool {
    struct os *os;
    pthread_mutex_t lock; /* guards first, last */
    struct job *first, *last;
    bool stopping; /* some tasks are gone: only the pool's own jobs post, and their task goes on */
    unsigned worker_count;
    struct worker workers[];
};

static struct job *pool_take(struct pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    struct job *job = pool->first;
    if (job) pool->first = job->next;
    if (!pool->first) pool->last = NULL;
    MUST(!job || job->run);
    pthread_mutex_unlock(&pool->lock);
    return job;
}

static void work(void *arg)
{
    struct worker *worker = arg;
    atomic_store(&worker->idle, false);
    for (;;) {
        struct job *job = pool_take(worker->pool);
        if (!job) {
            atomic_store(&worker->idle, true);
            job = pool_take(worker->pool); /* one that came between the two steps */
            if (!job) return;
            atomic_store(&worker->idle, false);
        }
        job->next = NULL;
        job->run(job);
    }
}

enum err pool_start(struct pool **out, struct os *os, const char *name, unsigned worker_count,
                    struct why *why)
{
    MUST(worker_count > 0);
    struct pool *pool = mem_alloc_zero(1, sizeof *pool + worker_count * sizeof pool->workers[0]);
    if (!pool) return ERR_NO_MEMORY;
    pool->os = os;
    pthread_mutex_init(&pool->lock, NULL);
    for (unsigned i = 0; i < worker_count; i++) {
        struct worker *worker = &pool->workers[i];
        worker->pool = pool;
        enum err err = os->ops->task_start(os, name, OS_TASK_BLOCKING | OS_TASK_LOW, work, worker,
                                           &worker->task, why);
        if (err) {
            pool_stop(pool);
            return err;
        }
        pool->worker_count++;
    }
    *out = pool;
    return ERR_OK;
}

void pool_post(struct pool *pool, struct job *job)
{
    MUST(pool && job->run && pool->worker_count > 0);
    job->next = NULL;
    pthread_mutex_lock(&pool->lock);
    MUST(!pool->first == !pool->last && pool->last != job);
    if (pool->last)
        pool->last->next = job;
    else
        pool->first = job;
    pool->last = job;
    bool stopping = pool->stopping;
    pthread_mutex_unlock(&pool->lock);
    if (stopping) return;
    /* Wake an idle worker; when all seem busy the first one, which may be about to sleep after its
     * last look (a needless wake costs little). */
    unsigned chosen = 0;
    for (unsigned i = pool->worker_count; i-- > 0;)
        if (atomic_load(&pool->workers[i].idle)) chosen = i;
    pool->os->ops->task_wake(pool->workers[chosen].task);
}

void pool_stop(struct pool *pool)
{
    if (!pool) return;
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->worker_count; i++)
        pool->os->ops->task_stop(pool->workers[i].task);
    MUST(pool->first == NULL && pool->last == NULL);
    pthread_mutex_destroy(&pool->lock);
    mem_free(pool);
}

/* ---- cells ---- */

struct cell_lock {
    pthread_mutex_t mutex;
};

enum err cell_init(struct cell *cell, void *first, void *(*share)(void *), void (*release)(void *))
{
    MUST(share && release);
    *cell = (struct cell){.object = first, .share = share, .release = release};
    cell->lock = mem_alloc(sizeof *cell->lock);
    if (!cell->lock) return ERR_NO_MEMORY;
    pthread_mutex_init(&cell->lock->mutex, NULL);
    return ERR_OK;
}

void *cell_get(struct cell *cell)
{
    MUST(cell->lock);
    pthread_mutex_lock(&cell->lock->mutex);
    void *object = cell->share(cell->object);
    pthread_mutex_unlock(&cell->lock->mutex);
    return object;
}

void cell_set(struct cell *cell, void *object)
{
    MUST(cell->lock);
    pthread_mutex_lock(&cell->lock->mutex);
    void *old = cell->object;
    cell->object = object;
    pthread_mutex_unlock(&cell->lock->mutex);
    cell->release(old);
}

void cell_free(struct cell *cell)
{
    if (!cell->lock) return;
    cell->release(cell->object);
    pthread_mutex_destroy(&cell->lock->mutex);
    mem_free(cell->lock);
    cell->lock = NULL;
}
