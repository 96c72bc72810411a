/* agg_pair.c - statistics of two columns, higher moments, other means, and values picked by another
 * column.
 *
 * Moments are kept about the mean and joined by the formulas of Chan, Golub, LeVeque (1979) and
 * Pébay ("Formulas for robust, one-pass parallel computation of covariances and arbitrary-order
 * statistical moments", 2008), so nothing cancels and parts merge. */
#include "sql/agg.h"
#include "sql/func.h"
#include <math.h>
#include <string.h>

static inline uint32_t row_of(const struct agg_run *run, uint32_t k)
{
    return run->rows ? run->rows[run->from + k] : run->from + k;
}

static bool has(const struct vector *v, uint32_t row)
{
    return v->type != TYPE_NONE && !(v->null && v->null[row]);
}

static enum err give(double d, bool null, struct value *result)
{
    *result = (struct value){.type = TYPE_DOUBLE, .is_null = null || !isfinite(d)};
    if (!result->is_null) result->d = d;
    return ERR_OK;
}

/* ---- f(y, x), PostgreSQL's order of arguments ---- */

struct pair {
    double n, x, y, xx, yy, xy; /* means, and sums of products about them */
};

static void join_pair(struct pair *to, const struct pair *from)
{
    double n = to->n + from->n, dx = from->x - to->x, dy = from->y - to->y;
    if (from->n == 0) return;
    double share = to->n * from->n / n;
    to->xx += from->xx + dx * dx * share;
    to->yy += from->yy + dy * dy * share;
    to->xy += from->xy + dx * dy * share;
    to->x += dx * from->n / n;
    to->y += dy * from->n / n;
    to->n = n;
}

enum err agg_pair_add(void *state, const struct agg_run *run, struct arena *memory)
{
    (void)memory;
    for (uint32_t k = 0; k < run->count; k++) {
        uint32_t row = row_of(run, k);
        if (!has(run->value, row) || !has(run->second, row)) continue;
        struct pair one = {1, run->second->d[row], run->value->d[row], 0, 0, 0};
        join_pair(state, &one);
    }
    return ERR_OK;
}

enum err agg_pair_merge(void *into, const void *from, struct arena *memory)
{
    (void)memory;
    join_pair(into, from);
    return ERR_OK;
}

enum err agg_pair_final(const void *state, struct value *result)
{
    return agg_regr_count_final(state, result);
}
enum err agg_covar_pop_final(const void *state, struct value *result)
{
    const struct pair *p = state;
    return give(p->xy / p->n, p->n < 1, result);
}
enum err agg_covar_samp_final(const void *state, struct value *result)
{
    const struct pair *p = state;
    return give(p->xy / (p->n - 1), p->n < 2, result);
}
enum err agg_corr_final(const void *state, struct value *result)
{
    const struct pair *p = state;
    return give(p->xy / (sqrt(p->xx) * sqrt(p->yy)), p->n < 1 || p->xx == 0 || p->yy == 0, result);
}
enum err agg_regr_slope_final(const void *state, struct value *result)
{
    const struct pair *p = state;
    return give(p->xy / p->xx, p->n < 2 || p->xx == 0, result);
}
enum err agg_regr_intercept_final(const void *state, struct value *result)
{
    const struct pair *p = state;
    return give(p->y - p->xy / p->xx * p->x, p->n < 2 || p->xx == 0, result);
}
enum err agg_regr_r2_final(const void *state, struct value *result)
{
    const struct pair *p = state;
    if (p->n > 0 && p->xx > 0 && p->yy == 0) return give(1, false, result); /* as PostgreSQL */
    return give(p->xy * p->xy / (p->xx * p->yy), p->n < 1 || p->xx == 0, result);
}
enum err agg_regr_count_final(const void *state, struct value *result)
{
    *result = (struct value){.type = TYPE_BIGINT, .i = (int64_t)((const struct pair *)state)->n};
    return ERR_OK;
}

/* ---- skewness, kurtosis ---- */

struct moments {
    double n, mean, m2, m3, m4;
};

