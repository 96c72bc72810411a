/* store_rollup_testlib.h - for tests of rollups: declaring them, waiting until they are computed,
 * and asking a question with and without them. The table is t of store_testlib.h. */
#ifndef STORE_ROLLUP_TESTLIB_H
#define STORE_ROLLUP_TESTLIB_H

#include "store/rollup.h"
#include "store/store_testlib.h"

#define SECOND ((int64_t)1000000000)
#define MINUTE (60 * SECOND)

static inline enum err try_define(struct world *w, struct schema *s, bool drop)
{
    struct store_define op = {.schema = s, .drop = drop};
    w->home.after_arg = w;
    completion_init(&op.completion, &w->home, on_done);
    store_define(w->store, &op);
    wait_done(w);
    schema_release(op.result);
    return w->err;
}

static inline struct schema *find(struct world *w, const char *name)
{
    return store_find_table(w->store, STR("default"), str_of(name));
}

/* The base table with other rollups; its current schema. */
static inline struct schema *set_rollups(struct world *w, const int64_t *every, size_t count)
{
    struct schema *old = find(w, "t"), *s = schema_copy(old);
    schema_release(old);
    s->rollup_count = 0;
    for (size_t i = 0; i < count; i++) assert_int_equal(schema_add_rollup(s, every[i], 0), ERR_OK);
    assert_int_equal(try_define(w, s, false), ERR_OK);
    return find(w, "t");
}

static inline bool is_there(struct world *w, const char *name)
{
    struct schema *s = find(w, name);
    schema_release(s);
    return s != NULL;
}

/* ---- what is dirty ---- */

static inline struct rollup_state *state_of(struct world *w)
{
    struct schema *base = find(w, "t");
    struct rollup_state *state =
        atomic_load(&catalog_table_state(&w->store->catalog, base->table_id)->rollups[0]);
    schema_release(base);
    assert_non_null(state);
    return state;
}

static inline bool is_clean(struct world *w, uint32_t devices)
{
    for (uint32_t id = 1; id <= devices; id++) {
        struct rollup_seen seen;
        if (!rollup_state_see(state_of(w), id, &seen) || seen.count) return false;
    }
    return true;
}

/* Rows of the rollup's table, and of the base table as its windows say. */
struct totals {
    int64_t windows, rows;
};

static inline struct totals totals_of(struct world *w, const char *name)
{
    struct arena arena;
    struct sql_table table;
    void *snapshot;
    uint16_t id = ROLLUP_ID_ROWS;
    struct sql_scan_request request = {.time_from_ns = INT64_MIN,
                                       .time_to_ns = INT64_MAX,
                                       .column_count = 1,
                                       .columns = &id,
                                       .want_time = true};
    struct sql_scan *scan = NULL;
    struct totals totals = {0};
    const struct sql_source *source = &store_sql_source;
    arena_init(&arena, NULL);
    assert_int_equal(source->snapshot_open(w->store, &snapshot), ERR_OK);
    assert_int_equal(
        source->find_table(w->store, STR("default"), STR(""), str_of(name), &arena, &table, NULL),
        ERR_OK);
    assert_int_equal(source->scan_open(w->store, snapshot, &table, &request, NULL, &scan, NULL),
                     ERR_OK);
    for (struct sql_chunk chunk;;) {
        assert_int_equal(source->scan_next(scan, &chunk, NULL), ERR_OK);
        if (!chunk.row_count) break;
        totals.windows += chunk.row_count;
        for (uint32_t i = 0; i < chunk.row_count; i++) totals.rows += chunk.columns[0].i[i];
    }
    source->scan_close(scan, NULL);
    source->close_table(w->store, &table);
    source->snapshot_close(w->store, snapshot);
    arena_free(&arena);
    return totals;
}

static inline void wait_clean(struct world *w, uint32_t devices)
{
    for (int i = 0; i < 400 && !is_clean(w, devices); i++) usleep(50000);
    assert_true(is_clean(w, devices));
}

/* ---- what should be there ---- */

static inline int64_t model_rows(const struct model *m)
{
    int64_t rows = 0;
    for (unsigned d = 0; d < DEVICES; d++)
        for (unsigned at = 0; at < TIMES; at++) rows += m->rows[d][at];
    return rows;
}

static inline int64_t model_windows(const struct model *m, int64_t every_ns)
{
    int64_t windows = 0;
    for (unsigned d = 0; d < DEVICES; d++)
        for (int64_t at = 0, last = -1; at < TIMES; at++)
            if (m->rows[d][at] && at * m->step / every_ns != last) {
                last = at * m->step / every_ns;
                windows++;
            }
    return windows;
}

/* ---- reading ---- */

