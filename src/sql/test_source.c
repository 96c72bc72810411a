/* test_source.c - see test_source.h. */
#include "sql/test_source.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- rows ---- */

struct test_table *test_world_table(struct test_world *world, const char *name)
{
    for (size_t i = 0; i < world->table_count; i++)
        if (world->tables[i].schema && strcmp(world->tables[i].schema->name, name) == 0)
            return &world->tables[i];
    return NULL;
}

struct test_series *test_world_series(struct test_world *world, struct test_table *table,
                                      struct str path)
{
    size_t at = 0;
    while (at < table->series_count && str_compare(table->series[at].path, path) < 0) at++;
    if (at < table->series_count && str_equal(table->series[at].path, path))
        return &table->series[at];
    if (mem_grow(&table->series, &table->series_capacity, table->series_count + 1,
                 sizeof *table->series))
        return NULL;
    char *copy = arena_strdup(&world->arena, path.at, path.size);
    if (!copy) return NULL;
    memmove(&table->series[at + 1], &table->series[at],
            (table->series_count - at) * sizeof *table->series);
    table->series_count++;
    table->series[at] = (struct test_series){.path = {copy, path.size}};
    return &table->series[at];
}

/* A column's arrays of the present capacity, filled with absent cells up to row_count; old rows are
 * kept. */
static enum err make_column(struct test_world *world, struct test_series *series, enum type type,
                            struct vector *column)
{
    struct vector old = *column;
    size_t bytes = vector_element_bytes(type);
    enum err err = vector_make(column, &world->arena, type, series->row_capacity, true, true);
    if (err) return err;
    column->count = series->row_count;
    for (uint32_t r = 0; r < series->row_count; r++)
        column->null[r] = 1, column->quality[r] = QUALITY_NO_DATA;
    if (!old.data) return ERR_OK;
    memcpy(column->data, old.data, bytes * series->row_count);
    memcpy(column->null, old.null, series->row_count);
    memcpy(column->quality, old.quality, sizeof *old.quality * series->row_count);
    return ERR_OK;
}

static enum err grow_series(struct test_world *world, const struct test_table *table,
                            struct test_series *series)
{
    series->row_capacity = series->row_capacity ? series->row_capacity * 2 : 16;
    int64_t *time = arena_zero(&world->arena, series->row_capacity, sizeof *time);
    if (!time) return ERR_NO_MEMORY;
    if (series->row_count) memcpy(time, series->time, series->row_count * sizeof *time);
    series->time = time;
    for (uint32_t c = 0; c < table->schema->column_count; c++) {
        const struct column *column = &table->schema->columns[c];
        MUST(column->id < TEST_COLUMNS_MAX);
        enum err err = make_column(world, series, column->type, &series->columns[column->id]);
        if (err) return err;
    }
    return ERR_OK;
}

static void shift_column(struct vector *v, uint32_t at, uint32_t count)
{
    size_t bytes = vector_element_bytes(v->type), tail = count - at;
    char *data = v->data;
    memmove(data + (at + 1) * bytes, data + at * bytes, tail * bytes);
    memmove(v->null + at + 1, v->null + at, tail);
    memmove(v->quality + at + 1, v->quality + at, tail * sizeof *v->quality);
    memset(data + at * bytes, 0, bytes);
    v->null[at] = 1;
    v->quality[at] = QUALITY_NO_DATA;
    v->count = count + 1;
}

enum err test_series_row(struct test_world *world, const struct test_table *table,
                         struct test_series *series, int64_t time_ns, uint32_t *row)
{
    uint32_t at = series->row_count;
    while (at > 0 && series->time[at - 1] >= time_ns) at--;
    *row = at;
    if (at < series->row_count && series->time[at] == time_ns) return ERR_OK;
    if (series->row_count == series->row_capacity) {
        enum err err = grow_series(world, table, series);
        if (err) return err;
    }
    memmove(series->time + at + 1, series->time + at,
            (series->row_count - at) * sizeof *series->time);
    series->time[at] = time_ns;
    for (uint32_t c = 0; c < TEST_COLUMNS_MAX; c++)
        if (series->columns[c].data) shift_column(&series->columns[c], at, series->row_count);
    series->row_count++;
    return ERR_OK;
}

static void add_label_name(struct test_world *world, struct test_table *table, struct str key)
{
    for (size_t i = 0; i < table->label_count; i++)
        if (str_is(key, table->labels[i])) return;
    char *name = arena_strdup(&world->arena, key.at, key.size);
    if (name && table->label_count < TEST_LABELS_MAX) table->labels[table->label_count++] = name;
}

