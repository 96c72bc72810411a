/* op_group.c - GROUP BY, PARTITION BY and windows.
 *
 * A chunk is cut into *runs* of neighbouring rows with equal keys. Chunks are of one series in time
 * order, so runs are long: a key made of device or labels is constant in the chunk, and the end of
 * a time window is found by binary search in the times, without dividing once per row. Per run the
 * group is looked up once and every aggregate gets all its rows in one call. When runs are short
 * after all (grouping by a measured value) the chunk's rows are first sorted by group.
 *
 * When the plan says that a group's rows come one behind the other (`streaming`: the device is a
 * key, the others follow from device and time) there is one state; a new key closes it. Memory is
 * then constant, whatever the number of groups. Aggregates that reach from bound to bound of their
 * window (agg_series.c) are told the last value before it when it opens, and it waits, after its
 * last row, until the first value behind it is known. */
#include "sql/parallel.h"
#include "sql/keys.h"
#include <string.h>

enum { SCATTERED_RUNS = 64 }; /* more runs than this in a chunk: sort its rows by group */

struct group_run {
    uint32_t from, count; /* positions in the view */
    size_t entry;
};

/* Streaming: one group that takes rows, or one that waits for what comes behind it. */
struct open_group {
    struct arena memory; /* of its aggregates */
    struct buf key, partition;
    void *state;
    struct open_group *next;
    struct open_group **empty; /* [agg_count] the last one behind that is known to have no value for
                                  it; NULL: none is known */
};

struct group {
    struct op op;
    struct arena memory;    /* hashed: states, keys */
    struct arena *of_state; /* memory of the group that gets rows now */
    struct keys keys;
    struct vector *key_vectors; /* [key_count] of the chunk */
    struct vector *arg_vectors; /* [2 × agg_count]: first arguments, then second ones */
    void **spread; /* [2 × agg_count] room to spread constants; made when first needed */
    struct buf key;
    /* streaming */
    struct open_group *open; /* NULL: none */
    struct open_group *waiting, *last_waiting, *unused;
    bool wants_window;    /* aggregates ask for the window's bounds */
    bool has_edges;       /* windows tell their neighbours what they end and begin with */
    struct buf partition; /* has_edges: the key without the window */
    struct group_run runs[SQL_CHUNK_ROWS];
    uint16_t order[SQL_CHUNK_ROWS], picked[SQL_CHUNK_ROWS];
    /* what comes out */
    struct arena out_memory;
    struct vector *out; /* [GROUP_KEYS_MAX + agg_count] */
    uint32_t out_count;
    uint16_t out_selection[SQL_CHUNK_ROWS];
    bool is_finishing;
    size_t handed_out; /* of keys.entries */
};

/* ---- what comes out ---- */

static enum err flush_groups(struct group *group)
{
    struct run *run = group->op.run;
    const struct plan *plan = run->plan;
    size_t columns = GROUP_KEYS_MAX + plan->agg_count;
    struct rows rows = {.view = {group->out_count, NULL, group->out_count},
                        .columns = group->out,
                        .column_count = columns};
    enum err err = ERR_OK;
    for (size_t i = 0; i < columns; i++) group->out[i].count = group->out_count;
    if (group->out_count == 0) return ERR_OK;
    if (plan->having && !plan->fill.on) { /* else op_fill.c judges */
        uint32_t selected;
        err = expr_filter(&run->eval, plan->having, &rows, &rows.view, group->out_selection,
                          &selected);
        rows.view.selection = group->out_selection;
        rows.view.selected = err ? 0 : selected;
    }
    if (!err && rows.view.selected > 0) err = op_push(group->op.next, &rows);
    group->out_count = 0;
    arena_reset(&group->out_memory);
    return err;
}

static enum err put_value(struct group *group, struct vector *to, struct value *value,
                          enum type type)
{
    value->type = type;
    if (!value->is_null && type_bytes(type) == 0) {
        value->s.at = arena_dup(&group->out_memory, value->s.at, value->s.size);
        if (!value->s.at) return run_no_memory(group->op.run);
    }
    vector_set(to, group->out_count, value);
    return ERR_OK;
}

