/* collect.c - start, stop, and the check of documents. See collect.h; ARCHITECTURE: collect_priv.h
 * lists the parts. */
#include "collect/collect_priv.h"
#include <stdio.h>
#include <string.h>

enum err collect_start(struct context *context, struct registry *registry,
                       const struct collect_host *host, struct collect **out, struct why *why)
{
    MUST(host->find_table && host->emit && host->audit);
    struct collect *collect = mem_alloc_zero(1, sizeof *collect);
    if (!collect) return why_set(why, ERR_NO_MEMORY, "collect: out of memory");
    *collect = (struct collect){.context = context,
                                .registry = registry,
                                .host = *host,
                                .timer_at_ns = NEVER_NS,
                                .is_dirty = true,
                                .lines_changed = true};
    if (!str_copy(collect->node_path, sizeof collect->node_path, host->node_path)) {
        mem_free(collect);
        return why_set(why, ERR_LIMIT, "node.path is longer than %zu bytes",
                       sizeof collect->node_path - 1);
    }
    collect->clock_offset_ns = context_wall_ns(context) - context_mono_ns(context);
    enum err err =
        context->os->ops->timer_make(context->main->task, schedule_tick, collect, &collect->timer);
    if (err) {
        mem_free(collect);
        return why_set(why, err, "collect: cannot make a timer");
    }
    registry_watch_all(registry, config_watch, collect);
    schedule_wake_at(collect, 0);
    *out = collect;
    return ERR_OK;
}

void collect_stop(struct collect *collect)
{
    if (!collect) return;
    registry_unwatch(collect->registry, collect);
    collect->is_ticking = true; /* nothing sets the timer any more */
    collect->context->os->ops->timer_close(collect->timer);
    while (collect->line_count) line_free(collect->lines[--collect->line_count]);
    MUST(!collect->doors); /* lines take their doors with them */
    if (collect->files) loop_stop(collect->files);
    mem_free(collect->files);
    mem_free(collect->lines);
    mem_free(collect);
}

enum err collect_files(struct collect *collect, struct loop **files, struct why *why)
{
    if (!collect->files) {
        struct loop *loop = mem_alloc_zero(1, sizeof *loop);
        if (!loop) return ERR_NO_MEMORY;
        enum err err = loop_start(loop, collect->context->os, "files", OS_TASK_BLOCKING, why);
        if (err) {
            mem_free(loop);
            return err;
        }
        collect->files = loop;
    }
    *files = collect->files;
    return ERR_OK;
}

void collect_look_up_tables(struct collect *collect)
{
    if (!collect) return;
    for (size_t i = 0; i < collect->line_count; i++) collect->lines[i]->has_stale_tables = true;
    schedule_wake_at(collect, 0);
}

/* ---- checking documents ---- */

static enum type column_type(const struct resource *table, struct str column)
{
    const struct table_spec *spec = table->spec;
    const struct table_column_spec *columns = spec->columns.items;
    for (size_t i = 0; i < spec->columns.count; i++)
        if (str_equal(columns[i].name, column)) return type_of_name(columns[i].type);
    return TYPE_NONE;
}

static void check_point(const struct line_config *config, const struct resource *table,
                        const struct point_spec *spec, const char *path, const struct doc *at,
                        struct problems *problems)
{
    char why[MILLRACE_WHY_BYTES] = "";
    struct millrace_point point;
    struct millrace_point_text text = {{spec->address.at, spec->address.size},
                                       {spec->type.at, spec->type.size},
                                       {spec->order.at, spec->order.size}};
    if (!config->driver->point_parse(&config->line, &text, &point, why)) {
        problem_add(problems, path, at, "%s", why);
        return;
    }
    if (spec->access != POINT_ACCESS_READ && !(point.flags & MILLRACE_WRITABLE))
        problem_add(problems, path, at,
                    "'%.*s' cannot be written in the equipment: access must be r",
                    (int)spec->address.size, spec->address.at);
    enum type type = table ? column_type(table, spec->column) : TYPE_NONE;
    if (type != TYPE_NONE && point_choose(spec, point.type, type, why) == POINT_NONE)
        problem_add(problems, path, at, "%s", why);
}

static void check_device(struct context *context, const struct registry *registry,
                         const struct resource *device, struct problems *problems)
{
    const struct device_spec *spec = device->spec;
    const struct resource *connection =
        registry_get(registry, KIND_CONNECTION, device->ns, spec->connection);
    const struct resource *table = registry_get(registry, KIND_TABLE, device->ns, spec->table);
    const struct point_spec *points = spec->points.items;
    struct line_config config;
    struct problems others; /* of the connection: reported there */
    struct arena arena;
    if (!connection) return;
    arena_init(&arena, NULL);
    problems_init(&others, &arena);
    (void)line_config_read(context, connection->spec, connection->spec_doc, &arena, &config,
                           &others);
    for (size_t i = 0; config.driver && config.options && i < spec->points.count; i++) {
        char path[64];
        snprintf(path, sizeof path, "spec.points[%zu]", i);
        struct doc at = {.line = spec->points.lines[i]};
        check_point(&config, table, &points[i], path, &at, problems);
    }
    arena_free(&arena);
}

/* What the driver itself says about its options. */
static void try_options(const struct resource *connection, const struct line_config *config,
                        struct problems *problems)
{
    char why[MILLRACE_WHY_BYTES] = "";
    void *state = mem_alloc_zero(1, config->driver->line_bytes);
    if (!state) {
        problems->no_memory = true;
        return;
    }
    if (!config->driver->line_init(state, &config->line, why))
        problem_add(problems, "spec.options", doc_get(connection->spec_doc, "options"), "%s", why);
    else if (config->driver->line_free)
        config->driver->line_free(state);
    mem_free(state);
}

void collect_check(struct context *context, const struct registry *registry,
                   const struct resource *resource, struct problems *problems)
{
    struct line_config config;
    struct arena arena;
    if (resource->kind == KIND_DEVICE && registry)
        check_device(context, registry, resource, problems);
    if (resource->kind != KIND_CONNECTION) return;
    arena_init(&arena, NULL);
    (void)line_config_read(context, resource->spec, resource->spec_doc, &arena, &config, problems);
    if (config.driver && config.options && config.line.scheme)
        try_options(resource, &config, problems);
    arena_free(&arena);
}
