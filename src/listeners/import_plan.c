/* import_plan.c - what a request of import.h asks for: its parameters, the header, the table.
 *
 * All texts lie in the exchange's arena and live as long as the request. */
#include "base/num.h"
#include "base/timetext.h"
#include "listeners/api.h"
#include "listeners/import.h"
#include "listeners/zone_file.h"
#include <string.h>

enum { ROUNDS_MAX = 5 }; /* others may define the table at the same time */

/* ---- parameters ---- */

static void get_params(struct import *import)
{
    struct import_params *p = &import->params;
#define X(name, help)                                                                              \
    if (!http_query(import->exchange, #name, &p->name)) p->name = STR("");
    IMPORT_PARAMS(X)
#undef X
    if (!p->ns.size) p->ns = STR("default");
}

static enum err read_number(const char *name, struct str text, uint64_t *value, struct why *why)
{
    if (!text.size || num_parse_u64(text, value)) return ERR_OK;
    return why_set(why, ERR_INVALID, "%s=%.*s: must be a number", name, (int)text.size, text.at);
}

static enum err read_delimiter(struct import *import, struct why *why)
{
    struct str text = import->params.delimiter;
    struct csv_format *format = &import->reader.format;
    *format = CSV_COMMA;
    if (!text.size) return ERR_OK;
    format->joins_delimiters = str_is(text, "space");
    if (str_is(text, "tab"))
        format->delimiter = '\t';
    else if (str_is(text, "space"))
        format->delimiter = ' ';
    else
        format->delimiter = text.at[0];
    bool is_word = str_is(text, "tab") || str_is(text, "space");
    bool is_one = text.size == 1 && text.at[0] > ' ' && text.at[0] < 127 && text.at[0] != '"';
    if (is_word || is_one) return ERR_OK;
    return why_set(why, ERR_INVALID, "delimiter: must be one character, tab or space");
}

static enum err read_zone(struct import *import, struct why *why)
{
    struct str name = import->params.zone;
    struct buf bytes = BUF_EMPTY;
    char text[ZONE_NAME_BYTES_MAX + 1];
    if (!name.size) return ERR_OK;
    import->rules.time.zone = import->rules.cell.zone = &import->zone;
    if (zone_fixed(name, &import->zone)) return ERR_OK;
    enum err err = ERR_NOT_FOUND;
    if (zone_name_is_safe(name) && str_copy(text, sizeof text, name))
        err = zone_file_read(import->service->context->os, text, &bytes);
    if (!err)
        err = zone_parse(bytes.at, bytes.size, http_arena(import->exchange), &import->zone, why);
    buf_free(&bytes);
    if (err != ERR_NOT_FOUND) return err;
    return why_set(why, ERR_INVALID, "zone=%.*s: there is no such time zone",
                   (int)(name.size > 80 ? 80 : name.size), name.at);
}

static enum err read_times(struct import *import, struct why *why)
{
    const struct import_params *p = &import->params;
    enum err err = time_notation_parse(p->time_format, &import->rules.time, why);
    if (!err) err = read_zone(import, why);
    if (err || !p->start.size) return err;
    import->has_start = true;
    if (!time_parse(p->start, &import->start_ns))
        return why_set(why, ERR_INVALID, "start=%.*s: must be a time", (int)p->start.size,
                       p->start.at);
    if (!duration_parse(p->step, &import->step_ns) || import->step_ns <= 0)
        return why_set(why, ERR_INVALID, "step=%.*s: must be a duration, such as 100ms",
                       (int)p->step.size, p->step.at);
    return read_number("first_row", p->first_row, &import->row_number, why);
}

static enum err read_params(struct import *import, struct why *why)
{
    const struct import_params *p = &import->params;
    enum err err = resource_check_namespace(p->ns, why);
    if (!err && !p->table.size)
        err = why_set(why, ERR_INVALID, "the table is missing: POST /v1/import?table=NAME");
    if (!err) err = schema_check_name(p->table, "table", why);
    if (!err) err = read_delimiter(import, why);
    if (!err) err = read_times(import, why);
    import->errors_max = IMPORT_ERRORS_SHOWN;
    import->reader.next_line = 0;
    if (!err) err = read_number("first_line", p->first_line, &import->reader.next_line, why);
    if (!err) err = read_number("errors", p->errors, &import->errors_max, why);
    if (import->errors_max > IMPORT_ERRORS_MAX) import->errors_max = IMPORT_ERRORS_MAX;
    import->rules.decimal_comma = str_is(p->decimal, "comma");
    if (err || !p->decimal.size || import->rules.decimal_comma || str_is(p->decimal, "point"))
        return err;
    return why_set(why, ERR_INVALID, "decimal: must be comma or point");
}

/* ---- lists ---- */

/* A row of CSV in a parameter, into the request's reader (between rows it holds nothing). */
static enum err read_list(struct import *import, struct str text, struct csv_reader *list,
                          struct why *why)
{
    size_t used;
    *list = (struct csv_reader){.format = CSV_COMMA, .next_line = 1};
    return csv_read(list, text, true, http_arena(import->exchange), &used, why);
}

static enum err name_targets(struct import *import, const struct csv_reader *row, struct why *why)
{
    struct arena *arena = http_arena(import->exchange);
    import->target_count = row->field_count;
    import->targets = arena_zero(arena, row->field_count + 1, sizeof *import->targets);
    if (!import->targets) return ERR_NO_MEMORY;
    for (size_t i = 0; i < row->field_count; i++) {
        struct str name = str_trim(row->fields[i].text);
        import->targets[i].name = arena_strdup(arena, name.at, name.size);
        if (!import->targets[i].name) return ERR_NO_MEMORY;
        for (size_t j = 0; j < i && name.size; j++)
            if (str_is(name, import->targets[j].name))
                return why_set(why, ERR_INVALID, "two columns have the name \"%s\"",
                               import->targets[i].name);
    }
    return ERR_OK;
}

static struct import_target *find_target(struct import *import, struct str name)
{
    for (size_t i = 0; i < import->target_count && name.size; i++)
        if (str_is(name, import->targets[i].name)) return &import->targets[i];
    return NULL;
}

/* ---- what the columns are ---- */

/* "label.site" is the label site, as in SQL and in an export. */
static void use_label_names(struct import *import)
{
    for (size_t i = 0; i < import->target_count; i++) {
        struct import_target *t = &import->targets[i];
        if (t->use || !str_starts(str_of(t->name), IMPORT_LABEL_PREFIX)) continue;
        t->use = IMPORT_LABEL;
        t->name += sizeof IMPORT_LABEL_PREFIX - 1;
    }
}

static size_t count_uses(const struct import *import, enum import_use use)
{
    size_t count = 0;
    for (size_t i = 0; i < import->target_count; i++) count += import->targets[i].use == use;
    return count;
}

static enum err use_named(struct import *import, struct str given, const char *usual,
                          enum import_use use, struct why *why)
{
    struct import_target *t = find_target(import, given.size ? given : str_of(usual));
    if (t && !t->use) t->use = use;
    if (t || !given.size) return ERR_OK;
    return why_set(why, ERR_NO_COLUMN, "there is no column \"%.*s\" in what was sent",
                   (int)given.size, given.at);
}

static enum err use_labels(struct import *import, struct csv_reader *list, struct why *why)
{
    struct str labels = import->params.labels;
    enum err err = labels.size ? read_list(import, labels, list, why) : ERR_OK;
    for (size_t i = 0; !err && labels.size && i < list->field_count; i++)
        err = use_named(import, list->fields[i].text, "", IMPORT_LABEL, why);
    if (!err) use_label_names(import);
    if (!err && count_uses(import, IMPORT_LABEL) > IMPORT_LABELS_MAX)
        err = why_set(why, ERR_LIMIT, "more than %d labels", IMPORT_LABELS_MAX);
    return err;
}

static enum err use_columns(struct import *import, struct csv_reader *list, struct why *why)
{
    const struct import_params *p = &import->params;
    enum err err = ERR_OK;
    if (!import->has_start) err = use_named(import, p->time, "time", IMPORT_TIME, why);
    bool no_column = p->device_name.size && !p->device.size;
    if (!err && !no_column) err = use_named(import, p->device, "device", IMPORT_DEVICE, why);
    if (!err) err = use_labels(import, list, why);
    if (err) return err;
    if (!import->has_start && !count_uses(import, IMPORT_TIME))
        return why_set(why, ERR_INVALID,
                       "no column is the time: time=COLUMN names it, start and step number rows");
    if (!p->device_name.size && !count_uses(import, IMPORT_DEVICE))
        return why_set(why, ERR_INVALID,
                       "nothing names the device: device=COLUMN or device_name=PATH does");
    for (size_t i = 0; i < import->target_count; i++)
        if (!import->targets[i].use && import->targets[i].name[0])
            import->targets[i].use = IMPORT_COLUMN;
    return ERR_OK;
}

/* The header, or `columns` for it. */
static enum err read_header(struct import *import, struct csv_reader *list, struct why *why)
{
    struct arena *arena = http_arena(import->exchange);
    size_t used = 0;
    if (import->params.columns.size) {
        enum err err = read_list(import, import->params.columns, list, why);
        return err ? err : name_targets(import, list, why);
    }
    struct csv_reader *r = &import->reader;
    enum err err = csv_read(r, import->rest, true, arena, &used, why);
    if (err) return err;
    if (!used || csv_is_blank(r))
        return why_set(why, ERR_INVALID, "there is no header: name the columns in the first line");
    import->rest = (struct str){import->rest.at + used, import->rest.size - used};
    return name_targets(import, r, why);
}

enum err import_plan(struct import *import, struct why *why)
{
    import->rest = http_request_of(import->exchange)->body;
    get_params(import);
    enum err err = read_params(import, why);
    struct csv_reader *list = err ? NULL : mem_alloc(sizeof *list);
    if (!err && !list) err = ERR_NO_MEMORY;
    if (!err) err = read_header(import, list, why);
    if (!err) err = use_columns(import, list, why);
    mem_free(list);
    return err;
}

/* ---- the table ---- */

/* "name:type"; false: this is not the column's. */
static bool type_entry(struct str entry, const char *name, struct str *type)
{
    size_t colon = entry.size;
    while (colon > 0 && entry.at[colon - 1] != ':') colon--;
    if (!colon) return false;
    *type = str_trim((struct str){entry.at + colon, entry.size - colon});
    return str_is(str_trim((struct str){entry.at, colon - 1}), name);
}

static enum err want_column(struct import *import, struct import_target *t, enum type type,
                            struct why *why)
{
    char ns[256], table[SCHEMA_NAME_BYTES_MAX + 1];
    bool is_whole = str_copy(ns, sizeof ns, import->params.ns) &&
                    str_copy(table, sizeof table, import->params.table);
    MUST(is_whole); /* both were checked */
    if (import->schema && !import->schema->open)
        return why_set(why, ERR_NO_COLUMN,
                       "table %s has no column \"%s\" and takes no new ones (spec.open: false)",
                       table, t->name);
    if (import->is_limited)
        return why_set(
            why, ERR_FORBIDDEN,
            "table %s has no column \"%s\", and only who may write all its devices makes one",
            table, t->name);
    if (!import->wanted)
        import->wanted = import->schema ? schema_copy(import->schema) : schema_new(ns, table, 0);
    if (!import->wanted) return ERR_NO_MEMORY;
    return schema_add_column(import->wanted, 0, t->name, type, COLUMN_OWNER_DATA, "", "", why);
}

static enum err bind_column(struct import *import, struct import_target *t,
                            const struct csv_reader *types, struct why *why)
{
    struct str name = {0};
    bool is_listed = false;
    for (size_t i = 0; i < types->field_count && !is_listed; i++)
        is_listed = type_entry(types->fields[i].text, t->name, &name);
    if (is_listed && str_is(name, "-")) {
        t->use = IMPORT_SKIP;
        return ERR_OK;
    }
    t->column = import->schema ? schema_find(import->schema, str_of(t->name)) : NULL;
    if (t->column) return ERR_OK;
    enum type type = type_of_name(name);
    if (is_listed && type == TYPE_NONE)
        return why_set(why, ERR_INVALID, "types: \"%s\" has no type '%.*s'", t->name,
                       (int)(name.size > 60 ? 60 : name.size), name.at);
    if (is_listed) return want_column(import, t, type, why);
    return why_set(
        why, ERR_NO_COLUMN,
        "table %.*s has no column \"%s\"; types=%s:double makes it, types=%s:- leaves it out",
        (int)import->params.table.size, import->params.table.at, t->name, t->name, t->name);
}

static enum err check_access(struct import *import, struct why *why)
{
    struct identity *identity = api_identity(import->exchange);
    const struct import_params *p = &import->params;
    enum access_scope scope = access_scope(identity, VERB_INGEST, "Table", p->ns, p->table);
    import->is_limited = scope != ACCESS_ALL;
    if (scope != ACCESS_NONE) return ERR_OK;
    return access_check(identity, VERB_INGEST, "Table", p->ns, p->table, STR(""), why);
}

enum err import_bind(struct import *import, struct why *why)
{
    struct csv_reader *types = mem_alloc_zero(1, sizeof *types);
    enum err err = types ? check_access(import, why) : ERR_NO_MEMORY;
    schema_release(import->schema);
    MUST(!import->wanted);
    import->schema =
        store_find_table(import->service->store, import->params.ns, import->params.table);
    if (!err && import->params.types.size)
        err = read_list(import, import->params.types, types, why);
    for (size_t i = 0; i < import->target_count && !err; i++)
        if (import->targets[i].use == IMPORT_COLUMN)
            err = bind_column(import, &import->targets[i], types, why);
    if (!err && !import->schema && !import->wanted)
        err = why_set(why, ERR_NO_TABLE, "there is no table %.*s, and no column to make it of",
                      (int)import->params.table.size, import->params.table.at);
    if (!err && import->wanted && ++import->rounds > ROUNDS_MAX) err = ERR_CONFLICT;
    mem_free(types);
    return err;
}
