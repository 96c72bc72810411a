/* driver.h - the interface of a protocol driver: built into Millrace, or a shared object in lib/.
 *
 * A driver is one const `struct millrace_driver`. It is sans I/O: it turns addresses into points,
 * requests into bytes and bytes into replies, and it knows nothing of sockets, clocks or threads.
 * The host owns the line (connecting, back-off), time-outs and retries, the number of requests in
 * flight, the planning of requests, statistics and storage. So the same driver runs on a socket, in
 * the fuzzer and in a simulated world.
 *
 * The model of an address: a line leads to *stations* (units, slaves; a protocol without them uses
 * station 0); a station has *areas* (the driver's table: coils, holding registers…); an area is an
 * array of *cells* of equal size. A point occupies `count` cells from `first` on. The planner
 * merges points into *spans* (station, area, first, count), one request each, and never splits a
 * point.
 *
 * Rules for every operation: it is called on one thread at a time for one line; it does not block,
 * does not keep pointers that it was given, and does not call into the host but through `struct
 * millrace_out`. Nothing it does may read outside the bytes it was given.
 *
 * Versions: a host takes a driver whose `abi` equals MILLRACE_DRIVER_ABI. Operations that come
 * later (values that equipment sends by itself) are appended to the struct; `size_bytes` tells the
 * host which a driver has. A shared object is named millrace-driver-NAME.so, exports `const struct
 * millrace_driver *millrace_driver_entry(void)`, needs this header and a C library only, and lies
 * in lib/ beside the program or in the folder that node.yaml names under `drivers`. */
#ifndef MILLRACE_DRIVER_H
#define MILLRACE_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MILLRACE_DRIVER_ABI   2u
#define MILLRACE_DRIVER_ENTRY "millrace_driver_entry"

enum {
    MILLRACE_REQUEST_BYTES = 1024, /* room that the host gives for one encoded request */
    MILLRACE_WHY_BYTES = 240,
    MILLRACE_SCRATCH_BYTES = 512, /* room for a decoded text */
};
#define MILLRACE_STATION_DEFAULT UINT32_MAX

/* ---- values ---- */

enum millrace_type {
    MILLRACE_BOOL = 1,
    MILLRACE_INT,
    MILLRACE_UINT,
    MILLRACE_DOUBLE,
    MILLRACE_TEXT,
    MILLRACE_BYTES,
};

struct millrace_text {
    const char *at; /* not terminated */
    size_t size;
};

struct millrace_value {
    enum millrace_type type;
    union {
        bool b;
        int64_t i;
        uint64_t u;
        double d;
        struct millrace_text text; /* TEXT (UTF-8), BYTES */
    };
};

/* What became of a request or a value. The host's table says what follows from each: the value's
 * quality, whether to try again, to halve the span, to leave the station alone for a while. */
enum millrace_status {
    MILLRACE_GOOD = 0,
    MILLRACE_BAD_ADDRESS,  /* a cell of the span does not exist: the host halves the span to find it
                            */
    MILLRACE_BAD_FUNCTION, /* the station does not know this kind of request */
    MILLRACE_BAD_VALUE, /* the station refused the value, or the size of the request: halved too */
    MILLRACE_DEVICE_FAILURE, /* the station is broken */
    MILLRACE_BUSY,           /* the station asks to come back later: tried again */
    MILLRACE_NO_PATH,        /* a gateway cannot reach the station */
    MILLRACE_NO_STATION,     /* a gateway got no answer from the station */
    MILLRACE_BAD_DATA,       /* the bytes do not decode */
    MILLRACE_PROTOCOL,       /* the answer does not belong to the request: tried again */
    MILLRACE_ACCEPTED, /* the station works on it: a read is asked again later, a write counts as
                          taken and is read back later */
    MILLRACE_NOT_YET,  /* of a value: it follows from two readings, and this was the first */
    MILLRACE_STATUS_COUNT
};

/* ---- the driver's tables ---- */

enum millrace_option_type { MILLRACE_OPTION_BOOL = 1, MILLRACE_OPTION_INT, MILLRACE_OPTION_TEXT };

/* One option of `Connection.spec.options`. Tables end with a NULL name. */
struct millrace_option {
    const char *name;
    enum millrace_option_type type;
    const char *default_text; /* as in a document */
    int64_t min, max;         /* INT; both 0 = any */
    const char *help_en, *help_zh;
};

struct millrace_option_value { /* same index as the option */
    bool b;
    int64_t i;
    struct millrace_text text; /* valid as long as the line */
};

