/* part_group.c - reading a group: its list of members, its block, and a member as if it had a run
 * of its own; see part_group.h.
 *
 * A group is read whole into one arena and decoded column by column when a member's is asked for:
 * neighbours ask for the same columns next, so what the first one pays the others have for a copy.
 *
 * Called by: part_directory.c (through a cursor), part_read.c, scan_part.c.
 * Owns: the arena with all of it; a cursor owns the group. What a member's run shows is borrowed
 * from the group and ends when the cursor goes to another one.
 * Invariants: members ascend by series and cover the block's rows without a gap; a member's times
 * ascend and lie within the block's; after an error the group has no members. */
#include "store/part_group.h"
#include "base/hash.h"
#include "base/mem.h"
#include "store/part_column.h"
#include "store/part_read.h"
#include <string.h>

enum { HEAD_BYTES = 8, MEMBER_BYTES_MIN = 4 };

/* ---- the list of members ---- */

static struct str read_path(struct reader *in, struct str before, struct arena *arena)
{
    uint64_t common = reader_varint(in), rest = reader_varint(in);
    if (common > before.size || rest > PART_PATH_BYTES_MAX || common + rest > PART_PATH_BYTES_MAX ||
        rest > reader_left(in)) {
        in->failed = true;
        return (struct str){"", 0};
    }
    struct str tail = reader_str(in, (size_t)rest);
    char *path = arena_alloc(arena, (size_t)(common + rest) + 1);
    if (!path) return (struct str){NULL, 0};
    memcpy(path, before.at, (size_t)common);
    memcpy(path + common, tail.at, tail.size);
    return (struct str){path, (size_t)(common + rest)};
}

static enum err read_members(struct part_group *g, struct reader *in, struct why *why)
{
    struct str path = {"", 0};
    uint64_t series = 0, first = 0;
    g->members = arena_alloc(&g->arena, g->count * sizeof *g->members);
    if (!g->members) return ERR_BUDGET;
    for (uint32_t i = 0; i < g->count; i++) {
        uint64_t distance = reader_varint(in), rows = reader_varint(in);
        path = read_path(in, path, &g->arena);
        if (!path.at) return ERR_BUDGET;
        bool sane = reader_ok(in) && distance > 0 && distance <= UINT32_MAX - series && rows > 0 &&
                    rows <= PART_BLOCK_ROWS;
        if (!sane) return part_bad(why, "the list of a group is damaged");
        series += distance;
        g->members[i] =
            (struct part_member){(uint32_t)series, (uint32_t)first, (uint32_t)rows, path};
        first += rows;
    }
    if (reader_left(in) || first > PART_BLOCK_ROWS)
        return part_bad(why, "the list of a group is damaged");
    return ERR_OK;
}

/* ---- the group ---- */

/* Decodes a column of all rows, if that was not done yet. */
static enum err decode(struct part_file *file, struct codec *codec, struct part_group *g, size_t at,
                       uint64_t *bytes_read, struct why *why)
{
    const struct part_column *column = &g->block.columns[at];
    const uint8_t *bytes = NULL;
    if (g->is_decoded[at]) return ERR_OK;
    enum err err = part_column_bytes(file, &g->block, column, &bytes, why);
    /* Texts may stay in the stored bytes, and all of it outlives the window. */
    if (!err && !(bytes = arena_dup(&g->arena, bytes, column->size))) err = ERR_BUDGET;
    if (!err)
        err = part_column_decode(codec, column, bytes, g->block.rows, &g->arena, &g->columns[at],
                                 why);
    if (err) return err;
    MUST(!g->columns[at].is_constant);
    g->is_decoded[at] = true;
    *bytes_read += column->size;
    return ERR_OK;
}

static enum err check_times(const struct part_group *g, struct why *why)
{
    const struct vector *time = &g->columns[0];
    if (time->type != TYPE_TIMESTAMP || time->null)
        return part_bad(why, "a group's times are no times");
    for (uint32_t i = 0; i < g->count; i++) {
        const struct part_member *m = &g->members[i];
        for (uint32_t row = m->first + 1; row < m->first + m->rows; row++)
            if (time->i[row] <= time->i[row - 1])
                return part_bad(why, "a block's times do not ascend");
        if (time->i[m->first] < g->block.min_time_ns ||
            time->i[m->first + m->rows - 1] > g->block.max_time_ns)
            return part_bad(why, "a block's times contradict its index");
    }
    return ERR_OK;
}

