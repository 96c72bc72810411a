/* tables_document.c - what a Table document does to the table that there is.
 *
 * Nothing that was stored is lost by a document: it may add a column, widen a type, change a unit
 * or text, and the table's own settings. A column that it leaves out is not dropped, so leaving one
 * out is refused (through the API) or told (in a manifest, whose other columns count all the same).
 * Columns that arrived by writing are no document's: they stay, mentioned or not. */
#include "base/hash.h"
#include "base/timetext.h"
#include "node/tables_priv.h"
#include <stdio.h>
#include <string.h>

/* ---- a document becomes a schema ---- */

static enum err set_texts(struct schema *s, const struct table_spec *spec)
{
    s->description = arena_strdup(&s->arena, spec->description.at, spec->description.size);
    struct buf tags = BUF_EMPTY;
    for (size_t i = 0; i < spec->device_tags.count; i++) {
        if (i) buf_add_char(&tags, ',');
        buf_add_str(&tags, spec->device_tags.items[i]);
    }
    s->device_tags = buf_failed(&tags) ? NULL : arena_strdup(&s->arena, tags.at, tags.size);
    buf_free(&tags);
    return s->description && s->device_tags ? ERR_OK : ERR_NO_MEMORY;
}

static void set_durability(struct schema *s, struct str text)
{
    s->durability = DURABILITY_COMMIT;
    s->durability_interval_ns = 0;
    if (!str_starts(text, "interval ")) return;
    s->durability = DURABILITY_INTERVAL;
    (void)duration_parse(str_trim((struct str){text.at + 9, text.size - 9}),
                         &s->durability_interval_ns); /* checked */
}

static enum err set_text(struct schema *s, const char **to, struct str text)
{
    if (str_is(text, *to)) return ERR_OK;
    const char *own = arena_strdup(&s->arena, text.at, text.size);
    if (own) *to = own;
    return own ? ERR_OK : ERR_NO_MEMORY;
}

/* A column that the table has: the document says what it means from now on. */
static enum err change_column(struct schema *s, struct column *column,
                              const struct table_column_spec *spec, struct why *why)
{
    enum type type = type_of_name(spec->type);
    if (column->type != type && !type_widens(column->type, type))
        return why_set(why, ERR_TYPE, "table %s: column %s is %s already, the document says %s",
                       s->name, column->name, type_name(column->type), type_name(type));
    column->type = type;
    column->owner = COLUMN_OWNER_DOCUMENT;
    enum err err = set_text(s, &column->unit, spec->unit);
    return err ? err : set_text(s, &column->description, spec->description);
}

static enum err set_columns(struct schema *s, const struct table_spec *spec, struct why *why)
{
    const struct table_column_spec *columns = spec->columns.items;
    enum err err = ERR_OK;
    for (size_t i = 0; i < spec->columns.count && !err; i++) {
        const struct table_column_spec *c = &columns[i];
        struct column *old = (struct column *)(uintptr_t)schema_find(s, c->name);
        if (old) {
            err = change_column(s, old, c, why);
            continue;
        }
        char name[SCHEMA_NAME_BYTES_MAX + 1], unit[128], text[512];
        (void)str_copy(name, sizeof name, c->name);
        (void)str_copy(unit, sizeof unit, c->unit);
        (void)str_copy(text, sizeof text, c->description);
        err = schema_add_column(s, 0, name, type_of_name(c->type), COLUMN_OWNER_DOCUMENT, unit,
                                text, why);
    }
    return err;
}

static bool same_columns(const struct schema *a, const struct schema *b)
{
    if (a->column_count != b->column_count) return false;
    for (uint32_t i = 0; i < a->column_count; i++) {
        const struct column *x = &a->columns[i], *y = &b->columns[i];
        if (x->type != y->type || x->owner != y->owner || strcmp(x->unit, y->unit) != 0 ||
            strcmp(x->description, y->description) != 0)
            return false;
    }
    return true;
}

/* Checked: windows are unique, and not too many. */
static void set_rollups(struct schema *s, const struct table_spec *spec)
{
    const struct table_rollup_spec *rollups = spec->rollups.items;
    s->rollup_count = 0;
    for (size_t i = 0; i < spec->rollups.count; i++)
        (void)schema_add_rollup(s, rollups[i].every_ns, rollups[i].retention_ns);
}

