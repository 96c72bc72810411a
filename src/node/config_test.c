/* config_test.c - claims about node.yaml's part for the broker: what is not said is as the broker
 * itself has it, and what is said wrong is told with its key. */
#include "node/config.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static enum err read_one(const char *setting, struct node_config *config, struct why *why)
{
    return node_config_read(NULL, NULL, &setting, setting ? 1 : 0, config, why);
}

static void what_is_not_said_is_as_the_broker_has_it(void **state)
{
    (void)state;
    struct node_config config;
    struct why why = WHY_NONE;
    assert_int_equal(read_one(NULL, &config, &why), ERR_OK);
    struct broker_config expected = broker_defaults;
    expected.memory_bytes = (size_t)config.memory_bytes / 4;
    assert_memory_equal(&config.mqtt.broker, &expected, sizeof expected);
    assert_false(config.mqtt.anonymous);
    node_config_free(&config);
}

static void each_setting_reaches_the_broker(void **state)
{
    (void)state;
    const char *const settings[] = {"mqtt.anonymous=true",
                                    "mqtt.memory=8MiB",
                                    "mqtt.maxConnections=7",
                                    "mqtt.maxPacket=2MiB",
                                    "mqtt.receiveMaximum=9",
                                    "mqtt.topicAliasMaximum=0",
                                    "mqtt.sessionExpiryMax=7d",
                                    "mqtt.keepAliveMax=90s",
                                    "mqtt.queue.messages=11",
                                    "mqtt.queue.bytes=64KiB",
                                    "mqtt.queue.full=drop-new",
                                    "mqtt.sendBuffer=8KiB",
                                    "mqtt.maxRetained=12",
                                    "mqtt.maxSubscriptions=13",
                                    "mqtt.shared=hash-topic",
                                    "mqtt.dataPrefix=plant/rows",
                                    "mqtt.cmdPrefix=plant/do",
                                    "mqtt.sysInterval=3s",
                                    "mqtt.queue.every=3",
                                    "mqtt.queue.age=2m",
                                    "mqtt.queue.memory=16KiB",
                                    "mqtt.queue.disk=5GiB",
                                    "mqtt.limits.connectionsPerUser=21",
                                    "mqtt.limits.connectionsPerPeer=22",
                                    "mqtt.limits.halfOpen=23",
                                    "mqtt.limits.halfOpenPerListener=24",
                                    "mqtt.limits.connectionsPerListener=36",
                                    "mqtt.limits.halfOpenPerPeer=25",
                                    "mqtt.limits.connectTime=26s",
                                    "mqtt.limits.connectRate=27",
                                    "mqtt.limits.messagesPerSecond=28",
                                    "mqtt.limits.bytesPerSecond=29KiB",
                                    "mqtt.limits.loginPacket=30KiB",
                                    "mqtt.limits.topicLevels=31",
                                    "mqtt.limits.loopback=true",
                                    "mqtt.bans.drops=32",
                                    "mqtt.bans.failures=33",
                                    "mqtt.bans.window=34s",
                                    "mqtt.bans.time=35s"};
    struct node_config config;
    struct why why = WHY_NONE;
    assert_int_equal(
        node_config_read(NULL, NULL, settings, sizeof settings / sizeof settings[0], &config, &why),
        ERR_OK);
    const struct broker_config *b = &config.mqtt.broker;
    assert_true(config.mqtt.anonymous);
    assert_int_equal(b->memory_bytes, 8 << 20);
    assert_int_equal(b->connections_max, 7);
    assert_int_equal(b->packet_bytes_max, 2 << 20);
    assert_int_equal(b->receive_maximum, 9);
    assert_int_equal(b->topic_alias_maximum, 0);
    assert_int_equal(b->session_expiry_max_s, 7 * 86400);
    assert_int_equal(b->keep_alive_max_s, 90);
    assert_int_equal(b->queue.messages, 11);
    assert_int_equal(b->queue.bytes, 64 << 10);
    assert_int_equal(b->queue.full, BROKER_DROP_NEW);
    assert_int_equal(b->queue.every, 3);
    assert_int_equal(b->queue.age_s, 120);
    assert_int_equal(b->queue_memory_bytes, 16 << 10);
    assert_int_equal(b->queue_disk_bytes, (uint64_t)5 << 30);
    assert_int_equal(b->send_bytes_max, 8 << 10);
    assert_int_equal(b->retained_max, 12);
    assert_int_equal(b->subscriptions_max, 13);
    assert_int_equal(b->shared, BROKER_HASH_TOPIC);
    assert_int_equal(b->sys_interval_s, 3);
    assert_string_equal(b->data_prefix, "plant/rows/");
    assert_string_equal(b->cmd_prefix, "plant/do/");
    const struct broker_limits *l = &b->limits;
    assert_true(l->per_user == 21 && l->per_peer == 22 && l->half_open == 23 &&
                l->half_open_per_listener == 24 && l->half_open_per_peer == 25 &&
                l->per_listener == 36);
    assert_true(l->connect_s == 26 && l->connect_rate == 27 && l->message_rate == 28 &&
                l->byte_rate == 29 << 10 && l->login_bytes == 30 << 10);
    assert_true(l->topic_levels == 31 && l->loopback);
    const struct broker_bans bans = {.drops = 32, .failures = 33, .window_s = 34, .time_s = 35};
    assert_memory_equal(&b->bans, &bans, sizeof bans);
    node_config_free(&config);
}

static void what_is_wrong_is_told_with_its_key(void **state)
{
    (void)state;
    static const char *const wrong[][2] = {
        {"mqtt.maxConnections=0", "mqtt.maxConnections"},
        {"mqtt.limits.topicLevels=257", "mqtt.limits.topicLevels"},
        {"mqtt.limits.connectTime=0s", "mqtt.limits.connectTime"},
        {"mqtt.limits.bytesPerSecond=12", "mqtt.limits.bytesPerSecond"},
        {"mqtt.bans.window=0s", "mqtt.bans.window"},
        {"mqtt.maxConnections=many", "mqtt.maxConnections"},
        {"mqtt.maxPacket=300MiB", "mqtt.maxPacket"},
        {"mqtt.maxPacket=12", "mqtt.maxPacket"},
        {"mqtt.receiveMaximum=65536", "mqtt.receiveMaximum"},
        {"mqtt.sessionExpiryMax=soon", "mqtt.sessionExpiryMax"},
        {"mqtt.keepAliveMax=65536s", "mqtt.keepAliveMax"},
        {"mqtt.cmdPrefix=data", "mqtt.cmdPrefix"},
        {"mqtt.queue.full=drop-old", "did you mean drop-oldest?"},
        {"mqtt.memory=1GiB", "mqtt.memory"},
        {"mqtt.queues.bytes=1MiB", "queue"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct node_config config;
        struct why why = WHY_NONE;
        assert_int_equal(read_one(wrong[i][0], &config, &why), ERR_INVALID);
        assert_non_null(strstr(why.text, wrong[i][1]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_said_is_as_the_broker_has_it),
        cmocka_unit_test(each_setting_reaches_the_broker),
        cmocka_unit_test(what_is_wrong_is_told_with_its_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
