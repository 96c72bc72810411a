/* part_fuzz.c - property: whatever bytes a part file holds, opening and reading it ends with rows
 * that keep what the rest relies on, or with an error; memory stays within a budget; and a column
 * that was read is the same when it is written and read again, whole and as sums of its parts.
 *
 * The file lives in memory: an os whose file operations read the input. Checksums are mended from
 * the tail inwards while the offsets make sense, so that mutations reach the parsers behind them.
 */
/* covers: src/store/part_read.c src/store/part_directory.c src/store/part_group.c
 * src/store/part_column.c src/store/part_column_v1.c src/store/codec.c src/store/codec_ints_read.c
 * src/store/codec_mini.c src/store/codec_values.c src/store/pack.c src/store/part_range.c */
#include "base/hash.h"
#include "base/mem.h"
#include "store/part_column.h"
#include "store/part_read.h"
#include "store/record.h"
#include <math.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);

struct os_file {
    uint8_t *bytes;
    size_t size;
};

static enum err memory_read(struct os_file *file, uint64_t offset, void *bytes, size_t size,
                            size_t *got, struct why *why)
{
    (void)why;
    *got = offset >= file->size         ? 0
           : file->size - offset < size ? file->size - (size_t)offset
                                        : size;
    if (*got) memcpy(bytes, file->bytes + offset, *got);
    return ERR_OK;
}

static enum err memory_size(struct os_file *file, uint64_t *size, struct why *why)
{
    (void)why;
    *size = file->size;
    return ERR_OK;
}

static void memory_close(struct os_file *file)
{
    (void)file;
}

static const struct os_ops ops = {.name = "memory",
                                  .file_read = memory_read,
                                  .file_size = memory_size,
                                  .file_close = memory_close};
static struct os os = {&ops};

/* ---- mending ---- */

static uint64_t le(const uint8_t *at, size_t size)
{
    struct reader in = reader_of(at, size);
    return reader_le(&in, size);
}

static void sum(struct os_file *f, uint64_t from, uint64_t size)
{
    if (from > f->size || size > f->size - from || f->size - from - size < 4) return;
    record_put_le32(f->bytes + from + size, hash_crc32c(0, f->bytes + from, (size_t)size));
}

static void mend(struct os_file *f)
{
    uint8_t *tail = f->bytes + f->size - PART_TAIL_BYTES;
    record_put_le32(f->bytes + 12, 0);
    record_put_le32(f->bytes + 12, hash_crc32c(0, f->bytes, PART_HEADER_BYTES));
    uint64_t directory = le(tail, 8), tables = le(tail + 8, 8);
    uint64_t entries = le(tail + 24, 4), table_count = le(tail + 28, 4);
    for (uint64_t e = 0, at = directory; e < entries && e < 4096; e += PART_PAGE_ENTRIES) {
        uint64_t count = entries - e < PART_PAGE_ENTRIES ? entries - e : PART_PAGE_ENTRIES;
        for (uint64_t i = 0; i < count; i++) {
            uint64_t entry = at + i * PART_ENTRY_BYTES;
            if (entry > f->size || f->size - entry < PART_ENTRY_BYTES) return;
            uint64_t run = le(f->bytes + entry + 8, 8), run_size = le(f->bytes + entry + 16, 4);
            if (run_size >= 4) sum(f, run, run_size - 4);
        }
        sum(f, at, count * PART_ENTRY_BYTES);
        at += count * PART_ENTRY_BYTES + 4;
    }
    bool old = le(f->bytes + 8, 4) < 3;
    sum(f, tables, table_count * (old ? PART_TABLE_BYTES_V2 : PART_TABLE_BYTES));
    record_put_le32(tail + PART_TAIL_BYTES - 12, hash_crc32c(0, tail, PART_TAIL_BYTES - 12));
}

/* ---- reading ---- */

static void check_column(const struct vector *v)
{
    for (uint32_t row = 0; row < v->count; row++) {
        struct value value = vector_get(v, row);
        MUST(!quality_is_bad(value.quality) || value.is_null);
        if (!value.is_null && v->type == TYPE_DOUBLE) MUST(isfinite(value.d));
        if (!value.is_null && v->type == TYPE_BOOL) MUST(v->b[row] <= 1);
        if (!value.is_null && !type_bytes(v->type)) (void)hash_crc32c(0, value.s.at, value.s.size);
    }
}

static bool same_cell(const struct value *a, const struct value *b)
{
    if (a->is_null != b->is_null || a->quality != b->quality) return false;
    if (a->is_null) return true;
    if (!type_bytes(a->type)) return str_equal(a->s, b->s);
    return a->type == TYPE_BOOL ? a->b == b->b : a->u == b->u;
}

/* Sums of parts of a column: what they are matters to `wanted` only. */
static void read_ranges(struct codec *codec, const struct part_column *column, const uint8_t *bytes,
                        uint32_t rows, const struct vector *wanted)
{
    enum { COUNT = 5 };
    uint32_t ends[COUNT + 1];
    struct sql_summary out[COUNT], right[COUNT];
    for (unsigned mode = 0; mode < 4; mode++) {
        struct part_ranges ranges = {COUNT, ends, mode & 1, mode & 2};
        bool done;
        for (uint32_t i = 0; i <= COUNT; i++) ends[i] = rows * (i + mode % 2) / (COUNT + 1);
        enum err err = part_column_ranges(codec, column, bytes, rows, &ranges, out, 1, &done, NULL);
        MUST(!err || !wanted);
        for (uint32_t i = 0; !err && done && i < COUNT; i++)
            if (column->type == TYPE_DOUBLE) MUST(isfinite(out[i].sum_double));
        if (!wanted || !done) continue;
        part_vector_ranges(wanted, &ranges, right, 1);
        for (uint32_t i = 0; i < COUNT; i++)
            MUST(out[i].count == right[i].count && out[i].sum_int == right[i].sum_int);
    }
}

