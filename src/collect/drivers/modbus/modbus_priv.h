/* modbus_priv.h - what the files of the Modbus driver share. */
#ifndef COLLECT_MODBUS_PRIV_H
#define COLLECT_MODBUS_PRIV_H

#include "base/str.h"
#include "collect/drivers/modbus/frame.h"
#include "millrace/driver.h"

/* Function codes (V1.1b3 section 6). */
enum modbus_function {
    MODBUS_READ_COILS = 1,
    MODBUS_READ_DISCRETE_INPUTS = 2,
    MODBUS_READ_HOLDING_REGISTERS = 3,
    MODBUS_READ_INPUT_REGISTERS = 4,
    MODBUS_WRITE_COIL = 5,
    MODBUS_WRITE_REGISTER = 6,
    MODBUS_WRITE_COILS = 15,
    MODBUS_WRITE_REGISTERS = 16,
    MODBUS_MASK_WRITE_REGISTER = 22,
    MODBUS_READ_WRITE_REGISTERS = 23,
    MODBUS_ENCAPSULATED = 43,
};

/* Rows of the area table, in its order. */
enum modbus_area {
    MODBUS_COILS,
    MODBUS_DISCRETE_INPUTS,
    MODBUS_INPUT_REGISTERS,
    MODBUS_HOLDING_REGISTERS
};

static inline bool modbus_area_is_bits(uint32_t area)
{
    return area <= (uint32_t)MODBUS_DISCRETE_INPUTS;
}

/* Rows of the driver's option table, in its order. */
enum modbus_option {
    MODBUS_OPTION_UNIT,
    MODBUS_OPTION_WRITE_MULTIPLE,
    MODBUS_OPTION_FRAMING,
    MODBUS_OPTION_READ_BACK
};

/* How a value lies in its cells. */
enum modbus_kind {
    MODBUS_KIND_BIT,  /* a coil, or one bit of a register */
    MODBUS_KIND_BOOL, /* a register: 0 is false */
    MODBUS_KIND_SIGNED,
    MODBUS_KIND_UNSIGNED,
    MODBUS_KIND_FLOAT,
    MODBUS_KIND_TEXT,
    MODBUS_KIND_BYTES,
};

enum { MODBUS_NO_BIT = 0xFF, MODBUS_TEXT_BYTES_MAX = 240 };

/* The driver's part of a point (millrace_point.own). */
struct modbus_point {
    uint8_t kind;     /* enum modbus_kind */
    uint8_t bytes;    /* of the value: 1, 2, 4, 8, or of the text */
    uint8_t bit;      /* of a register, 0 = lowest; MODBUS_NO_BIT */
    bool is_swapped;  /* texts: low byte of each register first; 8-bit values: the high byte of the
                         register */
    uint8_t order[8]; /* order[i] = significance (0 = highest) of the i-th byte on the wire */
};
_Static_assert(sizeof(struct modbus_point) <= sizeof(((struct millrace_point *)0)->own), "fits");

struct modbus_point modbus_point_of(const struct millrace_point *point);

/* address.c: see driver.h, point_parse. */
bool modbus_point_parse(const struct millrace_line_config *config,
                        const struct millrace_point_text *text, struct millrace_point *point,
                        char why[MILLRACE_WHY_BYTES]);

/* value.c: see driver.h, decode. */
enum millrace_status modbus_decode(const struct millrace_point *point, uint32_t first,
                                   const uint8_t *payload, size_t payload_bytes,
                                   char scratch[MILLRACE_SCRATCH_BYTES],
                                   struct millrace_value *value);
/* The registers of a value as they go over the wire, point->count × 2 bytes. BAD_VALUE when it does
 * not fit. */
enum millrace_status modbus_encode(const struct millrace_point *point,
                                   const struct millrace_value *value,
                                   uint8_t out[MODBUS_PDU_BYTES_MAX]);

/* explore.c: see driver.h. */
bool modbus_scan_parse(const struct millrace_line_config *config, const struct millrace_text *range,
                       struct millrace_scan *scan, char why[MILLRACE_WHY_BYTES]);
void modbus_cell_address(uint32_t station, uint32_t area, uint32_t cell,
                         char out[MILLRACE_WHY_BYTES]);
enum { MODBUS_IDENTITY_BYTES = 1000 };
/* Adds what an answer of function 43/14 (its PDU) says to `text`, lines "name: value"; `*next` gets
 * the object to go on with, 0 = it was all. False: not such an answer. */
bool modbus_read_identity(const uint8_t *pdu, size_t pdu_bytes, char text[MODBUS_IDENTITY_BYTES],
                          size_t *text_size, uint8_t *next);

#endif
