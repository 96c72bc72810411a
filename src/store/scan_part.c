/* scan_part.c - runs over the blocks of one series in one part; see scan.h.
 *
 * Whatever cannot be read is left out, counted, and told once (SHOW HEALTH): a statement answers
 * with the rest. Only missing memory ends it; and a disk that fails, where a cursor would go past
 * what it does not give (since.h). */
#include "store/part_group.h"
#include "store/scan.h"
#include <inttypes.h>
#include <stdio.h>

/* Turns a failure of reading into "left out"; memory and conflicts stay errors. */
static enum err isolate(struct sql_scan *scan, struct scan_part *part, enum err err,
                        struct why *why)
{
    if (!err || err == ERR_NO_MEMORY || err == ERR_BUDGET || err == ERR_CONFLICT) return err;
    if (err == ERR_IO && scan->snapshot->waits) return err;
    char object[64];
    snprintf(object, sizeof object, "part %016" PRIx64, part->part->info.id);
    health_note(scan->store, STORE_ERROR, object, "%s", why_text(why, err));
    metric_add(scan->store->context, METRIC_STORE_DAMAGED, 1);
    scan->stats.damaged++;
    uint8_t hurt = err == ERR_IO ? PART_UNREAD : PART_DAMAGED;
    if (atomic_load(&part->part->hurt) < hurt) atomic_store(&part->part->hurt, hurt);
    scan->lost = true;
    if (why) *why = WHY_NONE;
    return ERR_OK;
}

/* ---- files ---- */

static enum err open_file(struct sql_scan *scan, struct scan_part *part, struct why *why)
{
    if (part->file.file) return ERR_OK;
    enum err err =
        part_file_open(scan->store->context->os, part->part->path, scan->budget, &part->file, why);
    if (err) return err;
    struct scan_part **slot = &scan->open_files[scan->file_next++ % SCAN_FILES_MAX];
    if (*slot) part_file_close(&(*slot)->file);
    *slot = part;
    return ERR_OK;
}

static enum err look_up_table(struct sql_scan *scan, struct scan_part *part, struct why *why)
{
    if (part->looked) return ERR_OK;
    part->cursor = arena_zero(&scan->fixed, 1, sizeof *part->cursor);
    if (!part->cursor) return ERR_BUDGET;
    enum err err = part_cursor_open(&part->file, scan->handle->schema->table_id, part->cursor, why);
    part->looked = !err;
    if (!err) scan->stats.parts++;
    return err;
}

/* ---- blocks ---- */

static bool block_wanted(const struct sql_scan *scan, const struct part_block *block)
{
    const struct sql_scan_request *r = &scan->request;
    return block->version > scan->snapshot->above && block->max_time_ns >= r->time_from_ns &&
           (block->min_time_ns < r->time_to_ns || r->time_to_ns == INT64_MAX);
}

/* Whether what the scan wants of a group's block was wanted by a neighbour before. */
static bool is_decoded(const struct sql_scan *scan, const struct part_block *block)
{
    for (size_t i = 0; i < scan->request.column_count; i++) {
        const struct part_column *column = part_block_find(block, scan->request.columns[i]);
        if (column && !part_group_is_decoded(block, column)) return false;
    }
    return true;
}

/* What lies between the time and the last column wanted is read at once, if much of it is wanted.
 */
enum err run_read_ahead(struct sql_scan *scan, struct run *run, const struct part_block *block,
                        struct why *why)
{
    struct part_file *file = &run->part->file;
    const struct part_column *last = &block->columns[0];
    if (block->group && is_decoded(scan, block)) return ERR_OK;
    enum err err = open_file(scan, run->part, why);
    if (err) return err;
    uint64_t wanted = last->size;
    for (size_t i = 0; i < scan->request.column_count; i++) {
        const struct part_column *column = part_block_find(block, scan->request.columns[i]);
        if (!column) continue;
        wanted += column->size;
        if (column->offset > last->offset) last = column;
    }
    uint64_t end = (uint64_t)last->offset + last->size;
    if (end > wanted * 4 || end > UINT32_MAX) return ERR_OK;
    return part_block_ahead(file, block, block->columns[0].offset, (uint32_t)end, why);
}

