/* snappy.c - see snappy.h.
 *
 * A block is the length of the text and then elements: a literal (bytes as they are) or a copy of
 * bytes that came before. A copy may reach into what it writes itself, so it goes byte by byte; and
 * no element may go past the length said, which is allocated once. */
#include "data/snappy.h"
#include "base/reader.h"
#include <string.h>

struct output {
    char *at;
    size_t size, used;
};

/* Up to 59 the tag itself says the length minus one; 60 to 63: that many bytes behind it do. */
static bool take_literal(struct reader *in, uint8_t tag, struct output *out)
{
    uint64_t size = (uint64_t)(tag >> 2) + 1;
    if (size > 60) size = reader_le(in, (size_t)size - 60) + 1;
    if (!reader_ok(in) || size > out->size - out->used) return false;
    const uint8_t *bytes = reader_take(in, (size_t)size);
    if (!bytes) return false;
    memcpy(out->at + out->used, bytes, (size_t)size);
    out->used += (size_t)size;
    return true;
}

static bool take_copy(struct reader *in, uint8_t tag, struct output *out)
{
    size_t size, offset;
    if ((tag & 3) == 1) {
        size = (size_t)(tag >> 2 & 7) + 4;
        offset = (size_t)(tag >> 5) << 8 | reader_u8(in);
    } else {
        size = (size_t)(tag >> 2) + 1;
        offset = (size_t)reader_le(in, (tag & 3) == 2 ? 2 : 4);
    }
    if (!reader_ok(in) || offset == 0 || offset > out->used || size > out->size - out->used)
        return false;
    for (size_t i = 0; i < size; i++, out->used++) out->at[out->used] = out->at[out->used - offset];
    return true;
}

enum err snappy_decode(struct str block, size_t limit, struct arena *arena, struct str *out,
                       struct why *why)
{
    struct reader in = reader_of(block.at, block.size);
    uint64_t size = reader_varint(&in);
    MUST(arena && limit <= UINT32_MAX);
    if (!reader_ok(&in)) return why_set(why, ERR_SYNTAX, "snappy: the length is missing");
    if (size > limit)
        return why_set(why, ERR_LIMIT, "snappy: the text is longer than %zu bytes", limit);
    struct output to = {arena_alloc(arena, (size_t)size + 1), (size_t)size, 0};
    if (!to.at) return ERR_NO_MEMORY;
    while (reader_left(&in)) {
        uint8_t tag = reader_u8(&in);
        bool good = tag & 3 ? take_copy(&in, tag, &to) : take_literal(&in, tag, &to);
        if (!good)
            return why_set(why, ERR_SYNTAX, "snappy: a bad element before byte %zu",
                           reader_offset(&in));
    }
    if (to.used != to.size)
        return why_set(why, ERR_SYNTAX, "snappy: %zu of %zu bytes are there", to.used, to.size);
    *out = (struct str){to.at, to.size};
    return ERR_OK;
}
