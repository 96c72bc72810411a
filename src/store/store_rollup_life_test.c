/* store_rollup_life_test.c - claims about what becomes of rollups when rows go for their age, when
 * windows are lost to damage, and when what was noted of them is. */
#include "store/store_clock_testlib.h"
#include "store/store_rollup_testlib.h"

/* ---- retention ---- */

static int64_t frozen_of(struct world *w)
{
    return atomic_load(&state_of(w)->frozen_ns);
}

static void wait_frozen(struct world *w, int64_t until_ns)
{
    for (int i = 0; i < 400 && frozen_of(w) < until_ns; i++) usleep(50000);
    assert_int_equal(frozen_of(w), until_ns);
}

/* The rows of t as a statement gathers them, with windows in place of rows or without. */
static int64_t rows_of(struct world *w, bool with_rollups)
{
    void *snapshot;
    assert_int_equal(store_sql_source.snapshot_open(w->store, &snapshot), ERR_OK);
    struct answer a = ask(w, snapshot, INT64_MIN, INT64_MAX, with_rollups);
    store_sql_source.snapshot_close(w->store, snapshot);
    return a.rows;
}

static void flush_often(struct world *w)
{
    for (int i = 0; i < 5; i++) flush(w);
}

static struct store_rollup_info info_of(struct world *w)
{
    struct store_rollup_info *rows, info;
    size_t count;
    assert_int_equal(store_rollups(w->store, &rows, &count), ERR_OK);
    assert_int_equal(count, 1);
    info = rows[0];
    mem_free(rows);
    return info;
}

/* Ten rows on each of five days, kept for two, and a rollup that is not computed yet. */
static struct schema *five_days(struct world *w, int64_t today)
{
    take_clock(w, START_NS);
    schema_release(table_kept_for(w, 2 * DAY_NS));
    int64_t every = MINUTE;
    w->store->rollups.paused = true;
    struct schema *s = set_rollups(w, &every, 1);
    for (int day = 0; day < 5; day++) put_many(w, s, today - day * DAY_NS, 10);
    return s;
}

static void assert_windows(struct world *w)
{
    struct totals totals = totals_of(w, "t_1m");
    assert_int_equal(totals.windows, 5);
    assert_int_equal(totals.rows, 50);
    assert_int_equal(rows_of(w, true), 50);
}

static void retention_waits_for_windows_and_says_so(void **state)
{
    struct world *w = *state;
    int64_t today = START_NS / DAY_NS * DAY_NS;
    schema_release(five_days(w, today));
    flush_often(w);
    assert_int_equal(rows_of(w, false), 50);
    assert_false(info_of(w).has_begun);
    struct store_health_row row;
    assert_int_equal(store_health(w->store, &row, 1), 0);
    int64_t mono = context_mono_ns(&w->context);
    atomic_store(&state_of(w)->waits_since_ns, mono - 11 * MINUTE);
    assert_int_equal(store_health(w->store, &row, 1), 1);
    assert_string_equal(row.object, "t_1m");
    w->store->rollups.paused = false;
    flush(w); /* so that the log task looks */
    wait_frozen(w, today - 2 * DAY_NS);
    wait_clean(w, 1);
    flush_often(w);
    assert_int_equal(rows_of(w, false), 30);
    assert_windows(w);
    struct store_rollup_info info = info_of(w);
    assert_true(info.has_begun && info.lag_ns == 0 && info.dirty_windows == 0);
    assert_int_equal(info.frozen_ns, today - 2 * DAY_NS);
    assert_int_equal(store_health(w->store, &row, 1), 0);
}

static void set_retention(struct world *w, int64_t retention_ns)
{
    struct schema *old = find(w, "t"), *s = schema_copy(old);
    schema_release(old);
    s->retention_ns = retention_ns;
    assert_int_equal(try_define(w, s, false), ERR_OK);
}

static size_t size_of(const char *path)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    fclose(file);
    return (size_t)size;
}

static void flip(const char *path, size_t at)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    fseek(file, (long)at, SEEK_SET);
    int c = fgetc(file);
    fseek(file, (long)at, SEEK_SET);
    fputc(c ^ 0x55, file);
    fclose(file);
}

/* The record of what is dirty is the last one of the catalogue's snapshot; without it everything
 * is. */
static void lose_dirty_record(struct world *w)
{
    char name[32], path[200];
    catalog_snapshot_name(name, w->store->manifest.checkpoint.catalog_seq);
    snprintf(path, sizeof path, "%s/%s", w->folder, name);
    store_close(w->store);
    flip(path, size_of(path) - 24);
    open_store(w);
}

static void frozen_windows_never_change_whatever_is_lost(void **state)
{
    struct world *w = *state;
    int64_t today = START_NS / DAY_NS * DAY_NS;
    struct schema *s = five_days(w, today);
    w->store->rollups.paused = false;
    flush(w);
    wait_frozen(w, today - 2 * DAY_NS);
    wait_clean(w, 1);
    flush_often(w);
    put_many(w, s, today - 4 * DAY_NS + 20, 3);
    assert_int_equal(info_of(w).late_rows, 3);
    assert_windows(w);
    schema_release(s);
    set_retention(w, 0); /* the rest stays for ever */
    for (int i = 0; i < 3; i++) {
        flush(w);
        lose_dirty_record(w);
        assert_int_equal(frozen_of(w), today - 2 * DAY_NS);
        wait_clean(w, 1);
        assert_windows(w);
        s = find(w, "t");
        put_many(w, s, today - 3 * DAY_NS + 20, 3); /* still too late */
        schema_release(s);
        usleep(600000);
        assert_windows(w);
    }
}

