/* access_test.c - claims about users, passwords, tokens and rights, on real files and workers. */
#include "access/access_priv.h"
#include "access/scram.h"
#include "base/timetext.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

/* Each claim runs as the program's main task: setup → body → events → end. */
struct world {
    struct os *os;
    struct os_task *task;
    struct loop main;
    struct context context;
    char folder[64], password[64];
    struct access *access;
    struct access_login login;
    void (*body)(struct world *w);
    void (*then)(struct world *w); /* after a login */
    unsigned step;
    int64_t began_ns;
};

static void end(struct world *w)
{
    access_close(w->access);
    w->access = NULL;
    pool_stop(w->context.workers);
    os_real_main_stop(w->task);
}

static void on_start(void *arg, struct os_task *task)
{
    struct world *w = arg;
    w->task = task;
    loop_adopt(&w->main, w->os, "main", task);
    w->context.os = w->os;
    w->context.main = &w->main;
    budget_init(&w->context.memory, "test", NULL, SIZE_MAX);
    assert_int_equal(pool_start(&w->context.workers, w->os, "worker", 1, NULL), ERR_OK);
    assert_int_equal(access_open(&w->context, w->folder, NULL, w->password, &w->access, NULL),
                     ERR_OK);
    w->body(w);
}

static void on_wake(void *arg)
{
    loop_run_jobs(&((struct world *)arg)->main);
}
static void on_signal(void *arg, int signum)
{
    (void)arg;
    (void)signum;
}

static void run(void (*body)(struct world *w))
{
    struct world w = {.os = os_real_new(), .folder = "/tmp/access_test_XXXXXX", .body = body};
    assert_non_null(mkdtemp(w.folder));
    struct os_main m = {on_start, on_wake, on_signal, &w};
    assert_int_equal(os_real_main(w.os, &m, NULL), ERR_OK);
    os_real_free(w.os);
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", w.folder);
    assert_int_equal(system(command), 0);
}

static void login_done(struct completion *c)
{
    struct access_login *login = (struct access_login *)c;
    struct world *w = (struct world *)((char *)login - offsetof(struct world, login));
    w->then(w);
}

static void log_in(struct world *w, const char *user, const char *password,
                   void (*then)(struct world *w))
{
    memset(&w->login, 0, sizeof w->login);
    completion_init(&w->login.completion, &w->main, login_done);
    snprintf(w->login.user, sizeof w->login.user, "%s", user);
    snprintf(w->login.password, sizeof w->login.password, "%s", password);
    w->then = then;
    w->began_ns = context_mono_ns(&w->context);
    access_login(w->access, &w->login);
}

static void reopen(struct world *w)
{
    char again[64];
    access_close(w->access);
    pool_stop(w->context.workers);
    loop_run_jobs(&w->main);
    assert_int_equal(pool_start(&w->context.workers, w->os, "worker", 1, NULL), ERR_OK);
    assert_int_equal(access_open(&w->context, w->folder, NULL, again, &w->access, NULL), ERR_OK);
    assert_string_equal(again, ""); /* nothing new to tell */
}

static void path_of(const struct world *w, const char *name, char out[128])
{
    snprintf(out, 128, "%s/%s", w->folder, name);
}

static size_t read_all(const struct world *w, const char *name, char *out, size_t size)
{
    char path[128];
    path_of(w, name, path);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    size_t n = fread(out, 1, size - 1, f);
    out[n] = 0;
    fclose(f);
    return n;
}

static void write_all(const struct world *w, const char *name, const char *bytes, size_t size)
{
    char path[128];
    path_of(w, name, path);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    fclose(f);
}

/* ---- logins ---- */

static void known_pair_is_quick(struct world *w)
{
    assert_int_equal(w->login.completion.err, ERR_OK);
    assert_true(context_mono_ns(&w->context) - w->began_ns < 3 * TIME_NS_PER_MS);
    identity_release(w->login.identity);
    end(w);
}

static void right_password(struct world *w)
{
    assert_int_equal(w->login.completion.err, ERR_OK);
    assert_string_equal(w->login.identity->user, "admin");
    assert_string_equal(w->login.identity->role, "admin");
    assert_string_equal(w->login.password, ""); /* wiped */
    identity_release(w->login.identity);
    log_in(w, "admin", w->password, known_pair_is_quick);
}

static void start_right(struct world *w)
{
    assert_int_equal(strlen(w->password), 14);
    log_in(w, "admin", w->password, right_password);
}

static void the_printed_password_logs_in(void **state)
{
    (void)state;
    run(start_right);
}

