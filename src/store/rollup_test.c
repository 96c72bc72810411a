/* rollup_test.c - claims about a rollup's table and about computing windows: a window's row says
 * what its rows say, whether they lie in memory or in parts, late, overwritten or deleted. */
#include "store/rollup.h"
#include "store/scan.h"
#include "store/store_testlib.h"
#include <math.h>

static struct schema *rollup_of(const struct schema *base, int64_t every_ns)
{
    struct schema *s;
    assert_int_equal(rollup_schema(base, every_ns, &s, NULL), ERR_OK);
    return s;
}

/* ---- what a window's row should be ---- */

struct expected {
    int64_t rows, first_time, last_time;
    int64_t count[COLUMNS], least, most, first, last, sum; /* of the model's integers */
};

static struct expected expect(const struct model *m, unsigned device, int64_t from, int64_t to,
                              unsigned column)
{
    struct expected e = {0};
    for (unsigned at = 0; at < TIMES; at++) {
        int64_t time = (int64_t)at * m->step;
        if (!m->rows[device][at] || time < from || time >= to) continue;
        if (!e.rows++) e.first_time = time;
        e.last_time = time;
        for (unsigned c = 0; c < COLUMNS; c++) {
            const struct model_cell *cell = &m->cells[device][at][c];
            if (!cell->present || cell->is_null) continue;
            e.count[c]++;
            if (c != column) continue;
            if (e.count[c] == 1) e.least = e.most = e.first = cell->value;
            e.last = cell->value;
            e.sum += cell->value;
            if (cell->value < e.least) e.least = cell->value;
            if (cell->value > e.most) e.most = cell->value;
        }
    }
    return e;
}

static struct value cell(const struct batch *b, uint32_t row, uint16_t id)
{
    const struct vector *v = batch_find_column(b, id);
    assert_non_null(v);
    return vector_get(v, row);
}

static struct value part(const struct batch *b, uint32_t row, const struct column *c,
                         enum rollup_part which)
{
    return cell(b, row, rollup_part_id(c->id, which));
}

static void check_bigint(const struct batch *b, uint32_t row, const struct column *c,
                         const struct expected *e)
{
    assert_int_equal(part(b, row, c, ROLLUP_COUNT).i, e->count[0]);
    if (!e->count[0]) {
        assert_true(part(b, row, c, ROLLUP_SUM).is_null);
        assert_true(part(b, row, c, ROLLUP_MIN).is_null);
        return;
    }
    assert_int_equal(part(b, row, c, ROLLUP_SUM).i, e->sum);
    assert_int_equal(part(b, row, c, ROLLUP_MIN).i, e->least);
    assert_int_equal(part(b, row, c, ROLLUP_MAX).i, e->most);
    assert_int_equal(part(b, row, c, ROLLUP_FIRST).i, e->first);
    assert_int_equal(part(b, row, c, ROLLUP_LAST).i, e->last);
}

static void check_double(const struct batch *b, uint32_t row, const struct column *c,
                         const struct expected *e)
{
    assert_int_equal(part(b, row, c, ROLLUP_COUNT).i, e->count[1]);
    if (!e->count[1]) return;
    double sum = (double)e->sum / 4;
    assert_true(fabs(part(b, row, c, ROLLUP_SUM).d - sum) <= 1e-12 * fabs(sum));
    assert_true(part(b, row, c, ROLLUP_MIN).d == (double)e->least / 4);
    assert_true(part(b, row, c, ROLLUP_MAX).d == (double)e->most / 4);
    assert_true(part(b, row, c, ROLLUP_LAST).d == (double)e->last / 4);
}

static void check_row(const struct model *m, const struct batch *b, uint32_t row,
                      const struct schema *base, unsigned device, int64_t every_ns)
{
    int64_t from = b->time[row];
    struct expected a = expect(m, device, from, from + every_ns, 0),
                    d = expect(m, device, from, from + every_ns, 1);
    assert_true(a.rows > 0);
    assert_int_equal(cell(b, row, ROLLUP_ID_ROWS).i, a.rows);
    assert_int_equal(cell(b, row, ROLLUP_ID_FIRST_TIME).i, a.first_time);
    assert_int_equal(cell(b, row, ROLLUP_ID_LAST_TIME).i, a.last_time);
    check_bigint(b, row, &base->columns[0], &a);
    check_double(b, row, &base->columns[1], &d);
    assert_int_equal(part(b, row, &base->columns[2], ROLLUP_COUNT).i, a.count[2]);
}

