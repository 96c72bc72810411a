/* part_group_write.c - the rows that wait to become a group; see part_group.h.
 *
 * Columns are gathered as they come: one that was not there before is absent in the rows before,
 * one that does not come again is absent in those behind. Memory: one group (PART_GROUP_CELLS), and
 * texts up to PART_GROUP_TEXT_BYTES beside those of the series that exceeds it, and of those that
 * left up to PART_GROUP_LEFT_BYTES. */
#include "store/part_group.h"
#include "base/mem.h"
#include <stdlib.h>
#include <string.h>

struct pending_member {
    uint32_t series, rows;
    struct str path;
};

struct pending_column {
    uint16_t id;
    bool trusts_habit;
    struct vector v;
};

struct part_pending {
    uint32_t rows, rows_max, count;
    uint32_t first;                 /* row of the series begun last */
    size_t text_bytes, text_before; /* of all; without the series begun last */
    size_t left_bytes;              /* texts in `arena` of series that left */
    struct pending_member members[PART_GROUP_ROWS];
    struct pending_column *columns; /* [0]: the time */
    size_t column_count, column_capacity, found;
    struct part_pending_slice *slices;
    size_t slice_capacity;
    struct arena arena; /* arrays, texts, paths */
    struct codec_habit habits[CODEC_HABITS];
};

struct part_pending *part_pending_new(void)
{
    struct part_pending *p = mem_alloc_zero(1, sizeof *p);
    if (p) arena_init(&p->arena, NULL);
    return p;
}

void part_pending_free(struct part_pending *p)
{
    if (!p) return;
    arena_free(&p->arena);
    mem_free(p->columns);
    mem_free(p->slices);
    mem_free(p);
}

void part_pending_clear(struct part_pending *p)
{
    arena_reset(&p->arena);
    p->rows = p->rows_max = p->count = p->first = 0;
    p->text_bytes = p->text_before = p->left_bytes = p->column_count = p->found = 0;
}

bool part_pending_is_empty(const struct part_pending *p)
{
    return p->count == 0;
}

static uint32_t rows_max_of(size_t columns)
{
    size_t rows = PART_GROUP_CELLS / (columns + 1);
    if (rows < PART_GROUP_ROWS_MIN) return PART_GROUP_ROWS_MIN;
    return rows < PART_GROUP_ROWS ? (uint32_t)rows : PART_GROUP_ROWS;
}

bool part_pending_takes(const struct part_pending *p, uint32_t rows, size_t columns)
{
    uint32_t rows_max = p->count ? p->rows_max : rows_max_of(columns);
    if (p->count && p->left_bytes >= PART_GROUP_LEFT_BYTES) return false;
    return rows <= rows_max - p->rows;
}

/* ---- filling ---- */

static void set_absent(struct vector *v, uint32_t from, uint32_t to)
{
    size_t element = vector_element_bytes(v->type);
    memset((char *)v->data + from * element, 0, (to - from) * element);
    memset(v->null + from, 1, to - from);
    for (uint32_t i = from; i < to; i++) v->quality[i] = QUALITY_NO_DATA;
}

static struct pending_column *add_column(struct part_pending *p, uint16_t id, enum type type)
{
    if (mem_grow(&p->columns, &p->column_capacity, p->column_count + 1, sizeof *p->columns))
        return NULL;
    struct pending_column *c = &p->columns[p->column_count];
    *c = (struct pending_column){.id = id};
    if (vector_make(&c->v, &p->arena, type, p->rows_max, true, true)) return NULL;
    c->v.count = p->rows;
    if (p->rows) set_absent(&c->v, 0, p->rows);
    p->column_count++;
    return c;
}

/* Ids of one series ascend, and most series have the same: the search goes on from the last. */
static struct pending_column *find_column(struct part_pending *p, uint16_t id)
{
    for (size_t i = 1, at = p->found; i <= p->column_count; i++) {
        if (++at >= p->column_count) at = 0;
        if (at && p->columns[at].id == id) {
            p->found = at;
            return &p->columns[at];
        }
    }
    return NULL;
}

enum err part_pending_begin(struct part_pending *p, uint32_t series, struct str path,
                            const struct vector *time, size_t columns)
{
    /* What series that left again brought is nothing to this one, which may be another table's. */
    if (!p->count) part_pending_clear(p);
    if (!p->count) p->rows_max = rows_max_of(columns);
    MUST(part_pending_takes(p, time->count, columns) && p->count < PART_GROUP_ROWS);
    if (!p->column_count && !add_column(p, 0, TYPE_TIMESTAMP)) return ERR_NO_MEMORY;
    MUST(time->count > 0 && (!p->count || series > p->members[p->count - 1].series));
    char *copy = arena_strdup(&p->arena, path.at, path.size);
    if (!copy) return ERR_NO_MEMORY;
    p->members[p->count++] = (struct pending_member){series, time->count, {copy, path.size}};
    p->first = p->rows;
    p->text_before = p->text_bytes;
    p->rows += time->count;
    memcpy(p->columns[0].v.i + p->first, time->i, time->count * sizeof *time->i);
    memset(p->columns[0].v.null + p->first, 0, time->count);
    memset(p->columns[0].v.quality + p->first, 0, time->count * sizeof *time->quality);
    p->columns[0].v.count = p->rows;
    for (size_t i = 1; i < p->column_count; i++) {
        set_absent(&p->columns[i].v, p->first, p->rows);
        p->columns[i].v.count = p->rows;
    }
    return ERR_OK;
}

bool part_pending_fits(struct part_pending *p, uint16_t id, enum type type)
{
    const struct pending_column *c = find_column(p, id);
    return !c || c->v.type == type;
}

