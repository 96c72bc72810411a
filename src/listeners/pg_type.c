/* pg_type.c - see pg_type.h. */
#include "listeners/pg_type.h"
#include "base/num.h"
#include "base/timetext.h"
#include "listeners/pg_wire.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#define EPOCH_2000_US INT64_C(946684800000000) /* binary times count from 2000-01-01 */

/* ---- out, text ---- */

static void text_plain(const struct pg_style *style, struct buf *out, const struct value *v)
{
    (void)style;
    value_add_text(out, v);
}

static void text_bool(const struct pg_style *style, struct buf *out, const struct value *v)
{
    (void)style;
    buf_add_char(out, v->b ? 't' : 'f');
}

static int64_t floor_us(int64_t ns)
{
    return ns / 1000 - (ns % 1000 < 0);
}

/* "2026-11-21 03:04:05.123+00": ISO style, at most 6 digits, rounded down. */
static void text_time(const struct pg_style *style, struct buf *out, const struct value *v)
{
    int64_t us = floor_us(v->i), second = us / 1000000 - (us % 1000000 < 0);
    int32_t offset = style->zone ? zone_at(style->zone, second).offset : 0;
    us += offset * INT64_C(1000000);
    int64_t day = us / 86400000000 - (us % 86400000000 < 0), of_day = us - day * 86400000000;
    int year;
    unsigned month, day_of_month, s = (unsigned)(of_day / 1000000),
                                  fraction = (unsigned)(of_day % 1000000);
    char text[64];
    time_civil(day, &year, &month, &day_of_month);
    int n = snprintf(text, sizeof text, "%04d-%02u-%02u %02u:%02u:%02u", year, month, day_of_month,
                     s / 3600, s / 60 % 60, s % 60);
    if (fraction) {
        n += snprintf(text + n, sizeof text - (size_t)n, ".%06u", fraction);
        while (text[n - 1] == '0') n--;
    }
    int32_t size = offset < 0 ? -offset : offset;
    n += snprintf(text + n, sizeof text - (size_t)n, "%c%02d", offset < 0 ? '-' : '+', size / 3600);
    if (size % 3600) n += snprintf(text + n, sizeof text - (size_t)n, ":%02d", size / 60 % 60);
    if (size % 60) n += snprintf(text + n, sizeof text - (size_t)n, ":%02d", size % 60);
    buf_add(out, text, (size_t)n);
}

static double double_at(struct str doubles, size_t i)
{
    double d;
    memcpy(&d, doubles.at + 8 * i, 8);
    return d;
}

static void text_doubles(const struct pg_style *style, struct buf *out, const struct value *v)
{
    (void)style;
    buf_add_char(out, '{');
    for (size_t i = 0; i < v->s.size / 8; i++) {
        double d = double_at(v->s, i);
        if (i) buf_add_char(out, ',');
        if (isfinite(d))
            buf_add_double(out, d);
        else
            buf_add_text(out, "NULL");
    }
    buf_add_char(out, '}');
}

/* ---- out, binary ---- */

static void binary_bool(struct buf *out, const struct value *v)
{
    buf_add_char(out, v->b ? 1 : 0);
}
static void binary_int8(struct buf *out, const struct value *v)
{
    pg_add_64(out, (uint64_t)v->i);
}
static void binary_int4(struct buf *out, const struct value *v)
{
    pg_add_32(out, (uint32_t)v->i);
}
static void binary_int2(struct buf *out, const struct value *v)
{
    pg_add_16(out, (uint16_t)v->i);
}

static void add_double(struct buf *out, double d)
{
    uint64_t bits;
    memcpy(&bits, &d, 8);
    pg_add_64(out, bits);
}

static void binary_float8(struct buf *out, const struct value *v)
{
    add_double(out, v->d);
}

static void binary_bytes(struct buf *out, const struct value *v)
{
    buf_add_str(out, v->s);
}

static void binary_time(struct buf *out, const struct value *v)
{
    pg_add_64(out, (uint64_t)(floor_us(v->i) - EPOCH_2000_US));
}

