/* tables_index.c - Table documents by their SQL names (tables_priv.h).
 *
 * Writers make tables by the thousand, and what is done for all of them (each ten seconds, at the
 * start) must not look through all for each. It is made anew when it is asked after a document has
 * changed; several documents of files may have one SQL name. Names are kept and no pointers: what
 * tells of a status replaces the document. Without memory the registry is walked. */
#include "node/tables_priv.h"
#include "resource/registry.h"
#include <stdio.h>
#include <string.h>

enum { KEY_BYTES = 256 + SCHEMA_NAME_BYTES_MAX + 1 };

/* Documents of one SQL name. */
struct named {
    struct named *next;
    struct str name; /* metadata.name */
};

static struct str key_of(struct str ns, const char *sql_name, char out[KEY_BYTES])
{
    int n = snprintf(out, KEY_BYTES, "%.*s/%s", (int)ns.size, ns.size ? ns.at : "", sql_name);
    MUST(n > 0);
    return (struct str){out, n < KEY_BYTES ? (size_t)n : KEY_BYTES - 1};
}

static enum err add(struct tables_index *index, const struct resource *r)
{
    char sql_name[SCHEMA_NAME_BYTES_MAX + 1], key[KEY_BYTES];
    struct named *one = arena_alloc(&index->arena, sizeof *one);
    char *name = arena_strdup(&index->arena, r->name.at, r->name.size);
    if (!one || !name) return ERR_NO_MEMORY;
    table_sql_name(r, sql_name);
    struct str at = key_of(r->ns, sql_name, key);
    *one = (struct named){map_get(&index->by_name, at), {name, r->name.size}};
    return map_put(&index->by_name, at, one, NULL);
}

void tables_index_init(struct tables_index *index, const struct registry *registry)
{
    *index = (struct tables_index){.registry = registry};
    map_init(&index->by_name);
    arena_init(&index->arena, NULL);
}

void tables_index_free(struct tables_index *index)
{
    map_free(&index->by_name);
    arena_free(&index->arena);
}

void tables_index_changed(struct tables_index *index)
{
    index->is_current = false;
}

enum err tables_index_renew(struct tables_index *index)
{
    size_t at = 0;
    enum err err = ERR_OK;
    if (index->is_current) return ERR_OK;
    map_free(&index->by_name);
    arena_free(&index->arena);
    for (struct resource *r; !err && (r = registry_next(index->registry, KIND_TABLE, &at));)
        err = add(index, r);
    index->is_current = !err;
    return err;
}

bool tables_index_has(const struct tables_index *index, const struct schema *schema)
{
    char key[KEY_BYTES];
    return map_get(&index->by_name, key_of(str_of(schema->ns), schema->name, key)) != NULL;
}

static struct resource *walk(const struct tables_index *index, struct str ns, const char *sql_name,
                             struct str but)
{
    size_t at = 0;
    for (struct resource *r; (r = registry_next(index->registry, KIND_TABLE, &at));) {
        char name[SCHEMA_NAME_BYTES_MAX + 1];
        table_sql_name(r, name);
        if (str_equal(r->ns, ns) && strcmp(name, sql_name) == 0 && !str_equal(r->name, but))
            return r;
    }
    return NULL;
}

struct resource *tables_index_find(struct tables_index *index, struct str ns, const char *sql_name,
                                   struct str but)
{
    char key[KEY_BYTES];
    if (tables_index_renew(index)) return walk(index, ns, sql_name, but);
    const struct named *one = map_get(&index->by_name, key_of(ns, sql_name, key));
    while (one && str_equal(one->name, but)) one = one->next;
    return one ? registry_get(index->registry, KIND_TABLE, ns, one->name) : NULL;
}
