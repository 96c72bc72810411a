/* agg_series.c - aggregates that follow one value through time: time-weighted averages, integrals,
 * rates of counters, time in a state.
 *
 * One state, struct points, serves all but the last: it sums areas and growth between neighbouring
 * values as they come; each aggregate's `final` reads from it what it needs. NULLs are passed over.
 *
 * The bounds of windows. Between two windows of time (TUMBLE, time_bucket) of one device the value
 * goes on: the op tells a window the last value before it (follow) and the first behind it
 * (complete), so that areas reach from bound to bound:
 *   twa, integral      on the straight line between the values on both sides of the bound;
 *   twa_step           with the earlier value until the later one comes;
 *   increase, rate     count from the last value before the window, so that windows add up.
 * At a device's first value before and last value behind nothing is made up: areas begin and end
 * there. A counter that falls has been reset and counted up from zero. */
#include "sql/agg.h"
#include <math.h>

static inline uint32_t row_of(const struct agg_run *run, uint32_t k)
{
    return run->rows ? run->rows[run->from + k] : run->from + k;
}

struct points {
    int64_t first_t, last_t, prev_t, before_t, after_t, from, to;
    double first, last, prev, before, after;
    double area, step_area; /* value × ns: under the line, and with each value held */
    double increase;
    double unit_ns;
    uint32_t count, series;
    bool has_before, has_after, has_window;
};
_Static_assert(sizeof(struct points) <= 160, "the table says 160 bytes");

static double growth(double from, double to)
{
    return to >= from ? to - from : to;
}

static double on_line(int64_t t0, double v0, int64_t t1, double v1, int64_t at)
{
    return v0 + (v1 - v0) * (((double)at - (double)t0) / ((double)t1 - (double)t0));
}

static void link_points(struct points *p, int64_t t, double v)
{
    double dt = (double)t - (double)p->last_t;
    p->area += (p->last + v) / 2 * dt;
    p->step_area += p->last * dt;
    p->increase += growth(p->last, v);
}

static enum err check_run(const struct agg_run *run, uint32_t count, uint32_t *series)
{
    if (!run->time) return ERR_UNSUPPORTED; /* rows without time: op_group.c has the words */
    if (count > 0 && *series != run->series) return ERR_GROUPING;
    *series = run->series;
    return ERR_OK;
}

bool agg_is_unit(const struct value *params)
{
    return params[0].i > 0;
}

enum err agg_points_add(void *state, const struct agg_run *run, struct arena *memory)
{
    struct points *p = state;
    (void)memory;
    enum err err = check_run(run, p->count, &p->series);
    if (err) return err;
    p->unit_ns = run->params ? (double)run->params[0].i : 1e9;
    p->has_window = run->has_window;
    p->from = run->window_from, p->to = run->window_to;
    for (uint32_t k = 0; k < run->count; k++) {
        uint32_t row = row_of(run, k);
        if (run->value->null && run->value->null[row]) continue;
        int64_t t = run->time[row];
        double v = run->value->d[row];
        if (p->count > 0)
            link_points(p, t, v);
        else
            p->first_t = t, p->first = v;
        p->prev_t = p->last_t, p->prev = p->last;
        p->last_t = t, p->last = v;
        p->count++;
    }
    return ERR_OK;
}

/* The two are of different stretches of time. */
enum err agg_points_merge(void *into, const void *from, struct arena *memory)
{
    struct points *to = into;
    const struct points *other = from;
    (void)memory;
    if (other->count == 0) return ERR_OK;
    if (to->count == 0) {
        *to = *other;
        return ERR_OK;
    }
    struct points early = to->first_t <= other->first_t ? *to : *other;
    const struct points late = to->first_t <= other->first_t ? *other : *to;
    struct points both = early;
    link_points(&both, late.first_t, late.first);
    both.area += late.area;
    both.step_area += late.step_area;
    both.increase += late.increase;
    both.prev_t = late.count > 1 ? late.prev_t : early.last_t;
    both.prev = late.count > 1 ? late.prev : early.last;
    both.last_t = late.last_t, both.last = late.last;
    both.count += late.count;
    both.has_after = late.has_after, both.after_t = late.after_t, both.after = late.after;
    *to = both;
    return ERR_OK;
}

void agg_points_follow(void *state, const void *before)
{
    struct points *p = state;
    const struct points *b = before;
    p->has_before = b->count > 0 || b->has_before;
    p->before_t = b->count > 0 ? b->last_t : b->before_t;
    p->before = b->count > 0 ? b->last : b->before;
}

bool agg_points_complete(void *state, const void *behind)
{
    struct points *p = state;
    const struct points *b = behind;
    if (p->count == 0 && !p->has_before) return true; /* it has no answer anyway */
    if (p->has_after) return true;
    if (b->count == 0) return false;
    p->has_after = true;
    p->after_t = b->first_t, p->after = b->first;
    return true;
}

