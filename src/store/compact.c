/* compact.c - see compact.h. Reading is a scan over the inputs alone; so versions, damage and types
 * are treated as they are for a statement. */
#include "store/compact.h"
#include "store/scan.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char component[] = "compact";

enum {
    PARTS_MIN = 4,
    PARTS_CROWD = 24, /* of one partition: from here on without rests */
    SIZE_RATIO = 8,   /* the largest of a group may be so many times the smallest */
    STEP_ROWS = 32768,
    REST_FACTOR = 3,
    REST_MS_MAX = 200,
    RETRY_MS = 60000,
    SHARE_PERCENT = 10, /* of the node's memory */
    INPUTS_MAX = 64,
    MERGES_FAILED_MAX = 3, /* of one part because its disk fails */
    BLOCK_ROWS_MIN = 512,
    CELL_BYTES = sizeof(struct str) + 5,
    BLOCK_SHARE = 4, /* of the budget is for the block being filled: wide tables get shorter ones */
    SYNC_BYTES = 8 * 1024 * 1024,
};
#define BUDGET_BYTES_MIN ((size_t)4 * 1024 * 1024)
#define GROUP_BYTES_MAX  ((uint64_t)512 * 1024 * 1024)
#define MS_NS            ((int64_t)1000000)

struct compact_rows {
    struct arena arrays, slices;
    uint32_t capacity, count;
    size_t slice_bytes, column_count;
    bool has_slices; /* a column of the table is of texts, bytes or doubles */
    struct vector time, *columns;
    uint64_t synced; /* offset in the output up to which it was synced on the way */
};

/* ---- choosing ---- */

static int compare_parts(const void *a, const void *b)
{
    const struct part *const *x = a, *const *y = b;
    const struct part_info *p = &(*x)->info, *q = &(*y)->info;
    if (p->class_ns != q->class_ns) return p->class_ns < q->class_ns ? -1 : 1;
    if (p->origin != q->origin) return p->origin < q->origin ? -1 : 1;
    if (p->version != q->version) return p->version < q->version ? -1 : 1;
    return (p->id > q->id) - (p->id < q->id);
}

/* Whether rows of one may stand beside, or over, rows of the other's partition. */
static bool overlaps(const struct part_info *a, const struct part_info *b)
{
    return a->partition_from_ns < b->partition_to_ns && b->partition_from_ns < a->partition_to_ns;
}

static bool same_place(const struct part_info *a, const struct part_info *b)
{
    return a->class_ns == b->class_ns && a->origin == b->origin &&
           a->partition_from_ns == b->partition_from_ns && a->partition_to_ns == b->partition_to_ns;
}

/* The group that begins with parts[first]: later ones of its place as long as their sizes are
 * similar and nothing that overlaps stands between. Returns its size. */
static size_t group_from(struct part *const *parts, size_t count, size_t first, bool all,
                         struct part **group)
{
    const struct part_info *begin = &parts[first]->info;
    uint64_t least = begin->size_bytes, most = least, sum = least;
    size_t n = 0;
    group[n++] = parts[first];
    for (size_t i = first + 1; i < count; i++) {
        const struct part_info *info = &parts[i]->info;
        if (info->class_ns != begin->class_ns || info->origin != begin->origin) break;
        if (!same_place(info, begin)) {
            if (overlaps(info, begin)) break;
            continue;
        }
        least = info->size_bytes < least ? info->size_bytes : least;
        most = info->size_bytes > most ? info->size_bytes : most;
        sum += info->size_bytes;
        bool similar = all || most / SIZE_RATIO <= least;
        if (!similar || sum > GROUP_BYTES_MAX || atomic_load(&parts[i]->kept)) break;
        group[n++] = parts[i];
    }
    return n;
}

