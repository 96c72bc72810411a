/* status.c - how connections and devices are doing, walked without a copy: for the status of their
 * documents, which asks once a second. */
#include "collect/collect_priv.h"

void collect_each_connection(struct collect *collect, collect_use_connection *use, void *arg)
{
    MUST(use);
    for (size_t i = 0; i < collect->line_count; i++) {
        const struct line *line = collect->lines[i];
        struct collect_connection_row row = line->stats;
        row.ns = line->resource->ns;
        row.name = line->resource->name;
        row.driver = line->spec->driver;
        row.endpoint = line->spec->endpoint;
        row.state = line_public_state(line);
        use(arg, &row);
    }
}

static void count_points(const struct device *device, struct collect_device_row *row)
{
    for (size_t p = 0; device->points && p < device->spec->points.count; p++) {
        const struct point *point = &device->points[p];
        if (!point->spec->enabled || point->spec->access == POINT_ACCESS_WRITE) continue;
        if (point->last_time_ns > row->last_time_ns) row->last_time_ns = point->last_time_ns;
        if (!point->last_time_ns)
            row->waiting++;
        else if (point->last.quality == QUALITY_GOOD)
            row->good++;
        else
            row->bad++;
    }
}

static void use_one(const struct device *device, collect_use_device *use, void *arg)
{
    struct collect_device_row row = {.ns = device->resource->ns,
                                     .name = device->resource->name,
                                     .has_table = device->schema != NULL};
    count_points(device, &row);
    use(arg, &row);
}

bool collect_walk_devices(struct collect *collect, struct collect_walk *walk, size_t points_max,
                          collect_use_device *use, void *arg)
{
    size_t points = 0;
    MUST(use);
    for (; walk->line < collect->line_count; walk->line++, walk->device = 0) {
        const struct line *line = collect->lines[walk->line];
        for (; walk->device < line->device_count; walk->device++) {
            if (points >= points_max) return true;
            const struct device *device = &line->devices[walk->device];
            points += 1 + device->spec->points.count;
            use_one(device, use, arg);
        }
    }
    *walk = (struct collect_walk){0};
    return false;
}
