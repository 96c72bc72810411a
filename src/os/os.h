/* os.h - the world behind one interface: clock, random, files, tasks, timers, byte streams.
 *
 * Everything that is not computation goes through `struct os`. There are two worlds: the real one
 * (libuv, threads, real disks) and a simulated one, where all tasks of all nodes run on one thread
 * in an order chosen by a seed, over virtual time, network and disk. Only os/ and loop/ include
 * uv.h, make threads, take mutexes or read clocks; the build checks it.
 *
 * Tasks. A task is a place where code runs, one call at a time: `run` is called after each wake
 * (several wakes may become one call); timers and stream events of the task are called in between.
 * Real tasks are threads, but nothing above may depend on that. A task may block on files only if
 * it was made with OS_TASK_BLOCKING.
 *
 * Ownership: objects given out are closed by their owner with the call named; events never come
 * after the close call returned, unless said otherwise. Errors: `enum err`, with the operating
 * system's text in `why`. */
#ifndef OS_OS_H
#define OS_OS_H

#include "base/err.h"
#include "base/str.h"
#include "os/address.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct os;
struct os_file;
struct os_task;
struct os_timer;
struct os_stream;
struct os_listener;
struct os_socket; /* a stream between two tasks */
struct os_watch;  /* a descriptor of somebody else's */

/* ---- files ---- */

enum os_file_flag {
    OS_FILE_WRITE = 1,     /* else read only */
    OS_FILE_CREATE = 2,    /* make it if missing (mode 0600) */
    OS_FILE_EXCLUSIVE = 4, /* with CREATE: EXISTS if it is there */
};

struct os_path_info {
    bool is_folder;
    uint64_t size_bytes;
};

struct os_disk_usage {
    uint64_t total_bytes, free_bytes;
    uint64_t available_bytes; /* what is free for programs without privileges */
};

/* ---- streams ---- */

/* What a stream tells its owner; all on the stream's task. After on_closed no other event comes,
 * and the owner still has to call close. Any of them may be NULL. Closing the stream inside an
 * event is allowed. */
struct os_stream_events {
    void (*on_open)(void *owner);                                    /* connect succeeded */
    void (*on_read)(void *owner, const uint8_t *bytes, size_t size); /* borrows during the call */
    void (*on_drained)(void *owner); /* everything written is with the kernel */
    void (*on_closed)(void *owner, enum err err,
                      const char *text); /* peer closed (CLOSED) or failure */
};

/* A byte stream: TCP, Unix socket, serial line, or TLS over one of them (net/tls.h). */
struct os_stream_ops {
    /* Queues a copy of what the kernel does not take at once. Errors: CLOSED: it is over, and
     * on_closed says so if it has not; NO_MEMORY: a part of the bytes may have gone, so nothing
     * that is written later can follow them, and the owner closes the stream. */
    enum err (*write)(struct os_stream *stream, const void *bytes, size_t size);
    size_t (*queued)(const struct os_stream *stream); /* bytes not yet with the kernel */
    /* Stops and resumes on_read: back-pressure towards the peer. */
    void (*pause)(struct os_stream *stream, bool paused);
    void (*close)(struct os_stream *
                      stream); /* frees it; what is queued is dropped: wait for on_drained before */
    /* Nothing more will be written: behind what is queued the peer reads the end of the stream, and
     * what it still sends is read as before. NULL = the stream cannot. */
    void (*shutdown)(struct os_stream *stream);
    /* "127.0.0.1:41234"; borrowed until close. */
    const char *(*peer)(const struct os_stream *stream);
};

/* The begin of every stream; used on its task only. */
struct os_stream {
    const struct os_stream_ops *ops;       /* static */
    const struct os_stream_events *events; /* static table of the owner's */
    void *owner;
};

/* Whom events go to from now on; NULL and NULL: to nobody. Both are borrowed until the close. */
static inline void os_stream_own(struct os_stream *s, const struct os_stream_events *events,
                                 void *owner)
{
    s->events = events;
    s->owner = owner;
}
static inline enum err os_stream_write(struct os_stream *s, const void *bytes, size_t size)
{
    return s->ops->write(s, bytes, size);
}
static inline size_t os_stream_queued(const struct os_stream *s)
{
    return s->ops->queued(s);
}
static inline void os_stream_pause(struct os_stream *s, bool paused)
{
    s->ops->pause(s, paused);
}
static inline const char *os_stream_peer(const struct os_stream *s)
{
    return s->ops->peer(s);
}
/* Before a close: a peer that is still writing reads all that was written to it, instead of a
 * reset. False: the stream can only be closed. */
