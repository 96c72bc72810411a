/* schedule.c - one timer for everything: cycles, time-outs, pauses between attempts.
 *
 * Each class of a line is due at multiples of its interval in wall time, so cycles of different
 * nodes and of restarts fall on the same instants. A class that is due while its last cycle still
 * runs is left out and counted: a slow line gets fewer readings, never a backlog. When the wall
 * clock steps, all classes are set anew. */
#include "collect/collect_priv.h"
#include "base/timetext.h"

#define CLOCK_STEP_NS (20 * TIME_NS_PER_MS)
#define SLEEP_MAX_NS  TIME_NS_PER_S /* so that a step of the clock is noticed */

void schedule_wake_at(struct collect *collect, int64_t mono_ns)
{
    if (mono_ns >= collect->timer_at_ns) return;
    collect->timer_at_ns = mono_ns;
    if (collect->is_ticking) return; /* the tick sets the timer at its end */
    int64_t delay = mono_ns - collect_now_ns(collect);
    collect->context->os->ops->timer_set(collect->timer, delay > 0 ? delay : 0);
}

static int64_t next_multiple(int64_t wall_ns, int64_t interval_ns)
{
    return (wall_ns / interval_ns + 1) * interval_ns;
}

void schedule_align(struct line *line)
{
    int64_t wall = context_wall_ns(line->collect->context);
    for (unsigned c = 0; c < line->class_count; c++)
        line->classes[c].next_wall_ns = next_multiple(wall, line->classes[c].interval_ns);
    line->collect->timer_at_ns = NEVER_NS;
    schedule_wake_at(line->collect, 0);
}

/* ---- starting cycles ---- */

static void miss(struct line *line, uint64_t count)
{
    line->stats.missed_cycles += count;
    metric_add(line->collect->context, METRIC_COLLECT_MISSED, count);
}

/* The plan for `mask`: a kept one, or a new one in the place of the least recently used. NULL: no
 * memory or room. */
static struct cycle *find_cycle(struct line *line, uint64_t mask)
{
    size_t place = LINE_CYCLES_MAX;
    for (size_t i = 0; i < LINE_CYCLES_MAX; i++) {
        struct cycle *cycle = line->cycles[i];
        if (cycle && cycle->mask == mask && !cycle->is_running) {
            if (cycle->version == line->plan_version) return cycle;
            place = i;
            break;
        }
        if (cycle && cycle->is_running) continue;
        if (place < LINE_CYCLES_MAX &&
            (!line->cycles[place] || (cycle && cycle->used >= line->cycles[place]->used)))
            continue;
        place = i;
    }
    if (place == LINE_CYCLES_MAX) return NULL;
    cycle_free(line->cycles[place]);
    return line->cycles[place] = cycle_new(line, mask, NULL, NULL);
}

static void start_cycle(struct line *line, uint64_t mask)
{
    struct cycle *cycle = find_cycle(line, mask);
    if (!cycle) {
        miss(line, 1);
        return;
    }
    cycle->used = ++line->cycle_use;
    line->stats.cycles++;
    metric_add(line->collect->context, METRIC_COLLECT_CYCLES, 1);
    cycle_run(cycle);
}

/* Moves the classes that are due on to their next instant; gives those that may start. */
static uint64_t take_due(struct line *line, int64_t wall_ns)
{
    uint64_t mask = 0;
    bool counts = line->is_settled && line->device_count > 0;
    for (unsigned c = 0; c < line->class_count; c++) {
        struct class *class = &line->classes[c];
        if (class->next_wall_ns > wall_ns) continue;
        uint64_t passed = (uint64_t)((wall_ns - class->next_wall_ns) / class->interval_ns);
        class->next_wall_ns = next_multiple(wall_ns, class->interval_ns);
        bool starts = counts && !class->is_busy && !line->is_dirty;
        if (starts) mask |= UINT64_C(1) << c;
        if (counts && passed + !starts) miss(line, passed + !starts);
    }
    return mask;
}

/* After the retry time of refused points the plan is made anew, with those whose time has come. */
static void retry_refused(struct line *line, int64_t now_ns)
{
    line->refused_retry_ns = NEVER_NS;
    line->plan_version++;
    for (size_t d = 0; d < line->device_count; d++)
        for (size_t p = 0; p < line->devices[d].spec->points.count; p++) {
            const struct point *point = &line->devices[d].points[p];
            if (point->is_refused && point->refused_until_ns > now_ns &&
                point->refused_until_ns < line->refused_retry_ns)
                line->refused_retry_ns = point->refused_until_ns;
        }
}

static void tick_line(struct line *line, int64_t now_ns, int64_t wall_ns)
{
    line_tick(line, now_ns);
    if (!line->is_usable || !line->spec->enabled) return;
    if (line->refused_retry_ns <= now_ns) retry_refused(line, now_ns);
    if (line->tables_again_ns <= now_ns) line->has_stale_tables = true;
    if (line->has_stale_tables && !line->running_count) config_look_up_tables(line);
    uint64_t mask = take_due(line, wall_ns);
    if (mask) start_cycle(line, mask);
}

/* ---- the timer ---- */

static void watch_clock(struct collect *collect, int64_t offset_ns)
{
    int64_t step = offset_ns - collect->clock_offset_ns;
    collect->clock_offset_ns = offset_ns;
    if (step > -CLOCK_STEP_NS && step < CLOCK_STEP_NS) return;
    for (size_t i = 0; i < collect->line_count; i++) schedule_align(collect->lines[i]);
}

static int64_t next_event(const struct collect *collect)
{
    int64_t next = collect->timer_at_ns, door = door_next_ns(collect);
    if (door < next) next = door;
    for (size_t i = 0; i < collect->line_count; i++) {
        const struct line *line = collect->lines[i];
        int64_t own = line_next_ns(line);
        if (line->tables_again_ns < own) own = line->tables_again_ns;
        for (unsigned c = 0; c < line->class_count; c++) {
            int64_t due = line->classes[c].next_wall_ns - collect->clock_offset_ns;
            if (due < own) own = due;
        }
        if (own < next) next = own;
    }
    return next;
}

void schedule_tick(void *arg)
{
    struct collect *collect = arg;
    MUST(!collect->is_ticking);
    collect->is_ticking = true;
    collect->timer_at_ns = NEVER_NS;
    int64_t now = collect_now_ns(collect), wall = context_wall_ns(collect->context);
    watch_clock(collect, wall - now);
    if (collect->is_dirty) config_apply(collect);
    door_tick(collect, now);
    for (size_t i = 0; i < collect->line_count; i++) {
        if (collect->lines[i]->is_dirty && !collect->lines[i]->running_count)
            config_build(collect->lines[i]);
        tick_line(collect->lines[i], now, wall);
    }
    int64_t next = next_event(collect);
    now = collect_now_ns(collect);
    if (collect->line_count && next > now + SLEEP_MAX_NS) next = now + SLEEP_MAX_NS;
    collect->timer_at_ns = next;
    collect->is_ticking = false;
    collect->context->os->ops->timer_set(collect->timer, next == NEVER_NS ? -1
                                                         : next > now     ? next - now
                                                                          : 0);
}
