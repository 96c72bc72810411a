/* pack.c - see pack.h.
 *
 * Unpacking is the hot loop of every scan: one function per width, made from one body whose width
 * is a constant, so that shifts and masks are immediate. The bodies are written over GCC's vector
 * types; they become SSE2 or NEON as they stand, and on x86 a second copy for AVX2 is chosen when
 * the program starts (SIMD_CLONES). */
#include "store/pack.h"
#include "base/mem.h"
#include "base/simd.h"
#include <string.h>

typedef simd_u32x4 lanes32;

enum {
    LANES_32 = 4,
    STEPS_32 = PACK_GROUP / LANES_32,
    LANES_64 = 2,
    STEPS_64 = PACK_GROUP / LANES_64
};

/* ---- bit strings behind the last group, and wide values ---- */

static uint64_t mask_of(unsigned width)
{
    return width == 64 ? UINT64_MAX : ((uint64_t)1 << width) - 1;
}

static uint64_t le64(const uint8_t *at, size_t size)
{
    uint64_t v = 0;
    if (size >= 8)
        memcpy(&v, at, 8);
    else
        for (size_t i = 0; i < size; i++) v |= (uint64_t)at[i] << (8 * i);
    return size >= 8 ? simd_le64(v) : v;
}

/* The value of `width` bits at `bit` in a string of `size` bytes. */
static uint64_t bits_at(const uint8_t *in, size_t size, size_t bit, unsigned width)
{
    size_t at = bit / 8;
    unsigned shift = bit % 8;
    uint64_t v = le64(in + at, size - at) >> shift;
    if (shift + width > 64) v |= (uint64_t)in[at + 8] << (64 - shift);
    return v & mask_of(width);
}

static void put_bits(uint8_t *out, size_t bit, unsigned width, uint64_t value)
{
    for (unsigned done = 0; done < width;) {
        unsigned shift = bit % 8, room = 8 - shift,
                 take = width - done < room ? width - done : room;
        out[bit / 8] |= (uint8_t)((value >> done & ((1u << take) - 1)) << shift);
        done += take;
        bit += take;
    }
}

/* ---- whole groups ---- */

/* Lanes of 32 bits (width ≤ 32) or 64. */
static void put_group(uint8_t *out, const uint64_t *values, unsigned width, unsigned word)
{
    unsigned lanes = 128 / word;
    for (unsigned lane = 0; lane < lanes; lane++) {
        unsigned __int128 held = 0;
        unsigned bits = 0;
        uint8_t *to = out + lane * word / 8;
        for (unsigned i = lane; i < PACK_GROUP; i += lanes) {
            held |= (unsigned __int128)values[i] << bits;
            for (bits += width; bits >= word; bits -= word) {
                uint64_t piece = simd_le64((uint64_t)held);
                memcpy(to, &piece, word / 8);
                to += 16; /* the same lane of the next words */
                held >>= word;
            }
        }
    }
}

static inline __attribute__((always_inline)) void get_lanes(const uint8_t *in, uint32_t *out,
                                                            unsigned width)
{
    lanes32 mask = {0}, word = {0}, next;
    mask += width == 32 ? UINT32_MAX : ((uint32_t)1 << width) - 1;
    memcpy(&word, in, sizeof word);
#pragma GCC unroll 32
    for (unsigned j = 0; j < STEPS_32; j++) {
        unsigned shift = j * width % 32;
        lanes32 v = simd_le32x4(word) >> (int)shift;
        if (shift + width >= 32 && j + 1 < STEPS_32) {
            memcpy(&next, in + ((size_t)j * width / 32 + 1) * sizeof next, sizeof next);
            if (shift + width > 32) v |= simd_le32x4(next) << (int)(32 - shift);
            word = next;
        }
        v &= mask;
        memcpy(out + (size_t)j * LANES_32, &v, sizeof v);
    }
}

