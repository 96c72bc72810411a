/* op_scan.c - what drives a run over a table: chunks of the source become rows of inputs and are
 * pushed down the chain. */
#include "sql/op.h"
#include "sql/parallel.h"
#include <string.h>

/* The source's side of a scan, and the vectors that inputs read. */
struct scan {
    struct run *run;
    void *source_context;
    struct sql_table table;
    struct sql_scan *scan;
    struct sql_scan_request request; /* the source reads it until the scan is closed */
    struct vector *columns;          /* [input_count] */
    struct str
        *names;      /* [input_count][SQL_CHUNK_ROWS] quality names of the inputs that want them */
    uint32_t *worst; /* [SQL_CHUNK_ROWS] */
    struct why unsaid; /* of conditions that could not be computed for a series */
    bool failed;       /* memory was refused while filling a chunk */
};

/* A quality's name that lives as long as the chunk. */
static struct str name_of(struct scan *scan, uint32_t quality)
{
    char scratch[12];
    const char *name = quality_name(quality, scratch);
    if (name != scratch) return str_of(name);
    size_t size = strlen(scratch);
    const char *copy = arena_strdup(&scan->run->eval.scratch, scratch, size);
    scan->failed = scan->failed || !copy;
    return copy ? (struct str){copy, size} : STR("");
}

/* Qualities as texts: one constant "Good" when there is nothing to tell. */
static struct vector name_qualities(struct scan *scan, const uint32_t *quality, uint32_t count,
                                    struct str *names)
{
    struct vector v = {.type = TYPE_TEXT, .count = count, .s = names};
    v.is_constant = quality == NULL;
    if (!quality) names[0] = STR("Good");
    for (uint32_t r = 0; quality && r < count; r++) {
        bool again = r > 0 && quality[r] == quality[r - 1];
        names[r] = again ? names[r - 1] : name_of(scan, quality[r]);
    }
    return v;
}

/* The worst quality of each row among all columns read; NULL: all are good. */
static const uint32_t *worst_qualities(struct scan *scan, const struct sql_chunk *chunk)
{
    bool any = false;
    for (size_t c = 0; c < scan->run->plan->request.column_count; c++) {
        const struct vector *column = &chunk->columns[c];
        if (!column->quality) continue;
        if (!any) memset(scan->worst, 0, sizeof *scan->worst * chunk->row_count);
        any = true;
        for (uint32_t r = 0; r < chunk->row_count; r++)
            scan->worst[r] = quality_worst(scan->worst[r], vector_quality(column, r));
    }
    return any ? scan->worst : NULL;
}

/* Qualities of a column; constants are spread into `worst` so that one loop serves. */
static const uint32_t *column_qualities(struct scan *scan, const struct vector *column,
                                        uint32_t count)
{
    if (!column->quality || !column->is_constant) return column->quality;
    for (uint32_t r = 0; r < count; r++) scan->worst[r] = column->quality[0];
    return scan->worst;
}

static void fill_inputs(struct scan *scan, const struct sql_chunk *chunk)
{
    const struct plan *plan = scan->run->plan;
    for (size_t i = 0; i < plan->input_count; i++) {
        const struct input *input = &plan->inputs[i];
        struct vector *to = &scan->columns[i];
        struct str *names = scan->names + i * SQL_CHUNK_ROWS;
        switch (input->kind) {
        case INPUT_TIME: *to = chunk->time; break;
        case INPUT_DEVICE: *to = chunk->device; break;
        case INPUT_RECEIVED: *to = chunk->received; break;
        case INPUT_COLUMN:
            if (!chunk->summaries) *to = chunk->columns[input->slot];
            break;
        case INPUT_LABEL: *to = chunk->labels[input->slot]; break;
        case INPUT_SERIES:
        case INPUT_WINDOW: *to = (struct vector){0}; break; /* made by operators */
        case INPUT_QUALITY:
            *to = name_qualities(scan, worst_qualities(scan, chunk), chunk->row_count, names);
            break;
        case INPUT_COLUMN_QUALITY: {
            const uint32_t *qualities =
                column_qualities(scan, &chunk->columns[input->slot], chunk->row_count);
            *to = name_qualities(scan, qualities, chunk->row_count, names);
            break;
        }
        }
    }
}

