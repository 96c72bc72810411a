/* store_testlib.h - for the store's tests: a store in a folder of its own, what a scan of it gives
 * as text, and a model to compare that with.
 *
 * The model is slow and obvious: a table of cells, each with the value that was written last. A
 * store lives in the real world (`setup`; a test may take over single operations of it) or in a
 * simulated one (`sim_setup`), which waits for nothing. All calls come from the test's thread;
 * completions are run by `wait_done`. */
#ifndef STORE_TESTLIB_H
#define STORE_TESTLIB_H

#include "os/sim.h"
#include "store/store_priv.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SPANS_BYTES = 256 * 1024 };

struct world {
    struct os_ops ops; /* the real ones, the clock shifted */
    const struct os_ops *plain;
    struct os *real;
    struct sim *sim; /* NULL: in the real world */
    struct os *os;   /* the world the store is in */
    int64_t shift_ns;
    struct context context;
    struct loop home;
    struct store *store;
    char folder[64];
    size_t head_limit, segment_bytes;
    uint32_t rollup_rows; /* store_config.rollup_rows_min; 0: windows are always read */
    _Atomic int done;
    enum err err;
};

/* The world stands in another folder from here on; its store is closed. */
static inline void move_world(struct world *w, const char *folder)
{
    assert_true(str_copy(w->folder, sizeof w->folder, str_of(folder)));
}

/* ---- the world ---- */

static inline enum err try_open(struct world *w, struct why *why)
{
    struct store_config config = {w->folder,   w->head_limit,
                                  0,           w->segment_bytes,
                                  SPANS_BYTES, w->rollup_rows ? w->rollup_rows : 1,
                                  {0}};
    w->store = NULL;
    return store_open(&w->context, &config, &w->store, why);
}

static inline void open_store(struct world *w)
{
    struct why why = WHY_NONE;
    enum err err = try_open(w, &why);
    if (err) print_error("%s\n", why_text(&why, err));
    assert_int_equal(err, ERR_OK);
}

static inline void drop_line(void *arg, const char *line, size_t size)
{
    (void)arg;
    (void)line;
    (void)size;
}

static inline void setup_context(struct world *w, struct os *os)
{
    w->os = w->context.os = os;
    w->context.diag_level = DIAG_ERROR;
    w->context.diag = (struct diag_writer){drop_line, NULL};
    budget_init(&w->context.memory, "node", NULL, 128 << 20);
    w->head_limit = 16 << 20;
    assert_int_equal(loop_start(&w->home, os, "test", 0, NULL), ERR_OK);
}

static inline int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    w->real = os_real_new();
    strcpy(w->folder, "/tmp/millrace-parts-XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    setup_context(w, w->real);
    open_store(w);
    *state = w;
    return 0;
}

static inline int teardown(void **state)
{
    struct world *w = *state;
    char command[128];
    store_close(w->store);
    loop_stop(&w->home);
    os_real_free(w->real);
    snprintf(command, sizeof command, "rm -rf %s", w->folder);
    assert_int_equal(system(command), 0);
    assert_int_equal(atomic_load(&w->context.memory.used_bytes), 0);
    free(w);
    return 0;
}

static inline struct world *sim_world_new(uint64_t seed)
{
    struct world *w = calloc(1, sizeof *w);
    w->sim = sim_new(seed);
    strcpy(w->folder, "data");
    setup_context(w, sim_node(w->sim, "node"));
    return w;
}

static inline void sim_world_free(struct world *w)
{
    store_close(w->store);
    loop_stop(&w->home);
    sim_free(w->sim);
    assert_int_equal(atomic_load(&w->context.memory.used_bytes), 0);
    free(w);
}

static inline int sim_setup(void **state)
{
    struct world *w = sim_world_new(1);
    open_store(w);
    *state = w;
    return 0;
}

static inline int sim_teardown(void **state)
{
    sim_world_free(*state);
    return 0;
}

static inline void reopen(struct world *w)
{
    store_close(w->store);
    open_store(w);
}

