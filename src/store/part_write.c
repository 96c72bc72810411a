/* part_write.c - writing one part; see part.h.
 *
 * Nothing is visible before part_writer_finish: the file grows under another name, and only after
 * its sync gets its own. Memory: one column of one block, one run, one group, and the directory.
 *
 * An error sticks: whoever writes goes on as if nothing were, and finish tells. So the callers'
 * loops stay simple; in return every function here must do no harm after an error.
 *
 * Called by: seal.c (from the head), compact.c (from parts), doctor_part.c (what is readable of a
 * damaged one), each on one task.
 * Owns: the file, all buffers, the pending group; the codec is the caller's.
 * Invariants: the order of calls (enum part_writer_state); tables ascend, in each the series with
 * runs of their own, and apart from those the members of groups; times of a series ascend over its
 * blocks, ids of columns within one; and what a reader demands of sizes and counts (check_tail,
 * part_run_read, read_members) is asserted or refused here, for a part that cannot be read costs
 * the rows that it took over. */
#include "base/hash.h"
#include "base/mem.h"
#include "store/part_column.h"
#include "store/part_group.h"
#include "store/part_read.h"
#include "store/catalog.h"
#include "store/record.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

_Static_assert((int)PART_PATH_BYTES_MAX == (int)SERIES_PATH_MAX, "a reader takes every path");
enum { OUT_BYTES = 256 * 1024, CRC_BYTES = 4 };
static const char head_magic[8] = {'M', 'I', 'L', 'L', 'P', 'A', 'R', 'T'};
static const char tail_magic[8] = {'M', 'I', 'L', 'L', 'T', 'A', 'I', 'L'};

void part_path(char *out, size_t size, const char *folder, uint64_t id)
{
    snprintf(out, size, "%s/%016" PRIx64 ".part", folder, id);
}

static void stick(struct part_writer *w, enum err err)
{
    if (!w->err) w->err = err;
}

static void flush_out(struct part_writer *w, struct why *why)
{
    if (buf_failed(&w->out)) stick(w, ERR_NO_MEMORY);
    if (!w->err) stick(w, w->os->ops->file_write(w->file, w->offset, w->out.at, w->out.size, why));
    w->offset += w->out.size;
    buf_clear(&w->out);
}

static uint64_t position(const struct part_writer *w)
{
    return w->offset + w->out.size;
}

static void add_header(struct part_writer *w)
{
    struct buf *out = &w->out;
    buf_add(out, head_magic, sizeof head_magic);
    buf_add_le32(out, PART_VERSION);
    buf_add_le32(out, 0);
    buf_add_le64(out, w->info.id);
    buf_add_le64(out, w->info.origin);
    buf_add_le64(out, (uint64_t)w->info.class_ns);
    buf_add_le64(out, (uint64_t)w->info.partition_from_ns);
    buf_add_le64(out, (uint64_t)w->info.partition_to_ns);
    buf_add_le64(out, 0);
    if (buf_failed(out)) return;
    MUST(out->size == PART_HEADER_BYTES);
    record_put_le32(out->at + 12, hash_crc32c(0, out->at, PART_HEADER_BYTES));
}

enum err part_writer_open(struct part_writer *w, struct os *os, const char *folder,
                          const struct part_info *info, struct codec *codec, struct why *why)
{
    *w = (struct part_writer){.os = os, .info = *info, .codec = codec};
    w->info.tables = NULL;
    w->info.table_count = 0;
    w->info.rows = 0;
    w->info.min_time_ns = INT64_MAX;
    w->info.max_time_ns = INT64_MIN;
    MUST(str_copy(w->folder, sizeof w->folder, str_of(folder)));
    part_path(w->path, sizeof w->path, folder, info->id);
    snprintf(w->fresh, sizeof w->fresh, "%s/%016" PRIx64 ".new", folder, info->id);
    enum err err = os->ops->file_open(os, w->fresh, OS_FILE_WRITE | OS_FILE_CREATE, &w->file, why);
    if (!err) err = os->ops->file_truncate(w->file, 0, why);
    if (err) {
        part_writer_abort(w);
        return err;
    }
    w->state = PART_WRITER_IN_PART;
    add_header(w);
    return ERR_OK;
}

