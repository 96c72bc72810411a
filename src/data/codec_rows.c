/* codec_rows.c - see codec_rows.h.
 *
 * Layout (little-endian, varint = LEB128):
 *   u8  version = 1
 *   u32 table id
 *   varint rows, devices, columns
 *   per device: varint series id, varint number of its rows (rows are sorted by device)
 *   times: per device, zigzag varint of the first, then varint differences (rows ascend)
 *   per column (ids ascending): varint id, u8 type, u8 flags, then
 *     flag NULLS:   bitmap of ceil(rows / 8) bytes, 1 = NULL
 *     flag QUALITY: runs of (varint length, u32 code) until all rows are covered
 *     the values that are not NULL: bool 1 byte; 8-byte types as they are; slices varint size +
 * bytes */
#include "data/codec_rows.h"
#include "base/num.h"
#include <math.h>
#include <string.h>

enum { ROWS_VERSION = 1, FLAG_NULLS = 1, FLAG_QUALITY = 2, FLAGS_ALL = 3 };

/* ---- writing ---- */

static uint32_t run_of_device(const struct batch *batch, uint32_t from)
{
    uint32_t to = from;
    while (to < batch->row_count && batch->device[to] == batch->device[from]) to++;
    return to - from;
}

static void write_rows_of_devices(struct buf *out, const struct batch *batch)
{
    for (uint32_t row = 0; row < batch->row_count;) {
        uint32_t rows = run_of_device(batch, row);
        uint32_t series = batch->devices[batch->device[row]].series;
        MUST(series != 0);
        buf_add_varint(out, series);
        buf_add_varint(out, rows);
        row += rows;
    }
    for (uint32_t row = 0; row < batch->row_count; row++) {
        bool first = row == 0 || batch->device[row] != batch->device[row - 1];
        buf_add_varint(out, first ? num_zigzag(batch->time[row])
                                  : (uint64_t)batch->time[row] - (uint64_t)batch->time[row - 1]);
    }
}

static void write_nulls(struct buf *out, const struct vector *v)
{
    for (uint32_t row = 0; row < v->count; row += 8) {
        unsigned bits = 0;
        for (uint32_t i = 0; i < 8 && row + i < v->count; i++)
            bits |= (unsigned)v->null[row + i] << i;
        buf_add_char(out, (char)bits);
    }
}

static void write_quality(struct buf *out, const struct vector *v)
{
    for (uint32_t row = 0; row < v->count;) {
        uint32_t run = 1;
        while (row + run < v->count && v->quality[row + run] == v->quality[row]) run++;
        buf_add_varint(out, run);
        buf_add_le32(out, v->quality[row]);
        row += run;
    }
}

static void write_values(struct buf *out, const struct vector *v)
{
    size_t element = vector_element_bytes(v->type);
    const char *data = v->data;
    if (!v->null && type_bytes(v->type)) {
        buf_add(out, data, v->count * element);
        return;
    }
    for (uint32_t row = 0; row < v->count; row++) {
        if (vector_is_null(v, row)) continue;
        if (type_bytes(v->type)) {
            buf_add(out, data + row * element, element);
        } else {
            buf_add_varint(out, v->s[row].size);
            buf_add_str(out, v->s[row]);
        }
    }
}

static uint32_t count_devices_used(const struct batch *batch)
{
    uint32_t used = 0;
    for (uint32_t row = 0; row < batch->row_count; row += run_of_device(batch, row)) used++;
    return used;
}

void codec_rows_write(struct buf *out, const struct batch *batch)
{
    MUST(batch->sealed);
    buf_add_char(out, ROWS_VERSION);
    buf_add_le32(out, batch->schema->table_id);
    buf_add_varint(out, batch->row_count);
    buf_add_varint(out, count_devices_used(batch));
    buf_add_varint(out, batch->column_count);
    write_rows_of_devices(out, batch);
    for (uint32_t i = 0; i < batch->column_count; i++) {
        const struct vector *v = &batch->columns[i].data;
        buf_add_varint(out, batch->columns[i].id);
        buf_add_char(out, (char)v->type);
        buf_add_char(out, (char)((v->null ? FLAG_NULLS : 0) | (v->quality ? FLAG_QUALITY : 0)));
        if (v->null) write_nulls(out, v);
        if (v->quality) write_quality(out, v);
        write_values(out, v);
    }
}

