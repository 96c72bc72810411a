/* part_column.c - one column of one block as bytes and back; see part_column.h.
 *
 * Decoding trusts nothing: sizes are checked against the rows before memory is taken, and what the
 * rest of the program relies on (bools are 0 or 1, doubles are finite, bad quality implies NULL,
 * slices of doubles are whole) is checked again, so a damaged byte that a checksum misses cannot do
 * more than change a value. */
#include "store/part_column.h"
#include "base/hash.h"
#include "base/num.h"
#include "base/simd.h"
#include <math.h>
#include <string.h>

enum { FLAG_NULLS = 1, FLAG_QUALITY = 2, FLAGS_ALL = 3 };
enum { STATS_COUNT = 1, STATS_DOUBLES = 2, STATS_INTS = 3 /* + 1 + e for decimals */ };

/* A block of numbers up to it has a sum of 63 bits. */
#define SMALL ((int64_t)INT64_MAX / PART_BLOCK_ROWS)

_Static_assert((int)CODEC_VALUES_MAX == (int)PART_BLOCK_ROWS, "a codec takes a whole block");

/* ---- statistics ---- */

static void put_sum(struct buf *out, __int128 sum)
{
    buf_add_varint(out, num_zigzag((int64_t)(sum >> 64)));
    buf_add_varint(out, (uint64_t)sum);
}

/* `is_unsigned`: the bits are those of UBIGINT. */
SIMD_CLONES static void put_int_stats(const int64_t *v, uint32_t count, bool is_unsigned,
                                      struct buf *out)
{
    uint64_t flip = is_unsigned ? (uint64_t)1 << 63 : 0; /* makes the order of bits signed */
    int64_t least = INT64_MAX, most = INT64_MIN;
    uint64_t low = 0; /* the sum's lower half, modulo 2^64 */
    for (uint32_t i = 0; i < count; i++) {
        int64_t x = (int64_t)((uint64_t)v[i] ^ flip);
        least = x < least ? x : least;
        most = x > most ? x : most;
        low += (uint64_t)v[i];
    }
    __int128 sum = (int64_t)low;
    if (is_unsigned || least < -SMALL || most > SMALL) {
        sum = 0;
        for (uint32_t i = 0; i < count; i++) sum += is_unsigned ? (__int128)(uint64_t)v[i] : v[i];
    }
    uint64_t base = (uint64_t)least ^ flip;
    buf_add_varint(out, num_zigzag((int64_t)base));
    buf_add_varint(out, ((uint64_t)most ^ flip) - base);
    buf_add_varint(out, (uint64_t)v[0] - base);
    buf_add_varint(out, (uint64_t)v[count - 1] - base);
    put_sum(out, sum);
}

static void add_double(struct buf *out, double d)
{
    uint64_t bits;
    memcpy(&bits, &d, sizeof bits);
    buf_add_le64(out, bits);
}

static void put_double_stats(const double *v, uint32_t count, struct buf *out)
{
    double least = v[0], most = v[0], sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        least = v[i] < least ? v[i] : least;
        most = v[i] > most ? v[i] : most;
        sum += v[i];
    }
    add_double(out, least);
    add_double(out, most);
    add_double(out, v[0]);
    add_double(out, v[count - 1]);
    add_double(out, sum);
}

static int64_t get_ints_stats(struct reader *in, int64_t four[4])
{
    uint64_t base = (uint64_t)num_unzigzag(reader_varint(in));
    four[0] = (int64_t)base;
    for (int i = 1; i < 4; i++) four[i] = (int64_t)(base + reader_varint(in));
    return num_unzigzag(reader_varint(in)); /* the upper half of the sum; the lower follows */
}

static void set_ints(struct sql_summary *s, enum type type, const int64_t four[4], __int128 sum)
{
    struct value *to[] = {&s->least, &s->most, &s->first, &s->last};
    for (int i = 0; i < 4; i++) {
        *to[i] = (struct value){.type = type};
        if (type == TYPE_BOOL)
            to[i]->b = four[i] != 0;
        else
            to[i]->i = four[i];
    }
    s->sum_int = sum;
}

static void set_doubles(struct sql_summary *s, const double five[5])
{
    struct value *to[] = {&s->least, &s->most, &s->first, &s->last};
    for (int i = 0; i < 4; i++) *to[i] = (struct value){.type = TYPE_DOUBLE, .d = five[i]};
    s->sum_double = five[4];
}

