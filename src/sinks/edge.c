/* edge.c - see edge.h. */
#include "sinks/edge.h"
#include "base/hash.h"
#include "base/timetext.h"
#include "data/quality.h"
#include "data/sparkplug.h"
#include <stdio.h>
#include <string.h>

enum { ALIASES_A_DEVICE = 4096 };
#define REBIRTH "Node Control/Rebirth"

/* What a metric is and was last; `text` owns what a slice points to. */
struct edge_cell {
    const char *name; /* in the device's arena, as the next one's text is not */
    enum millrace_sink_type type;
    bool is_known, is_null;
    uint32_t quality;
    uint64_t bits;
    int64_t time_ns;
    struct buf text;
};

struct edge_device {
    uint64_t number; /* of its aliases */
    bool is_born;
    size_t count;
    struct arena arena;
    struct edge_cell *cells;
    char path[];
};

/* How a type of columns is told. Arrays of doubles lie on the wire as they do in memory (little
 * endian, section 6.4.17). */
static const struct {
    uint32_t datatype;
    enum sparkplug_field field;
} forms[] = {
    [MILLRACE_SINK_BOOL] = {SPARKPLUG_BOOLEAN, SPARKPLUG_BOOLEAN_VALUE},
    [MILLRACE_SINK_INT] = {SPARKPLUG_INT64, SPARKPLUG_LONG_VALUE},
    [MILLRACE_SINK_UINT] = {SPARKPLUG_UINT64, SPARKPLUG_LONG_VALUE},
    [MILLRACE_SINK_DOUBLE] = {SPARKPLUG_DOUBLE, SPARKPLUG_DOUBLE_VALUE},
    [MILLRACE_SINK_TEXT] = {SPARKPLUG_STRING, SPARKPLUG_STRING_VALUE},
    [MILLRACE_SINK_BYTES] = {SPARKPLUG_BYTES, SPARKPLUG_BYTES_VALUE},
    [MILLRACE_SINK_TIME] = {SPARKPLUG_DATETIME, SPARKPLUG_LONG_VALUE},
    [MILLRACE_SINK_DOUBLES] = {SPARKPLUG_DOUBLE_ARRAY, SPARKPLUG_BYTES_VALUE},
};

/* ---- devices ---- */

void edge_init(struct edge *e, struct str group, struct str name, uint64_t bd_seq)
{
    *e = (struct edge){.group = group, .name = name, .bd_seq = bd_seq & 255};
    map_init(&e->devices);
}

static void free_device(struct edge_device *d)
{
    for (size_t i = 0; i < d->count; i++) buf_free(&d->cells[i].text);
    arena_free(&d->arena);
    mem_free(d);
}

static void forget_devices(struct edge *e)
{
    size_t at = 0;
    struct str key;
    void *device;
    while (map_next(&e->devices, &at, &key, &device)) free_device(device);
    map_free(&e->devices);
    map_init(&e->devices);
    e->device_count = 0;
}

void edge_free(struct edge *e)
{
    forget_devices(e);
    buf_free(&e->topic);
    buf_free(&e->payload);
}

static struct edge_device *new_device(struct edge *e, const struct millrace_sink_batch *batch,
                                      struct str path)
{
    struct edge_device *d = mem_alloc_zero(1, sizeof *d + path.size + 1);
    if (!d) return NULL;
    memcpy(d->path, path.at, path.size);
    for (char *p = d->path; *p; p++)
        if (*p == '/') *p = ':';
    arena_init(&d->arena, NULL);
    d->number = e->device_count + 1; /* 0 are the node's own */
    d->cells = arena_zero(&d->arena, batch->column_count + 1, sizeof *d->cells);
    bool ok = d->cells != NULL;
    for (size_t i = 0; i < batch->column_count && ok; i++) {
        const struct millrace_sink_column *c = &batch->columns[i];
        d->cells[i] = (struct edge_cell){.type = c->type, .is_null = true};
        d->cells[i].name = arena_strdup(&d->arena, c->name, strlen(c->name));
        ok = d->cells[i].name != NULL;
    }
    d->count = ok ? batch->column_count : 0;
    if (!ok || map_put(&e->devices, path, d, NULL)) {
        free_device(d);
        return NULL;
    }
    e->device_count++;
    return d;
}

/* ---- messages ---- */