/* 33…64 bits: rare (doubles that are no decimals), so one loop serves all. */
static void get_wide(const uint8_t *in, uint64_t *out, unsigned width)
{
    uint64_t mask = mask_of(width);
    for (unsigned j = 0; j < STEPS_64; j++) {
        unsigned at = j * width / 64, shift = j * width % 64;
        for (unsigned lane = 0; lane < LANES_64; lane++) {
            uint64_t low, high = 0;
            memcpy(&low, in + ((size_t)at * LANES_64 + lane) * 8, 8);
            if (shift + width > 64) memcpy(&high, in + ((size_t)(at + 1) * LANES_64 + lane) * 8, 8);
            uint64_t v = simd_le64(low) >> shift;
            if (shift + width > 64) v |= simd_le64(high) << (64 - shift);
            out[j * LANES_64 + lane] = v & mask;
        }
    }
}

/* clang-format off */
#define WIDTHS(X)                                                                                  \
    X(1)                                                                                           \
    X(2)                                                                                           \
    X(3)                                                                                           \
    X(4)                                                                                           \
    X(5)                                                                                           \
    X(6)                                                                                           \
    X(7)                                                                                           \
    X(8)                                                                                           \
    X(9)                                                                                           \
    X(10)                                                                                          \
    X(11)                                                                                          \
    X(12)                                                                                          \
    X(13)                                                                                          \
    X(14) X(15) X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23) X(24) X(25) X(26) X(27) X(28)      \
        X(29) X(30) X(31) X(32)
/* clang-format on */

#define BODY(WIDTH)                                                                                \
    static void get_group_##WIDTH(const uint8_t *in, uint32_t *out)                                \
    {                                                                                              \
        get_lanes(in, out, WIDTH);                                                                 \
    }
WIDTHS(BODY)
#undef BODY

static void (*const get_group[33])(const uint8_t *in, uint32_t *out) = {
#define ENTRY(WIDTH) [WIDTH] = get_group_##WIDTH,
    WIDTHS(ENTRY)
#undef ENTRY
};

SIMD_CLONES static void widen(const uint32_t *in, uint64_t base, uint64_t step, uint64_t *out)
{
    if (step == 1)
        for (unsigned i = 0; i < PACK_GROUP; i++) out[i] = base + in[i];
    else if (step <= UINT32_MAX)
        for (unsigned i = 0; i < PACK_GROUP; i++) out[i] = base + (uint64_t)in[i] * (uint32_t)step;
    else
        for (unsigned i = 0; i < PACK_GROUP; i++) out[i] = base + in[i] * step;
}

/* ---- both ---- */

void pack_put(uint8_t *out, const uint64_t *values, uint32_t count, unsigned width)
{
    MUST(width <= 64);
    memset(out, 0, pack_bytes(count, width));
    if (width == 0) return;
    for (; count >= PACK_GROUP; count -= PACK_GROUP, values += PACK_GROUP) {
        put_group(out, values, width, width <= 32 ? 32 : 64);
        out += pack_bytes(PACK_GROUP, width);
    }
    for (uint32_t i = 0; i < count; i++) put_bits(out, (size_t)i * width, width, values[i]);
}

void pack_get(const uint8_t *in, uint32_t count, unsigned width, uint64_t base, uint64_t step,
              uint64_t *values)
{
    MUST(width <= 64);
    uint32_t narrow[PACK_GROUP];
    if (width == 0) {
        for (uint32_t i = 0; i < count; i++) values[i] = base;
        return;
    }
    for (; count >= PACK_GROUP; count -= PACK_GROUP, values += PACK_GROUP) {
        if (width <= 32) {
            get_group[width](in, narrow);
            widen(narrow, base, step, values);
        } else {
            get_wide(in, values, width);
            for (uint32_t i = 0; i < PACK_GROUP; i++) values[i] = base + step * values[i];
        }
        in += pack_bytes(PACK_GROUP, width);
    }
    size_t size = pack_bytes(count, width);
    for (uint32_t i = 0; i < count; i++)
        values[i] = base + step * bits_at(in, size, (size_t)i * width, width);
}
