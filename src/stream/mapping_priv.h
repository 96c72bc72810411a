/* mapping_priv.h - what the files of the mapping share. */
#ifndef STREAM_MAPPING_PRIV_H
#define STREAM_MAPPING_PRIV_H

#include "data/csv.h"
#include "stream/mapping.h"
#include "stream/packed.h"
#include "stream/path.h"
#include "stream/protobuf.h"

enum { MAPPING_LABELS_MAX = LINE_TAGS_MAX - 1 };

struct column_plan {
    struct str name;
    struct path path;
    enum type type; /* NONE = as the value is */
};

struct label_plan {
    struct str name;
    struct template value;
};

struct mapping {
    struct arena arena; /* of all that follows */
    enum mapping_format format;
    struct str filter;
    struct template table, device; /* device without parts: the format names it */
    struct path rows, time;
    enum mapping_unit unit;
    size_t column_count, label_count, csv_column_count, skip_count;
    struct column_plan *columns;
    struct label_plan *labels; /* sorted by name */
    struct csv_format csv;
    bool csv_header;
    struct str *csv_columns;
    const struct protobuf_message *message; /* of format protobuf */
    struct str *skips; /* members of rows that are no columns, where none are listed */
};

/* A message that is being taken. */
struct taking {
    const struct mapping *mapping;
    const struct mapping_message *message;
    const struct payload *root;
    struct str device; /* where the mapping has no template for it */
    struct line *row;
    struct arena *scratch;
    struct buf *out;
    size_t before; /* the text's size when it began */
    size_t rows;
    struct why *why;
};

/* What a message is taken with. */
struct taking mapping_begin(const struct mapping *mapping, const struct mapping_message *message,
                            struct line *row, struct arena *scratch, struct buf *out,
                            struct why *why);
/* A row of the tree: device, time, labels, columns. */
enum err mapping_add_row(struct taking *t, const struct payload *row);
/* The same in parts, for formats that know their columns themselves. */
enum err mapping_begin_row(struct taking *t, const struct payload *row);
enum err mapping_add_field(struct taking *t, struct str name, const struct value *value,
                           enum type fresh);
enum err mapping_end_row(struct taking *t);
/* Puts a column's name into a form that the store takes: / is written as a dot, + # " @ and control
 * characters as _, and a name that is reserved gets a _ behind it. */
enum err mapping_name(struct taking *t, struct str name, struct str *out);

/* mapping_csv.c */
enum err mapping_take_csv(struct taking *t);
/* mapping_neuron.c */
enum err mapping_take_neuron(struct taking *t);

#endif
