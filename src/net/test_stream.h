/* test_stream.h - a world of memory for tests and fuzz targets: byte streams, timers and a clock
 * that only move when told.
 *
 * It lies in the core library because several programs need it; the program itself refers to
 * nothing in it, so the linker leaves it out. One task, no files. Everything happens inside
 * test_net_run and test_net_advance, in a fixed order: a test replays exactly. */
#ifndef NET_TEST_STREAM_H
#define NET_TEST_STREAM_H

#include "loop/context.h"

struct test_net;

/* NULL: no memory (tests that let allocations fail make it before). */
struct test_net *test_net_new(void);
/* Everything that was opened must be closed before: asserted, so a leak fails the test. */
void test_net_free(struct test_net *net);

struct context *test_net_context(struct test_net *net); /* its main loop is the world's one task */
struct os *test_net_os(struct test_net *net);
struct os_task *test_net_task(struct test_net *net);

/* Runs jobs and delivers bytes until nothing moves. */
void test_net_run(struct test_net *net);
/* Lets time pass, firing timers in order, and runs. */
void test_net_advance(struct test_net *net, int64_t ns);

/* Two ends of one stream. Bytes arrive at the other end with test_net_run, at most `deliver_bytes`
 * at a time (0 = all). */
bool test_net_pair(struct test_net *net, size_t deliver_bytes, struct os_stream **a,
                   struct os_stream **b);

/* A client of the world's only listener that keeps what it is sent. */
struct test_client {
    struct os_stream *stream; /* NULL after test_client_close */
    struct buf received;
    bool is_open, is_closed; /* closed by the server */
    enum err closed_err;
};
/* Connects (with test_net_run). `window_bytes` 0 = it takes all; else it takes only so much until
 * test_client_take. */
bool test_client_open(struct test_net *net, struct test_client *client, size_t window_bytes,
                      size_t deliver_bytes);
void test_client_send(struct test_client *client, const void *bytes, size_t size);
void test_client_take(struct test_client *client, size_t more_bytes); /* widens the window */
void test_client_close(struct test_client *client);

#endif