enum millrace_transport {
    MILLRACE_TCP = 1,
    MILLRACE_TLS,
    MILLRACE_SERIAL, /* "SCHEME:///dev/ttyUSB0?baud=9600&parity=even&stop=1&data=8" */
    MILLRACE_LISTEN, /* equipment dials in: the endpoint is the port to listen on */
    MILLRACE_LOCAL,  /* the files of this machine; see below */
};

/* The LOCAL transport lets a driver look at the machine itself and stay sans I/O: the host reads
 * files for it, on a task that may wait. The endpoint is "SCHEME://", or left out.
 *
 *   request  "#TOKEN\n", then lines "read PATH\n" (at most MILLRACE_LOCAL_FILE_BYTES of a file),
 *            "list PATH\n" (names in a folder, one a line) or "disk PATH\n" ("TOTAL FREE AVAILABLE"
 *            in bytes of the file system there; it can hang on one that is remote), then "\n"
 *   answer   "#TOKEN SIZE\n" and SIZE bytes: for each line, in order, "+N\n" and N bytes, or "-\n"
 *            when it cannot be read
 *
 * Answers come in any order. */
enum { MILLRACE_LOCAL_FILE_BYTES = 32768, MILLRACE_LOCAL_ANSWER_BYTES = 131072 };

/* One form of endpoint, "SCHEME://…". Tables end with a NULL name. */
struct millrace_scheme {
    const char *name;
    enum millrace_transport transport;
    uint16_t port; /* where the endpoint names none; 0 = it must */
    uint32_t
        in_flight_max; /* requests that the framing can tell apart: 1 where answers carry no mark */
    uint32_t in_flight;      /* default of the option inFlight */
    uint32_t silence_tenths; /* SERIAL: silence that a request needs before it, in tenths of the
                                time of one character */
};

/* Kinds of cells. Tables end with a NULL name; a point names its area by index. */
struct millrace_area {
    const char *name; /* "holding register" */
    uint32_t bits_per_cell;
    uint32_t read_cells_max, write_cells_max; /* of one request; write 0 = read only */
    uint32_t cell_count;                      /* cells are numbered 0 … cell_count - 1 */
    uint32_t gap_factor;                      /* cells bridged for each unit of the option maxGap */
};

/* ---- points, spans ---- */

enum millrace_point_flag { MILLRACE_READABLE = 1, MILLRACE_WRITABLE = 2 };

/* A point as configured: texts. */
struct millrace_point_text {
    struct millrace_text address, type, order;
};

/* A point as resolved by `point_parse`. */
struct millrace_point {
    uint32_t station;
    uint32_t area;
    uint32_t first, count;   /* cells; count ≥ 1 */
    uint32_t flags;          /* enum millrace_point_flag */
    enum millrace_type type; /* what `decode` gives and `encode` takes */
    double min, max;         /* of a numeric type: what the encoding can hold; both 0 = any */
    uint8_t own[16];         /* the driver's */
};

struct millrace_span {
    uint32_t station, area, first, count;
};

/* A value of a driver whose values have names. Tables end with a NULL `before`. */
struct millrace_measure {
    const char *before, *after; /* "net." … ".rx" around a name; `after` NULL: `before` is all */
    const char *unit, *help_en, *help_zh;
};

/* What `millrace scan` looks through. */
struct millrace_scan {
    uint32_t station_first, station_last;
    uint32_t area, first, count; /* cells; the areas area … area_last, whole, of a driver that
                                    has `list` */
    uint32_t area_last;
};

/* ---- the driver and its host ---- */

/* Bytes that an operation produces. */
struct millrace_request {
    uint8_t bytes[MILLRACE_REQUEST_BYTES];
    size_t size;
};

struct millrace_reply {
    uint32_t token; /* of the request that it answers */
    enum millrace_status status;
    const uint8_t *payload; /* GOOD reads: the span's cells as `decode` wants them; borrowed during
                               the call. GOOD writes: NULL, or the point's cells as they are now,
                               read back with the same request */
    size_t payload_bytes;
    const char *text;     /* not GOOD: what the station said; static */
    const uint8_t *frame; /* as it arrived, for diagnosis; borrowed during the call */
    size_t frame_bytes;
};

/* Where `receive`, `opened` and `timer` put what they found. Filled by the host. */
struct millrace_out {
    void (*reply)(struct millrace_out *out, const struct millrace_reply *reply);
    /* Bytes that answer no open request: late, foreign, damaged. Counted. `text` static. */
    void (*stray)(struct millrace_out *out, const char *text, const uint8_t *frame,
                  size_t frame_bytes);
    /* For protocols with a handshake or keep-alive. */
    void (*send)(struct millrace_out *out, const void *bytes, size_t size);
    void (*ready)(struct millrace_out *out); /* the handshake is done: requests may follow */
    void (*timer)(struct millrace_out *out,
                  uint32_t delay_ms); /* calls the driver's `timer` once; 0 = never */
    void (*fail)(struct millrace_out *out, const char *text); /* the line is unusable: reconnect */
};

