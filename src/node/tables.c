/* tables.c - Table documents and the store's schemas, kept in step.
 *
 * The log is the truth about tables (a SCHEMA record precedes the first row), the Table document is
 * its face. A table of the log without a document gets one; a document that changes is turned into
 * a new schema (tables_document.c says how); one that is deleted takes the table and its rows
 * along. DDL changes the log first, then the document, and is answered when both are on disk. */
#include "listeners/resources.h"
#include "node/tables_priv.h"
#include "resource/persist.h"
#include <stdio.h>
#include <string.h>

static const char component[] = "tables";

/* One change of a document is answered at a time (listeners/resources_change.c). */
enum { TABLES_WAITING_MAX = 4 };

struct node_tables {
    struct service *service;
    bool starting;   /* documents made from the log are not written back to it */
    bool is_started; /* the tables of the log were gone through once */
    bool is_stopping;
    size_t pending;                                 /* definitions under way to the store */
    struct completion *waiting[TABLES_WAITING_MAX]; /* for pending = 0; in order */
    size_t waiting_count;
    struct tables_index index;
};

struct define_op {
    struct store_define define; /* first */
    struct node_tables *tables;
    char ns[256], name[SCHEMA_NAME_BYTES_MAX + 1];
};

struct service *tables_service(void *tables)
{
    return ((struct node_tables *)tables)->service;
}

struct tables_index *tables_index_of(void *tables)
{
    return &((struct node_tables *)tables)->index;
}

/* ---- a document becomes a table ---- */

static struct resource *find_document(struct node_tables *t, const char *ns, const char *name);
static void apply_document(struct node_tables *t, const struct resource *r);

static void submit(struct node_tables *t, struct define_op *op)
{
    t->pending++;
    op->tables = t;
    store_define(t->service->store, &op->define);
}

static void answer_waiting(struct node_tables *t)
{
    for (size_t i = 0; i < t->waiting_count; i++) completion_finish(t->waiting[i], ERR_OK, NULL);
    t->waiting_count = 0;
}

static void one_is_done(struct node_tables *t)
{
    MUST(t->pending > 0);
    if (--t->pending == 0) answer_waiting(t);
}

void node_tables_settle(void *tables, struct completion *completion)
{
    struct node_tables *t = tables;
    MUST(t->waiting_count < TABLES_WAITING_MAX);
    if (t->pending && !t->is_stopping)
        t->waiting[t->waiting_count++] = completion;
    else
        completion_finish(completion, ERR_OK, NULL);
}

static void on_defined(struct completion *c)
{
    struct define_op *op = (struct define_op *)c;
    struct node_tables *t = op->tables;
    /* Somebody else was faster (a writer made the table or a column): once more, on what there is
     * now. */
    bool again =
        !t->is_stopping && !op->define.drop && (c->err == ERR_CONFLICT || c->err == ERR_EXISTS);
    const struct resource *r = again ? find_document(t, op->ns, op->name) : NULL;
    if (r)
        apply_document(t, r);
    else if (c->err)
        diag(t->service->context, DIAG_ERROR, component, "table %s: %s", op->name,
             why_text(&c->why, c->err));
    schema_release(op->define.result);
    mem_free(op);
    one_is_done(t); /* behind the next try, if there is one */
}

static void apply_document(struct node_tables *t, const struct resource *r)
{
    struct context *context = t->service->context;
    struct why why = WHY_NONE;
    struct define_op *op = mem_alloc_zero(1, sizeof *op);
    enum err err = op ? tables_schema_of(t->service, r, &op->define.schema, &why) : ERR_NO_MEMORY;
    if (err) {
        if (err != ERR_EXISTS) diag(context, DIAG_ERROR, component, "%s", why_text(&why, err));
        mem_free(op);
        return;
    }
    (void)str_copy(op->ns, sizeof op->ns, r->ns);
    table_sql_name(r, op->name);
    completion_init(&op->define.completion, context->main, on_defined);
    submit(t, op);
}

/* The document is gone: so is the table, with its rows. */
static void drop_table(struct node_tables *t, const struct resource *r)
{
    char name[SCHEMA_NAME_BYTES_MAX + 1];
    table_sql_name(r, name);
    struct schema *old = store_find_table(t->service->store, r->ns, str_of(name));
    if (!old) return;     /* dropped by DDL already */
    if (old->rollup_of) { /* a document that was refused */
        schema_release(old);
        return;
    }
    struct define_op *op = mem_alloc_zero(1, sizeof *op);
    struct schema *s = op ? schema_copy(old) : NULL;
    schema_release(old);
    if (!s) {
        diag(t->service->context, DIAG_ERROR, component, "table %s is not dropped: out of memory",
             name);
        mem_free(op);
        return;
    }
    op->define.schema = s;
    op->define.drop = true;
    (void)str_copy(op->name, sizeof op->name, str_of(name));
    completion_init(&op->define.completion, t->service->context->main, on_defined);
    submit(t, op);
}

