/* frame_tcp.c - the MBAP header: transaction, protocol 0, length, unit. See frame.h.
 *
 * The length field frames everything, so a stream stays in step as long as headers are sane. A
 * header that cannot be one (protocol not 0, length outside 2…254) means that the stream is out of
 * step; skipping byte by byte finds the next header. */
#include "collect/drivers/modbus/frame.h"
#include "base/err.h"
#include "base/reader.h"
#include <string.h>

enum { HEADER_BYTES = 7 };

static size_t tcp_wrap(const struct modbus_frame *frame, uint8_t *out)
{
    MUST(frame->pdu_bytes >= 1 && frame->pdu_bytes <= MODBUS_PDU_BYTES_MAX);
    size_t length = frame->pdu_bytes + 1;
    const uint8_t header[HEADER_BYTES] = {(uint8_t)(frame->transaction >> 8),
                                          (uint8_t)frame->transaction,
                                          0,
                                          0,
                                          (uint8_t)(length >> 8),
                                          (uint8_t)length,
                                          frame->unit};
    memcpy(out, header, HEADER_BYTES);
    memcpy(out + HEADER_BYTES, frame->pdu, frame->pdu_bytes);
    return HEADER_BYTES + frame->pdu_bytes;
}

static enum modbus_frame_found tcp_find(const uint8_t *bytes, size_t size, uint8_t *scratch,
                                        struct modbus_frame *frame, size_t *used)
{
    (void)scratch;
    struct reader r = reader_of(bytes, size);
    if (size < HEADER_BYTES + 1) return MODBUS_FRAME_MORE;
    uint16_t transaction = reader_be16(&r), protocol = reader_be16(&r), length = reader_be16(&r);
    if (protocol != 0 || length < 2 || length > MODBUS_PDU_BYTES_MAX + 1) {
        *used = 1;
        return MODBUS_FRAME_DAMAGE;
    }
    uint8_t unit = reader_u8(&r);
    const uint8_t *pdu = reader_take(&r, length - 1u);
    if (!pdu) return MODBUS_FRAME_MORE;
    *frame = (struct modbus_frame){transaction, unit, pdu, length - 1u};
    *used = reader_offset(&r);
    return MODBUS_FRAME_FOUND;
}

const struct modbus_framing modbus_framing_tcp = {"tcp", true, tcp_wrap, tcp_find};