/* Digits to the base 10000, the first weighing 10000^weight; no digits behind the point. */
static void binary_numeric(struct buf *out, const struct value *v)
{
    uint16_t digits[5];
    unsigned count = 0, zeros = 0;
    for (uint64_t left = v->u; left; left /= 10000) digits[count++] = (uint16_t)(left % 10000);
    while (zeros < count && digits[zeros] == 0) zeros++;
    pg_add_16(out, (uint16_t)(count - zeros));
    pg_add_16(out, (uint16_t)(count ? count - 1 : 0));
    pg_add_16(out, 0); /* sign */
    pg_add_16(out, 0); /* dscale */
    for (unsigned i = count; i-- > zeros;) pg_add_16(out, digits[i]);
}

enum { OID_FLOAT8 = 701, OID_TEXT = 25 };

static void binary_doubles(struct buf *out, const struct value *v)
{
    size_t count = v->s.size / 8;
    bool has_null = false;
    for (size_t i = 0; i < count; i++) has_null |= !isfinite(double_at(v->s, i));
    pg_add_32(out, count ? 1 : 0); /* dimensions */
    pg_add_32(out, has_null);
    pg_add_32(out, OID_FLOAT8);
    if (count) pg_add_32(out, (uint32_t)count);
    if (count) pg_add_32(out, 1); /* lower bound */
    for (size_t i = 0; i < count; i++) {
        double d = double_at(v->s, i);
        pg_add_32(out, isfinite(d) ? 8 : UINT32_MAX);
        if (isfinite(d)) add_double(out, d);
    }
}

/* ---- in, text (where value_parse does not do) ---- */

