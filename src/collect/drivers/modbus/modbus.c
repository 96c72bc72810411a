/* modbus.c - the Modbus driver: its tables, requests, and which answer belongs to which request.
 *
 * Answers are matched strictly. Over TCP the transaction id names the request, and unit and
 * function must agree too; over RTU and ASCII there is one request at a time, and unit, function
 * and size must be what it asked for. Anything else is stray: a late answer to a request that was
 * given up, or one meant for another master. It is counted and never taken for data. */
#include "collect/drivers/modbus/modbus.h"
#include "base/err.h"
#include "base/reader.h"
#include "collect/drivers/modbus/modbus_priv.h"
#include <stdio.h>
#include <string.h>

enum { PENDING_MAX = 16, EXCEPTION_FLAG = 0x80 };

/* One request that waits for its answer. */
struct pending {
    bool is_open;
    bool goes_on; /* an identity: its first part is in the line's text */
    uint32_t token;
    uint8_t unit, function;
    uint8_t payload_bytes; /* reads, and writes that read back: what the answer must hold */
    uint8_t echo_bytes;    /* writes: how much of the request the answer repeats */
    uint8_t echo[8];
};

struct modbus_line {
    const struct modbus_framing *framing;
    bool write_multiple, reads_back;
    uint8_t unit; /* of stations that are not named */
    /* What one unit has said of itself so far; of which request, counts while that goes on. */
    char identity[MODBUS_IDENTITY_BYTES];
    size_t identity_size;
    uint32_t identity_token;
    struct pending pending[PENDING_MAX];
    uint8_t scratch[MODBUS_PDU_BYTES_MAX + 2];
};

/* ---- tables ---- */

static const struct millrace_scheme schemes[] = {
    {"tcp", MILLRACE_TCP, 502, PENDING_MAX, 4, 0},
    {"tls", MILLRACE_TLS, 802, PENDING_MAX, 4, 0},
    {"rtu", MILLRACE_SERIAL, 0, 1, 1, 35},
    {"ascii", MILLRACE_SERIAL, 0, 1, 1, 0},
    {"rtu+tcp", MILLRACE_TCP, 0, 1, 1, 0},
    {"ascii+tcp", MILLRACE_TCP, 0, 1, 1, 0},
    {"listen+tcp", MILLRACE_LISTEN, 0, PENDING_MAX, 4, 0},
    {NULL, MILLRACE_TCP, 0, 0, 0, 0},
};

static const struct millrace_option options[] = {
    [MODBUS_OPTION_UNIT] = {"unit", MILLRACE_OPTION_INT, "1", 0, 255,
                            "unit of addresses without N!", "地址中没有 N! 时使用的站号"},
    [MODBUS_OPTION_WRITE_MULTIPLE] =
        {"writeMultiple", MILLRACE_OPTION_BOOL, "false", 0, 0,
         "write single coils and registers with functions 15 and 16, for equipment without 5 "
         "and 6",
         "用功能码 15 和 16 写单个线圈和寄存器（设备不支持 5 和 6 时）"},
    [MODBUS_OPTION_FRAMING] =
        {"framing", MILLRACE_OPTION_TEXT, "auto", 0, 0,
         "auto: as the endpoint's scheme says; tcp, rtu or ascii: what the "
         "equipment really speaks there (modems that dial in mostly speak rtu)",
         "帧格式：auto 按地址前缀；或 tcp、rtu、ascii（拨入的 DTU 多为 rtu）"},
    [MODBUS_OPTION_READ_BACK] = {"readBack", MILLRACE_OPTION_TEXT, "separate", 0, 0,
                                 "how a written register is read back: separate request, or fc23: "
                                 "function 23, which writes and reads in one",
                                 "写后回读方式：separate 单独读取；fc23 用功能码 23 一次完成"},
    {NULL, MILLRACE_OPTION_BOOL, NULL, 0, 0, NULL, NULL},
};

/* Limits: V1.1b3 sections 6.1 to 6.12. */
static const struct millrace_area areas[] = {
    [MODBUS_COILS] = {"coil", 1, 2000, 1968, 65536, 16},
    [MODBUS_DISCRETE_INPUTS] = {"discrete input", 1, 2000, 0, 65536, 16},
    [MODBUS_INPUT_REGISTERS] = {"input register", 16, 125, 0, 65536, 1},
    [MODBUS_HOLDING_REGISTERS] = {"holding register", 16, 125, 123, 65536, 1},
    {NULL, 0, 0, 0, 0, 0},
};