static void on_resource(void *arg, const struct resource *old, const struct resource *now)
{
    struct node_tables *t = arg;
    if ((now ? now : old)->kind != KIND_TABLE) return;
    tables_index_changed(&t->index);
    if (t->starting || t->is_stopping) return;
    if (now)
        apply_document(t, now);
    else
        drop_table(t, old);
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
        } else if (ddl->action == DDL_COMMENT) {
            known->description = arena_strdup(&s->arena, c->description, strlen(c->description));
            if (!known->description) err = ERR_NO_MEMORY;
        } else if (!type_widens(known->type, c->type)) {
            err = why_set(why, ERR_TYPE,
                          "column \"%s\": %s cannot become %s: only widening keeps every value",
                          c->name, type_name(known->type), type_name(c->type));
        } else {
            known->type = c->type;
        }
        if (err) return err;
    }
    if (ddl->action != DDL_COMMENT || ddl->column_count) return ERR_OK;
    s->description = arena_strdup(&s->arena, ddl->description, strlen(ddl->description));
    return s->description ? ERR_OK : ERR_NO_MEMORY;
}

/* Those that stay keep their retention. */
static void set_rollups(struct schema *s, const struct sql_ddl *ddl)
{
    struct schema_rollup old[SCHEMA_ROLLUPS_MAX];
    uint32_t count = s->rollup_count;
    memcpy(old, s->rollups, sizeof old);
    s->rollup_count = 0;
    for (size_t i = 0; i < ddl->rollup_count; i++) {
        int64_t retention_ns = 0;
        for (uint32_t n = 0; n < count; n++)
            if (old[n].every_ns == ddl->rollups_ns[i]) retention_ns = old[n].retention_ns;
        (void)schema_add_rollup(s, ddl->rollups_ns[i], retention_ns); /* checked by the parser */
    }
}

static enum err schema_of_ddl(struct node_tables *t, struct table_change *change,
                              struct schema **out, struct why *why)
{
    const struct sql_ddl *ddl = change->ddl;
    char ns[256];
    enum err err = resource_check_namespace(change->ns, why);
    *out = NULL;
    if (err) return err;
    bool is_whole = str_copy(ns, sizeof ns, change->ns);
    MUST(is_whole);
    struct schema *old = store_find_table(t->service->store, change->ns, str_of(ddl->table));
    bool create = ddl->action == DDL_CREATE;
    if (create && old)
        err = ddl->if_not_exists ? ERR_OK
                                 : why_set(why, ERR_EXISTS, "table %s exists already", ddl->table);
    else if (!create && !old)
        err = ddl->if_exists ? ERR_OK
                             : why_set(why, ERR_NO_TABLE, "table %s does not exist", ddl->table);
    if (err || (create && old) || (!create && !old)) {
        schema_release(old);
        return err;
    }
    struct schema *s = create ? schema_new(ns, ddl->table, 0) : schema_copy(old);
    schema_release(old);
    err = s ? schema_check_name(str_of(ddl->table), "table", why) : ERR_NO_MEMORY;
    if (!err && ddl->action != DDL_DROP) err = change_columns(s, ddl, why);
    if (!err && ddl->sets_retention) s->retention_ns = ddl->retention_ns;
    if (!err && ddl->sets_rollups) set_rollups(s, ddl);
    if (err)
        schema_release(s);
    else
        *out = s;
    return err;
}

static struct resource *find_document(struct node_tables *t, const char *ns, const char *name)
{
    return tables_index_find(&t->index, str_of(ns), name, STR(""));
}

/* `known`: its document, or NULL. Gives the document as the registry holds it, or NULL. */
static struct resource *publish_document(struct node_tables *t, const struct schema *s,
                                         const struct resource *known)
{
    struct arena arena;
    struct problems problems;
    struct resource *resource = NULL;
    struct why why = WHY_NONE;
    char name[RESOURCE_NAME_BYTES_MAX + 1];
    arena_init(&arena, NULL);
    problems_init(&problems, &arena);
    enum err err = ERR_OK;
    if (known)
        (void)str_copy(name, sizeof name, known->name);
    else
        err = tables_document_name(t->service->registry, s, name, &why);
    struct doc *doc = err ? NULL : tables_document_of(s, name, &arena);
    struct doc *labels = known && known->labels ? doc_copy(&arena, known->labels) : NULL;
    if (doc && labels && !doc_set(&arena, doc_get(doc, "metadata"), "labels", labels)) doc = NULL;
    if (!err) err = doc ? resource_read(doc, "", &resource, &problems, &why) : ERR_NO_MEMORY;
    bool was_starting = t->starting;
    t->starting = true; /* it says what the log says already */
    if (!err) err = registry_put(t->service->registry, resource);
    t->starting = was_starting;
    if (err)
        diag(t->service->context, DIAG_WARNING, component, "table %s has no document: %s", s->name,
             why_text(&why, err));
    arena_free(&arena);
    return err ? NULL : registry_get(t->service->registry, KIND_TABLE, str_of(s->ns), str_of(name));
}