static inline bool os_stream_shutdown(struct os_stream *s)
{
    if (s->ops->shutdown) s->ops->shutdown(s);
    return s->ops->shutdown != NULL;
}
/* Closes and forgets: `*stream` becomes NULL. NULL allowed. */
static inline void os_stream_close(struct os_stream **stream)
{
    struct os_stream *s = *stream;
    *stream = NULL;
    if (s) s->ops->close(s);
}

/* ---- tasks ---- */

enum os_task_flag {
    OS_TASK_BLOCKING = 1, /* may wait for the disk; must not own streams */
    OS_TASK_LOW = 2,      /* lower priority than the rest */
};

/* ---- the world ---- */

struct os_ops {
    const char *name;

    /* Nanoseconds since 1970 UTC; may jump. */
    int64_t (*wall_ns)(struct os *os);
    /* Nanoseconds from an arbitrary start; never goes back. */
    int64_t (*mono_ns)(struct os *os);
    /* Cryptographically strong in the real world, seeded in the simulated one. Never fails. */
    void (*random)(struct os *os, void *bytes, size_t size);

    /* Files: any BLOCKING task, and every task before the node serves. Paths are text, '/'
     * separated. What is no regular file (a folder, pipe, terminal, device) is not opened: INVALID.
     */
    enum err (*file_open)(struct os *os, const char *path, unsigned flags, struct os_file **file,
                          struct why *why);
    void (*file_close)(struct os_file *file);
    /* Reads up to `size` at `offset`; `*got` < size only at the end of the file. */
    enum err (*file_read)(struct os_file *file, uint64_t offset, void *bytes, size_t size,
                          size_t *got, struct why *why);
    /* Writes all or fails; a failure may leave a part written. */
    enum err (*file_write)(struct os_file *file, uint64_t offset, const void *bytes, size_t size,
                           struct why *why);
    /* Data (and size) durable when it returns OK. After an error the pages' fate is unknown: never
     * retried. */
    enum err (*file_sync)(struct os_file *file, struct why *why);
    /* Whether nobody but its owner may read or write it (no right of group or others). */
    bool (*file_is_private)(struct os_file *file);
    enum err (*file_size)(struct os_file *file, uint64_t *size, struct why *why);
    enum err (*file_truncate)(struct os_file *file, uint64_t size, struct why *why);
    /* Takes the exclusive lock of a whole file without waiting: BUSY when another process holds it.
     */
    enum err (*file_lock)(struct os_file *file, struct why *why);
    enum err (*path_info)(struct os *os, const char *path, struct os_path_info *info,
                          struct why *why);
    enum err (*path_rename)(struct os *os, const char *from, const char *to, struct why *why);
    enum err (*path_remove)(struct os *os, const char *path,
                            struct why *why); /* file or empty folder */
    /* A folder 0700, and the parents it needs, all durable when it returns: what is made in a
     * folder that a power loss takes away is gone with it. OK if it is there. */
    enum err (*path_make)(struct os *os, const char *path, struct why *why);
    enum err (*path_sync)(struct os *os, const char *path,
                          struct why *why); /* a folder's entries */
    /* Calls `entry` with each name in a folder, in any order, but "." and ".."; an error of its
     * ends the walk and is given. */
    enum err (*path_list)(struct os *os, const char *path,
                          enum err (*entry)(void *arg, const char *name), void *arg,
                          struct why *why);
    enum err (*disk_free)(struct os *os, const char *path, uint64_t *bytes, struct why *why);
    /* The file system that holds the path. Blocks as long as a remote one does not answer. */
    enum err (*disk_usage)(struct os *os, const char *path, struct os_disk_usage *usage,
                           struct why *why);