static inline void on_done(struct completion *c)
{
    struct world *w = c->home->after_arg;
    w->err = c->err;
    atomic_store(&w->done, 1);
}

static inline void wait_done(struct world *w)
{
    while (!atomic_load(&w->done)) {
        if (w->sim)
            assert_true(sim_step(w->sim));
        else
            usleep(50);
    }
    atomic_store(&w->done, 0);
}

static inline enum err try_flush(struct world *w)
{
    struct store_flush op = {0};
    w->home.after_arg = w;
    completion_init(&op.completion, &w->home, on_done);
    store_flush(w->store, &op);
    wait_done(w);
    return w->err;
}

static inline void flush(struct world *w)
{
    assert_int_equal(try_flush(w), ERR_OK);
}

static inline struct schema *define(struct world *w, struct schema *s)
{
    struct store_define op = {.schema = s};
    w->home.after_arg = w;
    completion_init(&op.completion, &w->home, on_done);
    store_define(w->store, &op);
    wait_done(w);
    assert_int_equal(w->err, ERR_OK);
    return op.result;
}

static inline enum err try_put(struct world *w, struct batch *b)
{
    if (!b->sealed) assert_int_equal(batch_seal(b), ERR_OK);
    struct store_append op = {.batch = b, .ack = STORE_ACK_APPLIED};
    w->home.after_arg = w;
    completion_init(&op.completion, &w->home, on_done);
    store_append(w->store, &op);
    wait_done(w);
    return w->err;
}

static inline void put(struct world *w, struct batch *b)
{
    assert_int_equal(try_put(w, b), ERR_OK);
}

static inline enum err try_delete(struct world *w, const struct schema *s,
                                  struct store_range *ranges, size_t count)
{
    struct store_delete op = {.table_id = s->table_id, .count = count, .ranges = ranges};
    w->home.after_arg = w;
    completion_init(&op.completion, &w->home, on_done);
    store_delete(w->store, &op);
    wait_done(w);
    return w->err;
}

/* ---- reading ---- */

struct reading {
    bool newest_first;
    int64_t from, to;
    uint64_t row_limit;
    const char *device;
    size_t column_count;
    uint64_t damaged, parts, blocks, spans; /* out */
};

static inline void add_row(struct buf *out, const struct sql_chunk *chunk, size_t columns,
                           uint32_t row)
{
    struct value device = vector_get(&chunk->device, row);
    value_add_text(out, &device);
    buf_printf(out, " %" PRId64, chunk->time.i[row]);
    for (size_t i = 0; i < columns; i++) {
        struct value v = vector_get(&chunk->columns[i], row);
        buf_add_char(out, ' ');
        if (v.is_null)
            buf_printf(out, "-%x", v.quality);
        else
            value_add_text(out, &v);
    }
    buf_add_char(out, '\n');
}

/* All rows of table t as text; NULL when the statement ended with an error. */
static inline char *dump(struct world *w, struct reading *r)
{
    struct arena arena;
    arena_init(&arena, NULL);
    struct sql_table table;
    void *snapshot;
    uint16_t ids[16];
    for (uint16_t i = 0; i < 16; i++) ids[i] = (uint16_t)(i + 1);
    struct str device = str_of(r->device);
    struct sql_series_filter filter = {STR("device"), 1, &device};
    struct sql_scan_request request = {.time_from_ns = r->from,
                                       .time_to_ns = r->to,
                                       .column_count = r->column_count,
                                       .columns = ids,
                                       .want_time = true,
                                       .want_device = true,
                                       .newest_first = r->newest_first,
                                       .row_limit = r->row_limit,
                                       .filter_count = r->device != NULL,
                                       .filters = &filter};
    struct sql_scan *scan = NULL;
    struct buf out = BUF_EMPTY;
    struct sql_scan_stats stats = {0};
    const struct sql_source *source = &store_sql_source;
    enum err err = source->snapshot_open(w->store, &snapshot);
    if (err) return NULL;
    err = source->find_table(w->store, STR("default"), STR(""), STR("t"), &arena, &table, NULL);
    if (!err) err = source->scan_open(w->store, snapshot, &table, &request, NULL, &scan, NULL);
    for (bool more = !err; more;) {
        struct sql_chunk chunk;
        err = source->scan_next(scan, &chunk, NULL);
        more = !err && chunk.row_count;
        assert_true(err || chunk.row_count <= SQL_CHUNK_ROWS);
        for (uint32_t i = 0; more && i < chunk.row_count; i++)
            add_row(&out, &chunk, r->column_count, i);
    }
    source->scan_close(scan, &stats);
    source->close_table(w->store, &table);
    source->snapshot_close(w->store, snapshot);
    arena_free(&arena);
    r->damaged = stats.damaged;
    r->parts = stats.parts;
    r->blocks = stats.blocks;
    r->spans = stats.spans;
    char *text = err || buf_failed(&out) ? NULL : strdup(out.size ? buf_cstr(&out) : "");
    buf_free(&out);
    return text;
}

