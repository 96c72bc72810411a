/* agg_values.c - aggregates that need every value of a group: exact quantiles, mode, lists.
 *
 * Values are kept in an array of the group's arena that doubles; memory is bounded by the
 * statement's budget, and the error then says to narrow the range. approx_percentile and
 * approx_count_distinct (agg_sketch.c) do with a fixed size. */
#include "sql/agg.h"
#include "sql/func.h"
#include "sql/keys.h"
#include "base/hash.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static inline uint32_t row_of(const struct agg_run *run, uint32_t k)
{
    return run->rows ? run->rows[run->from + k] : run->from + k;
}

static inline bool is_null(const struct vector *v, uint32_t row)
{
    return v->type == TYPE_NONE || (v->null && v->null[row]);
}

/* ---- a growing array of doubles ---- */

struct list {
    double *at;
    size_t count, capacity;
};

static bool list_add(struct list *list, double d, struct arena *memory)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 16;
        double *grown = arena_alloc(memory, capacity * sizeof *grown);
        if (!grown) return false;
        if (list->count) memcpy(grown, list->at, list->count * sizeof *grown);
        list->at = grown;
        list->capacity = capacity;
    }
    list->at[list->count++] = d;
    return true;
}

static enum err list_add_run(struct list *list, const struct agg_run *run, struct arena *memory)
{
    for (uint32_t k = 0; k < run->count; k++) {
        uint32_t row = row_of(run, k);
        if (!is_null(run->value, row) && !list_add(list, run->value->d[row], memory))
            return ERR_NO_MEMORY;
    }
    return ERR_OK;
}

static enum err list_merge(struct list *into, const struct list *from, struct arena *memory)
{
    for (size_t i = 0; i < from->count; i++)
        if (!list_add(into, from->at[i], memory)) return ERR_NO_MEMORY;
    return ERR_OK;
}

/* ---- exact quantiles ---- */

struct values {
    struct list list;
    double share; /* of percentile_…(x, share) */
};

bool agg_is_fraction(const struct value *params)
{
    return params[0].d >= 0 && params[0].d <= 1;
}

bool agg_is_percent(const struct value *params)
{
    return params[0].d >= 0 && params[0].d <= 100;
}

enum err agg_values_add(void *state, const struct agg_run *run, struct arena *memory)
{
    struct values *v = state;
    if (run->params) v->share = run->params[0].d;
    return list_add_run(&v->list, run, memory);
}

