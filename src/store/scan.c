/* scan.c - the store's tables as a source of statements (sql/source.h).
 *
 * A scan walks the table's series in order of id. What a series has is a set of runs (scan.h): its
 * blocks in each part, and in each head its main chain and its late rows. They are merged by time
 * (merge.c); where only one run has rows, they are handed out as they lie. */
#include "store/scan.h"
#include <stdlib.h>
#include <string.h>

/* ---- the catalogue's side ---- */

static enum err fill_table(struct table_list *list, int at, struct arena *arena,
                           struct sql_table *table)
{
    struct table_handle *handle = arena_alloc(arena, sizeof *handle);
    struct table_state *state = list->items[at].state;
    uint32_t label_count = atomic_load_explicit(&state->label_count, memory_order_acquire);
    const char **labels = arena_alloc(arena, label_count * sizeof *labels);
    if (!handle || !labels) return ERR_NO_MEMORY;
    if (label_count) memcpy(labels, state->labels, label_count * sizeof *labels);
    *handle = (struct table_handle){list, list->items[at].schema, state};
    table->schema = handle->schema;
    table->has_series = table->quality_per_value = true;
    table->label_count = label_count;
    table->labels = labels;
    table->handle = handle;
    table->source = &store_sql_source;
    return ERR_OK;
}

static enum err find_table(void *context, struct str ns, struct str schema, struct str name,
                           struct arena *arena, struct sql_table *table, struct why *why)
{
    struct store *store = context;
    (void)why;
    *table = (struct sql_table){.source = &store_sql_source};
    if (schema.size && !str_is(schema, "public")) return ERR_OK;
    struct table_list *list = catalog_tables(&store->catalog);
    int at = table_list_find(list, ns, name);
    enum err err = at < 0 ? ERR_OK : fill_table(list, at, arena, table);
    if (at < 0 || err) table_list_release(list);
    return err;
}

static void close_table(void *context, struct sql_table *table)
{
    (void)context;
    struct table_handle *handle = table->handle;
    if (handle) table_list_release(handle->list);
    table->handle = NULL;
}

static enum err list_tables(void *context, struct str ns, struct arena *arena,
                            struct sql_table_name **names, size_t *count)
{
    struct store *store = context;
    struct table_list *list = catalog_tables(&store->catalog);
    enum err err = ERR_NO_MEMORY;
    *count = 0;
    *names = arena_zero(arena, list->count, sizeof **names);
    if (!*names) goto out;
    for (uint32_t i = 0; i < list->count; i++) {
        const struct schema *s = list->items[i].schema;
        if (!str_is(ns, s->ns)) continue;
        struct sql_table_name *to = &(*names)[(*count)++];
        to->schema = "public";
        to->name = arena_strdup(arena, s->name, strlen(s->name));
        to->description = arena_strdup(arena, s->description, strlen(s->description));
        if (!to->name || !to->description) goto out;
    }
    err = ERR_OK;
out:
    table_list_release(list);
    return err;
}

/* ---- snapshots ---- */

static enum err snapshot_open(void *context, void **out)
{
    struct store *store = context;
    struct store_snapshot *snapshot = mem_alloc_zero(1, sizeof *snapshot);
    if (!snapshot) return ERR_NO_MEMORY;
    /* The view first: what its parts and frozen head hold is applied then. Rows applied after the
     * view was replaced are not seen; with either order of the other they might be seen in part. */
    snapshot->view = store_view_get(store);
    snapshot->applied = store_positions(store).applied;
    *out = snapshot;
    return ERR_OK;
}

static void snapshot_close(void *context, void *opaque)
{
    (void)context;
    struct store_snapshot *snapshot = opaque;
    if (!snapshot) return;
    store_view_release(snapshot->view);
    mem_free(snapshot);
}

/* ---- opening ---- */

static void scan_close(struct sql_scan *scan, struct sql_scan_stats *stats)
{
    if (!scan) return;
    MUST(scan->magic == SCAN_MAGIC);
    rollup_read_close(scan);
    if (stats) *stats = scan->stats;
    for (size_t i = 0; i < scan->run_count; i++) run_clear(scan, &scan->runs[i]);
    for (size_t i = 0; i < scan->part_count; i++) {
        part_file_close(&scan->parts[i].file);
        part_cursor_close(scan->parts[i].cursor);
    }
    codec_close(&scan->codec);
    arena_free(&scan->deleted_memory);
    arena_free(&scan->scratch);
    arena_free(&scan->fixed);
    scan->magic = 0;
    mem_free(scan);
}

static bool has_table(const struct part_info *info, uint32_t table_id)
{
    for (uint32_t i = 0; i < info->table_count; i++)
        if (info->tables[i] == table_id) return true;
    return false;
}

