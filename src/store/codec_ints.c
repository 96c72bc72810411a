/* codec_ints.c - runs of 64-bit integers; see codec.h.
 *
 * All arithmetic is modulo 2^64, so no input can overflow: what differences lose, sums give back.
 *
 * The writer tries: residuals of three transforms, each packed (exact size known without writing)
 * and split (size estimated by entropy); runs, if there are few; and plain bytes under zstd, which
 * finds repeats. What needs zstd must be some percent shorter than what does not, which is quicker.
 * Parts that come from the head are merged sooner or later, and measured then: for them a column's
 * habit is trusted for some blocks (struct codec_habit). */
#include "base/mem.h"
#include "base/num.h"
#include "store/codec_ints.h"
#include "store/pack.h"
#include "base/simd.h"
#include <math.h>
#include <stddef.h>
#include <string.h>

enum {
    ZSTD_LEVEL = 1,
    SQUEEZE_MIN_BYTES = 48,
    ENTROPY_MIN_VALUES = 128,
    SAMPLE = 31,
};

enum err codec_bad(struct why *why, const char *what)
{
    return why_set(why, ERR_CORRUPT, "column: %s", what);
}

/* In residuals of one byte short repeats are chance, and coding them costs more than their bytes'
 * frequencies do: so only long ones are looked for, and hardly. */
static bool set_up(struct codec *codec)
{
    static const struct {
        ZSTD_cParameter parameter;
        int value;
    } settings[] = {
        {ZSTD_c_compressionLevel, ZSTD_LEVEL},
        {ZSTD_c_strategy, ZSTD_fast},
        {ZSTD_c_minMatch, 7},
        {ZSTD_c_hashLog, 6},
        {ZSTD_c_windowLog, 12},
        {ZSTD_c_targetLength, 0},
    };
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
        if (ZSTD_isError(
                ZSTD_CCtx_setParameter(codec->frequency, settings[i].parameter, settings[i].value)))
            return false;
    return !ZSTD_isError(
        ZSTD_CCtx_setParameter(codec->repeats, ZSTD_c_compressionLevel, ZSTD_LEVEL));
}

/* A scan of a few rows opens one, too: so nothing is made, or zeroed, that it may not need. */
enum err codec_open(struct codec *codec, bool for_writing)
{
    *codec = (struct codec){0};
    if (!for_writing) {
        codec->room = mem_alloc(offsetof(struct codec_room, residual));
        return codec->room ? ERR_OK : ERR_NO_MEMORY;
    }
    codec->room = mem_alloc_zero(1, sizeof *codec->room);
    codec->repeats = ZSTD_createCCtx();
    codec->frequency = ZSTD_createCCtx();
    if (codec->room && codec->repeats && codec->frequency && set_up(codec)) return ERR_OK;
    codec_close(codec);
    return ERR_NO_MEMORY;
}

ZSTD_DCtx *codec_unzstd(struct codec *codec)
{
    if (!codec->open) codec->open = ZSTD_createDCtx();
    return codec->open;
}

void codec_close(struct codec *codec)
{
    bool writes = codec->room && codec->repeats;
    for (size_t i = 0; writes && i < sizeof codec->room->trial / sizeof(struct buf); i++)
        buf_free(&codec->room->trial[i]);
    if (writes) buf_free(&codec->room->texts);
    mem_free(codec->room);
    ZSTD_freeDCtx(codec->open);
    ZSTD_freeCCtx(codec->repeats);
    ZSTD_freeCCtx(codec->frequency);
    *codec = (struct codec){0};
}

/* ---- sections ---- */

void codec_put_section(struct codec *codec, ZSTD_CCtx *press, struct str bytes, struct buf *out)
{
    size_t bound = ZSTD_compressBound(bytes.size), size = bytes.size;
    struct buf *room = &codec->room->trial[2];
    buf_clear(room);
    bool squeezed = bytes.size >= SQUEEZE_MIN_BYTES && buf_reserve(room, bound);
    if (squeezed) {
        size = ZSTD_compress2(press, room->at, bound, bytes.at, bytes.size);
        squeezed = !ZSTD_isError(size) && size < bytes.size - bytes.size / 10;
    }
    if (!squeezed) size = bytes.size;
    buf_add_varint(out, (uint64_t)size << 1 | squeezed);
    if (squeezed) buf_add_varint(out, bytes.size);
    buf_add(out, squeezed ? room->at : bytes.at, size);
}

enum err codec_section_size(struct reader in, size_t *size)
{
    uint64_t head = reader_varint(&in), whole = head & 1 ? reader_varint(&in) : head >> 1;
    if (!reader_ok(&in) || whole > CODEC_TEXT_BYTES_MAX) return ERR_CORRUPT;
    *size = (size_t)whole;
    return ERR_OK;
}

