/* sparkplug.c - see sparkplug.h. The field numbers are those of the specification's payload
 * message: Payload (timestamp 1, metrics 2, seq 3, uuid 4), Metric (name 1, alias 2, timestamp 3,
 * datatype 4, is_historical 5, is_transient 6, is_null 7, properties 9, values from 10),
 * PropertySet (keys 1, values 2), PropertyValue (is_null 2, int 3, long 4). Fields that are not
 * known are passed over. */
#include "data/sparkplug.h"
#include "base/timetext.h"
#include "data/protowire.h"
#include <string.h>

static const struct {
    uint32_t number;
    const char *name;
    enum type column;
} types[] = {
#define X(symbol, number, name, column) {number, name, TYPE_##column},
    SPARKPLUG_TYPE_TABLE(X)
#undef X
};
enum { TYPE_ROWS = sizeof types / sizeof types[0] };

enum type sparkplug_column_type(uint32_t datatype)
{
    for (size_t i = 0; i < TYPE_ROWS; i++)
        if (types[i].number == datatype) return types[i].column;
    return TYPE_NONE;
}

const char *sparkplug_type_name(uint32_t datatype)
{
    for (size_t i = 0; i < TYPE_ROWS; i++)
        if (types[i].number == datatype) return types[i].name;
    return "unknown";
}

/* ---- reading ---- */

/* The number of a PropertyValue; false: it is null, or none. */
static bool property_number(struct str text, int32_t *number)
{
    struct reader in = reader_of(text.at, text.size);
    struct protowire_field f;
    bool found = false, is_null = false;
    while (protowire_next(&in, &f)) {
        if (f.number == 2 && f.type == PROTOWIRE_VARINT) is_null = f.bits != 0;
        if ((f.number != 3 && f.number != 4) || f.type != PROTOWIRE_VARINT) continue;
        *number = (int32_t)f.bits;
        found = true;
    }
    return found && !is_null;
}

/* Keys and values are two lists of the same length: the value in the place of key "Quality". */
static bool take_properties(struct str text, struct sparkplug_metric *m)
{
    struct reader in = reader_of(text.at, text.size);
    struct protowire_field f;
    size_t keys = 0, wanted = SIZE_MAX, values = 0;
    while (protowire_next(&in, &f))
        if (f.number == 1 && f.type == PROTOWIRE_BYTES && str_is_nocase(f.bytes, "Quality"))
            wanted = keys++;
        else if (f.number == 1)
            keys++;
    bool good = reader_ok(&in);
    in = reader_of(text.at, text.size);
    while (wanted != SIZE_MAX && protowire_next(&in, &f))
        if (f.number == 2 && f.type == PROTOWIRE_BYTES && values++ == wanted)
            m->has_quality = property_number(f.bytes, &m->quality);
    return good;
}

static bool take_value_field(struct sparkplug_metric *m, const struct protowire_field *f)
{
    static const enum protowire_type wire[] = {
        PROTOWIRE_VARINT, PROTOWIRE_VARINT, PROTOWIRE_FIXED32, PROTOWIRE_FIXED64, PROTOWIRE_VARINT,
        PROTOWIRE_BYTES,  PROTOWIRE_BYTES,  PROTOWIRE_BYTES,   PROTOWIRE_BYTES,   PROTOWIRE_BYTES};
    if (f->type != wire[f->number - SPARKPLUG_INT_VALUE]) return false;
    m->field = (enum sparkplug_field)f->number;
    m->bits = f->bits;
    m->bytes = f->bytes;
    return true;
}

static bool take_metric_field(struct sparkplug_metric *m, const struct protowire_field *f)
{
    bool is_text = f->type == PROTOWIRE_BYTES, is_number = f->type == PROTOWIRE_VARINT;
    if (f->number >= SPARKPLUG_INT_VALUE && f->number <= SPARKPLUG_EXTENSION_VALUE)
        return take_value_field(m, f);
    switch (f->number) {
    case 1:
        m->has_name = true;
        m->name = f->bytes;
        return is_text && str_is_utf8(f->bytes);
    case 2:
        m->has_alias = true;
        m->alias = f->bits;
        return is_number;
    case 3:
        m->has_timestamp = true;
        m->timestamp_ms = f->bits;
        return is_number;
    case 4: m->datatype = (uint32_t)f->bits; return is_number && f->bits <= UINT32_MAX;
    case 5: m->is_historical = f->bits != 0; return is_number;
    case 6: m->is_transient = f->bits != 0; return is_number;
    case 7: m->is_null = f->bits != 0; return is_number;
    case 9: return is_text && take_properties(f->bytes, m);
    default: return true;
    }
}

