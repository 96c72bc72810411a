/* agg_order.c - aggregates that pick one value: min, max, first, last. */
#include "sql/agg.h"
#include <string.h>

static inline uint32_t row_of(const struct agg_run *run, uint32_t k)
{
    return run->rows ? run->rows[run->from + k] : run->from + k;
}

/* ---- min and max of fixed values ---- */

#define EXTREME(NAME, T, field, TYPE, BETTER)                                                      \
    struct NAME {                                                                                  \
        T best;                                                                                    \
        bool any;                                                                                  \
    };                                                                                             \
    enum err NAME##_add(void *state, const struct agg_run *run, struct arena *memory)              \
    {                                                                                              \
        (void)memory;                                                                              \
        struct NAME *to = state;                                                                   \
        const T *values = run->value->field;                                                       \
        const uint8_t *null = run->value->null;                                                    \
        T best = to->best;                                                                         \
        bool any = to->any;                                                                        \
        uint32_t k = 0;                                                                            \
        if (!any) /* the first value starts it, so that the loop needs no question */              \
            for (; k < run->count && !any; k++)                                                    \
                if (!null || !null[row_of(run, k)]) best = values[row_of(run, k)], any = true;     \
        if (!run->rows && !null) {                                                                 \
            const T *v = values + run->from;                                                       \
            for (; k < run->count; k++) best = v[k] BETTER best ? v[k] : best;                     \
        } else {                                                                                   \
            for (; k < run->count; k++) {                                                          \
                uint32_t row = row_of(run, k);                                                     \
                T v = null && null[row] ? best : values[row];                                      \
                best = v BETTER best ? v : best;                                                   \
            }                                                                                      \
        }                                                                                          \
        to->best = best;                                                                           \
        to->any = any;                                                                             \
        return ERR_OK;                                                                             \
    }                                                                                              \
    enum err NAME##_merge(void *into, const void *from, struct arena *memory)                      \
    {                                                                                              \
        (void)memory;                                                                              \
        struct NAME *to = into;                                                                    \
        const struct NAME *other = from;                                                           \
        if (other->any && (!to->any || other->best BETTER to->best)) *to = *other;                 \
        return ERR_OK;                                                                             \
    }                                                                                              \
    enum err NAME##_final(const void *state, struct value *result)                                 \
    {                                                                                              \
        const struct NAME *s = state;                                                              \
        *result = (struct value){.type = TYPE, .is_null = !s->any};                                \
        if (s->any) result->field = s->best;                                                       \
        return ERR_OK;                                                                             \
    }

EXTREME(agg_min_i, int64_t, i, TYPE_BIGINT, <)
EXTREME(agg_max_i, int64_t, i, TYPE_BIGINT, >)
EXTREME(agg_min_u, uint64_t, u, TYPE_UBIGINT, <)
EXTREME(agg_max_u, uint64_t, u, TYPE_UBIGINT, >)
EXTREME(agg_min_d, double, d, TYPE_DOUBLE, <)
EXTREME(agg_max_d, double, d, TYPE_DOUBLE, >)

enum err agg_time_final(const void *state, struct value *result)
{
    enum err err = agg_min_i_final(state, result);
    result->type = TYPE_TIMESTAMP;
    return err;
}

/* ---- of booleans: seen true, seen false ---- */

struct seen {
    bool yes, no;
};

static enum err see(void *state, const struct agg_run *run)
{
    struct seen *to = state;
    for (uint32_t k = 0; k < run->count; k++) {
        uint32_t row = row_of(run, k);
        if (run->value->null && run->value->null[row]) continue;
        to->yes |= run->value->b[row] != 0;
        to->no |= run->value->b[row] == 0;
    }
    return ERR_OK;
}

enum err agg_min_b_add(void *state, const struct agg_run *run, struct arena *memory)
{
    (void)memory;
    return see(state, run);
}

enum err agg_max_b_add(void *state, const struct agg_run *run, struct arena *memory)
{
    (void)memory;
    return see(state, run);
}

