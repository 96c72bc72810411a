/* part_range.c - summaries of some rows of a block's column: those of a window that a block is cut
 * by. See part_column.h.
 *
 * Three ways, the quickest that the column allows: by its marks, where only the mini-blocks at the
 * ends are decoded; over its integers, which for decimals saves making doubles of them (the sum is
 * then exact, as that of a whole block's statistics is); over the decoded values. */
#include "base/simd.h"
#include "store/part_column.h"
#include <math.h>

/* Integers up to it, a block of them, have a sum of 63 bits. */
#define SMALL ((int64_t)INT64_MAX / PART_BLOCK_ROWS)

static struct sql_summary *at(struct sql_summary *out, size_t stride, uint32_t i)
{
    return out + i * stride;
}

/* ---- decoded values ---- */

/* Adds one value that is not NULL. */
static void add_value(struct sql_summary *s, const struct value *value)
{
    bool is_first = s->count++ == 0;
    if (!type_bytes(value->type)) return;
    s->has_values = true;
    if (is_first) s->least = s->most = s->first = *value;
    s->last = *value;
    if (value_compare(value, &s->least) < 0) s->least = *value;
    if (value_compare(value, &s->most) > 0) s->most = *value;
    switch (value->type) {
    case TYPE_DOUBLE: s->sum_double += value->d; break;
    case TYPE_BOOL: s->sum_int += value->b; break;
    case TYPE_UBIGINT: s->sum_int += value->u; break;
    default: s->sum_int += value->i; break;
    }
}

struct double_range {
    double least, most, sum;
};

SIMD_CLONES static struct double_range range_of_doubles(const double *v, uint32_t count)
{
    struct double_range r = {v[0], v[0], 0};
    for (uint32_t i = 0; i < count; i++) {
        r.least = v[i] < r.least ? v[i] : r.least;
        r.most = v[i] > r.most ? v[i] : r.most;
        r.sum += v[i];
    }
    return r;
}

static struct value of_double(double d)
{
    return (struct value){.type = TYPE_DOUBLE, .d = d};
}

static void sum_doubles(const double *v, uint32_t count, struct sql_summary *s)
{
    struct double_range r = range_of_doubles(v, count);
    *s = (struct sql_summary){.count = count, .has_values = true, .sum_double = r.sum};
    s->least = of_double(r.least);
    s->most = of_double(r.most);
    s->first = of_double(v[0]);
    s->last = of_double(v[count - 1]);
}

void part_vector_ranges(const struct vector *v, const struct part_ranges *ranges,
                        struct sql_summary *out, size_t stride)
{
    MUST(ranges->ends[ranges->count] <= v->count);
    bool plain = v->type == TYPE_DOUBLE && !v->null && !v->is_constant;
    for (uint32_t i = 0; i < ranges->count; i++) {
        struct sql_summary *s = at(out, stride, i);
        uint32_t from = ranges->ends[i], to = ranges->ends[i + 1];
        *s = (struct sql_summary){0};
        if (plain && from < to) {
            sum_doubles(v->d + from, to - from, s);
            continue;
        }
        for (uint32_t row = from; row < to; row++) {
            struct value value = vector_get(v, row);
            if (!value.is_null) add_value(s, &value);
        }
    }
}

/* ---- integers ---- */

struct int_range {
    int64_t least, most;
    uint64_t sum;
};

SIMD_CLONES static struct int_range range_of_ints(const int64_t *v, uint32_t count)
{
    struct int_range r = {INT64_MAX, INT64_MIN, 0};
    for (uint32_t i = 0; i < count; i++) {
        r.least = v[i] < r.least ? v[i] : r.least;
        r.most = v[i] > r.most ? v[i] : r.most;
        r.sum += (uint64_t)v[i];
    }
    return r;
}

SIMD_CLONES static uint64_t sum_of_ints(const int64_t *v, uint32_t count)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i++) sum += (uint64_t)v[i];
    return sum;
}

static struct value of_int(enum type type, int64_t i, unsigned decimals)
{
    return type == TYPE_DOUBLE ? of_double((double)i / codec_power(decimals))
                               : (struct value){.type = type, .i = i};
}

