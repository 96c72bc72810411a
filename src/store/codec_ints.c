/* codec_ints.c - writing runs of 64-bit integers; see codec.h. Reading them is codec_ints_read.c.
 *
 * All arithmetic is modulo 2^64, so no input can overflow: what differences lose, sums give back.
 *
 * The writer tries: residuals of three transforms, each packed (exact size known without writing)
 * and split (size estimated by entropy); runs, if there are few; and plain bytes under zstd, which
 * finds repeats. What needs zstd must be some percent shorter than what does not, which is quicker.
 * Parts that come from the head are merged sooner or later, and measured then: for them a column's
 * habit is trusted for some blocks (struct codec_habit).
 *
 * Called by: codec_values.c and part_column.c, through codec_put_ints alone.
 * Owns: nothing; it works in the codec's room, whose residuals and trials are its own while it
 * runs, so it must not be entered again from within but by put_runs, which is done with them then.
 * Invariants: a failure to grow a buffer shows in the buffer and nowhere else; whatever is chosen,
 * codec_get_ints gives back the very values. */
#include "base/mem.h"
#include "base/num.h"
#include "store/codec_ints.h"
#include "store/pack.h"
#include "base/simd.h"
#include <string.h>

enum {
    ENTROPY_MIN_VALUES = 128,
    SAMPLE = 31,
};

/* ---- writing: what the values have in common ---- */

static uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static uint64_t magnitude(uint64_t distance)
{
    return (int64_t)distance < 0 ? 0 - distance : distance;
}

/* The greatest factor of all distances from the first value; 1 when there is none, or no distance.
 */
static uint64_t common_factor(const int64_t *values, uint32_t count)
{
    uint64_t factor = 0;
    for (uint32_t i = 1; i < count && factor != 1; i++) {
        uint64_t distance = magnitude((uint64_t)values[i] - (uint64_t)values[0]);
        if (distance && (factor == 0 || distance % factor)) factor = gcd(distance, factor);
    }
    return factor > 1 && (int64_t)factor > 0 ? factor : 1;
}

/* Distances from the first value, divided by `factor`, into residual[PLAIN][0…count-2], and their
 * differences. Exact division is a multiplication by the inverse of the odd part. */
SIMD_CLONES static void make_residuals(struct codec_room *room, const int64_t *values,
                                       uint32_t count, uint64_t factor)
{
    unsigned zeros = (unsigned)__builtin_ctzll(factor);
    uint64_t odd = factor >> zeros, inverse = odd, first = (uint64_t)values[0];
    for (int i = 0; i < 6; i++) inverse *= 2 - odd * inverse;
    uint64_t *plain = room->residual[PLAIN], *delta = room->residual[DELTA],
             *delta2 = room->residual[DELTA2];
    for (uint32_t i = 1; i < count; i++) plain[i - 1] = (uint64_t)values[i] - first;
    for (uint32_t i = 0; factor > 1 && i + 1 < count; i++)
        plain[i] = (uint64_t)((int64_t)plain[i] >> zeros) * inverse;
    delta[0] = plain[0];
    for (uint32_t i = 1; i + 1 < count; i++) delta[i] = plain[i] - plain[i - 1];
    for (uint32_t i = 1; i + 1 < count; i++) delta2[i - 1] = delta[i] - delta[i - 1];
}

/* ---- writing: layouts ---- */

struct range {
    int64_t least, most;
};

SIMD_CLONES static struct range range_of(const uint64_t *residuals, uint32_t count)
{
    struct range r = {INT64_MAX, INT64_MIN};
    for (uint32_t i = 0; i < count; i++) {
        int64_t v = (int64_t)residuals[i];
        r.least = v < r.least ? v : r.least;
        r.most = v > r.most ? v : r.most;
    }
    return r;
}

static unsigned range_width(struct range r)
{
    return pack_width((uint64_t)r.most - (uint64_t)r.least);
}

static size_t varint_bytes(uint64_t v)
{
    return (pack_width(v | 1) + 6) / 7;
}

static size_t packed_size(const uint64_t *residuals, uint32_t count)
{
    size_t size = 0;
    for (uint32_t from = 0; from < count; from += PACK_GROUP) {
        uint32_t n = count - from < PACK_GROUP ? count - from : PACK_GROUP;
        struct range r = range_of(residuals + from, n);
        size += varint_bytes(num_zigzag(r.least)) + 1 + pack_bytes(n, range_width(r));
    }
    return size;
}

