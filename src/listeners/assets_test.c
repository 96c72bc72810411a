/* assets_test.c - claims about the console's files in the program. Each was seen to fail with its
 * cause taken out. */
#include "listeners/assets.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

enum {
    PAGE_GZIP_BYTES_MAX = 60 * 1024,
    BROKER_BYTES_MAX = 20 * 1024,
    GZIP_HEADER_BYTES = 10,
    GZIP_TRAILER_BYTES = 8,
    ETAG_DIGITS = 16
};

static void the_root_is_the_index_page(void **state)
{
    (void)state;
    const struct asset *root = asset_find("/");
    assert_non_null(root);
    assert_ptr_equal(root, asset_find("/index.html"));
    assert_string_equal(root->content_type, "text/html; charset=utf-8");
}

static void script_and_style_are_there_with_their_types(void **state)
{
    (void)state;
    const struct asset *script = asset_find("/app.js"), *style = asset_find("/app.css");
    assert_non_null(script);
    assert_non_null(style);
    assert_string_equal(script->content_type, "text/javascript; charset=utf-8");
    assert_string_equal(style->content_type, "text/css; charset=utf-8");
}

static void only_exact_paths_are_found(void **state)
{
    (void)state;
    static const char *const absent[] = {"",           "app.js",    "/app",
                                         "/app.js/",   "/APP.JS",   "//app.js",
                                         "/../app.js", "/app.js?x", "/v1/about"};
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++)
        assert_null(asset_find(absent[i]));
}

/* RFC 1952 section 2.3: magic, deflate, no flags, and mtime 0, without which a build would differ
 * from the next. */
static void every_file_is_gzip_without_a_time_stamp(void **state)
{
    (void)state;
    assert_true(console_asset_count >= 3);
    for (size_t i = 0; i < console_asset_count; i++) {
        const struct asset *a = &console_assets[i];
        assert_true(a->gzip_size_bytes > GZIP_HEADER_BYTES + GZIP_TRAILER_BYTES);
        static const unsigned char head[8] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0};
        assert_memory_equal(a->gzip, head, sizeof head);
        assert_int_equal(strlen(a->etag), ETAG_DIGITS);
        assert_int_equal(strspn(a->etag, "0123456789abcdef"), ETAG_DIGITS);
    }
}

/* The first page's files, and what the broker page adds to them: console/README.md. */
static void the_files_of_each_page_stay_within_its_budget(void **state)
{
    (void)state;
    size_t first = 0, broker = 0;
    for (size_t i = 0; i < console_asset_count; i++) {
        const struct asset *a = &console_assets[i];
        *(strncmp(a->path, "/broker.", 8) == 0 ? &broker : &first) += a->gzip_size_bytes;
    }
    assert_in_range(first, 1, PAGE_GZIP_BYTES_MAX);
    assert_in_range(broker, 1, BROKER_BYTES_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_root_is_the_index_page),
        cmocka_unit_test(script_and_style_are_there_with_their_types),
        cmocka_unit_test(only_exact_paths_are_found),
        cmocka_unit_test(every_file_is_gzip_without_a_time_stamp),
        cmocka_unit_test(the_files_of_each_page_stay_within_its_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