static enum err give(double d, bool null, struct value *result)
{
    *result = (struct value){.type = TYPE_DOUBLE, .is_null = null || !isfinite(d)};
    if (!result->is_null) result->d = d;
    return ERR_OK;
}

/* A window that has rows but no value of this column lies between the values of its neighbours:
 * else the hours would not add up to the day. */
static bool is_between(const struct points *p)
{
    return p->count == 0 && p->has_window && p->has_before && p->has_after;
}

static double area_between(const struct points *p, bool step, double *span)
{
    double from = on_line(p->before_t, p->before, p->after_t, p->after, p->from);
    double to = on_line(p->before_t, p->before, p->after_t, p->after, p->to);
    *span = (double)p->to - (double)p->from;
    return (step ? p->before : (from + to) / 2) * *span;
}

/* Area and time it stands over, up to the window's bounds. */
static double whole_area(const struct points *p, bool step, double *span)
{
    if (is_between(p)) return area_between(p, step, span);
    double area = step ? p->step_area : p->area;
    int64_t from = p->first_t, to = p->last_t;
    if (p->has_window && p->has_before && from > p->from) {
        double at_bound =
            step ? p->before : on_line(p->before_t, p->before, p->first_t, p->first, p->from);
        double dt = (double)p->first_t - (double)p->from;
        area += step ? p->before * dt : (at_bound + p->first) / 2 * dt;
        from = p->from;
    }
    if (p->has_window && p->has_after && to < p->to) {
        double at_bound = step ? p->last : on_line(p->last_t, p->last, p->after_t, p->after, p->to);
        area += (p->last + at_bound) / 2 * ((double)p->to - (double)p->last_t);
        to = p->to;
    }
    *span = (double)to - (double)from;
    return area;
}

static enum err average(const struct points *p, bool step, struct value *result)
{
    double span, area = whole_area(p, step, &span);
    return give(span > 0 ? area / span : p->last, p->count == 0 && !is_between(p), result);
}

enum err agg_points_final(const void *state, struct value *result)
{
    return agg_twa_final(state, result);
}
enum err agg_twa_final(const void *state, struct value *result)
{
    return average(state, false, result);
}
enum err agg_twa_step_final(const void *state, struct value *result)
{
    return average(state, true, result);
}

enum err agg_integral_final(const void *state, struct value *result)
{
    const struct points *p = state;
    double span, area = whole_area(p, false, &span);
    return give(area / p->unit_ns, p->count == 0 && !is_between(p), result);
}

enum err agg_derivative_final(const void *state, struct value *result)
{
    const struct points *p = state;
    double dt = (double)p->last_t - (double)p->first_t;
    return give((p->last - p->first) / dt * p->unit_ns, p->count < 2, result);
}

static double whole_increase(const struct points *p)
{
    return p->increase + (p->has_before ? growth(p->before, p->first) : 0);
}

enum err agg_increase_final(const void *state, struct value *result)
{
    const struct points *p = state;
    return give(whole_increase(p), p->count + p->has_before < 2 || p->count == 0, result);
}

enum err agg_rate_final(const void *state, struct value *result)
{
    const struct points *p = state;
    double dt = (double)p->last_t - (double)(p->has_before ? p->before_t : p->first_t);
    return give(whole_increase(p) / dt * p->unit_ns, p->count + p->has_before < 2 || p->count == 0,
                result);
}

/* The value before the last one: in the window, or the last before it. */
static bool second_last(const struct points *p, int64_t *t, double *v)
{
    *t = p->count > 1 ? p->prev_t : p->before_t;
    *v = p->count > 1 ? p->prev : p->before;
    return p->count > 1 || (p->count == 1 && p->has_before);
}

enum err agg_irate_final(const void *state, struct value *result)
{
    const struct points *p = state;
    int64_t t;
    double v;
    bool known = second_last(p, &t, &v);
    return give(known ? growth(v, p->last) / ((double)p->last_t - (double)t) * p->unit_ns : 0,
                !known, result);
}

enum err agg_idelta_final(const void *state, struct value *result)
{
    const struct points *p = state;
    int64_t t;
    double v;
    bool known = second_last(p, &t, &v);
    return give(known ? p->last - v : 0, !known, result);
}

enum err agg_delta_final(const void *state, struct value *result)
{
    const struct points *p = state;
    return give(p->last - p->first, p->count == 0, result);
}

enum err agg_interpolate_final(const void *state, struct value *result)
{
    const struct points *p = state;
    if (is_between(p))
        return give(on_line(p->before_t, p->before, p->after_t, p->after, p->from), false, result);
    if (p->count == 0 || !p->has_window || (p->first_t != p->from && !p->has_before))
        return give(0, true, result);
    if (p->first_t == p->from) return give(p->first, false, result);
    return give(on_line(p->before_t, p->before, p->first_t, p->first, p->from), false, result);
}