enum err part_pending_column(struct part_pending *p, uint16_t id, const struct vector *v,
                             bool trusts_habit)
{
    MUST(id > 0 && p->count > 0);
    struct pending_column *c = find_column(p, id);
    if (!c && !(c = add_column(p, id, v->type))) return ERR_NO_MEMORY;
    MUST(c->v.type == v->type && p->first + v->count == p->rows && !v->is_constant);
    c->trusts_habit = trusts_habit;
    size_t element = vector_element_bytes(v->type);
    memcpy((char *)c->v.data + p->first * element, v->data, v->count * element);
    memset(c->v.null + p->first, 0, v->count);
    if (v->null) memcpy(c->v.null + p->first, v->null, v->count);
    memset(c->v.quality + p->first, 0, v->count * sizeof *c->v.quality);
    if (v->quality) memcpy(c->v.quality + p->first, v->quality, v->count * sizeof *v->quality);
    if (type_bytes(v->type)) return ERR_OK;
    for (uint32_t i = p->first; i < p->rows; i++) {
        struct str *s = &c->v.s[i];
        if (c->v.null[i] || !s->size) continue;
        if (!(s->at = arena_dup(&p->arena, s->at, s->size))) return ERR_NO_MEMORY;
        p->text_bytes += s->size;
    }
    return ERR_OK;
}

bool part_pending_is_large(const struct part_pending *p)
{
    return p->text_bytes - p->text_before > PART_SMALL_TEXT_BYTES;
}

bool part_pending_end(struct part_pending *p)
{
    MUST(p->rows <= p->rows_max && p->text_before <= p->text_bytes);
    return p->rows == p->rows_max || p->text_bytes >= PART_GROUP_TEXT_BYTES ||
           p->count == PART_GROUP_ROWS;
}

/* ---- taking out ---- */

static bool is_absent(const struct vector *v, uint32_t from)
{
    for (uint32_t row = from; row < v->count; row++)
        if (!v->null[row] || v->quality[row] != QUALITY_NO_DATA) return false;
    return true;
}

static int compare_columns(const void *a, const void *b)
{
    const struct pending_column *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

/* As they are written; they stand in the order in which the series brought them. */
static void sort_columns(struct part_pending *p)
{
    qsort(p->columns, p->column_count, sizeof *p->columns, compare_columns);
    p->found = 0;
}

enum err part_pending_take_back(struct part_pending *p, struct part_pending_slice **slices,
                                size_t *count)
{
    MUST(p->count > 0);
    *count = 0;
    if (mem_grow(&p->slices, &p->slice_capacity, p->column_count, sizeof *p->slices))
        return ERR_NO_MEMORY;
    sort_columns(p);
    for (size_t i = 0; i < p->column_count; i++) {
        struct vector *v = &p->columns[i].v;
        size_t element = vector_element_bytes(v->type);
        if (!is_absent(v, p->first))
            p->slices[(*count)++] =
                (struct part_pending_slice){p->columns[i].id,
                                            {.type = v->type,
                                             .count = v->count - p->first,
                                             .null = i ? v->null + p->first : NULL,
                                             .quality = i ? v->quality + p->first : NULL,
                                             .data = (char *)v->data + p->first * element}};
        v->count = p->first;
    }
    p->rows = p->first;
    p->left_bytes += p->text_bytes - p->text_before;
    p->text_bytes = p->text_before;
    p->count--;
    MUST(*count > 0 && p->slices[0].id == 0); /* the time is absent in no row */
    *slices = p->slices;
    return ERR_OK;
}

struct part_pending_view part_pending_view(const struct part_pending *p)
{
    struct part_pending_view view = {.first_series = p->members[0].series,
                                     .series_count = p->count,
                                     .rows = p->rows,
                                     .min_time_ns = INT64_MAX,
                                     .max_time_ns = INT64_MIN,
                                     .column_count = p->column_count};
    MUST(p->count > 0 && p->column_count > 0);
    for (uint32_t i = 0; i < p->rows; i++) {
        int64_t time = p->columns[0].v.i[i];
        if (time < view.min_time_ns) view.min_time_ns = time;
        if (time > view.max_time_ns) view.max_time_ns = time;
    }
    return view;
}

const struct vector *part_pending_at(struct part_pending *p, size_t at, uint16_t *id,
                                     struct codec_habit **habit)
{
    MUST(at < p->column_count);
    if (at == 0) sort_columns(p);
    struct pending_column *c = &p->columns[at];
    *id = c->id;
    *habit = c->trusts_habit ? &p->habits[c->id % CODEC_HABITS] : NULL;
    if (at == 0) c->v.null = NULL, c->v.quality = NULL; /* times are never NULL */
    return at && is_absent(&c->v, 0) ? NULL : &c->v;
}

static size_t common_of(struct str a, struct str b)
{
    size_t n = 0;
    while (n < a.size && n < b.size && a.at[n] == b.at[n]) n++;
    return n;
}

void part_pending_list(const struct part_pending *p, struct buf *out)
{
    uint32_t series = 0;
    struct str path = {"", 0};
    uint32_t rows = 0;
    for (uint32_t i = 0; i < p->count; i++) {
        const struct pending_member *m = &p->members[i];
        rows += m->rows;
        size_t common = common_of(path, m->path);
        MUST(m->series > series);
        buf_add_varint(out, m->series - series);
        buf_add_varint(out, m->rows);
        buf_add_varint(out, common);
        buf_add_varint(out, m->path.size - common);
        buf_add(out, m->path.at + common, m->path.size - common);
        series = m->series;
        path = m->path;
    }
    MUST(rows == p->rows); /* a reader compares it with the block's */
}
