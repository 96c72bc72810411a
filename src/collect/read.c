/* read.c - points read now, past the polling cycle: a plan of its own, run once, whose row goes to
 * the asker. */
#include "collect/collect_priv.h"

static enum err start(struct collect *collect, struct collect_read *read, struct cycle **cycle,
                      struct why *why)
{
    struct line *line = NULL;
    struct point *point = NULL;
    struct device *device = config_find_device(collect, read->ns, read->device, &line);
    if (!device)
        return why_set(why, ERR_NOT_FOUND, "device %.*s: there is no such device",
                       (int)read->device.size, read->device.at);
    if (read->point.size && !(point = config_find_point(device, read->point)))
        return why_set(why, ERR_NOT_FOUND, "device %.*s: there is no point '%.*s'",
                       (int)read->device.size, read->device.at, (int)read->point.size,
                       read->point.at);
    if (!line_is_up(line))
        return why_set(why, ERR_CONNECT, "device %.*s: the connection is down: %.200s",
                       (int)read->device.size, read->device.at, line->stats.last_error);
    *cycle = cycle_new(line, UINT64_MAX, device, point);
    return *cycle ? ERR_OK : why_set(why, ERR_NO_MEMORY, "out of memory");
}

void collect_read(struct collect *collect, struct collect_read *read)
{
    struct cycle *cycle = NULL;
    struct why why = WHY_NONE;
    read->batch = NULL;
    enum err err = start(collect, read, &cycle, &why);
    if (err) {
        completion_finish(&read->completion, err, &why);
        return;
    }
    MUST(cycle);
    cycle->read = read;
    cycle_run(cycle);
}
