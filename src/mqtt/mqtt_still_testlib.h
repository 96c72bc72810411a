/* mqtt_still_testlib.h - a broker that does not run, for tests of what it keeps: its world is a
 * clock that stands still and an empty disk. One at a time: begin, then end, which checks that what
 * it counts is so and that what was taken was given back. */
#ifndef MQTT_MQTT_STILL_TESTLIB_H
#define MQTT_MQTT_STILL_TESTLIB_H

#include "mqtt/broker_priv.h"
#include "mqtt/verify.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static inline int64_t stands_still(struct os *os)
{
    (void)os;
    return 1000;
}

static inline enum err open_none(struct os *os, const char *path, unsigned flags,
                                 struct os_file **file, struct why *why)
{
    (void)os;
    (void)flags;
    (void)file;
    return why_set(why, ERR_NOT_FOUND, "%s: there is no such file", path);
}

static inline enum err list_none(struct os *os, const char *path,
                                 enum err (*entry)(void *arg, const char *name), void *arg,
                                 struct why *why)
{
    (void)os;
    (void)path;
    (void)entry;
    (void)arg;
    (void)why;
    return ERR_OK;
}

static inline enum err remove_none(struct os *os, const char *path, struct why *why)
{
    return open_none(os, path, 0, NULL, why);
}

static const struct os_ops ops = {.name = "test",
                                  .wall_ns = stands_still,
                                  .mono_ns = stands_still,
                                  .file_open = open_none,
                                  .path_remove = remove_none,
                                  .path_list = list_none};

struct world {
    struct os os;
    struct context context;
    struct broker *broker;
};

static struct world *world;

static inline void begin(void)
{
    struct why why = WHY_NONE;
    world = mem_alloc_zero(1, sizeof *world);
    world->os.ops = &ops;
    world->context.os = &world->os;
    world->context.diag_level = DIAG_ERROR + 1;
    budget_init(&world->context.memory, "test", NULL, 256 * 1024 * 1024);
    assert_int_equal(broker_new(&world->context, &broker_defaults, "none", &world->broker, &why),
                     ERR_OK);
}

static inline void end(void)
{
    broker_verify(world->broker, true);
    broker_free(world->broker);
    assert_int_equal(atomic_load(&world->context.memory.used_bytes), 0);
    mem_free(world);
}

#endif