static struct test_series *series_of_device(struct test_world *world, struct test_table *table,
                                            const struct batch_device *device)
{
    struct test_series *series = test_world_series(world, table, device->path);
    for (uint32_t i = 0; series && i < device->label_count && i < TEST_LABELS_MAX; i++) {
        const struct label *label = &device->labels[i];
        char *key = arena_strdup(&world->arena, label->key.at, label->key.size);
        char *value = arena_strdup(&world->arena, label->value.at, label->value.size);
        if (!key || !value) return NULL;
        series->labels[i] = (struct label){{key, label->key.size}, {value, label->value.size}};
        series->label_count = i + 1;
        add_label_name(world, table, label->key);
    }
    return series;
}

static enum err take_batch(struct test_world *world, struct test_table *table,
                           const struct batch *batch)
{
    for (uint32_t r = 0; r < batch->row_count; r++) {
        struct test_series *series =
            series_of_device(world, table, &batch->devices[batch->device[r]]);
        uint32_t row;
        if (!series || test_series_row(world, table, series, batch->time[r], &row))
            return ERR_NO_MEMORY;
        for (uint32_t c = 0; c < batch->column_count; c++) {
            struct vector *to = &series->columns[batch->columns[c].id];
            struct value v = vector_get(&batch->columns[c].data, r);
            if (v.is_null && v.quality == QUALITY_NO_DATA) continue;
            if (!to->data) {
                enum err err = make_column(world, series, batch->columns[c].data.type, to);
                if (err) return err;
            }
            bool is_slice = !v.is_null && type_bytes(v.type) == 0;
            if (is_slice && !(v.s.at = arena_dup(&world->arena, v.s.at, v.s.size)))
                return ERR_NO_MEMORY;
            vector_set(to, row, &v);
        }
    }
    return ERR_OK;
}

/* ---- the source's operations ---- */

static enum err find_table(void *context, struct str ns, struct str schema, struct str name,
                           struct arena *arena, struct sql_table *table, struct why *why)
{
    struct test_world *world = context;
    (void)ns, (void)arena, (void)why;
    if (schema.size > 0 && !str_is(schema, "public")) return ERR_OK;
    for (size_t i = 0; i < world->table_count; i++) {
        struct test_table *found = &world->tables[i];
        if (!found->schema || !str_is(name, found->schema->name)) continue;
        *table = (struct sql_table){.schema = schema_share(found->schema),
                                    .has_series = true,
                                    .quality_per_value = true,
                                    .label_count = found->label_count,
                                    .labels = found->labels,
                                    .handle = found};
        world->open_tables++;
    }
    return ERR_OK;
}

static enum err find_view(void *context, struct str ns, struct str schema, struct str name,
                          struct arena *arena, struct str *text)
{
    const struct test_world *world = context;
    (void)ns, (void)arena;
    for (size_t i = 0; schema.size == 0 && i < world->view_count; i++)
        if (world->views[i].name && str_is(name, world->views[i].name))
            *text = world->views[i].query;
    return ERR_OK;
}

static void close_table(void *context, struct sql_table *table)
{
    struct test_world *world = context;
    MUST(world->open_tables > 0);
    world->open_tables--;
    schema_release(table->schema);
}

static enum err list_tables(void *context, struct str ns, struct arena *arena,
                            struct sql_table_name **names, size_t *count)
{
    struct test_world *world = context;
    (void)ns;
    *count = 0;
    *names = arena_zero(arena, world->table_count + 1, sizeof **names);
    if (!*names) return ERR_NO_MEMORY;
    for (size_t i = 0; i < world->table_count; i++)
        if (world->tables[i].schema)
            (*names)[(*count)++] = (struct sql_table_name){"public", world->tables[i].schema->name,
                                                           world->tables[i].schema->description};
    return ERR_OK;
}

struct sql_scan {
    struct test_world *world;
    const struct test_table *table;
    const struct sql_scan_request *request;
    size_t series;
    uint32_t row; /* next, counted in the scan's direction */
    uint64_t rows_read;
    struct vector *columns, *labels;
    struct str *texts;             /* of constants: device, labels */
    int64_t times[SQL_CHUNK_ROWS]; /* newest first: turned around */
    void *turned;                  /* [column_count] arrays for values, NULLs, qualities */
};

