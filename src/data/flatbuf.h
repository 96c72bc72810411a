/* flatbuf.h - a small writer of FlatBuffers, as Arrow's messages are made of.
 *
 * Written front to back: a parent comes first, with places where the offsets of its children are
 * put in when these are written (an offset points forward, so parents must stand before children,
 * and this order needs no second pass). A table's field list stands directly before the table.
 * Positions count from the buffer's begin, which is the message's. Memory: the buffer's sticky
 * failure; positions are meaningless then. Source: "FlatBuffers internals", flatbuffers.dev.
 * Thread: any. */
#ifndef DATA_FLATBUF_H
#define DATA_FLATBUF_H

#include "base/str.h"

enum { FLATBUF_FIELDS_MAX = 8 };

/* A table's field by its number; size 0: absent, so that it has its default. Offsets have size 4
 * and value 0. */
struct flatbuf_field {
    uint8_t size_bytes; /* 1, 2, 4 or 8 */
    uint64_t value;
};

/* Zeros until the buffer's size leaves `rest` when divided by `unit`. */
void flatbuf_pad(struct buf *out, size_t unit, size_t rest);
/* Gives the table's position; places[i] becomes that of field i, where it is not absent. */
size_t flatbuf_table(struct buf *out, const struct flatbuf_field *fields, size_t count,
                     size_t *places);
/* Makes the offset at `place` lead to `target`, which comes behind it. */
void flatbuf_point(struct buf *out, size_t place, size_t target);
/* Gives the text's position. */
size_t flatbuf_text(struct buf *out, struct str text);
/* Begins a vector, whose `count` elements the caller writes next; they are aligned to
 * `element_bytes`, at most 8. Gives its position; elements begin 4 bytes behind it. */
size_t flatbuf_vector(struct buf *out, size_t count, size_t element_bytes);
/* A vector of offsets still to be put in: that of element i is at position + 4 + 4 × i. */
size_t flatbuf_offsets(struct buf *out, size_t count);

#endif
