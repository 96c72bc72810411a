/* csv_test.c - claims about comma-separated rows. */
#include "data/csv.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct csv_reader reader;
static struct arena arena;

/* All rows of the text: fields joined by '|', quoted ones in <>, rows by '/', errors as '!'. */
static const char *rows_of(struct csv_format format, const char *text)
{
    static char out[512];
    struct str rest = str_of(text);
    size_t used, n = 0;
    reader = (struct csv_reader){.format = format};
    out[0] = 0;
    while (rest.size) {
        enum err err = csv_read(&reader, rest, true, &arena, &used, NULL);
        assert_true(used > 0);
        rest = (struct str){rest.at + used, rest.size - used};
        if (n) n += (size_t)snprintf(out + n, sizeof out - n, "/");
        if (err) n += (size_t)snprintf(out + n, sizeof out - n, "!");
        for (size_t i = 0; i < reader.field_count && n < sizeof out; i++) {
            const struct csv_field *f = &reader.fields[i];
            n += (size_t)snprintf(out + n, sizeof out - n, f->is_quoted ? "%s<%.*s>" : "%s%.*s",
                                  i ? "|" : "", (int)f->text.size, f->text.at);
        }
    }
    return out;
}

static void fields_rows_and_quotes_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        struct csv_format format;
        const char *text, *rows;
    } cases[] = {
        {{',', '"', '"'}, "a,b\n1,2", "a|b/1|2"},
        {{',', '"', '"'}, "a,b\r\n1,2\r3,4\n", "a|b/1|2/3|4"},
        {{',', '"', '"'},
         "\xEF\xBB\xBF"
         "a,b\n",
         "a|b"},
        {{',', '"', '"'}, "\"a,\"\"b\"\"\nc\",\"\",x\n", "<a,\"b\"\nc>|<>|x"},
        {{',', '"', '"'}, "a\"b,c\"d,e\n", "<ab,cd>|e"},
        {{',', '"', '"'}, ",,\n\nx\n", "||//x"},
        {{';', '"', '\\'}, "\"a\\\"b\";1,5\n", "<a\"b>|1,5"},
        {{' ', '"', '"', true}, "  1  2   3  \n\n4 \"\" 5\n", "1|2|3//4|<>|5"},
        {{',', '"', '"'},
         "12345678,1234567,123456\n\x01\x0b,\x0f\n",
         "12345678|1234567|123456/\x01\x0b|\x0f"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_string_equal(rows_of(cases[i].format, cases[i].text), cases[i].rows);
}

static void a_missing_quote_costs_its_line_alone(void **state)
{
    (void)state;
    assert_string_equal(rows_of(CSV_COMMA, "1,\"x\n2,y\n3,z\n"), "!/2|y/3|z");
    size_t size = CSV_ROW_BYTES_MAX * 2, used;
    char *text = malloc(size);
    assert_non_null(text);
    memset(text, 'a', size);
    static const char begin[] = {'1', ',', '"', 'x', '\n', '2', ',', 'y', '\n'};
    memcpy(text, begin, sizeof begin);
    reader = (struct csv_reader){.format = CSV_COMMA};
    struct why why = WHY_NONE;
    assert_int_equal(csv_read(&reader, (struct str){text, size}, false, &arena, &used, &why),
                     ERR_LIMIT);
    assert_non_null(strstr(why.text, "quote"));
    assert_int_equal(used, 5);
    struct str rest = {text + used, size - used};
    assert_int_equal(csv_read(&reader, rest, false, &arena, &used, NULL), ERR_OK);
    assert_true(reader.line == 2 && reader.field_count == 2);
    free(text);
}

static void a_row_waits_for_its_end_and_for_half_a_line_end(void **state)
{
    (void)state;
    static const char *const open[] = {"", "a", "a,", "a,\"b", "a,\"b\"", "a,b\r", "\xEF\xBB"};
    for (size_t i = 0; i < sizeof open / sizeof open[0]; i++) {
        size_t used;
        reader = (struct csv_reader){.format = CSV_COMMA};
        assert_int_equal(csv_read(&reader, str_of(open[i]), false, &arena, &used, NULL), ERR_OK);
        assert_int_equal(used, 0);
    }
}

static void lines_count_what_stands_inside_quotes(void **state)
{
    (void)state;
    size_t used;
    struct str rest = STR("\"a\nb\nc\",1\nx,y\n");
    reader = (struct csv_reader){.format = CSV_COMMA};
    assert_int_equal(csv_read(&reader, rest, true, &arena, &used, NULL), ERR_OK);
    assert_int_equal(reader.line, 1);
    rest = (struct str){rest.at + used, rest.size - used};
    assert_int_equal(csv_read(&reader, rest, true, &arena, &used, NULL), ERR_OK);
    assert_int_equal(reader.line, 4);
}

static void too_many_fields_are_refused_and_passed_over(void **state)
{
    (void)state;
    struct buf text = BUF_EMPTY;
    struct why why = WHY_NONE;
    size_t used;
    for (int i = 0; i < CSV_FIELDS_MAX; i++) buf_add_text(&text, "1,");
    buf_add_text(&text, "1\nnext\n");
    reader = (struct csv_reader){.format = CSV_COMMA};
    assert_int_equal(csv_read(&reader, buf_str(&text), true, &arena, &used, &why), ERR_LIMIT);
    assert_int_equal(used, 2 * CSV_FIELDS_MAX + 2);
    assert_non_null(strstr(why.text, "1024"));
    /* Of a line whose end has not come nothing is given up yet. */
    struct str open = {text.at, text.size - 6};
    reader = (struct csv_reader){.format = CSV_COMMA};
    assert_int_equal(csv_read(&reader, open, false, &arena, &used, NULL), ERR_LIMIT);
    assert_int_equal(used, 0);
    buf_free(&text);
}

static void what_is_written_is_quoted_where_it_must_be(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool must;
        const char *written;
    } cases[] = {{"plain text, long", false, "\"plain text, long\""},
                 {"plain", false, "plain"},
                 {"plain", true, "\"plain\""},
                 {"a\"b", false, "\"a\"\"b\""},
                 {"a\nb", false, "\"a\nb\""},
                 {"", true, "\"\""}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf out = BUF_EMPTY;
        csv_add(&out, CSV_COMMA, str_of(cases[i].text), cases[i].must);
        assert_string_equal(buf_cstr(&out), cases[i].written);
        buf_free(&out);
    }
}

