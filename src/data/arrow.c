/* arrow.c - see arrow.h.
 *
 * An encapsulated message is ff ff ff ff, the size of its metadata, the metadata (a FlatBuffer
 * padded to eight bytes) and the body: the columns' buffers, each padded to eight bytes. Which
 * buffers a type has is its row in a table. Numbers are the field numbers of Arrow's Schema.fbs and
 * Message.fbs. */
#include "data/arrow.h"
#include "data/flatbuf.h"
#include <string.h>

/* The numbers of Arrow's schema files. */
enum {
    VERSION_V5 = 4,
    HEADER_SCHEMA = 1,
    HEADER_RECORD_BATCH = 3,
    UNIT_NANOSECOND = 3,
    PRECISION_DOUBLE = 2,
};
enum arrow_type {
    ARROW_NULL = 1,
    ARROW_INT = 2,
    ARROW_FLOAT = 3,
    ARROW_BINARY = 4,
    ARROW_UTF8 = 5,
    ARROW_BOOL = 6,
    ARROW_TIMESTAMP = 10,
    ARROW_LIST = 12
};

enum layout { LAYOUT_NONE = 0, LAYOUT_BITS, LAYOUT_FIXED, LAYOUT_BYTES, LAYOUT_LIST };

/* What a type becomes. `fields` are those of its FlatBuffer table. */
static const struct trait {
    enum arrow_type type;
    enum layout layout;
    size_t field_count;
    struct flatbuf_field fields[2];
} traits[TYPE_COUNT] = {
    [TYPE_NONE] = {ARROW_NULL, LAYOUT_NONE, 0, {{0}}},
    [TYPE_BOOL] = {ARROW_BOOL, LAYOUT_BITS, 0, {{0}}},
    [TYPE_BIGINT] = {ARROW_INT, LAYOUT_FIXED, 2, {{4, 64}, {1, 1}}},
    [TYPE_UBIGINT] = {ARROW_INT, LAYOUT_FIXED, 2, {{4, 64}, {1, 0}}},
    [TYPE_DOUBLE] = {ARROW_FLOAT, LAYOUT_FIXED, 1, {{2, PRECISION_DOUBLE}}},
    [TYPE_TEXT] = {ARROW_UTF8, LAYOUT_BYTES, 0, {{0}}},
    [TYPE_BYTES] = {ARROW_BINARY, LAYOUT_BYTES, 0, {{0}}},
    [TYPE_TIMESTAMP] = {ARROW_TIMESTAMP, LAYOUT_FIXED, 2, {{2, UNIT_NANOSECOND}, {4, 0}}},
    [TYPE_DOUBLES] = {ARROW_LIST, LAYOUT_LIST, 0, {{0}}},
};

/* A column of the batch being gathered. */
struct column {
    enum type type;
    uint64_t nulls;
    struct buf validity; /* a bit a row, 1 = a value */
    struct buf offsets;  /* BYTES, LIST: where row i ends, in bytes or items; 0 before the first */
    struct buf data;
};

struct arrow_writer {
    size_t column_count, row_count;
    struct buf meta; /* of the message being made */
    struct column columns[];
};

/* ---- messages ---- */

/* Begins a message's metadata; gives the place of its header's offset. */
static size_t begin_message(struct buf *meta, unsigned header, size_t body_bytes)
{
    const struct flatbuf_field fields[] = {{2, VERSION_V5}, {1, header}, {4, 0}, {8, body_bytes}};
    size_t places[4];
    buf_clear(meta);
    buf_add_le32(meta, 0);
    flatbuf_point(meta, 0, flatbuf_table(meta, fields, 4, places));
    return places[2];
}

static void add_metadata(struct buf *out, struct buf *meta)
{
    flatbuf_pad(meta, 8, 0);
    buf_add_le32(out, UINT32_MAX);
    buf_add_le32(out, (uint32_t)meta->size);
    buf_add_str(out, buf_str(meta));
    if (buf_failed(meta)) out->failed = true;
}

/* ---- the schema ---- */

static size_t add_type(struct buf *meta, enum type type)
{
    size_t places[2];
    const struct trait *trait = &traits[type];
    size_t at = flatbuf_table(meta, trait->fields, trait->field_count, places);
    if (type == TYPE_TIMESTAMP) flatbuf_point(meta, places[1], flatbuf_text(meta, STR("UTC")));
    return at;
}

