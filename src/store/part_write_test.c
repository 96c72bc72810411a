/* part_write_test.c - claims about the limits of a part: what its writer takes, its reader takes;
 * what the reader would refuse, the writer refuses, while the rows are still elsewhere. */
#include "store/codec.h"
#include "store/doctor_priv.h"
#include "store/part_column.h"
#include "store/part_read.h"
#include "store/store_testlib.h"

enum { ROWS = 4, TEXT_BYTES = 13 * 1024 * 1024, CRC_BYTES = 4 };

static struct schema *make_schema(void)
{
    struct schema *s = schema_new("default", "t", 1);
    assert_non_null(s);
    return s;
}

/* One series of `blocks` blocks of one row each. `*size`: of its run, without the checksum. */
static enum err write_run(struct world *w, struct codec *codec, struct part_info *info,
                          const char *path, size_t blocks, size_t *size)
{
    struct part_writer *writer = calloc(1, sizeof *writer);
    struct schema *s = make_schema();
    int64_t at = 0;
    struct vector time = {.type = TYPE_TIMESTAMP, .count = 1, .i = &at};
    *info = (struct part_info){.id = 1, .origin = 5, .version = 9};
    assert_int_equal(part_writer_open(writer, w->os, w->folder, info, codec, NULL), ERR_OK);
    writer->stays_apart = true;
    part_writer_series(writer, s, 1, str_of(path));
    for (size_t i = 0; i < blocks; i++) {
        at = ((int64_t)1 << 40) + (int64_t)i; /* as many bytes each, whatever its time */
        part_writer_block(writer, &time);
        part_writer_block_end(writer);
    }
    *size = writer->run.size;
    part_writer_series_end(writer);
    enum err err = part_writer_finish(writer, info, NULL);
    free(writer);
    schema_release(s);
    return err;
}

static enum err read_run(struct world *w)
{
    char path[300];
    struct part_file file;
    struct part_cursor *cursor = calloc(1, sizeof *cursor);
    const struct part_entry *entry = NULL;
    struct part_run run;
    struct arena arena;
    struct codec codec;
    arena_init(&arena, NULL);
    part_path(path, sizeof path, w->folder, 1);
    assert_int_equal(codec_open(&codec, false), ERR_OK);
    assert_int_equal(part_file_open(w->os, path, NULL, &file, NULL), ERR_OK);
    assert_int_equal(part_cursor_open(&file, 1, cursor, NULL), ERR_OK);
    assert_int_equal(part_cursor_find(&file, &codec, cursor, 1, &entry, NULL), ERR_OK);
    assert_non_null(entry);
    enum err err = part_run_read(&file, entry, &arena, &run, NULL);
    part_cursor_close(cursor);
    part_file_close(&file);
    codec_close(&codec);
    arena_free(&arena);
    free(cursor);
    return err;
}

static void the_longest_run_that_is_written_is_read(void **state)
{
    struct world *w = *state;
    char path[PART_PATH_BYTES_MAX + 1];
    struct codec codec;
    struct part_info info;
    size_t few, many, size;
    assert_int_equal(codec_open(&codec, true), ERR_OK);
    memset(path, 'p', sizeof path);
    path[200] = 0;
    for (size_t i = 10; i <= 20; i += 10) {
        assert_int_equal(write_run(w, &codec, &info, path, i, i == 10 ? &few : &many), ERR_OK);
        mem_free(info.tables);
    }
    size_t block = (many - few) / 10, head = few - 10 * block;
    for (size_t beyond = 0; beyond <= 1; beyond++) {
        size_t wanted = PART_RUN_BYTES_MAX - CRC_BYTES + beyond;
        size_t blocks = (wanted - head) / block, rest = (wanted - head) % block;
        memset(path, 'p', sizeof path);
        path[200 + rest] = 0;
        enum err err = write_run(w, &codec, &info, path, blocks, &size);
        assert_int_equal(size, wanted);
        assert_int_equal(err, beyond ? ERR_LIMIT : ERR_OK);
        if (err) continue;
        mem_free(info.tables);
        assert_int_equal(read_run(w), ERR_OK);
    }
    codec_close(&codec);
}