static void add_entry(struct buf *out, uint32_t table, uint32_t series, uint64_t offset,
                      size_t size, uint32_t rows, int64_t min_ns, int64_t max_ns)
{
    buf_add_le32(out, table);
    buf_add_le32(out, series);
    buf_add_le64(out, offset);
    buf_add_le32(out, (uint32_t)size);
    buf_add_le32(out, rows);
    buf_add_le64(out, (uint64_t)min_ns);
    buf_add_le64(out, (uint64_t)max_ns);
}

/* ---- blocks and runs ---- */

static void begin_block(struct part_writer *w, uint32_t rows, int64_t min, int64_t max)
{
    w->block_offset = position(w);
    w->block_columns = 0;
    w->block_at = w->run.size;
    buf_add_le64(&w->run, w->block_offset);
    buf_add_le64(&w->run, w->info.origin);
    buf_add_le64(&w->run, w->info.version);
    buf_add_le64(&w->run, (uint64_t)min);
    buf_add_le64(&w->run, (uint64_t)max);
    buf_add_le32(&w->run, rows);
    buf_add_le32(&w->run, 0); /* columns, flags */
    buf_add_varint(&w->run, 0);
}

static void add_column(struct part_writer *w, uint16_t id, const struct vector *v, bool with_stats)
{
    if (w->err) return;
    struct part_column column;
    uint64_t offset = position(w) - w->block_offset;
    MUST(w->block_columns ? id > w->last_column : id == 0); /* as the reader wants it */
    if (offset > UINT32_MAX) stick(w, ERR_LIMIT);
    buf_clear(&w->scratch);
    if (!w->err) stick(w, part_column_encode(w->codec, v, &w->out, &w->scratch, &column));
    if (w->err) return;
    if (!with_stats) buf_clear(&w->scratch);
    buf_add_varint(&w->run, id);
    buf_add_char(&w->run, (char)column.type);
    buf_add_char(&w->run, (char)column.codec);
    buf_add_varint(&w->run, column.size);
    buf_add_le32(&w->run, column.crc);
    buf_add_varint(&w->run, w->scratch.size);
    buf_add_str(&w->run, buf_str(&w->scratch));
    w->last_column = id;
    w->block_columns++;
    if (w->out.size > OUT_BYTES) flush_out(w, NULL);
}

static void end_block(struct part_writer *w)
{
    MUST(w->err || w->block_columns > 0); /* the time at least */
    w->blocks++;
    if (buf_failed(&w->run)) stick(w, ERR_NO_MEMORY);
    if (!w->err) record_put_le32(w->run.at + w->block_at + 44, w->block_columns); /* flags stay 0 */
}

/* The run goes behind its blocks; gives where. */
static uint64_t end_run(struct part_writer *w)
{
    if (buf_failed(&w->run)) stick(w, ERR_NO_MEMORY);
    if (w->run.size > PART_RUN_BYTES_MAX - CRC_BYTES) stick(w, ERR_LIMIT);
    if (w->err) return 0;
    buf_add_le32(&w->run, hash_crc32c(0, w->run.at, w->run.size));
    uint64_t offset = position(w);
    buf_add_str(&w->out, buf_str(&w->run));
    if (buf_failed(&w->run) || buf_failed(&w->out)) stick(w, ERR_NO_MEMORY);
    return offset;
}

/* ---- groups ---- */

