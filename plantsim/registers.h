/* registers.h - the demo plant's register map, and the way between plant and registers.
 *
 * One table (registers.c) says where each quantity lies and how it is coded; publishing, obeying
 * commands and the map in README.md all walk it. Registers are libmodbus' own arrays
 * (modbus_mapping_t), so what a client reads and writes is what lies here. Thread: that of the
 * server. */
#ifndef PLANTSIM_REGISTERS_H
#define PLANTSIM_REGISTERS_H
#include "physics.h"
#include <modbus/modbus.h>
#include <stdio.h>

enum {
    UNITS_MAX = 256, /* a unit id is one byte */
    UNIT_LAST = 247, /* highest address of a slave (Modbus over serial line 1.02, section 2.2) */
    UNIT_BENCH_FIRST = 100,
    UNIT_REGISTERS = 400, /* of each of the four areas, in the plant's units */
    REGISTERS_MAX = 65535,
};

/* The units that answer: NULL where there is none. */
struct units {
    modbus_mapping_t *map[UNITS_MAX];
};

/* Makes the plant's units, with the commands' registers set to what `plant` (borrows) holds.
 * Gives false when there is no memory; `units` can then still be closed. */
bool units_open(struct units *units, const struct plant *plant);

/* Adds `count` units from UNIT_BENCH_FIRST on, each with `registers` int16 holding registers
 * (1..REGISTERS_MAX). Gives false when there is no memory or `count` does not fit up to UNIT_LAST.
 */
bool units_add_bench(struct units *units, unsigned count, unsigned registers);

/* Frees all units. */
void units_close(struct units *units);

/* Writes what `plant` measures into the registers. */
void units_publish(struct units *units, const struct plant *plant);

/* Takes what clients wrote into the commands' registers over into `plant`, limited to each
 * command's range. */
void units_obey(const struct units *units, struct plant *plant);

/* Gives every register of the bench units a new value; `second` counts them. */
void units_change_bench(struct units *units, uint32_t second);

/* Prints the map as a Markdown table. */
void units_print_map(FILE *out);

#endif