/* ---- computing ---- */

static enum err compute(struct world *w, struct rollup_step *step, struct budget *budget,
                        struct batch **out)
{
    void *snapshot;
    *out = batch_new((struct schema *)(uintptr_t)step->rollup, NULL);
    assert_int_equal(store_sql_source.snapshot_open(w->store, &snapshot), ERR_OK);
    enum err err = rollup_compute(w->store, snapshot, step, budget, *out, NULL);
    store_sql_source.snapshot_close(w->store, snapshot);
    return err;
}

/* All windows of a device in steps of a few: they follow each other, and none is left out. */
static void compare_windows(struct world *w, const struct model *m, const struct schema *base,
                            unsigned device, int64_t every_ns, uint32_t windows_max)
{
    struct schema *rollup = rollup_of(base, every_ns);
    char name[8];
    int64_t seen_rows = 0, end = TIMES * m->step;
    snprintf(name, sizeof name, "d%u", device);
    struct rollup_step step = {.base = base,
                               .rollup = rollup,
                               .every_ns = every_ns,
                               .device = str_of(name),
                               .to_ns = INT64_MAX,
                               .windows_max = windows_max};
    while (step.from_ns < INT64_MAX) {
        struct batch *b;
        assert_int_equal(compute(w, &step, NULL, &b), ERR_OK);
        assert_int_equal(batch_seal(b), ERR_OK);
        assert_true(b->row_count <= windows_max);
        assert_true(step.done_ns > step.from_ns);
        for (uint32_t i = 0; i < b->row_count; i++) {
            assert_true(b->time[i] >= step.from_ns && b->time[i] < step.done_ns);
            assert_int_equal(b->time[i] % every_ns, 0);
            check_row(m, b, i, base, device, every_ns);
            seen_rows += cell(b, i, ROLLUP_ID_ROWS).i;
        }
        step.from_ns = step.done_ns;
        batch_release(b);
    }
    assert_int_equal(seen_rows, expect(m, device, 0, end, 0).rows);
    schema_release(rollup);
}

static void delete_some(struct world *w, const struct schema *s, struct model *m, unsigned *seed)
{
    unsigned from = (unsigned)rand_r(seed) % TIMES, to = from + (unsigned)rand_r(seed) % 300;
    if (to >= TIMES) to = TIMES - 1;
    struct store_range range = {STR("d1"), (int64_t)from * m->step, (int64_t)to * m->step, 0};
    struct store_delete op = {.table_id = s->table_id, .count = 1, .ranges = &range};
    for (unsigned at = from; at <= to; at++) {
        m->rows[1][at] = false;
        memset(m->cells[1][at], 0, sizeof m->cells[1][at]);
    }
    w->home.after_arg = w;
    completion_init(&op.completion, &w->home, on_done);
    store_delete(w->store, &op);
    wait_done(w);
    assert_int_equal(w->err, ERR_OK);
}

static void a_window_says_what_its_rows_say_wherever_they_lie(void **state)
{
    struct world *w = *state;
    struct model *m = calloc(1, sizeof *m);
    unsigned seed = seed_of_run();
    m->step = INT64_C(1000000000);
    struct schema *s = make_table(w);
    first_rows(w, s, m);
    for (unsigned round = 0; round < 30; round++) {
        struct batch *b = batch_new(s, NULL);
        for (unsigned i = 0; i < 150; i++)
            model_row(m, b, (unsigned)rand_r(&seed) % DEVICES, (unsigned)rand_r(&seed) % TIMES,
                      (unsigned)rand_r(&seed) % 4096);
        put(w, b);
        if (round % 4 == 1) delete_some(w, s, m, &seed);
        if (round % 5 == 2) flush(w);
        if (round == 17) reopen(w);
        if (round % 6 == 5)
            for (unsigned d = 0; d < DEVICES; d++)
                compare_windows(w, m, s, d, (round % 4 + 1) * 37 * m->step, 1 + round);
    }
    schema_release(s);
    free(m);
}

