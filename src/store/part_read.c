/* part_read.c - reading one part: the object that is shared, the open file, runs, blocks and
 * columns; see part.h. Finding a series in it is part_directory.c, groups are part_group.c.
 *
 * Every count and offset is checked against the file's size before it is used, every section
 * against its checksum. Reading goes through one window: whoever reads on from where the last read
 * ended gets four times as much at once, up to 128 KiB, which makes a long scan one of large reads
 * and leaves a short one small. pread and not a mapping: a disk's error is a return code, and
 * memory is what the budget says.
 *
 * Called by: scan_part.c and scan_slice.c on any BLOCKING task, doctor_part.c, meta.c,
 * table_size.c, open_parts.c. A part_file belongs to one task. Owns: the os_file and the window,
 * paid for by the budget given; a struct part is shared, and its last release after `dropped`
 * removes the file. Invariant: whatever the bytes are, nothing outside them is read and no value is
 * taken on trust that the rest of the program relies on (times ascend, blocks do not overlap,
 * columns ascend). */
#include "base/hash.h"
#include "base/mem.h"
#include "base/simd.h"
#include "store/part_column.h"
#include "store/part_group.h"
#include "store/part_read.h"
#include "store/refs.h"
#include <stdio.h>
#include <string.h>

enum {
    TABLES_MAX = 1 << 20,
    COLUMN_BYTES_MIN = 9,
    BLOCK_BYTES_MIN = 49,
    AHEAD_BYTES_MIN = 4096,
    AHEAD_BYTES_MAX = 128 * 1024,
};

enum err part_bad(struct why *why, const char *what)
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
    part->magic = PART_MAGIC;
    part->os = os;
    part->info = *info;
    info->tables = NULL;
    part_path(part->path, strlen(folder) + 32, folder, info->id);
    return part;
}

struct part *part_share(struct part *part)
{
    MUST(part->magic == PART_MAGIC);
    refs_take(&part->refs);
    return part;
}

void part_release(struct part *part)
{
    MUST(!part || part->magic == PART_MAGIC);
    if (!part || !refs_drop(&part->refs)) return;
    /* The manifest has forgotten it already: what cannot be removed now goes at the next start. */
    if (atomic_load(&part->dropped)) (void)part->os->ops->path_remove(part->os, part->path, NULL);
    mem_free(part->info.tables);
    part->magic = 0;
    mem_free(part);
}

/* ---- the file ---- */

enum err part_read_at(struct part_file *file, uint64_t offset, void *bytes, size_t size,
                      struct why *why)
{
    size_t got = 0;
    MUST(file->file); /* whoever lets it be closed meanwhile asks part_cursor_knows */
    if (offset > file->size || size > file->size - offset)
        return part_bad(why, "points behind its end");
    enum err err = file->os->ops->file_read(file->file, offset, bytes, size, &got, why);
    if (err) return err;
    return got == size ? ERR_OK : part_bad(why, "the file is cut off");
}

/* Whoever reads on from where the last read ended gets more at once each time. */
enum err part_view_at(struct part_file *file, uint64_t from, uint64_t offset, size_t size,
                      const uint8_t **bytes, struct why *why)
{
    if (offset > file->size || size > file->size - offset)
        return part_bad(why, "points behind its end");
    if (from > offset || offset - from > AHEAD_BYTES_MAX) from = offset;
    if (offset >= file->window_from && offset + size <= file->window_from + file->window_size) {
        *bytes = file->window + (offset - file->window_from);
        return ERR_OK;
    }
    uint64_t end = file->window_from + file->window_size;
    bool goes_on = file->window && from <= end + AHEAD_BYTES_MIN && offset + size > end;
    size_t ahead = goes_on ? file->ahead * 4 : AHEAD_BYTES_MIN;
    file->ahead = ahead < AHEAD_BYTES_MAX ? ahead : AHEAD_BYTES_MAX;
    size_t want = (size_t)(offset - from) + size;
    if (want < file->ahead) want = file->ahead;
    if (want > file->size - from) want = (size_t)(file->size - from);
    if (want > file->window_capacity) {
        if (file->budget && budget_take(file->budget, want - file->window_capacity))
            return ERR_BUDGET;
        uint8_t *window = mem_realloc(file->window, want);
        if (!window) {
            if (file->budget) budget_give(file->budget, want - file->window_capacity);
            return ERR_NO_MEMORY;
        }
        file->window = window;
        file->window_capacity = want;
    }
    MUST(want >= (size_t)(offset - from) + size && want <= file->window_capacity);
    file->window_size = 0;
    enum err err = part_read_at(file, from, file->window, want, why);
    if (err) return err;
    file->window_from = from;
    file->window_size = want;
    *bytes = file->window + (offset - from);
    return ERR_OK;
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
        return part_bad(why, "the header is damaged");
    file->version = version;
    if (version >= 1 && version <= PART_VERSION) return ERR_OK;
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
        return part_bad(why, "the tail is damaged");
    uint64_t pages = ((uint64_t)file->entry_count + PART_PAGE_ENTRIES - 1) / PART_PAGE_ENTRIES;
    if (file->tables > file->size || file->directory > file->tables ||
        file->table_count > TABLES_MAX ||
        file->tables - file->directory !=
            (uint64_t)file->entry_count * PART_ENTRY_BYTES + pages * 4 ||
        file->schemas < file->tables ||
        file->schemas - file->tables != file->table_count * (uint64_t)part_table_bytes(file) + 4u)
        return part_bad(why, "the tail contradicts itself");
    return ERR_OK;
}

