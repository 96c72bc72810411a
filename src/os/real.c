/* real.c - the real world: clocks, random, tasks and timers over libuv.
 *
 * Every task is a thread with its own libuv loop, also those that only work through a queue: so all
 * of them can have timers, and waking one is the same call everywhere (send_wake, which folds
 * repeated wakes into one write). Invariant: a task's loop is touched only by its own thread. */
#include "base/mem.h"
#include "os/real_priv.h"
#include <errno.h>
#include <malloc.h>
#include <openssl/rand.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static _Thread_local const struct os_task *current;

enum err real_error(struct why *why, int uv_code, const char *what, const char *name)
{
    enum err err = err_from_errno(-uv_code);
    if (uv_code <= UV_EAI_ADDRFAMILY && uv_code >= UV_EAI_SOCKTYPE) err = ERR_CONNECT;
    return why_set(why, err, "%s %s: %s", what, name, uv_strerror(uv_code));
}

/* ---- clocks and random ---- */

static int64_t clock_ns(clockid_t id)
{
    struct timespec t;
    int failed = clock_gettime(id, &t);
    MUST(!failed);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t real_wall_ns(struct os *os)
{
    (void)os;
    return clock_ns(CLOCK_REALTIME);
}

static int64_t real_mono_ns(struct os *os)
{
    (void)os;
    return clock_ns(CLOCK_MONOTONIC);
}

static void real_random(struct os *os, void *bytes, size_t size)
{
    (void)os;
    MUST(size <= INT32_MAX);
    MUST(RAND_bytes(bytes, (int)size) == 1); /* without randomness nothing secure can go on */
}

/* After a burst (thousands of logins at once) the allocator keeps what it was for: pages without a
 * byte in use. Free bytes count also when their pages were given back, so what was free after the
 * last time is what more is measured against. */
static void real_memory_trim(struct os *os)
{
    static _Atomic size_t left; /* free, after the last time */
    enum { WORTH_BYTES = 128 * 1024 };
    struct mallinfo2 now = mallinfo2();
    (void)os;
    if (now.fordblks < atomic_load(&left)) atomic_store(&left, now.fordblks);
    if (now.fordblks < atomic_load(&left) + WORTH_BYTES) return;
    (void)malloc_trim(0);
    atomic_store(&left, mallinfo2().fordblks);
}

static unsigned real_processor_count(struct os *os)
{
    (void)os;
    return uv_available_parallelism();
}

/* ---- tasks ---- */

/* Wakes fold: of many before the task runs one counts. Not uv_async_send: its receiver spins until
 * the sender has come out of the call, for milliseconds when the sender is one of lower priority
 * that lost its core meanwhile (libuv 1.44, src/unix/async.c). Any task, and signal handlers. */
static void send_wake(struct os_task *task)
{
    static const uint64_t one = 1;
    if (atomic_exchange(&task->is_waking, true)) return;
    ssize_t sent = write(task->wake_fd, &one, sizeof one);
    MUST(sent == sizeof one); /* it holds one at most */
}

static void on_wake(uv_poll_t *wake, int status, int events)
{
    struct os_task *task = wake->data;
    uint64_t count;
    (void)events;
    MUST(task->magic == REAL_TASK_MAGIC);
    if (status < 0 || read(task->wake_fd, &count, sizeof count) < 0) return;
    (void)atomic_exchange(&task->is_waking, false); /* before the run: from here on a wake writes */
    /* Read before the run: what was posted before task_stop must still be seen by a run, and a stop
     * that comes during this one brings its own wake. */
    bool stop = atomic_load(&task->stopping);
    task->run(task->arg);
    if (!stop) return;
    /* What the last run asked for itself is done, too. */
    while (atomic_exchange(&task->is_waking, false)) task->run(task->arg);
    uv_stop(&task->loop);
}

enum { NICE_FIRST = -10, NICE_NORMAL = 0, NICE_LOW = 10 };

/* On Linux a nice value belongs to the thread, and threads inherit it. Failure only costs
 * precedence: to come before others needs a privilege. */
static void set_nice(int nice)
{
    (void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), nice);
}

/* Closes what is still open (the wake handle), so that the loop can be closed. */
static void finish_loop(struct os_task *task)
{
    uv_close((uv_handle_t *)&task->wake, NULL);
    uv_run(&task->loop, UV_RUN_DEFAULT);
    int busy = uv_loop_close(&task->loop);
    MUST(busy == 0); /* a timer or stream was left open */
    close(task->wake_fd);
}

