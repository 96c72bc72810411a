/* protowire.h - the wire format of Protocol Buffers: tags, and what stands behind them.
 *
 * Source: protobuf.dev/programming-guides/encoding. Only the four wire types that are in use;
 * groups (types 3 and 4, deprecated since 2008) are refused, which keeps reading free of recursion.
 * The reader's failure is sticky, so a whole message is read and reader_ok asked once. Thread: any.
 */
#ifndef DATA_PROTOWIRE_H
#define DATA_PROTOWIRE_H

#include "base/reader.h"

enum protowire_type {
    PROTOWIRE_VARINT = 0,
    PROTOWIRE_FIXED64 = 1,
    PROTOWIRE_BYTES = 2,
    PROTOWIRE_GROUP_BEGIN = 3, /* these two are refused */
    PROTOWIRE_GROUP_END = 4,
    PROTOWIRE_FIXED32 = 5,
};

/* One field of a message. */
struct protowire_field {
    uint32_t number;
    enum protowire_type type;
    uint64_t bits;    /* VARINT, FIXED32, FIXED64: as they lie */
    struct str bytes; /* BYTES; borrowed from the message */
};

/* The next field; false at the end, or when the message is damaged (ask reader_ok). */
static inline bool protowire_next(struct reader *in, struct protowire_field *field)
{
    if (!reader_left(in)) return false;
    uint64_t tag = reader_varint(in);
    *field = (struct protowire_field){
        .number = (uint32_t)(tag >> 3), .type = (enum protowire_type)(tag & 7), .bytes = {"", 0}};
    switch (field->type) {
    case PROTOWIRE_VARINT: field->bits = reader_varint(in); break;
    case PROTOWIRE_FIXED64: field->bits = reader_le64(in); break;
    case PROTOWIRE_FIXED32: field->bits = reader_le32(in); break;
    case PROTOWIRE_BYTES: {
        uint64_t size = reader_varint(in);
        field->bytes = reader_str(in, size > SIZE_MAX ? SIZE_MAX : (size_t)size);
        break;
    }
    default: in->failed = true;
    }
    if (tag >> 3 == 0 || tag >> 3 > 536870911) in->failed = true;
    return reader_ok(in);
}

/* The same on the way out. A failure is the buffer's. */
static inline void protowire_add_varint(struct buf *out, uint32_t number, uint64_t value)
{
    buf_add_varint(out, (uint64_t)number << 3 | PROTOWIRE_VARINT);
    buf_add_varint(out, value);
}
static inline void protowire_add_bytes(struct buf *out, uint32_t number, struct str bytes)
{
    buf_add_varint(out, (uint64_t)number << 3 | PROTOWIRE_BYTES);
    buf_add_varint(out, bytes.size);
    buf_add_str(out, bytes);
}
static inline void protowire_add_fixed64(struct buf *out, uint32_t number, uint64_t bits)
{
    buf_add_varint(out, (uint64_t)number << 3 | PROTOWIRE_FIXED64);
    buf_add_le64(out, bits);
}
static inline void protowire_add_fixed32(struct buf *out, uint32_t number, uint32_t bits)
{
    buf_add_varint(out, (uint64_t)number << 3 | PROTOWIRE_FIXED32);
    buf_add_le32(out, bits);
}

#endif