enum err part_file_check(struct part_file *file, const char *path, struct why *why)
{
    uint8_t head[PART_HEADER_BYTES], tail[PART_TAIL_BYTES];
    enum err err = file->os->ops->file_size(file->file, &file->size, why);
    if (!err && file->size < PART_HEADER_BYTES + PART_TAIL_BYTES)
        err = part_bad(why, "the file is cut off");
    if (!err) err = part_read_at(file, 0, head, sizeof head, why);
    if (!err) err = check_header(file, head, path, why);
    if (!err) err = part_read_at(file, file->size - PART_TAIL_BYTES, tail, sizeof tail, why);
    if (!err) err = check_tail(file, tail, why);
    file->info.size_bytes = file->size;
    if (err) part_file_close(file);
    return err;
}

enum err part_file_open(struct os *os, const char *path, struct budget *budget,
                        struct part_file *file, struct why *why)
{
    *file = (struct part_file){.os = os, .budget = budget};
    enum err err = os->ops->file_open(os, path, 0, &file->file, why);
    return err ? err : part_file_check(file, path, why);
}

void part_file_close(struct part_file *file)
{
    if (file->file) file->os->ops->file_close(file->file);
    file->file = NULL;
    if (file->budget) budget_give(file->budget, file->window_capacity);
    mem_free(file->window);
    file->window = NULL;
    file->window_capacity = file->window_size = file->ahead = 0;
    file->window_from = file->run_end = 0;
}

/* ---- runs and blocks ---- */

/* Format 1 had fixed fields, an offset and a raw size. */
static void read_column_v1(struct reader *in, struct part_column *c)
{
    c->id = reader_le16(in);
    c->type = reader_u8(in);
    c->codec = reader_u8(in);
    c->offset = reader_le32(in);
    c->size = reader_le32(in);
    c->raw_size = reader_le32(in);
    c->crc = reader_le32(in);
    c->stats = (struct str){"", 0};
    reader_skip(in, (size_t)reader_varint(in));
}

/* `offset`: where the column before ends; moved on. */
static void read_column(struct reader *in, uint64_t *offset, struct part_column *c)
{
    uint64_t id = reader_varint(in);
    c->type = reader_u8(in);
    c->codec = reader_u8(in);
    uint64_t size = reader_varint(in);
    c->crc = reader_le32(in);
    uint64_t stats = reader_varint(in);
    bool sane = id <= UINT16_MAX && size <= PART_RAW_BYTES_MAX && *offset <= UINT32_MAX &&
                stats <= reader_left(in);
    if (!sane) in->failed = true;
    c->id = (uint16_t)id;
    c->offset = (uint32_t)*offset;
    c->size = c->raw_size = (uint32_t)size;
    c->stats = reader_str(in, sane ? (size_t)stats : 0);
    *offset += size;
}

