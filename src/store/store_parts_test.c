/* store_parts_test.c - claims about rows that moved from memory to parts: nothing changes for who
 * reads them. Random histories (seed from MILLRACE_TEST_SEED) write, flush, restart, and compare
 * with the model. */
#include "store/store_testlib.h"

static void random_history(struct world *w, unsigned seed, int64_t step)
{
    struct model *m = calloc(1, sizeof *m);
    m->step = step;
    struct schema *s = make_table(w);
    first_rows(w, s, m);
    unsigned now = 1;
    for (int round = 0; round < 60; round++) {
        struct batch *b = batch_new(s, NULL);
        unsigned rows = (unsigned)rand_r(&seed) % 200 + 1, style = (unsigned)rand_r(&seed) % 4;
        for (unsigned i = 0; i < rows; i++) {
            bool late = style == 0 || (style == 1 && rand_r(&seed) % 8 == 0);
            unsigned at = late ? (unsigned)rand_r(&seed) % now : now;
            if (!late && now + 1 < TIMES) now++;
            model_row(m, b, (unsigned)rand_r(&seed) % DEVICES, at, (unsigned)rand_r(&seed) % 4096);
        }
        put(w, b);
        int act = rand_r(&seed) % 12;
        if (act < 3) flush(w);
        if (act == 3) reopen(w);
        if (act > 9) compare_all(w, m);
    }
    compare_all(w, m);
    flush(w);
    compare_all(w, m);
    reopen(w);
    compare_all(w, m);
    schema_release(s);
    free(m);
}

static void rows_read_the_same_whatever_was_flushed_in_between(void **state)
{
    struct world *w = *state;
    print_message("seed %u\n", seed_of_run());
    random_history(w, seed_of_run(), 1000000000);
}

static void rows_read_the_same_over_many_days(void **state)
{
    random_history(*state, seed_of_run() + 7, (int64_t)3600 * 1000000000 * 5);
}

/* ---- types ---- */

static void every_type_and_state_survives_a_flush_and_a_restart(void **state)
{
    struct world *w = *state;
    struct schema *s = schema_new("default", "t", 0);
    for (enum type t = TYPE_BOOL; t < TYPE_COUNT; t++) {
        char name[16];
        snprintf(name, sizeof name, "c%u", (unsigned)t);
        assert_int_equal(schema_add_column(s, 0, name, t, 0, "", "", NULL), ERR_OK);
    }
    s = define(w, s);
    static const double doubles[] = {1.5, -0.0, 1e308};
    struct value values[] = {{.type = TYPE_BOOL, .b = true},
                             {.type = TYPE_BIGINT, .i = INT64_MIN},
                             {.type = TYPE_UBIGINT, .u = UINT64_MAX},
                             {.type = TYPE_DOUBLE, .d = 5e-324},
                             {.type = TYPE_TEXT, .s = STR("höhe\n")},
                             {.type = TYPE_BYTES, .s = {"\0\xff", 2}},
                             {.type = TYPE_TIMESTAMP, .i = INT64_MAX},
                             {.type = TYPE_DOUBLES, .s = {(const char *)doubles, sizeof doubles}}};
    static const int64_t times[] = {INT64_MIN, -1, 0, 1, INT64_MAX - 1, INT64_MAX};
    for (size_t i = 0; i < 6; i++) {
        struct batch *b = batch_new(s, NULL);
        uint32_t index;
        assert_int_equal(batch_add_device(b, STR("d"), NULL, 0, &index), ERR_OK);
        assert_int_equal(batch_begin_row(b, index, times[i]), ERR_OK);
        for (size_t c = 0; c < 8; c++) {
            struct value v = values[c], null = {.type = v.type,
                                                .is_null = true,
                                                .quality = (uint32_t)QualityBadTimeout};
            if (i % 3 == 1) v = null;
            if (i % 3 == 2) v.quality = (uint32_t)QualityUncertain;
            if (i != 3 || c % 2) assert_int_equal(batch_set(b, &s->columns[c], &v), ERR_OK);
        }
        put(w, b);
    }
    struct reading r = all(8);
    char *before = dump(w, &r);
    assert_non_null(strstr(before, "höhe"));
    flush(w);
    char *flushed = dump(w, &r);
    assert_string_equal(before, flushed);
    assert_true(r.parts > 0);
    reopen(w);
    char *after = dump(w, &r);
    assert_string_equal(before, after);
    free(before);
    free(flushed);
    free(after);
    schema_release(s);
}