/* {"unit": …}, a list of one KeyValue; gives its position. */
static size_t add_unit(struct buf *meta, const char *unit)
{
    const struct flatbuf_field pair[] = {{4, 0}, {4, 0}};
    size_t places[2], list = flatbuf_offsets(meta, 1);
    flatbuf_point(meta, list + 4, flatbuf_table(meta, pair, 2, places));
    flatbuf_point(meta, places[0], flatbuf_text(meta, STR("unit")));
    flatbuf_point(meta, places[1], flatbuf_text(meta, str_of(unit)));
    return list;
}

/* Field: name, nullable, type's kind, type, dictionary, children, metadata. */
static size_t add_field(struct buf *meta, const struct arrow_column *column)
{
    bool has_unit = column->unit && column->unit[0];
    const struct trait *trait = &traits[column->type];
    const struct flatbuf_field fields[] = {{4, 0}, {1, 1}, {1, trait->type},     {4, 0},
                                           {0, 0}, {4, 0}, {has_unit ? 4 : 0, 0}};
    size_t places[7], at = flatbuf_table(meta, fields, 7, places);
    flatbuf_point(meta, places[0], flatbuf_text(meta, str_of(column->name)));
    flatbuf_point(meta, places[3], add_type(meta, column->type));
    bool is_list = trait->layout == LAYOUT_LIST;
    size_t children = flatbuf_offsets(meta, is_list);
    flatbuf_point(meta, places[5], children);
    if (is_list)
        flatbuf_point(meta, children + 4,
                      add_field(meta, &(struct arrow_column){"item", NULL, TYPE_DOUBLE}));
    if (has_unit) flatbuf_point(meta, places[6], add_unit(meta, column->unit));
    return at;
}

static void add_schema(struct arrow_writer *w, const struct arrow_column *columns, struct buf *out)
{
    const struct flatbuf_field fields[] = {{2, 0 /* little-endian */}, {4, 0}};
    size_t places[2], header = begin_message(&w->meta, HEADER_SCHEMA, 0);
    flatbuf_point(&w->meta, header, flatbuf_table(&w->meta, fields, 2, places));
    size_t list = flatbuf_offsets(&w->meta, w->column_count);
    flatbuf_point(&w->meta, places[1], list);
    for (size_t i = 0; i < w->column_count; i++)
        flatbuf_point(&w->meta, list + 4 + 4 * i, add_field(&w->meta, &columns[i]));
    add_metadata(out, &w->meta);
}

/* ---- record batches ---- */

/* A column's buffers in Arrow's order; gives how many. Where nothing is NULL, the validity may be
 * left out. */
static size_t list_buffers(const struct column *c, struct str buffers[4])
{
    size_t n = 0;
    enum layout layout = traits[c->type].layout;
    if (layout == LAYOUT_NONE) return 0;
    buffers[n++] = c->nulls ? buf_str(&c->validity) : (struct str){0};
    if (layout == LAYOUT_BYTES || layout == LAYOUT_LIST) buffers[n++] = buf_str(&c->offsets);
    if (layout == LAYOUT_LIST) buffers[n++] = (struct str){0}; /* the items' validity */
    buffers[n++] = buf_str(&c->data);
    return n;
}

static size_t padded(size_t size)
{
    return (size + 7) / 8 * 8;
}

/* How long each column is, and how many of it are NULL; of lists their items, too. */
static void add_nodes(struct arrow_writer *w, size_t place)
{
    size_t count = 0;
    for (size_t i = 0; i < w->column_count; i++)
        count += traits[w->columns[i].type].layout == LAYOUT_LIST ? 2 : 1;
    flatbuf_point(&w->meta, place, flatbuf_vector(&w->meta, count, 8));
    for (size_t i = 0; i < w->column_count; i++) {
        const struct column *c = &w->columns[i];
        buf_add_le64(&w->meta, w->row_count);
        buf_add_le64(&w->meta, c->nulls);
        if (traits[c->type].layout != LAYOUT_LIST) continue;
        buf_add_le64(&w->meta, c->data.size / 8);
        buf_add_le64(&w->meta, 0);
    }
}

/* Where each buffer lies in the body. */
static void add_buffers(struct arrow_writer *w, size_t place, size_t count)
{
    size_t at = 0;
    struct str buffers[4];
    flatbuf_point(&w->meta, place, flatbuf_vector(&w->meta, count, 8));
    for (size_t i = 0; i < w->column_count; i++) {
        size_t n = list_buffers(&w->columns[i], buffers);
        for (size_t j = 0; j < n; j++) {
            buf_add_le64(&w->meta, at);
            buf_add_le64(&w->meta, buffers[j].size);
            at += padded(buffers[j].size);
        }
    }
}

