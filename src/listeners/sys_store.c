/* sys_store.c - sys.devices, sys.tables and sys.nodes: what the store and the node say of
 * themselves.
 *
 * Of a table that the identity may query only in part (some devices, by path) the sizes stay NULL:
 * they would tell of the other devices. */
#include "base/timetext.h"
#include "listeners/sys_priv.h"
#include <math.h>

/* ---- sys.devices: the series catalogue ---- */

/* NULL: dropped. */
static const struct schema *table_of(const struct sys_snapshot *s, uint32_t table_id)
{
    return table_id < s->by_id_count ? s->by_id[table_id] : NULL;
}

/* The series whose device and table the identity may query. */
static enum err keep_devices(struct sys_snapshot *s)
{
    struct store *store = s->service->store;
    struct store_series_info info;
    enum err err = ERR_OK;
    s->has_devices = true;
    for (uint32_t id = 1; !err && id <= store_series_count(store); id++) {
        const struct schema *table =
            store_series(store, id, &info) ? table_of(s, info.table_id) : NULL;
        if (!table || access_check(s->identity, VERB_QUERY, "Table", str_of(table->ns),
                                   str_of(table->name), info.path, NULL))
            continue;
        err = mem_grow(&s->devices, &s->device_capacity, s->device_count + 1, sizeof *s->devices);
        if (!err) s->devices[s->device_count++] = id;
    }
    return err;
}

size_t sys_count_devices(const void *snapshot)
{
    struct sys_snapshot *s = (struct sys_snapshot *)(uintptr_t)snapshot;
    if (!s->tables) return 0;
    if (!s->sees_some) return store_series_count(s->service->store);
    if (!s->has_devices) s->devices_err = keep_devices(s);
    return s->devices_err ? 1 : s->device_count; /* a row that tells */
}

/* Text that was gathered: into the row, and freed. */
static void put_buf(struct row_out *out, struct buf *text)
{
    const char *at = buf_cstr(text);
    if (at)
        put_copy(out, at);
    else
        out->no_memory = true;
    if (!at) put_null(out);
    buf_free(text);
}

static void put_labels(struct row_out *out, const struct store_series_info *info)
{
    struct buf labels = BUF_EMPTY;
    buf_add_char(&labels, '{');
    for (uint32_t i = 0; i < info->label_count; i++) {
        if (i) buf_add_char(&labels, ',');
        buf_add_json(&labels, info->labels[i].key);
        buf_add_char(&labels, ':');
        buf_add_json(&labels, info->labels[i].value);
    }
    buf_add_char(&labels, '}');
    put_buf(out, &labels);
}

/* Every one of the catalogue is a row, so that nothing has to be gathered for who sees all: those
 * of dropped tables are rows without a table. */
void sys_write_devices(const void *snapshot, size_t n, struct row_out *out)
{
    const struct sys_snapshot *s = snapshot;
    struct store_series_info info = {0};
    if (s->devices_err) {
        out->no_memory = true;
        for (int i = 0; i < 5; i++) put_null(out);
        return;
    }
    uint32_t id = s->sees_some ? s->devices[n] : (uint32_t)n + 1;
    const struct schema *table =
        store_series(s->service->store, id, &info) ? table_of(s, info.table_id) : NULL;
    put_int(out, id);
    put_text(out, info.path);
    if (table) put_text(out, str_of(table->ns));
    if (table) put_text(out, str_of(table->name));
    for (int i = 0; !table && i < 2; i++) put_null(out);
    put_labels(out, &info);
}

const struct list_column sys_columns_devices[] = {
    {"id", TYPE_BIGINT, ""},  {"device", TYPE_TEXT, ""}, {"namespace", TYPE_TEXT, ""},
    {"table", TYPE_TEXT, ""}, {"labels", TYPE_TEXT, ""}, {0},
};

/* ---- sys.tables ---- */

struct sys_sizes {
    struct store_table_size *items;
    size_t count;
    bool is_known;
    enum err err;
};

size_t sys_count_tables(const void *snapshot)
{
    const struct sys_snapshot *s = snapshot;
    if (s->sizes && !s->sizes->is_known) {
        s->sizes->is_known = true;
        s->sizes->err = store_table_sizes(s->service->store, &s->sizes->items, &s->sizes->count);
    }
    return s->table_count;
}

