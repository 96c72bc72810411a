/* planner.h - which requests read a set of points: a pure function, shared by all polled protocols.
 *
 * Points of one station and area that lie close together become one span, one request. Reading a
 * few cells that nobody asked for (a gap) is cheaper than a second request; how many is the
 * connection's option maxGap. A span never exceeds what one request may carry, and a point is never
 * split.
 *
 * What polling has learned comes back in as marks on the points: `is_alone` (its address is
 * refused: read it by itself) and `starts_span` (the cells before it cannot be bridged). */
#ifndef COLLECT_PLANNER_H
#define COLLECT_PLANNER_H

#include "base/mem.h"
#include <stdbool.h>
#include <stdint.h>

struct planner_point {
    uint32_t station, area, first, count; /* count ≥ 1 */
    uint32_t index;                       /* the caller's */
    bool is_alone, starts_span;
};

struct planner_area {
    uint32_t cells_max; /* of one request; a longer point gets a span of its own */
    uint32_t gap_max;   /* cells that may lie unused between two points of a span */
};

struct planner_span {
    uint32_t station, area, first, count;
    size_t point_first, point_count; /* into the sorted points */
};

/* Sorts `points` by (station, area, first) and gives the spans that cover each of them exactly
 * once, in that order, allocated in `arena`. Points may overlap or be equal. Errors: NO_MEMORY.
 * Thread: any. */
enum err planner_plan(struct planner_point *points, size_t count, const struct planner_area *areas,
                      struct arena *arena, struct planner_span **spans, size_t *span_count);

#endif
