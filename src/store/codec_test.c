/* codec_test.c - every value comes back, whatever the codec chose; and it chooses well where a
 * plant's signals are concerned. */
#include "base/mem.h"
#include "base/num.h"
#include "store/codec.h"
#include "store/pack.h"
#include "store/part_column.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

struct fixture {
    struct codec codec;
    struct buf out;
    struct arena arena;
    uint64_t seed;
};

static int set_up(void **state)
{
    struct fixture *f = mem_alloc_zero(1, sizeof *f);
    assert_non_null(f);
    assert_int_equal(codec_open(&f->codec, true), ERR_OK);
    arena_init(&f->arena, NULL);
    f->seed = 88172645463325252u;
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    codec_close(&f->codec);
    buf_free(&f->out);
    arena_free(&f->arena);
    mem_free(f);
    return 0;
}

static uint64_t next(struct fixture *f)
{
    f->seed ^= f->seed << 13;
    f->seed ^= f->seed >> 7;
    f->seed ^= f->seed << 17;
    return f->seed;
}

static double uniform(struct fixture *f)
{
    return (double)(next(f) >> 11) / 9007199254740992.0;
}

static double noise(struct fixture *f)
{
    return sqrt(-2 * log(uniform(f) + 1e-18)) * cos(6.283185307179586 * uniform(f));
}

/* ---- integers ---- */

static size_t check_ints(struct fixture *f, const int64_t *values, uint32_t count)
{
    int64_t back[CODEC_VALUES_MAX];
    buf_clear(&f->out);
    codec_put_ints(&f->codec, values, count, &f->out);
    assert_false(buf_failed(&f->out));
    /* Exactly its own bytes, so that reading too far is seen. */
    uint8_t *bytes = mem_dup(f->out.at ? f->out.at : "", f->out.size);
    struct reader in = reader_of(bytes, f->out.size);
    assert_int_equal(codec_get_ints(&f->codec, &in, count, back, NULL), ERR_OK);
    assert_int_equal(reader_left(&in), 0);
    if (count) assert_memory_equal(values, back, count * sizeof *values);
    mem_free(bytes);
    return f->out.size;
}

enum shape { CONSTANT, COUNTER, JITTER, STEPS, RARE, WILD, WALK, EXTREMES, REPEAT, SHAPES };

static void fill(struct fixture *f, enum shape shape, int64_t *v, uint32_t count)
{
    int64_t scale = (int64_t)1 << next(f) % 40, at = (int64_t)next(f) >> next(f) % 60;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t r = next(f);
        switch (shape) {
        case CONSTANT: break;
        case COUNTER: at += 10 * scale; break;
        case JITTER: at += 1000 * scale + (int64_t)(r % 7) * scale; break;
        case STEPS: at = r % 50 ? at : (int64_t)(r >> 8 & 15) * scale; break;
        case RARE: at = r % 200 ? (int64_t)(r >> 32 & 15) : (int64_t)(r >> (r % 64)); break;
        case WILD: at = (int64_t)r; break;
        case WALK: at = (int64_t)((uint64_t)at + r % 9 - 4); break;
        case EXTREMES: at = r % 3 == 0 ? INT64_MIN : r % 3 == 1 ? INT64_MAX : (int64_t)r; break;
        default: at = (int64_t)(i % 24) * (int64_t)(i % 24) * scale; break;
        }
        v[i] = at;
    }
}

static void integers_come_back(void **state)
{
    static const uint32_t counts[] = {0, 1, 2, 3, 7, 63, 64, 127, 128, 129, 180, 1080, 4095, 4096};
    struct fixture *f = *state;
    int64_t values[CODEC_VALUES_MAX];
    for (int round = 0; round < 6; round++)
        for (enum shape shape = CONSTANT; shape < SHAPES; shape++)
            for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
                fill(f, shape, values, counts[c]);
                check_ints(f, values, counts[c]);
            }
}

