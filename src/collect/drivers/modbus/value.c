/* value.c - values out of registers and into them.
 *
 * A register travels high byte first (V1.1b3 section 4.2); how a device spreads a longer value over
 * registers is its own affair, hence the permutation `order` of each point. Decoding gathers the
 * bytes by significance into one integer; everything else follows from that. */
#include "collect/drivers/modbus/modbus_priv.h"
#include "base/err.h"
#include "base/reader.h"
#include <math.h>
#include <string.h>

/* ---- decoding ---- */

static uint64_t gather(const uint8_t *wire, const struct modbus_point *own)
{
    if (own->bytes == 1) return wire[own->is_swapped ? 0 : 1];
    if (own->bytes == 2)
        return own->is_swapped ? (uint64_t)wire[1] << 8 | wire[0]
                               : (uint64_t)wire[0] << 8 | wire[1];
    uint64_t v = 0;
    for (unsigned i = 0; i < own->bytes; i++)
        v |= (uint64_t)wire[i] << 8 * (own->bytes - 1u - own->order[i]);
    return v;
}

static int64_t extend_sign(uint64_t v, unsigned bytes)
{
    MUST(bytes >= 1 && bytes <= 8);
    unsigned shift = 64 - 8 * bytes;
    return (int64_t)(v << shift) >> shift;
}

static double to_double(uint64_t v, unsigned bytes)
{
    if (bytes == 4) {
        uint32_t narrow = (uint32_t)v;
        float f;
        memcpy(&f, &narrow, sizeof f);
        return (double)f;
    }
    double d;
    memcpy(&d, &v, sizeof d);
    return d;
}

/* Texts end at the first NUL or with trailing blanks; what is no UTF-8 does not decode. */
static enum millrace_status decode_text(const uint8_t *wire, const struct modbus_point *own,
                                        char *scratch, struct millrace_value *value)
{
    size_t size = own->bytes;
    for (size_t i = 0; i < size; i++) scratch[i] = (char)wire[own->is_swapped ? i ^ 1 : i];
    value->text = (struct millrace_text){scratch, size};
    if (own->kind == MODBUS_KIND_BYTES) return MILLRACE_GOOD;
    const char *end = memchr(scratch, 0, size);
    if (end) value->text.size = (size_t)(end - scratch);
    while (value->text.size && scratch[value->text.size - 1] == ' ') value->text.size--;
    return str_is_utf8((struct str){scratch, value->text.size}) ? MILLRACE_GOOD : MILLRACE_BAD_DATA;
}

enum millrace_status modbus_decode(const struct millrace_point *point, uint32_t first,
                                   const uint8_t *payload, size_t payload_bytes,
                                   char scratch[MILLRACE_SCRATCH_BYTES],
                                   struct millrace_value *value)
{
    struct modbus_point own = modbus_point_of(point);
    struct reader r = reader_of(payload, payload_bytes);
    uint32_t cell = point->first - first;
    value->type = point->type;
    if (point->first < first) return MILLRACE_BAD_DATA;
    if (modbus_area_is_bits(point->area)) {
        reader_skip(&r, cell / 8);
        value->b = (reader_u8(&r) >> cell % 8 & 1) != 0;
        return reader_ok(&r) ? MILLRACE_GOOD : MILLRACE_BAD_DATA;
    }
    reader_skip(&r, (size_t)cell * 2);
    const uint8_t *wire = reader_take(&r, (size_t)point->count * 2);
    if (!wire) return MILLRACE_BAD_DATA;
    switch ((enum modbus_kind)own.kind) {
    case MODBUS_KIND_BIT: value->b = ((wire[0] << 8 | wire[1]) >> own.bit & 1) != 0; break;
    case MODBUS_KIND_BOOL: value->b = (wire[0] | wire[1]) != 0; break;
    case MODBUS_KIND_SIGNED: value->i = extend_sign(gather(wire, &own), own.bytes); break;
    case MODBUS_KIND_UNSIGNED: value->u = gather(wire, &own); break;
    case MODBUS_KIND_FLOAT: value->d = to_double(gather(wire, &own), own.bytes); break;
    case MODBUS_KIND_TEXT:
    case MODBUS_KIND_BYTES: return decode_text(wire, &own, scratch, value);
    }
    return MILLRACE_GOOD;
}

/* ---- encoding ---- */

static void scatter(uint64_t v, const struct modbus_point *own, uint8_t *wire)
{
    if (own->bytes == 1) {
        wire[own->is_swapped ? 0 : 1] = (uint8_t)v;
        return;
    }
    for (unsigned i = 0; i < own->bytes; i++)
        wire[i] = (uint8_t)(v >> 8 * (own->bytes - 1u - own->order[i]));
}

static enum millrace_status encode_text(const struct modbus_point *own,
                                        const struct millrace_value *value, uint8_t *wire)
{
    if (value->text.size > own->bytes) return MILLRACE_BAD_VALUE;
    for (size_t i = 0; i < value->text.size; i++)
        wire[own->is_swapped ? i ^ 1 : i] = (uint8_t)value->text.at[i];
    return MILLRACE_GOOD;
}

static enum millrace_status encode_float(const struct modbus_point *own, double d, uint8_t *wire)
{
    uint64_t v;
    if (!isfinite(d)) return MILLRACE_BAD_VALUE;
    if (own->bytes == 4) {
        float f = (float)d;
        uint32_t narrow;
        if (!isfinite(f)) return MILLRACE_BAD_VALUE;
        memcpy(&narrow, &f, sizeof narrow);
        v = narrow;
    } else {
        memcpy(&v, &d, sizeof v);
    }
    scatter(v, own, wire);
    return MILLRACE_GOOD;
}

enum millrace_status modbus_encode(const struct millrace_point *point,
                                   const struct millrace_value *value,
                                   uint8_t out[MODBUS_PDU_BYTES_MAX])
{
    struct modbus_point own = modbus_point_of(point);
    MUST(value->type == point->type && !modbus_area_is_bits(point->area));
    memset(out, 0, (size_t)point->count * 2);
    switch ((enum modbus_kind)own.kind) {
    case MODBUS_KIND_BIT:
    case MODBUS_KIND_BOOL: out[1] = value->b; break;
    case MODBUS_KIND_SIGNED:
        if (extend_sign((uint64_t)value->i, own.bytes) != value->i) return MILLRACE_BAD_VALUE;
        scatter((uint64_t)value->i, &own, out);
        break;
    case MODBUS_KIND_UNSIGNED:
        MUST(own.bytes >= 1 && own.bytes <= 8);
        if (value->u > UINT64_MAX >> (64 - 8u * own.bytes)) return MILLRACE_BAD_VALUE;
        scatter(value->u, &own, out);
        break;
    case MODBUS_KIND_FLOAT: return encode_float(&own, value->d, out);
    case MODBUS_KIND_TEXT:
    case MODBUS_KIND_BYTES: return encode_text(&own, value, out);
    }
    return MILLRACE_GOOD;
}
