/* cmd_import.c - `millrace import --neuron FILE.csv --connection NAME`: tags become Devices and
 * Tables.
 *
 * Each group becomes a Device, because it has its own interval. Its rows go into a Table of its
 * own, or all into the one that --table names. What cannot be translated is left out and named with
 * its line; nothing is sent before the whole list has been read. */
#include "base/num.h"
#include "cli/equipment.h"
#include "collect/neuron.h"
#include "data/schema.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { GROUPS_MAX = 10000, NAME_BYTES = 200, SEGMENT_BYTES = 100 };

/* One Device to be. */
struct group {
    struct str name; /* as in the list */
    char own[NAME_BYTES], path[NAME_BYTES], table[NAME_BYTES];
    int64_t interval_ms;
    struct doc *points; /* list */
};

struct import {
    const struct cli_args *args;
    struct arena arena;
    const char *connection;
    struct neuron_order orders[NEURON_ORDER_ROWS];
    struct group *groups;
    size_t group_count, point_count, left_out;
    struct doc *tables; /* map: table name → map: column name → type */
    bool no_memory;
};

/* ---- names ---- */

/* Letters, digits, '-' and '.', lower case (RFC 1123); what is neither becomes '-'. */
static void make_name(char out[NAME_BYTES], const char *connection, struct str group, size_t number)
{
    size_t n = (size_t)snprintf(out, NAME_BYTES, "%.80s-", connection), before = n;
    bool has_letter = false;
    for (size_t i = 0; i < group.size && n < 120; i++) {
        char c = group.at[i];
        if (c >= 'A' && c <= 'Z') c = (char)(c + 32);
        bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        has_letter |= plain;
        if (plain || out[n - 1] != '-') out[n++] = plain ? c : '-';
    }
    while (n > before && out[n - 1] == '-') n--;
    out[n] = 0;
    if (!has_letter) snprintf(out + before, NAME_BYTES - before, "group%zu", number);
}

/* A column or path segment: what our names must not hold becomes '_'. */
static struct str clean(struct import *import, struct str name)
{
    static const char *const reserved[] = {"time", "device", "quality", "received", NULL};
    char *out = arena_alloc(&import->arena, name.size + 2);
    if (!out) {
        import->no_memory = true;
        return STR("");
    }
    for (size_t i = 0; i < name.size; i++) {
        unsigned char c = (unsigned char)name.at[i];
        out[i] = (char)(c < ' ' || c == 127 || strchr("/+#\"@", c) ? '_' : c);
    }
    struct str made = {out, name.size};
    for (size_t i = 0; reserved[i]; i++)
        if (str_is_nocase(made, reserved[i])) {
            out[made.size++] = '_';
            break;
        }
    return made;
}

/* ---- documents ---- */

static void set(struct import *import, struct doc *map, const char *key, struct doc *value)
{
    if (!map || !value || !doc_set(&import->arena, map, key, value)) import->no_memory = true;
}

static void set_text(struct import *import, struct doc *map, const char *key, struct str text)
{
    set(import, map, key, doc_new_string(&import->arena, text));
}

static void set_number(struct import *import, struct doc *map, const char *key, double number)
{
    char text[NUM_DOUBLE_BYTES];
    size_t size = num_format_double(number, text);
    struct doc *value = doc_new(&import->arena, DOC_NUMBER);
    char *kept = arena_strdup(&import->arena, text, size);
    if (value && kept) value->text = (struct str){kept, size};
    if (!kept) import->no_memory = true;
    set(import, map, key, value);
}

static struct doc *new_map(struct import *import)
{
    struct doc *map = doc_new(&import->arena, DOC_MAP);
    if (!map) import->no_memory = true;
    return map;
}

static struct doc *point_document(struct import *import, const struct neuron_tag *tag,
                                  const struct neuron_point *point, struct str column)
{
    struct doc *doc = new_map(import);
    set_text(import, doc, "column", column);
    set_text(import, doc, "address", str_of(point->address));
    set_text(import, doc, "type", str_of(point->type));
    if (point->order[0]) set_text(import, doc, "order", str_of(point->order));
    if (strcmp(point->access, "r") != 0) set_text(import, doc, "access", str_of(point->access));
    if (point->scale != 1) set_number(import, doc, "scale", point->scale);
    if (point->offset != 0) set_number(import, doc, "offset", point->offset);
    if (point->precision >= 0) set_number(import, doc, "precision", point->precision);
    if (point->stores_changes) set_text(import, doc, "store", STR("change"));
    if (tag->description.size) set_text(import, doc, "description", tag->description);
    return doc;
}

