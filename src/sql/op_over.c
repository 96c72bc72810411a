/* op_over.c - window functions: rows are held back, sorted by each window's PARTITION BY and ORDER
 * BY, and leave in the order in which they came, with the results as further columns.
 *
 * Over a table, partitions by device can be computed one series at a time: then memory is that of
 * the largest series. Everything a call needs (keys, arguments) is computed when rows come, and
 * kept as columns beside them. */
#include "sql/op.h"
#include "sql/func.h"
#include "sql/over_priv.h"
#include <string.h>

struct over {
    struct op op;
    const struct plan_over *plan;
    /* columns of the set: those of the rows, then keys and arguments, then the rows' time */
    size_t column_count, time_column;
    size_t *spec_column; /* [spec] first of its partition keys, then order keys */
    size_t (*arg_column)[OVER_ARGS_MAX];
    struct rowset_column *columns;
    struct rowset set;
    struct vector *extra; /* [column_count] what is kept of a chunk */
    struct vector spread_time;
    bool has_time, needs_time;
    uint32_t series;
    bool has_series;
    struct arena memory;    /* results: of the rows that are in the set */
    struct vector *results; /* [call] as many as the set has rows */
    /* handing out */
    bool is_computed;
    size_t block;
    struct vector *out;
    bool has_waiting; /* `waiting` came while rows before it could not all leave */
    struct rows waiting;
};

static enum err no_memory(struct over *over)
{
    over->op.run->root->advice =
        "window functions keep their rows: narrow the time range, or add device to PARTITION BY, "
        "so that one device at a time is enough";
    return run_no_memory(over->op.run);
}

/* ---- keeping rows ---- */

static enum err keep_exprs(struct over *over, const struct rows *rows, struct expr *const *exprs,
                           size_t count, size_t column)
{
    enum err err = ERR_OK;
    for (size_t i = 0; i < count && !err; i++)
        err = expr_eval(&over->op.run->eval, exprs[i], rows, &rows->view, &over->extra[column + i]);
    return err;
}

static enum err keep_rows(struct over *over, const struct rows *rows)
{
    enum err err = ERR_OK;
    for (size_t c = 0; c < over->plan->base && c < rows->column_count; c++)
        over->extra[c] = rows->columns[c];
    for (size_t s = 0; s < over->plan->spec_count && !err; s++) {
        const struct over_spec *spec = &over->plan->specs[s];
        err = keep_exprs(over, rows, spec->partition, spec->partition_count, over->spec_column[s]);
        if (!err)
            err = keep_exprs(over, rows, spec->order, spec->order_count,
                             over->spec_column[s] + spec->partition_count);
    }
    for (size_t i = 0; i < over->plan->call_count && !err; i++) {
        const struct over_call *call = &over->plan->calls[i];
        err = keep_exprs(over, rows, call->args, call->arg_count, over->arg_column[i][0]);
    }
    if (err) return err;
    if (over->needs_time) {
        over->has_time = rows->time != NULL;
        over->extra[over->time_column] = (struct vector){.type = TYPE_TIMESTAMP,
                                                         .count = rows->view.count,
                                                         .i = (int64_t *)(uintptr_t)rows->time};
        if (!rows->time) over->extra[over->time_column] = over->spread_time;
    }
    return rowset_add_all(&over->set, over->extra, &rows->view) ? ERR_OK : no_memory(over);
}

/* ---- sorting ---- */

struct order {
    const struct over *over;
    const struct over_spec *spec;
    size_t column;
};

static int compare_cells(const struct over *over, uint32_t a, uint32_t b, size_t column,
                         const struct sort_key *key)
{
    struct value x = rowset_get(&over->set, a, column), y = rowset_get(&over->set, b, column);
    bool nulls_first = key && key->nulls_first;
    if (x.is_null || y.is_null)
        return x.is_null && y.is_null ? 0 : x.is_null == nulls_first ? -1 : 1;
    int order = value_compare(&x, &y);
    return key && key->descending ? -order : order;
}

static int compare_partition(const struct order *order, uint32_t a, uint32_t b)
{
    for (size_t i = 0; i < order->spec->partition_count; i++) {
        int result = compare_cells(order->over, a, b, order->column + i, NULL);
        if (result) return result;
    }
    return 0;
}

static int compare_order(const struct order *order, uint32_t a, uint32_t b)
{
    for (size_t i = 0; i < order->spec->order_count; i++) {
        int result =
            compare_cells(order->over, a, b, order->column + order->spec->partition_count + i,
                          &order->spec->keys[i]);
        if (result) return result;
    }
    return 0;
}