/* Finals of one group, with its key, as one more row. */
static enum err emit_group(struct group *group, struct str key, const void *state)
{
    struct run *run = group->op.run;
    const struct plan *plan = run->plan;
    enum err err = ERR_OK;
    for (size_t i = 0; i < plan->key_count && !err; i++) {
        struct value value = keys_decode(&key, plan->keys[i].expr->type);
        err = put_value(group, &group->out[i], &value, plan->keys[i].expr->type);
    }
    for (size_t i = 0; i < plan->agg_count && !err; i++) {
        const struct agg_call *call = &plan->aggs[i];
        const char *at = (const char *)state + call->state_offset + (call->distinct ? 16 : 0);
        struct value value;
        err = call->aggregate->final(at, &value);
        if (err == ERR_RANGE)
            return why_at(run->why, err, call->position,
                          "%s: the result is out of the range of %s; cast the argument to double",
                          call->aggregate->name, type_name(call->type));
        if (!err) err = put_value(group, &group->out[GROUP_KEYS_MAX + i], &value, call->type);
    }
    if (err) return err;
    return ++group->out_count == SQL_CHUNK_ROWS ? flush_groups(group) : ERR_OK;
}

/* ---- finding the group of a run ---- */

static enum err close_group(struct group *group, struct open_group *closing)
{
    enum err err = emit_group(group, buf_str(&closing->key), closing->state);
    arena_reset(&closing->memory);
    closing->next = group->unused;
    group->unused = closing;
    return err;
}

/* Tells one aggregate of a waiting group what the groups behind begin with. None is asked twice: a
 * value that stopped coming would make the work grow with the square of the windows. */
static bool complete_call(const struct group *group, struct open_group *head, size_t i)
{
    const struct agg_call *call = &group->op.run->plan->aggs[i];
    void *state = (char *)head->state + call->state_offset;
    struct open_group *behind = head->empty[i] ? head->empty[i]->next : head->next;
    for (; behind; behind = behind->next) {
        if (call->aggregate->complete(state, (const char *)behind->state + call->state_offset))
            return true;
        head->empty[i] = behind;
    }
    return group->open &&
           call->aggregate->complete(state, (const char *)group->open->state + call->state_offset);
}

/* Whether the group at the head knows all that it wants to know of those behind it. */
static bool is_settled(const struct group *group, struct open_group *head)
{
    const struct plan *plan = group->op.run->plan;
    bool settled = true;
    for (size_t i = 0; i < plan->agg_count; i++) { /* all are told what there is to tell */
        const struct agg_call *call = &plan->aggs[i];
        bool asks = call->aggregate->complete && !call->distinct;
        if (asks && !complete_call(group, head, i)) settled = false;
    }
    return settled;
}

/* Closes waiting groups from the head on; `all`: nothing comes behind them any more. */
static enum err settle(struct group *group, bool all)
{
    enum err err = ERR_OK;
    while (group->waiting && !err && (is_settled(group, group->waiting) || all)) {
        struct open_group *head = group->waiting, *next = head->next;
        group->waiting = next;
        if (!next) group->last_waiting = NULL;
        for (size_t i = 0; next && i < group->op.run->plan->agg_count; i++)
            next->empty[i] = head->empty[i] == next ? NULL : head->empty[i];
        err = close_group(group, head);
    }
    return err;
}

static enum err close_all(struct group *group)
{
    enum err err = settle(group, true);
    struct open_group *open = group->open;
    if (err || !open) return err;
    group->open = NULL;
    return close_group(group, open);
}

static struct open_group *take_unused(struct group *group)
{
    struct run *run = group->op.run;
    struct open_group *fresh = group->unused;
    if (fresh) {
        group->unused = fresh->next;
    } else {
        fresh = arena_zero(run->arena, 1, sizeof *fresh);
        if (!fresh) return NULL;
        arena_init(&fresh->memory, run->context->budget);
        fresh->state = arena_alloc(run->arena, run->plan->state_bytes);
        fresh->empty = arena_alloc(run->arena, (run->plan->agg_count + 1) * sizeof *fresh->empty);
        if (!fresh->state || !fresh->empty) return NULL;
    }
    memset(fresh->empty, 0, run->plan->agg_count * sizeof *fresh->empty);
    fresh->next = NULL;
    memset(fresh->state, 0, run->plan->state_bytes);
    buf_clear(&fresh->key);
    buf_clear(&fresh->partition);
    buf_add_str(&fresh->key, buf_str(&group->key));
    buf_add_str(&fresh->partition, buf_str(&group->partition));
    return fresh;
}

