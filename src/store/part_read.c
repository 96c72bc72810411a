/* part_read.c - reading one part; see part.h. Every count and offset is checked against the file's
 * size before it is used, every section against its checksum. */
#include "base/hash.h"
#include "base/mem.h"
#include "store/part.h"
#include <stdio.h>
#include <string.h>

enum { TABLES_MAX = 1 << 20, PATH_BYTES_MAX = 1024, COLUMN_BYTES_MIN = 21, BLOCK_BYTES_MIN = 49 };

static enum err bad(struct why *why, const char *what)
{
    return why_set(why, ERR_CORRUPT, "part: %s", what);
}

/* ---- the object ---- */

struct part *part_new(struct os *os, const char *folder, struct part_info *info)
{
    struct part *part = mem_alloc_zero(1, sizeof *part + strlen(folder) + 32);
    if (!part) {
        mem_free(info->tables);
        info->tables = NULL;
        return NULL;
    }
    atomic_init(&part->refs, 1);
    part->os = os;
    part->info = *info;
    info->tables = NULL;
    part_path(part->path, strlen(folder) + 32, folder, info->id);
    return part;
}

struct part *part_share(struct part *part)
{
    atomic_fetch_add_explicit(&part->refs, 1, memory_order_relaxed);
    return part;
}

void part_release(struct part *part)
{
    if (!part || atomic_fetch_sub_explicit(&part->refs, 1, memory_order_acq_rel) != 1) return;
    /* The manifest has forgotten it already: what cannot be removed now goes at the next start. */
    if (atomic_load(&part->dropped)) (void)part->os->ops->path_remove(part->os, part->path, NULL);
    mem_free(part->info.tables);
    mem_free(part);
}

/* ---- the file ---- */

static enum err read_at(struct part_file *file, uint64_t offset, void *bytes, size_t size,
                        struct why *why)
{
    size_t got = 0;
    if (offset > file->size || size > file->size - offset) return bad(why, "points behind its end");
    enum err err = file->os->ops->file_read(file->file, offset, bytes, size, &got, why);
    if (err) return err;
    return got == size ? ERR_OK : bad(why, "the file is cut off");
}

static enum err check_header(struct part_file *file, uint8_t bytes[PART_HEADER_BYTES],
                             const char *path, struct why *why)
{
    struct reader in = reader_of(bytes, PART_HEADER_BYTES);
    struct str magic = reader_str(&in, 8);
    uint32_t version = reader_le32(&in), crc = reader_le32(&in);
    struct part_info *info = &file->info;
    info->id = reader_le64(&in);
    info->origin = reader_le64(&in);
    info->class_ns = (int64_t)reader_le64(&in);
    info->partition_from_ns = (int64_t)reader_le64(&in);
    info->partition_to_ns = (int64_t)reader_le64(&in);
    bool ours = memcmp(magic.at, "MILLPART", 8) == 0;
    memset(bytes + 12, 0, 4);
    if (!ours || hash_crc32c(0, bytes, PART_HEADER_BYTES) != crc)
        return bad(why, "the header is damaged");
    if (version == PART_VERSION) return ERR_OK;
    return why_set(why, ERR_FORMAT, "%s was written by another version (format %u, this is %u)",
                   path, version, PART_VERSION);
}

static enum err check_tail(struct part_file *file, const uint8_t bytes[PART_TAIL_BYTES],
                           struct why *why)
{
    struct reader in = reader_of(bytes, PART_TAIL_BYTES);
    struct part_info *info = &file->info;
    file->directory = reader_le64(&in);
    file->tables = reader_le64(&in);
    file->schemas = reader_le64(&in);
    file->entry_count = reader_le32(&in);
    file->table_count = reader_le32(&in);
    info->rows = reader_le64(&in);
    (void)reader_le64(&in); /* blocks */
    info->min_time_ns = (int64_t)reader_le64(&in);
    info->max_time_ns = (int64_t)reader_le64(&in);
    info->version = reader_le64(&in);
    struct reader end = reader_of(bytes + PART_TAIL_BYTES - 12, 12);
    uint32_t crc = reader_le32(&end);
    if (memcmp(bytes + PART_TAIL_BYTES - 8, "MILLTAIL", 8) != 0 ||
        hash_crc32c(0, bytes, PART_TAIL_BYTES - 12) != crc)
        return bad(why, "the tail is damaged");
    uint64_t pages = ((uint64_t)file->entry_count + PART_PAGE_ENTRIES - 1) / PART_PAGE_ENTRIES;
    if (file->tables > file->size || file->directory > file->tables ||
        file->table_count > TABLES_MAX ||
        file->tables - file->directory !=
            (uint64_t)file->entry_count * PART_ENTRY_BYTES + pages * 4 ||
        file->schemas < file->tables ||
        file->schemas - file->tables != file->table_count * PART_TABLE_BYTES + 4u)
        return bad(why, "the tail contradicts itself");
    return ERR_OK;
}

