/* op_sort.c - ORDER BY.
 *
 * Rows are copied, column by column, into blocks of the operator's arena; what is sorted is a list
 * of row numbers (a stable merge sort of our own: bounded memory, and it looks at the time limit).
 * With LIMIT only the best rows are kept: whenever twice as many have come the rest is thrown away,
 * so the last ten of a million rows need memory for some thousands. */
#include "sql/op.h"
#include "sql/func.h"
#include <string.h>

enum { SORT_KEEP_MIN = 4096, SORT_CHECK_ROWS = 65536 };

struct block {
    struct vector *columns; /* SQL_CHUNK_ROWS rows each, all arrays present */
};

struct store { /* of rows */
    struct arena arena;
    struct block *blocks;
    size_t block_count, block_capacity;
    uint32_t row_count;
};

struct sort {
    struct op op;
    struct store store;
    uint64_t keep;  /* rows needed; UINT64_MAX: all */
    bool has_best;  /* rows 0 … keep - 1 of the store are sorted: a new row must beat the last of
                       them */
    uint32_t *rows; /* sorted row numbers, in store.arena */
    /* handing out */
    struct vector *out; /* [output_count]; NULL = not begun */
    uint32_t handed_out;
};

/* ---- the store ---- */

static bool add_block(struct sort *sort)
{
    struct store *store = &sort->store;
    const struct plan *plan = sort->op.run->plan;
    if (store->block_count == store->block_capacity) {
        size_t capacity = store->block_capacity ? store->block_capacity * 2 : 16;
        struct block *blocks = arena_alloc(&store->arena, capacity * sizeof *blocks);
        if (!blocks) return false;
        if (store->block_count) memcpy(blocks, store->blocks, store->block_count * sizeof *blocks);
        store->blocks = blocks;
        store->block_capacity = capacity;
    }
    struct block *block = &store->blocks[store->block_count];
    block->columns = arena_zero(&store->arena, plan->output_count, sizeof *block->columns);
    if (!block->columns) return false;
    for (size_t c = 0; c < plan->output_count; c++) {
        const struct expr *e = plan->outputs[c];
        bool quality = e->kind == EXPR_INPUT; /* only plain columns and last(…) carry qualities */
        if (vector_make(&block->columns[c], &store->arena, e->type, SQL_CHUNK_ROWS, true, quality))
            return false;
        block->columns[c].count = SQL_CHUNK_ROWS;
    }
    store->block_count++;
    return true;
}

static bool copy_cell(struct arena *arena, struct vector *to, uint32_t to_row,
                      const struct vector *from, uint32_t row)
{
    struct value v = vector_get(from, row);
    bool is_slice = !v.is_null && type_bytes(v.type) == 0;
    if (is_slice && !(v.s.at = arena_dup(arena, v.s.at, v.s.size))) return false;
    vector_set(to, to_row, &v);
    return true;
}

static bool append(struct sort *sort, const struct vector *columns, uint32_t row)
{
    struct store *store = &sort->store;
    uint32_t at = store->row_count % SQL_CHUNK_ROWS;
    if (store->row_count == UINT32_MAX - SQL_CHUNK_ROWS) return false;
    if (at == 0 && !add_block(sort)) return false;
    struct block *block = &store->blocks[store->block_count - 1];
    for (size_t c = 0; c < sort->op.run->plan->output_count; c++)
        if (!copy_cell(&store->arena, &block->columns[c], at, &columns[c], row)) return false;
    store->row_count++;
    return true;
}

/* ---- order ---- */

static const struct vector *cell(const struct sort *sort, uint32_t row, size_t column)
{
    return &sort->store.blocks[row / SQL_CHUNK_ROWS].columns[column];
}

static int compare_values(const struct sort_key *key, const struct value *x, const struct value *y)
{
    if (x->is_null && y->is_null) return 0;
    if (x->is_null || y->is_null) return x->is_null == key->nulls_first ? -1 : 1;
    int order = value_compare(x, y);
    return key->descending ? -order : order;
}

static int compare(const struct sort *sort, uint32_t a, uint32_t b)
{
    const struct plan *plan = sort->op.run->plan;
    for (size_t i = 0; i < plan->order_count; i++) {
        const struct sort_key *key = &plan->order[i];
        struct value x = vector_get(cell(sort, a, key->output), a % SQL_CHUNK_ROWS);
        struct value y = vector_get(cell(sort, b, key->output), b % SQL_CHUNK_ROWS);
        int order = compare_values(key, &x, &y);
        if (order) return order;
    }
    return 0;
}

/* Whether a new row comes before the worst of the best; equal rows do not: earlier ones stay first.
 */
static bool beats_worst(const struct sort *sort, const struct vector *columns, uint32_t row)
{
    const struct plan *plan = sort->op.run->plan;
    uint32_t worst = (uint32_t)sort->keep - 1;
    for (size_t i = 0; i < plan->order_count; i++) {
        const struct sort_key *key = &plan->order[i];
        struct value x = vector_get(&columns[key->output], row);
        struct value y = vector_get(cell(sort, worst, key->output), worst % SQL_CHUNK_ROWS);
        int order = compare_values(key, &x, &y);
        if (order) return order < 0;
    }
    return false;
}

