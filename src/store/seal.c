/* seal.c - see seal.h.
 *
 * Per class: the days that occur are gathered; per day all series are walked in order of (table,
 * series) and their rows of that day taken in order of time and version. A block is built column by
 * column, so only one column of one block is in memory beside the head itself. */
#include "store/seal.h"
#include "store/codec.h"
#include "base/mem.h"
#include <stdlib.h>
#include <string.h>

struct sealed_series {
    struct series *series;
    struct schema *schema; /* borrowed from `tables` */
    int64_t min_ns, max_ns;
    bool has_late;
};

struct partition {
    int64_t from_ns, to_ns;
};

/* One block's rows: row r is refs [end[r - 1], end[r]), ascending by version. */
struct rows {
    struct head_ref *refs;
    size_t ref_count, ref_capacity;
    uint32_t end[PART_BLOCK_ROWS];
    uint32_t count;
    struct vector column, time; /* arrays of PART_BLOCK_ROWS */
    uint8_t column_seen[UINT16_MAX / 8 + 1];
    struct codec_habit habits[CODEC_HABITS]; /* by column id: of all devices together */
};

/* The rows of one series from a point of time on. */
struct walk {
    struct head_chunk *main;
    uint32_t main_row;
    struct head_ref *late;
    size_t late_count, late_at;
    struct deleted deleted;
};

struct sealing {
    struct seal *seal;
    struct table_list *tables;
    struct sealed_series *series;
    size_t series_count, series_capacity;
    struct rows *rows;
    struct arena arrays, deleted_memory;
    struct codec codec;
    struct head_ref *late; /* of the series being walked */
    size_t late_capacity;
};

/* ---- what there is ---- */

static struct schema *schema_of(const struct table_list *tables, uint32_t table_id)
{
    for (uint32_t i = 0; i < tables->count; i++)
        if (tables->items[i].schema->table_id == table_id) return tables->items[i].schema;
    return NULL;
}

static struct head_chunk *next_of(struct head_chunk *chunk)
{
    return atomic_load_explicit(&chunk->next, memory_order_acquire);
}

static struct head_chunk *first_of(struct head_chain *chain)
{
    return atomic_load_explicit(&chain->first, memory_order_acquire);
}

static uint32_t count_of(struct head_chunk *chunk)
{
    return atomic_load_explicit(&chunk->count, memory_order_acquire);
}

static void widen_range(struct sealed_series *s, struct head_chain *chain)
{
    for (struct head_chunk *chunk = first_of(chain); chunk; chunk = next_of(chunk)) {
        uint32_t count = count_of(chunk);
        for (uint32_t row = 0; row < count; row++) {
            if (chunk->time[row] < s->min_ns) s->min_ns = chunk->time[row];
            if (chunk->time[row] > s->max_ns) s->max_ns = chunk->time[row];
        }
    }
}

static enum err note_series(struct sealing *s, uint32_t id)
{
    struct head_series *rows = head_find(s->seal->head, id);
    struct series *series = rows ? catalog_series(s->seal->catalog, id) : NULL;
    struct schema *schema = series ? schema_of(s->tables, series->table_id) : NULL;
    if (!schema) return ERR_OK;
    struct sealed_series found = {series, schema, INT64_MAX, INT64_MIN,
                                  first_of(&rows->late) != NULL};
    widen_range(&found, &rows->main);
    widen_range(&found, &rows->late);
    if (found.min_ns > found.max_ns) return ERR_OK;
    enum err err =
        mem_grow(&s->series, &s->series_capacity, s->series_count + 1, sizeof *s->series);
    if (!err) s->series[s->series_count++] = found;
    return err;
}

static int compare_series(const void *a, const void *b)
{
    const struct sealed_series *x = a, *y = b;
    if (x->schema->retention_ns != y->schema->retention_ns)
        return x->schema->retention_ns < y->schema->retention_ns ? -1 : 1;
    if (x->schema->table_id != y->schema->table_id)
        return x->schema->table_id < y->schema->table_id ? -1 : 1;
    return (x->series->id > y->series->id) - (x->series->id < y->series->id);
}

/* ---- partitions ---- */

static int64_t day_of(int64_t time_ns)
{
    int64_t day = time_ns / SEAL_PARTITION_NS;
    return time_ns % SEAL_PARTITION_NS < 0 ? day - 1 : day;
}

