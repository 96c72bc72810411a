/* rowset.c - see rowset.h. */
#include "sql/rowset.h"
#include <string.h>

enum { SORT_CHECK_ROWS = 65536 };

void rowset_init(struct rowset *set, struct budget *budget, const struct rowset_column *columns,
                 size_t column_count)
{
    *set = (struct rowset){.columns = columns, .column_count = column_count};
    arena_init(&set->arena, budget);
}

void rowset_free(struct rowset *set)
{
    arena_free(&set->arena);
    *set = (struct rowset){0};
}

static bool add_block(struct rowset *set)
{
    if (set->block_count == set->block_capacity) {
        size_t capacity = set->block_capacity ? set->block_capacity * 2 : 16;
        struct vector **blocks = arena_alloc(&set->arena, capacity * sizeof(struct vector *));
        if (!blocks) return false;
        if (set->block_count)
            memcpy(blocks, set->blocks, set->block_count * sizeof(struct vector *));
        set->blocks = blocks;
        set->block_capacity = capacity;
    }
    struct vector *block = arena_zero(&set->arena, set->column_count, sizeof *block);
    if (!block) return false;
    for (size_t c = 0; c < set->column_count; c++) {
        const struct rowset_column *column = &set->columns[c];
        if (column->type == TYPE_NONE) continue;
        if (vector_make(&block[c], &set->arena, column->type, SQL_CHUNK_ROWS, true,
                        column->with_quality))
            return false;
        block[c].count = SQL_CHUNK_ROWS;
    }
    set->blocks[set->block_count++] = block;
    return true;
}

static bool copy_cell(struct arena *arena, struct vector *to, uint32_t to_row,
                      const struct vector *from, uint32_t row)
{
    struct value v = vector_get(from, row);
    bool is_slice = !v.is_null && type_bytes(v.type) == 0;
    if (is_slice && !(v.s.at = arena_dup(arena, v.s.at, v.s.size))) return false;
    vector_set(to, to_row, &v);
    return true;
}

bool rowset_add(struct rowset *set, const struct vector *columns, uint32_t row)
{
    uint32_t at = set->row_count % SQL_CHUNK_ROWS;
    MUST(set->row_count / SQL_CHUNK_ROWS <= set->block_count);
    if (set->row_count == ROWSET_ROWS_MAX) return false;
    if (at == 0 && set->row_count / SQL_CHUNK_ROWS == set->block_count && !add_block(set))
        return false;
    struct vector *block = set->blocks[set->row_count / SQL_CHUNK_ROWS];
    for (size_t c = 0; c < set->column_count; c++)
        if (set->columns[c].type != TYPE_NONE &&
            !copy_cell(&set->arena, &block[c], at, &columns[c], row))
            return false;
    set->row_count++;
    return true;
}

bool rowset_add_all(struct rowset *set, const struct vector *columns, const struct view *view)
{
    for (uint32_t k = 0; k < view->selected; k++)
        if (!rowset_add(set, columns, view_row(view, k))) return false;
    return true;
}

uint32_t rowset_block(const struct rowset *set, size_t block, struct vector *out)
{
    uint32_t from = (uint32_t)block * SQL_CHUNK_ROWS;
    uint32_t count =
        set->row_count - from < SQL_CHUNK_ROWS ? set->row_count - from : SQL_CHUNK_ROWS;
    MUST(from < set->row_count);
    for (size_t c = 0; c < set->column_count; c++) {
        if (set->columns[c].type == TYPE_NONE) continue;
        out[c] = set->blocks[block][c];
        out[c].count = count;
    }
    return count;
}

bool rowset_make_vectors(const struct rowset *set, struct arena *arena, struct vector *out)
{
    for (size_t c = 0; c < set->column_count; c++)
        if (set->columns[c].type != TYPE_NONE &&
            vector_make(&out[c], arena, set->columns[c].type, SQL_CHUNK_ROWS, true,
                        set->columns[c].with_quality))
            return false;
    return true;
}

void rowset_gather(const struct rowset *set, const uint32_t *rows, uint32_t count,
                   struct vector *out)
{
    for (size_t c = 0; c < set->column_count; c++) {
        enum type type = set->columns[c].type;
        if (type == TYPE_NONE) continue;
        size_t bytes = vector_element_bytes(type);
        out[c].count = count;
        for (uint32_t r = 0; r < count; r++) {
            if (rows[r] == UINT32_MAX) {
                out[c].null[r] = 1;
                memset((char *)out[c].data + r * bytes, 0, bytes);
                if (out[c].quality) out[c].quality[r] = QUALITY_NO_DATA;
                continue;
            }
            const struct vector *from = rowset_cell(set, rows[r], c);
            uint32_t at = rows[r] % SQL_CHUNK_ROWS;
            out[c].null[r] = from->null[at];
            memcpy((char *)out[c].data + r * bytes, (const char *)from->data + at * bytes, bytes);
            if (out[c].quality) out[c].quality[r] = from->quality[at];
        }
    }
}

/* ---- sorting ---- */

static void merge(const struct rowset_order *order, const uint32_t *from, uint32_t *to, size_t left,
                  size_t middle, size_t right)
{
    size_t a = left, b = middle;
    /* Already in order, as rows of one series mostly are: two copies. */
    if (middle < right && order->compare(order->context, from[middle - 1], from[middle]) <= 0)
        b = right;
    if (b == right) {
        memcpy(to + left, from + left, (right - left) * sizeof *to);
        return;
    }
    for (size_t i = left; i < right; i++) {
        bool take_a =
            a < middle && (b >= right || order->compare(order->context, from[a], from[b]) <= 0);
        to[i] = take_a ? from[a++] : from[b++];
    }
}

enum err rowset_sort_list(struct arena *arena, uint32_t **rows, uint32_t count,
                          const struct rowset_order *order)
{
    size_t n = count, done = 0;
    uint32_t *from = *rows, *to = arena_alloc(arena, (n + 1) * sizeof *to);
    if (!to) return ERR_NO_MEMORY;
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t left = 0; left < n; left += 2 * width) {
            size_t middle = left + width < n ? left + width : n,
                   right = middle + width < n ? middle + width : n;
            merge(order, from, to, left, middle, right);
            done += right - left;
            if (done < SORT_CHECK_ROWS) continue;
            done = 0;
            enum err err = order->check ? order->check(order->run) : ERR_OK;
            if (err) return err;
        }
        uint32_t *swap = from;
        from = to;
        to = swap;
    }
    *rows = from;
    return ERR_OK;
}

uint32_t *rowset_sort(struct arena *arena, uint32_t first, uint32_t count,
                      const struct rowset_order *order, enum err *err)
{
    uint32_t *rows = arena_alloc(arena, ((size_t)count + 1) * sizeof *rows);
    *err = rows ? ERR_OK : ERR_NO_MEMORY;
    if (*err) return NULL;
    for (uint32_t i = 0; i < count; i++) rows[i] = first + i;
    *err = rowset_sort_list(arena, &rows, count, order);
    return *err ? NULL : rows;
}
