/* batch.c - see batch.h.
 *
 * While a batch grows, each column keeps its three arrays (data, quality, null) in one block that
 * doubles with the rows; a column filled only up to row k is completed with absent cells when it is
 * next touched or sealed, so a row costs only the cells that it has. */
#include "data/batch.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct batch *batch_new(struct schema *schema, struct budget *budget)
{
    struct batch *batch = mem_alloc_zero(1, sizeof *batch);
    if (!batch) return NULL;
    atomic_init(&batch->refs, 1);
    batch->schema = schema_share(schema);
    batch->budget = budget;
    arena_init(&batch->arena, budget);
    map_init(&batch->device_at);
    return batch;
}

struct batch *batch_share(struct batch *batch)
{
    MUST(batch->sealed);
    atomic_fetch_add_explicit(&batch->refs, 1, memory_order_relaxed);
    return batch;
}

void batch_release(struct batch *batch)
{
    if (!batch || atomic_fetch_sub_explicit(&batch->refs, 1, memory_order_acq_rel) != 1) return;
    for (uint32_t i = 0; i < batch->column_count && !batch->arena_columns; i++)
        mem_free(batch->columns[i].data.data);
    mem_free(batch->columns);
    mem_free(batch->column_at);
    mem_free(batch->time);
    mem_free(batch->device);
    mem_free(batch->devices);
    map_free(&batch->device_at);
    arena_free(&batch->arena);
    budget_give(batch->budget, batch->size_bytes);
    schema_release(batch->schema);
    mem_free(batch);
}

/* ---- devices ---- */

static enum err copy_labels(struct batch *batch, struct batch_device *device,
                            const struct label *labels, uint32_t count)
{
    device->labels = arena_alloc(&batch->arena, count * sizeof *labels);
    if (!device->labels) return ERR_NO_MEMORY;
    for (uint32_t i = 0; i < count; i++) {
        struct label *to = &device->labels[i];
        to->key.size = labels[i].key.size;
        to->value.size = labels[i].value.size;
        to->key.at = arena_strdup(&batch->arena, labels[i].key.at, labels[i].key.size);
        to->value.at = arena_strdup(&batch->arena, labels[i].value.at, labels[i].value.size);
        if (!to->key.at || !to->value.at) return ERR_NO_MEMORY;
    }
    device->label_count = count;
    return ERR_OK;
}

/* Few devices are found by looking at each, the last first, since rows of one device tend to come
 * together; many by their hash. */
enum { DEVICES_LISTED_MAX = 16 };

static bool find_device(const struct batch *batch, struct str path, uint32_t *index)
{
    if (batch->device_count > DEVICES_LISTED_MAX) {
        uintptr_t found = (uintptr_t)map_get(&batch->device_at, path);
        *index = (uint32_t)found - 1;
        return found != 0;
    }
    for (uint32_t i = batch->device_count; i-- > 0;) {
        if (!str_equal(batch->devices[i].path, path)) continue;
        *index = i;
        return true;
    }
    return false;
}

static enum err index_device(struct batch *batch, uint32_t index)
{
    void *old;
    return map_put(&batch->device_at, batch->devices[index].path, (void *)((uintptr_t)index + 1),
                   &old);
}

/* Called before a device is added: at the limit of the list all are entered into the map. */
static enum err index_devices(struct batch *batch)
{
    enum err err = ERR_OK;
    if (batch->device_count != DEVICES_LISTED_MAX) return ERR_OK;
    for (uint32_t i = 0; i < batch->device_count && !err; i++) err = index_device(batch, i);
    return err;
}

enum err batch_add_device(struct batch *batch, struct str path, const struct label *labels,
                          uint32_t label_count, uint32_t *index)
{
    MUST(!batch->sealed);
    if (find_device(batch, path, index)) return ERR_OK;
    enum err err = index_devices(batch);
    if (err) return err;
    err = mem_grow(&batch->devices, &batch->device_capacity, (size_t)batch->device_count + 1,
                   sizeof *batch->devices);
    if (err) return err;
    struct batch_device *device = &batch->devices[batch->device_count];
    *device = (struct batch_device){.path.size = path.size};
    device->path.at = arena_strdup(&batch->arena, path.at, path.size);
    if (!device->path.at) return ERR_NO_MEMORY;
    if (label_count && (err = copy_labels(batch, device, labels, label_count))) return err;
    if (batch->device_count >= DEVICES_LISTED_MAX &&
        (err = index_device(batch, batch->device_count)))
        return err;
    *index = batch->device_count++;
    return ERR_OK;
}

