/* codec_values.c - doubles and texts as integers; see codec.h.
 *
 * Doubles: the power of ten is looked for in a sample, then one pass makes the integers and notes
 * what does not come back bit for bit (computed values among measured ones, -0.0): exceptions, as
 * long as they are few. Otherwise the bits are taken as integers whose order is that of the
 * numbers, so that neighbouring values share their upper bits. */
#include "base/hash.h"
#include "base/mem.h"
#include "store/codec.h"
#include "base/simd.h"
#include <math.h>
#include <string.h>

enum {
    FORM_BITS = 0,
    FORM_DECIMALS = CODEC_DECIMALS,
    FORM_SLICES = 0,
    FORM_DICTIONARY = 1,
    SAMPLE = 32,
    EXCEPTIONS_SHARE = 16, /* one in so many */
    DICTIONARY_SHARE = 3,
    DICTIONARY_SLOTS = 8192,
};
/* Below it adding 1.5 · 2^52 rounds to an integer and converts both ways without a branch. */
#define INT_LIMIT ((int64_t)1 << 51)
#define MAGIC     6755399441055744.0 /* 1.5 · 2^52 */

static const double powers[CODEC_DECIMALS_MAX + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,
                                                      1e7,  1e8,  1e9,  1e10, 1e11, 1e12, 1e13,
                                                      1e14, 1e15, 1e16, 1e17, 1e18};

static uint64_t bits_of(double d)
{
    uint64_t u;
    memcpy(&u, &d, sizeof u);
    return u;
}

static double double_of(uint64_t u)
{
    double d;
    memcpy(&d, &u, sizeof d);
    return d;
}

/* ---- doubles: writing ---- */

/* Whether value · 10^e is an integer that gives the value back. */
static bool is_decimal(double value, unsigned e)
{
    double scaled = value * powers[e];
    if (!(fabs(scaled) < (double)INT_LIMIT)) return false;
    double whole = scaled + MAGIC - MAGIC;
    return bits_of(whole / powers[e]) == bits_of(value);
}

/* The e with which most of a sample comes back, the least of the best; -1: too few do. */
static int choose_decimals(const double *values, uint32_t count)
{
    uint32_t hits[CODEC_DECIMALS_MAX + 1] = {0}, n = count < SAMPLE ? count : SAMPLE, misses = 0;
    for (uint32_t i = 0; i < n; i++) {
        double v = values[(uint64_t)i * count / n];
        unsigned e = 0;
        while (e <= CODEC_DECIMALS_MAX && !is_decimal(v, e)) e++;
        /* A value that is one with e is, as a rule, one with more: counted below. */
        if (e <= CODEC_DECIMALS_MAX)
            hits[e]++;
        else if (++misses > n / EXCEPTIONS_SHARE)
            return -1; /* computed values: each of them takes all tries */
    }
    uint32_t covered = 0;
    int best = -1;
    for (unsigned e = 0; e <= CODEC_DECIMALS_MAX; e++) {
        covered += hits[e];
        if (hits[e] && covered + n / EXCEPTIONS_SHARE >= n) {
            best = (int)e;
            break;
        }
    }
    return best;
}

/* values · 10^e as integers; where it does not come back, the integer of the row before. Returns
 * the number of those rows. */
SIMD_CLONES static uint32_t make_ints(const double *values, uint32_t count, double power,
                                      int64_t *ints, uint8_t *missed)
{
    uint32_t misses = 0;
    for (uint32_t i = 0; i < count; i++) {
        double scaled = values[i] * power, shifted = scaled + MAGIC, whole = shifted - MAGIC;
        uint64_t back = bits_of(whole / power);
        bool hit = fabs(scaled) < (double)INT_LIMIT && back == bits_of(values[i]);
        ints[i] = (int64_t)(bits_of(shifted) - bits_of(MAGIC)); /* of a miss: anything */
        missed[i] = !hit;
        misses += !hit;
    }
    return misses;
}

static void put_decimals(struct codec *codec, const double *values, uint32_t count, int e,
                         const uint8_t *missed, uint32_t misses, struct buf *out)
{
    int64_t *ints = codec->room->ints;
    buf_add_char(out, (char)(FORM_DECIMALS + e));
    buf_add_varint(out, misses);
    for (uint32_t i = 0, last = 0; misses && i < count; i++) {
        if (!missed[i]) continue;
        buf_add_varint(out, i - last);
        buf_add_le64(out, bits_of(values[i]));
        last = i;
        ints[i] = i ? ints[i - 1] : 0;
    }
    codec_put_ints(codec, ints, count, out);
}

