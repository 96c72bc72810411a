/* op_query.c - queries inside expressions, and EXCEPT and INTERSECT.
 *
 * The answer of a sub-query depends only on its parameters, so it is computed once for each of
 * their values that come up and kept until the statement is closed; one without parameters is
 * computed once. An answer is a value, a yes or no, or the set of values that IN looks in. */
#include "sql/func.h"
#include "sql/keys.h"
#include "sql/op.h"
#include <string.h>

enum { SUBQUERIES_NESTED_MAX = 40 };

struct answer {
    bool has_rows, has_null;
    struct value value;       /* SCALAR, ARRAY */
    struct value least, most; /* ANY, ALL: of those that are not NULL */
    struct keys set;          /* IN */
};

/* Takes the rows of one run. */
struct capture {
    struct op op;
    const struct expr *call;
    struct subquery *query;
    struct answer *answer;
    struct buf key;
};

static enum err keep_value(struct capture *capture, struct value v, struct value *to)
{
    bool is_slice = !v.is_null && type_bytes(v.type) == 0;
    if (is_slice && !(v.s.at = arena_dup(&capture->query->memory, v.s.at, v.s.size)))
        return run_no_memory(capture->op.run);
    *to = v;
    to->quality = QUALITY_GOOD;
    return ERR_OK;
}

static enum err keep_scalar(struct capture *capture, const struct rows *rows)
{
    struct answer *answer = capture->answer;
    struct value v = vector_get(&rows->columns[0], view_row(&rows->view, 0));
    if (answer->has_rows || rows->view.selected > 1)
        return why_at(capture->op.run->why, ERR_INVALID, capture->call->position,
                      "this query gives more than one row where one value is wanted; add LIMIT 1 "
                      "or an aggregate");
    answer->has_rows = true;
    return keep_value(capture, v, &answer->value);
}

/* A comparison with any or all of the rows needs the least and the greatest of them only. */
static enum err keep_extremes(struct capture *capture, const struct rows *rows)
{
    struct answer *answer = capture->answer;
    enum err err = ERR_OK;
    for (uint32_t k = 0; k < rows->view.selected && !err; k++) {
        struct value v = vector_get(&rows->columns[0], view_row(&rows->view, k));
        answer->has_rows = true;
        if (v.is_null) {
            answer->has_null = true;
            continue;
        }
        if (answer->least.is_null || value_compare(&v, &answer->least) < 0)
            err = keep_value(capture, v, &answer->least);
        if (!err && (answer->most.is_null || value_compare(&v, &answer->most) > 0))
            err = keep_value(capture, v, &answer->most);
    }
    return err;
}

static enum err keep_array(struct capture *capture, const struct rows *rows)
{
    for (uint32_t k = 0; k < rows->view.selected; k++) {
        struct value v = vector_get(&rows->columns[0], view_row(&rows->view, k));
        array_add_item(&capture->key, &v);
    }
    return buf_failed(&capture->key) ? run_no_memory(capture->op.run) : ERR_OK;
}

static enum err keep_set(struct capture *capture, const struct rows *rows)
{
    struct answer *answer = capture->answer;
    for (uint32_t k = 0; k < rows->view.selected; k++) {
        uint32_t row = view_row(&rows->view, k);
        size_t index;
        bool added;
        answer->has_rows = true;
        if (rows->columns[0].type == TYPE_NONE || vector_is_null(&rows->columns[0], row)) {
            answer->has_null = true;
            continue;
        }
        buf_clear(&capture->key);
        keys_encode(&capture->key, &rows->columns[0], row);
        if (buf_failed(&capture->key) ||
            !keys_find_or_add(&answer->set, buf_str(&capture->key), &index, &added))
            return run_no_memory(capture->op.run);
    }
    return ERR_OK;
}

static enum err capture_push(struct op *op, const struct rows *rows)
{
    struct capture *capture = (struct capture *)op;
    if (rows->view.selected == 0) return ERR_OK;
    switch (capture->query->use) {
    case USE_SCALAR: return keep_scalar(capture, rows);
    case USE_IN: return keep_set(capture, rows);
    case USE_ANY:
    case USE_ALL: return keep_extremes(capture, rows);
    case USE_ARRAY: return keep_array(capture, rows);
    case USE_EXISTS: capture->answer->has_rows = true; break;
    }
    return ERR_OK;
}

