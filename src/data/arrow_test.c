/* arrow_test.c - claims about Arrow streams that need no other reader: bounds, alignment, failing
 * memory. That readers understand them is claimed by test/test_export.py. */
#include "data/arrow.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <string.h>

static const struct arrow_column columns[] = {
    {"time", NULL, TYPE_TIMESTAMP}, {"on", "", TYPE_BOOL},        {"n", "V", TYPE_BIGINT},
    {"name", NULL, TYPE_TEXT},      {"wave", NULL, TYPE_DOUBLES}, {"none", NULL, TYPE_NONE}};
enum { COLUMNS = sizeof columns / sizeof columns[0] };

/* Rows of which every third value is missing. */
static bool write_stream(struct buf *out, int rows)
{
    struct arrow_writer *w = arrow_new(columns, COLUMNS, out);
    static const double wave[] = {1, 2.5};
    for (int i = 0; w && i < rows; i++) {
        struct value v[COLUMNS];
        for (size_t c = 0; c < COLUMNS; c++)
            v[c] = (struct value){.type = columns[c].type,
                                  .is_null = (i + (int)c) % 3 == 0 || !columns[c].type,
                                  .i = i};
        v[1] = (struct value){.type = TYPE_BOOL, .is_null = v[1].is_null, .b = i % 2};
        v[3].s = STR("a text");
        v[4].s = (struct str){(const char *)wave, sizeof wave};
        arrow_row(w, v, out);
    }
    if (w) arrow_end(w, out);
    arrow_free(w);
    return w && !buf_failed(out);
}

static uint64_t number_at(const struct buf *b, size_t at, size_t bytes)
{
    uint64_t v = 0;
    assert_true(at + bytes <= b->size);
    for (size_t i = bytes; i-- > 0;) v = v << 8 | (unsigned char)b->at[at + i];
    return v;
}

/* The body's size, as field 3 of the message says it. */
static size_t body_bytes_of(const struct buf *b, size_t meta)
{
    size_t table = meta + number_at(b, meta, 4), list = table - number_at(b, table, 4);
    size_t field = number_at(b, list, 2) > 10 ? number_at(b, list + 10, 2) : 0;
    return field ? number_at(b, table + field, 8) : 0;
}

static void a_stream_is_a_row_of_aligned_messages_and_an_end(void **state)
{
    (void)state;
    struct buf out = BUF_EMPTY;
    size_t at = 0, messages = 0;
    assert_true(write_stream(&out, 100000));
    for (;; messages++) {
        assert_int_equal(at % 8, 0);
        assert_int_equal(number_at(&out, at, 4), UINT32_MAX);
        size_t meta_bytes = number_at(&out, at + 4, 4);
        if (!meta_bytes) break;
        assert_int_equal(meta_bytes % 8, 0);
        size_t body_bytes = body_bytes_of(&out, at + 8);
        assert_int_equal(body_bytes % 8, 0);
        assert_true(messages ? body_bytes <= 5 * ARROW_BATCH_BYTES / 4 : body_bytes == 0);
        at += 8 + meta_bytes + body_bytes;
    }
    assert_true(messages > 10);
    assert_int_equal(at + 8, out.size);
    buf_free(&out);
}

static void every_failing_allocation_is_told(void **state)
{
    (void)state;
    for (uint64_t n = 1;; n++) {
        struct buf out = BUF_EMPTY;
        mem_test_fail(n);
        bool is_good = write_stream(&out, 10000);
        bool reached = mem_test_count() >= n;
        mem_test_fail(0);
        buf_free(&out);
        assert_int_equal(is_good, !reached);
        if (!reached) break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_is_a_row_of_aligned_messages_and_an_end),
        cmocka_unit_test(every_failing_allocation_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
