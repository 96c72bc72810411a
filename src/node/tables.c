/* tables.c - Table documents and the store's schemas, kept in step.
 *
 * The log is the truth about tables (a SCHEMA record precedes the first row), the Table document is
 * its face. At start each table of the log without a document gets one; a document that changes is
 * turned into a new schema. A column once there stays: a document that leaves one out does not
 * remove it. */
#include "base/timetext.h"
#include "node/node.h"
#include <stdio.h>
#include <string.h>

static const char component[] = "tables";

struct node_tables {
    struct service *service;
    bool starting; /* documents made from the log are not written back to it */
};

struct define_op {
    struct store_define define; /* first */
    struct node_tables *tables;
    char name[SCHEMA_NAME_BYTES_MAX + 1];
};

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
    if (!str_starts(text, "interval ")) return;
    s->durability = DURABILITY_INTERVAL;
    (void)duration_parse(str_trim((struct str){text.at + 9, text.size - 9}),
                         &s->durability_interval_ns); /* checked */
}

static enum err add_columns(struct schema *s, const struct table_spec *spec, struct why *why)
{
    const struct table_column_spec *columns = spec->columns.items;
    for (size_t i = 0; i < spec->columns.count; i++) {
        const struct table_column_spec *c = &columns[i];
        enum type type = type_of_name(c->type);
        const struct column *old = schema_find(s, c->name);
        if (old && old->type == type) continue;
        if (old)
            return why_set(why, ERR_TYPE, "table %s: column %s is %s already, the document says %s",
                           s->name, old->name, type_name(old->type), type_name(type));
        char name[SCHEMA_NAME_BYTES_MAX + 1], unit[128], text[512];
        (void)str_copy(name, sizeof name, c->name);
        (void)str_copy(unit, sizeof unit, c->unit);
        (void)str_copy(text, sizeof text, c->description);
        enum err err = schema_add_column(s, 0, name, type, COLUMN_OWNER_DOCUMENT, unit, text, why);
        if (err) return err;
    }
    return ERR_OK;
}

static bool same_schema(const struct schema *a, const struct schema *b)
{
    return a->column_count == b->column_count && a->retention_ns == b->retention_ns &&
           a->open == b->open && a->durability == b->durability &&
           a->durability_interval_ns == b->durability_interval_ns &&
           strcmp(a->description, b->description) == 0 &&
           strcmp(a->device_tags, b->device_tags) == 0;
}

static enum err schema_of_document(struct node_tables *t, const struct resource *r,
                                   struct schema **out, struct why *why)
{
    const struct table_spec *spec = r->spec;
    char name[SCHEMA_NAME_BYTES_MAX + 1], ns[256];
    table_sql_name(r, name);
    (void)str_copy(ns, sizeof ns, r->ns);
    struct schema *old = store_find_table(t->service->store, r->ns, str_of(name));
    struct schema *s = old ? schema_copy(old) : schema_new(ns, name, 0);
    enum err err = s ? set_texts(s, spec) : ERR_NO_MEMORY;
    if (!err) {
        s->retention_ns = spec->retention_ns;
        s->open = spec->open;
        set_durability(s, spec->durability);
        err = add_columns(s, spec, why);
    }
    if (!err && old && same_schema(s, old)) err = ERR_EXISTS; /* nothing to do */
    schema_release(old);
    if (err) schema_release(s);
    *out = err ? NULL : s;
    return err;
}

static void on_defined(struct completion *c)
{
    struct define_op *op = (struct define_op *)c;
    if (c->err)
        diag(op->tables->service->context, DIAG_ERROR, component, "table %s: %s", op->name,
             why_text(&c->why, c->err));
    schema_release(op->define.result);
    mem_free(op);
}

static void apply_document(struct node_tables *t, const struct resource *r)
{
    struct context *context = t->service->context;
    struct why why = WHY_NONE;
    struct define_op *op = mem_alloc_zero(1, sizeof *op);
    enum err err = op ? schema_of_document(t, r, &op->define.schema, &why) : ERR_NO_MEMORY;
    if (err) {
        if (err != ERR_EXISTS) diag(context, DIAG_ERROR, component, "%s", why_text(&why, err));
        mem_free(op);
        return;
    }
    op->tables = t;
    table_sql_name(r, op->name);
    completion_init(&op->define.completion, context->main, on_defined);
    store_define(t->service->store, &op->define);
}