static enum err compute_answer(struct run *root, const struct expr *call, struct answer *answer)
{
    struct subquery *query = call->query;
    struct capture capture = {
        .op = {.push = capture_push, .run = root}, .call = call, .query = query, .answer = answer};
    struct run *child = NULL;
    answer->set.arena = &query->memory;
    answer->value.is_null = answer->least.is_null = answer->most.is_null = true;
    if (root->nesting == SUBQUERIES_NESTED_MAX)
        return why_at(root->why, ERR_LIMIT, call->position,
                      "more than %d queries inside each other", SUBQUERIES_NESTED_MAX);
    root->nesting++;
    enum err err = run_open_child(root, query->plan, NULL, 0, &capture.op, &child);
    if (!err) err = run_to_end(child);
    root->nesting--;
    if (!err && query->use == USE_ARRAY) {
        if (capture.key.size == 0) buf_add_char(&capture.key, '{');
        buf_add_char(&capture.key, '}');
        struct value v = {.type = TYPE_TEXT, .s = buf_str(&capture.key)};
        err = buf_failed(&capture.key) ? run_no_memory(root)
                                       : keep_value(&capture, v, &answer->value);
    }
    buf_free(&capture.key);
    return err;
}

/* All copies of a parameter read the same memory. */
static void set_param(struct expr *param, struct value value)
{
    struct vector *constant = &param->constant;
    value.quality = QUALITY_GOOD;
    constant->is_constant = false; /* for the moment of writing */
    vector_set(constant, 0, &value);
    constant->is_constant = true;
}

/* The answer for the parameters' values at `row`: kept, or computed now. */
static enum err find_answer(struct run *root, const struct expr *call, uint32_t row,
                            struct answer **answer)
{
    struct subquery *query = call->query;
    struct buf key = BUF_EMPTY;
    size_t index = 0;
    bool added = false;
    for (size_t i = 0; i < query->param_count; i++) keys_encode(&key, &call->arg_vectors[i], row);
    bool found =
        !buf_failed(&key) && keys_find_or_add(&query->answers, buf_str(&key), &index, &added);
    buf_free(&key);
    if (!found) return run_no_memory(root);
    *answer = query->answers.entries[index].state;
    if (*answer) return ERR_OK;
    struct answer *made = arena_zero(&query->memory, 1, sizeof *made);
    if (!made) return run_no_memory(root);
    for (size_t i = 0; i < query->param_count; i++) {
        struct value v = {.is_null = true};
        if (call->arg_vectors[i].type != TYPE_NONE) v = vector_get(&call->arg_vectors[i], row);
        set_param(query->params[i], v);
    }
    enum err err = compute_answer(root, call, made);
    if (err) return err;
    query->answers.entries[index].state = made;
    *answer = made;
    return ERR_OK;
}

/* x IN (set) with SQL's three values: an unknown partner makes "no" unknown. */
static enum err look_in_set(struct run *root, const struct answer *answer,
                            const struct vector *operand, uint32_t row, struct value *result)
{
    struct buf key = BUF_EMPTY;
    size_t index;
    *result = (struct value){.type = TYPE_BOOL};
    if (!answer->has_rows) return ERR_OK;
    if (operand->type == TYPE_NONE || vector_is_null(operand, row)) {
        result->is_null = true;
        return ERR_OK;
    }
    keys_encode(&key, operand, row);
    bool failed = buf_failed(&key);
    result->b = !failed && keys_find(&answer->set, buf_str(&key), &index);
    result->is_null = !result->b && answer->has_null;
    buf_free(&key);
    return failed ? run_no_memory(root) : ERR_OK;
}

static bool holds(enum comparison comparison, int order)
{
    switch (comparison) {
    case COMPARE_EQ: return order == 0;
    case COMPARE_NE: return order != 0;
    case COMPARE_LT: return order < 0;
    case COMPARE_LE: return order <= 0;
    case COMPARE_GT: return order > 0;
    case COMPARE_GE: return order >= 0;
    }
    return false;
}

/* x < ANY is true when it is for the greatest, x < ALL when it is for the least; = and <> ask
 * both. An unknown row, or x, makes what is not decided unknown. */
static void compare_extremes(const struct subquery *query, const struct answer *answer,
                             const struct vector *operand, uint32_t row, struct value *result)
{
    bool any = query->use == USE_ANY;
    *result = (struct value){.type = TYPE_BOOL, .b = !any};
    if (!answer->has_rows) return;
    bool unknown = operand->type == TYPE_NONE || vector_is_null(operand, row);
    if (!unknown && !answer->least.is_null) {
        struct value x = vector_get(operand, row);
        bool least = holds(query->comparison, value_compare(&x, &answer->least));
        bool most = holds(query->comparison, value_compare(&x, &answer->most));
        result->b = any ? least || most : least && most;
        if (result->b == any) return;
    }
    result->is_null = unknown || answer->has_null;
}

static enum err result_at(struct run *root, const struct expr *e, uint32_t row,
                          struct value *result)
{
    struct answer *answer = NULL;
    enum err err = find_answer(root, e, row, &answer);
    if (err) return err;
    MUST(answer);
    switch (e->query->use) {
    case USE_SCALAR:
    case USE_ARRAY: *result = answer->value; break;
    case USE_ANY:
    case USE_ALL:
        compare_extremes(e->query, answer, &e->arg_vectors[e->arg_count - 1], row, result);
        break;
    case USE_EXISTS: *result = (struct value){.type = TYPE_BOOL, .b = answer->has_rows}; break;
    case USE_IN: return look_in_set(root, answer, &e->arg_vectors[e->arg_count - 1], row, result);
    }
    return ERR_OK;
}

