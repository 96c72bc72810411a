/* simd.h - the few things that vector loops need to know about the machine.
 *
 * Loops are written in plain C or over GCC's vector types. That gives SSE2 on x86 and NEON on arm64
 * without more; where AVX2 pays, SIMD_CLONES makes a second copy of a function, and the loader
 * chooses one of them when the program starts. At -O2 GCC 12 leaves loops of unknown length as they
 * are, so the macro asks for more. */
#ifndef BASE_SIMD_H
#define BASE_SIMD_H

#include <stdint.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__gnu_linux__) &&   \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define SIMD_CLONES __attribute__((target_clones("avx2", "default"), optimize("O3")))
#elif defined(__GNUC__) && !defined(__clang__) && defined(__OPTIMIZE__)
#define SIMD_CLONES __attribute__((optimize("O3")))
#else
#define SIMD_CLONES
#endif

typedef uint32_t simd_u32x4 __attribute__((vector_size(16)));

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
static inline uint64_t simd_le64(uint64_t v)
{
    return v;
}
static inline simd_u32x4 simd_le32x4(simd_u32x4 v)
{
    return v;
}
#else
static inline uint64_t simd_le64(uint64_t v)
{
    return __builtin_bswap64(v);
}
static inline simd_u32x4 simd_le32x4(simd_u32x4 v)
{
    for (int i = 0; i < 4; i++) v[i] = __builtin_bswap32(v[i]);
    return v;
}
#endif

#endif
