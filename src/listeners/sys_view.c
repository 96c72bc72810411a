/* sys_view.c - the views of the namespace as a source of its own, since what it gives is text: the
 * binder puts the view's query where its name stands. */
#include "listeners/sys_priv.h"
#include "listeners/views.h"
#include <string.h>

enum { SEARCH_BYTES_MAX = 256 * 1024 };

/* Reads the texts again only when a view has come, changed or gone. */
static uint32_t words_of_views(struct service *service)
{
    uint64_t seen = 0;
    size_t at = 0;
    /* A digest: versions are the registry's, and none is given twice. */
    for (const struct resource *r; (r = registry_next(service->registry, KIND_VIEW, &at));)
        seen = seen * 31 + r->version;
    if (seen == service->views_seen) return service->views_words;
    service->views_seen = seen;
    service->views_words = 0;
    at = 0;
    for (const struct resource *r; (r = registry_next(service->registry, KIND_VIEW, &at));)
        service->views_words |= sys_words_of(((const struct view_spec *)r->spec)->query);
    return service->views_words;
}

/* Whether the statement may use a view: one may use another, so which one does not matter. */
static bool names_view(const struct sys_snapshot *s, struct str text)
{
    char name[SCHEMA_NAME_BYTES_MAX + 1];
    if (s->view_count * text.size > SEARCH_BYTES_MAX) return true; /* not worth the looking */
    for (size_t v = 0; v < s->view_count; v++) {
        view_sql_name(s->views[v], name);
        size_t size = strlen(name);
        for (size_t i = 0; i + size <= text.size; i++)
            if (str_is_nocase((struct str){text.at + i, size}, name)) return true;
    }
    return false;
}

/* All views that the identity may see or may read something with: a statement may use one through
 * another, so that its text does not say which. */
enum err sys_take_views(struct sys_snapshot *s, struct str text)
{
    size_t at = 0, capacity = 0;
    enum err err = ERR_OK;
    if (!s->service->registry) return ERR_OK;
    for (struct resource *r; !err && (r = registry_next(s->service->registry, KIND_VIEW, &at));) {
        if (!access_scope(s->identity, VERB_QUERY, "Table", r->ns, STR("")) &&
            !access_scope(s->identity, VERB_GET, "View", r->ns, r->name))
            continue;
        err = mem_grow(&s->views, &capacity, s->view_count + 1, sizeof *s->views);
        if (!err) s->views[s->view_count++] = resource_share(r);
    }
    uint32_t more = words_of_views(s->service) & ~s->mentioned;
    if (!err && more && names_view(s, text)) s->mentioned |= more;
    return err;
}

static enum err find_no_table(void *context, struct str ns, struct str schema, struct str name,
                              struct arena *arena, struct sql_table *table, struct why *why)
{
    (void)context, (void)ns, (void)schema, (void)name, (void)arena, (void)why;
    *table = (struct sql_table){.source = &view_source};
    return ERR_OK;
}

size_t sys_view_count(const struct sys_snapshot *s)
{
    return s->view_count;
}

bool sys_view_at(const struct sys_snapshot *s, size_t at, struct str ns,
                 char name[SCHEMA_NAME_BYTES_MAX + 1], struct str *query, struct str *description)
{
    MUST(at < s->view_count);
    const struct view_spec *spec = s->views[at]->spec;
    if (!str_equal(s->views[at]->ns, ns)) return false;
    view_sql_name(s->views[at], name);
    *query = spec->query;
    *description = spec->description;
    return true;
}

static enum err find_view(void *context, struct str ns, struct str schema, struct str name,
                          struct arena *arena, struct str *text)
{
    const struct sys_snapshot *s = context;
    if (schema.size && !str_is(schema, "public")) return ERR_OK;
    for (size_t i = 0; i < s->view_count; i++) {
        char sql_name[SCHEMA_NAME_BYTES_MAX + 1];
        view_sql_name(s->views[i], sql_name);
        if (!str_equal(s->views[i]->ns, ns) || !str_is(name, sql_name)) continue;
        struct str query = ((const struct view_spec *)s->views[i]->spec)->query;
        text->at = arena_strdup(arena, query.at, query.size);
        text->size = query.size;
        return text->at ? ERR_OK : ERR_NO_MEMORY;
    }
    return ERR_OK;
}

/* The namespace's views as what they look like: tables of the user. */
static enum err list_views(void *context, struct str ns, struct arena *arena,
                           struct sql_table_name **names, size_t *count)
{
    const struct sys_snapshot *s = context;
    *count = 0;
    *names = arena_alloc(arena, (s->view_count + 1) * sizeof **names);
    if (!*names) return ERR_NO_MEMORY;
    for (size_t i = 0; i < s->view_count; i++) {
        char sql_name[SCHEMA_NAME_BYTES_MAX + 1];
        if (!str_equal(s->views[i]->ns, ns)) continue;
        view_sql_name(s->views[i], sql_name);
        const struct view_spec *spec = s->views[i]->spec;
        char *name = arena_strdup(arena, sql_name, strlen(sql_name));
        char *text = spec->description.size
                         ? arena_strdup(arena, spec->description.at, spec->description.size)
                         : arena_strdup(arena, "view", 4);
        if (!name || !text) return ERR_NO_MEMORY;
        (*names)[(*count)++] = (struct sql_table_name){"public", name, text};
    }
    return ERR_OK;
}

const struct sql_source view_source = {
    .name = "views",
    .find_table = find_no_table,
    .find_view = find_view,
    .list_tables = list_views,
};