struct millrace_line_config {
    const struct millrace_scheme *scheme;
    const struct millrace_option_value *options;
};

struct millrace_driver {
    uint32_t abi;        /* MILLRACE_DRIVER_ABI */
    uint32_t size_bytes; /* sizeof(struct millrace_driver) of the driver's header */
    const char *name;    /* "modbus" */
    const char *help_en, *help_zh;
    const struct millrace_scheme *schemes;
    const struct millrace_option *options;
    const struct millrace_area *areas;
    size_t line_bytes;        /* of the state of one line; zeroed by the host before line_init */
    size_t receive_bytes_max; /* longest run that `receive` may leave unread: longer ones are
                                 dropped */

    /* Prepares a line's state. May refuse options: false with `why`. */
    bool (*line_init)(void *line, const struct millrace_line_config *config,
                      char why[MILLRACE_WHY_BYTES]);
    /* Gives back what line_init took; NULL when nothing. */
    void (*line_free)(void *line);
    /* The stream was opened anew: nothing of the old one counts. NULL `opened`: requests may follow
     * at once; else the driver calls out->ready when they may. */
    void (*line_reset)(void *line);
    void (*opened)(void *line, struct millrace_out *out);
    void (*timer)(void *line, struct millrace_out *out);

    /* Resolves a point; false with `why`, which names what is wrong and what would be right.
     * Depends on nothing but its arguments. */
    bool (*point_parse)(const struct millrace_line_config *config,
                        const struct millrace_point_text *text, struct millrace_point *point,
                        char why[MILLRACE_WHY_BYTES]);

    /* Encodes a read of `span`; its answer will carry `token` (unique among those in flight, <
     * 65,536). */
    void (*read)(void *line, const struct millrace_span *span, uint32_t token,
                 struct millrace_request *request);
    /* Encodes a write of one point. GOOD, or why the value does not go (BAD_VALUE). */
    enum millrace_status (*write)(void *line, const struct millrace_point *point,
                                  const struct millrace_value *value, uint32_t token,
                                  struct millrace_request *request);
    /* Nobody waits for `token` any more: an answer to it is stray. */
    void (*forget)(void *line, uint32_t token);
    /* Looks at what has arrived and was not yet consumed; gives the number of bytes it is done
     * with. The rest is shown again with more behind it. */
    size_t (*receive)(void *line, const uint8_t *bytes, size_t size, struct millrace_out *out);

    /* Reads one point out of a span's payload; `payload` begins at cell `first` of the point's
     * area. Texts point into the payload or into `scratch`. */
    enum millrace_status (*decode)(const struct millrace_point *point, uint32_t first,
                                   const uint8_t *payload, size_t payload_bytes,
                                   char scratch[MILLRACE_SCRATCH_BYTES],
                                   struct millrace_value *value);

    /* ---- what a driver may leave out (NULL) ---- */

    /* Requests that may be under way at once with these options; NULL: the scheme's in_flight_max.
     */
    uint32_t (*in_flight_max)(const struct millrace_line_config *config);
    /* Encodes the question who a station is (MILLRACE_STATION_DEFAULT: the one of addresses that
     * name none). The payload of its GOOD answer is text, lines "name: value". False: this line has
     * no such question. */
    bool (*identify)(void *line, uint32_t station, uint32_t token,
                     struct millrace_request *request);
    /* Resolves the range that a scan is asked for; false with `why`, which shows a right one. */
    bool (*scan_parse)(const struct millrace_line_config *config, const struct millrace_text *range,
                       struct millrace_scan *scan, char why[MILLRACE_WHY_BYTES]);
    /* Writes the address of a cell as point_parse reads it (with its station), ended by NUL. */
    void (*cell_address)(uint32_t station, uint32_t area, uint32_t cell,
                         char out[MILLRACE_WHY_BYTES]);
    /* For drivers whose values have names, not numbers: tells the address of each value in a span's
     * payload, with its status. */
    void (*list)(uint32_t area, const uint8_t *payload, size_t payload_bytes,
                 void (*found)(void *arg, struct millrace_text address,
                               enum millrace_status status),
                 void *arg);
    /* For the same: what addresses there are, for the manual and for forms. */
    const struct millrace_measure *measures;
};

#endif