static void clear(struct arrow_writer *w)
{
    w->row_count = 0;
    for (size_t i = 0; i < w->column_count; i++) {
        struct column *c = &w->columns[i];
        c->nulls = 0;
        buf_clear(&c->validity);
        buf_clear(&c->offsets);
        buf_clear(&c->data);
    }
}

static void add_body(const struct arrow_writer *w, struct buf *out)
{
    static const char zeros[8];
    struct str buffers[4];
    for (size_t i = 0; i < w->column_count; i++) {
        const struct column *c = &w->columns[i];
        size_t n = list_buffers(c, buffers);
        for (size_t j = 0; j < n; j++) {
            buf_add_str(out, buffers[j]);
            buf_add(out, zeros, padded(buffers[j].size) - buffers[j].size);
        }
        if (buf_failed(&c->validity) || buf_failed(&c->offsets) || buf_failed(&c->data))
            out->failed = true;
    }
}

static void flush(struct arrow_writer *w, struct buf *out)
{
    const struct flatbuf_field fields[] = {{8, w->row_count}, {4, 0}, {4, 0}};
    struct str buffers[4];
    size_t places[3], body_bytes = 0, count = 0;
    if (!w->row_count) return;
    for (size_t i = 0; i < w->column_count; i++) {
        size_t n = list_buffers(&w->columns[i], buffers);
        for (size_t j = 0; j < n; j++) body_bytes += padded(buffers[j].size);
        count += n;
    }
    size_t header = begin_message(&w->meta, HEADER_RECORD_BATCH, body_bytes);
    flatbuf_point(&w->meta, header, flatbuf_table(&w->meta, fields, 3, places));
    add_nodes(w, places[1]);
    add_buffers(w, places[2], count);
    add_metadata(out, &w->meta);
    add_body(w, out);
    clear(w);
}

/* ---- rows ---- */

static void add_bit(struct buf *bits, size_t row, bool bit)
{
    if (row % 8 == 0) buf_add_char(bits, 0);
    if (bit && !bits->failed) bits->at[row / 8] = (char)(bits->at[row / 8] | 1 << row % 8);
}

/* A NULL takes its place: a zero, or nothing between two equal offsets. */
static void add_value(struct column *c, size_t row, const struct value *v)
{
    enum layout layout = traits[c->type].layout;
    if (layout == LAYOUT_NONE) return;
    MUST(v->is_null || v->type == c->type);
    add_bit(&c->validity, row, !v->is_null);
    if (layout == LAYOUT_BITS) {
        add_bit(&c->data, row, !v->is_null && v->b);
    } else if (layout == LAYOUT_FIXED) {
        uint64_t bits = 0;
        if (!v->is_null) memcpy(&bits, &v->u, sizeof bits);
        buf_add_le64(&c->data, bits);
    } else {
        if (row == 0) buf_add_le32(&c->offsets, 0);
        if (!v->is_null) buf_add_str(&c->data, v->s);
        buf_add_le32(&c->offsets, (uint32_t)(c->data.size / (layout == LAYOUT_LIST ? 8 : 1)));
    }
}

void arrow_row(struct arrow_writer *w, const struct value *values, struct buf *out)
{
    size_t bytes = 0;
    for (size_t i = 0; i < w->column_count; i++) {
        struct column *c = &w->columns[i];
        c->nulls += values[i].is_null || c->type == TYPE_NONE;
        add_value(c, w->row_count, &values[i]);
        bytes += c->data.size + c->offsets.size + c->validity.size;
    }
    w->row_count++;
    if (w->row_count == ARROW_BATCH_ROWS || bytes >= ARROW_BATCH_BYTES) flush(w, out);
}

void arrow_end(struct arrow_writer *w, struct buf *out)
{
    flush(w, out);
    buf_add_le32(out, UINT32_MAX);
    buf_add_le32(out, 0);
}

struct arrow_writer *arrow_new(const struct arrow_column *columns, size_t count, struct buf *out)
{
    struct arrow_writer *w = mem_alloc_zero(1, sizeof *w + count * sizeof w->columns[0]);
    if (!w) return NULL;
    w->column_count = count;
    for (size_t i = 0; i < count; i++) {
        MUST((unsigned)columns[i].type < TYPE_COUNT);
        w->columns[i].type = columns[i].type;
    }
    add_schema(w, columns, out);
    return w;
}

void arrow_free(struct arrow_writer *w)
{
    if (!w) return;
    for (size_t i = 0; i < w->column_count; i++) {
        buf_free(&w->columns[i].validity);
        buf_free(&w->columns[i].offsets);
        buf_free(&w->columns[i].data);
    }
    buf_free(&w->meta);
    mem_free(w);
}
