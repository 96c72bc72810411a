/* sparkplug_host.c - see sparkplug_host.h. */
#include "stream/sparkplug_host.h"
#include "base/map.h"
#include "base/timetext.h"
#include "data/quality.h"
#include "data/sparkplug.h"
#include "stream/mapping_priv.h"
#include <stdio.h>
#include <string.h>

/* ---- what was born ---- */

/* A metric: what its birth said. */
struct born_metric {
    struct born_metric *next;
    uint32_t datatype;
    size_t column_size;
    char column[];
};

/* A device, or (name "") the edge node itself. */
struct born_device {
    bool is_born;
    struct map by_name, by_alias; /* struct born_metric */
    struct born_metric *metrics;
};

struct edge {
    bool is_born, has_bd_seq;
    uint8_t next_seq;
    uint64_t bd_seq;
    int64_t asked_ns; /* for a rebirth; 0 = not since the last birth */
    struct map devices;
};

struct sparkplug_host {
    const struct mapping *mapping;
    int64_t rebirth_interval_ns;
    struct map edges; /* by "group/edge" */
    size_t metric_count;
};

/* One message on its way through. */
struct visit {
    struct sparkplug_host *host;
    struct sparkplug_taken *taken;
    struct taking taking;
    struct str group, verb, edge_name, device_name;
    char path[512]; /* "group/edge" and "/device" */
    size_t edge_size;
    struct edge *edge;
    struct born_device *device; /* NULL: not known */
    struct sparkplug_payload payload;
};

static void clear_device(struct sparkplug_host *host, struct born_device *d)
{
    while (d->metrics) {
        struct born_metric *m = d->metrics;
        d->metrics = m->next;
        mem_free(m);
        host->metric_count--;
    }
    map_free(&d->by_name);
    map_free(&d->by_alias);
    map_init(&d->by_name);
    map_init(&d->by_alias);
    d->is_born = false;
}

static void clear_edge(struct sparkplug_host *host, struct edge *edge)
{
    size_t at = 0;
    struct str key;
    void *device;
    while (map_next(&edge->devices, &at, &key, &device)) {
        clear_device(host, device);
        mem_free(device);
    }
    map_free(&edge->devices);
    map_init(&edge->devices);
    edge->is_born = false;
}

struct sparkplug_host *sparkplug_host_new(const struct mapping *mapping,
                                          int64_t rebirth_interval_ns)
{
    struct sparkplug_host *host = mem_alloc_zero(1, sizeof *host);
    if (!host) return NULL;
    host->mapping = mapping;
    host->rebirth_interval_ns = rebirth_interval_ns;
    map_init(&host->edges);
    return host;
}

void sparkplug_host_free(struct sparkplug_host *host)
{
    size_t at = 0;
    struct str key;
    void *edge;
    if (!host) return;
    while (map_next(&host->edges, &at, &key, &edge)) {
        clear_edge(host, edge);
        mem_free(edge);
    }
    MUST(host->metric_count == 0);
    map_free(&host->edges);
    mem_free(host);
}

static enum err find_edge(struct visit *v)
{
    struct map *edges = &v->host->edges;
    struct str path = {v->path, v->edge_size};
    v->edge = map_get(edges, path);
    if (v->edge) return ERR_OK;
    if (edges->count >= SPARKPLUG_EDGES_MAX)
        return why_set(v->taking.why, ERR_LIMIT, "more than %d edge nodes", SPARKPLUG_EDGES_MAX);
    v->edge = mem_alloc_zero(1, sizeof *v->edge);
    if (v->edge) map_init(&v->edge->devices);
    if (v->edge && !map_put(edges, path, v->edge, NULL)) return ERR_OK;
    mem_free(v->edge);
    return ERR_NO_MEMORY;
}

/* The device of the message, fresh. */
static enum err bear_device(struct visit *v)
{
    struct map *devices = &v->edge->devices;
    struct born_device *d = map_get(devices, v->device_name);
    if (d) {
        clear_device(v->host, d);
    } else {
        d = mem_alloc_zero(1, sizeof *d);
        if (d) {
            map_init(&d->by_name);
            map_init(&d->by_alias);
        }
        if (!d || map_put(devices, v->device_name, d, NULL)) {
            mem_free(d);
            return ERR_NO_MEMORY;
        }
    }
    d->is_born = true;
    v->device = d;
    return ERR_OK;
}

