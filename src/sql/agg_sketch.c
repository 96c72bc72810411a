/* agg_sketch.c - answers of bounded error from a bounded state: quantiles, distinct counts,
 * histograms.
 *
 * approx_percentile is a DDSketch (Masson, Rim, Lee, "DDSketch: a fast and fully-mergeable quantile
 * sketch with relative-error guarantees", VLDB 2019): values are counted in bins whose bounds grow
 * by (1 + a) / (1 - a), a = 1 %. The answer is within 1 % of the exact value at that rank, whatever
 * the distribution, as long as the absolute values of a group span less than 17 decimal powers;
 * beyond, the smallest bins are joined. Merging adds counts, so parts give what the whole gives.
 *
 * approx_count_distinct is a HyperLogLog (Flajolet, Fusy, Gandouet, Meunier, 2007) of 4,096
 * registers: standard error 1.04 / sqrt(4096) = 1.6 %; small counts by linear counting are nearly
 * exact. */
#include "sql/agg.h"
#include "sql/keys.h"
#include "base/hash.h"
#include <math.h>
#include <string.h>

static inline uint32_t row_of(const struct agg_run *run, uint32_t k)
{
    return run->rows ? run->rows[run->from + k] : run->from + k;
}

/* ---- DDSketch ---- */

enum { BINS_MAX = 2048 };
#define LOG_GAMMA 0.020000666706669543 /* ln(1.01 / 0.99) */

struct bins {
    uint64_t *count;
    int32_t first; /* index of count[0] */
    uint32_t used, capacity;
};

struct sketch {
    struct bins up, down; /* of positive values, and of negative ones by their absolute value */
    uint64_t zeros, total;
    double share;
};

/* Joins the lowest bins so that at most BINS_MAX are left below and with `index`. */
static void join_lowest(struct bins *b, int32_t lowest)
{
    uint64_t joined = 0;
    uint32_t drop = lowest > b->first ? (uint32_t)(lowest - b->first) : 0;
    if (drop == 0) return;
    if (drop > b->used) drop = b->used;
    for (uint32_t i = 0; i < drop; i++) joined += b->count[i];
    memmove(b->count, b->count + drop, (b->used - drop) * sizeof *b->count);
    b->used -= drop;
    b->first = lowest;
    if (b->used == 0) b->count[0] = 0, b->used = 1;
    b->count[0] += joined;
}

static bool reserve_bins(struct bins *b, uint32_t want, struct arena *memory)
{
    if (want <= b->capacity) return true;
    uint32_t capacity = b->capacity ? b->capacity : 32;
    while (capacity < want) capacity *= 2;
    uint64_t *grown = arena_zero(memory, capacity, sizeof *grown);
    if (!grown) return false;
    if (b->used) memcpy(grown, b->count, b->used * sizeof *grown);
    b->count = grown;
    b->capacity = capacity;
    return true;
}

static bool bins_add(struct bins *b, int32_t index, uint64_t n, struct arena *memory)
{
    if (b->used == 0) b->first = index;
    if (b->used > 0 && index - b->first >= BINS_MAX) join_lowest(b, index - BINS_MAX + 1);
    int32_t last = b->first + (int32_t)b->used - 1;
    if (b->used > 0 && last - index >= BINS_MAX) index = last - BINS_MAX + 1;
    uint32_t below = b->used && index < b->first ? (uint32_t)(b->first - index) : 0;
    uint32_t want = b->used + below;
    if (b->used == 0 || index > last) want = (uint32_t)(index - b->first) + 1;
    if (!reserve_bins(b, want, memory)) return false;
    if (below > 0) {
        memmove(b->count + below, b->count, b->used * sizeof *b->count);
        memset(b->count, 0, below * sizeof *b->count);
        b->first = index;
    } else if (want > b->used) {
        memset(b->count + b->used, 0, (want - b->used) * sizeof *b->count);
    }
    b->used = want;
    b->count[index - b->first] += n;
    return true;
}

static int32_t bin_of(double positive)
{
    return (int32_t)ceil(log(positive) / LOG_GAMMA);
}

static double value_of_bin(int32_t index) /* the middle, by relative error */
{
    return 2 * exp(index * LOG_GAMMA) / (exp(LOG_GAMMA) + 1);
}

enum err agg_ddsketch_add(void *state, const struct agg_run *run, struct arena *memory)
{
    struct sketch *s = state;
    s->share = run->params[0].d;
    for (uint32_t k = 0; k < run->count; k++) {
        uint32_t row = row_of(run, k);
        if (run->value->null && run->value->null[row]) continue;
        double v = run->value->d[row];
        bool good = true;
        s->total++;
        if (v > 0)
            good = bins_add(&s->up, bin_of(v), 1, memory);
        else if (v < 0)
            good = bins_add(&s->down, bin_of(-v), 1, memory);
        else
            s->zeros++;
        if (!good) return ERR_NO_MEMORY;
    }
    return ERR_OK;
}

static bool merge_bins(struct bins *into, const struct bins *from, struct arena *memory)
{
    for (uint32_t i = 0; i < from->used; i++)
        if (from->count[i] && !bins_add(into, from->first + (int32_t)i, from->count[i], memory))
            return false;
    return true;
}

enum err agg_ddsketch_merge(void *into, const void *from, struct arena *memory)
{
    struct sketch *s = into;
    const struct sketch *other = from;
    if (other->total) s->share = other->share;
    s->zeros += other->zeros;
    s->total += other->total;
    bool good =
        merge_bins(&s->up, &other->up, memory) && merge_bins(&s->down, &other->down, memory);
    return good ? ERR_OK : ERR_NO_MEMORY;
}

