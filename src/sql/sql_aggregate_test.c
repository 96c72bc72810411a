/* sql_aggregate_test.c - aggregates: parts merge to the whole, for every row of the table; sketches
 * keep their promised error; what follows a value through time agrees with a slow model that knows
 * the whole curve. MILLRACE_TEST_SEED replays a run. */
#include "sql/func.h"
#include "sql/agg.h"
#include "sql/test_source.h"
#include "base/num.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

enum { VALUES = 200, RUN_SECONDS = 3 };
#define SECOND INT64_C(1000000000)

static uint64_t random_state;

static unsigned pick(unsigned n) /* splitmix64, S. Vigna: 0 … n - 1 */
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (unsigned)((z ^ z >> 31) % n);
}

static void begin(void)
{
    const char *seed = getenv("MILLRACE_TEST_SEED");
    random_state = seed ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL);
    print_message("MILLRACE_TEST_SEED=%llu\n", (unsigned long long)random_state);
}

/* ---- parts merge to the whole ---- */

static void make_values(struct vector *v, struct arena *arena, char letter)
{
    enum type type = letter == '.' || letter == 'A' ? TYPE_TEXT : function_letter_type(letter);
    assert_int_equal(vector_make(v, arena, type, VALUES, true, true), ERR_OK);
    v->count = VALUES;
    for (uint32_t r = 0; r < VALUES; r++) {
        int64_t n = (int64_t)pick(101) - 30;
        struct value value = {.type = type, .is_null = pick(7) == 3};
        if (type == TYPE_DOUBLE)
            value.d = (double)n / 4;
        else if (type == TYPE_TEXT)
            value.s = str_of(arena_printf(arena, "t%lld", (long long)n));
        else if (type == TYPE_BOOL)
            value.b = n > 0;
        else
            value.i = type == TYPE_UBIGINT ? n + 30 : n;
        vector_set(v, r, &value);
    }
}

/* Constants that each aggregate takes, by its letters. */
static void make_params(const struct aggregate *a, struct value *params)
{
    const char *bar = strchr(a->args, '|');
    for (size_t i = 0; bar && bar[1 + i]; i++) {
        params[i] = (struct value){.type = function_letter_type(bar[1 + i])};
        if (bar[1 + i] == 'd') params[i].d = 0.25 + 10 * (double)i;
        if (bar[1 + i] == 'i') params[i].i = 5;
        if (bar[1 + i] == 'D') params[i].i = SECOND;
        if (bar[1 + i] == 't') params[i].s = STR(", ");
    }
    if (bar && a->params_good) assert_true(a->params_good(params));
}

static bool same_value(const struct value *x, const struct value *y)
{
    if (x->is_null || y->is_null) return x->is_null && y->is_null;
    if (x->type == TYPE_DOUBLE) return fabs(x->d - y->d) <= 1e-9 * (1 + fabs(x->d));
    if (type_bytes(x->type) == 0) return str_equal(x->s, y->s);
    return value_compare(x, y) == 0;
}

/* Parts in the order of time are merged two neighbours at a time, in an order by chance, from the
 * left into the right or the reverse: all that a plan may do. Texts and arrays keep the order, so
 * for them the left takes in the right. */
static void merge_parts(const struct aggregate *a, char (*parts)[AGG_STATE_BYTES_MAX], size_t count,
                        bool ordered, struct arena *arena)
{
    while (count > 1) {
        size_t i = pick((unsigned)count - 1);
        bool right = !ordered && pick(2);
        assert_int_equal(a->merge(parts[right ? i + 1 : i], parts[right ? i : i + 1], arena),
                         ERR_OK);
        if (right) memcpy(parts[i], parts[i + 1], AGG_STATE_BYTES_MAX);
        memmove(parts[i + 1], parts[i + 2], (count - i - 2) * AGG_STATE_BYTES_MAX);
        count--;
    }
}

static void check_merge(const struct aggregate *a)
{
    _Alignas(16) char whole[AGG_STATE_BYTES_MAX] = {0}, parts[8][AGG_STATE_BYTES_MAX] = {{0}};
    int64_t times[VALUES];
    struct arena arena;
    struct vector v, second;
    struct value params[4] = {{0}}, x, y;
    arena_init(&arena, NULL);
    const char *bar = strchr(a->args, '|');
    size_t row_args = bar ? (size_t)(bar - a->args) : strlen(a->args);
    if (row_args > 0) make_values(&v, &arena, a->args[0]);
    if (row_args > 1) make_values(&second, &arena, a->args[1]);
    make_params(a, params);
    for (int i = 0; i < VALUES; i++) times[i] = i * SECOND;
    struct agg_run run = {.value = row_args > 0 ? &v : NULL,
                          .second = row_args > 1 ? &second : NULL,
                          .time = times,
                          .params = bar ? params : NULL,
                          .count = VALUES};
    assert_int_equal(a->add(whole, &run, &arena), ERR_OK);
    size_t count = 1 + pick(7);
    for (size_t i = 0; i < count; i++) {
        uint32_t next = i + 1 == count ? VALUES : run.from + pick(VALUES - run.from + 1);
        if (i == 0) run.from = 0, next = count == 1 ? VALUES : pick(VALUES);
        run.count = next - run.from;
        assert_int_equal(a->add(parts[i], &run, &arena), ERR_OK);
        run.from = next;
    }
    bool ordered = a->result == 'v' || strcmp(a->name, "string_agg") == 0;
    merge_parts(a, parts, count, ordered, &arena);
    assert_int_equal(a->final(whole, &x), ERR_OK);
    assert_int_equal(a->final(parts[0], &y), ERR_OK);
    if (!same_value(&x, &y)) fail_msg("%s(%s): parts do not merge to the whole", a->name, a->args);
    arena_free(&arena);
}