/* Signed integers in the order of the doubles. Its own inverse. */
SIMD_CLONES static void order_bits(const uint64_t *bits, uint32_t count, int64_t *ints)
{
    for (uint32_t i = 0; i < count; i++) {
        uint64_t negative = 0 - (bits[i] >> 63);
        ints[i] = (int64_t)(bits[i] ^ negative >> 1);
    }
}

int codec_put_doubles(struct codec *codec, const double *values, uint32_t count, struct buf *out)
{
    MUST(count <= CODEC_VALUES_MAX && codec->repeats);
    struct codec_room *room = codec->room;
    uint8_t missed[CODEC_VALUES_MAX];
    int e = count ? choose_decimals(values, count) : -1;
    uint32_t misses = count;
    if (e >= 0) misses = make_ints(values, count, powers[e], room->ints, missed);
    if (e >= 0 && misses <= count / EXCEPTIONS_SHARE) {
        put_decimals(codec, values, count, e, missed, misses, out);
        return misses ? -1 : e;
    }
    buf_add_char(out, FORM_BITS);
    memcpy(room->ints, values, count * sizeof *values);
    order_bits((uint64_t *)room->ints, count, room->ints);
    codec_put_ints(codec, room->ints, count, out);
    return -1;
}

double codec_power(unsigned e)
{
    MUST(e <= CODEC_DECIMALS_MAX);
    return powers[e];
}

/* ---- doubles: reading ---- */

SIMD_CLONES static void to_doubles(const int64_t *ints, uint32_t count, double power,
                                   double *values)
{
    for (uint32_t i = 0; i < count; i++) {
        union {
            int64_t i;
            double d;
        } shifted = {ints[i] + 0x4338000000000000};
        values[i] = (shifted.d - MAGIC) / power;
    }
}

SIMD_CLONES bool codec_are_small(const int64_t *ints, uint32_t count)
{
    uint64_t beyond = 0;
    for (uint32_t i = 0; i < count; i++) beyond |= ((uint64_t)ints[i] + (uint64_t)INT_LIMIT) >> 52;
    return beyond == 0;
}

SIMD_CLONES static bool are_finite(const double *values, uint32_t count)
{
    uint32_t wrong = 0;
    for (uint32_t i = 0; i < count; i++) wrong |= (bits_of(values[i]) >> 52 & 0x7ff) == 0x7ff;
    return wrong == 0;
}

static enum err get_decimals(struct codec *codec, struct reader *in, unsigned e, uint32_t count,
                             double *values, struct why *why)
{
    uint64_t misses = reader_varint(in);
    if (e > CODEC_DECIMALS_MAX || misses > count) return codec_bad(why, "unknown form of doubles");
    const uint8_t *exceptions = in->at;
    for (uint64_t i = 0; i < misses; i++) {
        (void)reader_varint(in);
        reader_skip(in, 8);
    }
    int64_t *ints = codec->room->ints;
    enum err err = codec_get_ints(codec, in, count, ints, why);
    if (err) return err;
    if (!codec_are_small(ints, count)) return codec_bad(why, "a decimal has too many digits");
    to_doubles(ints, count, powers[e], values);
    struct reader again = reader_of(exceptions, (size_t)(in->at - exceptions));
    uint64_t row = 0;
    for (uint64_t i = 0; i < misses; i++) {
        row += reader_varint(&again);
        if (row >= count || !reader_ok(&again)) return codec_bad(why, "an exception has no row");
        values[row] = double_of(reader_le64(&again));
        if (!isfinite(values[row])) return codec_bad(why, "a double that is not finite");
    }
    return ERR_OK;
}

enum err codec_get_doubles(struct codec *codec, struct reader *in, uint32_t count, double *values,
                           struct why *why)
{
    unsigned form = reader_u8(in);
    if (form != FORM_BITS) return get_decimals(codec, in, form - FORM_DECIMALS, count, values, why);
    int64_t *ints = codec->room->ints;
    enum err err = codec_get_ints(codec, in, count, ints, why);
    if (err) return err;
    order_bits((uint64_t *)ints, count, ints);
    memcpy(values, ints, count * sizeof *values);
    return are_finite(values, count) ? ERR_OK : codec_bad(why, "a double that is not finite");
}

/* ---- texts ---- */

