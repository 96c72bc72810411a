/* over_moving.c - aggregates over moving frames.
 *
 * Aggregates can be merged but not taken apart, so a frame is held as two stacks: the *front* has
 * for each of its positions the state of all from there to its end, the *back* one state of what
 * came since. A row leaves by moving one state on in the front; when the front is used up it is
 * made anew from the rows of the back. So each row is added twice and merged twice, whatever the
 * frame's width, and sums lose no digits by subtracting. */
#include "sql/over_priv.h"
#include <string.h>

bool moving_init(struct moving *moving)
{
    moving->state_bytes = (moving->call->aggregate->state_bytes + 15) & ~(size_t)15;
    moving->from = moving->middle = moving->to = moving->front_from = 0;
    moving->front = NULL;
    moving->has_value = false;
    moving->back = arena_zero(moving->memory, 2, moving->state_bytes);
    moving->scratch = moving->back ? moving->back + moving->state_bytes : NULL;
    return moving->back != NULL;
}

static enum err add_row(struct moving *moving, void *state, uint32_t at)
{
    const struct partition *p = moving->partition;
    uint32_t row = p->rows[at];
    struct agg_run run = {.from = row % SQL_CHUNK_ROWS, .count = 1, .params = moving->call->params};
    if (moving->call->arg_count > 0) run.value = rowset_cell(p->set, row, moving->arg_column);
    /* Times are in one array: pointed at so that the block's index finds its own. */
    if (moving->times) run.time = moving->times + (row - row % SQL_CHUNK_ROWS);
    return moving->call->aggregate->add(state, &run, moving->memory);
}

static uint8_t *front_state(const struct moving *moving, uint32_t at)
{
    return moving->front + (size_t)(at - moving->front_from) * moving->state_bytes;
}

/* Makes the front of all rows from … to - 1; the back is empty then. */
static enum err turn_over(struct moving *moving)
{
    const struct aggregate *aggregate = moving->call->aggregate;
    size_t count = moving->to - moving->from;
    arena_reset(moving->memory);
    moving->back = arena_zero(moving->memory, 2, moving->state_bytes);
    moving->front = arena_zero(moving->memory, count, moving->state_bytes);
    if (!moving->back || !moving->front) return ERR_NO_MEMORY;
    moving->scratch = moving->back + moving->state_bytes;
    moving->front_from = moving->from;
    moving->middle = moving->to;
    for (uint32_t at = moving->to; at-- > moving->from;) {
        enum err err = add_row(moving, front_state(moving, at), at);
        if (!err && at + 1 < moving->to)
            err = aggregate->merge(front_state(moving, at), front_state(moving, at + 1),
                                   moving->memory);
        if (err) return err;
    }
    return ERR_OK;
}

static enum err move_to(struct moving *moving, uint32_t from, uint32_t to)
{
    MUST(from >= moving->from && to >= moving->to);
    if (from > moving->to) { /* nothing of the last frame is left */
        arena_reset(moving->memory);
        if (!moving_init(moving)) return ERR_NO_MEMORY;
        moving->from = moving->middle = moving->to = moving->front_from = from;
    }
    enum err err = ERR_OK;
    for (; moving->to < to && !err; moving->to++) err = add_row(moving, moving->back, moving->to);
    if (err || from == moving->from) return err;
    moving->from = from;
    MUST(moving->front_from <= from && from <= moving->to && moving->middle <= moving->to);
    return from > moving->middle ? turn_over(moving) : ERR_OK;
}

static enum err result(struct moving *moving, struct value *value)
{
    const struct aggregate *aggregate = moving->call->aggregate;
    const void *state = moving->back;
    enum err err = ERR_OK;
    if (moving->from < moving->middle) {
        memset(moving->scratch, 0, moving->state_bytes);
        err = aggregate->merge(moving->scratch, front_state(moving, moving->from), moving->memory);
        if (!err && moving->to > moving->middle)
            err = aggregate->merge(moving->scratch, moving->back, moving->memory);
        state = moving->scratch;
    }
    if (!err) err = aggregate->final(state, value);
    return err;
}

enum err moving_value(struct moving *moving, uint32_t from, uint32_t to, struct value *value)
{
    if (to < from) to = from;
    if (moving->has_value && moving->value_from == from && moving->value_to == to) {
        *value = moving->value;
        return ERR_OK;
    }
    if (to < moving->to) to = moving->to; /* an empty frame behind a longer one */
    enum err err = move_to(moving, from, to);
    if (!err) err = result(moving, value);
    if (err) return err;
    value->type = moving->call->type;
    value->quality = QUALITY_GOOD;
    bool is_slice = !value->is_null && type_bytes(value->type) == 0;
    if (is_slice && !(value->s.at = arena_dup(moving->results, value->s.at, value->s.size)))
        return ERR_NO_MEMORY;
    moving->has_value = true;
    moving->value = *value;
    moving->value_from = from;
    moving->value_to = to;
    return ERR_OK;
}