static void parts_merge_to_the_whole(void **state)
{
    size_t count;
    const struct aggregate *table = aggregate_table(&count);
    time_t until = time(NULL) + RUN_SECONDS;
    (void)state;
    begin();
    for (int round = 0; round < 20 || time(NULL) < until; round++)
        for (size_t i = 0; i < count; i++) {
            assert_true(table[i].state_bytes <= AGG_STATE_BYTES_MAX);
            check_merge(&table[i]);
        }
}

/* ---- sketches keep their promise ---- */

static const struct aggregate *find(const char *name)
{
    size_t count;
    const struct aggregate *table = aggregate_table(&count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(table[i].name, name) == 0) return &table[i];
    return NULL;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double gen(int shape)
{
    double u = (1 + pick(1000000)) / 1000001.0;
    switch (shape) {
    case 0: return u * 100;
    case 1: return -log(u) * 1e-6;   /* a long tail */
    case 2: return pow(u, -2);       /* a longer one */
    case 3: return (u - 0.5) * 2000; /* both signs */
    default: return pick(3) ? 20.5 : exp(u * 30) * (pick(2) ? 1 : -1);
    }
}

static void approximate_percentiles_are_within_one_per_cent(void **state)
{
    enum { N = 20000 };
    static double values[N];
    const struct aggregate *a = find("approx_percentile");
    (void)state;
    begin();
    for (int shape = 0; shape < 5; shape++) {
        for (int i = 0; i < N; i++) values[i] = gen(shape);
        for (int q = 0; q <= 20; q++) {
            _Alignas(16) char of[AGG_STATE_BYTES_MAX] = {0};
            struct arena arena;
            struct value share = {.type = TYPE_DOUBLE, .d = q / 20.0}, got;
            struct vector v = {.type = TYPE_DOUBLE, .count = N, .d = values};
            struct agg_run run = {.value = &v, .params = &share, .count = N};
            arena_init(&arena, NULL);
            assert_int_equal(a->add(of, &run, &arena), ERR_OK);
            assert_int_equal(a->final(of, &got), ERR_OK);
            arena_free(&arena);
            static double sorted[N];
            memcpy(sorted, values, sizeof sorted);
            qsort(sorted, N, sizeof *sorted, by_size);
            double exact = sorted[(size_t)floor(share.d * (N - 1))];
            if (fabs(got.d - exact) > 0.0100001 * fabs(exact))
                fail_msg("shape %d, %g: %g instead of %g", shape, share.d, got.d, exact);
        }
    }
}

static void approximate_counts_are_within_five_standard_errors(void **state)
{
    const struct aggregate *a = find("approx_count_distinct");
    (void)state;
    begin();
    for (int64_t n = 1; n < 300000; n = n * 3 + 1) {
        _Alignas(16) char of[AGG_STATE_BYTES_MAX] = {0};
        struct arena arena;
        struct value got;
        int64_t base = (int64_t)pick(1u << 31) << 20, value;
        struct vector v = {.type = TYPE_BIGINT, .count = 1, .i = &value};
        struct agg_run run = {.value = &v, .count = 1};
        arena_init(&arena, NULL);
        for (int64_t i = 0; i < 2 * n; i++) { /* each twice */
            value = base + i % n;
            assert_int_equal(a->add(of, &run, &arena), ERR_OK);
        }
        assert_int_equal(a->final(of, &got), ERR_OK);
        if (fabs((double)(got.i - n)) > 5 * 0.0163 * (double)n + 1)
            fail_msg("%lld instead of %lld", (long long)got.i, (long long)n);
        arena_free(&arena);
    }
}

/* ---- curves: the model knows all points of a device ---- */

enum { POINTS_MAX = 40 };
struct point {
    int64_t t; /* seconds */
    bool has_x, has_b, b;
    double x;
};
static struct point points[POINTS_MAX];
static int point_count;

static void make_curve(struct test_world *world)
{
    char text[256];
    test_world_init(world);
    test_world_must(world, "CREATE TABLE m (x double, b bool)");
    point_count = 0;
    int64_t t = pick(10);
    for (unsigned n = pick(POINTS_MAX); n > 0; n--, t += 1 + pick(pick(4) ? 5 : 40)) {
        struct point *p = &points[point_count++];
        *p = (struct point){.t = t,
                            .has_x = pick(4) != 0,
                            .has_b = pick(4) != 0,
                            .b = pick(2),
                            .x = pick(50) / 2.0};
        snprintf(
            text, sizeof text,
            "INSERT INTO m (time, device, x, b) VALUES (%lld::bigint::timestamp, 'd', %s%.1f%s, %s)",
            (long long)t * SECOND, p->has_x ? "" : "nullif(", p->x, p->has_x ? "" : ", 0) * NULL",
            !p->has_b ? "NULL"
            : p->b    ? "true"
                      : "false");
        if (!p->has_x) /* NULL in plain words */
            snprintf(
                text, sizeof text,
                "INSERT INTO m (time, device, x, b) VALUES (%lld::bigint::timestamp, 'd', NULL, %s)",
                (long long)t * SECOND,
                !p->has_b ? "NULL"
                : p->b    ? "true"
                          : "false");
        test_world_must(world, text);
    }
}

/* The value at any time between the first and the last one, by looking at all pairs. */
static bool curve(double t, bool step, double *value)
{
    const struct point *before = NULL, *after = NULL;
    for (int i = 0; i < point_count; i++) {
        if (!points[i].has_x) continue;
        if ((double)points[i].t <= t) before = &points[i];
        if ((double)points[i].t >= t && !after) after = &points[i];
    }
    if (!before || !after) return false;
    *value = before->x;
    if (!step && after->t > before->t)
        *value += (after->x - before->x) * (t - (double)before->t) / (double)(after->t - before->t);
    return true;
}

struct expected {
    bool any_x, any_b, has_rate, has_area, has_state; /* of x and b; a window may lie between two */
    double twa, step, integral, increase, rate, state;
    int64_t rows;
};

/* Half seconds: the middles of the curve's pieces, whose corners lie at whole seconds. */
static void areas(int64_t from, int64_t to, double *area, double *step_area, double *span)
{
    *area = *step_area = *span = 0;
    for (int64_t s = from; s < to; s++) {
        double middle, held;
        if (!curve((double)s + 0.5, false, &middle) || !curve((double)s + 0.5, true, &held))
            continue;
        *area += middle, *step_area += held, *span += 1;
    }
}

static double seconds_true(int64_t from, int64_t to)
{
    double total = 0;
    for (int64_t s = from; s < to; s++) {
        const struct point *before = NULL;
        bool later = false;
        for (int i = 0; i < point_count; i++) {
            if (!points[i].has_b) continue;
            if (points[i].t <= s) before = &points[i];
            if (points[i].t > s) later = true;
        }
        total += before && later && before->b;
    }
    return total;
}

static struct expected expect(int64_t from, int64_t to)
{
    struct expected e = {0};
    double span, last = 0;
    bool before_b = false, after_b = false;
    const struct point *previous = NULL, *base = NULL, *newest = NULL;
    areas(from, to, &e.twa, &e.step, &span);
    for (int i = 0; i < point_count; i++) {
        bool inside = points[i].t >= from && points[i].t < to;
        e.rows += inside;
        e.any_b |= inside && points[i].has_b;
        before_b |= points[i].has_b && points[i].t < from;
        after_b |= points[i].has_b && points[i].t >= to;
        if (!points[i].has_x) continue;
        if (inside && !e.any_x) base = previous ? previous : &points[i];
        if (inside && previous)
            e.increase += points[i].x >= previous->x ? points[i].x - previous->x : points[i].x;
        if (inside) e.any_x = true, newest = &points[i], last = points[i].x;
        previous = &points[i];
    }
    e.integral = e.twa;
    e.twa = span > 0 ? e.twa / span : last;
    e.step = span > 0 ? e.step / span : last;
    e.has_rate = base && newest && base != newest;
    if (e.has_rate) e.rate = e.increase / (double)(newest->t - base->t);
    e.has_area = e.any_x || span > 0;
    e.has_state = e.any_b || (before_b && after_b);
    e.state = seconds_true(from, to);
    return e;
}

static bool is_near(struct str text, bool has, double d)
{
    double got;
    if (!has) return str_is(text, "NULL");
    return num_parse_double(text, &got) && fabs(got - d) <= 1e-9 * (1 + fabs(d));
}

static void check_line(struct str line, int64_t width, const char *sql)
{
    struct str cell[8] = {{0}};
    int64_t start;
    for (int i = 0; i < 8; i++) assert_true(str_split(&line, '|', &cell[i]));
    assert_true(num_parse_i64(cell[0], &start));
    int64_t to = width ? start + width : 1000000, from = width ? start : -1000000;
    struct expected e = expect(width ? from : 0, width ? to : 2500);
    bool good = is_near(cell[1], true, (double)e.rows) && is_near(cell[2], e.has_area, e.twa) &&
                is_near(cell[3], e.has_area, e.step) && is_near(cell[4], e.has_area, e.integral) &&
                is_near(cell[5], e.has_rate, e.increase) && is_near(cell[6], e.has_rate, e.rate) &&
                is_near(cell[7], e.has_state, e.state * 1e9);
    if (good) return;
    for (int i = 0; i < point_count; i++)
        print_error("  %lld x=%g(%d) b=%d(%d)\n", (long long)points[i].t, points[i].x,
                    points[i].has_x, points[i].b, points[i].has_b);
    fail_msg("%s\nwindow %lld: got %.*s|…; wanted %lld|%g|%g|%g|%g|%g|%g", sql, (long long)start,
             (int)cell[7].size, cell[7].at, (long long)e.rows, e.twa, e.step, e.integral,
             e.increase, e.rate, e.state);
}

static void check_curve(struct test_world *world, int64_t width)
{
    char sql[512];
    struct buf out = BUF_EMPTY;
    struct why why = WHY_NONE;
    struct str rest, line;
    snprintf(
        sql, sizeof sql,
        "SELECT %s, count(*), twa(x), twa_step(x), integral(x), increase(x), rate(x), duration_in(b)::bigint FROM m %s",
        width ? "window_start::bigint / 1000000000" : "min(time)::bigint / 1000000000",
        width ? "PARTITION BY device WINDOW TUMBLE(" : "");
    if (width) snprintf(sql + strlen(sql), sizeof sql - strlen(sql), "%llds)", (long long)width);
    enum err err = test_world_sql(world, sql, strlen(sql), &out, &why);
    if (err) fail_msg("%s: %s", sql, why_text(&why, err));
    rest = str_trim(buf_str(&out));
    while (point_count > 0 && rest.size > 0 && str_split(&rest, '\n', &line))
        check_line(line, width, sql);
    buf_free(&out);
}

/* A value that stopped coming: each window waits for the next, and none is asked twice. */
static void work_grows_with_the_windows_and_not_with_their_square(void **state)
{
    enum { WINDOWS = 20000 };
    struct test_world world;
    struct buf text = BUF_EMPTY, out = BUF_EMPTY;
    static const char sql[] = "SELECT count(*), count(i) FROM (SELECT integral(x) AS i FROM m "
                              "PARTITION BY device WINDOW TUMBLE(1s)) AS q";
    struct why why = WHY_NONE;
    (void)state;
    test_world_init(&world);
    test_world_must(&world, "CREATE TABLE m (x double, b bool)");
    test_world_must(&world,
                    "INSERT INTO m (time, device, x) VALUES (0::bigint::timestamp, 'd', 1)");
    for (int i = 1; i <= WINDOWS; i += 1000) {
        buf_clear(&text);
        buf_add_text(&text, "INSERT INTO m (time, device, b) VALUES ");
        for (int k = 0; k < 1000; k++)
            buf_printf(&text, "%s(%d000000000::bigint::timestamp, 'd', true)", k ? "," : "", i + k);
        test_world_must(&world, buf_cstr(&text));
    }
    clock_t begun = clock();
    assert_int_equal(test_world_sql(&world, sql, strlen(sql), &out, &why), ERR_OK);
    double seconds = (double)(clock() - begun) / CLOCKS_PER_SEC;
    assert_string_equal(buf_cstr(&out), "20001|1\n");
    if (seconds > 1.5) print_error("%.1f s\n", seconds); /* 0.1 s; with sanitizers 0.4 s */
    assert_true(seconds < 1.5);
    buf_free(&text);
    buf_free(&out);
    test_world_free(&world);
}

static void curves_agree_with_a_model_that_knows_them_whole(void **state)
{
    time_t until = time(NULL) + RUN_SECONDS;
    int rounds = 0;
    (void)state;
    begin();
    for (; rounds < 20 || time(NULL) < until; rounds++) {
        struct test_world world;
        make_curve(&world);
        for (int i = 0; i < 3; i++) check_curve(&world, i == 0 ? 0 : 1 + pick(30));
        test_world_free(&world);
    }
    print_message("%d curves\n", rounds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_merge_to_the_whole),
        cmocka_unit_test(approximate_percentiles_are_within_one_per_cent),
        cmocka_unit_test(approximate_counts_are_within_five_standard_errors),
        cmocka_unit_test(curves_agree_with_a_model_that_knows_them_whole),
        cmocka_unit_test(work_grows_with_the_windows_and_not_with_their_square),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
