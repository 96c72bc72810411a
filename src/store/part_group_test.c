/* part_group_test.c - claims about groups: whatever series a part holds, in whatever sizes, each
 * comes out as it went in, and what is not there is not found. Values are a function of (series,
 * row, column), so nothing has to be remembered. */
#include "base/hash.h"
#include "store/codec.h"
#include "store/part_group.h"
#include "store/store_testlib.h"

enum { METERS = 3000, CELLS = 4, TWO_BLOCKS = 778, TABLES = 2 };
static const enum type types[CELLS] = {TYPE_BIGINT, TYPE_DOUBLE, TYPE_TEXT, TYPE_BOOL};
static unsigned salt;

static unsigned hash_of(uint32_t series, uint32_t row, uint32_t column)
{
    uint32_t key[] = {series, row, column, salt};
    return hash_crc32c(0, key, sizeof key) >> 3;
}

/* 0: the series is not there. */
static uint32_t rows_of(uint32_t series)
{
    unsigned h = hash_of(series, UINT32_MAX, 0);
    if (series == TWO_BLOCKS) return 103;
    if (h % 40 == 0) return 5000;
    if (h % 10 == 1) return PART_SMALL_ROWS - 1 + h / 10 % 3;
    return h % 10 == 2 ? 0 : 1 + h / 10 % 20;
}

static uint32_t block_of(uint32_t series, uint32_t from)
{
    uint32_t left = rows_of(series) - from;
    if (series == TWO_BLOCKS && from == 0) return 3;
    return left < PART_BLOCK_ROWS ? left : PART_BLOCK_ROWS;
}

static int64_t time_of(uint32_t series, uint32_t row)
{
    return (int64_t)row * 1000000000 + (int64_t)(hash_of(series, row, 99) % 500000000);
}

static bool has_column(uint32_t series, uint32_t column)
{
    return hash_of(series, UINT32_MAX, column + 1) % 3 != 0;
}

static struct value cell(uint32_t series, uint32_t row, uint32_t column, char text[32])
{
    unsigned h = hash_of(series, row, column);
    struct value v = {.type = types[column]};
    v.is_null = !has_column(series, column) || h % 7 == 0;
    if (v.is_null)
        v.quality = h % 2 || !has_column(series, column) ? QUALITY_NO_DATA : QUALITY_GOOD;
    if (v.is_null) return v;
    switch (column) {
    case 0: v.i = (int64_t)h - 1000; break;
    case 1: v.d = (h % 5000) / 100.0; break;
    case 2:
        snprintf(text, 32, "%u in %u", h % 90, series);
        v.s = str_of(h % 4 ? text : "");
        break;
    default: v.b = h % 2; break;
    }
    return v;
}

/* ---- writing ---- */

static void write_block(struct part_writer *w, struct arena *arena, uint32_t series, uint32_t from)
{
    uint32_t rows = block_of(series, from);
    struct vector time;
    assert_int_equal(vector_make(&time, arena, TYPE_TIMESTAMP, rows, false, false), ERR_OK);
    for (uint32_t row = 0; row < rows; row++) time.i[row] = time_of(series, from + row);
    time.count = rows;
    part_writer_block(w, &time);
    for (uint32_t c = 0; c < CELLS; c++) {
        struct vector v;
        bool any = false;
        assert_int_equal(vector_make(&v, arena, types[c], rows, true, true), ERR_OK);
        v.count = rows;
        for (uint32_t row = 0; row < rows; row++) {
            char *text = arena_alloc(arena, 32);
            struct value value = cell(series, from + row, c, text);
            vector_set(&v, row, &value);
            any |= !value.is_null || value.quality != QUALITY_NO_DATA;
        }
        if (any) part_writer_column(w, (uint16_t)(c + 1), &v);
    }
    part_writer_block_end(w);
}

static void path_of(uint32_t series, char out[64])
{
    snprintf(out, 64, "%s/meter %u", series % 500 < 250 ? "north" : "south/hall", series * 7);
}