static void put_duration(struct row_out *out, int64_t ns)
{
    struct buf text = BUF_EMPTY;
    if (ns) buf_add_duration(&text, ns);
    if (ns)
        put_buf(out, &text);
    else
        put_null(out);
}

static void put_rollups(struct row_out *out, const struct schema *table)
{
    struct buf text = BUF_EMPTY;
    for (uint32_t i = 0; i < table->rollup_count; i++) {
        if (i) buf_add_text(&text, ", ");
        buf_add_duration(&text, table->rollups[i].every_ns);
    }
    if (table->rollup_count)
        put_buf(out, &text);
    else
        put_null(out);
}

static void put_durability(struct row_out *out, const struct schema *table)
{
    struct buf text = BUF_EMPTY;
    buf_add_text(&text, table->durability == DURABILITY_COMMIT ? "commit" : "interval ");
    if (table->durability == DURABILITY_INTERVAL)
        buf_add_duration(&text, table->durability_interval_ns);
    put_buf(out, &text);
}

static void put_sizes(struct row_out *out, const struct store_table_size *size)
{
    bool has_rows = size->first_ns <= size->last_ns;
    put_count(out, size->devices);
    if (size->is_partial) { /* a sum without the part that cannot be read would be a wrong one */
        put_null(out);
        put_count(out, size->parts);
        for (int i = 0; i < 3; i++) put_null(out);
        return;
    }
    put_count(out, size->rows);
    put_count(out, size->parts);
    put_count(out, size->bytes);
    put_time(out, has_rows ? size->first_ns : 0);
    put_time(out, has_rows ? size->last_ns : 0);
}

void sys_write_tables(const void *snapshot, size_t n, struct row_out *out)
{
    const struct sys_snapshot *s = snapshot;
    const struct schema *table = store_table_at(s->tables, s->table_at[n]);
    const struct schema *base = table->rollup_of ? table_of(s, table->rollup_of) : NULL;
    struct store_table_size none = {.first_ns = 1, .last_ns = 0};
    bool sees_all = access_scope(s->identity, VERB_QUERY, "Table", str_of(table->ns),
                                 str_of(table->name)) == ACCESS_ALL;
    MUST(s->sizes && s->sizes->is_known);
    if (s->sizes->err) out->no_memory = true;
    put_text(out, str_of(table->ns));
    put_text(out, str_of(table->name));
    put_text(out, str_of(table->description));
    put_count(out, table->column_count);
    if (sees_all)
        put_sizes(out, table->table_id <= s->sizes->count ? &s->sizes->items[table->table_id - 1]
                                                          : &none);
    else
        for (int i = 0; i < 6; i++) put_null(out);
    put_duration(out, table->retention_ns);
    put_durability(out, table);
    put_rollups(out, table);
    if (base)
        put_text(out, str_of(base->name));
    else
        put_null(out);
}

const struct list_column sys_columns_tables[] = {
    {"namespace", TYPE_TEXT, ""},
    {"name", TYPE_TEXT, ""},
    {"description", TYPE_TEXT, ""},
    {"columns", TYPE_BIGINT, ""},
    {"devices", TYPE_BIGINT, ""},
    {"rows", TYPE_BIGINT, ""},
    {"parts", TYPE_BIGINT, ""},
    {"bytes", TYPE_BIGINT, "B"},
    {"first_time", TYPE_TIMESTAMP, ""},
    {"last_time", TYPE_TIMESTAMP, ""},
    {"retention", TYPE_TEXT, ""},
    {"durability", TYPE_TEXT, ""},
    {"rollups", TYPE_TEXT, ""},
    {"rollup_of", TYPE_TEXT, ""},
    {0},
};

/* ---- sys.nodes: this one ---- */

size_t sys_count_nodes(const void *snapshot)
{
    return ((const struct sys_snapshot *)snapshot)->sees_node;
}

