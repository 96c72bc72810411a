/* batch.h - an immutable columnar set of rows of one table: what travels from every input to the
 * log, the head, rules and readers.
 *
 * Life: batch_new → batch_add_device / batch_begin_row / batch_set… (one owner, growing) →
 * batch_seal (immutable from here) → shared by reference count across threads → the last release
 * frees it. A sealed batch holds each row key (device, time) once: of rows with equal keys the
 * later one's present cells win (upsert within the batch), done by batch_seal. */
#ifndef DATA_BATCH_H
#define DATA_BATCH_H

#include "base/map.h"
#include "data/schema.h"
#include "data/vector.h"
#include <stdatomic.h>

enum arrival { ARRIVAL_LIVE = 0, ARRIVAL_LATE, ARRIVAL_BACKFILL, ARRIVAL_REPLAY };
enum {
    BATCH_ROWS_MAX = 65536, /* one log record */
    BATCH_CELLS_MAX =
        4 * 1024 * 1024, /* rows × columns: bounds what a small record may blow up to */
    BATCH_BYTES_MAX = 16 * 1024 * 1024,
};

struct label {
    struct str key, value;
};

struct batch_device {
    struct str path; /* without the node's own prefix removed: absolute */
    uint32_t label_count;
    struct label *labels; /* sorted by key */
    uint32_t series;      /* set by the store when the batch is appended; 0 before */
};

struct batch_column {
    uint16_t id;        /* of the schema */
    struct vector data; /* count = row_count; always has null and quality arrays until sealed */
};

struct batch {
    _Atomic uint32_t refs;
    struct schema *schema; /* shared */
    uint64_t seq;          /* given by the log; 0 before */
    enum arrival arrival;
    uint32_t row_count, row_capacity;
    int64_t *time;    /* ns */
    uint32_t *device; /* index into devices */
    uint32_t device_count;
    size_t device_capacity;
    struct batch_device *devices;
    struct map device_at; /* while growing, once there are many: path → index + 1 */
    uint32_t column_count;
    size_t column_capacity;
    struct batch_column *columns; /* those present in any row; sorted by id once sealed */
    uint16_t *column_at;          /* while growing: column id → position + 1 */
    bool sealed;
    bool arena_columns; /* the columns' arrays live in the arena (a decoded batch) */
    size_t size_bytes;  /* estimate of the memory held, counted in `budget` until release */
    struct budget *budget;
    struct arena arena;
};

/* An empty batch for rows of `schema` (shares it). */
struct batch *batch_new(struct schema *schema, struct budget *budget);
struct batch *batch_share(struct batch *batch);
void batch_release(struct batch *batch); /* NULL allowed */

/* Adds a device (path and labels copied) or finds it again; gives its index. */
enum err batch_add_device(struct batch *batch, struct str path, const struct label *labels,
                          uint32_t label_count, uint32_t *index);
/* Starts the next row. Errors: LIMIT (BATCH_ROWS_MAX), NO_MEMORY, BUDGET; the batch stays usable.
 */
enum err batch_begin_row(struct batch *batch, uint32_t device, int64_t time_ns);
/* Sets a cell of the row begun last; slices are copied. `column` belongs to batch->schema and
 * value->type equals its type (or value->is_null). */
enum err batch_set(struct batch *batch, const struct column *column, const struct value *value);
/* Takes the row begun last back (a row with an error must not stay half). */
void batch_drop_row(struct batch *batch);
/* Resolves equal keys, sorts rows by (device, time), drops unneeded null/quality arrays. */
enum err batch_seal(struct batch *batch);
const struct vector *batch_find_column(const struct batch *batch, uint16_t column_id); /* or NULL */

#endif
