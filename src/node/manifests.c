/* manifests.c - see manifests.h. */
#include "node/manifests.h"
#include "listeners/bridges.h"
#include "sinks/sinks.h"
#include "listeners/identities.h"
#include "node/config.h"
#include "resource/persist.h"
#include <string.h>

static const char component[] = "manifests";

/* ---- reading and checking ---- */

static enum err read_one(struct service *service, struct registry *registry, const char *path,
                         struct why *why)
{
    struct arena arena;
    struct str text;
    arena_init(&arena, NULL);
    enum err err = node_read_file(service->context->os, path, &arena, &text, why);
    if (!err) err = registry_load_yaml(registry, text, path, why);
    arena_free(&arena);
    return err;
}

static enum err check_one(struct context *context, const struct registry *registry,
                          const struct resource *r, struct arena *arena, struct why *why)
{
    struct problems problems;
    problems_init(&problems, arena);
    if (r->kind == KIND_CONNECTION || r->kind == KIND_DEVICE)
        collect_check(context, registry, r, &problems);
    identities_check(r, &problems);
    bridges_check(r, &problems);
    sinks_check(r, &problems);
    const struct problem *p = problems.first;
    if (!p) return ERR_OK;
    return why_set(why, ERR_INVALID, "%s:%u: %s %.*s: %s: %s", r->file, p->line ? p->line : r->line,
                   resource_kinds[r->kind].name, (int)r->name.size, r->name.at, p->path, p->text);
}

/* Calls `use` for each document until one answers with an error. */
static enum err each(const struct registry *registry,
                     enum err (*use)(void *arg, struct resource *resource), void *arg)
{
    enum err err = ERR_OK;
    for (int k = 0; k < KIND_COUNT && !err; k++) {
        size_t at = 0;
        for (struct resource *r; !err && (r = registry_next(registry, (enum resource_kind)k, &at));)
            err = use(arg, r);
    }
    return err;
}

struct checking {
    struct context *context;
    const struct registry *registry;
    struct arena arena;
    struct why *why;
};

static enum err use_check(void *arg, struct resource *r)
{
    struct checking *c = arg;
    return check_one(c->context, c->registry, r, &c->arena, c->why);
}

enum err manifests_read(struct service *service, struct registry *registry,
                        const char *const *files, size_t count, struct why *why)
{
    enum err err = ERR_OK;
    registry_begin_load(registry);
    for (size_t i = 0; i < count && !err; i++) err = read_one(service, registry, files[i], why);
    struct checking checking = {.context = service->context, .registry = registry, .why = why};
    arena_init(&checking.arena, NULL);
    if (!err) err = each(registry, use_check, &checking);
    arena_free(&checking.arena);
    return err;
}

/* ---- to the disk ---- */

struct save {
    struct persist_change change; /* first */
    struct context *context;
    struct resource *resource;
};

static void on_saved(struct completion *c)
{
    struct save *save = (struct save *)c;
    if (c->err)
        diag(save->context, DIAG_WARNING, component, "%s %.*s: its copy in the database: %s",
             resource_kinds[save->resource->kind].name, (int)save->resource->name.size,
             save->resource->name.at, why_text(&c->why, c->err));
    resource_release(save->resource);
    mem_free(save);
}

static void note(struct service *service, const struct resource *r, const char *verb)
{
    struct audit_entry entry = {.user = STR("(file)"),
                                .verb = str_of(verb),
                                .kind = str_of(resource_kinds[r->kind].name),
                                .ns = r->ns,
                                .path = r->name,
                                .detail = str_of(r->file),
                                .outcome = STR("ok")};
    if (audit_append(service->audit, &entry))
        diag(service->context, DIAG_ERROR, component, "the audit log takes no lines");
}

static void save(struct service *service, struct resource *r, bool remove)
{
    struct save *save = mem_alloc_zero(1, sizeof *save);
    note(service, r, remove ? "delete" : r->generation > 1 ? "update" : "create");
    if (!save) return; /* it is saved at the next start */
    save->context = service->context;
    save->resource = resource_share(r);
    save->change.resource = r;
    save->change.remove = remove;
    r->is_stored = true;
    completion_init(&save->change.completion, service->context->main, on_saved);
    persist_submit(service->persist, &save->change);
}

