/* mqtt_rows_test.c - messages that are rows, when there is no memory for the next one: those before
 * it are kept, and nobody waits for a batch that nobody gives. The broker does not run. */
#include "mqtt/verify.h"
#include "mqtt/broker_priv.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static int64_t stands_still(struct os *os)
{
    (void)os;
    return 1000;
}

static enum err open_none(struct os *os, const char *path, unsigned flags, struct os_file **file,
                          struct why *why)
{
    (void)os;
    (void)flags;
    (void)file;
    return why_set(why, ERR_NOT_FOUND, "%s: there is no such file", path);
}

static enum err list_none(struct os *os, const char *path,
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

static enum err remove_none(struct os *os, const char *path, struct why *why)
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

static void begin(void)
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

static void end(void)
{
    broker_free(world->broker);
    assert_int_equal(atomic_load(&world->context.memory.used_bytes), 0);
    mem_free(world);
}

static uint64_t add(struct identity *identity, const char *payload, size_t size)
{
    return rows_add(world->broker, identity, NULL, STR("data/d/t"), (struct str){payload, size});
}

/* ---- claims ---- */

static void a_message_without_memory_leaves_those_before_it(void **state)
{
    char *large = mem_alloc_zero(1, 65536);
    struct identity *identity = identity_new("eve", "viewer");
    const struct rows_intake *rows;
    (void)state;
    begin();
    rows = &world->broker->rows;
    uint64_t number = add(identity, "1", 1);
    size_t before = rows->bytes;
    assert_true(number > 0);
    mem_test_fail(1);
    assert_int_equal(add(identity, large, 65536), 0);
    mem_test_fail(0);
    assert_int_equal(rows->first->messages, 1);
    assert_int_equal(rows->first->text.size, before);
    broker_verify(world->broker, true);
    assert_int_equal(add(identity, large, 65536), number);
    assert_int_equal(rows->first->messages, 2);
    broker_verify(world->broker, true);
    end();
    identity_release(identity);
    mem_free(large);
}

static void who_waits_for_rows_waits_for_no_empty_batch(void **state)
{
    struct identity *identity = identity_new("eve", "viewer");
    uint64_t number = 0;
    (void)state;
    begin();
    for (uint64_t n = 1; !number; n++) {
        mem_test_fail(n);
        number = add(identity, "1", 1);
        mem_test_fail(0);
        if (number) break;
        assert_null(world->broker->rows.first);
        assert_int_equal(rows_done(world->broker), world->broker->rows.given);
        broker_verify(world->broker, true);
    }
    assert_int_equal(rows_done(world->broker), number - 1);
    size_t left = world->broker->memory.limit_bytes;
    world->broker->memory.limit_bytes = 1; /* the budget says no */
    struct identity *other = identity_new("ada", "viewer");
    assert_int_equal(add(other, "1", 1), 0);
    world->broker->memory.limit_bytes = left;
    assert_ptr_equal(world->broker->rows.first, world->broker->rows.last);
    end();
    identity_release(identity);
    identity_release(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_without_memory_leaves_those_before_it),
        cmocka_unit_test(who_waits_for_rows_waits_for_no_empty_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
