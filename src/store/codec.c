/* codec.c - a codec's own: its contexts and scratch, and sections; see codec.h.
 *
 * A section is a run of bytes that zstd may have shortened: the escape of every layout that has
 * bytes rather than bits. It is pressed only where that saves a tenth, since whoever reads it pays
 * for it each time. Two contexts press: one looks for repeats, in texts and varints; the other only
 * counts bytes, for in residuals of one byte each a short repeat is chance.
 *
 * Called by: codec_ints.c, codec_ints_read.c, codec_mini.c, codec_values.c; opened by whoever
 * writes parts (seal.c, compact.c, doctor_part.c) and by each scan that touches one.
 * Owns: the zstd contexts, the room and, of a writer, its buffers.
 * Invariants: a codec for reading has no `repeats`, and of its room only what stands before
 * `residual` exists, so nothing here may touch the rest before it has asked for `repeats`; what is
 * written as a section is no larger than CODEC_TEXT_BYTES_MAX, which a reader demands. */
#include "base/mem.h"
#include "store/codec.h"
#include <stddef.h>

enum {
    ZSTD_LEVEL = 1,
    SQUEEZE_MIN_BYTES = 48,
};

enum err codec_bad(struct why *why, const char *what)
{
    return why_set(why, ERR_CORRUPT, "column: %s", what);
}

/* In residuals of one byte short repeats are chance, and coding them costs more than their bytes'
 * frequencies do: so only long ones are looked for, and hardly. */
static bool set_up(struct codec *codec)
{
    static const struct {
        ZSTD_cParameter parameter;
        int value;
    } settings[] = {
        {ZSTD_c_compressionLevel, ZSTD_LEVEL},
        {ZSTD_c_strategy, ZSTD_fast},
        {ZSTD_c_minMatch, 7},
        {ZSTD_c_hashLog, 6},
        {ZSTD_c_windowLog, 12},
        {ZSTD_c_targetLength, 0},
    };
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
        if (ZSTD_isError(
                ZSTD_CCtx_setParameter(codec->frequency, settings[i].parameter, settings[i].value)))
            return false;
    return !ZSTD_isError(
        ZSTD_CCtx_setParameter(codec->repeats, ZSTD_c_compressionLevel, ZSTD_LEVEL));
}

/* A scan of a few rows opens one, too: so nothing is made, or zeroed, that it may not need. */
enum err codec_open(struct codec *codec, bool for_writing)
{
    *codec = (struct codec){0};
    if (!for_writing) {
        codec->room = mem_alloc(offsetof(struct codec_room, residual));
        return codec->room ? ERR_OK : ERR_NO_MEMORY;
    }
    codec->room = mem_alloc_zero(1, sizeof *codec->room);
    codec->repeats = ZSTD_createCCtx();
    codec->frequency = ZSTD_createCCtx();
    if (codec->room && codec->repeats && codec->frequency && set_up(codec)) return ERR_OK;
    codec_close(codec);
    return ERR_NO_MEMORY;
}

ZSTD_DCtx *codec_unzstd(struct codec *codec)
{
    MUST(codec->room); /* it is open */
    if (!codec->open) codec->open = ZSTD_createDCtx();
    return codec->open;
}

void codec_close(struct codec *codec)
{
    bool writes = codec->room && codec->repeats;
    for (size_t i = 0; writes && i < sizeof codec->room->trial / sizeof(struct buf); i++)
        buf_free(&codec->room->trial[i]);
    if (writes) buf_free(&codec->room->texts);
    mem_free(codec->room);
    ZSTD_freeDCtx(codec->open);
    ZSTD_freeCCtx(codec->repeats);
    ZSTD_freeCCtx(codec->frequency);
    *codec = (struct codec){0};
}

/* ---- sections ---- */

void codec_put_section(struct codec *codec, ZSTD_CCtx *press, struct str bytes, struct buf *out)
{
    MUST(press && bytes.size <= CODEC_TEXT_BYTES_MAX); /* or nobody could read it */
    size_t bound = ZSTD_compressBound(bytes.size), size = bytes.size;
    struct buf *room = &codec->room->trial[2];
    buf_clear(room);
    bool squeezed = bytes.size >= SQUEEZE_MIN_BYTES && buf_reserve(room, bound);
    if (squeezed) {
        size = ZSTD_compress2(press, room->at, bound, bytes.at, bytes.size);
        squeezed = !ZSTD_isError(size) && size < bytes.size - bytes.size / 10;
    }
    if (!squeezed) size = bytes.size;
    buf_add_varint(out, (uint64_t)size << 1 | squeezed);
    if (squeezed) buf_add_varint(out, bytes.size);
    buf_add(out, squeezed ? room->at : bytes.at, size);
}

enum err codec_section_size(struct reader in, size_t *size)
{
    uint64_t head = reader_varint(&in), whole = head & 1 ? reader_varint(&in) : head >> 1;
    if (!reader_ok(&in) || whole > CODEC_TEXT_BYTES_MAX) return ERR_CORRUPT;
    *size = (size_t)whole;
    return ERR_OK;
}

enum err codec_get_section(struct codec *codec, struct reader *in, uint8_t *room, size_t size_max,
                           const uint8_t **bytes, size_t *size, struct why *why)
{
    uint64_t head = reader_varint(in), whole = head & 1 ? reader_varint(in) : head >> 1;
    const uint8_t *stored = reader_take(in, head >> 1 > SIZE_MAX ? SIZE_MAX : (size_t)(head >> 1));
    if (!stored || whole > size_max) return codec_bad(why, "a section has no sensible size");
    *size = (size_t)whole;
    *bytes = stored;
    if (!(head & 1)) return ERR_OK;
    if (!codec_unzstd(codec)) return ERR_NO_MEMORY;
    size_t got = ZSTD_decompressDCtx(codec->open, room, (size_t)whole, stored, (size_t)(head >> 1));
    if (ZSTD_isError(got) || got != whole) return codec_bad(why, "zstd cannot read it");
    *bytes = room;
    return ERR_OK;
}
