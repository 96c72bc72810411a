/* registers_priv.h - the form of the register table; for registers.c and its test. */
#ifndef PLANTSIM_REGISTERS_PRIV_H
#define PLANTSIM_REGISTERS_PRIV_H
#include "registers.h"

enum register_area { AREA_COIL, AREA_DISCRETE, AREA_HOLDING, AREA_INPUT };
enum register_code {
    CODE_BIT,
    CODE_INT16,
    CODE_UINT16,
    CODE_UINT32_ABCD,
    CODE_FLOAT_ABCD,
    CODE_FLOAT_CDAB
};
enum register_use { USE_MEASURED, USE_COMMAND, USE_FREE };
enum register_field {
    FIELD_NONE,
    FIELD_BOOL,
    FIELD_UINT32,
    FIELD_DOUBLE
}; /* C type of the plant's field */

struct register_code_traits {
    const char *name;
    unsigned words; /* registers, or 1 for a bit */
    bool is_float;
    bool high_first; /* of two words */
};

struct register_row {
    uint8_t unit;
    const char *name;
    enum register_area area;
    uint32_t number; /* six digits, 1-based: 400001 is holding register 0 */
    enum register_code code;
    double scale; /* value = integer × scale; bits and floats do not use it */
    const char *unit_text;
    enum register_use use;
    enum register_field field;
    size_t offset;   /* in struct plant */
    double min, max; /* of a command */
};

extern const struct register_row register_rows[];
extern const size_t register_rows_count;
extern const struct register_code_traits register_codes[];

/* Codes `value` into the registers of `row`, and back. `map` (borrows) is that of the row's unit.
 */
void register_write(const modbus_mapping_t *map, const struct register_row *row, double value);
double register_read(const modbus_mapping_t *map, const struct register_row *row);

#endif
