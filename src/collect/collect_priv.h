/* collect_priv.h - what the files of the collector share: lines, stations, devices, points, cycles,
 * asks.
 *
 * A *line* is one Connection: a driver's state, a stream, and the queue of *asks* (requests). A
 * *station* is a unit behind it, with its own back-off. A *device* is one Device resource; its
 * *points* fall into the line's *classes* (one for each interval). At an instant when classes are
 * due, their points are read in one *cycle*, which ends as rows.
 *
 * Who owns: collect → lines → devices, stations, classes, cycles. An ask belongs to its cycle,
 * write or station; while it is queued or in flight the line holds it. All on the main loop. */
#ifndef COLLECT_PRIV_H
#define COLLECT_PRIV_H

#include "base/map.h"
#include "collect/collect.h"
#include "collect/planner.h"
#include "millrace/driver.h"
#include "net/tls.h"

enum {
    LINE_IN_FLIGHT_MAX = 16,
    LINE_CLASSES_MAX = 64, /* different intervals on one connection: bits of a mask */
    LINE_CYCLES_MAX = 8,   /* plans kept */
    LINE_AREAS_MAX = 16,
    ERROR_FRAME_BYTES = 64,
    PACKET_BYTES_MAX = 128, /* of a registration or heartbeat */
};
#define NEVER_NS INT64_MAX

/* Bound by the magic that long-lived structs carry: a stale pointer stops the program instead of
 * reading rubbish. */
enum { LINE_MAGIC = 0x4C494E45, CYCLE_MAGIC = 0x4359434C };

/* ---- drivers ---- */

/* Whether a driver has an operation that it may leave out, or be too old to know. */
#define DRIVER_HAS(driver, operation)                                                              \
    ((driver)->size_bytes >=                                                                       \
         offsetof(struct millrace_driver, operation) + sizeof((driver)->operation) &&              \
     (driver)->operation)

/* Options of every polled connection, before the driver's own. */
enum host_option {
    HOST_OPTION_MAX_GAP,
    HOST_OPTION_IN_FLIGHT,
    HOST_OPTION_IN_FLIGHT_PER_UNIT,
    HOST_OPTION_CA,
    HOST_OPTION_CERT,
    HOST_OPTION_KEY,
    HOST_OPTION_SERVER_NAME,
    HOST_OPTION_VERIFY,
    HOST_OPTION_REGISTRATION,
    HOST_OPTION_HEARTBEAT,
    HOST_OPTION_COUNT
};

/* Bytes that equipment which dials in sends by itself; empty = none. */
struct packet {
    uint8_t bytes[PACKET_BYTES_MAX];
    size_t size;
};

/* A Connection's spec, read against its driver. */
struct line_config {
    const struct millrace_driver *driver;
    struct os_address address;
    struct millrace_line_config line;
    struct millrace_option_value *options; /* the driver's; in the arena given */
    struct millrace_option_value host[HOST_OPTION_COUNT];
    struct packet registration, heartbeat; /* LISTEN */
};

/* Reads driver, endpoint and options; adds a problem for each thing wrong. False when there was
 * one. */
bool line_config_read(struct context *context, const struct connection_spec *spec,
                      const struct doc *spec_doc, struct arena *arena, struct line_config *config,
                      struct problems *problems);
extern const struct millrace_option driver_host_options[]; /* of every driver */
/* driver_load.c: a driver by its name, built in or from a shared object; NULL with `why`, which
 * names what there is, or the file and what is wrong with it. */
const struct millrace_driver *driver_find(struct context *context, struct str name,
                                          struct why *why);

/* ---- points ---- */

enum point_convert {
    POINT_NONE, /* does not fit its column, or has no valid address */
    POINT_BOOL,
    POINT_BIGINT,
    POINT_UBIGINT,
    POINT_DOUBLE,
    POINT_SLICE,
};

/* value = (raw × mul + add) / div, rounded to a multiple of 1/round (0 = not). Points with equal
 * scaling share one. */
struct point_scale {
    double mul, add, div, round;
};