enum err part_file_check(struct part_file *file, const char *path, struct why *why)
{
    uint8_t head[PART_HEADER_BYTES], tail[PART_TAIL_BYTES];
    enum err err = file->os->ops->file_size(file->file, &file->size, why);
    if (!err && file->size < PART_HEADER_BYTES + PART_TAIL_BYTES)
        err = bad(why, "the file is cut off");
    if (!err) err = read_at(file, 0, head, sizeof head, why);
    if (!err) err = check_header(file, head, path, why);
    if (!err) err = read_at(file, file->size - PART_TAIL_BYTES, tail, sizeof tail, why);
    if (!err) err = check_tail(file, tail, why);
    file->info.size_bytes = file->size;
    if (err) part_file_close(file);
    return err;
}

enum err part_file_open(struct os *os, const char *path, struct part_file *file, struct why *why)
{
    *file = (struct part_file){.os = os};
    enum err err = os->ops->file_open(os, path, 0, &file->file, why);
    return err ? err : part_file_check(file, path, why);
}

void part_file_close(struct part_file *file)
{
    if (file->file) file->os->ops->file_close(file->file);
    file->file = NULL;
}

/* ---- tables and directory ---- */

static enum err read_tables(struct part_file *file, uint8_t **bytes, struct why *why)
{
    size_t size = file->table_count * (size_t)PART_TABLE_BYTES;
    if (!(*bytes = mem_alloc(size + 4))) return ERR_NO_MEMORY;
    enum err err = read_at(file, file->tables, *bytes, size + 4, why);
    struct reader crc = reader_of(*bytes + size, 4);
    if (!err && hash_crc32c(0, *bytes, size) != reader_le32(&crc))
        err = bad(why, "the list of tables is damaged");
    if (!err) return ERR_OK;
    mem_free(*bytes);
    *bytes = NULL;
    return err;
}

enum err part_file_tables(struct part_file *file, uint32_t **ids, struct why *why)
{
    uint8_t *bytes;
    enum err err = read_tables(file, &bytes, why);
    if (err) return err;
    *ids = mem_alloc(file->table_count * sizeof **ids);
    struct reader in = reader_of(bytes, file->table_count * (size_t)PART_TABLE_BYTES);
    for (uint32_t i = 0; *ids && i < file->table_count; i++) {
        (*ids)[i] = reader_le32(&in);
        reader_skip(&in, 8);
    }
    mem_free(bytes);
    return *ids ? ERR_OK : ERR_NO_MEMORY;
}

enum err part_cursor_open(struct part_file *file, uint32_t table, struct part_cursor *cursor,
                          struct why *why)
{
    uint8_t *bytes;
    enum err err = read_tables(file, &bytes, why);
    if (err) return err;
    cursor->found = false;
    cursor->page_count = 0;
    struct reader in = reader_of(bytes, file->table_count * (size_t)PART_TABLE_BYTES);
    for (uint32_t i = 0; i < file->table_count && !cursor->found; i++) {
        cursor->found = reader_le32(&in) == table;
        cursor->first = reader_le32(&in);
        cursor->count = reader_le32(&in);
    }
    mem_free(bytes);
    if (cursor->found && (cursor->count == 0 || cursor->first > file->entry_count ||
                          cursor->count > file->entry_count - cursor->first))
        return bad(why, "the list of tables contradicts the directory");
    return ERR_OK;
}

