/* line.h - InfluxDB line protocol: one line of text into a point.
 *
 * measurement[,tag=value…] field=value[,field=value…] [timestamp]
 * Escapes: '\,' '\ ' in measurements; '\,' '\=' '\ ' in tag keys, tag values and field keys; '\"'
 * '\\' in strings (InfluxData, "Line protocol reference", v2). Nothing is allocated but copies of
 * escaped texts. Thread: any. */
#ifndef DATA_LINE_H
#define DATA_LINE_H

#include "base/mem.h"
#include "data/batch.h"

enum {
    LINE_TAGS_MAX = 64,
    LINE_FIELDS_MAX = 1024,
    LINE_BYTES_MAX = 1024 * 1024,
};

struct line_field {
    struct str key;
    struct value value;
    enum type fresh; /* the type of a column made for it; NONE = none is made */
};

/* One row as it was written, whatever the notation (json_rows.h gives the same). */
struct line {
    struct str measurement;
    uint32_t tag_count, field_count;
    uint32_t known; /* line_parse: fields[0…known-1].key are those of lines before */
    struct label tags[LINE_TAGS_MAX]; /* sorted by key; a later one of equal keys wins */
    struct line_field fields[LINE_FIELDS_MAX];
    bool has_time;
    int64_t time_ns;
};

/* Parses one line (without its line end). Texts point into `text` or, when they had escapes, into
 * `scratch`. Lines look alike: a field's key is first compared with that of the same place in the
 * lines before, and taken from there. So line->known is 0 before the first line of a text, and the
 * texts of all lines read into one `line` stay until its last use. `unit_ns` is the length of one
 * timestamp unit. Errors: SYNTAX with the byte's position, RANGE, LIMIT, NO_MEMORY. */
enum err line_parse(struct str text, int64_t unit_ns, struct arena *scratch, struct line *line,
                    struct why *why);

#endif
