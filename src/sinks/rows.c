/* rows.c - the rows that a sink has in hand: copied off the statement's vectors, for these are gone
 * with its next step, while a batch may have to wait for as long as the world outside is away. */
#include "base/hash.h"
#include "mqtt/topic.h"
#include "sinks/sinks_priv.h"
#include <string.h>

_Static_assert(sizeof(struct millrace_sink_text) == sizeof(struct str), "both are one slice");
_Static_assert((int)MILLRACE_SINK_BOOL == TYPE_BOOL && (int)MILLRACE_SINK_INT == TYPE_BIGINT &&
                   (int)MILLRACE_SINK_UINT == TYPE_UBIGINT &&
                   (int)MILLRACE_SINK_DOUBLE == TYPE_DOUBLE &&
                   (int)MILLRACE_SINK_TEXT == TYPE_TEXT && (int)MILLRACE_SINK_BYTES == TYPE_BYTES &&
                   (int)MILLRACE_SINK_TIME == TYPE_TIMESTAMP &&
                   (int)MILLRACE_SINK_DOUBLES == TYPE_DOUBLES,
               "the interface's numbers are the node's");

size_t sink_rows_keys(const struct sink *s)
{
    enum { KEYS = 2 /* of a followed table: device and time of its row come first */ };
    return s->table[0] ? KEYS : 0;
}

/* What a result's column is to the sink. Those named device and time say whose and of when a row
 * is; where a query has none, they are those of the row it was made of. */
static bool is_shown(struct sink *s, const struct sql_result_column *column, int at)
{
    if (!s->spec->query.size) return true;
    if (str_is(str_of(column->name), "time") && column->type == TYPE_TIMESTAMP) {
        s->rows.time_from = at;
        return false;
    }
    if (!str_is(str_of(column->name), "device") || column->type != TYPE_TEXT) return true;
    s->rows.device_from = at;
    bool is_mqtt = str_is(s->spec->type, mqtt_sink.name);
    return is_mqtt && !sink_topic_has(&s->spec->mqtt, "device");
}

static bool make_arrays(struct sink_rows *rows, size_t columns)
{
    struct arena *arena = &rows->arena;
    rows->time = arena_alloc(arena, rows->capacity * sizeof *rows->time);
    rows->key_time = arena_alloc(arena, rows->capacity * sizeof *rows->key_time);
    rows->device = arena_alloc(arena, rows->capacity * sizeof *rows->device);
    rows->key_device = arena_alloc(arena, rows->capacity * sizeof *rows->key_device);
    rows->from = arena_zero(arena, columns + 1, sizeof *rows->from);
    rows->vectors = arena_zero(arena, columns + 1, sizeof *rows->vectors);
    rows->shown = arena_zero(arena, columns + 1, sizeof *rows->shown);
    return rows->time && rows->key_time && rows->device && rows->key_device && rows->from &&
           rows->vectors && rows->shown;
}

static bool make_column(struct sink_rows *rows, size_t at, const struct sql_result_column *from)
{
    enum type type = from->type == TYPE_NONE ? TYPE_TEXT : from->type;
    struct millrace_sink_column *shown = &rows->shown[at];
    if (vector_make(&rows->vectors[at], &rows->arena, type, rows->capacity, true, true))
        return false;
    shown->name = arena_strdup(&rows->arena, from->name, strlen(from->name));
    shown->unit = arena_strdup(&rows->arena, from->unit, strlen(from->unit));
    shown->type = (enum millrace_sink_type)type;
    return shown->name && shown->unit;
}

enum err sink_rows_begin(struct sink *s, size_t columns, size_t extras,
                         const struct sql_result_column *names)
{
    struct sink_rows *rows = &s->rows;
    size_t keys = sink_rows_keys(s);
    MUST(columns >= keys + extras && rows->count == 0);
    arena_reset(&rows->arena);
    *rows = (struct sink_rows){.arena = rows->arena,
                               .extras = extras,
                               .device_from = keys ? 0 : -1,
                               .time_from = keys ? 1 : -1,
                               /* one chunk of the statement may come when it is all but full */
                               .capacity = (uint32_t)s->spec->batch.rows + SQL_CHUNK_ROWS};
    if (!make_arrays(rows, columns)) return ERR_BUDGET;
    size_t shown = 0;
    for (size_t i = keys; i < columns; i++) {
        if (i < columns - extras && !is_shown(s, &names[i], (int)i)) continue;
        rows->from[shown] = (uint16_t)i;
        if (!make_column(rows, shown++, &names[i])) return ERR_BUDGET;
    }
    rows->columns = shown - extras;
    return ERR_OK;
}

void sink_rows_free(struct sink_rows *rows)
{
    arena_free(&rows->arena);
    rows->count = rows->slice = rows->at = 0;
}

/* ---- only what has changed ---- */

void sink_memory_free(struct sink_memory *memory)
{
    size_t at = 0;
    struct str key;
    void *value;
    while (map_next(&memory->devices, &at, &key, &value)) mem_free(value);
    map_free(&memory->devices);
    map_init(&memory->devices);
}

/* The device's hashes; NULL: no memory. */
static uint64_t *remembered(struct sink_memory *memory, struct str device, size_t columns)
{
    if (memory->columns != columns)
        sink_memory_free(memory); /* the table has changed: all are new */
    memory->columns = columns;
    uint64_t *hashes = map_get(&memory->devices, device);
    if (hashes) return hashes;
    hashes = mem_alloc_zero(columns + 1, sizeof *hashes);
    if (!hashes || map_put(&memory->devices, device, hashes, NULL)) {
        mem_free(hashes);
        return NULL;
    }
    return hashes;
}