/* ---- groups ---- */

static bool is_taken(const struct import *import, const struct group *group)
{
    for (size_t i = 0; i < import->group_count; i++)
        if (strcmp(import->groups[i].own, group->own) == 0 ||
            strcmp(import->groups[i].path, group->path) == 0)
            return true;
    return false;
}

/* Its Device's name and path. Groups whose names differ only in what names here cannot hold, or
 * behind where they are cut, get a number: the same one, when the same list is imported again. */
static void name_group(struct import *import, struct group *group)
{
    struct str segment = clean(import, group->name);
    char own[NAME_BYTES];
    size_t size = segment.size > SEGMENT_BYTES ? SEGMENT_BYTES : segment.size;
    while (size < segment.size && size && ((unsigned char)segment.at[size] & 0xc0) == 0x80) size--;
    make_name(own, import->connection, group->name, import->group_count + 1);
    snprintf(group->own, sizeof group->own, "%s", own);
    snprintf(group->path, sizeof group->path, "%.80s/%.*s", import->connection, (int)size,
             segment.at);
    for (size_t n = 2; is_taken(import, group); n++) {
        snprintf(group->own, sizeof group->own, "%.160s-%zu", own, n);
        snprintf(group->path, sizeof group->path, "%.80s/%.*s_%zu", import->connection, (int)size,
                 segment.at, n);
    }
}

static struct group *find_group(struct import *import, const struct neuron_tag *tag)
{
    const char *table = cli_value(import->args, "--table");
    for (size_t i = 0; i < import->group_count; i++)
        if (str_equal(import->groups[i].name, tag->group)) return &import->groups[i];
    if (import->group_count == GROUPS_MAX) return NULL;
    struct group *group = &import->groups[import->group_count];
    uint64_t interval = 0;
    *group = (struct group){.name = tag->group, .interval_ms = 1000};
    name_group(import, group);
    import->group_count++;
    snprintf(group->table, sizeof group->table, "%s", table ? table : group->own);
    if (num_parse_u64(tag->interval, &interval) && interval >= 10 && interval <= 86400000)
        group->interval_ms = (int64_t)interval;
    group->points = doc_new(&import->arena, DOC_LIST);
    if (!group->points) import->no_memory = true;
    return group;
}

/* The table's columns; a name that is taken with another type gives NULL. */
static struct doc *find_columns(struct import *import, const char *table)
{
    struct doc *found = doc_get(import->tables, table);
    if (found) return found;
    struct doc *made = new_map(import);
    set(import, import->tables, table, made);
    return made;
}

static bool has_point(const struct group *group, struct str column)
{
    for (size_t i = 0; i < group->points->count; i++)
        if (str_equal(doc_text(doc_get(group->points->items[i].value, "column")), column))
            return true;
    return false;
}

static enum err take_tag(struct import *import, const struct neuron_tag *tag, struct why *why)
{
    struct neuron_point point;
    struct group *group = find_group(import, tag);
    if (!group) return why_set(why, ERR_LIMIT, "more than %d groups", GROUPS_MAX);
    enum err err = neuron_translate(tag, import->orders, &point, why);
    struct str column = clean(import, tag->name);
    if (!err) err = schema_check_name(column, "column", why);
    if (err || import->no_memory) return err;
    char key[256];
    if (!str_copy(key, sizeof key, column))
        return why_set(why, ERR_LIMIT, "the name is longer than %zu bytes", sizeof key - 1);
    struct doc *columns = find_columns(import, group->table), *type = doc_get(columns, key);
    if (type && !str_is(type->text, point.column_type))
        return why_set(why, ERR_CONFLICT, "column %s of table %s is %.*s already, and would be %s",
                       key, group->table, (int)type->text.size, type->text.at, point.column_type);
    if (has_point(group, column))
        return why_set(why, ERR_EXISTS, "the group has a tag of this name already");
    if (!type) set_text(import, columns, key, str_of(point.column_type));
    if (!doc_append(&import->arena, group->points, point_document(import, tag, &point, column)))
        import->no_memory = true;
    import->point_count++;
    return ERR_OK;
}

static void take_tags(struct import *import, const struct neuron_tag *tags, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct why why = WHY_NONE;
        if (take_tag(import, &tags[i], &why) == ERR_OK) continue;
        import->left_out++;
        fprintf(stderr, "line %u: %.*s: %s; left out\n", tags[i].line, (int)tags[i].name.size,
                tags[i].name.at, why.text);
    }
}

/* ---- what becomes of them ---- */