/* What only some points need: those that store changes only, or whose values are texts. */
struct point_memory {
    struct value stored;  /* last stored; compared for deadband and store: change */
    uint64_t stored_hash; /* of a text */
    int64_t stored_at_ns; /* mono; 0 = never */
    struct buf text;      /* of the last reading */
};

/* There may be 100,000 of them: mind the size. */
struct point {
    const struct point_spec *spec; /* in the device's resource */
    struct device *device;
    struct station *station;
    struct millrace_point at;
    const struct column *column; /* in the device's schema, NULL = the table has none */
    enum point_convert convert;
    uint32_t problem;                /* quality of a point that cannot be read; 0 = it can */
    char *problem_text;              /* in the line's arena */
    const struct point_scale *scale; /* in the line's arena */
    struct point_memory *memory;     /* in the line's arena; NULL = not needed */
    uint8_t class_index;
    bool is_refused,
        starts_span; /* learned: its address is refused; the cells before it cannot be bridged */
    int64_t refused_until_ns; /* mono */
    struct value last;        /* last reading; a text lies in memory->text */
    int64_t last_time_ns;     /* 0 = none yet */
};

struct device {
    struct resource *resource; /* a share */
    const struct device_spec *spec;
    struct str path; /* absolute */
    struct label *labels;
    uint32_t label_count;
    struct schema *schema; /* a share; NULL = no such table (yet) */
    struct point *points;  /* as many as spec->points */
};

/* Resolves the address, and the scale (shared with `before` where equal; NULL allowed); the column
 * is bound apart. Errors: NO_MEMORY. */
enum err point_prepare(struct point *point, const struct point *before,
                       const struct line_config *config, struct arena *arena);
/* Finds the column and how values get into it. */
void point_bind(struct point *point, struct arena *arena);
/* How values of a driver's type get into a column; POINT_NONE with `why` when they do not. */
enum point_convert point_choose(const struct point_spec *spec, enum millrace_type from,
                                enum type column, char why[MILLRACE_WHY_BYTES]);
/* A raw value in the point's unit. Slices stay where they are. */
struct value point_convert(const struct point *point, const struct millrace_value *raw);
/* The reverse, from text, for writing. Errors: TYPE, RANGE. `value` is what will be read back. */
enum err point_parse_value(const struct point *point, struct str text, struct millrace_value *raw,
                           struct value *value, struct why *why);
/* Whether a reading is to be stored (deadband, store: change, maxSilence); notes it as stored if
 * so. */
bool point_wants_storing(struct point *point, const struct value *value, int64_t now_ns);
/* Keeps a reading for the system tables. */
void point_note(struct point *point, const struct value *value, int64_t time_ns);

/* ---- stations ---- */

struct station {
    struct line *line;
    uint32_t id;
    unsigned in_flight;
    bool is_resting; /* did not answer: only probed, at retry_at_ns */
    uint32_t rest_quality;
    int64_t backoff_ns, retry_at_ns;
    struct ask *probe; /* reads one point; always allocated */
    bool is_probing;
    int64_t busy_until_ns; /* it asked for a pause: nothing is sent to it before; 0 = none */
    /* Where answers carry no mark: reads that were given up, whose answers may still come and would
     * look like that of the next read of the same size. See ask_replied. */
    unsigned owed;
    bool owed_differs;              /* they were not all for the same cells */
    struct millrace_span owed_span; /* of the last one */
};

/* ---- asks ---- */

enum ask_kind { ASK_SPAN, ASK_PROBE, ASK_WRITE, ASK_READ_BACK, ASK_TEST, ASK_IDENTIFY };

struct answer;

