/* collect.h - values from equipment into batches, and values to equipment.
 *
 * Watches the registry's Connections and Devices; for each enabled connection it opens the driver's
 * line, polls the devices in aligned cycles, and emits one batch per cycle and table. Lives on the
 * main loop: every call is made there, except where noted. A change of a resource takes effect at
 * the next cycle and leaves other connections alone. */
#ifndef COLLECT_COLLECT_H
#define COLLECT_COLLECT_H

#include "data/batch.h"
#include "loop/context.h"
#include "resource/registry.h"

struct collect;

/* What the collector needs of the rest of the node; bound in `node`. */
struct collect_host {
    /* The current schema, as a share, of the table that a Device names; NULL = no such table yet.
     */
    struct schema *(*find_table)(void *arg, struct str ns, struct str name);
    /* Takes a sealed batch on its way to the log, in every case. BUSY: too much is under way; the
     * rows are lost, and counted (ROWS_REFUSED, sys.connections), while polling goes on. CONFLICT:
     * the table's schema is another by now; the collector looks it up again and hands the rows over
     * once more. */
    enum err (*emit)(void *arg, struct batch *batch);
    /* Records a write to equipment in the audit log before it is sent. */
    void (*audit)(void *arg, const char *user, const char *device, const char *point,
                  const char *value, const char *reason, const char *outcome);
    void *arg;
    struct str node_path; /* prefix of device paths, "" or "acme/sz/plant1"; borrowed */
};

/* Opens connections of what is in the registry now and watches it from then on. */
enum err collect_start(struct context *context, struct registry *registry,
                       const struct collect_host *host, struct collect **collect, struct why *why);
/* Closes all lines. Writes under way finish with CLOSED. */
void collect_stop(struct collect *collect);

/* Schemas may have changed in a way that the registry does not tell (emit can say so too, with
 * CONFLICT). NULL allowed. */
void collect_look_up_tables(struct collect *collect);

/* Checks a Connection or Device against its driver (options, endpoint, addresses, types), before a
 * document is accepted. Adds problems with paths. A Device needs `registry`, in which its
 * Connection (and, for the columns' types, its Table) is looked up; what is not there yet is no
 * problem. NULL checks Connections only. Main loop; without a registry any task. */
void collect_check(struct context *context, const struct registry *registry,
                   const struct resource *resource, struct problems *problems);

/* Writes what the drivers named can do as Markdown: endpoints, options, addresses. */
void collect_describe_drivers(struct context *context, struct buf *out);

/* One write to a point. The caller fills the first block (texts borrowed until done); `done` gets
 * the answer. Errors: NOT_FOUND (device or point), READ_ONLY, RANGE, TYPE, TIMEOUT, DEVICE (the
 * exception), CLOSED, CONNECT, FORBIDDEN. */
struct collect_write {
    struct completion completion;    /* first */
    struct str ns, device, point;    /* device: metadata.name or path */
    struct str value;                /* as text; "true"/"1" for bits, numbers in the point's unit */
    const char *user, *reason;       /* for the audit log */
    struct value written, read_back; /* in the point's unit; text lives in `text` */
    bool has_read_back;
    int64_t time_ns; /* when the equipment confirmed */
    char text[256];
};
void collect_write(struct collect *collect, struct collect_write *write);

/* Reads points of a device now, past the polling cycle. `points` empty = all. The answer is a
 * sealed batch of one row (takes: the caller releases it). */
struct collect_read {
    struct completion completion; /* first */
    struct str ns, device;
    struct str point; /* "" = all */
    struct batch *batch;
};
void collect_read(struct collect *collect, struct collect_read *read);

/* ---- putting a line into operation ---- */

enum {
    COLLECT_TEXT_BYTES = 1024,
    COLLECT_RAW_BYTES = 260,
};

/* Asks equipment once, past everything configured: with an address, for its value; without, who it
 * is. Waits for a line that is not up to try anew. Errors: NOT_FOUND (connection), INVALID
 * (address, type, order), CONFLICT (the connection is off), UNSUPPORTED (the line has no way to ask
 * who), and of the equipment CONNECT, TIMEOUT, DEVICE, PROTOCOL, CLOSED; of these `why` is what it
 * said. */
