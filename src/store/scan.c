/* scan.c - the store's tables as a source of statements (sql/source.h).
 *
 * A scan walks the table's series in order of id; per series it delivers rows in time order, every row key once.
 * Where a series has only its main chain, chunks of the head are handed out as they lie (no copy). Where late rows
 * exist, all rows in the time range are sorted by (time, version) and rows of equal time are merged: per column the
 * highest version that has the cell wins. */
#include "store/store_priv.h"
#include <stdlib.h>
#include <string.h>

struct table_handle {
    struct table_list *list;
    struct schema *schema;
    struct table_state *state;
};

/* One row somewhere in the head. */
struct row_ref {
    int64_t time;
    uint64_t seq;
    struct head_chunk *chunk;
    uint32_t row;
};

struct sql_scan {
    struct table_handle *handle;
    struct store_snapshot *snapshot;
    struct sql_scan_request request; /* arrays borrowed from the statement */
    enum type *types;                /* of the columns wanted */
    struct series *series;           /* the one being delivered */
    uint64_t delivered;              /* rows of it so far */
    struct head_chunk *chunk;        /* next chunk of its main chain */
    struct row_ref *refs;            /* or: its rows sorted; NULL = chunk by chunk */
    size_t ref_count, ref_at, ref_capacity;
    struct vector *columns, *labels;
    struct arena fixed;              /* lives as long as the scan */
    struct arena scratch;            /* per chunk delivered */
    struct budget *budget;
    size_t ref_bytes;
    struct sql_scan_stats stats;
};

/* ---- the catalogue's side ---- */

static enum err fill_table(struct store *store, struct table_list *list, int at, struct arena *arena,
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
    (void)store;
    return ERR_OK;
}

static enum err find_table(void *context, struct str ns, struct str schema, struct str name, struct arena *arena,
                           struct sql_table *table, struct why *why)
{
    struct store *store = context;
    (void)why;
    *table = (struct sql_table){.source = &store_sql_source};
    if (schema.size && !str_is(schema, "public")) return ERR_OK;
    struct table_list *list = catalog_tables(&store->catalog);
    int at = table_list_find(list, ns, name);
    enum err err = at < 0 ? ERR_OK : fill_table(store, list, at, arena, table);
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

static enum err list_tables(void *context, struct str ns, struct arena *arena, struct sql_table_name **names,
                            size_t *count)
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
    struct store_snapshot *snapshot = mem_alloc(sizeof *snapshot);
    if (!snapshot) return ERR_NO_MEMORY;
    /* The position first: whatever it covers is in the view taken after it. */
    snapshot->applied = store_positions(store).applied;
    snapshot->view = store_view_get(store);
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

/* ---- scanning ---- */

static void scan_close(struct sql_scan *scan, struct sql_scan_stats *stats)
{
    if (!scan) return;
    if (stats) *stats = scan->stats;
    mem_free(scan->refs);
    budget_give(scan->budget, scan->ref_bytes);
    arena_free(&scan->scratch);
    arena_free(&scan->fixed);
    mem_free(scan);
}

static enum err scan_open(void *context, void *snapshot, struct sql_table *table,
                          const struct sql_scan_request *request, struct budget *budget, struct sql_scan **out,
                          struct why *why)
{
    (void)context;
    struct sql_scan *scan = mem_alloc_zero(1, sizeof *scan);
    if (!scan) return ERR_NO_MEMORY;
    scan->handle = table->handle;
    scan->snapshot = snapshot;
    scan->request = *request;
    scan->budget = budget;
    arena_init(&scan->fixed, budget);
    arena_init(&scan->scratch, budget);
    scan->types = arena_zero(&scan->fixed, request->column_count, sizeof *scan->types);
    scan->columns = arena_zero(&scan->fixed, request->column_count, sizeof *scan->columns);
    scan->labels = arena_zero(&scan->fixed, request->label_count, sizeof *scan->labels);
    enum err err = scan->types && scan->columns && scan->labels ? ERR_OK : ERR_BUDGET;
    for (size_t i = 0; i < request->column_count && !err; i++) {
        const struct column *column = schema_column(scan->handle->schema, request->columns[i]);
        if (column)
            scan->types[i] = column->type;
        else
            err = why_set(why, ERR_INTERNAL, "table %s has no column %u", scan->handle->schema->name,
                          request->columns[i]);
    }
    if (err) {
        scan_close(scan, NULL);
        return err;
    }
    *out = scan;
    return ERR_OK;
}

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
    return true;
}

