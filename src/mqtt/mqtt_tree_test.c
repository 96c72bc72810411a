/* mqtt_tree_test.c - the topic tree against the obvious: a list of all subscriptions, each held
 * against the name by topic_matches; and topic_matches against a table of cases. */
#include "mqtt/topic.h"
#include "mqtt/tree.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { SESSIONS = 12, STEPS = 30000, KNOWN_MAX = 400, RETAINED_MAX = 1024 };

static uint64_t seed;

static unsigned below(unsigned n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % n;
}

static void names_and_filters_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        const char *filter, *name;
        bool fits;
    } cases[] = {
        {"a/b", "a/b", true},
        {"a/b", "a/b/c", false},
        {"a/+", "a/b", true},
        {"a/+", "a", false},
        {"a/+", "a/", true},
        {"a/#", "a", true},
        {"a/#", "a/b/c", true},
        {"a/#", "ab", false},
        {"#", "a/b", true},
        {"#", "$SYS/x", false},
        {"+/x", "$SYS/x", false},
        {"$SYS/#", "$SYS/x", true},
        {"+", "a", true},
        {"+", "/a", false},
        {"+/+", "/a", true},
        {"/+", "/a", true},
        {"sport/+/player1", "sport/tennis/player1", true},
        {"sport/#", "sport", true},
        {"+/+/#", "a/b", true},
        {"+/+/#", "a", false},
        {"A", "a", false},
        {"a//b", "a//b", true},
        {"a/+/b", "a//b", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (topic_matches(str_of(cases[i].filter), str_of(cases[i].name)) != cases[i].fits)
            fail_msg("%s and %s", cases[i].filter, cases[i].name);
    static const char *const good[] = {"a", "/", "a/+/b", "#", "+", "a/#", "+/#", "a//b"};
    static const char *const bad[] = {"", "a+", "a/#/b", "a#", "#/a", "a/b+/c", "++", "a/##"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(topic_filter_is_valid(str_of(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(topic_filter_is_valid(str_of(bad[i])));
    assert_false(topic_name_is_valid(STR("a/+")));
    assert_false(topic_name_is_valid(STR("")));
    static char deep[4 * TOPIC_LEVELS_MAX];
    memset(deep, '/', sizeof deep);
    assert_true(topic_name_is_valid((struct str){deep, TOPIC_LEVELS_MAX - 1}));
    assert_false(topic_name_is_valid((struct str){deep, TOPIC_LEVELS_MAX}));
    assert_false(topic_filter_is_valid((struct str){deep, sizeof deep}));
}

static void shared_subscriptions_are_split(void **state)
{
    (void)state;
    struct str group, filter;
    bool bad;
    assert_true(topic_split_shared(STR("$share/g/a/#"), &group, &filter, &bad));
    assert_true(str_is(group, "g") && str_is(filter, "a/#") && !bad);
    static const char *const wrong[] = {"$share",    "$share/",    "$share/g",   "$share/g/",
                                        "$share//a", "$share/+/a", "$share/a#/b"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_false(topic_split_shared(str_of(wrong[i]), &group, &filter, &bad));
        assert_true(bad);
    }
    assert_false(topic_split_shared(STR("$share/\0g/a"), &group, &filter, &bad));
    assert_true(bad);
    assert_false(topic_split_shared(STR("$shared/g/a"), &group, &filter, &bad));
    assert_false(bad);
}

/* ---- against the list ---- */

enum { TEXT_BYTES = 32 };

static void make_text(char out[TEXT_BYTES], bool is_filter)
{
    static const char *const levels[] = {"a", "b", "c", "", "$x"};
    unsigned count = 1 + below(4);
    size_t size = 0;
    for (unsigned i = 0; i < count; i++) {
        unsigned kind = is_filter ? below(8) : 0;
        const char *level = kind == 1 ? "+" : kind == 2 ? "#" : levels[below(i ? 4 : 5)];
        size += (size_t)snprintf(out + size, TEXT_BYTES - size, "%s%s", i ? "/" : "", level);
        if (kind == 2) return;
    }
    if (!size) snprintf(out, TEXT_BYTES, "a");
}

struct known {
    char filter[TEXT_BYTES];
    unsigned session;
    struct subscription *subscription;
};

static struct {
    struct tree *tree;
    struct known items[KNOWN_MAX];
    size_t count;
    char sessions[SESSIONS];
    char retained[RETAINED_MAX][TEXT_BYTES];
    size_t retained_count;
} w;

static void subscribe(void)
{
    struct known k = {.session = below(SESSIONS)};
    bool is_new;
    make_text(k.filter, true);
    if (w.count == KNOWN_MAX) return;
    assert_int_equal(tree_subscribe(w.tree, &w.sessions[k.session], STR(""), str_of(k.filter),
                                    &k.subscription, &is_new),
                     ERR_OK);
    bool was_known = false;
    for (size_t i = 0; i < w.count; i++)
        was_known |= w.items[i].session == k.session && strcmp(w.items[i].filter, k.filter) == 0;
    assert_true(is_new == !was_known);
    if (is_new) w.items[w.count++] = k;
    struct buf text = BUF_EMPTY;
    tree_print(k.subscription, &text);
    assert_string_equal(buf_cstr(&text), k.filter);
    buf_free(&text);
}

static void unsubscribe(void)
{
    if (!w.count) return;
    size_t i = below((unsigned)w.count);
    struct known *k = &w.items[i];
    struct subscription *s = tree_find(w.tree, &w.sessions[k->session], STR(""), str_of(k->filter));
    assert_ptr_equal(s, k->subscription);
    tree_unsubscribe(w.tree, s);
    *k = w.items[--w.count];
}

static void match(void)
{
    char name[TEXT_BYTES];
    make_text(name, false);
    const struct tree_matches *found = tree_match(w.tree, str_of(name));
    assert_non_null(found);
    size_t wanted = 0;
    for (size_t i = 0; i < w.count; i++) {
        if (!topic_matches(str_of(w.items[i].filter), str_of(name))) continue;
        wanted++;
        bool is_there = false;
        for (size_t j = 0; j < found->count; j++)
            is_there |= found->items[j] == w.items[i].subscription;
        if (!is_there) fail_msg("%s does not find %s", name, w.items[i].filter);
    }
    assert_int_equal(found->count, wanted);
    for (size_t j = 2; j < found->count; j++) /* one session's lie next to each other */
        for (size_t i = 0; i + 1 < j; i++)
            if (found->items[i]->session == found->items[j]->session)
                assert_ptr_equal(found->items[j - 1]->session, found->items[j]->session);
}

static void retain(void)
{
    char name[TEXT_BYTES];
    make_text(name, false);
    struct message_parts parts = {.topic = str_of(name), .serial = 1};
    struct message *m = below(3) ? message_new(&parts, NULL) : NULL;
    assert_int_equal(tree_retain(w.tree, str_of(name), m), ERR_OK);
    size_t i = 0;
    while (i < w.retained_count && strcmp(w.retained[i], name) != 0) i++;
    if (m && i == w.retained_count)
        snprintf(w.retained[w.retained_count++], TEXT_BYTES, "%s", name);
    if (!m && i < w.retained_count) {
        --w.retained_count;
        memmove(w.retained[i], w.retained[w.retained_count], sizeof w.retained[i]);
    }
    message_release(m);
    assert_int_equal(tree_retained_count(w.tree), w.retained_count);
}

static void walk(void)
{
    char filter[TEXT_BYTES];
    make_text(filter, true);
    struct tree_walk walk;
    size_t wanted = 0, got = 0;
    for (size_t i = 0; i < w.retained_count; i++)
        wanted += topic_matches(str_of(filter), str_of(w.retained[i]));
    assert_int_equal(tree_walk_begin(w.tree, str_of(filter), &walk), ERR_OK);
    while (walk.at) {
        unsigned steps = 1 + below(3);
        struct message *m = tree_walk_next(&walk, &steps);
        if (!m) continue;
        got++;
        assert_true(topic_matches(str_of(filter), message_topic(m)));
    }
    tree_walk_end(&walk);
    if (got != wanted) fail_msg("%s: %zu of %zu retained", filter, got, wanted);
}

static void the_tree_finds_what_a_list_finds(void **state)
{
    (void)state;
    struct budget budget;
    budget_init(&budget, "tree", NULL, SIZE_MAX);
    memset(&w, 0, sizeof w);
    w.tree = tree_new(&budget);
    assert_non_null(w.tree);
    static void (*const steps[])(void) = {subscribe, subscribe, unsubscribe, match,
                                          match,     match,     retain,      walk};
    for (unsigned i = 0; i < STEPS; i++) steps[below(8)]();
    while (w.count) unsubscribe();
    assert_int_equal(tree_subscription_count(w.tree), 0);
    tree_free(w.tree);
    assert_int_equal(atomic_load(&budget.used_bytes), 0);
}

/* A walk goes on where it stood, whatever happens around it meanwhile. */
static void a_walk_survives_changes_of_the_tree(void **state)
{
    (void)state;
    memset(&w, 0, sizeof w);
    w.tree = tree_new(NULL);
    for (unsigned round = 0; round < 200; round++) {
        struct tree_walk walk;
        for (unsigned i = 0; i < 20; i++) {
            if (w.retained_count < RETAINED_MAX - 60) retain();
        }
        assert_int_equal(tree_walk_begin(w.tree, STR("#"), &walk), ERR_OK);
        while (walk.at) {
            unsigned steps = 1;
            (void)tree_walk_next(&walk, &steps);
            if (w.retained_count < RETAINED_MAX - 60 && below(2)) retain();
        }
        tree_walk_end(&walk);
    }
    tree_free(w.tree);
}

int main(void)
{
    const char *given = getenv("MILLRACE_TEST_SEED");
    seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    printf("seed %llu\n", (unsigned long long)seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_filters_are_told_apart),
        cmocka_unit_test(shared_subscriptions_are_split),
        cmocka_unit_test(the_tree_finds_what_a_list_finds),
        cmocka_unit_test(a_walk_survives_changes_of_the_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