/* ---- DDL's document on its way to the disk ---- */

struct save_op {
    struct persist_change change; /* first */
    struct table_change *answer;
    struct resource *resource;
};

static void on_saved(struct completion *c)
{
    struct save_op *op = (struct save_op *)c;
    completion_finish(&op->answer->completion, c->err, &c->why);
    resource_release(op->resource);
    mem_free(op);
}

static void save(struct node_tables *t, struct table_change *answer, const struct resource *r,
                 bool remove)
{
    struct save_op *op = r ? mem_alloc_zero(1, sizeof *op) : NULL;
    if (!op) {
        completion_finish(&answer->completion, r ? ERR_NO_MEMORY : ERR_OK, NULL);
        return;
    }
    op->answer = answer;
    op->resource = resource_share(r);
    op->change.resource = r;
    op->change.remove = remove;
    completion_init(&op->change.completion, t->service->context->main, on_saved);
    persist_submit(t->service->persist, &op->change);
}

static void on_changed(struct completion *c)
{
    struct store_define *define = (struct store_define *)c;
    struct table_change *change =
        (struct table_change *)(void *)((char *)define - offsetof(struct table_change, define));
    struct node_tables *t = change->node;
    struct schema *result = define->result;
    define->result = NULL;
    if (c->err || t->is_stopping) { /* registry and database are gone: it has no document yet */
        completion_finish(&change->completion, c->err ? c->err : ERR_CANCELLED, &c->why);
    } else if (define->drop) {
        char ns[256];
        (void)str_copy(ns, sizeof ns, change->ns);
        struct resource *known = find_document(t, ns, change->ddl->table);
        struct resource *gone = known ? resource_share(known) : NULL;
        if (gone) (void)registry_remove(t->service->registry, KIND_TABLE, gone->ns, gone->name);
        save(t, change, gone, true);
        resource_release(gone);
    } else {
        struct resource *made =
            result ? publish_document(t, result, find_document(t, result->ns, result->name)) : NULL;
        save(t, change, made, false);
    }
    schema_release(result);
}

/* A table that a file describes is changed there. */
static enum err check_owner(struct node_tables *t, const struct table_change *change,
                            struct why *why)
{
    char ns[256];
    (void)str_copy(ns, sizeof ns, change->ns);
    const struct resource *known = find_document(t, ns, change->ddl->table);
    if (!known || known->owner != OWNER_FILE || change->ddl->action == DDL_CREATE) return ERR_OK;
    return why_set(why, ERR_READ_ONLY, "table %s belongs to the file %s: change it there",
                   change->ddl->table, known->file);
}

void node_tables_change(void *tables, struct table_change *change)
{
    struct node_tables *t = tables;
    struct why why = WHY_NONE;
    enum err err = check_owner(t, change, &why);
    if (!err) err = schema_of_ddl(t, change, &change->define.schema, &why);
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

void node_tables_publish(void *tables)
{
    struct node_tables *t = tables;
    struct store_table_list *list = store_tables(t->service->store);
    bool is_known = list && !tables_index_renew(&t->index); /* else the next round does it */
    for (uint32_t i = 0; is_known && i < store_table_count(list); i++) {
        const struct schema *s = store_table_at(list, i);
        if (s->rollup_of || tables_index_has(&t->index, s)) continue;
        struct why why = WHY_NONE;
        /* Rows written before namespaces were checked: told once, not at every round. */
        if (!resource_check_namespace(str_of(s->ns), &why))
            (void)publish_document(t, s, NULL);
        else if (!t->is_started)
            diag(t->service->context, DIAG_WARNING, component, "table %s has no document: %s",
                 s->name, why_text(&why, ERR_INVALID));
    }
    t->is_started = true;
    store_tables_release(list);
}

enum err node_tables_start(struct service *service, struct node_tables **out, struct why *why)
{
    (void)why;
    struct node_tables *t = mem_alloc_zero(1, sizeof *t);
    if (!t) return ERR_NO_MEMORY;
    t->service = service;
    tables_index_init(&t->index, service->registry);
    registry_watch_all(service->registry, on_resource, t);
    size_t at = 0;
    for (struct resource *r; (r = registry_next(service->registry, KIND_TABLE, &at));)
        apply_document(t, r);
    node_tables_publish(t);
    *out = t;
    return ERR_OK;
}

void node_tables_stop(struct node_tables *tables)
{
    if (!tables) return;
    tables->is_stopping = true;
    answer_waiting(tables);
}

void node_tables_free(struct node_tables *tables)
{
    if (tables) tables_index_free(&tables->index);
    mem_free(tables);
}
