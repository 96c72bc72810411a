/* outbox_test.c - what a queue keeps and what it gives up, with one message that is never
 * acknowledged at its head; and that a start does not believe in ordinals far away. */
#include "mqtt/outbox.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { IN_FLIGHT = 1, QUEUED = 10 };

static struct message *some_message(void)
{
    struct message_parts parts = {.topic = STR("t"), .payload = STR("p"), .qos = 1};
    struct message *m = message_new(&parts, NULL);
    assert_non_null(m);
    return m;
}

/* One that was sent, and ten behind it. */
static void fill(struct outbox *o)
{
    struct message *m = some_message();
    uint64_t ordinal;
    for (int i = 0; i < IN_FLIGHT + QUEUED; i++)
        assert_int_equal(outbox_add(o, m, 1, false, NULL, 0), ERR_OK);
    struct outbox_item *item = outbox_take(o, &ordinal);
    item->state = OUTBOX_SENT;
    item->was_sent = true;
    message_release(m);
}

static void a_full_queue_loses_one_for_one_behind_what_is_on_its_way(void **state)
{
    (void)state;
    struct outbox o = {0};
    uint64_t ordinal;
    fill(&o);
    assert_true(outbox_drop_oldest(&o, &ordinal));
    assert_int_equal(ordinal, 1); /* not 0, which is on its way */
    assert_int_equal(outbox_count(&o), IN_FLIGHT + QUEUED - 1);
    outbox_rewind(&o); /* the connection is gone */
    assert_true(outbox_drop_oldest(&o, &ordinal));
    assert_int_equal(ordinal, 2);
    assert_int_equal(outbox_count(&o), IN_FLIGHT + QUEUED - 2);
    assert_int_equal(outbox_span(&o), IN_FLIGHT + QUEUED);
    outbox_free(&o);
}

static void the_first_is_given_up_only_when_it_is_not_on_its_way(void **state)
{
    (void)state;
    struct outbox o = {0};
    uint64_t ordinal = 99;
    fill(&o);
    assert_false(outbox_drop_first(&o, &ordinal));
    outbox_rewind(&o);
    assert_true(outbox_drop_first(&o, &ordinal));
    assert_int_equal(ordinal, 0);
    assert_int_equal(outbox_span(&o), QUEUED);
    assert_int_equal(outbox_packet_id(o.first), 2);
    outbox_free(&o);
    assert_int_equal(outbox_count(&o), 0);
}

static void done_entries_behind_the_head_go_with_it(void **state)
{
    (void)state;
    struct outbox o = {0};
    uint64_t ordinal;
    fill(&o);
    for (int i = 0; i < QUEUED; i++) assert_true(outbox_drop_oldest(&o, &ordinal));
    assert_false(outbox_drop_oldest(&o, &ordinal));
    assert_int_equal(outbox_count(&o), IN_FLIGHT);
    outbox_finish(&o, outbox_at(&o, 0));
    assert_int_equal(outbox_span(&o), 0);
    assert_null(o.items); /* an empty one holds no memory */
}

static void after_a_start_qos_2_is_not_given_up_silently(void **state)
{
    (void)state;
    struct outbox o = {0};
    uint64_t ordinal;
    struct message *m = some_message();
    for (uint8_t i = 0; i < 4; i++)
        assert_int_equal(outbox_restore(&o, m, i % 2 + 1, false, NULL, 0), ERR_OK);
    outbox_restored(&o, true);
    assert_int_equal(outbox_add(&o, m, 2, false, NULL, 0), ERR_OK);
    /* Its receiver may know the identifiers 2 and 4 (4.3.3): only the others can just go. */
    uint64_t goes[] = {0, 2, 4};
    for (int i = 0; i < 3; i++) {
        assert_true(outbox_drop_oldest(&o, &ordinal));
        assert_int_equal(ordinal, goes[i]);
    }
    assert_false(outbox_drop_oldest(&o, &ordinal));
    assert_true(outbox_may_be_known(&o, 3));
    outbox_free(&o);
    message_release(m);
}

static void an_ordinal_far_away_is_refused(void **state)
{
    (void)state;
    struct outbox o = {0};
    struct message *m = some_message();
    assert_int_equal(outbox_skip_to(&o, 7000000000), ERR_OK); /* an empty one may begin anywhere */
    assert_int_equal(outbox_restore(&o, m, 1, false, NULL, 0), ERR_OK);
    assert_int_equal(outbox_skip_to(&o, 7000000000 + OUTBOX_SPAN_MAX + 1), ERR_LIMIT);
    assert_int_equal(outbox_skip_to(&o, 7000000010), ERR_OK);
    assert_int_equal(outbox_count(&o), 1);
    outbox_restore_done(&o, 7000000000);
    assert_int_equal(outbox_span(&o), 0);
    outbox_free(&o);
    message_release(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_queue_loses_one_for_one_behind_what_is_on_its_way),
        cmocka_unit_test(the_first_is_given_up_only_when_it_is_not_on_its_way),
        cmocka_unit_test(done_entries_behind_the_head_go_with_it),
        cmocka_unit_test(after_a_start_qos_2_is_not_given_up_silently),
        cmocka_unit_test(an_ordinal_far_away_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