/* The longest group there is, into `inputs`; NULL: none is worth it, or no memory. */
static struct part_list *choose(const struct part_list *list, bool all, size_t most, bool *hurry)
{
    size_t least = all ? 2 : PARTS_MIN;
    struct part_list *sorted = part_list_new(list->count), *best = part_list_new(list->count);
    struct part **group = mem_alloc((list->count + 1) * sizeof(struct part *));
    if (!sorted || !best || !group) goto out;
    for (size_t i = 0; i < list->count; i++)
        if (!atomic_load(&list->parts[i]->dropped))
            sorted->parts[sorted->count++] = part_share(list->parts[i]);
    qsort(sorted->parts, sorted->count, sizeof(struct part *), compare_parts);
    for (size_t i = 0; i < sorted->count; i++) {
        if (atomic_load(&sorted->parts[i]->kept)) continue;
        size_t n = group_from(sorted->parts, sorted->count, i, all, group);
        if (n < least) continue;
        if (n > most) n = most; /* a piece of what is worth it, after memory was short */
        if (n <= best->count) continue;
        memcpy(best->parts, group, n * sizeof(struct part *)); /* shared below */
        best->count = n;
    }
    for (size_t i = 0; i < best->count; i++) part_share(best->parts[i]);
    *hurry = all || best->count >= PARTS_CROWD;
out:
    part_list_release(sorted);
    mem_free(group);
    if (best && best->count) return best;
    part_list_release(best);
    return NULL;
}

/* ---- beginning and ending ---- */

