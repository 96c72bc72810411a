/* head.c - rows in memory; see head.h.
 *
 * A row is published only when all its cells are in place. A batch that fails half way (out of
 * memory) is taken back: no statement has seen its rows, since all of them skip what is above the
 * position applied when they began.
 *
 * Chunks double from two rows to 128: a table of many silent devices takes little, a busy device
 * soon has arrays worth walking. A column that a batch lacks is there in later chunks all the same,
 * NULL with GoodNoData, so that neighbours share one layout and are copied in one piece.
 *
 * Called by: the log task alone grows one (store.c) or asks what it would take (held.c); any task
 * reads (scan_head.c), the flush task those that are frozen (seal.c).
 * Owns: its chunks, its texts and what of the budget they take; shared by views.
 * Invariants: times of a main chain ascend; count ≤ capacity; a chunk's columns and their types do
 * not change; size_bytes is what the budget was asked for, so that at the last release nothing of
 * it is left; a frozen head takes no row. */
#include "store/head.h"
#include "store/refs.h"
#include <stdlib.h>
#include <string.h>

enum { SERIES_BYTES = sizeof(struct head_series) + 16 }; /* what the allocator keeps beside it */

struct head *head_new(struct budget *budget)
{
    struct head *head = mem_alloc_zero(1, sizeof *head);
    if (!head) return NULL;
    atomic_init(&head->refs, 1);
    head->magic = HEAD_MAGIC;
    budget_init(&head->budget, "head generation", budget, SIZE_MAX);
    arena_init(&head->texts, &head->budget);
    return head;
}

struct head *head_share(struct head *head)
{
    MUST(head->magic == HEAD_MAGIC);
    refs_take(&head->refs);
    return head;
}

static void free_chunk(struct head *head, struct head_chunk *chunk)
{
    for (uint32_t i = 0; i < chunk->column_count; i++) {
        mem_free(atomic_load(&chunk->columns[i].null));
        mem_free(atomic_load(&chunk->columns[i].quality));
    }
    budget_give(&head->budget, chunk->size_bytes);
    mem_free(chunk);
}

static void free_chain(struct head *head, struct head_chain *chain)
{
    struct head_chunk *chunk = atomic_load(&chain->first);
    while (chunk) {
        struct head_chunk *next = atomic_load(&chunk->next);
        free_chunk(head, chunk);
        chunk = next;
    }
}

void head_release(struct head *head)
{
    MUST(!head || head->magic == HEAD_MAGIC);
    if (!head || !refs_drop(&head->refs)) return;
    for (size_t b = 0; b < HEAD_BLOCKS_MAX; b++) {
        struct head_series *_Atomic *block = atomic_load(&head->blocks[b]);
        for (size_t i = 0; block && i < HEAD_SERIES_BLOCK; i++) {
            struct head_series *series = atomic_load(&block[i]);
            if (!series) continue;
            free_chain(head, &series->main);
            free_chain(head, &series->late);
            budget_give(&head->budget, SERIES_BYTES);
            mem_free(series);
        }
        mem_free(block);
    }
    arena_free(&head->texts);
    MUST(atomic_load(&head->budget.used_bytes) == 0); /* all that was taken is given back */
    head->magic = 0;
    mem_free(head);
}

struct head_series *head_find(struct head *head, uint32_t id)
{
    if (id / HEAD_SERIES_BLOCK >= HEAD_BLOCKS_MAX) return NULL;
    struct head_series *_Atomic *block =
        atomic_load_explicit(&head->blocks[id / HEAD_SERIES_BLOCK], memory_order_acquire);
    return block ? atomic_load_explicit(&block[id % HEAD_SERIES_BLOCK], memory_order_acquire)
                 : NULL;
}