enum err codec_get_section(struct codec *codec, struct reader *in, uint8_t *room, size_t size_max,
                           const uint8_t **bytes, size_t *size, struct why *why)
{
    uint64_t head = reader_varint(in), whole = head & 1 ? reader_varint(in) : head >> 1;
    const uint8_t *stored = reader_take(in, head >> 1 > SIZE_MAX ? SIZE_MAX : (size_t)(head >> 1));
    if (!stored || whole > size_max) return codec_bad(why, "a section has no sensible size");
    *size = (size_t)whole;
    *bytes = stored;
    if (!(head & 1)) return ERR_OK;
    if (!codec_unzstd(codec)) return ERR_NO_MEMORY;
    size_t got = ZSTD_decompressDCtx(codec->open, room, (size_t)whole, stored, (size_t)(head >> 1));
    if (ZSTD_isError(got) || got != whole) return codec_bad(why, "zstd cannot read it");
    *bytes = room;
    return ERR_OK;
}

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
    buf_add_char(out, (char)(PLAIN | RUNS << 2));
    buf_add_varint(out, runs);
    put_plain_choice(codec, room->values, runs, NULL, out);
    put_plain_choice(codec, room->lengths, runs, NULL, out);
}

static void put_head(enum transform transform, enum layout layout, const int64_t *values,
                     uint64_t factor, const struct codec_room *room, struct buf *out)
{
    unsigned mode = (unsigned)transform | (unsigned)layout << 2;
    buf_add_char(out, (char)(mode | (factor > 1 ? FACTOR_FLAG : 0)));
    buf_add_varint(out, num_zigzag(values[0]));
    if (factor > 1) buf_add_varint(out, factor);
    if (transform == DELTA2) buf_add_varint(out, num_zigzag((int64_t)room->residual[DELTA][0]));
}