static bool is_wanted(const struct sql_scan *scan, const struct part_info *info)
{
    const struct sql_scan_request *r = &scan->request;
    return info->version > scan->snapshot->above && info->max_time_ns >= r->time_from_ns &&
           (info->min_time_ns < r->time_to_ns || r->time_to_ns == INT64_MAX) &&
           has_table(info, scan->handle->schema->table_id);
}

/* In the order in which their rows begin: so a part is not opened before the merge has come to it.
 */
static void sort_parts(struct sql_scan *scan)
{
    for (size_t i = 1; i < scan->part_count; i++) {
        struct scan_part moved = scan->parts[i];
        size_t at = i;
        for (; at && scan_before(scan, moved.bound_ns, scan->parts[at - 1].bound_ns); at--)
            scan->parts[at] = scan->parts[at - 1];
        scan->parts[at] = moved;
    }
}

static enum err choose_parts(struct sql_scan *scan)
{
    const struct part_list *list = scan->snapshot->view->parts;
    size_t count = 0;
    for (size_t i = 0; i < list->count; i++) count += is_wanted(scan, &list->parts[i]->info);
    scan->parts = arena_zero(&scan->fixed, count, sizeof *scan->parts);
    scan->runs = arena_zero(&scan->fixed, count + SCAN_HEAD_RUNS, sizeof *scan->runs);
    scan->active = arena_zero(&scan->fixed, count + SCAN_HEAD_RUNS, sizeof(struct run *));
    if (!scan->parts || !scan->runs || !scan->active) return ERR_BUDGET;
    for (size_t i = 0; i < list->count; i++) {
        struct part *part = list->parts[i];
        if (!is_wanted(scan, &part->info)) continue;
        struct scan_part *to = &scan->parts[scan->part_count++];
        to->part = part;
        to->bound_ns = scan->request.newest_first ? part->info.max_time_ns : part->info.min_time_ns;
    }
    sort_parts(scan);
    scan->run_count = count + SCAN_HEAD_RUNS;
    for (size_t i = 0; i < scan->run_count; i++) {
        arena_init(&scan->runs[i].rows, scan->budget);
        arena_init(&scan->runs[i].index, scan->budget);
        scan->runs[i].columns =
            arena_zero(&scan->fixed, scan->request.column_count, sizeof(struct vector));
        if (!scan->runs[i].columns) return ERR_BUDGET;
        if (i < count) scan->runs[i].part = &scan->parts[i];
    }
    return ERR_OK;
}

static enum err find_types(struct sql_scan *scan, struct why *why)
{
    const struct sql_scan_request *request = &scan->request;
    for (size_t i = 0; i < request->column_count; i++) {
        const struct column *column = schema_column(scan->handle->schema, request->columns[i]);
        if (!column)
            return why_set(why, ERR_INTERNAL, "table %s has no column %u",
                           scan->handle->schema->name, request->columns[i]);
        scan->types[i] = column->type;
    }
    return ERR_OK;
}

static int compare_series(const void *a, const void *b)
{
    const struct series *const *x = a, *const *y = b;
    return ((*x)->id > (*y)->id) - ((*x)->id < (*y)->id);
}

/* Where the statement names its devices, they are looked up: a table may have a million others. */
static enum err choose_series(struct sql_scan *scan)
{
    const struct sql_series_filter *filter = NULL;
    for (size_t f = 0; f < scan->request.filter_count && !filter; f++)
        if (str_is(scan->request.filters[f].label, "device")) filter = &scan->request.filters[f];
    if (!filter) return ERR_OK;
    scan->is_chosen = true;
    scan->chosen = arena_alloc(&scan->fixed, filter->value_count * sizeof(struct series *));
    if (!scan->chosen) return ERR_BUDGET;
    for (size_t i = 0; i < filter->value_count; i++) {
        struct series *series = series_index_find(
            &scan->store->catalog, scan->handle->schema->table_id, filter->values[i]);
        if (series) scan->chosen[scan->chosen_count++] = series;
    }
    if (scan->chosen_count < 2) return ERR_OK;
    qsort(scan->chosen, scan->chosen_count, sizeof(struct series *), compare_series);
    size_t kept = 1;
    for (size_t i = 1; i < scan->chosen_count; i++)
        if (scan->chosen[i] != scan->chosen[kept - 1]) scan->chosen[kept++] = scan->chosen[i];
    scan->chosen_count = kept;
    return ERR_OK;
}