/* ---- what vanished ---- */

/* The same document as one of the API's. */
static enum err give_to_api(struct service *service, const struct resource *r)
{
    struct arena arena;
    struct problems problems;
    struct resource *own = NULL;
    arena_init(&arena, NULL);
    problems_init(&problems, &arena);
    const struct doc *doc = resource_stored(r, &arena);
    enum err err = doc ? resource_read(doc, "", &own, &problems, NULL) : ERR_NO_MEMORY;
    if (!err) err = registry_put(service->registry, own);
    arena_free(&arena);
    struct resource *now = err ? NULL : registry_get(service->registry, r->kind, r->ns, r->name);
    if (now) save(service, now, false);
    return err;
}

static void prune(struct service *service, struct resource *r)
{
    const char *kind = resource_kinds[r->kind].name;
    if (r->kind == KIND_TABLE) {
        diag(service->context, DIAG_INFO, component,
             "Table %.*s left %s: it keeps its rows and is now the API's", (int)r->name.size,
             r->name.at, r->file);
        if (give_to_api(service, r))
            diag(service->context, DIAG_ERROR, component, "Table %.*s stays the file's",
                 (int)r->name.size, r->name.at);
        return;
    }
    if (!identities_keep_an_admin(service->registry, r, NULL)) {
        diag(service->context, DIAG_WARNING, component,
             "User %.*s left %s and stays: it is the last one that can log in with role admin",
             (int)r->name.size, r->name.at, r->file);
        return;
    }
    diag(service->context, DIAG_INFO, component, "%s %.*s left %s and is removed", kind,
         (int)r->name.size, r->name.at, r->file);
    save(service, r, true);
    (void)registry_remove(service->registry, r->kind, r->ns, r->name);
}

struct list {
    struct service *service;
    struct resource **items; /* shares */
    size_t count, capacity, saved;
};

static enum err use_settle(void *arg, struct resource *r)
{
    struct list *list = arg;
    if (r->owner != OWNER_FILE) return ERR_OK;
    if (!registry_has_vanished(list->service->registry, r)) {
        list->saved += !r->is_stored;
        if (!r->is_stored) save(list->service, r, false);
        return ERR_OK;
    }
    enum err err = mem_grow(&list->items, &list->capacity, list->count + 1, sizeof *list->items);
    if (!err) list->items[list->count++] = resource_share(r);
    return err;
}

void manifests_settle(struct service *service, bool is_pruning)
{
    struct list gone = {.service = service};
    if (each(service->registry, use_settle, &gone))
        diag(service->context, DIAG_WARNING, component, "out of memory: not all were looked at");
    for (size_t i = 0; i < gone.count; i++) {
        struct resource *r = gone.items[i];
        if (is_pruning)
            prune(service, r);
        else
            diag(service->context, DIAG_WARNING, component,
                 "%s %.*s stands in %s no more and stays; 'millrace run --prune' or 'millrace "
                 "delete' removes it",
                 resource_kinds[r->kind].name, (int)r->name.size, r->name.at, r->file);
        resource_release(r);
    }
    mem_free(gone.items);
    if (gone.saved)
        diag(service->context, DIAG_INFO, component, "%zu new or changed documents", gone.saved);
}

/* ---- again ---- */

static enum err use_take(void *arg, struct resource *r)
{
    return registry_put_loaded(arg, resource_share(r));
}

enum err manifests_reload(struct service *service, const char *const *files, size_t count,
                          bool is_pruning, struct why *why)
{
    struct registry *fresh = registry_new(service->context->os);
    if (!fresh) return ERR_NO_MEMORY;
    enum err err = manifests_read(service, fresh, files, count, why);
    if (!err) {
        registry_begin_load(service->registry);
        err = each(fresh, use_take, service->registry);
    }
    registry_free(fresh);
    if (!err) manifests_settle(service, is_pruning);
    return err;
}