static uint32_t residual_count(enum transform transform, uint32_t count)
{
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

/* ---- reading ---- */

static enum err get_packed(struct reader *in, uint32_t count, uint64_t base, uint64_t factor,
                           uint64_t *values, struct why *why)
{
    for (uint32_t from = 0; from < count; from += PACK_GROUP) {
        uint32_t n = count - from < PACK_GROUP ? count - from : PACK_GROUP;
        uint64_t least = (uint64_t)num_unzigzag(reader_varint(in));
        unsigned width = reader_u8(in);
        const uint8_t *bytes = width <= 64 ? reader_take(in, pack_bytes(n, width)) : NULL;
        if (!bytes) return codec_bad(why, "packed values end early");
        pack_get(bytes, n, width, base + least * factor, factor, values + from);
    }
    return ERR_OK;
}

SIMD_CLONES void codec_join_planes(const uint8_t *plane, unsigned low_bits, uint32_t count,
                                   uint64_t base, uint64_t factor, uint64_t *values)
{
    for (uint32_t i = 0; i < count; i++) {
        uint64_t u = values[i] | (uint64_t)plane[i] << low_bits;
        values[i] = base + (u >> 1 ^ (0 - (u & 1))) * factor;
    }
}

SIMD_CLONES static void fill_flat(uint64_t *values, uint32_t count, uint64_t value)
{
    for (uint32_t i = 0; i < count; i++) values[i] = value;
}

static enum err get_split(struct codec *codec, struct reader *in, uint32_t count, uint64_t base,
                          uint64_t factor, uint64_t *values, struct why *why)
{
    const uint8_t *plane;
    size_t size;
    base += (uint64_t)num_unzigzag(reader_varint(in)) * factor;
    unsigned low_bits = reader_u8(in);
    enum err err =
        codec_get_section(codec, in, codec->room->plane, CODEC_VALUES_MAX, &plane, &size, why);
    if (err) return err;
    const uint8_t *low = low_bits <= 56 ? reader_take(in, pack_bytes(count, low_bits)) : NULL;
    if (!low || size != count) return codec_bad(why, "split values end early");
    pack_get(low, count, low_bits, 0, 1, values);
    codec_join_planes(plane, low_bits, count, base, factor, values);
    for (const uint8_t *at = plane, *end = plane + count;
         (at = memchr(at, ESCAPE, (size_t)(end - at))); at++)
        values[at - plane] = base + (uint64_t)num_unzigzag(reader_varint(in)) * factor;
    return reader_ok(in) ? ERR_OK : codec_bad(why, "escapes end early");
}

/* reader_varint, quick for one and two bytes. */
static inline uint64_t short_varint(struct reader *in)
{
    if (reader_left(in) < 2) return reader_varint(in);
    uint64_t low = in->at[0], high = in->at[1];
    if (low >= 128 && high >= 128) return reader_varint(in);
    in->at += low < 128 ? 1 : 2;
    return low < 128 ? low : (low & 127) | high << 7;
}

/* Whether every varint is of one byte. */
SIMD_CLONES static bool are_short(const uint8_t *bytes, uint32_t count)
{
    uint8_t any = 0;
    for (uint32_t i = 0; i < count; i++) any |= bytes[i];
    return any < 128;
}

static enum err get_bytes(struct codec *codec, struct reader *in, uint32_t count, uint64_t base,
                          uint64_t factor, uint64_t *values, struct why *why)
{
    const uint8_t *bytes = NULL;
    size_t size = 0;
    enum err err = codec_get_section(codec, in, codec->room->plane, sizeof codec->room->plane,
                                     &bytes, &size, why);
    if (err) return err;
    if (size == count && are_short(bytes, count)) {
        fill_flat(values, count, 0);
        codec_join_planes(bytes, 0, count, base, factor, values);
        return ERR_OK;
    }
    struct reader varints = reader_of(bytes, size);
    for (uint32_t i = 0; i < count; i++)
        values[i] = base + (uint64_t)num_unzigzag(short_varint(&varints)) * factor;
    return reader_ok(&varints) && !reader_left(&varints) ? ERR_OK
                                                         : codec_bad(why, "values end early");
}

/* Sums up differences from `values[0]` on. */
SIMD_CLONES static void sum_up(uint64_t *values, uint32_t count)
{
    uint64_t sum = values[0];
    for (uint32_t i = 1; i < count; i++) values[i] = sum += values[i];
}

/* The same when all differences are equal, as those of times mostly are. */
SIMD_CLONES static void step_up(uint64_t *values, uint32_t count)
{
    uint64_t first = values[0], step = count > 1 ? values[1] : 0;
    for (uint32_t i = 0; i < count; i++) values[i] = first + i * step;
}

static enum err get_residuals(struct codec *codec, struct reader *in, enum layout layout,
                              uint32_t count, uint64_t base, uint64_t factor, uint64_t *values,
                              struct why *why)
{
    switch (layout) {
    case FLAT:
        fill_flat(values, count, base + (uint64_t)num_unzigzag(reader_varint(in)) * factor);
        return reader_ok(in) ? ERR_OK : codec_bad(why, "values end early");
    case PACKED: return get_packed(in, count, base, factor, values, why);
    case SPLIT: return get_split(codec, in, count, base, factor, values, why);
    case BYTES: return get_bytes(codec, in, count, base, factor, values, why);
    default: return codec_bad(why, "unknown layout");
    }
}

static enum err get_transformed(struct codec *codec, struct reader *in, unsigned mode,
                                uint32_t count, uint64_t *values, struct why *why)
{
    enum transform transform = mode & 3;
    uint64_t first = (uint64_t)num_unzigzag(reader_varint(in)), second = 0;
    uint64_t factor = mode & FACTOR_FLAG ? reader_varint(in) : 1;
    if (transform == DELTA2) second = (uint64_t)num_unzigzag(reader_varint(in)) * factor;
    uint32_t known = transform == DELTA2 ? 2 : 1;
    if (!reader_ok(in) || transform >= TRANSFORMS || count < known || mode & ~63u)
        return codec_bad(why, "unknown transform");
    values[0] = first;
    if (known == 2) values[1] = second;
    enum err err = get_residuals(codec, in, (enum layout)(mode >> 2 & 7), count - known,
                                 transform == PLAIN ? first : 0, factor, values + known, why);
    if (err) return err;
    if (transform == DELTA2) sum_up(values + 1, count - 1);
    if (transform == DELTA && (mode >> 2 & 7) == FLAT)
        step_up(values, count);
    else if (transform != PLAIN)
        sum_up(values, count);
    return ERR_OK;
}

static enum err get_runs(struct codec *codec, struct reader *in, uint32_t count, int64_t *values,
                         struct why *why)
{
    struct codec_room *room = codec->room;
    uint64_t runs = reader_varint(in);
    if (!reader_ok(in) || runs == 0 || runs > count) return codec_bad(why, "too many runs");
    for (int which = 0; which < 2; which++) {
        uint64_t *to = (uint64_t *)(which ? room->lengths : room->values);
        unsigned mode = reader_u8(in);
        enum err err = get_transformed(codec, in, mode, (uint32_t)runs, to, why);
        if (err) return err;
    }
    uint32_t at = 0;
    for (uint64_t r = 0; r < runs; r++) {
        uint64_t length = (uint64_t)room->lengths[r];
        if (length >= count - at) return codec_bad(why, "runs are too long");
        for (uint64_t i = 0; i <= length; i++) values[at++] = room->values[r];
    }
    return at == count ? ERR_OK : codec_bad(why, "runs end early");
}

enum err codec_get_ints(struct codec *codec, struct reader *in, uint32_t count, int64_t *values,
                        struct why *why)
{
    MUST(count <= CODEC_VALUES_MAX);
    if (count == 0) return ERR_OK;
    unsigned mode = reader_u8(in);
    if (mode == (PLAIN | RUNS << 2)) return get_runs(codec, in, count, values, why);
    return get_transformed(codec, in, mode, count, (uint64_t *)values, why);
}