static void write_part(struct world *w, struct codec *codec, struct part_info *info)
{
    struct part_writer *writer = calloc(1, sizeof *writer);
    struct arena arena;
    arena_init(&arena, NULL);
    *info = (struct part_info){.id = 1, .origin = 5, .version = 9};
    assert_int_equal(part_writer_open(writer, w->os, w->folder, info, codec, NULL), ERR_OK);
    for (uint32_t t = 0; t < TABLES; t++) {
        struct schema *s = schema_new("default", "t", t + 1);
        for (uint32_t c = 0; c < CELLS; c++) {
            char name[8];
            snprintf(name, sizeof name, "c%u", c);
            assert_int_equal(schema_add_column(s, 0, name, types[c], 0, "", "", NULL), ERR_OK);
        }
        for (uint32_t id = 1 + t; id <= METERS; id += TABLES) {
            char path[64];
            path_of(id, path);
            if (!rows_of(id)) continue;
            part_writer_series(writer, s, id, str_of(path));
            for (uint32_t from = 0; from < rows_of(id); from += block_of(id, from)) {
                write_block(writer, &arena, id, from);
                arena_reset(&arena);
            }
            part_writer_series_end(writer);
        }
        schema_release(s);
    }
    assert_int_equal(part_writer_finish(writer, info, NULL), ERR_OK);
    free(writer);
    arena_free(&arena);
}

/* ---- reading ---- */

static void same_cell(const struct vector *v, uint32_t row, const struct value *wanted)
{
    struct value have = vector_get(v, row);
    assert_int_equal(have.is_null, wanted->is_null);
    assert_int_equal(have.quality, wanted->quality);
    if (have.is_null) return;
    if (have.type == TYPE_TEXT)
        assert_true(str_equal(have.s, wanted->s));
    else if (have.type == TYPE_DOUBLE)
        assert_true(have.d == wanted->d);
    else
        assert_int_equal(have.type == TYPE_BOOL ? have.b : have.i,
                         have.type == TYPE_BOOL ? wanted->b : wanted->i);
}

static void check_run(struct part_file *file, struct codec *codec, const struct part_entry *entry,
                      uint32_t series)
{
    struct arena arena;
    struct part_run run;
    char path[64], text[32];
    uint32_t row = 0;
    uint64_t bytes = 0;
    arena_init(&arena, NULL);
    path_of(series, path);
    assert_int_equal(part_run_read(file, entry, &arena, &run, NULL), ERR_OK);
    assert_int_equal(run.series, series);
    assert_true(str_is(run.path, path));
    for (uint32_t b = 0; b < run.block_count; b++) {
        const struct part_block *block = &run.blocks[b];
        struct vector v;
        assert_int_equal(block->min_time_ns, time_of(series, row));
        assert_int_equal(block->max_time_ns, time_of(series, row + block->rows - 1));
        for (unsigned id = 0; id <= CELLS; id++) {
            const struct part_column *column = part_block_find(block, (uint16_t)id);
            if (column)
                assert_int_equal(
                    part_block_column(file, codec, block, column, &arena, &v, &bytes, NULL),
                    ERR_OK);
            for (uint32_t i = 0; i < block->rows; i++) {
                struct value wanted = {.is_null = true, .quality = QUALITY_NO_DATA};
                if (id) wanted = cell(series, row + i, id - 1u, text);
                if (!column)
                    assert_true(id && wanted.is_null && wanted.quality == QUALITY_NO_DATA);
                else if (id)
                    same_cell(&v, i, &wanted);
                else
                    assert_int_equal(v.i[i], time_of(series, row + i));
            }
        }
        row += block->rows;
    }
    assert_int_equal(row, rows_of(series));
    arena_free(&arena);
}

static uint32_t look_for(struct part_file *file, struct codec *codec, struct part_cursor *cursors,
                         uint32_t series)
{
    const struct part_entry *entry;
    struct part_cursor *cursor = &cursors[(series + 1) % TABLES];
    bool knows = part_cursor_knows(cursor, series);
    struct os_file *open = file->file;
    if (knows) file->file = NULL; /* a promise */
    assert_int_equal(part_cursor_find(file, codec, cursor, series, &entry, NULL), ERR_OK);
    file->file = open;
    assert_int_equal(entry != NULL, series <= METERS && rows_of(series) > 0);
    if (entry) check_run(file, codec, entry, series);
    return entry ? entry->rows : 0;
}