/* ---- duration_in(condition): how long it was true; each row holds until the next ---- */

/* From one time to a later one; may be more than a bigint holds. */
static uint64_t apart(int64_t from, int64_t to)
{
    return (uint64_t)to - (uint64_t)from;
}

struct duration {
    int64_t first_t, last_t, from, to, after_t;
    uint64_t total; /* of spans that do not overlap: at most 2^64 - 1 */
    uint32_t count, series;
    bool last, before, has_before, has_after, has_window;
};

enum err agg_duration_add(void *state, const struct agg_run *run, struct arena *memory)
{
    struct duration *d = state;
    (void)memory;
    enum err err = check_run(run, d->count, &d->series);
    if (err) return err;
    d->has_window = run->has_window;
    d->from = run->window_from, d->to = run->window_to;
    for (uint32_t k = 0; k < run->count; k++) {
        uint32_t row = row_of(run, k);
        if (run->value->null && run->value->null[row]) continue;
        int64_t t = run->time[row];
        if (d->count == 0) d->first_t = t;
        if (d->count > 0 && d->last) d->total += apart(d->last_t, t);
        d->last_t = t, d->last = run->value->b[row] != 0;
        d->count++;
    }
    return ERR_OK;
}

enum err agg_duration_merge(void *into, const void *from, struct arena *memory)
{
    struct duration *to = into;
    const struct duration *other = from;
    (void)memory;
    if (other->count == 0) return ERR_OK;
    if (to->count == 0) {
        *to = *other;
        return ERR_OK;
    }
    bool mine_first = to->first_t <= other->first_t;
    struct duration both = mine_first ? *to : *other;
    const struct duration late = mine_first ? *other : *to;
    if (both.last) both.total += apart(both.last_t, late.first_t);
    both.total += late.total;
    both.last_t = late.last_t, both.last = late.last;
    both.has_after = late.has_after, both.after_t = late.after_t;
    both.count += late.count;
    *to = both;
    return ERR_OK;
}

void agg_duration_follow(void *state, const void *before)
{
    struct duration *d = state;
    const struct duration *b = before;
    d->has_before = b->count > 0 || b->has_before;
    d->before = b->count > 0 ? b->last : b->before;
}

bool agg_duration_complete(void *state, const void *behind)
{
    struct duration *d = state;
    const struct duration *b = behind;
    if (d->count == 0 && !d->has_before) return true;
    if (d->has_after) return true;
    if (b->count == 0) return false;
    d->has_after = true;
    d->after_t = b->first_t;
    return true;
}

enum err agg_duration_final(const void *state, struct value *result)
{
    const struct duration *d = state;
    uint64_t total = d->total;
    bool is_between = d->count == 0 && d->has_window && d->has_before && d->has_after;
    if (is_between && d->before) total = apart(d->from, d->to);
    if (d->count && d->has_window && d->has_before && d->before)
        total += apart(d->from, d->first_t);
    if (d->count && d->has_window && d->has_after && d->last) total += apart(d->last_t, d->to);
    *result = (struct value){.type = TYPE_BIGINT, .is_null = d->count == 0 && !is_between};
    if (total > INT64_MAX) return ERR_RANGE;
    result->i = (int64_t)total;
    return ERR_OK;
}

/* ---- elapsed(time): from the earliest to the latest ---- */

struct elapsed {
    int64_t least, most;
    double unit_ns;
    bool any;
};

enum err agg_elapsed_add(void *state, const struct agg_run *run, struct arena *memory)
{
    struct elapsed *e = state;
    (void)memory;
    e->unit_ns = run->params ? (double)run->params[0].i : 1;
    for (uint32_t k = 0; k < run->count; k++) {
        uint32_t row = row_of(run, k);
        if (run->value->null && run->value->null[row]) continue;
        int64_t t = run->value->i[row];
        if (!e->any || t < e->least) e->least = t;
        if (!e->any || t > e->most) e->most = t;
        e->any = true;
    }
    return ERR_OK;
}

enum err agg_elapsed_merge(void *into, const void *from, struct arena *memory)
{
    struct elapsed *e = into;
    const struct elapsed *other = from;
    (void)memory;
    if (!other->any) return ERR_OK;
    if (!e->any || other->least < e->least) e->least = other->least;
    if (!e->any || other->most > e->most) e->most = other->most;
    e->unit_ns = other->unit_ns;
    e->any = true;
    return ERR_OK;
}

enum err agg_elapsed_final(const void *state, struct value *result)
{
    const struct elapsed *e = state;
    *result = (struct value){.type = TYPE_BIGINT, .is_null = !e->any};
    return __builtin_sub_overflow(e->most, e->least, &result->i) ? ERR_RANGE : ERR_OK;
}

enum err agg_elapsed_in_final(const void *state, struct value *result)
{
    const struct elapsed *e = state;
    return give(((double)e->most - (double)e->least) / e->unit_ns, !e->any, result);
}