static uint64_t ms_of(int64_t ns)
{
    return ns < 0 ? 0 : (uint64_t)(ns / TIME_NS_PER_MS);
}

/* A payload's time is that of its sending, a metric's that of its row (payloads-nbirth-timestamp
 * and its like): a host must not take a Sink that catches up for a clock that is wrong. */
static void begin_message(struct edge *e, const char *verb, const char *device, uint64_t now_ms)
{
    buf_clear(&e->topic);
    buf_printf(&e->topic, "spBv1.0/%.*s/%s/%.*s%s%s", (int)e->group.size, e->group.at, verb,
               (int)e->name.size, e->name.at, device[0] ? "/" : "", device);
    buf_clear(&e->payload);
    bool has_seq = strcmp(verb, "NDEATH") != 0; /* section 6.4.22: it has none */
    if (strcmp(verb, "NBIRTH") == 0) e->seq = 0;
    sparkplug_write_begin(&e->payload, now_ms, has_seq, has_seq ? e->seq++ : 0);
}

static bool end_message(struct edge *e)
{
    bool sent = !buf_failed(&e->topic) && !buf_failed(&e->payload) &&
                e->send(e->arg, buf_str(&e->topic), buf_str(&e->payload));
    if (!sent) e->is_born = false; /* a number is missing from here on */
    return sent;
}

/* Also these have a timestamp: payloads-name-birth-data-requirement of Sparkplug 3.0. */
static void add_bd_seq(struct edge *e, uint64_t now_ms)
{
    struct sparkplug_metric m = {.has_name = true,
                                 .name = STR("bdSeq"),
                                 .has_timestamp = true,
                                 .timestamp_ms = now_ms,
                                 .datatype = SPARKPLUG_INT64,
                                 .field = SPARKPLUG_LONG_VALUE,
                                 .bits = e->bd_seq};
    sparkplug_write_metric(&e->payload, &m);
}

/* A metric as it is now; in a birth with its name and type. */
static void add_metric(struct edge *e, const struct edge_device *d, size_t i, bool is_birth,
                       uint64_t now_ms)
{
    const struct edge_cell *c = &d->cells[i];
    bool is_bad = !quality_is_good(c->quality) && c->quality != MILLRACE_SINK_NO_DATA;
    struct sparkplug_metric m = {.has_name = is_birth,
                                 .name = str_of(c->name),
                                 .has_alias = true,
                                 .alias = d->number * ALIASES_A_DEVICE + i,
                                 .has_timestamp = true,
                                 .timestamp_ms = c->is_known ? ms_of(c->time_ns) : now_ms,
                                 .datatype = is_birth ? forms[c->type].datatype : 0,
                                 .is_null = c->is_null,
                                 .has_quality = is_bad,
                                 .quality = SPARKPLUG_BAD,
                                 .field = forms[c->type].field,
                                 .bits = c->bits,
                                 .bytes = buf_str(&c->text)};
    sparkplug_write_metric(&e->payload, &m);
}

static bool bear_node(struct edge *e, uint64_t now_ms)
{
    struct sparkplug_metric rebirth = {.has_name = true,
                                       .name = STR(REBIRTH),
                                       .has_timestamp = true,
                                       .timestamp_ms = now_ms,
                                       .datatype = SPARKPLUG_BOOLEAN,
                                       .field = SPARKPLUG_BOOLEAN_VALUE};
    size_t at = 0;
    struct str key;
    void *device;
    while (map_next(&e->devices, &at, &key, &device))
        ((struct edge_device *)device)->is_born = false;
    begin_message(e, "NBIRTH", "", now_ms);
    add_bd_seq(e, now_ms);
    sparkplug_write_metric(&e->payload, &rebirth);
    e->is_born = end_message(e);
    return e->is_born;
}

static bool bear_device(struct edge *e, struct edge_device *d, uint64_t now_ms)
{
    begin_message(e, "DBIRTH", d->path, now_ms);
    for (size_t i = 0; i < d->count; i++) add_metric(e, d, i, true, now_ms);
    d->is_born = end_message(e);
    return d->is_born;
}

/* ---- rows ---- */

