/* rowbuf.c - see rowbuf.h. */
#include "sql/rowbuf.h"
#include <string.h>

static size_t element_bytes(const struct vector *v)
{
    return v->type == TYPE_NONE ? 0 : vector_element_bytes(v->type);
}

enum err rowbuf_init(struct rowbuf *buffer, struct budget *budget, struct arena *heads,
                     const enum type *types, size_t column_count)
{
    *buffer = (struct rowbuf){.budget = budget, .column_count = column_count};
    arena_init(&buffer->arena, budget);
    buffer->columns = arena_zero(heads, column_count + 1, sizeof *buffer->columns);
    buffer->spare = arena_zero(heads, 2 * column_count + 1, sizeof *buffer->spare);
    if (!buffer->columns || !buffer->spare) return ERR_NO_MEMORY;
    for (size_t i = 0; i < column_count; i++) buffer->columns[i].type = types[i];
    return ERR_OK;
}

void rowbuf_free(struct rowbuf *buffer)
{
    arena_free(&buffer->arena);
    *buffer = (struct rowbuf){0};
}

void rowbuf_clear(struct rowbuf *buffer)
{
    for (size_t i = 0; i < buffer->column_count; i++)
        buffer->columns[i] = (struct vector){.type = buffer->columns[i].type};
    buffer->time = NULL;
    buffer->count = buffer->capacity = 0;
    arena_reset(&buffer->arena);
}

static void *regrow(struct arena *arena, const void *old, size_t used, size_t capacity, size_t size)
{
    char *grown = arena_alloc(arena, capacity * size);
    if (grown && used > 0 && size > 0) memcpy(grown, old, used * size);
    return grown;
}

/* The old arrays stay behind in the arena: by doubling at most as much again is held. */
static bool grow(struct rowbuf *buffer, size_t want)
{
    size_t capacity = buffer->capacity ? buffer->capacity : 256;
    while (capacity < want) capacity *= 2;
    if (capacity == buffer->capacity) return true;
    if (capacity > ROWBUF_ROWS_MAX) return false;
    for (size_t i = 0; i < buffer->column_count; i++) {
        struct vector *v = &buffer->columns[i];
        size_t bytes = element_bytes(v);
        if (bytes == 0) continue;
        v->data = regrow(&buffer->arena, v->data, buffer->count, capacity, bytes);
        v->null = regrow(&buffer->arena, v->null, buffer->count, capacity, 1);
        v->quality =
            regrow(&buffer->arena, v->quality, buffer->count, capacity, sizeof *v->quality);
        if (!v->data || !v->null || !v->quality) return false;
    }
    buffer->time = regrow(&buffer->arena, buffer->time, buffer->count, capacity, sizeof(int64_t));
    buffer->capacity = capacity;
    return buffer->time != NULL;
}

/* Texts of a constant vector are copied once for all its rows. */
static bool add_texts(struct rowbuf *buffer, struct vector *to, const struct vector *from,
                      const struct view *view)
{
    struct str last = {NULL, 0}, copy = {"", 0};
    for (uint32_t k = 0; k < view->selected; k++) {
        struct str s = from->s[vector_at(from, view_row(view, k))];
        if (to->null[buffer->count + k]) s = STR("");
        if (s.at != last.at || s.size != last.size || k == 0) {
            copy = (struct str){arena_dup(&buffer->arena, s.at, s.size), s.size};
            if (!copy.at) return false;
            last = s;
        }
        to->s[buffer->count + k] = copy;
    }
    return true;
}