static int compare_rows(const void *context, uint32_t a, uint32_t b)
{
    int result = compare_partition(context, a, b);
    return result ? result : compare_order(context, a, b);
}

static enum err check(void *run)
{
    return run_check(run);
}

/* ---- results of one partition ---- */

static void put(struct over *over, size_t call, const struct partition *p, uint32_t at,
                const struct value *value)
{
    struct value v = *value;
    v.type = over->plan->calls[call].type;
    v.quality = QUALITY_GOOD;
    vector_set(&over->results[call], p->rows[at], &v);
}

static void put_int(struct over *over, size_t call, const struct partition *p, uint32_t at,
                    uint64_t n)
{
    put(over, call, p, at, &(struct value){.i = (int64_t)n});
}

static void put_double(struct over *over, size_t call, const struct partition *p, uint32_t at,
                       double d)
{
    put(over, call, p, at, &(struct value){.d = d});
}

/* n rows dealt into k parts: the first n % k have one more. */
static uint64_t part_of(uint32_t at, uint32_t count, int64_t parts)
{
    uint64_t k = (uint64_t)parts, size = count / k, larger = count % k;
    uint64_t in_larger = larger * (size + 1);
    if (at < in_larger) return at / (size + 1) + 1;
    return larger + (size ? (at - in_larger) / size : 0) + 1;
}

static struct value arg_at(const struct over *over, size_t call, size_t arg,
                           const struct partition *p, uint32_t at)
{
    return rowset_get(&over->set, p->rows[at], over->arg_column[call][arg]);
}

static enum err put_ntile(struct over *over, size_t call, const struct partition *p, uint32_t at)
{
    struct value parts = arg_at(over, call, 0, p, 0);
    if (parts.is_null) {
        put(over, call, p, at, &parts);
        return ERR_OK;
    }
    if (parts.i < 1)
        return why_at(over->op.run->why, ERR_INVALID, over->plan->calls[call].position,
                      "ntile wants a number of parts above 0");
    put_int(over, call, p, at, part_of(at, p->count, parts.i));
    return ERR_OK;
}

static void put_neighbour(struct over *over, size_t call, const struct partition *p, uint32_t at,
                          int sign)
{
    const struct over_call *c = &over->plan->calls[call];
    struct value distance = {.i = 1}, value = {.is_null = true};
    int64_t to;
    if (c->arg_count > 1) distance = arg_at(over, call, 1, p, at);
    bool inside = !distance.is_null &&
                  !__builtin_mul_overflow(distance.i, (int64_t)sign, &distance.i) &&
                  !__builtin_add_overflow(distance.i, (int64_t)at, &to) && to >= 0 && to < p->count;
    if (inside)
        value = arg_at(over, call, 0, p, (uint32_t)to);
    else if (!distance.is_null && c->arg_count > 2)
        value = arg_at(over, call, 2, p, at);
    put(over, call, p, at, &value);
}

static enum err put_of_frame(struct over *over, size_t call, const struct partition *p, uint32_t at,
                             const struct frames *frames)
{
    struct value value = {.is_null = true};
    uint32_t from = frames->from, count = frames->to > from ? frames->to - from : 0;
    enum over_kind kind = over->plan->calls[call].function->kind;
    if (kind == OVER_NTH_VALUE) {
        struct value n = arg_at(over, call, 1, p, at);
        if (!n.is_null && n.i < 1)
            return why_at(over->op.run->why, ERR_INVALID, over->plan->calls[call].position,
                          "nth_value counts from 1");
        if (!n.is_null && n.i <= count) value = arg_at(over, call, 0, p, from + (uint32_t)n.i - 1);
    } else if (count > 0) {
        value = arg_at(over, call, 0, p, kind == OVER_FIRST_VALUE ? from : frames->to - 1);
    }
    put(over, call, p, at, &value);
    return ERR_OK;
}

