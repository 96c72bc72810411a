/* mqtt.c - the sink "mqtt": rows become messages of the node's own broker.
 *
 * Subscribers get them, and so does a Bridge whose topics fit: that is the way to a remote broker.
 * What this node publishes so is never taken in as rows again. Forms of payloads (INTERFACES,
 * "MQTT"): json is what a client would publish under data/ to have it stored. */
#include "base/timetext.h"
#include "data/csv.h"
#include "mqtt/topic.h"
#include "sinks/edge.h"
#include "sinks/sinks_priv.h"
#include <stdio.h>

struct mqtt {
    const struct sink_mqtt_spec *spec; /* lives as long as the document */
    const struct millrace_sink_host *host;
    const struct millrace_sink_batch *batch;
    struct buf topic, payload, key, last; /* last: the topic that `payload` is for */
    uint32_t shared;                      /* rows in payload */
    struct edge edge;                     /* of format sparkplug */
    char *why;
};

static bool open_mqtt(void *state, const struct millrace_sink_config *config,
                      char why[MILLRACE_SINK_WHY_BYTES])
{
    struct mqtt *m = state;
    (void)why;
    MUST(config->spec);
    m->spec = config->spec;
    /* 0 to 255, another one after each start (section 6.4.20); nothing is kept over a start, so the
     * clock gives it. */
    edge_init(&m->edge, m->spec->group, m->spec->edge, (uint64_t)(config->now_ns / TIME_NS_PER_S));
    return true;
}

static void close_mqtt(void *state)
{
    struct mqtt *m = state;
    buf_free(&m->topic);
    buf_free(&m->payload);
    buf_free(&m->key);
    buf_free(&m->last);
    edge_free(&m->edge);
}

/* ---- cells ---- */

static struct value cell(const struct millrace_sink_column *c, size_t row)
{
    struct value v = {
        .type = (enum type)c->type, .is_null = c->null[row], .quality = c->quality[row]};
    if (v.is_null) return v;
    switch (c->type) {
    case MILLRACE_SINK_BOOL: v.b = ((const uint8_t *)c->data)[row] != 0; break;
    case MILLRACE_SINK_INT:
    case MILLRACE_SINK_TIME: v.i = ((const int64_t *)c->data)[row]; break;
    case MILLRACE_SINK_UINT: v.u = ((const uint64_t *)c->data)[row]; break;
    case MILLRACE_SINK_DOUBLE: v.d = ((const double *)c->data)[row]; break;
    case MILLRACE_SINK_TEXT:
    case MILLRACE_SINK_BYTES:
    case MILLRACE_SINK_DOUBLES: {
        const struct millrace_sink_text *text = (const struct millrace_sink_text *)c->data + row;
        v.s = (struct str){text->at, text->size};
        break;
    }
    }
    return v;
}

static bool is_absent(const struct value *v)
{
    return v->is_null && v->quality == MILLRACE_SINK_NO_DATA;
}

static void add_time_text(const struct mqtt *m, size_t row, struct buf *out, bool is_quoted)
{
    int64_t ns = m->batch->time_ns[row];
    if (m->spec->time == SINK_TIME_MS) {
        buf_add_i64(out, ns / TIME_NS_PER_MS);
        return;
    }
    if (is_quoted) buf_add_char(out, '"');
    buf_add_time(out, ns);
    if (is_quoted) buf_add_char(out, '"');
}

/* ---- topics ---- */

/* The value that stands for a name; false: the row has none. */
static bool add_named(struct mqtt *m, struct str name, size_t row)
{
    const struct millrace_sink_batch *b = m->batch;
    static const char label[] = "label.";
    if (str_starts(name, label))
        name = (struct str){name.at + sizeof label - 1, name.size - (sizeof label - 1)};
    /* What a topic alone needs stands last and is found first; a query's columns serve both. */
    for (size_t i = b->column_count + b->extra_count; i-- > 0;) {
        const struct millrace_sink_column *c = &b->columns[i];
        if (!str_is(name, c->name)) continue;
        struct value v = cell(c, row);
        if (v.is_null) return false;
        value_add_text(&m->topic, &v);
        return true;
    }
    return false;
}

/* The topic of a row, and with format value of a column. `*is_refused`: there can be none; else
 * there was no memory. */
