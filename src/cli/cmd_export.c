/* cmd_export.c - `millrace export --neuron CONNECTION`: the devices of a connection as Neuron's tag
 * list, on standard output. */
#include "base/num.h"
#include "base/timetext.h"
#include "cli/equipment.h"
#include "collect/neuron.h"
#include <stdio.h>
#include <string.h>

struct export
{
    const struct cli_args *args;
    struct buf out;
    uint32_t unit; /* of addresses without N! */
    size_t tags, left_out;
};

/* An imported device has its group in its path, behind the connection's name. */
static struct str group_of(const struct export *export, const struct doc *spec)
{
    struct str path = doc_text(doc_get(spec, "path"));
    size_t prefix = strlen(export->args->words[0]);
    bool is_ours = path.size > prefix + 1 && path.at[prefix] == '/' &&
                   str_starts(path, export->args->words[0]);
    return is_ours ? (struct str){path.at + prefix + 1, path.size - prefix - 1} : path;
}

static void add_point(struct export *export, const struct doc *device, const struct doc *point)
{
    struct why why = WHY_NONE;
    const struct doc *spec = doc_get(device, "spec");
    struct str interval = doc_text(doc_get(point, "interval"));
    int64_t interval_ns = TIME_NS_PER_S;
    if (!interval.size) interval = doc_text(doc_get(spec, "interval"));
    if (interval.size) (void)duration_parse(interval, &interval_ns);
    const struct neuron_source source = {
        .group = group_of(export, spec),
        .column = doc_text(doc_get(point, "column")),
        .address = doc_text(doc_get(point, "address")),
        .type = doc_text(doc_get(point, "type")),
        .order = doc_text(doc_get(point, "order")),
        .access = doc_text(doc_get(point, "access")),
        .store = doc_text(doc_get(point, "store")),
        .description = doc_text(doc_get(point, "description")),
        .scale = doc_text(doc_get(point, "scale")),
        .offset = doc_text(doc_get(point, "offset")),
        .precision = doc_text(doc_get(point, "precision")),
        .interval_ms = interval_ns / TIME_NS_PER_MS,
        .unit = export->unit,
    };
    if (neuron_add_row(&export->out, &source, &why) == ERR_OK) {
        export->tags++;
        return;
    }
    export->left_out++;
    fprintf(stderr, "device %.*s: point %.*s: %s; left out\n", (int)source.group.size,
            source.group.at, (int)source.column.size, source.column.at, why.text);
}

static void add_devices(struct export *export, const struct doc *list)
{
    const struct doc *items = doc_get(list, "items");
    for (size_t i = 0; items && i < items->count; i++) {
        const struct doc *device = items->items[i].value, *points = doc_find(device, "spec.points");
        struct str connection = doc_text(doc_get(doc_get(device, "spec"), "connection"));
        if (!str_is(connection, export->args->words[0])) continue;
        for (size_t p = 0; points && p < points->count; p++)
            add_point(export, device, points->items[p].value);
    }
}

static const struct doc *get(struct export *export, struct client *client, struct arena *arena,
                             const char *plural, const char *name)
{
    struct buf path = BUF_EMPTY;
    equipment_add_path(&path, export->args, plural, name, NULL);
    const struct doc *doc = equipment_call(export->args, client, "GET", &path, NULL, arena);
    buf_free(&path);
    return doc;
}

static int run(struct export *export, struct client *client, struct arena *arena)
{
    uint64_t unit = 1;
    const struct doc *connection =
        get(export, client, arena, "connections", export->args->words[0]);
    const struct doc *devices = connection ? get(export, client, arena, "devices", NULL) : NULL;
    if (!devices) return CLI_FAILED;
    (void)num_parse_u64(doc_text(doc_get(doc_find(connection, "spec.options"), "unit")), &unit);
    export->unit = (uint32_t)unit;
    neuron_add_header(&export->out);
    add_devices(export, devices);
    if (buf_failed(&export->out)) return cli_fail(export->args, CLI_FAILED, "out of memory");
    fwrite(export->out.at, 1, export->out.size, stdout);
    fprintf(stderr, "%zu tags; %zu points left out\n", export->tags, export->left_out);
    return CLI_OK;
}

int cli_export(const struct cli_args *args)
{
    if (cli_value(args, "--table") || cli_value(args, "--query")) return cli_export_rows(args);
    if (!cli_value(args, "--neuron") || args->word_count != 1)
        return cli_fail(args, CLI_USAGE, "usage: millrace export %s", args->command->synopsis);
    struct client *client = client_open(args);
    if (!client) return CLI_FAILED;
    struct arena arena;
    struct export export = {.args = args};
    arena_init(&arena, NULL);
    int code = run(&export, client, &arena);
    buf_free(&export.out);
    arena_free(&arena);
    client_close(client);
    return code;
}
