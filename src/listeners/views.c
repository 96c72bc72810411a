/* views.c - see views.h. Order of a change: checked, prepared in the registry (its version),
 * written to the disk, then seen by others. */
#include "listeners/views.h"
#include <string.h>

static const struct resource *find_document(const struct service *service, struct str ns,
                                            const char *name)
{
    size_t at = 0;
    for (const struct resource *r; (r = registry_next(service->registry, KIND_VIEW, &at));) {
        char sql_name[SCHEMA_NAME_BYTES_MAX + 1];
        view_sql_name(r, sql_name);
        if (str_equal(r->ns, ns) && strcmp(sql_name, name) == 0) return r;
    }
    return NULL;
}

static bool add_text(struct arena *arena, struct doc *map, const char *key, struct str text)
{
    return doc_set(arena, map, key, doc_new_string(arena, text));
}

/* hot_presses → hot-presses: what a document may be called. */
static enum err document_name(const struct view_change *change, char name[static 256],
                              struct why *why)
{
    (void)str_copy(name, 256, str_of(change->view->name));
    for (char *p = name; *p; p++)
        if (*p == '_') *p = '-';
    if (resource_is_name(str_of(name))) return ERR_OK;
    return why_set(
        why, ERR_INVALID,
        "\"%s\" cannot be a view's name: small letters, digits and _ in between are fine",
        change->view->name);
}

static enum err make_document(struct view_change *change, const struct resource *old,
                              struct why *why)
{
    struct arena arena;
    struct problems problems;
    char name[256];
    enum err err = document_name(change, name, why);
    if (err) return err;
    if (old) (void)str_copy(name, sizeof name, old->name);
    arena_init(&arena, NULL);
    problems_init(&problems, &arena);
    struct doc *top = doc_new(&arena, DOC_MAP), *metadata = doc_new(&arena, DOC_MAP),
               *spec = doc_new(&arena, DOC_MAP);
    bool ok =
        top && metadata && spec && add_text(&arena, top, "apiVersion", STR(RESOURCE_API_VERSION)) &&
        add_text(&arena, top, "kind", STR("View")) && doc_set(&arena, top, "metadata", metadata) &&
        doc_set(&arena, top, "spec", spec) && add_text(&arena, metadata, "name", str_of(name)) &&
        add_text(&arena, metadata, "namespace", change->ns) &&
        add_text(&arena, spec, "query", change->view->query);
    err = ok ? resource_read(top, "", &change->resource, &problems, why) : ERR_NO_MEMORY;
    arena_free(&arena);
    return err;
}

static void finish(struct view_change *change, enum err err, const struct why *why)
{
    resource_release(change->resource);
    change->resource = NULL;
    completion_finish(&change->completion, err, why);
}

static void on_durable(struct completion *c)
{
    struct view_change *change =
        (struct view_change *)(void *)((char *)c - offsetof(struct view_change, persist));
    struct registry *registry = change->service->registry;
    enum err err = c->err ? c->err : change->service->stopping ? ERR_CANCELLED : ERR_OK;
    if (!err && change->persist.remove)
        (void)registry_remove(registry, KIND_VIEW, change->resource->ns, change->resource->name);
    else if (!err)
        err = registry_restore(registry, resource_share(change->resource));
    finish(change, err, &c->why);
}

/* What there is, and whether that may be. */
static enum err check(const struct view_change *change, const struct resource *old, bool *nothing,
                      struct why *why)
{
    const struct sql_view *view = change->view;
    bool drops = view->query.size == 0;
    *nothing = drops ? !old && view->if_exists : old && view->if_not_exists;
    if (*nothing) return ERR_OK;
    if (drops && !old) return why_set(why, ERR_NO_TABLE, "view \"%s\" does not exist", view->name);
    if (!drops && old && !view->or_replace)
        return why_set(why, ERR_EXISTS,
                       "view \"%s\" exists already; CREATE OR REPLACE VIEW changes it", view->name);
    if (old && old->owner == OWNER_FILE && !registry_has_vanished(change->service->registry, old))
        return why_set(why, ERR_READ_ONLY, "view %s belongs to the file %s: change it there",
                       view->name, old->file);
    return ERR_OK;
}

