/* hash.c - see hash.h. CRC32C is ours because zlib's CRC is another polynomial and no core library
 * has it; XXH3 comes from libxxhash. */
#include "base/hash.h"
#include <string.h>
#include <xxhash.h>

/* The reflected polynomial of CRC32C. */
enum { CRC32C_POLYNOMIAL_LOW = 0x3b78 };
static const uint32_t crc32c_polynomial = 0x82f60000u | CRC32C_POLYNOMIAL_LOW;

/* Bit by bit: the reference, and the way on processors without the instruction (a table would be
 * mutable global state or 8 KiB of constants; logs on such machines are small). */
static uint32_t crc32c_plain(uint32_t crc, const uint8_t *p, size_t size)
{
    for (; size; size--, p++) {
        crc ^= *p;
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? crc32c_polynomial : 0);
    }
    return crc;
}

#if defined(__x86_64__)
#include <nmmintrin.h>
__attribute__((target("sse4.2"))) static uint32_t crc32c_fast(uint32_t crc, const uint8_t *p,
                                                              size_t size)
{
    uint64_t c = crc;
    for (; size >= 8; size -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        c = _mm_crc32_u64(c, word);
    }
    uint32_t c32 = (uint32_t)c;
    for (; size; size--, p++) c32 = _mm_crc32_u8(c32, *p);
    return c32;
}
static int has_fast(void)
{
    return __builtin_cpu_supports("sse4.2");
}
#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
static uint32_t crc32c_fast(uint32_t crc, const uint8_t *p, size_t size)
{
    for (; size >= 8; size -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        crc = __crc32cd(crc, word);
    }
    for (; size; size--, p++) crc = __crc32cb(crc, *p);
    return crc;
}
static int has_fast(void)
{
    return 1;
}
#else
static uint32_t crc32c_fast(uint32_t crc, const uint8_t *p, size_t size)
{
    return crc32c_plain(crc, p, size);
}
static int has_fast(void)
{
    return 0;
}
#endif

uint32_t hash_crc32c(uint32_t seed, const void *bytes, size_t size)
{
    uint32_t crc = ~seed;
    MUST(bytes || !size);
    return ~(has_fast() ? crc32c_fast(crc, bytes, size) : crc32c_plain(crc, bytes, size));
}

uint64_t hash_64(const void *bytes, size_t size)
{
    MUST(bytes || !size);
    return XXH3_64bits(bytes, size);
}
