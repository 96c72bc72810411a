/* codec_mini.c - single mini-blocks of a run of integers; see codec.h.
 *
 * A window that ends inside a block needs the sums of what lies before and behind its end. With the
 * sum of each mini-block known, only the one that holds the end has to be decoded. That works
 * where the residuals of a mini-block can be found without decoding those before it (packed groups,
 * split planes, bytes; not runs, which are quick anyway, nor second differences) and, where they
 * are differences, with the value before it at hand.
 *
 * Marks are numbers of their own beside the coded bytes, which do not change: who does not know
 * them, reads the column as ever. They are not trusted: what is wrong in them makes wrong sums, as
 * it does in any statistics, and nothing worse; all arithmetic is modulo 2^64.
 *
 * Called by: part_column.c (writing marks), part_range.c (reading). Owns nothing: an open one
 * borrows the stored bytes, and the codec's room for a pressed plane, so the codec decodes nothing
 * else meanwhile. Invariant: mini-block k ends where k + 1 begins; `held` names the one whose
 * residuals are there, mini_count none. */
#include "base/num.h"
#include "base/simd.h"
#include "store/codec_ints.h"
#include "store/pack.h"
#include <string.h>

enum { MARKS_SHARE = 8 /* more than one in so many bytes does not pay */ };
/* With values up to it nothing below leaves 63 bits. */
#define VALUE_LIMIT ((int64_t)1 << 45)

_Static_assert((int)CODEC_MINI_VALUES == (int)PACK_GROUP, "a mini-block is one packed group");

static uint32_t residuals_of(const struct codec_minis *m, uint32_t mini)
{
    uint32_t left = m->count - 1 - mini * CODEC_MINI_VALUES;
    return left < CODEC_MINI_VALUES ? left : CODEC_MINI_VALUES;
}

/* Reads what stands before the residuals. False: they have no mini-blocks, or only one. */
static bool read_head(struct reader *in, uint32_t count, struct codec_minis *m)
{
    unsigned mode = reader_u8(in);
    enum transform transform = mode & 3;
    m->count = count;
    m->layout = mode >> 2 & 7;
    m->low_bits = 0;
    m->factor = 1;
    m->first = (uint64_t)num_unzigzag(reader_varint(in));
    if (mode & FACTOR_FLAG) m->factor = reader_varint(in);
    m->is_delta = transform == DELTA;
    m->base = m->is_delta ? 0 : m->first;
    m->mini_count = (count + CODEC_MINI_VALUES - 2) / CODEC_MINI_VALUES;
    m->held = m->mini_count;
    bool has_groups = m->layout == PACKED || m->layout == SPLIT || m->layout == BYTES;
    return reader_ok(in) && !(mode & ~63u) && transform <= DELTA && has_groups &&
           (int64_t)m->factor > 0 && m->mini_count > 1 && count <= CODEC_VALUES_MAX;
}

bool codec_is_line(struct reader in, int64_t *first, int64_t *step)
{
    unsigned mode = reader_u8(&in);
    uint64_t factor = 1;
    *first = num_unzigzag(reader_varint(&in));
    if (mode & FACTOR_FLAG) factor = reader_varint(&in);
    *step = (int64_t)((uint64_t)num_unzigzag(reader_varint(&in)) * factor);
    return (mode & ~(unsigned)FACTOR_FLAG) == (DELTA | FLAT << 2) && reader_ok(&in) &&
           !reader_left(&in);
}

/* What the sum of a mini-block of distances is expected to be. */
static int64_t expect(const struct codec_minis *m, uint32_t mini, const int64_t *ends, int64_t all)
{
    enum { HALF = CODEC_MINI_VALUES / 2 };
    if (m->is_delta) return (int64_t)(((uint64_t)ends[mini] + (uint64_t)ends[mini + 1]) * HALF);
    int64_t whole = all / m->count, rest = all % m->count;
    return (int64_t)((uint64_t)whole * CODEC_MINI_VALUES) + rest * CODEC_MINI_VALUES / m->count;
}

/* ---- writing ---- */

static void put_list(const int64_t *values, uint32_t count, struct buf *out)
{
    MUST(count > 0 && count < CODEC_MINIS_MAX);
    uint64_t packed[CODEC_MINIS_MAX], any = 0;
    int64_t least = values[0];
    for (uint32_t i = 1; i < count; i++) least = values[i] < least ? values[i] : least;
    for (uint32_t i = 0; i < count; i++) any |= packed[i] = (uint64_t)values[i] - (uint64_t)least;
    unsigned width = pack_width(any);
    buf_add_varint(out, num_zigzag(least));
    buf_add_char(out, (char)width);
    if (!buf_reserve(out, pack_bytes(count, width))) return;
    pack_put((uint8_t *)out->at + out->size, packed, count, width);
    out->size += pack_bytes(count, width);
}

