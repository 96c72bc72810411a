/* rows.c - a finished cycle becomes rows: one batch a table, or the answer of a read on demand. */
#include "collect/collect_priv.h"
#include "base/timetext.h"
#include <stdio.h>

static int64_t round_to_ms(int64_t ns)
{
    return (ns + TIME_NS_PER_MS / 2) / TIME_NS_PER_MS * TIME_NS_PER_MS;
}

/* Notes the readings where the system tables see them, and decides which are stored. */
static void settle_readings(struct cycle *cycle)
{
    struct context *context = cycle->line->collect->context;
    int64_t now = context_mono_ns(context);
    uint64_t bad = 0;
    for (size_t i = 0; i < cycle->reading_count; i++) {
        struct reading *r = &cycle->readings[i];
        bad += quality_is_bad(r->value.quality);
        point_note(r->point, &r->value, round_to_ms(cycle->devices[r->device].time_ns));
        r->is_wanted =
            r->point->column && (cycle->read || point_wants_storing(r->point, &r->value, now));
    }
    metric_add(context, METRIC_COLLECT_VALUES, cycle->reading_count - bad);
    metric_add(context, METRIC_COLLECT_BAD, bad);
}

static bool has_row(const struct cycle *cycle, const struct cycle_device *device)
{
    for (size_t i = device->first; i < device->first + device->count; i++)
        if (cycle->readings[i].is_wanted) return true;
    return false;
}

static enum err add_row(struct batch *batch, const struct cycle *cycle,
                        const struct cycle_device *entry)
{
    uint32_t index;
    const struct device *device = entry->device;
    enum err err =
        batch_add_device(batch, device->path, device->labels, device->label_count, &index);
    if (!err) err = batch_begin_row(batch, index, round_to_ms(entry->time_ns));
    for (size_t i = entry->first; !err && i < entry->first + entry->count; i++) {
        const struct reading *r = &cycle->readings[i];
        struct value value = r->value;
        if (!r->is_wanted || !r->point->column) continue;
        if (!value.is_null &&
            value.type != r->point->column->type) /* the column changed while the cycle ran */
            value = (struct value){.is_null = true, .quality = (uint32_t)QualityBadTypeMismatch};
        err = batch_set(batch, r->point->column, &value);
    }
    return err;
}

/* The rows of devices first … last-1, which share a table. `*batch` NULL with OK: there is nothing
 * to store. */
static enum err make_batch(struct cycle *cycle, size_t first, size_t last, struct batch **batch,
                           uint64_t *rows)
{
    *batch = NULL;
    *rows = 0;
    for (size_t d = first; d < last; d++) *rows += has_row(cycle, &cycle->devices[d]);
    if (!*rows) return ERR_OK;
    struct schema *schema = cycle->devices[first].device->schema;
    if (!schema) return ERR_NO_TABLE;
    *batch = batch_new(schema, &cycle->line->collect->context->memory);
    enum err err = *batch ? ERR_OK : ERR_NO_MEMORY;
    for (size_t d = first; !err && d < last; d++)
        if (has_row(cycle, &cycle->devices[d])) err = add_row(*batch, cycle, &cycle->devices[d]);
    if (!err) err = batch_seal(*batch);
    if (!err) return ERR_OK;
    batch_release(*batch);
    *batch = NULL;
    return err;
}

static void refuse_rows(struct line *line, uint64_t rows, enum err err)
{
    char text[160];
    snprintf(text, sizeof text, "%llu rows were not stored: %s", (unsigned long long)rows,
             err_text(err));
    line->stats.rows_refused += rows;
    metric_add(line->collect->context, METRIC_ROWS_REFUSED, rows);
    line_note_error(line, text, NULL, 0);
}

static void emit_table(struct cycle *cycle, size_t first, size_t last)
{
    struct collect *collect = cycle->line->collect;
    enum err err = ERR_CONFLICT;
    uint64_t rows = 0;
    for (int tries = 0; tries < 2 && err == ERR_CONFLICT; tries++) {
        struct batch *batch;
        if (tries) config_look_up_tables(cycle->line);
        err = make_batch(cycle, first, last, &batch, &rows);
        if (!err && batch) err = collect->host.emit(collect->host.arg, batch);
    }
    if (err) refuse_rows(cycle->line, rows, err);
}

/* A table that is not there yet is said once by config_look_up_tables, not at every cycle. */
static void emit_all(struct cycle *cycle)
{
    for (size_t d = 0; d < cycle->device_count;) {
        size_t end = d + 1;
        const struct schema *schema = cycle->devices[d].device->schema;
        while (end < cycle->device_count && cycle->devices[end].device->schema == schema) end++;
        if (schema) emit_table(cycle, d, end);
        d = end;
    }
}

static void answer_read(struct cycle *cycle)
{
    struct collect_read *read = cycle->read;
    struct why why = WHY_NONE;
    uint64_t rows;
    enum err err = ERR_CLOSED;
    if (cycle->line->state != LINE_OFF) {
        err = make_batch(cycle, 0, cycle->device_count, &read->batch, &rows);
        if (!err && !read->batch) err = ERR_NO_TABLE;
    }
    if (err)
        (void)why_set(&why, err, "device %.*s: %s", (int)read->device.size, read->device.at,
                      err == ERR_NO_TABLE ? "its table has no column for these points"
                                          : err_text(err));
    cycle_free(cycle);
    completion_finish(&read->completion, err, &why);
}

void rows_emit(struct cycle *cycle)
{
    settle_readings(cycle);
    if (cycle->read)
        answer_read(cycle);
    else if (cycle->line->state != LINE_OFF)
        emit_all(cycle);
}