/* What a column was like lately says how its next blocks are coded, never what they hold. */
static void a_habit_changes_sizes_and_never_values(void **state)
{
    struct fixture *f = *state;
    int64_t values[CODEC_VALUES_MAX];
    struct codec_habit habit = {0};
    for (unsigned block = 0; block < 2000; block++) {
        bool changes = block % 7 == 0;
        static enum shape shape;
        if (changes) shape = (enum shape)(next(f) % SHAPES);
        uint32_t count = 1 + (uint32_t)(next(f) % 400);
        fill(f, shape, values, count);
        f->codec.habit = &habit;
        check_ints(f, values, count);
        assert_ptr_equal(f->codec.habit, &habit);
        assert_true(habit.left <= CODEC_TRUSTED);
    }
    f->codec.habit = NULL;
    for (enum shape shape = CONSTANT; shape < SHAPES; shape++) { /* a steady column loses little */
        size_t measured = 0, trusted = 0;
        habit = (struct codec_habit){0};
        for (unsigned block = 0; block < 40; block++) {
            fill(f, shape, values, 300);
            measured += check_ints(f, values, 300);
            f->codec.habit = &habit;
            trusted += check_ints(f, values, 300);
            f->codec.habit = NULL;
        }
        if (trusted > measured + measured / 8)
            fail_msg("shape %d: %zu, %zu", shape, trusted, measured);
    }
}

static void packed_groups_come_back_at_every_width(void **state)
{
    struct fixture *f = *state;
    uint64_t values[300], back[300];
    for (unsigned width = 0; width <= 64; width++)
        for (uint32_t count = 0; count < 300; count += 13) {
            for (uint32_t i = 0; i < count; i++) values[i] = width ? next(f) >> (64 - width) : 0;
            uint8_t *bytes = mem_alloc(pack_bytes(count, width));
            pack_put(bytes, values, count, width);
            pack_get(bytes, count, width, 5, 3, back);
            mem_free(bytes);
            for (uint32_t i = 0; i < count; i++) assert_int_equal(back[i], 5 + 3 * values[i]);
        }
}

/* ---- doubles ---- */

static size_t check_doubles(struct fixture *f, const double *values, uint32_t count)
{
    double back[CODEC_VALUES_MAX];
    buf_clear(&f->out);
    codec_put_doubles(&f->codec, values, count, &f->out);
    assert_false(buf_failed(&f->out));
    struct reader in = reader_of(f->out.at, f->out.size);
    assert_int_equal(codec_get_doubles(&f->codec, &in, count, back, NULL), ERR_OK);
    assert_int_equal(reader_left(&in), 0);
    assert_memory_equal(values, back, count * sizeof *values);
    return f->out.size;
}

static double decimal(double value, int digits)
{
    double power = pow(10, digits);
    return round(value * power) / power;
}

static void doubles_come_back_bit_for_bit(void **state)
{
    struct fixture *f = *state;
    double v[CODEC_VALUES_MAX];
    for (int round = 0; round < 60; round++) {
        uint32_t count = 1 + (uint32_t)(next(f) % CODEC_VALUES_MAX);
        for (uint32_t i = 0; i < count; i++) {
            uint64_t bits = next(f);
            switch (round % 6) {
            case 0: v[i] = decimal(20 + noise(f), round % 9); break;
            case 1: v[i] = sin(i * 0.01) * 1e-3; break;
            case 2: memcpy(&v[i], &bits, sizeof bits); break;
            case 3: v[i] = bits % 20 ? decimal(noise(f), 2) : -0.0; break;
            case 4: v[i] = bits % 40 ? decimal(noise(f) * 1e6, 3) : 0.1 + 0.2; break;
            default: v[i] = decimal(uniform(f), 15) * pow(10, (int)(bits % 30) - 15); break;
            }
            if (!isfinite(v[i])) v[i] = 1.5;
        }
        check_doubles(f, v, count);
    }
}

/* Values far beyond what an integer takes, among decimals: kept apart, whatever their bits are. */
static void huge_doubles_among_decimals_come_back(void **state)
{
    struct fixture *f = *state;
    double v[CODEC_VALUES_MAX];
    static const double huge[] = {-1e14,    -8.123e13, -9.4e299, 1e300,
                                  -1.7e308, 4e-320,    -2e19,    9.3e18};
    for (uint32_t i = 0; i < CODEC_VALUES_MAX; i++) {
        v[i] = decimal(uniform(f) * 100, 2);
        if (i % 200 == 7) v[i] = huge[i / 200 % (sizeof huge / sizeof huge[0])];
    }
    assert_true(check_doubles(f, v, CODEC_VALUES_MAX) < 4 * CODEC_VALUES_MAX);
}

