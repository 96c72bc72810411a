/* store_held_test.c - claims about rows for which the head has no room: they wait, nothing is
 * refused that can be stored, and what waits in vain is told so. */
#include "base/timetext.h"
#include "store/store_testlib.h"

enum { APPENDS = 64, ROWS = 400 };

struct one {
    struct store_append append; /* first */
    struct writers *writers;
    bool is_done;
    enum err err;
    struct why why;
};

struct writers {
    struct one items[APPENDS];
    unsigned count;
    size_t open, refused, snapshot_count;
    void *snapshots[APPENDS];
    struct store_delete delete;
    bool is_deleted;
};

static void on_one(struct completion *c)
{
    struct one *one = (struct one *)(void *)c;
    MUST(!one->is_done);
    one->is_done = true;
    one->err = c->err;
    one->why = c->why;
    one->writers->open--;
    one->writers->refused += c->err != ERR_OK;
}

static void on_deleted(struct completion *c)
{
    struct writers *m = (struct writers *)(void *)((char *)c - offsetof(struct writers, delete));
    assert_int_equal(c->err, ERR_OK);
    m->is_deleted = true;
}

static struct batch *rows_of_one(const struct schema *s, int64_t from_ns)
{
    struct batch *b = batch_new((struct schema *)(uintptr_t)s, NULL);
    uint32_t index;
    assert_int_equal(batch_add_device(b, STR("d"), NULL, 0, &index), ERR_OK);
    for (unsigned row = 0; row < ROWS; row++) {
        struct value v = {.type = TYPE_BIGINT, .i = row};
        assert_int_equal(batch_begin_row(b, index, from_ns + row), ERR_OK);
        assert_int_equal(batch_set(b, &s->columns[0], &v), ERR_OK);
    }
    assert_int_equal(batch_seal(b), ERR_OK);
    return b;
}

/* One row of each of so many devices. */
static struct batch *rows_of_many(const struct schema *s, unsigned devices, int64_t time_ns)
{
    struct batch *b = batch_new((struct schema *)(uintptr_t)s, NULL);
    for (unsigned i = 0; i < devices; i++) {
        char name[32];
        uint32_t index;
        struct value v = {.type = TYPE_BIGINT, .i = i};
        snprintf(name, sizeof name, "device-%u", i);
        assert_int_equal(batch_add_device(b, str_of(name), NULL, 0, &index), ERR_OK);
        assert_int_equal(batch_begin_row(b, index, time_ns), ERR_OK);
        assert_int_equal(batch_set(b, &s->columns[0], &v), ERR_OK);
    }
    assert_int_equal(batch_seal(b), ERR_OK);
    return b;
}

static void append(struct world *w, struct writers *m, unsigned at, struct batch *batch,
                   int64_t wait_limit_ns)
{
    struct one *one = &m->items[at];
    *one = (struct one){
        .append = {.batch = batch, .ack = STORE_ACK_DURABLE, .wait_limit_ns = wait_limit_ns},
        .writers = m};
    completion_init(&one->append.completion, &w->home, on_one);
    m->open++;
    m->count++;
    store_append(w->store, &one->append);
}

static size_t count_lines(struct world *w)
{
    struct reading r = all(1);
    char *text = dump(w, &r);
    size_t lines = 0;
    for (char *p = text; *p; p++) lines += *p == '\n';
    free(text);
    return lines;
}

/* Readers keep rows in memory that are in parts by now, until the head has no room: the last append
 * waits. */
static void pin_old_rows(struct world *w, struct writers *m, const struct schema *s)
{
    while (!w->store->held) {
        assert_true(m->count < APPENDS / 2);
        append(w, m, m->count, rows_of_one(s, (int64_t)m->count * 1000), 0);
        sim_run_for(w->sim, TIME_NS_PER_S);
        assert_int_equal(
            store_sql_source.snapshot_open(w->store, &m->snapshots[m->snapshot_count++]), ERR_OK);
    }
    assert_int_equal(m->open, 1);
}

static void unpin(struct world *w, struct writers *m)
{
    while (m->snapshot_count)
        store_sql_source.snapshot_close(w->store, m->snapshots[--m->snapshot_count]);
}

static struct schema *open_small(struct world *w, size_t head_limit)
{
    w->head_limit = head_limit;
    reopen(w);
    return make_table(w);
}

static void rows_wait_until_a_reader_lets_go_of_old_ones(void **state)
{
    struct world *w = *state;
    struct schema *s = open_small(w, 300 * 1024);
    struct writers *m = calloc(1, sizeof *m);
    pin_old_rows(w, m, s);
    for (unsigned i = m->count; i < APPENDS; i++)
        append(w, m, i, rows_of_one(s, (int64_t)(1000 + i) * 1000), 0);
    sim_run_for(w->sim, 100 * TIME_NS_PER_S);
    assert_true(m->open > APPENDS / 2);
    assert_true(metric_get(&w->context, METRIC_HEAD_WAITS) > 0);
    unpin(w, m);
    sim_run_for(w->sim, TIME_NS_PER_S);
    assert_int_equal(m->open, 0);
    assert_int_equal(m->refused, 0);
    assert_int_equal(metric_get(&w->context, METRIC_ROWS_REFUSED), 0);
    free(m);
    schema_release(s);
}