static bool same_schema(const struct schema *a, const struct schema *b)
{
    return same_columns(a, b) && a->retention_ns == b->retention_ns && a->open == b->open &&
           a->durability == b->durability && schema_same_rollups(a, b) &&
           a->durability_interval_ns == b->durability_interval_ns &&
           strcmp(a->description, b->description) == 0 &&
           strcmp(a->device_tags, b->device_tags) == 0;
}

enum err tables_schema_of(struct service *service, const struct resource *r, struct schema **out,
                          struct why *why)
{
    const struct table_spec *spec = r->spec;
    char name[SCHEMA_NAME_BYTES_MAX + 1], ns[256];
    table_sql_name(r, name);
    (void)str_copy(ns, sizeof ns, r->ns);
    struct schema *old = store_find_table(service->store, r->ns, str_of(name));
    struct schema *s = old ? schema_copy(old) : schema_new(ns, name, 0);
    enum err err = s ? set_texts(s, spec) : ERR_NO_MEMORY;
    if (!err) {
        s->retention_ns = spec->retention_ns;
        s->open = spec->open;
        set_durability(s, spec->durability);
        set_rollups(s, spec);
        err = set_columns(s, spec, why);
    }
    if (!err && old && same_schema(s, old)) err = ERR_EXISTS; /* nothing to do */
    schema_release(old);
    if (err) schema_release(s);
    *out = err ? NULL : s;
    return err;
}

/* ---- checks before it is accepted ---- */

static void check_type(const struct column *old, const struct table_column_spec *c,
                       const char *path, const struct doc *at, struct problems *problems)
{
    enum type type = type_of_name(c->type);
    if (old->type == type || type_widens(old->type, type)) return;
    problem_add(problems, path, at,
                "column '%s' holds values of type %s, which cannot become %s: only widening keeps "
                "every value; add a column with another name",
                old->name, type_name(old->type), type_name(type));
}

/* Columns by name: a table may have thousands on both sides. */
static enum err index_columns(struct map *index, const struct table_spec *spec)
{
    const struct table_column_spec *columns = spec->columns.items;
    enum err err = ERR_OK;
    for (size_t i = 0; i < spec->columns.count && !err; i++)
        err = map_put(index, columns[i].name, (void *)(uintptr_t)&columns[i], NULL);
    return err;
}

static void check_column(const struct schema *s, const struct column *c,
                         const struct table_spec *spec, const struct map *index,
                         struct problems *problems)
{
    const struct table_column_spec *first = spec->columns.items;
    const struct table_column_spec *said = map_get(index, str_of(c->name));
    if (said) {
        char path[64];
        size_t i = (size_t)(said - first);
        struct doc at = {.line = spec->columns.lines[i]};
        snprintf(path, sizeof path, "spec.columns[%zu].type", i);
        check_type(c, said, path, &at, problems);
    } else if (c->owner != COLUMN_OWNER_DATA) {
        problem_add(problems, "spec.columns", NULL,
                    "column '%s' is left out: a document does not drop a column, since its values "
                    "would go; put it back, or rename it with ALTER TABLE %s RENAME COLUMN %s TO …",
                    c->name, s->name, c->name);
    }
}

static void check_against(const struct schema *s, const struct table_spec *spec,
                          struct problems *problems)
{
    struct map index;
    map_init(&index);
    if (index_columns(&index, spec))
        problem_add(problems, "spec.columns", NULL, "out of memory; try again");
    for (uint32_t i = 0; i < s->column_count && !problems->no_memory; i++)
        check_column(s, &s->columns[i], spec, &index, problems);
    map_free(&index);
}

/* The SQL name is the table: another name would be another, empty table. */
static void check_name(void *tables, const struct resource *r, struct problems *problems)
{
    struct service *service = tables_service(tables);
    char name[SCHEMA_NAME_BYTES_MAX + 1], other[SCHEMA_NAME_BYTES_MAX + 1];
    const struct resource *old = registry_get(service->registry, KIND_TABLE, r->ns, r->name);
    table_sql_name(r, name);
    if (old) table_sql_name(old, other);
    if (old && strcmp(name, other) != 0)
        problem_add(
            problems, "spec.name", NULL,
            "a table cannot be renamed by its document: it is %s in SQL and keeps its rows "
            "under that name; make a second Table %s and copy with INSERT, or leave the name",
            other, name);
    const struct resource *t = tables_index_find(tables_index_of(tables), r->ns, name, r->name);
    if (t)
        problem_add(problems, old ? "spec.name" : "metadata.name", NULL,
                    "the SQL name %s belongs to Table %.*s already", name, (int)t->name.size,
                    t->name.at);
}

