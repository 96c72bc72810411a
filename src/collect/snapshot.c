/* snapshot.c - what the system tables show of the collector: a deep copy, so that any task can read
 * and free it. */
#include "collect/collect_priv.h"
#include <string.h>

static struct str copy(struct arena *arena, struct str text, bool *failed)
{
    char *at = arena_strdup(arena, text.at, text.size);
    if (!at) *failed = true;
    return at ? (struct str){at, text.size} : (struct str){"", 0};
}

static void add_point(struct collect_snapshot *s, const struct line *line,
                      const struct point *point, bool *failed)
{
    const struct device *device = point->device;
    const struct point_spec *spec = point->spec;
    static const char *const accesses[] = {"r", "rw", "w"};
    struct collect_point_row *row = &s->points[s->point_count++];
    struct arena *arena = &s->arena;
    *row = (struct collect_point_row){
        .ns = copy(arena, device->resource->ns, failed),
        .device = copy(arena, device->path, failed),
        .name = copy(arena, device->resource->name, failed),
        .table = copy(arena, device->schema ? str_of(device->schema->name) : device->spec->table,
                      failed),
        .point = copy(arena, spec->column, failed),
        .unit = copy(arena, point->column ? str_of(point->column->unit) : STR(""), failed),
        .address = copy(arena, spec->address, failed),
        .access = str_of(accesses[spec->access]),
        .connection = copy(arena, line->resource->name, failed),
        .description = copy(arena, spec->description, failed),
        .type = point->column ? point->column->type : TYPE_NONE,
        .value = point->last,
        .time_ns = point->last_time_ns,
        .min = spec->min,
        .max = spec->max,
    };
    if (!row->value.is_null && (row->value.type == TYPE_TEXT || row->value.type == TYPE_BYTES))
        row->value.s = copy(arena, row->value.s, failed);
}

static void add_connection(struct collect_snapshot *s, const struct line *line, bool *failed)
{
    struct collect_connection_row *row = &s->connections[s->connection_count++];
    *row = line->stats;
    row->ns = copy(&s->arena, line->resource->ns, failed);
    row->name = copy(&s->arena, line->resource->name, failed);
    row->driver = copy(&s->arena, line->spec->driver, failed);
    row->endpoint = copy(&s->arena, line->spec->endpoint, failed);
    row->state = line_public_state(line);
}

static size_t count_points(const struct collect *collect)
{
    size_t count = 0;
    for (size_t i = 0; i < collect->line_count; i++)
        for (size_t d = 0; d < collect->lines[i]->device_count; d++)
            count += collect->lines[i]->devices[d].spec->points.count;
    return count;
}

struct collect_snapshot *collect_snapshot(struct collect *collect)
{
    struct collect_snapshot *s = mem_alloc_zero(1, sizeof *s);
    bool failed = false;
    if (!s) return NULL;
    arena_init(&s->arena, &collect->context->memory);
    s->points = arena_zero(&s->arena, count_points(collect) + 1, sizeof *s->points);
    s->connections = arena_zero(&s->arena, collect->line_count + 1, sizeof *s->connections);
    failed = !s->points || !s->connections;
    for (size_t i = 0; !failed && i < collect->line_count; i++) {
        const struct line *line = collect->lines[i];
        add_connection(s, line, &failed);
        for (size_t d = 0; !failed && d < line->device_count; d++)
            for (size_t p = 0; !failed && p < line->devices[d].spec->points.count; p++)
                add_point(s, line, &line->devices[d].points[p], &failed);
    }
    if (!failed) return s;
    collect_snapshot_free(s);
    return NULL;
}

void collect_snapshot_free(struct collect_snapshot *snapshot)
{
    if (!snapshot) return;
    arena_free(&snapshot->arena);
    mem_free(snapshot);
}
