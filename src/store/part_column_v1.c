/* part_column_v1.c - columns as parts of format 1 hold them: read, not written any more; see
 * part_column.c.
 *
 * Raw bytes of a column: u8 flags; NULLS: bitmap, 1 = NULL; QUALITY: runs of (varint length, u32
 * code); then the values that are not NULL: bool 1 byte, 8-byte types as they are or as zigzag
 * varints of second differences, slices varint size + bytes. With the codec's lowest bit all of it
 * is under zstd. */
#include "base/num.h"
#include "store/part_column.h"
#include <math.h>
#include <string.h>

enum { FLAG_NULLS = 1, FLAG_QUALITY = 2, FLAGS_ALL = 3 };

static enum err bad(struct why *why, const char *what)
{
    return why_set(why, ERR_CORRUPT, "column: %s", what);
}

static enum err read_nulls(struct reader *in, struct vector *v, struct arena *arena,
                           struct why *why)
{
    const uint8_t *bits = reader_take(in, (v->count + 7) / 8);
    if (!bits) return bad(why, "NULL bitmap ends early");
    if (!(v->null = arena_alloc(arena, v->count))) return ERR_BUDGET;
    for (uint32_t row = 0; row < v->count; row++) v->null[row] = bits[row / 8] >> (row % 8) & 1;
    return ERR_OK;
}

static enum err read_quality(struct reader *in, struct vector *v, struct arena *arena,
                             struct why *why)
{
    if (!(v->quality = arena_alloc(arena, v->count * sizeof *v->quality))) return ERR_BUDGET;
    for (uint32_t row = 0; row < v->count;) {
        uint64_t run = reader_varint(in);
        uint32_t code = reader_le32(in);
        if (!reader_ok(in) || run == 0 || run > v->count - row)
            return bad(why, "bad run of quality");
        for (; run; run--, row++) {
            if (quality_is_bad(code) && !vector_is_null(v, row))
                return bad(why, "a value with bad quality");
            v->quality[row] = code;
        }
    }
    return ERR_OK;
}

static enum err read_delta2(struct reader *in, struct vector *v, struct why *why)
{
    uint64_t last = 0, step = 0;
    for (uint32_t row = 0; row < v->count; row++) {
        uint64_t next = step + (uint64_t)num_unzigzag(reader_varint(in));
        v->u[row] = last + next;
        step = row ? next : 0;
        last = v->u[row];
    }
    return reader_ok(in) ? ERR_OK : bad(why, "differences end early");
}

static enum err read_slices(struct reader *in, struct vector *v, struct arena *arena,
                            struct why *why)
{
    for (uint32_t row = 0; row < v->count; row++) {
        if (vector_is_null(v, row)) continue;
        uint64_t size = reader_varint(in);
        if (!reader_ok(in) || size > reader_left(in) || (v->type == TYPE_DOUBLES && size % 8))
            return bad(why, "bad slice size");
        struct str s = reader_str(in, (size_t)size);
        /* Texts stay in the raw bytes, which live in the same arena; arrays of doubles must be
         * aligned. */
        if (v->type == TYPE_DOUBLES && !(s.at = arena_dup(arena, s.at, s.size))) return ERR_BUDGET;
        v->s[row] = s;
    }
    return ERR_OK;
}

static enum err read_fixed(struct reader *in, struct vector *v, struct why *why)
{
    size_t element = type_bytes(v->type);
    for (uint32_t row = 0; v->null && row < v->count; row++) {
        const uint8_t *from = v->null[row] ? NULL : reader_take(in, element);
        if (from) memcpy((char *)v->data + row * element, from, element);
    }
    const uint8_t *all = v->null ? NULL : reader_take(in, v->count * element);
    if (all) memcpy(v->data, all, v->count * element);
    if (!reader_ok(in)) return bad(why, "values end early");
    for (uint32_t row = 0; row < v->count; row++) {
        if (v->type == TYPE_BOOL && v->b[row] > 1) return bad(why, "a bool above 1");
        if (v->type == TYPE_DOUBLE && !isfinite(v->d[row]))
            return bad(why, "a double that is not finite");
    }
    return ERR_OK;
}

static enum err read_raw(struct reader *in, bool delta, struct arena *arena, struct vector *v,
                         struct why *why)
{
    uint8_t flags = reader_u8(in);
    if (!reader_ok(in) || flags & ~FLAGS_ALL ||
        (delta && (flags & FLAG_NULLS || type_bytes(v->type) != 8)))
        return bad(why, "bad flags");
    v->data = arena_zero(arena, v->count, vector_element_bytes(v->type));
    if (!v->data) return ERR_BUDGET;
    enum err err = flags & FLAG_NULLS ? read_nulls(in, v, arena, why) : ERR_OK;
    if (!err && flags & FLAG_QUALITY) err = read_quality(in, v, arena, why);
    if (err) return err;
    if (delta)
        err = read_delta2(in, v, why);
    else if (type_bytes(v->type))
        err = read_fixed(in, v, why);
    else
        err = read_slices(in, v, arena, why);
    return !err && reader_left(in) ? bad(why, "bytes behind the values") : err;
}

enum err part_column_decode_v1(ZSTD_DCtx *zstd, const struct part_column *column,
                               const uint8_t *bytes, struct arena *arena, struct vector *v,
                               struct why *why)
{
    bool squeezed = column->codec & 1, delta = column->codec >= PART_CODEC_DELTA2;
    MUST(column->codec <= PART_CODEC_DELTA2_ZSTD);
    if (squeezed && !zstd) return ERR_NO_MEMORY;
    if (squeezed) {
        uint8_t *raw = arena_alloc(arena, column->raw_size);
        if (!raw) return ERR_BUDGET;
        size_t size = ZSTD_decompressDCtx(zstd, raw, column->raw_size, bytes, column->size);
        if (ZSTD_isError(size) || size != column->raw_size) return bad(why, "zstd cannot read it");
        bytes = raw;
    } else if (column->size != column->raw_size) {
        return bad(why, "sizes differ");
    }
    struct reader in = reader_of(bytes, column->raw_size);
    return read_raw(&in, delta, arena, v, why);
}
