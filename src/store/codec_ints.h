/* codec_ints.h - what codec_ints.c and codec_mini.c both know of the bytes that codec.h describes.
 * Private to the codec. */
#ifndef STORE_CODEC_INTS_H
#define STORE_CODEC_INTS_H

#include "store/codec.h"

enum transform { PLAIN, DELTA, DELTA2, TRANSFORMS };
enum layout { FLAT, PACKED, SPLIT, RUNS, BYTES, LAYOUTS };
enum { FACTOR_FLAG = 32, ESCAPE = 255 };

/* values[i] holds the low bits of a distance, plane[i] the rest: it becomes base + distance ·
 * factor. */
void codec_join_planes(const uint8_t *plane, unsigned low_bits, uint32_t count, uint64_t base,
                       uint64_t factor, uint64_t *values);

#endif
