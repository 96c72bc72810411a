/* table_size.c - what each table takes, for sys.tables (store_table_sizes).
 *
 * Nothing is kept for it while rows come: a part's directory says for each series how many rows
 * and bytes it has and when, and the head's chunks count themselves. So the answer costs the
 * directories of the parts that more than one table shares, and one step a chunk of the head. */
#include "store/store_priv.h"

struct summing {
    struct store *store;
    struct store_table_size *sizes; /* by table id - 1 */
    size_t count, capacity;
};

static struct store_table_size *size_of(struct summing *s, uint32_t table_id)
{
    if (!table_id || mem_grow(&s->sizes, &s->capacity, table_id, sizeof *s->sizes)) return NULL;
    for (; s->count < table_id; s->count++)
        s->sizes[s->count] = (struct store_table_size){
            .table_id = (uint32_t)s->count + 1, .first_ns = INT64_MAX, .last_ns = INT64_MIN};
    return &s->sizes[table_id - 1];
}

static void add(struct store_table_size *size, uint64_t rows, uint64_t bytes, int64_t first_ns,
                int64_t last_ns)
{
    MUST(rows == 0 || first_ns <= last_ns);
    size->rows += rows;
    size->bytes += bytes;
    if (rows && first_ns < size->first_ns) size->first_ns = first_ns;
    if (rows && last_ns > size->last_ns) size->last_ns = last_ns;
}

/* ---- parts ---- */

/* Reads the directory of a part that several tables share. */
static enum err add_directory(struct summing *s, const struct part *part,
                              struct part_cursor *cursor)
{
    struct part_file file;
    enum err err = part_file_open(part->os, part->path, NULL, &file, NULL);
    if (err) return err;
    cursor->page_count = 0;
    for (uint32_t i = 0; i < file.entry_count && !err; i++) {
        const struct part_entry *e;
        err = part_file_entry(&file, cursor, i, &e, NULL);
        struct store_table_size *size = err ? NULL : size_of(s, e->table);
        if (!err && !size) err = ERR_NO_MEMORY;
        if (!err) add(size, e->rows, e->run_size, e->min_time_ns, e->max_time_ns);
    }
    part_file_close(&file);
    return err;
}

static enum err add_part(struct summing *s, const struct part *part, struct part_cursor *cursor)
{
    const struct part_info *info = &part->info;
    enum err err = ERR_OK;
    for (uint32_t t = 0; t < info->table_count && !err; t++) {
        struct store_table_size *size = size_of(s, info->tables[t]);
        if (!size) return ERR_NO_MEMORY;
        size->parts++;
        if (info->table_count == 1)
            add(size, info->rows, info->size_bytes, info->min_time_ns, info->max_time_ns);
    }
    if (info->table_count > 1) err = add_directory(s, part, cursor);
    if (err == ERR_NO_MEMORY || !err) return err;
    /* A damaged directory: what is known of the part is told by SHOW HEALTH. */
    for (uint32_t t = 0; t < info->table_count; t++) size_of(s, info->tables[t])->is_partial = true;
    return ERR_OK;
}

/* ---- the head ---- */

static void add_chain(struct store_table_size *size, const struct head_chain *chain)
{
    struct head_chunk *chunk = atomic_load_explicit(&chain->first, memory_order_acquire);
    for (; chunk; chunk = atomic_load_explicit(&chunk->next, memory_order_acquire)) {
        uint32_t count = atomic_load_explicit(&chunk->count, memory_order_acquire);
        for (uint32_t i = 0; i < count; i++) add(size, 1, 0, chunk->time[i], chunk->time[i]);
    }
}

static enum err add_series(struct summing *s, const struct store_view *view, uint32_t id)
{
    struct store_series_info info;
    if (!store_series(s->store, id, &info)) return ERR_OK;
    struct store_table_size *size = size_of(s, info.table_id);
    if (!size) return ERR_NO_MEMORY;
    size->devices++;
    for (size_t h = 0; h < view->head_count; h++) {
        const struct head_series *series = head_find(view->heads[h], id);
        if (!series) continue;
        add_chain(size, &series->main);
        add_chain(size, &series->late);
    }
    return ERR_OK;
}

enum err store_table_sizes(struct store *store, struct store_table_size **sizes, size_t *count)
{
    struct summing s = {.store = store};
    struct part_cursor *cursor = mem_alloc(sizeof *cursor);
    struct store_view *view = store_view_get(store);
    enum err err = cursor ? ERR_OK : ERR_NO_MEMORY;
    for (size_t i = 0; i < view->parts->count && !err; i++)
        err = add_part(&s, view->parts->parts[i], cursor);
    for (uint32_t id = 1; id <= store_series_count(store) && !err; id++)
        err = add_series(&s, view, id);
    store_view_release(view);
    mem_free(cursor);
    if (err) mem_free(s.sizes);
    *sizes = err ? NULL : s.sizes;
    *count = err ? 0 : s.count;
    return err;
}