static enum err read_columns(const struct part_file *file, struct reader *in,
                             struct part_block *block, struct arena *arena, struct why *why)
{
    uint64_t offset = 0;
    if (block->column_count == 0 ||
        block->column_count * (size_t)COLUMN_BYTES_MIN > reader_left(in))
        return part_bad(why, "a block's columns are too many");
    block->columns = arena_alloc(arena, block->column_count * sizeof *block->columns);
    if (!block->columns) return ERR_BUDGET;
    for (uint16_t i = 0; i < block->column_count; i++) {
        struct part_column *c = &block->columns[i];
        if (file->version == 1)
            read_column_v1(in, c);
        else
            read_column(in, &offset, c);
        if (!reader_ok(in)) return part_bad(why, "a run ends early");
        if ((i == 0 ? c->id != 0 || c->type != TYPE_TIMESTAMP : c->id <= c[-1].id) ||
            c->size > PART_RAW_BYTES_MAX || c->raw_size > PART_RAW_BYTES_MAX)
            return part_bad(why, "a block's column list is damaged");
    }
    return ERR_OK;
}

enum err part_block_parse(const struct part_file *file, struct reader *in, struct part_block *block,
                          struct arena *arena, struct why *why)
{
    block->group = NULL;
    block->group_row = 0;
    block->offset = reader_le64(in);
    block->origin = reader_le64(in);
    block->version = reader_le64(in);
    block->min_time_ns = (int64_t)reader_le64(in);
    block->max_time_ns = (int64_t)reader_le64(in);
    block->rows = reader_le32(in);
    block->column_count = reader_le16(in);
    uint16_t flags = reader_le16(in);
    uint64_t extension = reader_varint(in);
    if (!reader_ok(in) || extension > reader_left(in)) return part_bad(why, "a run ends early");
    reader_skip(in, (size_t)extension);
    if (flags)
        return why_set(why, ERR_FORMAT, "part: a block has features this version does not know");
    if (block->rows == 0 || block->rows > PART_BLOCK_ROWS ||
        block->min_time_ns > block->max_time_ns)
        return part_bad(why, "a block's times are damaged");
    return read_columns(file, in, block, arena, why);
}

enum err part_run_read(struct part_file *file, const struct part_entry *entry, struct arena *arena,
                       struct part_run *run, struct why *why)
{
    if (entry->group) return part_group_run(entry->group, entry->member, arena, run);
    if (entry->run_size > PART_RUN_BYTES_MAX || entry->run_size < 4)
        return part_bad(why, "a run has no sensible size");
    const uint8_t *seen = NULL, *bytes;
    /* The blocks stand between the run before and this one. */
    enum err err =
        part_view_at(file, file->run_end, entry->run_offset, entry->run_size, &seen, why);
    if (err) return err;
    file->run_end = entry->run_offset + entry->run_size;
    if (!(bytes = arena_dup(arena, seen, entry->run_size))) return ERR_BUDGET;
    struct reader crc = reader_of(bytes + entry->run_size - 4, 4);
    if (hash_crc32c(0, bytes, entry->run_size - 4) != reader_le32(&crc))
        return part_bad(why, "a run is damaged");
    struct reader in = reader_of(bytes, entry->run_size - 4);
    run->series = reader_le32(&in);
    run->table = reader_le32(&in);
    uint64_t path_size = reader_varint(&in);
    if (path_size > PART_PATH_BYTES_MAX) return part_bad(why, "a device path is too long");
    run->path = reader_str(&in, (size_t)path_size);
    run->block_count = reader_le32(&in);
    if (!reader_ok(&in) || run->series != entry->series || run->table != entry->table ||
        run->block_count == 0 || run->block_count > reader_left(&in) / BLOCK_BYTES_MIN)
        return part_bad(why, "a run contradicts the directory");
    run->blocks = arena_alloc(arena, run->block_count * sizeof *run->blocks);
    if (!run->blocks) return ERR_BUDGET;
    for (uint32_t i = 0; i < run->block_count && !err; i++) {
        err = part_block_parse(file, &in, &run->blocks[i], arena, why);
        if (!err && i && run->blocks[i].min_time_ns <= run->blocks[i - 1].max_time_ns)
            err = part_bad(why, "blocks of a run overlap");
    }
    return err;
}

/* Whether reading from the first to the last of the columns wanted at once pays is for the caller
 * to say: it knows them. */