static void write_group(struct part_writer *w)
{
    if (!w->pending || part_pending_is_empty(w->pending)) return;
    struct part_pending_view view = part_pending_view(w->pending);
    struct codec_habit *before = w->codec->habit;
    buf_clear(&w->run);
    buf_add_le32(&w->run, w->last_table);
    buf_add_le32(&w->run, view.series_count);
    buf_clear(&w->scratch);
    MUST(view.rows <= PART_BLOCK_ROWS && view.series_count <= PART_GROUP_ROWS);
    part_pending_list(w->pending, &w->scratch);
    if (buf_failed(&w->scratch)) stick(w, ERR_NO_MEMORY);
    buf_add_varint(&w->run, w->scratch.size);
    buf_add_str(&w->run, buf_str(&w->scratch));
    begin_block(w, view.rows, view.min_time_ns, view.max_time_ns);
    for (size_t i = 0; i < view.column_count; i++) {
        uint16_t id;
        const struct vector *v = part_pending_at(w->pending, i, &id, &w->codec->habit);
        if (v) add_column(w, id, v, false);
    }
    w->codec->habit = before;
    end_block(w);
    uint64_t offset = end_run(w);
    add_entry(&w->groups, w->last_table, view.first_series, offset, w->run.size,
              view.rows | PART_ENTRY_GROUP, view.min_time_ns, view.max_time_ns);
    w->table_groups++;
    part_pending_clear(w->pending);
}

/* Whether the series' first block joins the group. */
static bool joins(struct part_writer *w, const struct vector *time)
{
    size_t columns = w->schema_columns;
    if (w->stays_apart || w->run_blocks || time->count >= PART_SMALL_ROWS) return false;
    if (!w->pending && !(w->pending = part_pending_new())) stick(w, ERR_NO_MEMORY);
    if (w->err) return false;
    if (!part_pending_takes(w->pending, time->count, columns)) write_group(w);
    stick(w, part_pending_begin(w->pending, w->series, w->series_path, time, columns));
    return true;
}

/* The series has a second block after all, or much text: its first block gets a run of its own. */
static void leave_group(struct part_writer *w)
{
    struct part_pending_slice *slices = NULL;
    size_t count = 0;
    w->is_small = false;
    if (w->err) return; /* perhaps it never got into the group */
    stick(w, part_pending_take_back(w->pending, &slices, &count));
    if (w->err) return;
    const struct vector *time = &slices[0].v;
    begin_block(w, time->count, time->i[0], time->i[time->count - 1]);
    for (size_t i = 0; i < count; i++) add_column(w, slices[i].id, &slices[i].v, true);
    end_block(w);
}

/* ---- tables and series ---- */

static void end_table(struct part_writer *w)
{
    if (!w->last_table) return;
    MUST(w->entries >= w->first_entry && w->table_groups < PART_ENTRY_GROUP);
    uint32_t own = w->entries - w->first_entry;
    write_group(w);
    buf_add_le32(&w->tables, w->last_table);
    buf_add_le32(&w->tables, w->first_entry);
    buf_add_le32(&w->tables, own);
    buf_add_le32(&w->tables, w->table_groups);
    buf_add_str(&w->directory, buf_str(&w->groups));
    if (buf_failed(&w->groups) || buf_failed(&w->directory)) stick(w, ERR_NO_MEMORY);
    w->entries += w->table_groups;
    w->table_groups = 0;
    buf_clear(&w->groups);
}

static void begin_table(struct part_writer *w, const struct schema *schema)
{
    MUST(schema->table_id > w->last_table);
    end_table(w);
    struct part_info *info = &w->info;
    enum err err =
        mem_grow(&info->tables, &w->table_capacity, info->table_count + 1u, sizeof *info->tables);
    if (err) {
        stick(w, err);
        return;
    }
    info->tables[info->table_count++] = w->last_table = schema->table_id;
    w->first_entry = w->entries;
    w->schema_columns = schema->column_count;
    buf_clear(&w->scratch);
    catalog_write_schema(&w->scratch, schema, false);
    buf_add_varint(&w->schemas, w->scratch.size);
    buf_add_str(&w->schemas, buf_str(&w->scratch));
    if (buf_failed(&w->scratch)) stick(w, ERR_NO_MEMORY);
}