static enum err make_series(struct head *head, uint32_t id, struct head_series **out)
{
    if (id / HEAD_SERIES_BLOCK >= HEAD_BLOCKS_MAX) return ERR_LIMIT;
    struct head_series *_Atomic *block = atomic_load(&head->blocks[id / HEAD_SERIES_BLOCK]);
    if (!block) {
        block = mem_alloc_zero(HEAD_SERIES_BLOCK, sizeof *block);
        if (!block) return ERR_NO_MEMORY;
        atomic_store_explicit(&head->blocks[id / HEAD_SERIES_BLOCK], block, memory_order_release);
    }
    *out = atomic_load(&block[id % HEAD_SERIES_BLOCK]);
    if (*out) return ERR_OK;
    enum err err = budget_take(&head->budget, SERIES_BYTES);
    if (err) return err;
    *out = mem_alloc_zero(1, sizeof **out);
    if (!*out) {
        budget_give(&head->budget, SERIES_BYTES);
        return ERR_NO_MEMORY;
    }
    atomic_store_explicit(&block[id % HEAD_SERIES_BLOCK], *out, memory_order_release);
    return ERR_OK;
}

/* ---- chunks ---- */

struct head_column *head_chunk_column(struct head_chunk *chunk, uint16_t id)
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

static bool has_columns_of(const struct head_chunk *chunk, const struct batch *batch)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < batch->column_count; i++, at++) {
        uint16_t id = batch->columns[i].id;
        while (at < chunk->column_count && chunk->columns[at].id < id) at++;
        if (at == chunk->column_count || chunk->columns[at].id != id ||
            chunk->columns[at].type != batch->columns[i].data.type)
            return false;
    }
    return true;
}

static size_t aligned(size_t size)
{
    return (size + 15) & ~(size_t)15;
}

/* The union of the columns of the chunk before and of the batch, ids ascending: their number, the
 * bytes of their data for `rows` rows, and (unless NULL) themselves. */
static uint32_t merge_columns(const struct head_chunk *before, const struct batch *batch,
                              struct head_column *out, uint32_t rows, size_t *data_bytes)
{
    uint32_t count = 0, a = 0, b = 0, a_count = before ? before->column_count : 0;
    *data_bytes = 0;
    while (a < a_count || b < batch->column_count) {
        uint32_t id_a = a < a_count ? before->columns[a].id : UINT32_MAX;
        uint32_t id_b = b < batch->column_count ? batch->columns[b].id : UINT32_MAX;
        uint32_t id = id_a < id_b ? id_a : id_b;
        enum type type = id_b <= id_a ? batch->columns[b].data.type : before->columns[a].type;
        if (out) out[count] = (struct head_column){.id = (uint16_t)id, .type = type};
        count++;
        *data_bytes += aligned(rows * vector_element_bytes(type));
        a += id_a == id;
        b += id_b == id;
    }
    return count;
}

static struct head_chunk *make_chunk(const struct head_chunk *before, const struct batch *batch,
                                     uint32_t rows)
{
    uint32_t capacity = before ? before->capacity * 2 : HEAD_CHUNK_ROWS_MIN;
    while (capacity < rows && capacity < HEAD_CHUNK_ROWS_MAX) capacity *= 2;
    if (capacity > HEAD_CHUNK_ROWS_MAX) capacity = HEAD_CHUNK_ROWS_MAX;
    MUST(capacity > 0 && rows > 0);
    size_t data_bytes;
    uint32_t column_count = merge_columns(before, batch, NULL, capacity, &data_bytes);
    size_t fixed = aligned(sizeof(struct head_chunk) + column_count * sizeof(struct head_column));
    struct head_chunk *chunk = mem_alloc_zero(1, fixed + capacity * 16u + data_bytes);
    if (!chunk) return NULL;
    uint32_t merged = merge_columns(before, batch, chunk->columns, capacity, &data_bytes);
    MUST(merged == column_count);
    char *at = (char *)chunk + fixed;
    chunk->time = (int64_t *)(void *)at;
    chunk->seq = (uint64_t *)(void *)(at + capacity * 8u);
    at += capacity * 16u;
    for (uint32_t i = 0; i < column_count; i++) {
        chunk->columns[i].data = at;
        at += aligned(capacity * vector_element_bytes(chunk->columns[i].type));
    }
    chunk->capacity = capacity;
    chunk->column_count = column_count;
    chunk->size_bytes = (size_t)(at - (char *)chunk);
    MUST(chunk->size_bytes == fixed + capacity * 16u + data_bytes); /* what was allocated */
    return chunk;
}

