/* planner_test.c - claims about planner_plan. */
#include "collect/planner.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdlib.h>

static const struct planner_area areas[2] = {{.cells_max = 125, .gap_max = 8},
                                             {.cells_max = 2000, .gap_max = 128}};

struct plan {
    struct arena arena;
    struct planner_span *spans;
    size_t count;
};

static struct plan plan(struct planner_point *points, size_t count)
{
    struct plan p = {.count = 0};
    arena_init(&p.arena, NULL);
    assert_int_equal(planner_plan(points, count, areas, &p.arena, &p.spans, &p.count), ERR_OK);
    return p;
}

static void no_points_need_no_request(void **state)
{
    (void)state;
    struct plan p = plan(NULL, 0);
    assert_int_equal(p.count, 0);
    arena_free(&p.arena);
}

static void a_gap_is_bridged_up_to_the_limit(void **state)
{
    (void)state;
    struct planner_point near[] = {{1, 0, 0, 1, 0}, {1, 0, 9, 1, 1}},
                         far[] = {{1, 0, 0, 1, 0}, {1, 0, 10, 1, 1}};
    struct plan p = plan(near, 2), q = plan(far, 2);
    assert_int_equal(p.count, 1);
    assert_int_equal(p.spans[0].count, 10);
    assert_int_equal(q.count, 2);
    arena_free(&p.arena);
    arena_free(&q.arena);
}

static void a_value_is_never_split_at_the_size_limit(void **state)
{
    (void)state;
    struct planner_point points[63];
    for (uint32_t i = 0; i < 63; i++) points[i] = (struct planner_point){1, 0, i * 2, 2, i};
    struct plan p = plan(points, 63);
    assert_int_equal(p.count, 2);
    assert_int_equal(p.spans[0].count, 124); /* 125 would cut the 63rd value in two */
    assert_int_equal(p.spans[1].first, 124);
    assert_int_equal(p.spans[1].count, 2);
    arena_free(&p.arena);
}

static void stations_and_areas_are_not_mixed(void **state)
{
    (void)state;
    struct planner_point points[] = {
        {2, 0, 0, 1, 0}, {1, 0, 1, 1, 1}, {1, 1, 2, 1, 2}, {2, 0, 1, 1, 3}};
    struct plan p = plan(points, 4);
    assert_int_equal(p.count, 3);
    assert_int_equal(p.spans[2].station, 2);
    assert_int_equal(p.spans[2].point_count, 2);
    arena_free(&p.arena);
}

static void a_refused_point_is_read_alone_and_never_bridged(void **state)
{
    (void)state;
    struct planner_point points[] = {
        {1, 0, 0, 1, 0}, {1, 0, 1, 1, 1, .is_alone = true}, {1, 0, 2, 1, 2}};
    struct plan p = plan(points, 3);
    assert_int_equal(p.count, 3);
    arena_free(&p.arena);
}

static void a_gap_known_to_be_bad_is_not_bridged(void **state)
{
    (void)state;
    struct planner_point points[] = {
        {1, 0, 0, 1, 0}, {1, 0, 3, 1, 1, .starts_span = true}, {1, 0, 5, 1, 2}};
    struct plan p = plan(points, 3);
    assert_int_equal(p.count, 2);
    assert_int_equal(p.spans[1].count, 3);
    arena_free(&p.arena);
}

/* Whatever the points: each lies in exactly one span, whole, and no span is larger than a request
 * may be. */
static void every_point_lies_whole_in_one_span(void **state)
{
    (void)state;
    unsigned seed = 7;
    for (int round = 0; round < 500; round++) {
        struct planner_point points[60];
        for (uint32_t i = 0; i < 60; i++) {
            seed = seed * 1103515245u + 12345u;
            points[i] = (struct planner_point){
                seed >> 30, seed >> 29 & 1,   seed >> 8 & 0x1FF, 1 + (seed >> 4 & 3),
                i,          (seed & 63) == 0, (seed & 31) == 0};
        }
        struct plan p = plan(points, 60);
        size_t next = 0;
        for (size_t s = 0; s < p.count; s++) {
            const struct planner_span *span = &p.spans[s];
            assert_int_equal(span->point_first, next);
            assert_true(span->count <= areas[span->area].cells_max);
            for (; next < span->point_first + span->point_count; next++) {
                assert_int_equal(points[next].station, span->station);
                assert_int_equal(points[next].area, span->area);
                assert_true(points[next].first >= span->first);
                assert_true(points[next].first + points[next].count <= span->first + span->count);
            }
        }
        assert_int_equal(next, 60);
        arena_free(&p.arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_points_need_no_request),
        cmocka_unit_test(a_gap_is_bridged_up_to_the_limit),
        cmocka_unit_test(a_value_is_never_split_at_the_size_limit),
        cmocka_unit_test(stations_and_areas_are_not_mixed),
        cmocka_unit_test(a_refused_point_is_read_alone_and_never_bridged),
        cmocka_unit_test(a_gap_known_to_be_bad_is_not_bridged),
        cmocka_unit_test(every_point_lies_whole_in_one_span),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
