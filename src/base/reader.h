/* reader.h - the byte reader: the checked cursor through which all outside bytes are read.
 *
 * Failure is sticky: a read past the end gives zero (or an empty slice) and marks the reader; a
 * parser reads a whole structure and asks reader_ok once. A number read after a failure is 0: so a
 * count from outside is checked with reader_ok, or against a limit, before it is used. Nothing here
 * allocates. Thread: any. */
#ifndef BASE_READER_H
#define BASE_READER_H

#include "base/str.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct reader {
    const uint8_t *at, *end; /* at ≤ end always */
    const uint8_t *start;
    bool failed;
};

/* Borrows the bytes for as long as the reader, and what it gave, is used. */
static inline struct reader reader_of(const void *bytes, size_t size)
{
    const uint8_t *p = bytes;
    return (struct reader){p, size ? p + size : p, p, false};
}

static inline bool reader_ok(const struct reader *r)
{
    return !r->failed;
}
static inline size_t reader_left(const struct reader *r)
{
    return (size_t)(r->end - r->at);
}
/* From the first byte; after a failure: the end. */
static inline size_t reader_offset(const struct reader *r)
{
    return (size_t)(r->at - r->start);
}

/* The next `size` bytes, or NULL (and failed). size 0 gives a non-NULL pointer unless failed. */
static inline const uint8_t *reader_take(struct reader *r, size_t size)
{
    static const uint8_t nothing[1];
    if (r->failed || size > reader_left(r)) {
        r->failed = true;
        r->at = r->end;
        return NULL;
    }
    const uint8_t *p = r->at;
    if (size == 0) return p ? p : nothing;
    r->at += size;
    return p;
}

/* As text, borrowed; an empty one (at not NULL) when it failed. */
static inline struct str reader_str(struct reader *r, size_t size)
{
    const uint8_t *p = reader_take(r, size);
    return p ? (struct str){(const char *)p, size} : (struct str){"", 0};
}

static inline void reader_skip(struct reader *r, size_t size)
{
    (void)reader_take(r, size);
}

/* A number of `size` ≤ 8 bytes, the lowest first; reader_be: the highest first. */
static inline uint64_t reader_le(struct reader *r, size_t size)
{
    MUST(size <= 8);
    const uint8_t *p = reader_take(r, size);
    uint64_t v = 0;
    for (size_t i = size; p && i-- > 0;) v = v << 8 | p[i];
    return v;
}

static inline uint64_t reader_be(struct reader *r, size_t size)
{
    MUST(size <= 8);
    const uint8_t *p = reader_take(r, size);
    uint64_t v = 0;
    for (size_t i = 0; p && i < size; i++) v = v << 8 | p[i];
    return v;
}

static inline uint8_t reader_u8(struct reader *r)
{
    return (uint8_t)reader_le(r, 1);
}
static inline uint16_t reader_le16(struct reader *r)
{
    return (uint16_t)reader_le(r, 2);
}
static inline uint32_t reader_le32(struct reader *r)
{
    return (uint32_t)reader_le(r, 4);
}
static inline uint64_t reader_le64(struct reader *r)
{
    return reader_le(r, 8);
}
static inline uint16_t reader_be16(struct reader *r)
{
    return (uint16_t)reader_be(r, 2);
}
static inline uint32_t reader_be32(struct reader *r)
{
    return (uint32_t)reader_be(r, 4);
}
static inline uint64_t reader_be64(struct reader *r)
{
    return reader_be(r, 8);
}

/* LEB128 of at most 10 bytes; a longer or overflowing one fails. */
static inline uint64_t reader_varint(struct reader *r)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        uint8_t b = reader_u8(r);
        if (shift == 63 && b > 1) break;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80)) return r->failed ? 0 : v;
    }
    r->failed = true;
    r->at = r->end;
    return 0;
}

#endif
