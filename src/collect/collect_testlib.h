/* collect_testlib.h - for the collector's tests: a node's surroundings in small, and equipment that
 * misbehaves on demand.
 *
 * The world is one real loop with a registry and a host that keeps the rows it is given. The
 * equipment is a Modbus server of our own on a loopback port: real peers are the business of the
 * scenario tests; this one exists because no real peer splits its answers, sends them late, or
 * keeps quiet when told. All on the loop; the test calls through world_call. */
#ifndef COLLECT_TESTLIB_H
#define COLLECT_TESTLIB_H

#include "collect/collect.h"
#include "collect/drivers/modbus/frame.h"
/* Each test takes of this what it needs. */
#pragma GCC diagnostic ignored "-Wunused-function"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    FAKE_STREAMS = 8,
    WORLD_BATCHES = 4096,
    AUDIT_BYTES = 4096,
    WAIT_S = 10 /* for what comes within 0.1 s where nothing else runs */
};

struct equipment {
    struct os *os;
    const struct modbus_framing *framing;
    struct os_listener *listener;
    struct os_stream *streams[FAKE_STREAMS];
    struct os_address at;
    uint16_t registers[256];
    bool coils[64];
    uint16_t first_bad, last_bad; /* registers that do not exist; 0, 0 = none */
    unsigned silent_unit;         /* does not answer; 0 = all do */
    unsigned exception;           /* answered to everything; 0 = none */
    bool splits, sends_rubbish, sends_foreign;
    int64_t delay_ns; /* of answers; one waits at a time, a second goes at once */
    struct os_timer *timer;
    uint8_t late[MODBUS_PDU_BYTES_MAX];
    struct modbus_frame late_frame; /* pdu NULL = none waits */
    bool in_order;                  /* a second answer waits for the first, and then as long */
    struct {
        struct modbus_frame frame;
        uint8_t pdu[MODBUS_PDU_BYTES_MAX];
    } behind[FAKE_STREAMS];
    size_t behind_count;
    unsigned exceptions_left; /* how many times `exception` is answered; 0 = always */
    unsigned requests, largest_count, accepted;
    struct buf received;
};

struct world {
    struct context context;
    struct loop main;
    struct registry *registry;
    struct collect *collect;
    struct schema *schema;
    struct batch *batches[WORLD_BATCHES];
    size_t batch_count;
    bool conflicts_once;
    char audit[AUDIT_BYTES];
    struct equipment plc;
};

/* ---- calls from the test's thread onto the loop ---- */

struct call {
    struct job job;
    void (*what)(struct world *w, void *arg);
    struct world *world;
    void *arg;
    _Atomic bool done;
};

static void run_call(struct job *job)
{
    struct call *call = (struct call *)job;
    call->what(call->world, call->arg);
    atomic_store(&call->done, true);
}

static void world_call(struct world *w, void (*what)(struct world *, void *), void *arg)
{
    struct call call = {.job = {.run = run_call}, .what = what, .world = w, .arg = arg};
    loop_post(&w->main, &call.job);
    while (!atomic_load(&call.done)) usleep(200);
}

/* ---- the equipment ---- */

static void fake_send(struct equipment *plc, struct os_stream *stream,
                      const struct modbus_frame *frame)
{
    uint8_t out[3 * MODBUS_FRAME_BYTES_MAX];
    size_t size = 0;
    if (plc->sends_rubbish && !plc->framing->has_transaction) {
        static const uint8_t rubbish[] = {0x55, 0xAA, 0x03};
        memcpy(out, rubbish, sizeof rubbish);
        size = 3;
    }
    if (plc->sends_foreign) {
        struct modbus_frame foreign = *frame;
        foreign.unit = 77;
        size += plc->framing->wrap(&foreign, out + size);
    }
    size += plc->framing->wrap(frame, out + size);
    size_t step = plc->splits ? 1 : size;
    for (size_t i = 0; i < size; i += step) {
        assert_int_equal(os_stream_write(stream, out + i, step), ERR_OK);
        if (plc->splits) usleep(300);
    }
}

