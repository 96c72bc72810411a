/* codec.h - values of one column of one block as few bytes, and back.
 *
 * Two layers. `ints` stores any run of 64-bit integers; everything else is brought to it: doubles
 * that are decimals (industrial values are) as integers and a power of ten, other doubles as their
 * ordered bits, texts as numbers of a dictionary or as lengths, bools, NULL flags and qualities as
 * they are. Which way is the shortest is measured for every block, never configured.
 *
 * ints, bytes:
 *   u8 mode: bits 0-1 transform (0 none, 1 differences, 2 second differences), bits 2-4 layout,
 *   bit 5 a common factor; zigzag varint first value; factor: varint; second differences: zigzag
 *   varint of the first difference. Then the residuals (those of the values behind the first, or
 *   first two):
 *   FLAT: zigzag varint, what all of them are
 *   PACKED: per PACK_GROUP of them: zigzag varint least, u8 width, pack.h's bytes
 *   SPLIT: zigzag varint centre, u8 k, section of one byte each, pack.h's bytes of k bits each,
 *     ints-free list of escapes: the zigzag distance u from the centre is byte << k | low bits; a
 *     byte of 255 is an escape, whose u stands in the list as a varint
 *   RUNS (transform none, no factor): varint number of runs, ints values, ints lengths - 1
 *   BYTES: section of zigzag varints
 * section: varint stored size << 1 | squeezed, squeezed: varint size, the bytes (zstd if squeezed)
 *
 * doubles: u8 0 (bits), ints of the ordered bits; or u8 1 + e (decimals), varint number of
 * exceptions, per exception varint rows since the last one, 8 bytes; ints of value · 10^e. The
 * value is the integer divided by 10^e, correctly rounded, which is what reading the decimal text
 * gives: so no digit is lost. The idea of storing doubles as decimals with exceptions is that of
 * ALP (A. Afroozeh, L. Kuffo, P. Boncz, 2023).
 *
 * texts: u8 0, ints sizes, section; or u8 1 (dictionary), varint number of entries, ints their
 * sizes, section, ints numbers.
 *
 * Decoding trusts nothing. Thread: a codec belongs to one task. Private to store/. */
#ifndef STORE_CODEC_H
#define STORE_CODEC_H

#include "base/reader.h"
#include "data/vector.h"
#include <zstd.h>

enum {
    CODEC_VALUES_MAX = 4096,
    CODEC_TEXT_BYTES_MAX = 48 * 1024 * 1024, /* of one column of one block */
    CODEC_DECIMALS_MAX = 18,
    CODEC_DECIMALS = 1, /* first byte of doubles: + e for decimals */
};

struct codec_room; /* scratch */

/* What was shortest for a column's integers lately. */
struct codec_habit {
    uint8_t left; /* so many blocks more take it without measuring the rest; 0: measure all */
    uint8_t transform, layout;
    uint32_t
        packed; /* 64ths of a byte a value, packed: when that changes the habit does not hold */
};
enum { CODEC_HABITS = 256, CODEC_TRUSTED = 7 };

struct codec {
    ZSTD_CCtx *repeats, *frequency; /* writers only: looks for repeats; hardly does */
    ZSTD_DCtx *open;                /* made when first needed: codec_unzstd */
    struct codec_room *room;
    /* Writers: of the values that come next; NULL: all is measured. */
    struct codec_habit *habit;
};

/* For writing and reading, or for reading only. NO_MEMORY: nothing is held. */
enum err codec_open(struct codec *codec, bool for_writing);
void codec_close(struct codec *codec); /* of zeroed memory too */

/* Appends `count` ≤ CODEC_VALUES_MAX values; failure shows in `out`. */
void codec_put_ints(struct codec *codec, const int64_t *values, uint32_t count, struct buf *out);
enum err codec_get_ints(struct codec *codec, struct reader *in, uint32_t count, int64_t *values,
                        struct why *why);

/* Doubles are finite. Returns e when all are decimals; then room->ints holds value · 10^e; else -1.
 */
int codec_put_doubles(struct codec *codec, const double *values, uint32_t count, struct buf *out);
double codec_power(unsigned e); /* 10^e, e ≤ CODEC_DECIMALS_MAX */
/* Whether all may be the integers of decimals. */
bool codec_are_small(const int64_t *ints, uint32_t count);
enum err codec_get_doubles(struct codec *codec, struct reader *in, uint32_t count, double *values,
                           struct why *why);