static enum err read_block(struct sql_scan *scan, struct run *run, const struct part_block *block,
                           struct why *why)
{
    struct part_file *file = &run->part->file;
    struct vector time;
    enum err err = run_read_ahead(scan, run, block, why);
    if (!err)
        err = part_block_column(file, &scan->codec, block, &block->columns[0], &run->rows, &time,
                                &scan->stats.bytes, why);
    for (size_t i = 0; i < scan->request.column_count && !err; i++) {
        const struct part_column *column = part_block_find(block, scan->request.columns[i]);
        err = column ? part_block_column(file, &scan->codec, block, column, &run->rows,
                                         &run->columns[i], &scan->stats.bytes, why)
                     : scan_absent(&run->rows, &run->columns[i], scan->types[i], block->rows,
                                   QUALITY_NO_DATA);
    }
    if (!err) err = run_fit_types(scan, run, why);
    if (err) return err;
    run->time = time.i;
    run->seq = NULL;
    run->version = block->version;
    scan->stats.blocks++;
    run_narrow(scan, run, block->rows);
    run_keep_span(scan, run, (uint32_t)(block - run->blocks.blocks));
    if (run->at < run->end && scan->request.newest_first) err = run_reverse(scan, run);
    return err ? err : run_hide(scan, run);
}

void run_next_part(struct sql_scan *scan, struct run *run)
{
    MUST(run->kind == RUN_PART && !run->pending && !run->slices);
    run->at = run->end = 0;
    run->pending = NULL;
    while (run->block < run->blocks.block_count && !run->pending) {
        uint32_t index = run->block++;
        if (scan->request.newest_first) index = run->blocks.block_count - 1 - index;
        const struct part_block *block = &run->blocks.blocks[index];
        if (!block_wanted(scan, block)) continue;
        run->pending = block;
        run->pending_ns = scan->request.newest_first ? block->max_time_ns : block->min_time_ns;
    }
}

enum err run_load(struct sql_scan *scan, struct run *run, struct why *why)
{
    const struct part_block *block = run->pending;
    MUST(block && run->at == run->end && !run->slices);
    run->pending = NULL;
    arena_reset(&run->rows);
    enum err err = isolate(scan, run->part, read_block(scan, run, block, why), why);
    if (!err) return ERR_OK;
    run->at = run->end = 0;
    return err;
}

/* ---- summaries ---- */

static bool summarise_column(struct sql_scan *scan, const struct part_block *block, size_t i)
{
    struct sql_summary *to = &scan->summaries[i];
    const struct part_column *column = part_block_find(block, scan->request.columns[i]);
    *to = (struct sql_summary){0};
    if (!column) return true; /* absent in every row */
    if (!part_column_summary(column, block->rows, to)) return false;
    if (to->has_values && column->type != (uint8_t)scan->types[i]) return false; /* widened since */
    return to->count == block->rows || !scan->request.summary_needs_ends;
}

/* ---- what counts ---- */

/* Whether no value of the column can be within the bound, NULL never being. */
static bool is_beyond(const struct part_column *column, uint32_t rows, enum type type,
                      const struct sql_bound *bound)
{
    struct sql_summary s;
    if (!column) return true; /* NULL in every row */
    if (column->type != (uint8_t)type || !part_column_summary(column, rows, &s)) return false;
    if (s.count == 0) return true;
    if (!s.has_values) return false;
    int least = value_compare(&s.least, &bound->value),
        most = value_compare(&s.most, &bound->value);
    switch (bound->compare) {
    case SQL_LESS: return least >= 0;
    case SQL_LESS_EQUAL: return least > 0;
    case SQL_MORE: return most <= 0;
    case SQL_MORE_EQUAL: return most < 0;
    case SQL_EQUAL: return least > 0 || most < 0;
    }
    return false;
}