SIMD_CLONES static bool are_limited(const int64_t *values, uint32_t count)
{
    uint64_t beyond = 0;
    for (uint32_t i = 0; i < count; i++)
        beyond |= ((uint64_t)values[i] + (uint64_t)VALUE_LIMIT) & ~(2 * (uint64_t)VALUE_LIMIT - 1);
    return beyond == 0;
}

SIMD_CLONES static int64_t sum_of(const int64_t *values, uint32_t count)
{
    int64_t sum = 0;
    for (uint32_t i = 0; i < count; i++) sum += values[i];
    return sum;
}

/* Whether each residual is one byte: only then they can be told apart from the middle. */
static bool is_bytewise(const struct codec_minis *m, struct reader in)
{
    size_t size = 0;
    return m->layout != BYTES || (!codec_section_size(in, &size) && size == m->count - 1);
}

void codec_put_marks(struct str stored, const int64_t *values, uint32_t count, struct buf *out)
{
    struct reader in = reader_of(stored.at, stored.size);
    struct codec_minis m;
    if (!read_head(&in, count, &m) || !is_bytewise(&m, in) || !are_limited(values, count)) return;
    int64_t ends[CODEC_MINIS_MAX + 1], steps[CODEC_MINIS_MAX], sums[CODEC_MINIS_MAX], all = 0;
    int64_t factor = (int64_t)m.factor, first = values[0];
    for (uint32_t k = 0; k < m.mini_count; k++) {
        const int64_t *of_mini = values + k * CODEC_MINI_VALUES + 1;
        uint32_t n = residuals_of(&m, k);
        all += sums[k] = (sum_of(of_mini, n) - n * first) / factor;
        ends[k] = (of_mini[-1] - first) / factor;
    }
    uint32_t last = m.mini_count - 1;
    size_t mark = out->size;
    for (uint32_t k = 0; k < last; k++) {
        sums[k] -= expect(&m, k, ends, all);
        steps[k] = ends[k + 1] - ends[k];
    }
    if (m.is_delta) put_list(steps, last, out);
    put_list(sums, last, out);
    if ((out->size - mark) * MARKS_SHARE > stored.size) out->size = mark;
}

/* ---- reading ---- */

static bool get_list(struct reader *in, uint32_t count, int64_t *values)
{
    uint64_t least = (uint64_t)num_unzigzag(reader_varint(in));
    unsigned width = reader_u8(in);
    const uint8_t *bytes = width <= 64 ? reader_take(in, pack_bytes(count, width)) : NULL;
    if (bytes) pack_get(bytes, count, width, least, 1, (uint64_t *)values);
    return bytes != NULL;
}

/* Where the groups stand. */
static bool find_packed(struct codec_minis *m, struct reader *in)
{
    for (uint32_t k = 0; k < m->mini_count; k++) {
        m->least[k] = (uint64_t)num_unzigzag(reader_varint(in));
        m->width[k] = reader_u8(in);
        if (m->width[k] > 64) return false;
        m->packed[k] = reader_take(in, pack_bytes(residuals_of(m, k), m->width[k]));
        if (!m->packed[k]) return false;
    }
    return true;
}

static enum err find_planes(struct codec_minis *m, struct reader *in, struct why *why)
{
    size_t size = 0;
    if (m->layout == SPLIT) {
        m->base += (uint64_t)num_unzigzag(reader_varint(in)) * m->factor;
        m->low_bits = reader_u8(in);
    }
    enum err err = codec_get_section(m->codec, in, m->codec->room->plane, CODEC_VALUES_MAX,
                                     &m->plane, &size, why);
    if (err) return err;
    m->low = m->low_bits <= 56 ? reader_take(in, pack_bytes(m->count - 1, m->low_bits)) : NULL;
    m->escapes = *in;
    return m->low && size == m->count - 1 ? ERR_OK : codec_bad(why, "split values end early");
}

/* The sums and ends from the marks. */
static bool read_marks(struct codec_minis *m, struct str marks, int64_t sum)
{
    struct reader in = reader_of(marks.at, marks.size);
    int64_t steps[CODEC_MINIS_MAX], sums[CODEC_MINIS_MAX], ends[CODEC_MINIS_MAX + 1] = {0};
    uint32_t last = m->mini_count - 1;
    if (m->is_delta && !get_list(&in, last, steps)) return false;
    if (!get_list(&in, last, sums) || reader_left(&in)) return false;
    for (uint32_t k = 0; m->is_delta && k < last; k++)
        ends[k + 1] = (int64_t)((uint64_t)ends[k] + (uint64_t)steps[k]);
    int64_t all = (int64_t)((uint64_t)sum - m->count * m->first) / (int64_t)m->factor;
    m->before[0] = m->first;
    for (uint32_t k = 0; k < last; k++) {
        uint64_t of_mini = (uint64_t)sums[k] + (uint64_t)expect(m, k, ends, all);
        m->before[k + 1] =
            m->before[k] + of_mini * m->factor + m->first * (uint64_t)CODEC_MINI_VALUES;
        m->mark[k] = m->first + (uint64_t)ends[k] * m->factor;
    }
    m->mark[last] = m->first + (uint64_t)ends[last] * m->factor;
    m->before[m->mini_count] = (uint64_t)sum;
    return true;
}

