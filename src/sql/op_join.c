/* op_join.c - joins: rows of the left side are pushed in, those of the right are kept.
 *
 * The right side is read whole when the first row of the left comes, into a rowset with a hash
 * table over its keys; so the smaller side belongs on the right, and what is kept counts against
 * the statement's memory. Candidates for a row of the left are those with its keys (without keys:
 * all); they become *pairs*, gathered into chunks, on which the rest of the condition is computed.
 *
 * ASOF: the rows of one key are sorted by time; a row of the left finds the nearest by going on
 * from where the last one of its key was found, for rows mostly come in time order.
 *
 * A chunk of the left may give many chunks of pairs. When the sink is full in between, the operator
 * keeps its place and `resume` goes on: the left's vectors stay valid, since nobody reads on. */
#include "sql/op.h"
#include "sql/keys.h"
#include "sql/rowset.h"
#include <string.h>

#define NO_ROW UINT32_MAX

/* Rows of the right side that have one key. */
struct chain {
    uint32_t first, last, count;
    uint32_t *rows; /* ASOF: by time */
    uint32_t cursor;
};

enum phase { PHASE_IDLE, PHASE_PAIRS, PHASE_UNMATCHED };

struct join_op {
    struct op op;
    struct op build; /* takes the right side's rows */
    const struct join *join;
    struct eval eval;
    struct op *right_head; /* operators of joins inside the right side */
    bool is_built;
    /* the right side */
    struct rowset_column *columns; /* [input_count] those of the right side */
    struct rowset right;
    struct keys keys;
    struct buf key;
    uint32_t *next; /* [row] of the same key */
    int64_t *times; /* [row] ASOF */
    size_t row_capacity;
    uint8_t *right_matched; /* [row] FULL */
    /* the chunk of the left that is being worked on */
    enum phase phase;
    struct rows left;
    struct vector *key_vectors;
    struct vector left_time;
    uint32_t at, candidate; /* place in the view; row of the right or NO_ROW */
    bool has_candidate;     /* `candidate` is that of `at` */
    uint8_t left_matched[SQL_CHUNK_ROWS];
    /* pairs, and the rows made of them */
    uint32_t pair_count;
    uint32_t pair_left[SQL_CHUNK_ROWS], pair_right[SQL_CHUNK_ROWS];
    uint16_t selection[2][SQL_CHUNK_ROWS];
    struct vector *room, *out; /* [input_count] */
    uint32_t unmatched_right;  /* FULL: next to look at */
};

static enum err no_memory(struct join_op *j)
{
    j->op.run->root->advice = "the right side of a join is kept in memory: put the smaller table "
                              "there, filter it, or select fewer of its columns";
    return run_no_memory(j->op.run);
}

static bool is_of(const struct input *input, const struct join *node)
{
    return input->side >= node->first && input->side < node->first + node->count;
}

/* ---- keys ---- */

static enum err eval_keys(struct join_op *j, struct expr *const *keys, const struct rows *rows)
{
    enum err err = ERR_OK;
    for (size_t i = 0; i < j->join->key_count && !err; i++)
        err = expr_eval(&j->eval, keys[i], rows, &rows->view, &j->key_vectors[i]);
    return err;
}

/* The key of a row in j->key; false when a part is NULL: it equals nothing. */
static bool encode_key(struct join_op *j, uint32_t row)
{
    buf_clear(&j->key);
    for (size_t i = 0; i < j->join->key_count; i++) {
        if (j->key_vectors[i].type == TYPE_NONE || vector_is_null(&j->key_vectors[i], row))
            return false;
        keys_encode(&j->key, &j->key_vectors[i], row);
    }
    return true;
}

/* ---- reading the right side ---- */

