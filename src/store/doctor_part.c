/* doctor_part.c - one part read to the last byte, and what is readable of it written again; see
 * doctor.h. */
#include "store/catalog.h"
#include "store/doctor_priv.h"
#include "store/part_column.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static void note(struct part_findings *f, const char *where, const struct why *why)
{
    if (f->bad++ == 0)
        snprintf(f->first, sizeof f->first, "%s%s%s", where, why ? ": " : "",
                 why ? why_text(why, ERR_CORRUPT) : "");
}

/* ---- statistics against values ---- */

static bool same_double(double a, double b)
{
    return a == b || fabs(a - b) <= 1e-9 * (fabs(a) + fabs(b));
}

static bool holds(const struct vector *v, const struct sql_summary *s)
{
    uint64_t count = 0;
    int64_t least = INT64_MAX, most = INT64_MIN;
    __int128 sum = 0;
    double least_d = INFINITY, most_d = -INFINITY;
    for (uint32_t i = 0; i < v->count; i++) {
        struct value x = vector_get(v, i);
        if (x.is_null) continue;
        count++;
        if (v->type == TYPE_DOUBLE) {
            least_d = x.d < least_d ? x.d : least_d;
            most_d = x.d > most_d ? x.d : most_d;
        } else if (v->type == TYPE_BIGINT || v->type == TYPE_TIMESTAMP) {
            least = x.i < least ? x.i : least;
            most = x.i > most ? x.i : most;
            sum += x.i;
        }
    }
    if (count != s->count) return false;
    if (!s->has_values) return true;
    if (v->type == TYPE_DOUBLE)
        return same_double(least_d, s->least.d) && same_double(most_d, s->most.d);
    if (v->type == TYPE_BIGINT || v->type == TYPE_TIMESTAMP)
        return least == s->least.i && most == s->most.i && sum == s->sum_int;
    return true;
}

/* The same for what windows inside the block are answered from. */
static enum err check_ranges(struct part_file *file, struct codec *codec,
                             const struct part_block *block, const struct part_column *column,
                             const struct vector *v, struct arena *arena, bool *good)
{
    enum { STEP = CODEC_MINI_VALUES, MOST = CODEC_MINIS_MAX };
    struct sql_summary given[MOST], wanted[MOST];
    uint32_t ends[MOST + 1] = {0};
    uint64_t bytes = 0;
    struct part_ranges ranges = {0, ends, .ignores_bounds = true, .ignores_ends = true};
    while (ends[ranges.count] < v->count) {
        uint32_t next = ends[ranges.count] + STEP;
        ends[++ranges.count] = next < v->count ? next : v->count;
    }
    enum err err =
        part_block_ranges(file, codec, block, column, &ranges, arena, given, 1, &bytes, NULL);
    *good = !err;
    if (err) return err == ERR_NO_MEMORY || err == ERR_BUDGET ? ERR_NO_MEMORY : ERR_OK;
    part_vector_ranges(v, &ranges, wanted, 1);
    for (uint32_t i = 0; i < ranges.count; i++) {
        double most = fmax(fabs(wanted[i].least.d), fabs(wanted[i].most.d));
        bool same = v->type == TYPE_DOUBLE
                        ? fabs(given[i].sum_double - wanted[i].sum_double) <= 1e-9 * most * STEP
                        : given[i].sum_int == wanted[i].sum_int;
        *good = *good && given[i].count == wanted[i].count && (same || !wanted[i].has_values);
    }
    return ERR_OK;
}

/* ---- reading ---- */

static enum err read_column(struct part_file *file, struct codec *codec,
                            const struct part_block *block, uint16_t at, struct arena *arena,
                            struct part_findings *f)
{
    const struct part_column *column = &block->columns[at];
    struct why why = WHY_NONE;
    struct sql_summary summary;
    struct vector v;
    uint64_t bytes = 0;
    enum err err = part_block_column(file, codec, block, column, arena, &v, &bytes, &why);
    if (err == ERR_NO_MEMORY || err == ERR_BUDGET) return ERR_NO_MEMORY;
    bool good = true;
    if (!err && column->stats.size)
        good = part_column_summary(column, block->rows, &summary) && holds(&v, &summary);
    if (!err && good && check_ranges(file, codec, block, column, &v, arena, &good))
        return ERR_NO_MEMORY;
    if (err)
        note(f, "a column", &why);
    else if (!good)
        note(f, "a column's statistics contradict its values", NULL);
    else
        f->columns++;
    if (!err && at == 0) f->rows += block->rows;
    return ERR_OK;
}