static bool read_metric(struct str text, struct sparkplug_metric *m)
{
    struct reader in = reader_of(text.at, text.size);
    struct protowire_field f;
    *m = (struct sparkplug_metric){.name = {"", 0}, .bytes = {"", 0}};
    while (protowire_next(&in, &f))
        if (!take_metric_field(m, &f)) return false;
    if (m->field == SPARKPLUG_STRING_VALUE && !str_is_utf8(m->bytes)) return false;
    return reader_ok(&in);
}

bool sparkplug_next(struct reader *at, struct sparkplug_metric *metric)
{
    struct protowire_field f;
    while (protowire_next(at, &f)) {
        if (f.number != 2) continue;
        bool good = read_metric(f.bytes, metric);
        MUST(good); /* sparkplug_read has seen it */
        return true;
    }
    return false;
}

enum err sparkplug_read(struct str text, struct sparkplug_payload *payload, struct why *why)
{
    struct reader in = reader_of(text.at, text.size);
    struct protowire_field f;
    struct sparkplug_metric metric;
    bool good = true;
    *payload = (struct sparkplug_payload){.uuid = {"", 0}, .text = text};
    while (good && protowire_next(&in, &f)) {
        switch (f.number) {
        case 1:
            good = f.type == PROTOWIRE_VARINT;
            payload->has_timestamp = true;
            payload->timestamp_ms = f.bits;
            break;
        case 2:
            good = f.type == PROTOWIRE_BYTES && read_metric(f.bytes, &metric);
            payload->metric_count++;
            break;
        case 3:
            good = f.type == PROTOWIRE_VARINT;
            payload->has_seq = true;
            payload->seq = f.bits;
            break;
        case 4:
            good = f.type == PROTOWIRE_BYTES;
            payload->uuid = f.bytes;
            break;
        default: break;
        }
    }
    if (!good || !reader_ok(&in))
        return why_at(why, ERR_SYNTAX, (int32_t)reader_offset(&in),
                      "no payload of Sparkplug B: damaged before byte %zu", reader_offset(&in));
    if (str_is(payload->uuid, "SPBV1.0_COMPRESSED"))
        return why_set(why, ERR_UNSUPPORTED, "compressed payloads are not read");
    return ERR_OK;
}

/* ---- values ---- */

/* Bytes of one item of an array, and how it is read. */
static const struct array_traits {
    uint8_t bytes;
    bool is_signed, is_float;
} arrays[] = {
    [SPARKPLUG_INT8_ARRAY] = {1, true, false},     [SPARKPLUG_INT16_ARRAY] = {2, true, false},
    [SPARKPLUG_INT32_ARRAY] = {4, true, false},    [SPARKPLUG_INT64_ARRAY] = {8, true, false},
    [SPARKPLUG_UINT8_ARRAY] = {1, false, false},   [SPARKPLUG_UINT16_ARRAY] = {2, false, false},
    [SPARKPLUG_UINT32_ARRAY] = {4, false, false},  [SPARKPLUG_UINT64_ARRAY] = {8, false, false},
    [SPARKPLUG_FLOAT_ARRAY] = {4, false, true},    [SPARKPLUG_DOUBLE_ARRAY] = {8, false, true},
    [SPARKPLUG_BOOLEAN_ARRAY] = {0, false, false},
};