static enum err need_null(struct head *head, struct head_chunk *chunk, struct head_column *column)
{
    if (atomic_load_explicit(&column->null, memory_order_relaxed)) return ERR_OK;
    enum err err = budget_take(&head->budget, chunk->capacity);
    if (err) return err;
    uint8_t *null = mem_alloc_zero(chunk->capacity, 1);
    if (!null) {
        budget_give(&head->budget, chunk->capacity);
        return ERR_NO_MEMORY;
    }
    chunk->size_bytes += chunk->capacity;
    atomic_store_explicit(&column->null, null, memory_order_release);
    return ERR_OK;
}

static enum err need_quality(struct head *head, struct head_chunk *chunk,
                             struct head_column *column)
{
    if (atomic_load_explicit(&column->quality, memory_order_relaxed)) return ERR_OK;
    size_t size = chunk->capacity * sizeof(uint32_t);
    enum err err = budget_take(&head->budget, size);
    if (err) return err;
    uint32_t *quality = mem_alloc_zero(chunk->capacity, sizeof *quality);
    if (!quality) {
        budget_give(&head->budget, size);
        return ERR_NO_MEMORY;
    }
    chunk->size_bytes += size;
    atomic_store_explicit(&column->quality, quality, memory_order_release);
    return ERR_OK;
}

/* The arrays that rows of `batch` may need in this chunk. A column the batch lacks is absent: NULL
 * with a quality. */
static enum err prepare_arrays(struct head *head, struct head_chunk *chunk,
                               const struct batch *batch)
{
    uint32_t b = 0;
    for (uint32_t i = 0; i < chunk->column_count; i++) {
        struct head_column *column = &chunk->columns[i];
        while (b < batch->column_count && batch->columns[b].id < column->id) b++;
        bool here = b < batch->column_count && batch->columns[b].id == column->id;
        const struct vector *v = here ? &batch->columns[b].data : NULL;
        enum err err = !v || v->null ? need_null(head, chunk, column) : ERR_OK;
        if (!err && (!v || v->quality)) err = need_quality(head, chunk, column);
        if (err) return err;
    }
    return ERR_OK;
}

/* Makes the last chunk of `chain` fit for the batch's columns with at least one free row. A chunk
 * added here stays empty if a later step fails: harmless, readers skip it. */
static enum err prepare_chain(struct head *head, struct head_chain *chain,
                              const struct batch *batch, uint32_t rows)
{
    struct head_chunk *last = atomic_load_explicit(&chain->last, memory_order_relaxed);
    if (last && atomic_load_explicit(&last->count, memory_order_relaxed) < last->capacity &&
        has_columns_of(last, batch))
        return prepare_arrays(head, last, batch);
    struct head_chunk *chunk = make_chunk(last, batch, rows);
    if (!chunk) return ERR_NO_MEMORY;
    enum err err = budget_take(&head->budget, chunk->size_bytes);
    if (err) {
        mem_free(chunk);
        return err;
    }
    if ((err = prepare_arrays(head, chunk, batch))) {
        free_chunk(head, chunk);
        return err;
    }
    chunk->prev = last;
    if (last)
        atomic_store_explicit(&last->next, chunk, memory_order_release);
    else
        atomic_store_explicit(&chain->first, chunk, memory_order_release);
    atomic_store_explicit(&chain->last, chunk, memory_order_release);
    return ERR_OK;
}

/* ---- filling ---- */

static enum err copy_slice(struct head *head, struct str from, struct str *to)
{
    char *own = arena_alloc(&head->texts, from.size);
    if (!own) return ERR_NO_MEMORY;
    if (from.size) memcpy(own, from.at, from.size);
    *to = (struct str){own, from.size};
    return ERR_OK;
}