static bool add_column(struct rowbuf *buffer, struct vector *to, const struct vector *from,
                       const struct view *view)
{
    size_t bytes = element_bytes(to), base = buffer->count;
    bool none = from->type == TYPE_NONE;
    MUST(none || from->type == to->type);
    for (uint32_t k = 0; k < view->selected; k++) {
        uint32_t row = view_row(view, k);
        to->null[base + k] = none || vector_is_null(from, row);
        to->quality[base + k] = none ? QUALITY_NO_DATA : vector_quality(from, row);
    }
    if (none) {
        memset((char *)to->data + base * bytes, 0, view->selected * bytes);
        return true;
    }
    if (type_bytes(to->type) == 0) return add_texts(buffer, to, from, view);
    for (uint32_t k = 0; k < view->selected; k++)
        memcpy((char *)to->data + (base + k) * bytes,
               (const char *)from->data + vector_at(from, view_row(view, k)) * bytes, bytes);
    return true;
}

enum err rowbuf_add(struct rowbuf *buffer, const struct rows *rows)
{
    const struct view *view = &rows->view;
    MUST(buffer->column_count <= rows->column_count);
    if (!grow(buffer, buffer->count + view->selected)) return ERR_NO_MEMORY;
    for (size_t i = 0; i < buffer->column_count; i++)
        if (element_bytes(&buffer->columns[i]) > 0 &&
            !add_column(buffer, &buffer->columns[i], &rows->columns[i], view))
            return ERR_NO_MEMORY;
    for (uint32_t k = 0; k < view->selected; k++)
        buffer->time[buffer->count + k] = rows->time ? rows->time[view_row(view, k)] : 0;
    buffer->count += view->selected;
    MUST(buffer->count <= buffer->capacity);
    for (size_t i = 0; i < buffer->column_count; i++)
        buffer->columns[i].count = (uint32_t)buffer->count;
    return ERR_OK;
}

void rowbuf_slice(const struct rowbuf *buffer, size_t from, uint32_t count, struct vector *columns)
{
    MUST(from + count <= buffer->count);
    for (size_t i = 0; i < buffer->column_count; i++) {
        columns[i] = buffer->columns[i];
        columns[i].count = count;
        size_t bytes = element_bytes(&columns[i]);
        if (bytes == 0) continue;
        columns[i].data = (char *)columns[i].data + from * bytes;
        columns[i].null += from;
        columns[i].quality += from;
    }
}

void rowbuf_copy(const struct rowbuf *buffer, size_t from, struct vector *columns, uint32_t to)
{
    MUST(from < buffer->count);
    for (size_t i = 0; i < buffer->column_count; i++) {
        const struct vector *v = &buffer->columns[i];
        size_t bytes = element_bytes(v);
        if (bytes == 0) continue;
        memcpy((char *)columns[i].data + to * bytes, (const char *)v->data + from * bytes, bytes);
        columns[i].null[to] = v->null[from];
        columns[i].quality[to] = v->quality[from];
    }
}

enum err rowbuf_drop(struct rowbuf *buffer, size_t count)
{
    struct rowbuf fresh = {
        .budget = buffer->budget, .column_count = buffer->column_count, .columns = buffer->spare};
    struct vector *slice = buffer->spare + buffer->column_count;
    enum err err = ERR_OK;
    MUST(count <= buffer->count);
    arena_init(&fresh.arena, buffer->budget);
    for (size_t i = 0; i < fresh.column_count; i++)
        fresh.columns[i] = (struct vector){.type = buffer->columns[i].type};
    for (size_t at = count; at < buffer->count && !err;) {
        size_t left = buffer->count - at;
        uint32_t n = left > SQL_CHUNK_ROWS ? SQL_CHUNK_ROWS : (uint32_t)left;
        rowbuf_slice(buffer, at, n, slice);
        struct rows rows = {.view = {n, NULL, n},
                            .columns = slice,
                            .column_count = fresh.column_count,
                            .time = buffer->time + at};
        err = rowbuf_add(&fresh, &rows);
        at += n;
    }
    if (err) {
        arena_free(&fresh.arena);
        return err;
    }
    memcpy(buffer->columns, fresh.columns, fresh.column_count * sizeof *fresh.columns);
    arena_free(&buffer->arena);
    buffer->arena = fresh.arena;
    buffer->time = fresh.time;
    buffer->count = fresh.count;
    buffer->capacity = fresh.capacity;
    return ERR_OK;
}
