/* scan_head.c - runs over the rows in memory, and what all runs need; see scan.h. */
#include "store/scan.h"
#include <string.h>

/* ---- what all runs need ---- */

enum err scan_absent(struct arena *arena, struct vector *v, enum type type, uint32_t count,
                     uint32_t quality)
{
    if (vector_make(v, arena, type, 1, true, true)) return ERR_BUDGET;
    v->null[0] = 1;
    v->quality[0] = quality;
    v->is_constant = true;
    v->count = count;
    return ERR_OK;
}

/* The first of `count` ascending times that is not below `bound`. */
static uint32_t lower_bound(const int64_t *time, uint32_t count, int64_t bound)
{
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (time[middle] < bound)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void run_narrow(const struct sql_scan *scan, struct run *run, uint32_t count)
{
    const struct sql_scan_request *r = &scan->request;
    run->at = lower_bound(run->time, count, r->time_from_ns);
    run->end = r->time_to_ns == INT64_MAX ? count : lower_bound(run->time, count, r->time_to_ns);
    if (run->end < run->at) run->end = run->at;
}

enum err run_fit_types(struct sql_scan *scan, struct run *run, struct why *why)
{
    for (size_t i = 0; i < scan->request.column_count; i++) {
        struct vector *v = &run->columns[i];
        if (v->type == scan->types[i]) continue;
        if (!type_widens(v->type, scan->types[i]))
            return why_set(why, ERR_CONFLICT, "table %s was changed; try again",
                           scan->handle->schema->name);
        if (vector_widen(v, scan->types[i], &run->rows)) return ERR_BUDGET;
    }
    return ERR_OK;
}

static enum err reverse_bytes(struct arena *arena, void **data, size_t element, uint32_t from,
                              uint32_t count)
{
    const char *old = (const char *)*data + from * element;
    char *fresh = arena_alloc(arena, count * element);
    if (!fresh) return ERR_BUDGET;
    for (uint32_t i = 0; i < count; i++)
        memcpy(fresh + i * element, old + (count - 1 - i) * element, element);
    *data = fresh;
    return ERR_OK;
}

static enum err reverse_vector(struct arena *arena, struct vector *v, uint32_t from, uint32_t count)
{
    if (v->is_constant) {
        v->count = count;
        return ERR_OK;
    }
    void *null = v->null, *quality = v->quality, *data = v->data;
    enum err err = reverse_bytes(arena, &data, vector_element_bytes(v->type), from, count);
    if (!err && null) err = reverse_bytes(arena, &null, 1, from, count);
    if (!err && quality) err = reverse_bytes(arena, &quality, sizeof *v->quality, from, count);
    v->data = data;
    v->null = null;
    v->quality = quality;
    v->count = count;
    return err;
}

enum err run_reverse(struct sql_scan *scan, struct run *run)
{
    uint32_t count = run->end - run->at, from = run->at;
    uint64_t limit = scan->request.row_limit;
    /* Each row delivered takes at most one of a run with unique times; but a row that was deleted
     * is not delivered, and those are taken out later. */
    if (limit && limit < count && !scan->deleted.count) {
        from = run->end - (uint32_t)limit;
        count = (uint32_t)limit;
    }
    void *time = run->time, *seq = (void *)(uintptr_t)run->seq;
    enum err err = reverse_bytes(&run->rows, &time, sizeof *run->time, from, count);
    if (!err && seq) err = reverse_bytes(&run->rows, &seq, sizeof *run->seq, from, count);
    run->time = time;
    run->seq = seq;
    for (size_t i = 0; i < scan->request.column_count && !err; i++)
        err = reverse_vector(&run->rows, &run->columns[i], from, count);
    run->at = 0;
    run->end = count;
    return err;
}

void run_clear(struct sql_scan *scan, struct run *run)
{
    if (run->ref_capacity) {
        budget_give(scan->budget, run->ref_capacity * sizeof *run->refs);
        mem_free(run->refs);
    }
    run->refs = NULL;
    run->ref_capacity = run->ref_count = run->ref_at = 0;
    run->pending = NULL;
    run->slices = NULL;
    run->at = run->end = 0;
    span_release(run->span);
    run->span = NULL;
    arena_free(&run->rows);
    arena_free(&run->index);
}

/* ---- main chains ---- */

static struct head_chunk *chain_end(struct sql_scan *scan, struct head_chain *chain)
{
    return scan->request.newest_first ? atomic_load_explicit(&chain->last, memory_order_acquire)
                                      : atomic_load_explicit(&chain->first, memory_order_acquire);
}

/* Times and positions ascend, and mostly the newest are wanted: so the first chunk that may have
 * some is looked for from the end. */
static struct head_chunk *first_wanted(const struct sql_scan *scan, struct head_chain *chain)
{
    struct head_chunk *chunk = atomic_load_explicit(&chain->last, memory_order_acquire);
    while (chunk->prev &&
           (atomic_load_explicit(&chunk->count, memory_order_acquire) == 0 ||
            (chunk->time[0] > scan->request.time_from_ns && chunk->seq[0] > scan->snapshot->above)))
        chunk = chunk->prev;
    return chunk;
}

enum err run_open_main(struct sql_scan *scan, struct run *run, struct head_series *rows)
{
    run->kind = RUN_MAIN;
    run->is_unique = true;
    run->chunk = chain_end(scan, &rows->main);
    bool is_bounded = scan->request.time_from_ns != INT64_MIN || scan->snapshot->above;
    if (run->chunk && !scan->request.newest_first && is_bounded)
        run->chunk = first_wanted(scan, &rows->main);
    return ERR_OK;
}

/* Rows [0, count) of a chunk's column as they lie. */
static enum err show_column(struct sql_scan *scan, struct run *run, struct head_chunk *chunk,
                            size_t index, uint32_t count)
{
    struct vector *v = &run->columns[index];
    struct head_column *column = head_chunk_column(chunk, scan->request.columns[index]);
    if (!column) return scan_absent(&run->rows, v, scan->types[index], count, QUALITY_NO_DATA);
    *v = (struct vector){.type = column->type, .count = count};
    v->null = atomic_load_explicit(&column->null, memory_order_acquire);
    v->quality = atomic_load_explicit(&column->quality, memory_order_acquire);
    v->data = column->data;
    return ERR_OK;
}

static enum err show_chunk(struct sql_scan *scan, struct run *run, struct head_chunk *chunk,
                           struct why *why)
{
    uint32_t count = atomic_load_explicit(&chunk->count, memory_order_acquire);
    while (count && chunk->seq[count - 1] > scan->snapshot->applied) count--;
    run->time = chunk->time;
    run->seq = chunk->seq;
    run_narrow(scan, run, count);
    while (run->at < run->end && run->seq[run->at] <= scan->snapshot->above) run->at++;
    if (run->at == run->end) return ERR_OK;
    enum err err = ERR_OK;
    for (size_t i = 0; i < scan->request.column_count && !err; i++)
        err = show_column(scan, run, chunk, i, count);
    if (!err) err = run_fit_types(scan, run, why);
    if (!err && scan->request.newest_first) err = run_reverse(scan, run);
    return err ? err : run_hide(scan, run);
}

enum err run_next_main(struct sql_scan *scan, struct run *run, struct why *why)
{
    arena_reset(&run->rows);
    run->at = run->end = 0;
    enum err err = ERR_OK;
    while (run->chunk && run->at == run->end && !err) {
        struct head_chunk *chunk = run->chunk;
        run->chunk = scan->request.newest_first
                         ? chunk->prev
                         : atomic_load_explicit(&chunk->next, memory_order_acquire);
        err = show_chunk(scan, run, chunk, why);
        uint32_t count = atomic_load_explicit(&chunk->count, memory_order_acquire);
        bool below = count && chunk->time[0] < scan->request.time_from_ns;
        if (below && scan->request.newest_first) run->chunk = NULL; /* the rest is older still */
    }
    return err;
}

/* ---- late rows ---- */

static enum err add_ref(struct sql_scan *scan, struct run *run, struct head_chunk *chunk,
                        uint32_t row)
{
    if (run->ref_count == run->ref_capacity) {
        size_t before = run->ref_capacity, want = before ? before * 2 : 8;
        if (budget_take(scan->budget, (want - before) * sizeof *run->refs)) return ERR_BUDGET;
        if (mem_grow(&run->refs, &run->ref_capacity, want, sizeof *run->refs)) {
            budget_give(scan->budget, (want - before) * sizeof *run->refs);
            return ERR_NO_MEMORY;
        }
        MUST(run->ref_capacity == want);
    }
    run->refs[run->ref_count++] = (struct head_ref){chunk, row};
    return ERR_OK;
}

enum err run_open_late(struct sql_scan *scan, struct run *run, struct head_series *rows)
{
    const struct sql_scan_request *r = &scan->request;
    run->kind = RUN_LATE;
    run->is_unique = false;
    struct head_chunk *chunk = atomic_load_explicit(&rows->late.first, memory_order_acquire);
    for (; chunk; chunk = atomic_load_explicit(&chunk->next, memory_order_acquire)) {
        uint32_t count = atomic_load_explicit(&chunk->count, memory_order_acquire);
        for (uint32_t row = 0; row < count; row++) {
            bool seen = chunk->seq[row] <= scan->snapshot->applied &&
                        chunk->seq[row] > scan->snapshot->above &&
                        chunk->time[row] >= r->time_from_ns &&
                        (chunk->time[row] < r->time_to_ns || r->time_to_ns == INT64_MAX);
            if (seen) seen = !deleted_hides(&scan->deleted, chunk->time[row], chunk->seq[row]);
            enum err err = seen ? add_ref(scan, run, chunk, row) : ERR_OK;
            if (err) return err;
        }
    }
    head_sort_refs(run->refs, run->ref_count);
    for (size_t i = 0, j = run->ref_count; r->newest_first && i + 1 < j; i++) {
        struct head_ref swap = run->refs[i];
        run->refs[i] = run->refs[--j];
        run->refs[j] = swap;
    }
    return ERR_OK;
}

/* Gathers one column of scattered rows. */
static enum err gather_column(struct sql_scan *scan, struct run *run, size_t index,
                              const struct head_ref *refs, uint32_t count, struct why *why)
{
    struct vector *v = &run->columns[index];
    if (vector_make(v, &run->rows, scan->types[index], count, true, true)) return ERR_BUDGET;
    v->count = count;
    for (uint32_t i = 0; i < count; i++) {
        struct head_column *column = head_chunk_column(refs[i].chunk, scan->request.columns[index]);
        struct value value = {.type = v->type, .is_null = true, .quality = QUALITY_NO_DATA};
        if (column) {
            struct vector from = {
                .type = column->type, .count = refs[i].row + 1, .data = column->data};
            from.null = atomic_load_explicit(&column->null, memory_order_acquire);
            from.quality = atomic_load_explicit(&column->quality, memory_order_acquire);
            if (!type_widens(from.type, v->type))
                return why_set(why, ERR_CONFLICT, "table %s was changed; try again",
                               scan->handle->schema->name);
            value = value_widen(vector_get(&from, refs[i].row), v->type);
        }
        vector_set(v, i, &value);
    }
    return ERR_OK;
}

enum err run_next_late(struct sql_scan *scan, struct run *run, struct why *why)
{
    arena_reset(&run->rows);
    size_t left = run->ref_count - run->ref_at;
    uint32_t count = left < SQL_CHUNK_ROWS ? (uint32_t)left : SQL_CHUNK_ROWS;
    const struct head_ref *refs = run->refs + run->ref_at;
    run->at = run->end = 0;
    if (!count) return ERR_OK;
    uint64_t *seq = arena_alloc(&run->rows, count * sizeof *seq);
    run->time = arena_alloc(&run->rows, count * sizeof *run->time);
    if (!run->time || !seq) return ERR_BUDGET;
    for (uint32_t i = 0; i < count; i++) {
        run->time[i] = head_ref_time(&refs[i]);
        seq[i] = head_ref_seq(&refs[i]);
    }
    run->seq = seq;
    enum err err = ERR_OK;
    for (size_t i = 0; i < scan->request.column_count && !err; i++)
        err = gather_column(scan, run, i, refs, count, why);
    run->ref_at += count;
    run->end = count;
    return err;
}