static enum err scan_open(void *context, void *snapshot, struct sql_table *table,
                          const struct sql_scan_request *request, struct budget *budget,
                          struct sql_scan **out, struct why *why)
{
    struct sql_scan *scan = mem_alloc_zero(1, sizeof *scan);
    if (!scan) return ERR_NO_MEMORY;
    scan->magic = SCAN_MAGIC;
    scan->store = context;
    scan->handle = table->handle;
    scan->snapshot = snapshot;
    scan->request = *request;
    scan->from_ns = request->time_from_ns;
    scan->budget = budget;
    arena_init(&scan->fixed, budget);
    arena_init(&scan->scratch, budget);
    arena_init(&scan->deleted_memory, budget);
    scan->types = arena_zero(&scan->fixed, request->column_count, sizeof *scan->types);
    scan->columns = arena_zero(&scan->fixed, request->column_count, sizeof *scan->columns);
    scan->summaries = arena_zero(&scan->fixed, request->column_count, sizeof *scan->summaries);
    scan->versions = arena_zero(&scan->fixed, request->column_count, sizeof *scan->versions);
    scan->labels = arena_zero(&scan->fixed, request->label_count, sizeof *scan->labels);
    scan->label_values = arena_zero(&scan->fixed, request->label_count, sizeof(struct str));
    bool made = scan->label_values && scan->types && scan->columns && scan->labels &&
                scan->versions && scan->summaries;
    enum err err = made ? ERR_OK : ERR_BUDGET;
    if (!err) err = find_types(scan, why);
    if (!err) err = choose_series(scan);
    if (!err) err = choose_parts(scan);
    if (!err && scan->part_count) err = codec_open(&scan->codec, false);
    if (!err && !scan->snapshot->above) err = rollup_read_open(scan, why);
    if (err) {
        scan_close(scan, NULL);
        return err;
    }
    *out = scan;
    return ERR_OK;
}

/* ---- series ---- */

static struct str label_of(const struct series *series, struct str name)
{
    if (str_is(name, "device")) return series->path;
    const struct series_labels *labels =
        atomic_load_explicit(&((struct series *)(uintptr_t)series)->labels, memory_order_acquire);
    for (uint32_t i = 0; labels && i < labels->count; i++)
        if (str_equal(labels->items[i].key, name)) return labels->items[i].value;
    return (struct str){NULL, 0};
}

static bool series_wanted(const struct sql_scan *scan, const struct series *series)
{
    for (size_t f = 0; f < scan->request.filter_count; f++) {
        const struct sql_series_filter *filter = &scan->request.filters[f];
        struct str have = label_of(series, filter->label);
        bool hit = false;
        for (size_t i = 0; i < filter->value_count && !hit; i++)
            hit = have.at && str_equal(have, filter->values[i]);
        if (!hit) return false;
    }
    const struct sql_scan_request *request = &scan->request;
    if (!request->wants_series) return true;
    for (size_t i = 0; i < request->label_count; i++)
        scan->label_values[i] = label_of(series, str_of(request->labels[i]));
    return request->wants_series(request->wants_context, series->path, scan->label_values);
}

static enum err text_constant(struct sql_scan *scan, struct vector *v, struct str text,
                              uint32_t count)
{
    if (!text.at) return scan_absent(&scan->scratch, v, TYPE_TEXT, count, QUALITY_GOOD);
    enum err err = vector_make(v, &scan->scratch, TYPE_TEXT, 1, false, false);
    if (err) return ERR_BUDGET;
    v->s[0] = text;
    v->is_constant = true;
    v->count = count;
    return ERR_OK;
}

static enum err add_constants(struct sql_scan *scan, struct sql_chunk *out)
{
    enum err err = ERR_OK;
    out->series = scan->series->id;
    if (scan->request.want_device)
        err = text_constant(scan, &out->device, scan->series->path, out->row_count);
    for (size_t i = 0; i < scan->request.label_count && !err; i++)
        err =
            text_constant(scan, &scan->labels[i],
                          label_of(scan->series, str_of(scan->request.labels[i])), out->row_count);
    if (!out->summaries) out->columns = scan->columns;
    out->labels = scan->labels;
    return err;
}

/* Scans that share take one series after the other from where all of them are. */
static struct series *take_shared(const struct sql_scan *scan)
{
    const struct sql_scan_request *request = &scan->request;
    struct sql_scan_share *share = request->share;
    enum { BEGIN = 0, END = 1 }; /* no series has these addresses */
    uintptr_t now = atomic_load_explicit(&share->next, memory_order_acquire), after;
    do {
        bool stops = atomic_load(&share->is_over) ||
                     (request->declines && (atomic_load(&share->is_private) ||
                                            request->declines(request->declines_context)));
        if (stops || now == END) return NULL;
        struct series *series =
            now == BEGIN ? atomic_load_explicit(&scan->handle->state->first, memory_order_acquire)
                         : (struct series *)now;
        struct series *next =
            series ? atomic_load_explicit(&series->next_of_table, memory_order_acquire) : NULL;
        after = next ? (uintptr_t)next : END;
        if (!series) return NULL;
        if (atomic_compare_exchange_weak(&share->next, &now, after)) return series;
    } while (true);
}