static void each_series_comes_out_of_its_group_as_it_went_in(void **state)
{
    struct world *w = *state;
    struct codec codec;
    struct part_info info;
    struct part_file file;
    struct part_cursor *cursors = calloc(TABLES, sizeof *cursors);
    char path[300];
    unsigned random = salt = seed_of_run();
    print_message("seed %u\n", salt);
    assert_int_equal(codec_open(&codec, true), ERR_OK);
    write_part(w, &codec, &info);
    part_path(path, sizeof path, w->folder, 1);
    assert_int_equal(part_file_open(w->os, path, NULL, &file, NULL), ERR_OK);
    for (uint32_t t = 0; t < TABLES; t++)
        assert_int_equal(part_cursor_open(&file, t + 1, &cursors[t], NULL), ERR_OK);
    uint64_t rows = 0;
    for (uint32_t id = 1; id <= METERS; id++) rows += look_for(&file, &codec, cursors, id);
    assert_int_equal(rows, info.rows);
    for (unsigned i = 0; i < 2000; i++)
        (void)look_for(&file, &codec, cursors, 1 + (unsigned)rand_r(&random) % (METERS + 20));
    for (uint32_t id = METERS; id; id -= 3) (void)look_for(&file, &codec, cursors, id);
    for (uint32_t t = 0; t < TABLES; t++) part_cursor_close(&cursors[t]);
    part_file_close(&file);
    mem_free(info.tables);
    codec_close(&codec);
    free(cursors);
}

/* Some 1,000 series of two rows: an entry of the directory alone would be 40 bytes each. */
static void small_series_cost_little_more_than_their_rows(void **state)
{
    struct world *w = *state;
    struct schema *s = make_table(w);
    for (unsigned n = 0; n < 2; n++) {
        struct batch *b = batch_new(s, NULL);
        for (unsigned d = 0; d < 1000; d++) {
            char name[16];
            uint32_t index;
            struct value v = {.type = TYPE_BIGINT, .i = d % 10};
            snprintf(name, sizeof name, "meter%04u", d);
            assert_int_equal(batch_add_device(b, str_of(name), NULL, 0, &index), ERR_OK);
            assert_int_equal(batch_begin_row(b, index, (int64_t)n * 60 * 1000000000), ERR_OK);
            assert_int_equal(batch_set(b, &s->columns[0], &v), ERR_OK);
        }
        put(w, b);
    }
    flush(w);
    struct store_view *view = store_view_get(w->store);
    assert_int_equal(view->parts->count, 1);
    assert_int_equal(view->parts->parts[0]->info.rows, 2000);
    assert_true(view->parts->parts[0]->info.size_bytes < 16 * 1024);
    store_view_release(view);
    schema_release(s);
}

/* Texts that a neighbour would have to hold get a run of their own. */
static void a_series_with_much_text_is_in_no_group(void **state)
{
    (void)state;
    struct part_pending *p = part_pending_new();
    static char much[PART_SMALL_TEXT_BYTES + 1];
    for (unsigned i = 0; i < 3; i++) {
        struct arena arena;
        struct vector time, text;
        struct part_pending_slice *slices;
        size_t count;
        arena_init(&arena, NULL);
        assert_int_equal(vector_make(&time, &arena, TYPE_TIMESTAMP, 1, false, false), ERR_OK);
        assert_int_equal(vector_make(&text, &arena, TYPE_TEXT, 1, false, false), ERR_OK);
        time.count = text.count = 1;
        time.i[0] = i;
        text.s[0] = (struct str){much, i == 1 ? sizeof much : 9};
        assert_int_equal(part_pending_begin(p, i + 1, STR("d"), &time, 1), ERR_OK);
        assert_int_equal(part_pending_column(p, 1, &text, false), ERR_OK);
        assert_int_equal(part_pending_is_large(p), i == 1);
        if (i == 1) {
            assert_int_equal(part_pending_take_back(p, &slices, &count), ERR_OK);
            assert_int_equal(count, 2);
            assert_int_equal(slices[1].v.s[0].size, sizeof much);
        }
        arena_free(&arena);
    }
    assert_int_equal(part_pending_view(p).series_count, 2);
    part_pending_free(p);
}

