/* store_test.c - claims about the store over the real world: rows written are read, also after a
 * restart. */
#include "store/store_priv.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct world {
    struct context context;
    struct loop home;
    struct store *store;
    char folder[64];
    _Atomic int done;
    enum err err;
};

static void open_store(struct world *w)
{
    struct why why = WHY_NONE;
    struct store_config config = {w->folder, 16 << 20};
    enum err err = store_open(&w->context, &config, &w->store, &why);
    if (err) print_error("%s\n", why_text(&why, err));
    assert_int_equal(err, ERR_OK);
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    w->context.os = os_real_new();
    w->context.diag_level = DIAG_WARNING;
    w->context.diag = diag_to_stderr;
    budget_init(&w->context.memory, "node", NULL, 64 << 20);
    strcpy(w->folder, "/tmp/millrace-store-XXXXXX");
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
    os_real_free(w->context.os);
    snprintf(command, sizeof command, "rm -rf %s", w->folder);
    assert_int_equal(system(command), 0);
    free(w);
    return 0;
}

static void on_append(struct completion *c)
{
    struct world *w = ((struct store_append *)c)->completion.home->after_arg;
    w->err = c->err;
    atomic_store(&w->done, 1);
}

static void wait_done(struct world *w)
{
    while (!atomic_load(&w->done)) usleep(100);
    atomic_store(&w->done, 0);
}

static struct schema *define(struct world *w, const char *name)
{
    struct schema *s = schema_new("default", name, 0);
    assert_int_equal(schema_add_column(s, 0, "temperature", TYPE_DOUBLE, 0, "°C", "", NULL),
                     ERR_OK);
    assert_int_equal(schema_add_column(s, 0, "note", TYPE_TEXT, 0, "", "", NULL), ERR_OK);
    struct store_define op = {.schema = s};
    w->home.after_arg = w;
    completion_init(&op.completion, &w->home, on_append);
    store_define(w->store, &op);
    wait_done(w);
    assert_int_equal(w->err, ERR_OK);
    return op.result;
}

/* One row; NULL note = absent. */
static void put(struct world *w, struct schema *s, const char *device, int64_t time, double t,
                const char *note)
{
    struct batch *b = batch_new(s, NULL);
    uint32_t index;
    struct label site = {STR("site"), STR("sz")};
    assert_int_equal(batch_add_device(b, str_of(device), &site, 1, &index), ERR_OK);
    assert_int_equal(batch_begin_row(b, index, time), ERR_OK);
    struct value v = {.type = TYPE_DOUBLE, .d = t};
    if (t >= 0) assert_int_equal(batch_set(b, &s->columns[0], &v), ERR_OK);
    v = (struct value){.type = TYPE_TEXT, .s = str_of(note)};
    if (note) assert_int_equal(batch_set(b, &s->columns[1], &v), ERR_OK);
    assert_int_equal(batch_seal(b), ERR_OK);
    struct store_append op = {.batch = b, .ack = STORE_ACK_DURABLE};
    w->home.after_arg = w;
    completion_init(&op.completion, &w->home, on_append);
    store_append(w->store, &op);
    wait_done(w);
    assert_int_equal(w->err, ERR_OK);
    assert_true(store_positions(w->store).durable >= op.seq);
}

