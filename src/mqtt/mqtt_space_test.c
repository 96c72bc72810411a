/* mqtt_space_test.c - namespaces of the broker: they are opened by who comes, gone when nothing is
 * left in them, bounded in number, and what is in them is found again by a note of the log. */
#include "mqtt/mqtt_still_testlib.h"
#include <stdio.h>

static struct session *enter(const char *ns, const char *client)
{
    struct identity *identity = identity_new_in(ns, "eve", "viewer");
    struct space *space = space_get(world->broker, str_of(ns));
    struct session *s = space ? session_new(space, str_of(client), identity) : NULL;
    identity_release(identity);
    return s;
}

static void retain(const char *ns, const char *topic)
{
    struct message_parts parts = {.topic = str_of(topic), .payload = STR("x"), .retain = true};
    struct message *m = message_new(&parts, &world->broker->memory);
    assert_int_equal(space_retain(space_get(world->broker, str_of(ns)), str_of(topic), m), ERR_OK);
    message_release(m);
}

/* ---- claims ---- */

static void a_client_identifier_is_found_in_its_own_namespace(void **state)
{
    (void)state;
    begin();
    struct session *a = enter("a", "same"), *b = enter("b", "same");
    for (int i = 0; i < 500; i++) { /* the table grows */
        char name[24];
        snprintf(name, sizeof name, "client%d", i);
        assert_non_null(enter(i % 2 ? "a" : "b", name));
    }
    assert_ptr_equal(session_find(space_find(world->broker, STR("a")), STR("same")), a);
    assert_ptr_equal(session_find(space_find(world->broker, STR("b")), STR("same")), b);
    assert_null(session_find(space_find(world->broker, STR("default")), STR("same")));
    assert_null(session_find(space_find(world->broker, STR("none")), STR("same")));
    session_end(a);
    assert_null(session_find(space_find(world->broker, STR("a")), STR("same")));
    assert_ptr_equal(session_find(space_find(world->broker, STR("b")), STR("same")), b);
    end();
}

static void more_namespaces_than_buckets_keep_one_identifier_apart(void **state)
{
    (void)state;
    char name[24];
    begin();
    for (int i = 0; i < 200; i++) { /* 25 sessions in 64 buckets: some share one */
        snprintf(name, sizeof name, "n%d", i);
        assert_non_null(space_get(world->broker, str_of(name)));
        if (i % 8 == 0) assert_non_null(enter(name, "same"));
    }
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "n%d", i);
        const struct session *s =
            session_find(space_find(world->broker, str_of(name)), STR("same"));
        assert_int_equal(s != NULL, i % 8 == 0);
        if (s) assert_string_equal(s->identity->ns, name);
    }
    end();
}

static void a_namespace_goes_when_nothing_is_left_in_it(void **state)
{
    (void)state;
    begin();
    struct broker *broker = world->broker;
    struct session *s = enter("a", "x");
    retain("b", "t");
    struct space *pinned = space_get(broker, STR("c"));
    pinned->pins++;
    (void)space_get(broker, STR("empty"));
    spaces_sweep(broker);
    assert_non_null(space_find(broker, STR("a")));
    assert_non_null(space_find(broker, STR("b")));
    assert_non_null(space_find(broker, STR("c")));
    assert_null(space_find(broker, STR("empty")));
    assert_int_equal(broker->retained_count, 1);
    session_end(s);
    assert_int_equal(space_retain(space_find(broker, STR("b")), STR("t"), NULL), ERR_OK);
    pinned->pins--;
    spaces_sweep(broker);
    assert_int_equal(broker->spaces_by_name.count, 1);
    assert_int_equal(broker->space_count, 1);
    assert_non_null(space_find(broker, STR("default"))); /* which stays, empty as it is */
    assert_int_equal(broker->retained_count, 0);
    end();
}

static void there_are_no_more_than_the_limit_and_empty_ones_make_room(void **state)
{
    (void)state;
    char name[24];
    begin();
    for (int i = 1; i < BROKER_SPACES_MAX; i++) {
        snprintf(name, sizeof name, "n%d", i);
        assert_non_null(enter(name, "x"));
    }
    assert_null(space_get(world->broker, STR("one-more")));
    assert_int_equal(metric_get(&world->context, METRIC_MQTT_LIMIT_NAMESPACES), 1);
    session_end(session_find(space_find(world->broker, STR("n7")), STR("x")));
    struct space *taken = space_get(world->broker, STR("one-more"));
    assert_non_null(taken); /* the place of n7 */
    assert_null(space_find(world->broker, STR("n7")));
    assert_int_equal(world->broker->space_count, BROKER_SPACES_MAX);
    end();
}