/* numeric: a whole number stays exact, anything else is a double. */
static bool read_number(struct str text, struct value *v, struct arena *arena)
{
    (void)arena;
    text = str_trim(text);
    *v = (struct value){.type = TYPE_BIGINT};
    if (num_parse_i64(text, &v->i)) return true;
    v->type = TYPE_UBIGINT;
    if (num_parse_u64(text, &v->u)) return true;
    v->type = TYPE_DOUBLE;
    return num_parse_double(text, &v->d);
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* "\x0a1b", or the older form with \ooo and \\. */
static bool read_bytea(struct str text, struct value *v, struct arena *arena)
{
    char *out = arena_alloc(arena, text.size + 1);
    size_t size = 0, i = 0;
    if (!out) return false;
    if (str_starts(text, "\\x")) {
        for (i = 2; i + 1 < text.size; i += 2) {
            int high = hex_digit(text.at[i]), low = hex_digit(text.at[i + 1]);
            if (high < 0 || low < 0) return false;
            out[size++] = (char)(high << 4 | low);
        }
        if (i != text.size) return false;
    }
    for (; i < text.size; i++) {
        if (text.at[i] != '\\') {
            out[size++] = text.at[i];
        } else if (i + 1 < text.size && text.at[i + 1] == '\\') {
            out[size++] = '\\';
            i++;
        } else {
            if (i + 3 >= text.size) return false;
            unsigned octal = 0;
            for (size_t j = 1; j <= 3; j++) {
                if (text.at[i + j] < '0' || text.at[i + j] > '7') return false;
                octal = octal * 8 + (unsigned)(text.at[i + j] - '0');
            }
            if (octal > 255) return false;
            out[size++] = (char)octal;
            i += 3;
        }
    }
    *v = (struct value){.type = TYPE_BYTES, .s = {out, size}};
    return true;
}

/* "{1,2.5,NULL}" */
static bool read_doubles(struct str text, struct value *v, struct arena *arena)
{
    text = str_trim(text);
    if (text.size < 2 || text.at[0] != '{' || text.at[text.size - 1] != '}') return false;
    struct str rest = str_trim((struct str){text.at + 1, text.size - 2}), piece;
    size_t count = rest.size > 0;
    for (size_t i = 0; i < rest.size; i++) count += rest.at[i] == ',';
    double *out = arena_alloc(arena, (count ? count : 1) * sizeof *out);
    if (!out) return false;
    for (size_t i = 0; i < count; i++) {
        (void)str_split(&rest, ',', &piece);
        piece = str_trim(piece);
        if (str_is_nocase(piece, "null"))
            out[i] = (double)NAN;
        else if (!num_parse_double(piece, &out[i]))
            return false;
    }
    *v = (struct value){.type = TYPE_DOUBLES, .s = {(const char *)out, count * 8}};
    return true;
}

/* Texts that only their place can judge: json, uuid, interval, time. */
static bool read_as_text(struct str text, struct value *v, struct arena *arena)
{
    (void)arena;
    *v = (struct value){.type = TYPE_TEXT, .s = text};
    return true;
}

/* ---- in, binary ---- */

static bool read_int(struct str bytes, size_t size, struct value *v)
{
    struct reader r = reader_of(bytes.at, bytes.size);
    if (bytes.size != size) return false;
    uint64_t bits = reader_be(&r, size);
    unsigned shift = (unsigned)(64 - 8 * size);
    *v = (struct value){.type = TYPE_BIGINT, .i = (int64_t)(bits << shift) >> shift};
    return true;
}

static bool read_int8(struct str b, struct value *v, struct arena *arena)
{
    (void)arena;
    return read_int(b, 8, v);
}
static bool read_int4(struct str b, struct value *v, struct arena *arena)
{
    (void)arena;
    return read_int(b, 4, v);
}
static bool read_int2(struct str b, struct value *v, struct arena *arena)
{
    (void)arena;
    return read_int(b, 2, v);
}

static bool read_oid(struct str b, struct value *v, struct arena *arena)
{
    (void)arena;
    if (!read_int(b, 4, v)) return false;
    v->i = (uint32_t)v->i;
    return true;
}

static bool read_bool(struct str b, struct value *v, struct arena *arena)
{
    (void)arena;
    *v = (struct value){.type = TYPE_BOOL, .b = b.size == 1 && b.at[0] != 0};
    return b.size == 1;
}

static bool read_float8(struct str b, struct value *v, struct arena *arena)
{
    (void)arena;
    struct reader r = reader_of(b.at, b.size);
    uint64_t bits = reader_be64(&r);
    *v = (struct value){.type = TYPE_DOUBLE};
    memcpy(&v->d, &bits, 8);
    return b.size == 8 && isfinite(v->d);
}

static bool read_float4(struct str b, struct value *v, struct arena *arena)
{
    (void)arena;
    struct reader r = reader_of(b.at, b.size);
    uint32_t bits = reader_be32(&r);
    float f;
    memcpy(&f, &bits, 4);
    *v = (struct value){.type = TYPE_DOUBLE, .d = (double)f};
    return b.size == 4 && isfinite(v->d);
}

static bool read_bytes(struct str b, struct value *v, struct arena *arena)
{
    (void)arena;
    *v = (struct value){.type = TYPE_BYTES, .s = b};
    return true;
}

/* Microseconds since 2000 into a time; infinities and what int64 nanoseconds cannot hold are
 * refused. */
static bool time_of_us(int64_t us, struct value *v)
{
    *v = (struct value){.type = TYPE_TIMESTAMP};
    return !__builtin_add_overflow(us, EPOCH_2000_US, &us) &&
           !__builtin_mul_overflow(us, INT64_C(1000), &v->i);
}

static bool read_time(struct str b, struct value *v, struct arena *arena)
{
    return read_int8(b, v, arena) && time_of_us(v->i, v);
}

static bool read_date(struct str b, struct value *v, struct arena *arena)
{
    int64_t us;
    return read_int4(b, v, arena) && !__builtin_mul_overflow(v->i, INT64_C(86400000000), &us) &&
           time_of_us(us, v);
}

/* Time of day, as text. */
static bool read_time_of_day(struct str b, struct value *v, struct arena *arena)
{
    if (!read_int8(b, v, arena) || v->i < 0 || v->i > INT64_C(86400000000)) return false;
    int64_t us = v->i;
    char *text =
        arena_printf(arena, "%02d:%02d:%02d.%06d", (int)(us / 3600000000),
                     (int)(us / 60000000 % 60), (int)(us / 1000000 % 60), (int)(us % 1000000));
    *v = (struct value){.type = TYPE_TEXT, .s = str_of(text)};
    return text != NULL;
}

/* Microseconds, days, months: as the text of a duration. Months have no length. */
static bool read_interval(struct str b, struct value *v, struct arena *arena)
{
    struct reader r = reader_of(b.at, b.size);
    int64_t us = (int64_t)reader_be64(&r), day_us, ns;
    int64_t days = (int32_t)reader_be32(&r), months = (int32_t)reader_be32(&r);
    if (b.size != 16 || months || __builtin_mul_overflow(days, INT64_C(86400000000), &day_us) ||
        __builtin_add_overflow(us, day_us, &us) || __builtin_mul_overflow(us, INT64_C(1000), &ns) ||
        ns < 0)
        return false;
    struct buf text = BUF_EMPTY;
    buf_add_duration(&text, ns);
    char *copy = arena_strdup(arena, text.at, text.size);
    *v = (struct value){.type = TYPE_TEXT, .s = str_of(copy)};
    buf_free(&text);
    return copy != NULL;
}

/* Digits to the base 10000 as decimal text, then as text is read. */
static bool read_numeric(struct str b, struct value *v, struct arena *arena)
{
    struct reader r = reader_of(b.at, b.size);
    uint16_t count = reader_be16(&r);
    int16_t weight = (int16_t)reader_be16(&r);
    uint16_t sign = reader_be16(&r);
    reader_skip(&r, 2); /* how many digits to show */
    if (!reader_ok(&r) || reader_left(&r) != (size_t)count * 2 || count > 200 || weight > 100 ||
        weight < -100 || (sign != 0 && sign != 0x4000))
        return false;
    struct buf text = BUF_EMPTY;
    if (sign) buf_add_char(&text, '-');
    buf_add_char(&text, '0');
    bool is_whole = count <= weight + 1;
    for (int i = 0; i < (is_whole ? weight + 1 : (int)count); i++) {
        unsigned digit = i < count ? reader_be16(&r) : 0;
        if (digit > 9999) break;
        buf_printf(&text, "%04u", digit);
    }
    if (!is_whole) buf_printf(&text, "e%d", (weight + 1 - count) * 4);
    char *copy = arena_strdup(arena, text.at, text.size);
    buf_free(&text);
    return copy && read_number(str_of(copy), v, arena);
}

static bool read_uuid(struct str b, struct value *v, struct arena *arena)
{
    char text[37];
    size_t n = 0;
    if (b.size != 16) return false;
    for (size_t i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) text[n++] = '-';
        snprintf(text + n, sizeof text - n, "%02x", (unsigned char)b.at[i]);
        n += 2;
    }
    char *copy = arena_strdup(arena, text, n);
    *v = (struct value){.type = TYPE_TEXT, .s = str_of(copy)};
    return copy != NULL;
}

