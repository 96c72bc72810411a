/* config.c - from resources to lines, devices and points, and after changes again.
 *
 * Watching only marks; the marks are worked off by the next tick, so that a thousand devices loaded
 * at once make one change. A changed Connection is a new line; a changed Device rebuilds the
 * devices of its line once no cycle runs. Last values, and what was learned about stations, survive
 * a rebuild. Tables are looked up by name, again whenever a Table changes or the log says that a
 * schema is outdated, and each second while one is missing. */
#include "collect/collect_priv.h"
#include "base/timetext.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- watching ---- */

struct line *config_find_line(struct collect *collect, struct str ns, struct str name)
{
    for (size_t i = 0; i < collect->line_count; i++) {
        const struct resource *r = collect->lines[i]->resource;
        if (str_equal(r->ns, ns) && str_equal(r->name, name)) return collect->lines[i];
    }
    return NULL;
}

static void mark_device(struct collect *collect, const struct resource *device)
{
    if (!device) return;
    const struct device_spec *spec = device->spec;
    struct line *line = config_find_line(collect, device->ns, spec->connection);
    if (line) line->is_dirty = true;
}

void config_watch(void *arg, const struct resource *old, const struct resource *now)
{
    struct collect *collect = arg;
    switch ((now ? now : old)->kind) {
    case KIND_CONNECTION: collect->lines_changed = true; break;
    case KIND_DEVICE:
        mark_device(collect, old);
        mark_device(collect, now);
        break;
    case KIND_TABLE: collect_look_up_tables(collect); break;
    case KIND_NODE:
    case KIND_USER:
    case KIND_ROLE:
    case KIND_TOKEN:
    case KIND_VIEW:
    case KIND_STREAM:
    case KIND_BRIDGE:
    case KIND_SINK:
    case KIND_COUNT: return; /* nothing of the equipment */
    }
    collect->is_dirty = true;
    schedule_wake_at(collect, 0);
}

/* ---- lines ---- */

static enum err add_line(struct collect *collect, struct resource *connection)
{
    enum err err = mem_grow(&collect->lines, &collect->line_capacity, collect->line_count + 1,
                            sizeof *collect->lines);
    struct line *line = err ? NULL : line_new(collect, connection);
    if (!line) return ERR_NO_MEMORY;
    collect->lines[collect->line_count++] = line;
    line_start(line);
    return ERR_OK;
}

void config_apply(struct collect *collect)
{
    collect->is_dirty = false;
    if (!collect->lines_changed) return;
    collect->lines_changed = false;
    for (size_t i = collect->line_count; i-- > 0;) {
        struct line *line = collect->lines[i];
        if (registry_get(collect->registry, KIND_CONNECTION, line->resource->ns,
                         line->resource->name) == line->resource)
            continue;
        collect->lines[i] = collect->lines[--collect->line_count];
        line_free(line);
    }
    struct resource *connection;
    for (size_t at = 0; (connection = registry_next(collect->registry, KIND_CONNECTION, &at));) {
        if (config_find_line(collect, connection->ns, connection->name)) continue;
        if (add_line(collect, connection) == ERR_OK) continue;
        collect->is_dirty = collect->lines_changed =
            true; /* no memory now: again with the next tick */
    }
}

/* ---- devices ---- */

static bool belongs(const struct line *line, const struct resource *device)
{
    const struct device_spec *spec = device->spec;
    return spec->enabled && str_equal(device->ns, line->resource->ns) &&
           str_equal(spec->connection, line->resource->name);
}

static int compare_labels(const void *a, const void *b)
{
    return str_compare(((const struct label *)a)->key, ((const struct label *)b)->key);
}

static enum err read_labels(struct device *device, struct arena *arena)
{
    const struct doc *labels = device->resource->labels;
    if (!labels || !labels->count) return ERR_OK;
    device->labels = arena_alloc(arena, labels->count * sizeof *device->labels);
    if (!device->labels) return ERR_NO_MEMORY;
    for (size_t i = 0; i < labels->count; i++) {
        const struct doc *value = labels->items[i].value;
        struct str text =
            value->kind == DOC_BOOL ? (value->b ? STR("true") : STR("false")) : value->text;
        device->labels[device->label_count++] = (struct label){labels->items[i].key, text};
    }
    qsort(device->labels, device->label_count, sizeof *device->labels, compare_labels);
    return ERR_OK;
}

