/* bridge_map_test.c - claims about the topic map of a bridge, and about the trail. */
#include "mqtt/bridge_map.h"
#include "mqtt/packet.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define TEXT(literal)                                                                              \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }
static const struct bridge_topic topics[] = {
    {.filter = TEXT("data/#"),
     .local_prefix = TEXT(""),
     .remote_prefix = TEXT("plant7/"),
     .is_out = true,
     .qos = 1},
    {.filter = TEXT("#"),
     .local_prefix = TEXT("cloud/"),
     .remote_prefix = TEXT("plant7/in/"),
     .is_in = true},
    {.filter = TEXT(""),
     .local_prefix = TEXT("here"),
     .remote_prefix = TEXT("there/exactly"),
     .is_out = true,
     .is_in = true},
    {.filter = TEXT("+/state"),
     .local_prefix = TEXT("m/"),
     .remote_prefix = TEXT(""),
     .is_out = true,
     .is_in = true},
};
enum { COUNT = sizeof topics / sizeof topics[0] };

static void goes(enum bridge_way way, const char *from, const char *to)
{
    struct buf out = BUF_EMPTY;
    assert_true(bridge_topic_map(topics, COUNT, way, str_of(from), &out));
    assert_string_equal(buf_cstr(&out), to);
    buf_free(&out);
}

static void stays(enum bridge_way way, const char *from)
{
    struct buf out = BUF_EMPTY;
    assert_false(bridge_topic_map(topics, COUNT, way, str_of(from), &out));
    buf_free(&out);
}

static void prefixes_are_exchanged_each_way(void **state)
{
    (void)state;
    goes(BRIDGE_OUT, "data/press/t", "plant7/data/press/t");
    goes(BRIDGE_IN, "plant7/in/cmd/1", "cloud/cmd/1");
    goes(BRIDGE_OUT, "m/7/state", "7/state");
    goes(BRIDGE_IN, "7/state", "m/7/state");
}

static void what_no_entry_fits_stays(void **state)
{
    (void)state;
    stays(BRIDGE_OUT, "other/press/t");
    stays(BRIDGE_OUT, "cloud/cmd/1");        /* that entry comes in only */
    stays(BRIDGE_IN, "plant7/data/press/t"); /* and that one goes out */
    stays(BRIDGE_OUT, "m/7/8/state");
    stays(BRIDGE_IN, "plant7/in");
}

static void an_empty_filter_is_one_name(void **state)
{
    (void)state;
    goes(BRIDGE_OUT, "here", "there/exactly");
    goes(BRIDGE_IN, "there/exactly", "here");
    stays(BRIDGE_OUT, "here/too");
    stays(BRIDGE_OUT, "her");
    assert_true(bridge_topic_only_comes_in(topics, COUNT, STR("cloud/x")));
    assert_false(bridge_topic_only_comes_in(topics, COUNT, STR("here")));
}

static void a_wildcard_does_not_reach_the_brokers_own_topics(void **state)
{
    static const struct bridge_topic all[] = {{.filter = TEXT("#"), .is_out = true, .is_in = true}};
    struct buf out = BUF_EMPTY;
    (void)state;
    assert_false(bridge_topic_map(all, 1, BRIDGE_OUT, STR("$SYS/x"), &out));
    assert_false(bridge_topic_map(all, 1, BRIDGE_IN, STR("$SYS/x"), &out));
    assert_true(bridge_topic_map(all, 1, BRIDGE_IN, STR("x"), &out));
    buf_free(&out);
}

static void a_name_that_would_be_none_is_not_mapped(void **state)
{
    static const struct bridge_topic bare[] = {
        {.filter = TEXT("#"), .local_prefix = TEXT("a"), .is_out = true}};
    struct buf out = BUF_EMPTY;
    (void)state;
    assert_false(bridge_topic_map(bare, 1, BRIDGE_OUT, STR("a"), &out)); /* nothing is left */
    buf_free(&out);
}

static void a_filters_text_is_prefix_and_filter(void **state)
{
    struct buf out = BUF_EMPTY;
    (void)state;
    bridge_topic_filter(&topics[1], true, &out);
    assert_string_equal(buf_cstr(&out), "cloud/#");
    buf_clear(&out);
    bridge_topic_filter(&topics[1], false, &out);
    assert_string_equal(buf_cstr(&out), "plant7/in/#");
    buf_free(&out);
}