/* jsonb: a version before the text. */
static bool read_jsonb(struct str b, struct value *v, struct arena *arena)
{
    if (b.size < 1 || b.at[0] != 1) return false;
    return read_as_text((struct str){b.at + 1, b.size - 1}, v, arena);
}

static bool read_float8_array(struct str b, struct value *v, struct arena *arena)
{
    struct reader r = reader_of(b.at, b.size);
    uint32_t dimensions = reader_be32(&r);
    reader_skip(&r, 4); /* whether there are NULLs */
    uint32_t element = reader_be32(&r), count = dimensions ? reader_be32(&r) : 0;
    if (dimensions) reader_skip(&r, 4);
    if (!reader_ok(&r) || dimensions > 1 || element != OID_FLOAT8 || count > reader_left(&r) / 4)
        return false;
    double *out = arena_alloc(arena, (count ? count : 1) * sizeof *out);
    if (!out) return false;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t size = reader_be32(&r);
        uint64_t bits = size == 8 ? reader_be64(&r) : 0;
        memcpy(&out[i], &bits, 8);
        if (size == UINT32_MAX) out[i] = (double)NAN;
        if (size != 8 && size != UINT32_MAX) return false;
    }
    *v = (struct value){.type = TYPE_DOUBLES, .s = {(const char *)out, (size_t)count * 8}};
    return reader_ok(&r) && reader_left(&r) == 0;
}