/* The class of an interval; one more where there is none. */
static bool find_class(struct line *line, int64_t interval_ns, uint8_t *index)
{
    for (unsigned c = 0; c < line->class_count; c++) {
        if (line->classes[c].interval_ns != interval_ns) continue;
        *index = (uint8_t)c;
        return true;
    }
    if (line->class_count == LINE_CLASSES_MAX) return false;
    line->classes[line->class_count] = (struct class){.interval_ns = interval_ns};
    *index = (uint8_t)line->class_count++;
    return true;
}

static enum err make_points(struct line *line, struct device *device)
{
    const struct point_spec *specs = device->spec->points.items;
    device->points =
        arena_zero(&line->arena, device->spec->points.count + 1, sizeof *device->points);
    if (!device->points) return ERR_NO_MEMORY;
    for (size_t i = 0; i < device->spec->points.count; i++) {
        struct point *point = &device->points[i];
        *point = (struct point){.spec = &specs[i], .device = device};
        if (point_prepare(point, i ? point - 1 : NULL, &line->config, &line->arena))
            return ERR_NO_MEMORY;
        if (!point->problem && !(point->station = line_station(line, point->at.station)))
            return ERR_NO_MEMORY;
        point->last =
            (struct value){.is_null = true, .quality = (uint32_t)QualityBadWaitingForInitialData};
        if (find_class(line,
                       specs[i].interval_ns ? specs[i].interval_ns : device->spec->interval_ns,
                       &point->class_index))
            continue;
        point->problem = (uint32_t)QualityBadConfigurationError;
        point->problem_text = arena_printf(
            &line->arena, "more than %d different intervals on one connection", LINE_CLASSES_MAX);
    }
    return ERR_OK;
}

static enum err make_device(struct line *line, struct resource *resource, struct device *device)
{
    const char *node_path = line->collect->node_path;
    *device = (struct device){.resource = resource_share(resource), .spec = resource->spec};
    char *path = arena_printf(&line->arena, "%s%s%.*s", node_path, node_path[0] ? "/" : "",
                              (int)device->spec->path.size, device->spec->path.at);
    if (!path) return ERR_NO_MEMORY;
    device->path = str_of(path);
    enum err err = read_labels(device, &line->arena);
    return err ? err : make_points(line, device);
}

/* What earlier readings left behind goes over to the new point. */
static void inherit(struct point *point, struct point *old)
{
    if (str_equal(point->spec->address, old->spec->address) &&
        str_equal(point->spec->type, old->spec->type)) {
        point->is_refused = old->is_refused;
        point->refused_until_ns = old->refused_until_ns;
        point->starts_span = old->starts_span;
    }
    bool has_text = !old->last.is_null && old->convert == POINT_SLICE;
    if (has_text && !point->memory) return;
    point->last = old->last;
    point->last_time_ns = old->last_time_ns;
    if (!point->memory || !old->memory) return;
    *point->memory = *old->memory;
    old->memory->text = BUF_EMPTY;
}

static void inherit_all(struct line *line, struct device *old, size_t old_count)
{
    for (size_t d = 0; d < line->device_count; d++)
        for (size_t o = 0; o < old_count; o++) {
            if (!str_equal(line->devices[d].resource->name, old[o].resource->name)) continue;
            for (size_t p = 0; p < line->devices[d].spec->points.count; p++) {
                struct point *point = &line->devices[d].points[p];
                struct point *before = config_find_point(&old[o], point->spec->column);
                if (before) inherit(point, before);
            }
        }
}

static void free_devices(struct device *devices, size_t count)
{
    for (size_t d = 0; d < count; d++) {
        for (size_t p = 0; devices[d].points && p < devices[d].spec->points.count; p++)
            if (devices[d].points[p].memory) buf_free(&devices[d].points[p].memory->text);
        schema_release(devices[d].schema);
        resource_release(devices[d].resource);
    }
}

void config_free_devices(struct line *line)
{
    free_devices(line->devices, line->device_count);
    arena_free(&line->arena);
    line->devices = NULL;
    line->device_count = 0;
}

static enum err make_devices(struct line *line)
{
    struct resource *device;
    size_t count = 0;
    enum err err = ERR_OK;
    for (size_t at = 0; (device = registry_next(line->collect->registry, KIND_DEVICE, &at));)
        count += belongs(line, device);
    line->devices = arena_zero(&line->arena, count + 1, sizeof *line->devices);
    if (!line->devices) return ERR_NO_MEMORY;
    for (size_t at = 0;
         !err && (device = registry_next(line->collect->registry, KIND_DEVICE, &at));)
        if (belongs(line, device))
            err = make_device(line, device, &line->devices[line->device_count++]);
    return err;
}