void part_writer_series(struct part_writer *w, const struct schema *schema, uint32_t series,
                        struct str path)
{
    MUST(w->state == PART_WRITER_IN_PART && path.size <= PART_PATH_BYTES_MAX);
    w->state = PART_WRITER_IN_SERIES;
    if (schema->table_id != w->last_table) begin_table(w, schema);
    w->table = schema->table_id;
    w->series = series;
    w->series_path = path;
    w->is_small = false;
    w->run_blocks = w->run_rows = 0;
    w->run_min = INT64_MAX;
    w->run_max = INT64_MIN;
}

/* Nothing stands in the run before a group may have used it. */
static void begin_run(struct part_writer *w)
{
    buf_clear(&w->run);
    buf_add_le32(&w->run, w->series);
    buf_add_le32(&w->run, w->table);
    buf_add_varint(&w->run, w->series_path.size);
    buf_add_str(&w->run, w->series_path);
    w->run_count_at = w->run.size;
    buf_add_le32(&w->run, 0);
}

void part_writer_block(struct part_writer *w, const struct vector *time)
{
    MUST(w->state == PART_WRITER_IN_SERIES && time->type == TYPE_TIMESTAMP);
    MUST(time->count > 0 && time->count <= PART_BLOCK_ROWS);
    w->state = PART_WRITER_IN_BLOCK;
    int64_t min = time->i[0], max = time->i[time->count - 1];
    MUST(min <= max && (w->run_blocks == 0 || min > w->run_max));
    bool was_small = w->is_small;
    w->is_small = joins(w, time);
    if (!w->is_small && !w->run_blocks) begin_run(w);
    if (was_small) {
        begin_run(w);
        leave_group(w);
    }
    if (min < w->run_min) w->run_min = min;
    w->run_max = max;
    w->run_rows += time->count;
    w->run_blocks++;
    if (w->is_small) return;
    begin_block(w, time->count, min, max);
    add_column(w, 0, time, true);
}

bool part_writer_fits(const struct part_writer *w, uint16_t id, enum type type)
{
    MUST(w->state == PART_WRITER_IN_BLOCK && id > 0);
    return w->err || !w->is_small || part_pending_fits(w->pending, id, type);
}

void part_writer_column(struct part_writer *w, uint16_t id, const struct vector *v)
{
    MUST(w->state == PART_WRITER_IN_BLOCK && id > 0);
    if (!w->is_small)
        add_column(w, id, v, true);
    else if (!w->err)
        stick(w, part_pending_column(w->pending, id, v, w->codec->habit != NULL));
}

void part_writer_block_end(struct part_writer *w)
{
    MUST(w->state == PART_WRITER_IN_BLOCK);
    w->state = PART_WRITER_IN_SERIES;
    if (!w->is_small) end_block(w);
}

void part_writer_series_end(struct part_writer *w)
{
    MUST(w->state == PART_WRITER_IN_SERIES && w->run_blocks > 0);
    w->state = PART_WRITER_IN_PART;
    if (w->err) return;
    if (w->is_small && part_pending_is_large(w->pending)) {
        begin_run(w);
        leave_group(w);
    }
    if (w->err) return;
    if (w->is_small) {
        if (part_pending_end(w->pending)) write_group(w);
    } else {
        if (!buf_failed(&w->run)) record_put_le32(w->run.at + w->run_count_at, w->run_blocks);
        uint64_t offset = end_run(w);
        add_entry(&w->directory, w->table, w->series, offset, w->run.size, w->run_rows, w->run_min,
                  w->run_max);
        if (buf_failed(&w->directory)) stick(w, ERR_NO_MEMORY);
        w->entries++;
    }
    w->info.rows += w->run_rows;
    if (w->run_min < w->info.min_time_ns) w->info.min_time_ns = w->run_min;
    if (w->run_max > w->info.max_time_ns) w->info.max_time_ns = w->run_max;
}

bool part_writer_is_empty(const struct part_writer *w)
{
    return w->info.rows == 0 && !w->err;
}

/* ---- the end ---- */

static void add_directory(struct part_writer *w)
{
    for (size_t at = 0; at < w->directory.size;) {
        size_t left = w->directory.size - at, page = PART_PAGE_ENTRIES * PART_ENTRY_BYTES;
        size_t size = left < page ? left : page;
        buf_add(&w->out, w->directory.at + at, size);
        buf_add_le32(&w->out, hash_crc32c(0, w->directory.at + at, size));
        at += size;
    }
}