static struct str alias_key(const uint64_t *alias)
{
    return (struct str){(const char *)alias, sizeof *alias};
}

static enum err bear_metric(struct visit *v, const struct sparkplug_metric *m,
                            struct born_metric **made)
{
    struct sparkplug_host *host = v->host;
    struct str column;
    if (host->metric_count >= SPARKPLUG_METRICS_MAX)
        return why_set(v->taking.why, ERR_LIMIT, "more than %d metrics", SPARKPLUG_METRICS_MAX);
    enum err err = mapping_name(&v->taking, m->name, &column);
    if (err) return err;
    struct born_metric *b = mem_alloc(sizeof *b + column.size);
    if (!b) return ERR_NO_MEMORY;
    b->datatype = m->datatype;
    b->column_size = column.size;
    memcpy(b->column, column.at, column.size);
    b->next = v->device->metrics;
    v->device->metrics = b;
    host->metric_count++;
    *made = b;
    err = map_put(&v->device->by_name, m->name, b, NULL);
    if (!err && m->has_alias) err = map_put(&v->device->by_alias, alias_key(&m->alias), b, NULL);
    return err;
}

/* ---- commands ---- */

static void add_part(struct buf *out, struct str part)
{
    buf_add_le32(out, (uint32_t)part.size);
    buf_add_str(out, part);
}

bool sparkplug_next_command(struct reader *in, struct str *topic, struct str *payload)
{
    if (!reader_left(in)) return false;
    *topic = reader_str(in, reader_le32(in));
    *payload = reader_str(in, reader_le32(in));
    MUST(reader_ok(in)); /* ask_rebirth wrote it */
    return true;
}

/* Section 5.5.12: NCMD with metric Node Control/Rebirth true. */
static void ask_rebirth(struct visit *v)
{
    struct edge *edge = v->edge;
    int64_t now = v->taking.message->time_ns;
    uint64_t now_ms = (uint64_t)(now / TIME_NS_PER_MS);
    if (edge->asked_ns && now - edge->asked_ns < v->host->rebirth_interval_ns) return;
    edge->asked_ns = now;
    struct sparkplug_metric m = {.has_name = true,
                                 .name = STR("Node Control/Rebirth"),
                                 .has_timestamp = true,
                                 .timestamp_ms = now_ms,
                                 .datatype = SPARKPLUG_BOOLEAN,
                                 .field = SPARKPLUG_BOOLEAN_VALUE,
                                 .bits = 1};
    struct buf topic = BUF_EMPTY, payload = BUF_EMPTY, command = BUF_EMPTY;
    buf_printf(&topic, "spBv1.0/%.*s/NCMD/%.*s", (int)v->group.size, v->group.at,
               (int)v->edge_name.size, v->edge_name.at);
    sparkplug_write_begin(&payload, now_ms, false, 0);
    sparkplug_write_metric(&payload, &m);
    add_part(&command, buf_str(&topic));
    add_part(&command, buf_str(&payload));
    if (!buf_failed(&topic) && !buf_failed(&payload) && !buf_failed(&command))
        buf_add_str(v->taken->commands, buf_str(&command)); /* whole, or not at all */
    buf_free(&command);
    buf_free(&topic);
    buf_free(&payload);
}

/* Who is not born or has skipped a number is asked to begin anew. */
static void check_seq(struct visit *v)
{
    struct edge *edge = v->edge;
    bool is_next = !v->payload.has_seq || v->payload.seq == edge->next_seq;
    if (v->payload.has_seq) edge->next_seq = (uint8_t)(v->payload.seq + 1);
    if (!edge->is_born || !is_next) ask_rebirth(v);
}

/* ---- rows ---- */

/* The first thing that was left out is told; the rest of the message is taken. */
static enum err leave_out(struct visit *v, enum err err, const struct why *why)
{
    if (err == ERR_NO_MEMORY) return err;
    if (!v->taken->partial) {
        v->taken->partial = err;
        *v->taking.why = *why;
    }
    return ERR_OK;
}