/* Points into the old devices that outlive a rebuild. */
static void forget_points(struct line *line)
{
    size_t at = 0;
    void *station;
    for (size_t i = 0; i < LINE_CYCLES_MAX; i++) {
        cycle_free(line->cycles[i]);
        line->cycles[i] = NULL;
    }
    while (map_next(&line->stations, &at, NULL, &station)) {
        ((struct station *)station)->probe->point = NULL;
        ((struct station *)station)->is_resting = false; /* asked afresh */
    }
}

void config_build(struct line *line)
{
    MUST(line->magic == LINE_MAGIC && !line->running_count);
    if (!line->is_usable || !line->spec->enabled) {
        line->is_dirty = false;
        return;
    }
    struct device *old = line->devices;
    size_t old_count = line->device_count;
    struct arena old_arena = line->arena;
    arena_init(&line->arena, NULL);
    line->device_count = line->class_count = 0;
    forget_points(line);
    enum err err = make_devices(line);
    if (!err) inherit_all(line, old, old_count);
    free_devices(old, old_count);
    arena_free(&old_arena);
    line->plan_version++;
    line->is_dirty = err != ERR_OK; /* no memory: again with the next tick */
    if (err) config_free_devices(line);
    config_look_up_tables(line);
    schedule_align(line);
}

/* ---- tables ---- */

static struct schema *find_schema(const struct line *line, const struct device *device)
{
    const struct collect_host *host = &line->collect->host;
    return host->find_table(host->arg, device->resource->ns, device->spec->table);
}

static void say_problems(struct line *line, const struct device *device)
{
    char text[400];
    for (size_t p = 0; p < device->spec->points.count; p++) {
        const struct point *point = &device->points[p];
        if (!point->problem) continue;
        snprintf(text, sizeof text, "device %.*s: point %.*s: %s", (int)device->resource->name.size,
                 device->resource->name.at, (int)point->spec->column.size, point->spec->column.at,
                 point->problem_text ? point->problem_text : "cannot be read");
        line_note_error(line, text, NULL, 0);
        diag(line->collect->context, DIAG_WARNING, "collect", "%s", text);
    }
}

/* Binds the device's points to the table as it is now. False: there is none. */
static bool bind(struct line *line, struct device *device)
{
    struct schema *now = find_schema(line, device);
    bool is_first = device->points && !device->schema && !now;
    if (now && now == device->schema) {
        schema_release(now);
        return true;
    }
    schema_release(device->schema);
    device->schema = now;
    line->plan_version++;
    for (size_t p = 0; p < device->spec->points.count; p++)
        point_bind(&device->points[p], &line->arena);
    if (now || is_first) say_problems(line, device);
    return now != NULL;
}

void config_look_up_tables(struct line *line)
{
    bool was_missing = line->tables_again_ns != NEVER_NS;
    line->has_stale_tables = false;
    line->tables_again_ns = NEVER_NS;
    for (size_t d = 0; d < line->device_count; d++) {
        struct device *device = &line->devices[d];
        if (bind(line, device)) continue;
        line->tables_again_ns = collect_now_ns(line->collect) + TIME_NS_PER_S;
        if (was_missing) continue;
        char text[200];
        snprintf(text, sizeof text,
                 "device %.*s: there is no table '%.*s'; its rows are not stored",
                 (int)device->resource->name.size, device->resource->name.at,
                 (int)device->spec->table.size, device->spec->table.at);
        line_note_error(line, text, NULL, 0);
    }
}

/* ---- finding ---- */

struct device *config_find_device(struct collect *collect, struct str ns, struct str name,
                                  struct line **line)
{
    for (size_t i = 0; i < collect->line_count; i++)
        for (size_t d = 0; d < collect->lines[i]->device_count; d++) {
            struct device *device = &collect->lines[i]->devices[d];
            if (!str_equal(device->resource->ns, ns)) continue;
            if (!str_equal(device->resource->name, name) && !str_equal(device->path, name) &&
                !str_equal(device->spec->path, name))
                continue;
            *line = collect->lines[i];
            return device;
        }
    return NULL;
}

struct point *config_find_point(struct device *device, struct str name)
{
    for (size_t p = 0; device->points && p < device->spec->points.count; p++)
        if (str_equal(device->points[p].spec->column, name)) return &device->points[p];
    return NULL;
}