/* Their texts stay in memory until the group is written. */
static void a_group_is_written_when_many_with_much_text_have_left_it(void **state)
{
    (void)state;
    struct part_pending *p = part_pending_new();
    static char much[PART_SMALL_TEXT_BYTES + 1];
    uint32_t left = 0;
    for (; left < 1000 && part_pending_takes(p, 1, 1); left++) {
        int64_t at = 1;
        struct str one = {much, left ? sizeof much : 1};
        struct vector time = {.type = TYPE_TIMESTAMP, .count = 1, .i = &at},
                      text = {.type = TYPE_TEXT, .count = 1, .s = &one};
        struct part_pending_slice *slices;
        size_t count;
        assert_int_equal(part_pending_begin(p, left + 1, STR("d"), &time, 1), ERR_OK);
        assert_int_equal(part_pending_column(p, 1, &text, false), ERR_OK);
        if (left) assert_int_equal(part_pending_take_back(p, &slices, &count), ERR_OK);
    }
    assert_true(left > 100 && left < 200);
    assert_int_equal(part_pending_view(p).series_count, 1);
    part_pending_free(p);
}

static void add_member(struct part_pending *p, uint32_t series, const uint16_t *ids, size_t count)
{
    struct arena arena;
    struct vector time, cells;
    arena_init(&arena, NULL);
    assert_int_equal(vector_make(&time, &arena, TYPE_TIMESTAMP, 1, false, false), ERR_OK);
    assert_int_equal(vector_make(&cells, &arena, TYPE_BIGINT, 1, false, false), ERR_OK);
    time.count = cells.count = 1;
    time.i[0] = 1;
    assert_int_equal(part_pending_begin(p, series, STR("d"), &time, count), ERR_OK);
    for (size_t i = 0; i < count; i++) {
        cells.i[0] = ids[i];
        assert_int_equal(part_pending_column(p, ids[i], &cells, false), ERR_OK);
    }
    arena_free(&arena);
}

/* A reader takes columns that do not ascend for damage, and the rows were lost. */
static void what_leaves_a_group_has_its_columns_in_order(void **state)
{
    (void)state;
    struct part_pending *p = part_pending_new();
    struct part_pending_slice *slices;
    size_t count;
    add_member(p, 1, (const uint16_t[]){2, 5}, 2);
    add_member(p, 2, (const uint16_t[]){1, 4}, 2);
    add_member(p, 3, (const uint16_t[]){1, 2, 3, 5}, 4);
    assert_int_equal(part_pending_take_back(p, &slices, &count), ERR_OK);
    assert_int_equal(count, 5);
    for (size_t i = 1; i < count; i++) {
        assert_int_equal(slices[i].id, ((const uint16_t[]){0, 1, 2, 3, 5})[i]);
        assert_int_equal(slices[i].v.i[0], slices[i].id);
    }
    add_member(p, 4, (const uint16_t[]){3, 4}, 2);
    struct part_pending_view view = part_pending_view(p);
    assert_int_equal(view.series_count, 3);
    for (size_t i = 1; i < view.column_count; i++) {
        uint16_t id;
        struct codec_habit *habit;
        const struct vector *v = part_pending_at(p, i - 1, &id, &habit);
        assert_true(v && id == i - 1);
    }
    part_pending_free(p);
}

/* ---- what leaves, and what comes behind it ---- */

