/* op_sort.c - ORDER BY.
 *
 * Rows are kept in a rowset; what is sorted is a list of row numbers (a stable merge sort: bounded
 * memory, and it looks at the time limit). With LIMIT only the best rows are kept: whenever twice
 * as many have come the rest is thrown away, so the last ten of a million rows need memory for some
 * thousands. */
#include "sql/op.h"
#include "sql/func.h"
#include "sql/rowset.h"

enum { SORT_KEEP_MIN = 4096 };

struct sort {
    struct op op;
    struct rowset set;
    struct rowset_column *columns;
    uint64_t keep; /* rows needed; UINT64_MAX: all */
    bool has_best; /* rows 0 … keep - 1 of the set are sorted: a new row must beat the last of them
                    */
    uint32_t *rows; /* sorted row numbers, in set.arena */
    /* handing out */
    struct vector *out; /* [output_count]; NULL = not begun */
    uint32_t handed_out;
};

/* ---- order ---- */

static int compare_values(const struct sort_key *key, const struct value *x, const struct value *y)
{
    if (x->is_null && y->is_null) return 0;
    if (x->is_null || y->is_null) return x->is_null == key->nulls_first ? -1 : 1;
    int order = value_compare(x, y);
    return key->descending ? -order : order;
}

static int compare(const void *context, uint32_t a, uint32_t b)
{
    const struct sort *sort = context;
    const struct plan *plan = sort->op.run->plan;
    for (size_t i = 0; i < plan->order_count; i++) {
        const struct sort_key *key = &plan->order[i];
        struct value x = rowset_get(&sort->set, a, key->output);
        struct value y = rowset_get(&sort->set, b, key->output);
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
        struct value y = rowset_get(&sort->set, worst, key->output);
        int order = compare_values(key, &x, &y);
        if (order) return order < 0;
    }
    return false;
}

static enum err check(void *run)
{
    return run_check(run);
}

static enum err sort_rows(struct sort *sort)
{
    enum err err;
    struct rowset_order order = {compare, sort, check, sort->op.run};
    sort->rows = rowset_sort(&sort->set.arena, 0, sort->set.row_count, &order, &err);
    return err == ERR_NO_MEMORY ? run_no_memory(sort->op.run) : err;
}

/* Throws away all but the best `keep` rows. */
static enum err keep_best(struct sort *sort)
{
    enum err err = sort_rows(sort);
    if (err) return err;
    struct rowset next;
    rowset_init(&next, sort->op.run->context->budget, sort->columns, sort->set.column_count);
    for (uint32_t i = 0; i < sort->keep && i < sort->set.row_count; i++) {
        uint32_t row = sort->rows[i];
        if (rowset_add(&next, rowset_cell(&sort->set, row, 0), row % SQL_CHUNK_ROWS)) continue;
        rowset_free(&next);
        return run_no_memory(sort->op.run);
    }
    rowset_free(&sort->set);
    sort->set = next;
    sort->has_best = sort->keep > 0 && sort->set.row_count >= sort->keep;
    return ERR_OK;
}

/* ---- the operator ---- */

static enum err sort_push(struct op *op, const struct rows *rows)
{
    struct sort *sort = (struct sort *)op;
    for (uint32_t k = 0; k < rows->view.selected; k++) {
        uint32_t row = view_row(&rows->view, k);
        if (sort->has_best && !beats_worst(sort, rows->columns, row)) continue;
        if (!rowset_add(&sort->set, rows->columns, row)) return run_no_memory(op->run);
    }
    bool is_full = sort->set.row_count >= SORT_KEEP_MIN && sort->set.row_count / 2 >= sort->keep;
    return is_full ? keep_best(sort) : ERR_OK;
}

static enum err begin_handing_out(struct sort *sort)
{
    struct op *op = &sort->op;
    enum err err = sort_rows(sort);
    if (err) return err;
    struct vector *out = arena_zero(op->run->arena, sort->set.column_count, sizeof *out);
    if (!out || !rowset_make_vectors(&sort->set, op->run->arena, out))
        return run_no_memory(op->run);
    sort->out = out;
    return ERR_OK;
}

static enum err push_sorted(struct sort *sort)
{
    struct op *op = &sort->op;
    while (sort->handed_out < sort->set.row_count && !op->run->enough && !op->run->paused) {
        uint32_t left = sort->set.row_count - sort->handed_out;
        uint32_t n = left < SQL_CHUNK_ROWS ? left : SQL_CHUNK_ROWS;
        rowset_gather(&sort->set, sort->rows + sort->handed_out, n, sort->out);
        struct rows rows = {
            .view = {n, NULL, n}, .columns = sort->out, .column_count = sort->set.column_count};
        enum err err = run_check(op->run);
        if (!err) err = op_push(op->next, &rows);
        if (err) return err;
        sort->handed_out += n;
    }
    return ERR_OK;
}

static enum err sort_finish(struct op *op)
{
    struct sort *sort = (struct sort *)op;
    enum err err = sort->out ? ERR_OK : begin_handing_out(sort);
    if (!err) err = push_sorted(sort);
    return err || op->run->paused ? err : op_finish(op->next);
}

static void sort_close(struct op *op)
{
    rowset_free(&((struct sort *)op)->set);
}

struct op *op_sort_new(struct run *run, struct op *next)
{
    const struct plan *plan = run->plan;
    struct sort *sort = arena_zero(run->arena, 1, sizeof *sort);
    if (!sort) return NULL;
    sort->op = (struct op){.push = sort_push,
                           .finish = sort_finish,
                           .close = sort_close,
                           .next = next,
                           .run = run,
                           .measure = &plan->measures[STAGE_SORT]};
    sort->columns = arena_zero(run->arena, plan->output_count, sizeof *sort->columns);
    if (!sort->columns) return NULL;
    for (size_t c = 0; c < plan->output_count; c++) /* only plain columns, last(…) have qualities */
        sort->columns[c] =
            (struct rowset_column){plan->outputs[c]->type, plan->outputs[c]->kind == EXPR_INPUT};
    rowset_init(&sort->set, run->context->budget, sort->columns, plan->output_count);
    sort->keep = UINT64_MAX;
    if (plan->has_limit && plan->distinct_on_count == 0 &&
        __builtin_add_overflow(plan->limit, plan->offset, &sort->keep))
        sort->keep = UINT64_MAX;
    return &sort->op;
}