/* The open group ends where `next` of the same partition begins: it waits. */
static void follow(struct group *group, struct open_group *next)
{
    const struct plan *plan = group->op.run->plan;
    for (size_t i = 0; i < plan->agg_count; i++) {
        const struct agg_call *call = &plan->aggs[i];
        if (!call->aggregate->follow || call->distinct) continue;
        call->aggregate->follow((char *)next->state + call->state_offset,
                                (const char *)group->open->state + call->state_offset);
    }
    if (group->last_waiting)
        group->last_waiting->next = group->open;
    else
        group->waiting = group->open;
    group->last_waiting = group->open;
}

static enum err find_streaming(struct group *group, void **state)
{
    struct open_group *open = group->open;
    if (open && str_equal(buf_str(&group->key), buf_str(&open->key))) {
        *state = open->state;
        return ERR_OK;
    }
    bool follows = group->has_edges && open &&
                   str_equal(buf_str(&group->partition), buf_str(&open->partition));
    enum err err = follows ? ERR_OK : close_all(group);
    if (err) return err;
    struct open_group *next = take_unused(group);
    if (!next) return run_no_memory(group->op.run);
    if (follows) follow(group, next);
    group->open = next;
    group->of_state = &next->memory;
    *state = next->state;
    bool failed = buf_failed(&next->key) || buf_failed(&next->partition);
    return failed ? run_no_memory(group->op.run) : ERR_OK;
}

static enum err find_hashed(struct group *group, size_t *entry)
{
    bool added;
    if (!keys_find_or_add(&group->keys, buf_str(&group->key), entry, &added))
        return run_no_memory(group->op.run);
    if (!added) return ERR_OK;
    void *state = arena_zero(&group->memory, 1, group->op.run->plan->state_bytes);
    if (!state) return run_no_memory(group->op.run);
    group->keys.entries[*entry].state = state;
    return ERR_OK;
}

/* ---- cutting runs ---- */

/* The first position in [from, to) whose time is not below `limit`; times ascend along the view.
 * Doubling steps first: a window mostly ends within the chunk's next few hundred rows or not at
 * all. */