static struct series *next_series(struct sql_scan *scan, bool begun)
{
    if (scan->request.share) return take_shared(scan);
    if (scan->is_chosen)
        return scan->chosen_at < scan->chosen_count ? scan->chosen[scan->chosen_at++] : NULL;
    if (!begun) return atomic_load_explicit(&scan->handle->state->first, memory_order_acquire);
    return atomic_load_explicit(&scan->series->next_of_table, memory_order_acquire);
}

enum err scan_note_deleted(struct sql_scan *scan)
{
    MUST(scan->series);
    arena_reset(&scan->deleted_memory);
    return deleted_of(scan->series, scan->request.time_from_ns, scan->request.time_to_ns,
                      scan->snapshot->applied, &scan->deleted_memory, &scan->deleted);
}

enum err scan_begin_series(struct sql_scan *scan, struct why *why)
{
    enum err err = scan_note_deleted(scan);
    return err ? err : merge_begin(scan, why);
}

/* Whether a reader that was interrupted wants the series, and from when on. */
static bool resume(struct sql_scan *scan)
{
    const struct store_snapshot *s = scan->snapshot;
    bool is_in = s->resume_series == scan->series->id && s->resume_ns >= scan->from_ns;
    scan->request.time_from_ns = is_in ? s->resume_ns + 1 : scan->from_ns;
    return s->resume_series <= scan->series->id && !(is_in && s->resume_ns == INT64_MAX);
}

static enum err scan_next(struct sql_scan *scan, struct sql_chunk *chunk, struct why *why)
{
    MUST(scan->magic == SCAN_MAGIC && scan->active_count <= scan->run_count);
    *chunk = (struct sql_chunk){0};
    arena_reset(&scan->scratch);
    for (;;) {
        bool enough = scan->request.row_limit && scan->delivered >= scan->request.row_limit;
        if (scan->series && !enough && !scan->series_done) {
            enum err err =
                scan->rollup ? rollup_read_next(scan, chunk, why) : merge_next(scan, chunk, why);
            if (err)
                return why_set(why, err, "reading device %.*s: %s", (int)scan->series->path.size,
                               scan->series->path.at,
                               why && why->text[0] ? why->text : err_text(err));
            if (chunk->row_count == 0) continue;
            scan->delivered += chunk->row_count;
            scan->stats.rows += chunk->row_count;
            return add_constants(scan, chunk);
        }
        scan->series = next_series(scan, scan->series != NULL || scan->ended);
        scan->ended = !scan->series;
        if (scan->ended) return ERR_OK;
        scan->delivered = 0;
        scan->series_done = !resume(scan) || !series_wanted(scan, scan->series);
        if (scan->series_done) continue;
        enum err err = scan->rollup ? rollup_read_begin(scan, why) : scan_begin_series(scan, why);
        if (err) return err;
    }
}

/* Rows of parts count by the share of their time that is asked for. */
static uint64_t scan_rows(void *context, void *opaque, struct sql_table *table,
                          const struct sql_scan_request *request)
{
    struct store *store = context;
    const struct store_snapshot *snapshot = opaque;
    const struct table_handle *handle = table->handle;
    double rows = 0;
    for (size_t f = 0; f < request->filter_count; f++)
        if (str_is(request->filters[f].label, "device")) return 0;
    const struct part_list *list = snapshot->view->parts;
    for (size_t i = 0; i < list->count; i++) {
        const struct part_info *info = &list->parts[i]->info;
        double first = (double)info->min_time_ns, last = (double)info->max_time_ns + 1;
        double from = (double)request->time_from_ns, to = (double)request->time_to_ns;
        if (from < first) from = first;
        if (to > last) to = last;
        if (from < to && has_table(info, handle->schema->table_id))
            rows += (double)info->rows * ((to - from) / (last - first));
    }
    return (uint64_t)rows + metric_get(store->context, METRIC_HEAD_ROWS);
}

static void explain_scan(void *context, struct sql_table *table,
                         const struct sql_scan_request *request, struct buf *out)
{
    rollup_read_names(context, table->handle, request, out);
}

const struct sql_source store_sql_source = {
    .name = "store",
    .find_table = find_table,
    .close_table = close_table,
    .list_tables = list_tables,
    .scan_open = scan_open,
    .scan_rows = scan_rows,
    .scan_next = scan_next,
    .scan_close = scan_close,
    .explain_scan = explain_scan,
    .snapshot_open = snapshot_open,
    .snapshot_close = snapshot_close,
};
