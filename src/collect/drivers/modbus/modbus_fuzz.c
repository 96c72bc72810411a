/* modbus_fuzz.c - properties of the Modbus driver for all framings, whatever the peer sends.
 *
 * The first byte chooses the framing and the requests that are open, the second how the bytes
 * arrive in pieces; the rest is what the peer sends. Claims: a reply carries the token of an open
 * request, and each at most one; the payload of a good one is as long as asked for; what is
 * consumed does not depend on how the bytes were cut; a decoded text lies in the scratch room; what
 * was decoded can be encoded again, and decodes to the same. */
/* covers: src/collect/drivers/modbus/frame_tcp.c src/collect/drivers/modbus/frame_rtu.c
   src/collect/drivers/modbus/frame_ascii.c src/collect/drivers/modbus/modbus.c
   src/collect/drivers/modbus/value.c src/collect/drivers/modbus/explore.c */
#include "collect/drivers/modbus/modbus.h"
#include "collect/drivers/modbus/modbus_priv.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLAIM(is_true) ((is_true) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { SPANS = 4 };

/* One span of each area, with points that decode it in every way. */
static const struct millrace_span spans[SPANS] = {
    {1, 0, 0, 20}, {1, 1, 8, 3}, {1, 2, 0, 12}, {2, 3, 100, 12}};
static const struct {
    const char *type, *order, *bit;
} types[] = {{"int16", "", ""},      {"int16", "BA", ""},       {"uint16", "BA", ""},
             {"uint32", "CDAB", ""}, {"int32", "DCBA", ""},     {"float", "", ""},
             {"double", "", ""},     {"int64", "GHEFCDAB", ""}, {"uint64", "", ""},
             {"string(7)", "", ""},  {"string(8)", "BA", ""},   {"bytes(8)", "", ""},
             {"int8", "", ""},       {"uint8", "BA", ""},       {"bool", "", ""},
             {"bit", "", ".15"}};

struct out {
    struct millrace_out base; /* first */
    const struct millrace_line_config *config;
    unsigned open; /* bit per token */
    unsigned good, refused, stray;
};

static bool is_same(const struct millrace_value *a, const struct millrace_value *b)
{
    switch (a->type) {
    case MILLRACE_BOOL: return a->b == b->b;
    case MILLRACE_INT: return a->i == b->i;
    case MILLRACE_UINT: return a->u == b->u;
    case MILLRACE_DOUBLE: return a->u == b->u; /* bit by bit, NaN too */
    case MILLRACE_TEXT:
    case MILLRACE_BYTES:
        return a->text.size == b->text.size && memcmp(a->text.at, b->text.at, a->text.size) == 0;
    }
    return false;
}

/* A decoded value goes out and comes back as itself. */
static void encode_again(const struct millrace_point *point, const struct millrace_value *value)
{
    uint8_t wire[MODBUS_PDU_BYTES_MAX];
    char scratch[MILLRACE_SCRATCH_BYTES];
    struct millrace_value back;
    if (modbus_area_is_bits(point->area) || modbus_point_of(point).kind == MODBUS_KIND_BIT) return;
    enum millrace_status status = modbus_encode(point, value, wire);
    if (value->type == MILLRACE_DOUBLE && status == MILLRACE_BAD_VALUE) return; /* not finite */
    CLAIM(status == MILLRACE_GOOD);
    CLAIM(modbus_driver.decode(point, point->first, wire, (size_t)point->count * 2, scratch,
                               &back) == MILLRACE_GOOD);
    CLAIM(is_same(value, &back));
}

