/* real_test.c - claims about the real world where it could keep a task waiting: what is opened as a
 * file but is none, and a serial line that is closed before it has sent everything; and watches. */
#include "loop/loop.h"
#include "os/os.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

enum { TTY_BYTES_MAX = 128 };

/* The other end and the name of a terminal. */
static int open_tty(char name[TTY_BYTES_MAX])
{
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK);
    assert_true(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    assert_int_equal(ptsname_r(master, name, TTY_BYTES_MAX), 0);
    return master;
}

static void want_no_file(struct os *os, const char *path, unsigned flags)
{
    struct os_file *file = NULL;
    struct why why = WHY_NONE;
    assert_int_equal(os->ops->file_open(os, path, flags, &file, &why), ERR_INVALID);
    assert_non_null(strstr(why.text, "is not a file"));
}

static void a_pipe_a_terminal_and_a_folder_are_not_opened_as_files(void **state)
{
    struct os *os = os_real_new();
    char folder[] = "/tmp/real_test_XXXXXX", pipe[64], tty[TTY_BYTES_MAX];
    (void)state;
    alarm(20); /* the failure to be found is a test that waits for ever */
    assert_non_null(mkdtemp(folder));
    snprintf(pipe, sizeof pipe, "%s/pipe", folder);
    assert_int_equal(mkfifo(pipe, 0600), 0);
    int master = open_tty(tty);
    want_no_file(os, pipe, 0);
    want_no_file(os, pipe, OS_FILE_WRITE | OS_FILE_CREATE);
    want_no_file(os, tty, 0);
    want_no_file(os, folder, 0);
    want_no_file(os, "/dev/zero", 0);
    (void)close(master);
    (void)unlink(pipe);
    (void)rmdir(folder);
    os_real_free(os);
    alarm(0);
}

static void the_kernels_texts_are_files(void **state)
{
    static const char *const paths[] = {"/proc/self/stat", "/sys/devices/system/cpu/online"};
    struct os *os = os_real_new();
    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct os_file *file;
        char text[4096];
        size_t got = 0;
        if (access(paths[i], R_OK)) continue; /* a bare chroot */
        assert_int_equal(os->ops->file_open(os, paths[i], 0, &file, NULL), ERR_OK);
        assert_int_equal(os->ops->file_read(file, 0, text, sizeof text, &got, NULL), ERR_OK);
        assert_true(got > 0);
        os->ops->file_close(file);
    }
    os_real_free(os);
}

/* ---- a serial line ---- */

struct wire {
    struct job job;
    struct loop loop;
    struct os_address at;
    struct os_stream *stream;
    _Atomic bool is_closed;
};

/* More than the other end has room for, and then the line is closed. */
static void fill_and_close(void *owner)
{
    static const char bytes[65536];
    struct wire *wire = owner;
    assert_int_equal(os_stream_write(wire->stream, bytes, sizeof bytes), ERR_OK);
    assert_true(os_stream_queued(wire->stream) > 0);
    os_stream_close(&wire->stream);
    wire->is_closed = true;
}

static void open_wire(struct job *job)
{
    static const struct os_stream_events events = {.on_open = fill_and_close};
    struct wire *wire = (struct wire *)job;
    assert_int_equal(wire->loop.os->ops->stream_connect(wire->loop.task, &wire->at, &events, wire,
                                                        &wire->stream, NULL),
                     ERR_OK);
}

/* A UART would make close() wait until all is sent. A pseudo terminal sends at once, so what can be
 * seen here is that the kernel was told to drop what the other end has not taken. */
static void a_serial_line_is_closed_without_sending_the_rest(void **state)
{
    struct os *os = os_real_new();
    struct wire wire = {.job.run = open_wire};
    char tty[TTY_BYTES_MAX], bytes[4096];
    size_t taken = 0;
    (void)state;
    int master = open_tty(tty);
    assert_int_equal(os_address_serial(str_of(tty), &wire.at, NULL), ERR_OK);
    assert_int_equal(loop_start(&wire.loop, os, "main", 0, NULL), ERR_OK);
    loop_post(&wire.loop, &wire.job);
    while (!wire.is_closed) usleep(200);
    loop_stop(&wire.loop); /* by now the descriptor is closed */
    for (ssize_t n; (n = read(master, bytes, sizeof bytes)) > 0;) taken += (size_t)n;
    assert_true(taken < 2 * sizeof bytes); /* 4 KiB were under way; unflushed it would be 20 */
    (void)close(master);
    os_real_free(os);
}

struct watching {
    struct os *os;
    struct os_task *task;
    struct os_watch *watch;
    int fds[2];
    unsigned reads;
};

static void on_byte(void *arg)
{
    struct watching *w = arg;
    char byte;
    if (read(w->fds[0], &byte, 1) != 1 || ++w->reads < 3) return;
    w->os->ops->watch_close(w->watch);
    os_real_main_stop(w->task);
}

static void begin_watching(void *arg, struct os_task *task)
{
    struct watching *w = arg;
    struct why why = WHY_NONE;
    struct os_watch *none = NULL;
    w->task = task;
    assert_int_equal(w->os->ops->watch_make(task, w->fds[0], on_byte, w, &w->watch, &why), ERR_OK);
    assert_int_not_equal(w->os->ops->watch_make(task, -1, on_byte, w, &none, &why), ERR_OK);
    assert_int_equal(write(w->fds[1], "abcd", 4), 4);
}

static void no_wake(void *arg)
{
    (void)arg;
}

static void no_signal(void *arg, int signum)
{
    (void)arg, (void)signum;
}

static void a_watch_is_told_until_all_is_read_and_not_when_it_is_closed(void **state)
{
    struct watching w = {.os = os_real_new()};
    struct os_main main = {begin_watching, no_wake, no_signal, &w};
    struct why why = WHY_NONE;
    (void)state;
    alarm(20);
    assert_int_equal(pipe(w.fds), 0);
    assert_int_equal(os_real_main(w.os, &main, &why), ERR_OK);
    assert_int_equal(w.reads, 3); /* of four bytes: it was closed with one left */
    (void)close(w.fds[0]);
    (void)close(w.fds[1]);
    os_real_free(w.os);
    alarm(0);
}

struct waker {
    struct os *os;
    struct os_task *task;
    _Atomic unsigned calls;
};

/* The stop comes while the first call is under way. */
static void wake_oneself(void *arg)
{
    struct waker *w = arg;
    unsigned call = atomic_fetch_add(&w->calls, 1) + 1;
    if (call == 1)
        usleep(100000);
    else if (call < 5)
        w->os->ops->task_wake(w->task);
}

static void a_task_ends_when_it_has_done_what_it_asked_of_itself(void **state)
{
    (void)state;
    struct waker w = {.os = os_real_new()};
    assert_int_equal(w.os->ops->task_start(w.os, "waker", 0, wake_oneself, &w, &w.task, NULL),
                     ERR_OK);
    while (!atomic_load(&w.calls)) usleep(1000);
    w.os->ops->task_stop(w.task);
    assert_int_equal(atomic_load(&w.calls), 5);
    os_real_free(w.os);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pipe_a_terminal_and_a_folder_are_not_opened_as_files),
        cmocka_unit_test(the_kernels_texts_are_files),
        cmocka_unit_test(a_serial_line_is_closed_without_sending_the_rest),
        cmocka_unit_test(a_watch_is_told_until_all_is_read_and_not_when_it_is_closed),
        cmocka_unit_test(a_task_ends_when_it_has_done_what_it_asked_of_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