static void after_wrong(struct world *w)
{
    static const struct {
        const char *user, *password;
        int64_t at_least_ms;
    } tries[] = {{"admin", "wrong", 0},
                 {"admin", "", 100},
                 {"admin", "admin", 200},
                 {"nobody", "x", 0},
                 {"", "", 0}};
    if (w->step > 0) {
        assert_int_equal(w->login.completion.err, ERR_UNAUTHENTICATED);
        assert_null(w->login.identity);
        assert_string_equal(w->login.completion.why.text, "user or password is wrong");
        int64_t took = (context_mono_ns(&w->context) - w->began_ns) / TIME_NS_PER_MS;
        assert_true(took >= tries[w->step - 1].at_least_ms);
    }
    if (w->step == sizeof tries / sizeof tries[0]) {
        assert_int_equal(metric_get(&w->context, METRIC_LOGIN_FAILURES), w->step);
        end(w);
        return;
    }
    w->step++;
    log_in(w, tries[w->step - 1].user, tries[w->step - 1].password, after_wrong);
}

static void wrong_user_and_wrong_password_read_the_same_and_get_slower(void **state)
{
    (void)state;
    run(after_wrong);
}

/* ---- tokens and files ---- */

static void tokens(struct world *w)
{
    char token[ACCESS_TOKEN_BYTES], session[ACCESS_TOKEN_BYTES], path[128], text[256], again[256];
    struct stat info;
    path_of(w, "admin.token", path);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    path_of(w, "access", path);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);

    read_all(w, "admin.token", text, sizeof text);
    struct identity *admin = access_token_find(w->access, str_trim(str_of(text)));
    assert_non_null(admin);
    assert_string_equal(admin->role, "admin");
    assert_null(access_token_find(w->access, STR("mr_0")));
    assert_null(access_token_find(w->access, STR("")));

    assert_int_equal(access_put_user(w->access, "eve", "viewer", "default", "", false), ERR_OK);
    struct identity *viewer = access_resolve(w->access, "eve", "");
    assert_int_equal(access_token_make(w->access, viewer, 5 * TIME_NS_PER_MS, session), ERR_OK);
    assert_int_equal(access_token_make(w->access, viewer, TIME_NS_PER_S, token), ERR_OK);
    struct identity *found = access_token_find(w->access, str_of(session));
    assert_string_equal(found->user, "eve");
    assert_string_equal(found->role, "viewer");
    identity_release(found);
    usleep(6000);
    assert_null(access_token_find(w->access, str_of(session))); /* expired */
    access_token_drop(w->access, str_of(token));
    assert_null(access_token_find(w->access, str_of(token)));
    identity_release(viewer);
    identity_release(admin);

    reopen(w);
    read_all(w, "admin.token", again, sizeof again);
    assert_string_equal(text, again); /* survives a restart */
    admin = access_token_find(w->access, str_trim(str_of(again)));
    assert_non_null(admin);
    identity_release(admin);
    end(w);
}

static void tokens_expire_and_the_admin_token_survives(void **state)
{
    (void)state;
    run(tokens);
}

/* ---- in which namespace ---- */

static void expect_ns(struct identity *who, const char *ns)
{
    assert_non_null(who);
    assert_string_equal(who->ns, ns);
    identity_release(who);
}

/* A token of another issuer with roles of its own, in the name of `user`. */
static void put_jwt(struct access *a, const char *text, const char *user)
{
    uint8_t hash[ACCESS_HASH_BYTES];
    const struct access_jwt jwt = {
        .user = user, .roles = "viewer", .has_roles = true, .expires_ns = INT64_MAX, .key = 1};
    access_sha256(text, strlen(text), hash);
    assert_int_equal(access_put_jwt(a, hash, &jwt), ERR_OK);
}

/* A rule that takes away what other rules allow binds a user also when another issuer gives him as
 * many roles as there can be. */
