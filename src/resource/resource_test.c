/* resource_test.c - claims about documents, validation and the registry. */
#include "resource/registry.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>
#include <time.h>

static struct arena arena;

static int free_arena(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

static struct doc *yaml(const char *text)
{
    struct doc **docs;
    size_t count;
    struct why why = WHY_NONE;
    enum err err = doc_read_yaml(str_of(text), "test.yaml", &arena, &docs, &count, &why);
    if (err || count != 1) fail_msg("%s", why_text(&why, err));
    return docs[0];
}

static void yaml_scalars_follow_the_core_schema(void **state)
{
    (void)state;
    struct doc *d = yaml(
        "{a: yes, b: true, c: 012, d: 1.5, e: '7', f: ~, g: 1s, h: -3, i: .5, j: 0x1f, k: ''}");
    assert_int_equal(doc_get(d, "a")->kind, DOC_STRING);
    assert_int_equal(doc_get(d, "b")->kind, DOC_BOOL);
    assert_int_equal(doc_get(d, "d")->kind, DOC_NUMBER);
    assert_int_equal(doc_get(d, "e")->kind, DOC_STRING);
    assert_int_equal(doc_get(d, "f")->kind, DOC_NULL);
    assert_int_equal(doc_get(d, "g")->kind, DOC_STRING);
    assert_int_equal(doc_get(d, "h")->kind, DOC_NUMBER);
    assert_int_equal(doc_get(d, "j")->kind, DOC_STRING);
    assert_int_equal(doc_get(d, "k")->kind, DOC_STRING);
}

static void yaml_trouble_names_file_line_and_column(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part;
    } cases[] = {{"a: 1\na: 2", "test.yaml:2:1: the key stands here twice"},
                 {"a: [1", "test.yaml:2:1"},
                 {"a: &x 1\nb: *x", "aliases"},
                 {"? [a]\n: b", "key must be plain"},
                 {"a: \"x\\0y\"", "NUL character"},
                 {"a: \"\\xff\"x", "test.yaml:1"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct doc **docs;
        size_t count;
        struct why why = WHY_NONE;
        if (!doc_read_yaml(str_of(cases[i].text), "test.yaml", &arena, &docs, &count, &why))
            fail_msg("accepted: %s", cases[i].text);
        if (!strstr(why.text, cases[i].part)) fail_msg("%s: %s", cases[i].text, why.text);
    }
}

static enum err read_kind(const char *text, struct resource **r, struct problems *problems,
                          struct why *why)
{
    problems_init(problems, &arena);
    return resource_read(yaml(text), "test.yaml", r, problems, why);
}

#define DEVICE                                                                                     \
    "apiVersion: millrace.io/v1\nkind: Device\nmetadata: {name: p1}\nspec:\n  path: line1/p1\n  table: t\n  connection: c\n"

static void a_device_is_read_with_its_defaults(void **state)
{
    (void)state;
    struct resource *r;
    struct problems problems;
    struct why why = WHY_NONE;
    assert_int_equal(read_kind(DEVICE "  points: [{column: a, address: \"1!400001\", max: 5}]\n",
                               &r, &problems, &why),
                     ERR_OK);
    const struct device_spec *spec = r->spec;
    const struct point_spec *point = spec->points.items;
    assert_int_equal(spec->interval_ns, 1000000000);
    assert_true(spec->enabled && point->enabled && point->scale == 1 && isnan(point->min) &&
                point->max == 5);
    assert_true(str_is(point->type, "int16") && point->access == POINT_ACCESS_READ);
    resource_release(r);
}

static void plain_text_is_a_number_where_json_has_it_too(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_number;
    } cases[] = {{"0", true},
                 {"-0", true},
                 {"10", true},
                 {"1.50", true},
                 {"-2.5e-3", true},
                 {"1E9", true},
                 {"007", false},
                 {"+5", false},
                 {".5", false},
                 {"5.", false},
                 {"-.5", false},
                 {"1e", false},
                 {"1e400", false},
                 {"0x1F", false},
                 {"1.e5", false},
                 {"-", false},
                 {"9223372036854775807", true},
                 {"9223372036854775808", false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct doc *doc = yaml(cases[i].text), *back;
        struct buf text = BUF_EMPTY;
        if ((doc->kind == DOC_NUMBER) != cases[i].is_number) fail_msg("%s", cases[i].text);
        doc_write_json(&text, doc);
        assert_int_equal(doc_read_json(buf_str(&text), &arena, &back, NULL), ERR_OK);
        buf_free(&text);
    }
}

static void a_resource_outlives_the_tree_that_it_was_read_from(void **state)
{
    (void)state;
    struct arena own;
    struct doc **docs, *spec;
    size_t count;
    struct resource *r;
    struct problems problems;
    const char *text =
        "apiVersion: millrace.io/v1\nkind: Connection\nmetadata: {name: c, labels: {a: b}}\n"
        "spec:\n  driver: modbus\n  endpoint: tcp://h:502\n  options: {unit: 3}\n";
    arena_init(&own, NULL);
    problems_init(&problems, &own);
    assert_int_equal(doc_read_yaml(str_of(text), "f", &own, &docs, &count, NULL), ERR_OK);
    assert_int_equal(resource_read(docs[0], "f", &r, &problems, NULL), ERR_OK);
    arena_free(&own); /* the sanitizer sees who still looks into it */
    const struct connection_spec *c = r->spec;
    assert_true(str_is(c->endpoint, "tcp://h:502") &&
                str_is(doc_text(doc_get(c->options, "unit")), "3"));
    assert_int_equal(doc_get(r->spec_doc, "endpoint")->line, 6);
    assert_true(str_is(doc_text(doc_get(r->labels, "a")), "b"));
    spec = resource_spec(r, &arena);
    assert_true(str_is(doc_text(doc_find(spec, "options.unit")), "3"));
    resource_release(r);
}

static void every_problem_of_a_document_is_told_with_its_path(void **state)
{
    (void)state;
    struct resource *r;
    struct problems problems;
    struct why why = WHY_NONE;
    assert_int_equal(
        read_kind(
            DEVICE
            "  interval: 1ms\n  intervall: 2s\n  points: [{column: a, adress: x, scale: [1]}]\n",
            &r, &problems, &why),
        ERR_INVALID);
    static const char *const paths[] = {"spec.intervall", "spec.interval", "spec.points[0].adress",
                                        "spec.points[0].address", "spec.points[0].scale"};
    const struct problem *p = problems.first;
    for (size_t i = 0; i < 5; i++, p = p->next) {
        assert_non_null(p);
        assert_string_equal(p->path, paths[i]);
    }
    assert_null(p);
    assert_non_null(strstr(
        why.text,
        "test.yaml:9:14: Device p1: spec.intervall: unknown key 'intervall'; did you mean 'interval'?"));
}

static void names_and_kinds_are_checked(void **state)
{
    (void)state;
    struct resource *r;
    struct problems problems;
    struct why why = WHY_NONE;
    assert_int_equal(read_kind("{apiVersion: millrace.io/v1, kind: Devise, metadata: {name: a}}",
                               &r, &problems, &why),
                     ERR_INVALID);
    assert_non_null(strstr(why.text, "did you mean Device?"));
    assert_int_equal(
        read_kind("{apiVersion: v1, kind: Table, metadata: {name: A_b}}", &r, &problems, &why),
        ERR_INVALID);
    assert_int_equal(problems.count, 2);
    assert_int_equal(read_kind("[]", &r, &problems, &why), ERR_INVALID);
    assert_int_equal(read_kind("{apiVersion: millrace.io/v1, kind: Table, metadata: {name: a, "
                               "labels: site}}",
                               &r, &problems, &why),
                     ERR_INVALID);
    assert_non_null(strstr(why.text, "metadata.labels: must be a map of texts"));
}

static void merge_patch_follows_rfc_7396(void **state)
{
    (void)state;
    struct doc *target = yaml("{a: {b: 1, c: 2}, d: 3, l: [1, 2]}"),
               *patch = yaml("{a: {c: null, e: {f: null, g: 1}}, d: x, l: [3]}");
    assert_true(doc_equal(doc_merge_patch(&arena, target, patch),
                          yaml("{d: x, a: {e: {g: 1}, b: 1}, l: [3]}")));
}

struct seen {
    int added, changed, removed;
};

static void a_file_may_hold_more_values_than_one_document(void **state)
{
    (void)state;
    struct os *os = os_real_new();
    struct registry *registry = registry_new(os);
    struct buf text = BUF_EMPTY;
    struct why why = WHY_NONE;
    for (int d = 0; d < 120; d++) {
        buf_printf(&text,
                   "---\napiVersion: millrace.io/v1\nkind: Device\nmetadata: {name: d%d}\n"
                   "spec:\n  path: d%d\n  table: t\n  connection: c\n  points:\n",
                   d, d);
        for (int i = 0; i < 500; i++)
            buf_printf(&text, "    - {column: c%d, address: \"1!%d\", type: int16}\n", i,
                       400001 + i);
    }
    assert_int_equal(registry_load_yaml(registry, buf_str(&text), "big.yaml", &why), ERR_OK);
    const struct resource *r = registry_get(registry, KIND_DEVICE, STR("default"), STR("d119"));
    const struct device_spec *spec = r->spec;
    const struct point_spec *points = spec->points.items;
    assert_int_equal(spec->points.count, 500);
    assert_true(str_is(points[499].column, "c499") && points[0].type.at == points[499].type.at);
    assert_int_equal(spec->points.lines[499], 120 * 509);
    buf_clear(&text);
    for (int i = 0; i < 2; i++)
        buf_add_text(&text, "---\napiVersion: millrace.io/v1\nkind: Table\nmetadata: {name: t}\n"
                            "spec: {columns: [{name: a, type: double}]}\n");
    assert_int_equal(registry_load_yaml(registry, buf_str(&text), "two.yaml", &why), ERR_EXISTS);
    assert_non_null(strstr(why.text, "two.yaml:7: Table t is defined already in two.yaml:2"));
    assert_null(registry_get(registry, KIND_TABLE, STR("default"), STR("t")));
    buf_free(&text);
    registry_free(registry);
    os_real_free(os);
}

static void watch(void *arg, const struct resource *old, const struct resource *now)
{
    struct seen *seen = arg;
    seen->added += !old;
    seen->removed += !now;
    seen->changed += old && now;
}

static void the_registry_counts_versions_and_tells_only_of_changes(void **state)
{
    (void)state;
    struct os *os = os_real_new();
    struct registry *registry = registry_new(os);
    struct seen seen = {0};
    struct why why = WHY_NONE;
    registry_watch_all(registry, watch, &seen);
    assert_int_equal(registry_load_yaml(registry, STR(DEVICE), "a.yaml", &why), ERR_OK);
    assert_int_equal(registry_load_yaml(registry, STR(DEVICE), "b.yaml", &why), ERR_EXISTS);
    assert_non_null(strstr(why.text, "defined already in a.yaml:1"));
    struct resource *r, *first = registry_get(registry, KIND_DEVICE, STR("default"), STR("p1"));
    struct problems problems;
    uint64_t version = first->version;
    assert_int_equal(strlen(first->uid), 36);
    assert_int_equal(read_kind(DEVICE, &r, &problems, &why), ERR_OK);
    assert_int_equal(registry_put(registry, r), ERR_OK); /* the same again */
    assert_int_equal(registry_version(registry), version);
    assert_int_equal(read_kind(DEVICE "  interval: 5s\n", &r, &problems, &why), ERR_OK);
    assert_int_equal(registry_put(registry, r), ERR_OK);
    assert_true(r->version == version + 1 && r->generation == 2);
    assert_true(registry_remove(registry, KIND_DEVICE, STR("default"), STR("p1")));
    assert_int_equal(seen.added, 1);
    assert_int_equal(seen.changed, 1);
    assert_int_equal(seen.removed, 1);
    registry_free(registry);
    os_real_free(os);
}

#define USER                                                                                       \
    "apiVersion: millrace.io/v1\nkind: User\nmetadata: {name: eve}\nspec: {roles: [viewer], "      \
    "verifier: VVV}\n"

static void secrets_are_kept_and_never_shown(void **state)
{
    (void)state;
    struct resource *r;
    struct problems problems;
    struct buf shown = BUF_EMPTY, stored = BUF_EMPTY;
    assert_int_equal(read_kind(USER, &r, &problems, NULL), ERR_OK);
    assert_true(resource_has_secrets(KIND_USER) && !resource_has_secrets(KIND_DEVICE));
    assert_true(resource_write_json(&shown, r) && resource_write_stored(&stored, r));
    assert_null(strstr(buf_cstr(&shown), "VVV"));
    assert_non_null(strstr(buf_cstr(&stored), "VVV"));
    assert_null(doc_find(resource_document(r, &arena), "spec.verifier"));
    assert_non_null(doc_find(resource_stored(r, &arena), "spec.verifier"));
    assert_non_null(strstr(buf_cstr(&stored), "test.yaml")); /* whose file it is */
    buf_free(&shown);
    buf_free(&stored);
    resource_release(r);
}

/* What a status change is: a new version of the same generation, and only for who asked. */
static void a_status_changes_the_version_and_nothing_else(void **state)
{
    (void)state;
    struct os *os = os_real_new();
    struct registry *registry = registry_new(os);
    struct seen all = {0}, with_status = {0};
    struct resource *r;
    struct problems problems;
    assert_int_equal(read_kind(DEVICE, &r, &problems, NULL), ERR_OK);
    assert_int_equal(registry_put(registry, r), ERR_OK);
    registry_watch_all(registry, watch, &all);
    registry_watch_status(registry, watch, &with_status);
    struct resource *before =
        resource_share(registry_get(registry, KIND_DEVICE, STR("default"), STR("p1")));
    for (int i = 0; i < 3; i++) { /* the third says what the second said */
        struct doc *status = yaml(i == 0 ? "{good: 1}" : "{good: 2}");
        bool changed =
            registry_set_status(registry, KIND_DEVICE, STR("default"), STR("p1"), status);
        assert_int_equal(changed, i < 2);
    }
    const struct resource *now = registry_get(registry, KIND_DEVICE, STR("default"), STR("p1"));
    assert_int_equal(now->generation, 1);
    assert_true(now->version == before->version + 2 && !before->status);
    assert_true(str_is(doc_text(doc_get(now->status, "good")), "2"));
    assert_true(now->spec == before->spec); /* shared, not copied */
    assert_int_equal(all.changed, 0);
    assert_int_equal(with_status.changed, 2);
    resource_release(before); /* its memory stays for who shares it */
    assert_true(str_is(now->name, "p1"));
    /* A new spec keeps the status that there is. */
    assert_int_equal(read_kind(DEVICE "  interval: 5s\n", &r, &problems, NULL), ERR_OK);
    assert_int_equal(registry_put(registry, r), ERR_OK);
    now = registry_get(registry, KIND_DEVICE, STR("default"), STR("p1"));
    assert_int_equal(now->generation, 2);
    assert_true(str_is(doc_text(doc_get(now->status, "good")), "2"));
    assert_false(
        registry_set_status(registry, KIND_DEVICE, STR("default"), STR("none"), yaml("{good: 1}")));
    registry_free(registry);
    os_real_free(os);
}

static void what_left_its_file_is_known(void **state)
{
    (void)state;
    struct os *os = os_real_new();
    struct registry *registry = registry_new(os);
    struct str two = STR("apiVersion: millrace.io/v1\nkind: Table\nmetadata: {name: a}\n---\n"
                         "apiVersion: millrace.io/v1\nkind: Table\nmetadata: {name: b}\n"),
               one = STR("apiVersion: millrace.io/v1\nkind: Table\nmetadata: {name: b}\n");
    registry_begin_load(registry);
    assert_int_equal(registry_load_yaml(registry, two, "f", NULL), ERR_OK);
    assert_int_equal(registry_load_yaml(registry, one, "g", NULL), ERR_EXISTS);
    registry_begin_load(registry);
    assert_int_equal(registry_load_yaml(registry, one, "f", NULL), ERR_OK); /* b again: no clash */
    const struct resource *a = registry_get(registry, KIND_TABLE, STR("default"), STR("a")),
                          *b = registry_get(registry, KIND_TABLE, STR("default"), STR("b"));
    assert_true(registry_has_vanished(registry, a) && !registry_has_vanished(registry, b));
    registry_free(registry);
    os_real_free(os);
}

/* A map of `count` keys: {"k0": 0,"k1": 1,…}. */
static void add_wide_map(struct buf *out, unsigned count)
{
    for (unsigned i = 0; i < count; i++) buf_printf(out, "%c\"k%u\": %u", i ? ',' : '{', i, i);
    buf_add_char(out, '}');
}

/* A body of 8 MiB may hold a million keys, and is read on the loop that serves all others. */
static void maps_of_many_keys_take_no_longer_than_lists(void **state)
{
    (void)state;
    enum { KEYS = 90000, CLOCKS_MAX = 5 * CLOCKS_PER_SEC };
    struct buf text = BUF_EMPTY, twice = BUF_EMPTY;
    struct doc *one = NULL, **docs;
    size_t count;
    struct why why = WHY_NONE;
    add_wide_map(&text, KEYS);
    clock_t start = clock();
    assert_int_equal(doc_read_json(buf_str(&text), &arena, &one, NULL), ERR_OK);
    assert_true(clock() - start < CLOCKS_MAX);
    assert_int_equal(doc_read_yaml(buf_str(&text), "f", &arena, &docs, &count, NULL), ERR_OK);
    assert_true(clock() - start < CLOCKS_MAX);
    struct doc *copy = doc_copy(&arena, one), *empty = doc_new(&arena, DOC_MAP);
    assert_true(clock() - start < CLOCKS_MAX);
    struct doc *patched = doc_merge_patch(&arena, empty, one);
    assert_true(clock() - start < CLOCKS_MAX);
    assert_true(doc_equal(one, copy) && doc_equal(one, docs[0]) && doc_equal(patched, one));
    assert_true(one->count == KEYS && clock() - start < CLOCKS_MAX);
    buf_add(&twice, text.at, text.size - 1);
    buf_add_text(&twice, ",\n\"k70000\": 1}");
    assert_int_equal(doc_read_yaml(buf_str(&twice), "f", &arena, &docs, &count, &why), ERR_SYNTAX);
    assert_non_null(strstr(why.text, "f:2:1: the key stands here twice"));
    buf_free(&text);
    buf_free(&twice);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(yaml_scalars_follow_the_core_schema, free_arena),
        cmocka_unit_test_teardown(yaml_trouble_names_file_line_and_column, free_arena),
        cmocka_unit_test_teardown(a_device_is_read_with_its_defaults, free_arena),
        cmocka_unit_test_teardown(plain_text_is_a_number_where_json_has_it_too, free_arena),
        cmocka_unit_test_teardown(a_resource_outlives_the_tree_that_it_was_read_from, free_arena),
        cmocka_unit_test_teardown(a_file_may_hold_more_values_than_one_document, free_arena),
        cmocka_unit_test_teardown(every_problem_of_a_document_is_told_with_its_path, free_arena),
        cmocka_unit_test_teardown(names_and_kinds_are_checked, free_arena),
        cmocka_unit_test_teardown(maps_of_many_keys_take_no_longer_than_lists, free_arena),
        cmocka_unit_test_teardown(merge_patch_follows_rfc_7396, free_arena),
        cmocka_unit_test_teardown(secrets_are_kept_and_never_shown, free_arena),
        cmocka_unit_test_teardown(a_status_changes_the_version_and_nothing_else, free_arena),
        cmocka_unit_test_teardown(what_left_its_file_is_known, free_arena),
        cmocka_unit_test_teardown(the_registry_counts_versions_and_tells_only_of_changes,
                                  free_arena),
    };
    return cmocka_run_group_tests_name("resource", tests, NULL, NULL);
}
