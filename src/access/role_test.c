/* role_test.c - claims about rules: filters, own roles, what is denied, and giving rights away. */
#include "access/access_priv.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static void a_filter_covers_what_mqtt_says_and_never_more(void **state)
{
    (void)state;
    static const struct {
        const char *filter, *path;
        bool covers;
    } cases[] = {
        {"a/b", "a/b", true},
        {"a/b", "a/b/c", false},
        {"a/b", "a", false},
        {"a/+", "a/b", true},
        {"a/+", "a/b/c", false},
        {"a/+", "a", false},
        {"a/#", "a", true},
        {"a/#", "a/b/c", true},
        {"a/#", "ab", false},
        {"#", "a/b", true},
        {"#", "", false},
        {"+", "a", true},
        {"+/b", "a/b", true},
        {"a/+/c", "a/x/c", true},
        {"a/+/c", "a/x/d", false},
        {"#", "$SYS/a", false},
        {"+/a", "$SYS/a", false},
        {"$SYS/#", "$SYS/a", true},
        /* Wildcards that are asked for are covered by wildcards only. */
        {"a/b", "a/+", false},
        {"a/b", "a/#", false},
        {"a/+", "a/#", false},
        {"a/+", "a/+", true},
        {"a/#", "a/+", true},
        {"a/#", "a/#", true},
        {"a/#", "#", false},
        {"+/b", "#", false},
        {"#", "#", true},
        /* Empty segments are segments. */
        {"/a", "/a", true},
        {"/a", "a", false},
        {"a", "/a", false},
        {"+/a", "/a", true},
        {"/+", "/a", true},
        {"/#", "/a/b", true},
        {"/#", "a", false},
        {"a/", "a/", true},
        {"a/", "a", false},
        {"a/", "a/b", false},
        {"a/+", "a/", true},
        {"a//b", "a//b", true},
        {"a//b", "a/b", false},
        {"a/+/b", "a//b", true},
        {"/", "/", true},
        {"+/+", "/", true},
        {"/%u", "/", false},
        /* What is no filter covers nothing, itself neither. */
        {"a/#/b", "a/#/b", false},
        {"a/b+", "a/b+", false},
        {"", "a", false},
        {"", "", false},
        {"a*", "ab", false},
        {"*", "a", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (access_filter_covers(str_of(cases[i].filter), str_of(cases[i].path)) != cases[i].covers)
            fail_msg("%s covers %s", cases[i].filter, cases[i].path);
}

static void filters_that_share_a_topic_overlap(void **state)
{
    static const struct {
        const char *one, *other;
        bool overlaps;
    } cases[] = {
        {"a/b", "a/b", true},       {"a/b", "a/c", false},     {"a/#", "a", true},
        {"a/#", "b", false},        {"#", "x/y", true},        {"a/+/c", "a/b/+", true},
        {"a/+", "a/b/c", false},    {"a/%u", "a/alice", true}, {"a/%u/x", "a/b/y", false},
        {"a/b/#", "a/+/c/d", true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct str one = str_of(cases[i].one), other = str_of(cases[i].other);
        if (access_filters_overlap(one, other, true) != cases[i].overlaps ||
            access_filters_overlap(other, one, true) != cases[i].overlaps)
            fail_msg("%s and %s", cases[i].one, cases[i].other);
    }
    assert_false(access_filters_overlap(STR("a/%u"), STR("a/alice"), false));
    assert_true(access_filters_overlap(STR("a/%"), STR("a/%"), false));
    assert_false(access_filters_overlap(STR("a"), STR("/a"), true));
}

#define ANY                                                                                        \
    {                                                                                              \
        .any = true                                                                                \
    }
#define ONE(s)                                                                                     \
    {                                                                                              \
        false, 1, (struct str[])                                                                   \
        {                                                                                          \
            {                                                                                      \
                (s), sizeof(s) - 1                                                                 \
            }                                                                                      \
        }                                                                                          \
    }
#define BIT(v) (1u << VERB_##v)

static struct identity *with(const struct access_rule *rules, size_t count)
{
    struct role *role = role_new("own", rules, count);
    struct identity *who = identity_of("default", "eve", &role, 1, 1);
    role_release(role);
    return who;
}

static bool may(const struct identity *who, enum access_verb verb, const char *kind, const char *ns,
                const char *name, const char *path)
{
    return access_check(who, verb, kind, str_of(ns), str_of(name), str_of(path), NULL) == ERR_OK;
}

static void all_parts_of_one_rule_must_fit(void **state)
{
    (void)state;
    const struct access_rule rules[] = {
        {BIT(GET) | BIT(WRITE_POINT), ONE("Device"), ONE("prod"), ANY, ONE("line1/#")},
        {BIT(QUERY), ONE("Table"), ANY, ONE("press"), ANY},
    };
    struct identity *who = with(rules, 2);
    assert_true(may(who, VERB_GET, "Device", "prod", "d", "line1/d"));
    assert_true(may(who, VERB_WRITE_POINT, "device", "prod", "d", "line1/x/d"));
    assert_false(may(who, VERB_GET, "Device", "prod", "d", "line10/d"));
    assert_false(may(who, VERB_GET, "Device", "test", "d", "line1/d"));
    assert_false(may(who, VERB_GET, "Device", "", "d", "line1/d"));
    assert_false(may(who, VERB_GET, "Device", "prod", "d", "")); /* no path: not limited to it */
    assert_false(may(who, VERB_GET, "Table", "prod", "press", ""));
    assert_false(may(who, VERB_DELETE, "Device", "prod", "d", "line1/d"));
    assert_true(may(who, VERB_QUERY, "Table", "any", "press", "line9/d"));
    assert_false(may(who, VERB_QUERY, "Table", "any", "press2", ""));
    assert_int_equal(access_scope(who, VERB_GET, "Device", STR("prod"), STR("")), ACCESS_SOME);
    assert_int_equal(access_scope(who, VERB_GET, "Device", STR("test"), STR("")), ACCESS_NONE);
    assert_int_equal(access_scope(who, VERB_GET, "Device", STR(""), STR("")), ACCESS_SOME);
    assert_int_equal(access_scope(who, VERB_QUERY, "Table", STR("a"), STR("press")), ACCESS_ALL);
    assert_int_equal(access_scope(who, VERB_QUERY, "Table", STR("a"), STR("")), ACCESS_SOME);
    assert_int_equal(access_scope(NULL, VERB_QUERY, "Table", STR("a"), STR("")), ACCESS_NONE);
    identity_release(who);
}

static void an_empty_list_and_a_star_in_a_name_fit_nothing(void **state)
{
    (void)state;
    const struct access_rule rules[] = {
        {BIT(GET), {.any = false}, ANY, ANY, ANY},
        {BIT(LIST), ANY, ONE("*"), ONE("*"), ANY}, /* as texts: what `any` is, the document says */
        {0, ANY, ANY, ANY, ANY},
    };
    struct identity *who = with(rules, 3);
    assert_false(may(who, VERB_GET, "Device", "default", "d", "a"));
    assert_false(may(who, VERB_LIST, "Device", "default", "d", "a"));
    assert_false(may(who, VERB_DELETE, "Device", "default", "d", "a"));
    identity_release(who);
    who = identity_new("x", "anonymous");
    for (int v = 0; v < VERB_COUNT; v++)
        assert_false(may(who, (enum access_verb)v, "", "default", "", "a"));
    identity_release(who);
}

static struct str text_of(const char *text)
{
    return text ? str_of(text) : STR("");
}

static void names_in_a_path_are_those_of_who_asks_and_no_wildcards(void **state)
{
    (void)state;
    const struct access_rule rules[] = {
        {BIT(PUBLISH) | BIT(SUBSCRIBE), ANY, ANY, ANY, ONE("u/%u/#")},
        {BIT(PUBLISH) | BIT(SUBSCRIBE), ANY, ANY, ANY, ONE("c/x-%c-%u/in")},
        {BIT(PUBLISH) | BIT(SUBSCRIBE), ANY, ANY, ANY, ONE("n/%n/x")},
        {BIT(PUBLISH) | BIT(SUBSCRIBE), ANY, ANY, ANY, ONE("%o/%d-%n")},
    };
    static const struct {
        const char *client, *topic;
        bool may;
        const char *certificate, *organization, *unit;
    } cases[] = {
        {"7", "u/eve/a/b", true},
        {"7", "u/eva/a", false},
        {"7", "u/%u/a", false},
        {"7", "u/+/a", false},
        {"7", "u/eve/#", true},
        {"7", "c/x-7-eve/in", true},
        {"7", "c/x-8-eve/in", false},
        {"+", "c/x-+-eve/in", false},
        {"#", "c/x-#-eve/in", false},
        {"a/b", "c/x-a/b-eve/in", false},
        {"", "c/x--eve/in", false},
        {"%c", "c/x-%c-eve/in", true},
        {"7", "c/x-7-eve/in/more", false},
        {"7", "c/x-7-eve", false},
        {"7", "c/x-7-evee/in", false},
        {"7", "n/press 7/x", true, "press 7"},
        {"7", "n/press 8/x", false, "press 7"},
        {"7", "n//x", false, ""},
        {"7", "n/%n/x", false, NULL},
        {"7", "n/+/x", false, "+"},
        {"7", "n/#", false, "#"},
        {"7", "n/a/b/x", false, "a/b"},
        {"7", "n/a+/x", false, "a+"},
        {"7", "Acme/line 3-p7", true, "p7", "Acme", "line 3"},
        {"7", "Acme/line 4-p7", false, "p7", "Acme", "line 3"},
        {"7", "+/line 3-p7", false, "p7", "+", "line 3"},
        {"7", "/line 3-p7", false, "p7", NULL, "line 3"},
        {"7", "Acme/-p7", false, "p7", "Acme", ""},
        {"7", "%o/%d-%n", false},
    };
    struct identity *who = with(rules, 4);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct access_client client = {.id = str_of(cases[i].client),
                                             .certificate = {text_of(cases[i].certificate),
                                                             text_of(cases[i].organization),
                                                             text_of(cases[i].unit)}};
        enum err err = access_check_topic(who, VERB_SUBSCRIBE, &client, str_of(cases[i].topic));
        if ((err == ERR_OK) != cases[i].may) fail_msg("%s %s", cases[i].client, cases[i].topic);
    }
    assert_false(may(who, VERB_PUBLISH, "", "default", "", "c/x-7-eve/in")); /* no client */
    /* His own name is not whoever would be given the rule. */
    assert_int_equal(access_covers(who, rules, 1, NULL), ERR_FORBIDDEN);
    const struct access_rule wide = {BIT(PUBLISH) | BIT(SUBSCRIBE), ANY, ANY, ANY, ONE("u/+/#")};
    struct identity *giver = with(&wide, 1);
    assert_int_equal(access_covers(giver, rules, 1, NULL), ERR_OK);
    identity_release(giver);
    identity_release(who);
}

/* Who may subscribe to all but what is denied gets the filter, and is to have each topic checked.
 */
static void what_is_denied_is_taken_from_all_other_rules(void **state)
{
    const uint32_t both = BIT(PUBLISH) | BIT(SUBSCRIBE);
    const struct access_rule rules[] = {
        {both, ANY, ANY, ANY, ONE("plant/#")},
        {both, ANY, ANY, ANY, ONE("plant/secret/#"), .denies = true},
        {BIT(SUBSCRIBE), ANY, ONE("default"), ANY, ONE("+/keys"), .denies = true},
        {BIT(SUBSCRIBE), ANY, ONE("other"), ANY, ONE("#"), .denies = true},
        {both, ANY, ANY, ANY, ONE("plant/secret/mine")}, /* whatever the order */
        {BIT(GET), ONE("Device"), ANY, ANY, ANY},
    };
    static const struct {
        const char *topic;
        bool may_publish, may_subscribe, is_cut;
    } cases[] = {
        {"plant/a", true, true, false},
        {"plant/secret", false, false, false},
        {"plant/secret/x", false, false, false},
        {"plant/secret/mine", false, false, false},
        {"plant/secret/+", false, false, false},
        {"plant/secret/#", false, false, false},
        {"plant/keys", true, false, false},
        {"plant/100%/x", true, true, false},
        {"plant/#", false, true, true},
        {"plant/+", false, true, true},
        {"plant/+/x", false, true, true},
        {"#", false, false, false},
        {"x", false, false, false},
    };
    const struct access_client client = {.id = STR("7")};
    struct identity *who = with(rules, sizeof rules / sizeof rules[0]);
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct str topic = str_of(cases[i].topic);
        bool is_cut = false, is_filter = strpbrk(cases[i].topic, "+#") != NULL;
        bool publish = access_check_topic(who, VERB_PUBLISH, &client, topic) == ERR_OK,
             subscribe = access_check_subscription(who, &client, topic, &is_cut) == ERR_OK,
             whole = access_check_topic(who, VERB_SUBSCRIBE, &client, topic) == ERR_OK;
        if (publish != cases[i].may_publish || subscribe != cases[i].may_subscribe ||
            (subscribe && is_cut != cases[i].is_cut) ||
            whole != (cases[i].may_subscribe && !(is_filter && cases[i].is_cut)))
            fail_msg("%s", cases[i].topic);
    }
    assert_true(may(who, VERB_GET, "Device", "default", "d", "plant/secret/x"));
    /* Who gets a right need not have the rule that denies. */
    const struct access_rule given[] = {
        {both, ANY, ONE("default"), ANY, ONE("plant/#")},
        {both, ANY, ONE("default"), ANY, ONE("plant/a")},
        {both, ANY, ONE("default"), ANY, ONE("plant/%c")},
        {both, ANY, ONE("default"), ANY, ONE("plant/%c/x/y")},
        {both, ANY, ANY, ANY, ONE("plant/a")}, /* `other` is one of them */
        {both, ANY, ONE("default"), ANY, ONE("plant/a"), .denies = true},
        {both, ANY, ANY, ANY, ONE("plant/secret/#"), .denies = true}, /* nor takes it away */
    };
    static const bool may_give[] = {false, true, false, false, false, true, false};
    for (size_t i = 0; i < sizeof given / sizeof given[0]; i++)
        if ((access_covers(who, &given[i], 1, NULL) == ERR_OK) != may_give[i])
            fail_msg("giving %zu", i);
    identity_release(who);
}

static void nobody_gives_more_than_he_has(void **state)
{
    (void)state;
    const struct access_rule mine[] = {
        {BIT(GET) | BIT(CREATE), ONE("Device"), ONE("prod"), ANY, ONE("line1/#")},
        {BIT(CREATE) | BIT(UPDATE), ONE("Role"), ANY, ANY, ANY},
    };
    const struct {
        bool is_covered;
        struct access_rule rule;
    } cases[] = {
        {true, {BIT(GET), ONE("Device"), ONE("prod"), ANY, ONE("line1/a")}},
        {true, {BIT(GET), ONE("device"), ONE("prod"), ONE("x"), ONE("line1/+")}},
        {true, {BIT(CREATE), ONE("Role"), ONE("q"), ANY, ANY}},
        {true, {0, ANY, ANY, ANY, ANY}},
        {false, {BIT(GET), ONE("Device"), ONE("prod"), ANY, ONE("#")}},
        {false, {BIT(GET), ONE("Device"), ONE("prod"), ANY, ONE("+/a")}},
        {false, {BIT(GET), ONE("Device"), ONE("prod"), ANY, ANY}},
        {false, {BIT(GET), ONE("Device"), ANY, ANY, ONE("line1/a")}},
        {false, {BIT(GET), ANY, ONE("prod"), ANY, ONE("line1/a")}},
        {false, {BIT(GET) | BIT(DELETE), ONE("Device"), ONE("prod"), ANY, ONE("line1/a")}},
        {false, {BIT(UPDATE), ONE("User"), ANY, ANY, ANY}},
    };
    struct identity *who = with(mine, 2);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        enum err err = access_covers(who, &cases[i].rule, 1, NULL);
        if ((err == ERR_OK) != cases[i].is_covered) fail_msg("case %zu", i);
    }
    struct identity *admin = identity_new("root", "admin");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(access_covers(admin, &cases[i].rule, 1, NULL), ERR_OK);
    identity_release(admin);
    identity_release(who);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_filter_covers_what_mqtt_says_and_never_more),
        cmocka_unit_test(filters_that_share_a_topic_overlap),
        cmocka_unit_test(all_parts_of_one_rule_must_fit),
        cmocka_unit_test(an_empty_list_and_a_star_in_a_name_fit_nothing),
        cmocka_unit_test(names_in_a_path_are_those_of_who_asks_and_no_wildcards),
        cmocka_unit_test(what_is_denied_is_taken_from_all_other_rules),
        cmocka_unit_test(nobody_gives_more_than_he_has),
    };
    return cmocka_run_group_tests_name("role", tests, NULL, NULL);
}
