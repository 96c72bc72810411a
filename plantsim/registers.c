/* registers.c - see registers.h.
 *
 * The table names a field of `struct plant` by its offset and C type, so a row is all that a new
 * quantity needs. Rows are of three uses: measured (the plant writes them each step, whatever a
 * client wrote there), command (clients write them, the plant follows), free (nobody but clients
 * touches them). Invariant: every row lies within UNIT_REGISTERS and units 1..5; rows do not
 * overlap (physics_test.c). */
#include "registers.h"
#include "registers_priv.h"
#include <assert.h>
#include <math.h>
#include <string.h>

/* clang-format off */
#define FIELD(type, member) type, offsetof(struct plant, member)
#define PRESS(n, p)                                                                                                            \
    {1, "press0" #p " running", AREA_DISCRETE, 100001 + 100 * (n), CODE_BIT, 0, "", USE_MEASURED, FIELD(FIELD_BOOL, press[n].running), 0, 0},              \
    {1, "press0" #p " enabled", AREA_COIL, 11 + (n), CODE_BIT, 0, "", USE_COMMAND, FIELD(FIELD_BOOL, press[n].enabled), 0, 1},                             \
    {1, "press0" #p " oil temperature", AREA_INPUT, 300001 + 100 * (n), CODE_INT16, 0.1, "°C", USE_MEASURED, FIELD(FIELD_DOUBLE, press[n].temperature_c), 0, 0}, \
    {1, "press0" #p " oil pressure", AREA_INPUT, 300002 + 100 * (n), CODE_UINT16, 0.1, "bar", USE_MEASURED, FIELD(FIELD_DOUBLE, press[n].pressure_bar), 0, 0},   \
    {1, "press0" #p " strokes", AREA_INPUT, 300003 + 100 * (n), CODE_UINT32_ABCD, 1, "", USE_MEASURED, FIELD(FIELD_UINT32, press[n].strokes), 0, 0},       \
    {1, "press0" #p " motor current", AREA_INPUT, 300005 + 100 * (n), CODE_UINT16, 0.01, "A", USE_MEASURED, FIELD(FIELD_DOUBLE, press[n].current_a), 0, 0}

const struct register_row register_rows[] = {
    {1, "setpoint", AREA_HOLDING, 400001, CODE_INT16, 0.1, "°C", USE_FREE, FIELD(FIELD_NONE, day_s), 0, 0},
    {1, "lamp", AREA_COIL, 1, CODE_BIT, 0, "", USE_FREE, FIELD(FIELD_NONE, day_s), 0, 0},
    {1, "tick counter (10 ms, wall time)", AREA_HOLDING, 400011, CODE_UINT32_ABCD, 1, "", USE_MEASURED, FIELD(FIELD_UINT32, ticks), 0, 0},
    PRESS(0, 1),
    PRESS(1, 2),
    PRESS(2, 3),
    {2, "hall temperature", AREA_INPUT, 300001, CODE_INT16, 0.1, "°C", USE_MEASURED, FIELD(FIELD_DOUBLE, hall.temperature_c), 0, 0},
    {2, "hall relative humidity", AREA_INPUT, 300002, CODE_UINT16, 0.1, "%", USE_MEASURED, FIELD(FIELD_DOUBLE, hall.humidity_percent), 0, 0},
    {3, "pump flow", AREA_HOLDING, 400001, CODE_FLOAT_CDAB, 1, "m³/h", USE_MEASURED, FIELD(FIELD_DOUBLE, pump.flow_m3h), 0, 0},
    {3, "pump suction pressure", AREA_HOLDING, 400003, CODE_FLOAT_CDAB, 1, "bar", USE_MEASURED, FIELD(FIELD_DOUBLE, pump.suction_bar), 0, 0},
    {3, "pump discharge pressure", AREA_HOLDING, 400005, CODE_FLOAT_CDAB, 1, "bar", USE_MEASURED, FIELD(FIELD_DOUBLE, pump.discharge_bar), 0, 0},
    {3, "pump bearing temperature", AREA_HOLDING, 400007, CODE_FLOAT_CDAB, 1, "°C", USE_MEASURED, FIELD(FIELD_DOUBLE, pump.bearing_c), 0, 0},
    {3, "pump speed", AREA_HOLDING, 400009, CODE_FLOAT_CDAB, 1, "1/min", USE_MEASURED, FIELD(FIELD_DOUBLE, pump.speed_rpm), 0, 0},
    {3, "pump speed set point", AREA_HOLDING, 400011, CODE_FLOAT_CDAB, 1, "1/min", USE_COMMAND, FIELD(FIELD_DOUBLE, pump.set_speed_rpm), 0, 3000},
    {4, "furnace set point", AREA_HOLDING, 400001, CODE_INT16, 0.1, "°C", USE_COMMAND, FIELD(FIELD_DOUBLE, furnace.set_point_c), 20, 1100},
    {4, "furnace temperature", AREA_INPUT, 300001, CODE_INT16, 0.1, "°C", USE_MEASURED, FIELD(FIELD_DOUBLE, furnace.temperature_c), 0, 0},
    {4, "furnace gas valve", AREA_INPUT, 300002, CODE_UINT16, 0.1, "%", USE_MEASURED, FIELD(FIELD_DOUBLE, furnace.valve_percent), 0, 0},
    {4, "furnace door open", AREA_DISCRETE, 100001, CODE_BIT, 0, "", USE_MEASURED, FIELD(FIELD_BOOL, furnace.door_open), 0, 0},
    {5, "recorded machine temperature", AREA_INPUT, 300001, CODE_FLOAT_ABCD, 1, "°C", USE_MEASURED, FIELD(FIELD_DOUBLE, replay_c), 0, 0},
    {5, "row of the recording", AREA_INPUT, 300003, CODE_UINT32_ABCD, 1, "", USE_MEASURED, FIELD(FIELD_UINT32, replay_row), 0, 0},
};
/* clang-format on */
const size_t register_rows_count = sizeof register_rows / sizeof register_rows[0];

/* Indexed by enum register_code; `high_first`: the word with the high bits lies at the lower
 * address. */
const struct register_code_traits register_codes[] = {
    [CODE_BIT] = {"bit", 1, false, false},
    [CODE_INT16] = {"int16", 1, false, true},
    [CODE_UINT16] = {"uint16", 1, false, true},
    [CODE_UINT32_ABCD] = {"uint32 ABCD", 2, false, true},
    [CODE_FLOAT_ABCD] = {"float ABCD", 2, true, true},
    [CODE_FLOAT_CDAB] = {"float CDAB", 2, true, false},
};

static const char *const use_names[] = {
    [USE_MEASURED] = "measured", [USE_COMMAND] = "command", [USE_FREE] = "free"};

/* ---- a row's value in the plant ---- */

static double field_get(const struct plant *plant, const struct register_row *row)
{
    const char *at = (const char *)plant + row->offset;
    switch (row->field) {
    case FIELD_BOOL: return *(const bool *)at;
    case FIELD_UINT32: return *(const uint32_t *)(const void *)at;
    case FIELD_DOUBLE: return *(const double *)(const void *)at;
    case FIELD_NONE: break;
    }
    return 0;
}

static void field_set(struct plant *plant, const struct register_row *row, double value)
{
    char *at = (char *)plant + row->offset;
    assert(row->use == USE_COMMAND && (row->field == FIELD_BOOL || row->field == FIELD_DOUBLE));
    if (row->field == FIELD_BOOL)
        *(bool *)at = value != 0;
    else
        *(double *)(void *)at = value;
}

/* ---- a row's value in the registers ---- */

static uint8_t *row_bit(const modbus_mapping_t *map, const struct register_row *row)
{
    assert(row->area == AREA_COIL || row->area == AREA_DISCRETE);
    return (row->area == AREA_COIL ? map->tab_bits : map->tab_input_bits) +
           (row->number % 100000 - 1);
}

static uint16_t *row_word(const modbus_mapping_t *map, const struct register_row *row)
{
    assert(row->area == AREA_HOLDING || row->area == AREA_INPUT);
    uint16_t *words = row->area == AREA_HOLDING ? map->tab_registers : map->tab_input_registers;
    return words + (row->number % 100000 - 1);
}

/* The bits that stand for `value`; a value outside the code's range is held at its end. */
static uint32_t encode(const struct register_row *row, double value)
{
    if (register_codes[row->code].is_float) {
        float narrow = (float)value;
        uint32_t bits;
        memcpy(&bits, &narrow, sizeof bits);
        return bits;
    }
    double whole = round(value / row->scale);
    if (row->code == CODE_INT16) return (uint16_t)(int16_t)fmin(INT16_MAX, fmax(INT16_MIN, whole));
    return (uint32_t)fmin(row->code == CODE_UINT16 ? UINT16_MAX : UINT32_MAX, fmax(0, whole));
}

static double decode(const struct register_row *row, uint32_t bits)
{
    if (register_codes[row->code].is_float) {
        float narrow;
        memcpy(&narrow, &bits, sizeof narrow);
        return (double)narrow;
    }
    return row->scale * (row->code == CODE_INT16 ? (double)(int16_t)bits : (double)bits);
}

void register_write(const modbus_mapping_t *map, const struct register_row *row, double value)
{
    if (row->code == CODE_BIT) {
        *row_bit(map, row) = value != 0;
        return;
    }
    uint32_t bits = encode(row, value);
    uint16_t *words = row_word(map, row);
    if (register_codes[row->code].words == 1) {
        words[0] = (uint16_t)bits;
        return;
    }
    bool high_first = register_codes[row->code].high_first;
    words[high_first ? 0 : 1] = (uint16_t)(bits >> 16);
    words[high_first ? 1 : 0] = (uint16_t)bits;
}

double register_read(const modbus_mapping_t *map, const struct register_row *row)
{
    if (row->code == CODE_BIT) return *row_bit(map, row);
    const uint16_t *words = row_word(map, row);
    if (register_codes[row->code].words == 1) return decode(row, words[0]);
    bool high_first = register_codes[row->code].high_first;
    return decode(row, (uint32_t)words[high_first ? 0 : 1] << 16 | words[high_first ? 1 : 0]);
}

/* ---- all rows ---- */

bool units_open(struct units *units, const struct plant *plant)
{
    *units = (struct units){{NULL}};
    for (size_t i = 0; i < register_rows_count; i++) {
        const struct register_row *row = &register_rows[i];
        modbus_mapping_t **map = &units->map[row->unit];
        if (!*map)
            *map =
                modbus_mapping_new(UNIT_REGISTERS, UNIT_REGISTERS, UNIT_REGISTERS, UNIT_REGISTERS);
        if (!*map) return false;
        if (row->use == USE_COMMAND) register_write(*map, row, field_get(plant, row));
    }
    units_publish(units, plant);
    return true;
}

bool units_add_bench(struct units *units, unsigned count, unsigned registers)
{
    assert(registers >= 1 && registers <= REGISTERS_MAX);
    if (count > UNIT_LAST - UNIT_BENCH_FIRST + 1) return false;
    for (unsigned i = 0; i < count; i++) {
        modbus_mapping_t *map = modbus_mapping_new(0, 0, (int)registers, 0);
        if (!map) return false;
        units->map[UNIT_BENCH_FIRST + i] = map;
    }
    return true;
}

void units_close(struct units *units)
{
    for (size_t i = 0; i < UNITS_MAX; i++) {
        if (units->map[i]) modbus_mapping_free(units->map[i]);
        units->map[i] = NULL;
    }
}

void units_publish(struct units *units, const struct plant *plant)
{
    for (size_t i = 0; i < register_rows_count; i++) {
        const struct register_row *row = &register_rows[i];
        if (row->use == USE_MEASURED)
            register_write(units->map[row->unit], row, field_get(plant, row));
    }
}

void units_obey(const struct units *units, struct plant *plant)
{
    for (size_t i = 0; i < register_rows_count; i++) {
        const struct register_row *row = &register_rows[i];
        if (row->use != USE_COMMAND) continue;
        double value = register_read(units->map[row->unit], row);
        /* fmax and fmin give the other argument for NaN, so NaN becomes the lower end. */
        field_set(plant, row, fmin(row->max, fmax(row->min, value)));
    }
}

void units_change_bench(struct units *units, uint32_t second)
{
    for (size_t i = UNIT_BENCH_FIRST; i <= UNIT_LAST; i++) {
        modbus_mapping_t *map = units->map[i];
        for (int r = 0; map && r < map->nb_registers; r++)
            map->tab_registers[r] = (uint16_t)(second + 7u * (unsigned)r + 31u * (unsigned)i);
    }
}

void units_print_map(FILE *out)
{
    fprintf(
        out,
        "| unit | address | type | scale | unit of measure | use | what |\n|---|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < register_rows_count; i++) {
        const struct register_row *row = &register_rows[i];
        char range[64] = "";
        if (row->use == USE_COMMAND && row->code != CODE_BIT)
            snprintf(range, sizeof range, ", %g to %g", row->min, row->max);
        fprintf(out, "| %u | `%u!%06u` | %s | ", row->unit, row->unit, row->number,
                register_codes[row->code].name);
        if (row->code != CODE_BIT) fprintf(out, "%g", row->scale);
        fprintf(out, " | %s | %s%s | %s |\n", row->unit_text, use_names[row->use], range,
                row->name);
    }
}
