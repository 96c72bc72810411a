/* batch_test.c - claims about batches and their encoded form. */
#include "data/codec_rows.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <math.h>

static struct schema *press(void)
{
    struct schema *s = schema_new("default", "press", 7);
    assert_non_null(s);
    assert_int_equal(
        schema_add_column(s, 0, "temperature", TYPE_DOUBLE, COLUMN_OWNER_DOCUMENT, "°C", "", NULL),
        ERR_OK);
    assert_int_equal(
        schema_add_column(s, 0, "running", TYPE_BOOL, COLUMN_OWNER_DOCUMENT, "", "", NULL), ERR_OK);
    assert_int_equal(schema_add_column(s, 0, "note", TYPE_TEXT, COLUMN_OWNER_DATA, "", "", NULL),
                     ERR_OK);
    return s;
}

static void set_double(struct batch *b, double d)
{
    struct value v = {.type = TYPE_DOUBLE, .d = d};
    assert_int_equal(batch_set(b, schema_find(b->schema, STR("temperature")), &v), ERR_OK);
}

static void set_note(struct batch *b, const char *text)
{
    struct value v = {.type = TYPE_TEXT, .s = str_of(text)};
    assert_int_equal(batch_set(b, schema_find(b->schema, STR("note")), &v), ERR_OK);
}

static uint32_t add(struct batch *b, const char *path)
{
    uint32_t index = 99;
    assert_int_equal(batch_add_device(b, str_of(path), NULL, 0, &index), ERR_OK);
    return index;
}

static struct batch *sample(struct schema *s, struct budget *budget)
{
    struct batch *b = batch_new(s, budget);
    uint32_t p1 = add(b, "p1"), p2 = add(b, "p2");
    assert_int_equal(batch_begin_row(b, p2, 30), ERR_OK);
    set_double(b, 1.5);
    assert_int_equal(batch_begin_row(b, p1, 20), ERR_OK);
    set_double(b, 2.5);
    set_note(b, "first");
    assert_int_equal(batch_begin_row(b, p1, 10), ERR_OK);
    set_double(b, NAN);
    assert_int_equal(batch_begin_row(b, p1, 20), ERR_OK);
    set_double(b, 3.5);
    assert_int_equal(batch_seal(b), ERR_OK);
    return b;
}

static void sealing_sorts_and_keeps_the_later_cell_of_equal_keys(void **state)
{
    (void)state;
    struct schema *s = press();
    struct batch *b = sample(s, NULL);
    assert_int_equal(b->row_count, 3);
    assert_int_equal(b->time[0], 10);
    assert_int_equal(b->time[1], 20);
    assert_int_equal(b->time[2], 30);
    const struct vector *t = batch_find_column(b, 1), *n = batch_find_column(b, 3);
    assert_true(vector_is_null(t, 0));
    assert_int_equal(vector_quality(t, 0), (uint32_t)QualityBadDecodingError);
    assert_true(t->d[1] == 3.5);
    assert_true(str_is(n->s[1], "first"));
    assert_true(vector_is_null(n, 2));
    assert_int_equal(vector_quality(n, 2), QUALITY_NO_DATA);
    assert_null(batch_find_column(b, 2));
    batch_release(b);
    schema_release(s);
}

static void encoded_rows_come_back_equal(void **state)
{
    (void)state;
    struct schema *s = press();
    struct budget budget;
    budget_init(&budget, "test", NULL, 1 << 20);
    struct batch *b = sample(s, &budget), *back = NULL;
    b->devices[0].series = 11;
    b->devices[1].series = 12;
    struct buf out = BUF_EMPTY;
    codec_rows_write(&out, b);
    assert_int_equal(codec_rows_table(buf_str(&out)), 7);
    struct reader in = reader_of(out.at, out.size);
    struct why why = WHY_NONE;
    assert_int_equal(codec_rows_read(&in, s, &budget, &back, &why), ERR_OK);
    assert_int_equal(reader_left(&in), 0);
    assert_int_equal(back->row_count, b->row_count);
    assert_int_equal(back->devices[1].series, 12);
    for (uint32_t c = 0; c < b->column_count; c++)
        for (uint32_t row = 0; row < b->row_count; row++) {
            struct value x = vector_get(&b->columns[c].data, row);
            struct value y = vector_get(&back->columns[c].data, row);
            assert_int_equal(x.is_null, y.is_null);
            assert_int_equal(x.quality, y.quality);
            if (!x.is_null && x.type == TYPE_TEXT) assert_true(str_equal(x.s, y.s));
            if (!x.is_null && x.type == TYPE_DOUBLE) assert_true(x.d == y.d);
        }
    batch_release(b);
    batch_release(back);
    assert_int_equal(budget.used_bytes, 0);
    buf_free(&out);
    schema_release(s);
}

/* Every prefix and every flipped bit is either refused with a reason or decodes to something
 * well-formed. */
static void damaged_rows_are_refused_or_harmless(void **state)
{
    (void)state;
    struct schema *s = press();
    struct batch *b = sample(s, NULL), *back = NULL;
    b->devices[0].series = b->devices[1].series = 1;
    struct buf out = BUF_EMPTY;
    codec_rows_write(&out, b);
    for (size_t cut = 0; cut < out.size; cut++) {
        struct reader in = reader_of(out.at, cut);
        struct why why = WHY_NONE;
        assert_int_equal(codec_rows_read(&in, s, NULL, &back, &why), ERR_CORRUPT);
        assert_true(why.text[0] != 0);
    }
    for (size_t bit = 0; bit < out.size * 8; bit++) {
        out.at[bit / 8] = (char)(out.at[bit / 8] ^ 1 << bit % 8);
        struct reader in = reader_of(out.at, out.size);
        if (codec_rows_read(&in, s, NULL, &back, NULL) == ERR_OK) batch_release(back);
        out.at[bit / 8] = (char)(out.at[bit / 8] ^ 1 << bit % 8);
    }
    batch_release(b);
    buf_free(&out);
    schema_release(s);
}

static void every_failing_allocation_is_survived(void **state)
{
    (void)state;
    struct schema *s = press();
    struct budget budget;
    budget_init(&budget, "test", NULL, 1 << 20);
    for (uint64_t n = 1;; n++) {
        struct batch *b = batch_new(s, &budget);
        mem_test_fail(n);
        uint32_t device = 0;
        enum err err = batch_add_device(b, STR("p"), NULL, 0, &device);
        struct value v = {.type = TYPE_TEXT, .s = STR("text")};
        for (int64_t row = 0; row < 20 && !err; row++) {
            err = batch_begin_row(b, device, 100 - row);
            if (!err) err = batch_set(b, &s->columns[2], &v);
        }
        if (!err) err = batch_seal(b);
        bool done = mem_test_count() < n;
        mem_test_fail(0);
        assert_int_equal(err, done ? ERR_OK : ERR_NO_MEMORY);
        batch_release(b);
        assert_int_equal(budget.used_bytes, 0);
        if (done) break;
    }
    schema_release(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sealing_sorts_and_keeps_the_later_cell_of_equal_keys),
        cmocka_unit_test(encoded_rows_come_back_equal),
        cmocka_unit_test(damaged_rows_are_refused_or_harmless),
        cmocka_unit_test(every_failing_allocation_is_survived),
    };
    return cmocka_run_group_tests_name("batch", tests, NULL, NULL);
}