/* Takes note of a cell; false: the row has none, or no memory (then the edge starts anew). */
static bool take_cell(struct edge_cell *to, const struct millrace_sink_batch *b, size_t column,
                      size_t row)
{
    const struct millrace_sink_column *c = &b->columns[column];
    bool is_null = c->null[row];
    if (is_null && c->quality[row] == MILLRACE_SINK_NO_DATA) return false;
    to->is_known = true;
    to->is_null = is_null;
    to->quality = c->quality[row];
    to->time_ns = b->time_ns[row];
    if (is_null) return true;
    switch (c->type) {
    case MILLRACE_SINK_BOOL: to->bits = ((const uint8_t *)c->data)[row] != 0; break;
    case MILLRACE_SINK_INT:
    case MILLRACE_SINK_UINT:
    case MILLRACE_SINK_DOUBLE: to->bits = ((const uint64_t *)c->data)[row]; break;
    case MILLRACE_SINK_TIME: to->bits = ms_of(((const int64_t *)c->data)[row]); break;
    case MILLRACE_SINK_TEXT:
    case MILLRACE_SINK_BYTES:
    case MILLRACE_SINK_DOUBLES: {
        const struct millrace_sink_text *text = (const struct millrace_sink_text *)c->data + row;
        buf_clear(&to->text);
        buf_add(&to->text, text->at, text->size);
        break;
    }
    }
    return true;
}

static bool take_row(struct edge *e, const struct millrace_sink_batch *b, size_t row,
                     uint64_t now_ms)
{
    struct str path = {b->device[row].at, b->device[row].size};
    struct edge_device *d = map_get(&e->devices, path);
    if (!d && !(d = new_device(e, b, path))) return false;
    size_t count = 0;
    MUST(d->count == b->column_count);
    bool was_born = d->is_born;
    if (was_born) begin_message(e, "DDATA", d->path, now_ms);
    for (size_t i = 0; i < d->count; i++) {
        if (!take_cell(&d->cells[i], b, i, row)) continue;
        if (buf_failed(&d->cells[i].text)) return false;
        if (was_born) add_metric(e, d, i, false, now_ms);
        count++;
    }
    if (!was_born) return bear_device(e, d, now_ms);
    if (count) return end_message(e);
    e->seq--; /* nothing of the row: no message */
    return true;
}

static uint64_t hash_columns(const struct millrace_sink_batch *b)
{
    uint64_t hash = 1;
    for (size_t i = 0; i < b->column_count; i++)
        hash = hash * 31 + (hash_64(b->columns[i].name, strlen(b->columns[i].name)) ^
                            (uint64_t)b->columns[i].type);
    return hash;
}

bool edge_take(struct edge *e, const struct millrace_sink_batch *b)
{
    uint64_t now_ms = ms_of(b->now_ns);
    uint64_t hash = hash_columns(b);
    MUST(e->send && b->row_count > 0);
    if (hash != e->columns_hash || b->column_count != e->column_count) {
        forget_devices(e);
        e->is_born = false;
        e->columns_hash = hash;
        e->column_count = b->column_count;
    }
    bool ok = e->is_born || bear_node(e, now_ms);
    for (size_t row = 0; row < b->row_count && ok; row++) ok = take_row(e, b, row, now_ms);
    e->is_born &= ok;
    return ok;
}

bool edge_rebirth(struct edge *e, uint64_t now_ms)
{
    size_t at = 0;
    struct str key;
    void *device;
    bool ok = bear_node(e, now_ms);
    while (ok && map_next(&e->devices, &at, &key, &device)) ok = bear_device(e, device, now_ms);
    e->is_born &= ok;
    return ok;
}

void edge_leave(struct edge *e, uint64_t now_ms)
{
    if (!e->is_born) return;
    begin_message(e, "NDEATH", "", now_ms);
    add_bd_seq(e, now_ms);
    (void)end_message(e);
    e->is_born = false;
}

/* ---- commands ---- */

bool edge_command_topic(struct str group, struct str name, char *out, size_t out_bytes)
{
    int n = snprintf(out, out_bytes, "spBv1.0/%.*s/NCMD/%.*s", (int)group.size, group.at,
                     (int)name.size, name.at);
    return n > 0 && (size_t)n < out_bytes;
}

bool edge_device_topics(struct str group, struct str name, char *out, size_t out_bytes)
{
    int n = snprintf(out, out_bytes, "spBv1.0/%.*s/DCMD/%.*s/", (int)group.size, group.at,
                     (int)name.size, name.at);
    return n > 0 && (size_t)n < out_bytes;
}