static inline bool is_one_hour(void *context, int64_t first_ns, int64_t last_ns)
{
    bool *allowed = context;
    return *allowed && first_ns / (60 * MINUTE) == last_ns / (60 * MINUTE);
}

struct answer {
    int64_t rows, count[2], sum, least, most;
    double sum_double;
    uint64_t summaries;
};

static inline void add_summary(struct answer *a, const struct sql_summary *s)
{
    a->count[0] += (int64_t)s[0].count;
    a->count[1] += (int64_t)s[1].count;
    a->sum += (int64_t)s[0].sum_int;
    a->sum_double += s[1].sum_double + (double)s[1].sum_int;
    if (!s[0].has_values) return;
    if (s[0].least.i < a->least) a->least = s[0].least.i;
    if (s[0].most.i > a->most) a->most = s[0].most.i;
}

static inline void add_rows(struct answer *a, const struct sql_chunk *chunk)
{
    for (uint32_t i = 0; i < chunk->row_count; i++) {
        struct value x = vector_get(&chunk->columns[0], i), y = vector_get(&chunk->columns[1], i);
        a->count[0] += !x.is_null;
        a->count[1] += !y.is_null;
        if (!y.is_null) a->sum_double += y.type == TYPE_DOUBLE ? y.d : (double)y.i;
        if (x.is_null) continue;
        a->sum += x.i;
        if (x.i < a->least) a->least = x.i;
        if (x.i > a->most) a->most = x.i;
    }
}

/* What a statement over columns a and b of [from, to) would gather. */
static inline struct answer ask(struct world *w, void *snapshot, int64_t from, int64_t to,
                                bool allowed)
{
    struct arena arena;
    struct sql_table table;
    uint16_t ids[] = {1, 2};
    struct sql_scan_request request = {.time_from_ns = from,
                                       .time_to_ns = to,
                                       .column_count = 2,
                                       .columns = ids,
                                       .want_time = true,
                                       .summarises = is_one_hour,
                                       .summary_context = &allowed};
    struct sql_scan *scan = NULL;
    struct answer a = {.least = INT64_MAX, .most = INT64_MIN};
    struct sql_scan_stats stats = {0};
    const struct sql_source *source = &store_sql_source;
    arena_init(&arena, NULL);
    assert_int_equal(
        source->find_table(w->store, STR("default"), STR(""), STR("t"), &arena, &table, NULL),
        ERR_OK);
    assert_int_equal(source->scan_open(w->store, snapshot, &table, &request, NULL, &scan, NULL),
                     ERR_OK);
    for (struct sql_chunk chunk;;) {
        assert_int_equal(source->scan_next(scan, &chunk, NULL), ERR_OK);
        if (!chunk.row_count) break;
        a.rows += chunk.row_count;
        if (chunk.summaries)
            add_summary(&a, chunk.summaries);
        else
            add_rows(&a, &chunk);
    }
    source->scan_close(scan, &stats);
    source->close_table(w->store, &table);
    arena_free(&arena);
    a.summaries = stats.summaries;
    return a;
}

/* The same from the rollup as from the rows alone, over one snapshot: all of it, and `tries` - 1
 * other ranges. */
static inline uint64_t compare_answers(struct world *w, void *snapshot, unsigned *seed,
                                       int64_t step, unsigned tries)
{
    uint64_t summaries = 0;
    for (unsigned n = 0; n < tries; n++) {
        int64_t from = (int64_t)(rand_r(seed) % TIMES) * step, to = from;
        to += (int64_t)(1 + (unsigned)rand_r(seed) % TIMES) * step;
        if (n == 0) from = INT64_MIN, to = INT64_MAX;
        struct answer rows = ask(w, snapshot, from, to, false),
                      mixed = ask(w, snapshot, from, to, true);
        assert_int_equal(mixed.rows, rows.rows);
        assert_int_equal(mixed.count[0], rows.count[0]);
        assert_int_equal(mixed.count[1], rows.count[1]);
        assert_int_equal(mixed.sum, rows.sum);
        assert_int_equal(mixed.least, rows.least);
        assert_int_equal(mixed.most, rows.most);
        assert_true(mixed.sum_double - rows.sum_double < 1e-6 &&
                    rows.sum_double - mixed.sum_double < 1e-6);
        summaries += mixed.summaries;
    }
    return summaries;
}

static inline uint64_t compare_now(struct world *w, unsigned *seed, int64_t step, unsigned tries)
{
    void *snapshot;
    assert_int_equal(store_sql_source.snapshot_open(w->store, &snapshot), ERR_OK);
    uint64_t summaries = compare_answers(w, snapshot, seed, step, tries);
    store_sql_source.snapshot_close(w->store, snapshot);
    return summaries;
}

#endif