/* Rows row … row+n-1 of a batch's column, or of none (`v` NULL), from place `at` on. */
static enum err fill_cells(struct head *head, struct head_column *column, uint32_t at,
                           const struct vector *v, uint32_t row, uint32_t n)
{
    uint8_t *null = atomic_load_explicit(&column->null, memory_order_relaxed);
    uint32_t *quality = atomic_load_explicit(&column->quality, memory_order_relaxed);
    MUST(!v || !v->is_constant);
    for (uint32_t i = 0; null && i < n; i++) null[at + i] = !v || vector_is_null(v, row + i);
    for (uint32_t i = 0; quality && i < n; i++)
        quality[at + i] = v ? vector_quality(v, row + i) : QUALITY_NO_DATA;
    if (!v) return ERR_OK;
    size_t element = type_bytes(column->type);
    if (element) {
        memcpy((char *)column->data + at * element, (const char *)v->data + row * element,
               n * element);
        return ERR_OK;
    }
    enum err err = ERR_OK;
    for (uint32_t i = 0; i < n && !err; i++)
        if (!vector_is_null(v, row + i))
            err = copy_slice(head, v->s[row + i], &((struct str *)column->data)[at + i]);
    return err;
}

/* Appends rows of one device to the chain's last chunk; its room was prepared. */
static enum err fill_rows(struct head *head, struct head_chunk *chunk, const struct batch *batch,
                          uint32_t row, uint32_t n)
{
    uint32_t at = atomic_load_explicit(&chunk->count, memory_order_relaxed);
    MUST(at + n <= chunk->capacity);
    memcpy(chunk->time + at, batch->time + row, n * sizeof *chunk->time);
    for (uint32_t i = 0; i < n; i++) chunk->seq[at + i] = batch->seq;
    uint32_t b = 0;
    for (uint32_t i = 0; i < chunk->column_count; i++) {
        struct head_column *column = &chunk->columns[i];
        while (b < batch->column_count && batch->columns[b].id < column->id) b++;
        bool here = b < batch->column_count && batch->columns[b].id == column->id;
        enum err err = fill_cells(head, column, at, here ? &batch->columns[b].data : NULL, row, n);
        if (err) return err;
    }
    atomic_store_explicit(&chunk->count, at + n, memory_order_release);
    return ERR_OK;
}

/* The end of its device's rows: a sealed batch has them together, the times ascending. */
static uint32_t end_of_device(const struct batch *batch, uint32_t row)
{
    uint32_t end = row + 1;
    while (end < batch->row_count && batch->device[end] == batch->device[row]) end++;
    return end;
}

static enum err fill_chain(struct head *head, struct head_chain *chain, const struct batch *batch,
                           uint32_t row, uint32_t end)
{
    while (row < end) {
        enum err err = prepare_chain(head, chain, batch, end - row);
        if (err) return err;
        struct head_chunk *chunk = atomic_load_explicit(&chain->last, memory_order_relaxed);
        uint32_t n = chunk->capacity - atomic_load_explicit(&chunk->count, memory_order_relaxed);
        MUST(n > 0); /* prepared */
        if (n > end - row) n = end - row;
        if ((err = fill_rows(head, chunk, batch, row, n))) return err;
        row += n;
    }
    return ERR_OK;
}

static enum err apply_rows(struct head *head, const struct batch *batch)
{
    for (uint32_t row = 0, end; row < batch->row_count; row = end) {
        struct head_series *series = NULL;
        enum err err = make_series(head, batch->devices[batch->device[row]].series, &series);
        if (err) return err;
        end = end_of_device(batch, row);
        uint32_t in_time = row;
        while (series->any && in_time < end && batch->time[in_time] <= series->last_time) in_time++;
        if ((err = fill_chain(head, &series->late, batch, row, in_time))) return err;
        if ((err = fill_chain(head, &series->main, batch, in_time, end))) return err;
        if (in_time == end) continue;
        series->last_time = batch->time[end - 1];
        series->any = true;
    }
    return ERR_OK;
}

