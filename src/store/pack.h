/* pack.h - unsigned integers of one width, one bit run after the other.
 *
 * Groups of PACK_GROUP values lie *vertically*: for widths up to 32, value i belongs to lane i % 4,
 * and the four lanes are packed side by side in words of 32 bits, so that one vector instruction
 * of 128 bits unpacks four values with the same shift (D. Lemire, L. Boytsov: Decoding billions of
 * integers per second through vectorization, 2015). Wider ones use two lanes of 64 bits. What is
 * left behind the last whole group is one plain little-endian bit string, so that short columns
 * waste nothing.
 *
 * The layout is the same on every machine: words are little-endian. Thread: any; nothing
 * allocates. */
#ifndef STORE_PACK_H
#define STORE_PACK_H

#include <stddef.h>
#include <stdint.h>

enum { PACK_GROUP = 128 };

/* Bits that the value needs, 0…64. */
static inline unsigned pack_width(uint64_t value)
{
    return value ? 64u - (unsigned)__builtin_clzll(value) : 0;
}

/* Bytes that `count` values of `width` bits take. */
static inline size_t pack_bytes(uint32_t count, unsigned width)
{
    uint32_t rest = count % PACK_GROUP;
    return (size_t)(count / PACK_GROUP) * width * (PACK_GROUP / 8) + ((size_t)rest * width + 7) / 8;
}

/* Writes pack_bytes(count, width) bytes; every value fits into `width` bits, 0…64. */
void pack_put(uint8_t *out, const uint64_t *values, uint32_t count, unsigned width);
/* Reads them back: values[i] = base + step · packed[i], modulo 2^64. Reads exactly
 * pack_bytes(count, width) bytes of `in`. */
void pack_get(const uint8_t *in, uint32_t count, unsigned width, uint64_t base, uint64_t step,
              uint64_t *values);

#endif