enum err agg_min_b_merge(void *into, const void *from, struct arena *memory)
{
    (void)memory;
    ((struct seen *)into)->yes |= ((const struct seen *)from)->yes;
    ((struct seen *)into)->no |= ((const struct seen *)from)->no;
    return ERR_OK;
}

enum err agg_max_b_merge(void *into, const void *from, struct arena *memory)
{
    return agg_min_b_merge(into, from, memory);
}

enum err agg_min_b_final(const void *state, struct value *result)
{
    const struct seen *s = state;
    *result =
        (struct value){.type = TYPE_BOOL, .is_null = !s->yes && !s->no, .b = s->yes && !s->no};
    return ERR_OK;
}

enum err agg_max_b_final(const void *state, struct value *result)
{
    const struct seen *s = state;
    *result = (struct value){.type = TYPE_BOOL, .is_null = !s->yes && !s->no, .b = s->yes};
    return ERR_OK;
}

/* ---- texts: the state keeps its own copy, in memory that only grows when a longer one comes ----
 */

struct kept_text {
    char *at;
    size_t size, capacity;
    bool any;
};

static enum err keep_text(struct kept_text *to, struct str text, struct arena *memory)
{
    if (text.size > to->capacity || !to->at) {
        size_t capacity = text.size * 2 < 32 ? 32 : text.size * 2;
        char *at = arena_alloc(memory, capacity);
        if (!at) return ERR_NO_MEMORY;
        to->at = at;
        to->capacity = capacity;
    }
    if (text.size) memcpy(to->at, text.at, text.size);
    to->size = text.size;
    to->any = true;
    return ERR_OK;
}

static enum err extreme_text(void *state, const struct agg_run *run, struct arena *memory, int sign)
{
    struct kept_text *to = state;
    for (uint32_t k = 0; k < run->count; k++) {
        uint32_t row = row_of(run, k);
        if (run->value->null && run->value->null[row]) continue;
        struct str text = run->value->s[row];
        if (to->any && str_compare(text, (struct str){to->at, to->size}) * sign <= 0) continue;
        enum err err = keep_text(to, text, memory);
        if (err) return err;
    }
    return ERR_OK;
}

static enum err merge_text(void *into, const void *from, struct arena *memory, int sign)
{
    struct kept_text *to = into;
    const struct kept_text *other = from;
    struct str text = {other->at, other->size};
    if (!other->any || (to->any && str_compare(text, (struct str){to->at, to->size}) * sign <= 0))
        return ERR_OK;
    return keep_text(to, text, memory);
}

enum err agg_min_s_add(void *state, const struct agg_run *run, struct arena *memory)
{
    return extreme_text(state, run, memory, -1);
}

enum err agg_max_s_add(void *state, const struct agg_run *run, struct arena *memory)
{
    return extreme_text(state, run, memory, 1);
}

enum err agg_min_s_merge(void *into, const void *from, struct arena *memory)
{
    return merge_text(into, from, memory, -1);
}

enum err agg_max_s_merge(void *into, const void *from, struct arena *memory)
{
    return merge_text(into, from, memory, 1);
}

enum err agg_min_s_final(const void *state, struct value *result)
{
    const struct kept_text *s = state;
    *result = (struct value){.type = TYPE_TEXT, .is_null = !s->any};
    if (s->any) result->s = (struct str){s->at, s->size};
    return ERR_OK;
}

enum err agg_max_s_final(const void *state, struct value *result)
{
    return agg_min_s_final(state, result);
}

/* ---- first and last by time ---- */

struct kept_value {
    int64_t time;
    struct kept_text text; /* for slices: the bytes; text.any: something was kept */
    uint64_t bits;         /* for fixed values */
    uint32_t quality;
    uint8_t type;
    bool is_null;
};
_Static_assert(sizeof(struct kept_value) <= 64, "the table says 64 bytes");

