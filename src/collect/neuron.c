/* neuron.c - see neuron.h. The lists are tables: columns, types, byte orders. */
#include "collect/neuron.h"
#include "base/num.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Neuron's documentation gives the orders as sequences of bytes: #LB = 2,1,4,3. For 64 bits it has
 * #L and #B. A string without a letter is read high byte first. */
const struct neuron_order neuron_orders[NEURON_ORDER_ROWS] = {
    {"#L", 2, "AB", 0},       {"#B", 2, "BA", 0},       {"#LL", 4, "ABCD", 0},
    {"#LB", 4, "BADC", 0},    {"#BL", 4, "CDAB", 0},    {"#BB", 4, "DCBA", 0},
    {"#L", 8, "ABCDEFGH", 0}, {"#B", 8, "HGFEDCBA", 0}, {".L", 0, "BA", 0},
};

static const struct type {
    const char *neuron, *own, *column;
    unsigned bytes;   /* of its byte order; 0 = has none */
    const char *code; /* as Neuron's API numbers it */
    bool is_size_in_brackets;
} types[] = {
    {"INT8", "int8", "bigint", 0, "1", false},    {"UINT8", "uint8", "bigint", 0, "2", false},
    {"INT16", "int16", "bigint", 2, "3", false},  {"UINT16", "uint16", "bigint", 2, "4", false},
    {"INT32", "int32", "bigint", 4, "5", false},  {"UINT32", "uint32", "bigint", 4, "6", false},
    {"INT64", "int64", "bigint", 8, "7", false},  {"UINT64", "uint64", "ubigint", 8, "8", false},
    {"FLOAT", "float", "double", 4, "9", false},  {"DOUBLE", "double", "double", 8, "10", false},
    {"BIT", "bit", "bool", 0, "11", false},       {"BOOL", "bool", "bool", 0, "12", false},
    {"STRING", "string", "text", 0, "13", true},  {"BYTES", "bytes", "bytes", 0, "14", true},
    {"WORD", "uint16", "bigint", 2, "", false},   {"DWORD", "uint32", "bigint", 4, "", false},
    {"LWORD", "uint64", "ubigint", 8, "", false},
};
enum { TYPE_ROWS = sizeof types / sizeof types[0] };

/* ---- reading a list ---- */

static const struct {
    const char *name;
    size_t offset;
    bool is_required;
} columns[] = {
    {"group", offsetof(struct neuron_tag, group), true},
    {"interval", offsetof(struct neuron_tag, interval), false},
    {"name", offsetof(struct neuron_tag, name), true},
    {"address", offsetof(struct neuron_tag, address), true},
    {"attribute", offsetof(struct neuron_tag, attribute), true},
    {"type", offsetof(struct neuron_tag, type), true},
    {"description", offsetof(struct neuron_tag, description), false},
    {"decimal", offsetof(struct neuron_tag, decimal), false},
    {"precision", offsetof(struct neuron_tag, precision), false},
    {"bias", offsetof(struct neuron_tag, bias), false},
};
enum { COLUMN_COUNT = sizeof columns / sizeof columns[0], NEURON_LINES_MAX = 1000000 };

/* Where each of our columns stands in the list; SIZE_MAX = nowhere. */
static enum err find_columns(const struct csv_reader *head, size_t places[COLUMN_COUNT],
                             struct why *why)
{
    for (size_t c = 0; c < COLUMN_COUNT; c++) {
        places[c] = SIZE_MAX;
        for (size_t f = 0; f < head->field_count; f++)
            if (str_is_nocase(str_trim(head->fields[f].text), columns[c].name)) places[c] = f;
        if (places[c] == SIZE_MAX && columns[c].is_required)
            return why_set(why, ERR_INVALID,
                           "line %llu: the column '%s' is missing; Neuron's lists begin with "
                           "group,interval,name,address,attribute,type,description,decimal,"
                           "precision,bias",
                           (unsigned long long)head->line, columns[c].name);
    }
    return ERR_OK;
}

static struct neuron_tag make_tag(const struct csv_reader *row, const size_t places[COLUMN_COUNT])
{
    struct neuron_tag tag = {.line = (uint32_t)row->line};
    for (size_t c = 0; c < COLUMN_COUNT; c++) {
        struct str field = STR("");
        if (places[c] < row->field_count) field = str_trim(row->fields[places[c]].text);
        memcpy((char *)&tag + columns[c].offset, &field, sizeof field);
    }
    return tag;
}

/* At least as many as the reader finds, which takes CR alone for a line end too. */
static size_t count_lines(struct str text)
{
    size_t lines = 1;
    for (size_t i = 0; i < text.size; i++) lines += text.at[i] == '\n' || text.at[i] == '\r';
    return lines;
}