static void thread_body(void *arg)
{
    struct os_task *task = arg;
    current = task;
    (void)pthread_setname_np(pthread_self(), task->name);
    set_nice(task->flags & OS_TASK_LOW ? NICE_LOW : NICE_NORMAL);
    uv_run(&task->loop, UV_RUN_DEFAULT);
    finish_loop(task);
    (void)sem_post(&task->ended);
}

static struct os_task *task_new(struct os *os, const char *name, unsigned flags,
                                void (*run)(void *arg), void *arg)
{
    struct os_task *task = mem_alloc_zero(1, sizeof *task);
    if (!task) return NULL;
    task->magic = REAL_TASK_MAGIC;
    task->os = os;
    task->flags = flags;
    task->run = run;
    task->arg = arg;
    (void)str_copy(task->name, sizeof task->name, str_of(name));
    if (uv_loop_init(&task->loop)) {
        mem_free(task);
        return NULL;
    }
    task->wake.data = task;
    task->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (task->wake_fd < 0) {
        uv_loop_close(&task->loop);
        mem_free(task);
        return NULL;
    }
    if (uv_poll_init(&task->loop, &task->wake, task->wake_fd)) { /* no watch left in the system */
        (void)close(task->wake_fd);
        uv_loop_close(&task->loop);
        mem_free(task);
        return NULL;
    }
    int failed = uv_poll_start(&task->wake, UV_READABLE, on_wake);
    MUST(!failed);
    return task;
}

/* Sanitizers give each variable a place of its own on the stack, with red zones or shadow copies
 * around it: what fits into half a MiB does not fit there with them. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { STACK_BYTES = 4 * 1024 * 1024 };
#else
enum { STACK_BYTES = 512 * 1024 };
#endif

static enum err real_task_start(struct os *os, const char *name, unsigned flags,
                                void (*run)(void *arg), void *arg, struct os_task **out,
                                struct why *why)
{
    struct os_task *task = task_new(os, name, flags, run, arg);
    if (!task)
        return why_set(why, ERR_NO_MEMORY, "task %s: out of memory or file descriptors", name);
    task->has_thread = true;
    (void)sem_init(&task->ended, 0, 0);
    send_wake(task);
    *out = task; /* before the thread runs: it may use it at once */
    uv_thread_options_t options = {.flags = UV_THREAD_HAS_STACK_SIZE, .stack_size = STACK_BYTES};
    int failed = uv_thread_create_ex(&task->thread, &options, thread_body, task);
    if (!failed) return ERR_OK;
    finish_loop(task);
    mem_free(task);
    *out = NULL;
    return real_error(why, failed, "task", name);
}

static void real_task_wake(struct os_task *task)
{
    MUST(task->magic == REAL_TASK_MAGIC);
    send_wake(task);
}

/* Asked once: when the thread has ended, what wakes it is gone. */
static void ask_to_stop(struct os_task *task)
{
    MUST(task->magic == REAL_TASK_MAGIC && task->has_thread && current != task);
    if (!atomic_exchange(&task->stopping, true)) send_wake(task);
}

static void real_task_stop(struct os_task *task)
{
    ask_to_stop(task);
    uv_thread_join(&task->thread);
    (void)sem_destroy(&task->ended);
    task->magic = 0;
    mem_free(task);
}

static bool real_task_stop_within(struct os_task *task, int64_t wait_ns)
{
    struct timespec until;
    ask_to_stop(task);
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t ns = until.tv_nsec + (wait_ns > 0 ? wait_ns : 0);
    until.tv_sec += (time_t)(ns / 1000000000);
    until.tv_nsec = (long)(ns % 1000000000);
    int failed;
    do failed = sem_clockwait(&task->ended, CLOCK_MONOTONIC, &until);
    while (failed && errno == EINTR);
    if (!failed) real_task_stop(task);
    return !failed;
}

static _Noreturn void real_task_park(void)
{
    for (;;) (void)pause();
}

static bool real_task_is_current(const struct os_task *task)
{
    return current == task;
}

static void before_wait(uv_prepare_t *handle)
{
    struct os_task *task = handle->data;
    MUST(task->magic == REAL_TASK_MAGIC && task->turn);
    task->turn(task->turn_arg);
}

static void real_task_on_turn(struct os_task *task, void (*turn)(void *arg), void *arg)
{
    MUST(task->magic == REAL_TASK_MAGIC && current == task && !turn != !task->turn);
    task->turn = turn;
    task->turn_arg = arg;
    if (!turn) {
        uv_close((uv_handle_t *)&task->before_wait, NULL);
        return;
    }
    task->before_wait.data = task;
    int failed = uv_prepare_init(&task->loop, &task->before_wait);
    if (!failed) failed = uv_prepare_start(&task->before_wait, before_wait);
    MUST(!failed);
}