void sys_write_nodes(const void *snapshot, size_t n, struct row_out *out)
{
    const struct sys_snapshot *s = snapshot;
    const struct service *service = s->service;
    const struct budget *memory = &service->context->memory;
    struct store_positions p = store_positions(service->store);
    MUST(n == 0);
    put_text(out, service->node_name);
    put_text(out, service->node_path);
    put_text(out, STR("edge"));
    put_text(out, STR(MILLRACE_VERSION));
    put_text(out, str_of(service->https_url[0] ? service->https_url : service->http_url));
    put_text(out, s->is_ready ? STR("ready") : STR("starting"));
    put_time(out, s->now_ns - s->up_ns);
    put_double(out, (double)s->up_ns / (double)TIME_NS_PER_S);
    put_count(out, memory->limit_bytes);
    put_count(out, atomic_load(&((struct budget *)(uintptr_t)memory)->used_bytes));
    put_count(out, p.appended);
    put_count(out, p.applied);
    put_count(out, p.durable);
}

const struct list_column sys_columns_nodes[] = {
    {"name", TYPE_TEXT, ""},
    {"path", TYPE_TEXT, ""},
    {"tier", TYPE_TEXT, ""},
    {"version", TYPE_TEXT, ""},
    {"address", TYPE_TEXT, ""},
    {"state", TYPE_TEXT, ""},
    {"started", TYPE_TIMESTAMP, ""},
    {"uptime_s", TYPE_DOUBLE, "s"},
    {"memory_limit", TYPE_BIGINT, "B"},
    {"memory_used", TYPE_BIGINT, "B"},
    {"appended", TYPE_BIGINT, ""},
    {"applied", TYPE_BIGINT, ""},
    {"durable", TYPE_BIGINT, ""},
    {0},
};

/* ---- the snapshot ---- */

static enum err index_tables(struct sys_snapshot *s)
{
    uint32_t most = 0, count = store_table_count(s->tables);
    for (uint32_t i = 0; i < count; i++)
        if (store_table_at(s->tables, i)->table_id > most)
            most = store_table_at(s->tables, i)->table_id;
    s->by_id = mem_alloc_zero((size_t)most + 1, sizeof *s->by_id);
    if (!s->by_id) return ERR_NO_MEMORY;
    s->by_id_count = (size_t)most + 1;
    for (uint32_t i = 0; i < count; i++) {
        const struct schema *table = store_table_at(s->tables, i);
        s->by_id[table->table_id] = table;
    }
    return ERR_OK;
}

static enum err keep_tables(struct sys_snapshot *s)
{
    uint32_t count = store_table_count(s->tables);
    s->table_at = mem_alloc_zero(count + 1, sizeof *s->table_at);
    s->sizes = mem_alloc_zero(1, sizeof *s->sizes);
    if (!s->table_at || !s->sizes) return ERR_NO_MEMORY;
    for (uint32_t i = 0; i < count; i++) {
        const struct schema *table = store_table_at(s->tables, i);
        if (access_scope(s->identity, VERB_QUERY, "Table", str_of(table->ns), str_of(table->name)))
            s->table_at[s->table_count++] = i;
    }
    return ERR_OK;
}

enum err sys_take_store(struct sys_snapshot *s)
{
    struct service *service = s->service;
    bool wants_devices = sys_mentions(s, "devices"), wants_tables = sys_mentions(s, "tables");
    if (sys_mentions(s, "nodes")) {
        s->sees_node = access_check(s->identity, VERB_GET, "Node", STR(""),
                                    str_of(service->node_document), STR(""), NULL) == ERR_OK;
        s->is_ready = service->ready;
        s->up_ns = context_mono_ns(service->context) - service->started_ns;
    }
    if (!service->store || !(wants_devices || wants_tables)) return ERR_OK;
    s->tables = store_tables(service->store);
    if (!s->tables) return ERR_NO_MEMORY;
    bool sees_all =
        access_scope(s->identity, VERB_QUERY, "Table", (struct str){0}, STR("")) == ACCESS_ALL;
    enum err err = index_tables(s);
    s->sees_some = !sees_all;
    if (!err && wants_tables) err = keep_tables(s);
    return err;
}

void sys_free_store(struct sys_snapshot *s)
{
    if (s->sizes) mem_free(s->sizes->items);
    mem_free(s->sizes);
    mem_free(s->devices);
    mem_free(s->table_at);
    mem_free(s->by_id);
    store_tables_release(s->tables);
}
