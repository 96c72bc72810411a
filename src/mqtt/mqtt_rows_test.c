/* mqtt_rows_test.c - messages that are rows, when there is no memory for the next one: those before
 * it are kept, and nobody waits for a batch that nobody gives. */
#include "mqtt/mqtt_still_testlib.h"

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
