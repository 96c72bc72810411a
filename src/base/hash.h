/* hash.h - checksums and hash functions. Thread: any; nothing allocates. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include "base/str.h"
#include <stddef.h>
#include <stdint.h>

/* CRC32C (Castagnoli, RFC 3720 appendix B.4), continued from `seed` (0 to start). Uses the
 * processor's instruction where there is one. */
uint32_t hash_crc32c(uint32_t seed, const void *bytes, size_t size);

/* XXH3 64 bit: for tables in memory and for sync audits; not for secrets. */
uint64_t hash_64(const void *bytes, size_t size);

#endif
