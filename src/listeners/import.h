/* import.h - rows as CSV over HTTP: POST /v1/import, what `millrace import` sends files to.
 *
 * The request says what the columns are (the table below); the table says of what types, and
 * `types` those of columns that it does not have yet. A row that is wrong is left out and named by
 * line and column, the others are kept. Where a bigint column that came by writing meets a
 * fraction, the column becomes double, for refusing what follows would lose most of a file. The
 * answer waits until all are as durable as the table promises. Rows are upserts, so that a body may
 * be sent again after a failure. Thread: the main loop, but for import_read_rows. */
#ifndef LISTENERS_IMPORT_H
#define LISTENERS_IMPORT_H

#include "data/csv_value.h"
#include "listeners/service.h"

enum {
    IMPORT_CHUNK_BYTES = 4 * 1024 * 1024, /* of text that go into a batch */
    IMPORT_OPEN_MAX = 4,                  /* batches on their way to the log */
    IMPORT_FRUITLESS_MAX = 10,            /* waits for memory without a row in between */
    IMPORT_LABELS_MAX = 64,
    IMPORT_ERRORS_SHOWN = 5, /* unless the request wants more … */
    IMPORT_ERRORS_MAX = 1000 /* … up to these */
};

/* X(parameter, help): all are optional but `table`. Lists are rows of CSV, so that names may hold
 * commas. */
#define IMPORT_PARAMS(X)                                                                           \
    X(table, "where the rows go; made if missing")                                                 \
    X(ns, "its namespace")                                                                         \
    X(columns, "names of the columns; without it the first row has them")                          \
    X(types, "name:type of columns that the table lacks; name:- leaves one out")                   \
    X(time, "the column of the time; default: time")                                               \
    X(time_format, "its notation; default: found out")                                             \
    X(zone, "of times without an offset; default: UTC")                                            \
    X(start, "of files without times: that of the first row")                                      \
    X(step, "... and the distance of two rows")                                                    \
    X(first_row, "... and the number of the body's first row, from 0")                             \
    X(device, "the column of the device; default: device")                                         \
    X(device_name, "the device of all rows, or what stands before the column's")                   \
    X(labels, "columns that are labels of the device; those named label.NAME always are")          \
    X(delimiter, "one character, tab or space; default: comma")                                    \
    X(decimal, "comma: 1,5 is one and a half")                                                     \
    X(first_line, "number of the body's first line, for errors; default: 1")                       \
    X(errors, "so many refused rows are told; default: 5")

#define IMPORT_LABEL_PREFIX "label."

struct import_params {
#define X(name, help) struct str name;
    IMPORT_PARAMS(X)
#undef X
};

/* Where a field of a row goes. */
enum import_use { IMPORT_SKIP = 0, IMPORT_TIME, IMPORT_DEVICE, IMPORT_LABEL, IMPORT_COLUMN };
struct import_target {
    enum import_use use;
    const char *name;            /* in the exchange's arena */
    const struct column *column; /* COLUMN: of the schema */
};

struct import {
    struct http_exchange *exchange;
    struct service *service;
    struct import_params params;
    bool is_limited; /* each device has to be looked at */
    size_t target_count;
    struct import_target *targets; /* in the exchange's arena */
    struct csv_rules rules;
    struct zone zone;
    bool has_start;
    int64_t start_ns, step_ns;
    uint64_t row_number; /* of the next row, from 0 */
    uint64_t errors_max;
    struct schema *schema, *wanted; /* shares; wanted: with columns to be defined */
    unsigned rounds;                /* definitions tried */
    uint16_t widen_id;  /* 0, or the column that is to become double before reading goes on */
    struct buf widened; /* their names as JSON, with commas between */
    struct store_define define;
    /* The worker's while is_working. */
    struct csv_reader reader;
    struct str rest; /* of the body */
    struct arena scratch;
    struct job job;
    struct completion back;
    struct batch *batch;
    uint64_t batch_rows, refused;
    struct buf errors;  /* JSON objects with commas between */
    char device[1024];  /* as written in the row before … */
    bool has_device;    /* … and of this batch … */
    uint32_t device_at; /* … where it has this index */
    char allowed[1024]; /* path looked at last, "" = none */
    /* The main loop's. */
    bool is_working;
    bool is_waiting;       /* for the memory of batches on their way, or … */
    struct room_wait wait; /* … when there are none, for that of others */
    size_t need_bytes;     /* what the last wait asked for */
    unsigned fruitless;    /* waits since the last row */
    unsigned open_count;
    uint64_t stored;
    enum err err; /* the first that is no row's */
    struct why why;
};

/* POST /v1/import. */
void api_import(struct http_exchange *exchange, void *arg);

/* Reads the parameters and the header. */
enum err import_plan(struct import *import, struct why *why);
/* Finds the table and what becomes of each column. import->wanted set: has to be defined first,
 * then this is called again. */
enum err import_bind(struct import *import, struct why *why);
/* On a worker: rows into import->batch until a chunk is full, or up to a row for which a column has
 * to be widened (import->widen_id). Errors are no row's: memory, and
 * LIMIT where a batch can hold no single row. */
enum err import_read_rows(struct import *import, struct why *why);

#endif