/* The next row that is no empty line. */
static enum err next_row(struct csv_reader *row, struct str *rest, struct arena *arena,
                         bool *has_row, struct why *why)
{
    size_t used;
    *has_row = false;
    do {
        enum err err = csv_read(row, *rest, true, arena, &used, why);
        if (err) return why_wrap(why, err, "line %llu", (unsigned long long)row->line);
        *rest = (struct str){rest->at + used, rest->size - used};
        *has_row = used && !(row->field_count == 1 && !str_trim(row->fields[0].text).size) &&
                   row->field_count;
    } while (used && !*has_row);
    return ERR_OK;
}

enum err neuron_read(struct str text, struct arena *arena, struct neuron_tag **tags, size_t *count,
                     struct why *why)
{
    struct csv_reader *row = arena_zero(arena, 1, sizeof *row);
    struct str rest = text;
    size_t places[COLUMN_COUNT] = {0}, capacity = count_lines(text);
    bool has_row;
    *count = 0;
    if (!row) return ERR_NO_MEMORY;
    if (capacity > NEURON_LINES_MAX)
        return why_set(why, ERR_LIMIT, "more than %d lines", NEURON_LINES_MAX);
    row->format = CSV_COMMA;
    enum err err = next_row(row, &rest, arena, &has_row, why);
    if (!err && !has_row) err = why_set(why, ERR_INVALID, "the list is empty");
    if (!err) err = find_columns(row, places, why);
    if (err) return err;
    *tags = arena_alloc(arena, capacity * sizeof **tags);
    if (!*tags) return ERR_NO_MEMORY;
    while (!(err = next_row(row, &rest, arena, &has_row, why)) && has_row) {
        MUST(*count < capacity);
        (*tags)[(*count)++] = make_tag(row, places);
    }
    return err;
}

/* ---- byte orders ---- */

enum err neuron_override(struct neuron_order orders[NEURON_ORDER_ROWS], struct str text,
                         struct why *why)
{
    struct str order = text, suffix = {0};
    (void)str_split(&order, '=', &suffix);
    for (size_t i = 0; i < NEURON_ORDER_ROWS; i++) {
        size_t size = strlen(neuron_orders[i].order);
        unsigned seen = 0;
        if (!str_is(suffix, orders[i].suffix) || order.size != size) continue;
        for (size_t k = 0; k < size; k++)
            if (order.at[k] >= 'A' && order.at[k] < 'A' + (int)size)
                seen |= 1u << (order.at[k] - 'A');
        if (seen != (1u << size) - 1) continue;
        memcpy(orders[i].order, order.at, size);
        return ERR_OK;
    }
    return why_set(why, ERR_INVALID,
                   "'%.*s': write a suffix of the table and its byte order, such as #BL=CDAB",
                   (int)(text.size > 60 ? 60 : text.size), text.at);
}

static const char *find_order(struct neuron_order orders[NEURON_ORDER_ROWS], struct str suffix,
                              unsigned bytes)
{
    for (size_t i = 0; i < NEURON_ORDER_ROWS; i++) {
        if (orders[i].bytes != bytes || !str_is_nocase(suffix, orders[i].suffix)) continue;
        orders[i].used++;
        return orders[i].order;
    }
    return NULL;
}

/* ---- a tag as a point ---- */

static const struct type *find_type(struct str name)
{
    for (size_t i = 0; i < TYPE_ROWS; i++)
        if (str_is_nocase(name, types[i].neuron) ||
            (types[i].code[0] && str_is(name, types[i].code)))
            return &types[i];
    return NULL;
}

/* "1!400001.10H" of a string or of bytes: length and letter off the end. */
static enum err take_size(struct str *address, const struct type *type,
                          struct neuron_order orders[NEURON_ORDER_ROWS], struct neuron_point *point,
                          struct why *why)
{
    const char *dot = address->size ? memrchr(address->at, '.', address->size) : NULL;
    struct str tail =
        dot ? (struct str){dot + 1, address->size - (size_t)(dot + 1 - address->at)} : STR("");
    char letter = tail.size ? tail.at[tail.size - 1] : 0;
    bool has_letter = letter > '9';
    uint64_t size;
    if (has_letter) tail.size--;
    if (!num_parse_u64(tail, &size) || size < 1 || size > 240)
        return why_set(why, ERR_INVALID, "the length is missing: %s addresses end with .10",
                       type->neuron);
    if (has_letter && (letter == 'D' || letter == 'E'))
        return why_set(why, ERR_UNSUPPORTED,
                       "strings with one byte a register (.%.*s%c) are not supported",
                       (int)tail.size, tail.at, letter);
    if (has_letter && letter != 'H' && letter != 'L')
        return why_set(why, ERR_INVALID, "the letter behind the length is H or L");
    address->size = (size_t)(dot - address->at);
    snprintf(point->type, sizeof point->type, "%s(%u)", type->own, (unsigned)size);
    const char *order = letter == 'L' ? find_order(orders, STR(".L"), 0) : NULL;
    if (order) (void)str_copy(point->order, sizeof point->order, str_of(order));
    return ERR_OK;
}