static double double_of(uint64_t bits, const struct array_traits *t)
{
    double d;
    float f;
    uint32_t low = (uint32_t)bits;
    if (t->is_float && t->bytes == 8) {
        memcpy(&d, &bits, sizeof d);
        return d;
    }
    if (t->is_float) {
        memcpy(&f, &low, sizeof f);
        return (double)f;
    }
    MUST(t->bytes > 0 && t->bytes <= 8);
    unsigned unused = 64 - 8u * t->bytes;
    return t->is_signed ? (double)((int64_t)(bits << unused) >> unused) : (double)bits;
}

static enum err no_fit(uint32_t datatype, struct why *why)
{
    return why_set(why, ERR_TYPE, "the value does not fit datatype %s",
                   sparkplug_type_name(datatype));
}

/* A count of four bytes, then bits from the highest one of each byte on. */
static enum err boolean_array(struct str bytes, struct arena *arena, struct value *value,
                              struct why *why)
{
    struct reader in = reader_of(bytes.at, bytes.size);
    uint32_t count = reader_le32(&in);
    struct str bits = reader_str(&in, ((size_t)count + 7) / 8);
    if (!reader_ok(&in)) return no_fit(SPARKPLUG_BOOLEAN_ARRAY, why);
    double *out = arena_alloc(arena, ((size_t)count + 1) * sizeof *out);
    if (!out) return ERR_NO_MEMORY;
    for (uint32_t i = 0; i < count; i++)
        out[i] = (unsigned char)bits.at[i / 8] >> (7 - i % 8) & 1 ? 1 : 0;
    value->s = (struct str){(const char *)out, count * sizeof *out};
    return ERR_OK;
}

static enum err array_value(const struct sparkplug_metric *m, uint32_t datatype,
                            struct arena *arena, struct value *value, struct why *why)
{
    MUST(datatype < sizeof arrays / sizeof arrays[0]);
    const struct array_traits *t = &arrays[datatype];
    if (m->field != SPARKPLUG_BYTES_VALUE) return no_fit(datatype, why);
    if (!t->bytes) return boolean_array(m->bytes, arena, value, why);
    if (m->bytes.size % t->bytes) return no_fit(datatype, why);
    size_t count = m->bytes.size / t->bytes;
    struct reader in = reader_of(m->bytes.at, m->bytes.size);
    double *out = arena_alloc(arena, (count + 1) * sizeof *out);
    if (!out) return ERR_NO_MEMORY;
    for (size_t i = 0; i < count; i++) out[i] = double_of(reader_le(&in, t->bytes), t);
    value->s = (struct str){(const char *)out, count * sizeof *out};
    return ERR_OK;
}

/* Signed ones stand in an unsigned field of 32 bits; some encoders write them as 64 (section
 * 6.4.16 allows the first only, and both say the same). */
static enum err whole_value(const struct sparkplug_metric *m, uint32_t datatype,
                            struct value *value, struct why *why)
{
    uint64_t bits = m->bits;
    if (m->field != SPARKPLUG_INT_VALUE && m->field != SPARKPLUG_LONG_VALUE)
        return no_fit(datatype, why);
    switch (datatype) {
    case SPARKPLUG_INT8: value->i = (int64_t)(bits << 56) >> 56; return ERR_OK;
    case SPARKPLUG_INT16: value->i = (int16_t)bits; return ERR_OK;
    case SPARKPLUG_INT32: value->i = (int32_t)bits; return ERR_OK;
    case SPARKPLUG_INT64:
        value->i = m->field == SPARKPLUG_INT_VALUE ? (int32_t)bits : (int64_t)bits;
        return ERR_OK;
    case SPARKPLUG_UINT64: value->u = bits; return ERR_OK;
    case SPARKPLUG_DATETIME:
        if (bits > INT64_MAX / TIME_NS_PER_MS)
            return why_set(why, ERR_RANGE, "a DateTime beyond the year 2262");
        value->i = (int64_t)bits * TIME_NS_PER_MS;
        return ERR_OK;
    default: value->i = (int64_t)(uint32_t)bits; return ERR_OK;
    }
}