/* ---- growing ---- */

/* One block: data, then quality, then null. Moves what is there. */
static enum err column_resize(struct vector *v, uint32_t capacity)
{
    size_t element = vector_element_bytes(v->type);
    if (element == 1) element = 4; /* keeps quality aligned */
    char *block = mem_alloc_zero(capacity, element + sizeof(uint32_t) + 1);
    if (!block) return ERR_NO_MEMORY;
    uint32_t *quality = (uint32_t *)(void *)(block + (size_t)capacity * element);
    uint8_t *null = (uint8_t *)(quality + capacity);
    if (v->count) {
        memcpy(block, v->data, v->count * vector_element_bytes(v->type));
        memcpy(quality, v->quality, v->count * sizeof *quality);
        memcpy(null, v->null, v->count);
    }
    mem_free(v->data);
    v->data = block;
    v->quality = quality;
    v->null = null;
    return ERR_OK;
}

static size_t column_row_bytes(const struct vector *v)
{
    size_t element = vector_element_bytes(v->type);
    return (element == 1 ? 4 : element) + sizeof(uint32_t) + 1;
}

static enum err grow_rows(struct batch *batch)
{
    uint32_t old = batch->row_capacity, capacity = old ? old * 2 : 8;
    size_t more = (size_t)(capacity - old) * (sizeof *batch->time + sizeof *batch->device);
    for (uint32_t i = 0; i < batch->column_count; i++)
        more += (capacity - old) * column_row_bytes(&batch->columns[i].data);
    enum err err = budget_take(batch->budget, more);
    if (err) return err;
    /* size_bytes follows at once: release gives back what was taken even if an array fails below.
     */
    batch->size_bytes += more;
    int64_t *time = mem_realloc(batch->time, capacity * sizeof *time);
    if (!time) return ERR_NO_MEMORY;
    batch->time = time;
    uint32_t *device = mem_realloc(batch->device, capacity * sizeof *device);
    if (!device) return ERR_NO_MEMORY;
    batch->device = device;
    for (uint32_t i = 0; i < batch->column_count; i++)
        if ((err = column_resize(&batch->columns[i].data, capacity))) return err;
    batch->row_capacity = capacity;
    return ERR_OK;
}

enum err batch_begin_row(struct batch *batch, uint32_t device, int64_t time_ns)
{
    MUST(!batch->sealed && device < batch->device_count);
    uint64_t cells = (uint64_t)(batch->row_count + 1) * batch->column_count;
    if (batch->row_count >= BATCH_ROWS_MAX || cells > BATCH_CELLS_MAX) return ERR_LIMIT;
    if (batch->row_count == batch->row_capacity) {
        enum err err = grow_rows(batch);
        if (err) return err;
    }
    batch->time[batch->row_count] = time_ns;
    batch->device[batch->row_count] = device;
    batch->row_count++;
    return ERR_OK;
}

/* Cells not written are absent. */
static void fill_absent(struct vector *v, uint32_t until)
{
    for (uint32_t row = v->count; row < until; row++) {
        v->null[row] = 1;
        v->quality[row] = QUALITY_NO_DATA;
    }
    if (v->count < until) v->count = until;
}