static void on_resource(void *arg, const struct resource *old, const struct resource *now)
{
    struct node_tables *t = arg;
    (void)old;
    if (now && now->kind == KIND_TABLE && !t->starting) apply_document(t, now);
}

/* ---- DDL ---- */

static enum err change_columns(struct schema *s, const struct sql_ddl *ddl, struct why *why)
{
    for (size_t i = 0; i < ddl->column_count; i++) {
        const struct sql_ddl_column *c = &ddl->columns[i];
        struct column *known = (struct column *)(uintptr_t)schema_find(s, str_of(c->name));
        enum err err = ERR_OK;
        if (ddl->action == DDL_CREATE || ddl->action == DDL_ADD_COLUMN) {
            err = schema_add_column(s, 0, c->name, c->type, COLUMN_OWNER_DOCUMENT, c->unit,
                                    c->description, why);
        } else if (!known) {
            err = why_set(why, ERR_NO_COLUMN, "column \"%s\" does not exist in table %s", c->name,
                          s->name);
        } else if (ddl->action == DDL_RENAME_COLUMN) {
            err = schema_check_name(str_of(c->new_name), "column", why);
            if (!err && schema_find(s, str_of(c->new_name)))
                err = why_set(why, ERR_EXISTS, "column \"%s\" exists already in table %s",
                              c->new_name, s->name);
            if (!err && !(known->name = arena_strdup(&s->arena, c->new_name, strlen(c->new_name))))
                err = ERR_NO_MEMORY;
        } else if (!type_widens(known->type, c->type)) {
            err = why_set(why, ERR_TYPE,
                          "column \"%s\": %s cannot become %s: only widening keeps every value",
                          c->name, type_name(known->type), type_name(c->type));
        } else {
            known->type = c->type;
        }
        if (err) return err;
    }
    return ERR_OK;
}

static enum err schema_of_ddl(struct node_tables *t, struct table_change *change,
                              struct schema **out, struct why *why)
{
    const struct sql_ddl *ddl = change->ddl;
    char ns[256];
    (void)str_copy(ns, sizeof ns, change->ns);
    struct schema *old = store_find_table(t->service->store, change->ns, str_of(ddl->table));
    bool create = ddl->action == DDL_CREATE;
    enum err err = ERR_OK;
    if (create && old)
        err = ddl->if_not_exists ? ERR_OK
                                 : why_set(why, ERR_EXISTS, "table %s exists already", ddl->table);
    else if (!create && !old)
        err = ddl->if_exists ? ERR_OK
                             : why_set(why, ERR_NO_TABLE, "table %s does not exist", ddl->table);
    *out = NULL;
    if (err || (create && old) || (!create && !old)) {
        schema_release(old);
        return err;
    }
    struct schema *s = create ? schema_new(ns, ddl->table, 0) : schema_copy(old);
    schema_release(old);
    err = s ? schema_check_name(str_of(ddl->table), "table", why) : ERR_NO_MEMORY;
    if (!err && ddl->action != DDL_DROP) err = change_columns(s, ddl, why);
    if (!err && ddl->retention_ns) s->retention_ns = ddl->retention_ns;
    if (err)
        schema_release(s);
    else
        *out = s;
    return err;
}

