/* views.c - see views.h. Order of a change: its turn among all changes of documents comes, checked,
 * prepared in the registry (its version), written to the disk, then seen by others. */
#include "listeners/views.h"
#include <string.h>

static const struct resource *find_view(const struct service *service, struct str ns,
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
    struct resources *resources = change->service->resources;
    resource_release(change->resource);
    change->resource = NULL;
    completion_finish(&change->completion, err, why);
    resources_turn_end(resources);
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

static void begin(struct resources_turn *turn)
{
    struct view_change *change =
        (struct view_change *)(void *)((char *)turn - offsetof(struct view_change, turn));
    struct service *service = change->service;
    const struct resource *old = find_view(service, change->ns, change->view->name);
    struct why why = WHY_NONE;
    bool nothing = false, drops = change->view->query.size == 0;
    enum err err = service->stopping ? ERR_CANCELLED : check(change, old, &nothing, &why);
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

void view_change_start(struct view_change *change)
{
    change->turn.begin = begin;
    resources_turn_wait(change->service->resources, &change->turn);
}