static uint32_t first_not_below(const struct rows *rows, uint32_t from, uint32_t to, int64_t limit)
{
    const struct view *view = &rows->view;
    if (rows->time[view_row(view, to - 1)] < limit) return to;
    uint32_t low = from, high = to - 1; /* time[low - 1] < limit ≤ time[high] */
    for (uint32_t step = 1; low + step < high; step *= 2) {
        if (rows->time[view_row(view, low + step)] >= limit) {
            high = low + step;
            break;
        }
        low += step;
    }
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (rows->time[view_row(view, middle)] < limit)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool same_cell(const struct vector *v, uint32_t a, uint32_t b)
{
    bool a_null = v->null && v->null[a], b_null = v->null && v->null[b];
    if (a_null || b_null) return a_null && b_null;
    switch (v->type) {
    case TYPE_BOOL: return v->b[a] == v->b[b];
    case TYPE_DOUBLE: return v->d[a] == v->d[b];
    case TYPE_BIGINT:
    case TYPE_UBIGINT:
    case TYPE_TIMESTAMP: return v->u[a] == v->u[b];
    default: return str_equal(v->s[a], v->s[b]);
    }
}

static void write_partition(struct group *group, uint32_t row)
{
    const struct plan *plan = group->op.run->plan;
    buf_clear(&group->partition);
    for (size_t i = 0; i < plan->key_count; i++)
        if (i != plan->window_key) keys_encode(&group->partition, &group->key_vectors[i], row);
}

/* Where the run that begins at `from` ends; also writes the key of its rows. */
static uint32_t cut_run(struct group *group, const struct rows *rows, uint32_t from)
{
    const struct plan *plan = group->op.run->plan;
    const struct view *view = &rows->view;
    uint32_t end = view->selected, first = view_row(view, from);
    buf_clear(&group->key);
    if (group->has_edges) write_partition(group, first);
    for (size_t i = 0; i < plan->key_count; i++) {
        const struct vector *v = &group->key_vectors[i];
        const struct time_grid *grid = plan->keys[i].grid;
        if (grid && rows->time) {
            int64_t start, limit;
            grid_bounds(grid, rows->time[first], &start, &limit);
            struct vector bucket = {
                .type = TYPE_TIMESTAMP, .count = 1, .is_constant = true, .i = &start};
            keys_encode(&group->key, &bucket, 0);
            if (limit != INT64_MAX) end = first_not_below(rows, from, end, limit);
            continue;
        }
        keys_encode(&group->key, v, first);
        if (v->is_constant) continue;
        uint32_t k = from + 1;
        while (k < end && same_cell(v, first, view_row(view, k))) k++;
        end = k;
    }
    MUST(end > from);
    return end;
}

/* ---- handing rows to aggregates ---- */

/* DISTINCT: the rows of the run whose value this group has not seen, in group->picked. */
static enum err pick_distinct(struct group *group, void *state, struct agg_run *run)
{
    struct keys *seen;
    uint32_t n = 0;
    MUST(state && run->value);
    memcpy(&seen, state, sizeof seen);
    if (!seen) {
        seen = arena_zero(group->of_state, 1, sizeof *seen);
        if (!seen) return run_no_memory(group->op.run);
        seen->arena = group->of_state;
        memcpy(state, &seen, sizeof seen);
    }
    struct buf *key = &group->key; /* the run's own key is in use no more */
    for (uint32_t k = 0; k < run->count; k++) {
        uint32_t row = run->rows ? run->rows[run->from + k] : run->from + k;
        size_t index;
        bool added;
        if (vector_is_null(run->value, row)) continue;
        buf_clear(key);
        keys_encode(key, run->value, row);
        if (buf_failed(key) || !keys_find_or_add(seen, buf_str(key), &index, &added))
            return run_no_memory(group->op.run);
        group->picked[n] = (uint16_t)row;
        n += added;
    }
    run->rows = group->picked;
    run->from = 0;
    run->count = n;
    return ERR_OK;
}

static enum err add_summaries(struct group *group, void *state, const struct rows *rows)
{
    const struct plan *plan = group->op.run->plan;
    for (size_t i = 0; i < plan->agg_count; i++) {
        const struct agg_call *call = &plan->aggs[i];
        if (summary_add(plan, call, (char *)state + call->state_offset, rows, group->of_state))
            return run_no_memory(group->op.run);
    }
    return ERR_OK;
}

/* What an aggregate could not take, in words. */
static enum err fail_add(struct group *group, const struct agg_call *call, enum err err)
{
    struct run *run = group->op.run;
    const char *name = call->aggregate->name;
    if (err == ERR_GROUPING)
        return why_at(
            run->why, err, call->position,
            "%s follows one device through time, and here rows of two meet: add PARTITION BY device, or WHERE device = '…'",
            name);
    if (err == ERR_UNSUPPORTED)
        return why_at(run->why, err, call->position,
                      "%s needs rows with their time: read the table itself", name);
    return run_no_memory(run);
}

/* Bounds of the window that holds the run's first row. */
static void set_window(const struct group *group, struct agg_run *run, const struct rows *rows)
{
    const struct plan *plan = group->op.run->plan;
    const struct time_grid *grid = plan->has_window ? plan->keys[plan->window_key].grid : NULL;
    if (!group->wants_window || !grid || !rows->time) return;
    uint32_t first = run->rows ? run->rows[run->from] : run->from;
    run->has_window = true;
    grid_bounds(grid, rows->time[first], &run->window_from, &run->window_to);
}

static enum err add_run(struct group *group, void *state, const struct rows *rows,
                        const uint16_t *selection, uint32_t from, uint32_t count)
{
    const struct plan *plan = group->op.run->plan;
    if (rows->summaries) return add_summaries(group, state, rows);
    struct agg_run run = {.time = rows->time,
                          .rows = selection,
                          .from = from,
                          .count = count,
                          .series = rows->series};
    set_window(group, &run, rows);
    for (size_t i = 0; i < plan->agg_count; i++) {
        const struct agg_call *call = &plan->aggs[i];
        struct agg_run of_call = run;
        of_call.value = call->arg ? &group->arg_vectors[i] : NULL;
        of_call.second = call->second ? &group->arg_vectors[plan->agg_count + i] : NULL;
        of_call.params = call->params;
        of_call.keeps_null = call->keeps_null;
        char *at = (char *)state + call->state_offset;
        enum err err = call->distinct ? pick_distinct(group, at, &of_call) : ERR_OK;
        if (!err)
            err = call->aggregate->add(at + (call->distinct ? 16 : 0), &of_call, group->of_state);
        if (err) return fail_add(group, call, err);
    }
    return ERR_OK;
}

/* Many short runs: sorts the rows by group (counting sort over the groups met in this chunk). */
static enum err add_scattered(struct group *group, const struct rows *rows, uint32_t run_count)
{
    size_t met[SQL_CHUNK_ROWS]; /* entries, in order of appearance; entry.mark = place in it + 1 */
    uint32_t start[SQL_CHUNK_ROWS + 1] = {0}, met_count = 0;
    for (uint32_t r = 0; r < run_count; r++) {
        struct key_entry *entry = &group->keys.entries[group->runs[r].entry];
        if (entry->mark == 0) met[met_count] = group->runs[r].entry, entry->mark = ++met_count;
        start[entry->mark] += group->runs[r].count;
    }
    for (uint32_t i = 1; i <= met_count; i++) start[i] += start[i - 1];
    for (uint32_t r = 0; r < run_count; r++) {
        const struct group_run *run = &group->runs[r];
        uint32_t *at = &start[group->keys.entries[run->entry].mark - 1];
        for (uint32_t k = 0; k < run->count; k++)
            group->order[(*at)++] = (uint16_t)view_row(&rows->view, run->from + k);
    }
    enum err err = ERR_OK;
    for (uint32_t i = 0, from = 0; i < met_count; from = start[i++]) {
        struct key_entry *entry = &group->keys.entries[met[i]];
        entry->mark = 0;
        if (!err) err = add_run(group, entry->state, rows, group->order, from, start[i] - from);
    }
    return err;
}

static enum err add_hashed(struct group *group, const struct rows *rows)
{
    uint32_t run_count = 0;
    enum err err = ERR_OK;
    for (uint32_t from = 0, end; from < rows->view.selected; from = end) {
        end = cut_run(group, rows, from);
        struct group_run *run = &group->runs[run_count++];
        *run = (struct group_run){from, end - from, 0};
        err = buf_failed(&group->key) ? run_no_memory(group->op.run)
                                      : find_hashed(group, &run->entry);
        if (err) return err;
    }
    if (run_count > SCATTERED_RUNS) return add_scattered(group, rows, run_count);
    for (uint32_t r = 0; r < run_count && !err; r++)
        err = add_run(group, group->keys.entries[group->runs[r].entry].state, rows,
                      rows->view.selection, group->runs[r].from, group->runs[r].count);
    return err;
}

static enum err add_streaming(struct group *group, const struct rows *rows)
{
    enum err err = ERR_OK;
    for (uint32_t from = 0, end; from < rows->view.selected && !err; from = end) {
        void *state = NULL;
        end = cut_run(group, rows, from);
        err =
            buf_failed(&group->key) ? run_no_memory(group->op.run) : find_streaming(group, &state);
        if (!err) err = add_run(group, state, rows, rows->view.selection, from, end - from);
        if (!err && group->waiting) err = settle(group, false);
    }
    return err;
}

/* ---- push, finish ---- */

/* Aggregates read plain arrays: a constant argument is written out once per chunk. So is the
 * quality of a NULL: first and last pass over absent cells and not over others. */
static enum err spread_constant(struct group *group, size_t i, uint32_t count)
{
    struct vector *v = &group->arg_vectors[i];
    size_t bytes = vector_element_bytes(v->type), per_row = bytes + sizeof *v->quality + 1;
    if (!v->is_constant) return ERR_OK;
    struct vector to;
    if (!group->spread[i])
        group->spread[i] = arena_alloc(group->op.run->arena, per_row * SQL_CHUNK_ROWS);
    if (!group->spread[i]) return run_no_memory(group->op.run);
    bool null = vector_is_null(v, 0);
    to = (struct vector){.type = v->type, .count = count, .data = group->spread[i]};
    uint8_t *nulls = (uint8_t *)group->spread[i] + (per_row - 1) * SQL_CHUNK_ROWS;
    if (null) to.null = memset(nulls, 1, count);
    if (null && v->quality) {
        to.quality = (uint32_t *)(void *)((char *)group->spread[i] + bytes * SQL_CHUNK_ROWS);
        for (uint32_t r = 0; r < count; r++) to.quality[r] = v->quality[0];
    }
    for (uint32_t r = 0; r < count; r++) memcpy((char *)to.data + r * bytes, v->data, bytes);
    *v = to;
    return ERR_OK;
}

static enum err group_push(struct op *op, const struct rows *rows)
{
    struct group *group = (struct group *)op;
    const struct plan *plan = op->run->plan;
    enum err err = ERR_OK;
    for (size_t i = 0; i < plan->key_count && !err; i++)
        if (!plan->keys[i].grid || !rows->time)
            err = expr_eval(&op->run->eval, plan->keys[i].expr, rows, &rows->view,
                            &group->key_vectors[i]);
    for (size_t i = 0; i < 2 * plan->agg_count && !err; i++) {
        bool is_second = i >= plan->agg_count;
        const struct agg_call *call = &plan->aggs[is_second ? i - plan->agg_count : i];
        const struct expr *arg = is_second ? call->second : call->arg;
        if (!arg || rows->summaries) continue;
        err = expr_eval(&op->run->eval, arg, rows, &rows->view, &group->arg_vectors[i]);
        if (!err) err = spread_constant(group, i, rows->view.count);
    }
    if (err) return err;
    return plan->streaming ? add_streaming(group, rows) : add_hashed(group, rows);
}

/* No row comes any more: the groups are complete. */
static enum err close_groups(struct group *group)
{
    const struct plan *plan = group->op.run->plan;
    size_t entry;
    if (group->is_finishing) return ERR_OK;
    group->is_finishing = true;
    if (plan->streaming) return close_all(group);
    if (plan->key_count > 0) return ERR_OK;
    buf_clear(&group->key); /* one group, also over no rows at all */
    return find_hashed(group, &entry);
}

static enum err group_finish(struct op *op)
{
    struct group *group = (struct group *)op;
    enum err err = parallel_merge(op->run, op);
    if (!err) err = close_groups(group);
    for (; group->handed_out < group->keys.count && !err && !op->run->enough && !op->run->paused;
         group->handed_out++) {
        size_t i = group->handed_out;
        const struct key_entry *e = &group->keys.entries[i];
        if (i % SQL_CHUNK_ROWS == 0) err = run_check(op->run);
        if (i % SQL_CHUNK_ROWS == 0) arena_reset(&op->run->eval.scratch);
        if (!err) err = emit_group(group, (struct str){(const char *)e->bytes, e->size}, e->state);
    }
    bool all = op->run->enough || group->handed_out == group->keys.count;
    if (!err && all && !op->run->paused) err = flush_groups(group);
    if (!err && all && !op->run->paused) err = parallel_hand_on(op->run, op->next);
    return err || op->run->paused ? err : op_finish(op->next);
}

static enum err take_one(struct group *group, const struct key_entry *entry)
{
    struct run *run = group->op.run;
    const struct plan *plan = run->plan;
    size_t own;
    buf_clear(&group->key);
    buf_add(&group->key, entry->bytes, entry->size);
    if (buf_failed(&group->key)) return run_no_memory(run);
    enum err err = find_hashed(group, &own);
    for (size_t k = 0; k < plan->agg_count && !err; k++) {
        const struct agg_call *call = &plan->aggs[k];
        char *state = (char *)group->keys.entries[own].state + call->state_offset;
        if (call->aggregate->merge(state, (const char *)entry->state + call->state_offset,
                                   &group->memory))
            err = run_no_memory(run);
    }
    return err;
}

enum err group_take(struct op *to, const struct op *from)
{
    struct group *group = (struct group *)to;
    const struct keys *keys = &((const struct group *)from)->keys;
    enum err err = ERR_OK;
    for (size_t i = 0; i < keys->count && !err; i++) {
        if (i % SQL_CHUNK_ROWS == 0) err = run_check(to->run);
        if (!err) err = take_one(group, &keys->entries[i]);
    }
    return err;
}

size_t group_bytes(const struct op *op)
{
    return ((const struct group *)op)->memory.taken_bytes;
}

static void free_groups(struct open_group *list)
{
    for (; list; list = list->next) {
        buf_free(&list->key);
        buf_free(&list->partition);
        arena_free(&list->memory);
    }
}

static void group_close(struct op *op)
{
    struct group *group = (struct group *)op;
    buf_free(&group->key);
    buf_free(&group->partition);
    free_groups(group->open);
    free_groups(group->waiting);
    free_groups(group->unused);
    arena_free(&group->memory);
    arena_free(&group->out_memory);
}

static bool make_vectors(struct group *group, struct arena *arena)
{
    const struct plan *plan = group->op.run->plan;
    for (size_t i = 0; i < plan->key_count; i++)
        if (vector_make(&group->out[i], arena, plan->keys[i].expr->type, SQL_CHUNK_ROWS, true,
                        false))
            return false;
    for (size_t i = 0; i < plan->agg_count; i++)
        if (vector_make(&group->out[GROUP_KEYS_MAX + i], arena, plan->aggs[i].type, SQL_CHUNK_ROWS,
                        true, plan->aggs[i].keeps_null))
            return false;
    return true;
}

/* Whether windows follow each other without overlapping, and aggregates that care. */
static void find_followers(struct group *group)
{
    const struct plan *plan = group->op.run->plan;
    const struct plan_window *w = &plan->window;
    bool overlap = w->kind == WINDOW_SLIDE || w->kind == WINDOW_HOP ||
                   (w->kind == WINDOW_COUNT && w->count_step < w->count);
    for (size_t i = 0; i < plan->agg_count; i++) {
        group->wants_window |= (plan->aggs[i].aggregate->flags & AGG_EDGES) != 0;
        group->has_edges |= plan->aggs[i].aggregate->follow != NULL;
    }
    group->wants_window = group->wants_window && !overlap;
    group->has_edges = group->has_edges && plan->streaming && plan->has_window && !overlap;
}

struct op *op_group_new(struct run *run, struct op *next)
{
    const struct plan *plan = run->plan;
    struct group *group = arena_zero(run->arena, 1, sizeof *group);
    if (!group) return NULL;
    group->op = (struct op){.push = group_push,
                            .finish = group_finish,
                            .close = group_close,
                            .next = next,
                            .run = run,
                            .measure = &plan->measures[STAGE_GROUP]};
    arena_init(&group->memory, run->context->budget);
    arena_init(&group->out_memory, run->context->budget);
    group->keys.arena = &group->memory;
    group->key_vectors = arena_zero(run->arena, plan->key_count, sizeof *group->key_vectors);
    group->of_state = &group->memory;
    group->arg_vectors = arena_zero(run->arena, 2 * plan->agg_count, sizeof *group->arg_vectors);
    group->spread = arena_zero(run->arena, 2 * plan->agg_count, sizeof *group->spread);
    group->out = arena_zero(run->arena, GROUP_KEYS_MAX + plan->agg_count, sizeof *group->out);
    find_followers(group);
    bool made = group->key_vectors && group->arg_vectors && group->spread && group->out;
    return made && make_vectors(group, run->arena) ? &group->op : NULL;
}
