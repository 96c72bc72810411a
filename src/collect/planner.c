/* planner.c - see planner.h.
 *
 * One pass over the sorted points: each either extends the span under way or begins the next.
 * Points that overlap (a register read whole and bit by bit) share a span because the sort puts
 * them side by side. */
#include "collect/planner.h"
#include <stdlib.h>

static int compare_u32(uint32_t a, uint32_t b)
{
    return (a > b) - (a < b);
}

static int compare_points(const void *a, const void *b)
{
    const struct planner_point *x = a, *y = b;
    int c = compare_u32(x->station, y->station);
    if (!c) c = compare_u32(x->area, y->area);
    if (!c) c = compare_u32(x->first, y->first);
    if (!c) c = compare_u32(x->count, y->count);
    return c ? c : compare_u32(x->index, y->index); /* the same plan whatever the order given */
}

/* Extends `span` by `point`, or says that it cannot. */
static bool extend(struct planner_span *span, const struct planner_point *point,
                   const struct planner_area *area)
{
    if (span->station != point->station || span->area != point->area) return false;
    uint64_t span_end = (uint64_t)span->first + span->count;
    uint64_t point_end = (uint64_t)point->first + point->count;
    if (point->first > span_end && (point->starts_span || point->first - span_end > area->gap_max))
        return false;
    if (point->starts_span && point->first == span_end) return false;
    uint64_t end = point_end > span_end ? point_end : span_end;
    if (end - span->first > area->cells_max) return false;
    span->count = (uint32_t)(end - span->first);
    span->point_count++;
    return true;
}

enum err planner_plan(struct planner_point *points, size_t count, const struct planner_area *areas,
                      struct arena *arena, struct planner_span **spans, size_t *span_count)
{
    *span_count = 0;
    *spans = arena_alloc(arena, (count ? count : 1) * sizeof **spans);
    if (!*spans) return ERR_NO_MEMORY;
    if (count) qsort(points, count, sizeof *points, compare_points);
    bool closed = true; /* the last span takes no more points */
    for (size_t i = 0; i < count; i++) {
        const struct planner_point *p = &points[i];
        MUST(p->count >= 1);
        struct planner_span *last = *span_count ? &(*spans)[*span_count - 1] : NULL;
        if (!closed && !p->is_alone && extend(last, p, &areas[p->area])) continue;
        (*spans)[(*span_count)++] =
            (struct planner_span){p->station, p->area, p->first, p->count, i, 1};
        closed = p->is_alone;
    }
    return ERR_OK;
}