static const uint8_t read_functions[] = {
    [MODBUS_COILS] = MODBUS_READ_COILS,
    [MODBUS_DISCRETE_INPUTS] = MODBUS_READ_DISCRETE_INPUTS,
    [MODBUS_INPUT_REGISTERS] = MODBUS_READ_INPUT_REGISTERS,
    [MODBUS_HOLDING_REGISTERS] = MODBUS_READ_HOLDING_REGISTERS,
};

/* Exception codes: V1.1b3 section 7. */
static const struct {
    uint8_t code;
    enum millrace_status status;
    const char *text;
} exceptions[] = {
    {1, MILLRACE_BAD_FUNCTION, "exception 1: illegal function"},
    {2, MILLRACE_BAD_ADDRESS, "exception 2: illegal data address"},
    {3, MILLRACE_BAD_VALUE, "exception 3: illegal data value"},
    {4, MILLRACE_DEVICE_FAILURE, "exception 4: server device failure"},
    {5, MILLRACE_ACCEPTED, "exception 5: acknowledge, still working"},
    {6, MILLRACE_BUSY, "exception 6: server device busy"},
    {7, MILLRACE_DEVICE_FAILURE, "exception 7: negative acknowledge"},
    {8, MILLRACE_DEVICE_FAILURE, "exception 8: memory parity error"},
    {10, MILLRACE_NO_PATH, "exception 10: gateway path unavailable"},
    {11, MILLRACE_NO_STATION, "exception 11: gateway target device failed to respond"},
};

/* ---- the line ---- */

static const struct modbus_framing *const framings[] = {&modbus_framing_tcp, &modbus_framing_rtu,
                                                        &modbus_framing_ascii};
enum { FRAMING_COUNT = sizeof framings / sizeof framings[0] };

static struct str option_text(const struct millrace_line_config *config, enum modbus_option option)
{
    const struct millrace_text *text = &config->options[option].text;
    return (struct str){text->at, text->size};
}

/* By the option, else by the scheme; NULL when the option names none. */
static const struct modbus_framing *find_framing(const struct millrace_line_config *config)
{
    struct str wanted = option_text(config, MODBUS_OPTION_FRAMING);
    struct str scheme = str_of(config->scheme->name);
    if (str_is(wanted, "auto"))
        return str_starts(scheme, "rtu")     ? &modbus_framing_rtu
               : str_starts(scheme, "ascii") ? &modbus_framing_ascii
                                             : &modbus_framing_tcp;
    for (size_t i = 0; i < FRAMING_COUNT; i++)
        if (str_is(wanted, framings[i]->name)) return framings[i];
    return NULL;
}

static bool line_init(void *opaque, const struct millrace_line_config *config,
                      char why[MILLRACE_WHY_BYTES])
{
    struct modbus_line *line = opaque;
    struct str read_back = option_text(config, MODBUS_OPTION_READ_BACK);
    line->framing = find_framing(config);
    line->write_multiple = config->options[MODBUS_OPTION_WRITE_MULTIPLE].b;
    line->reads_back = str_is(read_back, "fc23");
    line->unit = (uint8_t)config->options[MODBUS_OPTION_UNIT].i;
    if (!line->framing) {
        snprintf(why, MILLRACE_WHY_BYTES, "framing must be auto, tcp, rtu or ascii");
    } else if (config->scheme->transport == MILLRACE_SERIAL && line->framing->has_transaction) {
        snprintf(why, MILLRACE_WHY_BYTES, "framing tcp does not go over a serial line");
    } else if (!line->reads_back && !str_is(read_back, "separate")) {
        snprintf(why, MILLRACE_WHY_BYTES, "readBack must be separate or fc23");
    } else {
        return true;
    }
    return false;
}

static uint32_t in_flight_max(const struct millrace_line_config *config)
{
    const struct modbus_framing *framing = find_framing(config);
    return framing && framing->has_transaction ? PENDING_MAX : 1;
}

static void line_reset(void *opaque)
{
    struct modbus_line *line = opaque;
    memset(line->pending, 0, sizeof line->pending);
}

static struct pending *pending_add(struct modbus_line *line, uint32_t token)
{
    struct pending *at = line->pending, *end = line->pending + PENDING_MAX;
    while (at < end && at->is_open) at++;
    MUST(at < end); /* the host keeps to in_flight_max of the scheme */
    *at = (struct pending){.is_open = true, .token = token};
    return at;
}

static void line_forget(void *opaque, uint32_t token)
{
    struct modbus_line *line = opaque;
    for (size_t i = 0; i < PENDING_MAX; i++)
        if (line->pending[i].token == token) line->pending[i].is_open = false;
}