static enum err read_run(struct part_file *file, struct codec *codec,
                         const struct part_entry *entry, struct part_findings *f)
{
    struct arena arena, cells;
    struct part_run run;
    struct why why = WHY_NONE;
    arena_init(&arena, NULL);
    arena_init(&cells, NULL);
    enum err err = part_run_read(file, entry, &arena, &run, &why);
    bool is_read = err == ERR_OK;
    if (err && err != ERR_NO_MEMORY && err != ERR_BUDGET) {
        note(f, "a series", &why);
        err = ERR_OK;
    }
    f->runs += is_read;
    for (uint32_t i = 0; is_read && !err && i < run.block_count; i++) {
        f->blocks++;
        for (uint16_t c = 0; c < run.blocks[i].column_count && !err; c++)
            err = read_column(file, codec, &run.blocks[i], c, &cells, f);
        arena_reset(&cells);
    }
    arena_free(&cells);
    arena_free(&arena);
    return err ? ERR_NO_MEMORY : ERR_OK;
}

static enum err read_group(struct part_file *file, struct codec *codec, struct part_cursor *cursor,
                           const struct part_entry *entry, struct part_findings *f)
{
    uint32_t count;
    struct why why = WHY_NONE;
    enum err err = part_cursor_load(file, codec, cursor, entry, &count, &why);
    if (err == ERR_NO_MEMORY || err == ERR_BUDGET) return ERR_NO_MEMORY;
    if (err) note(f, "a group of series", &why);
    err = ERR_OK;
    for (uint32_t i = 0; i < count && !err; i++)
        err = read_run(file, codec, part_cursor_member(cursor, i), f);
    return err;
}

enum err doctor_read_part(struct part_file *file, struct part_findings *f)
{
    struct codec codec;
    struct part_cursor *cursor = mem_alloc_zero(1, sizeof *cursor);
    struct why why = WHY_NONE;
    uint32_t *ids = NULL;
    uint8_t *schemas = NULL;
    size_t size;
    *f = (struct part_findings){0};
    enum err err = cursor ? codec_open(&codec, false) : ERR_NO_MEMORY;
    if (err) {
        mem_free(cursor);
        return err;
    }
    if (part_file_tables(file, &ids, &why)) note(f, "the tables", &why);
    if (part_file_schemas(file, &schemas, &size, &why)) note(f, "the schemas", &why);
    for (uint32_t i = 0; i < file->entry_count && !err; i++) {
        const struct part_entry *entry;
        why = WHY_NONE;
        if (part_file_entry(file, cursor, i, &entry, &why)) {
            note(f, "the directory", &why);
            i |= PART_PAGE_ENTRIES - 1; /* the page is gone as a whole */
            continue;
        }
        struct part_entry one = *entry;
        err = one.is_group ? read_group(file, &codec, cursor, &one, f)
                           : read_run(file, &codec, &one, f);
    }
    if (!err && !f->bad && f->rows != file->info.rows) note(f, "rows are missing", NULL);
    codec_close(&codec);
    mem_free(ids);
    mem_free(schemas);
    part_cursor_close(cursor);
    mem_free(cursor);
    return err;
}

/* ---- salvaging ---- */

struct salvage {
    struct part_file *file;
    struct catalog *catalog; /* borrowed */
    struct codec codec;
    struct part_writer writer;
    struct part_cursor cursor;
    struct schema *schemas[256]; /* of the part's tables */
    size_t schema_count;
    uint32_t table, series; /* written last */
    bool was_member;        /* of a group */
};

/* A part is written in order: tables, in each those with runs of their own, then its groups'. What
 * is not in this order is damage that the checksums do not show, and stays behind. */
static bool is_next(struct salvage *s, const struct part_entry *entry)
{
    bool is_member = entry->group != NULL;
    if (entry->table < s->table) return false;
    if (entry->table == s->table &&
        (is_member < s->was_member || (is_member == s->was_member && entry->series <= s->series)))
        return false;
    s->table = entry->table;
    s->series = entry->series;
    s->was_member = is_member;
    return true;
}