static enum err add_column(struct batch *batch, const struct column *column)
{
    if ((uint64_t)batch->row_count * (batch->column_count + 1) > BATCH_CELLS_MAX) return ERR_LIMIT;
    enum err err = mem_grow(&batch->columns, &batch->column_capacity,
                            (size_t)batch->column_count + 1, sizeof *batch->columns);
    if (err) return err;
    if (!batch->column_at) {
        batch->column_at = mem_alloc_zero(batch->schema->next_column_id, sizeof *batch->column_at);
        if (!batch->column_at) return ERR_NO_MEMORY;
    }
    struct batch_column *added = &batch->columns[batch->column_count];
    *added = (struct batch_column){.id = column->id, .data = {.type = column->type}};
    size_t bytes = batch->row_capacity * column_row_bytes(&added->data);
    if ((err = budget_take(batch->budget, bytes))) return err;
    if ((err = column_resize(&added->data, batch->row_capacity))) {
        budget_give(batch->budget, bytes);
        return err;
    }
    batch->size_bytes += bytes;
    batch->column_at[column->id] = (uint16_t)++batch->column_count;
    return ERR_OK;
}

enum err batch_set(struct batch *batch, const struct column *column, const struct value *value)
{
    MUST(!batch->sealed && batch->row_count > 0 && column->id < batch->schema->next_column_id);
    if (!batch->column_at || !batch->column_at[column->id]) {
        enum err err = add_column(batch, column);
        if (err) return err;
    }
    struct vector *v = &batch->columns[batch->column_at[column->id] - 1].data;
    uint32_t row = batch->row_count - 1;
    if (v->count == row && v->type == TYPE_DOUBLE && !value->is_null && isfinite(value->d)) {
        MUST(value->type == TYPE_DOUBLE); /* by far the most: the same as below, in fewer steps */
        v->d[row] = value->d;
        v->null[row] = 0;
        v->quality[row] = value->quality;
        v->count = row + 1;
        return ERR_OK;
    }
    fill_absent(v, row);
    struct value stored = *value;
    if (!value->is_null && type_bytes(v->type) == 0) {
        stored.s.at = arena_strdup(&batch->arena, value->s.at, value->s.size);
        if (!stored.s.at) return ERR_NO_MEMORY;
    }
    vector_set(v, row, &stored);
    v->count = row + 1;
    return ERR_OK;
}

void batch_drop_row(struct batch *batch)
{
    MUST(!batch->sealed && batch->row_count > 0);
    batch->row_count--;
    for (uint32_t i = 0; i < batch->column_count; i++)
        if (batch->columns[i].data.count > batch->row_count)
            batch->columns[i].data.count = batch->row_count;
}

/* ---- sealing ---- */

static bool in_order(const struct batch *batch)
{
    for (uint32_t row = 1; row < batch->row_count; row++) {
        uint32_t a = batch->device[row - 1], b = batch->device[row];
        if (a > b || (a == b && batch->time[row - 1] >= batch->time[row])) return false;
    }
    return true;
}

struct row_key {
    uint32_t device, row;
    int64_t time;
};

static int compare_keys(const void *a, const void *b)
{
    const struct row_key *x = a, *y = b;
    if (x->device != y->device) return x->device < y->device ? -1 : 1;
    if (x->time != y->time) return x->time < y->time ? -1 : 1;
    return x->row < y->row ? -1 : 1;
}

/* Rows of many devices mostly arrive in the order of time: by device then, each keeping its rows'
 * order, they are sorted. */
static enum err order_by_device(const struct batch *batch, struct row_key *keys)
{
    uint32_t *next = mem_alloc_zero((size_t)batch->device_count + 1, sizeof *next);
    if (!next) return ERR_NO_MEMORY;
    for (uint32_t row = 0; row < batch->row_count; row++) next[batch->device[row] + 1]++;
    for (uint32_t device = 0; device < batch->device_count; device++)
        next[device + 1] += next[device];
    for (uint32_t row = 0; row < batch->row_count; row++)
        keys[next[batch->device[row]]++] =
            (struct row_key){batch->device[row], row, batch->time[row]};
    mem_free(next);
    return ERR_OK;
}

static bool are_ordered(const struct row_key *keys, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++)
        if (keys[i - 1].device == keys[i].device && keys[i - 1].time > keys[i].time) return false;
    return true;
}

static bool same_key(const struct row_key *a, const struct row_key *b)
{
    return a->device == b->device && a->time == b->time;
}

static bool cell_is_absent(const struct vector *v, uint32_t row)
{
    return v->null[row] && v->quality[row] == QUALITY_NO_DATA;
}