static void put_packed(const uint64_t *residuals, uint32_t count, struct buf *out)
{
    for (uint32_t from = 0; from < count; from += PACK_GROUP) {
        uint32_t n = count - from < PACK_GROUP ? count - from : PACK_GROUP;
        struct range r = range_of(residuals + from, n);
        unsigned width = range_width(r);
        uint64_t group[PACK_GROUP];
        for (uint32_t i = 0; i < n; i++) group[i] = residuals[from + i] - (uint64_t)r.least;
        buf_add_varint(out, num_zigzag(r.least));
        buf_add_char(out, (char)width);
        if (!buf_reserve(out, pack_bytes(n, width))) return;
        pack_put((uint8_t *)out->at + out->size, group, n, width);
        out->size += pack_bytes(n, width);
    }
}

/* How residuals would be split. */
struct split {
    uint64_t centre;
    unsigned low_bits;
    double size; /* estimate, bytes */
};

/* A median of a sample: no outlier moves it. */
static uint64_t centre_of(const uint64_t *residuals, uint32_t count)
{
    int64_t sample[SAMPLE] = {0};
    uint32_t n = count < SAMPLE ? count : SAMPLE;
    for (uint32_t i = 0; i < n; i++) {
        int64_t v = (int64_t)residuals[(uint64_t)i * count / n];
        uint32_t at = i;
        for (; at && sample[at - 1] > v; at--) sample[at] = sample[at - 1];
        sample[at] = v;
    }
    return (uint64_t)sample[n / 2];
}

static uint64_t distance_of(uint64_t residual, uint64_t centre)
{
    return num_zigzag((int64_t)(residual - centre));
}

/* The least number of low bits with which few values escape: coding more bits by their frequency
 * is never longer. */
static unsigned choose_low_bits(const uint64_t *residuals, uint32_t count, uint64_t centre)
{
    uint32_t widths[65] = {0};
    for (uint32_t i = 0; i < count; i++) widths[pack_width(distance_of(residuals[i], centre))]++;
    uint32_t beyond = 0;
    unsigned width = 64;
    while (width > 8 && beyond + widths[width] <= count / 64) beyond += widths[width--];
    return width - 8;
}

/* log2 within 0.01, for an estimate that is made for each block and each way to code it. */
static double rough_log2(uint32_t n)
{
    MUST(n);
    unsigned whole = 31u - (unsigned)__builtin_clz(n);
    double m = (double)n / (double)((uint64_t)1 << whole); /* 1 ≤ m < 2 */
    return whole + (-0.34484843 * m + 2.02466578) * m - 1.67487759;
}

static struct split plan_split(const uint64_t *residuals, uint32_t count)
{
    struct split s = {.centre = centre_of(residuals, count)};
    uint32_t seen[256] = {0};
    s.low_bits = choose_low_bits(residuals, count, s.centre);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t high = distance_of(residuals[i], s.centre) >> s.low_bits;
        seen[high < ESCAPE ? high : ESCAPE]++;
    }
    double bits = (double)count * s.low_bits + 56.0 * seen[ESCAPE];
    double whole = count ? rough_log2(count) : 0;
    for (unsigned i = 0; i < 256; i++)
        if (seen[i]) bits += seen[i] * (whole - rough_log2(seen[i])) + 4;
    s.size = bits / 8;
    return s;
}

static void put_split(struct codec *codec, const struct split *split, const uint64_t *residuals,
                      uint32_t count, struct buf *out)
{
    struct codec_room *room = codec->room;
    uint64_t low[CODEC_VALUES_MAX], mask = ((uint64_t)1 << split->low_bits) - 1;
    MUST(split->low_bits <= 56 && count <= CODEC_VALUES_MAX);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t u = distance_of(residuals[i], split->centre), high = u >> split->low_bits;
        room->plane[i] = high < ESCAPE ? (uint8_t)high : ESCAPE;
        low[i] = high < ESCAPE ? u & mask : 0;
    }
    buf_add_varint(out, num_zigzag((int64_t)split->centre));
    buf_add_char(out, (char)split->low_bits);
    codec_put_section(codec, codec->frequency, (struct str){(const char *)room->plane, count}, out);
    size_t size = pack_bytes(count, split->low_bits);
    if (!buf_reserve(out, size)) return;
    pack_put((uint8_t *)out->at + out->size, low, count, split->low_bits);
    out->size += size;
    for (uint32_t i = 0; i < count; i++)
        if (room->plane[i] == ESCAPE) buf_add_varint(out, distance_of(residuals[i], split->centre));
}