/* ---- the table; the first of an engine's type is what its values are ---- */

/* clang-format off */
const struct pg_type pg_types[] = {
    {16,   1000, "bool",        "boolean",                     1,  'B', TYPE_BOOL,      text_bool,    binary_bool,    NULL,         read_bool},
    {20,   1016, "int8",        "bigint",                      8,  'N', TYPE_BIGINT,    text_plain,   binary_int8,    NULL,         read_int8},
    {1700, 1231, "numeric",     "numeric",                     -1, 'N', TYPE_UBIGINT,   text_plain,   binary_numeric, read_number,  read_numeric},
    {701,  1022, "float8",      "double precision",            8,  'N', TYPE_DOUBLE,    text_plain,   binary_float8,  NULL,         read_float8},
    {25,   1009, "text",        "text",                        -1, 'S', TYPE_TEXT,      text_plain,   binary_bytes,   NULL,         read_as_text},
    {17,   1001, "bytea",       "bytea",                       -1, 'U', TYPE_BYTES,     text_plain,   binary_bytes,   read_bytea,   read_bytes},
    {1184, 1185, "timestamptz", "timestamp with time zone",    8,  'D', TYPE_TIMESTAMP, text_time,    binary_time,    NULL,         read_time},
    {1022, 0,    "_float8",     "double precision[]",          -1, 'A', TYPE_DOUBLES,   text_doubles, binary_doubles, read_doubles, read_float8_array},
    {21,   1005, "int2",        "smallint",                    2,  'N', TYPE_BIGINT,    text_plain,   binary_int2,    NULL,         read_int2},
    {23,   1007, "int4",        "integer",                     4,  'N', TYPE_BIGINT,    text_plain,   binary_int4,    NULL,         read_int4},
    {26,   1028, "oid",         "oid",                         4,  'N', TYPE_BIGINT,    text_plain,   binary_int4,    NULL,         read_oid},
    {700,  1021, "float4",      "real",                        4,  'N', TYPE_DOUBLE,    text_plain,   binary_float8,  NULL,         read_float4},
    {18,   1002, "char",        "\"char\"",                    1,  'Z', TYPE_TEXT,      text_plain,   binary_bytes,   NULL,         read_as_text},
    {19,   1003, "name",        "name",                        64, 'S', TYPE_TEXT,      text_plain,   binary_bytes,   NULL,         read_as_text},
    {1042, 1014, "bpchar",      "character",                   -1, 'S', TYPE_TEXT,      text_plain,   binary_bytes,   NULL,         read_as_text},
    {1043, 1015, "varchar",     "character varying",           -1, 'S', TYPE_TEXT,      text_plain,   binary_bytes,   NULL,         read_as_text},
    {705,  0,    "unknown",     "unknown",                     -2, 'X', TYPE_TEXT,      text_plain,   binary_bytes,   NULL,         read_as_text},
    {114,  199,  "json",        "json",                        -1, 'U', TYPE_TEXT,      text_plain,   binary_bytes,   read_as_text, read_as_text},
    {3802, 3807, "jsonb",       "jsonb",                       -1, 'U', TYPE_TEXT,      text_plain,   binary_bytes,   read_as_text, read_jsonb},
    {2950, 2951, "uuid",        "uuid",                        16, 'U', TYPE_TEXT,      text_plain,   binary_bytes,   read_as_text, read_uuid},
    {1082, 1182, "date",        "date",                        4,  'D', TYPE_TIMESTAMP, text_time,    binary_time,    NULL,         read_date},
    {1114, 1115, "timestamp",   "timestamp without time zone", 8,  'D', TYPE_TIMESTAMP, text_time,    binary_time,    NULL,         read_time},
    {1083, 1183, "time",        "time without time zone",      8,  'D', TYPE_TEXT,      text_plain,   binary_bytes,   read_as_text, read_time_of_day},
    {1186, 1187, "interval",    "interval",                    16, 'T', TYPE_TEXT,      text_plain,   binary_bytes,   read_as_text, read_interval},
    {1009, 0,    "_text",       "text[]",                      -1, 'A', TYPE_TEXT,      text_plain,   NULL,           NULL,         NULL},
    {1003, 0,    "_name",       "name[]",                      -1, 'A', TYPE_TEXT,      text_plain,   NULL,           NULL,         NULL},
    {1005, 0,    "_int2",       "smallint[]",                  -1, 'A', TYPE_TEXT,      text_plain,   NULL,           NULL,         NULL},
    {1028, 0,    "_oid",        "oid[]",                       -1, 'A', TYPE_TEXT,      text_plain,   NULL,           NULL,         NULL},
    {22,   1006, "int2vector",  "int2vector",                  -1, 'A', TYPE_TEXT,      text_plain,   NULL,           NULL,         NULL},
    {30,   1013, "oidvector",   "oidvector",                   -1, 'A', TYPE_TEXT,      text_plain,   NULL,           NULL,         NULL},
    {24,   1008, "regproc",     "regproc",                     4,  'N', TYPE_TEXT,      text_plain,   NULL,           NULL,         NULL},
    {2205, 2210, "regclass",    "regclass",                    4,  'N', TYPE_TEXT,      text_plain,   NULL,           NULL,         NULL},
    {2206, 2211, "regtype",     "regtype",                     4,  'N', TYPE_TEXT,      text_plain,   NULL,           NULL,         NULL},
    {1033, 1034, "aclitem",     "aclitem",                     12, 'U', TYPE_TEXT,      text_plain,   NULL,           NULL,         NULL},
    {194,  0,    "pg_node_tree", "pg_node_tree",               -1, 'Z', TYPE_TEXT,      text_plain,   NULL,           NULL,         NULL},
    {28,   1011, "xid",         "xid",                         4,  'U', TYPE_BIGINT,    text_plain,   binary_int4,    NULL,         read_int4},
    {2278, 0,    "void",        "void",                        4,  'P', TYPE_TEXT,      text_plain,   binary_bytes,   NULL,         NULL},
};
/* clang-format on */
const size_t pg_type_count = sizeof pg_types / sizeof pg_types[0];

