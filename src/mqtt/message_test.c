/* message_test.c - how large a message's packet is, at the edge of what MQTT knows. */
#include "mqtt/message.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

/* Only its sizes are looked at. */
static size_t size_of(uint32_t properties, size_t ids)
{
    static const uint32_t id[2] = {1, 2};
    const struct message m = {
        .refs = 1, .magic = MESSAGE_MAGIC, .topic_size = 1, .property_size = properties};
    const struct message_sending how = {
        .version = MQTT_5, .subscription_ids = id, .subscription_id_count = ids};
    return message_packet_size(&m, &how);
}

static void a_packet_is_as_large_as_mqtt_knows_or_none(void **state)
{
    enum { TOPIC = 3, LENGTH = 4, HEADER = 5, ID = 2 };
    const uint32_t most = MQTT_REMAINING_MAX - TOPIC - LENGTH;
    (void)state;
    assert_int_equal(size_of(most, 0), HEADER + (size_t)MQTT_REMAINING_MAX);
    assert_int_equal(size_of(most - ID, 1), HEADER + (size_t)MQTT_REMAINING_MAX);
    assert_int_equal(size_of(most + 1, 0), SIZE_MAX);
}

static void what_a_receiver_adds_may_be_too_much_for_any_packet(void **state)
{
    (void)state;
    for (uint32_t less = 0; less < 11; less++)
        assert_int_equal(size_of(MQTT_REMAINING_MAX - less, 2), SIZE_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_packet_is_as_large_as_mqtt_knows_or_none),
        cmocka_unit_test(what_a_receiver_adds_may_be_too_much_for_any_packet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