/* `sum`: of `count` integers. */
static void set_sum(struct sql_summary *s, enum type type, unsigned decimals, uint32_t count,
                    int64_t sum)
{
    *s = (struct sql_summary){.count = count, .has_values = count > 0};
    if (type == TYPE_DOUBLE)
        s->sum_double = (double)sum / codec_power(decimals);
    else
        s->sum_int = sum;
}

static enum err sum_ints(struct codec *codec, const struct part_column *column, struct reader in,
                         unsigned decimals, uint32_t rows, const struct part_ranges *ranges,
                         struct sql_summary *out, size_t stride, bool *done, struct why *why)
{
    int64_t *ints = codec->room->ints;
    enum type type = (enum type)column->type;
    enum err err = codec_get_ints(codec, &in, rows, ints, why);
    if (!err && reader_left(&in)) err = codec_bad(why, "bytes behind the values");
    if (err) return err;
    struct int_range all = range_of_ints(ints, rows);
    *done = all.least >= -SMALL && all.most <= SMALL;
    if (type == TYPE_DOUBLE && !codec_are_small(ints, rows))
        return codec_bad(why, "a decimal has too many digits");
    for (uint32_t i = 0; *done && i < ranges->count; i++) {
        struct sql_summary *s = at(out, stride, i);
        uint32_t from = ranges->ends[i], count = ranges->ends[i + 1] - from;
        if (ranges->ignores_bounds) {
            set_sum(s, type, decimals, count, (int64_t)sum_of_ints(ints + from, count));
        } else {
            struct int_range r = range_of_ints(ints + from, count);
            set_sum(s, type, decimals, count, (int64_t)r.sum);
            s->least = of_int(type, r.least, decimals);
            s->most = of_int(type, r.most, decimals);
        }
        if (count) s->first = of_int(type, ints[from], decimals);
        if (count) s->last = of_int(type, ints[from + count - 1], decimals);
    }
    return ERR_OK;
}

/* ---- marks ---- */

static enum err set_ends(struct codec_minis *m, enum type type, unsigned decimals, uint32_t from,
                         uint32_t to, struct sql_summary *s, struct why *why)
{
    int64_t first = 0, last = 0;
    enum err err = codec_minis_value(m, from, &first, why);
    if (!err) err = codec_minis_value(m, to - 1, &last, why);
    s->first = of_int(type, first, decimals);
    s->last = of_int(type, last, decimals);
    return err;
}

static enum err sum_minis(struct codec_minis *m, enum type type, unsigned decimals,
                          const struct part_ranges *ranges, struct sql_summary *out, size_t stride,
                          struct why *why)
{
    uint64_t before, sum;
    enum err err = codec_minis_sum(m, ranges->ends[0], &before, why);
    for (uint32_t i = 0; !err && i < ranges->count; i++) {
        struct sql_summary *s = at(out, stride, i);
        uint32_t from = ranges->ends[i], to = ranges->ends[i + 1];
        if ((err = codec_minis_sum(m, to, &sum, why))) break;
        set_sum(s, type, decimals, to - from, (int64_t)(sum - before));
        before = sum;
        if (!ranges->ignores_ends && from < to) err = set_ends(m, type, decimals, from, to, s, why);
    }
    return err;
}

enum err part_column_ranges(struct codec *codec, const struct part_column *column,
                            const uint8_t *bytes, uint32_t rows, const struct part_ranges *ranges,
                            struct sql_summary *out, size_t stride, bool *done, struct why *why)
{
    struct reader in = reader_of(bytes, column->size);
    struct part_marks marks;
    unsigned decimals;
    MUST(ranges->ends[ranges->count] <= rows && rows <= PART_BLOCK_ROWS);
    *done = false;
    if (!part_column_ints(column, &in, &decimals)) return ERR_OK;
    if (!ranges->ignores_bounds || !part_column_marks(column, &marks) || marks.decimals != decimals)
        return sum_ints(codec, column, in, decimals, rows, ranges, out, stride, done, why);
    struct codec_minis minis;
    enum err err = codec_minis_open(codec, in, rows, marks.marks, marks.sum, &minis, why);
    *done = !err;
    return err ? err
               : sum_minis(&minis, (enum type)column->type, decimals, ranges, out, stride, why);
}
