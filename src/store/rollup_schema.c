/* rollup_schema.c - the table that a rollup is; see rollup.h. */
#include "store/rollup.h"
#include "base/timetext.h"
#include <stdio.h>

static const char *const suffixes[ROLLUP_PARTS] = {
#define X(symbol, suffix) [ROLLUP_##symbol] = suffix,
    ROLLUP_PART_TABLE(X)
#undef X
};

enum type rollup_part_type(enum type column, enum rollup_part part)
{
    bool is_fixed = type_bytes(column) > 0;
    switch (part) {
    case ROLLUP_COUNT: return TYPE_BIGINT;
    case ROLLUP_SUM:
        return column == TYPE_BOOL ? TYPE_BIGINT : type_is_number(column) ? column : TYPE_NONE;
    default: return is_fixed ? column : TYPE_NONE;
    }
}

uint16_t rollup_part_id(uint16_t base_id, enum rollup_part part)
{
    MUST(base_id > 0 && part < ROLLUP_PARTS);
    uint32_t id = ROLLUP_ID_COLUMNS + (base_id - 1u) * ROLLUP_PARTS + (uint32_t)part;
    return id < UINT16_MAX ? (uint16_t)id : 0;
}

static enum err add_parts(struct schema *s, const struct column *column, struct why *why)
{
    enum err err = ERR_OK;
    for (enum rollup_part part = 0; part < ROLLUP_PARTS && !err; part++) {
        char name[SCHEMA_NAME_BYTES_MAX + 16];
        enum type type = rollup_part_type(column->type, part);
        uint16_t id = rollup_part_id(column->id, part);
        if (type == TYPE_NONE) continue;
        if (!id)
            return why_set(why, ERR_LIMIT,
                           "column %s of table %s has a number too high for rollups", column->name,
                           s->name);
        snprintf(name, sizeof name, "%s%s", column->name, suffixes[part]);
        const char *unit = part == ROLLUP_COUNT ? "" : column->unit;
        err = schema_add_column(s, id, name, type, COLUMN_OWNER_DATA, unit, "", why);
    }
    return err;
}

static enum err add_columns(struct schema *s, const struct schema *base, struct why *why)
{
    enum err err = schema_add_column(s, ROLLUP_ID_ROWS, "rows", TYPE_BIGINT, COLUMN_OWNER_DATA, "",
                                     "rows of the window", why);
    if (!err)
        err = schema_add_column(s, ROLLUP_ID_FIRST_TIME, "first_time", TYPE_TIMESTAMP,
                                COLUMN_OWNER_DATA, "", "time of the window's first row", why);
    if (!err)
        err = schema_add_column(s, ROLLUP_ID_LAST_TIME, "last_time", TYPE_TIMESTAMP,
                                COLUMN_OWNER_DATA, "", "time of the window's last row", why);
    for (uint32_t i = 0; i < base->column_count && !err; i++)
        err = add_parts(s, &base->columns[i], why);
    return err;
}

enum err rollup_schema(const struct schema *base, int64_t every_ns, struct schema **out,
                       struct why *why)
{
    MUST(every_ns > 0);
    struct buf name = BUF_EMPTY;
    buf_printf(&name, "%s_", base->name);
    buf_add_duration(&name, every_ns);
    const char *text = buf_cstr(&name);
    enum err err = text ? schema_check_name(str_of(text), "table", why) : ERR_NO_MEMORY;
    struct schema *s = err ? NULL : schema_new(base->ns, text, 0);
    if (!err) err = s ? add_columns(s, base, why) : ERR_NO_MEMORY;
    if (!err) {
        s->open = false;
        s->rollup_of = base->table_id;
        s->rollup_every_ns = every_ns;
    }
    buf_free(&name);
    if (err) schema_release(s);
    *out = err ? NULL : s;
    return err;
}