enum err scan_push(struct run *run)
{
    struct scan *scan = run->scan;
    const struct plan *plan = run->plan;
    const struct sql_source *source = plan->table.source;
    while (!run->enough && !run->paused) {
        struct sql_chunk chunk = {0};
        enum err err = run_check(run);
        if (!err) err = source->scan_next(scan->scan, &chunk, run->why);
        if (err) return err;
        if (chunk.row_count == 0) {
            run->is_scanned = true;
            return ERR_OK;
        }
        uint32_t count = chunk.summaries ? 1 : chunk.row_count;
        MUST(count <= SQL_CHUNK_ROWS);
        arena_reset(&run->eval.scratch);
        fill_inputs(scan, &chunk);
        if (scan->failed) return ERR_NO_MEMORY; /* run_step finds the words */
        struct rows rows = {.view = {count, NULL, count},
                            .columns = scan->columns,
                            .column_count = plan->input_count,
                            .series = chunk.series,
                            .summaries = chunk.summaries,
                            .summary_rows = chunk.row_count,
                            .summary_last_ns = chunk.summary_last_ns};
        if (chunk.summaries ||
            (plan->table.has_series && plan->request.want_time && !plan->request.newest_first))
            rows.time = chunk.time.i;
        err = op_push(run->first, &rows);
        if (err) return err;
    }
    run->is_scanned |= run->enough;
    return ERR_OK;
}

void scan_close(struct run *run)
{
    const struct sql_source *source = run->plan->table.source;
    struct scan *scan = run->scan;
    if (!scan) return;
    run->scan = NULL;
    if (scan->scan) source->scan_close(scan->scan, &run->stats->scan);
}

static struct vector text_constant(const struct str *text)
{
    static uint8_t null = 1;
    return (struct vector){.type = TYPE_TEXT,
                           .count = 1,
                           .is_constant = true,
                           .null = text->at ? NULL : &null,
                           .s = (struct str *)(uintptr_t)text};
}

/* The conditions that are the same for all rows of a series, asked once. What they cannot say, the
 * rows' own filter will, with its words. */
static bool wants_series(void *context, struct str device, const struct str *labels)
{
    struct scan *scan = context;
    struct run *run = scan->run;
    const struct plan *plan = run->plan;
    struct why *words = run->eval.why;
    uint16_t selection[1];
    uint32_t selected = 1;
    arena_reset(&run->eval.scratch);
    for (size_t i = 0; i < plan->input_count; i++) {
        if (plan->inputs[i].kind == INPUT_DEVICE) scan->columns[i] = text_constant(&device);
        if (plan->inputs[i].kind == INPUT_LABEL)
            scan->columns[i] = text_constant(&labels[plan->inputs[i].slot]);
    }
    const struct rows rows = {
        .view = {1, NULL, 1}, .columns = scan->columns, .column_count = plan->input_count};
    run->eval.why = &scan->unsaid;
    for (size_t i = 0; i < plan->filter_count && selected; i++)
        if (plan->filters[i]->series_constant &&
            expr_filter(&run->eval, plan->filters[i], &rows, &rows.view, selection, &selected))
            break;
    run->eval.why = words;
    return selected > 0;
}

static bool has_series_conditions(const struct plan *plan)
{
    for (size_t i = 0; i < plan->filter_count && plan->table.has_series; i++)
        if (plan->filters[i]->series_constant) return true;
    return false;
}

enum err scan_open(struct run *run)
{
    const struct plan *plan = run->plan;
    const struct sql_source *source = plan->table.source;
    struct scan *scan = arena_zero(run->arena, 1, sizeof *scan);
    bool names_wanted = false;
    if (!scan) return run_no_memory(run);
    size_t at = plan->table.source_at;
    scan->source_context = run->context->catalog->source[at].context;
    for (size_t i = 0; i < plan->input_count; i++)
        names_wanted |=
            plan->inputs[i].kind == INPUT_QUALITY || plan->inputs[i].kind == INPUT_COLUMN_QUALITY;
    scan->run = run;
    scan->columns = arena_zero(run->arena, plan->input_count, sizeof *scan->columns);
    scan->worst = arena_zero(run->arena, SQL_CHUNK_ROWS, sizeof *scan->worst);
    scan->names = arena_zero(run->arena, names_wanted ? plan->input_count * SQL_CHUNK_ROWS : 1,
                             sizeof *scan->names);
    if (!scan->columns || !scan->worst || !scan->names) return run_no_memory(run);
    run->scan = scan; /* from here on scan_close takes down what is up */
    /* One snapshot of each source serves all scans of the statement. */
    void **snapshot = &run->root->snapshots[at];
    enum err err = *snapshot ? ERR_OK : source->snapshot_open(scan->source_context, snapshot);
    if (err) return why_wrap(run->why, err, "table %s", plan->table.schema->name);
    scan->table = plan->table;
    struct sql_scan_request *request = &scan->request;
    *request = plan->request;
    if (has_series_conditions(plan)) {
        request->wants_series = wants_series;
        request->wants_context = scan;
    }
    summary_request(plan, request);
    request->share = run->share;
    request->declines = run->declines;
    request->declines_context = run->declines_context;
    if (parallel_new(run, run->text, request)) return run_no_memory(run);
    err = source->scan_open(scan->source_context, *snapshot, &scan->table, request,
                            run->context->budget, &scan->scan, run->why);
    if (!err) parallel_call(run);
    return err;
}