static enum err put_function(struct over *over, size_t call, const struct partition *p, uint32_t at,
                             struct frames *frames)
{
    uint32_t rank = p->peer_from[at] + 1;
    switch (over->plan->calls[call].function->kind) {
    case OVER_ROW_NUMBER: put_int(over, call, p, at, (uint64_t)at + 1); break;
    case OVER_RANK: put_int(over, call, p, at, rank); break;
    case OVER_DENSE_RANK: put_int(over, call, p, at, (uint64_t)p->group[at] + 1); break;
    case OVER_PERCENT_RANK:
        put_double(over, call, p, at, p->count > 1 ? (rank - 1.0) / (p->count - 1.0) : 0);
        break;
    case OVER_CUME_DIST:
        put_double(over, call, p, at, (double)p->peer_to[at] / (double)p->count);
        break;
    case OVER_NTILE: return put_ntile(over, call, p, at);
    case OVER_LAG: put_neighbour(over, call, p, at, -1); break;
    case OVER_LEAD: put_neighbour(over, call, p, at, 1); break;
    case OVER_FIRST_VALUE:
    case OVER_LAST_VALUE:
    case OVER_NTH_VALUE: frames_move(frames, at); return put_of_frame(over, call, p, at, frames);
    case OVER_AGGREGATE: return ERR_INTERNAL;
    }
    return ERR_OK;
}

static enum err put_moving(struct over *over, size_t call, const struct partition *p,
                           struct frames *frames, struct arena *memory, const int64_t *times)
{
    const struct over_call *c = &over->plan->calls[call];
    struct moving moving = {.call = c,
                            .partition = p,
                            .arg_column = over->arg_column[call][0],
                            .times = times,
                            .memory = memory,
                            .results = &over->memory};
    arena_reset(memory);
    if (!moving_init(&moving)) return no_memory(over);
    for (uint32_t at = 0; at < p->count; at++) {
        struct value value;
        frames_move(frames, at);
        if (at % SQL_CHUNK_ROWS == 0) {
            enum err err = run_check(over->op.run);
            if (err) return err;
        }
        /* median and its like look at the whole frame for each row. */
        enum err err = eval_spend(&over->op.run->eval,
                                  frames->to > frames->from ? frames->to - frames->from : 0);
        if (err) return err;
        err = moving_value(&moving, frames->from, frames->to, &value);
        if (err == ERR_RANGE)
            return why_at(over->op.run->why, err, c->position,
                          "%s: the result is out of the range of %s; cast the argument to double",
                          c->aggregate->name, type_name(c->type));
        if (err) return no_memory(over);
        put(over, call, p, at, &value);
    }
    return ERR_OK;
}

static enum err compute_call(struct over *over, size_t call, const struct partition *p,
                             struct arena *memory, const int64_t *times)
{
    const struct over_call *c = &over->plan->calls[call];
    const struct over_spec *spec = &over->plan->specs[c->spec];
    struct frames frames = {.spec = spec,
                            .partition = p,
                            .order_column = over->spec_column[c->spec] + spec->partition_count};
    enum err err = ERR_OK;
    if (c->aggregate) return put_moving(over, call, p, &frames, memory, times);
    for (uint32_t at = 0; at < p->count && !err; at++) {
        if (at % SQL_CHUNK_ROWS == 0) err = run_check(over->op.run);
        if (!err) err = put_function(over, call, p, at, &frames);
    }
    return err;
}

/* ---- all partitions of a spec ---- */

static void find_peers(const struct order *order, struct partition *p)
{
    uint32_t group = 0;
    for (uint32_t at = 0, end; at < p->count; at = end, group++) {
        for (end = at + 1; end < p->count; end++)
            if (compare_order(order, p->rows[at], p->rows[end]) != 0) break;
        for (uint32_t i = at; i < end; i++)
            p->peer_from[i] = at, p->peer_to[i] = end, p->group[i] = group;
    }
}

static enum err compute_spec(struct over *over, size_t s, struct arena *work, struct arena *memory,
                             const int64_t *times)
{
    struct order by = {over, &over->plan->specs[s], over->spec_column[s]};
    struct rowset_order how = {compare_rows, &by, check, over->op.run};
    uint32_t count = over->set.row_count;
    enum err err;
    arena_reset(work);
    uint32_t *rows = rowset_sort(work, 0, count, &how, &err);
    uint32_t *peers = rows ? arena_alloc(work, (size_t)count * 3 * sizeof *peers + 1) : NULL;
    if (err == ERR_NO_MEMORY || (!err && !peers)) return no_memory(over);
    for (uint32_t from = 0, to; from < count && !err; from = to) {
        for (to = from + 1; to < count; to++)
            if (compare_partition(&by, rows[from], rows[to]) != 0) break;
        struct partition p = {.set = &over->set,
                              .rows = rows + from,
                              .count = to - from,
                              .peer_from = peers,
                              .peer_to = peers + count,
                              .group = peers + (size_t)2 * count};
        find_peers(&by, &p);
        for (size_t i = 0; i < over->plan->call_count && !err; i++)
            if (over->plan->calls[i].spec == s) err = compute_call(over, i, &p, memory, times);
    }
    return err;
}

