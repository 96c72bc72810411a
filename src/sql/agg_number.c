/* agg_number.c - count, sum, avg, standard deviation.
 *
 * The common run, contiguous without NULLs, has its own loop with several independent sums: a
 * processor adds one double per four cycles into one sum, but four sums at a time side by side.
 * NULLs are masked instead of branched on. */
#include "sql/agg.h"
#include "base/simd.h"
#include <math.h>

static inline uint32_t row_of(const struct agg_run *run, uint32_t k)
{
    return run->rows ? run->rows[run->from + k] : run->from + k;
}

/* ---- count ---- */

enum err agg_count_add(void *state, const struct agg_run *run, struct arena *memory)
{
    (void)memory;
    int64_t *count = state;
    *count += run->count;
    if (!run->value || (!run->value->null && run->value->type != TYPE_NONE)) return ERR_OK;
    if (run->value->type == TYPE_NONE)
        *count -= run->count;
    else
        for (uint32_t k = 0; k < run->count; k++) *count -= run->value->null[row_of(run, k)] != 0;
    return ERR_OK;
}

enum err agg_count_merge(void *into, const void *from, struct arena *memory)
{
    (void)memory;
    *(int64_t *)into += *(const int64_t *)from;
    return ERR_OK;
}

enum err agg_count_final(const void *state, struct value *result)
{
    *result = (struct value){.type = TYPE_BIGINT, .i = *(const int64_t *)state};
    return ERR_OK;
}

void agg_count_more(void *state, uint64_t count)
{
    *(int64_t *)state += (int64_t)count;
}

/* ---- sums of doubles; avg is the same state read differently ---- */

struct sum_d {
    double sum;
    uint64_t count;
};

SIMD_CLONES static double sum_run(const double *v, uint32_t n)
{
    double s[8] = {0};
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (uint32_t lane = 0; lane < 8; lane++) s[lane] += v[i + lane];
    for (; i < n; i++) s[0] += v[i];
    return ((s[0] + s[4]) + (s[1] + s[5])) + ((s[2] + s[6]) + (s[3] + s[7]));
}

SIMD_CLONES static double sum_run_nulls(const double *v, const uint8_t *null, uint32_t n, uint64_t *count)
{
    double s[4] = {0};
    uint64_t nulls = 0;
    uint32_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (uint32_t lane = 0; lane < 4; lane++) {
            s[lane] += null[i + lane] ? 0 : v[i + lane];
            nulls += null[i + lane];
        }
    for (; i < n; i++) {
        s[0] += null[i] ? 0 : v[i];
        nulls += null[i];
    }
    *count += n - nulls;
    return (s[0] + s[1]) + (s[2] + s[3]);
}

enum err agg_sum_d_add(void *state, const struct agg_run *run, struct arena *memory)
{
    (void)memory;
    struct sum_d *to = state;
    const double *v = run->value->d;
    const uint8_t *null = run->value->null;
    if (!run->rows && !null) {
        to->sum += sum_run(v + run->from, run->count);
        to->count += run->count;
    } else if (!run->rows) {
        to->sum += sum_run_nulls(v + run->from, null + run->from, run->count, &to->count);
    } else {
        for (uint32_t k = 0; k < run->count; k++) {
            uint32_t row = run->rows[run->from + k];
            bool skip = null && null[row];
            to->sum += skip ? 0 : v[row];
            to->count += !skip;
        }
    }
    return ERR_OK;
}

enum err agg_sum_d_merge(void *into, const void *from, struct arena *memory)
{
    (void)memory;
    struct sum_d *to = into;
    const struct sum_d *other = from;
    to->sum += other->sum;
    to->count += other->count;
    return ERR_OK;
}

void agg_sum_d_more(void *state, double sum, uint64_t count)
{
    struct sum_d *to = state;
    to->sum += sum;
    to->count += count;
}

static enum err finite_or_null(double d, bool is_null, struct value *result)
{
    *result = (struct value){.type = TYPE_DOUBLE, .is_null = is_null || !isfinite(d)};
    if (!result->is_null) result->d = d;
    return ERR_OK;
}

enum err agg_sum_d_final(const void *state, struct value *result)
{
    const struct sum_d *s = state;
    return finite_or_null(s->sum, s->count == 0, result);
}

enum err agg_avg_final(const void *state, struct value *result)
{
    const struct sum_d *s = state;
    return finite_or_null(s->count ? s->sum / (double)s->count : 0, s->count == 0, result);
}

/* ---- sums of integers: 128 bits wide, so only the result can be out of range ---- */

struct sum_i {
    _Alignas(16) __int128 sum;
    uint64_t count;
};

/* High and low halves are summed apart: both fit into 64 bits for any run, and the loop vectorises.
 */