/* Bits per value that a signal may take: what a good codec needs, and a tenth. */
static void a_plants_signals_are_short(void **state)
{
    struct fixture *f = *state;
    enum { N = 4096 };
    double quantised[N], noisy[N], counter[N], set_point[N], walk = 500;
    for (uint32_t i = 0; i < N; i++) {
        quantised[i] = decimal(20 + 5 * sin(i / 300.0), 1);
        uint32_t step = i / 700;
        noisy[i] = decimal(100 + noise(f), 1);
        walk += (double)(next(f) % 5);
        counter[i] = walk;
        set_point[i] = step * 2.5;
    }
    assert_true((double)check_doubles(f, quantised, N) * 8 / N < 0.7);
    assert_true((double)check_doubles(f, noisy, N) * 8 / N < 5.6);   /* entropy 5.37 */
    assert_true((double)check_doubles(f, counter, N) * 8 / N < 2.7); /* log2 5 = 2.32 */
    assert_true(check_doubles(f, set_point, N) < 40);
}

/* ---- columns: NULLs, qualities, texts, statistics ---- */

static void fill_column(struct fixture *f, struct vector *v, bool with_nulls)
{
    static const char *const words[] = {"run", "stop", "", "fault"};
    for (uint32_t row = 0; row < v->count; row++) {
        uint64_t r = next(f);
        bool null = with_nulls && r % 5 == 0;
        struct value value = {.type = v->type, .is_null = null};
        value.quality = null ? (r & 64 ? 0x80310000u : QUALITY_NO_DATA) : 0;
        if (v->type == TYPE_BOOL)
            value.b = r >> 8 & 1;
        else if (v->type == TYPE_DOUBLE)
            value.d = decimal(noise(f) * 100, (int)(f->seed % 3));
        else if (v->type == TYPE_TEXT)
            value.s = r % 9 ? str_of(words[r >> 8 & 3])
                            : (struct str){arena_dup(&f->arena, &f->seed, 8), 8};
        else if (v->type == TYPE_DOUBLES)
            value.s = (struct str){arena_dup(&f->arena, "12345678abcdefgh", 16), r % 3 * 8};
        else
            value.u = r >> (r % 64);
        vector_set(v, row, &value);
    }
}

static void check_summary(const struct part_column *column, const struct vector *v)
{
    struct sql_summary s;
    uint64_t count = 0;
    __int128 sum = 0;
    double least = INFINITY, most = -INFINITY, total = 0;
    assert_true(part_column_summary(column, v->count, &s));
    for (uint32_t row = 0; row < v->count; row++) {
        if (vector_is_null(v, row)) continue;
        count++;
        if (v->type == TYPE_UBIGINT) sum += v->u[row];
        if (v->type == TYPE_BIGINT || v->type == TYPE_TIMESTAMP) sum += v->i[row];
        if (v->type == TYPE_BOOL) sum += v->b[row];
        if (v->type != TYPE_DOUBLE) continue;
        least = fmin(least, v->d[row]);
        most = fmax(most, v->d[row]);
        total += v->d[row];
    }
    assert_int_equal(s.count, count);
    if (!type_bytes(v->type) || count == 0) return;
    assert_true(s.has_values);
    if (v->type != TYPE_DOUBLE) {
        assert_true(s.sum_int == sum);
        return;
    }
    assert_true(s.least.d == least && s.most.d == most);
    assert_true(fabs(s.sum_double - total) <= 1e-9 * (1 + fabs(total)));
}

static void columns_of_every_type_come_back_with_true_statistics(void **state)
{
    static const enum type types[] = {TYPE_BOOL,      TYPE_BIGINT, TYPE_UBIGINT, TYPE_DOUBLE,
                                      TYPE_TIMESTAMP, TYPE_TEXT,   TYPE_DOUBLES};
    struct fixture *f = *state;
    struct buf stats = BUF_EMPTY;
    for (size_t t = 0; t < sizeof types / sizeof types[0]; t++)
        for (int round = 0; round < 8; round++) {
            struct vector v, back;
            struct part_column column = {0};
            uint32_t count = round ? 1 + (uint32_t)(next(f) % PART_BLOCK_ROWS) : 1;
            assert_int_equal(vector_make(&v, &f->arena, types[t], count, true, true), ERR_OK);
            v.count = count;
            fill_column(f, &v, round % 2);
            buf_clear(&f->out);
            buf_clear(&stats);
            assert_int_equal(part_column_encode(&f->codec, &v, &f->out, &stats, &column), ERR_OK);
            assert_int_equal(part_column_decode(&f->codec, &column, (uint8_t *)f->out.at, count,
                                                &f->arena, &back, NULL),
                             ERR_OK);
            for (uint32_t row = 0; row < count; row++) {
                struct value a = vector_get(&v, row), b = vector_get(&back, row);
                assert_int_equal(a.is_null, b.is_null);
                assert_int_equal(a.quality, b.quality);
                if (a.is_null) continue;
                if (type_bytes(types[t]) == 0)
                    assert_true(str_equal(a.s, b.s));
                else
                    assert_true(types[t] == TYPE_BOOL ? a.b == b.b : a.u == b.u);
            }
            column.stats = buf_str(&stats);
            check_summary(&column, &v);
            arena_reset(&f->arena);
        }
    buf_free(&stats);
}