static struct doc *document(struct import *import, const char *kind, const char *name,
                            struct doc *spec)
{
    struct doc *doc = new_map(import), *metadata = new_map(import);
    set_text(import, metadata, "name", str_of(name));
    set_text(import, doc, "apiVersion", STR("millrace.io/v1"));
    set_text(import, doc, "kind", str_of(kind));
    set(import, doc, "metadata", metadata);
    set(import, doc, "spec", spec);
    return doc;
}

static struct doc *device_document(struct import *import, const struct group *group)
{
    struct doc *spec = new_map(import);
    char interval[32];
    snprintf(interval, sizeof interval, "%lldms", (long long)group->interval_ms);
    set_text(import, spec, "path", str_of(group->path));
    set_text(import, spec, "table", str_of(group->table));
    set_text(import, spec, "connection", str_of(import->connection));
    set_text(import, spec, "interval", str_of(interval));
    set(import, spec, "points", group->points);
    return document(import, "Device", group->own, spec);
}

static bool has_column(const struct doc *list, struct str name)
{
    for (size_t i = 0; list && i < list->count; i++)
        if (str_equal(doc_text(doc_get(list->items[i].value, "name")), name)) return true;
    return false;
}

/* `old` may be a table's columns on the node, which stay as they are. */
static struct doc *table_document(struct import *import, const char *name,
                                  const struct doc *columns, const struct doc *old)
{
    struct doc *list = doc_new(&import->arena, DOC_LIST), *spec = new_map(import);
    for (size_t i = 0; old && list && i < old->count; i++)
        if (!doc_append(&import->arena, list, doc_copy(&import->arena, old->items[i].value)))
            import->no_memory = true;
    for (size_t i = 0; list && i < columns->count; i++) {
        if (has_column(old, columns->items[i].key)) continue;
        struct doc *column = new_map(import);
        set_text(import, column, "name", columns->items[i].key);
        set_text(import, column, "type", columns->items[i].value->text);
        if (!column || !doc_append(&import->arena, list, column)) import->no_memory = true;
    }
    set(import, spec, "columns", list);
    return document(import, "Table", name, spec);
}

static void print_document(const struct doc *doc)
{
    struct buf out = BUF_EMPTY;
    doc_write_yaml(&out, doc, 0);
    printf("---\n%.*s", (int)out.size, out.at);
    buf_free(&out);
}

/* GET without complaining: NULL when there is none. */
static const struct doc *get(struct import *import, struct client *client, const char *plural,
                             const char *name)
{
    struct client_answer answer = {0};
    struct buf path = BUF_EMPTY;
    struct doc *doc = NULL;
    equipment_add_path(&path, import->args, plural, name, NULL);
    enum err err = client_request(client, "GET", buf_cstr(&path), "application/json", NULL,
                                  (struct str){0}, &answer, NULL);
    if (!err && answer.status == 200) {
        char *kept = arena_strdup(&import->arena, answer.body.at, answer.body.size);
        if (kept)
            (void)doc_read_json((struct str){kept, answer.body.size}, &import->arena, &doc, NULL);
    }
    client_answer_free(&answer);
    buf_free(&path);
    return doc;
}

/* Creates the document, or changes the one of that name. */
static bool put(struct import *import, struct client *client, const char *plural, const char *name,
                const struct doc *doc, bool is_there)
{
    struct buf path = BUF_EMPTY, body = BUF_EMPTY;
    struct why why = WHY_NONE;
    struct client_answer answer = {0};
    char message[1024] = "";
    equipment_add_path(&path, import->args, plural, is_there ? name : NULL, NULL);
    doc_write_json(&body, doc);
    enum err err =
        client_request(client, is_there ? "PATCH" : "POST", buf_cstr(&path), "application/json",
                       is_there ? "application/merge-patch+json" : "application/json",
                       buf_str(&body), &answer, &why);
    if (!err && answer.status / 100 != 2) {
        client_error_text(&answer, message, sizeof message);
        err = why_set(&why, ERR_INVALID, "%s", message);
    }
    if (err) cli_fail(import->args, CLI_FAILED, "%s %s: %s", plural, name, why_text(&why, err));
    client_answer_free(&answer);
    buf_free(&path);
    buf_free(&body);
    return !err;
}