/* The rows' times as one array; NULL when they are not known. */
static enum err gather_times(struct over *over, int64_t **times)
{
    *times = NULL;
    if (!over->needs_time || !over->has_time) return ERR_OK;
    *times = arena_alloc(&over->memory, (size_t)over->set.row_count * sizeof **times + 1);
    if (!*times) return no_memory(over);
    for (uint32_t row = 0; row < over->set.row_count; row++)
        (*times)[row] = rowset_cell(&over->set, row, over->time_column)->i[row % SQL_CHUNK_ROWS];
    return ERR_OK;
}

static enum err compute(struct over *over)
{
    struct arena work, memory;
    int64_t *times = NULL;
    uint32_t count = over->set.row_count;
    for (size_t i = 0; i < over->plan->call_count; i++)
        if (vector_make(&over->results[i], &over->memory, over->plan->calls[i].type, count + 1,
                        true, false))
            return no_memory(over);
    enum err err = gather_times(over, &times);
    arena_init(&work, over->op.run->context->budget);
    arena_init(&memory, over->op.run->context->budget);
    for (size_t s = 0; s < over->plan->spec_count && !err; s++)
        err = compute_spec(over, s, &work, &memory, times);
    arena_free(&work);
    arena_free(&memory);
    over->is_computed = !err;
    over->block = 0;
    return err;
}

/* ---- handing out ---- */

static void slice_result(const struct vector *from, uint32_t first, uint32_t count,
                         struct vector *to)
{
    size_t bytes = vector_element_bytes(from->type);
    *to = (struct vector){.type = from->type, .count = count};
    to->data = (char *)from->data + (size_t)first * bytes;
    to->null = from->null + first;
}

static enum err hand_out(struct over *over)
{
    struct run *run = over->op.run;
    const struct plan_over *plan = over->plan;
    enum err err = over->is_computed || over->set.row_count == 0 ? ERR_OK : compute(over);
    while (!err && over->block * SQL_CHUNK_ROWS < over->set.row_count && !run->paused &&
           !run->enough) {
        uint32_t count = rowset_block(&over->set, over->block, over->out);
        for (size_t i = 0; i < plan->call_count; i++)
            slice_result(&over->results[i], (uint32_t)over->block * SQL_CHUNK_ROWS, count,
                         &over->out[plan->base + i]);
        struct rows rows = {.view = {count, NULL, count},
                            .columns = over->out,
                            .column_count = plan->base + plan->call_count};
        over->block++;
        err = run_check(run);
        if (!err) err = op_push(over->op.next, &rows);
    }
    return err;
}

/* All rows of the set have left. */
static void start_again(struct over *over)
{
    struct budget *budget = over->set.arena.budget;
    rowset_free(&over->set);
    rowset_init(&over->set, budget, over->columns, over->column_count);
    arena_reset(&over->memory);
    over->is_computed = false;
    over->block = 0;
}

static bool is_handed_out(const struct over *over)
{
    return over->op.run->enough || over->block * SQL_CHUNK_ROWS >= over->set.row_count;
}

static enum err over_resume(struct op *op)
{
    struct over *over = (struct over *)op;
    if (!over->is_computed) return ERR_OK;
    enum err err = hand_out(over);
    if (err || !is_handed_out(over)) return err;
    start_again(over);
    if (!over->has_waiting) return ERR_OK;
    over->has_waiting = false;
    return keep_rows(over, &over->waiting);
}

/* A chunk of the next series that cannot be kept yet, since the sink is full, stays where it is:
 * its vectors are valid, for nobody reads on before `resume`. */
static enum err over_push(struct op *op, const struct rows *rows)
{
    struct over *over = (struct over *)op;
    bool is_next = over->has_series && rows->series != over->series;
    MUST(!over->is_computed && !over->has_waiting);
    over->series = rows->series;
    over->has_series = true;
    if (!over->plan->by_series || !is_next || over->set.row_count == 0)
        return keep_rows(over, rows);
    enum err err = hand_out(over);
    if (err) return err;
    if (!is_handed_out(over)) {
        over->has_waiting = true;
        over->waiting = *rows;
        return ERR_OK;
    }
    start_again(over);
    return keep_rows(over, rows);
}

static enum err over_finish(struct op *op)
{
    struct over *over = (struct over *)op;
    enum err err = hand_out(over);
    if (err || !is_handed_out(over) || op->run->paused) return err;
    return op_finish(op->next);
}