static void add_texts(struct world *w, struct schema *s, const char *device, size_t size)
{
    struct batch *b = batch_new(s, NULL);
    char *much = calloc(1, size);
    uint32_t index;
    struct value v = {.type = TYPE_TEXT, .s = {much, size}};
    memset(much, 'x', size);
    assert_int_equal(batch_add_device(b, str_of(device), NULL, 0, &index), ERR_OK);
    assert_int_equal(batch_begin_row(b, index, 5), ERR_OK);
    assert_int_equal(batch_set(b, &s->columns[0], &v), ERR_OK);
    put(w, b);
    free(much);
}

/* Its columns stayed behind, and were taken for those of the next table: the program ended. */
static void a_table_of_one_series_with_much_text_is_nothing_to_the_next_table(void **state)
{
    struct world *w = *state;
    struct schema *texts = schema_new("default", "a", 0);
    assert_int_equal(schema_add_column(texts, 0, "text", TYPE_TEXT, 0, "", "", NULL), ERR_OK);
    texts = define(w, texts);
    struct schema *s = make_table(w);
    add_texts(w, texts, "d", PART_SMALL_TEXT_BYTES + 1);
    put_many(w, s, 7, 3);
    flush(w);
    struct reading r = all(2);
    char *text = dump(w, &r);
    assert_string_equal(text, "d 7 0 0\nd 8 7919 0.1\nd 9 15838 0.2\n");
    assert_int_equal(r.parts, 1);
    free(text);
    schema_release(texts);
    schema_release(s);
}

/* Memory may be short at any allocation; what comes behind it does no harm. */
static enum err try_two_blocks(struct world *w, struct codec *codec, struct part_writer *writer,
                               const struct schema *s, uint64_t nth)
{
    struct arena arena;
    struct vector time;
    struct part_info info = {.id = 1, .origin = 5, .version = 9};
    arena_init(&arena, NULL);
    assert_int_equal(vector_make(&time, &arena, TYPE_TIMESTAMP, 100, false, false), ERR_OK);
    for (uint32_t row = 0; row < 100; row++) time.i[row] = row;
    assert_int_equal(part_writer_open(writer, w->os, w->folder, &info, codec, NULL), ERR_OK);
    mem_test_fail(nth);
    part_writer_series(writer, s, 1, STR("d"));
    for (uint32_t first = 0, rows = 3; first < 100; first += rows, rows = 97) {
        struct vector block = {.type = TYPE_TIMESTAMP, .count = first ? 97 : 3};
        block.i = time.i + first;
        part_writer_block(writer, &block);
        part_writer_block_end(writer);
    }
    part_writer_series_end(writer);
    enum err err = part_writer_finish(writer, &info, NULL);
    mem_test_fail(0);
    if (!err) mem_free(info.tables);
    arena_free(&arena);
    return err;
}

static void no_memory_for_a_group_is_an_error_also_when_its_series_leaves_it(void **state)
{
    struct world *w = *state;
    struct codec codec;
    struct part_writer *writer = calloc(1, sizeof *writer);
    struct schema *s = schema_new("default", "t", 1);
    uint64_t nth = 1;
    assert_int_equal(codec_open(&codec, true), ERR_OK);
    while (try_two_blocks(w, &codec, writer, s, nth) == ERR_NO_MEMORY) nth++;
    assert_int_equal(try_two_blocks(w, &codec, writer, s, 0), ERR_OK);
    assert_true(nth > 5);
    schema_release(s);
    codec_close(&codec);
    free(writer);
}

int main(void)
{
#define T(claim) cmocka_unit_test_setup_teardown(claim, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(each_series_comes_out_of_its_group_as_it_went_in),
        T(small_series_cost_little_more_than_their_rows),
        cmocka_unit_test(a_series_with_much_text_is_in_no_group),
        cmocka_unit_test(a_group_is_written_when_many_with_much_text_have_left_it),
        cmocka_unit_test(what_leaves_a_group_has_its_columns_in_order),
        T(a_table_of_one_series_with_much_text_is_nothing_to_the_next_table),
        T(no_memory_for_a_group_is_an_error_also_when_its_series_leaves_it),
    };
    return cmocka_run_group_tests_name("groups of small series", tests, NULL, NULL);
}