static void read_entry(struct reader *in, struct part_entry *entry)
{
    entry->table = reader_le32(in);
    entry->series = reader_le32(in);
    entry->run_offset = reader_le64(in);
    entry->run_size = reader_le32(in);
    entry->rows = reader_le32(in);
    entry->min_time_ns = (int64_t)reader_le64(in);
    entry->max_time_ns = (int64_t)reader_le64(in);
}

static enum err load_page(struct part_file *file, struct part_cursor *cursor, uint32_t page,
                          struct why *why)
{
    uint8_t bytes[PART_PAGE_ENTRIES * PART_ENTRY_BYTES + 4];
    uint32_t left = file->entry_count - page * PART_PAGE_ENTRIES;
    uint32_t count = left < PART_PAGE_ENTRIES ? left : PART_PAGE_ENTRIES;
    size_t size = count * (size_t)PART_ENTRY_BYTES;
    cursor->page_count = 0;
    uint64_t offset = file->directory + (uint64_t)page * sizeof bytes;
    enum err err = read_at(file, offset, bytes, size + 4, why);
    if (err) return err;
    struct reader in = reader_of(bytes, size + 4);
    for (uint32_t i = 0; i < count; i++) read_entry(&in, &cursor->entries[i]);
    if (hash_crc32c(0, bytes, size) != reader_le32(&in))
        return bad(why, "a page of the directory is damaged");
    cursor->page = page;
    cursor->page_count = count;
    return ERR_OK;
}

static enum err entry_at(struct part_file *file, struct part_cursor *cursor, uint32_t index,
                         const struct part_entry **entry, struct why *why)
{
    uint32_t page = index / PART_PAGE_ENTRIES;
    enum err err =
        cursor->page_count && cursor->page == page ? ERR_OK : load_page(file, cursor, page, why);
    *entry = &cursor->entries[index % PART_PAGE_ENTRIES];
    return err;
}

enum err part_cursor_find(struct part_file *file, struct part_cursor *cursor, uint32_t series,
                          const struct part_entry **entry, struct why *why)
{
    /* Whole pages first, so that neighbouring series cost no read: a page held answers when its
     * ends enclose it. */
    uint32_t low = cursor->first, high = cursor->first + cursor->count;
    if (cursor->page_count && cursor->entries[0].series <= series &&
        cursor->entries[cursor->page_count - 1].series >= series) {
        uint32_t from = cursor->page * PART_PAGE_ENTRIES, to = from + cursor->page_count;
        if (from > low && cursor->entries[0].table == cursor->entries[cursor->page_count - 1].table)
            low = from;
        if (to < high && low >= from) high = to;
    }
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        enum err err = entry_at(file, cursor, middle, entry, why);
        if (err) return err;
        if ((*entry)->series == series) return ERR_OK;
        if ((*entry)->series < series)
            low = middle + 1;
        else
            high = middle;
    }
    *entry = NULL;
    return ERR_OK;
}

/* ---- runs and blocks ---- */

static enum err read_columns(struct reader *in, struct part_block *block, struct arena *arena,
                             struct why *why)
{
    if (block->column_count == 0 ||
        block->column_count * (size_t)COLUMN_BYTES_MIN > reader_left(in))
        return bad(why, "a block's columns are too many");
    block->columns = arena_alloc(arena, block->column_count * sizeof *block->columns);
    if (!block->columns) return ERR_BUDGET;
    for (uint16_t i = 0; i < block->column_count; i++) {
        struct part_column *c = &block->columns[i];
        c->id = reader_le16(in);
        c->type = reader_u8(in);
        c->codec = reader_u8(in);
        c->offset = reader_le32(in);
        c->size = reader_le32(in);
        c->raw_size = reader_le32(in);
        c->crc = reader_le32(in);
        uint64_t extension = reader_varint(in);
        if (extension > reader_left(in) ||
            (i == 0 ? c->id != 0 || c->type != TYPE_TIMESTAMP : c->id <= c[-1].id) ||
            c->size > PART_RAW_BYTES_MAX || c->raw_size > PART_RAW_BYTES_MAX)
            return bad(why, "a block's column list is damaged");
        reader_skip(in, (size_t)extension);
    }
    return reader_ok(in) ? ERR_OK : bad(why, "a run ends early");
}