static void put_bytes(struct codec *codec, const uint64_t *residuals, uint32_t count,
                      struct buf *out)
{
    uint8_t *plane = codec->room->plane;
    size_t size = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t u = num_zigzag((int64_t)residuals[i]);
        for (; u >= 128; u >>= 7) plane[size++] = (uint8_t)(u | 128);
        plane[size++] = (uint8_t)u;
    }
    codec_put_section(codec, codec->repeats, (struct str){(const char *)plane, size}, out);
}

/* ---- writing: the choice ---- */

static void put_plain_choice(struct codec *codec, const int64_t *values, uint32_t count,
                             struct codec_habit *habit, struct buf *out);

static uint32_t count_runs(const int64_t *values, uint32_t count)
{
    uint32_t runs = 1;
    for (uint32_t i = 1; i < count; i++) runs += values[i] != values[i - 1];
    return runs;
}

static void put_runs(struct codec *codec, const int64_t *values, uint32_t count, struct buf *out)
{
    struct codec_room *room = codec->room;
    uint32_t runs = 0;
    for (uint32_t i = 0, from = 0; i < count; i++) {
        if (i + 1 < count && values[i + 1] == values[i]) continue;
        room->values[runs] = values[i];
        room->lengths[runs++] = i - from;
        from = i + 1;
    }
    MUST(runs > 0 && runs <= count);
    buf_add_char(out, (char)(PLAIN | RUNS << 2));
    buf_add_varint(out, runs);
    put_plain_choice(codec, room->values, runs, NULL, out);
    put_plain_choice(codec, room->lengths, runs, NULL, out);
}

static void put_head(enum transform transform, enum layout layout, const int64_t *values,
                     uint64_t factor, const struct codec_room *room, struct buf *out)
{
    unsigned mode = (unsigned)transform | (unsigned)layout << 2;
    MUST(transform < TRANSFORMS && layout < LAYOUTS && factor > 0);
    buf_add_char(out, (char)(mode | (factor > 1 ? FACTOR_FLAG : 0)));
    buf_add_varint(out, num_zigzag(values[0]));
    if (factor > 1) buf_add_varint(out, factor);
    if (transform == DELTA2) buf_add_varint(out, num_zigzag((int64_t)room->residual[DELTA][0]));
}

static uint32_t residual_count(enum transform transform, uint32_t count)
{
    MUST(count > (transform == DELTA2 ? 1u : 0u));
    return transform == DELTA2 ? count - 2 : count - 1;
}

/* What does not need zstd: `*size` of the shortest. */
static enum transform choose_packed(const struct codec_room *room, uint32_t count, size_t *size,
                                    enum layout *layout)
{
    enum transform best = PLAIN;
    *size = SIZE_MAX;
    *layout = PACKED;
    for (enum transform t = PLAIN; t < TRANSFORMS && (t < DELTA2 || count > 2); t++) {
        uint32_t n = residual_count(t, count);
        struct range r = range_of(room->residual[t], n);
        bool flat = r.least == r.most;
        size_t this = flat ? varint_bytes(num_zigzag(r.least)) : packed_size(room->residual[t], n);
        if (this >= *size) continue;
        best = t;
        *size = this;
        *layout = flat ? FLAT : PACKED;
        if (flat) break;
    }
    return best;
}

static enum transform choose_split(const struct codec_room *room, uint32_t count,
                                   struct split *split)
{
    enum transform best = PLAIN;
    for (enum transform t = PLAIN; t < TRANSFORMS; t++) {
        struct split this = plan_split(room->residual[t], residual_count(t, count));
        if (t != PLAIN && this.size >= split->size) continue;
        best = t;
        *split = this;
    }
    return best;
}

static void swap_trials(struct codec_room *room)
{
    struct buf swap = room->trial[0];
    room->trial[0] = room->trial[1];
    room->trial[1] = swap;
}

/* Tries what zstd can do; the shorter of both is left in trial[0]. Says what it is. */
static struct codec_habit try_squeezed(struct codec *codec, const int64_t *values, uint32_t count,
                                       uint64_t factor)
{
    struct codec_room *room = codec->room;
    struct split split = {0};
    enum transform t = choose_split(room, count, &split);
    uint32_t n = residual_count(t, count);
    buf_clear(&room->trial[0]);
    put_head(t, SPLIT, values, factor, room, &room->trial[0]);
    put_split(codec, &split, room->residual[t], n, &room->trial[0]);
    buf_clear(&room->trial[1]);
    put_head(t, BYTES, values, factor, room, &room->trial[1]);
    put_bytes(codec, room->residual[t], n, &room->trial[1]);
    bool shorter = room->trial[1].size < room->trial[0].size && !buf_failed(&room->trial[1]);
    bool is_split = !shorter && !buf_failed(&room->trial[0]);
    if (!is_split) swap_trials(room);
    return (struct codec_habit){CODEC_TRUSTED, (uint8_t)t, is_split ? SPLIT : BYTES, 0};
}