/* Numbers that do not fit are refused, whatever the type; nothing else is. */
static void encode_any(const struct millrace_point *point, const uint8_t *payload, size_t bytes)
{
    uint8_t wire[MODBUS_PDU_BYTES_MAX];
    char scratch[MILLRACE_SCRATCH_BYTES];
    struct millrace_value value = {.type = point->type}, back;
    if (point->type > MILLRACE_DOUBLE || bytes < 8 || modbus_area_is_bits(point->area) ||
        modbus_point_of(point).kind == MODBUS_KIND_BIT)
        return;
    memcpy(&value.u, payload, 8);
    if (point->type == MILLRACE_BOOL) value.b = payload[0] & 1;
    if (modbus_encode(point, &value, wire) != MILLRACE_GOOD) return;
    CLAIM(modbus_driver.decode(point, point->first, wire, (size_t)point->count * 2, scratch,
                               &back) == MILLRACE_GOOD);
    if (point->type != MILLRACE_DOUBLE) CLAIM(is_same(&value, &back));
}

static void decode_all(const struct out *out, const struct millrace_span *span,
                       const struct millrace_reply *reply)
{
    static const char *const addresses[] = {"000003", "100010", "300001", "2!400101"};
    char why[MILLRACE_WHY_BYTES], scratch[MILLRACE_SCRATCH_BYTES];
    for (size_t t = 0; t < sizeof types / sizeof types[0]; t++) {
        bool is_bit = span->area < 2;
        const char *type = is_bit ? "bit" : types[t].type, *order = is_bit ? "" : types[t].order;
        char address[32];
        int n = snprintf(address, sizeof address, "%s%s", addresses[span->area],
                         is_bit ? "" : types[t].bit);
        struct millrace_point point;
        struct millrace_value value;
        struct millrace_point_text text = {
            {address, (size_t)n}, {type, strlen(type)}, {order, strlen(order)}};
        CLAIM(modbus_driver.point_parse(out->config, &text, &point, why));
        enum millrace_status status = modbus_driver.decode(&point, span->first, reply->payload,
                                                           reply->payload_bytes, scratch, &value);
        CLAIM(status == MILLRACE_GOOD || status == MILLRACE_BAD_DATA);
        encode_any(&point, reply->payload, reply->payload_bytes);
        if (status == MILLRACE_GOOD) encode_again(&point, &value);
        if (status == MILLRACE_GOOD && value.type >= MILLRACE_TEXT)
            CLAIM(value.text.at >= scratch &&
                  value.text.at + value.text.size <= scratch + sizeof scratch);
    }
}

static void on_reply(struct millrace_out *base, const struct millrace_reply *reply)
{
    struct out *out = (struct out *)base;
    CLAIM(reply->token < 32 && (out->open >> reply->token & 1));
    out->open &= ~(1u << reply->token);
    CLAIM(reply->status < MILLRACE_STATUS_COUNT);
    if (reply->status != MILLRACE_GOOD) {
        CLAIM(reply->text != NULL);
        out->refused++;
        return;
    }
    out->good++;
    if (reply->token > SPANS) { /* a write, or who it is */
        CLAIM(reply->payload_bytes == 0 || reply->payload);
        return;
    }
    const struct millrace_span *span = &spans[reply->token - 1];
    CLAIM(reply->payload_bytes == (span->area < 2 ? (span->count + 7) / 8 : span->count * 2));
    decode_all(out, span, reply);
}

static void on_stray(struct millrace_out *base, const char *text, const uint8_t *frame,
                     size_t frame_bytes)
{
    CLAIM(text && (frame_bytes == 0 || frame));
    ((struct out *)base)->stray++;
}

/* Who it is may take several questions; nobody answers them here. */
static void on_send(struct millrace_out *base, const void *bytes, size_t size)
{
    (void)base;
    CLAIM(bytes && size >= 7 && size <= MILLRACE_REQUEST_BYTES);
}