enum err agg_ddsketch_final(const void *state, struct value *result)
{
    const struct sketch *s = state;
    *result = (struct value){.type = TYPE_DOUBLE, .is_null = s->total == 0};
    if (s->total == 0) return ERR_OK;
    uint64_t rank = (uint64_t)floor(s->share * (double)(s->total - 1)), seen = 0;
    for (uint32_t i = s->down.used; i-- > 0;) {
        seen += s->down.count[i];
        if (seen > rank) return result->d = -value_of_bin(s->down.first + (int32_t)i), ERR_OK;
    }
    seen += s->zeros;
    if (seen > rank) return result->d = 0, ERR_OK;
    for (uint32_t i = 0; i < s->up.used; i++) {
        seen += s->up.count[i];
        if (seen > rank) return result->d = value_of_bin(s->up.first + (int32_t)i), ERR_OK;
    }
    return ERR_INTERNAL; /* the counts add up to the total */
}

/* ---- HyperLogLog ---- */

enum { HLL_BITS = 12, HLL_REGISTERS = 1 << HLL_BITS };

struct hll {
    uint8_t *registers;
};

static bool make_registers(struct hll *h, struct arena *memory)
{
    if (!h->registers) h->registers = arena_zero(memory, HLL_REGISTERS, 1);
    return h->registers != NULL;
}

enum err agg_hll_add(void *state, const struct agg_run *run, struct arena *memory)
{
    struct hll *h = state;
    struct buf key = BUF_EMPTY;
    if (!make_registers(h, memory)) return ERR_NO_MEMORY;
    for (uint32_t k = 0; k < run->count; k++) {
        uint32_t row = row_of(run, k);
        if (run->value->type == TYPE_NONE || vector_is_null(run->value, row)) continue;
        buf_clear(&key);
        keys_encode(&key, run->value, row);
        if (buf_failed(&key)) break;
        uint64_t hash = hash_64(key.at, key.size);
        size_t at = hash >> (64 - HLL_BITS);
        uint64_t rest = hash << HLL_BITS | UINT64_C(1) << (HLL_BITS - 1);
        uint8_t rank = (uint8_t)(__builtin_clzll(rest) + 1);
        if (rank > h->registers[at]) h->registers[at] = rank;
    }
    bool failed = buf_failed(&key);
    buf_free(&key);
    return failed ? ERR_NO_MEMORY : ERR_OK;
}

enum err agg_hll_merge(void *into, const void *from, struct arena *memory)
{
    struct hll *h = into;
    const struct hll *other = from;
    if (!other->registers) return ERR_OK;
    if (!make_registers(h, memory)) return ERR_NO_MEMORY;
    for (size_t i = 0; i < HLL_REGISTERS; i++)
        if (other->registers[i] > h->registers[i]) h->registers[i] = other->registers[i];
    return ERR_OK;
}

enum err agg_hll_final(const void *state, struct value *result)
{
    const struct hll *h = state;
    const double m = HLL_REGISTERS, alpha = 0.7213 / (1 + 1.079 / m);
    double sum = 0, empty = 0;
    *result = (struct value){.type = TYPE_BIGINT};
    if (!h->registers) return ERR_OK;
    for (size_t i = 0; i < HLL_REGISTERS; i++) {
        sum += ldexp(1, -h->registers[i]);
        empty += h->registers[i] == 0;
    }
    double estimate = alpha * m * m / sum;
    if (estimate <= 2.5 * m && empty > 0) estimate = m * log(m / empty); /* linear counting */
    result->i = (int64_t)nearbyint(estimate);
    return ERR_OK;
}

/* ---- histogram(x, low, high, n): counts of n equal bins, as a double[] ---- */

enum { HISTOGRAM_BINS_MAX = 1000 };

struct histogram {
    double *count; /* [bins + 2]: below, the bins, from `high` on */
    size_t bins;
};

bool agg_is_histogram(const struct value *params)
{
    return params[0].d < params[1].d && params[2].i >= 1 && params[2].i <= HISTOGRAM_BINS_MAX;
}

enum err agg_histogram_add(void *state, const struct agg_run *run, struct arena *memory)
{
    struct histogram *h = state;
    double low = run->params[0].d, high = run->params[1].d;
    h->bins = (size_t)run->params[2].i;
    if (!h->count) h->count = arena_zero(memory, h->bins + 2, sizeof *h->count);
    if (!h->count) return ERR_NO_MEMORY;
    for (uint32_t k = 0; k < run->count; k++) {
        uint32_t row = row_of(run, k);
        if (run->value->null && run->value->null[row]) continue;
        double v = run->value->d[row], place = (v - low) / (high - low) * (double)h->bins;
        size_t at = v < low ? 0 : v >= high ? h->bins + 1 : (size_t)place + 1;
        if (v < high && at > h->bins) at = h->bins; /* rounding */
        h->count[at]++;
    }
    return ERR_OK;
}

enum err agg_histogram_merge(void *into, const void *from, struct arena *memory)
{
    struct histogram *h = into;
    const struct histogram *other = from;
    if (!other->count) return ERR_OK;
    h->bins = other->bins;
    if (!h->count) h->count = arena_zero(memory, h->bins + 2, sizeof *h->count);
    if (!h->count) return ERR_NO_MEMORY;
    for (size_t i = 0; i < h->bins + 2; i++) h->count[i] += other->count[i];
    return ERR_OK;
}

enum err agg_histogram_final(const void *state, struct value *result)
{
    const struct histogram *h = state;
    *result = (struct value){.type = TYPE_DOUBLES, .is_null = !h->count};
    if (h->count)
        result->s = (struct str){(const char *)h->count, (h->bins + 2) * sizeof *h->count};
    return ERR_OK;
}
