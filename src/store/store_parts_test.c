/* store_parts_test.c - claims about rows that moved from memory to parts: nothing changes for who reads them.
 *
 * The model is slow and obvious: a table of cells, each with the version that wrote it last. Random histories (seed from
 * MILLRACE_TEST_SEED) write, flush, restart, and compare. */
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

struct world {
    struct os_ops ops; /* the real ones, the clock shifted */
    const struct os_ops *plain;
    struct os *real;
    int64_t shift_ns;
    struct context context;
    struct loop home;
    struct store *store;
    char folder[64];
    size_t head_limit;
    _Atomic int done;
    enum err err;
};

/* ---- the world ---- */

static enum err try_open(struct world *w, struct why *why)
{
    struct store_config config = {w->folder, w->head_limit, 0};
    w->store = NULL;
    return store_open(&w->context, &config, &w->store, why);
}

static void open_store(struct world *w)
{
    struct why why = WHY_NONE;
    enum err err = try_open(w, &why);
    if (err) print_error("%s\n", why_text(&why, err));
    assert_int_equal(err, ERR_OK);
}

static void drop_line(void *arg, const char *line, size_t size)
{
    (void)arg;
    (void)line;
    (void)size;
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    w->real = os_real_new();
    w->context.os = w->real;
    w->context.diag_level = DIAG_ERROR;
    w->context.diag = (struct diag_writer){drop_line, NULL};
    budget_init(&w->context.memory, "node", NULL, 128 << 20);
    w->head_limit = 16 << 20;
    strcpy(w->folder, "/tmp/millrace-parts-XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    assert_int_equal(loop_start(&w->home, w->context.os, "test", 0, NULL), ERR_OK);
    open_store(w);
    *state = w;
    return 0;
}

static int teardown(void **state)
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

static void reopen(struct world *w)
{
    store_close(w->store);
    open_store(w);
}

static void on_done(struct completion *c)
{
    struct world *w = c->home->after_arg;
    w->err = c->err;
    atomic_store(&w->done, 1);
}

static void wait_done(struct world *w)
{
    while (!atomic_load(&w->done)) usleep(50);
    atomic_store(&w->done, 0);
}

static enum err try_flush(struct world *w)
{
    struct store_flush op = {0};
    w->home.after_arg = w;
    completion_init(&op.completion, &w->home, on_done);
    store_flush(w->store, &op);
    wait_done(w);
    return w->err;
}

static void flush(struct world *w) { assert_int_equal(try_flush(w), ERR_OK); }

static struct schema *define(struct world *w, struct schema *s)
{
    struct store_define op = {.schema = s};
    w->home.after_arg = w;
    completion_init(&op.completion, &w->home, on_done);
    store_define(w->store, &op);
    wait_done(w);
    assert_int_equal(w->err, ERR_OK);
    return op.result;
}

static enum err try_put(struct world *w, struct batch *b)
{
    if (!b->sealed) assert_int_equal(batch_seal(b), ERR_OK);
    struct store_append op = {.batch = b, .ack = STORE_ACK_APPLIED};
    w->home.after_arg = w;
    completion_init(&op.completion, &w->home, on_done);
    store_append(w->store, &op);
    wait_done(w);
    return w->err;
}

static void put(struct world *w, struct batch *b) { assert_int_equal(try_put(w, b), ERR_OK); }

/* ---- reading ---- */

struct reading {
    bool newest_first;
    int64_t from, to;
    uint64_t row_limit;
    const char *device;
    size_t column_count;
    uint64_t damaged, parts, blocks; /* out */
};

static void add_row(struct buf *out, const struct sql_chunk *chunk, size_t columns, uint32_t row)
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
static char *dump(struct world *w, struct reading *r)
{
    struct arena arena;
    arena_init(&arena, NULL);
    struct sql_table table;
    void *snapshot;
    uint16_t ids[16];
    for (uint16_t i = 0; i < 16; i++) ids[i] = (uint16_t)(i + 1);
    struct str device = str_of(r->device);
    struct sql_series_filter filter = {STR("device"), 1, &device};
    struct sql_scan_request request = {.time_from_ns = r->from, .time_to_ns = r->to, .column_count = r->column_count,
                                       .columns = ids, .want_time = true, .want_device = true,
                                       .newest_first = r->newest_first, .row_limit = r->row_limit,
                                       .filter_count = r->device != NULL, .filters = &filter};
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
        for (uint32_t i = 0; more && i < chunk.row_count; i++) add_row(&out, &chunk, r->column_count, i);
    }
    source->scan_close(scan, &stats);
    source->close_table(w->store, &table);
    source->snapshot_close(w->store, snapshot);
    arena_free(&arena);
    r->damaged = stats.damaged;
    r->parts = stats.parts;
    r->blocks = stats.blocks;
    char *text = err || buf_failed(&out) ? NULL : strdup(out.size ? buf_cstr(&out) : "");
    buf_free(&out);
    return text;
}

