/* retention.c - which parts' time is over.
 *
 * A part goes when all its tables say so: their retention of today (not that of the day it was
 * written) has passed since the end of its partition, measured against trusted time; a dropped
 * table always says so. Nothing goes for its age while time is not trusted, nor what was written
 * then and not confirmed since. One partition at a time: a mistake of any kind costs a day, and is
 * seen. Whole parts: rows are never rewritten to remove some.
 *
 * A table with rollups keeps its rows until their windows are computed: the log task freezes them
 * then (rollup_task.c), and only rows of frozen windows go. */
#include "base/timetext.h"
#include "store/store_priv.h"

static const struct schema *schema_of(const struct table_list *tables, uint32_t table_id)
{
    for (uint32_t i = 0; i < tables->count; i++)
        if (tables->items[i].schema->table_id == table_id) return tables->items[i].schema;
    return NULL;
}

/* Whether all windows of its rollups that rows of the partition may lie in are frozen: they are
 * computed, and never will be again from what is left. */
static bool is_frozen(const struct table_list *tables, uint32_t table_id, int64_t to_ns)
{
    const struct table_state *state = NULL;
    for (uint32_t i = 0; i < tables->count; i++)
        if (tables->items[i].schema->table_id == table_id) state = tables->items[i].state;
    for (size_t i = 0; state && i < SCHEMA_ROLLUPS_MAX; i++) {
        struct rollup_state *rollup =
            atomic_load(&((struct table_state *)(uintptr_t)state)->rollups[i]);
        if (rollup && atomic_load(&rollup->frozen_ns) < to_ns) return false;
    }
    return true;
}

void retention_note_frozen(struct store *store)
{
    struct table_list *tables = catalog_tables(&store->catalog);
    for (uint32_t i = 0; i < tables->count; i++) {
        struct table_state *state = tables->items[i].state;
        for (size_t n = 0; n < SCHEMA_ROLLUPS_MAX; n++) {
            const struct rollup_state *rollup = atomic_load(&state->rollups[n]);
            if (!rollup) continue;
            struct manifest_frozen frozen = {rollup->table_id, atomic_load(&rollup->frozen_ns)};
            if (frozen.before_ns != INT64_MIN) manifest_freeze(&store->manifest, &frozen);
        }
    }
    table_list_release(tables);
}

static bool is_over(const struct store *store, const struct table_list *tables,
                    const struct part *part, bool *by_age)
{
    *by_age = false;
    for (uint32_t i = 0; i < part->info.table_count; i++) {
        const struct schema *schema = schema_of(tables, part->info.tables[i]);
        if (!schema) continue;
        int64_t ends;
        *by_age = true;
        if (schema->retention_ns <= 0 ||
            __builtin_add_overflow(part->info.partition_to_ns, schema->retention_ns, &ends) ||
            ends > store->trust.time_ns ||
            !is_frozen(tables, part->info.tables[i], part->info.partition_to_ns))
            return false;
    }
    return !*by_age || (store->trust.trusted && !part->info.untrusted);
}

static bool same_partition(const struct part *a, const struct part *b)
{
    return a->info.class_ns == b->info.class_ns &&
           a->info.partition_to_ns == b->info.partition_to_ns;
}

static void tell(struct store *store, const struct part *oldest, size_t count)
{
    struct buf text = BUF_EMPTY;
    struct value from = {.type = TYPE_TIMESTAMP, .i = oldest->info.partition_from_ns};
    value_add_text(&text, &from);
    const char *shown = buf_cstr(&text);
    diag(store->context, DIAG_INFO, "retention",
         "%zu parts from %s on removed: their retention is over", count, shown ? shown : "?");
    buf_free(&text);
}

size_t retention_mark(struct store *store, const struct part_list *list)
{
    struct table_list *tables = catalog_tables(&store->catalog);
    const struct part *oldest = NULL;
    size_t marked = 0;
    bool by_age;
    for (size_t i = 0; i < list->count; i++) {
        struct part *part = list->parts[i];
        if (!is_over(store, tables, part, &by_age)) continue;
        if (!oldest || part->info.partition_to_ns < oldest->info.partition_to_ns) oldest = part;
    }
    for (size_t i = 0; oldest && i < list->count; i++) {
        struct part *part = list->parts[i];
        if (!same_partition(part, oldest) || !is_over(store, tables, part, &by_age)) continue;
        atomic_store(&part->dropped, true);
        part->is_over = true;
        marked++;
    }
    if (marked) tell(store, oldest, marked);
    table_list_release(tables);
    return marked;
}

/* Who follows a table by a cursor and was behind it has lost rows (since.h). */
static void note_gone(const struct table_list *tables, const struct part *part)
{
    for (uint32_t i = 0; i < tables->count; i++) {
        struct table_state *state = tables->items[i].state;
        for (uint32_t t = 0; t < part->info.table_count; t++)
            if (part->info.tables[t] == state->table_id &&
                atomic_load(&state->gone_seq) < part->info.version)
                atomic_store(&state->gone_seq, part->info.version);
    }
}

void retention_note_gone(struct store *store, const struct part_list *list)
{
    struct table_list *tables = catalog_tables(&store->catalog);
    for (size_t i = 0; i < list->count; i++) {
        if (!list->parts[i]->is_over) continue;
        MUST(atomic_load(&list->parts[i]->dropped));
        note_gone(tables, list->parts[i]);
    }
    table_list_release(tables);
}