bool run_pass_by(struct sql_scan *scan, struct run *run)
{
    const struct sql_scan_request *r = &scan->request;
    const struct part_block *block = run->pending;
    MUST(block && r->bound_count <= SQL_BOUNDS_MAX);
    for (size_t i = 0; i < r->bound_count; i++) {
        size_t at = r->bounds[i].column;
        if (!is_beyond(part_block_find(block, r->columns[at]), block->rows, scan->types[at],
                       &r->bounds[i]))
            continue;
        run->pending = NULL;
        scan->stats.passed_by++;
        return true;
    }
    return false;
}

/* The whole pending block. */
static bool summarise_block(struct sql_scan *scan, struct run *run, struct sql_chunk *out)
{
    const struct sql_scan_request *r = &scan->request;
    const struct part_block *block = run->pending;
    if (block->min_time_ns < r->time_from_ns ||
        (block->max_time_ns >= r->time_to_ns && r->time_to_ns != INT64_MAX))
        return false;
    if (!r->summarises(r->summary_context, block->min_time_ns, block->max_time_ns)) return false;
    for (size_t i = 0; i < r->column_count; i++)
        if (!summarise_column(scan, block, i)) return false;
    if (vector_make(&out->time, &scan->scratch, TYPE_TIMESTAMP, 1, false, false)) return false;
    out->time.i[0] = block->min_time_ns;
    out->time.count = 1;
    out->row_count = block->rows;
    out->summaries = scan->summaries;
    out->summary_last_ns = block->max_time_ns;
    scan->stats.summaries++;
    run->pending = NULL;
    return true;
}

bool run_summarise(struct sql_scan *scan, struct run *run, struct sql_chunk *out)
{
    const struct sql_scan_request *r = &scan->request;
    const struct part_block *block = run->pending;
    if (!r->summarises || r->newest_first || r->want_received) return false;
    if (!run->slices &&
        deleted_touches(&scan->deleted, block->min_time_ns, block->max_time_ns, block->version))
        return false;
    return (!run->slices && summarise_block(scan, run, out)) || run_slice(scan, run, out);
}

static enum err find_run(struct sql_scan *scan, struct run *run, struct why *why)
{
    struct scan_part *part = run->part;
    const struct part_entry *entry = NULL;
    run->blocks.block_count = 0;
    bool knows = part->looked && part_cursor_knows(part->cursor, scan->series->id);
    enum err err = knows ? ERR_OK : open_file(scan, part, why);
    if (!err) err = look_up_table(scan, part, why);
    if (err) {
        part->broken = err != ERR_NO_MEMORY && err != ERR_BUDGET;
        return err;
    }
    if (!part->cursor->found) return ERR_OK;
    err = part_cursor_find(&part->file, &scan->codec, part->cursor, scan->series->id, &entry, why);
    if (err || !entry) return err;
    if (entry->table != scan->series->table_id)
        return why_set(why, ERR_CORRUPT, "part: the directory is not in order");
    if (entry->max_time_ns < scan->request.time_from_ns) return ERR_OK;
    if (!entry->group) err = open_file(scan, part, why);
    if (!err) err = part_run_read(&part->file, entry, &run->index, &run->blocks, why);
    if (!err && !str_equal(run->blocks.path, scan->series->path))
        err =
            why_set(why, ERR_CORRUPT, "part: rows of device %.*s stand where those of %.*s should",
                    (int)run->blocks.path.size, run->blocks.path.at, (int)scan->series->path.size,
                    scan->series->path.at);
    if (err) run->blocks.block_count = 0;
    return err;
}

enum err run_open_part(struct sql_scan *scan, struct run *run, struct why *why)
{
    run->kind = RUN_PART;
    run->is_unique = true;
    run->block = 0;
    run->pending = NULL;
    run->blocks.block_count = 0;
    run->at = run->end = 0;
    scan->lost |= run->part->broken;
    if (run->part->broken) return ERR_OK;
    bool taken;
    enum err err = run_take_span(scan, run, &taken);
    if (err || taken) return err;
    return isolate(scan, run->part, find_run(scan, run, why), why);
}