enum err sparkplug_value(const struct sparkplug_metric *m, uint32_t datatype, struct arena *arena,
                         struct value *value, struct why *why)
{
    enum type type = sparkplug_column_type(datatype);
    uint32_t low = (uint32_t)m->bits;
    float f;
    *value = (struct value){.type = type, .is_null = m->is_null};
    if (type == TYPE_NONE)
        return why_set(why, ERR_UNSUPPORTED, "datatype %s (%u) has no column",
                       sparkplug_type_name(datatype), datatype);
    if (m->is_null) return ERR_OK;
    switch (type) {
    case TYPE_BIGINT:
    case TYPE_UBIGINT:
    case TYPE_TIMESTAMP: return whole_value(m, datatype, value, why);
    case TYPE_DOUBLES: return array_value(m, datatype, arena, value, why);
    case TYPE_DOUBLE:
        memcpy(&f, &low, sizeof f);
        memcpy(&value->d, &m->bits, sizeof value->d);
        if (m->field == SPARKPLUG_FLOAT_VALUE) value->d = (double)f;
        return m->field == SPARKPLUG_FLOAT_VALUE || m->field == SPARKPLUG_DOUBLE_VALUE
                   ? ERR_OK
                   : no_fit(datatype, why);
    case TYPE_BOOL:
        value->b = m->bits != 0;
        return m->field == SPARKPLUG_BOOLEAN_VALUE ? ERR_OK : no_fit(datatype, why);
    case TYPE_TEXT:
        value->s = m->bytes;
        return m->field == SPARKPLUG_STRING_VALUE ? ERR_OK : no_fit(datatype, why);
    default:
        value->s = m->bytes;
        return m->field == SPARKPLUG_BYTES_VALUE ? ERR_OK : no_fit(datatype, why);
    }
}

/* ---- writing ---- */

void sparkplug_write_begin(struct buf *out, uint64_t timestamp_ms, bool has_seq, uint64_t seq)
{
    MUST(seq < 256); /* section 6.4.5 */
    protowire_add_varint(out, 1, timestamp_ms);
    if (has_seq) protowire_add_varint(out, 3, seq);
}

static void write_value(struct buf *out, const struct sparkplug_metric *m)
{
    switch (m->field) {
    case SPARKPLUG_NO_VALUE: break;
    case SPARKPLUG_INT_VALUE:
    case SPARKPLUG_LONG_VALUE:
    case SPARKPLUG_BOOLEAN_VALUE: protowire_add_varint(out, m->field, m->bits); break;
    case SPARKPLUG_FLOAT_VALUE: protowire_add_fixed32(out, m->field, (uint32_t)m->bits); break;
    case SPARKPLUG_DOUBLE_VALUE: protowire_add_fixed64(out, m->field, m->bits); break;
    default: protowire_add_bytes(out, m->field, m->bytes);
    }
}

static void write_quality(struct buf *out, int32_t quality)
{
    struct buf value = BUF_EMPTY, set = BUF_EMPTY;
    protowire_add_varint(&value, 1, SPARKPLUG_INT32);
    protowire_add_varint(&value, 3, (uint32_t)quality);
    protowire_add_bytes(&set, 1, STR("Quality"));
    protowire_add_bytes(&set, 2, buf_str(&value));
    protowire_add_bytes(out, 9, buf_str(&set));
    out->failed |= buf_failed(&value) || buf_failed(&set);
    buf_free(&value);
    buf_free(&set);
}

void sparkplug_write_metric(struct buf *out, const struct sparkplug_metric *m)
{
    struct buf body = BUF_EMPTY;
    MUST(m->has_name || m->has_alias);
    if (m->has_name) protowire_add_bytes(&body, 1, m->name);
    if (m->has_alias) protowire_add_varint(&body, 2, m->alias);
    if (m->has_timestamp) protowire_add_varint(&body, 3, m->timestamp_ms);
    if (m->datatype) protowire_add_varint(&body, 4, m->datatype);
    if (m->is_historical) protowire_add_varint(&body, 5, 1);
    if (m->is_transient) protowire_add_varint(&body, 6, 1);
    if (m->is_null) protowire_add_varint(&body, 7, 1);
    if (m->has_quality) write_quality(&body, m->quality);
    if (!m->is_null) write_value(&body, m);
    protowire_add_bytes(out, 2, buf_str(&body));
    out->failed |= buf_failed(&body);
    buf_free(&body);
}
