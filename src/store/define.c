/* define.c - tables as others see them: defining, changing and dropping one, and the lists of
 * tables and series; see store.h (store_define, store_tables).
 *
 * A change is one round of the log task for itself: what was posted before goes first, so rows that
 * were sent before a DROP are in the log before it. The records of the table and of its rollups are
 * framed together and written at once; only when the kernel has them the catalogue shows the
 * change, and only when they are durable its writer is told. The order matters for a start: a
 * record that was told of is there, and rows of a table never stand before its record.
 *
 * Called by: any task (store_define posts; the lists are read without a lock).
 * Owns: a store_define from its posting to its completion; store->defined lists those that wait for
 * the sync, by position. */
#include "store/rollup.h"
#include "store/store_priv.h"

/* ---- defining tables (log task) ---- */

static enum err check_define(struct store *store, const struct store_define *define,
                             struct why *why)
{
    const struct schema *s = define->schema;
    struct table_list *tables = store->catalog.tables.object;
    int named = table_list_find(tables, str_of(s->ns), str_of(s->name));
    const struct schema *old = s->table_id ? catalog_schema(&store->catalog, s->table_id) : NULL;
    if (s->table_id && !old) return why_set(why, ERR_NO_TABLE, "table %s does not exist", s->name);
    if (named >= 0 && tables->items[named].schema->table_id != s->table_id)
        return why_set(why, ERR_EXISTS, "table %s exists already", s->name);
    if (!old && store->catalog.next_table_id > CATALOG_TABLES_MAX - SCHEMA_ROLLUPS_MAX)
        return why_set(why, ERR_LIMIT,
                       "there were %u tables already, dropped ones as well: no more",
                       store->catalog.next_table_id - 1);
    if (old && old->rollup_of)
        return why_set(why, ERR_READ_ONLY,
                       "table %s is a rollup of table %s: it changes and goes with that one",
                       s->name, rollup_base_name(store, old));
    if (old && !define->drop && s->revision != old->revision + 1)
        return why_set(why, ERR_CONFLICT, "table %s was changed in the meantime; try again",
                       s->name);
    return ERR_OK;
}

enum { CHANGES_MAX = 1 + 2 * SCHEMA_ROLLUPS_MAX };

/* The table and its rollups: the records of all are framed and their places in the catalogue made,
 * or of none. What the log has is carried out: from there on no memory may be missing. */
static enum err prepare(struct store *store, struct catalog_change *changes, size_t count,
                        struct table_list **list)
{
    size_t mark = store->log.pending.size;
    enum err err = ERR_OK;
    for (size_t i = 0; i < count && !err; i++) {
        struct catalog_change *change = &changes[i];
        if (!change->schema->table_id) change->schema->table_id = store->catalog.next_table_id;
        err = store_write_schema(store, change->schema, change->drop);
    }
    if (!err) err = catalog_prepare(&store->catalog, changes, count, list);
    if (err) store->log.pending.size = mark;
    return err;
}

static enum err carry_out(struct store *store, struct store_define *define, struct why *why)
{
    struct rollup_changes rollups = {0};
    struct catalog_change changes[CHANGES_MAX] = {{define->schema, define->drop, NULL}};
    struct table_list *list = NULL;
    size_t count = 1;
    enum err err = store_recover_log(store, why);
    if (!err) err = check_define(store, define, why);
    if (err) return err;
    if (!define->schema->table_id) define->schema->table_id = store->catalog.next_table_id;
    err = rollup_changes_of(store, define->schema, define->drop, &rollups, why);
    for (size_t i = 0; i < rollups.count; i++)
        changes[count++] =
            (struct catalog_change){rollups.items[i].schema, rollups.items[i].drop, NULL};
    if (!err) err = prepare(store, changes, count, &list);
    if (!err && (err = store_write_round(store, why))) catalog_abandon(changes, count, list);
    if (!err) {
        define->seq = store->appended;
        catalog_publish(&store->catalog, changes, count, list);
        if (!define->drop) define->result = schema_share(define->schema);
    }
    rollup_changes_free(&rollups);
    return err;
}

static void run_define(struct job *job)
{
    struct store_define *define =
        (struct store_define *)(void *)((char *)job - offsetof(struct store_define, arrive));
    struct store *store = define->store;
    MUST(define->schema);
    struct why why = WHY_NONE;
    store_after_jobs(store); /* batches posted before keep their order */
    enum err err = carry_out(store, define, &why);
    schema_release(define->schema);
    define->schema = NULL;
    if (err) {
        schema_release(define->result);
        define->result = NULL;
        completion_finish(&define->completion, err, &why);
        return;
    }
    define->next = NULL;
    if (store->defined_last)
        store->defined_last->next = define;
    else
        store->defined = define;
    store->defined_last = define;
    store_sync_now(store);
}

void store_define(struct store *store, struct store_define *define)
{
    MUST(store_is_valid(store) && define->schema && define->completion.done);
    define->store = store;
    define->arrive.run = run_define;
    loop_post(&store->log_loop, &define->arrive);
}

struct schema *store_find_table(struct store *store, struct str ns, struct str name)
{
    struct table_list *tables = catalog_tables(&store->catalog);
    int at = table_list_find(tables, ns, name);
    struct schema *schema = at < 0 ? NULL : schema_share(tables->items[at].schema);
    table_list_release(tables);
    return schema;
}

/* The catalogue's list under its public name. */
struct store_table_list *store_tables(struct store *store)
{
    return (struct store_table_list *)catalog_tables(&store->catalog);
}

uint32_t store_table_count(const struct store_table_list *list)
{
    return ((const struct table_list *)list)->count;
}

const struct schema *store_table_at(const struct store_table_list *list, uint32_t index)
{
    MUST(index < store_table_count(list));
    return ((const struct table_list *)list)->items[index].schema;
}

uint32_t store_table_series(const struct store_table_list *list, uint32_t index)
{
    const struct table_list *tables = (const struct table_list *)list;
    MUST(index < tables->count);
    return atomic_load(&tables->items[index].state->series_count);
}

void store_tables_release(struct store_table_list *list)
{
    table_list_release((struct table_list *)list);
}

uint32_t store_series_count(const struct store *store)
{
    return atomic_load_explicit(&((struct store *)(uintptr_t)store)->catalog.series_count,
                                memory_order_acquire);
}

bool store_series(const struct store *store, uint32_t id, struct store_series_info *info)
{
    struct series *series = catalog_series(&store->catalog, id);
    if (!series) return false;
    const struct series_labels *labels =
        atomic_load_explicit(&series->labels, memory_order_acquire);
    *info = (struct store_series_info){series->id, series->table_id, series->path,
                                       labels ? labels->count : 0, labels ? labels->items : NULL};
    return true;
}
