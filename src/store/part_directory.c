/* part_directory.c - which series a part has, and where; see part.h.
 *
 * A scan asks for one series after the other, most of which are neighbours. So a cursor answers
 * from the page and the group that it holds where it can, goes on to the page that follows, and
 * searches only when it was asked for something else. */
#include "base/hash.h"
#include "base/mem.h"
#include "store/part_group.h"
#include "store/part_read.h"

static void forget_group(struct part_cursor *cursor)
{
    part_group_free(cursor->group);
    cursor->group = NULL;
    cursor->group_from = cursor->group_to = 0;
}

void part_cursor_close(struct part_cursor *cursor)
{
    if (cursor) forget_group(cursor);
}

/* ---- tables ---- */

static enum err read_tables(struct part_file *file, uint8_t **bytes, struct why *why)
{
    size_t size = file->table_count * part_table_bytes(file);
    if (!(*bytes = mem_alloc(size + 4))) return ERR_NO_MEMORY;
    enum err err = part_read_at(file, file->tables, *bytes, size + 4, why);
    struct reader crc = reader_of(*bytes + size, 4);
    if (!err && hash_crc32c(0, *bytes, size) != reader_le32(&crc))
        err = part_bad(why, "the list of tables is damaged");
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
    struct reader in = reader_of(bytes, file->table_count * part_table_bytes(file));
    for (uint32_t i = 0; *ids && i < file->table_count; i++) {
        (*ids)[i] = reader_le32(&in);
        reader_skip(&in, part_table_bytes(file) - 4);
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
    forget_group(cursor);
    struct reader in = reader_of(bytes, file->table_count * part_table_bytes(file));
    for (uint32_t i = 0; i < file->table_count && !cursor->found; i++) {
        cursor->found = reader_le32(&in) == table;
        cursor->first = reader_le32(&in);
        cursor->count = reader_le32(&in);
        cursor->group_count = file->version < 3 ? 0 : reader_le32(&in);
    }
    mem_free(bytes);
    uint64_t count = (uint64_t)cursor->count + cursor->group_count;
    if (cursor->found && (count == 0 || cursor->first > file->entry_count ||
                          count > file->entry_count - cursor->first))
        return part_bad(why, "the list of tables contradicts the directory");
    return ERR_OK;
}

/* ---- the directory ---- */

static void read_entry(const struct part_file *file, struct reader *in, struct part_entry *entry)
{
    entry->table = reader_le32(in);
    entry->series = reader_le32(in);
    entry->run_offset = reader_le64(in);
    entry->run_size = reader_le32(in);
    entry->rows = reader_le32(in);
    entry->is_group = file->version >= 3 && entry->rows & PART_ENTRY_GROUP;
    if (entry->is_group) entry->rows -= PART_ENTRY_GROUP;
    entry->group = NULL;
    entry->member = 0;
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
    cursor->has_below = false;
    uint64_t offset = file->directory + (uint64_t)page * sizeof bytes;
    enum err err = part_read_at(file, offset, bytes, size + 4, why);
    if (err) return err;
    struct reader in = reader_of(bytes, size + 4);
    for (uint32_t i = 0; i < count; i++) read_entry(file, &in, &cursor->entries[i]);
    if (hash_crc32c(0, bytes, size) != reader_le32(&in))
        return part_bad(why, "a page of the directory is damaged");
    cursor->page = page;
    cursor->page_count = count;
    return ERR_OK;
}

static enum err entry_at(struct part_file *file, struct part_cursor *cursor, uint32_t index,
                         const struct part_entry **entry, struct why *why)
{
    uint32_t page = index / PART_PAGE_ENTRIES;
    MUST(index < file->entry_count);
    enum err err =
        cursor->page_count && cursor->page == page ? ERR_OK : load_page(file, cursor, page, why);
    *entry = &cursor->entries[index % PART_PAGE_ENTRIES];
    return err;
}

enum err part_file_entry(struct part_file *file, struct part_cursor *cursor, uint32_t index,
                         const struct part_entry **entry, struct why *why)
{
    MUST(index < file->entry_count);
    return entry_at(file, cursor, index, entry, why);
}

enum err part_file_schemas(struct part_file *file, uint8_t **bytes, size_t *size, struct why *why)
{
    uint64_t end = file->size - PART_TAIL_BYTES;
    *bytes = NULL;
    if (file->schemas > end || end - file->schemas < 4 || end - file->schemas > PART_RAW_BYTES_MAX)
        return part_bad(why, "the tail contradicts itself");
    *size = (size_t)(end - file->schemas) - 4;
    if (!(*bytes = mem_alloc(*size + 4))) return ERR_NO_MEMORY;
    enum err err = part_read_at(file, file->schemas, *bytes, *size + 4, why);
    struct reader crc = reader_of(*bytes + *size, 4);
    if (!err && hash_crc32c(0, *bytes, *size) != reader_le32(&crc))
        err = part_bad(why, "the schemas are damaged");
    if (!err) return ERR_OK;
    mem_free(*bytes);
    *bytes = NULL;
    return err;
}

/* ---- finding a series that has a run of its own ---- */

/* Among the entries [low, high) of the directory. */
static enum err search(struct part_file *file, struct part_cursor *cursor, uint32_t low,
                       uint32_t high, uint32_t series, const struct part_entry **entry,
                       struct why *why)
{
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

/* The table's entries [*from, *to) on the page held; false: none. */
static bool held_entries(const struct part_cursor *cursor, uint32_t *from, uint32_t *to)
{
    uint32_t first = cursor->page * PART_PAGE_ENTRIES, end = first + cursor->page_count;
    if (!cursor->page_count) return false;
    *from = first > cursor->first ? first : cursor->first;
    *to = end < cursor->first + cursor->count ? end : cursor->first + cursor->count;
    return *from < *to;
}

/* What the page held says of the series: it is at *entry, or nowhere (NULL). False: nothing. */
static bool page_knows(const struct part_cursor *cursor, uint32_t series,
                       const struct part_entry **entry)
{
    uint32_t from, to;
    *entry = NULL;
    if (cursor->count == 0) return true;
    if (!held_entries(cursor, &from, &to)) return false;
    const struct part_entry *first = &cursor->entries[from % PART_PAGE_ENTRIES],
                            *last = &cursor->entries[(to - 1) % PART_PAGE_ENTRIES];
    if (series < first->series)
        return from == cursor->first || (cursor->has_below && series > cursor->below);
    if (series > last->series) return to == cursor->first + cursor->count;
    for (uint32_t low = 0, high = to - from; low < high;) {
        uint32_t middle = low + (high - low) / 2;
        if (first[middle].series == series) {
            *entry = &first[middle];
            return true;
        }
        if (first[middle].series < series)
            low = middle + 1;
        else
            high = middle;
    }
    return true;
}

static enum err find_entry(struct part_file *file, struct part_cursor *cursor, uint32_t series,
                           const struct part_entry **entry, struct why *why)
{
    uint32_t from, to;
    if (page_knows(cursor, series, entry)) return ERR_OK;
    if (held_entries(cursor, &from, &to) &&
        cursor->entries[(to - 1) % PART_PAGE_ENTRIES].series < series) {
        uint32_t below = cursor->entries[(to - 1) % PART_PAGE_ENTRIES].series;
        enum err err = entry_at(file, cursor, to, entry, why); /* the next page's first */
        if (err) return err;
        if ((*entry)->series <= below) return part_bad(why, "the directory is not in order");
        cursor->below = below;
        cursor->has_below = true;
        if (page_knows(cursor, series, entry)) return ERR_OK;
    }
    return search(file, cursor, cursor->first, cursor->first + cursor->count, series, entry, why);
}

/* ---- finding a member of a group ---- */

enum err part_cursor_load(struct part_file *file, struct codec *codec, struct part_cursor *cursor,
                          const struct part_entry *entry, uint32_t *count, struct why *why)
{
    struct part_entry one = *entry;
    MUST(one.is_group);
    cursor->group_from = cursor->group_to = 0;
    enum err err = part_group_read(file, codec, &one, &cursor->group, why);
    cursor->member = one;
    *count = err ? 0 : cursor->group->count;
    return err;
}

const struct part_entry *part_cursor_member(struct part_cursor *cursor, uint32_t member)
{
    MUST(cursor->group && member < cursor->group->count);
    struct part_entry *e = &cursor->member;
    e->is_group = false;
    e->group = cursor->group;
    e->member = member;
    e->series = cursor->group->members[member].series;
    e->rows = cursor->group->members[member].rows;
    return e;
}

/* The last group that does not begin behind the series becomes the one held, if there is one. */
static enum err seek_group(struct part_file *file, struct codec *codec, struct part_cursor *cursor,
                           uint32_t series, struct why *why)
{
    uint32_t first = cursor->first + cursor->count, low = first, high = first + cursor->group_count,
             count;
    const struct part_entry *entry = NULL;
    enum err err = ERR_OK;
    while (low < high && !err) {
        uint32_t middle = low + (high - low) / 2;
        err = entry_at(file, cursor, middle, &entry, why);
        if (err) return err;
        if (!entry->is_group) return part_bad(why, "the directory is not in order");
        if (entry->series <= series)
            low = middle + 1;
        else
            high = middle;
    }
    uint32_t to = UINT32_MAX;
    if (low < first + cursor->group_count) {
        if ((err = entry_at(file, cursor, low, &entry, why))) return err;
        to = entry->series;
    }
    if (low == first) { /* before the first one */
        part_group_free(cursor->group);
        cursor->group = NULL;
        cursor->group_from = 0;
        cursor->group_to = to;
        return ERR_OK;
    }
    if ((err = entry_at(file, cursor, low - 1, &entry, why))) return err;
    uint32_t from = entry->series;
    err = part_cursor_load(file, codec, cursor, entry, &count, why);
    if (err) return err;
    cursor->group_from = from;
    cursor->group_to = to;
    return ERR_OK;
}

/* Whether the group held is the one that would have the series; then *entry is its, or NULL. */
static bool group_knows(struct part_cursor *cursor, uint32_t series,
                        const struct part_entry **entry)
{
    *entry = NULL;
    if (!cursor->group_count) return true;
    if (series < cursor->group_from || series >= cursor->group_to) return false;
    uint32_t member = cursor->group ? part_group_find(cursor->group, series) : UINT32_MAX;
    if (member != UINT32_MAX) *entry = part_cursor_member(cursor, member);
    return true;
}

enum err part_cursor_find(struct part_file *file, struct codec *codec, struct part_cursor *cursor,
                          uint32_t series, const struct part_entry **entry, struct why *why)
{
    if (group_knows(cursor, series, entry) && *entry) return ERR_OK;
    enum err err = find_entry(file, cursor, series, entry, why);
    if (err || *entry || group_knows(cursor, series, entry)) return err;
    err = seek_group(file, codec, cursor, series, why);
    if (!err) (void)group_knows(cursor, series, entry);
    return err;
}

bool part_cursor_knows(struct part_cursor *cursor, uint32_t series)
{
    const struct part_entry *entry;
    if (!group_knows(cursor, series, &entry)) return false;
    return entry || page_knows(cursor, series, &entry);
}