enum err special_query(struct eval *eval, const struct expr *e, const struct rows *rows,
                       const struct view *view, struct vector *out)
{
    MUST(e->query && eval->run);
    struct subquery *query = e->query;
    if (!query->is_begun) {
        query->is_begun = true;
        arena_init(&query->memory, eval->budget);
        query->answers.arena = &query->memory;
    }
    out->null = e->null;
    bool constant = true;
    for (size_t i = 0; i < e->arg_count; i++) {
        enum err err = expr_eval(eval, e->args[i], rows, view, &e->arg_vectors[i]);
        if (err) return err;
        constant = constant && e->arg_vectors[i].is_constant;
    }
    memset(e->null, 0, view->count);
    for (uint32_t k = 0; k < view->selected; k++) {
        uint32_t row = constant ? 0 : view_row(view, k);
        struct value v = {0};
        enum err err = result_at(eval->run, e, row, &v);
        if (err) return err;
        v.type = e->type;
        vector_set(out, row, &v);
        if (constant) break;
    }
    out->is_constant = constant;
    return ERR_OK;
}

void subquery_end(struct subquery *query)
{
    if (query->is_begun) arena_free(&query->memory);
    query->is_begun = false;
    query->answers = (struct keys){0};
}

/* ---- EXCEPT, INTERSECT ---- */

struct set_op {
    struct op op, build;
    bool is_built;
    struct arena memory;
    struct keys keys; /* of the right operand; mark: how often it has the row, still unused */
    struct buf key;
    uint16_t selection[SQL_CHUNK_ROWS];
};

static bool encode_row(struct set_op *set, const struct rows *rows, uint32_t row)
{
    buf_clear(&set->key);
    for (size_t c = 0; c < rows->column_count; c++) keys_encode(&set->key, &rows->columns[c], row);
    return !buf_failed(&set->key);
}

static enum err set_build(struct op *op, const struct rows *rows)
{
    struct set_op *set = (struct set_op *)(void *)((char *)op - offsetof(struct set_op, build));
    for (uint32_t k = 0; k < rows->view.selected; k++) {
        size_t index;
        bool added;
        if (!encode_row(set, rows, view_row(&rows->view, k)) ||
            !keys_find_or_add(&set->keys, buf_str(&set->key), &index, &added))
            return run_no_memory(op->run);
        if (set->keys.entries[index].mark < UINT32_MAX) set->keys.entries[index].mark++;
    }
    return ERR_OK;
}

/* Whether the row of the left operand goes on. */
static bool passes(struct set_op *set, bool found, size_t index)
{
    const struct plan *plan = set->op.run->plan;
    uint32_t *left = found ? &set->keys.entries[index].mark : NULL;
    bool is_except = plan->set == SET_EXCEPT;
    if (!found) return is_except;
    if (!plan->set_all && is_except) return false;
    bool unused = *left > 0;
    if (!plan->set_all)
        *left = 0; /* INTERSECT: once */
    else if (unused)
        --*left;
    return is_except ? !unused : unused;
}

static enum err set_push(struct op *op, const struct rows *rows)
{
    struct set_op *set = (struct set_op *)op;
    struct run *child = NULL;
    struct rows kept = *rows;
    uint32_t n = 0;
    if (!set->is_built) {
        set->is_built = true;
        enum err err =
            run_open_child(op->run, op->run->plan->sides[1], op->run->plan, 0, &set->build, &child);
        if (!err) err = run_to_end(child);
        if (err) return err;
    }
    for (uint32_t k = 0; k < rows->view.selected; k++) {
        uint32_t row = view_row(&rows->view, k);
        size_t index = 0;
        if (!encode_row(set, rows, row)) return run_no_memory(op->run);
        bool found = keys_find(&set->keys, buf_str(&set->key), &index);
        set->selection[n] = (uint16_t)row;
        n += passes(set, found, index);
    }
    kept.view.selection = set->selection;
    kept.view.selected = n;
    return n > 0 ? op_push(op->next, &kept) : ERR_OK;
}

static void set_close(struct op *op)
{
    struct set_op *set = (struct set_op *)op;
    arena_free(&set->memory);
    buf_free(&set->key);
}

struct op *op_set_new(struct run *run, struct op *next)
{
    struct set_op *set = arena_zero(run->arena, 1, sizeof *set);
    if (!set) return NULL;
    set->op = (struct op){.push = set_push, .close = set_close, .next = next, .run = run};
    set->build = (struct op){.push = set_build, .run = run};
    arena_init(&set->memory, run->context->budget);
    set->keys.arena = &set->memory;
    return &set->op;
}
