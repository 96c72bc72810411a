/* part_write_test.c - claims about the limits of a part: what its writer takes, its reader takes;
 * what the reader would refuse, the writer refuses, while the rows are still elsewhere. */
#include "store/codec.h"
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(the_longest_run_that_is_written_is_read),
        cmocka_unit_test(texts_that_a_reader_has_no_room_for_are_not_written),
    };
    return cmocka_run_group_tests_name("limits of parts", tests, NULL, NULL);
}
