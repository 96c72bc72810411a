/* codec_ints_read.c - reading runs of 64-bit integers; see codec.h. Writing them is codec_ints.c.
 *
 * One function for each layout gives values (or, where a transform was used, residuals) straight
 * into the caller's array: base and factor are applied while unpacking, so that a column is gone
 * through once. Then sums are taken, once or twice.
 *
 * Called by: codec_values.c and part_column.c, through codec_get_ints; codec_join_planes also by
 * codec_mini.c.
 * Trusts nothing: every count is checked against the number of values that the caller wants before
 * anything is written, every size against what is left of the input, so that no byte can make it
 * read or write outside. Arithmetic is modulo 2^64: wrong bytes make wrong values, never undefined
 * ones. Owns nothing. */
#include "base/mem.h"
#include "base/num.h"
#include "store/codec_ints.h"
#include "store/pack.h"
#include "base/simd.h"
#include <string.h>

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
    MUST(at <= count);
    return at == count ? ERR_OK : codec_bad(why, "runs end early");
}

enum err codec_get_ints(struct codec *codec, struct reader *in, uint32_t count, int64_t *values,
                        struct why *why)
{
    MUST(count <= CODEC_VALUES_MAX && codec->room);
    if (count == 0) return ERR_OK;
    unsigned mode = reader_u8(in);
    if (mode == (PLAIN | RUNS << 2)) return get_runs(codec, in, count, values, why);
    return get_transformed(codec, in, mode, count, (uint64_t *)values, why);
}
