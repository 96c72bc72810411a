/* list_source.c - see list_source.h. */
#include "listeners/list_source.h"
#include <math.h>
#include <string.h>

/* ---- writing cells ---- */

void put(struct row_out *out, struct value value)
{
    vector_set(&out->columns[out->at], out->row, &value);
    out->columns[out->at++].count = out->row + 1;
}

void put_null(struct row_out *out)
{
    put(out, (struct value){.is_null = true});
}

void put_text(struct row_out *out, struct str text)
{
    put(out, (struct value){.type = TYPE_TEXT, .s = text.at ? text : (struct str){"", 0}});
}

void put_int(struct row_out *out, int64_t v)
{
    put(out, (struct value){.type = TYPE_BIGINT, .i = v});
}

void put_bool(struct row_out *out, bool b)
{
    put(out, (struct value){.type = TYPE_BOOL, .b = b});
}

void put_count(struct row_out *out, uint64_t v)
{
    put_int(out, v > INT64_MAX ? INT64_MAX : (int64_t)v);
}

void put_double(struct row_out *out, double v)
{
    if (isnan(v))
        put_null(out);
    else
        put(out, (struct value){.type = TYPE_DOUBLE, .d = v});
}

void put_time(struct row_out *out, int64_t ns)
{
    if (ns == 0)
        put_null(out);
    else
        put(out, (struct value){.type = TYPE_TIMESTAMP, .i = ns});
}

void put_copy(struct row_out *out, const char *text)
{
    char *copy = arena_strdup(out->arena, text, strlen(text));
    if (!copy) out->no_memory = true;
    put_text(out, str_of(copy));
}

/* ---- the source ---- */

static const struct list_table *find(const struct list_context *list, struct str schema,
                                     struct str name)
{
    for (size_t i = 0; i < list->table_count; i++)
        if (str_is(name, list->tables[i].name) &&
            (schema.size == 0 || str_is(schema, list->tables[i].schema)))
            return &list->tables[i];
    return NULL;
}

static enum err make_schema(const struct list_table *table, struct schema **out)
{
    struct schema *schema = schema_new("", table->name, 1);
    enum err err = schema ? ERR_OK : ERR_NO_MEMORY;
    for (const struct list_column *c = table->columns; c->name && !err; c++)
        err = schema_add_plain_column(schema, c->name, c->type, c->unit);
    if (err) schema_release(schema);
    *out = err ? NULL : schema;
    return err;
}

static enum err find_table(void *context, struct str ns, struct str schema, struct str name,
                           struct arena *arena, struct sql_table *out, struct why *why)
{
    (void)ns;
    (void)arena;
    (void)why;
    const struct list_context *list = context;
    *out = (struct sql_table){.source = list->source};
    const struct list_table *table = find(list, schema, name);
    if (!table) return ERR_OK;
    out->handle = (void *)(uintptr_t)table;
    return make_schema(table, &out->schema);
}

static void close_table(void *context, struct sql_table *table)
{
    (void)context;
    schema_release(table->schema);
    table->schema = NULL;
}

static enum err list_tables(void *context, struct str ns, struct arena *arena,
                            struct sql_table_name **names, size_t *count)
{
    const struct list_context *list = context;
    (void)ns;
    *count = list->is_hidden ? 0 : list->table_count;
    *names = arena_alloc(arena, (*count + 1) * sizeof **names);
    if (!*names) return ERR_NO_MEMORY;
    for (size_t i = 0; i < *count; i++) {
        const struct list_table *t = &list->tables[i];
        (*names)[i] = (struct sql_table_name){t->schema, t->name, t->description};
    }
    return ERR_OK;
}

struct sql_scan {
    const struct list_context *list;
    const struct list_table *table;
    struct sql_scan_request request;
    size_t column_count; /* of the table */
    size_t at, count;
    struct arena arena;
    struct sql_scan_stats stats;
};

static enum err scan_open(void *context, void *snapshot, struct sql_table *table,
                          const struct sql_scan_request *request, struct budget *budget,
                          struct sql_scan **out, struct why *why)
{
    (void)snapshot;
    (void)why;
    struct sql_scan *scan = mem_alloc_zero(1, sizeof *scan);
    if (!scan) return ERR_NO_MEMORY;
    scan->list = context;
    scan->table = table->handle;
    scan->request = *request;
    scan->column_count = table->schema->column_count;
    scan->count = scan->table->count ? scan->table->count(scan->list->snapshot) : 0;
    arena_init(&scan->arena, budget);
    *out = scan;
    return ERR_OK;
}

static void scan_close(struct sql_scan *scan, struct sql_scan_stats *stats)
{
    if (!scan) return;
    if (stats) *stats = scan->stats;
    arena_free(&scan->arena);
    mem_free(scan);
}

static enum err scan_next(struct sql_scan *scan, struct sql_chunk *chunk, struct why *why)
{
    *chunk = (struct sql_chunk){0};
    arena_reset(&scan->arena);
    struct vector *all = arena_zero(&scan->arena, scan->column_count, sizeof *all);
    struct vector *wanted = arena_zero(&scan->arena, scan->request.column_count, sizeof *wanted);
    if (!all || !wanted)
        return why_set(why, ERR_BUDGET, "%s.%s needs more memory", scan->table->schema,
                       scan->table->name);
    for (size_t i = 0; i < scan->column_count; i++)
        if (vector_make(&all[i], &scan->arena, scan->table->columns[i].type, SQL_CHUNK_ROWS, true,
                        false))
            return why_set(why, ERR_BUDGET, "%s.%s needs more memory", scan->table->schema,
                           scan->table->name);
    struct row_out out = {.columns = all, .arena = &scan->arena, .why = why};
    for (; out.row < SQL_CHUNK_ROWS && scan->at < scan->count; scan->at++, out.row++) {
        out.at = 0;
        scan->table->write(scan->list->snapshot, scan->at, &out);
        if (out.err) return out.err;
        if (out.is_end) {
            MUST(out.at == 0);
            scan->count = scan->at;
            break;
        }
        MUST(out.at == scan->column_count);
    }
    if (out.no_memory)
        return why_set(why, ERR_BUDGET, "%s.%s needs more memory", scan->table->schema,
                       scan->table->name);
    for (size_t i = 0; i < scan->request.column_count; i++)
        wanted[i] = all[scan->request.columns[i] - 1];
    chunk->columns = wanted;
    chunk->row_count = out.row;
    scan->stats.rows += out.row;
    return ERR_OK;
}

static enum err snapshot_open(void *context, void **snapshot)
{
    *snapshot = context;
    return ERR_OK;
}

static void snapshot_close(void *context, void *snapshot)
{
    (void)context;
    (void)snapshot;
}

/* The engine tells sources apart by these. */
#define OPERATIONS(NAME)                                                                           \
    {                                                                                              \
        .name = NAME, .find_table = find_table, .close_table = close_table,                        \
        .list_tables = list_tables, .scan_open = scan_open, .scan_next = scan_next,                \
        .scan_close = scan_close, .snapshot_open = snapshot_open,                                  \
        .snapshot_close = snapshot_close,                                                          \
    }
const struct sql_source list_source_sys = OPERATIONS("sys");
const struct sql_source list_source_pg = OPERATIONS("pg_catalog");
