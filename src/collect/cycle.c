/* cycle.c - the points due at one instant: the plan for them, and a run of it.
 *
 * A plan is made once for each set of classes and kept; a run only resets it. It ends when every
 * ask has ended, and then becomes rows. Everything that a value needs on its way (which reading,
 * which device) is an index made with the plan: nothing is looked up while values arrive. */
#include "collect/collect_priv.h"
#include <stdlib.h>

/* ---- the plan ---- */

static bool belongs(const struct point *point, uint64_t mask, const struct point *only)
{
    if (!point->spec->enabled || point->spec->access == POINT_ACCESS_WRITE) return false;
    if (only) return point == only;
    return mask >> point->class_index & 1;
}

static bool is_asked_for(const struct point *point, int64_t now_ns, bool on_demand)
{
    if (point->problem || !point->station) return false;
    return on_demand || !point->is_refused || point->refused_until_ns <= now_ns;
}

/* Rows of one table stand together. */
static int compare_devices(const void *a, const void *b)
{
    const struct cycle_device *x = a, *y = b;
    uintptr_t s = (uintptr_t)x->device->schema, t = (uintptr_t)y->device->schema;
    if (s != t) return s < t ? -1 : 1;
    return (x->device > y->device) - (x->device < y->device);
}

static enum err list_devices(struct cycle *cycle, struct device *device, const struct point *only)
{
    struct line *line = cycle->line;
    cycle->devices = arena_zero(&cycle->arena, line->device_count + 1, sizeof *cycle->devices);
    if (!cycle->devices) return ERR_NO_MEMORY;
    for (size_t d = 0; d < line->device_count; d++) {
        struct device *each = &line->devices[d];
        size_t count = 0;
        if (device && each != device) continue;
        for (size_t p = 0; p < each->spec->points.count; p++)
            count += belongs(&each->points[p], cycle->mask, only);
        if (!count) continue;
        cycle->devices[cycle->device_count++] =
            (struct cycle_device){.device = each, .count = count};
        cycle->reading_count += count;
    }
    qsort(cycle->devices, cycle->device_count, sizeof *cycle->devices, compare_devices);
    return ERR_OK;
}

static enum err list_readings(struct cycle *cycle, const struct point *only,
                              struct planner_point *points, size_t *point_count)
{
    int64_t now = collect_now_ns(cycle->line->collect);
    size_t n = 0;
    cycle->readings = arena_zero(&cycle->arena, cycle->reading_count + 1, sizeof *cycle->readings);
    if (!cycle->readings) return ERR_NO_MEMORY;
    for (uint32_t d = 0; d < cycle->device_count; d++) {
        struct device *device = cycle->devices[d].device;
        cycle->devices[d].first = n;
        for (size_t p = 0; p < device->spec->points.count; p++) {
            struct point *point = &device->points[p];
            if (!belongs(point, cycle->mask, only)) continue;
            cycle->readings[n] = (struct reading){.point = point, .device = d};
            if (is_asked_for(point, now, only != NULL))
                points[(*point_count)++] = (struct planner_point){
                    point->at.station, point->at.area,    point->at.first,   point->at.count,
                    (uint32_t)n,       point->is_refused, point->starts_span};
            n++;
        }
    }
    MUST(n == cycle->reading_count);
    return ERR_OK;
}

static enum err make_asks(struct cycle *cycle, const struct planner_point *points,
                          size_t point_count, const struct planner_span *spans, size_t span_count)
{
    cycle->order = arena_alloc(&cycle->arena, (point_count + 1) * sizeof *cycle->order);
    cycle->asks = arena_zero(&cycle->arena, span_count + 1, sizeof *cycle->asks);
    if (!cycle->order || !cycle->asks) return ERR_NO_MEMORY;
    for (size_t i = 0; i < point_count; i++) cycle->order[i] = points[i].index;
    for (size_t i = 0; i < span_count; i++) {
        const struct planner_span *s = &spans[i];
        const struct point *first = cycle->readings[cycle->order[s->point_first]].point;
        cycle->asks[i] = (struct ask){.kind = ASK_SPAN,
                                      .span = {s->station, s->area, s->first, s->count},
                                      .station = first->station,
                                      .cycle = cycle,
                                      .order_first = s->point_first,
                                      .order_count = s->point_count,
                                      .point = first};
    }
    cycle->ask_count = span_count;
    return ERR_OK;
}

static enum err plan(struct cycle *cycle, struct device *device, const struct point *only)
{
    struct planner_span *spans;
    size_t span_count, point_count = 0;
    struct arena scratch;
    arena_init(&scratch, NULL);
    enum err err = list_devices(cycle, device, only);
    struct planner_point *points =
        arena_alloc(&scratch, (cycle->reading_count + 1) * sizeof *points);
    if (!points) err = ERR_NO_MEMORY;
    if (!err) err = list_readings(cycle, only, points, &point_count);
    if (!err)
        err = planner_plan(points, point_count, cycle->line->areas, &scratch, &spans, &span_count);
    if (!err) err = make_asks(cycle, points, point_count, spans, span_count);
    arena_free(&scratch);
    return err;
}