static bool get_decimal_stats(struct reader *in, unsigned e, struct sql_summary *s)
{
    int64_t four[4], high = get_ints_stats(in, four);
    __int128 sum = (__int128)high * ((__int128)1 << 64) + reader_varint(in);
    double power = codec_power(e), five[5];
    for (int i = 0; i < 4; i++) five[i] = (double)four[i] / power;
    five[4] = (double)sum / power;
    set_doubles(s, five);
    return isfinite(five[4]);
}

static bool get_double_stats(struct reader *in, struct sql_summary *s)
{
    double five[5];
    for (int i = 0; i < 5; i++) {
        uint64_t bits = reader_le64(in);
        memcpy(&five[i], &bits, sizeof bits);
        if (!isfinite(five[i])) return false;
    }
    set_doubles(s, five);
    return true;
}

bool part_column_summary(const struct part_column *column, uint32_t rows,
                         struct sql_summary *summary)
{
    *summary = (struct sql_summary){0};
    struct reader in = reader_of(column->stats.at, column->stats.size);
    unsigned form = reader_u8(&in);
    uint64_t nulls = reader_varint(&in);
    enum type type = (enum type)column->type;
    if (!reader_ok(&in) || nulls > rows || type >= TYPE_COUNT) return false;
    summary->count = rows - nulls;
    summary->has_values = form > STATS_COUNT && summary->count > 0;
    bool makes_sense = true;
    if (form == STATS_DOUBLES) {
        makes_sense = type == TYPE_DOUBLE && get_double_stats(&in, summary);
    } else if (form == STATS_INTS) {
        int64_t four[4], high = get_ints_stats(&in, four);
        set_ints(summary, type, four, (__int128)high * ((__int128)1 << 64) + reader_varint(&in));
        makes_sense = type_bytes(type) && type != TYPE_DOUBLE;
    } else if (form > STATS_INTS) {
        unsigned e = form - STATS_INTS - 1;
        makes_sense =
            type == TYPE_DOUBLE && e <= CODEC_DECIMALS_MAX && get_decimal_stats(&in, e, summary);
    }
    return makes_sense && reader_ok(&in) && form >= STATS_COUNT;
}

bool part_column_marks(const struct part_column *column, struct part_marks *marks)
{
    struct reader in = reader_of(column->stats.at, column->stats.size);
    unsigned form = reader_u8(&in);
    int64_t four[4];
    if (reader_varint(&in) || form < STATS_INTS || form > STATS_INTS + 1 + CODEC_DECIMALS_MAX)
        return false;
    int64_t high = get_ints_stats(&in, four);
    marks->sum = (int64_t)reader_varint(&in);
    marks->decimals = form == STATS_INTS ? 0 : form - STATS_INTS - 1;
    marks->marks = reader_str(&in, reader_left(&in));
    return reader_ok(&in) && marks->marks.size && high == (marks->sum < 0 ? -1 : 0);
}

bool part_column_ints(const struct part_column *column, struct reader *in, unsigned *decimals)
{
    *decimals = 0;
    if (column->codec != PART_CODEC_DENSE || reader_u8(in)) return false;
    if (column->type == TYPE_BIGINT) return true;
    if (column->type != TYPE_DOUBLE) return false;
    unsigned form = reader_u8(in);
    *decimals = form - CODEC_DECIMALS;
    return form >= CODEC_DECIMALS && *decimals <= CODEC_DECIMALS_MAX && !reader_varint(in) &&
           reader_ok(in);
}

/* ---- encoding ---- */

static void put_flags(struct codec *codec, const uint8_t *null, uint32_t count, struct buf *out)
{
    MUST(null);
    for (uint32_t i = 0; i < count; i++) codec->room->ints[i] = null[i] != 0;
    codec_put_ints(codec, codec->room->ints, count, out);
}

static void put_quality(struct codec *codec, const uint32_t *quality, uint32_t count,
                        struct buf *out)
{
    for (uint32_t i = 0; i < count; i++) codec->room->ints[i] = quality[i];
    codec_put_ints(codec, codec->room->ints, count, out);
}

/* The values that are not NULL, one behind the other, in `room` unless all are. */
static struct vector without_nulls(const struct vector *v, void *room)
{
    struct vector bare = *v;
    size_t element = vector_element_bytes(v->type);
    bare.null = NULL;
    bare.quality = NULL;
    if (!v->null) return bare;
    bare.count = 0;
    bare.data = room;
    for (uint32_t row = 0; row < v->count; row++)
        if (!v->null[row])
            memcpy((char *)room + bare.count++ * element, (const char *)v->data + row * element,
                   element);
    return bare;
}

