/* address.c - "1!400011.3", "uint32", "CDAB" become a point.
 *
 * Six digits: the first names the area, the other five are the cell, counted from 1. Five-digit
 * addresses (40001) are refused rather than guessed: they cannot name cells above 9999, and read as
 * six digits they would mean a coil. The list of types is one table. */
#include "collect/drivers/modbus/modbus_priv.h"
#include "base/num.h"
#include <stdio.h>
#include <string.h>

#define TEXT_ARGS(s) (int)((s).size > 60 ? 60 : (s).size), (s).at

static const struct {
    char digit;
    enum modbus_area area;
} area_digits[] = {
    {'0', MODBUS_COILS},
    {'1', MODBUS_DISCRETE_INPUTS},
    {'3', MODBUS_INPUT_REGISTERS},
    {'4', MODBUS_HOLDING_REGISTERS},
};

/* `bytes` 0: given in brackets. Neuron's spellings are aliases. */
static const struct type_row {
    const char *name;
    enum modbus_kind kind;
    uint8_t bytes;
    enum millrace_type type;
    double min, max;
} types[] = {
    {"bit", MODBUS_KIND_BIT, 0, MILLRACE_BOOL, 0, 0},
    {"bool", MODBUS_KIND_BOOL, 2, MILLRACE_BOOL, 0, 0},
    {"int8", MODBUS_KIND_SIGNED, 1, MILLRACE_INT, -128, 127},
    {"uint8", MODBUS_KIND_UNSIGNED, 1, MILLRACE_UINT, 0, 255},
    {"int16", MODBUS_KIND_SIGNED, 2, MILLRACE_INT, -32768, 32767},
    {"uint16", MODBUS_KIND_UNSIGNED, 2, MILLRACE_UINT, 0, 65535},
    {"int32", MODBUS_KIND_SIGNED, 4, MILLRACE_INT, -2147483648.0, 2147483647.0},
    {"uint32", MODBUS_KIND_UNSIGNED, 4, MILLRACE_UINT, 0, 4294967295.0},
    {"int64", MODBUS_KIND_SIGNED, 8, MILLRACE_INT, -9223372036854775808.0, 9223372036854775807.0},
    {"uint64", MODBUS_KIND_UNSIGNED, 8, MILLRACE_UINT, 0, 18446744073709551615.0},
    {"float", MODBUS_KIND_FLOAT, 4, MILLRACE_DOUBLE, 0, 0},
    {"double", MODBUS_KIND_FLOAT, 8, MILLRACE_DOUBLE, 0, 0},
    {"string", MODBUS_KIND_TEXT, 0, MILLRACE_TEXT, 0, 0},
    {"bytes", MODBUS_KIND_BYTES, 0, MILLRACE_BYTES, 0, 0},
};
enum { TYPE_ROWS = sizeof types / sizeof types[0] };

static bool refuse(char why[MILLRACE_WHY_BYTES], const char *text, struct str subject)
{
    snprintf(why, MILLRACE_WHY_BYTES, "'%.*s': %s", TEXT_ARGS(subject), text);
    return false;
}

struct modbus_point modbus_point_of(const struct millrace_point *point)
{
    struct modbus_point own;
    memcpy(&own, point->own, sizeof own);
    return own;
}

/* Takes "N!" off the front. */
static bool parse_unit(struct str *address, uint32_t *unit)
{
    const char *mark = memchr(address->at, '!', address->size);
    if (!mark) return true;
    uint64_t n;
    struct str digits = {address->at, (size_t)(mark - address->at)};
    if (!num_parse_u64(digits, &n) || n > 255) return false;
    *unit = (uint32_t)n;
    *address = (struct str){mark + 1, address->size - digits.size - 1};
    return true;
}

/* Takes ".n" off the end. */
static bool parse_bit(struct str *address, uint8_t *bit)
{
    const char *dot = memchr(address->at, '.', address->size);
    *bit = MODBUS_NO_BIT;
    if (!dot) return true;
    uint64_t n;
    size_t size = (size_t)(dot - address->at);
    if (!num_parse_u64((struct str){dot + 1, address->size - size - 1}, &n) || n > 15) return false;
    *bit = (uint8_t)n;
    address->size = size;
    return true;
}

