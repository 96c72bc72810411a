/* mapping.h - how messages become rows: what a Stream's document says, compiled.
 *
 * A mapping is made once, when its document changes, and never changes itself: so the tasks that
 * read messages share it without asking anybody. It knows nothing of brokers and stores: a topic
 * and a payload in, rows out (packed.h). What it says of a message that does not fit is written for
 * the person who reads the dead letter. Formats are one table (mapping.c). Thread: any. */
#ifndef STREAM_MAPPING_H
#define STREAM_MAPPING_H

#include "base/mem.h"
#include "base/str.h"
#include <stdbool.h>

struct line; /* data/line.h */

/* X(symbol, name): how the messages are written. */
#define MAPPING_FORMAT_TABLE(X)                                                                    \
    X(JSON, "json")                                                                                \
    X(CSV, "csv")                                                                                  \
    X(PROTOBUF, "protobuf")                                                                        \
    X(NEURON, "neuron")                                                                            \
    X(SPARKPLUG, "sparkplug")

enum mapping_format {
#define X(symbol, name) MAPPING_##symbol,
    MAPPING_FORMAT_TABLE(X)
#undef X
        MAPPING_FORMAT_COUNT
};

/* X(symbol, name): what a time is written in. */
#define MAPPING_UNIT_TABLE(X)                                                                      \
    X(AUTO, "auto")                                                                                \
    X(S, "s")                                                                                      \
    X(MS, "ms")                                                                                    \
    X(US, "us")                                                                                    \
    X(NS, "ns")                                                                                    \
    X(RFC3339, "rfc3339")

enum mapping_unit {
#define X(symbol, name) MAPPING_UNIT_##symbol,
    MAPPING_UNIT_TABLE(X)
#undef X
        MAPPING_UNIT_COUNT
};

enum {
    MAPPING_MESSAGE_BYTES_MAX = 8 * 1024 * 1024, /* of the rows of one message */
};

/* As a document has them. */
struct mapping_column {
    struct str name, path, type; /* type "" = as the value is */
};
struct mapping_label {
    struct str name, value; /* value: a template */
};
struct mapping_spec {
    enum mapping_format format;
    struct str filter, table, device; /* templates but the filter; "" = the format's own */
    struct str default_table;         /* what stands for a table that is not given */
    struct str rows, time;            /* paths; "" = the message; the moment of arrival */
    enum mapping_unit unit;
    size_t column_count, label_count, csv_column_count;
    const struct mapping_column *columns; /* none = every plain member of the row */
    const struct mapping_label *labels;
    struct str csv_delimiter; /* one character, or "tab" */
    bool csv_header;          /* the first line has the names */
    const struct str *csv_columns;
    struct str descriptor, message; /* protobuf: a FileDescriptorSet in base64; "package.Type" */
};

/* One that is compiled. */
struct mapping;
/* Errors: INVALID with the text of what is wrong, and in `where` (at least 64 bytes) the field of
 * the spec; NO_MEMORY. Everything is copied. */
enum err mapping_new(const struct mapping_spec *spec, struct mapping **mapping, char *where,
                     struct why *why);
void mapping_free(struct mapping *mapping);               /* NULL allowed */
struct str mapping_filter(const struct mapping *mapping); /* lives as long as it */

/* A message. */
struct mapping_message {
    struct str topic, payload;
    int64_t time_ns; /* arrival: rows without a time get it and the ns behind it, one each */
    size_t offset;   /* in the batch, kept with its rows */
};
/* Appends the rows of a message, or none of them (not of Sparkplug, whose messages depend on each
 * other: sparkplug_host.h). `row` is for the work in between (large: the
 * caller keeps one), `scratch` as well. `*rows`: how many. Errors: SYNTAX, INVALID, TYPE, RANGE,
 * LIMIT, NOT_FOUND: the message does not fit; NO_MEMORY. */
enum err mapping_take(const struct mapping *mapping, const struct mapping_message *message,
                      struct line *row, struct arena *scratch, struct buf *out, size_t *rows,
                      struct why *why);

#endif