static void join_moments(struct moments *a, const struct moments *b)
{
    double n = a->n + b->n, d = b->mean - a->mean, d2 = d * d;
    if (b->n == 0) return;
    struct moments r = {n, a->mean + d * b->n / n, 0, 0, 0};
    r.m2 = a->m2 + b->m2 + d2 * a->n * b->n / n;
    r.m3 = a->m3 + b->m3 + d * d2 * a->n * b->n * (a->n - b->n) / (n * n) +
           3 * d * (a->n * b->m2 - b->n * a->m2) / n;
    r.m4 = a->m4 + b->m4 +
           d2 * d2 * a->n * b->n * (a->n * a->n - a->n * b->n + b->n * b->n) / (n * n * n) +
           6 * d2 * (a->n * a->n * b->m2 + b->n * b->n * a->m2) / (n * n) +
           4 * d * (a->n * b->m3 - b->n * a->m3) / n;
    *a = r;
}

enum err agg_moments_add(void *state, const struct agg_run *run, struct arena *memory)
{
    (void)memory;
    for (uint32_t k = 0; k < run->count; k++) {
        uint32_t row = row_of(run, k);
        if (!has(run->value, row)) continue;
        struct moments one = {1, run->value->d[row], 0, 0, 0};
        join_moments(state, &one);
    }
    return ERR_OK;
}

enum err agg_moments_merge(void *into, const void *from, struct arena *memory)
{
    (void)memory;
    join_moments(into, from);
    return ERR_OK;
}

enum err agg_moments_final(const void *state, struct value *result)
{
    return agg_skewness_final(state, result);
}
enum err agg_skewness_final(const void *state, struct value *result)
{
    const struct moments *m = state;
    return give(sqrt(m->n) * m->m3 / pow(m->m2, 1.5), m->n < 1 || m->m2 == 0, result);
}
enum err agg_kurtosis_final(const void *state, struct value *result)
{
    const struct moments *m = state;
    return give(m->n * m->m4 / (m->m2 * m->m2) - 3, m->n < 1 || m->m2 == 0, result);
}

/* ---- geometric and harmonic mean, root mean square ---- */

struct means {
    double n, logs, inverses, squares;
    bool not_positive;
};

enum err agg_means_add(void *state, const struct agg_run *run, struct arena *memory)
{
    struct means *m = state;
    (void)memory;
    for (uint32_t k = 0; k < run->count; k++) {
        uint32_t row = row_of(run, k);
        if (!has(run->value, row)) continue;
        double v = run->value->d[row];
        m->n++;
        m->squares += v * v;
        if (v > 0)
            m->logs += log(v), m->inverses += 1 / v;
        else
            m->not_positive = true;
    }
    return ERR_OK;
}

enum err agg_means_merge(void *into, const void *from, struct arena *memory)
{
    struct means *m = into;
    const struct means *other = from;
    (void)memory;
    m->n += other->n;
    m->logs += other->logs;
    m->inverses += other->inverses;
    m->squares += other->squares;
    m->not_positive |= other->not_positive;
    return ERR_OK;
}

enum err agg_means_final(const void *state, struct value *result)
{
    return agg_rms_final(state, result);
}
enum err agg_geometric_final(const void *state, struct value *result)
{
    const struct means *m = state;
    return give(exp(m->logs / m->n), m->n == 0 || m->not_positive, result);
}
enum err agg_harmonic_final(const void *state, struct value *result)
{
    const struct means *m = state;
    return give(m->n / m->inverses, m->n == 0 || m->not_positive, result);
}
enum err agg_rms_final(const void *state, struct value *result)
{
    const struct means *m = state;
    return give(sqrt(m->squares / m->n), m->n == 0, result);
}

/* ---- spread: greatest less least ---- */

struct range {
    double least, most;
    bool any;
};

enum err agg_spread_add(void *state, const struct agg_run *run, struct arena *memory)
{
    struct range *r = state;
    (void)memory;
    for (uint32_t k = 0; k < run->count; k++) {
        uint32_t row = row_of(run, k);
        if (!has(run->value, row)) continue;
        double v = run->value->d[row];
        if (!r->any || v < r->least) r->least = v;
        if (!r->any || v > r->most) r->most = v;
        r->any = true;
    }
    return ERR_OK;
}