/* "1!400001#BL": the suffix off the end. */
static enum err take_order(struct str *address, const struct type *type,
                           struct neuron_order orders[NEURON_ORDER_ROWS],
                           struct neuron_point *point, struct why *why)
{
    const char *mark = address->size ? memchr(address->at, '#', address->size) : NULL;
    if (!mark) return ERR_OK;
    struct str suffix = {mark, address->size - (size_t)(mark - address->at)};
    const char *order = find_order(orders, suffix, type->bytes);
    if (!order)
        return why_set(why, ERR_INVALID, "%s has no byte order %.*s", type->neuron,
                       (int)suffix.size, suffix.at);
    address->size -= suffix.size;
    (void)str_copy(point->order, sizeof point->order, str_of(order));
    return ERR_OK;
}

enum { ATTRIBUTE_READ = 1, ATTRIBUTE_WRITE = 2, ATTRIBUTE_SUBSCRIBE = 4, ATTRIBUTE_STATIC = 8 };

/* "Read Write", "Read,Subscribe", or the sum of the numbers that Neuron's API uses. */
static unsigned read_attributes(struct str text)
{
    static const char *const names[] = {"read", "write", "subscribe", "static"};
    unsigned bits = 0;
    uint64_t number;
    if (num_parse_u64(text, &number)) return number < 16 ? (unsigned)number : 0;
    for (size_t at = 0; at < text.size;) {
        size_t end = at;
        while (end < text.size && ((text.at[end] | 32) >= 'a' && (text.at[end] | 32) <= 'z')) end++;
        struct str word = {text.at + at, end - at};
        for (size_t i = 0; word.size && i < 4; i++)
            if (str_is_nocase(word, names[i])) bits |= 1u << i;
        at = end + 1;
    }
    return bits;
}

static enum err read_access(const struct neuron_tag *tag, struct neuron_point *point,
                            struct why *why)
{
    unsigned bits = read_attributes(tag->attribute);
    bool reads = bits & (ATTRIBUTE_READ | ATTRIBUTE_SUBSCRIBE);
    if (bits & ATTRIBUTE_STATIC)
        return why_set(why, ERR_UNSUPPORTED, "a static tag has no address in the equipment");
    if (!bits)
        return why_set(why, ERR_INVALID, "attribute '%.*s' is not Read, Write or Subscribe",
                       (int)(tag->attribute.size > 40 ? 40 : tag->attribute.size),
                       tag->attribute.at);
    point->access = bits & ATTRIBUTE_WRITE ? (reads ? "rw" : "w") : "r";
    point->stores_changes = (bits & ATTRIBUTE_SUBSCRIBE) && !(bits & ATTRIBUTE_READ);
    return ERR_OK;
}

/* value = raw × decimal + bias; 0, 1 and nothing at all mean that there is no decimal. */
static enum err read_numbers(const struct neuron_tag *tag, struct neuron_point *point,
                             struct why *why)
{
    uint64_t precision = 0;
    if (tag->decimal.size && !num_parse_double(tag->decimal, &point->scale))
        return why_set(why, ERR_INVALID, "decimal is not a number");
    if (tag->bias.size && !num_parse_double(tag->bias, &point->offset))
        return why_set(why, ERR_INVALID, "bias is not a number");
    if (tag->precision.size && (!num_parse_u64(tag->precision, &precision) || precision > 17))
        return why_set(why, ERR_INVALID, "precision is not a whole number from 0 to 17");
    if (point->scale == 0) point->scale = 1;
    if (precision) point->precision = (int)precision;
    return ERR_OK;
}

/* Printable ASCII, and at least one of it. */
static bool is_plain(struct str text)
{
    for (size_t i = 0; i < text.size; i++)
        if (text.at[i] <= ' ' || text.at[i] > '~') return false;
    return text.size > 0;
}

