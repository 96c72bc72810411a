/* op_rows.c - operators that hold nothing back: filter, project, distinct, limit, output. */
#include "sql/op.h"
#include "sql/keys.h"
#include <string.h>

static void *new_op(struct run *run, size_t size, struct op *next, enum stage stage)
{
    struct op *op = arena_zero(run->arena, 1, size);
    if (!op) return NULL;
    op->measure = &run->plan->measures[stage];
    op->run = run;
    op->next = next;
    return op;
}

/* ---- filter ---- */

struct filter {
    struct op op;
    uint16_t selection[2][SQL_CHUNK_ROWS]; /* read from one, written into the other */
};

static enum err filter_push(struct op *op, const struct rows *rows)
{
    struct filter *filter = (struct filter *)op;
    const struct plan *plan = op->run->plan;
    struct rows kept = *rows;
    for (size_t i = 0; i < plan->filter_count && kept.view.selected > 0; i++) {
        uint16_t *selection = filter->selection[i & 1];
        uint32_t selected;
        enum err err =
            expr_filter(&op->run->eval, plan->filters[i], &kept, &kept.view, selection, &selected);
        if (err) return err;
        if (selected < kept.view.selected)
            kept.view.selection = selection, kept.view.selected = selected;
    }
    return kept.view.selected > 0 ? op_push(op->next, &kept) : ERR_OK;
}

struct op *op_filter_new(struct run *run, struct op *next)
{
    struct op *op = new_op(run, sizeof(struct filter), next, STAGE_FILTER);
    if (op) op->push = filter_push;
    return op;
}

/* ---- project ---- */

struct project {
    struct op op;
    struct vector *columns; /* [output_count] */
};

static enum err project_push(struct op *op, const struct rows *rows)
{
    struct project *project = (struct project *)op;
    const struct plan *plan = op->run->plan;
    for (size_t i = 0; i < plan->output_count; i++) {
        enum err err =
            expr_eval(&op->run->eval, plan->outputs[i], rows, &rows->view, &project->columns[i]);
        if (err) return err;
    }
    struct rows out = {.view = rows->view,
                       .columns = project->columns,
                       .column_count = plan->output_count,
                       .series = rows->series,
                       .time = rows->time};
    return op_push(op->next, &out);
}

struct op *op_project_new(struct run *run, struct op *next)
{
    struct project *project = new_op(run, sizeof *project, next, STAGE_PROJECT);
    if (!project) return NULL;
    project->op.push = project_push;
    project->columns = arena_zero(run->arena, run->plan->output_count, sizeof *project->columns);
    return project->columns ? &project->op : NULL;
}

/* ---- distinct: passes a row on when its values are new ---- */

struct distinct {
    struct op op;
    size_t column_count;   /* those that tell rows apart … */
    const size_t *columns; /* … and which; NULL: the first */
    struct keys keys;
    struct buf key;
    uint16_t selection[SQL_CHUNK_ROWS];
};

static enum err distinct_push(struct op *op, const struct rows *rows)
{
    struct distinct *distinct = (struct distinct *)op;
    struct rows kept = *rows;
    uint32_t n = 0;
    for (uint32_t k = 0; k < rows->view.selected; k++) {
        uint32_t row = view_row(&rows->view, k);
        size_t index;
        bool added;
        buf_clear(&distinct->key);
        for (size_t c = 0; c < distinct->column_count; c++)
            keys_encode(&distinct->key,
                        &rows->columns[distinct->columns ? distinct->columns[c] : c], row);
        if (buf_failed(&distinct->key) ||
            !keys_find_or_add(&distinct->keys, buf_str(&distinct->key), &index, &added))
            return run_no_memory(op->run);
        distinct->selection[n] = (uint16_t)row;
        n += added;
    }
    kept.view.selection = distinct->selection;
    kept.view.selected = n;
    return n > 0 ? op_push(op->next, &kept) : ERR_OK;
}

static void distinct_close(struct op *op)
{
    buf_free(&((struct distinct *)op)->key);
}

struct op *op_distinct_new(struct run *run, struct op *next)
{
    struct distinct *distinct = new_op(run, sizeof *distinct, next, STAGE_DISTINCT);
    if (!distinct) return NULL;
    distinct->op.push = distinct_push;
    distinct->op.close = distinct_close;
    distinct->keys.arena = run->arena;
    distinct->column_count = run->plan->visible_count;
    return &distinct->op;
}