/* However few bytes they become, whoever reads them needs room for all. */
static void texts_that_a_reader_has_no_room_for_are_not_written(void **state)
{
    (void)state;
    struct codec codec;
    struct buf out = BUF_EMPTY, stats = BUF_EMPTY;
    struct part_column column;
    struct arena arena;
    struct vector v, again;
    char *text = calloc(1, TEXT_BYTES);
    arena_init(&arena, NULL);
    assert_int_equal(codec_open(&codec, true), ERR_OK);
    assert_int_equal(vector_make(&v, &arena, TYPE_TEXT, ROWS, false, false), ERR_OK);
    for (v.count = 0; v.count < ROWS; v.count++) {
        text[0] = (char)('a' + v.count);
        v.s[v.count] = (struct str){arena_dup(&arena, text, TEXT_BYTES), TEXT_BYTES};
    }
    assert_int_equal(part_column_encode(&codec, &v, &out, &stats, &column), ERR_LIMIT);
    buf_clear(&out);
    v.count = ROWS - 1;
    assert_int_equal(part_column_encode(&codec, &v, &out, &stats, &column), ERR_OK);
    assert_int_equal(part_column_decode(&codec, &column, (const uint8_t *)out.at, ROWS - 1, &arena,
                                        &again, NULL),
                     ERR_OK);
    assert_int_equal(again.s[2].size, TEXT_BYTES);
    buf_free(&out);
    buf_free(&stats);
    codec_close(&codec);
    arena_free(&arena);
    free(text);
}

/* ---- parts that no writer of a table makes ---- */

enum { LONG_SERIES = 10, LONG_TEXT = 7 * 1024 };

static void write_small(struct part_writer *writer, const struct schema *s, uint32_t series,
                        const struct vector *columns, size_t count)
{
    int64_t at = 1000;
    struct vector time = {.type = TYPE_TIMESTAMP, .count = 1, .i = &at};
    char path[16];
    snprintf(path, sizeof path, "d%u", series);
    part_writer_series(writer, s, series, str_of(path));
    part_writer_block(writer, &time);
    for (size_t i = 0; i < count; i++) part_writer_column(writer, (uint16_t)(i + 1), &columns[i]);
    part_writer_block_end(writer);
    part_writer_series_end(writer);
}

/* A column of numbers in one group, of texts in the next one: only the long texts of the first keep
 * them apart, and of these a byte is wrong. */
static void craft(struct world *w, struct codec *codec, const char *file)
{
    struct part_writer *writer = calloc(1, sizeof *writer);
    struct schema *s = make_schema();
    struct part_info info = {.id = 1, .origin = 5, .version = 9};
    int64_t number = 7;
    char *text = calloc(1, LONG_TEXT);
    unsigned seed = 1;
    struct str slice = {text, LONG_TEXT}, word = STR("word");
    struct vector first[] = {{.type = TYPE_BIGINT, .count = 1, .i = &number},
                             {.type = TYPE_TEXT, .count = 1, .s = &slice}},
                  second = {.type = TYPE_TEXT, .count = 1, .s = &word};
    assert_int_equal(schema_add_column(s, 0, "a", TYPE_BIGINT, 0, "", "", NULL), ERR_OK);
    assert_int_equal(schema_add_column(s, 0, "b", TYPE_TEXT, 0, "", "", NULL), ERR_OK);
    assert_int_equal(part_writer_open(writer, w->os, w->folder, &info, codec, NULL), ERR_OK);
    for (uint32_t series = 1; series <= LONG_SERIES; series++) {
        for (size_t i = 0; i < LONG_TEXT; i++) text[i] = (char)('!' + rand_r(&seed) % 90);
        write_small(writer, s, series, first, 2);
    }
    write_small(writer, s, LONG_SERIES + 1, &second, 1);
    assert_int_equal(part_writer_finish(writer, &info, NULL), ERR_OK);
    FILE *f = fopen(file, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, (long)info.size_bytes / 2, SEEK_SET), 0);
    assert_int_equal(fputc(0, f), 0);
    assert_int_equal(fclose(f), 0);
    mem_free(info.tables);
    free(text);
    free(writer);
    schema_release(s);
}

static void a_part_whose_groups_contradict_each_other_is_repaired(void **state)
{
    struct world *w = *state;
    char path[300];
    struct codec codec;
    struct part_file file;
    struct part_info fresh = {.id = 2, .origin = 5, .version = 9};
    struct why why = WHY_NONE;
    part_path(path, sizeof path, w->folder, 1);
    assert_int_equal(codec_open(&codec, true), ERR_OK);
    craft(w, &codec, path);
    assert_int_equal(part_file_open(w->os, path, NULL, &file, NULL), ERR_OK);
    assert_int_equal(doctor_salvage_part(&file, &w->store->catalog, w->folder, &fresh, &why),
                     ERR_OK);
    assert_int_equal(fresh.rows, LONG_SERIES + 1);
    mem_free(fresh.tables);
    part_file_close(&file);
    codec_close(&codec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(the_longest_run_that_is_written_is_read),
        cmocka_unit_test(texts_that_a_reader_has_no_room_for_are_not_written),
        STORE_TEST(a_part_whose_groups_contradict_each_other_is_repaired),
    };
    return cmocka_run_group_tests_name("limits of parts", tests, NULL, NULL);
}
