/* sql_asof_test.c - claim: ASOF JOIN gives what a slow, obvious search gives.
 *
 * Rows and statements are made from a printed seed (MILLRACE_TEST_SEED replays it). The model looks
 * at every row of the right side for every row of the left one. */
#include "sql/test_source.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

enum { ROWS_MAX = 400, DEVICES = 3, RUN_SECONDS = 2 };

struct point {
    int device, group; /* group -1: NULL */
    int64_t time;
    int id;
};

static uint64_t random_state;

static unsigned pick(unsigned n) /* splitmix64, S. Vigna: 0 … n - 1 */
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (unsigned)((z ^ z >> 31) % n);
}

/* Times of one device never repeat: they are keys. */
static size_t make_points(struct point *points, int64_t spread)
{
    size_t count = pick(ROWS_MAX);
    int64_t times[DEVICES] = {0};
    for (size_t i = 0; i < count; i++) {
        int device = (int)pick(DEVICES);
        times[device] += 1 + pick((unsigned)spread);
        points[i] = (struct point){device, (int)pick(4) - 1, times[device], (int)i};
    }
    return count;
}

static void load(struct test_world *world, const char *table, const struct point *points,
                 size_t count)
{
    struct buf text = BUF_EMPTY;
    buf_printf(&text, "CREATE TABLE %s (id bigint, g bigint)", table);
    test_world_must(world, buf_cstr(&text));
    buf_clear(&text);
    buf_printf(&text, "INSERT INTO %s (time, device, id, g) VALUES ", table);
    for (size_t i = 0; i < count; i++) {
        buf_printf(&text, "%s(%lld::timestamp, 'd%d', %d, ", i ? ", " : "",
                   (long long)points[i].time, points[i].device, points[i].id);
        buf_printf(&text, points[i].group < 0 ? "NULL)" : "%d)", points[i].group);
    }
    if (count) test_world_must(world, buf_cstr(&text));
    buf_free(&text);
}

enum op { OP_GE, OP_GT, OP_LE, OP_LT, OP_COUNT };
static const char *const symbols[] = {">=", ">", "<=", "<"};

static bool holds(enum op op, int64_t a, int64_t b)
{
    return op == OP_GE ? a >= b : op == OP_GT ? a > b : op == OP_LE ? a <= b : a < b;
}

/* The nearest partner, -1: none. By device, or by the group (0: both must agree and be no NULL). */
static int model(const struct point *left, const struct point *right, size_t count, enum op op,
                 bool by_device, int64_t tolerance)
{
    int64_t best_distance = INT64_MAX;
    int best = -1;
    for (size_t i = 0; i < count; i++) {
        bool same = by_device ? right[i].device == left->device
                              : right[i].group >= 0 && right[i].group == left->group;
        int64_t distance = llabs(left->time - right[i].time);
        if (!same || !holds(op, left->time, right[i].time)) continue;
        if (tolerance && distance > tolerance) continue;
        if (distance < best_distance) best_distance = distance, best = right[i].id;
    }
    return best;
}

static void check_one(const struct point *left, size_t left_count, const struct point *right,
                      size_t right_count, struct test_world *world)
{
    enum op op = (enum op)pick(OP_COUNT);
    bool outer = pick(2), by_device = pick(2), turned = pick(2);
    int64_t tolerance = pick(3) ? 0 : 1 + pick(20);
    struct buf text = BUF_EMPTY, out = BUF_EMPTY, wanted = BUF_EMPTY;
    struct why why = WHY_NONE;
    static const enum op turn[] = {OP_LE, OP_LT, OP_GE, OP_GT};
    /* Times repeat among the devices of a group: which of them is nobody's promise, so the time is
     * compared, not the row. */
    buf_printf(&text, "SELECT l.id, %s FROM l ASOF %sJOIN r ON l.%s = r.%s AND ",
               by_device ? "r.id" : "abs(r.time::bigint - l.time::bigint)", outer ? "LEFT " : "",
               by_device ? "device" : "g", by_device ? "device" : "g");
    if (turned)
        buf_printf(&text, "r.time %s l.time", symbols[turn[op]]);
    else
        buf_printf(&text, "l.time %s r.time", symbols[op]);
    if (tolerance) buf_printf(&text, " TOLERANCE %lldns", (long long)tolerance);
    buf_add_text(&text, " ORDER BY 1");
    for (size_t i = 0; i < left_count; i++) {
        int found = model(&left[i], right, right_count, op, by_device, tolerance);
        if (found < 0 && !outer) continue;
        buf_printf(&wanted, "%d|", left[i].id);
        if (found < 0)
            buf_add_text(&wanted, "NULL\n");
        else
            buf_printf(&wanted, "%lld\n",
                       by_device ? (long long)found : llabs(right[found].time - left[i].time));
    }
    enum err err = test_world_sql(world, buf_cstr(&text), text.size, &out, &why);
    bool same = !err && strcmp(buf_cstr(&out), buf_cstr(&wanted)) == 0;
    if (!same)
        print_error("%s\n%s\nwanted:\n%.600s\ngot:\n%.600s\n", buf_cstr(&text),
                    err ? why_text(&why, err) : "", buf_cstr(&wanted), buf_cstr(&out));
    buf_free(&text);
    buf_free(&out);
    buf_free(&wanted);
    assert_true(same);
}

static void asof_join_finds_what_a_search_of_all_rows_finds(void **state)
{
    static struct point left[ROWS_MAX], right[ROWS_MAX];
    const char *given = getenv("MILLRACE_TEST_SEED");
    time_t start = time(NULL);
    unsigned statements = 0;
    random_state = given ? strtoull(given, NULL, 10) : (uint64_t)start;
    print_message("MILLRACE_TEST_SEED=%llu\n", (unsigned long long)random_state);
    (void)state;
    while (time(NULL) - start < RUN_SECONDS) {
        struct test_world world;
        test_world_init(&world);
        size_t left_count = make_points(left, 1 + pick(20)),
               right_count = make_points(right, 1 + pick(20));
        load(&world, "l", left, left_count);
        load(&world, "r", right, right_count);
        for (int i = 0; i < 20; i++, statements++)
            check_one(left, left_count, right, right_count, &world);
        test_world_free(&world);
    }
    print_message("%u statements\n", statements);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asof_join_finds_what_a_search_of_all_rows_finds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