static inline struct reading all(size_t columns)
{
    return (struct reading){.from = INT64_MIN, .to = INT64_MAX, .column_count = columns};
}

/* ---- the model ---- */

enum { DEVICES = 3, TIMES = 4000, COLUMNS = 3 };

struct model_cell {
    bool present, is_null;
    int64_t value;
};
struct model {
    bool rows[DEVICES][TIMES];
    struct model_cell cells[DEVICES][TIMES][COLUMNS];
    int64_t step; /* ns between two times */
};

static inline struct schema *make_table(struct world *w)
{
    struct schema *s = schema_new("default", "t", 0);
    assert_int_equal(schema_add_column(s, 0, "a", TYPE_BIGINT, 0, "", "", NULL), ERR_OK);
    assert_int_equal(schema_add_column(s, 0, "b", TYPE_DOUBLE, 0, "", "", NULL), ERR_OK);
    assert_int_equal(schema_add_column(s, 0, "c", TYPE_TEXT, 0, "", "", NULL), ERR_OK);
    return define(w, s);
}

static inline struct value value_of(unsigned column, const struct model_cell *cell, char text[32])
{
    struct value v = {.is_null = cell->is_null};
    v.type = column == 0 ? TYPE_BIGINT : column == 1 ? TYPE_DOUBLE : TYPE_TEXT;
    snprintf(text, 32, "text %" PRId64, cell->value);
    if (cell->is_null)
        v.quality = (uint32_t)QualityBadTimeout;
    else if (column == 0)
        v.i = cell->value;
    else if (column == 1)
        v.d = (double)cell->value / 4;
    else
        v.s = str_of(text);
    return v;
}

static inline void model_row(struct model *m, struct batch *b, unsigned device, unsigned at,
                             unsigned seed)
{
    char name[8], text[32];
    uint32_t index;
    snprintf(name, sizeof name, "d%u", device);
    assert_int_equal(batch_add_device(b, str_of(name), NULL, 0, &index), ERR_OK);
    assert_int_equal(batch_begin_row(b, index, (int64_t)at * m->step), ERR_OK);
    m->rows[device][at] = true;
    for (unsigned c = 0; c < COLUMNS; c++) {
        if (seed >> c & 1) continue;
        struct model_cell *cell = &m->cells[device][at][c];
        *cell = (struct model_cell){true, seed % 11 == c, (int64_t)seed % 1000};
        struct value v = value_of(c, cell, text);
        assert_int_equal(batch_set(b, &b->schema->columns[c], &v), ERR_OK);
    }
}