static uint16_t be16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static bool hits_bad(const struct equipment *plc, unsigned first, unsigned count)
{
    return plc->last_bad && first <= plc->last_bad && first + count > plc->first_bad;
}

/* Answers one request into `out`; gives the size. */
static size_t fake_answer(struct equipment *plc, const uint8_t *pdu, uint8_t *out)
{
    unsigned first = be16(pdu + 1), count = be16(pdu + 3);
    bool reads = pdu[0] <= 4;
    out[0] = pdu[0];
    if (plc->exception || (reads && hits_bad(plc, first, count))) {
        out[0] |= 0x80;
        out[1] = (uint8_t)(plc->exception ? plc->exception : 2);
        if (plc->exceptions_left && --plc->exceptions_left == 0) plc->exception = 0;
        return 2;
    }
    if (reads && count > plc->largest_count) plc->largest_count = count;
    switch (pdu[0]) {
    case 1:
    case 2:
        out[1] = (uint8_t)((count + 7) / 8);
        memset(out + 2, 0, out[1]);
        for (unsigned i = 0; i < count; i++)
            out[2 + i / 8] |= (uint8_t)(plc->coils[first + i] << i % 8);
        return 2u + out[1];
    case 3:
    case 4:
        out[1] = (uint8_t)(count * 2);
        for (unsigned i = 0; i < count; i++) {
            out[2 + i * 2] = (uint8_t)(plc->registers[first + i] >> 8);
            out[3 + i * 2] = (uint8_t)plc->registers[first + i];
        }
        return 2u + out[1];
    case 23:
        for (unsigned i = 0; i < be16(pdu + 7); i++)
            plc->registers[be16(pdu + 5) + i] = be16(pdu + 10 + i * 2);
        out[1] = (uint8_t)(count * 2);
        for (unsigned i = 0; i < count; i++) {
            out[2 + i * 2] = (uint8_t)(plc->registers[first + i] >> 8);
            out[3 + i * 2] = (uint8_t)plc->registers[first + i];
        }
        return 2u + out[1];
    case 5: plc->coils[first] = pdu[3] == 0xFF; break;
    case 6: plc->registers[first] = (uint16_t)count; break;
    case 16:
        for (unsigned i = 0; i < count; i++) plc->registers[first + i] = be16(pdu + 6 + i * 2);
        break;
    case 22:
        plc->registers[first] =
            (uint16_t)((plc->registers[first] & count) | (be16(pdu + 5) & ~count));
        memcpy(out, pdu, 7);
        return 7;
    default:
        out[0] |= 0x80;
        out[1] = 1;
        return 2;
    }
    memcpy(out, pdu, 5);
    return 5;
}

/* Bytes of a request's frame, or 0 when more are needed. ASCII ends with LF; RTU is measured by its
 * function. */
static size_t fake_request(struct equipment *plc, uint8_t *pdu, struct modbus_frame *frame)
{
    const uint8_t *in = (const uint8_t *)plc->received.at;
    size_t size = plc->received.size, used = 0;
    uint8_t scratch[MODBUS_PDU_BYTES_MAX + 2];
    if (plc->framing == &modbus_framing_rtu) {
        if (size < 8 || (in[1] == 16 && size < 9u + in[6])) return 0;
        used = in[1] == 16 ? 9u + in[6] : in[1] == 22 ? 10 : 8;
        *frame = (struct modbus_frame){0, in[0], in + 1, used - 3};
    } else if (plc->framing->find(in, size, scratch, frame, &used) != MODBUS_FRAME_FOUND) {
        return 0;
    }
    memcpy(pdu, frame->pdu, frame->pdu_bytes);
    return used;
}

static void fake_send_all(struct equipment *plc, const struct modbus_frame *frame)
{
    for (size_t i = 0; i < FAKE_STREAMS; i++)
        if (plc->streams[i]) fake_send(plc, plc->streams[i], frame);
}

