/* rollup_tables.c - a rollup's table appears, changes and goes with what its base table says; see
 * rollup.h.
 *
 * Nothing of a rollup's table is anybody's choice but its retention: it is made anew from the base
 * table at every change of that one, and compared with what there is. All records of one change are
 * framed together, the base table's first; if power cuts them apart, a start finds out what is
 * missing in the same way. */
#include "store/rollup.h"
#include "store/store_priv.h"
#include <string.h>

static const struct schema *find_rollup(struct store *store, const struct schema *base,
                                        int64_t every_ns)
{
    const struct table_list *tables = store->catalog.tables.object;
    for (uint32_t i = 0; i < tables->count; i++) {
        const struct schema *s = tables->items[i].schema;
        if (s->rollup_of == base->table_id && s->rollup_every_ns == every_ns) return s;
    }
    return NULL;
}

static bool is_same(const struct schema *a, const struct schema *b)
{
    if (a->column_count != b->column_count || a->retention_ns != b->retention_ns) return false;
    for (uint32_t i = 0; i < a->column_count; i++) {
        const struct column *x = &a->columns[i], *y = schema_column(b, x->id);
        if (!y || x->type != y->type || strcmp(x->name, y->name) != 0 ||
            strcmp(x->unit, y->unit) != 0)
            return false;
    }
    return true;
}

static void add(struct rollup_changes *changes, struct schema *schema, bool drop)
{
    MUST(changes->count < sizeof changes->items / sizeof changes->items[0]);
    changes->items[changes->count++] = (struct rollup_change){schema, drop};
}

/* The rollup as it should be, unless it is so. */
static enum err add_wanted(struct store *store, const struct schema *base,
                           const struct schema_rollup *wanted, struct rollup_changes *changes,
                           struct why *why)
{
    const struct table_list *tables = store->catalog.tables.object;
    const struct schema *old = find_rollup(store, base, wanted->every_ns);
    struct schema *s;
    enum err err = rollup_schema(base, wanted->every_ns, &s, why);
    if (err) return err;
    s->retention_ns = wanted->retention_ns;
    int named = table_list_find(tables, str_of(s->ns), str_of(s->name));
    if (named >= 0 && tables->items[named].schema != old) {
        err = why_set(why, ERR_EXISTS,
                      "table %s cannot have this rollup: there is another table with the name %s",
                      base->name, s->name);
    } else if (old && is_same(s, old)) {
        schema_release(s);
        return ERR_OK;
    }
    if (err) {
        schema_release(s);
        return err;
    }
    if (old) {
        s->table_id = old->table_id;
        s->revision = old->revision + 1;
    }
    add(changes, s, false);
    return ERR_OK;
}

enum err rollup_changes_of(struct store *store, const struct schema *base, bool drop,
                           struct rollup_changes *changes, struct why *why)
{
    const struct table_list *tables = store->catalog.tables.object;
    enum err err = ERR_OK;
    MUST(base->table_id != 0);
    *changes = (struct rollup_changes){0};
    for (uint32_t i = 0; i < tables->count; i++) {
        const struct schema *s = tables->items[i].schema;
        if (s->rollup_of == base->table_id &&
            (drop || !schema_find_rollup(base, s->rollup_every_ns)))
            add(changes, schema_share(s), true);
    }
    for (uint32_t i = 0; i < base->rollup_count && !drop && !err; i++)
        err = add_wanted(store, base, &base->rollups[i], changes, why);
    if (err) rollup_changes_free(changes);
    return err;
}

void rollup_changes_free(struct rollup_changes *changes)
{
    for (size_t i = 0; i < changes->count; i++) schema_release(changes->items[i].schema);
    changes->count = 0;
}

const char *rollup_base_name(struct store *store, const struct schema *rollup)
{
    const struct schema *base = catalog_schema(&store->catalog, rollup->rollup_of);
    return base ? base->name : "?";
}

/* ---- at a start ---- */

static enum err carry_out(struct store *store, const struct rollup_change *change)
{
    struct schema *s = change->schema;
    if (!s->table_id) s->table_id = store->catalog.next_table_id;
    enum err err = store_write_schema(store, s, change->drop);
    if (err) return err;
    return catalog_change(&store->catalog, schema_share(s), change->drop);
}

static enum err heal_table(struct store *store, uint32_t id)
{
    struct rollup_changes changes = {0};
    struct why why = WHY_NONE;
    const struct schema *s = catalog_schema(&store->catalog, id);
    if (!s) return ERR_OK;
    if (s->rollup_of && !catalog_schema(&store->catalog, s->rollup_of))
        add(&changes, schema_share(s), true);
    enum err err = ERR_OK;
    if (!s->rollup_of) err = rollup_changes_of(store, s, false, &changes, &why);
    for (size_t i = 0; i < changes.count && !err; i++) err = carry_out(store, &changes.items[i]);
    rollup_changes_free(&changes);
    if (!err || err == ERR_NO_MEMORY) return err;
    health_note(store, STORE_ERROR, s->name, "%s", why_text(&why, err));
    return ERR_OK;
}

enum err rollup_tables_heal(struct store *store)
{
    uint32_t ids = store->catalog.next_table_id;
    enum err err = ERR_OK;
    for (uint32_t id = 1; id < ids && !err; id++) err = heal_table(store, id);
    return err;
}