static uint64_t hash_value(const struct value *v)
{
    bool is_slice = type_bytes(v->type) == 0;
    uint64_t bits = v->is_null ? 1 : v->type == TYPE_BOOL ? v->b : is_slice ? 0 : v->u;
    uint64_t seed[3] = {bits, v->quality, v->is_null};
    uint64_t h = hash_64(seed, sizeof seed);
    if (!v->is_null && is_slice && v->s.size) h ^= hash_64(v->s.at, v->s.size) * 31;
    return h ? h : 1;
}

/* Takes out what is as it was. False: nothing of the row is left. */
static bool keep_changes(struct sink *s, uint64_t *hashes, uint32_t row)
{
    bool is_left = false;
    for (size_t c = 0; c < s->rows.columns; c++) {
        struct vector *v = &s->rows.vectors[c];
        struct value value = vector_get(v, row);
        if (value.is_null && value.quality == QUALITY_NO_DATA) continue;
        uint64_t hash = hash_value(&value);
        bool is_same = hash == hashes[c];
        hashes[c] = hash;
        is_left |= !is_same;
        struct value nothing = {.type = v->type, .is_null = true, .quality = QUALITY_NO_DATA};
        if (is_same) vector_set(v, row, &nothing);
    }
    return is_left;
}

/* ---- taking ---- */

static enum err copy_cell(struct sink_rows *rows, size_t column, const struct vector *from,
                          uint32_t at)
{
    struct value value = vector_get(from, at);
    struct vector *to = &rows->vectors[column];
    if (!value.is_null && type_bytes(value.type) == 0) {
        value.s.at = arena_dup(&rows->arena, value.s.size ? value.s.at : "", value.s.size);
        if (!value.s.at) return ERR_BUDGET;
    }
    value.type = to->type; /* an untyped NULL */
    vector_set(to, rows->count, &value);
    to->count = rows->count + 1;
    return ERR_OK;
}

static bool is_wanted(const struct sink_spec *spec, struct str device)
{
    bool hit = spec->devices.count == 0;
    for (size_t i = 0; i < spec->devices.count && !hit; i++)
        hit = topic_matches(spec->devices.items[i], device);
    return hit;
}

/* A path that was met in the row before is not copied again. False: no memory. */
static bool take_path(struct sink_rows *rows, const struct vector *columns, int from, uint32_t row,
                      struct millrace_sink_text *path)
{
    struct value value = {.is_null = true};
    if (from >= 0) value = vector_get(&columns[from], row);
    struct str now = value.is_null ? STR("") : value.s;
    if (path->at && str_equal(now, (struct str){path->at, path->size})) return true;
    *path = (struct millrace_sink_text){arena_dup(&rows->arena, now.size ? now.at : "", now.size),
                                        now.size};
    return path->at != NULL;
}

/* What is looked at once a device. */
struct taking {
    struct millrace_sink_text device, key;
    const char *looked_at; /* device.at, of what follows */
    uint64_t *hashes;
    bool is_wanted;
};

static bool look_at_device(struct sink *s, struct taking *t)
{
    if (t->looked_at == t->device.at) return true;
    struct str path = {t->device.at, t->device.size};
    t->looked_at = t->device.at;
    t->is_wanted = is_wanted(s->spec, path);
    t->hashes = NULL;
    if (t->is_wanted && s->spec->on_change)
        t->hashes = remembered(&s->memory, path, s->rows.columns);
    return !t->is_wanted || !s->spec->on_change || t->hashes;
}

static enum err take_row(struct sink *s, struct taking *t, const struct vector *columns,
                         uint32_t at, struct why *why)
{
    struct sink_rows *rows = &s->rows;
    MUST(rows->count < rows->capacity);
    for (size_t c = 0; c < rows->columns + rows->extras; c++)
        if (copy_cell(rows, c, &columns[rows->from[c]], at))
            return why_set(why, ERR_LIMIT,
                           "a batch of %u rows needs more than %d MiB: lower batch.rows",
                           rows->count, SINK_MEMORY_BYTES >> 20);
    if (t->hashes && !keep_changes(s, t->hashes, rows->count)) return ERR_OK;
    struct value time = {.is_null = true};
    if (rows->time_from >= 0) time = vector_get(&columns[rows->time_from], at);
    rows->key_time[rows->count] = s->table[0] ? columns[1].i[vector_at(&columns[1], at)] : 0;
    int64_t otherwise = s->table[0] ? rows->key_time[rows->count] : s->run_ns;
    rows->time[rows->count] = time.is_null ? otherwise : time.i;
    rows->key_device[rows->count] = t->key;
    rows->device[rows->count++] = t->device;
    return ERR_OK;
}

enum err sink_rows_take(void *context, const struct vector *columns, size_t column_count,
                        const uint16_t *selection, uint32_t row_count, struct why *why)
{
    struct sink *s = context;
    struct sink_rows *rows = &s->rows;
    struct taking t = {.looked_at = NULL};
    MUST(column_count >= rows->columns + rows->extras);
    for (uint32_t i = 0; i < row_count; i++) {
        uint32_t at = selection ? selection[i] : i;
        if (!take_path(rows, columns, rows->device_from, at, &t.device) ||
            !take_path(rows, columns, s->table[0] ? 0 : -1, at, &t.key) || !look_at_device(s, &t))
            return why_set(why, ERR_BUDGET, "no memory for the rows of a batch");
        if (!t.is_wanted) continue;
        enum err err = take_row(s, &t, columns, at, why);
        if (err) return err;
    }
    return ERR_OK;
}

bool sink_rows_is_full(void *context)
{
    const struct sink *s = context;
    return s->rows.count >= (uint32_t)s->spec->batch.rows;
}
