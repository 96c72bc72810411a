/* flatbuf.c - see flatbuf.h. */
#include "data/flatbuf.h"
#include <string.h>

void flatbuf_pad(struct buf *out, size_t unit, size_t rest)
{
    MUST(unit && rest < unit);
    while (!out->failed && out->size % unit != rest) buf_add_char(out, 0);
}

static void add_number(struct buf *out, uint64_t value, size_t size_bytes)
{
    for (size_t i = 0; i < size_bytes; i++) buf_add_char(out, (char)(value >> (8 * i)));
}

/* Fields go by falling size behind the table's own four bytes. Those stand four bytes before a
 * multiple of eight, so every field is aligned without gaps. */
size_t flatbuf_table(struct buf *out, const struct flatbuf_field *fields, size_t count,
                     size_t *places)
{
    MUST(count <= FLATBUF_FIELDS_MAX);
    size_t list_bytes = 4 + 2 * count, at[FLATBUF_FIELDS_MAX] = {0}, size = 4;
    for (size_t bytes = 8; bytes > 0; bytes /= 2)
        for (size_t i = 0; i < count; i++)
            if (fields[i].size_bytes == bytes) {
                at[i] = size;
                size += bytes;
            }
    flatbuf_pad(out, 8, (12 - list_bytes % 8) % 8);
    buf_add_le16(out, (uint16_t)list_bytes);
    buf_add_le16(out, (uint16_t)size);
    for (size_t i = 0; i < count; i++) buf_add_le16(out, (uint16_t)at[i]);
    size_t table = out->size;
    buf_add_le32(out, (uint32_t)list_bytes); /* back to the list */
    for (size_t bytes = 8; bytes > 0; bytes /= 2)
        for (size_t i = 0; i < count; i++)
            if (fields[i].size_bytes == bytes) add_number(out, fields[i].value, bytes);
    for (size_t i = 0; i < count; i++) places[i] = table + at[i];
    return table;
}

void flatbuf_point(struct buf *out, size_t place, size_t target)
{
    if (out->failed) return;
    MUST(place < target && place + 4 <= out->size);
    for (size_t i = 0; i < 4; i++) out->at[place + i] = (char)((target - place) >> (8 * i));
}

size_t flatbuf_vector(struct buf *out, size_t count, size_t element_bytes)
{
    MUST(element_bytes && element_bytes <= 8);
    if (element_bytes > 4)
        flatbuf_pad(out, 8, 4);
    else
        flatbuf_pad(out, 4, 0);
    size_t at = out->size;
    buf_add_le32(out, (uint32_t)count);
    return at;
}

size_t flatbuf_text(struct buf *out, struct str text)
{
    size_t at = flatbuf_vector(out, text.size, 1);
    buf_add_str(out, text);
    buf_add_char(out, 0); /* readers in C rely on it */
    return at;
}

size_t flatbuf_offsets(struct buf *out, size_t count)
{
    size_t at = flatbuf_vector(out, count, 4);
    for (size_t i = 0; i < count; i++) buf_add_le32(out, 0);
    return at;
}