/* ---- reading ---- */

static enum err corrupt(struct reader *in, struct why *why, const char *what)
{
    in->failed = true;
    return why_set(why, ERR_CORRUPT, "rows, byte %zu: %s", reader_offset(in), what);
}

static enum err read_devices(struct reader *in, struct batch *b, struct why *why)
{
    uint32_t row = 0;
    for (uint32_t d = 0; d < b->device_count; d++) {
        uint64_t series = reader_varint(in), rows = reader_varint(in);
        if (!reader_ok(in) || series == 0 || series > UINT32_MAX || rows == 0 ||
            rows > b->row_count - row)
            return corrupt(in, why, "bad device list");
        b->devices[d] = (struct batch_device){.path = {"", 0}, .series = (uint32_t)series};
        for (uint64_t i = 0; i < rows; i++) b->device[row++] = d;
    }
    return row == b->row_count ? ERR_OK : corrupt(in, why, "devices do not cover the rows");
}

static enum err read_times(struct reader *in, struct batch *b, struct why *why)
{
    for (uint32_t row = 0; row < b->row_count; row++) {
        uint64_t v = reader_varint(in);
        bool first = row == 0 || b->device[row] != b->device[row - 1];
        if (first) {
            b->time[row] = num_unzigzag(v);
            continue;
        }
        b->time[row] = (int64_t)((uint64_t)b->time[row - 1] + v);
        if (v == 0 || b->time[row] < b->time[row - 1])
            return corrupt(in, why, "times do not ascend");
    }
    return reader_ok(in) ? ERR_OK : corrupt(in, why, "times end early");
}

static enum err read_nulls(struct reader *in, struct batch *b, struct vector *v, struct why *why)
{
    const uint8_t *bits = reader_take(in, (b->row_count + 7) / 8);
    if (!bits) return corrupt(in, why, "NULL bitmap ends early");
    v->null = arena_alloc(&b->arena, b->row_count);
    if (!v->null) return ERR_NO_MEMORY;
    for (uint32_t row = 0; row < b->row_count; row++) v->null[row] = bits[row / 8] >> (row % 8) & 1;
    return ERR_OK;
}

static enum err read_quality(struct reader *in, struct batch *b, struct vector *v, struct why *why)
{
    v->quality = arena_alloc(&b->arena, b->row_count * sizeof *v->quality);
    if (!v->quality) return ERR_NO_MEMORY;
    for (uint32_t row = 0; row < b->row_count;) {
        uint64_t run = reader_varint(in);
        uint32_t code = reader_le32(in);
        if (!reader_ok(in) || run == 0 || run > b->row_count - row)
            return corrupt(in, why, "bad run of quality");
        for (uint64_t i = 0; i < run; i++) {
            if (quality_is_bad(code) && !vector_is_null(v, row))
                return corrupt(in, why, "a value with bad quality");
            v->quality[row++] = code;
        }
    }
    return ERR_OK;
}

static enum err read_slices(struct reader *in, struct batch *b, struct vector *v, struct why *why)
{
    for (uint32_t row = 0; row < b->row_count; row++) {
        if (vector_is_null(v, row)) continue;
        uint64_t size = reader_varint(in);
        if (!reader_ok(in) || size > reader_left(in) || (v->type == TYPE_DOUBLES && size % 8))
            return corrupt(in, why, "bad slice size");
        struct str s = reader_str(in, (size_t)size);
        v->s[row].size = s.size;
        v->s[row].at = arena_strdup(&b->arena, s.at, s.size);
        if (!v->s[row].at) return ERR_NO_MEMORY;
    }
    return ERR_OK;
}

static enum err check_values(struct reader *in, struct vector *v, struct why *why)
{
    for (uint32_t row = 0; row < v->count; row++) {
        if (v->type == TYPE_BOOL && v->b[row] > 1) return corrupt(in, why, "a bool above 1");
        if (v->type == TYPE_DOUBLE && !isfinite(v->d[row]))
            return corrupt(in, why, "a double that is not finite");
    }
    return ERR_OK;
}