static void words_for_no_value_are_known(void **state)
{
    (void)state;
    static const char *const missing[] = {"", "NULL", "null", "NA", "N/A", "NaN", "\\N"};
    static const char *const present[] = {"0", "none", "Nanny", "N", "NAN1", "-", " "};
    for (size_t i = 0; i < sizeof missing / sizeof missing[0]; i++)
        assert_true(csv_is_missing(str_of(missing[i])));
    for (size_t i = 0; i < sizeof present / sizeof present[0]; i++)
        assert_false(csv_is_missing(str_of(present[i])));
}

static void no_memory_takes_nothing(void **state)
{
    (void)state;
    size_t used;
    struct arena small;
    arena_init(&small, NULL);
    reader = (struct csv_reader){.format = CSV_COMMA};
    mem_test_fail(1);
    assert_int_equal(csv_read(&reader, STR("\"a\"\"b\"\n"), true, &small, &used, NULL),
                     ERR_NO_MEMORY);
    mem_test_fail(0);
    assert_int_equal(used, 0);
    assert_int_equal(csv_read(&reader, STR("\"a\"\"b\"\n"), true, &small, &used, NULL), ERR_OK);
    assert_true(str_is(reader.fields[0].text, "a\"b") && reader.line == 1);
    arena_free(&small);
}

static int free_arena(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

#define TEST(name) cmocka_unit_test_teardown(name, free_arena)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(fields_rows_and_quotes_are_told_apart),
        TEST(a_missing_quote_costs_its_line_alone),
        TEST(a_row_waits_for_its_end_and_for_half_a_line_end),
        TEST(lines_count_what_stands_inside_quotes),
        TEST(too_many_fields_are_refused_and_passed_over),
        TEST(what_is_written_is_quoted_where_it_must_be),
        TEST(words_for_no_value_are_known),
        TEST(no_memory_takes_nothing),
    };
    return cmocka_run_group_tests_name("csv", tests, NULL, NULL);
}