/* What a broker has, as its notes say it, makes another one that has the same. */
static void notes_bring_each_session_and_retained_message_back_to_its_namespace(void **state)
{
    (void)state;
    struct buf note = BUF_EMPTY;
    struct why why = WHY_NONE;
    begin();
    buf_add_char(&note, JOURNAL_FORMAT);
    const char *const names[] = {"default", "a", "b"};
    for (size_t i = 0; i < 3; i++) {
        struct session *s = enter(names[i], "same");
        s->expiry_s = 100;
        journal_write_session_at(&note, s, 0);
        struct message_parts parts = {.topic = STR("t"), .payload = str_of(names[i])};
        struct message *m = message_new(&parts, &world->broker->memory);
        journal_write_message(&note, world->broker, m, session_space(s));
        message_release(m);
    }
    end();
    begin();
    assert_int_equal(broker_replay(world->broker, 1, buf_str(&note), &why), ERR_OK);
    for (size_t i = 0; i < 3; i++) {
        struct space *space = space_find(world->broker, str_of(names[i]));
        assert_non_null(space);
        const struct session *s = session_find(space, STR("same"));
        assert_non_null(s);
        assert_string_equal(s->identity->ns, names[i]);
        assert_int_equal(tree_retained_count(space->tree), 1);
    }
    assert_int_equal(world->broker->retained_count, 3);
    end();
    buf_free(&note);
}

/* Bytes as format 1 had them: a session (serial 1, "dev", "eve", expiry 100, ordinal 0), a Bridge's
 * session, and a retained message. */
static void a_note_of_format_1_means_default_but_for_a_bridges_own_queue(void **state)
{
    (void)state;
    static const char note[] = "\1"
                               "\1\1\3dev\3eve\x64\0"
                               "\1\2\x0f$bridge/b.plant\7$bridge\x64\0"
                               "\5\5\x10\1t\0\1x\0\0";
    struct why why = WHY_NONE;
    begin();
    assert_int_equal(broker_replay(world->broker, 1, (struct str){note, sizeof note - 1}, &why),
                     ERR_OK);
    assert_non_null(session_find(space_find(world->broker, STR("default")), STR("dev")));
    assert_int_equal(tree_retained_count(space_find(world->broker, STR("default"))->tree), 1);
    assert_non_null(session_find(space_find(world->broker, STR("b")), STR("$bridge/b.plant")));
    assert_int_equal(world->broker->spaces_by_name.count, 2);
    end();
}

static void a_note_of_a_later_format_is_refused(void **state)
{
    (void)state;
    static const char note[] = {JOURNAL_FORMAT + 1, JOURNAL_END, 1};
    struct why why = WHY_NONE;
    begin();
    assert_int_equal(broker_replay(world->broker, 1, (struct str){note, sizeof note}, &why),
                     ERR_CORRUPT);
    assert_non_null(strstr(why.text, "another version"));
    end();
}

static void what_sys_retains_is_counted_until_it_goes(void **state)
{
    struct message_parts own = {.topic = STR("$SYS/a"), .payload = STR("1"), .retain = true},
                         theirs = {.topic = STR("$SYS/a"), .payload = STR("2"), .serial = 7};
    (void)state;
    begin();
    struct broker *broker = world->broker;
    struct message *m = message_new(&own, NULL), *other = message_new(&theirs, NULL);
    struct space *space = broker->spaces[0];
    for (int i = 0; i < 2; i++) assert_int_equal(space_retain(space, own.topic, m), ERR_OK);
    assert_int_equal(broker->own_retained_count, 1);
    assert_int_equal(space_retain(space, own.topic, other), ERR_OK);
    assert_int_equal(broker->own_retained_count, 0);
    assert_int_equal(space_retain(space, own.topic, m), ERR_OK);
    assert_int_equal(space_retain(space, own.topic, NULL), ERR_OK);
    assert_int_equal(space_retain(space, own.topic, NULL), ERR_OK);
    assert_int_equal(broker->own_retained_count, 0);
    assert_int_equal(broker->retained_count, 0);
    message_release(m);
    message_release(other);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_identifier_is_found_in_its_own_namespace),
        cmocka_unit_test(more_namespaces_than_buckets_keep_one_identifier_apart),
        cmocka_unit_test(a_namespace_goes_when_nothing_is_left_in_it),
        cmocka_unit_test(there_are_no_more_than_the_limit_and_empty_ones_make_room),
        cmocka_unit_test(notes_bring_each_session_and_retained_message_back_to_its_namespace),
        cmocka_unit_test(a_note_of_format_1_means_default_but_for_a_bridges_own_queue),
        cmocka_unit_test(a_note_of_a_later_format_is_refused),
        cmocka_unit_test(what_sys_retains_is_counted_until_it_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
