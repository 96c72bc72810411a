/* over_frame.c - frames: which rows around a row a window function sees.
 *
 * With constant bounds both ends of the frame only move forward from row to row, so a partition is
 * walked once. */
#include "sql/over_priv.h"

static uint32_t clamp(int64_t at, uint32_t count)
{
    return at < 0 ? 0 : at > count ? count : (uint32_t)at;
}

/* ---- ROWS, GROUPS ---- */

static int64_t sat_add(int64_t a, int64_t b)
{
    int64_t sum;
    if (__builtin_add_overflow(a, b, &sum)) return a > 0 ? INT64_MAX : INT64_MIN;
    return sum;
}

static int64_t signed_count(const struct over_bound *bound)
{
    return bound->kind == BOUND_PRECEDING   ? -bound->count
           : bound->kind == BOUND_FOLLOWING ? bound->count
                                            : 0;
}

/* The first position at or behind `start` whose group is not below (above: at most) `group`. */
static uint32_t skip_groups(const struct partition *p, uint32_t start, int64_t group, bool over)
{
    while (start < p->count && (over ? p->group[start] <= group : p->group[start] < group)) start++;
    return start;
}

/* ---- RANGE ---- */

/* Where the value at `at` stands to that of row `row` moved by the bound: <0, 0, >0. Doubles and
 * whole numbers alike; both are not NULL. */
static int compare_moved(const struct frames *f, uint32_t at, uint32_t row,
                         const struct over_bound *bound)
{
    const struct partition *p = f->partition;
    struct value x = rowset_get(p->set, p->rows[at], f->order_column);
    struct value y = rowset_get(p->set, p->rows[row], f->order_column);
    bool descending = f->spec->keys[0].descending;
    int sign = (bound->kind == BOUND_PRECEDING) != descending ? -1 : 1;
    if (bound->kind == BOUND_CURRENT_ROW) sign = 0;
    int order;
    if (x.type == TYPE_DOUBLE) {
        double limit = y.d + sign * bound->distance;
        order = (x.d > limit) - (x.d < limit);
    } else {
        int64_t limit = sat_add(y.i, sign * bound->count);
        order = (x.i > limit) - (x.i < limit);
    }
    return descending ? -order : order;
}

static bool is_null_at(const struct frames *f, uint32_t at)
{
    const struct partition *p = f->partition;
    return rowset_get(p->set, p->rows[at], f->order_column).is_null;
}

/* RANGE with a distance; rows whose value is NULL have their peers as frame. */
static uint32_t range_end(const struct frames *f, uint32_t start, uint32_t row,
                          const struct over_bound *bound, bool is_to)
{
    const struct partition *p = f->partition;
    uint32_t at = start;
    bool nulls_first = f->spec->keys[0].nulls_first;
    if (is_null_at(f, row)) return is_to ? p->peer_to[row] : p->peer_from[row];
    while (at < p->count) {
        if (is_null_at(f, at)) {
            if (!nulls_first) return at;
            at++;
            continue;
        }
        int order = compare_moved(f, at, row, bound);
        if (is_to ? order > 0 : order >= 0) return at;
        at++;
    }
    return at;
}

/* ---- either end ---- */

static uint32_t frame_end(const struct frames *f, uint32_t at, const struct over_bound *bound,
                          uint32_t start, bool is_to)
{
    const struct partition *p = f->partition;
    if (bound->kind == BOUND_UNBOUNDED_PRECEDING) return 0;
    if (bound->kind == BOUND_UNBOUNDED_FOLLOWING) return p->count;
    if (f->spec->unit == FRAME_ROWS)
        return clamp(sat_add((int64_t)at + (is_to ? 1 : 0), signed_count(bound)), p->count);
    if (bound->kind == BOUND_CURRENT_ROW) return is_to ? p->peer_to[at] : p->peer_from[at];
    if (f->spec->unit == FRAME_GROUPS)
        return skip_groups(p, start, sat_add((int64_t)p->group[at], signed_count(bound)), is_to);
    return range_end(f, start, at, bound, is_to);
}

void frames_move(struct frames *frames, uint32_t at)
{
    uint32_t from = frame_end(frames, at, &frames->spec->from, frames->from, false);
    uint32_t to = frame_end(frames, at, &frames->spec->to, frames->to, true);
    frames->from = from;
    frames->to = to;
    MUST(to <= frames->partition->count);
}
