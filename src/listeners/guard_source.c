/* guard_source.c - see guard_source.h. */
#include "listeners/guard_source.h"
#include <string.h>

/* Whether anything at all may be done with the table. */
static bool may_touch(const struct identity *identity, struct str ns, struct str name)
{
    static const enum access_verb verbs[] = {VERB_QUERY, VERB_INGEST, VERB_CREATE, VERB_UPDATE,
                                             VERB_DELETE};
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        if (access_scope(identity, verbs[i], "Table", ns, name)) return true;
    return false;
}

static enum err find_table(void *context, struct str ns, struct str schema, struct str name,
                           struct arena *arena, struct sql_table *table, struct why *why)
{
    const struct guard *guard = context;
    enum err err = store_sql_source.find_table(guard->store, ns, schema, name, arena, table, why);
    if (err || !table->schema || may_touch(guard->identity, ns, name)) return err;
    store_sql_source.close_table(guard->store, table);
    *table = (struct sql_table){.source = &guard_source};
    return access_check(guard->identity, VERB_QUERY, "Table", ns, name, (struct str){"", 0}, why);
}

static void close_table(void *context, struct sql_table *table)
{
    const struct guard *guard = context;
    store_sql_source.close_table(guard->store, table);
}

static enum err list_tables(void *context, struct str ns, struct arena *arena,
                            struct sql_table_name **names, size_t *count)
{
    const struct guard *guard = context;
    enum err err = store_sql_source.list_tables(guard->store, ns, arena, names, count);
    size_t kept = 0;
    for (size_t i = 0; !err && i < *count; i++)
        if (may_touch(guard->identity, ns, str_of((*names)[i].name)))
            (*names)[kept++] = (*names)[i];
    if (!err) *count = kept;
    return err;
}

struct sql_scan {
    struct sql_scan *inner;
    const struct identity *identity;
    struct schema *schema; /* borrowed from the statement's table */
    bool is_whole;         /* all devices are allowed */
    uint32_t series;       /* looked at last; the next field is its answer */
    bool has_series, is_allowed;
    /* What the statement itself asks of a series; may be NULL. */
    bool (*wants_series)(void *context, struct str device, const struct str *labels);
    void *wants_context;
};

static bool may_see(const struct sql_scan *scan, struct str device)
{
    return access_check(scan->identity, VERB_QUERY, "Table", str_of(scan->schema->ns),
                        str_of(scan->schema->name), device, NULL) == ERR_OK;
}

/* Of a device that is not allowed nothing is read: its rows cost no time and are in no count. */
static bool wants_series(void *context, struct str device, const struct str *labels)
{
    const struct sql_scan *scan = context;
    return may_see(scan, device) &&
           (!scan->wants_series || scan->wants_series(scan->wants_context, device, labels));
}

static enum err scan_open(void *context, void *snapshot, struct sql_table *table,
                          const struct sql_scan_request *request, struct budget *budget,
                          struct sql_scan **out, struct why *why)
{
    const struct guard *guard = context;
    struct sql_scan_request asked = *request;
    struct sql_scan *scan = mem_alloc_zero(1, sizeof *scan);
    if (!scan) return ERR_NO_MEMORY;
    scan->identity = guard->identity;
    scan->schema = table->schema;
    scan->is_whole = access_scope(guard->identity, VERB_QUERY, "Table", str_of(table->schema->ns),
                                  str_of(table->schema->name)) == ACCESS_ALL;
    scan->wants_series = request->wants_series;
    scan->wants_context = request->wants_context;
    if (!scan->is_whole) {
        asked.want_device = true;
        asked.wants_series = wants_series;
        asked.wants_context = scan;
    }
    enum err err = store_sql_source.scan_open(guard->store, snapshot, table, &asked, budget,
                                              &scan->inner, why);
    if (err) {
        mem_free(scan);
        return err;
    }
    *out = scan;
    return ERR_OK;
}

/* A source may ignore wants_series. A series' chunks come one after the other, so one answer is
 * kept. */
static bool is_allowed(struct sql_scan *scan, const struct sql_chunk *chunk)
{
    if (scan->is_whole) return true;
    if (scan->has_series && scan->series == chunk->series) return scan->is_allowed;
    MUST(chunk->device.count > 0 || chunk->device.is_constant);
    scan->has_series = true;
    scan->series = chunk->series;
    scan->is_allowed = may_see(scan, chunk->device.s[0]);
    return scan->is_allowed;
}

static enum err scan_next(struct sql_scan *scan, struct sql_chunk *chunk, struct why *why)
{
    enum err err;
    do {
        err = store_sql_source.scan_next(scan->inner, chunk, why);
    } while (!err && chunk->row_count && !is_allowed(scan, chunk));
    return err;
}

static void scan_close(struct sql_scan *scan, struct sql_scan_stats *stats)
{
    if (!scan) return;
    store_sql_source.scan_close(scan->inner, stats);
    mem_free(scan);
}

static uint64_t scan_rows(void *context, void *snapshot, struct sql_table *table,
                          const struct sql_scan_request *request)
{
    return store_sql_source.scan_rows(((const struct guard *)context)->store, snapshot, table,
                                      request);
}

static void explain_scan(void *context, struct sql_table *table,
                         const struct sql_scan_request *request, struct buf *out)
{
    store_sql_source.explain_scan(((const struct guard *)context)->store, table, request, out);
}

static enum err snapshot_open(void *context, void **snapshot)
{
    return store_sql_source.snapshot_open(((const struct guard *)context)->store, snapshot);
}

static void snapshot_close(void *context, void *snapshot)
{
    store_sql_source.snapshot_close(((const struct guard *)context)->store, snapshot);
}

const struct sql_source guard_source = {
    .name = "store",
    .find_table = find_table,
    .close_table = close_table,
    .list_tables = list_tables,
    .scan_open = scan_open,
    .scan_rows = scan_rows,
    .scan_next = scan_next,
    .scan_close = scan_close,
    .explain_scan = explain_scan,
    .snapshot_open = snapshot_open,
    .snapshot_close = snapshot_close,
};