/* `multiple` 8: slices are whole doubles and will be aligned. Read slices live in `arena`, or in
 * the input. */
void codec_put_slices(struct codec *codec, const struct str *values, uint32_t count,
                      struct buf *out);
enum err codec_get_slices(struct codec *codec, struct reader *in, uint32_t count, size_t multiple,
                          struct arena *arena, struct str *values, struct why *why);

/* ---- mini-blocks (codec_mini.c) ----
 *
 * The first value of a run of ints stands apart; mini-block k is the CODEC_MINI_VALUES values (the
 * last: fewer) behind value 128 k. Where the layout lets one be read without those before it, marks
 * say how: with them the sum of the values up to any of them takes one mini-block. Bytes of marks:
 *   differences only: list of the distances of value 128 k from value 128 (k - 1), k = 1 … n - 1
 *   list of the sums of mini-blocks 0 … n - 2, less what a straight line gives: through the values
 *     at both ends (differences), or the mean of all (values)
 * list: zigzag varint least, u8 width, pack.h's bytes. All in distances from the first value,
 * divided by the common factor. */
enum { CODEC_MINI_VALUES = 128, CODEC_MINIS_MAX = CODEC_VALUES_MAX / CODEC_MINI_VALUES };

/* An open one. Borrows what it was opened over, and the codec's room. */
struct codec_minis {
    struct codec *codec;
    uint32_t count, mini_count;
    uint8_t layout;
    bool is_delta;
    uint8_t low_bits;
    uint64_t first, base, factor;
    const uint8_t *plane, *low;
    struct reader escapes;
    uint8_t width[CODEC_MINIS_MAX];         /* PACKED */
    uint64_t least[CODEC_MINIS_MAX];        /* PACKED */
    const uint8_t *packed[CODEC_MINIS_MAX]; /* PACKED */
    uint64_t mark[CODEC_MINIS_MAX];         /* differences: the value before the mini-block */
    uint64_t before[CODEC_MINIS_MAX + 1];   /* sum of all values before it, modulo 2^64 */
    uint32_t held;                          /* the mini-block below; mini_count: none */
    uint64_t residuals[CODEC_MINI_VALUES];
};

/* Appends the marks of `values`, which `stored` codes (codec_put_ints wrote it), if they pay;
 * else nothing. */
void codec_put_marks(struct str stored, const int64_t *values, uint32_t count, struct buf *out);
/* `in`: where the ints begin; `sum`: of all values. CORRUPT; NO_MEMORY. */
enum err codec_minis_open(struct codec *codec, struct reader in, uint32_t count, struct str marks,
                          int64_t sum, struct codec_minis *minis, struct why *why);
/* The sum of the first `count` values, modulo 2^64; CORRUPT. */
enum err codec_minis_sum(struct codec_minis *minis, uint32_t count, uint64_t *sum, struct why *why);
/* The value `at`. CORRUPT. */
enum err codec_minis_value(struct codec_minis *minis, uint32_t at, int64_t *value, struct why *why);

/* Whether the ints are first + i · step, as times of a regular cycle are. `in` is left where it is.
 */
bool codec_is_line(struct reader in, int64_t *first, int64_t *step);

/* ---- between the codec's files ---- */

struct codec_room {
    int64_t values[CODEC_VALUES_MAX], lengths[CODEC_VALUES_MAX]; /* of runs */
    int64_t ints[CODEC_VALUES_MAX]; /* of doubles, sizes or numbers of texts */
    uint8_t plane[10 * CODEC_VALUES_MAX];
    /* Writers only from here on. */
    uint64_t residual[3][CODEC_VALUES_MAX]; /* by transform */
    struct buf trial[3], texts;
};

/* A section; `size_max` bounds what it may become. `*bytes` is in the input or in `room`
 * (size_max bytes). */
void codec_put_section(struct codec *codec, ZSTD_CCtx *press, struct str bytes, struct buf *out);
enum err codec_section_size(struct reader in, size_t *size); /* peeks */
enum err codec_get_section(struct codec *codec, struct reader *in, uint8_t *room, size_t size_max,
                           const uint8_t **bytes, size_t *size, struct why *why);
/* The context for decompressing; NULL: no memory. */
ZSTD_DCtx *codec_unzstd(struct codec *codec);
enum err codec_bad(struct why *why, const char *what);

#endif
