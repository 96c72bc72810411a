/* schema.c - see schema.h. A snapshot owns all its texts in one arena, so releasing it is one call.
 */
#include "data/schema.h"
#include <string.h>

struct schema *schema_new(const char *ns, const char *name, uint32_t table_id)
{
    struct schema *schema = mem_alloc_zero(1, sizeof *schema);
    if (!schema) return NULL;
    arena_init(&schema->arena, NULL);
    atomic_init(&schema->refs, 1);
    schema->table_id = table_id;
    schema->next_column_id = 1;
    schema->open = true;
    schema->ns = arena_strdup(&schema->arena, ns, strlen(ns));
    schema->name = arena_strdup(&schema->arena, name, strlen(name));
    schema->description = schema->device_tags = "";
    if (!schema->ns || !schema->name) {
        schema_release(schema);
        return NULL;
    }
    return schema;
}

static enum err copy_columns(struct schema *to, const struct schema *from)
{
    for (uint32_t i = 0; i < from->column_count; i++) {
        const struct column *c = &from->columns[i];
        enum err err =
            schema_add_column(to, c->id, c->name, c->type, c->owner, c->unit, c->description, NULL);
        if (err) return err;
    }
    return ERR_OK;
}

struct schema *schema_copy(const struct schema *from)
{
    struct schema *to = schema_new(from->ns, from->name, from->table_id);
    if (!to) return NULL;
    to->revision = from->revision + 1;
    to->retention_ns = from->retention_ns;
    to->durability = from->durability;
    to->durability_interval_ns = from->durability_interval_ns;
    to->open = from->open;
    to->rollup_count = from->rollup_count;
    memcpy(to->rollups, from->rollups, sizeof to->rollups);
    to->rollup_of = from->rollup_of;
    to->rollup_every_ns = from->rollup_every_ns;
    to->description = arena_strdup(&to->arena, from->description, strlen(from->description));
    to->device_tags = arena_strdup(&to->arena, from->device_tags, strlen(from->device_tags));
    if (!to->description || !to->device_tags || copy_columns(to, from)) {
        schema_release(to);
        return NULL;
    }
    to->next_column_id = from->next_column_id;
    return to;
}

/* The columns array doubles inside the arena: what is left behind is at most as large again. */
static struct column *make_room(struct schema *schema)
{
    uint32_t count = schema->column_count;
    if (count && (count & (count - 1))) return schema->columns;
    struct column *columns =
        arena_zero(&schema->arena, count ? 2 * (size_t)count : 1, sizeof *columns);
    if (!columns) return NULL;
    if (count) memcpy(columns, schema->columns, count * sizeof *columns);
    return schema->columns = columns;
}

static enum err append_column(struct schema *schema, uint16_t id, const char *name, enum type type,
                              enum column_owner owner, const char *unit, const char *description)
{
    struct column *columns = make_room(schema);
    char *own_name = arena_strdup(&schema->arena, name, strlen(name));
    char *own_unit = arena_strdup(&schema->arena, unit ? unit : "", strlen(unit ? unit : ""));
    char *own_text = arena_strdup(&schema->arena, description ? description : "",
                                  strlen(description ? description : ""));
    if (!columns || !own_name || !own_unit || !own_text) return ERR_NO_MEMORY;
    if (id == 0) id = schema->next_column_id;
    if (id >= schema->next_column_id) schema->next_column_id = (uint16_t)(id + 1);
    columns[schema->column_count++] =
        (struct column){id, type, owner, own_name, own_unit, own_text};
    return ERR_OK;
}

enum err schema_add_column(struct schema *schema, uint16_t id, const char *name, enum type type,
                           enum column_owner owner, const char *unit, const char *description,
                           struct why *why)
{
    MUST(type > TYPE_NONE && type < TYPE_COUNT);
    enum err err = schema_check_name(str_of(name), "column", why);
    if (err) return err;
    if (schema_find(schema, str_of(name)))
        return why_set(why, ERR_EXISTS, "column \"%s\" exists already in table %s", name,
                       schema->name);
    if (schema->column_count >= SCHEMA_COLUMNS_MAX)
        return why_set(why, ERR_LIMIT, "table %s has %d columns, the most there can be",
                       schema->name, SCHEMA_COLUMNS_MAX);
    if (id == 0 && schema->next_column_id == UINT16_MAX)
        return why_set(why, ERR_LIMIT, "table %s has used up its column numbers", schema->name);
    return append_column(schema, id, name, type, owner, unit, description);
}