static enum err end_row(struct visit *v)
{
    if (!v->taking.row->field_count) return ERR_OK;
    enum err err = mapping_end_row(&v->taking);
    v->taking.row->field_count = 0;
    return err;
}

static enum err begin_row(struct visit *v, int64_t time_ns)
{
    enum err err = mapping_begin_row(&v->taking, NULL);
    v->taking.row->time_ns = time_ns;
    return err;
}

/* A field of the row of that time; metrics of one time lie next to each other. */
static enum err add_field(struct visit *v, int64_t time_ns, struct str column,
                          const struct value *value, enum type fresh)
{
    struct line *row = v->taking.row;
    bool fits = row->field_count && row->time_ns == time_ns && row->field_count < LINE_FIELDS_MAX;
    enum err err = fits ? ERR_OK : end_row(v);
    if (!err && !fits) err = begin_row(v, time_ns);
    return err ? err : mapping_add_field(&v->taking, column, value, fresh);
}

static bool time_of_ms(uint64_t ms, int64_t *ns)
{
    if (ms > INT64_MAX / TIME_NS_PER_MS) return false;
    *ns = (int64_t)ms * TIME_NS_PER_MS;
    return true;
}

static void apply_quality(const struct sparkplug_metric *m, struct value *value)
{
    if (!m->has_quality || m->quality == SPARKPLUG_GOOD) return;
    value->quality = m->quality == SPARKPLUG_BAD     ? (uint32_t)QualityBad
                     : m->quality == SPARKPLUG_STALE ? (uint32_t)QualityUncertainLastUsableValue
                                                     : (uint32_t)QualityUncertain;
    if (quality_is_bad(value->quality)) value->is_null = true;
}

static bool is_no_column(const struct sparkplug_metric *m)
{
    return m->is_transient ||
           (m->has_name && (str_is(m->name, "bdSeq") || str_starts(m->name, "Node Control/") ||
                            str_starts(m->name, "Device Control/")));
}

/* A metric whose birth may be known (`b`, or NULL), as a field. */
static enum err store_metric(struct visit *v, const struct sparkplug_metric *m,
                             const struct born_metric *b)
{
    struct why why = WHY_NONE;
    struct value value = {.type = TYPE_NONE};
    struct str column = b ? (struct str){b->column, b->column_size} : m->name;
    uint32_t datatype = m->datatype ? m->datatype : b ? b->datatype : 0;
    int64_t time_ns = v->taking.message->time_ns;
    enum err err = ERR_OK;
    if (is_no_column(m)) return ERR_OK;
    if (!b) err = mapping_name(&v->taking, m->name, &column);
    if (err)
        why = *v->taking.why;
    else if (!datatype)
        err = why_set(&why, ERR_INVALID, "neither it nor its birth says its datatype");
    else
        err = sparkplug_value(m, datatype, v->taking.scratch, &value, &why);
    bool has_time = m->has_timestamp || v->payload.has_timestamp;
    if (!err && has_time &&
        !time_of_ms(m->has_timestamp ? m->timestamp_ms : v->payload.timestamp_ms, &time_ns))
        err = why_set(&why, ERR_RANGE, "its timestamp is beyond the year 2262");
    if (err) {
        (void)why_wrap(&why, err, "metric \"%.*s\"", (int)column.size, column.at);
        return leave_out(v, err, &why);
    }
    apply_quality(m, &value);
    return add_field(v, time_ns, column, &value, value.type);
}

static enum err take_birth_metric(struct visit *v, const struct sparkplug_metric *m)
{
    struct born_metric *b = NULL;
    struct why why = WHY_NONE;
    if (!m->has_name) {
        enum err err = why_set(&why, ERR_INVALID, "a metric of a birth has no name");
        return leave_out(v, err, &why);
    }
    if (str_is(m->name, "bdSeq") && !v->device_name.size) {
        v->edge->has_bd_seq = true;
        v->edge->bd_seq = m->bits;
    }
    if (is_no_column(m)) return ERR_OK;
    enum err err = bear_metric(v, m, &b);
    if (!err) return store_metric(v, m, b);
    why = *v->taking.why;
    return leave_out(v, err, &why);
}

