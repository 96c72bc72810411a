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
                               .most = (uint32_t)s->spec->batch.rows,
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

/* Whether the cell is not as it was; takes note of it. */
static bool is_change(uint64_t *hash, const struct value *value)
{
    if (value->is_null && value->quality == QUALITY_NO_DATA) return false;
    uint64_t now = hash_value(value), before = *hash;
    *hash = now;
    return now != before;
}

/* ---- taking ---- */

static const char *keep_bytes(struct sink_rows *rows, struct str s)
{
    const char *copy = arena_dup(&rows->arena, s.size ? s.at : "", s.size);
    if (copy) rows->bytes += s.size;
    return copy;
}

static bool is_wanted(const struct sink_spec *spec, struct str device)
{
    bool hit = spec->devices.count == 0;
    for (size_t i = 0; i < spec->devices.count && !hit; i++)
        hit = topic_matches(spec->devices.items[i], device);
    return hit;
}

static struct str path_at(const struct vector *columns, int from, uint32_t row)
{
    struct value value = {.is_null = true};
    if (from >= 0) value = vector_get(&columns[from], row);
    return value.is_null ? STR("") : value.s;
}

static bool is_text(const struct millrace_sink_text *text, struct str s)
{
    return text->at && str_equal(s, (struct str){text->at, text->size});
}

/* A path that was met in the row before is not copied again. False: no memory. */
static bool keep_path(struct sink_rows *rows, struct str now, struct millrace_sink_text *path)
{
    if (is_text(path, now)) return true;
    *path = (struct millrace_sink_text){keep_bytes(rows, now), now.size};
    return path->at != NULL;
}

/* What is looked at once a device. */
struct taking {
    struct str looked_at; /* in the statement's memory; at NULL: none yet */
    uint64_t *hashes;
    bool is_wanted;
    struct millrace_sink_text device, key; /* those of the row kept last */
};

static bool look_at_device(struct sink *s, struct taking *t, struct str path)
{
    if (t->looked_at.at && str_equal(t->looked_at, path)) return true;
    t->looked_at = path;
    t->is_wanted = is_wanted(s->spec, path);
    t->hashes = NULL;
    if (t->is_wanted && s->spec->on_change)
        t->hashes = remembered(&s->memory, path, s->rows.columns);
    return !t->is_wanted || !s->spec->on_change || t->hashes;
}

/* Copies the row's cells; those of `hashes` (or NULL) that are as they were become no value.
 * *is_left: whether one is there that changed. */
static enum err take_cells(struct sink_rows *rows, uint64_t *hashes, const struct vector *columns,
                           uint32_t at, bool *is_left)
{
    *is_left = hashes == NULL;
    for (size_t c = 0; c < rows->columns + rows->extras; c++) {
        struct vector *to = &rows->vectors[c];
        if (c == rows->columns && !*is_left) return ERR_OK;
        struct value value = vector_get(&columns[rows->from[c]], at);
        value.type = to->type; /* an untyped NULL */
        if (hashes && c < rows->columns) {
            bool is_new = is_change(&hashes[c], &value);
            *is_left |= is_new;
            if (!is_new)
                value =
                    (struct value){.type = to->type, .is_null = true, .quality = QUALITY_NO_DATA};
        }
        if (!value.is_null && type_bytes(value.type) == 0) {
            value.s.at = keep_bytes(rows, value.s);
            if (!value.s.at) return ERR_BUDGET;
        }
        vector_set(to, rows->count, &value);
        to->count = rows->count + 1;
    }
    return ERR_OK;
}

static enum err take_row(struct sink *s, struct taking *t, const struct vector *columns,
                         uint32_t at)
{
    struct sink_rows *rows = &s->rows;
    bool is_left;
    MUST(rows->count < rows->capacity);
    enum err err = take_cells(rows, t->hashes, columns, at, &is_left);
    if (err || !is_left) return err;
    struct str key = path_at(columns, s->table[0] ? 0 : -1, at);
    struct value time = {.is_null = true};
    if (rows->time_from >= 0) time = vector_get(&columns[rows->time_from], at);
    int64_t key_time = s->table[0] ? columns[1].i[vector_at(&columns[1], at)] : 0;
    int64_t otherwise = s->table[0] ? key_time : s->run_ns;
    uint32_t last = rows->count - 1;
    bool is_same = rows->count && s->joins && rows->key_time[last] == key_time &&
                   is_text(&rows->key_device[last], key);
    if (!keep_path(rows, t->looked_at, &t->device) || !keep_path(rows, key, &t->key))
        return ERR_BUDGET;
    if (!is_same) rows->whole = rows->count;
    rows->key_time[rows->count] = key_time;
    rows->time[rows->count] = time.is_null ? otherwise : time.i;
    rows->key_device[rows->count] = t->key;
    rows->device[rows->count++] = t->device;
    return ERR_OK;
}

bool sink_rows_end(const struct sink *s, struct store_place *place)
{
    const struct sink_rows *rows = &s->rows;
    uint32_t behind = s->joins ? rows->whole : rows->count;
    if (!behind) return false;
    const struct millrace_sink_text *device = &rows->key_device[behind - 1];
    *place = (struct store_place){.position = s->place.position,
                                  .up_to = s->place.up_to,
                                  .time_ns = rows->key_time[behind - 1]};
    return str_copy(place->device, sizeof place->device, (struct str){device->at, device->size}) &&
           !memchr(device->at, '\n', device->size);
}

/* Leaves what is not taken yet to the next batch: the pass can go on behind the rows in hand. A
 * result of a query at an interval cannot. */
static bool cut(struct sink *s)
{
    struct store_place place;
    return s->rows.is_cut = s->since && sink_rows_end(s, &place);
}

enum err sink_rows_take(void *context, const struct vector *columns, size_t column_count,
                        const uint16_t *selection, uint32_t row_count, struct why *why)
{
    struct sink *s = context;
    struct sink_rows *rows = &s->rows;
    struct taking t = {.looked_at = {NULL, 0}};
    enum err err = ERR_OK;
    MUST(column_count >= rows->columns + rows->extras);
    for (uint32_t i = 0; i < row_count && !rows->is_cut; i++) {
        uint32_t at = selection ? selection[i] : i;
        if (!look_at_device(s, &t, path_at(columns, rows->device_from, at)))
            return why_set(why, ERR_BUDGET, "no memory for the rows of a batch");
        if (!t.is_wanted) continue;
        if (rows->bytes >= SINK_BATCH_BYTES && cut(s)) return ERR_OK;
        err = take_row(s, &t, columns, at);
        if (err && cut(s)) {
            sink_memory_free(&s->memory); /* the row's changes are still to come */
            return ERR_OK;
        }
        if (err)
            return why_set(why, ERR_LIMIT,
                           "row %u of a batch does not fit into %d MiB with those before it: "
                           "send fewer columns, or rows of a table",
                           rows->count + 1, SINK_MEMORY_BYTES >> 20);
    }
    return ERR_OK;
}

bool sink_rows_is_full(void *context)
{
    const struct sink *s = context;
    return s->rows.is_cut || s->rows.bytes >= SINK_BATCH_BYTES ||
           s->rows.count >= (uint32_t)s->spec->batch.rows;
}