static void open_requests(void *line, struct out *out, unsigned which, bool one)
{
    struct millrace_request request;
    char why[MILLRACE_WHY_BYTES];
    for (unsigned i = 0; i < SPANS; i++) {
        if (one && i != which % (SPANS + 1)) continue;
        modbus_driver.read(line, &spans[i], i + 1, &request);
        CLAIM(request.size >= 8 && request.size <= sizeof request.bytes);
        out->open |= 1u << (i + 1);
    }
    if (!one || which % (SPANS + 1) == SPANS) {
        CLAIM(modbus_driver.identify(line, 1, 6, &request));
        out->open |= 1u << 6;
    }
    if (one) return;
    struct millrace_point point;
    struct millrace_point_text text = {{"400001", 6}, {"uint16", 6}, {"", 0}};
    struct millrace_value value = {.type = MILLRACE_UINT, .u = 513};
    CLAIM(modbus_driver.point_parse(out->config, &text, &point, why));
    CLAIM(modbus_driver.write(line, &point, &value, 5, &request) == MILLRACE_GOOD);
    out->open |= 1u << 5;
}

/* Feeds the bytes in pieces of `step` (0 = all at once). */
static void feed(const uint8_t *bytes, size_t size, uint8_t choice, size_t step, struct out *out)
{
    static const char *const schemes[] = {"tcp", "rtu+tcp", "ascii+tcp"};
    struct millrace_option_value options[4] = {{.i = 1},
                                               {.b = (choice & 64) != 0},
                                               {.text = {"auto", 4}},
                                               {.text = {"fc23", choice & 128 ? 4 : 0}}};
    if (!(choice & 128)) options[3].text = (struct millrace_text){"separate", 8};
    const struct millrace_scheme *scheme = modbus_driver.schemes;
    while (strcmp(scheme->name, schemes[choice % 3]) != 0) scheme++;
    struct millrace_line_config config = {scheme, options};
    char why[MILLRACE_WHY_BYTES];
    void *line = calloc(1, modbus_driver.line_bytes);
    uint8_t *held = malloc(size ? size : 1);
    CLAIM(line && held && modbus_driver.line_init(line, &config, why));
    modbus_driver.line_reset(line);
    *out = (struct out){.base = {.reply = on_reply, .stray = on_stray, .send = on_send},
                        .config = &config};
    open_requests(line, out, choice / 3u, scheme->in_flight_max == 1);
    size_t count = 0;
    for (size_t at = 0; at < size;) {
        size_t piece = step && step < size - at ? step : size - at;
        memcpy(held + count, bytes + at, piece);
        at += piece;
        count += piece;
        size_t done = modbus_driver.receive(line, held, count, &out->base);
        CLAIM(done <= count);
        memmove(held, held + done, count - done);
        count -= done;
        if (count > modbus_driver.receive_bytes_max) count = 0;
    }
    free(held);
    free(line);
}

/* Ranges and identifications, straight from the bytes. */
static void explore(const uint8_t *bytes, size_t size)
{
    const struct millrace_option_value options[4] = {{.i = 1}};
    const struct millrace_line_config config = {modbus_driver.schemes, options};
    struct millrace_text range = {(const char *)bytes, size};
    struct millrace_scan scan;
    char why[MILLRACE_WHY_BYTES] = "", text[MODBUS_IDENTITY_BYTES];
    size_t used = 0;
    uint8_t next = 0;
    if (modbus_driver.scan_parse(&config, &range, &scan, why)) {
        CLAIM(scan.count >= 1 && scan.first + scan.count <= 65536);
        CLAIM(scan.station_first <= scan.station_last && scan.station_last <= 255);
        modbus_driver.cell_address(scan.station_last, scan.area, scan.first, why);
    }
    CLAIM(why[0]);
    for (int i = 0; i < 3; i++) {
        if (!modbus_read_identity(bytes, size, text, &used, &next)) continue;
        CLAIM(used <= sizeof text);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct out whole, pieces;
    if (size < 2) return 0;
    explore(bytes, size);
    feed(bytes + 2, size - 2, bytes[0], 0, &whole);
    feed(bytes + 2, size - 2, bytes[0], 1 + bytes[1] % 40u, &pieces);
    if (bytes[0] % 3 == 0) CLAIM(whole.good == pieces.good && whole.refused == pieces.refused);
    return 0;
}