static enum err take_data_metric(struct visit *v, const struct sparkplug_metric *m)
{
    const struct born_device *d = v->device;
    const struct born_metric *b = NULL;
    struct why why = WHY_NONE;
    if (d && m->has_alias) b = map_get(&d->by_alias, alias_key(&m->alias));
    if (d && !b && m->has_name) b = map_get(&d->by_name, m->name);
    if (b || m->has_name) return store_metric(v, m, b);
    ask_rebirth(v);
    enum err err = why_set(&why, ERR_NOT_FOUND,
                           "alias %llu is not known: no birth of %s has said what it is; it is "
                           "asked for one",
                           (unsigned long long)m->alias, v->path);
    return leave_out(v, err, &why);
}

static enum err take_metrics(struct visit *v,
                             enum err (*take)(struct visit *v, const struct sparkplug_metric *m))
{
    struct reader at = reader_of(v->payload.text.at, v->payload.text.size);
    struct sparkplug_metric m;
    enum err err = ERR_OK;
    v->taking.row->field_count = 0;
    while (!err && sparkplug_next(&at, &m)) err = take(v, &m);
    return err ? err : end_row(v);
}

/* ---- the messages ---- */

static enum err on_node_birth(struct visit *v)
{
    clear_edge(v->host, v->edge); /* its devices are born anew, too */
    v->edge->is_born = true;
    v->edge->has_bd_seq = false;
    v->edge->asked_ns = 0;
    v->edge->next_seq = (uint8_t)(v->payload.seq + 1);
    enum err err = bear_device(v);
    return err ? err : take_metrics(v, take_birth_metric);
}

static enum err on_device_birth(struct visit *v)
{
    check_seq(v);
    enum err err = bear_device(v);
    return err ? err : take_metrics(v, take_birth_metric);
}

static enum err on_data(struct visit *v)
{
    check_seq(v);
    if (!v->device && v->edge->is_born) ask_rebirth(v); /* the device's birth is not known */
    return take_metrics(v, take_data_metric);
}

/* All that the device last said is not known any more. */
static enum err make_stale(struct visit *v, struct born_device *d, int64_t time_ns)
{
    const struct value lost = {
        .type = TYPE_NONE, .is_null = true, .quality = (uint32_t)QualityBadNoCommunication};
    enum err err = ERR_OK;
    if (!d->is_born) return ERR_OK;
    d->is_born = false;
    for (const struct born_metric *b = d->metrics; b && !err; b = b->next)
        if (sparkplug_column_type(b->datatype) != TYPE_NONE)
            err = add_field(v, time_ns, (struct str){b->column, b->column_size}, &lost, TYPE_NONE);
    return err ? err : end_row(v);
}

static enum err on_device_death(struct visit *v)
{
    int64_t time_ns = v->taking.message->time_ns;
    check_seq(v);
    if (v->payload.has_timestamp) (void)time_of_ms(v->payload.timestamp_ms, &time_ns);
    return v->device ? make_stale(v, v->device, time_ns) : ERR_OK;
}

/* A will: its time and its bdSeq are those of the connection that has ended. One of an earlier
 * connection comes late, and means nothing (section 5.6). */
static bool is_of_this_session(struct visit *v)
{
    struct reader at = reader_of(v->payload.text.at, v->payload.text.size);
    struct sparkplug_metric m;
    while (v->edge->has_bd_seq && sparkplug_next(&at, &m))
        if (m.has_name && str_is(m.name, "bdSeq")) return m.bits == v->edge->bd_seq;
    return true;
}

static enum err on_node_death(struct visit *v)
{
    size_t at = 0;
    struct str name;
    void *device;
    enum err err = ERR_OK;
    if (!v->edge->is_born || !is_of_this_session(v)) return ERR_OK;
    v->edge->is_born = false;
    while (!err && map_next(&v->edge->devices, &at, &name, &device)) {
        struct buf path = BUF_EMPTY;
        buf_add(&path, v->path, v->edge_size);
        if (name.size) buf_add_char(&path, '/');
        buf_add_str(&path, name);
        v->taking.device = buf_str(&path);
        v->taking.row->field_count = 0;
        err = buf_failed(&path) ? ERR_NO_MEMORY : make_stale(v, device, v->taking.message->time_ns);
        buf_free(&path);
    }
    return err;
}