void view_change_start(struct view_change *change)
{
    struct service *service = change->service;
    const struct resource *old = find_document(service, change->ns, change->view->name);
    struct why why = WHY_NONE;
    bool nothing = false, drops = change->view->query.size == 0;
    enum err err = check(change, old, &nothing, &why);
    if (!err && !nothing && !drops) err = make_document(change, old, &why);
    if (!err && !nothing && !drops)
        nothing = !registry_prepare(service->registry, change->resource);
    if (err || nothing) {
        finish(change, err, &why);
        return;
    }
    if (drops) change->resource = resource_share(old);
    change->persist = (struct persist_change){.resource = change->resource, .remove = drops};
    completion_init(&change->persist.completion, service->context->main, on_durable);
    persist_submit(service->persist, &change->persist);
}

/* ---- what statements see ---- */

struct view_list *view_list_take(const struct service *service, const struct identity *identity)
{
    struct view_list *list = mem_alloc_zero(1, sizeof *list);
    size_t at = 0;
    enum err err = list ? ERR_OK : ERR_NO_MEMORY;
    if (err || !service->registry) return list;
    for (struct resource *r; !err && (r = registry_next(service->registry, KIND_VIEW, &at));) {
        if (!access_scope(identity, VERB_QUERY, "Table", r->ns, STR("")) &&
            !access_scope(identity, VERB_GET, "View", r->ns, r->name))
            continue;
        err = mem_grow(&list->items, &list->capacity, list->count + 1, sizeof *list->items);
        if (!err) list->items[list->count++] = resource_share(r);
    }
    if (!err) return list;
    view_list_free(list);
    return NULL;
}

void view_list_free(struct view_list *list)
{
    if (!list) return;
    for (size_t i = 0; i < list->count; i++) resource_release(list->items[i]);
    mem_free(list->items);
    mem_free(list);
}

static enum err find_table(void *context, struct str ns, struct str schema, struct str name,
                           struct arena *arena, struct sql_table *table, struct why *why)
{
    (void)context, (void)ns, (void)schema, (void)name, (void)arena, (void)why;
    *table = (struct sql_table){0};
    return ERR_OK;
}

static enum err find_view(void *context, struct str ns, struct str schema, struct str name,
                          struct arena *arena, struct str *text)
{
    const struct view_list *list = context;
    if (schema.size && !str_is(schema, "public")) return ERR_OK;
    for (size_t i = 0; i < list->count; i++) {
        char sql_name[SCHEMA_NAME_BYTES_MAX + 1];
        view_sql_name(list->items[i], sql_name);
        if (!str_equal(list->items[i]->ns, ns) || !str_is(name, sql_name)) continue;
        struct str query = ((const struct view_spec *)list->items[i]->spec)->query;
        text->at = arena_strdup(arena, query.at, query.size);
        text->size = query.size;
        return text->at ? ERR_OK : ERR_NO_MEMORY;
    }
    return ERR_OK;
}

static enum err list_tables(void *context, struct str ns, struct arena *arena,
                            struct sql_table_name **names, size_t *count)
{
    const struct view_list *list = context;
    *count = 0;
    *names = arena_zero(arena, list->count + 1, sizeof **names);
    if (!*names) return ERR_NO_MEMORY;
    for (size_t i = 0; i < list->count; i++) {
        char sql_name[SCHEMA_NAME_BYTES_MAX + 1];
        const struct view_spec *spec = list->items[i]->spec;
        struct str help = spec->description.size ? spec->description : STR("view");
        if (!str_equal(list->items[i]->ns, ns)) continue;
        view_sql_name(list->items[i], sql_name);
        char *name = arena_strdup(arena, sql_name, strlen(sql_name));
        char *text = arena_strdup(arena, help.at, help.size);
        if (!name || !text) return ERR_NO_MEMORY;
        (*names)[(*count)++] = (struct sql_table_name){"public", name, text};
    }
    return ERR_OK;
}

/* There is no table to close or to scan, so the rest is never called. */
const struct sql_source view_source = {
    .name = "views", .find_table = find_table, .find_view = find_view, .list_tables = list_tables};