static void merge(const struct sort *sort, const uint32_t *from, uint32_t *to, size_t left,
                  size_t middle, size_t right)
{
    size_t a = left, b = middle;
    for (size_t i = left; i < right; i++) {
        bool take_a = a < middle && (b >= right || compare(sort, from[a], from[b]) <= 0);
        to[i] = take_a ? from[a++] : from[b++];
    }
}

static enum err sort_rows(struct sort *sort)
{
    size_t n = sort->store.row_count, done = 0;
    uint32_t *from = arena_alloc(&sort->store.arena, n * sizeof *from),
             *to = arena_alloc(&sort->store.arena, n * sizeof *to);
    if (!from || !to) return run_no_memory(sort->op.run);
    for (size_t i = 0; i < n; i++) from[i] = (uint32_t)i;
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t left = 0; left < n; left += 2 * width) {
            size_t middle = left + width < n ? left + width : n,
                   right = middle + width < n ? middle + width : n;
            merge(sort, from, to, left, middle, right);
            done += right - left;
            if (done < SORT_CHECK_ROWS) continue;
            done = 0;
            enum err err = run_check(sort->op.run);
            if (err) return err;
        }
        uint32_t *swap = from;
        from = to;
        to = swap;
    }
    sort->rows = from;
    return ERR_OK;
}

/* Throws away all but the best `keep` rows. */
static enum err keep_best(struct sort *sort)
{
    enum err err = sort_rows(sort);
    if (err) return err;
    struct sort next = {.op = sort->op, .keep = sort->keep};
    arena_init(&next.store.arena, sort->op.run->context->budget);
    for (uint32_t i = 0; i < sort->keep && i < sort->store.row_count; i++) {
        uint32_t row = sort->rows[i];
        if (append(&next, sort->store.blocks[row / SQL_CHUNK_ROWS].columns, row % SQL_CHUNK_ROWS))
            continue;
        arena_free(&next.store.arena);
        return run_no_memory(sort->op.run);
    }
    arena_free(&sort->store.arena);
    sort->store = next.store;
    sort->has_best = sort->keep > 0 && sort->store.row_count >= sort->keep;
    return ERR_OK;
}

/* ---- the operator ---- */

static enum err sort_push(struct op *op, const struct rows *rows)
{
    struct sort *sort = (struct sort *)op;
    for (uint32_t k = 0; k < rows->view.selected; k++) {
        uint32_t row = view_row(&rows->view, k);
        if (sort->has_best && !beats_worst(sort, rows->columns, row)) continue;
        if (!append(sort, rows->columns, row)) return run_no_memory(op->run);
    }
    bool is_full =
        sort->store.row_count >= SORT_KEEP_MIN && sort->store.row_count / 2 >= sort->keep;
    return is_full ? keep_best(sort) : ERR_OK;
}

static enum err make_out(struct sort *sort)
{
    struct op *op = &sort->op;
    const struct plan *plan = op->run->plan;
    struct vector *out = arena_zero(op->run->arena, plan->output_count, sizeof *out);
    if (!out) return run_no_memory(op->run);
    for (size_t c = 0; c < plan->output_count; c++) {
        bool quality = plan->outputs[c]->kind == EXPR_INPUT;
        if (vector_make(&out[c], op->run->arena, plan->outputs[c]->type, SQL_CHUNK_ROWS, true,
                        quality))
            return run_no_memory(op->run);
    }
    sort->out = out;
    return ERR_OK;
}

static enum err push_sorted(struct sort *sort)
{
    struct op *op = &sort->op;
    const struct plan *plan = op->run->plan;
    struct vector *out = sort->out;
    while (sort->handed_out < sort->store.row_count && !op->run->enough && !op->run->paused) {
        uint32_t from = sort->handed_out;
        uint32_t n = sort->store.row_count - from < SQL_CHUNK_ROWS ? sort->store.row_count - from
                                                                   : SQL_CHUNK_ROWS;
        for (size_t c = 0; c < plan->output_count; c++) {
            out[c].count = n;
            for (uint32_t r = 0; r < n; r++) {
                uint32_t row = sort->rows[from + r];
                struct value v = vector_get(cell(sort, row, c), row % SQL_CHUNK_ROWS);
                vector_set(&out[c], r, &v);
            }
        }
        struct rows rows = {
            .view = {n, NULL, n}, .columns = out, .column_count = plan->output_count};
        enum err err = run_check(op->run);
        if (!err) err = op->next->push(op->next, &rows);
        if (err) return err;
        sort->handed_out += n;
    }
    return ERR_OK;
}

static enum err sort_finish(struct op *op)
{
    struct sort *sort = (struct sort *)op;
    enum err err = ERR_OK;
    if (!sort->out) {
        err = sort_rows(sort);
        if (!err) err = make_out(sort);
    }
    if (!err) err = push_sorted(sort);
    return err || op->run->paused ? err : op_finish(op->next);
}

static void sort_close(struct op *op)
{
    arena_free(&((struct sort *)op)->store.arena);
}

struct op *op_sort_new(struct run *run, struct op *next)
{
    struct sort *sort = arena_zero(run->arena, 1, sizeof *sort);
    if (!sort) return NULL;
    sort->op = (struct op){sort_push, sort_finish, sort_close, next, run};
    arena_init(&sort->store.arena, run->context->budget);
    sort->keep = UINT64_MAX;
    if (run->plan->has_limit &&
        __builtin_add_overflow(run->plan->limit, run->plan->offset, &sort->keep))
        sort->keep = UINT64_MAX;
    return &sort->op;
}