struct cycle *cycle_new(struct line *line, uint64_t mask, struct device *device,
                        const struct point *only)
{
    struct cycle *cycle = mem_alloc_zero(1, sizeof *cycle);
    if (!cycle) return NULL;
    *cycle = (struct cycle){
        .magic = CYCLE_MAGIC, .line = line, .mask = mask, .version = line->plan_version};
    arena_init(&cycle->arena, NULL);
    arena_init(&cycle->run, NULL);
    if (plan(cycle, device, only) == ERR_OK) return cycle;
    cycle_free(cycle);
    return NULL;
}

void cycle_free(struct cycle *cycle)
{
    if (!cycle) return;
    MUST(cycle->magic == CYCLE_MAGIC && !cycle->is_running);
    cycle->magic = 0;
    arena_free(&cycle->arena);
    arena_free(&cycle->run);
    mem_free(cycle);
}

/* ---- a run ---- */

static void set_busy(struct cycle *cycle, bool busy)
{
    struct line *line = cycle->line;
    for (unsigned c = 0; c < line->class_count && !cycle->read; c++)
        if (cycle->mask >> c & 1) line->classes[c].is_busy = busy;
    line->running_count = busy ? line->running_count + 1 : line->running_count - 1;
}

static void fill_missing(struct cycle *cycle)
{
    for (size_t i = 0; i < cycle->reading_count; i++) {
        struct reading *r = &cycle->readings[i];
        if (r->run == cycle->run_number) continue;
        uint32_t quality = r->point->problem      ? r->point->problem
                           : r->point->is_refused ? (uint32_t)QualityBadNodeIdUnknown
                                                  : (uint32_t)QualityBadNoCommunication;
        r->value = (struct value){.is_null = true, .quality = quality};
        r->run = cycle->run_number;
    }
}

static void end_run(struct cycle *cycle)
{
    struct line *line = cycle->line;
    fill_missing(cycle);
    int64_t now = context_wall_ns(line->collect->context);
    for (size_t d = 0; d < cycle->device_count; d++)
        if (!cycle->devices[d].time_ns) cycle->devices[d].time_ns = now;
    cycle->is_running = false;
    set_busy(cycle, false);
    rows_emit(cycle);
    if (line->is_dirty || line->has_stale_tables) schedule_wake_at(line->collect, 0);
}

void cycle_run(struct cycle *cycle)
{
    struct line *line = cycle->line;
    MUST(cycle->magic == CYCLE_MAGIC && !cycle->is_running);
    arena_reset(&cycle->run);
    cycle->is_running = true;
    cycle->has_halved = false;
    cycle->run_number++;
    for (size_t d = 0; d < cycle->device_count; d++) cycle->devices[d].time_ns = 0;
    set_busy(cycle, true);
    cycle->open_count = line_is_up(line) ? cycle->ask_count : 0;
    if (!cycle->open_count) {
        end_run(cycle);
        return;
    }
    for (size_t i = 0; i < cycle->ask_count; i++) {
        struct ask *ask = &cycle->asks[i];
        *ask = (struct ask){.kind = ASK_SPAN,
                            .span = ask->span,
                            .station = ask->station,
                            .cycle = cycle,
                            .order_first = ask->order_first,
                            .order_count = ask->order_count,
                            .point = ask->point,
                            .insists = cycle->read != NULL};
        line_ask(line, ask, cycle->read != NULL);
    }
    line_pump(line); /* may end the run: `cycle` of a read is gone then */
}

static void decode(struct cycle *cycle, const struct ask *ask, const struct answer *answer,
                   struct reading *r)
{
    const struct millrace_driver *driver = cycle->line->config.driver;
    struct millrace_value raw;
    char scratch[MILLRACE_SCRATCH_BYTES];
    r->run = cycle->run_number;
    enum millrace_status status = driver->decode(&r->point->at, ask->span.first, answer->payload,
                                                 answer->payload_bytes, scratch, &raw);
    if (status) {
        r->value = (struct value){.is_null = true, .quality = ask_quality(status)};
        return;
    }
    r->value = point_convert(r->point, &raw);
    if (r->value.is_null || r->point->convert != POINT_SLICE) return;
    r->value.s.at = arena_strdup(&cycle->run, r->value.s.at, r->value.s.size);
    if (!r->value.s.at)
        r->value = (struct value){.is_null = true, .quality = (uint32_t)QualityBadInternalError};
}

/* A refused point is asked again, alone, once its time has come; now it answered. */
static void accept_again(struct point *point)
{
    point->is_refused = false;
    point->station->line->plan_version++;
}

void cycle_answer(struct ask *ask, const struct answer *answer)
{
    struct cycle *cycle = ask->cycle;
    MUST(cycle->magic == CYCLE_MAGIC && cycle->is_running && cycle->open_count > 0);
    bool replied = answer->err == ERR_OK || answer->err == ERR_DEVICE;
    int64_t now = replied ? context_wall_ns(cycle->line->collect->context) : 0;
    for (size_t i = ask->order_first; i < ask->order_first + ask->order_count; i++) {
        struct reading *r = &cycle->readings[cycle->order[i]];
        struct cycle_device *device = &cycle->devices[r->device];
        if (replied && !device->time_ns) device->time_ns = now;
        if (answer->err) {
            r->run = cycle->run_number;
            r->value = (struct value){.is_null = true, .quality = answer->quality};
            continue;
        }
        decode(cycle, ask, answer, r);
        if (r->point->is_refused) accept_again(r->point);
    }
    if (--cycle->open_count == 0) end_run(cycle);
}
