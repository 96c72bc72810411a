/* since.c - what was written since a position; see since.h.
 *
 * The scan is the store's own (scan.c) with a snapshot that has a lower bound, too. Rows in memory
 * carry their position each; of parts a whole block is taken when its position is above the bound,
 * and that is why the view of the last pass is held: what it still has of a head is exact, where
 * the parts made of that head are not.
 *
 * Called by: sinks, on BLOCKING tasks of their own; a reader belongs to one task at a time.
 * Owns: a share of the held view. Invariant: `bounds.view` is `held`, and each open statement has a
 * share of its own. */
#include "store/since.h"
#include "store/scan.h"
#include "store/series_index.h"

struct store_since {
    struct store *store;
    char ns[SCHEMA_NAME_BYTES_MAX + 1], table[SCHEMA_NAME_BYTES_MAX + 1];
    struct store_view *held;      /* of the last pass; NULL = none */
    struct store_snapshot bounds; /* of this pass; its view is `held` */
    bool gives_up;
};

struct store_since *store_since_new(struct store *store, struct str ns, struct str table)
{
    struct store_since *since = mem_alloc_zero(1, sizeof *since);
    if (!since) return NULL;
    MUST(store_is_valid(store));
    since->store = store;
    bool is_whole = str_copy(since->ns, sizeof since->ns, ns);
    is_whole &= str_copy(since->table, sizeof since->table, table);
    if (is_whole) return since;
    mem_free(since);
    return NULL;
}

void store_since_rest(struct store_since *since)
{
    if (since->held) store_view_release(since->held);
    since->held = NULL;
}

void store_since_free(struct store_since *since)
{
    if (!since) return;
    store_since_rest(since);
    mem_free(since);
}

/* The head of the held view that took rows then, if no view has it any more: sealed, its rows are
 * in parts. NULL: the view `now` still shows it. */
static const struct head *sealed_head(const struct store_since *since, const struct store_view *now)
{
    if (!since->held || !since->held->head_count) return NULL;
    const struct head *head = since->held->heads[since->held->head_count - 1];
    for (size_t i = 0; i < now->head_count; i++)
        if (now->heads[i] == head) return NULL;
    return head;
}

bool store_since_is_urgent(const struct store_since *since)
{
    struct store_view *now = store_view_get(since->store);
    const struct head *head = sealed_head(since, now);
    bool is_urgent = head && head->sealed_seq > since->bounds.applied;
    store_view_release(now);
    return is_urgent;
}

void store_since_give_up(struct store_since *since, bool gives_up)
{
    since->gives_up = gives_up;
}

uint64_t store_since_gone(const struct store_since *since)
{
    struct table_list *list = catalog_tables(&since->store->catalog);
    int at = table_list_find(list, str_of(since->ns), str_of(since->table));
    uint64_t gone = at < 0 ? 0 : atomic_load(&list->items[at].state->gone_seq);
    table_list_release(list);
    return gone;
}

/* The series that a pass stopped in. */
static uint32_t find_series(const struct store_since *since, const struct store_place *place)
{
    if (!place->up_to || !place->device[0]) return 0;
    struct schema *schema = store_find_table(since->store, str_of(since->ns), str_of(since->table));
    const struct series *series =
        schema ? series_index_find(&since->store->catalog, schema->table_id, str_of(place->device))
               : NULL;
    schema_release(schema);
    return series ? series->id : 0;
}

void store_since_begin(struct store_since *since, struct store_place *place, bool *is_empty)
{
    /* The view first, as every statement does (scan.c): what it holds is applied then. */
    struct store_view *now = store_view_get(since->store);
    uint64_t applied = store_positions(since->store).applied;
    const struct head *head = sealed_head(since, now);
    if (head && place->position < head->sealed_seq &&
        (!place->up_to || place->up_to <= head->sealed_seq)) {
        /* The position of its sealing, which may be above its last row's: its blocks have it. */
        applied = head->sealed_seq;
        store_view_release(now);
    } else {
        store_since_rest(since);
        since->held = now;
    }
    since->bounds = (struct store_snapshot){
        .view = since->held, .above = place->position, .waits = !since->gives_up};
    since->bounds.resume_series = find_series(since, place);
    since->bounds.resume_ns = place->time_ns;
    if (!place->up_to) place->up_to = applied;
    since->bounds.applied = place->up_to;
    *is_empty = place->up_to <= place->position;
}

/* ---- as a source of statements ---- */

static enum err find_table(void *context, struct str ns, struct str schema, struct str name,
                           struct arena *arena, struct sql_table *table, struct why *why)
{
    const struct store_since *since = context;
    *table = (struct sql_table){.source = &store_since_source};
    if (!str_is(ns, since->ns) || !str_is(name, since->table)) return ERR_OK;
    return store_sql_source.find_table(since->store, ns, schema, name, arena, table, why);
}

static void close_table(void *context, struct sql_table *table)
{
    const struct store_since *since = context;
    store_sql_source.close_table(since->store, table);
}

static enum err list_tables(void *context, struct str ns, struct arena *arena,
                            struct sql_table_name **names, size_t *count)
{
    (void)context;
    (void)ns;
    *names = arena_zero(arena, 1, sizeof **names);
    *count = 0;
    return *names ? ERR_OK : ERR_NO_MEMORY;
}

static enum err scan_open(void *context, void *snapshot, struct sql_table *table,
                          const struct sql_scan_request *request, struct budget *budget,
                          struct sql_scan **out, struct why *why)
{
    const struct store_since *since = context;
    return store_sql_source.scan_open(since->store, snapshot, table, request, budget, out, why);
}

static enum err scan_next(struct sql_scan *scan, struct sql_chunk *chunk, struct why *why)
{
    return store_sql_source.scan_next(scan, chunk, why);
}

static void scan_close(struct sql_scan *scan, struct sql_scan_stats *stats)
{
    store_sql_source.scan_close(scan, stats);
}

static enum err snapshot_open(void *context, void **out)
{
    const struct store_since *since = context;
    struct store_snapshot *snapshot = mem_dup(&since->bounds, sizeof since->bounds);
    MUST(since->held); /* store_since_begin */
    if (!snapshot) return ERR_NO_MEMORY;
    refs_take(&snapshot->view->refs);
    *out = snapshot;
    return ERR_OK;
}

static void snapshot_close(void *context, void *snapshot)
{
    const struct store_since *since = context;
    store_sql_source.snapshot_close(since->store, snapshot);
}

/* No scan_rows: a pass is one scan, for the order of its rows is what is promised. */
const struct sql_source store_since_source = {
    .name = "store",
    .find_table = find_table,
    .close_table = close_table,
    .list_tables = list_tables,
    .scan_open = scan_open,
    .scan_next = scan_next,
    .scan_close = scan_close,
    .snapshot_open = snapshot_open,
    .snapshot_close = snapshot_close,
};