static int64_t day_ns(int64_t day)
{
    int64_t ns;
    if (!__builtin_mul_overflow(day, SEAL_PARTITION_NS, &ns)) return ns;
    return day < 0 ? INT64_MIN : INT64_MAX;
}

struct days {
    int64_t *items;
    size_t count, capacity;
};

static int compare_days(const void *a, const void *b)
{
    int64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

static void unique_days(struct days *days)
{
    if (days->count) qsort(days->items, days->count, sizeof *days->items, compare_days);
    size_t kept = 0;
    for (size_t i = 0; i < days->count; i++)
        if (!kept || days->items[kept - 1] != days->items[i]) days->items[kept++] = days->items[i];
    days->count = kept;
}

static enum err add_day(struct days *days, int64_t day)
{
    if (days->count && days->items[days->count - 1] == day) return ERR_OK;
    if (days->count == 65536) unique_days(days);
    enum err err = mem_grow(&days->items, &days->capacity, days->count + 1, sizeof *days->items);
    if (!err) days->items[days->count++] = day;
    return err;
}

static enum err add_days(struct sealing *s, const struct sealed_series *series, struct days *days)
{
    int64_t first = day_of(series->min_ns), last = day_of(series->max_ns);
    if (first == last) return add_day(days, first);
    struct head_series *rows = head_find(s->seal->head, series->series->id);
    struct head_chain *chains[] = {&rows->main, &rows->late};
    enum err err = ERR_OK;
    for (size_t i = 0; i < 2; i++)
        for (struct head_chunk *chunk = first_of(chains[i]); chunk && !err; chunk = next_of(chunk))
            for (uint32_t row = 0, count = count_of(chunk); row < count && !err; row++)
                err = add_day(days, day_of(chunk->time[row]));
    return err;
}

/* The last partition of all has no end. */
static bool ends_before(const struct partition *p, int64_t time_ns)
{
    return time_ns >= p->to_ns && p->to_ns != INT64_MAX;
}

/* ---- the rows of one series in one partition ---- */

static enum err begin_walk(struct sealing *s, const struct sealed_series *series,
                           const struct partition *p, struct walk *walk)
{
    struct head_series *rows = head_find(s->seal->head, series->series->id);
    *walk = (struct walk){.main = first_of(&rows->main)};
    arena_reset(&s->deleted_memory);
    enum err err = deleted_of(series->series, p->from_ns, p->to_ns, s->seal->version,
                              &s->deleted_memory, &walk->deleted);
    if (err) return ERR_NO_MEMORY;
    while (walk->main &&
           (count_of(walk->main) == 0 || walk->main->time[count_of(walk->main) - 1] < p->from_ns))
        walk->main = next_of(walk->main);
    while (walk->main && walk->main->time[walk->main_row] < p->from_ns) walk->main_row++;
    for (struct head_chunk *chunk = first_of(&rows->late); chunk; chunk = next_of(chunk)) {
        for (uint32_t row = 0, count = count_of(chunk); row < count; row++) {
            if (chunk->time[row] < p->from_ns || ends_before(p, chunk->time[row])) continue;
            err = mem_grow(&s->late, &s->late_capacity, walk->late_count + 1, sizeof *s->late);
            if (err) return err;
            s->late[walk->late_count++] = (struct head_ref){chunk, row};
        }
    }
    walk->late = s->late;
    head_sort_refs(walk->late, walk->late_count);
    return ERR_OK;
}

static bool next_of_any(struct walk *walk, const struct partition *p, struct head_ref *ref)
{
    while (walk->main && walk->main_row >= count_of(walk->main)) {
        walk->main = next_of(walk->main);
        walk->main_row = 0;
    }
    bool have_main = walk->main && !ends_before(p, walk->main->time[walk->main_row]);
    bool have_late = walk->late_at < walk->late_count;
    if (!have_main && !have_late) return false;
    /* Of equal times the main chain's row is the older one. */
    if (have_main && (!have_late || walk->main->time[walk->main_row] <=
                                        head_ref_time(&walk->late[walk->late_at])))
        *ref = (struct head_ref){walk->main, walk->main_row++};
    else
        *ref = walk->late[walk->late_at++];
    return true;
}

/* Rows deleted up to the position of sealing are left out: no part will hold them. Those deleted
 * later are still in a picture of that position, a backup's. */
static bool next_row(struct walk *walk, const struct partition *p, struct head_ref *ref)
{
    while (next_of_any(walk, p, ref))
        if (!deleted_hides(&walk->deleted, head_ref_time(ref), head_ref_seq(ref))) return true;
    return false;
}

static size_t slice_bytes(const struct head_ref *ref)
{
    size_t size = 0;
    for (uint32_t i = 0; i < ref->chunk->column_count; i++) {
        const struct head_column *c = &ref->chunk->columns[i];
        if (!type_bytes(c->type)) size += ((const struct str *)c->data)[ref->row].size;
    }
    return size;
}

/* Fills one block; `*ahead` is the row that did not belong to it any more (chunk NULL at the end).
 */
/* Notes which columns the chunk has; whether any of them holds slices. */
static bool see_columns(struct rows *rows, const struct head_chunk *chunk)
{
    bool has_slices = false;
    for (uint32_t i = 0; i < chunk->column_count; i++) {
        uint16_t id = chunk->columns[i].id;
        rows->column_seen[id / 8] |= (uint8_t)(1u << id % 8);
        has_slices |= type_bytes(chunk->columns[i].type) == 0;
    }
    return has_slices;
}

static enum err fill_block(struct rows *rows, struct walk *walk, const struct partition *p,
                           const struct schema *schema, struct head_ref *ahead)
{
    size_t slices = 0;
    bool has_slices = false;
    rows->ref_count = rows->count = 0;
    memset(rows->column_seen, 0, schema->next_column_id / 8u + 1);
    const struct head_chunk *last = NULL;
    while (ahead->chunk) {
        bool same = rows->count && rows->time.i[rows->count - 1] == head_ref_time(ahead);
        if (!same && (rows->count == PART_BLOCK_ROWS || slices > PART_SLICES_BYTES)) return ERR_OK;
        enum err err =
            mem_grow(&rows->refs, &rows->ref_capacity, rows->ref_count + 1, sizeof *rows->refs);
        if (err) return err;
        rows->refs[rows->ref_count++] = *ahead;
        if (!same) rows->time.i[rows->count++] = head_ref_time(ahead);
        rows->end[rows->count - 1] = (uint32_t)rows->ref_count;
        if (ahead->chunk != last) has_slices = see_columns(rows, ahead->chunk);
        last = ahead->chunk;
        if (has_slices) slices += slice_bytes(ahead);
        if (!next_row(walk, p, ahead)) ahead->chunk = NULL;
    }
    return ERR_OK;
}

/* ---- columns ---- */

struct column_reader {
    struct head_chunk *chunk;
    struct head_column *column; /* of that chunk; NULL: it has none */
    uint8_t *null;
    uint32_t *quality;
};

static void look_up(struct column_reader *r, struct head_chunk *chunk, uint16_t id)
{
    r->chunk = chunk;
    r->column = head_chunk_column(chunk, id);
    r->null = r->column ? atomic_load_explicit(&r->column->null, memory_order_acquire) : NULL;
    r->quality = r->column ? atomic_load_explicit(&r->column->quality, memory_order_acquire) : NULL;
}

static void put_cell(struct vector *v, uint32_t at, const struct column_reader *r, uint32_t row)
{
    struct vector from = {
        .type = r->column->type, .count = row + 1, .data = r->column->data, .null = r->null};
    if (from.type == v->type && (!r->null || !r->null[row])) {
        size_t element = vector_element_bytes(v->type);
        memcpy((char *)v->data + at * element, (char *)from.data + row * element, element);
        v->null[at] = 0;
    } else {
        struct value value = value_widen(vector_get(&from, row), v->type);
        vector_set(v, at, &value);
    }
    v->quality[at] = r->quality ? r->quality[row] : QUALITY_GOOD;
}

/* How many rows from `row` on are neighbours in one chunk, each with one version: most are. */
static uint32_t neighbours(const struct rows *rows, uint32_t row)
{
    uint32_t first = row ? rows->end[row - 1] : 0, n = 0;
    const struct head_ref *ref = &rows->refs[first];
    while (row + n < rows->count && rows->end[row + n] == first + n + 1 &&
           ref[n].chunk == ref->chunk && ref[n].row == ref->row + n)
        n++;
    return n;
}

/* Copies `count` neighbours; false: they are all absent, or need more than copying. */
static bool copy_cells(struct vector *v, uint32_t at, const struct column_reader *r, uint32_t row,
                       uint32_t count, bool *any)
{
    size_t element = vector_element_bytes(v->type);
    if (!r->column || r->column->type != v->type) return false;
    memcpy((char *)v->data + at * element, (const char *)r->column->data + row * element,
           count * element);
    if (r->null)
        memcpy(v->null + at, r->null + row, count);
    else
        memset(v->null + at, 0, count);
    if (r->quality)
        memcpy(v->quality + at, r->quality + row, count * sizeof *v->quality);
    else
        memset(v->quality + at, 0, count * sizeof *v->quality);
    for (uint32_t i = at; i < at + count && !*any; i++)
        *any = !v->null[i] || v->quality[i] != QUALITY_NO_DATA;
    return true;
}

/* The newest present cell of each row; false: no row has one. */
static bool fill_column(struct rows *rows, uint16_t id, enum type type)
{
    struct column_reader reader = {0};
    struct vector *v = &rows->column;
    bool any = false;
    v->type = type;
    v->count = rows->count;
    for (uint32_t row = 0; row < rows->count; row++) {
        uint32_t from = row ? rows->end[row - 1] : 0, n = neighbours(rows, row);
        if (n > 1 && rows->refs[from].chunk != reader.chunk)
            look_up(&reader, rows->refs[from].chunk, id);
        if (n > 1 && copy_cells(v, row, &reader, rows->refs[from].row, n, &any)) {
            row += n - 1;
            continue;
        }
        v->null[row] = 1;
        v->quality[row] = QUALITY_NO_DATA;
        for (uint32_t i = rows->end[row]; i-- > from;) {
            const struct head_ref *ref = &rows->refs[i];
            if (ref->chunk != reader.chunk) look_up(&reader, ref->chunk, id);
            if (!reader.column) continue;
            bool absent = reader.null && reader.null[ref->row] && reader.quality &&
                          reader.quality[ref->row] == QUALITY_NO_DATA;
            if (absent) continue;
            put_cell(v, row, &reader, ref->row);
            any = true;
            break;
        }
    }
    return any;
}

static void write_block(struct rows *rows, struct part_writer *writer, const struct schema *schema)
{
    MUST(rows->count > 0 && rows->count <= PART_BLOCK_ROWS && rows->ref_count >= rows->count);
    rows->time.count = rows->count;
    part_writer_block(writer, &rows->time);
    for (uint32_t id = 1; id < schema->next_column_id; id++) {
        if (!(rows->column_seen[id / 8] >> id % 8 & 1)) continue;
        const struct column *column = schema_column(schema, (uint16_t)id);
        writer->codec->habit = &rows->habits[id % CODEC_HABITS];
        if (column && fill_column(rows, (uint16_t)id, column->type))
            part_writer_column(writer, (uint16_t)id, &rows->column);
    }
    writer->codec->habit = NULL;
    part_writer_block_end(writer);
}

/* ---- parts ---- */

static enum err seal_series(struct sealing *s, const struct sealed_series *series,
                            const struct partition *p, struct part_writer *writer, bool *any)
{
    if (series->max_ns < p->from_ns || ends_before(p, series->min_ns)) return ERR_OK;
    struct walk walk;
    struct head_ref ahead;
    enum err err = begin_walk(s, series, p, &walk);
    if (err || !next_row(&walk, p, &ahead)) return err;
    part_writer_series(writer, series->schema, series->series->id, series->series->path);
    while (ahead.chunk && !err) {
        err = fill_block(s->rows, &walk, p, series->schema, &ahead);
        if (!err) write_block(s->rows, writer, series->schema);
    }
    if (!err) part_writer_series_end(writer);
    *any = true;
    return err;
}

static enum err seal_part(struct sealing *s, const struct sealed_series *first, size_t count,
                          const struct partition *p, struct why *why)
{
    struct seal *seal = s->seal;
    enum err err =
        mem_grow(&seal->parts, &seal->part_capacity, seal->part_count + 1, sizeof(struct part *));
    struct part_writer *writer = err ? NULL : mem_alloc(sizeof *writer);
    if (!writer) return ERR_NO_MEMORY;
    struct part_info info = {.id = seal->next_part_id++,
                             .origin = seal->origin,
                             .version = seal->version,
                             .class_ns = first->schema->retention_ns,
                             .partition_from_ns = p->from_ns,
                             .partition_to_ns = p->to_ns,
                             .untrusted = seal->untrusted};
    bool any = false;
    err = part_writer_open(writer, seal->os, seal->folder, &info, &s->codec, why);
    if (err) {
        mem_free(writer);
        return err;
    }
    for (size_t i = 0; i < count && !err; i++) err = seal_series(s, &first[i], p, writer, &any);
    if (err || !any)
        part_writer_abort(writer);
    else
        err = part_writer_finish(writer, &info, why);
    mem_free(writer);
    if (err || !any) return err;
    struct part *part = part_new(seal->os, seal->folder, &info);
    if (!part)
        return ERR_NO_MEMORY; /* the file is removed at the next start: no manifest speaks of it */
    seal->parts[seal->part_count++] = part;
    seal->rows += part->info.rows;
    return ERR_OK;
}

static enum err seal_class(struct sealing *s, const struct sealed_series *first, size_t count,
                           struct why *why)
{
    struct days days = {0};
    enum err err = ERR_OK;
    for (size_t i = 0; i < count && !err; i++) err = add_days(s, &first[i], &days);
    unique_days(&days);
    MUST(err || days.count > 0);
    size_t together = (days.count + SEAL_PARTITIONS_MAX - 1) / SEAL_PARTITIONS_MAX;
    for (size_t i = 0; i < days.count && !err; i += together) {
        size_t last = i + together < days.count ? i + together - 1 : days.count - 1;
        struct partition p = {day_ns(days.items[i]), day_ns(days.items[last] + 1)};
        err = seal_part(s, first, count, &p, why);
    }
    mem_free(days.items);
    return err;
}

static enum err make_rows(struct sealing *s)
{
    s->rows = mem_alloc_zero(1, sizeof *s->rows);
    if (!s->rows) return ERR_NO_MEMORY;
    /* The column's array serves every type in turn: it has room for the largest element. */
    enum err err =
        vector_make(&s->rows->column, &s->arrays, TYPE_TEXT, PART_BLOCK_ROWS, true, true);
    if (!err)
        err =
            vector_make(&s->rows->time, &s->arrays, TYPE_TIMESTAMP, PART_BLOCK_ROWS, false, false);
    return err;
}

enum err seal_run(struct seal *seal, struct why *why)
{
    MUST(seal->head && seal->head->magic == HEAD_MAGIC && !seal->parts && !seal->part_count);
    struct sealing s = {.seal = seal, .tables = catalog_tables(seal->catalog)};
    arena_init(&s.arrays, NULL);
    arena_init(&s.deleted_memory, NULL);
    enum err err = make_rows(&s);
    if (!err) err = codec_open(&s.codec, true);
    for (uint32_t id = 1; id <= seal->series_count && !err; id++) err = note_series(&s, id);
    if (!err && s.series_count) qsort(s.series, s.series_count, sizeof *s.series, compare_series);
    for (size_t i = 0, end; i < s.series_count && !err; i = end) {
        for (end = i + 1; end < s.series_count &&
                          s.series[end].schema->retention_ns == s.series[i].schema->retention_ns;)
            end++;
        err = seal_class(&s, &s.series[i], end - i, why);
    }
    if (err) seal_undo(seal);
    if (s.rows) mem_free(s.rows->refs);
    mem_free(s.rows);
    codec_close(&s.codec);
    mem_free(s.series);
    mem_free(s.late);
    arena_free(&s.arrays);
    arena_free(&s.deleted_memory);
    table_list_release(s.tables);
    return err;
}

void seal_undo(struct seal *seal)
{
    for (size_t i = 0; i < seal->part_count; i++) {
        atomic_store(&seal->parts[i]->dropped, true);
        part_release(seal->parts[i]);
    }
    mem_free(seal->parts);
    seal->parts = NULL;
    seal->part_count = seal->part_capacity = 0;
    seal->rows = 0;
}