/* The one way that the habit names, into trial[0]. */
static void try_habit(struct codec *codec, const struct codec_habit *habit, const int64_t *values,
                      uint32_t count, uint64_t factor)
{
    struct codec_room *room = codec->room;
    enum transform t = (enum transform)habit->transform;
    uint32_t n = residual_count(t, count);
    MUST(t < TRANSFORMS && (habit->layout == SPLIT || habit->layout == BYTES));
    buf_clear(&room->trial[0]);
    put_head(t, (enum layout)habit->layout, values, factor, room, &room->trial[0]);
    if (habit->layout == BYTES) {
        put_bytes(codec, room->residual[t], n, &room->trial[0]);
    } else {
        struct split split = plan_split(room->residual[t], n);
        put_split(codec, &split, room->residual[t], n, &room->trial[0]);
    }
}

/* Whether something of trial[0] is shorter than `packed` bytes, by enough to pay for reading it. A
 * habit that is trusted is tried alone; else it becomes what was shortest. */
static bool squeeze(struct codec *codec, const int64_t *values, uint32_t count, uint64_t factor,
                    size_t packed, struct codec_habit *habit)
{
    MUST(count >= ENTROPY_MIN_VALUES);
    uint32_t of_value = (uint32_t)(packed * 64 / count);
    bool trusts = habit && habit->left && of_value <= habit->packed + habit->packed / 4 &&
                  habit->packed <= of_value + of_value / 4;
    struct codec_habit found = {.left = CODEC_TRUSTED, .layout = PACKED};
    if (trusts && habit->layout == PACKED) return false;
    if (trusts && (habit->layout == SPLIT || habit->layout == BYTES))
        try_habit(codec, habit, values, count, factor);
    else
        found = try_squeezed(codec, values, count, factor);
    const struct buf *trial = &codec->room->trial[0];
    bool pays = !buf_failed(trial) && trial->size + trial->size / 24 < packed;
    if (!pays) found.layout = PACKED;
    found.packed = of_value;
    if (habit && !trusts) *habit = found;
    return pays;
}

static void put_plain_choice(struct codec *codec, const int64_t *values, uint32_t count,
                             struct codec_habit *habit, struct buf *out)
{
    struct codec_room *room = codec->room;
    if (count == 0) return;
    uint64_t factor = common_factor(values, count);
    if (count > 1) make_residuals(room, values, count, factor);
    size_t packed = 0;
    enum layout layout = FLAT;
    enum transform t = count > 1 ? choose_packed(room, count, &packed, &layout) : PLAIN;
    if (layout == PACKED && count >= ENTROPY_MIN_VALUES &&
        squeeze(codec, values, count, factor, packed, habit)) {
        buf_add_str(out, buf_str(&room->trial[0]));
        return;
    }
    put_head(t, layout, values, factor, room, out);
    uint32_t n = count > 1 ? residual_count(t, count) : 0;
    if (layout == PACKED) put_packed(room->residual[t], n, out);
    if (layout == FLAT) buf_add_varint(out, n ? num_zigzag((int64_t)room->residual[t][0]) : 0);
}

void codec_put_ints(struct codec *codec, const int64_t *values, uint32_t count, struct buf *out)
{
    MUST(count <= CODEC_VALUES_MAX && codec->repeats);
    size_t mark = out->size;
    struct codec_habit *habit = codec->habit;
    bool trusts = habit && habit->left;
    uint32_t runs = count ? count_runs(values, count) : 0;
    bool may_run = runs > 1 && runs <= count / 4;
    if (!may_run || (trusts && habit->layout != RUNS)) {
        put_plain_choice(codec, values, count, trusts && habit->layout == RUNS ? NULL : habit, out);
        if (trusts && habit->left) habit->left--;
        return;
    }
    put_runs(codec, values, count, out);
    if (trusts) {
        habit->left--;
        return;
    }
    size_t with_runs = out->size - mark;
    put_plain_choice(codec, values, count, habit, out);
    if (buf_failed(out)) return;
    size_t without = out->size - mark - with_runs;
    if (without < with_runs) memmove(out->at + mark, out->at + mark + with_runs, without);
    out->size = mark + (without < with_runs ? without : with_runs);
    if (habit && without >= with_runs)
        *habit = (struct codec_habit){.left = CODEC_TRUSTED, .layout = RUNS};
}