/* ---- parts of a block ---- */

/* Values that a block's marks can be about: mini-blocks of little, of much, with escapes. */
static void fill_limited(struct fixture *f, enum shape shape, int64_t *v, uint32_t count)
{
    fill(f, shape, v, count);
    for (uint32_t i = 0; i < count; i++) v[i] %= (int64_t)1 << 44;
}

/* Sums and values by marks. Returns whether there are any. */
static bool check_marks(struct fixture *f, const int64_t *values, uint32_t count)
{
    struct buf marks = BUF_EMPTY;
    struct codec_minis minis;
    buf_clear(&f->out);
    codec_put_ints(&f->codec, values, count, &f->out);
    codec_put_marks(buf_str(&f->out), values, count, &marks);
    bool has = marks.size > 0;
    int64_t all = 0, sum = 0;
    for (uint32_t i = 0; has && i < count; i++) all += values[i];
    if (has)
        assert_int_equal(codec_minis_open(&f->codec, reader_of(f->out.at, f->out.size), count,
                                          buf_str(&marks), all, &minis, NULL),
                         ERR_OK);
    for (uint32_t i = 0; has && i <= count; i++) {
        uint64_t given;
        int64_t value;
        if (i % 3 == 0) /* up and down */
            assert_int_equal(codec_minis_sum(&minis, count - i, &given, NULL), ERR_OK);
        assert_int_equal(codec_minis_sum(&minis, i, &given, NULL), ERR_OK);
        assert_true((int64_t)given == sum);
        if (i == count) break;
        assert_int_equal(codec_minis_value(&minis, i, &value, NULL), ERR_OK);
        assert_true(value == values[i]);
        sum += values[i];
    }
    buf_free(&marks);
    return has;
}

static void marks_give_the_sum_up_to_any_row(void **state)
{
    static const uint32_t counts[] = {129, 130, 256, 257, 258, 385, 1080, 4095, 4096};
    struct fixture *f = *state;
    int64_t values[CODEC_VALUES_MAX];
    unsigned marked = 0;
    for (int round = 0; round < 12; round++)
        for (enum shape shape = CONSTANT; shape < SHAPES; shape++)
            for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
                fill_limited(f, shape, values, counts[c]);
                marked += check_marks(f, values, counts[c]);
            }
    assert_true(marked > 200);
    marked = 0;
    for (int round = 0; round < 20; round++) { /* noise, and walks whose steps are coded by zstd */
        double at = 0;
        for (uint32_t i = 0; i < 1080; i++)
            values[i] = (int64_t)(round % 2 ? (at += noise(f) * 1.5) : noise(f) * 20);
        marked += check_marks(f, values, 1080); /* not where bytes are varints of two */
    }
    assert_true(marked > 15);
}

/* A summary of rows [from, to), value by value. */
static void check_range(const struct vector *v, uint32_t from, uint32_t to,
                        const struct part_ranges *ranges, const struct sql_summary *s)
{
    uint64_t count = 0;
    __int128 sum = 0;
    double total = 0, scale = 0;
    struct value least = {0}, most = {0}, first = {0}, last = {0};
    for (uint32_t row = from; row < to; row++) {
        struct value x = vector_get(v, row);
        if (x.is_null) continue;
        if (count++ == 0) least = most = first = x;
        last = x;
        if (!type_bytes(v->type)) continue;
        if (value_compare(&x, &least) < 0) least = x;
        if (value_compare(&x, &most) > 0) most = x;
        if (v->type == TYPE_DOUBLE) {
            total += x.d;
            scale += fabs(x.d);
        }
        if (v->type == TYPE_UBIGINT) sum += x.u;
        if (v->type == TYPE_BOOL) sum += x.b;
        if (v->type == TYPE_BIGINT || v->type == TYPE_TIMESTAMP) sum += x.i;
    }
    assert_int_equal(s->count, count);
    if (!type_bytes(v->type)) return;
    assert_int_equal(s->has_values, count > 0);
    if (!count) return;
    assert_true(v->type == TYPE_DOUBLE || s->sum_int == sum);
    assert_true(v->type != TYPE_DOUBLE || fabs(s->sum_double - total) <= 1e-12 * scale);
    assert_true(ranges->ignores_bounds ||
                (value_compare(&s->least, &least) == 0 && value_compare(&s->most, &most) == 0));
    assert_true(ranges->ignores_ends ||
                (value_compare(&s->first, &first) == 0 && value_compare(&s->last, &last) == 0));
}