const struct pg_type *pg_type_find(uint32_t oid)
{
    for (size_t i = 0; i < pg_type_count; i++)
        if (pg_types[i].oid == oid) return &pg_types[i];
    return NULL;
}

const struct pg_type *pg_type_of(enum type type)
{
    for (size_t i = 0; i < pg_type_count; i++)
        if (pg_types[i].type == type) return &pg_types[i];
    return pg_type_find(OID_TEXT);
}

const struct pg_type *pg_type_of_column(enum type type, const char *unit)
{
    const struct pg_type *found = NULL;
    if (unit && strncmp(unit, "pg:", 3) == 0)
        for (size_t i = 0; i < pg_type_count && !found; i++)
            if (pg_types[i].type == type && strcmp(pg_types[i].name, unit + 3) == 0)
                found = &pg_types[i];
    return found ? found : pg_type_of(type);
}

enum err pg_param_read(uint32_t oid, bool is_binary, struct str bytes, struct arena *arena,
                       struct value *value, struct why *why)
{
    const struct pg_type *type = pg_type_find(oid ? oid : OID_TEXT);
    bool good = false;
    if (!type || (is_binary && !type->read_binary)) {
        return why_set(why, ERR_UNSUPPORTED,
                       "a parameter of the type with the object id %u cannot be read%s; send it as "
                       "text",
                       oid, is_binary ? " in binary form" : "");
    }
    if (is_binary)
        good = type->read_binary(bytes, value, arena);
    else if (type->read_text)
        good = type->read_text(bytes, value, arena);
    else
        good = value_parse(type->type == TYPE_TEXT ? bytes : str_trim(bytes), type->type, value,
                           NULL) == ERR_OK;
    if (good && value->type == TYPE_TEXT && !str_is_utf8(value->s))
        return why_set(why, ERR_INVALID, "a parameter is not UTF-8 text");
    if (good) return ERR_OK;
    return why_set(
        why, ERR_INVALID, "%s '%.*s' is not valid for type %s", is_binary ? "a binary value" : "",
        is_binary ? 0 : (int)(bytes.size > 60 ? 60 : bytes.size), bytes.at, type->sql_name);
}