static void the_trail_ends_at_a_node_that_is_in_it_and_at_its_limit(void **state)
{
    struct buf trail = BUF_EMPTY;
    char node[BRIDGE_NODE_BYTES];
    (void)state;
    mqtt_write_user_property(&trail, STR("other"), STR("me"));
    assert_false(bridge_trail_ends(buf_str(&trail), "me")); /* another property */
    assert_false(bridge_trail_first(buf_str(&trail), node));
    mqtt_write_user_property(&trail, STR(BRIDGE_TRAIL), STR("you"));
    assert_false(bridge_trail_ends(buf_str(&trail), "me"));
    mqtt_write_user_property(&trail, STR(BRIDGE_TRAIL), STR("me"));
    assert_true(bridge_trail_first(buf_str(&trail), node));
    assert_string_equal(node, "you");
    assert_true(bridge_trail_ends(buf_str(&trail), "me"));
    buf_clear(&trail);
    for (int i = 0; i < BRIDGE_HOPS_MAX - 1; i++)
        mqtt_write_user_property(&trail, STR(BRIDGE_TRAIL), STR("x"));
    assert_false(bridge_trail_ends(buf_str(&trail), "me"));
    mqtt_write_user_property(&trail, STR(BRIDGE_TRAIL), STR("x"));
    assert_true(bridge_trail_ends(buf_str(&trail), "me"));
    buf_free(&trail);
}

static bool is_copy(const struct bridge_topic *entries, size_t count, const uint8_t *refused,
                    const char *name, uint32_t first_id, uint32_t second_id)
{
    struct buf properties = BUF_EMPTY;
    mqtt_write_user_property(&properties, STR("a"), STR("b"));
    if (first_id) mqtt_write_number(&properties, MQTT_PROPERTY_SUBSCRIPTION_ID, first_id);
    if (second_id) mqtt_write_number(&properties, MQTT_PROPERTY_SUBSCRIPTION_ID, second_id);
    bool found = bridge_topic_is_copy(entries, count, refused, bridge_topics_mark(entries, count),
                                      str_of(name), buf_str(&properties));
    buf_free(&properties);
    return found;
}

static void of_overlapping_subscriptions_the_first_ones_message_is_taken(void **state)
{
    (void)state;
    const struct bridge_topic entries[] = {{.filter = STR("out/#"), .is_out = true},
                                           {.filter = STR("data/#"), .is_in = true},
                                           {.filter = STR("#"), .is_in = true}};
    const struct bridge_topic others[] = {{.filter = STR("#"), .is_in = true}};
    uint32_t mark = bridge_topics_mark(entries, 3), other = bridge_topics_mark(others, 1);
    uint8_t refused[3] = {0};
    assert_true(mark && mark % BRIDGE_TOPICS_MAX == 0 && other != mark);
    assert_false(is_copy(entries, 3, refused, "data/x", mark + 1, 0));
    assert_true(is_copy(entries, 3, refused, "data/x", mark + 2, 0));
    assert_false(is_copy(entries, 3, refused, "x", mark + 2, 0));
    assert_false(is_copy(entries, 3, refused, "data/x", mark + 2, mark + 1)); /* one for both */
    assert_false(is_copy(entries, 3, refused, "data/x", 0, 0));     /* from before there were any */
    assert_false(is_copy(entries, 3, refused, "data/x", other, 0)); /* kept for other settings */
    refused[1] = 1;
    assert_false(is_copy(entries, 3, refused, "data/x", mark + 2, 0)); /* there is no other */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_overlapping_subscriptions_the_first_ones_message_is_taken),
        cmocka_unit_test(prefixes_are_exchanged_each_way),
        cmocka_unit_test(what_no_entry_fits_stays),
        cmocka_unit_test(an_empty_filter_is_one_name),
        cmocka_unit_test(a_wildcard_does_not_reach_the_brokers_own_topics),
        cmocka_unit_test(a_name_that_would_be_none_is_not_mapped),
        cmocka_unit_test(a_filters_text_is_prefix_and_filter),
        cmocka_unit_test(the_trail_ends_at_a_node_that_is_in_it_and_at_its_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