    /* Tasks. `name` ≤ 15 bytes. The first wake is implied. */
    enum err (*task_start)(struct os *os, const char *name, unsigned flags, void (*run)(void *arg),
                           void *arg, struct os_task **task, struct why *why);
    void (*task_wake)(struct os_task *task); /* any task */
    /* Ends a task after the call under way and all for which it was woken until then, by itself
     * too; waits for it and frees it. All its timers and streams must be closed. Called by the task
     * that started it. */
    void (*task_stop)(struct os_task *task);
    /* The same, but waits for so long at most. False: it has not ended, and whoever asks again
     * waits again. One that never comes back from a call is left as it is: it and what it uses
     * stay. */
    bool (*task_stop_within)(struct os_task *task, int64_t wait_ns);
    /* The calling task does nothing any more until the process ends: it has come back from a call
     * to a world that was taken down without it. */
    void (*task_park)(void); /* does not return */
    bool (*task_is_current)(const struct os_task *task);
    /* Calls `turn` each time the task has handled what there was to handle and is about to wait:
     * the place to send what a turn has gathered. One a task, set on it before anything else; NULL
     * takes it away, which has to happen before the task ends. */
    void (*task_on_turn)(struct os_task *task, void (*turn)(void *arg), void *arg);
    unsigned (*processor_count)(struct os *os);
    /* Has what was freed given back to the system, if that is much more than when it was last
     * asked. From time to time; takes a moment. Any task. */
    void (*memory_trim)(struct os *os);

    /* Timers: made, set and closed on their task. Fires once; `fire` may set it again. Delays in
     * whole milliseconds are kept to about 1 ms; a delay with a finer part is kept as well as the
     * kernel can, for one descriptor. */
    enum err (*timer_make)(struct os_task *task, void (*fire)(void *arg), void *arg,
                           struct os_timer **timer);
    void (*timer_set)(struct os_timer *timer, int64_t delay_ns); /* replaces; < 0 stops it */
    void (*timer_close)(struct os_timer *timer);

    /* Streams, on the calling task. connect: on_open or on_closed follows later, never inside the
     * call. */
    enum err (*stream_connect)(struct os_task *task, const struct os_address *address,
                               const struct os_stream_events *events, void *owner,
                               struct os_stream **stream, struct why *why);
    /* `on_accept` gives a stream on the same task; its owner must be set at once (os_stream_own).
     * `bound` (may be NULL) receives the address with the real port. A Unix
     * socket gets mode 0660; its file, left behind by a program that is gone, is replaced. Errors:
     * ADDRESS_IN_USE names the address. */
    enum err (*listen)(struct os_task *task, const struct os_address *address,
                       void (*on_accept)(void *owner, struct os_stream *stream), void *owner,
                       struct os_listener **listener, struct os_address *bound, struct why *why);
    void (*listener_close)(struct os_listener *listener);
    /* Moves a stream that has not been read from, as on_accept gives it, to another task: leave on
     * its own task (the stream is gone afterwards, also on failure), join on the other one, which
     * may be told of the socket in any way; or drop, anywhere. join takes the socket, also on
     * failure. Errors: NO_MEMORY, IO (no descriptors left). */
    enum err (*stream_leave)(struct os_stream *stream, struct os_socket **socket);
    enum err (*stream_join)(struct os_task *task, struct os_socket *socket,
                            const struct os_stream_events *events, void *owner,
                            struct os_stream **stream);
    void (*socket_drop)(struct os *os, struct os_socket *socket);

    /* Loads a shared object for good and gives the address of its symbol. `folder` NULL: lib/
     * beside the program. Loading the same one again costs nothing. Reads a file, the first time:
     * rare enough for any task. Errors: NOT_FOUND (no such file), IO (its text says why it does not
     * load or has no such symbol). NULL operation: this world has none. */
    enum err (*library_open)(struct os *os, const char *folder, const char *file,
                             const char *symbol, void **entry, struct why *why);

    /* For a library that does its own input and output on the calling task: `ready` is called
     * whenever there is something to read at a descriptor (an epoll's, say), until there is nothing
     * any more. The descriptor stays the library's and is closed behind the watch. NULL operation:
     * this world has none. Errors: NO_MEMORY, IO (nothing that can be waited for). */
    enum err (*watch_make)(struct os_task *task, int descriptor, void (*ready)(void *arg),
                           void *arg, struct os_watch **watch, struct why *why);
    void (*watch_close)(struct os_watch *watch);
};

struct os {
    const struct os_ops *ops;
};

/* The real world. One per process is enough; any number may be made. NULL: no memory. */
struct os *os_real_new(void);
void os_real_free(struct os *os); /* all tasks stopped before */

/* Runs `run` once on the calling thread, made into a task for that time (the program's main task),
 * and then serves its events until os_real_main_stop. Used once, by the command line. */
struct os_main {
    void (*start)(void *arg, struct os_task *task);
    void (*wake)(void *arg);                  /* as `run` of a task */
    void (*on_signal)(void *arg, int signum); /* SIGINT, SIGTERM, SIGHUP */
    void *arg;
};
enum err os_real_main(struct os *os, const struct os_main *main, struct why *why);
void os_real_main_stop(struct os_task *task);

#endif