struct ask {
    struct ask *next;
    enum ask_kind kind;
    struct millrace_span span;
    struct station *station;
    unsigned tries; /* sent so often */
    int64_t rtt_ns; /* of the last reply */
    int64_t first_sent_ns;
    bool insists;        /* asked although the station rests (reads and writes on demand) */
    struct cycle *cycle; /* SPAN */
    size_t order_first, order_count; /* SPAN: into cycle->order */
    struct writing *writing;         /* WRITE, READ_BACK */
    const struct point *point;       /* names the ask in errors; the first of a span; may be NULL */
    void (*done)(struct ask *ask, const struct answer *answer); /* TEST, IDENTIFY */
    bool is_repeated; /* asked once more, because what came may have been owed */
    bool is_low;      /* goes only when nothing else wants to, and never for long: a scan's */
};

/* How an ask ended. */
struct answer {
    enum err err; /* OK: GOOD with payload; DEVICE: the station said no; TIMEOUT, CONNECT, CLOSED,
                     PROTOCOL */
    enum millrace_status status;
    uint32_t quality; /* for the values, when not OK */
    const char *text;
    const uint8_t *payload;
    size_t payload_bytes;
    int64_t rtt_ns; /* of the last try; 0 = there was no reply */
    const uint8_t *frame;
    size_t frame_bytes;
};

struct in_flight {
    struct ask *ask; /* NULL = free */
    uint32_t token;
    int64_t sent_ns, deadline_ns;
    uint8_t frame[ERROR_FRAME_BYTES];
    size_t frame_size;
};

/* ---- cycles ---- */

struct reading {
    struct point *point;
    uint32_t device;    /* of cycle->devices */
    uint32_t run;       /* cycle->run_number when it has a value */
    bool is_wanted;     /* is to be stored */
    struct value value; /* slices in the run arena */
};

struct cycle_device {
    struct device *device;
    int64_t time_ns;     /* wall, of the first reply; 0 = none yet */
    size_t first, count; /* readings */
};

/* The plan for one set of classes, used again and again; at most one run at a time. */
struct cycle {
    uint32_t magic;
    struct line *line;
    uint64_t mask;
    uint64_t version, used; /* line->plan_version it was made for; for least recently used */
    bool is_running;
    bool has_halved;         /* in this run */
    uint32_t run_number;     /* spares a start the walk over all readings: it must be quick, for the
                                jitter */
    struct arena arena, run; /* the plan; one run's texts and halves */
    size_t reading_count, device_count, ask_count, open_count;
    struct reading *readings;
    struct cycle_device *devices;
    uint32_t *order; /* planner's order → reading */
    struct ask *asks;
    struct collect_read *read; /* ad hoc: the answer goes here instead of into the log */
};

/* Makes the plan of all points of `line` in `mask`, or (device not NULL) of one device's points,
 * `only` or all. NULL: no memory. */
struct cycle *cycle_new(struct line *line, uint64_t mask, struct device *device,
                        const struct point *only);
void cycle_free(struct cycle *cycle);
/* Sends the asks on their way. The line must not hold a running cycle of the same classes. */
void cycle_run(struct cycle *cycle);
void cycle_answer(struct ask *ask, const struct answer *answer);
/* The rows of a finished cycle, one batch a table, to the host (or to the reader). */
void rows_emit(struct cycle *cycle);

/* ---- lines ---- */

struct class
{
    int64_t interval_ns, next_wall_ns;
    bool is_busy;
};

enum line_state {
    LINE_OFF,
    LINE_WAITING,
    LINE_CONNECTING,
    LINE_OPENING,
    LINE_UP,
    LINE_STATE_COUNT
};

struct line {
    uint32_t magic;
    struct collect *collect;
    struct resource *resource; /* a share */
    const struct connection_spec *spec;
    struct arena config_arena; /* config, as long as the line */
    struct line_config config;
    bool is_usable; /* config was read without a problem */
    void *driver_state;
    struct planner_area areas[LINE_AREAS_MAX];
    unsigned in_flight_max, station_in_flight_max;
    bool has_marks;       /* answers tell which request they belong to */
    int64_t silence_ns;   /* before a request, on a serial line */
    int64_t character_ns; /* 0 = as good as none */