static enum err read_schemas(struct salvage *s, struct why *why)
{
    uint8_t *bytes;
    size_t size;
    enum err err = part_file_schemas(s->file, &bytes, &size, why);
    if (err) return err;
    struct reader in = reader_of(bytes, size);
    while (!err && reader_left(&in) && s->schema_count < sizeof s->schemas / sizeof *s->schemas) {
        bool dropped;
        uint64_t one = reader_varint(&in);
        if (!reader_ok(&in) || one > reader_left(&in)) break;
        struct str body = reader_str(&in, (size_t)one);
        struct reader part = reader_of(body.at, body.size);
        err = catalog_read_schema(&part, &s->schemas[s->schema_count], &dropped, why);
        if (!err) s->schema_count++;
    }
    mem_free(bytes);
    return err;
}

/* A block whose times are good, with the columns that are; the others are absent from then on. */
static void write_block(struct salvage *s, const struct part_block *block, struct arena *cells,
                        bool *begun, const struct schema *schema, const struct part_run *run)
{
    struct vector v;
    uint64_t bytes = 0;
    arena_reset(cells);
    if (part_block_column(s->file, &s->codec, block, &block->columns[0], cells, &v, &bytes, NULL))
        return;
    if (!*begun) part_writer_series(&s->writer, schema, run->series, run->path);
    *begun = true;
    part_writer_block(&s->writer, &v);
    for (uint16_t c = 1; c < block->column_count; c++) {
        struct vector w;
        if (part_writer_fits(&s->writer, block->columns[c].id, (enum type)block->columns[c].type) &&
            !part_block_column(s->file, &s->codec, block, &block->columns[c], cells, &w, &bytes,
                               NULL))
            part_writer_column(&s->writer, block->columns[c].id, &w);
    }
    part_writer_block_end(&s->writer);
}

static void write_run(struct salvage *s, const struct part_entry *entry)
{
    struct arena arena, cells;
    struct part_run run;
    struct schema *schema = NULL;
    bool begun = false;
    for (size_t i = 0; i < s->schema_count; i++)
        if (s->schemas[i]->table_id == entry->table) schema = s->schemas[i];
    if (!schema) schema = catalog_schema(s->catalog, entry->table);
    if (!schema || !is_next(s, entry)) return;
    /* Of a long run little may be left; beside the members of groups, which come later, it would
     * stand out of order. */
    s->writer.stays_apart = !entry->group;
    arena_init(&arena, NULL);
    arena_init(&cells, NULL);
    if (part_run_read(s->file, entry, &arena, &run, NULL) == ERR_OK) {
        for (uint32_t i = 0; i < run.block_count; i++)
            write_block(s, &run.blocks[i], &cells, &begun, schema, &run);
        if (begun) part_writer_series_end(&s->writer);
    }
    arena_free(&cells);
    arena_free(&arena);
}

static enum err salvage(struct salvage *s, const char *folder, struct part_info *info,
                        struct why *why)
{
    enum err err = read_schemas(s, why);
    if (err && err != ERR_NO_MEMORY) err = ERR_OK; /* the catalogue knows them, too */
    if (!err) err = codec_open(&s->codec, true);
    if (!err) err = part_writer_open(&s->writer, s->file->os, folder, info, &s->codec, why);
    if (err) return err;
    for (uint32_t i = 0; i < s->file->entry_count; i++) {
        const struct part_entry *entry;
        if (part_file_entry(s->file, &s->cursor, i, &entry, NULL)) {
            i |= PART_PAGE_ENTRIES - 1;
            continue;
        }
        struct part_entry one = *entry;
        uint32_t count = 0;
        if (!one.is_group)
            write_run(s, &one);
        else if (part_cursor_load(s->file, &s->codec, &s->cursor, &one, &count, NULL))
            continue;
        for (uint32_t m = 0; m < count; m++) write_run(s, part_cursor_member(&s->cursor, m));
    }
    info->rows = 0;
    if (!part_writer_is_empty(&s->writer)) return part_writer_finish(&s->writer, info, why);
    part_writer_abort(&s->writer);
    return ERR_OK;
}

enum err doctor_salvage_part(struct part_file *file, struct catalog *catalog, const char *folder,
                             struct part_info *info, struct why *why)
{
    struct salvage *s = mem_alloc_zero(1, sizeof *s);
    if (!s) return ERR_NO_MEMORY;
    s->file = file;
    s->catalog = catalog;
    enum err err = salvage(s, folder, info, why);
    for (size_t i = 0; i < s->schema_count; i++) schema_release(s->schemas[i]);
    part_cursor_close(&s->cursor);
    codec_close(&s->codec);
    mem_free(s);
    return err;
}