/* A rollup's name must be free, or its own. */
static void check_rollups(struct service *service, const struct resource *r, const char *name,
                          const struct schema *base, struct problems *problems)
{
    const struct table_spec *spec = r->spec;
    const struct table_rollup_spec *rollups = spec->rollups.items;
    for (size_t i = 0; i < spec->rollups.count; i++) {
        struct buf own = BUF_EMPTY;
        buf_printf(&own, "%s_", name);
        buf_add_duration(&own, rollups[i].every_ns);
        const char *text = buf_cstr(&own);
        struct schema *there = text ? store_find_table(service->store, r->ns, str_of(text)) : NULL;
        struct doc at = {.line = spec->rollups.lines[i]};
        char path[64];
        snprintf(path, sizeof path, "spec.rollups[%zu].every", i);
        if (there && !(base && there->rollup_of == base->table_id))
            problem_add(problems, path, &at, "there is another table with the name %s", text);
        schema_release(there);
        buf_free(&own);
    }
}

void node_tables_check(void *tables, const struct resource *r, struct problems *problems)
{
    struct service *service = tables_service(tables);
    char name[SCHEMA_NAME_BYTES_MAX + 1];
    MUST(r->kind == KIND_TABLE);
    check_name(tables, r, problems);
    table_sql_name(r, name);
    struct schema *s = store_find_table(service->store, r->ns, str_of(name));
    if (s && s->rollup_of)
        problem_add(problems, "metadata.name", NULL,
                    "the SQL name %s belongs to a rollup, which needs no document", name);
    else if (s)
        check_against(s, r->spec, problems);
    check_rollups(service, r, name, s, problems);
    schema_release(s);
}

/* ---- a schema becomes a document ---- */

static bool add_text(struct arena *arena, struct doc *map, const char *key, const char *text)
{
    return !text[0] || doc_set(arena, map, key, doc_new_string(arena, str_of(text)));
}

static bool add_columns(struct arena *arena, struct doc *list, const struct schema *s)
{
    bool ok = true;
    for (uint32_t i = 0; ok && i < s->column_count; i++) {
        const struct column *from = &s->columns[i];
        struct doc *c = doc_new(arena, DOC_MAP);
        ok = c && add_text(arena, c, "name", from->name) &&
             add_text(arena, c, "type", type_name(from->type)) &&
             add_text(arena, c, "unit", from->unit) &&
             add_text(arena, c, "description", from->description) && doc_append(arena, list, c);
    }
    return ok;
}

static bool add_duration(struct arena *arena, struct doc *map, const char *key, int64_t ns)
{
    struct buf text = BUF_EMPTY;
    buf_add_duration(&text, ns);
    bool ok = buf_cstr(&text) && add_text(arena, map, key, text.at);
    buf_free(&text);
    return ok;
}

static bool add_rollups(struct arena *arena, struct doc *spec, const struct schema *s)
{
    if (!s->rollup_count) return true;
    struct doc *list = doc_new(arena, DOC_LIST);
    bool ok = list && doc_set(arena, spec, "rollups", list);
    for (uint32_t i = 0; ok && i < s->rollup_count; i++) {
        const struct schema_rollup *from = &s->rollups[i];
        struct doc *one = doc_new(arena, DOC_MAP);
        ok = one && add_duration(arena, one, "every", from->every_ns) &&
             (!from->retention_ns || add_duration(arena, one, "retention", from->retention_ns)) &&
             doc_append(arena, list, one);
    }
    return ok;
}