/* ---- timers ---- */

/* libuv's timers count milliseconds, and what waits for the network is content with that. A delay
 * with a finer part asks for more: then the kernel's own timer is used, through a descriptor that
 * is made with the first such delay. */
struct os_timer {
    uv_timer_t handle;
    uv_poll_t fine;
    int fine_fd;      /* -1 = not made yet */
    unsigned handles; /* still open, while closing */
    void (*fire)(void *arg);
    void *arg;
};

static void on_timer(uv_timer_t *handle)
{
    struct os_timer *timer = handle->data;
    timer->fire(timer->arg);
}

static void on_fine_timer(uv_poll_t *handle, int status, int events)
{
    struct os_timer *timer = handle->data;
    uint64_t expirations;
    (void)events;
    if (status < 0 || read(timer->fine_fd, &expirations, sizeof expirations) < 0)
        return; /* set anew meanwhile */
    timer->fire(timer->arg);
}

static enum err real_timer_make(struct os_task *task, void (*fire)(void *arg), void *arg,
                                struct os_timer **out)
{
    MUST(task->magic == REAL_TASK_MAGIC && fire && (current == task || !task->has_thread));
    struct os_timer *timer = mem_alloc_zero(1, sizeof *timer);
    if (!timer) return ERR_NO_MEMORY;
    timer->handle.data = timer->fine.data = timer;
    timer->fine_fd = -1;
    timer->fire = fire;
    timer->arg = arg;
    int failed = uv_timer_init(&task->loop, &timer->handle);
    MUST(!failed);
    *out = timer;
    return ERR_OK;
}

/* False when there is no descriptor left: the coarse timer will do. */
static bool make_fine(struct os_timer *timer)
{
    if (timer->fine_fd >= 0) return true;
    timer->fine_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (timer->fine_fd < 0) return false;
    if (uv_poll_init(timer->handle.loop, &timer->fine, timer->fine_fd) == 0 &&
        uv_poll_start(&timer->fine, UV_READABLE, on_fine_timer) == 0)
        return true;
    (void)close(timer->fine_fd);
    timer->fine_fd = -1;
    return false;
}

static bool set_fine(struct os_timer *timer, int64_t delay_ns)
{
    struct itimerspec at = {
        .it_value = {.tv_sec = delay_ns / 1000000000, .tv_nsec = delay_ns % 1000000000}};
    return timerfd_settime(timer->fine_fd, 0, &at, NULL) == 0;
}

static void real_timer_set(struct os_timer *timer, int64_t delay_ns)
{
    uv_timer_stop(&timer->handle);
    bool is_fine = delay_ns > 0 && delay_ns % 1000000 != 0;
    if (is_fine && make_fine(timer) && set_fine(timer, delay_ns)) return;
    if (timer->fine_fd >= 0) (void)set_fine(timer, 0); /* stops it */
    if (delay_ns < 0) return;
    /* The loop's idea of now is from the start of its turn; rounding up never fires early. */
    uv_update_time(timer->handle.loop);
    uv_timer_start(&timer->handle, on_timer, (uint64_t)((delay_ns + 999999) / 1000000), 0);
}

static void timer_closed(uv_handle_t *handle)
{
    struct os_timer *timer = handle->data;
    MUST(timer->handles > 0);
    if (--timer->handles) return;
    if (timer->fine_fd >= 0) (void)close(timer->fine_fd);
    mem_free(timer);
}

static void real_timer_close(struct os_timer *timer)
{
    MUST(timer->handles == 0); /* closed once */
    timer->handles = timer->fine_fd >= 0 ? 2 : 1;
    if (timer->fine_fd >= 0) uv_close((uv_handle_t *)&timer->fine, timer_closed);
    uv_close((uv_handle_t *)&timer->handle, timer_closed);
}

/* ---- watches ---- */

struct os_watch {
    uv_poll_t handle;
    void (*ready)(void *arg);
    void *arg;
};

static void on_ready(uv_poll_t *handle, int status, int events)
{
    struct os_watch *watch = handle->data;
    (void)events;
    if (status == 0) watch->ready(watch->arg);
}

static void watch_closed(uv_handle_t *handle)
{
    mem_free(handle->data);
}

