/* scan_part.c - runs over the blocks of one series in one part; see scan.h.
 *
 * Whatever cannot be read is left out, counted, and told once (SHOW HEALTH): a statement answers
 * with the rest. Only missing memory ends it. */
#include "store/scan.h"
#include <inttypes.h>
#include <stdio.h>

/* Turns a failure of reading into "left out"; memory and conflicts stay errors. */
static enum err isolate(struct sql_scan *scan, struct scan_part *part, enum err err,
                        struct why *why)
{
    if (!err || err == ERR_NO_MEMORY || err == ERR_BUDGET || err == ERR_CONFLICT) return err;
    char object[64];
    snprintf(object, sizeof object, "part %016" PRIx64, part->part->info.id);
    health_note(scan->store, STORE_ERROR, object, "%s", why_text(why, err));
    metric_add(scan->store->context, METRIC_STORE_DAMAGED, 1);
    scan->stats.damaged++;
    if (why) *why = WHY_NONE;
    return ERR_OK;
}

/* ---- files ---- */

static enum err open_file(struct sql_scan *scan, struct scan_part *part, struct why *why)
{
    if (part->file.file) return ERR_OK;
    enum err err = part_file_open(scan->store->context->os, part->part->path, &part->file, why);
    if (err) return err;
    struct scan_part **slot = &scan->open_files[scan->file_next++ % SCAN_FILES_MAX];
    if (*slot) part_file_close(&(*slot)->file);
    *slot = part;
    return ERR_OK;
}

static enum err look_up_table(struct sql_scan *scan, struct scan_part *part, struct why *why)
{
    if (part->looked) return ERR_OK;
    part->cursor = arena_alloc(&scan->fixed, sizeof *part->cursor);
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
    return block->max_time_ns >= r->time_from_ns &&
           (block->min_time_ns < r->time_to_ns || r->time_to_ns == INT64_MAX);
}

static enum err read_block(struct sql_scan *scan, struct run *run, const struct part_block *block,
                           struct why *why)
{
    struct part_file *file = &run->part->file;
    struct vector time;
    enum err err = open_file(scan, run->part, why);
    if (!err)
        err = part_block_column(file, scan->zstd, block, &block->columns[0], &run->rows, &time,
                                &scan->stats.bytes, why);
    for (size_t i = 0; i < scan->request.column_count && !err; i++) {
        const struct part_column *column = part_block_find(block, scan->request.columns[i]);
        err = column ? part_block_column(file, scan->zstd, block, column, &run->rows,
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
    return run->at < run->end && scan->request.newest_first ? run_reverse(scan, run) : ERR_OK;
}

enum err run_next_part(struct sql_scan *scan, struct run *run, struct why *why)
{
    run->at = run->end = 0;
    while (run->block < run->blocks.block_count && run->at == run->end) {
        uint32_t index = run->block++;
        if (scan->request.newest_first) index = run->blocks.block_count - 1 - index;
        const struct part_block *block = &run->blocks.blocks[index];
        if (!block_wanted(scan, block)) continue;
        arena_reset(&run->rows);
        enum err err = isolate(scan, run->part, read_block(scan, run, block, why), why);
        if (err) return err;
    }
    return ERR_OK;
}

static enum err find_run(struct sql_scan *scan, struct run *run, struct why *why)
{
    struct scan_part *part = run->part;
    const struct part_entry *entry = NULL;
    run->blocks.block_count = 0;
    enum err err = open_file(scan, part, why);
    if (!err) err = look_up_table(scan, part, why);
    if (err) {
        part->broken = err != ERR_NO_MEMORY && err != ERR_BUDGET;
        return err;
    }
    if (!part->cursor->found) return ERR_OK;
    err = part_cursor_find(&part->file, part->cursor, scan->series->id, &entry, why);
    if (err || !entry) return err;
    if (entry->table != scan->series->table_id)
        return why_set(why, ERR_CORRUPT, "part: the directory is not in order");
    if (entry->max_time_ns < scan->request.time_from_ns) return ERR_OK;
    err = part_run_read(&part->file, entry, &run->index, &run->blocks, why);
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
    run->blocks.block_count = 0;
    if (run->part->broken) return ERR_OK;
    return isolate(scan, run->part, find_run(scan, run, why), why);
}