static bool send_all(struct import *import, struct client *client)
{
    for (size_t i = 0; i < import->tables->count; i++) {
        char name[NAME_BYTES];
        (void)str_copy(name, sizeof name, import->tables->items[i].key);
        const struct doc *old = get(import, client, "tables", name);
        struct doc *table = table_document(import, name, import->tables->items[i].value,
                                           doc_find(old, "spec.columns"));
        if (import->no_memory || !put(import, client, "tables", name, table, old != NULL))
            return false;
    }
    for (size_t i = 0; i < import->group_count; i++) {
        const struct group *group = &import->groups[i];
        const struct doc *old = get(import, client, "devices", group->own);
        struct doc *device = device_document(import, group);
        if (import->no_memory || !put(import, client, "devices", group->own, device, old != NULL))
            return false;
        if (isatty(STDERR_FILENO))
            fprintf(stderr, "\r\033[K%zu of %zu devices", i + 1, import->group_count);
    }
    if (isatty(STDERR_FILENO)) fputs("\r\033[K", stderr);
    return true;
}

static void print_all(struct import *import)
{
    for (size_t i = 0; i < import->tables->count && !import->no_memory; i++) {
        char name[NAME_BYTES];
        (void)str_copy(name, sizeof name, import->tables->items[i].key);
        print_document(table_document(import, name, import->tables->items[i].value, NULL));
    }
    for (size_t i = 0; i < import->group_count && !import->no_memory; i++)
        print_document(device_document(import, &import->groups[i]));
}

/* The byte orders, as they were applied. */
static void print_orders(const struct import *import)
{
    fprintf(stderr, "byte orders (change one with --order '#BL=CDAB'):\n");
    for (size_t i = 0; i < NEURON_ORDER_ROWS; i++) {
        const struct neuron_order *row = &import->orders[i];
        char bits[16];
        snprintf(bits, sizeof bits, "%u bit", row->bytes * 8);
        fprintf(stderr, "  %-4s %-7s %-9s %u tags\n", row->suffix, row->bytes ? bits : "string",
                row->order, row->used);
    }
}

static int run(struct import *import)
{
    if (import->no_memory) return cli_fail(import->args, CLI_FAILED, "out of memory");
    bool done = true;
    print_orders(import);
    if (cli_value(import->args, "--dry-run")) {
        print_all(import);
    } else {
        struct client *client = client_open(import->args);
        done = client && send_all(import, client);
        client_close(client);
    }
    if (!done) return CLI_FAILED;
    fprintf(stderr, "%zu points in %zu devices; %zu tags left out\n", import->point_count,
            import->group_count, import->left_out);
    return import->point_count ? CLI_OK : CLI_FAILED;
}

static int read_orders(struct import *import)
{
    memcpy(import->orders, neuron_orders, sizeof import->orders);
    for (size_t i = 0; i < import->args->repeated_count; i++) {
        struct why why = WHY_NONE;
        if (neuron_override(import->orders, str_of(import->args->repeated[i]), &why))
            return cli_fail(import->args, CLI_USAGE, "--order %s", why.text);
    }
    return CLI_OK;
}

static int read_list(struct import *import, const char *path, struct buf *text)
{
    struct neuron_tag *tags = NULL;
    size_t count = 0;
    struct why why = WHY_NONE;
    if (!cli_read_file(path, text))
        return cli_fail(import->args, CLI_USAGE, "%s: %s", path, strerror(errno));
    enum err err = str_is_utf8(buf_str(text))
                       ? neuron_read(buf_str(text), &import->arena, &tags, &count, &why)
                       : why_set(&why, ERR_INVALID, "is not UTF-8; save it as CSV UTF-8");
    if (err) return cli_fail(import->args, CLI_USAGE, "%s: %s", path, why_text(&why, err));
    import->groups = arena_alloc(&import->arena, GROUPS_MAX * sizeof *import->groups);
    import->tables = new_map(import);
    if (!import->groups) import->no_memory = true;
    if (!import->no_memory) take_tags(import, tags, count);
    return CLI_OK;
}

int cli_import(const struct cli_args *args)
{
    const char *path = cli_value(args, "--neuron");
    if (cli_value(args, "--acl") || cli_value(args, "--passwords"))
        return cli_import_mosquitto(args);
    if (args->word_count) return cli_import_csv(args);
    struct import import = {.args = args, .connection = cli_value(args, "--connection")};
    if (!path || !import.connection)
        return cli_fail(args, CLI_USAGE, "usage: millrace import %s", args->command->synopsis);
    struct buf text = BUF_EMPTY;
    arena_init(&import.arena, NULL);
    int code = read_orders(&import);
    if (code == CLI_OK) code = read_list(&import, path, &text);
    if (code == CLI_OK) code = run(&import);
    buf_free(&text);
    arena_free(&import.arena);
    return code;
}