static void rows_that_wait_too_long_are_told_why_and_deletes_behind_them_go_on(void **state)
{
    struct world *w = *state;
    struct schema *s = open_small(w, 300 * 1024);
    struct writers *m = calloc(1, sizeof *m);
    pin_old_rows(w, m, s);
    struct store_range range = {STR("d"), 0, INT64_MAX, 0};
    for (unsigned i = m->count; i < APPENDS - 1; i++)
        append(w, m, i, rows_of_one(s, (int64_t)(1000 + i) * 1000), 30 * TIME_NS_PER_S);
    m->delete = (struct store_delete){.table_id = s->table_id, .count = 1, .ranges = &range};
    completion_init(&m->delete.completion, &w->home, on_deleted);
    store_delete(w->store, &m->delete);
    append(w, m, APPENDS - 1, rows_of_one(s, 2000000),
           0); /* as polled rows: nobody sends them again */
    sim_run_for(w->sim, 29 * TIME_NS_PER_S);
    assert_true(m->open > APPENDS / 2 && m->refused == 0 && !m->is_deleted);
    sim_run_for(w->sim, 2 * TIME_NS_PER_S);
    assert_int_equal(m->open, 2); /* the one before them, and the one behind */
    assert_true(m->refused > 0 && !m->is_deleted);
    assert_int_equal(metric_get(&w->context, METRIC_HEAD_REFUSED), m->refused);
    const struct one *last = &m->items[APPENDS - 2];
    assert_int_equal(last->err, ERR_BUDGET);
    assert_non_null(strstr(last->why.text, "no room came free in 30 s among the 300 KiB"));
    assert_non_null(strstr(last->why.text, "raise memory:"));
    unpin(w, m);
    sim_run_for(w->sim, TIME_NS_PER_S);
    assert_int_equal(m->open, 0);
    assert_int_equal(last[1].err, ERR_OK);
    assert_true(m->is_deleted);
    assert_int_equal(count_lines(w), ROWS); /* what came behind the delete */
    free(m);
    schema_release(s);
}

static void few_rows_of_many_devices_stay_within_the_heads_budget(void **state)
{
    struct world *w = *state;
    struct schema *s = open_small(w, 1 << 20);
    struct writers *m = calloc(1, sizeof *m);
    for (unsigned i = 0; i < 40; i++) append(w, m, i, rows_of_many(s, 1000, i), 0);
    while (m->open) assert_true(sim_step(w->sim));
    assert_int_equal(m->refused, 0);
    assert_true(w->store->head_budget.peak_bytes <= w->head_limit * 3 / 2);
    assert_int_equal(atomic_load(&w->store->head_budget.refused_count), 0);
    assert_int_equal(count_lines(w), 40000);
    free(m);
    schema_release(s);
}

static void rows_that_never_fit_are_refused_at_once(void **state)
{
    struct world *w = *state;
    struct schema *s = open_small(w, 256 * 1024);
    struct writers *m = calloc(1, sizeof *m);
    append(w, m, 0, rows_of_many(s, 5000, 1), 0);
    append(w, m, 1, rows_of_many(s, 50, 1), 0);
    while (m->open) assert_true(sim_step(w->sim));
    assert_int_equal(m->items[0].err, ERR_LIMIT);
    assert_non_null(strstr(m->items[0].why.text, "these 5000 rows need"));
    assert_int_equal(m->items[1].err, ERR_OK);
    free(m);
    schema_release(s);
}

static void a_store_that_closes_tells_those_that_wait(void **state)
{
    struct world *w = *state;
    struct schema *s = open_small(w, 300 * 1024);
    struct writers *m = calloc(1, sizeof *m);
    pin_old_rows(w, m, s);
    for (unsigned i = m->count; i < APPENDS; i++)
        append(w, m, i, rows_of_one(s, (int64_t)(1000 + i) * 1000), 0);
    sim_run_for(w->sim, TIME_NS_PER_S);
    assert_true(m->open > APPENDS / 2);
    unpin(w, m);
    store_close(w->store);
    sim_run_for(w->sim, TIME_NS_PER_S);
    assert_int_equal(m->open, 0);
    open_store(w);
    free(m);
    schema_release(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_SIM_TEST(rows_wait_until_a_reader_lets_go_of_old_ones),
        STORE_SIM_TEST(rows_that_wait_too_long_are_told_why_and_deletes_behind_them_go_on),
        STORE_SIM_TEST(few_rows_of_many_devices_stay_within_the_heads_budget),
        STORE_SIM_TEST(rows_that_never_fit_are_refused_at_once),
        STORE_SIM_TEST(a_store_that_closes_tells_those_that_wait),
    };
    return cmocka_run_group_tests_name("store held", tests, NULL, NULL);
}
