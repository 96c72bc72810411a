/* protobuf.h - messages of Protocol Buffers whose types are only known when they come: a
 * FileDescriptorSet (what protoc writes) is read once, then messages by it into trees.
 *
 * A field is a member with its name; repeated ones are lists, maps are maps whose keys are texts,
 * enums are the names of their values, google.protobuf.Timestamp is a time, its wrappers
 * (DoubleValue, StringValue, …) are the bare value. A field that is not there is absent, but for
 * plain ones of proto3 without `optional`, which are their zero: the wire does not tell the two
 * apart. Of a oneof the last one that came is there. Unknown fields are passed over; groups and
 * extensions are not read. Source: protobuf.dev, "Encoding"; descriptor.proto for the field numbers
 * of descriptors. Thread: any; a schema is immutable. */
#ifndef STREAM_PROTOBUF_H
#define STREAM_PROTOBUF_H

#include "stream/payload.h"

enum {
    PROTOBUF_SET_BYTES_MAX = 512 * 1024,
    PROTOBUF_MESSAGES_MAX = 2000, /* types of a set, enums apart */
    PROTOBUF_FIELDS_MAX = 20000,
    PROTOBUF_NESTING_MAX = 32,      /* of types in types */
    PROTOBUF_NAME_BYTES_MAX = 1024, /* of a type, with those of all that it stands in */
};

/* X(symbol, number): as descriptor.proto numbers the types of fields. */
#define PROTOBUF_TYPE_TABLE(X)                                                                     \
    X(DOUBLE, 1)                                                                                   \
    X(FLOAT, 2)                                                                                    \
    X(INT64, 3)                                                                                    \
    X(UINT64, 4)                                                                                   \
    X(INT32, 5)                                                                                    \
    X(FIXED64, 6)                                                                                  \
    X(FIXED32, 7)                                                                                  \
    X(BOOL, 8)                                                                                     \
    X(STRING, 9)                                                                                   \
    X(GROUP, 10)                                                                                   \
    X(MESSAGE, 11)                                                                                 \
    X(BYTES, 12)                                                                                   \
    X(UINT32, 13)                                                                                  \
    X(ENUM, 14)                                                                                    \
    X(SFIXED32, 15)                                                                                \
    X(SFIXED64, 16)                                                                                \
    X(SINT32, 17)                                                                                  \
    X(SINT64, 18)

enum protobuf_type {
#define X(symbol, number) PROTOBUF_##symbol = number,
    PROTOBUF_TYPE_TABLE(X)
#undef X
};

struct protobuf_enum_value {
    struct protobuf_enum_value *next;
    int32_t number;
    struct str name;
};

struct protobuf_enum {
    struct protobuf_enum *next;
    struct str name;                           /* ".package.Type.Name" */
    struct protobuf_enum_value *first, **last; /* in their order */
};

struct protobuf_field {
    struct protobuf_field *next;
    struct str name, type_name;
    uint32_t number;
    enum protobuf_type type;
    bool is_repeated, has_zero; /* zero: absent means 0, "" or false */
    uint32_t oneof;             /* 0: of none; else the message's oneofs[oneof - 1] has it */
    const struct protobuf_field *next_of_oneof;
    const struct protobuf_message *message;
    const struct protobuf_enum *values;
};

struct protobuf_message {
    struct protobuf_message *next;
    struct str name; /* ".package.Type" */
    bool is_map_entry, is_timestamp, is_wrapper;
    size_t field_count;
    struct protobuf_field *first;
    const struct protobuf_field **fields; /* by number */
    const struct protobuf_field **oneofs; /* the members of each */
};

struct protobuf_schema {
    struct arena *arena;
    struct protobuf_message *messages;
    struct protobuf_enum *enums;
    size_t message_count, field_count;
};

/* Reads a FileDescriptorSet, which must stay as long as the arena. Errors: INVALID, LIMIT,
 * NO_MEMORY. */
enum err protobuf_schema_read(struct str set, struct arena *arena, struct protobuf_schema **schema,
                              struct why *why);
/* A type by "package.Type", with or without the dot before it; NULL: there is none. */
const struct protobuf_message *protobuf_find(const struct protobuf_schema *schema, struct str name);

/* Reads a message into a tree (its texts lie in `bytes`). Errors: SYNTAX, LIMIT, NO_MEMORY. */
enum err protobuf_read(const struct protobuf_message *type, struct str bytes, struct arena *arena,
                       struct payload **root, struct why *why);

#endif