static void many_roles(struct world *w)
{
    static const char text[] = "jwt-of-mallory";
    static const struct str paths[] = {{"secret/#", 8}};
    const struct access_rule deny = {.verbs = 1u << VERB_SUBSCRIBE,
                                     .namespaces = {.any = true},
                                     .paths = {false, 1, paths},
                                     .denies = true};
    const struct access_rule allow = {.verbs = 1u << VERB_SUBSCRIBE,
                                      .kinds = {.any = true},
                                      .namespaces = {.any = true},
                                      .names = {.any = true},
                                      .paths = {.any = true}};
    struct access *a = w->access;
    char names[ACCESS_ROLES_BYTES] = "", name[16];
    uint8_t hash[ACCESS_HASH_BYTES];
    assert_int_equal(access_put_role(a, "kept-out", &deny, 1), ERR_OK);
    assert_int_equal(access_put_user(a, "mallory", "kept-out", "default", "v", false), ERR_OK);
    for (int i = 0; i < ACCESS_ROLES_MAX; i++) {
        snprintf(name, sizeof name, "group-%d", i);
        assert_int_equal(access_put_role(a, name, &allow, 1), ERR_OK);
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", i ? "," : "", name);
    }
    const struct access_jwt jwt = {
        .user = "mallory", .roles = names, .has_roles = true, .expires_ns = INT64_MAX, .key = 1};
    access_sha256(text, strlen(text), hash);
    assert_int_equal(access_put_jwt(a, hash, &jwt), ERR_OK);
    struct identity *who = access_token_find(a, str_of(text));
    assert_non_null(who);
    const struct access_client client = {0};
    assert_int_equal(access_check_topic(who, VERB_SUBSCRIBE, &client, STR("open/a")), ERR_OK);
    assert_int_equal(access_check_topic(who, VERB_SUBSCRIBE, &client, STR("secret/a")),
                     ERR_FORBIDDEN);
    identity_release(who);
    end(w);
}

static void what_a_user_is_denied_holds_beside_any_number_of_roles_of_a_token(void **state)
{
    (void)state;
    run(many_roles);
}

static void namespaces(struct world *w)
{
    static const char in_line2[] = "jwt-of-eve", nobody[] = "jwt-of-nobody";
    struct access *a = w->access;
    char kept[ACCESS_TOKEN_BYTES], session[ACCESS_TOKEN_BYTES];
    uint8_t hash[ACCESS_HASH_BYTES];
    assert_int_equal(access_put_user(a, "eve", "viewer", "line2", "v", false), ERR_OK);
    struct identity *open = access_resolve(a, "eve", "");
    assert_int_equal(access_token_make(a, open, TIME_NS_PER_S, session), ERR_OK);
    access_token_text(a, kept, hash);
    assert_int_equal(access_put_token(a, hash, "eve", "", 0), ERR_OK);
    put_jwt(a, in_line2, "eve");
    put_jwt(a, nobody, "no-such-user");
    expect_ns(access_identify(a, "eve"), "line2");
    expect_ns(access_token_find(a, str_of(session)), "line2");
    expect_ns(access_token_find(a, str_of(kept)), "line2");
    expect_ns(access_token_find(a, str_of(in_line2)), "line2");
    expect_ns(access_token_find(a, str_of(nobody)), "default");
    expect_ns(access_identify(a, "admin"), "default");
    expect_ns(identity_new("x", "anonymous"), "default");
    /* It moves, and what is open with it. */
    assert_int_equal(access_put_user(a, "eve", "viewer", "line3", "v", false), ERR_OK);
    expect_ns(access_renew(a, open), "line3");
    expect_ns(access_token_find(a, str_of(kept)), "line3");
    identity_release(open);
    end(w);
}

static void whatever_stands_for_a_user_is_in_its_namespace(void **state)
{
    (void)state;
    run(namespaces);
}

/* Topics are asked for in the identity's own tree, unless the question names another one. */
static void a_topic_is_open_where_the_role_says(void **state)
{
    (void)state;
    static const struct str line2[] = {{"line2", 5}};
    const struct access_rule rule = {.verbs = 1u << VERB_SUBSCRIBE,
                                     .kinds = {.any = true},
                                     .namespaces = {false, 1, line2},
                                     .names = {.any = true},
                                     .paths = {.any = true}};
    struct role *role = role_new("of-line2", &rule, 1);
    struct identity *inside = identity_of("line2", "eve", &role, 1, 1),
                    *outside = identity_of("default", "eve", &role, 1, 1);
    const struct access_client own = {0}, there = {.ns = STR("line2")},
                               else_where = {.ns = STR("b")};
    assert_int_equal(access_check_topic(inside, VERB_SUBSCRIBE, &own, STR("x")), ERR_OK);
    assert_int_equal(access_check_topic(outside, VERB_SUBSCRIBE, &own, STR("x")), ERR_FORBIDDEN);
    assert_int_equal(access_check_topic(outside, VERB_SUBSCRIBE, &there, STR("x")), ERR_OK);
    assert_int_equal(access_check_topic(inside, VERB_SUBSCRIBE, &else_where, STR("x")),
                     ERR_FORBIDDEN);
    identity_release(inside);
    identity_release(outside);
    role_release(role);
}

/* ---- what ends a login ---- */

enum { ENDS = 5 };
static void (*const ends[ENDS])(struct access *a);

