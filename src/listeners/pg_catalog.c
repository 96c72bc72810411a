/* pg_catalog.c - the snapshot behind pg_catalog and information_schema. */
#include "listeners/pg_catalog.h"
#include "listeners/pg_priv.h"
#include "listeners/sys_source.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- rows ---- */

void pg_put(struct row_out *out, const char *letters, ...)
{
    va_list args;
    va_start(args, letters);
    for (const char *l = letters; *l; l++) {
        const char *text;
        char c[2] = "";
        switch (*l) {
        case 'i': put_int(out, va_arg(args, int64_t)); break;
        case 'd': put_double(out, va_arg(args, double)); break;
        case 'b': put_bool(out, va_arg(args, int)); break;
        case 't':
            text = va_arg(args, const char *);
            if (text)
                put_copy(out, text);
            else
                put_null(out);
            break;
        case 'c':
            c[0] = (char)va_arg(args, int);
            put_copy(out, c);
            break;
        case '-': put_null(out); break;
        case '0': put_int(out, 0); break;
        case 'f': put_bool(out, false); break;
        case 'T': put_bool(out, true); break;
        case 'e': put_text(out, STR("")); break;
        default: MUST(false);
        }
    }
    va_end(args);
}

/* ---- names and numbers ---- */

const char *pg_namespace_name(uint32_t oid)
{
    static const struct {
        uint32_t oid;
        const char *name;
    } names[] = {{PG_OID_CATALOG, "pg_catalog"},
                 {PG_OID_PUBLIC, "public"},
                 {PG_OID_SYS, "sys"},
                 {PG_OID_INFORMATION, "information_schema"}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].oid == oid) return names[i].name;
    return NULL;
}

const char *pg_relation_name(const struct pg_relation *r, char out[300])
{
    if (r->list) return r->list->name;
    if (r->view) return r->view->name;
    if (r->kind != 'i') return r->schema->name;
    snprintf(out, 300, "%s_pkey", r->schema->name);
    return out;
}

const struct pg_relation *pg_relation_find(const struct pg_catalog *c, uint32_t oid)
{
    for (size_t i = 0; i < c->relation_count; i++)
        if (c->relations[i].oid == oid) return &c->relations[i];
    return NULL;
}

/* One part of a name: quoted, or folded. */
static struct str take_part(struct str *rest, char out[256])
{
    size_t i = 0, n = 0;
    bool quoted = rest->size && rest->at[0] == '"';
    for (i = quoted; i < rest->size && n < 255; i++) {
        char c = rest->at[i];
        if (quoted ? c == '"' : c == '.') break;
        out[n++] = !quoted && c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
    }
    if (quoted && i < rest->size) i++;
    if (i < rest->size && rest->at[i] == '.') i++;
    *rest = (struct str){rest->at + i, rest->size - i};
    return (struct str){out, n};
}

const struct pg_relation *pg_relation_named(const struct pg_catalog *c, struct str text)
{
    char first[256], second[256], name[300];
    struct str rest = text, schema = {0}, wanted = take_part(&rest, first);
    if (rest.size) {
        schema = wanted;
        wanted = take_part(&rest, second);
    }
    for (size_t i = 0; i < c->relation_count; i++) {
        const struct pg_relation *r = &c->relations[i];
        if (str_is(wanted, pg_relation_name(r, name)) &&
            (!schema.size || str_is(schema, pg_namespace_name(r->namespace_oid))))
            return r;
    }
    return NULL;
}

const char *pg_user_name(const struct pg_catalog *c)
{
    return c->identity ? c->identity->user : "";
}

bool pg_is_admin(const struct pg_catalog *c)
{
    return access_scope(c->identity, VERB_CREATE, "User", STR(""), STR("")) == ACCESS_ALL;
}

const char *pg_comment(struct arena *arena, const char *description, const char *unit)
{
    bool has_unit = unit[0] && strncmp(unit, "pg:", 3) != 0;
    if (!has_unit) return description;
    const char *text = description[0] ? arena_printf(arena, "%s [%s]", description, unit)
                                      : arena_printf(arena, "[%s]", unit);
    return text ? text : "";
}