enum err agg_sum_i_add(void *state, const struct agg_run *run, struct arena *memory)
{
    (void)memory;
    struct sum_i *to = state;
    const uint8_t *null = run->value->null;
    int64_t high = 0;
    uint64_t low = 0, skipped = 0;
    for (uint32_t k = 0; k < run->count; k++) {
        uint32_t row = row_of(run, k);
        bool skip = null && null[row];
        int64_t v = skip ? 0 : run->value->i[row];
        high += v >> 32;
        low += (uint64_t)v & 0xffffffffu;
        skipped += skip;
    }
    to->sum += (__int128)high * ((__int128)1 << 32) + (__int128)low;
    to->count += run->count - skipped;
    return ERR_OK;
}

void agg_sum_i_more(void *state, __int128 sum, uint64_t count)
{
    struct sum_i *to = state;
    to->sum += sum;
    to->count += count;
}

enum err agg_sum_i_merge(void *into, const void *from, struct arena *memory)
{
    (void)memory;
    struct sum_i *to = into;
    const struct sum_i *other = from;
    to->sum += other->sum;
    to->count += other->count;
    return ERR_OK;
}

enum err agg_sum_i_final(const void *state, struct value *result)
{
    const struct sum_i *s = state;
    *result = (struct value){.type = TYPE_BIGINT, .is_null = s->count == 0};
    if (s->sum > INT64_MAX || s->sum < INT64_MIN) return ERR_RANGE;
    result->i = (int64_t)s->sum;
    return ERR_OK;
}

enum err agg_sum_u_add(void *state, const struct agg_run *run, struct arena *memory)
{
    (void)memory;
    struct sum_i *to = state;
    const uint8_t *null = run->value->null;
    for (uint32_t k = 0; k < run->count; k++) {
        uint32_t row = row_of(run, k);
        if (null && null[row]) continue;
        to->sum += (__int128)run->value->u[row];
        to->count++;
    }
    return ERR_OK;
}

enum err agg_sum_u_merge(void *into, const void *from, struct arena *memory)
{
    return agg_sum_i_merge(into, from, memory);
}

enum err agg_sum_u_final(const void *state, struct value *result)
{
    const struct sum_i *s = state;
    *result = (struct value){.type = TYPE_UBIGINT, .is_null = s->count == 0};
    if (s->sum > (__int128)UINT64_MAX) return ERR_RANGE;
    result->u = (uint64_t)s->sum;
    return ERR_OK;
}

/* ---- spread: count, mean and sum of squared deviations, joined as T. Chan et al. (1979) do ----
 */

struct spread {
    double count, mean, squares;
};

static void join(struct spread *to, const struct spread *from)
{
    if (from->count == 0) return;
    double count = to->count + from->count, delta = from->mean - to->mean;
    to->squares += from->squares + delta * delta * to->count * from->count / count;
    to->mean += delta * from->count / count;
    to->count = count;
}

/* Two passes over the run, which lies in the cache: exact where one pass with squares would cancel.
 */
enum err agg_stddev_add(void *state, const struct agg_run *run, struct arena *memory)
{
    (void)memory;
    const uint8_t *null = run->value->null;
    const double *v = run->value->d;
    struct spread of_run = {0};
    double sum = 0;
    for (uint32_t k = 0; k < run->count; k++) {
        uint32_t row = row_of(run, k);
        bool skip = null && null[row];
        sum += skip ? 0 : v[row];
        of_run.count += !skip;
    }
    if (of_run.count == 0) return ERR_OK;
    of_run.mean = sum / of_run.count;
    for (uint32_t k = 0; k < run->count; k++) {
        uint32_t row = row_of(run, k);
        double delta = null && null[row] ? 0 : v[row] - of_run.mean;
        of_run.squares += delta * delta;
    }
    join(state, &of_run);
    return ERR_OK;
}

enum err agg_stddev_merge(void *into, const void *from, struct arena *memory)
{
    (void)memory;
    join(into, from);
    return ERR_OK;
}

enum err agg_variance_final(const void *state, struct value *result)
{
    const struct spread *s = state;
    return finite_or_null(s->count > 1 ? s->squares / (s->count - 1) : 0, s->count < 2, result);
}

enum err agg_var_pop_final(const void *state, struct value *result)
{
    const struct spread *s = state;
    return finite_or_null(s->count > 0 ? s->squares / s->count : 0, s->count == 0, result);
}

enum err agg_stddev_final(const void *state, struct value *result)
{
    enum err err = agg_variance_final(state, result);
    if (!result->is_null) result->d = sqrt(result->d);
    return err;
}

enum err agg_stddev_pop_final(const void *state, struct value *result)
{
    enum err err = agg_var_pop_final(state, result);
    if (!result->is_null) result->d = sqrt(result->d);
    return err;
}