static void end_by_removing(struct access *a)
{
    access_remove_user(a, "eve");
}
static void end_by_disabling(struct access *a)
{
    assert_int_equal(access_put_user(a, "eve", "viewer", "default", "v", true), ERR_OK);
}
static void end_by_password(struct access *a)
{
    assert_int_equal(access_put_user(a, "eve", "viewer", "default", "another", false), ERR_OK);
}
static void end_by_role(struct access *a)
{
    assert_int_equal(access_put_user(a, "eve", "", "default", "v", false), ERR_OK);
}
static void end_by_unknown_role(struct access *a)
{
    assert_int_equal(access_put_user(a, "eve", "view", "default", "v", false), ERR_OK);
}
static void (*const ends[ENDS])(struct access *a) = {
    end_by_removing, end_by_disabling, end_by_password, end_by_role, end_by_unknown_role};

static bool may_read(const struct identity *who)
{
    return who && access_check(who, VERB_GET, "Device", STR("default"), STR("d"), STR("l/d"),
                               NULL) == ERR_OK;
}

/* Sessions, open connections and kept tokens alike: whatever was given before. */
static void ending(struct world *w)
{
    for (size_t i = 0; i < ENDS; i++) {
        char session[ACCESS_TOKEN_BYTES], kept[ACCESS_TOKEN_BYTES];
        uint8_t hash[ACCESS_HASH_BYTES];
        struct access *a = w->access;
        assert_int_equal(access_put_user(a, "eve", "viewer", "default", "v", false), ERR_OK);
        struct identity *open = access_resolve(a, "eve", "");
        assert_int_equal(access_token_make(a, open, TIME_NS_PER_S, session), ERR_OK);
        access_token_text(a, kept, hash);
        assert_int_equal(access_put_token(a, hash, "eve", "viewer,admin", 0), ERR_OK);
        struct identity *by_kept = access_token_find(a, str_of(kept));
        assert_true(may_read(by_kept));
        assert_string_equal(by_kept->role, "viewer"); /* not admin: eve has it not */
        ends[i](a);
        struct identity *left[] = {access_renew(a, open), access_token_find(a, str_of(session)),
                                   access_renew(a, by_kept)};
        bool is_password = ends[i] == end_by_password; /* kept tokens outlive a new password */
        for (size_t k = 0; k < 3; k++) {
            if (may_read(left[k]) != (k == 2 && is_password)) fail_msg("end %zu, login %zu", i, k);
            identity_release(left[k]);
        }
        access_remove_token(a, hash);
        assert_null(access_renew(a, by_kept));
        identity_release(by_kept);
        identity_release(open);
    }
    end(w);
}

static void what_ends_a_user_ends_all_its_logins(void **state)
{
    (void)state;
    run(ending);
}

static void remove_and_close(struct world *w)
{
    access_save(w->access); /* it is being written with him while he goes */
    access_remove_user(w->access, "admin");
    reopen(w);
    assert_null(access_find_user(w->access, "admin"));
    end(w);
}

static void a_change_behind_a_save_outlives_the_close(void **state)
{
    (void)state;
    run(remove_and_close);
}

static void damage(struct world *w)
{
    char good[8192], bad[8192], again[64], path[128];
    struct access *none = NULL;
    struct why why = WHY_NONE;
    size_t size = read_all(w, "access", good, sizeof good);
    access_close(w->access);
    w->access = NULL;
    assert_null(strstr(good, w->password));
    for (size_t i = 0; i < size; i += 7) { /* any flipped byte, any cut */
        memcpy(bad, good, size);
        bad[i] ^= 1;
        write_all(w, "access", bad, size);
        assert_int_equal(access_open(&w->context, w->folder, NULL, again, &none, &why),
                         ERR_CORRUPT);
        write_all(w, "access", good, i);
        assert_int_equal(access_open(&w->context, w->folder, NULL, again, &none, &why),
                         ERR_CORRUPT);
    }
    assert_non_null(strstr(why.text, "MILLRACE_ADMIN_PASSWORD"));
    assert_int_equal(access_open(&w->context, w->folder, "new", again, &w->access, &why), ERR_OK);
    path_of(w, "access.damaged", path);
    assert_int_equal(access(path, F_OK), 0);
    end(w);
}

static void a_damaged_file_lets_nobody_in(void **state)
{
    (void)state;
    run(damage);
}

static void failing_memory(struct world *w)
{
    char again[64];
    access_close(w->access);
    w->access = NULL;
    for (uint64_t n = 1;; n++) {
        struct access *a = NULL;
        mem_test_fail(n);
        enum err err = access_open(&w->context, w->folder, NULL, again, &a, NULL);
        bool done = mem_test_count() < n;
        mem_test_fail(0);
        if (!err) access_close(a);
        if (done) {
            assert_int_equal(err, ERR_OK);
            break;
        }
    }
    end(w);
}