static void over_close(struct op *op)
{
    struct over *over = (struct over *)op;
    rowset_free(&over->set);
    arena_free(&over->memory);
}

/* ---- making ---- */

static void mark_used(const struct expr *e, bool *used, size_t base)
{
    if (e->kind == EXPR_INPUT && e->input < base) used[e->input] = true;
    for (size_t i = 0; i < e->arg_count; i++) mark_used(e->args[i], used, base);
}

/* The row's own columns, as far as the select list reads them. */
static bool lay_out_base(struct over *over)
{
    const struct plan *plan = over->op.run->plan;
    bool *used = arena_zero(over->op.run->arena, over->plan->base + 1, sizeof *used);
    if (!used) return false;
    for (size_t i = 0; i < plan->output_count; i++)
        mark_used(plan->outputs[i], used, over->plan->base);
    for (size_t c = 0; c < over->plan->base; c++) {
        struct rowset_column *to = &over->columns[c];
        if (!used[c]) continue;
        if (!plan->grouped)
            *to =
                (struct rowset_column){plan->inputs[c].type, plan->inputs[c].kind == INPUT_COLUMN};
        else if (c < plan->key_count)
            *to = (struct rowset_column){plan->keys[c].expr->type, false};
        else if (c >= GROUP_KEYS_MAX)
            *to = (struct rowset_column){plan->aggs[c - GROUP_KEYS_MAX].type,
                                         plan->aggs[c - GROUP_KEYS_MAX].keeps_null};
    }
    return true;
}

static size_t add_columns(struct over *over, size_t at, struct expr *const *exprs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        over->columns[at + i] = (struct rowset_column){exprs[i]->type, true};
    return at + count;
}

static bool lay_out(struct over *over)
{
    const struct plan_over *plan = over->plan;
    struct arena *arena = over->op.run->arena;
    size_t count = plan->base + 1;
    for (size_t s = 0; s < plan->spec_count; s++)
        count += plan->specs[s].partition_count + plan->specs[s].order_count;
    count += plan->call_count * OVER_ARGS_MAX;
    over->columns = arena_zero(arena, count, sizeof *over->columns);
    over->extra = arena_zero(arena, count, sizeof *over->extra);
    over->spec_column = arena_zero(arena, plan->spec_count, sizeof(size_t));
    over->arg_column = arena_zero(arena, plan->call_count, sizeof *over->arg_column);
    over->results = arena_zero(arena, plan->call_count, sizeof *over->results);
    over->out = arena_zero(arena, count + plan->call_count, sizeof *over->out);
    if (!over->columns || !over->extra || !over->spec_column || !over->arg_column ||
        !over->results || !over->out || !lay_out_base(over))
        return false;
    size_t at = plan->base;
    for (size_t s = 0; s < plan->spec_count; s++) {
        const struct over_spec *spec = &plan->specs[s];
        over->spec_column[s] = at;
        at = add_columns(over, at, spec->partition, spec->partition_count);
        at = add_columns(over, at, spec->order, spec->order_count);
    }
    for (size_t i = 0; i < plan->call_count; i++) {
        const struct over_call *call = &plan->calls[i];
        for (size_t a = 0; a < OVER_ARGS_MAX; a++) over->arg_column[i][a] = at + a;
        at = add_columns(over, at, call->args, call->arg_count);
        over->needs_time |= call->aggregate && (call->aggregate->flags & AGG_NEEDS_TIME);
    }
    over->time_column = at++;
    if (over->needs_time)
        over->columns[over->time_column] = (struct rowset_column){TYPE_TIMESTAMP, false};
    over->column_count = at;
    return true;
}

struct op *op_over_new(struct run *run, struct op *next)
{
    static int64_t zero[1];
    struct over *over = arena_zero(run->arena, 1, sizeof *over);
    if (!over) return NULL;
    over->op = (struct op){.push = over_push,
                           .finish = over_finish,
                           .resume = over_resume,
                           .close = over_close,
                           .next = next,
                           .run = run,
                           .measure = &run->plan->measures[STAGE_WINDOW]};
    over->plan = &run->plan->over;
    over->spread_time = (struct vector){.type = TYPE_TIMESTAMP, .is_constant = true, .i = zero};
    if (!lay_out(over)) return NULL;
    rowset_init(&over->set, run->context->budget, over->columns, over->column_count);
    arena_init(&over->memory, run->context->budget);
    return &over->op;
}