static void a_widened_column_reads_old_rows_in_its_new_type(void **state)
{
    struct world *w = *state;
    struct schema *s = make_table(w);
    for (int i = 0; i < 3; i++) {
        struct batch *b = batch_new(s, NULL);
        uint32_t index;
        struct value v = {.type = i == 2 ? TYPE_DOUBLE : TYPE_BIGINT, .i = i + 1};
        if (i == 2) v.d = 2.5;
        assert_int_equal(batch_add_device(b, STR("d"), NULL, 0, &index), ERR_OK);
        assert_int_equal(batch_begin_row(b, index, i), ERR_OK);
        assert_int_equal(batch_set(b, &s->columns[0], &v), ERR_OK);
        put(w, b);
        if (i == 0) flush(w);
        if (i != 1) continue;
        struct schema *wide = schema_copy(s);
        wide->columns[0].type = TYPE_DOUBLE;
        schema_release(s);
        s = define(w, wide);
    }
    struct reading r = all(1);
    for (int round = 0; round < 3; round++) {
        char *text = dump(w, &r);
        assert_string_equal(text, "d 0 1\nd 1 2\nd 2 2.5\n");
        free(text);
        if (round == 0) reopen(w);
        if (round == 1) flush(w);
    }
    schema_release(s);
}

/* ---- budgets and the log ---- */

static void wait_for_checkpoint(struct world *w)
{
    for (int i = 0; i < 2000 && metric_get(&w->context, METRIC_PARTS) == 0; i++) usleep(1000);
}

static void a_full_head_is_written_and_nothing_is_refused(void **state)
{
    struct world *w = *state;
    w->head_limit = 2 << 20;
    reopen(w);
    struct schema *s = make_table(w);
    /* As fast as they can be given: what finds no room waits for the flush. */
    for (int i = 0; i < 100; i++) put_many(w, s, (int64_t)i * 5000, 5000);
    wait_for_checkpoint(w);
    assert_true(metric_get(&w->context, METRIC_PARTS) > 0);
    assert_int_equal(metric_get(&w->context, METRIC_ROWS_REFUSED), 0);
    store_close(w->store);
    w->head_limit = 1 << 20; /* replay, too, obeys the limit */
    open_store(w);
    assert_true(w->store->head_budget.peak_bytes <= w->head_limit);
    struct reading r = all(1);
    char *text = dump(w, &r);
    size_t lines = 0;
    for (char *p = text; *p; p++) lines += *p == '\n';
    assert_int_equal(lines, 500000);
    free(text);
    schema_release(s);
}

static void the_log_is_recycled_and_the_catalogue_survives_it(void **state)
{
    struct world *w = *state;
    struct schema *s = make_table(w);
    put_many(w, s, 0, 100);
    for (int i = 0; i < 3; i++) {
        flush(w);
        reopen(w);
    }
    assert_int_equal(metric_get(&w->context, METRIC_LOG_DAMAGED), 0);
    assert_true(count_files(w, "log", ".seg") <= 2);
    assert_true(count_files(w, "log", ".spare") <= LOG_SPARES_MAX);
    struct reading r = all(1);
    char *text = dump(w, &r);
    assert_non_null(strstr(text, "d 99 783981\n"));
    free(text);
    struct schema *again = store_find_table(w->store, STR("default"), STR("t"));
    assert_non_null(again);
    put_many(w, again, 100, 10);
    schema_release(again);
    reopen(w);
    text = dump(w, &r);
    assert_non_null(strstr(text, "d 109 "));
    free(text);
    schema_release(s);
}

static void the_newest_row_is_found_without_reading_old_parts(void **state)
{
    struct world *w = *state;
    struct schema *s = make_table(w);
    for (int i = 0; i < 5; i++) {
        put_many(w, s, i * SEAL_PARTITION_NS, 100);
        flush(w);
    }
    struct reading r = all(1);
    r.newest_first = true;
    r.row_limit = 1;
    char *text = dump(w, &r);
    assert_string_equal(text, "d 345600000000099 783981\n");
    assert_int_equal(r.blocks, 1);
    assert_int_equal(r.parts, 1);
    free(text);
    schema_release(s);
}