    enum line_state state;
    struct os_stream *stream;
    struct door *door;                            /* LISTEN: where its equipment dials in */
    struct tls_dial *tls_dial;                    /* TLS: its certificates are being read */
    int64_t state_deadline_ns, timer_deadline_ns; /* mono; NEVER_NS */
    int64_t backoff_ns;
    bool is_settled; /* connected, or failed to, at least once */
    bool wants_reopen, wants_fail;
    char fail_text[160];
    struct buf received, sending;
    int64_t received_at_ns;
    int64_t busy_until_ns;  /* earliest end of a station's pause; NEVER_NS */
    int64_t quiet_until_ns; /* nothing is sent before: an answer given up may still be on its way */

    struct ask *queue_first, *queue_last;
    struct ask *low_first; /* asks that wait for a gap; newest first, as there is one for a scan */
    struct testing *tests; /* wait for the line to be up */
    struct scanning *scan; /* under way; at most one */
    struct in_flight in_flight[LINE_IN_FLIGHT_MAX];
    unsigned in_flight_count;
    uint16_t next_token;

    struct arena arena; /* devices, points, labels; replaced whole */
    struct device *devices;
    size_t device_count;
    struct map stations; /* id (4 bytes) → struct station * */
    struct class classes[LINE_CLASSES_MAX];
    unsigned class_count;
    struct cycle *cycles[LINE_CYCLES_MAX];
    uint64_t plan_version, cycle_use;
    int64_t refused_retry_ns, probe_at_ns; /* earliest of all; NEVER_NS */
    unsigned running_count;                /* cycles and reads under way */
    bool is_dirty, has_stale_tables;       /* devices changed; tables to be looked up again */
    int64_t tables_again_ns;               /* next look for missing tables */
    struct collect_connection_row stats;
};

/* line.c: queue, sending, time, life */
struct line *line_new(struct collect *collect, struct resource *connection);
void line_free(struct line *line); /* ends everything under way with CLOSED */
void line_start(struct line *line);
/* Puts an ask into the queue (front: before polling) and sends what may be sent. */
void line_ask(struct line *line, struct ask *ask, bool front);
/* The same for one with is_low: it is sent in a gap of polling. */
void line_ask_low(struct line *line, struct ask *ask);
/* Takes an ask back that waits; false when it is under way. */
bool line_take_back(struct line *line, struct ask *ask);
void line_pump(struct line *line);
/* What is due by now: state deadlines, time-outs, probes. */
void line_tick(struct line *line, int64_t now_ns);
int64_t line_next_ns(const struct line *line); /* mono, of line_tick */
bool line_is_up(const struct line *line);
/* Notes an error with the frame at fault (may be NULL). */
void line_note_error(struct line *line, const char *text, const uint8_t *frame, size_t frame_size);
struct station *line_station(struct line *line, uint32_t id); /* finds or makes; NULL: no memory */
/* For receive.c and connect.c: the request that a reply answers (NULL: none), and its end. */
struct in_flight *line_find_slot(struct line *line, uint32_t token);
struct ask *line_free_slot(struct line *line, struct in_flight *slot);
/* Nothing is sent for a while, because an answer given up may still come. */
void line_keep_quiet(struct line *line);
/* Ends all that waits or is under way. */
void line_fail_all(struct line *line, enum err err, const char *text);
/* Puts what is in flight back into the queue, its try not counted. */
void line_requeue(struct line *line);

/* connect.c: the states, and how each transport gets its stream */
enum collect_state line_public_state(const struct line *line);
void line_connect_now(struct line *line);
void line_fail(struct line *line, enum err err, const char *text);
void line_close_stream(struct line *line);
/* Works off what operations on the stream could not do at once. */
void line_settle_wishes(struct line *line);
/* The stay in the state has ended. */
void line_state_ended(struct line *line);
/* The driver says that requests may follow. */
void line_ready(struct line *line);
/* Equipment dialled in (takes the stream); `bytes` came behind its registration. */
void line_take_stream(struct line *line, struct os_stream *stream, const uint8_t *bytes,
                      size_t size);
/* A TLS line's certificates have been read. */
void line_tls_ready(struct line *line, struct tls_config *config, enum err err,
                    const struct why *why);

