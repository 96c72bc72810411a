/* sparkplug.h - the payload of Sparkplug B, both ways: metrics off bytes, and onto them.
 *
 * Source: Sparkplug 3.0.0 (Eclipse), sections 6.4 (payload) and 5.5.12 (Node Control/Rebirth). It
 * knows nothing of topics, births and aliases: who does is stream/sparkplug_host.h. Nothing is
 * allocated but arrays of numbers; texts point into the payload. Thread: any. */
#ifndef DATA_SPARKPLUG_H
#define DATA_SPARKPLUG_H

#include "base/mem.h"
#include "base/reader.h"
#include "data/type.h"

/* X(symbol, number, name, type of its column): section 6.4.16. NONE: no column can hold it. */
#define SPARKPLUG_TYPE_TABLE(X)                                                                    \
    X(INT8, 1, "Int8", BIGINT)                                                                     \
    X(INT16, 2, "Int16", BIGINT)                                                                   \
    X(INT32, 3, "Int32", BIGINT)                                                                   \
    X(INT64, 4, "Int64", BIGINT)                                                                   \
    X(UINT8, 5, "UInt8", BIGINT)                                                                   \
    X(UINT16, 6, "UInt16", BIGINT)                                                                 \
    X(UINT32, 7, "UInt32", BIGINT)                                                                 \
    X(UINT64, 8, "UInt64", UBIGINT)                                                                \
    X(FLOAT, 9, "Float", DOUBLE)                                                                   \
    X(DOUBLE, 10, "Double", DOUBLE)                                                                \
    X(BOOLEAN, 11, "Boolean", BOOL)                                                                \
    X(STRING, 12, "String", TEXT)                                                                  \
    X(DATETIME, 13, "DateTime", TIMESTAMP)                                                         \
    X(TEXT, 14, "Text", TEXT)                                                                      \
    X(UUID, 15, "UUID", TEXT)                                                                      \
    X(DATASET, 16, "DataSet", NONE)                                                                \
    X(BYTES, 17, "Bytes", BYTES)                                                                   \
    X(FILE, 18, "File", BYTES)                                                                     \
    X(TEMPLATE, 19, "Template", NONE)                                                              \
    X(INT8_ARRAY, 22, "Int8Array", DOUBLES)                                                        \
    X(INT16_ARRAY, 23, "Int16Array", DOUBLES)                                                      \
    X(INT32_ARRAY, 24, "Int32Array", DOUBLES)                                                      \
    X(INT64_ARRAY, 25, "Int64Array", DOUBLES)                                                      \
    X(UINT8_ARRAY, 26, "UInt8Array", DOUBLES)                                                      \
    X(UINT16_ARRAY, 27, "UInt16Array", DOUBLES)                                                    \
    X(UINT32_ARRAY, 28, "UInt32Array", DOUBLES)                                                    \
    X(UINT64_ARRAY, 29, "UInt64Array", DOUBLES)                                                    \
    X(FLOAT_ARRAY, 30, "FloatArray", DOUBLES)                                                      \
    X(DOUBLE_ARRAY, 31, "DoubleArray", DOUBLES)                                                    \
    X(BOOLEAN_ARRAY, 32, "BooleanArray", DOUBLES)                                                  \
    X(STRING_ARRAY, 33, "StringArray", NONE)                                                       \
    X(DATETIME_ARRAY, 34, "DateTimeArray", NONE)

enum sparkplug_type {
#define X(symbol, number, name, column) SPARKPLUG_##symbol = number,
    SPARKPLUG_TYPE_TABLE(X)
#undef X
};

/* The column that holds a datatype; NONE: there is none, or no such datatype. */
enum type sparkplug_column_type(uint32_t datatype);
const char *sparkplug_type_name(uint32_t datatype); /* "UInt16"; of an unknown one "unknown" */

enum sparkplug_quality { SPARKPLUG_BAD = 0, SPARKPLUG_GOOD = 192, SPARKPLUG_STALE = 500 };

/* Which of the value's fields was there. */
enum sparkplug_field {
    SPARKPLUG_NO_VALUE = 0,
    SPARKPLUG_INT_VALUE = 10,
    SPARKPLUG_LONG_VALUE = 11,
    SPARKPLUG_FLOAT_VALUE = 12,
    SPARKPLUG_DOUBLE_VALUE = 13,
    SPARKPLUG_BOOLEAN_VALUE = 14,
    SPARKPLUG_STRING_VALUE = 15,
    SPARKPLUG_BYTES_VALUE = 16,
    SPARKPLUG_DATASET_VALUE = 17,
    SPARKPLUG_TEMPLATE_VALUE = 18,
    SPARKPLUG_EXTENSION_VALUE = 19,
};

struct sparkplug_metric {
    bool has_name, has_alias, has_timestamp, has_quality;
    bool is_historical, is_transient, is_null;
    struct str name;
    uint64_t alias, timestamp_ms;
    uint32_t datatype; /* 0 = not said */
    int32_t quality;   /* enum sparkplug_quality, of its properties; with has_quality */
    enum sparkplug_field field;
    uint64_t bits;    /* INT … BOOLEAN, as they lie on the wire */
    struct str bytes; /* the others */
};

struct sparkplug_payload {
    bool has_timestamp, has_seq;
    uint64_t timestamp_ms, seq;
    struct str uuid, text; /* text: the payload's own */
    size_t metric_count;
};

/* Reads and checks a whole payload. Errors: SYNTAX; UNSUPPORTED for a compressed one. */
enum err sparkplug_read(struct str text, struct sparkplug_payload *payload, struct why *why);
/* Walks over the metrics of a payload that was read: `at` is a reader_of its text at first. */
bool sparkplug_next(struct reader *at, struct sparkplug_metric *metric);
/* The metric's value as a column of its datatype takes it, for `datatype` (the birth's, where the
 * metric says none). Arrays lie in `arena`. Errors: UNSUPPORTED (no column can hold it), TYPE
 * (value and datatype do not fit), RANGE, NO_MEMORY. */
enum err sparkplug_value(const struct sparkplug_metric *metric, uint32_t datatype,
                         struct arena *arena, struct value *value, struct why *why);

/* Appends the payload's own fields; sparkplug_write_metric for each metric follows. A failure is
 * the buffer's. */
void sparkplug_write_begin(struct buf *out, uint64_t timestamp_ms, bool has_seq, uint64_t seq);
void sparkplug_write_metric(struct buf *out, const struct sparkplug_metric *metric);

#endif