static bool parse_address(struct str text, struct millrace_point *point, uint8_t *bit, char *why)
{
    struct str digits = text;
    uint64_t number;
    if (!parse_unit(&digits, &point->station))
        return refuse(why, "the unit before '!' must be 0 to 255", text);
    if (!parse_bit(&digits, bit)) return refuse(why, "the bit after '.' must be 0 to 15", text);
    if (digits.size == 5 && num_parse_u64(digits, &number)) {
        snprintf(
            why, MILLRACE_WHY_BYTES,
            "'%.*s': has five digits; write six, with the area first: %c0%.4s is the same register",
            TEXT_ARGS(text), digits.at[0], digits.at + 1);
        return false;
    }
    if (digits.size != 6 || digits.at[0] == '+' || digits.at[0] == '-' ||
        !num_parse_u64(digits, &number))
        return refuse(
            why,
            "must be six digits, such as 400001 (0 coil, 1 discrete input, 3 input register, 4 holding "
            "register; counted from 1), with the unit before it as in 1!400001",
            text);
    number %= 100000;
    if (number == 0 || number > 65536)
        return refuse(why, "cells are counted from 00001 to 65536", text);
    for (size_t i = 0; i < sizeof area_digits / sizeof area_digits[0]; i++) {
        if (area_digits[i].digit != digits.at[0]) continue;
        point->area = area_digits[i].area;
        point->first = (uint32_t)number - 1;
        return true;
    }
    return refuse(
        why,
        "the first digit must be 0 (coil), 1 (discrete input), 3 (input register) or 4 (holding register)",
        text);
}

/* "string(20)" -> row and size. */
static const struct type_row *parse_type(struct str text, uint8_t *bytes, char *why)
{
    struct str name = text;
    const char *open = text.size ? memchr(text.at, '(', text.size) : NULL;
    uint64_t size = 0;
    if (open) name.size = (size_t)(open - text.at);
    for (size_t i = 0; i < TYPE_ROWS; i++) {
        if (!str_is_nocase(name, types[i].name)) continue;
        *bytes = types[i].bytes;
        bool sized = types[i].kind == MODBUS_KIND_TEXT || types[i].kind == MODBUS_KIND_BYTES;
        if (!sized && !open) return &types[i];
        struct str digits =
            open ? (struct str){open + 1, text.size - name.size - 1} : (struct str){"", 0};
        bool closed = digits.size && digits.at[digits.size - 1] == ')';
        if (closed) digits.size--;
        if (sized && closed && num_parse_u64(digits, &size) && size >= 1 &&
            size <= MODBUS_TEXT_BYTES_MAX) {
            *bytes = (uint8_t)size;
            return &types[i];
        }
        snprintf(why, MILLRACE_WHY_BYTES,
                 sized ? "'%.*s': write %s(n) with n = 1 to %d bytes" : "'%.*s': write %s",
                 TEXT_ARGS(text), types[i].name, MODBUS_TEXT_BYTES_MAX);
        return NULL;
    }
    const char *names[TYPE_ROWS];
    for (size_t i = 0; i < TYPE_ROWS; i++) names[i] = types[i].name;
    int nearest = str_nearest(name, names, TYPE_ROWS);
    snprintf(why, MILLRACE_WHY_BYTES,
             "type '%.*s' is unknown; there are bit, bool, int8 to int64, uint8 to uint64, "
             "float, double, string(n) and bytes(n)%s%s%s",
             TEXT_ARGS(text), nearest >= 0 ? "; did you mean " : "",
             nearest >= 0 ? names[nearest] : "", nearest >= 0 ? "?" : "");
    return NULL;
}