/* The rows [*from, *to) of a chunk of a main chain that the statement may see and wants. */
static void visible_rows(const struct sql_scan *scan, struct head_chunk *chunk, uint32_t *from, uint32_t *to)
{
    uint32_t count = atomic_load_explicit(&chunk->count, memory_order_acquire);
    while (count && chunk->seq[count - 1] > scan->snapshot->applied) count--;
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (chunk->time[middle] < scan->request.time_from_ns)
            low = middle + 1;
        else
            high = middle;
    }
    *from = low;
    high = count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (chunk->time[middle] < scan->request.time_to_ns)
            low = middle + 1;
        else
            high = middle;
    }
    *to = low;
}

static enum err add_ref(struct sql_scan *scan, struct head_chunk *chunk, uint32_t row)
{
    if (scan->ref_count == scan->ref_capacity) {
        size_t more = (scan->ref_capacity ? scan->ref_capacity : 8) * sizeof *scan->refs;
        if (budget_take(scan->budget, more)) return ERR_BUDGET;
        scan->ref_bytes += more;
        enum err err = mem_grow(&scan->refs, &scan->ref_capacity, scan->ref_count + 1, sizeof *scan->refs);
        if (err) return err;
    }
    scan->refs[scan->ref_count++] = (struct row_ref){chunk->time[row], chunk->seq[row], chunk, row};
    return ERR_OK;
}

static enum err gather(struct sql_scan *scan, struct head_chunk *chunk)
{
    for (; chunk; chunk = atomic_load_explicit(&chunk->next, memory_order_acquire)) {
        uint32_t count = atomic_load_explicit(&chunk->count, memory_order_acquire);
        for (uint32_t row = 0; row < count; row++) {
            bool seen = chunk->seq[row] <= scan->snapshot->applied &&
                        chunk->time[row] >= scan->request.time_from_ns &&
                        chunk->time[row] < scan->request.time_to_ns;
            enum err err = seen ? add_ref(scan, chunk, row) : ERR_OK;
            if (err) return err;
        }
    }
    return ERR_OK;
}