static bool make_topic(struct mqtt *m, size_t row, const char *column, bool *is_refused)
{
    struct str rest = sink_topic_template(m->spec), text, name;
    const struct millrace_sink_text *device = &m->batch->device[row];
    buf_clear(&m->topic);
    do {
        if (!sink_topic_next(&rest, &text, &name)) return false; /* was checked */
        buf_add_str(&m->topic, text);
        if (str_is(name, "device"))
            buf_add(&m->topic, device->at, device->size);
        else if (str_is(name, "table"))
            buf_add_text(&m->topic, m->batch->table);
        else if (str_is(name, "namespace"))
            buf_add_text(&m->topic, m->batch->ns);
        else if (str_is(name, "column"))
            buf_add_text(&m->topic, column ? column : "");
        else if (name.size && !add_named(m, name, row)) {
            snprintf(m->why, MILLRACE_SINK_WHY_BYTES, "device %.*s has no %.*s to make a topic of",
                     (int)(device->size > 80 ? 80 : device->size), device->at, (int)name.size,
                     name.at);
            *is_refused = true;
            return false;
        }
    } while (rest.size);
    struct str made = buf_str(&m->topic);
    if (buf_failed(&m->topic)) {
        snprintf(m->why, MILLRACE_SINK_WHY_BYTES, "no memory for topics");
        return false;
    }
    if (topic_name_is_valid(made)) return true;
    *is_refused = true;
    snprintf(m->why, MILLRACE_SINK_WHY_BYTES, "'%.*s' is no topic to publish to",
             (int)(made.size > 160 ? 160 : made.size), made.size ? made.at : "");
    return false;
}

static bool send_message(struct mqtt *m, struct str topic, struct str payload)
{
    struct millrace_sink_message message = {
        .topic = {topic.at, topic.size},
        .payload = {payload.at, payload.size},
        .qos = (uint8_t)m->spec->qos,
        .retain = m->spec->retain && m->spec->format != SINK_SPARKPLUG,
        .expiry_s = (uint32_t)(m->spec->expiry_ns / TIME_NS_PER_S)};
    if (!buf_failed(&m->topic) && !buf_failed(&m->payload) && !buf_failed(&m->last) &&
        m->host->publish(m->host->host, &message))
        return true;
    snprintf(m->why, MILLRACE_SINK_WHY_BYTES, "no memory for messages");
    return false;
}

/* ---- payloads ---- */

static void add_quality(struct mqtt *m, const char *name, uint32_t quality)
{
    char scratch[12];
    buf_clear(&m->key);
    buf_printf(&m->key, "%s@q", name);
    buf_add_char(&m->payload, ',');
    buf_add_json(&m->payload, buf_str(&m->key));
    buf_printf(&m->payload, ":\"%s\"", quality_name(quality, scratch));
    m->payload.failed |= buf_failed(&m->key);
}

static void add_json(struct mqtt *m, size_t row)
{
    const struct millrace_sink_batch *b = m->batch;
    buf_add_text(&m->payload, "{\"time\":");
    add_time_text(m, row, &m->payload, true);
    for (size_t c = 0; c < b->column_count; c++) {
        struct value v = cell(&b->columns[c], row);
        if (is_absent(&v)) continue;
        buf_add_char(&m->payload, ',');
        buf_add_json(&m->payload, str_of(b->columns[c].name));
        buf_add_char(&m->payload, ':');
        value_add_json(&m->payload, &v);
        if (v.quality != QUALITY_GOOD) add_quality(m, b->columns[c].name, v.quality);
    }
    buf_add_char(&m->payload, '}');
}

static void add_csv_head(struct mqtt *m)
{
    buf_add_text(&m->payload, "device,time");
    for (size_t c = 0; c < m->batch->column_count; c++) {
        buf_add_char(&m->payload, ',');
        csv_add(&m->payload, CSV_COMMA, str_of(m->batch->columns[c].name), false);
    }
    buf_add_char(&m->payload, '\n');
}

static void add_csv(struct mqtt *m, size_t row)
{
    const struct millrace_sink_batch *b = m->batch;
    struct str device = {b->device[row].at, b->device[row].size};
    csv_add(&m->payload, CSV_COMMA, device, false);
    buf_add_char(&m->payload, ',');
    add_time_text(m, row, &m->payload, false);
    for (size_t c = 0; c < b->column_count; c++) {
        struct value v = cell(&b->columns[c], row);
        buf_add_char(&m->payload, ',');
        if (v.is_null) continue;
        buf_clear(&m->key);
        value_add_text(&m->key, &v);
        csv_add(&m->payload, CSV_COMMA, buf_str(&m->key), v.type == TYPE_TEXT);
        m->payload.failed |= buf_failed(&m->key);
    }
    buf_add_char(&m->payload, '\n');
}

/* ---- messages ---- */

/* json-array, csv: what was gathered for one topic. */
static bool send_gathered(struct mqtt *m)
{
    if (!m->shared) return true;
    if (m->spec->format == SINK_JSON_ARRAY) buf_add_char(&m->payload, ']');
    m->shared = 0;
    bool sent = send_message(m, buf_str(&m->last), buf_str(&m->payload));
    buf_clear(&m->payload);
    return sent;
}