/* Takes rows with this seq off the end of a chain; returns the last chunk that still has rows. The
 * emptied chunks stay and are filled by the next rows. */
static struct head_chunk *take_back_chain(struct head_chain *chain, uint64_t seq)
{
    struct head_chunk *chunk = atomic_load_explicit(&chain->last, memory_order_relaxed);
    for (; chunk; chunk = chunk->prev) {
        uint32_t count = atomic_load_explicit(&chunk->count, memory_order_relaxed);
        while (count && chunk->seq[count - 1] == seq) count--;
        atomic_store_explicit(&chunk->count, count, memory_order_release);
        if (count) return chunk;
    }
    return NULL;
}

static void take_back(struct head *head, const struct batch *batch)
{
    for (uint32_t i = 0; i < batch->device_count; i++) {
        struct head_series *series = head_find(head, batch->devices[i].series);
        if (!series) continue;
        (void)take_back_chain(&series->late, batch->seq);
        const struct head_chunk *last = take_back_chain(&series->main, batch->seq);
        series->any = last != NULL;
        if (last) series->last_time = last->time[atomic_load(&last->count) - 1];
    }
}

enum err head_apply(struct head *head, const struct batch *batch)
{
    MUST(head->magic == HEAD_MAGIC && !head->sealed_seq);
    MUST(batch->sealed && batch->seq > head->last_seq);
    enum err err = apply_rows(head, batch);
    if (err) {
        take_back(head, batch);
        return err;
    }
    head->last_seq = batch->seq;
    if (!head->first_seq) head->first_seq = batch->seq;
    atomic_fetch_add_explicit(&head->row_count, batch->row_count, memory_order_relaxed);
    return ERR_OK;
}

/* What a chunk takes for each of its rows, and beside them. */
static size_t bytes_per_row(const struct batch *batch)
{
    size_t bytes = sizeof(int64_t) + sizeof(uint64_t);
    for (uint32_t i = 0; i < batch->column_count; i++) {
        const struct vector *v = &batch->columns[i].data;
        bytes +=
            vector_element_bytes(v->type) + (v->null != NULL) + (v->quality ? sizeof(uint32_t) : 0);
    }
    return bytes;
}

size_t head_need(struct head *head, const struct batch *batch)
{
    MUST(batch->sealed);
    size_t per_row = bytes_per_row(batch), need = batch->arena.taken_bytes;
    size_t fixed =
        sizeof(struct head_chunk) + batch->column_count * (sizeof(struct head_column) + 16);
    for (uint32_t row = 0, end; row < batch->row_count; row = end) {
        const struct head_series *series =
            head_find(head, batch->devices[batch->device[row]].series);
        const struct head_chunk *last = series ? atomic_load(&series->main.last) : NULL;
        end = end_of_device(batch, row);
        if (!series) need += SERIES_BYTES;
        uint32_t left = last ? last->capacity - atomic_load(&last->count) : 0, rows = end - row;
        uint32_t capacity = last ? last->capacity : HEAD_CHUNK_ROWS_MIN / 2;
        for (rows -= rows < left ? rows : left; rows; rows -= rows < capacity ? rows : capacity) {
            if (capacity < HEAD_CHUNK_ROWS_MAX) capacity *= 2;
            while (capacity < rows && capacity < HEAD_CHUNK_ROWS_MAX) capacity *= 2;
            need += fixed + capacity * per_row;
        }
    }
    return need;
}

static int compare_refs(const void *a, const void *b)
{
    const struct head_ref *x = a, *y = b;
    int64_t time_x = head_ref_time(x), time_y = head_ref_time(y);
    if (time_x != time_y) return time_x < time_y ? -1 : 1;
    uint64_t seq_x = head_ref_seq(x), seq_y = head_ref_seq(y);
    return (seq_x > seq_y) - (seq_x < seq_y);
}

void head_sort_refs(struct head_ref *refs, size_t count)
{
    if (count) qsort(refs, count, sizeof *refs, compare_refs);
}