/* Whether the cell counts: absent ones never do, NULLs only those of plain columns. */
static bool counts(const struct agg_run *run, uint32_t row)
{
    const struct vector *v = run->value;
    if (v->type == TYPE_NONE) return false;
    if (!v->null || !v->null[row]) return true;
    return run->keeps_null && vector_quality(v, row) != QUALITY_NO_DATA;
}

static enum err keep_cell(struct kept_value *to, const struct agg_run *run, uint32_t row,
                          int64_t time, struct arena *memory)
{
    struct value v = vector_get(run->value, row);
    to->time = time;
    to->type = (uint8_t)v.type;
    to->is_null = v.is_null;
    to->quality = v.quality;
    to->text.any = true;
    if (v.is_null) return ERR_OK;
    if (type_bytes(v.type) == 0) return keep_text(&to->text, v.s, memory);
    to->bits = v.type == TYPE_BOOL ? v.b : v.u;
    return ERR_OK;
}

/* A run's times ascend, so the first cell from the right end that counts is its candidate. */
static enum err pick(void *state, const struct agg_run *run, struct arena *memory, bool last)
{
    struct kept_value *to = state;
    for (uint32_t k = 0; k < run->count; k++) {
        uint32_t row = row_of(run, last ? run->count - 1 - k : k);
        if (!counts(run, row)) continue;
        int64_t time = run->time ? run->time[row] : 0;
        bool better = !to->text.any || (last ? time >= to->time : time < to->time);
        return better ? keep_cell(to, run, row, time, memory) : ERR_OK;
    }
    return ERR_OK;
}

static enum err merge_pick(void *into, const void *from, struct arena *memory, bool last)
{
    struct kept_value *to = into;
    const struct kept_value *other = from;
    if (!other->text.any) return ERR_OK;
    if (to->text.any && (last ? other->time < to->time : other->time >= to->time)) return ERR_OK;
    struct kept_text mine = to->text;
    *to = *other;
    to->text = mine;
    return keep_text(&to->text, (struct str){other->text.at, other->text.size}, memory);
}

enum err agg_first_add(void *state, const struct agg_run *run, struct arena *memory)
{
    return pick(state, run, memory, false);
}

enum err agg_last_add(void *state, const struct agg_run *run, struct arena *memory)
{
    return pick(state, run, memory, true);
}

enum err agg_first_merge(void *into, const void *from, struct arena *memory)
{
    return merge_pick(into, from, memory, false);
}

enum err agg_last_merge(void *into, const void *from, struct arena *memory)
{
    return merge_pick(into, from, memory, true);
}

enum err agg_last_final(const void *state, struct value *result)
{
    const struct kept_value *s = state;
    *result = (struct value){.type = (enum type)s->type, .is_null = !s->text.any || s->is_null};
    result->quality = s->text.any ? s->quality : QUALITY_NO_DATA;
    if (result->is_null) return ERR_OK;
    if (result->type == TYPE_BOOL)
        result->b = s->bits != 0;
    else if (type_bytes(result->type) == 0)
        result->s = (struct str){s->text.at, s->text.size};
    else
        result->u = s->bits;
    return ERR_OK;
}

/* The latest row, whatever it holds. */
enum err agg_last_row_add(void *state, const struct agg_run *run, struct arena *memory)
{
    struct kept_value *to = state;
    if (run->count == 0) return ERR_OK;
    uint32_t row = row_of(run, run->count - 1);
    int64_t time = run->time ? run->time[row] : 0;
    bool better = !to->text.any || time >= to->time;
    return better ? keep_cell(to, run, row, time, memory) : ERR_OK;
}

enum err agg_last_row_merge(void *into, const void *from, struct arena *memory)
{
    return merge_pick(into, from, memory, true);
}

enum err agg_last_row_final(const void *state, struct value *result)
{
    return agg_last_final(state, result);
}

enum err agg_first_final(const void *state, struct value *result)
{
    return agg_last_final(state, result);
}