static bool grow_rows(struct join_op *j)
{
    size_t capacity = j->row_capacity ? j->row_capacity * 2 : SQL_CHUNK_ROWS;
    uint32_t *next = arena_alloc(&j->right.arena, capacity * sizeof *next);
    int64_t *times =
        j->join->is_asof ? arena_alloc(&j->right.arena, capacity * sizeof *times) : NULL;
    if (!next || (j->join->is_asof && !times)) return false;
    if (j->row_capacity) memcpy(next, j->next, j->row_capacity * sizeof *next);
    if (j->row_capacity && times) memcpy(times, j->times, j->row_capacity * sizeof *times);
    j->next = next;
    j->times = times;
    j->row_capacity = capacity;
    return true;
}

static bool add_to_chain(struct join_op *j, uint32_t row)
{
    size_t index;
    bool added;
    if (buf_failed(&j->key) || !keys_find_or_add(&j->keys, buf_str(&j->key), &index, &added))
        return false;
    struct chain *chain = j->keys.entries[index].state;
    if (added) {
        chain = arena_zero(&j->right.arena, 1, sizeof *chain);
        if (!chain) return false;
        j->keys.entries[index].state = chain;
        chain->first = row;
    } else {
        j->next[chain->last] = row;
    }
    chain->last = row;
    chain->count++;
    return true;
}

static enum err build_push(struct op *op, const struct rows *rows)
{
    struct join_op *j = (struct join_op *)(void *)((char *)op - offsetof(struct join_op, build));
    struct vector time = {0};
    arena_reset(&j->eval.scratch);
    enum err err = eval_keys(j, j->join->right_keys, rows);
    if (!err && j->join->is_asof)
        err = expr_eval(&j->eval, j->join->right_time, rows, &rows->view, &time);
    if (err) return err;
    for (uint32_t k = 0; k < rows->view.selected; k++) {
        uint32_t row = view_row(&rows->view, k), at = j->right.row_count;
        bool has_key = encode_key(j, row);
        if (j->join->is_asof && (!has_key || vector_is_null(&time, row))) continue;
        if (!has_key && j->join->kind != JOIN_FULL) continue;
        if (!rowset_add(&j->right, rows->columns, row)) return no_memory(j);
        if (at >= j->row_capacity && !grow_rows(j)) return no_memory(j);
        j->next[at] = NO_ROW;
        if (j->join->is_asof) j->times[at] = time.i[vector_at(&time, row)];
        if (has_key && !add_to_chain(j, at)) return no_memory(j);
    }
    return ERR_OK;
}

/* ---- ASOF ---- */

static int compare_times(const void *context, uint32_t a, uint32_t b)
{
    const struct join_op *j = context;
    return (j->times[a] > j->times[b]) - (j->times[a] < j->times[b]);
}

static enum err check(void *run)
{
    return run_check(run);
}

/* Sorts each key's rows by time; those that came in order stay as they are. */
static enum err sort_chains(struct join_op *j)
{
    for (size_t i = 0; i < j->keys.count; i++) {
        struct chain *chain = j->keys.entries[i].state;
        struct rowset_order order = {compare_times, j, check, j->op.run};
        enum err err = eval_spend(&j->eval, chain->count);
        if (err) return err;
        uint32_t *rows = arena_alloc(&j->right.arena, chain->count * sizeof *rows), n = 0;
        bool sorted = true;
        if (!rows) return no_memory(j);
        for (uint32_t row = chain->first; row != NO_ROW; row = j->next[row]) {
            sorted = sorted && (n == 0 || compare_times(j, rows[n - 1], row) <= 0);
            rows[n++] = row;
        }
        chain->rows = rows;
        if (sorted) continue;
        err = rowset_sort_list(&j->right.arena, &chain->rows, n, &order);
        if (err) return err == ERR_NO_MEMORY ? no_memory(j) : err;
    }
    return ERR_OK;
}

