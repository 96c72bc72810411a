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

void collect_each_device(struct collect *collect, collect_use_device *use, void *arg)
{
    MUST(use);
    for (size_t i = 0; i < collect->line_count; i++)
        for (size_t d = 0; d < collect->lines[i]->device_count; d++) {
            const struct device *device = &collect->lines[i]->devices[d];
            struct collect_device_row row = {.ns = device->resource->ns,
                                             .name = device->resource->name,
                                             .has_table = device->schema != NULL};
            count_points(device, &row);
            use(arg, &row);
        }
}