static void send_late(void *arg)
{
    struct equipment *plc = arg;
    fake_send_all(plc, &plc->late_frame);
    plc->late_frame.pdu = NULL;
    if (!plc->behind_count) return;
    plc->late_frame = plc->behind[0].frame;
    memcpy(plc->late, plc->behind[0].pdu, plc->late_frame.pdu_bytes);
    plc->late_frame.pdu = plc->late;
    memmove(&plc->behind[0], &plc->behind[1], --plc->behind_count * sizeof plc->behind[0]);
    plc->os->ops->timer_set(plc->timer, plc->delay_ns ? plc->delay_ns : 1000000);
}

/* Lays the answer aside for later; false when it is to go at once. */
static bool delay(struct equipment *plc, const struct modbus_frame *frame)
{
    if (plc->in_order && plc->late_frame.pdu && plc->behind_count < FAKE_STREAMS) {
        plc->behind[plc->behind_count].frame = *frame;
        memcpy(plc->behind[plc->behind_count++].pdu, frame->pdu, frame->pdu_bytes);
        return true;
    }
    if (!plc->delay_ns || plc->late_frame.pdu) return false;
    memcpy(plc->late, frame->pdu, frame->pdu_bytes);
    plc->late_frame = *frame;
    plc->late_frame.pdu = plc->late;
    plc->os->ops->timer_set(plc->timer, plc->delay_ns);
    return true;
}

static void fake_read(void *owner, const uint8_t *bytes, size_t size)
{
    struct equipment *plc = owner;
    uint8_t pdu[MODBUS_PDU_BYTES_MAX], out[MODBUS_PDU_BYTES_MAX];
    struct modbus_frame frame;
    size_t used;
    buf_add(&plc->received, bytes, size);
    while ((used = fake_request(plc, pdu, &frame)) != 0) {
        buf_drop_front(&plc->received, used);
        plc->requests++;
        if (frame.unit == plc->silent_unit) continue;
        frame.pdu_bytes = fake_answer(plc, pdu, out);
        frame.pdu = out;
        if (delay(plc, &frame)) continue;
        fake_send_all(plc, &frame);
    }
}

/* One client at a time: the newer one replaces the older. */
static void fake_accept(void *owner, struct os_stream *stream)
{
    static const struct os_stream_events events = {.on_read = fake_read};
    struct equipment *plc = owner;
    os_stream_own(stream, &events, plc);
    os_stream_close(&plc->streams[0]);
    buf_clear(&plc->received);
    plc->streams[0] = stream;
    plc->accepted++;
}

static void fake_start(struct world *w, void *arg)
{
    (void)arg;
    struct equipment *plc = &w->plc;
    if (!plc->timer)
        assert_int_equal(plc->os->ops->timer_make(w->main.task, send_late, plc, &plc->timer),
                         ERR_OK);
    if (!plc->at.kind) assert_int_equal(os_address_tcp(STR("127.0.0.1:0"), &plc->at, NULL), ERR_OK);
    assert_int_equal(w->context.os->ops->listen(w->main.task, &plc->at, fake_accept, plc,
                                                &plc->listener, &plc->at, NULL),
                     ERR_OK);
}

static void fake_stop(struct world *w, void *arg)
{
    (void)arg;
    if (w->plc.listener) w->context.os->ops->listener_close(w->plc.listener);
    w->plc.listener = NULL;
    if (w->plc.timer) w->context.os->ops->timer_close(w->plc.timer);
    w->plc.timer = NULL;
    w->plc.late_frame.pdu = NULL;
    for (size_t i = 0; i < FAKE_STREAMS; i++) os_stream_close(&w->plc.streams[i]);
    buf_free(&w->plc.received);
}

/* ---- the host ---- */

static struct schema *host_find_table(void *arg, struct str ns, struct str name)
{
    struct world *w = arg;
    return w->schema && str_is(ns, w->schema->ns) && str_is(name, w->schema->name)
               ? schema_share(w->schema)
               : NULL;
}