static void any_failing_allocation_leaves_an_error_and_nothing_else(void **state)
{
    struct world *w = *state;
    struct schema *s = make_table(w), *rollup = rollup_of(s, 1000);
    put_many(w, s, 0, 3000);
    flush(w);
    put_many(w, s, 3000, 3000);
    enum err err = ERR_NO_MEMORY;
    for (uint64_t n = 1; err; n++) {
        struct rollup_step step = {s, rollup, 1000, STR("d"), 0, 6000, 100, 0};
        struct batch *b = batch_new(rollup, NULL);
        void *snapshot;
        assert_int_equal(store_sql_source.snapshot_open(w->store, &snapshot), ERR_OK);
        mem_test_fail(n);
        err = rollup_compute(w->store, snapshot, &step, &w->context.memory, b, NULL);
        mem_test_fail(0);
        store_sql_source.snapshot_close(w->store, snapshot);
        assert_true(!err || err == ERR_NO_MEMORY || err == ERR_BUDGET);
        if (!err) assert_int_equal(b->row_count, 6);
        batch_release(b);
    }
    schema_release(rollup);
    schema_release(s);
}

static void a_table_that_was_changed_or_dropped_is_not_computed(void **state)
{
    struct world *w = *state;
    struct schema *s = make_table(w), *rollup = rollup_of(s, 1000);
    struct schema *wider = schema_copy(s);
    wider->columns[0].type = TYPE_DOUBLE;
    schema_release(define(w, wider));
    struct rollup_step step = {s, rollup, 1000, STR("d"), 0, 1000, 1, 0};
    struct batch *b;
    assert_int_equal(compute(w, &step, NULL, &b), ERR_CONFLICT);
    batch_release(b);
    struct schema *now = store_find_table(w->store, STR("default"), STR("t"));
    step.base = now; /* but the rollup has the old type */
    assert_int_equal(compute(w, &step, NULL, &b), ERR_CONFLICT);
    batch_release(b);
    schema_release(now);
    schema_release(rollup);
    schema_release(s);
}

static void a_rollup_takes_over_the_labels_of_the_device(void **state)
{
    struct world *w = *state;
    struct schema *s = make_table(w), *rollup = rollup_of(s, 1000);
    struct label label = {STR("site"), STR("sz")};
    struct value v = {.type = TYPE_BIGINT, .i = INT64_MAX};
    struct batch *b = batch_new(s, NULL);
    uint32_t index;
    assert_int_equal(batch_add_device(b, STR("d"), &label, 1, &index), ERR_OK);
    for (int64_t time = 1500; time < 1502; time++) {
        assert_int_equal(batch_begin_row(b, index, time), ERR_OK);
        assert_int_equal(batch_set(b, &s->columns[0], &v), ERR_OK);
    }
    put(w, b);
    struct rollup_step step = {s, rollup, 1000, STR("d"), 0, INT64_MAX, 5, 0};
    assert_int_equal(compute(w, &step, NULL, &b), ERR_OK);
    assert_int_equal(batch_seal(b), ERR_OK);
    assert_int_equal(b->row_count, 1);
    assert_int_equal(b->time[0], 1000);
    assert_int_equal(b->devices[0].label_count, 1);
    assert_true(str_is(b->devices[0].labels[0].value, "sz"));
    /* A sum beyond its type is NULL, not wrong. */
    assert_int_equal(part(b, 0, &s->columns[0], ROLLUP_COUNT).i, 2);
    assert_true(part(b, 0, &s->columns[0], ROLLUP_SUM).is_null);
    batch_release(b);
    schema_release(rollup);
    schema_release(s);
}

/* ---- the table ---- */

static void a_rollup_has_the_same_column_ids_when_columns_come(void **state)
{
    struct world *w = *state;
    struct schema *s = make_table(w), *more = schema_copy(s);
    assert_int_equal(schema_add_column(more, 0, "e", TYPE_BOOL, 0, "", "", NULL), ERR_OK);
    struct schema *before = rollup_of(s, 60 * INT64_C(1000000000)),
                  *after = rollup_of(more, 60 * INT64_C(1000000000));
    assert_string_equal(before->name, "t_1m");
    assert_non_null(schema_find(before, STR("a_sum")));
    assert_non_null(schema_find(before, STR("c_count")));
    assert_null(schema_find(before, STR("c_min"))); /* a text */
    assert_int_equal(schema_find(after, STR("e_sum"))->type, TYPE_BIGINT);
    for (uint32_t i = 0; i < before->column_count; i++) {
        const struct column *c = schema_column(after, before->columns[i].id);
        assert_non_null(c);
        assert_string_equal(c->name, before->columns[i].name);
    }
    schema_release(before);
    schema_release(after);
    schema_release(more);
    schema_release(s);
}