static struct reading all(size_t columns)
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

static struct schema *make_table(struct world *w)
{
    struct schema *s = schema_new("default", "t", 0);
    assert_int_equal(schema_add_column(s, 0, "a", TYPE_BIGINT, 0, "", "", NULL), ERR_OK);
    assert_int_equal(schema_add_column(s, 0, "b", TYPE_DOUBLE, 0, "", "", NULL), ERR_OK);
    assert_int_equal(schema_add_column(s, 0, "c", TYPE_TEXT, 0, "", "", NULL), ERR_OK);
    return define(w, s);
}

static struct value value_of(unsigned column, const struct model_cell *cell, char text[32])
{
    struct value v = {.is_null = cell->is_null};
    v.type = column == 0 ? TYPE_BIGINT : column == 1 ? TYPE_DOUBLE : TYPE_TEXT;
    snprintf(text, 32, "text %" PRId64, cell->value);
    if (cell->is_null) v.quality = (uint32_t)QualityBadTimeout;
    else if (column == 0) v.i = cell->value;
    else if (column == 1) v.d = (double)cell->value / 4;
    else v.s = str_of(text);
    return v;
}

static void model_row(struct model *m, struct batch *b, unsigned device, unsigned at, unsigned seed)
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

static char *model_dump(const struct model *m, const struct reading *r)
{
    struct buf out = BUF_EMPTY;
    char text[32];
    for (unsigned d = 0; d < DEVICES; d++) {
        uint64_t rows = 0;
        for (unsigned i = 0; i < TIMES; i++) {
            unsigned at = r->newest_first ? TIMES - 1 - i : i;
            int64_t time = (int64_t)at * m->step;
            if (!m->rows[d][at] || time < r->from || time >= r->to || (r->row_limit && rows >= r->row_limit)) continue;
            rows++;
            buf_printf(&out, "d%u %" PRId64, d, time);
            for (unsigned c = 0; c < COLUMNS; c++) {
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

/* Series come in order of id, that is of first use: the test makes d0, d1, d2 in this order. */
static void compare(struct world *w, const struct model *m, struct reading r)
{
    char *is = dump(w, &r), *should = model_dump(m, &r);
    assert_non_null(is);
    /* A row limit is a hint: more rows are allowed, fewer are not; the tests ask for 1 and compare the first lines. */
    if (!r.row_limit) assert_string_equal(is, should);
    for (char *line = should; r.row_limit && *line;) {
        size_t size = strcspn(line, "\n") + 1;
        line[size - 1] = 0;
        assert_non_null(strstr(is, line));
        line += size;
    }
    free(is);
    free(should);
}

static void compare_all(struct world *w, const struct model *m)
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

static unsigned seed_of_run(void)
{
    const char *text = getenv("MILLRACE_TEST_SEED");
    return text ? (unsigned)strtoul(text, NULL, 10) : 1;
}

static void first_rows(struct world *w, struct schema *s, struct model *m)
{
    for (unsigned d = 0; d < DEVICES; d++) {
        struct batch *b = batch_new(s, NULL);
        model_row(m, b, d, 0, 16);
        put(w, b);
    }
}

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
    struct value values[] = {
        {.type = TYPE_BOOL, .b = true}, {.type = TYPE_BIGINT, .i = INT64_MIN}, {.type = TYPE_UBIGINT, .u = UINT64_MAX},
        {.type = TYPE_DOUBLE, .d = 5e-324}, {.type = TYPE_TEXT, .s = STR("höhe\n")},
        {.type = TYPE_BYTES, .s = {"\0\xff", 2}}, {.type = TYPE_TIMESTAMP, .i = INT64_MAX},
        {.type = TYPE_DOUBLES, .s = {(const char *)doubles, sizeof doubles}}};
    static const int64_t times[] = {INT64_MIN, -1, 0, 1, INT64_MAX - 1, INT64_MAX};
    for (size_t i = 0; i < 6; i++) {
        struct batch *b = batch_new(s, NULL);
        uint32_t index;
        assert_int_equal(batch_add_device(b, STR("d"), NULL, 0, &index), ERR_OK);
        assert_int_equal(batch_begin_row(b, index, times[i]), ERR_OK);
        for (size_t c = 0; c < 8; c++) {
            struct value v = values[c], null = {.type = v.type, .is_null = true, .quality = (uint32_t)QualityBadTimeout};
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

static size_t count_files(struct world *w, const char *sub, const char *ending)
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

static void put_many(struct world *w, struct schema *s, int64_t first, unsigned rows)
{
    struct batch *b = batch_new(s, NULL);
    uint32_t index;
    assert_int_equal(batch_add_device(b, STR("d"), NULL, 0, &index), ERR_OK);
    for (unsigned i = 0; i < rows; i++) {
        struct value v = {.type = TYPE_BIGINT, .i = (int64_t)i * 7919}, x = {.type = TYPE_DOUBLE, .d = i * 0.1};
        assert_int_equal(batch_begin_row(b, index, first + i), ERR_OK);
        assert_int_equal(batch_set(b, &s->columns[0], &v), ERR_OK);
        assert_int_equal(batch_set(b, &s->columns[1], &x), ERR_OK);
    }
    put(w, b);
}

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
    for (int i = 0; i < 100; i++) {
        put_many(w, s, (int64_t)i * 5000, 5000);
        while (atomic_load(&w->store->head_budget.used_bytes) > (size_t)3 << 19) usleep(100);
    }
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

/* ---- memory ---- */

static void a_failed_allocation_costs_at_most_the_operation(void **state)
{
    struct world *w = *state;
    struct model *m = calloc(1, sizeof *m);
    m->step = 1000;
    struct schema *s = make_table(w);
    first_rows(w, s, m);
    unsigned seed = 5;
    for (unsigned round = 0; round < 6; round++) {
        struct batch *b = batch_new(s, NULL);
        for (unsigned i = 0; i < 100; i++)
            model_row(m, b, i % DEVICES, (unsigned)rand_r(&seed) % 3000, (unsigned)rand_r(&seed));
        put(w, b);
        uint64_t count = 1;
        bool flushed = false;
        for (; !flushed && count < 30000; count++) {
            mem_test_fail(count);
            flushed = try_flush(w) == ERR_OK;
            mem_test_fail(0);
        }
        assert_true(flushed);
        struct reading r = all(COLUMNS);
        r.newest_first = round % 2;
        char *text = NULL;
        for (count = 1; !text && count < 20000; count++) {
            mem_test_fail(count);
            text = dump(w, &r);
            mem_test_fail(0);
        }
        assert_non_null(text);
        free(text);
        compare_all(w, m);
    }
    reopen(w);
    compare_all(w, m);
    free(m);
    schema_release(s);
}

/* ---- the disk ---- */

/* Each call that changes the disk counts down; the one that reaches zero fails. */
static struct world *failing;
static _Atomic int calls_left;

static bool call_fails(void) { return atomic_load(&calls_left) > 0 && atomic_fetch_sub(&calls_left, 1) == 1; }

static enum err fail_write(struct os_file *file, uint64_t offset, const void *bytes, size_t size, struct why *why)
{
    if (call_fails()) return why_set(why, ERR_IO, "the test's disk fails");
    return failing->plain->file_write(file, offset, bytes, size, why);
}

static enum err fail_sync(struct os_file *file, struct why *why)
{
    if (call_fails()) return why_set(why, ERR_IO, "the test's disk fails");
    return failing->plain->file_sync(file, why);
}

static enum err fail_rename(struct os *os, const char *from, const char *to, struct why *why)
{
    if (call_fails()) return why_set(why, ERR_IO, "the test's disk fails");
    return failing->plain->path_rename(os, from, to, why);
}

static enum err fail_folder_sync(struct os *os, const char *path, struct why *why)
{
    if (call_fails()) return why_set(why, ERR_IO, "the test's disk fails");
    return failing->plain->path_sync(os, path, why);
}

static void take_disk(struct world *w)
{
    store_close(w->store);
    failing = w;
    w->plain = w->real->ops;
    w->ops = *w->plain;
    w->ops.file_write = fail_write;
    w->ops.file_sync = fail_sync;
    w->ops.path_rename = fail_rename;
    w->ops.path_sync = fail_folder_sync;
    w->real->ops = &w->ops;
    open_store(w);
}

static void each_failed_disk_call_of_a_flush_loses_no_row(void **state)
{
    struct world *w = *state;
    struct model *m = calloc(1, sizeof *m);
    m->step = 1000;
    take_disk(w);
    struct schema *s = make_table(w);
    first_rows(w, s, m);
    unsigned seed = 3;
    bool missed = false;
    for (int n = 1; !missed && n < 100; n++) {
        struct batch *b = batch_new(s, NULL);
        for (unsigned i = 0; i < 30; i++)
            model_row(m, b, i % DEVICES, (unsigned)rand_r(&seed) % 3000, (unsigned)rand_r(&seed));
        assert_int_equal(batch_seal(b), ERR_OK);
        while (try_put(w, batch_share(b)) != ERR_OK) usleep(1000); /* the log is being reopened */
        batch_release(b);
        atomic_store(&calls_left, n);
        enum err err = try_flush(w);
        missed = atomic_exchange(&calls_left, 0) > 0;
        assert_true(missed || err == ERR_OK || err == ERR_IO);
        compare_all(w, m);
        if (n % 2) reopen(w); /* with whatever the failure left behind */
        compare_all(w, m);
    }
    assert_true(missed);
    flush(w);
    compare_all(w, m);
    reopen(w);
    compare_all(w, m);
    schema_release(s);
    free(m);
}

/* ---- retention ---- */

#define DAY_NS SEAL_PARTITION_NS
#define START_NS ((int64_t)1800000000 * 1000000000) /* 2027 */

static struct world *shifted;
static int64_t shifted_wall(struct os *os)
{
    (void)os;
    return shifted->shift_ns + shifted->real->ops->mono_ns(shifted->real);
}

/* From here on the wall clock shows `now_ns`. */
static void set_clock(struct world *w, int64_t now_ns)
{
    w->shift_ns = now_ns - w->real->ops->mono_ns(w->real);
}

/* The store is opened anew on a world whose wall clock the test sets. The world is the real one's struct with other
 * operations: they are what it consists of for everybody but os/. */
static void take_clock(struct world *w, int64_t now_ns)
{
    store_close(w->store);
    shifted = w;
    w->ops = *w->real->ops;
    w->ops.wall_ns = shifted_wall;
    w->real->ops = &w->ops;
    set_clock(w, now_ns);
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s/*", w->folder);
    assert_int_equal(system(command), 0);
    open_store(w);
}

static struct schema *table_kept_for(struct world *w, int64_t retention_ns)
{
    struct schema *s = schema_new("default", "t", 0);
    assert_int_equal(schema_add_column(s, 0, "a", TYPE_BIGINT, 0, "", "", NULL), ERR_OK);
    assert_int_equal(schema_add_column(s, 0, "b", TYPE_DOUBLE, 0, "", "", NULL), ERR_OK);
    s->retention_ns = retention_ns;
    return define(w, s);
}

static size_t rows_left(struct world *w)
{
    struct reading r = all(1);
    char *text = dump(w, &r);
    size_t lines = 0;
    for (char *p = text; *p; p++) lines += *p == '\n';
    free(text);
    return lines;
}

static void retention_removes_one_whole_day_at_a_time(void **state)
{
    struct world *w = *state;
    take_clock(w, START_NS);
    struct schema *s = table_kept_for(w, 2 * DAY_NS);
    int64_t today = START_NS / DAY_NS * DAY_NS;
    for (int day = 0; day < 5; day++) put_many(w, s, today - day * DAY_NS, 10);
    flush(w);
    assert_int_equal(rows_left(w), 50);
    flush(w); /* day -4 ended 3 days ago, day -3 ended 2 days ago */
    assert_int_equal(rows_left(w), 40);
    flush(w);
    assert_int_equal(rows_left(w), 30);
    flush(w);
    assert_int_equal(rows_left(w), 30);
    struct schema *longer = schema_copy(s);
    longer->retention_ns = 0;
    schema_release(define(w, longer));
    schema_release(s);
    reopen(w);
    assert_int_equal(rows_left(w), 30);
}

static void confirm(struct world *w)
{
    struct store_flush op = {.confirm_time = true};
    w->home.after_arg = w;
    completion_init(&op.completion, &w->home, on_done);
    store_flush(w->store, &op);
    wait_done(w);
    assert_int_equal(w->err, ERR_OK);
}

static void a_wrong_clock_loses_no_row(void **state)
{
    struct world *w = *state;
    static const int64_t wrong[] = {0, START_NS + 10 * 365 * DAY_NS};
    for (size_t i = 0; i < 2; i++) {
        take_clock(w, START_NS);
        struct schema *s = table_kept_for(w, 2 * DAY_NS);
        put_many(w, s, START_NS, 10);
        flush(w);
        store_close(w->store);
        set_clock(w, wrong[i]); /* at start */
        open_store(w);
        struct store_health_row row;
        assert_int_equal(store_health(w->store, &row, 1), 1);
        assert_string_equal(row.object, "clock");
        put_many(w, s, wrong[i], 10);
        for (int n = 0; n < 3; n++) flush(w);
        assert_int_equal(rows_left(w), 20);
        reopen(w);
        for (int n = 0; n < 3; n++) flush(w);
        assert_int_equal(rows_left(w), 20);
        set_clock(w, START_NS + DAY_NS / 2); /* right again */
        flush(w);
        flush(w);
        assert_true(atomic_load(&w->store->time_trusted));
        put_many(w, s, START_NS + 10, 10);
        for (int n = 0; n < 3; n++) flush(w);
        assert_int_equal(rows_left(w), 30); /* also what came while time was wrong stays */
        confirm(w);
        for (int n = 0; n < 3; n++) flush(w);
        assert_int_equal(rows_left(w), wrong[i] == 0 ? 20 : 30); /* 1970 is over now, 2037 is to come */
        schema_release(s);
    }
}

static void a_first_start_with_a_wrong_clock_loses_no_row(void **state)
{
    struct world *w = *state;
    static const int64_t wrong[] = {0, START_NS + 10 * 365 * DAY_NS};
    for (size_t i = 0; i < 2; i++) {
        take_clock(w, wrong[i]);
        struct schema *s = table_kept_for(w, 2 * DAY_NS);
        put_many(w, s, START_NS, 10);
        put_many(w, s, 0, 10);
        for (int n = 0; n < 3; n++) flush(w);
        assert_int_equal(rows_left(w), 20);
        schema_release(s);
    }
}

static void a_dropped_table_frees_its_parts(void **state)
{
    struct world *w = *state;
    struct schema *s = make_table(w);
    put_many(w, s, 0, 10);
    flush(w);
    assert_int_equal(count_files(w, "parts", ".part"), 1);
    struct store_define op = {.schema = schema_copy(s), .drop = true};
    w->home.after_arg = w;
    completion_init(&op.completion, &w->home, on_done);
    store_define(w->store, &op);
    wait_done(w);
    assert_int_equal(w->err, ERR_OK);
    flush(w);
    assert_int_equal(count_files(w, "parts", ".part"), 0);
    schema_release(s);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(rows_read_the_same_whatever_was_flushed_in_between),
        TEST(rows_read_the_same_over_many_days),
        TEST(every_type_and_state_survives_a_flush_and_a_restart),
        TEST(a_widened_column_reads_old_rows_in_its_new_type),
        TEST(a_full_head_is_written_and_nothing_is_refused),
        TEST(the_log_is_recycled_and_the_catalogue_survives_it),
        TEST(the_newest_row_is_found_without_reading_old_parts),
        TEST(each_flipped_byte_of_a_part_is_told_or_harmless),
        TEST(parts_of_a_damaged_manifest_are_taken_in_again),
        TEST(a_lost_end_of_a_segment_is_damage_when_the_next_one_knew_it_durable),
        TEST(a_failed_allocation_costs_at_most_the_operation),
        TEST(each_failed_disk_call_of_a_flush_loses_no_row),
        TEST(retention_removes_one_whole_day_at_a_time),
        TEST(a_wrong_clock_loses_no_row),
        TEST(a_first_start_with_a_wrong_clock_loses_no_row),
        TEST(a_dropped_table_frees_its_parts),
    };
    return cmocka_run_group_tests_name("store parts", tests, NULL, NULL);
}
