/* explore.c - what is there: ranges to scan, and who a unit says it is. */
#include "base/num.h"
#include "base/reader.h"
#include "collect/drivers/modbus/modbus_priv.h"
#include <stdio.h>
#include <string.h>

static const char area_digits[] = {[MODBUS_COILS] = '0',
                                   [MODBUS_DISCRETE_INPUTS] = '1',
                                   [MODBUS_INPUT_REGISTERS] = '3',
                                   [MODBUS_HOLDING_REGISTERS] = '4'};

void modbus_cell_address(uint32_t station, uint32_t area, uint32_t cell,
                         char out[MILLRACE_WHY_BYTES])
{
    MUST(area < sizeof area_digits && cell < 65536);
    snprintf(out, MILLRACE_WHY_BYTES, "%u!%c%05u", station, area_digits[area], cell + 1);
}

/* "A-B" or "A"; both sides numbers. */
static bool parse_pair(struct str text, uint64_t *from, uint64_t *to, size_t *digits)
{
    struct str rest = text, first = {0};
    if (!str_split(&rest, '-', &first) || !num_parse_u64(first, from)) return false;
    *digits = first.size;
    *to = *from;
    return first.size == text.size || num_parse_u64(rest, to);
}

/* "400001-400100" */
static bool parse_cells(struct str text, struct millrace_scan *scan)
{
    uint64_t from, to;
    size_t digits, area = 0;
    if (!parse_pair(text, &from, &to, &digits) || digits != 6) return false;
    while (area < sizeof area_digits && area_digits[area] != text.at[0]) area++;
    if (area == sizeof area_digits || from / 100000 != to / 100000 || to < from) return false;
    from %= 100000;
    to %= 100000;
    if (from < 1 || to > 65536) return false;
    scan->area = scan->area_last = (uint32_t)area;
    scan->first = (uint32_t)from - 1;
    scan->count = (uint32_t)(to - from) + 1;
    return true;
}

bool modbus_scan_parse(const struct millrace_line_config *config, const struct millrace_text *range,
                       struct millrace_scan *scan, char why[MILLRACE_WHY_BYTES])
{
    struct str cells = {range->at, range->size}, units = {0};
    uint64_t first = (uint64_t)config->options[MODBUS_OPTION_UNIT].i, last = first;
    size_t digits;
    const char *mark = cells.size ? memchr(cells.at, '!', cells.size) : NULL;
    bool good = true;
    if (mark) {
        units = (struct str){cells.at, (size_t)(mark - cells.at)};
        cells = (struct str){mark + 1, cells.size - units.size - 1};
        good = parse_pair(units, &first, &last, &digits) && first <= last && last <= 255;
    }
    if (good && parse_cells(cells, scan)) {
        scan->station_first = (uint32_t)first;
        scan->station_last = (uint32_t)last;
        return true;
    }
    snprintf(
        why, MILLRACE_WHY_BYTES,
        "'%.*s': write units and addresses as 1-20!400001-400100 (units 0 to 255, addresses of "
        "one area), or 1!400001-400100, or 400001-400100",
        (int)(range->size > 60 ? 60 : range->size), range->at);
    return false;
}

/* ---- function 43/14 ---- */

/* Objects 0 to 6 have names: section 6.21, table of object ids. */
static const char *const object_names[] = {"vendor",      "product", "revision",   "url",
                                           "productName", "model",   "application"};

/* One "name: value" line; bytes that are no printable ASCII become '.'. */
static void add_object(uint8_t id, struct str value, char text[MODBUS_IDENTITY_BYTES], size_t *size)
{
    char name[16];
    if (id < sizeof object_names / sizeof object_names[0])
        snprintf(name, sizeof name, "%s", object_names[id]);
    else
        snprintf(name, sizeof name, "object%u", id);
    if (*size + strlen(name) + value.size + 3 > MODBUS_IDENTITY_BYTES) return;
    *size += (size_t)snprintf(text + *size, MODBUS_IDENTITY_BYTES - *size, "%s: ", name);
    for (size_t i = 0; i < value.size; i++) {
        char c = value.at[i];
        text[(*size)++] = c >= ' ' && c <= '~' ? c : '.';
    }
    text[(*size)++] = '\n';
}

bool modbus_read_identity(const uint8_t *pdu, size_t pdu_bytes, char text[MODBUS_IDENTITY_BYTES],
                          size_t *text_size, uint8_t *next)
{
    struct reader r = reader_of(pdu, pdu_bytes);
    uint8_t function = reader_u8(&r), mei = reader_u8(&r);
    reader_skip(&r, 2); /* the code asked for, the unit's conformity */
    bool more = reader_u8(&r) == 0xFF;
    uint8_t next_object = reader_u8(&r), count = reader_u8(&r), last = 0;
    if (function != MODBUS_ENCAPSULATED || mei != 14) return false;
    for (unsigned i = 0; i < count && reader_ok(&r); i++) {
        last = reader_u8(&r);
        struct str value = reader_str(&r, reader_u8(&r));
        if (reader_ok(&r)) add_object(last, value, text, text_size);
    }
    /* One that keeps sending us back would never end. */
    *next = more && count && next_object > last ? next_object : 0;
    return reader_ok(&r);
}
