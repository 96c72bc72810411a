/* frame_rtu.c - address, PDU, CRC; no length. See frame.h.
 *
 * On a serial line frames are told apart by silence. Over TCP (and on a busy computer) silence
 * means nothing, so the length is taken from the response itself: `shapes` says for each function
 * where it stands. The CRC confirms it; when it does not, one byte is skipped and the search goes
 * on, so rubbish in front of an answer costs nothing but itself. An answer whose function is not in
 * the table cannot be measured and is skipped the same way. */
#include "collect/drivers/modbus/frame.h"
#include "base/err.h"
#include "base/reader.h"
#include <string.h>

enum { CRC_BYTES = 2, EXCEPTION_BYTES = 2 };

uint16_t modbus_crc(const uint8_t *bytes, size_t size)
{
    /* The remainders of the 16 values of a half byte: two look-ups a byte, no large table. */
    static const uint16_t half[16] = {0x0000, 0xCC01, 0xD801, 0x1400, 0xF001, 0x3C00,
                                      0x2800, 0xE401, 0xA001, 0x6C00, 0x7800, 0xB401,
                                      0x5000, 0x9C01, 0x8801, 0x4400};
    unsigned crc = 0xFFFF;
    for (size_t i = 0; i < size; i++) {
        crc = crc >> 4 ^ half[(crc ^ bytes[i]) & 15];
        crc = crc >> 4 ^ half[(crc ^ bytes[i] >> 4) & 15];
    }
    return (uint16_t)crc;
}

static size_t rtu_wrap(const struct modbus_frame *frame, uint8_t *out)
{
    MUST(frame->pdu_bytes >= 1 && frame->pdu_bytes <= MODBUS_PDU_BYTES_MAX);
    out[0] = frame->unit;
    memcpy(out + 1, frame->pdu, frame->pdu_bytes);
    size_t size = 1 + frame->pdu_bytes;
    uint16_t crc = modbus_crc(out, size);
    out[size] = (uint8_t)crc;
    out[size + 1] = (uint8_t)(crc >> 8);
    return size + CRC_BYTES;
}

/* Bytes of a response's PDU: `fixed`, plus the byte at `count_at` where there is one (0 = none). */
static const struct shape {
    uint8_t function, fixed, count_at;
} shapes[] = {
    {1, 2, 1}, {2, 2, 1},  {3, 2, 1},  {4, 2, 1},  {5, 5, 0},
    {6, 5, 0}, {15, 5, 0}, {16, 5, 0}, {22, 7, 0}, {23, 2, 1},
};

/* Function 43/14: a list of objects, each id, length, text. 0 = not one; SIZE_MAX = more bytes
 * needed. */
static size_t identification_bytes(struct reader r)
{
    enum { MEI_READ_DEVICE_ID = 14 };
    reader_skip(&r, 1);
    uint8_t mei = reader_u8(&r);
    if (reader_ok(&r) && mei != MEI_READ_DEVICE_ID) return 0;
    reader_skip(&r, 4); /* code, conformity, more follows, next id */
    uint8_t count = reader_u8(&r);
    for (unsigned i = 0; i < count && reader_ok(&r); i++) {
        reader_skip(&r, 1);
        reader_skip(&r, reader_u8(&r));
    }
    return reader_ok(&r) ? reader_offset(&r) : SIZE_MAX;
}

/* The size of the PDU at `pdu`; 0 = cannot be one, SIZE_MAX = more bytes needed to tell. */
static size_t measure(const uint8_t *pdu, size_t size)
{
    if (size == 0) return SIZE_MAX;
    uint8_t function = pdu[0];
    if (function & 0x80) return EXCEPTION_BYTES;
    if (function == 43) return identification_bytes(reader_of(pdu, size));
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        if (shapes[i].function != function) continue;
        if (shapes[i].count_at == 0) return shapes[i].fixed;
        return size > shapes[i].count_at ? shapes[i].fixed + (size_t)pdu[shapes[i].count_at]
                                         : SIZE_MAX;
    }
    return 0;
}

static enum modbus_frame_found rtu_find(const uint8_t *bytes, size_t size, uint8_t *scratch,
                                        struct modbus_frame *frame, size_t *used)
{
    (void)scratch;
    struct reader r = reader_of(bytes, size);
    uint8_t unit = reader_u8(&r);
    if (!reader_ok(&r)) return MODBUS_FRAME_MORE;
    size_t pdu_bytes = measure(bytes + 1, size - 1);
    *used = 1;
    if (pdu_bytes == SIZE_MAX)
        return size > MODBUS_PDU_BYTES_MAX + 1 ? MODBUS_FRAME_DAMAGE : MODBUS_FRAME_MORE;
    if (pdu_bytes == 0 || pdu_bytes > MODBUS_PDU_BYTES_MAX) return MODBUS_FRAME_DAMAGE;
    const uint8_t *pdu = reader_take(&r, pdu_bytes);
    uint16_t crc = reader_le16(&r);
    if (!reader_ok(&r)) return MODBUS_FRAME_MORE;
    if (crc != modbus_crc(bytes, 1 + pdu_bytes)) return MODBUS_FRAME_DAMAGE;
    *frame = (struct modbus_frame){0, unit, pdu, pdu_bytes};
    *used = reader_offset(&r);
    return MODBUS_FRAME_FOUND;
}

const struct modbus_framing modbus_framing_rtu = {"rtu", false, rtu_wrap, rtu_find};