static enum err read_block(struct reader *in, struct part_block *block, struct arena *arena,
                           struct why *why)
{
    block->offset = reader_le64(in);
    block->origin = reader_le64(in);
    block->version = reader_le64(in);
    block->min_time_ns = (int64_t)reader_le64(in);
    block->max_time_ns = (int64_t)reader_le64(in);
    block->rows = reader_le32(in);
    block->column_count = reader_le16(in);
    uint16_t flags = reader_le16(in);
    uint64_t extension = reader_varint(in);
    if (!reader_ok(in) || extension > reader_left(in)) return bad(why, "a run ends early");
    reader_skip(in, (size_t)extension);
    if (flags)
        return why_set(why, ERR_FORMAT, "part: a block has features this version does not know");
    if (block->rows == 0 || block->rows > PART_BLOCK_ROWS ||
        block->min_time_ns > block->max_time_ns)
        return bad(why, "a block's times are damaged");
    return read_columns(in, block, arena, why);
}

enum err part_run_read(struct part_file *file, const struct part_entry *entry, struct arena *arena,
                       struct part_run *run, struct why *why)
{
    if (entry->run_size > PART_RUN_BYTES_MAX || entry->run_size < 4)
        return bad(why, "a run has no sensible size");
    uint8_t *bytes = arena_alloc(arena, entry->run_size);
    if (!bytes) return ERR_BUDGET;
    enum err err = read_at(file, entry->run_offset, bytes, entry->run_size, why);
    if (err) return err;
    struct reader crc = reader_of(bytes + entry->run_size - 4, 4);
    if (hash_crc32c(0, bytes, entry->run_size - 4) != reader_le32(&crc))
        return bad(why, "a run is damaged");
    struct reader in = reader_of(bytes, entry->run_size - 4);
    run->series = reader_le32(&in);
    run->table = reader_le32(&in);
    uint64_t path_size = reader_varint(&in);
    if (path_size > PATH_BYTES_MAX) return bad(why, "a device path is too long");
    run->path = reader_str(&in, (size_t)path_size);
    run->block_count = reader_le32(&in);
    if (!reader_ok(&in) || run->series != entry->series || run->table != entry->table ||
        run->block_count == 0 || run->block_count > reader_left(&in) / BLOCK_BYTES_MIN)
        return bad(why, "a run contradicts the directory");
    run->blocks = arena_alloc(arena, run->block_count * sizeof *run->blocks);
    if (!run->blocks) return ERR_BUDGET;
    for (uint32_t i = 0; i < run->block_count && !err; i++) {
        err = read_block(&in, &run->blocks[i], arena, why);
        if (!err && i && run->blocks[i].min_time_ns <= run->blocks[i - 1].max_time_ns)
            err = bad(why, "blocks of a run overlap");
    }
    return err;
}

const struct part_column *part_block_find(const struct part_block *block, uint16_t id)
{
    uint32_t low = 0, high = block->column_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (block->columns[middle].id == id) return &block->columns[middle];
        if (block->columns[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static enum err check_times(const struct part_block *block, const struct vector *v, struct why *why)
{
    if (v->type != TYPE_TIMESTAMP || v->null || v->i[0] != block->min_time_ns ||
        v->i[v->count - 1] != block->max_time_ns)
        return bad(why, "a block's times contradict its index");
    for (uint32_t i = 1; i < v->count; i++)
        if (v->i[i] <= v->i[i - 1]) return bad(why, "a block's times do not ascend");
    return ERR_OK;
}

enum err part_block_column(struct part_file *file, ZSTD_DCtx *zstd, const struct part_block *block,
                           const struct part_column *column, struct arena *arena, struct vector *v,
                           uint64_t *bytes_read, struct why *why)
{
    if (column->size > file->size) return bad(why, "a column points behind the end");
    uint8_t *bytes = arena_alloc(arena, column->size);
    if (!bytes) return ERR_BUDGET;
    if (block->offset > file->size) return bad(why, "a block points behind the end");
    enum err err = read_at(file, block->offset + column->offset, bytes, column->size, why);
    if (!err) err = part_column_decode(zstd, column, bytes, block->rows, arena, v, why);
    if (!err && column->id == 0) err = check_times(block, v, why);
    *bytes_read += column->size;
    return err;
}