static void finish_request(struct modbus_line *line, const struct pending *pending,
                           const uint8_t *pdu, size_t pdu_bytes, struct millrace_request *request)
{
    struct modbus_frame frame = {(uint16_t)pending->token, pending->unit, pdu, pdu_bytes};
    _Static_assert((int)MODBUS_FRAME_BYTES_MAX <= (int)MILLRACE_REQUEST_BYTES, "fits");
    request->size = line->framing->wrap(&frame, request->bytes);
}

static size_t put_be16(uint8_t *out, uint32_t v)
{
    out[0] = (uint8_t)(v >> 8);
    out[1] = (uint8_t)v;
    return 2;
}

static void line_read(void *opaque, const struct millrace_span *span, uint32_t token,
                      struct millrace_request *request)
{
    struct modbus_line *line = opaque;
    MUST(span->area <= (uint32_t)MODBUS_HOLDING_REGISTERS && span->count >= 1 &&
         span->count <= areas[span->area].read_cells_max);
    struct pending *pending = pending_add(line, token);
    pending->unit = (uint8_t)span->station;
    pending->function = read_functions[span->area];
    pending->payload_bytes = (uint8_t)((span->count * areas[span->area].bits_per_cell + 7) / 8);
    uint8_t pdu[5] = {pending->function};
    put_be16(pdu + 1, span->first);
    put_be16(pdu + 3, span->count);
    finish_request(line, pending, pdu, sizeof pdu, request);
}

/* ---- writing ---- */

static size_t write_coil(const struct modbus_line *line, const struct millrace_point *point,
                         bool on, uint8_t *pdu)
{
    pdu[0] = line->write_multiple ? MODBUS_WRITE_COILS : MODBUS_WRITE_COIL;
    put_be16(pdu + 1, point->first);
    put_be16(pdu + 3, line->write_multiple ? 1 : on ? 0xFF00u : 0u);
    if (!line->write_multiple) return 5;
    pdu[5] = 1;
    pdu[6] = on;
    return 7;
}

/* Result = (register AND and-mask) OR (or-mask AND NOT and-mask), section 6.16. */
static size_t write_register_bit(const struct millrace_point *point, unsigned bit, bool on,
                                 uint8_t *pdu)
{
    pdu[0] = MODBUS_MASK_WRITE_REGISTER;
    put_be16(pdu + 1, point->first);
    put_be16(pdu + 3, 0xFFFFu & ~(1u << bit));
    put_be16(pdu + 5, on ? 1u << bit : 0u);
    return 7;
}

/* Writes first, then reads: section 6.17. */
static size_t write_and_read_registers(const struct millrace_point *point, const uint8_t *registers,
                                       uint8_t *pdu)
{
    pdu[0] = MODBUS_READ_WRITE_REGISTERS;
    put_be16(pdu + 1, point->first);
    put_be16(pdu + 3, point->count);
    put_be16(pdu + 5, point->first);
    put_be16(pdu + 7, point->count);
    pdu[9] = (uint8_t)(point->count * 2);
    memcpy(pdu + 10, registers, (size_t)point->count * 2);
    return 10 + (size_t)point->count * 2;
}

static size_t write_registers(const struct modbus_line *line, const struct millrace_point *point,
                              const uint8_t *registers, uint8_t *pdu)
{
    if (line->reads_back) return write_and_read_registers(point, registers, pdu);
    put_be16(pdu + 1, point->first);
    if (point->count == 1 && !line->write_multiple) {
        pdu[0] = MODBUS_WRITE_REGISTER;
        memcpy(pdu + 3, registers, 2);
        return 5;
    }
    pdu[0] = MODBUS_WRITE_REGISTERS;
    put_be16(pdu + 3, point->count);
    pdu[5] = (uint8_t)(point->count * 2);
    memcpy(pdu + 6, registers, (size_t)point->count * 2);
    return 6 + (size_t)point->count * 2;
}

static enum millrace_status line_write(void *opaque, const struct millrace_point *point,
                                       const struct millrace_value *value, uint32_t token,
                                       struct millrace_request *request)
{
    struct modbus_line *line = opaque;
    MUST(point->flags & MILLRACE_WRITABLE);
    struct modbus_point own = modbus_point_of(point);
    uint8_t pdu[MODBUS_PDU_BYTES_MAX + 8], registers[MODBUS_PDU_BYTES_MAX];
    size_t size;
    if (point->area == MODBUS_COILS) {
        size = write_coil(line, point, value->b, pdu);
    } else if (own.kind == MODBUS_KIND_BIT) {
        size = write_register_bit(point, own.bit, value->b, pdu);
    } else {
        enum millrace_status status = modbus_encode(point, value, registers);
        if (status) return status;
        size = write_registers(line, point, registers, pdu);
    }
    struct pending *pending = pending_add(line, token);
    pending->unit = (uint8_t)point->station;
    pending->function = pdu[0];
    if (pdu[0] == MODBUS_READ_WRITE_REGISTERS)
        pending->payload_bytes = (uint8_t)(point->count * 2);
    else
        pending->echo_bytes = pdu[0] == MODBUS_MASK_WRITE_REGISTER ? 7 : 5;
    memcpy(pending->echo, pdu, pending->echo_bytes);
    finish_request(line, pending, pdu, size, request);
    return MILLRACE_GOOD;
}