struct collect_test {
    struct completion completion;                    /* first */
    struct str ns, connection, address, type, order; /* borrowed until done */
    struct value value;                              /* of an address, OK; text lives in `text` */
    bool has_value;
    char text[COLLECT_TEXT_BYTES]; /* or who it is, lines "name: value" */
    int64_t rtt_ns;                /* of the exchange; 0 = there was none */
    uint8_t raw[COLLECT_RAW_BYTES],
        frame[COLLECT_RAW_BYTES]; /* the cells; the frame, if an error */
    size_t raw_size, frame_size;
};
void collect_test(struct collect *collect, struct collect_test *test);

/* One thing that a scan found. */
struct collect_scan_find {
    enum collect_scan_kind {
        COLLECT_SCAN_CELLS, /* cells first … first + count - 1 of a station's area can be read */
        COLLECT_SCAN_STATION, /* who a station is: `text`, lines "name: value" */
        COLLECT_SCAN_REFUSAL, /* what a station answers to any read of the area */
        COLLECT_SCAN_NAME,    /* a value with a name */
    } kind;
    uint32_t station, first, count;
    const char *area;
    struct str address, last_address, text;
};

/* Looks which stations and cells answer, piece by piece: each call does what it can in about a
 * second from step `from` on, and says with `next` where to go on (= total: it is done). Whoever
 * stops calling has stopped the scan. Asks one thing at a time, only where polling leaves room.
 * Errors: NOT_FOUND, INVALID (range), UNSUPPORTED (the driver has no scan), CONNECT (the line is
 * down), BUSY (another scan, or no gap in polling), CLOSED. */
struct collect_scan {
    struct completion completion; /* first */
    struct str ns, connection, range;
    uint64_t from;
    uint64_t next, total;
    struct arena arena; /* of finds; the caller calls collect_scan_free when done */
    struct collect_scan_find *finds;
    size_t find_count, find_capacity;
};
void collect_scan(struct collect *collect, struct collect_scan *scan);
void collect_scan_free(struct collect_scan *scan);

/* ---- what system tables show; taken on the main loop, readable and freed on any task ---- */

struct collect_point_row {
    struct str ns, device, name, table, point, unit, address, access, connection, description;
    enum type type;
    struct value value; /* last; text borrowed from the snapshot */
    int64_t time_ns;    /* of the last reading; 0 = none yet (quality BadWaitingForInitialData) */
    double min, max;    /* NAN = open */
};

enum collect_state { COLLECT_DISABLED, COLLECT_CONNECTING, COLLECT_CONNECTED, COLLECT_DOWN };

struct collect_connection_row {
    struct str ns, name, driver, endpoint;
    enum collect_state state;
    int64_t rtt_ns; /* moving average; 0 = none yet */
    uint64_t requests, errors, timeouts, bytes_in, bytes_out, cycles, missed_cycles, rows_refused;
    char last_error[240];
    uint8_t last_error_frame[64];
    size_t last_error_frame_size;
    int64_t last_error_time_ns;
};

/* A device that is polled. */
struct collect_device_row {
    struct str ns, name;
    bool has_table;
    int64_t last_time_ns;      /* of the newest reading; 0 = none yet */
    size_t good, bad, waiting; /* points by the quality of their last reading */
};

/* Each connection and each device that is polled, now. Main loop; rows are borrowed during the
 * call, which may change nothing here. */
typedef void collect_use_connection(void *arg, const struct collect_connection_row *row);
typedef void collect_use_device(void *arg, const struct collect_device_row *row);
void collect_each_connection(struct collect *collect, collect_use_connection *use, void *arg);
/* Where a walk over the devices is; zero at its beginning. Devices that come and go meanwhile may
 * be missed or met twice. */
struct collect_walk {
    size_t line, device;
};
/* Goes on with at most about `points_max` points, so that a walk over very many never holds the
 * main loop up. False when the walk is over. */
bool collect_walk_devices(struct collect *collect, struct collect_walk *walk, size_t points_max,
                          collect_use_device *use, void *arg);

struct collect_snapshot {
    size_t point_count, connection_count;
    struct collect_point_row *points;
    struct collect_connection_row *connections;
    struct arena arena;
};
/* NULL: no memory. Free with collect_snapshot_free. */
struct collect_snapshot *collect_snapshot(struct collect *collect);
void collect_snapshot_free(struct collect_snapshot *snapshot);

#endif
