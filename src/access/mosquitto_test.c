/* mosquitto_test.c - claims about Mosquitto's files: lines are read as mosquitto.conf(5) says, and
 * what rules here cannot say is named. */
#include "access/mosquitto.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static void lines_of_an_acl_file_are_read_as_its_manual_says(void **state)
{
    static const struct mosquitto_line expected[] = {
        {2, MOSQUITTO_TOPIC, MOSQUITTO_READ, {"$SYS/#", 6}, NULL},
        {4, MOSQUITTO_USER, 0, {"alice smith", 11}, NULL},
        {5, MOSQUITTO_TOPIC, MOSQUITTO_READ | MOSQUITTO_WRITE, {"a/b", 3}, NULL},
        {6, MOSQUITTO_TOPIC, MOSQUITTO_WRITE, {"name with spaces", 16}, NULL},
        {7, MOSQUITTO_TOPIC, 0, {"a/b/secret", 10}, NULL},
        {8, MOSQUITTO_PATTERN, MOSQUITTO_WRITE, {"dev/%c/%u", 9}, NULL},
        {9, MOSQUITTO_WRONG, 0, {"wirte a/b", 9}, "x"},
        {10, MOSQUITTO_WRONG, 0, {"", 0}, "x"},
        {11, MOSQUITTO_WRONG, 0, {"a/b", 3}, "x"},
    };
    struct str rest = STR("# remark\ntopic read $SYS/#\n\nuser  alice smith \ntopic a/b\r\n"
                          "topic write name with spaces\n  topic deny a/b/secret\n"
                          "pattern write dev/%c/%u\ntopic wirte a/b\nuser\nallow a/b");
    struct mosquitto_line line = {0};
    (void)state;
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        const struct mosquitto_line *e = &expected[i];
        assert_true(mosquitto_acl_next(&rest, &line));
        assert_int_equal(line.number, e->number);
        assert_int_equal(line.kind, e->kind);
        assert_true(!line.problem == !e->problem);
        if (e->problem) continue;
        assert_int_equal(line.access, e->access);
        assert_true(str_equal(line.text, e->text));
    }
    assert_false(mosquitto_acl_next(&rest, &line));
}

static void passwords_that_cannot_be_taken_are_named(void **state)
{
    struct str rest = STR(
        "alice:$7$101$JCvVGzdWEJSkoJaJ$tBnJ8KyKMsowHro6Zhp/8Vop+YRTPvEf784jgBoNu+"
        "HU7qm51xSl31PI87vqHHKfOfFLyJ852NulCszPQwY9Rw==\n\nbob:plain\ncarol\n:x\ndave:$9$a$b\n");
    static const bool good[] = {true, false, false, false, false};
    static const size_t numbers[] = {1, 3, 4, 5, 6};
    struct mosquitto_password line = {0};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(mosquitto_password_next(&rest, &line));
        assert_int_equal(line.number, numbers[i]);
        assert_true(good[i] == !line.problem);
    }
    assert_false(mosquitto_password_next(&rest, &line));
}

static void topics_that_no_rule_can_say_are_named(void **state)
{
    (void)state;
    assert_null(mosquitto_topic_problem(STR("a/+/b/#"), false));
    assert_null(mosquitto_topic_problem(STR("dev/%u/%c/x%u"), true));
    assert_null(mosquitto_topic_problem(STR("load 90%/x"), false));
    assert_non_null(mosquitto_topic_problem(STR("dev/%u"), false)); /* Mosquitto: letters */
    assert_non_null(mosquitto_topic_problem(STR("dev/%n"), true));
    assert_null(mosquitto_topic_problem(STR("/a"), false));
    assert_null(mosquitto_topic_problem(STR("a//b"), true));
    assert_non_null(mosquitto_topic_problem(STR("a/#/b"), true));
    assert_non_null(mosquitto_topic_problem(STR("a/b+"), false));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_of_an_acl_file_are_read_as_its_manual_says),
        cmocka_unit_test(passwords_that_cannot_be_taken_are_named),
        cmocka_unit_test(topics_that_no_rule_can_say_are_named),
    };
    return cmocka_run_group_tests_name("mosquitto", tests, NULL, NULL);
}