/* A document for a table that came from the log or from DDL. */
static struct doc *document_of(const struct schema *s, struct arena *arena)
{
    struct doc *top = doc_new(arena, DOC_MAP), *metadata = doc_new(arena, DOC_MAP),
               *spec = doc_new(arena, DOC_MAP), *columns = doc_new(arena, DOC_LIST);
    char name[SCHEMA_NAME_BYTES_MAX + 1];
    (void)str_copy(name, sizeof name, str_of(s->name));
    for (char *p = name; *p; p++) {
        if (*p >= 'A' && *p <= 'Z') *p = (char)(*p + 32);
        if (!((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || *p == '.')) *p = '-';
    }
    bool ok = top && metadata && spec && columns &&
              doc_set(arena, top, "apiVersion", doc_new_string(arena, STR(RESOURCE_API_VERSION))) &&
              doc_set(arena, top, "kind", doc_new_string(arena, STR("Table"))) &&
              doc_set(arena, top, "metadata", metadata) && doc_set(arena, top, "spec", spec) &&
              doc_set(arena, metadata, "name", doc_new_string(arena, str_of(name))) &&
              doc_set(arena, metadata, "namespace", doc_new_string(arena, str_of(s->ns))) &&
              doc_set(arena, spec, "name", doc_new_string(arena, str_of(s->name))) &&
              doc_set(arena, spec, "columns", columns);
    for (uint32_t i = 0; ok && i < s->column_count; i++) {
        struct doc *c = doc_new(arena, DOC_MAP);
        ok = c && doc_set(arena, c, "name", doc_new_string(arena, str_of(s->columns[i].name))) &&
             doc_set(arena, c, "type",
                     doc_new_string(arena, str_of(type_name(s->columns[i].type)))) &&
             doc_set(arena, c, "unit", doc_new_string(arena, str_of(s->columns[i].unit))) &&
             doc_append(arena, columns, c);
    }
    return ok ? top : NULL;
}

static struct resource *find_document(struct node_tables *t, const char *ns, const char *name)
{
    size_t at = 0;
    for (struct resource *r; (r = registry_next(t->service->registry, KIND_TABLE, &at));) {
        char sql_name[SCHEMA_NAME_BYTES_MAX + 1];
        table_sql_name(r, sql_name);
        if (str_is(r->ns, ns) && strcmp(sql_name, name) == 0) return r;
    }
    return NULL;
}

static void publish_document(struct node_tables *t, const struct schema *s)
{
    struct arena arena;
    struct problems problems;
    struct resource *resource = NULL;
    struct why why = WHY_NONE;
    arena_init(&arena, NULL);
    problems_init(&problems, &arena);
    struct doc *doc = document_of(s, &arena);
    enum err err = doc ? resource_read(doc, "", &resource, &problems, &why) : ERR_NO_MEMORY;
    bool was_starting = t->starting;
    t->starting = true; /* it says what the log says already */
    if (!err) err = registry_put(t->service->registry, resource);
    t->starting = was_starting;
    if (err)
        diag(t->service->context, DIAG_WARNING, component, "table %s has no document: %s", s->name,
             why_text(&why, err));
    arena_free(&arena);
}

static void on_changed(struct completion *c)
{
    struct store_define *define = (struct store_define *)c;
    struct table_change *change =
        (struct table_change *)(void *)((char *)define - offsetof(struct table_change, define));
    struct node_tables *t = change->node;
    if (!c->err && define->result) {
        struct resource *known = find_document(t, define->result->ns, define->result->name);
        if (!known || known->owner != OWNER_FILE) publish_document(t, define->result);
    }
    if (!c->err && define->drop) {
        char ns[256];
        (void)str_copy(ns, sizeof ns, change->ns);
        struct resource *known = find_document(t, ns, change->ddl->table);
        if (known) (void)registry_remove(t->service->registry, KIND_TABLE, known->ns, known->name);
    }
    schema_release(define->result);
    completion_finish(&change->completion, c->err, &c->why);
}

void node_tables_change(void *tables, struct table_change *change)
{
    struct node_tables *t = tables;
    struct why why = WHY_NONE;
    enum err err = schema_of_ddl(t, change, &change->define.schema, &why);
    if (err || !change->define.schema) {
        completion_finish(&change->completion, err, &why);
        return;
    }
    change->node = t;
    change->define.drop = change->ddl->action == DDL_DROP;
    completion_init(&change->define.completion, t->service->context->main, on_changed);
    store_define(t->service->store, &change->define);
}

/* ---- start ---- */

static void add_missing_documents(struct node_tables *t)
{
    struct store_table_list *list = store_tables(t->service->store);
    for (uint32_t i = 0; list && i < store_table_count(list); i++) {
        const struct schema *s = store_table_at(list, i);
        if (!find_document(t, s->ns, s->name)) publish_document(t, s);
    }
    store_tables_release(list);
}

enum err node_tables_start(struct service *service, struct node_tables **out, struct why *why)
{
    (void)why;
    struct node_tables *t = mem_alloc_zero(1, sizeof *t);
    if (!t) return ERR_NO_MEMORY;
    t->service = service;
    registry_watch_all(service->registry, on_resource, t);
    size_t at = 0;
    for (struct resource *r; (r = registry_next(service->registry, KIND_TABLE, &at));)
        apply_document(t, r);
    add_missing_documents(t);
    *out = t;
    return ERR_OK;
}

void node_tables_stop(struct node_tables *tables)
{
    mem_free(tables);
}