/* All rows of a table as "device time temperature note;". */
static void dump(struct world *w, bool newest_first, char *out, size_t size)
{
    struct arena arena;
    arena_init(&arena, NULL);
    struct sql_table table;
    void *snapshot;
    const uint16_t ids[] = {1, 2};
    const char *labels[] = {"site"};
    struct sql_scan_request request = {.time_from_ns = INT64_MIN,
                                       .time_to_ns = INT64_MAX,
                                       .column_count = 2,
                                       .columns = ids,
                                       .label_count = 1,
                                       .labels = labels,
                                       .want_time = true,
                                       .want_device = true,
                                       .newest_first = newest_first};
    assert_int_equal(store_sql_source.snapshot_open(w->store, &snapshot), ERR_OK);
    assert_int_equal(store_sql_source.find_table(w->store, STR("default"), STR(""), STR("press"),
                                                 &arena, &table, NULL),
                     ERR_OK);
    assert_non_null(table.schema);
    struct sql_scan *scan;
    assert_int_equal(
        store_sql_source.scan_open(w->store, snapshot, &table, &request, NULL, &scan, NULL),
        ERR_OK);
    struct sql_chunk chunk;
    out[0] = 0;
    for (;;) {
        assert_int_equal(store_sql_source.scan_next(scan, &chunk, NULL), ERR_OK);
        if (!chunk.row_count) break;
        for (uint32_t i = 0; i < chunk.row_count; i++) {
            struct buf line = BUF_EMPTY;
            struct value t = vector_get(&chunk.columns[0], i), n = vector_get(&chunk.columns[1], i),
                         d = vector_get(&chunk.device, i), l = vector_get(&chunk.labels[0], i);
            value_add_text(&line, &d);
            buf_printf(&line, " %d ", (int)chunk.time.i[i]);
            value_add_text(&line, &t);
            buf_add_char(&line, ' ');
            value_add_text(&line, &n);
            buf_add_char(&line, ' ');
            value_add_text(&line, &l);
            buf_add_char(&line, ';');
            strncat(out, buf_cstr(&line), size - strlen(out) - 1);
            buf_free(&line);
        }
    }
    store_sql_source.scan_close(scan, NULL);
    store_sql_source.close_table(w->store, &table);
    store_sql_source.snapshot_close(w->store, snapshot);
    arena_free(&arena);
}

static void rows_written_are_read_in_time_order_and_upserts_merge_by_column(void **state)
{
    struct world *w = *state;
    char out[1024];
    struct schema *s = define(w, "press");
    put(w, s, "p1", 20, 2, "two");
    put(w, s, "p2", 15, 7, NULL);
    put(w, s, "p1", 30, 3, NULL);
    put(w, s, "p1", 10, 1, NULL);
    put(w, s, "p1", 20, 2.5, NULL);
    dump(w, false, out, sizeof out);
    assert_string_equal(out, "p1 10 1  sz;p1 20 2.5 two sz;p1 30 3  sz;p2 15 7  sz;");
    dump(w, true, out, sizeof out);
    assert_string_equal(out, "p1 30 3  sz;p1 20 2.5 two sz;p1 10 1  sz;p2 15 7  sz;");
    schema_release(s);
}

static void a_restart_finds_what_was_acknowledged(void **state)
{
    struct world *w = *state;
    char before[4096], after[4096];
    struct schema *s = define(w, "press");
    for (int i = 0; i < 100; i++) put(w, s, i % 2 ? "p1" : "p2", i * 7 % 50, i, i % 3 ? NULL : "x");
    dump(w, false, before, sizeof before);
    uint64_t seq = store_positions(w->store).appended;
    store_close(w->store);
    open_store(w);
    dump(w, false, after, sizeof after);
    assert_string_equal(before, after);
    put(w, s, "p1", 1000, 1, NULL);
    assert_true(store_positions(w->store).appended > seq);
    schema_release(s);
}

static void a_second_opener_is_refused_by_name(void **state)
{
    struct world *w = *state;
    struct store_config config = {w->folder, 1 << 20};
    struct store *second;
    struct why why = WHY_NONE;
    assert_int_equal(store_open(&w->context, &config, &second, &why), ERR_BUSY);
    assert_non_null(strstr(why.text, w->folder));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            rows_written_are_read_in_time_order_and_upserts_merge_by_column, setup, teardown),
        cmocka_unit_test_setup_teardown(a_restart_finds_what_was_acknowledged, setup, teardown),
        cmocka_unit_test_setup_teardown(a_second_opener_is_refused_by_name, setup, teardown),
    };
    return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