/* The letters name the value's bytes, A the highest; their sequence is that on the wire. */
static bool parse_order(struct str text, struct modbus_point *own, char *why)
{
    size_t count = own->bytes < 2 || own->kind >= MODBUS_KIND_TEXT ? 2 : own->bytes;
    unsigned seen = 0;
    for (size_t i = 0; i < sizeof own->order; i++) own->order[i] = (uint8_t)i;
    if (text.size == 0) return true;
    bool good = text.size == count;
    for (size_t i = 0; good && i < count; i++) {
        unsigned letter = (unsigned)((unsigned char)text.at[i] & 0xDF) - 'A';
        good = letter < count && !(seen & 1u << letter);
        if (!good) break;
        seen |= 1u << letter;
        own->order[i] = (uint8_t)letter;
    }
    if (!good) {
        snprintf(why, MILLRACE_WHY_BYTES,
                 "order '%.*s' must hold each letter of %.*s once, in the sequence of the bytes on "
                 "the wire",
                 TEXT_ARGS(text), (int)count, "ABCDEFGH");
        return false;
    }
    own->is_swapped = own->order[0] == 1;
    return true;
}

/* A bit's number says where it is; an order that would move it is none that was meant. */
static bool check_bit_order(const struct modbus_point *own, struct str address, char *why)
{
    if (own->kind != MODBUS_KIND_BIT || !own->is_swapped) return true;
    if (own->bit == MODBUS_NO_BIT)
        return refuse(why, "a coil or discrete input has no byte order: leave out order", address);
    struct str cell = address;
    while (cell.size && cell.at[cell.size - 1] != '.') cell.size--;
    snprintf(why, MILLRACE_WHY_BYTES,
             "'%.*s': a bit has no byte order: leave out order, and where the device sends the low "
             "byte first, name bit %.*s%d",
             TEXT_ARGS(address), TEXT_ARGS(cell), own->bit ^ 8);
    return false;
}

/* Which types go with which cells, and how many cells a value takes. */
static bool settle(struct millrace_point *point, struct modbus_point *own,
                   const struct millrace_point_text *text, char *why)
{
    struct str address = {text->address.at, text->address.size};
    if (modbus_area_is_bits(point->area)) {
        if (own->kind > MODBUS_KIND_BOOL)
            return refuse(why, "a coil or discrete input holds a bit: write type: bit", address);
        if (own->bit != MODBUS_NO_BIT)
            return refuse(why, "a coil or discrete input has no bits: leave out .n", address);
        own->kind = MODBUS_KIND_BIT;
        point->count = 1;
    } else {
        if (own->bit != MODBUS_NO_BIT && own->kind > MODBUS_KIND_BOOL)
            return refuse(why, "a bit of a register has type bit", address);
        if (own->bit != MODBUS_NO_BIT) own->kind = MODBUS_KIND_BIT;
        if (own->kind == MODBUS_KIND_BIT && own->bit == MODBUS_NO_BIT)
            return refuse(why, "name the bit of the register, 0 (lowest) to 15, such as 400001.0",
                          address);
        point->count = own->bytes <= 2 ? 1 : (own->bytes + 1u) / 2;
    }
    if (!check_bit_order(own, address, why)) return false;
    if (point->first + point->count > 65536)
        return refuse(why, "the value reaches beyond cell 65536", address);
    point->flags = MILLRACE_READABLE;
    if (point->area == MODBUS_COILS || point->area == MODBUS_HOLDING_REGISTERS)
        point->flags |= MILLRACE_WRITABLE;
    return true;
}

bool modbus_point_parse(const struct millrace_line_config *config,
                        const struct millrace_point_text *text, struct millrace_point *point,
                        char why[MILLRACE_WHY_BYTES])
{
    struct modbus_point own = {0};
    struct str address = {text->address.at, text->address.size},
               type = {text->type.at, text->type.size};
    *point = (struct millrace_point){.station = (uint32_t)config->options[MODBUS_OPTION_UNIT].i};
    if (!parse_address(address, point, &own.bit, why)) return false;
    const struct type_row *row = parse_type(type, &own.bytes, why);
    if (!row) return false;
    own.kind = (uint8_t)row->kind;
    point->type = row->type;
    point->min = row->min;
    point->max = row->max;
    if (!parse_order((struct str){text->order.at, text->order.size}, &own, why)) return false;
    if (!settle(point, &own, text, why)) return false;
    memcpy(point->own, &own, sizeof own);
    return true;
}