static void put_plain_slices(struct codec *codec, const struct str *values, uint32_t count,
                             struct buf *out)
{
    struct buf *bytes = &codec->room->texts;
    buf_clear(bytes);
    for (uint32_t i = 0; i < count; i++) {
        codec->room->ints[i] = (int64_t)values[i].size;
        buf_add_str(bytes, values[i]);
    }
    if (buf_failed(bytes)) out->failed = true;
    codec_put_ints(codec, codec->room->ints, count, out);
    codec_put_section(codec, codec->repeats, buf_str(bytes), out);
}

/* Numbers the different texts in order of appearance; false: too many for a dictionary to pay. */
static bool make_dictionary(const struct str *values, uint32_t count, struct str *entries,
                            uint32_t *entry_count, int64_t *numbers)
{
    uint16_t slots[DICTIONARY_SLOTS] = {0};
    *entry_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = (uint32_t)hash_64(values[i].at, values[i].size) % DICTIONARY_SLOTS;
        while (slots[at] && !str_equal(entries[slots[at] - 1], values[i]))
            at = (at + 1) % DICTIONARY_SLOTS;
        if (!slots[at]) {
            if (*entry_count >= count / DICTIONARY_SHARE) return false;
            entries[(*entry_count)++] = values[i];
            slots[at] = (uint16_t)*entry_count;
            MUST(*entry_count <= CODEC_VALUES_MAX / DICTIONARY_SHARE);
        }
        numbers[i] = slots[at] - 1;
    }
    return true;
}

void codec_put_slices(struct codec *codec, const struct str *values, uint32_t count,
                      struct buf *out)
{
    MUST(count <= CODEC_VALUES_MAX);
    struct str entries[CODEC_VALUES_MAX / DICTIONARY_SHARE + 1];
    int64_t numbers[CODEC_VALUES_MAX];
    uint32_t entry_count;
    bool pays = make_dictionary(values, count, entries, &entry_count, numbers);
    buf_add_char(out, pays ? FORM_DICTIONARY : FORM_SLICES);
    if (!pays) {
        put_plain_slices(codec, values, count, out);
        return;
    }
    buf_add_varint(out, entry_count);
    put_plain_slices(codec, entries, entry_count, out);
    codec_put_ints(codec, numbers, count, out);
}

static enum err get_plain_slices(struct codec *codec, struct reader *in, uint32_t count,
                                 size_t multiple, struct arena *arena, struct str *values,
                                 struct why *why)
{
    int64_t *sizes = codec->room->ints;
    enum err err = codec_get_ints(codec, in, count, sizes, why);
    size_t size = 0, at = 0;
    if (!err && codec_section_size(*in, &size)) err = codec_bad(why, "bad size of texts");
    if (err) return err;
    const uint8_t *bytes;
    uint8_t *room = arena_alloc(arena, size + (multiple > 1 ? size : 0));
    if (!room) return ERR_BUDGET;
    err = codec_get_section(codec, in, room, size, &bytes, &size, why);
    if (err) return err;
    if (multiple > 1 && bytes != room) bytes = memcpy(room, bytes, size); /* aligned */
    for (uint32_t i = 0; i < count; i++) {
        uint64_t n = (uint64_t)sizes[i];
        if (n > size - at || n % multiple) return codec_bad(why, "bad slice size");
        values[i] = (struct str){(const char *)bytes + at, (size_t)n};
        at += (size_t)n;
    }
    return at == size ? ERR_OK : codec_bad(why, "bytes behind the texts");
}

enum err codec_get_slices(struct codec *codec, struct reader *in, uint32_t count, size_t multiple,
                          struct arena *arena, struct str *values, struct why *why)
{
    unsigned form = reader_u8(in);
    if (form == FORM_SLICES)
        return get_plain_slices(codec, in, count, multiple, arena, values, why);
    uint64_t entry_count = form == FORM_DICTIONARY ? reader_varint(in) : UINT64_MAX;
    if (entry_count > count) return codec_bad(why, "unknown form of texts");
    struct str *entries = arena_alloc(arena, (size_t)entry_count * sizeof *entries);
    if (!entries) return ERR_BUDGET;
    enum err err =
        get_plain_slices(codec, in, (uint32_t)entry_count, multiple, arena, entries, why);
    if (!err) err = codec_get_ints(codec, in, count, codec->room->ints, why);
    for (uint32_t i = 0; i < count && !err; i++) {
        uint64_t number = (uint64_t)codec->room->ints[i];
        if (number >= entry_count) return codec_bad(why, "a text is not in the dictionary");
        values[i] = entries[number];
    }
    return err;
}
