/* frame_ascii.c - ':' hex digits LRC CR LF. See frame.h.
 *
 * The colon starts a frame wherever it appears (section 2.5.2.1): what stands before it is rubbish.
 */
#include "collect/drivers/modbus/frame.h"
#include "base/err.h"
#include "base/reader.h"
#include <string.h>

uint8_t modbus_lrc(const uint8_t *bytes, size_t size)
{
    unsigned sum = 0;
    for (size_t i = 0; i < size; i++) sum += bytes[i];
    return (uint8_t)(0u - sum);
}

static size_t put_hex(uint8_t *out, uint8_t byte)
{
    static const char digits[] = "0123456789ABCDEF";
    out[0] = (uint8_t)digits[byte >> 4];
    out[1] = (uint8_t)digits[byte & 15];
    return 2;
}

static size_t ascii_wrap(const struct modbus_frame *frame, uint8_t *out)
{
    MUST(frame->pdu_bytes >= 1 && frame->pdu_bytes <= MODBUS_PDU_BYTES_MAX);
    uint8_t lrc = (uint8_t)(modbus_lrc(frame->pdu, frame->pdu_bytes) - frame->unit);
    size_t size = 0;
    out[size++] = ':';
    size += put_hex(out + size, frame->unit);
    for (size_t i = 0; i < frame->pdu_bytes; i++) size += put_hex(out + size, frame->pdu[i]);
    size += put_hex(out + size, lrc);
    out[size++] = '\r';
    out[size++] = '\n';
    return size;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

/* Decodes `size` hex digits; false when one is none or their number is odd. */
static bool unhex(struct reader *r, size_t size, uint8_t *out)
{
    if (size % 2) return false;
    for (size_t i = 0; i < size / 2; i++) {
        int high = hex_digit(reader_u8(r)), low = hex_digit(reader_u8(r));
        if (high < 0 || low < 0) return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return reader_ok(r);
}

static enum modbus_frame_found ascii_find(const uint8_t *bytes, size_t size, uint8_t *scratch,
                                          struct modbus_frame *frame, size_t *used)
{
    if (size == 0) return MODBUS_FRAME_MORE;
    const uint8_t *colon = memchr(bytes, ':', size);
    *used = colon ? (size_t)(colon - bytes) : size;
    if (colon != bytes) return MODBUS_FRAME_DAMAGE;
    const uint8_t *end = memchr(bytes, '\n', size), *again = memchr(bytes + 1, ':', size - 1);
    if (again && (!end || again < end)) { /* a new frame began before this one ended */
        *used = (size_t)(again - bytes);
        return MODBUS_FRAME_DAMAGE;
    }
    if (!end) {
        if (size < MODBUS_FRAME_BYTES_MAX) return MODBUS_FRAME_MORE;
        *used = size;
        return MODBUS_FRAME_DAMAGE;
    }
    *used = (size_t)(end - bytes) + 1;
    size_t digits = *used - 2; /* without ':' and LF */
    if (digits && bytes[digits] == '\r') digits--;
    struct reader r = reader_of(bytes + 1, digits);
    size_t decoded = digits / 2;
    if (decoded < 3 || decoded > MODBUS_PDU_BYTES_MAX + 2 || !unhex(&r, digits, scratch))
        return MODBUS_FRAME_DAMAGE;
    if (modbus_lrc(scratch, decoded) != 0) return MODBUS_FRAME_DAMAGE;
    *frame = (struct modbus_frame){0, scratch[0], scratch + 1, decoded - 2};
    return MODBUS_FRAME_FOUND;
}

const struct modbus_framing modbus_framing_ascii = {"ascii", false, ascii_wrap, ascii_find};