/* A device by its id in topics, or without one by the number in its aliases; "" and NULL: none. */
static const struct edge_device *find_device(const struct edge *e, struct str id, uint64_t number,
                                             struct str *path)
{
    size_t at = 0;
    void *value;
    while (map_next(&e->devices, &at, path, &value)) {
        const struct edge_device *d = value;
        if (d->is_born && (id.size ? str_is(id, d->path) : d->number == number)) return d;
    }
    *path = STR("");
    return NULL;
}

/* The metric that is meant: by alias, which is the node's, or by name. NULL: there is none. */
static const struct edge_cell *find_cell(const struct edge_device *d,
                                         const struct sparkplug_metric *m, struct str name)
{
    if (m->has_alias) {
        uint64_t i = m->alias % ALIASES_A_DEVICE;
        return m->alias / ALIASES_A_DEVICE == d->number && i < d->count ? &d->cells[i] : NULL;
    }
    for (size_t i = 0; i < d->count; i++)
        if (str_is(name, d->cells[i].name)) return &d->cells[i];
    return NULL;
}

static enum err read_order(const struct edge *e, struct str id, const struct sparkplug_metric *m,
                           struct arena *arena, struct edge_order *order, struct why *why)
{
    struct str name = m->name;
    const char *slash = !id.size && name.size ? memchr(name.at, '/', name.size) : NULL;
    if (slash) { /* of NCMD */
        id = (struct str){name.at, (size_t)(slash - name.at)};
        name = (struct str){slash + 1, name.size - id.size - 1};
    }
    bool is_named = id.size || m->has_alias;
    const struct edge_device *d =
        is_named ? find_device(e, id, m->alias / ALIASES_A_DEVICE, &order->device) : NULL;
    const struct edge_cell *cell = d ? find_cell(d, m, name) : NULL;
    order->metric = cell ? str_of(cell->name) : name;
    if (!cell)
        return why_set(why, ERR_NOT_FOUND, "there is no metric %.*s (alias %llu) that was born",
                       (int)(m->name.size > 80 ? 80 : m->name.size), m->name.size ? m->name.at : "",
                       (unsigned long long)m->alias);
    if (m->is_null || m->is_historical || m->field == SPARKPLUG_NO_VALUE)
        return why_set(why, ERR_INVALID, "metric %s: NULL and history cannot be written",
                       cell->name);
    uint32_t datatype = m->datatype ? m->datatype : forms[cell->type].datatype;
    return sparkplug_value(m, datatype, arena, &order->value, why);
}

/* "spBv1.0/g/DCMD/e/d" → "d"; of NCMD "". */
static struct str device_id(const struct edge *e, struct str topic)
{
    static const char head[] = "spBv1.0//DCMD//";
    size_t before = sizeof head - 1 + e->group.size + e->name.size;
    if (topic.size <= before) return STR("");
    return (struct str){topic.at + before, topic.size - before};
}

enum err edge_read_command(const struct edge *e, struct str topic, struct str payload,
                           struct arena *arena,
                           void (*use)(void *arg, const struct edge_order *order, enum err err,
                                       const struct why *why),
                           void *arg, struct why *why)
{
    struct sparkplug_payload read;
    struct sparkplug_metric m;
    struct str id = device_id(e, topic), path;
    enum err err = sparkplug_read(payload, &read, why);
    if (err) return err;
    if (id.size && !find_device(e, id, 0, &path))
        return why_set(why, ERR_NOT_FOUND, "device %.*s was not born",
                       (int)(id.size > 80 ? 80 : id.size), id.at);
    struct reader at = reader_of(read.text.at, read.text.size);
    while (sparkplug_next(&at, &m)) {
        struct edge_order order = {.device = STR("")};
        struct why one = WHY_NONE;
        err = read_order(e, id, &m, arena, &order, &one);
        use(arg, &order, err, &one);
    }
    return ERR_OK;
}

bool edge_asks_rebirth(struct str payload)
{
    struct sparkplug_payload read;
    struct sparkplug_metric m;
    if (sparkplug_read(payload, &read, NULL)) return false;
    struct reader at = reader_of(read.text.at, read.text.size);
    bool asks = false;
    while (sparkplug_next(&at, &m))
        asks |=
            m.has_name && str_is(m.name, REBIRTH) && m.field == SPARKPLUG_BOOLEAN_VALUE && m.bits;
    return asks;
}