enum err schema_add_plain_column(struct schema *schema, const char *name, enum type type,
                                 const char *unit)
{
    MUST(schema->column_count < SCHEMA_COLUMNS_MAX);
    return append_column(schema, 0, name, type, COLUMN_OWNER_DOCUMENT, unit, "");
}

const struct schema_rollup *schema_find_rollup(const struct schema *schema, int64_t every_ns)
{
    for (uint32_t i = 0; i < schema->rollup_count; i++)
        if (schema->rollups[i].every_ns == every_ns) return &schema->rollups[i];
    return NULL;
}

enum err schema_add_rollup(struct schema *schema, int64_t every_ns, int64_t retention_ns)
{
    MUST(every_ns > 0 && retention_ns >= 0);
    if (schema_find_rollup(schema, every_ns)) return ERR_EXISTS;
    if (schema->rollup_count == SCHEMA_ROLLUPS_MAX) return ERR_LIMIT;
    uint32_t at = schema->rollup_count++;
    for (; at && schema->rollups[at - 1].every_ns > every_ns; at--)
        schema->rollups[at] = schema->rollups[at - 1];
    schema->rollups[at] = (struct schema_rollup){every_ns, retention_ns};
    return ERR_OK;
}

bool schema_same_rollups(const struct schema *a, const struct schema *b)
{
    if (a->rollup_count != b->rollup_count) return false;
    for (uint32_t i = 0; i < a->rollup_count; i++)
        if (a->rollups[i].every_ns != b->rollups[i].every_ns ||
            a->rollups[i].retention_ns != b->rollups[i].retention_ns)
            return false;
    return true;
}

struct schema *schema_share(const struct schema *schema)
{
    struct schema *shared = (struct schema *)(uintptr_t)schema;
    atomic_fetch_add_explicit(&shared->refs, 1, memory_order_relaxed);
    return shared;
}

void schema_release(struct schema *schema)
{
    if (!schema || atomic_fetch_sub_explicit(&schema->refs, 1, memory_order_acq_rel) != 1) return;
    arena_free(&schema->arena);
    mem_free(schema);
}

const struct column *schema_find(const struct schema *schema, struct str name)
{
    for (uint32_t i = 0; i < schema->column_count; i++)
        if (str_is(name, schema->columns[i].name)) return &schema->columns[i];
    return NULL;
}

const struct column *schema_column(const struct schema *schema, uint16_t id)
{
    if (id == 0) return NULL;
    /* Ids grow with the position unless columns were removed: look there first. */
    if (id <= schema->column_count && schema->columns[id - 1].id == id)
        return &schema->columns[id - 1];
    for (uint32_t i = 0; i < schema->column_count; i++)
        if (schema->columns[i].id == id) return &schema->columns[i];
    return NULL;
}

enum err schema_check_name(struct str name, const char *what, struct why *why)
{
    static const char *const reserved[] = {"time", "device", "quality", "received"};
    int shown = (int)(name.size > 60 ? 60 : name.size);
    if (name.size == 0) return why_set(why, ERR_INVALID, "a %s name is empty", what);
    if (name.size > SCHEMA_NAME_BYTES_MAX)
        return why_set(why, ERR_LIMIT, "%s name '%.*s…' is longer than %d bytes", what, shown,
                       name.at, SCHEMA_NAME_BYTES_MAX);
    if (!str_is_utf8(name)) return why_set(why, ERR_INVALID, "a %s name is not UTF-8", what);
    for (size_t i = 0; i < name.size; i++) {
        unsigned char c = (unsigned char)name.at[i];
        if (c < 0x20 || c == 0x7f || strchr("/+#\"@", c))
            return why_set(
                why, ERR_INVALID,
                "%s name '%.*s': the character at byte %zu is not allowed (none of / + # \" @)",
                what, shown, name.at, i);
    }
    if (strcmp(what, "column") != 0) return ERR_OK;
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++)
        if (str_is(name, reserved[i]))
            return why_set(why, ERR_INVALID, "column name '%s' is reserved", reserved[i]);
    return ERR_OK;
}
