/* part_column.c - one column of one block as bytes and back; see part.h.
 *
 * Decoding trusts nothing: sizes are checked against the rows before memory is taken, and what the
 * rest of the program relies on (bools are 0 or 1, doubles are finite, bad quality implies NULL,
 * slices of doubles are whole) is checked again, so a damaged byte that a checksum misses cannot do
 * more than change a value. */
#include "base/hash.h"
#include "base/num.h"
#include "store/part.h"
#include <math.h>
#include <string.h>

enum { FLAG_NULLS = 1, FLAG_QUALITY = 2, FLAGS_ALL = 3, ZSTD_LEVEL = 1, ZSTD_MIN_BYTES = 64 };

/* ---- encoding ---- */

static void add_nulls(struct buf *out, const struct vector *v)
{
    for (uint32_t row = 0; row < v->count; row += 8) {
        unsigned bits = 0;
        for (uint32_t i = 0; i < 8 && row + i < v->count; i++)
            bits |= (unsigned)v->null[row + i] << i;
        buf_add_char(out, (char)bits);
    }
}

static void add_quality(struct buf *out, const struct vector *v)
{
    for (uint32_t row = 0, run; row < v->count; row += run) {
        for (run = 1; row + run < v->count && v->quality[row + run] == v->quality[row];) run++;
        buf_add_varint(out, run);
        buf_add_le32(out, v->quality[row]);
    }
}

static void add_delta2(struct buf *out, const struct vector *v)
{
    uint64_t last = 0, step = 0;
    for (uint32_t row = 0; row < v->count; row++) {
        uint64_t next = v->u[row] - last;
        buf_add_varint(out, num_zigzag((int64_t)(next - step)));
        step = row ? next : 0;
        last = v->u[row];
    }
}

static void add_values(struct buf *out, const struct vector *v)
{
    size_t element = type_bytes(v->type);
    const char *data = v->data;
    if (element && !v->null) {
        buf_add(out, data, v->count * element);
        return;
    }
    for (uint32_t row = 0; row < v->count; row++) {
        if (vector_is_null(v, row)) continue;
        if (element) {
            buf_add(out, data + row * element, element);
        } else {
            buf_add_varint(out, v->s[row].size);
            buf_add_str(out, v->s[row]);
        }
    }
}

/* zstd stays only where it saves more than a tenth. */
static bool squeeze(ZSTD_CCtx *zstd, struct buf *out, struct str raw)
{
    if (raw.size < ZSTD_MIN_BYTES || buf_failed(out)) return false;
    size_t bound = ZSTD_compressBound(raw.size), mark = out->size;
    if (!buf_reserve(out, bound)) {
        out->failed = false; /* then it is stored as it is */
        return false;
    }
    size_t size = ZSTD_compressCCtx(zstd, out->at + mark, bound, raw.at, raw.size, ZSTD_LEVEL);
    if (ZSTD_isError(size) || size >= raw.size - raw.size / 10) return false;
    out->size = mark + size;
    return true;
}

enum err part_column_encode(ZSTD_CCtx *zstd, const struct vector *v, bool is_time,
                            struct buf *scratch, struct buf *out, struct part_column *column)
{
    MUST(v->count > 0 && v->count <= PART_BLOCK_ROWS && !v->is_constant);
    bool nulls = v->null && memchr(v->null, 1, v->count);
    bool quality = false;
    for (uint32_t row = 0; v->quality && row < v->count && !quality; row++)
        quality = v->quality[row] != QUALITY_GOOD;
    struct vector bare = *v;
    if (!nulls) bare.null = NULL;
    bool delta = is_time && !nulls;
    buf_clear(scratch);
    buf_add_char(scratch, (char)((nulls ? FLAG_NULLS : 0) | (quality ? FLAG_QUALITY : 0)));
    if (nulls) add_nulls(scratch, v);
    if (quality) add_quality(scratch, v);
    if (delta)
        add_delta2(scratch, v);
    else
        add_values(scratch, &bare);
    if (buf_failed(scratch)) return ERR_NO_MEMORY;
    if (scratch->size > PART_RAW_BYTES_MAX) return ERR_LIMIT;
    size_t mark = out->size;
    bool squeezed = squeeze(zstd, out, buf_str(scratch));
    if (!squeezed) buf_add(out, scratch->at, scratch->size);
    if (buf_failed(out)) return ERR_NO_MEMORY;
    column->type = (uint8_t)v->type;
    column->codec = (uint8_t)((delta ? PART_CODEC_DELTA2 : PART_CODEC_PLAIN) + squeezed);
    column->raw_size = (uint32_t)scratch->size;
    column->size = (uint32_t)(out->size - mark);
    column->crc = hash_crc32c(0, out->at + mark, column->size);
    return ERR_OK;
}

/* ---- decoding ---- */

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

enum err part_column_decode(ZSTD_DCtx *zstd, const struct part_column *column, const uint8_t *bytes,
                            uint32_t rows, struct arena *arena, struct vector *v, struct why *why)
{
    if (column->type == 0 || column->type >= TYPE_COUNT || column->codec > PART_CODEC_DELTA2_ZSTD ||
        rows == 0 || rows > PART_BLOCK_ROWS || column->raw_size > PART_RAW_BYTES_MAX)
        return bad(why, "unknown type, codec or size");
    *v = (struct vector){.type = (enum type)column->type, .count = rows};
    bool squeezed = column->codec & 1, delta = column->codec >= PART_CODEC_DELTA2;
    if (hash_crc32c(0, bytes, column->size) != column->crc)
        return bad(why, "the checksum is wrong");
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