/* Object ids of PostgreSQL's own relations, which clients write as numbers or as '…'::regclass. */
static const struct {
    const char *name;
    uint32_t oid;
} pg_known_oids[] = {
    {"pg_attrdef", 2604},  {"pg_attribute", 1249},     {"pg_authid", 1260},
    {"pg_class", 1259},    {"pg_collation", 3456},     {"pg_constraint", 2606},
    {"pg_database", 1262}, {"pg_description", 2609},   {"pg_extension", 3079},
    {"pg_index", 2610},    {"pg_inherits", 2611},      {"pg_namespace", 2615},
    {"pg_operator", 2617}, {"pg_proc", 1255},          {"pg_rewrite", 2618},
    {"pg_sequence", 2224}, {"pg_statistic_ext", 3381}, {"pg_tablespace", 1213},
    {"pg_trigger", 2620},  {"pg_type", 1247},          {"pg_language", 2612},
};

/* ---- the snapshot ---- */

static bool mentions(struct str text, const char *word)
{
    size_t size = strlen(word);
    for (size_t i = 0; i + size <= text.size; i++)
        if (str_is_nocase((struct str){text.at + i, size}, word)) return true;
    return false;
}

static bool is_visible(const struct pg_catalog *c, const struct schema *s)
{
    static const enum access_verb verbs[] = {VERB_QUERY, VERB_INGEST, VERB_CREATE, VERB_UPDATE,
                                             VERB_DELETE};
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        if (access_scope(c->identity, verbs[i], "Table", str_of(s->ns), str_of(s->name)))
            return true;
    return false;
}

/* Namespaces are databases: the one asked in comes first. */
static void add_database(struct pg_catalog *c, struct str ns)
{
    for (size_t i = 0; i < c->database_count; i++)
        if (str_equal(c->databases[i], ns)) return;
    c->databases[c->database_count++] = ns;
}

static void add_lists(struct pg_catalog *c, const struct list_table *lists, size_t count,
                      uint32_t namespace_oid)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t oid = PG_OID_LISTS + (uint32_t)c->relation_count;
        for (size_t k = 0; k < sizeof pg_known_oids / sizeof pg_known_oids[0]; k++)
            if (strcmp(pg_known_oids[k].name, lists[i].name) == 0 &&
                namespace_oid == PG_OID_CATALOG)
                oid = pg_known_oids[k].oid;
        bool is_table = namespace_oid == PG_OID_CATALOG;
        c->relations[c->relation_count++] =
            (struct pg_relation){oid, namespace_oid, is_table ? 'r' : 'v', NULL, &lists[i], NULL};
    }
}

static void add_attribute(struct pg_catalog *c, const struct pg_relation *r, int number,
                          const char *name, enum type type, const char *unit,
                          const char *description)
{
    c->attributes[c->attribute_count++] =
        (struct pg_attribute){r, number, name, unit, description, type};
}

static size_t count_columns(const struct pg_relation *r)
{
    size_t count = 0;
    if (r->schema) return r->kind == 'i' ? 2 : r->schema->column_count + 2;
    if (r->view) return r->view->column_count;
    while (r->list->columns[count].name) count++;
    return count;
}

static void add_attributes(struct pg_catalog *c, const struct pg_relation *r)
{
    if (r->schema && r->kind == 'i') {
        add_attribute(c, r, 1, "device", TYPE_TEXT, "", "");
        add_attribute(c, r, 2, "time", TYPE_TIMESTAMP, "", "");
        return;
    }
    if (r->schema) {
        add_attribute(c, r, 1, "time", TYPE_TIMESTAMP, "", "");
        add_attribute(c, r, 2, "device", TYPE_TEXT, "", "");
    }
    for (uint32_t i = 0; r->schema && i < r->schema->column_count; i++) {
        const struct column *column = &r->schema->columns[i];
        add_attribute(c, r, column->id + 2, column->name, column->type, column->unit,
                      column->description);
    }
    for (size_t i = 0; r->view && i < r->view->column_count; i++) {
        const struct sql_result_column *column = &r->view->columns[i];
        add_attribute(c, r, (int)i + 1, column->name, column->type, column->unit, "");
    }
    for (int i = 0; r->list && r->list->columns[i].name; i++)
        add_attribute(c, r, i + 1, r->list->columns[i].name, r->list->columns[i].type,
                      r->list->columns[i].unit, "");
}

