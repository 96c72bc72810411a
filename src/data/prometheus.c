/* prometheus.c - see prometheus.h.
 *
 * A message is fields: a key (number and wire type) and a value. A series is read twice: its labels
 * when it begins, since the encoding lets them stand behind the samples, then sample by sample. */
#include "data/prometheus.h"
#include "base/timetext.h"
#include "data/quality.h"
#include <string.h>

enum wire { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };
enum {
    REQUEST_SERIES = 1,
    SERIES_LABELS = 1,
    SERIES_SAMPLES = 2,
    LABEL_NAME = 1,
    LABEL_VALUE = 2,
    SAMPLE_VALUE = 1,
    SAMPLE_TIME = 2
};

/* prometheus/prometheus, model/value/value.go: StaleNaN. */
#define STALE_BITS UINT64_C(0x7ff0000000000002)

struct proto_field {
    uint32_t number;
    enum wire wire;
    uint64_t number_value; /* VARINT, 64, 32 */
    struct str bytes;      /* BYTES */
};

/* False: the end, or (the reader failed) no field. */
static bool next_field(struct reader *in, struct proto_field *field)
{
    if (!reader_left(in)) return false;
    uint64_t key = reader_varint(in);
    *field = (struct proto_field){(uint32_t)(key >> 3), (enum wire)(key & 7), 0, {"", 0}};
    switch (key & 7) {
    case WIRE_VARINT: field->number_value = reader_varint(in); break;
    case WIRE_64: field->number_value = reader_le64(in); break;
    case WIRE_32: field->number_value = reader_le32(in); break;
    case WIRE_BYTES: {
        uint64_t size = reader_varint(in);
        if (size > reader_left(in)) in->failed = true;
        field->bytes = reader_str(in, in->failed ? 0 : (size_t)size);
        break;
    }
    default: in->failed = true; /* groups, which nobody writes any more */
    }
    if (key >> 3 == 0 || key >> 3 > UINT32_MAX) in->failed = true;
    return reader_ok(in);
}

static bool is_bytes(const struct proto_field *field, uint32_t number)
{
    return field->number == number && field->wire == WIRE_BYTES;
}

/* Keeps the tags sorted, in which order the specification wants them to come. */
static enum err add_label(struct line *row, struct label label, struct why *why)
{
    uint32_t at = row->tag_count;
    if (!str_is_utf8(label.key) || !str_is_utf8(label.value))
        return why_set(why, ERR_INVALID, "a label is not UTF-8");
    if (!label.value.size) return ERR_OK; /* the same as no label */
    if (str_is(label.key, "__name__")) {
        row->measurement = label.value;
        return ERR_OK;
    }
    while (at > 0 && str_compare(row->tags[at - 1].key, label.key) > 0) at--;
    if (!label.key.size || (at > 0 && str_equal(row->tags[at - 1].key, label.key)))
        return why_set(why, ERR_INVALID, "a label has no name, or that of another one");
    if (row->tag_count == LINE_TAGS_MAX)
        return why_set(why, ERR_LIMIT, "more than %d labels", LINE_TAGS_MAX);
    memmove(&row->tags[at + 1], &row->tags[at], (row->tag_count - at) * sizeof label);
    row->tags[at] = label;
    row->tag_count++;
    return ERR_OK;
}

static enum err read_labels(struct reader series, struct line *row, struct why *why)
{
    struct proto_field field, part;
    row->measurement = STR("");
    row->tag_count = 0;
    while (next_field(&series, &field)) {
        if (!is_bytes(&field, SERIES_LABELS)) continue;
        struct reader body = reader_of(field.bytes.at, field.bytes.size);
        struct label label = {STR(""), STR("")};
        while (next_field(&body, &part)) {
            if (is_bytes(&part, LABEL_NAME)) label.key = part.bytes;
            if (is_bytes(&part, LABEL_VALUE)) label.value = part.bytes;
        }
        if (!reader_ok(&body)) return why_set(why, ERR_SYNTAX, "protobuf: a label is cut off");
        enum err err = add_label(row, label, why);
        if (err) return err;
    }
    if (!reader_ok(&series)) return why_set(why, ERR_SYNTAX, "protobuf: a series is cut off");
    if (!row->measurement.size) return why_set(why, ERR_INVALID, "a series has no label __name__");
    return ERR_OK;
}

static enum err read_sample(struct prometheus_rows *in, struct str bytes, struct line *row,
                            struct why *why)
{
    struct reader body = reader_of(bytes.at, bytes.size);
    struct proto_field field;
    struct value value = {.type = TYPE_DOUBLE}; /* proto3 leaves zeros out */
    int64_t time_ms = 0;
    while (next_field(&body, &field)) {
        if (field.number == SAMPLE_VALUE && field.wire == WIRE_64)
            memcpy(&value.d, &field.number_value, sizeof value.d);
        if (field.number == SAMPLE_TIME && field.wire == WIRE_VARINT)
            memcpy(&time_ms, &field.number_value, sizeof time_ms);
    }
    if (!reader_ok(&body)) return why_set(why, ERR_SYNTAX, "protobuf: a sample is cut off");
    uint64_t bits = 0;
    memcpy(&bits, &value.d, sizeof bits);
    if (bits == STALE_BITS) { /* other NaNs become NULL like everybody's */
        value = (struct value){
            .type = TYPE_DOUBLE, .is_null = true, .quality = (uint32_t)QualityBadNoCommunication};
        in->stale_count++;
    }
    row->fields[0] =
        (struct line_field){STR("value"), value, value.is_null ? TYPE_NONE : TYPE_DOUBLE};
    row->field_count = 1;
    row->has_time = true;
    if (__builtin_mul_overflow(time_ms, TIME_NS_PER_MS, &row->time_ns))
        return why_set(why, ERR_RANGE, "a sample's time is out of range");
    return ERR_OK;
}

void prometheus_rows_init(struct prometheus_rows *in, struct str message)
{
    *in = (struct prometheus_rows){.request = reader_of(message.at, message.size),
                                   .series = reader_of(NULL, 0)};
}

static enum err end_with(struct prometheus_rows *in, enum err err)
{
    in->is_over = err == ERR_SYNTAX;
    if (err) in->series = reader_of(NULL, 0);
    return err;
}

enum err prometheus_rows_next(struct prometheus_rows *in, struct line *row, bool *found,
                              struct why *why)
{
    struct proto_field field;
    *found = false;
    MUST(row);
    while (!in->is_over) {
        while (next_field(&in->series, &field)) {
            if (!is_bytes(&field, SERIES_SAMPLES)) continue;
            enum err err = read_sample(in, field.bytes, row, why);
            if (err == ERR_SYNTAX) return end_with(in, err);
            *found = true;
            return err; /* of this sample */
        }
        if (!next_field(&in->request, &field)) {
            in->is_over = true;
            return reader_ok(&in->request)
                       ? ERR_OK
                       : why_set(why, ERR_SYNTAX, "protobuf: the request is cut off");
        }
        if (!is_bytes(&field, REQUEST_SERIES)) continue;
        in->series = reader_of(field.bytes.at, field.bytes.size);
        enum err err = read_labels(in->series, row, why);
        if (err) {
            *found = err != ERR_SYNTAX;
            return end_with(in, err);
        }
    }
    return ERR_OK;
}