static bool add_settings(struct arena *arena, struct doc *spec, const struct schema *s)
{
    struct buf text = BUF_EMPTY;
    bool ok = add_text(arena, spec, "description", s->description);
    if (ok && s->retention_ns) {
        buf_add_duration(&text, s->retention_ns);
        ok = buf_cstr(&text) && add_text(arena, spec, "retention", text.at);
    }
    buf_clear(&text);
    if (ok && s->durability == DURABILITY_INTERVAL) {
        buf_add_text(&text, "interval ");
        buf_add_duration(&text, s->durability_interval_ns);
        ok = buf_cstr(&text) && add_text(arena, spec, "durability", text.at);
    }
    buf_free(&text);
    ok = ok && add_rollups(arena, spec, s);
    struct doc *open = ok && !s->open ? doc_new(arena, DOC_BOOL) : NULL;
    if (ok && !s->open) ok = open && doc_set(arena, spec, "open", open);
    struct doc *tags = ok && s->device_tags[0] ? doc_new(arena, DOC_LIST) : NULL;
    struct str rest = str_of(s->device_tags), piece;
    while (tags && rest.size && str_split(&rest, ',', &piece))
        if (!doc_append(arena, tags, doc_new_string(arena, piece))) return false;
    return ok && (!s->device_tags[0] || doc_set(arena, spec, "deviceTags", tags));
}

/* SQL names that a document's name says in full: small letters, digits and '_' (as '-'). Any other
 * (`Temp`, `a-b`, `_x`, `温度`) shares its nearest name with one of those, and gets the hash of the
 * SQL name behind it, always: were it only when the plain name is taken, two tables could change
 * names at a restart, and with them what deleting one of the two documents drops. */
static bool plain_name(const char *sql_name, char out[RESOURCE_NAME_BYTES_MAX + 1])
{
    if (!str_copy(out, RESOURCE_NAME_BYTES_MAX + 1, str_of(sql_name))) return false;
    for (char *p = out; *p; p++) {
        if (*p == '-' || *p == '.') return false;
        if (*p == '_') *p = '-';
    }
    return resource_is_name(str_of(out));
}

static void hashed_name(const char *sql_name, unsigned salt, char out[RESOURCE_NAME_BYTES_MAX + 1])
{
    enum { KEPT_BYTES = 200 }; /* leaves room for "-", 16 digits and the salt */
    size_t size = 0;
    for (const char *p = sql_name; *p && size < KEPT_BYTES; p++) {
        char c = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
        bool alnum = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        /* One '-' for any number of other bytes, none at the beginning. */
        if (!alnum && (size == 0 || out[size - 1] == '-')) continue;
        out[size++] = alnum ? c : '-';
    }
    if (size && out[size - 1] == '-') size--;
    if (!size) size = str_copy(out, 6, STR("table")) ? 5 : 0;
    snprintf(out + size, RESOURCE_NAME_BYTES_MAX + 1 - size, "-%016llx",
             (unsigned long long)hash_64(sql_name, strlen(sql_name)));
    if (salt) snprintf(out + size + 17, RESOURCE_NAME_BYTES_MAX + 1 - size - 17, "-%u", salt);
}

enum err tables_document_name(const struct registry *registry, const struct schema *s,
                              char out[RESOURCE_NAME_BYTES_MAX + 1], struct why *why)
{
    enum { TRIES = 16 }; /* documents that somebody gave just these names */
    if (plain_name(s->name, out) && !registry_get(registry, KIND_TABLE, str_of(s->ns), str_of(out)))
        return ERR_OK;
    for (unsigned salt = 0; salt < TRIES; salt++) {
        hashed_name(s->name, salt, out);
        MUST(resource_is_name(str_of(out)));
        if (!registry_get(registry, KIND_TABLE, str_of(s->ns), str_of(out))) return ERR_OK;
    }
    return why_set(why, ERR_EXISTS, "documents of other tables have all names that it could have");
}

struct doc *tables_document_of(const struct schema *s, const char *name, struct arena *arena)
{
    struct doc *top = doc_new(arena, DOC_MAP), *metadata = doc_new(arena, DOC_MAP),
               *spec = doc_new(arena, DOC_MAP), *columns = doc_new(arena, DOC_LIST);
    bool ok = top && metadata && spec && columns &&
              add_text(arena, top, "apiVersion", RESOURCE_API_VERSION) &&
              add_text(arena, top, "kind", "Table") && doc_set(arena, top, "metadata", metadata) &&
              doc_set(arena, top, "spec", spec) && add_text(arena, metadata, "name", name) &&
              add_text(arena, metadata, "namespace", s->ns) &&
              add_text(arena, spec, "name", s->name) && add_settings(arena, spec, s) &&
              doc_set(arena, spec, "columns", columns) && add_columns(arena, columns, s);
    return ok ? top : NULL;
}
