/* packed.c - see packed.h. What is read here was written by packed_add, so a text that does not fit
 * is a programming error. */
#include "stream/packed.h"
#include <string.h>

static void add_text(struct buf *out, struct str text)
{
    buf_add_varint(out, text.size);
    buf_add_str(out, text);
}

static struct str take_text(struct reader *in)
{
    return reader_str(in, (size_t)reader_varint(in));
}

static bool is_slice(enum type type)
{
    return type == TYPE_TEXT || type == TYPE_BYTES || type == TYPE_DOUBLES;
}

static void add_value(struct buf *out, const struct value *v)
{
    buf_add_char(out, (char)v->type);
    buf_add_char(out, v->is_null);
    buf_add_le32(out, v->quality);
    if (v->is_null || v->type == TYPE_NONE) return;
    if (is_slice(v->type))
        add_text(out, v->s);
    else if (v->type == TYPE_BOOL)
        buf_add_char(out, v->b);
    else
        buf_add_le64(out, v->u); /* the bits of the others, too */
}

void packed_add(struct buf *out, size_t offset, const struct line *row)
{
    MUST(row->tag_count && row->has_time && offset <= UINT32_MAX);
    buf_add_le32(out, (uint32_t)offset);
    buf_add_le64(out, (uint64_t)row->time_ns);
    add_text(out, row->measurement);
    buf_add_varint(out, row->tag_count);
    for (uint32_t i = 0; i < row->tag_count; i++) {
        add_text(out, row->tags[i].key);
        add_text(out, row->tags[i].value);
    }
    buf_add_varint(out, row->field_count);
    for (uint32_t i = 0; i < row->field_count; i++) {
        add_text(out, row->fields[i].key);
        buf_add_char(out, (char)row->fields[i].fresh);
        add_value(out, &row->fields[i].value);
    }
}

/* double[] has to be aligned. */
static bool align(struct value *v, struct arena *arena)
{
    const char *own = arena_dup(arena, v->s.at, v->s.size);
    if (!own) return false;
    v->s.at = own;
    return true;
}

static bool take_value(struct reader *in, struct value *v, struct arena *arena)
{
    *v = (struct value){.type = (enum type)reader_u8(in)};
    v->is_null = reader_u8(in) != 0;
    v->quality = reader_le32(in);
    if (v->is_null || v->type == TYPE_NONE) return true;
    if (is_slice(v->type))
        v->s = take_text(in);
    else if (v->type == TYPE_BOOL)
        v->b = reader_u8(in) != 0;
    else
        v->u = reader_le64(in);
    return v->type != TYPE_DOUBLES || align(v, arena);
}

bool packed_next(struct reader *in, size_t *offset, struct line *row, struct arena *arena,
                 bool *lacks)
{
    *lacks = false;
    if (!reader_left(in)) return false;
    *offset = reader_le32(in);
    row->time_ns = (int64_t)reader_le64(in);
    row->has_time = true;
    row->measurement = take_text(in);
    row->tag_count = (uint32_t)reader_varint(in);
    MUST(row->tag_count <= LINE_TAGS_MAX);
    for (uint32_t i = 0; i < row->tag_count; i++) {
        row->tags[i].key = take_text(in);
        row->tags[i].value = take_text(in);
    }
    uint32_t fields = (uint32_t)reader_varint(in);
    MUST(fields <= LINE_FIELDS_MAX);
    for (uint32_t i = 0; i < fields; i++) {
        row->fields[i].key = take_text(in);
        row->fields[i].fresh = (enum type)reader_u8(in);
        *lacks |= !take_value(in, &row->fields[i].value, arena);
    }
    MUST(reader_ok(in));
    row->field_count = *lacks ? 0 : fields;
    return true;
}