/* ---- damage ---- */

static char *only_part(struct world *w)
{
    static char path[512];
    char folder[128];
    snprintf(folder, sizeof folder, "%s/parts", w->folder);
    DIR *d = opendir(folder);
    path[0] = 0;
    for (struct dirent *e; (e = readdir(d));)
        if (strstr(e->d_name, ".part")) snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
    closedir(d);
    return path;
}

static void each_flipped_byte_of_a_part_is_told_or_harmless(void **state)
{
    struct world *w = *state;
    struct model *m = calloc(1, sizeof *m);
    m->step = 1000;
    struct schema *s = make_table(w);
    first_rows(w, s, m);
    flush(w);
    struct reading r = all(COLUMNS);
    char *good = dump(w, &r);
    FILE *f = fopen(only_part(w), "r+b");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    long size = ftell(f);
    size_t told = 0;
    for (long at = 0; at < size; at++) {
        fseek(f, at, SEEK_SET);
        int byte = fgetc(f);
        fseek(f, at, SEEK_SET);
        fputc(byte ^ 0x41, f);
        fflush(f);
        char *text = dump(w, &r);
        assert_non_null(text);
        assert_true(r.damaged > 0 || strcmp(text, good) == 0);
        told += r.damaged > 0;
        free(text);
        fseek(f, at, SEEK_SET);
        fputc(byte, f);
        fflush(f);
    }
    fclose(f);
    assert_true(told * 2 > (size_t)size);
    struct store_health_row rows[HEALTH_MAX + 1];
    assert_true(store_health(w->store, rows, HEALTH_MAX + 1) > 0);
    assert_non_null(strstr(rows[store_health(w->store, rows, HEALTH_MAX + 1) - 1].object, "part"));
    free(good);
    free(m);
    schema_release(s);
}

static void spoil(struct world *w, const char *name, long at)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s", w->folder, name);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    fseek(f, at, SEEK_SET);
    int byte = fgetc(f);
    fseek(f, at, SEEK_SET);
    fputc(byte ^ 0xff, f);
    fclose(f);
}

static void parts_of_a_damaged_manifest_are_taken_in_again(void **state)
{
    struct world *w = *state;
    struct schema *s = make_table(w);
    put_many(w, s, 0, 300);
    flush(w);
    struct reading r = all(2);
    char *good = dump(w, &r);
    store_close(w->store);
    spoil(w, "manifest", RECORD_FILE_HEADER_BYTES + 50); /* its ADD */
    open_store(w);
    struct store_health_row rows[8];
    assert_true(store_health(w->store, rows, 8) > 0);
    char *text = dump(w, &r);
    assert_string_equal(text, good);
    free(text);
    reopen(w);
    text = dump(w, &r);
    assert_string_equal(text, good);
    free(text);
    free(good);
    schema_release(s);
}

static void a_lost_end_of_a_segment_is_damage_when_the_next_one_knew_it_durable(void **state)
{
    struct world *w = *state;
    struct schema *s = make_table(w);
    put_many(w, s, 0, 10);
    reopen(w); /* its segment says what was durable */
    put_many(w, s, 10, 10);
    store_close(w->store);
    spoil(w, "log/0000000000000001.seg", LOG_HEADER_BYTES + 8); /* SCHEMA: seq */
    open_store(w);
    assert_true(metric_get(&w->context, METRIC_LOG_DAMAGED) > 0);
    schema_release(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(rows_read_the_same_whatever_was_flushed_in_between),
        STORE_TEST(rows_read_the_same_over_many_days),
        STORE_TEST(every_type_and_state_survives_a_flush_and_a_restart),
        STORE_TEST(a_widened_column_reads_old_rows_in_its_new_type),
        STORE_TEST(a_full_head_is_written_and_nothing_is_refused),
        STORE_TEST(the_log_is_recycled_and_the_catalogue_survives_it),
        STORE_TEST(the_newest_row_is_found_without_reading_old_parts),
        STORE_TEST(each_flipped_byte_of_a_part_is_told_or_harmless),
        STORE_TEST(parts_of_a_damaged_manifest_are_taken_in_again),
        STORE_TEST(a_lost_end_of_a_segment_is_damage_when_the_next_one_knew_it_durable),
    };
    return cmocka_run_group_tests_name("store parts", tests, NULL, NULL);
}