static enum err parse(struct part_file *file, const struct part_entry *entry, struct str bytes,
                      struct part_group *g, struct why *why)
{
    struct reader in = reader_of(bytes.at, bytes.size - 4),
                  crc = reader_of(bytes.at + bytes.size - 4, 4);
    if (hash_crc32c(0, bytes.at, bytes.size - 4) != reader_le32(&crc))
        return part_bad(why, "a run is damaged");
    g->table = reader_le32(&in);
    g->count = reader_le32(&in);
    uint64_t size = reader_varint(&in);
    if (!reader_ok(&in) || size > reader_left(&in) || g->count == 0 || g->count > PART_BLOCK_ROWS ||
        g->count > size / MEMBER_BYTES_MIN || g->table != entry->table)
        return part_bad(why, "a group contradicts the directory");
    struct str list = reader_str(&in, (size_t)size);
    struct reader members = reader_of(list.at, list.size);
    enum err err = read_members(g, &members, why);
    if (!err) err = part_block_parse(file, &in, &g->block, &g->arena, why);
    if (err) return err;
    const struct part_member *last = &g->members[g->count - 1];
    if (last->first + last->rows != g->block.rows || g->members[0].series != entry->series)
        return part_bad(why, "a group contradicts the directory");
    for (uint16_t i = 0; i < g->block.column_count; i++)
        g->block.columns[i].stats = (struct str){"", 0}; /* never of a member alone */
    g->columns = arena_zero(&g->arena, g->block.column_count, sizeof *g->columns);
    g->is_decoded = arena_zero(&g->arena, g->block.column_count, sizeof *g->is_decoded);
    return g->columns && g->is_decoded ? ERR_OK : ERR_BUDGET;
}

enum err part_group_read(struct part_file *file, struct codec *codec,
                         const struct part_entry *entry, struct part_group **group, struct why *why)
{
    const uint8_t *seen = NULL, *bytes = NULL;
    uint64_t bytes_read = 0;
    struct part_group *g = *group;
    MUST(entry->is_group);
    if (!g) {
        if (!(g = mem_alloc_zero(1, sizeof *g))) return ERR_NO_MEMORY;
        arena_init(&g->arena, file->budget);
        *group = g;
    }
    g->count = 0;
    arena_reset(&g->arena);
    if (entry->run_size > PART_RUN_BYTES_MAX || entry->run_size < HEAD_BYTES + 4)
        return part_bad(why, "a run has no sensible size");
    /* The columns stand before it, and are wanted next. */
    enum err err =
        part_view_at(file, file->run_end, entry->run_offset, entry->run_size, &seen, why);
    if (!err && !(bytes = arena_dup(&g->arena, seen, entry->run_size))) err = ERR_BUDGET;
    if (err) return err;
    file->run_end = entry->run_offset + entry->run_size;
    err = parse(file, entry, (struct str){(const char *)bytes, entry->run_size}, g, why);
    if (!err) err = decode(file, codec, g, 0, &bytes_read, why);
    if (!err) err = check_times(g, why);
    if (err) g->count = 0;
    return err;
}

void part_group_free(struct part_group *group)
{
    if (!group) return;
    arena_free(&group->arena);
    mem_free(group);
}

uint32_t part_group_find(const struct part_group *group, uint32_t series)
{
    uint32_t low = 0, high = group->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (group->members[middle].series == series) return middle;
        if (group->members[middle].series < series)
            low = middle + 1;
        else
            high = middle;
    }
    return UINT32_MAX;
}

/* ---- a member ---- */

enum err part_group_run(struct part_group *group, uint32_t member, struct arena *arena,
                        struct part_run *run)
{
    MUST(member < group->count && group->is_decoded[0]);
    const struct part_member *m = &group->members[member];
    struct part_block *block = arena_alloc(arena, sizeof *block);
    if (!block) return ERR_BUDGET;
    *block = group->block;
    block->rows = m->rows;
    block->min_time_ns = group->columns[0].i[m->first];
    block->max_time_ns = group->columns[0].i[m->first + m->rows - 1];
    block->group = group;
    block->group_row = m->first;
    *run = (struct part_run){.series = m->series,
                             .table = group->table,
                             .path = m->path,
                             .block_count = 1,
                             .blocks = block};
    return ERR_OK;
}

enum err part_group_column(struct part_file *file, struct codec *codec,
                           const struct part_block *block, const struct part_column *column,
                           struct arena *arena, struct vector *v, uint64_t *bytes_read,
                           struct why *why)
{
    struct part_group *g = block->group;
    MUST(block->rows > 0);
    size_t at = (size_t)(column - g->block.columns);
    MUST(at < g->block.column_count && block->group_row + block->rows <= g->block.rows);
    enum err err = decode(file, codec, g, at, bytes_read, why);
    if (err) return err;
    const struct vector *from = &g->columns[at];
    uint32_t row = block->group_row, count = block->rows;
    size_t element = vector_element_bytes(from->type);
    err = vector_make(v, arena, from->type, count, from->null != NULL, from->quality != NULL);
    if (err) return ERR_BUDGET;
    v->count = count;
    memcpy(v->data, (const char *)from->data + row * element, count * element);
    if (from->null) memcpy(v->null, from->null + row, count);
    if (from->quality) memcpy(v->quality, from->quality + row, count * sizeof *v->quality);
    if (type_bytes(from->type)) return ERR_OK;
    for (uint32_t i = 0; i < count; i++) {
        if (vector_is_null(v, i) || !v->s[i].size) continue;
        if (!(v->s[i].at = arena_dup(arena, v->s[i].at, v->s[i].size))) return ERR_BUDGET;
    }
    return ERR_OK;
}

bool part_group_is_decoded(const struct part_block *block, const struct part_column *column)
{
    const struct part_group *g = block->group;
    MUST((size_t)(column - g->block.columns) < g->block.column_count);
    return g->is_decoded[column - g->block.columns];
}