/* receive.c: bytes on their way through the driver */
void line_receive(struct line *line, const uint8_t *bytes, size_t size);
void line_call_timer(struct line *line);
void line_call_opened(struct line *line);

/* ---- transports ---- */

/* door.c: ports on which equipment dials in, shared by the lines that name the same one. */
enum err door_enter(struct line *line, struct why *why);
void door_leave(struct line *line);
void door_tick(struct collect *collect, int64_t now_ns); /* turns those away who say nothing */
int64_t door_next_ns(const struct collect *collect);

/* local.c: the machine's files as a stream (see millrace/driver.h). `files` reads them. */
enum err local_connect(struct context *context, struct loop *files,
                       const struct os_stream_events *events, void *owner,
                       struct os_stream **stream);

/* tls_dial.c: reads a TLS line's certificates on the files task, then calls line_tls_ready. Errors:
 * NO_MEMORY, LIMIT (a path that no system takes). */
enum err tls_dial_start(struct line *line, struct loop *files, struct why *why);
void tls_dial_cancel(struct line *line);

/* ask.c: what follows from how an exchange ended: another try, two halves, a rest for the station,
 * or the end. */
void ask_replied(struct line *line, struct ask *ask, const struct millrace_reply *reply);
void ask_timed_out(struct line *line, struct ask *ask);
void ask_failed(struct line *line, struct ask *ask, enum err err, const char *text);
void ask_start_probes(struct line *line, int64_t now_ns);
/* The quality of a value that has such a status. */
uint32_t ask_quality(enum millrace_status status);

/* scan.c: gives up where polling leaves no gap */
void scan_tick(struct line *line, int64_t now_ns);
int64_t scan_next_ns(const struct line *line);

/* test.c: those that wait for the line */
void test_line_is_up(struct line *line);
void test_line_failed(struct line *line, enum err err, const char *text);
void test_tick(struct line *line, int64_t now_ns);
int64_t test_next_ns(const struct line *line);

/* ---- writes ---- */

struct writing {
    struct collect_write *request;
    struct line *line;
    struct point *point;
    struct millrace_value raw;
    struct ask ask;
    char device_name[256], point_name[256], value_text[256], user[128], reason[256];
};
void write_answer(struct ask *ask, const struct answer *answer);

/* ---- the whole ---- */

struct collect {
    struct context *context;
    struct registry *registry;
    struct collect_host host;
    char node_path[512];
    struct os_timer *timer;
    int64_t timer_at_ns;     /* mono; NEVER_NS */
    int64_t clock_offset_ns; /* wall - mono at the last look */
    struct line **lines;
    size_t line_count, line_capacity;
    bool is_dirty; /* config_apply has work */
    bool lines_changed;
    bool is_ticking;
    struct door *doors;
    struct loop *files; /* reads files for lines that need some; NULL until the first does */
};

/* The task that reads files, started with the first call. Why a task of its own: a file system may
 * keep it waiting, and neither polling nor queries shall wait with it. */
enum err collect_files(struct collect *collect, struct loop **files, struct why *why);

static inline int64_t collect_now_ns(const struct collect *c)
{
    return context_mono_ns(c->context);
}

/* schedule.c: makes sure that a tick comes at `mono_ns` at the latest. */
void schedule_wake_at(struct collect *collect, int64_t mono_ns);
void schedule_tick(void *collect);
/* Sets each class to its next aligned instant. */
void schedule_align(struct line *line);

/* config.c */
void config_watch(void *arg, const struct resource *old, const struct resource *now);
void config_apply(struct collect *collect);
void config_look_up_tables(struct line *line);
/* Makes the line's devices anew from the registry. No cycle may run. */
void config_build(struct line *line);
void config_free_devices(struct line *line);
struct line *config_find_line(struct collect *collect, struct str ns, struct str name);
/* By metadata.name or path (with or without the node's). */
struct device *config_find_device(struct collect *collect, struct str ns, struct str name,
                                  struct line **line);
struct point *config_find_point(struct device *device, struct str name);

#endif