enum err agg_values_merge(void *into, const void *from, struct arena *memory)
{
    struct values *v = into;
    const struct values *other = from;
    if (other->list.count) v->share = other->share;
    return list_merge(&v->list, &other->list, memory);
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static enum err give_double(double d, bool null, struct value *result)
{
    *result = (struct value){.type = TYPE_DOUBLE, .is_null = null || !isfinite(d)};
    if (!result->is_null) result->d = d;
    return ERR_OK;
}

/* The state owns the array: sorting it changes nothing that it says. */
static enum err quantile(const struct values *v, double share, bool between, struct value *result)
{
    size_t n = v->list.count;
    if (n == 0) return give_double(0, true, result);
    qsort(v->list.at, n, sizeof *v->list.at, compare_doubles);
    if (!between) { /* the first value whose cumulative share reaches it */
        double place = ceil(share * (double)n);
        return give_double(v->list.at[place < 1 ? 0 : (size_t)place - 1], false, result);
    }
    double place = share * (double)(n - 1);
    size_t low = (size_t)place, high = low + 1 < n ? low + 1 : low;
    double a = v->list.at[low], b = v->list.at[high];
    return give_double(a + (b - a) * (place - (double)low), false, result);
}

enum err agg_values_final(const void *state, struct value *result)
{
    return agg_median_final(state, result);
}
enum err agg_median_final(const void *state, struct value *result)
{
    return quantile(state, 0.5, true, result);
}
enum err agg_percentile_cont_final(const void *state, struct value *result)
{
    return quantile(state, ((const struct values *)state)->share, true, result);
}
enum err agg_percentile_disc_final(const void *state, struct value *result)
{
    return quantile(state, ((const struct values *)state)->share, false, result);
}
enum err agg_percentile_final(const void *state, struct value *result)
{
    return quantile(state, ((const struct values *)state)->share / 100, true, result);
}

/* ---- mode: the value that comes most often, the least of those ---- */

struct mode {
    struct keys *keys;
    enum type type;
};

static struct keys *new_keys(struct arena *memory)
{
    struct keys *keys = arena_zero(memory, 1, sizeof *keys);
    if (keys) keys->arena = memory;
    return keys;
}

enum err agg_mode_add(void *state, const struct agg_run *run, struct arena *memory)
{
    struct mode *m = state;
    struct buf key = BUF_EMPTY;
    enum err err = ERR_OK;
    if (!m->keys) m->keys = new_keys(memory);
    if (!m->keys) return ERR_NO_MEMORY;
    m->type = run->value->type;
    for (uint32_t k = 0; k < run->count && !err; k++) {
        size_t entry;
        bool added;
        if (is_null(run->value, row_of(run, k))) continue;
        buf_clear(&key);
        keys_encode(&key, run->value, row_of(run, k));
        if (buf_failed(&key) || !keys_find_or_add(m->keys, buf_str(&key), &entry, &added))
            err = ERR_NO_MEMORY;
        else if (m->keys->entries[entry].mark < UINT32_MAX)
            m->keys->entries[entry].mark++;
    }
    buf_free(&key);
    return err;
}

enum err agg_mode_merge(void *into, const void *from, struct arena *memory)
{
    struct mode *m = into;
    const struct mode *other = from;
    if (!other->keys) return ERR_OK;
    if (!m->keys) m->keys = new_keys(memory);
    if (!m->keys) return ERR_NO_MEMORY;
    m->type = other->type;
    for (size_t i = 0; i < other->keys->count; i++) {
        const struct key_entry *e = &other->keys->entries[i];
        size_t entry;
        bool added;
        if (!keys_find_or_add(m->keys, (struct str){(const char *)e->bytes, e->size}, &entry,
                              &added))
            return ERR_NO_MEMORY;
        m->keys->entries[entry].mark += e->mark;
    }
    return ERR_OK;
}

enum err agg_mode_final(const void *state, struct value *result)
{
    const struct mode *m = state;
    uint32_t most = 0;
    *result = (struct value){.type = m->type, .is_null = true};
    for (size_t i = 0; m->keys && i < m->keys->count; i++) {
        const struct key_entry *e = &m->keys->entries[i];
        struct str key = {(const char *)e->bytes, e->size};
        struct value value = keys_decode(&key, m->type);
        if (e->mark < most || (e->mark == most && value_compare(&value, result) > 0)) continue;
        most = e->mark;
        *result = value;
    }
    return ERR_OK;
}

/* ---- lists: array_agg, top, bottom, sample ---- */

enum { LIST_COUNT_MAX = 1 << 20, SMALL_COUNT_MAX = 10000 };

bool agg_is_small_count(const struct value *params)
{
    return params[0].i >= 1 && params[0].i <= SMALL_COUNT_MAX;
}

static enum err give_list(const struct list *list, struct value *result)
{
    *result = (struct value){.type = TYPE_DOUBLES, .is_null = list->count == 0};
    result->s = (struct str){(const char *)list->at, list->count * sizeof *list->at};
    return list->count > LIST_COUNT_MAX ? ERR_RANGE : ERR_OK;
}

enum err agg_array_add(void *state, const struct agg_run *run, struct arena *memory)
{
    return list_add_run(state, run, memory);
}
enum err agg_array_merge(void *into, const void *from, struct arena *memory)
{
    return list_merge(into, from, memory);
}
enum err agg_array_final(const void *state, struct value *result)
{
    return give_list(state, result);
}

/* The best n by a rank: a heap with the worst on top. rank[i] belongs to list.at[i]. */
struct best {
    struct list list, rank;
    size_t most;
};

static void swap(struct best *b, size_t i, size_t j)
{
    double v = b->list.at[i], r = b->rank.at[i];
    b->list.at[i] = b->list.at[j], b->rank.at[i] = b->rank.at[j];
    b->list.at[j] = v, b->rank.at[j] = r;
}

static bool is_worse(const struct best *b, size_t i, size_t j)
{
    if (b->rank.at[i] != b->rank.at[j]) return b->rank.at[i] < b->rank.at[j];
    return b->list.at[i] < b->list.at[j];
}

static void sink(struct best *b, size_t i)
{
    for (;;) {
        size_t worst = i, left = 2 * i + 1, right = left + 1;
        if (left < b->list.count && is_worse(b, left, worst)) worst = left;
        if (right < b->list.count && is_worse(b, right, worst)) worst = right;
        if (worst == i) return;
        swap(b, i, worst);
        i = worst;
    }
}

/* The list was given as a result, best first: a heap again, since the worst of a heap stands in
 * front. */
static void heap_again(struct best *b)
{
    if (b->list.count > 1 && is_worse(b, b->list.count - 1, 0))
        for (size_t i = b->list.count / 2; i-- > 0;) sink(b, i);
}

static bool best_add(struct best *b, double value, double rank, struct arena *memory)
{
    heap_again(b);
    if (b->list.count < b->most) {
        if (!list_add(&b->list, value, memory) || !list_add(&b->rank, rank, memory)) return false;
        for (size_t i = b->list.count - 1; i > 0 && is_worse(b, i, (i - 1) / 2); i = (i - 1) / 2)
            swap(b, i, (i - 1) / 2);
        return true;
    }
    if (rank < b->rank.at[0] || (rank == b->rank.at[0] && value <= b->list.at[0])) return true;
    b->list.at[0] = value, b->rank.at[0] = rank;
    sink(b, 0);
    return true;
}

/* A rank by chance that is the same wherever and whenever the row is looked at, so that samples of
 * parts merge into the sample of the whole ("bottom-k sampling", Cohen & Kaplan, 2007). */
static double chance(double value, int64_t time)
{
    struct {
        double value;
        int64_t time;
    } of = {value, time};
    return (double)(hash_64(&of, sizeof of) >> 11);
}

static enum err best_run(struct best *b, const struct agg_run *run, struct arena *memory, int by)
{
    b->most = (size_t)run->params[0].i;
    for (uint32_t k = 0; k < run->count; k++) {
        uint32_t row = row_of(run, k);
        if (is_null(run->value, row)) continue;
        double v = run->value->d[row];
        double rank = by == 0 ? chance(v, run->time ? run->time[row] : 0) : by * v;
        if (!best_add(b, v, rank, memory)) return ERR_NO_MEMORY;
    }
    return ERR_OK;
}

static enum err best_merge(void *into, const void *from, struct arena *memory)
{
    struct best *b = into;
    const struct best *other = from;
    if (other->most) b->most = other->most;
    for (size_t i = 0; i < other->list.count; i++)
        if (!best_add(b, other->list.at[i], other->rank.at[i], memory)) return ERR_NO_MEMORY;
    return ERR_OK;
}

/* Best first: sorted in place by insertion into the order of rank (n is small). */
static enum err best_final(const void *state, struct value *result)
{
    struct best b = *(const struct best *)state;
    size_t count = b.list.count;
    for (; b.list.count > 1; sink(&b, 0)) { /* a heap sort: the worst goes to the end */
        b.list.count--;
        swap(&b, 0, b.list.count);
    }
    b.list.count = count;
    return give_list(&b.list, result);
}

#define BEST(NAME, BY)                                                                             \
    enum err NAME##_add(void *state, const struct agg_run *run, struct arena *memory)              \
    {                                                                                              \
        return best_run(state, run, memory, BY);                                                   \
    }                                                                                              \
    enum err NAME##_merge(void *into, const void *from, struct arena *memory)                      \
    {                                                                                              \
        return best_merge(into, from, memory);                                                     \
    }                                                                                              \
    enum err NAME##_final(const void *state, struct value *result)                                 \
    {                                                                                              \
        return best_final(state, result);                                                          \
    }

BEST(agg_top, 1)
BEST(agg_bottom, -1)
BEST(agg_sample, 0)

/* ---- string_agg ---- */

struct joined {
    char *at;
    size_t size, capacity;
    bool any;
};
enum { JOINED_BYTES_MAX = 1 << 20 };

static bool append(struct joined *j, struct str s, struct arena *memory)
{
    if (j->size + s.size > j->capacity) {
        size_t capacity = (j->size + s.size) * 2 + 32;
        char *grown = arena_alloc(memory, capacity);
        if (!grown) return false;
        if (j->size) memcpy(grown, j->at, j->size);
        j->at = grown;
        j->capacity = capacity;
    }
    if (s.size) memcpy(j->at + j->size, s.at, s.size);
    j->size += s.size;
    return true;
}

/* A separator stands before every text, the first too: so parts are joined by putting them one
 * behind the other. It is left out when the text is given. Its length is kept in front. */
struct string_state {
    struct joined joined;
    size_t separator;
};

enum err agg_string_add(void *state, const struct agg_run *run, struct arena *memory)
{
    struct string_state *s = state;
    struct str separator = run->params ? run->params[0].s : STR(",");
    s->separator = separator.size;
    for (uint32_t k = 0; k < run->count && s->joined.size <= JOINED_BYTES_MAX; k++) {
        uint32_t row = row_of(run, k);
        if (is_null(run->value, row)) continue;
        if (!append(&s->joined, separator, memory) ||
            !append(&s->joined, run->value->s[row], memory))
            return ERR_NO_MEMORY;
        s->joined.any = true;
    }
    return ERR_OK;
}

enum err agg_string_merge(void *into, const void *from, struct arena *memory)
{
    struct string_state *s = into;
    const struct string_state *other = from;
    if (!other->joined.any) return ERR_OK;
    s->separator = other->separator;
    s->joined.any = true;
    return append(&s->joined, (struct str){other->joined.at, other->joined.size}, memory)
               ? ERR_OK
               : ERR_NO_MEMORY;
}

enum err agg_string_final(const void *state, struct value *result)
{
    const struct string_state *s = state;
    *result = (struct value){.type = TYPE_TEXT, .is_null = !s->joined.any};
    if (s->joined.any)
        result->s = (struct str){s->joined.at + s->separator, s->joined.size - s->separator};
    return s->joined.size > JOINED_BYTES_MAX ? ERR_RANGE : ERR_OK;
}