static int compare_ids(const void *a, const void *b)
{
    uint32_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

static enum err gather_tables(struct compaction *c)
{
    size_t count = 0;
    for (size_t i = 0; i < c->inputs->count; i++) count += c->inputs->parts[i]->info.table_count;
    c->tables = mem_alloc((count + 1) * sizeof *c->tables);
    if (!c->tables) return ERR_NO_MEMORY;
    count = 0;
    for (size_t i = 0; i < c->inputs->count; i++) {
        const struct part_info *info = &c->inputs->parts[i]->info;
        for (uint32_t t = 0; t < info->table_count; t++) c->tables[count++] = info->tables[t];
    }
    qsort(c->tables, count, sizeof *c->tables, compare_ids);
    for (size_t i = 0; i < count; i++)
        if (!c->table_count || c->tables[c->table_count - 1] != c->tables[i])
            c->tables[c->table_count++] = c->tables[i];
    return ERR_OK;
}

static enum err make_snapshot(struct store *store, struct compaction *c)
{
    c->snapshot = mem_alloc_zero(1, sizeof *c->snapshot);
    if (!c->snapshot) return ERR_NO_MEMORY;
    c->snapshot->applied = store_positions(store).applied;
    c->snapshot->view = store_view_new(store, NULL, 0, c->inputs);
    return c->snapshot->view ? ERR_OK : ERR_NO_MEMORY;
}

static void close_scan(struct compaction *c)
{
    if (c->scan) store_sql_source.scan_close(c->scan, &c->stats);
    c->scan = NULL;
    mem_free((void *)(uintptr_t)c->request.columns);
    c->request = (struct sql_scan_request){0};
}

static void free_rows(struct compaction *c)
{
    if (!c->rows) return;
    arena_free(&c->rows->arrays);
    arena_free(&c->rows->slices);
    mem_free(c->rows);
    c->rows = NULL;
}

/* What working needs; inputs and output stay. */
static void end_work(struct compaction *c)
{
    close_scan(c);
    free_rows(c);
    if (c->writer) part_writer_abort(c->writer);
    mem_free(c->writer);
    c->writer = NULL;
    codec_close(&c->codec);
    if (c->snapshot) store_view_release(c->snapshot->view);
    mem_free(c->snapshot);
    c->snapshot = NULL;
    table_list_release(c->list);
    c->list = NULL;
    mem_free(c->tables);
    c->tables = NULL;
    c->table_count = c->table_at = c->series = 0;
}

static void forget(struct compaction *c)
{
    end_work(c);
    part_list_release(c->inputs);
    c->inputs = NULL;
    c->running = c->ready = false;
}

/* Nothing was lost: the inputs are as they were. */
static void give_up(struct store *store, enum err err, const struct why *why)
{
    struct compaction *c = &store->compaction;
    diag(store->context, DIAG_WARNING, component, "merging %zu parts stopped: %s", c->inputs->count,
         why_text(why, err));
    metric_add(store->context, METRIC_COMPACTION_ERRORS, 1);
    bool smaller = (err == ERR_BUDGET || err == ERR_NO_MEMORY) && c->inputs->count > 2;
    c->inputs_max = smaller ? c->inputs->count / 2 < 2 ? 2 : c->inputs->count / 2 : INPUTS_MAX;
    c->not_before_ns = context_mono_ns(store->context) + (smaller ? 1000 : RETRY_MS) * MS_NS;
    forget(c);
}

void compact_look(struct store *store, const struct part_list *list, bool all)
{
    struct compaction *c = &store->compaction;
    struct why why = WHY_NONE;
    if (c->running || context_mono_ns(store->context) < c->not_before_ns) return;
    MUST(!c->inputs && !c->output && !c->ready && !c->writer);
    if (!(c->inputs = choose(list, all, c->inputs_max, &c->hurry))) return;
    const struct part_info *last = &c->inputs->parts[c->inputs->count - 1]->info;
    c->info = (struct part_info){.id = store->next_part_id++,
                                 .origin = last->origin,
                                 .version = last->version,
                                 .class_ns = last->class_ns,
                                 .partition_from_ns = last->partition_from_ns,
                                 .partition_to_ns = last->partition_to_ns};
    c->running = true;
    c->stats = (struct sql_scan_stats){0};
    c->list = catalog_tables(&store->catalog);
    c->writer = mem_alloc_zero(1, sizeof *c->writer);
    c->rows = mem_alloc_zero(1, sizeof *c->rows);
    enum err err = c->writer && c->rows ? codec_open(&c->codec, true) : ERR_NO_MEMORY;
    if (c->rows) arena_init(&c->rows->arrays, &c->budget);
    if (c->rows) arena_init(&c->rows->slices, &c->budget);
    if (!err) err = gather_tables(c);
    if (!err) err = make_snapshot(store, c);
    if (!err)
        err = part_writer_open(c->writer, store->context->os, store->parts_folder, &c->info,
                               &c->codec, &why);
    if (err) {
        give_up(store, err, &why);
        return;
    }
    /* By way of the log task, which knows whether the store closes: then no step may follow. */
    c->rest_ns = 0;
    loop_post(&store->log_loop, &c->stepped);
}

/* ---- tables ---- */

static const struct schema *find_schema(const struct table_list *list, uint32_t id, int *at)
{
    for (uint32_t i = 0; i < list->count; i++) {
        *at = (int)i;
        if (list->items[i].schema->table_id == id) return list->items[i].schema;
    }
    return NULL;
}

static enum err make_rows(struct compact_rows *rows, const struct schema *schema)
{
    arena_reset(&rows->arrays);
    size_t per_row = (schema->column_count + 1u) * CELL_BYTES;
    size_t room = rows->arrays.budget->limit_bytes / BLOCK_SHARE / per_row;
    uint32_t capacity = room > PART_BLOCK_ROWS ? PART_BLOCK_ROWS : (uint32_t)room;
    rows->capacity = capacity < BLOCK_ROWS_MIN ? BLOCK_ROWS_MIN : capacity;
    rows->count = 0;
    rows->column_count = schema->column_count;
    rows->columns = arena_zero(&rows->arrays, schema->column_count, sizeof *rows->columns);
    if (!rows->columns) return ERR_BUDGET;
    enum err err =
        vector_make(&rows->time, &rows->arrays, TYPE_TIMESTAMP, rows->capacity, false, false);
    rows->has_slices = false;
    for (uint32_t i = 0; i < schema->column_count && !err; i++) {
        err = vector_make(&rows->columns[i], &rows->arrays, schema->columns[i].type, rows->capacity,
                          true, true);
        rows->has_slices |= type_bytes(schema->columns[i].type) == 0;
    }
    return err ? ERR_BUDGET : ERR_OK;
}

/* Opens the next table's scan; table_at == table_count at the end. Dropped tables are left out. */
static enum err open_table(struct store *store, struct compaction *c, struct why *why)
{
    const struct schema *schema = NULL;
    int at = 0;
    while (c->table_at < c->table_count && !schema)
        schema = find_schema(c->list, c->tables[c->table_at++], &at);
    if (!schema) return ERR_OK;
    enum err err = make_rows(c->rows, schema);
    uint16_t *ids = mem_alloc((schema->column_count + 1u) * sizeof *ids);
    if (!ids) return ERR_NO_MEMORY;
    for (uint32_t i = 0; i < schema->column_count; i++) ids[i] = schema->columns[i].id;
    c->request = (struct sql_scan_request){.time_from_ns = INT64_MIN,
                                           .time_to_ns = INT64_MAX,
                                           .column_count = schema->column_count,
                                           .columns = ids,
                                           .want_time = true,
                                           .reads_once = true};
    struct table_handle *handle = arena_alloc(&c->rows->arrays, sizeof *handle);
    if (!handle) return ERR_BUDGET;
    *handle = (struct table_handle){c->list, c->list->items[at].schema, c->list->items[at].state};
    c->table = (struct sql_table){.schema = handle->schema, .handle = handle};
    if (!err)
        err = store_sql_source.scan_open(store, c->snapshot, &c->table, &c->request, &c->budget,
                                         &c->scan, why);
    return err;
}

/* ---- rows ---- */

static bool is_absent(const struct vector *v)
{
    for (uint32_t row = 0; row < v->count; row++)
        if (!v->null[row] || v->quality[row] != QUALITY_NO_DATA) return false;
    return true;
}

static void write_block(struct compaction *c)
{
    struct compact_rows *rows = c->rows;
    if (rows->count == 0) return;
    rows->time.count = rows->count;
    part_writer_block(c->writer, &rows->time);
    for (size_t i = 0; i < rows->column_count; i++) {
        struct vector *v = &rows->columns[i];
        v->count = rows->count;
        if (!is_absent(v)) part_writer_column(c->writer, c->request.columns[i], v);
    }
    part_writer_block_end(c->writer);
    rows->count = 0;
    rows->slice_bytes = 0;
    arena_reset(&rows->slices);
}

static void end_series(struct compaction *c)
{
    if (!c->series) return;
    write_block(c);
    part_writer_series_end(c->writer);
    c->series = 0;
}

static enum err copy_cells(struct compact_rows *rows, struct vector *to, const struct vector *from,
                           uint32_t at, uint32_t count)
{
    size_t element = vector_element_bytes(to->type);
    if (!from->is_constant && type_bytes(to->type)) {
        memcpy((char *)to->data + rows->count * element, (const char *)from->data + at * element,
               count * element);
        if (from->null)
            memcpy(to->null + rows->count, from->null + at, count);
        else
            memset(to->null + rows->count, 0, count);
        if (from->quality)
            memcpy(to->quality + rows->count, from->quality + at, count * sizeof *to->quality);
        else
            memset(to->quality + rows->count, 0, count * sizeof *to->quality);
        return ERR_OK;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct value value = vector_get(from, at + i);
        if (!value.is_null && !type_bytes(value.type)) {
            value.s.at = arena_dup(&rows->slices, value.s.at, value.s.size);
            if (!value.s.at) return ERR_BUDGET;
            rows->slice_bytes += value.s.size;
        }
        vector_set(to, rows->count + i, &value);
    }
    return ERR_OK;
}

static size_t slices_of(const struct compact_rows *rows, const struct sql_chunk *chunk, uint32_t at)
{
    size_t bytes = 0;
    for (size_t i = 0; i < rows->column_count; i++) {
        struct value value = vector_get(&chunk->columns[i], at);
        if (!value.is_null && !type_bytes(value.type)) bytes += value.s.size;
    }
    return bytes;
}

/* How many rows of the chunk, at least one, go into the block: it ends behind the one that brings
 * its texts to PART_SLICES_BYTES. */
static uint32_t rows_that_fit(const struct compact_rows *rows, const struct sql_chunk *chunk,
                              uint32_t at)
{
    uint32_t most = chunk->row_count - at, count = 1;
    if (most > rows->capacity - rows->count) most = rows->capacity - rows->count;
    if (!rows->has_slices) return most;
    size_t bytes = rows->slice_bytes + slices_of(rows, chunk, at);
    for (; count < most && bytes <= PART_SLICES_BYTES; count++)
        bytes += slices_of(rows, chunk, at + count);
    return count;
}

static enum err add_rows(struct compaction *c, const struct sql_chunk *chunk)
{
    struct compact_rows *rows = c->rows;
    for (uint32_t at = 0, count; at < chunk->row_count; at += count) {
        if (rows->count == rows->capacity || rows->slice_bytes > PART_SLICES_BYTES) write_block(c);
        count = rows_that_fit(rows, chunk, at);
        memcpy(rows->time.i + rows->count, chunk->time.i + at, count * sizeof(int64_t));
        for (size_t i = 0; i < rows->column_count; i++) {
            enum err err = copy_cells(rows, &rows->columns[i], &chunk->columns[i], at, count);
            if (err) return err;
        }
        rows->count += count;
    }
    return ERR_OK;
}

static enum err take_chunk(struct store *store, struct compaction *c, const struct sql_chunk *chunk)
{
    if (chunk->series != c->series) {
        end_series(c);
        const struct series *series = catalog_series(&store->catalog, chunk->series);
        MUST(series && series->table_id == c->table.schema->table_id);
        part_writer_series(c->writer, c->table.schema, series->id, series->path);
        c->series = chunk->series;
    }
    return add_rows(c, chunk);
}

/* ---- steps ---- */

/* A part that cannot be read whole stays as it is, and no later merge has to stop at it. A disk
 * that failed once may not fail again: such a part is given up only after some tries. */
static enum err check_damage(struct compaction *c, struct why *why)
{
    if (!c->stats.damaged) return ERR_OK;
    for (size_t i = 0; i < c->inputs->count; i++) {
        struct part *part = c->inputs->parts[i];
        uint8_t hurt = atomic_load(&part->hurt);
        if (hurt == PART_UNREAD && ++part->failed_merges < MERGES_FAILED_MAX)
            atomic_store(&part->hurt, PART_UNHURT);
        else if (hurt != PART_UNHURT)
            atomic_store(&part->kept, true);
    }
    return why_set(why, ERR_CORRUPT,
                   "some of them cannot be read whole; they are left as they are");
}

static enum err finish(struct store *store, struct compaction *c, struct why *why)
{
    enum err err = ERR_OK;
    struct part_info info;
    MUST(c->running && !c->ready && !c->output && !c->series);
    if (!part_writer_is_empty(c->writer)) {
        err = part_writer_finish(c->writer, &info, why);
        mem_free(c->writer);
        c->writer = NULL;
        if (!err && !(c->output = part_new(store->context->os, store->parts_folder, &info)))
            err = ERR_NO_MEMORY; /* a start removes the file: no manifest speaks of it */
    }
    if (err) return err;
    c->inputs_max = c->inputs_max < INPUTS_MAX / 2 ? c->inputs_max * 2 : INPUTS_MAX;
    metric_add(store->context, METRIC_COMPACTIONS, 1);
    metric_add(store->context, METRIC_COMPACTION_ROWS, c->output ? c->output->info.rows : 0);
    end_work(c);
    c->ready = true;
    return ERR_OK;
}

/* Dirty pages are written as they come, so that the last sync is short. */
static enum err sync_sometimes(struct compaction *c, struct why *why)
{
    if (c->writer->offset - c->rows->synced < SYNC_BYTES) return ERR_OK;
    c->rows->synced = c->writer->offset;
    return c->writer->os->ops->file_sync(c->writer->file, why);
}

static enum err work(struct store *store, struct compaction *c, struct why *why)
{
    for (uint32_t rows = 0; rows < STEP_ROWS;) {
        enum err err = c->scan ? ERR_OK : open_table(store, c, why);
        if (err) return err;
        if (!c->scan) return finish(store, c, why);
        struct sql_chunk chunk;
        err = store_sql_source.scan_next(c->scan, &chunk, why);
        if (err) return err;
        if (chunk.row_count) {
            rows += chunk.row_count;
            err = take_chunk(store, c, &chunk);
        } else {
            end_series(c);
            close_scan(c);
            err = check_damage(c, why);
        }
        if (!err) err = c->writer->err;
        if (err) return err;
    }
    return sync_sometimes(c, why);
}

static void run_step(struct job *job) /* flush task */
{
    struct store *store = (struct store *)((char *)job - offsetof(struct store, compaction.step));
    struct compaction *c = &store->compaction;
    struct why why = WHY_NONE;
    MUST(c->running && !c->ready);
    int64_t begun = context_mono_ns(store->context);
    enum err err = work(store, c, &why);
    if (err) {
        give_up(store, err, &why);
        return;
    }
    c->rest_ns = c->hurry ? 0 : (context_mono_ns(store->context) - begun) * REST_FACTOR;
    if (c->rest_ns > REST_MS_MAX * MS_NS) c->rest_ns = REST_MS_MAX * MS_NS;
    loop_post(&store->log_loop, &c->stepped);
}

static void go_on(void *arg)
{
    struct store *store = arg;
    if (!store->closing) loop_post(&store->flush_loop, &store->compaction.step);
}

static void run_stepped(struct job *job) /* log task */
{
    struct store *store =
        (struct store *)((char *)job - offsetof(struct store, compaction.stepped));
    struct compaction *c = &store->compaction;
    const struct os_ops *ops = store->context->os->ops;
    if (store->closing) return;
    if (c->ready) {
        store->compacted = true;
        flush_look(store);
        return;
    }
    bool timed = c->rest_ns > MS_NS &&
                 (c->timer || !ops->timer_make(store->log_loop.task, go_on, store, &c->timer));
    if (timed)
        ops->timer_set(c->timer, c->rest_ns / MS_NS * MS_NS);
    else
        go_on(store);
}

/* ---- taking in ---- */

static bool has_part(const struct part_list *list, const struct part *part)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->parts[i] == part) return !atomic_load(&part->dropped);
    return false;
}

