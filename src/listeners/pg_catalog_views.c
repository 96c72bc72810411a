/* pg_catalog_views.c - views among the relations of pg_catalog and information_schema.
 *
 * A view is a text; its columns are those that binding the text gives, which is done only for
 * statements that ask about columns. One that cannot be bound (its table is gone) has none. */
#include "listeners/pg_catalog.h"
#include "listeners/sys_source.h"
#include <string.h>

enum { VIEW_NUMBERS = 0x01000000 };

/* Views have no number of their own: one made of the name, the same as long as the name is. */
static uint32_t number_of(const struct pg_catalog *c, const char *name)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (const char *p = name; *p; p++) hash = (hash ^ (uint8_t)*p) * 16777619u;
    uint32_t oid = PG_OID_VIEWS + hash % VIEW_NUMBERS;
    for (size_t i = 0; i < c->view_count; i++)
        if (c->views[i].oid == oid) oid++; /* sorted by name: the same again next time, mostly */
    return oid;
}

/* The columns of "SELECT * FROM view", copied into the catalogue's arena. */
static enum err describe(struct pg_catalog *c, struct pg_view *view)
{
    struct sql_statement *statement = NULL;
    const struct sql_result_column *columns;
    struct why why = WHY_NONE;
    enum err err = sql_prepare(c->context, view->query, &statement, &why);
    if (err) return err == ERR_NO_MEMORY || err == ERR_BUDGET ? err : ERR_OK;
    size_t count = sql_columns(statement, &columns);
    struct sql_result_column *own = arena_alloc(&c->arena, count * sizeof *own);
    if (!own) err = ERR_NO_MEMORY;
    for (size_t i = 0; i < count && !err; i++) {
        own[i] = columns[i];
        own[i].name = arena_strdup(&c->arena, columns[i].name, strlen(columns[i].name));
        own[i].unit = arena_strdup(&c->arena, columns[i].unit, strlen(columns[i].unit));
        if (!own[i].name || !own[i].unit) err = ERR_NO_MEMORY;
    }
    sql_close(statement);
    if (err) return err;
    view->columns = own;
    view->column_count = count;
    return ERR_OK;
}

enum err pg_views_fill(struct pg_catalog *c, bool with_columns)
{
    size_t count = c->sys ? sys_view_count(c->sys) : 0;
    enum err err = ERR_OK;
    c->views = arena_zero(&c->arena, count, sizeof *c->views);
    if (!c->views) return ERR_NO_MEMORY;
    for (size_t i = 0; i < count && !err; i++) {
        struct pg_view *view = &c->views[c->view_count];
        struct str query, description;
        if (!sys_view_at(c->sys, i, c->ns, view->name, &query, &description)) continue;
        view->query = (struct str){arena_strdup(&c->arena, query.at, query.size), query.size};
        if (description.size)
            view->description = arena_strdup(&c->arena, description.at, description.size);
        if (!view->query.at || (description.size && !view->description)) return ERR_NO_MEMORY;
        view->oid = number_of(c, view->name);
        if (with_columns && c->context) err = describe(c, view);
        c->view_count++;
    }
    return err;
}

/* ---- pg_views, information_schema.views ---- */

size_t pg_count_views(const void *snapshot)
{
    return ((const struct pg_catalog *)snapshot)->view_count;
}

void pg_write_view(const void *snapshot, size_t n, struct row_out *out)
{
    const struct pg_catalog *c = snapshot;
    pg_put(out, "ttt", "public", c->views[n].name, pg_user_name(c));
    put_text(out, c->views[n].query);
}

void pg_write_standard_view(const void *snapshot, size_t n, struct row_out *out)
{
    const struct pg_catalog *c = snapshot;
    put_text(out, c->ns);
    pg_put(out, "tt", "public", c->views[n].name);
    put_text(out, c->views[n].query);
    pg_put(out, "tttttt", "NONE", "NO", "NO", "NO", "NO", "NO");
}