enum { TURNED_BYTES = SQL_CHUNK_ROWS * (sizeof(struct str) + sizeof(uint32_t) + 1) };

static enum err scan_open(void *context, void *snapshot, struct sql_table *table,
                          const struct sql_scan_request *request, struct budget *budget,
                          struct sql_scan **scan, struct why *why)
{
    (void)snapshot, (void)budget, (void)why;
    struct sql_scan *made = mem_alloc_zero(1, sizeof *made);
    if (!made) return ERR_NO_MEMORY;
    made->world = context;
    made->table = table->handle;
    made->request = request;
    made->columns =
        mem_alloc_zero(request->column_count + request->label_count + 1, sizeof *made->columns);
    made->texts = mem_alloc_zero(request->label_count + 1, sizeof *made->texts);
    made->turned =
        request->newest_first ? mem_alloc_zero(request->column_count + 1, TURNED_BYTES) : NULL;
    if (!made->columns || !made->texts || (request->newest_first && !made->turned)) {
        mem_free(made->columns);
        mem_free(made->texts);
        mem_free(made->turned);
        mem_free(made);
        return ERR_NO_MEMORY;
    }
    made->labels = made->columns + request->column_count;
    made->world->open_scans++;
    *scan = made;
    return ERR_OK;
}

static void scan_close(struct sql_scan *scan, struct sql_scan_stats *stats)
{
    MUST(scan->world->open_scans > 0);
    scan->world->open_scans--;
    stats->rows += scan->rows_read;
    mem_free(scan->columns);
    mem_free(scan->texts);
    mem_free(scan->turned);
    mem_free(scan);
}

/* Always NULL and absent: a column that the series has never had. */
static const struct vector *absent(enum type type)
{
    static uint8_t null = 1;
    static uint32_t quality = QUALITY_NO_DATA;
    static struct str zero[1];
    static struct vector vectors[TYPE_COUNT];
    vectors[type] = (struct vector){
        .type = type, .is_constant = true, .null = &null, .quality = &quality, .data = zero};
    return &vectors[type];
}

static struct vector slice(const struct vector *v, uint32_t from, uint32_t count)
{
    size_t bytes = vector_element_bytes(v->type);
    return (struct vector){.type = v->type,
                           .count = count,
                           .null = v->null + from,
                           .quality = v->quality + from,
                           .data = (char *)v->data + from * bytes};
}

static void turn_around(struct vector *v, char *room)
{
    size_t bytes = vector_element_bytes(v->type);
    struct vector to = {.type = v->type, .count = v->count, .data = room};
    to.quality = (uint32_t *)(void *)(room + SQL_CHUNK_ROWS * sizeof(struct str));
    to.null = (uint8_t *)(to.quality + SQL_CHUNK_ROWS);
    for (uint32_t r = 0; r < v->count; r++) {
        uint32_t from = v->count - 1 - r;
        memcpy((char *)to.data + r * bytes, (const char *)v->data + from * bytes, bytes);
        to.null[r] = v->null[from];
        to.quality[r] = v->quality[from];
    }
    *v = to;
}

static struct vector constant_text(struct str *text, uint32_t count, bool is_null)
{
    static uint8_t null = 1;
    return (struct vector){.type = TYPE_TEXT,
                           .count = count,
                           .is_constant = true,
                           .s = text,
                           .null = is_null ? &null : NULL};
}

static void fill_chunk(struct sql_scan *scan, struct test_series *series, uint32_t from,
                       uint32_t count, struct sql_chunk *chunk)
{
    const struct sql_scan_request *request = scan->request;
    *chunk = (struct sql_chunk){.row_count = count,
                                .series = (uint32_t)scan->series,
                                .columns = scan->columns,
                                .labels = scan->labels};
    chunk->time = (struct vector){.type = TYPE_TIMESTAMP, .count = count, .i = series->time + from};
    if (request->newest_first) {
        for (uint32_t r = 0; r < count; r++) scan->times[r] = series->time[from + count - 1 - r];
        chunk->time.i = scan->times;
    }
    chunk->received = chunk->time;
    chunk->device = constant_text(&series->path, count, false);
    for (size_t c = 0; c < request->column_count; c++) {
        const struct vector *v = &series->columns[request->columns[c]];
        const struct column *column = schema_column(scan->table->schema, request->columns[c]);
        scan->columns[c] = v->data ? slice(v, from, count) : *absent(column->type);
        scan->columns[c].count = count;
        if (series->all_good) scan->columns[c].null = NULL, scan->columns[c].quality = NULL;
        if (v->data && !series->all_good && request->newest_first)
            turn_around(&scan->columns[c], (char *)scan->turned + c * TURNED_BYTES);
    }
    for (size_t l = 0; l < request->label_count; l++) {
        bool found = false;
        for (uint32_t i = 0; i < series->label_count && !found; i++) {
            found = str_is(series->labels[i].key, request->labels[l]);
            if (found) scan->texts[l] = series->labels[i].value;
        }
        scan->labels[l] = constant_text(&scan->texts[l], count, !found);
    }
    scan->rows_read += count;
}