/* DISTINCT ON: the first row of each kind, in the order of ORDER BY. */
struct op *op_distinct_on_new(struct run *run, struct op *next)
{
    struct op *op = op_distinct_new(run, next);
    if (!op) return NULL;
    struct distinct *distinct = (struct distinct *)op;
    distinct->column_count = run->plan->distinct_on_count;
    distinct->columns = run->plan->distinct_on;
    op->measure = &run->plan->measures[STAGE_DISTINCT_ON];
    return op;
}

/* ---- limit ---- */

struct limit {
    struct op op;
    uint64_t to_skip, to_pass;
    uint16_t selection[SQL_CHUNK_ROWS];
};

static enum err limit_push(struct op *op, const struct rows *rows)
{
    struct limit *limit = (struct limit *)op;
    struct rows out = *rows;
    uint32_t skip =
        limit->to_skip < rows->view.selected ? (uint32_t)limit->to_skip : rows->view.selected;
    uint32_t pass = rows->view.selected - skip;
    if (pass > limit->to_pass) pass = (uint32_t)limit->to_pass;
    limit->to_skip -= skip;
    limit->to_pass -= pass;
    if (limit->to_pass == 0) op->run->enough = true;
    if (pass == 0) return ERR_OK;
    for (uint32_t k = 0; k < pass; k++)
        limit->selection[k] = (uint16_t)view_row(&rows->view, skip + k);
    out.view.selection = limit->selection;
    out.view.selected = pass;
    return op_push(op->next, &out);
}

struct op *op_limit_new(struct run *run, struct op *next)
{
    struct limit *limit = new_op(run, sizeof *limit, next, STAGE_LIMIT);
    if (!limit) return NULL;
    limit->op.push = limit_push;
    limit->to_skip = run->plan->offset;
    limit->to_pass = run->plan->has_limit ? run->plan->limit : UINT64_MAX;
    return &limit->op;
}

/* ---- output: the visible columns go to the sink ---- */

static enum err output_push(struct op *op, const struct rows *rows)
{
    struct run *run = op->run;
    run->stats->rows_out += rows->view.selected;
    enum err err = run->sink->rows(run->sink->context, rows->columns, run->plan->visible_count,
                                   rows->view.selection, rows->view.selected, run->why);
    run->paused |= run->sink->is_full && run->sink->is_full(run->sink->context);
    return err;
}

struct op *op_output_new(struct run *run)
{
    struct op *op = new_op(run, sizeof *op, NULL, STAGE_OUTPUT);
    if (op) op->push = output_push;
    return op;
}

/* ---- pass: the last operator of a child ---- */

struct pass {
    struct op op;
    struct run *parent;
    const struct plan *above; /* NULL: rows stay as they are */
    size_t side;
    struct op *target;
    struct vector *columns; /* [above->input_count] */
};

static enum err pass_push(struct op *op, const struct rows *rows)
{
    struct pass *pass = (struct pass *)op;
    struct run *parent = pass->parent;
    struct rows out = *rows;
    if (pass->above) {
        const struct plan *above = pass->above;
        for (size_t i = 0; i < above->input_count; i++)
            if (above->inputs[i].side == pass->side)
                pass->columns[i] = rows->columns[above->inputs[i].slot];
        out.columns = pass->columns;
        out.column_count = above->input_count;
        if (!above->table.has_series) out.time = NULL, out.series = 0;
        /* Rows on their way through the parent may use its scratch when a join reads its right. */
        if (pass->target == parent->first) arena_reset(&parent->eval.scratch);
    }
    enum err err = op_push(pass->target, &out);
    if (!pass->above) return err; /* the answer of a sub-query: always whole */
    op->run->paused |= parent->paused;
    op->run->enough |= parent->enough;
    return err;
}

struct op *op_pass_new(struct run *run, struct run *parent, const struct plan *above, size_t side,
                       struct op *target)
{
    struct pass *pass = new_op(run, sizeof *pass, NULL, STAGE_OUTPUT);
    if (!pass) return NULL;
    pass->op.push = pass_push;
    pass->parent = parent;
    pass->above = above;
    pass->side = side;
    pass->target = target;
    pass->columns = arena_zero(run->arena, above ? above->input_count : 0, sizeof *pass->columns);
    return pass->columns || !above || above->input_count == 0 ? &pass->op : NULL;
}