enum err agg_spread_merge(void *into, const void *from, struct arena *memory)
{
    struct range *r = into;
    const struct range *other = from;
    (void)memory;
    if (!other->any) return ERR_OK;
    if (!r->any || other->least < r->least) r->least = other->least;
    if (!r->any || other->most > r->most) r->most = other->most;
    r->any = true;
    return ERR_OK;
}

enum err agg_spread_final(const void *state, struct value *result)
{
    const struct range *r = state;
    return give(r->most - r->least, !r->any, result);
}

/* ---- min_by, max_by, first(x, t), last(x, t): the value where another is least or greatest ----
 */

struct kept {
    uint64_t bits;
    char *at; /* of a slice */
    size_t size, capacity;
    uint8_t type;
    bool any, is_null;
};

static enum err keep(struct kept *k, const struct value *v, struct arena *memory)
{
    k->type = (uint8_t)v->type;
    k->any = true;
    k->is_null = v->is_null;
    if (v->is_null) return ERR_OK;
    if (type_bytes(v->type) > 0) {
        k->bits = v->type == TYPE_BOOL ? v->b : v->u;
        return ERR_OK;
    }
    if (!k->at || v->s.size > k->capacity) {
        size_t capacity = v->s.size * 2 < 32 ? 32 : v->s.size * 2;
        k->at = arena_alloc(memory, capacity);
        if (!k->at) return ERR_NO_MEMORY;
        k->capacity = capacity;
    }
    if (v->s.size) memcpy(k->at, v->s.at, v->s.size);
    k->size = v->s.size;
    return ERR_OK;
}

static struct value read_kept(const struct kept *k)
{
    struct value v = {.type = (enum type)k->type, .is_null = !k->any || k->is_null};
    if (v.is_null) return v;
    if (type_bytes(v.type) == 0)
        v.s = (struct str){k->at, k->size};
    else if (v.type == TYPE_BOOL)
        v.b = k->bits != 0;
    else
        v.u = k->bits;
    return v;
}

struct by {
    struct kept value, key;
};

static enum err offer(struct by *by, const struct value *value, const struct value *key, int sign,
                      struct arena *memory)
{
    if (by->key.any) {
        struct value have = read_kept(&by->key), kept = read_kept(&by->value);
        int order = value_compare(key, &have) * sign;
        if (order < 0 || (order == 0 && value_compare(value, &kept) >= 0)) return ERR_OK;
    }
    enum err err = keep(&by->key, key, memory);
    return err ? err : keep(&by->value, value, memory);
}

static enum err by_add(struct by *by, const struct agg_run *run, struct arena *memory, int sign)
{
    enum err err = ERR_OK;
    for (uint32_t k = 0; k < run->count && !err; k++) {
        uint32_t row = row_of(run, k);
        if (!has(run->value, row) || !has(run->second, row)) continue;
        struct value value = vector_get(run->value, row), key = vector_get(run->second, row);
        err = offer(by, &value, &key, sign, memory);
    }
    return err;
}

static enum err by_merge(struct by *into, const struct by *from, struct arena *memory, int sign)
{
    if (!from->key.any) return ERR_OK;
    struct value value = read_kept(&from->value), key = read_kept(&from->key);
    return offer(into, &value, &key, sign, memory);
}

enum err agg_min_by_add(void *state, const struct agg_run *run, struct arena *memory)
{
    return by_add(state, run, memory, -1);
}
enum err agg_max_by_add(void *state, const struct agg_run *run, struct arena *memory)
{
    return by_add(state, run, memory, 1);
}
enum err agg_min_by_merge(void *into, const void *from, struct arena *memory)
{
    return by_merge(into, from, memory, -1);
}
enum err agg_max_by_merge(void *into, const void *from, struct arena *memory)
{
    return by_merge(into, from, memory, 1);
}
enum err agg_max_by_final(const void *state, struct value *result)
{
    *result = read_kept(&((const struct by *)state)->value);
    return ERR_OK;
}
enum err agg_min_by_final(const void *state, struct value *result)
{
    return agg_max_by_final(state, result);
}