/* Of some columns of each type; `*quick`: how often without decoding all values. */
static void check_ranges(struct fixture *f, const struct part_column *column,
                         const struct vector *v, unsigned *quick)
{
    enum { COUNT = 6, STRIDE = 3 };
    uint32_t ends[COUNT + 1] = {0};
    struct sql_summary out[COUNT * STRIDE];
    for (unsigned mode = 0; mode < 8; mode++) {
        struct part_ranges ranges = {COUNT, ends, mode & 1, mode & 2};
        bool done;
        ends[0] = mode & 4 ? (uint32_t)(next(f) % (v->count + 1)) : 0;
        for (int i = 1; i <= COUNT; i++)
            ends[i] = ends[i - 1] + (uint32_t)(next(f) % (v->count - ends[i - 1] + 1) / 2);
        if (mode & 2) ends[COUNT] = v->count;
        assert_int_equal(part_column_ranges(&f->codec, column, (uint8_t *)f->out.at, v->count,
                                            &ranges, out, STRIDE, &done, NULL),
                         ERR_OK);
        *quick += done;
        for (int i = 0; done && i < COUNT; i++)
            check_range(v, ends[i], ends[i + 1], &ranges, &out[i * STRIDE]);
        part_vector_ranges(v, &ranges, out, STRIDE);
        for (int i = 0; i < COUNT; i++)
            check_range(v, ends[i], ends[i + 1], &ranges, &out[i * STRIDE]);
    }
}

static void ranges_of_a_column_are_what_its_rows_say(void **state)
{
    static const enum type types[] = {TYPE_BOOL,   TYPE_BIGINT,    TYPE_UBIGINT,
                                      TYPE_DOUBLE, TYPE_TIMESTAMP, TYPE_TEXT};
    struct fixture *f = *state;
    struct buf stats = BUF_EMPTY;
    for (size_t t = 0; t < sizeof types / sizeof types[0]; t++) {
        unsigned quick = 0;
        for (int round = 0; round < 24; round++) {
            struct vector v;
            struct part_column column = {0};
            uint32_t count = 1 + (uint32_t)(next(f) % PART_BLOCK_ROWS);
            bool nulls = round % 3 == 0;
            assert_int_equal(vector_make(&v, &f->arena, types[t], count, nulls, nulls), ERR_OK);
            v.count = count;
            if (nulls) fill_column(f, &v, round % 2);
            if (!nulls && types[t] == TYPE_DOUBLE)
                for (uint32_t i = 0; i < count; i++) v.d[i] = decimal(noise(f) * 20, round % 4);
            if (!nulls && types[t] == TYPE_BIGINT)
                fill(f, (enum shape)(next(f) % SHAPES), v.i, count);
            if (!nulls && types[t] != TYPE_DOUBLE && types[t] != TYPE_BIGINT)
                memset(v.data, 0, count * vector_element_bytes(types[t]));
            buf_clear(&f->out);
            buf_clear(&stats);
            assert_int_equal(part_column_encode(&f->codec, &v, &f->out, &stats, &column), ERR_OK);
            column.stats = buf_str(&stats);
            check_ranges(f, &column, &v, &quick);
            arena_reset(&f->arena);
        }
        if (types[t] == TYPE_DOUBLE || types[t] == TYPE_BIGINT) assert_true(quick > 40);
    }
    buf_free(&stats);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(integers_come_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_habit_changes_sizes_and_never_values, set_up, tear_down),
        cmocka_unit_test_setup_teardown(packed_groups_come_back_at_every_width, set_up, tear_down),
        cmocka_unit_test_setup_teardown(doubles_come_back_bit_for_bit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(huge_doubles_among_decimals_come_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_plants_signals_are_short, set_up, tear_down),
        cmocka_unit_test_setup_teardown(columns_of_every_type_come_back_with_true_statistics,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(marks_give_the_sum_up_to_any_row, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ranges_of_a_column_are_what_its_rows_say, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests_name("codec", tests, NULL, NULL);
}