/* How many of the chain's times are below `time` (or equal to it, when `inclusive`). */
static uint32_t count_below(const struct join_op *j, struct chain *chain, int64_t time,
                            bool inclusive)
{
    uint32_t low = 0, high = chain->count, at = chain->cursor;
#define BELOW(i) (inclusive ? j->times[chain->rows[i]] <= time : j->times[chain->rows[i]] < time)
    if (at > 0 && BELOW(at - 1)) low = at;
    for (uint32_t step = 1; low + step <= high; step *= 2) {
        if (!BELOW(low + step - 1)) {
            high = low + step - 1;
            break;
        }
        low += step;
    }
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (BELOW(middle))
            low = middle + 1;
        else
            high = middle;
    }
#undef BELOW
    chain->cursor = low;
    return low;
}

/* The first of those at the time of place `at`, of which there may be as many as rows. */
static uint32_t first_of_time(const struct join_op *j, const struct chain *chain, uint32_t at)
{
    uint32_t low = 0, high = at;
    int64_t time = j->times[chain->rows[at]];
    for (uint32_t step = 1; step <= high; step *= 2) { /* mostly it is alone */
        if (j->times[chain->rows[high - step]] < time) {
            low = high - step + 1;
            break;
        }
        high -= step;
    }
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (j->times[chain->rows[middle]] < time)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static uint32_t nearest(const struct join_op *j, struct chain *chain, uint32_t row)
{
    const struct join *join = j->join;
    int64_t time = j->left_time.i[vector_at(&j->left_time, row)], apart;
    uint32_t below = count_below(j, chain, time, join->asof_forward == join->asof_strict);
    if (!join->asof_forward && below == 0) return NO_ROW;
    if (join->asof_forward && below == chain->count) return NO_ROW;
    uint32_t found = chain->rows[join->asof_forward ? below : first_of_time(j, chain, below - 1)];
    bool overflow = __builtin_sub_overflow(time, j->times[found], &apart);
    if (join->tolerance_ns > 0 &&
        (overflow || apart > join->tolerance_ns || apart < -join->tolerance_ns))
        return NO_ROW;
    return found;
}

static enum err build_right(struct join_op *j)
{
    struct run *child = NULL;
    if (j->is_built) return ERR_OK;
    j->is_built = true;
    enum err err = run_open_join(j->op.run, j->join->right, &j->build, &child, &j->right_head);
    if (!err) err = run_to_end(child);
    if (!err && j->right_head != &j->build) err = op_finish(j->right_head);
    if (!err && j->join->is_asof) err = sort_chains(j);
    if (!err && j->join->kind == JOIN_FULL &&
        !(j->right_matched = arena_zero(&j->right.arena, j->right.row_count + 1, 1)))
        return no_memory(j);
    return err;
}

/* ---- candidates ---- */

static uint32_t first_candidate(struct join_op *j, uint32_t row)
{
    size_t index;
    if (j->join->key_count == 0 && !j->join->is_asof) return j->right.row_count ? 0 : NO_ROW;
    if (!encode_key(j, row) || !keys_find(&j->keys, buf_str(&j->key), &index)) return NO_ROW;
    struct chain *chain = j->keys.entries[index].state;
    if (!j->join->is_asof) return chain->first;
    return vector_is_null(&j->left_time, row) ? NO_ROW : nearest(j, chain, row);
}

static uint32_t next_candidate(const struct join_op *j, uint32_t candidate)
{
    if (j->join->is_asof) return NO_ROW;
    if (j->join->key_count > 0) return j->next[candidate];
    return candidate + 1 < j->right.row_count ? candidate + 1 : NO_ROW;
}

/* ---- pairs ---- */

static void gather_left(struct join_op *j, size_t c, const struct vector *from)
{
    struct vector *to = &j->room[c];
    size_t bytes = vector_element_bytes(to->type);
    if (from->is_constant) { /* as it is */
        j->out[c] = *from;
        j->out[c].count = j->pair_count;
        return;
    }
    for (uint32_t r = 0; r < j->pair_count; r++) {
        uint32_t row = j->pair_left[r];
        to->null[r] = from->null ? from->null[row] : 0;
        to->quality[r] = from->quality ? from->quality[row] : QUALITY_GOOD;
        memcpy((char *)to->data + r * bytes, (const char *)from->data + row * bytes, bytes);
    }
    to->count = j->pair_count;
    j->out[c] = *to;
    if (!from->null) j->out[c].null = NULL;
    if (!from->quality) j->out[c].quality = NULL;
}

static void null_left(struct join_op *j, size_t c)
{
    struct vector *to = &j->room[c];
    memset(to->null, 1, j->pair_count);
    memset(to->data, 0, j->pair_count * vector_element_bytes(to->type));
    for (uint32_t r = 0; r < j->pair_count; r++) to->quality[r] = QUALITY_NO_DATA;
    to->count = j->pair_count;
    j->out[c] = *to;
}

static void gather(struct join_op *j, bool has_left)
{
    const struct plan *plan = j->op.run->plan;
    for (size_t c = 0; c < plan->input_count; c++) {
        if (!is_of(&plan->inputs[c], j->join->left)) continue;
        if (has_left)
            gather_left(j, c, &j->left.columns[c]);
        else
            null_left(j, c);
    }
    rowset_gather(&j->right, j->pair_right, j->pair_count, j->room);
    for (size_t c = 0; c < plan->input_count; c++)
        if (is_of(&plan->inputs[c], j->join->right)) j->out[c] = j->room[c];
}

/* Hands the pairs on for which the conditions hold. */
static enum err flush_pairs(struct join_op *j, bool has_left, bool test)
{
    const struct plan *plan = j->op.run->plan;
    struct rows rows = {.view = {j->pair_count, NULL, j->pair_count},
                        .columns = j->out,
                        .column_count = plan->input_count};
    if (j->pair_count == 0) return ERR_OK;
    enum err err = run_check(j->op.run);
    gather(j, has_left);
    for (size_t i = 0; test && i < j->join->condition_count && !err && rows.view.selected; i++) {
        uint32_t selected;
        err = expr_filter(&j->eval, j->join->conditions[i], &rows, &rows.view, j->selection[i & 1],
                          &selected);
        rows.view.selection = j->selection[i & 1];
        rows.view.selected = err ? 0 : selected;
    }
    for (uint32_t k = 0; test && k < rows.view.selected && !err; k++) {
        uint32_t pair = view_row(&rows.view, k);
        j->left_matched[j->pair_left[pair]] = 1;
        if (j->right_matched) j->right_matched[j->pair_right[pair]] = 1;
    }
    j->pair_count = 0;
    return err || rows.view.selected == 0 ? err : op_push(j->op.next, &rows);
}

static void add_pair(struct join_op *j, uint32_t left, uint32_t right)
{
    j->pair_left[j->pair_count] = left;
    j->pair_right[j->pair_count++] = right;
}

static enum err make_pairs(struct join_op *j)
{
    struct run *run = j->op.run;
    enum err err = ERR_OK;
    while (j->at < j->left.view.selected && !err && !run->paused && !run->enough) {
        uint32_t row = view_row(&j->left.view, j->at);
        if (!j->has_candidate) j->candidate = first_candidate(j, row);
        j->has_candidate = true;
        while (j->candidate != NO_ROW && j->pair_count < SQL_CHUNK_ROWS) {
            add_pair(j, row, j->candidate);
            j->candidate = next_candidate(j, j->candidate);
        }
        if (j->candidate == NO_ROW) j->at++, j->has_candidate = false;
        if (j->pair_count == SQL_CHUNK_ROWS) err = flush_pairs(j, true, true);
    }
    if (err || run->paused || run->enough) return err;
    err = flush_pairs(j, true, true);
    j->phase = PHASE_UNMATCHED;
    return err;
}

/* LEFT, FULL: rows of the left without a partner. They are at most one chunk. */
static enum err push_unmatched(struct join_op *j)
{
    j->phase = PHASE_IDLE;
    if (j->join->kind == JOIN_INNER) return ERR_OK;
    for (uint32_t k = 0; k < j->left.view.selected; k++) {
        uint32_t row = view_row(&j->left.view, k);
        if (!j->left_matched[row]) add_pair(j, row, NO_ROW);
    }
    return flush_pairs(j, true, false);
}

static enum err join_resume(struct op *op)
{
    struct join_op *j = (struct join_op *)op;
    enum err err = ERR_OK;
    if (j->phase == PHASE_PAIRS) err = make_pairs(j);
    if (!err && j->phase == PHASE_UNMATCHED && !op->run->paused) err = push_unmatched(j);
    return err;
}

static enum err join_push(struct op *op, const struct rows *rows)
{
    struct join_op *j = (struct join_op *)op;
    MUST(j->phase == PHASE_IDLE || op->run->enough);
    enum err err = build_right(j);
    if (err || op->run->enough) return err;
    arena_reset(&j->eval.scratch);
    j->left = *rows;
    err = eval_keys(j, j->join->left_keys, rows);
    if (!err && j->join->is_asof)
        err = expr_eval(&j->eval, j->join->left_time, rows, &rows->view, &j->left_time);
    if (err) return err;
    memset(j->left_matched, 0, rows->view.count);
    j->at = 0;
    j->has_candidate = false;
    j->phase = PHASE_PAIRS;
    return join_resume(op);
}

/* FULL: rows of the right without a partner. */
static enum err join_finish(struct op *op)
{
    struct join_op *j = (struct join_op *)op;
    enum err err = build_right(j);
    while (!err && j->right_matched && j->unmatched_right < j->right.row_count &&
           !op->run->paused && !op->run->enough) {
        for (; j->unmatched_right < j->right.row_count && j->pair_count < SQL_CHUNK_ROWS;
             j->unmatched_right++)
            if (!j->right_matched[j->unmatched_right]) add_pair(j, 0, j->unmatched_right);
        err = flush_pairs(j, false, false);
    }
    return err || op->run->paused ? err : op_finish(op->next);
}

static void join_close(struct op *op)
{
    struct join_op *j = (struct join_op *)op;
    for (struct op *inner = j->right_head; inner && inner != &j->build; inner = inner->next)
        if (inner->close) inner->close(inner);
    rowset_free(&j->right);
    arena_free(&j->eval.scratch);
    buf_free(&j->key);
}

static bool make_room(struct join_op *j)
{
    struct run *run = j->op.run;
    const struct plan *plan = run->plan;
    size_t count = plan->input_count;
    j->columns = arena_zero(run->arena, count, sizeof *j->columns);
    j->room = arena_zero(run->arena, count, sizeof *j->room);
    j->out = arena_zero(run->arena, count, sizeof *j->out);
    j->key_vectors = arena_zero(run->arena, j->join->key_count, sizeof *j->key_vectors);
    if (!j->columns || !j->room || !j->out || !j->key_vectors) return false;
    for (size_t c = 0; c < count; c++) {
        const struct input *input = &plan->inputs[c];
        bool is_right = is_of(input, j->join->right);
        if (is_right) j->columns[c] = (struct rowset_column){input->type, true};
        if ((is_right || is_of(input, j->join->left)) &&
            vector_make(&j->room[c], run->arena, input->type, SQL_CHUNK_ROWS, true, true))
            return false;
    }
    rowset_init(&j->right, run->context->budget, j->columns, count);
    j->keys.arena = &j->right.arena;
    return true;
}

struct op *op_join_new(struct run *run, const struct join *join, struct op *next)
{
    struct join_op *j = arena_zero(run->arena, 1, sizeof *j);
    if (!j) return NULL;
    j->op = (struct op){.push = join_push,
                        .finish = join_finish,
                        .resume = join_resume,
                        .close = join_close,
                        .next = next,
                        .run = run,
                        .measure = join->measure};
    j->build = (struct op){.push = build_push, .run = run};
    j->join = join;
    j->eval = run->eval;
    arena_init(&j->eval.scratch, run->context->budget);
    return make_room(j) ? &j->op : NULL;
}