enum err neuron_translate(const struct neuron_tag *tag,
                          struct neuron_order orders[NEURON_ORDER_ROWS], struct neuron_point *point,
                          struct why *why)
{
    const struct type *type = find_type(tag->type);
    struct str address = tag->address;
    *point = (struct neuron_point){.access = "r", .scale = 1, .precision = -1};
    if (!type)
        return why_set(why, ERR_INVALID, "type '%.*s' is unknown",
                       (int)(tag->type.size > 40 ? 40 : tag->type.size), tag->type.at);
    (void)str_copy(point->type, sizeof point->type, str_of(type->own));
    enum err err = read_access(tag, point, why);
    if (!err) err = read_numbers(tag, point, why);
    if (!err)
        err = type->is_size_in_brackets ? take_size(&address, type, orders, point, why)
                                        : take_order(&address, type, orders, point, why);
    if (!err && (!is_plain(address) || !str_copy(point->address, sizeof point->address, address)))
        err = why_set(why, ERR_INVALID, "the address is missing or too long, or no plain text");
    bool is_scaled = point->scale != 1 || point->offset != 0;
    point->column_type = is_scaled && type->column[0] != 't' && strcmp(type->column, "bytes") != 0
                             ? "double"
                             : type->column;
    return err;
}

/* ---- a point as a tag ---- */

static void add_line(struct buf *out, const struct str fields[COLUMN_COUNT])
{
    for (size_t c = 0; c < COLUMN_COUNT; c++) {
        if (c) buf_add_char(out, ',');
        csv_add(out, CSV_COMMA, fields[c], false);
    }
    buf_add_char(out, '\n');
}

void neuron_add_header(struct buf *out)
{
    struct str names[COLUMN_COUNT];
    for (size_t c = 0; c < COLUMN_COUNT; c++) names[c] = str_of(columns[c].name);
    add_line(out, names);
}

/* "string(13)" -> row and size. */
static const struct type *own_type(struct str text, uint64_t *size)
{
    struct str name = text, digits;
    *size = 0;
    if (!text.size) text = name = STR("int16");
    const char *open = memchr(text.at, '(', text.size);
    if (open) {
        name.size = (size_t)(open - text.at);
        digits = (struct str){open + 1, text.size - name.size - 1};
        if (digits.size) digits.size--;
        if (!num_parse_u64(digits, size)) return NULL;
    }
    for (size_t i = 0; i < TYPE_ROWS; i++)
        if (str_is_nocase(name, types[i].own) && types[i].is_size_in_brackets == (open != NULL))
            return &types[i];
    return NULL;
}

static enum err add_suffix(struct buf *address, const struct neuron_source *source,
                           const struct type *type, uint64_t size, struct why *why)
{
    struct str order = source->order;
    if (type->is_size_in_brackets) {
        bool swapped = order.size && (order.at[0] | 32) == 'b';
        buf_printf(address, ".%u", (unsigned)size);
        if (strcmp(type->own, "string") == 0) buf_add_char(address, swapped ? 'L' : 'H');
        return ERR_OK;
    }
    if (!order.size || !type->bytes) return ERR_OK;
    for (size_t i = 0; i < NEURON_ORDER_ROWS; i++) {
        if (neuron_orders[i].bytes != type->bytes || !str_is_nocase(order, neuron_orders[i].order))
            continue;
        buf_add_text(address, neuron_orders[i].suffix);
        return ERR_OK;
    }
    return why_set(why, ERR_UNSUPPORTED, "Neuron has no name for the byte order %.*s",
                   (int)order.size, order.at);
}

static struct str attribute_of(const struct neuron_source *source)
{
    if (str_is(source->access, "w")) return STR("Write");
    bool changes = str_is(source->store, "change");
    if (str_is(source->access, "rw")) return changes ? STR("Subscribe Write") : STR("Read Write");
    return changes ? STR("Subscribe") : STR("Read");
}

enum err neuron_add_row(struct buf *out, const struct neuron_source *source, struct why *why)
{
    uint64_t size;
    const struct type *type = own_type(source->type, &size);
    struct buf address = BUF_EMPTY, interval = BUF_EMPTY;
    if (!type)
        return why_set(why, ERR_UNSUPPORTED, "Neuron has no type like %.*s", (int)source->type.size,
                       source->type.at);
    if (source->address.size && !memchr(source->address.at, '!', source->address.size))
        buf_printf(&address, "%u!", source->unit);
    buf_add_str(&address, source->address);
    buf_printf(&interval, "%lld", (long long)source->interval_ms);
    enum err err = add_suffix(&address, source, type, size, why);
    if (!err && (buf_failed(&address) || buf_failed(&interval))) err = ERR_NO_MEMORY;
    const struct str fields[COLUMN_COUNT] = {
        source->group,        buf_str(&interval),   source->column,      buf_str(&address),
        attribute_of(source), str_of(type->neuron), source->description, source->scale,
        source->precision,    source->offset};
    if (!err) add_line(out, fields);
    buf_free(&address);
    buf_free(&interval);
    return err;
}