/* ---- who is there ---- */

/* Function 43/14, basic identification (stream access), from `object` on: section 6.21. */
static void ask_identity(struct modbus_line *line, const struct pending *pending, uint8_t object,
                         struct millrace_request *request)
{
    const uint8_t pdu[] = {MODBUS_ENCAPSULATED, 14, 1, object};
    finish_request(line, pending, pdu, sizeof pdu, request);
}

static bool line_identify(void *opaque, uint32_t station, uint32_t token,
                          struct millrace_request *request)
{
    struct modbus_line *line = opaque;
    struct pending *pending = pending_add(line, token);
    pending->unit = station == MILLRACE_STATION_DEFAULT ? line->unit : (uint8_t)station;
    pending->function = MODBUS_ENCAPSULATED;
    ask_identity(line, pending, 0, request);
    return true;
}

/* ---- answers ---- */

/* Reads the PDU of an answer to `pending`; status PROTOCOL when it is none. */
static struct millrace_reply read_answer(const struct pending *pending, struct reader pdu)
{
    struct millrace_reply reply = {.token = pending->token,
                                   .status = MILLRACE_PROTOCOL,
                                   .text = "an answer that does not fit the request"};
    struct reader whole = pdu;
    uint8_t function = reader_u8(&pdu);
    if (function == (pending->function | EXCEPTION_FLAG)) {
        uint8_t code = reader_u8(&pdu);
        reply.status = MILLRACE_DEVICE_FAILURE;
        reply.text = "an exception with an unknown code";
        for (size_t i = 0; i < sizeof exceptions / sizeof exceptions[0]; i++)
            if (exceptions[i].code == code) {
                reply.status = exceptions[i].status;
                reply.text = exceptions[i].text;
            }
    } else if (function == pending->function && function == MODBUS_ENCAPSULATED) {
        reply.status = MILLRACE_GOOD; /* modbus_read_identity looks closer */
    } else if (function == pending->function && pending->echo_bytes) {
        const uint8_t *echo = reader_take(&whole, pending->echo_bytes);
        if (echo && reader_left(&whole) == 0 &&
            memcmp(echo, pending->echo, pending->echo_bytes) == 0)
            reply.status = MILLRACE_GOOD;
    } else if (function == pending->function && reader_u8(&pdu) == pending->payload_bytes &&
               reader_left(&pdu) == pending->payload_bytes) {
        reply.payload = reader_take(&pdu, pending->payload_bytes);
        reply.payload_bytes = pending->payload_bytes;
        reply.status = MILLRACE_GOOD;
    }
    return reply;
}

static struct pending *find_pending(struct modbus_line *line, const struct modbus_frame *frame)
{
    for (size_t i = 0; i < PENDING_MAX; i++) {
        struct pending *p = &line->pending[i];
        if (!p->is_open || p->unit != frame->unit ||
            (frame->pdu[0] & ~EXCEPTION_FLAG) != p->function)
            continue;
        if (!line->framing->has_transaction || (uint16_t)p->token == frame->transaction) return p;
    }
    return NULL;
}

static void ask_on(struct modbus_line *line, const struct pending *pending, uint8_t object,
                   struct millrace_out *out)
{
    struct millrace_request request;
    ask_identity(line, pending, object, &request);
    out->send(out, request.bytes, request.size);
}

/* Part of an identity: true when there is more, and it has been asked for. There is room for one:
 * when another unit has answered meanwhile, this one is asked from the beginning. */