/* The same without rows of one key: plain copying. */
static void gather_column(struct vector *to, const struct vector *from, const struct row_key *keys,
                          uint32_t row_count)
{
    size_t element = vector_element_bytes(from->type);
    for (uint32_t i = 0; i < row_count && element == 8; i++) to->u[i] = from->u[keys[i].row];
    for (uint32_t i = 0; i < row_count && element != 8; i++)
        memcpy((char *)to->data + i * element, (const char *)from->data + keys[i].row * element,
               element);
    for (uint32_t i = 0; i < row_count; i++) to->null[i] = from->null[keys[i].row];
    for (uint32_t i = 0; i < row_count; i++) to->quality[i] = from->quality[keys[i].row];
    to->count = row_count;
}

/* Rewrites one column in the order of `keys`; of rows with one key the last present cell stays. */
static enum err permute_column(struct vector *v, const struct row_key *keys, uint32_t row_count,
                               uint32_t capacity, bool unique)
{
    struct vector sorted = {.type = v->type};
    enum err err = column_resize(&sorted, capacity);
    if (err) return err;
    if (unique) gather_column(&sorted, v, keys, row_count);
    for (uint32_t i = 0; i < row_count && !unique; i++) {
        bool again = i > 0 && same_key(&keys[i], &keys[i - 1]);
        if (!again) sorted.count++;
        if (again && cell_is_absent(v, keys[i].row)) continue;
        struct value cell = vector_get(v, keys[i].row);
        vector_set(&sorted, sorted.count - 1, &cell);
    }
    mem_free(v->data);
    *v = sorted;
    return ERR_OK;
}

static enum err sort_rows(struct batch *batch)
{
    struct row_key *keys = mem_alloc(batch->row_count * sizeof *keys);
    enum err err = keys ? order_by_device(batch, keys) : ERR_NO_MEMORY;
    if (err) {
        mem_free(keys);
        return err;
    }
    if (!are_ordered(keys, batch->row_count))
        qsort(keys, batch->row_count, sizeof *keys, compare_keys);
    bool unique = true;
    for (uint32_t i = 1; i < batch->row_count && unique; i++)
        unique = !same_key(&keys[i], &keys[i - 1]);
    for (uint32_t i = 0; i < batch->column_count && !err; i++)
        err = permute_column(&batch->columns[i].data, keys, batch->row_count, batch->row_capacity,
                             unique);
    uint32_t count = 0;
    for (uint32_t i = 0; i < batch->row_count && !err; i++) {
        if (i > 0 && same_key(&keys[i], &keys[i - 1])) continue;
        batch->time[count] = keys[i].time;
        batch->device[count++] = keys[i].device;
    }
    if (!err) batch->row_count = count;
    mem_free(keys);
    return err;
}

static int compare_columns(const void *a, const void *b)
{
    const struct batch_column *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static void drop_unneeded(struct vector *v)
{
    bool any_null = false, any_quality = false;
    for (uint32_t row = 0; row < v->count; row++) {
        any_null |= v->null[row] != 0;
        any_quality |= v->quality[row] != QUALITY_GOOD;
    }
    if (!any_null) v->null = NULL; /* they live in the data block */
    if (!any_quality) v->quality = NULL;
}

enum err batch_seal(struct batch *batch)
{
    MUST(!batch->sealed);
    for (uint32_t i = 0; i < batch->column_count; i++)
        fill_absent(&batch->columns[i].data, batch->row_count);
    if (!in_order(batch)) {
        enum err err = sort_rows(batch);
        if (err) return err;
    }
    if (batch->column_count)
        qsort(batch->columns, batch->column_count, sizeof *batch->columns, compare_columns);
    for (uint32_t i = 0; i < batch->column_count; i++) drop_unneeded(&batch->columns[i].data);
    mem_free(batch->column_at);
    batch->column_at = NULL;
    map_free(&batch->device_at);
    batch->sealed = true;
    return ERR_OK;
}

const struct vector *batch_find_column(const struct batch *batch, uint16_t column_id)
{
    for (uint32_t i = 0; i < batch->column_count; i++)
        if (batch->columns[i].id == column_id) return &batch->columns[i].data;
    return NULL;
}