static enum err real_watch_make(struct os_task *task, int descriptor, void (*ready)(void *arg),
                                void *arg, struct os_watch **out, struct why *why)
{
    MUST(current == task || !task->has_thread);
    struct os_watch *watch = mem_alloc_zero(1, sizeof *watch);
    if (!watch) return why_set(why, ERR_NO_MEMORY, "no memory to watch a descriptor");
    watch->handle.data = watch;
    watch->ready = ready;
    watch->arg = arg;
    int failed = uv_poll_init(&task->loop, &watch->handle, descriptor);
    if (failed) {
        mem_free(watch);
        return real_error(why, failed, "watch", "a library's descriptor");
    }
    (void)uv_poll_start(&watch->handle, UV_READABLE, on_ready); /* fails on closed handles alone */
    *out = watch;
    return ERR_OK;
}

static void real_watch_close(struct os_watch *watch)
{
    uv_close((uv_handle_t *)&watch->handle, watch_closed);
}

/* ---- the main task ---- */

struct main_task {
    const struct os_main *main;
    uv_signal_t signals[3];
};

static void on_signal(uv_signal_t *handle, int signum)
{
    const struct os_main *main = handle->data;
    main->on_signal(main->arg, signum);
}

enum err os_real_main(struct os *os, const struct os_main *main, struct why *why)
{
    static const int watched[3] = {SIGINT, SIGTERM, SIGHUP};
    struct main_task state = {.main = main};
    signal(SIGPIPE, SIG_IGN);
    /* Equipment does not wait: the main task, which asks it, comes before all others. */
    set_nice(NICE_FIRST);
    /* What threads have freed stays in their arenas: as many as cores are enough, and not eight
     * times as many. */
    unsigned cores = uv_available_parallelism();
    (void)mallopt(M_ARENA_MAX, cores > 2 ? (int)cores : 2);
    struct os_task *task = task_new(os, "main", 0, main->wake, main->arg);
    if (!task) return why_set(why, ERR_NO_MEMORY, "out of memory or file descriptors");
    current = task;
    for (size_t i = 0; i < 3; i++) {
        state.signals[i].data = (void *)(uintptr_t)main;
        int failed = uv_signal_init(&task->loop, &state.signals[i]);
        if (!failed) failed = uv_signal_start(&state.signals[i], on_signal, watched[i]);
        MUST(!failed);
    }
    main->start(main->arg, task);
    if (!atomic_load(&task->stopping)) uv_run(&task->loop, UV_RUN_DEFAULT);
    for (size_t i = 0; i < 3; i++) uv_close((uv_handle_t *)&state.signals[i], NULL);
    finish_loop(task);
    current = NULL;
    mem_free(task);
    return ERR_OK;
}

void os_real_main_stop(struct os_task *task)
{
    MUST(task->magic == REAL_TASK_MAGIC && !task->has_thread);
    atomic_store(&task->stopping, true);
    send_wake(task);
}

static const struct os_ops real_ops = {
    .name = "real",
    .wall_ns = real_wall_ns,
    .mono_ns = real_mono_ns,
    .random = real_random,
    .file_open = real_file_open,
    .file_close = real_file_close,
    .file_read = real_file_read,
    .file_write = real_file_write,
    .file_sync = real_file_sync,
    .file_is_private = real_file_is_private,
    .file_size = real_file_size,
    .file_truncate = real_file_truncate,
    .file_lock = real_file_lock,
    .path_info = real_path_info,
    .path_rename = real_path_rename,
    .path_remove = real_path_remove,
    .path_make = real_path_make,
    .path_sync = real_path_sync,
    .path_list = real_path_list,
    .disk_free = real_disk_free,
    .disk_usage = real_disk_usage,
    .task_start = real_task_start,
    .task_wake = real_task_wake,
    .task_stop = real_task_stop,
    .task_stop_within = real_task_stop_within,
    .task_park = real_task_park,
    .task_is_current = real_task_is_current,
    .task_on_turn = real_task_on_turn,
    .processor_count = real_processor_count,
    .memory_trim = real_memory_trim,
    .timer_make = real_timer_make,
    .timer_set = real_timer_set,
    .timer_close = real_timer_close,
    .stream_connect = real_stream_connect,
    .listen = real_listen,
    .listener_close = real_listener_close,
    .stream_leave = real_stream_leave,
    .stream_join = real_stream_join,
    .socket_drop = real_socket_drop,
    .library_open = real_library_open,
    .watch_make = real_watch_make,
    .watch_close = real_watch_close,
};

struct os *os_real_new(void)
{
    struct os *os = mem_alloc_zero(1, sizeof *os);
    if (os) os->ops = &real_ops;
    return os;
}

void os_real_free(struct os *os)
{
    mem_free(os);
}