static inline char *model_dump(const struct model *m, const struct reading *r)
{
    struct buf out = BUF_EMPTY;
    char text[32];
    for (unsigned d = 0; d < DEVICES; d++) {
        uint64_t rows = 0;
        for (unsigned i = 0; i < TIMES; i++) {
            unsigned at = r->newest_first ? TIMES - 1 - i : i;
            int64_t time = (int64_t)at * m->step;
            if (!m->rows[d][at] || time < r->from || time >= r->to ||
                (r->row_limit && rows >= r->row_limit))
                continue;
            rows++;
            buf_printf(&out, "d%u %" PRId64, d, time);
            for (unsigned c = 0; c < r->column_count; c++) {
                const struct model_cell *cell = &m->cells[d][at][c];
                struct value v = value_of(c, cell, text);
                buf_add_char(&out, ' ');
                if (!cell->present || cell->is_null)
                    buf_printf(&out, "-%x", cell->present ? v.quality : QUALITY_NO_DATA);
                else
                    value_add_text(&out, &v);
            }
            buf_add_char(&out, '\n');
        }
    }
    char *copy = strdup(out.size ? buf_cstr(&out) : "");
    buf_free(&out);
    return copy;
}

/* Returns how many spans were taken from memory. Series come in order of id, that is of first use:
 * the test makes d0, d1, d2 in this order. */
static inline uint64_t compare(struct world *w, const struct model *m, struct reading r)
{
    char *is = dump(w, &r), *should = model_dump(m, &r);
    assert_non_null(is);
    /* A row limit is a hint: more rows are allowed, fewer are not; the tests ask for 1 and compare
     * the first lines. */
    if (!r.row_limit) assert_string_equal(is, should);
    for (char *line = should; r.row_limit && *line;) {
        size_t size = strcspn(line, "\n") + 1;
        line[size - 1] = 0;
        assert_non_null(strstr(is, line));
        line += size;
    }
    free(is);
    free(should);
    return r.spans;
}

static inline void compare_all(struct world *w, const struct model *m)
{
    struct reading r = all(COLUMNS);
    compare(w, m, r);
    r.newest_first = true;
    compare(w, m, r);
    r.row_limit = 1;
    compare(w, m, r);
    r = all(COLUMNS);
    r.from = 700 * m->step;
    r.to = 2900 * m->step;
    compare(w, m, r);
}

static inline unsigned seed_of_run(void)
{
    const char *text = getenv("MILLRACE_TEST_SEED");
    return text ? (unsigned)strtoul(text, NULL, 10) : 1;
}

static inline void first_rows(struct world *w, struct schema *s, struct model *m)
{
    for (unsigned d = 0; d < DEVICES; d++) {
        struct batch *b = batch_new(s, NULL);
        model_row(m, b, d, 0, 16);
        put(w, b);
    }
}

/* ---- files and rows ---- */

static inline size_t count_files(struct world *w, const char *sub, const char *ending)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", w->folder, sub);
    DIR *folder = opendir(path);
    assert_non_null(folder);
    size_t count = 0;
    for (struct dirent *e; (e = readdir(folder));) {
        size_t size = strlen(e->d_name);
        count += size > strlen(ending) && strcmp(e->d_name + size - strlen(ending), ending) == 0;
    }
    closedir(folder);
    return count;
}

static inline void put_many(struct world *w, struct schema *s, int64_t first, unsigned rows)
{
    struct batch *b = batch_new(s, NULL);
    uint32_t index;
    assert_int_equal(batch_add_device(b, STR("d"), NULL, 0, &index), ERR_OK);
    for (unsigned i = 0; i < rows; i++) {
        struct value v = {.type = TYPE_BIGINT, .i = (int64_t)i * 7919},
                     x = {.type = TYPE_DOUBLE, .d = i * 0.1};
        assert_int_equal(batch_begin_row(b, index, first + i), ERR_OK);
        assert_int_equal(batch_set(b, &s->columns[0], &v), ERR_OK);
        assert_int_equal(batch_set(b, &s->columns[1], &x), ERR_OK);
    }
    put(w, b);
}

#define STORE_TEST(name)     cmocka_unit_test_setup_teardown(name, setup, teardown)
#define STORE_SIM_TEST(name) cmocka_unit_test_setup_teardown(name, sim_setup, sim_teardown)

#endif
