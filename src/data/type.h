/* type.h - the value types, and the scalar.
 *
 * One table lists the types with their traits; names, aliases, sizes come from it. Narrow device
 * types (int16, float…) are encodings of drivers, not types. */
#ifndef DATA_TYPE_H
#define DATA_TYPE_H

#include "base/err.h"
#include "base/str.h"
#include <stdbool.h>
#include <stdint.h>

/* X(symbol, name, bytes of a fixed value (0 = a slice), aliases separated by spaces) */
#define TYPE_TABLE(X)                                                                              \
    X(BOOL, "bool", 1, "boolean")                                                                  \
    X(BIGINT, "bigint", 8, "int8 int int4 integer int2 smallint int64 oid xid")                    \
    X(UBIGINT, "ubigint", 8, "uint64")                                                             \
    X(DOUBLE, "double", 8, "float8 float real float4 double_precision numeric decimal")            \
    X(TEXT, "text", 0, "varchar string char nchar bpchar character name json jsonb uuid cstring")  \
    X(BYTES, "bytes", 0, "bytea binary varbinary")                                                 \
    X(TIMESTAMP, "timestamp", 8, "timestamptz")                                                    \
    X(DOUBLES, "double[]", 0, "float8[]")

/* The numbers are written into logs and parts: never reorder, only append. */
enum type {
    TYPE_NONE = 0, /* no type yet: an untyped NULL */
#define X(symbol, name, bytes, aliases) TYPE_##symbol,
    TYPE_TABLE(X)
#undef X
        TYPE_COUNT
};

const char *type_name(enum type type); /* "bigint"; TYPE_NONE reads "null" */
/* Of one fixed value, 0 for slices. In the header: asked for every value that comes in. */
extern const uint8_t type_sizes[TYPE_COUNT];
static inline unsigned type_bytes(enum type type)
{
    MUST((unsigned)type < TYPE_COUNT);
    return type_sizes[type];
}
enum type type_of_name(struct str name); /* name or alias, ASCII case folded; NONE when unknown */
/* Whether a column of type `from` may become `to`: bool → bigint, and bool, bigint and ubigint →
 * double (integers above 2^53 are rounded then). Every type widens to itself. */
bool type_widens(enum type from, enum type to);
static inline bool type_is_number(enum type t)
{
    return t == TYPE_BIGINT || t == TYPE_UBIGINT || t == TYPE_DOUBLE;
}

/* One value. Slices are borrowed; DOUBLES is a slice of size 8 × count, 8-byte aligned. */
struct value {
    enum type type;
    bool is_null;
    uint32_t quality; /* see quality.h; 0 = good */
    union {
        bool b;
        int64_t i; /* BIGINT, TIMESTAMP (ns) */
        uint64_t u;
        double d;
        struct str s; /* TEXT, BYTES, DOUBLES */
    };
};

/* Compares two values of equal type: <0, 0, >0; NULLs are the caller's business. */
int value_compare(const struct value *a, const struct value *b);

/* As SQL results and JSON rows print it (a bare number, text without quotes, RFC 3339, \x hex).
 * NULL adds nothing. */
void value_add_text(struct buf *buf, const struct value *value);
/* As JSON: null, numbers, strings; ubigint above 2^53 as a string; bytes as base64; double[] as
 * array. */
void value_add_json(struct buf *buf, const struct value *value);
/* Reads text into `value` of the wanted type (slices point into `text`; BYTES: "\x" hex or plain;
 * DOUBLES: unsupported). Errors: INVALID names the text and the type. Used by CSV, INSERT casts and
 * writes. */
enum err value_parse(struct str text, enum type type, struct value *value, struct why *why);

#endif