/* X: what stands in the topic, whether a device follows, what to do. NULL: nothing. */
static const struct {
    const char *name;
    bool of_device;
    enum err (*take)(struct visit *v);
} verbs[] = {
    {"NBIRTH", false, on_node_birth},
    {"DBIRTH", true, on_device_birth},
    {"NDATA", false, on_data},
    {"DDATA", true, on_data},
    {"NDEATH", false, on_node_death},
    {"DDEATH", true, on_device_death},
    {"NCMD", false, NULL},
    {"DCMD", true, NULL},
};
enum { VERB_ROWS = sizeof verbs / sizeof verbs[0] };

/* spBv1.0/group/VERB/edge[/device]; spBv1.0/STATE/host has no group. */
static bool split_topic(struct visit *v, struct str topic, bool *is_state)
{
    struct str rest = topic, first;
    bool good = str_split(&rest, '/', &first) && str_is(first, "spBv1.0") &&
                str_split(&rest, '/', &v->group) && str_split(&rest, '/', &v->verb);
    *is_state = good && str_is(v->group, "STATE");
    v->device_name = (struct str){"", 0};
    good = good && str_split(&rest, '/', &v->edge_name) && v->group.size && v->edge_name.size;
    return good && (!rest.size || (str_split(&rest, '/', &v->device_name) && !rest.size));
}

static bool make_path(struct visit *v)
{
    size_t room = sizeof v->path;
    if (v->group.size + v->edge_name.size + v->device_name.size + 3 > room) return false;
    int n = snprintf(v->path, room, "%.*s/%.*s", (int)v->group.size, v->group.at,
                     (int)v->edge_name.size, v->edge_name.at);
    v->edge_size = (size_t)n;
    v->taking.device = (struct str){v->path, v->edge_size};
    if (!v->device_name.size) return true;
    n += snprintf(v->path + n, room - (size_t)n, "/%.*s", (int)v->device_name.size,
                  v->device_name.at);
    v->taking.device.size = (size_t)n;
    return true;
}

static enum err visit(struct visit *v, struct str payload)
{
    size_t verb = 0;
    while (verb < VERB_ROWS && !str_is(v->verb, verbs[verb].name)) verb++;
    if (verb == VERB_ROWS || verbs[verb].of_device != (v->device_name.size > 0))
        return why_set(v->taking.why, ERR_INVALID, "the topic names no message of Sparkplug B");
    if (!verbs[verb].take) return ERR_OK;
    enum err err = make_path(v)
                       ? sparkplug_read(payload, &v->payload, v->taking.why)
                       : why_set(v->taking.why, ERR_LIMIT, "the topic's names are too long");
    if (!err) err = find_edge(v);
    if (err) return err;
    v->device = map_get(&v->edge->devices, v->device_name);
    return verbs[verb].take(v);
}

enum err sparkplug_host_take(struct sparkplug_host *host, const struct mapping_message *message,
                             struct sparkplug_taken *taken, struct why *why)
{
    struct visit v = {.host = host, .taken = taken};
    bool is_state;
    MUST(host->mapping->format == MAPPING_SPARKPLUG);
    v.taking = mapping_begin(host->mapping, message, taken->row, taken->scratch, taken->rows, why);
    taken->row_count = 0;
    taken->partial = ERR_OK;
    bool good = split_topic(&v, message->topic, &is_state);
    if (is_state) return ERR_OK;
    if (!good)
        return why_set(why, ERR_INVALID,
                       "the topic is none of Sparkplug B (spBv1.0/GROUP/TYPE/EDGE[/DEVICE])");
    enum err err = visit(&v, message->payload);
    if (err) taken->rows->size = v.taking.before;
    taken->row_count = err ? 0 : v.taking.rows;
    return err;
}
