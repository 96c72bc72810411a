/* store_compact_test.c - claims about parts that were merged: nothing changes for who reads them,
 * there are fewer of them, versions count, and what is damaged is left alone. */
#include "store/store_testlib.h"

enum { ROUNDS = 24, ROUND_ROWS = 300 };

/* Merging goes on by itself: looks until no group is left. */
static void wait_until_merged(struct world *w, uint64_t merges)
{
    for (int i = 0; i < 5000 && metric_get(&w->context, METRIC_COMPACTIONS) < merges; i++)
        usleep(1000);
    for (uint64_t seen = 0, now; (now = metric_get(&w->context, METRIC_COMPACTIONS)) != seen;) {
        seen = now;
        for (int i = 0; i < 3; i++) flush(w); /* an operation takes it in and looks for the next */
        usleep(50000);
    }
}

static void merged_parts_read_like_the_rows_that_went_in(void **state)
{
    struct world *w = *state;
    unsigned seed = seed_of_run();
    print_message("seed %u\n", seed);
    struct model *m = calloc(1, sizeof *m);
    m->step = 1000000000;
    struct schema *s = make_table(w);
    first_rows(w, s, m);
    for (int round = 0; round < ROUNDS; round++) {
        struct batch *b = batch_new(s, NULL);
        for (unsigned i = 0; i < ROUND_ROWS; i++)
            model_row(m, b, (unsigned)rand_r(&seed) % DEVICES, (unsigned)rand_r(&seed) % TIMES,
                      (unsigned)rand_r(&seed) % 4096);
        put(w, b);
        flush(w);
        if (round % 7 == 6) reopen(w);
    }
    wait_until_merged(w, 1);
    assert_true(metric_get(&w->context, METRIC_COMPACTIONS) > 0);
    assert_true(count_files(w, "parts", ".part") < ROUNDS / 2);
    compare_all(w, m);
    reopen(w);
    compare_all(w, m);
    assert_int_equal(metric_get(&w->context, METRIC_COMPACTION_ERRORS), 0);
    schema_release(s);
    free(m);
}

static void rows_of_a_dropped_table_go_with_the_merge(void **state)
{
    struct world *w = *state;
    struct schema *s = make_table(w);
    for (int i = 0; i < 8; i++) {
        put_many(w, s, i * 50, i < 6 ? 50 : 1);
        flush(w);
        if (i == 5) {
            struct store_define define = {.schema = schema_copy(s), .drop = true};
            w->home.after_arg = w;
            completion_init(&define.completion, &w->home, on_done);
            store_define(w->store, &define);
            wait_done(w);
            schema_release(s);
            s = make_table(w);
        }
    }
    wait_until_merged(w, 1);
    struct reading r = all(1);
    char *text = dump(w, &r);
    assert_string_equal(text,
                        "d 300 0\nd 350 0\n"); /* of the new table; those of the old one are gone */
    free(text);
    struct store_view *view = store_view_get(w->store);
    for (size_t i = 0; i < view->parts->count; i++)
        assert_true(view->parts->parts[i]->info.rows < 50);
    store_view_release(view);
    schema_release(s);
}

static void a_damaged_part_is_never_merged(void **state)
{
    struct world *w = *state;
    struct schema *s = make_table(w);
    for (int i = 0; i < 3; i++) {
        put_many(w, s, i * 100, 100);
        flush(w);
    }
    char path[700];
    snprintf(path, sizeof path, "%s/parts/%016x.part", w->folder, 2);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    fseek(f, PART_HEADER_BYTES + 3, SEEK_SET); /* in the times of the first block */
    int byte = fgetc(f);
    fseek(f, PART_HEADER_BYTES + 3, SEEK_SET);
    fputc(byte ^ 0x55, f);
    fclose(f);
    struct reading r = all(1);
    char *before = dump(w, &r);
    assert_true(r.damaged > 0);
    put_many(w, s, 300, 100);
    flush(w);
    for (int i = 0; i < 5000 && !metric_get(&w->context, METRIC_COMPACTION_ERRORS); i++)
        usleep(1000);
    assert_int_equal(metric_get(&w->context, METRIC_COMPACTION_ERRORS), 1);
    assert_int_equal(count_files(w, "parts", ".part"), 4);
    f = fopen(path, "r+b"); /* whoever mends it finds all rows */
    fseek(f, PART_HEADER_BYTES + 3, SEEK_SET);
    fputc(byte, f);
    fclose(f);
    char *after = dump(w, &r);
    assert_true(strlen(after) > strlen(before) && r.damaged == 0);
    free(before);
    free(after);
    schema_release(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(merged_parts_read_like_the_rows_that_went_in),
        STORE_TEST(rows_of_a_dropped_table_go_with_the_merge),
        STORE_TEST(a_damaged_part_is_never_merged),
    };
    return cmocka_run_group_tests_name("store compact", tests, NULL, NULL);
}