enum err codec_minis_open(struct codec *codec, struct reader in, uint32_t count, struct str marks,
                          int64_t sum, struct codec_minis *minis, struct why *why)
{
    if (!read_head(&in, count, minis) || !read_marks(minis, marks, sum))
        return codec_bad(why, "its marks are wrong");
    minis->codec = codec;
    if (minis->layout != PACKED) return find_planes(minis, &in, why);
    return find_packed(minis, &in) ? ERR_OK : codec_bad(why, "packed values end early");
}

/* Escapes stand in one list behind all mini-blocks. */
static bool put_in_escapes(const struct codec_minis *m, const uint8_t *plane, uint32_t n,
                           uint64_t *values)
{
    struct reader in = m->escapes;
    if (!memchr(plane, ESCAPE, n)) return true;
    for (const uint8_t *at = m->plane; (at = memchr(at, ESCAPE, (size_t)(plane - at))); at++)
        (void)reader_varint(&in);
    for (uint32_t i = 0; i < n; i++)
        if (plane[i] == ESCAPE)
            values[i] = m->base + (uint64_t)num_unzigzag(reader_varint(&in)) * m->factor;
    return reader_ok(&in);
}

/* Makes `residuals` those of the mini-block: its values, or the differences between them. */
static enum err hold(struct codec_minis *m, uint32_t mini, struct why *why)
{
    MUST(mini < m->mini_count);
    if (m->held == mini) return ERR_OK;
    uint32_t n = residuals_of(m, mini);
    m->held = m->mini_count;
    if (m->layout == PACKED) {
        pack_get(m->packed[mini], n, m->width[mini], m->base + m->least[mini] * m->factor,
                 m->factor, m->residuals);
    } else {
        const uint8_t *plane = m->plane + mini * CODEC_MINI_VALUES;
        pack_get(m->low + pack_bytes(mini * CODEC_MINI_VALUES, m->low_bits), n, m->low_bits, 0, 1,
                 m->residuals);
        codec_join_planes(plane, m->low_bits, n, m->base, m->factor, m->residuals);
        if (m->layout == SPLIT && !put_in_escapes(m, plane, n, m->residuals))
            return codec_bad(why, "escapes end early");
    }
    m->held = mini;
    return ERR_OK;
}

/* Each difference counts once for every value from it to the last. */
static uint64_t sum_held(const struct codec_minis *m, uint32_t count)
{
    uint64_t sum = m->is_delta ? m->mark[m->held] * count : 0;
    MUST(m->held < m->mini_count && count <= CODEC_MINI_VALUES);
    if (m->is_delta)
        for (uint32_t i = 0; i < count; i++) sum += m->residuals[i] * (count - i);
    else
        for (uint32_t i = 0; i < count; i++) sum += m->residuals[i];
    return sum;
}

enum err codec_minis_sum(struct codec_minis *minis, uint32_t count, uint64_t *sum, struct why *why)
{
    MUST(count <= minis->count);
    if (count == 0 || count == minis->count) {
        *sum = count ? minis->before[minis->mini_count] : 0;
        return ERR_OK;
    }
    uint32_t mini = (count - 1) / CODEC_MINI_VALUES, of_mini = (count - 1) % CODEC_MINI_VALUES;
    *sum = minis->before[mini];
    if (of_mini == 0) return ERR_OK;
    enum err err = hold(minis, mini, why);
    if (!err) *sum += sum_held(minis, of_mini);
    return err;
}

enum err codec_minis_value(struct codec_minis *minis, uint32_t at, int64_t *value, struct why *why)
{
    MUST(at < minis->count);
    *value = (int64_t)minis->first;
    if (at == 0) return ERR_OK;
    uint32_t last = (at - 1) % CODEC_MINI_VALUES;
    enum err err = hold(minis, (at - 1) / CODEC_MINI_VALUES, why);
    if (err) return err;
    uint64_t sum = minis->is_delta ? minis->mark[minis->held] : 0;
    for (uint32_t i = minis->is_delta ? 0 : last; i <= last; i++) sum += minis->residuals[i];
    *value = (int64_t)sum;
    return ERR_OK;
}