bool compact_take(struct store *store, const struct part_list *list, struct part **output)
{
    struct compaction *c = &store->compaction;
    *output = NULL;
    if (!c->ready) return false;
    MUST(c->running && c->inputs && !c->writer && !c->scan);
    for (size_t i = 0; i < c->inputs->count; i++) {
        if (has_part(list, c->inputs->parts[i])) continue;
        /* Its partition's time was over meanwhile. */
        if (c->output) atomic_store(&c->output->dropped, true);
        part_release(c->output);
        c->output = NULL;
        forget(c);
        return false;
    }
    bool is_untrusted = false; /* as things are now: the clock may have been confirmed meanwhile */
    for (size_t i = 0; i < c->inputs->count; i++) {
        atomic_store(&c->inputs->parts[i]->dropped, true);
        is_untrusted |= c->inputs->parts[i]->info.untrusted;
    }
    if (c->output) c->output->info.untrusted = is_untrusted;
    *output = c->output ? part_share(c->output) : NULL;
    return true;
}

void compact_taken(struct store *store)
{
    struct compaction *c = &store->compaction;
    MUST(c->ready);
    part_release(c->output);
    c->output = NULL;
    forget(c);
}

void compact_init(struct store *store)
{
    struct compaction *c = &store->compaction;
    c->step.run = run_step;
    c->stepped.run = run_stepped;
    size_t share = store->context->memory.limit_bytes / 100 * SHARE_PERCENT;
    budget_init(&c->budget, "compaction", &store->context->memory,
                share < BUDGET_BYTES_MIN ? BUDGET_BYTES_MIN : share);
    c->inputs_max = INPUTS_MAX;
}

void compact_close(struct store *store)
{
    struct compaction *c = &store->compaction;
    part_release(c->output); /* no manifest speaks of it: the next start removes it */
    c->output = NULL;
    forget(c);
}