static enum err host_emit(void *arg, struct batch *batch)
{
    struct world *w = arg;
    assert_true(batch->sealed);
    if (w->conflicts_once || w->batch_count == WORLD_BATCHES) {
        batch_release(batch);
        w->conflicts_once = false;
        return w->batch_count == WORLD_BATCHES ? ERR_BUSY : ERR_CONFLICT;
    }
    w->batches[w->batch_count++] = batch;
    return ERR_OK;
}

static void host_audit(void *arg, const char *user, const char *device, const char *point,
                       const char *value, const char *reason, const char *outcome)
{
    struct world *w = arg;
    size_t at = strlen(w->audit);
    snprintf(w->audit + at, sizeof w->audit - at, "%s %s.%s=%s (%s): %s\n", user, device, point,
             value, reason, outcome);
}

/* ---- the world ---- */

static void load(struct world *w, void *arg)
{
    struct why why = WHY_NONE;
    enum err err = registry_load_yaml(w->registry, str_of(arg), "test.yaml", &why);
    if (err) print_error("%s\n", why_text(&why, err));
    assert_int_equal(err, ERR_OK);
}

static void start_collect(struct world *w, void *arg)
{
    (void)arg;
    struct collect_host host = {host_find_table, host_emit, host_audit, w, STR("acme")};
    assert_int_equal(collect_start(&w->context, w->registry, &host, &w->collect, NULL), ERR_OK);
}

static void stop_collect(struct world *w, void *arg)
{
    (void)arg;
    collect_stop(w->collect);
    w->collect = NULL;
}

static void swallow(void *arg, const char *line, size_t size)
{
    (void)arg;
    (void)line;
    (void)size;
}

static struct world *world_new(void)
{
    struct world *w = calloc(1, sizeof *w);
    w->context.os = os_real_new();
    w->context.main = &w->main;
    w->context.diag.write = swallow;
    w->plc.framing = &modbus_framing_tcp;
    w->plc.os = w->context.os;
    budget_init(&w->context.memory, "node", NULL, 64 << 20);
    assert_int_equal(loop_start(&w->main, w->context.os, "main", 0, NULL), ERR_OK);
    w->registry = registry_new(w->context.os);
    return w;
}

static void world_free(struct world *w)
{
    if (w->collect) world_call(w, stop_collect, NULL);
    world_call(w, fake_stop, NULL);
    loop_stop(&w->main);
    for (size_t i = 0; i < w->batch_count; i++) batch_release(w->batches[i]);
    registry_free(w->registry);
    schema_release(w->schema);
    assert_int_equal(w->context.memory.used_bytes, 0);
    os_real_free(w->context.os);
    free(w);
}

/* Waits until `test` says yes; fails after `seconds`. */
struct wait {
    bool (*test)(struct world *w, void *arg);
    void *arg;
    bool yes;
};

static void try_wait(struct world *w, void *arg)
{
    struct wait *wait = arg;
    wait->yes = wait->test(w, wait->arg);
}

static void world_wait(struct world *w, double seconds, bool (*test)(struct world *, void *),
                       void *arg)
{
    struct wait wait = {test, arg, false};
    int64_t end = w->context.os->ops->mono_ns(w->context.os) + (int64_t)(seconds * 1e9);
    for (;;) {
        world_call(w, try_wait, &wait);
        if (wait.yes) return;
        if (w->context.os->ops->mono_ns(w->context.os) > end)
            fail_msg("waited %g s in vain", seconds);
        usleep(2000);
    }
}

/* The cell of the newest row that has `column`; absent ones are passed over. */
static bool newest_cell(struct world *w, const char *column, struct value *value, int64_t *time)
{
    const struct column *c = schema_find(w->schema, str_of(column));
    for (size_t i = w->batch_count; i-- > 0;) {
        const struct vector *v = batch_find_column(w->batches[i], c->id);
        for (uint32_t row = v ? v->count : 0; row-- > 0;) {
            *value = vector_get(v, row);
            if (value->quality == QUALITY_NO_DATA) continue;
            *time = w->batches[i]->time[row];
            return true;
        }
    }
    return false;
}

/* ---- the documents, and what is asked of them ---- */