/* ---- windows that are lost ---- */

/* Rows in parts; so are the windows, in a part of their own. Gives the path of that one. */
static struct model *windows_in_a_part(struct world *w, char path[200])
{
    struct model *m = calloc(1, sizeof *m);
    unsigned seed = seed_of_run();
    m->step = 7 * SECOND;
    struct schema *t = make_table(w), *s = schema_copy(t);
    schema_release(t);
    assert_int_equal(schema_add_rollup(s, MINUTE, 100000 * DAY_NS), ERR_OK);
    assert_int_equal(try_define(w, s, false), ERR_OK);
    s = find(w, "t");
    first_rows(w, s, m);
    for (unsigned d = 0; d < DEVICES; d++) {
        struct batch *b = batch_new(s, NULL);
        for (unsigned at = 0; at < TIMES; at++) model_row(m, b, d, at, (unsigned)rand_r(&seed));
        put(w, b);
    }
    schema_release(s);
    wait_clean(w, DEVICES);
    flush(w);
    struct schema *rollup = find(w, "t_1m");
    const struct store_view *view = w->store->view.object;
    path[0] = 0;
    for (size_t i = 0; i < view->parts->count; i++) {
        const struct part *part = view->parts->parts[i];
        if (part->info.table_count == 1 && part->info.tables[0] == rollup->table_id)
            (void)str_copy(path, 200, str_of(part->path));
    }
    schema_release(rollup);
    assert_true(path[0]);
    return m;
}

static void damaged_windows_are_read_from_their_rows(void **state)
{
    struct world *w = *state;
    char path[200];
    struct model *m = windows_in_a_part(w, path);
    unsigned seed = seed_of_run(), lost = 0;
    size_t size = size_of(path), places = 40;
    assert_true(compare_now(w, &seed, m->step, 1) >
                20); /* over all: what of it the other ranges have is chance */
    (void)compare_now(w, &seed, m->step, 12);
    for (size_t i = 0; i < places; i++) {
        size_t at = size * i / places + (size_t)rand_r(&seed) % (size / places);
        store_close(w->store);
        flip(path, at);
        open_store(w);
        w->store->rollups.paused = true;
        (void)compare_now(w, &seed, m->step, 12);
        lost += atomic_load(&state_of(w)->any_lost);
        store_close(w->store);
        flip(path, at);
        open_store(w);
    }
    assert_true(lost > places / 2);
    free(m);
}

static void wait_lost_is_taken_up(struct world *w)
{
    for (int i = 0; i < 400 && atomic_load(&state_of(w)->any_lost); i++) {
        flush(w); /* the log task looks behind each job */
        usleep(50000);
    }
    assert_false(atomic_load(&state_of(w)->any_lost));
}

static void lost_windows_are_computed_again(void **state)
{
    struct world *w = *state;
    char path[200];
    struct model *m = windows_in_a_part(w, path);
    unsigned seed = seed_of_run();
    for (int is_missing = 0; is_missing < 2; is_missing++) {
        store_close(w->store);
        if (is_missing)
            assert_int_equal(unlink(path), 0);
        else
            flip(path, size_of(path) - 8); /* the whole of it */
        open_store(w);
        if (!is_missing) assert_true(totals_of(w, "t_1m").rows < model_rows(m));
        (void)compare_now(w, &seed, m->step, 12);
        if (!is_missing) wait_lost_is_taken_up(w);
        wait_clean(w, DEVICES);
        struct totals totals = totals_of(w, "t_1m");
        assert_int_equal(totals.rows, model_rows(m));
        assert_int_equal(totals.windows, model_windows(m, MINUTE));
        (void)compare_now(w, &seed, m->step, 12);
    }
    free(m);
}

/* Most of the part's blocks cannot be read, or, the second time, can be read again. */
static void flip_blocks(const char *path)
{
    size_t end = size_of(path) / 5 * 4;
    for (size_t at = 32; at < end; at += 32) flip(path, at);
}

static void windows_that_cannot_be_read_do_not_outlive_their_rows(void **state)
{
    struct world *w = *state;
    char path[200];
    free(windows_in_a_part(w, path));
    store_close(w->store);
    flip_blocks(path);
    open_store(w);
    struct schema *s = find(w, "t");
    struct store_range ranges[DEVICES];
    char names[DEVICES][8];
    for (unsigned d = 0; d < DEVICES; d++) {
        (void)snprintf(names[d], sizeof names[d], "d%u", d);
        ranges[d] = (struct store_range){str_of(names[d]), INT64_MIN, INT64_MAX, 0};
    }
    assert_int_equal(try_delete(w, s, ranges, DEVICES), ERR_OK);
    schema_release(s);
    wait_clean(w, DEVICES);
    store_close(w->store);
    flip_blocks(path);
    open_store(w);
    assert_int_equal(totals_of(w, "t").windows, 0);
    assert_int_equal(totals_of(w, "t_1m").windows, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(retention_waits_for_windows_and_says_so),
        STORE_TEST(frozen_windows_never_change_whatever_is_lost),
        STORE_TEST(damaged_windows_are_read_from_their_rows),
        STORE_TEST(lost_windows_are_computed_again),
        STORE_TEST(windows_that_cannot_be_read_do_not_outlive_their_rows),
    };
    return cmocka_run_group_tests_name("what becomes of rollups", tests, NULL, NULL);
}
