/* neuron.h - EMQX Neuron's tag lists (CSV) to points and back.
 *
 * Neuron exports a device's tags as a table with the columns group, interval, name, address,
 * attribute, type, description, decimal, precision and bias (its documentation: "Batch Data Tag
 * Configuration", "Modbus TCP: Address format"). Its Modbus addresses are ours with a suffix for
 * the byte order; what each suffix means is one table, which can be printed and changed. Pure
 * translation: no I/O. Thread: any. */
#ifndef COLLECT_NEURON_H
#define COLLECT_NEURON_H

#include "data/csv.h"

/* One row of the list, as texts; "" where the list has no such column. */
struct neuron_tag {
    struct str group, interval, name, address, attribute, type, description, decimal, precision,
        bias;
    uint32_t line;
};

/* Reads a list; columns are found by the names in its first row, in any order, others are ignored.
 * Errors: INVALID (a column is missing, a quote without end), LIMIT, NO_MEMORY. */
enum err neuron_read(struct str text, struct arena *arena, struct neuron_tag **tags, size_t *count,
                     struct why *why);

/* ---- byte orders ---- */

enum { NEURON_ORDER_ROWS = 9 };

struct neuron_order {
    const char *suffix; /* "#BL"; of strings ".H", ".L" and "." for neither */
    unsigned bytes;     /* 2, 4, 8; 0 = a string's */
    char order[9];      /* "CDAB" */
    unsigned used;      /* by neuron_translate */
};

/* The table as Neuron documents it. */
extern const struct neuron_order neuron_orders[NEURON_ORDER_ROWS];
/* Changes rows of a copy by "#BL=CDAB". Errors: INVALID says what may be given. */
enum err neuron_override(struct neuron_order orders[NEURON_ORDER_ROWS], struct str text,
                         struct why *why);

/* ---- points ---- */

struct neuron_point {
    char address[64], type[24], order[9];
    const char *access; /* "r", "rw", "w" */
    const char *column_type;
    bool stores_changes; /* the tag was subscribed to, not read */
    double scale, offset;
    int precision; /* -1 = none */
};

/* One tag as a point. Errors: INVALID and UNSUPPORTED with the reason; the tag is then left out. */
enum err neuron_translate(const struct neuron_tag *tag,
                          struct neuron_order orders[NEURON_ORDER_ROWS], struct neuron_point *point,
                          struct why *why);

/* A point of a Device, as texts of its document. */
struct neuron_source {
    struct str group, column, address, type, order, access, store, description, scale, offset,
        precision;
    int64_t interval_ms;
    uint32_t unit; /* of addresses without N! */
};

void neuron_add_header(struct buf *out);
/* Adds the row of a point. Errors: UNSUPPORTED when Neuron has no way to say it, NO_MEMORY; a
 * failure of `out` is told by itself. */
enum err neuron_add_row(struct buf *out, const struct neuron_source *source, struct why *why);

#endif