/* A reader makes room for all slices of a column, however few bytes they are stored as. */
static bool is_too_large(const struct vector *v)
{
    size_t bytes = 0;
    for (uint32_t row = 0; row < v->count && bytes <= CODEC_TEXT_BYTES_MAX; row++)
        if (!v->null || !v->null[row]) bytes += v->s[row].size;
    return bytes > CODEC_TEXT_BYTES_MAX;
}

static void put_form(struct buf *stats, unsigned form, uint32_t nulls)
{
    buf_add_char(stats, (char)form);
    buf_add_varint(stats, nulls);
}

static void put_marks(const int64_t *values, uint32_t count, const struct buf *out, size_t mark,
                      struct buf *stats)
{
    if (buf_failed(out)) return;
    codec_put_marks((struct str){out->at + mark, out->size - mark}, values, count, stats);
}

static void put_values(struct codec *codec, const struct vector *v, uint32_t nulls, struct buf *out,
                       struct buf *stats)
{
    int64_t *ints = codec->room->ints;
    if (v->type == TYPE_DOUBLE) {
        size_t mark = out->size + 2; /* the form, no exceptions */
        int e = codec_put_doubles(codec, v->d, v->count, out);
        put_form(stats,
                 v->count == 0 ? STATS_COUNT
                 : e < 0       ? STATS_DOUBLES
                               : STATS_INTS + 1u + (unsigned)e,
                 nulls);
        if (v->count && e < 0) put_double_stats(v->d, v->count, stats);
        if (v->count && e >= 0) put_int_stats(ints, v->count, false, stats);
        if (e >= 0 && !nulls) put_marks(ints, v->count, out, mark, stats);
    } else if (type_bytes(v->type)) {
        for (uint32_t i = 0; v->type == TYPE_BOOL && i < v->count; i++) ints[i] = v->b[i] != 0;
        const int64_t *values = v->type == TYPE_BOOL ? ints : v->i;
        size_t mark = out->size;
        codec_put_ints(codec, values, v->count, out);
        put_form(stats, v->count ? STATS_INTS : STATS_COUNT, nulls);
        if (v->count) put_int_stats(values, v->count, v->type == TYPE_UBIGINT, stats);
        if (v->type == TYPE_BIGINT && !nulls) put_marks(values, v->count, out, mark, stats);
    } else {
        codec_put_slices(codec, v->s, v->count, out);
        put_form(stats, STATS_COUNT, nulls);
    }
}

enum err part_column_encode(struct codec *codec, const struct vector *v, struct buf *out,
                            struct buf *stats, struct part_column *column)
{
    MUST(v->count > 0 && v->count <= PART_BLOCK_ROWS && !v->is_constant);
    struct str room[PART_BLOCK_ROWS]; /* for the largest element */
    struct vector bare = *v;
    bool quality = false;
    if (!type_bytes(v->type) && is_too_large(v)) return ERR_LIMIT;
    if (v->null && !memchr(v->null, 1, v->count)) bare.null = NULL;
    for (uint32_t row = 0; v->quality && row < v->count && !quality; row++)
        quality = v->quality[row] != QUALITY_GOOD;
    size_t mark = out->size;
    bool nulls = bare.null != NULL;
    struct codec_habit *habit = codec->habit; /* of the values, not of NULLs and qualities */
    codec->habit = NULL;
    buf_add_char(out, (char)((nulls ? FLAG_NULLS : 0) | (quality ? FLAG_QUALITY : 0)));
    if (nulls) put_flags(codec, v->null, v->count, out);
    if (quality) put_quality(codec, v->quality, v->count, out);
    bare = without_nulls(&bare, room);
    codec->habit = habit;
    put_values(codec, &bare, v->count - bare.count, out, stats);
    codec->habit = NULL;
    if (buf_failed(out) || buf_failed(stats)) return ERR_NO_MEMORY;
    if (out->size - mark > PART_RAW_BYTES_MAX) return ERR_LIMIT;
    column->type = (uint8_t)v->type;
    column->codec = PART_CODEC_DENSE;
    column->size = column->raw_size = (uint32_t)(out->size - mark);
    column->crc = hash_crc32c(0, out->at + mark, column->size);
    return ERR_OK;
}

/* ---- decoding ---- */