static void add_summed(struct buf *out, const struct buf *bytes)
{
    buf_add(out, bytes->at, bytes->size);
    buf_add_le32(out, hash_crc32c(0, bytes->at, bytes->size));
}

static void add_tail(struct part_writer *w, uint64_t directory, uint64_t tables, uint64_t schemas)
{
    struct buf tail = BUF_EMPTY;
    buf_add_le64(&tail, directory);
    buf_add_le64(&tail, tables);
    buf_add_le64(&tail, schemas);
    buf_add_le32(&tail, w->entries);
    buf_add_le32(&tail, w->info.table_count);
    buf_add_le64(&tail, w->info.rows);
    buf_add_le64(&tail, w->blocks);
    buf_add_le64(&tail, (uint64_t)w->info.min_time_ns);
    buf_add_le64(&tail, (uint64_t)w->info.max_time_ns);
    buf_add_le64(&tail, w->info.version);
    buf_add_le32(&tail, (uint32_t)w->schemas.size);
    while (tail.size < PART_TAIL_BYTES - 12 && !buf_failed(&tail)) buf_add_char(&tail, 0);
    buf_add_le32(&tail, hash_crc32c(0, tail.at, tail.size));
    buf_add(&tail, tail_magic, sizeof tail_magic);
    if (buf_failed(&tail))
        stick(w, ERR_NO_MEMORY);
    else
        buf_add_str(&w->out, buf_str(&tail));
    buf_free(&tail);
}

static enum err publish(struct part_writer *w, struct why *why)
{
    const struct os_ops *ops = w->os->ops;
    enum err err = ops->file_sync(w->file, why);
    ops->file_close(w->file);
    w->file = NULL;
    if (!err) err = ops->path_rename(w->os, w->fresh, w->path, why);
    if (!err) err = ops->path_sync(w->os, w->folder, why);
    return err;
}

enum err part_writer_finish(struct part_writer *w, struct part_info *info, struct why *why)
{
    MUST(w->state == PART_WRITER_IN_PART && !part_writer_is_empty(w));
    end_table(w);
    uint64_t directory = position(w);
    add_directory(w);
    uint64_t tables = position(w);
    add_summed(&w->out, &w->tables);
    uint64_t schemas = position(w);
    add_summed(&w->out, &w->schemas);
    if (buf_failed(&w->tables) || buf_failed(&w->schemas)) stick(w, ERR_NO_MEMORY);
    /* What a reader demands of the tail (part_read.c, check_tail). */
    MUST(w->err || (w->directory.size == (size_t)w->entries * PART_ENTRY_BYTES &&
                    w->tables.size == (size_t)w->info.table_count * PART_TABLE_BYTES));
    add_tail(w, directory, tables, schemas);
    flush_out(w, why);
    if (!w->err) w->err = publish(w, why);
    enum err err = w->err;
    if (!err) {
        w->info.size_bytes = w->offset;
        *info = w->info;
        w->info.tables = NULL;
    }
    if (err && why && !why->text[0]) why_set(why, err, "part %s: %s", w->path, err_text(err));
    bool published = !err;
    if (published) w->fresh[0] = 0;
    part_writer_abort(w);
    return err;
}

void part_writer_abort(struct part_writer *w)
{
    if (w->file) w->os->ops->file_close(w->file);
    w->file = NULL;
    w->state = PART_WRITER_CLOSED;
    if (w->fresh[0])
        (void)w->os->ops->path_remove(w->os, w->fresh, NULL); /* a start removes what stays */
    buf_free(&w->out);
    buf_free(&w->run);
    buf_free(&w->directory);
    buf_free(&w->groups);
    part_pending_free(w->pending);
    w->pending = NULL;
    buf_free(&w->tables);
    buf_free(&w->schemas);
    buf_free(&w->scratch);
    mem_free(w->info.tables);
    w->info.tables = NULL;
}