static void windows_are_aligned_to_the_epoch_on_both_sides(void **state)
{
    (void)state;
    assert_int_equal(rollup_window_start(0, 10), 0);
    assert_int_equal(rollup_window_start(19, 10), 10);
    assert_int_equal(rollup_window_start(-1, 10), -10);
    assert_int_equal(rollup_window_start(-10, 10), -10);
    assert_true(rollup_window_start(INT64_MIN, 1000) == INT64_MIN);
    assert_true(rollup_window_start(INT64_MAX, 1000) <= INT64_MAX - 1);
}

/* ---- records that make no sense ---- */

static enum err read_state(struct catalog *catalog, int64_t frozen_ns)
{
    struct buf body = BUF_EMPTY;
    buf_add_char(&body, 2); /* version */
    buf_add_varint(&body, 1);
    buf_add_le32(&body, 2); /* the rollup's table */
    buf_add_le64(&body, (uint64_t)frozen_ns);
    buf_add_le64(&body, 0);
    for (int i = 0; i < 3; i++) buf_add_varint(&body, 0); /* rows, windows, series */
    struct reader in = reader_of(body.at, body.size);
    enum err err = rollup_states_read(catalog, &in, NULL);
    buf_free(&body);
    return err;
}

static void windows_up_to_the_end_of_time_are_not_frozen(void **state)
{
    (void)state;
    struct catalog *catalog = mem_alloc(sizeof *catalog);
    struct schema *base = schema_new("default", "t", 1);
    struct schema *rollup = rollup_of(base, 60 * INT64_C(1000000000));
    assert_int_equal(catalog_init(catalog), ERR_OK);
    rollup->table_id = 2;
    assert_int_equal(catalog_change(catalog, base, false), ERR_OK);
    assert_int_equal(catalog_change(catalog, rollup, false), ERR_OK);
    assert_int_equal(read_state(catalog, INT64_MAX), ERR_CORRUPT);
    assert_int_equal(read_state(catalog, INT64_MAX - 1), ERR_OK);
    assert_non_null(rollup_state_series(rollup_state_find(catalog, 2), 1));
    catalog_free(catalog);
    mem_free(catalog);
}

/* What is kept for a table takes its place by its id. */
static void a_rollup_of_a_table_that_cannot_be_is_malformed(void **state)
{
    (void)state;
    static const uint32_t ids[] = {1, CATALOG_TABLES_MAX, CATALOG_TABLES_MAX + 1, UINT32_MAX};
    struct schema *base = schema_new("default", "t", 1);
    struct schema *rollup = rollup_of(base, 60 * INT64_C(1000000000));
    rollup->table_id = 2;
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        struct buf body = BUF_EMPTY;
        struct schema *again = NULL;
        bool dropped;
        rollup->rollup_of = ids[i];
        catalog_write_schema(&body, rollup, false);
        struct reader in = reader_of(body.at, body.size);
        enum err err = catalog_read_schema(&in, &again, &dropped, NULL);
        assert_int_equal(err, i < 2 ? ERR_OK : ERR_CORRUPT);
        schema_release(again);
        buf_free(&body);
    }
    schema_release(rollup);
    schema_release(base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_SIM_TEST(a_window_says_what_its_rows_say_wherever_they_lie),
        STORE_SIM_TEST(any_failing_allocation_leaves_an_error_and_nothing_else),
        STORE_SIM_TEST(a_table_that_was_changed_or_dropped_is_not_computed),
        STORE_SIM_TEST(a_rollup_takes_over_the_labels_of_the_device),
        STORE_SIM_TEST(a_rollup_has_the_same_column_ids_when_columns_come),
        cmocka_unit_test(windows_are_aligned_to_the_epoch_on_both_sides),
        cmocka_unit_test(windows_up_to_the_end_of_time_are_not_frozen),
        cmocka_unit_test(a_rollup_of_a_table_that_cannot_be_is_malformed),
    };
    return cmocka_run_group_tests_name("rollups", tests, NULL, NULL);
}