enum err part_block_ahead(struct part_file *file, const struct part_block *block, uint32_t from,
                          uint32_t to, struct why *why)
{
    const uint8_t *bytes;
    if (block->group || to <= from || to - from > AHEAD_BYTES_MAX) return ERR_OK;
    return part_view_at(file, block->offset + from, block->offset + from, to - from, &bytes, why);
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

SIMD_CLONES static bool ascend(const int64_t *times, uint32_t count)
{
    int64_t wrong = 0;
    for (uint32_t i = 1; i < count; i++) wrong |= -(int64_t)(times[i] <= times[i - 1]);
    return wrong == 0;
}

static enum err check_times(const struct part_block *block, const struct vector *v, struct why *why)
{
    if (v->type != TYPE_TIMESTAMP || v->null || v->i[0] != block->min_time_ns ||
        v->i[v->count - 1] != block->max_time_ns)
        return part_bad(why, "a block's times contradict its index");
    if (!ascend(v->i, v->count)) return part_bad(why, "a block's times do not ascend");
    return ERR_OK;
}

enum err part_column_bytes(struct part_file *file, const struct part_block *block,
                           const struct part_column *column, const uint8_t **bytes, struct why *why)
{
    if (block->offset > file->size) return part_bad(why, "a block points behind the end");
    uint64_t offset = block->offset + column->offset;
    return part_view_at(file, offset, offset, column->size, bytes, why);
}

enum err part_block_column(struct part_file *file, struct codec *codec,
                           const struct part_block *block, const struct part_column *column,
                           struct arena *arena, struct vector *v, uint64_t *bytes_read,
                           struct why *why)
{
    const uint8_t *bytes = NULL;
    if (block->group)
        return part_group_column(file, codec, block, column, arena, v, bytes_read, why);
    enum err err = part_column_bytes(file, block, column, &bytes, why);
    /* Texts may stay in the stored bytes: those must last as long as the vector. */
    bool borrowed = column->type >= TYPE_COUNT || !type_bytes((enum type)column->type) ||
                    column->codec != PART_CODEC_DENSE;
    if (!err && borrowed && !(bytes = arena_dup(arena, bytes, column->size))) err = ERR_BUDGET;
    if (!err) err = part_column_decode(codec, column, bytes, block->rows, arena, v, why);
    if (!err && column->id == 0) err = check_times(block, v, why);
    *bytes_read += column->size;
    return err;
}

enum err part_block_line(struct part_file *file, const struct part_block *block, bool *is_line,
                         int64_t *step_ns, struct why *why)
{
    const struct part_column *time = &block->columns[0];
    const uint8_t *bytes = NULL;
    int64_t first;
    uint64_t steps = block->rows - 1;
    *is_line = false;
    if (block->group) return ERR_OK;
    enum err err = part_column_bytes(file, block, time, &bytes, why);
    if (err) return err;
    if (hash_crc32c(0, bytes, time->size) != time->crc) return part_bad(why, "a column is damaged");
    uint64_t whole = (uint64_t)block->max_time_ns - (uint64_t)block->min_time_ns;
    struct reader in = reader_of(bytes, time->size);
    *is_line = time->codec == PART_CODEC_DENSE && !reader_u8(&in) &&
               codec_is_line(in, &first, step_ns) && *step_ns > 0 && steps &&
               first == block->min_time_ns && whole / steps == (uint64_t)*step_ns &&
               whole % steps == 0;
    return ERR_OK;
}

enum err part_block_ranges(struct part_file *file, struct codec *codec,
                           const struct part_block *block, const struct part_column *column,
                           const struct part_ranges *ranges, struct arena *arena,
                           struct sql_summary *out, size_t stride, uint64_t *bytes_read,
                           struct why *why)
{
    const uint8_t *bytes = NULL;
    struct vector v;
    bool done = false;
    enum err err = block->group ? ERR_OK : part_column_bytes(file, block, column, &bytes, why);
    if (!err && !block->group && hash_crc32c(0, bytes, column->size) != column->crc)
        err = part_bad(why, "a column is damaged");
    if (!err && !block->group)
        err =
            part_column_ranges(codec, column, bytes, block->rows, ranges, out, stride, &done, why);
    if (err || done) {
        *bytes_read += column->size;
        return err;
    }
    err = part_block_column(file, codec, block, column, arena, &v, bytes_read, why);
    if (!err) part_vector_ranges(&v, ranges, out, stride);
    return err;
}