static bool gather(struct mqtt *m, size_t row)
{
    bool is_array = m->spec->format == SINK_JSON_ARRAY;
    if (!str_equal(buf_str(&m->topic), buf_str(&m->last)) && !send_gathered(m)) return false;
    if (m->shared == 0) {
        buf_clear(&m->last);
        buf_clear(&m->payload);
        buf_add_str(&m->last, buf_str(&m->topic));
        if (is_array)
            buf_add_char(&m->payload, '[');
        else
            add_csv_head(m);
    } else if (is_array) {
        buf_add_char(&m->payload, ',');
    }
    if (is_array)
        add_json(m, row);
    else
        add_csv(m, row);
    m->shared++;
    return true;
}

/* One message a column; what is NULL has no text. */
static bool send_values(struct mqtt *m, size_t row, bool *is_refused)
{
    const struct millrace_sink_batch *b = m->batch;
    for (size_t c = 0; c < b->column_count; c++) {
        struct value v = cell(&b->columns[c], row);
        if (v.is_null) continue;
        if (!make_topic(m, row, b->columns[c].name, is_refused)) return false;
        buf_clear(&m->payload);
        value_add_text(&m->payload, &v);
        if (!send_message(m, buf_str(&m->topic), buf_str(&m->payload))) return false;
    }
    return true;
}

static bool send_row(struct mqtt *m, size_t row, bool *is_refused)
{
    if (m->spec->format == SINK_VALUE) return send_values(m, row, is_refused);
    if (!make_topic(m, row, NULL, is_refused)) return false;
    if (m->spec->format != SINK_JSON) return gather(m, row);
    buf_clear(&m->payload);
    add_json(m, row);
    return send_message(m, buf_str(&m->topic), buf_str(&m->payload));
}

/* ---- Sparkplug ---- */

static bool send_edge(void *arg, struct str topic, struct str payload)
{
    struct mqtt *m = arg;
    return send_message(m, topic, payload);
}

static void use_edge(struct mqtt *m, const struct millrace_sink_host *host, char *why)
{
    m->host = host;
    m->why = why;
    m->edge.send = send_edge;
    m->edge.arg = m;
}

static enum millrace_sink_answer again(void *state, const struct millrace_sink_host *host,
                                       int64_t now_ns, char why[MILLRACE_SINK_WHY_BYTES])
{
    struct mqtt *m = state;
    if (m->spec->format != SINK_SPARKPLUG || !m->edge.is_born) return MILLRACE_SINK_TAKEN;
    use_edge(m, host, why);
    bool ok = edge_rebirth(&m->edge, (uint64_t)(now_ns / TIME_NS_PER_MS));
    m->host = NULL;
    return ok ? MILLRACE_SINK_TAKEN : MILLRACE_SINK_RETRY;
}

static void leave(void *state, const struct millrace_sink_host *host, int64_t now_ns)
{
    struct mqtt *m = state;
    char why[MILLRACE_SINK_WHY_BYTES];
    if (m->spec->format != SINK_SPARKPLUG) return;
    use_edge(m, host, why);
    edge_leave(&m->edge, (uint64_t)(now_ns / TIME_NS_PER_MS));
    m->host = NULL;
}

static enum millrace_sink_answer take_edge(struct mqtt *m, const struct millrace_sink_batch *batch,
                                           const struct millrace_sink_host *host, char *why)
{
    use_edge(m, host, why);
    bool ok = edge_take(&m->edge, batch);
    m->host = NULL;
    if (!ok) snprintf(why, MILLRACE_SINK_WHY_BYTES, "no memory for messages");
    return ok ? MILLRACE_SINK_TAKEN : MILLRACE_SINK_RETRY;
}

static enum millrace_sink_answer take(void *state, const struct millrace_sink_batch *batch,
                                      const struct millrace_sink_host *host,
                                      char why[MILLRACE_SINK_WHY_BYTES])
{
    struct mqtt *m = state;
    bool is_refused = false, ok = true;
    if (m->spec->format == SINK_SPARKPLUG) return take_edge(m, batch, host, why);
    m->batch = batch;
    m->host = host;
    m->why = why;
    m->shared = 0;
    buf_clear(&m->last);
    for (size_t row = 0; row < batch->row_count && ok; row++) ok = send_row(m, row, &is_refused);
    if (ok) ok = send_gathered(m);
    m->batch = NULL;
    m->host = NULL;
    if (ok) return MILLRACE_SINK_TAKEN;
    return is_refused ? MILLRACE_SINK_REFUSED : MILLRACE_SINK_RETRY;
}

const struct edge *mqtt_sink_edge(const void *state)
{
    const struct mqtt *m = state;
    return m->spec->format == SINK_SPARKPLUG && m->edge.is_born ? &m->edge : NULL;
}

const struct millrace_sink mqtt_sink = {
    .abi = MILLRACE_SINK_ABI,
    .size_bytes = sizeof(struct millrace_sink),
    .name = "mqtt",
    .help_en = "messages of the node's own broker",
    .help_zh = "发布到节点自带的 MQTT 代理",
    .state_bytes = sizeof(struct mqtt),
    .open = open_mqtt,
    .close = close_mqtt,
    .take = take,
    .again = again,
    .leave = leave,
};