static bool asks_on(struct modbus_line *line, struct pending *pending,
                    const struct modbus_frame *frame, struct millrace_out *out,
                    struct millrace_reply *reply)
{
    uint8_t next = 0;
    bool was_begun = pending->goes_on;
    if (was_begun && line->identity_token != pending->token) {
        pending->goes_on = false;
        ask_on(line, pending, 0, out);
        return true;
    }
    if (!was_begun) line->identity_size = 0;
    line->identity_token = pending->token;
    if (!modbus_read_identity(frame->pdu, frame->pdu_bytes, line->identity, &line->identity_size,
                              &next)) {
        reply->status = MILLRACE_BAD_DATA;
        reply->text = "an identification that cannot be read";
        return false;
    }
    reply->payload = (const uint8_t *)line->identity;
    reply->payload_bytes = line->identity_size;
    if (!next) return false;
    pending->goes_on = true;
    ask_on(line, pending, next, out);
    return true;
}

/* `bytes` is the whole frame as it arrived. */
static void take_frame(struct modbus_line *line, const struct modbus_frame *frame, struct str bytes,
                       struct millrace_out *out)
{
    const uint8_t *raw = (const uint8_t *)bytes.at;
    struct pending *pending = find_pending(line, frame);
    if (!pending) {
        out->stray(out, "an answer that nobody waits for (late, or of another unit)", raw,
                   bytes.size);
        return;
    }
    struct millrace_reply reply = read_answer(pending, reader_of(frame->pdu, frame->pdu_bytes));
    if (reply.status == MILLRACE_PROTOCOL && !line->framing->has_transaction) {
        /* Perhaps late: the right one may follow. */
        out->stray(out, "an answer of another size than asked for", raw, bytes.size);
        return;
    }
    if (reply.status == MILLRACE_GOOD && pending->function == MODBUS_ENCAPSULATED &&
        asks_on(line, pending, frame, out, &reply))
        return;
    pending->is_open = false;
    reply.frame = raw;
    reply.frame_bytes = bytes.size;
    out->reply(out, &reply);
}

/* Bytes that look like the beginning of a long frame may be rubbish in front of the answer, which
 * would wait for more until the request timed out. So a whole frame behind them that answers the
 * open request counts. Gives the number of bytes before it, or 0. Not over TCP: there the header
 * frames the stream, and a payload may hold anything. */
static size_t find_behind(struct modbus_line *line, const uint8_t *bytes, size_t size)
{
    for (size_t skip = 1; skip < size && !line->framing->has_transaction; skip++) {
        struct modbus_frame frame;
        size_t used;
        if (line->framing->find(bytes + skip, size - skip, line->scratch, &frame, &used) !=
            MODBUS_FRAME_FOUND)
            continue;
        const struct pending *pending = find_pending(line, &frame);
        if (pending &&
            read_answer(pending, reader_of(frame.pdu, frame.pdu_bytes)).status != MILLRACE_PROTOCOL)
            return skip;
    }
    return 0;
}

static size_t line_receive(void *opaque, const uint8_t *bytes, size_t size,
                           struct millrace_out *out)
{
    struct modbus_line *line = opaque;
    size_t at = 0;
    bool damaged = false;
    while (at < size) {
        struct modbus_frame frame;
        size_t used = 0;
        enum modbus_frame_found found =
            line->framing->find(bytes + at, size - at, line->scratch, &frame, &used);
        if (found == MODBUS_FRAME_MORE) {
            used = find_behind(line, bytes + at, size - at);
            if (!used) break;
            found = MODBUS_FRAME_DAMAGE;
        }
        MUST(used >= 1 && used <= size - at);
        struct str raw = {(const char *)bytes + at, used};
        at += used;
        if (found == MODBUS_FRAME_FOUND)
            take_frame(line, &frame, raw, out);
        else if (!damaged)
            out->stray(out, "bytes that are no frame", bytes + at - used, size - at + used);
        damaged = found == MODBUS_FRAME_DAMAGE;
    }
    return at;
}

const struct millrace_driver modbus_driver = {
    .abi = MILLRACE_DRIVER_ABI,
    .size_bytes = sizeof(struct millrace_driver),
    .name = "modbus",
    .help_en = "Modbus TCP, RTU and ASCII: over TCP, TLS, serial lines, and dialled in",
    .help_zh = "Modbus TCP、RTU 和 ASCII：TCP、TLS、串口以及设备拨入",
    .schemes = schemes,
    .options = options,
    .areas = areas,
    .line_bytes = sizeof(struct modbus_line),
    .receive_bytes_max = 4 * MODBUS_FRAME_BYTES_MAX,
    .line_init = line_init,
    .line_reset = line_reset,
    .point_parse = modbus_point_parse,
    .read = line_read,
    .write = line_write,
    .forget = line_forget,
    .receive = line_receive,
    .decode = modbus_decode,
    .in_flight_max = in_flight_max,
    .identify = line_identify,
    .scan_parse = modbus_scan_parse,
    .cell_address = modbus_cell_address,
};