static void every_failing_allocation_of_opening_is_survived(void **state)
{
    (void)state;
    run(failing_memory);
}

/* ---- verifiers and roles ---- */

static void a_verifier_matches_rfc_7677(void **state)
{
    (void)state;
    /* The example of RFC 7677 section 3 has a salt of 16 bytes: W22ZaJ0SNY7soEsUEjb6gQ==, password
     * "pencil". */
    static const uint8_t salt[SCRAM_SALT_BYTES] = {0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e,
                                                   0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa, 0x81};
    struct scram_verifier v, again;
    char text[SCRAM_TEXT_BYTES];
    scram_make(STR("pencil"), salt, 4096, &v);
    scram_print(&v, text);
    assert_string_equal(
        text,
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
        "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=");
    assert_true(scram_parse(str_of(text), &again));
    assert_true(scram_check(&again, STR("pencil")));
    assert_false(scram_check(&again, STR("pencils")));
    assert_false(scram_parse(STR("SCRAM-SHA-256$1:W22ZaJ0SNY7soEsUEjb6gQ==$x:y"), &again));
}

static void roles_allow_what_the_table_says(void **state)
{
    (void)state;
    static const struct {
        enum access_verb verb;
        const char *kind;
        const char *allowed; /* first letters of the roles: a e o v */
    } claims[] = {
        {VERB_GET, "Device", "aeov"},
        {VERB_WATCH, "node", "aeov"},
        {VERB_QUERY, "", "aeov"},
        {VERB_SUBSCRIBE, "", "aeov"},
        {VERB_WRITE_POINT, "Device", "aeo"},
        {VERB_CREATE, "Connection", "ae"},
        {VERB_DELETE, "table", "ae"},
        {VERB_INGEST, "", "ae"},
        {VERB_PUBLISH, "", "ae"},
        {VERB_UPDATE, "Node", "a"},
        {VERB_GET, "User", "a"},
        {VERB_CREATE, "Role", "a"},
        {VERB_LIST, "Token", "a"},
        {VERB_DELETE, "Unheard", "a"},
    };
    static const char *const names[] = {"admin", "engineer", "operator", "viewer"};
    for (size_t r = 0; r < 4; r++) {
        struct identity *who = identity_new("joe", names[r]);
        assert_non_null(who);
        for (size_t i = 0; i < sizeof claims / sizeof claims[0]; i++) {
            struct why why = WHY_NONE;
            enum err err = access_check(who, claims[i].verb, claims[i].kind, STR("default"),
                                        STR(""), STR("line3/press"), &why);
            bool allowed = strchr(claims[i].allowed, names[r][0]) != NULL;
            if ((err == ERR_OK) != allowed)
                fail_msg("%s %s %s", names[r], access_verb_name(claims[i].verb), claims[i].kind);
            if (err) assert_int_equal(err, ERR_FORBIDDEN);
        }
        identity_release(who);
    }
    struct why why = WHY_NONE;
    struct identity *eve = identity_new("eve", "viewer");
    assert_int_equal(access_check(eve, VERB_WRITE_POINT, "Device", STR("default"), STR(""),
                                  STR("line3/press"), &why),
                     ERR_FORBIDDEN);
    assert_string_equal(
        why.text,
        "user eve (role viewer) may not write-point Device line3/press in namespace default");
    identity_release(eve);
    assert_int_equal(access_check(NULL, VERB_GET, "", STR(""), STR(""), STR(""), NULL),
                     ERR_UNAUTHENTICATED);
    assert_null(identity_new("x", "no-such-role"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_verifier_matches_rfc_7677),
        cmocka_unit_test(roles_allow_what_the_table_says),
        cmocka_unit_test(the_printed_password_logs_in),
        cmocka_unit_test(wrong_user_and_wrong_password_read_the_same_and_get_slower),
        cmocka_unit_test(tokens_expire_and_the_admin_token_survives),
        cmocka_unit_test(whatever_stands_for_a_user_is_in_its_namespace),
        cmocka_unit_test(what_a_user_is_denied_holds_beside_any_number_of_roles_of_a_token),
        cmocka_unit_test(a_topic_is_open_where_the_role_says),
        cmocka_unit_test(what_ends_a_user_ends_all_its_logins),
        cmocka_unit_test(a_change_behind_a_save_outlives_the_close),
        cmocka_unit_test(a_damaged_file_lets_nobody_in),
        cmocka_unit_test(every_failing_allocation_of_opening_is_survived),
    };
    return cmocka_run_group_tests_name("access", tests, NULL, NULL);
}
