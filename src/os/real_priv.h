/* real_priv.h - what the files of the real world share: the task, and the calls of os.h by part.
 * Contracts of the calls are os.h's. */
#ifndef OS_REAL_PRIV_H
#define OS_REAL_PRIV_H

#include "os/os.h"
#include <semaphore.h>
#include <uv.h>

enum { REAL_TASK_MAGIC = 0x7461736b };

struct os_task {
    unsigned magic; /* REAL_TASK_MAGIC while it lives */
    struct os *os;
    uv_loop_t loop; /* touched by the task's own thread only */
    uv_poll_t wake;
    int wake_fd;            /* an eventfd */
    _Atomic bool is_waking; /* written to, and not read yet: more wakes need not write */
    uv_thread_t thread;
    sem_t ended; /* of its thread: posted when it is about to */
    unsigned flags;
    bool has_thread;       /* false: the main task */
    _Atomic bool stopping; /* the run after the next wake is the last */
    void (*run)(void *arg);
    void *arg;
    void (*turn)(void *arg); /* NULL: nobody wants to know */
    void *turn_arg;
    uv_prepare_t before_wait;
    char name[16];
    uint8_t read_bytes[65536]; /* every stream of the task reads into it: none holds a buffer while
                                  idle */
};

/* The error for a (negative) libuv code, with its text. */
enum err real_error(struct why *why, int uv_code, const char *what, const char *name);

/* real_file.c */
enum err real_file_open(struct os *, const char *, unsigned, struct os_file **, struct why *);
void real_file_close(struct os_file *);
enum err real_file_read(struct os_file *, uint64_t, void *, size_t, size_t *, struct why *);
enum err real_file_write(struct os_file *, uint64_t, const void *, size_t, struct why *);
enum err real_file_sync(struct os_file *, struct why *);
bool real_file_is_private(struct os_file *);
enum err real_file_size(struct os_file *, uint64_t *, struct why *);
enum err real_file_truncate(struct os_file *, uint64_t, struct why *);
enum err real_file_lock(struct os_file *, struct why *);
enum err real_path_info(struct os *, const char *, struct os_path_info *, struct why *);
enum err real_path_rename(struct os *, const char *, const char *, struct why *);
enum err real_path_remove(struct os *, const char *, struct why *);
enum err real_path_make(struct os *, const char *, struct why *);
enum err real_path_sync(struct os *, const char *, struct why *);
enum err real_path_list(struct os *, const char *, enum err (*)(void *, const char *), void *,
                        struct why *);
enum err real_disk_free(struct os *, const char *, uint64_t *, struct why *);
enum err real_disk_usage(struct os *, const char *, struct os_disk_usage *, struct why *);
enum err real_library_open(struct os *, const char *, const char *, const char *, void **,
                           struct why *);

/* real_stream.c */
enum err real_stream_connect(struct os_task *, const struct os_address *,
                             const struct os_stream_events *, void *, struct os_stream **,
                             struct why *);
enum err real_listen(struct os_task *, const struct os_address *,
                     void (*)(void *, struct os_stream *), void *, struct os_listener **,
                     struct os_address *, struct why *);
void real_listener_close(struct os_listener *);
enum err real_stream_leave(struct os_stream *, struct os_socket **);
enum err real_stream_join(struct os_task *, struct os_socket *, const struct os_stream_events *,
                          void *, struct os_stream **);
void real_socket_drop(struct os *, struct os_socket *);

/* real_serial.c: stream_connect for serial lines. */
enum err real_serial_open(struct os_task *, const struct os_address *,
                          const struct os_stream_events *, void *, struct os_stream **,
                          struct why *);

#endif