static uint32_t first_at_or_after(const struct test_series *series, int64_t time_ns)
{
    uint32_t low = 0, high = series->row_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (series->time[middle] < time_ns)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static enum err scan_next(struct sql_scan *scan, struct sql_chunk *chunk, struct why *why)
{
    const struct sql_scan_request *request = scan->request;
    (void)why;
    for (; scan->series < scan->table->series_count; scan->series++, scan->row = 0) {
        struct test_series *series = &scan->table->series[scan->series];
        uint32_t low = 0, high = series->row_count;
        low = first_at_or_after(series, request->time_from_ns);
        if (request->time_to_ns != INT64_MAX) high = first_at_or_after(series, request->time_to_ns);
        if (high < low) high = low;
        uint32_t rows = high - low;
        if (request->row_limit && request->row_limit < rows) rows = (uint32_t)request->row_limit;
        if (scan->row >= rows) continue;
        uint32_t count = rows - scan->row < SQL_CHUNK_ROWS ? rows - scan->row : SQL_CHUNK_ROWS;
        uint32_t from = request->newest_first ? high - scan->row - count : low + scan->row;
        fill_chunk(scan, series, from, count, chunk);
        scan->row += count;
        return ERR_OK;
    }
    *chunk = (struct sql_chunk){0};
    return ERR_OK;
}

static enum err snapshot_open(void *context, void **snapshot)
{
    *snapshot = context;
    return ERR_OK;
}

static void snapshot_close(void *context, void *snapshot)
{
    MUST(context == snapshot);
}

static const struct sql_source source = {.name = "test",
                                         .find_table = find_table,
                                         .close_table = close_table,
                                         .find_view = find_view,
                                         .list_tables = list_tables,
                                         .scan_open = scan_open,
                                         .scan_next = scan_next,
                                         .scan_close = scan_close,
                                         .snapshot_open = snapshot_open,
                                         .snapshot_close = snapshot_close};

/* ---- the world ---- */

static int64_t tick(void *clock)
{
    struct test_world *world = clock;
    return world->mono_ns += world->mono_step_ns;
}

/* The zones of this machine, as the node reads them. */
static enum err load_zone(void *context, const char *name, struct buf *bytes)
{
    char path[128], block[4096];
    (void)context;
    (void)snprintf(path, sizeof path, "/usr/share/zoneinfo/%s", name);
    FILE *file = fopen(path, "rb");
    if (!file) return ERR_NOT_FOUND;
    for (size_t n; (n = fread(block, 1, sizeof block, file)) > 0;) buf_add(bytes, block, n);
    (void)fclose(file);
    return buf_failed(bytes) ? ERR_NO_MEMORY : ERR_OK;
}

void test_world_init(struct test_world *world)
{
    *world = (struct test_world){.budget_bytes = 64 << 20};
    arena_init(&world->arena, NULL);
    budget_init(&world->budget, "statement", NULL, world->budget_bytes);
    world->catalog.count = 1;
    world->catalog.source[0].ops = &source;
    world->catalog.source[0].context = world;
    world->context = (struct sql_context){.catalog = &world->catalog,
                                          .zone_load = load_zone,
                                          .ns = STR("default"),
                                          .budget = &world->budget,
                                          .now_ns = INT64_C(1700000000) * 1000000000,
                                          .mono_ns = tick,
                                          .clock = world,
                                          .deadline_mono_ns = INT64_MAX};
}

void test_world_free(struct test_world *world)
{
    for (size_t i = 0; i < world->table_count; i++) {
        schema_release(world->tables[i].schema);
        mem_free(world->tables[i].series);
    }
    arena_free(&world->arena);
}

/* Publishes a new snapshot of the table's schema, as the registry would. */
static enum err change_schema(struct test_table *table, const struct sql_ddl *ddl)
{
    struct schema *next = schema_copy(table->schema);
    enum err err = next ? ERR_OK : ERR_NO_MEMORY;
    for (size_t i = 0; i < ddl->column_count && !err; i++) {
        const struct sql_ddl_column *c = &ddl->columns[i];
        struct column *old =
            next ? (struct column *)(uintptr_t)schema_find(next, str_of(c->name)) : NULL;
        if (ddl->action == DDL_ADD_COLUMN)
            err = schema_add_column(next, 0, c->name, c->type, COLUMN_OWNER_DOCUMENT, c->unit,
                                    c->description, NULL);
        else if (ddl->action == DDL_RENAME_COLUMN)
            err = (old->name = arena_strdup(&next->arena, c->new_name, strlen(c->new_name)))
                      ? ERR_OK
                      : ERR_NO_MEMORY;
        else if (ddl->action == DDL_COMMENT)
            err = (old->description =
                       arena_strdup(&next->arena, c->description, strlen(c->description)))
                      ? ERR_OK
                      : ERR_NO_MEMORY;
    }
    if (!err && ddl->action == DDL_COMMENT && ddl->column_count == 0)
        err = (next->description =
                   arena_strdup(&next->arena, ddl->description, strlen(ddl->description)))
                  ? ERR_OK
                  : ERR_NO_MEMORY;
    if (err) {
        schema_release(next);
        return err;
    }
    schema_release(table->schema);
    table->schema = next;
    return ERR_OK;
}

static enum err carry_out(struct test_world *world, const struct sql_ddl *ddl, struct why *why)
{
    struct test_table *table = test_world_table(world, ddl->table);
    if (ddl->action == DDL_CREATE) {
        if (table)
            return ddl->if_not_exists
                       ? ERR_OK
                       : why_set(why, ERR_EXISTS, "table %s exists already", ddl->table);
        if (world->table_count == TEST_TABLES_MAX)
            return why_set(why, ERR_LIMIT, "too many tables");
        struct schema *schema = schema_new("default", ddl->table, (uint32_t)world->table_count + 1);
        enum err err = schema ? ERR_OK : ERR_NO_MEMORY;
        for (size_t i = 0; i < ddl->column_count && !err; i++) {
            const struct sql_ddl_column *c = &ddl->columns[i];
            err = schema_add_column(schema, 0, c->name, c->type, COLUMN_OWNER_DOCUMENT, c->unit,
                                    c->description, why);
        }
        if (err)
            schema_release(schema);
        else
            world->tables[world->table_count++].schema = schema;
        return err ? why_wrap(why, err, "table %s", ddl->table) : ERR_OK;
    }
    if (!table) return ERR_OK;
    if (ddl->action != DDL_DROP) return change_schema(table, ddl);
    schema_release(table->schema);
    mem_free(table->series);
    *table = (struct test_table){0};
    return ERR_OK;
}

static enum err print_rows(void *context, const struct vector *columns, size_t column_count,
                           const uint16_t *selection, uint32_t row_count, struct why *why)
{
    struct buf *out = context;
    for (uint32_t k = 0; k < row_count; k++) {
        uint32_t row = selection ? selection[k] : k;
        for (size_t c = 0; c < column_count; c++) {
            struct value v = vector_get(&columns[c], row);
            if (c) buf_add_char(out, '|');
            if (v.is_null)
                buf_add_text(out, "NULL");
            else
                value_add_text(out, &v);
        }
        buf_add_char(out, '\n');
    }
    return buf_failed(out) ? why_set(why, ERR_NO_MEMORY, "no memory for the result") : ERR_OK;
}

static enum err insert_rows(struct test_world *world, struct sql_statement *statement,
                            struct why *why)
{
    struct batch *batches[64];
    size_t count = 0;
    enum err err = ERR_OK;
    do { /* all are made before one is taken: the source has no snapshots */
        if (count == 64) err = why_set(why, ERR_LIMIT, "too many rows");
        if (!err) err = sql_insert_batch(statement, &batches[count], why);
        if (!err && batches[count]) count++;
    } while (!err && sql_insert_goes_on(statement));
    for (size_t i = 0; i < count; i++) {
        struct test_table *table = test_world_table(world, batches[i]->schema->name);
        if (!err && take_batch(world, table, batches[i]))
            err = why_set(why, ERR_NO_MEMORY, "no memory for the rows");
        batch_release(batches[i]);
    }
    return err;
}

static void delete_row(struct test_series *series, uint32_t row)
{
    uint32_t tail = series->row_count - row - 1;
    memmove(series->time + row, series->time + row + 1, tail * sizeof *series->time);
    for (uint32_t c = 0; c < TEST_COLUMNS_MAX; c++) {
        struct vector *v = &series->columns[c];
        if (!v->data) continue;
        size_t bytes = vector_element_bytes(v->type);
        memmove((char *)v->data + row * bytes, (char *)v->data + (row + 1) * bytes, tail * bytes);
        memmove(v->null + row, v->null + row + 1, tail);
        memmove(v->quality + row, v->quality + row + 1, tail * sizeof *v->quality);
        v->count--;
    }
    series->row_count--;
}

static enum err delete_rows(struct test_world *world, struct sql_statement *statement,
                            struct why *why)
{
    struct sql_delete what;
    uint64_t rows = 0;
    enum err err = sql_delete_of(statement, &what, why);
    if (err) return err;
    struct test_table *table = test_world_table(world, sql_target(statement)->name);
    for (size_t i = 0; i < what.count; i++) {
        const struct sql_delete_range *range = &what.ranges[i];
        struct test_series *series = test_world_series(world, table, range->device);
        for (uint32_t r = series ? series->row_count : 0; r-- > 0;) {
            if (series->time[r] < range->from_ns || series->time[r] > range->to_ns) continue;
            delete_row(series, r);
            rows++;
        }
    }
    MUST(rows == what.rows);
    return ERR_OK;
}

/* A sink that is always full: every statement of every test goes by the smallest steps. */
static bool is_full(void *context)
{
    (void)context;
    return true;
}

enum err test_world_run(struct sql_statement *statement,
                        enum err (*rows)(void *context, const struct vector *columns,
                                         size_t column_count, const uint16_t *selection,
                                         uint32_t row_count, struct why *why),
                        void *context, struct why *why)
{
    struct sql_sink sink = {rows, context, is_full};
    struct sql_stats stats = {0};
    enum err err = ERR_OK;
    for (enum sql_progress p = SQL_GOES_ON; p != SQL_DONE;)
        err = sql_step(statement, &sink, &stats, &p, why);
    return err;
}

static enum err change_view(struct test_world *world, const struct sql_view *view, struct why *why)
{
    size_t i = 0;
    while (i < world->view_count && strcmp(world->views[i].name, view->name) != 0) i++;
    if (view->query.size == 0) { /* DROP */
        if (i < world->view_count) world->views[i].name = "";
        return ERR_OK;
    }
    if (i == TEST_TABLES_MAX) return why_set(why, ERR_LIMIT, "too many views");
    char *name = arena_strdup(&world->arena, view->name, strlen(view->name));
    char *query = arena_strdup(&world->arena, view->query.at, view->query.size);
    if (!name || !query) return why_set(why, ERR_NO_MEMORY, "no memory for the view");
    world->views[i].name = name;
    world->views[i].query = (struct str){query, view->query.size};
    if (i == world->view_count) world->view_count++;
    return ERR_OK;
}

enum err test_world_sql(struct test_world *world, const char *text, size_t size, struct buf *out,
                        struct why *why)
{
    struct sql_statement *statement;
    const struct sql_ddl *ddl;
    budget_init(&world->budget, "statement", NULL, world->budget_bytes);
    enum err err = sql_prepare(&world->context, (struct str){text, size}, &statement, why);
    if (err) return err;
    switch (sql_verb_of(statement)) {
    case SQL_SELECT: err = test_world_run(statement, print_rows, out, why); break;
    case SQL_CREATE_VIEW:
    case SQL_DROP_VIEW: err = change_view(world, sql_view_of(statement), why); break;
    case SQL_INSERT: err = insert_rows(world, statement, why); break;
    case SQL_CHECKPOINT: break; /* there are no parts */
    case SQL_DELETE: err = delete_rows(world, statement, why); break;
    default: MUST(sql_ddl_of(statement, &ddl) == ERR_OK); err = carry_out(world, ddl, why);
    }
    sql_close(statement);
    MUST(world->open_tables == 0 && world->open_scans == 0 && world->budget.used_bytes == 0);
    return err;
}

void test_world_must(struct test_world *world, const char *text)
{
    struct buf out = BUF_EMPTY;
    struct why why = WHY_NONE;
    enum err err = test_world_sql(world, text, strlen(text), &out, &why);
    buf_free(&out);
    if (!err) return;
    fprintf(stderr, "%s\n  at %d: %s\n", text, why.position, why_text(&why, err));
    abort();
}