static void check_round_trip(const struct vector *v, struct codec *codec, struct arena *arena)
{
    struct buf out = BUF_EMPTY, stats = BUF_EMPTY;
    struct part_column column = {0};
    struct sql_summary summary;
    struct vector again;
    if (part_column_encode(codec, v, &out, &stats, &column) == ERR_OK) {
        uint8_t *bytes = arena_dup(arena, out.at, out.size);
        enum err err =
            bytes ? part_column_decode(codec, &column, bytes, v->count, arena, &again, NULL)
                  : ERR_BUDGET;
        MUST(err == ERR_OK || err == ERR_BUDGET);
        for (uint32_t row = 0; !err && row < v->count; row++) {
            struct value a = vector_get(v, row), b = vector_get(&again, row);
            MUST(same_cell(&a, &b));
        }
        column.stats = buf_str(&stats);
        MUST(part_column_summary(&column, v->count, &summary) || v->type == TYPE_DOUBLE);
        if (!err) read_ranges(codec, &column, bytes, v->count, v);
    }
    buf_free(&out);
    buf_free(&stats);
}

static void read_run(struct part_file *file, const struct part_entry *entry, struct codec *codec,
                     struct arena *arena)
{
    struct part_run run;
    uint64_t bytes = 0;
    if (part_run_read(file, entry, arena, &run, NULL)) return;
    for (uint32_t b = 0; b < run.block_count && b < 64; b++) {
        for (uint16_t c = 0; c < run.blocks[b].column_count; c++) {
            struct part_column *column = &run.blocks[b].columns[c];
            uint64_t offset = run.blocks[b].offset + column->offset;
            /* The checksum of a column is mended too. */
            if (offset < file->size && column->size <= file->size - offset)
                column->crc = hash_crc32c(0, file->file->bytes + offset, column->size);
            struct vector v;
            int64_t step_ns;
            bool is_line;
            if (c == 0) (void)part_block_line(file, &run.blocks[b], &is_line, &step_ns, NULL);
            if (!entry->group && offset < file->size && column->size <= file->size - offset)
                read_ranges(codec, column, file->file->bytes + offset, run.blocks[b].rows, NULL);
            if (part_block_column(file, codec, &run.blocks[b], column, arena, &v, &bytes, NULL))
                continue;
            check_column(&v);
            struct sql_summary summary;
            (void)part_column_summary(column, run.blocks[b].rows, &summary);
            if (b == 0) check_round_trip(&v, codec, arena);
        }
        (void)part_block_find(&run.blocks[b], 2);
    }
}

/* Every entry, as the doctor does. */
static void walk(struct part_file *file, struct codec *codec, struct arena *arena)
{
    struct part_cursor cursor = {0};
    for (uint32_t i = 0; i < file->entry_count && i < 64; i++) {
        const struct part_entry *entry;
        uint32_t count;
        if (part_file_entry(file, &cursor, i, &entry, NULL)) break;
        struct part_entry one = *entry;
        if (!one.is_group) {
            read_run(file, &one, codec, arena);
        } else if (!part_cursor_load(file, codec, &cursor, &one, &count, NULL)) {
            for (uint32_t m = 0; m < count && m < 8; m++)
                read_run(file, part_cursor_member(&cursor, m), codec, arena);
        }
        arena_reset(arena);
    }
    part_cursor_close(&cursor);
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size)
{
    struct os_file memory = {mem_dup(bytes, size), size};
    struct part_file file = {.os = &os, .file = &memory};
    struct budget budget;
    struct arena arena;
    struct part_cursor cursor = {0};
    uint32_t *ids = NULL;
    budget_init(&budget, "fuzz", NULL, 64 << 20);
    arena_init(&arena, &budget);
    struct codec codec;
    MUST(codec_open(&codec, true) == ERR_OK);
    if (size >= PART_HEADER_BYTES + PART_TAIL_BYTES && bytes[PART_HEADER_BYTES - 1] != 1)
        mend(&memory);
    enum err err = part_file_check(&file, "fuzz", NULL);
    if (!err) err = part_file_tables(&file, &ids, NULL);
    for (uint32_t t = 0; !err && t < file.table_count && t < 16; t++) {
        if (part_cursor_open(&file, ids[t], &cursor, NULL) || !cursor.found) continue;
        /* Also backwards: the cursor answers from what it holds. */
        for (uint32_t n = 0; n < 12; n++) {
            uint32_t series = n < 6 ? n : 12 - n;
            const struct part_entry *entry = NULL;
            if (!part_cursor_find(&file, &codec, &cursor, series, &entry, NULL) && entry)
                read_run(&file, entry, &codec, &arena);
            arena_reset(&arena);
        }
    }
    part_cursor_close(&cursor);
    if (!err) walk(&file, &codec, &arena);
    mem_free(ids);
    mem_free(memory.bytes);
    codec_close(&codec);
    part_file_close(&file);
    arena_free(&arena);
    MUST(atomic_load(&budget.used_bytes) == 0);
    return 0;
}