static int compare_refs(const void *a, const void *b)
{
    const struct row_ref *x = a, *y = b;
    if (x->time != y->time) return x->time < y->time ? -1 : 1;
    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

/* Turns the order of times round; rows of equal time stay in order of version. */
static void reverse_refs(struct sql_scan *scan)
{
    struct row_ref *refs = scan->refs;
    for (size_t i = 0, j = scan->ref_count; i + 1 < j; i++) {
        struct row_ref swap = refs[i];
        refs[i] = refs[--j];
        refs[j] = swap;
    }
    for (size_t i = 0; i < scan->ref_count;) {
        size_t end = i + 1;
        while (end < scan->ref_count && refs[end].time == refs[i].time) end++;
        for (size_t a = i, b = end; a + 1 < b; a++) {
            struct row_ref swap = refs[a];
            refs[a] = refs[--b];
            refs[b] = swap;
        }
        i = end;
    }
}

static enum err begin_series(struct sql_scan *scan, struct series *series)
{
    scan->series = series;
    scan->delivered = 0;
    scan->chunk = NULL;
    scan->ref_count = scan->ref_at = 0;
    struct head_series *rows = head_find(scan->snapshot->view->head, series->id);
    if (!rows) return ERR_OK;
    struct head_chunk *main = atomic_load_explicit(&rows->main.first, memory_order_acquire);
    struct head_chunk *late = atomic_load_explicit(&rows->late.first, memory_order_acquire);
    if (!late && !scan->request.newest_first) {
        scan->chunk = main;
        return ERR_OK;
    }
    enum err err = gather(scan, main);
    if (!err) err = gather(scan, late);
    if (err) return err;
    if (scan->ref_count) qsort(scan->refs, scan->ref_count, sizeof *scan->refs, compare_refs);
    if (scan->request.newest_first) reverse_refs(scan);
    return ERR_OK;
}

/* A vector that is NULL in every row. */
static enum err absent_vector(struct sql_scan *scan, struct vector *v, enum type type, uint32_t count,
                              uint32_t quality)
{
    enum err err = vector_make(v, &scan->scratch, type, 1, true, true);
    if (err) return ERR_BUDGET;
    v->null[0] = 1;
    v->quality[0] = quality;
    v->is_constant = true;
    v->count = count;
    return ERR_OK;
}

static enum err text_constant(struct sql_scan *scan, struct vector *v, struct str text, uint32_t count)
{
    if (!text.at) return absent_vector(scan, v, TYPE_TEXT, count, QUALITY_GOOD);
    enum err err = vector_make(v, &scan->scratch, TYPE_TEXT, 1, false, false);
    if (err) return ERR_BUDGET;
    v->s[0] = text;
    v->is_constant = true;
    v->count = count;
    return ERR_OK;
}

static struct head_column *chunk_column(struct head_chunk *chunk, uint16_t id)
{
    uint32_t low = 0, high = chunk->column_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (chunk->columns[middle].id == id) return &chunk->columns[middle];
        if (chunk->columns[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* Rows [from, to) of a chunk as they lie. */
static enum err slice_column(struct sql_scan *scan, struct head_chunk *chunk, size_t index, uint32_t from,
                             uint32_t to)
{
    struct vector *v = &scan->columns[index];
    struct head_column *column = chunk_column(chunk, scan->request.columns[index]);
    if (!column) return absent_vector(scan, v, scan->types[index], to - from, QUALITY_NO_DATA);
    uint8_t *null = atomic_load_explicit(&column->null, memory_order_acquire);
    uint32_t *quality = atomic_load_explicit(&column->quality, memory_order_acquire);
    *v = (struct vector){.type = column->type, .count = to - from};
    v->data = (char *)column->data + from * vector_element_bytes(column->type);
    v->null = null ? null + from : NULL;
    v->quality = quality ? quality + from : NULL;
    return ERR_OK;
}

static enum err received_of(struct sql_scan *scan, struct sql_chunk *out, const uint64_t *seq, uint32_t count)
{
    enum err err = vector_make(&out->received, &scan->scratch, TYPE_TIMESTAMP, count, false, false);
    if (err) return ERR_BUDGET;
    out->received.count = count;
    for (uint32_t i = 0; i < count; i++) out->received.i[i] = (int64_t)seq[i] * 1000;
    return ERR_OK;
}

static enum err deliver_slice(struct sql_scan *scan, struct head_chunk *chunk, uint32_t from, uint32_t to,
                              struct sql_chunk *out)
{
    out->row_count = to - from;
    out->time = (struct vector){.type = TYPE_TIMESTAMP, .count = to - from, .i = chunk->time + from};
    enum err err = scan->request.want_received ? received_of(scan, out, chunk->seq + from, to - from) : ERR_OK;
    for (size_t i = 0; i < scan->request.column_count && !err; i++)
        err = slice_column(scan, chunk, i, from, to);
    return err;
}

/* The cell of the highest version among refs [first, end) that has it. Absent cells do not count. */
static struct value merged_cell(const struct row_ref *first, const struct row_ref *end, uint16_t id, enum type type)
{
    struct value value = {.type = type, .is_null = true, .quality = QUALITY_NO_DATA};
    for (const struct row_ref *ref = end; ref-- > first;) {
        struct head_column *column = chunk_column(ref->chunk, id);
        if (!column) continue;
        struct vector v = {.type = type, .count = ref->row + 1, .data = column->data};
        v.null = atomic_load_explicit(&column->null, memory_order_acquire);
        v.quality = atomic_load_explicit(&column->quality, memory_order_acquire);
        value = vector_get(&v, ref->row);
        if (!value.is_null || value.quality != QUALITY_NO_DATA) break;
    }
    return value;
}

static enum err deliver_merged(struct sql_scan *scan, struct sql_chunk *out)
{
    uint64_t seq[SQL_CHUNK_ROWS];
    enum err err = vector_make(&out->time, &scan->scratch, TYPE_TIMESTAMP, SQL_CHUNK_ROWS, false, false);
    for (size_t i = 0; i < scan->request.column_count && !err; i++)
        err = vector_make(&scan->columns[i], &scan->scratch, scan->types[i], SQL_CHUNK_ROWS, true, true);
    if (err) return ERR_BUDGET;
    uint32_t count = 0;
    while (scan->ref_at < scan->ref_count && count < SQL_CHUNK_ROWS) {
        const struct row_ref *first = &scan->refs[scan->ref_at], *end = first;
        const struct row_ref *stop = scan->refs + scan->ref_count;
        while (end < stop && end->time == first->time) end++;
        for (size_t i = 0; i < scan->request.column_count; i++) {
            struct value cell = merged_cell(first, end, scan->request.columns[i], scan->types[i]);
            vector_set(&scan->columns[i], count, &cell);
        }
        out->time.i[count] = first->time;
        seq[count++] = end[-1].seq;
        scan->ref_at = (size_t)(end - scan->refs);
    }
    for (size_t i = 0; i < scan->request.column_count; i++) scan->columns[i].count = count;
    out->time.count = out->row_count = count;
    return scan->request.want_received ? received_of(scan, out, seq, count) : ERR_OK;
}

static bool series_done(const struct sql_scan *scan)
{
    if (!scan->series) return true;
    if (scan->request.row_limit && scan->delivered >= scan->request.row_limit) return true;
    return !scan->chunk && scan->ref_at == scan->ref_count;
}

/* Delivers some rows of the current series; row_count stays 0 when a chunk had none that count. */
static enum err deliver(struct sql_scan *scan, struct sql_chunk *out)
{
    if (!scan->chunk) return deliver_merged(scan, out);
    struct head_chunk *chunk = scan->chunk;
    uint32_t from, to;
    visible_rows(scan, chunk, &from, &to);
    scan->chunk = atomic_load_explicit(&chunk->next, memory_order_acquire);
    return from < to ? deliver_slice(scan, chunk, from, to, out) : ERR_OK;
}

static enum err add_constants(struct sql_scan *scan, struct sql_chunk *out)
{
    enum err err = ERR_OK;
    out->series = scan->series->id;
    if (scan->request.want_device) err = text_constant(scan, &out->device, scan->series->path, out->row_count);
    for (size_t i = 0; i < scan->request.label_count && !err; i++)
        err = text_constant(scan, &scan->labels[i], label_of(scan->series, str_of(scan->request.labels[i])),
                            out->row_count);
    out->columns = scan->columns;
    out->labels = scan->labels;
    return err;
}

static struct series *next_series(const struct sql_scan *scan, bool begun)
{
    if (!begun) return atomic_load_explicit(&scan->handle->state->first, memory_order_acquire);
    return atomic_load_explicit(&scan->series->next_of_table, memory_order_acquire);
}

static enum err scan_next(struct sql_scan *scan, struct sql_chunk *chunk, struct why *why)
{
    *chunk = (struct sql_chunk){0};
    arena_reset(&scan->scratch);
    for (;;) {
        while (series_done(scan)) {
            struct series *next = next_series(scan, scan->series != NULL);
            if (!next) return ERR_OK;
            scan->series = next;
            scan->chunk = NULL;
            scan->ref_at = scan->ref_count = 0;
            enum err err = series_wanted(scan, next) ? begin_series(scan, next) : ERR_OK;
            if (err) return why_set(why, err, "reading device %.*s needs more memory than the statement may use",
                                    (int)next->path.size, next->path.at);
        }
        enum err err = deliver(scan, chunk);
        if (err) return err;
        if (chunk->row_count == 0) continue;
        scan->delivered += chunk->row_count;
        scan->stats.rows += chunk->row_count;
        return add_constants(scan, chunk);
    }
}

const struct sql_source store_sql_source = {
    .name = "store",
    .find_table = find_table,
    .close_table = close_table,
    .list_tables = list_tables,
    .scan_open = scan_open,
    .scan_next = scan_next,
    .scan_close = scan_close,
    .snapshot_open = snapshot_open,
    .snapshot_close = snapshot_close,
};