static enum err get_flags(struct codec *codec, struct reader *in, struct vector *v,
                          struct arena *arena, struct why *why)
{
    int64_t *ints = codec->room->ints;
    if (!(v->null = arena_alloc(arena, v->count))) return ERR_BUDGET;
    enum err err = codec_get_ints(codec, in, v->count, ints, why);
    for (uint32_t i = 0; i < v->count && !err; i++) {
        if ((uint64_t)ints[i] > 1) return codec_bad(why, "a NULL flag above 1");
        v->null[i] = (uint8_t)ints[i];
    }
    return err;
}

static enum err get_quality(struct codec *codec, struct reader *in, struct vector *v,
                            struct arena *arena, struct why *why)
{
    int64_t *ints = codec->room->ints;
    if (!(v->quality = arena_alloc(arena, v->count * sizeof *v->quality))) return ERR_BUDGET;
    enum err err = codec_get_ints(codec, in, v->count, ints, why);
    for (uint32_t i = 0; i < v->count && !err; i++) {
        if ((uint64_t)ints[i] > UINT32_MAX ||
            (quality_is_bad((uint32_t)ints[i]) && !vector_is_null(v, i)))
            return codec_bad(why, "a value with bad quality");
        v->quality[i] = (uint32_t)ints[i];
    }
    return err;
}

/* Moves the values behind each other to the rows that are not NULL; the others become zero. */
static void spread(struct vector *v, uint32_t count)
{
    size_t element = vector_element_bytes(v->type);
    char *data = v->data;
    for (uint32_t row = v->count; row-- > 0;) {
        if (v->null[row])
            memset(data + row * element, 0, element);
        else if (--count != row)
            memcpy(data + row * element, data + count * element, element);
    }
}

static enum err get_values(struct codec *codec, struct reader *in, struct vector *v, uint32_t count,
                           struct arena *arena, struct why *why)
{
    enum err err;
    if (v->type == TYPE_DOUBLE) return codec_get_doubles(codec, in, count, v->d, why);
    if (!type_bytes(v->type))
        return codec_get_slices(codec, in, count, v->type == TYPE_DOUBLES ? 8 : 1, arena, v->s,
                                why);
    if (v->type != TYPE_BOOL) return codec_get_ints(codec, in, count, v->i, why);
    int64_t *ints = codec->room->ints;
    if ((err = codec_get_ints(codec, in, count, ints, why))) return err;
    for (uint32_t i = 0; i < count; i++) {
        if ((uint64_t)ints[i] > 1) return codec_bad(why, "a bool above 1");
        v->b[i] = (uint8_t)ints[i];
    }
    return ERR_OK;
}

static enum err decode_dense(struct codec *codec, struct reader *in, struct arena *arena,
                             struct vector *v, struct why *why)
{
    uint8_t flags = reader_u8(in);
    if (!reader_ok(in) || flags & ~FLAGS_ALL) return codec_bad(why, "bad flags");
    v->data = arena_alloc(arena, v->count * vector_element_bytes(v->type));
    if (!v->data) return ERR_BUDGET;
    enum err err = flags & FLAG_NULLS ? get_flags(codec, in, v, arena, why) : ERR_OK;
    if (!err && flags & FLAG_QUALITY) err = get_quality(codec, in, v, arena, why);
    if (err) return err;
    uint32_t count = v->count;
    for (uint32_t row = 0; v->null && row < v->count; row++) count -= v->null[row];
    err = get_values(codec, in, v, count, arena, why);
    if (!err && v->null) spread(v, count);
    return !err && reader_left(in) ? codec_bad(why, "bytes behind the values") : err;
}

enum err part_column_decode(struct codec *codec, const struct part_column *column,
                            const uint8_t *bytes, uint32_t rows, struct arena *arena,
                            struct vector *v, struct why *why)
{
    if (column->type == 0 || column->type >= TYPE_COUNT || column->codec > PART_CODEC_DENSE ||
        rows == 0 || rows > PART_BLOCK_ROWS || column->raw_size > PART_RAW_BYTES_MAX)
        return codec_bad(why, "unknown type, codec or size");
    *v = (struct vector){.type = (enum type)column->type, .count = rows};
    if (hash_crc32c(0, bytes, column->size) != column->crc)
        return codec_bad(why, "the checksum is wrong");
    if (column->codec != PART_CODEC_DENSE)
        return part_column_decode_v1(codec_unzstd(codec), column, bytes, arena, v, why);
    struct reader in = reader_of(bytes, column->size);
    return decode_dense(codec, &in, arena, v, why);
}