#define CONNECTION(scheme, extra)                                                                  \
    "apiVersion: millrace.io/v1\nkind: Connection\nmetadata: {name: plc}\n"                        \
    "spec: {driver: modbus, endpoint: \"" scheme                                                   \
    "://127.0.0.1:%u\", timeout: 100ms, retries: 1, maxBackoff: 500ms" extra "}\n---\n"
#define DEVICE(name, points)                                                                       \
    "apiVersion: millrace.io/v1\nkind: Device\nmetadata: {name: " name                             \
    ", labels: {site: sz, area: hall}}\n"                                                          \
    "spec:\n  path: hall/" name                                                                    \
    "\n  table: t\n  connection: plc\n  interval: 20ms\n  points:\n" points
#define POINT(text) "    - {" text "}\n"

static int setup(void **state)
{
    struct world *w = world_new();
    w->schema = schema_new("default", "t", 1);
    static const struct {
        const char *name;
        enum type type;
    } columns[] = {{"a", TYPE_DOUBLE},  {"b", TYPE_DOUBLE}, {"c", TYPE_DOUBLE},
                   {"d", TYPE_DOUBLE},  {"n", TYPE_BIGINT}, {"lamp", TYPE_BOOL},
                   {"flag", TYPE_BOOL}, {"name", TYPE_TEXT}};
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++)
        assert_int_equal(schema_add_column(w->schema, 0, columns[i].name, columns[i].type,
                                           COLUMN_OWNER_DOCUMENT, "", "", NULL),
                         ERR_OK);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    world_free(*state);
    return 0;
}

/* Starts equipment and collector with a manifest that names the port once. */
static void begin(struct world *w, const char *manifest)
{
    char text[8192];
    world_call(w, fake_start, NULL);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(text, sizeof text, manifest, w->plc.at.port);
#pragma GCC diagnostic pop
    world_call(w, load, text);
    world_call(w, start_collect, NULL);
}

struct want {
    const char *column;
    double number;
    uint32_t quality;
};

static bool has_cell(struct world *w, void *arg)
{
    const struct want *want = arg;
    struct value v;
    int64_t time;
    if (!newest_cell(w, want->column, &v, &time)) return false;
    if (want->quality) return v.is_null && v.quality == want->quality;
    if (v.is_null) return false;
    return v.type == TYPE_DOUBLE ? v.d == want->number
           : v.type == TYPE_BOOL ? v.b == (want->number != 0)
                                 : v.i == (int64_t)want->number;
}

static void want_number(struct world *w, const char *column, double number)
{
    world_wait(w, WAIT_S, has_cell, &(struct want){column, number, 0});
}

static void want_quality(struct world *w, const char *column, int quality)
{
    world_wait(w, WAIT_S, has_cell, &(struct want){column, 0, (uint32_t)quality});
}

struct write_call {
    struct collect_write write;
    _Atomic bool done;
};

static void on_written(struct completion *c)
{
    atomic_store(&((struct write_call *)c)->done, true);
}

static void start_write(struct world *w, void *arg)
{
    struct write_call *call = arg;
    completion_init(&call->write.completion, &w->main, on_written);
    collect_write(w->collect, &call->write);
}

static struct write_call *put(struct world *w, const char *point, const char *value)
{
    static struct write_call call;
    memset(&call, 0, sizeof call);
    call.write.ns = STR("default");
    call.write.device = STR("press");
    call.write.point = str_of(point);
    call.write.value = str_of(value);
    call.write.user = "ann";
    call.write.reason = "test";
    world_call(w, start_write, &call);
    while (!atomic_load(&call.done)) usleep(500);
    return &call;
}

struct read_call {
    struct collect_read read;
    _Atomic bool done;
};

static void on_was_read(struct completion *c)
{
    atomic_store(&((struct read_call *)c)->done, true);
}

static void start_read(struct world *w, void *arg)
{
    struct read_call *call = arg;
    completion_init(&call->read.completion, &w->main, on_was_read);
    collect_read(w->collect, &call->read);
}

#endif