static enum err read_values(struct reader *in, struct batch *b, struct vector *v, struct why *why)
{
    size_t element = vector_element_bytes(v->type);
    v->data = arena_zero(&b->arena, b->row_count, element);
    if (!v->data) return ERR_NO_MEMORY;
    if (type_bytes(v->type) == 0) return read_slices(in, b, v, why);
    uint32_t present = b->row_count;
    for (uint32_t row = 0; v->null && row < b->row_count; row++) present -= v->null[row];
    const uint8_t *from = reader_take(in, present * element);
    if (!from) return corrupt(in, why, "values end early");
    if (!v->null) {
        memcpy(v->data, from, present * element);
    } else {
        for (uint32_t row = 0; row < b->row_count; row++) {
            if (v->null[row]) continue;
            memcpy((char *)v->data + row * element, from, element);
            from += element;
        }
    }
    return check_values(in, v, why);
}

static enum err read_column(struct reader *in, struct batch *b, uint32_t index, struct why *why)
{
    uint64_t id = reader_varint(in);
    uint8_t type = reader_u8(in), flags = reader_u8(in);
    uint16_t last = index ? b->columns[index - 1].id : 0;
    if (!reader_ok(in) || id > UINT16_MAX || id <= last || flags & ~FLAGS_ALL)
        return corrupt(in, why, "bad column head");
    const struct column *column = schema_column(b->schema, (uint16_t)id);
    if (!column || type == 0 || type >= TYPE_COUNT || !type_widens((enum type)type, column->type))
        return corrupt(in, why, "a column that the table does not have");
    b->columns[index] = (struct batch_column){
        .id = (uint16_t)id, .data = {.type = (enum type)type, .count = b->row_count}};
    struct vector *v = &b->columns[index].data;
    enum err err = flags & FLAG_NULLS ? read_nulls(in, b, v, why) : ERR_OK;
    if (!err && flags & FLAG_QUALITY) err = read_quality(in, b, v, why);
    if (!err) err = read_values(in, b, v, why);
    if (!err)
        err = vector_widen(v, column->type, &b->arena); /* written before the column was widened */
    return err;
}

static enum err read_body(struct reader *in, struct batch *b, uint64_t columns, struct why *why)
{
    b->time = mem_alloc(b->row_count * sizeof *b->time);
    b->device = mem_alloc(b->row_count * sizeof *b->device);
    b->devices = mem_alloc_zero(b->device_count, sizeof *b->devices);
    b->columns = mem_alloc_zero((size_t)columns, sizeof *b->columns);
    if (!b->time || !b->device || !b->devices || !b->columns) return ERR_NO_MEMORY;
    enum err err = read_devices(in, b, why);
    if (!err) err = read_times(in, b, why);
    for (uint32_t i = 0; i < columns && !err; i++) err = read_column(in, b, i, why);
    /* Values live in the arena, so release must not free them one by one. */
    b->arena_columns = true;
    b->column_count = (uint32_t)columns;
    return err;
}

enum err codec_rows_read(struct reader *in, struct schema *schema, struct budget *budget,
                         struct batch **batch, struct why *why)
{
    *batch = NULL;
    uint8_t version = reader_u8(in);
    uint32_t table = reader_le32(in);
    uint64_t rows = reader_varint(in), devices = reader_varint(in), columns = reader_varint(in);
    if (!reader_ok(in) || version != ROWS_VERSION || table != schema->table_id)
        return corrupt(in, why, "not rows of this table");
    if (rows == 0 || rows > BATCH_ROWS_MAX || devices == 0 || devices > rows ||
        columns > schema->column_count || rows * columns > BATCH_CELLS_MAX)
        return corrupt(in, why, "bad counts");
    struct batch *b = batch_new(schema, budget);
    if (!b) return ERR_NO_MEMORY;
    b->row_count = (uint32_t)rows;
    b->device_count = (uint32_t)devices;
    size_t fixed = (size_t)rows * 12 + (size_t)devices * sizeof *b->devices;
    enum err err = budget_take(budget, fixed);
    if (!err) {
        b->size_bytes = fixed;
        err = read_body(in, b, columns, why);
    }
    b->sealed = true;
    if (err) {
        batch_release(b);
        return err;
    }
    *batch = b;
    return ERR_OK;
}

uint32_t codec_rows_table(struct str bytes)
{
    struct reader in = reader_of(bytes.at, bytes.size);
    reader_skip(&in, 1);
    return reader_le32(&in);
}
