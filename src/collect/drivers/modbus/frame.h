/* frame.h - Modbus framings: one table row each, sans I/O.
 *
 * A PDU (function code and data) travels in one of three frames: TCP (MBAP header with a
 * transaction id), RTU (address and CRC, no length) and ASCII (hex digits between ':' and CR LF,
 * LRC). Each framing is two functions: put a frame around a PDU, and find the next frame in a run
 * of bytes that may begin with rubbish, hold half a frame, or several. Sources: MODBUS Application
 * Protocol Specification V1.1b3; MODBUS Messaging on TCP/IP Implementation Guide V1.0b
 * section 3.1.3; MODBUS over Serial Line V1.02 sections 2.5.1 (RTU) and 2.5.2 (ASCII). */
#ifndef COLLECT_MODBUS_FRAME_H
#define COLLECT_MODBUS_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MODBUS_PDU_BYTES_MAX = 253,
    MODBUS_FRAME_BYTES_MAX = 1 + 2 * (1 + MODBUS_PDU_BYTES_MAX + 1) + 2, /* the longest, ASCII */
};

struct modbus_frame {
    uint16_t transaction; /* TCP only */
    uint8_t unit;
    const uint8_t *pdu; /* borrowed: the bytes given, or `scratch` */
    size_t pdu_bytes;   /* ≥ 1 when FOUND */
};

enum modbus_frame_found {
    MODBUS_FRAME_FOUND,
    MODBUS_FRAME_MORE,   /* what is there may be the beginning of a frame */
    MODBUS_FRAME_DAMAGE, /* `used` bytes are no frame: skip them */
};

struct modbus_framing {
    const char *name;
    bool has_transaction; /* answers can be told apart */
    /* Writes the frame into `out` (MODBUS_FRAME_BYTES_MAX); gives its size. pdu_bytes 1 …
     * MODBUS_PDU_BYTES_MAX. */
    size_t (*wrap)(const struct modbus_frame *frame, uint8_t *out);
    /* Looks for a response frame at the start of `bytes`; `*used` ≤ size is what FOUND or DAMAGE
     * cover (≥ 1). `scratch` holds MODBUS_PDU_BYTES_MAX + 2 bytes. */
    enum modbus_frame_found (*find)(const uint8_t *bytes, size_t size, uint8_t *scratch,
                                    struct modbus_frame *frame, size_t *used);
};

extern const struct modbus_framing modbus_framing_tcp, modbus_framing_rtu, modbus_framing_ascii;

/* CRC-16 of RTU (polynomial 0xA001 reflected, start 0xFFFF), V1.02 section 6.2.2. */
uint16_t modbus_crc(const uint8_t *bytes, size_t size);
/* LRC of ASCII: two's complement of the sum, section 6.2.1. */
uint8_t modbus_lrc(const uint8_t *bytes, size_t size);

#endif