static enum err fill(struct pg_catalog *c)
{
    size_t sys_count;
    const struct list_table *sys = sys_table_list(&sys_count);
    size_t most = store_table_count(c->tables);
    size_t lists =
        sys_count + pg_class_table_count + pg_more_table_count + pg_information_table_count;
    c->relations =
        arena_alloc(&c->arena, (most * 2 + c->view_count + lists) * sizeof *c->relations);
    c->databases = arena_alloc(&c->arena, (most + 2) * sizeof *c->databases);
    if (!c->relations || !c->databases) return ERR_NO_MEMORY;
    add_database(c, c->ns);
    add_database(c, STR("default"));
    for (uint32_t i = 0; i < most; i++) {
        const struct schema *s = store_table_at(c->tables, i);
        if (!is_visible(c, s)) continue;
        add_database(c, str_of(s->ns));
        if (!str_is(c->ns, s->ns)) continue;
        c->relations[c->relation_count++] =
            (struct pg_relation){PG_OID_TABLES + s->table_id, PG_OID_PUBLIC, 'r', s, NULL, NULL};
    }
    c->table_count = c->relation_count;
    for (size_t i = 0; i < c->table_count; i++) {
        const struct schema *s = c->relations[i].schema;
        c->relations[c->relation_count++] =
            (struct pg_relation){PG_OID_INDEXES + s->table_id, PG_OID_PUBLIC, 'i', s, NULL, NULL};
    }
    for (size_t i = 0; i < c->view_count; i++)
        c->relations[c->relation_count++] =
            (struct pg_relation){c->views[i].oid, PG_OID_PUBLIC, 'v', NULL, NULL, &c->views[i]};
    add_lists(c, sys, sys_count, PG_OID_SYS);
    add_lists(c, pg_class_tables, pg_class_table_count, PG_OID_CATALOG);
    add_lists(c, pg_more_tables, pg_more_table_count, PG_OID_CATALOG);
    add_lists(c, pg_information_tables, pg_information_table_count, PG_OID_INFORMATION);
    size_t columns = 0;
    for (size_t i = 0; i < c->relation_count; i++) columns += count_columns(&c->relations[i]);
    c->attributes = arena_alloc(&c->arena, (columns + 1) * sizeof *c->attributes);
    if (!c->attributes) return ERR_NO_MEMORY;
    for (size_t i = 0; i < c->relation_count; i++) add_attributes(c, &c->relations[i]);
    MUST(c->attribute_count == columns);
    return ERR_OK;
}

/* All relations of all three files as one list, made once a statement. */
static enum err join_lists(struct pg_catalog *c)
{
    static const struct {
        const struct list_table *tables;
        const size_t *count;
    } lists[] = {{pg_class_tables, &pg_class_table_count},
                 {pg_more_tables, &pg_more_table_count},
                 {pg_information_tables, &pg_information_table_count}};
    size_t count = pg_class_table_count + pg_more_table_count + pg_information_table_count, at = 0;
    struct list_table *all = arena_alloc(&c->arena, count * sizeof *all);
    if (!all) return ERR_NO_MEMORY;
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        memcpy(all + at, lists[i].tables, *lists[i].count * sizeof *all);
        at += *lists[i].count;
    }
    c->list = (struct list_context){&list_source_pg, all, count, c, true};
    return ERR_OK;
}

enum err pg_catalog_open(struct pg_catalog *c, struct str text, struct budget *budget)
{
    static const char *const words[] = {"pg_", "information_schema", "reg", "_description"};
    bool any = false;
    MUST(c->service && !c->tables);
    c->list.source = &list_source_pg;
    arena_init(&c->arena, budget);
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) any |= mentions(text, words[i]);
    if (!any || !c->service->store) return ERR_OK;
    c->tables = store_tables(c->service->store);
    enum err err = c->tables ? ERR_OK : ERR_NO_MEMORY;
    if (!err) err = pg_views_fill(c, mentions(text, "attr") || mentions(text, "columns"));
    if (!err) err = fill(c);
    return err ? err : join_lists(c);
}

void pg_catalog_close(struct pg_catalog *c)
{
    if (c->tables) store_tables_release(c->tables);
    c->tables = NULL;
    arena_free(&c->arena);
}
